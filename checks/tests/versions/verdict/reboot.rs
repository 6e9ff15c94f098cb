//! Running against installed: reboots that wait, and those that only seem to.

use super::*;
use holdfast_checks::facts::{BootEntry, Deployment};
use holdfast_checks::versions::{ActivationState, Headline};

const DEBIAN: &str = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.106-3 (2024-08-26)";

fn state(facts: NodeFacts) -> Result<ActivationState, String> {
    match kernel_link(facts, &built_in()).activation {
        Observed::Known { value, .. } => Ok(value.state),
        Observed::Unavailable(why) => Err(why.detail),
    }
}

fn debian(installed: &[(&str, &str)]) -> NodeFacts {
    let mut facts = machine(os("debian", "12", &[]), "6.1.0-25-cloud-amd64", DEBIAN);
    install(&mut facts, installed);
    facts
}

#[test]
fn a_newer_one_of_the_same_flavour_waits_and_others_do_not() {
    let own = ("6.1.0-25-cloud-amd64", DEBIAN);
    assert_eq!(state(debian(&[own, ("6.1.0-28-cloud-amd64", "")])), Ok(ActivationState::RebootPending));
    assert_eq!(state(debian(&[own, ("6.1.0-28-amd64", "")])), Ok(ActivationState::Active));
    assert_eq!(state(debian(&[own, ("6.1.0-9-cloud-amd64", "")])), Ok(ActivationState::Active));
    assert_eq!(state(debian(&[own, ("6.1.0-28-rt-amd64", "")])), Ok(ActivationState::Active));
    assert!(state(debian(&[("6.1.0-9-cloud-amd64", "")])).expect_err("unknown").contains("not among those installed"));
    assert_eq!(state(debian(&[("6.1.0-28-cloud-amd64", "")])), Ok(ActivationState::RebootPending), "the running one was removed");
    let el = |release: &str, other: &str| {
        let mut facts = machine(os("rhel", "9.7", &[]), release, "#1 SMP");
        install(&mut facts, &[(release, ""), (other, "")]);
        state(facts)
    };
    let running = "5.14.0-611.20.1.el9_7.x86_64";
    assert_eq!(el(running, "5.14.0-611.5.1.el9_7.x86_64"), Ok(ActivationState::Active), "611.5 is below 611.20");
    assert_eq!(el(running, "5.14.0-687.10.1.el9_8.x86_64"), Ok(ActivationState::RebootPending));
    assert_eq!(el(running, "5.14.0-687.10.1.el9_8.x86_64+debug"), Ok(ActivationState::Active));
    assert_eq!(el(running, "5.14.0-687.10.1.el9_8.x86_64+rt"), Ok(ActivationState::Active));
    assert_eq!(el(running, "5.15.0-306.177.4.el9uek.x86_64"), Ok(ActivationState::Active));
    assert_eq!(el(running, "0-rescue-4f3c2b1a"), Ok(ActivationState::Active));
    let amazon = |other: &str| {
        let mut facts = machine(os("amzn", "2023", &[]), "6.1.119-129.201.amzn2023.x86_64", "#1 SMP");
        install(&mut facts, &[("6.1.119-129.201.amzn2023.x86_64", ""), (other, "")]);
        state(facts)
    };
    assert_eq!(amazon("6.12.40-63.114.amzn2023.x86_64"), Ok(ActivationState::Active), "another package's line");
    assert_eq!(amazon("6.1.159-181.297.amzn2023.x86_64"), Ok(ActivationState::RebootPending));
}

#[test]
fn the_same_name_with_another_build_waits() {
    let other = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.112-1 (2024-09-30)";
    let release = "6.1.0-25-cloud-amd64";
    assert_eq!(state(debian(&[(release, other)])), Ok(ActivationState::RebootPending));
    assert_eq!(state(debian(&[(release, DEBIAN)])), Ok(ActivationState::Active));
    // uname ends after 64 characters, the image's own string does not.
    let cut = "#52~22.04.1-Ubuntu SMP PREEMPT_DYNAMIC Mon Dec  9 15:00:52 UTC 2";
    let mut ubuntu = machine(os("ubuntu", "22.04", &[]), "6.8.0-51-generic", cut);
    install(&mut ubuntu, &[("6.8.0-51-generic", &format!("{cut}024"))]);
    assert_eq!(state(ubuntu), Ok(ActivationState::Active));
    // Only the file's age tells, and without it nothing does: several builds share the name.
    assert!(state(debian(&[(release, "")])).expect_err("unknown").contains("several builds share the name"));
    let mut older = debian(&[(release, "")]);
    kernel_of(&mut older).installed.value_mut().expect("known").items[0].modified = known(1_770_000_000);
    assert_eq!(state(older), Ok(ActivationState::Active));
    let mut aged = debian(&[(release, "")]);
    kernel_of(&mut aged).installed.value_mut().expect("known").items[0].modified = known(1_785_000_000);
    let link = kernel_link(aged, &built_in());
    let activation = link.activation.value().expect("known");
    assert_eq!(activation.state, ActivationState::RebootPending);
    assert!(activation.because.contains("probably"), "{}", activation.because);
}

