use super::*;
use crate::facts::{Placement, Reason, Skipped, Source, SourceKind};
use rstest::rstest;

fn known<T>(value: T) -> Observed<T> {
    Observed::known(value, Source::new(SourceKind::Process, "test"), 0)
}

fn process(name: &str, host_network: bool) -> Process {
    Process {
        start_ticks: 1,
        name: name.to_owned(),
        exe: known(format!("/bin/{name}")),
        uid: 0,
        gid: 0,
        inside_uid: known(0),
        user_namespace: known(false),
        cap_effective: 0,
        no_new_privileges: false,
        seccomp: 0,
        cgroup: "/kubepods".to_owned(),
        placement: Placement::Pod,
        pod_uid: String::new(),
        container_id: String::new(),
        host_network: known(host_network),
        ..Process::unread(name, 7)
    }
}

fn kubelet(flavour: &str, argv: &[&str]) -> Kubelet {
    Kubelet { argv: argv.iter().map(|argument| (*argument).to_owned()).collect(), ..Kubelet::unread("kubelet", 1, flavour) }
}

fn enforces(plugins: &[&str], processes: Vec<Process>, kubelet: Kubelet) -> (&'static str, String) {
    let plugins: Vec<String> = plugins.iter().map(|plugin| (*plugin).to_owned()).collect();
    enforcement(&plugins, &known(Listing::complete(processes)), &known(Listing::complete(vec![kubelet])))
}

#[rstest]
#[case::calico(&["calico", "bandwidth"], &["calico-node"], "yes", "calico-node runs")]
#[case::canal(&["flannel", "portmap"], &["flanneld", "calico-node"], "yes", "calico-node runs")]
#[case::chained_cilium(&["aws-cni", "cilium-cni"], &["cilium-agent"], "yes", "cilium-agent runs")]
#[case::long_name(&["ptp"], &["kube-network-po"], "yes", "kube-network-policies runs")]
#[case::agent_gone(&["calico"], &["flanneld"], "unknown", "was not seen")]
#[case::flannel_alone(&["flannel", "portmap"], &["flanneld"], "no", "flannel does not enforce")]
#[case::bridge(&["bridge", "portmap"], &[], "no", "bridge does not enforce")]
#[case::kind(&["ptp", "portmap"], &["kindnetd"], "unknown", "kind 0.24")]
#[case::vpc(&["aws-cni", "egress-cni", "portmap"], &["controller"], "unknown", "switched on")]
#[case::azure(&["azure-vnet", "portmap"], &[], "unknown", "leaves them to an agent")]
#[case::azure_npm(&["azure-vnet"], &["azure-npm"], "yes", "azure-npm runs")]
#[case::multus(&["multus-shim"], &["ovnkube"], "yes", "ovnkube runs")]
#[case::never_heard_of(&["acme-net"], &[], "unknown", "acme-net")]
fn a_running_program_decides(#[case] plugins: &[&str], #[case] programs: &[&str], #[case] expected: &str, #[case] words: &str) {
    let programs = programs.iter().map(|name| process(name, true)).collect();
    let (enforces, because) = enforces(plugins, programs, kubelet("kubelet", &[]));
    assert_eq!(enforces, expected, "{because}");
    assert!(because.contains(words), "{because}");
}

#[test]
fn a_process_in_a_pods_own_network_passes_for_nothing_by_its_name() {
    let (enforces, because) = enforces(&["flannel"], vec![process("calico-node", false)], kubelet("kubelet", &[]));
    assert_eq!(enforces, "no", "{because}");
}

#[rstest]
#[case(&["k3s", "server", "--disable-network-policy"], "no")]
#[case(&["k3s", "server"], "unknown")]
#[case(&["k3s", "agent"], "unknown")]
fn k3s_has_an_enforcer_inside(#[case] argv: &[&str], #[case] expected: &str) {
    let (enforces, because) = enforces(&["flannel", "portmap"], Vec::new(), kubelet("k3s", argv));
    assert_eq!(enforces, expected, "{because}");
}

#[test]
fn without_every_process_there_is_no_no() {
    let plugins = ["flannel".to_owned()];
    let skipped = vec![Skipped { what: "process 9".to_owned(), reason: Reason::PermissionDenied }];
    let partly = known(Listing { items: Vec::new(), skipped });
    let kubelets = known(Listing::complete(vec![kubelet("kubelet", &[])]));
    assert_eq!(enforcement(&plugins, &partly, &kubelets).0, "unknown");
    let unread = Observed::unavailable_because(Reason::TimedOut, "too slow");
    assert_eq!(enforcement(&plugins, &unread, &kubelets).0, "unknown");
}
