//! What is refused, and what its reader is told.

use holdfast_checks::versions::feeds::{Limits, parse};

use crate::{FIXTURES, accepted, fixture, refusal};

/// Every refusal with what it says, in one list: these are what an administrator reads.
#[test]
fn what_is_refused_says_where_why_and_what_to_do() {
    let kev = |from: &str, to: &str| fixture("kev.json").replacen(from, to, 1).into_bytes();
    let debian = |from: &str, to: &str| fixture("debian.v1.json").replacen(from, to, 1).into_bytes();
    let cve = |from: &str, to: &str| fixture("CVE-2026-43284.json").replacen(from, to, 1).into_bytes();
    let ubuntu = |from: &str, to: &str| fixture("UBUNTU-CVE-2024-21626.json").replacen(from, to, 1).into_bytes();
    let releases = |from: &str, to: &str| fixture("releases.json").replacen(from, to, 1).into_bytes();
    let cases: Vec<(&str, &str, Vec<u8>)> = vec![
        ("an empty file", "kev.json", vec![]),
        ("blank lines", "kev.json", b" \n\n".to_vec()),
        ("an error page", "kev.json", b"\r\n<!DOCTYPE html><html><title>404</title></html>".to_vec()),
        ("plain text", "kev.json", b"429 Too Many Requests".to_vec()),
        ("a number", "kev.json", b"5".to_vec()),
        ("an empty array", "a.json", b"[]".to_vec()),
        ("an empty object", "a.json", b"{}".to_vec()),
        ("another document", "package.json", br#"{"name": "x", "version": "1.0.0", "dependencies": {}}"#.to_vec()),
        ("an array of numbers", "a.json", b"[1, 2]".to_vec()),
        ("an array of other objects", "a.json", br#"[{"a": 1}]"#.to_vec()),
        ("an array of OSV records", "a.json", br#"[{"id": "X-1", "affected": []}]"#.to_vec()),
        ("compressed", "kev.json.gz", b"\x1f\x8b\x08\x00\x00".to_vec()),
        ("an archive", "all", b"PK\x03\x04....".to_vec()),
        ("UTF-16", "kev.json", b"\xff\xfe{\x00}\x00".to_vec()),
        ("not UTF-8", "kev.json", [b"{\n \"title\": \"".as_slice(), b"\xff\xfe\"}"].concat()),
        ("NUL bytes", "kev.json", b"{\"title\": \"a\0b\"}".to_vec()),
        ("zeros", "kev.json", vec![0; 4096]),
        ("cut off", "kev.json", fixture("kev.json").as_bytes()[..700].to_vec()),
        ("cut off at the top", "kev.json", b"{\"title\": \"CISA Cata".to_vec()),
        ("more behind its end", "kev.json", [fixture("kev.json").as_bytes(), b"{}"].concat()),
        ("deep nesting", "kev.json", vec![b'['; 100_000]),
        ("deep nesting in a record", "x.json", [br#"{"id":"X-1","affected":[{"package":"#.as_slice(), &vec![b'['; 100_000]].concat()),
        ("KEV without an entry", "kev.json", kev("\"count\": 3", "\"count\": 4")),
        ("KEV, a huge count", "kev.json", kev("\"count\": 3", "\"count\": 1e400")),
        ("KEV, a negative count", "kev.json", kev("\"count\": 3", "\"count\": -3")),
        (
            "KEV, no entry at all",
            "kev.json",
            br#"{"catalogVersion":"1","dateReleased":"2026-01-01","count":0,"vulnerabilities":[]}"#.to_vec(),
        ),
        ("KEV, not a CVE", "kev.json", kev("CVE-2026-31431", "CVE-2026-31431\u{202e}gnp.exe")),
        ("KEV, not a day", "kev.json", kev("2026-05-01", "2026-02-30")),
        ("KEV, no day of release", "kev.json", kev("2026-08-07T15:00:22.4321Z", "yesterday")),
        (
            "KEV, text for a list",
            "kev.json",
            br#"{"catalogVersion":"1","dateReleased":"2026-01-01","count":0,"vulnerabilities":"none"}"#.to_vec(),
        ),
        ("endoflife.date of tomorrow", "debian.json", debian("1.2.1", "2.0.0")),
        ("endoflife.date without a version", "debian.json", debian("\"schema_version\": \"1.2.1\",", "")),
        ("endoflife.date, a summary", "all.json", br#"{"schema_version":"1.2.1","result":[{"name":"debian","uri":"x"}]}"#.to_vec()),
        ("endoflife.date, no product", "all.json", br#"{"schema_version":"1.2.1","result":[]}"#.to_vec()),
        (
            "endoflife.date, a product without releases",
            "all.json",
            br#"{"schema_version":"1.2.1","result":{"name":"debian","releases":[]}}"#.to_vec(),
        ),
        ("endoflife.date, not a day", "debian.json", debian("\"2026-07-11\", \"isEoes\"", "\"soon\", \"isEoes\"")),
        ("endoflife.date, a release twice", "debian.json", debian("\"name\": \"12\"", "\"name\": \"13\"")),
        ("endoflife.date, a control character", "debian.json", debian("\"name\": \"12\"", "\"name\": \"1\\u00002\"")),
        ("endoflife.date v0 of an unknown product", "my-servers.json", fixture("linux.json").as_bytes().to_vec()),
        ("releases.json without any", "releases.json", br#"{"releases":[]}"#.to_vec()),
        ("releases.json, no end said", "releases.json", releases("\"iseol\": false, ", "")),
        ("CVE JSON 4", "CVE.json", cve("\"5.2\"", "\"4.0\"")),
        ("CVE JSON, another document", "CVE.json", cve("CVE_RECORD", "CVE_LIST")),
        ("CVE JSON, another state", "CVE.json", cve("PUBLISHED", "RESERVED")),
        ("OSV of tomorrow", "X.json", ubuntu("1.7.0", "2.0.0")),
        ("OSV without an id", "X.json", ubuntu("\"id\": \"UBUNTU-CVE-2024-21626\",", "")),
        ("OSV, an empty id", "X.json", ubuntu("UBUNTU-CVE-2024-21626", "")),
        ("OSV, a long id", "X.json", ubuntu("UBUNTU-CVE-2024-21626", &"U".repeat(129))),
        ("OSV, a version with a space", "X.json", ubuntu("1.1.7-0ubuntu1~22.04.2", "1.1.7 or later")),
        ("OSV, a version with NUL", "X.json", ubuntu("1.1.7-0ubuntu1~22.04.2", "1.1.7\\u0000")),
        ("OSV, a number for a version", "X.json", ubuntu("\"1.1.7-0ubuntu1~22.04.2\"", "1.1")),
        ("a JSON feed of another version", "feed.json", fixture("kubernetes-cve.json").replace("version/1.1", "version/2").into_bytes()),
        ("a name that plays tricks", "a\u{202e}\x1b[31m\nkev.json", b"{}".to_vec()),
    ];
    let told: Vec<_> = cases.iter().map(|(what, name, bytes)| format!("{what}\n  {}\n", refusal(name, bytes))).collect();
    insta::assert_snapshot!(told.concat());
}

#[test]
fn a_document_has_a_size_and_makes_so_many_records() {
    let kev = fixture("kev.json").as_bytes();
    let bytes = Limits { bytes: kev.len() - 1, ..Limits::default() };
    insta::assert_snapshot!(parse("kev.json", kev, bytes).unwrap_err().to_string());
    let records = Limits { records: 2, ..Limits::default() };
    insta::assert_snapshot!(parse("kev.json", kev, records).unwrap_err().to_string());
    assert!(parse("kev.json", kev, Limits { bytes: kev.len(), records: 3 }).is_ok());
}

#[test]
fn a_list_without_end_is_refused_while_it_is_read() {
    let text = format!(r#"{{"id":"X-1","affected":[{}{{}}]}}"#, "{},".repeat(60_000));
    assert!(refusal("x.json", text.as_bytes()).contains("more than 50000 elements in one array"));
}

#[test]
fn messages_stay_short_whatever_was_read() {
    let long = "x".repeat(1 << 20);
    let texts = [
        format!(r#"{{"{long}": 1}}"#),
        format!(r#"{{"vulnerabilities": "{long}"}}"#),
        fixture("kev.json").replace("CVE-2026-31431", &long),
        fixture("kev.json").replace("2026-05-01", &long),
        fixture("debian.v1.json").replace("1.2.1", &long),
        fixture("CVE-2026-43284.json").replace("PUBLISHED", &long),
        fixture("GO-2025-4108.json").replace("2.0.7", &long),
    ];
    for text in texts {
        let why = refusal(&long, text.as_bytes());
        assert!(why.len() < 1_000 && !why.contains(char::is_control), "{} bytes: {}", why.len(), why.chars().take(300).collect::<String>());
    }
}

#[test]
fn titles_are_cut_and_cleaned() {
    let text = fixture("kubernetes-cve.json").replace("Man in the middle", &format!("\\u001b[31m{} ", "long ".repeat(200)));
    let content = accepted("feed.json", &text);
    let told = crate::told(&content);
    let line = told.lines().find(|line| line.contains("CVE-2020-8554")).unwrap();
    assert!(line.len() < 500 && line.contains("long …") && !line.contains('\u{1b}'), "{line}");
}

/// The reader skips what it does not know without going down into it.
#[test]
fn deep_nesting_overflows_no_stack() {
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (name, text) in FIXTURES.into_iter().filter(|(_, text)| text.starts_with('{')) {
        let text = text.replacen('{', &format!(r#"{{"x_new": {nested},"#), 1);
        accepted(name, &text);
    }
    let objects = format!(r#"{{"x_new":{}"#, r#"{"a":"#.repeat(100_000));
    assert!(refusal("x.json", objects.as_bytes()).contains("ends in the middle"));
}

/// A prefix of a document is never taken for the document: not one byte may be missing.
#[test]
fn no_beginning_of_a_document_is_accepted() {
    for (name, text) in FIXTURES {
        let text = text.trim_end();
        for end in 0..text.len() {
            assert!(parse(name, &text.as_bytes()[..end], Limits::default()).is_err(), "{name} up to {end}");
        }
        assert!(parse(name, text.as_bytes(), Limits::default()).is_ok());
    }
}
