//! Fixtures of `network.yaml`.

use holdfast_checks::entries::Verdict;
use holdfast_checks::facts::*;
use serde_json::json;

use crate::base::*;
use crate::case::{Case, judged};

fn netcat(port: i64, scope: BindScope) -> Listener {
    listener(port, scope, 4242, "nc", "")
}

fn no_proxy(facts: &mut NodeFacts) {
    remove(&mut facts.components, |component| component.name == "kube-proxy");
}

/// kube-proxy started with a configuration file.
fn proxy_config(facts: &mut NodeFacts, content: Observed<serde_json::Value>) {
    flags(facts, "kube-proxy", "--config=/etc/kube-proxy.yaml");
    let document = ConfigDocument { path: "/etc/kube-proxy.yaml".into(), kind: DocumentKind::Main, content };
    component_of(facts, "kube-proxy").documents = complete(vec![document]);
}

pub(crate) fn cases() -> Vec<Case> {
    services().into_iter().chain(outside()).collect()
}

fn services() -> Vec<Case> {
    vec![
        Case::only("kubelet-read-only-port-listening")
            .passes(|facts| items(&mut facts.listeners).push(netcat(10255, BindScope::Loopback)))
            .fails(|facts| items(&mut facts.listeners).push(netcat(10255, BindScope::All)))
            .fails(|facts| items(&mut facts.listeners).push(netcat(10255, BindScope::Node)))
            .fails(|facts| {
                no_kubelet(facts);
                facts.listeners = complete(vec![netcat(10255, BindScope::All)]);
            })
            .not_applicable(|_| {})
            .unreadable("permission_denied", |facts| facts.listeners = denied())
            .unreadable("incomplete", |facts| {
                let skipped = Skipped { what: "/proc/1/net/tcp6".into(), reason: Reason::PermissionDenied };
                facts.listeners.value_mut().expect("known").skipped.push(skipped);
            }),
        Case::of("unexpected-listener")
            .passes(|facts| items(&mut facts.listeners).push(netcat(4000, BindScope::Loopback)))
            .passes(|facts| items(&mut facts.listeners).push(listener(31000, BindScope::All, 205, "kube-proxy", "kube-proxy")))
            .passes(|facts| {
                let vxlan = Listener { protocol: "udp".into(), owner: denied(), ..netcat(8472, BindScope::All) };
                items(&mut facts.listeners).push(vxlan);
            })
            // k3s is API server and kubelet in one process.
            .passes(|facts| {
                kubelet_of(facts).flavour = "k3s".into();
                facts.listeners = complete(vec![listener(6443, BindScope::All, KUBELET, "k3s-server", "kubelet")]);
            })
            .fails(|facts| items(&mut facts.listeners).push(listener(10257, BindScope::All, KUBELET, "kubelet", "kubelet")))
            .fails(|facts| items(&mut facts.listeners).push(netcat(4000, BindScope::All)))
            .fails(|facts| items(&mut facts.listeners).push(netcat(31000, BindScope::All)))
            .fails(|facts| items(&mut facts.listeners).push(Listener { owner: denied(), ..netcat(4000, BindScope::Public) }))
            .fails(|facts| items(&mut facts.listeners).push(Listener { protocol: "udp".into(), ..netcat(10250, BindScope::All) }))
            .not_applicable(no_kubelet)
            .unreadable("permission_denied", |facts| items(&mut facts.listeners)[0].owner = denied())
            .unreadable("permission_denied", |facts| facts.listeners = denied()),
        Case::of("kube-proxy-metrics-address")
            .passes(|facts| proxy_config(facts, known(json!({"kind": "KubeProxyConfiguration", "metricsBindAddress": "[::1]:10249"}))))
            .passes(|facts| flags(facts, "kube-proxy", "--metrics-bind-address="))
            .fails(|facts| proxy_config(facts, known(json!({"kind": "KubeProxyConfiguration", "metricsBindAddress": "0.0.0.0"}))))
            .fails(|facts| flags(facts, "kube-proxy", "--metrics-bind-address=0.0.0.0:10249"))
            .not_applicable(no_proxy)
            .unreadable("permission_denied", |facts| proxy_config(facts, denied())),
        Case::of("kube-proxy-healthz-address")
            .fails(|facts| flags(facts, "kube-proxy", ""))
            .fails(|facts| flags(facts, "kube-proxy", "--healthz-bind-address [::]:10256"))
            .not_applicable(no_proxy)
            .unreadable("permission_denied", |facts| proxy_config(facts, denied())),
        Case::of("network-policies-enforced")
            .fails(|facts| {
                no_calico(facts);
                cni_of(facts).plugins = vec!["flannel".into(), "portmap".into()];
            })
            .not_applicable(no_kubelet)
            .unreadable("permission_denied", |facts| network_of(facts).cni = denied())
            .unreadable("permission_denied", |facts| facts.network = denied())
            .unreadable("undecided", no_calico),
        ssh("ssh-root-login", "PermitRootLogin", json!("yes"))
            .passes(|facts| sshd_of(facts, "PermitRootLogin", json!("no")))
            // OpenSSH's own default.
            .passes(|facts| unset(facts, "PermitRootLogin")),
        ssh("ssh-password-authentication", "PasswordAuthentication", json!(true))
            .fails(|facts| unset(facts, "PasswordAuthentication"))
            .unreadable("undecided", |facts| unset(facts, "KbdInteractiveAuthentication"))
            .unreadable("undecided", |facts| sshd_of(facts, "KbdInteractiveAuthentication", json!(true))),
        Case::of("ssh-public-address")
            .passes(|facts| {
                public_address(facts);
                remove(&mut facts.listeners, |listener| listener.port == 22);
                items(&mut facts.listeners).push(listener(22, BindScope::Node, 900, "sshd", ""));
            })
            .fails(public_address)
            .fails(|facts| items(&mut facts.listeners).push(listener(2222, BindScope::Public, 900, "sshd", "")))
            .not_applicable(no_ssh)
            .unreadable("permission_denied", |facts| facts.network = denied())
            .unreadable("permission_denied", |facts| network_of(facts).addresses = denied())
            .unreadable("permission_denied", |facts| facts.listeners = denied()),
    ]
}

