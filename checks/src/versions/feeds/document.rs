//! One document being read: what every format needs. Texts are checked and bounded here, so that a record never holds what a
//! line, a log or a comparison cannot take.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use jiff::civil::Date;
use serde::Deserialize;

use super::error::{excerpt, is_directional};
use super::{Content, FeedError, Format, Limits};
use crate::versions::knowledge::Record;

/// The most characters of an id.
const ID: usize = 128;
/// The most characters of a version.
const VERSION: usize = 128;
/// The most characters of a title; what is longer is cut.
const TITLE: usize = 300;

/// Text of a document, borrowed from it where it holds no escapes.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A document of a known format, and what was read from it so far.
pub(super) struct Document<'a> {
    name: &'a str,
    format: Format,
    text: &'a str,
    limits: Limits,
}

impl<'a> Document<'a> {
    pub(super) fn new(name: &'a str, format: Format, text: &'a str, limits: Limits) -> Self {
        Self { name, format, text, limits }
    }

    /// The file's name without folders and ending: `linux` of `eol/linux.json`.
    pub(super) fn stem(&self) -> &'a str {
        let file = self.name.rsplit(['/', '\\']).next().unwrap_or(self.name);
        file.split_once('.').map_or(file, |(stem, _)| stem)
    }

    /// The document as the format's own shape.
    pub(super) fn read<T: Deserialize<'a>>(&self) -> Result<T, FeedError> {
        serde_json::from_str(self.text).map_err(|error| FeedError::json(self.name, Some(self.format), &error))
    }

    /// Nothing read yet.
    pub(super) fn content(&self, as_of: Option<Date>) -> Content {
        Content { format: self.format, feeds: BTreeMap::new(), as_of, ignored: BTreeMap::new() }
    }

    /// Keeps a record.
    pub(super) fn keep(&self, content: &mut Content, feed: &str, record: Record) -> Result<(), FeedError> {
        let kept: usize = content.feeds.values().map(Vec::len).sum();
        if kept >= self.limits.records {
            return Err(FeedError::TooMany { name: excerpt(self.name), format: self.format, limit: self.limits.records });
        }
        match content.feeds.get_mut(feed) {
            Some(records) => records.push(record),
            None => drop(content.feeds.insert(feed.to_owned(), vec![record])),
        }
        Ok(())
    }

    /// A value cannot be right, and only its publisher can have made it so.
    pub(super) fn invalid(&self, place: impl fmt::Display, problem: impl fmt::Display) -> FeedError {
        self.wrong(place, problem, "download it again, and tell its publisher if it stays so")
    }

    /// A value is not what it should be, and the reader can help it.
    pub(super) fn wrong(&self, place: impl fmt::Display, problem: impl fmt::Display, remedy: &'static str) -> FeedError {
        let (place, problem) = (excerpt(&place.to_string()), problem.to_string());
        FeedError::Invalid { name: excerpt(self.name), format: self.format, place, problem, remedy }
    }

    /// Another version of the format.
    pub(super) fn version_of_format(&self, field: &'static str, found: &str, understood: &'static str, remedy: &'static str) -> FeedError {
        FeedError::Version { name: excerpt(self.name), format: self.format, field, found: excerpt(found), understood, remedy }
    }

    /// A name of something: not empty, at most [`ID`] characters, printable, without spaces at its ends.
    pub(super) fn id(&self, place: impl fmt::Display, text: &str) -> Result<String, FeedError> {
        self.bounded(place, text, ID)
    }

    /// A version: like an id, and without any space.
    pub(super) fn version(&self, place: impl fmt::Display, text: &str) -> Result<String, FeedError> {
        if text.contains(char::is_whitespace) {
            return Err(self.invalid(place, format_args!("version {:?} has a space in it", excerpt(text))));
        }
        self.bounded(place, text, VERSION)
    }

    /// A CVE id.
    pub(super) fn cve(&self, place: impl fmt::Display, text: &str) -> Result<String, FeedError> {
        if is_cve(text) { Ok(text.to_owned()) } else { Err(self.invalid(place, format_args!("{:?} is not a CVE id", excerpt(text)))) }
    }

    /// A day, written `2026-08-22` or as the start of a time.
    pub(super) fn date(&self, place: impl fmt::Display, text: &str) -> Result<Date, FeedError> {
        day(text).ok_or_else(|| self.invalid(place, format_args!("{:?} is not a date", excerpt(text))))
    }

    fn bounded(&self, place: impl fmt::Display, text: &str, most: usize) -> Result<String, FeedError> {
        if text.is_empty() {
            return Err(self.invalid(place, "it is empty"));
        }
        if text.chars().nth(most).is_some() {
            return Err(self.invalid(place, format_args!("it has more than {most} characters: {:?}", excerpt(text))));
        }
        if text.chars().any(|c| c.is_control() || is_directional(c)) {
            return Err(self.invalid(place, format_args!("it has control characters: {:?}", excerpt(text))));
        }
        if text.trim() != text {
            return Err(self.invalid(place, format_args!("it has spaces around it: {:?}", excerpt(text))));
        }
        Ok(text.to_owned())
    }
}

