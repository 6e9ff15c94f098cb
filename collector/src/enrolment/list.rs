//! The enrolments file: which machines may enrol, by the hash of a token that is good once, and whose certificates count.
//!
//! A line's `expires` is the token's end; the line itself is the node's leave to be here: without it no certificate counts.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::families::Families;
use crate::followed::Followed;
use crate::identity::Rejection;
use crate::identity::certificate::Family;
use crate::identity::list::{self, Kind, Line, List, ListError, Listed};
use crate::refusals::Refusal;
use crate::store::enrolled::Enrolled;
use crate::store::nodes::{NodeIdentity, Origin};

pub(super) static ENROLMENTS: Kind = Kind {
    file: "enrolments file",
    line: "enrolment",
    fields: "sha256, cluster, uid, name, expires",
    without: "no machine can enrol",
    prefix: "he_",
    ends: true,
};

/// The enrolments in use. A changed file is read again; one that is broken changes nothing and says so.
#[derive(Debug)]
pub struct Enrolments {
    pub(crate) file: Followed<List, ListError>,
    pub(super) families: Families,
}

impl Enrolments {
    /// Reads the file for the first time. One that is not there yet lists nobody: machines may be added later.
    pub fn load(path: &Path) -> Result<Self, ListError> {
        let file = Followed::load(path, ENROLMENTS.file, |path| ENROLMENTS.parse(path), |path| ENROLMENTS.first(path))?;
        Ok(Self { file, families: Families::default() })
    }

    /// The machine of a token.
    pub async fn by_token(&self, hash: &[u8; 32]) -> Option<Listed> {
        self.file.find(|list| list.secrets.get(hash).cloned()).await
    }

    /// The node, if it may be here, also where its line was added a moment ago.
    pub async fn find(&self, cluster: &str, uid: &str) -> Option<NodeIdentity> {
        let key = (cluster.to_owned(), uid.to_owned());
        self.file.find(|list| list.nodes.get(&key).cloned()).await
    }

    /// The same from memory, for whoever was here before.
    pub fn node(&self, cluster: &str, uid: &str) -> Option<NodeIdentity> {
        let key = (cluster.to_owned(), uid.to_owned());
        self.file.get(|list| list.nodes.get(&key).cloned())
    }

    /// Takes in which families of certificates are in use: what the store knows at start.
    pub fn know(&self, enrolled: Vec<Enrolled>) {
        for Enrolled { cluster, uid, family } in enrolled {
            self.families.take(&cluster, &uid, family);
        }
    }

    /// The store has forgotten a machine.
    pub fn forget(&self, enrolled: &Enrolled) {
        self.families.forget(&enrolled.cluster, &enrolled.uid, enrolled.family);
    }

    /// Is that the family of the certificates that a node has now.
    ///
    /// # Errors
    /// [`Refusal::EnrolmentReplaced`] when the machine was enrolled anew since.
    pub fn current(&self, node: &NodeIdentity, family: Family) -> Result<(), Rejection> {
        if self.families.counts(&node.cluster, &node.uid, family) {
            return Ok(());
        }
        let reason = format!(
            "{:?} was enrolled anew since this certificate was issued: the machine it was then still runs, or somebody has a copy",
            node.name
        );
        Err(Rejection::new(Refusal::EnrolmentReplaced, reason))
    }
}

/// Adds a machine to the file, which is created when absent, and returns its token: the only time it is seen. Good for so many hours
/// from `now`.
pub fn add(path: &Path, cluster: &str, name: &str, hours: u32, now: Timestamp) -> Result<String, ListError> {
    let (token, sha256) = ENROLMENTS.secret()?;
    let mut lines = ENROLMENTS.lines_so_far(path)?;
    if lines.iter().any(|line| line.cluster == cluster && line.name == name) {
        return Err(ENROLMENTS.wrong(path, name, "it is listed already: `enrolment renew` prints a new token for it"));
    }
    let (cluster, name, expires) = (cluster.to_owned(), name.to_owned(), Some(end(hours, now)));
    lines.push(Line { sha256, cluster, uid: list::uid()?, name, origin: Origin::Agent, expires });
    ENROLMENTS.write(path, &lines)?;
    Ok(token)
}

