//! The directories of the agent's own: made, and given to the uid it becomes, by root and before any thread starts.
//!
//! Must not know what is written there but for the names by which it knows a directory as an agent's.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, fchown, fchownat};

use crate::identity::{IDENTITY, REQUEST};
use crate::spool::file::FILE_NAME;

/// The uid of the manifests before the agent had one of its own: its directories are taken over from it.
const FORMER_UID: u32 = 65_532;

/// The most files taken over. An agent leaves a handful.
const MAX_FILES: usize = 1024;

/// What failed, and the system's answer.
pub(super) type Failed = (&'static str, io::Error);

/// Makes a directory of the agent's own.
pub(super) fn make(own: &Path, run_as: Option<u32>) -> Result<(), Failed> {
    let failed = |operation| move |source| (operation, source);
    DirBuilder::new().recursive(true).mode(0o700).create(own).map_err(failed("create"))?;
    let Some(uid) = run_as.filter(|_| Uid::effective().is_root()) else { return Ok(()) };
    let owner = std::fs::metadata(own).map_err(failed("look at"))?.uid();
    if owner == uid {
        return Ok(());
    }
    // A directory with something in it is somebody's: naming /tmp by mistake must not take it from everyone.
    if std::fs::read_dir(own).map_err(failed("look into"))?.next().is_some() {
        if owner == FORMER_UID && is_an_agents(own) {
            return take_over(own, uid).map_err(|source| failed("take over")(source.into()));
        }
        return Err(failed("take over")(io::Error::new(io::ErrorKind::DirectoryNotEmpty, "it is not empty and belongs to another user")));
    }
    std::fs::set_permissions(own, Permissions::from_mode(0o700)).map_err(failed("restrict"))?;
    let given = nix::unistd::chown(own, Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)));
    given.map_err(|source| failed("give away")(source.into()))
}

/// Did an agent leave something here: others run as the former uid too, our collector among them.
fn is_an_agents(own: &Path) -> bool {
    [FILE_NAME, IDENTITY, REQUEST].into_iter().any(|name| std::fs::symlink_metadata(own.join(name)).is_ok_and(|status| status.is_file()))
}

/// Gives what the former uid has directly in here to this one, and the directory last, so that half of it is done again. It goes by
/// handles and follows no link: whoever still has the former uid must not have a file elsewhere given away.
fn take_over(own: &Path, uid: u32) -> nix::Result<()> {
    let (user, group) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)));
    let mut directory = Dir::open(own, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let names: Vec<_> =
        directory.iter().take(MAX_FILES).map(|entry| entry.map(|entry| entry.file_name().to_owned())).collect::<Result<_, _>>()?;
    for name in names {
        let file = File::from(openat(&directory, name.as_c_str(), OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?);
        // With another name it may be somebody else's, linked to here.
        if file.metadata().is_ok_and(|status| status.is_file() && status.uid() == FORMER_UID && status.nlink() == 1) {
            fchownat(&file, c"", user, group, AtFlags::AT_EMPTY_PATH)?;
        }
    }
    fchown(&directory, user, group)
}
