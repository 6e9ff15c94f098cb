//! The patch chain as inventory documents and back: the kernel, the components of Kubernetes, the runtimes with their programs.
//!
//! Both directions stand side by side, so that a fact that version verdicts need is not lost between them: what the node could not
//! read arrives with the node's own reason. Knows facts and documents, not the budget.

use std::collections::BTreeMap;

use super::collect::said;
use super::document::{ComponentDocument, HandlerDocument, InstalledDocument, KernelDocument, ProgramDocument, RuntimeDocument};
use super::restore::{because, known, reported};
use crate::facts::{
    Component, Feature, Handler, InstalledKernel, Kernel, Kubelet, Listing, Observed, Reason, Runtime, RuntimeProgram, Skipped, Unavailable,
};
use crate::versions::compare::rpm;

/// More holes of a list are told as a number.
const MAX_HOLES: usize = 4;
/// So many newer kernels are told where all do not fit.
const MAX_NEWER: usize = 3;

/// What a document does not have, and why: see [`KernelDocument::unknown`] and [`KernelDocument::skipped`].
#[derive(Default)]
struct Holes {
    unknown: BTreeMap<String, String>,
    skipped: BTreeMap<String, Vec<String>>,
}

impl Holes {
    /// The member for `fact`; where there is none, its reason is kept.
    fn told<T: Clone>(&mut self, member: &str, fact: &Observed<T>) -> Option<T> {
        if let Some(why) = fact.unavailable() {
            self.unknown.insert(member.to_owned(), said(why));
        }
        fact.value().cloned()
    }

    /// The member for a list, with what is missing from it.
    fn list<'a, T>(&mut self, member: &str, fact: &'a Observed<Listing<T>>) -> Option<&'a [T]> {
        if let Some(why) = fact.unavailable() {
            self.unknown.insert(member.to_owned(), said(why));
        }
        let listing = fact.value()?;
        let hole = |hole: &Skipped| said(&Unavailable::new(hole.reason, hole.what.as_str()));
        let mut holes: Vec<String> = listing.skipped.iter().take(MAX_HOLES).map(hole).collect();
        if let Some(more) = listing.skipped.len().checked_sub(MAX_HOLES).filter(|more| *more > 0) {
            holes.push(said(&Unavailable::new(Reason::NotSupported, format!("{more} more"))));
        }
        if !holes.is_empty() {
            self.skipped.insert(member.to_owned(), holes);
        }
        Some(&listing.items)
    }
}

/// The member of a document as a fact, or the reason that it gives.
fn fact<T>(value: Option<T>, member: &str, unknown: &BTreeMap<String, String>) -> Observed<T> {
    match (value, unknown.get(member)) {
        (None, Some(why)) => Observed::Unavailable(because(why)),
        (value, _) => reported(value),
    }
}

fn listing<T>(
    items: Option<Vec<T>>,
    member: &str,
    unknown: &BTreeMap<String, String>,
    skipped: &BTreeMap<String, Vec<String>>,
) -> Observed<Listing<T>> {
    let holes = skipped.get(member).map(Vec::as_slice).unwrap_or_default().iter().map(|text| {
        let why = because(text);
        Skipped { what: why.detail, reason: why.reason }
    });
    fact(items, member, unknown).map(|items| Listing { items, skipped: holes.collect() })
}

/// The whole kernel document, then ever smaller ones: what runs is worth more than what else is installed, and of that what
/// would run next.
pub(super) fn kernel_variants(kernel: &Kernel) -> [KernelDocument; 5] {
    let whole = kernel_document(kernel);
    let mut waiting = whole.clone();
    if let Some(installed) = &mut waiting.installed {
        let all = installed.len();
        let newest: Vec<String> =
            newest_first(installed.iter().filter(|one| one.newer)).into_iter().take(MAX_NEWER).map(|one| one.release.clone()).collect();
        installed.retain(|one| one.release == kernel.release || newest.contains(&one.release));
        let lost = all.saturating_sub(installed.len());
        if lost > 0 {
            let lost = Unavailable::new(Reason::TooLarge, format!("{lost} more, which did not fit into the inventory"));
            waiting.skipped.entry("installed".to_owned()).or_default().push(said(&lost));
        }
    }
    let mut alone = KernelDocument { installed: None, ..waiting.clone() };
    alone.skipped.remove("installed");
    alone.unknown.insert("installed".to_owned(), said(&did_not_fit()));
    let mut short = KernelDocument { lsms: None, features: None, ..alone.clone() };
    short.unknown = short.unknown.into_iter().map(|(member, why)| (member, because(&why).reason.name().to_owned())).collect();
    short.skipped.remove("features");
    short.unknown.insert("features".to_owned(), said(&did_not_fit()));
    for sentinel in short.reboot_sentinels.iter_mut().flatten() {
        sentinel.packages.clear();
    }
    let identity = KernelDocument {
        release: whole.release.clone(),
        version: whole.version.clone(),
        signature: whole.signature.clone(),
        package: whole.package.clone(),
        boot_time: whole.boot_time,
        lockdown: whole.lockdown.clone(),
        ..KernelDocument::default()
    };
    [whole, waiting, alone, short, identity]
}

