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
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let pod_uid = parts.iter().find_map(|part| pod_uid(part)).unwrap_or_default();
    let container_id = parts.iter().find_map(|part| container_id(part)).unwrap_or_default();
    let is_unit = |part: &&&str| part.strip_suffix(".service").or_else(|| part.strip_suffix(".scope")).is_some();
    let unit = parts.iter().rfind(is_unit).copied().unwrap_or_default();
    Cgroup { path: path.to_owned(), placement: placement(&parts, own, &pod_uid), pod_uid, container_id, unit: unit.to_owned() }
}

fn placement(parts: &[&str], own: bool, pod_uid: &str) -> Placement {
    if own || !pod_uid.is_empty() || parts.iter().any(|part| part.starts_with("kubepods")) {
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
        Some(_) => Placement::Other,
    }
}

/// `pod<uid>` of the cgroupfs driver, `kubepods-burstable-pod<uid>.slice` of the systemd driver, where dashes are underscores.
fn pod_uid(part: &str) -> Option<String> {
    let plain = |uid: &str| uid.len() >= 32 && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if let Some(slice) = part.strip_suffix(".slice") {
        let uid = slice.strip_prefix("kubepods")?.rsplit_once("-pod")?.1.replace('_', "-");
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
    fn seen_from_inside_a_pod_only_paths_without_dots_are_its_own() {
        assert_eq!(cgroup("0::/", true).placement, Placement::Pod);
        assert_eq!(cgroup("0::/../../../../system.slice/kubelet.service", true).placement, Placement::Host);
        assert_eq!(cgroup("0::/../../../..", true).placement, Placement::Host);
        let sibling = format!("0::/../../pod{UID}/{ID}");
        assert_eq!(cgroup(&sibling, true).pod_uid, UID);
    }
}
