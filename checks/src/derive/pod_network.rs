//! Whether the pod network enforces network policies: what its configuration names, and which of the programs that do it run here.
//!
//! A plug-in's file alone is no evidence: the part that filters is a program beside it. Only programs on the host's network
//! count: that takes a privilege, so that no pod's process passes for one by its name.

use crate::facts::{Cni, Kubelet, Listing, Observed, Process};

/// Programs that enforce policies, whatever plug-in is configured: their `comm`, which has 15 bytes, and their name.
const ENFORCERS: [(&str, &str); 9] = [
    ("calico-node", "calico-node"),
    ("cilium-agent", "cilium-agent"),
    ("antrea-agent", "antrea-agent"),
    ("weave-npc", "weave-npc"),
    ("kube-router", "kube-router"),
    ("ovnkube", "ovnkube"),
    ("openshift-sdn-n", "openshift-sdn-node"),
    ("azure-npm", "azure-npm"),
    ("kube-network-po", "kube-network-policies"),
];

/// Plug-ins that enforce by a program of their own, and what to look for.
const WITH_AGENT: [(&str, &str); 6] = [
    ("calico", "calico-node"),
    ("cilium-cni", "cilium-agent"),
    ("antrea", "antrea-agent"),
    ("weave-net", "weave-npc"),
    ("ovn-k8s-cni-overlay", "ovnkube"),
    ("openshift-sdn", "openshift-sdn-node"),
];

/// Plug-ins that only connect.
const CONNECT_ONLY: [&str; 6] = ["flannel", "bridge", "ptp", "macvlan", "ipvlan", "host-device"];

/// Sets `enforces_policies` and `because`.
pub(super) fn judge(cni: &mut Observed<Cni>, processes: &Observed<Listing<Process>>, kubelets: &Observed<Listing<Kubelet>>) {
    let Some(cni) = cni.value_mut() else { return };
    let (enforces, because) = enforcement(&cni.plugins, processes, kubelets);
    enforces.clone_into(&mut cni.enforces_policies);
    cni.because = because;
}

fn enforcement(
    plugins: &[String],
    processes: &Observed<Listing<Process>>,
    kubelets: &Observed<Listing<Kubelet>>,
) -> (&'static str, String) {
    let running = match processes {
        Observed::Unavailable(why) => return ("unknown", format!("what runs here is not known: {}", why.detail)),
        Observed::Known { value, .. } => value,
    };
    let runs = |name: &str| running.items.iter().any(|process| process.name == name && process.host_network.value() == Some(&true));
    if let Some((_, shown)) = ENFORCERS.iter().find(|(name, _)| runs(name)) {
        return ("yes", format!("{shown} runs on this node"));
    }
    let has = |name: &str| plugins.iter().any(|plugin| plugin == name);
    if let Some((plugin, agent)) = WITH_AGENT.iter().find(|(plugin, _)| has(plugin)) {
        return ("unknown", format!("{plugin} is configured, and {agent}, which enforces for it, was not seen on this node"));
    }
    if has("aws-cni") {
        return (
            "unknown",
            "aws-cni enforces them only where its network policy agent is switched on, which cannot be seen here".to_owned(),
        );
    }
    if has("azure-vnet") {
        return ("unknown", "azure-vnet leaves them to an agent, and none that is known was seen on this node".to_owned());
    }
    if runs("kindnetd") {
        return ("unknown", "kindnetd enforces them from kind 0.24 on, and its version cannot be seen here".to_owned());
    }
    let Some(plugin) = CONNECT_ONLY.into_iter().find(|plugin| has(plugin)) else {
        return ("unknown", format!("nothing is known of {}", plugins.join(", ")));
    };
    if let Some(why) = inside_k3s(kubelets) {
        return why;
    }
    if !running.skipped.is_empty() {
        return (
            "unknown",
            format!("{plugin} does not enforce them, and not every process could be read to see whether something else does"),
        );
    }
    ("no", format!("{plugin} does not enforce them, and no program that does runs on this node"))
}

/// k3s enforces policies inside its own process unless its server is told not to.
fn inside_k3s(kubelets: &Observed<Listing<Kubelet>>) -> Option<(&'static str, String)> {
    let kubelet = kubelets.value()?.items.iter().find(|kubelet| kubelet.flavour == "k3s")?;
    let off = ["--disable-network-policy", "--disable-network-policy=true"];
    if kubelet.argv.iter().any(|argument| off.contains(&argument.as_str())) {
        return Some((
            "no",
            "k3s runs with --disable-network-policy, and no other program that enforces them runs on this node".to_owned(),
        ));
    }
    Some((
        "unknown",
        "k3s enforces them inside its own process unless its configuration says otherwise, which cannot be seen here".to_owned(),
    ))
}

#[cfg(test)]
mod tests;
