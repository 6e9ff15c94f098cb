//! Trees made to mislead, to hang and to crash the sensors.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use holdfast_agent::host::Host;
use holdfast_agent::sensors::Sensors;
use holdfast_checks::facts::{Group, NodeFacts, Placement, Reason};
use nix::sys::stat::Mode;
use rstest::rstest;

use super::{complete, known, options, read};

/// A tree with one kubelet whose `--config` is `/etc/config.yaml`.
pub(super) struct Tree(tempfile::TempDir);

impl Tree {
    pub(super) fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        tree.write("host/etc/os-release", "ID=test\n");
        tree.write("host/holdfast-tree.json", r#"{"uname": {"release": "6.1.0"}}"#);
        tree.write("proc/1/net/tcp", "  sl  local_address\n");
        tree.process(10, "kubelet", "kubelet\0--config=/etc/config.yaml\0");
        tree
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    pub(super) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), content).unwrap();
    }

    pub(super) fn process(&self, pid: u32, name: impl AsRef<[u8]>, cmdline: &str) {
        let name = name.as_ref();
        let directory = format!("proc/{pid}");
        let stat = [format!("{pid} (").as_bytes(), name, b") S 1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0\n"].concat();
        let status =
            [b"Name:\t", name, b"\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\nNoNewPrivs:\t0\nSeccomp:\t0\n"].concat();
        self.write(&format!("{directory}/stat"), stat);
        self.write(&format!("{directory}/status"), status);
        self.write(&format!("{directory}/cmdline"), cmdline);
        self.write(&format!("{directory}/cgroup"), "0::/system.slice/x.service\n");
        self.write(&format!("{directory}/uid_map"), "0 0 4294967295\n");
        self.write(&format!("{directory}/root"), "/");
        self.write(&format!("{directory}/exe"), [b"/usr/bin/", name].concat());
    }

    pub(super) fn read(&self) -> NodeFacts {
        read(options(&self.path("host"), &self.path("proc")))
    }

    /// Why the kubelet's configuration is not known.
    fn config(&self) -> (Reason, String) {
        let facts = self.read();
        let why = known(&complete(&facts.kubelets)[0].documents).items[0].content.unavailable().cloned().expect("not known");
        (why.reason, why.detail)
    }
}

pub(super) fn fifo(path: &Path) {
    nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o644)).unwrap();
}

fn huge(path: &Path) {
    fs::File::create(path).unwrap().set_len(2 << 30).unwrap();
}

fn looped(path: &Path) {
    symlink("config.yaml", path).unwrap();
}

fn escaping(path: &Path) {
    symlink("/../../../../../../../../proc/self/status", path).unwrap();
}

fn truncated(path: &Path) {
    fs::write(path, "authentication:\n  anonymous: {enabled: fal").unwrap();
}

fn list(path: &Path) {
    fs::write(path, "- authentication\n").unwrap();
}

fn bomb(path: &Path) {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        text.extend(format!("a{level}: &a{level} [{}]\n", vec![before; 10].join(", ")).chars());
    }
    fs::write(path, text).unwrap();
}

#[rstest]
#[case::fifo(fifo, Reason::Malformed, "a FIFO")]
#[case::two_gigabytes(huge, Reason::TooLarge, "larger than")]
#[case::symlink_loop(looped, Reason::Malformed, "loop")]
#[case::link_out_of_the_root(escaping, Reason::NotPresent, "not there")]
#[case::directory(|path: &Path| fs::create_dir(path).unwrap(), Reason::Malformed, "a directory")]
#[case::truncated(truncated, Reason::Malformed, "not YAML")]
#[case::list(list, Reason::Malformed, "not a map")]
#[case::alias_bomb(bomb, Reason::Malformed, "not YAML")]
#[case::absent(|_: &Path| {}, Reason::NotPresent, "not there")]
fn a_bad_configuration_file_is_unknown_with_the_reason(#[case] make: fn(&Path), #[case] reason: Reason, #[case] words: &str) {
    let tree = Tree::new();
    make(&tree.path("host/etc/config.yaml"));
    let started = Instant::now();
    let (found, detail) = tree.config();
    assert_eq!(found, reason, "{detail}");
    assert!(detail.contains(words) && detail.contains("/etc/config.yaml"), "{detail}");
    assert!(started.elapsed() < Duration::from_mins(2), "{:?}", started.elapsed());
}

