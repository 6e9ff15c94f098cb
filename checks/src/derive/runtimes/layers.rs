//! What a runtime's documents say, weakest first, and the effective setting that comes of it.
//!
//! The last place that says something decides. A place that could not be read might say anything: what only a weaker one says is
//! then not known. Must not know any runtime's keys.

use serde_json::{Map, Value};

use super::release::{Release, Running};
use crate::derive::setting::{decided, unavailable};
use crate::facts::{
    Declared, DocumentRole, Listing, Observed, Reason, RuntimeDocument, Setting, Settings, Source, SourceKind, Unavailable,
};

/// One place.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) source: Source,
    /// What it says and when that was read, or why that is not known.
    pub(super) content: Result<(Value, i64), Unavailable>,
}

impl Layer {
    /// A flag that says `value` under `path`.
    pub(super) fn flag(name: &str, path: &[&str], value: Value, at: i64) -> Self {
        let nest = |inner: Value, name: &&str| Value::Object(Map::from_iter([((*name).to_owned(), inner)]));
        Self { source: Source::new(SourceKind::Flag, name), content: Ok((path.iter().rev().fold(value, nest), at)) }
    }

    /// A place that cannot be known.
    pub(super) fn unread(place: &str, why: Unavailable) -> Self {
        Self { source: Source::new(SourceKind::File, place), content: Err(why) }
    }
}

/// All places, weakest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Layers(pub(super) Vec<Layer>);

/// What is said under one path.
pub(super) enum Said<'a> {
    Nothing,
    Unknown(Unavailable),
    Value(&'a Value, &'a Source, i64),
}

impl Layers {
    /// The main document and its drop-ins. `required`: the main one was named, so that it must be there.
    pub(super) fn of(documents: &Observed<Listing<RuntimeDocument>>, required: bool) -> Self {
        let documents = match documents {
            Observed::Unavailable(why) => return Self(vec![Layer::unread("", why.clone())]),
            Observed::Known { value, .. } => value,
        };
        let mut layers = Vec::new();
        for document in &documents.items {
            let kind = match document.role {
                DocumentRole::Main => SourceKind::File,
                DocumentRole::DropIn => SourceKind::DropIn,
                DocumentRole::RegistryHosts | DocumentRole::Registries | DocumentRole::SignaturePolicy => continue,
            };
            let content = match &document.content {
                Observed::Known { value, at, .. } => Ok((value.clone(), *at)),
                Observed::Unavailable(why) if why.reason == Reason::NotPresent && kind == SourceKind::File && !required => continue,
                Observed::Unavailable(why) => Err(why.clone()),
            };
            layers.push(Layer { source: Source::new(kind, document.path.as_str()), content });
        }
        let of_settings = documents.skipped.iter().filter(|skipped| !about_registries(&skipped.what));
        layers.extend(
            of_settings
                .map(|skipped| Layer::unread(&skipped.what, Unavailable::new(skipped.reason, format!("{} was not read", skipped.what)))),
        );
        Self(layers)
    }

    /// What decides under `path`.
    pub(super) fn last(&self, path: &[&str], empty_is_nothing: bool) -> Said<'_> {
        for layer in self.0.iter().rev() {
            match &layer.content {
                Err(why) => return Said::Unknown(why.clone()),
                Ok((document, at)) => match at_path(document, path) {
                    Some(value) if empty_is_nothing && is_empty(value) => {}
                    Some(value) => return Said::Value(value, &layer.source, *at),
                    None => {}
                },
            }
        }
        Said::Nothing
    }

    /// Everything that is said under `path`, weakest first.
    pub(super) fn all(&self, path: &[&str]) -> impl Iterator<Item = (&Value, &Source)> {
        let said = self.0.iter().filter_map(|layer| layer.content.as_ref().ok().map(|(document, _)| (document, &layer.source)));
        said.filter_map(move |(document, source)| Some((at_path(document, path)?, source)))
    }

    /// Why something that is said may not be known.
    pub(super) fn unread(&self) -> Option<&Unavailable> {
        self.0.iter().find_map(|layer| layer.content.as_ref().err())
    }

    /// The names under `path` in any place.
    pub(super) fn names(&self, path: &[&str]) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for (value, _) in self.all(path) {
            names.extend(value.as_object().into_iter().flat_map(Map::keys).cloned());
        }
        names.sort();
        names.dedup();
        names
    }
}

