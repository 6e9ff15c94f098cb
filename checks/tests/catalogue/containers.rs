//! Fixtures of `containers.yaml`.

use std::time::Instant;

use holdfast_checks::derive::derive;
use holdfast_checks::entries::Verdict;
use holdfast_checks::evaluator::Selection;
use holdfast_checks::facts::*;

use crate::base::*;
use crate::case::{Case, evaluator, judged};

/// Every capability of a kernel from 5.9 on.
const ALL: i64 = 0x1ff_ffff_ffff;
/// What containerd and Docker give by default.
const DEFAULT: i64 = 0xa804_25fb;

/// A container as hardened as can be.
pub(crate) fn container(subject: &str, id: &str) -> Container {
    Container {
        runtime: "containerd".into(),
        placement: Placement::Pod,
        namespace: known("default".into()),
        pod: known("web".into()),
        pod_uid: "p1".into(),
        name: known("c".into()),
        image: known("registry.example/web:v1@sha256:0123".into()),
        image_digest: known("sha256:0123".into()),
        handler: known("runc".into()),
        configured: known(Configured {
            user: known(1000),
            group: known(1000),
            privileged: known(false),
            capabilities: known(vec![]),
            no_new_privileges: known(true),
            seccomp: known(true),
            apparmor: known("cri-containerd.apparmor.d".into()),
            selinux: known(String::new()),
            root_read_only: known(true),
            user_namespace: known(false),
            host_network: known(false),
            host_pid: known(false),
            host_ipc: known(false),
            mounts: complete(vec![]),
        }),
        mounts: complete(vec![]),
        root_read_only: known(true),
        ..Container::unread(subject, id)
    }
}

/// The first and only process of the container `id`.
pub(crate) fn process_of(subject: &str, id: &str) -> Process {
    Process {
        inside_pid: 1,
        exe_place: known(ExePlace::Ordinary),
        real_uid: 1000,
        label: known("cri-containerd.apparmor.d (enforce)".into()),
        container_id: id.into(),
        shares: known(Shares { pid: false, ipc: false, uts: false, mounts: false, cgroup: false }),
        ..process(subject, Placement::Pod, 1000)
    }
}

/// The base node's process in a container, to change.
fn inside(facts: &mut NodeFacts) -> &mut Process {
    items(&mut facts.processes).iter_mut().find(|process| process.container_id == "c1").expect("the base has one")
}

/// The base node's container, to change.
fn outside(facts: &mut NodeFacts) -> &mut Container {
    items(&mut facts.containers).first_mut().expect("the base has one")
}

fn configured(facts: &mut NodeFacts) -> &mut Configured {
    outside(facts).configured.value_mut().expect("the base knows it")
}

fn shares(facts: &mut NodeFacts) -> &mut Shares {
    inside(facts).shares.value_mut().expect("the base knows it")
}

/// Mounts a piece of the host.
fn mount(kind: MountKind, writable: bool) -> impl Fn(&mut NodeFacts) {
    move |facts| {
        let mount = Mount { source: "/host".into(), target: "/mnt".into(), kind, writable };
        items(&mut outside(facts).mounts).push(mount);
    }
}

/// A second process, from outside, half an hour ago.
fn session(facts: &mut NodeFacts) {
    let shell = Process { pid: 301, inside_pid: 40, age_ms: Some(1_800_000), ..process_of("pod:default/web/c", "c1") };
    items(&mut facts.processes).push(shell);
}

/// Read in no check of a container, and in every one.
fn of(check: &'static str) -> Case {
    Case::of(check)
        .not_applicable(|facts| {
            remove(&mut facts.containers, |_| true);
            remove(&mut facts.processes, |process| process.container_id == "c1");
        })
        .not_applicable(|facts| outside(facts).kind = ContainerKind::Sandbox)
        // Ended, by the time the processes were read.
        .not_applicable(|facts| remove(&mut facts.processes, |process| process.container_id == "c1"))
        .unreadable("permission_denied", |facts| facts.containers = denied())
        .unreadable("incomplete", |facts| {
            let skipped = Skipped { what: "c2".into(), reason: Reason::Malformed };
            facts.containers.value_mut().expect("known").skipped.push(skipped);
        })
        // A process of a container that no file tells of.
        .unreadable("incomplete", |facts| items(&mut facts.processes).push(process_of("pod:p9/main", "c9")))
}