/// A new token for a machine that is listed, which stays the node it is: for one whose certificate has ended, or whose disk is new.
pub fn renew(path: &Path, cluster: &str, name: &str, hours: u32, now: Timestamp) -> Result<String, ListError> {
    let (token, sha256) = ENROLMENTS.secret()?;
    let mut lines = ENROLMENTS.lines(path)?;
    let line = lines.iter_mut().find(|line| line.cluster == cluster && line.name == name);
    let line = line.ok_or_else(|| ENROLMENTS.wrong(path, name, "it is not listed: `enrolment add` adds it"))?;
    (line.sha256, line.expires) = (sha256, Some(end(hours, now)));
    ENROLMENTS.write(path, &lines)?;
    Ok(token)
}

fn end(hours: u32, now: Timestamp) -> Timestamp {
    let end = now.saturating_add(SignedDuration::from_hours(i64::from(hours))).unwrap_or(Timestamp::MAX);
    // Whole seconds, for whoever reads the file.
    Timestamp::from_second(end.as_second()).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;
    use crate::identity::sha256;

    fn hash(token: &str) -> [u8; 32] {
        sha256(token.as_bytes())
    }

    #[tokio::test]
    async fn a_machine_added_is_found_by_its_token_and_stays_itself_with_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("enrolments.yaml");
        let list = Enrolments::load(&path).unwrap();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let token = add(&path, "c: \"quoted\"", "node-1", 24, now).unwrap();
        let listed = list.by_token(&hash(&token)).await.unwrap();
        assert_eq!((listed.node.name.as_str(), listed.expires), ("node-1", Some(1_800_086_400_000)));
        assert!(!files::read_text(&path).unwrap().contains(&token), "the token itself is nowhere");
        let other = add(&path, "c", "node-2", 1, now).unwrap();
        assert_eq!(list.by_token(&hash(&other)).await.unwrap().node.name, "node-2");

        let again = renew(&path, "c: \"quoted\"", "node-1", 1, now).unwrap();
        assert_eq!(list.by_token(&hash(&again)).await.unwrap().node, listed.node, "the same node, with its history");
        assert!(list.by_token(&hash(&token)).await.is_none(), "the old token is good for nothing");
        assert_eq!(list.node(&listed.node.cluster, &listed.node.uid), Some(listed.node));
        assert!(list.node("c", "nobody").is_none());
        assert!(add(&path, "c", "node-2", 1, now).unwrap_err().to_string().contains("enrolment renew"));
        assert!(renew(&path, "c", "node-3", 1, now).unwrap_err().to_string().contains("enrolment add"));
    }

    #[tokio::test]
    async fn a_name_that_would_make_the_file_unusable_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("enrolments.yaml");
        let token = add(&path, "c", "node-1", 24, Timestamp::UNIX_EPOCH).unwrap();
        for (cluster, name) in [("", "n"), ("c", ""), ("c", "a\nb"), ("c", "n".repeat(254).as_str())] {
            let refused = add(&path, cluster, name, 24, Timestamp::UNIX_EPOCH).unwrap_err();
            assert!(refused.to_string().contains("1 to 253 bytes"), "{refused}");
        }
        assert!(Enrolments::load(&path).unwrap().by_token(&hash(&token)).await.is_some());
    }

    #[tokio::test]
    async fn a_broken_file_changes_nothing_and_is_refused_at_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("enrolments.yaml");
        let token = add(&path, "c", "node-1", 24, Timestamp::UNIX_EPOCH).unwrap();
        let list = Enrolments::load(&path).unwrap();
        let endless = format!("- {{sha256: \"{}\", cluster: c, uid: u, name: n}}\n", "a".repeat(64));
        for (broken, problem) in [("- {", "is not a list of"), (&endless, "enrolment of `n`: expires must say")] {
            std::fs::write(&path, broken).unwrap();
            assert!(list.by_token(&[0; 32]).await.is_none());
            assert!(list.by_token(&hash(&token)).await.is_some(), "{broken} must not lock a machine out");
            assert!(Enrolments::load(&path).unwrap_err().to_string().contains(problem), "{broken}");
        }
        std::fs::write(&path, "").unwrap();
        assert!(list.by_token(&[0; 32]).await.is_none() && list.by_token(&hash(&token)).await.is_none());
    }
}
