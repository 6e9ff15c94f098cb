//! Programs that carry logs away: where to, over what, and whether they keep what they cannot send.
//!
//! Each one's configuration is read through its own root, by the paths it was started with or its usual ones. Of an address only
//! scheme, host and port become a fact. What is not understood is `unknown`, never guessed. Whoever may start a pod may start one
//! that calls itself a shipper: it can claim, and learn nothing.

mod documents;
mod fluent_bit;
mod output;
mod rsyslog;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_checks::facts::{Listing, LogShipper, Observed, Placement, Source, SourceKind};

use super::super::aside::Aside;
use super::super::config::{self, absolute};
use super::super::network::sshd::glob;
use super::super::processes::Seen;
use super::programs::{Cast, Part};
use super::{ini, listing};
use crate::host::{Host, Root};
use output::{Answer, Output};

/// Enough of a command line for the path of a file.
const COMMAND_LINE: u64 = 4096;
/// Files of one shipper.
const MAX_FILES: usize = 64;
/// Bytes of all its files; of those in pods, which anybody may fill.
const MAX_TEXT: usize = 2 * 1024 * 1024;
const MAX_TEXT_OF_PODS: usize = 128 * 1024;
/// How long one pass waits for the files of those that are not the host's.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a shipper's files say.
#[derive(Debug, Default)]
struct Said {
    outputs: Vec<Output>,
    /// The file that was read first.
    source: String,
    /// Something was not read or not understood: what follows from the rest may not hold.
    incomplete: bool,
    /// Nothing is sent: it only writes files of this host.
    local: bool,
}

/// Reads files as a shipper sees them, within bounds.
struct Files<'a> {
    host: &'a Host,
    root: &'a Root,
    seen: &'a Seen,
    cwd: &'a str,
    left: usize,
    spare: usize,
}

impl Files<'_> {
    /// The text; `None` where it is not there or cannot be read.
    fn text(&mut self, path: &str) -> Option<String> {
        self.left = self.left.checked_sub(1)?;
        let text = config::text(self.host, self.root, self.seen, &absolute(path, self.cwd)).ok()?;
        self.spare = self.spare.checked_sub(text.len())?;
        Some(text)
    }

    /// The paths that match, where they can be listed.
    fn expand(&self, pattern: &str) -> Option<Vec<String>> {
        glob::expand(self.root, &absolute(pattern, self.cwd)).ok()
    }
}

/// One per name; where several of a name run (a daemon and its workers), what the first says.
pub(super) fn read(host: &Host, cast: &Cast, aside: &Aside) -> Observed<Listing<LogShipper>> {
    let mut shippers: BTreeMap<&str, LogShipper> = BTreeMap::new();
    let (of_host, others): (Vec<_>, Vec<_>) = cast.of_part(Part::Shipper).partition(|(_, seen)| seen.fact.placement == Placement::Host);
    for (name, seen) in of_host {
        if !shippers.contains_key(name)
            && let Some(shipper) = shipper(name, said(host, name, seen))
        {
            shippers.insert(name, shipper);
        }
    }
    let others = others.into_iter().filter(|(name, _)| !shippers.contains_key(name)).map(|(name, seen)| (name, Arc::clone(seen)));
    for (name, said) in said_by_others(host, others.collect(), aside) {
        if !shippers.contains_key(name)
            && let Some(shipper) = shipper(name, said)
        {
            shippers.insert(name, shipper);
        }
    }
    listing(shippers.into_values().collect(), cast, Source::new(SourceKind::Process, "/proc"))
}

