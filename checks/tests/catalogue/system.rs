//! Fixtures of `system.yaml`.

use holdfast_checks::entries::Verdict;
use holdfast_checks::facts::*;
use serde_json::json;

use crate::base::*;
use crate::case::{Case, judged};

fn hidden() -> Vec<Skipped> {
    vec![Skipped { what: "processes hidden from the agent".into(), reason: Reason::PermissionDenied }]
}

fn shipper_of(facts: &mut NodeFacts) -> &mut LogShipper {
    items(&mut system_of(facts).shippers).first_mut().expect("the base has one")
}

fn journald(facts: &mut NodeFacts, name: &str, value: serde_json::Value) {
    let source = Source::new(SourceKind::DropIn, "/etc/systemd/journald.conf.d/50.conf");
    let setting = Setting { value, source, declared: vec![] };
    let settings = system_of(facts).journald.value_mut().expect("the base knows it");
    settings.insert(name.into(), known(setting));
}

fn no_shipper(facts: &mut NodeFacts) {
    system_of(facts).shippers = complete(vec![]);
}

/// A list of programs of which there should be one.
fn one_of(check: &'static str, list: fn(&mut System) -> &mut Observed<Listing<ServiceSeen>>) -> Case {
    Case::of(check)
        .fails(move |facts| *list(system_of(facts)) = complete(vec![]))
        .unreadable("permission_denied", move |facts| *list(system_of(facts)) = denied())
        .unreadable("permission_denied", |facts| facts.system = denied())
}

