//! Stepping down: from whatever the agent was started with to reading and nothing else, before any thread starts.
//!
//! The order matters and is here, in one place: make the spool directory and give it away, keep two capabilities over
//! the change of uid, drop the rest, then close the doors (no new privileges, non-dumpable, file size, seccomp). What a
//! host does not allow is reported by [`self_test`], not assumed. Must not know sensors, sessions or tokio.

mod directory;
mod doors;
mod proof;

use std::io;
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability, CapsHashSet};
use nix::unistd::{Gid, Uid};

use directory::make;

pub use doors::DoorsError;
pub use proof::{Attempt, SelfTest, self_test};

/// The uid that the DaemonSet gives to `--run-as`: one that nobody else has. The files in `/proc/PID` belong to whom the process runs as,
/// so that a taken agent with `SYS_PTRACE` could write the memory of every process of its own uid.
///
/// Debian reserves 65000 to 65533 and systemd leaves 65520 to 65533 unused; it is neither distroless' `nonroot` (65532), as which many
/// pods and our collector run, nor `nobody` (65534).
pub const DEFAULT_UID: u32 = 65_523;

/// Everything the agent keeps: reading processes of other users, and reading files of other users.
const KEPT: [Capability; 2] = [Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH];

/// Why the agent could not give up what it must not keep. It does not run then.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegesError {
    /// The uid could not be changed.
    #[error(
        "cannot {operation} to become uid {uid}: start the agent as root with the capabilities SETUID and SETGID, or leave out --run-as"
    )]
    Identity {
        /// Which step.
        operation: &'static str,
        /// The uid asked for.
        uid: u32,
        /// The kernel's answer.
        #[source]
        source: nix::Error,
    },
    /// `--run-as` needs root.
    #[error("--run-as {uid} needs the agent to be started as root, and it runs as uid {own}: leave out --run-as")]
    NotRoot {
        /// The uid asked for.
        uid: u32,
        /// The uid at hand.
        own: u32,
    },
    /// `--run-as 0` would step down to root.
    #[error("--run-as 0 is root: name an unprivileged uid such as {DEFAULT_UID}, or leave out --run-as")]
    Root,
    /// Capabilities could not be read or dropped.
    #[error("cannot {operation} capabilities")]
    Capabilities {
        /// What failed.
        operation: &'static str,
        /// The library's words.
        #[source]
        source: caps::errors::CapsError,
    },
    /// One of the doors would not close.
    #[error(transparent)]
    Doors(#[from] DoorsError),
}

/// Why there is no spool directory. The agent runs without: its state is kept in memory then.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} the spool directory {path}: make it writable for the user that starts the agent, or name another with --spool")]
pub struct SpoolError {
    /// What failed.
    pub operation: &'static str,
    /// The directory.
    pub path: PathBuf,
    /// The system's answer.
    #[source]
    pub source: io::Error,
}

/// Why there is no directory for the identity. The agent does not run then: it could prove nobody who it is.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} the directory {path}: make it writable for the user that starts the agent, or name another with --identity")]
pub struct IdentityDirectoryError {
    /// What failed.
    pub operation: &'static str,
    /// The directory.
    pub path: PathBuf,
    /// The system's answer.
    #[source]
    pub source: io::Error,
}

/// What stepping down could not do and the agent can do without.
#[derive(Debug, Default)]
pub struct SteppedDown {
    /// No spool directory, and why.
    pub spool: Option<SpoolError>,
}

