//! Version knowledge: what runs, who maintains it and until when, what is known to be wrong with it, and what would help.
//!
//! Pure: facts, knowledge and today's date in, verdicts out. Whose it is (`kernel`, `software`) decides by whose records
//! (`knowledge`) it is judged (`judge`); `feeds` reads what others publish into those records; `compare` has the orders.
//! Must not know checks, CEL, the clock, files or the network.

pub mod compare;
mod facts;
pub mod feeds;
mod judge;
mod kernel;
pub mod knowledge;

pub use facts::{
    Activation, ActivationState, Confidence, Exploitation, Exposure, FleetPlace, Headline, KnowledgeFacts, Link, Match, Patch, PatchState,
    Support, SupportState, VersionFacts, Vulnerability, VulnerabilityState,
};
pub use judge::judge;
pub use kernel::{Family, Identity, KernelStrings, PackageVersion, Scheme, identify};
pub use knowledge::lifecycle::{End, Extension, Lifecycle, Precision, Row, Standing};
pub use knowledge::{FEATURES, KnowledgeError, KnowledgeError as LifecycleError};

/// So many days before its end a release counts as ending soon.
pub const SOON_DAYS: i64 = 60;
/// Older by so many days, data says what was, not what is.
pub const STALE_DAYS: i64 = 45;
/// Behind by more than so many days counts as behind, unless configured otherwise.
pub const LAG_DAYS: i64 = 30;
/// The most vulnerabilities listed with a link.
pub const MAX_MATCHES: usize = 20;
