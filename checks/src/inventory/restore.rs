//! From stored inventory back to the facts that the collector judges: who the node is, its system, its kernel, its runtimes, what of
//! Kubernetes runs there with its settings, what listens, and its certificates.
//!
//! The documents come from a node and are hostile: one that does not parse makes its group unavailable, nothing more.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use super::document::{
    CertificateDocument, ComponentDocument, GroupDocument, GroupState, KernelDocument, ListenerDocument, NodeDocument, RuntimeDocument,
    SaidDocument, SettingDocument,
};
use super::{chain, kinds};
use crate::entries::MAX_INVENTORY_BYTES;
use crate::facts::{
    Certificate, CertificateFact, Component, Kubelet, Listener, Listing, Node, NodeFacts, Observed, Os, Owner, Reason, Runtime, Setting,
    Settings, Skipped, Source, SourceKind, Unavailable,
};

/// Rebuilds what [`crate::versions`] and checks `judged_by: collector` read. Documents of other kinds are skipped.
///
/// `name` and `cluster` come from the node's identity, never from its documents. Everything that is not part of the inventory is
/// unavailable; times are 0, because the inventory has none. Certificates come without alternative names and fingerprints, settings
/// without what each place says. A setting whose document is not given is missing.
pub fn facts_for_collector<'a>(name: &str, cluster: &str, documents: impl Iterator<Item = (&'a str, &'a str, &'a str)>) -> NodeFacts {
    let mut found = Found::default();
    for (kind, document, json) in documents {
        match (kind, document) {
            (kinds::NODE, "self") => found.node = read::<NodeDocument>("node/self", json).ok(),
            (kinds::OS, "self") => found.os = Some(read("os/self", json)),
            (kinds::KERNEL, "self") => found.kernel = Some(read("kernel/self", json)),
            (kinds::COMPONENT, subject) => found.component(subject, read("component", json)),
            (kinds::RUNTIME, subject) => {
                let read = read(&format!("runtime/{subject}"), json);
                found.runtimes.push(read.map(|document: RuntimeDocument| chain::runtime(subject, document)));
            }
            (kinds::GROUP, "runtimes") => found.runtimes_group = read("group/runtimes", json).ok(),
            (kinds::SETTING, name) => found.setting(name, read(&format!("setting/{name}"), json)),
            (kinds::LISTENER, _) => found.listeners.push(read("listener", json)),
            (kinds::GROUP, "kubelets") => found.kubelets_group = read("group/kubelets", json).ok(),
            (kinds::GROUP, "components") => found.components_group = read("group/components", json).ok(),
            (kinds::GROUP, "listeners") => found.listeners_group = read("group/listeners", json).ok(),
            (kinds::CERTIFICATE, subject) => {
                found.certificates.push((subject.to_owned(), read(&format!("certificate/{subject}"), json)));
            }
            (kinds::GROUP, "certificates") => found.certificates_group = read("group/certificates", json).ok(),
            (kinds::GROUP, "os") => found.os_group = read("group/os", json).ok(),
            (kinds::GROUP, "kernel") => found.kernel_group = read("group/kernel", json).ok(),
            _ => {}
        }
    }
    found.settle();
    let said = |text: fn(&NodeDocument) -> &String| found.node.as_ref().map(text).cloned().unwrap_or_default();
    let node = Node {
        name: name.to_owned(),
        uid: String::new(),
        cluster: cluster.to_owned(),
        role: said(|node| &node.role),
        provider: said(|node| &node.provider),
        profile: said(|node| &node.profile),
        profile_because: said(|node| &node.profile_because),
        ..Node::unnamed()
    };
    let mut facts = NodeFacts::unread(node, &not_part());
    facts.os = observed(found.os, found.os_group, "os");
    facts.kernel = observed(found.kernel.map(|read| read.map(chain::kernel)), found.kernel_group, "kernel");
    facts.kubelets = listing(found.kubelets, found.kubelets_group, "kubelets");
    facts.components = listing(found.components, found.components_group, "components");
    facts.runtimes = listing(found.runtimes, found.runtimes_group, "runtimes");
    facts.listeners = listing(found.listeners, found.listeners_group, "listeners")
        .map(|listeners| Listing { items: listeners.items.into_iter().map(listener).collect(), skipped: listeners.skipped });
    facts.certificates = certificates(found.certificates, found.certificates_group);
    facts
}

