//! From facts to inventory entries, within the node's budget.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::document::{
    AgentDocument, CertificateDocument, CertificateSaid, GroupDocument, GroupState, HandshakeDocument, ListenerDocument, NetworkDocument,
    NodeDocument, OwnerDocument, PodNetworkDocument, PrivilegesDocument, RootProcessDocument, SaidDocument, SettingDocument,
    ShownCertificateDocument,
};
use super::{chain, kinds, workloads};
use crate::entries::{Body, Entry, Key};
use crate::facts::{
    Address, Agent, BindScope, Certificate, CertificateFact, Group, Handshake, Listener, Listing, Network, NodeFacts, Observed, Placement,
    Process, Recreated, Setting, Settings, Unavailable,
};

/// The most inventory of one node, in bytes of keys and documents.
pub const MAX_NODE_BYTES: usize = 256 * 1024;

/// What each kind may take of it, in bytes. Shares, so that no kind can crowd out another: whoever opens a thousand ports
/// does not make the root processes disappear.
const SHARES: [(&str, usize); 16] = [
    (kinds::NODE, 4 * 1024),
    (kinds::AGENT, 2 * 1024),
    (kinds::OS, 4 * 1024),
    (kinds::KERNEL, 6 * 1024),
    (kinds::COMPONENT, 14 * 1024),
    (kinds::SETTING, 62 * 1024),
    (kinds::LISTENER, 34 * 1024),
    (kinds::PROBE, 10 * 1024),
    (kinds::CERTIFICATE, 14 * 1024),
    (kinds::HANDSHAKE, 8 * 1024),
    (kinds::NETWORK, 4 * 1024),
    (kinds::CONTAINER, 48 * 1024),
    (kinds::RUNTIME, 6 * 1024),
    (kinds::SYSTEM, 4 * 1024),
    (kinds::ROOT_PROCESS, 12 * 1024),
    (kinds::GROUP, 24 * 1024),
];

/// The longest detail kept of why a group is not known, in bytes.
const MAX_DETAIL_BYTES: usize = 256;

/// The inventory of one node.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// The entries in key order.
    pub entries: Vec<Entry>,
    /// How many documents did not fit, by kind.
    pub left_out: BTreeMap<String, usize>,
}

/// Builds the inventory of `facts`, observed at `at` (Unix milliseconds). The same facts give the same entries.
pub fn entries(facts: &NodeFacts, at: i64) -> Inventory {
    let mut shelf = Shelf { at, entries: BTreeMap::new(), used: BTreeMap::new(), left_out: BTreeMap::new() };
    node(&mut shelf, facts);
    if let Some(agent) = facts.agent.value().filter(|agent| agent.running) {
        shelf.put_shrinking(Group::Agent, kinds::AGENT, "self", own(agent));
    }
    if let Some(os) = facts.os.value() {
        shelf.put(Group::Os, kinds::OS, "self", os);
    }
    if let Some(kernel) = facts.kernel.value() {
        shelf.put_shrinking(Group::Kernel, kinds::KERNEL, "self", chain::kernel_variants(kernel));
    }
    components(&mut shelf, facts);
    listeners(&mut shelf, &facts.listeners);
    for probe in items(&facts.probes) {
        let name = format!("{}/{}/{}{}", probe.vantage, probe.address, probe.port, probe.path);
        shelf.put(Group::Probes, kinds::PROBE, &name, probe);
    }
    for handshake in items(&facts.handshakes) {
        let name = format!("{}/{}/{}", handshake.vantage, handshake.address, handshake.port);
        shelf.put_shrinking(Group::Handshakes, kinds::HANDSHAKE, &name, handshake_variants(handshake));
    }
    if let Some(network) = facts.network.value() {
        shelf.put_shrinking(Group::Network, kinds::NETWORK, "self", network_variants(network));
    }
    certificates(&mut shelf, &facts.certificates);
    for (subject, variants) in workloads::containers(&facts.containers) {
        shelf.put_shrinking(Group::Containers, kinds::CONTAINER, subject, variants);
    }
    for runtime in items(&facts.runtimes) {
        shelf.put_shrinking(Group::Runtimes, kinds::RUNTIME, &runtime.subject, chain::runtime_variants(runtime));
        settings(&mut shelf, Group::Runtimes, &runtime.subject, &runtime.settings, &Settings::new(), &Settings::new());
    }
    if let Some(system) = facts.system.value() {
        shelf.put_shrinking(Group::System, kinds::SYSTEM, "self", workloads::system(system));
    }
    root_processes(&mut shelf, facts);
    groups(&mut shelf, facts);
    let left_out = shelf.left_out.into_iter().fold(BTreeMap::new(), |mut sum, ((_, kind), count)| {
        *sum.entry(kind.to_owned()).or_default() += count;
        sum
    });
    Inventory { entries: shelf.entries.into_values().collect(), left_out }
}

