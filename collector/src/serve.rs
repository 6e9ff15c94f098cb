//! The collector as a whole: opens the store, binds its ports, starts and supervises its tasks, and stops in order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use holdfast_checks::catalogue::{Catalogue, JudgedBy};
use holdfast_checks::evaluator::Evaluator;
use holdfast_proto::body::ByMessage;
use holdfast_proto::v1::enrolment_server::EnrolmentServer;
use holdfast_proto::v1::posture_server::PostureServer;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::util::MapRequestLayer;

use crate::accept::{self, Bounds, Certificate, TlsFiles};
use crate::alerts::{self, AlertOptions, Clock, Rules};
use crate::catalogue;
use crate::changes::ChangeFeed;
use crate::cluster::{self, ApiServer, Cluster};
use crate::enrolment::{self, Enroller, Enrolments};
use crate::feeds::{self, Follow, Following};
use crate::files;
use crate::fleet;
use crate::http::{self, App};
use crate::identity::{Identities, TokenReview, Tokens};
use crate::ingest::{Ingest, Service, Settings};
use crate::logs::cause;
use crate::metrics::Metrics;
use crate::nodes::membership::{self, Keeping, Waiting};
use crate::nodes::{Patience, Registry, keeper};
use crate::peers::{self, Plan, Roster, Shared, Sources};
use crate::policy::{self, Desk, Policies, Reload};
use crate::refusals::Refusals;
use crate::store::Store;
use crate::store::retention::Retention;

/// The store's file in the data directory.
const DATABASE: &str = "holdfast.db";
/// HTTP/2 windows: what one agent may have on its way, and what anybody may leave in our memory before we look at it. HTTP/2 itself
/// gives a connection 64 KiB.
const WINDOW: (u32, u32) = (32 * 1024, 64 * 1024);
/// Streams in one connection: an agent needs one, and the other is told so.
const STREAMS: u32 = 2;
/// The largest header block, in bytes: the longest token, and what is around it. It bounds CONTINUATION frames too.
const HEADERS: u32 = 12 * 1024;
/// Streams that the other end may have reset before we looked at them, and that we may have reset for errors in them, after which the
/// connection ends. An agent resets none.
const RESETS: (usize, usize) = (8, 16);
/// Room for what a message of the largest size is wrapped in.
const MESSAGE_SLACK: usize = 1024;
/// When a quiet connection is asked whether it lives, and how long it may take to answer. Twice the time between heartbeats is more
/// than any idle agent is quiet: one that is well is never asked.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(90), Duration::from_secs(20));
/// How long agents have to leave before the collector stops.
const DRAIN: Duration = Duration::from_secs(5);

/// Everything the command line decides.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "independent switches of a command line")]
pub struct ServeOptions {
    /// Where the database lives.
    pub data: PathBuf,
    /// Where agents connect.
    pub listen: SocketAddr,
    /// Where people connect.
    pub http: SocketAddr,
    /// The server certificate, PEM.
    pub tls_cert: PathBuf,
    /// Its key, PEM.
    pub tls_key: PathBuf,
    /// The tokens file.
    pub tokens: Option<PathBuf>,
    /// How machines outside a cluster enrol.
    pub enrolment: Option<EnrolmentOptions>,
    /// Speak TLS 1.2 too.
    pub allow_tls12: bool,
    /// Ask the cluster's API server about tokens.
    pub token_review: bool,
    /// How to reach that API server; without, the cluster this runs in.
    pub kubeconfig: Option<PathBuf>,
    /// Where the agents are.
    pub namespace: Option<String>,
    /// The administrator's list of nodes that peers are to try.
    pub peer_probes: Option<PathBuf>,
    /// Have peers try the nodes that the cluster's API server lists.
    pub peer_probes_from_api: bool,
    /// What to call the cluster whose API server is asked.
    pub cluster: String,
    /// The policy file.
    pub policy: Option<PathBuf>,
    /// More checks.
    pub catalogue: Option<PathBuf>,
    /// The directory that is watched for feeds.
    pub feed_directory: Option<PathBuf>,
    /// Alertmanagers.
    pub alertmanager: Vec<String>,
    /// Webhooks.
    pub webhook: Vec<String>,
    /// How people reach the dashboard, for links in alerts.
    pub public_url: Option<String>,
    /// Do recorded nodes alert like live ones: for a demonstration.
    pub alert_on_recorded: bool,
    /// When nodes become silent and gone.
    pub patience: Patience,
    /// When a Node object without an agent, and an agent without a Node object, are missed.
    pub waiting: Waiting,
    /// Mean time between heartbeats, in seconds.
    pub heartbeat_seconds: u32,
    /// How long history is kept.
    pub retention: Retention,
}

