//! A host of a test's own: a network, a process table and a `/proc` that nobody else is in.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process::{PATIENCE, Process, output, pause};

/// New network, pid and mount namespaces, held by a process that sleeps. Everything in them ends with it.
#[derive(Debug)]
pub struct Namespace {
    holder: Process,
    /// The pid, seen from here, of the process that is 1 inside.
    first: i32,
}

impl Namespace {
    /// Makes one with the loopback interface up. Needs root and the programs `unshare`, `nsenter` and `ip`.
    pub fn new(log: &Path) -> Result<Self> {
        // The first process of a machine is called so, which is how an agent tells it from a container.
        let init = log.with_file_name("init");
        if !init.exists() {
            std::os::unix::fs::symlink("/bin/sleep", &init).context("name a program init")?;
        }
        let inside = format!("ip link set lo up && exec {} 86400", init.display());
        let arguments = ["--net", "--pid", "--fork", "--mount-proc", "--kill-child", "--", "sh", "-c", &inside];
        let holder = Process::start(Path::new("unshare"), &arguments, log)?;
        let started = Instant::now();
        loop {
            // The one child of `unshare`, as soon as it has become init: then the interface is up.
            let children = format!("/proc/{0}/task/{0}/children", holder.pid());
            let first = std::fs::read(children).ok().and_then(|text| String::from_utf8_lossy(&text).trim().parse().ok());
            if let Some(first) = first
                && std::fs::read(format!("/proc/{first}/comm")).is_ok_and(|name| name.starts_with(b"init"))
            {
                return Ok(Self { holder, first });
            }
            if started.elapsed() > PATIENCE {
                bail!("no namespaces within {PATIENCE:?}: {}", String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()));
            }
            pause(Duration::from_millis(10));
        }
    }

    /// Starts a program inside.
    pub fn start(&self, program: &str, arguments: &[&str], log: &Path, environment: &[(&str, &str)]) -> Result<Process> {
        let target = self.first.to_string();
        let mut all = vec!["--target", &target, "--net", "--pid", "--mount", "--", program];
        all.extend(arguments);
        Process::start_with(Path::new("nsenter"), &all, log, environment)
    }

    /// The pids, seen from outside, of what [`Self::start`] started.
    pub fn children(&self, process: &Process) -> Result<Vec<i32>> {
        let children = std::fs::read(format!("/proc/{0}/task/{0}/children", process.pid())).context("list the children of nsenter")?;
        String::from_utf8_lossy(&children).split_whitespace().map(|child| Ok(child.parse()?)).collect()
    }

    /// Kills what [`Self::start`] started: `nsenter` is only its parent, or about to become it.
    pub fn kill(&self, process: Process) -> Result<()> {
        // Held still: what it has not started by now is never started.
        kill(process.pid(), Signal::SIGSTOP)?;
        until("nsenter is held still", || matches!(state(process.pid()), Some('T' | 'Z')))?;
        let children = self.children(&process)?;
        for child in &children {
            kill(Pid::from_raw(*child), Signal::SIGKILL)?;
        }
        // Whoever starts it again at once finds its files and sockets free.
        let gone = |child: &i32| matches!(state(Pid::from_raw(*child)), None | Some('Z'));
        until("what was killed has ended", || children.iter().all(gone))?;
        process.kill()
    }

    /// Runs a program inside to its end.
    pub fn output(&self, program: &str, arguments: &[&str]) -> Result<(i32, String, String)> {
        let target = self.first.to_string();
        let mut all = vec!["--target", &target, "--net", "--pid", "--mount", "--", program];
        all.extend(arguments);
        output(Path::new("nsenter"), &all)
    }

    /// Moves the calling thread, and what it starts from now on, into the network.
    pub fn enter_network(&self) -> Result<()> {
        let network = File::open(format!("/proc/{}/ns/net", self.first)).context("open the network namespace")?;
        setns(network, CloneFlags::CLONE_NEWNET).context("enter the network namespace")
    }

    /// The pid, seen from outside, of the process that is 1 inside.
    pub fn first(&self) -> i32 {
        self.first
    }

    /// Is it still there.
    pub fn alive(&mut self) -> Result<bool> {
        Ok(self.holder.ended()?.is_none())
    }
}

impl Drop for Namespace {
    /// Nothing runs in it any more: whoever comes next has the ports, files and names of programs to itself.
    fn drop(&mut self) {
        // As long as `unshare` waits for it, the pid is that of its child; it ends when that has, and all that ran beside it.
        if let Ok(None) = self.holder.ended() {
            kill(Pid::from_raw(self.first), Signal::SIGKILL).ok();
            drop(until("the namespaces have ended", || !matches!(self.holder.ended(), Ok(None))));
        }
    }
}

/// A process's state as the kernel names it: `T` is held still, `Z` has ended and nobody was told; `None` when it is gone.
fn state(pid: Pid) -> Option<char> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    String::from_utf8_lossy(&stat).rsplit(") ").next()?.chars().next()
}

fn until(what: &str, mut done: impl FnMut() -> bool) -> Result<()> {
    let started = Instant::now();
    while !done() {
        if started.elapsed() > PATIENCE {
            bail!("not within {PATIENCE:?}: {what}");
        }
        pause(Duration::from_millis(1));
    }
    Ok(())
}
