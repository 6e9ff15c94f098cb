//! The agent is killed again and again on a host that changes all the time: its spool survives, nothing is lost, nothing is doubled,
//! and in the end the collector has what a fresh scan finds.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use holdfast_checks::catalogue::{JudgedBy, built_in};
use holdfast_checks::entries::{Key, Kind, Verdict};
use holdfast_collector::store::verdict_number;
use holdfast_tests::namespace::Namespace;
use holdfast_tests::process::{PATIENCE, copy_program, pause};
use holdfast_tests::sim::dice::Dice;
use holdfast_tests::site::Site;
use holdfast_tests::stored::{Stored, StoredNode};
use serde_json::Value;

use crate::{BINARIES, KUBELET, rounds};

/// Until everything is told, also of what changed so often that it is told once a minute only.
const SETTLED: Duration = Duration::from_mins(5);
/// Ports that open and close. The collector and everybody else on this machine are in other networks.
const PORTS: [u16; 12] = [10255, 2379, 2380, 4194, 6443, 8080, 8443, 9100, 10248, 10249, 10257, 10259];

/// Changes the host until it is dropped.
struct Unrest {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<u64>>,
}

impl Unrest {
    /// In the network of the calling thread; `config` is the kubelet's.
    fn begin(config: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut dice, mut open, mut changes) = (Dice::new(1, 2), BTreeMap::new(), 0);
            while !stopped.load(Ordering::Relaxed) {
                if dice.one_in(2) {
                    configure(&config, &mut dice);
                } else {
                    let port = PORTS[dice.below(PORTS.len())];
                    if open.remove(&port).is_none()
                        && let Ok(socket) = TcpListener::bind(("0.0.0.0", port))
                    {
                        open.insert(port, socket);
                    }
                }
                changes += 1;
                pause(Duration::from_millis(dice.between(10, 250)));
            }
            // What is open now stays open: it is part of what a scan finds.
            std::mem::forget(open);
            changes
        });
        Self { stop, thread: Some(thread) }
    }

    fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

/// A kubelet's configuration, written as an editor does it.
fn configure(path: &Path, dice: &mut Dice) {
    let mut yes = || if dice.one_in(2) { "true" } else { "false" };
    let mut text = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nauthentication:\n".to_owned();
    text += &format!("  anonymous:\n    enabled: {}\n  webhook:\n    enabled: {}\n", yes(), yes());
    for setting in ["rotateCertificates", "serverTLSBootstrap", "protectKernelDefaults", "makeIPTablesUtilChains", "seccompDefault"] {
        text += &format!("{setting}: {}\n", yes());
    }
    text += &format!("readOnlyPort: {}\n", if dice.one_in(2) { 0 } else { 10255 });
    text += &format!("eventRecordQPS: {}\npodPidsLimit: {}\n", dice.between(0, 50), dice.between(0, 4_000));
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(&new, path).unwrap();
}

/// What a scan finds now, without what only an agent that runs can know of itself.
fn scanned(space: &Namespace) -> BTreeMap<Key, i64> {
    let (code, report, errors) = space.output(BINARIES.agent, &["scan", "-o", "json", "--no-probe"]).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap_or_else(|error| panic!("scan ended with {code}: {error}: {errors}"));
    let catalogue = built_in().unwrap();
    let node = |check: &str| catalogue.checks().iter().any(|known| known.id.as_str() == check && known.judged_by == JudgedBy::Node);
    let text = |finding: &Value, member: &str| finding[member].as_str().unwrap().to_owned();
    let found = report["findings"].as_array().unwrap().iter().filter(|finding| node(&text(finding, "check")));
    let verdict = |name: &str| verdict_number(*Verdict::ALL.iter().find(|verdict| verdict.name() == name).unwrap());
    let entry = |finding: &Value| (Key::finding(&text(finding, "check"), &text(finding, "subject")), verdict(&text(finding, "verdict")));
    without_agent(found.map(entry))
}

