//! Kernel identity on strings collected from public bug reports and test suites of other projects.

use std::collections::BTreeMap;

use holdfast_checks::facts::{Os, Package};
use holdfast_checks::versions::ecosystem::{about_kernel, kernel_packages};
use holdfast_checks::versions::{Confidence, Family, Identity, KernelStrings, Scheme, identify};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Samples {
    samples: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    release: String,
    version: Option<String>,
    version_signature: Option<String>,
    os: String,
    expect: Expect,
}

#[derive(Deserialize)]
struct Expect {
    series: String,
    upstream: Option<String>,
    pkg: Option<String>,
    pkg_prefix: Option<String>,
    cmp: Option<String>,
    flavour: Option<String>,
    stream: Option<String>,
    #[serde(default)]
    src_guess: Vec<String>,
    #[serde(default)]
    prerelease: bool,
}

pub(crate) fn os(id: &str, version_id: &str) -> Os {
    Os { id: id.into(), id_like: Vec::new(), version_id: version_id.into(), pretty_name: String::new(), fields: BTreeMap::new() }
}

/// The os-release behind a sample's words.
fn os_of(words: &str) -> Option<Os> {
    Some(match words {
        "ubuntu 22.04" => os("ubuntu", "22.04"),
        "ubuntu 24.04" => os("ubuntu", "24.04"),
        "ubuntu" => os("ubuntu", "20.04"),
        "debian 12" => os("debian", "12"),
        "debian backports (odd)" => os("debian", "9"),
        "rhel 9.4" => os("rhel", "9.4"),
        "almalinux 8" => os("almalinux", "8.9"),
        "rhel 5" => os("rhel", "5.11"),
        "oracle linux 7 UEK" => os("ol", "7.9"),
        "amazon linux 2023" => os("amzn", "2023"),
        "bottlerocket 1.15.0" => os("bottlerocket", "1.15.0"),
        "container-optimized os" => os("cos", "113"),
        "cbl-mariner 2" => os("mariner", "2.0"),
        "photon 5" => os("photon", "5.0"),
        "sles 15" => os("sles", "15.3"),
        "arch" => os("arch", ""),
        "tencentos" => os("tencentos", "3.1"),
        "vanilla" => return None,
        other => panic!("no os-release for {other}"),
    })
}

#[test]
fn every_collected_sample_is_identified() {
    let samples: Samples = serde_saphyr::from_str(include_str!("../data/kernel-identity-samples.yaml")).expect("the samples parse");
    assert_eq!(samples.samples.len(), 20);
    let mut table = Vec::new();
    for sample in samples.samples {
        let os = os_of(&sample.os);
        let version = sample.version.as_deref().unwrap_or_default();
        let strings = KernelStrings { release: &sample.release, version, signature: sample.version_signature.as_deref(), os: os.as_ref() };
        let found = identify(&strings);
        let (said, expect) = (format!("{}: {found:?}", sample.release), sample.expect);
        assert_eq!(found.series, expect.series, "{said}");
        assert_eq!(found.upstream, expect.upstream, "{said}");
        let package = found.package.as_ref();
        if let Some(pkg) = expect.pkg {
            assert!(package.is_some_and(|package| package.complete && package.text == pkg), "{said}");
        }
        if let Some(prefix) = expect.pkg_prefix {
            assert!(package.is_some_and(|package| !package.complete && package.text == prefix), "{said}");
        }
        if let Some(cmp) = expect.cmp {
            let scheme = if cmp == "dpkg" { Scheme::Dpkg } else { Scheme::Rpm };
            assert_eq!(package.map(|package| package.scheme), Some(scheme), "{said}");
        }
        if let Some(flavour) = expect.flavour {
            assert_eq!(found.flavour, flavour, "{said}");
        }
        if let Some(stream) = expect.stream {
            assert_eq!(found.stream, stream, "{said}");
        }
        if let Some(guess) = expect.src_guess.first() {
            assert_eq!(&found.source_guess, guess, "{said}");
        }
        assert_eq!(found.family == Family::Prerelease, expect.prerelease, "{said}");
        let certain = if found.confident { "certain" } else { "guessed" };
        table.push(format!("{:44} {:20} {certain}", sample.release, found.family.name()));
    }
    insta::assert_snapshot!(table.join("\n"));
}

