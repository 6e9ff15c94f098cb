//! Is what the sensors read the node, or the container that the agent is in.
//!
//! A pod without `hostPID`, `hostNetwork` or the host's files is shown its own instead, and that looks like a node on which nothing of
//! Kubernetes runs. What is not the host's is withheld, with the privilege it takes: see ARCHITECTURE, a missing privilege is an
//! unknown. None of this takes a capability. Must not know checks.

use holdfast_checks::facts::{
    Group, Kernel, NodeFacts, Observed, Placement, Privileges, Reason, Skipped, Source, SourceKind, Sysctls, Unavailable,
};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;

use super::processes::{ProcessTable, Workload, has_kernel_threads};
use super::{SensorOptions, now};
use crate::host::{Host, ReadError};

/// A table of mounts, or of netlink sockets: some hundred bytes for each.
const TABLE_CAP: u64 = 8 * 1024 * 1024;
/// What runs first on a machine, by the name the kernel knows it by. A node of kind or LXC has one and no threads of the kernel.
const INITS: [&str; 2] = ["systemd", "init"];

/// Is it the host that is seen, one by one. `false`: it is the agent's own container.
#[derive(Debug, Clone)]
pub(super) struct Sight {
    live: bool,
    processes: Observed<bool>,
    network: Observed<bool>,
    files: Observed<bool>,
}

impl Default for Sight {
    fn default() -> Self {
        let untold = || Observed::unavailable_because(Reason::NotSupported, "nothing was read yet");
        Self { live: false, processes: untold(), network: untold(), files: untold() }
    }
}

impl Sight {
    /// Looks. Without a table of processes, whatever stands in it is not known.
    pub(super) fn of(host: &Host, options: &SensorOptions, table: Option<&ProcessTable>) -> Self {
        if !host.live() {
            let taken = || Observed::unavailable_because(Reason::NotSupported, "a recorded tree is taken for the host it was recorded on");
            return Self { live: false, processes: taken(), network: taken(), files: taken() };
        }
        let processes = processes(host, table);
        let first = processes.value() == Some(&true);
        let (network, files) = (network(host, first), files(host, options, first));
        Self { live: true, processes, network, files }
    }

    /// Fills in what the self-test leaves open.
    pub(super) fn tell(&self, mut privileges: Privileges) -> Privileges {
        let seen = [("host_pid", &self.processes), ("host_network", &self.network), ("host_files", &self.files)];
        let lacks = seen.into_iter().filter(|(_, seen)| seen.value() == Some(&false)).map(|(name, _)| name.to_owned());
        privileges.lacks.extend(lacks);
        (privileges.host_processes, privileges.host_network, privileges.host_files) =
            (self.processes.clone(), self.network.clone(), self.files.clone());
        privileges
    }

    /// Why there is no table of the host's processes, where there is only one of the agent's container.
    pub(super) fn no_processes(&self) -> Option<Unavailable> {
        let own = self.processes.value() == Some(&false);
        own.then(|| denied("needs hostPID: the processes that the agent sees are those of a container and not the node's"))
    }

    /// Why nothing is known of the host's network. Which one that is, its first process tells.
    fn no_network(&self) -> Option<Unavailable> {
        let own = self.network.value() == Some(&false);
        let own = own.then(|| denied("needs hostNetwork: the agent is in a network of its own and not the node's"));
        let untold = || denied("needs hostPID: without the node's processes it cannot be told which network is the node's");
        own.or_else(|| self.no_processes().map(|_| untold()))
    }

    fn no_files(&self) -> Option<Unavailable> {
        let own = self.files.value() == Some(&false);
        own.then(|| denied("needs the host's files: what the agent was given as the node's root (--host-root) is not the root of the node"))
    }