/// How machines outside a cluster enrol.
#[derive(Debug, Clone)]
pub struct EnrolmentOptions {
    /// The enrolments file.
    pub list: PathBuf,
    /// The certificate of the enrolment CA, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// How long a certificate holds.
    pub lifetime: Duration,
}

/// A running collector.
#[derive(Debug)]
pub struct Serving {
    /// Where agents connect.
    pub grpc_addr: SocketAddr,
    /// Where people connect.
    pub http_addr: SocketAddr,
    /// Ends when the collector has stopped, with the reason when it was not asked to.
    pub join: JoinHandle<Result<()>>,
}

/// Starts a collector; it stops when `cancel` is cancelled, or when a part of it fails.
#[allow(clippy::too_many_lines, reason = "every part is made and tied to the others once, in order")]
pub async fn serve(options: ServeOptions, cancel: CancellationToken) -> Result<Serving> {
    let catalogue = Arc::new(catalogue::load(options.catalogue.as_deref())?);
    let evaluator = Arc::new(Evaluator::new((*catalogue).clone()));
    let mut alerting = alerting(&options)?;
    let certificate = Arc::new(certificate(&options)?);
    let metrics = Metrics::default();
    let api = api_server(&options, &metrics).await?;
    let identities = identities(&options, api.as_ref(), &metrics)?;
    let (enrolments, following) = (identities.enrolments.clone(), identities.follow(&options.cluster));
    let sources = peer_sources(&options, api.as_ref())?;
    let desk = Arc::new(policies(&options, &catalogue)?);
    files::private_directory(&options.data).with_context(|| format!("create data directory {}", options.data.display()))?;
    let store = Store::open(&options.data.join(DATABASE)).await?;
    store.ask_for_refused(&catalogue.hash()).await?;
    if let Some(list) = &enrolments {
        list.know(store.enrolled().await?);
    }
    let grpc = accept::listen(options.listen).with_context(|| format!("listen for agents on {}", options.listen))?;
    let people = TcpListener::bind(options.http).await.with_context(|| format!("listen for people on {}", options.http))?;
    let (grpc_addr, http_addr) = (grpc.local_addr()?, people.local_addr()?);

    let close_store = CancellationToken::new();
    let changes = ChangeFeed::default();
    let refusals = Refusals::new(metrics.clone());
    let (writer, writing) = store.writer(changes.clone(), metrics.clone(), close_store.clone());
    let settings = settings(&options, &catalogue);
    let started = tokio::time::Instant::now();
    let clock = move || crate::ingest::session::Moment {
        mono_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        wall_ms: jiff::Timestamp::now().as_millisecond(),
    };
    let registry = Arc::new(Registry::new(store.known_nodes().await?, options.patience, clock()));
    let askers = Arc::new(Roster::new(sources.is_some(), metrics.clone()).telling(Arc::clone(&registry)));
    let (known, asked) = (Arc::clone(&registry), Arc::clone(&askers));
    let ingest = Ingest::new(writer.clone(), identities, known, asked, metrics.clone(), settings, started);
    let ingest = Arc::new(ingest.policed_by(Arc::clone(&desk)).refusing_through(refusals.clone()));

    // First people are told that this is about to stop, then agents leave, then everything ends.
    let (leaving, stop) = (CancellationToken::new(), CancellationToken::new());
    let (connections, accepting) =
        accept::accept(grpc, Arc::clone(&certificate), bounds(), metrics.clone(), refusals.clone(), stop.clone());
    let service = PostureServer::new(Service(Arc::clone(&ingest)))
        .max_decoding_message_size(holdfast_proto::MAX_MESSAGE_BYTES + MESSAGE_SLACK)
        .max_encoding_message_size(holdfast_proto::MAX_MESSAGE_BYTES + MESSAGE_SLACK);
    let lifetime = options.enrolment.as_ref().map_or(Duration::ZERO, |enrolment| enrolment.lifetime);
    let listed = enrolments.clone();
    let enrolling = enrolments.map(|list| {
        let enroller = Enroller::new(list, Arc::clone(&certificate), store.clone(), refusals, &metrics, lifetime);
        EnrolmentServer::new(enrolment::Service(Arc::new(enroller))).max_decoding_message_size(enrolment::MAX_MESSAGE_BYTES)
    });
    let laid = MapRequestLayer::new(|request| accept::heard(request).map(by_message));
    let server = http2(options.heartbeat_seconds).layer(laid).add_service(service).add_optional_service(enrolling);
    let rpc = server.serve_with_incoming_shutdown(ReceiverStream::new(connections), stop.clone().cancelled_owned());

    let mut tasks = JoinSet::new();
    let mut writing = tokio::spawn(writing);
    tasks.spawn(named("accept loop", told(accepting)));
    tasks.spawn(named("gRPC server", async move { Ok(rpc.await?) }));
    let cluster = api.as_ref().map(|api| Arc::clone(api.cluster()));
    if let Some(api) = api {
        tasks.spawn(named("cluster watches", told(cluster::follow(api, options.token_review, stop.clone()))));
    }
    tasks.spawn(named("tokens and enrolments", endless(following)));
    tasks.spawn(named("certificate watch", endless(certificate.follow(metrics.clone()))));
    tasks.spawn(named("node states", endless(keeper::keep_states(Arc::clone(&registry), writer.clone(), metrics.clone(), clock))));
    let wall = || jiff::Timestamp::now().as_millisecond();
    tasks.spawn(named("housekeeping", endless(keeper::keep_tidy(store.clone(), Arc::clone(&registry), options.retention, listed, wall))));
    let clock: Clock = Arc::new(wall);
    let following = Following::new(&options.data, options.feed_directory.as_deref(), metrics.clone(), Arc::clone(&clock));
    let (library, keeping) = feeds::follow(following, stop.clone()).await.context("built-in version knowledge")?;
    tasks.spawn(named("feeds", told(keeping)));
    if let Some(cluster) = cluster.clone() {
        let registry = Arc::clone(&registry);
        let (store, changes, clock) = (store.clone(), changes.clone(), Arc::clone(&clock));
        let elapsed: Clock = Arc::new(move || i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX));
        let keeping = Keeping { cluster, store, changes, registry, clock, elapsed, waiting: options.waiting };
        tasks.spawn(named("Node objects", told(membership::keep(keeping, stop.clone()))));
    }
    let vouching = cluster.clone().filter(|_| options.token_review);
    let judging = judging(evaluator, &store, &changes, &askers, &registry, cluster, &library, &clock);
    tasks.spawn(named("fleet rules", told(fleet::run(judging, stop.clone()))));
    let (kept, feed, counted, time) = (store.clone(), changes.clone(), metrics.clone(), Arc::clone(&clock));
    let shared = Shared { policies: desk.follow(), roster: askers, store: kept, changes: feed, metrics: counted, clock: time };
    let following = policing(options.policy, &desk, &catalogue, &store, &changes, &metrics, &clock);
    tasks.spawn(named("policies", told(policy::run(following, stop.clone()))));
    tasks.spawn(named("peer probes", told(ask_peers(sources, shared, stop.clone()))));
    alerting.library = Some(library.clone());
    tasks.spawn(named("alerts", run_alerts(alerting, store.clone(), changes.clone(), Arc::clone(&clock), stop.clone())));
    let router = http::router(App {
        store: store.clone(),
        catalogue,
        changes,
        metrics: Arc::new(move || metrics.encode()),
        cancel: leaving.clone(),
        public_url: options.public_url,
        library,
        policies: desk,
        cluster: vouching,
        clock,
    });
    let router = router.into_make_service_with_connect_info::<SocketAddr>();
    let closed = stop.clone().cancelled_owned();
    tasks.spawn(named("HTTP server", async move { Ok(axum::serve(people, router).with_graceful_shutdown(closed).await?) }));

    tracing::info!(agents = %grpc_addr, dashboard = %format!("http://{http_addr}/"), data = %options.data.display(), "collector is up");
    let join = tokio::spawn(async move {
        let failed = tokio::select! {
            () = cancel.cancelled() => None,
            ended = tasks.join_next() => Some(reason(ended)),
            // Without its writer a collector would answer every agent that it is stopping, and never stop.
            ended = &mut writing => Some(reason(Some(ended.map(Ok))).context("store writer")),
        };
        if failed.is_none() {
            tracing::info!("stopping: asking agents to come back later");
        }
        leaving.cancel();
        ingest.drain(DRAIN).await;
        keeper::flush(&registry, &writer).await;
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(2), async { while tasks.join_next().await.is_some() {} }).await.ok();
        tasks.shutdown().await;
        close_store.cancel();
        if !writing.is_finished() && tokio::time::timeout(Duration::from_secs(2), writing).await.is_err() {
            tracing::warn!("the store did not finish in time: what was not committed was not acknowledged either");
        }
        store.close().await;
        tracing::info!("collector has stopped");
        failed.map_or(Ok(()), Err)
    });
    Ok(Serving { grpc_addr, http_addr, join })
}

