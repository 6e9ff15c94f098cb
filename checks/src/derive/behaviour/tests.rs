use serde_json::{Value, json};

use crate::derive::derive;
use crate::facts::*;

const PID: i64 = 7;

fn known<T>(value: T) -> Observed<T> {
    Observed::known(value, Source::new(SourceKind::Socket, "test"), 1)
}

fn all<T>(items: Vec<T>) -> Observed<Listing<T>> {
    known(Listing::complete(items))
}

fn listener(port: i64, scope: BindScope) -> Listener {
    let address = match scope {
        BindScope::All => "::",
        BindScope::Loopback => "127.0.0.1",
        BindScope::Node => "192.0.2.2",
        BindScope::Public => "198.51.100.7",
    };
    let owner = Owner { pid: PID, name: "kubelet".into(), exe: String::new(), component: "kubelet".into(), unit: String::new() };
    Listener { subject: format!("port:tcp/{port}"), protocol: "tcp".into(), address: address.into(), port, scope, owner: known(owner) }
}

fn probe(port: i64, tls: bool, path: &str, status: i64) -> Probe {
    Probe {
        vantage: "node".into(),
        address: "127.0.0.1".into(),
        port,
        path: path.into(),
        tls,
        outcome: ProbeOutcome::Answered,
        status,
        body: String::new(),
    }
}

fn handshake(port: i64, accepted: &[bool]) -> Handshake {
    let names = ["TLS 1.0", "TLS 1.1", "TLS 1.2", "TLS 1.3"];
    let versions = names.into_iter().zip(accepted).map(|(name, accepted)| TlsVersion { name: name.into(), accepted: *accepted });
    Handshake {
        vantage: "node".into(),
        address: "127.0.0.1".into(),
        port,
        versions: all(versions.collect()),
        suites: all(vec!["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256".into()]),
        certificate: Observed::unavailable_because(Reason::NotSupported, "not here"),
        issued_by: String::new(),
        asks_certificate: known(true),
    }
}

fn node(argv: &str, listeners: Vec<Listener>, probes: Vec<Probe>) -> NodeFacts {
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
    facts.kubelets = all(vec![Kubelet {
        host_network: known(true),
        version: known("v1.36.2".into()),
        argv: argv.split_whitespace().map(str::to_owned).collect(),
        documents: all(vec![]),
        ..Kubelet::unread("kubelet", PID, "kubelet")
    }]);
    facts.listeners = all(listeners);
    facts.probes = all(probes);
    facts.handshakes = all(vec![handshake(10250, &[false, false, true, true])]);
    facts
}

fn usual() -> (Vec<Listener>, Vec<Probe>) {
    (
        vec![listener(10250, BindScope::All), listener(10248, BindScope::Loopback)],
        vec![probe(10250, true, "/pods", 401), probe(10250, true, "/", 404), probe(10248, false, "/healthz", 200)],
    )
}

/// `value source`, `reason: detail`, or nothing.
fn said(facts: &mut NodeFacts, name: &str) -> String {
    derive(facts);
    match facts.kubelets.value().expect("known").items[0].observed.get(name) {
        None => String::new(),
        Some(Observed::Known { value, .. }) => format!("{} {}", value.value, value.source),
        Some(Observed::Unavailable(why)) => format!("{}: {}", why.reason.name(), why.detail),
    }
}

#[test]
fn a_closed_kubelet_shows_all_of_it() {
    let (listeners, probes) = usual();
    let mut facts = node("kubelet --read-only-port=0", listeners, probes);
    let shown: Vec<String> = super::NAMES.iter().map(|name| format!("{name}: {}", said(&mut facts, name))).collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    anonymousAuth: false probe https://127.0.0.1:10250/pods: 401
    authorizationMode: not_supported: a request without credentials is refused before it is authorized
    readOnlyPort: 0 socket none of its sockets
    address: "0.0.0.0" socket tcp/::/10250
    port: 10250 socket tcp/::/10250
    healthzBindAddress: "127.0.0.1" socket tcp/127.0.0.1/10248
    healthzPort: 10248 socket tcp/127.0.0.1/10248
    enableServer: true socket tcp/::/10250
    tlsMinVersion: "VersionTLS12" probe handshake with 127.0.0.1:10250
    tlsCipherSuites: ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"] probe handshake with 127.0.0.1:10250
    "#);
    assert_eq!(said(&mut facts, "podPidsLimit"), "", "what behaviour never shows is missing");
    let once = facts.clone();
    derive(&mut facts);
    assert_eq!(once, facts, "deriving twice changes nothing");
}

