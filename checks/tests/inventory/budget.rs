//! A node cannot make its inventory larger than its budget, and cannot hide one kind behind another.

use holdfast_checks::entries::{Body, Entry, MAX_INVENTORY_BYTES};
use holdfast_checks::facts::*;
use holdfast_checks::inventory::{GroupDocument, KernelDocument, MAX_NODE_BYTES, SettingDocument, entries};
use proptest::prelude::*;

use crate::fixture::{denied, facts, known, listener, owner, process};

fn json(entry: &Entry) -> &str {
    match &entry.body {
        Body::Inventory(inventory) => &inventory.json,
        Body::Finding(_) => panic!("a finding in the inventory"),
    }
}

fn bytes(entries: &[Entry]) -> usize {
    entries.iter().map(|entry| entry.key.as_str().len() + json(entry).len()).sum()
}

fn group(entries: &[Entry], name: &str) -> GroupDocument {
    let key = format!("group/{name}");
    let entry = entries.iter().find(|entry| entry.key.as_str() == key).expect("every group is told");
    serde_json::from_str(json(entry)).expect("its own format")
}

#[test]
fn a_thousand_ports_do_not_hide_the_root_processes_and_are_counted() {
    let mut facts = facts();
    let mut ports: Vec<Listener> = (1..3000).map(|port| listener(port, "127.0.0.1", BindScope::Loopback, owner(1, "x"))).collect();
    ports.push(listener(10255, "::", BindScope::All, denied()));
    facts.listeners = known(Listing::complete(ports));
    let inventory = entries(&facts, 0);
    assert!(bytes(&inventory.entries) <= MAX_NODE_BYTES);
    let has = |key: &str| inventory.entries.iter().any(|entry| entry.key.as_str() == key);
    assert!(has("root-process/pod:default/web/app") && has("listener/tcp/::/10255"), "what matters most is kept");
    let kept = inventory.entries.iter().filter(|entry| entry.key.as_str().starts_with("listener/")).count();
    let listeners = group(&inventory.entries, "listeners");
    assert_eq!(listeners.items, Some(3000));
    assert_eq!(listeners.left_out, Some(3000 - kept));
    assert_eq!(inventory.left_out.get("listener").copied(), Some(3000 - kept));
    assert!(kept > 200);
}

#[test]
fn a_kernel_with_hundreds_of_others_installed_still_says_which_one_runs() {
    let mut facts = facts();
    let kernel = facts.kernel.value_mut().expect("known");
    let installed = |n: i32| InstalledKernel::unread(format!("6.1.0-{n}-amd64"), format!("/lib/modules/6.1.0-{n}-amd64"));
    kernel.installed = known(Listing::complete((0..500).map(installed).collect()));
    let inventory = entries(&facts, 0);
    let kernel = inventory.entries.iter().find(|entry| entry.key.as_str() == "kernel/self").expect("kept");
    let document: KernelDocument = serde_json::from_str(json(kernel)).expect("its own format");
    let releases: Vec<_> = document.installed.iter().flatten().map(|one| one.release.as_str()).collect();
    assert_eq!((document.release.as_str(), releases), ("6.1.0-40-amd64", vec!["6.1.0-40-amd64"]));
    assert_eq!(document.skipped["installed"], ["too_large: 499 more, which did not fit into the inventory"]);
    assert_eq!(group(&inventory.entries, "kernel").left_out, Some(1));
}

/// Every component of a control-plane node beside a kubelet of which each setting is said in a file, in two drop-ins and by the
/// kubelet itself, and most by a flag too: more than any node has.
#[test]
fn the_settings_of_a_whole_control_plane_node_fit() {
    let content = |port: i64| {
        let document: serde_json::Value = serde_json::from_str(include_str!("../data/configz/hardened/configz.json")).expect("JSON");
        let mut document = document.as_object().cloned().expect("an object");
        document.insert("readOnlyPort".into(), port.into());
        serde_json::Value::Object(document)
    };
    let document = |path: &str, kind, port| ConfigDocument { path: path.into(), kind, content: known(content(port)) };
    let mut facts = facts();
    let kubelet = facts.kubelets.value_mut().and_then(|list| list.items.first_mut()).expect("one");
    kubelet.documents = known(Listing::complete(vec![
        document("/var/lib/kubelet/config.yaml", DocumentKind::Main, 0),
        document("/etc/kubernetes/kubelet.conf.d/10-eviction-and-reservations.conf", DocumentKind::DropIn, 10255),
        document("/etc/kubernetes/kubelet.conf.d/20-site.conf", DocumentKind::DropIn, 0),
    ]));
    kubelet.configz = known(content(0));
    kubelet.argv.extend(["--config-dir=/etc/kubernetes/kubelet.conf.d".into(), "--feature-gates=A=true".into()]);
    for flag in ["anonymous-auth=false", "tls-min-version=VersionTLS12", "max-pods=110", "eviction-hard=memory.available<5%"] {
        kubelet.argv.push(format!("--{flag}"));
    }
    facts.components = known(Listing::complete(
        ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd", "kube-proxy"]
            .into_iter()
            .map(|name| Component { argv: vec![name.into()], ..Component::unread(name, 5) })
            .collect(),
    ));
    holdfast_checks::derive::derive(&mut facts);
    let inventory = entries(&facts, 0);
    let settings = || inventory.entries.iter().filter(|entry| entry.key.parts().0 == "setting");
    let size: usize = settings().map(|entry| entry.key.as_str().len() + json(entry).len()).sum();
    println!("{} settings take {size} bytes", settings().count());
    assert_eq!(inventory.left_out.get("setting"), None, "{size} bytes");
    assert!(settings().count() > 120);
    let port = settings().find(|entry| entry.key.as_str() == "setting/kubelet/readOnlyPort").expect("there");
    let port: SettingDocument = serde_json::from_str(json(port)).expect("its own format");
    assert_eq!(port.declared.len(), 3);
    assert!(port.reported.is_some() && (port.observed.is_some() || port.unobserved.is_some()));
}

