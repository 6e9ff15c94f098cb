//! Fixtures of `runtimes.yaml`.

use holdfast_checks::entries::Verdict;
use holdfast_checks::facts::*;
use serde_json::{Value, json};

use crate::base::*;
use crate::case::{Case, judged};

/// containerd with this in its configuration, beside what the base has.
fn with(pointer: &'static str, value: Value) -> impl Fn(&mut NodeFacts) {
    move |facts| set(facts, pointer, value.clone())
}

fn set(facts: &mut NodeFacts, pointer: &str, value: Value) {
    let documents = items(&mut runtime_of(facts).documents);
    let document = documents[0].content.value_mut().expect("the base knows it");
    let mut here = document;
    for name in pointer.split('/') {
        if !here.get(name).is_some_and(Value::is_object) {
            here[name] = json!({});
        }
        here = here.get_mut(name).expect("it was put there");
    }
    *here = value;
}

const RUNTIME: &str = "plugins/io.containerd.cri.v1.runtime";

fn cri(key: &'static str, value: Value) -> impl Fn(&mut NodeFacts) {
    move |facts| set(facts, &format!("{RUNTIME}/{key}"), value.clone())
}

fn no_runtime(facts: &mut NodeFacts) {
    items(&mut facts.runtimes).clear();
}

fn unread(facts: &mut NodeFacts) {
    items(&mut runtime_of(facts).documents)[0].content = denied();
}

fn group_unread(facts: &mut NodeFacts) {
    facts.runtimes = denied();
}

/// One more runtime of this name, with these flags and this main document.
fn more(facts: &mut NodeFacts, name: &str, flags: &str, document: Value) {
    let (program, path) = match name {
        "docker" => ("dockerd", "/etc/docker/daemon.json"),
        _ => ("crio", "/etc/crio/crio.conf"),
    };
    let documents = vec![
        RuntimeDocument { path: path.into(), role: DocumentRole::Main, content: known(document) },
        RuntimeDocument {
            path: "/etc/containers/policy.json".into(),
            role: DocumentRole::SignaturePolicy,
            content: known(json!({"default": [{"type": "reject"}]})),
        },
    ];
    let runtime = Runtime {
        version: known("1.33.0".into()),
        executable: known(Executable { path: format!("/usr/bin/{program}"), replaced: false }),
        argv: format!("{program} {flags}").split_whitespace().map(str::to_owned).collect(),
        documents: complete(documents),
        programs: complete(vec![RuntimeProgram { path: "/usr/bin/crun".into(), version: known("1.20".into()), package: denied() }]),
        sockets: complete(vec![]),
        ..Runtime::unread(name, name, 151)
    };
    items(&mut facts.runtimes).push(runtime);
}

fn only_docker(facts: &mut NodeFacts) {
    no_runtime(facts);
    more(facts, "docker", "", json!({}));
}

fn only_crio(facts: &mut NodeFacts) {
    no_runtime(facts);
    more(facts, "cri-o", "", json!({}));
}

/// CRI-O alone, with this policy.
fn policy(content: Observed<Value>) -> impl Fn(&mut NodeFacts) {
    move |facts| {
        only_crio(facts);
        items(&mut runtime_of(facts).documents)[1].content = content.clone();
    }
}

/// The kubelet names this runtime.
fn endpoint(facts: &mut NodeFacts, path: &str) {
    let documents = items(&mut kubelet_of(facts).documents);
    documents[0].content.value_mut().expect("the base knows it")["containerRuntimeEndpoint"] = json!(path);
}

fn hosts(facts: &mut NodeFacts, document: Value) {
    set(facts, "plugins/io.containerd.cri.v1.images/registry/config_path", json!("/etc/containerd/certs.d"));
    items(&mut runtime_of(facts).documents).push(RuntimeDocument {
        path: "/etc/containerd/certs.d/r.example/hosts.toml".into(),
        role: DocumentRole::RegistryHosts,
        content: known(document),
    });
}

fn socket(mode: i64, gid: i64) -> impl Fn(&mut NodeFacts) {
    move |facts| runtime_of(facts).sockets = complete(vec![runtime_socket("/run/containerd/containerd.sock", mode, gid)])
}

/// A check of one setting that only containerd's configuration decides.
fn of_setting(check: &'static str, fails: impl Fn(&mut NodeFacts) + 'static) -> Case {
    Case::of(check)
        .fails(fails)
        .not_applicable(no_runtime)
        .unreadable("permission_denied", unread)
        .unreadable("permission_denied", group_unread)
}

