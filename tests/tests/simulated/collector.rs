//! The collector under simulation: the real ingest and the real store.
//!
//! The store's writer runs on a real runtime that moves only while [`Database::settle`] drives it, between two steps of the
//! simulation. So a commit takes no simulated time, never races it, and a crash can come before or after it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_collector::changes::ChangeFeed;
use holdfast_collector::identity::{Identities, Tokens};
use holdfast_collector::ingest::session::Moment;
use holdfast_collector::ingest::{Ingest, Service, Settings};
use holdfast_collector::metrics::Metrics;
use holdfast_collector::nodes::{Patience, Registry};
use holdfast_collector::peers::Roster;
use holdfast_collector::store::Store;
use holdfast_collector::store::ingest::Writer;
use holdfast_collector::store::nodes::KnownNode;
use holdfast_proto::v1::posture_server::PostureServer;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::network::listen;

/// Short, so that a lost connection is noticed and digests are compared several times in a story.
const HEARTBEAT_SECONDS: u32 = 5;
const DRAIN: Duration = Duration::from_secs(12);

/// A collector's process as far as the database goes: it ends with a crash; the file stays.
pub(crate) struct Database {
    runtime: Runtime,
    file: PathBuf,
    life: Option<Life>,
}

struct Life {
    store: Store,
    writer: Writer,
    writing: JoinHandle<()>,
}

impl Database {
    pub(crate) fn new(directory: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, file: directory.join("holdfast.db"), life: None }
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    pub(crate) fn run<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Opens the file as a collector that starts does.
    pub(crate) fn open(&mut self) -> (Writer, Vec<KnownNode>) {
        let store = self.run(Store::open(&self.file)).unwrap();
        let known = self.run(store.known_nodes()).unwrap();
        let (writer, writing) = store.writer(ChangeFeed::default(), Metrics::default(), CancellationToken::new());
        let writing = self.runtime.spawn(writing);
        self.life = Some(Life { store, writer: writer.clone(), writing });
        (writer, known)
    }

    /// Commits what was submitted so far. Without it nothing is.
    pub(crate) fn settle(&self) {
        if let Some(life) = &self.life
            && life.writer.under_way() > 0
        {
            // The writer answers in order: once this nothing is done, so is everything before it.
            self.run(life.writer.write_vitals(Vec::new())).unwrap();
        }
    }

    /// The process is gone, with what it had not committed.
    pub(crate) fn crash(&mut self) {
        if let Some(life) = self.life.take() {
            life.writing.abort();
            self.run(async {
                drop(life.writing.await);
                life.store.close().await;
            });
        }
    }
}

/// What a starting collector finds, put there by whoever starts it.
#[derive(Clone, Default)]
pub(crate) struct Slot(Arc<Mutex<Option<Start>>>);

pub(crate) struct Start {
    pub(crate) writer: Writer,
    pub(crate) known: Vec<KnownNode>,
    pub(crate) tokens: Tokens,
    /// Ends it in good order.
    pub(crate) stop: CancellationToken,
}

impl Slot {
    pub(crate) fn put(&self, start: Start) {
        *self.0.lock().unwrap() = Some(start);
    }

    /// The software of the simulated host.
    pub(crate) async fn run(self) -> turmoil::Result {
        let Start { writer, known, tokens, stop } = self.0.lock().unwrap().take().expect("somebody prepared this start");
        let started = tokio::time::Instant::now();
        let registry = Arc::new(Registry::new(known, Patience::default(), Moment { mono_ms: 0, wall_ms: 0 }));
        let metrics = Metrics::default();
        let roster = Arc::new(Roster::new(false, metrics.clone()));
        let identities = Identities { tokens: Some(tokens), ..Identities::default() };
        let settings = Settings { heartbeat_seconds: HEARTBEAT_SECONDS, grants: 2, ..Settings::default() };
        let ingest = Arc::new(Ingest::new(writer, identities, registry, roster, metrics, settings, started));
        let service = PostureServer::new(Service(Arc::clone(&ingest)))
            .max_decoding_message_size(holdfast_proto::MAX_MESSAGE_BYTES + 1024)
            .max_encoding_message_size(holdfast_proto::MAX_MESSAGE_BYTES + 1024);
        let server = tonic::transport::Server::builder()
            .initial_stream_window_size(64 * 1024)
            .initial_connection_window_size(64 * 1024)
            .http2_keepalive_interval(Some(Duration::from_mins(1)))
            .http2_keepalive_timeout(Some(Duration::from_secs(20)))
            .add_service(service);
        let serving = server.serve_with_incoming(listen().await?);
        tokio::select! {
            ended = serving => ended?,
            () = async { stop.cancelled().await; ingest.drain(DRAIN).await } => {}
        }
        Ok(())
    }
}
