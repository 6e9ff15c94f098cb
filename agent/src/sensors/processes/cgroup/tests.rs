//! Published layouts of cgroup trees, and made-up ones that mislead.

use super::*;
use rstest::rstest;

const ID: &str = "80482ab85e8bbd84bc05126aa36ab4e46ae9ee806de9197c614896296fee9537";
const UID: &str = "8c0a2ef1-7b98-45d7-ba20-30e060ff9b58";

#[rstest]
#[case::service("0::/system.slice/kubelet.service", Placement::Host)]
#[case::init("0::/init.scope", Placement::Host)]
#[case::root("0::/", Placement::Host)]
#[case::session("0::/user.slice/user-1000.slice/session-3.scope", Placement::User)]
#[case::machine("0::/machine.slice/libpod-1.scope", Placement::Machine)]
#[case::docker("0::/docker/80482ab85e8bbd84bc05126aa36ab4e46ae9ee806de9197c614896296fee9537", Placement::Machine)]
#[case::docker_under_system(
    "0::/system.slice/docker-80482ab85e8bbd84bc05126aa36ab4e46ae9ee806de9197c614896296fee9537.scope",
    Placement::Machine
)]
#[case::a_slice_for_the_runtime_on_eks("0::/runtime.slice/containerd.service", Placement::Host)]
#[case::a_slice_of_the_cloud_on_aks("0::/azure.slice/walinuxagent.service", Placement::Host)]
#[case::a_container_in_such_a_slice("0::/jobs.slice/jobs-ci.slice/run-1.scope", Placement::Other)]
#[case::systemd_in_a_container_in_such_a_slice("0::/jobs.slice/run-1.scope/system.slice/sshd.service", Placement::Other)]
#[case::talos("0::/podruntime/runtime", Placement::Host)]
#[case::openrc("0::/openrc.sshd", Placement::Host)]
#[case::other("0::/sandbox/x", Placement::Other)]
#[case::service_inside_a_pod("0::/kubepods.slice/x.slice/system.slice/sshd.service", Placement::Pod)]
fn processes_are_placed(#[case] content: &str, #[case] expected: Placement) {
    assert_eq!(cgroup(content, false).placement, expected);
}

#[test]
fn both_drivers_and_versions_name_pod_and_container() {
    let systemd = UID.replace('-', "_");
    for content in [
        format!("9:name=systemd:/kubepods/burstable/pod{UID}/{ID}\n8:pids:/kubepods/burstable/pod{UID}/{ID}\n0::/\n"),
        format!("0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{systemd}.slice/cri-containerd-{ID}.scope\n"),
        format!("0::/kubepods.slice/kubepods-pod{systemd}.slice/crio-{ID}.scope\n"),
    ] {
        let read = cgroup(&content, false);
        assert_eq!((read.placement, read.pod_uid.as_str(), read.container_id.as_str()), (Placement::Pod, UID, ID), "{content}");
    }
}

#[test]
fn pods_of_a_kubelet_with_a_cgroup_root_of_its_own_are_pods() {
    let slices = "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice";
    let pod = format!("kubelet-kubepods-burstable-pod{}.slice", UID.replace('-', "_"));
    let read = cgroup(&format!("0::/{slices}/{pod}/cri-containerd-{ID}.scope\n"), false);
    assert_eq!((read.placement, read.pod_uid.as_str(), read.container_id.as_str()), (Placement::Pod, UID, ID));
    assert_eq!(cgroup("0::/kubelet.slice/kubelet.service\n", false).placement, Placement::Host);
}

#[test]
fn the_monitor_cri_o_starts_for_a_container_is_not_the_container() {
    for content in [
        format!("0::/system.slice/crio-conmon-{ID}.scope\n"),
        format!("0::/kubepods.slice/kubepods-pod{}.slice/crio-conmon-{ID}.scope\n", UID.replace('-', "_")),
        format!("0::/machine.slice/libpod-conmon-{ID}.scope\n"),
    ] {
        let read = cgroup(&content, false);
        assert_eq!((read.placement, read.pod_uid.as_str(), read.container_id.as_str()), (Placement::Host, "", ""), "{content}");
    }
    // Who may make cgroups below his own does not become a service of the host by a name.
    let inside = format!("0::/kubepods.slice/kubepods-pod{}.slice/crio-{ID}.scope/crio-conmon-{ID}.scope\n", UID.replace('-', "_"));
    assert_eq!(cgroup(&inside, false).placement, Placement::Pod);
}

#[test]
fn pods_are_told_apart_where_runtime_and_kubelet_disagree_about_the_driver() {
    let slice = format!("kubepods-burstable-pod{}.slice", UID.replace('-', "_"));
    let read = cgroup(&format!("0::/system.slice/containerd.service/{slice}:cri-containerd:{ID}\n"), false);
    assert_eq!((read.placement, read.pod_uid.as_str(), read.container_id.as_str()), (Placement::Pod, UID, ID));
}

#[test]
fn seen_from_inside_a_pod_only_paths_without_dots_are_its_own() {
    assert_eq!(cgroup("0::/", true).placement, Placement::Pod);
    assert_eq!(cgroup("0::/../../../../system.slice/kubelet.service", true).placement, Placement::Host);
    assert_eq!(cgroup("0::/../../../..", true).placement, Placement::Host);
    let sibling = format!("0::/../../pod{UID}/{ID}");
    assert_eq!(cgroup(&sibling, true).pod_uid, UID);
}