fn exposure() -> Vec<Case> {
    vec![
        Case::of("runtime-registries-verified")
            .passes(|facts| hosts(facts, json!({"server": "https://r.example", "host": {"http://127.0.0.1:5000": {}}})))
            .passes(only_docker)
            .fails(|facts| hosts(facts, json!({"server": "http://r.example"})))
            .fails(|facts| hosts(facts, json!({"host": {"https://m.example": {"skip_verify": true}}})))
            .fails(|facts| hosts(facts, json!({"host": {"http://localhost.example": {}}})))
            .fails(|facts| {
                no_runtime(facts);
                more(facts, "docker", "--insecure-registry=10.0.0.0/8", json!({}));
            })
            .not_applicable(no_runtime)
            .unreadable("permission_denied", unread)
            .unreadable("incomplete", |facts| {
                hosts(facts, json!({}));
                items(&mut runtime_of(facts).documents).last_mut().expect("it was added").content = denied();
            }),
        Case::of("runtime-socket-world")
            .fails(socket(0o666, 0))
            .fails(socket(0o662, 0))
            .unreadable("undecided", |facts| runtime_of(facts).sockets = complete(vec![]))
            .not_applicable(no_runtime)
            .unreadable("permission_denied", |facts| runtime_of(facts).sockets = denied()),
        Case::of("runtime-socket-group")
            .passes(socket(0o640, 999))
            .fails(socket(0o660, 999))
            .unreadable("undecided", |facts| runtime_of(facts).sockets = complete(vec![]))
            .not_applicable(no_runtime)
            .unreadable("permission_denied", |facts| runtime_of(facts).sockets = denied()),
        Case::of("runtime-api-tcp-verified")
            .passes(|facts| more(facts, "docker", "-H tcp://0.0.0.0:2376 --tlsverify", json!({})))
            .fails(|facts| more(facts, "docker", "-H tcp://0.0.0.0:2376 --tls", json!({})))
            .fails(|facts| more(facts, "docker", "", json!({"hosts": ["unix:///run/docker.sock", "tcp://"]})))
            .passes(with("grpc", json!({"tcp_address": "0.0.0.0:1", "tcp_tls_cert": "/c", "tcp_tls_key": "/k", "tcp_tls_ca": "/ca"})))
            .fails(with("grpc", json!({"tcp_address": "0.0.0.0:1", "tcp_tls_cert": "/c", "tcp_tls_key": "/k"})))
            .not_applicable(only_crio)
            .unreadable("permission_denied", unread),
        of_setting("runtime-stream-server", with("plugins/io.containerd.grpc.v1.cri/stream_server_address", json!("0.0.0.0")))
            .passes(with("plugins/io.containerd.grpc.v1.cri", json!({"stream_server_address": "", "enable_tls_streaming": true})))
            .fails(with("plugins/io.containerd.grpc.v1.cri/stream_server_address", json!("")))
            .not_applicable(only_docker),
        of_setting("runtime-debug-address", with("debug/address", json!("0.0.0.0:1339")))
            .passes(with("debug/address", json!("/run/containerd/debug.sock")))
            .passes(with("debug/address", json!("127.0.0.1:1339"))),
        of_setting("runtime-metrics-address", with("metrics/address", json!("0.0.0.0:1338")))
            .passes(with("metrics/address", json!("127.0.0.1:1338")))
            .fails(|facts| more(facts, "cri-o", "--enable-metrics --metrics-host=0.0.0.0", json!({}))),
    ]
}

fn containers() -> Vec<Case> {
    vec![
        of_setting("runtime-seccomp", cri("unset_seccomp_profile", json!("unconfined")))
            .fails(|facts| more(facts, "docker", "--seccomp-profile=unconfined", json!({})))
            .fails(|facts| more(facts, "cri-o", "", json!({"crio": {"runtime": {"seccomp_profile": "unconfined"}}}))),
        of_setting("runtime-apparmor", cri("disable_apparmor", json!(true)))
            .fails(|facts| more(facts, "cri-o", "", json!({"crio": {"runtime": {"apparmor_profile": "unconfined"}}})))
            .not_applicable(|facts| kernel_of(facts).apparmor = known(false))
            .unreadable("permission_denied", |facts| kernel_of(facts).apparmor = denied()),
        Case::only("runtime-sandbox-devices")
            .passes(cri(
                "containerd/runtimes/kata",
                json!({"runtime_type": "io.containerd.kata.v2", "privileged_without_host_devices": true}),
            ))
            .fails(cri("containerd/runtimes/kata", json!({"runtime_type": "io.containerd.kata.v2"})))
            .not_applicable(|_| {})
            .unreadable("permission_denied", unread),
        of_setting("runtime-unprivileged-ports", cri("enable_unprivileged_ports", json!(true))),
        of_setting("runtime-device-ownership", cri("device_ownership_from_security_context", json!(true))),
        of_setting("runtime-nri", with("plugins/io.containerd.nri.v1.nri/disable", json!(false)))
            .fails(|facts| more(facts, "cri-o", "", json!({}))),
        of_setting("runtime-cdi", cri("enable_cdi", json!(true))),
        of_setting("runtime-default-handler", cri("containerd/default_runtime_name", json!("nowhere")))
            .fails(cri("containerd/runtimes/runc/options/BinaryName", json!("/usr/bin/nvidia-container-runtime"))),
        of_setting("runtime-sandboxed-handler", |facts: &mut NodeFacts| {
            set(facts, &format!("{RUNTIME}/containerd/runtimes"), json!({"runc": {"runtime_type": "io.containerd.runc.v2"}}));
        }),
        Case::only("runtime-signature-policy")
            .passes(only_crio)
            .passes(policy(known(
                json!({"default": [{"type": "insecureAcceptAnything"}], "transports": {"docker": {"": [{"type": "signedBy"}]}}}),
            )))
            .fails(policy(known(json!({"default": [{"type": "insecureAcceptAnything"}]}))))
            .not_applicable(|_| {})
            .unreadable("permission_denied", policy(denied()))
            .unreadable("malformed", policy(known(json!({})))),
    ]
}

