//! Which parts of the kernel that known vulnerabilities are in this one has, and whether they could be loaded.
//!
//! What runs is told by `/proc/modules` and `/sys/module`, what could be loaded by the lists beside the modules, what could not by
//! the kernel's configuration in `/boot`. `/proc/config.gz` is compressed and left alone. Nothing is absent for want of a file: only
//! the configuration, or both lists, say so. Of modprobe's configuration only `install NAME /bin/false` (or `true`) refuses a module
//! whoever asks for it; `blacklist` refuses only what asks by another name, and is not looked at.

use std::collections::BTreeSet;

use holdfast_checks::facts::{Feature, FeatureState, Listing, Observed, Reason, Skipped, Source, SourceKind};
use holdfast_checks::versions::FEATURES;
use holdfast_checks::versions::knowledge::kernel_option;

use super::now;
use crate::host::{Host, Root};

/// No module: a part that the image has or has not.
const IO_URING: &str = "io_uring";
const CONFIGURATION: [&str; 4] = ["/etc/modprobe.d", "/run/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d"];
/// Programs that do nothing, in whose place a module is not loaded.
const NOTHING: [&str; 4] = ["/bin/false", "/bin/true", "/usr/bin/false", "/usr/bin/true"];
/// Distributions with every driver have lists of 1 MiB.
const LIST_CAP: u64 = 8 * 1024 * 1024;
/// More files than modprobe's configuration has.
const MAX_FILES: usize = 128;

/// What was read of the modules of one kernel; `None` where it could not be.
struct Modules {
    loaded: Option<BTreeSet<String>>,
    built_in: Option<BTreeSet<String>>,
    loadable: Option<BTreeSet<String>>,
    blocked: BTreeSet<String>,
    config: Option<String>,
    /// What could not be read, and why, for those parts of which nothing else tells.
    missing: Option<(String, Reason)>,
    /// `kernel.io_uring_disabled`, which only kernels with that part have.
    io_uring: Option<i64>,
    /// `kernel.modules_disabled`: what is not loaded will not be until the next boot.
    closed: bool,
}

pub(super) fn read(host: &Host, release: &str) -> Observed<Listing<Feature>> {
    let modules = Modules::read(host, release);
    let mut listing = Listing::complete(Vec::new());
    for name in FEATURES {
        if let Some(state) = modules.state(&host.root, name) {
            listing.items.push(Feature { name: (*name).to_owned(), state });
        } else {
            let reason = modules.missing.as_ref().map_or(Reason::NotSupported, |(_, reason)| *reason);
            listing.skipped.push(Skipped { what: (*name).to_owned(), reason });
        }
    }
    match modules.missing {
        Some((what, reason)) if listing.items.is_empty() => Observed::unavailable_because(reason, what),
        _ => Observed::known(listing, Source::new(SourceKind::File, format!("/lib/modules/{release}")), now()),
    }
}

impl Modules {
    fn read(host: &Host, release: &str) -> Self {
        let root = &host.root;
        let directory = ["/lib/modules", "/usr/lib/modules"]
            .into_iter()
            .map(|directory| format!("{directory}/{release}"))
            .find(|directory| root.stamp(directory).is_ok())
            .unwrap_or_else(|| format!("/lib/modules/{release}"));
        let mut missing = None;
        let mut list = |name: &str| match root.read_capped(&format!("{directory}/{name}"), LIST_CAP) {
            Ok(content) => Some(names(&String::from_utf8_lossy(&content))),
            Err(error) => {
                let why = error.unavailable();
                missing.get_or_insert((why.detail, why.reason));
                None
            }
        };
        let (built_in, loadable) = (list("modules.builtin"), list("modules.dep"));
        let loaded = host.proc.root().read_text("modules").ok();
        let number = |name: &str| host.proc.root().read_text(&format!("sys/kernel/{name}")).ok()?.trim().parse().ok();
        Self {
            loaded: loaded.map(|text| text.lines().filter_map(|line| Some(plain(line.split(' ').next()?))).collect()),
            built_in,
            loadable,
            blocked: blocked(root),
            config: root.read_text(&format!("/boot/config-{release}")).or_else(|_| root.read_text(&format!("{directory}/config"))).ok(),
            missing,
            io_uring: number("io_uring_disabled"),
            closed: number("modules_disabled") == Some(1),
        }
    }

