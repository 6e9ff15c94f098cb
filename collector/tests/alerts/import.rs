//! CISA's catalogue, imported as people import it into a collector that runs: what is written because of it, and what is not.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use holdfast_checks::catalogue::built_in;
use holdfast_checks::evaluator::Evaluator;
use holdfast_collector::feeds::{self, Feeds, Following, Pace, Terminal};
use holdfast_collector::metrics::Metrics;
use holdfast_collector::peers::Roster;
use holdfast_collector::{alerts, fleet};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::database::{Database, Hand, START, eventually, nobody_connected, options, settled};

const CHECK: &str = "kernel-known-exploited";
const FAIL: i64 = 2;
/// About kernels from 4.11 to this spring's, and not among the exploited of the snapshot.
const FRESH: &str = "CVE-2026-43284";

/// CISA's catalogue of 2026-11-19: what the snapshot has of it, what was added since, and others' products.
fn catalogue() -> String {
    let known = include_str!("../../../checks/data/exploited.yaml");
    let known = known.split("{id: ").skip(1).filter_map(|entry| {
        Some((entry.split(',').next()?, field(entry, "added"), field(entry, "due"), entry.contains("ransomware: true")))
    });
    let others: Vec<String> = (0..1600).map(|number| format!("CVE-2025-{}", 90_000 + number)).collect();
    let fresh = others.iter().map(String::as_str).chain([FRESH]).map(|id| (id, "2026-11-19", "2026-12-03", false));
    let entry = |(id, added, due, ransomware): (&str, &str, &str, bool)| {
        json!({
            "cveID": id, "vendorProject": "Linux", "product": "Kernel", "vulnerabilityName": "", "dateAdded": added,
            "shortDescription": "…", "requiredAction": "…", "dueDate": due,
            "knownRansomwareCampaignUse": if ransomware { "Known" } else { "Unknown" }, "notes": "", "cwes": []
        })
    };
    let entries: Vec<Value> = known.chain(fresh).map(entry).collect();
    json!({
        "title": "CISA Catalog of Known Exploited Vulnerabilities", "catalogVersion": "2026.11.19",
        "dateReleased": "2026-11-19T15:00:22.4321Z", "count": entries.len(), "vulnerabilities": entries
    })
    .to_string()
}

fn field<'t>(entry: &'t str, name: &str) -> &'t str {
    entry.split(&format!("{name}: '")).nth(1).and_then(|rest| rest.split('\'').next()).unwrap()
}

