//! Kernels on disk, boot loaders, images and what of them could be loaded: trees as each family lays them out, and hostile ones.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::time::{Duration, Instant};

use holdfast_agent::sensors::Sensors;
use holdfast_checks::derive::derive;
use holdfast_checks::facts::{FeatureState, Group, Kernel, Observed, Reason};
use holdfast_checks::versions::knowledge::Knowledge;
use holdfast_checks::versions::{ActivationState, judge};

use super::hostile::Tree;
use super::{known, options};

/// The start of an image of the x86 boot protocol.
fn image(release: &str, version: &str) -> Vec<u8> {
    let mut image = vec![0; 0x4000];
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x20e..0x210].copy_from_slice(&0x3000_u16.to_le_bytes());
    let text = format!("{release} (builder@host) {version}\0");
    image[0x3200..0x3200 + text.len()].copy_from_slice(text.as_bytes());
    image
}

/// A node that runs `release`, of the build `version`.
fn node(release: &str, version: &str, os_release: &str) -> Tree {
    let tree = Tree::new();
    tree.write("host/holdfast-tree.json", serde_json::json!({"uname": {"release": release, "version": version}}).to_string());
    tree.write("host/etc/os-release", os_release);
    fs::create_dir_all(tree.path("host/run")).unwrap();
    tree
}

fn install(tree: &Tree, release: &str, version: &str) {
    tree.write(&format!("host/lib/modules/{release}/kernel/fs/overlay.ko"), "");
    tree.write(&format!("host/boot/vmlinuz-{release}"), image(release, version));
}

fn kernel(tree: &Tree) -> Kernel {
    let mut facts = tree.read();
    derive(&mut facts);
    known(&facts.kernel).clone()
}

fn releases(kernel: &Kernel) -> Vec<&str> {
    known(&kernel.installed).items.iter().map(|one| one.release.as_str()).collect()
}

fn newer(kernel: &Kernel) -> &[String] {
    &known(&kernel.newer_installed).items
}

fn build<'a>(kernel: &'a Kernel, release: &str) -> &'a Observed<String> {
    &known(&kernel.installed).items.iter().find(|one| one.release == release).expect("installed").build
}

fn why<T>(fact: &Observed<T>) -> Reason {
    fact.unavailable().expect("not known").reason
}

const DEBIAN: &str = "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
const NEW_BUILD: &str = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.158-1 (2025-11-09)";
const OLD_BUILD: &str = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1 (2024-02-01)";

#[test]
fn debian_tells_its_kernels_its_menu_and_what_asked_for_a_reboot() {
    let tree = node("6.1.0-25-cloud-amd64", OLD_BUILD, DEBIAN);
    install(&tree, "6.1.0-25-cloud-amd64", OLD_BUILD);
    install(&tree, "6.1.0-28-cloud-amd64", NEW_BUILD);
    tree.write("host/lib/modules/6.1.0-9-cloud-amd64/updates/dkms/x.ko", "");
    tree.write("host/lib/modules/6.1.0-9-cloud-amd64/modules.dep", "");
    tree.write("host/run/reboot-required", "*** System restart required ***\n");
    tree.write("host/run/reboot-required.pkgs", "linux-image-6.1.0-28-cloud-amd64\nlibc6\n");
    tree.write(
        "host/var/lib/dpkg/status",
        "Package: linux-image-6.1.0-25-cloud-amd64\nStatus: install ok installed\nArchitecture: amd64\nSource: linux-signed-amd64 (6.1.106+3)\nVersion: 6.1.106-3\nDescription: x\n .\n Package: evil\n",
    );
    tree.write(
        "host/boot/grub/grub.cfg",
        "set default=\"0\"\nmenuentry 'Debian GNU/Linux' {\n\tlinux\t/boot/vmlinuz-6.1.0-28-cloud-amd64 root=x\n}\n",
    );
    let kernel = kernel(&tree);
    assert_eq!(releases(&kernel), ["6.1.0-25-cloud-amd64", "6.1.0-28-cloud-amd64"], "what DKMS left behind is no kernel");
    assert!(known(&kernel.installed).skipped.is_empty());
    assert_eq!(newer(&kernel), ["6.1.0-28-cloud-amd64"]);
    assert_eq!(known(build(&kernel, "6.1.0-28-cloud-amd64")), NEW_BUILD);
    let sentinel = &known(&kernel.reboot_sentinels).items[0];
    assert_eq!((sentinel.path.as_str(), sentinel.packages.len()), ("/run/reboot-required", 2));
    assert!(sentinel.since > 1_700_000_000);
    let package = known(&kernel.package);
    assert_eq!((package.version.as_str(), package.origin.as_str()), ("6.1.106-3", "linux-signed-amd64"));
    let entry = known(&kernel.boot_default);
    assert_eq!((entry.release.as_str(), entry.path.as_str()), ("6.1.0-28-cloud-amd64", "/boot/grub/grub.cfg"));
    assert_eq!(why(&kernel.deployment), Reason::NotSupported);
}

