//! Situations that scanners judge wrongly, by the benchmark's row: each gives its right verdict on the base node.

use std::collections::BTreeSet;

use holdfast_checks::entries::Verdict::{self, Fail, NotApplicable, Pass};
use holdfast_checks::facts::*;
use serde_json::{Value, json};

use crate::base::*;
use crate::case::{Change, evaluator, judged};

/// A row of the benchmark, the situation, the check that decides it, the verdict, and how the situation comes about.
struct Trap(&'static str, &'static str, &'static str, Verdict, Change);

fn trap(
    row: &'static str,
    situation: &'static str,
    check: &'static str,
    right: Verdict,
    change: impl Fn(&mut NodeFacts) + 'static,
) -> Trap {
    Trap(row, situation, check, right, Box::new(change))
}

/// The kubelet's configuration file says `fields` and nothing else.
fn config(fields: Value) -> impl Fn(&mut NodeFacts) + 'static {
    move |facts| {
        let mut content = json!({"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"});
        for (name, value) in fields.as_object().expect("fields") {
            content[name] = value.clone();
        }
        items(&mut kubelet_of(facts).documents)[0].content = known(content);
    }
}

/// A kubelet started with `flags` and without a configuration file.
fn argv(flags: &'static str) -> impl Fn(&mut NodeFacts) + 'static {
    move |facts| {
        let kubelet = kubelet_of(facts);
        kubelet.argv = std::iter::once("kubelet").chain(flags.split_whitespace()).map(str::to_owned).collect();
        kubelet.documents = complete(vec![]);
    }
}

fn started(name: &'static str, with: &'static str) -> impl Fn(&mut NodeFacts) + 'static {
    move |facts| flags(facts, name, with)
}

/// A component with `flags` that reads one file.
fn reads(facts: &mut NodeFacts, name: &str, with: &str, path: &str, content: Value) {
    flags(facts, name, with);
    let document = ConfigDocument { path: path.into(), kind: DocumentKind::Main, content: known(content) };
    component_of(facts, name).documents = complete(vec![document]);
}

fn structured(facts: &mut NodeFacts) {
    let authorizers = json!({"kind": "AuthorizationConfiguration", "authorizers": [{"type": "Node"}, {"type": "RBAC"}]});
    reads(facts, "kube-apiserver", "--authorization-config=/a.yaml", "/a.yaml", authorizers);
}

