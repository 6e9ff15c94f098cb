//! The command line of `run`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tonic::transport::Uri;

use crate::connect::Target;
use crate::sensors::SensorOptions;

/// Judge this node continuously and report to a collector
#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs {
    /// The collector, as `https://HOST:PORT`
    #[arg(long, env = "HOLDFAST_COLLECTOR", value_name = "URL", value_parser = Target::parse_collector)]
    pub collector: Uri,
    /// PEM file with the CA of the collector's certificate; no other CA is trusted
    #[arg(long, env = "HOLDFAST_CA", value_name = "FILE")]
    pub ca: PathBuf,
    /// File with the token that identifies this node
    #[arg(long, env = "HOLDFAST_TOKEN_FILE", value_name = "FILE")]
    pub token_file: PathBuf,
    /// Name in the collector's certificate, when it is not the host of the URL
    #[arg(long, env = "HOLDFAST_SERVER_NAME", value_name = "DNS")]
    pub server_name: Option<String>,
    /// This node's name [default: the host's name]
    #[arg(long, env = "HOLDFAST_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,
    /// The cluster's name
    #[arg(long, env = "HOLDFAST_CLUSTER", value_name = "NAME", default_value = "")]
    pub cluster: String,
    /// Directory for state that survives a restart [default: none]
    #[arg(long, env = "HOLDFAST_SPOOL", value_name = "DIR")]
    pub spool: Option<PathBuf>,
    /// The directory that is the host's `/`
    #[arg(long, env = "HOLDFAST_HOST_ROOT", value_name = "DIR", default_value = "/")]
    pub host_root: PathBuf,
    /// The directory that is the host's `/proc`
    #[arg(long, env = "HOLDFAST_PROC", value_name = "DIR", default_value = "/proc")]
    pub proc: PathBuf,
    /// Send no requests to this node's own Kubernetes ports
    #[arg(long, env = "HOLDFAST_NO_PROBE")]
    pub no_probe: bool,
    /// Loopback address for `/livez`, `/readyz` and `/metrics` [default: none]
    #[arg(long, env = "HOLDFAST_HEALTH", value_name = "ADDRESS")]
    pub health: Option<SocketAddr>,
    /// Directory with further checks (`*.yaml`)
    #[arg(long, env = "HOLDFAST_CATALOGUE", value_name = "DIR")]
    pub catalogue: Option<PathBuf>,
    /// Started as root: become this uid and keep only what reading needs
    #[arg(long, env = "HOLDFAST_RUN_AS", value_name = "UID")]
    pub run_as: Option<u32>,
    /// Seconds between full passes, ± 10 %
    #[arg(long, env = "HOLDFAST_FULL_PASS", value_name = "SECONDS", default_value_t = 900, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub full_pass: u64,
}

impl RunArgs {
    pub(super) fn sensor_options(&self) -> SensorOptions {
        SensorOptions {
            host_root: self.host_root.clone(),
            proc: self.proc.clone(),
            probe: !self.no_probe,
            node_name: self.node_name.clone(),
            cluster: self.cluster.clone(),
        }
    }

    /// Is the host a recorded tree, which does not change by itself.
    pub(super) fn is_recorded(&self) -> bool {
        std::fs::symlink_metadata(self.host_root.join("holdfast-tree.json")).is_ok()
    }

    pub(super) fn full_pass(&self) -> Duration {
        Duration::from_secs(self.full_pass)
    }
}
