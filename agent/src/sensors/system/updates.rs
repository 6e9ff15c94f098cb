//! Ways by which this host is updated without a person.

use std::collections::BTreeSet;

use holdfast_checks::facts::{Listing, Observed, Os, ServiceSeen, Skipped};
use holdfast_checks::facts::{Source, SourceKind};

use super::listing;
use super::programs::{Cast, Part};
use crate::host::{Host, ReadError};

const APT: &str = "/etc/apt/apt.conf.d";
const APT_KEY: &str = "apt::periodic::unattended-upgrade";
const UPGRADE: &str = "/usr/bin/unattended-upgrade";
/// Where enabling a timer leaves a link.
const TIMERS: &str = "/etc/systemd/system/timers.target.wants";
/// Timers that install, and what they are called here. The plain one of dnf asks a file first.
const INSTALLING: [(&str, &str); 4] = [
    ("dnf-automatic-install.timer", "dnf-automatic"),
    ("dnf5-automatic.timer", "dnf-automatic"),
    ("transactional-update.timer", "transactional-update"),
    ("rpm-ostreed-automatic.timer", "rpm-ostree"),
];
const DNF_TIMER: &str = "dnf-automatic.timer";
const DNF: &str = "/etc/dnf/automatic.conf";
/// Distributions that replace the whole image, by `ID`.
const IMAGES: [&str; 5] = ["bottlerocket", "talos", "flatcar", "cos", "rhcos"];

pub(super) fn read(host: &Host, cast: &Cast, os: &Observed<Os>) -> Observed<Listing<ServiceSeen>> {
    let mut seen: BTreeSet<(String, &str)> = cast.of_part(Part::Update).map(|(name, _)| (name.to_owned(), "process")).collect();
    let mut skipped: Vec<Skipped> = Vec::new();
    match apt(host) {
        Ok(true) => drop(seen.insert(("unattended-upgrades".to_owned(), "file"))),
        Ok(false) => {}
        Err(error) => skipped.push(error.skipped(APT)),
    }
    match timers(host) {
        Ok(names) => seen.extend(names.into_iter().map(|name| (name.to_owned(), "unit"))),
        Err(error) => skipped.push(error.skipped(TIMERS)),
    }
    match os {
        Observed::Known { value, .. } => {
            let image = IMAGES.contains(&value.id.as_str());
            let coreos = value.fields.get("VARIANT_ID").is_some_and(|variant| variant == "coreos");
            if image || coreos {
                seen.insert((format!("{} images", value.id), "file"));
            }
        }
        Observed::Unavailable(why) => skipped.push(Skipped { what: "os-release".to_owned(), reason: why.reason }),
    }
    let items = seen.into_iter().map(|(name, by)| ServiceSeen { name, by: by.to_owned() }).collect();
    let mut found = listing(items, cast, Source::new(SourceKind::File, format!("{APT}, {TIMERS}")));
    if let Some(found) = found.value_mut() {
        found.skipped.extend(skipped);
    }
    found
}

/// Is apt told to install, and is there what does it.
fn apt(host: &Host) -> Result<bool, ReadError> {
    if let Err(error) = host.root.metadata(UPGRADE) {
        return if error.is_absent() { Ok(false) } else { Err(error) };
    }
    let mut on = false;
    let entries = match host.root.list(APT) {
        Ok(entries) => entries,
        Err(error) if error.is_absent() => return Ok(false),
        Err(error) => return Err(error),
    };
    // What apt takes: no ending, or `.conf`.
    for name in entries.into_iter().map(|entry| entry.name).filter(|name| !name.contains('.') || name.strip_suffix(".conf").is_some()) {
        on = periodic(&host.root.read_text(&format!("{APT}/{name}"))?).unwrap_or(on);
    }
    Ok(on)
}

/// `APT::Periodic::Unattended-Upgrade "1";`, the last of them; `always` and intervals count, 0 does not.
fn periodic(text: &str) -> Option<bool> {
    let value = |line: &str| {
        let line = line.trim();
        let (key, value) = line.split_once(char::is_whitespace)?;
        (key.to_ascii_lowercase() == APT_KEY).then(|| value.trim().trim_end_matches(';').trim_matches('"') != "0")
    };
    text.lines().filter_map(value).next_back()
}

fn timers(host: &Host) -> Result<BTreeSet<&'static str>, ReadError> {
    let entries = match host.root.list(TIMERS) {
        Ok(entries) => entries,
        Err(error) if error.is_absent() => return Ok(BTreeSet::new()),
        Err(error) => return Err(error),
    };
    let mut names = BTreeSet::new();
    for entry in entries {
        names.extend(INSTALLING.iter().filter(|(unit, _)| entry.name == *unit).map(|(_, name)| *name));
        if entry.name == DNF_TIMER && applies(&host.root.read_text(DNF)?) {
            names.insert("dnf-automatic");
        }
    }
    Ok(names)
}

/// Without `apply_updates` dnf-automatic only tells that there are some.
fn applies(text: &str) -> bool {
    let value =
        |line: &str| line.trim().split_once('=').filter(|(key, _)| key.trim() == "apply_updates").map(|(_, value)| value.trim().to_owned());
    text.lines()
        .filter_map(value)
        .next_back()
        .is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "yes" | "true" | "1" | "on"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apt_installs_when_the_last_line_says_so() {
        assert_eq!(periodic("APT::Periodic::Unattended-Upgrade \"1\";\n"), Some(true));
        assert_eq!(periodic("APT::Periodic::Unattended-Upgrade \"1\";\nAPT::Periodic::Unattended-Upgrade \"0\";\n"), Some(false));
        assert_eq!(periodic("// APT::Periodic::Unattended-Upgrade \"1\";\nAPT::Periodic::Update-Package-Lists \"1\";\n"), None);
        assert!(applies("[commands]\napply_updates = yes\n"));
        assert!(!applies("[commands]\ndownload_updates = yes\n#apply_updates = yes\n"));
    }
}
