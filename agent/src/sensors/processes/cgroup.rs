//! Where a process belongs, by its cgroup: service of the host, pod, container, session.
//!
//! Who may make cgroups below his own names them as he likes: a container with a writable cgroup file system, a service with
//! `Delegate=`, anybody's `systemd --user`. So a path is read from the outside in, and what comes first counts: below a container
//! nothing is believed any more. A pod's name counts only where a kubelet puts it: at the top, below slices, below the `kubelet`
//! that kind gives as its root, or behind the runtime's own unit. Below another directory at the top, which may be a container
//! that was started by hand or a kubelet's `--cgroup-root`, it is some pod, and nobody's in particular.
//!
//! Must not know which pods and containers there are.

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

/// Reads `/proc/<pid>/cgroup`: the v2 path, or v1's `name=systemd`, else the longest; where another hierarchy of v1 says that it
/// is a pod's, that one. Hierarchies that name different pods leave it unknown which.
///
/// `namespaced`: the reader itself lives in a cgroup namespace, where everything outside it starts with `/..` and a path
/// without that is the reader's own pod.
pub(super) fn cgroup(content: &str, namespaced: bool) -> Cgroup {
    let lines = || content.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let pick = |wanted: &str| lines().find(|(controllers, path)| *controllers == wanted && *path != "/").map(|(_, path)| path);
    let longest = || lines().map(|(_, path)| path).max_by_key(|path| path.len());
    let raw = pick("").or_else(|| pick("name=systemd")).or_else(longest).unwrap_or("/");
    let mut chosen = one(raw, namespaced);
    for (_, path) in lines().filter(|(_, path)| *path != raw && *path != "/") {
        let other = one(path, namespaced);
        if other.pod_uid.is_empty() {
            continue;
        }
        if chosen.placement != Placement::Pod {
            // A runtime with the cgroupfs driver leaves v2's path of a hybrid host where it was.
            chosen = other;
        } else if other.pod_uid != chosen.pod_uid {
            (chosen.pod_uid, chosen.container_id) = (String::new(), String::new());
        } else if !other.container_id.is_empty() && other.container_id != chosen.container_id {
            chosen.container_id = String::new();
        }
    }
    chosen
}

fn one(raw: &str, namespaced: bool) -> Cgroup {
    let own = namespaced && !raw.starts_with("/..");
    let mut path = raw;
    while let Some(rest) = path.strip_prefix("/..").filter(|rest| rest.is_empty() || rest.starts_with('/')) {
        path = rest;
    }
    let path = if path.is_empty() { "/" } else { path };
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let mut units = parts.iter().filter(|part| part.strip_suffix(".service").or_else(|| part.strip_suffix(".scope")).is_some());
    let place = if own { Place::pod("", "") } else { place(&parts, namespaced) };
    // Below a service of the host whoever it runs may name units; in a session only the innermost tells anything.
    let unit = match place.placement {
        Placement::Host => units.next(),
        _ => units.next_back(),
    };
    let unit = place.unit.or_else(|| unit.map(|unit| (*unit).to_owned())).unwrap_or_default();
    Cgroup { path: path.to_owned(), placement: place.placement, pod_uid: place.pod_uid, container_id: place.container_id, unit }
}

/// What a path comes to.
struct Place {
    placement: Placement,
    pod_uid: String,
    container_id: String,
    unit: Option<String>,
}

impl Place {
    fn of(placement: Placement) -> Self {
        Self { placement, pod_uid: String::new(), container_id: String::new(), unit: None }
    }

    fn pod(uid: &str, container: &str) -> Self {
        Self { pod_uid: uid.to_owned(), container_id: container.to_owned(), ..Self::of(Placement::Pod) }
    }

    fn machine(container: Option<&str>) -> Self {
        Self { container_id: container.unwrap_or_default().to_owned(), ..Self::of(Placement::Machine) }
    }

    /// The runtime's monitor of a container: a service of the host, wherever the runtime puts it.
    fn monitor(unit: &str) -> Self {
        Self { unit: Some(unit.to_owned()), ..Self::of(Placement::Host) }
    }
}

/// Directories of containerd's namespaces, in which it makes containers that have no parent of their own.
const CONTAINERD: [&str; 3] = ["k8s.io", "default", "moby"];

