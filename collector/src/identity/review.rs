//! Service-account tokens, reviewed by the cluster's API server (TokenReview).
//!
//! Accepted is only a token for our audience, of our agents' service account, bound to a pod on a node; the API server
//! names the node. Answers are remembered for a minute by the token's hash, and few are asked for at once, so that a
//! storm of reconnects cannot hurt the API server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Admitted, Holder, Rejection, sha256};
use crate::files::{self, FileError};
use crate::refusals::Refusal;
use crate::store::nodes::{NodeIdentity, Origin};

/// The audience agents' tokens are made for.
const AUDIENCE: &str = "holdfast-collector";
/// The agents' service account.
const ACCOUNT: &str = "holdfast-agent";
/// Reviews under way at once.
const CONCURRENT: usize = 20;
/// How long one review may take, waiting for its turn included.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long an acceptance is remembered.
const REMEMBER: Duration = Duration::from_mins(1);
/// The most acceptances remembered.
const REMEMBERED: usize = 50_000;
/// The largest answer read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;
/// Where a pod finds its own credentials.
const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Where and how to ask.
#[derive(Debug, Clone)]
pub struct ApiServer {
    /// `https://10.96.0.1:443`.
    pub url: String,
    /// The collector's own token; read for every review, because it rotates.
    pub token: PathBuf,
    /// The API server's CA.
    pub ca: PathBuf,
    /// The namespace of the agents.
    pub namespace: String,
    /// What to call this cluster.
    pub cluster: String,
}

/// Why reviews cannot be switched on.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// Not in a cluster.
    #[error(
        "--token-review and --peer-probes-from-api need the API server of a cluster: KUBERNETES_SERVICE_HOST is not set; use --tokens and --peer-probes outside a cluster"
    )]
    NoCluster,
    /// A file of the service account cannot be read.
    #[error("service account")]
    File(#[from] FileError),
    /// The CA is not usable.
    #[error("client for the API server {url}")]
    Client {
        /// The API server.
        url: String,
        /// What is wrong.
        #[source]
        source: reqwest::Error,
    },
}

impl ApiServer {
    /// The cluster this process runs in, from what every pod is given.
    pub fn in_cluster(cluster: &str, host: Option<&str>, port: Option<&str>) -> Result<Self, ReviewError> {
        let host = host.filter(|host| !host.is_empty()).ok_or(ReviewError::NoCluster)?;
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let mount = Path::new(MOUNT);
        Ok(Self {
            url: format!("https://{host}:{}", port.unwrap_or("443")),
            token: mount.join("token"),
            ca: mount.join("ca.crt"),
            namespace: files::read_text(&mount.join("namespace"))?.trim().to_owned(),
            cluster: cluster.to_owned(),
        })
    }

    /// A client that trusts this server's CA and nothing else, and follows no redirect.
    ///
    /// # Errors
    /// [`ReviewError`] when the CA cannot be read or used.
    pub fn client(&self, timeout: Duration) -> Result<reqwest::Client, ReviewError> {
        let failed = |source| ReviewError::Client { url: self.url.clone(), source };
        let ca = reqwest::Certificate::from_pem_bundle(&files::read(&self.ca)?).map_err(failed)?;
        let builder = reqwest::Client::builder().tls_certs_only(ca).no_proxy().timeout(timeout);
        builder.redirect(reqwest::redirect::Policy::none()).build().map_err(failed)
    }
}

/// Asks the API server whom a token belongs to.
#[derive(Debug)]
pub struct TokenReview {
    server: ApiServer,
    client: reqwest::Client,
    turns: Semaphore,
    remembered: Mutex<BTreeMap<[u8; 32], (Instant, Admitted)>>,
}

#[derive(Debug, Serialize)]
struct Question<'a> {
    #[serde(rename = "apiVersion")]
    api_version: &'a str,
    kind: &'a str,
    spec: Spec<'a>,
}

#[derive(Debug, Serialize)]
struct Spec<'a> {
    token: &'a str,
    audiences: [&'a str; 1],
}

#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
struct Status {
    #[serde(default)]
    authenticated: bool,
    #[serde(default)]
    audiences: Vec<String>,
    #[serde(default)]
    user: User,
    #[serde(default)]
    error: String,
}

#[derive(Debug, Default, Deserialize)]
struct User {
    #[serde(default)]
    username: String,
    #[serde(default)]
    extra: BTreeMap<String, Vec<String>>,
}

