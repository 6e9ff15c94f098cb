//! The process ids there are: one directory listing, the cheapest sign that a process started or ended where the kernel does not
//! tell.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// The most processes looked at. Linux allows 4 Mi; a node with more than this has other problems.
const MAX_PIDS: usize = 262_144;
/// So many passes after a new process it is looked at for the last time: it may have been seen between fork and exec, or while a
/// runtime still prepared it.
const LOOK_AGAIN: u8 = 4;

/// What earlier passes saw.
#[derive(Debug, Default)]
pub(super) struct Pids {
    seen: Option<BTreeSet<i32>>,
    /// Passes until processes are looked at again though none came or went.
    look_again: u8,
}

impl Pids {
    /// Looks; are processes to be read again.
    pub(super) fn changed(&mut self, proc: &Path) -> io::Result<bool> {
        let names = std::fs::read_dir(proc)?.take(MAX_PIDS);
        let pids: BTreeSet<i32> = names.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
        let changed = self.seen.as_ref().is_some_and(|before| *before != pids);
        let fresh = self.seen.as_ref().is_some_and(|before| !pids.is_subset(before));
        self.seen = Some(pids);
        let again = matches!(self.look_again, 1 | LOOK_AGAIN);
        self.look_again = if fresh { LOOK_AGAIN } else { self.look_again.saturating_sub(1) };
        Ok(changed || again)
    }
}
