//! Comparing versions the way the system that numbers them does: dpkg, rpm, and upstream's three numbers.
//!
//! Total orders over any text. Which order fits a package is decided by [`super::Scheme`]; epochs and backport marks that only
//! one side carries are for the caller to strip.

use std::cmp::Ordering;

use semver::Version;
use serde::{Deserialize, Serialize};

/// How package versions compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// As dpkg compares.
    Dpkg,
    /// As rpm compares.
    Rpm,
}

impl Scheme {
    /// The order of two package versions.
    pub fn compare(self, a: &str, b: &str) -> Ordering {
        match self {
            Self::Dpkg => dpkg(a, b),
            Self::Rpm => rpm(a, b),
        }
    }

    /// The name in evidence.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dpkg => "dpkg",
            Self::Rpm => "rpm",
        }
    }
}

/// `[epoch:]upstream[-revision]` as dpkg compares it.
pub fn dpkg(a: &str, b: &str) -> Ordering {
    let ((epoch_a, rest_a), (epoch_b, rest_b)) = (epoch(a), epoch(b));
    let ((upstream_a, revision_a), (upstream_b, revision_b)) = (revision(rest_a), revision(rest_b));
    number(epoch_a, epoch_b)
        .then_with(|| dpkg_part(upstream_a, upstream_b))
        .then_with(|| dpkg_part(revision_a.unwrap_or("0"), revision_b.unwrap_or("0")))
}

/// `[epoch:]version[-release]` as rpm compares it.
pub fn rpm(a: &str, b: &str) -> Ordering {
    let ((epoch_a, rest_a), (epoch_b, rest_b)) = (epoch(a), epoch(b));
    let ((version_a, release_a), (version_b, release_b)) = (revision(rest_a), revision(rest_b));
    number(epoch_a, epoch_b)
        .then_with(|| rpm_part(version_a, version_b))
        .then_with(|| rpm_part(release_a.unwrap_or_default(), release_b.unwrap_or_default()))
}

/// Upstream's version without what a provider appended: `v1.30.5-gke.1014001` is 1.30.5, which semver alone would sort
/// below 1.30.5. Compare with [`Version::cmp_precedence`], or at once with [`suffixed`]. `None` when there is no version in the text.
pub fn upstream(text: &str) -> Option<Version> {
    let (numbers, rest) = run(text.strip_prefix('v').unwrap_or(text), |c| is_digit(c) || c == '.');
    let mut parts = numbers.split('.').map(|part| part.parse::<u64>().ok());
    let (major, minor) = (parts.next()??, parts.next()??);
    let patch = parts.next().unwrap_or(Some(0))?;
    if parts.next().is_some() {
        return None;
    }
    let mut version = Version::new(major, minor, patch);
    if let (Some(stage), _) = stage(rest) {
        // `rc10` is the tenth candidate, which text would sort below `rc9`.
        let (name, counter) = run(stage, |c| c.is_ascii_alphabetic());
        let counters = counter.split('.').filter_map(|part| part.parse::<u64>().ok());
        let identifiers: Vec<String> = std::iter::once(name.to_owned()).chain(counters.map(|part| part.to_string())).collect();
        version.pre = semver::Prerelease::new(&identifiers.join(".")).ok()?;
    }
    Some(version)
}

