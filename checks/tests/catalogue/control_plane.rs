//! Fixtures of `control-plane.yaml`.

use holdfast_checks::entries::{Finding, Verdict};
use holdfast_checks::evaluator::Selection;
use holdfast_checks::facts::*;
use serde_json::json;

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
fn api_server_file(facts: &mut NodeFacts, flag: &str, content: Observed<serde_json::Value>) {
    flags(facts, API_SERVER, &format!("{flag}=/etc/kubernetes/auth.yaml"));
    let document = ConfigDocument { path: "/etc/kubernetes/auth.yaml".into(), kind: DocumentKind::Main, content };
    component_of(facts, API_SERVER).documents = complete(vec![document]);
}

/// etcd configured by a file alone.
fn etcd_file(facts: &mut NodeFacts, content: Observed<serde_json::Value>) {
    flags(facts, "etcd", "--config-file=/etc/etcd.yaml");
    component_of(facts, "etcd").documents =
        complete(vec![ConfigDocument { path: "/etc/etcd.yaml".into(), kind: DocumentKind::Main, content }]);
}

fn open(facts: &mut NodeFacts, port: i64, name: &str, pid: i64) {
    items(&mut facts.listeners).push(listener(port, BindScope::All, pid, name, name));
}

pub(crate) fn cases() -> Vec<Case> {
    [api_server_access(), api_server_identity(), api_server_rest(), others(), etcd()].into_iter().flatten().collect()
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

fn authorizers() -> Observed<serde_json::Value> {
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
            .fails(|facts| {
                flags(facts, "etcd", "--client-cert-auth=true --listen-client-urls=https://127.0.0.1:2379,http://127.0.0.1:4001");
            })
            .fails(|facts| flags(facts, "etcd", "--listen-client-urls=http://0.0.0.0:2379"))
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
            .fails(|facts| etcd_file(facts, known(json!({"name": "n1"}))))
            .unreadable("not_supported", |facts| flags(facts, "etcd", "")),
        of_flags("etcd-peer-certificates", "etcd", "--peer-client-cert-auth=false --peer-trusted-ca-file=")
            .passes(|facts| flags(facts, "etcd", "--peer-trusted-ca-file=/ca.crt"))
            .unreadable("not_supported", |facts| flags(facts, "etcd", "")),
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
    for finding in of_them.into_iter().filter(|finding| finding.check != "control-plane-legacy-ports") {
        assert_eq!((finding.verdict, finding.reason_class()), (Verdict::Unknown, "not_supported"), "{finding:#?}");
    }
}