#[test]
fn a_node_with_thousands_of_addresses_still_tells_the_public_ones_and_its_pod_network() {
    let mut facts = facts();
    let network = facts.network.value_mut().expect("known");
    let addresses = &mut network.addresses.value_mut().expect("known").items;
    let service = |n: i32| Address { interface: String::new(), address: format!("10.96.{}.{}", n / 256, n % 256), scope: BindScope::Node };
    addresses.extend((0..4000).map(service));
    let inventory = entries(&facts, 0);
    let entry = inventory.entries.iter().find(|entry| entry.key.as_str() == "network/self").expect("kept");
    assert!(json(entry).contains("203.0.114.9") && !json(entry).contains("10.96.") && json(entry).contains("calico-node"));
    assert_eq!(group(&inventory.entries, "network").left_out, Some(1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 50, ..ProptestConfig::default() })]

    #[test]
    fn no_facts_exceed_the_budget(
        piece in prop_oneof![Just("\u{1}".to_owned()), Just("é\"".to_owned()), ".{1,8}"],
        times in 0..600usize,
        count in 0..400i64,
    ) {
        let text = piece.repeat(times);
        let mut facts = facts();
        facts.node.profile_because.clone_from(&text);
        facts.os.value_mut().expect("known").fields.insert("X".into(), text.clone());
        facts.kernel.value_mut().expect("known").version.clone_from(&text);
        facts.files = Observed::unavailable_because(Reason::Malformed, text.clone());
        facts.containers = Observed::unavailable_because(Reason::Malformed, text.clone());
        let recreated = Some(Recreated { set_aside: text.clone(), because: text.clone(), at: 0 });
        let spool = SpoolState { kind: SpoolKind::Memory, path: text.clone(), reason: "io".into(), detail: text.clone(), recreated };
        facts.agent = known(Agent { running: true, spool, ..Agent::not_running() });
        let named = |n: i64| format!("{n}{text}");
        let address = |n| listener(n, &named(n), BindScope::All, owner(n, &text));
        facts.listeners = known(Listing::complete((0..count).map(address).collect()));
        facts.processes = known(Listing::complete((0..count).map(|n| process(n, &named(n), 0, Placement::Pod)).collect()));
        let kubelet = facts.kubelets.value_mut().and_then(|list| list.items.first_mut()).expect("one");
        for n in 0..count {
            let value = serde_json::Value::String(text.clone());
            kubelet.settings.insert(named(n), known(Setting { value, source: Source::new(SourceKind::Flag, text.clone()), declared: vec![] }));
        }
        let inventory = entries(&facts, 0);
        prop_assert!(bytes(&inventory.entries) <= MAX_NODE_BYTES);
        prop_assert!(inventory.entries.iter().all(|entry| json(entry).len() <= MAX_INVENTORY_BYTES));
        let kept = |kind: &str| inventory.entries.iter().filter(|entry| entry.key.parts().0 == kind).count();
        prop_assert_eq!(kept("group"), Group::ALL.len() - 1, "every group but the verdicts on versions is told");
        prop_assert_eq!(kept("agent"), 1, "without its texts where they do not fit");
        let left_out = |kind: &str| inventory.left_out.get(kind).copied().unwrap_or_default();
        let count = usize::try_from(count).expect("small");
        prop_assert_eq!(kept("listener") + left_out("listener"), count, "kept or counted");
        prop_assert_eq!(kept("root-process") + left_out("root-process"), count);
    }
}
