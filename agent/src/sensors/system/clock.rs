//! Whether the clock is set by somebody, as far as they leave a trace. Asking the kernel itself takes a call this program has not.

use holdfast_checks::facts::{Observed, Reason, Source, SourceKind};

use super::super::now;
use super::programs::{Cast, Part};
use crate::host::Host;

/// systemd-timesyncd makes it with the first answer since boot.
const TIMESYNCD: &str = "/run/systemd/timesync/synchronized";
/// Written at most once an hour, while the clock is followed.
const DRIFT: [(&str, &[&str]); 2] = [
    ("chronyd", &["/var/lib/chrony/chrony.drift", "/var/lib/chrony/drift"]),
    ("ntpd", &["/var/lib/ntpsec/ntp.drift", "/var/lib/ntp/ntp.drift", "/var/lib/ntp/drift"]),
];
/// Older than this it was not followed any more.
const FRESH_SECONDS: i64 = 24 * 60 * 60;

/// By what the running program leaves behind.
pub(super) fn synchronised(host: &Host, cast: &Cast) -> Observed<bool> {
    if cast.runs(Part::Clock, "systemd-timesyncd") {
        let source = || Source::new(SourceKind::File, TIMESYNCD);
        return match host.root.metadata(TIMESYNCD) {
            Ok(_) => Observed::known(true, source(), now()),
            Err(error) if error.is_absent() && host.root.list("/run/systemd").is_ok() => Observed::known(false, source(), now()),
            Err(error) => error.observed(),
        };
    }
    if let Some((name, paths)) = DRIFT.iter().find(|(name, _)| cast.runs(Part::Clock, name)) {
        let written = paths.iter().find_map(|path| Some((*path, host.root.metadata(path).ok()?.modified)));
        let fresh = |modified: i64| (now() / 1000).saturating_sub(modified) < FRESH_SECONDS;
        return match written {
            Some((path, modified)) if host.live() && fresh(modified) => Observed::known(true, Source::new(SourceKind::File, path), now()),
            _ => {
                let detail = format!("{name} runs, and left no trace of today that it follows a clock");
                Observed::unavailable_because(Reason::NotSupported, detail)
            }
        };
    }
    match cast.hidden() {
        Some(why) => Observed::Unavailable(why),
        None => Observed::unavailable_because(Reason::NotSupported, "no program that is known to leave a trace of it runs here"),
    }
}
