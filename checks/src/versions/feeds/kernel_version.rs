//! Versions of the upstream kernel as its own lists write them, and the ranges they make.
//!
//! Every series has its own fix; a version is affected up to the fix of its series, and where the series has none, up to
//! mainline's. Sublevels are whole numbers: they passed 255 long ago.

use std::collections::BTreeMap;
use std::fmt;

use crate::versions::knowledge::Range;

/// `6.12`, `6.12.104` or `7.1-rc3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KernelVersion {
    major: u32,
    minor: u32,
    patch: u32,
    /// The number of a release candidate; a release comes after all of them.
    candidate: u32,
}

impl KernelVersion {
    /// `None` for anything else, like `next-20260910`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        let (numbers, candidate) = match text.split_once("-rc") {
            Some((numbers, candidate)) => (numbers, number(candidate)?),
            None => (text, u32::MAX),
        };
        let mut parts = numbers.split('.');
        let (major, minor) = (number(parts.next()?)?, number(parts.next()?)?);
        let patch = parts.next().map_or(Some(0), number)?;
        parts.next().is_none().then_some(Self { major, minor, patch, candidate })
    }

    /// `6.12`.
    pub(super) fn series(self) -> Series {
        Series { major: self.major, minor: self.minor }
    }

    pub(super) fn is_candidate(self) -> bool {
        self.candidate != u32::MAX
    }
}

/// `6.12`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Series {
    major: u32,
    minor: u32,
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What a record says of a vulnerability.
#[derive(Debug, Default)]
pub(super) struct Fixes<'t> {
    /// The first affected version; `None`: from the beginning.
    pub(super) introduced: Option<(KernelVersion, &'t str)>,
    /// The fix of each series; where two are named, the higher: the first was incomplete.
    pub(super) series: BTreeMap<Series, (KernelVersion, &'t str)>,
    /// Mainline's.
    pub(super) mainline: Option<(KernelVersion, &'t str)>,
}

impl<'t> Fixes<'t> {
    /// Adds the fix of a series.
    pub(super) fn fixed(&mut self, version: KernelVersion, text: &'t str) {
        let fix = self.series.entry(version.series()).or_insert((version, text));
        *fix = (*fix).max((version, text));
    }

    /// One range for each series that has a fix, and one up to mainline's: none reaches over a fix of another.
    pub(super) fn ranges(&self) -> Vec<Range> {
        let mut ranges = Vec::new();
        let mut start = self.introduced.map(|(version, _)| version);
        let mut start_text = self.introduced.map_or_else(|| "0".to_owned(), |(_, text)| text.to_owned());
        for (series, (version, fixed)) in &self.series {
            if start.is_some_and(|start| start >= *version) {
                continue;
            }
            ranges.push(Range { introduced: start_text, fixed: Some((*fixed).to_owned()) });
            let next = Series { major: series.major, minor: series.minor.saturating_add(1) };
            start = KernelVersion::parse(&next.to_string());
            start_text = next.to_string();
        }
        match self.mainline {
            Some((version, fixed)) if start.is_none_or(|start| start < version) => {
                ranges.push(Range { introduced: start_text, fixed: Some(fixed.to_owned()) });
            }
            Some(_) => {}
            None => ranges.push(Range { introduced: start_text, fixed: None }),
        }
        ranges
    }
}
