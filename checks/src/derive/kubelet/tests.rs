use rstest::rstest;
use serde_json::{Value, json};

use super::settings;
use crate::facts::*;

const NOW: i64 = 1_700_000_000_000;

fn known<T>(value: T) -> Observed<T> {
    Observed::known(value, Source::new(SourceKind::File, "test"), NOW)
}

fn document(kind: DocumentKind, path: &str, mut content: Value) -> ConfigDocument {
    content["kind"] = "KubeletConfiguration".into();
    content["apiVersion"] = "kubelet.config.k8s.io/v1beta1".into();
    ConfigDocument { path: path.into(), kind, content: known(content) }
}

fn main_file(content: Value) -> ConfigDocument {
    document(DocumentKind::Main, "/var/lib/kubelet/config.yaml", content)
}

fn drop_in(name: &str, content: Value) -> ConfigDocument {
    document(DocumentKind::DropIn, name, content)
}

fn unread(kind: DocumentKind, path: &str, reason: Reason) -> ConfigDocument {
    ConfigDocument { path: path.into(), kind, content: Observed::unavailable_because(reason, format!("open {path}")) }
}

fn kubelet(argv: &str, documents: Vec<ConfigDocument>) -> Kubelet {
    Kubelet {
        host_network: known(true),
        version: known("v1.36.2".into()),
        argv: argv.split_whitespace().map(str::to_owned).collect(),
        documents: known(Listing::complete(documents)),
        ..Kubelet::unread("kubelet", 7, "kubelet")
    }
}

const CONFIG: &str = "kubelet --config=/var/lib/kubelet/config.yaml";
const BOTH: &str = "kubelet --config=/var/lib/kubelet/config.yaml --config-dir=/etc/kubelet.d";
const ONLY_DIR: &str = "kubelet --config-dir /etc/kubelet.d";

/// `value (kind place)`, or `reason: detail`.
fn said(kubelet: &Kubelet, name: &str) -> String {
    match settings(kubelet, NOW).get(name) {
        None => panic!("there is no setting {name}"),
        Some(Observed::Known { value, .. }) => format!("{} ({})", value.value, value.source),
        Some(Observed::Unavailable(why)) => format!("{}: {}", why.reason.name(), why.detail),
    }
}

