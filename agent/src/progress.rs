//! What is being read, shown on a terminal while it takes: one line, overwritten by the next. Elsewhere nothing is written.

use std::io::{IsTerminal, Write};

use holdfast_checks::facts::Group;

/// Says that `group` is read now.
pub(crate) fn reading(group: Group) {
    say(&format!("\r\u{1b}[Kreading {} …", group.name()));
}

/// Takes the line away.
pub(crate) fn clear() {
    say("\r\u{1b}[K");
}

fn say(text: &str) {
    let stderr = std::io::stderr();
    if stderr.is_terminal() {
        // Progress that cannot be shown is not missed.
        drop(write!(stderr.lock(), "{text}"));
    }
}
