//! What the collector judges itself, and the alert that follows: inventory in, findings, history and alert out.

use std::sync::Arc;
use std::time::Duration;

use holdfast_checks::catalogue::{Catalogue, Document, JudgedBy, built_in};
use holdfast_checks::evaluator::Evaluator;
use holdfast_checks::facts::ProbeOutcome;
use holdfast_checks::versions::knowledge::{Advisory, Builder, Exploited, FeedInfo, Range, Record};
use holdfast_collector::alerts::AlertState;
use holdfast_collector::changes::{Change, ChangeKind};
use holdfast_collector::feeds::{Follow, Library};
use holdfast_collector::ingest::session::Moment;
use holdfast_collector::metrics::Metrics;
use holdfast_collector::nodes::{Breach, Heartbeat, Registry};
use holdfast_collector::peers::Roster;
use holdfast_collector::store::peers::{Met, PeerAnswer};
use holdfast_collector::store::retention::Retention;
use holdfast_collector::{alerts, fleet};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::database::{Database, Hand, eventually, nobody_connected, options, settled};

const OS: &str = r#"{"id":"debian","id_like":[],"version_id":"11","pretty_name":"Debian GNU/Linux 11","fields":{}}"#;
const KERNEL: &str = r##"{"release":"5.10.0-33-amd64","version":"#1 SMP Debian 5.10.226-1 (2024-10-03)"}"##;
const NEWER: &str = r##"{"release":"5.10.0-34-amd64","version":"#1 SMP Debian 5.10.234-1 (2025-02-24)"}"##;
const DAY: i64 = 24 * 60 * 60 * 1000;
const CHECK: &str = "kernel-end-of-life";
const PASS: i64 = 1;
const FAIL: i64 = 2;
const UNKNOWN: i64 = 4;

