//! Feeds: documents that others publish, read into [`crate::versions::knowledge::Record`]s.
//!
//! One file a format; `shape` tells which one a document is in, `document` has what every format needs: places for messages,
//! checked texts, bounds. Pure: bytes in, records or the reason of refusal out; a document is accepted whole or refused whole.
//! What a document says that no verdict needs (other products, withdrawn records, versions nothing can compare) is counted as
//! ignored, with the reason. Must not know files, archives or the store.

mod document;
mod endoflife;
mod error;
mod kernel_cve;
mod kernel_releases;
mod kernel_version;
mod kev;
mod kubernetes_cve;
mod list;
mod osv;
mod shape;

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

pub use error::FeedError;
pub use shape::detect;

use self::document::Document;
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

impl Format {
    /// What a person calls it.
    pub fn label(self) -> &'static str {
        match self {
            Self::EndOfLifeV1 => "endoflife.date, API v1",
            Self::EndOfLifeV0 => "endoflife.date, API v0",
            Self::Osv => "OSV",
            Self::Kev => "CISA KEV",
            Self::KernelReleases => "kernel.org releases",
            Self::KernelCve => "CVE JSON 5",
            Self::KubernetesCve => "Kubernetes CVE feed",
        }
    }
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

/// How large a document may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one document.
    pub bytes: usize,
    /// Records that one document makes.
    pub records: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 64 << 20, records: 500_000 }
    }
}

/// Reads a document whole. `name` is the file's name: it stands in messages, and names the product where the format does not.
///
/// # Errors
/// The first thing that is wrong with it, with the place; nothing of it is to be used then.
pub fn parse(name: &str, bytes: &[u8], limits: Limits) -> Result<Content, FeedError> {
    let text = document::text(name, bytes, limits)?;
    let format = shape::of(name, text)?;
    let document = Document::new(name, format, text, limits);
    match format {
        Format::EndOfLifeV1 => endoflife::parse_v1(&document),
        Format::EndOfLifeV0 => endoflife::parse_v0(&document),
        Format::Osv => osv::parse(&document),
        Format::Kev => kev::parse(&document),
        Format::KernelReleases => kernel_releases::parse(&document),
        Format::KernelCve => kernel_cve::parse(&document),
        Format::KubernetesCve => kubernetes_cve::parse(&document),
    }
}