    /// Takes out of a group that was just read what is not the host's.
    pub(super) fn withhold(&self, group: Group, facts: &mut NodeFacts) {
        if group == Group::Containers && self.live {
            nameless(facts, self.no_files().as_ref());
        }
        if let Some(why) = self.no_processes() {
            no_processes(group, facts, &why);
        }
        if let Some(why) = self.no_network() {
            no_network(group, facts, &why);
        }
        if let Some(why) = self.no_files() {
            no_files(group, facts, &why);
        }
    }
}

fn denied(detail: &str) -> Unavailable {
    Unavailable::new(Reason::PermissionDenied, detail)
}

/// What hangs on processes is unavailable by itself; this is what is found by them, or through the first of them.
fn no_processes(group: Group, facts: &mut NodeFacts, why: &Unavailable) {
    match group {
        Group::Listeners => facts.listeners = Observed::Unavailable(why.clone()),
        Group::Files => {
            if let Some(files) = facts.files.value_mut() {
                files.skipped.push(Skipped::because("files that kubelets and components name", why));
            }
        }
        Group::Network => {
            if let Some(network) = facts.network.value_mut() {
                network.addresses = Observed::Unavailable(why.clone());
                network.firewall = Observed::Unavailable(why.clone());
                network.sshd = Observed::Unavailable(why.clone());
            }
        }
        Group::Probes => facts.probes = Observed::Unavailable(why.clone()),
        Group::Handshakes => facts.handshakes = Observed::Unavailable(why.clone()),
        _ => {}
    }
}

/// The agent's own sockets are in another network: who answers there is not the node. What is read through the node's first process is.
fn no_network(group: Group, facts: &mut NodeFacts, why: &Unavailable) {
    match group {
        Group::Probes => facts.probes = Observed::Unavailable(why.clone()),
        Group::Handshakes => facts.handshakes = Observed::Unavailable(why.clone()),
        Group::Kernel => {
            if let Some(kernel) = facts.kernel.value_mut() {
                of_network(&mut kernel.sysctls, why);
            }
        }
        _ => {}
    }
}

/// `sys/net` shows the settings of whoever opens it, whatever `/proc` it is opened below.
fn of_network(sysctls: &mut Sysctls, why: &Unavailable) {
    let all = [
        &mut sysctls.ipv4_forward,
        &mut sysctls.ipv6_forward,
        &mut sysctls.ipv4_accept_redirects,
        &mut sysctls.ipv4_accept_source_route,
        &mut sysctls.tcp_syncookies,
        &mut sysctls.ipv4_send_redirects,
        &mut sysctls.ipv4_send_redirects_default,
        &mut sysctls.ipv4_rp_filter,
        &mut sysctls.ipv4_rp_filter_default,
        &mut sysctls.ipv6_accept_redirects,
        &mut sysctls.ipv6_accept_redirects_default,
        &mut sysctls.ipv6_accept_source_route,
        &mut sysctls.ipv4_route_localnet,
    ];
    for sysctl in all {
        *sysctl = Observed::Unavailable(why.clone());
    }
}

/// What is read below the host's root. Files of processes are read through their own roots and stand.
fn no_files(group: Group, facts: &mut NodeFacts, why: &Unavailable) {
    match group {
        Group::Os => facts.os = Observed::Unavailable(why.clone()),
        Group::Files => facts.files = Observed::Unavailable(why.clone()),
        Group::Certificates => facts.certificates = Observed::Unavailable(why.clone()),
        Group::System => facts.system = Observed::Unavailable(why.clone()),
        Group::Runtimes => facts.runtimes = Observed::Unavailable(why.clone()),
        Group::Network => {
            if let Some(network) = facts.network.value_mut() {
                network.firewall = Observed::Unavailable(why.clone());
                network.cni = Observed::Unavailable(why.clone());
                network.sshd = Observed::Unavailable(why.clone());
            }
        }
        Group::Kernel => {
            if let Some(kernel) = facts.kernel.value_mut() {
                of_files(kernel, why);
            }
        }
        _ => {}
    }
}

