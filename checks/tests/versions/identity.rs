//! Kernel identity on strings collected from public bug reports and test suites of other projects.

use std::collections::BTreeMap;

use holdfast_checks::facts::Os;
use holdfast_checks::versions::{Family, Identity, KernelStrings, Scheme, identify};
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
