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

/// Layouts as the projects' documentation and issues show them: path, and what it is: `pod uid/container`, `machine id`, `host unit`.
#[rstest]
#[case::cgroupfs_guaranteed("/kubepods/pod{uid}/{id}", "pod {uid}/{id}")]
#[case::cgroupfs_burstable("/kubepods/burstable/pod{uid}/{id}", "pod {uid}/{id}")]
#[case::cgroupfs_static_pod("/kubepods/burstable/pod{hash}/{id}", "pod {hash}/{id}")]
#[case::containerd_systemd(
    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid_}.slice/cri-containerd-{id}.scope",
    "pod {uid}/{id}"
)]
#[case::containerd_systemd_guaranteed("/kubepods.slice/kubepods-pod{uid_}.slice/cri-containerd-{id}.scope", "pod {uid}/{id}")]
#[case::containerd_static_pod(
    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{hash}.slice/cri-containerd-{id}.scope",
    "pod {hash}/{id}"
)]
#[case::crio_systemd("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{uid_}.slice/crio-{id}.scope", "pod {uid}/{id}")]
#[case::crio_with_crun("/kubepods.slice/kubepods-pod{uid_}.slice/crio-{id}.scope/container", "pod {uid}/{id}")]
#[case::crio_cgroupfs("/kubepods/besteffort/pod{uid}/crio-{id}", "pod {uid}/{id}")]
#[case::docker_shim_systemd(
    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid_}.slice/docker-{id}.scope",
    "pod {uid}/{id}"
)]
#[case::kata_sandbox("/kubepods/burstable/pod{uid}/kata_{id}", "pod {uid}/")]
#[case::a_process_of_the_pod_itself("/kubepods/burstable/pod{uid}", "pod {uid}/")]
#[case::systemd_inside_a_container(
    "/kubepods.slice/kubepods-pod{uid_}.slice/cri-containerd-{id}.scope/system.slice/sshd.service",
    "pod {uid}/{id}"
)]
#[case::a_group_that_the_workload_made("/kubepods/burstable/pod{uid}/{id}/workers/1", "pod {uid}/{id}")]
#[case::docker_in_a_pod("/kubepods/burstable/pod{uid}/{id}/docker/{other}", "pod {uid}/{id}")]
#[case::kind_seen_from_inside(
    "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{uid_}.slice/cri-containerd-{id}.scope",
    "pod {uid}/{id}"
)]
#[case::old_kind_seen_from_inside("/kubelet/kubepods/besteffort/pod{uid}/{id}", "pod {uid}/{id}")]
#[case::drivers_disagree_at_the_top("/kubepods-burstable-pod{uid_}.slice:cri-containerd:{id}", "pod {uid}/{id}")]
#[case::drivers_disagree("/system.slice/containerd.service/kubepods-burstable-pod{uid_}.slice:cri-containerd:{id}", "pod {uid}/{id}")]
#[case::drivers_disagree_in_k3s("/system.slice/k3s.service/kubepods-pod{uid_}.slice:cri-containerd:{id}", "pod {uid}/{id}")]
#[case::docker_cgroupfs("/docker/{id}", "machine {id}")]
#[case::docker_systemd("/system.slice/docker-{id}.scope", "machine {id}")]
#[case::docker_with_a_parent("/batch.slice/docker-{id}.scope", "machine {id}")]
#[case::docker_init_inside("/system.slice/docker-{id}.scope/init.scope", "machine {id}")]
#[case::buildkit("/docker/buildkit/x1", "machine ")]
#[case::podman("/machine.slice/libpod-{id}.scope", "machine {id}")]
#[case::podman_with_crun("/machine.slice/libpod-{id}.scope/container", "machine {id}")]
#[case::podman_pod("/machine.slice/machine-libpod_pod_{other}.slice/libpod-{id}.scope/container", "machine {id}")]
#[case::podman_cgroupfs("/libpod_parent/libpod-{id}", "machine {id}")]
#[case::podman_cgroupfs_pod("/libpod_parent/libpod_pod_{other}/{id}", "machine {id}")]
#[case::podman_quadlet("/system.slice/web.service/libpod-payload-{id}", "machine {id}")]
#[case::podman_rootless("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{id}.scope/container", "machine ")]
#[case::docker_rootless("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{id}.scope", "machine ")]
#[case::containerd_without_kubelet("/k8s.io/{id}", "machine {id}")]
#[case::nerdctl("/default/{id}", "machine {id}")]
#[case::nerdctl_systemd("/system.slice/nerdctl-{id}.scope", "machine {id}")]
#[case::nspawn("/machine.slice/systemd-nspawn@web.service/payload/system.slice/nginx.service", "machine ")]
#[case::virtual_machine("/machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt/emulator", "machine ")]
#[case::lxc("/lxc.payload.web/system.slice/cron.service", "machine ")]
#[case::lxc_old("/lxc/web/init.scope", "machine ")]
#[case::crio_monitor("/system.slice/crio-conmon-{id}.scope", "host crio-conmon")]
#[case::crio_monitor_in_the_pod("/kubepods.slice/kubepods-pod{uid_}.slice/crio-conmon-{id}.scope", "host crio-conmon")]
#[case::podman_monitor("/machine.slice/libpod-conmon-{id}.scope", "host libpod-conmon")]
#[case::getty("/system.slice/system-getty.slice/getty@tty1.service", "host getty@tty1.service")]
#[case::delegated("/system.slice/systemd-udevd.service/udev", "host systemd-udevd.service")]
#[case::containerd_shims("/system.slice/containerd.service", "host containerd.service")]
#[case::microk8s("/system.slice/snap.microk8s.daemon-kubelite.service", "host snap.microk8s.daemon-kubelite.service")]
fn published_layouts_are_understood_on_both_versions(#[case] path: &str, #[case] expected: &str) {
    let (path, expected) = (filled(path), filled(expected));
    for content in [
        format!("0::{path}\n"),
        format!("12:pids:{path}\n11:memory:{path}\n1:name=systemd:{path}\n0::/\n"),
        format!("3:cpu,cpuacct:{path}\n2:cpuset:/\n"),
    ] {
        assert_eq!(told(&cgroup(&content, false)), expected, "{content}");
    }
}

