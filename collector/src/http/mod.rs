//! The HTTP side: one router of API, pages, assets and health, with the same headers, limits and guards on everything.
//!
//! Must not know SQL or HTML: `api` and `dashboard` answer, `store::views` is asked.

mod assets;
mod failure;
mod headers;
mod health;
mod json;
mod query;
mod rebinding;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use holdfast_checks::catalogue::Catalogue;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::csrf::CsrfLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

pub(crate) use assets::{icon, script, style};
pub(crate) use failure::{ErrorBody, Failure};
pub(crate) use json::Json;
pub(crate) use query::{decode, pairs};

use crate::changes::ChangeFeed;
use crate::cluster::Cluster;
use crate::dashboard::Renderings;
use crate::feeds::Follow;
use crate::policy::Desk;
use crate::store::Store;
use crate::store::views::{CursorKey, Views};

/// How long a request may take; event streams begin within it and then last.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// The largest request body.
const MAX_BODY_BYTES: usize = 16 * 1024;

/// The most event streams at a time: each costs a rendering per push.
const MAX_STREAMS: usize = 256;

/// A clock: Unix milliseconds.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What the HTTP side is built from.
#[derive(Clone)]
pub struct App {
    /// The store.
    pub store: Store,
    /// The catalogue: title, area, why and fix of checks.
    pub catalogue: Arc<Catalogue>,
    /// What was committed.
    pub changes: ChangeFeed,
    /// The metrics page: `OpenMetrics` text.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Ends event streams when the collector stops.
    pub cancel: CancellationToken,
    /// Where readers reach the dashboard, shown on `/about`.
    pub public_url: Option<String>,
    /// Version knowledge.
    pub library: Follow,
    /// What agents are to hold.
    pub policies: Arc<Desk>,
    /// What the API server says of who agents are; `None` where it is not asked.
    pub cluster: Option<Arc<Cluster>>,
    /// The time.
    pub clock: Clock,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("store", &self.store).field("public_url", &self.public_url).finish_non_exhaustive()
    }
}

/// What handlers share.
pub(crate) struct Site {
    pub(crate) app: App,
    pub(crate) views: Views,
    /// When this process began to serve: Unix milliseconds.
    pub(crate) started: i64,
    /// Event streams that may still be opened.
    pub(crate) streams: Arc<Semaphore>,
    /// What open pages show.
    pub(crate) renderings: Renderings,
}

impl Site {
    /// The time: Unix milliseconds.
    pub(crate) fn now(&self) -> i64 {
        (self.app.clock)()
    }
}

/// What handlers get as state.
pub(crate) type Shared = Arc<Site>;

/// The router: `/` pages, `/api/v1`, `/events`, `/assets`, `/livez`, `/readyz`, `/metrics`.
pub fn router(app: App) -> Router {
    let mut key = [0; 32];
    if let Err(error) = getrandom::fill(&mut key) {
        // Page positions are then forgeable; they only ever choose where a list starts.
        tracing::warn!(%error, "no random bytes: page positions are signed with a fixed key");
    }
    let views = Views::new(&app.store, Arc::clone(&app.catalogue), CursorKey::new(key));
    let started = (app.clock)();
    let own_name = rebinding::own_name(app.public_url.as_deref());
    let site: Shared =
        Arc::new(Site { app, views, started, streams: Arc::new(Semaphore::new(MAX_STREAMS)), renderings: Renderings::default() });
    Router::new()
        .merge(crate::dashboard::routes())
        .nest("/api/v1", crate::api::routes())
        .route("/assets/{file}", get(assets::serve))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .with_state(site)
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_TIMEOUT))
        .layer(RequestBodyLimitLayer::new(MAX_BODY_BYTES))
        .layer(CsrfLayer::new())
        .layer(from_fn_with_state(own_name, rebinding::guard))
        .layer(CatchPanicLayer::custom(failure::panicked))
        .layer(from_fn(headers::add))
}
