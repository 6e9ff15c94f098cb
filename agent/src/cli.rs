//! The agent's command line. Parses, starts what was asked for, and turns its outcome into an exit code; nothing else.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use holdfast_checks::entries::Severity;
use tracing_subscriber::EnvFilter;

use crate::causes::causes;
use crate::run::RunArgs;
use crate::sensors::{ConfigzOptions, CriEndpoint, KnownBinaries};
use crate::{capture, privileges, run, scan};

/// Exit code: usage or configuration.
pub const USAGE: u8 = 2;
/// Exit code: a failure while running.
pub const FAILURE: u8 = 3;
/// Exit code: a sensor timed out or crashed.
pub const TROUBLED: u8 = 4;

/// Keeps a Kubernetes node hardened: reads it, judges it, reports what changed.
#[derive(Debug, Parser)]
#[command(name = "holdfast-agent", version, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the agent can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Judge this node once and print the findings.
    ///
    /// What system workloads are built to need is marked as expected and does not count for --fail-on: see `expectations`.
    ///
    /// Exit codes: 0 done; 1 a finding at or above --fail-on; 2 usage or configuration; 3 failure; 4 a sensor timed out or
    /// crashed.
    Scan(ScanArgs),
    /// List what system workloads (the control plane, network and storage plug-ins, this agent) are expected to fail.
    Expectations(ExpectationsArgs),
    /// Record what was read on this node, secrets left out, to be judged elsewhere by `scan --facts`.
    ///
    /// Exit codes: 0 done; 2 usage or configuration; 3 failure; 4 a sensor timed out or crashed, and the capture was written.
    Capture(CaptureArgs),
    /// Judge this node continuously and stream the findings to a collector.
    Run(Box<RunArgs>),
}

/// Where and how to read: common to all commands.
#[derive(Debug, Clone, Args)]
pub struct HostArgs {
    /// The directory that is the host's root.
    #[arg(long, env = "HOLDFAST_HOST_ROOT", value_name = "DIR", default_value = "/")]
    pub host_root: PathBuf,
    /// The directory that is the host's /proc.
    #[arg(long, env = "HOLDFAST_PROC", value_name = "DIR", default_value = "/proc")]
    pub proc: PathBuf,
    /// Send no request to this node's own Kubernetes ports.
    #[arg(long, env = "HOLDFAST_NO_PROBE", value_parser = FalseyValueParser::new())]
    pub no_probe: bool,
    /// Ask the kubelet for its own account of its configuration, with the bearer token in this file.
    #[arg(long, env = "HOLDFAST_CONFIGZ_TOKEN_FILE", value_name = "FILE", requires = "configz_ca")]
    pub configz_token_file: Option<PathBuf>,
    /// PEM file with the CA of the kubelet's serving certificate, without which it gets no token.
    #[arg(long, env = "HOLDFAST_CONFIGZ_CA", value_name = "FILE", requires = "configz_token_file")]
    pub configz_ca: Option<PathBuf>,
    /// Hashes of the programs that belong on a node, as sha256sum writes them: kubelet, runtimes and runc are compared with them.
    #[arg(long, env = "HOLDFAST_KNOWN_BINARIES", value_name = "FILE", value_parser = KnownBinaries::load)]
    pub known_binaries: Option<KnownBinaries>,
    /// Ask the container runtime for its containers too, at the socket that the kubelet uses or at PATH. Whoever may speak to that
    /// socket is as good as root: off unless you allow it here.
    #[arg(long, env = "HOLDFAST_CRI", value_name = "PATH", num_args = 0..=1, require_equals = true, default_missing_value = "auto", default_value = "off", hide_default_value = true)]
    pub cri: CriEndpoint,
    /// A directory with further checks, in YAML.
    #[arg(long, env = "HOLDFAST_CATALOGUE", value_name = "DIR")]
    pub catalogue: Option<PathBuf>,
    /// The node's name; the host's name by default.
    #[arg(long, env = "HOLDFAST_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,
    /// The cluster's name.
    #[arg(long, env = "HOLDFAST_CLUSTER", value_name = "NAME", default_value = "")]
    pub cluster: String,
}

