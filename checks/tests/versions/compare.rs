//! Comparators on real versions, and as total orders over any text.

use std::cmp::Ordering;

use holdfast_checks::versions::compare::{Scheme, dpkg, rpm, suffixed, upstream, without_backport, without_epoch, without_rebuild};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    comparators: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    cmp: String,
    a: String,
    b: String,
    result: String,
}

#[test]
fn every_comparator_vector_holds() {
    let vectors: Vectors = serde_saphyr::from_str(include_str!("../data/version-vectors.yaml")).expect("the vectors parse");
    assert_eq!(vectors.comparators.len(), 10);
    for Vector { cmp, a, b, result } in vectors.comparators {
        let name = format!("{cmp} {a} {b}");
        let expected = if result == "less" { Ordering::Less } else { Ordering::Greater };
        match cmp.as_str() {
            "dpkg" => assert_eq!(dpkg(&a, &b), expected, "{name}"),
            "rpm" => assert_eq!(rpm(&a, &b), expected, "{name}"),
            // What semver alone gets wrong: a provider's suffix is not a pre-release.
            "semver" => {
                let (a, b) = (upstream(&a).expect("a version"), upstream(&b).expect("a version"));
                assert_eq!(a.cmp_precedence(&b), Ordering::Equal, "{name}");
            }
            other => panic!("no comparator {other}"),
        }
    }
}

#[test]
fn dpkg_sorts_as_its_manual_says() {
    let sorted = ["1.0~~", "1.0~~a", "1.0~", "1.0", "1.0-1~bpo12+1", "1.0-1", "1.0-1+deb12u1", "1.0a", "1.0+", "1.0.1", "1.10", "1:0.1"];
    for pair in sorted.windows(2) {
        assert_eq!(dpkg(pair[0], pair[1]), Ordering::Less, "{pair:?}");
    }
    assert_eq!(dpkg("1.0", "1.0-0"), Ordering::Equal);
    assert_eq!(dpkg("0:1.00", "1.0"), Ordering::Equal);
    assert_eq!(dpkg("1.99999999999999999999999", "1.100000000000000000000000"), Ordering::Less);
}

#[test]
fn rpm_sorts_as_its_own_tests_say() {
    for (a, b, expected) in [
        ("1.0", "1.0", Ordering::Equal),
        ("2.0.1a", "2.0.1", Ordering::Greater),
        ("5.5p1", "5.5p10", Ordering::Less),
        ("10xyz", "10.1xyz", Ordering::Less),
        ("xyz10", "xyz10.1", Ordering::Less),
        ("xyz.4", "8", Ordering::Less),
        ("5.5p2", "5.6p1", Ordering::Less),
        ("6.0.rc1", "6.0", Ordering::Greater),
        ("10b2", "10a1", Ordering::Greater),
        ("1.0010", "1.9", Ordering::Greater),
        ("2_0", "2.0", Ordering::Equal),
        ("1.0~rc1", "1.0", Ordering::Less),
        ("1.0~rc1~git123", "1.0~rc1", Ordering::Less),
        ("1.0^", "1.0", Ordering::Greater),
        ("1.0^git1", "1.01", Ordering::Less),
        ("1.0^20160101", "1.0.1", Ordering::Less),
        ("1.0~rc1^git1", "1.0~rc1", Ordering::Greater),
        ("1.0^git1~pre", "1.0^git1", Ordering::Less),
        ("4.18.0-553.16.1.el8_10", "4.18.0-553.5.1.el8_10", Ordering::Greater),
        ("1:1.0-1", "2.0-1", Ordering::Greater),
    ] {
        assert_eq!(rpm(a, b), expected, "{a} {b}");
        assert_eq!(rpm(b, a), expected.reverse(), "{b} {a}");
    }
}

#[test]
fn upstream_drops_what_providers_append_and_keeps_real_prereleases() {
    for (text, version) in [
        ("v1.30.5-gke.1014001", "1.30.5"),
        ("v1.24.16-eks-a483404", "1.24.16"),
        ("1.7.22-k3s1", "1.7.22"),
        ("v1.31.2+rke2r1", "1.31.2"),
        ("1.6.20~ds1", "1.6.20"),
        ("1.4.0-rc.3", "1.4.0-rc.3"),
        ("v1.31.0-beta.0-eks-1", "1.31.0-beta.0"),
        ("7.2", "7.2.0"),
    ] {
        assert_eq!(upstream(text).map(|version| version.to_string()).as_deref(), Some(version), "{text}");
    }
    for text in ["", "v", "latest", "1", "1.2.3.4", "-1.2.3"] {
        assert_eq!(upstream(text), None, "{text}");
    }
}

