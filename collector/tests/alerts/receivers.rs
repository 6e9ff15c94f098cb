//! What Alertmanager replicas and webhooks are sent, over real HTTP.

use std::time::Duration;

use holdfast_collector::alerts::{AlertError, AlertOptions, Rules, run};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::database::{Database, Hand, MINUTE, SECOND, START, eventually, options, settled};

const PORT: &str = "kubelet-read-only-port-listening";

struct Running {
    stop: DropGuard,
    task: JoinHandle<Result<(), AlertError>>,
}

impl Running {
    fn start(database: &Database, hand: &Hand, options: AlertOptions) -> Self {
        let cancel = CancellationToken::new();
        let task = run(options, database.store.clone(), database.changes.clone(), hand.clock(), cancel.clone());
        Self { stop: cancel.drop_guard(), task: tokio::spawn(task) }
    }

    async fn stop(self) {
        drop(self.stop);
        self.task.await.unwrap().unwrap();
    }
}

async fn receiver(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("POST")).and(path("/api/v2/alerts")).respond_with(answer.clone()).mount(&server).await;
    Mock::given(method("POST")).and(path("/hook/secret")).respond_with(answer).mount(&server).await;
    server
}

async fn bodies(server: &MockServer) -> Vec<Value> {
    server.received_requests().await.unwrap().iter().map(|request: &Request| request.body_json().unwrap()).collect()
}

async fn exposed() -> (Database, Hand) {
    let database = Database::new().await;
    database.node(1, "a1\u{1b}[31m<b>", "connected", START).await;
    database.failing(1, PORT, "port = 10255 (socket)", START).await;
    (database, Hand::at(START + MINUTE))
}

#[tokio::test]
async fn alertmanager_is_sent_labels_annotations_and_times() {
    let (database, hand) = exposed().await;
    let server = receiver(ResponseTemplate::new(200)).await;
    let running = Running::start(&database, &hand, options(&[format!("{}/", server.uri())], &[]));
    let body = eventually("an alert arrives", || async { bodies(&server).await.into_iter().next() }).await;
    running.stop().await;
    insta::assert_json_snapshot!(body);
}

#[tokio::test]
async fn a_replica_that_fails_or_hangs_delays_no_other() {
    let (database, hand) = exposed().await;
    let well = receiver(ResponseTemplate::new(200)).await;
    let broken = receiver(ResponseTemplate::new(500).set_body_string("no space\u{1b}[0m")).await;
    let hanging = receiver(ResponseTemplate::new(200).set_delay(Duration::from_mins(1))).await;
    let running = Running::start(&database, &hand, options(&[broken.uri(), hanging.uri(), well.uri()], &[]));
    let sent = eventually("the well replica hears three times", || async {
        let sent = bodies(&well).await;
        (sent.len() >= 3).then_some(sent)
    })
    .await;
    assert_eq!(sent[0], sent[2], "the clock stands, so every re-send is the same");
    eventually("the hanging one hears", || async { (!bodies(&hanging).await.is_empty()).then_some(()) }).await;
    assert_eq!(bodies(&hanging).await.len(), 1);
    eventually("both outcomes are stored", || async { (database.deliveries().await.len() >= 2).then_some(()) }).await;
    running.stop().await;
    let deliveries = database.deliveries().await;
    let of = |server: &MockServer| deliveries.iter().find(|(name, ..)| name.contains(&server.uri())).unwrap().clone();
    assert_eq!((of(&well).1, of(&well).2.as_str()), (1, "firing"));
    assert_eq!((of(&broken).1, of(&broken).2.as_str()), (0, "firing, not taken: HTTP 500 Internal Server Error: no space\u{fffd}[0m"));
}

#[tokio::test]
async fn a_resolved_alert_is_sent_for_five_minutes_also_over_a_restart() {
    let (mut database, hand) = exposed().await;
    let server = receiver(ResponseTemplate::new(200)).await;
    let running = Running::start(&database, &hand, options(&[server.uri()], &[]));
    eventually("it fires", || async { bodies(&server).await.into_iter().next() }).await;
    database.passing(1, PORT).await;
    let ended = "2026-11-20T20:01:00Z";
    let resolved = |sent: &[Value]| sent.iter().filter(|body| body[0]["endsAt"] == ended).count();
    eventually("it resolves", || async { (resolved(&bodies(&server).await) > 0).then_some(()) }).await;
    running.stop().await;

    database.restart().await;
    hand.forward(5 * MINUTE - SECOND);
    server.reset().await;
    Mock::given(method("POST")).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    let running = Running::start(&database, &hand, options(&[server.uri()], &[]));
    eventually("it is sent again", || async { (resolved(&bodies(&server).await) > 1).then_some(()) }).await;

    hand.forward(2 * SECOND);
    // One may be on its way.
    let sent = settled(async || bodies(&server).await.len()).await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(bodies(&server).await.len(), sent, "after five minutes nothing is sent");
    running.stop().await;
}

