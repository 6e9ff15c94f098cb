//! Situations that scanners judge wrongly, by the row of the benchmark: what the setting is there.

use rstest::rstest;
use serde_json::{Value, json};

use crate::fixture::{derived, derived_component, drop_in, kubelet, main_file, value, words};

const CONFIG: &str = "kubelet --config=/var/lib/kubelet/config.yaml";

#[rstest]
#[case("4.2.1 config file present, anonymous unset", CONFIG, Some(json!({})), "anonymousAuth", json!(false))]
#[case("4.2.2 config file present, authorization.mode unset", CONFIG, Some(json!({})), "authorizationMode", json!("Webhook"))]
#[case("4.2.2 flag, space separated", "kubelet --authorization-mode AlwaysAllow", None, "authorizationMode", json!("AlwaysAllow"))]
#[case("4.2.2 AKS flags", "kubelet --anonymous-auth=false --authorization-mode=AlwaysAllow", None, "authorizationMode", json!("AlwaysAllow"))]
#[case("4.2.4 no --config, flag unset", "kubelet", None, "readOnlyPort", json!(10255))]
#[case("4.2.4 --read-only-port 0, space separated", "kubelet --read-only-port 0", None, "readOnlyPort", json!(0))]
#[case("4.2.5 flag 0s", "kubelet --streaming-connection-idle-timeout=0s", None, "streamingConnectionIdleTimeout", json!(0))]
#[case("4.2.5 flag 4h", "kubelet --streaming-connection-idle-timeout=4h", None, "streamingConnectionIdleTimeout", json!(14_400))]
#[case("4.2.8 eventRecordQPS 0", CONFIG, Some(json!({"eventRecordQPS": 0})), "eventRecordQPS", json!(0))]
#[case("4.2.9 serverTLSBootstrap, no cert files", CONFIG, Some(json!({"serverTLSBootstrap": true})), "serverTLSBootstrap", json!(true))]
#[case("4.2.9 serverTLSBootstrap, no cert files", CONFIG, Some(json!({"serverTLSBootstrap": true})), "tlsCertFile", json!(""))]
#[case("4.2.11 gate unset", CONFIG, Some(json!({})), "rotateKubeletServerCertificate", json!(true))]
#[case("4.2.11 gate unset, no bootstrap", CONFIG, Some(json!({})), "serverTLSBootstrap", json!(false))]
#[case("4.2.12 tlsCipherSuites unset", CONFIG, Some(json!({})), "tlsCipherSuites", json!([]))]
#[case("4.2.13 podPidsLimit -1", CONFIG, Some(json!({"podPidsLimit": -1})), "podPidsLimit", json!(-1))]
#[case("a size of zero is not nothing", CONFIG, Some(json!({"containerLogMaxSize": "0"})), "containerLogMaxSize", json!(0))]
#[case("a size of no text is nothing", CONFIG, Some(json!({"containerLogMaxSize": ""})), "containerLogMaxSize", json!(10_485_760))]
#[case("4.2.14 seccompDefault false", CONFIG, Some(json!({"seccompDefault": false})), "seccompDefault", json!(false))]
fn of_the_kubelet(#[case] row: &str, #[case] argv: &str, #[case] file: Option<Value>, #[case] name: &str, #[case] expected: Value) {
    let documents = file.map(|content| main_file("KubeletConfiguration", "/var/lib/kubelet/config.yaml", content));
    let kubelet = derived(kubelet("v1.36.2", words(argv), documents.into_iter().collect()));
    assert_eq!(value(&kubelet.settings, name), Ok(expected), "{row}");
}

#[test]
fn a_drop_in_opens_what_the_base_file_closed() {
    let base = main_file("KubeletConfiguration", "/var/lib/kubelet/config.yaml", json!({"readOnlyPort": 0}));
    let argv = words("kubelet --config=/var/lib/kubelet/config.yaml --config-dir /etc/kubernetes/kubelet.conf.d");
    let kubelet = derived(kubelet("v1.36.2", argv, vec![base, drop_in("90-debug.conf", json!({"readOnlyPort": 10255}))]));
    assert_eq!(value(&kubelet.settings, "readOnlyPort"), Ok(json!(10255)), "4.2.4");
}