fn did_not_fit() -> Unavailable {
    Unavailable::new(Reason::TooLarge, "it did not fit into the inventory")
}

fn newest_first<'a>(kernels: impl Iterator<Item = &'a InstalledDocument>) -> Vec<&'a InstalledDocument> {
    let mut kernels: Vec<&InstalledDocument> = kernels.collect();
    kernels.sort_by(|a, b| rpm(&b.release, &a.release).then_with(|| a.release.cmp(&b.release)));
    kernels
}

fn kernel_document(kernel: &Kernel) -> KernelDocument {
    let mut holes = Holes::default();
    let newer = kernel.newer_installed.value().map(|newer| newer.items.as_slice()).unwrap_or_default();
    let installed = holes.list("installed", &kernel.installed).map(|kernels| {
        let mut documents: BTreeMap<&str, InstalledDocument> = BTreeMap::new();
        for one in kernels {
            let document =
                documents.entry(&one.release).or_insert_with(|| InstalledDocument { release: one.release.clone(), ..Default::default() });
            document.newer = newer.contains(&one.release);
            if document.newer || one.release == kernel.release {
                document.build = document.build.take().or_else(|| one.build.value().cloned());
                document.modified = document.modified.max(one.modified.value().copied());
            }
        }
        documents.into_values().collect()
    });
    let features = holes
        .list("features", &kernel.features)
        .map(|features| features.iter().map(|feature| (feature.name.clone(), feature.state)).collect());
    let reboot_sentinels = holes.list("reboot_sentinels", &kernel.reboot_sentinels).map(<[_]>::to_vec);
    KernelDocument {
        release: kernel.release.clone(),
        version: kernel.version.clone(),
        signature: holes.told("signature", &kernel.signature),
        package: holes.told("package", &kernel.package),
        boot_time: holes.told("boot_time", &kernel.boot_time),
        lsms: kernel.lsms.value().cloned(),
        lockdown: kernel.lockdown.value().cloned(),
        taint: holes.told("taint", &kernel.taint),
        livepatches: holes.told("livepatches", &kernel.livepatches),
        installed,
        reboot_sentinels,
        boot_default: holes.told("boot_default", &kernel.boot_default),
        deployment: holes.told("deployment", &kernel.deployment),
        features,
        unprivileged_user_namespaces: holes.told("unprivileged_user_namespaces", &kernel.unprivileged_user_namespaces),
        unprivileged_bpf_disabled: holes.told("unprivileged_bpf_disabled", &kernel.sysctls.unprivileged_bpf_disabled),
        route_localnet: holes.told("route_localnet", &kernel.sysctls.ipv4_route_localnet),
        cgroup: holes.told("cgroup", &kernel.cgroup),
        unknown: holes.unknown,
        skipped: holes.skipped,
    }
}

/// The kernel of a document. Kernels come without the places where they were seen.
pub(super) fn kernel(document: KernelDocument) -> Kernel {
    let (unknown, skipped) = (&document.unknown, &document.skipped);
    let newer = document.installed.as_ref().map(|installed| {
        newest_first(installed.iter().filter(|one| one.newer)).into_iter().map(|one| one.release.clone()).collect::<Vec<_>>()
    });
    let installed = document.installed.map(|installed| {
        let kernel = |one: InstalledDocument| InstalledKernel {
            build: reported(one.build),
            modified: reported(one.modified),
            ..InstalledKernel::unread(one.release, "")
        };
        installed.into_iter().map(kernel).collect::<Vec<_>>()
    });
    let features = document.features.map(|features| features.into_iter().map(|(name, state)| Feature { name, state }).collect());
    let mut kernel = Kernel {
        signature: fact(document.signature, "signature", unknown),
        package: fact(document.package, "package", unknown),
        boot_time: fact(document.boot_time, "boot_time", unknown),
        lsms: reported(document.lsms),
        lockdown: reported(document.lockdown),
        taint: fact(document.taint, "taint", unknown),
        livepatches: fact(document.livepatches, "livepatches", unknown),
        newer_installed: listing(newer, "installed", unknown, skipped),
        installed: listing(installed, "installed", unknown, skipped),
        reboot_sentinels: listing(document.reboot_sentinels, "reboot_sentinels", unknown, skipped),
        boot_default: fact(document.boot_default, "boot_default", unknown),
        deployment: fact(document.deployment, "deployment", unknown),
        features: listing(features, "features", unknown, skipped),
        unprivileged_user_namespaces: fact(document.unprivileged_user_namespaces, "unprivileged_user_namespaces", unknown),
        cgroup: fact(document.cgroup, "cgroup", unknown),
        ..Kernel::unread(document.release, document.version)
    };
    kernel.sysctls.unprivileged_bpf_disabled = fact(document.unprivileged_bpf_disabled, "unprivileged_bpf_disabled", unknown);
    kernel.sysctls.ipv4_route_localnet = fact(document.route_localnet, "route_localnet", unknown);
    kernel
}

