//! Both manifests in one cluster, as they are: the collector's pod beside the agent's on a real containerd, the collector with nothing
//! but what a kubelet gives it (its account's token and the cluster's CA in a projected volume, the API server's address in its
//! environment), the agent with a token that names its pod. Then everything that a cluster replaces by itself is replaced.
//!
//! The API server is the stand-in of `apiserver`, behind a Service's address. In place of the cluster's DNS the collector's Service is in
//! the agent's `/etc/hosts`. What cannot be tried here: network policies (no network plugin here enforces any), limits of resources.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use holdfast_collector::ca;
use holdfast_tests::api::Api;
use holdfast_tests::apiserver::{ApiServer, Claims};
use holdfast_tests::containers::manifest::Workload;
use holdfast_tests::containers::{FIRST_POD, RuntimeHost};
use holdfast_tests::process::PATIENCE;
use serde_json::json;
use tokio::runtime::Handle;

use crate::BINARIES;
use crate::deployed::{PROGRAM, workload};

/// Where Services say that the API server is, with the port they give it.
const API_SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1)), 443);
/// The name in the agent's `--collector`, and in the certificate that the guide has one make.
const SERVICE: &str = "holdfast-collector.holdfast-system.svc";
/// On a busy machine.
const SOON: Duration = PATIENCE;
/// kube reads a token again once it has had it for 50 seconds; whoever was refused until then asks again ten seconds later at most.
const READ_AGAIN: Duration = Duration::from_mins(4);
/// How long kube holds a CA for current.
const CA_HELD: Duration = Duration::from_mins(1);
/// The uid of the Deployment.
const UID: &str = "65532";

struct Deployed {
    host: RuntimeHost,
    cluster: ApiServer,
    collector: Workload,
    agent: Workload,
    api: Api,
}

fn content<const N: usize>(files: [(&str, &str, Vec<u8>); N]) -> BTreeMap<(String, String), Vec<u8>> {
    files.into_iter().map(|(volume, file, content)| ((volume.to_owned(), file.to_owned()), content)).collect()
}

impl Deployed {
    /// Starts both and waits until the collector is ready. The calling thread is in the host's network.
    fn start(mut host: RuntimeHost, images: &[String; 2], here: &Handle) -> Self {
        let (code, _, errors) = host.space.output("ip", &["addr", "add", &format!("{}/32", API_SERVER.ip()), "dev", "lo"]).unwrap();
        assert_eq!(code, 0, "{errors}");
        let cluster = ApiServer::start_at(API_SERVER).unwrap();
        let certificates = host.path("certificates");
        let certificates = Path::new(&certificates);
        ca::init(certificates, &[SERVICE.to_owned()]).unwrap();
        let file = |name: &str| std::fs::read(certificates.join(name)).unwrap();
        let given = content([
            ("tls", "tls.crt", file("server.crt")),
            ("tls", "tls.key", file("server.key")),
            ("api-access", "token", cluster.own_token().unwrap().into_bytes()),
            ("api-access", "ca.crt", std::fs::read(cluster.ca()).unwrap()),
        ]);
        let mut collector = workload("collector-deployment.yaml", "holdfast-collector-6d5f-abcde", given);
        collector.around.api = Some(API_SERVER);
        here.block_on(host.run_workload(&collector, Some(&images[0]))).unwrap();

        let mut agent = workload("agent-daemonset.yaml", "holdfast-agent-x7k2p", BTreeMap::new());
        let claims = Claims { pod: Some((agent.pod.clone(), agent.uid())), ..Claims::of("n1") };
        cluster.add_node("n1", "uid-n1");
        cluster.add_pod(&agent.pod, &agent.uid(), "n1", "uid-daemonset-1");
        agent.content =
            content([("collector-token", "token", cluster.mint(claims).into_bytes()), ("collector-ca", "ca.crt", file("ca.crt"))]);
        agent.around.api = Some(API_SERVER);
        agent.around.hosts = vec![(FIRST_POD, SERVICE.to_owned())];
        let api = Api::new(format!("http://{FIRST_POD}:8080"));
        let deployed = Self { host, cluster, collector, agent, api };
        // The probes of the manifest.
        deployed
            .until("the collector is live and ready", PATIENCE, |all| ["/livez", "/readyz"].iter().all(|path| all.api.text(path).is_ok()));
        deployed
    }