#[test]
fn an_open_one_too() {
    let (mut listeners, _) = usual();
    listeners.push(listener(10255, BindScope::All));
    let probes = vec![
        probe(10250, true, "/pods", 200),
        probe(10250, true, "/healthz", 200),
        probe(10255, false, "/pods", 200),
        probe(10255, false, "/healthz", 200),
        probe(10248, false, "/healthz", 200),
    ];
    let mut facts = node("kubelet", listeners, probes);
    assert_eq!(said(&mut facts, "anonymousAuth"), "true probe https://127.0.0.1:10250/healthz: 200");
    assert_eq!(said(&mut facts, "authorizationMode"), r#""AlwaysAllow" probe https://127.0.0.1:10250/healthz: 200"#);
    assert_eq!(said(&mut facts, "readOnlyPort"), "10255 socket tcp/::/10255");
}

#[test]
fn a_refusal_by_name_shows_an_anonymous_request_that_is_authorized() {
    let (listeners, mut probes) = usual();
    probes[0].status = 403;
    probes.push(probe(10250, true, "/healthz", 200));
    let mut facts = node("kubelet", listeners, probes);
    assert_eq!(said(&mut facts, "anonymousAuth"), "true probe https://127.0.0.1:10250/healthz: 200");
    assert_eq!(said(&mut facts, "authorizationMode"), r#""Webhook" probe https://127.0.0.1:10250/pods: 403"#);
}

#[test]
fn a_read_only_api_on_a_port_nobody_knows_is_found() {
    let (mut listeners, mut probes) = usual();
    listeners.push(listener(23456, BindScope::Node));
    probes.push(probe(23456, false, "/pods", 200));
    let mut facts = node("kubelet --read-only-port=0", listeners, probes);
    assert_eq!(said(&mut facts, "readOnlyPort"), "23456 socket tcp/192.0.2.2/23456");
}

#[test]
fn the_usual_port_is_open_even_when_it_was_not_asked() {
    let (mut listeners, probes) = usual();
    listeners.push(listener(10255, BindScope::All));
    let mut facts = node("kubelet --read-only-port=0", listeners, probes);
    assert_eq!(said(&mut facts, "readOnlyPort"), "10255 socket tcp/::/10255");
}

#[test]
fn a_list_with_holes_shows_no_absence() {
    let (mut listeners, probes) = usual();
    let mut nobody = listener(31000, BindScope::All);
    nobody.owner = Observed::unavailable_because(Reason::PermissionDenied, "open /proc/9/fd");
    listeners.push(nobody);
    let mut facts = node("kubelet", listeners, probes.clone());
    let hole = "permission_denied: not all of its sockets are known: owner of port:tcp/31000";
    assert_eq!(said(&mut facts, "readOnlyPort"), hole);
    assert_eq!(said(&mut facts, "anonymousAuth"), "false probe https://127.0.0.1:10250/pods: 401", "what is there is there");

    let (mut listeners, probes) = usual();
    listeners.push(listener(31000, BindScope::All));
    let mut facts = node("kubelet", listeners, probes);
    assert_eq!(said(&mut facts, "readOnlyPort"), "not_supported: what it serves on port 31000 did not show");
}

#[test]
fn without_probes_sockets_tell_where_it_listens_and_no_more() {
    let (listeners, _) = usual();
    let mut facts = node("kubelet --read-only-port=0", listeners, vec![]);
    facts.probes = Observed::unavailable_because(Reason::NotSupported, "probing is off");
    facts.handshakes = Observed::unavailable_because(Reason::NotSupported, "probing is off");
    assert_eq!(said(&mut facts, "port"), "10250 socket tcp/::/10250");
    assert_eq!(said(&mut facts, "healthzPort"), "10248 socket tcp/127.0.0.1/10248");
    assert_eq!(said(&mut facts, "anonymousAuth"), "not_supported: probing is off");
    assert_eq!(said(&mut facts, "tlsMinVersion"), "not_supported: probing is off");
    assert_eq!(said(&mut facts, "readOnlyPort"), "0 socket none of its sockets", "both are what they were meant for");
    facts.kubelets.value_mut().expect("known").items[0].argv.push("--healthz-port=10249".into());
    assert_eq!(said(&mut facts, "readOnlyPort"), "not_supported: what it serves on port 10248 did not show");
}

#[test]
fn what_a_peer_met_is_another_fact() {
    let (listeners, mut probes) = usual();
    probes.retain(|probe| probe.port != 10250);
    let mut from_afar = probe(10250, true, "/pods", 200);
    from_afar.vantage = "n2".into();
    probes.push(from_afar);
    let mut facts = node("kubelet", listeners, probes);
    assert_eq!(said(&mut facts, "anonymousAuth"), "not_supported: port 10250 gave no answer");
    let kubelet = &facts.kubelets.value().expect("known").items[0];
    assert!(kubelet.probes.value().expect("known").items.iter().any(|probe| probe.vantage == "n2"), "it is kept");
}

#[test]
fn a_version_below_that_was_not_tried_leaves_the_lowest_open() {
    let (listeners, probes) = usual();
    let mut facts = node("kubelet", listeners, probes);
    let mut tried = handshake(10250, &[true, true, true, true]);
    let versions = tried.versions.value_mut().expect("known");
    versions.items.remove(0);
    versions.skipped.push(Skipped { what: "TLS 1.0".into(), reason: Reason::TimedOut });
    tried.suites.value_mut().expect("known").skipped.push(Skipped { what: "CBC suites".into(), reason: Reason::TimedOut });
    facts.handshakes = all(vec![tried]);
    assert_eq!(said(&mut facts, "tlsMinVersion"), "timed_out: TLS 1.0 was not tried");
    assert_eq!(said(&mut facts, "tlsCipherSuites"), "timed_out: not all suites were tried: CBC suites");
    facts.handshakes = all(vec![]);
    assert_eq!(said(&mut facts, "tlsMinVersion"), "not_supported: no handshake with port 10250 was tried");
    let kubelet = &facts.kubelets.value().expect("known").items[0];
    assert_eq!(kubelet.handshakes.value().expect("known").skipped[0].what, "TLS of port 10250");
}

#[test]
fn in_a_network_of_its_own_nothing_shows() {
    let (listeners, probes) = usual();
    let mut facts = node("kubelet", listeners, probes);
    facts.kubelets.value_mut().expect("known").items[0].host_network = known(false);
    for name in super::NAMES {
        assert!(said(&mut facts, name).starts_with("not_supported: it has a network namespace of its own"), "{name}");
    }
}

#[test]
fn one_process_for_everything_shows_its_kubelets_usual_ports() {
    let (mut listeners, mut probes) = usual();
    listeners.push(listener(6443, BindScope::All));
    probes.push(probe(6443, true, "/version", 200));
    let mut facts = node("k3s server", listeners, probes);
    facts.kubelets.value_mut().expect("known").items[0].flavour = "k3s".into();
    assert_eq!(said(&mut facts, "port"), "10250 socket tcp/::/10250");
    assert_eq!(said(&mut facts, "anonymousAuth"), "false probe https://127.0.0.1:10250/pods: 401");
    assert_eq!(said(&mut facts, "readOnlyPort"), "not_supported: what it serves on port 6443 did not show");
}

#[test]
fn the_kubelets_own_answer_is_typed_like_its_settings() {
    let (listeners, probes) = usual();
    let mut facts = node("kubelet", listeners, probes);
    let kubelet = &mut facts.kubelets.value_mut().expect("known").items[0];
    kubelet.configz = known(json!({
        "authentication": {"anonymous": {"enabled": false}, "webhook": {"cacheTTL": "2m0s"}, "x509": {}},
        "port": "10250",
        "containerLogMaxSize": "10Mi",
        "memorySwap": {},
        "serverTLSBootstrap": false,
        "tlsCertFile": "/var/lib/kubelet/pki/kubelet.crt",
        "tlsPrivateKeyFile": "/var/lib/kubelet/pki/kubelet.key",
        "evictionHard": {"memory.available": "100Mi"},
        "staticPodURLHeader": {"Authorization": ["Bearer secret"]},
    }));
    derive(&mut facts);
    let reported = &facts.kubelets.value().expect("known").items[0].reported;
    let value = |name: &str| reported.get(name).and_then(Observed::value).map(|setting| setting.value.clone());
    assert_eq!(value("anonymousAuth"), Some(Value::Bool(false)));
    assert_eq!(value("authenticationWebhookCacheTTL"), Some(json!(120)));
    assert_eq!(value("clientCAFile"), Some(json!("")));
    assert_eq!(value("containerLogMaxSize"), Some(json!(10_485_760)));
    assert_eq!(value("readOnlyPort"), Some(json!(0)), "zero is left out of the answer");
    assert_eq!(value("evictionHard"), Some(json!({"memory.available": "100Mi"})));
    assert_eq!(value("staticPodURLHeader"), Some(json!(true)), "never the value");
    let why = reported.get("port").and_then(Observed::unavailable).expect("malformed");
    assert_eq!((why.reason, why.detail.as_str()), (Reason::Malformed, r#"configz: port: "10250" is not an integer"#));
    for missing in ["tlsCertFile", "hostnameOverride", "userNamespacesIdsPerPod", "rotateKubeletServerCertificate"] {
        assert!(!reported.contains_key(missing), "{missing}");
    }
    let source = reported.get("anonymousAuth").and_then(Observed::value).map(|setting| setting.source.to_string());
    assert_eq!(source.as_deref(), Some("probe configz"));
}