#[rstest]
#[case("4.2.1 a file without the field", CONFIG, json!({}), "anonymousAuth", "false (default v1beta1)")]
#[case("4.2.2 a file without the field", CONFIG, json!({}), "authorizationMode", r#""Webhook" (default v1beta1)"#)]
#[case("4.2.2 flag, space", "kubelet --config=c --authorization-mode AlwaysAllow", json!({}), "authorizationMode", r#""AlwaysAllow" (flag --authorization-mode)"#)]
#[case("4.2.4 no file, no flag", "kubelet", json!({}), "readOnlyPort", "10255 (default without a flag)")]
#[case("4.2.4 flag, space", "kubelet --read-only-port 0", json!({}), "readOnlyPort", "0 (flag --read-only-port)")]
#[case("4.2.5 flag 0s", "kubelet --streaming-connection-idle-timeout=0s", json!({}), "streamingConnectionIdleTimeout", "0 (flag --streaming-connection-idle-timeout)")]
#[case("4.2.5 flag 4h", "kubelet --streaming-connection-idle-timeout=4h", json!({}), "streamingConnectionIdleTimeout", "14400 (flag --streaming-connection-idle-timeout)")]
#[case("4.2.5 a zero in the file is defaulted", CONFIG, json!({"streamingConnectionIdleTimeout": "0s"}), "streamingConnectionIdleTimeout", "14400 (default v1beta1)")]
#[case("4.2.9 serverTLSBootstrap", CONFIG, json!({"serverTLSBootstrap": true}), "serverTLSBootstrap", "true (file /var/lib/kubelet/config.yaml)")]
#[case("4.2.9 its flag has another name", "kubelet --rotate-server-certificates", json!({}), "serverTLSBootstrap", "true (flag --rotate-server-certificates)")]
#[case("4.2.10 unset is false", CONFIG, json!({}), "rotateCertificates", "false (default v1beta1)")]
#[case("4.2.11 gate unset", CONFIG, json!({}), "rotateKubeletServerCertificate", "true (default v1beta1)")]
#[case("4.2.11 gate in the file", CONFIG, json!({"featureGates": {"RotateKubeletServerCertificate": false}}), "rotateKubeletServerCertificate", "false (file /var/lib/kubelet/config.yaml)")]
#[case("4.2.11 gate by flag, later one wins", "kubelet --config=c --feature-gates=A=true,RotateKubeletServerCertificate=false --feature-gates RotateKubeletServerCertificate=true", json!({}), "rotateKubeletServerCertificate", "true (flag --feature-gates)")]
#[case("4.2.12 suites unset", CONFIG, json!({}), "tlsCipherSuites", "[] (default v1beta1)")]
#[case("4.2.12 suites by repeated flags", "kubelet --tls-cipher-suites=A,B --tls-cipher-suites C", json!({}), "tlsCipherSuites", r#"["A","B","C"] (flag --tls-cipher-suites)"#)]
#[case("4.2.13 -1 is unlimited", CONFIG, json!({"podPidsLimit": -1}), "podPidsLimit", "-1 (default v1beta1)")]
#[case("4.2.13 below zero is defaulted", CONFIG, json!({"podPidsLimit": -7}), "podPidsLimit", "-1 (default v1beta1)")]
#[case("4.2.13 a limit", CONFIG, json!({"podPidsLimit": 4096}), "podPidsLimit", "4096 (file /var/lib/kubelet/config.yaml)")]
#[case("4.2.14 explicit false", CONFIG, json!({"seccompDefault": false}), "seccompDefault", "false (file /var/lib/kubelet/config.yaml)")]
#[case("4.2.8 0 is 0", CONFIG, json!({"eventRecordQPS": 0}), "eventRecordQPS", "0 (file /var/lib/kubelet/config.yaml)")]
#[case("AKS flags", "kubelet --anonymous-auth=false --authorization-mode=AlwaysAllow", json!({}), "authorizationMode", r#""AlwaysAllow" (flag --authorization-mode)"#)]
#[case("no file: anonymous", "kubelet", json!({}), "anonymousAuth", "true (default without a flag)")]
#[case("no file: webhook", "kubelet", json!({}), "webhookAuthentication", "false (default without a flag)")]
#[case("no file: authorization", "kubelet", json!({}), "authorizationMode", r#""AlwaysAllow" (default without a flag)"#)]
#[case("no file: the rest is as v1beta1", "kubelet", json!({}), "healthzPort", "10248 (default without a flag)")]
#[case("an empty --config is none", "kubelet --config=", json!({}), "readOnlyPort", "10255 (default without a flag)")]
#[case("a flag beats the file", "kubelet --config=c --read-only-port=0", json!({"readOnlyPort": 10255}), "readOnlyPort", "0 (flag --read-only-port)")]
#[case("the file beats the default", CONFIG, json!({"readOnlyPort": 10255}), "readOnlyPort", "10255 (file /var/lib/kubelet/config.yaml)")]
#[case("an empty mode is defaulted", CONFIG, json!({"authorization": {"mode": ""}}), "authorizationMode", r#""Webhook" (default v1beta1)"#)]
#[case("null is unset", CONFIG, json!({"authentication": null}), "anonymousAuth", "false (default v1beta1)")]
#[case("a switch takes no argument", "kubelet --anonymous-auth false", json!({}), "anonymousAuth", "true (flag --anonymous-auth)")]
#[case("a ParseBool form", "kubelet --anonymous_auth=F", json!({}), "anonymousAuth", "false (flag --anonymous-auth)")]
#[case("flags only", CONFIG, json!({"hostnameOverride": "no such field"}), "hostnameOverride", r#""" (default without a flag)"#)]
#[case("a wrong type", CONFIG, json!({"readOnlyPort": "10255"}), "readOnlyPort", r#"malformed: /var/lib/kubelet/config.yaml: readOnlyPort: "10255" is not an integer"#)]
#[case("a scalar where a mapping belongs", CONFIG, json!({"authentication": 1}), "anonymousAuth", "malformed: /var/lib/kubelet/config.yaml: authentication is not a mapping")]
#[case("a size", CONFIG, json!({"containerLogMaxSize": "50Mi"}), "containerLogMaxSize", "52428800 (file /var/lib/kubelet/config.yaml)")]
#[case("a size by flag", "kubelet --container-log-max-size 1G", json!({}), "containerLogMaxSize", "1000000000 (flag --container-log-max-size)")]
#[case("an empty size is defaulted", CONFIG, json!({"containerLogMaxSize": ""}), "containerLogMaxSize", "10485760 (default v1beta1)")]
#[case("a size is text", CONFIG, json!({"containerLogMaxSize": 10}), "containerLogMaxSize", "malformed: /var/lib/kubelet/config.yaml: containerLogMaxSize: 10 is not a quantity such as \"10Mi\"")]
#[case("an unknown mode", CONFIG, json!({"authorization": {"mode": "RBAC"}}), "authorizationMode", "malformed: /var/lib/kubelet/config.yaml: authorization.mode: \"RBAC\" is not one of AlwaysAllow, Webhook")]
#[case("yes is true in YAML 1.1", CONFIG, json!({"authentication": {"anonymous": {"enabled": "yes"}}}), "anonymousAuth", "true (file /var/lib/kubelet/config.yaml)")]
#[case("thresholds by flag replace", "kubelet --config=c --eviction-hard=memory.available<1Gi --eviction-hard nodefs.available<5%", json!({"evictionHard": {"pid.available": "10%"}}), "evictionHard", r#"{"memory.available":"1Gi","nodefs.available":"5%"} (flag --eviction-hard)"#)]
#[case("thresholds by default", CONFIG, json!({}), "evictionHard", r#"{"imagefs.available":"15%","imagefs.inodesFree":"5%","memory.available":"100Mi","nodefs.available":"10%","nodefs.inodesFree":"5%"} (default v1beta1)"#)]
#[case("one threshold turns the others off", CONFIG, json!({"evictionHard": {"memory.available": "1Gi"}}), "evictionHard", r#"{"memory.available":"1Gi"} (file /var/lib/kubelet/config.yaml)"#)]
#[case("unless the file merges", CONFIG, json!({"evictionHard": {"memory.available": "1Gi"}, "mergeDefaultEvictionSettings": true}), "evictionHard", r#"{"imagefs.available":"15%","imagefs.inodesFree":"5%","memory.available":"1Gi","nodefs.available":"10%","nodefs.inodesFree":"5%"} (file /var/lib/kubelet/config.yaml)"#)]
#[case("no thresholds without a file", "kubelet", json!({}), "evictionHard", "{} (default without a flag)")]
#[case("a threshold of nothing", CONFIG, json!({"evictionHard": {"memory.available": "0"}}), "evictionHard", r#"malformed: /var/lib/kubelet/config.yaml: evictionHard: memory.available: "0" is not a threshold"#)]
#[case("reserved", "kubelet --system-reserved cpu=200m,pid=1000", json!({}), "systemReserved", r#"{"cpu":"200m","pid":"1000"} (flag --system-reserved)"#)]
#[case("what cannot be reserved", "kubelet --kube-reserved gpu=1", json!({}), "kubeReserved", "malformed: --kube-reserved: gpu cannot be reserved")]
#[case("not a pair", "kubelet --kube-reserved cpu", json!({}), "kubeReserved", "malformed: --kube-reserved: `cpu` is not a pair with `=`")]
#[case("gates of file and flags", "kubelet --config=c --feature-gates=B=false,C=true --feature-gates D=1", json!({"featureGates": {"A": true, "B": true}}), "featureGates", r#"{"A":true,"B":false,"C":true,"D":true} (flag --feature-gates)"#)]
#[case("all gates of a stage", CONFIG, json!({"featureGates": {"AllBeta": false}}), "rotateKubeletServerCertificate", "not_supported: AllBeta is set, which turns gates by their stage in each release")]
#[case("seccomp: the flag cannot turn it off", "kubelet --config=c --seccomp-default=false", json!({"seccompDefault": true}), "seccompDefault", "true (file /var/lib/kubelet/config.yaml)")]
#[case("seccomp: the flag turns it on", "kubelet --config=c --seccomp-default", json!({"seccompDefault": false}), "seccompDefault", "true (flag --seccomp-default)")]
#[case("seccomp: off in both", "kubelet --config=c --seccomp-default=0", json!({"seccompDefault": false}), "seccompDefault", "false (flag --seccomp-default)")]
#[case("no level is enforced", CONFIG, json!({"enforceNodeAllocatable": []}), "enforceNodeAllocatable", "[] (file /var/lib/kubelet/config.yaml)")]
#[case("an empty list is lost before drop-ins", BOTH, json!({"enforceNodeAllocatable": []}), "enforceNodeAllocatable", r#"["pods"] (default v1beta1)"#)]
#[case("a header stays on the node", CONFIG, json!({"staticPodURLHeader": {"Authorization": ["Bearer x"]}}), "staticPodURLHeader", "true (file /var/lib/kubelet/config.yaml)")]
#[case("a header by flag", "kubelet --manifest-url-header Authorization:x", json!({}), "staticPodURLHeader", "true (flag --manifest-url-header)")]
#[case("a flag with nonsense", "kubelet --anonymous-auth=yes", json!({}), "anonymousAuth", "malformed: --anonymous-auth: `yes` is not true or false")]
fn one_file(#[case] why: &str, #[case] argv: &str, #[case] content: Value, #[case] name: &str, #[case] expected: &str) {
    assert_eq!(said(&kubelet(argv, vec![main_file(content)]), name), expected, "{why}");
}

