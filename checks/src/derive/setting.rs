//! How one effective setting comes about: a flag, the documents in merge order, or upstream's default.
//!
//! Must not know any component's settings, nor whether its flags or its files win.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::flags::{Flags, Shape};
use super::values::{self, Kind};
use crate::facts::{ConfigDocument, Declared, DocumentKind, Listing, Observed, Reason, Setting, Source, SourceKind, Unavailable};

/// One setting: its name in checks, where it can be set, and what holds when nothing sets it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spec {
    /// Its name in checks: upstream's field name where there is one.
    pub(super) name: &'static str,
    /// Its flag, without `--`; empty when there is none.
    pub(super) flag: &'static str,
    /// Its field, outer names first; empty when files cannot set it.
    pub(super) path: &'static [&'static str],
    pub(super) kind: Kind,
    pub(super) default: Default,
    pub(super) zero: Zero,
}

/// A default.
#[derive(Debug, Clone, Copy)]
pub(super) enum Default {
    Bool(bool),
    Int(i64),
    Text(&'static str),
    Empty,
    List(&'static [&'static str]),
    /// Kept with its history elsewhere.
    Versioned,
    /// Nothing Holdfast reads can tell: the reason, for a person.
    Unread(&'static str),
}

/// What a zero value written in a file means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zero {
    /// Itself.
    Stays,
    /// The same as nothing: the default is filled in.
    Unset,
    /// Itself, but anything below zero is the default.
    NegativeUnset,
}