/// Of those, one that is decided by processes.
fn running(check: &'static str) -> Case {
    of(check)
        .unreadable("permission_denied", |facts| facts.processes = denied())
        .unreadable("not_supported", |facts| outside(facts).handler = known("kata-qemu".into()))
        .unreadable("too_large", |facts| {
            let skipped = Skipped { what: "processes".into(), reason: Reason::TooLarge };
            facts.processes.value_mut().expect("known").skipped.push(skipped);
        })
}

/// That path of the host is mounted.
fn at(kind: MountKind, source: &'static str, writable: bool) -> impl Fn(&mut NodeFacts) {
    move |facts| {
        let found = Mount { source: source.into(), target: "/mnt".into(), kind, writable };
        items(&mut outside(facts).mounts).push(found);
    }
}

/// Of those, one that is decided by mounts.
fn mounted(check: &'static str, fails: &[(MountKind, bool)], passes: &[(MountKind, bool)]) -> Case {
    let mut case = of(check).unreadable("permission_denied", |facts| outside(facts).mounts = denied()).unreadable("incomplete", |facts| {
        let skipped = Skipped { what: "mountinfo".into(), reason: Reason::TooLarge };
        outside(facts).mounts.value_mut().expect("known").skipped.push(skipped);
    });
    for (kind, writable) in fails {
        case = case.fails(mount(*kind, *writable));
    }
    for (kind, writable) in passes {
        case = case.passes(mount(*kind, *writable));
    }
    case
}

const SYSTEM: [MountKind; 10] = [
    MountKind::Root,
    MountKind::Etc,
    MountKind::Kubernetes,
    MountKind::Kubelet,
    MountKind::RuntimeData,
    MountKind::Proc,
    MountKind::Sys,
    MountKind::Cgroup,
    MountKind::Dev,
    MountKind::Home,
];
const SECRET: [MountKind; 7] =
    [MountKind::Root, MountKind::Kubernetes, MountKind::Kubelet, MountKind::RuntimeData, MountKind::Proc, MountKind::Dev, MountKind::Home];
const READ_BY_MANY: [MountKind; 3] = [MountKind::Etc, MountKind::Sys, MountKind::Cgroup];

fn each(kinds: &[MountKind], writable: bool) -> Vec<(MountKind, bool)> {
    kinds.iter().map(|kind| (*kind, writable)).collect()
}

pub(crate) fn cases() -> Vec<Case> {
    [by_user(), by_privilege(), by_module(), by_namespace(), by_mount(), by_program(), by_image(), by_agent()]
        .into_iter()
        .flatten()
        .collect()
}

fn by_agent() -> Vec<Case> {
    vec![
        Case::of("agent-holds-runtime-socket")
            .fails(|facts| facts.node.cri_allowed = known(true))
            .unreadable("permission_denied", |facts| facts.node.cri_allowed = denied()),
    ]
}

fn by_user() -> Vec<Case> {
    let root = |facts: &mut NodeFacts| (inside(facts).uid, inside(facts).real_uid) = (0, 0);
    vec![
        running("container-root")
            // Root of a user namespace of its own, as hostUsers: false makes it.
            .passes(|facts| {
                let process = inside(facts);
                (process.uid, process.inside_uid, process.user_namespace) = (1_000_000, known(0), known(true));
            })
            .fails(root)
            // A container of Docker's is one too.
            .fails(move |facts| {
                (inside(facts).placement, outside(facts).placement) = (Placement::Machine, Placement::Machine);
                root(facts);
            }),
        running("container-became-root")
            .passes(root)
            .fails(|facts| inside(facts).uid = 0)
            // Only within its user namespace.
            .passes(|facts| {
                let process = inside(facts);
                (process.uid, process.real_uid, process.user_namespace) = (1_000_000, 1_001_000, known(true));
            }),
        running("container-root-contradiction")
            .fails(|facts| inside(facts).uid = 0)
            .not_applicable(move |facts| {
                configured(facts).user = known(0);
                root(facts);
            })
            .unreadable("permission_denied", |facts| configured(facts).user = denied())
            .unreadable("permission_denied", |facts| outside(facts).configured = denied()),
        running("container-root-group").fails(|facts| inside(facts).gid = 0).fails(|facts| inside(facts).groups = vec![10, 0]),
        of("container-read-only-root")
            .fails(|facts| outside(facts).root_read_only = known(false))
            .unreadable("permission_denied", |facts| outside(facts).root_read_only = denied()),
        of("container-read-only-contradiction")
            .fails(|facts| outside(facts).root_read_only = known(false))
            .not_applicable(|facts| {
                configured(facts).root_read_only = known(false);
                outside(facts).root_read_only = known(false);
            })
            .unreadable("permission_denied", |facts| outside(facts).root_read_only = denied())
            .unreadable("permission_denied", |facts| configured(facts).root_read_only = denied()),
    ]
}

