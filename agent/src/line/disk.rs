//! The spool's file as the line has it: whether there is one, when it is brought up to date, and what is said of it.
//!
//! The disk is never a reason to stop and never waited for without an end: what cannot be saved is kept in memory, and said once in
//! words and all the time in the agent's own account. Must not know the session or sockets.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use holdfast_checks::facts::{Recreated, SpoolKind, SpoolState};
use tokio::time::Instant;

use super::saving::{Ended, PATIENCE_MS, Saving};
use crate::causes::causes;
use crate::health::Gauges;
use crate::spool::Spool;
use crate::spool::file::{FILE_NAME, SetAside};
use crate::spool::writer::{Event, Writer};

/// How long the last save may take.
const LAST_SAVE: Duration = Duration::from_secs(3);

/// Where the spool is kept.
#[derive(Debug)]
pub struct Disk {
    writer: Option<Writer>,
    path: PathBuf,
    saving: Saving,
    state: SpoolState,
    gauges: Arc<Gauges>,
}

impl Disk {
    /// In memory only, because nothing else was asked for.
    pub fn none(gauges: Arc<Gauges>) -> Self {
        let detail = "no directory was given: what the collector has not acknowledged is lost when the agent ends. Give one with --spool";
        let state =
            SpoolState { kind: SpoolKind::Memory, reason: "not_configured".to_owned(), detail: detail.to_owned(), ..file(Path::new("")) };
        Self { writer: None, path: PathBuf::new(), saving: Saving::default(), state, gauges }
    }

    /// In the file that `writer` has open in `directory`. A spool that was set aside for it is told.
    pub fn file(directory: &Path, writer: Writer, set_aside: Option<&SetAside>, gauges: Arc<Gauges>) -> Self {
        let path = directory.join(FILE_NAME);
        gauges.spool.file.store(true, Ordering::Relaxed);
        let mut disk = Self { writer: Some(writer), state: file(&path), path, saving: Saving::default(), gauges };
        disk.recreated(set_aside);
        disk
    }

    /// In memory for now, because of `reason` and `detail`, until `writer` has a file in `directory`; `None`: for good.
    pub fn lost(directory: &Path, writer: Option<Writer>, reason: &str, detail: String, gauges: Arc<Gauges>) -> Self {
        let path = directory.join(FILE_NAME);
        let mut disk = Self { writer, state: file(&path), path, saving: Saving::default(), gauges };
        disk.in_memory(reason, detail);
        disk
    }

    /// Is the spool in its file, and not in memory only.
    pub fn is_file(&self) -> bool {
        self.state.kind == SpoolKind::File
    }

    /// For the agent's own account.
    pub(super) fn state(&self) -> &SpoolState {
        &self.state
    }

    /// What comes of a save, or of the file.
    pub(super) async fn next(&mut self) -> Event {
        match &mut self.writer {
            Some(writer) => writer.next().await,
            None => std::future::pending().await,
        }
    }

    /// When [`Self::turn`] has something to do.
    pub(super) fn next_ms(&self, spool: &Spool, now_ms: u64) -> Option<u64> {
        let ready = spool.has_unsaved() && self.writer.as_ref().is_some_and(Writer::is_ready);
        let due = if ready { self.saving.due_ms(spool.has_urgent(), now_ms) } else { None };
        due.into_iter().chain(self.saving.late_ms()).min()
    }

    /// Begins a save that is due, and gives up one that takes too long.
    pub(super) fn turn(&mut self, spool: &mut Spool, now_ms: u64) -> Turn {
        if self.saving.late_ms().is_some_and(|late| late <= now_ms) {
            self.saving.give_up();
            let (path, limit) = (self.path.display(), Duration::from_millis(PATIENCE_MS).as_secs());
            let detail = format!("the disk took longer than {limit} s to save the spool {path}: see whether it works");
            self.failed(spool, "io", detail);
            return Turn::GaveUp;
        }
        let writer = self.writer.as_mut().filter(|writer| writer.is_ready() && spool.has_unsaved());
        let Some(writer) = writer else { return Turn::Nothing };
        if self.saving.due_ms(spool.has_urgent(), now_ms).is_none_or(|due| due > now_ms) {
            return Turn::Nothing;
        }
        let Some(save) = spool.save() else { return Turn::Nothing };
        if writer.submit(save).is_err() {
            // Its thread has ended: that is told as an event of its own.
            spool.not_saved();
            return Turn::Nothing;
        }
        self.saving.began(now_ms);
        Turn::Began
    }