/// What the internet reaches.
fn outside() -> Vec<Case> {
    vec![
        Case::of("ssh-open-to-the-internet")
            .passes(public_address)
            .passes(|facts| sshd_of(facts, "PasswordAuthentication", json!(true)))
            .fails(|facts| {
                public_address(facts);
                sshd_of(facts, "PasswordAuthentication", json!(true));
            })
            .fails(|facts| {
                public_address(facts);
                sshd_of(facts, "PermitRootLogin", json!("yes"));
            })
            .fails(|facts| {
                public_address(facts);
                for_some(facts, "PasswordAuthentication", "yes");
            })
            .not_applicable(no_ssh)
            .unreadable("permission_denied", |facts| {
                public_address(facts);
                network_of(facts).sshd = denied();
            })
            .unreadable("permission_denied", |facts| {
                network_of(facts).addresses = denied();
                sshd_of(facts, "PasswordAuthentication", json!(true));
            })
            .unreadable("permission_denied", |facts| facts.listeners = denied()),
        Case::of("host-firewall")
            .passes(|facts| {
                no_firewall(facts);
                network_of(facts).firewall_rules = known(12);
            })
            .fails(|facts| {
                no_firewall(facts);
                network_of(facts).firewall_rules = known(0);
            })
            .unreadable("permission_denied", no_firewall)
            .unreadable("permission_denied", |facts| network_of(facts).firewall = denied()),
        Case::of("node-public-address")
            .fails(public_address)
            .not_applicable(no_kubelet)
            .unreadable("permission_denied", |facts| network_of(facts).addresses = denied()),
    ]
}

/// kube-proxy's tables say nothing of a firewall.
fn no_firewall(facts: &mut NodeFacts) {
    network_of(facts).firewall.value_mut().expect("the base knows it").services.clear();
}

fn network_of(facts: &mut NodeFacts) -> &mut Network {
    facts.network.value_mut().expect("the base knows it")
}

fn cni_of(facts: &mut NodeFacts) -> &mut Cni {
    network_of(facts).cni.value_mut().expect("the base knows it")
}

/// The program that enforces policies for calico does not run.
fn no_calico(facts: &mut NodeFacts) {
    remove(&mut facts.processes, |process| process.name == "calico-node");
}

fn sshd_settings(facts: &mut NodeFacts) -> &mut Settings {
    network_of(facts).sshd.value_mut().expect("the base knows it")
}

