//! A small file of an operator's that is read again when it has changed: once a second by whoever follows it, and at once for what is not
//! found in it, so that what was just added is there. One that is broken changes nothing and says so.
//!
//! Looking something up never waits for a disk: the file is read on threads that may block, one at a time, and a flood of what is not there
//! has it looked at ten times a second at most. Must not know what is in it.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use crate::files::Stamp;
use crate::logs::cause;

/// How often the file is looked at while everything asked for is found.
const LOOK: Duration = Duration::from_secs(1);
/// The shortest time between two looks.
const GAP: Duration = Duration::from_millis(100);
/// How long what is not found waits for a look: a disk may hang.
const PATIENCE: Duration = Duration::from_secs(2);

/// The content in use. Cloned freely: it is one.
#[derive(Debug)]
pub struct Followed<T, E>(Arc<Inner<T, E>>);

#[derive(Debug)]
struct Inner<T, E> {
    path: PathBuf,
    what: &'static str,
    parse: fn(&Path) -> Result<T, E>,
    content: watch::Sender<T>,
    looks: Mutex<Looks<T, E>>,
}

#[derive(Debug)]
struct Looks<T, E> {
    /// When the last look began that is over.
    looked: Instant,
    seen: Option<Stamp>,
    /// One that has begun. Whoever waited for it may be gone.
    running: Option<(Instant, JoinHandle<Look<T, E>>)>,
}

/// What a look has met: nothing new, or another version.
type Look<T, E> = Option<(Option<Stamp>, Result<T, E>)>;

impl<T, E> Clone for Followed<T, E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Send + Sync + 'static, E: Error + Send + 'static> Followed<T, E> {
    /// Reads the file for the first time by `first`, and by `parse` from then on. `what` is what people call it.
    ///
    /// # Errors
    /// Those of `first`.
    pub fn load(path: &Path, what: &'static str, parse: fn(&Path) -> Result<T, E>, first: fn(&Path) -> Result<T, E>) -> Result<Self, E> {
        // Before it is read: a change in between is then seen as one.
        let seen = Stamp::of(path);
        let content = watch::Sender::new(first(path)?);
        let looks = Mutex::new(Looks { looked: Instant::now(), seen, running: None });
        Ok(Self(Arc::new(Inner { path: path.to_owned(), what, parse, content, looks })))
    }

    /// Looks something up in what was read last.
    pub fn get<R>(&self, find: impl Fn(&T) -> R) -> R {
        find(&self.0.content.borrow())
    }

    /// The same for what may have been added a moment ago: what is not found is looked for in the file as it is now.
    pub async fn find<R>(&self, find: impl Fn(&T) -> Option<R>) -> Option<R> {
        let found = self.get(&find);
        if found.is_some() {
            return found;
        }
        // A disk that hangs: what was read before counts.
        timeout(PATIENCE, self.look()).await.ok();
        self.get(find)
    }

