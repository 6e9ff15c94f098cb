//! The same rows as files: same path, same filter, same order, all rows.

use axum::extract::State;
use axum::http::Uri;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::findings::with_default_verdict;
use super::marks::visible;
use crate::http::{Failure, Json, Shared, Site, pairs};
use crate::store::views::{At, ChainFilter, ChainRow, Filter, FindingRow, NodeRow};

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

async fn kernels(site: &Site, uri: &Uri) -> Result<(Vec<ChainRow>, ChainFilter), Failure> {
    let (filter, problems) = ChainFilter::read(&pairs(uri), &[]);
    Failure::refuse(&problems)?;
    let rows = site.views.all_chain(&filter, MOST, site.now()).await?;
    Ok((whole(rows)?, filter))
}

pub(super) async fn kernels_csv(State(site): State<Shared>, uri: Uri) -> Result<Response, Failure> {
    const HEADER: [&str; 24] = [
        "cluster",
        "node",
        "node_state",
        "component",
        "subject",
        "headline",
        "running",
        "image",
        "kernel",
        "installed",
        "waiting",
        "boot_default",
        "activation",
        "since",
        "fixed_in",
        "support",
        "ends",
        "judged_by",
        "behind_days",
        "affecting",
        "exploited",
        "possible",
        "because",
        "action",
    ];
    let (rows, _) = kernels(&site, &uri).await?;
    let line = |row: &ChainRow| {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
        // Not waiting and not fixed are no gaps in what is known.
        let none = |value: &Option<String>| value.clone().unwrap_or_default();
        let since = if row.since.0 > 0 { row.since.to_string() } else { String::new() };
        let behind = row.behind_days.map_or_else(|| "unknown".to_owned(), |days| days.to_string());
        let counts = [row.affecting, row.exploited, row.possible].map(|n| n.to_string());
        let cells = [row.cluster.clone(), row.node.clone(), row.node_state.name().to_owned(), row.component.clone(), row.subject.clone()];
        let what = [row.headline.name().to_owned(), text(&row.running), text(&row.image), text(&row.kernel), text(&row.installed)];
        let waits = [none(&row.waiting), none(&row.boot_default), text(&row.activation), since, none(&row.fixed_in)];
        let life = [text(&row.support), none(&row.ends), none(&row.judged_by), behind];
        let said = [row.because.clone(), row.action.clone()];
        let cells: Vec<String> = cells.into_iter().chain(what).chain(waits).chain(life).chain(counts).chain(said).collect();
        csv_line(cells.iter().map(String::as_str))
    };
    Ok(file(&site, "kernels", std::iter::once(csv_line(HEADER.into_iter())).chain(rows.iter().map(line)).collect()))
}

pub(super) async fn kernels_json(State(site): State<Shared>, uri: Uri) -> Result<Response, Failure> {
    let (rows, filter) = kernels(&site, &uri).await?;
    let totals = site.views.node_totals(site.started).await?;
    let chain = site.views.chain_totals(&filter, site.now()).await?;
    let as_of = site.app.library.borrow().knowledge.as_of().to_string();
    let body = json!({
        "as_of": At(site.now()), "knowledge_as_of": as_of, "filter": filter.to_query(), "count": rows.len(), "chain": chain,
        "nodes": {"counted": totals.current(), "all": totals.all()}, "rows": rows,
    });
    Ok(Json(body).into_response())
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
        let cell = visible(cell);
        // Spreadsheets look past spaces, and some take the wide forms for the narrow.
        let guard = if cell.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']) { "'" } else { "" };
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
        assert_eq!(csv_line([" =cmd()", "＝cmd()", "\t=cmd()"].into_iter()), "\"' =cmd()\",\"'＝cmd()\",\"\\u0009=cmd()\"\r\n");
        assert_eq!(csv_line(["=cmd()", "a\"b", "-1", "plain"].into_iter()), "\"'=cmd()\",\"a\"\"b\",\"'-1\",\"plain\"\r\n");
    }
}