#[test]
fn an_absolute_link_is_resolved_inside_the_root() {
    let tree = Tree::new();
    tree.write("host/opt/real.yaml", "authentication: {anonymous: {enabled: false}}\n");
    symlink("/opt/real.yaml", tree.path("host/etc/config.yaml")).unwrap();
    let facts = tree.read();
    let content = known(&complete(&complete(&facts.kubelets)[0].documents)[0].content).clone();
    assert_eq!(content["authentication"]["anonymous"]["enabled"], false);
}

#[test]
fn drop_ins_are_read_in_lexical_order_and_a_bad_one_is_unknown() {
    let tree = Tree::new();
    tree.process(10, "kubelet", "kubelet\0--config\0/etc/config.yaml\0--config-dir=/etc/conf.d\0--token=secret\0");
    tree.write("host/etc/config.yaml", "{}");
    tree.write("host/etc/conf.d/20-b.conf", "staticPodURLHeader: {X: [secret]}\n");
    tree.write("host/etc/conf.d/10-a/z.conf", "readOnlyPort: 1\n");
    tree.write("host/etc/conf.d/ignored.yaml", "readOnlyPort: 2\n");
    fifo(&tree.path("host/etc/conf.d/30-c.conf"));
    let facts = tree.read();
    let kubelet = &complete(&facts.kubelets)[0];
    let documents = complete(&kubelet.documents);
    let paths: Vec<&str> = documents.iter().map(|document| document.path.as_str()).collect();
    assert_eq!(paths, ["/etc/config.yaml", "/etc/conf.d/10-a/z.conf", "/etc/conf.d/20-b.conf", "/etc/conf.d/30-c.conf"]);
    assert_eq!(documents[3].content.unavailable().unwrap().reason, Reason::Malformed);
    let text = serde_json::to_string(&facts).unwrap();
    assert!(!text.contains("secret"), "redacted before it is a fact");
}

#[test]
fn a_process_with_a_hostile_name_is_listed_like_any_other() {
    let tree = Tree::new();
    let name = b"<script>\x1b]0;\xff) R 1".as_slice();
    tree.process(66, name, "x");
    let facts = tree.read();
    let process = complete(&facts.processes).iter().find(|process| process.pid == 66).unwrap();
    assert_eq!(process.name, "<script>\u{1b}]0;\u{fffd}) R 1");
    assert_eq!((process.uid, process.placement), (0, Placement::Host));
}

#[test]
fn a_process_that_ends_while_it_is_read_was_never_there() {
    let tree = Tree::new();
    tree.process(66, "gone", "x");
    fs::remove_file(tree.path("proc/66/status")).unwrap();
    assert_eq!(complete(&tree.read().processes).len(), 1);
}

#[test]
fn a_process_that_cannot_be_understood_makes_the_listing_incomplete() {
    let tree = Tree::new();
    tree.process(66, "odd", "x");
    tree.write("proc/66/status", "nothing of the kind");
    let facts = tree.read();
    let skipped = &known(&facts.processes).skipped;
    assert_eq!((skipped.len(), skipped[0].reason), (1, Reason::Malformed));
    assert_eq!(known(&facts.kubelets).skipped.len(), 1, "it could have been a kubelet");
}

#[test]
fn sockets_without_a_process_say_why_and_a_broken_table_is_unknown() {
    let tree = Tree::new();
    let row = "   0: 00000000:280F 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n";
    tree.write("proc/1/net/tcp", format!("  sl  local_address\n{row}"));
    let owner = |facts: &NodeFacts| known(&facts.listeners).items[0].owner.unavailable().unwrap().reason;
    assert_eq!(owner(&tree.read()), Reason::PermissionDenied, "the tree does not say what the kubelet holds");
    fs::create_dir_all(tree.path("proc/10/fd")).unwrap();
    let facts = tree.read();
    let listener = &known(&facts.listeners).items[0];
    assert_eq!((listener.subject.as_str(), listener.address.as_str()), ("port:tcp/10255", "0.0.0.0"));
    assert_eq!(owner(&facts), Reason::NotPresent, "it holds nothing, so nobody does");
    tree.write("proc/1/net/tcp", "  sl  local_address\n   0: zz\n");
    assert_eq!(tree.read().listeners.unavailable().unwrap().reason, Reason::Malformed);
    assert!(!known(&facts.listeners).skipped.is_empty(), "udp was not recorded");
}

