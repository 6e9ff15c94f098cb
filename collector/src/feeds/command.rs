//! `holdfast-collector feeds`: importing by hand, and what is there.
//!
//! Works beside a running collector, which notices, and without one. Must not know formats.

use std::fmt::Write as _;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Subcommand, ValueEnum};

use super::import::{Change, ImportError, Imported, Options, Progress, Watcher, day_of, import};
use super::shelf::{Shelf, ShelfError};
use super::status::{Report, counts};
use super::{FeedStatus, Library};
use crate::alerts::chain;

/// How long another import is waited for.
const PATIENCE: Duration = Duration::from_mins(10);
/// How often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(200);
/// How often progress is said: to a person, and in a log.
const SAY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Version knowledge: end-of-life dates, vulnerabilities, what is exploited.
#[derive(Debug, Clone, Subcommand)]
pub enum Feeds {
    /// Read feeds from files. A file is taken whole or refused whole; a running collector judges by them within seconds.
    Import {
        /// The collector's data directory.
        #[arg(long, env = "HOLDFAST_DATA", value_name = "DIR", default_value = "/var/lib/holdfast")]
        data: PathBuf,
        /// Take files that are older than what is known.
        #[arg(long)]
        older: bool,
        /// JSON documents, or zip archives of them.
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
    /// Say what is known, how old it is, what was refused and what is missing.
    Status {
        /// The collector's data directory.
        #[arg(long, env = "HOLDFAST_DATA", value_name = "DIR", default_value = "/var/lib/holdfast")]
        data: PathBuf,
        /// Print it for people or for programs.
        #[arg(short, long, value_name = "FORMAT", default_value = "table")]
        output: Output,
    },
    /// Forget an imported feed.
    Remove {
        /// The collector's data directory.
        #[arg(long, env = "HOLDFAST_DATA", value_name = "DIR", default_value = "/var/lib/holdfast")]
        data: PathBuf,
        /// The feed: `osv/Debian`, as `feeds status` names it.
        name: String,
    },
}

/// How `feeds status` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Where a command writes, and when it is.
pub struct Terminal<'a> {
    /// Results.
    pub out: &'a mut dyn Write,
    /// Progress and refusals.
    pub err: &'a mut dyn Write,
    /// Is a person watching.
    pub person: bool,
    /// Unix milliseconds.
    pub now: i64,
}

/// Runs a command: 0 done, 2 refused or wrong usage, 3 could not be read or written.
///
/// # Errors
/// With the exit code, when there is nothing more to say than that.
pub fn run(feeds: Feeds, terminal: &mut Terminal<'_>) -> Result<u8, (u8, anyhow::Error)> {
    match feeds {
        Feeds::Import { data, older, files } => import_files(&data, older, &files, terminal),
        Feeds::Status { data, output } => status(&data, output, terminal),
        Feeds::Remove { data, name } => remove(&data, &name, terminal),
    }
}

fn import_files(data: &Path, older: bool, files: &[PathBuf], terminal: &mut Terminal<'_>) -> Result<u8, (u8, anyhow::Error)> {
    there(data)?;
    let options = Options { now: terminal.now, older };
    let mut console = Console { terminal, code: 0, touched: Vec::new(), said: Instant::now(), began: Instant::now() };
    let done = waiting(|first| {
        let outcome = import(data, files, options, &mut console);
        if first && matches!(outcome, Err(ShelfError::Busy { .. })) {
            writeln!(console.terminal.err, "another import is under way: waiting for it to end").ok();
        }
        outcome
    });
    done.map_err(|error| (3, anyhow::Error::from(error).context("nothing was imported, what was known stays in force")))?;
    console.summary(data).context("write").map_err(|error| (3, error))?;
    Ok(console.code)
}

/// Tries again while another process imports.
fn waiting<T>(mut attempt: impl FnMut(bool) -> Result<T, ShelfError>) -> Result<T, ShelfError> {
    let (began, mut first) = (Instant::now(), true);
    loop {
        match attempt(std::mem::replace(&mut first, false)) {
            Err(ShelfError::Busy { .. }) if began.elapsed() < PATIENCE => {
                #[allow(clippy::disallowed_methods, reason = "a command line has one thread and nothing else to do")]
                std::thread::sleep(LOOK);
            }
            outcome => return outcome,
        }
    }
}

fn status(data: &Path, output: Output, terminal: &mut Terminal<'_>) -> Result<u8, (u8, anyhow::Error)> {
    there(data)?;
    let library = Library::open(data, terminal.now).map_err(|error| (3, error.into()))?;
    let report = Report::new(&library, day_of(terminal.now));
    let written = match output {
        Output::Table => write!(terminal.out, "{report}").map_err(Into::into),
        Output::Json => serde_json::to_writer_pretty(&mut *terminal.out, &report)
            .map_err(anyhow::Error::from)
            .and_then(|()| Ok(writeln!(terminal.out)?)),
    };
    written.map(|()| 0).map_err(|error| (3, error))
}

fn remove(data: &Path, name: &str, terminal: &mut Terminal<'_>) -> Result<u8, (u8, anyhow::Error)> {
    there(data)?;
    let shelf = Shelf::of(data);
    let removed = waiting(|_| shelf.lock()?.remove(name)).map_err(|error| (3, error.into()))?;
    if !removed {
        let known: Vec<String> = shelf.statuses().into_iter().map(|feed| feed.name).collect();
        let known = if known.is_empty() { "none is imported".to_owned() } else { format!("imported are {}", known.join(", ")) };
        return Err((2, anyhow::anyhow!("there is no feed {name}: {known}")));
    }
    writeln!(terminal.out, "removed {name}: verdicts rest on the built-in snapshot and other feeds").map_err(|error| (3, error.into()))?;
    Ok(0)
}