/// What sessions are told and held to.
fn settings(options: &ServeOptions, catalogue: &Catalogue) -> Settings {
    let here = catalogue.checks().iter().filter(|check| check.judged_by == JudgedBy::Collector);
    let judged_here = Arc::new(here.map(|check| check.id.to_string()).collect());
    Settings { heartbeat_seconds: options.heartbeat_seconds, catalogue_hash: catalogue.hash().0, judged_here, ..Settings::default() }
}

/// As many agents as the system lets us have, with the limit of open files raised first.
fn bounds() -> Bounds {
    match accept::raise_limit() {
        Ok(limit) => {
            let bounds = Bounds::default().within(limit);
            tracing::info!(open_files = limit, connections = bounds.connections, "limits");
            bounds
        }
        Err(error) => {
            tracing::warn!(%error, "the limit of open files cannot be raised: agents beyond it have to wait");
            Bounds::default()
        }
    }
}

/// The TLS settings, by their files.
fn certificate(options: &ServeOptions) -> Result<Certificate> {
    let enrolment = options.enrolment.as_ref().map(|enrolment| (enrolment.certificate.clone(), enrolment.key.clone()));
    let (certificate, key, allow_tls12) = (options.tls_cert.clone(), options.tls_key.clone(), options.allow_tls12);
    Certificate::open(TlsFiles { certificate, key, enrolment, allow_tls12 })
        .context("--tls-cert, --tls-key, --enrolment-ca-cert and --enrolment-ca-key (`holdfast-collector ca init` makes them)")
}

