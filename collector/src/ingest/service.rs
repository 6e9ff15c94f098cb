//! The gRPC service: who may open a session, and what all sessions share. Must not know what is said in one.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{Map, StreamExt};
use holdfast_proto::v1;
use holdfast_proto::v1::posture_server::Posture;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use super::Settings;
use super::connection::{Connection, Told, words};
use super::pace::Paces;
use super::session::Moment;
use crate::accept::Peer;
use crate::identity::{Admitted, Identities, Presented};
use crate::metrics::Metrics;
use crate::nodes::{Holders, Registry};
use crate::peers::Roster;
use crate::policy::Desk;
use crate::refusals::{Refusal, Refusals};
use crate::store::ingest::Writer;

/// Messages to an agent that may wait.
const OUTBOX: usize = 16;

/// What every session shares.
#[derive(Debug)]
pub struct Ingest {
    pub(super) writer: Writer,
    pub(super) identities: Arc<Identities>,
    pub(super) holders: Holders,
    pub(super) registry: Arc<Registry>,
    pub(super) roster: Arc<Roster>,
    pub(super) policies: Arc<Desk>,
    pub(super) paces: Paces,
    pub(super) metrics: Metrics,
    pub(super) refusals: Refusals,
    pub(super) settings: Settings,
    pub(super) grants: Arc<Semaphore>,
    pub(super) started: Instant,
    pub(super) draining: CancellationToken,
    pub(super) closing: CancellationToken,
    pub(super) sessions: TaskTracker,
}

/// The gRPC service.
#[derive(Debug, Clone)]
pub struct Service(pub Arc<Ingest>);

impl Ingest {
    /// Ready for streams.
    pub fn new(
        writer: Writer,
        identities: Identities,
        registry: Arc<Registry>,
        roster: Arc<Roster>,
        metrics: Metrics,
        settings: Settings,
        started: Instant,
    ) -> Self {
        Self {
            writer,
            identities: Arc::new(identities),
            holders: Holders::default(),
            registry,
            roster,
            policies: Arc::default(),
            paces: Paces::default(),
            refusals: Refusals::new(metrics.clone()),
            metrics,
            grants: Arc::new(Semaphore::new(settings.grants)),
            settings,
            started,
            draining: CancellationToken::new(),
            closing: CancellationToken::new(),
            sessions: TaskTracker::new(),
        }
    }

    /// Has agents hold the policies of `desk`.
    #[must_use]
    pub fn policed_by(mut self, desk: Arc<Desk>) -> Self {
        self.policies = desk;
        self
    }

    /// Notes refusals through `refusals`, which others share.
    #[must_use]
    pub fn refusing_through(mut self, refusals: Refusals) -> Self {
        self.refusals = refusals;
        self
    }

    /// Tells every agent to come back later, and waits until they have gone, at most `patience`.
    pub async fn drain(&self, patience: Duration) {
        self.draining.cancel();
        self.sessions.close();
        if timeout(patience, self.sessions.wait()).await.is_err() {
            tracing::info!(sessions = self.sessions.len(), "closing sessions that did not end by themselves");
            self.closing.cancel();
            self.sessions.wait().await;
        }
    }

    /// The moment by this process's clocks.
    pub fn now(&self) -> Moment {
        let mono = self.started.elapsed().as_millis();
        Moment { mono_ms: u64::try_from(mono).unwrap_or(u64::MAX), wall_ms: jiff::Timestamp::now().as_millisecond() }
    }

    async fn admit(&self, request: &Request<Streaming<v1::AgentMessage>>) -> Result<Admitted, Status> {
        let peer = request.extensions().get::<Peer>();
        let authorization = request.metadata().get("authorization").map(tonic::metadata::MetadataValue::as_bytes);
        let presented = Presented { authorization, certificate: peer.and_then(Peer::certificate), from: peer.map(Peer::origin) };
        self.identities.admit(presented).await.map_err(|rejection| {
            self.refusals.note(rejection.refusal, peer.map(|peer| peer.address), None, &rejection);
            if rejection.undecided() { Status::unavailable(words::CANNOT_DECIDE) } else { Status::unauthenticated(words::NOT_ACCEPTED) }
        })
    }
}

#[tonic::async_trait]
impl Posture for Service {
    type SessionStream = Map<ReceiverStream<Told>, fn(Told) -> Result<v1::CollectorMessage, Status>>;

    async fn session(&self, request: Request<Streaming<v1::AgentMessage>>) -> Result<Response<Self::SessionStream>, Status> {
        let (peer, refusals) = (request.extensions().get::<Peer>(), &self.0.refusals);
        let address = peer.map(|peer| peer.address);
        if self.0.draining.is_cancelled() {
            refusals.note(Refusal::Draining, address, None, &words::STOPPING);
            return Err(Status::unavailable(words::STOPPING));
        }
        // Whoever comes now could not be welcomed. Said before anything is looked up: a fleet that was sent away comes back for it.
        if self.0.writer.failing().is_some() {
            refusals.note(Refusal::Store, address, None, &words::CANNOT_COMMIT);
            return Err(Status::unavailable(words::CANNOT_COMMIT));
        }
        let admitted = self.0.admit(&request).await?;
        let place = match peer.map(Peer::begin_session) {
            Some(None) => {
                refusals.note(Refusal::SecondSession, address, Some(&admitted.node.name), &words::ONE_SESSION);
                return Err(Status::resource_exhausted(words::ONE_SESSION));
            }
            place => place.flatten(),
        };
        let (outbox, answers) = mpsc::channel(OUTBOX);
        let mut connection = Connection::new(Arc::clone(&self.0), admitted, address, outbox);
        connection.place = place;
        self.0.sessions.spawn(connection.run(request.into_inner()));
        Ok(Response::new(ReceiverStream::new(answers).map(|told| *told)))
    }
}