#[test]
fn a_socket_is_not_called_the_kernels_where_a_process_could_not_be_asked() {
    let tree = Tree::new();
    let row = "   0: 00000000:280F 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n";
    tree.write("proc/1/net/tcp", format!("  sl  local_address\n{row}"));
    tree.process(66, "odd", "x");
    tree.write("proc/66/status", "nothing of the kind");
    let facts = tree.read();
    assert_eq!(known(&facts.listeners).items[0].owner.unavailable().unwrap().reason, Reason::PermissionDenied);
}

/// Where the kernel tells that one became another, nobody has to look at all of them.
#[test]
fn a_settled_process_that_is_said_to_have_changed_is_asked_again() {
    let tree = Tree::new();
    tree.process(66, "old", "x");
    let mut sensors = Sensors::open(options(&tree.path("host"), &tree.path("proc"))).unwrap();
    let mut facts = sensors.read_all(&mut |_| {});
    std::thread::sleep(Duration::from_millis(5_100));
    let mut name = |touched: Option<Option<BTreeSet<i64>>>| {
        if let Some(pids) = touched {
            sensors.touched(pids.as_ref());
        }
        sensors.refresh(&mut facts, &[Group::Processes].into());
        complete(&facts.processes).iter().find(|process| process.pid == 66).map(|process| process.name.clone())
    };
    assert_eq!(name(None).as_deref(), Some("old"));
    tree.process(66, "new", "x");
    assert_eq!(name(Some(Some([10, 67].into()))).as_deref(), Some("old"), "others changed");
    assert_eq!(name(Some(Some([66].into()))).as_deref(), Some("new"));
    tree.process(66, "newer", "x");
    assert_eq!(name(Some(None)).as_deref(), Some("newer"), "any may have changed");
}

#[test]
fn a_runtime_that_starts_or_ends_has_the_runtimes_read_again() {
    let tree = Tree::new();
    let mut sensors = Sensors::open(options(&tree.path("host"), &tree.path("proc"))).unwrap();
    let mut facts = sensors.read_all(&mut |_| {});
    let mut reads = || sensors.refresh(&mut facts, &[Group::Processes].into()).contains(&Group::Runtimes);
    assert!(!reads(), "none runs");
    tree.process(70, "containerd", "/usr/bin/containerd\0");
    fs::remove_file(tree.path("proc/70/exe")).unwrap();
    symlink("/usr/bin/containerd", tree.path("proc/70/exe")).unwrap();
    assert!(reads(), "it starts");
    assert!(!reads(), "it runs");
    fs::remove_dir_all(tree.path("proc/70")).unwrap();
    assert!(reads(), "it ended");
}

#[test]
fn a_busy_host_does_not_have_every_settled_process_asked_again_but_components_are() {
    let tree = Tree::new();
    tree.process(66, "old", "x");
    let mut sensors = Sensors::open(options(&tree.path("host"), &tree.path("proc"))).unwrap();
    let mut facts = sensors.read_all(&mut |_| {});
    std::thread::sleep(Duration::from_millis(5_100));
    let mut names = || {
        sensors.refresh(&mut facts, &[Group::Processes, Group::Kubelets].into());
        let names: Vec<String> = complete(&facts.processes).iter().map(|process| process.name.clone()).collect();
        names
    };
    assert_eq!(names(), ["kubelet", "old"]);
    tree.process(66, "new", "x");
    tree.process(10, "shell", "y");
    assert_eq!(names(), ["shell", "old"], "the kubelet is no longer one; the other is asked in a while");
    fs::remove_dir_all(tree.path("proc/66")).unwrap();
    assert_eq!(names(), ["shell"], "a process that ended is gone at once");
}

#[test]
fn several_kubelets_have_names_of_their_own() {
    let tree = Tree::new();
    tree.process(11, "kubelet", "kubelet\0");
    tree.write("proc/11/cgroup", "0::/user.slice/fake.scope\n");
    let facts = tree.read();
    let subjects: Vec<&str> = complete(&facts.kubelets).iter().map(|kubelet| kubelet.subject.as_str()).collect();
    assert_eq!(subjects, ["kubelet", "kubelet:fake.scope"]);
}

