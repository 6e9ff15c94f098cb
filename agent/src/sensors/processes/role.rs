//! Which Kubernetes component a process is, by its executable and arguments.

use holdfast_checks::facts::{Placement, Unavailable};

use super::parse;
use crate::host::{Buffer, ProcessDir};

/// A component the sensors know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sensors) struct Role {
    /// Is it a kubelet, or contains one.
    pub(in crate::sensors) workload: Workload,
    /// `kubelet`, `kube-proxy`, …
    pub(in crate::sensors) name: &'static str,
    /// What contains it; the component's own name when nothing does.
    pub(in crate::sensors) flavour: &'static str,
}

/// The two lists of components.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sensors) enum Workload {
    /// A kubelet.
    Kubelet,
    /// kube-proxy or a part of the control plane.
    Component,
}

const COMPONENTS: [&str; 5] = ["kube-proxy", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"];

/// The role of the process that `process` is now.
pub(in crate::sensors) fn role_of(process: &ProcessDir) -> Option<Role> {
    let start = process.start_into("cmdline", START, &mut Buffer::default()).map(parse::arguments).unwrap_or_default();
    role(process.link("exe").ok().as_deref(), &start)
}

/// Enough of a command line to tell a component by its name.
const START: usize = 4096;
/// The kernel allows a program 6 MiB of arguments at most; components have 10 KiB.
const CAP: u64 = 8 * 1024 * 1024;
/// In a pod anybody may start processes of any name.
const POD_CAP: u64 = 64 * 1024;

/// What a process was started with, of components in full. Of others only the start is looked at: whoever starts many
/// processes with a MiB of arguments each does not use up what the sensor may read.
#[derive(Debug, Default)]
pub(super) struct CommandLine {
    pub(super) role: Option<Role>,
    /// Empty for what is no component.
    pub(super) argv: Vec<String>,
    /// Why a component's `argv` is empty.
    pub(super) unread: Option<Unavailable>,
}

impl CommandLine {
    pub(super) fn read(process: &ProcessDir, exe: Option<&str>, placement: Placement, buffer: &mut Buffer) -> Self {
        let start = process.start_into("cmdline", START, buffer);
        let first = start.as_ref().map(|start| parse::arguments(start)).unwrap_or_default();
        let Some(by_name) = role(exe, &first) else { return Self::default() };
        let whole = match start {
            Ok(start) if start.len() < START => Ok(start.to_vec()),
            Ok(_) => process.read_capped("cmdline", if placement == Placement::Pod { POD_CAP } else { CAP }),
            Err(error) => Err(error),
        };
        match whole {
            Ok(content) => {
                let argv = parse::arguments(&content);
                let role = role(exe, &argv);
                Self { argv: if role.is_some() { argv } else { Vec::new() }, role, unread: None }
            }
            Err(error) => {
                let why = error.unavailable();
                let why = Unavailable::new(why.reason, format!("its command line: {}", why.detail));
                Self { role: Some(by_name), argv: Vec::new(), unread: Some(why) }
            }
        }
    }
}

/// The role of a process; `None` for everything that is no part of Kubernetes.
pub(super) fn role(exe: Option<&str>, argv: &[String]) -> Option<Role> {
    if argv.iter().any(|argument| matches!(argument.as_str(), "--version" | "--help" | "-h")) {
        return None; // Somebody asks a component about itself: it serves nothing.
    }
    let base = |path: &str| path.trim_end_matches(" (deleted)").rsplit('/').next().unwrap_or_default().to_owned();
    let path = exe.unwrap_or_default();
    let names = [base(path), argv.first().map(|first| base(first)).unwrap_or_default()];
    let is = |wanted: &str| names.iter().any(|name| name == wanted);
    let verb = argv.get(1).map(String::as_str).unwrap_or_default();
    let kubelet = |flavour| Some(Role { workload: Workload::Kubelet, name: "kubelet", flavour });
    let component = |wanted: &'static str| Role { workload: Workload::Component, name: wanted, flavour: wanted };
    if is("kubelet") {
        return kubelet(if path.contains("/rancher/rke2/") { "rke2" } else { "kubelet" });
    }
    if is("kubelite") {
        return kubelet("kubelite");
    }
    // RKE2's own process holds no kubelet: it starts one of its own.
    if (is("k3s") || is("k3s-server") || is("k3s-agent")) && (matches!(verb, "server" | "agent") || is("k3s-server") || is("k3s-agent")) {
        return kubelet("k3s");
    }
    if is("hyperkube") {
        let verb = verb.trim_start_matches("--");
        return if verb == "kubelet" { kubelet("hyperkube") } else { COMPONENTS.into_iter().find(|name| verb == *name).map(component) };
    }
    COMPONENTS.into_iter().find(|name| is(name)).map(component)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("/usr/local/bin/kubelet", "kubelet --config=x", Some("kubelet"))]
    #[case("/usr/bin/kubelet (deleted)", "/usr/bin/kubelet", Some("kubelet"))]
    #[case("/var/lib/rancher/rke2/data/v1/bin/kubelet", "kubelet", Some("rke2"))]
    #[case("/var/lib/rancher/k3s/data/current/bin/k3s", "/usr/local/bin/k3s server", Some("k3s"))]
    #[case("/usr/local/bin/k3s", "k3s kubectl get pods", None)]
    #[case("/snap/microk8s/1/kubelite", "/snap/microk8s/1/kubelite --start-control-plane=true", Some("kubelite"))]
    #[case("/hyperkube", "hyperkube kubelet --v=2", Some("hyperkube"))]
    #[case("/usr/bin/etcd", "etcd", Some("etcd"))]
    #[case("/usr/bin/vim", "vim kubelet", None)]
    #[case("/usr/bin/kubelet", "kubelet --version", None)]
    fn components_are_recognised(#[case] exe: &str, #[case] argv: &str, #[case] flavour: Option<&str>) {
        let argv: Vec<String> = argv.split(' ').map(str::to_owned).collect();
        assert_eq!(role(Some(exe), &argv).map(|role| role.flavour), flavour);
    }
}