/// Leaves something out.
pub(super) fn ignore(content: &mut Content, reason: &'static str) {
    ignore_many(content, reason, 1);
}

/// Leaves several out for one reason.
pub(super) fn ignore_many(content: &mut Content, reason: &'static str, count: u64) {
    if count > 0 {
        *content.ignored.entry(reason).or_default() += count;
    }
}

/// Text for people: on one line, without control characters, cut where it is long.
pub(super) fn title(text: &str) -> String {
    let mut title = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control() || is_directional(c)).filter(|word| !word.is_empty()) {
        if !title.is_empty() {
            title.push(' ');
        }
        title.push_str(word);
        if title.chars().nth(TITLE).is_some() {
            title = title.chars().take(TITLE - 1).collect();
            title.push('…');
            break;
        }
    }
    title
}

/// `CVE-`, a year, `-`, a number.
pub(super) fn is_cve(text: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    text.strip_prefix("CVE-")
        .and_then(|rest| rest.split_once('-'))
        .is_some_and(|(year, number)| year.len() == 4 && digits(year) && (4..=19).contains(&number.len()) && digits(number))
}

/// The day at the start of a date or a time; `None` for the years before there were CVEs, which stand for "not known".
pub(super) fn day(text: &str) -> Option<Date> {
    let (day, rest) = text.split_at_checked(10)?;
    let day: Date = day.parse().ok()?;
    ((rest.is_empty() || rest.starts_with(['T', ' '])) && (1980..=2200).contains(&day.year())).then_some(day)
}

/// The bytes as text, without a byte order mark.
pub(super) fn text<'a>(name: &str, bytes: &'a [u8], limits: Limits) -> Result<&'a str, FeedError> {
    if bytes.len() > limits.bytes {
        return Err(FeedError::TooLarge { name: excerpt(name), bytes: bytes.len(), limit: limits.bytes });
    }
    if bytes.is_empty() {
        return Err(FeedError::Empty { name: excerpt(name) });
    }
    let not_json = |found, remedy| Err(FeedError::NotJson { name: excerpt(name), found, remedy });
    for (start, found, remedy) in STARTS {
        if bytes.starts_with(start) {
            return not_json(found, remedy);
        }
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let read = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = read.split(|byte| *byte == b'\n').count();
        let column = read.rsplit(|byte| *byte == b'\n').next().map_or(0, <[u8]>::len) + 1;
        FeedError::Malformed { name: excerpt(name), format: None, line, column, problem: "the text is not UTF-8".to_owned() }
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match text.trim_start().chars().next() {
        None => Err(FeedError::Empty { name: excerpt(name) }),
        Some('<') => not_json("a web page or XML", "an error page was saved in its place: download it again"),
        Some('{' | '[') => Ok(text),
        Some(_) => not_json("other text", "download the JSON document"),
    }
}

/// How files start that are often given in place of JSON.
const STARTS: [(&[u8], &str, &str); 6] = [
    (b"\x1f\x8b", "compressed with gzip", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it first"),
    (b"BZh", "compressed with bzip2", "unpack it first"),
    (b"\xfd7zXZ", "compressed with xz", "unpack it first"),
    (b"PK\x03\x04", "a zip archive", "give it a name that ends in .zip"),
    (b"\xff\xfe", "text in UTF-16", "save it as UTF-8, or download it with a program that keeps the bytes"),
];
