//! What container runtimes make of their documents and flags: settings under one name for all, handlers, registries, sockets.
//!
//! What nothing sets is upstream's default of the running version; where the version is not known, only defaults that never changed.
//! Pure: the documents were read by the sensor. Must not know checks.

mod arguments;
mod containerd;
mod crio;
mod docker;
mod handlers;
mod layers;
mod registries;
mod release;
#[cfg(test)]
mod tests;
mod user_namespaces;

pub use self::arguments::last as last_argument;
use self::layers::{Layers, settings};
use self::release::Running;
use super::sockets;
use crate::facts::{Kernel, Kubelet, Listener, Listing, Observed, Reason, Runtime, Settings, Source, SourceKind};

/// Whose runtime it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Product {
    Containerd,
    Crio,
    Docker,
}

impl Product {
    fn of(runtime: &Runtime) -> Option<Self> {
        match runtime.name.as_str() {
            "containerd" => Some(Self::Containerd),
            "cri-o" => Some(Self::Crio),
            "docker" => Some(Self::Docker),
            _ => None,
        }
    }
}

/// Where a pattern of containerd's `imports` starts: `true` beside the file that has it, `false` where the daemon runs. `None`
/// where that depends on a version which is not known.
pub fn imports_beside_the_file(version: Option<&str>) -> Option<bool> {
    containerd::imports_beside_the_file(version)
}

/// Adds to `runtime` what follows from what was read of it.
pub(super) fn derive(
    runtime: &mut Runtime,
    kubelets: &Observed<Listing<Kubelet>>,
    kernel: &Observed<Kernel>,
    listeners: &Observed<Listing<Listener>>,
    at: i64,
) {
    let Some(product) = Product::of(runtime) else { return };
    let release = match product {
        Product::Containerd => containerd::running(runtime),
        Product::Crio | Product::Docker => Running::of(runtime.version.value().map(String::as_str)),
    };
    let layers = layers(runtime, product, release, at);
    runtime.settings = effective(runtime, product, &layers, release, at);
    runtime.handlers = handlers::of(runtime, product, &layers, at);
    if product == Product::Containerd {
        runtime.settings.insert("cgroup_driver".to_owned(), handlers::cgroup_driver(&runtime.handlers));
    }
    runtime.registries = registries::of(runtime, product, &layers, release, at);
    let of_host = Observed::known(true, Source::new(SourceKind::Process, "ns/net"), at);
    runtime.listeners = sockets::listeners_of(runtime.pid, &of_host, listeners);
    runtime.used_by_kubelet = used_by_kubelet(runtime, kubelets, at);
    runtime.user_namespaces = user_namespaces::of(runtime, product, kernel, at);
}

fn layers(runtime: &Runtime, product: Product, release: Running, at: i64) -> Layers {
    match product {
        Product::Containerd => containerd::layers(runtime, release, at),
        Product::Crio => crio::layers(runtime, at),
        Product::Docker => docker::layers(runtime, at),
    }
}

fn effective(runtime: &Runtime, product: Product, layers: &Layers, release: Running, at: i64) -> Settings {
    let (keys, name) = match product {
        Product::Containerd => (&containerd::KEYS[..], containerd::PRODUCT),
        Product::Crio => (&crio::KEYS[..], crio::PRODUCT),
        Product::Docker => (&docker::KEYS[..], docker::PRODUCT),
    };
    let mut settings = settings(keys, layers, release, name, at);
    let further = match product {
        Product::Containerd => containerd::further(layers, release, at),
        Product::Crio => crio::further(runtime, layers, release, at),
        Product::Docker => docker::further(layers, release, at),
    };
    settings.extend(further.into_iter().map(|(name, setting)| (name.to_owned(), setting)));
    if product == Product::Containerd {
        containerd::without_certificate(&mut settings);
    }
    if let Some(path) = settings.remove("registry_config_path") {
        settings.insert("registry_config_path".to_owned(), containerd::config_path(path, layers));
    }
    settings
}

/// Is it the one that a kubelet names, or contains.
fn used_by_kubelet(runtime: &Runtime, kubelets: &Observed<Listing<Kubelet>>, at: i64) -> Observed<bool> {
    let kubelets = match kubelets {
        Observed::Unavailable(why) => return Observed::Unavailable(why.clone()),
        Observed::Known { value, .. } => value,
    };
    let source = || Source::new(SourceKind::Derived, "containerRuntimeEndpoint");
    let mut unknown = None;
    for kubelet in kubelets.items.iter().filter(|kubelet| kubelet.host_network.value() != Some(&false)) {
        // These start their own.
        let brings = match kubelet.flavour.as_str() {
            "kubelite" => "microk8s",
            flavour => flavour,
        };
        if matches!(brings, "k3s" | "rke2" | "microk8s") && runtime.flavour == brings {
            return Observed::known(true, source(), at);
        }
        match kubelet.settings.get("containerRuntimeEndpoint") {
            Some(Observed::Known { value, .. }) => {
                let endpoint = plain(value.value.as_str().unwrap_or_default());
                if endpoint.is_empty() {
                    unknown = Some((Reason::NotSupported, format!("{} names no runtime endpoint", kubelet.subject)));
                } else if serves(runtime, &endpoint) {
                    return Observed::known(true, source(), at);
                }
            }
            Some(Observed::Unavailable(why)) => unknown = Some((why.reason, why.detail.clone())),
            None => unknown = Some((Reason::NotSupported, "the kubelet's runtime endpoint is not known".to_owned())),
        }
    }
    let skipped = kubelets.skipped.first().map(|skipped| (skipped.reason, format!("kubelets: {} was not read", skipped.what)));
    match unknown.or(skipped) {
        Some((reason, detail)) => Observed::unavailable_because(reason, detail),
        None => Observed::known(false, source(), at),
    }
}

fn serves(runtime: &Runtime, endpoint: &str) -> bool {
    let configured = runtime.settings.get("address").and_then(|setting| setting.value()).and_then(|setting| setting.value.as_str());
    let there = runtime.sockets.value().is_some_and(|sockets| sockets.items.iter().any(|socket| plain(&socket.path) == endpoint));
    // Docker answers kubelets through a program of its own.
    let through = runtime.name == "docker" && (endpoint.ends_with("/cri-dockerd.sock") || endpoint.ends_with("/dockershim.sock"));
    through || there || configured.is_some_and(|address| plain(address) == endpoint)
}

/// `unix:///var/run/x.sock`, `unix:/run/x.sock` and `/run/x.sock` are one path.
fn plain(address: &str) -> String {
    let path = address.strip_prefix("unix:").unwrap_or(address);
    let path = format!("/{}", path.trim_start_matches('/'));
    if address.is_empty() {
        return String::new();
    }
    path.strip_prefix("/var/run/").map_or_else(|| path.clone(), |rest| format!("/run/{rest}"))
}
