//! Fixtures of `kubelet.yaml` and `contradictions.yaml`.

use holdfast_checks::entries::Verdict;
use holdfast_checks::facts::*;
use serde_json::{Value, json};

use crate::base::*;
use crate::case::{Case, judged};

/// A check of one effective setting: fails with `bad` in the configuration file, unknown when that is unreadable.
fn setting(check: &'static str, bad: Value) -> Case {
    Case::of(check)
        .fails(move |facts| configure(facts, bad.clone()))
        .not_applicable(no_kubelet)
        .unreadable("permission_denied", hide_config)
        .unreadable("timed_out", |facts| facts.kubelets = Observed::unavailable_because(Reason::TimedOut, "processes"))
}

/// The program file could not be read.
fn no_version(facts: &mut NodeFacts) {
    kubelet_of(facts).version = denied();
}

/// A check of what the kubelet's API port answers.
fn observed(check: &'static str) -> Case {
    Case::of(check)
        .unreadable("permission_denied", |facts| facts.probes = denied())
        .unreadable("permission_denied", |facts| facts.listeners = denied())
        .unreadable("incomplete", |facts| {
            for listener in items(&mut facts.listeners) {
                listener.owner = denied();
            }
        })
}

fn only_404(facts: &mut NodeFacts) {
    answers(facts, ProbeOutcome::Answered, 404);
}

fn served(facts: &mut NodeFacts) {
    answers(facts, ProbeOutcome::Answered, 200);
}

fn forbidden(facts: &mut NodeFacts) {
    answers(facts, ProbeOutcome::Answered, 403);
}

fn silent(facts: &mut NodeFacts) {
    answers(facts, ProbeOutcome::TimedOut, 0);
}

fn no_server(facts: &mut NodeFacts) {
    configure(facts, json!({"enableServer": false}));
    remove(&mut facts.listeners, |listener| listener.port == 10250);
    remove(&mut facts.probes, |probe| probe.port == 10250);
}

fn anonymous() -> Value {
    json!({"authentication": {"anonymous": {"enabled": true}, "x509": {"clientCAFile": "/ca.crt"}}})
}

fn always_allow() -> Value {
    json!({"authorization": {"mode": "AlwaysAllow"}})
}

/// The read-only port is open and answers so.
fn port_10255(facts: &mut NodeFacts, outcome: ProbeOutcome, status: i64) {
    items(&mut facts.listeners).push(listener(10255, BindScope::All, KUBELET, "kubelet", "kubelet"));
    remove(&mut facts.probes, |probe| probe.port == 10255);
    items(&mut facts.probes).push(probe(10255, false, outcome, status));
}

pub(crate) fn cases() -> Vec<Case> {
    [declared(), behaviour(), certificates(), limits(), surface(), tls(), contradictions()].into_iter().flatten().collect()
}

