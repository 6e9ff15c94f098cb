//! What is taken, what it replaces, and what is said.

use std::path::Path;

use holdfast_collector::feeds::Output;

use crate::rig::{Rig, archive, debian, kev, osv, osv_of};

const THREE: [(&str, &str, &str); 3] = [
    ("DEBIAN-CVE-2026-0001", "2026-11-01", "6.1.150-1"),
    ("DEBIAN-CVE-2026-0002", "2026-11-10", "6.1.151-1"),
    ("DEBIAN-CVE-2026-0003", "2026-10-01", "6.1.152-1"),
];

#[test]
fn what_is_imported_is_known_and_said() {
    let rig = Rig::new();
    let one = rig.file("known_exploited_vulnerabilities.json", kev("2026-11-18", &["CVE-2026-31431", "CVE-2021-44228"]));
    let all = rig.file("all.zip", debian(&THREE));
    let (code, text) = rig.import(&[&one, &all]);
    assert_eq!(code, 0, "{text}");
    insta::assert_snapshot!(text);
    let library = rig.library();
    assert_eq!(library.knowledge.exploited("CVE-2026-31431").unwrap().added.to_string(), "2026-05-01");
    let known: Vec<(&str, &str)> = library.knowledge.feeds().iter().map(|feed| (feed.name.as_str(), feed.source.as_str())).collect();
    assert_eq!(known, [("built-in", "built-in snapshot"), ("kev", "CISA KEV"), ("osv/Debian", "OSV, Debian")]);
}

#[test]
fn the_status_says_age_and_what_is_missing() {
    let rig = Rig::new();
    insta::assert_snapshot!("status_empty", rig.status(Output::Table).1);
    let stale = rig.file("known_exploited_vulnerabilities.json", kev("2026-08-07", &["CVE-2026-31431"]));
    let all = rig.file("all.zip", debian(&THREE));
    rig.import(&[&stale, &all]);
    insta::assert_snapshot!("status_table", rig.status(Output::Table).1);
    let json = rig.status(Output::Json).1;
    let kept: Vec<&str> = json.lines().filter(|line| !line.contains("\"sha256\"")).collect();
    insta::assert_snapshot!("status_json", kept.join("\n"));
}

#[test]
fn an_archive_replaces_its_feed_and_nothing_else() {
    let rig = Rig::new();
    rig.import(&[&rig.file("all.zip", debian(&THREE)), &rig.file("kev.json", kev("2026-11-18", &["CVE-2026-31431"]))]);
    let (code, text) = rig.import(&[&rig.file("all.zip", debian(&THREE[1..2]))]);
    assert_eq!(code, 0, "{text}");
    insta::assert_snapshot!(text);
    let records: Vec<(String, u64)> = rig.library().feeds.into_iter().map(|feed| (feed.name, feed.records)).collect();
    assert_eq!(records, [("kev".to_owned(), 1), ("osv/Debian".to_owned(), 1)]);
}

#[test]
fn single_records_are_laid_over_by_id_and_make_the_rest_no_newer() {
    let rig = Rig::new();
    rig.import(&[&rig.file("all.zip", debian(&THREE))]);
    let newer = rig.file("DEBIAN-CVE-2026-0001.json", osv("DEBIAN-CVE-2026-0001", "2026-11-19", "6.1.160-1"));
    let more = rig.file("DEBIAN-CVE-2026-0009.json", osv("DEBIAN-CVE-2026-0009", "2026-11-19", "6.1.161-1"));
    let (code, text) = rig.import(&[&newer, &more]);
    assert_eq!(code, 0, "{text}");
    insta::assert_snapshot!(text);
    let compiled = records(&rig, "osv%2FDebian.feed");
    assert_eq!(
        compiled,
        [
            "DEBIAN-CVE-2026-0001 6.1.160-1",
            "DEBIAN-CVE-2026-0002 6.1.151-1",
            "DEBIAN-CVE-2026-0003 6.1.152-1",
            "DEBIAN-CVE-2026-0009 6.1.161-1"
        ]
    );
}

#[test]
fn a_record_that_was_withdrawn_is_taken_out_again() {
    let rig = Rig::new();
    rig.import(&[&rig.file("all.zip", debian(&THREE))]);
    let text = osv("DEBIAN-CVE-2026-0002", "2026-11-19", "6.1.151-1").replacen('{', "{\"withdrawn\": \"2026-11-19T00:00:00Z\",", 1);
    let (code, text) = rig.import(&[&rig.file("DEBIAN-CVE-2026-0002.json", text)]);
    assert_eq!(code, 0, "{text}");
    insta::assert_snapshot!(text);
    assert_eq!(records(&rig, "osv%2FDebian.feed"), ["DEBIAN-CVE-2026-0001 6.1.150-1", "DEBIAN-CVE-2026-0003 6.1.152-1"]);
}

#[test]
fn single_records_without_an_export_are_as_old_as_the_newest() {
    let rig = Rig::new();
    let one = rig.file("1.json", osv("DEBIAN-CVE-2026-0001", "2026-11-19", "6.1.160-1"));
    let two = rig.file("2.json", osv("DEBIAN-CVE-2026-0002", "2025-11-19", "6.1.161-1"));
    assert_eq!(rig.import(&[&one]).0, 0);
    let (code, text) = rig.import(&[&two]);
    assert_eq!(code, 0, "an older record of another vulnerability is not an older feed: {text}");
    let feeds = rig.library().feeds;
    assert_eq!((feeds[0].as_of.as_str(), feeds[0].records), ("2026-11-19", 2));
}

