//! The process ids there are: one directory listing, the cheapest sign that a process started or ended.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// The most processes looked at. Linux allows 4 Mi; a node with more than this has other problems.
const MAX_PIDS: usize = 262_144;

pub(super) fn pids(proc: &Path) -> io::Result<BTreeSet<i32>> {
    let names = std::fs::read_dir(proc)?.take(MAX_PIDS);
    Ok(names.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}
