//! Node objects of the cluster this collector runs in, as targets of peer probes.
//!
//! A kubelet writes the addresses of its own Node object: what is listed here is where agents are sent, so that each agent's
//! own networks still decide.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;

use super::targets::{ListedNode, MAX_NAME_BYTES, MOST_ADDRESSES, MOST_NODES};
use crate::files;
use crate::identity::{ApiServer, ReviewError};

/// Node objects in one answer.
const PAGE: usize = 100;
/// The largest answer read: a Node object lists its images and may take a tenth of a megabyte.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Where a Node object says in which zone it is.
const ZONE: &str = "topology.kubernetes.io/zone";

/// Why Node objects could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum NodesError {
    /// The collector's own token cannot be read.
    #[error("own service-account token")]
    Token(#[from] files::FileError),
    /// The API server cannot be asked.
    #[error("ask the API server for Node objects")]
    Request(#[source] reqwest::Error),
    /// It says no.
    #[error(
        "the API server answered {0} to a list of Node objects: give the collector's service account `list` on `nodes` (deploy/kustomize/components/peer-probes)"
    )]
    Status(reqwest::StatusCode),
    /// Its answer is larger than is read.
    #[error("the API server's list of Node objects is larger than {MAX_ANSWER} bytes for {PAGE} nodes")]
    TooLarge,
    /// Its answer is no list of Node objects.
    #[error("the API server's answer is not a list of Node objects")]
    Malformed(#[source] serde_json::Error),
}

/// Lists Node objects.
#[derive(Debug, Clone)]
pub struct ApiNodes {
    server: ApiServer,
    client: reqwest::Client,
}

