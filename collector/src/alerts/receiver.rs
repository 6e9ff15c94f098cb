//! One address that takes alerts over HTTP, and what posting to it came to.
//!
//! Names of receivers are stored, logged and shown, so they carry no password and no secret path. Must not know what is
//! posted or when.

use std::net::SocketAddr;
use std::time::Duration;

use holdfast_checks::entries::Hash;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Client, StatusCode, Url, redirect};

use super::run::AlertError;
use super::text::{chain, safe};

/// A request is given up after this.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How much of an answer is read: it is only shown to a person.
const MAX_ANSWER_BYTES: usize = 1024;

/// A URL alerts are posted to.
#[derive(Clone)]
pub(super) struct Target {
    /// Shown to people; no secrets.
    pub(super) name: String,
    url: Url,
    /// A replica is reached itself, never through a proxy; a webhook goes the way the environment says.
    direct: bool,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Target").field(&self.name).finish() // the URL may hold a password
    }
}

/// A target with a connection pool of its own.
pub(super) struct Receiver {
    pub(super) name: String,
    url: Url,
    client: Client,
}

/// What a request came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// 2xx.
    Taken,
    /// The receiver understood and refused: sending the same again is useless.
    Refused(String),
    /// It may work later.
    Failed(String),
}

impl Target {
    /// An Alertmanager's base URL, with the API's path added.
    pub(super) fn alertmanager(text: &str) -> Result<Self, AlertError> {
        let url = parse(text, "an Alertmanager")?;
        let name = format!("alertmanager {}{}", origin(&url), url.path().trim_end_matches('/'));
        let mut api = url.clone();
        api.set_path(&format!("{}/api/v2/alerts", url.path().trim_end_matches('/')));
        Ok(Self { name, url: api, direct: true })
    }

    /// A webhook's URL. Its path and query may be secret: the name tells two of one host apart by a hash.
    pub(super) fn webhook(text: &str) -> Result<Self, AlertError> {
        let url = parse(text, "a webhook")?;
        let hash = Hash::of_fields([url.as_str().as_bytes()]).to_string();
        let name = format!("webhook {} #{}", origin(&url), hash.get(..6).unwrap_or_default());
        Ok(Self { name, url, direct: false })
    }

    /// The host and port to resolve; `None` when the URL means one fixed place (an address, or this machine).
    pub(super) fn resolvable(&self) -> Option<(String, u16)> {
        match (self.url.domain()?, self.url.port_or_known_default()?) {
            (host, _) if host.eq_ignore_ascii_case("localhost") => None,
            (host, port) => Some((host.to_owned(), port)),
        }
    }

    /// The name of the replica at `address`.
    pub(super) fn replica_name(&self, address: SocketAddr) -> String {
        format!("{} at {}", self.name, address.ip())
    }
}

impl Receiver {
    /// Prepares posting to `target`, at `address` when its host name has several.
    pub(super) fn new(target: &Target, address: Option<SocketAddr>, ca: &[Certificate]) -> Result<Self, AlertError> {
        let mut builder = Client::builder().timeout(TIMEOUT).redirect(redirect::Policy::none());
        if !ca.is_empty() {
            builder = builder.tls_certs_merge(ca.iter().cloned());
        }
        if target.direct {
            builder = builder.no_proxy();
        }
        let mut name = target.name.clone();
        if let (Some(address), Some(host)) = (address, target.url.domain()) {
            builder = builder.resolve_to_addrs(host, &[address]);
            name = target.replica_name(address);
        }
        let client = builder.build().map_err(|source| AlertError::Client { receiver: name.clone(), source: source.without_url() })?;
        Ok(Self { name, url: target.url.clone(), client })
    }

    /// Posts JSON, with at most one further header.
    pub(super) async fn post(&self, body: String, header: Option<(HeaderName, HeaderValue)>) -> Outcome {
        let mut headers = HeaderMap::new();
        headers.insert(reqwest::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.extend(header);
        match self.client.post(self.url.clone()).headers(headers).body(body).send().await {
            Ok(answer) if answer.status().is_success() => Outcome::Taken,
            Ok(answer) => refused(answer).await,
            Err(error) => Outcome::Failed(chain(&error.without_url())),
        }
    }
}

async fn refused(mut answer: reqwest::Response) -> Outcome {
    let status = answer.status();
    if status.is_redirection() {
        return Outcome::Refused(format!("HTTP {status}: redirects are not followed, configure the final address"));
    }
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        body.extend(chunk.iter().take(MAX_ANSWER_BYTES.saturating_sub(body.len())));
        if body.len() >= MAX_ANSWER_BYTES {
            break;
        }
    }
    let said = safe(String::from_utf8_lossy(&body).trim());
    let detail = if said.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {said}") };
    let later = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
    if status.is_client_error() && !later.contains(&status) { Outcome::Refused(detail) } else { Outcome::Failed(detail) }
}

fn parse(text: &str, what: &'static str) -> Result<Url, AlertError> {
    // The text is not repeated: it may hold a password.
    let refuse = |problem: String| AlertError::Address { what, problem };
    let url = Url::parse(text).map_err(|error| refuse(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refuse(format!("the scheme is `{}`", safe(url.scheme()))));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(refuse("there is no host".to_owned()));
    }
    Ok(url)
}

/// `https://host:port`, without user and password.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}
