//! The command line: flags, environment, logs, exit codes.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::feeds::Feeds;
use crate::nodes::Patience;
use crate::nodes::membership::Waiting;
use crate::serve::{EnrolmentOptions, ServeOptions, serve};
use crate::store::nodes::Origin;
use crate::store::retention::Retention;
use crate::{ca, enrolment, feeds, identity, logs};

/// Takes findings from agents, stores them, shows them and raises alerts.
#[derive(Debug, Parser)]
#[command(name = "holdfast-collector", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the collector.
    Serve(Box<Serve>),
    /// Certificates for a collector.
    #[command(subcommand)]
    Ca(Ca),
    /// Tokens of agents outside a cluster.
    #[command(subcommand)]
    Token(Token),
    /// Machines outside a cluster that have certificates of their own.
    #[command(subcommand)]
    Enrolment(Enrolment),
    /// Version knowledge: end-of-life dates, vulnerabilities, what is exploited.
    #[command(subcommand)]
    Feeds(Feeds),
}

#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "independent switches")]
struct Serve {
    /// Directory of the database; created when absent.
    #[arg(long, env = "HOLDFAST_DATA", value_name = "DIR")]
    data: PathBuf,
    /// Address agents connect to.
    #[arg(long, env = "HOLDFAST_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// Address of the dashboard, the API and metrics.
    #[arg(long, env = "HOLDFAST_HTTP", value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Server certificate in PEM; read again when it changes.
    #[arg(long, env = "HOLDFAST_TLS_CERT", value_name = "FILE")]
    tls_cert: PathBuf,
    /// Its private key in PEM.
    #[arg(long, env = "HOLDFAST_TLS_KEY", value_name = "FILE")]
    tls_key: PathBuf,
    /// Tokens file; read again when it changes.
    #[arg(long, env = "HOLDFAST_TOKENS", value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// List of machines outside a cluster that may enrol, and whose certificates count; read again when it changes.
    #[arg(long, env = "HOLDFAST_ENROLMENTS", value_name = "FILE", requires_all = ["enrolment_ca_cert", "enrolment_ca_key"])]
    enrolments: Option<PathBuf>,
    /// Certificate in PEM of the CA that signs for those machines (`ca init` makes one); further ones in the file are trusted too.
    /// Read again when it changes.
    #[arg(long, env = "HOLDFAST_ENROLMENT_CA_CERT", value_name = "FILE", requires = "enrolments")]
    enrolment_ca_cert: Option<PathBuf>,
    /// Its private key in PEM.
    #[arg(long, env = "HOLDFAST_ENROLMENT_CA_KEY", value_name = "FILE", requires = "enrolments")]
    enrolment_ca_key: Option<PathBuf>,
    /// How long an enrolled machine's certificate holds, in hours; 0.5 is half of one. It is renewed after two thirds of that.
    #[arg(long, env = "HOLDFAST_CERTIFICATE_HOURS", value_name = "HOURS", default_value = "24", value_parser = certificate_hours)]
    certificate_hours: f64,
    /// Speak TLS 1.2 too, for something between agents and collector that does not let TLS 1.3 through. TLS 1.2 shows client
    /// certificates, and so nodes' names, to whoever listens.
    #[arg(long, env = "HOLDFAST_ALLOW_TLS12", value_parser = clap::builder::FalseyValueParser::new())]
    allow_tls12: bool,
    /// Accept agents' service-account tokens, reviewed by the API server of their cluster.
    #[arg(long, env = "HOLDFAST_TOKEN_REVIEW")]
    token_review: bool,
    /// Kubeconfig of the cluster whose API server is asked, for a collector outside of it [default: the cluster this runs in].
    #[arg(long, env = "HOLDFAST_KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Namespace of the agents there [default: the one this runs in, or holdfast-system].
    #[arg(long, env = "HOLDFAST_NAMESPACE", value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// What to call that cluster.
    #[arg(long, env = "HOLDFAST_CLUSTER", value_name = "NAME", default_value = "default")]
    cluster: String,
    /// List of nodes whose Kubernetes ports agents of other nodes are asked to try [default: none, and nothing is tried]. Agents
    /// do so only within their own --peer-probes-cidrs.
    #[arg(long, env = "HOLDFAST_PEER_PROBES", value_name = "FILE")]
    peer_probes: Option<PathBuf>,
    /// The same for every node that the API server of the cluster lists.
    #[arg(long, env = "HOLDFAST_PEER_PROBES_FROM_API")]
    peer_probes_from_api: bool,
    /// File with what agents are to hold: intervals, disabled checks, peer-probe pools; read again when it changes [default: none,
    /// and agents follow their own configuration].
    #[arg(long, env = "HOLDFAST_POLICY", value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Directory of additional checks.
    #[arg(long, env = "HOLDFAST_CATALOGUE", value_name = "DIR")]
    catalogue: Option<PathBuf>,
    /// Directory that is watched for feeds, such as a mounted `ConfigMap`: what appears there is imported.
    #[arg(long, env = "HOLDFAST_FEED_DIRECTORY", value_name = "DIR")]
    feed_directory: Option<PathBuf>,
    /// Alertmanager to send alerts to; repeat for each replica.
    #[arg(long, env = "HOLDFAST_ALERTMANAGER", value_name = "URL", value_delimiter = ',')]
    alertmanager: Vec<String>,
    /// Webhook to send alerts to; may be repeated.
    #[arg(long, env = "HOLDFAST_WEBHOOK", value_name = "URL", value_delimiter = ',')]
    webhook: Vec<String>,
    /// How people reach the dashboard, for links in alerts; its name is answered on loopback too.
    #[arg(long, env = "HOLDFAST_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    /// Let recorded nodes alert like live ones: for a demonstration.
    #[arg(long, env = "HOLDFAST_ALERT_ON_RECORDED")]
    alert_on_recorded: bool,
    /// Mean time between an agent's heartbeats, in seconds.
    #[arg(long, env = "HOLDFAST_HEARTBEAT", value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=300))]
    heartbeat: u32,
    /// How long after its connection was lost a node counts as silent, in seconds.
    #[arg(long, env = "HOLDFAST_SILENT_AFTER", value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=3600))]
    silent_after: u64,
    /// How long a silent node is waited for before it counts as gone, in hours. One whose Node object is listed is waited for until that is
    /// deleted.
    #[arg(long, env = "HOLDFAST_GONE_AFTER", value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(i64).range(1..=8760))]
    gone_after: i64,
    /// How long a Node object may be without an agent before that is a finding, in seconds; an agent without a Node object is one after two
    /// minutes, or as long as this where it is less.
    #[arg(long, env = "HOLDFAST_UNWATCHED_AFTER", value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(i64).range(0..=86_400))]
    unwatched_after: i64,
}