fn declared() -> Vec<Case> {
    vec![
        setting("kubelet-anonymous-auth", anonymous())
            .fails(|facts| kubelet_flag(facts, "--anonymous-auth"))
            .fails(|facts| kubelet_of(facts).argv = vec!["kubelet".into()])
            .passes(|facts| {
                configure(facts, anonymous());
                kubelet_flag(facts, "--anonymous-auth=false");
            })
            .passes(|facts| {
                hide_config(facts);
                kubelet_flag(facts, "--anonymous-auth=false");
            }),
        setting("kubelet-authorization-mode", always_allow())
            .fails(|facts| kubelet_of(facts).argv.extend(["--authorization-mode".into(), "AlwaysAllow".into()]))
            .fails(|facts| {
                kubelet_of(facts).argv = vec!["kubelet".into(), "--anonymous-auth=false".into(), "--authorization-mode=AlwaysAllow".into()];
            })
            .passes(|facts| configure(facts, json!({"authorization": {}}))),
        setting("kubelet-read-only-port", json!({"readOnlyPort": 10255}))
            .fails(|facts| kubelet_of(facts).argv = vec!["kubelet".into()])
            .fails(|facts| {
                kubelet_flag(facts, "--config-dir=/etc/kubelet.d");
                let content =
                    known(json!({"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "readOnlyPort": 10255}));
                let document = ConfigDocument { path: "/etc/kubelet.d/20-debug.conf".into(), kind: DocumentKind::DropIn, content };
                items(&mut kubelet_of(facts).documents).push(document);
            })
            .passes(|facts| kubelet_of(facts).argv.extend(["--read-only-port".into(), "0".into()])),
        setting("kubelet-client-ca", json!({"authentication": {}})),
        setting("kubelet-healthz-address", json!({"healthzBindAddress": "0.0.0.0"}))
            .passes(|facts| configure(facts, json!({"healthzBindAddress": "0.0.0.0", "healthzPort": 0})))
            .passes(|facts| configure(facts, json!({"healthzBindAddress": "::1"}))),
        Case::only("kubelet-static-pod-url")
            .passes(|facts| configure(facts, json!({"staticPodURL": "https://192.0.2.9/pods"})))
            .passes(|facts| configure(facts, json!({"staticPodURL": "HTTPS://192.0.2.9/pods"})))
            .not_applicable(|_| {})
            .not_applicable(no_kubelet)
            .fails(|facts| configure(facts, json!({"staticPodURL": "http://192.0.2.9/pods"})))
            .unreadable("permission_denied", hide_config),
        setting("kubelet-iptables-chains", json!({"makeIPTablesUtilChains": false})),
        Case::of("kubelet-hostname-override")
            .passes(hide_config)
            .fails(|facts| kubelet_flag(facts, "--hostname-override=n2"))
            .not_applicable(no_kubelet)
            .unreadable("not_supported", |facts| {
                let kubelet = kubelet_of(facts);
                (kubelet.flavour, kubelet.argv) = ("k3s".into(), vec!["k3s".into(), "server".into()]);
            }),
    ]
}

fn behaviour() -> Vec<Case> {
    vec![
        observed("kubelet-answers-anonymous")
            .passes(forbidden)
            .fails(served)
            .fails(|facts| {
                served(facts);
                hide_config(facts);
            })
            .not_applicable(no_kubelet)
            .not_applicable(no_server)
            .unreadable("undecided", only_404)
            .unreadable("incomplete", silent),
        observed("kubelet-anonymous-reaches-authorization")
            .fails(forbidden)
            .fails(served)
            .not_applicable(no_kubelet)
            .not_applicable(no_server)
            .unreadable("undecided", only_404),
        Case::of("kubelet-anonymous-contradiction")
            .passes(|facts| {
                configure(facts, anonymous());
                forbidden(facts);
            })
            .fails(served)
            .fails(|facts| configure(facts, anonymous()))
            .not_applicable(only_404)
            .not_applicable(no_kubelet)
            .unreadable("permission_denied", hide_config)
            .unreadable("permission_denied", |facts| facts.probes = denied())
            .unreadable("incomplete", silent),
        Case::only("kubelet-authorization-contradiction")
            .passes(forbidden)
            .passes(|facts| {
                configure(facts, always_allow());
                served(facts);
            })
            .fails(served)
            .fails(|facts| {
                configure(facts, always_allow());
                forbidden(facts);
            })
            .not_applicable(|_| {})
            .not_applicable(no_kubelet)
            .unreadable("permission_denied", |facts| facts.probes = denied())
            .unreadable("permission_denied", |facts| {
                served(facts);
                hide_config(facts);
            }),
        Case::of("kubelet-read-only-port-answers")
            .passes(|facts| port_10255(facts, ProbeOutcome::NotHttp, 0))
            .fails(|facts| port_10255(facts, ProbeOutcome::Answered, 200))
            .fails(|facts| {
                hide_config(facts);
                port_10255(facts, ProbeOutcome::Answered, 200);
            })
            .fails(|facts| {
                configure(facts, json!({"readOnlyPort": 10355}));
                items(&mut facts.listeners).push(listener(10355, BindScope::All, KUBELET, "kubelet", "kubelet"));
                items(&mut facts.probes).push(probe(10355, false, ProbeOutcome::Answered, 200));
            })
            // A refusal of the usual port says nothing about the one that is open and silent.
            .unreadable("undecided", |facts| {
                configure(facts, json!({"readOnlyPort": 10355}));
                items(&mut facts.listeners).push(listener(10355, BindScope::All, KUBELET, "kubelet", "kubelet"));
                items(&mut facts.probes).push(probe(10355, false, ProbeOutcome::TimedOut, 0));
                items(&mut facts.probes).push(probe(10255, false, ProbeOutcome::Refused, 0));
            })
            .not_applicable(no_kubelet)
            .unreadable("permission_denied", |facts| facts.listeners = denied())
            .unreadable("permission_denied", |facts| {
                port_10255(facts, ProbeOutcome::Answered, 200);
                facts.probes = denied();
            })
            .unreadable("undecided", |facts| port_10255(facts, ProbeOutcome::TimedOut, 0)),
    ]
}

fn certificates() -> Vec<Case> {
    vec![
        setting("kubelet-serving-certificate", json!({"serverTLSBootstrap": false}))
            .passes(|facts| configure(facts, json!({"serverTLSBootstrap": false, "tlsCertFile": "/c", "tlsPrivateKeyFile": "/k"})))
            .fails(|facts| configure(facts, json!({"serverTLSBootstrap": false, "tlsCertFile": "/c"}))),
        Case::of("kubelet-rotate-certificates")
            .fails(|facts| {
                configure(facts, json!({"rotateCertificates": null}));
                items(&mut facts.files).push(file("pki_key", "/var/lib/kubelet/pki/kubelet-client-current.pem", 0o600));
            })
            .fails(|facts| {
                configure(facts, json!({"rotateCertificates": null}));
                kubelet_of(facts).argv.push("--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf".into());
            })
            .fails(|facts| {
                configure(facts, json!({"rotateCertificates": null}));
                let path = "/etc/kubernetes/kubelet.conf";
                items(&mut facts.certificates).push(certificate("kubelet_kubeconfig", path, "default-auth", "system:node:n1", &["system:nodes"]));
            })
            .not_applicable(|facts| kubelet_of(facts).argv = vec!["kubelet".into(), "--config=/var/lib/kubelet/config.yaml".into()])
            .not_applicable(no_kubelet)
            .unreadable("permission_denied", hide_config)
            // On EKS the kubelet has no certificate; elsewhere it may be in its kubeconfig.
            .unreadable("undecided", |facts| configure(facts, json!({"rotateCertificates": null}))),
        setting("kubelet-rotate-server-certificate", json!({"serverTLSBootstrap": false}))
            .fails(|facts| configure(facts, json!({"featureGates": {"RotateKubeletServerCertificate": false}})))
            .not_applicable(|facts| configure(facts, json!({"tlsCertFile": "/c", "tlsPrivateKeyFile": "/k"}))),
        setting("kubelet-tls-cipher-suites", json!({"tlsMinVersion": ""}))
            .fails(|facts| {
                configure(facts, json!({"tlsMinVersion": "VersionTLS12", "tlsCipherSuites": ["TLS_RSA_WITH_AES_128_CBC_SHA"]}));
            })
            .passes(|facts| {
                let strong = json!(["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"]);
                configure(facts, json!({"tlsMinVersion": "VersionTLS12", "tlsCipherSuites": strong}));
            }),
        setting("kubelet-tls-min-version", json!({"tlsMinVersion": "VersionTLS11"}))
            .passes(|facts| configure(facts, json!({"tlsMinVersion": null}))),
    ]
}

fn limits() -> Vec<Case> {
    vec![
        Case::of("kubelet-streaming-timeout")
            .passes(|facts| configure(facts, json!({"streamingConnectionIdleTimeout": "0s"})))
            .passes(|facts| kubelet_flag(facts, "--streaming-connection-idle-timeout=4h"))
            .fails(|facts| kubelet_flag(facts, "--streaming-connection-idle-timeout=0s"))
            .not_applicable(no_kubelet)
            .unreadable("permission_denied", hide_config)
            .unreadable("malformed", |facts| configure(facts, json!({"streamingConnectionIdleTimeout": 5}))),
        setting("kubelet-event-rate", json!({"eventRecordQPS": -1}))
            .passes(|facts| configure(facts, json!({"eventRecordQPS": 0})))
            .passes(no_version)
            .fails(|facts| {
                no_version(facts);
                kubelet_flag(facts, "--event_qps=-1");
            }),
        setting("kubelet-pod-pids-limit", json!({"podPidsLimit": -1})).fails(|facts| configure(facts, json!({"podPidsLimit": 0}))),
        setting("kubelet-seccomp-default", json!({"seccompDefault": false})),
        setting("kubelet-protect-kernel-defaults", json!({"protectKernelDefaults": false})),
        Case::of("kubelet-swap")
            .passes(|facts| {
                swap(facts);
                configure(facts, json!({"failSwapOn": false}));
            })
            .fails(swap)
            .fails(|facts| {
                swap(facts);
                configure(facts, json!({"failSwapOn": false, "memorySwap": {"swapBehavior": "UnlimitedSwap"}}));
            })
            .not_applicable(no_kubelet)
            .unreadable("permission_denied", |facts| {
                swap(facts);
                hide_config(facts);
            })
            .unreadable("permission_denied", |facts| kernel_of(facts).swaps = denied()),
    ]
}

/// The base kubelet's own answer about its configuration, with `fields` in it.
fn reports(facts: &mut NodeFacts, fields: Value) {
    let mut configz: Value = serde_json::from_str(include_str!("../data/kubelet-configz.json")).expect("it is JSON");
    for (name, value) in fields.as_object().expect("fields") {
        configz[name] = value.clone();
    }
    kubelet_of(facts).configz = known(configz);
}

/// Configuration and behaviour, side by side.
fn contradictions() -> Vec<Case> {
    let compared = |check: &'static str| {
        Case::of(check)
            .not_applicable(no_kubelet)
            .unreadable("permission_denied", hide_config)
            .unreadable("permission_denied", |facts| facts.listeners = denied())
            .unreadable("permission_denied", |facts| {
                for listener in items(&mut facts.listeners) {
                    listener.owner = denied();
                }
            })
    };
    vec![
        compared("kubelet-read-only-port-contradiction")
            .passes(|facts| {
                configure(facts, json!({"readOnlyPort": 10255}));
                port_10255(facts, ProbeOutcome::Answered, 200);
            })
            .fails(|facts| port_10255(facts, ProbeOutcome::Answered, 200))
            // The file was changed, the kubelet not restarted.
            .fails(|facts| configure(facts, json!({"readOnlyPort": 10255}))),
        compared("kubelet-address-contradiction")
            .passes(no_server)
            .fails(|facts| configure(facts, json!({"address": "127.0.0.1"})))
            .fails(|facts| configure(facts, json!({"port": 10350})))
            .fails(|facts| configure(facts, json!({"enableServer": false}))),
        compared("kubelet-healthz-contradiction")
            .passes(|facts| {
                configure(facts, json!({"healthzPort": 0}));
                remove(&mut facts.listeners, |listener| listener.port == 10248);
            })
            .fails(|facts| configure(facts, json!({"healthzPort": 0})))
            .fails(|facts| configure(facts, json!({"healthzBindAddress": "0.0.0.0"}))),
        compared("kubelet-tls-contradiction")
            .not_applicable(no_server)
            .passes(|facts| {
                configure(facts, json!({"tlsMinVersion": ""}));
                takes(facts, 10250, "TLS 1.2");
            })
            .passes(|facts| {
                let listed = json!(["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]);
                configure(facts, json!({"tlsMinVersion": "VersionTLS12", "tlsCipherSuites": listed}));
                takes(facts, 10250, "TLS 1.2");
                handshake_of(facts, 10250).suites = complete(vec!["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256".into()]);
            })
            .fails(|facts| takes(facts, 10250, "TLS 1.2"))
            .fails(|facts| configure(facts, json!({"tlsMinVersion": "VersionTLS12"})))
            .fails(|facts| {
                let listed = json!(["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]);
                configure(facts, json!({"tlsMinVersion": "VersionTLS12", "tlsCipherSuites": listed}));
                takes(facts, 10250, "TLS 1.2");
                handshake_of(facts, 10250).suites = complete(vec!["TLS_RSA_WITH_AES_128_GCM_SHA256".into()]);
            })
            .unreadable("permission_denied", |facts| facts.handshakes = denied()),
        Case::of("kubelet-unknown-fields")
            .fails(|facts| configure(facts, json!({"authentification": {"anonymous": {"enabled": false}}})))
            .fails(|facts| configure(facts, json!({"authentication": {"anonymus": {"enabled": false}}})))
            .not_applicable(no_kubelet)
            .unreadable("incomplete", hide_config)
            .unreadable("permission_denied", |facts| kubelet_of(facts).documents = denied()),
        Case::only("kubelet-reported-contradiction")
            .passes(|facts| reports(facts, json!({})))
            .fails(|facts| reports(facts, json!({"podPidsLimit": -1})))
            .fails(|facts| reports(facts, json!({"authentication": {"anonymous": {"enabled": true}}})))
            .not_applicable(|_| {})
            .not_applicable(no_kubelet)
            .unreadable("timed_out", |facts| facts.kubelets = Observed::unavailable_because(Reason::TimedOut, "processes"))
            // What cannot be compared may differ.
            .unreadable("incomplete", |facts| {
                reports(facts, json!({}));
                hide_config(facts);
            }),
    ]
}

/// What it leaves open: to pods, to the network.
fn surface() -> Vec<Case> {
    vec![
        setting("kubelet-pid-reservation", json!({"systemReserved": {"cpu": "100m"}}))
            .passes(|facts| configure(facts, json!({"systemReserved": {}, "kubeReserved": {"pid": "1000"}})))
            .passes(|facts| configure(facts, json!({"systemReserved": {}, "evictionHard": {"pid.available": "10%"}})))
            .fails(|facts| {
                no_version(facts);
                configure(facts, json!({"systemReserved": {}}));
            })
            .fails(|facts| {
                no_version(facts);
                let kubelet = kubelet_of(facts);
                kubelet.argv = vec!["kubelet".into()];
                items(&mut kubelet.documents).clear();
            }),
        setting("kubelet-eviction-thresholds", json!({"evictionHard": {"imagefs.available": "15%"}}))
            .fails(|facts| configure(facts, json!({"evictionHard": {"memory.available": "0%", "nodefs.available": "10%"}})))
            .fails(|facts| configure(facts, json!({"evictionHard": {"memory.available": "100Mi"}})))
            .fails(|facts| configure(facts, json!({"evictionHard": {"memory.available": "100%", "nodefs.available": "10%"}})))
            .fails(|facts| configure(facts, json!({"evictionHard": {"memory.available": "1Gi", "nodefs.available": "00.00%"}})))
            .passes(|facts| configure(facts, json!({"evictionHard": {"memory.available": "1Gi", "nodefs.available": "5%"}})))
            .passes(no_version)
            .unreadable("not_supported", |facts| {
                no_version(facts);
                configure(facts, json!({"mergeDefaultEvictionSettings": true, "evictionHard": {"pid.available": "10%"}}));
            }),
        setting("kubelet-log-rotation", json!({"containerLogMaxSize": "-1"}))
            .fails(|facts| configure(facts, json!({"containerLogMaxFiles": 1})))
            .passes(|facts| configure(facts, json!({"containerLogMaxSize": "50Mi", "containerLogMaxFiles": 3}))),
        setting("kubelet-unsafe-sysctls", json!({"allowedUnsafeSysctls": ["net.*"]}))
            .fails(|facts| kubelet_flag(facts, "--allowed-unsafe-sysctls=kernel.msg*")),
        setting("kubelet-system-logs", json!({"enableSystemLogHandler": true}))
            .fails(|facts| configure(facts, json!({"enableSystemLogHandler": null})))
            .fails(|facts| configure(facts, json!({"enableSystemLogQuery": true})))
            .passes(|facts| configure(facts, json!({"enableSystemLogHandler": true, "enableDebuggingHandlers": false}))),
        Case::of("kubelet-public-address")
            .passes(|facts| {
                public_address(facts);
                remove(&mut facts.listeners, |listener| listener.port == 10250);
                items(&mut facts.listeners).push(listener(10250, BindScope::Node, KUBELET, "kubelet", "kubelet"));
            })
            .fails(public_address)
            .fails(|facts| items(&mut facts.listeners).push(listener(10255, BindScope::Public, KUBELET, "kubelet", "kubelet")))
            .not_applicable(no_kubelet)
            .unreadable("permission_denied", |facts| facts.listeners = denied())
            .unreadable("permission_denied", |facts| facts.network = denied()),
        Case::of("kubelet-restart-pending")
            .fails(|facts| kubelet_of(facts).executable.value_mut().expect("known").replaced = true)
            .not_applicable(no_kubelet)
            .unreadable("permission_denied", |facts| kubelet_of(facts).executable = denied()),
    ]
}

/// TLS as the socket speaks it.
fn tls() -> Vec<Case> {
    let handshakes = |check: &'static str| {
        Case::of(check)
            .not_applicable(no_kubelet)
            .not_applicable(|facts| {
                no_server(facts);
                remove(&mut facts.handshakes, |one| one.port == 10250);
            })
            .unreadable("permission_denied", |facts| facts.handshakes = denied())
            .unreadable("permission_denied", |facts| facts.listeners = denied())
    };
    let timed_out = || Observed::unavailable_because(Reason::TimedOut, "handshake");
    vec![
        handshakes("kubelet-accepted-tls-versions")
            .passes(|facts| takes(facts, 10250, "TLS 1.2"))
            .fails(|facts| takes(facts, 10250, "TLS 1.0"))
            // Whatever is configured.
            .fails(|facts| {
                configure(facts, json!({"tlsMinVersion": "VersionTLS13"}));
                takes(facts, 10250, "TLS 1.1");
            })
            .unreadable("timed_out", move |facts| handshake_of(facts, 10250).versions = Observed::unavailable_because(Reason::TimedOut, ""))
            .unreadable("undecided", |facts| handshake_of(facts, 10250).versions = complete(vec![]))
            .unreadable("incomplete", |facts| {
                let versions = handshake_of(facts, 10250).versions.value_mut().expect("known");
                versions.items.retain(|version| version.name == "TLS 1.3");
                versions.skipped.push(Skipped { what: "TLS 1.0".into(), reason: Reason::TimedOut });
            }),
        handshakes("kubelet-accepted-tls-suites")
            .fails(|facts| handshake_of(facts, 10250).suites = complete(vec!["TLS_RSA_WITH_3DES_EDE_CBC_SHA".into()]))
            .passes(|facts| handshake_of(facts, 10250).suites = complete(vec!["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256".into()]))
            .unreadable("timed_out", move |facts| handshake_of(facts, 10250).suites = timed_out()),
        handshakes("kubelet-served-certificate")
            .fails(|facts| shows_its_own(facts, 10250))
            .fails(|facts| handshake_of(facts, 10250).certificate.value_mut().expect("known").self_signed = true)
            .unreadable("undecided", |facts| handshake_of(facts, 10250).issued_by = String::new())
            .unreadable("timed_out", |facts| {
                handshake_of(facts, 10250).certificate = Observed::unavailable_because(Reason::TimedOut, "handshake");
            }),
    ]
}

fn swap(facts: &mut NodeFacts) {
    items(&mut kernel_of(facts).swaps).push(Swap { path: "/dev/vda2".into(), kind: "partition".into(), size_kib: 1_048_576 });
}

fn verdict(check: &str, change: impl Fn(&mut NodeFacts)) -> (Verdict, String) {
    let findings = judged(check, &change);
    assert_eq!(findings.len(), 1, "{findings:#?}");
    (findings[0].verdict, findings[0].reason.clone())
}

/// A live agent asks nobody who does not listen: no request is made to a closed port, and none is needed.
#[test]
fn a_read_only_port_on_which_nothing_listens_is_closed_without_being_asked() {
    let unasked = |facts: &mut NodeFacts| remove(&mut facts.probes, |probe| probe.port == 10255);
    assert_eq!(verdict("kubelet-read-only-port-answers", unasked).0, Verdict::Pass);
    let unprobed = |facts: &mut NodeFacts| facts.probes = denied();
    assert_eq!(verdict("kubelet-read-only-port-answers", unprobed).0, Verdict::Pass);
}

/// k3s and `MicroK8s` are kubelet, API server and scheduler in one process, and an API server tells everybody its version.
#[test]
fn what_the_api_server_inside_k3s_answers_is_not_the_kubelets_answer() {
    let k3s = |facts: &mut NodeFacts| {
        let kubelet = kubelet_of(facts);
        (kubelet.flavour, kubelet.argv) = ("k3s".into(), vec!["k3s".into(), "server".into()]);
        for port in [6443, 10257, 10259] {
            items(&mut facts.listeners).push(listener(port, BindScope::All, KUBELET, "k3s-server", "kubelet"));
            items(&mut facts.probes).push(Probe { path: "/version".into(), ..probe(port, true, ProbeOutcome::Answered, 200) });
        }
    };
    assert_eq!(verdict("kubelet-answers-anonymous", k3s).0, Verdict::Pass);
    assert_eq!(verdict("kubelet-anonymous-reaches-authorization", k3s).0, Verdict::Pass);
    let open = |facts: &mut NodeFacts| {
        k3s(facts);
        served(facts);
    };
    assert_eq!(verdict("kubelet-answers-anonymous", open).0, Verdict::Fail);
}