/// Who may make cgroups below his own names them like another's.
#[rstest]
#[case::in_a_pod_systemd(
    "/kubepods.slice/kubepods-pod{uid_}.slice/cri-containerd-{id}.scope/kubepods-pod{foe_}.slice/cri-containerd-{other}.scope",
    "pod {uid}/{id}"
)]
#[case::in_a_pod_cgroupfs("/kubepods/burstable/pod{uid}/{id}/kubepods/burstable/pod{foe}/{other}", "pod {uid}/{id}")]
#[case::in_a_pod_joined("/kubepods/burstable/pod{uid}/{id}/kubepods-pod{foe_}.slice:cri-containerd:{other}", "pod {uid}/{id}")]
#[case::in_a_pod_the_next_container("/kubepods/burstable/pod{uid}/{id}/{other}", "pod {uid}/{id}")]
#[case::in_a_pod_as_its_monitor("/kubepods/burstable/pod{uid}/{id}/crio-conmon-{other}.scope", "pod {uid}/{id}")]
#[case::in_a_pod_as_a_service("/kubepods/burstable/pod{uid}/{id}/system.slice/kubelet.service", "pod {uid}/{id}")]
#[case::in_a_docker_container("/docker/{id}/kubepods/burstable/pod{foe}/{other}", "machine {id}")]
#[case::kind_seen_from_its_host(
    "/system.slice/docker-{id}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{foe_}.slice/cri-containerd-{other}.scope",
    "machine {id}"
)]
#[case::in_a_podman_container("/machine.slice/libpod-{id}.scope/container/kubepods/pod{foe}/{other}", "machine {id}")]
#[case::in_a_machine("/machine.slice/systemd-nspawn@a.service/payload/docker/{other}", "machine ")]
#[case::in_lxc("/lxc.payload.a/docker/{other}", "machine ")]
#[case::in_a_session("/user.slice/user-1000.slice/user@1000.service/kubepods/burstable/pod{foe}/{other}", "user")]
#[case::in_a_session_as_cri("/user.slice/user-1000.slice/user@1000.service/cri-containerd-{other}.scope", "user")]
#[case::in_a_service("/system.slice/ci.service/kubepods/burstable/pod{foe}/{other}", "host ci.service")]
#[case::in_a_service_as_another("/system.slice/ci.service/kubelet.service", "host ci.service")]
#[case::in_a_container_by_hand("/mine/kubepods/burstable/pod{foe}/{other}", "pod /")]
#[case::in_a_container_by_hand_joined("/mine/kubepods-pod{foe_}.slice:cri-containerd:{other}", "other")]
#[case::in_a_container_by_hand_as_docker("/mine/docker/{other}", "other")]
#[case::in_a_container_by_hand_as_a_container("/mine/{other}", "other")]
#[case::in_a_container_by_hand_as_a_service("/mine/system.slice/kubelet.service", "other")]
#[case::in_a_container_by_hand_as_a_monitor("/mine/crio-conmon-{other}.scope", "other")]
#[case::in_a_scope_of_containerd("/system.slice/cri-a.scope/kubepods/pod{foe}/{other}", "host cri-a.scope")]
#[case::no_uid("/kubepods/burstable/podcast/{id}", "pod /")]
#[case::dots("/kubepods/burstable/pod{uid}/..{id}", "pod {uid}/")]
#[case::not_the_way_out("/..kubepods/pod{foe}/{other}", "other")]
fn a_path_made_to_look_like_anothers_is_attributed_to_whom_it_is_below(#[case] path: &str, #[case] expected: &str) {
    let read = cgroup(&format!("0::{}\n", filled(path)), false);
    assert_eq!(told(&read), filled(expected), "{path}");
}

