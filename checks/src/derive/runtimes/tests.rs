//! What runtimes make of their documents, where the sensor's tests do not reach.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Product, derive};
use crate::facts::{DocumentRole, Listing, Observed, Reason, Runtime, RuntimeDocument, Skipped, Source, SourceKind};

fn known<T>(value: T) -> Observed<T> {
    Observed::known(value, Source::new(SourceKind::File, "test"), 1)
}

fn unread<T>() -> Observed<T> {
    Observed::unavailable_because(Reason::NotSupported, "not in this test")
}

fn runtime(name: &str, version: Option<&str>, documents: Vec<(DocumentRole, Value)>) -> Runtime {
    let documents = documents.into_iter().enumerate();
    let documents = documents.map(|(index, (role, value))| RuntimeDocument { path: format!("/{index}"), role, content: known(value) });
    Runtime {
        version: version.map_or_else(unread, |version| known(version.to_owned())),
        documents: known(Listing::complete(documents.collect())),
        ..Runtime::unread(name, name, 1)
    }
}

fn derived(mut runtime: Runtime) -> Runtime {
    derive(&mut runtime, &unread(), &unread(), &unread(), 1);
    let once = runtime.clone();
    derive(&mut runtime, &unread(), &unread(), &unread(), 1);
    assert_eq!(runtime, once, "twice is once");
    runtime
}

fn value(runtime: &Runtime, name: &str) -> Option<Value> {
    runtime.settings.get(name)?.value().map(|setting| setting.value.clone())
}

#[test]
fn a_default_that_changed_needs_a_version() {
    let unknown = derived(runtime("containerd", None, vec![]));
    assert_eq!(value(&unknown, "nri_enabled"), None);
    assert_eq!(value(&unknown, "stream_server_address"), Some(json!("127.0.0.1")), "it never changed");
    let told_by_format = derived(runtime("containerd", None, vec![(DocumentRole::Main, json!({"version": 3}))]));
    assert_eq!(value(&told_by_format, "nri_enabled"), Some(json!(true)));
    let source = |version: &str| {
        let runtime = derived(runtime("containerd", Some(version), vec![]));
        runtime
            .settings
            .get("nri_enabled")
            .and_then(|setting| setting.value())
            .map(|setting| (setting.value.clone(), setting.source.to_string()))
    };
    assert_eq!(source("1.7.27"), Some((json!(false), "default containerd 1.7.27".to_owned())));
    assert_eq!(source("2.0.0"), Some((json!(true), "default containerd 2.0.0".to_owned())));
}

#[test]
fn several_documents_without_a_version_are_not_guessed_at() {
    let section = |name: &str| json!({"version": 2, "plugins": {"io.containerd.grpc.v1.cri": {name: true}}});
    let documents = vec![(DocumentRole::Main, section("disable_apparmor")), (DocumentRole::DropIn, section("enable_selinux"))];
    assert_eq!(value(&derived(runtime("containerd", None, documents)), "disable_apparmor"), None);
}

/// 2.0 to 2.2 migrate by the last version that any document names: a drop-in of version 3 makes a main one of version 2 moot.
#[test]
fn mixed_versions_are_migrated_as_each_release_does() {
    let main = json!({"version": 2, "plugins": {"io.containerd.grpc.v1.cri": {"disable_apparmor": true}}});
    let more = json!({"version": 3});
    let documents = || vec![(DocumentRole::Main, main.clone()), (DocumentRole::DropIn, more.clone())];
    assert_eq!(value(&derived(runtime("containerd", Some("2.1.0"), documents())), "disable_apparmor"), Some(json!(false)));
    assert_eq!(value(&derived(runtime("containerd", Some("2.3.0"), documents())), "disable_apparmor"), Some(json!(true)));
}

#[test]
fn sockets_are_plugins_in_version_4() {
    let config = json!({"version": 4, "plugins": {
        "io.containerd.server.v1.grpc-tcp": {"address": "0.0.0.0:9", "tls_cert": "/cert", "tls_ca": "/ca"},
        "io.containerd.server.v1.debug": {"address": "/run/d.sock"},
        "io.containerd.server.v1.metrics": {"address": "127.0.0.1:1"},
    }});
    let runtime = derived(runtime("containerd", Some("2.3.4"), vec![(DocumentRole::Main, config)]));
    for (name, expected) in [
        ("tcp_address", json!("0.0.0.0:9")),
        ("tcp_tls", json!(true)),
        ("tcp_tls_verify", json!(true)),
        ("debug_address", json!("/run/d.sock")),
        ("metrics_address", json!("127.0.0.1:1")),
    ] {
        assert_eq!(value(&runtime, name), Some(expected), "{name}");
    }
}