#[test]
fn a_host_without_kubernetes_has_no_kubelet_and_says_so() {
    let tree = Tree::new();
    fs::remove_dir_all(tree.path("proc/10")).unwrap();
    let facts = tree.read();
    assert!(complete(&facts.kubelets).is_empty());
    assert!(complete(&facts.components).is_empty());
    assert_eq!((facts.node.role.as_str(), facts.node.profile.as_str()), ("none", "none"));
}

#[test]
fn a_kubelet_inside_k3s_does_not_show_its_settings() {
    let tree = Tree::new();
    tree.process(10, "k3s-server", "/usr/local/bin/k3s server");
    let facts = tree.read();
    let kubelet = &complete(&facts.kubelets)[0];
    assert_eq!(kubelet.flavour, "k3s");
    assert_eq!(kubelet.documents.unavailable().unwrap().reason, Reason::NotSupported);
}

#[test]
fn manifests_lie_where_the_kubelet_looks_for_them() {
    let tree = Tree::new();
    tree.write("host/etc/config.yaml", "staticPodPath: /opt/pods/\n");
    tree.write("host/opt/pods/etcd.yaml", "");
    tree.write("host/opt/pods/notes.txt", "");
    tree.write("host/etc/kubernetes/manifests/old.json", "");
    let facts = tree.read();
    let manifests = complete(&facts.files).iter().filter(|file| file.role == "manifest").map(|file| file.path.as_str());
    assert_eq!(manifests.collect::<Vec<_>>(), ["/etc/kubernetes/manifests/old.json", "/opt/pods/etcd.yaml"]);
}

#[test]
fn a_recording_that_is_no_json_is_refused() {
    let tree = Tree::new();
    tree.write("host/holdfast-tree.json", "{");
    let error = Sensors::open(options(&tree.path("host"), &tree.path("proc"))).unwrap_err();
    assert!(error.to_string().contains("holdfast-tree.json"), "{error}");
}

#[test]
fn a_planted_recording_does_not_turn_a_live_host_into_one() {
    let tree = Tree::new();
    let host = Host::open(&tree.path("host"), Path::new("/proc")).unwrap();
    assert!(host.recording.is_none() && host.live());
}

#[test]
fn components_are_read_from_the_files_their_own_flags_name() {
    let tree = Tree::new();
    tree.process(11, "etcd", "etcd\0--config-file=/etc/etcd.yaml\0");
    tree.process(
        12,
        "kube-apiserver",
        "kube-apiserver\0--authorization-config=/etc/authz.yaml\0--authentication-config\0/etc/authn.yaml\0",
    );
    tree.write("host/etc/etcd.yaml", "client-transport-security: {client-cert-auth: true}\n");
    tree.write("host/etc/authz.yaml", "kind: AuthorizationConfiguration\nauthorizers: [{type: Node}, {type: RBAC}]\n");
    tree.write("host/etc/authn.yaml", "kind: AuthenticationConfiguration\nanonymous: {enabled: false}\n");
    let mut facts = tree.read();
    holdfast_checks::derive::derive(&mut facts);
    let setting = |component: &str, name: &str| {
        let found = complete(&facts.components).iter().find(|found| found.name == component).unwrap();
        known(&found.settings[name]).value.clone()
    };
    assert_eq!(setting("etcd", "clientCertAuth"), true);
    assert_eq!(setting("kube-apiserver", "authorizationMode"), serde_json::json!(["Node", "RBAC"]));
    assert_eq!(setting("kube-apiserver", "anonymousAuth"), false);
}

#[rstest]
#[case("/usr/local/bin/k3s\0server\0", &["kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler"])]
#[case("/usr/local/bin/k3s\0server\0--disable-kube-proxy\0", &["kube-apiserver", "kube-controller-manager", "kube-scheduler"])]
#[case("/usr/local/bin/k3s\0agent\0", &["kube-proxy"])]
fn what_runs_inside_k3s_is_there_though_nothing_of_it_is_known(#[case] cmdline: &str, #[case] expected: &[&str]) {
    let tree = Tree::new();
    fs::remove_dir_all(tree.path("proc/10")).unwrap();
    tree.process(20, "k3s", cmdline);
    let mut facts = tree.read();
    holdfast_checks::derive::derive(&mut facts);
    let mut names: Vec<&str> = complete(&facts.components).iter().map(|component| component.subject.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, expected);
    let component = &complete(&facts.components)[0];
    assert_eq!((component.inside.as_str(), component.argv.len()), ("k3s", 0));
    assert!(component.settings.values().all(|setting| setting.unavailable().is_some()));
}

