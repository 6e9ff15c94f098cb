//! A list of nodes that an operator keeps in a file: SHA-256 of a secret to the node it stands for, one secret, one node. The tokens file
//! is one, and the enrolments file. Secrets themselves are never stored. Must not know what a secret is good for.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{hex, sha256};
use crate::files::{self, FileError};
use crate::store::nodes::{NodeIdentity, Origin};

/// The longest name in the file, in bytes.
const MAX_NAME_BYTES: usize = 253;

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// SHA-256 of the secret, lower-case hex.
    pub sha256: String,
    /// The node's cluster.
    pub cluster: String,
    /// The node's uid.
    pub uid: String,
    /// The node's name.
    pub name: String,
    /// Live or recorded.
    #[serde(default, skip_serializing_if = "live")]
    pub origin: Origin,
    /// When the secret ends, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn live(origin: &Origin) -> bool {
    *origin == Origin::Agent
}

/// What tells one such file from another.
#[derive(Debug)]
pub struct Kind {
    /// What people call the file.
    pub file: &'static str,
    /// What a line is.
    pub line: &'static str,
    /// What is in a line.
    pub fields: &'static str,
    /// What does not work while the file is not there.
    pub without: &'static str,
    /// What a secret begins with.
    pub prefix: &'static str,
    /// Does every secret end. Where it does, every node is a live one.
    pub ends: bool,
}

/// Why such a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// It cannot be read or written.
    #[error("{file}")]
    File {
        /// What people call it.
        file: &'static str,
        /// Where, and what is wrong.
        #[source]
        source: FileError,
    },
    /// It is not a list of such lines.
    #[error("{path} is not a list of {{{fields}}}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is in a line.
        fields: &'static str,
        /// Line and column.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// One line is wrong.
    #[error("{path}: {line} of `{name}`: {problem}")]
    Line {
        /// The file.
        path: PathBuf,
        /// What a line is.
        line: &'static str,
        /// The node's name.
        name: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// No randomness.
    #[error("the system has no random numbers to give: {0}")]
    Random(getrandom::Error),
}

/// A node, and until when its secret is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The node.
    pub node: NodeIdentity,
    /// When its secret ends, Unix milliseconds.
    pub expires: Option<i64>,
}

/// The content of such a file.
#[derive(Debug, Default)]
pub struct List {
    /// By the secret's SHA-256. How long a look-up takes tells of the hash, which leads to no secret.
    pub secrets: BTreeMap<[u8; 32], Listed>,
    /// By cluster and uid.
    pub nodes: BTreeMap<(String, String), NodeIdentity>,
}

impl Kind {
    /// What the file lists.
    pub fn parse(&self, path: &Path) -> Result<List, ListError> {
        self.accept(path, self.lines(path)?)
    }

    /// The same at start: one that is not there yet lists nobody, and nodes may be added later.
    pub fn first(&self, path: &Path) -> Result<List, ListError> {
        match self.parse(path) {
            Err(ListError::File { source: FileError::Absent { .. }, .. }) => {
                tracing::info!(path = %path.display(), "the {} is not there yet: {}", self.file, self.without);
                Ok(List::default())
            }
            list => list,
        }
    }

    /// Its lines, whatever is in them.
    pub fn lines(&self, path: &Path) -> Result<Vec<Line>, ListError> {
        self.read(path, &files::read_text(path).map_err(|source| ListError::File { file: self.file, source })?)
    }

    /// The same, and none where it is not there yet.
    pub fn lines_so_far(&self, path: &Path) -> Result<Vec<Line>, ListError> {
        match self.lines(path) {
            Err(ListError::File { source: FileError::Absent { .. }, .. }) => Ok(Vec::new()),
            lines => lines,
        }
    }

    fn read(&self, path: &Path, text: &str) -> Result<Vec<Line>, ListError> {
        if text.trim().is_empty() {
            return Ok(Vec::new());
        }
        let malformed = |source| ListError::Malformed { path: path.to_owned(), fields: self.fields, source: Box::new(source) };
        serde_saphyr::from_str(text).map_err(malformed)
    }

    /// What is wrong with the line of a node.
    pub fn wrong(&self, path: &Path, name: &str, problem: &'static str) -> ListError {
        ListError::Line { path: path.to_owned(), line: self.line, name: name.to_owned(), problem }
    }

