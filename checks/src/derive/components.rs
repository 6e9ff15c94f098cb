//! Effective settings of kube-proxy and the control plane.
//!
//! kube-proxy, the scheduler and etcd ignore their flags where a configuration file can say the same; the API server reads
//! anonymous access and authorization from files of their own when those are given.

use serde_json::Value;

use super::flags::Flags;
use super::setting::{Default, Spec, Zero, decided, layers, shape_in, unavailable};
use super::values::Kind;
use crate::facts::{Component, Observed, Reason, Setting, Settings, Source, SourceKind};

const FLAG_DEFAULT: &str = "without a flag";
/// Why an etcd setting that no flag gives is not known.
const ETCD_ENVIRONMENT: &str = "no flag sets it, and etcd also takes it from its environment, which is not read";

const fn flag(name: &'static str, flag: &'static str, kind: Kind, default: Default) -> Spec {
    Spec::new(name, flag, &[], kind, default)
}

const KUBE_PROXY: [Spec; 6] = [
    Spec::new("metricsBindAddress", "metrics-bind-address", &["metricsBindAddress"], Kind::Text, Default::Text("127.0.0.1:10249"))
        .zero(Zero::Unset),
    Spec::new("healthzBindAddress", "healthz-bind-address", &["healthzBindAddress"], Kind::Text, Default::Text("0.0.0.0:10256"))
        .zero(Zero::Unset),
    Spec::new("bindAddress", "bind-address", &["bindAddress"], Kind::Text, Default::Text("0.0.0.0")).zero(Zero::Unset),
    Spec::new("mode", "proxy-mode", &["mode"], Kind::Text, Default::Empty),
    Spec::new("enableProfiling", "profiling", &["enableProfiling"], Kind::Bool, Default::Bool(false)),
    flag("config", "config", Kind::Text, Default::Empty),
];

const API_SERVER: [Spec; 30] = [
    flag("anonymousAuth", "anonymous-auth", Kind::Bool, Default::Bool(true)),
    flag("authenticationConfig", "authentication-config", Kind::Text, Default::Empty),
    flag("authorizationMode", "authorization-mode", Kind::List, Default::List(&["AlwaysAllow"])),
    flag("authorizationConfig", "authorization-config", Kind::Text, Default::Empty),
    flag("insecurePort", "insecure-port", Kind::Int, Default::Int(0)),
    flag("securePort", "secure-port", Kind::Int, Default::Int(6443)),
    flag("bindAddress", "bind-address", Kind::Text, Default::Text("0.0.0.0")),
    flag("profiling", "profiling", Kind::Bool, Default::Bool(true)),
    flag("tokenAuthFile", "token-auth-file", Kind::Text, Default::Empty),
    flag("basicAuthFile", "basic-auth-file", Kind::Text, Default::Empty),
    flag("enableAdmissionPlugins", "enable-admission-plugins", Kind::List, Default::Empty),
    flag("disableAdmissionPlugins", "disable-admission-plugins", Kind::List, Default::Empty),
    flag("auditLogPath", "audit-log-path", Kind::Text, Default::Empty),
    flag("auditPolicyFile", "audit-policy-file", Kind::Text, Default::Empty),
    flag("auditWebhookConfigFile", "audit-webhook-config-file", Kind::Text, Default::Empty),
    flag("clientCAFile", "client-ca-file", Kind::Text, Default::Empty),
    flag("tlsCertFile", "tls-cert-file", Kind::Text, Default::Empty),
    flag("tlsMinVersion", "tls-min-version", Kind::Text, Default::Empty),
    flag("etcdCAFile", "etcd-cafile", Kind::Text, Default::Empty),
    flag("etcdCertFile", "etcd-certfile", Kind::Text, Default::Empty),
    flag("etcdKeyFile", "etcd-keyfile", Kind::Text, Default::Empty),
    flag("encryptionProviderConfig", "encryption-provider-config", Kind::Text, Default::Empty),
    flag("tlsPrivateKeyFile", "tls-private-key-file", Kind::Text, Default::Empty),
    flag("tlsCipherSuites", "tls-cipher-suites", Kind::List, Default::Empty),
    flag("kubeletClientCertificate", "kubelet-client-certificate", Kind::Text, Default::Empty),
    flag("kubeletClientKey", "kubelet-client-key", Kind::Text, Default::Empty),
    flag("serviceAccountKeyFile", "service-account-key-file", Kind::List, Default::Empty),
    flag("serviceAccountExtendTokenExpiration", "service-account-extend-token-expiration", Kind::Bool, Default::Bool(true)),
    flag("kubeletCertificateAuthority", "kubelet-certificate-authority", Kind::Text, Default::Empty),
    flag("serviceAccountLookup", "service-account-lookup", Kind::Bool, Default::Bool(true)),
];

