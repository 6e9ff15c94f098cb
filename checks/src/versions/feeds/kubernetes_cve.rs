//! The Kubernetes project's CVE feed (JSON Feed 1.x): titles, states and links.
//!
//! Affected versions stand in it only as prose, so nothing is matched by it.

use serde::Deserialize;

use super::document::{Document, Text, day, ignore, is_cve, title};
use super::list::List;
use super::{Content, FeedError};
use crate::versions::knowledge::{Record, Title};

/// What the feed says of an issue; another word is as good as none.
const STATES: [&str; 3] = ["fixed", "open", "unfixed"];

#[derive(Deserialize)]
struct Feed<'a> {
    #[serde(borrow)]
    version: Text<'a>,
    #[serde(borrow, rename = "_kubernetes_io")]
    about: About<'a>,
    #[serde(borrow)]
    items: List<Item<'a>, 20_000>,
}

#[derive(Deserialize)]
struct About<'a> {
    #[serde(borrow)]
    updated_at: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    summary: Option<Text<'a>>,
    #[serde(borrow)]
    status: Option<Text<'a>>,
    #[serde(borrow)]
    url: Option<Text<'a>>,
    #[serde(borrow)]
    external_url: Option<Text<'a>>,
}

pub(super) fn parse(document: &Document<'_>) -> Result<Content, FeedError> {
    let read: Feed<'_> = document.read()?;
    if !read.version.as_str().starts_with("https://jsonfeed.org/version/1") {
        let understood = "https://jsonfeed.org/version/1.x";
        return Err(document.version_of_format("version", read.version.as_str(), understood, "download the JSON feed"));
    }
    if read.items.0.is_empty() {
        return Err(document.invalid("items", "the feed is empty"));
    }
    let mut content = document.content(read.about.updated_at.and_then(|at| day(at.as_str())));
    for item in &read.items.0 {
        if !is_cve(item.id.as_str()) {
            ignore(&mut content, "the entry has no CVE");
            continue;
        }
        let status = item.status.as_ref().map(Text::as_str).filter(|status| STATES.contains(status)).unwrap_or("unknown");
        let record = Title {
            id: item.id.as_str().to_owned(),
            title: item.summary.as_ref().map(|text| title(text.as_str())).unwrap_or_default(),
            status: status.to_owned(),
            url: [&item.url, &item.external_url].into_iter().flatten().find_map(|url| link(url.as_str())).unwrap_or_default(),
        };
        document.keep(&mut content, "kubernetes-cve", Record::Title(record))?;
    }
    Ok(content)
}

/// A link that a page may show.
fn link(url: &str) -> Option<String> {
    let sound = url.starts_with("https://") && url.len() <= 512 && url.bytes().all(|byte| byte.is_ascii_graphic());
    sound.then(|| url.to_owned())
}
