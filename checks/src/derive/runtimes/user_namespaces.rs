//! Can pods have user namespaces here: what the kernel, the runtime and the OCI runtime need for that.
//!
//! containerd's docs/user-namespaces/README.md (v2.1.0), and kubernetes.io/docs/concepts/workloads/pods/user-namespaces: Linux 6.3,
//! containerd 2.0 or CRI-O 1.25, runc 1.2 or crun 1.9. Enterprise kernels carry parts of newer ones: below 6.3 they tell nothing.

use super::Product;
use super::release::Release;
use crate::facts::{Capability, Kernel, Observed, Reason, Runtime, Source, SourceKind, Unavailable};

/// What one part has to say.
enum Part {
    Can(String),
    Cannot(String),
    Unknown(Unavailable),
}

pub(super) fn of(runtime: &Runtime, product: Product, kernel: &Observed<Kernel>, at: i64) -> Observed<Capability> {
    let parts = [kernel_part(kernel), limit(kernel), engine(runtime, product), oci(runtime)];
    let told = |capable: bool, because: String| {
        Observed::known(Capability { capable, because }, Source::new(SourceKind::Derived, "kernel, runtime and OCI runtime"), at)
    };
    // What one part cannot, no other makes good.
    if let Some(because) = parts.iter().find_map(|part| if let Part::Cannot(because) = part { Some(because) } else { None }) {
        return told(false, because.clone());
    }
    if let Some(why) = parts.iter().find_map(|part| if let Part::Unknown(why) = part { Some(why) } else { None }) {
        return Observed::Unavailable(why.clone());
    }
    let can: Vec<String> = parts.into_iter().filter_map(|part| if let Part::Can(because) = part { Some(because) } else { None }).collect();
    told(true, can.join(", "))
}

fn kernel_part(kernel: &Observed<Kernel>) -> Part {
    let kernel = match kernel {
        Observed::Unavailable(why) => return Part::Unknown(why.clone()),
        Observed::Known { value, .. } => value,
    };
    let unknown = |detail: String| Part::Unknown(Unavailable::new(Reason::NotSupported, detail));
    match Release::of(&kernel.release) {
        None => unknown(format!("the kernel's release {} has no version", kernel.release)),
        Some(release) if release >= Release(6, 3, 0) => Part::Can(format!("kernel {release}")),
        Some(_) if kernel.release.contains(".el") => unknown(format!("kernel {} may carry what 6.3 brought", kernel.release)),
        Some(release) => Part::Cannot(format!("kernel {release} is older than 6.3")),
    }
}

fn limit(kernel: &Observed<Kernel>) -> Part {
    match kernel.value().map(|kernel| &kernel.sysctls.max_user_namespaces) {
        Some(Observed::Known { value: 0, .. }) => Part::Cannot("user.max_user_namespaces is 0".to_owned()),
        Some(Observed::Known { value, .. }) => Part::Can(format!("user.max_user_namespaces {value}")),
        Some(Observed::Unavailable(why)) => Part::Unknown(why.clone()),
        None => Part::Unknown(Unavailable::new(Reason::NotSupported, "the kernel was not read")),
    }
}

fn engine(runtime: &Runtime, product: Product) -> Part {
    let (name, first) = match product {
        Product::Containerd => ("containerd", Release(2, 0, 0)),
        Product::Crio => ("CRI-O", Release(1, 25, 0)),
        Product::Docker => return Part::Cannot("Docker maps all containers or none (userns-remap), pods never".to_owned()),
    };
    by_version(name, &runtime.version, first)
}

fn oci(runtime: &Runtime) -> Part {
    let handlers = match &runtime.handlers {
        Observed::Unavailable(why) => return Part::Unknown(why.clone()),
        Observed::Known { value, .. } => value,
    };
    match handlers.items.iter().find(|handler| handler.default) {
        Some(handler) if handler.kind == "runc" => by_version("runc", &handler.version, Release(1, 2, 0)),
        Some(handler) if handler.kind == "crun" => by_version("crun", &handler.version, Release(1, 9, 0)),
        Some(handler) => {
            let detail = format!("what the default handler {} can is not known", handler.name);
            Part::Unknown(Unavailable::new(Reason::NotSupported, detail))
        }
        None => Part::Unknown(Unavailable::new(Reason::NotPresent, "its default handler is not configured")),
    }
}

fn by_version(name: &str, version: &Observed<String>, first: Release) -> Part {
    match version {
        Observed::Unavailable(why) => Part::Unknown(why.clone()),
        Observed::Known { value, .. } => match Release::of(value) {
            Some(release) if release >= first => Part::Can(format!("{name} {release}")),
            Some(release) => Part::Cannot(format!("{name} {release} is older than {first}")),
            None => Part::Unknown(Unavailable::new(Reason::NotSupported, format!("{name} {value} has no version to compare"))),
        },
    }
}