#[test]
fn another_build_of_the_same_release_is_told_by_its_image() {
    let tree = node("6.1.0-18-amd64", OLD_BUILD, DEBIAN);
    install(&tree, "6.1.0-18-amd64", NEW_BUILD);
    let kernel = kernel(&tree);
    assert!(newer(&kernel).is_empty());
    assert_eq!(known(build(&kernel, "6.1.0-18-amd64")), NEW_BUILD);
    assert_ne!(known(build(&kernel, "6.1.0-18-amd64")), &kernel.version);
}

#[test]
fn a_system_with_merged_directories_lists_each_kernel_once_and_follows_its_links() {
    let tree = node("6.8.0-51-generic", "#52~22.04.1-Ubuntu SMP", "ID=ubuntu\nVERSION_ID=\"22.04\"\n");
    tree.write("host/usr/lib/modules/6.8.0-51-generic/modules.builtin", "");
    symlink("usr/lib", tree.path("host/lib")).unwrap();
    // The agent's own `/run` and `/boot` must not be looked at.
    fs::create_dir_all(tree.path("host/var")).unwrap();
    symlink("/run", tree.path("host/var/run")).unwrap();
    tree.write("host/disk/boot/vmlinuz-6.8.0-51-generic", image("6.8.0-51-generic", "#52~22.04.1-Ubuntu SMP"));
    symlink("/disk/boot", tree.path("host/boot")).unwrap();
    symlink("vmlinuz-6.8.0-51-generic", tree.path("host/disk/boot/vmlinuz")).unwrap();
    tree.write("host/disk/boot/grub/grub.cfg", "set default=\"${saved_entry}\"\nmenuentry 'Ubuntu' {\n linux /vmlinuz root=x\n}\n");
    let kernel = kernel(&tree);
    assert_eq!(releases(&kernel), ["6.8.0-51-generic"]);
    assert_eq!(known(&kernel.boot_default).release, "6.8.0-51-generic", "by the link /boot/vmlinuz");
    // Ubuntu's menu may be root's only: that is no menu that starts nothing.
    if !nix::unistd::geteuid().is_root() {
        fs::set_permissions(tree.path("host/disk/boot/grub/grub.cfg"), fs::Permissions::from_mode(0o000)).unwrap();
        assert_eq!(why(&self::kernel(&tree).boot_default), Reason::PermissionDenied);
    }
}

const EL9: [&str; 2] = ["5.14.0-611.20.1.el9_7.x86_64", "5.14.0-611.54.1.el9_7.x86_64"];

fn bls(tree: &Tree, name: &str, release: &str, options: &str) {
    let text = format!("title Some Linux ({release})\nversion {release}\nlinux /vmlinuz-{release}\noptions root=x {options}\n");
    tree.write(&format!("host/boot/loader/entries/{name}.conf"), text);
}

