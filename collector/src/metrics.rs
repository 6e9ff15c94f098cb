//! The collector's own metrics, for Prometheus. No label names a node, a check or a subject.
//!
//! Must not know where numbers come from. Agents are aggregated here, so that nobody has to scrape them.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// Upper bounds of commit durations, in seconds.
const COMMIT_SECONDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Mode {
    mode: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Feed {
    feed: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CertificateOf {
    certificate: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    resource: &'static str,
}

/// What agents say of themselves, added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AgentTotals {
    /// Resident memory of all, bytes.
    pub rss_bytes: i64,
    /// Resident memory of the largest, bytes.
    pub rss_max_bytes: i64,
    /// CPU time of all since their start, milliseconds.
    pub cpu_ms: i64,
    /// What they dropped since their start.
    pub dropped: i64,
    /// Entries waiting in them.
    pub queued: i64,
}

/// Every metric of the collector. Cloned freely.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    connections: Gauge,
    sessions: Gauge,
    writer_jobs: Gauge,
    store_failing: Gauge,
    commits_failed: Counter,
    commit_seconds: Histogram,
    rows: Family<Kind, Counter>,
    resumes: Family<Mode, Counter>,
    nodes: Family<State, Gauge>,
    rejections: Family<Reason, Counter>,
    refused: Family<Reason, Counter>,
    certificate_failures: Counter,
    certificate_ends: Family<CertificateOf, Gauge>,
    peer_requests: Counter,
    peer_answers: Family<Outcome, Counter>,
    peer_refusals: Family<Reason, Counter>,
    peer_results_refused: Family<Reason, Counter>,
    agents_rss: Gauge,
    agents_rss_max: Gauge,
    agents_cpu: Gauge<f64, AtomicU64>,
    agents_dropped: Gauge,
    agents_queued: Gauge,
    feed_age: Family<Feed, Gauge>,
    feed_records: Family<Feed, Gauge>,
    feed_imports: Family<Outcome, Counter>,
    feeds_refused: Gauge,
    policy_nodes: Family<State, Gauge>,
    policy_failures: Counter,
    apiserver_up: Family<Asked, Gauge>,
    reviews: Family<Outcome, Counter>,
    reviews_waiting: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("holdfast");
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Version of the collector", version);
        let commit_seconds = Histogram::new(COMMIT_SECONDS);
        registry.register_with_unit("commit_duration", "Time of a group commit", Unit::Seconds, commit_seconds.clone());
        let inner = Inner {
            connections: registered(&mut registry, "connections", "Open TLS connections from agents"),
            sessions: registered(&mut registry, "sessions", "Sessions under way"),
            writer_jobs: registered(&mut registry, "collector_writer_jobs", "Writes that wait for their commit"),
            store_failing: registered(&mut registry, "collector_store_failing", "1 while the store cannot commit"),
            commits_failed: registered(&mut registry, "collector_failed_commits", "Commits that failed"),
            commit_seconds,
            rows: registered(&mut registry, "ingest_rows", "Rows stored, by kind"),
            resumes: registered(&mut registry, "resume", "Sessions started, by how they resumed"),
            nodes: registered(&mut registry, "nodes", "Nodes, by state"),
            rejections: registered(&mut registry, "rejections", "Connections and sessions turned away, by reason"),
            refused: registered(&mut registry, "refused_entries", "Entries not stored, by reason"),
            certificate_failures: registered(
                &mut registry,
                "certificate_reload_failures",
                "Times the certificate files could not be read again",
            ),
            certificate_ends: registered(
                &mut registry,
                "certificate_not_after_seconds",
                "When the certificates in use end, Unix time: the server's, and that of the enrolment CA",
            ),
            peer_requests: registered(&mut registry, "peer_probe_requests", "Requests to agents to try another node's port"),
            peer_answers: registered(&mut registry, "peer_probe_answers", "What agents met at other nodes' ports, by outcome"),
            peer_refusals: registered(
                &mut registry,
                "peer_probe_refusals",
                "Requests that an agent's own limits did not allow, by the agent's reason",
            ),
            peer_results_refused: registered(
                &mut registry,
                "peer_probe_results_refused",
                "Results of agents that were not taken, by reason: unsolicited, foreign, late, duplicate, malformed, overflow",
            ),
            agents_rss: registered(&mut registry, "agents_resident_memory_bytes", "Resident memory of all agents"),
            agents_rss_max: registered(&mut registry, "agents_resident_memory_max_bytes", "Resident memory of the largest agent"),
            agents_cpu: registered(&mut registry, "agents_cpu_seconds", "CPU time of the connected agents since their start"),
            agents_dropped: registered(&mut registry, "agents_dropped", "What the connected agents dropped since their start"),
            agents_queued: registered(&mut registry, "agents_queued", "Entries waiting in agents"),
            feed_age: registered(&mut registry, "feed_age_seconds", "Time since the day that version knowledge was true on, by feed"),
            feed_records: registered(&mut registry, "feed_records", "Records of version knowledge, by feed"),
            feed_imports: registered(&mut registry, "feed_imports", "Files of the watched directory that were read, by outcome"),
            feeds_refused: registered(&mut registry, "feeds_refused", "Files with version knowledge that are not used"),
            policy_nodes: registered(&mut registry, "policy_nodes", "Nodes, by how they stand to the policy they are to hold"),
            policy_failures: registered(&mut registry, "policy_reload_failures", "Times the policy file changed and could not be used"),
            apiserver_up: registered(&mut registry, "apiserver_up", "1 while the API server answers, by what it is asked for"),
            reviews: registered(&mut registry, "token_reviews", "Tokens the API server was asked about, by outcome"),
            reviews_waiting: registered(&mut registry, "token_reviews_waiting", "Tokens that are yet to be decided"),
            registry,
        };
        Self(Arc::new(inner))
    }
}

