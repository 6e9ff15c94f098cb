//! One rendering of a view for everyone who has it open.
//!
//! A viewer may share a rendering that began after everything the viewer was told of had been committed. Must not know what a
//! view shows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

/// Views remembered before unused ones are dropped.
const MOST_VIEWS: usize = 512;

/// A rendered view.
#[derive(Debug)]
pub(crate) struct Shown {
    /// The change log's position before the rendering began.
    pub(crate) seq: i64,
    /// The content of `<main>`.
    pub(crate) main: String,
}

type Slot = Arc<tokio::sync::Mutex<Option<(Instant, Arc<Shown>)>>>;

/// The latest rendering of each open view.
#[derive(Debug, Default)]
pub(crate) struct Renderings(Mutex<HashMap<String, Slot>>);

impl Renderings {
    /// A rendering of `view` that began after `told`: a shared one, or a new one by `render`.
    pub(crate) async fn get<E>(&self, view: &str, told: Instant, render: impl AsyncFnOnce() -> Result<Shown, E>) -> Result<Arc<Shown>, E> {
        let slot = self.slot(view);
        let mut latest = slot.lock().await;
        if let Some((began, shown)) = latest.as_ref().filter(|(began, _)| *began >= told) {
            tracing::trace!(view, ?began, "rendering shared");
            return Ok(Arc::clone(shown));
        }
        let began = Instant::now();
        let shown = Arc::new(render().await?);
        *latest = Some((began, Arc::clone(&shown)));
        Ok(shown)
    }

    fn slot(&self, view: &str) -> Slot {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MOST_VIEWS {
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        Arc::clone(slots.entry(view.to_owned()).or_default())
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test may fail")]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    #[tokio::test]
    async fn viewers_share_what_began_after_they_were_told_and_nothing_older() {
        let (renderings, count) = (Renderings::default(), AtomicI64::new(0));
        let render = async || Ok::<_, std::convert::Infallible>(Shown { seq: count.fetch_add(1, Ordering::Relaxed), main: String::new() });
        let told = Instant::now();
        let both = tokio::join!(renderings.get("/", told, render), renderings.get("/", told, render));
        assert_eq!((both.0.expect("shown").seq, both.1.expect("shown").seq), (0, 0));
        assert_eq!(renderings.get("/nodes", told, render).await.expect("shown").seq, 1);
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        assert_eq!(renderings.get("/", Instant::now(), render).await.expect("shown").seq, 2);
    }
}
