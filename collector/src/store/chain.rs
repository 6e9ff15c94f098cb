//! The patch chain as columns: a row for each link of each node, made of the verdicts on its versions and replaced in the transaction
//! that replaces the collector's findings.
//!
//! Must not know checks, pages or how a version is judged.

use std::collections::BTreeMap;

use holdfast_checks::facts::NodeFacts;
use holdfast_checks::versions::fleet::{Cohort, Lined, Order, image, lined};
use holdfast_checks::versions::{ActivationState, Headline, Link, Support, SupportState};
use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row, SqliteConnection};

use super::ingest::json;
use super::{Store, StoreError};

/// The longest name kept in a column, in characters; longer ones are cut and marked.
const MAX_NAME: usize = 256;
/// The most links of a node that are kept, the first by subject: no node runs that many runtimes.
pub const MAX_LINKS: usize = 256;

/// A link as the table has it. The columns are explained in the migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the migration says what each column is")]
pub struct ChainRow {
    pub subject: String,
    pub component: String,
    pub image: String,
    pub kernel: String,
    pub running: String,
    pub waiting: String,
    pub fixed_in: String,
    pub headline: i64,
    pub support: String,
    pub ends: String,
    pub judged_by: String,
    pub behind_days: i64,
    pub affecting: i64,
    pub exploited: i64,
    pub possible: i64,
    pub activation: String,
    pub line: String,
    pub level_order: String,
    pub level: String,
    pub json: String,
}

impl FromRow<'_, SqliteRow> for ChainRow {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            subject: row.try_get("subject")?,
            component: row.try_get("component")?,
            image: row.try_get("image")?,
            kernel: row.try_get("kernel")?,
            running: row.try_get("running")?,
            waiting: row.try_get("waiting")?,
            fixed_in: row.try_get("fixed_in")?,
            headline: row.try_get("headline")?,
            support: row.try_get("support")?,
            ends: row.try_get("ends")?,
            judged_by: row.try_get("judged_by")?,
            behind_days: row.try_get("behind_days")?,
            affecting: row.try_get("affecting")?,
            exploited: row.try_get("exploited")?,
            possible: row.try_get("possible")?,
            activation: row.try_get("activation")?,
            line: row.try_get("line")?,
            level_order: row.try_get("level_order")?,
            level: row.try_get("level")?,
            json: row.try_get("json")?,
        })
    }
}

/// The rows of a node whose versions have been judged; none where they have not. A subject that is there twice counts once.
pub fn rows(facts: &NodeFacts) -> Vec<ChainRow> {
    let Some(versions) = facts.versions.value() else { return Vec::new() };
    let image = facts.os.value().map(image).unwrap_or_default();
    let kernel = facts.kernel.value().map(|kernel| name(&kernel.release)).unwrap_or_default();
    let components = versions.components.value().map(|list| list.items.as_slice()).unwrap_or_default();
    let links = versions.os.value().into_iter().chain(versions.kernel.value()).chain(components);
    let rows: BTreeMap<&str, ChainRow> = links.map(|link| (link.subject.as_str(), row(facts, link, &image, &kernel))).collect();
    rows.into_values().take(MAX_LINKS).collect()
}

fn row(facts: &NodeFacts, link: &Link, image: &str, kernel: &str) -> ChainRow {
    let support = link.support.value();
    let activation = link.activation.value().map(|activation| activation.state);
    let waits = activation.is_some_and(|state| state != ActivationState::Active);
    let vulnerability = link.vulnerability.value();
    let counted = |count: fn(&holdfast_checks::versions::Vulnerability) -> i64| vulnerability.map_or(0, count);
    let Lined { line, level } = lined(facts, link);
    ChainRow {
        subject: name(&link.subject),
        component: name(&link.component),
        image: image.to_owned(),
        kernel: kernel.to_owned(),
        running: name(&link.running),
        waiting: link.installed.value().filter(|_| waits).map(|installed| name(installed)).unwrap_or_default(),
        fixed_in: vulnerability.and_then(|known| known.fixed_in.as_deref()).map(name).unwrap_or_default(),
        headline: headline_number(link.headline),
        support: support.map_or("", |support| support_name(support.state)).to_owned(),
        ends: support.and_then(last_day).unwrap_or_default(),
        judged_by: support.map(|support| name(&support.judged_by)).unwrap_or_default(),
        behind_days: link.patch.value().and_then(|patch| patch.days).unwrap_or(-1),
        affecting: counted(|known| known.affecting),
        exploited: counted(|known| known.exploited),
        possible: counted(|known| known.possible),
        activation: activation.map_or("", activation_name).to_owned(),
        line,
        level_order: level.as_ref().map_or("", |level| level.order.name()).to_owned(),
        level: level.map(|level| level.version).unwrap_or_default(),
        // A link serialises: it is facts.
        json: serde_json::to_string(link).unwrap_or_default(),
    }
}

/// The last day of the support that it has: of the free extension where that is what is left.
fn last_day(support: &Support) -> Option<String> {
    let extended = matches!(support.state, SupportState::ExtendedFree | SupportState::ExtendedPaid);
    let last = if extended { support.extended_ends.as_ref() } else { None };
    last.or(support.ends.as_ref()).cloned()
}

/// The number of a headline: its place among all, the worst is 1.
pub fn headline_number(headline: Headline) -> i64 {
    (1..).zip(Headline::ALL).find(|(_, known)| *known == headline).map_or(0, |(number, _)| number)
}

/// The headline of a number.
pub fn headline_from(number: i64) -> Option<Headline> {
    usize::try_from(number).ok()?.checked_sub(1).and_then(|at| Headline::ALL.get(at).copied())
}

