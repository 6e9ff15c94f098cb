//! Upstream's version numbers as they count: up to four numbers, then what comes before the release.
//!
//! `6.12` is `6.12.0`, `-rc` is below the release, `rc10` is above `rc9`, numbers have any size. A bound of a record is taken as it is
//! written; of a running version, what a provider appended (`-gke.1014001`, `+k3s1`, `~ds1`) says nothing. Must not know products.

use std::cmp::Ordering;

/// One version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Level {
    numbers: [u64; 4],
    /// Empty for a release.
    before: Vec<Part>,
}

/// A piece of `rc.1`: numbers sort below words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Word(String),
}

impl Level {
    /// What runs: only `alpha`, `beta`, `rc`, `pre` and `dev` stand before a release, anything else is somebody's own.
    pub(super) fn running(text: &str) -> Option<Self> {
        let (numbers, suffix) = split(text)?;
        let stage = ["alpha", "beta", "rc", "pre", "dev"].iter().any(|stage| suffix.starts_with(stage));
        let own = if stage { suffix.split('-').next().unwrap_or_default() } else { "" };
        Some(Self { numbers, before: parts(own) })
    }

    /// A bound of a range.
    pub(super) fn bound(text: &str) -> Option<Self> {
        let (numbers, suffix) = split(text)?;
        Some(Self { numbers, before: parts(suffix) })
    }

    /// `6.12.38` belongs to `(6, 12)`.
    pub(super) fn series(&self) -> (u64, u64) {
        let [major, minor, ..] = self.numbers;
        (major, minor)
    }

    /// Where its series begins, prereleases with it.
    pub(super) fn series_start(&self) -> Self {
        let [major, minor, ..] = self.numbers;
        Self { numbers: [major, minor, 0, 0], before: vec![Part::Number(0)] }
    }

    /// Is it in the cycle that these numbers begin: `6.12.38` in `[6, 12]`, `29.5.1` in `[29]`.
    pub(super) fn within(&self, cycle: &[u64]) -> bool {
        cycle.len() <= self.numbers.len() && cycle.iter().zip(self.numbers).all(|(wanted, number)| *wanted == number)
    }

    /// Stands before a release.
    pub(super) fn is_prerelease(&self) -> bool {
        !self.before.is_empty()
    }
}

impl Ord for Level {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| match (self.before.is_empty(), other.before.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => self.before.cmp(&other.before),
        })
    }
}

impl PartialOrd for Level {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The numbers that name a cycle: `6.12`, `29`, `cos-125`.
pub(super) fn cycle_numbers(cycle: &str) -> Option<Vec<u64>> {
    let numbers = cycle.strip_prefix("cos-").unwrap_or(cycle).split('.').map(|number| number.parse().ok()).collect::<Option<Vec<_>>>()?;
    (numbers.len() <= 4).then_some(numbers)
}

/// Numbers and what follows the first `-`. Container-Optimized OS separates its numbers by `-` too.
fn split(text: &str) -> Option<([u64; 4], &str)> {
    let text = text.trim();
    let text = text.strip_prefix('v').unwrap_or(text);
    let text = text.split(['+', '~']).next().unwrap_or_default();
    let (head, suffix, separator) = if let Some(image) = text.strip_prefix("cos-") {
        (image, "", '-')
    } else {
        let (head, suffix) = text.split_once('-').unwrap_or((text, ""));
        (head, suffix, '.')
    };
    let mut numbers = [0; 4];
    let mut fields = head.split(separator);
    for (slot, field) in numbers.iter_mut().zip(fields.by_ref()) {
        if field.is_empty() || !field.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *slot = field.parse().ok()?;
    }
    Some((numbers, suffix))
}

/// `rc.1` and `rc1` are a word and a number.
fn parts(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    for field in text.split(['.', '-']).filter(|field| !field.is_empty()) {
        let mut rest = field;
        while let Some(first) = rest.chars().next() {
            let digit = first.is_ascii_digit();
            let end = rest.find(|c: char| c.is_ascii_digit() != digit).unwrap_or(rest.len());
            let (piece, next) = rest.split_at_checked(end).unwrap_or((rest, ""));
            parts.push(match piece.parse() {
                Ok(number) if digit => Part::Number(number),
                _ => Part::Word(piece.to_owned()),
            });
            rest = next;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    #[test]
    fn versions_stand_in_upstreams_order() {
        let order = [
            "1.0.0-rc8.0.20190930145003-cad42f6e0932",
            "1.0.0-rc9",
            "1.0.0-rc10",
            "1.0.0-rc93",
            "1.0.0-rc95",
            "1.0.0",
            "1.0.1-0.20211012131345-9c444070ec7b",
            "1.0.1",
            "1.7.0-beta.0",
            "1.7.29",
            "2.0.0-0",
            "2.0.0-alpha.1",
            "2.0.0-rc.1",
            "2.0.0",
            "5.10.255",
            "5.10.265",
            "7.1-rc2",
            "7.1-rc10",
            "7.1",
            "7.1.1",
            "19.03.15",
        ];
        for pair in order.windows(2) {
            let [a, b] = pair else { unreachable!() };
            assert!(Level::bound(a).unwrap() < Level::bound(b).unwrap(), "{a} < {b}");
        }
        assert_eq!(Level::bound("6.12"), Level::bound("v6.12.0"));
    }

    #[test]
    fn what_a_provider_appended_says_nothing() {
        for text in ["v1.30.5-gke.1014001", "1.30.5-eks-a483404", "1.30.5-k3s1", "1.30.5+rke2r1", "1.30.5~ds1", "1.30.5-0ubuntu1~22.04.2"] {
            assert_eq!(Level::running(text), Level::bound("1.30.5"), "{text}");
        }
        assert!(Level::running("1.30.5-rc.1-gke.3") < Level::running("1.30.5"));
        assert_eq!(Level::running("next-20260910"), None);
        assert_eq!(Level::running(""), None);
    }
}
