//! The sensors on the host the test runs on.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use holdfast_agent::sensors::Sensors;
use holdfast_checks::facts::{BindScope, Group, Kubelet, Listener, NodeFacts, Observed, Reason};

use super::{known, options, read};

fn live() -> super::SensorOptions {
    options(Path::new("/"), Path::new("/proc"))
}

fn on_port(facts: &NodeFacts, port: u16) -> Option<&Listener> {
    known(&facts.listeners).items.iter().find(|listener| listener.protocol == "tcp" && listener.port == i64::from(port))
}

#[test]
fn a_listener_is_seen_with_its_owner_and_goes_when_it_closes() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let mut sensors = Sensors::open(live()).unwrap();
    let mut facts = sensors.read_all(&mut |_| {});
    let listener = on_port(&facts, port).unwrap();
    assert_eq!((listener.scope, listener.address.as_str()), (BindScope::Loopback, "127.0.0.1"));
    let owner = known(&listener.owner);
    assert_eq!(owner.pid, i64::from(std::process::id()));
    assert_eq!(Path::new(&owner.exe), std::env::current_exe().unwrap());

    let again = TcpListener::bind("127.0.0.1:0").unwrap();
    let second = again.local_addr().unwrap().port();
    drop(socket);
    sensors.refresh(&mut facts, &BTreeSet::from([Group::Listeners]));
    let until = Instant::now() + Duration::from_mins(1);
    while on_port(&facts, port).is_some() {
        // What another test is just starting may have it open for a moment yet.
        assert!(Instant::now() < until, "closed");
        sensors.refresh(&mut facts, &BTreeSet::from([Group::Listeners]));
    }
    assert_eq!(known(&on_port(&facts, second).unwrap().owner).pid, i64::from(std::process::id()));
}

#[test]
fn this_host_has_a_kernel_processes_and_no_kubernetes_to_judge() {
    let facts = read(live());
    let release = nix::sys::utsname::uname().unwrap().release().to_string_lossy().into_owned();
    assert_eq!(known(&facts.kernel).release, release);
    assert!(*known(&known(&facts.kernel).boot_time) > 1_500_000_000);
    let own = known(&facts.processes).items.iter().find(|process| process.pid == i64::from(std::process::id())).unwrap();
    assert_eq!(own.uid, i64::from(nix::unistd::geteuid().as_raw()));
    assert!(known(&facts.processes).items.iter().all(|process| process.name != "kthreadd"), "kernel threads are left out");
}

#[test]
fn a_process_that_execs_is_read_again() {
    let mut child = start(Command::new("sh").args(["-c", "read line; exec sleep 60"]).stdin(Stdio::piped()));
    let pid = i64::from(child.0.id());
    let mut sensors = Sensors::open(live()).unwrap();
    let mut facts = sensors.read_all(&mut |_| {});
    let name =
        |facts: &NodeFacts| known(&facts.processes).items.iter().find(|process| process.pid == pid).map(|process| process.name.clone());
    assert_eq!(name(&facts).as_deref(), Some("sh"));
    drop(child.0.stdin.take());
    let until = Instant::now() + Duration::from_mins(1);
    while name(&facts).as_deref() != Some("sleep") {
        assert!(Instant::now() < until, "{:?}", name(&facts));
        sensors.refresh(&mut facts, &BTreeSet::from([Group::Processes]));
    }
}

#[test]
fn root_in_a_user_namespace_of_its_own_is_told_from_root() {
    let child = start(Command::new("unshare").args(["--user", "--map-root-user", "sleep", "60"]));
    let pid = i64::from(child.0.id());
    let until = Instant::now() + Duration::from_mins(1);
    loop {
        let facts = read(live());
        let process = known(&facts.processes).items.iter().find(|process| process.pid == pid);
        match process {
            Some(process) if process.name == "sleep" => {
                assert!(*known(&process.user_namespace));
                assert_eq!(*known(&process.inside_uid), 0);
                return;
            }
            // Where unshare is refused it ended, and there is nothing to tell apart.
            None => return,
            Some(_) => assert!(Instant::now() < until),
        }
    }
}

/// Ends its process when the test does.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn start(command: &mut Command) -> Running {
    Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

#[test]
fn a_socket_opened_by_a_process_that_was_searched_before_finds_its_owner() {
    let mut sensors = Sensors::open(live()).unwrap();
    let mut facts = sensors.read_all(&mut |_| {});
    for _ in 0..3 {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        sensors.refresh(&mut facts, &BTreeSet::from([Group::Listeners]));
        assert_eq!(known(&on_port(&facts, port).unwrap().owner).pid, i64::from(std::process::id()));
    }
}

