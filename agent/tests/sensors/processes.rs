//! Real processes that are not what they were started as, or not where programs belong.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use holdfast_agent::sensors::Sensors;
use holdfast_checks::facts::{ExePlace, Group, NodeFacts, Placement, Process, Reason};
use nix::unistd::geteuid;

use super::hostile::{Tree, fifo};
use super::{complete, known, options};

const NOBODY: u32 = 65_534;

/// Ends its process when the test does.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let running = Self(command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        // What it was started as, not what starts it.
        let own = fs::read_link("/proc/self/exe").unwrap();
        let until = Instant::now() + Duration::from_mins(1);
        while fs::read_link(format!("/proc/{}/exe", running.0.id())).is_ok_and(|exe| exe == own) {
            assert!(Instant::now() < until);
        }
        running
    }

    fn pid(&self) -> i64 {
        i64::from(self.0.id())
    }

    fn say(&mut self) {
        self.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }
}

fn live() -> Sensors {
    Sensors::open(options(Path::new("/"), Path::new("/proc"))).unwrap()
}

/// Only processes: the first reading of everything takes longer.
fn processes(sensors: &mut Sensors, facts: &mut NodeFacts) {
    sensors.refresh(facts, &BTreeSet::from([Group::Processes]));
}

fn of(facts: &NodeFacts, pid: i64) -> &Process {
    known(&facts.processes).items.iter().find(|process| process.pid == pid).unwrap_or_else(|| panic!("{pid} is not listed"))
}

fn read(pid: i64) -> Process {
    of(&super::read(options(Path::new("/"), Path::new("/proc"))), pid).clone()
}

/// A program in a directory of its own that everybody may enter.
fn install(directory: &Path, mode: u32) -> PathBuf {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    let program = directory.join("program");
    super::copy_program("/bin/sleep", &program);
    fs::set_permissions(&program, fs::Permissions::from_mode(mode)).unwrap();
    program
}

/// Tests share the cgroups above their own.
static MAKING: Mutex<()> = Mutex::new(());

/// A cgroup like a pod's container, in which processes are looked at as those of pods are.
struct Container(PathBuf);

impl Container {
    /// `None` where this user may make none.
    fn new(uid: &str, id: &str) -> Option<Self> {
        ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].iter().find_map(|root| {
            let root = Path::new(root);
            if !root.join("cgroup.procs").exists() || !root.join("cgroup.controllers").exists() {
                return None;
            }
            let _alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
            let path = root.join(format!("kubepods/burstable/pod{uid}/{id}"));
            fs::create_dir_all(&path).ok()?;
            Some(Self(path))
        })
    }

    fn take(&self, running: &Running) {
        fs::write(self.0.join("cgroup.procs"), running.pid().to_string()).unwrap();
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        // Those above may be in use by another test, and stay then.
        for path in self.0.ancestors().take(4) {
            let until = Instant::now() + Duration::from_secs(20);
            while fs::remove_dir(path).is_err_and(|error| error.raw_os_error() == Some(16)) && path == self.0 && Instant::now() < until {}
        }
    }
}

fn uid(last: u32) -> String {
    format!("8c0a2ef1-7b98-45d7-{last:04x}-{:012x}", std::process::id())
}

fn id(last: u32) -> String {
    format!("{last:032x}{:032x}", std::process::id())
}

/// Neither its pid nor its name changes, and it was read before: its next pass must tell.
#[test]
fn a_setuid_program_in_a_container_is_seen_in_the_next_pass() {
    let Some(container) = Container::new(&uid(1), &id(1)).filter(|_| geteuid().is_root()) else { return };
    let directory = tempfile::tempdir().unwrap();
    let program = install(directory.path(), 0o4755);
    let script = format!("read line; exec {} 300", program.display());
    let mut child = Running::start(Command::new("/bin/sh").args(["-c", &script]).uid(NOBODY).gid(NOBODY));
    container.take(&child);
    let mut sensors = live();
    let mut facts = sensors.read_all(&mut |_| {});
    std::thread::sleep(Duration::from_millis(6_500));
    processes(&mut sensors, &mut facts);
    let before = of(&facts, child.pid()).clone();
    assert_eq!((before.placement, &before.pod_uid, &before.container_id), (Placement::Pod, &uid(1), &id(1)));
    assert_eq!((before.uid, before.real_uid, before.cap_effective), (i64::from(NOBODY), i64::from(NOBODY), 0));
    child.say();
    while !fs::read_link(format!("/proc/{}/exe", child.pid())).is_ok_and(|exe| exe == program) {}
    processes(&mut sensors, &mut facts);
    let after = of(&facts, child.pid());
    assert_eq!((after.start_ticks, after.uid, after.real_uid), (before.start_ticks, 0, i64::from(NOBODY)));
    assert_ne!(after.cap_effective, 0);
    assert_eq!(known(&after.exe), &program.display().to_string());
    assert_eq!(after.pod_uid, before.pod_uid);
}