/// The documents that were there, parsed or not.
#[derive(Default)]
struct Found {
    node: Option<NodeDocument>,
    os: Option<Result<Os, Unavailable>>,
    kernel: Option<Result<KernelDocument, Unavailable>>,
    certificates: Vec<(String, Result<CertificateDocument, Unavailable>)>,
    os_group: Option<GroupDocument>,
    kernel_group: Option<GroupDocument>,
    certificates_group: Option<GroupDocument>,
    kubelets: Vec<Result<Kubelet, Unavailable>>,
    kubelets_group: Option<GroupDocument>,
    components: Vec<Result<Component, Unavailable>>,
    components_group: Option<GroupDocument>,
    runtimes: Vec<Result<Runtime, Unavailable>>,
    runtimes_group: Option<GroupDocument>,
    /// Effective and observed settings, by the subject they are of.
    settings: BTreeMap<String, (Settings, Settings)>,
    listeners: Vec<Result<ListenerDocument, Unavailable>>,
    listeners_group: Option<GroupDocument>,
}

impl Found {
    /// A process of Kubernetes: what the inventory has of it, and nothing else.
    fn component(&mut self, subject: &str, read: Result<ComponentDocument, Unavailable>) {
        match read {
            Ok(document) if document.name == "kubelet" => self.kubelets.push(Ok(chain::kubelet(subject, document))),
            Ok(document) => self.components.push(Ok(chain::component(subject, document))),
            // Which of the two it was is not known: it may be missing from either.
            Err(why) => {
                self.kubelets.push(Err(why.clone()));
                self.components.push(Err(why));
            }
        }
    }

    /// One setting, called `<subject>/<setting>`.
    fn setting(&mut self, name: &str, read: Result<SettingDocument, Unavailable>) {
        let Some((subject, name)) = name.rsplit_once('/') else { return };
        let (effective, observed) = self.settings.entry(subject.to_owned()).or_default();
        let document = match read {
            Ok(document) => document,
            Err(why) => {
                effective.insert(name.to_owned(), Observed::Unavailable(why));
                return;
            }
        };
        let whole = document.value.zip(document.source).map(|(value, source)| SaidDocument { value, source });
        for (settings, said, unknown) in [(effective, whole, document.unknown), (observed, document.observed, document.unobserved)] {
            match (said, unknown) {
                (Some(said), _) => {
                    let source = source(&said.source);
                    let setting = Setting { value: said.value, source: source.clone(), declared: Vec::new() };
                    settings.insert(name.to_owned(), Observed::known(setting, source, 0));
                }
                (None, Some(why)) => {
                    settings.insert(name.to_owned(), Observed::Unavailable(because(&why)));
                }
                (None, None) => {}
            }
        }
    }

    /// Gives what the settings are of its settings.
    fn settle(&mut self) {
        for kubelet in self.kubelets.iter_mut().flatten() {
            (kubelet.settings, kubelet.observed) = self.settings.remove(&kubelet.subject).unwrap_or_default();
        }
        for component in self.components.iter_mut().flatten() {
            component.settings = self.settings.remove(&component.subject).unwrap_or_default().0;
        }
        for runtime in self.runtimes.iter_mut().flatten() {
            runtime.settings = self.settings.remove(&runtime.subject).unwrap_or_default().0;
        }
    }
}

/// A source as it is shown to people, read back.
fn source(text: &str) -> Source {
    let (name, place) = text.split_once(' ').unwrap_or((text, ""));
    match SourceKind::ALL.into_iter().find(|kind| kind.name() == name) {
        Some(kind) => Source::new(kind, place),
        // A newer agent's.
        None => Source::new(SourceKind::Agent, text),
    }
}

fn read<T: DeserializeOwned>(key: &str, json: &str) -> Result<T, Unavailable> {
    if json.len() > MAX_INVENTORY_BYTES {
        return Err(Unavailable::new(Reason::TooLarge, format!("inventory document {key} is {} bytes long", json.len())));
    }
    serde_json::from_str(json).map_err(|error| Unavailable::new(Reason::Malformed, format!("inventory document {key}: {error}")))
}

fn observed<T>(document: Option<Result<T, Unavailable>>, group: Option<GroupDocument>, name: &str) -> Observed<T> {
    match (document, group) {
        (Some(Ok(value)), _) => known(value),
        (Some(Err(why)), _) => Observed::Unavailable(why),
        (None, Some(GroupDocument { state: GroupState::Unavailable, reason: Some(reason), detail, .. })) => {
            Observed::unavailable_because(reason, detail.unwrap_or_default())
        }
        (None, _) => Observed::unavailable_because(Reason::NotPresent, format!("the node has not reported {name}")),
    }
}

