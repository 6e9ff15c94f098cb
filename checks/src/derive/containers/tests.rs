//! Containers by their processes, hostile and half-read ones too.
#![allow(clippy::indexing_slicing, reason = "a test may fail")]

use rstest::rstest;

use super::add_running;
use crate::facts::*;

const NOW: i64 = 1_790_000_000_000;

fn known<T>(value: T) -> Observed<T> {
    Observed::known(value, Source::new(SourceKind::Kernel, "test"), NOW)
}

fn denied<T>() -> Observed<T> {
    Observed::unavailable_because(Reason::PermissionDenied, "readlink")
}

/// A process of container `c1` that is nobody and started with the host; `pid` is its id inside too.
fn process(pid: i64, parent: i64) -> Process {
    Process {
        pid: 1000 + pid,
        parent: if parent == 0 { 7 } else { 1000 + parent },
        inside_pid: pid,
        exe: known(format!("/usr/bin/p{pid}")),
        exe_place: known(ExePlace::Ordinary),
        inside_uid: known(65_534),
        user_namespace: known(false),
        no_new_privileges: true,
        seccomp: 2,
        label: known("runtime/default".to_owned()),
        container_id: "c1".to_owned(),
        host_network: known(false),
        shares: known(Shares { pid: false, ipc: false, uts: false, mounts: false, cgroup: false }),
        ..Process::unread("pod:ns/p/c", 0)
    }
}

fn container(id: &str) -> Container {
    Container { handler: known("runc".to_owned()), ..Container::unread(format!("pod:ns/p/{id}"), id) }
}

fn derived(containers: Vec<Container>, processes: Listing<Process>) -> Listing<Container> {
    let mut containers = known(Listing::complete(containers));
    add_running(&mut containers, &known(processes));
    containers.value().unwrap().clone()
}

fn holes() -> Vec<Skipped> {
    vec![Skipped { what: "/proc/9/status".to_owned(), reason: Reason::TimedOut }]
}

/// What container `c1` is, made of these.
fn running(processes: Vec<Process>) -> Running {
    let listing = derived(vec![container("c1")], Listing::complete(processes));
    listing.items[0].running.value().unwrap().clone()
}

fn list(observed: &Observed<Vec<String>>) -> Vec<&str> {
    observed.value().unwrap().iter().map(String::as_str).collect()
}

fn reason<T>(observed: &Observed<T>) -> Option<Reason> {
    observed.unavailable().map(|why| why.reason)
}

#[test]
fn who_is_root_is_told_apart() {
    let root = Process { uid: 0, real_uid: 0, ..process(1, 0) };
    let setuid = Process { uid: 0, real_uid: 1000, ..process(2, 1) };
    let inside = Process { uid: 1_000_000, real_uid: 1_000_000, inside_uid: known(0), user_namespace: known(true), ..process(3, 1) };
    let setuid_inside = Process { real_uid: 1_001_000, ..Process { pid: 1004, exe: known("/bin/su".to_owned()), ..inside.clone() } };
    let told = running(vec![root, setuid, inside, setuid_inside, process(5, 1)]);
    assert_eq!(list(&told.host_root), ["p1", "p2"]);
    assert_eq!(list(&told.became_root), ["p2"], "what becomes root in a user namespace is not the host's root");
    assert_eq!(list(&told.inside_root), ["p3", "su"]);
    assert_eq!(told.uids.value(), Some(&vec![0, 65_534, 1_000_000]));
    assert_eq!((told.processes, told.user_namespace.value()), (5, Some(&false)));
}

#[test]
fn a_container_of_a_user_namespace_is_no_host_root() {
    let own = |pid, uid, inside| Process { uid, inside_uid: known(inside), user_namespace: known(true), ..process(pid, pid - 1) };
    let told = running(vec![own(1, 1_000_000, 0), own(2, 1_000_033, 33)]);
    assert_eq!((list(&told.host_root).len(), list(&told.inside_root), told.user_namespace.value()), (0, vec!["p1"], Some(&true)));
}

#[test]
fn privileges_are_those_of_any_of_them() {
    let shares = Shares { pid: true, ipc: false, uts: false, mounts: false, cgroup: false };
    let one = Process { cap_effective: 1 << 21, cap_bounding: 3 << 21, groups: vec![0, 10], ..process(1, 0) };
    let other = Process {
        cap_effective: 1,
        seccomp: 0,
        no_new_privileges: false,
        label: known("unconfined".to_owned()),
        shares: known(shares),
        host_network: known(true),
        exe_place: known(ExePlace::Memory),
        exe: known("/memfd:x (deleted)".to_owned()),
        ..process(2, 1)
    };
    let told = running(vec![one, other]);
    assert_eq!(list(&told.capabilities), ["CHOWN", "SYS_ADMIN"]);
    assert_eq!(list(&told.capabilities_bounding), ["SYS_ADMIN", "SYS_BOOT"]);
    assert_eq!(told.gids.value(), Some(&vec![0, 10, 65_534]));
    assert_eq!((list(&told.unfiltered), list(&told.may_gain), list(&told.memory)), (vec!["memfd:x"], vec!["memfd:x"], vec!["memfd:x"]));
    assert_eq!(list(&told.labels), ["runtime/default", "unconfined"]);
    let any = [&told.host_pid, &told.host_ipc, &told.host_mounts, &told.host_network].map(|any| *any.value().unwrap());
    assert_eq!(any, [true, false, false, true]);
    assert!(list(&told.deleted).is_empty() && list(&told.world_writable).is_empty());
}