fn drop_in(facts: &mut NodeFacts) {
    config(json!({"readOnlyPort": 0}))(facts);
    kubelet_flag(facts, "--config-dir=/etc/kubernetes/kubelet.conf.d");
    let content = json!({"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "readOnlyPort": 10255});
    let path = "/etc/kubernetes/kubelet.conf.d/20.conf".into();
    items(&mut kubelet_of(facts).documents).push(ConfigDocument { path, kind: DocumentKind::DropIn, content: known(content) });
}

fn without(role: &'static str) -> impl Fn(&mut NodeFacts) + 'static {
    move |facts| remove(&mut facts.files, |file| file.role == role)
}

fn file_of<'a>(facts: &'a mut NodeFacts, role: &str) -> &'a mut FileFact {
    items(&mut facts.files).iter_mut().find(|file| file.role == role).expect("the base has one")
}

fn kubelet_traps() -> Vec<Trap> {
    vec![
        trap("4.2.1", "config file, anonymous unset", "kubelet-anonymous-auth", Pass, config(json!({}))),
        trap("4.2.2", "config file, authorization.mode unset", "kubelet-authorization-mode", Pass, config(json!({}))),
        trap("4.2.2", "the flag with a space", "kubelet-authorization-mode", Fail, argv("--authorization-mode AlwaysAllow")),
        trap(
            "4.2.2",
            "flags without a configuration file, as on AKS",
            "kubelet-authorization-mode",
            Fail,
            argv("--anonymous-auth=false --authorization-mode=AlwaysAllow"),
        ),
        trap("4.2.4", "no --config, flag unset: 10255 is open", "kubelet-read-only-port", Fail, argv("")),
        trap("4.2.4", "the flag with a space", "kubelet-read-only-port", Pass, argv("--read-only-port 0")),
        trap("4.2.4", "a drop-in opens it, the file closes it", "kubelet-read-only-port", Fail, drop_in),
        trap("4.2.5", "the flag says 0s", "kubelet-streaming-timeout", Fail, argv("--streaming-connection-idle-timeout=0s")),
        trap("4.2.5", "the flag says 4h", "kubelet-streaming-timeout", Pass, argv("--streaming-connection-idle-timeout=4h")),
        trap("4.2.8", "no limit of events", "kubelet-event-rate", Pass, config(json!({"eventRecordQPS": 0}))),
        trap("4.2.8", "any limit of events", "kubelet-event-rate", Pass, config(json!({"eventRecordQPS": 5}))),
        trap(
            "4.2.9",
            "serverTLSBootstrap and no certificate files",
            "kubelet-serving-certificate",
            Pass,
            config(json!({"serverTLSBootstrap": true})),
        ),
        trap("4.2.11", "gate unset, serverTLSBootstrap off", "kubelet-rotate-server-certificate", Fail, config(json!({}))),
        trap("4.2.12", "suites unset: Go's own list", "kubelet-tls-cipher-suites", Fail, config(json!({}))),
        trap("4.2.13", "an explicit -1", "kubelet-pod-pids-limit", Fail, config(json!({"podPidsLimit": -1}))),
        trap("4.2.14", "an explicit false", "kubelet-seccomp-default", Fail, config(json!({"seccompDefault": false}))),
        trap("4.3.1", "metrics on every address by the configuration file", "kube-proxy-metrics-address", Fail, |facts| {
            let content = json!({"kind": "KubeProxyConfiguration", "metricsBindAddress": "0.0.0.0"});
            reads(facts, "kube-proxy", "--config=/p.yaml", "/p.yaml", content);
        }),
    ]
}

fn file_traps() -> Vec<Trap> {
    vec![
        trap("4.1.2", "no unit: started another way", "kubelet-unit-owner", NotApplicable, without("kubelet_unit")),
        trap("4.1.1", "no unit: started another way", "kubelet-unit-mode", NotApplicable, without("kubelet_unit")),
        trap("4.1.3", "kube-proxy has no kubeconfig", "kube-proxy-kubeconfig-mode", NotApplicable, without("kube_proxy_kubeconfig")),
        trap("4.1.4", "kube-proxy has no kubeconfig", "kube-proxy-kubeconfig-owner", NotApplicable, without("kube_proxy_kubeconfig")),
        trap("4.1.5", "a symlink to a file of 0600", "kubelet-kubeconfig-mode", Pass, |facts| {
            file_of(facts, "kubelet_kubeconfig").target = "/data/kubelet.conf".into();
        }),
        trap("4.1.9", "0644 below a directory of 0700", "kubelet-config-mode", Pass, |facts| {
            let file = file_of(facts, "kubelet_config");
            file.mode = 0o644;
            file.way = known(vec![Step { path: "/var/lib/kubelet".into(), mode: 0o700, uid: 0, gid: 0, acl: vec![] }]);
        }),
        trap("1.1.12", "etcd's data belongs to root, as kubeadm has it", "etcd-data-owner", Fail, |facts| {
            let data = file_of(facts, "etcd_data");
            (data.uid, data.gid) = (0, 0);
        }),
    ]
}

fn control_plane_traps() -> Vec<Trap> {
    vec![
        trap("1.2.2", "another program speaks of the API server's token file", "apiserver-static-credentials", Pass, |facts| {
            let mut other = process("service:backup.service/backup", Placement::Host, 0);
            other.name = "backup --token-auth-file kube-apiserver".into();
            items(&mut facts.processes).push(other);
        }),
        trap("1.2.6", "structured authorization", "apiserver-authorization-mode", Pass, structured),
        trap("1.2.7", "structured authorization", "apiserver-node-and-rbac", Pass, structured),
        trap("1.2.8", "structured authorization", "apiserver-node-and-rbac", Pass, structured),
        trap(
            "1.2.10",
            "AlwaysAdmit behind a space",
            "apiserver-always-admit",
            Fail,
            started("kube-apiserver", "--enable-admission-plugins NodeRestriction,AlwaysAdmit"),
        ),
        trap(
            "1.2.16",
            "the audit log goes to /dev/null",
            "apiserver-audit-log",
            Fail,
            started("kube-apiserver", "--audit-policy-file=/p.yaml --audit-log-path=/dev/null"),
        ),
        trap(
            "1.2.29",
            "suites unset, TLS 1.3 alone",
            "apiserver-tls-cipher-suites",
            Pass,
            started("kube-apiserver", "--tls-min-version=VersionTLS13"),
        ),
        trap("1.3.3", "unset: the default is false", "controller-manager-service-accounts", Fail, started("kube-controller-manager", "")),
        trap("1.3.7", "unset: all addresses", "controller-manager-bind-address", Fail, started("kube-controller-manager", "")),
        trap("1.4.2", "unset: all addresses", "scheduler-bind-address", Fail, started("kube-scheduler", "")),
        trap("2.2", "configured by a file alone", "etcd-client-certificates", Pass, |facts| {
            let content = json!({
                "client-transport-security": {"client-cert-auth": true, "cert-file": "/c", "key-file": "/k"},
                "listen-client-urls": "https://127.0.0.1:2379",
            });
            reads(facts, "etcd", "--config-file=/etcd.yaml", "/etcd.yaml", content);
        }),
        trap("2.7", "a CA file is given, and it is the cluster's", "etcd-own-ca", Fail, |facts| {
            certificate_of(facts, "/pki/ca.crt").key_fingerprint = "kubernetes".into();
        }),
    ]
}

fn wrong(traps: &[Trap]) -> Vec<String> {
    let mut wrong = Vec::new();
    for Trap(row, situation, check, right, change) in traps {
        let rows = &evaluator().catalogue().get(check).expect("there is such a check").frameworks;
        assert!(rows.get("cis-1.12").is_some_and(|rows| rows.iter().any(|one| one == row)), "{check} does not answer {row}");
        let findings = judged(check, change.as_ref());
        assert!(!findings.is_empty(), "{check} says nothing");
        let other = findings.iter().filter(|finding| finding.verdict != *right);
        wrong.extend(other.map(|finding| format!("{row} {situation}: {} {}", finding.verdict.name(), finding.reason)));
    }
    wrong
}

#[test]
fn traps_of_the_kubelet_and_kube_proxy() {
    assert_eq!(wrong(&kubelet_traps()), Vec::<String>::new());
}

#[test]
fn traps_of_files() {
    assert_eq!(wrong(&file_traps()), Vec::<String>::new());
}

#[test]
fn traps_of_the_control_plane() {
    assert_eq!(wrong(&control_plane_traps()), Vec::<String>::new());
}

/// The whole chapter on workers, and what of the control plane's a node decides.
#[test]
fn every_row_about_workers_and_etcd_has_a_check() {
    let answered: BTreeSet<&str> = evaluator()
        .catalogue()
        .checks()
        .iter()
        .flat_map(|check| check.frameworks.get("cis-1.12").into_iter().flatten())
        .map(String::as_str)
        .collect();
    let chapter = |chapter: &str, rows: u32| (1..=rows).map(|row| format!("{chapter}.{row}")).collect::<Vec<_>>();
    let rows = [chapter("2", 7), chapter("4.1", 10), chapter("4.2", 14), chapter("4.3", 1)].concat();
    assert_eq!(rows.len(), 7 + 25);
    let missing: Vec<&String> = rows.iter().filter(|row| !answered.contains(row.as_str())).collect();
    assert_eq!(missing, Vec::<&String>::new());
}
