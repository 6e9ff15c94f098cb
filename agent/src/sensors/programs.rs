//! The program file of a running process: where it is, whether another has taken its place, and its version.
//!
//! The version is read from the file that runs (`/proc/<pid>/exe`), which is never executed and never read whole: its section
//! headers, Go's build information and the variables that Kubernetes' build stamps are a few hundred KiB of a hundred MiB.
//! What was read is kept by file and its modification, so that an idle agent opens nothing twice. The file is an attacker's:
//! every part is capped. Must not know what a version is for.

mod crun;
pub(super) mod elf;
mod engines;
mod go;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use holdfast_checks::facts::{Executable, Observed, Reason, Source, SourceKind, Unavailable};

use super::now;
use super::processes::Seen;
use crate::host::{Host, HostFile, ProcessDir, ReadError, Root, Stamp};

/// The most that is read of one program.
const READ_CAP: u64 = 12 * 1024 * 1024;
/// More programs than any node's components are.
const MAX_KEPT: usize = 64;
/// What the kernel puts behind the path of a program whose file is gone.
const DELETED: &str = " (deleted)";

/// What earlier passes read of programs.
#[derive(Debug, Default)]
pub(super) struct Programs(Mutex<HashMap<(Stamp, Wanted), Result<String, Unavailable>>>);

/// Whose version a program is asked for: one file may hold several programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::sensors) enum Wanted {
    /// That of Kubernetes or etcd.
    Kubernetes,
    /// containerd, in its own program or in one that contains it.
    Containerd,
    /// CRI-O.
    Crio,
    /// Docker.
    Docker,
    /// An OCI runtime or a shim.
    OciRuntime,
}

/// What a process runs.
pub(super) struct Program {
    pub(super) executable: Observed<Executable>,
    pub(super) version: Observed<String>,
    /// The version of the file that is now at its path.
    pub(super) installed: Observed<String>,
}

impl Programs {
    /// The program of a process of Kubernetes.
    pub(super) fn read(&self, host: &Host, seen: &Seen) -> Program {
        self.read_as(host, seen, Wanted::Kubernetes)
    }

    /// The version of the program file at `path`.
    pub(super) fn of_file(&self, root: &Root, path: &str, wanted: Wanted) -> Result<String, Unavailable> {
        let file = root.open_file(path, u64::MAX).map_err(|error| unread(&error, path))?;
        self.version(file.limited(READ_CAP), path, wanted)
    }

    /// The program of a process, with the version of what is `wanted` of it.
    pub(super) fn read_as(&self, host: &Host, seen: &Seen, wanted: Wanted) -> Program {
        let found = host.proc.process(seen.fact.pid).and_then(|process| {
            let link = process.link("exe")?;
            let path = inside(&process, &link);
            let file = host.proc.program_of(&process, READ_CAP);
            let executable = executable(host, &process, &link, path.clone(), file.as_ref());
            let version = file.map_err(|error| unread(&error, &path)).and_then(|file| self.version(file, &path, wanted));
            let installed = match &executable {
                Ok(Executable { replaced: false, .. }) => version.clone(),
                Ok(_) => match host.proc.root_of(&process) {
                    Ok(root) => self.of_file(&root, &path, wanted),
                    Err(error) => Err(unread(&error, &path)),
                },
                Err(why) => Err(why.clone()),
            };
            if !seen.still_runs(&process) {
                return Err(ReadError::Absent { path: format!("the process {}", seen.fact.name) });
            }
            Ok((executable, version, installed, path))
        });
        match found {
            Ok((executable, version, installed, path)) => {
                let of_process = || Source::new(SourceKind::Process, "exe");
                let known = |executable| Observed::known(executable, of_process(), now());
                let told = |version: Result<String, Unavailable>| match version {
                    Ok(version) => Observed::known(version, Source::new(SourceKind::File, path.as_str()), now()),
                    Err(why) => Observed::Unavailable(why),
                };
                Program {
                    executable: executable.map_or_else(Observed::Unavailable, known),
                    version: told(version),
                    installed: told(installed),
                }
            }
            Err(error) => {
                let why = error.unavailable();
                let why = Unavailable::new(why.reason, format!("{}: its program: {}", seen.fact.name, why.detail));
                Program {
                    executable: Observed::Unavailable(why.clone()),
                    version: Observed::Unavailable(why.clone()),
                    installed: Observed::Unavailable(why),
                }
            }
        }
    }

    fn version(&self, file: HostFile, path: &str, wanted: Wanted) -> Result<String, Unavailable> {
        let failed = |error: std::io::Error| Unavailable::new(Reason::NotSupported, format!("{path}: cannot stat: {error}"));
        let before = file.stamp().map_err(failed)?;
        if let Some(known) = self.kept().get(&(before, wanted)) {
            return known.clone();
        }
        let result = elf::version(file, wanted).map_err(|problem| problem.unavailable(path));
        // A deadline says nothing about the file.
        if !result.as_ref().is_err_and(|why| why.reason == Reason::TimedOut) {
            let mut kept = self.kept();
            if kept.len() >= MAX_KEPT {
                kept.clear();
            }
            kept.insert((before, wanted), result.clone());
        }
        result
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<(Stamp, Wanted), Result<String, Unavailable>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The path that a link of a process leads to, in the process's own root: the kernel writes it as seen from ours.
pub(super) fn inside(process: &ProcessDir, link: &str) -> String {
    let path = link.strip_suffix(DELETED).unwrap_or(link);
    let root = process.link("root").unwrap_or_default();
    let below = path.strip_prefix(root.trim_end_matches('/')).filter(|rest| rest.starts_with('/'));
    below.unwrap_or(path).to_owned()
}

fn executable(
    host: &Host,
    process: &ProcessDir,
    link: &str,
    path: String,
    file: Result<&HostFile, &ReadError>,
) -> Result<Executable, Unavailable> {
    let deleted = link.strip_suffix(DELETED).is_some();
    if !host.live() {
        return Ok(Executable { path, replaced: deleted });
    }
    let stamp = file.map_err(|error| unread(error, &path)).and_then(|file| {
        let gone = file.removed().unwrap_or(false);
        file.stamp().map(|stamp| (stamp, gone)).map_err(|error| Unavailable::new(Reason::NotSupported, format!("{path}: {error}")))
    });
    let (stamp, gone) = match stamp {
        Ok(found) => found,
        Err(_) if deleted => return Ok(Executable { path, replaced: true }),
        Err(why) => return Err(why),
    };
    let replaced = match host.proc.root_of(process).and_then(|root| root.stamp(&path)) {
        Ok(there) => gone || !there.same_file(&stamp),
        Err(error) if error.is_absent() => true,
        Err(error) => return Err(error.unavailable()),
    };
    Ok(Executable { path, replaced })
}

fn unread(error: &ReadError, path: &str) -> Unavailable {
    let why = error.unavailable();
    if why.detail.starts_with(path) { why } else { Unavailable::new(why.reason, format!("{path}: {}", why.detail)) }
}