#[test]
fn red_hats_entries_are_chosen_by_its_environment_or_the_highest_version() {
    let tree = node(EL9[0], "#1 SMP", "ID=rhel\nVERSION_ID=\"9.7\"\n");
    fs::create_dir_all(tree.path("host/var/lib/rpm")).unwrap();
    for release in EL9 {
        tree.write(&format!("host/usr/lib/modules/{release}/vmlinuz"), image(release, "#1 SMP PREEMPT_DYNAMIC Tue"));
        bls(&tree, &format!("0123abcd-{release}"), release, "");
    }
    tree.write("host/usr/lib/modules/5.14.0-611.54.1.el9_7.x86_64+rt/vmlinuz", "");
    tree.write("host/boot/vmlinuz-0-rescue-0123abcd", "");
    bls(&tree, "0123abcd-0-rescue", "0-rescue-0123abcd", "");
    tree.write("host/boot/grub2/grub.cfg", "insmod blscfg\nblscfg\n");
    let first = kernel(&tree);
    assert_eq!(newer(&first), [EL9[1]]);
    assert_eq!(known(&first.boot_default).release, EL9[1], "nothing saved: the highest");
    assert_eq!(why(&first.package), Reason::NotSupported);
    tree.write("host/boot/grub2/grubenv", format!("# GRUB Environment Block\nsaved_entry=0123abcd-{}\n####", EL9[0]));
    let held = kernel(&tree);
    let entry = known(&held.boot_default);
    assert_eq!((entry.release.as_str(), entry.path.as_str()), (EL9[0], "/boot/grub2/grubenv"), "newer, and not selected");
    tree.write("host/boot/grub2/grubenv", "saved_entry=gone\n");
    assert_eq!(known(&kernel(&tree).boot_default).release, EL9[1]);
}

#[test]
fn suse_says_reboot_needed_and_keeps_its_images_beside_the_modules() {
    let tree = node("6.4.0-150600.21-default", "#1 SMP", "ID=sles\nVERSION_ID=\"15.6\"\n");
    for release in ["6.4.0-150600.21-default", "6.4.0-150600.23.87-default"] {
        tree.write(&format!("host/usr/lib/modules/{release}/vmlinuz"), image(release, "#1 SMP"));
        tree.write(&format!("host/boot/vmlinux-{release}.gz"), "");
    }
    tree.write("host/run/reboot-needed", "");
    let kernel = kernel(&tree);
    assert_eq!(newer(&kernel), ["6.4.0-150600.23.87-default"]);
    assert_eq!(known(&kernel.reboot_sentinels).items[0].path, "/run/reboot-needed");
    assert_eq!(why(&kernel.boot_default), Reason::NotSupported, "no boot loader's file is there");
}

#[test]
fn systemd_boot_starts_what_its_configuration_names() {
    let tree = node("6.9.1-arch1-1", "#1 SMP", "ID=arch\n");
    tree.write("host/usr/lib/modules/6.9.2-arch1-1/vmlinuz", image("6.9.2-arch1-1", "#1 SMP"));
    tree.write("host/boot/vmlinuz-linux", image("6.9.2-arch1-1", "#1 SMP"));
    for (name, version) in [("arch", "6.9.2-arch1-1"), ("lts", "6.6.30-1-lts")] {
        tree.write(&format!("host/efi/loader/entries/{name}.conf"), format!("title\tArch\nlinux /id/{version}/linux\n"));
    }
    tree.write("host/efi/loader/loader.conf", "timeout 3\ndefault l*.conf\n");
    let kernel = kernel(&tree);
    assert_eq!(newer(&kernel), ["6.9.2-arch1-1"]);
    let skipped = &known(&kernel.newer_installed).skipped[0].what;
    assert!(skipped.contains("the running kernel 6.9.1-arch1-1"), "its modules went with the update: {skipped}");
    assert_eq!(known(&kernel.boot_default).release, "6.6.30-1-lts");
    tree.write("host/efi/loader/loader.conf", "default @saved\n");
    assert_eq!(why(&self::kernel(&tree).boot_default), Reason::NotSupported, "a variable of the firmware");
}

const FCOS: &str = "ID=fedora\nVARIANT_ID=coreos\nVERSION_ID=42\nOSTREE_VERSION='42.20251012.3.0'\n";