#[test]
fn what_could_not_be_read_is_not_nothing() {
    let blind = Process {
        exe_place: denied(),
        exe: denied(),
        name: "secret".to_owned(),
        user_namespace: denied(),
        shares: denied(),
        host_network: denied(),
        label: denied(),
        ..process(2, 1)
    };
    let told = running(vec![process(1, 0), blind.clone()]);
    let refused = Some(Reason::PermissionDenied);
    assert_eq!([&told.memory, &told.deleted, &told.labels, &told.inside_root].map(reason), [refused; 4]);
    assert_eq!([&told.host_pid, &told.host_network].map(reason), [refused; 2]);
    assert_eq!(told.user_namespace.value(), Some(&false), "one of them has none: the answer is there");
    assert!(list(&told.host_root).is_empty(), "a uid is always read");
    // One that is known says enough.
    let told = running(vec![blind, Process { exe_place: known(ExePlace::Memory), uid: 0, ..process(1, 0) }]);
    assert_eq!(list(&told.memory), ["p1"]);
    // Without a readable executable, its own name.
    let told = running(vec![Process { exe: denied(), name: "n\u{1b}[2J".to_owned(), uid: 0, ..process(1, 0) }]);
    assert_eq!(list(&told.host_root), ["n\u{1b}[2J"]);
}

#[test]
fn a_hole_in_the_listing_makes_nothing_sure_but_what_was_seen() {
    let processes = Listing { items: vec![Process { uid: 0, real_uid: 0, host_network: known(true), ..process(1, 0) }], skipped: holes() };
    let listing = derived(vec![container("c1"), container("c2")], processes);
    let told = listing.items[0].running.value().unwrap();
    assert_eq!(list(&told.host_root), ["p1"]);
    assert_eq!(told.host_network.value(), Some(&true));
    let late = Some(Reason::TimedOut);
    assert_eq!([&told.became_root, &told.unfiltered, &told.capabilities, &told.labels, &told.exec_sessions].map(reason), [late; 5]);
    assert_eq!((told.user_namespace.value(), reason(&told.host_pid), reason(&told.gids)), (Some(&false), late, late));
    assert_eq!(reason(&listing.items[1].running), late, "it may have processes");
}

#[test]
fn containers_that_ended_are_left_out_and_unlisted_ones_are_missed() {
    let other = Process { container_id: "c9".to_owned(), subject: "pod:ns/p/c9".to_owned(), ..process(1, 0) };
    let listing = derived(vec![container("c1"), container("c2")], Listing::complete(vec![process(1, 0), other.clone(), other]));
    assert_eq!(listing.items.iter().map(|container| container.id.as_str()).collect::<Vec<_>>(), ["c1"]);
    assert_eq!(listing.skipped, [Skipped { what: "pod:ns/p/c9".to_owned(), reason: Reason::NotPresent }]);
}

#[test]
fn derivation_is_idempotent() {
    let other = Process { container_id: "c9".to_owned(), ..process(1, 0) };
    let processes = known(Listing::complete(vec![process(1, 0), other]));
    let mut containers = known(Listing::complete(vec![container("c1")]));
    add_running(&mut containers, &processes);
    let once = containers.clone();
    add_running(&mut containers, &processes);
    assert_eq!(containers, once);
}

#[rstest]
#[case("kata-qemu", "it runs in a virtual machine, where its processes cannot be seen")]
#[case("io.containerd.kata.v2", "it runs in a virtual machine, where its processes cannot be seen")]
#[case("runsc", "it runs on a sandboxed kernel, where its processes cannot be seen")]
fn a_container_with_a_kernel_of_its_own_is_not_judged_by_the_hosts_processes(#[case] handler: &str, #[case] words: &str) {
    for processes in [vec![], vec![Process { uid: 0, ..process(1, 0) }]] {
        let own = Container { handler: known(handler.to_owned()), ..container("c1") };
        let listing = derived(vec![own], Listing::complete(processes));
        assert_eq!(listing.items[0].running, Observed::unavailable_because(Reason::NotSupported, words));
    }
}

#[test]
fn without_processes_nothing_is_known_of_a_container() {
    let mut containers = known(Listing::complete(vec![container("c1")]));
    add_running(&mut containers, &denied());
    assert_eq!(reason(&containers.value().unwrap().items[0].running), Some(Reason::PermissionDenied));
}

