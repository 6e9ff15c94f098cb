//! Compiled feeds: their format is kept, and a bad one is seen and left out.

use std::fmt::Write as _;
use std::os::unix::fs::FileExt;

use crate::rig::{Rig, kev, now};

fn imported() -> Rig {
    let rig = Rig::new();
    assert_eq!(rig.import(&[&rig.file("kev.json", kev("2026-11-18", &["CVE-2026-31431", "CVE-2022-0185"]))]).0, 0);
    rig
}

#[test]
fn the_format_is_what_it_was() {
    let rig = imported();
    let bytes = std::fs::read(rig.data().join("feeds/kev.feed")).unwrap();
    let header = String::from_utf8(bytes[..16 * 1024].to_vec()).unwrap();
    let mut lines = header.lines();
    insta::assert_snapshot!(lines.next().unwrap());
    assert!(lines.next().unwrap().trim_end().starts_with("{\"blake3\":\""));
    insta::assert_snapshot!(String::from_utf8(zstd::decode_all(&bytes[16 * 1024..]).unwrap()).unwrap());
}

#[test]
fn a_file_of_schema_1_is_read() {
    let rig = Rig::new();
    std::fs::create_dir(rig.data().join("feeds")).unwrap();
    std::fs::write(rig.data().join("feeds/kev.feed"), include_bytes!("golden/kev.feed")).unwrap();
    let library = rig.library();
    assert_eq!(library.refused, []);
    assert_eq!((library.feeds[0].as_of.as_str(), library.feeds[0].records), ("2026-11-18", 2));
    assert!(library.knowledge.exploited("CVE-2022-0185").is_some());
}

type Damage = fn(&std::fs::File);

#[test]
fn a_damaged_feed_is_left_out_and_said() {
    let damage: [(&str, Damage); 6] = [
        ("cut off", |file| file.set_len(file.metadata().unwrap().len() - 3).unwrap()),
        ("cut off in the header", |file| file.set_len(100).unwrap()),
        ("a byte of the records", |file| file.write_all_at(b"\xff", 16 * 1024 + 30).unwrap()),
        ("a letter of the header", |file| file.write_all_at(b"X", 20).unwrap()),
        ("a newer schema", |file| file.write_all_at(b"9", 10).unwrap()),
        ("empty", |file| file.set_len(0).unwrap()),
    ];
    let mut said = String::new();
    for (what, damage) in damage {
        let rig = imported();
        let path = rig.data().join("feeds/kev.feed");
        damage(&std::fs::File::options().write(true).open(&path).unwrap());
        let library = rig.library();
        assert!(library.feeds.is_empty(), "{what}");
        assert_eq!(library.knowledge.basis(), Rig::new().library().knowledge.basis(), "{what}: nothing of it is used");
        assert_eq!(library.refused[0].at, now());
        writeln!(said, "{what}: {}", library.refused[0].reason.replace(&rig.dir.path().display().to_string(), "[dir]")).unwrap();
        assert_eq!(rig.import(&[&rig.file("kev.json", kev("2026-11-18", &["CVE-2022-0185"]))]).0, 0, "{what}");
        assert_eq!(rig.library().refused, [], "{what}");
    }
    insta::assert_snapshot!(said);
}
