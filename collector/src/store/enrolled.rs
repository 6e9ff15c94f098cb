//! Enrolments that were used: which key each token was good for, and the certificate in use. Who may enrol is not known here.

use sqlx::Row;

use super::{Store, StoreError};
use crate::identity::certificate::Family;

/// The use of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim<'a> {
    /// The node's cluster.
    pub cluster: &'a str,
    /// The node's uid.
    pub uid: &'a str,
    /// SHA-256 of the token, hex.
    pub token: &'a str,
    /// SHA-256 of the public key, hex.
    pub key: &'a str,
    /// Of the certificates that go back to this token, hex.
    pub family: &'a str,
    /// Of the certificate that is the answer, hex.
    pub serial: &'a str,
    /// When that ends, Unix milliseconds.
    pub not_after: i64,
    /// Now, Unix milliseconds.
    pub at: i64,
}

/// A certificate in place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal<'a> {
    /// The node's cluster.
    pub cluster: &'a str,
    /// The node's uid.
    pub uid: &'a str,
    /// Of the certificate it was asked for with, and of the new one, hex.
    pub family: &'a str,
    /// Of the new one, hex.
    pub serial: &'a str,
    /// When the new one ends, Unix milliseconds.
    pub not_after: i64,
    /// Now, Unix milliseconds.
    pub at: i64,
}

/// A machine that is enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// The node's cluster.
    pub cluster: String,
    /// The node's uid.
    pub uid: String,
    /// Of the certificates that count for it.
    pub family: Family,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// The token is used by this key from now on.
    First,
    /// By the same key as before.
    Again,
    /// Another key had it before.
    Reused,
}

impl Store {
    /// Uses a token for a key: the first one decides. One transaction, so that of two at once one is the first.
    pub async fn claim_enrolment(&self, claim: &Claim<'_>) -> Result<Claimed, StoreError> {
        let failed = StoreError::query("use an enrolment token");
        let mut transaction = self.writer.begin_with("begin immediate").await.map_err(&failed)?;
        let before = sqlx::query("select token_sha256, key_sha256, family from enrolled where cluster = $1 and uid = $2");
        let before = before.bind(claim.cluster).bind(claim.uid).fetch_optional(&mut *transaction).await.map_err(&failed)?;
        let claimed = match before {
            // The family too: with an older database the use of the token is forgotten, but not by a machine that has renewed since.
            Some(row)
                if row.try_get::<String, _>(0).map_err(&failed)? == claim.token
                    || row.try_get::<String, _>(2).map_err(&failed)? == claim.family =>
            {
                if row.try_get::<String, _>(1).map_err(&failed)? != claim.key {
                    return Ok(Claimed::Reused);
                }
                Claimed::Again
            }
            _ => Claimed::First,
        };
        let sql = "insert into enrolled (cluster, uid, token_sha256, key_sha256, family, serial, not_after, enrolled_at, renewed_at) \
                   values ($1, $2, $3, $4, $5, $6, $7, $8, $8) on conflict (cluster, uid) do update set token_sha256 = excluded.token_sha256, \
                   key_sha256 = excluded.key_sha256, family = excluded.family, serial = excluded.serial, not_after = excluded.not_after, \
                   enrolled_at = case when enrolled.token_sha256 = excluded.token_sha256 then enrolled.enrolled_at else excluded.enrolled_at end, \
                   renewed_at = excluded.renewed_at";
        let query = sqlx::query(sql).bind(claim.cluster).bind(claim.uid).bind(claim.token).bind(claim.key);
        let query = query.bind(claim.family).bind(claim.serial);
        query.bind(claim.not_after).bind(claim.at).execute(&mut *transaction).await.map_err(&failed)?;
        transaction.commit().await.map_err(&failed)?;
        Ok(claimed)
    }

    /// Notes a node's newest certificate, asked for with one of the same family. `false`, and nothing is noted, when the machine was
    /// enrolled anew since: whoever has a certificate of the family before is not that machine.
    pub async fn renew_enrolment(&self, renewal: &Renewal<'_>) -> Result<bool, StoreError> {
        let Renewal { cluster, uid, family, serial, not_after, at } = *renewal;
        // The row may be gone with an older database: the certificate is good all the same, and its family the one that counts.
        let sql = "insert into enrolled (cluster, uid, token_sha256, key_sha256, family, serial, not_after, enrolled_at, renewed_at) \
                   values ($1, $2, '', '', $3, $4, $5, 0, $6) on conflict (cluster, uid) do update set serial = excluded.serial, \
                   not_after = excluded.not_after, renewed_at = excluded.renewed_at where enrolled.family = excluded.family";
        let query = sqlx::query(sql).bind(cluster).bind(uid).bind(family).bind(serial).bind(not_after).bind(at);
        let done = query.execute(&self.writer).await.map_err(StoreError::query("note a renewed certificate"))?;
        Ok(done.rows_affected() > 0)
    }

    /// Every machine that is enrolled.
    pub async fn enrolled(&self) -> Result<Vec<Enrolled>, StoreError> {
        let rows = sqlx::query_as::<_, (String, String, String)>("select cluster, uid, family from enrolled").fetch_all(&self.reader);
        Ok(rows.await.map_err(StoreError::query("read enrolments"))?.into_iter().filter_map(enrolled).collect())
    }

