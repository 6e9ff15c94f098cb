//! What the stand-in says over HTTP.

#![allow(clippy::indexing_slicing, reason = "of a JSON value, which is null where there is nothing")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::store::{Happened, Kind, Store, name, uid};
use super::{AGENT, Claims, Mode, NAMESPACE, bell, lock, text};

/// How long a watch lasts when nobody says.
const WATCH: u64 = 300;

/// Everything the server knows.
#[derive(Debug)]
pub(super) struct Shared {
    /// Tokens of whoever may ask, and how often each did.
    pub(super) own: Mutex<BTreeMap<String, usize>>,
    /// How often somebody without one of them asked.
    pub(super) unauthorized: AtomicUsize,
    pub(super) tls: Mutex<Arc<ServerConfig>>,
    pub(super) store: Mutex<Store>,
    pub(super) tokens: Mutex<BTreeMap<String, Claims>>,
    pub(super) forbidden: Mutex<Option<&'static str>>,
    pub(super) reviews: AtomicUsize,
    /// How long a review takes, how many are under way, and were at most.
    pub(super) slowness: Mutex<Duration>,
    reviewing: AtomicUsize,
    pub(super) reviewed_at_once: AtomicUsize,
    pub(super) lists: AtomicUsize,
    pub(super) watches: AtomicUsize,
    mode: watch::Sender<Mode>,
    /// Something happened to an object.
    changed: watch::Sender<u64>,
    /// Connections and watches opened before the last change end.
    cuts: watch::Sender<u64>,
    /// Watches opened before the last change say nothing more, and do not end.
    hushes: watch::Sender<u64>,
}

impl Shared {
    pub(super) fn new(own_token: String, tls: Arc<ServerConfig>) -> Self {
        let (mode, changed, cuts, hushes) = (watch::Sender::new(Mode::Up), bell(), bell(), bell());
        let (reviews, lists, watches) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let (store, tokens, forbidden) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (slowness, reviewing, reviewed_at_once) = (Mutex::default(), AtomicUsize::new(0), AtomicUsize::new(0));
        let (own, unauthorized) = (Mutex::new(BTreeMap::from([(own_token, 0)])), AtomicUsize::new(0));
        let tls = Mutex::new(tls);
        Self {
            own,
            unauthorized,
            tls,
            store,
            tokens,
            forbidden,
            reviews,
            slowness,
            reviewing,
            reviewed_at_once,
            lists,
            watches,
            mode,
            changed,
            cuts,
            hushes,
        }
    }

    pub(super) fn tell(&self) {
        self.changed.send_modify(|n| *n += 1);
    }

    pub(super) fn cut(&self) {
        self.cuts.send_modify(|n| *n += 1);
    }

    pub(super) fn hush(&self) {
        self.hushes.send_modify(|n| *n += 1);
    }

    pub(super) fn behave(&self, mode: Mode) {
        self.mode.send_replace(mode);
        self.cut();
    }
}

/// Serves connections until the runtime ends.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let router = Router::new()
        .route("/apis/authentication.k8s.io/v1/tokenreviews", post(review))
        .route("/api/v1/nodes", get(many_nodes))
        .route("/api/v1/nodes/{name}", get(one_node))
        .route("/api/v1/namespaces/{namespace}/{plural}", get(many))
        .route("/api/v1/namespaces/{namespace}/{plural}/{name}", get(one))
        .route("/apis/apps/v1/namespaces/{namespace}/{plural}", get(many))
        .route("/apis/apps/v1/namespaces/{namespace}/{plural}/{name}", get(one))
        .fallback(async || failure(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource"))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), guard))
        .with_state(Arc::clone(&shared));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let acceptor = TlsAcceptor::from(Arc::clone(&lock(&shared.tls)));
        let (router, shared) = (router.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let mut cut = shared.cuts.subscribe();
            if *shared.mode.borrow() == Mode::Away {
                return;
            }
            let Ok(tls) = acceptor.accept(stream).await else { return };
            let builder = auto::Builder::new(TokioExecutor::new());
            let connection = builder.serve_connection(TokioIo::new(tls), TowerToHyperService::new(router));
            tokio::select! {
                // The other end left, or did not speak HTTP.
                _ended = connection => {}
                _cut = cut.changed() => {}
            }
        });
    }
}

/// A `Status` object.
fn failure(status: StatusCode, reason: &str, message: &str) -> Response {
    (status, axum::Json(status_object(status, reason, message))).into_response()
}

fn status_object(status: StatusCode, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason,
        "code": status.as_u16(),
    })
}