fn family(release: &str, version: &str, os: Option<&Os>) -> Identity {
    identify(&KernelStrings { release, version, signature: None, os })
}

#[test]
fn debian_prints_its_package_in_the_build_string() {
    let found = family("6.1.0-40-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.153-1 (2025-09-20)", Some(&os("debian", "12")));
    assert_eq!((found.family, found.upstream.as_deref()), (Family::Debian, Some("6.1.153")));
    assert_eq!(found.package.expect("it prints one").text, "6.1.153-1");
    let found = family("6.12.38+deb13-cloud-amd64", "#1 SMP Debian 6.12.38-1 (2025-07-16)", Some(&os("debian", "13")));
    assert_eq!((found.family, found.flavour.as_str()), (Family::Debian, "cloud-amd64"));
    let found = family("6.6.31+rpt-rpi-v8", "#1 SMP PREEMPT Debian 1:6.6.31-1+rpt1 (2024-05-29)", Some(&os("debian", "12")));
    assert_eq!((found.family, found.upstream.as_deref()), (Family::RaspberryPi, Some("6.6.31")));
    let found = family("6.12.90+deb12-amd64", "#1 SMP Debian 6.12.90-2~bpo12+1 (2026-05-01)", Some(&os("debian", "12")));
    assert_eq!(found.family, Family::DebianBackports);
}

#[test]
fn a_kernel_that_looks_like_the_distributions_but_was_built_by_someone_else_is_unlisted() {
    let debian = os("debian", "12");
    for (release, version) in [
        ("6.18.44-fc-v669", "#1 SMP PREEMPT_DYNAMIC Mon Nov  2 10:00:00 UTC 2026"),
        ("6.1.0-40-amd64", "#1 SMP built by hand"),
        ("6.8.0-51-generic", "#52 SMP built by hand"),
        ("6.12.1-1.el9.elrepo.x86_64", "#1 SMP"),
        ("5.15.146+", "#1 SMP"),
        ("", ""),
        ("...", "#"),
    ] {
        assert_eq!(family(release, version, Some(&debian)).family, Family::Unlisted, "{release}");
    }
    assert_eq!(family("6.8.12-4-pve", "#1 SMP PREEMPT_DYNAMIC PMX 6.8.12-4 (2024-11-06T15:04Z)", Some(&debian)).family, Family::Proxmox);
    assert_eq!(family("4.4.0", "#1 SMP Sun Jan 10 15:06:54 PST 2016", Some(&debian)).family, Family::Gvisor);
}

#[test]
fn a_bare_release_is_vanilla_and_two_fields_are_three() {
    let found = family("6.12.38", "#1 SMP", Some(&os("debian", "12")));
    assert_eq!((found.family, found.upstream.as_deref()), (Family::Vanilla, Some("6.12.38")));
    assert_eq!(family("7.2", "#1 SMP", None).upstream.as_deref(), Some("7.2.0"));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(release in ".{0,60}", version in ".{0,60}", signature in proptest::option::of(".{0,40}"), id in "[a-z]{0,8}") {
        let os = os(&id, "1");
        identify(&KernelStrings { release: &release, version: &version, signature: signature.as_deref(), os: Some(&os) });
    }

    #[test]
    fn nearly_right_text_does_not_either(
        release in "[0-9]{1,3}(\\.[0-9]{0,3}){0,3}[-+.]?(el[0-9_]{0,3}|rc[0-9]?|[0-9]{0,3}-[a-z]{0,5}|amzn2?|fc|deb1?)[-.+~a-zé0-9_]{0,9}",
        version in "(#[0-9]{0,3}[~+0-9.é]{0,6}-Ubuntu|.{0,5}Debian [0-9.:~+é-]{0,12} ?\\(?)",
    ) {
        let found = identify(&KernelStrings { release: &release, version: &version, signature: Some("Ubuntu é-é 1.2.3"), os: None });
        prop_assert!(found.series.len() <= release.len());
    }
}

