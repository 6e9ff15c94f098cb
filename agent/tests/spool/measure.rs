//! What a save costs. Prints; asserts nothing about time.
//!
//! `cargo test -p holdfast-agent --release --test spool -- --ignored --exact --nocapture measure::what_a_save_costs`

use std::time::{Duration, Instant};

use holdfast_agent::spool::file::{FILE_NAME, SpoolFile};
use holdfast_agent::spool::{Row, Save};

use crate::samples::{finding, image, whole};

const SAVES: usize = 1000;

fn resident_kib() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4
}

#[test]
#[ignore = "a measurement"]
fn what_a_save_costs() {
    // On a real disk: where the code is, not in a file system in memory.
    let dir = tempfile::tempdir_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap();
    let mut image = image(500, 0);
    let before = resident_kib();
    let mut file = SpoolFile::open(dir.path()).unwrap().file;
    file.write(&whole(&image)).unwrap();
    let size = || std::fs::metadata(dir.path().join(FILE_NAME)).unwrap().len() / 1024;
    println!("500 entries: {} KiB", size());
    for rows in [1, 50] {
        let mut took: Vec<Duration> = Vec::new();
        for round in 0..SAVES {
            let rows = (0..rows).map(|n| {
                let entry = finding((round * 7 + n) % 500, round);
                (entry.key.clone(), Some(Row { entry: Some(entry), remote: None, refused: false }))
            });
            image.position.seq += 1;
            let (transitions, position) = (Vec::new(), image.position.clone());
            let save = Save { replace: false, rows: rows.collect(), transitions, transitions_from: 0, position };
            let start = Instant::now();
            file.write(&save).unwrap();
            took.push(start.elapsed());
            image.apply(save);
        }
        took.sort();
        let at = |percent: usize| took[SAVES * percent / 100].as_secs_f64() * 1000.0;
        println!("{rows} rows: p50 {:.2} ms, p99 {:.2} ms, file {} KiB after {SAVES} saves", at(50), at(99), size());
    }
    println!("resident memory: {} KiB more", resident_kib().saturating_sub(before));
    drop(file);
    println!("closed: {} KiB", size());
    let start = Instant::now();
    assert_eq!(SpoolFile::open(dir.path()).unwrap().image, Some(image));
    println!("opened and read in {:.1} ms", start.elapsed().as_secs_f64() * 1000.0);
}
