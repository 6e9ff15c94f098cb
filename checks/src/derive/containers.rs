//! What a container is by its processes: `Container.running`.
//!
//! What somebody runs as root, unfiltered or from memory is told by programs, so that a restart changes nothing. Nothing is said
//! of what could not be read: a list that has nothing in it, while a process that may belong there was not read, is not empty.
//! Must not know how a process is attributed to a container, nor what is good or bad.

mod capabilities;
mod members;
mod sessions;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use self::members::Members;
use crate::facts::{Container, ContainerKind, ExePlace, Listing, Observed, Process, Reason, Running, Shares, Skipped, Unavailable};

/// Words in the name of a handler whose containers have a kernel of their own, and what that is. Their processes are not the
/// host's; what the host sees in their place is the machine or the sandbox.
const OWN_KERNEL: [(&str, &str); 4] = [
    ("kata", "runs in a virtual machine"),
    ("firecracker", "runs in a virtual machine"),
    ("runsc", "runs on a sandboxed kernel"),
    ("gvisor", "runs on a sandboxed kernel"),
];

/// Fills `running` of every container. Containers that have ended are left out: those without a process, where every process was
/// read. A container that has processes and is not in the listing makes the listing incomplete.
pub(super) fn add_running(containers: &mut Observed<Listing<Container>>, processes: &Observed<Listing<Process>>) {
    let Observed::Known { value: containers, .. } = containers else { return };
    let (processes, at) = match processes {
        Observed::Known { value, at, .. } => (value, *at),
        Observed::Unavailable(why) => {
            for container in &mut containers.items {
                container.running = Observed::Unavailable(why.clone());
            }
            return;
        }
    };
    let mut of: BTreeMap<&str, Vec<&Process>> = BTreeMap::new();
    for process in processes.items.iter().filter(|process| !process.container_id.is_empty()) {
        of.entry(&process.container_id).or_default().push(process);
    }
    let hole = processes.skipped.first().map(|first| Unavailable::new(first.reason, "not every process of the node could be read"));
    containers.items.retain_mut(|container| {
        let own: &[&Process] = of.get(container.id.as_str()).map_or(&[], Vec::as_slice);
        container.running = match (own_kernel(container), own, &hole) {
            (Some(what), _, _) => {
                Observed::unavailable_because(Reason::NotSupported, format!("it {what}, where its processes cannot be seen"))
            }
            (None, [], Some(hole)) => Observed::Unavailable(hole.clone()),
            (None, [], None) => return false,
            (None, own, hole) => {
                // A sandbox holds one process. What moved in with it, by a writable cgroup tree, did so not to be judged.
                if own.len() > 1 {
                    container.kind = ContainerKind::Container;
                }
                let members = Members::new(own, hole.as_ref(), at);
                let running = running(&members, sessions::of(&members));
                members.derived(running)
            }
        };
        true
    });
    let listed: BTreeSet<&str> = containers.items.iter().map(|container| container.id.as_str()).collect();
    let unlisted = of.iter().filter(|(id, _)| !listed.contains(*id));
    for what in unlisted.filter_map(|(_, own)| own.first()).map(|process| process.subject.clone()) {
        if !containers.skipped.iter().any(|skipped| skipped.what == what) {
            containers.skipped.push(Skipped { what, reason: Reason::NotPresent });
        }
    }
}

/// What is told of a container that has a kernel of its own.
fn own_kernel(container: &Container) -> Option<&'static str> {
    let handler = container.handler.value()?.to_ascii_lowercase();
    OWN_KERNEL.into_iter().find(|(word, _)| handler.contains(word)).map(|(_, what)| what)
}

fn running(members: &Members<'_>, exec_sessions: Observed<Vec<String>>) -> Running {
    let shares = |of: fn(&Shares) -> bool| members.any(|process| known(&process.shares).map(of));
    let place = |place: ExePlace| members.programs(|process| in_place(process, place));
    Running {
        processes: i64::try_from(members.processes().len()).unwrap_or(i64::MAX),
        uids: members.numbers(|process| vec![process.uid]),
        gids: members.numbers(|process| process.groups.iter().copied().chain([process.gid]).collect()),
        host_root: members.programs(|process| Ok(process.uid == 0)),
        inside_root: members
            .programs(|process| Ok(process.uid != 0 && *known(&process.user_namespace)? && *known(&process.inside_uid)? == 0)),
        became_root: members.programs(|process| Ok(process.uid == 0 && process.real_uid != 0)),
        user_namespace: members.all(|process| known(&process.user_namespace).copied()),
        // What is permitted a process makes effective when it likes.
        capabilities: members.mask(|process| process.cap_effective | process.cap_permitted).map(capabilities::names),
        capabilities_bounding: members.mask(|process| process.cap_bounding).map(capabilities::names),
        unfiltered: members.programs(|process| Ok(process.seccomp == 0)),
        may_gain: members.programs(|process| Ok(!process.no_new_privileges)),
        labels: members.texts(|process| known(&process.label)),
        host_network: members.any(|process| known(&process.host_network).copied()),
        host_pid: shares(|shares| shares.pid),
        host_ipc: shares(|shares| shares.ipc),
        host_mounts: shares(|shares| shares.mounts),
        deleted: place(ExePlace::Deleted),
        memory: place(ExePlace::Memory),
        world_writable: place(ExePlace::WorldWritable),
        exec_sessions,
    }
}

/// Does a process run what is in `place`. That it is neither in memory nor removed the kernel says with the name alone, also where
/// the directory could not be looked at.
fn in_place(process: &Process, place: ExePlace) -> Result<bool, &Unavailable> {
    let of_a_file = || process.exe.value().is_some_and(|exe| !exe.starts_with("/memfd:") && !exe.ends_with(" (deleted)"));
    match known(&process.exe_place) {
        Ok(found) => Ok(*found == place),
        Err(_) if matches!(place, ExePlace::Memory | ExePlace::Deleted) && of_a_file() => Ok(false),
        Err(why) => Err(why),
    }
}

/// The value, or why there is none.
fn known<T>(observed: &Observed<T>) -> Result<&T, &Unavailable> {
    match observed {
        Observed::Known { value, .. } => Ok(value),
        Observed::Unavailable(why) => Err(why),
    }
}
