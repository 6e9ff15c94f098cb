//! Fixtures of `control-plane.yaml`.

use holdfast_checks::entries::{Finding, Verdict};
use holdfast_checks::evaluator::Selection;
use holdfast_checks::facts::*;
use serde_json::{Value, json};

use crate::base::*;
use crate::case::{Case, evaluator, findings_after};

const API_SERVER: &str = "kube-apiserver";
const CONTROLLER_MANAGER: &str = "kube-controller-manager";
const SCHEDULER: &str = "kube-scheduler";

/// A check of a component's flags: fails with `bad` in their place, does not apply without the component.
fn of_flags(check: &'static str, name: &'static str, bad: &'static str) -> Case {
    Case::of(check)
        .fails(move |facts| flags(facts, name, bad))
        .not_applicable(move |facts| remove(&mut facts.components, |component| component.name == name))
        .unreadable("permission_denied", |facts| facts.components = denied())
}

/// A file named on the API server's command line.
fn api_server_file(facts: &mut NodeFacts, flag: &str, content: Observed<Value>) {
    flags(facts, API_SERVER, &format!("{flag}=/etc/kubernetes/auth.yaml"));
    let document = ConfigDocument { path: "/etc/kubernetes/auth.yaml".into(), kind: DocumentKind::Main, content };
    component_of(facts, API_SERVER).documents = complete(vec![document]);
}

/// etcd configured by a file alone.
fn etcd_file(facts: &mut NodeFacts, content: Observed<Value>) {
    flags(facts, "etcd", "--config-file=/etc/etcd.yaml");
    component_of(facts, "etcd").documents =
        complete(vec![ConfigDocument { path: "/etc/etcd.yaml".into(), kind: DocumentKind::Main, content }]);
}

fn open(facts: &mut NodeFacts, port: i64, name: &str, pid: i64) {
    items(&mut facts.listeners).push(listener(port, BindScope::All, pid, name, name));
}

pub(crate) fn cases() -> Vec<Case> {
    [api_server_access(), api_server_identity(), api_server_rest(), others(), etcd(), sockets(), tls()].into_iter().flatten().collect()
}

fn api_server_access() -> Vec<Case> {
    vec![
        of_flags("apiserver-insecure-port", API_SERVER, "--insecure-port=8080")
            .passes(|facts| open(facts, 8080, "nginx", 4242))
            .fails(|facts| open(facts, 8080, API_SERVER, 201))
            .unreadable("permission_denied", |facts| facts.listeners = denied())
            .unreadable("incomplete", |facts| items(&mut facts.listeners)[0].owner = denied()),
        of_flags("apiserver-anonymous-auth", API_SERVER, "--authorization-mode=Node,RBAC")
            .fails(|facts| flags(facts, API_SERVER, "--authorization-mode=Node,RBAC --anonymous-auth=true"))
            .passes(|facts| flags(facts, API_SERVER, "--authorization-mode=AlwaysAllow"))
            .passes(|facts| {
                let anonymous = json!({"enabled": true, "conditions": [{"path": "/livez"}]});
                api_server_file(
                    facts,
                    "--authorization-mode=RBAC --authentication-config",
                    known(json!({"kind": "AuthenticationConfiguration", "anonymous": anonymous})),
                );
            })
            .unreadable("permission_denied", |facts| api_server_file(facts, "--authorization-mode=RBAC --authentication-config", denied())),
        of_flags("apiserver-authorization-mode", API_SERVER, "")
            .fails(|facts| flags(facts, API_SERVER, "--authorization-mode RBAC,AlwaysAllow"))
            .passes(|facts| api_server_file(facts, "--authorization-config", authorizers()))
            .unreadable("permission_denied", |facts| api_server_file(facts, "--authorization-config", denied())),
        of_flags("apiserver-node-and-rbac", API_SERVER, "--authorization-mode=RBAC")
            .fails(|facts| flags(facts, API_SERVER, "--authorization-mode=Node"))
            .passes(|facts| api_server_file(facts, "--authorization-config", authorizers()))
            .unreadable("permission_denied", |facts| api_server_file(facts, "--authorization-config", denied())),
        of_flags("apiserver-static-credentials", API_SERVER, "--token-auth-file=/etc/tokens.csv"),
    ]
}