/// The cluster's API server, where it is asked for anything.
async fn api_server(options: &ServeOptions, metrics: &Metrics) -> Result<Option<ApiServer>> {
    if !options.token_review && !options.peer_probes_from_api {
        return Ok(None);
    }
    let cluster = Cluster::counted(&options.cluster, metrics.clone());
    Ok(Some(ApiServer::connect(options.kubeconfig.as_deref(), options.namespace.as_deref(), cluster).await?))
}

fn identities(options: &ServeOptions, api: Option<&ApiServer>, metrics: &Metrics) -> Result<Identities> {
    let enrolments = options.enrolment.as_ref().map(|enrolment| Enrolments::load(&enrolment.list)).transpose().context("--enrolments")?;
    let tokens = options.tokens.as_deref().map(Tokens::load).transpose().context("--tokens")?;
    let review = api.filter(|_| options.token_review).map(|api| TokenReview::new(api.clone(), metrics.clone()));
    if tokens.is_none() && review.is_none() && enrolments.is_none() {
        tracing::warn!("no agent can connect: give --tokens FILE, --enrolments FILE, or --token-review in a cluster");
    }
    Ok(Identities { tokens, review, enrolments: enrolments.map(Arc::new) })
}

/// What agents are to hold.
fn policies(options: &ServeOptions, catalogue: &Catalogue) -> Result<Desk> {
    let Some(path) = &options.policy else { return Ok(Desk::default()) };
    let policies = Policies::load(path, catalogue).context("--policy")?;
    let since = jiff::Timestamp::now().as_millisecond();
    Ok(Desk::new(policies, Reload { path: Some(path.display().to_string()), problem: None, since }))
}

/// Where the nodes come from that peers are to try; `None`: nobody tries anything.
fn peer_sources(options: &ServeOptions, api: Option<&ApiServer>) -> Result<Option<Sources>> {
    if options.peer_probes.is_none() && !options.peer_probes_from_api {
        return Ok(None);
    }
    let list = match &options.peer_probes {
        Some(path) => Some((path.clone(), Plan::load(path).context("--peer-probes")?)),
        None => None,
    };
    let api = api.filter(|_| options.peer_probes_from_api).map(|api| Arc::clone(api.cluster()));
    tracing::info!("agents that allow it are asked to try the Kubernetes ports of other nodes");
    Ok(Some(Sources { list, api }))
}

#[expect(clippy::too_many_arguments, reason = "one call site, each argument a different part")]
fn judging(
    evaluator: Arc<Evaluator>,
    store: &Store,
    changes: &ChangeFeed,
    roster: &Arc<Roster>,
    registry: &Arc<Registry>,
    cluster: Option<Arc<Cluster>>,
    library: &Follow,
    clock: &Clock,
) -> fleet::Judging {
    let (store, changes, roster, registry) = (store.clone(), changes.clone(), Arc::clone(roster), Arc::clone(registry));
    fleet::Judging {
        evaluator,
        store,
        changes,
        roster,
        registry,
        cluster,
        library: library.clone(),
        clock: Arc::clone(clock),
        tick: fleet::TICK,
    }
}

