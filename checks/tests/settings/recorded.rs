//! Four recorded kubelets of 1.36.2: what is derived from their command lines and files is what they said themselves.

use holdfast_checks::facts::*;
use rstest::rstest;
use serde_json::Value;

use crate::fixture::{derived, known, kubelet, main_file, value};

macro_rules! recorded {
    ($state:literal) => {
        Recorded {
            argv: include_str!(concat!("../data/configz/", $state, "/argv")),
            config: include_str!(concat!("../data/configz/", $state, "/config.yaml")),
            configz: include_str!(concat!("../data/configz/", $state, "/configz.json")),
        }
    };
}

struct Recorded {
    argv: &'static str,
    config: &'static str,
    configz: &'static str,
}

impl Recorded {
    fn answer(&self) -> Value {
        serde_json::from_str(self.configz).expect("JSON")
    }

    fn kubelet(&self) -> Kubelet {
        let argv = self.argv.lines().map(str::to_owned).collect();
        let config: Value = serde_saphyr::from_str(self.config).expect("YAML");
        let config = main_file("KubeletConfiguration", "/var/lib/kubelet/config.yaml", config);
        let mut kubelet = kubelet("v1.36.2", argv, vec![config]);
        kubelet.configz = known(self.answer());
        derived(kubelet)
    }
}

/// Settings whose field the answer does not have: a null in Go, or one of the command line alone.
const NOT_IN_THE_ANSWER: [&str; 14] = [
    "bootstrapKubeconfig",
    "certDirectory",
    "cloudProvider",
    "config",
    "configDir",
    "hostnameOverride",
    "kubeconfig",
    "kubeletFineGrainedAuthz",
    "nodeIP",
    "rootDir",
    "rotateKubeletServerCertificate",
    // The kubelet made itself a pair and says so as if it had been configured.
    "tlsCertFile",
    "tlsPrivateKeyFile",
    "userNamespacesIdsPerPod",
];

#[rstest]
#[case::hardened(recorded!("hardened"))]
#[case::misconfigured(recorded!("misconfigured"))]
#[case::static_control_plane(recorded!("static-controlplane"))]
#[case::cgroup_v2_systemd(recorded!("cgroupv2-systemd"))]
fn every_setting_is_what_the_kubelet_says(#[case] recorded: Recorded) {
    let kubelet = recorded.kubelet();
    let mut differs = Vec::new();
    for (name, setting) in &kubelet.settings {
        let effective = setting.value().map(|setting| &setting.value);
        match kubelet.reported.get(name).map(|setting| setting.value().map(|setting| &setting.value)) {
            None => assert!(NOT_IN_THE_ANSWER.contains(&name.as_str()), "{name} is not in the answer"),
            Some(reported) if reported == effective => {}
            Some(reported) => differs.push(format!("{name}: derived {effective:?}, the kubelet says {reported:?}")),
        }
    }
    assert!(differs.is_empty(), "{}", differs.join("\n"));
    assert_eq!(kubelet.reported.len() + NOT_IN_THE_ANSWER.len(), kubelet.settings.len());
}

/// The same without the code that reads the answer.
#[rstest]
#[case::hardened(recorded!("hardened"))]
#[case::misconfigured(recorded!("misconfigured"))]
#[case::static_control_plane(recorded!("static-controlplane"))]
#[case::cgroup_v2_systemd(recorded!("cgroupv2-systemd"))]
fn the_ones_that_matter_most_read_by_hand(#[case] recorded: Recorded) {
    let (kubelet, answer) = (recorded.kubelet(), recorded.answer());
    for (name, pointer) in [
        ("anonymousAuth", "/authentication/anonymous/enabled"),
        ("webhookAuthentication", "/authentication/webhook/enabled"),
        ("clientCAFile", "/authentication/x509/clientCAFile"),
        ("authorizationMode", "/authorization/mode"),
        ("port", "/port"),
        ("rotateCertificates", "/rotateCertificates"),
        ("eventRecordQPS", "/eventRecordQPS"),
        ("podPidsLimit", "/podPidsLimit"),
        ("makeIPTablesUtilChains", "/makeIPTablesUtilChains"),
        ("seccompDefault", "/seccompDefault"),
        ("evictionHard", "/evictionHard"),
        ("enforceNodeAllocatable", "/enforceNodeAllocatable"),
        ("cgroupDriver", "/cgroupDriver"),
        ("failCgroupV1", "/failCgroupV1"),
        ("imagePullCredentialsVerificationPolicy", "/imagePullCredentialsVerificationPolicy"),
    ] {
        assert_eq!(value(&kubelet.settings, name).as_ref(), Ok(answer.pointer(pointer).expect("there")), "{name}");
    }
    let port = answer.get("readOnlyPort").cloned().unwrap_or(0.into());
    assert_eq!(value(&kubelet.settings, "readOnlyPort"), Ok(port));
    assert_eq!(answer["streamingConnectionIdleTimeout"], "4h0m0s");
    assert_eq!(value(&kubelet.settings, "streamingConnectionIdleTimeout"), Ok(14_400.into()));
    assert!(kubelet.unknown_fields.value().expect("known").items.is_empty());
}

/// Whatever a release answers, its own fields are all known.
#[test]
fn the_answer_itself_has_no_unknown_field() {
    let recorded = recorded!("hardened");
    let document = main_file("KubeletConfiguration", "configz", recorded.answer());
    let kubelet = derived(kubelet("v1.36.2", vec!["kubelet".into(), "--config=c".into()], vec![document]));
    assert_eq!(kubelet.unknown_fields.value().expect("known"), &Listing::complete(vec![]));
}
