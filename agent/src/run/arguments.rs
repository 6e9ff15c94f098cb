//! The command line of `run`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tonic::transport::Uri;

use crate::cli::HostArgs;
use crate::connect::Target;
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
    #[arg(long, env = "HOLDFAST_TOKEN_FILE", value_name = "FILE")]
    pub token_file: PathBuf,
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
    /// Is the host a recorded tree, which does not change by itself.
    pub(super) fn is_recorded(&self) -> bool {
        std::fs::symlink_metadata(self.host.host_root.join("holdfast-tree.json")).is_ok()
    }

    pub(super) fn full_pass(&self) -> Duration {
        Duration::from_secs(self.full_pass)
    }
}