fn authorizers() -> Observed<Value> {
    known(json!({"kind": "AuthorizationConfiguration", "authorizers": [{"type": "Node"}, {"type": "RBAC"}]}))
}

fn api_server_identity() -> Vec<Case> {
    vec![
        of_flags("apiserver-client-ca", API_SERVER, ""),
        of_flags("apiserver-serving-certificate", API_SERVER, "--tls-cert-file=/s.crt"),
        of_flags("apiserver-kubelet-client-certificate", API_SERVER, "--kubelet-client-key=/k.key"),
        of_flags("apiserver-kubelet-certificate-authority", API_SERVER, ""),
        of_flags("apiserver-etcd-client-certificate", API_SERVER, "--etcd-certfile=/e.crt"),
        of_flags("apiserver-etcd-ca", API_SERVER, ""),
        of_flags("apiserver-encryption-at-rest", API_SERVER, ""),
        Case::only("apiserver-encryption-provider")
            .passes(|facts| encrypts(facts, known(json!([{"resources": ["secrets"], "providers": [{"kms": {}}, {"identity": {}}]}]))))
            .passes(|facts| encrypts(facts, known(json!([{"resources": ["*.*"], "providers": [{"secretbox": {"keys": []}}]}]))))
            .fails(|facts| encrypts(facts, known(json!([{"resources": ["secrets"], "providers": [{"identity": {}}, {"kms": {}}]}]))))
            // The first entry that covers secrets counts.
            .fails(|facts| {
                let entry = |provider: &str| json!({"resources": ["secrets"], "providers": [{provider: {}}]});
                encrypts(facts, known(json!([entry("identity"), entry("kms")])));
            })
            .fails(|facts| encrypts(facts, known(json!([{"resources": ["configmaps"], "providers": [{"kms": {}}]}]))))
            .not_applicable(|facts| flags(facts, API_SERVER, ""))
            .not_applicable(|facts| remove(&mut facts.components, |component| component.name == API_SERVER))
            .unreadable("malformed", |facts| encrypts(facts, known(json!([{"resources": ["secrets"], "providers": "kms"}]))))
            .unreadable("permission_denied", |facts| encrypts(facts, denied())),
        of_flags("apiserver-tls-cipher-suites", API_SERVER, "")
            .fails(|facts| flags(facts, API_SERVER, "--tls-cipher-suites=TLS_RSA_WITH_AES_128_CBC_SHA"))
            .passes(|facts| flags(facts, API_SERVER, "--tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,TLS_AES_128_GCM_SHA256")),
        of_flags("apiserver-service-account-lookup", API_SERVER, "--service-account-lookup=false")
            .passes(|facts| flags(facts, API_SERVER, "")),
        of_flags("apiserver-service-account-key", API_SERVER, ""),
        of_flags("apiserver-token-lifetime", API_SERVER, ""),
    ]
}

fn api_server_rest() -> Vec<Case> {
    vec![
        of_flags("apiserver-node-restriction", API_SERVER, ""),
        of_flags("apiserver-always-admit", API_SERVER, "--enable-admission-plugins NodeRestriction,AlwaysAdmit"),
        of_flags("apiserver-audit-log", API_SERVER, "--audit-policy-file=/p.yaml --audit-log-path=/dev/null")
            .fails(|facts| flags(facts, API_SERVER, "--audit-log-path=/var/log/audit.log"))
            .passes(|facts| flags(facts, API_SERVER, "--audit-policy-file=/p.yaml --audit-webhook-config-file=/w.yaml")),
        of_flags("apiserver-profiling", API_SERVER, ""),
        of_flags("apiserver-needed-admission", API_SERVER, "--disable-admission-plugins ServiceAccount,PodSecurity")
            .passes(|facts| flags(facts, API_SERVER, "--disable-admission-plugins=PodSecurity")),
    ]
}