/// Who may ask, and whether anybody is answered.
async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let mode = *shared.mode.borrow();
    match mode {
        Mode::Up => {}
        // On a connection from before, which is about to be closed: as hanging, so that nothing is answered until it is.
        Mode::Away | Mode::Hanging => std::future::pending().await,
        Mode::Failing => return failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "etcdserver: request timed out"),
        Mode::Endless => {
            let spaces = stream::repeat_with(|| Ok::<_, std::convert::Infallible>(Bytes::from(vec![b' '; 64 * 1024])));
            return ([("content-type", "application/json")], Body::from_stream(spaces)).into_response();
        }
    }
    let bearer = request.headers().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let known = lock(&shared.own).get_mut(bearer.trim_start_matches("Bearer ")).map(|asked| *asked += 1).is_some();
    if !known {
        shared.unauthorized.fetch_add(1, Ordering::SeqCst);
        return failure(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized");
    }
    if let Some(plural) = *lock(&shared.forbidden)
        && request.uri().path().split('/').any(|part| part == plural)
    {
        let user = "system:serviceaccount:holdfast-system:holdfast-collector";
        let message =
            format!("{plural} is forbidden: User \"{user}\" cannot list resource \"{plural}\" in API group \"\" at the cluster scope");
        return failure(StatusCode::FORBIDDEN, "Forbidden", &message);
    }
    next.run(request).await
}

/// A review that is under way.
struct Reviewing(Arc<Shared>);

impl Reviewing {
    fn begin(shared: &Arc<Shared>) -> Self {
        let now = shared.reviewing.fetch_add(1, Ordering::SeqCst) + 1;
        shared.reviewed_at_once.fetch_max(now, Ordering::SeqCst);
        Self(Arc::clone(shared))
    }
}

impl Drop for Reviewing {
    fn drop(&mut self) {
        self.0.reviewing.fetch_sub(1, Ordering::SeqCst);
    }
}