/// Without another program: the one it runs asks for it.
#[test]
fn a_process_of_a_container_that_becomes_root_by_itself_is_seen_in_the_next_pass() {
    let container = Container::new(&uid(2), &id(2));
    let (Some(container), true) = (container, geteuid().is_root() && Path::new("/usr/bin/perl").exists()) else { return };
    let script = "$> = 65534; <STDIN>; $> = 0; <STDIN>; sleep 300";
    let mut child = Running::start(Command::new("/usr/bin/perl").args(["-e", script]));
    container.take(&child);
    let mut sensors = live();
    let mut facts = sensors.read_all(&mut |_| {});
    std::thread::sleep(Duration::from_millis(6_500));
    processes(&mut sensors, &mut facts);
    assert_eq!(of(&facts, child.pid()).uid, i64::from(NOBODY));
    child.say();
    let owner = || fs::read_to_string(format!("/proc/{}/status", child.pid())).unwrap();
    while !owner().contains("Uid:\t0\t0\t") {}
    processes(&mut sensors, &mut facts);
    assert_eq!((of(&facts, child.pid()).uid, of(&facts, child.pid()).real_uid), (0, 0));
}

/// A directory that only its owner may write to, all the way up: a checkout may lie below `/tmp`. `None` where there is no such place.
fn closed_directory() -> Option<tempfile::TempDir> {
    let place = if geteuid().is_root() { Path::new("/var/lib") } else { Path::new(env!("CARGO_TARGET_TMPDIR")) };
    let closed = |path: &Path| fs::metadata(path).is_ok_and(|place| place.permissions().mode() & 0o002 == 0);
    place.ancestors().all(closed).then(|| tempfile::tempdir_in(place).unwrap())
}

#[test]
fn where_a_program_is_says_whether_anybody_could_have_put_it_there() {
    let Some(directory) = closed_directory() else { return };
    let open = directory.path().join("open");
    fs::create_dir(&open).unwrap();
    let ordinary = install(directory.path(), 0o755);
    let (below, gone) = (open.join("below"), directory.path().join("gone"));
    fs::create_dir(&below).unwrap();
    install(&below, 0o755);
    super::copy_program("/bin/sleep", &open.join("program"));
    fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
    super::copy_program("/bin/sleep", &gone);
    let run = |program: &Path| Running::start(Command::new(program).arg("300"));
    let (ordinary, open, below, deleted) = (run(&ordinary), run(&open.join("program")), run(&below.join("program")), run(&gone));
    fs::remove_file(&gone).unwrap();
    let facts = super::read(options(Path::new("/"), Path::new("/proc")));
    let place = |running: &Running| *known(&of(&facts, running.pid()).exe_place);
    assert_eq!(place(&ordinary), ExePlace::Ordinary);
    assert_eq!(place(&open), ExePlace::WorldWritable);
    assert_eq!(place(&below), ExePlace::WorldWritable);
    assert_eq!(place(&deleted), ExePlace::Deleted);
    assert!(known(&of(&facts, deleted.pid()).exe).ends_with("/gone (deleted)"));
}