#[derive(Debug, Subcommand)]
enum Ca {
    /// Write ca.crt, ca.key, server.crt, server.key, enrolment-ca.crt and enrolment-ca.key; where the first four are there already, only
    /// the last two.
    Init {
        /// Directory to write to; created when absent. Nothing is overwritten.
        #[arg(long, env = "HOLDFAST_OUT", value_name = "DIR")]
        out: PathBuf,
        /// DNS name or IP address agents connect to; may be repeated.
        #[arg(long, env = "HOLDFAST_DNS", value_name = "NAME", num_args = 1.., value_delimiter = ',', required = true)]
        dns: Vec<String>,
    },
    /// Write a new server.crt and server.key from a CA that is there: before the ones in use end, or for other names. Agents trust the CA,
    /// and need nothing new.
    Server {
        /// Directory of the CA: its ca.crt and ca.key.
        #[arg(long, env = "HOLDFAST_CA", value_name = "DIR")]
        ca: PathBuf,
        /// Directory to write to; created when absent. A server.crt and server.key that are there are replaced.
        #[arg(long, env = "HOLDFAST_OUT", value_name = "DIR")]
        out: PathBuf,
        /// DNS name or IP address agents connect to; may be repeated [default: those of the server.crt that is replaced].
        #[arg(long, env = "HOLDFAST_DNS", value_name = "NAME", num_args = 1.., value_delimiter = ',')]
        dns: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
enum Token {
    /// Add a node and print its new token, which is not stored and not shown again.
    Add {
        /// Tokens file; created when absent.
        #[arg(long, env = "HOLDFAST_TOKENS", value_name = "FILE")]
        tokens: PathBuf,
        /// The node's name.
        #[arg(long, env = "HOLDFAST_NAME", value_name = "NAME")]
        name: String,
        /// The node's cluster.
        #[arg(long, env = "HOLDFAST_CLUSTER", value_name = "CLUSTER")]
        cluster: String,
        /// The node is a recording, and is shown as one.
        #[arg(long, env = "HOLDFAST_RECORDED")]
        recorded: bool,
    },
}

#[derive(Debug, Subcommand)]
enum Enrolment {
    /// List a machine and print the token that enrols it, once: it is not stored and not shown again.
    Add(Machine),
    /// Print a new token for a machine that is listed, which stays the same node: its certificate has ended, or its disk is new.
    Renew(Machine),
}

#[derive(Debug, Args)]
struct Machine {
    /// Enrolments file; created by `add` when absent.
    #[arg(long, env = "HOLDFAST_ENROLMENTS", value_name = "FILE")]
    enrolments: PathBuf,
    /// The node's name.
    #[arg(long, env = "HOLDFAST_NAME", value_name = "NAME")]
    name: String,
    /// The node's cluster.
    #[arg(long, env = "HOLDFAST_CLUSTER", value_name = "CLUSTER")]
    cluster: String,
    /// How long the token may be used, in hours.
    #[arg(long, env = "HOLDFAST_VALID_HOURS", value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=8760))]
    valid_hours: u32,
}

/// From ten seconds to a year.
fn certificate_hours(text: &str) -> Result<f64, String> {
    let hours: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (10.0 / 3600.0..=8760.0).contains(&hours) { Ok(hours) } else { Err("must be between 0.003 and 8760".to_owned()) }
}

/// Runs the command line of this process: 0 done, 2 usage or configuration, 3 failure while running.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    logs::start();
    match run(cli) {
        Ok(code) => ExitCode::from(code),
        Err((code, error)) => {
            // The one message that must reach a person whatever the log filter.
            let mut stderr = std::io::stderr().lock();
            if writeln!(stderr, "holdfast-collector: {error:#}").is_err() {
                return ExitCode::from(3);
            }
            ExitCode::from(code)
        }
    }
}

fn run(cli: Cli) -> Result<u8, (u8, anyhow::Error)> {
    match cli.command {
        Command::Ca(Ca::Init { out, dns }) => {
            let added = ca::init(&out, &dns).map_err(|error| (2, error.into()))?;
            let what = if added { "added an enrolment CA to" } else { "wrote a CA, a server certificate and an enrolment CA to" };
            writeln!(std::io::stderr().lock(), "{what} {}", out.display()).map(|()| 0).map_err(|error| (3, error.into()))
        }
        Command::Ca(Ca::Server { ca, out, dns }) => {
            let written = ca::server(&ca, &out, &dns).map_err(|error| (2, error.into()))?;
            writeln!(std::io::stderr().lock(), "{written}").map(|()| 0).map_err(|error| (3, error.into()))
        }
        Command::Enrolment(command) => {
            let now = jiff::Timestamp::now();
            let token = match command {
                Enrolment::Add(Machine { enrolments, name, cluster, valid_hours }) => {
                    enrolment::add(&enrolments, &cluster, &name, valid_hours, now)
                }
                Enrolment::Renew(Machine { enrolments, name, cluster, valid_hours }) => {
                    enrolment::renew(&enrolments, &cluster, &name, valid_hours, now)
                }
            };
            let token = token.map_err(|error| (2, error.into()))?;
            writeln!(std::io::stdout().lock(), "{token}").map(|()| 0).map_err(|error| (3, error.into()))
        }
        Command::Token(Token::Add { tokens, name, cluster, recorded }) => {
            let origin = if recorded { Origin::Recorded } else { Origin::Agent };
            let token = identity::add(&tokens, &cluster, &name, origin).map_err(|error| (2, error.into()))?;
            writeln!(std::io::stdout().lock(), "{token}").map(|()| 0).map_err(|error| (3, error.into()))
        }
        Command::Feeds(command) => {
            let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
            let person = std::io::stderr().is_terminal();
            let now = jiff::Timestamp::now().as_millisecond();
            feeds::command(command, &mut feeds::Terminal { out: &mut out, err: &mut err, person, now })
        }
        Command::Serve(serve) => {
            let runtime = tokio::runtime::Runtime::new().context("start the runtime").map_err(|error| (3, error))?;
            runtime.block_on(run_serve(options(*serve))).map(|()| 0)
        }
    }
}

fn options(serve: Serve) -> ServeOptions {
    let patience = Patience {
        grace_ms: serve.silent_after.saturating_mul(1000),
        warm_up_ms: u64::from(serve.heartbeat).saturating_mul(3000),
        gone_ms: serve.gone_after.saturating_mul(3_600_000),
        ..Patience::default()
    };
    ServeOptions {
        data: serve.data,
        listen: serve.listen,
        http: serve.http,
        tls_cert: serve.tls_cert,
        tls_key: serve.tls_key,
        tokens: serve.tokens,
        enrolment: match (serve.enrolments, serve.enrolment_ca_cert, serve.enrolment_ca_key) {
            (Some(list), Some(certificate), Some(key)) => {
                let lifetime = std::time::Duration::from_secs_f64(serve.certificate_hours * 3600.0);
                Some(EnrolmentOptions { list, certificate, key, lifetime })
            }
            _ => None,
        },
        allow_tls12: serve.allow_tls12,
        token_review: serve.token_review,
        kubeconfig: serve.kubeconfig,
        namespace: serve.namespace,
        peer_probes: serve.peer_probes,
        peer_probes_from_api: serve.peer_probes_from_api,
        cluster: serve.cluster,
        policy: serve.policy,
        catalogue: serve.catalogue,
        feed_directory: serve.feed_directory,
        alertmanager: serve.alertmanager,
        webhook: serve.webhook,
        public_url: serve.public_url,
        alert_on_recorded: serve.alert_on_recorded,
        patience,
        waiting: Waiting::after(serve.unwatched_after.saturating_mul(1000)),
        heartbeat_seconds: serve.heartbeat,
        retention: Retention::default(),
    }
}

async fn run_serve(options: ServeOptions) -> Result<(), (u8, anyhow::Error)> {
    let cancel = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| (3, error.into()))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| (3, error.into()))?;
    let serving = serve(options, cancel.clone()).await.map_err(|error| (2, error))?;
    let mut join = serving.join;
    let ended = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        ended = &mut join => Some(ended),
    };
    cancel.cancel();
    let ended = match ended {
        Some(ended) => ended,
        None => join.await,
    };
    ended.map_err(|error| (3, error.into()))?.map_err(|error| (3, error))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent_and_says_what_it_takes() {
        Cli::command().debug_assert();
        let mut command = Cli::command().term_width(120);
        command.build();
        let help = command.find_subcommand_mut("serve").unwrap().render_long_help();
        insta::assert_snapshot!(help);
        let help = command.find_subcommand_mut("ca").unwrap().find_subcommand_mut("server").unwrap().render_long_help();
        insta::assert_snapshot!("ca_server", help);
    }
}
