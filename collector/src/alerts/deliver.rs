//! Senders: one task per receiver, so that one that hangs delays no other.
//!
//! Each follows the latest set of alerts and tells its receiver; what came of it is stored per alert and receiver, and
//! logged once per change. Must not know rules.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::evaluate::Alert;
use super::receiver::{Outcome, Receiver, Target};
use super::run::{AlertError, AlertOptions, Clock};
use super::text::chain;
use super::{alertmanager, webhook};
use crate::store::{Delivery, Store};

/// The first wait after a failure; it doubles.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// A webhook is tried at least this often while something is owed to it.
const LAST_RETRY: Duration = Duration::from_mins(5);
/// How long a name server is waited for.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// The most replicas one host name stands for.
const MAX_REPLICAS: usize = 32;

/// What every sender needs.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) options: Arc<AlertOptions>,
    pub(super) alerts: watch::Receiver<Arc<Vec<Alert>>>,
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) cancel: CancellationToken,
}

/// Is the receiver well, and how often in a row it was not. Says so once per change.
#[derive(Default)]
struct Health {
    failures: u32,
}

impl Health {
    fn note(&mut self, receiver: &str, problem: Option<&str>) {
        match problem {
            Some(problem) if self.failures == 0 => {
                tracing::warn!(receiver, problem, "an alert receiver does not take alerts; it is tried again until it does");
            }
            None if self.failures > 0 => tracing::info!(receiver, "the alert receiver takes alerts again"),
            _ => {}
        }
        self.failures = if problem.is_some() { self.failures.saturating_add(1) } else { 0 };
    }

    /// The wait after what was last noted.
    fn retry(&self, longest: Duration) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        FIRST_RETRY.saturating_mul(2_u32.saturating_pow(doublings)).min(longest)
    }
}

impl Desk {
    /// Waits for new alerts or `quiet`; after a failure only for its retry. False: stop.
    async fn pause(&mut self, health: &Health, quiet: Duration, longest: Duration) -> bool {
        if health.failures > 0 {
            let retry = tokio::time::sleep(health.retry(longest));
            return tokio::select! { () = self.cancel.cancelled() => false, () = retry => true };
        }
        tokio::select! {
            () = self.cancel.cancelled() => false,
            changed = self.alerts.changed() => changed.is_ok(),
            () = tokio::time::sleep(quiet) => true,
        }
    }

    async fn record(&self, deliveries: &[Delivery]) {
        if let Err(error) = self.store.save_deliveries(deliveries).await {
            tracing::warn!(error = chain(&error), "what became of alerts cannot be stored");
        }
    }
}

/// Tells one Alertmanager replica about every alert, again and again.
pub(super) async fn alertmanager(mut desk: Desk, receiver: Receiver) {
    let interval = desk.options.interval;
    let cancel = desk.cancel.clone();
    let mut health = Health::default();
    loop {
        let alerts = Arc::clone(&desk.alerts.borrow_and_update());
        let sent = send_all(&desk, &receiver, &alerts);
        let problem = tokio::select! { () = cancel.cancelled() => return, problem = sent => problem };
        health.note(&receiver.name, problem.as_deref());
        if !desk.pause(&health, interval, interval).await {
            return;
        }
    }
}

/// Sends what is due in batches. Returns the first problem.
async fn send_all(desk: &Desk, receiver: &Receiver, alerts: &[Alert]) -> Option<String> {
    let mut first_problem = None;
    let now = (desk.clock)();
    for batch in alertmanager::due(alerts, now).chunks(alertmanager::BATCH) {
        let posted = |alert: &&'_ Alert| {
            let posted = alertmanager::posted(alert, now, desk.options.interval, desk.options.public_url.as_deref());
            serde_json::to_value(posted).unwrap_or_default()
        };
        let body = serde_json::Value::Array(batch.iter().map(posted).collect()).to_string();
        let outcome = receiver.post(body, None).await;
        let at = (desk.clock)();
        let delivery = |alert: &&'_ Alert| delivery(alert, &receiver.name, at, &outcome, alert.state.name());
        desk.record(&batch.iter().map(delivery).collect::<Vec<_>>()).await;
        if let Outcome::Refused(problem) | Outcome::Failed(problem) = outcome {
            let answered = first_problem.get_or_insert(problem).starts_with("HTTP");
            if !answered {
                break; // the other batches would only wait for the same
            }
        }
    }
    first_problem
}

