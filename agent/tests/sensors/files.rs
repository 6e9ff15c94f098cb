//! Files by effect: real modes, owners, access lists and links below a directory that stands for the host.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use holdfast_agent::sensors::Sensors;
use holdfast_checks::catalogue::built_in;
use holdfast_checks::derive::derive;
use holdfast_checks::entries::Verdict;
use holdfast_checks::evaluator::{Evaluator, Selection};
use holdfast_checks::facts::{Access, AclEntry, FileFact, Group, NodeFacts, Reason};

use super::hostile::Tree;
use super::{complete, known, options};

/// Owners can only be given away by root, and others' files only be judged by it.
fn is_root() -> bool {
    let root = nix::unistd::Uid::effective().is_root();
    if !root {
        println!("skipped: needs root");
    }
    root
}

/// A tree whose top everybody enters, as on a host.
fn tree() -> Tree {
    let tree = Tree::new();
    for path in ["", "host", "host/etc"] {
        fs::set_permissions(tree.path(path), fs::Permissions::from_mode(0o755)).unwrap();
    }
    tree
}

fn put(tree: &Tree, path: &str, content: &str, mode: u32) {
    let path = format!("host{path}");
    let mut above = Path::new(&path).ancestors().skip(1).collect::<Vec<_>>();
    above.reverse();
    for directory in above {
        let directory = tree.path(directory.to_str().unwrap());
        if !directory.exists() {
            fs::create_dir(&directory).unwrap();
            fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    tree.write(&path, content);
    fs::set_permissions(tree.path(&path), fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(tree: &Tree, path: &str, mode: u32) {
    fs::set_permissions(tree.path(&format!("host{path}")), fs::Permissions::from_mode(mode)).unwrap();
}

/// `(tag, permissions, id)` as an access list of the kernel's.
fn set_acl(tree: &Tree, path: &str, entries: &[(u16, u16, u32)]) -> bool {
    let mut acl = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        acl.extend(tag.to_le_bytes());
        acl.extend(permissions.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    let set = xattr::set(tree.path(&format!("host{path}")), "system.posix_acl_access", &acl).is_ok();
    if !set {
        println!("skipped: no ACLs on this file system");
    }
    set
}

fn facts(tree: &Tree) -> NodeFacts {
    let mut facts = tree.read();
    derive(&mut facts);
    facts
}

fn file(facts: &NodeFacts, path: &str) -> FileFact {
    let files = &known(&facts.files).items;
    files.iter().find(|file| file.path == path).unwrap_or_else(|| panic!("{path} is not in {files:?}")).clone()
}

fn access(readers: &[&str], writers: &[&str], closed_by: &str) -> Access {
    let text = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
    Access { readers: text(readers), writers: text(writers), closed_by: closed_by.to_owned() }
}

fn way(file: &FileFact) -> Vec<&str> {
    known(&file.way).iter().map(|step| step.path.as_str()).collect()
}

/// Verdicts of a built-in check.
fn verdicts(facts: &NodeFacts, check: &str) -> Vec<(String, Verdict)> {
    let evaluator = Evaluator::new(built_in().unwrap());
    let findings = evaluator.evaluate(facts, &Selection::default()).unwrap();
    findings.into_iter().filter(|finding| finding.check == check).map(|finding| (finding.subject, finding.verdict)).collect()
}

const ANY: u32 = u32::MAX;

#[test]
fn an_access_list_is_read_after_its_mask() {
    let tree = tree();
    put(&tree, "/etc/config.yaml", "{}", 0o640);
    // Owner rw; user 1000 rw; group rw; group 20 r; mask r.
    if !is_root() || !set_acl(&tree, "/etc/config.yaml", &[(1, 6, ANY), (2, 6, 1000), (4, 6, ANY), (8, 4, 20), (16, 4, ANY), (32, 0, ANY)])
    {
        return;
    }
    let file = file(&facts(&tree), "/etc/config.yaml");
    let entry = |whom: &str, id| AclEntry { whom: whom.to_owned(), id, permissions: 4 };
    assert_eq!((file.mode, file.acl.clone()), (0o640, vec![entry("user", 1000), entry("group", 20)]));
    assert_eq!(*known(&file.access), access(&["uid 1000", "gid 0", "gid 20"], &[], ""));
}

#[test]
fn an_access_list_of_a_directory_lets_in_whom_the_mode_does_not() {
    let tree = tree();
    put(&tree, "/var/lib/kubelet/config.yaml", "{}", 0o644);
    mode(&tree, "/var/lib/kubelet", 0o700);
    if !is_root() || !set_acl(&tree, "/var/lib/kubelet", &[(1, 7, ANY), (2, 7, 1000), (4, 0, ANY), (16, 7, ANY), (32, 0, ANY)]) {
        return;
    }
    let file = file(&facts(&tree), "/var/lib/kubelet/config.yaml");
    let kubelet = known(&file.way).last().unwrap();
    assert_eq!((kubelet.path.as_str(), kubelet.mode, kubelet.acl.len()), ("/var/lib/kubelet", 0o770, 2));
    assert_eq!(*known(&file.access), access(&["uid 1000"], &["uid 1000"], ""), "the mask hides that the owning group has nothing");
}

#[test]
fn trap_4_1_9_a_file_that_all_may_read_inside_a_directory_of_roots_alone_passes() {
    if !is_root() {
        return;
    }
    let tree = tree();
    put(&tree, "/var/lib/kubelet/config.yaml", "{}", 0o644);
    mode(&tree, "/var/lib/kubelet", 0o700);
    let facts = facts(&tree);
    let file = file(&facts, "/var/lib/kubelet/config.yaml");
    assert_eq!(way(&file), ["/", "/var", "/var/lib", "/var/lib/kubelet"]);
    assert_eq!(*known(&file.access), access(&[], &[], "/var/lib/kubelet"));
    assert_eq!(verdicts(&facts, "kubelet-config-mode"), [("file:/var/lib/kubelet/config.yaml".to_owned(), Verdict::Pass)]);
}

#[test]
fn a_directory_that_closes_a_file_keeps_its_own_part() {
    if !is_root() {
        return;
    }
    let tree = tree();
    tree.process(10, "kubelet", "kubelet\0--tls-cert-file=/var/lib/kubelet/pki/own.crt\0");
    put(&tree, "/var/lib/kubelet/pki/own.crt", "", 0o644);
    mode(&tree, "/var/lib/kubelet/pki", 0o700);
    let facts = tree.read();
    assert_eq!(file(&facts, "/var/lib/kubelet/pki").role, "pki_directory");
    assert_eq!(known(&facts.files).skipped, []);
}

#[test]
fn trap_4_1_5_a_link_to_a_file_of_mode_0600_passes() {
    if !is_root() {
        return;
    }
    let tree = tree();
    put(&tree, "/data/kubelet/kubelet.conf", "", 0o600);
    put(&tree, "/etc/kubernetes/x", "", 0o600);
    symlink("../../data/kubelet/kubelet.conf", tree.path("host/etc/kubernetes/kubelet.conf")).unwrap();
    let facts = facts(&tree);
    let file = file(&facts, "/etc/kubernetes/kubelet.conf");
    assert_eq!((file.mode, file.target.as_str()), (0o600, "../../data/kubelet/kubelet.conf"));
    assert_eq!(way(&file), ["/", "/etc", "/etc/kubernetes", "/data", "/data/kubelet"]);
    assert_eq!(*known(&file.access), access(&[], &[], ""));
    assert_eq!(verdicts(&facts, "kubelet-kubeconfig-mode"), [("file:/etc/kubernetes/kubelet.conf".to_owned(), Verdict::Pass)]);
}

#[test]
fn trap_4_1_2_and_4_1_3_what_is_not_there_is_not_applicable() {
    let tree = tree();
    put(&tree, "/etc/kubernetes/kubelet.conf", "", 0o600);
    let facts = facts(&tree);
    for check in ["kubelet-unit-owner", "kubelet-unit-mode", "kube-proxy-kubeconfig-mode", "kube-proxy-kubeconfig-owner"] {
        let verdicts: Vec<Verdict> = verdicts(&facts, check).into_iter().map(|(_, verdict)| verdict).collect();
        assert_eq!(verdicts, [Verdict::NotApplicable], "{check}");
    }
}

#[test]
fn whoever_writes_a_directory_on_the_way_writes_the_file() {
    if !is_root() {
        return;
    }
    let tree = tree();
    put(&tree, "/etc/kubernetes/pki/ca.key", "", 0o600);
    chown(tree.path("host/etc/kubernetes"), Some(1000), Some(0)).unwrap();
    assert_eq!(*known(&file(&facts(&tree), "/etc/kubernetes/pki/ca.key").access), access(&[], &["uid 1000"], ""));
    mode(&tree, "/etc/kubernetes/pki", 0o777);
    assert_eq!(*known(&file(&facts(&tree), "/etc/kubernetes/pki/ca.key").access), access(&[], &["everyone"], ""));
    mode(&tree, "/etc/kubernetes", 0o700);
    assert_eq!(*known(&file(&facts(&tree), "/etc/kubernetes/pki/ca.key").access), access(&[], &["uid 1000"], ""));
}

#[test]
fn directories_that_are_links_are_followed_and_a_loop_is_told() {
    let tree = tree();
    put(&tree, "/data/etc/kubelet.conf", "", 0o600);
    symlink("/data/link", tree.path("host/etc/kubernetes")).unwrap();
    symlink("etc/../etc/.", tree.path("host/data/link")).unwrap();
    symlink("loop", tree.path("host/data/etc/loop")).unwrap();
    symlink("loop", tree.path("host/data/etc/admin.conf")).unwrap();
    let facts = tree.read();
    let file = file(&facts, "/etc/kubernetes/kubelet.conf");
    assert_eq!(way(&file), ["/", "/etc", "/data", "/data/etc"]);
    let skipped = &known(&facts.files).skipped;
    assert!(
        skipped.iter().any(|skipped| skipped.what == "/etc/kubernetes/admin.conf" && skipped.reason == Reason::Malformed),
        "{skipped:?}"
    );
}

#[test]
fn a_link_back_into_its_own_directory_ends_where_the_file_lies() {
    let tree = tree();
    put(&tree, "/etc/kubernetes/pki/x/y", "", 0o600);
    put(&tree, "/etc/kubernetes/pki/real.key", "", 0o600);
    symlink("x/../real.key", tree.path("host/etc/kubernetes/pki/ca.key")).unwrap();
    let facts = tree.read();
    let file = file(&facts, "/etc/kubernetes/pki/ca.key");
    assert_eq!(*way(&file).last().unwrap(), "/etc/kubernetes/pki");
    assert_eq!(way(&file).iter().filter(|path| **path == "/").count(), 1);
}

#[test]
fn units_and_their_drop_ins_are_found_in_every_directory_and_once() {
    let tree = tree();
    put(&tree, "/usr/lib/systemd/system/kubelet.service", "", 0o644);
    put(&tree, "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf", "", 0o644);
    put(&tree, "/run/systemd/system/kubelet.service.d/x.conf", "", 0o644);
    put(&tree, "/etc/systemd/system/kubelet.service.d/20-x.conf", "", 0o644);
    put(&tree, "/etc/systemd/system/kubelet.service.d/readme", "", 0o644);
    symlink("usr/lib", tree.path("host/lib")).unwrap();
    let facts = tree.read();
    let units = complete(&facts.files).iter().filter(|file| file.role == "kubelet_unit").map(|file| file.path.as_str());
    assert_eq!(
        units.collect::<Vec<_>>(),
        [
            "/etc/systemd/system/kubelet.service.d/20-x.conf",
            "/run/systemd/system/kubelet.service.d/x.conf",
            "/usr/lib/systemd/system/kubelet.service",
            "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf",
        ]
    );
}

#[test]
fn relative_paths_are_below_the_working_directory_or_the_file_that_has_them() {
    let tree = tree();
    tree.process(10, "kubelet", "kubelet\0--config=conf/k.yaml\0--kubeconfig\0k.conf\0--cert-dir=certs\0--tls-cert-file=over.crt\0");
    tree.write("proc/10/cwd", "/opt/k");
    put(
        &tree,
        "/opt/k/conf/k.yaml",
        "authentication: {x509: {clientCAFile: ../ca.crt}}\nstaticPodPath: pods\ntlsCertFile: under.crt\ntlsPrivateKeyFile: tls.key\n",
        0o600,
    );
    for path in [
        "k.conf",
        "ca.crt",
        "over.crt",
        "conf/under.crt",
        "conf/tls.key",
        "conf/pods/p.yaml",
        "certs/kubelet.crt",
        "certs/kubelet-client-current.pem",
    ] {
        put(&tree, &format!("/opt/k/{path}"), "", 0o600);
    }
    let facts = tree.read();
    let named = |role: &str| -> Vec<String> {
        let files = complete(&facts.files).iter().filter(|file| file.role == role && file.path.starts_with("/opt/"));
        files.map(|file| file.path.clone()).collect()
    };
    assert_eq!(named("kubelet_config"), ["/opt/k/conf/k.yaml"]);
    assert_eq!(named("kubelet_kubeconfig"), ["/opt/k/k.conf"]);
    assert_eq!(named("kubelet_ca"), ["/opt/k/ca.crt"]);
    assert_eq!(named("manifest"), ["/opt/k/conf/pods/p.yaml"]);
    assert_eq!(named("pki_certificate"), ["/opt/k/certs/kubelet.crt", "/opt/k/over.crt"], "the flag wins");
    assert_eq!(named("pki_key"), ["/opt/k/certs/kubelet-client-current.pem", "/opt/k/conf/tls.key"]);
    assert_eq!(named("pki_directory"), ["/opt/k/certs"]);
}

#[test]
fn what_a_container_has_mounted_is_reached_on_the_hosts_way() {
    if !is_root() {
        return;
    }
    let tree = tree();
    put(&tree, "/etc/kubernetes/scheduler.conf", "", 0o600);
    put(&tree, "/etc/kubernetes/own.conf", "the host's", 0o600);
    put(&tree, "/rootfs/etc/kubernetes/own.conf", "the container's", 0o644);
    mode(&tree, "/etc/kubernetes", 0o777);
    // A mount has the file's own inode, and so has a hard link.
    fs::hard_link(tree.path("host/etc/kubernetes/scheduler.conf"), tree.path("host/rootfs/etc/kubernetes/scheduler.conf")).unwrap();
    tree.process(11, "kube-scheduler", "kube-scheduler\0--kubeconfig=/etc/kubernetes/scheduler.conf\0");
    tree.process(12, "kube-controller-manager", "kube-controller-manager\0--kubeconfig=/etc/kubernetes/own.conf\0");
    tree.write("proc/11/root", "/rootfs");
    tree.write("proc/12/root", "/rootfs");
    let facts = facts(&tree);
    assert_eq!(*known(&file(&facts, "/etc/kubernetes/scheduler.conf").access), access(&[], &["everyone"], ""));
    assert_eq!(*known(&file(&facts, "/etc/kubernetes/own.conf").access), access(&["everyone"], &[], ""));
    assert_eq!(known(&facts.files).skipped, [], "nobody else names the host's own.conf");
}

#[test]
fn a_file_of_the_same_name_in_another_root_is_missing_and_said_to_be() {
    let tree = tree();
    put(&tree, "/etc/kubernetes/scheduler.conf", "the host's", 0o600);
    put(&tree, "/rootfs/etc/kubernetes/scheduler.conf", "the container's", 0o644);
    tree.process(11, "kube-scheduler", "kube-scheduler\0--kubeconfig=/etc/kubernetes/scheduler.conf\0");
    tree.write("proc/11/root", "/rootfs");
    let facts = tree.read();
    let skipped = &known(&facts.files).skipped;
    assert_eq!(skipped.len(), 1);
    assert_eq!(skipped[0].reason, Reason::NotSupported);
    assert!(skipped[0].what.starts_with("/etc/kubernetes/scheduler.conf, which is another file"), "{skipped:?}");
}

#[test]
fn kubeconfigs_of_people_are_found_and_many_homes_are_told() {
    let tree = tree();
    put(&tree, "/root/.kube/config", "", 0o600);
    put(&tree, "/home/ann/.kube/config", "", 0o644);
    put(&tree, "/home/bob/notes", "", 0o644);
    let paths = |facts: &NodeFacts| -> Vec<String> {
        known(&facts.files).items.iter().filter(|file| file.role == "kubeconfig").map(|file| file.path.clone()).collect()
    };
    assert_eq!(paths(&tree.read()), ["/home/ann/.kube/config", "/root/.kube/config"]);
    for n in 0..200 {
        fs::create_dir(tree.path(&format!("host/home/user{n}"))).unwrap();
    }
    let facts = tree.read();
    assert!(known(&facts.files).skipped.iter().any(|skipped| skipped.what == "further homes" && skipped.reason == Reason::TooLarge));
}

#[test]
fn a_recording_gives_the_ways_whose_directories_it_lists() {
    let tree = tree();
    let entry = |path: &str, rest: &str| format!(r#""{path}": {{"uid": 0, "gid": 0, {rest}}}"#);
    let directory = |path: &str, mode: &str| entry(path, &format!(r#""mode": "{mode}", "type": "directory""#));
    let listed = [
        directory("/", "0755"),
        directory("/etc", "0755"),
        directory("/etc/kubernetes", "0700"),
        entry("/etc/kubernetes/admin.conf", r#""mode": "0644", "acl": [{"whom": "user", "id": 7, "permissions": 4}]"#),
        entry("/etc/kubernetes/kubelet.conf", r#""mode": "0777", "type": "symlink", "target": "/srv/kubelet.conf""#),
        entry("/srv/kubelet.conf", r#""mode": "0600""#),
    ];
    tree.write("host/holdfast-tree.json", format!(r#"{{"uname": {{"release": "6.1.0"}}, "files": {{{}}}}}"#, listed.join(",")));
    let facts = facts(&tree);
    let admin = file(&facts, "/etc/kubernetes/admin.conf");
    assert_eq!((admin.acl.len(), way(&admin)), (1, vec!["/", "/etc", "/etc/kubernetes"]));
    assert_eq!(*known(&admin.access), access(&[], &[], "/etc/kubernetes"));
    let kubelet = file(&facts, "/etc/kubernetes/kubelet.conf");
    let why = kubelet.access.unavailable().unwrap();
    assert_eq!((kubelet.mode, why.reason, why.detail.as_str()), (0o600, Reason::NotSupported, "the recording does not list /srv"));
}

/// `cargo test -p holdfast-agent --release --test sensors -- --ignored --nocapture cost_of`
#[test]
#[ignore = "prints a measurement"]
fn cost_of_files_and_certificates() {
    let tree = tree();
    super::certificates::kubeadm(&tree);
    let mut sensors = Sensors::open(options(&tree.path("host"), &tree.path("proc"))).unwrap();
    let mut facts = sensors.read_all(&mut |_| {});
    let mut pass = |groups: &[Group]| {
        let groups = groups.iter().copied().collect();
        let mut times: Vec<_> = (0..200)
            .map(|_| {
                let started = std::time::Instant::now();
                sensors.refresh(&mut facts, &groups);
                started.elapsed()
            })
            .collect();
        times.sort();
        (times[100], times[198])
    };
    let both = pass(&[Group::Files]);
    let certificates = pass(&[Group::Certificates]);
    let (files, found) = (complete(&facts.files).len(), complete(&facts.certificates).len());
    println!("files and certificates, p50 and p99: {both:?}; certificates alone: {certificates:?}; {files} files, {found} certificates");
    let mut derived = facts.clone();
    let started = std::time::Instant::now();
    (0..100).for_each(|_| derive(&mut derived));
    println!("derive: {:?}", started.elapsed() / 100);
}

/// A node of kind has files under the names of the host's, and they are not the host's.
#[test]
fn what_a_kubelet_with_mounts_of_its_own_names_is_no_file_of_this_host() {
    let tree = tree();
    tree.write("proc/1/ns/mnt", "mnt:[1]");
    tree.write("proc/10/ns/mnt", "mnt:[2]");
    put(&tree, "/etc/config.yaml", "clientCAFile: /opt/ca.crt\nstaticPodPath: /opt/pods\n", 0o600);
    put(&tree, "/opt/pods/p.yaml", "", 0o644);
    let named = |facts: &NodeFacts| {
        let roles = ["kubelet_config", "manifest"];
        complete(&facts.files).iter().filter(|file| roles.contains(&file.role.as_str())).map(|file| file.path.clone()).collect::<Vec<_>>()
    };
    let facts = tree.read();
    assert_eq!(known(&complete(&facts.kubelets)[0].host_mounts), &false);
    assert!(named(&facts).is_empty(), "{:?}", named(&facts));
    tree.write("proc/10/ns/mnt", "mnt:[1]");
    assert_eq!(named(&tree.read()), ["/etc/config.yaml", "/opt/pods/p.yaml"]);
}

/// Whoever starts a process of this name may point it at a directory of their own making.
#[test]
fn a_directory_full_of_what_cannot_be_looked_at_is_cut_off_in_time() {
    let tree = tree();
    tree.process(10, "kubelet", "kubelet\0--config=/etc/config.yaml\0--cert-dir=/opt/many\0");
    put(&tree, "/etc/kubernetes/kubelet.conf", "", 0o600);
    for number in 0..20_000 {
        let name = format!("{number}.crt");
        fs::create_dir_all(tree.path("host/opt/many")).unwrap();
        symlink(&name, tree.path(&format!("host/opt/many/{name}"))).unwrap();
    }
    let started = std::time::Instant::now();
    let facts = tree.read();
    assert!(started.elapsed() < std::time::Duration::from_mins(2), "{:?}", started.elapsed());
    let files = known(&facts.files);
    assert_eq!(files.skipped.len(), 501);
    assert_eq!(files.skipped.last().map(|skipped| skipped.what.as_str()), Some("further files"));
}

#[test]
fn what_processes_name_is_watched_before_it_is_there() {
    let tree = tree();
    put(&tree, "/etc/config.yaml", "staticPodPath: /opt/pods\nauthentication: {x509: {clientCAFile: /opt/ca.crt}}\n", 0o600);
    put(&tree, "/etc/ssh/sshd_config", "Include /opt/ssh/*.conf\n", 0o600);
    put(&tree, "/opt/ssh/a.conf", "PermitRootLogin yes\n", 0o600);
    let mut sensors = Sensors::open(options(&tree.path("host"), &tree.path("proc"))).unwrap();
    let facts = sensors.read_all(&mut |_| {});
    let watched = sensors.watched(&facts).unwrap();
    for (path, group) in [("opt/pods", Group::Files), ("opt/ca.crt", Group::Files), ("opt/ssh/a.conf", Group::Network)] {
        let place = tree.path(&format!("host/{path}"));
        assert!(watched.iter().any(|(path, groups)| *path == place && groups.contains(&group)), "{path}: {watched:?}");
    }
}
