use serde_json::{Value, json};

use super::{MAX_FIELDS, is_known, unknown};
use crate::derive::defaults::Release;
use crate::facts::*;

fn known<T>(value: T) -> Observed<T> {
    Observed::known(value, Source::new(SourceKind::File, "test"), 0)
}

fn document(kind: DocumentKind, mut content: Value) -> ConfigDocument {
    content["kind"] = "KubeletConfiguration".into();
    content["apiVersion"] = "kubelet.config.k8s.io/v1beta1".into();
    ConfigDocument { path: "config.yaml".into(), kind, content: known(content) }
}

fn found(kind: DocumentKind, content: Value, version: &str) -> (Vec<String>, Vec<String>) {
    let documents = known(Listing::complete(vec![document(kind, content)]));
    let listing = unknown(&documents, &known(version.to_owned())).value().cloned().expect("known");
    let fields = listing.items.into_iter().map(|field| field.field).collect();
    (fields, listing.skipped.into_iter().map(|skipped| skipped.what).collect())
}

#[test]
fn fields_that_do_nothing_are_told_with_those_around_them() {
    let content = json!({
        "anonymousAuth": false,
        "authentication": {"anonymus": {"enabled": true}, "anonymous": {"enable": true, "enabled": false}},
        "featureGates": {"Whatever": true},
        "evictionHard": {"moon.available": "1%"},
        "staticPodURLHeader": {"X-Any": ["a"]},
        "readonlyPort": 10255,
        "registerWithTaints": [{"key": "a", "colour": "blue"}],
        "logging": {"verbosity": 2, "options": {"text": {"splitStream": true}}},
        "reservedMemory": [{"numaNode": 0, "limits": {"memory": "1Gi"}}],
    });
    let (fields, skipped) = found(DocumentKind::Main, content, "v1.36.2");
    let expected =
        ["anonymousAuth", "authentication.anonymous.enable", "authentication.anonymus", "readonlyPort", "registerWithTaints.colour"];
    assert_eq!(fields, expected);
    assert!(skipped.is_empty());
}

#[test]
fn a_field_is_known_since_the_release_that_added_it() {
    let content = || json!({"failCgroupV1": true, "podLogsDir": "/var/log/pods"});
    assert_eq!(found(DocumentKind::Main, content(), "v1.29.4").0, ["failCgroupV1", "podLogsDir"]);
    assert_eq!(found(DocumentKind::Main, content(), "v1.30.0").0, ["failCgroupV1"]);
    assert!(found(DocumentKind::Main, content(), "v1.31.0").0.is_empty());
    assert!(found(DocumentKind::Main, content(), "no version").0.is_empty(), "any release may be meant");
    assert!(is_known(&["authentication", "anonymous", "enabled"], Release::of("1.24")));
    assert!(!is_known(&["userNamespaces", "idsPerPod"], Release::of("1.32")));
}

#[test]
fn a_newer_kubelet_may_know_more() {
    let (fields, skipped) = found(DocumentKind::Main, json!({"fromTheFuture": 1}), "v1.41.0");
    assert!(fields.is_empty());
    assert_eq!(skipped, ["fromTheFuture in config.yaml, which a kubelet newer than 1.36 may know"]);
}

#[test]
fn a_drop_in_is_read_by_any_case() {
    assert!(
        found(DocumentKind::DropIn, json!({"readonlyport": 1, "AUTHENTICATION": {"Anonymous": {"enabled": true}}}), "v1.36.0").0.is_empty()
    );
    assert_eq!(found(DocumentKind::DropIn, json!({"AUTHENTICATION": {"other": 1}}), "v1.36.0").0, ["authentication.other"]);
}

#[test]
fn what_was_not_read_is_skipped_and_many_are_counted() {
    let mut pod = document(DocumentKind::Main, json!({}));
    pod.content = known(json!({"kind": "Pod"}));
    let mut denied = document(DocumentKind::DropIn, json!({}));
    denied.content = Observed::unavailable_because(Reason::PermissionDenied, "open x");
    let many: Value = (0..MAX_FIELDS + 20).map(|n| (format!("x{n}"), Value::from(n))).collect::<serde_json::Map<_, _>>().into();
    let documents = known(Listing::complete(vec![pod, denied, document(DocumentKind::DropIn, many)]));
    let listing = unknown(&documents, &known("v1.36.0".into())).value().cloned().expect("known");
    assert_eq!(listing.items.len(), MAX_FIELDS);
    let reasons: Vec<Reason> = listing.skipped.iter().map(|skipped| skipped.reason).collect();
    assert_eq!(reasons, [Reason::Malformed, Reason::PermissionDenied, Reason::TooLarge]);
    let nothing = Observed::unavailable_because(Reason::TimedOut, "read");
    assert_eq!(unknown(&nothing, &known("v1.36.0".into())).unavailable().map(|why| why.reason), Some(Reason::TimedOut));
}