#[test]
fn fedora_coreos_boots_a_deployment_and_another_may_wait() {
    let (old, new) = ("6.16.8-200.fc42.x86_64", "6.17.4-200.fc42.x86_64");
    let tree = node(old, "#1 SMP", FCOS);
    tree.write("proc/cmdline", "BOOT_IMAGE=(hd0)/ostree/x ostree=/ostree/boot.1/fedora-coreos/aaaa/0 ignition.platform.id=qemu\n");
    tree.write(&format!("host/usr/lib/modules/{old}/vmlinuz"), image(old, "#1 SMP"));
    tree.write("host/boot/grub2/grub.cfg", "blscfg\n");
    symlink("loader.1", tree.path("host/boot/loader")).unwrap();
    fs::create_dir_all(tree.path("host/boot/loader.1")).unwrap();
    bls(&tree, "ostree-1", old, "ostree=/ostree/boot.0/fedora-coreos/aaaa/0");
    let deployment = |tree: &Tree| {
        let kernel = kernel(tree);
        let deployment = known(&kernel.deployment).clone();
        assert_eq!((deployment.kind.as_str(), deployment.booted.as_str()), ("ostree", "42.20251012.3.0"));
        (deployment.staged, known(&kernel.boot_default).release.clone())
    };
    assert_eq!(deployment(&tree), (None, old.to_owned()), "the same, by the other directory of links");
    bls(&tree, "ostree-2", new, "ostree=/ostree/boot.1/fedora-coreos/bbbb/0");
    assert_eq!(deployment(&tree), (Some(format!("Some Linux ({new})")), new.to_owned()));
    fs::remove_file(tree.path("host/boot/loader/entries/ostree-2.conf")).unwrap();
    tree.write("host/run/ostree/staged-deployment", "\u{0}\u{1}");
    assert_eq!(deployment(&tree).0.as_deref(), Some(""), "written into the menu when the system goes down");
    assert_eq!(known(&kernel(&tree).reboot_sentinels).items[0].path, "/run/ostree/staged-deployment");
}

#[rstest::rstest]
#[case::cos("ID=cos\nVERSION_ID=125\nBUILD_ID=19216.532.123\n", "cos", "cos-125-19216-532-123")]
#[case::bottlerocket("ID=bottlerocket\nVERSION_ID=1.20.0\nBUILD_ID=12ab34cd\n", "bottlerocket", "1.20.0 (12ab34cd)")]
#[case::talos("ID=talos\nVERSION_ID=v1.11.2\n", "talos", "v1.11.2")]
#[case::flatcar("ID=flatcar\nID_LIKE=coreos\nVERSION_ID=4230.2.3\n", "flatcar", "4230.2.3")]
#[case::micro("ID=\"sl-micro\"\nVERSION_ID=\"6.1\"\n", "transactional", "6.1")]
fn an_image_is_named_as_its_distribution_does_and_nothing_is_said_of_what_waits(
    #[case] os: &str,
    #[case] kind: &str,
    #[case] booted: &str,
) {
    let tree = node("6.1.119", "#1 SMP", os);
    tree.write("host/usr/lib/modules/6.1.119/modules.builtin", "");
    let kernel = kernel(&tree);
    let deployment = known(&kernel.deployment);
    assert_eq!((deployment.kind.as_str(), deployment.booted.as_str(), &deployment.staged), (kind, booted, &None));
}

#[test]
fn parts_of_the_kernel_are_there_loaded_blocked_or_absent_by_what_tells() {
    let release = "6.1.0-28-amd64";
    let tree = node(release, "#1 SMP", DEBIAN);
    let modules = format!("host/lib/modules/{release}");
    let state = |tree: &Tree, name: &str| {
        let kernel = kernel(tree);
        let features = known(&kernel.features);
        let found = features.items.iter().find(|feature| feature.name == name).map(|feature| feature.state);
        assert_eq!(found.is_none(), features.skipped.iter().any(|skipped| skipped.what == name), "{name} is told or missing");
        found
    };
    assert_eq!(why(&kernel(&tree).features), Reason::NotPresent);
    tree.write(&format!("{modules}/modules.dep"), "kernel/net/ipv4/esp4.ko.xz: kernel/x.ko.xz\nkernel/crypto/algif-aead.ko:\nkernel/net/rxrpc/rxrpc.ko:\nkernel/net/netfilter/nf_tables.ko:\n");
    assert_eq!(state(&tree, "esp4"), Some(FeatureState::Loadable));
    assert_eq!(state(&tree, "ksmbd"), None, "it could be linked in");
    tree.write(&format!("{modules}/modules.builtin"), "kernel/net/tls/tls.ko\n");
    tree.write("proc/modules", "nf_tables 356352 0 - Live 0x0000000000000000\n");
    tree.write(
        "host/etc/modprobe.d/cve.conf",
        "# Copy Fail\ninstall algif_aead /bin/false\nblacklist rxrpc\ninstall esp4 /sbin/modprobe --ignore-install esp4\n",
    );
    for (name, expected) in [
        ("algif_aead", FeatureState::Blocked),
        ("esp4", FeatureState::Loadable),
        ("rxrpc", FeatureState::Loadable),
        ("nf_tables", FeatureState::Loaded),
        ("tls", FeatureState::BuiltIn),
        ("ksmbd", FeatureState::Absent),
    ] {
        assert_eq!(state(&tree, name), Some(expected), "{name}");
    }
    assert_eq!(state(&tree, "io_uring"), None);
    tree.write(&format!("host/boot/config-{release}"), "CONFIG_IO_URING=y\nCONFIG_TLS=m\n");
    assert_eq!(state(&tree, "io_uring"), Some(FeatureState::BuiltIn));
    tree.write("proc/sys/kernel/io_uring_disabled", "2\n");
    assert_eq!(state(&tree, "io_uring"), Some(FeatureState::Blocked));
    // What is configured as a module and in no list is in a package that is not installed.
    tree.write("proc/sys/kernel/modules_disabled", "1\n");
    assert_eq!(state(&tree, "esp4"), Some(FeatureState::Blocked));
}