fn others() -> Vec<Case> {
    vec![
        of_flags("controller-manager-profiling", CONTROLLER_MANAGER, ""),
        of_flags("scheduler-profiling", SCHEDULER, ""),
        of_flags("controller-manager-bind-address", CONTROLLER_MANAGER, "")
            .passes(|facts| flags(facts, CONTROLLER_MANAGER, "--secure-port=0")),
        of_flags("scheduler-bind-address", SCHEDULER, "--bind-address=0.0.0.0").fails(|facts| flags(facts, SCHEDULER, "")),
        of_flags("controller-manager-service-accounts", CONTROLLER_MANAGER, ""),
        of_flags("controller-manager-service-account-key", CONTROLLER_MANAGER, ""),
        of_flags("controller-manager-root-ca", CONTROLLER_MANAGER, ""),
        Case::of("control-plane-legacy-ports")
            .passes(|facts| open(facts, 10251, "nginx", 4242))
            .fails(|facts| open(facts, 10251, SCHEDULER, 203))
            .fails(|facts| open(facts, 10252, CONTROLLER_MANAGER, 202))
            .not_applicable(|facts| remove(&mut facts.components, |one| [SCHEDULER, CONTROLLER_MANAGER].contains(&one.name.as_str())))
            .unreadable("permission_denied", |facts| facts.listeners = denied())
            .unreadable("not_supported", |facts| component_of(facts, SCHEDULER).host_network = known(false))
            .unreadable("incomplete", |facts| component_of(facts, SCHEDULER).host_network = denied()),
    ]
}

fn etcd() -> Vec<Case> {
    let transport = || json!({"client-transport-security": {"client-cert-auth": true, "cert-file": "/c", "key-file": "/k"}, "listen-client-urls": "https://127.0.0.1:2379"});
    vec![
        of_flags("etcd-client-certificates", "etcd", "--client-cert-auth=false --trusted-ca-file= --listen-client-urls=https://127.0.0.1:2379")
            // etcd asks for certificates as soon as it has a CA to check them with.
            .passes(|facts| flags(facts, "etcd", "--trusted-ca-file=/ca.crt --listen-client-urls=https://127.0.0.1:2379"))
            .passes(move |facts| etcd_file(facts, known(transport())))
            .unreadable("permission_denied", |facts| etcd_file(facts, denied()))
            .unreadable("not_supported", |facts| flags(facts, "etcd", "--listen-client-urls=https://127.0.0.1:2379")),
        of_flags("etcd-auto-tls", "etcd", "--cert-file= --auto-tls --peer-auto-tls=false")
            .passes(|facts| etcd_file(facts, known(json!({"name": "n1"}))))
            .passes(|facts| flags(facts, "etcd", "--cert-file=/c --auto-tls --peer-cert-file=/p"))
            .unreadable("not_supported", |facts| flags(facts, "etcd", "")),
        of_flags("etcd-peer-tls", "etcd", "--peer-cert-file=/p --peer-key-file=/k --listen-peer-urls=http://192.0.2.2:2380")
            .fails(|facts| etcd_file(facts, known(json!({"name": "n1"}))))
            .unreadable("not_supported", |facts| flags(facts, "etcd", "")),
        of_flags("etcd-client-tls", "etcd", "--cert-file=/c --key-file=/k --listen-client-urls=http://127.0.0.1:2379")
            .passes(move |facts| etcd_file(facts, known(transport())))
            .fails(|facts| flags(facts, "etcd", "--cert-file=/c --key-file=/k --listen-client-urls=HTTP://127.0.0.1:2379"))
            .fails(|facts| etcd_file(facts, known(json!({"name": "n1"}))))
            .unreadable("not_supported", |facts| flags(facts, "etcd", "")),
        of_flags("etcd-peer-certificates", "etcd", "--peer-client-cert-auth=false --peer-trusted-ca-file=")
            .passes(|facts| flags(facts, "etcd", "--peer-trusted-ca-file=/ca.crt"))
            .unreadable("not_supported", |facts| flags(facts, "etcd", "")),
    ]
}

/// The API server with an encryption configuration of these entries.
fn encrypts(facts: &mut NodeFacts, resources: Observed<Value>) {
    flags(facts, API_SERVER, "--encryption-provider-config=/enc.yaml");
    let content = resources.map(|resources| json!({"kind": "EncryptionConfiguration", "resources": resources}));
    let document = ConfigDocument { path: "/enc.yaml".into(), kind: DocumentKind::Main, content };
    component_of(facts, API_SERVER).documents = complete(vec![document]);
}

/// Leaves one component of the base.
fn only(facts: &mut NodeFacts, name: &str) {
    remove(&mut facts.components, |component| component.name != name);
}

fn none(facts: &mut NodeFacts) {
    facts.components = complete(vec![]);
}

