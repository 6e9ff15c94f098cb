//! Prints what importing an OSV export of 500,000 records takes, and opening what was imported: time and peak resident memory of the
//! real process. `make bench` runs it. Goals: 60 s, 300 MiB.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a benchmark prints and may fail")]

use std::path::Path;

use holdfast_tests::export::{About, write};
use holdfast_tests::process::measured;

const COLLECTOR: &str = env!("CARGO_BIN_EXE_holdfast-test-collector");
const RECORDS: u32 = 500_000;

fn main() {
    println!("an OSV export of {RECORDS} records: goals 60 s and 300 MiB");
    for (name, about) in [("as a distribution's", About::Everything), ("kernels only", About::Kernels)] {
        let dir = tempfile::tempdir().expect("a directory");
        let (export, data) = (dir.path().join("all.zip"), dir.path().join("data"));
        std::fs::create_dir(&data).expect("a data directory");
        write(&export, RECORDS, about).expect("an export");
        let size = std::fs::metadata(&export).expect("the export").len() >> 20;
        let (data, export) = (data.display().to_string(), export.display().to_string());
        println!("{name} ({size} MiB)");
        print("import", &["feeds", "import", "--data", &data, &export]);
        print("open", &["feeds", "status", "--data", &data, "-o", "json"]);
    }
}

fn print(what: &str, arguments: &[&str]) {
    let (code, peak, took) = measured(Path::new(COLLECTOR), arguments).expect("the collector runs");
    println!("  {what:<8} {:>6.1} s   peak {:>5} MiB{}", took.as_secs_f64(), peak >> 10, if code == 0 { "" } else { "   FAILED" });
}