fn by_privilege() -> Vec<Case> {
    vec![
        running("pod-privileged")
            .passes(|facts| inside(facts).cap_bounding = 1 << 40)
            .passes(|facts| inside(facts).cap_bounding = 1 << 21)
            .passes(|facts| {
                let process = inside(facts);
                (process.cap_bounding, process.user_namespace) = (ALL, known(true));
            })
            .fails(|facts| (inside(facts).cap_effective, inside(facts).cap_bounding) = (ALL, ALL))
            // Not root for now.
            .fails(|facts| inside(facts).cap_bounding = (1 << 38) - 1)
            // A privileged container of a recorded node that is itself a container without SYS_RESOURCE.
            .fails(|facts| inside(facts).cap_bounding = 0x1ff_feff_ffff)
            .unreadable("permission_denied", |facts| {
                let process = inside(facts);
                (process.cap_bounding, process.user_namespace) = (ALL, denied());
            }),
        running("pod-dangerous-capabilities")
            .passes(|facts| inside(facts).cap_effective = DEFAULT)
            .fails(|facts| inside(facts).cap_effective = DEFAULT | 1 << 21)
            .fails(|facts| inside(facts).cap_effective = 1 << 39)
            .unreadable("permission_denied", |facts| {
                let process = inside(facts);
                (process.cap_effective, process.user_namespace) = (1 << 21, denied());
            }),
        running("container-added-capabilities")
            .passes(|facts| inside(facts).cap_bounding = DEFAULT)
            .passes(|facts| {
                let process = inside(facts);
                (process.cap_bounding, process.user_namespace) = (ALL, known(true));
            })
            .fails(|facts| inside(facts).cap_bounding = DEFAULT | 1 << 12)
            // A capability of a newer kernel.
            .fails(|facts| inside(facts).cap_bounding = 1 << 41),
        running("container-capability-contradiction")
            .passes(|facts| {
                inside(facts).cap_effective = 1;
                configured(facts).capabilities = known(vec!["CHOWN".into()]);
            })
            .fails(|facts| inside(facts).cap_effective = 1)
            .fails(|facts| inside(facts).cap_effective = ALL)
            .not_applicable(|facts| configured(facts).privileged = known(true))
            .unreadable("permission_denied", |facts| configured(facts).privileged = denied())
            .unreadable("permission_denied", |facts| {
                inside(facts).cap_effective = 1;
                configured(facts).capabilities = denied();
            }),
        running("pod-no-new-privileges").fails(|facts| inside(facts).no_new_privileges = false),
        running("pod-seccomp").passes(|facts| inside(facts).seccomp = 1).fails(|facts| inside(facts).seccomp = 0),
        running("container-seccomp-contradiction")
            .fails(|facts| inside(facts).seccomp = 0)
            .not_applicable(|facts| {
                configured(facts).seccomp = known(false);
                inside(facts).seccomp = 0;
            })
            .unreadable("permission_denied", |facts| configured(facts).seccomp = denied()),
    ]
}

fn by_module() -> Vec<Case> {
    let labelled = |label: &'static str| move |facts: &mut NodeFacts| inside(facts).label = known(label.into());
    let selinux = |label: &'static str| {
        move |facts: &mut NodeFacts| {
            kernel_of(facts).selinux = known(Selinux { enabled: true, enforcing: true });
            inside(facts).label = known(label.into());
        }
    };
    vec![
        running("container-apparmor")
            .passes(labelled("my-profile (enforce)"))
            .fails(labelled("unconfined"))
            .passes(labelled("my-profile (kill)"))
            .fails(labelled("my-profile (complain)"))
            // Ubuntu's profiles of programs that may make user namespaces.
            .fails(labelled("crun (unconfined)"))
            .fails(labelled("my-profile"))
            .not_applicable(|facts| {
                kernel_of(facts).apparmor = known(false);
                inside(facts).label = denied();
            })
            .unreadable("permission_denied", |facts| inside(facts).label = denied())
            .unreadable("permission_denied", |facts| facts.kernel = denied()),
        // The base has AppArmor.
        Case::only("container-selinux")
            .passes(selinux("system_u:system_r:container_t:s0:c1,c2"))
            .passes(selinux("system_u:system_r:container_init_t:s0:c1,c2"))
            .passes(selinux("system_u:system_r:my_web.process:s0:c1,c2"))
            .passes(selinux("system_u:system_r:svirt_lxc_net_t:s0:c1,c2"))
            .fails(selinux("system_u:system_r:spc_t:s0"))
            .fails(move |facts| {
                selinux("system_u:system_r:container_t:s0:c1,c2")(facts);
                kernel_of(facts).selinux = known(Selinux { enabled: true, enforcing: false });
            })
            .fails(selinux("system_u:system_r:container_runtime_t:s0"))
            .fails(selinux("system_u:system_r:unconfined_service_t:s0"))
            .not_applicable(|_| {})
            .unreadable("permission_denied", |facts| facts.containers = denied())
            .unreadable("permission_denied", |facts| facts.kernel = denied())
            .unreadable("permission_denied", move |facts| {
                selinux("")(facts);
                inside(facts).label = denied();
            }),
    ]
}