const CONTROLLER_MANAGER: [Spec; 6] = [
    flag("bindAddress", "bind-address", Kind::Text, Default::Text("0.0.0.0")),
    flag("securePort", "secure-port", Kind::Int, Default::Int(10257)),
    flag("profiling", "profiling", Kind::Bool, Default::Bool(true)),
    flag("useServiceAccountCredentials", "use-service-account-credentials", Kind::Bool, Default::Bool(false)),
    flag("serviceAccountPrivateKeyFile", "service-account-private-key-file", Kind::Text, Default::Empty),
    flag("rootCAFile", "root-ca-file", Kind::Text, Default::Empty),
];

const SCHEDULER: [Spec; 4] = [
    flag("bindAddress", "bind-address", Kind::Text, Default::Text("0.0.0.0")),
    flag("securePort", "secure-port", Kind::Int, Default::Int(10259)),
    Spec::new("profiling", "profiling", &["enableProfiling"], Kind::Bool, Default::Bool(true)),
    flag("config", "config", Kind::Text, Default::Empty),
];

const ETCD: [Spec; 15] = [
    Spec::new("clientCertAuth", "client-cert-auth", &["client-transport-security", "client-cert-auth"], Kind::Bool, Default::Bool(false)),
    Spec::new("certFile", "cert-file", &["client-transport-security", "cert-file"], Kind::Text, Default::Empty),
    Spec::new("keyFile", "key-file", &["client-transport-security", "key-file"], Kind::Text, Default::Empty),
    Spec::new("trustedCAFile", "trusted-ca-file", &["client-transport-security", "trusted-ca-file"], Kind::Text, Default::Empty),
    Spec::new("autoTLS", "auto-tls", &["client-transport-security", "auto-tls"], Kind::Bool, Default::Bool(false)),
    Spec::new(
        "peerClientCertAuth",
        "peer-client-cert-auth",
        &["peer-transport-security", "client-cert-auth"],
        Kind::Bool,
        Default::Bool(false),
    ),
    Spec::new("peerCertFile", "peer-cert-file", &["peer-transport-security", "cert-file"], Kind::Text, Default::Empty),
    Spec::new("peerKeyFile", "peer-key-file", &["peer-transport-security", "key-file"], Kind::Text, Default::Empty),
    Spec::new("peerTrustedCAFile", "peer-trusted-ca-file", &["peer-transport-security", "trusted-ca-file"], Kind::Text, Default::Empty),
    Spec::new("peerAutoTLS", "peer-auto-tls", &["peer-transport-security", "auto-tls"], Kind::Bool, Default::Bool(false)),
    Spec::new("listenClientURLs", "listen-client-urls", &["listen-client-urls"], Kind::List, Default::List(&["http://localhost:2379"])),
    Spec::new("listenPeerURLs", "listen-peer-urls", &["listen-peer-urls"], Kind::List, Default::List(&["http://localhost:2380"])),
    Spec::new("listenMetricsURLs", "listen-metrics-urls", &["listen-metrics-urls"], Kind::List, Default::Empty),
    Spec::new("dataDir", "data-dir", &["data-dir"], Kind::Text, Default::Empty),
    flag("config", "config-file", Kind::Text, Default::Empty),
];

