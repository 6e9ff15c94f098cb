//! A stand-in for a cluster's API server, as much of it as the collector asks: token reviews, and lists, watches and single objects of
//! nodes, pods and `DaemonSet`s, over TLS with a CA of its own, for whoever has its one token. What it says is what upstream says (1.36);
//! `store` holds objects and their history, `tokens` those that were minted, `answers` speaks HTTP.
//!
//! It runs in threads of its own: tests need no runtime.

mod answers;
mod store;
mod tokens;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use self::answers::Shared;
pub use self::store::Kind;
use self::store::Store;
pub use self::tokens::Claims;

/// Where our agents are.
pub const NAMESPACE: &str = "holdfast-system";
/// Their DaemonSet, label and service account.
pub const AGENT: &str = "holdfast-agent";
/// The audience of their tokens.
pub const AUDIENCE: &str = "holdfast-collector";

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// As it should.
    #[default]
    Up,
    /// Connections are closed.
    Away,
    /// Every answer is 500.
    Failing,
    /// Requests are taken, and nothing is answered.
    Hanging,
    /// Answers begin well and never end: spaces, in one line.
    Endless,
}

/// A running API server. Dropping it ends it.
#[derive(Debug)]
pub struct ApiServer {
    directory: TempDir,
    shared: Arc<Shared>,
    // Ends everything that runs in it.
    runtime: Option<Runtime>,
    address: SocketAddr,
}

/// A new authority in a new directory, and TLS with a certificate of it.
fn server_config(tls: &Path, names: &[String]) -> Result<Arc<ServerConfig>> {
    holdfast_collector::ca::init(tls, names)?;
    let chain = vec![CertificateDer::from_pem_file(tls.join("server.crt"))?];
    let key = PrivateKeyDer::from_pem_file(tls.join("server.key"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_no_client_auth().with_single_cert(chain, key)?))
}

impl ApiServer {
    /// Starts one on loopback that knows our DaemonSet and nothing else.
    pub fn start() -> Result<Self> {
        Self::start_at(([127, 0, 0, 1], 0).into())
    }

    /// The same at an address of the network that the calling thread is in.
    pub fn start_at(address: SocketAddr) -> Result<Self> {
        let directory = TempDir::new()?;
        let tls = server_config(&directory.path().join("tls"), &names(address))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let own_token = tokens::opaque();
        std::fs::write(directory.path().join("token"), &own_token)?;
        let shared = Arc::new(Shared::new(own_token, tls));
        runtime.spawn(answers::serve(listener, Arc::clone(&shared)));
        let server = Self { directory, shared, runtime: Some(runtime), address };
        std::fs::write(server.kubeconfig(), server.kubeconfig_text())?;
        server.add_daemon_set("uid-daemonset-1");
        Ok(server)
    }

