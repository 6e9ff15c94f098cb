//! What the sensors make of recordings of a real node.

use std::collections::BTreeMap;

use holdfast_checks::facts::{BindScope, FileKind, Group, NodeFacts, Placement, ProbeOutcome, Reason, SourceKind};
use rstest::rstest;
use serde_json::json;

use super::{complete, known, options, read, recorded};

fn node(name: &str) -> NodeFacts {
    let tree = recorded(name);
    let mut options = options(&tree.join("host"), &tree.join("proc"));
    options.probe = true;
    read(options)
}

/// `protocol/address/port` to scope and component.
fn listeners(facts: &NodeFacts) -> BTreeMap<String, (BindScope, String)> {
    let row = |listener: &holdfast_checks::facts::Listener| {
        let key = format!("{}/{}/{}", listener.protocol, listener.address, listener.port);
        (key, (listener.scope, known(&listener.owner).component.clone()))
    };
    complete(&facts.listeners).iter().map(row).collect()
}

#[rstest]
#[case("hardened", false, "Webhook", None)]
#[case("misconfigured", true, "AlwaysAllow", Some(10255))]
#[case("static-controlplane", false, "Webhook", None)]
#[case("cgroupv2-systemd", false, "Webhook", None)]
fn the_kubelet_is_read_as_it_declares_itself(
    #[case] name: &str,
    #[case] anonymous: bool,
    #[case] mode: &str,
    #[case] read_only_port: Option<i64>,
) {
    let facts = node(name);
    let [kubelet] = complete(&facts.kubelets) else { panic!("one kubelet") };
    assert_eq!((kubelet.subject.as_str(), kubelet.flavour.as_str()), ("kubelet", "kubelet"));
    assert!(*known(&kubelet.host_network), "its namespace is that of the host's sockets");
    assert!(kubelet.argv[0].ends_with("kubelet"));
    assert!(kubelet.argv.contains(&"--config=/var/lib/kubelet/config.yaml".to_owned()), "{:?}", kubelet.argv);
    let documents = complete(&kubelet.documents);
    let content = known(&documents[0].content);
    assert_eq!(documents[0].path, "/var/lib/kubelet/config.yaml");
    assert_eq!(content["authentication"]["anonymous"]["enabled"], json!(anonymous));
    assert_eq!(content["authorization"]["mode"], json!(mode));
    assert_eq!(content.get("readOnlyPort"), read_only_port.map(|port| json!(port)).as_ref());
    assert!(kubelet.settings.is_empty(), "sensors derive nothing");
}

#[rstest]
#[case("hardened", false)]
#[case("misconfigured", true)]
#[case("static-controlplane", false)]
#[case("cgroupv2-systemd", false)]
fn listeners_have_their_owners(#[case] name: &str, #[case] read_only: bool) {
    let listeners = listeners(&node(name));
    let of = |key: &str| listeners.get(key).cloned();
    assert_eq!(of("tcp/::/10250"), Some((BindScope::All, "kubelet".to_owned())));
    assert_eq!(of("tcp/127.0.0.1/10248"), Some((BindScope::Loopback, "kubelet".to_owned())));
    assert_eq!(of("tcp/127.0.0.1/6443"), Some((BindScope::Loopback, "kube-apiserver".to_owned())));
    assert_eq!(of("tcp/127.0.0.1/10249"), Some((BindScope::Loopback, "kube-proxy".to_owned())));
    assert_eq!(of("tcp/::/10255"), read_only.then(|| (BindScope::All, "kubelet".to_owned())));
}

