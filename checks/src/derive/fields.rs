//! The fields of a `KubeletConfiguration` by release, from `data/kubelet-defaults.yaml`, and those of a document it does not know.
//!
//! Upstream decodes strictly first, and when that fails leniently with a warning: an unknown field then does nothing.

use serde_json::Value;

use super::defaults::{Release, TABLE};
use crate::facts::{ConfigDocument, DocumentKind, Listing, Observed, Reason, Skipped, UnknownField};

/// More than anybody misspells.
const MAX_FIELDS: usize = 100;
/// The longest field told.
const MAX_FIELD_BYTES: usize = 200;

/// Does a kubelet of `release` know the field at `path`. Without a release, does any.
pub(super) fn is_known(path: &[&str], release: Option<Release>) -> bool {
    let joined = path.join(".");
    TABLE.fields.contains(&joined)
        || TABLE.added.iter().any(|(since, fields)| release.is_none_or(|release| *since <= release) && fields.contains(&joined))
}

/// The fields of `documents` that a kubelet of `version` does not know. One newer than the data may know more: what is not in
/// the data is then skipped rather than called unknown.
pub(super) fn unknown(documents: &Observed<Listing<ConfigDocument>>, version: &Observed<String>) -> Observed<Listing<UnknownField>> {
    let release = version.value().and_then(|version| Release::of(version));
    let newer = release.is_some_and(|release| release > TABLE.newest);
    documents.clone().map(|documents| {
        let mut listing = Listing { items: Vec::new(), skipped: documents.skipped };
        for document in &documents.items {
            let content = match &document.content {
                Observed::Unavailable(why) => {
                    listing.skipped.push(Skipped::because(document.path.clone(), why));
                    continue;
                }
                Observed::Known { value, .. } => value,
            };
            if content.get("kind").and_then(Value::as_str) != Some("KubeletConfiguration") {
                listing.skipped.push(Skipped { what: document.path.clone(), reason: Reason::Malformed });
                continue;
            }
            let mut walk = Walk { release, folds: document.kind == DocumentKind::DropIn, found: Vec::new() };
            walk.object("", content);
            let more = walk.found.len().saturating_sub(MAX_FIELDS);
            for field in walk.found.into_iter().take(MAX_FIELDS) {
                let field = crate::entries::cut(&field, MAX_FIELD_BYTES).to_owned();
                if newer {
                    let what = format!("{field} in {}, which a kubelet newer than {} may know", document.path, TABLE.newest);
                    listing.skipped.push(Skipped { what, reason: Reason::NotSupported });
                } else {
                    listing.items.push(UnknownField { field, path: document.path.clone() });
                }
            }
            if more > 0 {
                listing.skipped.push(Skipped { what: format!("{more} more fields of {}", document.path), reason: Reason::TooLarge });
            }
        }
        listing
    })
}

struct Walk {
    release: Option<Release>,
    /// Are names compared without case, as those of a drop-in are once it is merged.
    folds: bool,
    found: Vec<String>,
}

impl Walk {
    /// Goes as deep as the known fields do.
    fn object(&mut self, outer: &str, value: &Value) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    let path = if outer.is_empty() { name.clone() } else { format!("{outer}.{name}") };
                    match self.known(&path) {
                        None => self.found.push(path),
                        Some(Field::Leaf) => {}
                        Some(Field::Outer(known)) => self.object(&known, value),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.object(outer, item)),
            _ => {}
        }
    }

    fn known(&self, path: &str) -> Option<Field> {
        let added = TABLE.added.iter().filter(|(since, _)| self.release.is_none_or(|release| **since <= release));
        let fields = TABLE.fields.iter().chain(added.flat_map(|(_, fields)| fields));
        let mut found = None;
        for field in fields {
            let (head, rest) = match field.get(..path.len()) {
                Some(head) => (head, field.get(path.len()..).unwrap_or_default()),
                None => continue,
            };
            if head != path && !(self.folds && head.eq_ignore_ascii_case(path)) {
                continue;
            }
            match rest.bytes().next() {
                None => return Some(Field::Leaf),
                Some(b'.') => found = Some(Field::Outer(head.to_owned())),
                Some(_) => {}
            }
        }
        found
    }
}

enum Field {
    /// A value, a list of values or a map with names of its own.
    Leaf,
    /// There are known fields further in; with the name as upstream spells it.
    Outer(String),
}

#[cfg(test)]
mod tests;
