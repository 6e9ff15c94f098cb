//! API v1: an envelope with its version around one product (`/products/debian`) or all of them (`/products/full`).

use std::fmt;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use super::super::document::{Document, Text, day, ignore};
use super::super::list::List;
use super::super::{Content, FeedError};
use super::{Cycle, PRODUCTS, RELEASES, Said, products};

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    schema_version: Text<'a>,
    #[serde(borrow)]
    generated_at: Option<Text<'a>>,
    #[serde(borrow)]
    result: Products<'a>,
}

/// One product or many.
struct Products<'a>(Vec<Product<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Products<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Products<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a product or an array of products")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Product::deserialize(MapAccessDeserializer::new(map)).map(|product| Products(vec![product]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                List::<Product<'de>, PRODUCTS>::deserialize(SeqAccessDeserializer::new(list)).map(|List(products)| Products(products))
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
}

#[derive(Deserialize)]
struct Product<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    releases: Option<List<Row<'a>, RELEASES>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    release_date: Option<Text<'a>>,
    is_lts: Option<bool>,
    is_eol: Option<bool>,
    #[serde(borrow)]
    eol_from: Option<Text<'a>>,
    #[serde(borrow)]
    eoes_from: Option<Text<'a>>,
    #[serde(borrow)]
    latest: Option<Latest<'a>>,
}

#[derive(Deserialize)]
struct Latest<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    date: Option<Text<'a>>,
}

pub(in super::super) fn parse(document: &Document<'_>) -> Result<Content, FeedError> {
    let read: Envelope<'_> = document.read()?;
    if !read.schema_version.as_str().starts_with("1.") {
        let remedy = "download it from /api/v1/";
        return Err(document.version_of_format("schema_version", read.schema_version.as_str(), "1.x", remedy));
    }
    if read.result.0.is_empty() {
        return Err(document.invalid("result", "there are no products"));
    }
    let mut content = document.content(read.generated_at.and_then(|at| day(at.as_str())));
    let many = read.result.0.len() > 1;
    for (index, product) in read.result.0.iter().enumerate() {
        let place = if many { format!("result[{index}]") } else { "result".to_owned() };
        let Some(List(releases)) = &product.releases else {
            let remedy = "download /api/v1/products/<name> or /api/v1/products/full";
            return Err(document.wrong(place, "there are no `releases`: this is a summary", remedy));
        };
        let Some(known) = products::by_name(product.name.as_str()) else {
            ignore(&mut content, "the product is not part of the patch chain");
            continue;
        };
        let cycles = releases.iter().enumerate().map(|(index, release)| cycle(format!("{place}.releases[{index}]"), release)).collect();
        super::keep(document, &mut content, known, cycles)?;
    }
    Ok(content)
}

fn cycle<'t>(place: String, release: &'t Row<'_>) -> Cycle<'t> {
    let eol = match (&release.eol_from, release.is_eol) {
        (Some(day), _) => Some(Said::Day(day.as_str())),
        (None, over) => over.map(Said::Over),
    };
    // Extended support without a day is not counted on: whether a node has it is not known, nor until when.
    let extended = release.eoes_from.as_ref().map(Text::as_str);
    let latest = release.latest.as_ref();
    Cycle {
        place,
        name: release.name.as_str(),
        released: release.release_date.as_ref().map(Text::as_str),
        eol,
        extended,
        lts: release.is_lts == Some(true),
        latest: latest.and_then(|latest| latest.name.as_ref()).map(Text::as_str),
        latest_date: latest.and_then(|latest| latest.date.as_ref()).map(Text::as_str),
    }
}