#[test]
fn the_version_of_control_groups_is_told_by_what_is_mounted() {
    let tree = node("6.1.119", "#1 SMP", DEBIAN);
    assert_eq!(why(&kernel(&tree).cgroup), Reason::NotPresent);
    fs::create_dir_all(tree.path("host/sys/fs/cgroup/memory")).unwrap();
    assert_eq!(*known(&kernel(&tree).cgroup), 1);
    tree.write("host/sys/fs/cgroup/cgroup.controllers", "cpu memory\n");
    assert_eq!(*known(&kernel(&tree).cgroup), 2);
}

/// Is what is installed also what runs, as judged on what was read of a whole tree.
fn activation(tree: &Tree) -> Result<(ActivationState, String), String> {
    let mut facts = tree.read();
    derive(&mut facts);
    judge(&mut facts, &Knowledge::built_in().expect("it loads"), jiff::civil::date(2026, 11, 20));
    let kernel = known(&known(&facts.versions).kernel).clone();
    match kernel.activation {
        Observed::Known { value, .. } => Ok((value.state, value.because)),
        Observed::Unavailable(why) => Err(why.detail),
    }
}

#[test]
fn the_next_kernel_waits_for_a_reboot() {
    let tree = node("6.1.0-25-cloud-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.106-3 (2024-08-26)", DEBIAN);
    install(&tree, "6.1.0-25-cloud-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.106-3 (2024-08-26)");
    assert_eq!(activation(&tree).expect("known").0, ActivationState::Active);
    install(&tree, "6.1.0-28-cloud-amd64", NEW_BUILD);
    let (state, because) = activation(&tree).expect("known");
    assert_eq!(state, ActivationState::RebootPending, "{because}");
    assert!(because.contains("6.1.0-28-cloud-amd64"), "{because}");
    tree.write(
        "host/boot/grub/grub.cfg",
        "set default=\"1>0\"\nmenuentry A {\nlinux /boot/vmlinuz-6.1.0-28-cloud-amd64\n}\nsubmenu B {\nmenuentry C {\nlinux /boot/vmlinuz-6.1.0-25-cloud-amd64\n}\n}\n",
    );
    assert_eq!(activation(&tree).expect("known").0, ActivationState::NewerNotSelected);
}

#[test]
fn another_build_under_the_same_name_waits_for_a_reboot() {
    let tree = node("6.1.0-18-amd64", OLD_BUILD, DEBIAN);
    install(&tree, "6.1.0-18-amd64", NEW_BUILD);
    let (state, because) = activation(&tree).expect("known");
    assert_eq!(state, ActivationState::RebootPending);
    assert!(because.contains("another build of 6.1.0-18-amd64"), "{because}");
}

#[rstest::rstest]
#[case("ID=bottlerocket\nVERSION_ID=1.20.0\n")]
#[case("ID=talos\nVERSION_ID=v1.11.2\n")]
#[case("ID=cos\nVERSION_ID=125\nBUILD_ID=19216.532.123\n")]
fn of_an_image_nothing_tells_whether_a_reboot_waits(#[case] os: &str) {
    let tree = node("6.1.119", "#1 SMP", os);
    tree.write("host/usr/lib/modules/6.1.119/vmlinuz", image("6.1.119", "#1 SMP"));
    let why = activation(&tree).expect_err("unknown");
    assert!(why.contains("updated as one image"), "{why}");
}