/// A kubelet's document.
pub(super) fn kubelet_document(kubelet: &Kubelet) -> ComponentDocument {
    let mut holes = Holes::default();
    ComponentDocument {
        name: "kubelet".to_owned(),
        flavour: kubelet.flavour.clone(),
        version: holes.told("version", &kubelet.version),
        installed: holes.told("installed", &kubelet.installed),
        executable: holes.told("executable", &kubelet.executable),
        host_network: kubelet.host_network.value().copied(),
        unknown: holes.unknown,
    }
}

/// The document of another component.
pub(super) fn component_document(component: &Component) -> ComponentDocument {
    let mut holes = Holes::default();
    ComponentDocument {
        name: component.name.clone(),
        flavour: if component.inside.is_empty() { component.name.clone() } else { component.inside.clone() },
        version: holes.told("version", &component.version),
        installed: holes.told("installed", &component.installed),
        executable: holes.told("executable", &component.executable),
        host_network: component.host_network.value().copied(),
        unknown: holes.unknown,
    }
}

/// What a document has of the kubelet called `subject`.
pub(super) fn kubelet(subject: &str, document: ComponentDocument) -> Kubelet {
    let unknown = &document.unknown;
    Kubelet {
        version: fact(document.version, "version", unknown),
        installed: fact(document.installed, "installed", unknown),
        executable: fact(document.executable, "executable", unknown),
        host_network: reported(document.host_network),
        ..Kubelet::unread(subject, 0, document.flavour)
    }
}

/// What a document has of the component called `subject`.
pub(super) fn component(subject: &str, document: ComponentDocument) -> Component {
    let unknown = &document.unknown;
    Component {
        subject: subject.to_owned(),
        inside: if document.flavour == document.name { String::new() } else { document.flavour },
        version: fact(document.version, "version", unknown),
        installed: fact(document.installed, "installed", unknown),
        executable: fact(document.executable, "executable", unknown),
        host_network: reported(document.host_network),
        ..Component::unread(document.name, 0)
    }
}

/// The whole runtime, then without what can be long and its version does not hang on.
pub(super) fn runtime_variants(fact: &Runtime) -> [RuntimeDocument; 3] {
    let mut holes = Holes::default();
    let programs = holes.list("programs", &fact.programs).map(|programs| programs.iter().map(program_document).collect());
    let whole = RuntimeDocument {
        name: fact.name.clone(),
        flavour: fact.flavour.clone(),
        version: holes.told("version", &fact.version),
        installed: holes.told("installed", &fact.installed),
        executable: holes.told("executable", &fact.executable),
        package: holes.told("package", &fact.package),
        programs,
        used_by_kubelet: fact.used_by_kubelet.value().copied(),
        handlers: fact.handlers.value().map(|handlers| {
            let shown = handlers.items.iter().map(|handler| HandlerDocument {
                name: handler.name.clone(),
                kind: handler.kind.clone(),
                default: handler.default,
                program: handler.program.clone(),
                version: handler.version.value().cloned(),
            });
            shown.collect()
        }),
        registries: fact.registries.value().map(|registries| registries.items.clone()),
        sockets: fact.sockets.value().map(|sockets| sockets.items.clone()),
        user_namespaces: fact.user_namespaces.value().cloned(),
        unknown: holes.unknown,
    };
    let without_registries = RuntimeDocument { registries: None, ..whole.clone() };
    let identity = RuntimeDocument { sockets: None, handlers: None, ..without_registries.clone() };
    [whole, without_registries, identity]
}

fn program_document(program: &RuntimeProgram) -> ProgramDocument {
    let mut holes = Holes::default();
    ProgramDocument {
        path: program.path.clone(),
        version: holes.told("version", &program.version),
        package: holes.told("package", &program.package),
        unknown: holes.unknown,
    }
}

/// What a document has of the runtime called `subject`.
pub(super) fn runtime(subject: &str, document: RuntimeDocument) -> Runtime {
    let unknown = &document.unknown;
    let program = |program: ProgramDocument| RuntimeProgram {
        path: program.path,
        version: fact(program.version, "version", &program.unknown),
        package: fact(program.package, "package", &program.unknown),
    };
    let handler = |handler: HandlerDocument| Handler {
        name: handler.name,
        default: handler.default,
        kind: handler.kind,
        program: handler.program,
        version: reported(handler.version),
        systemd_cgroup: reported(None),
        privileged_without_host_devices: reported(None),
        source: String::new(),
    };
    Runtime {
        flavour: document.flavour,
        version: fact(document.version, "version", unknown),
        installed: fact(document.installed, "installed", unknown),
        executable: fact(document.executable, "executable", unknown),
        package: fact(document.package, "package", unknown),
        programs: fact(document.programs, "programs", unknown)
            .map(|programs| Listing::complete(programs.into_iter().map(program).collect())),
        handlers: reported(document.handlers).map(|handlers| Listing::complete(handlers.into_iter().map(handler).collect())),
        registries: reported(document.registries).map(Listing::complete),
        sockets: reported(document.sockets).map(Listing::complete),
        used_by_kubelet: reported(document.used_by_kubelet),
        user_namespaces: document.user_namespaces.map_or_else(|| reported(None), known),
        ..Runtime::unread(subject, document.name, 0)
    }
}