/// Follows the addresses of an Alertmanager's host name, with a sender for each.
pub(super) async fn replicas(desk: Desk, target: Target, host: String, port: u16) {
    let mut running: BTreeMap<SocketAddr, CancellationToken> = BTreeMap::new();
    let mut senders = JoinSet::new();
    let mut health = Health::default();
    loop {
        match resolve(&host, port).await {
            Ok(addresses) => {
                running.retain(|address, stop| {
                    let stays = addresses.contains(address);
                    if !stays {
                        stop.cancel();
                    }
                    stays
                });
                for address in addresses {
                    if running.contains_key(&address) {
                        continue;
                    }
                    match Receiver::new(&target, Some(address), &desk.options.ca) {
                        Ok(receiver) => {
                            let stop = desk.cancel.child_token();
                            senders.spawn(alertmanager(Desk { cancel: stop.clone(), ..desk.clone() }, receiver));
                            running.insert(address, stop);
                        }
                        Err(error) => tracing::warn!(error = chain(&error), "an Alertmanager replica cannot be used"),
                    }
                }
                health.note(&target.name, None);
                forget_others(&desk.store, &target, &running).await;
            }
            Err(problem) => {
                health.note(&target.name, Some(&problem));
                let (at, outcome) = ((desk.clock)(), Outcome::Failed(problem));
                let alerts = Arc::clone(&desk.alerts.borrow());
                let failed = |alert: &Alert| delivery(alert, &target.name, at, &outcome, alert.state.name());
                desk.record(&alertmanager::due(&alerts, at).into_iter().map(failed).collect::<Vec<_>>()).await;
            }
        }
        tokio::select! {
            () = desk.cancel.cancelled() => break,
            () = tokio::time::sleep(if health.failures > 0 { health.retry(desk.options.interval) } else { desk.options.interval }) => {}
            Some(ended) = senders.join_next() => if ended.is_err_and(|error| error.is_panic()) {
                // Its receiver is started anew by the next round.
                tracing::error!(receiver = target.name, "a sender of alerts died; it is started again");
                running.values().for_each(CancellationToken::cancel);
                running.clear();
            },
        }
    }
    while senders.join_next().await.is_some() {}
}

async fn resolve(host: &str, port: u16) -> Result<BTreeSet<SocketAddr>, String> {
    let found = tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((host, port))).await;
    let found = found.map_err(|_| format!("resolve {host}: no answer within {} s", RESOLVE_TIMEOUT.as_secs()))?;
    let found: BTreeSet<SocketAddr> = found.map_err(|error| format!("resolve {host}: {error}"))?.take(MAX_REPLICAS).collect();
    if found.is_empty() { Err(format!("resolve {host}: no address")) } else { Ok(found) }
}

/// Forgets deliveries to replicas of `target` that are no more: they would look failed for ever.
async fn forget_others(store: &Store, target: &Target, running: &BTreeMap<SocketAddr, CancellationToken>) {
    let names: BTreeSet<String> = running.keys().map(|address| target.replica_name(*address)).collect();
    let (own, prefix) = (target.name.as_str(), format!("{} at ", target.name));
    let forget = |name: &str| name == own || (name.starts_with(&prefix) && !names.contains(name));
    if let Err(error) = store.forget_receivers(forget).await {
        tracing::warn!(error = chain(&error), "deliveries to former receivers cannot be forgotten");
    }
}

/// Tells one webhook about every change of an alert's state.
pub(super) async fn webhook(mut desk: Desk, receiver: Receiver) {
    let interval = desk.options.interval;
    let cancel = desk.cancel.clone();
    let mut health = Health::default();
    loop {
        let alerts = Arc::clone(&desk.alerts.borrow_and_update());
        let told = tell(&desk, &receiver, &alerts);
        let told = tokio::select! { () = cancel.cancelled() => return, told = told => told };
        match told {
            Ok(problem) => health.note(&receiver.name, problem.as_deref()),
            Err(error) => health.note(&receiver.name, Some(&format!("{error}"))),
        }
        if !desk.pause(&health, interval, LAST_RETRY).await {
            return;
        }
    }
}