/// Replaces the sockets at `port` by one of `scope`.
fn bind(facts: &mut NodeFacts, port: i64, scope: BindScope, name: &str, pid: i64) {
    remove(&mut facts.listeners, |listener| listener.port == port);
    items(&mut facts.listeners).push(listener(port, scope, pid, name, name));
}

/// Replaces what was answered at `port`.
fn answer(facts: &mut NodeFacts, port: i64, path: &str, outcome: ProbeOutcome, status: i64) {
    remove(&mut facts.probes, |probe| probe.port == port);
    items(&mut facts.probes).push(Probe { path: path.into(), ..probe(port, true, outcome, status) });
}

fn observed(case: Case) -> Case {
    case.not_applicable(none)
        .unreadable("permission_denied", |facts| facts.components = denied())
        .unreadable("permission_denied", |facts| facts.listeners = denied())
}

fn sockets() -> Vec<Case> {
    vec![
        observed(Case::of("apiserver-public-address"))
            .passes(|facts| {
                public_address(facts);
                bind(facts, 6443, BindScope::Node, API_SERVER, 201);
            })
            .fails(public_address)
            .fails(|facts| bind(facts, 6443, BindScope::Public, API_SERVER, 201))
            .unreadable("permission_denied", |facts| facts.network = denied()),
        observed(Case::of("apiserver-anonymous-contradiction"))
            .passes(|facts| {
                flags(facts, API_SERVER, "--authorization-mode=RBAC");
                answer(facts, 6443, "/version", ProbeOutcome::Answered, 200);
            })
            .passes(|facts| {
                let anonymous = json!({"enabled": true, "conditions": [{"path": "/livez"}]});
                let content = json!({"kind": "AuthenticationConfiguration", "anonymous": anonymous});
                api_server_file(facts, "--authorization-mode=RBAC --authentication-config", known(content));
            })
            .fails(|facts| answer(facts, 6443, "/version", ProbeOutcome::Answered, 200))
            .fails(|facts| flags(facts, API_SERVER, "--authorization-mode=RBAC"))
            .not_applicable(|facts| answer(facts, 6443, "/version", ProbeOutcome::Answered, 404))
            .unreadable("permission_denied", |facts| facts.probes = denied()),
        observed(Case::of("control-plane-listeners"))
            .fails(|facts| bind(facts, 10257, BindScope::All, CONTROLLER_MANAGER, 202))
            .fails(|facts| bind(facts, 10259, BindScope::Node, SCHEDULER, 203))
            .unreadable("incomplete", |facts| items(&mut facts.listeners)[0].owner = denied()),
        observed(Case::of("control-plane-answers-anonymous"))
            .fails(|facts| answer(facts, 10257, "/metrics", ProbeOutcome::Answered, 200))
            .unreadable("permission_denied", |facts| facts.probes = denied())
            // That everybody may ask for its health says nothing of the rest.
            .unreadable("undecided", |facts| answer(facts, 10259, "/healthz", ProbeOutcome::Answered, 200)),
        observed(Case::of("etcd-listens-widely"))
            .fails(|facts| bind(facts, 2379, BindScope::All, "etcd", 204))
            .fails(|facts| bind(facts, 2381, BindScope::Public, "etcd", 204)),
        observed(Case::of("etcd-answers-without-certificate"))
            .passes(|facts| remove(&mut facts.probes, |probe| probe.port == 2379))
            // Metrics have a port of their own.
            .passes(|facts| {
                open(facts, 2381, "etcd", 204);
                items(&mut facts.probes).push(Probe { path: "/metrics".into(), ..probe(2381, false, ProbeOutcome::Answered, 200) });
            })
            .fails(|facts| answer(facts, 2379, "/version", ProbeOutcome::Answered, 200))
            .unreadable("permission_denied", |facts| facts.probes = denied())
            .unreadable("undecided", |facts| {
                remove(&mut facts.probes, |probe| probe.port == 2379);
                handshake_of(facts, 2379).asks_certificate = known(false);
            }),
        Case::of("etcd-own-ca")
            .fails(|facts| flags(facts, "etcd", "--trusted-ca-file=/etc/kubernetes/pki/ca.crt"))
            .fails(|facts| flags(facts, "etcd", "--trusted-ca-file="))
            .fails(|facts| certificate_of(facts, "/pki/ca.crt").key_fingerprint = "kubernetes".into())
            .not_applicable(none)
            .unreadable("permission_denied", |facts| facts.certificates = denied())
            .unreadable("undecided", |facts| remove(&mut facts.certificates, |one| one.path == "/pki/ca.crt"))
            .unreadable("undecided", |facts| remove(&mut facts.certificates, |one| one.role == "kubelet_ca"))
            .unreadable("permission_denied", |facts| items(&mut facts.certificates)[0].certificate = denied())
            .unreadable("incomplete", |facts| {
                let skipped = Skipped { what: "/pki".into(), reason: Reason::PermissionDenied };
                facts.certificates.value_mut().expect("known").skipped.push(skipped);
            }),
    ]
}

