//! Disks that are full or read-only, under the agent and under the collector: both go on, say so, and recover by themselves.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use holdfast_tests::api::Api;
use holdfast_tests::namespace::Namespace;
use holdfast_tests::port;
use holdfast_tests::process::{PATIENCE, Process, pause};
use holdfast_tests::site::Site;
use holdfast_tests::stored::Stored;

use crate::{BINARIES, KUBELET};

const CHECK: &str = "agent-spool-file";

/// A host of its own with a small disk, a directory of which is at one place. The rest of the disk is for ballast.
struct Host {
    site: Site,
    space: Namespace,
    disk: String,
    place: String,
}

impl Host {
    /// Enters its network for good.
    fn new(place: &str, size: &str) -> Self {
        let site = Site::new(BINARIES).unwrap();
        let space = Namespace::new(Path::new(&site.path("namespace.log"))).unwrap();
        space.enter_network().unwrap();
        site.token("host").unwrap();
        let host = Self { disk: site.path("disk"), place: site.path(place), site, space };
        std::fs::create_dir_all(&host.disk).unwrap();
        std::fs::create_dir_all(&host.place).unwrap();
        host.run("mount", &["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "tmpfs", &host.disk]);
        let inside = format!("{}/inside", host.disk);
        host.run("mkdir", &["-m", "0700", &inside]);
        host.run("mount", &["--bind", &inside, &host.place]);
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

    /// What is opened from now on is on a read-only file system; what is open stays as it is.
    fn forbid_writing(&self) {
        // Read-only before it is in its place: a file opened for writing in between would keep it as it is.
        let aside = self.site.path("aside");
        std::fs::create_dir_all(&aside).unwrap();
        self.run("mount", &["--bind", &self.place, &aside]);
        self.run("mount", &["-o", "remount,bind,ro", &aside]);
        self.run("mount", &["--bind", &aside, &self.place]);
        // The agent may be looking at it, as at every mount of its host.
        self.run("umount", &["--lazy", &aside]);
    }

    fn allow_writing(&self) {
        self.run("umount", &["--lazy", &self.place]);
    }

    fn waits(&self, what: &str, done: impl FnMut(&Api) -> bool) -> Duration {
        let waited = self.site.api().wait(what, PATIENCE, done);
        waited.unwrap_or_else(|error| panic!("{error}\n{}\n{}", self.site.log("host.log"), self.site.log("collector.log")))
    }

    /// A change on the host is shown, both ways.
    fn is_followed(&self) {
        let open = |api: &Api| {
            let found = api.findings("node=host&check=kubelet-read-only-port-listening&verdict=fail");
            found.ok().map(|found| !found.is_empty())
        };
        let socket = TcpListener::bind("0.0.0.0:10255").unwrap();
        self.waits("the open port is shown", |api| open(api) == Some(true));
        drop(socket);
        self.waits("the closed port is not", |api| open(api) == Some(false));
    }

    /// Ends everything and looks at what is stored: nothing was lost, nothing is there twice.
    fn ends_well(self, agent: Inside, collector: Inside) {
        let logs = format!("{}\n{}", self.site.log("host.log"), self.site.log("collector.log"));
        for inside in [agent, collector] {
            assert_eq!(self.space.children(&inside.process).unwrap(), inside.children, "it is the process that was started: {logs}");
            self.space.kill(inside.process).unwrap();
        }
        // The disk is another for us than for the host.
        let copy = self.site.path("copy");
        self.run("cp", &["-r", &self.site.path("data"), &copy]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stored = runtime.block_on(Stored::open(&Path::new(&copy).join("holdfast.db"))).unwrap();
        let node = runtime.block_on(stored.node("host")).unwrap();
        node.is_consistent().unwrap();
        node.has_whole_history().unwrap();
        assert_eq!(node.epochs(), 1, "{logs}");
        runtime.block_on(stored.is_sound()).unwrap();
        runtime.block_on(stored.close());
    }
}

/// A process of the host, and what it was when it started.
struct Inside {
    process: Process,
    children: Vec<i32>,
}

impl Inside {
    fn new(host: &Host, process: Process) -> Self {
        let children = host.space.children(&process).unwrap();
        assert_eq!(children.len(), 1, "one process was started");
        Self { process, children }
    }
}

/// What the agent says of its spool, in each place it says something.
struct Spool<'a> {
    host: &'a Host,
    metrics: Api,
}

impl<'a> Spool<'a> {
    /// Starts the agent.
    fn of_an_agent(host: &'a Host) -> (Self, Inside) {
        let health = format!("127.0.0.1:{}", port::reserve().unwrap());
        let agent = host.site.agent_in(&host.space, "host", &["--no-probe", "--health", &health]).unwrap();
        let spool = Self { host, metrics: Api::new(format!("http://{health}")) };
        host.waits("the agent answers", |_| spool.metrics.text("/metrics").is_ok());
        (spool, Inside::new(host, agent))
    }

    fn is(&self, verdict: &str, reason: &str, in_a_file: u8) {
        let metric = format!("holdfast_agent_spool_file {in_a_file}\n");
        // A finding is delivered a moment after what it tells of.
        self.host.waits(&format!("{CHECK} is {verdict} {reason}, and {metric:?}"), |api| {
            let found = api.findings(&format!("node=host&check={CHECK}")).unwrap_or_default();
            found.iter().any(|finding| finding["verdict"] == verdict && finding.to_string().contains(reason))
                && self.metrics.text("/metrics").is_ok_and(|text| text.contains(&metric))
        });
    }

    fn is_in_its_file(&self) {
        self.is("pass", "", 1);
    }

    fn is_in_memory(&self, reason: &str) {
        self.is("fail", reason, 0);
    }

    /// Changes the host until the agent needs room it has not got.
    fn overfill(&self) {
        self.host.fill();
        let mut sockets = Vec::new();
        let mut port = 20_000;
        self.host.waits("a save finds no room", |_| {
            sockets.push(TcpListener::bind(("0.0.0.0", port)));
            port += 1;
            self.metrics.text("/metrics").is_ok_and(|text| text.contains("holdfast_agent_spool_file 0\n"))
        });
        self.is_in_memory("disk_full");
    }

    /// Waits until the collector has all of it: the history of a finding may come after it.
    fn has_told_everything(&self) {
        let nothing_left = || self.metrics.text("/metrics").is_ok_and(|text| text.contains("holdfast_agent_unsent 0\n"));
        self.host.waits("everything is told", |_| {
            let before = nothing_left();
            pause(Duration::from_secs(1));
            before && nothing_left()
        });
    }

    /// How often the log said that it is in memory for `reason`, and that it is in its file again.
    fn said(&self, reason: &str) -> (usize, usize) {
        let log = self.host.site.log("host.log");
        let memory = log.lines().filter(|line| line.contains("kept in memory only") && line.contains(reason)).count();
        (memory, log.matches("is kept in its file again").count())
    }
}

/// How often the collector's log said that it cannot commit, and that it can again.
fn said(host: &Host) -> (usize, usize) {
    let log = host.site.log("collector.log");
    (log.matches("the store cannot commit: nothing").count(), log.matches("the store commits again").count())
}

/// Changes the host until the collector needs room it has not got.
fn overfill(host: &Host) {
    host.fill();
    let mut sockets = Vec::new();
    let mut port = 20_000;
    host.waits("the collector is not ready", |api| {
        sockets.push(TcpListener::bind(("0.0.0.0", port)));
        port += 1;
        api.get("/readyz").is_ok_and(|(status, why)| status == 503 && why.contains("cannot commit") && why.contains("full"))
    });
    let api = host.site.api();
    assert_eq!(api.get("/livez").unwrap().0, 200);
    assert_eq!(api.metric("holdfast_collector_store_failing").to_string(), "1");
    assert!(api.node_state("host").is_some(), "what is stored is shown");
    assert_eq!(said(host), (1, 0));
    // Everything that waited goes back to what it was, unsaid.
    drop(sockets);
}

fn recovers(host: &Host) {
    host.waits("the collector is ready", |api| api.text("/readyz").is_ok());
    assert_eq!(host.site.api().metric("holdfast_collector_store_failing").to_string(), "0");
    host.is_followed();
    assert_eq!(said(host), (1, 1));
}

/// Entering a network is for a thread, and for good.
fn on_a_host(test: impl FnOnce() + Send + 'static) {
    let _kubelet = KUBELET.blocking_lock();
    std::thread::spawn(test).join().unwrap();
}

#[test]
fn an_agent_whose_disk_is_full_says_so_and_goes_on() {
    on_a_host(|| {
        let host = Host::new("spool-host", "4m");
        let collector = host.site.collector_in(&host.space, &[]).unwrap();
        let collector = Inside::new(&host, collector);
        host.fill();
        let (spool, agent) = Spool::of_an_agent(&host);
        spool.is_in_memory("disk_full");
        host.is_followed();
        assert_eq!(spool.said("disk_full"), (1, 0));
        host.make_room();
        spool.is_in_its_file();
        host.is_followed();
        assert_eq!(spool.said("disk_full"), (1, 1));

        // While it runs.
        spool.overfill();
        host.is_followed();
        assert_eq!(spool.said("disk_full"), (2, 1));
        host.make_room();
        spool.is_in_its_file();
        host.is_followed();
        assert_eq!(spool.said("disk_full"), (2, 2));
        spool.has_told_everything();
        drop(spool);
        host.ends_well(agent, collector);
    });
}

#[test]
fn an_agent_whose_disk_is_read_only_says_so_and_goes_on() {
    on_a_host(|| {
        let host = Host::new("spool-host", "4m");
        let collector = host.site.collector_in(&host.space, &[]).unwrap();
        let collector = Inside::new(&host, collector);
        host.forbid_writing();
        let (spool, agent) = Spool::of_an_agent(&host);
        spool.is_in_memory("read_only");
        host.is_followed();
        assert_eq!(spool.said("read_only"), (1, 0));
        host.allow_writing();
        spool.is_in_its_file();
        host.is_followed();
        assert_eq!(spool.said("read_only"), (1, 1));

        // While it runs. What is open when a file system turns read-only still writes: it is met when the file is opened anew.
        spool.overfill();
        host.forbid_writing();
        host.make_room();
        spool.is_in_memory("read_only");
        host.is_followed();
        assert_eq!(spool.said("read_only"), (2, 1));
        host.allow_writing();
        spool.is_in_its_file();
        host.is_followed();
        assert_eq!(spool.said("read_only"), (2, 2));
        spool.has_told_everything();
        drop(spool);
        host.ends_well(agent, collector);
    });
}

#[test]
fn a_collector_whose_disk_is_full_says_so_and_loses_nothing() {
    on_a_host(|| {
        let host = Host::new("data", "16m");
        let collector = host.site.collector_in(&host.space, &[]).unwrap();
        let collector = Inside::new(&host, collector);
        let (spool, agent) = Spool::of_an_agent(&host);
        spool.is_in_its_file();
        host.is_followed();
        overfill(&host);
        pause(Duration::from_secs(2));
        host.make_room();
        recovers(&host);
        spool.has_told_everything();
        drop(spool);
        host.ends_well(agent, collector);
    });
}

/// As with the agent, it is met when the file is opened anew.
#[test]
fn a_collector_whose_disk_is_read_only_says_so_and_loses_nothing() {
    on_a_host(|| {
        let host = Host::new("data", "16m");
        let collector = host.site.collector_in(&host.space, &[]).unwrap();
        let collector = Inside::new(&host, collector);
        let (spool, agent) = Spool::of_an_agent(&host);
        spool.is_in_its_file();
        host.is_followed();
        overfill(&host);
        host.forbid_writing();
        host.make_room();
        host.waits("the collector says read-only", |api| {
            api.get("/readyz").is_ok_and(|(status, why)| status == 503 && why.contains("readonly"))
        });
        pause(Duration::from_secs(2));
        host.allow_writing();
        recovers(&host);
        spool.has_told_everything();
        drop(spool);
        host.ends_well(agent, collector);
    });
}
