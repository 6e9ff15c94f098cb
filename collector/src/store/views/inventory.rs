//! Inventory documents of nodes.

use holdfast_checks::inventory::kinds;
use serde_json::Value;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::codes::At;
use super::nodes::NodeRow;
use super::{ViewError, Views, failed};

/// The most documents of one node and kind read for a page.
const MOST: i64 = 5000;

/// One document. What does not parse is `null`.
#[derive(Debug, Clone)]
pub struct InventoryRow {
    /// Its name within the kind.
    pub name: String,
    /// The document.
    pub document: Value,
    /// When it last changed.
    pub changed_at: At,
}

impl InventoryRow {
    /// Text of a field; empty when absent.
    pub fn text(&self, field: &str) -> String {
        text(&self.document, field)
    }
}

/// Text of a field of a document; empty when absent.
pub(super) fn text(document: &Value, field: &str) -> String {
    match document.get(field) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    }
}

impl Views {
    /// The documents of one kind on one node, by name.
    pub async fn inventory(&self, node: &NodeRow, kind: &str) -> Result<Vec<InventoryRow>, ViewError> {
        let rows = sqlx::query("select name, json, changed_at from inventory where node_id = $1 and kind = $2 order by name limit $3")
            .bind(node.node_id)
            .bind(kind)
            .bind(MOST)
            .fetch_all(&self.reader)
            .await
            .map_err(failed("read inventory"))?;
        let read = |row: &sqlx::sqlite::SqliteRow| InventoryRow {
            name: row.get("name"),
            document: serde_json::from_str(&row.get::<String, _>("json")).unwrap_or(Value::Null),
            changed_at: At(row.get("changed_at")),
        };
        Ok(rows.iter().map(read).collect())
    }

    /// Fills in operating system and kernel.
    pub(super) async fn name_systems(&self, nodes: &mut [NodeRow]) -> Result<(), ViewError> {
        for chunk in nodes.chunks_mut(500) {
            let mut query: QueryBuilder<Sqlite> = QueryBuilder::new("select node_id, kind, json from inventory where kind in (");
            query.push_bind(kinds::OS).push(", ").push_bind(kinds::KERNEL).push(") and node_id in (");
            let mut list = query.separated(", ");
            for node in chunk.iter() {
                list.push_bind(node.node_id);
            }
            query.push(")");
            let rows = query.build().fetch_all(&self.reader).await.map_err(failed("read operating systems"))?;
            for node in chunk {
                let document = |kind: &str| {
                    let row =
                        rows.iter().find(|row| row.get::<i64, _>("node_id") == node.node_id && row.get::<String, _>("kind") == kind)?;
                    serde_json::from_str::<Value>(&row.get::<String, _>("json")).ok()
                };
                let os = document(kinds::OS).map(|os| first(&os, &["pretty_name", "name", "id"])).filter(|text| !text.is_empty());
                let kernel = document(kinds::KERNEL).map(|kernel| text(&kernel, "release")).filter(|text| !text.is_empty());
                let unknown = || "unknown".to_owned();
                node.system = format!("{} · {}", os.unwrap_or_else(unknown), kernel.unwrap_or_else(unknown));
            }
        }
        Ok(())
    }
}

fn first(document: &Value, fields: &[&str]) -> String {
    fields.iter().map(|field| text(document, field)).find(|text| !text.is_empty()).unwrap_or_default()
}
