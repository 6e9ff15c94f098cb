//! The few lines of `/proc/<pid>/{stat,status,uid_map,cmdline}` that facts need. Names in them are an attacker's text: bytes
//! that are no UTF-8 are replaced, never a reason to overlook a process.

/// Set in the flags of `stat` for threads of the kernel, `PF_KTHREAD`.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// The kernel allows 65,536; a container has a handful.
const MAX_GROUPS: usize = 32;
/// Pid namespaces can be nested 32 deep.
const MAX_IDS: usize = 33;

/// From `stat`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) name: String,
    /// A zombie or dead: it runs nothing and holds nothing.
    pub(super) dead: bool,
    pub(super) kernel_thread: bool,
    pub(super) parent: i64,
    pub(super) start_ticks: i64,
}

/// From `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) uid: i64,
    pub(super) real_uid: i64,
    pub(super) gid: i64,
    /// The first [`MAX_GROUPS`].
    pub(super) groups: Vec<i64>,
    /// Its ids from the reader's pid namespace inwards, `NSpid`; empty where the kernel does not tell.
    pub(super) ids: Vec<i64>,
    pub(super) cap_effective: i64,
    pub(super) cap_permitted: i64,
    pub(super) cap_bounding: i64,
    pub(super) no_new_privileges: bool,
    pub(super) seccomp: i64,
}

/// Reads `stat`. The name may contain spaces and parentheses: it ends at the last one.
pub(super) fn stat(content: &[u8]) -> Option<Stat> {
    let text = String::from_utf8_lossy(content);
    let (_, rest) = text.split_once('(')?;
    let (name, rest) = rest.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let dead = matches!(fields.next()?, "Z" | "X" | "x");
    let parent = fields.next()?.parse().ok()?;
    let flags: u64 = fields.nth(4)?.parse().ok()?;
    let start_ticks = fields.nth(12)?.parse().ok()?;
    Some(Stat { name: name.to_owned(), dead, kernel_thread: flags & KERNEL_THREAD != 0, parent, start_ticks })
}

/// Reads `status`. The kernel escapes newlines in names, so that every line is the kernel's own.
pub(super) fn status(content: &[u8]) -> Option<Status> {
    let text = String::from_utf8_lossy(content);
    let mut status = Status::default();
    let (mut uids, mut gids) = (None, None);
    let (mut effective, mut permitted, mut bounding) = (None, None, None);
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        match key {
            "Uid" => uids = uids.or_else(|| pair(value)),
            "Gid" => gids = gids.or_else(|| pair(value)),
            "Groups" => status.groups = numbers(value, MAX_GROUPS),
            "NSpid" => status.ids = numbers(value, MAX_IDS),
            "CapPrm" => permitted = Some(mask(value)?),
            "CapEff" => effective = effective.or(Some(mask(value)?)),
            "CapBnd" => bounding = Some(mask(value)?),
            "NoNewPrivs" => status.no_new_privileges = value.trim() == "1",
            "Seccomp" => status.seccomp = value.trim().parse().unwrap_or(0),
            _ => {}
        }
    }
    (status.real_uid, status.uid) = uids?;
    (_, status.gid) = gids?;
    status.cap_effective = effective?;
    // What is in effect is permitted, and within bounds of when it came.
    status.cap_permitted = permitted.unwrap_or(status.cap_effective);
    status.cap_bounding = bounding.unwrap_or(status.cap_effective);
    Some(status)
}

/// The real and the effective one of four ids.
fn pair(value: &str) -> Option<(i64, i64)> {
    let mut ids = value.split_ascii_whitespace().map_while(|id| id.parse().ok());
    Some((ids.next()?, ids.next()?))
}

fn numbers(value: &str, most: usize) -> Vec<i64> {
    value.split_ascii_whitespace().map_while(|number| number.parse().ok()).take(most).collect()
}

/// Bit 63 is set only where an old kernel means "all".
fn mask(value: &str) -> Option<i64> {
    u64::from_str_radix(value.trim(), 16).map(|mask| i64::try_from(mask).unwrap_or(i64::MAX)).ok()
}

