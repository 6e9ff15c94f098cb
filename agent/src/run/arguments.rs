//! The command line of `run`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tonic::transport::Uri;

use crate::cli::HostArgs;
use crate::connect::{Shown, Target};
use crate::peers::Network;

/// `run`.
#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs {
    /// The collector, as `https://HOST:PORT`.
    #[arg(long, env = "HOLDFAST_COLLECTOR", value_name = "URL", value_parser = Target::parse_collector)]
    pub collector: Uri,
    /// PEM file with the CA of the collector's certificate; no other CA is trusted.
    #[arg(long, env = "HOLDFAST_CA", value_name = "FILE")]
    pub ca: PathBuf,
    /// File with the token that identifies this node.
    #[arg(long, env = "HOLDFAST_TOKEN_FILE", value_name = "FILE", required_unless_present = "identity", conflicts_with = "identity")]
    pub token_file: Option<PathBuf>,
    /// Outside a cluster, instead of a token file: directory for this machine's own key and certificate, which the agent has renewed
    /// before it ends.
    #[arg(long, env = "HOLDFAST_IDENTITY", value_name = "DIR")]
    pub identity: Option<PathBuf>,
    /// File with the token that enrols this machine once; looked at again and again, so that a new one is taken without a restart.
    #[arg(long, env = "HOLDFAST_ENROLMENT_TOKEN_FILE", value_name = "FILE", requires = "identity")]
    pub enrolment_token_file: Option<PathBuf>,
    /// Speak TLS 1.2 too, for something between agent and collector that does not let TLS 1.3 through. TLS 1.2 shows a client
    /// certificate, and so the node's name, to whoever listens.
    #[arg(long, env = "HOLDFAST_ALLOW_TLS12", value_parser = clap::builder::FalseyValueParser::new())]
    pub allow_tls12: bool,
    /// Name in the collector's certificate, when it is not the host of the URL.
    #[arg(long, env = "HOLDFAST_SERVER_NAME", value_name = "DNS")]
    pub server_name: Option<String>,
    /// Directory for a file with what the collector has not taken yet, so that history survives a restart; 8 MiB at most [default: none, in
    /// memory only].
    #[arg(long, env = "HOLDFAST_SPOOL", value_name = "DIR")]
    pub spool: Option<PathBuf>,
    /// Loopback address for /livez, /readyz and /metrics.
    #[arg(long, env = "HOLDFAST_HEALTH", value_name = "ADDRESS", default_value = "127.0.0.1:9464")]
    pub health: SocketAddr,
    /// Started as root: become this uid and keep only what reading needs.
    #[arg(long, env = "HOLDFAST_RUN_AS", value_name = "UID")]
    pub run_as: Option<u32>,
    /// Seconds between full passes, ± 10 %; a policy of the collector may say otherwise.
    #[arg(long, env = "HOLDFAST_FULL_PASS", value_name = "SECONDS", default_value_t = 900, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub full_pass: u64,
    /// Tell every change at once, also of a finding that changes more than 12 times in 10 minutes; else that one is told once a minute.
    #[arg(long, env = "HOLDFAST_NO_DAMPING")]
    pub no_damping: bool,
    /// Networks of the cluster's nodes, such as 10.0.0.0/16: when the collector asks, try Kubernetes ports of nodes in them, a GET
    /// without credentials, ten a minute at most [default: none, and nothing is tried].
    #[arg(long, env = "HOLDFAST_PEER_PROBES_CIDRS", value_name = "CIDR", value_delimiter = ',')]
    pub peer_probes_cidrs: Vec<Network>,
    /// Where and how to read.
    #[command(flatten)]
    pub host: HostArgs,
}

impl RunArgs {
    /// The collector, and what it is shown.
    pub(super) fn target(&self) -> anyhow::Result<Target> {
        let shown = match (&self.identity, &self.token_file) {
            (Some(directory), _) => Shown::Identity(directory.clone()),
            (None, Some(file)) => Shown::Token(file.clone()),
            (None, None) => anyhow::bail!("name a --token-file or an --identity"),
        };
        let (collector, ca, server_name) = (self.collector.clone(), self.ca.clone(), self.server_name.clone());
        Ok(Target { collector, ca, shown, server_name, allow_tls12: self.allow_tls12 })
    }

    /// Is the host a recorded tree, which does not change by itself.
    pub(super) fn is_recorded(&self) -> bool {
        std::fs::symlink_metadata(self.host.host_root.join("holdfast-tree.json")).is_ok()
    }

    pub(super) fn full_pass(&self) -> Duration {
        Duration::from_secs(self.full_pass)
    }
}
