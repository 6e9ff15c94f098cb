//! What a node made of its policy, and how many made what of it.

use sqlx::sqlite::SqlitePool;

use super::{NodeRow, ViewError, Views, failed};
use crate::store::policy::{PolicyCount, StoredPolicy};

impl Views {
    /// The last word of a node; `None` when it never had one.
    pub async fn node_policy(&self, node: &NodeRow) -> Result<Option<StoredPolicy>, ViewError> {
        let select = "select hash, held, state, reason, since from policy_status where node_id = $1";
        let query = sqlx::query_as::<_, (String, String, String, String, i64)>(select).bind(node.node_id);
        let found = query.fetch_optional(&self.reader).await.map_err(failed("read a node's policy"))?;
        Ok(found.map(|(hash, held, state, reason, since)| StoredPolicy { hash, held, state, reason, since }))
    }

    /// Nodes that refused a policy: cluster, name and which. The first two hundred.
    pub async fn refused_policies(&self) -> Result<Vec<(String, String, String)>, ViewError> {
        let select = "select n.cluster, n.name, p.hash from policy_status p join nodes n on n.node_id = p.node_id \
                      where p.state = 'refused' and n.state <> 'gone' order by n.cluster, n.name, n.node_id limit 200";
        sqlx::query_as(select).fetch_all(&self.reader).await.map_err(failed("list nodes that refused a policy"))
    }

    /// How many nodes that are not gone said what.
    pub async fn policy_counts(&self) -> Result<Vec<PolicyCount>, ViewError> {
        policy_counts(&self.reader).await.map_err(failed("count nodes by policy"))
    }
}

/// The same for whoever has only a connection.
pub(crate) async fn policy_counts(reader: &SqlitePool) -> Result<Vec<PolicyCount>, sqlx::Error> {
    let select = "select n.cluster, p.hash, p.state, count(*) from nodes n left join policy_status p on p.node_id = n.node_id \
                  where n.state <> 'gone' group by n.cluster, p.hash, p.state order by n.cluster, p.hash, p.state";
    let rows = sqlx::query_as::<_, (String, Option<String>, Option<String>, i64)>(select).fetch_all(reader).await?;
    Ok(rows.into_iter().map(|(cluster, hash, state, nodes)| PolicyCount { cluster, stored: hash.zip(state), nodes }).collect())
}