fn noon(date: &str) -> i64 {
    format!("{date}T12:00:00Z").parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

fn start(database: &Database, hand: &Hand) -> CancellationToken {
    start_by(built_in().unwrap(), database, hand)
}

fn start_by(catalogue: Catalogue, database: &Database, hand: &Hand) -> CancellationToken {
    let nobody = Arc::new(Roster::new(false, Metrics::default()));
    start_with(catalogue, database, hand, nobody, fleet::TICK)
}

fn start_with(catalogue: Catalogue, database: &Database, hand: &Hand, roster: Arc<Roster>, tick: Duration) -> CancellationToken {
    start_knowing(Library::built_in().unwrap().fixed(), catalogue, database, hand, roster, tick)
}

fn start_knowing(
    library: Follow,
    catalogue: Catalogue,
    database: &Database,
    hand: &Hand,
    roster: Arc<Roster>,
    tick: Duration,
) -> CancellationToken {
    start_hearing(nobody_connected(), library, catalogue, database, hand, roster, tick)
}

fn start_hearing(
    registry: Arc<Registry>,
    library: Follow,
    catalogue: Catalogue,
    database: &Database,
    hand: &Hand,
    roster: Arc<Roster>,
    tick: Duration,
) -> CancellationToken {
    let evaluator = Arc::new(Evaluator::new(catalogue));
    let cancel = CancellationToken::new();
    let (store, changes, clock) = (database.store.clone(), database.changes.clone(), hand.clock());
    tokio::spawn(fleet::run(
        fleet::Judging { evaluator, store, changes, roster, registry, cluster: None, library, clock, tick },
        cancel.clone(),
    ));
    cancel
}

async fn judged(database: &Database, verdict: i64) -> (i64, String, String) {
    eventually("the verdict is stored", || async { database.judged(CHECK).await.filter(|row| row.0 == verdict) }).await
}

#[tokio::test]
async fn only_what_the_collector_decides_is_judged_here() {
    let database = Database::new().await;
    database.node(1, "a1", "connected", 0).await;
    database.inventory(1, "kernel", "self", KERNEL).await;
    let cancel = start(&database, &Hand::at(noon("2022-05-01")));
    eventually("something is judged", || async { Some(database.judged_checks().await).filter(|all| !all.is_empty()) }).await;
    // The census follows the first round.
    let stored = settled(async || database.judged_checks().await).await;
    cancel.cancel();
    let catalogue = built_in().unwrap();
    let ours = catalogue.checks().iter().filter(|check| check.judged_by == JudgedBy::Collector).map(|check| check.id.to_string());
    assert_eq!(stored, ours.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_kernel_whose_support_ended_overnight_is_a_finding_with_history_and_an_alert() {
    let database = Database::new().await;
    let hand = Hand::at(noon("2022-05-01"));
    database.node(1, "a1", "connected", 0).await;
    database.inventory(1, "os", "self", OS).await;
    database.inventory(1, "kernel", "self", KERNEL).await;
    let cancel = start(&database, &hand);
    let stop = cancel.clone();
    let alerting = alerts::run(options(&[], &[]), database.store.clone(), database.changes.clone(), hand.clock(), cancel.clone());
    tokio::spawn(alerting);
    judged(&database, PASS).await;
    assert_eq!(database.counts(CHECK).await, [(PASS, 1)]);

    hand.forward(10 * 365 * DAY);
    // Any change of a node wakes the task; the minute would, too.
    database.inventory(1, "listener", "tcp/0.0.0.0/22", "{}").await;
    let row = judged(&database, FAIL).await;
    assert!(row.2.starts_with("state = eol"), "{row:?}");
    assert_eq!(database.counts(CHECK).await, [(FAIL, 1)]);
    let history: Vec<(String, i64, i64)> =
        database.history(CHECK).await.into_iter().map(|(epoch, _, from, to)| (epoch, from, to)).collect();
    assert_eq!(history, [("collector".to_owned(), 0, PASS), ("collector".to_owned(), PASS, FAIL)]);

    let fired = eventually("it alerts", || database.alert("kernel-end-of-life")).await;
    insta::assert_json_snapshot!(fired.annotations);
    assert_eq!((fired.state, fired.starts_at), (AlertState::Firing, noon("2022-05-01") + 10 * 365 * DAY));
    stop.cancel();
}

/// Neither the node nor anybody else says anything: the day alone is news.
#[tokio::test]
async fn a_day_that_ends_support_raises_the_alert_without_any_new_fact() {
    let database = Database::new().await;
    let hand = Hand::at(noon("2026-08-31"));
    database.node(1, "a1", "connected", 0).await;
    database.inventory(1, "os", "self", OS).await;
    database.inventory(1, "kernel", "self", KERNEL).await;
    let nobody = Arc::new(Roster::new(false, Metrics::default()));
    let cancel = start_with(built_in().unwrap(), &database, &hand, nobody, Duration::from_millis(200));
    let alerting = alerts::run(options(&[], &[]), database.store.clone(), database.changes.clone(), hand.clock(), cancel.clone());
    tokio::spawn(alerting);
    // Debian 11 is in its extended support until that day, the last one included.
    eventually("it is judged", || async { database.judged(CHECK).await.filter(|row| row.0 != FAIL) }).await;
    let support = async || database.chain(1).await.into_iter().find(|row| row.0 == "kernel").map(|row| row.5);
    assert_ne!(support().await.as_deref(), Some("eol"));
    assert!(database.alert(CHECK).await.is_none());
    hand.forward(DAY);
    judged(&database, FAIL).await;
    let alert = eventually("it alerts", || database.alert(CHECK)).await;
    assert_eq!((alert.labels["image"].as_str(), alert.starts_at), ("debian 11", noon("2026-08-31") + DAY));
    assert_eq!(support().await.as_deref(), Some("eol"));
    cancel.cancel();
}

/// `6.1.<level>`, which nobody changed.
fn vanilla(level: i64) -> String {
    format!(r##"{{"release":"6.1.{level}","version":"#1 SMP PREEMPT_DYNAMIC"}}"##)
}

/// Upstream's own kernels on a system of nobody's.
async fn vanilla_node(database: &Database, node: i64, level: i64) {
    database.node(node, &format!("a{node}"), "connected", 0).await;
    database
        .inventory(node, "os", "self", r#"{"id":"arch","id_like":[],"version_id":"","pretty_name":"x","fields":{"BUILD_ID":"rolling"}}"#)
        .await;
    database.inventory(node, "kernel", "self", &vanilla(level)).await;
}

/// A library with an advisory about every 6.1 below 6.1.600, which no record of the snapshot is about, and CISA's catalogue with these entries.
fn knowing(exploited: &[&str]) -> Arc<Library> {
    let mut builder = Builder::new().unwrap();
    let as_of = jiff::civil::date(2026, 11, 18);
    let info = |name: &str, digest: String| FeedInfo { name: name.to_owned(), as_of, source: name.to_owned(), digest, complete: true };
    let advisory = |id: &str| {
        Record::Advisory(Advisory {
            id: id.to_owned(),
            aliases: Vec::new(),
            component: "kernel".to_owned(),
            title: String::new(),
            ranges: vec![Range { introduced: "6.1.0".to_owned(), fixed: Some("6.1.600".to_owned()) }],
            builds: Vec::new(),
            needs: Vec::new(),
            only_family: None,
            score: None,
            record: id.to_owned(),
            source: "test".to_owned(),
        })
    };
    builder.feed(info("kernel-cve", String::new()), [advisory("CVE-2099-0001")]);
    let entry = |id: &&str| {
        let (name, added) = ("Test".to_owned(), jiff::civil::date(2026, 11, 18));
        Record::Exploited(Exploited { id: (*id).to_owned(), name, added, due: None, ransomware: false })
    };
    builder.feed(info("kev", exploited.join(",")), exploited.iter().map(entry));
    Arc::new(Library { knowledge: Arc::new(builder.build()), feeds: Vec::new(), refused: Vec::new() })
}

#[tokio::test]
async fn an_import_of_known_exploited_vulnerabilities_upgrades_the_nodes_they_match_and_nothing_else() {
    const EXPLOITED: &str = "kernel-known-exploited";
    let database = Database::new().await;
    let hand = Hand::at(noon("2026-11-20"));
    vanilla_node(&database, 1, 500).await;
    vanilla_node(&database, 2, 999).await;
    let (import, library) = watch::channel(knowing(&[]));
    let nobody = Arc::new(Roster::new(false, Metrics::default()));
    let cancel = start_knowing(library, built_in().unwrap(), &database, &hand, nobody, fleet::TICK);
    let alerting = alerts::run(options(&[], &[]), database.store.clone(), database.changes.clone(), hand.clock(), cancel.clone());
    tokio::spawn(alerting);
    let verdict = async |node: i64| database.findings(node).await.get(&(EXPLOITED.to_owned(), "node".to_owned())).map(|row| row.0);
    eventually("both are judged", || async { (verdict(1).await.is_some() && verdict(2).await.is_some()).then_some(()) }).await;
    assert_ne!(verdict(1).await, Some(FAIL));
    // The census follows the first round.
    let before = settled(async || (database.findings(1).await, database.findings(2).await, database.chain(2).await)).await;

    hand.forward(60_000);
    import.send_replace(knowing(&["CVE-2099-0001", "CVE-2099-0002"]));
    eventually("the node it matches is upgraded", || async { (verdict(1).await == Some(FAIL)).then_some(()) }).await;
    let alert = eventually("it alerts", || database.alert(EXPLOITED)).await;
    assert_eq!((alert.labels["kernel"].as_str(), alert.annotations["nodes"].as_str()), ("6.1.500", "prod/a1"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((database.findings(2).await, database.chain(2).await), (before.1, before.2), "not a row of the other was written");
    let after = database.findings(1).await;
    let moved: Vec<&str> =
        after.iter().filter(|(key, row)| before.0.get(*key) != Some(*row)).map(|((check, _), _)| check.as_str()).collect();
    assert!(moved.contains(&EXPLOITED) && moved.iter().all(|check| check.starts_with("kernel-")), "{moved:?}");
    let row = database.chain(1).await.into_iter().find(|row| row.0 == "kernel").unwrap();
    assert_eq!(row.4, 1, "the headline: {row:?}");
    cancel.cancel();
}

/// Ubuntu's kernel tells its series only: whether it has the fix, its distribution's records would tell.
#[tokio::test]
async fn what_is_only_possible_never_alerts() {
    let database = Database::new().await;
    let hand = Hand::at(noon("2026-11-20"));
    database.node(1, "a1", "connected", 0).await;
    let os = r#"{"id":"ubuntu","id_like":["debian"],"version_id":"22.04","pretty_name":"Ubuntu 22.04","fields":{}}"#;
    database.inventory(1, "os", "self", os).await;
    database.inventory(1, "kernel", "self", r##"{"release":"6.1.0-10-generic","version":"#10-Ubuntu SMP"}"##).await;
    let nobody = Arc::new(Roster::new(false, Metrics::default()));
    let library = watch::channel(knowing(&["CVE-2099-0001"])).1;
    let cancel = start_knowing(library, built_in().unwrap(), &database, &hand, nobody, fleet::TICK);
    let alerting = alerts::run(options(&[], &[]), database.store.clone(), database.changes.clone(), hand.clock(), cancel.clone());
    tokio::spawn(alerting);
    // Something else alerts, so alerts have been judged since.
    eventually("a feed is missed", || database.alert("version-feed-absent")).await;
    assert!(database.possible(1).await > 0);
    for rule in ["kernel-known-exploited", "runtime-vulnerable", "kernel-fix-not-active"] {
        assert_eq!(database.alert(rule).await, None);
    }
    cancel.cancel();
}

const OUTLIER: &str = "kernel-fleet-outlier";

#[tokio::test]
async fn a_node_behind_those_like_it_is_an_outlier_until_it_follows() {
    let database = Database::new().await;
    let hand = Hand::at(noon("2026-11-20"));
    let cancel = start(&database, &hand);
    let outlier = |node: i64, verdict: i64| {
        let database = &database;
        let key = (OUTLIER.to_owned(), "node".to_owned());
        eventually("the place is judged", move || {
            let key = key.clone();
            async move { database.findings(node).await.get(&key).filter(|row| row.0 == verdict).map(|_| ()) }
        })
    };
    vanilla_node(&database, 1, 90).await;
    outlier(1, PASS).await;
    vanilla_node(&database, 2, 95).await;
    outlier(1, FAIL).await;
    outlier(2, PASS).await;
    // Nodes that are gone do not count, and those that come back do.
    database.node(2, "a2", "gone", 1).await;
    outlier(1, PASS).await;
    database.node(2, "a2", "connected", 2).await;
    outlier(1, FAIL).await;
    database.inventory(1, "kernel", "self", &vanilla(95)).await;
    outlier(1, PASS).await;
    cancel.cancel();
}

#[tokio::test]
async fn one_node_that_claims_to_be_newer_makes_no_outliers_of_a_fleet() {
    let database = Database::new().await;
    let hand = Hand::at(noon("2026-11-20"));
    for node in 1..=21 {
        vanilla_node(&database, node, 90).await;
    }
    vanilla_node(&database, 22, 999).await;
    let cancel = start(&database, &hand);
    eventually("all are judged", || async { (database.verdicts(OUTLIER).await.len() == 22).then_some(()) }).await;
    assert!(settled(async || database.verdicts(OUTLIER).await).await.iter().all(|verdict| *verdict == PASS));
    vanilla_node(&database, 23, 999).await;
    eventually("two are believed", || async {
        (database.verdicts(OUTLIER).await.iter().filter(|verdict| **verdict == FAIL).count() == 21).then_some(())
    })
    .await;
    cancel.cancel();
}

#[tokio::test]
async fn a_restart_moves_no_verdict_and_no_alert() {
    let mut database = Database::new().await;
    let hand = Hand::at(noon("2026-11-20"));
    vanilla_node(&database, 1, 90).await;
    vanilla_node(&database, 2, 95).await;
    database.inventory(1, "os", "self", OS).await;
    let cancel = start(&database, &hand);
    let alerting = async |database: &Database, cancel: &CancellationToken| {
        tokio::spawn(alerts::run(options(&[], &[]), database.store.clone(), database.changes.clone(), hand.clock(), cancel.clone()));
    };
    alerting(&database, &cancel).await;
    eventually("it is judged", || async { (database.verdicts(OUTLIER).await.len() == 2).then_some(()) }).await;
    eventually("it alerts", || async { (!database.store.stored_alerts().await.unwrap().is_empty()).then_some(()) }).await;
    let told = async |database: &Database| {
        let history = database.all_history().await;
        (database.findings(1).await, database.findings(2).await, history, database.store.stored_alerts().await.unwrap())
    };
    let before = settled(async || told(&database).await).await;
    cancel.cancel();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(told(&database).await, before);
    assert!(!before.3.is_empty());

    database.restart().await;
    hand.forward(60_000);
    let cancel = start(&database, &hand);
    alerting(&database, &cancel).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(told(&database).await, before);
    cancel.cancel();
}

#[tokio::test]
async fn a_new_kernel_is_judged_and_what_did_not_change_is_not_written() {
    let database = Database::new().await;
    let hand = Hand::at(noon("2022-05-01"));
    database.node(1, "a1", "connected", 0).await;
    database.inventory(1, "os", "self", OS).await;
    database.inventory(1, "kernel", "self", KERNEL).await;
    let cancel = start(&database, &hand);
    judged(&database, PASS).await;
    let committed = settled(async || database.last_change().await).await;
    database.inventory(1, "kernel", "self", KERNEL).await;
    database.inventory(1, "listener", "tcp/0.0.0.0/22", "{}").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(database.last_change().await, committed);

    database.inventory(1, "kernel", "self", NEWER).await;
    eventually("evidence follows", || async { (database.last_change().await > committed).then_some(()) }).await;
    assert_eq!(database.history(CHECK).await.len(), 1, "a change of evidence alone is no transition");
    cancel.cancel();
}

#[tokio::test]
async fn the_patch_chain_is_stored_with_the_findings_and_goes_with_the_node() {
    let database = Database::new().await;
    let hand = Hand::at(noon("2022-05-01"));
    database.node(1, "a1", "connected", 0).await;
    database.inventory(1, "os", "self", OS).await;
    database.inventory(1, "kernel", "self", KERNEL).await;
    let cancel = start(&database, &hand);
    judged(&database, PASS).await;
    let kernel = async || database.chain(1).await.into_iter().find(|row| row.0 == "kernel");
    let row = kernel().await.expect("the kernel has a row as soon as it has a finding");
    assert_eq!((row.1.as_str(), row.2.as_str(), row.3.as_str()), ("debian 11", "5.10.0-33-amd64", "5.10.0-33-amd64"));
    assert_eq!((row.5.as_str(), row.6.as_str()), ("supported", "debian 5.10 amd64"));

    // A new day moves no verdict, but the days that are left.
    let committed = database.last_change().await;
    hand.forward(DAY);
    database.inventory(1, "listener", "tcp/0.0.0.0/22", "{}").await;
    eventually("pages hear of it", || async { (database.last_change().await > committed).then_some(()) }).await;

    // What is no kernel any more has no row, and neither has a node that was deleted.
    database.inventory(1, "kernel", "self", "{}").await;
    eventually("the link is gone", || async { kernel().await.is_none().then_some(()) }).await;
    database.inventory(1, "kernel", "self", KERNEL).await;
    eventually("the link is back", kernel).await;
    cancel.cancel();
    database.node(1, "a1", "gone", 0).await;
    database.store.sweep(Retention { gone_nodes: 0, ..Retention::default() }, hand.clock()()).await.unwrap();
    assert_eq!(database.chain(1).await, []);
}

#[tokio::test]
async fn inventory_that_does_not_parse_is_unknown_and_hurts_nobody_else() {
    let database = Database::new().await;
    let hand = Hand::at(noon("2022-05-01"));
    database.node(1, "a1", "connected", 0).await;
    database.inventory(1, "os", "self", OS).await;
    database.inventory(1, "kernel", "self", "{\"release\": [\"<script>\"").await;
    let cancel = start(&database, &hand);
    let row = judged(&database, UNKNOWN).await;
    assert!(row.1.starts_with("malformed: "), "{row:?}");

    database.inventory(1, "kernel", "self", KERNEL).await;
    judged(&database, PASS).await;
    cancel.cancel();
}

/// A check of our own, so that this stands whatever the catalogue makes of certificates.
const EXPIRY: &str = r"
- id: kernel-end-of-life
  title: Certificates hold for another month
  severity: high
  area: files
  judged_by: collector
  subjects: certificates
  pass: it.days_left >= 30
  evidence: [it.days_left]
  why: w
  fix: f
";
const ADMIN: &str = r#"{"path":"/etc/kubernetes/admin.conf","role":"kubeconfig","user":"admin","name":"CN=admin","issuer":"CN=kubernetes","not_before":1640995200,"not_after":1672531200,"key":"rsa","key_bits":2048,"signature":"sha256WithRSAEncryption"}"#;

#[tokio::test]
async fn a_certificate_comes_to_its_end_while_its_node_says_nothing_new() {
    let database = Database::new().await;
    let hand = Hand::at(noon("2022-12-02"));
    database.node(1, "a1", "connected", 0).await;
    database.inventory(1, "group", "certificates", r#"{"state":"known","items":1,"skipped":0}"#).await;
    database.inventory(1, "certificate", "certificate:/etc/kubernetes/admin.conf#admin", ADMIN).await;
    let catalogue = Catalogue::load(&[Document { name: "own".to_owned(), text: EXPIRY.to_owned() }]).unwrap();
    let cancel = start_by(catalogue, &database, &hand);
    let row = judged(&database, PASS).await;
    assert!(row.2.contains("30"), "{row:?}");

    hand.forward(DAY);
    database.inventory(1, "listener", "tcp/0.0.0.0/22", "{}").await;
    let row = judged(&database, FAIL).await;
    assert!(row.2.contains("29"), "{row:?}");
    cancel.cancel();
}

#[tokio::test]
async fn answers_that_grow_old_and_nodes_no_longer_asked_about_are_judged_again_in_a_fleet_that_is_never_quiet() {
    const REACHED: &str = "kubelet-serves-peers";
    let database = Database::new().await;
    let hand = Hand::at(noon("2026-11-20"));
    database.node(1, "a1", "connected", 0).await;
    database.node(2, "a2", "connected", 0).await;
    database.inventory(1, "group", "kubelets", r#"{"state":"known","items":1,"skipped":0}"#).await;
    database.inventory(1, "component", "kubelet", r#"{"name":"kubelet","flavour":"kubelet","host_network":true}"#).await;
    let now = noon("2026-11-20");
    let answer = PeerAnswer {
        node_id: 1,
        address: "10.0.0.1".to_owned(),
        port: 10250,
        path: "/pods".to_owned(),
        tls: true,
        vantage_id: 2,
        met: Met::Asked(ProbeOutcome::Answered, 200),
        at: now,
        stale_at: now + DAY / 24,
    };
    database.store.write_peer_answers(&[answer]).await.unwrap();
    let roster = Arc::new(Roster::new(true, Metrics::default()));
    roster.set_targets([1].into());
    let cancel = start_with(built_in().unwrap(), &database, &hand, Arc::clone(&roster), Duration::from_millis(800));
    // Another node changes more often than answers are looked at.
    let feed = database.changes.clone();
    let noise = tokio::spawn(async move {
        loop {
            feed.publish(Change { seq: 0, at: 0, node_id: 2, kind: ChangeKind::Inventory });
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let says = |verdict: i64, part: &'static str| {
        let database = &database;
        eventually(part, move || async move { database.judged(REACHED).await.filter(|row| row.0 == verdict && row.1.contains(part)) })
    };
    says(FAIL, "").await;
    hand.forward(DAY / 24);
    says(UNKNOWN, "or not recently").await;
    roster.set_targets([].into());
    says(UNKNOWN, "not among those").await;
    noise.abort();
    cancel.cancel();
}

/// The verdict on a clock follows its class, not every heartbeat.
#[tokio::test]
async fn a_clock_that_is_minutes_off_is_a_finding_until_it_is_set_or_no_longer_heard() {
    const CLOCK: &str = "node-clock-skew";
    let database = Database::new().await;
    let hand = Hand::at(noon("2026-11-20"));
    database.node(1, "a1", "connected", 0).await;
    database.inventory(1, "os", "self", OS).await;
    let registry = nobody_connected();
    let now = Moment { mono_ms: 0, wall_ms: noon("2026-11-20") };
    registry.connected(1, 1, now);
    let nobody = Arc::new(Roster::new(false, Metrics::default()));
    let library = Library::built_in().unwrap().fixed();
    let tick = Duration::from_millis(50);
    let cancel = start_hearing(Arc::clone(&registry), library, built_in().unwrap(), &database, &hand, nobody, tick);
    let verdict = |wanted: i64| {
        let database = &database;
        eventually("the clock is judged", move || async move { database.judged(CLOCK).await.filter(|row| row.0 == wanted) })
    };
    let beats = |ahead_ms: [i64; 3]| {
        for ahead_ms in ahead_ms {
            let heartbeat = Heartbeat { skew_ms: Some(ahead_ms), ..Heartbeat::default() };
            assert!(registry.heard(1, 1, now, Some(heartbeat), false));
        }
    };
    assert_eq!(verdict(UNKNOWN).await.1, "not_present: fewer than three heartbeats said what time it is there");
    beats([-400_100, i64::MAX, -400_090]);
    assert_eq!(verdict(FAIL).await.2, "ahead_seconds = -400 (agent heartbeats)");
    // A verdict that stays does not move with each heartbeat.
    beats([-401_000, -402_000, -403_000]);
    beats([40, 50, 60]);
    assert_eq!(verdict(PASS).await.2, "ahead_seconds = 0 (agent heartbeats)");
    registry.lost(1, 1, false, now);
    let due = registry.due(now);
    registry.settle(&due);
    assert_eq!(verdict(UNKNOWN).await.1, "not_present: the node is not heard from");
    let history: Vec<(i64, i64)> = database.history(CLOCK).await.into_iter().map(|(_, _, from, to)| (from, to)).collect();
    assert_eq!(history, [(0, UNKNOWN), (UNKNOWN, FAIL), (FAIL, PASS), (PASS, UNKNOWN)]);
    cancel.cancel();
}

/// It was one for up to a second before: whoever looked found nothing that it rested on.
#[tokio::test]
async fn a_second_agent_is_a_finding_only_once_what_says_so_is_stored() {
    const ALONE: &str = "agent-is-alone";
    let database = Database::new().await;
    let hand = Hand::at(noon("2026-11-20"));
    database.node(1, "a1", "connected", 0).await;
    database.spoken_for(1).await;
    database.inventory(1, "os", "self", OS).await;
    let registry = nobody_connected();
    let now = Moment { mono_ms: 0, wall_ms: noon("2026-11-20") };
    registry.connected(1, 1, now);
    let nobody = Arc::new(Roster::new(false, Metrics::default()));
    let (library, tick) = (Library::built_in().unwrap().fixed(), Duration::from_millis(50));
    let cancel = start_hearing(Arc::clone(&registry), library, built_in().unwrap(), &database, &hand, nobody, tick);
    let verdict = |wanted: i64| {
        let database = &database;
        eventually("it is judged", move || async move { database.judged(ALONE).await.filter(|row| row.0 == wanted) })
    };
    verdict(PASS).await;
    registry.breached(1, Breach::Duplicate, "another came", now.wall_ms);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(database.judged(ALONE).await.map(|row| row.0), Some(PASS));

    let (writer, writing) = database.store.writer(database.changes.clone(), Metrics::default(), cancel.clone());
    tokio::spawn(writing);
    let due = registry.breaches_due();
    writer.write_breaches(due.clone()).await.unwrap();
    assert!(verdict(FAIL).await.2.starts_with("duplicates = 1"));
    registry.settle_breaches(&due);
    hand.forward(DAY / 24);
    verdict(PASS).await;
    cancel.cancel();
}
