//! A real Alertmanager is told what fires and what has ended.
//!
//! Needs Debian's package `prometheus-alertmanager`; nothing is skipped without it.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]
#![allow(clippy::disallowed_methods, reason = "a test starts the program it talks to")]

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holdfast_collector::alerts::{Clock, run};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

#[path = "alerts/database.rs"]
#[allow(dead_code, reason = "shared with the other tests of alerts")]
mod database;

use database::{Database, MINUTE, eventually, options};

const PROGRAM: &str = "/usr/bin/prometheus-alertmanager";
const PORT: &str = "kubelet-read-only-port-listening";

/// A running Alertmanager with a configuration and storage of its own.
struct Alertmanager {
    child: Child,
    url: String,
    _directory: tempfile::TempDir,
}

impl Alertmanager {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("alertmanager.yml");
        std::fs::write(&config, "route: {receiver: none}\nreceivers: [{name: none}]\n").unwrap();
        // An address of loopback that nobody else has, and a port that nobody gets by chance: not even whoever asks whether it is ready.
        let [low, high, ..] = std::process::id().to_le_bytes();
        let address = SocketAddr::from(([127, 1, high, low], 9093));
        let child = Command::new(PROGRAM)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", directory.path().display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("start {PROGRAM}: {error}: install the package prometheus-alertmanager"));
        let alertmanager = Self { child, url: format!("http://{address}"), _directory: directory };
        let ready =
            || async { reqwest::get(format!("{}/-/ready", alertmanager.url)).await.ok().filter(|answer| answer.status().is_success()) };
        eventually("Alertmanager is ready", ready).await;
        alertmanager
    }

    /// Its active alerts.
    async fn alerts(&self) -> Vec<Value> {
        reqwest::get(format!("{}/api/v2/alerts?active=true", self.url)).await.unwrap().json().await.unwrap()
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test]
async fn a_real_alertmanager_shows_the_alert_until_it_resolves() {
    let alertmanager = Alertmanager::start().await;
    let database = Database::new().await;
    let clock: Clock = Arc::new(|| i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap());
    let now = clock();
    database.node(1, "a1\u{1b}[31m<b>\"\\", "connected", now - MINUTE).await;
    database.failing(1, PORT, "port = 10255 (socket 0.0.0.0:10255)", now - MINUTE).await;
    let cancel = CancellationToken::new();
    let mut options = options(std::slice::from_ref(&alertmanager.url), &[]);
    // Long enough that the alert does not end by itself while the test runs.
    options.interval = Duration::from_secs(30);
    let task = tokio::spawn(run(options, database.store.clone(), database.changes.clone(), clock, cancel.clone()));

    let shown = eventually("it shows the alert", || async { alertmanager.alerts().await.into_iter().next() }).await;
    assert_eq!(shown["labels"]["alertname"], "Kubelet read-only port reachable");
    assert_eq!(shown["labels"]["cluster"], "prod");
    assert_eq!(shown["annotations"]["nodes"], "a1\u{fffd}[31m‹b›\"\\");
    assert_eq!(shown["annotations"]["summary"], "Kubelet read-only port reachable on 1 node");
    assert_eq!(shown["status"]["state"], "active");
    assert!(shown["generatorURL"].as_str().unwrap().starts_with("https://holdfast.example.org/alerts/"), "{shown}");
    let delivered = || async { database.deliveries().await.first().map(|row| (row.1, row.2.clone())) };
    assert_eq!(eventually("the delivery is stored", delivered).await, (1, "firing".to_owned()));

    database.passing(1, PORT).await;
    eventually("it is gone", || async { alertmanager.alerts().await.is_empty().then_some(()) }).await;
    cancel.cancel();
    task.await.unwrap().unwrap();
}
