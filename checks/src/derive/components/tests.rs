use rstest::rstest;
use serde_json::{Value, json};

use super::settings;
use crate::facts::*;

const NOW: i64 = 1_700_000_000_000;

fn known<T>(value: T) -> Observed<T> {
    Observed::known(value, Source::new(SourceKind::File, "test"), NOW)
}

fn component(argv: &str, documents: Vec<ConfigDocument>) -> Component {
    let argv: Vec<String> = argv.split_whitespace().map(str::to_owned).collect();
    Component {
        host_network: known(true),
        documents: known(Listing::complete(documents)),
        ..Component { argv: argv.clone(), ..Component::unread(argv[0].clone(), 7) }
    }
}

fn document(content: Value) -> ConfigDocument {
    ConfigDocument { path: "/c.yaml".into(), kind: DocumentKind::Main, content: known(content) }
}

fn said(component: &Component, name: &str) -> String {
    match settings(component, NOW).get(name) {
        None => panic!("there is no setting {name}"),
        Some(Observed::Known { value, .. }) => format!("{} ({})", value.value, value.source),
        Some(Observed::Unavailable(why)) => format!("{}: {}", why.reason.name(), why.detail),
    }
}

#[rstest]
#[case("kube-controller-manager", "bindAddress", r#""0.0.0.0" (default without a flag)"#)]
#[case("kube-controller-manager --bind-address=127.0.0.1", "bindAddress", r#""127.0.0.1" (flag --bind-address)"#)]
#[case("kube-controller-manager", "useServiceAccountCredentials", "false (default without a flag)")]
#[case("kube-scheduler", "bindAddress", r#""0.0.0.0" (default without a flag)"#)]
#[case("kube-apiserver", "anonymousAuth", "false (default under AlwaysAllow)")]
#[case("kube-apiserver --authorization-mode=Node,RBAC", "anonymousAuth", "true (default without a flag)")]
#[case("kube-apiserver --authorization-mode Node,RBAC", "authorizationMode", r#"["Node","RBAC"] (flag --authorization-mode)"#)]
#[case("kube-apiserver", "authorizationMode", r#"["AlwaysAllow"] (default without a flag)"#)]
#[case(
    "kube-apiserver --enable-admission-plugins NodeRestriction,AlwaysAdmit",
    "enableAdmissionPlugins",
    r#"["NodeRestriction","AlwaysAdmit"] (flag --enable-admission-plugins)"#
)]
#[case("kube-proxy", "metricsBindAddress", r#""127.0.0.1:10249" (default without a flag)"#)]
#[case("kube-proxy --metrics-bind-address=0.0.0.0:10249", "metricsBindAddress", r#""0.0.0.0:10249" (flag --metrics-bind-address)"#)]
#[case("etcd --client-cert-auth=true", "clientCertAuth", "true (flag --client-cert-auth)")]
#[case("etcd -client-cert-auth", "clientCertAuth", "true (flag --client-cert-auth)")]
#[case("etcd", "clientCertAuth", "not_supported: no flag sets it, and etcd also takes it from its environment, which is not read")]
#[case(
    "etcd --listen-client-urls=https://127.0.0.1:2379,https://192.0.2.2:2379",
    "listenClientURLs",
    r#"["https://127.0.0.1:2379","https://192.0.2.2:2379"] (flag --listen-client-urls)"#
)]
fn flags_and_defaults(#[case] argv: &str, #[case] name: &str, #[case] expected: &str) {
    assert_eq!(said(&component(argv, vec![]), name), expected);
}

