//! The kubelet's effective settings, put together as the kubelet does it.
//!
//! Flags win over drop-ins, drop-ins over the `--config` file, and two sets of defaults stand behind them: the legacy ones of
//! the flags when there is no `--config`, those of v1beta1 when there is. Read in upstream's `cmd/kubelet/app`, 1.36.

use super::flags::{Flags, Shape};
use super::setting::{Default, Spec, Zero, decided, layers, shape_in, unavailable};
use super::values::{self, Kind};
use crate::facts::{Kubelet, Observed, Reason, Setting, Settings, Source, SourceKind};

/// The defaults of a configuration file.
const V1BETA1: &str = "v1beta1";
/// The defaults of the flags, which differ in four settings.
const FLAG_DEFAULT: &str = "without a flag";
/// The gate that lets a kubelet ask for its serving certificate again before it expires.
const SERVER_ROTATION_GATE: &str = "RotateKubeletServerCertificate";

const SPECS: [Spec; 35] = [
    Spec::new("anonymousAuth", "anonymous-auth", &["authentication", "anonymous", "enabled"], Kind::Bool, Default::Bool(false)),
    Spec::new(
        "webhookAuthentication",
        "authentication-token-webhook",
        &["authentication", "webhook", "enabled"],
        Kind::Bool,
        Default::Bool(true),
    ),
    Spec::new("authorizationMode", "authorization-mode", &["authorization", "mode"], Kind::Text, Default::Text("Webhook"))
        .zero(Zero::Unset),
    Spec::new("clientCAFile", "client-ca-file", &["authentication", "x509", "clientCAFile"], Kind::Text, Default::Empty),
    Spec::new("readOnlyPort", "read-only-port", &["readOnlyPort"], Kind::Int, Default::Int(0)),
    Spec::new("port", "port", &["port"], Kind::Int, Default::Int(10250)).zero(Zero::Unset),
    Spec::new("address", "address", &["address"], Kind::Text, Default::Text("0.0.0.0")).zero(Zero::Unset),
    Spec::new("healthzPort", "healthz-port", &["healthzPort"], Kind::Int, Default::Int(10248)),
    Spec::new("healthzBindAddress", "healthz-bind-address", &["healthzBindAddress"], Kind::Text, Default::Text("127.0.0.1"))
        .zero(Zero::Unset),
    Spec::new("enableServer", "enable-server", &["enableServer"], Kind::Bool, Default::Bool(true)),
    Spec::new("tlsCertFile", "tls-cert-file", &["tlsCertFile"], Kind::Text, Default::Empty),
    Spec::new("tlsPrivateKeyFile", "tls-private-key-file", &["tlsPrivateKeyFile"], Kind::Text, Default::Empty),
    Spec::new("tlsMinVersion", "tls-min-version", &["tlsMinVersion"], Kind::Text, Default::Empty),
    Spec::new("tlsCipherSuites", "tls-cipher-suites", &["tlsCipherSuites"], Kind::List, Default::Empty),
    Spec::new("rotateCertificates", "rotate-certificates", &["rotateCertificates"], Kind::Bool, Default::Bool(false)),
    Spec::new("serverTLSBootstrap", "rotate-server-certificates", &["serverTLSBootstrap"], Kind::Bool, Default::Bool(false)),
    Spec::new("seccompDefault", "seccomp-default", &["seccompDefault"], Kind::Bool, Default::Bool(false)),
    Spec::new("protectKernelDefaults", "protect-kernel-defaults", &["protectKernelDefaults"], Kind::Bool, Default::Bool(false)),
    Spec::new("makeIPTablesUtilChains", "make-iptables-util-chains", &["makeIPTablesUtilChains"], Kind::Bool, Default::Bool(true)),
    Spec::new("failSwapOn", "fail-swap-on", &["failSwapOn"], Kind::Bool, Default::Bool(true)),
    Spec::new("swapBehavior", "", &["memorySwap", "swapBehavior"], Kind::Text, Default::Empty),
    Spec::new("eventRecordQPS", "event-qps", &["eventRecordQPS"], Kind::Int, Default::Int(50)),
    Spec::new(
        "streamingConnectionIdleTimeout",
        "streaming-connection-idle-timeout",
        &["streamingConnectionIdleTimeout"],
        Kind::Seconds,
        Default::Int(14_400),
    )
    .zero(Zero::Unset),
    Spec::new("podPidsLimit", "pod-max-pids", &["podPidsLimit"], Kind::Int, Default::Int(-1)).zero(Zero::NegativeUnset),
    Spec::new("staticPodPath", "pod-manifest-path", &["staticPodPath"], Kind::Text, Default::Empty),
    Spec::new("staticPodURL", "manifest-url", &["staticPodURL"], Kind::Text, Default::Empty),
    Spec::new("enableDebuggingHandlers", "enable-debugging-handlers", &["enableDebuggingHandlers"], Kind::Bool, Default::Bool(true)),
    Spec::new("enableProfilingHandler", "", &["enableProfilingHandler"], Kind::Bool, Default::Bool(true)),
    Spec::new("enableContentionProfiling", "contention-profiling", &["enableContentionProfiling"], Kind::Bool, Default::Bool(false)),
    Spec::new("rotateKubeletServerCertificate", "", &["featureGates", SERVER_ROTATION_GATE], Kind::Bool, Default::Bool(true)),
    Spec::new("hostnameOverride", "hostname-override", &[], Kind::Text, Default::Empty),
    Spec::new("kubeconfig", "kubeconfig", &[], Kind::Text, Default::Empty),
    Spec::new("config", "config", &[], Kind::Text, Default::Empty),
    Spec::new("configDir", "config-dir", &[], Kind::Text, Default::Empty),
    Spec::new("certDirectory", "cert-dir", &[], Kind::Text, Default::Text("/var/lib/kubelet/pki")),
];