#[rstest]
#[case("hardened")]
#[case("misconfigured")]
#[case("static-controlplane")]
#[case("cgroupv2-systemd")]
fn processes_are_placed_and_named_after_their_container(#[case] name: &str) {
    let facts = node(name);
    let processes = complete(&facts.processes);
    let of = |subject: &str| processes.iter().find(|process| process.subject == subject).unwrap_or_else(|| panic!("{subject}"));

    let root = of("pod:testbed/root-default/c");
    assert_eq!((root.placement, root.uid, *known(&root.user_namespace)), (Placement::Pod, 0, false));
    assert_eq!(root.container_id.len(), 64);
    assert!(!root.pod_uid.is_empty());
    let restricted = of("pod:testbed/nonroot-restricted/c");
    assert_eq!((restricted.uid, restricted.cap_effective, restricted.no_new_privileges), (1000, 0, true));
    let userns = of("pod:testbed/userns/c");
    assert!(userns.uid > 65535 && *known(&userns.user_namespace));
    assert_eq!(*known(&userns.inside_uid), 0);
    assert!(*known(&of("pod:testbed/hostnetwork/c").host_network));
    assert!(!*known(&of("pod:testbed/privileged/c").host_network));
    let kubelet = of("service:kubelet.service/kubelet");
    assert_eq!((kubelet.placement, kubelet.uid), (Placement::Host, 0));
    let roots = processes.iter().filter(|process| process.placement == Placement::Pod && process.uid == 0).count();
    assert!(roots >= 10, "{roots}");
}

#[test]
fn components_run_as_services_or_as_static_pods() {
    for (name, placement) in [("hardened", Placement::Host), ("cgroupv2-systemd", Placement::Pod)] {
        let facts = node(name);
        let mut subjects: Vec<&str> = complete(&facts.components).iter().map(|component| component.subject.as_str()).collect();
        subjects.sort_unstable();
        assert_eq!(subjects, ["etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler"]);
        let etcd = complete(&facts.components).iter().find(|component| component.name == "etcd").unwrap();
        let process = complete(&facts.processes).iter().find(|process| process.pid == etcd.pid).unwrap();
        assert_eq!(process.placement, placement);
        assert_eq!(facts.node.role, "control-plane");
        assert_eq!(facts.node.profile, "kubeadm");
    }
}

#[test]
fn a_configuration_file_that_was_not_recorded_is_unknown() {
    let facts = node("hardened");
    let proxy = complete(&facts.components).iter().find(|component| component.name == "kube-proxy").unwrap();
    let document = &complete(&proxy.documents)[0];
    assert_eq!(document.content.unavailable().unwrap().reason, Reason::NotPresent);
}

#[test]
fn files_are_as_the_recording_says() {
    let facts = node("misconfigured");
    let file = |path: &str| complete(&facts.files).iter().find(|file| file.path == path).unwrap_or_else(|| panic!("{path}")).clone();
    let kubeconfig = file("/etc/kubernetes/kubelet.conf");
    assert_eq!((kubeconfig.mode, kubeconfig.uid, kubeconfig.role.as_str()), (0o644, 0, "kubelet_kubeconfig"));
    assert_eq!(file("/etc/kubernetes/admin.conf").mode, 0o600);
    assert_eq!(file("/etc/kubernetes/pki/ca.crt").role, "kubelet_ca");
    assert_eq!((file("/var/lib/etcd").kind, file("/var/lib/etcd").mode), (FileKind::Directory, 0o700));
    let current = file("/var/lib/kubelet/pki/kubelet-client-current.pem");
    assert!(current.target.starts_with("/var/lib/kubelet/pki/kubelet-client-2026"), "{}", current.target);
    assert_eq!((current.kind, current.mode), (FileKind::File, 0o600));
    assert!(!complete(&facts.files).iter().any(|file| file.path.contains("kubelet-client-2026")), "the subject must outlive a rotation");
}

#[test]
fn probes_are_the_recorded_answers() {
    let answer = |facts: &NodeFacts, port: i64, path: &str, tls: bool| {
        let found = complete(&facts.probes).iter().find(|probe| probe.port == port && probe.path == path && probe.tls == tls);
        found.map(|probe| (probe.outcome, probe.status)).unwrap()
    };
    let (hardened, misconfigured) = (node("hardened"), node("misconfigured"));
    assert_eq!(answer(&hardened, 10250, "/pods", true), (ProbeOutcome::Answered, 401));
    assert_eq!(answer(&misconfigured, 10250, "/pods", true), (ProbeOutcome::Answered, 200));
    assert_eq!(answer(&hardened, 10255, "/pods", false), (ProbeOutcome::Refused, 0));
    assert_eq!(answer(&misconfigured, 10255, "/pods", false), (ProbeOutcome::Answered, 200));
    assert_eq!(answer(&hardened, 2379, "/version", true), (ProbeOutcome::CertificateRequired, 0), "the alert comes after the handshake");
    assert_eq!(answer(&hardened, 10250, "/pods", false), (ProbeOutcome::NotHttp, 0), "TLS, asked in clear");
    assert_eq!(answer(&hardened, 2379, "/version", false), (ProbeOutcome::NotHttp, 0));
}