/// Steps down. Call it once, before any thread starts.
///
/// With `run_as` the agent must be root and becomes that uid. Without it the uid stays, and everything else is given up
/// all the same. `spool` is made (mode 0700) and given to the new uid first, unless it is there and in
/// use by somebody else than an agent of the former uid. `groups` are kept: those
/// of sockets that the agent was allowed to speak to.
///
/// # Errors
/// Anything that could not be given up is an error; what is merely lacking is for [`self_test`] to report.
pub fn step_down(run_as: Option<u32>, spool: Option<&Path>, groups: &[u32]) -> Result<SteppedDown, PrivilegesError> {
    let made = spool
        .and_then(|spool| make(spool, run_as).err().map(|(operation, source)| SpoolError { operation, path: spool.to_owned(), source }));
    if let Some(uid) = run_as {
        if uid == 0 {
            return Err(PrivilegesError::Root);
        }
        let own = Uid::effective();
        if own.as_raw() != uid || Uid::current() != own {
            if !own.is_root() {
                return Err(PrivilegesError::NotRoot { uid, own: own.as_raw() });
            }
            become_uid(uid, groups)?;
        }
    }
    drop_capabilities()?;
    doors::close()?;
    Ok(SteppedDown { spool: made })
}

/// Gives up what a program does not need that reads once, prints and ends. Its uid stays. Call it before any thread starts.
///
/// # Errors
/// What could not be given up.
pub fn step_aside() -> Result<(), PrivilegesError> {
    drop_capabilities()?;
    Ok(doors::close_once()?)
}

/// Is this the `/proc` of a running kernel.
pub fn is_live(proc: &Path) -> bool {
    nix::sys::statfs::statfs(proc).is_ok_and(|at| at.filesystem_type() == nix::sys::statfs::PROC_SUPER_MAGIC)
}

/// Tests this process on the host it is told to read. In a recorded tree nothing can be tried: its own `/proc` stands in.
pub fn self_test_on(host_root: &Path, proc: &Path) -> SelfTest {
    if is_live(proc) { self_test(proc, host_root) } else { self_test(Path::new("/proc"), Path::new("/")) }
}

/// Makes the directory of the identity and gives it to the uid of [`step_down`], as that does with the spool. Before it.
///
/// # Errors
/// What the system does not allow.
pub fn prepare_identity(directory: &Path, run_as: Option<u32>) -> Result<(), IdentityDirectoryError> {
    make(directory, run_as).map_err(|(operation, source)| IdentityDirectoryError { operation, path: directory.to_owned(), source })
}

fn become_uid(uid: u32, groups: &[u32]) -> Result<(), PrivilegesError> {
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
    let failed = |operation| move |source| PrivilegesError::Identity { operation, uid, source };
    nix::sys::prctl::set_keepcaps(true).map_err(failed("keep capabilities"))?;
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    nix::unistd::setgroups(&groups).map_err(failed("leave all groups"))?;
    nix::unistd::setresgid(group, group, group).map_err(failed("change the group"))?;
    nix::unistd::setresuid(user, user, user).map_err(failed("change the user"))?;
    nix::sys::prctl::set_keepcaps(false).map_err(failed("forget the way back"))
}

/// Keeps what is there of [`KEPT`] and nothing else.
fn drop_capabilities() -> Result<(), PrivilegesError> {
    let failed = |operation| move |source| PrivilegesError::Capabilities { operation, source };
    let permitted = caps::read(None, CapSet::Permitted).map_err(failed("read"))?;
    if permitted.contains(&Capability::CAP_SETPCAP) {
        // Needs SETPCAP to be effective, which the change of uid cleared. Without SETPCAP the bounding set stays: with no
        // new privileges nothing can be gained from it.
        caps::set(None, CapSet::Effective, &permitted).map_err(failed("use"))?;
        caps::clear(None, CapSet::Bounding).map_err(failed("drop bounding"))?;
    }
    let kept: CapsHashSet = KEPT.into_iter().filter(|capability| permitted.contains(capability)).collect();
    caps::clear(None, CapSet::Ambient).map_err(failed("drop ambient"))?;
    caps::clear(None, CapSet::Inheritable).map_err(failed("drop inheritable"))?;
    caps::set(None, CapSet::Effective, &kept).map_err(failed("drop effective"))?;
    caps::set(None, CapSet::Permitted, &kept).map_err(failed("drop permitted"))
}