/// Every effective setting of `kubelet`; `at` stands for what its command line or a default decides.
pub(super) fn settings(kubelet: &Kubelet, at: i64) -> Settings {
    if kubelet.argv.is_empty() {
        // Every process has at least a name there: it could not be read, and its documents say why.
        let unread = || unavailable(Reason::NotSupported, "its command line could not be read");
        let why = kubelet.documents.unavailable().map_or_else(unread, |why| Observed::Unavailable(why.clone()));
        return SPECS.iter().map(|spec| (spec.name.to_owned(), why.clone())).collect();
    }
    if !runs_as_kubelet(kubelet) {
        let why = format!("{} builds its kubelet's flags inside the process, where they cannot be read", kubelet.flavour);
        let unknown = |spec: &Spec| (spec.name.to_owned(), unavailable(Reason::NotSupported, why.as_str()));
        return SPECS.iter().map(unknown).collect();
    }
    let flags = Flags::parse(&kubelet.argv, shape);
    let named = |flag: &str| flags.last(flag).filter(|path| !path.is_empty());
    let main = named("config");
    let layers = layers(&kubelet.documents, "KubeletConfiguration", main, named("config-dir").is_some());
    let effective = |spec: &Spec| -> Observed<Setting> {
        if let Some(setting) = spec.given_by(&flags, at) {
            return setting;
        }
        if spec.path.is_empty() {
            return spec.by_default(spec.default, FLAG_DEFAULT, at);
        }
        if let Some(setting) = spec.left_by(&layers) {
            return setting;
        }
        // Without --config drop-ins are merged over the flags' defaults, and only what they touch gets v1beta1's.
        if main.is_some() || spec.touched_by(&layers) {
            return spec.by_default(spec.default, V1BETA1, at);
        }
        spec.by_default(legacy(spec.name).unwrap_or(spec.default), FLAG_DEFAULT, at)
    };
    let mut settings: Settings = SPECS.iter().map(|spec| (spec.name.to_owned(), effective(spec))).collect();
    if let Some(gate) = gate_by_flag(&flags, at) {
        settings.insert("rotateKubeletServerCertificate".to_owned(), gate);
    }
    settings
}

/// The shape of a kubelet's flag.
pub(super) fn shape(name: &str) -> Option<Shape> {
    shape_in(&SPECS, name)
}

/// The ports a kubelet with `settings` serves on: the usual one where the setting is not known.
pub(super) fn ports(settings: &Settings) -> [i64; 3] {
    let port = |name: &str, usual| settings.get(name).and_then(|port| port.value()?.value.as_i64()).unwrap_or(usual);
    [port("port", 10250), port("readOnlyPort", 10255), port("healthzPort", 10248)]
}

/// Is the command line the kubelet's own, rather than that of a program with a kubelet inside.
fn runs_as_kubelet(kubelet: &Kubelet) -> bool {
    let program = |argument: Option<&String>| argument.and_then(|path| path.rsplit('/').next()) == Some("kubelet");
    let mut argv = kubelet.argv.iter();
    kubelet.flavour == "kubelet" || program(argv.next()) || (kubelet.flavour == "hyperkube" && program(argv.next()))
}

/// What the flags default to where it differs from v1beta1.
fn legacy(name: &str) -> Option<Default> {
    match name {
        "anonymousAuth" => Some(Default::Bool(true)),
        "webhookAuthentication" => Some(Default::Bool(false)),
        "authorizationMode" => Some(Default::Text("AlwaysAllow")),
        "readOnlyPort" => Some(Default::Int(10255)),
        _ => None,
    }
}

/// The rotation gate as `--feature-gates` sets it: gates of several flags add up.
fn gate_by_flag(flags: &Flags, at: i64) -> Option<Observed<Setting>> {
    let gates: Vec<(&str, &str)> =
        flags.all("feature-gates").iter().flat_map(|gates| gates.split(',')).filter_map(|gate| gate.trim().split_once('=')).collect();
    let last = |wanted: &str| gates.iter().rev().find(|(name, _)| name.trim() == wanted).map(|(_, value)| value.trim());
    let value = last(SERVER_ROTATION_GATE)?;
    Some(match values::boolean(value) {
        Ok(on) => decided(on.into(), Source::new(SourceKind::Flag, "--feature-gates"), at),
        Err(problem) => unavailable(Reason::Malformed, format!("--feature-gates: {problem}")),
    })
}

#[cfg(test)]
mod tests;
