//! Who is compared with whom, and which version counts as the newest of a fleet.

use holdfast_checks::facts::{Kernel, Listing, Node, NodeFacts, Observed, Os, Package, Reason, Source, SourceKind, Unavailable};
use holdfast_checks::versions::fleet::{Cohort, Level, Lined, Newest, Order, image, lay_over, lined, newest};
use holdfast_checks::versions::{FleetPlace, KnowledgeFacts, Link, VersionFacts};
use proptest::prelude::*;
use rstest::rstest;

fn known<T>(value: T) -> Observed<T> {
    Observed::known(value, Source::new(SourceKind::Derived, "test"), 0)
}

fn os(id: &str, version: &str, fields: &[(&str, &str)]) -> Os {
    Os {
        id: id.to_owned(),
        id_like: Vec::new(),
        version_id: version.to_owned(),
        pretty_name: String::new(),
        fields: fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    }
}

/// A node with a kernel whose link names these versions.
fn node(release: &str, version: &str, package: Option<&str>, upstream: Option<&str>) -> NodeFacts {
    let mut facts = NodeFacts::unread(Node::unnamed(), &Unavailable::new(Reason::NotSupported, "not read"));
    facts.os = known(os("debian", "12", &[]));
    facts.kernel = known(Kernel::unread(release, version));
    let mut kernel = Link { vendor: "debian".to_owned(), series: "6.1".to_owned(), ..Link::unread("kernel", "kernel", release) };
    kernel.package = package.map_or(kernel.package, |package| known(package.to_owned()));
    kernel.upstream = upstream.map_or(kernel.upstream, |upstream| known(upstream.to_owned()));
    let knowledge = KnowledgeFacts { as_of: String::new(), age_days: 0, feeds: Vec::new(), wanted: String::new() };
    let os = known(Link::unread("os", "os", "Debian 12"));
    facts.versions = known(VersionFacts { os, kernel: known(kernel), components: known(Listing::complete(Vec::new())), knowledge });
    facts
}

fn kernel(facts: &NodeFacts) -> &Link {
    facts.versions.value().unwrap().kernel.value().unwrap()
}

const BUILD: &str = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.153-1 (2025-09-20)";

#[rstest]
#[case::versioned(os("debian", "12", &[]), "debian 12")]
#[case::version_before_build(os("cos", "125", &[("BUILD_ID", "19216.0.0")]), "cos 125")]
#[case::rolling(os("arch", "", &[("BUILD_ID", "rolling")]), "arch rolling")]
#[case::variant(os("core", "", &[("VARIANT_ID", "iot")]), "core iot")]
#[case::nothing_more(os("gentoo", "", &[]), "gentoo")]
#[case::hostile(os("a\u{1b}[31m", &"9".repeat(500), &[]), &format!("a[31m {}", "9".repeat(122)))]
fn an_image_is_named_by_its_distribution_and_release(#[case] os: Os, #[case] expected: &str) {
    assert_eq!(image(&os), expected);
}

#[test]
fn a_kernel_compares_by_its_package_within_its_flavour() {
    let facts = node("6.1.0-40-cloud-amd64", BUILD, Some("6.1.153-1"), Some("6.1.153"));
    let level = Some(Level { order: Order::Dpkg, version: "6.1.153-1".to_owned() });
    assert_eq!(lined(&facts, kernel(&facts)), Lined { line: "debian 6.1 cloud-amd64".to_owned(), level });
}

#[test]
fn without_a_package_upstream_decides_and_without_either_nothing() {
    let exact = node("6.1.153", "", None, Some("6.1.153"));
    assert_eq!(lined(&exact, kernel(&exact)).level, Some(Level { order: Order::Upstream, version: "6.1.153".to_owned() }));
    let neither = node("6.1.0-40-amd64", "", None, None);
    assert_eq!(lined(&neither, kernel(&neither)).level, None);
    let no_version = node("6.1", "", None, Some("latest"));
    assert_eq!(lined(&no_version, kernel(&no_version)).level, None);
}

/// A running rpm kernel prints no epoch, the package database does.
#[test]
fn an_epoch_that_only_some_nodes_tell_does_not_make_them_newer() {
    let mut with = node("6.1.153-175.280.amzn2023.x86_64", "", Some("1:6.1.153-175.280.amzn2023"), None);
    let manager = Package { manager: "rpm".to_owned(), name: "kernel".to_owned(), version: String::new(), origin: String::new() };
    with.kernel.value_mut().unwrap().package = known(manager);
    let without = node("6.1.153-175.280.amzn2023.x86_64", "", Some("6.1.153-175.280.amzn2023"), None);
    assert_eq!(lined(&with, kernel(&with)).level, lined(&without, kernel(&without)).level);
    assert_eq!(lined(&with, kernel(&with)).level.unwrap().order, Order::Rpm);
}

