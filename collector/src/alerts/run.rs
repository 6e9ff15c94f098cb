//! The task that judges alerts and keeps the senders running.
//!
//! It judges at start, after changes (a burst counts once) and every interval. A failing store or receiver is tried
//! again; only a sender that dies ends the task, for its supervisor to start it anew.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Certificate, Url};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::deliver::{self, Desk};
use super::evaluate::{Alert, evaluate};
use super::known::Known;
use super::receiver::{Receiver, Target};
use super::rule::Rules;
use super::text::chain;
use crate::changes::{Change, ChangeFeed, ChangeKind};
use crate::feeds::Follow;
use crate::store::{Store, StoreError};

/// A burst of changes is judged once, this long after its first.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// Judging takes at most a tenth of the time, however many changes there are.
const REST: u32 = 9;

/// Gives the time: Unix milliseconds.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What to judge and whom to tell.
#[derive(Debug, Clone)]
pub struct AlertOptions {
    /// The rules.
    pub rules: Rules,
    /// Alerts are judged and sent again this often. A minute.
    pub interval: Duration,
    /// For this long after the start, no alert from before it resolves and no node is silent for not being back yet. Longer
    /// than agents need to return.
    pub warm_up: Duration,
    /// Do recorded nodes alert like live ones. Off.
    pub alert_on_recorded: bool,
    /// Version knowledge, whose own state can alert. `None`: it does not.
    pub library: Option<Follow>,
    pub(super) alertmanagers: Vec<Target>,
    pub(super) webhooks: Vec<Target>,
    pub(super) public_url: Option<String>,
    pub(super) ca: Vec<Certificate>,
}