/// The uid that the process itself sees for the host's `uid`; `None` when its map has no such uid.
pub(super) fn inside_uid(uid_map: &str, uid: i64) -> Option<i64> {
    uid_map.lines().find_map(|line| {
        let mut numbers = line.split_ascii_whitespace().map(|number| number.parse::<u32>().map(i64::from));
        let (inside, outside, count) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
        (outside..outside + count).contains(&uid).then(|| inside + (uid - outside))
    })
}

/// Does every uid mean itself: the map of the host's own user namespace.
pub(super) fn identity_map(uid_map: &str) -> bool {
    uid_map.split_ascii_whitespace().collect::<Vec<_>>() == ["0", "0", "4294967295"]
}

/// The arguments in `cmdline`: separated by NUL, or by spaces where a process wrote a title over them.
pub(in crate::sensors) fn arguments(content: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(content);
    let text = text.trim_end_matches('\0');
    if text.is_empty() {
        return Vec::new();
    }
    if text.contains('\0') {
        return text.split('\0').map(str::to_owned).collect();
    }
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_escapes_ends_at_the_last_parenthesis() {
        let line = b"42 (a) R (\x1b[31m\xff) S 1 42 42 0 -1 4194560 1 1 1 1 1 1 1 1 20 0 1 0 414522 0 0";
        let stat = stat(line).unwrap();
        assert_eq!(stat.name, "a) R (\u{1b}[31m\u{fffd}");
        assert_eq!((stat.start_ticks, stat.kernel_thread, stat.dead), (414_522, false, false));
    }

    #[test]
    fn a_name_cannot_pass_for_a_line_of_status() {
        let text = b"Name:\tUid:\t9\t9\nUid:\t0\t1000\t0\t0\nGid:\t0\t7\t0\t0\nGroups:\t4 27 \nNSpid:\t4711\t1\nCapPrm:\t3\nCapEff:\t000001ffffffffff\nCapBnd:\ta80425fb\nNoNewPrivs:\t1\nSeccomp:\t2\n";
        let read = status(text).unwrap();
        let expected = Status {
            uid: 1000,
            real_uid: 0,
            gid: 7,
            groups: vec![4, 27],
            ids: vec![4711, 1],
            cap_effective: 0x1ff_ffff_ffff,
            cap_permitted: 3,
            cap_bounding: 0xa804_25fb,
            no_new_privileges: true,
            seccomp: 2,
        };
        assert_eq!(read, expected);
        assert_eq!(status(b"Name:\tx\n"), None);
        let many = "7 ".repeat(1000);
        assert_eq!(status(format!("Uid: 0 0\nGid: 0 0\nGroups:\t{many}\nCapEff: 0\n").as_bytes()).unwrap().groups.len(), 32);
    }

    #[test]
    fn uids_are_mapped_inwards() {
        let map = "         0     100000      65536\n";
        assert_eq!(inside_uid(map, 100_000), Some(0));
        assert_eq!(inside_uid(map, 0), None);
        assert!(!identity_map(map));
        assert!(identity_map("         0          0 4294967295\n"));
    }

    proptest::proptest! {
        #[test]
        fn nothing_a_tree_may_hold_makes_a_reader_panic(content: Vec<u8>, text: String, uid in 0..i64::from(u32::MAX)) {
            let wrapped = [b"7 (".as_slice(), &content, b") S 1 "].concat();
            let _ = (stat(&content), stat(&wrapped), status(&content), arguments(&content), inside_uid(&text, uid));
            let _ = crate::sensors::redact::arguments(&arguments(&content));
            let _ = super::super::cgroup::cgroup(&format!("0::{text}"), text.len() % 2 == 0);
        }
    }

    #[test]
    fn a_mask_of_all_bits_is_all_capabilities() {
        assert_eq!(status(b"Uid: 0 0\nGid: 0 0\nCapEff: ffffffffffffffff\n").unwrap().cap_effective, i64::MAX);
    }

    #[test]
    fn arguments_are_split_at_nul_else_at_spaces() {
        assert_eq!(arguments(b"kubelet\0--a=b c\0"), ["kubelet", "--a=b c"]);
        assert_eq!(arguments(b"/sbin/init systemd"), ["/sbin/init", "systemd"]);
        assert!(arguments(b"\0").is_empty());
    }
}
