//! Who the node is, and which distribution of Kubernetes it runs.

use holdfast_checks::facts::{Component, Kubelet, Listing, Node, Observed};

use super::SensorOptions;
use super::components::OWN;
use super::config::flag;
use crate::host::Host;

/// What the node group builds on.
type Running = (Observed<Listing<Kubelet>>, Observed<Listing<Component>>);

/// The node before anything was read.
pub(super) fn unread(options: &SensorOptions, host: &Host) -> Node {
    Node {
        name: options.node_name.clone().unwrap_or_else(|| host_name(host).unwrap_or_default()),
        uid: String::new(),
        cluster: options.cluster.clone(),
        role: "none".to_owned(),
        provider: "none".to_owned(),
        profile: "none".to_owned(),
        profile_because: "nothing was read yet".to_owned(),
    }
}

/// The node, from its processes and the files by which distributions are told apart.
pub(super) fn read(options: &SensorOptions, host: &Host, (kubelets, components): &Running) -> Node {
    let kubelet = kubelets.value().and_then(|listing| listing.items.iter().find(|kubelet| kubelet.subject == OWN));
    let mut node = unread(options, host);
    if node.name.is_empty() {
        let named = kubelet.and_then(|kubelet| flag(&kubelet.argv, "hostname-override"));
        named.unwrap_or("unnamed").clone_into(&mut node.name);
    }
    let control_plane = components.value().is_some_and(|listing| listing.items.iter().any(|component| component.name == "kube-apiserver"));
    let embedded = kubelet.is_some_and(|kubelet| {
        let server = kubelet.flavour == "k3s" && kubelet.argv.get(1).is_some_and(|verb| verb == "server");
        server || kubelet.argv.iter().any(|argument| argument == "--start-control-plane=true")
    });
    let role = if control_plane || embedded {
        "control-plane"
    } else if kubelet.is_some() {
        "worker"
    } else {
        "none"
    };
    role.clone_into(&mut node.role);
    let (profile, because) = profile(host, kubelets, kubelet, control_plane);
    profile.clone_into(&mut node.profile);
    node.profile_because = because;
    node
}

fn profile(host: &Host, kubelets: &Observed<Listing<Kubelet>>, kubelet: Option<&Kubelet>, control_plane: bool) -> (&'static str, String) {
    if let Some(why) = kubelets.unavailable() {
        return ("none", format!("the kubelet could not be looked for: {}", why.detail));
    }
    let Some(kubelet) = kubelet else {
        if control_plane {
            return ("plain", "a kube-apiserver runs here, no kubelet does".to_owned());
        }
        return ("none", "no kubelet runs here".to_owned());
    };
    let flavour = |profile| (profile, format!("the kubelet runs as {}", kubelet.flavour));
    match kubelet.flavour.as_str() {
        "k3s" => return flavour("k3s"),
        "rke2" => return flavour("rke2"),
        "kubelite" => return flavour("microk8s"),
        _ => {}
    }
    for path in ["/var/lib/kubelet/kubeadm-flags.env", "/etc/kubernetes/kubelet.conf"] {
        if host.root.metadata(path).is_ok() {
            return ("kubeadm", format!("{path} is there"));
        }
    }
    ("plain", "a kubelet runs here, and no file of a known distribution was found".to_owned())
}

fn host_name(host: &Host) -> Option<String> {
    let name = if host.recording.is_none() && host.live() {
        nix::sys::utsname::uname().ok()?.nodename().to_string_lossy().into_owned()
    } else {
        host.root.read_text("/etc/hostname").ok()?
    };
    let name: String = name.trim().chars().take(253).collect();
    (!name.is_empty()).then_some(name)
}