    /// How the kernel has `name`; `None` where nothing tells.
    fn state(&self, root: &Root, name: &str) -> Option<FeatureState> {
        if name == IO_URING {
            return match self.io_uring {
                // Nobody at all may use it.
                Some(2) => Some(FeatureState::Blocked),
                Some(_) => Some(FeatureState::BuiltIn),
                None => self.configured(name).filter(|state| *state != FeatureState::Loadable),
            };
        }
        let has = |list: &Option<BTreeSet<String>>| list.as_ref().map(|list| list.contains(name));
        if has(&self.loaded) == Some(true) {
            return Some(FeatureState::Loaded);
        }
        if has(&self.built_in) == Some(true) {
            return Some(FeatureState::BuiltIn);
        }
        // A part that was loaded has a state of initialisation there; one that is linked in has none.
        let directory = format!("/sys/module/{name}");
        if root.stamp(&directory).is_ok() {
            let module = root.stamp(&format!("{directory}/initstate")).is_ok();
            return Some(if module { FeatureState::Loaded } else { FeatureState::BuiltIn });
        }
        let configured = self.configured(name);
        match (has(&self.loadable), configured) {
            (Some(true), _) if self.blocked.contains(name) || self.closed => Some(FeatureState::Blocked),
            (Some(true), _) => Some(FeatureState::Loadable),
            (_, Some(FeatureState::BuiltIn)) => Some(FeatureState::BuiltIn),
            // Built as a module: is it in the list, or in a package that is not installed.
            (Some(false), _) if self.built_in.is_some() => Some(FeatureState::Absent),
            (_, Some(FeatureState::Absent)) => Some(FeatureState::Absent),
            _ => None,
        }
    }

    /// What the kernel's configuration says; a kernel is configured whole, so an option that it does not have is off.
    fn configured(&self, name: &str) -> Option<FeatureState> {
        let option = kernel_option(name)?;
        let config = self.config.as_ref().filter(|config| config.contains("CONFIG_"))?;
        let value = config.lines().find_map(|line| line.strip_prefix(option)?.strip_prefix('='));
        Some(match value {
            Some("y") => FeatureState::BuiltIn,
            Some("m") => FeatureState::Loadable,
            _ => FeatureState::Absent,
        })
    }
}

/// Which of the parts a list of modules' files names: `kernel/net/ipv4/esp4.ko.zst: …`. Thousands of lines, of which a few matter.
fn names(list: &str) -> BTreeSet<String> {
    let part = |line: &str| {
        let stem = line.split(':').next()?.rsplit('/').next()?.trim().split_once(".ko")?.0;
        let same = |name: &&&str| name.len() == stem.len() && name.bytes().zip(stem.bytes()).all(|(a, b)| a == b || (a, b) == (b'_', b'-'));
        FEATURES.iter().find(same).map(|name| (*name).to_owned())
    };
    list.lines().filter_map(part).collect()
}

/// `-` and `_` are one to modprobe.
fn plain(name: &str) -> String {
    name.replace('-', "_")
}

/// Modules for which a program that does nothing stands in. A file's name decides in the first directory that has it.
fn blocked(root: &Root) -> BTreeSet<String> {
    let mut files: BTreeSet<String> = BTreeSet::new();
    let mut found = BTreeSet::new();
    for directory in CONFIGURATION {
        let entries = root.list(directory).unwrap_or_default();
        for name in entries.into_iter().map(|entry| entry.name).filter(|name| name.strip_suffix(".conf").is_some()).take(MAX_FILES) {
            if !files.insert(name.clone()) {
                continue;
            }
            let text = root.read_text(&format!("{directory}/{name}")).unwrap_or_default();
            found.extend(text.lines().filter_map(|line| {
                let mut words = line.split_ascii_whitespace();
                let (verb, module, program) = (words.next()?, words.next()?, words.next()?);
                (verb == "install" && NOTHING.contains(&program)).then(|| plain(module))
            }));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{names, plain};

    #[test]
    fn lists_of_modules_are_read_whatever_they_are_packed_with() {
        let list = "kernel/net/ipv4/esp4.ko.zst: kernel/net/xfrm/xfrm_algo.ko.zst\nkernel/crypto/algif-aead.ko.xz:\nkernel/fs/overlayfs/overlay.ko\nbroken\n:\n";
        assert_eq!(names(list).into_iter().collect::<Vec<_>>(), ["algif_aead", "esp4", "overlay"]);
        assert_eq!(plain("nf-tables"), "nf_tables");
    }
}