#[test]
fn a_file_closed_by_a_directory_above_it_comes_with_that_directory() {
    let tree = Tree::new();
    let directory = |mode| format!(r#"{{"mode": "{mode}", "uid": 0, "gid": 0, "type": "directory"}}"#);
    let file = r#"{"mode": "0644", "uid": 0, "gid": 0}"#;
    let (open, closed) = (directory("0755"), directory("0700"));
    let files = format!(
        r#"{{"files": {{"/var": {open}, "/var/lib": {open}, "/var/lib/kubelet": {closed}, "/var/lib/kubelet/config.yaml": {file},
            "/etc": {open}, "/etc/kubernetes": {open}, "/etc/kubernetes/kubelet.conf": {file}}}}}"#
    );
    tree.write("host/holdfast-tree.json", files);
    let facts = tree.read();
    let directories: Vec<&str> =
        complete(&facts.files).iter().filter(|file| file.role == "directory").map(|file| file.path.as_str()).collect();
    assert_eq!(directories, ["/var/lib/kubelet"]);
}

/// kubeadm gives kube-proxy its kubeconfig by a `ConfigMap`: there is no file on the node whose mode anybody could set.
#[test]
fn a_volume_of_a_pod_is_no_file_of_the_node() {
    let tree = Tree::new();
    tree.process(13, "kube-proxy", "kube-proxy\0--kubeconfig=/var/lib/kube-proxy/kubeconfig.conf\0");
    let link = r#"{"mode": "0777", "uid": 0, "gid": 0, "type": "symlink", "target": "..data/kubeconfig.conf"}"#;
    let files = format!(
        r#"{{"files": {{"/var/lib/kube-proxy/kubeconfig.conf": {link},
            "/var/lib/kube-proxy/..data/kubeconfig.conf": {{"mode": "0644", "uid": 0, "gid": 0}}}}}}"#
    );
    tree.write("host/holdfast-tree.json", files);
    assert!(complete(&tree.read().files).is_empty());
}

#[test]
fn a_kernel_without_the_lockdown_module_is_not_locked_down() {
    let tree = Tree::new();
    let lockdown = |facts: &NodeFacts| known(&facts.kernel).lockdown.clone();
    assert_eq!(lockdown(&tree.read()).unavailable().unwrap().reason, Reason::NotPresent, "a tree without /sys says nothing");
    tree.write("host/sys/kernel/security/lsm", "capability,apparmor");
    assert_eq!(known(&lockdown(&tree.read())), "none");
    tree.write("host/sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
    assert_eq!(known(&lockdown(&tree.read())), "integrity");
}

#[test]
fn a_debian_that_announces_no_reboot_does_not_say_that_none_waits() {
    let tree = Tree::new();
    tree.write("host/run/lock", "");
    tree.write("host/var/lib/dpkg/status", "");
    let skipped = |tree: &Tree| known(&known(&tree.read().kernel).reboot_sentinels).skipped.len();
    assert_eq!(skipped(&tree), 1);
    tree.write("host/etc/kernel/postinst.d/unattended-upgrades", "");
    assert_eq!(skipped(&tree), 0);
    fs::remove_file(tree.path("host/var/lib/dpkg/status")).unwrap();
    fs::remove_dir_all(tree.path("host/etc/kernel")).unwrap();
    assert_eq!(skipped(&tree), 0, "other distributions are not asked for Debian's packages");
}

#[test]
fn the_etcd_of_an_application_is_not_the_clusters() {
    let tree = Tree::new();
    tree.write("proc/1/ns/net", "net:[1]");
    for (pid, network) in [(30, "net:[1]"), (31, "net:[2]")] {
        tree.process(pid, "etcd", "etcd\0--data-dir=/data\0");
        tree.write(&format!("proc/{pid}/cgroup"), format!("0::/kubepods/pod8c0a2ef1-7b98-45d7-ba20-30e060ff9b{pid}/x\n"));
        tree.write(&format!("proc/{pid}/ns/net"), network);
    }
    let facts = tree.read();
    let pids: Vec<i64> = complete(&facts.components).iter().map(|component| component.pid).collect();
    assert_eq!(pids, [30], "the one that shares the node's network");
}
