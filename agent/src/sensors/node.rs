//! Who the node is, and which distribution of Kubernetes it runs.

use holdfast_checks::facts::{Component, Kubelet, Listing, Node, NodeFacts, Observed, Os, Process, Source, SourceKind};

use super::components::OWN;
use super::config::flag;
use super::{CriEndpoint, SensorOptions};
use crate::host::Host;
use crate::profiles::{Clues, Machine, Profiles};

/// What the node group builds on.
pub(super) struct Running {
    kubelets: Observed<Listing<Kubelet>>,
    components: Observed<Listing<Component>>,
    os: Observed<Os>,
    /// The program of the node's own kubelet; empty where it is not readable.
    exe: String,
}

impl Running {
    pub(super) fn of(facts: &NodeFacts) -> Self {
        let own = own(&facts.kubelets);
        let process = |pid| facts.processes.value()?.items.iter().find(|process: &&Process| process.pid == pid);
        let exe = own.and_then(|kubelet| process(kubelet.pid)?.exe.value().cloned()).unwrap_or_default();
        Self { kubelets: facts.kubelets.clone(), components: facts.components.clone(), os: facts.os.clone(), exe }
    }
}

/// The node's own kubelet. Those of containers say nothing about this node.
fn own(kubelets: &Observed<Listing<Kubelet>>) -> Option<&Kubelet> {
    kubelets.value()?.items.iter().find(|kubelet| kubelet.subject == OWN)
}

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
        cri_allowed: Observed::known(
            options.cri != CriEndpoint::Off,
            Source::new(SourceKind::Agent, options.cri.to_string()),
            super::now(),
        ),
        ..Node::unnamed()
    }
}

/// The node, from its processes and the files by which distributions are told apart.
pub(super) fn read(options: &SensorOptions, host: &Host, running: &Running, profiles: &Profiles) -> Node {
    let Running { kubelets, components, .. } = running;
    let kubelet = own(kubelets);
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
    let machine = machine(host);
    machine.provider().name().clone_into(&mut node.provider);
    let (profile, because) = match (kubelets.unavailable(), kubelet) {
        (Some(why), _) => ("none", format!("the kubelet could not be looked for: {}", why.detail)),
        (None, None) if control_plane => ("plain", "a kube-apiserver runs here, no kubelet does".to_owned()),
        (None, None) if kubelets.value().is_some_and(|listing| !listing.items.is_empty()) => {
            ("none", "the kubelets that run here are those of containers, none is this node's own".to_owned())
        }
        (None, None) => ("none", "no kubelet runs here".to_owned()),
        (None, Some(kubelet)) => {
            let chosen = profiles.choose(&Clues {
                flavour: &kubelet.flavour,
                exe: &running.exe,
                flag: &|name| flag(&kubelet.argv, name).map(str::to_owned),
                os: running.os.value(),
                machine: &machine,
                present: &|path| present(host, path),
                version: kubelet.version.value().map(String::as_str),
            });
            chosen.provider.name().clone_into(&mut node.provider);
            node.profile = chosen.name;
            node.profile_because = chosen.because;
            return node;
        }
    };
    profile.clone_into(&mut node.profile);
    node.profile_because = because;
    node
}

/// Is it there: on the host, or in what a recording lists.
fn present(host: &Host, path: &str) -> bool {
    let listed = host.recording.as_ref().is_some_and(|recording| recording.files.contains_key(path));
    listed || host.root.metadata(path).is_ok()
}

fn machine(host: &Host) -> Machine {
    let said = |name: &str| host.root.read_text(&format!("/sys/class/dmi/id/{name}")).unwrap_or_default();
    Machine { vendor: said("sys_vendor"), product: said("product_name"), chassis: said("chassis_asset_tag") }
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