#[test]
fn sentinels_say_for_what() {
    let release = "6.1.0-25-cloud-amd64";
    let with = |packages: &[&str]| {
        let mut facts = debian(&[(release, DEBIAN)]);
        sentinel(&mut facts, packages);
        facts
    };
    assert_eq!(state(with(&["libc6"])), Ok(ActivationState::Active), "the C library is no kernel");
    let judged = verdict(with(&["libc6"]), &built_in(), TODAY);
    let system = judged.os.value().expect("known");
    assert_eq!(system.activation.value().expect("known").state, ActivationState::RebootPending, "the system waits all the same");
    assert!(system.because.contains("libc6"), "{}", system.because);
    assert_eq!(state(with(&["linux-image-6.1.0-25-cloud-amd64"])), Ok(ActivationState::RebootPending));
    assert_eq!(state(with(&[])), Ok(ActivationState::Active), "the builds are the same");
    let mut unlisted = machine(os("debian", "12", &[]), release, DEBIAN);
    sentinel(&mut unlisted, &[]);
    assert_eq!(state(unlisted), Ok(ActivationState::RebootPending));
    let nothing = machine(os("debian", "12", &[]), release, DEBIAN);
    assert!(state(nothing).is_err(), "that no file is there proves nothing");
}

#[test]
fn the_boot_loader_has_a_say() {
    let mut facts = debian(&[("6.1.0-25-cloud-amd64", DEBIAN), ("6.1.0-28-cloud-amd64", "")]);
    let entry = |release: &str| known(BootEntry { release: release.into(), title: "Debian".into(), path: "/boot/grub/grubenv".into() });
    kernel_of(&mut facts).boot_default = entry("6.1.0-25-cloud-amd64");
    let link = kernel_link(facts.clone(), &built_in());
    assert_eq!(link.activation.value().expect("known").state, ActivationState::NewerNotSelected);
    assert!(link.because.contains("known to be exploited") || link.action.contains("default boot entry"), "{}", link.action);
    kernel_of(&mut facts).boot_default = entry("6.1.0-28-cloud-amd64");
    assert_eq!(state(facts), Ok(ActivationState::RebootPending));
}

#[test]
fn an_image_based_system_tells_nothing_unless_something_is_staged() {
    for (id, release) in [("bottlerocket", "5.15.122"), ("talos", "6.12.48-talos"), ("cos", "6.6.87+"), ("flatcar", "6.6.95-flatcar")] {
        let mut facts = machine(os(id, "1", &[]), release, "#1 SMP");
        assert!(state(facts.clone()).expect_err("unknown").contains("one image"), "{id}");
        install(&mut facts, &[(release, "")]);
        assert!(state(facts).is_err(), "{id}");
    }
    // An update is in another snapshot, which the running root does not show.
    for id in ["sle-micro", "sl-micro", "opensuse-microos"] {
        let mut micro = machine(os(id, "6.1", &[]), "6.4.0-24-default", "#1 SMP");
        install(&mut micro, &[("6.4.0-24-default", "")]);
        assert!(state(micro).expect_err("unknown").contains("one image"), "{id}");
    }
    let mut flatcar = machine(os("flatcar", "4230.2.0", &[]), "6.6.95-flatcar", "#1 SMP");
    sentinel(&mut flatcar, &[]);
    assert_eq!(state(flatcar), Ok(ActivationState::RebootPending));
    let mut ostree = machine(os("fedora", "43", &[("OSTREE_VERSION", "43.1")]), "6.17.1-300.fc43.x86_64", "#1 SMP");
    let staged =
        |staged: Option<&str>| known(Deployment { kind: "ostree".into(), booted: "aaaa".into(), staged: staged.map(str::to_owned) });
    kernel_of(&mut ostree).deployment = staged(Some("bbbb"));
    assert_eq!(state(ostree.clone()), Ok(ActivationState::RebootPending));
    kernel_of(&mut ostree).deployment = staged(None);
    assert!(state(ostree).is_err());
}

#[test]
fn a_replaced_daemon_waits_for_a_restart_and_is_judged_by_what_runs() {
    let mut facts = machine(os("debian", "12", &[]), "6.1.0-40-amd64", "");
    runtime(&mut facts, "containerd", "1.7.28", None, &[]);
    let daemon = &mut facts.runtimes.value_mut().expect("known").items[0];
    daemon.executable = known(Executable { path: "/usr/bin/containerd".into(), replaced: true });
    daemon.installed = known("1.7.33".to_owned());
    // The package is that of the file on disk, which is not what runs.
    daemon.package = known(dpkg("containerd.io", "1.7.33-1", "containerd.io"));
    let link = component_link(facts.clone(), &built_in(), "containerd");
    let activation = link.activation.value().expect("known");
    assert_eq!((activation.state, activation.security), (ActivationState::RestartPending, Some(true)));
    assert_eq!(link.running, "1.7.28");
    let daemon = &mut facts.runtimes.value_mut().expect("known").items[0];
    daemon.installed = known("1.7.28".to_owned());
    let link = component_link(facts, &built_in(), "containerd");
    assert!(link.activation.value().expect("known").because.contains("another build of 1.7.28"));
}

#[test]
fn what_waits_counts_when_it_fixes_something() {
    let mut facts = machine(os("almalinux", "9.7", &[]), "5.14.0-611.20.1.el9_7.x86_64", "#1 SMP");
    install(&mut facts, &[("5.14.0-611.20.1.el9_7.x86_64", ""), ("5.14.0-687.10.1.el9_8.x86_64", "")]);
    let link = kernel_link(facts.clone(), &built_in());
    assert_eq!(link.activation.value().expect("known").security, Some(true));
    assert_eq!(link.headline, Headline::KnownExploited);
    assert_eq!(link.action, "reboot: 5.14.0-687.10.1.el9_8.x86_64 is installed");
}
