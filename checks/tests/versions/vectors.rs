//! Real versions against known vulnerabilities: the built-in data, and records as distributions publish them.

use holdfast_checks::versions::Scheme;
use holdfast_checks::versions::knowledge::{Builder, FeedInfo, Knowledge, Outcome, PackageFix, Range, Record};
use jiff::civil::date;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    component: String,
    version: Option<String>,
    package: Option<String>,
    ecosystem: Option<String>,
    id: String,
    upstream: Option<String>,
    distribution: Option<String>,
    fixed: Option<String>,
    #[serde(default)]
    subscription: bool,
    needs: Option<String>,
    #[serde(rename = "trap")]
    _trap: Option<String>,
}

fn fix(ecosystem: &str, package: &str, id: &str, record: &str, fixed: &str) -> Record {
    Record::Package(PackageFix {
        ecosystem: ecosystem.to_owned(),
        package: package.to_owned(),
        ids: vec![id.to_owned()],
        record: record.to_owned(),
        ranges: vec![Range { introduced: "0".to_owned(), fixed: Some(fixed.to_owned()) }],
        versions: Vec::new(),
        subscription: ecosystem.contains(":Pro:"),
    })
}

/// What distributions say of the vectors' vulnerabilities.
fn imported() -> Knowledge {
    let (leaky, fail) = ("CVE-2024-21626", "CVE-2026-31431");
    let records = vec![
        fix("Ubuntu:22.04:LTS", "runc", leaky, "UBUNTU-CVE-2024-21626", "1.1.7-0ubuntu1~22.04.2"),
        fix("Ubuntu:Pro:18.04:LTS", "runc", leaky, "UBUNTU-CVE-2024-21626", "1.1.4-0ubuntu1~18.04.2+esm1"),
        fix("AlmaLinux:8", "kernel", fail, "ALSA-2026:A001", "4.18.0-553.121.1.el8_10"),
        fix("AlmaLinux:8", "kernel", fail, "ALSA-2026:13577", "4.18.0-553.123.1.el8_10"),
        fix("AlmaLinux:9", "kernel", fail, "ALSA-2026:13565", "5.14.0-611.54.1.el9_7"),
        fix("AlmaLinux:9", "kernel", fail, "ALSA-2026:19225", "5.14.0-687.5.3.el9_8"),
        fix("AlmaLinux:10", "kernel-abi-stablelists", fail, "ALSA-2026:13566", "6.12.0-124.55.1.el10_1"),
        fix("AlmaLinux:10", "kernel-tools-libs-devel", fail, "ALSA-2026:19074", "6.12.0-211.7.3.el10_2"),
    ];
    let mut builder = Builder::new().unwrap();
    let info = FeedInfo {
        name: "osv/test".to_owned(),
        as_of: date(2026, 11, 18),
        source: "OSV".to_owned(),
        digest: "1".to_owned(),
        complete: true,
    };
    builder.feed(info, records);
    builder.build()
}

fn word(outcome: Option<&Outcome>) -> (&'static str, Option<&str>) {
    match outcome {
        None => ("silent", None),
        Some(Outcome::Affected { fixed }) => ("affected", fixed.as_deref()),
        Some(Outcome::Fixed { since }) => ("fixed", Some(since.as_str())),
        Some(Outcome::NotAffected) => ("not affected", None),
    }
}

#[test]
fn every_advisory_vector_holds() {
    let vectors: Vec<Vector> = serde_saphyr::from_str(include_str!("../data/advisory-vectors.yaml")).unwrap();
    assert!(vectors.len() > 50);
    let data = imported();
    for vector in vectors {
        if let (Some(version), Some(expected)) = (&vector.version, &vector.upstream) {
            let all = data.upstream(&vector.component, version);
            let found = all.iter().find(|(advisory, _)| advisory.id == vector.id);
            let (said, fixed) = word(found.map(|(_, outcome)| outcome));
            assert_eq!(said, expected, "{vector:?}: {found:?}");
            if said == "affected" {
                assert_eq!(fixed, vector.fixed.as_deref(), "{vector:?}");
            }
            if vector.needs.is_some() {
                let needs = &found.unwrap().0.needs;
                assert!(format!("{needs:?}").contains("KubeletReadOnlyPort"), "{vector:?}: {needs:?}");
            }
        }
        if let (Some(version), Some(ecosystem), Some(expected)) = (&vector.package, &vector.ecosystem, &vector.distribution) {
            let scheme = if ecosystem.starts_with("Ubuntu") { Scheme::Dpkg } else { Scheme::Rpm };
            let answer = data.package(ecosystem, &vector.component, scheme, version).unwrap_or_else(|| panic!("{vector:?}"));
            let found = answer.outcomes.iter().find(|outcome| outcome.id == vector.id);
            assert_eq!(word(found.map(|found| &found.outcome)).0, expected, "{vector:?}: {found:?}");
            assert_eq!(found.is_some_and(|found| found.subscription), vector.subscription, "{vector:?}");
        }
    }
}
