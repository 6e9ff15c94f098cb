//! Version knowledge: what runs, who maintains it and until when, what is known to be wrong with it, and what would help.
//!
//! Pure: facts, knowledge and today's date in, verdicts out. Whose it is (`kernel`, `software`) decides by whose records
//! (`knowledge`) it is judged (`judge`); `feeds` reads what others publish into those records; `compare` has the orders.
//! Must not know checks, CEL, the clock, files or the network.

pub mod compare;
pub mod ecosystem;
mod facts;
pub mod feeds;
pub mod fleet;
mod judge;
mod kernel;
pub mod knowledge;
mod software;

pub use compare::Scheme;
pub use facts::{
    Activation, ActivationState, Confidence, Exploitation, Exposure, FleetPlace, Headline, KnowledgeFacts, Link, Match, Patch, PatchState,
    Support, SupportState, VersionFacts, Vulnerability, VulnerabilityState,
};
pub use judge::{Memory, judge, judge_by};
pub use kernel::{Base, Family, Identity, KernelStrings, PackageVersion, identify};
pub use knowledge::lifecycle::{End, Extension, Lifecycle, Precision, Row, Standing};
pub use knowledge::{FEATURES, KnowledgeError};
pub use software::{Provider, Software, SoftwareStrings, identify_software};

/// So many days before its end a release counts as ending soon.
pub const SOON_DAYS: i64 = 60;
/// Older by so many days, data says what was, not what is.
pub const STALE_DAYS: i64 = 45;
/// Behind by more than so many days counts as behind, unless configured otherwise.
pub const LAG_DAYS: i64 = 30;
/// The most vulnerabilities listed with a link.
pub const MAX_MATCHES: usize = 20;