#[tokio::test]
async fn a_host_name_is_resolved_and_a_failure_to_do_so_is_stored() {
    let (database, hand) = exposed().await;
    let running = Running::start(&database, &hand, options(&["http://alertmanager.invalid:9093".to_owned()], &[]));
    let deliveries =
        eventually("the failure is stored", || async { Some(database.deliveries().await).filter(|all| !all.is_empty()) }).await;
    running.stop().await;
    assert_eq!(deliveries[0].0, "alertmanager http://alertmanager.invalid:9093");
    assert!(deliveries[0].2.starts_with("firing, not taken: resolve alertmanager.invalid:"), "{deliveries:?}");
}

#[tokio::test]
async fn a_receiver_that_is_no_longer_configured_is_forgotten() {
    let (database, hand) = exposed().await;
    let server = receiver(ResponseTemplate::new(200)).await;
    let twice = [server.uri(), server.uri()];
    let running = Running::start(&database, &hand, options(&twice, &[]));
    eventually("it is told", || async { (database.deliveries().await.len() == 1).then_some(()) }).await;
    running.stop().await;
    let running = Running::start(&database, &hand, options(&[], &[]));
    eventually("it is forgotten", || async { database.deliveries().await.is_empty().then_some(()) }).await;
    running.stop().await;
}

#[test]
fn options_shown_for_debugging_hold_no_secret() {
    let options = options(&["http://user:secret@127.0.0.1".to_owned()], &["http://127.0.0.1/secret?secret".to_owned()]);
    assert!(!format!("{options:?}").contains("secret"), "{options:?}");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (database, hand) = exposed().await;
    let elsewhere = receiver(ResponseTemplate::new(200)).await;
    let location = format!("{}/api/v2/alerts", elsewhere.uri());
    let server = receiver(ResponseTemplate::new(307).insert_header("location", location.as_str())).await;
    let running = Running::start(&database, &hand, options(&[server.uri()], &[]));
    let deliveries =
        eventually("the refusal is stored", || async { Some(database.deliveries().await).filter(|all| !all.is_empty()) }).await;
    running.stop().await;
    assert!(deliveries[0].2.contains("redirects are not followed"), "{deliveries:?}");
    assert_eq!(bodies(&elsewhere).await.len(), 0);
}

#[tokio::test]
async fn a_webhook_hears_each_change_once_and_is_retried_with_the_same_key() {
    let (database, hand) = exposed().await;
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(ResponseTemplate::new(503)).up_to_n_times(1).mount(&server).await;
    Mock::given(method("POST")).and(path("/hook/secret")).respond_with(ResponseTemplate::new(204)).mount(&server).await;
    let running = Running::start(&database, &hand, options(&[], &[format!("{}/hook/secret", server.uri())]));
    eventually("it is retried", || async { (bodies(&server).await.len() == 2).then_some(()) }).await;
    eventually("and taken", || async { database.deliveries().await.first().filter(|row| row.1 == 1).map(|_| ()) }).await;
    hand.forward(MINUTE);
    database.passing(1, PORT).await;
    eventually("it hears the end", || async { (bodies(&server).await.len() == 3).then_some(()) }).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    running.stop().await;

    let sent = bodies(&server).await;
    assert_eq!(sent.len(), 3, "nothing is said twice once it was taken");
    let keys: Vec<_> = server.received_requests().await.unwrap().iter().map(|request| request.headers["idempotency-key"].clone()).collect();
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[1], keys[2]);
    assert_eq!(sent[0], sent[1]);
    insta::assert_json_snapshot!([&sent[1], &sent[2]]);
    let deliveries = database.deliveries().await;
    assert!(!deliveries[0].0.contains("secret"), "a webhook's path may be a secret: {deliveries:?}");
}

#[test]
fn an_address_that_cannot_work_is_refused_without_repeating_it() {
    let refuse = |alertmanager: &str, webhook: &str, public: &str| {
        let list = |url: &str| if url.is_empty() { Vec::new() } else { vec![url.to_owned()] };
        let public = Some(public).filter(|url| !url.is_empty());
        AlertOptions::new(Rules::built_in().unwrap(), &list(alertmanager), &list(webhook), public, None).unwrap_err().to_string()
    };
    let said = [
        refuse("alerts.example.org:9093", "", ""),
        refuse("", "ftp://user:secret@example.org/secret", ""),
        refuse("", "https://user:secret@:x/secret", ""),
        refuse("", "", "https://user:secret@example.org"),
    ];
    assert!(!said.join("\n").contains("secret"), "{said:?}");
    insta::assert_snapshot!(said.join("\n"));
}