fn by_namespace() -> Vec<Case> {
    vec![
        running("pod-host-network")
            .fails(|facts| inside(facts).host_network = known(true))
            .unreadable("permission_denied", |facts| inside(facts).host_network = denied()),
        running("container-host-pid")
            .fails(|facts| shares(facts).pid = true)
            .unreadable("permission_denied", |facts| inside(facts).shares = denied()),
        running("container-host-ipc")
            .fails(|facts| shares(facts).ipc = true)
            .unreadable("permission_denied", |facts| inside(facts).shares = denied()),
    ]
}

fn by_mount() -> Vec<Case> {
    vec![
        mounted(
            "container-runtime-socket",
            &[(MountKind::RuntimeSocket, true), (MountKind::RuntimeSocket, false)],
            &[(MountKind::Root, true)],
        ),
        mounted("container-host-system", &each(&SYSTEM, true), &each(&SYSTEM, false))
            .passes(mount(MountKind::Other, true))
            .passes(at(MountKind::Other, "/opt/local-path-provisioner/x", true))
            .passes(at(MountKind::Other, "/usr/share/ca-certificates", false))
            .fails(at(MountKind::Other, "/usr", true))
            .fails(at(MountKind::Other, "/opt/cni/bin", true))
            .fails(at(MountKind::Other, "/lib/modules", true))
            .fails(at(MountKind::Other, "/var/spool/cron", true))
            .fails(|facts| shares(facts).mounts = true)
            .unreadable("permission_denied", |facts| inside(facts).shares = denied()),
        mounted("container-host-system-read", &each(&SECRET, false), &each(&SECRET, true))
            .passes(at(MountKind::Etc, "/etc/ssl/certs", false))
            .fails(at(MountKind::Etc, "/etc", false))
            .fails(at(MountKind::Etc, "/etc/ssh/ssh_host_rsa_key", false)),
        mounted(
            "container-host-path",
            &[&each(&READ_BY_MANY, false)[..], &[(MountKind::Other, true), (MountKind::Other, false), (MountKind::Logs, false)]].concat(),
            &[(MountKind::Root, true), (MountKind::Token, false)],
        ),
        mounted("container-service-token", &[(MountKind::Token, false)], &[(MountKind::Other, false)]),
    ]
}

fn by_program() -> Vec<Case> {
    let runs = |place: ExePlace| move |facts: &mut NodeFacts| inside(facts).exe_place = known(place);
    let placed = |check: &'static str, place: ExePlace| {
        running(check).fails(runs(place)).unreadable("permission_denied", |facts| {
            (inside(facts).exe, inside(facts).exe_place) = (denied(), denied());
        })
    };
    vec![
        placed("container-memory-program", ExePlace::Memory).passes(runs(ExePlace::Deleted)),
        placed("container-world-writable-program", ExePlace::WorldWritable),
        placed("container-deleted-program", ExePlace::Deleted),
        running("container-exec-session").fails(session).unreadable("not_supported", |facts| {
            session(facts);
            for process in items(&mut facts.processes) {
                process.age_ms = None;
            }
        }),
    ]
}

