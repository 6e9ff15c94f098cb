//! The tables on a disk that a test holds: what a crash leaves of them, and what a bit that flips makes of them.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::as_conversions,
    clippy::print_stdout,
    reason = "a test may fail"
)]

use std::io;
use std::sync::{Arc, Mutex};

use holdfast_checks::entries::{Entry, Evidence, Finding, Severity, Transition, Verdict};
use redb::StorageBackend;

use super::tables::Tables;
use super::{Image, Save, guarded};
use crate::spool::{Position, Remote, Row};

/// A disk that keeps what was synced, and of the rest what the test says. From its crash on nothing works.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<Platter>>);

#[derive(Debug, Clone, Default)]
struct Platter {
    synced: Vec<u8>,
    written: Vec<u8>,
    since: Vec<Change>,
    left: Option<usize>,
    changes: usize,
}

#[derive(Debug, Clone)]
enum Change {
    Length(usize),
    Bytes(usize, Vec<u8>),
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Length(length) => to.resize(*length, 0),
            Self::Bytes(at, bytes) => {
                let end = at + bytes.len();
                // A write that survives a growth that did not.
                to.resize(to.len().max(end), 0);
                to[*at..end].copy_from_slice(bytes);
            }
        }
    }
}

impl Platter {
    fn step(&mut self) -> io::Result<()> {
        self.changes += 1;
        match &mut self.left {
            Some(0) => Err(io::Error::other("crashed")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Disk {
    fn with(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Platter { synced: bytes.clone(), written: bytes, ..Platter::default() })))
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().written.clone()
    }

    fn crash_after(&self, changes: usize) {
        let mut platter = self.0.lock().unwrap();
        (platter.left, platter.changes) = (Some(changes), 0);
    }

    fn changes(&self) -> usize {
        self.0.lock().unwrap().changes
    }

    /// What is there after the power came back: everything synced, and those later changes that `survives` picks, the last one torn.
    fn after_crash(&self, mut survives: impl FnMut() -> bool, torn: usize) -> Vec<u8> {
        let platter = self.0.lock().unwrap();
        let mut bytes = platter.synced.clone();
        let picked: Vec<&Change> = platter.since.iter().filter(|_| survives()).collect();
        for (n, change) in picked.iter().enumerate() {
            match change {
                Change::Bytes(at, whole) if n + 1 == picked.len() => {
                    Change::Bytes(*at, whole[..torn % (whole.len() + 1)].to_vec()).apply(&mut bytes);
                }
                change => change.apply(&mut bytes),
            }
        }
        bytes
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().written.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platter = self.0.lock().unwrap();
        let start = usize::try_from(offset).unwrap();
        let end = start.checked_add(out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(platter.written.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Length(usize::try_from(len).unwrap()))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Bytes(usize::try_from(offset).unwrap(), data.to_vec()))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.0.lock().unwrap();
        platter.step()?;
        platter.synced = platter.written.clone();
        platter.since.clear();
        Ok(())
    }
}

impl Disk {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut platter = self.0.lock().unwrap();
        platter.step()?;
        change.apply(&mut platter.written);
        platter.since.push(change);
        Ok(())
    }
}

/// Splitmix: the same draws for the same seed.
struct Random(u64);

impl Random {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.draw() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    fn often(&mut self) -> bool {
        self.draw().is_multiple_of(2)
    }
}

fn entry(n: usize, content: usize) -> Entry {
    let value = serde_json::json!({"port": content, "hosts": ["a", "b"], "none": null});
    let evidence = vec![Evidence { path: "kubelets.settings".into(), value: Some(value), source: "flag".into(), at: 7 }];
    let finding = Finding {
        check: format!("check-{}", n % 7),
        subject: format!("file:/etc/{n}"),
        verdict: Verdict::ALL[content % 5],
        reason: "incomplete: a directory could not be listed".into(),
        severity: Severity::ALL[n % 5],
        title: "A title".into(),
        evidence,
        evidence_truncated: false,
    };
    Entry::finding(finding, i64::try_from(content).unwrap())
}