/// Every effective setting of `component`.
pub(super) fn settings(component: &Component, at: i64) -> Settings {
    let specs: &[Spec] = match component.name.as_str() {
        "kube-proxy" => &KUBE_PROXY,
        "kube-apiserver" => &API_SERVER,
        "kube-controller-manager" => &CONTROLLER_MANAGER,
        "kube-scheduler" => &SCHEDULER,
        "etcd" => &ETCD,
        _ => return Settings::new(),
    };
    if !component.inside.is_empty() || component.argv.is_empty() {
        let why = match component.inside.as_str() {
            "" => "its command line could not be read".to_owned(),
            program => format!("{program} builds its flags inside the process, where they cannot be read"),
        };
        let unknown = |spec: &Spec| (spec.name.to_owned(), unavailable(Reason::NotSupported, why.as_str()));
        let paths =
            (component.name == "kube-apiserver").then(|| ("anonymousPaths".to_owned(), unavailable(Reason::NotSupported, why.as_str())));
        return specs.iter().map(unknown).chain(paths).collect();
    }
    let flags = flags_of(component, specs);
    let (config_flag, kind) = match component.name.as_str() {
        "etcd" => ("config-file", ""),
        "kube-proxy" => ("config", "KubeProxyConfiguration"),
        _ => ("config", "KubeSchedulerConfiguration"),
    };
    let config = flags.last(config_flag).filter(|path| !path.is_empty());
    let layers = layers(&component.documents, kind, config, false);
    let effective = |spec: &Spec| -> Observed<Setting> {
        let by_file = config.is_some() && !spec.path.is_empty();
        let given = if by_file { spec.left_by(&layers) } else { spec.given_by(&flags, at) };
        given.unwrap_or_else(|| {
            if component.name == "etcd" && config.is_none() {
                return spec.by_default(Default::Unread(ETCD_ENVIRONMENT), FLAG_DEFAULT, at);
            }
            spec.by_default(spec.default, if by_file { "without a field" } else { FLAG_DEFAULT }, at)
        })
    };
    let told = |spec: &Spec| {
        let mut setting = effective(spec);
        if let Some(setting) = setting.value_mut() {
            setting.declared = spec.declared(&layers, &flags);
            // The flag is the weaker one where a file can say the same.
            if config.is_some() && !spec.path.is_empty() && setting.declared.last().is_some_and(|said| said.source.kind == SourceKind::Flag)
            {
                setting.declared.rotate_right(1);
            }
        }
        (spec.name.to_owned(), setting)
    };
    let mut settings: Settings = specs.iter().map(told).collect();
    if component.name == "kube-apiserver" {
        structured_authorization(component, &flags, &mut settings);
        anonymous_access(component, &flags, &mut settings, at);
        settings.insert("encryptionProviders".to_owned(), encryption_providers(component, &flags, at));
    }
    settings
}

/// The providers for secrets in the order of `--encryption-provider-config`: the first one encrypts what is written, the others
/// only decrypt. Of several entries that cover a resource the first counts; empty without a file, or where no entry covers secrets.
fn encryption_providers(component: &Component, flags: &Flags, at: i64) -> Observed<Setting> {
    let Some(path) = flags.last("encryption-provider-config").filter(|path| !path.is_empty()) else {
        return decided(Value::Array(Vec::new()), Source::new(SourceKind::Default, FLAG_DEFAULT), at);
    };
    document(component, "EncryptionConfiguration", path, |document, source, at| {
        let covers = |entry: &&Value| {
            let resources = entry.get("resources").and_then(Value::as_array);
            resources.is_some_and(|names| names.iter().filter_map(Value::as_str).any(|name| matches!(name, "secrets" | "*." | "*.*")))
        };
        let entries = document.get("resources").and_then(Value::as_array);
        let Some(entries) = entries else { return unavailable(Reason::Malformed, format!("{path}: resources is not a list")) };
        let Some(entry) = entries.iter().find(covers) else { return decided(Value::Array(Vec::new()), source, at) };
        // Each provider is a mapping of one name.
        let name =
            |provider: &Value| provider.as_object().filter(|one| one.len() == 1)?.keys().next().map(|name| Value::from(name.as_str()));
        let providers = entry.get("providers").and_then(Value::as_array).map(|list| list.iter().map(name).collect::<Option<Vec<Value>>>());
        match providers.flatten() {
            Some(providers) => decided(Value::Array(providers), source, at),
            None => unavailable(Reason::Malformed, format!("{path}: providers is not a list of mappings with one name each")),
        }
    })
}

/// The flags of `component`. etcd uses Go's own flag package, which takes one hyphen as well as two.
fn flags_of(component: &Component, specs: &[Spec]) -> Flags {
    if component.name != "etcd" {
        return Flags::parse(&component.argv, |name| shape_in(specs, name));
    }
    let doubled = |argument: &String| match argument.strip_prefix('-') {
        Some(rest) if !rest.starts_with('-') && rest.len() > 1 => format!("--{rest}"),
        _ => argument.clone(),
    };
    let argv: Vec<String> = component.argv.iter().map(doubled).collect();
    Flags::parse(&argv, |name| shape_in(specs, name))
}

