//! Prints the time from a port that opens on the node to the collector's durable commit. `make bench` runs it.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a benchmark prints and may fail")]

use std::net::TcpListener;
use std::time::{Duration, Instant};

use holdfast_tests::figures::Figures;
use holdfast_tests::site::{Binaries, Site};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

const BINARIES: Binaries =
    Binaries { agent: env!("CARGO_BIN_EXE_holdfast-test-agent"), collector: env!("CARGO_BIN_EXE_holdfast-test-collector") };
const TRIALS: usize = 100;
const LIMIT: Duration = Duration::from_secs(10);

/// Committed transitions of the port.
async fn committed(pool: &SqlitePool) -> i64 {
    let sql = "select count(*) from transitions where check_id = 'kubelet-read-only-port-listening' and subject = 'port:tcp/10255'";
    sqlx::query_scalar(sql).fetch_one(pool).await.expect("read the database")
}

async fn until_more_than(pool: &SqlitePool, seen: i64) -> Duration {
    let start = Instant::now();
    while committed(pool).await <= seen {
        assert!(start.elapsed() < LIMIT, "no commit within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    start.elapsed()
}

#[tokio::main]
async fn main() {
    let site = Site::new(BINARIES).expect("a site");
    site.token("host").expect("a token");
    let _collector = site.collector(&[]).expect("the collector starts");
    let _agent = site.agent("host", &["--no-probe"]).expect("the agent starts");
    let stored = |api: &holdfast_tests::api::Api| api.findings("node=host").is_ok_and(|found| found.len() > 20);
    site.api().wait("the host is stored", Duration::from_mins(1), stored).expect("the agent reports");
    let options = SqliteConnectOptions::new().filename(site.database()).read_only(true);
    let pool = SqlitePool::connect_with(options).await.expect("open the database");
    let (mut opened, mut closed) = (Figures::default(), Figures::default());
    for _ in 0..TRIALS {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let seen = committed(&pool).await;
        let socket = TcpListener::bind("0.0.0.0:10255").expect("port 10255 is free");
        opened.add(until_more_than(&pool, seen).await);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let seen = committed(&pool).await;
        drop(socket);
        closed.add(until_more_than(&pool, seen).await);
    }
    println!("a port opens  → durable on the collector, {TRIALS} trials: {opened}");
    println!("a port closes → durable on the collector, {TRIALS} trials: {closed}");
}
