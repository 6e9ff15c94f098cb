//! Command lines and documents that nobody should write: no panic, and `malformed` where something cannot be what it says.

use holdfast_checks::facts::*;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fixture::{derived, drop_in, kubelet, main_file, value, words};

const BOTH: &str = "kubelet --config=c --config-dir=d";

fn with(documents: Vec<ConfigDocument>) -> Kubelet {
    derived(kubelet("v1.36.2", words(BOTH), documents))
}

fn file(content: Value) -> ConfigDocument {
    main_file("KubeletConfiguration", "c", content)
}

#[test]
fn a_command_line_of_a_mebibyte() {
    let long = "x".repeat(1 << 20);
    for argv in [
        vec!["kubelet".into(), format!("--{long}")],
        vec!["kubelet".into(), format!("--anonymous-auth={long}")],
        vec!["kubelet".into(), format!("--feature-gates={}", "A=true,".repeat(150_000))],
        vec!["kubelet".into(), format!("--eviction-hard={}", "memory.available<1Gi,".repeat(50_000))],
        vec!["kubelet".into(), format!("--container-log-max-size={}", "9".repeat(1 << 20))],
        std::iter::once("kubelet".to_owned()).chain((0..100_000).map(|n| format!("--read-only-port={n}"))).collect(),
        std::iter::repeat_n("--".to_owned(), 400_000).collect(),
        std::iter::repeat_n("-".to_owned(), 400_000).collect(),
        vec![],
    ] {
        let kubelet = derived(kubelet("v1.36.2", argv, vec![]));
        assert!(kubelet.settings.len() > 60);
    }
    let kubelet = derived(kubelet("v1.36.2", vec!["kubelet".into(), format!("--port={long}")], vec![]));
    assert!(value(&kubelet.settings, "port").is_err_and(|why| why.starts_with("malformed: --port")));
}

#[test]
fn a_document_nested_two_thousand_times() {
    let mut deep = json!(1);
    for _ in 0..1000 {
        deep = json!({"authentication": [deep]});
    }
    let kubelet = with(vec![file(deep.clone()), drop_in("d/1.conf", deep)]);
    let why = value(&kubelet.settings, "anonymousAuth").expect_err("it is a list");
    assert_eq!(why, "malformed: d/1.conf: authentication is not a mapping");
    assert_eq!(value(&kubelet.settings, "readOnlyPort"), Ok(json!(0)), "everything else is known");
}

#[test]
fn the_wrong_type_in_every_field() {
    let well = with(vec![file(json!({}))]);
    for wrong in [json!([1]), json!({"a": {"b": 1}}), json!(1.5), json!([{}]), json!("\u{0}"), json!(1e300), json!({"a": [null]})] {
        let document: Value = FIELDS.iter().map(|field| ((*field).to_owned(), wrong.clone())).collect::<serde_json::Map<_, _>>().into();
        for documents in [vec![file(document.clone())], vec![file(json!({})), drop_in("d/1.conf", document)]] {
            let kubelet = with(documents);
            assert_eq!(kubelet.settings.len(), well.settings.len());
            let mut malformed = 0;
            for (name, setting) in &kubelet.settings {
                match setting.unavailable() {
                    Some(why) if why.reason == Reason::Malformed => malformed += 1,
                    Some(why) => assert_eq!(name, "cgroupDriver", "{why:?}"),
                    None => {}
                }
            }
            assert!(malformed > 20, "{malformed} with {wrong}");
        }
    }
}

/// The outermost names of every setting that a file can have.
const FIELDS: [&str; 46] = [
    "authentication",
    "authorization",
    "readOnlyPort",
    "port",
    "address",
    "healthzPort",
    "healthzBindAddress",
    "enableServer",
    "tlsCertFile",
    "tlsPrivateKeyFile",
    "tlsMinVersion",
    "tlsCipherSuites",
    "rotateCertificates",
    "serverTLSBootstrap",
    "seccompDefault",
    "protectKernelDefaults",
    "makeIPTablesUtilChains",
    "failSwapOn",
    "memorySwap",
    "eventRecordQPS",
    "registryPullQPS",
    "streamingConnectionIdleTimeout",
    "podPidsLimit",
    "maxPods",
    "staticPodPath",
    "staticPodURL",
    "staticPodURLHeader",
    "enableDebuggingHandlers",
    "containerLogMaxSize",
    "containerLogMaxFiles",
    "evictionHard",
    "evictionSoft",
    "evictionSoftGracePeriod",
    "mergeDefaultEvictionSettings",
    "systemReserved",
    "kubeReserved",
    "enforceNodeAllocatable",
    "allowedUnsafeSysctls",
    "featureGates",
    "containerRuntimeEndpoint",
    "cgroupDriver",
    "failCgroupV1",
    "imagePullCredentialsVerificationPolicy",
    "shutdownGracePeriod",
    "volumePluginDir",
    "userNamespaces",
];

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop_oneof![Just("4h"), Just("10Mi"), Just("5%"), Just("Webhook"), Just("yes"), Just("9e9e9")].prop_map(Value::from),
    ];
    let name = prop_oneof![
        proptest::sample::select(&FIELDS[..]).prop_map(str::to_owned),
        proptest::sample::select(&["anonymous", "webhook", "enabled", "mode", "cpu", "memory.available", "AllBeta", "swapBehavior"][..])
            .prop_map(str::to_owned),
        ".{0,6}",
    ];
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((name.clone(), inner), 0..12).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_panics_and_deriving_twice_changes_nothing(
        argv in proptest::collection::vec(
            prop_oneof![".{0,30}", "--(anonymous-auth|eviction-hard|feature-gates|port|config|config-dir|system-reserved)(=.{0,12})?"],
            0..12,
        ),
        main in anything(),
        patch in anything(),
        configz in anything(),
        version in "v?[0-9]{0,3}\\.?[0-9]{0,12}.{0,4}",
    ) {
        let documents = vec![file(main), drop_in("d/1.conf", patch)];
        let mut kubelet = kubelet(&version, argv, documents);
        kubelet.configz = crate::fixture::known(configz);
        let once = derived(kubelet);
        let twice = derived(once.clone());
        prop_assert!(once.settings.values().all(|setting| setting.value().is_none_or(|setting| !setting.value.is_null())));
        prop_assert_eq!(once, twice);
    }
}