#[test]
fn a_candidates_number_counts_as_a_number() {
    let sorted = [
        "no version",
        "1.0.0-alpha.2",
        "1.0.0~beta1",
        "v1.0.0-rc9",
        "1.0.0-rc.10+rke2r1",
        "1.0.0~rc93+ds1",
        "1.0.0",
        "1.0.1-k3s1",
        "1.10.0",
        "19.03.6",
    ];
    for pair in sorted.windows(2) {
        assert_eq!(suffixed(pair[0], pair[1]), Ordering::Less, "{pair:?}");
    }
    assert_eq!(suffixed("v1.30.5-gke.1014001", "1.30.5+k3s1"), Ordering::Equal);
    assert_eq!(suffixed("1.6.23+bottlerocket", "1.6.23"), Ordering::Equal);
    assert_eq!(suffixed("7.2", "7.2.0"), Ordering::Equal);
}

#[test]
fn marks_that_only_one_side_has_are_stripped() {
    for (text, source) in [
        ("6.12.90-2~bpo12+1", "6.12.90-2"),
        ("6.12.90-2", "6.12.90-2"),
        ("6.12.90-2~bpo12", "6.12.90-2~bpo12"),
        ("1.0~bpo-1", "1.0~bpo-1"),
        ("1.0-1~bpo12+1x", "1.0-1~bpo12+1x"),
    ] {
        assert_eq!(without_backport(text), source);
    }
    for (text, source) in
        [("1.6.20~ds1-1+b2", "1.6.20~ds1-1"), ("1.0-1+deb12u1", "1.0-1+deb12u1"), ("1.0+b", "1.0+b"), ("2.0+beta1", "2.0+beta1")]
    {
        assert_eq!(without_rebuild(text), source);
    }
    assert_eq!(without_epoch("1:6.1.159-181.297.amzn2023"), "6.1.159-181.297.amzn2023");
    assert_eq!(without_epoch("6.1.159-181"), "6.1.159-181");
    // What the epoch in the feed would have hidden.
    assert_eq!(Scheme::Rpm.compare("6.1.170-210.320.amzn2023", without_epoch("1:6.1.159-181.297.amzn2023")), Ordering::Greater);
    assert_eq!(Scheme::Dpkg.compare(without_backport("6.12.90-2~bpo12+1"), "6.12.90-2"), Ordering::Equal);
}

proptest! {
    #[test]
    fn every_order_is_total(a in TEXT, b in TEXT, c in TEXT) {
        for order in [dpkg, rpm, suffixed] {
            prop_assert_eq!(order(&a, &a), Ordering::Equal);
            prop_assert_eq!(order(&a, &b), order(&b, &a).reverse());
            // Of three, what is below the middle is below the upper one, and equals of equals are equal.
            for (x, y, z) in [(&a, &b, &c), (&a, &c, &b), (&b, &a, &c), (&b, &c, &a), (&c, &a, &b), (&c, &b, &a)] {
                if order(x, y) != Ordering::Greater && order(y, z) != Ordering::Greater {
                    prop_assert!(order(x, z) != Ordering::Greater, "{} {} {}", x, y, z);
                }
            }
        }
    }

    #[test]
    fn what_looks_like_a_version_orders_as_well(a in "v?[0-2]\\.[0-2](\\.[0-2])?[-~+](rc|beta|k3s|eks|bpo)[.]?[0-9]{0,2}", b in "[0-2]\\.[0-2](\\.[0-2])?[-~+](rc|beta|k3s|eks)[.]?[0-9]{0,2}") {
        prop_assert_eq!(suffixed(&a, &b), suffixed(&b, &a).reverse());
        prop_assert!(without_backport(&a).len() <= a.len());
    }
}

const TEXT: &str = "[0-9a-b.~^:é+-]{0,9}";
