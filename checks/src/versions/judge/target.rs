//! What is judged: one thing of the patch chain, in the words that records use.
//!
//! Made from an identity, kernel's or software's, so that every axis asks the same questions of both. Must not know facts.

use crate::facts::{Observed, Reason, Source, SourceKind, Unavailable};
use crate::versions::ecosystem::Question;
use crate::versions::{Confidence, Family, Link, Scheme};

/// A thing of the patch chain.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// As in [`Link::subject`].
    pub subject: String,
    /// As in [`Link::component`]: also what upstream's records call it.
    pub component: String,
    /// As in [`Link::running`].
    pub running: String,
    /// As in [`Link::vendor`].
    pub vendor: String,
    /// Does its vendor ship upstream's releases as they are.
    pub tracks_upstream: bool,
    /// As in [`Link::series`].
    pub series: String,
    /// What upstream's numbers tell of it.
    pub upstream: Upstream,
    /// The version of the package that runs, whole, and how it compares.
    pub package: Option<(String, Scheme)>,
    /// What to ask the distribution's records; empty where there are none for it.
    pub questions: Vec<Question>,
    /// The feed that would settle what is open: `osv/Debian`; empty where there is none.
    pub feed: String,
    /// The stream of Enterprise Linux: `el9_7`, and whether advisories' builds speak of it.
    pub stream: Option<Stream>,
    /// The family, where it is a kernel.
    pub family: Option<Family>,
    /// The flavour, where it is a kernel.
    pub flavour: String,
    /// Rows of lifecycle data that speak of it: the deciding one first, upstream's last.
    pub rows: Vec<(&'static str, String)>,
    /// Why there is no row, where there is none.
    pub no_rows: Unavailable,
    /// The product whose newest release it is compared with, where its version is comparable.
    pub newest: Vec<(&'static str, String)>,
    /// When its facts were read.
    pub at: i64,
}

/// What upstream's numbers tell.
#[derive(Debug, Clone)]
pub(super) struct Upstream {
    /// The version to ask for: exact, or the lowest that it can be.
    pub version: Option<String>,
    /// Is it that version, and not only at least that.
    pub exact: bool,
    /// What it means to be below a fix; `None`: nothing.
    pub below: Option<Confidence>,
    /// Does being at or above a fix clear it.
    pub clears: bool,
}

impl Upstream {
    /// They tell nothing.
    pub(super) fn silent() -> Self {
        Self { version: None, exact: false, below: None, clears: false }
    }
}

/// A stream of Enterprise Linux.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    /// `el9_7`
    pub name: String,
    /// Do builds that advisories list apply: not to Oracle's, nor to `CentOS` Stream, which numbers its own.
    pub listed: bool,
    /// May a stream that no record lists have fixes of its own, as Red Hat's extended-update streams have.
    pub extended: bool,
    /// Does its maker publish under the records' own numbers.
    pub same_builds: bool,
}

impl Target {
    /// The link with nothing judged yet.
    pub(super) fn link(&self) -> Link {
        let source = || Source::new(SourceKind::Derived, "version identity");
        let upstream = match &self.upstream {
            Upstream { version: Some(version), exact: true, .. } => Observed::known(version.clone(), source(), self.at),
            _ => Observed::unavailable_because(Reason::NotSupported, self.no_upstream()),
        };
        let package = match &self.package {
            Some((version, _)) => Observed::known(version.clone(), source(), self.at),
            None => Observed::unavailable_because(Reason::NotSupported, format!("{} shows no package version", self.running)),
        };
        Link {
            vendor: self.vendor.clone(),
            tracks_upstream: self.tracks_upstream,
            series: self.series.clone(),
            upstream,
            package,
            ..Link::unread(self.subject.clone(), self.component.clone(), self.running.clone())
        }
    }

    fn no_upstream(&self) -> String {
        if self.upstream.version.is_some() && self.upstream.below == Some(Confidence::Possible) {
            format!("{} shows the upstream series only, or was changed by who built it", self.running)
        } else {
            format!("{} does not tell which upstream fixes are in it", self.running)
        }
    }

    /// Is it the kernel.
    pub(super) fn is_kernel(&self) -> bool {
        self.component == "kernel"
    }
}
