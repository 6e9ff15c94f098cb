//! Until when a product's release is supported: rows with a source and the day they were true on.
//!
//! A row is made of everything that was said about a release: the newest statement stands, an older one fills what it left out.
//! What no feed says about a product (whether its extension costs, whom it follows) is policy and stays. Must not know kernels.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::level::Level;
use super::{KnowledgeError, Release};

/// Upstream's series, of which kernel.org lists those that are alive.
pub(super) const KERNEL: &str = "linux-kernel";

/// Lifecycle rows by product.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    policies: BTreeMap<String, Policy>,
    rows: BTreeMap<String, BTreeMap<String, Row>>,
}

/// What holds for a product, whatever feeds say of its releases.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    /// What its extended support takes.
    extension: Option<Extension>,
    /// Has no dates of its own: this product's hold.
    follows: Option<String>,
    /// Its nodes carry this product's patch levels, whatever it calls its own.
    patches: Option<String>,
    /// A release ends when later ones come: without an announced end, old data does not tell that it goes on.
    #[serde(default)]
    rolling: bool,
}

/// What it takes to be covered by a product's extended support.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extension {
    /// Nothing: it is on by default.
    Free,
    /// A contract, which a node does not show.
    Paid,
}

/// The end of a support phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum End {
    /// The last day.
    Day(Date),
    /// `true`: over, the day is not known. `false`: none announced when the row was written.
    Reached(bool),
}

impl End {
    /// The day, where there is one.
    pub fn day(self) -> Option<Date> {
        match self {
            Self::Day(day) => Some(day),
            Self::Reached(_) => None,
        }
    }

    fn over(self, today: Date) -> bool {
        match self {
            Self::Day(day) => today > day,
            Self::Reached(reached) => reached,
        }
    }
}

/// One release of a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The release: `12`, `24.04`, `6.12`, `cos-117`.
    pub cycle: String,
    /// When it came out, where that was read.
    pub released: Option<Date>,
    /// End of the support everybody has.
    pub eol: End,
    /// End of extended support, where there is one.
    pub extended: Option<End>,
    /// Is it a long-term release.
    pub lts: bool,
    /// How exact `eol` is, when not to the day as announced.
    pub precision: Option<Precision>,
    /// It ends when a later release comes, on a day that nobody announced: data that is old does not tell that it goes on.
    pub rolling: bool,
    /// The newest version in it that is known.
    pub latest: Option<Latest>,
    /// The day the row was true on.
    pub as_of: Date,
    /// Where it was read.
    pub source: String,
}

/// The newest version of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latest {
    /// The version.
    pub version: String,
    /// When it came out, where that was read.
    pub date: Option<Date>,
    /// The day it was the newest.
    pub as_of: Date,
    /// Where it was read.
    pub source: String,
}

/// How exact a date is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// On this day or some days before.
    OnOrBefore,
    /// Planned, not promised.
    Tentative,
}

/// Where a release stands on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// In the support everybody has.
    Supported,
    /// Only in extended support, which may have to be bought.
    Extended(Extension),
    /// In none.
    EndOfLife,
}

/// What was said of a release, where and when.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    pub(super) release: Release,
    pub(super) as_of: Date,
    pub(super) feed: String,
    pub(super) source: String,
    /// It knows ends. kernel.org says only which series it still maintains.
    pub(super) ends: bool,
    /// It ends when a later one comes.
    pub(super) rolling: bool,
}

/// The document of this build.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    products: BTreeMap<String, Product>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Product {
    #[serde(default)]
    policy: Policy,
    /// Of the rows that do not give their own.
    source: Option<String>,
    as_of: Option<Date>,
    #[serde(default)]
    rows: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    cycle: String,
    released: Option<Date>,
    eol: End,
    extended: Option<End>,
    #[serde(default)]
    lts: bool,
    precision: Option<Precision>,
    #[serde(default)]
    rolling: bool,
    latest: Option<String>,
    latest_date: Option<Date>,
    as_of: Option<Date>,
    source: Option<String>,
    /// A newer version, read elsewhere later.
    seen: Option<Seen>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    latest: String,
    as_of: Date,
    source: String,
}

/// What a document says, validated.
pub(super) struct Read {
    pub(super) policies: BTreeMap<String, Policy>,
    pub(super) statements: Vec<Statement>,
}