#[rstest]
#[case::metrics_in_the_file(
    "kube-proxy --config=/c.yaml",
    json!({"kind": "KubeProxyConfiguration", "metricsBindAddress": "0.0.0.0:10249"}),
    "metricsBindAddress",
    r#""0.0.0.0:10249" (file /c.yaml)"#
)]
#[case::an_empty_address_is_defaulted(
    "kube-proxy --config=/c.yaml",
    json!({"kind": "KubeProxyConfiguration", "metricsBindAddress": ""}),
    "metricsBindAddress",
    r#""127.0.0.1:10249" (default without a field)"#
)]
#[case::the_file_silences_flags(
    "kube-proxy --config=/c.yaml --metrics-bind-address=0.0.0.0",
    json!({"kind": "KubeProxyConfiguration"}),
    "metricsBindAddress",
    r#""127.0.0.1:10249" (default without a field)"#
)]
#[case::etcd_by_file_alone(
    "etcd --config-file=/c.yaml",
    json!({"client-transport-security": {"client-cert-auth": true}}),
    "clientCertAuth",
    "true (file /c.yaml)"
)]
#[case::etcd_file_silences_flags(
    "etcd --config-file /c.yaml --client-cert-auth=true",
    json!({"name": "n1"}),
    "clientCertAuth",
    "false (default without a field)"
)]
#[case::etcd_lists(
    "etcd --config-file /c.yaml",
    json!({"listen-client-urls": "https://a:2379,https://b:2379"}),
    "listenClientURLs",
    r#"["https://a:2379","https://b:2379"] (file /c.yaml)"#
)]
#[case::scheduler_profiling(
    "kube-scheduler --config=/c.yaml --profiling=true --bind-address=127.0.0.1",
    json!({"kind": "KubeSchedulerConfiguration", "enableProfiling": false}),
    "profiling",
    "false (file /c.yaml)"
)]
#[case::scheduler_address_stays_a_flag(
    "kube-scheduler --config=/c.yaml --bind-address=127.0.0.1",
    json!({"kind": "KubeSchedulerConfiguration"}),
    "bindAddress",
    r#""127.0.0.1" (flag --bind-address)"#
)]
#[case::structured_authorization(
    "kube-apiserver --authorization-config=/c.yaml",
    json!({"kind": "AuthorizationConfiguration", "authorizers": [{"type": "Node", "name": "n"}, {"type": "RBAC", "name": "r"}]}),
    "authorizationMode",
    r#"["Node","RBAC"] (file /c.yaml)"#
)]
#[case::structured_authentication(
    "kube-apiserver --authentication-config=/c.yaml --authorization-mode=RBAC",
    json!({"kind": "AuthenticationConfiguration", "anonymous": {"enabled": true, "conditions": [{"path": "/livez"}]}}),
    "anonymousPaths",
    r#"["/livez"] (file /c.yaml)"#
)]
#[case::no_mode_of_a_file_turns_anonymous_access_off(
    "kube-apiserver --authorization-config=/c.yaml",
    json!({"kind": "AuthorizationConfiguration", "authorizers": [{"type": "AlwaysAllow", "name": "a"}]}),
    "anonymousAuth",
    "true (default without a flag)"
)]
#[case::anonymous_access_of_a_file_stays_on_under_always_allow(
    "kube-apiserver --authentication-config=/c.yaml",
    json!({"kind": "AuthenticationConfiguration", "anonymous": {"enabled": true}}),
    "anonymousAuth",
    "true (file /c.yaml)"
)]
#[case::anonymous_access_that_a_file_mentions_is_off_until_enabled(
    "kube-apiserver --authentication-config=/c.yaml --authorization-mode=RBAC",
    json!({"kind": "AuthenticationConfiguration", "anonymous": {}}),
    "anonymousAuth",
    "false (file /c.yaml)"
)]
#[case::anonymous_access_that_a_file_does_not_mention(
    "kube-apiserver --authentication-config=/c.yaml --authorization-mode=RBAC",
    json!({"kind": "AuthenticationConfiguration", "jwt": []}),
    "anonymousAuth",
    "true (default without a flag)"
)]
#[case::anonymous_access_of_another_type(
    "kube-apiserver --authentication-config=/c.yaml --authorization-mode=RBAC",
    json!({"kind": "AuthenticationConfiguration", "anonymous": {"enabled": "no"}}),
    "anonymousAuth",
    "malformed: /c.yaml: anonymous.enabled is not true or false"
)]
#[case::another_kind(
    "kube-proxy --config=/c.yaml",
    json!({"kind": "Pod"}),
    "metricsBindAddress",
    "malformed: /c.yaml is not KubeProxyConfiguration"
)]
fn files(#[case] argv: &str, #[case] content: Value, #[case] name: &str, #[case] expected: &str) {
    assert_eq!(said(&component(argv, vec![document(content)]), name), expected);
}

#[test]
fn a_file_that_was_not_read_is_never_a_default() {
    let unread = Observed::unavailable_because(Reason::PermissionDenied, "open /c.yaml");
    let mut proxy = component("kube-proxy --config=/c.yaml", vec![]);
    assert_eq!(said(&proxy, "metricsBindAddress"), "not_supported: /c.yaml was not read");
    proxy.documents = unread.clone();
    assert_eq!(said(&proxy, "metricsBindAddress"), "permission_denied: open /c.yaml");
    let mut server = component("kube-apiserver --authorization-config=/c.yaml", vec![]);
    assert_eq!(said(&server, "authorizationMode"), "not_supported: /c.yaml was not read");
    server.documents = unread;
    assert_eq!(said(&server, "authorizationMode"), "permission_denied: open /c.yaml");
    assert_eq!(said(&server, "anonymousAuth"), "true (default without a flag)");
}

#[test]
fn a_component_nobody_knows_has_no_settings() {
    assert!(settings(&component("kube-strange --x", vec![]), NOW).is_empty());
}
