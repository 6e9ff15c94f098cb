//! The enrolments file: which machines may enrol, by the hash of a token that is good once, and whose certificates count.
//!
//! A line's `expires` is the token's end; the line itself is the node's leave to be here: without it no certificate counts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::files::{self, FileError};
use crate::followed::Followed;
use crate::identity::{hex, sha256, unhex};
use crate::store::nodes::{NodeIdentity, Origin};

/// The longest name in the file, in bytes.
const MAX_NAME_BYTES: usize = 253;

/// One line of the enrolments file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    /// SHA-256 of the token, lower-case hex.
    sha256: String,
    /// The node's cluster.
    cluster: String,
    /// The node's uid.
    uid: String,
    /// The node's name.
    name: String,
    /// When the token ends. Certificates do not end with it.
    expires: Timestamp,
}

/// A machine that may enrol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its node.
    pub node: NodeIdentity,
    /// When its token ends, Unix milliseconds.
    pub expires: i64,
}

/// Why the enrolments file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EnrolmentsError {
    /// It cannot be read or written.
    #[error("enrolments file")]
    File(#[from] FileError),
    /// It is not a list of enrolments.
    #[error("{path} is not a list of {{sha256, cluster, uid, name, expires}}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line and column.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// One entry is wrong.
    #[error("{path}: enrolment of `{name}`: {problem}")]
    Entry {
        /// The file.
        path: PathBuf,
        /// The node's name.
        name: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// No randomness.
    #[error("the system has no random numbers to give: {0}")]
    Random(getrandom::Error),
}

#[derive(Debug, Default)]
struct Table {
    tokens: BTreeMap<[u8; 32], Listed>,
    /// By cluster and uid.
    nodes: BTreeMap<(String, String), NodeIdentity>,
}

/// The enrolments in use. A changed file is read again; one that is broken changes nothing and says so.
#[derive(Debug)]
pub struct Enrolments(Followed<Table, EnrolmentsError>);

impl Enrolments {
    /// Reads the file for the first time. One that is not there yet lists nobody: machines may be added later.
    pub fn load(path: &Path) -> Result<Self, EnrolmentsError> {
        Followed::load(path, "enrolments file", parse, first).map(Self)
    }

    /// The machine of a token.
    pub fn by_token(&self, hash: &[u8; 32]) -> Option<Listed> {
        self.0.find(|table| table.tokens.get(hash).cloned())
    }

    /// The node, if it may be here.
    pub fn node(&self, cluster: &str, uid: &str) -> Option<NodeIdentity> {
        let key = (cluster.to_owned(), uid.to_owned());
        self.0.find(|table| table.nodes.get(&key).cloned())
    }
}

fn first(path: &Path) -> Result<Table, EnrolmentsError> {
    match parse(path) {
        Err(EnrolmentsError::File(FileError::Absent { .. })) => {
            tracing::info!(path = %path.display(), "the enrolments file is not there yet: no machine can enrol");
            Ok(Table::default())
        }
        table => table,
    }
}

fn parse(path: &Path) -> Result<Table, EnrolmentsError> {
    accept(path, list(path)?)
}

/// How many machines a file with this text lists.
#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(text: &str) -> Option<usize> {
    let path = Path::new("enrolments.yaml");
    Some(accept(path, read(path, text).ok()?).ok()?.nodes.len())
}

fn accept(path: &Path, lines: Vec<Line>) -> Result<Table, EnrolmentsError> {
    let mut table = Table::default();
    for line in lines {
        let name = line.name.clone();
        let wrong = |problem| EnrolmentsError::Entry { path: path.to_owned(), name: name.clone(), problem };
        let fits = |text: &str| !text.is_empty() && text.len() <= MAX_NAME_BYTES && !text.chars().any(char::is_control);
        if ![&line.cluster, &line.uid, &line.name].into_iter().all(|text| fits(text)) {
            return Err(wrong("cluster, uid and name must be 1 to 253 bytes without control characters"));
        }
        let hash = unhex(&line.sha256).ok_or_else(|| wrong("sha256 must be 64 hex digits"))?;
        let node = NodeIdentity { cluster: line.cluster, uid: line.uid, name: line.name, origin: Origin::Agent };
        if table.nodes.insert((node.cluster.clone(), node.uid.clone()), node.clone()).is_some() {
            return Err(wrong("another entry names the same cluster and uid: one node, one entry"));
        }
        if table.tokens.insert(hash, Listed { node, expires: line.expires.as_millisecond() }).is_some() {
            return Err(wrong("another entry has the same sha256: one token stands for one node"));
        }
    }
    Ok(table)
}

fn list(path: &Path) -> Result<Vec<Line>, EnrolmentsError> {
    read(path, &files::read_text(path)?)
}

fn read(path: &Path, text: &str) -> Result<Vec<Line>, EnrolmentsError> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    serde_saphyr::from_str(text).map_err(|source| EnrolmentsError::Malformed { path: path.to_owned(), source: Box::new(source) })
}

/// Adds a machine to the file, which is created when absent, and returns its token: the only time it is seen. Good for so many hours
/// from `now`.
pub fn add(path: &Path, cluster: &str, name: &str, hours: u32, now: Timestamp) -> Result<String, EnrolmentsError> {
    let mut lines = match list(path) {
        Err(EnrolmentsError::File(FileError::Absent { .. })) => Vec::new(),
        lines => lines?,
    };
    if lines.iter().any(|line| line.cluster == cluster && line.name == name) {
        let problem = "it is listed already: `enrolment renew` prints a new token for it";
        return Err(EnrolmentsError::Entry { path: path.to_owned(), name: name.to_owned(), problem });
    }
    let (token, sha256) = fresh()?;
    let mut uid = [0; 16];
    getrandom::fill(&mut uid).map_err(EnrolmentsError::Random)?;
    let (cluster, name, expires) = (cluster.to_owned(), name.to_owned(), end(hours, now));
    lines.push(Line { sha256, cluster, uid: hex(&uid), name, expires });
    write(path, &lines)?;
    Ok(token)
}