impl Spec {
    pub(super) const fn new(name: &'static str, flag: &'static str, path: &'static [&'static str], kind: Kind, default: Default) -> Self {
        Self { name, flag, path, kind, default, zero: Zero::Stays }
    }

    pub(super) const fn zero(mut self, zero: Zero) -> Self {
        self.zero = zero;
        self
    }

    /// Is `value` of a file the same as nothing.
    fn is_unset(&self, value: &Value) -> bool {
        let number = value.as_i64();
        // Upstream keeps a size as text there, so that only an empty one is nothing.
        let empty = (number == Some(0) && self.kind != Kind::Bytes) || value.as_str() == Some("");
        match self.zero {
            Zero::Stays => false,
            Zero::Unset => empty,
            Zero::NegativeUnset => number.is_some_and(|number| number < 0),
        }
    }

    /// The setting as its flag gives it; `None` when the flag was not given.
    pub(super) fn given_by(&self, flags: &Flags, at: i64) -> Option<Observed<Setting>> {
        let given = flags.all(self.flag);
        if self.flag.is_empty() || given.is_empty() {
            return None;
        }
        let place = format!("--{}", self.flag);
        Some(match values::from_flag(self.kind, given) {
            Ok(value) => decided(value, Source::new(SourceKind::Flag, place), at),
            Err(problem) => unavailable(Reason::Malformed, format!("{place}: {problem}")),
        })
    }

    /// The setting when nothing set it: `default` holds, which `place` names.
    pub(super) fn by_default(&self, default: Default, place: &str, at: i64) -> Observed<Setting> {
        let value: Value = match default {
            Default::Bool(value) => value.into(),
            Default::Int(value) => value.into(),
            Default::Text(value) => value.into(),
            Default::List(values) => values.iter().copied().collect(),
            Default::Empty if self.kind == Kind::List => Value::Array(Vec::new()),
            Default::Empty => "".into(),
            Default::Unread(why) => return unavailable(Reason::NotSupported, why),
            Default::Versioned => return unavailable(Reason::NotSupported, "the default depends on the version"),
        };
        decided(value, Source::new(SourceKind::Default, place), at)
    }

    /// The setting as `layers` leave it; `None` when none of them sets it, or one of them removes it again.
    pub(super) fn left_by(&self, layers: &[Layer<'_>]) -> Option<Observed<Setting>> {
        let mut state = Standing::Untouched;
        if let Some((layer, name)) = layers.iter().find_map(|layer| Some((layer, layer.in_other_case(self.path)?))) {
            let detail = format!(
                "{}: `{name}` counts as {} once it is merged, and which of them wins is not told",
                layer.source.place,
                self.path.join(".")
            );
            return Some(unavailable(Reason::NotSupported, detail));
        }
        for layer in layers {
            match layer.content {
                Err(ref why) => state = Standing::Unknown(why.clone()),
                Ok((ref document, at)) => match field(document, self.path) {
                    Field::Absent => {}
                    // The default that then holds is not this function's to know.
                    Field::Removed => state = Standing::Untouched,
                    Field::Misplaced(outer) => {
                        let detail = format!("{}: {outer} is not a mapping", layer.source.place);
                        state = Standing::Unknown(Unavailable::new(Reason::Malformed, detail));
                    }
                    Field::Set(value) => state = self.over(state, value, layer, at),
                },
            }
        }
        match state {
            Standing::Untouched => None,
            Standing::Unknown(why) => Some(Observed::Unavailable(why)),
            Standing::Set(value, source, at) => match values::from_document(self.kind, &value) {
                Ok(value) if self.is_unset(&value) => None,
                Ok(value) => Some(decided(value, source.clone(), at)),
                Err(problem) => Some(unavailable(Reason::Malformed, self.malformed(source, &problem))),
            },
        }
    }

    /// What stands once `layer` sets `value` over what stood: a drop-in's mapping is merged by name, everything else replaces.
    fn over<'a>(&self, below: Standing<'a>, value: &'a Value, layer: &'a Layer<'_>, at: i64) -> Standing<'a> {
        let by_name = matches!(self.kind, Kind::Map(_) | Kind::Given) && layer.source.kind == SourceKind::DropIn;
        let Some(patch) = value.as_object().filter(|_| by_name) else {
            return Standing::Set(Cow::Borrowed(value), &layer.source, at);
        };
        let mut merged = match below {
            Standing::Unknown(why) => return Standing::Unknown(why),
            Standing::Set(Cow::Owned(Value::Object(members)), ..) => members,
            Standing::Set(Cow::Borrowed(Value::Object(members)), ..) => members.clone(),
            Standing::Untouched | Standing::Set(..) => Map::new(),
        };
        for (name, value) in patch {
            if value.is_null() {
                merged.remove(name);
            } else {
                merged.insert(name.clone(), value.clone());
            }
        }
        Standing::Set(Cow::Owned(Value::Object(merged)), &layer.source, at)
    }

    fn malformed(&self, source: &Source, problem: &str) -> String {
        format!("{}: {}: {problem}", source.place, self.path.join("."))
    }

    /// What each of `layers` and then the flag say, weakest first. A value of the wrong type is shown as it is written.
    pub(super) fn declared(&self, layers: &[Layer<'_>], flags: &Flags) -> Vec<Declared> {
        let mut declared = Vec::new();
        // Without a field of its own it is said by the command line alone.
        let layers = if self.path.is_empty() { &[] } else { layers };
        for layer in layers.iter().filter(|layer| layer.source.kind != SourceKind::Default) {
            let Ok((ref document, _)) = layer.content else { continue };
            let value = match field(document, self.path) {
                Field::Absent | Field::Misplaced(_) => continue,
                Field::Removed => Value::Null,
                Field::Set(value) => values::from_document(self.kind, value).unwrap_or_else(|_| self.as_written(value)),
            };
            declared.push(Declared { value, source: layer.source.clone() });
        }
        if let Some((value, source, _)) = self.given_by(flags, 0).as_ref().and_then(known) {
            declared.push(Declared { value: value.clone(), source: source.clone() });
        }
        declared
    }

    /// A value that is not of the setting's type; where values stay on the node, only that there is one.
    fn as_written(&self, value: &Value) -> Value {
        if self.kind == Kind::Given { true.into() } else { value.clone() }
    }

    /// Do `layers` mention the setting at all, if only to remove it or to write its zero value.
    pub(super) fn touched_by(&self, layers: &[Layer<'_>]) -> bool {
        layers.iter().any(|layer| match layer.content {
            Err(_) => true,
            Ok((ref document, _)) => !matches!(field(document, self.path), Field::Absent),
        })
    }
}

/// The shape of a flag among `specs`, for [`Flags::parse`].
pub(super) fn shape_in(specs: &[Spec], name: &str) -> Option<Shape> {
    let spec = specs.iter().find(|spec| spec.flag == name)?;
    Some(if spec.kind == Kind::Bool { Shape::Switch } else { Shape::Value })
}

/// A setting with its value and source.
pub(super) fn decided(value: Value, source: Source, at: i64) -> Observed<Setting> {
    Observed::known(Setting { value, source: source.clone(), declared: Vec::new() }, source, at)
}

/// A setting that cannot be told.
pub(super) fn unavailable(reason: Reason, detail: impl Into<String>) -> Observed<Setting> {
    Observed::unavailable_because(reason, detail)
}

/// Value, source and time of a setting that is known.
fn known(setting: &Observed<Setting>) -> Option<(&Value, &Source, i64)> {
    match setting {
        Observed::Known { value, at, .. } => Some((&value.value, &value.source, *at)),
        Observed::Unavailable(_) => None,
    }
}

/// One document, or why it is not there to read.
#[derive(Clone)]
pub(super) struct Layer<'a> {
    source: Source,
    content: Result<(Cow<'a, Value>, i64), Unavailable>,
}

impl Layer<'_> {
    /// Defaults that are merged like a document.
    pub(super) fn of_default(document: Value, place: &str, at: i64) -> Self {
        Self { source: Source::new(SourceKind::Default, place), content: Ok((Cow::Owned(document), at)) }
    }

    /// A document that says nothing which can be known.
    pub(super) fn unread(why: &Unavailable) -> Self {
        Self { source: Source::new(SourceKind::Default, ""), content: Err(why.clone()) }
    }

    /// The same place with another content.
    pub(super) fn instead(&self, document: Value) -> Self {
        Self { source: self.source.clone(), content: self.content.clone().map(|(_, at)| (Cow::Owned(document), at)) }
    }

    /// The name by which a drop-in gives the field at `path`, or one around it, in another case. Upstream reads main files by
    /// exact names, and what it merged by any case.
    fn in_other_case(&self, path: &[&str]) -> Option<&str> {
        let Ok((document, _)) = &self.content else { return None };
        if self.source.kind != SourceKind::DropIn {
            return None;
        }
        // The names of feature gates are keys of a map, not fields.
        let fields = if path.first() == Some(&"featureGates") { path.get(..1)? } else { path };
        let mut here = document.as_ref();
        for name in fields {
            let members = here.as_object()?;
            if let Some(other) = members.keys().find(|key| key.as_str() != *name && key.eq_ignore_ascii_case(name)) {
                return Some(other);
            }
            here = members.get(*name)?;
        }
        None
    }

    /// The document, when it is the main one and could be read.
    pub(super) fn main(&self) -> Option<&Value> {
        self.content.as_ref().ok().filter(|_| self.source.kind == SourceKind::File).map(|(document, _)| document.as_ref())
    }
}

enum Standing<'a> {
    Untouched,
    Unknown(Unavailable),
    Set(Cow<'a, Value>, &'a Source, i64),
}