/// What a connection of an agent may take up.
///
/// What cannot be set here the library bounds by itself: answers to PING and SETTINGS wait one at a time, and nothing is read meanwhile.
/// DATA frames that wait to be read use up a budget of half the connection's window, each with what it lacks of 256 bytes, after which the
/// connection ends (`ENHANCE_YOUR_CALM`): 128 of them at the least, and of nothing at all a hundred in a connection's life, which no agent
/// sends. An agent does not get there while we hold it up: for at most a minute (`STORE_PATIENCE`) it says four changes (`MAX_INFLIGHT`; 64
/// is the most it would ever), 75 heartbeats at the shortest interval there is, one at the usual, and what it was asked: no more than the
/// outbox and the questions behind it hold, 24. A pace that holds it up holds up acknowledgements and with them what it says. Nor do
/// we in the other direction, where the budget is the same: an agent waits for nothing while it reads, and is told an answer to each of
/// those, ten questions a minute, and policies when they change; what one that was stopped has not read is in the outbox. What it keeps to send (400 KiB a stream) is bounded by what we give it:
/// a session's outbox.
fn http2(heartbeat_seconds: u32) -> tonic::transport::Server {
    let every = KEEPALIVE.0.max(Duration::from_secs(u64::from(heartbeat_seconds) * 2));
    tonic::transport::Server::builder()
        .initial_stream_window_size(WINDOW.0)
        .initial_connection_window_size(WINDOW.1)
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(HEADERS)
        .http2_max_pending_accept_reset_streams(Some(RESETS.0))
        .http2_max_local_error_reset_streams(Some(RESETS.1))
        .http2_keepalive_interval(Some(every))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
}

/// So that a session keeps no buffer of the size of its largest message.
fn by_message(body: Body) -> Body {
    Body::new(ByMessage::new(body))
}

fn policing(
    path: Option<PathBuf>,
    desk: &Arc<Desk>,
    catalogue: &Arc<Catalogue>,
    store: &Store,
    changes: &ChangeFeed,
    metrics: &Metrics,
    clock: &Clock,
) -> policy::Following {
    let (desk, catalogue, clock) = (Arc::clone(desk), Arc::clone(catalogue), Arc::clone(clock));
    policy::Following { desk, path, catalogue, store: store.clone(), changes: changes.clone(), metrics: metrics.clone(), clock }
}

/// Alerts, judged and sent until `cancel`; started anew when a sender dies.
fn alerting(options: &ServeOptions) -> Result<AlertOptions> {
    let rules = Rules::built_in().context("alert rules")?;
    let mut alerting = AlertOptions::new(rules, &options.alertmanager, &options.webhook, options.public_url.as_deref(), None)?;
    alerting.alert_on_recorded = options.alert_on_recorded;
    Ok(alerting)
}

async fn run_alerts(options: AlertOptions, store: Store, changes: ChangeFeed, clock: Clock, cancel: CancellationToken) -> Result<()> {
    loop {
        let Err(error) = alerts::run(options.clone(), store.clone(), changes.clone(), Arc::clone(&clock), cancel.clone()).await else {
            return Ok(());
        };
        tracing::error!(error = cause(&error), "alerts stopped: starting them anew in a second");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Has agents try each other's nodes until `stop`, if that is switched on.
async fn ask_peers(sources: Option<Sources>, shared: Shared, stop: CancellationToken) {
    match sources {
        Some(sources) => peers::run(sources, shared, stop).await,
        None => stop.cancelled().await,
    }
}

/// A task that ends when it is told to.
async fn told(task: impl Future<Output = ()>) -> Result<()> {
    task.await;
    Ok(())
}

/// A task that never ends by itself.
async fn endless(task: impl Future<Output = ()>) -> Result<()> {
    task.await;
    anyhow::bail!("ended by itself")
}

async fn named(name: &'static str, task: impl Future<Output = Result<()>>) -> Result<()> {
    task.await.context(name)
}

/// Why a task that should go on has ended.
fn reason(ended: Option<std::result::Result<Result<()>, tokio::task::JoinError>>) -> anyhow::Error {
    match ended {
        Some(Ok(Err(error))) => error,
        Some(Err(error)) => anyhow::Error::new(error).context("a part of the collector panicked"),
        Some(Ok(Ok(()))) | None => anyhow::anyhow!("a part of the collector ended by itself"),
    }
}