#[rstest]
#[case("4.2.4 a drop-in opens what the file closed", BOTH, json!({"readOnlyPort": 10255}), json!({}), "readOnlyPort", "10255 (drop-in 10-a.conf)")]
#[case("the last drop-in wins", BOTH, json!({"readOnlyPort": 10255}), json!({"readOnlyPort": 0}), "readOnlyPort", "0 (drop-in 20-b.conf)")]
#[case("objects merge", BOTH, json!({"authentication": {"anonymous": {"enabled": true}}}), json!({"authentication": {"webhook": {"enabled": false}}}), "anonymousAuth", "true (drop-in 10-a.conf)")]
#[case("lists replace", BOTH, json!({"tlsCipherSuites": ["A", "B"]}), json!({"tlsCipherSuites": ["C"]}), "tlsCipherSuites", r#"["C"] (drop-in 20-b.conf)"#)]
#[case("null removes", BOTH, json!({"readOnlyPort": 10255}), json!({"readOnlyPort": null}), "readOnlyPort", "0 (default v1beta1)")]
#[case("null further out removes", BOTH, json!({"authentication": {"anonymous": {"enabled": true}}}), json!({"authentication": null}), "anonymousAuth", "false (default v1beta1)")]
#[case("maps merge by name", BOTH, json!({"systemReserved": {"cpu": "1", "pid": "100"}}), json!({"systemReserved": {"cpu": null, "memory": "1Gi"}}), "systemReserved", r#"{"memory":"1Gi","pid":"100"} (drop-in 20-b.conf)"#)]
#[case("default thresholds are there before drop-ins", BOTH, json!({"evictionHard": {"memory.available": "1Gi"}}), json!({"evictionHard": {"imagefs.available": null}}), "evictionHard", r#"{"imagefs.inodesFree":"5%","memory.available":"1Gi","nodefs.available":"10%","nodefs.inodesFree":"5%"} (drop-in 20-b.conf)"#)]
#[case("and are gone when a drop-in removes them", BOTH, json!({"evictionHard": null}), json!({}), "evictionHard", "{} (default v1beta1)")]
#[case("a flag beats drop-ins", "kubelet --config=c --config-dir=d --read-only-port=0", json!({"readOnlyPort": 10255}), json!({}), "readOnlyPort", "0 (flag --read-only-port)")]
fn file_and_two_drop_ins(
    #[case] why: &str,
    #[case] argv: &str,
    #[case] first: Value,
    #[case] second: Value,
    #[case] name: &str,
    #[case] expected: &str,
) {
    let documents = vec![main_file(json!({"readOnlyPort": 0})), drop_in("10-a.conf", first), drop_in("20-b.conf", second)];
    assert_eq!(said(&kubelet(argv, documents), name), expected, "{why}");
}

