//! Health and metrics over a real socket.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may fail")]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use holdfast_agent::health::{Gauges, bind, metrics, serve};
use holdfast_agent::session::Vitals;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

async fn get(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn answers_what_it_knows_and_is_ready_after_the_first_scan() {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (gauges, cancel) = (Arc::new(Gauges::default()), CancellationToken::new());
    let serving = tokio::spawn(serve(listener, Arc::clone(&gauges), cancel.clone()));
    let path = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(get(address, &path("/livez")).await.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(get(address, &path("/readyz")).await.starts_with("HTTP/1.1 503 "));
    gauges.scanned.store(true, Ordering::Relaxed);
    assert!(get(address, &path("/readyz")).await.starts_with("HTTP/1.1 200 "));
    assert!(get(address, &path("/metrics")).await.contains("\nholdfast_agent_ready 1\n"));
    assert!(get(address, &path("/etc/passwd")).await.starts_with("HTTP/1.1 404 "));
    assert!(get(address, "DELETE /livez HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 405 "));
    assert!(get(address, "\u{1}\r\n\r\n").await.starts_with("HTTP/1.1 405 "));
    cancel.cancel();
    serving.await.unwrap();
}

#[tokio::test]
async fn only_loopback_is_listened_on() {
    let refused = bind("0.0.0.0:9464".parse().unwrap()).await.expect_err("reachable from outside");
    assert_eq!(refused.to_string(), "--health 0.0.0.0:9464 is not a loopback address: use 127.0.0.1:9464 or [::1]:9464");
}

#[test]
fn metrics_are_prometheus_text() {
    let gauges = Gauges::default();
    gauges.acked_at_ms.store(1_000, Ordering::Relaxed);
    gauges.scan_us.store(61_234, Ordering::Relaxed);
    gauges.changes.read.add(Duration::from_micros(1_500));
    gauges.changes.read.add(Duration::from_secs(1));
    gauges.spool.file.store(true, Ordering::Relaxed);
    gauges.spool.last_save_us.store(3_210, Ordering::Relaxed);
    insta::assert_snapshot!(metrics(&gauges, &Vitals { rss_bytes: 12_345_678, cpu_ms: 1_234, dropped: 0 }, 3_500));
}