fn sshd_of(facts: &mut NodeFacts, name: &str, value: serde_json::Value) {
    sshd_settings(facts).get_mut(name).and_then(Observed::value_mut).expect("the base has it").value = value;
}

/// No line says it.
fn unset(facts: &mut NodeFacts, name: &str) {
    sshd_settings(facts).remove(name);
}

/// A `Match` block sets it for some connections.
fn for_some(facts: &mut NodeFacts, name: &str, value: &str) {
    let source = Source::new(SourceKind::File, "Match blocks");
    let value = json!([{"criteria": "Address 192.0.2.0/24", "settings": {name: value}}]);
    sshd_settings(facts).insert("Match".into(), known(Setting { value, source, declared: vec![] }));
}

fn no_ssh(facts: &mut NodeFacts) {
    remove(&mut facts.listeners, |listener| listener.port == 22);
}

/// A check of one setting of the SSH server.
fn ssh(check: &'static str, setting: &'static str, bad: serde_json::Value) -> Case {
    Case::of(check)
        .fails(move |facts| sshd_of(facts, setting, bad.clone()))
        .fails(move |facts| for_some(facts, setting, "yes"))
        .passes(move |facts| for_some(facts, setting, "no"))
        .not_applicable(no_ssh)
        .unreadable("permission_denied", |facts| network_of(facts).sshd = denied())
        .unreadable("permission_denied", move |facts| {
            sshd_settings(facts).insert(setting.into(), denied());
        })
        .unreadable("permission_denied", |facts| facts.listeners = denied())
}

/// What the alert and the dashboard show of a stray listener on a host without Kubernetes.
#[test]
fn a_program_on_port_10255_is_named_in_the_evidence() {
    let findings = judged("kubelet-read-only-port-listening", &|facts| {
        no_kubelet(facts);
        facts.listeners = complete(vec![netcat(10255, BindScope::All)]);
    });
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].subject, "port:tcp/10255");
    let shown: Vec<String> =
        findings[0].evidence.iter().map(|item| format!("{}={}", item.path, item.value.clone().unwrap_or_default())).collect();
    assert_eq!(
        shown,
        [r#"listeners.address="::""#, r#"listeners.owner.name="nc""#, r#"listeners.owner.exe="/usr/bin/nc""#, r#"listeners.owner.unit="""#]
    );
}

fn verdict(change: impl Fn(&mut NodeFacts)) -> Verdict {
    let findings = judged("unexpected-listener", &|facts| {
        facts.listeners = complete(vec![]);
        change(facts);
    });
    assert_eq!(findings.len(), 1, "{findings:#?}");
    findings[0].verdict
}

#[test]
fn a_udp_client_waiting_for_its_answer_is_no_stray_listener() {
    let udp = |port| {
        move |facts: &mut NodeFacts| items(&mut facts.listeners).push(Listener { protocol: "udp".into(), ..netcat(port, BindScope::All) })
    };
    assert_eq!(verdict(udp(45_123)), Verdict::NotApplicable);
    assert_eq!(verdict(udp(5353)), Verdict::Fail);
    assert_eq!(verdict(|facts| items(&mut facts.listeners).push(netcat(45_123, BindScope::All))), Verdict::Fail);
}

#[test]
fn agents_of_network_plug_ins_and_distributions_are_known_on_their_own_ports_only() {
    let on =
        |port, name: &'static str| verdict(move |facts| items(&mut facts.listeners).push(listener(port, BindScope::All, 4242, name, "")));
    for (port, name) in [(9253, "node-cache"), (4244, "cilium-agent"), (61678, "aws-k8s-agent"), (7946, "speaker")] {
        assert_eq!(on(port, name), Verdict::Pass, "{name}");
        assert_eq!(on(port, "nc"), Verdict::Fail, "{port}");
        assert_eq!(on(4000, name), Verdict::Fail, "{name}");
    }
    let supervisor = |flavour: &'static str| {
        verdict(move |facts| {
            kubelet_of(facts).flavour = flavour.into();
            items(&mut facts.listeners).push(listener(9345, BindScope::All, 4242, "rke2", ""));
        })
    };
    assert_eq!(supervisor("rke2"), Verdict::Pass);
    assert_eq!(supervisor("kubelet"), Verdict::Fail);
}