#[rstest]
#[case("the base stays the legacy one", json!({}), "readOnlyPort", "10255 (default without a flag)")]
#[case("also beside a drop-in that sets something else", json!({"port": 10350}), "anonymousAuth", "true (default without a flag)")]
#[case("a drop-in sets", json!({"readOnlyPort": 0}), "readOnlyPort", "0 (drop-in 10-a.conf)")]
#[case("what a drop-in removes gets the file's default", json!({"readOnlyPort": null}), "readOnlyPort", "0 (default v1beta1)")]
fn only_a_drop_in_directory(#[case] why: &str, #[case] content: Value, #[case] name: &str, #[case] expected: &str) {
    assert_eq!(said(&kubelet(ONLY_DIR, vec![drop_in("10-a.conf", content)]), name), expected, "{why}");
}

#[test]
fn an_unreadable_file_is_never_a_default() {
    let kubelet = kubelet(
        "kubelet --config=/var/lib/kubelet/config.yaml --anonymous-auth=false",
        vec![unread(DocumentKind::Main, "/var/lib/kubelet/config.yaml", Reason::PermissionDenied)],
    );
    assert_eq!(said(&kubelet, "readOnlyPort"), "permission_denied: open /var/lib/kubelet/config.yaml");
    assert_eq!(said(&kubelet, "anonymousAuth"), "false (flag --anonymous-auth)", "a flag decides all the same");
    let unknown = settings(&kubelet, NOW).values().filter(|setting| setting.value().is_none()).count();
    let by_file = super::SPECS.iter().filter(|spec| !spec.path.is_empty()).count();
    assert_eq!(unknown, by_file - 1, "every setting but those of flags alone and the one given");
}

