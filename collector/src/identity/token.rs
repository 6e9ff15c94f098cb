//! The tokens file: `sha256(token)` to node, one token, one node. Tokens themselves are never stored.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Admitted, Holder, hex, sha256};
use crate::files::{self, FileError};
use crate::followed::Followed;
use crate::store::nodes::{NodeIdentity, Origin};

/// The longest name in the file, in bytes.
const MAX_NAME_BYTES: usize = 253;

/// One line of the tokens file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// SHA-256 of the token, lower-case hex.
    pub sha256: String,
    /// The node's cluster.
    pub cluster: String,
    /// The node's uid.
    pub uid: String,
    /// The node's name.
    pub name: String,
    /// Live or recorded.
    #[serde(default)]
    pub origin: Origin,
}

/// Why the tokens file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// It cannot be read or written.
    #[error("tokens file")]
    File(#[from] FileError),
    /// It is not a list of tokens.
    #[error("{path} is not a list of {{sha256, cluster, uid, name, origin}}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line and column.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// One entry is wrong.
    #[error("{path}: token of `{name}`: {problem}")]
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

/// Hash to node.
type Table = BTreeMap<[u8; 32], NodeIdentity>;

/// The tokens in use. A changed file is read again; one that is broken changes nothing and says so.
#[derive(Debug)]
pub struct Tokens(Followed<Table, TokensError>);

impl Tokens {
    /// Reads the file for the first time. One that is not there yet has no tokens: nodes may be added later.
    pub fn load(path: &Path) -> Result<Self, TokensError> {
        Followed::load(path, "tokens file", parse, first).map(Self)
    }

    /// Who shows a token.
    pub fn admit(&self, token: &str) -> Option<Admitted> {
        let hash = sha256(token);
        let node = self.node(&hash)?;
        Some(Admitted { node, holder: Holder::Token, expires_at: None, token_hash: Some(hash) })
    }

    /// The node of a token. Looked up by the token's hash: how long that takes tells of the hash, which leads to no token.
    pub fn node(&self, hash: &[u8; 32]) -> Option<NodeIdentity> {
        self.0.find(|tokens| tokens.get(hash).cloned())
    }
}

fn first(path: &Path) -> Result<Table, TokensError> {
    match parse(path) {
        Err(TokensError::File(FileError::Absent { .. })) => {
            tracing::warn!(path = %path.display(), "the tokens file is not there yet: no agent can connect by it");
            Ok(Table::new())
        }
        tokens => tokens,
    }
}

fn parse(path: &Path) -> Result<Table, TokensError> {
    accept(path, list(path)?)
}

/// How many tokens a file with this text has.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz(text: &str) -> Option<usize> {
    let path = Path::new("tokens.yaml");
    Some(accept(path, read(path, text).ok()?).ok()?.len())
}

fn accept(path: &Path, listed: Vec<Token>) -> Result<Table, TokensError> {
    let mut nodes = BTreeSet::new();
    let mut tokens = BTreeMap::new();
    for token in listed {
        let name = token.name.clone();
        let wrong = |problem| TokensError::Entry { path: path.to_owned(), name: name.clone(), problem };
        let fits = |text: &str| !text.is_empty() && text.len() <= MAX_NAME_BYTES && !text.chars().any(char::is_control);
        if ![&token.cluster, &token.uid, &token.name].into_iter().all(|text| fits(text)) {
            return Err(wrong("cluster, uid and name must be 1 to 253 bytes without control characters"));
        }
        let hash = unhex(&token.sha256).ok_or_else(|| wrong("sha256 must be 64 hex digits"))?;
        if !nodes.insert((token.cluster.clone(), token.uid.clone())) {
            return Err(wrong("another entry names the same cluster and uid: one node has one token"));
        }
        let node = NodeIdentity { cluster: token.cluster, uid: token.uid, name: token.name, origin: token.origin };
        if tokens.insert(hash, node).is_some() {
            return Err(wrong("another entry has the same sha256: one token stands for one node"));
        }
    }
    Ok(tokens)
}

fn list(path: &Path) -> Result<Vec<Token>, TokensError> {
    read(path, &files::read_text(path)?)
}