/// Reads the parts of a path from the outside in.
fn place(parts: &[&str], namespaced: bool) -> Place {
    // A directory that is no slice, and that may be a container with a name somebody gave it.
    let mut plain: Option<&str> = None;
    for (at, part) in parts.iter().enumerate() {
        let below = parts.get(at + 1..).unwrap_or_default();
        // Seen from inside a pod, the way to its neighbours does not begin at the top.
        let neighbours = namespaced && at == 0;
        if is_kubepods(part) || (neighbours && (matches!(*part, "burstable" | "besteffort") || pod_uid(part).is_some())) {
            return in_kubepods(parts.get(at..).unwrap_or_default(), plain.is_none_or(|root| root == "kubelet"));
        }
        if let Some(root) = plain {
            let id = container_id(part).filter(|_| CONTAINERD.contains(&root));
            return id.map_or_else(|| alone(parts), |id| Place::machine(Some(&id)));
        }
        if let Some(unit) = monitor(part) {
            return Place::monitor(unit);
        }
        if part.starts_with("lxc.payload") {
            return Place::machine(None);
        }
        if matches!(*part, "machine.slice" | "docker" | "libpod" | "libpod_parent" | "lxc" | "machine") {
            return in_machines(below);
        }
        if *part == "user.slice" {
            return in_sessions(below);
        }
        if let Some(place) = joined(part) {
            return place;
        }
        if let Some(id) = container_id(part) {
            let neighbour = neighbours && ["cri-containerd-", "crio-"].iter().any(|prefix| part.starts_with(prefix));
            return if neighbour { Place::pod("", &id) } else { Place::machine(Some(&id)) };
        }
        if part.strip_suffix(".service").is_some() {
            return in_service(below);
        }
        if part.strip_suffix(".slice").is_none() {
            if at > 0 || part.strip_suffix(".scope").is_some() {
                return alone(parts);
            }
            plain = Some(part);
        }
    }
    alone(parts)
}

/// By its first part, where nothing inside says more.
fn alone(parts: &[&str]) -> Place {
    Place::of(match parts.first() {
        None | Some(&("system.slice" | "init.scope")) => Placement::Host,
        Some(first) if first.starts_with("openrc.") || matches!(*first, "init" | "system" | "podruntime") => Placement::Host,
        Some(_) => Placement::Other,
    })
}

/// The kubelet's own name for where its pods are: after its root where it has one of its own, as in kind.
fn is_kubepods(part: &str) -> bool {
    part == "kubepods" || part.strip_suffix(".slice").is_some_and(|slice| slice.split('-').any(|word| word == "kubepods"))
}

/// `parts` begin with the kubelet's directory. `surely`: and it is a kubelet's.
fn in_kubepods(parts: &[&str], surely: bool) -> Place {
    // At most root, class of service, pod: what is deeper was made by whom the pod belongs to.
    let Some((at, uid)) = parts.iter().take(3).enumerate().find_map(|(at, part)| Some((at, pod_uid(part)?))) else {
        return Place::of(Placement::Pod);
    };
    let inside = parts.get(at + 1).copied().unwrap_or_default();
    if let Some(unit) = monitor(inside) {
        return Place::monitor(unit);
    }
    if surely { Place::pod(&uid, &container_id(inside).unwrap_or_default()) } else { Place::of(Placement::Pod) }
}

/// Docker, Podman, machined and LXC: the outermost container of theirs.
fn in_machines(below: &[&str]) -> Place {
    for part in below {
        if monitor(part).is_some() {
            return Place::monitor("libpod-conmon");
        }
        if let Some(id) = container_id(part) {
            return Place::machine(Some(&id));
        }
        if part.strip_suffix(".slice").is_none() && !part.starts_with("libpod_pod_") {
            break;
        }
    }
    Place::machine(None)
}

/// A person's session: in it everybody names cgroups as he likes, so that a container's name says that it is one, and not which.
fn in_sessions(below: &[&str]) -> Place {
    let of_container = |part: &&&str| ["libpod-", "docker-"].iter().any(|prefix| part.starts_with(prefix)) && container_id(part).is_some();
    Place::of(if below.iter().any(|part| of_container(&part)) { Placement::Machine } else { Placement::User })
}

/// Inside a service below slices only: Podman's Quadlet puts a container there, a runtime whose kubelet has the other driver pods.
fn in_service(below: &[&str]) -> Place {
    let first = below.first().copied().unwrap_or_default();
    if let Some(joined) = joined(first) {
        return joined;
    }
    match first.strip_prefix("libpod-payload-").and_then(|_| container_id(first)) {
        Some(id) => Place::machine(Some(&id)),
        None => Place::of(Placement::Host),
    }
}

/// `kubepods-pod<uid>.slice:cri-containerd:<id>`, under the runtime's own unit or at the top: the two disagree about the driver.
fn joined(part: &str) -> Option<Place> {
    let (slice, rest) = part.split_once(':')?;
    let uid = pod_uid(slice)?;
    Some(Place::pod(&uid, &container_id(rest.rsplit(':').next()?).unwrap_or_default()))
}

/// The unit of the monitor that CRI-O or Podman starts for a container.
fn monitor(part: &str) -> Option<&'static str> {
    let of = |prefix: &str| part.starts_with(prefix) && container_id(part).is_some();
    if of("crio-conmon-") {
        Some("crio-conmon")
    } else if of("libpod-conmon-") {
        Some("libpod-conmon")
    } else {
        None
    }
}

/// `pod<uid>` of the cgroupfs driver, `kubepods-burstable-pod<uid>.slice` of the systemd driver, where dashes are underscores.
fn pod_uid(part: &str) -> Option<String> {
    // A static pod's is a hash without dashes.
    let plain = |uid: &str| (32..=64).contains(&uid.len()) && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
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
mod tests;
