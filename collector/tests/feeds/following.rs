//! A running collector follows what is imported, by hand and from the watched directory.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use holdfast_collector::feeds::{self, Follow, Following, Library, Pace};
use holdfast_collector::metrics::Metrics;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::rig::{Rig, kev, now};

struct Running {
    follow: Follow,
    metrics: Metrics,
    _stop: DropGuard,
}

async fn start(rig: &Rig) -> Running {
    let directory = rig.dir.path().join("watched");
    std::fs::create_dir_all(&directory).unwrap();
    let tick = Duration::from_millis(50);
    let metrics = Metrics::default();
    let following = Following {
        data: rig.data(),
        directory: Some(directory),
        metrics: metrics.clone(),
        clock: Arc::new(now),
        pace: Pace { shelf: tick, directory: tick, settle: tick },
    };
    let stop = CancellationToken::new();
    let (follow, keeping) = feeds::follow(following, stop.clone()).await.unwrap();
    tokio::spawn(keeping);
    Running { follow, metrics, _stop: stop.drop_guard() }
}

impl Running {
    /// Waits until the library is as it should be.
    async fn until(&mut self, wanted: impl Fn(&Library) -> bool) -> Arc<Library> {
        let met = tokio::time::timeout(Duration::from_mins(2), self.follow.wait_for(|library| wanted(library))).await;
        Arc::clone(&met.expect("in time").unwrap())
    }
}

fn put(rig: &Rig, name: &str, text: &str) {
    let fresh = rig.dir.path().join("watched").join(format!(".{name}"));
    std::fs::write(&fresh, text).unwrap();
    std::fs::rename(&fresh, rig.dir.path().join("watched").join(name)).unwrap();
}

fn stamp(path: &Path) -> std::time::SystemTime {
    std::fs::metadata(path).unwrap().modified().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_imported_by_hand_is_in_force_soon() {
    let rig = Rig::new();
    let mut running = start(&rig).await;
    assert!(running.follow.borrow().feeds.is_empty());
    rig.import(&[&rig.file("kev.json", kev("2026-11-18", &["CVE-2021-34527"]))]);
    let library = running.until(|library| library.feeds.len() == 1).await;
    assert_eq!(library.knowledge.feeds().last().unwrap().name, "kev");
    assert!(running.metrics.encode().contains("holdfast_feed_age_seconds{feed=\"kev\"} 172800"));
    rig.remove("kev");
    running.until(|library| library.feeds.is_empty()).await;
    assert!(!running.metrics.encode().contains("feed=\"kev\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_file_is_remembered_until_a_good_one_comes() {
    let rig = Rig::new();
    let mut running = start(&rig).await;
    put(&rig, "kev.json", &kev("2026-11-01", &["CVE-2021-44228"]));
    running.until(|library| library.feeds.len() == 1).await;
    put(&rig, "kev.json", &kev("2026-11-18", &["CVE-2021-34527"])[..200]);
    let library = running.until(|library| library.refused.len() == 1).await;
    assert!(library.knowledge.exploited("CVE-2021-44228").is_some(), "the old one stays");
    insta::assert_snapshot!(format!("{}: {}", library.refused[0].file, library.refused[0].reason));
    assert_eq!(rig.library().refused.len(), 1, "it is kept");
    put(&rig, "kev.json", &kev("2026-11-18", &["CVE-2021-34527"]));
    let library = running.until(|library| library.refused.is_empty()).await;
    assert!(library.knowledge.exploited("CVE-2021-34527").is_some());
    put(&rig, "other.json", "{}");
    running.until(|library| library.refused.len() == 1).await;
    std::fs::remove_file(rig.dir.path().join("watched/other.json")).unwrap();
    running.until(|library| library.refused.is_empty()).await;
    let text = running.metrics.encode();
    assert!(text.contains("holdfast_feed_imports_total{outcome=\"accepted\"} 2"), "{text}");
    assert!(text.contains("holdfast_feed_imports_total{outcome=\"refused\"} 2"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_reads_nothing_again_and_a_new_mount_of_the_same_neither() {
    let rig = Rig::new();
    let text = kev("2026-11-18", &["CVE-2021-34527"]);
    {
        let mut running = start(&rig).await;
        put(&rig, "kev.json", &text);
        running.until(|library| library.feeds.len() == 1).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let compiled = rig.data().join("feeds/kev.feed");
    let before = stamp(&compiled);
    let running = start(&rig).await;
    assert_eq!(running.follow.borrow().feeds.len(), 1, "known from the start");
    put(&rig, "kev.json", &text);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(stamp(&compiled), before);
}

/// It was only logged, every minute, and no page said why a feed did not come.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_another_user_keeps_to_himself_is_said_once_and_read_when_he_does_not() {
    use std::os::unix::fs::PermissionsExt;
    let rig = Rig::new();
    let file = rig.file("kev.json", kev("2026-11-18", &["CVE-2021-34527"]));
    let allow = |mode: u32| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    allow(0o000);
    if std::fs::File::open(&file).is_ok() {
        // Root reads everything.
        return;
    }
    let mut running = start(&rig).await;
    let watched = rig.dir.path().join("watched/kev.json");
    std::os::unix::fs::symlink(&file, &watched).unwrap();
    let library = running.until(|library| !library.refused.is_empty()).await;
    assert!(library.refused[0].reason.contains("ermission denied"), "{:?}", library.refused);
    let list = rig.data().join("feeds/refused.json");
    let before = stamp(&list);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(stamp(&list), before, "once");
    allow(0o644);
    running.until(|library| library.refused.is_empty() && library.feeds.len() == 1).await;
    let other = rig.file("other.json", "{}");
    std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o000)).unwrap();
    std::os::unix::fs::symlink(&other, rig.dir.path().join("watched/other.json")).unwrap();
    running.until(|library| library.refused.len() == 1).await;
    std::fs::remove_file(rig.dir.path().join("watched/other.json")).unwrap();
    running.until(|library| library.refused.is_empty()).await;
    let text = running.metrics.encode();
    assert!(text.contains("holdfast_feed_imports_total{outcome=\"failed\"} 2"), "{text}");
}

/// Its name was remembered as it is shown, so it was read again at every look.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_name_cannot_be_shown_is_read_once() {
    let rig = Rig::new();
    let mut running = start(&rig).await;
    put(&rig, "a\nb.json", "{}");
    let library = running.until(|library| library.refused.len() == 1).await;
    assert_eq!(library.refused[0].file, "a\u{fffd}b.json");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let text = running.metrics.encode();
    assert!(text.contains("holdfast_feed_imports_total{outcome=\"refused\"} 1"), "{text}");
    std::fs::remove_file(rig.dir.path().join("watched/a\nb.json")).unwrap();
    running.until(|library| library.refused.is_empty()).await;
}
