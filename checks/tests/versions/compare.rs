//! Comparators on real versions, and as total orders over any text.

use std::cmp::Ordering;

use holdfast_checks::versions::compare::{dpkg, rpm, upstream};
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

proptest! {
    #[test]
    fn both_orders_are_total(a in "[0-9a-b.~^:é+-]{0,9}", b in "[0-9a-b.~^:é+-]{0,9}", c in "[0-9a-b.~^:é+-]{0,9}") {
        for order in [dpkg, rpm] {
            prop_assert_eq!(order(&a, &a), Ordering::Equal);
            prop_assert_eq!(order(&a, &b), order(&b, &a).reverse());
        }
        let mut three = [&a, &b, &c];
        three.sort_by(|a, b| dpkg(a, b));
        prop_assert!(dpkg(three[0], three[2]) != Ordering::Greater);
        upstream(&a);
    }
}
