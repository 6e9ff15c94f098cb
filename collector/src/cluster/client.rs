//! The way to the API server: from inside the cluster or by a kubeconfig, over TLS that trusts its CA and nothing else, through no
//! proxy, every answer bounded in time and size (`bounds`). Rotated tokens and CAs are picked up, which kube does. Must not know what answers are for.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Request, Response, StatusCode};
use futures_util::StreamExt;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Api, Client, Config, Resource as _};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::bounds::Bounds;
use super::objects::{SeenDaemonSet, SeenNode, SeenPod};
use super::{AgentPod, Cluster, NodeObject, Resource};
use crate::files::{self, FileError};

/// The agents' DaemonSet, its label and its service account.
pub(crate) const AGENT: &str = "holdfast-agent";
/// Where the agents are, when nothing says so.
const NAMESPACE: &str = "holdfast-system";
/// How long a single request may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long nothing may come within an answer. A watch is asked for anew before that.
const SILENCE: Duration = Duration::from_mins(5);
/// The largest answer to a single request, in bytes.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// The longest text of an API server's answer that is repeated, in characters.
const MAX_SAID: usize = 300;

/// Why the API server cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not in a cluster.
    #[error(
        "--token-review and --peer-probes-from-api need the API server of a cluster: KUBERNETES_SERVICE_HOST is not set; outside a cluster give --kubeconfig FILE, or use --tokens and --peer-probes"
    )]
    NoCluster,
    /// A pod without what every pod is given.
    #[error("service account of this pod: is automountServiceAccountToken on")]
    InCluster(#[source] kube::config::InClusterError),
    /// The kubeconfig cannot be read.
    #[error("--kubeconfig")]
    File(#[from] FileError),
    /// The kubeconfig cannot be used.
    #[error("--kubeconfig {path}")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: Box<KubeconfigError>,
    },
    /// The kubeconfig asks for something that is not done here.
    #[error("--kubeconfig {path}: {problem}")]
    Unsuitable {
        /// The file.
        path: PathBuf,
        /// What, and what to do instead.
        problem: &'static str,
    },
    /// CA or credentials cannot be used.
    #[error("client for the API server {url}")]
    Client {
        /// The API server.
        url: String,
        /// What is wrong.
        #[source]
        source: Box<kube::Error>,
    },
}

/// Why a request has no answer. The text is for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unanswered(pub String);

/// One API server, and what is known of its cluster. Cloned freely.
#[derive(Clone)]
pub struct ApiServer {
    client: Client,
    namespace: String,
    cluster: Arc<Cluster>,
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiServer").field("namespace", &self.namespace).field("cluster", &self.cluster.name()).finish_non_exhaustive()
    }
}

