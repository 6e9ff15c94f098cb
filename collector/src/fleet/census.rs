//! What the nodes of the fleet run, line by line: the newest of each that counts. Pure.
//!
//! Recordings are compared among themselves, so that what is shown beside live nodes makes no outliers of them.

use std::collections::BTreeMap;

use holdfast_checks::versions::fleet::{Cohort, Newest, newest};

use crate::store::chain::Running;

/// The newest of every cohort.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census(BTreeMap<(bool, Cohort), Newest>);

impl Census {
    /// Counts. Versions of one cohort may come in any order.
    pub fn of(running: &[Running]) -> Self {
        let mut cohorts: BTreeMap<(bool, &Cohort), Vec<(&str, i64)>> = BTreeMap::new();
        for Running { cohort, recorded, level, nodes } in running {
            cohorts.entry((*recorded, cohort)).or_default().push((level, *nodes));
        }
        let counted = cohorts.into_iter().filter_map(|((recorded, cohort), versions)| {
            let newest = newest(cohort.order, &versions)?;
            Some(((recorded, cohort.clone()), newest))
        });
        Self(counted.collect())
    }

    /// The newest of a cohort, among live nodes or among recordings.
    pub fn newest(&self, recorded: bool, cohort: &Cohort) -> Option<&Newest> {
        self.0.get(&(recorded, cohort.clone()))
    }

    /// The cohorts whose newest is not what it was `before`.
    pub fn moved(&self, before: &Self) -> Vec<Cohort> {
        let changed = self.0.iter().filter(|(key, newest)| before.0.get(*key) != Some(*newest));
        let lost = before.0.iter().filter(|(key, _)| !self.0.contains_key(*key));
        let mut moved: Vec<Cohort> = changed.chain(lost).map(|((_, cohort), _)| cohort.clone()).collect();
        moved.dedup();
        moved
    }
}
