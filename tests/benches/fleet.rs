//! Prints what judging a fleet of 10,000 nodes costs after an import: matching alone, and the whole with findings in SQLite.
//! `make bench` runs it; `NODES` makes it another number. In-process, one thread. Nodes come from a recording, with Ubuntu kernels in
//! 200 versions, then each in its own.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints and may fail"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use holdfast_agent::sensors::{CriEndpoint, SensorOptions, Sensors};
use holdfast_checks::catalogue::built_in;
use holdfast_checks::derive::derive;
use holdfast_checks::entries::{Body, Entry};
use holdfast_checks::evaluator::Evaluator;
use holdfast_checks::facts::NodeFacts;
use holdfast_checks::inventory::{self, facts_for_collector};
use holdfast_checks::versions;
use holdfast_checks::versions::knowledge::{Advisory, Builder, Exploited, FeedInfo, Knowledge, PackageFix, Range, Record};
use holdfast_collector::fleet::{Census, FleetJudge, Judgement, Outside, Peers, judge};
use holdfast_collector::nodes::Clock;
use holdfast_collector::store::{JudgedNode, Store};
use holdfast_tests::site::recorded;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

const TODAY: &str = "2026-11-20";
const NOW: i64 = 1_795_176_000_000;
/// Records about the one package that every node runs: as many as Ubuntu publishes about its kernel.
const RECORDS: i64 = 6_000;
const OS: &str = r#"{"id":"ubuntu","id_like":["debian"],"version_id":"22.04","pretty_name":"Ubuntu 22.04","fields":{}}"#;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let count = std::env::var("NODES").ok().and_then(|nodes| nodes.parse().ok()).unwrap_or(10_000);
    let documents = documents(&read("hardened"));
    let (before, after) = (knowledge(0), knowledge(1));
    println!("{count} nodes, {} documents each; {RECORDS} records about their kernel and as many upstream", documents.len());
    for identities in [200, count] {
        matching(&documents, &after, count, identities);
    }
    rejudge(&documents, count, &before, &after).await;
}

/// Restoring facts and matching them, which is what an import makes necessary.
fn matching(documents: &[Document], knowledge: &Knowledge, count: usize, identities: usize) {
    let mut facts: Vec<NodeFacts> = (0..count)
        .map(|node| {
            let documents = of_node(documents, node % identities);
            facts_for_collector("n", "c", documents.iter().map(|(kind, name, json)| (kind.as_str(), name.as_str(), json.as_str())))
        })
        .collect();
    let today = TODAY.parse().expect("a day");
    let memory = versions::Memory::default();
    let (mut figures, start) = (Vec::with_capacity(count), Instant::now());
    for facts in &mut facts {
        let one = Instant::now();
        versions::judge_by(facts, knowledge, &memory, today);
        figures.push(one.elapsed());
    }
    let total = start.elapsed();
    let affecting = |facts: &NodeFacts| facts.versions.value()?.kernel.value()?.vulnerability.value().map(|known| known.affecting);
    let affected = facts.iter().filter_map(affecting).filter(|affecting| *affecting > 0).count();
    println!("matching, {identities:>6} identities   {}  all {:>6.2} s ({affected} affected)", percentiles(figures), total.as_secs_f64());
}

/// The whole: documents read from the store, restored, matched, evaluated, and what changed written.
async fn rejudge(documents: &[Document], count: usize, before: &Knowledge, after: &Knowledge) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("holdfast.db");
    let store = Store::open(&file).await.expect("the store opens");
    fill(&file, documents, count).await;
    let fleet = FleetJudge::new(Arc::new(Evaluator::new(built_in().expect("the built-in catalogue loads"))));
    let (census, today) = (Census::default(), TODAY.parse().expect("a day"));
    for (what, knowledge) in [("first", before), ("nothing new", before), ("after an import", after)] {
        let (mut figures, mut written, start) = (Vec::with_capacity(count), 0, Instant::now());
        for node_id in 1..=i64::try_from(count).expect("a number") {
            let one = Instant::now();
            let node: JudgedNode = store.node_to_judge(node_id).await.expect("a read").expect("the node");
            let outside = Outside { peers: Peers::SwitchedOff, clock: Clock::NotHeard, admission: None, membership: None };
            let judged = judge(&fleet, &node, &outside, &census, knowledge, today, NOW).expect("it is judged");
            let Judgement { findings, chain } = judged;
            let change = store.replace_judged(node_id, fleet.checks(), &findings, &chain, NOW).await.expect("a write");
            written += usize::from(change.is_some());
            figures.push(one.elapsed());
        }
        let total = start.elapsed().as_secs_f64();
        println!("judged and stored, {what:<15} {}  all {total:>6.2} s ({written} nodes written)", percentiles(figures));
    }
    let start = Instant::now();
    let counted = Census::of(&store.running().await.expect("a count"));
    println!("counting what the fleet runs   {:>8.1} ms", start.elapsed().as_secs_f64() * 1000.0);
    assert_ne!(counted, census, "there is something to compare");
}

