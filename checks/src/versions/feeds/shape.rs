//! Which format a document is in: told by the fields at its top, never by its name alone. Reads only as far as it has to.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::document;
use super::error::excerpt;
use super::{FeedError, Format, Limits};

/// The most names of fields that a message repeats.
const NAMED: usize = 6;

/// The format of a document.
///
/// # Errors
/// When it is not JSON, or not of any format. A document of a known format can still be refused when it is read.
pub fn detect(name: &str, bytes: &[u8]) -> Result<Format, FeedError> {
    of(name, document::text(name, bytes, Limits { bytes: usize::MAX, ..Limits::default() })?)
}

/// The format of a text.
pub(super) fn of(name: &str, text: &str) -> Result<Format, FeedError> {
    let mut told = None;
    let mut reader = serde_json::Deserializer::from_str(text);
    match reader.deserialize_any(Top { told: &mut told }) {
        Ok(found) => Err(FeedError::unrecognised(name, found)),
        Err(error) => told.ok_or_else(|| FeedError::json(name, None, &error)),
    }
}

/// Looks at the fields at the top until they tell the format; then reading ends with an error, which is how a reader is stopped.
struct Top<'t> {
    told: &'t mut Option<Format>,
}

impl Top<'_> {
    fn tell<E: serde::de::Error>(self, format: Format) -> Result<String, E> {
        *self.told = Some(format);
        Err(E::custom("told"))
    }
}

impl<'de> Visitor<'de> for Top<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<String, A::Error> {
        let (mut names, mut versioned) = (Vec::new(), false);
        while let Some(Name(field)) = map.next_key()? {
            match field.as_ref() {
                "affected" | "modified" | "withdrawn" => return self.tell(Format::Osv),
                "id" if versioned => return self.tell(Format::Osv),
                "result" => return self.tell(Format::EndOfLifeV1),
                "vulnerabilities" | "catalogVersion" => return self.tell(Format::Kev),
                "dataType" | "cveMetadata" => return self.tell(Format::KernelCve),
                "releases" | "latest_stable" => return self.tell(Format::KernelReleases),
                "_kubernetes_io" => return self.tell(Format::KubernetesCve),
                _ => {}
            }
            map.next_value::<IgnoredAny>()?;
            versioned |= field == "schema_version";
            if names.len() < NAMED {
                names.push(excerpt(&field));
            }
        }
        Ok(if names.is_empty() { "an empty object".to_owned() } else { format!("an object of {}", names.join(", ")) })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<String, A::Error> {
        match list.next_element_seed(First { told: self.told })? {
            None => Ok("an empty array".to_owned()),
            Some(found) => Ok(format!("an array of {found}")),
        }
    }
}

/// Looks at the first element of an array, which has to be an object.
struct First<'t> {
    told: &'t mut Option<Format>,
}

impl<'de> DeserializeSeed<'de> for First<'_> {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'static str, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for First<'_> {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<&'static str, A::Error> {
        let mut found = "objects without a `cycle`";
        while let Some(Name(field)) = map.next_key()? {
            match field.as_ref() {
                "cycle" => {
                    *self.told = Some(Format::EndOfLifeV0);
                    return Err(A::Error::custom("told"));
                }
                "affected" => found = "OSV records: import the archive of single records",
                _ => {}
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(found)
    }
}

/// The name of a field, borrowed where it holds no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