fn stored(node: &StoredNode) -> BTreeMap<Key, i64> {
    without_agent(node.rows.iter().filter(|(key, _)| key.kind() == Kind::Finding).map(|(key, (_, verdict))| (key.clone(), *verdict)))
}

fn without_agent(findings: impl Iterator<Item = (Key, i64)>) -> BTreeMap<Key, i64> {
    findings.filter(|(key, _)| !key.as_str().starts_with("agent-")).collect()
}

/// Does it fit together, with nothing missing and nothing twice.
fn whole(node: &StoredNode) -> anyhow::Result<()> {
    node.is_consistent()?;
    node.has_whole_history()
}

/// How many sessions there were.
fn count(site: &Site) -> usize {
    site.log("host.log").matches("\"connected\"").count()
}

#[test]
fn an_agent_killed_again_and_again_loses_and_doubles_nothing() {
    let _kubelet = KUBELET.blocking_lock();
    // Entering a network is for a thread, and for good.
    std::thread::spawn(|| {
        let site = Site::new(BINARIES).unwrap();
        let space = Namespace::new(Path::new(&site.path("namespace.log"))).unwrap();
        space.enter_network().unwrap();
        let (config, orders, program) = (PathBuf::from(site.path("config.yaml")), site.path("orders"), site.path("kubelet"));
        let mut dice = Dice::new(1, 1);
        configure(&config, &mut dice);
        std::fs::write(&orders, "listen 10250 tls 401").unwrap();
        copy_program(env!("CARGO_BIN_EXE_holdfast-test-kubelet"), Path::new(&program)).unwrap();
        let flag = format!("--config={}", config.display());
        let _kubelet = space.start(&program, &[&flag], Path::new(&site.path("kubelet.log")), &[("STAND_IN", &orders)]).unwrap();
        site.token("host").unwrap();
        let _collector = site.collector(&[]).unwrap();
        let unrest = Unrest::begin(config);
        for _ in 0..rounds() {
            let agent = site.agent_in(&space, "host", &["--no-probe"]).unwrap();
            let early = dice.one_in(3);
            // Before, in and after its first pass, and its first session: a busy machine takes its time to come to the last.
            let (sessions, started) = (count(&site), Instant::now());
            while !early && count(&site) == sessions && started.elapsed() < PATIENCE {
                pause(Duration::from_millis(20));
            }
            pause(Duration::from_millis(dice.between(10, 1_500)));
            space.kill(agent).unwrap();
        }
        let _agent = site.agent_in(&space, "host", &["--no-probe"]).unwrap();
        let changes = unrest.end();

        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let database = runtime.block_on(Stored::open(&site.database())).unwrap();
        let settling = Instant::now();
        let node = loop {
            let (node, fresh) = (runtime.block_on(database.node("host")), scanned(&space));
            match node {
                // Read while it may still change: its history may come a moment later, and between two questions of one reading.
                Ok(node) if stored(&node) == fresh && whole(&node).is_ok() => break node,
                node => {
                    let differ = node.map(|node| {
                        let there = stored(&node);
                        let differ = |(key, verdict): &(&Key, &i64)| fresh.get(*key) != Some(*verdict);
                        let more: Vec<_> = there.iter().filter(differ).map(|(key, verdict)| (key.clone(), *verdict)).collect();
                        let less: Vec<_> = fresh.iter().filter(|(key, _)| !there.contains_key(*key)).collect();
                        format!("stored and not scanned {more:?}, scanned and not stored {less:?}, {:?}", whole(&node))
                    });
                    assert!(settling.elapsed() < SETTLED, "{differ:?}\n{}", site.log("host.log"));
                    pause(Duration::from_secs(1));
                }
            }
        };
        let sessions = count(&site);
        println!("{} kills of the agent, {changes} changes of the host, {} transitions, {sessions} sessions", rounds(), node.steps.len());
        assert_eq!(node.epochs(), 1, "the spool survived every kill: {}", site.log("host.log"));
        runtime.block_on(database.is_sound()).unwrap();
        runtime.block_on(database.close());
    })
    .join()
    .unwrap();
}