#[rstest]
#[case("hardened")]
#[case("misconfigured")]
#[case("static-controlplane")]
#[case("cgroupv2-systemd")]
fn handshakes_are_the_recorded_ones(#[case] name: &str) {
    let facts = node(name);
    let handshakes = complete(&facts.handshakes);
    assert_eq!(handshakes.iter().map(|handshake| handshake.port).collect::<Vec<_>>(), [2379, 6443, 10250, 10257, 10259]);
    let kubelet = &handshakes[2];
    let certificate = known(&kubelet.certificate);
    assert!(certificate.common_name.starts_with("node1@") && certificate.issuer.starts_with("CN=node1-ca@"), "{certificate:?}");
    assert_eq!((certificate.key.as_str(), certificate.key_bits, certificate.lifetime_days), ("rsa", 2048, 365));
    assert!(*known(&kubelet.asks_certificate));
    let versions = known(&kubelet.versions);
    assert!(versions.items.iter().any(|version| version.name == "TLS 1.3" && version.accepted));
    assert_eq!(versions.skipped.len(), 3, "the older ones were not tried");
    assert_eq!(kubelet.suites.unavailable().unwrap().reason, Reason::NotSupported);
}

#[test]
fn what_a_recording_lacks_is_unknown_never_this_hosts() {
    let facts = node("cgroupv2-systemd");
    assert_eq!(known(&facts.os).id, "debian");
    let kernel = known(&facts.kernel);
    assert_eq!(kernel.release, "6.12.107+deb13-amd64");
    assert!(matches!(&facts.kernel, holdfast_checks::facts::Observed::Known { source, .. } if source.kind == SourceKind::Recorded));
    assert_eq!(kernel.sysctls.kptr_restrict.unavailable().unwrap().reason, Reason::NotPresent);
    assert!(*known(&kernel.seccomp), "the processes' status says so");
    for unknown in [
        kernel.apparmor.unavailable(),
        kernel.selinux.unavailable(),
        kernel.lockdown.unavailable(),
        kernel.boot_time.unavailable(),
        kernel.installed.unavailable(),
        kernel.livepatches.unavailable(),
        kernel.package.unavailable(),
    ] {
        assert_eq!(unknown.unwrap().reason, Reason::NotPresent);
    }
    let network = known(&facts.network);
    for unknown in [network.addresses.unavailable(), network.firewall.unavailable(), network.sshd.unavailable()] {
        assert_eq!(unknown.unwrap().reason, Reason::NotPresent);
    }
    assert_eq!(facts.unavailable(Group::Versions).unwrap().reason, Reason::NotSupported);
}

#[test]
fn probing_switched_off_is_unknown_also_in_a_recording() {
    let tree = recorded("hardened");
    let facts = read(options(&tree.join("host"), &tree.join("proc")));
    assert_eq!(facts.probes.unavailable().unwrap().detail, "probing is switched off");
}

const STATES: [&str; 4] = ["hardened", "misconfigured", "static-controlplane", "cgroupv2-systemd"];