/// Creates a metric and registers it.
fn registered<M: Default + Clone + prometheus_client::registry::Metric>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

impl Metrics {
    /// The exposition in `OpenMetrics` text.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.0.registry) {
            Ok(()) => text,
            // Writing into a string cannot fail; half an exposition would be worse than none.
            Err(_) => String::new(),
        }
    }

    /// A connection came (1) or went (-1).
    pub fn connection(&self, by: i64) {
        self.0.connections.inc_by(by);
    }

    /// A session began (1) or ended (-1).
    pub fn session(&self, by: i64) {
        self.0.sessions.inc_by(by);
    }

    /// Writes that wait for their commit.
    pub fn writer_jobs(&self) -> Gauge {
        self.0.writer_jobs.clone()
    }

    /// Whether the store commits.
    pub fn store_failing(&self, failing: bool) {
        self.0.store_failing.set(i64::from(failing));
    }

    /// A commit failed.
    pub fn commit_failed(&self) {
        self.0.commits_failed.inc();
    }

    /// A group was committed.
    pub fn committed(&self, took: Duration) {
        self.0.commit_seconds.observe(took.as_secs_f64());
    }

    /// Rows of a kind were stored.
    pub fn rows(&self, kind: &'static str, n: usize) {
        self.0.rows.get_or_create(&Kind { kind }).inc_by(u64::try_from(n).unwrap_or(u64::MAX));
    }

    /// A session started.
    pub fn resumed(&self, mode: &'static str) {
        self.0.resumes.get_or_create(&Mode { mode }).inc();
    }

    /// How many nodes are in a state.
    pub fn nodes(&self, state: &'static str, n: usize) {
        self.0.nodes.get_or_create(&State { state }).set(i64::try_from(n).unwrap_or(i64::MAX));
    }

    /// Somebody was turned away.
    pub fn rejected(&self, reason: &'static str) {
        self.0.rejections.get_or_create(&Reason { reason }).inc();
    }

    /// There is such a reason to turn somebody away; nobody was yet.
    pub fn rejection_known(&self, reason: &'static str) {
        drop(self.0.rejections.get_or_create(&Reason { reason }));
    }

    /// An entry was not stored.
    pub fn refused(&self, reason: &'static str) {
        self.0.refused.get_or_create(&Reason { reason }).inc();
    }

    /// The certificate files changed and could not be used.
    pub fn certificate_failed(&self) {
        self.0.certificate_failures.inc();
    }

    /// When a certificate in use ends, Unix milliseconds.
    pub fn certificate_ends(&self, certificate: &'static str, at: i64) {
        self.0.certificate_ends.get_or_create(&CertificateOf { certificate }).set(at.div_euclid(1000));
    }

    /// An agent was asked to try another node's port.
    pub fn peer_asked(&self) {
        self.0.peer_requests.inc();
    }

    /// An agent tried.
    pub fn peer_answered(&self, outcome: &'static str) {
        self.0.peer_answers.get_or_create(&Outcome { outcome }).inc();
    }

    /// An agent's own limits did not allow it.
    pub fn peer_refused(&self, reason: &'static str) {
        self.0.peer_refusals.get_or_create(&Reason { reason }).inc();
    }

    /// A result was not taken.
    pub fn peer_result_refused(&self, reason: &'static str) {
        self.0.peer_results_refused.get_or_create(&Reason { reason }).inc();
    }

    /// A feed that is known: how old, how many records.
    pub fn feed(&self, name: &str, days: i64, records: u64) {
        let label = Feed { feed: name.to_owned() };
        self.0.feed_age.get_or_create(&label).set(days.saturating_mul(86_400));
        self.0.feed_records.get_or_create(&label).set(i64::try_from(records).unwrap_or(i64::MAX));
    }

    /// A feed is known no longer.
    pub fn feed_gone(&self, name: &str) {
        let label = Feed { feed: name.to_owned() };
        self.0.feed_age.remove(&label);
        self.0.feed_records.remove(&label);
    }

    /// A file of the watched directory was read.
    pub fn feed_imported(&self, outcome: &'static str) {
        self.0.feed_imports.get_or_create(&Outcome { outcome }).inc();
    }

    /// So many files are not used.
    pub fn feeds_refused(&self, n: usize) {
        self.0.feeds_refused.set(i64::try_from(n).unwrap_or(i64::MAX));
    }

    /// How many nodes stand so to their policy.
    pub fn policy_nodes(&self, state: &'static str, n: i64) {
        self.0.policy_nodes.get_or_create(&State { state }).set(n);
    }

    /// The policy file changed and could not be used.
    pub fn policy_reload_failed(&self) {
        self.0.policy_failures.inc();
    }

    /// The API server answers a kind of request, or not.
    pub fn apiserver(&self, resource: &'static str, up: bool) {
        self.0.apiserver_up.get_or_create(&Asked { resource }).set(i64::from(up));
    }

    /// The API server was asked about a token.
    pub fn reviewed(&self, outcome: &'static str) {
        self.0.reviews.get_or_create(&Outcome { outcome }).inc();
    }

    /// A token waits for its review (1), or is decided (-1).
    pub fn review_waiting(&self, by: i64) {
        self.0.reviews_waiting.inc_by(by);
    }

    /// What agents say of themselves.
    pub fn agents(&self, totals: AgentTotals) {
        self.0.agents_rss.set(totals.rss_bytes);
        self.0.agents_rss_max.set(totals.rss_max_bytes);
        let cpu = u64::try_from(totals.cpu_ms).unwrap_or(0);
        self.0.agents_cpu.set(Duration::from_millis(cpu).as_secs_f64());
        self.0.agents_dropped.set(totals.dropped);
        self.0.agents_queued.set(totals.queued);
    }
}

