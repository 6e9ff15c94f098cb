#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

use super::*;
use crate::facts::Unavailable;

fn known<T>(value: T) -> Observed<T> {
    Observed::known(value, Source::new(SourceKind::Kernel, "test"), 1)
}

fn absent<T>() -> Observed<T> {
    Observed::unavailable_because(Reason::NotPresent, "/proc/sys")
}

fn denied<T>() -> Observed<T> {
    Observed::unavailable_because(Reason::PermissionDenied, "open")
}

#[rstest::rstest]
#[case::debian("6.12.48+deb13-amd64", "6.12.50+deb13-amd64", true)]
#[case::debian_of_before("6.1.0-40-amd64", "6.1.0-9-amd64", false)]
#[case::debian_next_series("6.1.0-40-amd64", "6.12.50+deb12-amd64", true)]
#[case::another_flavour("6.12.48+deb13-amd64", "6.12.50+deb13-cloud-amd64", false)]
#[case::ubuntu("6.8.0-51-generic", "6.8.0-100-generic", true)]
#[case::ubuntu_cloud("6.8.0-51-generic", "6.8.0-100-aws", false)]
#[case::rhel("5.14.0-611.20.1.el9_7.x86_64", "5.14.0-611.54.1.el9_7.x86_64", true)]
#[case::rhel_debug("5.14.0-611.20.1.el9_7.x86_64", "5.14.0-611.54.1.el9_7.x86_64+debug", false)]
#[case::oracles_own("5.14.0-611.20.1.el9_7.x86_64", "5.15.0-311.185.9.el9uek.x86_64", false)]
#[case::amazon("6.1.159-181.297.amzn2023.x86_64", "6.1.170-210.320.amzn2023.x86_64", true)]
#[case::amazon_next_line("6.1.159-181.297.amzn2023.x86_64", "6.12.40-63.114.amzn2023.x86_64", false)]
#[case::suse("6.4.0-150600.21-default", "6.4.0-150600.23.87-default", true)]
#[case::arch("6.9.1-arch1-1", "6.9.2-arch1-1", true)]
#[case::itself("6.8.0-51-generic", "6.8.0-51-generic", false)]
#[case::candidate("6.13.0-rc3", "6.13.0-rc4", true)]
#[case::hostile("", "-", false)]
fn a_newer_kernel_is_one_of_the_same_flavour(#[case] running: &str, #[case] installed: &str, #[case] expected: bool) {
    assert_eq!(newer(installed, running), expected);
}

fn namespaces(max: Observed<i64>, clone: Observed<i64>, restrict: Observed<i64>, apparmor: Observed<bool>) -> Observed<bool> {
    let document = serde_json::json!({"release": "6.8.0-51-generic", "version": "#1"}).to_string();
    let facts = crate::inventory::facts_for_collector("n", "", [("kernel", "self", document.as_str())].into_iter());
    let mut kernel = facts.kernel.value().expect("a document").clone();
    kernel.sysctls.max_user_namespaces = max;
    kernel.sysctls.unprivileged_userns_clone = clone;
    kernel.sysctls.apparmor_restrict_unprivileged_userns = restrict;
    kernel.apparmor = apparmor;
    user_namespaces(&kernel, 1)
}

#[test]
fn one_closed_switch_closes_user_namespaces_and_open_needs_all_of_them() {
    let open = |observed: Observed<bool>| observed.value().copied();
    assert_eq!(open(namespaces(known(100), absent(), absent(), known(false))), Some(true), "upstream's kernel");
    assert_eq!(open(namespaces(known(0), denied(), denied(), denied())), Some(false));
    assert_eq!(open(namespaces(known(100), known(0), absent(), denied())), Some(false), "Debian's switch");
    assert_eq!(open(namespaces(known(100), known(1), known(1), known(true))), Some(false), "Ubuntu's switch");
    assert_eq!(open(namespaces(known(100), known(1), known(1), known(false))), Some(true), "nobody enforces it");
    assert_eq!(open(namespaces(known(100), denied(), absent(), known(true))), None);
    assert_eq!(open(namespaces(absent(), absent(), absent(), known(true))), None, "a recording without sysctls");
}

fn system(journald: Observed<Settings>, persistent: Observed<bool>) -> System {
    let why = Unavailable::new(Reason::NotSupported, "not in this test");
    System { journald, journal_persistent: persistent, ..System::unread(&why) }
}

fn storage(value: &str) -> Observed<Settings> {
    let source = Source::new(SourceKind::File, "/etc/systemd/journald.conf");
    let setting = Setting { value: json!(value), source: source.clone(), declared: Vec::new() };
    known(Settings::from([("Storage".to_owned(), Observed::known(setting, source, 1))]))
}

#[test]
fn a_journal_is_on_disk_when_it_is_there_and_still_written() {
    let judged = |journald: Observed<Settings>, there: Observed<bool>| {
        let mut system = system(journald, there);
        of_journal(&mut system);
        let once = system.clone();
        of_journal(&mut system);
        assert_eq!(system, once, "twice is once");
        system.journal_persistent.value().copied()
    };
    assert_eq!(judged(known(Settings::new()), known(true)), Some(true));
    assert_eq!(judged(known(Settings::new()), known(false)), Some(false), "auto makes no directory");
    assert_eq!(judged(storage("persistent"), known(true)), Some(true));
    assert_eq!(judged(storage("volatile"), known(true)), Some(false), "an old journal lies there");
    assert_eq!(judged(known(Settings::new()), denied()), None);
    let unread = known(Settings::from([("Storage".to_owned(), denied())]));
    assert_eq!(judged(unread, known(true)), None, "a drop-in that cannot be read may say volatile");
}

#[test]
fn journald_has_its_defaults_where_nothing_is_said() {
    let mut system = system(storage("volatile"), known(false));
    of_journal(&mut system);
    let settings = system.journald.value().expect("known");
    let value = |name: &str| settings.get(name).and_then(|setting| setting.value()).map(|setting| setting.value.clone());
    assert_eq!(value("Storage"), Some(json!("volatile")));
    assert_eq!(value("RateLimitBurst"), Some(json!(10_000)));
    assert_eq!(value("SystemMaxUse"), Some(json!(JOURNAL_CAP)));
    assert_eq!(value("ForwardToSyslog"), None);
}