fn save(random: &mut Random, number: &mut u64) -> Save {
    let rows = (0..random.below(12)).map(|_| {
        let entry = entry(random.below(40), random.below(1000));
        let remote = [None, Some(Remote::Unsure), Some(Remote::Holds(entry.hash))][random.below(3)];
        let key = entry.key.clone();
        let here = random.often().then_some(entry);
        let row = (here.is_some() || remote.is_some()).then(|| Row { refused: here.is_some() && random.often(), entry: here, remote });
        (key, row)
    });
    let rows = rows.collect();
    let transitions = (0..random.below(8)).map(|_| {
        *number += 1;
        let key = entry(random.below(40), 0).key;
        let (from, to, because) = (None, Some(Verdict::Fail), "readOnlyPort = 10255 (flag)".to_owned());
        Transition { number: *number, key, from, to, reason: String::new(), severity: Severity::High, because, at: 9 }
    });
    Save {
        transitions: transitions.collect(),
        transitions_from: number.saturating_sub(20),
        replace: random.below(10) == 0,
        rows,
        position: Position {
            epoch: 3,
            seq: *number * 2,
            last_acked: *number,
            next_transition: *number + 1,
            truncated: 1,
            policy: vec![1, 2],
        },
    }
}

/// A disk with a spool that has a past, and the spool's image.
fn lived(random: &mut Random, number: &mut u64) -> (Disk, Tables, Image) {
    let disk = Disk::default();
    let (mut tables, mut image) = (Tables::create(disk.clone(), None).unwrap(), Image::default());
    for _ in 0..6 {
        let save = save(random, number);
        tables.write(&save).unwrap();
        image.apply(save);
    }
    (disk, tables, image)
}

/// At every change of the disk that a save makes, with nothing, a beginning and any part of what was not synced: the image is that
/// before the save or that after it. So it is when the power goes again while the spool is opened.
#[test]
fn a_crash_at_any_moment_leaves_the_image_before_or_after_the_save() {
    let (mut crashes, mut before, mut after) = (0, 0, 0);
    for seed in 0..12 {
        let (mut random, mut number) = (Random(seed), 0);
        let (disk, tables, old) = lived(&mut random, &mut number);
        let start = disk.bytes();
        drop(tables);
        let next = save(&mut random, &mut number);
        let mut new = old.clone();
        new.apply(next.clone());
        for point in 0.. {
            let disk = Disk::with(start.clone());
            let (mut tables, _) = Tables::open(disk.clone()).unwrap();
            disk.crash_after(point);
            let told = tables.write(&next).is_ok();
            let reached = disk.changes() <= point;
            // The process is gone: nothing of its closing reaches the disk.
            disk.crash_after(0);
            drop(tables);
            for part in 0..3 {
                let (cut, torn) = (random.below(8), random.below(5000));
                let mut n = 0;
                let left = disk.after_crash(
                    || {
                        n += 1;
                        match part {
                            0 => false,
                            1 => n <= cut,
                            _ => random.often(),
                        }
                    },
                    torn,
                );
                // And once more, while it is opened.
                let again = Disk::with(left);
                again.crash_after(random.below(12));
                drop(Tables::open(again.clone()));
                let left = again.after_crash(|| part == 1, torn);
                let (_, image) = Tables::open(Disk::with(left)).unwrap_or_else(|error| panic!("seed {seed}, point {point}: {error:?}"));
                let image = image.unwrap();
                assert!(image == new || !told && image == old, "seed {seed}, point {point}, part {part}: a mix, or an old one after Ok");
                crashes += 1;
                before += usize::from(image == old);
                after += usize::from(image == new);
            }
            if reached {
                break;
            }
        }
    }
    println!("{crashes} crashes: {before} left the image before, {after} the image after");
    assert!(crashes > 300 && before > 100 && after > 30);
}

/// Thousands of flipped bits: each is noticed, or was in nothing that counts.
#[test]
fn a_flipped_bit_is_noticed_or_changes_nothing() {
    let (mut random, mut number) = (Random(99), 0);
    let (disk, tables, image) = lived(&mut random, &mut number);
    drop(tables);
    let bytes = disk.bytes();
    let (mut noticed, mut harmless) = (0, 0);
    for n in 0..4000 {
        // A third in the header, where most of the meaning is.
        let at = if n % 3 == 0 { random.below(320) } else { random.below(bytes.len()) };
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << random.below(8);
        match guarded(|| Tables::open(Disk::with(flipped))) {
            Ok((_, read)) => {
                assert_eq!(read.as_ref(), Some(&image), "a flipped bit in byte {at} gave another image");
                harmless += 1;
            }
            Err(_) => noticed += 1,
        }
    }
    println!("{} bytes; {noticed} flips noticed, {harmless} harmless", bytes.len());
    assert!(noticed > 400 && harmless > 400);
}