/// The name in the store.
pub fn support_name(state: SupportState) -> &'static str {
    match state {
        SupportState::Supported => "supported",
        SupportState::EolSoon => "eol_soon",
        SupportState::ExtendedFree => "extended_free",
        SupportState::ExtendedPaid => "extended_paid",
        SupportState::Eol => "eol",
    }
}

/// The name in the store.
pub fn activation_name(state: ActivationState) -> &'static str {
    match state {
        ActivationState::Active => "active",
        ActivationState::RebootPending => "reboot_pending",
        ActivationState::RestartPending => "restart_pending",
        ActivationState::NewerNotSelected => "newer_not_selected",
    }
}

/// NUL has no place in a column.
fn name(text: &str) -> String {
    let mut name: String = text.chars().filter(|character| *character != '\0').take(MAX_NAME).collect();
    if text.chars().nth(MAX_NAME).is_some() {
        name.push('…');
    }
    name
}

/// How many nodes run a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Whom it compares with.
    pub cohort: Cohort,
    /// Are these recordings.
    pub recorded: bool,
    /// The version.
    pub level: String,
    /// Nodes, not links.
    pub nodes: i64,
}

impl Store {
    /// What connected and silent nodes run, and recordings beside them, where it compares with others.
    pub async fn running(&self) -> Result<Vec<Running>, StoreError> {
        let select = "select c.component, c.image, c.line, c.level_order, c.level, n.origin = 'recorded', count(distinct c.node_id) \
             from chain as c join nodes as n on n.node_id = c.node_id where c.level <> '' and c.image <> '' \
             and (n.state in ('connected', 'silent') or (n.origin = 'recorded' and n.state <> 'gone')) group by 1, 2, 3, 4, 5, 6";
        let rows = sqlx::query_as::<_, (String, String, String, String, String, bool, i64)>(select).fetch_all(&self.reader).await;
        let rows = rows.map_err(StoreError::query("count what nodes run"))?;
        let running = |(component, image, line, order, level, recorded, nodes): (String, String, String, String, String, bool, i64)| {
            // An order that this version does not know is another version's: the node is judged again soon.
            let cohort = Cohort { component, image, line, order: Order::by_name(&order)? };
            Some(Running { cohort, recorded, level, nodes })
        };
        Ok(rows.into_iter().filter_map(running).collect())
    }

    /// The nodes that have a link in a cohort.
    pub async fn nodes_of(&self, cohort: &Cohort) -> Result<Vec<i64>, StoreError> {
        let select =
            "select distinct node_id from chain where component = $1 and image = $2 and line = $3 and level_order = $4 and level <> ''";
        let query = sqlx::query_scalar(select).bind(&cohort.component).bind(&cohort.image).bind(&cohort.line).bind(cohort.order.name());
        query.fetch_all(&self.reader).await.map_err(StoreError::query("find nodes to compare"))
    }
}

/// The stored rows of a node, by subject.
async fn stored(conn: &mut SqliteConnection, node_id: i64) -> Result<Vec<ChainRow>, StoreError> {
    let select = "select subject, component, image, kernel, running, waiting, fixed_in, headline, support, ends, judged_by, behind_days, \
                  affecting, exploited, possible, activation, line, level_order, level, json from chain where node_id = $1 order by subject";
    sqlx::query_as(select).bind(node_id).fetch_all(conn).await.map_err(StoreError::query("read a node's patch chain"))
}

/// What has to be written so that a node's rows are those that were judged.
pub(super) struct Plan<'a> {
    changed: Vec<&'a ChainRow>,
    gone: Vec<String>,
}

impl<'a> Plan<'a> {
    /// Compares what is stored with `rows`.
    pub(super) async fn make(conn: &mut SqliteConnection, node_id: i64, rows: &'a [ChainRow]) -> Result<Self, StoreError> {
        let stored = stored(conn, node_id).await?;
        let changed = rows.iter().filter(|row| !stored.contains(row)).collect();
        let lost = |old: &ChainRow| !rows.iter().any(|row| row.subject == old.subject);
        let gone = stored.into_iter().filter(lost).map(|old| old.subject).collect();
        Ok(Self { changed, gone })
    }

    /// Is there nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.gone.is_empty()
    }

    /// Writes what differs.
    pub(super) async fn write(&self, conn: &mut SqliteConnection, node_id: i64) -> Result<(), StoreError> {
        if self.is_empty() {
            return Ok(());
        }
        let old: Vec<&str> = self.changed.iter().map(|row| row.subject.as_str()).chain(self.gone.iter().map(String::as_str)).collect();
        let delete = "delete from chain where node_id = $1 and subject in (select value from json_each($2))";
        let query = sqlx::query(delete).bind(node_id).bind(json(&old)?);
        query.execute(&mut *conn).await.map_err(StoreError::query("replace links of the patch chain"))?;
        let insert = "insert into chain (node_id, subject, component, image, kernel, running, waiting, fixed_in, headline, \
             support, ends, judged_by, behind_days, affecting, exploited, possible, activation, line, level_order, level, json) \
             select $1, value ->> 'subject', value ->> 'component', value ->> 'image', value ->> 'kernel', value ->> 'running', \
             value ->> 'waiting', value ->> 'fixed_in', value ->> 'headline', value ->> 'support', value ->> 'ends', value ->> 'judged_by', \
             value ->> 'behind_days', value ->> 'affecting', value ->> 'exploited', value ->> 'possible', value ->> 'activation', \
             value ->> 'line', value ->> 'level_order', value ->> 'level', value ->> 'json' from json_each($2)";
        let query = sqlx::query(insert).bind(node_id).bind(json(&self.changed)?);
        query.execute(conn).await.map_err(StoreError::query("write the patch chain"))?;
        Ok(())
    }
}
