//! Everything that is refused, with what is said of it. What was known stays, always.

use std::fmt::Write as _;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;

use crate::rig::{Rig, archive, debian, kev, osv};

/// A file, and what is wrong with it.
struct Bad {
    what: &'static str,
    path: PathBuf,
}

/// Both headers of an archive's only entry, changed at these offsets (in the local and in the central one).
fn patched(mut zip: Vec<u8>, local: usize, central: usize, bytes: &[u8]) -> Vec<u8> {
    let at = zip.windows(4).rposition(|four| four == b"PK\x01\x02").unwrap();
    zip[local..local + bytes.len()].copy_from_slice(bytes);
    zip[at + central..at + central + bytes.len()].copy_from_slice(bytes);
    zip
}

/// 64 MiB of zeros in one entry.
fn zeros(name: &str) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_level(Some(1));
    writer.start_file(name, options).unwrap();
    let chunk = vec![0; 1 << 20];
    for _ in 0..64 {
        writer.write_all(&chunk).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn bad_files(rig: &Rig) -> Vec<Bad> {
    let good = debian(&[("DEBIAN-CVE-2026-0001", "2026-11-19", "6.1.150-1")]);
    let mut cut = kev("2026-11-19", &["CVE-2026-31431"]);
    cut.truncate(cut.len() / 2);
    let huge = rig.file("huge.json", "");
    std::fs::File::options().write(true).open(&huge).unwrap().set_len(1 << 30).unwrap();
    let pipe = rig.dir.path().join("pipe.json");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let bomb = zeros("zeros.json");
    let gibibyte = (1_u32 << 30).to_le_bytes();
    let mut damaged = good.clone();
    damaged[80] ^= 0x55;
    let record = osv("DEBIAN-CVE-2026-0001", "2026-11-19", "6.1.150-1");
    let other = osv("DEBIAN-CVE-2026-0002", "2026-11-19", "6.1.150-1").replace("\"linux\"", "\"emacs\"");
    let half = &record[..record.len() / 2];
    let wide = format!("{record}{}", " ".repeat(15 << 20));
    let padded: Vec<(&str, &[u8])> = ["1.json", "2.json", "3.json", "4.json", "5.json"].map(|name| (name, wide.as_bytes())).into();
    let file = |what, name: &str, bytes: &[u8]| Bad { what, path: rig.file(name, bytes) };
    vec![
        file("nothing in it", "empty.json", b""),
        file("cut off in the middle", "kev.json", cut.as_bytes()),
        file("no feed", "package.json", b"{\"name\": \"left-pad\", \"version\": \"1.3.0\"}"),
        file("a page instead of the document", "kev2.json", b"<!DOCTYPE html><html></html>"),
        file("gzip", "all.json.gz", b"\x1f\x8b\x08\0\0\0\0\0"),
        Bad { what: "a gibibyte of zeros", path: huge },
        Bad { what: "a pipe", path: pipe },
        Bad { what: "a directory", path: rig.data() },
        Bad { what: "not there", path: rig.dir.path().join("missing.json") },
        file("older than what is known", "kev-old.json", kev("2026-10-01", &["CVE-2026-31431"]).as_bytes()),
        file("an older single record", "DEBIAN-CVE-2026-0001.json", osv("DEBIAN-CVE-2026-0001", "2026-10-30", "6.1.1-1").as_bytes()),
        file("an archive without entries", "none.zip", &archive(&[])),
        file("an archive cut off", "cut.zip", &good[..good.len() - 30]),
        file("an archive with a bad record", "bad.zip", &archive(&[("1.json", record.as_bytes()), ("dir/2.json", half.as_bytes())])),
        file("an archive of something else", "other.zip", &archive(&[("package.json", b"{\"name\": \"left-pad\"}")])),
        file("an archive of packages that nothing runs", "emacs.zip", &archive(&[("1.json", other.as_bytes()), ("2.txt", b"")])),
        file("an encrypted archive", "secret.zip", &patched(good.clone(), 6, 8, &[1, 0])),
        file("bzip2 in an archive", "bzip2.zip", &patched(good.clone(), 8, 10, &[12, 0])),
        file("a byte flipped in an archive", "flipped.zip", &damaged),
        file("a gibibyte of zeros, zipped", "zeros.zip", &patched(bomb.clone(), 22, 24, &gibibyte)),
        file("the same, said to be 100 bytes", "liar.zip", &patched(bomb, 22, 24, &[100, 0, 0, 0])),
        file("records among a lot of nothing", "nothing.zip", &archive(&padded)),
        file("15 MiB of zeros, zipped", "some.zip", &archive(&[("zeros.json", &vec![0; 15 << 20][..])])),
    ]
}

#[test]
fn every_refusal_says_what_is_wrong_and_what_stays() {
    let rig = Rig::new();
    let all = rig.file("all.zip", debian(&[("DEBIAN-CVE-2026-0001", "2026-11-01", "6.1.150-1")]));
    let (code, text) = rig.import(&[&all, &rig.file("first.json", kev("2026-11-01", &["CVE-2022-0185"]))]);
    assert_eq!(code, 0, "{text}");
    let before = rig.library().knowledge.basis();
    let mut said = String::new();
    for Bad { what, path } in bad_files(&rig) {
        let began = std::time::Instant::now();
        let (code, text) = rig.import(&[&path]);
        assert!(began.elapsed() < std::time::Duration::from_secs(30), "{what} takes {:?}", began.elapsed());
        writeln!(said, "{what}: {code}\n  {}", text.trim_end()).unwrap();
        assert_eq!(rig.library().knowledge.basis(), before, "{what} changed what is known");
    }
    insta::assert_snapshot!(said);
    let left = std::fs::read_dir(rig.data().join("feeds")).unwrap().map(|entry| entry.unwrap().file_name());
    let drafts: Vec<_> = left.filter(|name| name.to_string_lossy().contains("draft")).collect();
    assert!(drafts.is_empty(), "{drafts:?}");
}

#[test]
fn of_several_files_the_good_ones_are_taken() {
    let rig = Rig::new();
    let bad = rig.file("bad.json", "{");
    let good = rig.file("kev.json", kev("2026-11-18", &["CVE-2026-31431"]));
    let (code, text) = rig.import(&[&bad, &good]);
    assert_eq!(code, 2, "{text}");
    assert_eq!(rig.library().feeds.len(), 1);
}

#[test]
fn a_data_directory_that_is_none_is_a_slip() {
    let rig = Rig::new();
    let good = rig.file("kev.json", kev("2026-11-18", &["CVE-2026-31431"]));
    std::fs::remove_dir(rig.data()).unwrap();
    let (code, missing) = rig.import(&[&good]);
    assert_eq!(code, 2);
    std::fs::write(rig.data(), "").unwrap();
    let (_, file) = rig.import(&[&good]);
    std::fs::remove_file(rig.data()).unwrap();
    std::fs::create_dir(rig.data()).unwrap();
    std::fs::write(rig.data().join("feeds"), "").unwrap();
    let (code, unusable) = rig.import(&[&good]);
    assert_eq!(code, 3);
    insta::assert_snapshot!([missing, file, unusable].concat());
}

#[test]
fn a_disk_that_is_full_leaves_what_was_known() {
    let rig = Rig::new();
    assert_eq!(rig.import(&[&rig.file("kev.json", kev("2026-11-01", &["CVE-2022-0185"]))]).0, 0);
    let many: Vec<String> = (0..3_000).map(|number| format!("CVE-2026-{number:04}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let newer = rig.file("newer.json", kev("2026-11-18", &many));
    // As small a disk as a test can have without being root: no file beyond 17 KiB, of which the header takes 16.
    let script = r#"ulimit -f 17; trap "" XFSZ; exec "$0" feeds import --data "$1" "$2""#;
    let program = env!("CARGO_BIN_EXE_holdfast-collector");
    let done = std::process::Command::new("bash").args(["-c", script, program]).arg(rig.data()).arg(&newer).output().unwrap();
    let text = String::from_utf8(done.stderr).unwrap().replace(&rig.dir.path().display().to_string(), "[dir]");
    assert_eq!(done.status.code(), Some(3), "{text}");
    insta::assert_snapshot!(text);
    assert_eq!(rig.library().feeds[0].as_of, "2026-11-01");
    assert_eq!(rig.import(&[&newer]).0, 0, "with room again");
}

#[test]
fn a_crash_before_the_end_leaves_what_was_known() {
    let rig = Rig::new();
    assert_eq!(rig.import(&[&rig.file("kev.json", kev("2026-11-01", &["CVE-2022-0185"]))]).0, 0);
    // What a crash between writing and renaming leaves.
    let feeds = rig.data().join("feeds");
    std::fs::copy(feeds.join("kev.feed"), feeds.join(".0.draft")).unwrap();
    let mut draft = std::fs::File::options().write(true).open(feeds.join(".0.draft")).unwrap();
    draft.seek(SeekFrom::End(-4)).unwrap();
    draft.write_all(b"half").unwrap();
    assert_eq!(rig.library().feeds[0].as_of, "2026-11-01");
    assert!(rig.library().refused.is_empty());
    assert_eq!(rig.import(&[&rig.file("kev.json", kev("2026-11-18", &["CVE-2022-0185"]))]).0, 0);
    assert!(!feeds.join(".0.draft").exists(), "it is cleared away");
}