/// Posts what is owed, one change a request. Returns the first problem.
async fn tell(desk: &Desk, receiver: &Receiver, alerts: &[Alert]) -> Result<Option<String>, AlertError> {
    let told = desk.store.deliveries_to(&receiver.name).await.map_err(AlertError::Store)?;
    let mut first_problem = None;
    for alert in webhook::owed(alerts, &told, (desk.clock)()) {
        let key = HeaderValue::from_str(&webhook::idempotency_key(alert)).ok();
        let header = key.map(|key| (HeaderName::from_static("idempotency-key"), key));
        let body = webhook::body(alert, desk.options.public_url.as_deref()).to_string();
        let outcome = receiver.post(body, header).await;
        desk.record(&[delivery(alert, &receiver.name, (desk.clock)(), &outcome, &webhook::change(alert))]).await;
        match outcome {
            Outcome::Taken => {}
            // What it refuses for its content must not stand in the way of the next alert.
            Outcome::Refused(problem) => drop(first_problem.get_or_insert(problem)),
            Outcome::Failed(problem) => {
                first_problem.get_or_insert(problem);
                break;
            }
        }
    }
    Ok(first_problem)
}

fn delivery(alert: &Alert, receiver: &str, at: i64, outcome: &Outcome, told: &str) -> Delivery {
    let (ok, detail) = match outcome {
        Outcome::Taken => (true, told.to_owned()),
        Outcome::Refused(problem) | Outcome::Failed(problem) => (false, format!("{told}, not taken: {problem}")),
    };
    Delivery { fingerprint: alert.fingerprint.clone(), receiver: receiver.to_owned(), at, ok, detail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::{Failing, Node, Rules, Snapshot, evaluate};

    #[tokio::test]
    async fn every_address_of_a_host_name_is_told_itself_and_one_that_is_gone_is_forgotten() {
        let server = wiremock::MockServer::start().await;
        wiremock::Mock::given(wiremock::matchers::any()).respond_with(wiremock::ResponseTemplate::new(200)).mount(&server).await;
        let port = server.address().port();
        let url = format!("http://alertmanager.test:{port}");
        let mut options = AlertOptions::new(Rules::built_in().unwrap(), std::slice::from_ref(&url), &[], None, None).unwrap();
        options.interval = Duration::from_millis(100);
        let node = Node {
            cluster: String::new(),
            name: "a1".into(),
            recorded: false,
            state: "silent".into(),
            state_since: 0,
            last_seen: 0,
            image: String::new(),
            kernel: String::new(),
        };
        let snapshot = Snapshot { nodes: [(1, node)].into(), failing: Vec::<Failing>::new(), ..Snapshot::default() };
        let (_current, alerts) = watch::channel(Arc::new(evaluate(&options.rules, &snapshot, 1)));
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("holdfast.db")).await.unwrap();
        let former = format!("alertmanager {url} at 192.0.2.7");
        let told =
            |receiver: &str| Delivery { fingerprint: "f".into(), receiver: receiver.into(), at: 1, ok: false, detail: String::new() };
        store.save_deliveries(&[told(&former), told("webhook http://192.0.2.7 #1")]).await.unwrap();

        let cancel = CancellationToken::new();
        let target = options.alertmanagers[0].clone();
        let desk = Desk { options: Arc::new(options), alerts, store: store.clone(), clock: Arc::new(|| 1), cancel: cancel.clone() };
        let task = tokio::spawn(replicas(desk, target, "localhost".into(), port));
        let own = format!("alertmanager {url} at 127.0.0.1");
        for _ in 0..2_400 {
            let heard = store.deliveries_to(&own).await.unwrap().values().any(|delivery| delivery.ok);
            if heard && store.deliveries_to(&former).await.unwrap().is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        cancel.cancel();
        task.await.unwrap();
        assert_eq!(store.deliveries_to(&own).await.unwrap().len(), 1);
        assert_eq!(store.deliveries_to(&former).await.unwrap().len(), 0);
        assert_eq!(store.deliveries_to("webhook http://192.0.2.7 #1").await.unwrap().len(), 1);
    }
}
