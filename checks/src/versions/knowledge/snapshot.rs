//! The data of this build, read into the records that feeds are read into. Every entry has its source and its day; what was only
//! remembered is not in it.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use jiff::civil::Date;
use serde::Deserialize;

use super::lifecycle::{self, Policy, Statement};
use super::{Advisory, Dated, Exploited, FeedInfo, FixedBuild, KnowledgeError, Need, PublicExploit, Range, Record};

/// What this build knows.
#[derive(Clone)]
pub(super) struct Snapshot {
    pub(super) info: FeedInfo,
    pub(super) policies: BTreeMap<String, Policy>,
    pub(super) statements: Vec<Statement>,
    /// Advisories, with the version below which they know nothing.
    pub(super) advisories: Vec<(FeedInfo, Advisory, Option<String>)>,
    pub(super) parts: Vec<Part>,
}

/// Records of one source.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) info: FeedInfo,
    pub(super) records: Vec<Record>,
}

const NAME: &str = "built-in";
const LIFECYCLE: (&str, &str) = ("lifecycle.yaml", include_str!("../../../data/lifecycle.yaml"));
const RELEASED: (&str, &str) = ("released.yaml", include_str!("../../../data/released.yaml"));
const ADVISORIES: (&str, &str) = ("advisories.yaml", include_str!("../../../data/advisories.yaml"));
const EXPLOITED: (&str, &str) = ("exploited.yaml", include_str!("../../../data/exploited.yaml"));
const EXPLOITS: (&str, &str) = ("exploits.yaml", include_str!("../../../data/exploits.yaml"));

/// Versions and their days: one line a series, the patch levels in order, `-` where there is no such version.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Released {
    source: String,
    as_of: Date,
    series: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advised {
    id: String,
    #[serde(default)]
    aliases: Vec<String>,
    component: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    ranges: Vec<(String, Option<String>)>,
    #[serde(default)]
    unknown_below: Option<String>,
    /// Stream, build, advisory.
    #[serde(default)]
    builds: Vec<(String, String, String)>,
    #[serde(default)]
    needs: Vec<Need>,
    #[serde(default)]
    only_family: Option<String>,
    #[serde(default)]
    score: Option<f64>,
    record: String,
    as_of: Date,
    source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalogue<T> {
    source: String,
    as_of: Date,
    entries: Vec<T>,
}

impl Snapshot {
    /// Reads the documents of this build.
    ///
    /// # Errors
    /// The first problem found.
    pub(super) fn read() -> Result<Self, KnowledgeError> {
        // Every import starts from it again.
        static READ: OnceLock<Snapshot> = OnceLock::new();
        if let Some(read) = READ.get() {
            return Ok(read.clone());
        }
        let read = Self::parse()?;
        Ok(READ.get_or_init(|| read).clone())
    }

    fn parse() -> Result<Self, KnowledgeError> {
        let (file, text) = LIFECYCLE;
        let lifecycle::Read { policies, statements } = lifecycle::read(file, NAME, text)?;
        let advisories = advisories()?;
        let mut parts = released()?;
        parts.push(catalogue(EXPLOITED, "kev", Record::Exploited, |entry: &Exploited| &entry.id)?);
        parts.push(catalogue(EXPLOITS, "kernelctf", Record::Exploit, |entry: &PublicExploit| &entry.id)?);
        let days = statements.iter().map(|statement| statement.as_of);
        let days = days.chain(parts.iter().map(|part| part.info.as_of)).chain(advisories.iter().map(|(info, ..)| info.as_of));
        let as_of = days.max().unwrap_or(Date::ZERO);
        let texts = [LIFECYCLE, RELEASED, ADVISORIES, EXPLOITED, EXPLOITS];
        let mut digest = blake3::Hasher::new();
        for (_, text) in texts {
            digest.update(text.as_bytes());
        }
        let digest = digest.finalize().to_hex().to_string();
        let info = FeedInfo { name: NAME.to_owned(), as_of, source: "built-in snapshot".to_owned(), digest, complete: false };
        Ok(Self { info, policies, statements, advisories, parts })
    }
}

fn parsed<T: serde::de::DeserializeOwned>((file, text): (&str, &str)) -> Result<T, KnowledgeError> {
    serde_saphyr::from_str(text).map_err(|source| KnowledgeError::Malformed { file: file.to_owned(), source: Box::new(source) })
}

fn refused((file, _): (&str, &str), entry: impl Into<String>, problem: &'static str) -> KnowledgeError {
    KnowledgeError::Entry { file: file.to_owned(), entry: entry.into(), problem }
}

fn info(as_of: Date, source: String) -> FeedInfo {
    FeedInfo { name: NAME.to_owned(), as_of, source, digest: String::new(), complete: false }
}

fn released() -> Result<Vec<Part>, KnowledgeError> {
    let products: BTreeMap<String, Released> = parsed(RELEASED)?;
    let mut parts = Vec::new();
    for (product, Released { source, as_of, series }) in products {
        let mut records = Vec::new();
        for (series, days) in series {
            for (patch, day) in days.split_ascii_whitespace().enumerate().filter(|(_, day)| *day != "-") {
                let version = format!("{series}.{patch}");
                let Some(date) = read_day(day) else { return Err(refused(RELEASED, format!("{product} {version}"), "not a day")) };
                records.push(Record::Dated(Dated { product: product.clone(), version, date }));
            }
        }
        parts.push(Part { info: info(as_of, source), records });
    }
    Ok(parts)
}

/// `20241117`.
fn read_day(day: &str) -> Option<Date> {
    let (year, rest) = day.split_at_checked(4)?;
    let (month, day) = rest.split_at_checked(2)?;
    Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).ok()
}

fn advisories() -> Result<Vec<(FeedInfo, Advisory, Option<String>)>, KnowledgeError> {
    let advised: Vec<Advised> = parsed(ADVISORIES)?;
    let mut known = std::collections::BTreeSet::new();
    let mut advisories = Vec::new();
    for entry in advised {
        let Advised { id, aliases, component, title, ranges, unknown_below, builds, needs, only_family, score, record, as_of, source } =
            entry;
        if !known.insert((component.clone(), id.clone())) {
            return Err(refused(ADVISORIES, id, "listed twice"));
        }
        if source.trim().is_empty() {
            return Err(refused(ADVISORIES, id, "`source` is empty: say where it was read"));
        }
        let ranges = ranges.into_iter().map(|(introduced, fixed)| Range { introduced, fixed }).collect();
        let builds = builds.into_iter().map(|(stream, fixed, record)| FixedBuild { stream, fixed, record }).collect();
        let info = info(as_of, source.clone());
        let advisory = Advisory { id, aliases, component, title, ranges, builds, needs, only_family, score, record, source };
        advisories.push((info, advisory, unknown_below));
    }
    Ok(advisories)
}

fn catalogue<T: serde::de::DeserializeOwned>(
    document: (&str, &str),
    name: &str,
    record: fn(T) -> Record,
    id: fn(&T) -> &String,
) -> Result<Part, KnowledgeError> {
    let Catalogue { source, as_of, entries } = parsed::<Catalogue<T>>(document)?;
    let mut known = std::collections::BTreeSet::new();
    for entry in &entries {
        if !known.insert(id(entry)) {
            return Err(refused(document, id(entry), "listed twice"));
        }
    }
    if source.trim().is_empty() {
        return Err(refused(document, name, "`source` is empty: say where it was read"));
    }
    Ok(Part { info: info(as_of, source), records: entries.into_iter().map(record).collect() })
}