    /// Takes in what came of a save or of the file; tells whether the save under way is durable.
    pub(super) fn heard(&mut self, event: Event, spool: &mut Spool, now_ms: u64) -> bool {
        let ended = self.saving.ended(now_ms);
        match (event, ended) {
            (Event::Saved, Some(Ended::InTime(took))) => {
                spool.saved();
                self.saved(took);
                return true;
            }
            // It is durable after all, and by now it is old.
            (Event::Saved, Some(Ended::Late)) => spool.keep_in_file(),
            (Event::Saved, None) => {}
            (Event::Failed(error), ended) => {
                let detail = causes(&error);
                if matches!(ended, Some(Ended::InTime(_))) {
                    self.failed(spool, error.reason(), detail);
                } else {
                    self.in_memory(error.reason(), detail);
                }
            }
            (Event::Unread { transitions }, _) => {
                spool.lost(transitions);
                self.left_behind(transitions);
            }
            (Event::Ready { set_aside }, _) => {
                self.recreated(set_aside.as_ref());
                spool.keep_in_file();
            }
            (Event::Died, ended) => {
                let detail = "the thread that writes the spool died: restart the agent and report this".to_owned();
                if matches!(ended, Some(Ended::InTime(_))) {
                    self.failed(spool, "io", detail);
                } else {
                    spool.keep_in_memory();
                    self.in_memory("io", detail);
                }
            }
        }
        false
    }

    /// The last save, within a bounded time.
    pub(super) async fn finish(mut self, spool: &mut Spool, start: Instant) {
        let Some(writer) = &mut self.writer else { return };
        let end = Instant::now() + LAST_SAVE;
        if self.saving.is_under_way() {
            match tokio::time::timeout_at(end, writer.next()).await {
                Ok(event) => {
                    let now_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
                    self.heard(event, spool, now_ms);
                }
                Err(_) => return tracing::warn!("the spool's last changes may not be kept: the disk does not answer"),
            }
        }
        let Some(writer) = self.writer.filter(Writer::is_ready) else { return };
        match writer.finish(spool.save(), end.saturating_duration_since(Instant::now())).await {
            Ok(()) => tracing::debug!("the spool is saved and closed"),
            Err(error) => tracing::warn!("{}", causes(&error)),
        }
    }

    fn saved(&mut self, took: Duration) {
        let gauges = &self.gauges.spool;
        gauges.saves.fetch_add(1, Ordering::Relaxed);
        gauges.last_save_us.store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        // The disk has just answered.
        if let Ok(there) = std::fs::symlink_metadata(&self.path) {
            gauges.bytes.store(there.len(), Ordering::Relaxed);
        }
        if self.state.kind == SpoolKind::Memory {
            tracing::info!(path = %self.path.display(), "the spool is kept in its file again");
            self.state = SpoolState { recreated: self.state.recreated.take(), ..file(&self.path) };
            gauges.file.store(true, Ordering::Relaxed);
        }
    }

    fn failed(&mut self, spool: &mut Spool, reason: &str, detail: String) {
        self.gauges.spool.failed_saves.fetch_add(1, Ordering::Relaxed);
        spool.not_saved();
        spool.keep_in_memory();
        self.in_memory(reason, detail);
    }

    /// Says why, unless that was the last thing said of it.
    fn in_memory(&mut self, reason: &str, detail: String) {
        let told = self.state.kind == SpoolKind::Memory && self.state.reason == reason;
        if !told {
            tracing::warn!(reason, "state and history are kept in memory only and do not survive a restart: {detail}");
        }
        self.gauges.spool.file.store(false, Ordering::Relaxed);
        let path = self.path.display().to_string();
        self.state =
            SpoolState { kind: SpoolKind::Memory, path, reason: reason.to_owned(), detail, recreated: self.state.recreated.take() };
    }

    /// History in a file that could not be read when this agent started.
    fn left_behind(&mut self, transitions: u64) {
        let path = self.path.display().to_string();
        let because = format!("it could not be opened when this agent started; {transitions} changes in it may never have been delivered");
        tracing::warn!(path, "the spool is begun anew: {because}. State is not lost");
        self.state.recreated = Some(Recreated { set_aside: String::new(), because, at: jiff::Timestamp::now().as_millisecond() });
    }

    fn recreated(&mut self, set_aside: Option<&SetAside>) {
        let Some(set_aside) = set_aside else { return };
        let (path, because) = (set_aside.path.display().to_string(), set_aside.because.clone());
        tracing::warn!(set_aside = path, "the spool was begun anew: {because}. History that was not delivered is lost; state is not");
        self.state.recreated = Some(Recreated { set_aside: path, because, at: jiff::Timestamp::now().as_millisecond() });
    }
}

/// What came of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Nothing,
    /// A save is under way.
    Began,
    /// What waited for the save waits no longer.
    GaveUp,
}

fn file(path: &Path) -> SpoolState {
    let path = path.display().to_string();
    SpoolState { kind: SpoolKind::File, path, reason: String::new(), detail: String::new(), recreated: None }
}

#[cfg(test)]
mod tests;
