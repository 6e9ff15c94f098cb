//! How long an archive of a distribution takes.

use std::fmt::Write as _;
use std::time::Instant;

use holdfast_checks::versions::feeds::{Limits, parse};

/// A record like Ubuntu's: several releases with the versions they had, one package of the patch chain in ten.
fn record(number: usize) -> String {
    let (name, mut affected) = (if number.is_multiple_of(10) { "linux-aws" } else { "openssl" }, String::new());
    for release in ["Ubuntu:Pro:18.04:LTS", "Ubuntu:20.04:LTS", "Ubuntu:22.04:LTS", "Ubuntu:24.04:LTS"] {
        let versions: Vec<_> = (0..20).map(|upload| format!("\"5.15.0-{upload}.{upload}\"")).collect();
        write!(
            affected,
            r#"{}{{"package":{{"ecosystem":"{release}","name":"{name}","purl":"pkg:deb/ubuntu/{name}@5.15.0?arch=source"}},
            "ranges":[{{"type":"ECOSYSTEM","events":[{{"introduced":"0"}},{{"fixed":"5.15.0-{number}.{number}"}}]}}],"versions":[{}],
            "ecosystem_specific":{{"binaries":[{{"binary_name":"{name}","binary_version":"5.15.0-{number}.{number}"}}]}}}}"#,
            if affected.is_empty() { "" } else { "," },
            versions.join(",")
        )
        .unwrap();
    }
    format!(
        r#"{{"schema_version":"1.7.0","id":"UBUNTU-CVE-2025-{number:05}","details":"In the \"kernel\" …\n{}","upstream":["CVE-2025-{number:05}"],
        "severity":[{{"type":"CVSS_V3","score":"CVSS:3.1/AV:L/AC:L/PR:N/UI:R/S:C/C:H/I:H/A:H"}}],"modified":"2026-06-29T11:12:06Z","affected":[{affected}]}}"#,
        "The description goes on for some time. ".repeat(10)
    )
}

#[test]
#[ignore = "prints a figure: run it with --ignored --nocapture"]
fn a_hundred_thousand_records() {
    let records: Vec<String> = (0..1_000).map(record).collect();
    let (mut bytes, mut kept, started) = (0, 0, Instant::now());
    for text in records.iter().cycle().take(100_000) {
        bytes += text.len();
        kept += parse("x.json", text.as_bytes(), Limits::default()).unwrap().feeds.values().map(Vec::len).sum::<usize>();
    }
    let took = started.elapsed();
    println!("100,000 records, {} MiB, {kept} kept: {:.1} µs each", bytes >> 20, took.as_secs_f64() * 10.0);
}