    /// Forgets nodes whose certificate ended before `limit` (Unix milliseconds) and that are not listed any longer. As long as a node is
    /// listed its token may be good, and has to stay good for one key only. Those that were forgotten.
    pub async fn forget_enrolled(&self, limit: i64, listed: impl Fn(&str, &str) -> bool) -> Result<Vec<Enrolled>, StoreError> {
        let rows =
            sqlx::query_as::<_, (String, String, String)>("select cluster, uid, family from enrolled where not_after < $1").bind(limit);
        let rows = rows.fetch_all(&self.reader).await.map_err(StoreError::query("find enrolments of old"))?;
        let mut forgotten = Vec::new();
        for (cluster, uid, family) in rows.into_iter().filter(|(cluster, uid, _)| !listed(cluster, uid)) {
            let gone = sqlx::query("delete from enrolled where cluster = $1 and uid = $2 and not_after < $3");
            let gone = gone.bind(&cluster).bind(&uid).bind(limit).execute(&self.writer).await;
            if gone.map_err(StoreError::query("forget an enrolment"))?.rows_affected() > 0 {
                forgotten.extend(enrolled((cluster, uid, family)));
            }
        }
        Ok(forgotten)
    }
}

/// A row whose family is none says nothing: whoever wrote it was not us.
fn enrolled((cluster, uid, family): (String, String, String)) -> Option<Enrolled> {
    Some(Enrolled { cluster, uid, family: Family::from_hex(&family)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_is_good_for_one_key_and_a_new_token_for_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("holdfast.db")).await.unwrap();
        let claim = Claim { cluster: "c", uid: "u", token: "t1", key: "k1", family: "f1", serial: "1", not_after: 10, at: 1 };
        assert_eq!(store.claim_enrolment(&claim).await.unwrap(), Claimed::First);
        assert_eq!(store.claim_enrolment(&Claim { serial: "2", ..claim.clone() }).await.unwrap(), Claimed::Again);
        assert_eq!(store.claim_enrolment(&Claim { key: "k2", ..claim.clone() }).await.unwrap(), Claimed::Reused);
        let renewal = Renewal { cluster: "c", uid: "u", family: "f1", serial: "3", not_after: 20, at: 2 };
        assert!(store.renew_enrolment(&renewal).await.unwrap());
        assert_eq!(store.claim_enrolment(&Claim { key: "k2", ..claim.clone() }).await.unwrap(), Claimed::Reused);
        // Another node's row is another row.
        assert_eq!(store.claim_enrolment(&Claim { uid: "v", key: "k2", ..claim.clone() }).await.unwrap(), Claimed::First);
        let renewed = Claim { token: "t2", key: "k2", family: "f2", ..claim.clone() };
        assert_eq!(store.claim_enrolment(&renewed).await.unwrap(), Claimed::First);
        assert_eq!(store.claim_enrolment(&renewed).await.unwrap(), Claimed::Again);
        // Whoever has a certificate from before the new token is not the machine any longer; the machine itself is. At the same
        // millisecond, or with a clock that went back.
        assert!(!store.renew_enrolment(&Renewal { at: 1, ..renewal }).await.unwrap());
        assert!(store.renew_enrolment(&Renewal { family: "f2", at: 0, ..renewal }).await.unwrap());
        // Another database: nobody is known, and everybody stays; the first that comes says which family it is.
        assert!(store.renew_enrolment(&Renewal { uid: "x", ..renewal }).await.unwrap());
        assert!(store.renew_enrolment(&Renewal { uid: "x", ..renewal }).await.unwrap());
        assert!(!store.renew_enrolment(&Renewal { uid: "x", family: "f2", ..renewal }).await.unwrap());

        // Two at once: one of them is the first.
        let (one, other) = (Claim { uid: "w", key: "k1", ..claim.clone() }, Claim { uid: "w", key: "k2", ..claim });
        let both = tokio::join!(store.claim_enrolment(&one), store.claim_enrolment(&other));
        let mut both = [both.0.unwrap(), both.1.unwrap()].map(|claimed| format!("{claimed:?}"));
        both.sort();
        assert_eq!(both, ["First", "Reused"]);
    }

    /// A used token is good for nothing, also after the database was lost: the machine's own certificate says by which it was enrolled.
    #[tokio::test]
    async fn a_used_token_is_not_good_again_with_an_empty_database_once_its_machine_has_renewed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("holdfast.db")).await.unwrap();
        let renewal = Renewal { cluster: "c", uid: "u", family: "f1", serial: "3", not_after: 20, at: 2 };
        assert!(store.renew_enrolment(&renewal).await.unwrap());
        let thief = Claim { cluster: "c", uid: "u", token: "t1", key: "k2", family: "f1", serial: "4", not_after: 20, at: 3 };
        assert_eq!(store.claim_enrolment(&thief).await.unwrap(), Claimed::Reused);
        let anew = Claim { token: "t2", family: "f2", ..thief };
        assert_eq!(store.claim_enrolment(&anew).await.unwrap(), Claimed::First, "a new token is");
    }

    #[tokio::test]
    async fn only_who_is_not_listed_and_has_no_certificate_for_long_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("holdfast.db")).await.unwrap();
        let family = Family::of(&[1; 32]);
        let text = family.hex();
        let claim = Claim { cluster: "c", uid: "gone", token: "t", key: "k", family: &text, serial: "1", not_after: 10, at: 1 };
        for claim in [claim.clone(), Claim { uid: "listed", ..claim.clone() }, Claim { uid: "young", not_after: 20, ..claim }] {
            store.claim_enrolment(&claim).await.unwrap();
        }
        let forgotten = store.forget_enrolled(20, |cluster, uid| (cluster, uid) == ("c", "listed")).await.unwrap();
        let enrolled = |uid: &str| Enrolled { cluster: "c".into(), uid: uid.into(), family };
        assert_eq!(forgotten, [enrolled("gone")]);
        let mut left = store.enrolled().await.unwrap();
        left.sort_by(|a, b| a.uid.cmp(&b.uid));
        assert_eq!(left, [enrolled("listed"), enrolled("young")]);
    }
}