/// What those say that are not the host's own: their files may be on file systems that never answer.
fn said_by_others(host: &Host, others: Vec<(&'static str, Arc<Seen>)>, aside: &Aside) -> Vec<(&'static str, Said)> {
    if others.is_empty() {
        return Vec::new();
    }
    let names: Vec<&'static str> = others.iter().map(|(name, _)| *name).collect();
    let (until, host) = (Instant::now() + PATIENCE, host.clone());
    let results = aside.run(others.into_iter().map(move |(name, seen)| said(&host, name, &seen)));
    let left = || until.saturating_duration_since(Instant::now());
    let answer = || results.as_ref().and_then(|results| results.recv_timeout(left()).ok());
    // In the order they were asked; after one that does not answer nobody else does.
    names.into_iter().map(|name| (name, answer().unwrap_or_else(|| Said { incomplete: true, ..Said::default() }))).collect()
}

fn said(host: &Host, name: &str, seen: &Seen) -> Said {
    let unread = Said { incomplete: true, ..Said::default() };
    let Ok(process) = host.proc.process(seen.fact.pid) else { return unread };
    let line = process.start_of("cmdline", COMMAND_LINE).unwrap_or_default();
    let argv: Vec<String> = String::from_utf8_lossy(&line).split('\0').map(str::to_owned).collect();
    let spare = if seen.fact.placement == Placement::Pod { MAX_TEXT_OF_PODS } else { MAX_TEXT };
    let read = config::with_root(host, seen, |root, cwd| {
        let mut files = Files { host, root, seen, cwd, left: MAX_FILES, spare };
        match name {
            "rsyslog" => rsyslog::read(&mut files, option(&argv, &["-f"]).unwrap_or("/etc/rsyslog.conf")),
            "fluent-bit" => fluent_bit::read(&mut files, option(&argv, &["-c", "--config"])),
            "vector" => documents::vector(&mut files, &argv),
            "promtail" => documents::promtail(&mut files, option(&argv, &["-config.file", "--config.file"])),
            "filebeat" => documents::filebeat(&mut files, option(&argv, &["-c", "--c"])),
            "systemd-journal-upload" => journal_upload(host),
            _ => Said { incomplete: true, ..Said::default() },
        }
    });
    read.unwrap_or(unread)
}

/// The value of the first of the options that is there: behind it, or behind `=`.
fn option<'a>(argv: &'a [String], names: &[&str]) -> Option<&'a str> {
    argv.iter().enumerate().skip(1).find_map(|(index, argument)| {
        let name = names.iter().find(|name| argument.starts_with(**name))?;
        match argument.strip_prefix(name)? {
            "" => argv.get(index + 1).map(String::as_str),
            rest => rest.strip_prefix('='),
        }
    })
}

/// It reads the journal itself and remembers how far it came.
fn journal_upload(host: &Host) -> Said {
    let (lines, unread) = ini::read(host, "journal-upload.conf", "Upload");
    let url = lines.iter().rev().find(|line| line.key == "URL" && !line.value.is_empty());
    let Some(url) = url else { return Said { incomplete: true, ..Said::default() } };
    let output = Output::of_url(&url.value, Answer::Yes);
    Said { outputs: vec![output], source: url.source.place.clone(), incomplete: unread.is_some(), local: false }
}

/// `None` for one that sends nothing anywhere.
fn shipper(name: &str, said: Said) -> Option<LogShipper> {
    if said.outputs.is_empty() && said.local && !said.incomplete {
        return None;
    }
    let unless_incomplete = |answer: Answer| if said.incomplete && answer == Answer::Yes { Answer::Unknown } else { answer };
    let encrypted = unless_incomplete(output::all(said.outputs.iter().map(|output| output.encrypted)));
    let buffered = unless_incomplete(output::all(said.outputs.iter().map(|output| output.buffered)));
    let mut places: Vec<&str> = said.outputs.iter().map(|output| output.place.as_str()).collect();
    places.sort_unstable();
    places.dedup();
    let destination = if places.is_empty() { "unknown".to_owned() } else { output::short(&places.join(", ")) };
    Some(LogShipper {
        subject: format!("shipper:{name}"),
        name: name.to_owned(),
        destination,
        encrypted: encrypted.word().to_owned(),
        buffered: buffered.word().to_owned(),
        source: said.source,
    })
}

/// rsyslog's statements.
#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(text: &str) {
    rsyslog::fuzz(text);
}
