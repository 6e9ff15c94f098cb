//! A CVE record in JSON 5, as the kernel's own CNA publishes it: the first fixed version of every series.
//!
//! Read is the block of versions whose default is `affected`; never `cpeApplicability`, whose ranges overlap and call fixed kernels
//! affected. Records of other CNAs are left out: they do not know the series.

use serde::Deserialize;

use super::document::{Document, Text, day, ignore, title};
use super::error::excerpt;
use super::kernel_version::{Fixes, KernelVersion};
use super::list::List;
use super::{Content, FeedError};
use crate::versions::knowledge::{Advisory, Record};

const FEED: &str = "kernel-cve";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cve<'a> {
    #[serde(borrow)]
    data_type: Text<'a>,
    #[serde(borrow)]
    data_version: Text<'a>,
    #[serde(borrow, rename = "cveMetadata")]
    metadata: Metadata<'a>,
    #[serde(borrow)]
    containers: Containers<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow)]
    cve_id: Text<'a>,
    #[serde(borrow)]
    assigner_short_name: Option<Text<'a>>,
    #[serde(borrow)]
    state: Text<'a>,
    #[serde(borrow)]
    date_updated: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Containers<'a> {
    #[serde(borrow)]
    cna: Cna<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cna<'a> {
    #[serde(borrow)]
    title: Option<Text<'a>>,
    #[serde(borrow, default)]
    affected: List<Affected<'a>, 1_000>,
    #[serde(default)]
    metrics: List<Metric, 100>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Affected<'a> {
    #[serde(borrow)]
    product: Option<Text<'a>>,
    #[serde(borrow)]
    default_status: Option<Text<'a>>,
    #[serde(borrow, default)]
    versions: List<Entry<'a>, 10_000>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(borrow)]
    version: Text<'a>,
    #[serde(borrow)]
    status: Text<'a>,
    #[serde(borrow)]
    less_than: Option<Text<'a>>,
    #[serde(borrow)]
    less_than_or_equal: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Metric {
    #[serde(rename = "cvssV4_0")]
    v4_0: Option<Cvss>,
    #[serde(rename = "cvssV3_1")]
    v3_1: Option<Cvss>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cvss {
    base_score: f64,
}

pub(super) fn parse(document: &Document<'_>) -> Result<Content, FeedError> {
    let read: Cve<'_> = document.read()?;
    if read.data_type.as_str() != "CVE_RECORD" {
        return Err(document.version_of_format("dataType", read.data_type.as_str(), "CVE_RECORD", "download it from the CVE list"));
    }
    if !read.data_version.as_str().starts_with("5.") {
        return Err(document.version_of_format("dataVersion", read.data_version.as_str(), "5.x", "download it from the CVE list"));
    }
    let id = document.cve("cveMetadata.cveId", read.metadata.cve_id.as_str())?;
    let cna = &read.containers.cna;
    let mut content = document.content(read.metadata.date_updated.as_ref().and_then(|at| day(at.as_str())));
    match read.metadata.state.as_str() {
        "PUBLISHED" => {}
        "REJECTED" => {
            ignore(&mut content, "the CVE was rejected");
            return Ok(content);
        }
        state => {
            return Err(document.invalid("cveMetadata.state", format_args!("it is `{}`, neither published nor rejected", excerpt(state))));
        }
    }
    if read.metadata.assigner_short_name.as_ref().map(Text::as_str) != Some("Linux") {
        ignore(&mut content, "not a record of the kernel's own CNA");
        return Ok(content);
    }
    let blocks = cna.affected.0.iter().filter(|block| block.product.as_ref().is_some_and(|product| product.as_str() == "Linux"));
    let mut blocks = blocks.filter(|block| block.default_status.as_ref().is_some_and(|status| status.as_str() == "affected"));
    let Some(block) = blocks.next() else {
        ignore(&mut content, "the record names commits only");
        return Ok(content);
    };
    let Some(fixes) = fixes(&block.versions.0) else {
        ignore(&mut content, "the record has a version that is none of the kernel's");
        return Ok(content);
    };
    let ranges = fixes.ranges();
    if ranges.is_empty() {
        ignore(&mut content, "no release was ever affected");
        return Ok(content);
    }
    let score = cna.metrics.0.iter().find_map(|metric| metric.v4_0.as_ref().or(metric.v3_1.as_ref())).map(|cvss| cvss.base_score);
    let advisory = Advisory {
        id: id.clone(),
        aliases: Vec::new(),
        component: "kernel".to_owned(),
        title: cna.title.as_ref().map(|text| title(text.as_str())).unwrap_or_default(),
        ranges,
        builds: Vec::new(),
        needs: Vec::new(),
        only_family: None,
        score: score.filter(|score| (0.0..=10.0).contains(score)),
        record: id,
        source: "kernel CNA".to_owned(),
    };
    document.keep(&mut content, FEED, Record::Advisory(advisory))?;
    Ok(content)
}

/// What the block says; `None` where a version in it cannot be read, so that a lost fix never makes a fixed kernel affected.
fn fixes<'t>(versions: &'t [Entry<'_>]) -> Option<Fixes<'t>> {
    let mut fixes = Fixes::default();
    for entry in versions {
        let text = entry.version.as_str();
        let up_to = entry.less_than_or_equal.as_ref().map(Text::as_str);
        match (entry.status.as_str(), up_to, entry.less_than.is_some()) {
            ("affected", None, false) => {
                let version = (KernelVersion::parse(text)?, text);
                fixes.introduced = Some(fixes.introduced.map_or(version, |known| known.min(version)));
            }
            ("unaffected", Some("*"), _) => fixes.mainline = Some((KernelVersion::parse(text)?, text)),
            ("unaffected", Some(_), _) => fixes.fixed(KernelVersion::parse(text)?, text),
            // From 0 to what introduced it.
            ("unaffected", None, true) => {}
            _ => return None,
        }
    }
    (fixes.introduced.is_some() || fixes.mainline.is_some() || !fixes.series.is_empty()).then_some(fixes)
}
