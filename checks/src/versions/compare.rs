//! Comparing versions the way the system that numbers them does: dpkg, rpm, and upstream's three numbers.
//!
//! Total orders over any text. Which order fits a package is decided by [`super::Scheme`]; epochs and backport marks that only
//! one side carries are for the caller to strip.

use std::cmp::Ordering;

use semver::Version;

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
/// below 1.30.5. Compare with [`Version::cmp_precedence`]. `None` when there is no version in the text.
pub fn upstream(text: &str) -> Option<Version> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let text = text.split(['+', '~']).next()?;
    let (numbers, suffix) = text.split_once('-').unwrap_or((text, ""));
    let mut version = Version::parse(&if numbers.matches('.').count() == 1 { format!("{numbers}.0") } else { numbers.to_owned() }).ok()?;
    let own = suffix.split('-').next().unwrap_or_default();
    if ["alpha", "beta", "rc"].iter().any(|stage| own.starts_with(stage)) {
        version.pre = semver::Prerelease::new(own).ok()?;
    }
    Some(version)
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
