//! Preferences: the theme, in a cookie.

use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use crate::http::{Failure, pairs};

/// A year, in seconds.
const KEEP: i64 = 31_536_000;

/// Keeps the theme and goes back. The guard against foreign forms is the router's.
pub(super) async fn save(uri: Uri) -> Response {
    let pairs = pairs(&uri);
    let value = |key: &str| pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str()).unwrap_or_default();
    let theme @ ("system" | "light" | "dark") = value("theme") else {
        return Failure::Bad("`theme`: use one of system, light, dark".to_owned()).into_response();
    };
    let cookie = format!("holdfast-theme={theme}; Path=/; Max-Age={KEEP}; SameSite=Lax; HttpOnly");
    (StatusCode::SEE_OTHER, [(SET_COOKIE, cookie), (LOCATION, local(value("back")).to_owned())]).into_response()
}

/// A path of ours, or the fleet page: never another site.
fn local(back: &str) -> &str {
    let plain = back.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if plain && back.starts_with('/') && !back.starts_with("//") { back } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::local;

    #[test]
    fn the_way_back_never_leaves_the_dashboard() {
        assert_eq!(local("/nodes?state=silent"), "/nodes?state=silent");
        for foreign in ["//evil.example", "https://evil.example", "/\\evil.example", "", "/a\r\nb"] {
            assert_eq!(local(foreign), "/", "{foreign}");
        }
    }
}
