//! What of the host is mounted in a container, as the kernel says.
//!
//! A mount tells which part of which file system it is. The host's own table says where that part lies on the host: the same
//! device, and a root that the other begins with. What has no such place belongs to no host path: the container's root file
//! system, its `/dev`, its `/proc`. Of mounts within a listed one that lead to where it leads anyway, as a recursive bind brings
//! them by the dozen, those that are writable in a read-only one are listed, the first of each kind.

use std::collections::HashMap;

use holdfast_checks::facts::{Listing, Mount, MountKind, Reason, Skipped};

use super::mountinfo::{Mounted, Mounts};
use super::places::{Place, Places, Whose, within};

/// More pieces of the host than any container has.
const MOST: usize = 64;

/// The host's mounts, by device.
#[derive(Debug, Default)]
pub(super) struct HostMounts {
    by_device: HashMap<Box<str>, Vec<HostMount>>,
    /// Some could not be read.
    pub(super) cut: bool,
}

#[derive(Debug)]
struct HostMount {
    root: Box<str>,
    target: Box<str>,
}

/// Namespaces that a container has in common with the host; with them come file systems.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shared {
    pub(super) pid: bool,
    pub(super) network: bool,
    pub(super) ipc: bool,
}

impl HostMounts {
    pub(super) fn of(mounts: &Mounts) -> Self {
        let mut by_device: HashMap<Box<str>, Vec<HostMount>> = HashMap::new();
        // What is covered on the host may still have been mounted before it was.
        for mount in &mounts.all {
            let of_device = by_device.entry(mount.device.clone()).or_default();
            of_device.push(HostMount { root: mount.root.clone(), target: mount.target.clone() });
        }
        Self { by_device, cut: mounts.cut }
    }

    /// The paths of the host that lead to what `mount` shows.
    fn paths(&self, mount: &Mounted) -> Vec<String> {
        let found = self.by_device.get(&mount.device).map(Vec::as_slice).unwrap_or_default();
        let path = |host: &HostMount| {
            let rest = if host.root.as_ref() == "/" { Some(mount.root.as_ref()) } else { mount.root.strip_prefix(host.root.as_ref()) };
            let rest = rest.filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
            Some(joined(&host.target, rest))
        };
        found.iter().filter_map(path).collect()
    }
}

fn joined(parent: &str, rest: &str) -> String {
    let path = format!("{}{}", parent.trim_end_matches('/'), rest.trim_end_matches('/'));
    if path.is_empty() { "/".to_owned() } else { path }
}

/// Is its root read-only. `None` where its root is no mount of its own.
pub(super) fn root_read_only(visible: &[&Mounted]) -> Option<bool> {
    visible.iter().find(|mount| mount.target.as_ref() == "/").map(|mount| !mount.writable)
}

/// The pieces of the host among a container's mounts that a path leads to, and its token. `cut`: there are more.
pub(super) fn of_host(
    mut visible: Vec<&Mounted>,
    cut: bool,
    host: &HostMounts,
    places: &Places,
    whose: Whose<'_>,
    shared: Shared,
) -> Listing<Mount> {
    visible.sort_by(|a, b| a.target.cmp(&b.target));
    let mut listed: Vec<Mount> = Vec::new();
    let mut skipped = Vec::new();
    for mount in visible {
        let Some((source, kind)) = piece(mount, host, places, whose, shared) else { continue };
        let found = Mount { source, target: mount.target.to_string(), kind, writable: mount.writable };
        if adds_nothing(&found, &listed, whose) {
            continue;
        }
        if listed.len() == MOST {
            skipped.push(Skipped { what: format!("mounts after the first {MOST}"), reason: Reason::TooLarge });
            break;
        }
        listed.push(found);
    }
    if cut || host.cut {
        skipped.push(Skipped { what: "mounts that the table was cut before".to_owned(), reason: Reason::TooLarge });
    }
    Listing { items: listed, skipped }
}