    /// A kubeconfig for the collector, which names CA and token by their files.
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    fn kubeconfig_text(&self) -> String {
        let file = |name: &str| self.directory.path().join(name).display().to_string();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "collector"}}],
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://127.0.0.1:{}", self.address.port()), "certificate-authority": file("tls/ca.crt"),
            }}],
            "users": [{"name": "collector", "user": {"tokenFile": file("token")}}],
        });
        config.to_string()
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.shared.store)
    }

    fn put(&self, kind: Kind, object: Value) {
        self.store().put(kind, object);
        self.shared.tell();
    }

    fn delete(&self, kind: Kind, name: &str) {
        self.store().delete(kind, name);
        self.shared.tell();
    }

    /// A Linux node of one address.
    pub fn add_node(&self, name: &str, uid: &str) {
        self.add_node_with(name, uid, &json!({"kubernetes.io/os": "linux"}), &[&format!("10.0.0.{}", name.len())]);
    }

    /// A node with those labels and addresses.
    pub fn add_node_with(&self, name: &str, uid: &str, labels: &Value, addresses: &[&str]) {
        let addresses: Vec<Value> = addresses.iter().map(|address| json!({"type": "InternalIP", "address": address})).collect();
        let images: Vec<Value> = (0..20).map(|n| json!({"names": [format!("registry.example.com/image-{n}")], "sizeBytes": 1})).collect();
        self.put(
            Kind::Nodes,
            json!({
                "apiVersion": "v1", "kind": "Node",
                "metadata": {
                    "name": name, "uid": uid, "labels": labels, "creationTimestamp": "2026-01-02T03:04:05Z",
                    "managedFields": [{"manager": "kubelet", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {"f:status": {}}}],
                },
                "spec": {"podCIDR": "10.244.0.0/24"},
                "status": {"addresses": addresses, "images": images, "nodeInfo": {"kubeletVersion": "v1.36.2"}},
            }),
        );
    }

    /// Deletes a node; its pods stay until they are deleted.
    pub fn delete_node(&self, name: &str) {
        self.delete(Kind::Nodes, name);
    }

    /// Our DaemonSet, with that uid.
    pub fn add_daemon_set(&self, uid: &str) {
        let metadata = json!({"name": AGENT, "namespace": NAMESPACE, "uid": uid, "creationTimestamp": "2026-01-02T03:04:05Z"});
        self.put(Kind::DaemonSets, json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata, "spec": {}, "status": {}}));
    }

    /// Deletes our DaemonSet.
    pub fn delete_daemon_set(&self) {
        self.delete(Kind::DaemonSets, AGENT);
    }

    /// A running pod of our agents on a node, controlled by the DaemonSet of that uid.
    pub fn add_pod(&self, name: &str, uid: &str, node: &str, controller: &str) {
        self.put_pod(name, uid, node, controller, "Running");
    }

    /// The same in another phase.
    pub fn put_pod(&self, name: &str, uid: &str, node: &str, controller: &str, phase: &str) {
        let owner = json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet", "name": AGENT, "uid": controller, "controller": true, "blockOwnerDeletion": true,
        });
        let metadata = json!({
            "name": name, "namespace": NAMESPACE, "uid": uid, "labels": {"app.kubernetes.io/name": AGENT},
            "ownerReferences": [owner], "creationTimestamp": "2026-01-02T03:04:05Z",
        });
        let spec = json!({"nodeName": node, "serviceAccountName": AGENT, "containers": [{"name": "agent", "image": "holdfast-agent"}]});
        let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": phase}});
        self.put(Kind::Pods, object);
    }

    /// Deletes a pod.
    pub fn delete_pod(&self, name: &str) {
        self.delete(Kind::Pods, name);
    }

    /// Node, pod and token of an agent as it should be: node `name` with the uid `uid-<name>`, pod `agent-<name>` with `pod-<name>`.
    pub fn add_agent(&self, name: &str) -> String {
        let claims = Claims::of(name);
        self.add_node(name, &claims.node_uid());
        self.add_pod(&format!("agent-{name}"), &format!("pod-{name}"), name, "uid-daemonset-1");
        self.mint(claims)
    }

    /// A token that this server knows.
    pub fn mint(&self, claims: Claims) -> String {
        let token = claims.token();
        lock(&self.shared.tokens).insert(token.clone(), claims);
        token
    }

    /// How it behaves from now on. What is open ends with a change.
    pub fn behave(&self, mode: Mode) {
        self.shared.behave(mode);
    }

    /// Answers 403 to every request for that resource, `nodes`, or for none.
    pub fn forbid(&self, plural: Option<&'static str>) {
        *lock(&self.shared.forbidden) = plural;
    }

    /// Forgets history: whoever watches is told that it is too old (410), and has to list again.
    pub fn forget_history(&self) {
        self.store().forget();
        self.shared.cut();
    }

    /// Has every watch that is open say nothing more, and not end. Whoever asks anew is answered.
    pub fn hush(&self) {
        self.shared.hush();
    }

    /// Ends every connection and every watch.
    pub fn disconnect(&self) {
        self.shared.cut();
    }

    /// The token that whoever asks has to show: the first one, as long as there is no other.
    pub fn own_token(&self) -> Result<String> {
        Ok(String::from_utf8(std::fs::read(self.directory.path().join("token"))?)?)
    }

    /// Another one in its place. From now on the one before is worth nothing.
    pub fn replace_own_token(&self) -> String {
        let token = tokens::opaque();
        *lock(&self.shared.own) = BTreeMap::from([(token.clone(), 0)]);
        token
    }

    /// How often somebody asked with a token that is accepted now.
    pub fn authorized(&self) -> usize {
        lock(&self.shared.own).values().sum()
    }

    /// How often somebody asked without one.
    pub fn unauthorized(&self) -> usize {
        self.shared.unauthorized.load(Ordering::SeqCst)
    }

    /// A new authority: new connections are shown a certificate of it. Returns its own certificate, PEM.
    pub fn replace_authority(&self) -> Result<Vec<u8>> {
        let tls = self.directory.path().join("tls-2");
        *lock(&self.shared.tls) = server_config(&tls, &names(self.address))?;
        Ok(std::fs::read(tls.join("ca.crt"))?)
    }

    /// How many token reviews were asked for.
    pub fn reviews(&self) -> usize {
        self.shared.reviews.load(Ordering::SeqCst)
    }

    /// Has every review take so long from now on.
    pub fn review_within(&self, slowness: Duration) {
        *lock(&self.shared.slowness) = slowness;
    }

    /// How many reviews were under way at once, at most.
    pub fn reviews_at_once(&self) -> usize {
        self.shared.reviewed_at_once.load(Ordering::SeqCst)
    }

    /// How many lists were asked for, pages counted one by one.
    pub fn lists(&self) -> usize {
        self.shared.lists.load(Ordering::SeqCst)
    }

    /// How many watches were begun.
    pub fn watches(&self) -> usize {
        self.shared.watches.load(Ordering::SeqCst)
    }

    /// Its CA.
    pub fn ca(&self) -> PathBuf {
        Path::new(self.directory.path()).join("tls/ca.crt")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // May be dropped in a test's own runtime, which must not wait.
            runtime.shutdown_background();
        }
    }
}

/// What its certificate is for.
fn names(address: SocketAddr) -> [String; 2] {
    ["localhost".to_owned(), address.ip().to_string()]
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A text that a test has to have.
fn text(object: &Value, pointer: &str) -> Result<String> {
    object.pointer(pointer).and_then(Value::as_str).map(str::to_owned).with_context(|| format!("no {pointer} in {object}"))
}

/// Something that tells of changes, never which.
fn bell() -> watch::Sender<u64> {
    watch::Sender::new(0)
}