#[cfg(test)]
mod tests {
    use super::{AgentTotals, Metrics};

    #[test]
    fn the_exposition_names_what_dashboards_ask_for() {
        let metrics = Metrics::default();
        metrics.session(1);
        metrics.committed(std::time::Duration::from_millis(3));
        metrics.rows("finding", 7);
        metrics.resumed("in_sync");
        metrics.nodes("connected", 2);
        metrics.rejected("bad_token");
        metrics.certificate_failed();
        metrics.certificate_ends("server", 1_800_000_000_999);
        metrics.peer_asked();
        metrics.peer_answered("timed_out");
        metrics.peer_refused("outside_networks");
        metrics.peer_result_refused("unsolicited");
        metrics.feed("osv/Debian", 3, 41_234);
        metrics.feed("kev", 3, 1);
        metrics.feed_gone("kev");
        metrics.feed_imported("refused");
        metrics.feeds_refused(1);
        metrics.policy_nodes("applied", 3);
        metrics.policy_reload_failed();
        metrics.apiserver("nodes", true);
        metrics.reviewed("accepted");
        metrics.agents(AgentTotals { rss_bytes: 10, rss_max_bytes: 6, cpu_ms: 1500, dropped: 1, queued: 2 });
        insta::assert_snapshot!(metrics.encode());
    }

    /// Rules and pages that ask for a metric which is not there are silent for ever.
    #[test]
    fn what_the_alert_rules_and_the_docs_ask_for_is_there() {
        let metrics = Metrics::default();
        metrics.committed(std::time::Duration::from_millis(3));
        metrics.resumed("full");
        metrics.nodes("connected", 2);
        metrics.rejected("bad_token");
        metrics.refused("entry");
        metrics.policy_nodes("refused", 1);
        metrics.certificate_ends("server", 1);
        metrics.apiserver("nodes", true);
        let there = metrics.encode();
        let asked = [
            include_str!("../../deploy/alerts/prometheus.yaml"),
            include_str!("../../docs/delivery.md"),
            include_str!("../../docs/identity.md"),
            include_str!("../../docs/policy.md"),
        ]
        .join(" ");
        let names = asked.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with("holdfast_"));
        // What agents serve themselves is theirs.
        let names: std::collections::BTreeSet<&str> = names.filter(|name| !name.starts_with("holdfast_agent_")).collect();
        assert!(names.len() > 8, "{names:?}");
        for name in names {
            let sample = [" ", "{", "_count "].iter().any(|end| there.contains(&format!("\n{name}{end}")));
            assert!(sample || name == "holdfast_agents_", "{name} is not among\n{there}");
        }
    }
}
