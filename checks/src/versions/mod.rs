//! Version knowledge: which kernel runs, who maintains it, and until when.
//!
//! Pure: facts and today's date in, verdicts out, judged by a built-in snapshot of lifecycle data that carries its own date.
//! Whose kernel it is (`identity`) decides by whose dates (`lifecycle`) it is judged. Must not know checks, CEL, the clock or
//! the network.

pub mod compare;
mod family;
mod identity;
mod judge;
mod lifecycle;

use serde::{Deserialize, Serialize};

use crate::facts::Observed;
pub use family::Family;
pub use identity::{Identity, KernelStrings, PackageVersion, Scheme, identify};
pub use judge::{judge, judge_kernel, judge_kernel_by};
pub use lifecycle::{End, Extension, Lifecycle, LifecycleError, Precision, Row, Standing};

/// Version verdicts of one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VersionFacts {
    /// The running kernel.
    pub kernel: Observed<KernelVerdict>,
}

/// Whose kernel runs and whether it is still maintained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KernelVerdict {
    /// Whose kernel it is: `debian`, `ubuntu`, `enterprise-linux`, …, `vanilla`, or `unlisted` when nothing tells.
    pub family: String,
    /// Does the family ship upstream's stable releases, so that the upstream level says something.
    pub tracks_stable: bool,
    /// The upstream series: `6.12`.
    pub series: String,
    /// `supported` or `end_of_life`. Unavailable when neither can be said, with the reason.
    pub lifecycle: Observed<String>,
    /// What the support rests on: `standard`, `extended` (free of charge and on by default), `none` after the end, empty when not known.
    pub support: String,
    /// The last day of support, `2028-06-30`; `None` when none is announced or known.
    pub eol: Option<String>,
    /// The lifecycle row that was used: `debian 12`. Empty when none was.
    pub judged_by: String,
    /// The day that row was true on, `2026-08-22`. Empty when none was used.
    pub data_date: String,
    /// Where that row comes from. Empty when none was used.
    pub source: String,
}