/// As upstream: a token that is not accepted is an error in the status, and the answer is a 201 all the same.
async fn review(State(shared): State<Arc<Shared>>, asked: Bytes) -> Response {
    shared.reviews.fetch_add(1, Ordering::SeqCst);
    let _under_way = Reviewing::begin(&shared);
    let slowness = *lock(&shared.slowness);
    tokio::time::sleep(slowness).await;
    let Ok(mut review) = serde_json::from_slice::<Value>(&asked) else {
        return failure(StatusCode::BAD_REQUEST, "BadRequest", "the body is not JSON");
    };
    let Ok(token) = text(&review, "/spec/token") else {
        return failure(StatusCode::BAD_REQUEST, "Invalid", "spec.token: Required value");
    };
    let audiences: Vec<&str> = review["spec"]["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let claims = lock(&shared.tokens).get(&token).cloned();
    let refused = |why: &str| json!({"user": {}, "error": format!("[invalid bearer token{why}]")});
    let status = match claims {
        None => refused(""),
        Some(claims) if claims.expired() => refused(", service account token has expired"),
        Some(claims) if !audiences.contains(&claims.audience.as_str()) => {
            let (own, wanted) = (json!([claims.audience]), json!(audiences).to_string().replace(',', " "));
            refused(&format!(", token audiences {own} is invalid for the target audiences {wanted}"))
        }
        Some(claims) if !bound(&lock(&shared.store), &claims) => refused(", service account token has been invalidated"),
        Some(claims) => json!({"authenticated": true, "user": claims.user(), "audiences": [claims.audience]}),
    };
    review["metadata"] = json!({"creationTimestamp": null});
    review["status"] = status;
    (StatusCode::CREATED, axum::Json(review)).into_response()
}

/// Does the pod that a token is bound to still exist.
fn bound(store: &Store, claims: &Claims) -> bool {
    let Some((pod, pod_uid)) = &claims.pod else { return true };
    store.get(Kind::Pods, pod).is_some_and(|object| uid(object) == pod_uid)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Asked {
    watch: String,
    resource_version: String,
    limit: usize,
    #[serde(rename = "continue")]
    next: String,
    label_selector: String,
    field_selector: String,
    timeout_seconds: u64,
    allow_watch_bookmarks: String,
}

impl Default for Asked {
    fn default() -> Self {
        let none = String::new;
        Self {
            watch: none(),
            resource_version: none(),
            limit: usize::MAX,
            next: none(),
            label_selector: none(),
            field_selector: none(),
            timeout_seconds: WATCH,
            allow_watch_bookmarks: none(),
        }
    }
}

impl Asked {
    /// Is an object one of those that are asked for: `key=value`, several with commas.
    fn wants(&self, object: &Value) -> bool {
        let pairs = |selector: &str| -> Vec<(String, String)> {
            let pairs = selector.split(',').filter_map(|pair| pair.split_once('='));
            pairs.map(|(key, value)| (key.to_owned(), value.trim_start_matches('=').to_owned())).collect()
        };
        let labels = pairs(&self.label_selector).into_iter().all(|(key, value)| object["metadata"]["labels"][key] == value);
        labels && pairs(&self.field_selector).into_iter().all(|(key, value)| key == "metadata.name" && name(object) == value)
    }
}

async fn many_nodes(State(shared): State<Arc<Shared>>, Query(asked): Query<Asked>) -> Response {
    list_or_watch(shared, Kind::Nodes, asked)
}

async fn one_node(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Response {
    single(&shared, Kind::Nodes, &name)
}

async fn many(
    State(shared): State<Arc<Shared>>,
    Path((namespace, plural)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Response {
    match Kind::of(&plural).filter(|_| namespace == NAMESPACE) {
        Some(kind) => list_or_watch(shared, kind, asked),
        None => failure(StatusCode::FORBIDDEN, "Forbidden", &format!("{plural} is forbidden in the namespace \"{namespace}\"")),
    }
}

async fn one(State(shared): State<Arc<Shared>>, Path((namespace, plural, name)): Path<(String, String, String)>) -> Response {
    match Kind::of(&plural).filter(|kind| namespace == NAMESPACE && (*kind != Kind::DaemonSets || name == AGENT)) {
        Some(kind) => single(&shared, kind, &name),
        None => failure(StatusCode::FORBIDDEN, "Forbidden", &format!("{plural} \"{name}\" is forbidden in \"{namespace}\"")),
    }
}

fn single(shared: &Shared, kind: Kind, name: &str) -> Response {
    match lock(&shared.store).get(kind, name) {
        Some(object) => axum::Json(object.clone()).into_response(),
        None => failure(StatusCode::NOT_FOUND, "NotFound", &format!("{} \"{name}\" not found", kind.plural())),
    }
}

fn list_or_watch(shared: Arc<Shared>, kind: Kind, asked: Asked) -> Response {
    if matches!(asked.watch.as_str(), "true" | "1") {
        return watch_kind(shared, kind, asked);
    }
    shared.lists.fetch_add(1, Ordering::SeqCst);
    let store = lock(&shared.store);
    // As upstream: what the next page is of is in the name of that page.
    let (version, after) = match asked.next.split_once('/') {
        Some((version, after)) => (version.to_owned(), after.to_owned()),
        None => (store.version().to_string(), String::new()),
    };
    let all: Vec<&Value> = store.list(kind, &after).filter(|object| asked.wants(object)).collect();
    let limit = if asked.limit == 0 { usize::MAX } else { asked.limit };
    let more = all.len() > limit;
    let page: Vec<Value> = all.into_iter().take(limit).cloned().collect();
    let mut metadata = json!({"resourceVersion": version});
    if let (true, Some(last)) = (more, page.last()) {
        metadata["continue"] = json!(format!("{version}/{}", name(last)));
    }
    let (api_version, of) = kind.names();
    axum::Json(json!({"kind": format!("{of}List"), "apiVersion": api_version, "metadata": metadata, "items": page})).into_response()
}

/// One watch: lines of JSON, as they happen.
struct Watch {
    shared: Arc<Shared>,
    kind: Kind,
    asked: Asked,
    version: u64,
    changed: watch::Receiver<u64>,
    cut: watch::Receiver<u64>,
    hush: watch::Receiver<u64>,
    until: Instant,
    over: bool,
}

fn watch_kind(shared: Arc<Shared>, kind: Kind, asked: Asked) -> Response {
    let (changed, cut, hush) = (shared.changed.subscribe(), shared.cuts.subscribe(), shared.hushes.subscribe());
    shared.watches.fetch_add(1, Ordering::SeqCst);
    let version = asked.resource_version.parse().unwrap_or_else(|_| lock(&shared.store).version());
    let until = Instant::now() + Duration::from_secs(asked.timeout_seconds);
    let watch = Watch { shared, kind, asked, version, changed, cut, hush, until, over: false };
    let lines = stream::unfold(watch, async |mut watch| {
        let lines = watch.lines().await?;
        Some((Ok::<_, std::convert::Infallible>(lines), watch))
    });
    ([("content-type", "application/json")], Body::from_stream(lines)).into_response()
}

impl Watch {
    /// The next lines, or the end.
    async fn lines(&mut self) -> Option<String> {
        while !self.over {
            let (events, now) = {
                let store = lock(&self.shared.store);
                (store.since(self.kind, self.version), store.version())
            };
            // After what happened was read: nothing that happened since is told.
            if self.hush.has_changed().unwrap_or(true) {
                let _cut = self.cut.changed().await;
                return None;
            }
            let Some(events) = events else {
                self.over = true;
                let message = format!("too old resource version: {} ({now})", self.version);
                return Some(line("ERROR", &status_object(StatusCode::GONE, "Expired", &message)));
            };
            let lines = self.tell(&events);
            let caught_up = self.version < now;
            self.version = now;
            if !lines.is_empty() {
                return Some(lines);
            }
            if caught_up && self.asked.allow_watch_bookmarks == "true" {
                let (api_version, kind) = self.kind.names();
                let metadata = json!({"resourceVersion": now.to_string(), "creationTimestamp": null});
                return Some(line("BOOKMARK", &json!({"kind": kind, "apiVersion": api_version, "metadata": metadata})));
            }
            tokio::select! {
                _told = self.changed.changed() => {}
                _hushed = self.hush.changed() => self.hush.mark_changed(),
                _cut = self.cut.changed() => self.over = true,
                _over = timeout_at(self.until, std::future::pending::<()>()) => self.over = true,
            }
        }
        None
    }

    fn tell(&self, events: &[Happened]) -> String {
        events.iter().filter(|event| self.asked.wants(&event.object)).map(|event| line(event.what, &event.object)).collect()
    }
}

fn line(what: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": what, "object": object}))
}