/// Reads and validates a document of rows. `file` is for messages.
pub(super) fn read(file: &str, feed: &str, text: &str) -> Result<Read, KnowledgeError> {
    let document: Document =
        serde_saphyr::from_str(text).map_err(|source| KnowledgeError::Malformed { file: file.to_owned(), source: Box::new(source) })?;
    let mut read = Read { policies: BTreeMap::new(), statements: Vec::new() };
    for (name, Product { policy, source, as_of, rows }) in document.products {
        let mut cycles = BTreeSet::new();
        for mut line in rows {
            line.source = line.source.or_else(|| source.clone()).filter(|source| !source.trim().is_empty());
            line.as_of = line.as_of.or(as_of);
            let cycle = line.cycle.clone();
            let refused = |problem| KnowledgeError::Row { file: file.to_owned(), product: name.clone(), cycle: cycle.clone(), problem };
            if let Some(problem) = policy.problem(&line, &mut cycles) {
                return Err(refused(problem));
            }
            let statements =
                line.into_statements(&name, feed).ok_or_else(|| refused("without a day or a source: say when and where it was read"))?;
            read.statements.extend(statements);
        }
        read.policies.insert(name, policy);
    }
    Ok(read)
}

impl Line {
    /// `None` without a day or a source.
    fn into_statements(self, product: &str, feed: &str) -> Option<Vec<Statement>> {
        let Self { cycle, released, eol, extended, lts, precision, rolling, latest, latest_date, as_of, source, seen } = self;
        let (as_of, source) = (as_of?, source?);
        let mut statements = Vec::new();
        if let Some(Seen { latest, as_of, source }) = seen {
            let release = Release {
                product: product.to_owned(),
                cycle: cycle.clone(),
                released: None,
                eol: End::Reached(false),
                extended: None,
                lts: false,
                precision: None,
                latest: Some(latest),
                latest_date: None,
            };
            statements.push(Statement { release, as_of, feed: feed.to_owned(), source, ends: false, rolling: false });
        }
        let product = product.to_owned();
        let release = Release { product, cycle, released, eol, extended, lts, precision, latest, latest_date };
        statements.push(Statement { release, as_of, feed: feed.to_owned(), source, ends: true, rolling });
        Some(statements)
    }
}

impl Policy {
    fn problem(&self, line: &Line, cycles: &mut BTreeSet<String>) -> Option<&'static str> {
        if line.cycle.is_empty() {
            return Some("`cycle` is empty");
        }
        if !cycles.insert(line.cycle.clone()) {
            return Some("the release is listed twice");
        }
        if line.seen.as_ref().is_some_and(|seen| seen.source.trim().is_empty()) {
            return Some("`source` is empty: say where the row was read");
        }
        if line.extended.is_some() && self.extension.is_none() {
            return Some("`extended` without the product's `extension`: say `free` or `paid`");
        }
        match (line.eol.day(), line.extended.and_then(End::day)) {
            (Some(eol), Some(extended)) if extended < eol => Some("`extended` is before `eol`"),
            _ => None,
        }
    }
}

impl Lifecycle {
    /// Makes rows of statements; their order does not matter.
    pub(super) fn new(policies: BTreeMap<String, Policy>, statements: Vec<Statement>) -> Self {
        let listed = listed(&statements);
        let mut said: BTreeMap<(String, String), Vec<Statement>> = BTreeMap::new();
        for statement in statements {
            said.entry((statement.release.product.clone(), statement.release.cycle.clone())).or_default().push(statement);
        }
        let mut rows: BTreeMap<String, BTreeMap<String, Row>> = BTreeMap::new();
        for ((product, cycle), mut said) in said {
            // The newest first; what is left to decide is text, so that the order of feeds never counts.
            said.sort_by(|a, b| {
                (b.as_of, &a.feed, &a.release.latest, a.release.eol).cmp(&(a.as_of, &b.feed, &b.release.latest, b.release.eol))
            });
            let policy = policies.get(&product);
            let Some(mut row) = Row::new(cycle, &said, policy.is_some_and(|policy| policy.rolling)) else { continue };
            if product == KERNEL
                && let Some(listed) = &listed
            {
                listed.ends(&mut row);
            }
            rows.entry(product).or_default().insert(row.cycle.clone(), row);
        }
        Self { policies, rows }
    }

    /// The row of a product's release, and where the release stands on `today`; `None` when there is no row for it.
    pub fn find(&self, product: &str, cycle: &str, today: Date) -> Option<(&Row, Standing)> {
        let row = self.row(product, cycle)?;
        let over = row.eol.over(today);
        let standing = match row.extended.filter(|extended| over && !extended.over(today)) {
            // A contract is not seen on a node; so is nothing that a feed brought for a product without a policy.
            Some(_) => {
                let extension = self.policies.get(product).and_then(|policy| policy.extension);
                Standing::Extended(extension.unwrap_or(Extension::Paid))
            }
            None if over => Standing::EndOfLife,
            None => Standing::Supported,
        };
        Some((row, standing))
    }

