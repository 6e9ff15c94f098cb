//! What is particular to a distribution's records: how its versions compare, its names for one kernel, its streams.

use super::Scheme;

/// A distribution's release, however a feed spells it: `Ubuntu:22.04:LTS` and `Ubuntu:Pro:22.04:LTS` are one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ecosystem {
    /// `Ubuntu`, `AlmaLinux`.
    distribution: String,
    /// `22.04`, `9`; whatever follows where nothing is known of it.
    release: String,
}

/// `el9_7`: a minor release whose fixes are its own; no minor while the newest one is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) major: u16,
    pub(super) minor: Option<u16>,
}

impl Ecosystem {
    /// Reads OSV's name; true with it where its fixes need a subscription.
    pub(super) fn read(name: &str) -> (Self, bool) {
        let (distribution, rest) = name.split_once(':').unwrap_or((name, ""));
        let (release, paid) = match distribution {
            "Ubuntu" => {
                let (rest, paid) = rest.strip_prefix("Pro:").map_or((rest, false), |rest| (rest, true));
                (rest.strip_suffix(":LTS").unwrap_or(rest).to_owned(), paid)
            }
            // `enterprise_linux:9::baseos`, `rhel_eus:9.4::appstream`: streams tell the rest.
            "Red Hat" => (red_hat_major(rest), false),
            "AlmaLinux" | "Rocky Linux" | "Oracle Linux" | "Oracle" => (major(rest).to_owned(), false),
            _ => (rest.to_owned(), false),
        };
        (Self { distribution: distribution.to_owned(), release }, paid)
    }

    /// How its versions compare.
    pub(super) fn scheme(&self) -> Scheme {
        match self.distribution.as_str() {
            "Debian" | "Ubuntu" | "Raspbian" | "Proxmox" => Scheme::Dpkg,
            _ => Scheme::Rpm,
        }
    }

    /// Do its errata name a vulnerability once a minor release.
    pub(super) fn has_streams(&self) -> bool {
        matches!(self.distribution.as_str(), "AlmaLinux" | "Rocky Linux" | "Red Hat" | "Oracle Linux" | "Oracle" | "CentOS")
    }

    /// Does a kernel's own release lack the last number of its package.
    pub(super) fn hides_rebuilds(&self) -> bool {
        self.distribution.starts_with("SUSE") || self.distribution.starts_with("openSUSE")
    }

    /// Whose records hold as well, where there are none of its own.
    pub(super) fn lender(&self) -> Option<Self> {
        let lent = matches!(self.distribution.as_str(), "Red Hat" | "Rocky Linux");
        lent.then(|| Self { distribution: "AlmaLinux".to_owned(), release: self.release.clone() })
    }

    /// `6.12.90-2~bpo12+1` on Debian 12 is Debian 13's 6.12.90-2.
    pub(super) fn rebuilt_from(self, version: &str) -> (Self, String) {
        let Some((own, (release, _))) = version.rsplit_once("~bpo").and_then(|(own, mark)| Some((own, mark.split_once('+')?))) else {
            return (self, version.to_owned());
        };
        match release.parse::<u32>() {
            Ok(release) if self.distribution == "Debian" => {
                let from = Self { distribution: self.distribution, release: release.saturating_add(1).to_string() };
                (from, own.to_owned())
            }
            _ => (self, version.to_owned()),
        }
    }

    /// A fix of a series that the package never was in is how Ubuntu says that it never was affected.
    pub(super) fn never_had(&self, package: &str, version: &str, fixed: &str) -> bool {
        let series = |version: &str| {
            let mut numbers = version.split(['.', '-']).map(|number| number.parse::<u32>().ok());
            Some((numbers.next()??, numbers.next()??))
        };
        self.distribution == "Ubuntu" && package == "linux" && matches!((series(fixed), series(version)), (Some(a), Some(b)) if a < b)
    }
}

/// Names that stand for one package. Errata about a kernel may name only what is built beside it.
pub(super) fn family(ecosystem: &Ecosystem, package: &str) -> String {
    const BESIDE: [&str; 13] = [
        "core",
        "modules",
        "tools",
        "abi-",
        "devel",
        "headers",
        "debug",
        "doc",
        "cross-headers",
        "uki-virt",
        "zfcpdump",
        "64k",
        "selftests",
    ];
    let beside = |rest: &str| BESIDE.iter().any(|name| rest.starts_with(name));
    match package.strip_prefix("kernel-") {
        Some(rest) if ecosystem.has_streams() && beside(rest) => "kernel".to_owned(),
        Some(rest) if ecosystem.has_streams() && rest.strip_prefix("rt-").is_some_and(beside) => "kernel-rt".to_owned(),
        Some(rest) if ecosystem.has_streams() && rest.strip_prefix("uek-").is_some_and(beside) => "kernel-uek".to_owned(),
        _ => package.to_owned(),
    }
}

/// The stream that a build names: `5.14.0-611.54.1.el9_7` is of `el9_7`.
pub(super) fn stream(version: &str) -> Option<Stream> {
    version.split(".el").skip(1).find_map(|rest| {
        let (major, rest) = number(rest)?;
        Some(Stream { major, minor: rest.strip_prefix('_').and_then(number).map(|(minor, _)| minor) })
    })
}

fn number(text: &str) -> Option<(u16, &str)> {
    let (digits, rest) = text.split_at_checked(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))?;
    Some((digits.parse().ok()?, rest))
}

fn major(release: &str) -> &str {
    release.split(['.', ':']).next().unwrap_or_default()
}

fn red_hat_major(cpe: &str) -> String {
    let version = cpe.split(':').find(|field| field.starts_with(|c: char| c.is_ascii_digit())).unwrap_or(cpe);
    major(version).to_owned()
}
