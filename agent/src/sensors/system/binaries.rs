//! The hashes of the programs that everything on a node rests on, for comparison with the operator's list.
//!
//! Without a list nothing is read: it would be hundreds of MiB on every node for nobody. A file is read again only when it has
//! changed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use holdfast_checks::facts::{Binary, Listing, Observed, Reason, Skipped, Source, SourceKind};

use super::super::now;
use super::super::programs::inside;
use super::known::KnownBinaries;
use super::programs::{Cast, Part};
use crate::host::{Host, HostFile, ReadError, Stamp};

/// The largest program: an all-in-one Kubernetes has 120 MiB.
const CAP: u64 = 256 * 1024 * 1024;
/// What runtimes start for each container, and the ways to it.
const NAMES: [&str; 3] = ["runc", "crun", "containerd-shim-runc-v2"];
const DIRECTORIES: [&str; 4] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];
const MAX_KEPT: usize = 64;
const PIECE: usize = 128 * 1024;

/// Hashes of files as they were found. Cheap to clone; clones share them.
#[derive(Debug, Clone, Default)]
pub(in crate::sensors) struct Hashes(Arc<Mutex<HashMap<Stamp, String>>>);

/// Programs that run, and those that they start.
pub(super) fn read(host: &Host, cast: &Cast, hashes: &Hashes, known: Option<&KnownBinaries>) -> Observed<Listing<Binary>> {
    let Some(known) = known else {
        return Observed::unavailable_because(Reason::NotPresent, "no list was given: --known-binaries");
    };
    let mut listing = Listing::complete(Vec::new());
    let mut found: BTreeMap<String, Result<String, Skipped>> = BTreeMap::new();
    for (name, seen) in cast.of_part(Part::Binary) {
        let read = || -> Result<(String, Result<String, Skipped>), ReadError> {
            let process = host.proc.process(seen.fact.pid)?;
            let path = inside(&process, &process.link("exe")?);
            let hash = host.proc.program_of(&process, CAP).map_err(|error| error.skipped(&path)).and_then(|file| hashes.of(file, &path));
            if !seen.still_runs(&process) {
                return Err(ReadError::Absent { path });
            }
            Ok((path, hash))
        };
        match read() {
            Ok((path, hash)) => drop(found.insert(path, hash)),
            // It has ended.
            Err(error) if error.is_absent() => {}
            Err(error) => listing.skipped.push(error.skipped(name)),
        }
    }
    let mut files = HashSet::new();
    for path in NAMES.iter().flat_map(|name| DIRECTORIES.iter().map(move |directory| format!("{directory}/{name}"))) {
        match host.root.open_file(&path, CAP) {
            // One directory is often a link to the other.
            Ok(file) if file.stamp().is_ok_and(|stamp| !files.insert(stamp)) => {}
            Ok(file) => drop(found.insert(path.clone(), hashes.of(file, &path))),
            Err(error) if error.is_absent() => {}
            Err(error) => listing.skipped.push(error.skipped(path)),
        }
    }
    for (path, hash) in found {
        match hash {
            Ok(sha256) => {
                let listed = Observed::known(known.contains(&sha256), Source::new(SourceKind::Agent, "--known-binaries"), now());
                listing.items.push(Binary { subject: format!("binary:{path}"), path, sha256, listed });
            }
            Err(skipped) => listing.skipped.push(skipped),
        }
    }
    if let Some(why) = cast.hidden() {
        listing.skipped.push(Skipped { what: why.detail, reason: why.reason });
    }
    Observed::known(listing, Source::new(SourceKind::File, "programs"), now())
}

impl Hashes {
    /// The hash of `file`, from before where it is still the same.
    fn of(&self, file: HostFile, path: &str) -> Result<String, Skipped> {
        let skipped = |reason| Skipped { what: path.to_owned(), reason };
        let before = file.stamp().map_err(|_| skipped(Reason::NotSupported))?;
        if let Some(hash) = self.kept().get(&before) {
            return Ok(hash.clone());
        }
        let (hash, after) = sha256(file).map_err(|error| {
            skipped(match error.kind() {
                std::io::ErrorKind::TimedOut => Reason::TimedOut,
                std::io::ErrorKind::FileTooLarge => Reason::TooLarge,
                _ => Reason::NotSupported,
            })
        })?;
        if after != before {
            return Err(skipped(Reason::Malformed));
        }
        let mut kept = self.kept();
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(before, hash.clone());
        Ok(hash)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<Stamp, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hash, and what the file was when its last byte was read.
fn sha256(mut file: HostFile) -> std::io::Result<(String, Stamp)> {
    let mut context = Context::new(&SHA256);
    let mut piece = vec![0; PIECE];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            break;
        }
        context.update(piece.get(..read).unwrap_or_default());
    }
    let hash = context
        .finish()
        .as_ref()
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect();
    Ok((hash, file.stamp()?))
}
