//! The event stream: a change shows within a second, and the stream ends when the collector does.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use futures_util::StreamExt;
use holdfast_collector::changes::{Change, ChangeKind};
use tower::ServiceExt;

use crate::fleet::{Fleet, NOW};

struct Stream {
    body: axum::body::BodyDataStream,
    text: String,
}

impl Stream {
    async fn open(fleet: &Fleet, query: &str) -> Self {
        let request = Request::get(format!("/events?{query}")).body(Body::empty()).expect("request");
        let response = fleet.router.clone().oneshot(request).await.expect("infallible");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body().into_data_stream(), text: String::new() }
    }

    /// Reads until `needle` was sent; `false` when the stream ended or a minute passed.
    async fn until(&mut self, needle: &str) -> bool {
        let read = async {
            while !self.text.contains(needle) {
                match self.body.next().await {
                    Some(Ok(bytes)) => self.text.push_str(&String::from_utf8_lossy(&bytes)),
                    _ => return false,
                }
            }
            true
        };
        tokio::time::timeout(Duration::from_mins(1), read).await.unwrap_or(false)
    }
}

async fn commit(fleet: &Fleet, seq: i64) {
    fleet.sql(&format!("insert into change_log values ({seq}, {NOW}, 1, 'findings', '')")).await;
    fleet.changes.publish(Change { seq, at: NOW, node_id: 1, kind: ChangeKind::Findings });
}

#[tokio::test]
async fn a_finding_that_appears_and_goes_is_pushed_to_the_open_pages() {
    let fleet = Fleet::seeded().await;
    let mut best = Duration::MAX;
    for view in ["/findings%3Fgroup%3Dnone", "/nodes/prod-eu/ip-10-0-9-3"] {
        let mut stream = Stream::open(&fleet, &format!("view={view}&seq=41")).await;
        assert!(stream.until("\"status\"").await, "the status comes at once");
        assert!(!stream.text.contains("\"id\":\"main\""), "a page that is up to date is not sent again");
        let seq = sqlx::query_scalar::<_, i64>("select max(seq) from change_log").fetch_one(&fleet.pool).await.expect("seq");
        fleet.finding(1, "kubelet-anonymous-auth", "port:tcp/10255", 2, 5, "readOnlyPort = 10255").await;
        fleet.recount().await;
        let start = Instant::now();
        commit(&fleet, seq + 1).await;
        assert!(stream.until("port:tcp/10255").await, "{}", stream.text);
        best = best.min(start.elapsed());
        assert!(stream.text.contains(&format!("id: {}", seq + 1)), "the event carries the position");
        stream.text.clear();
        fleet.sql("delete from findings where subject = 'port:tcp/10255'").await;
        fleet.recount().await;
        commit(&fleet, seq + 2).await;
        assert!(stream.until(&format!("id: {}", seq + 2)).await && stream.until("\"main\"").await);
        assert!(!stream.text.contains("port:tcp/10255"), "what went is gone");
        fleet.sql("delete from change_log where seq > 41").await;
    }
    // Pushed, and not on the next beat: how fast that is, is measured apart.
    assert!(best < Duration::from_secs(10), "on a busy machine one of them is fast: {best:?}");
}

#[tokio::test]
async fn a_burst_is_pushed_at_most_twice_a_second() {
    let fleet = Fleet::seeded().await;
    let mut stream = Stream::open(&fleet, "view=/&seq=41").await;
    assert!(stream.until("\"status\"").await);
    let start = Instant::now();
    for seq in 42..142 {
        commit(&fleet, seq).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(stream.until("id: 141").await);
    let most = 2 + start.elapsed().as_millis() / 400;
    let pushes = stream.text.matches("\"id\":\"main\"").count();
    assert!(u128::try_from(pushes).expect("count") <= most, "{pushes} pushes in {:?}", start.elapsed());
}

/// The page of feeds showed an import when some node happened to change.
#[tokio::test]
async fn an_import_is_pushed_though_no_node_says_anything() {
    let fleet = Fleet::empty().await;
    let mut stream = Stream::open(&fleet, "view=/feeds&seq=0").await;
    assert!(stream.until("\"status\"").await);
    assert!(!stream.text.contains("\"id\":\"main\""), "a page that is up to date is not sent again");
    fleet.library.send_replace(std::sync::Arc::new(crate::chain::library()));
    assert!(stream.until("osv/AlmaLinux").await, "{}", stream.text);
    let mut back = Stream::open(&fleet, "view=/feeds&seq=0").await;
    assert!(back.until("osv/AlmaLinux").await, "a page that was hidden meanwhile");
}

#[tokio::test]
async fn a_reader_that_comes_back_gets_the_page_as_it_is() {
    let fleet = Fleet::seeded().await;
    let request = Request::get("/events?view=/&seq=41").header("last-event-id", "7").body(Body::empty()).expect("request");
    let response = fleet.router.clone().oneshot(request).await.expect("infallible");
    let mut stream = Stream { body: response.into_body().into_data_stream(), text: String::new() };
    assert!(stream.until("\"id\":\"main\"").await);
    let mut old = Stream::open(&fleet, "view=/&build=another").await;
    assert!(old.until("event: reload").await, "a page of another build is told to reload");
}

#[tokio::test]
async fn streams_end_when_the_collector_stops() {
    let fleet = Fleet::seeded().await;
    let mut stream = Stream::open(&fleet, "view=/&seq=41").await;
    assert!(stream.until("\"status\"").await);
    fleet.cancel.cancel();
    let end = async { while stream.body.next().await.is_some() {} };
    tokio::time::timeout(Duration::from_mins(1), end).await.expect("the stream ends");
}

#[tokio::test]
async fn the_number_of_streams_is_bounded_and_comes_back() {
    let fleet = Fleet::seeded().await;
    let mut open = Vec::new();
    for _ in 0..256 {
        open.push(Stream::open(&fleet, "view=/&seq=41").await);
    }
    assert_eq!(fleet.get("/events?view=/").await.status, 503);
    drop(open);
    assert!(Stream::open(&fleet, "view=/&seq=41").await.until("\"status\"").await);
}

#[tokio::test]
async fn a_view_is_a_path_of_ours() {
    let fleet = Fleet::seeded().await;
    for view in ["", "x", "//evil.example/", "https://evil.example/"] {
        assert_eq!(fleet.get(&format!("/events?view={view}")).await.status, 400, "{view}");
    }
}
