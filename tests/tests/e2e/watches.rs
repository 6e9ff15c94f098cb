//! The watches of the API server, in this process, whose clock can be put forward; everything else is real.

use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_collector::cluster::{self, Cluster};
use holdfast_tests::apiserver::ApiServer;
use holdfast_tests::process::PATIENCE;
use tokio_util::sync::CancellationToken;

/// How long a session may outlive its pod because nothing says that it is gone: docs/identity.md.
const BOUND: Duration = Duration::from_secs(75);

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// It once took four minutes and more.
#[tokio::test]
async fn a_watch_that_hangs_silently_hides_a_deleted_pod_for_a_minute_and_a_quarter_at_most() {
    let server = ApiServer::start().unwrap();
    server.add_agent("node-a");
    let cluster = Cluster::new("test");
    let api = cluster::ApiServer::connect(Some(&server.kubeconfig()), None, Arc::clone(&cluster)).await.unwrap();
    let stop = CancellationToken::new();
    let following = tokio::spawn(cluster::follow(api, true, stop.clone()));
    until("nodes, pods and our DaemonSet are watched", || cluster.listed() && server.watches() >= 3).await;
    server.hush();
    server.delete_pod("agent-node-a");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(cluster.pod("pod-node-a").is_some(), "nothing was said of it");

    tokio::time::pause();
    tokio::time::advance(BOUND).await;
    tokio::time::resume();
    until("it is asked again", || cluster.pod("pod-node-a").is_none()).await;
    assert_eq!(server.lists(), 3, "from where it stood");
    stop.cancel();
    following.await.unwrap();
}