    /// Tells of every other content.
    pub fn subscribe(&self) -> watch::Receiver<T> {
        self.0.content.subscribe()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Looks at the file every second, for ever.
    pub async fn follow(self) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look().await;
        }
    }

    /// Returns once the file was looked at by a look that began after now, whoever began it.
    async fn look(&self) {
        let asked = Instant::now();
        let mut looks = self.0.looks.lock().await;
        while looks.looked <= asked {
            if looks.running.is_none() {
                sleep_until(looks.looked + GAP).await;
                looks.running = Some((Instant::now(), self.begin(looks.seen)));
            }
            let Some((began, running)) = looks.running.as_mut() else { return };
            let (began, met) = (*began, running.await);
            looks.running = None;
            looks.looked = began;
            // One that panicked has met nothing: the next one looks again.
            if let Ok(Some((seen, read))) = met {
                looks.seen = seen;
                self.take(read);
            }
        }
    }

    fn begin(&self, seen: Option<Stamp>) -> JoinHandle<Look<T, E>> {
        let (path, parse) = (self.0.path.clone(), self.0.parse);
        tokio::task::spawn_blocking(move || {
            let now = Stamp::of(&path);
            (now != seen).then(|| (now, parse(&path)))
        })
    }

    fn take(&self, read: Result<T, E>) {
        let path = self.0.path.display();
        match read {
            Ok(content) => {
                tracing::info!(%path, "{} read again", self.0.what);
                self.0.content.send_replace(content);
            }
            Err(error) => {
                tracing::error!(%path, error = cause(&error), "{} not usable: keeping what was read before", self.0.what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;
    use crate::files::{self, FileError};

    static READS: AtomicUsize = AtomicUsize::new(0);

    fn words(path: &Path) -> Result<Vec<String>, FileError> {
        READS.fetch_add(1, Ordering::Relaxed);
        Ok(files::read_text(path)?.split_whitespace().map(str::to_owned).collect())
    }

    fn followed(text: &str) -> (tempfile::TempDir, PathBuf, Followed<Vec<String>, FileError>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("words");
        files::replace(&path, text.as_bytes()).unwrap();
        let followed = Followed::load(&path, "words", words, words).unwrap();
        (dir, path, followed)
    }

    fn has(word: &str) -> impl Fn(&Vec<String>) -> Option<()> {
        move |words| words.iter().any(|other| other == word).then_some(())
    }

    #[tokio::test]
    async fn what_was_just_added_is_there_at_once_and_what_was_taken_out_is_gone_by_the_next_look() {
        let (_dir, path, words) = followed("one");
        assert!(words.find(has("two")).await.is_none());
        files::replace(&path, b"one two").unwrap();
        assert!(words.find(has("two")).await.is_some());
        files::replace(&path, b"two").unwrap();
        assert!(words.get(has("one")).is_some(), "nobody has looked");
        let mut changed = words.subscribe();
        let following = tokio::spawn(words.clone().follow());
        timeout(Duration::from_mins(1), changed.changed()).await.unwrap().unwrap();
        assert!(words.get(has("one")).is_none());
        following.abort();
    }

    /// An editor that keeps times, or whoever wants a token to stay that was taken out.
    #[tokio::test]
    async fn a_rewrite_in_place_of_the_same_size_that_keeps_its_time_is_seen() {
        let (_dir, path, words) = followed("one");
        let before = std::fs::metadata(&path).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"two", 0).unwrap();
        file.set_modified(before.modified().unwrap()).unwrap();
        assert_eq!(file.metadata().unwrap().modified().unwrap(), before.modified().unwrap());
        assert!(words.find(has("two")).await.is_some());
        assert!(words.get(has("one")).is_none());
    }

    /// Each unknown token used to cost a stat, on a thread that serves connections.
    #[tokio::test]
    async fn a_flood_of_what_is_not_there_looks_at_the_file_a_few_times_together() {
        let (_dir, path, words) = followed("one");
        let began = Instant::now();
        let asking: Vec<_> = (0..2_000)
            .map(|n| {
                let words = words.clone();
                tokio::spawn(async move { words.find(has(&format!("unknown-{n}"))).await })
            })
            .collect();
        for asked in asking {
            assert!(asked.await.unwrap().is_none());
        }
        // One look for all of them, or two where some came while the first was under way; changed or not.
        assert!(words.0.looks.lock().await.looked - began < GAP * 200);
        files::replace(&path, b"one two").unwrap();
        let before = READS.load(Ordering::Relaxed);
        let asking: Vec<_> = (0..200)
            .map(|_| {
                tokio::spawn({
                    let words = words.clone();
                    async move { words.find(has("two")).await }
                })
            })
            .collect();
        for asked in asking {
            assert!(asked.await.unwrap().is_some());
        }
        assert!(READS.load(Ordering::Relaxed) - before < 100, "other tests read too");
    }

    /// Whoever asked goes away, and the thread that reads still hangs.
    #[tokio::test]
    #[allow(clippy::disallowed_methods, clippy::unnecessary_wraps, reason = "a thread that hangs, as what reads")]
    async fn a_disk_that_hangs_takes_one_thread_and_what_was_read_before_is_found() {
        static HANGS: AtomicUsize = AtomicUsize::new(0);
        static ANSWERS: AtomicBool = AtomicBool::new(false);
        fn hang(_: &Path) -> Result<Vec<String>, FileError> {
            HANGS.fetch_add(1, Ordering::Relaxed);
            while !ANSWERS.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(10));
            }
            Ok(vec!["late".to_owned()])
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("words");
        files::replace(&path, b"one").unwrap();
        let words = Followed::load(&path, "words", hang, words).unwrap();
        files::replace(&path, b"other").unwrap();
        for _ in 0..2 {
            assert!(words.find(has("two")).await.is_none());
            assert!(words.find(has("one")).await.is_some());
        }
        assert_eq!(HANGS.load(Ordering::Relaxed), 1);
        ANSWERS.store(true, Ordering::Relaxed);
        timeout(Duration::from_mins(1), words.look()).await.unwrap();
        assert!(words.get(has("late")).is_some());
    }

    #[tokio::test]
    async fn a_broken_file_changes_nothing_and_one_that_is_well_again_is_taken() {
        let (_dir, path, words) = followed("one");
        std::fs::remove_file(&path).unwrap();
        assert!(words.find(has("two")).await.is_none());
        assert!(words.get(has("one")).is_some());
        files::replace(&path, b"two").unwrap();
        assert!(words.find(has("two")).await.is_some());
    }
}