/// Does it lie in a listed mount that leads to the same place, and allows as much.
fn adds_nothing(found: &Mount, listed: &[Mount], whose: Whose<'_>) -> bool {
    let around = |outer: &&Mount| outer.kind != MountKind::Token && outer.target != found.target && within(&found.target, &outer.target);
    // Sorted by target, the last one around it is the innermost.
    let Some(outer) = listed.iter().rfind(around) else { return false };
    let rest = found.target.strip_prefix(outer.target.trim_end_matches('/')).unwrap_or_default();
    // Its own token and its own root file system, seen through a piece of the host that holds all of them.
    if found.kind == MountKind::Token || (!whose.id.is_empty() && rest.split('/').any(|part| part == whose.id)) {
        return true;
    }
    if joined(&outer.source, rest) != found.source {
        return false;
    }
    // A runtime's socket is worth a line of its own wherever it lies: who may connect to it needs nothing else.
    let of_socket = |other: &&Mount| other.kind == MountKind::RuntimeSocket && within(&other.target, &outer.target);
    if found.kind == MountKind::RuntimeSocket && !listed.iter().any(|other| of_socket(&other)) {
        return false;
    }
    let alike = |other: &&Mount| other.kind == found.kind && other.writable && within(&other.target, &outer.target);
    outer.writable || !found.writable || listed.iter().any(|other| alike(&other))
}

/// What piece of the host a mount is; `None` when none.
fn piece(mount: &Mounted, host: &HostMounts, places: &Places, whose: Whose<'_>, shared: Shared) -> Option<(String, MountKind)> {
    let target = mount.target.as_ref();
    if mount.filesystem.as_ref() == "nsfs" || comes_with_namespace(mount, shared) {
        return None;
    }
    let paths = host.paths(mount);
    if target == "/" {
        // The runtime keeps root file systems among its data. Only the host's own is another matter.
        return paths.into_iter().find(|path| path == "/").map(|path| (path, MountKind::Root));
    }
    if mount.filesystem.starts_with("cgroup") {
        return cgroup(mount, paths, whose);
    }
    decide(paths, target, places, whose)
}

/// Among several paths of the host that lead to the same: a place of the pod's own counts, unless another is worth more than a
/// mere directory. The kubelet binds parts of volumes once more, also of the host's paths: then the other path counts.
pub(super) fn decide(paths: Vec<String>, target: &str, places: &Places, whose: Whose<'_>) -> Option<(String, MountKind)> {
    let is_token = matches!(target, "/var/run/secrets/kubernetes.io/serviceaccount" | "/run/secrets/kubernetes.io/serviceaccount");
    let (mut own, mut token, mut of_host) = (false, None, None::<(MountKind, String)>);
    let nowhere = paths.is_empty();
    for path in paths {
        match places.place(&path, whose) {
            Place::Own => own = true,
            Place::Host(MountKind::RuntimeData) if whose.sandbox.is_empty() && of_some_sandbox(&path, target) => own = true,
            Place::PartOfOwn => {}
            Place::Token => token = Some(path),
            Place::Host(kind) => {
                let worse = of_host.as_ref().is_none_or(|(before, known)| (kind, path.len()) < (*before, known.len()));
                if worse {
                    of_host = Some((kind, path));
                }
            }
        }
    }
    let mere = |kind: &MountKind| matches!(kind, MountKind::Other | MountKind::Kubelet | MountKind::RuntimeData);
    match of_host {
        Some((kind, path)) if !mere(&kind) || (!own && token.is_none()) => Some((path, kind)),
        _ => match token {
            Some(path) => Some((path, MountKind::Token)),
            None if is_token && (own || nowhere) => Some((String::new(), MountKind::Token)),
            None => None,
        },
    }
}

/// Where no file tells which sandbox it is in: the few files that runtimes keep for it, where they mount them.
fn of_some_sandbox(path: &str, target: &str) -> bool {
    let name = match target {
        "/etc/hosts" => "/hosts",
        "/etc/hostname" => "/hostname",
        "/etc/resolv.conf" => "/resolv.conf",
        "/dev/shm" => "/shm",
        _ => return false,
    };
    path.ends_with(name)
}

/// A file system that shows a namespace, where it is customary: that the namespace is the host's is said elsewhere.
fn comes_with_namespace(mount: &Mounted, shared: Shared) -> bool {
    match mount.filesystem.as_ref() {
        "proc" => shared.pid && within(&mount.target, "/proc"),
        "sysfs" => shared.network && mount.target.as_ref() == "/sys",
        "mqueue" => shared.ipc && mount.target.as_ref() == "/dev/mqueue",
        "tmpfs" => shared.ipc && mount.target.as_ref() == "/dev/shm",
        _ => false,
    }
}