/// The documents of a group that is a list. Those that do not parse, and those the node could not send, are skipped.
fn listing<T>(documents: Vec<Result<T, Unavailable>>, group: Option<GroupDocument>, name: &str) -> Observed<Listing<T>> {
    let Some(group) = group else {
        return Observed::unavailable_because(Reason::NotPresent, format!("the node has not reported {name}"));
    };
    if let GroupDocument { state: GroupState::Unavailable, reason, detail, .. } = group {
        return Observed::unavailable_because(reason.unwrap_or(Reason::NotSupported), detail.unwrap_or_default());
    }
    let mut listing = Listing::complete(Vec::new());
    for document in documents {
        match document {
            Ok(item) => listing.items.push(item),
            Err(why) => listing.skipped.push(Skipped { what: why.detail, reason: why.reason }),
        }
    }
    let lost = |count: Option<usize>, what: &str, reason| {
        count.filter(|count| *count > 0).map(|count| Skipped { what: format!("{count} of {name} that {what}"), reason })
    };
    listing.skipped.extend(lost(group.skipped, "the node could not read", Reason::NotSupported));
    listing.skipped.extend(lost(group.left_out, "did not fit into the inventory", Reason::TooLarge));
    known(listing)
}

fn listener(document: ListenerDocument) -> Listener {
    let unknown = document.owner_unknown.unwrap_or_else(|| "the node has not reported it".to_owned());
    let owner =
        document.owner.map(|owner| Owner { pid: 0, name: owner.name, exe: owner.exe, component: owner.component, unit: owner.unit });
    Listener {
        subject: format!("port:{}/{}", document.protocol, document.port),
        protocol: document.protocol,
        address: document.address,
        port: document.port,
        scope: document.scope,
        owner: owner.map_or_else(|| Observed::unavailable_because(Reason::NotSupported, unknown), known),
    }
}

/// What the node left out, or could not read, is missing here too.
fn certificates(
    documents: Vec<(String, Result<CertificateDocument, Unavailable>)>,
    group: Option<GroupDocument>,
) -> Observed<Listing<CertificateFact>> {
    let holes = match &group {
        Some(GroupDocument { state: GroupState::Known, skipped, left_out, .. }) => {
            skipped.unwrap_or(0).saturating_add(left_out.unwrap_or(0))
        }
        _ => return observed(None, group, "certificates"),
    };
    let mut listing = Listing::complete(Vec::new());
    for (subject, document) in documents {
        match document {
            Ok(document) => listing.items.push(certificate(subject, document)),
            Err(why) => listing.skipped.push(Skipped { what: subject, reason: why.reason }),
        }
    }
    if holes > 0 {
        listing
            .skipped
            .push(Skipped { what: "certificates that the node could not read or report".to_owned(), reason: Reason::NotPresent });
    }
    known(listing)
}

fn certificate(subject: String, document: CertificateDocument) -> CertificateFact {
    let CertificateDocument { path, role, user, issued_by, certificate, unknown } = document;
    let said = certificate.map(|said| Certificate {
        name: said.name,
        common_name: said.common_name,
        organizations: said.organizations,
        issuer: said.issuer,
        self_signed: said.self_signed,
        authority: said.authority,
        not_before: said.not_before,
        not_after: said.not_after,
        lifetime_days: said.not_after.saturating_sub(said.not_before).div_euclid(24 * 60 * 60),
        key: said.key,
        key_bits: said.key_bits,
        signature: said.signature,
        names: Vec::new(),
        fingerprint: String::new(),
        key_fingerprint: String::new(),
    });
    let why = || {
        let Some(text) = unknown.as_deref() else {
            return Unavailable::new(Reason::Malformed, "the inventory document neither tells the certificate nor why it is not known");
        };
        because(text)
    };
    CertificateFact {
        subject,
        path,
        role,
        user,
        certificate: said.map_or_else(|| Observed::Unavailable(why()), known),
        issued_by,
        days_left: missing(),
    }
}

/// The reason that a document gives: a name, `: ` and the detail.
pub(super) fn because(text: &str) -> Unavailable {
    let (name, detail) = text.split_once(": ").unwrap_or((text, ""));
    // One that is not known here is a newer agent's.
    let reason = serde_json::from_value(name.into()).unwrap_or(Reason::NotSupported);
    Unavailable::new(reason, if detail.is_empty() { text } else { detail })
}

pub(super) fn known<T>(value: T) -> Observed<T> {
    Observed::known(value, Source::new(SourceKind::Agent, "inventory"), 0)
}

fn not_part() -> Unavailable {
    Unavailable::new(Reason::NotSupported, "not part of the inventory")
}

fn missing<T>() -> Observed<T> {
    Observed::Unavailable(not_part())
}

/// A member that the node left out because it did not know it.
pub(super) fn reported<T>(value: Option<T>) -> Observed<T> {
    value.map_or_else(|| Observed::unavailable_because(Reason::NotSupported, "the node has not reported it"), known)
}
