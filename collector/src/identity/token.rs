//! The tokens file: one token, one node, for as long as its line is there.

use std::path::Path;

use super::list::{self, Kind, Line, List, ListError};
use super::{Admitted, Holder, sha256};
use crate::followed::Followed;
use crate::store::nodes::{NodeIdentity, Origin};

pub(super) static TOKENS: Kind = Kind {
    file: "tokens file",
    line: "token",
    fields: "sha256, cluster, uid, name, origin",
    without: "no agent can come in by it",
    prefix: "hf_",
    ends: false,
};

/// The tokens in use. A changed file is read again; one that is broken changes nothing and says so.
#[derive(Debug, Clone)]
pub struct Tokens(pub(super) Followed<List, ListError>);

impl Tokens {
    /// Reads the file for the first time. One that is not there yet has no tokens: nodes may be added later.
    pub fn load(path: &Path) -> Result<Self, ListError> {
        Followed::load(path, TOKENS.file, |path| TOKENS.parse(path), |path| TOKENS.first(path)).map(Self)
    }

    /// Who shows a token.
    pub async fn admit(&self, token: &str) -> Option<Admitted> {
        let hash = sha256(token);
        let node = self.0.find(|list| node(list, &hash)).await?;
        Some(Admitted { node, holder: Holder::Token, expires_at: None, token_hash: Some(hash) })
    }

    /// The node of a token that was shown before.
    pub fn node(&self, hash: &[u8; 32]) -> Option<NodeIdentity> {
        self.0.get(|list| node(list, hash))
    }
}

fn node(list: &List, hash: &[u8; 32]) -> Option<NodeIdentity> {
    list.secrets.get(hash).map(|listed| listed.node.clone())
}

/// Adds a node to the tokens file, which is created when absent, and returns its new token: the only time it is seen.
pub fn add(path: &Path, cluster: &str, name: &str, origin: Origin) -> Result<String, ListError> {
    let (token, sha256) = TOKENS.secret()?;
    let mut lines = TOKENS.lines_so_far(path)?;
    if lines.iter().any(|other| other.cluster == cluster && other.name == name) {
        return Err(TOKENS.wrong(path, name, "it has a token already: remove that entry first"));
    }
    lines.push(Line { sha256, cluster: cluster.to_owned(), uid: list::uid()?, name: name.to_owned(), origin, expires: None });
    TOKENS.write(path, &lines)?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::{ListError, Origin, Tokens, add};

    #[tokio::test]
    async fn a_token_added_names_its_node_and_is_not_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.yaml");
        let token = add(&path, "c: \"quoted\"", "node-1", Origin::Agent).unwrap();
        let tokens = Tokens::load(&path).unwrap();
        let node = tokens.admit(&token).await.unwrap().node;
        assert_eq!((node.cluster.as_str(), node.name.as_str(), node.origin), ("c: \"quoted\"", "node-1", Origin::Agent));
        assert!(tokens.admit("hf_other").await.is_none());
        assert!(!crate::files::read_text(&path).unwrap().contains(&token));

        // Added while in use: found without a restart, and the first one still is.
        let second = add(&path, "c", "node-2", Origin::Recorded).unwrap();
        assert_eq!(tokens.admit(&second).await.unwrap().node.origin, Origin::Recorded);
        assert_eq!(tokens.admit(&token).await.unwrap().node, node);
        assert!(matches!(add(&path, "c", "node-2", Origin::Agent), Err(ListError::Line { .. })));
    }

    #[tokio::test]
    async fn a_name_that_would_make_the_file_unusable_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.yaml");
        let token = add(&path, "c", "node-1", Origin::Agent).unwrap();
        for (cluster, name) in [("", "n"), ("c", ""), ("c", "a\nb"), ("c", "n".repeat(254).as_str())] {
            let refused = add(&path, cluster, name, Origin::Agent).unwrap_err();
            assert!(refused.to_string().contains("1 to 253 bytes"), "{refused}");
        }
        assert!(Tokens::load(&path).unwrap().admit(&token).await.is_some());
    }

    #[tokio::test]
    async fn a_broken_file_is_refused_at_start_and_ignored_later() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.yaml");
        let token = add(&path, "c", "node-1", Origin::Agent).unwrap();
        let tokens = Tokens::load(&path).unwrap();
        crate::files::replace(&path, b"- {sha256: 12, nodes: [").unwrap();
        assert!(tokens.admit("hf_other").await.is_none());
        assert!(tokens.admit(&token).await.is_some());
        assert!(matches!(Tokens::load(&path), Err(ListError::Malformed { .. })));
    }

    /// As a version before wrote it, with what is now left out.
    #[tokio::test]
    async fn a_file_that_says_what_goes_without_saying_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.yaml");
        let line = format!("- {{\"sha256\":\"{}\",\"cluster\":\"c\",\"uid\":\"u\",\"name\":\"n\",\"origin\":\"agent\"}}\n", "A".repeat(64));
        crate::files::replace(&path, line.as_bytes()).unwrap();
        assert_eq!(Tokens::load(&path).unwrap().node(&[0xaa; 32]).unwrap().uid, "u");
    }
}
