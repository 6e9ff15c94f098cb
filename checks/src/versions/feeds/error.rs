//! Why a document was refused: its format, the place, what is wrong there, what to do.
//!
//! Texts that come from the document are cut and cleaned before they get here: a message is one short line whatever was read.

use super::Format;

/// The most characters of a document that a message repeats.
const EXCERPT: usize = 80;

/// Why a document was refused. Nothing of it is used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// There is nothing in it.
    #[error("{name}: the file is empty; download it again")]
    Empty {
        /// The document.
        name: String,
    },
    /// It is larger than accepted.
    #[error("{name}: the document has {bytes} bytes, {limit} are accepted; import feeds by product or ecosystem, or raise the limit")]
    TooLarge {
        /// The document.
        name: String,
        /// Its size.
        bytes: usize,
        /// What is accepted.
        limit: usize,
    },
    /// It makes more records than accepted.
    #[error("{name}: the document ({}) has more than {limit} records; import feeds by product or ecosystem", format.label())]
    TooMany {
        /// The document.
        name: String,
        /// Its format.
        format: Format,
        /// What is accepted.
        limit: usize,
    },
    /// It is not JSON at all.
    #[error("{name}: the file is {found}, not JSON; {remedy}")]
    NotJson {
        /// The document.
        name: String,
        /// What it looks like.
        found: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// It is JSON, and none of the formats.
    #[error(
        "{name}: not a feed that is understood ({found}); accepted are endoflife.date (v1, v0), OSV, CISA KEV, kernel.org releases.json, \
         kernel CVE JSON 5 and the Kubernetes CVE feed"
    )]
    Unrecognised {
        /// The document.
        name: String,
        /// What it is instead.
        found: String,
    },
    /// It ends before it is complete.
    #[error("{name}: the document{} ends in the middle, at line {line}; the download was cut off: download it again", label(*format))]
    Truncated {
        /// The document.
        name: String,
        /// Its format, as far as that was told.
        format: Option<Format>,
        /// The last line.
        line: usize,
    },
    /// It is not well-formed JSON, or a field has another type than the format says.
    #[error("{name}: the document{} is malformed at line {line}, column {column}: {problem}; download it again", label(*format))]
    Malformed {
        /// The document.
        name: String,
        /// Its format, as far as that was told.
        format: Option<Format>,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong there.
        problem: String,
    },
    /// It follows a version of the format that is not understood.
    #[error("{name}: the document ({}) has {field} {found}, understood is {understood}; {remedy}", format.label())]
    Version {
        /// The document.
        name: String,
        /// Its format.
        format: Format,
        /// The field that says so.
        field: &'static str,
        /// What it says.
        found: String,
        /// What is understood.
        understood: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A value cannot be right.
    #[error("{name}: the document ({}) cannot be right at {place}: {problem}; {remedy}", format.label())]
    Invalid {
        /// The document.
        name: String,
        /// Its format.
        format: Format,
        /// Where: the path in the document, with the id of the record.
        place: String,
        /// What is wrong there.
        problem: String,
        /// What to do.
        remedy: &'static str,
    },
}

impl FeedError {
    /// It is none of the formats.
    pub(super) fn unrecognised(name: &str, found: impl Into<String>) -> Self {
        Self::Unrecognised { name: excerpt(name), found: found.into() }
    }

    /// What the JSON reader says, without the document's own text at length.
    pub(super) fn json(name: &str, format: Option<Format>, error: &serde_json::Error) -> Self {
        let (name, line, column) = (excerpt(name), error.line(), error.column());
        if error.is_eof() {
            return Self::Truncated { name, format, line };
        }
        let problem = error.to_string();
        let problem = problem.rsplit_once(" at line ").map_or(problem.as_str(), |(problem, _)| problem);
        Self::Malformed { name, format, line, column, problem: excerpt(problem) }
    }
}

/// A text as a message may repeat it: short, on one line, without control characters.
pub(super) fn excerpt(text: &str) -> String {
    let mut short: String = text.chars().take(EXCERPT).map(|c| if c.is_control() || is_directional(c) { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(EXCERPT).is_some() {
        short.push('…');
    }
    short
}

/// Marks that make a terminal or a browser show what follows in another order.
pub(super) fn is_directional(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn label(format: Option<Format>) -> String {
    format.map(|format| format!(" ({})", format.label())).unwrap_or_default()
}