/// A container of which files would tell who it is, and may not be read: what it is cannot be told from the sandbox of its pod, and it
/// would be judged under a name that is not its own.
fn nameless(facts: &mut NodeFacts, no_files: Option<&Unavailable>) {
    let Some(containers) = facts.containers.value_mut() else { return };
    let mut skipped = Vec::new();
    containers.items.retain(|container| {
        let named = container.pod.value().is_some() && container.name.value().is_some();
        if named || container.placement != Placement::Pod {
            return true;
        }
        let untold = container.configured.unavailable().filter(|why| why.reason == Reason::PermissionDenied);
        let why = no_files.or(untold);
        skipped.extend(why.map(|why| Skipped::because(container.subject.clone(), why)));
        why.is_none()
    });
    containers.skipped.extend(skipped);
    if let Some(why) = no_files {
        containers.skipped.push(Skipped::because("containers that only files tell of", why));
    }
}

fn of_files(kernel: &mut Kernel, why: &Unavailable) {
    fn withhold<T>(fact: &mut Observed<T>, why: &Unavailable) {
        *fact = Observed::Unavailable(why.clone());
    }
    withhold(&mut kernel.package, why);
    withhold(&mut kernel.lsms, why);
    withhold(&mut kernel.apparmor, why);
    withhold(&mut kernel.selinux, why);
    withhold(&mut kernel.lockdown, why);
    withhold(&mut kernel.module_signatures, why);
    withhold(&mut kernel.cpu_vulnerabilities, why);
    withhold(&mut kernel.installed, why);
    withhold(&mut kernel.reboot_sentinels, why);
    withhold(&mut kernel.boot_default, why);
    withhold(&mut kernel.deployment, why);
    withhold(&mut kernel.livepatches, why);
    withhold(&mut kernel.features, why);
    withhold(&mut kernel.cgroup, why);
}

fn told(seen: bool, how: &str) -> Observed<bool> {
    Observed::known(seen, Source::new(SourceKind::Kernel, how), now())
}

/// Threads of the kernel are shown in its first process table only. A machine in a container (kind, k3d, LXC) has a table of its own
/// and is a node by what runs in it: an init, or a kubelet.
fn processes(host: &Host, table: Option<&ProcessTable>) -> Observed<bool> {
    if has_kernel_threads(host) {
        return told(true, "threads of the kernel");
    }
    let Some(table) = table else {
        return Observed::unavailable_because(Reason::NotSupported, "processes could not be listed");
    };
    let Ok(first) = host.proc.root().read_text("1/comm") else {
        let detail = "needs CAP_SYS_PTRACE: this /proc hides processes of other users (hidepid)";
        return Observed::unavailable_because(Reason::PermissionDenied, detail);
    };
    if INITS.contains(&first.trim()) {
        return told(true, "the first process");
    }
    let kubelet = table.processes.iter().any(|seen| seen.role.is_some_and(|role| role.workload == Workload::Kubelet));
    told(kubelet, if kubelet { "a kubelet" } else { "no thread of the kernel, no init, no kubelet" })
}

/// Is the agent in the network of process 1: by the links, or where these take a capability it has not, by whether a socket of its own
/// shows there.
fn network(host: &Host, first: bool) -> Observed<bool> {
    if !first {
        let detail = "needs hostPID: without the node's processes it cannot be told which network is the node's";
        return Observed::unavailable_because(Reason::PermissionDenied, detail);
    }
    if let (Some(own), Some(nodes)) = (host.proc.network("self"), host.proc.network("1")) {
        return told(own == nodes, "/proc/1/ns/net");
    }
    match shows_in_first(host) {
        Ok(shows) => told(shows, "/proc/1/net/netlink"),
        Err(error) => error.observed(),
    }
}