/// A new token for a machine that is listed, which stays the node it is: for one whose certificate has ended, or whose disk is new.
pub fn renew(path: &Path, cluster: &str, name: &str, hours: u32, now: Timestamp) -> Result<String, EnrolmentsError> {
    let mut lines = list(path)?;
    let (token, sha256) = fresh()?;
    let problem = "it is not listed: `enrolment add` adds it";
    let line = lines.iter_mut().find(|line| line.cluster == cluster && line.name == name);
    let line = line.ok_or_else(|| EnrolmentsError::Entry { path: path.to_owned(), name: name.to_owned(), problem })?;
    (line.sha256, line.expires) = (sha256, end(hours, now));
    write(path, &lines)?;
    Ok(token)
}

/// A token and its hash.
fn fresh() -> Result<(String, String), EnrolmentsError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(EnrolmentsError::Random)?;
    let token = format!("he_{}", hex(&secret));
    let hash = hex(&sha256(token.as_bytes()));
    Ok((token, hash))
}

fn end(hours: u32, now: Timestamp) -> Timestamp {
    let end = now.saturating_add(SignedDuration::from_hours(i64::from(hours))).unwrap_or(Timestamp::MAX);
    // Whole seconds, for whoever reads the file.
    Timestamp::from_second(end.as_second()).unwrap_or(end)
}

fn write(path: &Path, lines: &[Line]) -> Result<(), EnrolmentsError> {
    // What would not be read must not be written: the collector would not start.
    accept(path, lines.to_vec())?;
    // JSON is YAML, and quotes what has to be quoted.
    let text: Result<String, _> = lines.iter().map(|line| serde_json::to_string(line).map(|json| format!("- {json}\n"))).collect();
    Ok(files::replace(path, text.unwrap_or_default().as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(token: &str) -> [u8; 32] {
        sha256(token.as_bytes())
    }

    #[test]
    fn a_machine_added_is_found_by_its_token_and_stays_itself_with_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("enrolments.yaml");
        let list = Enrolments::load(&path).unwrap();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let token = add(&path, "c: \"quoted\"", "node-1", 24, now).unwrap();
        let listed = list.by_token(&hash(&token)).unwrap();
        assert_eq!((listed.node.name.as_str(), listed.expires), ("node-1", 1_800_086_400_000));
        assert!(!files::read_text(&path).unwrap().contains(&token), "the token itself is nowhere");
        let other = add(&path, "c", "node-2", 1, now).unwrap();
        assert_eq!(list.by_token(&hash(&other)).unwrap().node.name, "node-2");

        let again = renew(&path, "c: \"quoted\"", "node-1", 1, now).unwrap();
        assert_eq!(list.by_token(&hash(&again)).unwrap().node, listed.node, "the same node, with its history");
        assert!(list.by_token(&hash(&token)).is_none(), "the old token is good for nothing");
        assert_eq!(list.node(&listed.node.cluster, &listed.node.uid), Some(listed.node));
        assert!(list.node("c", "nobody").is_none());
        assert!(add(&path, "c", "node-2", 1, now).unwrap_err().to_string().contains("enrolment renew"));
        assert!(renew(&path, "c", "node-3", 1, now).unwrap_err().to_string().contains("enrolment add"));
    }

    #[test]
    fn a_name_that_would_make_the_file_unusable_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("enrolments.yaml");
        let token = add(&path, "c", "node-1", 24, Timestamp::UNIX_EPOCH).unwrap();
        for (cluster, name) in [("", "n"), ("c", ""), ("c", "a\nb"), ("c", "n".repeat(254).as_str())] {
            let refused = add(&path, cluster, name, 24, Timestamp::UNIX_EPOCH).unwrap_err();
            assert!(refused.to_string().contains("1 to 253 bytes"), "{refused}");
        }
        assert!(Enrolments::load(&path).unwrap().by_token(&hash(&token)).is_some());
    }

    #[test]
    fn a_broken_file_changes_nothing_and_is_refused_at_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("enrolments.yaml");
        let token = add(&path, "c", "node-1", 24, Timestamp::UNIX_EPOCH).unwrap();
        let list = Enrolments::load(&path).unwrap();
        let good = format!("{{sha256: \"{}\", cluster: c, uid: u, name: n, expires: 2026-01-01T00:00:00Z}}", "a".repeat(64));
        let twice = format!("- {good}\n- {good}\n");
        let same = format!("- {good}\n- {}\n", good.replace("uid: u", "uid: v"));
        let named = format!("- {}\n", good.replace("name: n", "name: \"\""));
        let short = format!("- {}\n", good.replace("aaaa", ""));
        let date = format!("- {}\n", good.replace("2026-01-01T00:00:00Z", "tomorrow"));
        for (broken, problem) in
            [("- {", "list"), (&twice, "one node, one entry"), (&same, "one token"), (&named, "253"), (&short, "64"), (&date, "list")]
        {
            std::fs::write(&path, broken).unwrap();
            assert!(list.by_token(&[0; 32]).is_none());
            assert!(list.by_token(&hash(&token)).is_some(), "{broken} must not lock a machine out");
            assert!(Enrolments::load(&path).unwrap_err().to_string().contains(problem), "{broken}");
        }
        std::fs::write(&path, "").unwrap();
        assert!(list.by_token(&[0; 32]).is_none() && list.by_token(&hash(&token)).is_none());
    }
}