/// Release, `uname -v`, os-release; then family, upstream, package (`…` where only its beginning is known), flavour.
type Row = (&'static str, &'static str, (&'static str, &'static str), Family, Option<&'static str>, Option<&'static str>, &'static str);

#[test]
#[allow(clippy::too_many_lines, reason = "one row a kernel")]
fn kernels_of_every_kind_are_told_apart() {
    const UBUNTU: &str = "#16-Ubuntu SMP PREEMPT_RT Wed Aug 13 12:00:00 UTC 2025";
    let rows: &[Row] = &[
        // Debian and its children.
        (
            "6.1.0-18-cloud-arm64",
            "#1 SMP Debian 6.1.76-1 (2024-02-01)",
            ("debian", "12"),
            Family::Debian,
            Some("6.1.76"),
            Some("6.1.76-1"),
            "cloud-arm64",
        ),
        (
            "6.1.0-18-rt-amd64",
            "#1 SMP PREEMPT_RT Debian 6.1.76-1 (2024-02-01)",
            ("debian", "12"),
            Family::Debian,
            Some("6.1.76"),
            Some("6.1.76-1"),
            "rt-amd64",
        ),
        (
            "5.10.0-35-amd64",
            "#1 SMP Debian 5.10.237-1 (2025-05-19)",
            ("debian", "11"),
            Family::Debian,
            Some("5.10.237"),
            Some("5.10.237-1"),
            "amd64",
        ),
        (
            "6.12.48+deb13-amd64",
            "#1 SMP PREEMPT_DYNAMIC Debian 6.12.48-1 (2025-09-20)",
            ("debian", "13"),
            Family::Debian,
            Some("6.12.48"),
            Some("6.12.48-1"),
            "amd64",
        ),
        (
            "6.12.48+deb13-rt-amd64",
            "#1 SMP PREEMPT_RT Debian 6.12.48-1 (2025-09-20)",
            ("debian", "13"),
            Family::Debian,
            Some("6.12.48"),
            Some("6.12.48-1"),
            "rt-amd64",
        ),
        ("6.12.48+deb13-cloud-amd64", "", ("debian", "13"), Family::Debian, Some("6.12.48"), Some("6.12.48…"), "cloud-amd64"),
        (
            "6.16.3+deb13-amd64",
            "#1 SMP Debian 6.16.3-1~bpo13+1 (2025-09-20)",
            ("debian", "13"),
            Family::DebianBackports,
            Some("6.16.3"),
            Some("6.16.3-1~bpo13+1"),
            "amd64",
        ),
        (
            "6.1.0-0.deb11.21-amd64",
            "#1 SMP Debian 6.1.90-1~bpo11+1 (2024-05-06)",
            ("debian", "11"),
            Family::DebianBackports,
            Some("6.1.90"),
            Some("6.1.90-1~bpo11+1"),
            "amd64",
        ),
        (
            "6.6.74+rpt-rpi-v8",
            "#1 SMP PREEMPT Debian 1:6.6.74-1+rpt1 (2025-01-27)",
            ("debian", "12"),
            Family::RaspberryPi,
            Some("6.6.74"),
            Some("1:6.6.74-1+rpt1"),
            "rpi-v8",
        ),
        ("6.1.21-v8+", "#1642 SMP PREEMPT Mon Apr  3 17:24:16 BST 2023", ("debian", "11"), Family::RaspberryPi, Some("6.1.21"), None, "v8"),
        ("6.8.12-4-pve", "#1 SMP PREEMPT_DYNAMIC PMX 6.8.12-4 (2024-11-06T15:04Z)", ("debian", "12"), Family::Proxmox, None, None, ""),
        // Ubuntu.
        ("6.8.1-1015-realtime", UBUNTU, ("ubuntu", "24.04"), Family::Ubuntu, None, Some("6.8.1-1015.16"), "realtime"),
        ("6.8.0-60-generic-64k", "#63-Ubuntu SMP", ("ubuntu", "24.04"), Family::Ubuntu, None, Some("6.8.0-60.63"), "generic-64k"),
        ("6.8.0-1031-azure", "#36~22.04.1-Ubuntu SMP", ("ubuntu", "22.04"), Family::Ubuntu, None, Some("6.8.0-1031.36~22.04.1"), "azure"),
        ("5.15.0-1073-gkeop", "#81-Ubuntu SMP", ("ubuntu", "22.04"), Family::Ubuntu, None, Some("5.15.0-1073.81"), "gkeop"),
        (
            "5.4.0-1128-aws-fips",
            "#138+fips1-Ubuntu SMP",
            ("ubuntu", "20.04"),
            Family::Ubuntu,
            None,
            Some("5.4.0-1128.138+fips1"),
            "aws-fips",
        ),
        ("6.8.12-060812-generic", "#202405301233 SMP PREEMPT_DYNAMIC", ("ubuntu", "24.04"), Family::Unlisted, None, None, ""),
        ("5.4.0-48-generic", "#52 SMP Sat Oct 10", ("k3os", "v0.20"), Family::Unlisted, None, None, ""),
        // Enterprise Linux.
        (
            "5.14.0-570.12.1.el9_6.x86_64",
            "#1 SMP PREEMPT_DYNAMIC",
            ("rhel", "9.6"),
            Family::EnterpriseLinux,
            None,
            Some("5.14.0-570.12.1.el9_6"),
            "",
        ),
        (
            "5.14.0-570.12.1.el9_6.x86_64+rt",
            "#1 SMP PREEMPT_RT",
            ("rhel", "9.6"),
            Family::EnterpriseLinux,
            None,
            Some("5.14.0-570.12.1.el9_6"),
            "rt",
        ),
        (
            "5.14.0-570.12.1.el9_6.aarch64+64k",
            "#1 SMP",
            ("rhel", "9.6"),
            Family::EnterpriseLinux,
            None,
            Some("5.14.0-570.12.1.el9_6"),
            "64k",
        ),
        (
            "4.18.0-372.9.1.rt7.166.el8.x86_64",
            "#1 SMP PREEMPT_RT",
            ("rhel", "8.6"),
            Family::EnterpriseLinux,
            None,
            Some("4.18.0-372.9.1.rt7.166.el8"),
            "rt",
        ),
        ("5.14.0-516.el9.x86_64", "#1 SMP", ("centos", "9"), Family::EnterpriseLinux, None, Some("5.14.0-516.el9"), ""),
        ("6.12.0-124.8.1.el10_1.x86_64", "#1 SMP", ("almalinux", "10.1"), Family::EnterpriseLinux, None, Some("6.12.0-124.8.1.el10_1"), ""),
        ("5.15.0-304.171.4.el8uek.x86_64", "#2 SMP", ("ol", "8.10"), Family::Uek, None, Some("5.15.0-304.171.4.el8uek"), "uek"),
        ("5.4.17-2136.338.4.2.el7uek.x86_64", "#2 SMP", ("ol", "7.9"), Family::Uek, None, Some("5.4.17-2136.338.4.2.el7uek"), "uek"),
        ("6.12.0-102.36.5.2.el9uek.aarch64", "#1 SMP", ("ol", "9.6"), Family::Uek, None, Some("6.12.0-102.36.5.2.el9uek"), "uek"),
        ("6.12.1-1.el9.elrepo.x86_64", "#1 SMP", ("rocky", "9.4"), Family::Unlisted, None, None, ""),
        // Tagged rpm.
        ("4.14.355-275.570.amzn2.x86_64", "#1 SMP", ("amzn", "2"), Family::Amazon, Some("4.14.355"), Some("4.14.355-275.570.amzn2"), ""),
        (
            "6.12.46-66.121.amzn2023.aarch64",
            "#1 SMP",
            ("amzn", "2023"),
            Family::Amazon,
            Some("6.12.46"),
            Some("6.12.46-66.121.amzn2023"),
            "",
        ),
        ("6.6.57.1-7.azl3", "#1 SMP", ("azurelinux", "3.0"), Family::AzureLinux, Some("6.6.57"), Some("6.6.57.1-7.azl3"), ""),
        ("6.1.75-2.ph5-esx", "#1-photon SMP", ("photon", "5.0"), Family::Photon, Some("6.1.75"), Some("6.1.75-2.ph5"), "esx"),
        ("6.17.7-300.fc43.x86_64", "#1 SMP PREEMPT_DYNAMIC", ("fedora", "43"), Family::Fedora, Some("6.17.7"), Some("6.17.7-300.fc43"), ""),
        (
            "5.10.0-60.18.0.50.oe2203.x86_64",
            "#1 SMP",
            ("openeuler", "22.03"),
            Family::OpenEuler,
            None,
            Some("5.10.0-60.18.0.50.oe2203"),
            "",
        ),
        (
            "6.6.0-72.0.0.76.oe2403sp1.x86_64",
            "#1 SMP",
            ("openeuler", "24.03"),
            Family::OpenEuler,
            None,
            Some("6.6.0-72.0.0.76.oe2403sp1"),
            "",
        ),
        ("5.10.134-16.1.al8.x86_64", "#1 SMP", ("alinux", "3"), Family::AlibabaLinux, None, Some("5.10.134-16.1.al8"), ""),
        ("5.4.119-19.0009.28", "#1 SMP", ("tencentos", "3.1"), Family::TencentOs, None, None, ""),
        ("6.6.30-5.tl4.x86_64", "#1 SMP", ("tencentos", "4.0"), Family::TencentOs, None, Some("6.6.30-5.tl4"), ""),
        // SUSE.
        ("6.4.0-150600.23.25-default", "#1 SMP", ("sles", "15.6"), Family::Suse, None, Some("6.4.0-150600.23.25…"), "default"),
        ("5.14.21-150500.55.52-rt", "#1 SMP PREEMPT_RT", ("sle-micro", "5.5"), Family::Suse, None, Some("5.14.21-150500.55.52…"), "rt"),
        ("6.4.0-24-default", "#1 SMP", ("sl-micro", "6.0"), Family::Suse, None, Some("6.4.0-24…"), "default"),
        ("6.4.0-150600.23.25-default", "#1 SMP", ("opensuse-leap", "15.6"), Family::Suse, None, Some("6.4.0-150600.23.25…"), "default"),
        (
            "6.17.5-1-default",
            "#1 SMP",
            ("opensuse-tumbleweed", "20251101"),
            Family::Tumbleweed,
            Some("6.17.5"),
            Some("6.17.5-1…"),
            "default",
        ),
        // Systems that are one image, and rolling ones.
        ("6.1.112+", "#1 SMP", ("cos", "117"), Family::Cos, Some("6.1.112"), None, ""),
        ("6.12.48-talos", "#1 SMP", ("talos", "v1.11.2"), Family::Talos, Some("6.12.48"), None, ""),
        ("6.6.96-flatcar", "#1 SMP PREEMPT_DYNAMIC", ("flatcar", "4230.2.1"), Family::Flatcar, Some("6.6.96"), None, ""),
        ("6.1.141", "#1 SMP", ("bottlerocket", "1.42.0"), Family::Bottlerocket, Some("6.1.141"), None, ""),
        ("6.12.31-0-lts", "#1-Alpine SMP", ("alpine", "3.22.0"), Family::Alpine, Some("6.12.31"), None, "lts"),
        ("6.12.31-0-virt", "#1-Alpine SMP", ("alpine", "3.22.0"), Family::Alpine, Some("6.12.31"), None, "virt"),
        ("6.17.7-arch1-1", "#1 SMP PREEMPT_DYNAMIC", ("arch", ""), Family::Arch, Some("6.17.7"), None, ""),
        ("6.12.57", "#1-NixOS SMP", ("nixos", "25.05"), Family::Nixos, Some("6.12.57"), None, ""),
        // Desktops, sandboxes, and what is not what it says.
        ("6.6.87.2-microsoft-standard-WSL2", "#1 SMP PREEMPT_DYNAMIC", ("ubuntu", "24.04"), Family::Wsl2, Some("6.6.87"), None, ""),
        ("6.10.14-linuxkit", "#1 SMP", ("ubuntu", "24.04"), Family::Linuxkit, Some("6.10.14"), None, ""),
        ("4.4.0", "#1 SMP Sun Jan 10 15:06:54 PST 2016", ("debian", "12"), Family::Gvisor, None, None, ""),
        ("6.18.44-fc-v669", "#1 SMP PREEMPT_DYNAMIC", ("debian", "12"), Family::Unlisted, None, None, ""),
        ("6.6.30-grsec-hardened", "#1 SMP", ("debian", "12"), Family::Unlisted, None, None, ""),
        ("2.6.61-40-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.153-1 (2025-09-20)", ("debian", "12"), Family::Unlisted, None, None, ""),
        ("2.6.32-754.35.1.el6.x86_64", "#1 SMP", ("rhel", "6.10"), Family::EnterpriseLinux, None, Some("2.6.32-754.35.1.el6"), ""),
        ("5.15.149-android13-8-00003-gc1f2", "#1 SMP PREEMPT", ("android", "13"), Family::Android, None, None, ""),
        ("7.3-rc2", "#1 SMP", ("debian", "13"), Family::Prerelease, Some("7.3.0-rc2"), None, ""),
    ];
    for (release, version, (id, version_id), kind, upstream, package, flavour) in rows {
        let system = os(id, version_id);
        let found = family(release, version, Some(&system));
        let said = found.package.as_ref().map(|package| format!("{}{}", package.text, if package.complete { "" } else { "…" }));
        assert_eq!(found.family, *kind, "{release}: {found:?}");
        assert_eq!((found.upstream.as_deref(), said.as_deref()), (*upstream, *package), "{release}: {found:?}");
        assert_eq!(found.flavour, *flavour, "{release}: {found:?}");
        // An exact level is only said where it is worth something.
        assert!(found.upstream.is_none() || found.family == Family::Prerelease || found.family.base().fixed_above(), "{release}");
    }
    assert_eq!(family("2.6.61-40-amd64", "", None).series, "", "made up numbers name no series");
}

fn package(manager: &str, name: &str, version: &str, origin: &str) -> Package {
    Package { manager: manager.into(), name: name.into(), version: version.into(), origin: origin.into() }
}

#[test]
fn the_package_database_completes_what_uname_does_not_print() {
    let debian = os("debian", "12");
    let signed = package("dpkg", "linux-image-6.1.0-40-amd64", "6.1.153-1", "linux-signed-amd64");
    let bare = family("6.1.0-40-amd64", "", Some(&debian));
    assert_eq!((bare.basis(), bare.upstream.as_deref()), (Confidence::Possible, None));
    let found = bare.with_package(&signed);
    assert_eq!((found.basis(), found.upstream.as_deref(), found.source_guess.as_str()), (Confidence::Confirmed, Some("6.1.153"), "linux"));
    // What is installed under the name of what runs may be newer: what runs is what it prints.
    let running = family("6.1.0-40-amd64", "#1 SMP Debian 6.1.148-1 (2025-08-26)", Some(&debian)).with_package(&signed);
    assert_eq!(running.package.map(|package| package.text).as_deref(), Some("6.1.148-1"));
    let hwe = package("dpkg", "linux-image-7.0.0-31-generic", "7.0.0-31.31~24.04.1", "linux-signed-hwe-7.0");
    let found = family("7.0.0-31-generic", "", Some(&os("ubuntu", "24.04"))).with_package(&hwe);
    assert_eq!(found.package.map(|package| package.text).as_deref(), Some("7.0.0-31.31~24.04.1"));
    assert_eq!(found.source_guess, "linux-hwe-7.0");
    let suse = package("rpm", "kernel-default", "6.4.0-150600.23.25.1", "kernel-default");
    let found = family("6.4.0-150600.23.25-default", "#1 SMP", Some(&os("sles", "15.6"))).with_package(&suse);
    assert!(found.package.is_some_and(|package| package.complete && package.text == "6.4.0-150600.23.25.1"));
    // Another build's package completes nothing, nor does one that is no kernel.
    for other in
        [package("rpm", "kernel-default", "6.4.0-150600.23.30.1", "kernel-default"), package("rpm", "bash", "6.4.0-150600.23.25.1", "bash")]
    {
        let found = family("6.4.0-150600.23.25-default", "#1 SMP", Some(&os("sles", "15.6"))).with_package(&other);
        assert!(found.package.is_some_and(|package| !package.complete), "{}", other.version);
    }
    let found = family("6.18.44-fc-v669", "#1 SMP", Some(&debian)).with_package(&signed);
    assert_eq!((found.package.clone(), found.basis()), (None, Confidence::Possible));
}

#[test]
fn a_kernel_is_asked_for_by_its_source_in_the_suite_it_comes_from() {
    let ask = |release: &str, version: &str, os: &Os, package: Option<&Package>| {
        let found = family(release, version, Some(os));
        let found = package.map_or(found.clone(), |package| found.with_package(package));
        let asked = about_kernel(&found, os, package);
        asked.into_iter().map(|ask| format!("{} {} {} {}", ask.ecosystem, ask.package, ask.version, ask.scheme.name())).collect::<Vec<_>>()
    };
    let (debian, ubuntu) = (os("debian", "12"), os("ubuntu", "22.04"));
    assert_eq!(ask("6.1.0-40-amd64", "#1 SMP Debian 6.1.153-1 (2025-09-20)", &debian, None), ["Debian:12 linux 6.1.153-1 dpkg"]);
    assert_eq!(
        ask("6.12.90+deb12-amd64", "#1 SMP Debian 6.12.90-2~bpo12+1 (2026-05-01)", &debian, None),
        ["Debian:13 linux 6.12.90-2 dpkg"]
    );
    let lts = package("dpkg", "linux-image-6.1.0-0.deb11.35-amd64", "6.1.137-1~deb11u1", "linux-signed-6.1-amd64");
    let asked = ask("6.1.0-0.deb11.35-amd64", "#1 SMP Debian 6.1.137-1~deb11u1 (2025-05-19)", &os("debian", "11"), Some(&lts));
    assert_eq!(asked, ["Debian:11 linux-6.1 6.1.137-1~deb11u1 dpkg"]);
    assert_eq!(
        ask("6.8.0-51-generic", "#52~22.04.1-Ubuntu SMP", &ubuntu, None),
        ["Ubuntu:22.04:LTS linux-hwe-6.8 6.8.0-51.52~22.04.1 dpkg", "Ubuntu:Pro:22.04:LTS linux-hwe-6.8 6.8.0-51.52~22.04.1 dpkg"]
    );
    assert_eq!(
        ask("5.14.0-570.12.1.el9_6.x86_64", "#1 SMP", &os("almalinux", "9.6"), None)[0],
        "AlmaLinux:9 kernel 5.14.0-570.12.1.el9_6 rpm"
    );
    assert_eq!(
        ask("5.14.0-570.12.1.el9_6.x86_64+rt", "#1 SMP", &os("rocky", "9.6"), None)[0],
        "Rocky Linux:9 kernel-rt 5.14.0-570.12.1.el9_6 rpm"
    );
    assert_eq!(ask("6.6.57.1-7.azl3", "#1 SMP", &os("azurelinux", "3.0"), None), ["Azure Linux:3 kernel 6.6.57.1-7.azl3 rpm"]);
    assert_eq!(ask("6.1.75-2.ph5-esx", "#1 SMP", &os("photon", "5.0"), None)[0], "Photon OS:5.0 linux-esx 6.1.75-2.ph5 rpm");
    // No records, another's kernel, or no version to ask with.
    assert!(ask("6.12.46-66.121.amzn2023.x86_64", "#1 SMP", &os("amzn", "2023"), None).is_empty());
    assert!(ask("6.18.44-fc-v669", "#1 SMP", &debian, None).is_empty());
    assert!(ask("6.8.12-4-pve", "#1 SMP PREEMPT_DYNAMIC PMX 6.8.12-4 (2024-11-06T15:04Z)", &debian, None).is_empty());
    assert!(ask("6.4.0-150600.23.25-default", "#1 SMP", &os("sles", "15.6"), None).is_empty());
    let source = |series: &str, package: Option<&Package>| {
        let found = family(&format!("{series}.1-1.2.amzn2023.x86_64"), "#1 SMP", Some(&os("amzn", "2023")));
        kernel_packages(&found, package).join(" ")
    };
    assert_eq!((source("6.1", None).as_str(), source("6.12", None).as_str()), ("kernel", "kernel6.12"));
    assert_eq!(source("6.18", Some(&package("rpm", "kernel6.18", "1:6.18.1-1.2.amzn2023", "kernel6.18"))), "kernel6.18");
}
