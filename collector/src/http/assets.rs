//! Style sheet, script and icon: compiled in, named by content, kept for ever by browsers.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

struct Asset {
    url: String,
    media: &'static str,
    body: &'static str,
}

impl Asset {
    fn new(stem: &str, extension: &str, media: &'static str, body: &'static str) -> Self {
        let hash: String = blake3::hash(body.as_bytes()).to_hex().chars().take(12).collect();
        Self { url: format!("/assets/{stem}.{hash}.{extension}"), media, body }
    }
}

static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("style", "css", "text/css; charset=utf-8", include_str!("../../assets/style.css")));
static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("live", "js", "text/javascript; charset=utf-8", include_str!("../../assets/live.js")));
static ICON: LazyLock<Asset> = LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("../../assets/icon.svg")));

/// Where the style sheet is.
pub(crate) fn style() -> &'static str {
    &STYLE.url
}

/// Where the script is.
pub(crate) fn script() -> &'static str {
    &SCRIPT.url
}

/// Where the icon is.
pub(crate) fn icon() -> &'static str {
    &ICON.url
}

/// Serves one of them.
pub(super) async fn serve(Path(file): Path<String>) -> Response {
    let url = format!("/assets/{file}");
    match [&STYLE, &SCRIPT, &ICON].into_iter().find(|asset| asset.url == url) {
        Some(asset) => ([(CONTENT_TYPE, asset.media), (CACHE_CONTROL, "public, max-age=31536000, immutable")], asset.body).into_response(),
        None => (StatusCode::NOT_FOUND, "no such asset\n").into_response(),
    }
}