/// As an agent in a pod with a cgroup namespace of its own sees them.
#[rstest]
#[case::other_class("/../../../kubepods-besteffort.slice/kubepods-besteffort-pod{uid_}.slice/cri-containerd-{id}.scope", "pod {uid}/{id}")]
#[case::same_class("/../../kubepods-burstable-pod{uid_}.slice/cri-containerd-{id}.scope", "pod {uid}/{id}")]
#[case::same_pod("/../cri-containerd-{id}.scope", "pod /{id}")]
#[case::cgroupfs_other_class("/../../../besteffort/pod{uid}/{id}", "pod {uid}/{id}")]
#[case::cgroupfs_same_class("/../../pod{uid}/{id}", "pod {uid}/{id}")]
#[case::service("/../../../../system.slice/kubelet.service", "host kubelet.service")]
#[case::below_a_neighbour("/../cri-containerd-{id}.scope/kubepods-pod{foe_}.slice/cri-containerd-{other}.scope", "pod /{id}")]
#[case::of_the_agents_own("/kubepods-pod{foe_}.slice/cri-containerd-{other}.scope", "pod /")]
fn from_inside_a_pod_the_same_holds(#[case] path: &str, #[case] expected: &str) {
    assert_eq!(told(&cgroup(&format!("0::{}\n", filled(path)), true)), filled(expected), "{path}");
}

#[test]
fn hierarchies_that_disagree_leave_it_unknown_which_pod() {
    let both = |first: &str, second: &str| told(&cgroup(&filled(&format!("4:cpu:{first}\n1:name=systemd:{second}\n0::/\n")), false));
    assert_eq!(both("/kubepods/pod{uid}/{id}", "/kubepods/pod{foe}/{other}"), "pod /");
    assert_eq!(both("/kubepods/pod{uid}/{id}", "/kubepods/pod{uid}/{other}"), filled("pod {uid}/"));
    assert_eq!(both("/kubepods/pod{uid}/{id}", "/system.slice/containerd.service"), filled("pod {uid}/{id}"));
    assert_eq!(both("/", "/kubepods/pod{uid}/{id}"), filled("pod {uid}/{id}"));
    let hybrid = filled("4:cpu:/kubepods/pod{uid}/{id}\n1:name=systemd:/kubepods/pod{uid}/{id}\n0::/system.slice/containerd.service\n");
    assert_eq!(told(&cgroup(&hybrid, false)), filled("pod {uid}/{id}"), "the runtime left v2's where it was");
}

const OTHER: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const FOE: &str = "ffffffff-7b98-45d7-ba20-30e060ff9b58";

fn filled(text: &str) -> String {
    text.replace("{uid}", UID)
        .replace("{uid_}", &UID.replace('-', "_"))
        .replace("{hash}", "3c0a2ef17b9845d7ba2030e060ff9b58")
        .replace("{foe}", FOE)
        .replace("{foe_}", &FOE.replace('-', "_"))
        .replace("{id}", ID)
        .replace("{other}", OTHER)
}

fn told(read: &Cgroup) -> String {
    match read.placement {
        Placement::Pod => format!("pod {}/{}", read.pod_uid, read.container_id),
        Placement::Machine => format!("machine {}", read.container_id),
        Placement::Host => format!("host {}", read.unit),
        Placement::User => "user".to_owned(),
        Placement::Other => "other".to_owned(),
    }
}

proptest::proptest! {
    /// Whatever a workload makes below its own container, it stays that container's.
    #[test]
    fn nothing_below_a_container_changes_whose_it_is(
        below in proptest::collection::vec(
            proptest::prop_oneof![
                proptest::strategy::Just(format!("pod{FOE}")),
                proptest::strategy::Just(format!("kubepods-burstable-pod{}.slice", FOE.replace('-', "_"))),
                proptest::strategy::Just(format!("kubepods-pod{}.slice:cri-containerd:{OTHER}", FOE.replace('-', "_"))),
                proptest::strategy::Just(format!("cri-containerd-{OTHER}.scope")),
                proptest::strategy::Just(format!("crio-conmon-{OTHER}.scope")),
                proptest::strategy::Just(OTHER.to_owned()),
                "kubepods(\\.slice)?|system\\.slice|user\\.slice|machine\\.slice|docker|burstable|init\\.scope|[a-z.:-]{1,20}",
            ],
            0..6,
        ),
        systemd: bool,
        namespaced: bool,
    ) {
        let own = if systemd {
            filled("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid_}.slice/cri-containerd-{id}.scope")
        } else {
            filled("kubepods/burstable/pod{uid}/{id}")
        };
        let up = if namespaced { "/../../../.." } else { "" };
        let path = std::iter::once(own).chain(below).collect::<Vec<_>>().join("/");
        let read = cgroup(&format!("0::{up}/{path}\n"), namespaced);
        proptest::prop_assert_eq!(told(&read), filled("pod {uid}/{id}"));
        let machine = cgroup(&format!("0::{up}/docker/{ID}/{path}\n"), namespaced);
        proptest::prop_assert_eq!(told(&machine), filled("machine {id}"));
        let session = cgroup(&format!("0::{up}/user.slice/user-1000.slice/user@1000.service/{path}\n"), namespaced);
        proptest::prop_assert!(session.container_id.is_empty() && session.pod_uid.is_empty());
    }
}