#[test]
fn every_process_of_a_pod_is_attributed_to_it() {
    for name in STATES {
        let facts = node(name);
        let processes = complete(&facts.processes);
        let of_pods: Vec<_> = processes.iter().filter(|process| process.placement == Placement::Pod).collect();
        let in_kubepods = std::fs::read_dir(recorded(name).join("proc")).unwrap().filter(|entry| {
            let cgroup = std::fs::read_to_string(entry.as_ref().unwrap().path().join("cgroup"));
            cgroup.is_ok_and(|cgroup| cgroup.contains("kubepods"))
        });
        assert_eq!(of_pods.len(), in_kubepods.count(), "{name}");
        assert!(of_pods.len() >= 15, "{name}: {}", of_pods.len());
        for process in of_pods {
            let cgroup = std::fs::read_to_string(recorded(name).join(format!("proc/{}/cgroup", process.pid))).unwrap();
            assert!(cgroup.contains("kubepods"), "{name}: {cgroup}");
            let uid = if cgroup.contains(".slice") { process.pod_uid.replace('-', "_") } else { process.pod_uid.clone() };
            assert!(cgroup.contains(&format!("pod{uid}")) && uid.len() >= 32, "{name}: {} of {cgroup}", process.pod_uid);
            assert!(cgroup.trim_end().trim_end_matches(".scope").ends_with(&process.container_id), "{name}: {cgroup}");
            assert_eq!(process.container_id.len(), 64);
            // Namespace, pod and container, from its bundle.
            assert_eq!(process.subject.strip_prefix("pod:").unwrap().split('/').count(), 3, "{name}: {}", process.subject);
        }
        let others = processes.iter().filter(|process| process.placement != Placement::Pod);
        assert!(others.into_iter().all(|process| process.pod_uid.is_empty() && process.container_id.is_empty()), "{name}");
    }
}

#[test]
fn what_containers_share_with_the_host_is_known() {
    for name in STATES {
        let facts = node(name);
        let processes = complete(&facts.processes);
        let of =
            |subject: &str| processes.iter().find(|process| process.subject.starts_with(subject)).unwrap_or_else(|| panic!("{subject}"));
        let shares = |subject: &str| {
            let shares = known(&of(subject).shares);
            assert!(!shares.mounts, "{name}: {subject}");
            (shares.pid, shares.ipc, shares.uts)
        };
        let agent = processes.iter().find(|process| process.subject.contains("/node-agent-")).unwrap();
        assert!(known(&agent.shares).pid && !known(&agent.shares).ipc, "{name}: the agent with hostPID");
        assert_eq!(agent.inside_pid, agent.pid);
        assert_eq!(shares("pod:testbed/hostpid-hostipc/c"), (true, true, false), "{name}");
        assert_eq!(shares("pod:testbed/hostnetwork/c"), (false, false, true), "{name}");
        assert_eq!(shares("pod:testbed/root-default/c"), (false, false, false), "{name}");
        let cgroups_of_its_own = name == "cgroupv2-systemd";
        assert_eq!(known(&of("pod:testbed/root-default/c").shares).cgroup, !cgroups_of_its_own, "{name}: v1 shares them by default");
        assert_eq!(of("pod:testbed/root-default/c").inside_pid, 1);
        let kubelet = of("service:kubelet.service/kubelet");
        assert!(kubelet.shares.unavailable().is_some_and(|why| why.reason == Reason::NotSupported));
        assert!(kubelet.parent >= 1);
        assert_eq!(of("pod:testbed/root-default/c").label.unavailable().unwrap().reason, Reason::NotPresent, "not recorded");
    }
}

#[test]
fn capabilities_and_users_are_those_recorded() {
    for name in STATES {
        let facts = node(name);
        let processes = complete(&facts.processes);
        let of = |subject: &str| processes.iter().find(|process| process.subject == subject).unwrap_or_else(|| panic!("{subject}"));
        let userns = of("pod:testbed/userns/c");
        assert!(userns.uid > 65535 && userns.real_uid == userns.uid && *known(&userns.inside_uid) == 0, "{name}: not host root");
        let restricted = of("pod:testbed/nonroot-restricted/c");
        assert_eq!((restricted.cap_permitted, restricted.cap_bounding, restricted.real_uid), (0, 0, 1000), "{name}");
        let privileged = of("pod:testbed/privileged/c");
        assert_eq!(privileged.cap_permitted, privileged.cap_bounding, "{name}");
        assert!(privileged.cap_bounding > of("pod:testbed/root-default/c").cap_bounding, "{name}");
    }
}