/// A directory that is not there is a slip of the keyboard, not a collector to be.
fn there(data: &Path) -> Result<(), (u8, anyhow::Error)> {
    let metadata = std::fs::metadata(data).with_context(|| format!("--data {}", data.display())).map_err(|error| (2, error))?;
    if metadata.is_dir() { Ok(()) } else { Err((2, anyhow::anyhow!("--data {} is not a directory", data.display()))) }
}

/// Says what happens.
struct Console<'a, 'w> {
    terminal: &'a mut Terminal<'w>,
    code: u8,
    touched: Vec<String>,
    said: Instant,
    began: Instant,
}

impl Watcher for Console<'_, '_> {
    fn progress(&mut self, file: &str, progress: Progress) -> ControlFlow<()> {
        if progress.documents <= 1 {
            (self.began, self.said) = (Instant::now(), Instant::now());
        }
        let pause = if self.terminal.person { SAY.0 } else { SAY.1 };
        if self.said.elapsed() >= pause {
            self.said = Instant::now();
            let line = said(file, progress, self.began.elapsed());
            // Who does not listen is not told.
            writeln!(self.terminal.err, "{line}").ok();
        }
        ControlFlow::Continue(())
    }

    fn done(&mut self, _: &Path, file: &str, outcome: &Result<Imported, ImportError>) {
        match outcome {
            Ok(imported) => {
                self.touched.extend(imported.feeds.iter().map(|change| change.name.clone()));
                writeln!(self.terminal.out, "{}", taken(imported)).ok();
            }
            Err(error) => {
                self.code = self.code.max(if matches!(error, ImportError::Refused { .. }) { 2 } else { 3 });
                writeln!(self.terminal.err, "{}", not_taken(file, error)).ok();
            }
        }
    }
}

impl Console<'_, '_> {
    /// What feeds that were touched hold now.
    fn summary(&mut self, data: &Path) -> std::io::Result<()> {
        for feed in Shelf::of(data).statuses().iter().filter(|feed| self.touched.contains(&feed.name)) {
            let ignored = if feed.ignored.is_empty() { String::new() } else { format!("; left out: {}", counts(&feed.ignored)) };
            writeln!(self.terminal.out, "{} as of {}: {} kept{ignored}", feed.name, feed.as_of, records(feed.records))?;
        }
        Ok(())
    }
}

/// `all.zip: 120000 of 500000 documents, 118230 records, 412 MiB, 14200 documents a second`.
fn said(file: &str, progress: Progress, took: Duration) -> String {
    let rate = u128::from(progress.documents).saturating_mul(1000) / took.as_millis().max(1);
    let Progress { documents, of, records, bytes } = progress;
    format!("{file}: {documents} of {of} documents, {records} records, {} MiB, {rate} documents a second", bytes >> 20)
}

/// A file that was taken, in a line, and what is to be known of it.
pub(crate) fn taken(imported: &Imported) -> String {
    let mut text = format!("accepted {}: ", imported.file);
    if imported.feeds.is_empty() {
        let ignored = if imported.ignored.is_empty() { "it says nothing".to_owned() } else { counts(&imported.ignored) };
        let _written = write!(text, "nothing to keep ({ignored})");
    }
    let changes: Vec<String> = imported.feeds.iter().take(5).map(change).collect();
    text.push_str(&changes.join("; "));
    if let Some(more @ 1..) = imported.feeds.len().checked_sub(5) {
        let _written = write!(text, "; and {more} more feeds");
    }
    for note in &imported.notes {
        let _written = write!(text, "\n  {note}");
    }
    text
}

fn change(change: &Change) -> String {
    let Change { name, as_of, records, laid_over, before } = change;
    let before = match before {
        Some((day, records)) => format!(" (before: {records} of {day})"),
        None => String::new(),
    };
    if *laid_over {
        return format!("{} of {as_of} laid over {name}{before}", self::records(*records));
    }
    format!("{name} as of {as_of}, {}{before}", self::records(*records))
}

/// `1 record`, `2 records`.
fn records(count: u64) -> String {
    format!("{count} record{}", if count == 1 { "" } else { "s" })
}

/// A file that was not taken, in a line: the reason, and what stays.
pub(crate) fn not_taken(file: &str, error: &ImportError) -> String {
    let reason = reason(file, error);
    match error {
        ImportError::Refused { stays, .. } => format!("refused {file}: {reason}; {}", staying(stays)),
        _ => format!("failed {file}: {reason}; nothing was changed"),
    }
}

/// Why a file was not taken. Documents name themselves, which is not said twice.
pub(crate) fn reason(file: &str, error: &ImportError) -> String {
    let text = match error {
        ImportError::Refused { refusal, .. } => chain(refusal),
        error => chain(error),
    };
    text.strip_prefix(&format!("{file}: ")).map_or_else(|| text.clone(), str::to_owned)
}

/// `osv/Debian of 2026-11-01 stays in force`.
fn staying(stays: &[FeedStatus]) -> String {
    let named: Vec<String> = stays.iter().take(3).map(|feed| format!("{} of {}", feed.name, feed.as_of)).collect();
    match stays.len() {
        0 => "what is known stays in force".to_owned(),
        1 => format!("{} stays in force", named.concat()),
        2 | 3 => format!("{} stay in force", named.join(" and ")),
        more => format!("{} and {} more stay in force", named.join(", "), more - 3),
    }
}