#[test]
fn a_program_that_was_never_a_file_is_in_memory() {
    let memory = nix::sys::memfd::memfd_create("payload", nix::sys::memfd::MFdFlags::empty()).unwrap();
    let mut file = fs::File::from(memory);
    file.write_all(&fs::read("/bin/sleep").unwrap()).unwrap();
    // Open for writing it cannot be run.
    let again = fs::File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
    nix::fcntl::fcntl(&again, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    drop(file);
    let child = Running::start(Command::new(format!("/proc/self/fd/{}", again.as_raw_fd())).arg0("payload").arg("300"));
    let process = read(child.pid());
    assert_eq!(*known(&process.exe_place), ExePlace::Memory);
    assert_eq!(known(&process.exe), "/memfd:payload (deleted)");
}

/// The same path is another directory in a container.
#[test]
fn a_programs_place_is_judged_in_its_own_root() {
    let Some(directory) = closed_directory() else { return };
    let at = directory.path().display();
    let inside = |mode: &str| {
        let script = format!("mount -t tmpfs -o mode={mode} none {at} && cp /bin/sleep {at}/program && exec {at}/program 300");
        Running::start(Command::new("unshare").args(["--mount", "--", "sh", "-c", &script]))
    };
    let (open, closed) = (inside("1777"), inside("0755"));
    let program = directory.path().join("program");
    for child in [&open, &closed] {
        let until = Instant::now() + Duration::from_mins(1);
        while !fs::read_link(format!("/proc/{}/exe", child.pid())).is_ok_and(|exe| exe == program) {
            // Where that is refused it ended.
            if Instant::now() > until || fs::read_link(format!("/proc/{}/exe", child.pid())).is_err() {
                return;
            }
        }
    }
    let facts = super::read(options(Path::new("/"), Path::new("/proc")));
    assert_eq!(*known(&of(&facts, open.pid()).exe_place), ExePlace::WorldWritable);
    assert_eq!(*known(&of(&facts, closed.pid()).exe_place), ExePlace::Ordinary);
    assert!(!program.exists(), "nothing is there outside");
}

#[test]
fn who_is_in_namespaces_of_its_own_is_known_for_it() {
    let script = "sleep 300 & wait";
    let namespaces = ["--user", "--map-root-user", "--pid", "--fork", "--ipc", "--kill-child", "--", "sh", "-c", script];
    let holder = Running::start(Command::new("unshare").args(namespaces));
    let until = Instant::now() + Duration::from_mins(1);
    let child = |pid: i64| -> Option<i64> {
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?.split_whitespace().next()?.parse().ok()
    };
    let first = loop {
        let first = child(holder.pid());
        if let Some(first) = first.filter(|first| child(*first).is_some()) {
            break first;
        }
        if Instant::now() > until || first.is_none() && fs::read_link(format!("/proc/{}/exe", holder.pid())).is_err() {
            return;
        }
    };
    let process = read(first);
    assert_eq!((process.inside_pid, process.parent), (1, holder.pid()));
    assert_eq!(*known(&process.inside_uid), 0);
    assert!(*known(&process.user_namespace));
    assert_eq!(process.uid, i64::from(geteuid().as_raw()));
    // Of services of the host it is not read, and a test may run as one.
    if process.placement != Placement::Host {
        let shares = known(&process.shares);
        assert_eq!((shares.pid, shares.ipc, shares.uts, shares.mounts), (false, false, true, true));
    }
}

#[test]
fn a_hostile_name_and_megabytes_of_arguments_cost_no_more_than_others() {
    let directory = tempfile::tempdir().unwrap();
    let script = r"printf '\033]0;\377) R (\n\t\0' > /proc/$$/comm; touch $0; read line";
    let ready = directory.path().join("ready");
    // The kernel takes 128 KiB an argument, and 2 MiB in all.
    let argument = "x".repeat(120 * 1024);
    let many = vec![argument.as_str(); 16];
    let child = Running::start(Command::new("sh").args(["-c", script]).arg(&ready).args(many));
    let until = Instant::now() + Duration::from_mins(1);
    while !ready.exists() {
        assert!(Instant::now() < until);
    }
    let started = Instant::now();
    let process = read(child.pid());
    assert!(started.elapsed() < Duration::from_mins(2));
    assert!(process.name.starts_with("\u{1b}]0;\u{fffd}) R ("), "{:?}", process.name);
    assert!(process.name.len() <= 32);
    assert!(process.start_ticks > 0 && process.parent == i64::from(std::process::id()));
}

#[test]
fn processes_that_come_and_go_while_they_are_read_leave_no_gap() {
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                drop(Command::new("true").status());
            }
        });
        let mut sensors = live();
        let mut facts = sensors.read_all(&mut |_| {});
        for _ in 0..100 {
            processes(&mut sensors, &mut facts);
            assert!(known(&facts.processes).skipped.is_empty(), "{:?}", known(&facts.processes).skipped);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn garbage_in_place_of_processes_is_counted_and_named_within_bounds() {
    let tree = Tree::new();
    for pid in 1000..1100 {
        tree.process(pid, "x", "x");
        tree.write(&format!("proc/{pid}/stat"), [0xff, b'(', 0, 7]);
    }
    tree.process(66, "pipe", "x");
    fs::remove_file(tree.path("proc/66/status")).unwrap();
    fifo(&tree.path("proc/66/status"));
    let facts = tree.read();
    let listing = known(&facts.processes);
    assert_eq!(listing.items.len(), 1, "the kubelet");
    assert_eq!(listing.skipped.len(), 65);
    assert_eq!(listing.skipped.last().unwrap().what, "37 processes more");
    assert!(listing.skipped.iter().all(|skipped| skipped.reason == Reason::Malformed));
}

#[test]
fn a_user_who_names_his_cgroup_after_a_container_does_not_become_its_process() {
    let tree = Tree::new();
    let container = "80482ab85e8bbd84bc05126aa36ab4e46ae9ee806de9197c614896296fee9537";
    let names = r#"{"annotations": {"io.kubernetes.cri.sandbox-namespace": "shop", "io.kubernetes.cri.sandbox-name": "web",
        "io.kubernetes.cri.container-type": "sandbox", "io.kubernetes.cri.sandbox-uid": "8c0a2ef1-7b98-45d7-ba20-30e060ff9b58"}}"#;
    tree.write(&format!("host/run/containerd/io.containerd.runtime.v2.task/k8s.io/{container}/config.json"), names);
    tree.process(66, "sh", "sh");
    let session = "0::/user.slice/user-1000.slice/user@1000.service";
    tree.write("proc/66/cgroup", format!("{session}/libpod-{container}.scope\n"));
    tree.process(67, "sh", "sh");
    tree.write("proc/67/cgroup", format!("0::/kubepods/pod8c0a2ef1-7b98-45d7-ba20-30e060ff9b58/{container}\n"));
    let facts = tree.read();
    let of = |pid: i64| complete(&facts.processes).iter().find(|process| process.pid == pid).unwrap();
    assert!(of(66).subject.starts_with("process:user.slice/"), "{}", of(66).subject);
    assert_eq!((of(66).pod_uid.as_str(), of(66).container_id.as_str()), ("", ""));
    assert_eq!(of(67).subject, "pod:shop/web/POD");
}
