//! The disk against a real file and thread; only the clock is the test's.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail")]

use holdfast_checks::entries::{Changes, Entry, Evidence, Finding, Severity, State, Transition, Verdict};

use super::*;
use crate::spool::file::{Opened, SpoolFile};
use crate::spool::writer::Retry;

const SOON: Retry = Retry { first: Duration::from_millis(20), most: Duration::from_millis(20) };

fn failing(severity: Severity) -> Changes {
    let evidence = Evidence { path: "p".to_owned(), value: None, source: "s".to_owned(), at: 0 };
    let finding = Finding {
        check: "c".to_owned(),
        subject: "node".to_owned(),
        verdict: Verdict::Fail,
        reason: String::new(),
        severity,
        title: "t".to_owned(),
        evidence: vec![evidence],
        evidence_truncated: false,
    };
    State::default().compare(vec![Entry::finding(finding, 0)], |_| true, 0)
}

fn new() -> Spool {
    let mut spool = Spool::in_memory(7);
    spool.keep_in_file();
    spool
}

fn open(directory: &Path) -> (Spool, Disk) {
    let Opened { file, image, set_aside } = SpoolFile::open(directory).expect("opens");
    let spool = image.map_or_else(new, |image| Spool::restore(image, 0));
    let writer = Writer::start(directory.to_owned(), Some(file), SOON).expect("a thread");
    (spool, Disk::file(directory, writer, set_aside.as_ref(), Arc::default()))
}

async fn event(disk: &mut Disk) -> Event {
    tokio::time::timeout(Duration::from_mins(1), disk.next()).await.expect("something in time")
}

fn numbers<'a>(transitions: impl Iterator<Item = &'a Transition>) -> usize {
    transitions.count()
}

#[tokio::test]
async fn what_is_urgent_is_durable_before_it_may_leave_and_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, mut disk) = open(directory.path());
    assert_eq!(disk.turn(&mut spool, 0), Turn::Began, "a new spool is saved whole");
    spool.apply(failing(Severity::High));
    assert_eq!(disk.next_ms(&spool, 5), Some(PATIENCE_MS), "one at a time");
    let began = event(&mut disk).await;
    assert!(disk.heard(began, &mut spool, 6));
    assert_eq!((numbers(spool.unsent_transitions()), disk.next_ms(&spool, 7)), (0, Some(7)), "urgent: at once");
    assert_eq!(disk.turn(&mut spool, 7), Turn::Began);
    let ended = event(&mut disk).await;
    assert!(disk.heard(ended, &mut spool, 9));
    assert_eq!(numbers(spool.unsent_transitions()), 1);
    assert_eq!(disk.gauges.spool.saves.load(Ordering::Relaxed), 2);
    assert!(disk.gauges.spool.bytes.load(Ordering::Relaxed) > 0);
    disk.finish(&mut spool, Instant::now()).await;
    let (spool, disk) = open(directory.path());
    assert_eq!((spool.epoch(), spool.entries(), numbers(spool.unsent_transitions())), (7, 1, 1));
    assert_eq!((disk.state().kind, disk.state().reason.as_str()), (SpoolKind::File, ""));
}

#[tokio::test]
async fn what_is_not_urgent_is_saved_once_a_second() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, mut disk) = open(directory.path());
    assert_eq!(disk.turn(&mut spool, 100), Turn::Began);
    let began = event(&mut disk).await;
    disk.heard(began, &mut spool, 110);
    spool.apply(failing(Severity::Low));
    assert_eq!((disk.next_ms(&spool, 120), disk.turn(&mut spool, 120)), (Some(1_100), Turn::Nothing));
    assert_eq!(disk.turn(&mut spool, 1_100), Turn::Began);
}