#[test]
fn documents_that_were_not_read_at_all_are_never_a_default() {
    let mut kubelet = kubelet(CONFIG, vec![]);
    assert_eq!(said(&kubelet, "readOnlyPort"), "not_supported: /var/lib/kubelet/config.yaml was not read");
    kubelet.documents = Observed::unavailable_because(Reason::TimedOut, "read /var/lib/kubelet");
    assert_eq!(said(&kubelet, "readOnlyPort"), "timed_out: read /var/lib/kubelet");
    let path = "/var/lib/kubelet/config.yaml";
    kubelet.documents = known(Listing { items: vec![], skipped: vec![Skipped { what: path.into(), reason: Reason::TooLarge }] });
    assert_eq!(said(&kubelet, "readOnlyPort"), format!("too_large: {path}"));
    kubelet.argv = vec!["kubelet".into()];
    assert_eq!(said(&kubelet, "readOnlyPort"), "10255 (default without a flag)", "no document was asked for");
}

#[test]
fn an_unreadable_drop_in_hides_what_stands_before_it_and_not_what_stands_after() {
    let hidden = unread(DocumentKind::DropIn, "20-b.conf", Reason::PermissionDenied);
    let documents = vec![main_file(json!({"readOnlyPort": 0, "port": 10250})), hidden, drop_in("30-c.conf", json!({"port": 10350}))];
    let kubelet = kubelet(BOTH, documents);
    assert_eq!(said(&kubelet, "readOnlyPort"), "permission_denied: open 20-b.conf");
    assert_eq!(said(&kubelet, "port"), "10350 (drop-in 30-c.conf)");
}

#[test]
fn a_skipped_drop_in_may_stand_anywhere() {
    let mut kubelet = kubelet(BOTH, vec![main_file(json!({"readOnlyPort": 0}))]);
    kubelet.documents.value_mut().expect("known").skipped.push(Skipped { what: "/etc/kubelet.d/x.conf".into(), reason: Reason::TimedOut });
    assert_eq!(said(&kubelet, "readOnlyPort"), "timed_out: /etc/kubelet.d/x.conf");
}

