//! The event stream of one open page: its fragments again, whenever something was committed or a feed was imported.
//!
//! The first change after a quiet time is pushed at once; after that at most two pushes a second. A reader that comes back with
//! `Last-Event-ID` simply gets the page as it is now: state, not events, so nothing can be lost.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, Uri};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::{Instant, sleep, sleep_until};

use super::frame::StatusBar;
use super::pages;
use super::renderings::Shown;
use crate::changes::Change;
use crate::feeds::Follow;
use crate::http::{Failure, Shared, pairs, script, style};

/// The least time between two pushes of one view.
const PACE: Duration = Duration::from_millis(500);
/// How long commits of one burst are gathered before the first push.
const GATHER: Duration = Duration::from_millis(15);
/// The status bar is sent this often, so that its as-of time is true while nothing changes.
const BEAT: Duration = Duration::from_secs(10);
/// A comment when nothing else was sent.
const COMMENT: Duration = Duration::from_secs(15);
/// The longest view accepted.
const MAX_VIEW_BYTES: usize = 8 * 1024;

struct Viewer {
    site: Shared,
    path: String,
    pairs: Vec<(String, String)>,
    view: String,
    changes: Receiver<Change>,
    library: Follow,
    /// The page has shown the store up to here.
    seen: i64,
    next_push: Instant,
    first: bool,
    over: bool,
    _permit: OwnedSemaphorePermit,
}

/// `/events?view=<path and query>&seq=<position the page was rendered at>&build=<assets it runs>`.
pub(super) async fn events(State(site): State<Shared>, uri: Uri, headers: HeaderMap) -> Response {
    let asked = pairs(&uri);
    let value = |key: &str| asked.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone()).unwrap_or_default();
    let view = value("view");
    let local = view.starts_with('/') && !view.starts_with("//") && view.len() <= MAX_VIEW_BYTES;
    let Some(parsed) = local.then(|| view.parse::<Uri>().ok()).flatten() else {
        return Failure::Bad("`view`: give the path and query of a page, starting with `/`".to_owned()).into_response();
    };
    let Ok(permit) = Arc::clone(&site.streams).try_acquire_owned() else {
        return Failure::Busy("too many pages follow changes at the moment: this one shows what was, reload it to see more")
            .into_response();
    };
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()).and_then(|value| value.parse::<i64>().ok());
    let seen = last.or_else(|| value("seq").parse().ok()).unwrap_or(-1);
    let build = value("build");
    let old_build = !build.is_empty() && build != format!("{}{}", script(), style());
    // Follow before looking, so that nothing falls between.
    let changes = site.app.changes.follow();
    let viewer = Viewer {
        path: parsed.path().to_owned(),
        pairs: pairs(&parsed),
        view,
        changes,
        // What was imported before counts as news once: a page that was hidden then has not shown it.
        library: site.app.library.clone(),
        seen,
        next_push: Instant::now(),
        first: true,
        over: false,
        _permit: permit,
        site: Arc::clone(&site),
    };
    let events: std::pin::Pin<Box<dyn Stream<Item = Event> + Send>> = if old_build {
        stream::once(async { reload("a new version is running") }).boxed()
    } else {
        stream::unfold(viewer, step).flat_map(stream::iter).boxed()
    };
    let until = site.app.cancel.clone().cancelled_owned();
    let events = events.take_until(until).map(Ok::<_, Infallible>);
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(COMMENT).text("still here")).into_response();
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), axum::http::HeaderValue::from_static("no"));
    response
}

/// Waits for something to show and renders it.
async fn step(mut viewer: Viewer) -> Option<(Vec<Event>, Viewer)> {
    if viewer.over {
        return None;
    }
    let changed = if viewer.first {
        viewer.first = false;
        false
    } else {
        viewer.wait().await?
    };
    let events = match viewer.render(changed).await {
        Ok(events) => events,
        Err(Failure::NotFound(_)) => {
            viewer.over = true;
            vec![reload("it is not there any more")]
        }
        // The reader keeps what it has; the next beat tries again.
        Err(failure) => vec![notice(&failure.to_string())],
    };
    Some((events, viewer))
}

impl Viewer {
    /// `true`: something was committed or imported; `false`: only time has passed; `None`: the collector stops.
    async fn wait(&mut self) -> Option<bool> {
        tokio::select! {
            () = sleep(BEAT) => return Some(false),
            heard = self.changes.recv() => match heard {
                Err(RecvError::Closed) => return None,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
            },
            Ok(()) = self.library.changed() => {}
        }
        sleep_until(self.next_push.max(Instant::now() + GATHER)).await;
        // Everything that came meanwhile is in the store: one rendering shows it all.
        while let Ok(_) | Err(TryRecvError::Lagged(_)) = self.changes.try_recv() {}
        self.library.mark_unchanged();
        Some(true)
    }

    async fn render(&mut self, changed: bool) -> Result<Vec<Event>, Failure> {
        // Everything this viewer was told of is committed by now.
        let told = Instant::now();
        let site = &self.site;
        let seq = site.views.last_change().await?;
        let status = StatusBar::new(site, &self.view).await?.render()?;
        let mut events = vec![fragment("status", &status, seq)];
        if changed || seq > self.seen {
            let render = async || {
                let seq = site.views.last_change().await?;
                let page = pages::render(site, &self.path, self.pairs.clone()).await?;
                Ok::<_, Failure>(Shown { seq, main: page.main })
            };
            let shown = site.renderings.get(&self.view, told, render).await?;
            events.push(fragment("main", &shown.main, shown.seq));
            self.seen = shown.seq;
            self.next_push = Instant::now() + PACE;
        }
        Ok(events)
    }
}

fn fragment(id: &str, html: &str, seq: i64) -> Event {
    Event::default().event("fragment").id(seq.to_string()).data(json!({"id": id, "html": html}).to_string())
}

fn notice(text: &str) -> Event {
    Event::default().event("notice").data(json!({"text": text}).to_string())
}

fn reload(reason: &str) -> Event {
    Event::default().event("reload").data(json!({"reason": reason}).to_string())
}