#[tokio::test]
async fn a_disk_that_hangs_holds_up_nothing_and_its_late_answer_is_no_surprise() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, mut disk) = open(directory.path());
    spool.apply(failing(Severity::High));
    assert_eq!(disk.turn(&mut spool, 0), Turn::Began);
    assert_eq!((disk.turn(&mut spool, 4_999), numbers(spool.unsent_transitions())), (Turn::Nothing, 0));
    assert_eq!((disk.turn(&mut spool, 5_000), numbers(spool.unsent_transitions())), (Turn::GaveUp, 1));
    let state = disk.state();
    let words = state.detail.replace(&state.path, "FILE");
    assert_eq!(words, "the disk took longer than 5 s to save the spool FILE: see whether it works");
    assert_eq!((state.kind, state.reason.as_str()), (SpoolKind::Memory, "io"));
    assert_eq!(disk.turn(&mut spool, 60_000), Turn::Nothing, "the disk still has the save");
    let late = event(&mut disk).await;
    assert!(!disk.heard(late, &mut spool, 60_000));
    assert_eq!(disk.turn(&mut spool, 60_000), Turn::Began, "the whole, because the file is old by now");
    let saved = event(&mut disk).await;
    assert!(disk.heard(saved, &mut spool, 60_001));
    assert_eq!(disk.state().kind, SpoolKind::File);
    assert_eq!(disk.gauges.spool.failed_saves.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_directory_that_comes_later_is_used_then() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("spool");
    std::fs::write(&place, "not a directory").unwrap();
    let writer = Writer::start(place.clone(), None, SOON).unwrap();
    let mut spool = Spool::in_memory(7);
    let mut disk = Disk::lost(&place, Some(writer), "read_only", "for the test".to_owned(), Arc::default());
    spool.apply(failing(Severity::High));
    assert_eq!((disk.next_ms(&spool, 0), numbers(spool.unsent_transitions())), (None, 1), "in memory nothing waits");
    let failed = event(&mut disk).await;
    assert!(!disk.heard(failed, &mut spool, 40));
    let said = (disk.state().reason.as_str(), disk.gauges.spool.failed_saves.load(Ordering::Relaxed));
    assert_eq!(said, ("io", 0), "why it is now, and no save failed");
    std::fs::remove_file(&place).unwrap();
    std::fs::create_dir(&place).unwrap();
    let ready = event(&mut disk).await;
    assert!(!disk.heard(ready, &mut spool, 50));
    assert_eq!(disk.state().kind, SpoolKind::Memory, "until something is in it");
    assert_eq!(disk.turn(&mut spool, 50), Turn::Began);
    let saved = event(&mut disk).await;
    assert!(disk.heard(saved, &mut spool, 51));
    assert_eq!(disk.state().kind, SpoolKind::File);
}

#[tokio::test]
async fn history_in_a_file_that_opens_only_later_is_counted_and_said() {
    let directory = tempfile::tempdir().unwrap();
    let (mut before, disk) = open(directory.path());
    before.apply(failing(Severity::High));
    disk.finish(&mut before, Instant::now()).await;
    // The next agent cannot have it, and begins without.
    let held = SpoolFile::open(directory.path()).unwrap().file;
    let writer = Writer::start(directory.path().to_owned(), None, SOON).unwrap();
    let mut spool = Spool::in_memory(8);
    let mut disk = Disk::lost(directory.path(), Some(writer), "in_use", "for the test".to_owned(), Arc::default());
    drop(held);
    let mut unread = event(&mut disk).await;
    // On a busy machine it had tried while the file was still held.
    while matches!(unread, Event::Failed(_)) {
        disk.heard(unread, &mut spool, 10);
        unread = event(&mut disk).await;
    }
    assert!(matches!(unread, Event::Unread { transitions: 1 }), "{unread:?}");
    disk.heard(unread, &mut spool, 10);
    let ready = event(&mut disk).await;
    assert!(matches!(ready, Event::Ready { set_aside: None }), "{ready:?}");
    disk.heard(ready, &mut spool, 11);
    assert_eq!(spool.truncated(), 1);
    assert_eq!(disk.turn(&mut spool, 11), Turn::Began);
    let saved = event(&mut disk).await;
    assert!(disk.heard(saved, &mut spool, 12));
    let recreated = disk.state().recreated.as_ref().expect("said also once there is a file");
    assert!(recreated.set_aside.is_empty() && recreated.because.contains("1 changes"), "{recreated:?}");
}

#[tokio::test]
async fn what_does_not_fit_is_kept_in_memory_and_saved_once_it_fits() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, mut disk) = open(directory.path());
    let text = serde_json::Value::String("x".repeat(2_800));
    let large = (0..4_000).map(|name| Entry::inventory("kind", &name.to_string(), &text, 0).unwrap()).collect();
    spool.apply(Changes { upserts: large, ..Changes::default() });
    assert_eq!(disk.turn(&mut spool, 0), Turn::Began);
    let failed = event(&mut disk).await;
    assert!(matches!(failed, Event::Failed(_)), "{failed:?}");
    assert!(!disk.heard(failed, &mut spool, 10));
    assert_eq!((disk.state().kind, disk.state().reason.as_str()), (SpoolKind::Memory, "too_large"));
    assert!(!spool.has_unsaved());
    let gone = spool.state().iter().map(|entry| entry.key.clone()).collect();
    spool.apply(Changes { gone, ..Changes::default() });
    let ready = event(&mut disk).await;
    assert!(!disk.heard(ready, &mut spool, 20));
    assert_eq!(disk.turn(&mut spool, 2_000), Turn::Began);
    let saved = event(&mut disk).await;
    assert!(disk.heard(saved, &mut spool, 2_010));
    assert_eq!(disk.state().kind, SpoolKind::File);
}

#[tokio::test]
async fn a_spool_that_is_no_spool_is_set_aside_and_told() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(FILE_NAME), "no spool").unwrap();
    let (_, disk) = open(directory.path());
    let recreated = disk.state().recreated.as_ref().expect("told");
    assert_eq!(std::fs::read_to_string(&recreated.set_aside).unwrap(), "no spool");
    assert!(recreated.at > 0 && !recreated.because.is_empty());
}
