//! A child process that is always ended: by the test, or when the test is over.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use holdfast_agent::cli::TROUBLED;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::figures::peak_kib;

/// How long a test waits for what should come at once, on a machine that is busy with everything else: only what never comes takes so
/// long. What has to be fast is measured apart.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// How often it is read again what was not read in time.
const READINGS: usize = 4;

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts `program` with its output in `log`.
    pub fn start(program: &Path, arguments: &[&str], log: &Path) -> Result<Self> {
        Self::start_with(program, arguments, log, &[])
    }

    /// Starts `program` with extra environment and its output in `log`.
    pub fn start_with(program: &Path, arguments: &[&str], log: &Path, environment: &[(&str, &str)]) -> Result<Self> {
        let output = std::fs::File::options().create(true).append(true).open(log).with_context(|| format!("open {}", log.display()))?;
        let mut command = Command::new(program);
        command.args(arguments).envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| format!("start {}", program.display()))?;
        Ok(Self { child, name: program.display().to_string() })
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }

    /// Kills it as a power cut would: SIGKILL.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop (SIGTERM) and waits for it.
    pub fn stop(mut self, within: Duration) -> Result<ExitStatus> {
        kill(self.pid(), Signal::SIGTERM)?;
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("{} did not stop within {within:?} of SIGTERM", self.name);
            }
            pause(Duration::from_millis(20));
        }
    }

    /// Has it ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// Waits in a test's own thread.
#[allow(clippy::disallowed_methods, reason = "a test's own thread has nothing else to do")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Copies a program so that it can be started at once. Another process does it: what this one has open for writing, a child that another
/// test is just starting has open too, and as long as it has, the system starts no such program (`ETXTBSY`).
pub fn copy_program(from: &str, to: &Path) -> Result<()> {
    let (code, _, errors) = output(Path::new("cp"), &["--", from, &to.display().to_string()])?;
    ensure!(code == 0, "cp {from} {}: {errors}", to.display());
    Ok(())
}

/// Runs a program to its end and returns (exit code, standard output, standard error).
pub fn output(program: &Path, arguments: &[&str]) -> Result<(i32, String, String)> {
    let done = Command::new(program).args(arguments).output().with_context(|| format!("run {}", program.display()))?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((done.status.code().unwrap_or(-1), text(done.stdout), text(done.stderr)))
}

/// What `read`, a `scan` or `capture`, ends with once every sensor was done in time: on a busy machine a deadline may pass, and then it
/// reads again.
pub fn in_time(mut read: impl FnMut() -> Result<(i32, String, String)>) -> Result<(i32, String, String)> {
    for _ in 0..READINGS {
        let done = read()?;
        if done.0 != i32::from(TROUBLED) {
            return Ok(done);
        }
    }
    read()
}

/// Runs a program to its end, its output dropped, and returns (exit code, the most memory it had resident in KiB, time).
pub fn measured(program: &Path, arguments: &[&str]) -> Result<(i32, u64, Duration)> {
    let start = Instant::now();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().with_context(|| format!("start {}", program.display()))?;
    let pid = i32::try_from(child.id())?;
    let mut peak = 0;
    loop {
        // The kernel's own high-water mark: what was missed between two looks is in the next.
        peak = peak.max(peak_kib(pid));
        if let Some(status) = child.try_wait()? {
            return Ok((status.code().unwrap_or(-1), peak, start.elapsed()));
        }
        pause(Duration::from_millis(5));
    }
}