#[test]
fn an_export_of_everything_replaces_every_feed_in_it() {
    let rig = Rig::new();
    let (debian, ubuntu) = (
        osv("DEBIAN-CVE-2026-0001", "2026-11-01", "6.1.150-1"),
        osv_of("Ubuntu:22.04:LTS", "UBUNTU-CVE-2026-0001", "2026-11-02", "5.15.0-1.2"),
    );
    let all = rig.file(
        "all.zip",
        archive(&[("Debian/1.json", debian.as_bytes()), ("Ubuntu/1.json", ubuntu.as_bytes()), ("README.md", b"x"), ("more.zip", b"PK")]),
    );
    let (code, text) = rig.import(&[&all]);
    assert_eq!(code, 0, "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn a_few_records_for_others_do_not_take_the_place_of_their_export() {
    let rig = Rig::new();
    rig.import(&[&rig.file("all.zip", debian(&THREE))]);
    let ubuntu: Vec<(String, String)> = (0..200)
        .map(|number| {
            let id = format!("UBUNTU-CVE-2026-{number:04}");
            let mut text: serde_json::Value = serde_json::from_str(&osv_of("Ubuntu:22.04:LTS", &id, "2026-11-15", "5.15.0-1.2")).unwrap();
            if number == 7 {
                let mut other = text["affected"][0].clone();
                other["package"]["ecosystem"] = "Debian:12".into();
                text["affected"].as_array_mut().unwrap().push(other);
            }
            (format!("{id}.json"), text.to_string())
        })
        .collect();
    let entries: Vec<(&str, &[u8])> = ubuntu.iter().map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
    let (code, text) = rig.import(&[&rig.file("ubuntu.zip", archive(&entries))]);
    assert_eq!(code, 0, "{text}");
    insta::assert_snapshot!(text);
    assert_eq!(records(&rig, "osv%2FDebian.feed").len(), 4);
}

#[test]
fn a_date_in_the_future_is_taken_as_today_and_said() {
    let rig = Rig::new();
    let (code, text) = rig.import(&[&rig.file("kev.json", kev("2099-01-01", &["CVE-2026-31431"]))]);
    assert_eq!(code, 0, "{text}");
    insta::assert_snapshot!(text);
    let (code, _) = rig.import(&[&rig.file("kev.json", kev("2026-11-20", &["CVE-2026-31431"]))]);
    assert_eq!(code, 0, "it does not lock out what comes today");
}

#[test]
fn older_is_refused_unless_it_is_wanted() {
    let rig = Rig::new();
    rig.import(&[&rig.file("kev.json", kev("2026-11-18", &["CVE-2026-31431"]))]);
    let older = rig.file("kev.json", kev("2026-11-01", &["CVE-2021-44228"]));
    let (code, text) = rig.import(&[&older]);
    assert_eq!(code, 2);
    insta::assert_snapshot!(text);
    assert!(rig.library().knowledge.exploited("CVE-2021-44228").is_none());
    assert_eq!(rig.import_older(&older).0, 0);
    assert!(rig.library().knowledge.exploited("CVE-2021-44228").is_some());
}

#[test]
fn a_feed_can_be_removed() {
    let rig = Rig::new();
    rig.import(&[&rig.file("kev.json", kev("2026-11-18", &["CVE-2026-31431"]))]);
    let said = [rig.remove("osv/Debian"), rig.remove("kev"), rig.remove("kev"), rig.remove("../../etc/passwd")];
    let said: Vec<String> = said.iter().map(|(code, text)| format!("{code} {text}")).collect();
    insta::assert_snapshot!(said.concat());
}

#[test]
fn two_imports_at_once_both_happen() {
    let rig = Rig::new();
    let first = rig.file("kev.json", kev("2026-11-18", &["CVE-2026-31431"]));
    let second = rig.file("all.zip", debian(&THREE));
    let import = |file: &Path| assert_eq!(rig.import(&[file]).0, 0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| import(&first));
            scope.spawn(|| import(&second));
        }
    });
    assert_eq!(rig.library().feeds.len(), 2);
    assert!(rig.library().refused.is_empty());
}

/// `<record> <fixed>` of every record of a compiled feed, by its format alone.
fn records(rig: &Rig, file: &str) -> Vec<String> {
    let bytes = std::fs::read(rig.data().join("feeds").join(file)).unwrap();
    let lines = String::from_utf8(zstd::decode_all(&bytes[16 * 1024..]).unwrap()).unwrap();
    let record = |line: &str| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        format!("{} {}", record["record"].as_str().unwrap(), record["ranges"][0]["fixed"].as_str().unwrap())
    };
    lines.lines().map(record).collect()
}

/// What root imported, a collector that is not root could not read, and could not import again.
#[test]
fn what_root_imports_belongs_to_the_owner_of_the_data_directory() {
    use std::os::unix::fs::MetadataExt;
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let rig = Rig::new();
    std::os::unix::fs::chown(rig.data(), Some(65_532), Some(65_531)).unwrap();
    assert_eq!(rig.import(&[&rig.file("kev.json", kev("2026-11-18", &["CVE-2021-34527"]))]).0, 0);
    for path in ["feeds", "feeds/.lock", "feeds/kev.feed"] {
        let metadata = std::fs::metadata(rig.data().join(path)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (65_532, 65_531), "{path}");
    }
}
