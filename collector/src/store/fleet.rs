//! What the collector's own checks read: a node's identity and the few inventory documents they judge by.
//!
//! Must not know checks. The findings themselves are written by `ingest`, like every other.

use super::{Store, StoreError};

/// A node with the documents the collector judges it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgedNode {
    /// Its cluster.
    pub cluster: String,
    /// Its name.
    pub name: String,
    /// Is it a recording.
    pub recorded: bool,
    /// `(kind, name, json)`, in key order.
    pub documents: Vec<(String, String, String)>,
}

impl Store {
    /// The nodes there are, without those that are gone.
    pub async fn nodes_to_judge(&self) -> Result<Vec<i64>, StoreError> {
        let select = "select node_id from nodes where state <> 'gone' order by node_id";
        sqlx::query_scalar(select).fetch_all(&self.reader).await.map_err(StoreError::query("read nodes to judge"))
    }

    /// One node as the collector's checks see it; `None` when it is not there any more.
    pub async fn node_to_judge(&self, node_id: i64) -> Result<Option<JudgedNode>, StoreError> {
        let failed = StoreError::query("read a node to judge");
        let select = "select cluster, name, origin = 'recorded' from nodes where node_id = $1";
        let found =
            sqlx::query_as::<_, (String, String, bool)>(select).bind(node_id).fetch_optional(&self.reader).await.map_err(&failed)?;
        let Some((cluster, name, recorded)) = found else { return Ok(None) };
        let select = "select kind, name, json from inventory \
            where node_id = $1 and (kind in ('node', 'os', 'kernel', 'component', 'runtime', 'listener', 'certificate') \
            or (kind = 'setting' and name like '%/readOnlyPort') \
            or (kind = 'group' and name in ('os', 'kernel', 'kubelets', 'components', 'runtimes', 'listeners', 'certificates'))) \
            order by kind, name";
        let documents = sqlx::query_as(select).bind(node_id).fetch_all(&self.reader).await.map_err(&failed)?;
        Ok(Some(JudgedNode { cluster, name, recorded, documents }))
    }
}
