//! The upstream release behind a version's text. Must not know what changed in which.

use std::fmt;

/// A release: major, minor, patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Release(pub(super) u32, pub(super) u32, pub(super) u32);

impl Release {
    /// `2.1.9+unknown`, `v1.7.27`, `1.6.20~ds1`, `1.21`, `6.12.48+deb13-amd64`.
    pub(super) fn of(version: &str) -> Option<Self> {
        let version = version.strip_prefix('v').unwrap_or(version);
        let numbers = version.split(|c: char| !(c.is_ascii_digit() || c == '.')).next()?;
        let mut parts = numbers.split('.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.parse().ok()?;
        Some(Self(major, minor, parts.next().and_then(|part| part.parse().ok()).unwrap_or(0)))
    }
}

/// What is known of the release that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Running {
    Exact(Release),
    /// An older one would not have read its configuration.
    AtLeast(Release),
    Unknown,
}

impl Running {
    pub(super) fn of(version: Option<&str>) -> Self {
        version.and_then(Release::of).map_or(Self::Unknown, Self::Exact)
    }

    /// Is it `first` or newer; `None` where that is not known.
    pub(super) fn is_at_least(self, first: Release) -> Option<bool> {
        match self {
            Self::Exact(release) => Some(release >= first),
            Self::AtLeast(release) if release >= first => Some(true),
            Self::AtLeast(_) | Self::Unknown => None,
        }
    }
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(release) => write!(f, " {release}"),
            Self::AtLeast(Release(major, minor, _)) => write!(f, " {major}.{minor} or newer"),
            Self::Unknown => Ok(()),
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::Release;
    use rstest::rstest;

    #[rstest]
    #[case("1.6.20~ds1", Some(Release(1, 6, 20)))]
    #[case("v2.1.9+unknown", Some(Release(2, 1, 9)))]
    #[case("2.0.5-k3s1", Some(Release(2, 0, 5)))]
    #[case("1.21", Some(Release(1, 21, 0)))]
    #[case("6.12.48+deb13-amd64", Some(Release(6, 12, 48)))]
    #[case("unknown", None)]
    #[case("2", None)]
    #[case("", None)]
    #[case("99999999999.1.1", None)]
    fn releases(#[case] text: &str, #[case] expected: Option<Release>) {
        assert_eq!(Release::of(text), expected);
    }
}
