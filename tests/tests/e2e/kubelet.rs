//! A kubelet whose file and whose socket disagree, on a host of its own: what is declared, what is effective, what is
//! observed, and the contradiction, each at the collector after each change.

use std::path::Path;
use std::time::Duration;

use holdfast_tests::api::Api;
use holdfast_tests::namespace::Namespace;
use holdfast_tests::process::{PATIENCE, Process, copy_program};
use holdfast_tests::site::Site;

use crate::{BINARIES, KUBELET};

/// A change is there within this, where nothing but a full pass would be a quarter of an hour; the benchmark shows how far below it. On a
/// busy machine one of them has to be.
const CHANGE: Duration = Duration::from_secs(15);

/// The stand-in, its files, and the host it lives on.
struct Host {
    site: Site,
    space: Namespace,
}

impl Host {
    fn new() -> Self {
        let site = Site::new(BINARIES).unwrap();
        let space = Namespace::new(Path::new(&site.path("namespace.log"))).unwrap();
        space.enter_network().unwrap();
        Self { site, space }
    }

    fn configure(&self, read_only_port: u16) {
        let config = format!(
            "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nreadOnlyPort: {read_only_port}\n\
             authentication:\n  anonymous:\n    enabled: false\n"
        );
        // As an editor does it: written beside, then renamed over.
        std::fs::write(self.site.path("config.yaml.new"), config).unwrap();
        std::fs::rename(self.site.path("config.yaml.new"), self.site.path("config.yaml")).unwrap();
    }

    fn order(&self, lines: &[&str]) {
        std::fs::write(self.site.path("orders.new"), lines.join("\n")).unwrap();
        std::fs::rename(self.site.path("orders.new"), self.site.path("orders")).unwrap();
    }

    fn kubelet(&self) -> Process {
        let program = self.site.path("kubelet");
        // The one that runs may still be open.
        copy_program(env!("CARGO_BIN_EXE_holdfast-test-kubelet"), Path::new(&self.site.path("kubelet.new"))).unwrap();
        std::fs::rename(self.site.path("kubelet.new"), &program).unwrap();
        let (config, orders) = (format!("--config={}", self.site.path("config.yaml")), self.site.path("orders"));
        self.space.start(&program, &[&config], Path::new(&self.site.path("kubelet.log")), &[("STAND_IN", &orders)]).unwrap()
    }

    /// Waits until `check` has `verdict` on the kubelet, or on any subject where `subject` is empty.
    fn sees(&self, check: &str, subject: &str, verdict: &str) -> Duration {
        let there = |api: &Api| {
            let found = api.findings(&format!("node=host&check={check}")).unwrap_or_default();
            found.iter().any(|finding| finding["verdict"] == verdict && (subject.is_empty() || finding["subject"] == subject))
        };
        self.site.api().wait(&format!("{check} is {verdict}"), PATIENCE, there).unwrap_or_else(|error| {
            let found = self.site.api().findings(&format!("node=host&check={check}"));
            panic!(
                "{error}\n{found:#?}\n{}\n{}\n{}",
                self.site.log("host.log"),
                self.site.log("collector.log"),
                self.site.log("kubelet.log")
            )
        })
    }
}

#[test]
fn file_socket_and_their_contradiction_reach_the_collector_after_each_change() {
    let _kubelet = KUBELET.blocking_lock();
    // Entering a network is for a thread, and for good.
    std::thread::spawn(|| {
        let host = Host::new();
        host.configure(0);
        host.order(&["listen 10250 tls 401"]);
        host.site.token("host").unwrap();
        let _collector = host.site.collector(&[]).unwrap();
        let kubelet = host.kubelet();
        let _agent = host.site.agent_in(&host.space, "host", &[]).unwrap();
        let api = host.site.api();
        api.wait("the host reports", PATIENCE, |api| api.node_state("host").as_deref() == Some("reporting"))
            .unwrap_or_else(|error| panic!("{error}\n{}", host.site.log("host.log")));
        let (effective, observed, contradiction) =
            ("kubelet-read-only-port", "kubelet-read-only-port-listening", "kubelet-read-only-port-contradiction");

        host.sees(effective, "kubelet", "pass");
        host.sees(observed, "", "not_applicable");
        host.sees(contradiction, "kubelet", "pass");
        host.sees("kubelet-answers-anonymous", "kubelet", "pass");

        // The file says open, the running kubelet has not read it yet.
        host.configure(10255);
        let file = host.sees(effective, "kubelet", "fail");
        host.sees(contradiction, "kubelet", "fail");
        host.sees(observed, "", "not_applicable");

        // It was restarted: now all three agree, and are bad.
        host.order(&["listen 10250 tls 401", "listen 10255 plain 200"]);
        let socket = host.sees(observed, "port:tcp/10255", "fail");
        host.sees("kubelet-read-only-port-answers", "kubelet", "fail");
        host.sees(contradiction, "kubelet", "pass");

        // Somebody put the file right, and believes that was all.
        host.configure(0);
        let put_right = host.sees(effective, "kubelet", "pass");
        host.sees(contradiction, "kubelet", "fail");
        host.sees(observed, "port:tcp/10255", "fail");

        host.order(&["listen 10250 tls 401"]);
        host.sees(observed, "", "not_applicable");
        host.sees(contradiction, "kubelet", "pass");

        // And the worst: started anew it answers strangers, whatever the file says.
        host.space.kill(kubelet).unwrap();
        host.order(&["listen 10250 tls 200"]);
        let _kubelet = host.kubelet();
        host.sees("kubelet-answers-anonymous", "kubelet", "fail");
        host.sees("kubelet-anonymous-contradiction", "kubelet", "fail");
        println!("file {file:?}, socket {socket:?}, put right {put_right:?}");
        assert!(file.min(socket).min(put_right) < CHANGE, "file {file:?}, socket {socket:?}, put right {put_right:?}");
    })
    .join()
    .unwrap();
}