/// The tree of control groups, unless only its own part of it is shown.
fn cgroup(mount: &Mounted, paths: Vec<String>, whose: Whose<'_>) -> Option<(String, MountKind)> {
    // Seen from a cgroup namespace, what is above starts with `/..`.
    let mut root = mount.root.as_ref();
    while let Some(above) = root.strip_prefix("/..") {
        root = above;
    }
    let underscored = whose.pod_uid.replace('-', "_");
    let of = |name: &str| !name.is_empty() && root.contains(name);
    if of(whose.id) || of(whose.sandbox) || of(whose.pod_uid) || of(&underscored) {
        return None;
    }
    // The first version has hierarchies in which no container has a part; runtimes show those from the top, read-only.
    if mount.filesystem.as_ref() == "cgroup" && !mount.writable && within(&mount.target, "/sys/fs/cgroup") {
        return None;
    }
    let shortest = paths.into_iter().filter(|_| root == mount.root.as_ref()).min_by_key(String::len);
    Some((shortest.unwrap_or_else(|| joined("/sys/fs/cgroup", root)), MountKind::Cgroup))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const UID: &str = "8c0a2ef1-7b98-45d7-ba20-30e060ff9b58";
    const ID: &str = "80482ab85e8bbd84bc05126aa36ab4e46ae9ee806de9197c614896296fee9537";

    fn mounts(text: &str) -> Mounts {
        Mounts::read(text.replace("UID", UID).replace("ID", ID).as_bytes()).unwrap()
    }

    /// A root file system, `/run`, another disk, a CSI volume, and parts of volumes.
    const HOST: &str = "29 1 254:0 / / rw - ext4 /dev/vda rw
28 29 0:25 / /run rw - tmpfs tmpfs rw
25 29 0:23 / /proc rw - proc proc rw
24 29 0:22 / /sys rw - sysfs sysfs rw
32 24 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw
26 29 0:6 / /dev rw - devtmpfs udev rw
31 26 0:26 / /dev/shm rw - tmpfs tmpfs rw
40 29 8:16 / /mnt/disks/a rw - ext4 /dev/sdb rw
41 29 8:16 / /var/lib/kubelet/pods/UID/volumes/kubernetes.io~local-volume/a rw - ext4 /dev/sdb rw
42 29 8:32 / /var/lib/kubelet/plugins/kubernetes.io/csi/x/globalmount rw - ext4 /dev/sdc rw
43 29 8:32 / /var/lib/kubelet/pods/UID/volumes/kubernetes.io~csi/x/mount rw - ext4 /dev/sdc rw
44 29 254:0 /etc/app /var/lib/kubelet/pods/UID/volume-subpaths/v/c/0 rw - ext4 /dev/vda rw
45 29 0:59 / /var/lib/kubelet/pods/UID/volumes/kubernetes.io~projected/kube-api-access-x rw - tmpfs tmpfs rw
46 29 254:0 /opt/data /srv/data rw - ext4 /dev/vda rw
47 29 254:0 /var/lib/kubelet/pods/UID/volumes/kubernetes.io~empty-dir/e /var/lib/kubelet/pods/UID/volume-subpaths/e/c/1 rw - ext4 /dev/vda rw
48 29 254:0 /opt/app /var/lib/kubelet/pods/UID/volume-subpaths/o/c/2 rw - ext4 /dev/vda rw
49 29 254:0 /etc /mnt/etc rw - ext4 /dev/vda rw
";

    fn found(table: &str, shared: Shared) -> Vec<(String, String, MountKind, bool)> {
        let table = format!("1 0 0:99 / / rw - overlay overlay rw\n{table}\n");
        let places = Places::usual("/run/containerd/containerd.sock");
        let whose = Whose { id: ID, sandbox: "", pod_uid: UID };
        let listing = of_host(mounts(&table).visible(), false, &HostMounts::of(&mounts(HOST)), &places, whose, shared);
        assert!(listing.skipped.is_empty());
        listing.items.into_iter().map(|mount| (mount.source, mount.target, mount.kind, mount.writable)).collect()
    }

    #[rstest]
    #[case::root("2 1 254:0 / /host ro - ext4 d rw", "/", MountKind::Root, false)]
    #[case::directory("2 1 254:0 /etc/ssl /x rw - ext4 d rw", "/etc/ssl", MountKind::Etc, true)]
    #[case::mounted_elsewhere_too("2 1 254:0 /etc /x rw - ext4 d rw", "/etc", MountKind::Etc, true)]
    #[case::socket(
        "2 1 0:25 /containerd/containerd.sock /c.sock ro - tmpfs t rw",
        "/run/containerd/containerd.sock",
        MountKind::RuntimeSocket,
        false
    )]
    #[case::run("2 1 0:25 / /run rw - tmpfs t rw", "/run", MountKind::RuntimeSocket, true)]
    #[case::file("2 1 254:0 /lib/x.so /x.so rw - ext4 d rw", "/lib/x.so", MountKind::Other, true)]
    #[case::another_pods(
        "2 1 254:0 /var/lib/kubelet/pods/11111111/volumes/x /x rw - ext4 d rw",
        "/var/lib/kubelet/pods/11111111/volumes/x",
        MountKind::Kubelet,
        true
    )]
    #[case::disk("2 1 8:16 /sub /x rw - ext4 d rw", "", MountKind::Other, true)]
    #[case::part_of_a_host_path("2 1 254:0 /etc/app /x ro - ext4 d rw", "/etc/app", MountKind::Etc, false)]
    #[case::part_of_another("2 1 254:0 /opt/app /x ro - ext4 d rw", "/opt/app", MountKind::Other, false)]
    #[case::part_of_an_empty_dir(
        "2 1 254:0 /var/lib/kubelet/pods/UID/volumes/kubernetes.io~empty-dir/e /x rw - ext4 d rw",
        "",
        MountKind::Other,
        true
    )]
    #[case::csi("2 1 8:32 / /x rw - ext4 d rw", "", MountKind::Other, true)]
    #[case::csi_part("2 1 8:32 /sub /x rw - ext4 d rw", "", MountKind::Other, true)]
    #[case::token(
        "2 1 0:59 / /var/run/secrets/kubernetes.io/serviceaccount ro - tmpfs t rw",
        "/var/lib/kubelet/pods/UID/volumes/kubernetes.io~projected/kube-api-access-x",
        MountKind::Token,
        false
    )]
    #[case::token_elsewhere(
        "2 1 0:59 / /tokens ro - tmpfs t rw",
        "/var/lib/kubelet/pods/UID/volumes/kubernetes.io~projected/kube-api-access-x",
        MountKind::Token,
        false
    )]
    #[case::not_hidden_as_token(
        "2 1 254:0 /etc /var/run/secrets/kubernetes.io/serviceaccount rw - ext4 d rw",
        "/etc",
        MountKind::Etc,
        true
    )]
    #[case::a_tmpfs_of_its_own("2 1 0:77 / /tmp rw - tmpfs t rw", "", MountKind::Other, true)]
    #[case::its_proc("2 1 0:78 / /proc rw - proc proc rw", "", MountKind::Other, true)]
    #[case::the_hosts_proc("2 1 0:23 / /host/proc ro - proc proc rw", "/proc", MountKind::Proc, false)]
    #[case::the_hosts_proc_as_its_own("2 1 0:23 / /proc rw - proc proc rw", "/proc", MountKind::Proc, true)]
    #[case::a_device("2 1 0:6 /kmsg /dev/kmsg rw - devtmpfs u rw", "/dev/kmsg", MountKind::Dev, true)]
    #[case::a_device_all_have("2 1 0:6 /null /dev/null rw - devtmpfs u rw", "", MountKind::Other, true)]
    #[case::its_cgroup("2 1 0:27 /kubepods.slice/cri-containerd-ID.scope /sys/fs/cgroup rw - cgroup2 c rw", "", MountKind::Other, true)]
    #[case::all_cgroups("2 1 0:27 / /sys/fs/cgroup rw - cgroup2 c rw", "/sys/fs/cgroup", MountKind::Cgroup, true)]
    #[case::all_cgroups_seen_from_a_pod("2 1 0:27 /../../.. /sys/fs/cgroup rw - cgroup2 c rw", "/sys/fs/cgroup", MountKind::Cgroup, true)]
    #[case::hostname("2 1 254:0 /var/lib/containerd/x/ID/hostname /etc/hostname rw - ext4 d rw", "", MountKind::Other, true)]
    #[case::hostname_of_a_sandbox(
        "2 1 254:0 /var/lib/containerd/x/sandboxes/y/hostname /etc/hostname rw - ext4 d rw",
        "",
        MountKind::Other,
        true
    )]
    #[case::no_hostname(
        "2 1 254:0 /var/lib/containerd/x/sandboxes/y/hostname /x rw - ext4 d rw",
        "/var/lib/containerd/x/sandboxes/y/hostname",
        MountKind::RuntimeData,
        true
    )]
    #[case::namespace("2 1 0:4 net:[4026532279] /netns rw - nsfs nsfs rw", "", MountKind::Other, true)]
    fn mounts_are_classified(#[case] line: &str, #[case] source: &str, #[case] kind: MountKind, #[case] writable: bool) {
        let target = line.split(' ').nth(4).unwrap().to_owned();
        let expected = (!source.is_empty()).then(|| (source.replace("UID", UID), target, kind, writable));
        assert_eq!(found(line, Shared::default()), expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn what_comes_with_a_shared_namespace_is_not_listed_again() {
        let all = "2 1 0:23 / /proc rw - proc proc rw\n3 2 0:23 /sys /proc/sys ro - proc proc rw\n4 1 0:22 / /sys ro - sysfs s rw\n\
            5 1 0:26 / /dev/shm rw - tmpfs t rw";
        assert!(found(all, Shared { pid: true, network: true, ipc: true }).is_empty());
        let kinds: Vec<MountKind> = found(all, Shared::default()).into_iter().map(|(_, _, kind, _)| kind).collect();
        assert_eq!(kinds, [MountKind::Other, MountKind::Proc, MountKind::Sys]);
    }

    #[test]
    fn of_a_recursive_bind_what_is_writable_in_a_read_only_one_is_listed_once_a_kind() {
        let table = "2 1 254:0 / /host ro - ext4 d rw
3 2 0:25 / /host/run rw - tmpfs t rw
4 3 0:25 /lock /host/run/lock rw - tmpfs t rw
5 2 0:22 / /host/sys ro - sysfs s rw
9 2 0:59 / /host/var/lib/kubelet/pods/UID/volumes/kubernetes.io~projected/kube-api-access-x rw - tmpfs t rw
10 2 0:22 / /host/run/containerd/task/ID/rootfs/sys ro - sysfs s rw
6 2 0:6 / /host/dev rw - devtmpfs u rw
7 6 0:26 / /host/dev/shm rw - tmpfs t rw
8 2 8:32 / /host/var/lib/kubelet/plugins/kubernetes.io/csi/x/globalmount rw - ext4 d rw";
        let targets: Vec<String> = found(table, Shared::default()).into_iter().map(|(_, target, _, _)| target).collect();
        assert_eq!(targets, ["/host", "/host/dev", "/host/run"]);
        let writable = table.replace("/host ro", "/host rw");
        let targets: Vec<String> = found(&writable, Shared::default()).into_iter().map(|(_, target, _, _)| target).collect();
        assert_eq!(targets, ["/host", "/host/run"]);
    }

    #[test]
    fn a_runtime_socket_is_not_lost_in_a_mount_that_has_it() {
        for (outer, inner) in [("rw", "rw"), ("ro", "ro")] {
            let table = format!("2 1 254:0 / /host {outer} - ext4 d rw\n3 2 0:25 / /host/run {inner} - tmpfs t rw");
            let kinds: Vec<MountKind> = found(&table, Shared::default()).into_iter().map(|(_, _, kind, _)| kind).collect();
            assert_eq!(kinds, [MountKind::Root, MountKind::RuntimeSocket], "{outer} {inner}");
        }
    }

    #[test]
    fn a_root_that_is_the_hosts_is_the_host() {
        let host = HostMounts::of(&mounts(HOST));
        let listing = of_host(
            mounts("1 0 254:0 / / ro - ext4 d rw\n").visible(),
            false,
            &host,
            &Places::usual(""),
            Whose::default(),
            Shared::default(),
        );
        assert_eq!((listing.items[0].kind, listing.items[0].writable), (MountKind::Root, false));
        assert_eq!(root_read_only(&mounts("1 0 254:0 / / ro - ext4 d rw\n").visible()), Some(true));
        assert_eq!(root_read_only(&mounts("2 1 254:0 / /x ro - ext4 d rw\n").visible()), None);
    }

    #[test]
    fn a_table_that_was_cut_is_incomplete() {
        let table = mounts("1 0 0:99 / / rw - overlay overlay rw\n");
        let listing = of_host(table.visible(), true, &HostMounts::default(), &Places::default(), Whose::default(), Shared::default());
        assert_eq!(listing.skipped.len(), 1);
    }
}