#[test]
fn a_socket_whose_process_ended_belongs_to_who_still_holds_it() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let holder = || {
        let copy = std::os::fd::OwnedFd::from(socket.try_clone().unwrap());
        start(Command::new("sleep").arg("300").stdin(Stdio::from(copy)))
    };
    let (first, second) = (holder(), holder());
    drop(socket);
    let mut sensors = Sensors::open(live()).unwrap();
    let mut facts = sensors.read_all(&mut |_| {});
    let owner = |facts: &NodeFacts| known(&on_port(facts, port).unwrap().owner).pid;
    assert_eq!(owner(&facts), i64::from(first.0.id()));
    drop(first);
    let read = sensors.refresh(&mut facts, &BTreeSet::from([Group::Processes]));
    assert!(read.contains(&Group::Listeners), "its judge must know that owners were read again");
    assert_eq!(owner(&facts), i64::from(second.0.id()));
}

#[test]
fn a_running_kubelet_is_read_through_its_own_root() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("kubelet.yaml");
    std::fs::write(&config, "readOnlyPort: 10255\n").unwrap();
    let flag = format!("--config={}", config.display());
    let waits = ["-c", "read line", &flag, "--token=geheim"];
    let child = start(Command::new("sh").arg0("kubelet").args(waits).stdin(Stdio::piped()));
    let facts = read(live());
    let kubelet = known(&facts.kubelets).items.iter().find(|kubelet| kubelet.pid == i64::from(child.0.id())).unwrap();
    let document = &known(&kubelet.documents).items[0];
    assert_eq!(known(&document.content)["readOnlyPort"], 10255);
    assert!(kubelet.argv.contains(&"--token=(redacted)".to_owned()), "{:?}", kubelet.argv);
    let file = known(&facts.files).items.iter().find(|file| Path::new(&file.path) == config).unwrap();
    assert_eq!((file.role.as_str(), file.uid), ("kubelet_config", i64::from(nix::unistd::geteuid().as_raw())));
    let mut sensors = Sensors::open(live()).unwrap();
    let watched = sensors.watched(&facts).unwrap();
    assert!(watched.iter().any(|(path, groups)| path == directory.path() && groups.contains(&Group::Kubelets)), "{watched:?}");
    drop(child);
    let mut facts = facts;
    sensors.refresh(&mut facts, &BTreeSet::from([Group::Kubelets]));
    assert!(known(&facts.kubelets).items.iter().all(|kubelet| !kubelet.argv.contains(&flag)), "it ended");
}

/// A shell that is called kubelet and waits.
fn stand_in(directory: &Path) -> String {
    let program = directory.join("kubelet");
    std::os::unix::fs::symlink("/bin/sh", &program).unwrap();
    program.display().to_string()
}

fn kubelet(facts: &NodeFacts, pid: i64) -> Option<&Kubelet> {
    known(&facts.kubelets).items.iter().find(|kubelet| kubelet.pid == pid)
}

/// In a process table of its own, whose first process this user may look at, as an agent may on a node.
#[test]
fn a_kubelet_in_namespaces_of_its_own_is_not_the_nodes_and_is_read_in_them() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("kubelet.yaml");
    std::fs::write(&config, "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nreadOnlyPort: 10255\n").unwrap();
    let program = stand_in(directory.path());
    let flag = format!("--config={}", config.display());
    let inside = format!("unshare --net --mount -- {program} -c 'sleep 300; :' {flag} & exec sleep 300");
    let holder = start(Command::new("unshare").args(["--pid", "--fork", "--mount-proc", "--kill-child", "--", "sh", "-c", &inside]));
    let pid = holder.0.id();
    let until = Instant::now() + Duration::from_mins(1);
    loop {
        assert!(Instant::now() < until, "it did not start");
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        // Where unshare is refused it ended, and there is nothing to tell apart.
        let Ok(children) = children else { return };
        if std::fs::read_to_string(format!("/proc/{pid}/comm")).is_err() || ended(pid) {
            return;
        }
        let Some(first) = children.split_whitespace().next() else { continue };
        let proc = format!("/proc/{first}/root/proc");
        // Before it has a process table of its own, this is still ours.
        if !std::fs::read_to_string(format!("{proc}/1/comm")).is_ok_and(|name| name == "sleep\n") {
            continue;
        }
        let Ok(mut sensors) = Sensors::open(options(Path::new("/"), Path::new(&proc))) else { continue };
        let facts = sensors.read_all(&mut |_| {});
        let found = facts.kubelets.value().and_then(|listing| listing.items.iter().find(|kubelet| kubelet.argv.contains(&flag)));
        // For a moment the process is still `unshare` in part: in the namespaces it came from.
        let Some(kubelet) = found.filter(|kubelet| kubelet.host_mounts.value() != Some(&true)) else { continue };
        assert!(kubelet.subject.starts_with("kubelet:"), "{}", kubelet.subject);
        assert_eq!((*known(&kubelet.host_network), *known(&kubelet.host_mounts)), (false, false));
        assert_eq!(known(&known(&kubelet.documents).items[0].content)["readOnlyPort"], 10255);
        assert!(known(&kubelet.listeners).items.is_empty(), "nothing listens there");
        assert!(!known(&kubelet.executable).replaced);
        let seen = format!("/{}/root{}", kubelet.pid, directory.path().display());
        let watched = sensors.watched(&facts).unwrap();
        // Whoever is root there could make looking at a path hang, and with it the watching of the node's own files.
        assert!(!watched.iter().any(|(path, _)| path.to_string_lossy().ends_with(&seen)), "{watched:?}");
        return;
    }
}