/// Every netlink socket of a network is listed there, with its inode.
fn shows_in_first(host: &Host) -> Result<bool, ReadError> {
    let failed = |error: std::io::Error| ReadError::Failed { path: "a netlink socket".to_owned(), operation: "open", source: error };
    let mut socket = Socket::new(NETLINK_ROUTE).map_err(failed)?;
    socket.bind_auto().map_err(failed)?;
    let inode = nix::sys::stat::fstat(&socket).map_err(|errno| failed(errno.into()))?.st_ino.to_string();
    let table = host.proc.root().read_capped("1/net/netlink", TABLE_CAP)?;
    let table = String::from_utf8_lossy(&table);
    Ok(table.lines().skip(1).any(|line| line.split_ascii_whitespace().last() == Some(&inode)))
}

/// Is the root that was given the one of process 1: the same part of the same file system, by both tables of mounts.
fn files(host: &Host, options: &SensorOptions, first: bool) -> Observed<bool> {
    let root = std::fs::canonicalize(&options.host_root).unwrap_or_else(|_| options.host_root.clone());
    let root = root.to_string_lossy().into_owned();
    if !first && root != "/" {
        let detail = "needs hostPID: without the node's processes it cannot be told which root directory is the node's";
        return Observed::unavailable_because(Reason::PermissionDenied, detail);
    }
    let place = |process: &str, path: &str| -> Result<Option<String>, ReadError> {
        let table = host.proc.root().read_capped(&format!("{process}/mountinfo"), TABLE_CAP)?;
        Ok(place(&String::from_utf8_lossy(&table), path))
    };
    match (place("self", &root), place("1", "/")) {
        (Ok(Some(own)), Ok(Some(nodes))) => told(first && own == nodes, "/proc/1/mountinfo"),
        (Err(error), _) | (_, Err(error)) => error.observed(),
        (Ok(_), Ok(_)) => Observed::unavailable_because(Reason::Malformed, "mountinfo: no mount at the root"),
    }
}

/// Device and path within it of what is at `path`, by a table of mounts: the last of those that reach furthest down.
fn place(table: &str, path: &str) -> Option<String> {
    let mut found: Option<(usize, String)> = None;
    for line in table.lines() {
        let mut fields = line.split_ascii_whitespace().skip(2);
        let (Some(device), Some(root), Some(target)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let below = if target == "/" { Some(path.trim_start_matches('/')) } else { path.strip_prefix(target) };
        let Some(rest) = below.filter(|rest| target == "/" || rest.is_empty() || rest.starts_with('/')) else { continue };
        if found.as_ref().is_none_or(|(length, _)| *length <= target.len()) {
            let within = format!("{}/{}", root.trim_end_matches('/'), rest.trim_start_matches('/'));
            found = Some((target.len(), format!("{device} {}", within.trim_end_matches('/'))));
        }
    }
    found.map(|(_, place)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n23 22 0:5 / /proc rw - proc proc rw\n";
    const POD: &str = "100 90 0:70 / / ro - overlay overlay ro\n101 100 0:71 / /proc rw - proc proc rw\n\
        102 100 8:1 / /host ro - ext4 /dev/sda1 rw\n103 102 0:5 / /host/proc rw - proc proc rw\n\
        104 100 8:1 /var/lib/holdfast /var/lib/holdfast rw - ext4 /dev/sda1 rw\n";

    #[test]
    fn a_place_is_a_part_of_a_file_system() {
        assert_eq!(place(NODE, "/"), place(POD, "/host"));
        assert_ne!(place(NODE, "/"), place(POD, "/"));
        assert_eq!(place(POD, "/var/lib/holdfast/x").as_deref(), Some("8:1 /var/lib/holdfast/x"));
        assert_eq!(place(NODE, "/var/lib/holdfast"), place(POD, "/var/lib/holdfast"));
        assert_eq!(place(POD, "/hostile").as_deref(), Some("0:70 /hostile"), "not below /host");
        assert_eq!(place("nonsense\n", "/"), None);
    }

    #[test]
    fn what_was_mounted_over_it_counts() {
        let twice = format!("{NODE}24 22 8:2 /@ / rw - btrfs /dev/sda2 rw\n");
        assert_eq!(place(&twice, "/").as_deref(), Some("8:2 /@"));
    }
}