    fn log(&self, of: &Workload) -> String {
        std::fs::read_to_string(self.host.outside(&of.log())).unwrap_or_default()
    }

    fn until(&self, what: &str, within: Duration, mut done: impl FnMut(&Self) -> bool) -> Duration {
        let waited = self.api.wait(what, within, |_| done(self));
        waited.unwrap_or_else(|error| panic!("{error}\n{}\n{}", self.log(&self.collector), self.log(&self.agent)))
    }

    /// How much of the API server answers the collector: four is all of it.
    fn answered(&self) -> f64 {
        self.api.metric("holdfast_apiserver_up")
    }

    /// Sessions that were ever opened.
    fn opened(&self) -> usize {
        self.log(&self.collector).matches("session opened").count()
    }

    /// Replaces a file in a volume of the collector's pod.
    fn replace(&mut self, volume: &str, file: &str, content: Vec<u8>) {
        self.collector.content.insert((volume.to_owned(), file.to_owned()), content);
        self.host.replace_volume(&self.collector, volume).unwrap();
    }

    /// A line of the collector's `/proc/PID/status`.
    fn status(&self, field: &str) -> String {
        let processes = std::fs::read_dir(self.host.outside("/proc")).unwrap().flatten();
        let mut all = processes.filter_map(|entry| std::fs::read_to_string(entry.path().join("status")).ok());
        let status = all.find(|status| status.starts_with("Name:\tholdfast-collec")).expect("the collector's process");
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).expect("a field");
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_manifests_in_a_cluster_go_on_while_its_tokens_and_its_ca_are_replaced() {
    let host = RuntimeHost::connected().await.unwrap();
    let collector = host.import("registry.example/holdfast-collector", Path::new(BINARIES.collector), "/usr/bin/holdfast-collector");
    let images =
        [collector.await.unwrap(), host.import("registry.example/holdfast-agent", Path::new(BINARIES.agent), PROGRAM).await.unwrap()];
    let here = Handle::current();
    // Entering a network is for a thread, and for good.
    let test = move || {
        let _runtime = here.enter();
        host.space.enter_network().unwrap();
        let started = Instant::now();
        let mut all = Deployed::start(host, &images, &here);
        all.until("it found the API server by itself", SOON, |all| all.answered() >= 4.0);
        for (field, value) in [
            ("Uid", [UID; 4].join(" ")),
            ("Gid", [UID; 4].join(" ")),
            ("CapEff", "0".repeat(16)),
            ("CapBnd", "0".repeat(16)),
            ("NoNewPrivs", "1".to_owned()),
            ("Seccomp", "2".to_owned()),
        ] {
            assert_eq!(all.status(field), value, "{field} of the collector");
        }
        let (agent, image) = (all.agent.clone(), images[1].clone());
        here.block_on(all.host.run_workload(&agent, Some(&image))).unwrap();
        all.until("the node reports", SOON, |all| all.api.node_state("n1").as_deref() == Some("reporting"));
        // A runtime writes a container's log a little later.
        all.until("its session is logged", SOON, |all| all.opened() >= 1);
        assert_eq!((all.cluster.unauthorized(), all.opened()), (0, 1), "{}", all.log(&all.collector));

        its_own_token(&mut all);
        the_clusters_ca(&mut all, started);
        the_agents_token(&mut all);
        a_token_that_is_not_the_agents(&mut all, &images[1], &here);

        // And what the watches tell is heard: its pod is deleted.
        assert_eq!(all.opened(), 1, "one session through all of it\n{}", all.log(&all.collector));
        all.cluster.delete_pod(&all.agent.pod);
        all.until("the session ends with its pod", SOON, |all| all.api.metric("holdfast_rejections_total{reason=\"pod_deleted\"}") >= 1.0);
    };
    tokio::task::spawn_blocking(|| std::thread::spawn(test).join().unwrap()).await.unwrap();
}

/// Harder than any cluster: the old one is worth nothing at once, where a kubelet renews it twelve minutes before its end.
fn its_own_token(all: &mut Deployed) {
    let fresh = all.cluster.replace_own_token();
    all.replace("api-access", "token", fresh.into_bytes());
    let replaced = Instant::now();
    all.cluster.disconnect();
    // Unless this machine is so slow that kube's 50 seconds are over.
    all.until("it asks again", SOON, |all| all.cluster.unauthorized() + all.cluster.authorized() > 0);
    if all.cluster.unauthorized() > 0 {
        all.until("it is said", SOON, |all| all.log(&all.collector).contains("it does not accept the collector's own credentials"));
    }
    all.until("the new token is used", READ_AGAIN, |all| all.cluster.authorized() > 0);
    all.until("everything is answered again", READ_AGAIN, |all| all.answered() >= 4.0);
    println!("own token: in use and all watches back {:.1} s after it was replaced", replaced.elapsed().as_secs_f64());
    let refused = all.cluster.unauthorized();
    println!("own token: {refused} requests refused meanwhile");
    assert_eq!(all.api.node_state("n1").as_deref(), Some("reporting"), "the session has seen nothing of it");
}

/// The volume has both CAs for a while, as a cluster does it; then the API server shows a certificate of the new one.
fn the_clusters_ca(all: &mut Deployed, started: Instant) {
    let mut bundle = std::fs::read(all.cluster.ca()).unwrap();
    bundle.extend(all.cluster.replace_authority().unwrap());
    all.replace("api-access", "ca.crt", bundle);
    if let Some(early) = (CA_HELD + Duration::from_secs(1)).checked_sub(started.elapsed()) {
        holdfast_tests::process::pause(early);
    }
    let (replaced, before, refused) = (Instant::now(), all.cluster.lists(), all.cluster.unauthorized());
    // Every connection ends, and what is watched has to be listed again.
    all.cluster.forget_history();
    all.until("it is asked over new connections", READ_AGAIN, |all| all.cluster.lists() >= before + 3);
    all.until("everything is answered again", READ_AGAIN, |all| all.answered() >= 4.0);
    println!("CA: all watches back {:.1} s after the API server showed a certificate of the new one", replaced.elapsed().as_secs_f64());
    assert_eq!(all.cluster.unauthorized(), refused);
}

/// As the kubelet renews it: another token of the same pod.
fn the_agents_token(all: &mut Deployed) {
    let claims = Claims { pod: Some((all.agent.pod.clone(), all.agent.uid())), ..Claims::of("n1") };
    let fresh = all.cluster.mint(claims.ending_in(7_200));
    all.agent.content.insert(("collector-token".to_owned(), "token".to_owned()), fresh.into_bytes());
    let (replaced, reviews) = (Instant::now(), all.cluster.reviews());
    all.host.replace_volume(&all.agent, "collector-token").unwrap();
    all.until("the agent shows it, and it is reviewed", SOON, |all| all.cluster.reviews() > reviews);
    println!("agent's token: reviewed {:.1} s after it was replaced", replaced.elapsed().as_secs_f64());
    assert_eq!(all.api.node_state("n1").as_deref(), Some("reporting"));
}

/// The kubelet makes a token the own of the uid that the container starts with, which is root here: the agent reads it by
/// `DAC_READ_SEARCH` after it has stepped down, and without delivers nothing.
fn a_token_that_is_not_the_agents(all: &mut Deployed, image: &str, here: &Handle) {
    let token = all.host.outside(&all.host.volume_of(&all.agent, "collector-token").unwrap()).join("token");
    let status = std::fs::metadata(&token).unwrap();
    assert_eq!((status.uid(), status.mode() & 0o777), (0, 0o600));
    let mut blind = Workload { pod: "holdfast-agent-blind".to_owned(), ..all.agent.clone() };
    let container = &mut blind.spec["containers"][0];
    container["securityContext"]["capabilities"]["add"] = json!(["SYS_PTRACE", "SETUID", "SETGID", "CHOWN"]);
    for argument in container["args"].as_array_mut().unwrap() {
        if argument.as_str().unwrap().starts_with("--health=") {
            *argument = json!("--health=127.0.0.1:0");
        }
    }
    here.block_on(all.host.run_workload(&blind, Some(image))).unwrap();
    all.until("it says why", SOON, |all| {
        let log = all.log(&blind);
        log.contains("/var/run/secrets/holdfast/token") && log.contains("ermission denied")
    });
}