    /// The row of a release: its own, or of the product that it follows.
    pub(super) fn row(&self, product: &str, cycle: &str) -> Option<&Row> {
        let own = self.rows.get(product).and_then(|rows| rows.get(cycle));
        let followed = || self.policies.get(product)?.follows.as_deref().and_then(|followed| self.rows.get(followed)?.get(cycle));
        own.or_else(followed)
    }

    /// The product whose patch levels a product's nodes carry.
    pub(super) fn patches<'a>(&'a self, product: &'a str) -> &'a str {
        let policy = self.policies.get(product);
        policy.and_then(|policy| policy.patches.as_deref().or(policy.follows.as_deref())).unwrap_or(product)
    }

    /// Rows of a product.
    pub fn rows(&self, product: &str) -> impl Iterator<Item = &Row> {
        self.rows.get(product).into_iter().flat_map(BTreeMap::values)
    }

    /// The products that have rows.
    pub fn products(&self) -> impl Iterator<Item = &str> {
        self.rows.keys().map(String::as_str)
    }
}

impl Row {
    /// A row of what was said, the newest first.
    fn new(cycle: String, said: &[Statement], rolls: bool) -> Option<Self> {
        let stands = said.iter().find(|statement| statement.ends).or_else(|| said.first())?;
        let Release { eol, extended, lts, precision, .. } = stands.release;
        // A newer document that gives the same end and no extension has no column for it.
        let mut same = said.iter().filter(|other| other.release.eol == eol);
        let extended = extended.or_else(|| same.find_map(|other| other.release.extended));
        let mut row = Self {
            cycle,
            released: said.iter().find_map(|statement| statement.release.released),
            eol,
            extended,
            lts: lts || said.iter().any(|statement| !statement.ends && statement.release.lts),
            precision,
            rolling: stands.rolling,
            latest: said.iter().filter_map(latest).max_by(newest),
            as_of: stands.as_of,
            source: stands.source.clone(),
        };
        if let Some(listing) = said.iter().find(|statement| !statement.ends && statement.as_of > stands.as_of) {
            row.listed(listing);
        }
        row.rolling |= rolls && !row.lts && row.eol == End::Reached(false);
        Some(row)
    }

    /// What a listing without dates adds.
    fn listed(&mut self, listing: &Statement) {
        let over = self.eol.over(listing.as_of);
        let ended = listing.release.eol == End::Reached(true);
        match (ended, over) {
            (true, true) => return,
            (true, false) => (self.eol, self.precision) = (End::Day(listing.as_of), Some(Precision::OnOrBefore)),
            (false, true) => (self.eol, self.precision) = (End::Reached(false), None),
            (false, false) if self.eol.day().is_some() => return,
            (false, false) => {}
        }
        (self.as_of, self.source) = (listing.as_of, listing.source.clone());
    }
}

fn latest(statement: &Statement) -> Option<Latest> {
    let version = statement.release.latest.clone()?;
    Some(Latest { version, date: statement.release.latest_date, as_of: statement.as_of, source: statement.source.clone() })
}

/// The higher version; of the same, the one whose day is known, then the later statement.
fn newest(a: &Latest, b: &Latest) -> Ordering {
    let level = |latest: &Latest| Level::running(&latest.version);
    level(a).cmp(&level(b)).then_with(|| (a.date.is_some(), a.as_of, &a.source).cmp(&(b.date.is_some(), b.as_of, &b.source)))
}

/// What kernel.org listed last. A series that it does not list any more is over.
struct Listed {
    as_of: Date,
    source: String,
    cycles: BTreeSet<String>,
    highest: Level,
}

fn listed(statements: &[Statement]) -> Option<Listed> {
    let of = || statements.iter().filter(|statement| statement.feed == super::KERNEL_RELEASES && statement.release.product == KERNEL);
    let newest = of().max_by(|a, b| (a.as_of, &a.source).cmp(&(b.as_of, &b.source)))?;
    let cycles: BTreeSet<String> = of().filter(|other| other.as_of == newest.as_of).map(|other| other.release.cycle.clone()).collect();
    let highest = cycles.iter().filter_map(|cycle| Level::bound(cycle)).max()?;
    Some(Listed { as_of: newest.as_of, source: newest.source.clone(), cycles, highest })
}

impl Listed {
    fn ends(&self, row: &mut Row) {
        let older = Level::bound(&row.cycle).is_some_and(|level| level < self.highest);
        if older && !self.cycles.contains(&row.cycle) && self.as_of > row.as_of && !row.eol.over(self.as_of) {
            (row.eol, row.precision, row.rolling) = (End::Day(self.as_of), Some(Precision::OnOrBefore), false);
            (row.as_of, row.source) = (self.as_of, self.source.clone());
        }
    }
}
