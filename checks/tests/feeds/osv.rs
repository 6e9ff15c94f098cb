//! OSV records as they really are: the traps that make other scanners alarm wrongly or stay silent.

use holdfast_checks::versions::knowledge::{Need, Range};
use rstest::rstest;

use crate::{accepted, advisories, packages, refusal};

/// A record about one package.
fn record(ecosystem: &str, name: &str, ranges: &str) -> String {
    format!(
        r#"{{"schema_version":"1.7.0","id":"X-1","modified":"2026-11-01T00:00:00Z","aliases":["CVE-2026-1000"],
        "affected":[{{"package":{{"ecosystem":"{ecosystem}","name":"{name}"}},"ranges":[{{"type":"ECOSYSTEM","events":{ranges}}}]}}]}}"#
    )
}

/// A record of Go's database.
fn go(id: &str, status: &str, summary: &str, affected: &[(&str, &str)]) -> String {
    let affected: Vec<_> = affected
        .iter()
        .map(|(name, events)| {
            format!(r#"{{"package":{{"ecosystem":"Go","name":"{name}"}},"ranges":[{{"type":"SEMVER","events":{events}}}]}}"#)
        })
        .collect();
    format!(
        r#"{{"schema_version":"1.3.1","id":"{id}","modified":"0001-01-01T00:00:00Z","aliases":["CVE-2026-1000"],"summary":"{summary}",
        "affected":[{}],"database_specific":{{"review_status":"{status}"}}}}"#,
        affected.join(",")
    )
}

/// Ranges in short: `0..1.2`, `1.3..`.
fn short(ranges: &[Range]) -> Vec<String> {
    ranges.iter().map(|range| format!("{}..{}", range.introduced, range.fixed.as_deref().unwrap_or_default())).collect()
}

/// The ranges of the only package, and why others were left out.
fn package_ranges(text: &str) -> (Vec<String>, Vec<&'static str>) {
    let content = accepted("x.json", text);
    let ranges = packages(&content).first().map(|fix| short(&fix.ranges)).unwrap_or_default();
    (ranges, content.ignored.keys().copied().collect())
}

#[rstest]
#[case::fixed(r#"[{"introduced":"0"},{"fixed":"1.2-1"}]"#, &["0..1.2-1"], &[])]
#[case::no_fix_yet(r#"[{"introduced":"0"}]"#, &["0.."], &[])]
#[case::twice(r#"[{"introduced":"0"},{"fixed":"1-1"},{"introduced":"2-1"},{"fixed":"2-5"}]"#, &["0..1-1", "2-1..2-5"], &[])]
#[case::listed_in_another_order(r#"[{"fixed":"1.2-1"},{"introduced":"0"}]"#, &["0..1.2-1"], &[])]
#[case::grouped(r#"[{"introduced":"0"},{"introduced":"2-1"},{"fixed":"1-1"},{"fixed":"2-5"}]"#, &["0..1-1", "2-1..2-5"], &[])]
#[case::epochs_are_kept(r#"[{"introduced":"0"},{"fixed":"1:6.1.159-181.297"}]"#, &["0..1:6.1.159-181.297"], &[])]
#[case::inverted(r#"[{"introduced":"6.8-2"},{"fixed":"6.8-1"}]"#, &[], &["a range that ends before it starts", NOTHING])]
#[case::empty(r#"[{"introduced":"0"},{"fixed":"0"}]"#, &[], &["a range that ends before it starts", NOTHING])]
#[case::no_start(r#"[{"fixed":"6.8-1"}]"#, &[], &["a range without a start", NOTHING])]
#[case::no_events("[]", &[], &["a range without a start", NOTHING])]
#[case::last_affected(r#"[{"introduced":"0"},{"last_affected":"6.8-1"}]"#, &[], &["a range that names the last affected version and no fix"])]
#[case::limit(r#"[{"introduced":"0"},{"limit":"6.8-1"}]"#, &[], &["a range with a limit", NOTHING])]
#[case::no_limit(r#"[{"introduced":"0"},{"fixed":"6.8-1"},{"limit":"*"}]"#, &["0..6.8-1"], &[])]
#[case::tomorrow(r#"[{"introduced":"0"},{"mended":"6.8-1"}]"#, &[], &["a range with an unknown event", NOTHING])]
fn events_make_ranges(#[case] events: &str, #[case] expect: &[&str], #[case] ignored: &[&str]) {
    let (ranges, reasons) = package_ranges(&record("Debian:12", "linux", events));
    assert_eq!(ranges, expect);
    let mut ignored = ignored.to_vec();
    ignored.sort_unstable();
    assert_eq!(reasons, ignored);
}

