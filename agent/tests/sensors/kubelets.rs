//! Which kubelets are found, what they are called, and whose flags and files are theirs.

use std::fs;
use std::os::unix::fs::symlink;

use holdfast_checks::derive::derive;
use holdfast_checks::facts::{FlagOriginKind, Kubelet, NodeFacts, Reason};
use rstest::rstest;
use serde_json::json;

use super::hostile::{Tree, fifo};
use super::{complete, known};

const ID_A: &str = "80482ab85e8bbd84bc05126aa36ab4e46ae9ee806de9197c614896296fee9537";
const ID_B: &str = "91482ab85e8bbd84bc05126aa36ab4e46ae9ee806de9197c614896296fee9537";

/// A tree without a process but 1, whose namespaces are known.
fn host() -> Tree {
    let tree = Tree::new();
    fs::remove_dir_all(tree.path("proc/10")).unwrap();
    tree.write("proc/1/ns/net", "net:[1]");
    tree.write("proc/1/ns/mnt", "mnt:[1]");
    tree
}

/// A process in its cgroup and namespaces.
fn start(tree: &Tree, pid: u32, name: &str, cmdline: &str, cgroup: &str, (net, mnt): (u32, u32)) {
    tree.process(pid, name, cmdline);
    tree.write(&format!("proc/{pid}/cgroup"), format!("0::{cgroup}\n"));
    tree.write(&format!("proc/{pid}/ns/net"), format!("net:[{net}]"));
    tree.write(&format!("proc/{pid}/ns/mnt"), format!("mnt:[{mnt}]"));
    tree.write(&format!("proc/{pid}/cwd"), "/");
}

fn subjects(facts: &NodeFacts) -> Vec<&str> {
    complete(&facts.kubelets).iter().map(|kubelet| kubelet.subject.as_str()).collect()
}

fn setting(kubelet: &Kubelet, name: &str) -> serde_json::Value {
    kubelet.settings[name].value().map_or_else(|| panic!("{:?}", kubelet.settings[name]), |setting| setting.value.clone())
}

