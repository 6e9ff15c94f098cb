//! Boot time, what says that a reboot waits, and livepatches.

use holdfast_checks::facts::{Listing, Observed, Reason, RebootSentinel, Skipped, Source, SourceKind};

use super::now;
use crate::host::{Host, NodeKind};

/// Files whose presence says that a reboot waits: Debian's, Ubuntu's and Flatcar's; SUSE's; that of systems of ostree. `/var/run` is
/// `/run`. What Red Hat's and Amazon's systems have installed is told by no file.
const SENTINELS: [&str; 3] = ["/run/reboot-required", "/run/reboot-needed", STAGED];
/// What ostree writes when it has put another system beside the running one.
pub(super) const STAGED: &str = "/run/ostree/staged-deployment";
/// What writes the sentinel on Debian and Ubuntu; a minimal installation has none of these.
const ANNOUNCERS: [&str; 3] = [
    "/etc/kernel/postinst.d/unattended-upgrades",
    "/etc/kernel/postinst.d/update-notifier",
    "/usr/share/update-notifier/notify-reboot-required",
];
const SENTINEL_PACKAGES: &str = "/run/reboot-required.pkgs";

/// `btime` of `/proc/stat`.
pub(super) fn time(host: &Host) -> Observed<i64> {
    match host.proc.root().read_text("stat") {
        Ok(text) => match text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok()) {
            Some(time) => Observed::known(time, Source::new(SourceKind::Kernel, "/proc/stat"), now()),
            None => Observed::unavailable_because(Reason::Malformed, "/proc/stat: no btime"),
        },
        Err(error) => error.observed(),
    }
}

/// Known and empty: looked, none there.
pub(super) fn sentinels(host: &Host) -> Observed<Listing<RebootSentinel>> {
    if let Err(error) = host.root.list("/run") {
        return error.observed();
    }
    let mut listing = Listing::complete(Vec::new());
    for path in SENTINELS {
        match host.root.metadata(path) {
            Ok(status) => {
                let packages = if path == SENTINELS[0] { packages(host) } else { Vec::new() };
                listing.items.push(RebootSentinel { path: path.to_owned(), since: status.modified, packages });
            }
            Err(error) if error.is_absent() => {}
            Err(error) => listing.skipped.push(error.skipped(path)),
        }
    }
    // On Debian the file comes from packages that need not be installed: without them its absence says nothing.
    if listing.items.is_empty() && is_there(host, "/var/lib/dpkg/status") && !ANNOUNCERS.iter().any(|path| is_there(host, path)) {
        let what = format!("{}, which nothing here would write (unattended-upgrades does)", SENTINELS[0]);
        listing.skipped.push(Skipped { what, reason: Reason::NotSupported });
    }
    Observed::known(listing, Source::new(SourceKind::File, "/run"), now())
}

fn is_there(host: &Host, path: &str) -> bool {
    host.root.metadata(path).is_ok()
}

fn packages(host: &Host) -> Vec<String> {
    let text = host.root.read_text(SENTINEL_PACKAGES).unwrap_or_default();
    let mut names: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names.truncate(100);
    names
}

/// Livepatches that are switched on.
pub(super) fn livepatches(host: &Host) -> Observed<Vec<String>> {
    let directory = "/sys/kernel/livepatch";
    let source = Source::new(SourceKind::Kernel, directory);
    let enabled = |name: &String| host.root.read_text(&format!("{directory}/{name}/enabled")).is_ok_and(|text| text.trim() == "1");
    match host.root.list(directory) {
        Ok(entries) => {
            let patches = entries.into_iter().filter(|entry| entry.kind == Some(NodeKind::Directory)).map(|entry| entry.name);
            Observed::known(patches.filter(enabled).collect(), source, now())
        }
        // A kernel that cannot be patched has no such directory, and no patch.
        Err(error) if error.is_absent() && host.root.list("/sys/kernel").is_ok() => Observed::known(Vec::new(), source, now()),
        Err(error) => error.observed(),
    }
}
