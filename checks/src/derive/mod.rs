//! Derivation: what follows from facts without reading anything more.
//!
//! The only place that adds derived groups and members (effective settings, a component's own listeners and probe answers, who
//! can reach a file, what a container's processes are, version verdicts), and that leaves out processes too young to say anything about the node. Pure functions over
//! [`crate::facts`]; must not know checks or CEL.

mod access;
mod behaviour;
mod certificates;
mod components;
mod containers;
mod defaults;
mod differences;
mod fields;
mod flags;
mod kubelet;
mod pod_network;
mod processes;
mod quantity;
mod runtimes;
mod setting;
mod sockets;
mod sshd;
mod system;
mod values;

pub use certificates::dates;
pub use flags::last_flag;
pub use processes::{SETTLED_MS, comes_of_age_ms};
pub use runtimes::{imports_beside_the_file, last_argument};

use crate::facts::{NodeFacts, Observed, Reason};

/// Adds everything derived to facts fresh from sensors, but what needs a date: see [`dates`]. Idempotent.
pub fn derive(facts: &mut NodeFacts) {
    let NodeFacts {
        kernel,
        kubelets,
        components,
        files,
        listeners,
        probes,
        handshakes,
        processes,
        containers,
        network,
        runtimes,
        system,
        ..
    } = facts;
    processes::leave_out_young(processes);
    containers::add_running(containers, processes);
    if let Observed::Known { value: files, at, .. } = files {
        for file in &mut files.items {
            file.access = access::of(file, *at);
        }
    }
    system::of_kernel(kernel);
    if let Some(system) = system.value_mut() {
        system::of_journal(system);
    }
    if let Some(network) = network.value_mut() {
        pod_network::judge(&mut network.cni, processes, kubelets);
        sshd::add_defaults(&mut network.sshd);
    }
    if let Observed::Known { value: kubelets, at, .. } = kubelets {
        for kubelet in &mut kubelets.items {
            kubelet.settings = kubelet::settings(kubelet, *at);
            // In a network namespace of its own the sensor read them there.
            if kubelet.host_network.value() != Some(&false) || kubelet.listeners.value().is_none() {
                kubelet.listeners = sockets::listeners_of(kubelet.pid, &kubelet.host_network, listeners);
            }
            let asked = sockets::served_ports(&kubelet.settings, &["port", "readOnlyPort"]);
            let own = kubelet::ports(kubelet);
            let theirs = |port: i64| own.is_none_or(|own| own.contains(&port));
            if kubelet.host_network.value() == Some(&false) {
                let why = "it has a network namespace of its own, where nothing can be asked";
                kubelet.probes = Observed::unavailable_because(Reason::NotSupported, why);
                kubelet.handshakes = Observed::unavailable_because(Reason::NotSupported, why);
            } else {
                kubelet.probes = sockets::probes_of(&kubelet.listeners, probes, &asked, theirs);
                let encrypted = sockets::served_ports(&kubelet.settings, &["port"]);
                kubelet.handshakes = sockets::handshakes_of(&kubelet.listeners, handshakes, &encrypted, theirs);
            }
            kubelet.observed = behaviour::observed(kubelet);
            kubelet.reported = kubelet::reported(kubelet);
            kubelet.differences = differences::differences(kubelet);
            kubelet.unknown_fields = fields::unknown(&kubelet.documents, &kubelet.version);
        }
    }
    if let Observed::Known { value: components, at, .. } = components {
        for component in &mut components.items {
            component.settings = components::settings(component, *at);
            component.listeners = sockets::listeners_of(component.pid, &component.host_network, listeners);
            component.probes = sockets::probes_of(&component.listeners, probes, &[], |_| true);
            component.handshakes = sockets::handshakes_of(&component.listeners, handshakes, &[], |_| true);
        }
    }
    if let Observed::Known { value: runtimes, at, .. } = runtimes {
        for runtime in &mut runtimes.items {
            runtimes::derive(runtime, kubelets, kernel, listeners, *at);
        }
    }
}