#[test]
fn a_document_of_another_kind_is_malformed() {
    let mut wrong = main_file(json!({}));
    wrong.content = known(json!({"kind": "Pod"}));
    assert_eq!(said(&kubelet(CONFIG, vec![wrong]), "readOnlyPort"), WRONG_KIND);
    let mut wrong = main_file(json!({}));
    wrong.content = known(json!({"kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1"}));
    assert_eq!(said(&kubelet(CONFIG, vec![wrong]), "readOnlyPort"), WRONG_KIND);
}

const WRONG_KIND: &str = "malformed: /var/lib/kubelet/config.yaml is not KubeletConfiguration of kubelet.config.k8s.io/v1beta1";

#[test]
fn a_kubelet_inside_another_program_is_unknown() {
    let mut embedded = kubelet("/usr/local/bin/k3s server --kubelet-arg=anonymous-auth=true", vec![]);
    embedded.flavour = "k3s".into();
    assert!(said(&embedded, "anonymousAuth").starts_with("not_supported: k3s "), "{}", said(&embedded, "anonymousAuth"));
    let mut separate = kubelet("/var/lib/rancher/rke2/bin/kubelet --anonymous-auth=false", vec![]);
    separate.flavour = "rke2".into();
    assert_eq!(said(&separate, "anonymousAuth"), "false (flag --anonymous-auth)");
    let mut hyperkube = kubelet("hyperkube kubelet --anonymous-auth=false", vec![]);
    hyperkube.flavour = "hyperkube".into();
    assert_eq!(said(&hyperkube, "anonymousAuth"), "false (flag --anonymous-auth)");
}

/// The configuration files of two recorded 1.36 kubelets, and what each kubelet's own `/configz` answered.
#[rstest]
#[case::hardened(json!({}), json!({"anonymousAuth": false, "authorizationMode": "Webhook", "readOnlyPort": 0}))]
#[case::misconfigured(
    json!({"authentication": {"anonymous": {"enabled": true}, "webhook": {"cacheTTL": "0s", "enabled": true}, "x509": {"clientCAFile": "/etc/kubernetes/pki/ca.crt"}}, "authorization": {"mode": "AlwaysAllow"}, "readOnlyPort": 10255}),
    json!({"anonymousAuth": true, "authorizationMode": "AlwaysAllow", "readOnlyPort": 10255}),
)]
fn as_the_kubelet_itself_says(#[case] changes: Value, #[case] differs: Value) {
    let mut content = json!({
        "authentication": {"anonymous": {"enabled": false}, "webhook": {"cacheTTL": "0s", "enabled": true}, "x509": {"clientCAFile": "/etc/kubernetes/pki/ca.crt"}},
        "authorization": {"mode": "Webhook", "webhook": {"cacheAuthorizedTTL": "0s", "cacheUnauthorizedTTL": "0s"}},
        "failSwapOn": false, "healthzBindAddress": "127.0.0.1", "healthzPort": 10248, "memorySwap": {}, "rotateCertificates": true,
        "staticPodPath": "/etc/kubernetes/manifests", "streamingConnectionIdleTimeout": "0s", "syncFrequency": "0s"
    });
    for (key, value) in changes.as_object().expect("an object") {
        content[key] = value.clone();
    }
    let mut configz = json!({
        "enableServer": true, "staticPodPath": "/etc/kubernetes/manifests", "address": "0.0.0.0", "port": 10250, "rotateCertificates": true,
        "clientCAFile": "/etc/kubernetes/pki/ca.crt", "webhookAuthentication": true, "eventRecordQPS": 50, "enableDebuggingHandlers": true,
        "healthzPort": 10248, "healthzBindAddress": "127.0.0.1", "streamingConnectionIdleTimeout": 14400, "podPidsLimit": -1,
        "makeIPTablesUtilChains": true, "failSwapOn": false, "enableProfilingHandler": true, "seccompDefault": false,
        "kubeconfig": "/etc/kubernetes/kubelet.conf", "hostnameOverride": "node1"
    });
    for (key, value) in differs.as_object().expect("an object") {
        configz[key] = value.clone();
    }
    let argv = "kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml --hostname-override=node1 --node-ip=192.0.2.2";
    let settings = settings(&kubelet(argv, vec![main_file(content)]), NOW);
    for (name, expected) in configz.as_object().expect("an object") {
        let setting = settings.get(name).and_then(Observed::value).unwrap_or_else(|| panic!("{name} is known"));
        assert_eq!(&setting.value, expected, "{name}");
    }
}

