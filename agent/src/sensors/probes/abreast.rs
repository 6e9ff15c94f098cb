//! The same done with several things, a few at a time.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What `work` makes of each item, in their order, with at most `at_once` threads. `None` where it panicked, or no thread could be
/// had.
pub(super) fn abreast<T: Sync, R: Send>(items: &[T], at_once: usize, work: impl Fn(&T) -> R + Sync) -> Vec<Option<R>> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return done };
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(item)));
            done.push((index, caught.ok()));
        }
    };
    let mut results: Vec<Option<R>> = items.iter().map(|_| None).collect();
    std::thread::scope(|scope| {
        let start = |_| std::thread::Builder::new().name("probe".to_owned()).spawn_scoped(scope, worker).ok();
        let threads: Vec<_> = (0..at_once.min(items.len())).filter_map(start).collect();
        for (index, result) in threads.into_iter().filter_map(|thread| thread.join().ok()).flatten() {
            if let Some(place) = results.get_mut(index) {
                *place = result;
            }
        }
    });
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_their_order_and_one_that_panics_costs_only_itself() {
        let items: Vec<u32> = (0..100).collect();
        let running = AtomicUsize::new(0);
        let results = abreast(&items, 4, |item| {
            assert!(running.fetch_add(1, Ordering::SeqCst) < 4, "too many at once");
            let result = std::panic::catch_unwind(|| if *item == 7 { panic!("on purpose") } else { item * 2 });
            running.fetch_sub(1, Ordering::SeqCst);
            result.unwrap()
        });
        assert_eq!(results.len(), 100);
        assert_eq!((results[6], results[7], results[99]), (Some(12), None, Some(198)));
        assert!(abreast(&items[..0], 4, |item| *item).is_empty());
    }
}