impl HostArgs {
    /// Is it a host that runs, rather than a recorded tree.
    pub fn is_live(&self) -> bool {
        privileges::is_live(&self.proc)
    }

    /// As options for the sensors.
    pub fn sensors(&self) -> crate::sensors::SensorOptions {
        crate::sensors::SensorOptions {
            host_root: self.host_root.clone(),
            proc: self.proc.clone(),
            probe: !self.no_probe,
            configz: self.configz_token_file.clone().zip(self.configz_ca.clone()).map(|(token_file, ca)| ConfigzOptions { token_file, ca }),
            known_binaries: self.known_binaries.clone(),
            cri: self.cri.clone(),
            node_name: self.node_name.clone().filter(|name| !name.is_empty()),
            cluster: self.cluster.clone(),
        }
    }
}

/// `scan`.
#[derive(Debug, Clone, Args)]
pub struct ScanArgs {
    /// How to print.
    #[arg(short, long, env = "HOLDFAST_OUTPUT", value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Only checks that answer this framework, such as cis-1.12.
    #[arg(long, env = "HOLDFAST_FRAMEWORK", value_name = "ID")]
    pub framework: Option<String>,
    /// Exit with 1 when a check of at least this severity fails and is not expected to: info, low, medium, high or critical.
    #[arg(long, env = "HOLDFAST_FAIL_ON", value_name = "SEVERITY")]
    pub fail_on: Option<Severity>,
    /// Judge a capture of a node, made by `holdfast-agent capture`, by today's dates; `-` is stdin.
    #[arg(long, env = "HOLDFAST_FACTS", value_name = "FILE", conflicts_with_all = ["host_root", "proc", "no_probe", "configz_token_file", "configz_ca", "known_binaries", "cri", "node_name", "cluster"])]
    pub facts: Option<PathBuf>,
    /// Where and how to read.
    #[command(flatten)]
    pub host: HostArgs,
}

/// `expectations`.
#[derive(Debug, Clone, Args)]
pub struct ExpectationsArgs {
    /// How to print.
    #[arg(short, long, env = "HOLDFAST_OUTPUT", value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// `capture`.
#[derive(Debug, Clone, Args)]
pub struct CaptureArgs {
    /// The archive to write, such as node.tar.zst; `-` is stdout.
    #[arg(short, long, env = "HOLDFAST_CAPTURE_OUTPUT", value_name = "FILE")]
    pub output: PathBuf,
    /// Overwrite the archive if it is there.
    #[arg(long, env = "HOLDFAST_FORCE", value_parser = FalseyValueParser::new())]
    pub force: bool,
    /// Where and how to read.
    #[command(flatten)]
    pub host: HostArgs,
}

/// How `scan` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs: the contract `holdfast.scan/1`.
    Json,
}

/// The whole program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Where even that cannot be printed, the exit code says it.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE));
        }
    };
    match cli.command {
        Command::Scan(args) => {
            log("warn");
            // It reads and prints: what else this user may do is given up. A system that refuses that is judged all the same.
            if let Err(error) = privileges::step_aside() {
                tracing::warn!("this scan keeps the privileges that it was started with: {}", causes(&error));
            }
            ExitCode::from(scan::main(&args))
        }
        Command::Expectations(args) => ExitCode::from(scan::expectations(&args)),
        Command::Capture(args) => {
            log("warn");
            ExitCode::from(capture::main(&args))
        }
        Command::Run(args) => {
            log("info");
            match run::start(*args) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    tracing::error!("{error:#}");
                    ExitCode::from(FAILURE)
                }
            }
        }
    }
}

/// Logs to stderr: text on a terminal, JSON otherwise. `RUST_LOG` overrides `level`.
fn log(level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A subscriber that a test set before stays.
    let started = if std::io::stderr().is_terminal() { builder.try_init() } else { builder.json().try_init() };
    drop(started);
}
