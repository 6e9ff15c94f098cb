//! Disks that are full or read-only, under the agent and under the collector: both go on, say so, and recover by themselves.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_tests::api::Api;
use holdfast_tests::namespace::Namespace;
use holdfast_tests::process::pause;
use holdfast_tests::site::Site;
use holdfast_tests::stored::Stored;

use crate::{BINARIES, KUBELET};

/// What somebody waits for who watches, on a busy machine.
const SHOWN: Duration = Duration::from_secs(40);
const CHECK: &str = "agent-spool-file";

/// A host of its own with a small disk at one place.
struct Host {
    site: Site,
    space: Namespace,
    disk: String,
}

impl Host {
    /// Enters its network for good.
    fn new(disk: &str, size: &str) -> Self {
        let site = Site::new(BINARIES).unwrap();
        let space = Namespace::new(Path::new(&site.path("namespace.log"))).unwrap();
        space.enter_network().unwrap();
        site.token("host").unwrap();
        let host = Self { disk: site.path(disk), site, space };
        std::fs::create_dir_all(&host.disk).unwrap();
        host.run("mount", &["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "tmpfs", &host.disk]);
        host
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let (code, _, errors) = self.space.output(program, arguments).unwrap();
        assert_eq!(code, 0, "{program} {arguments:?}: {errors}");
    }

    fn fill(&self) {
        // Ends with an error: that is the point.
        let script = format!("cat /dev/zero > {0}/ballast; cat /dev/zero > {0}/more; true", self.disk);
        self.run("sh", &["-c", &script]);
    }

    fn make_room(&self) {
        self.run("sh", &["-c", &format!("rm -f {0}/ballast {0}/more", self.disk)]);
    }

    fn remount(&self, how: &str) {
        self.run("mount", &["-o", &format!("remount,{how}"), &self.disk]);
    }

    fn waits(&self, what: &str, done: impl FnMut(&Api) -> bool) -> Duration {
        let waited = self.site.api().wait(what, SHOWN, done);
        waited.unwrap_or_else(|error| panic!("{error}\n{}\n{}", self.site.log("host.log"), self.site.log("collector.log")))
    }

    /// Waits until the collector shows `verdict` for the spool.
    fn spool_is(&self, verdict: &str) {
        self.waits(&format!("{CHECK} is {verdict}"), |api| {
            let found = api.findings(&format!("node=host&check={CHECK}")).unwrap_or_default();
            found.iter().any(|finding| finding["verdict"] == verdict)
        });
    }

    /// A change on the host is shown, both ways.
    fn is_followed(&self) {
        let open = |api: &Api| {
            let found = api.findings("node=host&check=kubelet-read-only-port-listening&verdict=fail").unwrap_or_default();
            !found.is_empty()
        };
        let socket = TcpListener::bind("0.0.0.0:10255").unwrap();
        self.waits("the open port is shown", open);
        drop(socket);
        self.waits("the closed port is not", |api| !open(api));
    }
}

/// Entering a network is for a thread, and for good.
fn on_a_host(test: impl FnOnce() + Send + 'static) {
    let _kubelet = KUBELET.blocking_lock();
    std::thread::spawn(test).join().unwrap();
}

#[test]
#[ignore = "new: run it by name before it becomes part of every run"]
fn an_agent_whose_disk_is_full_or_read_only_says_so_and_goes_on() {
    on_a_host(|| {
        let host = Host::new("spool-host", "4m");
        let _collector = host.site.collector(&[]).unwrap();
        host.fill();
        let mut agent = host.site.agent_in(&host.space, "host", &["--no-probe"]).unwrap();
        host.spool_is("fail");
        assert!(host.site.log("host.log").contains("kept in memory only"), "{}", host.site.log("host.log"));
        host.is_followed();
        host.make_room();
        host.spool_is("pass");

        // While it runs: whether its file still has room or not, nothing stops.
        host.fill();
        host.is_followed();
        host.make_room();
        host.spool_is("pass");
        assert!(agent.ended().unwrap().is_none(), "{}", host.site.log("host.log"));
        host.space.kill(agent).unwrap();

        host.remount("ro");
        let mut agent = host.site.agent_in(&host.space, "host", &["--no-probe"]).unwrap();
        host.spool_is("fail");
        host.is_followed();
        host.remount("rw");
        host.spool_is("pass");
        host.is_followed();
        assert!(agent.ended().unwrap().is_none(), "{}", host.site.log("host.log"));
        host.space.kill(agent).unwrap();
    });
}

#[test]
#[ignore = "new: run it by name before it becomes part of every run"]
fn a_collector_whose_disk_is_full_says_so_and_loses_nothing() {
    on_a_host(|| {
        let host = Host::new("data", "16m");
        let mut collector = host.site.collector_in(&host.space, &[]).unwrap();
        let mut agent = host.site.agent_in(&host.space, "host", &["--no-probe"]).unwrap();
        host.spool_is("pass");
        host.is_followed();

        host.fill();
        // The first commit that needs room finds that there is none.
        let mut sockets = Vec::new();
        let mut port = 20_000;
        host.waits("the collector is not ready", |api| {
            sockets.push(TcpListener::bind(("0.0.0.0", port)));
            port += 1;
            api.get("/readyz").is_ok_and(|(status, why)| status == 503 && why.contains("cannot commit"))
        });
        assert_eq!(host.site.api().get("/livez").unwrap().0, 200);
        pause(Duration::from_secs(2));
        drop(sockets);
        host.make_room();
        host.waits("the collector is ready", |api| api.text("/readyz").is_ok());
        host.is_followed();
        assert!(collector.ended().unwrap().is_none() && agent.ended().unwrap().is_none());

        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let inside = PathBuf::from(format!("/proc/{}/root{}", host.space.first(), host.site.database().display()));
        let stored = runtime.block_on(Stored::open(&inside)).unwrap();
        let node = runtime.block_on(stored.node("host")).unwrap();
        node.is_consistent().unwrap();
        node.has_whole_history().unwrap();
        assert_eq!(node.epochs(), 1);
        runtime.block_on(stored.is_sound()).unwrap();
        runtime.block_on(stored.close());
        host.space.kill(agent).unwrap();
        host.space.kill(collector).unwrap();
    });
}
