//! Properties: no bytes make a parser panic, and a document that was changed is read whole or not at all.

use holdfast_checks::versions::feeds::{Limits, detect, parse};
use holdfast_checks::versions::knowledge::Record;
use proptest::prelude::*;

use crate::FIXTURES;

/// JSON of any shape, made of the words that the formats use.
fn json() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "affected",
        "aliases",
        "catalogVersion",
        "cna",
        "containers",
        "count",
        "cveID",
        "cveMetadata",
        "cycle",
        "dataType",
        "dataVersion",
        "dateAdded",
        "dateReleased",
        "ecosystem",
        "eol",
        "events",
        "fixed",
        "id",
        "introduced",
        "iseol",
        "items",
        "kernel",
        "modified",
        "moniker",
        "name",
        "package",
        "ranges",
        "releases",
        "result",
        "schema_version",
        "type",
        "version",
        "versions",
        "vulnerabilities",
        "withdrawn",
        "_kubernetes_io",
        "1.2.1",
        "0",
        "SEMVER",
        "Go",
        "Debian:12",
        "linux",
        "CVE-2026-1000",
        "2026-11-20",
        "6.12.1",
    ]);
    let text = prop_oneof![4 => words.prop_map(str::to_owned), 1 => ".{0,12}"].prop_map(|text| serde_json::to_string(&text).unwrap());
    let leaf = prop_oneof![
        text.clone(),
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        Just("1e999".to_owned()),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((text.clone(), inner), 0..8).prop_map(|fields| format!(
                "{{{}}}",
                fields.iter().map(|(name, value)| format!("{name}:{value}")).collect::<Vec<_>>().join(",")
            )),
        ]
    })
}

/// What a record holds is bounded and printable, whatever it came from.
fn sound(record: &Record) -> bool {
    let text = serde_json::to_string(record).unwrap();
    !text.contains(|c: char| c.is_control()) && !text.contains("\\u00")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..512), name in ".{0,20}") {
        prop_assert!(detect(&name, &bytes).is_ok() || parse(&name, &bytes, Limits::default()).is_err());
    }

    #[test]
    fn no_json_does_harm(text in json()) {
        if let Ok(content) = parse("linux.json", text.as_bytes(), Limits::default()) {
            prop_assert!(content.feeds.values().flatten().all(sound));
        }
    }

    #[test]
    fn a_changed_document_is_read_whole_or_not_at_all(
        fixture in 0..FIXTURES.len(),
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
        cut in 0..4_usize,
    ) {
        let (name, text) = FIXTURES[fixture];
        let mut bytes = text.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes.splice(at..(at + cut).min(bytes.len()), [to]);
        match (detect(name, &bytes), parse(name, &bytes, Limits::default())) {
            (Ok(format), Ok(content)) => {
                prop_assert_eq!(format, content.format);
                prop_assert!(content.feeds.values().flatten().all(sound));
            }
            (Err(_), Ok(_)) => prop_assert!(false, "read without a format"),
            (_, Err(error)) => prop_assert!(error.to_string().len() < 1_000),
        }
    }
}