/// Rows as ingest writes them.
async fn fill(file: &Path, documents: &[Document], count: usize) {
    let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(file)).await.expect("the store opens again");
    let mut transaction = pool.begin().await.expect("a transaction");
    for (node_id, node) in (1_i64..).zip(0..count) {
        let insert = "insert into nodes (node_id, cluster, uid, name, origin, state, state_reason, state_since, session, epoch, seq, digest, \
            agent_version, catalogue_hash, boot_id, first_seen, last_seen, confirmed_at, agent_rss, agent_cpu_ms, agent_queued, agent_dropped, \
            clock_skew_ms, truncated_transitions) values ($1, 'c', $2, $2, 'agent', 'connected', '', 0, 0, '', 0, '', '', '', '', 0, 0, 0, 0, \
            0, 0, 0, 0, 0)";
        let insert = sqlx::query(insert).bind(node_id).bind(format!("n{node}"));
        insert.execute(&mut *transaction).await.expect("a node");
        for (kind, name, json) in of_node(documents, node % 200) {
            let insert = "insert into inventory (node_id, kind, name, json, hash, changed_at) values ($1, $2, $3, $4, '', 0)";
            let insert = sqlx::query(insert).bind(node_id).bind(kind).bind(name).bind(json);
            insert.execute(&mut *transaction).await.expect("a document");
        }
    }
    transaction.commit().await.expect("a commit");
    pool.close().await;
}

fn percentiles(mut figures: Vec<std::time::Duration>) -> String {
    figures.sort_unstable();
    let at = |percent: usize| figures.get(figures.len() * percent / 100).map_or(0.0, |time| time.as_secs_f64() * 1_000_000.0);
    format!("p50 {:>7.0} µs  p99 {:>7.0} µs", at(50), at(99))
}

type Document = (String, String, String);

/// What the collector judges of a recording.
fn documents(facts: &NodeFacts) -> Vec<Document> {
    let entries = inventory::entries(facts, NOW).entries;
    let document = |entry: Entry| match &entry.body {
        Body::Inventory(inventory) => {
            let (kind, name) = entry.key.parts();
            Some((kind.to_owned(), name.to_owned(), inventory.json.clone()))
        }
        Body::Finding(_) => None,
    };
    let judged = ["node", "os", "kernel", "component", "runtime", "listener", "certificate", "group"];
    entries.into_iter().filter_map(document).filter(|(kind, _, _)| judged.contains(&kind.as_str())).collect()
}

/// The documents with a kernel of its own.
fn of_node(documents: &[Document], identity: usize) -> Vec<Document> {
    let mut documents = documents.to_vec();
    for (kind, _, json) in &mut documents {
        match kind.as_str() {
            "os" => OS.clone_into(json),
            "kernel" => {
                let mut kernel: serde_json::Value = serde_json::from_str(json).expect("a kernel");
                kernel["release"] = format!("5.15.0-{identity}-generic").into();
                kernel["version"] = format!("#{}-Ubuntu SMP", identity + 1).into();
                kernel.as_object_mut().expect("an object").remove("package");
                *json = kernel.to_string();
            }
            _ => {}
        }
    }
    documents
}

fn knowledge(exploited: usize) -> Knowledge {
    let mut builder = Builder::new().expect("the built-in data loads");
    let info = |name: &str, digest: usize| {
        let digest = digest.to_string();
        FeedInfo {
            name: name.to_owned(),
            as_of: "2026-11-18".parse().expect("a day"),
            source: "generated".to_owned(),
            digest,
            complete: true,
        }
    };
    let id = |number: i64| format!("CVE-2026-{}", 100_000 + number);
    let package = |number: i64| {
        let fixed = Some(format!("5.15.0-{}.{}", number % 190, number % 190 + 1));
        Record::Package(PackageFix {
            ecosystem: "Ubuntu:22.04:LTS".to_owned(),
            package: "linux".to_owned(),
            ids: vec![id(number)],
            record: format!("UBUNTU-{}", id(number)),
            ranges: vec![Range { introduced: "0".to_owned(), fixed }],
            versions: Vec::new(),
            subscription: false,
        })
    };
    let advisory = |number: i64| {
        let range = |series: i64| Range { introduced: format!("5.{series}"), fixed: Some(format!("5.{series}.{}", number % 200)) };
        Record::Advisory(Advisory {
            id: id(number),
            aliases: Vec::new(),
            component: "kernel".to_owned(),
            title: String::new(),
            ranges: vec![range(4), range(10), range(15)],
            builds: Vec::new(),
            needs: Vec::new(),
            only_family: None,
            score: None,
            record: id(number),
            source: "generated".to_owned(),
        })
    };
    let kev = |number: i64| {
        Record::Exploited(Exploited {
            id: id(number),
            name: String::new(),
            added: TODAY.parse().expect("a day"),
            due: None,
            ransomware: false,
        })
    };
    builder.feed(info("osv/Ubuntu", 0), (0..RECORDS).map(package));
    builder.feed(info("kernel-cve", 0), (0..RECORDS).map(advisory));
    // In a tenth of the fleet's versions.
    builder.feed(info("kev", exploited), (0..exploited).map(|_| kev(20)));
    builder.build()
}

fn read(name: &str) -> NodeFacts {
    let (host_root, proc) = recorded(name);
    let options = SensorOptions {
        host_root: PathBuf::from(host_root),
        proc: PathBuf::from(proc),
        probe: true,
        node_name: Some(name.to_owned()),
        cluster: String::new(),
        configz: None,
        known_binaries: None,
        cri: CriEndpoint::Off,
    };
    let mut facts = Sensors::open(options).expect("the recording opens").read_all(&mut |_| {});
    derive(&mut facts);
    facts
}
