//! Prints the time from a change on the node, a port that opens and a root process that starts in a container, to the collector's
//! durable commit, and the share of each part of the way, as agent and collector measure it themselves. `make bench` runs it;
//! containers need root and runc.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a benchmark prints and may fail")]

use std::net::TcpListener;
use std::time::{Duration, Instant};

use holdfast_tests::api::Api;
use holdfast_tests::bundle::Bundle;
use holdfast_tests::figures::Figures;
use holdfast_tests::port;
use holdfast_tests::site::{Binaries, Site};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

const BINARIES: Binaries =
    Binaries { agent: env!("CARGO_BIN_EXE_holdfast-test-agent"), collector: env!("CARGO_BIN_EXE_holdfast-test-collector") };
const TRIALS: usize = 100;
const CONTAINERS: usize = 40;
const LIMIT: Duration = Duration::from_secs(10);

/// What is waited for: the check and how its subject begins.
const PORT: [&str; 2] = ["kubelet-read-only-port-listening", "port:tcp/10255"];
const ROOT: &str = "container-root";

/// Parts of the way, as the agent's metrics name them, and what they are. The last includes the collector's commit.
const PARTS: [(&str, &str); 5] = [
    ("watch", "noticed (watch, and the pause after the reading before)"),
    ("read", "read"),
    ("judge", "derived and judged"),
    ("spool", "made durable on the node"),
    ("ack", "sent, committed and acknowledged"),
];

/// The parts of the way, trial by trial: the mean of the changes that there were in it.
struct Shares {
    agent: Api,
    collector: Api,
    /// Sum and count so far, of every part and then of commits.
    seen: Vec<(f64, f64)>,
    figures: Vec<Figures>,
}

impl Shares {
    fn new(agent: Api, collector: Api) -> Self {
        let figures = vec![Figures::default(); PARTS.len() + 1];
        let mut shares = Self { agent, collector, seen: Vec::new(), figures };
        shares.seen = shares.now();
        shares
    }

    fn now(&self) -> Vec<(f64, f64)> {
        let part = |name: &str, what: &str| self.agent.metric(&format!("holdfast_agent_change_seconds_{what}{{part=\"{name}\"}}"));
        let mut now: Vec<(f64, f64)> = PARTS.iter().map(|(name, _)| (part(name, "sum"), part(name, "count"))).collect();
        let commits = |what: &str| self.collector.metric(&format!("holdfast_commit_duration_seconds_{what}"));
        now.push((commits("sum"), commits("count")));
        now
    }

    /// A trial is over, and what it led to is acknowledged.
    fn trial(&mut self) {
        let now = self.now();
        for ((figures, (sum, count)), (sum_before, count_before)) in self.figures.iter_mut().zip(&now).zip(&self.seen) {
            if count > count_before {
                figures.add(Duration::from_secs_f64(((sum - sum_before) / (count - count_before)).max(0.0)));
            }
        }
        self.seen = now;
    }

    fn print(&self) {
        let names = PARTS.iter().map(|(_, what)| *what).chain(["  of which the collector's commit"]);
        for (what, figures) in names.zip(&self.figures) {
            println!("    {what:<60} {figures}, {} trials", figures.len());
        }
    }
}

/// Committed transitions of it.
async fn committed(pool: &SqlitePool, [check, subject]: [&str; 2]) -> i64 {
    let sql = "select count(*) from transitions where check_id = $1 and substr(subject, 1, length($2)) = $2";
    sqlx::query_scalar(sql).bind(check).bind(subject).fetch_one(pool).await.expect("read the database")
}

/// Time from `start` until there are more than `seen`.
async fn until_more_than(pool: &SqlitePool, what: [&str; 2], seen: i64, start: Instant) -> Duration {
    while committed(pool, what).await <= seen {
        assert!(start.elapsed() < LIMIT, "no commit within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    start.elapsed()
}

/// The first container of a pod, as the kubelet would have it made.
async fn containers(pool: &SqlitePool) -> [Figures; 2] {
    let (mut started, mut ended) = (Figures::default(), Figures::default());
    for trial in 0..CONTAINERS {
        // Not in step with anything that looks at intervals.
        tokio::time::sleep(Duration::from_millis(300 + 37 * u64::try_from(trial).unwrap_or(0))).await;
        let container = Bundle::new(0).expect("a bundle");
        let subject = format!("pod:{}/", container.pod);
        let start = Instant::now();
        container.run().expect("runc starts it");
        started.add(until_more_than(pool, [ROOT, &subject], 0, start).await);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let seen = committed(pool, [ROOT, &subject]).await;
        let start = Instant::now();
        container.delete().expect("runc ends it");
        ended.add(until_more_than(pool, [ROOT, &subject], seen, start).await);
    }
    [started, ended]
}

#[tokio::main]
async fn main() {
    let site = Site::new(BINARIES).expect("a site");
    site.token("host").expect("a token");
    let _collector = site.collector(&[]).expect("the collector starts");
    let health = format!("127.0.0.1:{}", port::reserve().expect("a port"));
    let _agent = site.agent("host", &["--no-probe", "--no-damping", "--health", &health]).expect("the agent starts");
    let stored = |api: &Api| api.findings("node=host").is_ok_and(|found| found.len() > 20);
    site.api().wait("the host is stored", Duration::from_mins(1), stored).expect("the agent reports");
    let options = SqliteConnectOptions::new().filename(site.database()).read_only(true);
    let pool = SqlitePool::connect_with(options).await.expect("open the database");
    let (mut opened, mut closed) = (Figures::default(), Figures::default());
    let mut shares = Shares::new(Api::new(format!("http://{health}")), site.api());
    for _ in 0..TRIALS {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let seen = committed(&pool, PORT).await;
        let socket = TcpListener::bind("0.0.0.0:10255").expect("port 10255 is free");
        opened.add(until_more_than(&pool, PORT, seen, Instant::now()).await);
        tokio::time::sleep(Duration::from_millis(300)).await;
        shares.trial();
        let seen = committed(&pool, PORT).await;
        drop(socket);
        closed.add(until_more_than(&pool, PORT, seen, Instant::now()).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
        shares.trial();
    }
    println!("a port opens  → durable on the collector, {TRIALS} trials: {opened}");
    println!("a port closes → durable on the collector, {TRIALS} trials: {closed}");
    shares.print();
    let [started, ended] = containers(&pool).await;
    println!("a root process starts in a container → durable on the collector, {CONTAINERS} trials: {started}");
    println!("a root process ends in a container   → durable on the collector, {CONTAINERS} trials: {ended}");
}