/// The most capabilities, or things that it can do, that are named: there are 41 capabilities.
const MAX_PRIVILEGES: usize = 12;

/// The agent's account, each text cut to what a page shows; then without them, for texts that grow in JSON.
fn own(agent: &Agent) -> [AgentDocument; 2] {
    let Agent { spool, flapping, truncated_transitions, privileges, .. } = agent;
    let document = |most: usize| {
        let cut = |text: &str| crate::entries::cut(text, most).to_owned();
        AgentDocument {
            spool: spool.kind,
            path: cut(&spool.path),
            reason: cut(&spool.reason),
            detail: cut(&spool.detail),
            recreated: spool.recreated.as_ref().map(|anew| Recreated {
                set_aside: cut(&anew.set_aside),
                because: cut(&anew.because),
                at: anew.at,
            }),
            flapping: i64::try_from(flapping.items.len() + flapping.skipped.len()).unwrap_or(i64::MAX),
            truncated_transitions: *truncated_transitions,
            privileges: privileges.value().map(|privileges| {
                let cut_all = |texts: &mut dyn Iterator<Item = &String>| texts.take(MAX_PRIVILEGES).map(|text| cut(text)).collect();
                PrivilegesDocument {
                    uid: privileges.uid,
                    capabilities: cut_all(&mut privileges.capabilities.iter()),
                    lacks: cut_all(&mut privileges.lacks.iter()),
                    attempts: i64::try_from(privileges.attempts.len()).unwrap_or(i64::MAX),
                    worked: cut_all(&mut privileges.attempts.iter().filter(|attempt| !attempt.refused).map(|attempt| &attempt.what)),
                }
            }),
        }
    };
    [document(MAX_DETAIL_BYTES), document(32)]
}

/// Entries so far, with what they take and what did not fit.
struct Shelf {
    at: i64,
    entries: BTreeMap<Key, Entry>,
    used: BTreeMap<&'static str, usize>,
    left_out: BTreeMap<(Group, &'static str), usize>,
}

impl Shelf {
    /// Adds a document, or counts it as left out.
    fn put(&mut self, group: Group, kind: &'static str, name: &str, document: &impl Serialize) {
        if !self.try_put(kind, name, document) {
            *self.left_out.entry((group, kind)).or_default() += 1;
        }
    }

    /// Adds the first of several variants that fits, and counts the ones before it as left out.
    fn put_shrinking<D: Serialize>(&mut self, group: Group, kind: &'static str, name: &str, variants: impl IntoIterator<Item = D>) {
        for variant in variants {
            if self.try_put(kind, name, &variant) {
                return;
            }
            *self.left_out.entry((group, kind)).or_default() += 1;
        }
    }

