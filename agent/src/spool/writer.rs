//! The thread that owns the spool's file: a save blocks it on the disk, and nobody else.
//!
//! One save is under way at a time. After a failure the file is opened again, by itself and ever more seldom, until a save succeeds.
//! Must not know what is saved, when, or why.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::mpsc;

use super::Save;
use super::file::{FileError, Opened, SetAside, SpoolFile};

/// How long after a failure the file is opened again.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// After the first.
    pub first: Duration,
    /// At most, after ever more without a save between them; each wait is twice the one before.
    pub most: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { first: Duration::from_secs(5), most: Duration::from_mins(5) }
    }
}

/// What came of the file.
#[derive(Debug)]
pub enum Event {
    /// The save under way is durable.
    Saved,
    /// The save under way is not durable and there is no file. It is tried to open one again until [`Event::Ready`].
    Failed(FileError),
    /// The file that opens only now is from before this process, which has begun without it. Comes before [`Event::Ready`].
    Unread {
        /// History in it. The collector may have some of that already.
        transitions: u64,
    },
    /// There is a file again. What is in it is old: the next save must replace everything.
    Ready {
        /// A file that would not open was moved out of the way.
        set_aside: Option<SetAside>,
    },
    /// The thread died and there will be no file. Told once.
    Died,
}

/// What a writer can do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    Saving,
    Lost,
    Died,
}

/// The file, kept by a thread of its own. Dropped, it ends that thread once the save under way is done.
#[derive(Debug)]
pub struct Writer {
    saves: Option<SyncSender<Save>>,
    events: mpsc::Receiver<Event>,
    stage: Stage,
}

impl Writer {
    /// Starts the thread. Without a `file` it begins by trying to open one in `directory`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(directory: PathBuf, file: Option<SpoolFile>, retry: Retry) -> std::io::Result<Self> {
        let (saves, to_save) = sync_channel(1);
        let (tell, events) = mpsc::channel(2);
        let stage = if file.is_some() { Stage::Idle } else { Stage::Lost };
        std::thread::Builder::new().name("spool".to_owned()).spawn(move || keep(&directory, file, retry, &to_save, &tell))?;
        Ok(Self { saves: Some(saves), events, stage })
    }

    /// A writer whose file is kept elsewhere: `saves` are to be answered with `events`, each before the next is taken. A simulated disk
    /// is behind it as the thread is behind [`Self::start`].
    pub fn elsewhere(saves: SyncSender<Save>, events: mpsc::Receiver<Event>) -> Self {
        Self { saves: Some(saves), events, stage: Stage::Idle }
    }

    /// Can a save be submitted.
    pub fn is_ready(&self) -> bool {
        self.stage == Stage::Idle
    }

    /// Hands over a save; [`Self::next`] tells what came of it.
    ///
    /// # Errors
    /// The save, when another is under way or there is no file.
    pub fn submit(&mut self, save: Save) -> Result<(), Save> {
        let Some(saves) = self.saves.as_ref().filter(|_| self.stage == Stage::Idle) else { return Err(save) };
        match saves.try_send(save) {
            Ok(()) => {
                self.stage = Stage::Saving;
                Ok(())
            }
            Err(std::sync::mpsc::TrySendError::Full(save) | std::sync::mpsc::TrySendError::Disconnected(save)) => Err(save),
        }
    }

    /// The next event. Loses nothing when it is dropped before it is done; pending while nothing happens.
    pub async fn next(&mut self) -> Event {
        if self.stage == Stage::Died {
            return std::future::pending().await;
        }
        let event = self.events.recv().await.unwrap_or(Event::Died);
        self.stage = match &event {
            Event::Saved | Event::Ready { .. } => Stage::Idle,
            Event::Failed(_) | Event::Unread { .. } => Stage::Lost,
            Event::Died => Stage::Died,
        };
        event
    }

    /// Makes `last` durable, where there is a file, and closes it, within `within` altogether.
    ///
    /// A save under way must have been told by [`Self::next`] before, or `last` is not taken. `None` only closes.
    ///
    /// # Errors
    /// Why the last save is not known to be durable.
    pub async fn finish(mut self, last: Option<Save>, within: Duration) -> Result<(), Unfinished> {
        let saving = match last {
            None => false,
            Some(last) => {
                self.submit(last).map_err(|_| Unfinished::NoFile)?;
                true
            }
        };
        let closing = async {
            let outcome = if saving { Some(self.next().await) } else { None };
            self.saves = None;
            // The thread's end is the end of its events.
            while self.events.recv().await.is_some() {}
            outcome
        };
        match tokio::time::timeout(within, closing).await {
            Err(_) => Err(Unfinished::Slow { within }),
            Ok(None | Some(Event::Saved)) => Ok(()),
            Ok(Some(Event::Failed(error))) => Err(Unfinished::Failed(error)),
            Ok(Some(Event::Ready { .. } | Event::Unread { .. } | Event::Died)) => Err(Unfinished::NoFile),
        }
    }
}

/// Why a last save is not known to be durable.
#[derive(Debug, thiserror::Error)]
pub enum Unfinished {
    /// There is no file, or a save is under way still.
    #[error("the spool's last changes are not kept: there is no file to keep them in. After the start the collector gets them anew")]
    NoFile,
    /// The disk took too long.
    #[error("the spool's last changes may not be kept: the disk took longer than {} s", within.as_secs_f32())]
    Slow {
        /// How long was waited.
        within: Duration,
    },
    /// The save failed.
    #[error("the spool's last changes are not kept")]
    Failed(#[source] FileError),
}

/// The thread's work: until nobody submits any more, or nobody listens.
fn keep(directory: &std::path::Path, file: Option<SpoolFile>, retry: Retry, saves: &Receiver<Save>, tell: &mpsc::Sender<Event>) {
    let (mut file, mut wait) = (file, retry.first);
    let mut read = file.is_some();
    loop {
        let event = if let Some(mut open) = file.take() {
            let Ok(save) = saves.recv() else { return };
            match open.write(&save) {
                Ok(()) => {
                    wait = retry.first;
                    file = Some(open);
                    Event::Saved
                }
                Err(error) => {
                    drop(open);
                    Event::Failed(error)
                }
            }
        } else {
            if saves.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
            wait = wait.saturating_mul(2).min(retry.most);
            match SpoolFile::open(directory) {
                Ok(Opened { file: opened, image, set_aside }) => {
                    let left = image.filter(|_| !read).map_or(0, |image| image.transitions.len());
                    (file, read) = (Some(opened), true);
                    if left > 0 && tell.blocking_send(Event::Unread { transitions: u64::try_from(left).unwrap_or(u64::MAX) }).is_err() {
                        return;
                    }
                    Event::Ready { set_aside }
                }
                Err(error) => {
                    tracing::debug!(%error, retry_s = wait.as_secs_f32(), "the spool is still in memory only");
                    continue;
                }
            }
        };
        if tell.blocking_send(event).is_err() {
            return;
        }
    }
}