const NOTHING: &str = "the package has no version that could be compared";

#[test]
fn an_event_that_says_two_things_is_refused() {
    let text = record("Debian:12", "linux", r#"[{"introduced":"0","fixed":"1-1"}]"#);
    let why = refusal("x.json", text.as_bytes());
    assert!(why.contains("affected[0] (X-1, linux).ranges[0].events[0]: the event says two things at once"), "{why}");
}

#[rstest]
#[case("Ubuntu:22.04:LTS", "linux-aws-5.15", Some("linux-aws-5.15"))]
#[case("Ubuntu:22.04:LTS", "linux", Some("linux"))]
#[case("Ubuntu:22.04:LTS", "linux-meta-hwe-6.8", None)]
#[case("Ubuntu:22.04:LTS", "linux-firmware", None)]
#[case("Ubuntu:22.04:LTS", "linuxptp", None)]
#[case("Ubuntu:24.04:LTS", "containerd-app", Some("containerd-app"))]
#[case("Ubuntu:24.04:LTS", "docker.io-app", Some("docker.io-app"))]
#[case("Debian:12", "linux-6.1", Some("linux-6.1"))]
#[case("Debian:13", "docker-registry", None)]
#[case("AlmaLinux:8", "kernel-abi-stablelists", Some("kernel"))]
#[case("AlmaLinux:8", "kernel-rt-debug-core", Some("kernel-rt"))]
#[case("AlmaLinux:9", "kernel-srpm-macros", None)]
#[case("Rocky Linux:9", "runc", Some("runc"))]
#[case("Red Hat:enterprise_linux:9::baseos", "kernel-modules-core", Some("kernel"))]
#[case("Azure Linux:3", "containerd2", Some("containerd2"))]
#[case("Azure Linux:3", "kernel-64k", Some("kernel-64k"))]
#[case("SUSE:Linux Enterprise Module for Basesystem 15 SP7", "kernel-default", Some("kernel-default"))]
#[case("openSUSE:Leap 15.6", "kubernetes1.31", Some("kubernetes1.31"))]
#[case("openSUSE:Leap 15.6", "kernel-livepatch-SLE15-SP6_Update_1", None)]
#[case("Photon OS:5.0", "linux-esx", Some("linux-esx"))]
#[case("Photon OS:5.0", "linux-api-headers", None)]
#[case("Alpine:v3.22", "linux-lts", Some("linux-lts"))]
#[case("Alpine:v3.22", "runc", Some("runc"))]
#[case("Debian:12", "containernetworking-plugins", None)]
#[case("Debian:12", "kernel-wedge", None)]
fn packages_of_the_patch_chain_are_kept(#[case] ecosystem: &str, #[case] name: &str, #[case] expect: Option<&str>) {
    let content = accepted("x.json", &record(ecosystem, name, r#"[{"introduced":"0"},{"fixed":"9-1"}]"#));
    let kept = packages(&content);
    assert_eq!(kept.first().map(|fix| fix.package.as_str()), expect);
    if let Some(fix) = kept.first() {
        assert_eq!(fix.ecosystem, ecosystem);
        assert!(content.feeds.contains_key(&format!("osv/{}", ecosystem.split(':').next().unwrap())));
    } else {
        assert_eq!(content.ignored["the package is not part of the patch chain"], 1);
    }
}

#[rstest]
#[case("npm", "left-pad", "the ecosystem runs no node")]
#[case("Bitnami", "containerd", "the ecosystem runs no node")]
#[case("Debian", "linux", "the package is of no release of its distribution")]
#[case("Linux", "Toaster", "no release of the kernel is named")]
#[case("Kubernetes", "k8s.io/kubelet", "a conversion of the Kubernetes feed, whose ranges are known to be wrong")]
#[case("Go", "github.com/moby/buildkit", "the package is not part of the patch chain")]
#[case("Go", "github.com/containerd/containerd/api", "the package is not part of the patch chain")]
fn what_runs_no_node_is_counted(#[case] ecosystem: &str, #[case] name: &str, #[case] reason: &str) {
    let content = accepted("x.json", &record(ecosystem, name, r#"[{"introduced":"0"},{"fixed":"9.0.0"}]"#));
    assert!(content.feeds.is_empty());
    assert_eq!(content.ignored[reason], 1, "{:?}", content.ignored);
}

#[test]
fn a_withdrawn_record_says_nothing() {
    let text = record("Debian:12", "linux", r#"[{"introduced":"0"}]"#).replacen('{', r#"{"withdrawn":"2026-10-01T00:00:00Z","#, 1);
    let content = accepted("x.json", &text);
    assert!(content.feeds.is_empty());
    assert_eq!(content.ignored["the record was withdrawn"], 1);
    let not = text.replace(r#""2026-10-01T00:00:00Z""#, "null");
    assert_eq!(accepted("x.json", &not).feeds.len(), 1);
}

#[test]
fn the_cve_is_looked_for_where_each_publisher_puts_it() {
    let ids = |fields: &str| {
        let text = record("Debian:12", "linux", r#"[{"introduced":"0"}]"#).replace(r#""aliases":["CVE-2026-1000"]"#, fields);
        packages(&accepted("x.json", &text))[0].ids.clone()
    };
    assert_eq!(ids(r#""aliases":["GHSA-1","CVE-2026-2"]"#), ["X-1"], "too short to be one");
    assert_eq!(ids(r#""aliases":["GHSA-1","CVE-2026-1002"]"#), ["CVE-2026-1002"]);
    assert_eq!(ids(r#""upstream":["CVE-2026-1001"],"aliases":[]"#), ["CVE-2026-1001"]);
    assert_eq!(ids(r#""related":["USN-1-1","CVE-2026-1003","CVE-2026-1001"]"#), ["CVE-2026-1001", "CVE-2026-1003"]);
    assert_eq!(ids(r#""upstream":["CVE-2026-1001"],"related":["CVE-2019-9999"]"#), ["CVE-2026-1001"], "related is merely alike");
    assert_eq!(ids(r#""aliases":null"#), ["X-1"]);
}

#[test]
fn versions_stand_in_only_where_no_range_can_be_used() {
    let with = |events: &str| {
        let text = record("Debian:12", "runc", events).replace(r#""ranges""#, r#""versions":["1.1.5-2","1.1.5-1","1.1.5-2"],"ranges""#);
        let content = accepted("x.json", &text);
        (short(&packages(&content)[0].ranges), packages(&content)[0].versions.clone())
    };
    assert_eq!(with(r#"[{"introduced":"0"},{"fixed":"1.1.6-1"}]"#), (vec!["0..1.1.6-1".to_owned()], vec![]));
    let listed = vec!["1.1.5-1".to_owned(), "1.1.5-2".to_owned()];
    assert_eq!(with(r#"[{"introduced":"0"},{"last_affected":"1.1.5-2"}]"#), (vec![], listed));
}

/// Azure Linux names no fix yet by the version that was the newest when the record was written.
#[test]
fn the_last_affected_version_is_affected_and_nothing_is_said_of_later_ones() {
    let content = accepted("x.json", &record("Azure Linux:3", "kernel", r#"[{"introduced":"0"},{"last_affected":"6.6.104.2-1.azl3"}]"#));
    assert_eq!(
        (packages(&content)[0].ranges.len(), packages(&content)[0].versions.as_slice()),
        (0, ["6.6.104.2-1.azl3".to_owned()].as_slice())
    );
}

/// CVE-2004-0230 and its like: open in every release of Debian for ever, and no vulnerability there.
#[test]
fn what_debian_rates_unimportant_alarms_nobody() {
    let text = record("Debian:12", "linux", OPEN).replace(r#""ranges""#, r#""ecosystem_specific":{"urgency":"unimportant"},"ranges""#);
    let content = accepted("x.json", &text);
    assert!(content.feeds.is_empty());
    assert_eq!(content.ignored["Debian rates it unimportant"], 1);
    assert_eq!(accepted("x.json", &text.replace("unimportant", "not yet assigned")).feeds.len(), 1);
}

/// The fix lies below the first kernel of the release: nothing of it was ever affected, and any version is past it.
#[test]
fn a_fix_below_the_first_version_of_a_release_stays_as_it_is() {
    let (ranges, ignored) = package_ranges(&record("Ubuntu:14.04:LTS", "linux", r#"[{"introduced":"0"},{"fixed":"3.11.0-12.19"}]"#));
    assert_eq!(ranges, ["0..3.11.0-12.19"]);
    assert!(ignored.is_empty());
}

#[test]
fn a_livepatch_notice_is_no_package() {
    let text = record("Ubuntu:22.04:LTS", "linux", r#"[{"introduced":"0"},{"fixed":"104.1"}]"#).replace("X-1", "LSN-0104-1");
    assert_eq!(accepted("x.json", &text).ignored["a livepatch notice: which patches a node has is not known"], 1);
}

/// What Go's records say of programs: component and ranges.
fn programs(text: &str) -> Vec<(String, Vec<String>)> {
    let content = accepted("x.json", text);
    advisories(&content).iter().map(|advisory| (advisory.component.clone(), short(&advisory.ranges))).collect()
}

fn one(component: &str, ranges: &[&str]) -> Vec<(String, Vec<String>)> {
    vec![(component.to_owned(), ranges.iter().map(|range| (*range).to_owned()).collect())]
}

const OPEN: &str = r#"[{"introduced":"0"}]"#;
const CONTAINERD: &str = "github.com/containerd/containerd";

#[test]
fn a_range_of_a_second_major_version_does_not_swallow_the_first() {
    let both = [
        (CONTAINERD, r#"[{"introduced":"0"},{"fixed":"1.7.29"}]"#),
        ("github.com/containerd/containerd/v2", r#"[{"introduced":"0"},{"fixed":"2.0.7"}]"#),
    ];
    let found = programs(&go("GO-2025-4108", "UNREVIEWED", "…", &both));
    assert_eq!(found, one("containerd", &["0..1.7.29", "2.0.0-0..2.0.7"]));
}

#[test]
fn an_open_range_beside_a_later_major_version_is_not_taken_for_one_without_a_fix() {
    let both = [(CONTAINERD, OPEN), ("github.com/containerd/containerd/v2", r#"[{"introduced":"2.1.0"},{"fixed":"2.1.9"}]"#)];
    assert_eq!(programs(&go("GO-2026-5338", "UNREVIEWED", "…", &both)), one("containerd", &["2.1.0..2.1.9"]));
    assert_eq!(programs(&go("GO-2026-5338", "REVIEWED", "…", &both[..1])), [], "nor is it one of the second major version");
}

#[test]
fn docker_is_fixed_by_the_release_that_the_tag_of_its_module_stands_for() {
    let three = |fixed: &str| {
        let later = format!(r#"[{{"introduced":"0"}},{{"fixed":"{fixed}"}}]"#);
        programs(&go(
            "GO-2026-4887",
            "UNREVIEWED",
            "…",
            &[("github.com/docker/docker", OPEN), ("github.com/moby/moby", OPEN), ("github.com/moby/moby/v2", &later)],
        ))
    };
    assert_eq!(three("2.0.0-beta.8"), one("docker", &["0..29.3.1"]));
    assert_eq!(three("2.0.0-beta.14"), one("docker", &["0..29.5.1"]));
    assert_eq!(three("2.0.0-beta.99"), [], "a tag of which no release is known");
    let old = [("github.com/docker/docker", r#"[{"introduced":"28.2.0+incompatible"},{"fixed":"28.3.3+incompatible"}]"#)];
    assert_eq!(programs(&go("GO-2025-3830", "UNREVIEWED", "…", &old)), one("docker", &["28.2.0..28.3.3"]));
}

/// CVE-2024-41110: Docker counted 19.03, which semver does not read; the rest of the record counts all the same.
#[test]
fn numbers_with_leading_zeros_lose_no_range() {
    let events = r#"[{"introduced":"19.0.0+incompatible"},{"fixed":"19.03.16+incompatible"},{"introduced":"27.1.0+incompatible"},{"fixed":"27.1.1+incompatible"}]"#;
    let both = [("github.com/moby/moby", events), ("github.com/docker/docker", events)];
    assert_eq!(programs(&go("GO-2024-3005", "REVIEWED", "…", &both)), one("docker", &["19.0.0..19.3.16", "27.1.0..27.1.1"]));
}

#[test]
fn an_unreviewed_record_of_all_versions_ever_tells_none() {
    let crio = [("github.com/cri-o/cri-o", OPEN)];
    assert_eq!(programs(&go("GO-2025-3897", "UNREVIEWED", "…", &crio)), []);
    assert_eq!(programs(&go("GO-2025-3897", "REVIEWED", "…", &crio)), one("cri-o", &["0.."]));
}

#[test]
fn ranges_in_the_programs_own_numbers_come_before_the_modules() {
    let text = r#"{"schema_version":"1.3.1","id":"GO-2025-3543","modified":"0001-01-01T00:00:00Z","affected":[{"package":{"name":"github.com/opencontainers/runc","ecosystem":"Go"},
        "ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}],"ecosystem_specific":{"custom_ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1.2.6"}]}]}}]}"#;
    assert_eq!(programs(text), one("runc", &["0..1.2.6"]));
}

#[test]
fn githubs_copy_of_a_go_record_is_left_to_go() {
    let content =
        accepted("x.json", &go("GHSA-m6hq-p25p-ffr2", "REVIEWED", "…", &[(CONTAINERD, r#"[{"introduced":"0"},{"fixed":"2.0.7"}]"#)]));
    assert!(content.feeds.is_empty());
}

#[rstest]
#[case("Node Denial of Service via kubelet Checkpoint API in k8s.io/kubernetes", &["kubelet"])]
#[case("Vulnerable to policy bypass in kube-apiserver in k8s.io/kubernetes", &["kube-apiserver"])]
#[case("XML Entity Expansion in Kubernetes API server in k8s.io/kubernetes", &["kube-apiserver"])]
#[case("Nil pointer dereference in KCM after v1 HPA patch request in k8s.io/kubernetes", &["kube-controller-manager"])]
#[case("Kube-proxy may unintentionally forward traffic in k8s.io/kubernetes", &["kube-proxy"])]
#[case("Symlink Attack in kubectl cp in k8s.io/kubernetes", &[])]
#[case("Insufficient input sanitization on Windows nodes leads to privilege escalation in k8s.io/kubernetes", &[])]
#[case("Improper Authentication in Kubernetes in k8s.io/kubernetes", &["kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubelet"])]
fn a_record_of_kubernetes_is_about_the_components_it_names(#[case] summary: &str, #[case] expect: &[&str]) {
    let found = programs(&go("GO-2025-1", "REVIEWED", summary, &[("k8s.io/kubernetes", r#"[{"introduced":"0"},{"fixed":"1.29.14"}]"#)]));
    assert_eq!(found.iter().map(|(component, _)| component.as_str()).collect::<Vec<_>>(), expect);
}

#[test]
fn a_record_of_kubernetes_that_names_no_component_says_so_or_is_known() {
    let text = go(
        "GO-2025-3915",
        "REVIEWED",
        "Nodes can delete themselves",
        &[("k8s.io/kubernetes", r#"[{"introduced":"0"},{"fixed":"1.31.12"}]"#)],
    );
    let content = accepted("x.json", &text);
    assert!(advisories(&content).iter().all(|advisory| matches!(advisory.needs.as_slice(), [Need::Other(_)])));
    let known = accepted("x.json", &text.replace("CVE-2026-1000", "CVE-2025-5187"));
    let [advisory] = advisories(&known)[..] else { panic!("one") };
    assert_eq!((advisory.component.as_str(), advisory.needs.len()), ("kube-apiserver", 0));
}

#[test]
fn what_a_record_of_kubernetes_imports_tells_the_component() {
    let text = go(
        "GO-2024-3286",
        "REVIEWED",
        "Arbitrary command execution",
        &[("k8s.io/kubernetes", r#"[{"introduced":"0"},{"fixed":"1.28.12"}]"#)],
    );
    let text = text.replace(
        r#""ranges""#,
        r#""ecosystem_specific":{"imports":[{"path":"k8s.io/kubernetes/pkg/volume/git_repo","symbols":["x"]}]},"ranges""#,
    );
    assert_eq!(programs(&text), one("kubelet", &["0..1.28.12"]));
}

#[test]
fn two_fixes_in_one_series_count_as_the_higher() {
    let content = accepted("x.json", crate::fixture("CVE-2024-53150.osv.json"));
    let ranges = short(&advisories(&content)[0].ranges);
    assert_eq!(ranges, ["5.4.0..5.4.287", "5.5.0..5.10.231", "5.11.0..5.15.175", "5.16.0..6.1.120"]);
    assert_eq!(content.ignored["a range that ends before it starts"], 1);
}