impl ApiServer {
    /// The API server that `kubeconfig` names, else that of the cluster this process runs in. Asks nothing yet. Has to be called
    /// within a runtime.
    ///
    /// # Errors
    /// [`ConnectError`], with what to do.
    pub async fn connect(kubeconfig: Option<&Path>, namespace: Option<&str>, cluster: Arc<Cluster>) -> Result<Self, ConnectError> {
        // kube takes the process's provider and would install one of its own choice without.
        if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
            tracing::debug!("a provider of cryptography is installed already");
        }
        let (mut config, inside) = match kubeconfig {
            Some(path) => (outside(path).await?, false),
            None if std::env::var_os("KUBERNETES_SERVICE_HOST").is_none_or(|host| host.is_empty()) => return Err(ConnectError::NoCluster),
            None => (Config::incluster().map_err(ConnectError::InCluster)?, true),
        };
        // Whoever asks has its own patience: a request that is retried within would outlive it.
        config.default_retry = false;
        config.proxy_url = None;
        config.connect_timeout = Some(TIMEOUT);
        config.write_timeout = Some(TIMEOUT);
        (config.read_timeout, config.reset_reader_on_write) = (Some(SILENCE), true);
        let namespace = match namespace {
            Some(namespace) => namespace.to_owned(),
            None if inside => config.default_namespace.trim().to_owned(),
            None => NAMESPACE.to_owned(),
        };
        let url = config.cluster_url.to_string();
        let builder = ClientBuilder::try_from(config).map_err(|source| ConnectError::Client { url, source: Box::new(source) })?;
        let client = builder.with_layer(&Bounds(Arc::clone(&cluster))).build();
        Ok(Self { client, namespace, cluster })
    }

    /// One without TLS or credentials.
    #[cfg(test)]
    pub(crate) fn plain(url: &str, namespace: &str, cluster: Arc<Cluster>) -> Self {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let mut config = Config::new(url.parse().unwrap());
        config.root_cert = Some(Vec::new());
        config.default_retry = false;
        let client = ClientBuilder::try_from(config).unwrap().with_layer(&Bounds(Arc::clone(&cluster))).build();
        Self { client, namespace: namespace.to_owned(), cluster }
    }

    /// What is known of its cluster.
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// Where the agents are.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(super) fn nodes(&self) -> Api<SeenNode> {
        Api::all(self.client.clone())
    }

    pub(super) fn pods(&self) -> Api<SeenPod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(super) fn daemon_sets(&self) -> Api<SeenDaemonSet> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Whose a token is, for that audience.
    ///
    /// # Errors
    /// [`Unanswered`] when the API server does not say.
    pub async fn review(&self, token: &str, audience: &str) -> Result<TokenReviewStatus, Unanswered> {
        let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(vec![audience.to_owned()]) };
        let body = serde_json::to_vec(&TokenReview { spec, ..TokenReview::default() }).map_err(|error| Unanswered(chain(&error)))?;
        let path = TokenReview::url_path(&(), None);
        let request = Request::post(path).header("content-type", "application/json").body(Body::from(body));
        let answer = self.ask::<TokenReview>(Resource::TokenReviews, "create", request).await;
        let answer = answer.and_then(|review| {
            let status = review.and_then(|review| review.status);
            status.ok_or_else(|| Unanswered("the API server's answer to a token review has no status".to_owned()))
        });
        match &answer {
            Ok(_) => self.cluster.answering(Resource::TokenReviews),
            Err(Unanswered(reason)) => {
                self.cluster.troubled(Resource::TokenReviews, reason, jiff::Timestamp::now().as_millisecond());
            }
        }
        answer
    }

    /// The Node object of that name now.
    ///
    /// # Errors
    /// [`Unanswered`] when the API server does not say.
    pub async fn node(&self, name: &str) -> Result<Option<NodeObject>, Unanswered> {
        let seen: Option<SeenNode> = self.get(Resource::Nodes, &SeenNode::url_path(&(), None), name).await?;
        Ok(seen.and_then(SeenNode::kept))
    }

    /// The pod of that name in the agents' namespace now.
    ///
    /// # Errors
    /// [`Unanswered`] when the API server does not say.
    pub async fn pod(&self, name: &str) -> Result<Option<AgentPod>, Unanswered> {
        let seen: Option<SeenPod> = self.get(Resource::Pods, &SeenPod::url_path(&(), Some(&self.namespace)), name).await?;
        Ok(seen.and_then(SeenPod::kept))
    }

    /// The uid of our DaemonSet now.
    ///
    /// # Errors
    /// [`Unanswered`] when the API server does not say.
    pub async fn daemon_set(&self) -> Result<Option<String>, Unanswered> {
        let path = SeenDaemonSet::url_path(&(), Some(&self.namespace));
        let seen: Option<SeenDaemonSet> = self.get(Resource::DaemonSets, &path, AGENT).await?;
        Ok(seen.and_then(SeenDaemonSet::uid))
    }

    async fn get<T: DeserializeOwned>(&self, resource: Resource, path: &str, name: &str) -> Result<Option<T>, Unanswered> {
        // The name becomes a part of the path.
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
        if !is_name || name.starts_with('.') {
            return Ok(None);
        }
        self.ask(resource, "get", Request::get(format!("{path}/{name}")).body(Body::empty())).await
    }

    /// One request and its whole answer; `None` for what is not there.
    async fn ask<T: DeserializeOwned>(
        &self,
        resource: Resource,
        verb: &str,
        request: Result<Request<Body>, axum::http::Error>,
    ) -> Result<Option<T>, Unanswered> {
        let request = request.map_err(|error| Unanswered(chain(&error)))?;
        let asked = async {
            let response = self.client.send(request).await.map_err(|error| Unanswered(chain(&error)))?;
            let status = response.status();
            let body = capped(response).await?;
            Ok((status, body))
        };
        let (status, body) =
            timeout(TIMEOUT, asked).await.map_err(|_| Unanswered(format!("no answer within {} s", TIMEOUT.as_secs())))??;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !status.is_success() {
            return Err(Unanswered(refused(resource, verb, status.as_u16(), &said(&body))));
        }
        let parsed = serde_json::from_slice(&body);
        parsed.map(Some).map_err(|error| Unanswered(format!("the API server's answer about {} is none: {error}", resource.name())))
    }
}