/// What was skipped of registries' files says nothing about settings.
pub(super) fn about_registries(what: &str) -> bool {
    ["hosts.toml", "certs.d", "registries.conf"].iter().any(|part| what.contains(part))
}

fn at_path<'a>(document: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(document, |here, name| here.get(name))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(truth) => !truth,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

/// The type of a setting, as its document writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    /// The opposite of what is written.
    Not,
    Int,
    Text,
    /// Text or a number, kept as text.
    Port,
    /// True where the text is this.
    Is(&'static str),
    /// True where there is any text.
    Given,
    List,
}

/// A default of a release, or why it cannot be told.
pub(super) type Default = fn(Running) -> Result<Value, &'static str>;

/// One setting: its name in checks, where it is written, and what holds where nothing is.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) path: &'static [&'static str],
    pub(super) kind: Kind,
    /// What is empty counts as not written.
    pub(super) empty_is_nothing: bool,
    pub(super) default: Default,
}

impl Key {
    pub(super) const fn new(name: &'static str, path: &'static [&'static str], kind: Kind, default: Default) -> Self {
        Self { name, path, kind, empty_is_nothing: false, default }
    }

    pub(super) const fn unless_empty(mut self) -> Self {
        self.empty_is_nothing = true;
        self
    }

    pub(super) fn setting(&self, layers: &Layers, release: Running, product: &str, at: i64) -> Observed<Setting> {
        let declared = || {
            let said = layers.all(self.path).filter_map(|(value, source)| Some((self.typed(value)?, source)));
            said.map(|(value, source)| Declared { value, source: source.clone() }).collect::<Vec<_>>()
        };
        let mut setting = match layers.last(self.path, self.empty_is_nothing) {
            Said::Unknown(why) => return Observed::Unavailable(why),
            Said::Value(value, source, at) => {
                let Some(value) = self.typed(value) else {
                    let detail = format!("{}: {} is not of its type", source.place, self.path.join("."));
                    return unavailable(Reason::Malformed, detail);
                };
                decided(value, source.clone(), at)
            }
            Said::Nothing => match (self.default)(release) {
                Ok(value) => decided(value, default_source(product, release), at),
                Err(why) => return unavailable(Reason::NotSupported, why),
            },
        };
        if let Some(setting) = setting.value_mut() {
            setting.declared = declared();
        }
        setting
    }

    fn typed(&self, value: &Value) -> Option<Value> {
        match (self.kind, value) {
            (Kind::Bool, Value::Bool(_)) | (Kind::Text | Kind::Port, Value::String(_)) | (Kind::List, Value::Array(_)) => {
                Some(value.clone())
            }
            (Kind::Not, Value::Bool(truth)) => Some((!truth).into()),
            (Kind::Int, Value::Number(number)) => number.as_i64().map(Value::from),
            (Kind::Port, Value::Number(number)) => Some(number.to_string().into()),
            (Kind::Is(wanted), Value::String(text)) => Some((text == wanted).into()),
            (Kind::Given, Value::String(text)) => Some((!text.is_empty()).into()),
            _ => None,
        }
    }
}

/// Where a default comes from: the product and its release.
pub(super) fn default_source(product: &str, release: Running) -> Source {
    Source::new(SourceKind::Default, format!("{product}{release}"))
}

/// The effective settings of `keys`.
pub(super) fn settings(keys: &[Key], layers: &Layers, release: Running, product: &str, at: i64) -> Settings {
    keys.iter().map(|key| (key.name.to_owned(), key.setting(layers, release, product, at))).collect()
}

/// Why a default of two releases is not told.
const BY_VERSION: &str = "its default depends on the version, which could not be read";

/// `after` from `first` on, `before` earlier.
pub(super) fn since(release: Running, first: Release, before: Value, after: Value) -> Result<Value, &'static str> {
    match release.is_at_least(first) {
        Some(true) => Ok(after),
        Some(false) => Ok(before),
        None if before == after => Ok(after),
        None => Err(BY_VERSION),
    }
}

/// A setting that follows from several keys: said by `source`, or by default.
pub(super) fn decided_by(value: Value, source: Option<Source>, product: &str, release: Running, at: i64) -> Observed<Setting> {
    decided(value, source.unwrap_or_else(|| default_source(product, release)), at)
}
