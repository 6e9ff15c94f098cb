//! Change detection on this machine: what changes is told once, as the right groups, and in time.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail, and waits")]

use std::collections::BTreeSet;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_agent::watch::{Listening, Pending, Touched, Transport, Wanted, Watch, WatchOptions, touched_by_sockets};
use holdfast_checks::facts::{Group, Reason};

/// A watch on a directory, on a thread that ends with it.
struct Watching {
    pending: Arc<Pending>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watching {
    /// `proc` is a directory of the test's own, so that this machine's processes do not interfere.
    fn start(proc: &Path, watched: Vec<(PathBuf, BTreeSet<Group>)>, recorded: bool, full_pass: Duration) -> Self {
        let pending = Arc::new(Pending::default());
        pending.set_watched(watched);
        let options = WatchOptions { proc: proc.to_owned(), recorded, full_pass };
        let of_thread = Arc::clone(&pending);
        let watch = Watch::open(options, &pending);
        let thread = std::thread::spawn(move || watch.run(&of_thread));
        std::thread::sleep(LOOKED);
        Self { pending, thread: Some(thread) }
    }

    /// Is `group` asked for, however busy this machine is.
    fn asks_for(&self, group: Group) -> bool {
        self.asks_within(PATIENCE, group)
    }

    fn asks_within(&self, time: Duration, group: Group) -> bool {
        let until = Instant::now() + time;
        loop {
            if self.pending.take_until(Some(until)).expect("it is not closed").includes(group) {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
        }
    }

    /// Waits until all that was done before has been told.
    fn settles(&self, group: Group) {
        while self.asks_within(Duration::from_millis(500), group) {}
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.pending.close();
        self.thread.take().expect("it was started").join().expect("it does not panic");
    }
}

const LONG: Duration = Duration::from_hours(1);
/// What is looked at every second, or more often, has been looked at, also on a busy machine.
const LOOKED: Duration = Duration::from_secs(3);
/// Only what never comes takes so long.
const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn a_file_written_renamed_or_whose_mode_changes_is_seen() {
    let (proc, etc) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let watching = Watching::start(proc.path(), vec![(etc.path().to_owned(), [Group::Files].into())], false, LONG);
    assert!(watching.asks_for(Group::Files), "it may have changed before it was watched");
    let file = etc.path().join("config.yaml");
    std::fs::write(&file, "a").unwrap();
    assert!(watching.asks_for(Group::Files), "written");
    std::fs::write(etc.path().join("new"), "b").unwrap();
    assert!(watching.asks_for(Group::Files), "another written");
    std::fs::rename(etc.path().join("new"), &file).unwrap();
    assert!(watching.asks_for(Group::Files), "renamed over");
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert!(watching.asks_for(Group::Files), "its mode");
}

#[test]
fn a_port_that_opens_or_closes_is_seen() {
    let proc = tempfile::tempdir().unwrap();
    let watching = Watching::start(proc.path(), Vec::new(), false, LONG);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    assert!(watching.asks_for(Group::Listeners), "opened");
    // What was seen may have been another test's port.
    std::thread::sleep(LOOKED);
    drop(listener);
    assert!(watching.asks_for(Group::Listeners), "closed");
    assert!(touched_by_sockets().contains(&Group::Probes));
}

#[test]
fn a_process_that_starts_is_seen() {
    let proc = tempfile::tempdir().unwrap();
    let watching = Watching::start(proc.path(), Vec::new(), false, LONG);
    std::fs::create_dir(proc.path().join("4711")).unwrap();
    assert!(watching.asks_for(Group::Processes));
}

/// It is judged only once it has settled, so somebody has to look again then.
#[test]
fn a_new_process_is_looked_at_again_until_it_is_old_enough_to_be_judged() {
    let proc = tempfile::tempdir().unwrap();
    let watching = Watching::start(proc.path(), Vec::new(), false, LONG);
    let started = Instant::now();
    std::fs::create_dir(proc.path().join("4711")).unwrap();
    while started.elapsed() < Duration::from_secs(3) {
        assert!(watching.asks_for(Group::Processes), "after {:?}", started.elapsed());
    }
}

/// Settled: what is judged is never what `true` does in between.
#[test]
fn a_process_of_this_machine_is_told_by_the_kernel_or_seen_in_the_listing() {
    let watching = Watching::start(Path::new("/proc"), Vec::new(), false, LONG);
    let told = watching.pending.take_process_events().expect("it says how");
    if let Some(why) = told.unavailable() {
        assert!(matches!(why.reason, Reason::PermissionDenied | Reason::NotSupported), "{why:?}");
        assert!(why.detail.ends_with("; the agent looks every second instead"), "{why:?}");
    }
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    assert!(watching.asks_for(Group::Processes));
    if told.value().is_some() {
        let is_told = |pid: i64| {
            let started = Instant::now();
            while started.elapsed() < PATIENCE {
                match watching.pending.take_touched() {
                    Touched::All => return true,
                    Touched::Processes(pids) if pids.contains(&pid) => return true,
                    Touched::Processes(_) => std::thread::sleep(Duration::from_millis(20)),
                }
            }
            false
        };
        let pid = i64::from(child.id());
        std::thread::sleep(Duration::from_millis(1_500));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_told(pid), "that it ended, by name");
    } else {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn a_tree_that_is_not_this_machines_is_listed() {
    let proc = tempfile::tempdir().unwrap();
    let watching = Watching::start(proc.path(), Vec::new(), false, LONG);
    let told = watching.pending.take_process_events().expect("it says how");
    assert_eq!(told.unavailable().map(|why| why.reason), Some(Reason::NotSupported));
}

#[test]
fn a_recorded_tree_is_read_whole_on_its_timer_only() {
    let proc = tempfile::tempdir().unwrap();
    let watching = Watching::start(proc.path(), Vec::new(), true, Duration::from_millis(500));
    assert_eq!(watching.pending.take(), Some(Wanted::All));
}

#[test]
fn both_ways_to_see_listening_sockets_notice_a_new_one() {
    for mut listening in [Listening::open(Path::new("/proc")).expect("netlink"), Listening::of_proc(Path::new("/proc"))] {
        let before = listening.sample(Transport::Tcp).unwrap();
        let listener = TcpListener::bind("[::1]:0").or_else(|_| TcpListener::bind("127.0.0.1:0")).unwrap();
        assert_ne!(listening.sample(Transport::Tcp).unwrap(), before, "{listening:?}");
        drop(listener);
    }
}

#[test]
fn a_directory_that_is_removed_and_comes_back_is_still_watched() {
    let (proc, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let directory = root.path().join("etc/kubernetes/manifests");
    let watched = vec![(directory.clone(), BTreeSet::from([Group::Files]))];
    let watching = Watching::start(proc.path(), watched.clone(), false, LONG);
    for round in 0..2 {
        std::fs::create_dir_all(&directory).unwrap();
        assert!(watching.asks_for(Group::Files), "round {round}: it comes");
        // As the agent does after each reading.
        watching.pending.set_watched(watched.clone());
        std::thread::sleep(Duration::from_millis(300));
        assert!(watching.asks_for(Group::Files), "round {round}: it may have changed before it was watched");
        std::fs::write(directory.join("etcd.yaml"), "a").unwrap();
        assert!(watching.asks_for(Group::Files), "round {round}: a file in it");
        std::fs::remove_dir_all(root.path().join("etc")).unwrap();
        assert!(watching.asks_for(Group::Files), "round {round}: it goes");
        watching.pending.set_watched(watched.clone());
        std::thread::sleep(Duration::from_millis(300));
    }
}

#[test]
fn a_directory_that_is_a_link_to_another_is_followed_when_the_link_is_swapped() {
    let (proc, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = |name: &str| root.path().join(name);
    std::fs::create_dir(path("one")).unwrap();
    std::fs::create_dir(path("two")).unwrap();
    std::os::unix::fs::symlink("one", path("config")).unwrap();
    let watching = Watching::start(proc.path(), vec![(path("config"), [Group::Kubelets].into())], false, LONG);
    assert!(watching.asks_for(Group::Kubelets), "it may have changed before it was watched");
    std::os::unix::fs::symlink("two", path("next")).unwrap();
    std::fs::rename(path("next"), path("config")).unwrap();
    assert!(watching.asks_for(Group::Kubelets), "swapped");
}

#[test]
fn a_file_beside_a_watched_directory_touches_nothing() {
    let (proc, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let directory = root.path().join("kubernetes");
    std::fs::create_dir(&directory).unwrap();
    let watching = Watching::start(proc.path(), vec![(directory, [Group::Files].into())], false, LONG);
    assert!(watching.asks_for(Group::Files), "it may have changed before it was watched");
    watching.settles(Group::Files);
    std::fs::write(root.path().join("other"), "a").unwrap();
    assert!(!watching.asks_within(Duration::from_millis(500), Group::Files));
}

/// A UDP socket at a port that is nobody's and was asked for.
fn asked_for() -> UdpSocket {
    (20_000..20_100).find_map(|port| UdpSocket::bind(("127.0.0.1", port)).ok()).expect("one of a hundred ports is free")
}

#[test]
fn a_udp_port_that_opens_is_seen_before_the_next_full_pass() {
    let proc = tempfile::tempdir().unwrap();
    let watching = Watching::start(proc.path(), Vec::new(), false, LONG);
    let socket = asked_for();
    assert!(watching.asks_for(Group::Listeners), "opened");
    std::thread::sleep(LOOKED);
    drop(socket);
    assert!(watching.asks_for(Group::Listeners), "closed");
}

#[test]
fn udp_sockets_of_clients_make_no_work() {
    for mut listening in [Listening::open(Path::new("/proc")).expect("netlink"), Listening::of_proc(Path::new("/proc"))] {
        // Other tests open sockets at the same time: one undisturbed moment is enough.
        let mut unmoved = || {
            let before = listening.sample(Transport::Udp).unwrap();
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            let after = listening.sample(Transport::Udp).unwrap();
            drop(client);
            before == after
        };
        assert!((0..100).any(|_| unmoved()));
    }
}

#[test]
fn a_file_can_be_watched_by_name_while_its_directory_is_busy() {
    let (proc, run) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let watching = Watching::start(proc.path(), vec![(run.path().join("reboot-required"), [Group::Kernel].into())], false, LONG);
    watching.settles(Group::Kernel);
    std::fs::write(run.path().join("reboot-required"), "").unwrap();
    assert!(watching.asks_for(Group::Kernel), "it comes");
    watching.settles(Group::Kernel);
    std::fs::remove_file(run.path().join("reboot-required")).unwrap();
    assert!(watching.asks_for(Group::Kernel), "it goes");
    watching.settles(Group::Kernel);
    std::fs::write(run.path().join("xtables.lock"), "").unwrap();
    assert!(!watching.asks_within(Duration::from_millis(500), Group::Kernel), "another");
}
