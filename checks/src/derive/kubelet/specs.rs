//! The kubelet's settings: name, flag, field and type of each.
//!
//! Must not know any default, nor how flags and files are put together.

use crate::derive::setting::{Default, Spec, Zero};
use crate::derive::values::{Kind, Member};

const TLS_VERSIONS: Kind = Kind::Enum(&["", "VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13"]);
const PULL_POLICIES: Kind = Kind::Enum(&["NeverVerify", "NeverVerifyPreloadedImages", "NeverVerifyAllowlistedImages", "AlwaysVerify"]);

const fn spec(name: &'static str, flag: &'static str, path: &'static [&'static str], kind: Kind) -> Spec {
    Spec::new(name, flag, path, kind, Default::Versioned)
}

/// A setting of the command line alone.
const fn flag(name: &'static str, flag: &'static str) -> Spec {
    spec(name, flag, &[], Kind::Text)
}

pub(super) const SPECS: [Spec; 71] = [
    spec("anonymousAuth", "anonymous-auth", &["authentication", "anonymous", "enabled"], Kind::Bool),
    spec("webhookAuthentication", "authentication-token-webhook", &["authentication", "webhook", "enabled"], Kind::Bool),
    spec(
        "authenticationWebhookCacheTTL",
        "authentication-token-webhook-cache-ttl",
        &["authentication", "webhook", "cacheTTL"],
        Kind::Seconds,
    )
    .zero(Zero::Unset),
    spec("clientCAFile", "client-ca-file", &["authentication", "x509", "clientCAFile"], Kind::Text),
    spec("authorizationMode", "authorization-mode", &["authorization", "mode"], Kind::Enum(&["AlwaysAllow", "Webhook"])).zero(Zero::Unset),
    spec(
        "authorizationWebhookCacheAuthorizedTTL",
        "authorization-webhook-cache-authorized-ttl",
        &["authorization", "webhook", "cacheAuthorizedTTL"],
        Kind::Seconds,
    )
    .zero(Zero::Unset),
    spec(
        "authorizationWebhookCacheUnauthorizedTTL",
        "authorization-webhook-cache-unauthorized-ttl",
        &["authorization", "webhook", "cacheUnauthorizedTTL"],
        Kind::Seconds,
    )
    .zero(Zero::Unset),
    spec("readOnlyPort", "read-only-port", &["readOnlyPort"], Kind::Int),
    spec("port", "port", &["port"], Kind::Int).zero(Zero::Unset),
    spec("address", "address", &["address"], Kind::Text).zero(Zero::Unset),
    spec("healthzPort", "healthz-port", &["healthzPort"], Kind::Int),
    spec("healthzBindAddress", "healthz-bind-address", &["healthzBindAddress"], Kind::Text).zero(Zero::Unset),
    spec("enableServer", "enable-server", &["enableServer"], Kind::Bool),
    spec("tlsCertFile", "tls-cert-file", &["tlsCertFile"], Kind::Text),
    spec("tlsPrivateKeyFile", "tls-private-key-file", &["tlsPrivateKeyFile"], Kind::Text),
    spec("tlsMinVersion", "tls-min-version", &["tlsMinVersion"], TLS_VERSIONS),
    spec("tlsCipherSuites", "tls-cipher-suites", &["tlsCipherSuites"], Kind::List),
    spec("rotateCertificates", "rotate-certificates", &["rotateCertificates"], Kind::Bool),
    spec("serverTLSBootstrap", "rotate-server-certificates", &["serverTLSBootstrap"], Kind::Bool),
    spec("seccompDefault", "seccomp-default", &["seccompDefault"], Kind::Bool),
    spec("protectKernelDefaults", "protect-kernel-defaults", &["protectKernelDefaults"], Kind::Bool),
    spec("makeIPTablesUtilChains", "make-iptables-util-chains", &["makeIPTablesUtilChains"], Kind::Bool),
    spec("failSwapOn", "fail-swap-on", &["failSwapOn"], Kind::Bool),
    spec("swapBehavior", "", &["memorySwap", "swapBehavior"], Kind::Text),
    spec("eventRecordQPS", "event-qps", &["eventRecordQPS"], Kind::Int),
    spec("registryPullQPS", "registry-qps", &["registryPullQPS"], Kind::Int),
    spec("streamingConnectionIdleTimeout", "streaming-connection-idle-timeout", &["streamingConnectionIdleTimeout"], Kind::Seconds)
        .zero(Zero::Unset),
    spec("podPidsLimit", "pod-max-pids", &["podPidsLimit"], Kind::Int).zero(Zero::NegativeUnset),
    spec("maxPods", "max-pods", &["maxPods"], Kind::Int).zero(Zero::Unset),
    spec("staticPodPath", "pod-manifest-path", &["staticPodPath"], Kind::Text),
    spec("staticPodURL", "manifest-url", &["staticPodURL"], Kind::Text),
    spec("staticPodURLHeader", "manifest-url-header", &["staticPodURLHeader"], Kind::Given),
    spec("enableDebuggingHandlers", "enable-debugging-handlers", &["enableDebuggingHandlers"], Kind::Bool),
    spec("enableProfilingHandler", "", &["enableProfilingHandler"], Kind::Bool),
    spec("enableContentionProfiling", "contention-profiling", &["enableContentionProfiling"], Kind::Bool),
    spec("enableSystemLogHandler", "", &["enableSystemLogHandler"], Kind::Bool),
    spec("enableSystemLogQuery", "", &["enableSystemLogQuery"], Kind::Bool),
    spec("containerLogMaxSize", "container-log-max-size", &["containerLogMaxSize"], Kind::Bytes).zero(Zero::Unset),
    spec("containerLogMaxFiles", "container-log-max-files", &["containerLogMaxFiles"], Kind::Int),
    spec("evictionHard", "eviction-hard", &["evictionHard"], Kind::Map(Member::Threshold)),
    spec("evictionSoft", "eviction-soft", &["evictionSoft"], Kind::Map(Member::Threshold)),
    spec("evictionSoftGracePeriod", "eviction-soft-grace-period", &["evictionSoftGracePeriod"], Kind::Map(Member::Duration)),
    spec("mergeDefaultEvictionSettings", "", &["mergeDefaultEvictionSettings"], Kind::Bool),
    spec("systemReserved", "system-reserved", &["systemReserved"], Kind::Map(Member::Resource)),
    spec("kubeReserved", "kube-reserved", &["kubeReserved"], Kind::Map(Member::Resource)),
    spec("enforceNodeAllocatable", "enforce-node-allocatable", &["enforceNodeAllocatable"], Kind::List),
    spec("allowedUnsafeSysctls", "allowed-unsafe-sysctls", &["allowedUnsafeSysctls"], Kind::List),
    spec("featureGates", "feature-gates", &["featureGates"], Kind::Map(Member::Gate)),
    spec("rotateKubeletServerCertificate", "", &["featureGates", "RotateKubeletServerCertificate"], Kind::Bool),
    spec("kubeletFineGrainedAuthz", "", &["featureGates", "KubeletFineGrainedAuthz"], Kind::Bool),
    spec("containerRuntimeEndpoint", "container-runtime-endpoint", &["containerRuntimeEndpoint"], Kind::Text).zero(Zero::Unset),
    spec("imageServiceEndpoint", "image-service-endpoint", &["imageServiceEndpoint"], Kind::Text),
    spec("cgroupDriver", "cgroup-driver", &["cgroupDriver"], Kind::Text).zero(Zero::Unset),
    spec("cgroupRoot", "cgroup-root", &["cgroupRoot"], Kind::Text),
    spec("kubeletCgroups", "kubelet-cgroups", &["kubeletCgroups"], Kind::Text),
    spec("failCgroupV1", "", &["failCgroupV1"], Kind::Bool),
    spec("imagePullCredentialsVerificationPolicy", "", &["imagePullCredentialsVerificationPolicy"], PULL_POLICIES).zero(Zero::Unset),
    spec("shutdownGracePeriod", "", &["shutdownGracePeriod"], Kind::Seconds),
    spec("volumePluginDir", "volume-plugin-dir", &["volumePluginDir"], Kind::Text).zero(Zero::Unset),
    spec("localStorageCapacityIsolation", "local-storage-capacity-isolation", &["localStorageCapacityIsolation"], Kind::Bool),
    spec("podLogsDir", "", &["podLogsDir"], Kind::Text).zero(Zero::Unset),
    spec("userNamespacesIdsPerPod", "", &["userNamespaces", "idsPerPod"], Kind::Int),
    flag("hostnameOverride", "hostname-override"),
    flag("nodeIP", "node-ip"),
    flag("kubeconfig", "kubeconfig"),
    flag("bootstrapKubeconfig", "bootstrap-kubeconfig"),
    flag("config", "config"),
    flag("configDir", "config-dir"),
    flag("certDirectory", "cert-dir"),
    flag("rootDir", "root-dir"),
    flag("cloudProvider", "cloud-provider"),
];
