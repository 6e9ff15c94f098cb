//! The task that follows the policy file and stores what agents made of policies.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use holdfast_checks::catalogue::Catalogue;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::desk::Desk;
use super::file::{Policies, PolicyFileError};
use super::standing::Standings;
use crate::alerts::{Clock, chain};
use crate::changes::ChangeFeed;
use crate::files;
use crate::logs::cause;
use crate::metrics::Metrics;
use crate::store::Store;

/// How often the file is looked at. A mounted `ConfigMap` changes by a link, which its content shows.
const LOOK: Duration = Duration::from_secs(2);
/// So much is gathered before it is stored: a fleet that comes back says the same thing at the same time.
const GATHER: Duration = Duration::from_millis(50);
/// How often nodes are counted when nothing happens: they come and go.
const COUNT: Duration = Duration::from_secs(30);
/// How soon after nodes said something: many do at the same time.
const COUNT_SOON: Duration = Duration::from_secs(1);
/// How soon after a failure storing is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// What the task works with.
#[derive(Clone)]
pub struct Following {
    /// Shared with sessions and pages.
    pub desk: Arc<Desk>,
    /// The policy file.
    pub path: Option<PathBuf>,
    /// What it may name.
    pub catalogue: Arc<Catalogue>,
    /// Where what agents say is kept.
    pub store: Store,
    /// Whom to tell of it.
    pub changes: ChangeFeed,
    /// Where nodes are counted.
    pub metrics: Metrics,
    /// The wall clock.
    pub clock: Clock,
}

/// Follows the file and keeps what is noted until `cancel`.
pub async fn run(following: Following, cancel: CancellationToken) {
    let mut read = None;
    let (mut looks, mut counts) = (interval(LOOK), interval(COUNT));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    counts.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut rest, mut counting) = (Instant::now(), false);
    loop {
        tokio::select! {
            () = cancel.cancelled() => {
                following.store_notes().await;
                return;
            }
            _ = looks.tick() => following.look(&mut read),
            _ = counts.tick() => {
                counting = false;
                following.count().await;
            }
            () = async { tokio::time::sleep_until(rest).await; following.desk.noted().await } => {
                sleep(GATHER).await;
                if !following.store_notes().await {
                    rest = Instant::now() + AGAIN;
                }
                if !std::mem::replace(&mut counting, true) {
                    counts.reset_after(COUNT_SOON);
                }
            }
        }
    }
}

impl Following {
    /// Reads the file again when its content is another.
    fn look(&self, read: &mut Option<blake3::Hash>) {
        let Some(path) = &self.path else { return };
        let text = match files::read_text(path) {
            Ok(text) => text,
            Err(error) => return self.refuse(&PolicyFileError::File(error)),
        };
        let hash = blake3::hash(text.as_bytes());
        if *read == Some(hash) && self.desk.reload().problem.is_none() {
            return;
        }
        *read = Some(hash);
        match Policies::parse(path, &text, &self.catalogue) {
            Ok(policies) => {
                if self.desk.put(policies, (self.clock)()) {
                    tracing::info!(path = %path.display(), "policy file read again: agents that hold another policy are told");
                }
            }
            Err(error) => self.refuse(&error),
        }
    }

    /// Says once why the file is not used.
    fn refuse(&self, error: &PolicyFileError) {
        let problem = chain(error);
        if self.desk.reload().problem.as_ref() != Some(&problem) {
            self.metrics.policy_reload_failed();
            tracing::error!(error = problem, "policy file not usable: the policies read before stay in force");
            self.desk.keep(problem);
        }
    }

    /// Stores what was noted; `false` when that failed and is to be tried again.
    async fn store_notes(&self) -> bool {
        let notes = self.desk.take();
        if notes.is_empty() {
            return true;
        }
        match self.store.write_policy_notes(&notes).await {
            Ok(changes) => {
                for change in changes {
                    self.changes.publish(change);
                }
                true
            }
            Err(error) => {
                tracing::error!(error = cause(&error), "what agents made of policies is not stored: trying again");
                self.desk.give_back(notes);
                false
            }
        }
    }

    async fn count(&self) {
        match self.store.policy_counts().await {
            Ok(counts) => {
                let standings = Standings::of(&self.desk.policies(), &counts);
                for (standing, nodes) in standings.total() {
                    self.metrics.policy_nodes(standing.name(), nodes);
                }
            }
            Err(error) => tracing::warn!(error = cause(&error), "nodes could not be counted by policy"),
        }
    }
}
