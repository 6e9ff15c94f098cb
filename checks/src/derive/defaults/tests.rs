use serde_json::{Map, Value, json};

use super::{DATA, Release, Set, TABLE, Table, of};
use crate::facts::{Observed, Reason, Source, SourceKind};

fn version(text: &str) -> Observed<String> {
    Observed::known(text.to_owned(), Source::new(SourceKind::File, "test"), 0)
}

fn found(setting: &str, set: Set, kubelet: &Observed<String>) -> Result<(Value, String), String> {
    of(setting, set, kubelet, Ok(&Map::new())).map_err(|why| format!("{}: {}", why.reason.name(), why.detail))
}

#[test]
fn the_data_is_in_order() {
    let table: Table = serde_saphyr::from_str(DATA).expect("it parses");
    assert_eq!((table.oldest.to_string(), table.newest.to_string()), ("1.24".into(), "1.36".into()));
    for row in &table.settings {
        assert!(!row.source.is_empty(), "{}: a source", row.setting);
        assert_eq!(table.settings.iter().filter(|other| other.setting == row.setting).count(), 1, "{} once", row.setting);
        let histories = [&row.changed].into_iter().chain(row.without_config.as_ref().map(|other| &other.changed));
        for changes in histories {
            assert!(changes.is_sorted_by(|a, b| a.since < b.since), "{}: oldest first", row.setting);
            assert!(changes.iter().all(|change| table.oldest < change.since && change.since <= table.newest), "{}", row.setting);
            assert!(changes.iter().all(|change| change.to.is_null() == change.unread.is_some()), "{}: a value or a reason", row.setting);
        }
    }
}

#[test]
fn a_default_follows_the_release() {
    let at = |text: &str| found("eventRecordQPS", Set::V1beta1, &version(text));
    assert_eq!(at("v1.26.15"), Ok((json!(5), "v1beta1".into())));
    assert_eq!(at("v1.27.0"), Ok((json!(50), "v1beta1".into())));
    assert_eq!(at("v1.36.2+k3s1"), Ok((json!(50), "v1beta1".into())));
    assert_eq!(at("v1.40.0-alpha.1"), Ok((json!(50), "v1beta1, as of 1.36".into())));
    assert_eq!(at("1.9.3"), Ok((json!(5), "v1beta1, as of 1.24".into())));
    assert_eq!(found("failCgroupV1", Set::Flags, &version("v1.34.1")), Ok((json!(false), "without a flag".into())));
    assert_eq!(found("failCgroupV1", Set::Flags, &version("v1.35.0")), Ok((json!(true), "without a flag".into())));
    assert_eq!(found("evictionHard", Set::Flags, &version("v1.36.0")), Ok((json!({}), "without a flag".into())));
}

#[test]
fn an_unknown_release_tells_only_what_never_changed() {
    let unknown = Observed::unavailable_because(Reason::PermissionDenied, "open /proc/7/exe");
    assert_eq!(found("readOnlyPort", Set::Flags, &unknown), Ok((json!(10255), "without a flag".into())));
    let why = "not_supported: the default depends on the kubelet's version, which is not known: open /proc/7/exe";
    assert_eq!(found("eventRecordQPS", Set::V1beta1, &unknown), Err(why.into()));
    let none = "not_supported: the default depends on the kubelet's version, and `main` is none";
    assert_eq!(found("eventRecordQPS", Set::V1beta1, &version("main")), Err(none.into()));
    assert_eq!(found("colour", Set::V1beta1, &unknown), Err("not_supported: no default of colour is known".into()));
}

#[test]
fn a_gate_set_by_name_decides_before_the_release() {
    let policy = |gates: Value, text: &str| {
        let gates = gates.as_object().cloned().expect("an object");
        of("imagePullCredentialsVerificationPolicy", Set::V1beta1, &version(text), Ok(&gates)).expect("known").0
    };
    assert_eq!(policy(json!({}), "v1.34.0"), "");
    assert_eq!(policy(json!({}), "v1.35.0"), "NeverVerifyPreloadedImages");
    assert_eq!(policy(json!({"KubeletEnsureSecretPulledImages": true}), "v1.33.0"), "NeverVerifyPreloadedImages");
    assert_eq!(policy(json!({"KubeletEnsureSecretPulledImages": false}), "v1.36.0"), "");
}

#[test]
fn releases_are_read_from_versions() {
    let read = |text: &str| Release::of(text).map(|release| release.to_string());
    assert_eq!(read("v1.36.2"), Some("1.36".into()));
    assert_eq!(read("v1.30+"), Some("1.30".into()));
    assert_eq!(read("1.29.0-eks-680e576"), Some("1.29".into()));
    assert_eq!(read("v1"), None);
    assert_eq!(read(""), None);
    assert!(TABLE.newest > TABLE.oldest);
}
