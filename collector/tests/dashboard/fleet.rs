//! A small fleet in a fresh database: two nodes that report, one silent, one stopped, one recorded, one gone.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use holdfast_checks::catalogue::{Catalogue, Document};
use holdfast_checks::versions::Link;
use holdfast_collector::changes::ChangeFeed;
use holdfast_collector::cluster::Cluster;
use holdfast_collector::feeds::Library;
use holdfast_collector::http::{App, router};
use holdfast_collector::policy::Desk;
use holdfast_collector::store::Store;
use holdfast_collector::store::chain::headline_number;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// 20 Nov 2026 10:42:07 UTC.
pub const NOW: i64 = 1_795_171_327_000;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

pub const CHECKS: &str = r#"
- id: kubelet-anonymous-auth
  title: Kubelet refuses anonymous requests
  severity: critical
  area: kubelet
  judged_by: node
  subjects: kubelets
  pass: it.settings.anonymousAuth.value == false
  evidence: [it.settings.anonymousAuth]
  why: A kubelet that takes requests without credentials is a shell in every pod of the node.
  fix: Set authentication.anonymous.enabled to false. Then restart the kubelet. To undo, put the old value back and restart.
  frameworks: {cis-1.12: ["4.2.1"], nsa-1.2: [NCC-02]}
- id: kubelet-anonymous-contradiction
  title: Declared and observed anonymous access agree
  severity: high
  area: kubelet
  judged_by: node
  subjects: kubelets
  pass: it.settings.anonymousAuth.value == false
  evidence: [it.settings.anonymousAuth]
  why: What is configured is not what answers.
  fix: Find the drop-in that overrides the file.
- id: kernel-kptr-restrict
  title: Kernel pointers are hidden
  severity: medium
  area: kernel
  judged_by: node
  pass: kernel.sysctls.kptr_restrict > 0
  evidence: [kernel.sysctls.kptr_restrict]
  why: Addresses help an exploit.
  fix: Set kernel.kptr_restrict to 1.
- id: audit-review
  title: Audit logs are reviewed
  severity: low
  area: control-plane
  judged_by: node
  manual: Who reads the audit log, and how often?
  why: A log nobody reads tells nobody.
  fix: Name a person.
"#;

/// The columns of a node that fixtures fill; the others have defaults.
pub const COLUMNS: &str = "node_id, cluster, uid, name, origin, state, state_reason, state_since, session, epoch, seq, digest, agent_version, \
                           catalogue_hash, boot_id, first_seen, last_seen, confirmed_at, agent_rss, agent_cpu_ms, agent_queued, agent_dropped, \
                           clock_skew_ms, truncated_transitions";

/// A fleet and the router in front of it.
pub struct Fleet {
    pub router: Router,
    pub changes: ChangeFeed,
    pub cancel: CancellationToken,
    pub pool: SqlitePool,
    /// Imports.
    pub library: tokio::sync::watch::Sender<Arc<Library>>,
    /// What agents are to hold.
    pub policies: Arc<Desk>,
    pub cluster: Arc<Cluster>,
    path: std::path::PathBuf,
    _directory: tempfile::TempDir,
}

