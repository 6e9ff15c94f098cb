//! Containers and the host as a server, as inventory documents. Knows facts and documents, not the budget.

use super::collect::{items, said};
use super::document::{ContainerDocument, SystemDocument};
use crate::facts::{Container, ContainerKind, Listing, Observed, Running, ServiceSeen, System};

/// Capabilities that a kernel of today has: a process with as many has all.
const ALL_CAPABILITIES: usize = 41;

/// Every container, those that matter most first: they are kept when not all fit.
pub(super) fn containers(containers: &Observed<Listing<Container>>) -> Vec<(&str, [ContainerDocument; 2])> {
    let mut documents: Vec<(&str, ContainerDocument)> = items(containers).map(|fact| (fact.subject.as_str(), container(fact))).collect();
    documents.sort_by_cached_key(|(subject, document)| {
        let root = document.host_root.as_ref().is_none_or(|programs| !programs.is_empty());
        (document.kind == ContainerKind::Sandbox, !root, (*subject).to_owned())
    });
    documents
        .into_iter()
        .map(|(subject, whole)| {
            let without_mounts = ContainerDocument { mounts: None, digest: None, uids: None, ..whole.clone() };
            (subject, [whole, without_mounts])
        })
        .collect()
}

fn container(fact: &Container) -> ContainerDocument {
    let running = fact.running.value();
    let told = |of: fn(&Running) -> &Observed<Vec<String>>| running.and_then(|running| of(running).value().cloned());
    let configured = fact.configured.value();
    let shares = [
        ("network", running.map(|running| &running.host_network)),
        ("pid", running.map(|running| &running.host_pid)),
        ("ipc", running.map(|running| &running.host_ipc)),
        ("mounts", running.map(|running| &running.host_mounts)),
    ];
    let named = |wanted: Option<bool>| {
        let of = shares.iter().filter(|(_, shared)| shared.and_then(|shared| shared.value()).copied() == wanted);
        of.map(|(name, _)| (*name).to_owned()).collect()
    };
    let unknown = fact.running.unavailable().or_else(|| running.and_then(|running| running.host_root.unavailable()));
    ContainerDocument {
        kind: fact.kind,
        placement: fact.placement,
        runtime: fact.runtime.clone(),
        namespace: fact.namespace.value().cloned(),
        pod: fact.pod.value().cloned(),
        name: fact.name.value().cloned(),
        image: fact.image.value().cloned(),
        digest: fact.image_digest.value().cloned(),
        handler: fact.handler.value().cloned(),
        host_root: told(|running| &running.host_root),
        inside_root: told(|running| &running.inside_root),
        unknown: unknown.map(said),
        uids: running.and_then(|running| running.uids.value().cloned()),
        privileged: configured.and_then(|configured| configured.privileged.value().copied()),
        user_namespace: running.and_then(|running| running.user_namespace.value()) == Some(&true),
        capabilities: told(|running| &running.capabilities)
            .map(|names| if names.len() >= ALL_CAPABILITIES { vec!["ALL".to_owned()] } else { names }),
        seccomp: told(|running| &running.unfiltered).map(|programs| programs.is_empty()),
        no_new_privileges: told(|running| &running.may_gain).map(|programs| programs.is_empty()),
        shares: named(Some(true)),
        shares_unknown: named(None),
        read_only: fact.root_read_only.value().copied(),
        mounts: fact.mounts.value().map(|mounts| mounts.items.clone()),
        configured_user: configured.and_then(|configured| configured.user.value().copied()),
    }
}

/// The whole host, then without its lists.
pub(super) fn system(fact: &System) -> [SystemDocument; 2] {
    let names = |services: &Observed<Listing<ServiceSeen>>| {
        told(services).map(|services| services.iter().map(|service| service.name.clone()).collect::<Vec<_>>())
    };
    let whole = SystemDocument {
        disks: told(&fact.disks).map(<[_]>::to_vec),
        shippers: told(&fact.shippers).map(<[_]>::to_vec),
        journal_persistent: fact.journal_persistent.value().copied(),
        time_services: names(&fact.time_services),
        updates: names(&fact.updates),
        protection: names(&fact.protection),
    };
    let short = SystemDocument { disks: None, shippers: None, ..whole.clone() };
    [whole, short]
}

/// What a list has; `None` where it has nothing and could not be read whole: that is no "none".
fn told<T>(list: &Observed<Listing<T>>) -> Option<&[T]> {
    list.value().filter(|list| !list.items.is_empty() || list.skipped.is_empty()).map(|list| list.items.as_slice())
}
