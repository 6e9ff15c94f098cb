//! Which family of certificates counts for each enrolled machine, in memory: every session asks, every second. The store has the same,
//! and is written first. Must not know who is listed.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use tokio::sync::{Mutex, MutexGuard};

use crate::identity::certificate::Family;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Families {
    /// By cluster and uid.
    current: RwLock<BTreeMap<(String, String), Family>>,
    writing: Mutex<()>,
}

impl Families {
    /// Whoever writes to the store and then here does both before the next one: of two the last in the one is the last in the other.
    pub(super) async fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().await
    }

    /// That is the machine's from now on.
    pub(super) fn take(&self, cluster: &str, uid: &str, family: Family) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        current.insert((cluster.to_owned(), uid.to_owned()), family);
    }

    /// Forgets a machine, unless it was enrolled anew.
    pub(super) fn forget(&self, cluster: &str, uid: &str, family: Family) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let key = (cluster.to_owned(), uid.to_owned());
        if current.get(&key) == Some(&family) {
            current.remove(&key);
        }
    }

    /// May a certificate of that family speak for the machine. Where none is known, because the database is an older one, each may.
    pub(super) fn counts(&self, cluster: &str, uid: &str, family: Family) -> bool {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.get(&(cluster.to_owned(), uid.to_owned())).is_none_or(|known| *known == family)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_family_of_a_machine_counts_and_any_where_none_is_known() {
        let families = Families::default();
        let (old, new) = (Family::of(&[1; 32]), Family::of(&[2; 32]));
        assert!(families.counts("c", "u", old) && families.counts("c", "u", new));
        families.take("c", "u", old);
        assert!(families.counts("c", "u", old) && !families.counts("c", "u", new) && families.counts("d", "u", new));
        families.take("c", "u", new);
        assert!(!families.counts("c", "u", old) && families.counts("c", "u", new));
        families.forget("c", "u", old);
        assert!(!families.counts("c", "u", old), "it is another's by now");
        families.forget("c", "u", new);
        assert!(families.counts("c", "u", old));
    }
}