    fn accept(&self, path: &Path, lines: Vec<Line>) -> Result<List, ListError> {
        let mut list = List::default();
        for line in lines {
            let name = line.name.clone();
            let wrong = |problem| self.wrong(path, &name, problem);
            let fits = |text: &str| !text.is_empty() && text.len() <= MAX_NAME_BYTES && !text.chars().any(char::is_control);
            if ![&line.cluster, &line.uid, &line.name].into_iter().all(|text| fits(text)) {
                return Err(wrong("cluster, uid and name must be 1 to 253 bytes without control characters"));
            }
            let hash = unhex(&line.sha256).ok_or_else(|| wrong("sha256 must be 64 hex digits"))?;
            match (self.ends, line.expires, line.origin) {
                (true, None, _) => return Err(wrong("expires must say when the token ends, such as 2026-01-31T12:00:00Z")),
                (true, _, Origin::Recorded) => return Err(wrong("origin has no place here: a machine that enrols is no recording")),
                (false, Some(_), _) => {
                    return Err(wrong("expires has no place here: a token of this file is good until its line is taken out"));
                }
                _ => {}
            }
            let node = NodeIdentity { cluster: line.cluster, uid: line.uid, name: line.name, origin: line.origin };
            match list.nodes.entry((node.cluster.clone(), node.uid.clone())) {
                Entry::Occupied(_) => return Err(wrong("another entry names the same cluster and uid: one node, one entry")),
                Entry::Vacant(free) => free.insert(node.clone()),
            };
            if list.secrets.insert(hash, Listed { node, expires: line.expires.map(Timestamp::as_millisecond) }).is_some() {
                return Err(wrong("another entry has the same sha256: one token stands for one node"));
            }
        }
        Ok(list)
    }

    /// Replaces the file.
    pub fn write(&self, path: &Path, lines: &[Line]) -> Result<(), ListError> {
        // What would not be read must not be written: nobody else could connect, and no collector start.
        self.accept(path, lines.to_vec())?;
        // JSON is YAML, and quotes what has to be quoted.
        let text: Result<String, _> = lines.iter().map(|line| serde_json::to_string(line).map(|json| format!("- {json}\n"))).collect();
        files::replace(path, text.unwrap_or_default().as_bytes()).map_err(|source| ListError::File { file: self.file, source })
    }

    /// A new secret, and its SHA-256 in hex.
    pub fn secret(&self) -> Result<(String, String), ListError> {
        let secret = format!("{}{}", self.prefix, hex(&random::<32>()?));
        let hash = hex(&sha256(&secret));
        Ok((secret, hash))
    }

    /// How many nodes a file with this text lists.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn fuzz(&self, text: &str) -> Option<usize> {
        let path = Path::new("list.yaml");
        Some(self.accept(path, self.read(path, text).ok()?).ok()?.nodes.len())
    }
}

/// A new node's uid.
pub fn uid() -> Result<String, ListError> {
    Ok(hex(&random::<16>()?))
}

fn random<const BYTES: usize>() -> Result<[u8; BYTES], ListError> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(ListError::Random)?;
    Ok(bytes)
}

/// What [`hex`] wrote of 32 bytes.
fn unhex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes: Vec<u8> = pairs.iter().map(|&[high, low]| Some(digit(high)? * 16 + digit(low)?)).collect::<Option<_>>()?;
    if rest.is_empty() { bytes.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(ends: bool) -> Kind {
        Kind { file: "tokens file", line: "token", fields: "sha256, …", without: "nobody", prefix: "hf_", ends }
    }

    fn problem(ends: bool, text: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list.yaml");
        files::replace(&path, text.as_bytes()).unwrap();
        kind(ends).parse(&path).unwrap_err().to_string()
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said_whatever_the_file_is() {
        let end = ", expires: 2026-01-01T00:00:00Z";
        let digits = "a".repeat(64);
        let line = |sha256: &str, uid: &str, name: &str, more: &str| {
            format!("- {{sha256: \"{sha256}\", cluster: c, uid: {uid}, name: {name}{more}}}\n")
        };
        for (ends, end) in [(true, end), (false, "")] {
            for (text, says) in [
                ("- {".to_owned(), "is not a list of {sha256, …}"),
                (line(&digits, "u", "n", ", colour: red"), "is not a list of"),
                (line(&digits, "u", "n", ", expires: tomorrow"), "is not a list of"),
                (line("abc", "u", "n", end), "token of `n`: sha256 must be 64 hex digits"),
                (line(&"+a".repeat(32), "u", "n", end), "64 hex digits"),
                (line(&(digits.clone() + "a"), "u", "n", end), "64 hex digits"),
                (line(&digits, "u", "\"\"", end), "1 to 253 bytes"),
                (line(&digits, "u", "\"a\\nb\"", end), "1 to 253 bytes"),
                (line(&digits, "u", "n", end).repeat(2), "one node, one entry"),
                (line(&digits, "u", "n", end) + &line(&digits, "v", "n", end), "one token stands for one node"),
            ] {
                assert!(problem(ends, &text).contains(says), "{}", problem(ends, &text));
            }
        }
        assert!(problem(true, &line(&digits, "u", "n", "")).contains("expires must say when"));
        assert!(problem(true, &line(&digits, "u", "n", &format!("{end}, origin: recorded"))).contains("no recording"));
        assert!(problem(false, &line(&digits, "u", "n", end)).contains("expires has no place"));
    }
}
