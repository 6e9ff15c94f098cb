//! The same rows as files: same path, same filter, same order, all rows.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::findings::with_default_verdict;
use crate::http::{Failure, Shared, Site, pairs};
use crate::store::views::{At, Filter, FindingRow, NodeRow};

/// The most rows of one file. Beyond that the file would be cut silently, so the request is refused.
const MOST: i64 = 200_000;

fn filter(uri: &Uri) -> Result<Filter, Failure> {
    let (filter, problems) = Filter::read(&pairs(uri), &[]);
    Failure::refuse(&problems)?;
    Ok(filter)
}

fn whole<T>(rows: Vec<T>) -> Result<Vec<T>, Failure> {
    let fits = i64::try_from(rows.len()).is_ok_and(|rows| rows < MOST);
    if fits { Ok(rows) } else { Err(Failure::Bad(format!("more than {MOST} rows match: narrow the filter"))) }
}

async fn findings(site: &Site, uri: &Uri) -> Result<(Vec<FindingRow>, Filter), Failure> {
    let filter = with_default_verdict(filter(uri)?);
    let rows = site.views.all_findings(&site.views.select(&filter, site.now()), MOST).await?;
    Ok((whole(rows)?, filter))
}

async fn nodes(site: &Site, uri: &Uri) -> Result<(Vec<NodeRow>, Filter), Failure> {
    let filter = filter(uri)?;
    let rows = site.views.all_nodes(&site.views.select(&filter, site.now()), MOST).await?;
    Ok((whole(rows)?, filter))
}

pub(super) async fn findings_csv(State(site): State<Shared>, uri: Uri) -> Result<Response, Failure> {
    let (rows, _) = findings(&site, &uri).await?;
    let header =
        ["id", "cluster", "node", "node_state", "check", "subject", "title", "verdict", "severity", "reason", "deciding", "first_seen"];
    let header = header.into_iter().chain(["changed_at", "confirmed_at"]);
    let line = |row: &FindingRow| {
        let times = [row.first_seen, row.changed_at, row.confirmed_at].map(|at| at.to_string());
        let [first, changed, confirmed] = times;
        let text = [row.id.as_str(), &row.cluster, &row.node, row.node_state.name(), &row.check, &row.subject, &row.title];
        let more = [row.verdict.name(), row.severity.name(), &row.reason, &row.deciding, &first, &changed, &confirmed];
        csv_line(text.into_iter().chain(more))
    };
    Ok(file(&site, "findings", std::iter::once(csv_line(header.into_iter())).chain(rows.iter().map(line)).collect()))
}

pub(super) async fn nodes_csv(State(site): State<Shared>, uri: Uri) -> Result<Response, Failure> {
    let (rows, _) = nodes(&site, &uri).await?;
    let header =
        ["cluster", "name", "uid", "state", "system", "critical", "high", "medium", "fail", "unknown", "manual", "pass", "confirmed_at"];
    let line = |row: &NodeRow| {
        let counts = [row.critical, row.high, row.medium, row.fail, row.unknown, row.manual, row.pass].map(|n| n.to_string());
        let confirmed = row.confirmed_at.to_string();
        let text = [row.cluster.as_str(), &row.name, &row.uid, row.state.name(), &row.system];
        csv_line(text.into_iter().chain(counts.iter().map(String::as_str)).chain([confirmed.as_str()]))
    };
    Ok(file(&site, "nodes", std::iter::once(csv_line(header.into_iter())).chain(rows.iter().map(line)).collect()))
}

fn file(site: &Site, stem: &str, body: String) -> Response {
    let stamp: String = At(site.now()).to_string().chars().take(19).filter(|character| *character != ':').collect();
    let name = format!("attachment; filename=\"{stem}-{stamp}Z.csv\"");
    ([(CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (CONTENT_DISPOSITION, name)], body).into_response()
}

pub(super) async fn findings_json(State(site): State<Shared>, uri: Uri) -> Result<Response, Failure> {
    let (rows, filter) = findings(&site, &uri).await?;
    Ok(Json(scoped(&site, &filter, rows.len(), json!(rows)).await?).into_response())
}

pub(super) async fn nodes_json(State(site): State<Shared>, uri: Uri) -> Result<Response, Failure> {
    let (rows, filter) = nodes(&site, &uri).await?;
    Ok(Json(scoped(&site, &filter, rows.len(), json!(rows)).await?).into_response())
}

/// Rows with what they are rows of.
async fn scoped(site: &Site, filter: &Filter, count: usize, rows: serde_json::Value) -> Result<serde_json::Value, Failure> {
    let totals = site.views.node_totals(site.started).await?;
    Ok(json!({
        "as_of": At(site.now()), "filter": filter.to_query(), "count": count,
        "nodes": {"counted": totals.current(), "all": totals.all()},
        "catalogue_hash": site.views.catalogue().hash().to_string(), "rows": rows,
    }))
}

/// One CSV line. A cell a spreadsheet would take for a formula gets a quote in front.
fn csv_line<'a>(cells: impl Iterator<Item = &'a str> + 'a) -> String {
    let cell = |cell: &str| {
        let guard = if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
        format!("\"{guard}{}\"", cell.replace('"', "\"\""))
    };
    let mut line = cells.map(cell).collect::<Vec<_>>().join(",");
    line.push_str("\r\n");
    line
}

#[cfg(test)]
mod tests {
    use super::csv_line;

    #[test]
    fn a_cell_is_never_a_formula() {
        assert_eq!(csv_line(["=cmd()", "a\"b", "-1", "plain"].into_iter()), "\"'=cmd()\",\"a\"\"b\",\"'-1\",\"plain\"\r\n");
    }
}