/// The node's clock is ahead by so many seconds.
fn ahead(facts: &mut NodeFacts, ahead_seconds: i64) {
    facts.node.clock = Some(known(Clock { ahead_seconds }));
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::of("disk-usage")
            .fails(|facts| items(&mut system_of(facts).disks)[0].used_percent = 90)
            .fails(|facts| items(&mut system_of(facts).disks)[1].inodes_percent = 100)
            .not_applicable(|facts| system_of(facts).disks = complete(vec![]))
            .unreadable("permission_denied", |facts| system_of(facts).disks = denied())
            .unreadable("permission_denied", |facts| facts.system = denied()),
        Case::of("tmp-mount-options")
            .fails(|facts| items(&mut system_of(facts).mounts)[0].options.retain(|option| option != "nodev"))
            .fails(|facts| items(&mut system_of(facts).mounts)[1].options = vec!["nodev".into(), "rw".into()])
            .not_applicable(|facts| remove(&mut system_of(facts).mounts, |mount| mount.path != "/proc"))
            .unreadable("permission_denied", |facts| system_of(facts).mounts = denied()),
        Case::of("proc-hides-processes")
            .passes(|facts| items(&mut system_of(facts).mounts)[2].options = vec!["hidepid=2".into()])
            .fails(|facts| items(&mut system_of(facts).mounts)[2].options = vec!["hidepid=0".into(), "rw".into()])
            .not_applicable(|facts| remove(&mut system_of(facts).mounts, |mount| mount.path == "/proc"))
            .unreadable("permission_denied", |facts| system_of(facts).mounts = denied()),
        Case::of("core-pattern")
            .passes(|facts| system_of(facts).core_pattern = known("core".into()))
            .passes(|facts| system_of(facts).core_pattern = known("|/bin/false".into()))
            .fails(|facts| system_of(facts).core_pattern = known("|/proc/%P/root/tmp/x".into()))
            .fails(|facts| system_of(facts).core_pattern = known("|/usr/lib/systemd/systemd-coredump-x %P".into()))
            .unreadable("permission_denied", |facts| system_of(facts).core_pattern = denied()),
        Case::of("journal-persistent")
            .passes(|facts| system_of(facts).journal_persistent = known(false))
            .passes(|facts| journald(facts, "Storage", json!("volatile")))
            .fails(|facts| {
                no_shipper(facts);
                system_of(facts).journal_persistent = known(false);
            })
            .fails(|facts| {
                no_shipper(facts);
                journald(facts, "Storage", json!("volatile"));
            })
            .unreadable("permission_denied", |facts| {
                no_shipper(facts);
                system_of(facts).journal_persistent = denied();
            })
            .unreadable("permission_denied", |facts| facts.system = denied()),
        Case::of("journal-limits")
            .passes(|facts| journald(facts, "SystemMaxUse", json!(1 << 30)))
            .fails(|facts| journald(facts, "RateLimitIntervalSec", json!(0)))
            .fails(|facts| journald(facts, "RateLimitBurst", json!(0)))
            .fails(|facts| journald(facts, "SystemMaxUse", json!(1 << 20)))
            .not_applicable(|facts| journald(facts, "Storage", json!("none")))
            .unreadable("permission_denied", |facts| system_of(facts).journald = denied())
            .unreadable("permission_denied", |facts| {
                let settings = system_of(facts).journald.value_mut().expect("known");
                settings.insert("RateLimitBurst".into(), denied());
            }),
        Case::of("log-shipper")
            .fails(no_shipper)
            .not_applicable(no_kubelet)
            .unreadable("permission_denied", |facts| system_of(facts).shippers = denied())
            .unreadable("permission_denied", |facts| facts.kubelets = denied()),
        Case::of("log-shipper-encryption")
            .fails(|facts| shipper_of(facts).encrypted = "no".into())
            .not_applicable(no_shipper)
            .unreadable("undecided", |facts| shipper_of(facts).encrypted = "unknown".into())
            .unreadable("permission_denied", |facts| system_of(facts).shippers = denied())
            .unreadable("incomplete", |facts| {
                system_of(facts).shippers = known(Listing { items: vec![], skipped: hidden() });
            }),
        Case::of("log-shipper-buffer")
            .fails(|facts| shipper_of(facts).buffered = "no".into())
            .not_applicable(no_shipper)
            .unreadable("undecided", |facts| shipper_of(facts).buffered = "unknown".into())
            .unreadable("permission_denied", |facts| system_of(facts).shippers = denied()),
        Case::of("clock-synchronised")
            .fails(|facts| system_of(facts).clock_synchronised = known(false))
            .fails(|facts| {
                system_of(facts).time_services = complete(vec![]);
                system_of(facts).clock_synchronised = denied();
            })
            .unreadable("permission_denied", |facts| system_of(facts).clock_synchronised = denied())
            .unreadable("permission_denied", |facts| system_of(facts).time_services = denied()),
        Case::of("node-clock-skew")
            .passes(|facts| ahead(facts, 300))
            .passes(|facts| ahead(facts, -300))
            .fails(|facts| ahead(facts, 301))
            .fails(|facts| ahead(facts, -86_400))
            .not_applicable(|facts| facts.node.clock = None)
            .unreadable("permission_denied", |facts| facts.node.clock = Some(denied())),
        one_of("automatic-updates", |system| &mut system.updates),
        one_of("intrusion-detection", |system| &mut system.protection),
        Case::of("known-binaries")
            .fails(|facts| items(&mut system_of(facts).binaries)[0].listed = known(false))
            .not_applicable(|facts| system_of(facts).binaries = complete(vec![]))
            .unreadable("not_present", |facts| {
                system_of(facts).binaries = Observed::unavailable_because(Reason::NotPresent, "no list was given: --known-binaries");
            })
            .unreadable("incomplete", |facts| {
                let skipped = Skipped { what: "/usr/bin/containerd".into(), reason: Reason::TimedOut };
                system_of(facts).binaries.value_mut().expect("known").skipped.push(skipped);
            }),
    ]
}

#[test]
fn without_a_list_of_known_binaries_there_is_one_finding_and_it_says_how_to_give_one() {
    let findings = judged("known-binaries", &|facts| {
        system_of(facts).binaries = Observed::unavailable_because(Reason::NotPresent, "no list was given: --known-binaries");
    });
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].verdict, Verdict::Unknown);
    assert_eq!(findings[0].reason, "not_present: no list was given: --known-binaries");
}

#[test]
fn a_core_pattern_that_leads_into_a_container_is_never_taken_for_a_known_program() {
    for pattern in ["|/usr/share/apport/apport-x %p", "| /bin/false", "|/bin/false %p", "|/var/lib/docker/overlay2/x/diff/payload", "|"] {
        let findings = judged("core-pattern", &|facts| system_of(facts).core_pattern = known(pattern.to_owned()));
        assert_eq!(findings[0].verdict, Verdict::Fail, "{pattern}");
    }
}