/// Two nodes of kind on a laptop: containers of Docker, each with a systemd, files and network of its own.
fn kind(tree: &Tree) {
    for (pid, id, name, port) in [(20, ID_A, "kind-control-plane", 0), (21, ID_B, "kind-worker", 10255)] {
        let cmdline =
            "/usr/bin/kubelet\0--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf\0--config=/var/lib/kubelet/config.yaml\0";
        let cgroup = format!("/system.slice/docker-{id}.scope/kubelet.slice/kubelet.service");
        start(tree, pid, "kubelet", cmdline, &cgroup, (pid, pid));
        tree.write(&format!("proc/{pid}/root"), format!("/nodes/{name}"));
        let config = format!("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nreadOnlyPort: {port}\n");
        tree.write(&format!("host/nodes/{name}/var/lib/kubelet/config.yaml"), config);
        let drop_in = "[Service]\nEnvironment=\"KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf\"\nEnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env\nExecStart=\nExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS --runtime-cgroups=/system.slice/containerd.service\n";
        tree.write(&format!("host/nodes/{name}/etc/systemd/system/kubelet.service.d/10-kubeadm.conf"), drop_in);
        tree.write(&format!("host/nodes/{name}/etc/systemd/system/kubelet.service"), "[Service]\nExecStart=/usr/bin/kubelet --never\n");
        let docker = format!(r#"{{"Name": "/{name}", "Config": {{"Env": ["TOKEN=geheim"]}}}}"#);
        tree.write(&format!("host/var/lib/docker/containers/{id}/config.v2.json"), docker);
    }
}

#[test]
fn nodes_of_kind_are_kubelets_of_their_own_and_this_host_is_no_node() {
    let tree = host();
    kind(&tree);
    let mut facts = tree.read();
    derive(&mut facts);
    assert_eq!(subjects(&facts), ["kubelet:kind-control-plane", "kubelet:kind-worker"]);
    assert_eq!((facts.node.role.as_str(), facts.node.profile.as_str()), ("none", "none"));
    let worker = &complete(&facts.kubelets)[1];
    assert_eq!((*known(&worker.host_network), *known(&worker.host_mounts)), (false, false));
    assert_eq!(setting(worker, "readOnlyPort"), json!(10255), "its own files");
    assert_eq!(setting(&complete(&facts.kubelets)[0], "readOnlyPort"), json!(0));
    assert_eq!(worker.probes.unavailable().unwrap().reason, Reason::NotSupported);
    let origins = complete(&worker.origins);
    assert_eq!(origins[0].place, "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf");
    assert_eq!(origins[0].flags, ["--runtime-cgroups=/system.slice/containerd.service"], "the unit's own command was replaced");
    assert_eq!(origins[1].flags, ["--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf"]);
    assert!(!serde_json::to_string(&facts).unwrap().contains("geheim"));
}

#[test]
fn sockets_of_a_kubelet_in_its_own_network_are_read_there() {
    let tree = host();
    kind(&tree);
    let row = "   0: 00000000:280F 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n   1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0\n";
    for table in ["tcp", "udp"] {
        tree.write(&format!("proc/21/net/{table}"), "  sl  local_address\n");
        tree.write(&format!("proc/1/net/{table}"), "  sl  local_address\n");
    }
    tree.write("proc/21/net/tcp", format!("  sl  local_address\n{row}"));
    fs::create_dir_all(tree.path("proc/21/fd")).unwrap();
    symlink("socket:[4711]", tree.path("proc/21/fd/7")).unwrap();
    let mut facts = tree.read();
    derive(&mut facts);
    derive(&mut facts);
    let worker = &complete(&facts.kubelets)[1];
    let ports: Vec<i64> = complete(&worker.listeners).iter().map(|listener| listener.port).collect();
    assert_eq!(ports, [10255], "its own, and not those of others in that network");
    assert!(complete(&facts.listeners).is_empty(), "not the host's");
    assert_eq!(complete(&facts.kubelets)[0].listeners.unavailable().unwrap().reason, Reason::NotSupported);
}

#[test]
fn a_process_named_kubelet_in_a_pod_does_not_take_over_the_nodes_own() {
    let tree = host();
    kind(&tree);
    let pod = format!("/kubepods/pod8c0a2ef1-7b98-45d7-ba20-30e060ff9b58/{ID_A}");
    // In the host's network, and there before the node's own.
    start(&tree, 5, "kubelet", "kubelet\0--anonymous-auth=false\0--config=/x\0", &pod, (1, 9));
    start(&tree, 6, "kubelet", "kubelet\0", "/user.slice/user-1000.slice/evil.scope", (1, 1));
    let status = String::from_utf8(fs::read(tree.path("proc/6/status")).unwrap()).unwrap();
    tree.write("proc/6/status", status.replace("Uid:\t0\t0", "Uid:\t1000\t1000"));
    let impostors = ["kubelet:evil.scope", "kubelet:pod:8c0a2ef1-7b98-45d7-ba20-30e060ff9b58/kubelet"];
    let facts = tree.read();
    assert!(!subjects(&facts).contains(&"kubelet"), "not even where there is none: {:?}", subjects(&facts));
    start(&tree, 90, "kubelet", "/usr/bin/kubelet\0--config=/etc/config.yaml\0", "/system.slice/kubelet.service", (1, 1));
    let facts = tree.read();
    let own = &complete(&facts.kubelets)[0];
    assert_eq!((own.subject.as_str(), own.pid, *known(&own.host_mounts)), ("kubelet", 90, true));
    for impostor in impostors {
        assert!(subjects(&facts).contains(&impostor), "{:?}", subjects(&facts));
    }
    assert_eq!(facts.node.role, "worker");
}

#[test]
fn the_nodes_own_is_the_service_made_for_it_whichever_started_first() {
    let tree = host();
    start(&tree, 20, "kubelet", "kubelet\0", "/system.slice/another.service", (1, 1));
    start(&tree, 30, "kubelet", "kubelet\0", "/system.slice/kubelet.service", (1, 1));
    let facts = tree.read();
    assert_eq!(subjects(&facts), ["kubelet", "kubelet:another.service"]);
    assert_eq!(complete(&facts.kubelets)[0].pid, 30);
}

#[test]
fn a_kubelet_in_a_container_of_the_hosts_network_is_the_nodes_own() {
    let tree = host();
    start(&tree, 20, "kubelet", "kubelet\0--config=/c\0", &format!("/docker/{ID_A}"), (1, 7));
    fs::remove_file(tree.path("proc/20/exe")).unwrap();
    tree.write("proc/20/root", "/inside");
    tree.write("host/inside/c", "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nreadOnlyPort: 1\n");
    let mut facts = tree.read();
    derive(&mut facts);
    let kubelet = &complete(&facts.kubelets)[0];
    assert_eq!((kubelet.subject.as_str(), *known(&kubelet.host_mounts)), ("kubelet", false));
    assert_eq!(setting(kubelet, "readOnlyPort"), json!(1));
    assert_eq!(kubelet.executable.unavailable().unwrap().reason, Reason::NotPresent, "its program is not readable");
}

#[test]
fn a_crowd_of_kubelets_is_cut_off_and_says_so() {
    let tree = host();
    for pid in 100..160 {
        start(&tree, pid, "kubelet", "kubelet\0", "/kubepods/pod8c0a2ef1-7b98-45d7-ba20-30e060ff9b58/x", (2, 2));
    }
    start(&tree, 900, "kubelet", "kubelet\0", "/system.slice/kubelet.service", (1, 1));
    let facts = tree.read();
    let listing = known(&facts.kubelets);
    assert_eq!((listing.items[0].pid, listing.items.len(), listing.skipped.len()), (900, 33, 1));
}

const KUBELITE: &str = "/snap/microk8s/8612/kubelite\0--scheduler-args-file=/var/snap/microk8s/8612/args/kube-scheduler\0--kubelet-args-file=/var/snap/microk8s/8612/args/kubelet\0--start-control-plane=true\0";

/// As MicroK8s 1.32 installs it.
const KUBELET_ARGS: &str = "--kubeconfig=${SNAP_DATA}/credentials/kubelet.config\n--cert-dir=${SNAP_DATA}/certs\n--client-ca-file=${SNAP_DATA}/certs/ca.crt\n# a comment\n--anonymous-auth=false\n\n--root-dir=${SNAP_COMMON}/var/lib/kubelet\n--fail-swap-on=false\n--eviction-hard=\"memory.available<100Mi,nodefs.available<1Gi\"\n--containerd=unix://${SNAP_COMMON}/run/containerd.sock\n--authentication-token-webhook=true\n--read-only-port=0\n--serialize-image-pulls=false\n";

#[test]
fn the_kubelet_in_kubelite_has_the_flags_of_its_file() {
    let tree = host();
    start(&tree, 20, "kubelite", KUBELITE, "/system.slice/snap.microk8s.daemon-kubelite.service", (1, 1));
    tree.write("host/var/snap/microk8s/8612/args/kubelet", KUBELET_ARGS);
    let mut facts = tree.read();
    derive(&mut facts);
    let kubelet = &complete(&facts.kubelets)[0];
    assert_eq!((kubelet.subject.as_str(), kubelet.flavour.as_str()), ("kubelet", "kubelite"));
    assert_eq!(setting(kubelet, "anonymousAuth"), json!(false));
    assert_eq!(setting(kubelet, "clientCAFile"), json!("/var/snap/microk8s/8612/certs/ca.crt"));
    assert_eq!(setting(kubelet, "authorizationMode"), json!("AlwaysAllow"), "the default of the flags: there is no --config");
    let origin = complete(&kubelet.origins).iter().find(|origin| origin.kind == FlagOriginKind::File).unwrap();
    assert_eq!((origin.place.as_str(), origin.flags.len()), ("/var/snap/microk8s/8612/args/kubelet", 11));
    let components: Vec<&str> = complete(&facts.components).iter().map(|component| component.subject.as_str()).collect();
    assert!(components.contains(&"kube-apiserver"), "{components:?}");
    assert_eq!(facts.node.role, "control-plane");
}

#[test]
fn without_its_file_of_flags_nothing_of_kubelite_is_assumed() {
    let tree = host();
    start(&tree, 20, "kubelite", KUBELITE, "/system.slice/snap.microk8s.daemon-kubelite.service", (1, 1));
    fs::create_dir_all(tree.path("host/var/snap/microk8s/8612/args/kubelet")).unwrap();
    let mut facts = tree.read();
    derive(&mut facts);
    let kubelet = &complete(&facts.kubelets)[0];
    assert!(kubelet.settings.values().all(|setting| setting.value().is_none()));
    let why = kubelet.documents.unavailable().unwrap();
    assert_eq!(why.reason, Reason::Malformed);
    assert!(why.detail.contains("/var/snap/microk8s/8612/args/kubelet"), "{}", why.detail);
    assert_eq!(known(&kubelet.origins).skipped.len(), 1);
}

#[test]
fn hyperkube_and_rke2_run_kubelets_whose_flags_are_their_own() {
    for (exe, cmdline, flavour) in [
        ("/hyperkube", "/hyperkube\0kubelet\0--read-only-port=7\0", "hyperkube"),
        ("/var/lib/rancher/rke2/data/v1.33.1/bin/kubelet", "kubelet\0--read-only-port=7\0--token=geheim\0", "rke2"),
    ] {
        let tree = host();
        start(&tree, 20, "x", cmdline, "/system.slice/rke2-server.service", (1, 1));
        tree.write("proc/20/exe", exe);
        tree.write(
            "host/usr/local/lib/systemd/system/rke2-server.service",
            "[Service]\nEnvironmentFile=-/etc/default/%N\nExecStart=/usr/local/bin/rke2 server\n",
        );
        tree.write(
            "host/etc/rancher/rke2/config.yaml",
            "token: geheim\nkubelet-arg:\n  - read-only-port=7\n  - protect-kernel-defaults=true\n",
        );
        let mut facts = tree.read();
        derive(&mut facts);
        let kubelet = &complete(&facts.kubelets)[0];
        assert_eq!((kubelet.subject.as_str(), kubelet.flavour.as_str()), ("kubelet", flavour));
        assert_eq!(setting(kubelet, "readOnlyPort"), json!(7));
        let files = known(&kubelet.origins).items.iter().filter(|origin| origin.kind == FlagOriginKind::File);
        let flags: Vec<_> = files.flat_map(|origin| origin.flags.clone()).collect();
        assert_eq!(flags.is_empty(), flavour == "hyperkube", "evidence of what RKE2 was told");
        assert!(!serde_json::to_string(&facts).unwrap().contains("geheim"));
    }
}

#[test]
fn k3s_shows_what_it_was_told_and_its_settings_stay_unknown() {
    let tree = host();
    let cmdline = "/usr/local/bin/k3s\0server\0--kubelet-arg=max-pods=20\0";
    start(&tree, 20, "k3s-server", cmdline, "/system.slice/k3s.service", (1, 1));
    tree.write("host/etc/rancher/k3s/config.yaml", "kubelet-arg: anonymous-auth=true\n");
    tree.write("host/etc/rancher/k3s/config.yaml.d/b.yaml", "kubelet-arg+: [\"static-pod-url-header=A:geheim\"]\n");
    tree.write("host/etc/rancher/k3s/config.yaml.d/c.yaml", "x: [");
    let mut facts = tree.read();
    derive(&mut facts);
    let kubelet = &complete(&facts.kubelets)[0];
    assert!(kubelet.settings.values().all(|setting| setting.value().is_none()));
    let origins = known(&kubelet.origins);
    let flags: Vec<&str> = origins.items.iter().flat_map(|origin| &origin.flags).map(String::as_str).collect();
    assert_eq!(flags, ["--anonymous-auth=true", "--static-pod-url-header=(redacted)"]);
    assert_eq!((origins.skipped.len(), origins.skipped[0].what.as_str()), (1, "/etc/rancher/k3s/config.yaml.d/c.yaml"));
}

#[test]
fn a_k3s_without_an_agent_has_no_kubelet() {
    let tree = host();
    start(&tree, 20, "k3s-server", "/usr/local/bin/k3s\0server\0--disable-agent\0", "/system.slice/k3s.service", (1, 1));
    let facts = tree.read();
    assert!(complete(&facts.kubelets).is_empty());
    assert!(!complete(&facts.components).is_empty(), "its control plane is there");
}

#[test]
fn units_and_variables_tell_where_flags_came_from() {
    let tree = Tree::new();
    tree.write("proc/10/cgroup", "0::/system.slice/kubelet.service\n");
    tree.write(
        "proc/10/environ",
        "PATH=/bin\0SECRET=--token=geheim\0KUBELET_EXTRA_ARGS=--v=2 --token=geheim\0KUBELET_PORT=tcp://10.0.0.1\0",
    );
    tree.write("host/usr/lib/systemd/system/kubelet.service", "[Service]\nExecStart=/usr/bin/kubelet\n");
    tree.write("host/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf", "[Service]\nEnvironment=A=--hidden\n");
    tree.write(
        "host/etc/systemd/system/kubelet.service.d/10-kubeadm.conf",
        "[Service]\nEnvironmentFile=-/etc/default/kubelet\nEnvironmentFile=/no/such\n",
    );
    tree.write(
        "host/etc/default/kubelet",
        "# --no\nKUBELET_EXTRA_ARGS=\"--node-ip=10.0.0.5 --manifest-url-header=geheim\"\nOTHER=geheim\n",
    );
    let facts = tree.read();
    let origins = complete(&complete(&facts.kubelets)[0].origins);
    insta::assert_json_snapshot!(origins, @r#"
    [
      {
        "place": "/etc/default/kubelet",
        "kind": "environment_file",
        "flags": [
          "--node-ip=10.0.0.5",
          "--manifest-url-header=(redacted)"
        ]
      },
      {
        "place": "KUBELET_EXTRA_ARGS",
        "kind": "environment",
        "flags": [
          "--v=2",
          "--token=(redacted)"
        ]
      }
    ]
    "#);
    assert!(!serde_json::to_string(&facts).unwrap().contains("geheim"));
    let mut sensors = holdfast_agent::sensors::Sensors::open(super::options(&tree.path("host"), &tree.path("proc"))).unwrap();
    let watched = sensors.watched(&facts).unwrap();
    for path in [
        "host/etc/default/kubelet",
        "host/etc/systemd/system/kubelet.service.d",
        "host/run/systemd/system/kubelet.service.d",
        "host/usr/bin/kubelet",
    ] {
        assert!(
            watched.iter().any(|(place, groups)| *place == tree.path(path) && groups.contains(&holdfast_checks::facts::Group::Kubelets)),
            "{path}"
        );
    }
}

#[test]
fn a_command_line_of_a_mebibyte_is_read_and_one_beyond_the_kernels_limit_is_unknown() {
    let tree = Tree::new();
    let cmdline = |padding: usize| format!("kubelet\0--node-labels={}\0--read-only-port=5\0", "x".repeat(padding));
    tree.process(10, "kubelet", &cmdline(1 << 20));
    let mut facts = tree.read();
    derive(&mut facts);
    assert_eq!(setting(&complete(&facts.kubelets)[0], "readOnlyPort"), json!(5));
    tree.process(10, "kubelet", &cmdline(9 << 20));
    let mut facts = tree.read();
    derive(&mut facts);
    let kubelet = &complete(&facts.kubelets)[0];
    assert!(kubelet.settings.values().all(|setting| setting.unavailable().unwrap().reason == Reason::TooLarge));
    assert!(complete(&facts.processes).iter().any(|process| process.pid == 10), "everything else is still read");
}

/// Before, four hundred processes with a MiB of arguments each used up what the sensor for processes may read.
#[test]
fn arguments_of_other_processes_are_not_read_to_their_end() {
    let tree = Tree::new();
    for pid in 100..400 {
        tree.process(pid, "x", "x\0");
        fs::File::create(tree.path(&format!("proc/{pid}/cmdline"))).unwrap().set_len(1 << 20).unwrap();
    }
    assert_eq!(complete(&tree.read().processes).len(), 301);
}

#[test]
fn names_that_are_no_utf8_are_unknown_not_absent() {
    let tree = Tree::new();
    tree.write("proc/10/cmdline", b"kubelet\0--config=/etc/\xff.yaml\0--read-only-port=\xfe\0");
    let mut facts = tree.read();
    derive(&mut facts);
    let kubelet = &complete(&facts.kubelets)[0];
    assert_eq!(known(&kubelet.documents).items[0].content.unavailable().unwrap().reason, Reason::NotSupported);
    assert_eq!(kubelet.settings["readOnlyPort"].unavailable().unwrap().reason, Reason::Malformed);
}

fn link_to_a_device(tree: &Tree, path: &str) {
    symlink("/dev/zero", tree.path(path)).unwrap();
    fs::create_dir_all(tree.path("host/dev")).unwrap();
    let zero = nix::sys::stat::makedev(1, 5);
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
    if nix::sys::stat::mknod(&tree.path("host/dev/zero"), nix::sys::stat::SFlag::S_IFCHR, mode, zero).is_err() {
        fs::create_dir(tree.path("host/dev/zero")).unwrap(); // Without the right to make one: also no file.
    }
}

#[rstest]
#[case::fifo(|tree: &Tree, path: &str| fifo(&tree.path(path)), Reason::Malformed)]
#[case::socket(|tree: &Tree, path: &str| drop(std::os::unix::net::UnixListener::bind(tree.path(path)).unwrap()), Reason::Malformed)]
#[case::dangling(|tree: &Tree, path: &str| symlink("/nowhere", tree.path(path)).unwrap(), Reason::NotPresent)]
#[case::device(link_to_a_device, Reason::Malformed)]
#[case::link_to_a_directory(|tree: &Tree, path: &str| symlink("/etc", tree.path(path)).unwrap(), Reason::Malformed)]
#[case::five_mebibytes(|tree: &Tree, path: &str| tree.write(path, vec![b' '; 5 << 20]), Reason::TooLarge)]
#[case::no_utf8(|tree: &Tree, path: &str| tree.write(path, b"a: \xff\n"), Reason::Malformed)]
fn a_drop_in_of_the_wrong_kind_is_unknown_and_the_others_are_read(#[case] make: fn(&Tree, &str), #[case] reason: Reason) {
    let tree = Tree::new();
    tree.process(10, "kubelet", "kubelet\0--config=/etc/config.yaml\0--config-dir=/etc/d\0");
    tree.write("host/etc/config.yaml", "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n");
    tree.write("host/etc/d/10.conf", "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n");
    tree.write("host/etc/d/30.conf", "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nreadOnlyPort: 3\n");
    make(&tree, "host/etc/d/20.conf");
    let facts = tree.read();
    let documents = complete(&complete(&facts.kubelets)[0].documents);
    assert_eq!(documents.len(), 4);
    assert_eq!(documents[2].content.unavailable().unwrap().reason, reason);
    assert_eq!(known(&documents[3].content)["readOnlyPort"], 3);
}

#[test]
fn drop_ins_are_walked_as_go_walks_them() {
    let tree = Tree::new();
    tree.process(10, "kubelet", "kubelet\0--config-dir=/etc/d\0");
    tree.write("host/etc/d/b.conf/inner.conf", "a: 1\n");
    tree.write("host/etc/d/.conf", "a: 2\n");
    tree.write("host/etc/d/c.conf~", "a: 3\n");
    tree.write("host/etc/other/x.conf", "a: 4\n");
    symlink("/etc/other", tree.path("host/etc/d/linked")).unwrap();
    symlink("/etc/other/x.conf", tree.path("host/etc/d/a.conf")).unwrap();
    let paths = |tree: &Tree| -> Vec<String> {
        complete(&complete(&tree.read().kubelets)[0].documents).iter().map(|document| document.path.clone()).collect()
    };
    assert_eq!(paths(&tree), ["/etc/d/.conf", "/etc/d/a.conf", "/etc/d/b.conf/inner.conf"]);
    // A directory that is itself a link is not entered, unless its path says that it is one.
    tree.process(10, "kubelet", "kubelet\0--config-dir=/etc/link\0");
    symlink("/etc/d", tree.path("host/etc/link")).unwrap();
    assert!(paths(&tree).is_empty());
    tree.process(10, "kubelet", "kubelet\0--config-dir=/etc/link/\0");
    assert_eq!(paths(&tree).len(), 3);
}

#[test]
fn a_relative_path_starts_in_the_kubelets_own_directory() {
    let tree = Tree::new();
    tree.process(10, "kubelet", "kubelet\0--config=config.yaml\0");
    tree.write("proc/10/cwd", "/srv");
    tree.write("host/srv/config.yaml", "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n");
    let document = || complete(&complete(&tree.read().kubelets)[0].documents)[0].clone();
    assert_eq!(document().path, "/srv/config.yaml");
    fs::remove_file(tree.path("proc/10/cwd")).unwrap();
    assert_eq!(document().content.unavailable().unwrap().reason, Reason::PermissionDenied, "which one is not known");
}

/// What is read of them stays in memory, many times as large.
#[test]
fn the_documents_of_a_kubelet_in_a_pod_are_bounded_together() {
    let tree = host();
    let cgroup = "/kubepods/pod8c0a2ef1-7b98-45d7-ba20-30e060ff9b30/x";
    start(&tree, 20, "kubelet", "kubelet\0--config-dir=/etc/conf.d\0", cgroup, (2, 2));
    for number in 0..10 {
        tree.write(&format!("host/etc/conf.d/{number}.conf"), format!("a: [{}]\n", "1, ".repeat(5_000)));
    }
    let facts = tree.read();
    let kubelet = known(&facts.kubelets).items.iter().find(|kubelet| kubelet.pid == 20).unwrap();
    let documents = &known(&kubelet.documents).items;
    let reasons: Vec<_> = documents.iter().map(|document| document.content.unavailable().map(|why| why.reason)).collect();
    assert_eq!(reasons.iter().filter(|reason| reason.is_none()).count(), 4);
    assert!(reasons[4..].iter().all(|reason| *reason == Some(Reason::TooLarge)), "{reasons:?}");
}

#[test]
fn a_directory_of_drop_ins_that_never_ends_is_cut_off() {
    let tree = host();
    start(&tree, 20, "kubelet", "kubelet\0--config-dir=/etc/conf.d\0", "/system.slice/kubelet.service", (1, 1));
    let deep = format!("host/etc/conf.d{}", "/d".repeat(16));
    for number in 0..2_000 {
        fs::create_dir_all(tree.path(&format!("{deep}/{number}"))).unwrap();
    }
    let facts = tree.read();
    assert_eq!(known(&complete(&facts.kubelets)[0].documents).skipped.len(), 257);
}
