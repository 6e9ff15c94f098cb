//! A kubelet or a component with a command line and documents, derived.

use holdfast_checks::derive::derive;
use holdfast_checks::facts::*;
use serde_json::Value;

const NOW: i64 = 1_790_000_000_000;

pub(crate) fn known<T>(value: T) -> Observed<T> {
    Observed::known(value, Source::new(SourceKind::File, "test"), NOW)
}

pub(crate) fn main_file(kind: &str, path: &str, content: Value) -> ConfigDocument {
    document(DocumentKind::Main, kind, path, content)
}

pub(crate) fn drop_in(path: &str, content: Value) -> ConfigDocument {
    document(DocumentKind::DropIn, "KubeletConfiguration", path, content)
}

fn document(role: DocumentKind, kind: &str, path: &str, mut content: Value) -> ConfigDocument {
    if let Some(members) = content.as_object_mut().filter(|_| !kind.is_empty()) {
        members.insert("kind".into(), kind.into());
        members.insert("apiVersion".into(), "kubelet.config.k8s.io/v1beta1".into());
    }
    ConfigDocument { path: path.into(), kind: role, content: known(content) }
}

pub(crate) fn kubelet(version: &str, argv: Vec<String>, documents: Vec<ConfigDocument>) -> Kubelet {
    Kubelet {
        host_network: known(true),
        version: known(version.into()),
        argv,
        documents: known(Listing::complete(documents)),
        ..Kubelet::unread("kubelet", 7, "kubelet")
    }
}

pub(crate) fn words(argv: &str) -> Vec<String> {
    argv.split_whitespace().map(str::to_owned).collect()
}

pub(crate) fn node(kubelets: Vec<Kubelet>, components: Vec<Component>) -> NodeFacts {
    let identity = Node {
        name: "n".into(),
        uid: String::new(),
        cluster: "c".into(),
        role: "worker".into(),
        provider: "none".into(),
        profile: "kubeadm".into(),
        profile_because: String::new(),
        ..Node::unnamed()
    };
    let mut facts = NodeFacts::unread(identity, &Unavailable::new(Reason::NotSupported, "not in this test"));
    facts.kubelets = known(Listing::complete(kubelets));
    facts.components = known(Listing::complete(components));
    facts
}

pub(crate) fn derived(kubelet: Kubelet) -> Kubelet {
    let mut facts = node(vec![kubelet], vec![]);
    derive(&mut facts);
    facts.kubelets.value_mut().expect("known").items.remove(0)
}

pub(crate) fn derived_component(name: &str, argv: &str, documents: Vec<ConfigDocument>) -> Component {
    let documents = known(Listing::complete(documents));
    let mut facts = node(vec![], vec![Component { argv: words(argv), documents, ..Component::unread(name, 7) }]);
    derive(&mut facts);
    facts.components.value_mut().expect("known").items.remove(0)
}

/// The value of `name`, or `reason: detail`.
pub(crate) fn value(settings: &Settings, name: &str) -> Result<Value, String> {
    match settings.get(name).unwrap_or_else(|| panic!("there is no setting {name}")) {
        Observed::Known { value, .. } => Ok(value.value.clone()),
        Observed::Unavailable(why) => Err(format!("{}: {}", why.reason.name(), why.detail)),
    }
}