async fn node(database: &Database, node: i64, os: Value, release: &str, version: &str) {
    database.node(node, &format!("a{node}"), "connected", 0).await;
    database.inventory(node, "os", "self", &os.to_string()).await;
    database.inventory(node, "kernel", "self", &json!({"release": release, "version": version}).to_string()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_cisa_that_is_imported_writes_to_the_nodes_it_matches_and_to_no_other() {
    let (database, hand) = (Database::new().await, Hand::at(START));
    let os = |id: &str, version: &str| json!({"id": id, "id_like": [], "version_id": version, "pretty_name": id, "fields": {"BUILD_ID": "rolling"}});
    node(&database, 1, os("arch", ""), "6.1.171", "#1 SMP PREEMPT_DYNAMIC").await;
    node(&database, 2, os("arch", ""), "6.12.104", "#1 SMP PREEMPT_DYNAMIC").await;
    node(&database, 3, os("debian", "11"), "5.10.0-33-amd64", "#1 SMP Debian 5.10.300-1 (2026-10-03)").await;
    node(&database, 4, os("ubuntu", "16.04"), "4.4.0-999-generic", "#999-Ubuntu SMP").await;
    node(&database, 5, os("rocky", "9.6"), "5.14.0-999.1.1.el9_6.x86_64", "#1 SMP").await;
    node(&database, 6, os("nobody", ""), "99.9.9", "#1").await;
    // May be affected: its patch chain says that what may is exploited, no verdict does.
    node(&database, 7, os("ubuntu", "22.04"), "5.15.0-999-generic", "#999-Ubuntu SMP").await;

    let (data, cancel) = (tempfile::tempdir().unwrap(), CancellationToken::new());
    let tick = Duration::from_millis(50);
    let pace = Pace { shelf: tick, directory: tick, settle: tick };
    let following = Following { data: data.path().to_owned(), directory: None, metrics: Metrics::default(), clock: hand.clock(), pace };
    let (library, keeping) = feeds::follow(following, cancel.clone()).await.unwrap();
    tokio::spawn(keeping);
    let judging = fleet::Judging {
        evaluator: Arc::new(Evaluator::new(built_in().unwrap())),
        store: database.store.clone(),
        changes: database.changes.clone(),
        roster: Arc::new(Roster::new(false, Metrics::default())),
        registry: nobody_connected(),
        cluster: None,
        library: library.clone(),
        clock: hand.clock(),
        tick: fleet::TICK,
    };
    tokio::spawn(fleet::run(judging, cancel.clone()));
    tokio::spawn(alerts::run(options(&[], &[]), database.store.clone(), database.changes.clone(), hand.clock(), cancel.clone()));
    eventually("all are judged", || async { (database.verdicts(CHECK).await.len() == 7).then_some(()) }).await;
    assert!(!database.verdicts(CHECK).await.contains(&FAIL));
    // The census follows the first round.
    let before = settled(async || {
        let mut all = Vec::new();
        for node in 1..=7 {
            all.push((database.findings(node).await, database.chain_json(node).await));
        }
        all
    })
    .await;

    hand.forward(60_000);
    let mut heard = database.changes.follow();
    let file: PathBuf = data.path().join("known_exploited_vulnerabilities.json");
    std::fs::write(&file, catalogue()).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut terminal = Terminal { out: &mut out, err: &mut err, person: false, now: hand.clock()() };
    let import = Feeds::Import { data: data.path().to_owned(), older: false, files: vec![file] };
    assert_eq!(feeds::command(import, &mut terminal).unwrap(), 0, "{}", String::from_utf8_lossy(&err));
    eventually("the node it matches is upgraded", || async { (database.verdicts(CHECK).await.first() == Some(&FAIL)).then_some(()) }).await;
    let alert = eventually("it alerts", || database.alert(CHECK)).await;
    assert_eq!(alert.annotations["nodes"], "prod/a1");
    assert_eq!(library.borrow().knowledge.feeds().last().unwrap().as_of.to_string(), "2026-11-19", "newer than everything else");
    eventually("and the one it may match", || async { (database.chain_json(7).await != before[6].1).then_some(()) }).await;
    tokio::time::sleep(Duration::from_millis(700)).await;

    let written = std::iter::from_fn(|| heard.try_recv().ok()).filter(|change| change.node_id != 0).map(|change| change.node_id);
    assert_eq!(written.collect::<BTreeSet<i64>>(), [1, 7].into());
    for (node, before) in (1..).zip(&before) {
        let (after, chain) = (database.findings(node).await, database.chain_json(node).await);
        let moved: BTreeSet<&str> =
            after.iter().filter(|(key, row)| before.0.get(*key) != Some(*row)).map(|((check, _), _)| check.as_str()).collect();
        let verdicts: Vec<&str> = after
            .iter()
            .filter(|(key, row)| before.0.get(*key).map(|row| row.0) != Some(row.0))
            .map(|((check, _), _)| check.as_str())
            .collect();
        match node {
            1 => assert!(verdicts.contains(&CHECK) && verdicts.iter().all(|check| check.starts_with("kernel-")), "{verdicts:?}"),
            7 => assert_eq!(verdicts, [""; 0]),
            _ => assert_eq!((moved.len(), chain == before.1), (0, true), "node {node}: {moved:?}"),
        }
        assert!(moved.iter().all(|check| check.starts_with("kernel-")), "node {node}: {moved:?}");
    }
    cancel.cancel();
}
