//! Real containers made by runc on this host: a root process in one is a finding within seconds, and what only passes by is none.

use std::time::{Duration, Instant};

use holdfast_tests::api::Api;
use holdfast_tests::bundle::Bundle;
use holdfast_tests::process::{PATIENCE, Process, pause};
use holdfast_tests::site::Site;
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use crate::BINARIES;

/// A change is there within this; the benchmark shows how far below it. On a busy machine the best of a few has to be.
const CHANGE: Duration = Duration::from_secs(5);
const TRIES: usize = 10;
/// What is a runtime's own for longer than this is judged.
const PREPARED: Duration = Duration::from_secs(10);
/// The check that a root process in a container fails.
const CHECK: &str = "container-root";

/// What such a finding is about: no file tells names of what runc runs alone.
fn subject(container: &Bundle) -> String {
    format!("pod:{}/{:.12}", container.pod, container.id)
}

/// A collector and an agent that stepped down.
struct Watched {
    site: Site,
    _collector: Process,
    _agent: Process,
}

impl Watched {
    fn new() -> Self {
        let site = Site::new(BINARIES).unwrap();
        site.token("host").unwrap();
        let collector = site.collector(&[]).unwrap();
        let agent = site.agent("host", &["--no-probe", "--run-as", "65523"]).unwrap();
        let watched = Self { site, _collector: collector, _agent: agent };
        watched.wait("its findings are there", |api| api.findings("node=host").is_ok_and(|found| found.len() > 20));
        watched
    }

    fn wait(&self, what: &str, there: impl Fn(&Api) -> bool) -> Duration {
        let waited = self.site.api().wait(what, PATIENCE, there);
        waited.unwrap_or_else(|error| panic!("{error}\n{}\n{}", self.site.log("host.log"), self.site.log("collector.log")))
    }

    /// Waits until a process of the container fails the check, or none does.
    fn sees(&self, container: &Bundle, fails: bool) -> Duration {
        let what = if fails { "a root process in a container is a finding" } else { "it is none any more" };
        self.wait(what, |api| failing(api, container).is_empty() != fails)
    }
}

/// Subjects in the container that fail the check.
fn failing(api: &Api, container: &Bundle) -> Vec<String> {
    let found = api.findings(&format!("node=host&check={CHECK}&verdict=fail")).expect("the collector answers");
    let subjects = found.iter().filter_map(|finding| finding["subject"].as_str());
    subjects.filter(|about| *about == subject(container)).map(str::to_owned).collect()
}

#[test]
fn a_root_process_started_in_a_container_is_at_the_collector_within_five_seconds() {
    let watched = Watched::new();
    let other = Bundle::new(1000).unwrap();
    other.run().unwrap();
    let mut best = (Duration::MAX, Duration::MAX);
    for _ in 0..TRIES {
        let root = Bundle::new(0).unwrap();
        let started = Instant::now();
        root.run().unwrap();
        watched.sees(&root, true);
        let seen = started.elapsed();
        root.delete().unwrap();
        let gone = watched.sees(&root, false);
        println!("started to shown {seen:?}, ended to gone {gone:?}");
        best = (best.0.min(seen), best.1.min(gone));
        if best.0 < CHANGE && best.1 < CHANGE {
            break;
        }
    }
    assert!(best.0 < CHANGE && best.1 < CHANGE, "{best:?}");
    assert_eq!(failing(&watched.site.api(), &other), Vec::<String>::new(), "uid 1000 is not root");
}

/// `runc create` leaves a process of the runtime in the container, root and with all it will drop; a probe runs for a moment.
#[test]
fn neither_a_runtime_that_prepares_a_container_nor_a_probe_is_ever_a_finding() {
    let watched = Watched::new();
    let (prepared, probed) = (Bundle::new(0).unwrap(), Bundle::new(1000).unwrap());
    probed.run().unwrap();
    let created = Instant::now();
    prepared.create().unwrap();
    let api = watched.site.api();
    let (until, mut slow) = (Instant::now() + Duration::from_secs(4), false);
    while Instant::now() < until {
        let began = Instant::now();
        probed.exec("0:0", "/bin/true").unwrap();
        // On a machine so busy that it ran for a second it is a process like others.
        slow |= began.elapsed() > Duration::from_secs(1);
        let early = failing(&api, &prepared);
        assert!(early.is_empty() || created.elapsed() > PREPARED, "it was not started yet: {early:?}");
        assert!(slow || failing(&api, &probed).is_empty(), "a probe that comes and goes");
        pause(Duration::from_millis(200));
    }
    prepared.start().unwrap();
    let seen = watched.sees(&prepared, true);
    assert_eq!(failing(&api, &prepared), [subject(&prepared)]);
    println!("started to shown {seen:?}");
}

/// It has the same pid, name and start as before: nothing but the kernel's word tells that it is another program now.
#[test]
fn a_process_that_becomes_root_by_a_setuid_program_is_seen_when_it_does() {
    let watched = Watched::new();
    // Named like the shell that becomes it, and after the time in which a new process is looked at again.
    let container = Bundle::of(1000, &["/bin/sh", "-c", "sleep 8; exec /tmp/sh 86400"], false).unwrap();
    container.add_setuid("/usr/bin/sleep", "sh").unwrap();
    let started = Instant::now();
    container.run().unwrap();
    let api = watched.site.api();
    while started.elapsed() < Duration::from_secs(7) {
        let failing = failing(&api, &container);
        // The answer may have taken so long that it is about a time after that.
        assert!(started.elapsed() > Duration::from_secs(8) || failing.is_empty(), "{failing:?}");
        pause(Duration::from_millis(200));
    }
    if watched.site.log("host.log").contains("the kernel tells of processes") {
        let seen = watched.sees(&container, true);
        println!("a setuid program: shown {:?} after the container started, {seen:?} of them waited", started.elapsed());
    }
}

/// What the node says of itself: told by the kernel, or why not.
#[tokio::test]
async fn the_collector_knows_how_the_agent_hears_of_processes() {
    let watched = Watched::new();
    // It says so when it begins to watch, which need not be before its first findings are there.
    let log = || watched.site.log("host.log");
    watched.wait("it says how it hears", |_| log().contains("the kernel tells of processes") || log().contains("no process events: "));
    let told = log().contains("the kernel tells of processes");
    let options = SqliteConnectOptions::new().filename(watched.site.database()).read_only(true);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    let until = Instant::now() + PATIENCE;
    loop {
        // The snapshot comes in parts, and what it says of this is what was known when the node was read.
        let stored: Option<String> =
            sqlx::query_scalar("select json from inventory where kind = 'node'").fetch_optional(&pool).await.unwrap();
        let node: Value = stored.as_deref().map_or(Value::Null, |node| serde_json::from_str(node).unwrap());
        if (node["process_events"] == true, node["process_events_unknown"].is_string()) == (told, !told) {
            return;
        }
        assert!(Instant::now() < until, "the log says {told}, the collector {node}\n{}", log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
