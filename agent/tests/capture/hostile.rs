//! Archives that are damaged, or made to do harm: refused in words, within bounds, and nothing of them touches the disk.

use std::fs;
use std::time::{Duration, Instant};

use rstest::rstest;
use tar::EntryType;

use super::{Forged, MANIFEST, NODE, agent, code, text};

/// The words for which an archive is refused.
fn refused(archive: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad.tar.zst");
    fs::write(&path, archive).unwrap();
    let started = Instant::now();
    let output = agent(["scan", "--facts", path.to_str().unwrap()]);
    assert!(started.elapsed() < Duration::from_mins(2));
    let words = text(&output.stderr);
    assert_eq!((code(&output), text(&output.stdout).as_str()), (2, ""), "{words}");
    assert!(words.contains("bad.tar.zst"), "names the file: {words}");
    assert!(!words.contains('\u{1b}'), "{words}");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "nothing is unpacked");
    words.replace(dir.path().to_str().unwrap(), "[dir]")
}

#[test]
fn what_is_no_capture_is_refused_in_words_that_help() {
    let newer = Forged::new().file("manifest.json", r#"{"schema": 2, "agent_version": "9.1\u001b[2J", "groups": 7}"#);
    let twice = Forged::whole().file("facts/os.json", "1").file("facts/os.json", "2");
    let cases: [(&str, Vec<u8>); 10] = [
        ("not zstd", b"PK\x03\x04 something else altogether".to_vec()),
        ("empty", Vec::new()),
        ("no tar", zstd::encode_all(&[b'x'; 4096][..], 1).unwrap()),
        ("an empty tar", Forged::new().pack()),
        ("another tar", Forged::new().file("README", "hello").pack()),
        ("a manifest that does not parse", Forged::new().file("manifest.json", "{").pack()),
        ("a manifest of something else", Forged::new().file("manifest.json", r#"{"schema": "x"}"#).pack()),
        ("newer", newer.pack()),
        ("no node", Forged::new().file("manifest.json", MANIFEST).pack()),
        ("twice", twice.pack()),
    ];
    let said: Vec<String> = cases.into_iter().map(|(name, archive)| format!("{name}: {}", refused(&archive))).collect();
    insta::assert_snapshot!(said.join(""));
}

#[rstest]
#[case("/etc/cron.d/x", EntryType::Regular)]
#[case("facts/../../etc/passwd", EntryType::Regular)]
#[case("../x", EntryType::Regular)]
#[case("./facts/os.json", EntryType::Regular)]
#[case("facts/os.json", EntryType::Symlink)]
#[case("facts/os.json", EntryType::Link)]
#[case("facts/os.json", EntryType::Char)]
#[case("facts/os.json", EntryType::Block)]
#[case("facts/os.json", EntryType::Fifo)]
#[case("facts/", EntryType::Directory)]
#[case("facts/os.json", EntryType::GNUSparse)]
#[case("facts/os.json", EntryType::GNULongName)]
#[case("facts/os.json", EntryType::XHeader)]
#[case("facts/os.json", EntryType::XGlobalHeader)]
fn entries_that_no_capture_has_are_refused(#[case] name: &str, #[case] kind: EntryType) {
    let words = refused(&Forged::whole().entry(name, kind, b"x").pack());
    assert!(words.contains("do not trust where it came from"), "{words}");
}

#[test]
fn a_truncated_archive_is_damaged_wherever_it_ends() {
    let whole = Forged::whole().file("facts/os.json", "[1, 2, 3]".repeat(500)).pack();
    for end in [1, 4, 10, whole.len() / 2, whole.len() - 5, whole.len() - 1] {
        let words = refused(&whole[..end]);
        assert!(words.contains("damaged, incomplete or no capture"), "{end}: {words}");
    }
    let mut tail = whole;
    tail.extend(b"and more");
    assert!(refused(&tail).contains("damaged"));
}

#[test]
fn a_flipped_bit_is_found_by_the_checksum() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.tar.zst");
    super::capture(&super::recorded("hardened"), &path);
    let mut archive = fs::read(&path).unwrap();
    let last = archive.len() - 1;
    archive[last] ^= 1;
    assert!(refused(&archive).contains("damaged"));
}

#[test]
fn bombs_are_refused_before_they_are_large() {
    let zeros = |mib: usize| vec![0_u8; mib * 1024 * 1024];
    let one_file = Forged::whole().file("facts/os.json", zeros(33)).pack();
    let in_all = (0..4).fold(Forged::whole(), |forged, index| forged.file(&format!("facts/x{index}.json"), zeros(31))).pack();
    let many = (0..70).fold(Forged::whole(), |forged, index| forged.file(&format!("facts/x{index}.json"), "1")).pack();
    let behind_the_end = [Forged::whole().pack(), zstd::encode_all(&*zeros(120), 1).unwrap()].concat();
    for archive in [one_file, in_all, many, behind_the_end] {
        assert!(archive.len() < 100 * 1024);
        let words = refused(&archive);
        assert!(words.contains("larger than any node's capture"), "{words}");
    }
}

#[test]
fn a_size_that_lies_is_damaged() {
    let mut tar = Forged::whole().tar.into_inner().unwrap();
    // The second header's size says more than follows.
    let header = tar.windows(15).position(|name| name == b"facts/node.json").unwrap();
    tar[header + 124..header + 135].copy_from_slice(b"00000077777");
    let mut fixed = tar::Header::from_byte_slice(&tar[header..header + 512]).clone();
    fixed.set_cksum();
    tar[header..header + 512].copy_from_slice(fixed.as_bytes());
    assert!(refused(&zstd::encode_all(&*tar, 1).unwrap()).contains("damaged"));
}

#[test]
fn deep_nesting_is_a_group_that_does_not_parse() {
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    let archive = Forged::whole().file("facts/os.json", &deep).pack();
    let capture = holdfast_agent::capture::read(&*archive).unwrap();
    assert!(capture.facts.os.unavailable().unwrap().detail.contains("does not parse"));
    let words = refused(&Forged::new().file("manifest.json", deep).file("facts/node.json", NODE).pack());
    assert!(words.contains("manifest.json"), "{words}");
}

#[test]
fn a_file_that_is_not_there_or_no_file_is_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().join("none.tar.zst"), dir.path().to_owned()] {
        let output = agent(["scan", "--facts", path.to_str().unwrap()]);
        assert_eq!(code(&output), 2);
        assert!(text(&output.stderr).contains(path.to_str().unwrap()), "{}", text(&output.stderr));
    }
}
