//! Large imports in a process of their own: what it keeps, and that memory does not grow with the archive.

use std::path::Path;

use holdfast_tests::export::{About, write};
use holdfast_tests::process::{measured, output};

use crate::BINARIES;

#[test]
fn an_export_of_20000_records_is_imported_in_bounded_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (export, data) = (dir.path().join("all.zip"), dir.path().join("data"));
    std::fs::create_dir(&data).unwrap();
    write(&export, 20_000, About::Everything).unwrap();
    let (data, export) = (data.display().to_string(), export.display().to_string());
    let (code, peak, _) = measured(Path::new(BINARIES.collector), &["feeds", "import", "--data", &data, &export]).unwrap();
    assert_eq!(code, 0);
    assert!(peak < 150 * 1024, "{peak} KiB");
    let (code, text, _) = output(Path::new(BINARIES.collector), &["feeds", "status", "--data", &data, "-o", "json"]).unwrap();
    assert_eq!(code, 0);
    let status: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(status["feeds"][0]["name"], "osv/Ubuntu");
    assert_eq!(status["feeds"][0]["records"], 6_000, "2,000 records about three releases each: {text}");
}
