//! What sort of place a program is in: a directory that everybody may write to, or none at all.
//!
//! A directory is looked up once for all processes that have the same mounts, by the path that the kernel says; what is below a directory that everybody may write to counts as in it, for anybody may have put it there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_checks::facts::{ExePlace, Reason, Unavailable};

use super::parse;
use super::seen::Seen;
use crate::host::{Host, ReadError};
use crate::sensors::aside::Aside;

/// The most directories remembered: whoever runs programs from ever new places makes it forget, not grow.
const MOST: usize = 4096;
/// Deeper directories are not asked for: a path has 4096 bytes.
const DEEPEST: usize = 64;
/// How long one pass waits for the directories of containers.
const PATIENCE: Duration = Duration::from_secs(1);
const DELETED: &str = " (deleted)";
const OTHERS_WRITE: u32 = 0o002;

/// A directory to look up: whose it is, and through which process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    /// The mount namespace; empty: the host's.
    mounts: String,
    directory: String,
    pid: i64,
    start_ticks: i64,
}

impl Wanted {
    pub(super) fn new(exe: &str, mounts: &str, pid: i64, start_ticks: i64) -> Self {
        let directory = exe.rsplit_once('/').map_or("/", |(directory, _)| if directory.is_empty() { "/" } else { directory });
        Self { mounts: mounts.to_owned(), directory: directory.to_owned(), pid, start_ticks }
    }

    fn key(&self) -> (String, String) {
        (self.mounts.clone(), self.directory.clone())
    }

    /// Looks the directory up in the process's own root.
    fn find(&self, host: &Host) -> Result<ExePlace, ReadError> {
        let process = host.proc.process(self.pid)?;
        // The kernel tells a program's path from the root of its mounts.
        let root = process.link("root")?;
        if root != "/" {
            return Err(ReadError::content(&root, "the root of its file system: the process changed it"));
        }
        let root = host.proc.root_of(&process)?;
        let place = look(&self.directory, |path| root.directory_mode(path))?;
        let stat = parse::stat(&process.read("stat")?);
        // Asked only now: the directory was that of the process, whatever took its number before it was opened.
        let same = stat.is_some_and(|stat| stat.start_ticks == self.start_ticks);
        if same { Ok(place) } else { Err(ReadError::Absent { path: format!("process {}", self.pid) }) }
    }
}

/// What was found of directories, by mount namespace and path.
#[derive(Debug, Default)]
pub(super) struct Places {
    known: HashMap<(String, String), Result<ExePlace, Unavailable>>,
    aside: Arc<Aside>,
}

impl Places {
    /// Where `exe` is, where that can be told without touching file systems of somebody else's.
    pub(super) fn of(&mut self, host: &Host, exe: &str, wanted: &Wanted) -> Option<Result<ExePlace, Unavailable>> {
        if let Some(path) = exe.strip_suffix(DELETED) {
            return Some(Ok(if path.starts_with("/memfd:") { ExePlace::Memory } else { ExePlace::Deleted }));
        }
        if let Some(known) = self.known.get(&wanted.key()) {
            return Some(known.clone());
        }
        if host.live() && !wanted.mounts.is_empty() {
            return None;
        }
        let found = look(&wanted.directory, |path| mode_on(host, path, &wanted.mounts)).map_err(|error| error.unavailable());
        self.remember(wanted.key(), found.clone());
        Some(found)
    }

    /// Looks up what `processes` wait for, each directory once, on a thread that may hang: a container's file system may be one
    /// that its own processes answer for.
    pub(super) fn look_up<'a>(&mut self, host: &Host, processes: impl Iterator<Item = &'a mut Seen>) {
        let mut waiting: HashMap<(String, String), Vec<&mut Seen>> = HashMap::new();
        for seen in processes {
            if let Some(wanted) = &seen.wanted {
                waiting.entry(wanted.key()).or_default().push(seen);
            }
        }
        if waiting.is_empty() {
            return;
        }
        let jobs: Vec<Wanted> = waiting.values().filter_map(|seen| seen.first()?.wanted.clone()).collect();
        let on = host.clone();
        let find = move |wanted: Wanted| {
            let found = wanted.find(&on).map_err(|error| error.unavailable());
            (wanted.key(), found)
        };
        let answers = self.aside.run(jobs.into_iter().map(find));
        let until = Instant::now() + PATIENCE;
        while let Some((key, found)) =
            answers.as_ref().and_then(|answers| answers.recv_timeout(until.saturating_duration_since(Instant::now())).ok())
        {
            for seen in waiting.remove(&key).unwrap_or_default() {
                seen.settle_place(found.clone());
            }
            // Why it could not be looked up is one process's matter.
            if found.is_ok() {
                self.remember(key, found);
            }
        }
        for seen in waiting.into_values().flatten() {
            seen.settle_place(Err(Unavailable::new(Reason::TimedOut, "its program's directory does not answer")));
        }
    }

    fn remember(&mut self, key: (String, String), found: Result<ExePlace, Unavailable>) {
        if self.known.len() >= MOST {
            self.known.clear();
        }
        self.known.insert(key, found);
    }
}

/// The mode of a directory of the host, or what a recording says of it: nothing of what containers have.
fn mode_on(host: &Host, path: &str, mounts: &str) -> Result<u32, ReadError> {
    let absent = || ReadError::Absent { path: path.to_owned() };
    match &host.recording {
        _ if !mounts.is_empty() => Err(absent()),
        Some(recording) if !recording.files.is_empty() => recording.files.get(path).map(|file| file.mode).ok_or_else(absent),
        _ => host.root.directory_mode(path),
    }
}

fn look(directory: &str, mode: impl Fn(&str) -> Result<u32, ReadError>) -> Result<ExePlace, ReadError> {
    let mut path = directory;
    for _ in 0..DEEPEST {
        if mode(if path.is_empty() { "/" } else { path })? & OTHERS_WRITE != 0 {
            return Ok(ExePlace::WorldWritable);
        }
        match path.rsplit_once('/') {
            Some((above, _)) if path != "/" => path = above,
            _ => return Ok(ExePlace::Ordinary),
        }
    }
    Err(ReadError::content(directory, "a path of at most 64 directories"))
}
