//! How a stream ends: what is noted of it, what the agent is told, and that the node does not stay taken.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tonic::{Code, Status};

use super::{Connection, SEND_TIMEOUT, words};
use crate::identity::Rejection;
use crate::ingest::session::Close;
use crate::logs::cause;
use crate::refusals::Refusal;
use crate::store::StoreError;

/// How long an agent that broke the contract waits to hear so: trying again at once should not be free.
const PENALTY: Duration = Duration::from_secs(1);

/// Why the stream is over.
#[derive(Debug)]
pub(super) enum End {
    /// The session ended it.
    Closed(Close),
    /// The agent's side went away.
    Lost(String),
    /// It does not read what it is told, or what came was no message.
    Refused(Refusal, String),
    /// The store cannot commit: the agent keeps what it has and comes back.
    Store(StoreError),
    /// The credentials do not hold any longer, or a rotated token was not accepted.
    Credentials(Rejection),
    /// Another agent holds the node.
    Duplicate(String),
    /// The collector stops.
    Stopping,
}

impl Connection {
    /// Notes the end and tells the agent why, if it still listens.
    pub(super) async fn finish(mut self, end: End) {
        // Others wait for the grant; the agent may take its time to hear why its session is over.
        (self.grant, self.wanted) = (None, None);
        if let Some(opened) = self.session.opened() {
            self.ingest.roster.leave(opened.node_id, opened.session);
        }
        let admitted = Arc::clone(&self.admitted);
        let node = admitted.node.name.as_str();
        let (status, patient) = match &end {
            End::Closed(Close::Bye) => (None, true),
            End::Closed(close) => {
                if let Some(refusal) = close.refusal() {
                    self.ingest.refusals.note(refusal, None, Some(node), close);
                }
                // Three heartbeats were patience enough.
                (Some(status(close)), !matches!(close, Close::Late("three heartbeats")))
            }
            End::Lost(reason) => {
                // Its end is said where its beginning was.
                if self.claim.as_ref().is_some_and(|claim| claim.untold.is_some()) {
                    tracing::info!(node, reason, "session lost");
                } else {
                    tracing::debug!(node, reason, "session lost");
                }
                (None, true)
            }
            End::Refused(refusal, reason) => {
                self.ingest.refusals.note(*refusal, None, Some(node), reason);
                // Whoever does not read would not hear it.
                ((*refusal == Refusal::Protocol).then(|| Status::invalid_argument(words::NO_MESSAGE)), true)
            }
            End::Store(error) => {
                // The writer has said it for all.
                tracing::debug!(node, error = cause(error), "session ended: the store cannot commit");
                self.ingest.refusals.note(Refusal::Store, None, Some(node), &words::CANNOT_COMMIT);
                (Some(Status::unavailable(words::CANNOT_COMMIT)), true)
            }
            End::Credentials(rejection) => {
                self.ingest.refusals.note(rejection.refusal, None, Some(node), rejection);
                (Some(Status::unauthenticated(words::NOT_ACCEPTED)), true)
            }
            End::Duplicate(reason) => {
                self.ingest.refusals.note(Refusal::DuplicateAgent, self.peer, Some(node), reason);
                (Some(Status::already_exists(words::ANOTHER_AGENT)), true)
            }
            End::Stopping => (Some(Status::unavailable(words::STOPPING)), true),
        };
        if let Some(opened) = self.session.opened().filter(|_| !self.stopped) {
            self.ingest.registry.lost(opened.node_id, opened.session, patient, self.ingest.now());
        }
        // Others wait for the node too.
        self.release();
        if matches!(&end, End::Refused(Refusal::Protocol, _) | End::Closed(Close::Protocol(_))) {
            tokio::select! {
                () = sleep(PENALTY) => {}
                () = self.ingest.closing.cancelled() => {}
            }
        }
        if let Some(status) = status
            && timeout(SEND_TIMEOUT, self.outbox.send(Box::new(Err(status)))).await.is_err()
        {
            tracing::debug!(node, "the agent did not hear why its session ended");
        }
    }

    /// The stream is over: the node is this holder's for a short while yet.
    fn release(&mut self) {
        if let Some(claim) = self.claim.take() {
            // What waits to be opened yet is nobody's.
            claim.taken_over.cancel();
            self.ingest.holders.lost(&self.admitted, claim.number, self.ingest.now().mono_ms);
        }
    }
}

/// However a session's task ends, the node does not stay taken.
impl Drop for Connection {
    fn drop(&mut self) {
        self.release();
    }
}

/// What the agent's gRPC library is told.
fn status(close: &Close) -> Status {
    let text = close.to_string();
    match close {
        Close::Bye => Status::ok(text),
        Close::Protocol(_) => Status::invalid_argument(text),
        Close::Incompatible(_) => Status::failed_precondition(text),
        Close::Late(_) => Status::deadline_exceeded(text),
        Close::Superseded => Status::aborted(text),
    }
}

/// The stream gave an error instead of a message: the agent's side broke the contract, or went away.
pub(super) fn unreadable(status: &Status) -> End {
    let reason = status.message().to_owned();
    // What the library could not decode has no source of its own; what HTTP/2 found wrong says so, and what it was told does not.
    let undecodable = matches!(status.code(), Code::OutOfRange | Code::Internal) && Error::source(status).is_none();
    if undecodable || reason.contains("error detected") { End::Refused(Refusal::Protocol, reason) } else { End::Lost(reason) }
}