/// Why alerts cannot be judged or sent.
#[derive(Debug, thiserror::Error)]
pub enum AlertError {
    /// A receiver's address is wrong. The address is not repeated: it may hold a secret.
    #[error("the address of {what} is not usable: {problem}: write it like https://alerts.example.org:9093")]
    Address {
        /// `an Alertmanager`, `a webhook`, `the dashboard`.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The additional certificate authority cannot be read.
    #[error("the certificate authority for alert receivers is not PEM")]
    Authority(#[source] reqwest::Error),
    /// No HTTP client could be built.
    #[error("prepare sending alerts to {receiver}")]
    Client {
        /// The receiver.
        receiver: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The store failed.
    #[error("alerts cannot be judged or their deliveries read")]
    Store(#[source] StoreError),
    /// A sender ended although nobody told it to.
    #[error("a sender of alerts died")]
    SenderDied,
}

impl AlertOptions {
    /// Checks what was configured: base URLs of Alertmanagers, URLs of webhooks, where people reach the dashboard, and a
    /// PEM bundle of authorities trusted beside the system's.
    ///
    /// # Errors
    /// [`AlertError::Address`] or [`AlertError::Authority`].
    pub fn new(
        rules: Rules,
        alertmanagers: &[String],
        webhooks: &[String],
        public_url: Option<&str>,
        ca_pem: Option<&[u8]>,
    ) -> Result<Self, AlertError> {
        let public_url = public_url.map(public).transpose()?;
        let ca = ca_pem.map(Certificate::from_pem_bundle).transpose().map_err(AlertError::Authority)?;
        Ok(Self {
            rules,
            interval: Duration::from_mins(1),
            warm_up: Duration::from_mins(3),
            alert_on_recorded: false,
            library: None,
            alertmanagers: distinct(alertmanagers.iter().map(|url| Target::alertmanager(url)))?,
            webhooks: distinct(webhooks.iter().map(|url| Target::webhook(url)))?,
            public_url,
            ca: ca.unwrap_or_default(),
        })
    }

    /// Is this the name of a receiver of these options, or of one of its replicas.
    fn names(&self, receiver: &str) -> bool {
        let replica = |target: &Target| receiver.strip_prefix(&target.name).is_some_and(|rest| rest.starts_with(" at "));
        self.alertmanagers.iter().chain(&self.webhooks).any(|target| target.name == receiver || replica(target))
    }
}

/// A receiver that is given twice is told once.
fn distinct(targets: impl Iterator<Item = Result<Target, AlertError>>) -> Result<Vec<Target>, AlertError> {
    let mut distinct: Vec<Target> = Vec::new();
    for target in targets {
        let target = target?;
        if !distinct.iter().any(|known| known.name == target.name) {
            distinct.push(target);
        }
    }
    Ok(distinct)
}

fn public(text: &str) -> Result<String, AlertError> {
    let refuse = |problem: String| AlertError::Address { what: "the dashboard", problem };
    let url = Url::parse(text).map_err(|error| refuse(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("use http or https, without user and password".to_owned()));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Judges and sends alerts until `cancel`.
///
/// # Errors
/// When a sender cannot be prepared, or died.
pub async fn run(
    options: AlertOptions,
    store: Store,
    changes: ChangeFeed,
    clock: Clock,
    cancel: CancellationToken,
) -> Result<(), AlertError> {
    let options = Arc::new(options);
    let cancel = cancel.child_token();
    let _stop_senders = cancel.clone().drop_guard();
    let (current, alerts) = watch::channel(Arc::new(Vec::new()));
    let mut feed = changes.follow();
    let mut library = options.library.clone();
    let (started, started_at) = (Instant::now(), clock());
    let warming_since = || (started.elapsed() < options.warm_up).then_some(started_at);
    let mut failing = false;
    let mut judged = judge(&options, &store, &changes, clock(), warming_since()).await;
    if let Ok(alerts) = &judged {
        current.send_replace(Arc::clone(alerts));
    }
    if let Err(error) = store.forget_receivers(|name| !options.names(name)).await {
        tracing::warn!(error = chain(&error), "deliveries to former receivers cannot be forgotten");
    }
    let desk = Desk { options: Arc::clone(&options), alerts, store: store.clone(), clock: Arc::clone(&clock), cancel: cancel.clone() };
    let mut senders = senders(&desk)?;
    loop {
        match &judged {
            Ok(alerts) => {
                if failing {
                    tracing::info!("alerts are judged again");
                }
                current.send_if_modified(|now| {
                    let differs = now != alerts;
                    *now = Arc::clone(alerts);
                    differs
                });
            }
            Err(error) if !failing => {
                tracing::error!(error = chain(error), "alerts cannot be judged; it is tried again");
            }
            Err(_) => {}
        }
        failing = judged.is_err();
        let to_warm = options.warm_up.saturating_sub(started.elapsed());
        let tick = if to_warm.is_zero() { options.interval } else { options.interval.min(to_warm) };
        tokio::select! {
            () = cancel.cancelled() => break,
            Some(_) = senders.join_next() => return if cancel.is_cancelled() { Ok(()) } else { Err(AlertError::SenderDied) },
            () = woken(&mut feed) => tokio::time::sleep(DEBOUNCE).await,
            () = imported(&mut library) => {}
            () = tokio::time::sleep(tick) => {}
        }
        while let Ok(_) | Err(broadcast::error::TryRecvError::Lagged(_)) = feed.try_recv() {}
        let began = Instant::now();
        judged = judge(&options, &store, &changes, clock(), warming_since()).await;
        let rest = began.elapsed().saturating_mul(REST);
        tokio::select! { () = cancel.cancelled() => break, () = tokio::time::sleep(rest.min(options.interval)) => {} }
    }
    while senders.join_next().await.is_some() {}
    Ok(())
}

fn senders(desk: &Desk) -> Result<JoinSet<()>, AlertError> {
    let mut senders = JoinSet::new();
    for target in &desk.options.alertmanagers {
        match target.resolvable() {
            Some((host, port)) => senders.spawn(deliver::replicas(desk.clone(), target.clone(), host, port)),
            None => senders.spawn(deliver::alertmanager(desk.clone(), Receiver::new(target, None, &desk.options.ca)?)),
        };
    }
    for target in &desk.options.webhooks {
        senders.spawn(deliver::webhook(desk.clone(), Receiver::new(target, None, &desk.options.ca)?));
    }
    Ok(senders)
}

/// Returns when something was committed that can move an alert. Alerts themselves cannot.
async fn woken(changed: &mut broadcast::Receiver<Change>) {
    loop {
        match changed.recv().await {
            Ok(Change { kind: ChangeKind::Alert | ChangeKind::Inventory, .. }) => {}
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Returns when another library is there; never where none is followed, or nothing more is imported.
async fn imported(library: &mut Option<Follow>) {
    let changed = match library {
        Some(library) => library.changed().await.is_ok(),
        None => false,
    };
    if !changed {
        std::future::pending().await
    }
}

/// Judges once and stores what changed.
async fn judge(
    options: &AlertOptions,
    store: &Store,
    changes: &ChangeFeed,
    now: i64,
    warming_since: Option<i64>,
) -> Result<Arc<Vec<Alert>>, StoreError> {
    let mut snapshot = store.alert_snapshot(options.rules.checks()).await?;
    snapshot.warming_since = warming_since;
    snapshot.alert_on_recorded = options.alert_on_recorded;
    snapshot.known = options.library.as_ref().map(|library| Known::of(&library.borrow()));
    let alerts = evaluate(&options.rules, &snapshot, now);
    let moved: Vec<Alert> = alerts.iter().filter(|alert| !snapshot.previous.contains(alert)).cloned().collect();
    if !moved.is_empty() {
        for change in store.save_alerts(&moved, now).await? {
            changes.publish(change);
        }
    }
    Ok(Arc::new(alerts))
}