#[rstest]
#[case::one_node_alone(&[("6.1.10-1", 1)], Some(("6.1.10-1", 1)))]
#[case::one_of_a_few(&[("6.1.9-1", 9), ("6.1.10-1", 1)], Some(("6.1.10-1", 1)))]
#[case::one_of_many_is_not_believed(&[("6.1.9-1", 30), ("6.1.999-1", 1)], Some(("6.1.9-1", 20)))]
#[case::two_are(&[("6.1.9-1", 9_000), ("6.1.10-1", 2)], Some(("6.1.10-1", 2)))]
#[case::the_next_that_is(&[("6.1.8-1", 100), ("6.1.9-1", 17), ("6.1.10-1", 1), ("6.1.11-1", 1)], Some(("6.1.9-1", 10)))]
#[case::every_node_its_own(&[("6.1.1-1", 1), ("6.1.2-1", 1)], Some(("6.1.2-1", 1)))]
#[case::nobody(&[], None)]
#[case::counts_that_make_no_sense(&[("6.1.1-1", 0), ("6.1.2-1", -5)], None)]
#[case::counts_at_the_end(&[("6.1.1-1", i64::MAX), ("6.1.2-1", i64::MAX)], Some(("6.1.2-1", 500_000_000_000_000_000)))]
fn the_newest_counts_once_enough_nodes_run_it(#[case] running: &[(&str, i64)], #[case] expected: Option<(&str, i64)>) {
    let expected = expected.map(|(version, nodes)| Newest { version: version.to_owned(), nodes });
    assert_eq!(newest(Order::Dpkg, running), expected);
}

fn laid(mut facts: NodeFacts, running: Option<&Newest>) -> Observed<FleetPlace> {
    let wanted =
        Cohort { component: "kernel".to_owned(), image: "debian 12".to_owned(), line: "debian 6.1 amd64".to_owned(), order: Order::Dpkg };
    lay_over(&mut facts, |cohort| running.filter(|_| *cohort == wanted));
    kernel(&facts).fleet.clone()
}

#[test]
fn a_node_is_behind_when_it_is_older_than_what_counts() {
    let newest = |version: &str| Some(Newest { version: version.to_owned(), nodes: 20 });
    let own = || node("6.1.0-40-amd64", BUILD, Some("6.1.153-1"), None);
    let place = |running: Option<Newest>| laid(own(), running.as_ref()).value().cloned().unwrap();
    let behind = FleetPlace { newest: "6.1.158-1".to_owned(), nodes: 20, behind: true };
    assert_eq!(place(newest("6.1.158-1")), behind);
    assert!(!place(newest("6.1.153-1")).behind, "the same");
    assert!(!place(newest("6.1.99-1")).behind, "one that is ahead of the others");
    assert_eq!(place(None), FleetPlace { newest: "6.1.153-1".to_owned(), nodes: 1, behind: false }, "nobody else");
}

#[test]
fn what_cannot_be_compared_says_why() {
    let mut facts = node("6.1.0-40-amd64", BUILD, Some("6.1.153-1"), None);
    facts.os = Observed::unavailable_because(Reason::PermissionDenied, "no");
    assert!(laid(facts, None).unavailable().unwrap().detail.contains("the system is not known"));
    let neither = laid(node("6.1.0-40-amd64", "", None, None), None);
    assert!(neither.unavailable().unwrap().detail.contains("no exact version"));
    let mut unjudged = node("6.1.0-40-amd64", BUILD, None, None);
    unjudged.versions = Observed::unavailable_because(Reason::Malformed, "as before");
    lay_over(&mut unjudged, |_| None);
    assert_eq!(unjudged.versions.unavailable().unwrap().detail, "as before");
}

proptest! {
    /// One node that lies moves nothing in a fleet of more than twenty.
    #[test]
    fn a_single_liar_makes_no_outliers(honest in 20_i64..10_000, lie in "[0-9a-zA-Z.~+-]{1,40}") {
        let truth = newest(Order::Dpkg, &[("6.1.153-1", honest)]);
        prop_assume!(lie != "6.1.153-1");
        prop_assert_eq!(newest(Order::Dpkg, &[("6.1.153-1", honest), (lie.as_str(), 1)]), truth);
    }

    /// What is said of the number is never more than it is, and at least two fifths of it.
    #[test]
    fn the_number_of_nodes_is_rounded_down(nodes in 2_i64..1_000_000) {
        let said = newest(Order::Upstream, &[("1.2.3", nodes)]).unwrap().nodes;
        prop_assert!(said <= nodes && said * 5 >= nodes * 2, "{} of {}", said, nodes);
    }
}