fn node() -> Vec<Case> {
    vec![
        Case::of("runtime-user-namespaces")
            .fails(|facts| kernel_of(facts).release = "6.1.0-40-amd64".into())
            .fails(|facts| kernel_of(facts).sysctls.max_user_namespaces = known(0))
            .fails(|facts| runtime_of(facts).version = known("1.7.27".into()))
            .fails(|facts| items(&mut runtime_of(facts).programs)[0].version = known("1.1.5+ds1".into()))
            .not_applicable(only_docker)
            .not_applicable(no_runtime)
            .unreadable("permission_denied", |facts| runtime_of(facts).version = denied())
            .unreadable("not_supported", |facts| kernel_of(facts).release = "5.14.0-570.el9.x86_64".into()),
        of_setting("runtime-cri-enabled", with("disabled_plugins", json!(["io.containerd.grpc.v1.cri"])))
            .not_applicable(|facts| endpoint(facts, "unix:///run/crio/crio.sock")),
        Case::of("runtime-program-current")
            .fails(|facts| runtime_of(facts).executable = known(Executable { path: "/usr/bin/containerd".into(), replaced: true }))
            .not_applicable(no_runtime)
            .unreadable("permission_denied", |facts| runtime_of(facts).executable = denied()),
        Case::of("unused-runtime")
            .passes(|facts| {
                more(facts, "docker", "", json!({}));
                endpoint(facts, "unix:///run/cri-dockerd.sock");
            })
            .fails(|facts| more(facts, "docker", "", json!({})))
            .fails(|facts| endpoint(facts, "unix:///run/crio/crio.sock"))
            .not_applicable(no_kubelet)
            .not_applicable(no_runtime)
            .unreadable("permission_denied", |facts| items(&mut kubelet_of(facts).documents)[0].content = denied()),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    exposure().into_iter().chain(containers()).chain(node()).collect()
}

/// Upstream's defaults, of whatever release and distribution, are nothing that must be acted on at once.
#[test]
fn no_default_is_severe() {
    use crate::case::{evaluator, findings_after};
    use holdfast_checks::entries::Severity;
    let severe = |change: &dyn Fn(&mut NodeFacts)| -> Vec<String> {
        let findings = findings_after(change, &holdfast_checks::evaluator::Selection::default());
        let failed = findings.into_iter().filter(|finding| finding.verdict == Verdict::Fail);
        let high = |check: &str| {
            let check = evaluator().catalogue().get(check).expect("it is there");
            check.area == "runtimes" && matches!(check.severity, Severity::High | Severity::Critical)
        };
        failed.map(|finding| finding.check).filter(|check| high(check)).collect()
    };
    for version in ["1.6.20~ds1", "1.7.27", "2.0.5", "2.1.9", "2.2.1", "2.3.0"] {
        let default = |facts: &mut NodeFacts| {
            let runtime = runtime_of(facts);
            runtime.version = known(version.into());
            runtime.documents = complete(vec![]);
        };
        assert_eq!(severe(&default), Vec::<String>::new(), "{version}");
    }
    assert_eq!(severe(&only_crio), Vec::<String>::new());
    assert_eq!(severe(&only_docker), Vec::<String>::new());
}

#[test]
fn docker_on_the_loopback_is_no_insecure_registry() {
    let findings = judged("runtime-registries-verified", &only_docker);
    assert_eq!(findings.iter().map(|finding| finding.verdict).collect::<Vec<_>>(), [Verdict::Pass]);
}
