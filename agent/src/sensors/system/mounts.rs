//! Mounts of the host, as process 1 has them.

use holdfast_checks::facts::{Listing, MountPoint, Observed, Source, SourceKind, Unavailable};

use super::super::now;
use crate::host::{Host, ReadError};

const TABLE: &str = "1/mountinfo";
/// A node with a thousand pods has some MiB.
const CAP: u64 = 8 * 1024 * 1024;
/// Places that everybody can write to, and the one that shows processes.
const PLACES: [&str; 4] = ["/tmp", "/var/tmp", "/dev/shm", "/proc"];
const MAX_OPTIONS: usize = 32;

/// One line of `mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// Major and minor number.
    pub(super) device: String,
    pub(super) path: String,
    pub(super) kind: String,
    /// Of mount and file system, sorted; those that name paths are left out.
    pub(super) options: Vec<String>,
}

/// Every mount, in the order they were made.
#[derive(Debug)]
pub(super) struct Mounts(Result<Vec<Mount>, Unavailable>);

impl Mounts {
    pub(super) fn read(host: &Host) -> Self {
        let read = || -> Result<Vec<Mount>, ReadError> {
            let content = host.proc.root().read_capped(TABLE, CAP)?;
            let text = String::from_utf8_lossy(&content);
            text.lines().map(line).collect::<Option<_>>().ok_or_else(|| ReadError::content("/proc/1/mountinfo", "a table of mounts"))
        };
        Self(read().map_err(|error| error.unavailable()))
    }

    pub(super) fn why_not(&self) -> Option<&Unavailable> {
        self.0.as_ref().err()
    }

    /// The mount that `path`, without links, lies on: the one whose path is the longest beginning of it, the last of those.
    pub(super) fn covering(&self, path: &str) -> Option<&Mount> {
        let below = |mount: &&Mount| {
            mount.path == "/" || path.strip_prefix(&mount.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.0.iter().flatten().filter(below).max_by_key(|mount| mount.path.len())
    }

    /// Is something mounted right there. Then it is there, and need not be asked: one on the network may not answer.
    pub(super) fn is_mounted(&self, path: &str) -> bool {
        self.covering(path).is_some_and(|mount| mount.path == path)
    }

    /// Where else the same file system is mounted: the shortest path.
    pub(super) fn first_of<'a>(&'a self, mount: &'a Mount) -> &'a str {
        let same = self.0.iter().flatten().filter(|other| other.device == mount.device);
        same.map(|other| other.path.as_str()).min_by_key(|path| path.len()).unwrap_or(&mount.path)
    }
}

fn line(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(2);
    let (device, _, path, options) = (before.next()?, before.next()?, before.next()?, before.next()?);
    let mut after = after.split(' ');
    let (kind, _, of_file_system) = (after.next()?, after.next()?, after.next().unwrap_or_default());
    let mut options: Vec<String> = options
        .split(',')
        .chain(of_file_system.split(','))
        .filter(|option| !option.contains('/') && !option.is_empty())
        .map(str::to_owned)
        .collect();
    options.sort();
    options.dedup();
    options.truncate(MAX_OPTIONS);
    Some(Mount { device: device.to_owned(), path: unescape(path), kind: kind.to_owned(), options })
}

/// The kernel writes blanks, tabs, line ends and backslashes of a path as three octal digits.
fn unescape(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(path.to_owned(), |path, (code, is)| path.replace(code, is))
}

/// Where `path` of the host is, its links followed; `None` where it is no directory.
pub(super) fn real(host: &Host, path: &str) -> Option<String> {
    let found = host.root.found_at(path)?;
    let below = found.strip_prefix(host.outside("")).map(|below| format!("/{}", below.display()));
    Some(below.unwrap_or_else(|_| path.to_owned()))
}

/// The options that hold at each of the places.
pub(super) fn options(host: &Host, mounts: &Mounts) -> Observed<Listing<MountPoint>> {
    if let Some(why) = mounts.why_not() {
        return Observed::Unavailable(why.clone());
    }
    let mut listing = Listing::complete(Vec::new());
    for place in PLACES {
        let mut at = place.to_owned();
        if !mounts.is_mounted(place) {
            match host.root.metadata(place) {
                Ok(_) => at = real(host, place).unwrap_or(at),
                Err(error) if error.is_absent() => continue,
                Err(error) => {
                    listing.skipped.push(error.skipped(place));
                    continue;
                }
            }
        }
        if let Some(mount) = mounts.covering(&at) {
            listing.items.push(MountPoint {
                subject: format!("mount:{place}"),
                path: place.to_owned(),
                mounted_at: mount.path.clone(),
                kind: mount.kind.clone(),
                options: mount.options.clone(),
            });
        }
    }
    Observed::known(listing, Source::new(SourceKind::Kernel, "/proc/1/mountinfo"), now())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw,errors=remount-ro
23 22 0:21 / /proc rw,nosuid - proc proc rw,hidepid=invisible
24 22 8:2 / /var rw,nodev shared:1 - xfs /dev/sda2 rw
25 24 8:2 /docker /var/lib/docker rw - xfs /dev/sda2 rw
26 22 0:30 / /mnt/my\\040disk rw - overlay overlay rw,lowerdir=/a:/b,userxattr
27 24 0:31 / /var/tmp rw - tmpfs tmpfs rw,size=10k
28 24 0:32 / /var/tmp rw,nosuid - tmpfs tmpfs rw
";

    fn mounts() -> Mounts {
        Mounts(Ok(TABLE.lines().map(line).collect::<Option<_>>().expect("they parse")))
    }

    #[test]
    fn a_path_lies_on_the_nearest_mount_and_the_last_one_there() {
        let mounts = mounts();
        let at = |path| mounts.covering(path).map(|mount| (mount.path.clone(), mount.options.join(",")));
        assert_eq!(at("/tmp"), Some(("/".into(), "errors=remount-ro,relatime,rw".into())));
        assert_eq!(at("/var/tmp"), Some(("/var/tmp".into(), "nosuid,rw".into())), "the later one lies over the other");
        assert_eq!(at("/variable").map(|(path, _)| path), Some("/".into()), "a name that only begins alike");
        assert_eq!(at("/mnt/my disk/x"), Some(("/mnt/my disk".into(), "rw,userxattr".into())));
        let docker = mounts.covering("/var/lib/docker/overlay2").expect("covered");
        assert_eq!((docker.path.as_str(), mounts.first_of(docker)), ("/var/lib/docker", "/var"));
    }

    #[test]
    fn a_line_that_is_none_is_refused() {
        for bad in ["", "1 2 3", "22 1 8:1 / /", "22 1 8:1 / / rw - ", " - "] {
            assert_eq!(line(bad), None, "{bad}");
        }
    }
}
