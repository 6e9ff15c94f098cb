//! Archives as they come: large, in odd order, with odd names.

use crate::rig::{Rig, archive, osv};

#[test]
fn names_are_never_paths_and_may_repeat() {
    let rig = Rig::new();
    let (one, two) = (osv("DEBIAN-CVE-2026-0001", "2026-11-01", "6.1.150-1"), osv("DEBIAN-CVE-2026-0002", "2026-11-01", "6.1.150-1"));
    let long = format!("{}.json", "x".repeat(4_000));
    let entries = [
        ("../../../../tmp/evil.json", one.as_bytes()),
        ("/etc/cron.d/evil.json", two.as_bytes()),
        ("a\u{1b}[31m\n.JSON", one.as_bytes()),
        (long.as_str(), two.as_bytes()),
        ("directory.json/", b""),
        ("nested.zip", b"PK\x03\x04"),
    ];
    let mut bytes = archive(&entries);
    // The writer wants names to differ: two that do not.
    let place = bytes.windows(10).position(|ten| ten == b"/etc/cron.").unwrap();
    let again = bytes.windows(10).rposition(|ten| ten == b"/etc/cron.").unwrap();
    for at in [place, again] {
        bytes[at..at + 21].copy_from_slice(b"a/../etc/b/../ev.json");
    }
    let (code, text) = rig.import(&[&rig.file("all.zip", bytes)]);
    assert_eq!(code, 0, "{text}");
    insta::assert_snapshot!(text);
    let outside: Vec<_> = std::fs::read_dir(rig.data().join("feeds")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(outside.len(), 2, "a lock and a feed: {outside:?}");
}

#[test]
fn the_same_archive_gives_the_same_feed() {
    let rig = Rig::new();
    let files: Vec<(String, String)> = (0..300)
        .map(|number| {
            let id = format!("DEBIAN-CVE-2026-{:04}", (number * 7_919) % 10_000);
            (format!("{id}.json"), osv(&id, "2026-11-01", &format!("6.1.{number}-1")))
        })
        .collect();
    let entries: Vec<(&str, &[u8])> = files.iter().map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
    let all = rig.file("all.zip", archive(&entries));
    let feed = rig.data().join("feeds/osv%2FDebian.feed");
    assert_eq!(rig.import(&[&all]).0, 0);
    let first = std::fs::read(&feed).unwrap();
    assert_eq!(rig.import(&[&all]).0, 0);
    assert_eq!(first, std::fs::read(&feed).unwrap());
}
