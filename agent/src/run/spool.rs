//! The spool this run begins with: what its file holds, or a new one. The disk is no reason not to start.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::causes::causes;
use crate::health::Gauges;
use crate::line::Disk;
use crate::spool::Spool;
use crate::spool::file::{FileError, Opened, SpoolFile};
use crate::spool::writer::{Retry, Writer};

/// How long the disk may take to give the spool. A scan makes good what it would have held, history apart.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a spool in use is waited for: a moment longer than a last save may take, and shorter than [`PATIENCE`].
const ITS_LAST_SAVE: Duration = Duration::from_secs(4);
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Opens the spool in `directory`; without one, or where that fails, it is in memory.
///
/// # Errors
/// The kernel gives no random numbers.
pub(super) async fn open(directory: Option<PathBuf>, gauges: &Arc<Gauges>) -> anyhow::Result<(Spool, Disk)> {
    let draw = getrandom::u64().context("the kernel gives no random numbers")?;
    let Some(directory) = directory else {
        tracing::info!("no --spool: what the collector has not taken yet is lost when this agent ends");
        return Ok((Spool::in_memory(draw), Disk::none(Arc::clone(gauges))));
    };
    let opening = tokio::task::spawn_blocking({
        let place = directory.clone();
        move || in_turn(&place)
    });
    let opened = match tokio::time::timeout(PATIENCE, opening).await {
        Ok(Ok(Ok(opened))) => opened,
        Ok(Ok(Err(error))) => return Ok(without(&directory, draw, error.reason(), causes(&error), gauges)),
        Ok(Err(died)) => return Ok(without(&directory, draw, "io", format!("opening the spool died ({died}): report this"), gauges)),
        Err(_) => {
            let (place, limit) = (directory.display(), PATIENCE.as_secs());
            let detail = format!("the disk took longer than {limit} s to open the spool in {place}: see whether it works");
            return Ok(without(&directory, draw, "io", detail, gauges));
        }
    };
    let Opened { file, image, set_aside } = opened;
    let path = file.path().display().to_string();
    let mut spool = if let Some(image) = image {
        let spool = Spool::restore(image, draw);
        tracing::info!(spool = path, entries = spool.state().len(), unsent = spool.queued(), "the spool goes on where it was");
        spool
    } else {
        tracing::info!(spool = path, "a new spool begins");
        let mut spool = Spool::in_memory(draw);
        spool.keep_in_file();
        spool
    };
    let disk = match Writer::start(directory.clone(), Some(file), Retry::default()) {
        Ok(writer) => Disk::file(&directory, writer, set_aside.as_ref(), Arc::clone(gauges)),
        Err(error) => {
            spool.keep_in_memory();
            Disk::lost(&directory, None, "io", no_thread(&error), Arc::clone(gauges))
        }
    };
    Ok((spool, disk))
}

/// Opens the spool, where the agent before this one may still be at its last save.
#[allow(clippy::disallowed_methods, reason = "a thread of its own, which has nothing else to do")]
fn in_turn(directory: &Path) -> Result<Opened, FileError> {
    let start = Instant::now();
    loop {
        match SpoolFile::open(directory) {
            Err(FileError::InUse { .. }) if start.elapsed() < ITS_LAST_SAVE => std::thread::sleep(ASK_AGAIN),
            opened => return opened,
        }
    }
}

/// A new spool in memory, until there is a file.
fn without(directory: &Path, draw: u64, reason: &str, detail: String, gauges: &Arc<Gauges>) -> (Spool, Disk) {
    let (writer, detail) = match Writer::start(directory.to_owned(), None, Retry::default()) {
        Ok(writer) => (Some(writer), detail),
        Err(error) => (None, no_thread(&error)),
    };
    (Spool::in_memory(draw), Disk::lost(directory, writer, reason, detail, Arc::clone(gauges)))
}

fn no_thread(error: &std::io::Error) -> String {
    format!("the system gives no thread to write the spool ({error}): restart the agent once it does")
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's own thread has nothing else to do")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_spool_that_the_agent_before_still_has_is_waited_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let before = SpoolFile::open(directory.path()).expect("opens");
        let ends = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            drop(before);
        });
        let (_, disk) = open(Some(directory.path().to_owned()), &Arc::default()).await.expect("a spool");
        ends.join().expect("no panic");
        assert!(disk.is_file(), "{disk:?}");
    }
}
