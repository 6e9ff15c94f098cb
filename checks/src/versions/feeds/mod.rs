//! Feeds: documents that others publish, read into [`crate::versions::knowledge::Record`]s.
//!
//! One file a format. Pure: bytes in, records or the reason of refusal out; a document is accepted whole or refused whole.
//! What a document says that no verdict needs (other products, withdrawn records, versions nothing can compare) is counted as
//! ignored, with the reason. Must not know files, archives or the store.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::knowledge::Record;

/// The formats that are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// endoflife.date, API v1: one product, or all (`/products/full`).
    EndOfLifeV1,
    /// endoflife.date, API v0: an array of cycles; the product is the file's name.
    EndOfLifeV0,
    /// One OSV record.
    Osv,
    /// CISA's catalogue of known exploited vulnerabilities.
    Kev,
    /// kernel.org's `releases.json`.
    KernelReleases,
    /// One CVE record in JSON 5 of the kernel's CNA.
    KernelCve,
    /// The Kubernetes CVE feed.
    KubernetesCve,
}

/// What a document says.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    /// The format it was read as.
    pub format: Format,
    /// The feeds it belongs to, with its records: `endoflife/debian`, `osv/Ubuntu`, `kev`, `kernel-releases`, `kernel-cve`,
    /// `kubernetes-cve`. Usually one.
    pub feeds: BTreeMap<String, Vec<Record>>,
    /// The day it was true on, by its own words; `None` where it does not say.
    pub as_of: Option<Date>,
    /// What was left out: reason, how many.
    pub ignored: BTreeMap<&'static str, u64>,
}
