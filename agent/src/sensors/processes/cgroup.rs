//! Where a process belongs, by its cgroup: service of the host, pod, container, session.

use holdfast_checks::facts::Placement;

/// What a cgroup path tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cgroup {
    pub(super) path: String,
    pub(super) placement: Placement,
    /// Empty outside pods.
    pub(super) pod_uid: String,
    /// Empty outside containers.
    pub(super) container_id: String,
    /// The systemd unit; empty where there is none.
    pub(super) unit: String,
}

/// Reads `/proc/<pid>/cgroup`: the v2 path, or v1's `name=systemd`, else the longest.
///
/// `namespaced`: the reader itself lives in a cgroup namespace, where everything outside it starts with `/..` and a path
/// without that is the reader's own pod.
pub(super) fn cgroup(content: &str, namespaced: bool) -> Cgroup {
    let lines = || content.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let pick = |wanted: &str| lines().find(|(controllers, path)| *controllers == wanted && *path != "/").map(|(_, path)| path);
    let longest = || lines().map(|(_, path)| path).max_by_key(|path| path.len());
    let raw = pick("").or_else(|| pick("name=systemd")).or_else(longest).unwrap_or("/");
    let own = namespaced && !raw.starts_with("/..");
    let mut path = raw;
    while let Some(rest) = path.strip_prefix("/..") {
        path = rest;
    }
    let path = if path.is_empty() { "/" } else { path };
    let is_unit = |part: &&&str| part.strip_suffix(".service").or_else(|| part.strip_suffix(".scope")).is_some();
    // `kubepods-pod<uid>.slice:cri-containerd:<id>` under containerd's own unit: the two disagree about the driver.
    let parts: Vec<&str> = path.split(['/', ':']).filter(|part| !part.is_empty()).collect();
    let of_container = parts.iter().find(|part| container_id(part).is_some()).copied().unwrap_or_default();
    if ["crio-conmon-", "libpod-conmon-"].iter().any(|prefix| of_container.starts_with(prefix)) {
        // The runtime's monitor of a container: a service of the host, wherever the runtime puts it.
        let unit = of_container.split("-conmon-").next().map(|runtime| format!("{runtime}-conmon")).unwrap_or_default();
        return Cgroup { path: path.to_owned(), placement: Placement::Host, pod_uid: String::new(), container_id: String::new(), unit };
    }
    let pod_uid = parts.iter().find_map(|part| pod_uid(part)).unwrap_or_default();
    let container_id = container_id(of_container).unwrap_or_default();
    let unit = parts.iter().rfind(is_unit).copied().unwrap_or_default();
    Cgroup { path: path.to_owned(), placement: placement(&parts, own, &pod_uid), pod_uid, container_id, unit: unit.to_owned() }
}

fn placement(parts: &[&str], own: bool, pod_uid: &str) -> Placement {
    let kubepods = |part: &&str| part.starts_with("kubepods") || (part.contains("-kubepods") && part.strip_suffix(".slice").is_some());
    if own || !pod_uid.is_empty() || parts.iter().any(kubepods) {
        return Placement::Pod;
    }
    let machine = |part: &&str| {
        matches!(*part, "machine.slice" | "docker" | "libpod" | "libpod_parent" | "lxc" | "machine")
            || (["docker-", "libpod-", "crio-", "cri-containerd-"].iter().any(|prefix| part.starts_with(prefix))
                && container_id(part).is_some())
    };
    if parts.iter().any(machine) {
        return Placement::Machine;
    }
    match parts.first() {
        None | Some(&("system.slice" | "init.scope")) => Placement::Host,
        Some(&"user.slice") => Placement::User,
        Some(first) if first.starts_with("openrc.") || matches!(*first, "init" | "system" | "podruntime") => Placement::Host,
        // `azure.slice/walinuxagent.service`, `runtime.slice/kubelet.service`: a slice of the administrator's with services in it.
        Some(_) if service_in_slices(parts) => Placement::Host,
        Some(_) => Placement::Other,
    }
}

/// Does a service follow the outermost slices, with nothing between that could be a container.
fn service_in_slices(parts: &[&str]) -> bool {
    let first = parts.iter().find(|part| part.strip_suffix(".slice").is_none());
    first.is_some_and(|part| part.strip_suffix(".service").is_some())
}

/// `pod<uid>` of the cgroupfs driver, `kubepods-burstable-pod<uid>.slice` of the systemd driver, where dashes are underscores.
fn pod_uid(part: &str) -> Option<String> {
    let plain = |uid: &str| uid.len() >= 32 && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if let Some(slice) = part.strip_suffix(".slice") {
        // A kubelet with a cgroup root of its own puts that first: `kubelet-kubepods-…`, as in kind.
        let (_, pods) = slice.split_once("kubepods").filter(|(root, _)| root.is_empty() || root.ends_with('-'))?;
        let uid = pods.rsplit_once("-pod")?.1.replace('_', "-");
        return plain(&uid).then_some(uid);
    }
    let uid = part.strip_prefix("pod")?;
    plain(uid).then(|| uid.to_owned())
}

/// The 64 hexadecimal digits that end a container's cgroup: `<id>`, `cri-containerd-<id>.scope`, `crio-<id>.scope`.
fn container_id(part: &str) -> Option<String> {
    let name = part.strip_suffix(".scope").unwrap_or(part);
    let id = name.rsplit('-').next()?;
    (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
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
}
