//! The dashboard: pages rendered here, kept live by fragments, complete without script.
//!
//! Each page is one file: it asks `store::views` and fills one template. The same rendering serves the request and the event
//! stream. Must not know SQL.

mod about;
mod alerts;
mod certificates;
mod charts;
mod checks;
mod coverage;
mod events;
mod expectations;
mod exports;
mod exposure;
mod finding;
mod findings;
mod fleet;
mod frame;
mod kernels;
mod knowledge;
mod marks;
mod node;
mod nodes;
mod pages;
mod prefs;
mod renderings;
mod root;
mod score;
mod words;

use axum::Router;
use axum::routing::{get, post};

use crate::http::Shared;
pub(crate) use renderings::Renderings;

/// Pages, exports, preferences and the event stream. Everything else is a page that is not there.
pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route("/events", get(events::events))
        .route("/prefs", post(prefs::save))
        .route("/findings.csv", get(exports::findings_csv))
        .route("/findings.json", get(exports::findings_json))
        .route("/kernels.csv", get(exports::kernels_csv))
        .route("/kernels.json", get(exports::kernels_json))
        .route("/nodes.csv", get(exports::nodes_csv))
        .route("/nodes.json", get(exports::nodes_json))
        .fallback(get(pages::serve))
}
