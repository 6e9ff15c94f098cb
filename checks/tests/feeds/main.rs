//! Feeds: what each format says, what is refused and why, and that no input does harm.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail"
)]

mod arbitrary;
mod documents;
mod osv;
mod refused;
mod speed;

use std::fmt::Write as _;

use holdfast_checks::versions::feeds::{Content, FeedError, Limits, parse};
use holdfast_checks::versions::knowledge::{Advisory, PackageFix, Record};

/// Fixtures: a file's name and its bytes.
const FIXTURES: [(&str, &str); 13] = [
    ("debian.v1.json", include_str!("data/debian.v1.json")),
    ("products-full.v1.json", include_str!("data/products-full.v1.json")),
    ("linux.json", include_str!("data/linux.json")),
    ("eks.json", include_str!("data/eks.json")),
    ("kev.json", include_str!("data/kev.json")),
    ("releases.json", include_str!("data/releases.json")),
    ("CVE-2026-43284.json", include_str!("data/CVE-2026-43284.json")),
    ("kubernetes-cve.json", include_str!("data/kubernetes-cve.json")),
    ("UBUNTU-CVE-2024-21626.json", include_str!("data/UBUNTU-CVE-2024-21626.json")),
    ("ALSA-2026-13565.json", include_str!("data/ALSA-2026-13565.json")),
    ("GO-2025-4108.json", include_str!("data/GO-2025-4108.json")),
    ("CVE-2024-53150.osv.json", include_str!("data/CVE-2024-53150.osv.json")),
    (
        "one-line.json",
        r#"{"schema_version":"1.6.0","id":"RHSA-2024:4546","modified":"2024-09-02T14:30:00Z","upstream":["CVE-2023-45288"],"affected":[{"package":{"name":"cri-o","ecosystem":"Red Hat:openshift:4.15::el9"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"0:1.28.8-5.rhaos4.15.el9"}]}]}]}"#,
    ),
];

fn fixture(name: &str) -> &'static str {
    FIXTURES.iter().find(|(known, _)| *known == name).expect("a fixture of that name").1
}

fn read(name: &str, text: &str) -> Result<Content, FeedError> {
    parse(name, text.as_bytes(), Limits::default())
}

fn accepted(name: &str, text: &str) -> Content {
    read(name, text).unwrap_or_else(|error| panic!("{error}"))
}

/// Why a document is refused.
fn refusal(name: &str, bytes: &[u8]) -> String {
    match parse(name, bytes, Limits::default()) {
        Ok(content) => panic!("accepted as {content:?}"),
        Err(error) => error.to_string(),
    }
}

/// What a document says, one record a line.
fn told(content: &Content) -> String {
    let mut told = format!("{} ({}), as of {:?}\n", content.format.label(), serde_json::to_string(&content.format).unwrap(), content.as_of);
    for (feed, records) in &content.feeds {
        writeln!(told, "{feed}").unwrap();
        for record in records {
            writeln!(told, "  {}", serde_json::to_string(record).unwrap()).unwrap();
        }
    }
    for (reason, count) in &content.ignored {
        writeln!(told, "ignored {count}: {reason}").unwrap();
    }
    told
}

fn packages(content: &Content) -> Vec<&PackageFix> {
    let records = content.feeds.values().flatten();
    records.filter_map(|record| if let Record::Package(fix) = record { Some(fix) } else { None }).collect()
}

fn advisories(content: &Content) -> Vec<&Advisory> {
    let records = content.feeds.values().flatten();
    records.filter_map(|record| if let Record::Advisory(advisory) = record { Some(advisory) } else { None }).collect()
}
