//! A collector and its agents in one temporary directory.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::api::Api;
use crate::namespace::Namespace;
use crate::port;
use crate::process::{PATIENCE, Process, output};

/// Paths of the two binaries under test, from `CARGO_BIN_EXE_…`.
#[derive(Debug, Clone, Copy)]
pub struct Binaries {
    /// `holdfast-test-agent`
    pub agent: &'static str,
    /// `holdfast-test-collector`
    pub collector: &'static str,
}

/// Certificates, tokens, database and logs of one test.
#[derive(Debug)]
pub struct Site {
    binaries: Binaries,
    directory: TempDir,
    /// Port agents connect to.
    pub grpc: u16,
    /// Port of API and dashboard.
    pub http: u16,
}

impl Site {
    /// Makes a directory with a CA and a server certificate, and reserves two ports.
    pub fn new(binaries: Binaries) -> Result<Self> {
        let directory = TempDir::new()?;
        let site = Self { binaries, directory, grpc: port::reserve()?, http: port::reserve()? };
        let out = site.path("tls");
        let (code, _, errors) =
            output(Path::new(binaries.collector), &["ca", "init", "--out", &out, "--dns", "localhost", "--dns", "127.0.0.1"])?;
        ensure!(code == 0, "ca init failed: {errors}");
        Ok(site)
    }

    /// A path below the site's directory.
    pub fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// The text of a log.
    pub fn log(&self, name: &str) -> String {
        std::fs::read(self.directory.path().join(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Registers a node and returns the file that holds its token.
    pub fn token(&self, node: &str) -> Result<PathBuf> {
        let tokens = self.path("tokens.yaml");
        let arguments = ["token", "add", "--tokens", &tokens, "--name", node, "--cluster", "test"];
        let (code, token, errors) = output(Path::new(self.binaries.collector), &arguments)?;
        ensure!(code == 0, "token add failed: {errors}");
        let file = self.directory.path().join(format!("{node}.token"));
        std::fs::write(&file, token.trim())?;
        Ok(file)
    }

    /// Starts the collector and waits until it is ready.
    pub fn collector(&self, extra: &[&str]) -> Result<Process> {
        let arguments = self.collector_arguments(extra)?;
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let process = Process::start(Path::new(self.binaries.collector), &arguments, Path::new(&self.path("collector.log")))?;
        self.ready()?;
        Ok(process)
    }

    /// The same in `namespace`, whose network the calling thread has entered.
    pub fn collector_in(&self, namespace: &Namespace, extra: &[&str]) -> Result<Process> {
        let arguments = self.collector_arguments(extra)?;
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let process = namespace.start(self.binaries.collector, &arguments, Path::new(&self.path("collector.log")), &[])?;
        self.ready()?;
        Ok(process)
    }

    fn ready(&self) -> Result<()> {
        self.api()
            .wait("the collector is ready", PATIENCE, |api| api.text("/readyz").is_ok())
            .with_context(|| self.log("collector.log"))?;
        Ok(())
    }

    fn collector_arguments(&self, extra: &[&str]) -> Result<Vec<String>> {
        let (listen, http) = (format!("127.0.0.1:{}", self.grpc), format!("127.0.0.1:{}", self.http));
        let (data, tokens) = (self.path("data"), self.path("tokens.yaml"));
        let (certificate, key) = (self.path("tls/server.crt"), self.path("tls/server.key"));
        std::fs::create_dir_all(&data)?;
        let mut arguments = vec!["serve", "--data", &data, "--listen", &listen, "--http", &http];
        arguments.extend(["--tls-cert", &certificate, "--tls-key", &key, "--tokens", &tokens]);
        arguments.extend(extra);
        Ok(arguments.into_iter().map(str::to_owned).collect())
    }

    /// Starts an agent called `node` with `extra` arguments.
    pub fn agent(&self, node: &str, extra: &[&str]) -> Result<Process> {
        let arguments = self.agent_arguments(node, extra)?;
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Process::start(Path::new(self.binaries.agent), &arguments, Path::new(&self.path(&format!("{node}.log"))))
    }

    /// Starts an agent called `node` for which `namespace` is the whole host.
    pub fn agent_in(&self, namespace: &Namespace, node: &str, extra: &[&str]) -> Result<Process> {
        let arguments = self.agent_arguments(node, extra)?;
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        namespace.start(self.binaries.agent, &arguments, Path::new(&self.path(&format!("{node}.log"))), &[])
    }

    fn agent_arguments(&self, node: &str, extra: &[&str]) -> Result<Vec<String>> {
        let token = self.directory.path().join(format!("{node}.token"));
        let token = if token.is_file() { token } else { self.token(node)? };
        let (url, token) = (format!("https://127.0.0.1:{}", self.grpc), token.display().to_string());
        let (ca, spool) = (self.path("tls/ca.crt"), self.path(&format!("spool-{node}")));
        let health = if extra.contains(&"--health") { Vec::new() } else { vec!["--health", "127.0.0.1:0"] };
        let mut arguments = vec!["run", "--collector", &url, "--ca", &ca, "--token-file", &token, "--node-name", node];
        arguments.extend(["--cluster", "test", "--spool", &spool]);
        arguments.extend(health);
        arguments.extend(extra);
        Ok(arguments.into_iter().map(str::to_owned).collect())
    }

    /// The collector's API.
    pub fn api(&self) -> Api {
        Api::new(format!("http://127.0.0.1:{}", self.http))
    }

    /// The database file.
    pub fn database(&self) -> PathBuf {
        self.directory.path().join("data/holdfast.db")
    }
}

/// A recorded node's `--host-root` and `--proc`.
pub fn recorded(name: &str) -> (String, String) {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/recorded").join(name);
    (base.join("host").display().to_string(), base.join("proc").display().to_string())
}
