//! The thread that writes: one save under way, its outcome told, the file opened again after a failure, closed in time at the end.

use std::time::Duration;

use holdfast_agent::spool::file::{FILE_NAME, SpoolFile};
use holdfast_agent::spool::writer::{Event, Retry, Unfinished, Writer};

use crate::samples::{image, large, whole};

const QUICK: Retry = Retry { first: Duration::from_millis(20), most: Duration::from_millis(60) };

async fn next(writer: &mut Writer) -> Event {
    tokio::time::timeout(Duration::from_mins(1), writer.next()).await.expect("something comes of it")
}

#[tokio::test]
async fn one_save_is_under_way_and_its_outcome_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = SpoolFile::open(dir.path()).unwrap().file;
    let mut writer = Writer::start(dir.path().to_owned(), Some(file), QUICK).unwrap();
    for n in 1..20 {
        assert!(writer.is_ready());
        writer.submit(whole(&image(n, 3))).unwrap();
        assert!(!writer.is_ready());
        assert_eq!(writer.submit(whole(&image(1, 1))), Err(whole(&image(1, 1))), "one at a time");
        // Waiting for it and giving up loses nothing.
        if let Ok(event) = tokio::time::timeout(Duration::ZERO, writer.next()).await {
            assert!(matches!(event, Event::Saved));
        }
        if !writer.is_ready() {
            assert!(matches!(next(&mut writer).await, Event::Saved));
        }
    }
    writer.finish(Some(whole(&image(30, 7))), Duration::from_mins(1)).await.unwrap();
    assert_eq!(SpoolFile::open(dir.path()).unwrap().image, Some(image(30, 7)));
}

#[tokio::test]
async fn a_writer_without_a_file_opens_one_when_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let holder = SpoolFile::open(dir.path()).unwrap().file;
    let mut writer = Writer::start(dir.path().to_owned(), None, QUICK).unwrap();
    assert!(!writer.is_ready() && writer.submit(whole(&image(1, 1))).is_err());
    let Event::Failed(error) = next(&mut writer).await else { panic!("another agent has it") };
    assert_eq!(error.reason(), "in_use");
    assert!(tokio::time::timeout(Duration::from_millis(200), writer.next()).await.is_err(), "the same reason is told once");
    drop(holder);
    assert!(matches!(next(&mut writer).await, Event::Ready { set_aside: None }));
    writer.submit(whole(&image(4, 4))).unwrap();
    assert!(matches!(next(&mut writer).await, Event::Saved));
    writer.finish(None, Duration::from_mins(1)).await.unwrap();
    assert_eq!(SpoolFile::open(dir.path()).unwrap().image, Some(image(4, 4)));
}

#[tokio::test]
async fn a_save_that_fails_is_told_and_the_file_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = SpoolFile::open(dir.path()).unwrap().file;
    let mut writer = Writer::start(dir.path().to_owned(), Some(file), QUICK).unwrap();
    for _ in 0..2 {
        writer.submit(whole(&large(3500))).unwrap();
        let Event::Failed(error) = next(&mut writer).await else { panic!("it is too large") };
        assert_eq!(error.reason(), "too_large");
        assert!(matches!(next(&mut writer).await, Event::Ready { set_aside: None }));
    }
    writer.submit(whole(&image(4, 4))).unwrap();
    assert!(matches!(next(&mut writer).await, Event::Saved));
}

#[tokio::test]
async fn a_file_that_went_bad_meanwhile_is_set_aside_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer =
        Writer::start(dir.path().to_owned(), None, Retry { first: Duration::from_millis(1), most: Duration::from_millis(1) }).unwrap();
    assert!(matches!(next(&mut writer).await, Event::Ready { .. }));
    writer.submit(whole(&large(3500))).unwrap();
    assert!(matches!(next(&mut writer).await, Event::Failed(_)));
    assert!(matches!(next(&mut writer).await, Event::Ready { .. }));
    writer.finish(None, Duration::from_mins(1)).await.unwrap();
    std::fs::write(dir.path().join(FILE_NAME), b"bad").unwrap();
    let mut writer = Writer::start(dir.path().to_owned(), None, QUICK).unwrap();
    let Event::Ready { set_aside: Some(aside) } = next(&mut writer).await else { panic!("it was bad") };
    assert!(aside.path.starts_with(dir.path()));
}

#[tokio::test]
async fn the_end_is_bounded_also_without_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let _holder = SpoolFile::open(dir.path()).unwrap().file;
    let long = Retry { first: Duration::from_mins(10), most: Duration::from_mins(10) };
    let writer = Writer::start(dir.path().to_owned(), None, long).unwrap();
    let end = writer.finish(Some(whole(&image(1, 1))), Duration::from_mins(1)).await;
    assert!(matches!(end, Err(Unfinished::NoFile)), "{end:?}");
    let writer = Writer::start(dir.path().to_owned(), None, long).unwrap();
    tokio::time::timeout(Duration::from_secs(50), writer.finish(None, Duration::from_mins(1)))
        .await
        .expect("it does not wait for a retry")
        .unwrap();
}

/// A writer that is dropped lets go of the file once the save under way is done.
#[tokio::test]
async fn a_dropped_writer_lets_go_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = SpoolFile::open(dir.path()).unwrap().file;
    let mut writer = Writer::start(dir.path().to_owned(), Some(file), QUICK).unwrap();
    writer.submit(whole(&image(9, 9))).unwrap();
    drop(writer);
    let mut writer = Writer::start(dir.path().to_owned(), None, QUICK).unwrap();
    let mut event = next(&mut writer).await;
    if matches!(&event, Event::Failed(error) if error.reason() == "in_use") {
        event = next(&mut writer).await;
    }
    assert!(matches!(event, Event::Unread { transitions: 9 }), "{event:?}");
    assert!(!writer.is_ready());
    assert!(matches!(next(&mut writer).await, Event::Ready { set_aside: None }));
    writer.finish(None, Duration::from_mins(1)).await.unwrap();
    assert_eq!(SpoolFile::open(dir.path()).unwrap().image, Some(image(9, 9)));
}