enum Field<'a> {
    Absent,
    /// `null`, here or further out: as in a JSON merge patch the field is gone.
    Removed,
    /// Something further out is no mapping.
    Misplaced(&'static str),
    Set(&'a Value),
}

fn field<'a>(document: &'a Value, path: &'static [&'static str]) -> Field<'a> {
    let mut here = document;
    let mut name = "the document";
    for part in path {
        here = match here {
            Value::Object(members) => match members.get(*part) {
                None => return Field::Absent,
                Some(member) => member,
            },
            _ => return Field::Misplaced(name),
        };
        if here.is_null() {
            return Field::Removed;
        }
        name = part;
    }
    Field::Set(here)
}

/// The documents of a component in merge order, what could not be read among them.
///
/// `kind` is the document kind the component reads (`KubeletConfiguration`); empty: any mapping. `main` is the path given on
/// the command line: when no document came for it, that is a layer which could not be read, not one which sets nothing.
pub(super) fn layers<'a>(
    documents: &'a Observed<Listing<ConfigDocument>>,
    kind: &str,
    main: Option<&str>,
    drop_ins: bool,
) -> Vec<Layer<'a>> {
    let unread = |place: &str, why: Unavailable| Layer { source: Source::new(SourceKind::File, place), content: Err(why) };
    if main.is_none() && !drop_ins {
        return Vec::new();
    }
    let documents = match documents {
        Observed::Unavailable(why) => return vec![unread("", why.clone())],
        Observed::Known { value, .. } => value,
    };
    let mut layers = Vec::new();
    let skipped = |what: &str| documents.skipped.iter().find(|skipped| skipped.what == what);
    if let Some(path) = main
        && !documents.items.iter().any(|document| document.kind == DocumentKind::Main)
    {
        let why = match skipped(path) {
            Some(skipped) => Unavailable::new(skipped.reason, path),
            None => Unavailable::new(Reason::NotSupported, format!("{path} was not read")),
        };
        layers.push(unread(path, why));
    }
    for document in &documents.items {
        let of = match document.kind {
            DocumentKind::Main => SourceKind::File,
            DocumentKind::DropIn => SourceKind::DropIn,
        };
        let content = match &document.content {
            Observed::Unavailable(why) => Err(why.clone()),
            Observed::Known { value, at, .. } if is_kind(value, kind) => Ok((Cow::Borrowed(value), *at)),
            Observed::Known { .. } => {
                let expected = match kind {
                    "" => "a mapping",
                    KUBELET => "KubeletConfiguration of kubelet.config.k8s.io/v1beta1",
                    kind => kind,
                };
                Err(Unavailable::new(Reason::Malformed, format!("{} is not {expected}", document.path)))
            }
        };
        layers.push(Layer { source: Source::new(of, document.path.as_str()), content });
    }
    // Where in the order it belongs is not known, so it may override every document.
    let unplaced = documents.skipped.iter().filter(|skipped| Some(skipped.what.as_str()) != main);
    layers.extend(unplaced.map(|skipped| unread(&skipped.what, Unavailable::new(skipped.reason, skipped.what.as_str()))));
    layers
}

/// The kind of the kubelet's documents. There has been one version of it.
const KUBELET: &str = "KubeletConfiguration";

fn is_kind(document: &Value, kind: &str) -> bool {
    let is = |name: &str, expected: &str| document.get(name).and_then(Value::as_str) == Some(expected);
    document.is_object() && (kind.is_empty() || is("kind", kind)) && (kind != KUBELET || is("apiVersion", "kubelet.config.k8s.io/v1beta1"))
}
