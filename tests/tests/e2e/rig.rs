//! A cluster: a stand-in API server over TLS, a real collector that asks it, and clients that show whatever tokens they like.

use std::path::Path;
use std::time::{Duration, Instant};

use holdfast_tests::apiserver::ApiServer;
use holdfast_tests::process::{PATIENCE, Process};
use holdfast_tests::raw::{Client, channel};
use holdfast_tests::site::Site;
use tonic::{Code, Status};

use crate::BINARIES;

pub(crate) struct Rig {
    pub(crate) site: Site,
    pub(crate) cluster: ApiServer,
    pub(crate) collector: Process,
}

impl Rig {
    pub(crate) fn start(cluster: ApiServer) -> Self {
        let site = Site::new(BINARIES).unwrap();
        let kubeconfig = cluster.kubeconfig().display().to_string();
        let collector = site.collector(&["--token-review", "--kubeconfig", &kubeconfig, "--cluster", "test"]).unwrap();
        Self { site, cluster, collector }
    }

    /// Shows a token; nothing was said yet.
    pub(crate) async fn open(&self, token: &str) -> Result<Client, Status> {
        let ca = self.site.path("tls/ca.crt");
        Client::open(channel(Path::new(&ca), self.site.grpc).await.unwrap(), Some(token)).await
    }

    /// A session of whoever shows this token, and says that it is on the node of that name. Whoever is told to come back later does, as
    /// an agent would: an API server that answers again may just be closing the connection on which it is asked.
    pub(crate) async fn connected(&self, token: &str, name: &str) -> Client {
        let began = Instant::now();
        let mut client = loop {
            match self.open(token).await {
                Ok(client) => break client,
                Err(status) if status.code() == Code::Unavailable && began.elapsed() < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(status) => panic!("{status}\n{}", self.log()),
            }
        };
        client.greet(name).await.unwrap_or_else(|error| panic!("{error:#}\n{}", self.log()));
        client
    }

    /// The collector's log.
    pub(crate) fn log(&self) -> String {
        self.site.log("collector.log")
    }

    /// How often somebody was refused with that code, as counted.
    pub(crate) fn refused(&self, code: &str) -> f64 {
        self.site.api().metric(&format!("holdfast_rejections_total{{reason=\"{code}\"}}"))
    }

    /// And as logged.
    pub(crate) fn logged(&self, code: &str) -> usize {
        let lines = self.log();
        let lines = lines.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines.filter(|line| line["code"] == code && line["message"] == "refused").count()
    }

    pub(crate) fn until(&self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let nodes = || self.site.api().text("/api/v1/nodes").unwrap_or_default();
        self.site.api().wait(what, PATIENCE, |_| done(self)).unwrap_or_else(|error| panic!("{error}\n{}\n{}", nodes(), self.log()));
    }

    /// A node's state as people see it; empty for one that is not known.
    pub(crate) fn state(&self, name: &str) -> String {
        self.site.api().node_state(name).unwrap_or_default()
    }
}