#[rstest]
// A shell for half an hour, its own children not counted.
#[case(&[(1, 0, 60), (40, 0, 30), (41, 40, 30)], Some(&["p40"][..]))]
// For five minutes.
#[case(&[(1, 0, 60), (40, 0, 5)], Some(&[][..]))]
// In the pod's process ids: the only one that came from outside is what the container runs.
#[case(&[(7, 0, 60), (8, 7, 60)], Some(&[][..]))]
// Two did: which is which cannot be told.
#[case(&[(7, 0, 60), (40, 0, 30)], None)]
// Started by an inner container's runtime: its 1 is not the container's.
#[case(&[(1, 0, 60), (40, 1, 60)], Some(&[][..]))]
fn a_session_is_what_came_from_outside_and_stayed(#[case] started: &[(i64, i64, i64)], #[case] expected: Option<&[&str]>) {
    let processes =
        started.iter().map(|(pid, parent, minutes)| Process { age_ms: Some(minutes * 60_000), ..process(*pid, *parent) }).collect();
    let told = running(processes);
    match expected {
        Some(programs) => assert_eq!(list(&told.exec_sessions), programs),
        None => assert_eq!(reason(&told.exec_sessions), Some(Reason::NotSupported)),
    }
}

#[test]
fn without_a_clock_a_session_has_no_age() {
    let processes = known(Listing::complete(vec![process(1, 0), process(40, 0)]));
    let mut containers = known(Listing::complete(vec![container("c1")]));
    add_running(&mut containers, &processes);
    assert_eq!(reason(&containers.value().unwrap().items[0].running.value().unwrap().exec_sessions), Some(Reason::NotSupported));
}

#[test]
fn lists_are_short_and_their_names_too() {
    let long = |pid: i64| Process { exe: known(format!("/bin/{pid:03}{}", "é".repeat(3000))), uid: 0, ..process(pid, 1) };
    let told = running((1..200).map(long).collect());
    assert_eq!(list(&told.host_root).len(), 16);
    assert!(list(&told.host_root).iter().all(|name| name.len() <= 64));
    let labelled = |pid: i64| Process { label: known(format!("profile-{pid}")), ..process(pid, 1) };
    assert_eq!(reason(&running((1..200).map(labelled).collect()).labels), Some(Reason::TooLarge), "the worst may be the last");
}

/// A browser's sandbox, a rootless builder.
#[test]
fn capabilities_over_a_user_namespace_of_its_own_are_none_over_the_container() {
    let all = (1 << 41) - 1;
    let sandbox = Process { cap_effective: all, cap_bounding: all, user_namespace: known(true), ..process(2, 1) };
    let told = running(vec![process(1, 0), sandbox.clone()]);
    assert!(list(&told.capabilities).is_empty() && list(&told.capabilities_bounding).is_empty());
    assert_eq!(list(&running(vec![Process { inside_pid: 1, ..sandbox.clone() }]).capabilities).len(), 41, "all there is");
    let unsure = Process { user_namespace: denied(), ..sandbox };
    assert_eq!(reason(&running(vec![process(1, 0), unsure.clone()]).capabilities), Some(Reason::PermissionDenied));
    let harmless = Process { cap_effective: 1, ..unsure };
    let told = running(vec![Process { cap_effective: 3, ..process(1, 0) }, harmless]);
    assert_eq!(list(&told.capabilities), ["CHOWN", "DAC_OVERRIDE"]);
}

#[test]
fn a_permitted_capability_that_is_not_in_effect_counts() {
    let told = running(vec![Process { cap_permitted: 1 << 21, ..process(1, 0) }]);
    assert_eq!(list(&told.capabilities), ["SYS_ADMIN"]);
}

#[test]
fn a_long_label_does_not_lose_its_mode() {
    let label = |bytes: usize| known(format!("{} (complain)", "x".repeat(bytes)));
    let told = running(vec![Process { label: label(100), ..process(1, 0) }]);
    assert!(list(&told.labels)[0].ends_with("(complain)"));
    let told = running(vec![Process { label: label(300), ..process(1, 0) }]);
    assert_eq!(reason(&told.labels), Some(Reason::TooLarge));
}

#[test]
fn a_program_of_a_directory_that_was_not_looked_at_is_still_a_file() {
    let told = running(vec![Process { exe_place: denied(), ..process(1, 0) }]);
    assert_eq!((list(&told.memory).len(), list(&told.deleted).len()), (0, 0));
    assert_eq!(reason(&told.world_writable), Some(Reason::PermissionDenied));
    let gone = |exe: &str| running(vec![Process { exe: known(exe.to_owned()), exe_place: denied(), ..process(1, 0) }]);
    assert_eq!(reason(&gone("/memfd:x (deleted)").memory), Some(Reason::PermissionDenied));
    assert_eq!(reason(&gone("/bin/x (deleted)").deleted), Some(Reason::PermissionDenied));
}

#[test]
fn what_moves_in_with_a_sandbox_is_judged_with_it() {
    let kind = |processes: Vec<Process>| {
        let sandbox = Container { kind: ContainerKind::Sandbox, ..container("c1") };
        derived(vec![sandbox], Listing::complete(processes)).items[0].kind
    };
    assert_eq!(kind(vec![process(1, 0)]), ContainerKind::Sandbox);
    assert_eq!(kind(vec![process(1, 0), process(7, 0)]), ContainerKind::Container);
}