fn by_image() -> Vec<Case> {
    let image = |name: &'static str| move |facts: &mut NodeFacts| outside(facts).image = known(name.into());
    vec![
        of("container-image-digest")
            .fails(image("registry.example/web:v1"))
            .fails(image("registry.example/sha256:v1"))
            .unreadable("permission_denied", |facts| outside(facts).image = denied()),
        of("container-image-registry")
            .passes(image("registry.k8s.io/pause:3.10"))
            .passes(image("example.com/k8s.gcr.io/pause:3.5"))
            .fails(image("k8s.gcr.io/pause:3.5"))
            .fails(image("gcr.io/google_containers/pause:3.0"))
            .unreadable("permission_denied", |facts| outside(facts).image = denied()),
    ]
}

/// A replica that ended and one that runs have one name: the one that fails is told.
#[test]
fn two_containers_of_one_name_are_one_finding() {
    let findings = judged("container-root", &|facts| {
        items(&mut facts.containers).push(container("pod:default/web/c", "c2"));
        items(&mut facts.processes).push(Process { uid: 0, ..process_of("pod:default/web/c", "c2") });
    });
    assert_eq!(
        findings.iter().map(|finding| (finding.subject.as_str(), finding.verdict)).collect::<Vec<_>>(),
        [("pod:default/web/c", Verdict::Fail)]
    );
}

#[test]
fn evidence_names_the_programs() {
    let findings = judged("container-root", &|facts| {
        let process = inside(facts);
        (process.uid, process.exe) = (0, known("/bin/<script>\u{1b}[2J".into()));
    });
    assert_eq!(findings[0].deciding(), "host_root = [\"<script>\\u001b[2J\"] (derived its processes)");
}

#[test]
fn what_is_expected_names_checks_that_there_are_of_containers() {
    let waivers = holdfast_checks::waivers::built_in().expect("they load");
    for waiver in &waivers {
        for check in &waiver.checks {
            let area = evaluator().catalogue().get(check).map(|check| check.area.as_str());
            assert_eq!(area, Some("containers"), "{} expects {check}", waiver.id);
        }
        for subject in &waiver.subjects {
            let parts: Vec<&str> = subject.split('/').collect();
            assert!(parts.len() == 3 && parts[0].starts_with("pod:") && !parts[0].contains('*'), "{}: {subject}", waiver.id);
        }
    }
    let covered =
        |check: &str, subject: &str| holdfast_checks::waivers::expected(&waivers, check, subject).map(|waiver| waiver.id.as_str());
    assert_eq!(covered("pod-privileged", "pod:kube-system/kube-proxy-x7k2p/kube-proxy"), Some("kube-proxy"));
    assert_eq!(covered("container-runtime-socket", "pod:kube-system/kube-proxy-x7k2p/kube-proxy"), None);
    assert_eq!(covered("container-host-pid", "pod:holdfast-system/holdfast-agent-x7k2p/agent"), Some("holdfast-agent"));
    assert_eq!(covered("container-memory-program", "pod:holdfast-system/holdfast-agent-x7k2p/agent"), None);
    assert_eq!(covered("pod-privileged", "pod:default/kube-proxy-x7k2p/kube-proxy"), None);
}

/// Prints what judging containers costs: `cargo test --release -p holdfast-checks --test catalogue cost -- --ignored --nocapture`.
#[test]
#[ignore = "prints a measurement"]
fn cost_of_a_hundred_and_ten_containers() {
    let mut facts = node();
    let subjects: Vec<(String, String)> = (0..110).map(|pod| (format!("pod:default/web-{pod}/c"), format!("id-{pod}"))).collect();
    items(&mut facts.containers).extend(subjects.iter().map(|(subject, id)| container(subject, id)));
    for (index, (subject, id)) in (0..500).zip(subjects.iter().cycle()) {
        let caps = if index % 10 == 0 { ALL } else { DEFAULT };
        let process = Process { uid: index % 3, pid: 1000 + index, cap_effective: caps, cap_bounding: caps, ..process_of(subject, id) };
        items(&mut facts.processes).push(process);
    }
    let selection = Selection { groups: Some([Group::Containers].into()), ..Selection::default() };
    let mut took: Vec<_> = (0..100)
        .map(|_| {
            let mut facts = facts.clone();
            let started = Instant::now();
            derive(&mut facts);
            let derived = started.elapsed();
            let findings = evaluator().evaluate(&facts, &selection).expect("facts can be judged");
            assert!(findings.len() > 110 * 20, "{}", findings.len());
            (started.elapsed(), derived, findings.len())
        })
        .collect();
    took.sort();
    let (total, derived, findings) = took[50];
    println!("110 containers, 500 processes: {total:?} of which derivation {derived:?}, {findings} findings; p99 {:?}", took[98].0);
}
