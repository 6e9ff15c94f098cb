//! The stored format as it is out there: a file of each version that ever was, and what it holds.

use holdfast_agent::spool::file::{FILE_NAME, FORMAT_VERSION, SpoolFile};
use holdfast_agent::spool::{Image, Remote};

use crate::samples::{bytes_of, image};

fn golden() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/spool/golden/format-1.redb")
}

/// Fails when the format changes without a new version: raise `FORMAT_VERSION` then, and add a file.
#[test]
fn a_file_of_format_1_is_read_as_it_was_written() {
    assert_eq!(FORMAT_VERSION, 1, "keep the file of format 1, expect it to be set aside, and add one of the new format");
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(golden(), dir.path().join(FILE_NAME)).unwrap();
    let opened = SpoolFile::open(dir.path()).unwrap();
    assert!(opened.set_aside.is_none(), "{:?}", opened.set_aside);
    insta::assert_snapshot!(text(&opened.image.unwrap()));
}

fn text(image: &Image) -> String {
    let mut lines = vec![format!("{:?}", image.position)];
    for (key, row) in &image.rows {
        lines.push(format!("{key:?} refused: {}", row.refused));
        lines.push(match row.remote {
            None => "  there: nothing".to_owned(),
            Some(Remote::Unsure) => "  there: unsure".to_owned(),
            Some(Remote::Holds(hash)) => format!("  there: {hash}"),
        });
        let entry = row.entry.as_ref().map(|entry| format!("  here: {} changed at {}\n  {:?}", entry.hash, entry.changed_at, entry.body));
        lines.extend(entry);
    }
    lines.extend(image.transitions.values().map(|transition| format!("{transition:?}")));
    lines.join("\n")
}

#[test]
#[ignore = "writes the golden file of this format: only for a new version"]
fn write_the_golden_file() {
    std::fs::create_dir_all(golden().parent().unwrap()).unwrap();
    std::fs::write(golden(), bytes_of(&image(8, 3))).unwrap();
}
