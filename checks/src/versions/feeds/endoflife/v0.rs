//! API v0: an array of cycles with booleans or dates. It does not name its product: the file's name does.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::super::document::{Document, Text};
use super::super::error::excerpt;
use super::super::list::List;
use super::super::{Content, FeedError};
use super::{Cycle, RELEASES, Said, products};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    #[serde(borrow)]
    cycle: Text<'a>,
    #[serde(borrow)]
    release_date: Option<Text<'a>>,
    /// `true`: over.
    #[serde(borrow, default)]
    eol: DayOr<'a>,
    /// The other way round: `true` is going on, and `false` stands both for over and for none.
    #[serde(borrow, default)]
    extended_support: DayOr<'a>,
    #[serde(borrow, default)]
    lts: DayOr<'a>,
    #[serde(borrow)]
    latest: Option<Text<'a>>,
    #[serde(borrow)]
    latest_release_date: Option<Text<'a>>,
}

/// A day or a boolean.
#[derive(Default)]
enum DayOr<'a> {
    #[default]
    Nothing,
    Boolean(bool),
    Day(Cow<'a, str>),
}

impl<'de: 'a, 'a> Deserialize<'de> for DayOr<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = DayOr<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a date or a boolean")
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
                Ok(DayOr::Boolean(value))
            }

            fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Self::Value, E> {
                Ok(DayOr::Day(Cow::Borrowed(value)))
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
                Ok(DayOr::Day(Cow::Owned(value.to_owned())))
            }

            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                Ok(DayOr::Nothing)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

pub(in super::super) fn parse(document: &Document<'_>) -> Result<Content, FeedError> {
    let List(releases): List<Row<'_>, RELEASES> = document.read()?;
    let stem = document.stem();
    let Some(product) = products::by_name(stem) else {
        let remedy = "name the file as endoflife.date does, like linux.json, or use API v1";
        return Err(document.wrong("the file's name", format_args!("no product `{}` is known", excerpt(stem)), remedy));
    };
    let mut content = document.content(None);
    let cycles = releases.iter().enumerate().map(|(index, release)| cycle(index, release)).collect();
    super::keep(document, &mut content, product, cycles)?;
    Ok(content)
}

fn cycle<'t>(index: usize, release: &'t Row<'_>) -> Cycle<'t> {
    Cycle {
        place: format!("[{index}]"),
        name: release.cycle.as_str(),
        released: release.release_date.as_ref().map(Text::as_str),
        eol: match &release.eol {
            DayOr::Nothing => None,
            DayOr::Boolean(over) => Some(Said::Over(*over)),
            DayOr::Day(day) => Some(Said::Day(day)),
        },
        extended: match &release.extended_support {
            DayOr::Day(day) => Some(day),
            DayOr::Nothing | DayOr::Boolean(_) => None,
        },
        lts: matches!(release.lts, DayOr::Boolean(true) | DayOr::Day(_)),
        latest: release.latest.as_ref().map(Text::as_str),
        latest_date: release.latest_release_date.as_ref().map(Text::as_str),
    }
}
