//! What the documents of each format say.

use holdfast_checks::versions::feeds::{Format, detect};

use crate::{FIXTURES, accepted, fixture, told};

#[test]
fn what_each_document_says() {
    let all: Vec<_> = FIXTURES.iter().map(|(name, text)| format!("{name}: {}\n", told(&accepted(name, text)))).collect();
    insta::assert_snapshot!(all.concat());
}

#[test]
fn formats_are_told_by_what_is_in_them() {
    let of = |name: &str| detect("download", fixture(name).as_bytes()).unwrap();
    assert_eq!(of("debian.v1.json"), Format::EndOfLifeV1);
    assert_eq!(of("products-full.v1.json"), Format::EndOfLifeV1);
    assert_eq!(of("linux.json"), Format::EndOfLifeV0);
    assert_eq!(of("kev.json"), Format::Kev);
    assert_eq!(of("releases.json"), Format::KernelReleases);
    assert_eq!(of("CVE-2026-43284.json"), Format::KernelCve);
    assert_eq!(of("kubernetes-cve.json"), Format::KubernetesCve);
    for osv in ["UBUNTU-CVE-2024-21626.json", "ALSA-2026-13565.json", "GO-2025-4108.json", "one-line.json"] {
        assert_eq!(of(osv), Format::Osv, "{osv}");
    }
}

#[test]
fn line_ends_and_byte_order_marks_of_other_systems_change_nothing() {
    for (name, text) in FIXTURES {
        let other = format!("\u{feff}{}", text.replace('\n', "\r\n"));
        assert_eq!(accepted(name, text), accepted(name, &other), "{name}");
    }
}

#[test]
fn frozen_booleans_never_decide_where_a_date_does() {
    let turned =
        |text: &str| text.replace(r#""isEol": false"#, r#""isEol": true"#).replace(r#""isMaintained": true"#, r#""isMaintained": false"#);
    let text = r#"{"schema_version":"1.2.1","result":{"name":"debian","releases":[{"name":"12","isEol": false,"isMaintained": true,"eolFrom":"2026-07-11"}]}}"#;
    assert_eq!(accepted("a.json", text), accepted("a.json", &turned(text)));
}

/// The newest of `CentOS` was `8 (2111)`, Debian's once `1.3.1 r.6`: no version, and no reason to refuse all products.
#[test]
fn a_newest_release_that_is_no_version_is_left_out() {
    let text = fixture("debian.v1.json").replace("12.15", "8 (2111)");
    let content = accepted("debian.json", &text);
    assert_eq!(content.ignored["a newest release that is no version, like `8 (2111)`"], 1);
    assert!(told(&content).contains(r#""cycle":"12","released":"2023-06-10","eol":"2026-07-11","extended":"2028-06-30","lts":false,"precision":null,"latest":null,"latest_date":null"#));
}

#[test]
fn the_product_of_v0_is_the_files_name_in_any_of_its_spellings() {
    for name in ["linux.json", "downloads/linux.json", "linux-kernel.json", "C:\\feeds\\linux.json", "linux.v0.json"] {
        assert!(accepted(name, fixture("linux.json")).feeds.contains_key("endoflife/linux-kernel"), "{name}");
    }
}

#[test]
fn fields_of_tomorrow_are_no_reason_to_refuse() {
    for (name, text) in FIXTURES.into_iter().filter(|(_, text)| text.starts_with('{')) {
        let more = text.replacen('{', r#"{"x_new": {"deep": [1, 2.5e300, null, {"affected": 1}]}, "#, 1);
        assert_eq!(accepted(name, text), accepted(name, &more), "{name}");
    }
}

#[test]
fn a_field_given_twice_is_refused_where_it_counts() {
    let twice = fixture("kev.json").replacen(r#""count": 3"#, r#""count": 3, "count": 3"#, 1);
    assert!(crate::refusal("kev.json", twice.as_bytes()).contains("duplicate field `count`"));
}