impl TokenReview {
    /// A client of that server, trusting its CA and nothing else.
    pub fn new(server: ApiServer) -> Result<Self, ReviewError> {
        let client = server.client(TIMEOUT)?;
        Ok(Self { server, client, turns: Semaphore::new(CONCURRENT), remembered: Mutex::default() })
    }

    /// Who shows a token.
    pub async fn admit(&self, token: &str) -> Result<Admitted, Rejection> {
        let hash = sha256(token);
        if let Some(node) = self.remembered(&hash) {
            return Ok(node);
        }
        let node = match timeout(TIMEOUT, self.review(token)).await {
            Ok(answer) => Admitted { token_hash: Some(hash), ..judge(answer?, &self.server)? },
            Err(_) => return Err(Rejection::new(Refusal::ReviewUnavailable, "the API server did not answer in 5 s")),
        };
        self.remember(hash, &node);
        Ok(node)
    }

    async fn review(&self, token: &str) -> Result<Status, Rejection> {
        let unavailable =
            |what: &str, error: &dyn std::error::Error| Rejection::new(Refusal::ReviewUnavailable, format!("{what}: {error}"));
        let _turn = self.turns.acquire().await.map_err(|error| unavailable("no turn", &error))?;
        let own = files::read_text(&self.server.token).map_err(|error| unavailable("own token", &error))?;
        let spec = Spec { token, audiences: [AUDIENCE] };
        let question = Question { api_version: "authentication.k8s.io/v1", kind: "TokenReview", spec };
        let url = format!("{}/apis/authentication.k8s.io/v1/tokenreviews", self.server.url);
        let asked = self.client.post(url).bearer_auth(own.trim()).json(&question).send().await;
        let mut response = asked.map_err(|error| unavailable("API server", &error.without_url()))?;
        if !response.status().is_success() {
            return Err(Rejection::new(Refusal::ReviewUnavailable, format!("the API server answered {}", response.status())));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unavailable("API server", &error.without_url()))? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER {
                return Err(Rejection::new(Refusal::ReviewUnavailable, "the API server's answer is larger than 64 KiB"));
            }
        }
        let answer: Answer = serde_json::from_slice(&body).map_err(|error| unavailable("answer", &error))?;
        Ok(answer.status)
    }

    fn remembered(&self, hash: &[u8; 32]) -> Option<Admitted> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.get(hash).filter(|(at, _)| at.elapsed() < REMEMBER).map(|(_, node)| node.clone())
    }

    fn remember(&self, hash: [u8; 32], node: &Admitted) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            remembered.retain(|_, (at, _)| at.elapsed() < REMEMBER);
        }
        if remembered.len() < REMEMBERED {
            remembered.insert(hash, (Instant::now(), node.clone()));
        }
    }
}

/// Every condition a review has to meet.
fn judge(status: Status, server: &ApiServer) -> Result<Admitted, Rejection> {
    if !status.authenticated {
        let why = if status.error.is_empty() { "not authenticated".to_owned() } else { status.error };
        return Err(Rejection::new(Refusal::NotAuthenticated, why));
    }
    if !status.audiences.iter().any(|audience| audience == AUDIENCE) {
        return Err(Rejection::new(Refusal::WrongAudience, format!("not for the audience {AUDIENCE}")));
    }
    let account = format!("system:serviceaccount:{}:{ACCOUNT}", server.namespace);
    if status.user.username != account {
        let why = format!("the token of `{}`, expected `{account}`", status.user.username);
        return Err(Rejection::new(Refusal::WrongAccount, why));
    }
    let extra = |name: &str| {
        let values = status.user.extra.get(&format!("authentication.kubernetes.io/{name}"));
        let value = values.and_then(|values| values.first()).filter(|value| !value.is_empty()).cloned();
        let why = || format!("without {name}: the token is not bound to a pod, or Kubernetes is older than 1.30");
        value.ok_or_else(|| Rejection::new(Refusal::UnboundToken, why()))
    };
    let holder = Holder::Pod(extra("pod-uid")?);
    let cluster = server.cluster.clone();
    let node = NodeIdentity { cluster, uid: extra("node-uid")?, name: extra("node-name")?, origin: Origin::Agent };
    Ok(Admitted { node, holder, expires_at: None, token_hash: None })
}

#[cfg(test)]
mod tests;
