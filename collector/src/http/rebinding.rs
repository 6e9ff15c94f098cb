//! Keeps web sites out that point a name of their own at this machine's loopback (DNS rebinding): a browser would hand them every page.
//!
//! On loopback the dashboard answers to addresses, to `localhost` and to the name of `--public-url`, and to no other. Beyond loopback a
//! proxy stands before it, under names that are not known here. Must not know what is asked for.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::HOST;
use axum::http::uri::{Authority, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Failure;

/// The name of `--public-url`, if there is one.
pub(super) type OwnName = Option<Arc<str>>;

/// The name that a public address is reached by.
pub(super) fn own_name(public_url: Option<&str>) -> OwnName {
    public_url.and_then(|url| url.parse::<Uri>().ok()).and_then(|url| url.host().map(Arc::from))
}

/// Refuses what came over loopback for a name that is not ours.
pub(super) async fn guard(State(own): State<OwnName>, request: Request, next: Next) -> Response {
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let over_loopback = from.is_some_and(|ConnectInfo(from)| from.ip().to_canonical().is_loopback());
    if !over_loopback {
        return next.run(request).await;
    }
    // HTTP/2 says it in the target, HTTP/1.1 in the header.
    let asked = request.uri().authority().cloned().or_else(|| {
        let header = request.headers().get(HOST)?;
        Authority::try_from(header.as_bytes()).ok()
    });
    if asked.as_ref().is_some_and(|asked| answers_to(asked.host(), own.as_deref())) {
        return next.run(request).await;
    }
    let message = "on loopback this collector answers to addresses and to localhost only: a web site may have pointed its name here; if you \
                   reach the dashboard by a name of yours, give it as --public-url";
    Failure::Misdirected(message).into_response()
}

fn answers_to(name: &str, own: Option<&str>) -> bool {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    // No name service is asked for an address, and by RFC 6761 none for localhost.
    let local = bare.parse::<IpAddr>().is_ok() || bare.eq_ignore_ascii_case("localhost");
    local || own.is_some_and(|own| own.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    async fn asked(from: Option<&str>, host: Option<&str>, public_url: Option<&str>) -> StatusCode {
        let router = Router::new().route("/", get(|| async { "all findings" }));
        let router = router.layer(from_fn_with_state(own_name(public_url), guard));
        let mut request = Request::builder().uri("/");
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let mut request = request.body(Body::empty()).unwrap();
        if let Some(from) = from {
            request.extensions_mut().insert(ConnectInfo(from.parse::<SocketAddr>().unwrap()));
        }
        router.oneshot(request).await.unwrap().status()
    }

    #[tokio::test]
    async fn a_web_site_that_points_its_name_at_loopback_reads_nothing() {
        for host in ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.nip.io", "sub.localhost", "@", ""] {
            for from in ["127.0.0.1:9", "[::1]:9", "[::ffff:127.0.0.1]:9"] {
                assert_eq!(asked(Some(from), Some(host), None).await, StatusCode::MISDIRECTED_REQUEST, "{from} {host}");
            }
        }
        assert_eq!(asked(Some("127.0.0.1:9"), None, None).await, StatusCode::MISDIRECTED_REQUEST);
        let elsewhere = Some("https://holdfast.example");
        assert_eq!(asked(Some("127.0.0.1:9"), Some("evil.example"), elsewhere).await, StatusCode::MISDIRECTED_REQUEST);
    }

    #[tokio::test]
    async fn people_probes_and_proxies_are_answered() {
        for host in ["127.0.0.1:8080", "localhost:8080", "LOCALHOST", "[::1]:8080", "10.0.0.7:8080"] {
            assert_eq!(asked(Some("127.0.0.1:9"), Some(host), None).await, StatusCode::OK, "{host}");
        }
        let url = Some("https://Holdfast.example:8443/under");
        assert_eq!(asked(Some("127.0.0.1:9"), Some("holdfast.example"), url).await, StatusCode::OK);
        // From another machine: the name is whatever the Service or the Ingress is called.
        assert_eq!(asked(Some("10.0.0.9:9"), Some("holdfast-collector.holdfast-system.svc:8080"), None).await, StatusCode::OK);
    }
}
