//! The host as a server: disks and mounts, logs and who carries them away, the clock, updates, the programs themselves.
//!
//! Which programs matter is told by the process table; what they are told to do by their own files, read through their own roots.
//! Must not know what is good: defaults and what follows from them are derived.

mod binaries;
mod clock;
mod disks;
mod ini;
mod journald;
mod known;
mod mounts;
mod programs;
mod shippers;
mod updates;

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_checks::facts::{Listing, Observed, Os, Reason, ServiceSeen, Skipped, Source, SourceKind, System, Unavailable};

pub(super) use binaries::Hashes;
pub use known::{KnownBinaries, KnownBinariesError};
pub(super) use programs::Cast;
use programs::Part;

use super::aside::Aside;
use super::now;
use super::processes::ProcessTable;
use crate::host::Host;

/// What the group builds on beside the host and its processes.
pub(super) struct Beside {
    pub(super) os: Observed<Os>,
    pub(super) hashes: Hashes,
    pub(super) known: Option<KnownBinaries>,
    /// For reading the files of programs that are not the host's.
    pub(super) aside: Arc<Aside>,
}

/// Everything. Hashing comes last: what it does not finish in time is finished in the next pass.
pub(super) fn read(host: &Host, table: &ProcessTable, beside: &Beside) -> Observed<System> {
    let cast = Cast::of(table);
    let mounts = mounts::Mounts::read(host);
    let system = System {
        mounts: mounts::options(host, &mounts),
        disks: disks::read(host, &mounts),
        core_pattern: core_pattern(host),
        journald: journald::settings(host, &cast),
        journal_persistent: journald::on_disk(host, &cast),
        shippers: shippers::read(host, &cast, &beside.aside),
        time_services: running(&cast, Part::Clock),
        clock_synchronised: clock::synchronised(host, &cast),
        updates: updates::read(host, &cast, &beside.os),
        protection: running(&cast, Part::Protection),
        binaries: binaries::read(host, &cast, &beside.hashes, beside.known.as_ref()),
    };
    Observed::known(system, Source::new(SourceKind::Kernel, "/proc and files"), now())
}

/// Programs of one part that run.
fn running(cast: &Cast, part: Part) -> Observed<Listing<ServiceSeen>> {
    let names: BTreeSet<&str> = cast.of_part(part).map(|(name, _)| name).collect();
    let items = names.into_iter().map(|name| ServiceSeen { name: name.to_owned(), by: "process".to_owned() }).collect();
    listing(items, cast, Source::new(SourceKind::Process, "/proc"))
}

/// A list that rests on the processes. Where they are hidden, nothing seen is nothing known.
fn listing<T>(items: Vec<T>, cast: &Cast, source: Source) -> Observed<Listing<T>> {
    match cast.hidden() {
        Some(why) if items.is_empty() => Observed::Unavailable(why),
        hidden => {
            let skipped = hidden.map(|why| Skipped { what: why.detail, reason: why.reason });
            Observed::known(Listing { items, skipped: skipped.into_iter().collect() }, source, now())
        }
    }
}

fn core_pattern(host: &Host) -> Observed<String> {
    let path = "sys/kernel/core_pattern";
    match host.proc.root().read_text(path) {
        Ok(text) => {
            Observed::known(text.trim_end_matches('\n').to_owned(), Source::new(SourceKind::Kernel, format!("/proc/{path}")), now())
        }
        Err(error) => error.observed(),
    }
}

/// What a recorded tree cannot tell: its file systems are those of whoever looks at it.
fn recorded() -> Unavailable {
    Unavailable::new(Reason::NotSupported, "a recorded tree says nothing of its disks")
}

/// systemd's settings, and what a log shipper is told.
#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(text: &str) {
    ini::fuzz(text);
    shippers::fuzz(text);
}