/// `--authorization-config` replaces `--authorization-mode`: the modes are its authorizers' types.
fn structured_authorization(component: &Component, flags: &Flags, settings: &mut Settings) {
    let Some(path) = flags.last("authorization-config").filter(|path| !path.is_empty()) else { return };
    let modes = document(component, "AuthorizationConfiguration", path, |document, source, at| {
        let authorizers = document.get("authorizers").and_then(Value::as_array);
        let types = authorizers.map(|list| list.iter().filter_map(|one| one.get("type")).cloned().collect::<Value>());
        match types {
            Some(types) => decided(types, source, at),
            None => unavailable(Reason::Malformed, format!("{path}: authorizers is not a list")),
        }
    });
    settings.insert("authorizationMode".to_owned(), modes);
}

/// Anonymous access: `--authentication-config` may say it, with paths it is limited to; and the API server turns off that of the
/// flag by itself under the mode `AlwaysAllow` of the flag.
fn anonymous_access(component: &Component, flags: &Flags, settings: &mut Settings, at: i64) {
    let none = || decided(Value::Array(Vec::new()), Source::new(SourceKind::Default, FLAG_DEFAULT), at);
    let mut paths = none();
    if let Some(path) = flags.last("authentication-config").filter(|path| !path.is_empty())
        && flags.last("anonymous-auth").is_none()
    {
        let anonymous = document(component, "AuthenticationConfiguration", path, |document, source, at| {
            let Some(given) = document.get("anonymous").filter(|given| !given.is_null()) else {
                return decided(true.into(), Source::new(SourceKind::Default, FLAG_DEFAULT), at);
            };
            match given.get("enabled") {
                None | Some(Value::Null) => decided(false.into(), source, at),
                Some(Value::Bool(enabled)) => decided((*enabled).into(), source, at),
                Some(_) => unavailable(Reason::Malformed, format!("{path}: anonymous.enabled is not true or false")),
            }
        });
        paths = document(component, "AuthenticationConfiguration", path, |document, source, at| {
            let conditions = document.pointer("/anonymous/conditions").and_then(Value::as_array);
            let named = |one: &Value| one.get("path").cloned();
            decided(conditions.into_iter().flatten().filter_map(named).collect(), source, at)
        });
        settings.insert("anonymousAuth".to_owned(), anonymous);
    }
    settings.insert("anonymousPaths".to_owned(), paths);
    // Upstream compares flags only: what one of the files says of either stays as it is.
    let flag_of = |name: &str| settings.get(name).and_then(Observed::value).filter(|setting| setting.source.kind != SourceKind::File);
    let modes = flag_of("authorizationMode").and_then(|modes| modes.value.as_array());
    if flag_of("anonymousAuth").is_some() && modes.is_some_and(|modes| modes.contains(&"AlwaysAllow".into())) {
        let source = Source::new(SourceKind::Default, "under AlwaysAllow");
        settings.insert("anonymousAuth".to_owned(), decided(false.into(), source, at));
    }
}

/// A setting from the one document of `kind`, given at `path`.
fn document(
    component: &Component,
    kind: &str,
    path: &str,
    read: impl FnOnce(&Value, Source, i64) -> Observed<Setting>,
) -> Observed<Setting> {
    let documents = match &component.documents {
        Observed::Unavailable(why) => return Observed::Unavailable(why.clone()),
        Observed::Known { value, .. } => value,
    };
    let Some(found) = documents.items.iter().find(|document| document.path == path) else {
        let reason = documents.skipped.iter().find(|skipped| skipped.what == path).map_or(Reason::NotSupported, |skipped| skipped.reason);
        return unavailable(reason, format!("{path} was not read"));
    };
    match &found.content {
        Observed::Unavailable(why) => Observed::Unavailable(why.clone()),
        Observed::Known { value, at, .. } if value.get("kind").and_then(Value::as_str) == Some(kind) => {
            read(value, Source::new(SourceKind::File, path), *at)
        }
        Observed::Known { .. } => unavailable(Reason::Malformed, format!("{path} is not {kind}")),
    }
}

#[cfg(test)]
mod tests;