#[test]
fn a_kernel_of_which_nothing_is_on_disk_is_not_called_active() {
    let tree = node("6.18.44-fc-v669", "#1 SMP PREEMPT_DYNAMIC @0", DEBIAN);
    fs::create_dir_all(tree.path("host/boot")).unwrap();
    assert!(activation(&tree).is_err());
}

/// What a package manager does to the files that decide is watched: new kernels, entries of boot loaders, sentinels, the database.
#[test]
fn what_decides_is_watched() {
    let tree = node("6.1.119", "#1 SMP", DEBIAN);
    let mut sensors = Sensors::open(options(&tree.path("host"), &tree.path("proc"))).unwrap();
    let facts = sensors.read_all(&mut |_| {});
    let watched = sensors.watched(&facts).expect("in time");
    for (path, group) in [
        ("boot", Group::Kernel),
        ("boot/loader/entries", Group::Kernel),
        ("boot/grub2/grubenv", Group::Kernel),
        ("lib/modules", Group::Kernel),
        ("lib/modules/6.1.119/modules.dep", Group::Kernel),
        ("run/reboot-required", Group::Kernel),
        ("run/ostree/staged-deployment", Group::Kernel),
        ("etc/modprobe.d", Group::Kernel),
        ("var/lib/dpkg/status", Group::Kernel),
        ("var/lib/dpkg/status", Group::Runtimes),
    ] {
        let path = tree.path("host").join(path);
        assert!(watched.iter().any(|(there, groups)| *there == path && groups.contains(&group)), "{}", path.display());
    }
}

