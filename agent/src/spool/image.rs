//! What of the spool survives this process: the shape that a file holds, and one step of bringing a file up to date.
//!
//! Plain data. A file may lag behind, but each [`Save`] is whole: what it says of entries, history and position was true at one
//! moment. Must not know files.

use std::collections::BTreeMap;

use holdfast_checks::entries::{Entry, Hash, Key, Transition};

/// What the collector holds under a key, as far as this side can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remote {
    /// This content, once everything in flight has arrived.
    Holds(Hash),
    /// A message about this key was lost with its connection, or was under way when this was saved: the collector may or may not have
    /// applied it.
    Unsure,
}

/// One key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    /// What is here; `None` while the collector has yet to be told that it is gone.
    pub entry: Option<Entry>,
    /// What is there; `None` for nothing.
    pub remote: Option<Remote>,
    /// The collector refused the entry as it is.
    pub refused: bool,
}

/// Where this side stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    /// Changes only when the spool was lost.
    pub epoch: u64,
    /// The last sequence number given out.
    pub seq: u64,
    /// The last sequence number acknowledged.
    pub last_acked: u64,
    /// The number of the next transition.
    pub next_transition: u64,
    /// Transitions of this epoch that fell off the ring.
    pub truncated: u64,
    /// The last good policy as it came, an encoded `holdfast.v1.Policy`; empty for none.
    pub policy: Vec<u8>,
}

/// Everything a file holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Image {
    /// Where this side stands.
    pub position: Position,
    /// Every key that is here or there.
    pub rows: BTreeMap<Key, Row>,
    /// The history nobody acknowledged, by number.
    pub transitions: BTreeMap<u64, Transition>,
}

/// One step of bringing a file up to date. Either all of it becomes durable or nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Save {
    /// First forget everything the file holds.
    pub replace: bool,
    /// Rows as they are now; `None`: no longer there.
    pub rows: Vec<(Key, Option<Row>)>,
    /// History to add.
    pub transitions: Vec<Transition>,
    /// History with lower numbers is to go: acknowledged, or off the ring.
    pub transitions_from: u64,
    /// Where this side stands.
    pub position: Position,
}

impl Image {
    /// Carries out `save`. A file does the same with its tables.
    pub fn apply(&mut self, save: Save) {
        if save.replace {
            *self = Self::default();
        }
        self.position = save.position;
        for (key, row) in save.rows {
            match row {
                Some(row) => self.rows.insert(key, row),
                None => self.rows.remove(&key),
            };
        }
        self.transitions.extend(save.transitions.into_iter().map(|transition| (transition.number, transition)));
        self.transitions = self.transitions.split_off(&save.transitions_from);
    }
}
