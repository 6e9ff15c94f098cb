//! `/proc/<pid>/mountinfo`, read line by line and never whole: a container can make as many mounts as it likes.
//!
//! Must not know what a mount is good for.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read};

use super::places::within;

/// More mounts than any host has. What comes after is cut, and said to be.
const MOST_LINES: usize = 100_000;
/// A container with that many may give them long names: so much is read of its table.
const MOST_BYTES: u64 = 16 * 1024 * 1024;
/// The kernel escapes a path of 4 KiB into 16 KiB, twice a line, and gives options a page.
const LONGEST_LINE: u64 = 64 * 1024;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mounted {
    id: i64,
    parent: i64,
    /// `major:minor`, as the kernel writes it.
    pub(super) device: Box<str>,
    /// Which part of the file system.
    pub(super) root: Box<str>,
    /// Where, in the mount namespace it was read in.
    pub(super) target: Box<str>,
    /// Neither the mount nor the file system is read-only.
    pub(super) writable: bool,
    pub(super) filesystem: Box<str>,
}

/// The mounts of one process.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    pub(super) all: Vec<Mounted>,
    /// Lines were left out: there were too many, or they are not what the kernel writes.
    pub(super) cut: bool,
}

impl Mounts {
    /// Reads all there is in `content`, up to the cap.
    pub(super) fn read(content: impl Read) -> std::io::Result<Self> {
        let mut mounts = Self::default();
        let mut lines = BufReader::new(content.take(MOST_BYTES));
        let mut line = Vec::new();
        for _ in 0..MOST_LINES {
            line.clear();
            if (&mut lines).take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
                return Ok(mounts);
            }
            match mounted(&String::from_utf8_lossy(&line)) {
                Some(mount) => mounts.all.push(mount),
                None => mounts.cut = true,
            }
        }
        mounts.cut = true;
        Ok(mounts)
    }

    /// Those that a path leads to: what another mount covers is left out. Each is looked at once, whatever the table says: from
    /// those that hang on nothing down to what hangs on them.
    pub(super) fn visible(&self) -> Vec<&Mounted> {
        let ids: HashSet<i64> = self.all.iter().map(|mount| mount.id).collect();
        let mut by_parent: HashMap<Option<i64>, Vec<(usize, &Mounted)>> = HashMap::new();
        for (at, mount) in self.all.iter().enumerate() {
            let parent = Some(mount.parent).filter(|parent| *parent != mount.id && ids.contains(parent));
            by_parent.entry(parent).or_default().push((at, mount));
        }
        let mut visible = HashSet::new();
        let mut reached = covering_none("/", by_parent.remove(&None).unwrap_or_default());
        while let Some((at, mount)) = reached.pop() {
            let children = covering_none(&mount.target, by_parent.remove(&Some(mount.id)).unwrap_or_default());
            // What stands where it stands itself covers it, and all else that hangs on it.
            if !children.iter().any(|(_, child)| child.target == mount.target) {
                visible.insert(at);
            }
            reached.extend(children);
        }
        self.all.iter().enumerate().filter(|(at, _)| visible.contains(at)).map(|(_, mount)| mount).collect()
    }
}

/// Of the mounts that hang on one at `place` those that no other of them covers.
fn covering_none<'a>(place: &str, mut mounts: Vec<(usize, &'a Mounted)>) -> Vec<(usize, &'a Mounted)> {
    mounts.retain(|(_, mount)| within(&mount.target, place));
    // A directory right before what is in it, and of two at one place first the later one, which is on top.
    mounts.sort_by(|(a, one), (b, other)| one.target.split('/').cmp(other.target.split('/')).then(b.cmp(a)));
    let mut uncovered: Vec<(usize, &Mounted)> = Vec::new();
    for mount in mounts {
        if !uncovered.last().is_some_and(|(_, last)| within(&mount.1.target, &last.target)) {
            uncovered.push(mount);
        }
    }
    uncovered
}

/// `36 35 98:0 /root /target rw,noatime shared:1 - ext4 /dev/sda rw`, see `proc_pid_mountinfo(5)`.
fn mounted(line: &str) -> Option<Mounted> {
    let (mount, filesystem) = line.trim_end_matches('\n').split_once(" - ")?;
    let mut fields = mount.split(' ');
    let (id, parent) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let (device, root, target, options) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let mut of_filesystem = filesystem.split(' ');
    let kind = of_filesystem.next()?;
    let read_only = |options: &str| options.split(',').any(|option| option == "ro");
    // The source may be empty, and then two spaces stand side by side.
    let whole = of_filesystem.next_back()?;
    Some(Mounted {
        id,
        parent,
        device: device.into(),
        root: unescaped(root.strip_suffix("//deleted").unwrap_or(root)).into(),
        target: unescaped(target).into(),
        writable: !read_only(options) && !read_only(whole),
        filesystem: kind.into(),
    })
}

