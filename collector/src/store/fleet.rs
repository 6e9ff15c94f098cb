//! What the collector's own checks read: a node's identity and the few inventory documents they judge by.
//!
//! Must not know checks. The findings themselves are written by `ingest`, like every other.

use sqlx::Row;

use super::membership::Membership;
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
    /// Who opened its last session; empty: nobody yet, or an earlier version did not say.
    pub holder: String,
    /// How it stands to the Node objects of its cluster.
    pub standing: Standing,
    /// `(kind, name, json)`, in key order.
    pub documents: Vec<(String, String, String)>,
}

/// How a node stands to the Node objects of its cluster. Times are Unix milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The node's uid.
    pub uid: String,
    /// What was known of its Node object last.
    pub membership: Membership,
    /// Since when.
    pub membership_since: i64,
    /// Why no agent can run there; empty where one is expected.
    pub unwatchable: String,
    /// Did an agent ever speak for it.
    pub spoke: bool,
    /// When the node was first heard of.
    pub first_seen: i64,
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
        let select = "select cluster, name, origin = 'recorded' as recorded, uid, membership, membership_since, unwatchable, \
                      last_seen > 0 as spoke, first_seen, holder from nodes where node_id = $1";
        let found = sqlx::query(select).bind(node_id).fetch_optional(&self.reader).await.map_err(&failed)?;
        let Some(row) = found else { return Ok(None) };
        let standing = Standing {
            uid: row.try_get("uid").map_err(&failed)?,
            membership: Membership::from_name(&row.try_get::<String, _>("membership").map_err(&failed)?),
            membership_since: row.try_get("membership_since").map_err(&failed)?,
            unwatchable: row.try_get("unwatchable").map_err(&failed)?,
            spoke: row.try_get("spoke").map_err(&failed)?,
            first_seen: row.try_get("first_seen").map_err(&failed)?,
        };
        let (cluster, name) = (row.try_get("cluster").map_err(&failed)?, row.try_get("name").map_err(&failed)?);
        let (recorded, holder) = (row.try_get("recorded").map_err(&failed)?, row.try_get("holder").map_err(&failed)?);
        let select = "select kind, name, json from inventory \
            where node_id = $1 and (kind in ('node', 'os', 'kernel', 'component', 'runtime', 'listener', 'certificate') \
            or (kind = 'setting' and name like '%/readOnlyPort') \
            or (kind = 'group' and name in ('os', 'kernel', 'kubelets', 'components', 'runtimes', 'listeners', 'certificates'))) \
            order by kind, name";
        let documents = sqlx::query_as(select).bind(node_id).fetch_all(&self.reader).await.map_err(&failed)?;
        Ok(Some(JudgedNode { cluster, name, recorded, holder, standing, documents }))
    }
}