/// Upstream's order of versions that providers appended something to. What is no version sorts before all that are.
pub fn suffixed(a: &str, b: &str) -> Ordering {
    match (upstream(a), upstream(b)) {
        (Some(a), Some(b)) => a.cmp_precedence(&b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// Splits what follows upstream's numbers into the stage of release (`rc.3`, `beta.0`, dpkg's `~rc93`) and what somebody appended.
pub fn stage(rest: &str) -> (Option<&str>, &str) {
    let Some(said) = rest.strip_prefix(['-', '~']) else { return (None, rest) };
    let (own, suffix) = run(said, |c| c.is_ascii_alphanumeric() || c == '.');
    let (name, counter) = run(own, |c| c.is_ascii_alphabetic());
    let only_counts = counter.is_empty()
        || counter.split('.').enumerate().all(|(at, part)| (at == 0 && part.is_empty()) || part.bytes().all(|byte| byte.is_ascii_digit()));
    if matches!(name, "alpha" | "beta" | "rc") && only_counts { (Some(own), suffix) } else { (None, rest) }
}

/// A backport's version as the suite has it that it was rebuilt from: `6.12.90-2~bpo12+1` is that suite's `6.12.90-2`. For comparing
/// with that suite's records only.
pub fn without_backport(version: &str) -> &str {
    let Some((source, mark)) = version.rsplit_once("~bpo") else { return version };
    let (suite, rest) = run(mark, is_digit);
    let rebuilt = rest.strip_prefix('+').is_some_and(|count| !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit()));
    if !suite.is_empty() && rebuilt { source } else { version }
}

/// A version as its source package has it, where only the binary was built again: `1.6.20~ds1-1+b2` is `1.6.20~ds1-1`.
pub fn without_rebuild(version: &str) -> &str {
    let Some((source, count)) = version.rsplit_once("+b") else { return version };
    if !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit()) { source } else { version }
}

/// A version without epoch: `uname` prints none, so a kernel's are compared without.
pub fn without_epoch(version: &str) -> &str {
    epoch(version).1
}

fn epoch(text: &str) -> (&str, &str) {
    let numeric = |epoch: &str| !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once(':').filter(|(epoch, _)| numeric(epoch)).unwrap_or(("0", text))
}

fn revision(text: &str) -> (&str, Option<&str>) {
    text.rsplit_once('-').map_or((text, None), |(version, revision)| (version, Some(revision)))
}

/// Compares digits as numbers of any size.
fn number(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Splits off the leading characters that `takes` accepts.
fn run(text: &str, takes: fn(char) -> bool) -> (&str, &str) {
    text.split_at_checked(text.find(|c| !takes(c)).unwrap_or(text.len())).unwrap_or((text, ""))
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

/// Alternates between text, where `~` sorts before the end and letters before anything else, and numbers.
fn dpkg_part(mut a: &str, mut b: &str) -> Ordering {
    fn weight(c: Option<char>) -> (u8, u32) {
        match c {
            Some('~') => (0, 0),
            None => (1, 0),
            Some(c) if c.is_ascii_alphabetic() => (2, u32::from(c)),
            Some(c) => (3, u32::from(c)),
        }
    }
    while !(a.is_empty() && b.is_empty()) {
        let ((text_a, rest_a), (text_b, rest_b)) = (run(a, |c| !is_digit(c)), run(b, |c| !is_digit(c)));
        let (mut left, mut right) = (text_a.chars(), text_b.chars());
        loop {
            let (x, y) = (left.next(), right.next());
            match weight(x).cmp(&weight(y)) {
                Ordering::Equal if x.is_none() && y.is_none() => break,
                Ordering::Equal => {}
                decided => return decided,
            }
        }
        let ((digits_a, next_a), (digits_b, next_b)) = (run(rest_a, is_digit), run(rest_b, is_digit));
        match number(digits_a, digits_b) {
            Ordering::Equal => (a, b) = (next_a, next_b),
            decided => return decided,
        }
    }
    Ordering::Equal
}

/// Compares runs of digits or letters; everything else only separates. `~` sorts before the end, `^` after it and before
/// anything else.
fn rpm_part(mut a: &str, mut b: &str) -> Ordering {
    loop {
        let separates = |c: char| !c.is_ascii_alphanumeric() && c != '~' && c != '^';
        (a, b) = (a.trim_start_matches(separates), b.trim_start_matches(separates));
        match (a.strip_prefix('~'), b.strip_prefix('~')) {
            (Some(rest_a), Some(rest_b)) => {
                (a, b) = (rest_a, rest_b);
                continue;
            }
            (Some(_), None) => return Ordering::Less,
            (None, Some(_)) => return Ordering::Greater,
            (None, None) => {}
        }
        match (a.strip_prefix('^'), b.strip_prefix('^')) {
            (Some(rest_a), Some(rest_b)) => {
                (a, b) = (rest_a, rest_b);
                continue;
            }
            (Some(_), None) => return if b.is_empty() { Ordering::Greater } else { Ordering::Less },
            (None, Some(_)) => return if a.is_empty() { Ordering::Less } else { Ordering::Greater },
            (None, None) => {}
        }
        if a.is_empty() || b.is_empty() {
            return a.len().cmp(&b.len());
        }
        let numeric = a.starts_with(is_digit);
        let takes: fn(char) -> bool = if numeric { is_digit } else { |c| c.is_ascii_alphabetic() };
        let ((part_a, rest_a), (part_b, rest_b)) = (run(a, takes), run(b, takes));
        if part_b.is_empty() {
            // A number is newer than a word.
            return if numeric { Ordering::Greater } else { Ordering::Less };
        }
        match if numeric { number(part_a, part_b) } else { part_a.cmp(part_b) } {
            Ordering::Equal => (a, b) = (rest_a, rest_b),
            decided => return decided,
        }
    }
}
