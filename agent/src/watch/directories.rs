//! inotify on directories, not files: a rename over a file, a symlink that is swapped and a file that appears are all seen.

use std::collections::{BTreeMap, BTreeSet};
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
    watched: BTreeMap<PathBuf, WatchDescriptor>,
    groups: Vec<(WatchDescriptor, BTreeSet<Group>)>,
}

impl Directories {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self { inotify: Inotify::init()?, watched: BTreeMap::new(), groups: Vec::new() })
    }

    /// Watches exactly `wanted` from now on. A directory that cannot be watched is left to the full pass.
    pub(super) fn set(&mut self, wanted: Vec<(PathBuf, BTreeSet<Group>)>) {
        let mut merged: BTreeMap<PathBuf, BTreeSet<Group>> = BTreeMap::new();
        for (directory, groups) in wanted {
            merged.entry(directory).or_default().extend(groups);
        }
        if merged.len() > MAX_DIRECTORIES {
            tracing::warn!(
                wanted = merged.len(),
                watched = MAX_DIRECTORIES,
                "too many directories: the rest is seen on the next full pass"
            );
        }
        let gone: Vec<PathBuf> = self.watched.keys().filter(|path| !merged.contains_key(*path)).cloned().collect();
        for descriptor in gone.into_iter().filter_map(|path| self.watched.remove(&path)) {
            // One that went with its directory is no longer there to remove.
            if let Err(error) = self.inotify.watches().remove(descriptor) {
                tracing::trace!(%error, "a watch was gone already");
            }
        }
        self.groups.clear();
        let mask = WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::MOVE
            | WatchMask::CLOSE_WRITE
            | WatchMask::ATTRIB
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR
            | WatchMask::EXCL_UNLINK;
        for (directory, groups) in merged.into_iter().take(MAX_DIRECTORIES) {
            // Adding again is how a directory that was replaced under the same name is found.
            match self.inotify.watches().add(&directory, mask) {
                Ok(descriptor) => {
                    self.watched.insert(directory, descriptor.clone());
                    match self.groups.iter_mut().find(|(known, _)| *known == descriptor) {
                        Some((_, known)) => known.extend(groups),
                        None => self.groups.push((descriptor, groups)),
                    }
                }
                Err(error) => tracing::debug!(directory = %directory.display(), %error, "not watched: seen on the next full pass"),
            }
        }
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
            if let Some((_, groups)) = self.groups.iter().find(|(descriptor, _)| *descriptor == event.wd) {
                touched.extend(groups);
            }
        }
        Ok(touched)
    }
}