/// Main files are read by exact names. What was merged is decoded by names in any case, and which of two wins depends on how
/// they sort: that is never called closed.
#[test]
fn a_drop_in_counts_in_any_case_and_a_main_file_does_not() {
    let path = "/var/lib/kubelet/config.yaml";
    let main = |content: Value| main_file("KubeletConfiguration", path, content);
    let argv = || words("kubelet --config=/var/lib/kubelet/config.yaml --config-dir /etc/kubernetes/kubelet.conf.d");
    let of_main = derived(kubelet("v1.36.2", argv(), vec![main(json!({"ReadOnlyPort": 10255}))]));
    assert_eq!(value(&of_main.settings, "readOnlyPort"), Ok(json!(0)));
    assert_eq!(of_main.unknown_fields.value().expect("known").items[0].field, "ReadOnlyPort");
    let of_drop_in = derived(kubelet("v1.36.2", argv(), vec![main(json!({})), drop_in("9.conf", json!({"readonlyport": 10255}))]));
    let why = "not_supported: 9.conf: `readonlyport` counts as readOnlyPort once it is merged, and which of them wins is not told";
    assert_eq!(value(&of_drop_in.settings, "readOnlyPort"), Err(why.into()));
    let outer = json!({"Authentication": {"anonymous": {"enabled": true}}});
    let outer = derived(kubelet("v1.36.2", argv(), vec![main(json!({})), drop_in("9.conf", outer)]));
    assert!(value(&outer.settings, "anonymousAuth").is_err_and(|why| why.contains("`Authentication`")));
    assert_eq!(value(&outer.settings, "readOnlyPort"), Ok(json!(0)), "what it does not touch is as before");
}

#[rstest]
#[case("1.2.6 structured authorization", "kube-apiserver", "kube-apiserver --authorization-config=/etc/az.yaml", Some(("AuthorizationConfiguration", "/etc/az.yaml", json!({"authorizers": [{"type": "Node"}, {"type": "RBAC"}]}))), "authorizationMode", json!(["Node", "RBAC"]))]
#[case("1.2.10 space separated list", "kube-apiserver", "kube-apiserver --enable-admission-plugins NodeRestriction,AlwaysAdmit", None, "enableAdmissionPlugins", json!(["NodeRestriction", "AlwaysAdmit"]))]
#[case("1.2.16 audit log to nowhere", "kube-apiserver", "kube-apiserver --audit-log-path=/dev/null", None, "auditLogPath", json!("/dev/null"))]
#[case("1.2.29 TLS 1.3 only", "kube-apiserver", "kube-apiserver --tls-min-version=VersionTLS13", None, "tlsMinVersion", json!("VersionTLS13"))]
#[case("1.2.29 suites unset", "kube-apiserver", "kube-apiserver --tls-min-version=VersionTLS13", None, "tlsCipherSuites", json!([]))]
#[case("1.3.3 unset", "kube-controller-manager", "kube-controller-manager", None, "useServiceAccountCredentials", json!(false))]
#[case("1.3.7 unset", "kube-controller-manager", "kube-controller-manager", None, "bindAddress", json!("0.0.0.0"))]
#[case("1.4.2 unset", "kube-scheduler", "kube-scheduler", None, "bindAddress", json!("0.0.0.0"))]
#[case("2.2 only in the file", "etcd", "etcd --config-file /etc/etcd.yaml", Some(("", "/etc/etcd.yaml", json!({"client-transport-security": {"client-cert-auth": true}}))), "clientCertAuth", json!(true))]
#[case("4.3.1 open in the file", "kube-proxy", "kube-proxy --config=/var/lib/kube-proxy/config.conf", Some(("KubeProxyConfiguration", "/var/lib/kube-proxy/config.conf", json!({"metricsBindAddress": "0.0.0.0:10249"}))), "metricsBindAddress", json!("0.0.0.0:10249"))]
fn of_components(
    #[case] row: &str,
    #[case] component: &str,
    #[case] argv: &str,
    #[case] file: Option<(&str, &str, Value)>,
    #[case] name: &str,
    #[case] expected: Value,
) {
    let documents = file.map(|(kind, path, content)| main_file(kind, path, content)).into_iter().collect();
    let component = derived_component(component, argv, documents);
    assert_eq!(value(&component.settings, name), Ok(expected), "{row}");
}