fn ended(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')))
}

/// Opening a device can do something: a watchdog's starts it.
#[test]
fn a_device_in_place_of_a_configuration_is_not_opened() {
    let directory = tempfile::tempdir().unwrap();
    let child = start(Command::new(stand_in(directory.path())).args(["-c", "read line", "--config=/dev/zero"]).stdin(Stdio::piped()));
    let facts = Sensors::open(live()).unwrap().read_all(&mut |_| {});
    let document = &known(&kubelet(&facts, i64::from(child.0.id())).unwrap().documents).items[0];
    let why = document.content.unavailable().unwrap();
    assert_eq!((why.reason, why.detail.as_str()), (Reason::Malformed, "/dev/zero: a device, not a file"));
}

#[test]
fn a_program_that_was_replaced_or_removed_while_it_runs_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("kubelet");
    let install = |name: &str| {
        let path = directory.path().join(name);
        super::copy_program("/bin/sleep", &path);
        path
    };
    install("kubelet");
    let child = start(Command::new(&program).arg("300"));
    let mut sensors = Sensors::open(live()).unwrap();
    let mut facts = sensors.read_all(&mut |_| {});
    let mut replaced = || {
        sensors.refresh(&mut facts, &BTreeSet::from([Group::Kubelets]));
        let kubelet = kubelet(&facts, i64::from(child.0.id())).unwrap();
        assert_eq!(kubelet.version.unavailable().unwrap().reason, Reason::NotSupported, "sleep is no Go program");
        let executable = known(&kubelet.executable);
        assert_eq!(Path::new(&executable.path), program);
        executable.replaced
    };
    assert!(!replaced());
    std::fs::rename(install("new"), &program).unwrap();
    assert!(replaced());
    std::fs::remove_file(&program).unwrap();
    assert!(replaced());
}

#[test]
fn a_configuration_that_never_holds_still_is_unknown_and_one_that_is_replaced_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("kubelet.yaml");
    let whole = |size: usize| {
        format!("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n{}end: true\n", "# padding\n".repeat(size))
    };
    std::fs::write(&config, whole(1)).unwrap();
    let flag = format!("--config={}", config.display());
    let child = start(Command::new(stand_in(directory.path())).args(["-c", "read line", &flag]).stdin(Stdio::piped()));
    let mut sensors = Sensors::open(live()).unwrap();
    let mut facts = sensors.read_all(&mut |_| {});
    let mut content = || {
        sensors.refresh(&mut facts, &BTreeSet::from([Group::Kubelets]));
        known(&kubelet(&facts, i64::from(child.0.id())).unwrap().documents).items[0].content.clone()
    };
    assert_eq!(known(&content())["end"], true);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let next = directory.path().join("next");
            for round in 0.. {
                std::fs::write(&next, whole(round % 5_000)).unwrap();
                std::fs::rename(&next, &config).unwrap();
                if stop.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        for _ in 0..50 {
            match content() {
                Observed::Known { value, .. } => assert_eq!(value["end"], true),
                Observed::Unavailable(why) => assert_eq!(why.reason, Reason::Malformed, "{}", why.detail),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    stop.store(false, Ordering::Relaxed);
    std::fs::write(&config, whole(50_000)).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = std::fs::OpenOptions::new().write(true).open(&config).unwrap();
            for round in 0u64.. {
                std::os::unix::fs::FileExt::write_at(&file, b"#", 40 + round % 400_000 / 10 * 10).unwrap();
                if stop.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let until = Instant::now() + Duration::from_mins(1);
        let why = loop {
            assert!(Instant::now() < until, "it was never seen to change");
            if let Observed::Unavailable(why) = content() {
                break why;
            }
        };
        stop.store(true, Ordering::Relaxed);
        assert_eq!(why.reason, Reason::Malformed);
        assert!(why.detail.ends_with("kubelet.yaml: changed while it was read"), "{}", why.detail);
    });
    assert!(known(&content()).is_object(), "when it is left alone it is known again");
}