/// The configuration that a kubeconfig describes, as far as it is used here.
async fn outside(path: &Path) -> Result<Config, ConnectError> {
    let unsuitable = |problem| ConnectError::Unsuitable { path: path.to_owned(), problem };
    let failed = |source| ConnectError::Kubeconfig { path: path.to_owned(), source: Box::new(source) };
    // A device, a pipe or a huge file in its place is an error.
    files::read(path)?;
    let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
    let context = kubeconfig.contexts.iter().find(|context| Some(&context.name) == kubeconfig.current_context.as_ref());
    let named = context.and_then(|context| context.context.as_ref()).map(|context| context.cluster.clone());
    let cluster = kubeconfig.clusters.iter().find(|cluster| Some(&cluster.name) == named.as_ref());
    let cluster = cluster.and_then(|cluster| cluster.cluster.clone()).unwrap_or_default();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(failed)?;
    if config.auth_info.exec.is_some() || config.auth_info.auth_provider.is_some() {
        return Err(unsuitable(
            "its user is authenticated by a program, and the collector starts none: use a token or a client certificate",
        ));
    }
    if config.accept_invalid_certs {
        return Err(unsuitable("insecure-skip-tls-verify is on: give certificate-authority instead"));
    }
    if cluster.proxy_url.is_some() {
        return Err(unsuitable("proxy-url is set, and the collector uses no proxy"));
    }
    if config.cluster_url.scheme_str() != Some("https") {
        return Err(unsuitable("the server is not https"));
    }
    if config.root_cert.is_none() {
        return Err(unsuitable("certificate-authority is missing, and no other CA is trusted"));
    }
    // Read again when it is rotated.
    config.root_cert_file = cluster.certificate_authority.filter(|_| cluster.certificate_authority_data.is_none()).map(PathBuf::from);
    Ok(config)
}

async fn capped(response: Response<Body>) -> Result<Vec<u8>, Unanswered> {
    let mut chunks = axum::body::Body::new(response.into_body()).into_data_stream();
    let mut body = Vec::new();
    while let Some(chunk) = chunks.next().await {
        body.extend_from_slice(&chunk.map_err(|error| Unanswered(chain(&error)))?);
        if body.len() > MAX_ANSWER {
            return Err(Unanswered("the API server's answer is larger than 4 MiB".to_owned()));
        }
    }
    Ok(body)
}

/// What a `Status` object says.
fn said(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Status {
        message: String,
    }
    serde_json::from_slice(body).map(|Status { message }| message).unwrap_or_default()
}

/// An answer that is none, with what to do.
pub(super) fn refused(resource: Resource, verb: &str, status: u16, message: &str) -> String {
    let message: String = message.chars().take(MAX_SAID).collect();
    let hint = match status {
        401 => ": it does not accept the collector's own credentials",
        403 => ": give the collector that right (deploy/kustomize/base/collector-rbac.yaml)",
        _ => "",
    };
    format!("{verb} {}: the API server answered {status} {message}{hint}", resource.name())
}

/// An error with what led to it, each said once.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text.chars().take(MAX_SAID).collect()
}