/// Space, tab, newline, `#` and backslash are written as three octal digits.
fn unescaped(text: &str) -> String {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escape = (*first == b'\\').then(|| after.split_at_checked(3)).flatten();
        let code = escape.and_then(|(digits, _)| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        if let (Some(code), Some((_, after))) = (code, escape) {
            plain.push(code);
            rest = after;
        } else {
            plain.push(*first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visible(table: &str) -> Vec<(String, String, bool)> {
        let mounts = Mounts::read(table.as_bytes()).unwrap();
        assert!(!mounts.cut);
        mounts.visible().into_iter().map(|mount| (mount.target.to_string(), mount.root.to_string(), mount.writable)).collect()
    }

    fn row(target: &str, root: &str, writable: bool) -> (String, String, bool) {
        (target.to_owned(), root.to_owned(), writable)
    }

    #[test]
    fn read_only_is_said_of_the_mount_or_of_the_file_system() {
        let table = "1 0 0:5 / / ro,relatime - overlay overlay rw,lowerdir=/a\n2 1 8:1 /d /d rw - ext4 /dev/sda ro\n3 1 8:1 /e /e rw shared:1 master:2 -  ext4 rw\n";
        assert_eq!(visible(&table.replace(" -  ext4", " - ext4 ")), [row("/", "/", false), row("/d", "/d", false), row("/e", "/e", true)]);
    }

    #[test]
    fn what_is_covered_does_not_count_and_the_topmost_does() {
        let table = "1 0 0:5 / / rw - overlay o rw\n\
            2 1 8:1 /etc /host rw - ext4 /dev/sda rw\n\
            3 2 8:1 /etc/x /host/x rw - ext4 /dev/sda rw\n\
            4 2 0:9 / /host ro - tmpfs t rw\n\
            5 4 8:1 /new /host/x rw - ext4 /dev/sda rw\n";
        assert_eq!(visible(table), [row("/", "/", true), row("/host", "/", false), row("/host/x", "/new", true)]);
    }

    #[test]
    fn names_are_unescaped_and_a_removed_source_is_still_its_path() {
        let table = "1 0 8:1 /a\\040b\\134//deleted /c\\011d\\0 rw - ext4 /dev/sda rw\n";
        assert_eq!(Mounts::read(table.as_bytes()).unwrap().all[0].root.as_ref(), "/a b\\");
        assert_eq!(Mounts::read(table.as_bytes()).unwrap().all[0].target.as_ref(), "/c\td\\0");
    }

    #[test]
    fn a_hundred_thousand_lines_are_read_and_more_are_cut() {
        use std::fmt::Write;
        let table = |lines: usize| {
            (0..lines).fold("1 0 8:1 / / rw - ext4 d rw\n".to_owned(), |mut table, line| {
                writeln!(table, "{} 1 0:7 / /m/{line} rw - tmpfs t rw", line + 2).unwrap();
                table
            })
        };
        let most = Mounts::read(table(MOST_LINES - 1).as_bytes()).unwrap();
        assert_eq!((most.all.len(), most.visible().len()), (MOST_LINES, MOST_LINES));
        let more = Mounts::read(table(MOST_LINES + 5).as_bytes()).unwrap();
        assert!(more.cut && more.all.len() == MOST_LINES);
    }

    #[test]
    fn a_table_that_leads_in_circles_ends() {
        let table = "1 2 8:1 / / rw - ext4 d rw\n2 1 8:1 / / rw - ext4 d rw\n3 3 8:1 / /x rw - ext4 d rw\n";
        let mounts = Mounts::read(table.as_bytes()).unwrap();
        assert!(mounts.visible().len() <= 3);
        assert!(Mounts::read(&b"no mount\n"[..]).unwrap().cut);
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(content: Vec<u8>, text: String) {
            for content in [content, text.clone().into_bytes(), format!("1 0 0:1 /{text} /{text} rw - x y rw\n").into_bytes()] {
                let mounts = Mounts::read(content.as_slice()).unwrap();
                assert!(mounts.visible().len() <= mounts.all.len());
            }
        }
    }
}