#[test]
fn an_authority_without_a_certificate_verifies_nobody() {
    let config = json!({"grpc": {"tcp_address": "0.0.0.0:9", "tcp_tls_ca": "/ca"}});
    let runtime = derived(runtime("containerd", Some("1.7.27"), vec![(DocumentRole::Main, config)]));
    assert_eq!((value(&runtime, "tcp_tls"), value(&runtime, "tcp_tls_verify")), (Some(json!(false)), Some(json!(false))));
}

#[test]
fn a_value_of_the_wrong_type_is_malformed() {
    let config = json!({"version": 3, "plugins": {"io.containerd.cri.v1.runtime": {"disable_apparmor": "no"}}});
    let runtime = derived(runtime("containerd", Some("2.1.0"), vec![(DocumentRole::Main, config)]));
    let why = runtime.settings.get("disable_apparmor").and_then(Observed::unavailable).map(|why| why.reason);
    assert_eq!(why, Some(Reason::Malformed));
}

#[test]
fn what_was_skipped_might_say_anything_but_of_registries_only_that() {
    let skipped = |what: &str| {
        let mut runtime = runtime("containerd", Some("2.1.0"), vec![(DocumentRole::Main, json!({"version": 3}))]);
        if let Some(documents) = runtime.documents.value_mut() {
            documents.skipped.push(Skipped { what: what.to_owned(), reason: Reason::PermissionDenied });
        }
        derived(runtime)
    };
    assert_eq!(value(&skipped("/etc/x"), "disable_apparmor"), None);
    let runtime = skipped("/etc/containerd/certs.d");
    assert_eq!(value(&runtime, "disable_apparmor"), Some(json!(false)));
}

#[test]
fn docker_and_crio_have_the_defaults_of_their_release() {
    let crio = |version: &str| derived(runtime("cri-o", Some(version), vec![]));
    assert_eq!(value(&crio("1.30.4"), "default_runtime"), Some(json!("runc")));
    assert_eq!(value(&crio("1.31.0"), "default_runtime"), Some(json!("crun")));
    assert_eq!(value(&crio("1.29.1"), "nri_enabled"), Some(json!(false)));
    let on = json!({"crio": {"metrics": {"enable_metrics": true}}});
    let metrics =
        |version: &str| value(&derived(runtime("cri-o", Some(version), vec![(DocumentRole::Main, on.clone())])), "metrics_address");
    assert_eq!((metrics("1.29.1"), metrics("1.30.0")), (Some(json!("0.0.0.0:9090")), Some(json!("127.0.0.1:9090"))));
    let docker = derived(runtime("docker", None, vec![]));
    assert_eq!((value(&docker, "icc"), value(&docker, "tcp_address")), (Some(json!(true)), Some(json!(""))));
}

fn anything() -> impl Strategy<Value = Value> {
    let names = "version|imports|plugins|cri|io.containerd.grpc.v1.cri|io.containerd.cri.v1.runtime|io.containerd.cri.v1.images|registry|mirrors|configs|tls|endpoint|host|server|runtimes|containerd|runc|options|crio|runtime|image|insecure_registries|insecure-registries|hosts|disabled_plugins|grpc|tcp_address|default|transports|docker|registries|prefix|location|mirror|exec-opts|default_runtime|runtime_type";
    let names: Vec<String> = names.split('|').map(str::to_owned).collect();
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from)
    ];
    leaf.prop_recursive(6, 48, 4, move |inner| {
        let name = proptest::sample::select(names.clone());
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name, inner, 0..5).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_document_makes_it_panic(
        first in anything(),
        second in anything(),
        hosts in anything(),
        which in 0..3_usize,
        version in proptest::option::of("(1|2)\\.[0-7]\\.[0-9]{1,2}"),
        flags in proptest::collection::vec("(-H|--host|--insecure-registry|--config|--add-runtime|--icc)?=?[a-z:/.0]{0,8}", 0..5),
    ) {
        let name = ["containerd", "cri-o", "docker"].get(which).copied().unwrap_or_default();
        let roles = [DocumentRole::RegistryHosts, DocumentRole::Registries, DocumentRole::SignaturePolicy];
        let mut documents = vec![(DocumentRole::Main, first), (DocumentRole::DropIn, second)];
        documents.extend(roles.map(|role| (role, hosts.clone())));
        let mut runtime = runtime(name, version.as_deref(), documents);
        runtime.argv = std::iter::once("x".to_owned()).chain(flags).collect();
        prop_assert!(Product::of(&runtime).is_some());
        derived(runtime);
    }
}