/// `value source` of every place, weakest first.
fn places(kubelet: &Kubelet, name: &str) -> Vec<String> {
    let settings = settings(kubelet, NOW);
    let setting = settings.get(name).and_then(Observed::value).expect("known");
    setting.declared.iter().map(|said| format!("{} {}", said.value, said.source)).collect()
}

#[test]
fn every_place_that_says_something_is_told_and_the_last_decided() {
    let argv = "kubelet --config=c --config-dir=d --read-only-port=0 --seccomp-default=false --feature-gates=A=false";
    let documents = vec![
        main_file(
            json!({"readOnlyPort": 10255, "seccompDefault": true, "streamingConnectionIdleTimeout": "4h", "featureGates": {"A": true}}),
        ),
        drop_in("10-a.conf", json!({"readOnlyPort": null, "streamingConnectionIdleTimeout": "0s"})),
        drop_in("20-b.conf", json!({"readOnlyPort": "10255", "staticPodURLHeader": {"a": ["secret"]}})),
    ];
    let kubelet = kubelet(argv, documents);
    let file = "file /var/lib/kubelet/config.yaml";
    assert_eq!(
        places(&kubelet, "readOnlyPort"),
        [&format!("10255 {file}"), "null drop-in 10-a.conf", "\"10255\" drop-in 20-b.conf", "0 flag --read-only-port"]
    );
    assert_eq!(places(&kubelet, "seccompDefault"), ["false flag --seccomp-default", &format!("true {file}")]);
    assert_eq!(places(&kubelet, "streamingConnectionIdleTimeout"), [&format!("14400 {file}"), "0 drop-in 10-a.conf"]);
    assert_eq!(places(&kubelet, "featureGates"), [&format!("{{\"A\":true}} {file}"), "{\"A\":false} flag --feature-gates"]);
    assert_eq!(places(&kubelet, "staticPodURLHeader"), ["true drop-in 20-b.conf"], "never the value");
    assert!(places(&kubelet, "anonymousAuth").is_empty(), "only a default holds");
    assert_eq!(places(&kubelet, "config"), ["\"c\" flag --config"], "no document says anything of what has no field");
}

#[test]
fn every_setting_has_a_default_and_a_name_of_its_own() {
    let settings = settings(&kubelet("kubelet", vec![]), NOW);
    assert_eq!(settings.len(), super::SPECS.len());
    let unknown: Vec<&String> = settings.iter().filter(|(_, setting)| setting.value().is_none()).map(|(name, _)| name).collect();
    assert_eq!(unknown, ["cgroupDriver"], "only what the container runtime decides");
}

#[test]
fn a_flag_says_where_it_is_written_where_one_place_has_it_so() {
    let origin = |place: &str, flags: &[&str]| FlagOrigin {
        place: place.into(),
        kind: FlagOriginKind::EnvironmentFile,
        flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
    };
    let with = |origins: Vec<FlagOrigin>| Kubelet {
        origins: known(Listing::complete(origins)),
        ..kubelet("kubelet --read-only-port=10255 --anonymous-auth=false", vec![])
    };
    let env = || origin("/var/lib/kubelet/kubeadm-flags.env", &["--read-only-port", "10255"]);
    let told = with(vec![env(), origin("/etc/default/kubelet", &["--anonymous-auth"])]);
    assert_eq!(said(&told, "readOnlyPort"), "10255 (flag --read-only-port, written in /var/lib/kubelet/kubeadm-flags.env)");
    assert_eq!(said(&told, "anonymousAuth"), "false (flag --anonymous-auth)", "that file was changed since");
    let twice = with(vec![env(), origin("/etc/default/kubelet", &["--read-only-port=10255"])]);
    assert_eq!(said(&twice, "readOnlyPort"), "10255 (flag --read-only-port)", "either may be it");
    let settings = settings(&told, NOW);
    let port = settings["readOnlyPort"].value().expect("known");
    assert_eq!(port.declared.last().map(|said| said.source.clone()), Some(port.source.clone()));
}
