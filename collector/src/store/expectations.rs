//! The built-in expectations laid over failing findings: which one covers a finding is stored beside its verdict, never in it.
//!
//! Written with the finding, made anew at start when the list has changed. Must not know who shows or alerts.

use std::sync::LazyLock;
use std::time::Instant;

use holdfast_checks::entries::{Hash, Verdict};
use holdfast_checks::waivers::{self, Waiver};

use super::containers::{derived_with, set_derived};
use super::ingest::json;
use super::{Store, StoreError, verdict_number};

/// The name in `derived`.
const TABLE: &str = "expectations";

/// Those that ship. A list that does not load expects nothing: then everything that fails is open.
static BUILT_IN: LazyLock<Vec<Waiver>> = LazyLock::new(|| match waivers::built_in() {
    // A day on which one ends would have to be looked at every day; none that ships has one.
    Ok(list) => list.into_iter().filter(|waiver| waiver.until.is_none()).collect(),
    Err(error) => {
        tracing::error!(%error, "the built-in expectations do not load: nothing is expected to fail");
        Vec::new()
    }
});

/// Every built-in expectation.
pub fn built_in() -> &'static [Waiver] {
    &BUILT_IN
}

/// The id of the expectation that covers a finding; empty when it is open, or does not fail.
pub(super) fn covering(verdict: Verdict, check: &str, subject: &str) -> &'static str {
    if verdict != Verdict::Fail {
        return "";
    }
    waivers::expected(built_in(), check, subject).map_or("", |waiver| waiver.id.as_str())
}

/// Changes when the list does.
fn version() -> Result<String, StoreError> {
    let list = json(built_in())?;
    Ok(Hash::of_fields([list.as_bytes()]).to_string())
}

impl Store {
    /// Lays the list over what is stored when it was written under another one: findings that did not change are not sent again.
    pub(super) async fn derive_expectations(&self) -> Result<(), StoreError> {
        let failed = || StoreError::query("lay the expectations over stored findings");
        let version = version()?;
        let mut transaction = self.writer.begin_with("begin immediate").await.map_err(failed())?;
        if derived_with(&mut transaction, TABLE).await?.as_deref() == Some(version.as_str()) {
            return Ok(());
        }
        let begun = Instant::now();
        let fail = verdict_number(Verdict::Fail);
        let select = "select distinct node_id from findings where verdict = $1";
        let nodes: Vec<i64> = sqlx::query_scalar(select).bind(fail).fetch_all(&mut *transaction).await.map_err(failed())?;
        tracing::info!(nodes = nodes.len(), "laying the built-in expectations over stored findings: the list has changed");
        let (count, mut changed) = (nodes.len(), 0);
        for node_id in nodes {
            let select = "select check_id, subject, waiver from findings where node_id = $1 and verdict = $2";
            let query = sqlx::query_as::<_, (String, String, String)>(select).bind(node_id).bind(fail);
            let findings = query.fetch_all(&mut *transaction).await.map_err(failed())?;
            let moved: Vec<_> = findings
                .iter()
                .map(|(check, subject, old)| (check, subject, old, covering(Verdict::Fail, check, subject)))
                .filter(|(_, _, old, new)| old.as_str() != *new)
                .map(|(check, subject, _, new)| (check, subject, new))
                .collect();
            if moved.is_empty() {
                continue;
            }
            changed += moved.len();
            let update = "update findings set waiver = m.value ->> 2 from json_each($2) as m \
                          where node_id = $1 and check_id = m.value ->> 0 and subject = m.value ->> 1";
            sqlx::query(update).bind(node_id).bind(json(&moved)?).execute(&mut *transaction).await.map_err(failed())?;
        }
        for sql in [
            "delete from counts",
            "insert into counts (node_id, check_id, severity, verdict, waiver, n) \
             select node_id, check_id, severity, verdict, waiver, count(*) from findings group by 1, 2, 3, 4, 5",
        ] {
            sqlx::query(sql).execute(&mut *transaction).await.map_err(failed())?;
        }
        set_derived(&mut transaction, TABLE, &version).await?;
        transaction.commit().await.map_err(failed())?;
        tracing::info!(nodes = count, findings = changed, took = ?begun.elapsed(), "the built-in expectations are laid");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_fails_is_expected_to() {
        assert!(!built_in().is_empty(), "the list loads");
        let subject = "pod:kube-system/kube-proxy-x7k2p/kube-proxy";
        assert_eq!(covering(Verdict::Fail, "container-root", subject), "kube-proxy");
        for verdict in [Verdict::Pass, Verdict::Unknown, Verdict::Manual, Verdict::NotApplicable] {
            assert_eq!(covering(verdict, "container-root", subject), "");
        }
        assert_eq!(covering(Verdict::Fail, "container-root", "pod:shop/kube-proxy-x7k2p/kube-proxy"), "");
    }
}