#[derive(Debug, Default, Deserialize)]
struct List {
    #[serde(default)]
    metadata: ListMetadata,
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Debug, Default, Deserialize)]
struct ListMetadata {
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Item {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    labels: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
struct Status {
    #[serde(default)]
    addresses: Vec<Address>,
}

#[derive(Debug, Default, Deserialize)]
struct Address {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    address: String,
}

impl ApiNodes {
    /// A lister of that server's nodes.
    ///
    /// # Errors
    /// [`ReviewError`] when its CA cannot be used.
    pub fn new(server: ApiServer) -> Result<Self, ReviewError> {
        let client = server.client(TIMEOUT)?;
        Ok(Self { server, client })
    }

    /// Every node, page by page.
    ///
    /// # Errors
    /// `NodesError`; what was listed before stands until the next time.
    pub async fn list(&self) -> Result<Vec<ListedNode>, NodesError> {
        let mut nodes = Vec::new();
        let mut next = String::new();
        loop {
            let list = self.page(&next).await?;
            nodes.extend(list.items.into_iter().filter_map(|item| listed(&self.server.cluster, item)));
            next = list.metadata.next.unwrap_or_default();
            if next.is_empty() {
                return Ok(nodes);
            }
            if nodes.len() >= MOST_NODES {
                tracing::warn!(nodes = nodes.len(), "the cluster has more nodes than peer probes take: the rest is not asked about");
                return Ok(nodes);
            }
        }
    }

    async fn page(&self, next: &str) -> Result<List, NodesError> {
        let token = files::read_text(&self.server.token)?;
        let without_url = |error: reqwest::Error| NodesError::Request(error.without_url());
        let mut url = reqwest::Url::parse(&format!("{}/api/v1/nodes?limit={PAGE}", self.server.url)).map_err(|_| NodesError::TooLarge)?;
        if !next.is_empty() {
            url.query_pairs_mut().append_pair("continue", next);
        }
        let mut response = self.client.get(url).bearer_auth(token.trim()).send().await.map_err(without_url)?;
        if !response.status().is_success() {
            return Err(NodesError::Status(response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(without_url)? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER {
                return Err(NodesError::TooLarge);
            }
        }
        serde_json::from_slice(&body).map_err(NodesError::Malformed)
    }
}

/// A node with at least one literal address of its own.
fn listed(cluster: &str, item: Item) -> Option<ListedNode> {
    let own = item.status.addresses.iter().filter(|address| matches!(address.kind.as_str(), "InternalIP" | "ExternalIP"));
    let addresses: BTreeSet<IpAddr> = own.filter_map(|address| address.address.parse().ok()).take(MOST_ADDRESSES).collect();
    let name = item.metadata.name;
    let fits = !name.is_empty() && name.len() <= MAX_NAME_BYTES && !addresses.is_empty();
    fits.then(|| ListedNode {
        cluster: cluster.to_owned(),
        name,
        addresses: addresses.into_iter().collect(),
        pool: item.metadata.labels.get(ZONE).filter(|zone| zone.len() <= MAX_NAME_BYTES).cloned().unwrap_or_default(),
        probe: true,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wiremock::matchers::{header, method, path, query_param, query_param_is_missing};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    fn server(url: String, directory: &std::path::Path) -> ApiServer {
        let token = directory.join("token");
        std::fs::write(&token, "own-token\n").unwrap();
        ApiServer { url, token, ca: directory.join("ca.crt"), namespace: "holdfast".to_owned(), cluster: "prod".to_owned() }
    }

    fn node(name: &str, addresses: &serde_json::Value) -> serde_json::Value {
        json!({"metadata": {"name": name, "labels": {ZONE: "a"}}, "status": {"addresses": addresses, "images": []}})
    }

    #[tokio::test]
    async fn nodes_are_listed_page_by_page_with_their_own_addresses() {
        let api = MockServer::start().await;
        let first = json!({"metadata": {"continue": "abc/=="}, "items": [
            node("n1", &json!([{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Hostname", "address": "10.9.9.9"}, {"type": "ExternalIP", "address": "192.0.2.1"}])),
            node("n2", &json!([{"type": "InternalDNS", "address": "n2.internal"}])),
        ]});
        let second = json!({"metadata": {"continue": ""}, "items": [
            node("n3", &json!([{"type": "InternalIP", "address": "fd00::3"}, {"type": "InternalIP", "address": "not an address"}])),
        ]});
        let asked = || Mock::given(method("GET")).and(path("/api/v1/nodes")).and(header("authorization", "Bearer own-token"));
        asked()
            .and(query_param_is_missing("continue"))
            .respond_with(ResponseTemplate::new(200).set_body_json(first))
            .expect(1)
            .mount(&api)
            .await;
        asked()
            .and(query_param("continue", "abc/=="))
            .respond_with(ResponseTemplate::new(200).set_body_json(second))
            .expect(1)
            .mount(&api)
            .await;
        let directory = tempfile::tempdir().unwrap();
        let nodes = ApiNodes { server: server(api.uri(), directory.path()), client: reqwest::Client::new() }.list().await.unwrap();
        let shown: Vec<String> =
            nodes.iter().map(|node| format!("{} {} {:?} {}", node.cluster, node.name, node.addresses, node.pool)).collect();
        assert_eq!(shown, ["prod n1 [10.0.0.1, 192.0.2.1] a", "prod n3 [fd00::3] a"]);
    }

    #[tokio::test]
    async fn a_missing_permission_and_nonsense_are_errors_that_say_so() {
        let directory = tempfile::tempdir().unwrap();
        for (answer, part) in [
            (ResponseTemplate::new(403), "`list` on `nodes`"),
            (ResponseTemplate::new(200).set_body_string("[1, 2"), "not a list of Node objects"),
            (ResponseTemplate::new(200).set_body_string("{\"items\": [{\"status\": 7}]}"), "not a list of Node objects"),
        ] {
            let api = MockServer::start().await;
            Mock::given(method("GET")).respond_with(answer).mount(&api).await;
            let nodes = ApiNodes { server: server(api.uri(), directory.path()), client: reqwest::Client::new() };
            let error = nodes.list().await.unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