#[test]
fn hostile_images_and_menus_are_unknown_and_cost_nothing() {
    let release = "6.1.0-28-amd64";
    let tree = node(release, "#1 SMP", DEBIAN);
    let path = format!("host/boot/vmlinuz-{release}");
    let reason = |tree: &Tree| why(build(&kernel(tree), release));
    let mut far = image(release, "#1");
    far[0x20e..0x210].copy_from_slice(&0xffff_u16.to_le_bytes());
    for (content, expected) in [
        (Vec::new(), Reason::NotSupported),
        (b"MZ\0\0ARMd".to_vec(), Reason::NotSupported),
        (vec![0; 0x4000], Reason::NotSupported),
        (far, Reason::Malformed),
        (image("6.1.0-27-amd64", "#1"), Reason::Malformed),
        (image(release, "no number"), Reason::Malformed),
        ([image(release, "#1"), vec![b'x'; 64]].concat()[..0x3210].to_vec(), Reason::Malformed),
    ] {
        tree.write(&path, &content);
        assert_eq!(reason(&tree), expected, "{:?}", &content[..content.len().min(8)]);
    }
    let sparse = File::create(tree.path(&path)).unwrap();
    sparse.set_len(1 << 30).unwrap();
    sparse.write_at(b"HdrS", 0x202).unwrap();
    sparse.write_at(&0xff00_u16.to_le_bytes(), 0x20e).unwrap();
    assert_eq!(reason(&tree), Reason::Malformed, "NULs only");
    sparse.write_at(&[b'x'; 4096], 0x200 + 0xff00).unwrap();
    assert_eq!(reason(&tree), Reason::Malformed, "a text without an end");
    fs::remove_file(tree.path(&path)).unwrap();
    nix::unistd::mkfifo(&tree.path(&path), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    assert_eq!(reason(&tree), Reason::Malformed);

    tree.write("host/boot/grub/grub.cfg", vec![b'{'; 5 << 20]);
    assert_eq!(why(&kernel(&tree).boot_default), Reason::TooLarge);
    tree.write("host/boot/grub/grub.cfg", "menuentry x {\n".repeat(200_000));
    assert_eq!(why(&kernel(&tree).boot_default), Reason::NotSupported);
    tree.write(
        "host/boot/grub/grub.cfg",
        format!("menuentry '{}' {{\nlinux /vmlinuz-6.1.0{}\n}}\n", "t".repeat(500_000), "9".repeat(500_000)),
    );
    assert_eq!(why(&kernel(&tree).boot_default), Reason::NotSupported);
    fs::remove_file(tree.path("host/boot/grub/grub.cfg")).unwrap();
    symlink("grub.cfg", tree.path("host/boot/grub/grub.cfg")).unwrap();
    assert_eq!(why(&kernel(&tree).boot_default), Reason::Malformed);
}

#[test]
fn of_thousands_of_kernels_the_running_one_is_found_and_the_rest_counted() {
    let tree = node("9.9.9", "#1 SMP", DEBIAN);
    for number in 0..2_000 {
        fs::create_dir_all(tree.path(&format!("host/lib/modules/5.0.{number}/kernel"))).unwrap();
    }
    tree.write("host/lib/modules/9.9.9/kernel/x.ko", "");
    let start = Instant::now();
    let kernel = kernel(&tree);
    assert!(start.elapsed() < Duration::from_mins(2));
    let installed = known(&kernel.installed);
    assert!(installed.items.iter().any(|one| one.release == "9.9.9") && installed.items.len() == 256);
    assert_eq!(installed.skipped[0].what, "1745 further names in /lib/modules");
}

#[test]
fn what_is_nested_too_deep_closes_nothing_above_it() {
    let tree = node("6.1.0-28-amd64", "#1 SMP", DEBIAN);
    let entry = |title: &str, release: &str| format!("menuentry '{title}' {{\nlinux /boot/vmlinuz-{release} ro\n}}\n");
    let deep = format!("{}{}{}", "submenu 'deep' {\n".repeat(12), entry("inside", "6.1.0-13-amd64"), "}\n".repeat(12));
    let menu = format!("set default=\"1\"\n{deep}{}{}", entry("chosen", "6.1.0-28-amd64"), entry("old", "6.1.0-26-amd64"));
    tree.write("host/boot/grub/grub.cfg", menu);
    let kernel = kernel(&tree);
    assert_eq!(known(&kernel.boot_default).release, "6.1.0-28-amd64", "{:?}", kernel.boot_default);
}

#[test]
fn files_that_never_end_are_capped_and_those_that_never_answer_are_not_waited_for() {
    let release = "6.1.0-28-amd64";
    let tree = node(release, "#1 SMP", DEBIAN);
    install(&tree, release, "#1 SMP");
    let huge = |path: &str| {
        tree.write(path, "");
        File::create(tree.path(path)).unwrap().set_len(1 << 30).unwrap();
    };
    let fifo = |path: &str| {
        tree.write(path, "");
        fs::remove_file(tree.path(path)).unwrap();
        super::hostile::fifo(&tree.path(path));
    };
    huge(&format!("host/lib/modules/{release}/modules.builtin"));
    huge(&format!("host/boot/config-{release}"));
    huge("host/run/reboot-required.pkgs");
    huge("host/run/reboot-required");
    huge("host/var/lib/dpkg/status");
    huge("host/boot/vmlinuz-6.1.0-27-amd64");
    fifo(&format!("host/lib/modules/{release}/modules.dep"));
    fifo("host/etc/modprobe.d/x.conf");
    fifo("host/boot/grub/grubenv");
    fifo("host/boot/vmlinuz-6.1.0-26-amd64");
    symlink("loop", tree.path("host/boot/loop")).unwrap();
    symlink("loop", tree.path("host/boot/vmlinuz-6.1.0-25-amd64")).unwrap();
    symlink("/boot", tree.path("host/boot/grub/boot")).unwrap();
    tree.write("host/boot/grub/grub.cfg", "blscfg\n");
    let start = Instant::now();
    let read = kernel(&tree);
    assert!(start.elapsed() < Duration::from_mins(2), "{:?}", start.elapsed());
    assert_eq!(why(&read.boot_default), Reason::Malformed, "{:?}", read.boot_default);
    assert_eq!(why(&read.package), Reason::TooLarge, "{:?}", read.package);
    assert_eq!(why(&read.features), Reason::TooLarge, "{:?}", read.features);
    assert_eq!(known(&read.reboot_sentinels).items.len(), 1);

    // Thousands of entries, of which the first that would be started can be read.
    fs::remove_file(tree.path("host/boot/grub/grubenv")).unwrap();
    for number in 0..5_000 {
        bls(&tree, &format!("x-5.0.{number}"), &format!("5.0.{number}"), "");
    }
    let start = Instant::now();
    let read = kernel(&tree);
    assert!(start.elapsed() < Duration::from_mins(2), "{:?}", start.elapsed());
    assert_eq!(known(&read.boot_default).release, "5.0.4999");
}