/// An answer, read whole.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Fleet {
    /// No node has ever reported.
    pub async fn empty() -> Self {
        let directory = tempfile::tempdir().expect("temp dir");
        Self::at(directory).await
    }

    /// The fleet described above.
    pub async fn seeded() -> Self {
        let fleet = Self::empty().await;
        fleet.seed().await;
        fleet
    }

    /// The fleet described above, judged by what `library` knows.
    pub async fn seeded_by(library: Library) -> Self {
        let catalogue = Catalogue::load(&[Document { name: "checks.yaml".into(), text: CHECKS.into() }]).expect("catalogue");
        let fleet = Self::with(tempfile::tempdir().expect("temp dir"), catalogue, library).await;
        fleet.seed().await;
        fleet
    }

    /// No node, and the checks the product ships.
    pub async fn shipped() -> Self {
        let catalogue = holdfast_collector::catalogue::load(None).expect("catalogue");
        Self::with(tempfile::tempdir().expect("temp dir"), catalogue, Library::built_in().expect("built-in knowledge")).await
    }

    async fn at(directory: tempfile::TempDir) -> Self {
        let catalogue = Catalogue::load(&[Document { name: "checks.yaml".into(), text: CHECKS.into() }]).expect("catalogue");
        Self::with(directory, catalogue, Library::built_in().expect("built-in knowledge")).await
    }

    async fn with(directory: tempfile::TempDir, catalogue: Catalogue, library: Library) -> Self {
        let path = directory.path().join("holdfast.db");
        let store = Store::open(&path).await.expect("open store");
        let (changes, cancel) = (ChangeFeed::default(), CancellationToken::new());
        let (library, follow) = tokio::sync::watch::channel(Arc::new(library));
        let policies = Arc::new(Desk::default());
        let cluster = Cluster::new("prod");
        let app = App {
            store,
            catalogue: Arc::new(catalogue),
            changes: changes.clone(),
            metrics: Arc::new(|| "# EOF\n".to_owned()),
            cancel: cancel.clone(),
            public_url: None,
            library: follow,
            policies: Arc::clone(&policies),
            cluster: Some(Arc::clone(&cluster)),
            clock: Arc::new(|| NOW),
        };
        let pool = open(&path).await;
        Self { router: router(app), changes, cancel, pool, library, policies, cluster, path, _directory: directory }
    }

    /// Runs a statement of the fixture.
    pub async fn sql(&self, statement: &str) {
        sqlx::query(sqlx::AssertSqlSafe(statement.to_owned()))
            .execute(&self.pool)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    /// Adds a node.
    pub async fn node(&self, id: i64, cluster: &str, name: &str, origin: &str, state: &str, since: i64) {
        let last = if state == "connected" { NOW - 14_000 } else { since };
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "insert into nodes ({COLUMNS}) \
             values ($1, $2, $3, $4, $5, $6, '', $7, 1, 'e', 1, 'd', '0.4.1', 'cafe', 'b', $8, $9, $9, 9000000, 12, 0, 0, 0, 0)"
        )))
        .bind(id)
        .bind(cluster)
        .bind(format!("uid-{id}"))
        .bind(name)
        .bind(origin)
        .bind(state)
        .bind(since)
        .bind(NOW - 8 * DAY)
        .bind(last)
        .execute(&self.pool)
        .await
        .expect("insert node");
    }

    /// Adds a finding. Verdict and severity are the store's numbers.
    pub async fn finding(&self, node: i64, check: &str, subject: &str, verdict: i64, severity: i64, deciding: &str) -> String {
        let id = blake3::hash(format!("{node}/{check}/{subject}").as_bytes()).to_hex().chars().take(20).collect::<String>();
        let reason = match verdict {
            4 => "permission_denied: open /proc/1/root: permission denied",
            3 => "no_subject: no kubelet runs here",
            _ => "",
        };
        let class = reason.split(':').next().unwrap_or_default();
        let evidence = serde_json::json!([{"path": "kubelets.settings.anonymousAuth", "value": true, "source": "drop-in 20-debug.conf", "at": NOW - 6000}]);
        let title =
            CHECKS.split("- id: ").find(|part| part.starts_with(&format!("{check}\n"))).and_then(|part| part.split("title: ").nth(1));
        sqlx::query("insert into findings values ($1, $2, $3, $4, 'node', $5, $6, $7, $8, $9, $10, 0, $11, 'h', $12, $13, $13, '')")
            .bind(node)
            .bind(check)
            .bind(subject)
            .bind(&id)
            .bind(verdict)
            .bind(severity)
            .bind(title.and_then(|text| text.lines().next()).unwrap_or("A check of another catalogue"))
            .bind(reason)
            .bind(class)
            .bind(evidence.to_string())
            .bind(deciding)
            .bind(NOW - 8 * DAY)
            .bind(NOW - 2 * HOUR - node * MINUTE)
            .execute(&self.pool)
            .await
            .expect("insert finding");
        id
    }

    /// Adds an inventory document.
    pub async fn inventory(&self, node: i64, kind: &str, name: &str, document: serde_json::Value) {
        sqlx::query("insert into inventory values ($1, $2, $3, $4, 'h', $5)")
            .bind(node)
            .bind(kind)
            .bind(name)
            .bind(document.to_string())
            .bind(NOW - HOUR)
            .execute(&self.pool)
            .await
            .expect("insert inventory");
    }

    /// Adds a link of the patch chain, on a node of `image` with `kernel`, as the fleet's judge stores it.
    pub async fn link(&self, node: i64, image: &str, kernel: &str, link: &Link) {
        let name = |value: Option<serde_json::Value>| value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
        let support = link.support.value();
        let activation = name(link.activation.value().and_then(|activation| serde_json::to_value(activation.state).ok()));
        let waits = !activation.is_empty() && activation != "active";
        let known = link.vulnerability.value();
        sqlx::query(
            "insert into chain (node_id, subject, component, image, kernel, running, waiting, fixed_in, headline, support, ends, judged_by, \
             behind_days, affecting, exploited, possible, activation, line, level_order, level, json) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, '', '', '', $18)",
        )
        .bind(node)
        .bind(&link.subject)
        .bind(&link.component)
        .bind(image)
        .bind(kernel)
        .bind(&link.running)
        .bind(link.installed.value().filter(|_| waits).cloned().unwrap_or_default())
        .bind(known.and_then(|known| known.fixed_in.clone()).unwrap_or_default())
        .bind(headline_number(link.headline))
        .bind(name(support.and_then(|support| serde_json::to_value(support.state).ok())))
        .bind(support.and_then(|support| support.ends.clone()).unwrap_or_default())
        .bind(support.map(|support| support.judged_by.clone()).unwrap_or_default())
        .bind(link.patch.value().and_then(|patch| patch.days).unwrap_or(-1))
        .bind(known.map_or(0, |known| known.affecting))
        .bind(known.map_or(0, |known| known.exploited))
        .bind(known.map_or(0, |known| known.possible))
        .bind(activation)
        .bind(serde_json::to_string(link).expect("a link is JSON"))
        .execute(&self.pool)
        .await
        .expect("insert link");
    }

    /// Makes what follows from the inventory, as a start of the collector does on a database from before.
    pub async fn derive(&self) {
        self.sql("delete from derived").await;
        Store::open(&self.path).await.expect("open store").close().await;
    }

    /// Makes counts equal to findings, as a writer keeps them.
    pub async fn recount(&self) {
        self.sql("delete from counts").await;
        self.sql("insert into counts select node_id, check_id, severity, verdict, waiver, count(*) from findings group by 1, 2, 3, 4, 5")
            .await;
    }

    async fn seed(&self) {
        self.node(1, "prod-eu", "ip-10-0-9-3", "agent", "connected", NOW - DAY).await;
        self.node(2, "prod-eu", "ip-10-0-4-17", "agent", "silent", NOW - 12 * MINUTE).await;
        self.node(3, "prod-eu", "ip-10-0-7-1", "agent", "connected", NOW - DAY).await;
        self.node(4, "demo", "misconfigured", "recorded", "stopped", NOW - DAY).await;
        self.node(5, "prod-eu", "ip-10-0-1-1", "agent", "gone", NOW - 2 * DAY).await;
        self.node(6, "prod-eu", "ip-10-0-2-2", "agent", "stopped", NOW - 3 * HOUR).await;
        for node in 1..=6 {
            let (verdict, deciding) = match node {
                1 | 4 | 5 => (2, "anonymousAuth = true (drop-in 20-debug.conf)"),
                _ => (1, "anonymousAuth = false (file /var/lib/kubelet/config.yaml)"),
            };
            self.finding(node, "kubelet-anonymous-auth", "kubelet", verdict, 5, deciding).await;
            let kptr = if node == 3 { (4, "") } else { (2, "kptr_restrict = 0 (kernel)") };
            self.finding(node, "kernel-kptr-restrict", "node", kptr.0, 3, kptr.1).await;
            self.finding(node, "audit-review", "node", 5, 2, "").await;
            self.inventory(node, "kernel", "self", serde_json::json!({"release": "6.8.0-45-generic", "version": "#45-Ubuntu SMP"})).await;
            self.inventory(node, "os", "self", serde_json::json!({"pretty_name": "Ubuntu 24.04 LTS"})).await;
            let owner =
                serde_json::json!({"name": "kubelet", "exe": "/usr/bin/kubelet", "component": "kubelet", "unit": "kubelet.service"});
            for address in ["0.0.0.0", "::"] {
                let listener = serde_json::json!({"protocol": "tcp", "address": address, "port": 10250, "scope": "all", "owner": owner});
                self.inventory(node, "listener", &format!("tcp/{address}/10250"), listener).await;
            }
        }
        self.finding(1, "kubelet-anonymous-contradiction", "kubelet", 2, 4, "anonymousAuth = true (drop-in 20-debug.conf)").await;
        self.finding(3, "kubelet-anonymous-contradiction", "kubelet", 3, 4, "").await;
        self.finding(3, "site-custom", "file:/etc/site", 4, 4, "").await;
        self.inventory(1, "node", "self", serde_json::json!({"name": "ip-10-0-9-3", "role": "worker", "profile": "kubeadm", "profile_because": "/var/lib/kubelet/kubeadm-flags.env"})).await;
        self.inventory(1, "setting", "kubelet/readOnlyPort", serde_json::json!({"value": 10255, "source": "drop-in 20-debug.conf"})).await;
        self.inventory(1, "probe", "node/127.0.0.1/10250/pods", serde_json::json!({"vantage": "node", "address": "127.0.0.1", "port": 10250, "path": "/pods", "tls": true, "outcome": "answered", "status": 200})).await;
        self.inventory(1, "root-process", "service:kubelet.service/kubelet", serde_json::json!({"exe": "/usr/bin/kubelet", "placement": "host", "user_namespace": false, "inside_uid": 0, "no_new_privileges": false, "seccomp": 0, "count": 1})).await;
        self.inventory(1, "group", "kernel", serde_json::json!({"state": "known"})).await;
        self.inventory(
            1,
            "group",
            "runtime",
            serde_json::json!({"state": "unavailable", "reason": "not_supported", "detail": "no sensor for this group yet"}),
        )
        .await;
        self.inventory(1, "group", "kubelets", serde_json::json!({"state": "known", "items": 1, "skipped": 0})).await;
        self.recount().await;
        for (number, from, to, at) in [(1, 0, 1, NOW - 8 * DAY), (2, 1, 2, NOW - 2 * HOUR)] {
            self.sql(&format!(
                "insert into transitions values (1, 'e', {number}, 'kubelet-anonymous-auth', 'kubelet', {from}, {to}, 5, '', 'anonymousAuth = true', {at}, {at})"
            ))
            .await;
        }
        self.sql(&format!(
            "insert into alerts values ('f00d', 'kubelet-anonymous', '{{\"alertname\":\"KubeletAnonymous\"}}', '{{\"summary\":\"Kubelets answer without credentials on 2 nodes\"}}', 5, 'firing', 2, {}, 0, {NOW}, '/findings?check=kubelet-anonymous-auth')",
            NOW - 2 * HOUR
        ))
        .await;
        self.sql(&format!("insert into deliveries values ('f00d', 'alertmanager http://127.0.0.1:9093', {}, 1, '200 OK')", NOW - MINUTE))
            .await;
        self.sql(&format!("insert into change_log values (41, {NOW}, 1, 'findings', '')")).await;
    }

    /// Asks for `path`.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).expect("request")).await
    }

    /// Sends a request.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 64 * 1024 * 1024).await.expect("body");
        Answer { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).expect("UTF-8") }
    }
}

impl Answer {
    /// What is inside `<main>`.
    pub fn main(&self) -> &str {
        let start = self.body.find("<main").expect("a main part");
        let end = self.body.find("</main>").expect("the end of main");
        &self.body[start..end + 7]
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The number of rows the page says its list has.
    pub fn total(&self) -> Option<i64> {
        let (_, rest) = self.body.split_once("data-total=\"")?;
        rest.split('"').next()?.parse().ok()
    }
}

async fn open(path: &Path) -> SqlitePool {
    SqlitePool::connect_with(SqliteConnectOptions::new().filename(path)).await.expect("open database")
}

/// Every value of `attribute` in tags that contain `marker`.
pub fn attributes<'a>(html: &'a str, marker: &str, attribute: &str) -> Vec<&'a str> {
    let tags = html.split('<').filter_map(|tag| tag.split_once('>')).map(|(tag, _)| tag).filter(|tag| tag.contains(marker));
    tags.filter_map(|tag| tag.split_once(&format!("{attribute}=\""))?.1.split('"').next()).collect()
}

/// An attribute's value as a browser reads it.
pub fn unescape(text: &str) -> String {
    text.replace("&#39;", "'").replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&#38;", "&").replace("&amp;", "&")
}