fn tls() -> Vec<Case> {
    let handshakes = |check: &'static str| {
        Case::only(check)
            .passes(|facts| only(facts, API_SERVER))
            .not_applicable(|facts| only(facts, "kube-proxy"))
            .not_applicable(none)
            .unreadable("permission_denied", |facts| facts.components = denied())
            .unreadable("permission_denied", |facts| {
                only(facts, API_SERVER);
                facts.handshakes = denied();
            })
    };
    vec![
        handshakes("component-tls-versions")
            .fails(|facts| takes(facts, 6443, "TLS 1.0"))
            .fails(|facts| takes(facts, 2379, "TLS 1.1"))
            .unreadable("timed_out", |facts| {
                only(facts, API_SERVER);
                handshake_of(facts, 6443).versions = Observed::unavailable_because(Reason::TimedOut, "handshake");
            })
            .unreadable("undecided", |facts| {
                only(facts, API_SERVER);
                handshake_of(facts, 6443).versions = complete(vec![]);
            }),
        handshakes("component-tls-suites")
            .passes(|facts| {
                only(facts, API_SERVER);
                let strong = ["TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"];
                handshake_of(facts, 6443).suites = complete(strong.map(str::to_owned).into());
            })
            .fails(|facts| handshake_of(facts, 6443).suites = complete(vec!["TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA".into()]))
            .fails(|facts| handshake_of(facts, 2379).suites = complete(vec!["TLS_RSA_WITH_AES_128_GCM_SHA256".into()]))
            .unreadable("timed_out", |facts| {
                only(facts, API_SERVER);
                handshake_of(facts, 6443).suites = Observed::unavailable_because(Reason::TimedOut, "handshake");
            }),
        handshakes("component-served-certificate")
            .fails(|facts| {
                bind(facts, 10257, BindScope::All, CONTROLLER_MANAGER, 202);
                shows_its_own(facts, 10257);
            })
            .fails(|facts| handshake_of(facts, 6443).certificate.value_mut().expect("known").self_signed = true)
            .not_applicable(|facts| only(facts, SCHEDULER))
            .unreadable("timed_out", |facts| {
                only(facts, API_SERVER);
                handshake_of(facts, 6443).certificate = Observed::unavailable_because(Reason::TimedOut, "handshake");
            }),
        Case::of("component-restart-pending")
            .fails(|facts| component_of(facts, "etcd").executable.value_mut().expect("known").replaced = true)
            .not_applicable(none)
            .unreadable("permission_denied", |facts| facts.components = denied())
            .unreadable("permission_denied", |facts| component_of(facts, "etcd").executable = denied()),
    ]
}

#[test]
fn an_api_server_inside_another_program_is_unknown_not_absent() {
    let k3s = |facts: &mut NodeFacts| {
        facts.components = complete(
            ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd", "kube-proxy"]
                .map(|name| Component { inside: "k3s".into(), argv: vec![], ..component(name, 1, "") })
                .into(),
        );
    };
    let findings = findings_after(&k3s, &Selection::default());
    let area = |finding: &Finding| evaluator().catalogue().get(&finding.check).expect("its own").area.clone();
    let of_them: Vec<&Finding> = findings.iter().filter(|finding| area(finding) == "control-plane").collect();
    assert!(of_them.len() > 30, "{}", of_them.len());
    // Sockets and programs are seen from outside.
    let seen = |check: &str| {
        let check = evaluator().catalogue().get(check).expect("its own");
        check.applies.is_some() || check.evidence.iter().any(|path| !path.starts_with("it.settings.") && path != "it.version")
    };
    for finding in of_them.into_iter().filter(|finding| !seen(&finding.check)) {
        assert_eq!((finding.verdict, finding.reason_class()), (Verdict::Unknown, "not_supported"), "{finding:#?}");
    }
}