fn read(path: &Path, text: &str) -> Result<Vec<Token>, TokensError> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    serde_saphyr::from_str(text).map_err(|source| TokensError::Malformed { path: path.to_owned(), source: Box::new(source) })
}

/// What [`hex`] wrote of 32 bytes.
pub(crate) fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    let bytes: Vec<u8> = digits.collect::<Option<_>>()?;
    (text.len() == 64).then_some(())?;
    bytes.try_into().ok()
}

/// Adds a node to the tokens file, which is created when absent, and returns its new token: the only time it is seen.
pub fn add(path: &Path, cluster: &str, name: &str, origin: Origin) -> Result<String, TokensError> {
    let mut random = [0; 48];
    getrandom::fill(&mut random).map_err(TokensError::Random)?;
    let (secret, uid) = random.split_at(32);
    let token = format!("hf_{}", hex(secret));
    let mut listed = match list(path) {
        Err(TokensError::File(FileError::Absent { .. })) => Vec::new(),
        listed => listed?,
    };
    if listed.iter().any(|other| other.cluster == cluster && other.name == name) {
        let problem = "it has a token already: remove that entry first";
        return Err(TokensError::Entry { path: path.to_owned(), name: name.to_owned(), problem });
    }
    let (sha256, cluster, name) = (hex(&sha256(&token)), cluster.to_owned(), name.to_owned());
    listed.push(Token { sha256, cluster, uid: hex(uid), name, origin });
    // What would not be read must not be written: no other agent could connect.
    accept(path, listed.clone())?;
    // JSON is YAML, and quotes what has to be quoted.
    let lines = listed.iter().map(|token| serde_json::to_string(token).map(|json| format!("- {json}\n")));
    let text: Result<String, _> = lines.collect();
    files::replace(path, text.unwrap_or_default().as_bytes())?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::{Origin, Tokens, TokensError, add};

    #[test]
    fn a_token_added_names_its_node_and_is_not_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.yaml");
        let token = add(&path, "c: \"quoted\"", "node-1", Origin::Agent).unwrap();
        let tokens = Tokens::load(&path).unwrap();
        let node = tokens.admit(&token).unwrap().node;
        assert_eq!((node.cluster.as_str(), node.name.as_str(), node.origin), ("c: \"quoted\"", "node-1", Origin::Agent));
        assert!(tokens.admit("hf_other").is_none());
        assert!(!crate::files::read_text(&path).unwrap().contains(&token));

        // Added while in use: found without a restart, and the first one still is.
        let second = add(&path, "c", "node-2", Origin::Recorded).unwrap();
        assert_eq!(tokens.admit(&second).unwrap().node.origin, Origin::Recorded);
        assert_eq!(tokens.admit(&token).unwrap().node, node);
        assert!(matches!(add(&path, "c", "node-2", Origin::Agent), Err(TokensError::Entry { .. })));
    }

    #[test]
    fn a_name_that_would_make_the_file_unusable_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.yaml");
        let token = add(&path, "c", "node-1", Origin::Agent).unwrap();
        for (cluster, name) in [("", "n"), ("c", ""), ("c", "a\nb"), ("c", "n".repeat(254).as_str())] {
            let refused = add(&path, cluster, name, Origin::Agent).unwrap_err();
            assert!(refused.to_string().contains("1 to 253 bytes"), "{refused}");
        }
        assert!(Tokens::load(&path).unwrap().admit(&token).is_some());
    }

    #[test]
    fn a_broken_file_is_refused_at_start_and_ignored_later() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.yaml");
        let token = add(&path, "c", "node-1", Origin::Agent).unwrap();
        let tokens = Tokens::load(&path).unwrap();
        crate::files::replace(&path, b"- {sha256: 12, nodes: [").unwrap();
        assert!(tokens.admit("hf_other").is_none());
        assert!(tokens.admit(&token).is_some());
        assert!(matches!(Tokens::load(&path), Err(TokensError::Malformed { .. })));
        for (text, problem) in [
            ("- {sha256: abc, cluster: c, uid: u, name: n}", "64 hex digits"),
            ("- {sha256: abc, cluster: '', uid: u, name: n}", "1 to 253 bytes"),
        ] {
            crate::files::replace(&path, text.as_bytes()).unwrap();
            assert!(Tokens::load(&path).unwrap_err().to_string().contains(problem));
        }
    }
}