    /// `true` also when the key is taken already: two sockets of one address and port are one entry.
    fn try_put(&mut self, kind: &'static str, name: &str, document: &impl Serialize) -> bool {
        let entry = serde_json::to_value(document).ok().and_then(|document| Entry::inventory(kind, name, &document, self.at));
        let Some(entry) = entry else { return false };
        if self.entries.contains_key(&entry.key) {
            return true;
        }
        let Body::Inventory(inventory) = &entry.body else { return false };
        let size = entry.key.as_str().len() + inventory.json.len();
        let share = SHARES.iter().find(|(shared, _)| *shared == kind).map_or(0, |(_, bytes)| *bytes);
        let used = self.used.entry(kind).or_default();
        if *used + size > share {
            return false;
        }
        *used += size;
        self.entries.insert(entry.key.clone(), entry);
        true
    }
}

/// The readable items of a list; none when the list is not known.
pub(super) fn items<T>(listing: &Observed<Listing<T>>) -> impl Iterator<Item = &T> {
    listing.value().into_iter().flat_map(|listing| &listing.items)
}

fn node(shelf: &mut Shelf, facts: &NodeFacts) {
    let node = facts.node.clone();
    let document = NodeDocument {
        name: node.name,
        role: node.role,
        provider: node.provider,
        profile: node.profile,
        profile_because: node.profile_because,
        process_events: node.process_events.value().copied(),
        process_events_unknown: node.process_events.unavailable().map(said),
    };
    shelf.put(Group::Node, kinds::NODE, "self", &document);
}

fn components(shelf: &mut Shelf, facts: &NodeFacts) {
    for kubelet in items(&facts.kubelets) {
        shelf.put(Group::Kubelets, kinds::COMPONENT, &kubelet.subject, &chain::kubelet_document(kubelet));
        settings(shelf, Group::Kubelets, &kubelet.subject, &kubelet.settings, &kubelet.observed, &kubelet.reported);
    }
    for component in items(&facts.components) {
        shelf.put(Group::Components, kinds::COMPONENT, &component.subject, &chain::component_document(component));
        settings(shelf, Group::Components, &component.subject, &component.settings, &Settings::new(), &Settings::new());
    }
}

fn settings(shelf: &mut Shelf, group: Group, subject: &str, effective: &Settings, observed: &Settings, reported: &Settings) {
    let names: BTreeSet<&String> = effective.keys().chain(observed.keys()).chain(reported.keys()).collect();
    for name in names {
        let known = |settings: &Settings| match settings.get(name) {
            Some(Observed::Known { value, .. }) => Some(value.clone()),
            _ => None,
        };
        let unknown = |settings: &Settings| settings.get(name).and_then(Observed::unavailable).map(said);
        let shown = |setting: Setting| SaidDocument { value: setting.value, source: setting.source.to_string() };
        let decided = known(effective);
        let declared = decided.iter().flat_map(|setting| &setting.declared);
        let whole = SettingDocument {
            value: decided.as_ref().map(|setting| setting.value.clone()),
            source: decided.as_ref().map(|setting| setting.source.to_string()),
            unknown: unknown(effective),
            declared: declared.map(|said| SaidDocument { value: said.value.clone(), source: said.source.to_string() }).collect(),
            observed: known(observed).map(shown),
            unobserved: unknown(observed),
            reported: known(reported).map(shown),
        };
        let entry = format!("{subject}/{name}");
        if !shelf.try_put(kinds::SETTING, &entry, &whole) {
            *shelf.left_out.entry((group, kinds::SETTING)).or_default() += 1;
            let decisive = SettingDocument { declared: Vec::new(), reported: None, ..whole };
            shelf.try_put(kinds::SETTING, &entry, &decisive);
        }
    }
}

/// The whole handshake, then without the suites, of which there can be dozens: which versions are taken is worth more.
fn handshake_variants(handshake: &Handshake) -> [HandshakeDocument; 2] {
    let versions = handshake.versions.value();
    let whole = HandshakeDocument {
        versions: versions.map(|versions| versions.items.iter().map(|version| (version.name.clone(), version.accepted)).collect()),
        suites: handshake.suites.value().map(|suites| suites.items.clone()),
        asks_certificate: handshake.asks_certificate.value().copied(),
        certificate: handshake.certificate.value().map(shown_certificate),
        issued_by: (!handshake.issued_by.is_empty()).then(|| handshake.issued_by.clone()),
    };
    let without_suites = HandshakeDocument { suites: None, ..whole.clone() };
    [whole, without_suites]
}

fn shown_certificate(certificate: &Certificate) -> ShownCertificateDocument {
    ShownCertificateDocument {
        name: told(&certificate.name),
        issuer: told(&certificate.issuer),
        self_signed: certificate.self_signed,
        not_before: certificate.not_before,
        not_after: certificate.not_after,
        key: certificate.key.clone(),
        key_bits: certificate.key_bits,
        fingerprint: certificate.fingerprint.clone(),
    }
}

fn listeners(shelf: &mut Shelf, listeners: &Observed<Listing<Listener>>) {
    let reach = |scope: BindScope| match scope {
        BindScope::All => 0,
        BindScope::Public => 1,
        BindScope::Node => 2,
        BindScope::Loopback => 3,
    };
    let mut documents: Vec<ListenerDocument> = items(listeners).map(listener).collect();
    // What reaches farthest comes first: it is kept when not all fit.
    documents.sort_by_cached_key(|l| {
        let name = (l.protocol.clone(), l.address.clone(), l.port);
        (reach(l.scope), name, l.owner_unknown.clone(), l.owner.clone())
    });
    for document in documents {
        let name = format!("{}/{}/{}", document.protocol, document.address, document.port);
        shelf.put(Group::Listeners, kinds::LISTENER, &name, &document);
    }
}

fn listener(listener: &Listener) -> ListenerDocument {
    let owner = listener.owner.value().map(|owner| OwnerDocument {
        name: owner.name.clone(),
        exe: owner.exe.clone(),
        component: owner.component.clone(),
        unit: owner.unit.clone(),
    });
    ListenerDocument {
        protocol: listener.protocol.clone(),
        address: listener.address.clone(),
        port: listener.port,
        scope: listener.scope,
        owner,
        owner_unknown: listener.owner.unavailable().map(said),
    }
}

/// The network with all its addresses, with the public ones only, and without any: the first that fits is kept.
fn network_variants(network: &Network) -> Vec<NetworkDocument> {
    let link_local = |address: &Address| address.address.starts_with("169.254.") || address.address.starts_with("fe80:");
    let reaching = |address: &&Address| address.scope != BindScope::Loopback && !link_local(address);
    let mut addresses = network.addresses.value().map(|listing| listing.items.iter().filter(reaching).cloned().collect::<Vec<_>>());
    if let Some(addresses) = &mut addresses {
        addresses.sort_by_cached_key(|address| (address.scope != BindScope::Public, address.address.clone(), address.interface.clone()));
    }
    let public = addresses.as_ref().map(|all| all.iter().filter(|address| address.scope == BindScope::Public).cloned().collect());
    let cni = network.cni.value().map(|cni| PodNetworkDocument {
        name: cni.name.clone(),
        plugins: cni.plugins.clone(),
        enforces_policies: cni.enforces_policies.clone(),
        because: crate::entries::cut(&cni.because, MAX_DETAIL_BYTES).to_owned(),
    });
    let firewall = network.firewall.value().cloned();
    [addresses, public, None].map(|addresses| NetworkDocument { addresses, firewall: firewall.clone(), cni: cni.clone() }).into()
}

fn certificates(shelf: &mut Shelf, certificates: &Observed<Listing<CertificateFact>>) {
    let mut facts: Vec<&CertificateFact> = items(certificates).collect();
    // What ends first comes first: it is kept when not all fit.
    facts.sort_by_key(|fact| (fact.certificate.value().map_or(i64::MIN, |certificate| certificate.not_after), &fact.subject));
    for fact in facts {
        shelf.put(Group::Certificates, kinds::CERTIFICATE, &fact.subject, &certificate(fact));
    }
}

fn certificate(fact: &CertificateFact) -> CertificateDocument {
    CertificateDocument {
        path: fact.path.clone(),
        role: fact.role.clone(),
        user: fact.user.clone(),
        issued_by: fact.issued_by.clone(),
        certificate: fact.certificate.value().cloned().map(|certificate| CertificateSaid {
            name: certificate.name,
            common_name: certificate.common_name,
            organizations: certificate.organizations,
            issuer: certificate.issuer,
            self_signed: certificate.self_signed,
            authority: certificate.authority,
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            key: certificate.key,
            key_bits: certificate.key_bits,
            signature: certificate.signature,
        }),
        unknown: fact.certificate.unavailable().map(said),
    }
}

fn root_processes(shelf: &mut Shelf, facts: &NodeFacts) {
    let mut by_subject: BTreeMap<&str, Vec<&Process>> = BTreeMap::new();
    // Those of a container are in its document.
    let elsewhere = |process: &Process| !process.container_id.is_empty() && facts.containers.value().is_some();
    for process in items(&facts.processes).filter(|process| process.uid == 0 && !elsewhere(process)) {
        by_subject.entry(&process.subject).or_default().push(process);
    }
    let workload_first = |process: &Process| match process.placement {
        Placement::Pod => 0,
        Placement::Machine | Placement::Other => 1,
        Placement::User => 2,
        Placement::Host => 3,
    };
    let mut subjects: Vec<(u8, &str, RootProcessDocument)> = Vec::new();
    for (subject, processes) in by_subject {
        let Some(first) =
            processes.iter().min_by_key(|process| (workload_first(process), process.exe.value().is_none(), process.exe.value()))
        else {
            continue;
        };
        subjects.push((workload_first(first), subject, root_process(first, &processes)));
    }
    // Workloads come first: they are kept when not all fit.
    subjects.sort_by_key(|(order, subject, _)| (*order, *subject));
    for (_, subject, document) in subjects {
        shelf.put(Group::Processes, kinds::ROOT_PROCESS, subject, &document);
    }
}

fn root_process(first: &Process, all: &[&Process]) -> RootProcessDocument {
    let namespaces: Option<Vec<bool>> = all.iter().map(|process| process.user_namespace.value().copied()).collect();
    let inside = first.inside_uid.value().copied();
    RootProcessDocument {
        exe: first.exe.value().cloned(),
        placement: first.placement,
        user_namespace: namespaces.map(|namespaces| namespaces.into_iter().all(|own| own)),
        inside_uid: inside.filter(|uid| all.iter().all(|process| process.inside_uid.value() == Some(uid))),
        no_new_privileges: all.iter().all(|process| process.no_new_privileges),
        seccomp: all.iter().map(|process| process.seccomp).min().unwrap_or_default(),
        count: i64::try_from(all.len()).unwrap_or(i64::MAX),
    }
}

/// Every group's state but that of `versions`, which is judged where it is shown.
fn groups(shelf: &mut Shelf, facts: &NodeFacts) {
    for group in Group::ALL.into_iter().filter(|group| *group != Group::Versions) {
        let unavailable = facts.unavailable(group);
        let (items, skipped) = sizes(facts, group);
        let left_out: usize = shelf.left_out.iter().filter(|((of, _), _)| *of == group).map(|(_, count)| count).sum();
        let document = GroupDocument {
            state: if unavailable.is_some() { GroupState::Unavailable } else { GroupState::Known },
            reason: unavailable.map(|why| why.reason),
            detail: unavailable.map(|why| told(&why.detail)),
            items,
            skipped,
            left_out: (left_out > 0).then_some(left_out),
        };
        shelf.put(group, kinds::GROUP, group.name(), &document);
    }
}

/// `(items, skipped)` of a group that is a list. Processes come and go all the time: their number is not told, because the
/// document would change, and travel, with every one of them.
fn sizes(facts: &NodeFacts, group: Group) -> (Option<usize>, Option<usize>) {
    fn of<T>(listing: &Observed<Listing<T>>) -> (Option<usize>, Option<usize>) {
        listing.value().map(|listing| (listing.items.len(), listing.skipped.len())).unzip()
    }
    match group {
        Group::Kubelets => of(&facts.kubelets),
        Group::Components => of(&facts.components),
        Group::Files => of(&facts.files),
        Group::Listeners => of(&facts.listeners),
        Group::Processes => (None, of(&facts.processes).1),
        Group::Probes => of(&facts.probes),
        Group::Certificates => of(&facts.certificates),
        Group::Handshakes => of(&facts.handshakes),
        Group::Containers => of(&facts.containers),
        Group::Runtimes => of(&facts.runtimes),
        Group::Node | Group::Os | Group::Kernel | Group::System | Group::Network | Group::Agent | Group::Versions => (None, None),
    }
}

/// `permission_denied: open /proc/7/fd`.
pub(super) fn said(why: &Unavailable) -> String {
    if why.detail.is_empty() {
        return why.reason.name().to_owned();
    }
    format!("{}: {}", why.reason.name(), told(&why.detail))
}

/// A detail without pids, which would change at every restart, and cut to its limit.
fn told(detail: &str) -> String {
    let mut parts = detail.split("/proc/");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        text.push_str(if rest.len() < part.len() { "/proc/<pid>" } else { "/proc/" });
        text.push_str(rest);
    }
    crate::entries::cut(&text, MAX_DETAIL_BYTES).to_owned()
}
