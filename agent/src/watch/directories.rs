//! inotify on directories, not files: a rename over a file, a symlink that is swapped and a file that appears are all seen.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use holdfast_checks::facts::Group;
use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The most directories watched; the kernel's default allowance is 8,192 and belongs to others too.
const MAX_DIRECTORIES: usize = 1_024;
const BUFFER_BYTES: usize = 4_096;

pub(super) struct Directories {
    inotify: Inotify,
    watched: BTreeMap<PathBuf, Watched>,
}

struct Watched {
    descriptor: WatchDescriptor,
    /// Whatever happens in it touches these.
    groups: BTreeSet<Group>,
    /// What happens to these names in it touches these: the way down to a watched directory, which may not be there yet, be
    /// removed and come back, or be a link that is swapped.
    names: BTreeMap<OsString, BTreeSet<Group>>,
}

/// What is wanted of one directory.
#[derive(Default)]
struct Want {
    /// Its place among those wanted: the first are watched when there are too many.
    rank: usize,
    groups: BTreeSet<Group>,
    names: BTreeMap<OsString, BTreeSet<Group>>,
}

impl Directories {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self { inotify: Inotify::init()?, watched: BTreeMap::new() })
    }

    /// Watches exactly `wanted` from now on, and the way to each; of too many the first. A directory that cannot be watched is
    /// left to the full pass.
    ///
    /// Gives the groups of what was not watched until now: it may have changed between the reading and this.
    pub(super) fn set(&mut self, wanted: Vec<(PathBuf, BTreeSet<Group>)>) -> BTreeSet<Group> {
        let merged = with_ways(wanted);
        if merged.len() > MAX_DIRECTORIES {
            tracing::warn!(
                wanted = merged.len(),
                watched = MAX_DIRECTORIES,
                "too many directories: the rest is seen on the next full pass"
            );
        }
        let mut before = std::mem::take(&mut self.watched);
        let mut fresh = BTreeSet::new();
        let mask = WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::MOVE
            | WatchMask::CLOSE_WRITE
            | WatchMask::ATTRIB
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR
            | WatchMask::EXCL_UNLINK;
        for (directory, Want { groups, names, .. }) in merged.into_iter().take(MAX_DIRECTORIES) {
            // Adding again is how a directory that was replaced under the same name is found.
            match self.inotify.watches().add(&directory, mask) {
                Ok(descriptor) => {
                    let known = before.get(&directory).filter(|known| known.descriptor == descriptor);
                    let known_groups = known.map(|known| &known.groups);
                    fresh.extend(groups.iter().filter(|group| known_groups.is_none_or(|known| !known.contains(group))));
                    if known.is_some() {
                        before.remove(&directory);
                    }
                    self.watched.insert(directory, Watched { descriptor, groups, names });
                }
                // The way to it is watched: it is seen when it comes.
                Err(error) => tracing::trace!(directory = %directory.display(), %error, "not watched"),
            }
        }
        // Two names of one directory share a descriptor.
        let kept: Vec<&WatchDescriptor> = self.watched.values().map(|watched| &watched.descriptor).collect();
        for gone in before.into_values().filter(|gone| !kept.contains(&&gone.descriptor)) {
            // One that went with its directory is no longer there to remove.
            if let Err(error) = self.inotify.watches().remove(gone.descriptor) {
                tracing::trace!(%error, "a watch was gone already");
            }
        }
        fresh
    }

    /// The groups touched by events, waiting for the first at most `timeout`. An overflow touches all.
    pub(super) fn wait(&mut self, timeout: Duration) -> io::Result<BTreeSet<Group>> {
        let timeout = PollTimeout::try_from(timeout.saturating_add(Duration::from_micros(999))).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) | Err(nix::Error::EINTR) => return Ok(BTreeSet::new()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut buffer = [0; BUFFER_BYTES];
        let mut touched = BTreeSet::new();
        for event in self.inotify.read_events(&mut buffer)? {
            if event.mask.contains(EventMask::Q_OVERFLOW) {
                return Ok(Group::ALL.into_iter().collect());
            }
            for watched in self.watched.values().filter(|watched| watched.descriptor == event.wd) {
                touched.extend(&watched.groups);
                match event.name {
                    Some(name) => touched.extend(watched.names.get(name).into_iter().flatten()),
                    // The directory itself went or moved, and with it the way through it.
                    None => touched.extend(watched.names.values().flatten()),
                }
            }
        }
        Ok(touched)
    }
}

/// Each directory once, and in each directory above it the name that leads to it. In the order in which they were wanted, so that
/// what is wanted last, the files of somebody's container, never takes the place of the node's own.
fn with_ways(wanted: Vec<(PathBuf, BTreeSet<Group>)>) -> Vec<(PathBuf, Want)> {
    let mut merged: BTreeMap<PathBuf, Want> = BTreeMap::new();
    for (rank, (directory, groups)) in wanted.into_iter().enumerate() {
        let first = || Want { rank, ..Want::default() };
        let mut below = directory.as_path();
        while let (Some(parent), Some(name)) = (below.parent(), below.file_name()) {
            merged.entry(parent.to_owned()).or_insert_with(first).names.entry(name.to_owned()).or_default().extend(&groups);
            below = parent;
        }
        merged.entry(directory).or_insert_with(first).groups.extend(groups);
    }
    let mut merged: Vec<(PathBuf, Want)> = merged.into_iter().collect();
    merged.sort_by_key(|(_, want)| want.rank);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pod may name any number of directories, and in the order of paths `/proc` comes before `/var`.
    #[test]
    fn a_crowd_of_directories_in_a_container_does_not_take_the_watch_from_the_nodes_own() {
        let dir = tempfile::tempdir().unwrap();
        let made = |name: String| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            path
        };
        let own = made("var/lib/kubelet".to_owned());
        let mut wanted = vec![(own.clone(), BTreeSet::from([Group::Kubelets]))];
        wanted.extend((0..2 * MAX_DIRECTORIES).map(|n| (made(format!("proc/7/root/{n}")), BTreeSet::from([Group::Files]))));
        let mut directories = Directories::open().unwrap();
        directories.set(wanted);
        assert!(directories.watched.len() <= MAX_DIRECTORIES);
        std::fs::write(own.join("config.yaml"), "x").unwrap();
        assert_eq!(directories.wait(Duration::from_mins(1)).unwrap(), BTreeSet::from([Group::Kubelets]));
    }
}
