//! An agent's disk under simulation: saves take simulated time, fail, or never come to an end; what is on it outlives the agent.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use holdfast_agent::spool::file::FileError;
use holdfast_agent::spool::writer::{Event, Writer};
use holdfast_agent::spool::{Image, Save};
use tokio::sync::mpsc;

use holdfast_tests::sim::dice::Dice;

/// What a disk is like for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mood {
    #[default]
    Well,
    /// Saves take seconds.
    Slow,
    /// It is full or read-only.
    Broken,
}

/// A disk with a spool file.
#[derive(Default)]
pub(crate) struct SpoolDisk {
    /// The file; `None` where there is none.
    image: Option<Image>,
    mood: Mood,
    /// The process that has it open.
    open: Option<Open>,
    /// There were saves that did not come to the disk in time: what a process did then is not on it when it is killed.
    pub(crate) failed: bool,
}

struct Open {
    saves: Receiver<Save>,
    tell: mpsc::Sender<Event>,
    /// The save under way, and when it is done.
    under_way: Option<(Save, Duration)>,
    /// When the file is opened again after a failure.
    again: Option<Duration>,
}

impl SpoolDisk {
    /// Opens it for a process that starts; what the file held.
    pub(crate) fn open(&mut self) -> (Option<Image>, Writer) {
        let (submit, saves) = sync_channel(1);
        let (tell, events) = mpsc::channel(4);
        self.open = Some(Open { saves, tell, under_way: None, again: None });
        (self.image.clone(), Writer::elsewhere(submit, events))
    }

    /// The process is gone. What it had handed over may have come to the disk.
    pub(crate) fn close(&mut self, dice: &mut Dice) {
        let Some(open) = self.open.take() else { return };
        let last = open.under_way.map(|(save, _)| save).or_else(|| open.saves.try_recv().ok());
        if let Some(save) = last
            && self.mood != Mood::Broken
            && open.again.is_none()
            && dice.one_in(2)
        {
            self.image.get_or_insert_default().apply(save);
        }
    }

    /// The file is lost.
    pub(crate) fn lose(&mut self) {
        self.image = None;
    }

    pub(crate) fn set_mood(&mut self, mood: Mood) {
        self.mood = mood;
    }

    /// What happens until `now`.
    pub(crate) fn step(&mut self, now: Duration, dice: &mut Dice) {
        let mood = self.mood;
        let Some(open) = &mut self.open else { return };
        if let Some(again) = open.again {
            if again > now || mood == Mood::Broken {
                return;
            }
            open.again = None;
            // The process may be gone.
            drop(open.tell.try_send(Event::Ready { set_aside: None }));
        }
        if open.under_way.is_none()
            && let Ok(save) = open.saves.try_recv()
        {
            let takes = if mood == Mood::Slow { dice.between(500, 9_000) } else { dice.between(0, 60) };
            self.failed |= takes >= 5_000;
            open.under_way = Some((save, now + Duration::from_millis(takes)));
        }
        let Some((save, _)) = open.under_way.take_if(|(_, done)| *done <= now) else { return };
        let event = if mood == Mood::Broken {
            self.failed = true;
            open.again = Some(now + Duration::from_secs(5));
            let source = io::Error::from(io::ErrorKind::StorageFull);
            Event::Failed(FileError::Io { operation: "write", path: PathBuf::from("spool.redb"), source })
        } else {
            self.image.get_or_insert_default().apply(save);
            Event::Saved
        };
        drop(open.tell.try_send(event));
    }
}
