//! Facts as a plain tree: what a custom serde serializer makes of [`crate::facts::NodeFacts`].
//!
//! The tree keeps what CEL values cannot: where a value came from, why one is missing, what a listing skipped. Integers
//! become `i64` whatever their Rust type. Must not know CEL or checks.

use std::borrow::Cow;
use std::fmt::Display;

use serde::ser::{
    self, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
};

use crate::facts::{Reason, Skipped, Source, Unavailable};

/// A member's name: a struct's are known to the compiler.
pub(crate) type Key = Cow<'static, str>;

/// A fact, or a composite of facts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree {
    /// `null`: an empty option, or a JSON null of a document.
    Null,
    /// A boolean.
    Bool(bool),
    /// Any integer.
    Int(i64),
    /// A floating point number (of documents; facts have none).
    Float(f64),
    /// Text.
    Text(String),
    /// A list, and what should be in it and is not.
    List(Vec<Tree>, Vec<Skipped>),
    /// A struct or map in its own order.
    Map(Vec<(Key, Tree)>),
    /// A known observation of a value.
    Known(Box<Tree>, Source, i64),
    /// An observation that failed.
    Unavailable(Unavailable),
}

impl Tree {
    /// Builds the tree of any serializable facts.
    pub(crate) fn of(facts: &impl Serialize) -> Result<Self, TreeError> {
        facts.serialize(Builder)
    }

    /// The value itself, without the observation around it.
    pub(crate) fn value(&self) -> &Self {
        match self {
            Self::Known(value, ..) => value.value(),
            other => other,
        }
    }

    /// The member `name` of a map.
    pub(crate) fn member(&self, name: &str) -> Option<&Self> {
        match self.value() {
            Self::Map(members) => members.iter().find(|(key, _)| key == name).map(|(_, member)| member),
            _ => None,
        }
    }

    /// The element at `index` of a list.
    pub(crate) fn element(&self, index: usize) -> Option<&Self> {
        match self.value() {
            Self::List(items, _) => items.get(index),
            _ => None,
        }
    }

    /// The value as JSON. What is unavailable inside becomes `null`.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null | Self::Unavailable(_) => serde_json::Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Int(value) => (*value).into(),
            Self::Float(value) => (*value).into(),
            Self::Text(value) => value.clone().into(),
            Self::List(items, _) => items.iter().map(Self::to_json).collect(),
            Self::Map(members) => {
                members.iter().map(|(key, member)| (key.clone().into_owned(), member.to_json())).collect::<serde_json::Map<_, _>>().into()
            }
            Self::Known(value, ..) => value.to_json(),
        }
    }

    /// Text of a text node; empty otherwise.
    fn text(&self) -> &str {
        if let Self::Text(text) = self { text } else { "" }
    }
}

/// Facts that do not fit the tree: a number beyond `i64`, or a map whose keys are not text. A bug, never an input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("facts cannot be judged: {0}")]
pub struct TreeError(String);

impl ser::Error for TreeError {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// One step of a path such as `kubelets[0].settings.port`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// Into a member of a map.
    Member(&'a str),
    /// Into an element of a list.
    Element(usize),
}

/// The steps of `path` from the root of the facts.
pub(crate) fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    path.split('.').flat_map(|part| {
        let (name, indices) = part.split_once('[').unwrap_or((part, ""));
        let elements = indices.split('[').filter_map(|index| index.trim_end_matches(']').parse().ok()).map(Step::Element);
        std::iter::once(Step::Member(name)).chain(elements)
    })
}

struct Builder;

/// A list, map or struct being collected; `name` tells an observation or a listing from a plain struct.
struct Collect {
    name: &'static str,
    items: Vec<Tree>,
    members: Vec<(Key, Tree)>,
}

impl Collect {
    fn new(name: &'static str) -> Self {
        Self { name, items: Vec::new(), members: Vec::new() }
    }

    fn take(&mut self, member: &str) -> Option<Tree> {
        let at = self.members.iter().position(|(key, _)| key == member)?;
        Some(self.members.swap_remove(at).1)
    }

    fn finish(mut self) -> Result<Tree, TreeError> {
        if self.name == crate::facts::LISTING_NAME {
            let items = match self.take("items") {
                Some(Tree::List(items, _)) => items,
                _ => Vec::new(),
            };
            let skipped = match self.take("skipped") {
                Some(Tree::List(skipped, _)) => skipped.iter().map(skipped_of).collect::<Result<_, _>>()?,
                _ => Vec::new(),
            };
            return Ok(Tree::List(items, skipped));
        }
        if self.name == crate::facts::OBSERVED_NAME {
            let source = self.take("source").unwrap_or(Tree::Null);
            let at = if let Some(Tree::Int(at)) = self.take("at") { at } else { 0 };
            let value = self.take("value").unwrap_or(Tree::Null);
            return Ok(Tree::Known(Box::new(value), source_of(&source)?, at));
        }
        Ok(Tree::Map(self.members))
    }
}

pub(crate) fn source_of(tree: &Tree) -> Result<Source, TreeError> {
    serde_json::from_value(tree.to_json()).map_err(ser::Error::custom)
}

fn skipped_of(tree: &Tree) -> Result<Skipped, TreeError> {
    serde_json::from_value(tree.to_json()).map_err(ser::Error::custom)
}

fn unavailable_of(tree: &Tree) -> Unavailable {
    let reason = tree.member("reason").map(Tree::text).unwrap_or_default();
    let reason = serde_json::from_value(reason.into()).unwrap_or(Reason::NotSupported);
    Unavailable::new(reason, tree.member("detail").map(Tree::text).unwrap_or_default())
}

macro_rules! integers {
    ($($method:ident: $type:ty),*) => {
        $(fn $method(self, value: $type) -> Result<Tree, TreeError> {
            i64::try_from(value).map(Tree::Int).map_err(|_| TreeError(format!("{value} does not fit 64 signed bits")))
        })*
    };
}

impl ser::Serializer for Builder {
    type Ok = Tree;
    type Error = TreeError;
    type SerializeSeq = Collect;
    type SerializeTuple = Collect;
    type SerializeTupleStruct = Collect;
    type SerializeTupleVariant = Impossible<Tree, TreeError>;
    type SerializeMap = Collect;
    type SerializeStruct = Collect;
    type SerializeStructVariant = Collect;

    integers!(serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64);

    fn serialize_bool(self, value: bool) -> Result<Tree, TreeError> {
        Ok(Tree::Bool(value))
    }

    fn serialize_f32(self, value: f32) -> Result<Tree, TreeError> {
        Ok(Tree::Float(value.into()))
    }

    fn serialize_f64(self, value: f64) -> Result<Tree, TreeError> {
        Ok(Tree::Float(value))
    }

    fn serialize_char(self, value: char) -> Result<Tree, TreeError> {
        Ok(Tree::Text(value.into()))
    }

    fn serialize_str(self, value: &str) -> Result<Tree, TreeError> {
        Ok(Tree::Text(value.to_owned()))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<Tree, TreeError> {
        Ok(Tree::Text(String::from_utf8_lossy(value).into_owned()))
    }

    fn serialize_none(self) -> Result<Tree, TreeError> {
        Ok(Tree::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Tree, TreeError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Tree, TreeError> {
        Ok(Tree::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Tree, TreeError> {
        Ok(Tree::Null)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Tree, TreeError> {
        Ok(Tree::Text(variant.to_owned()))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<Tree, TreeError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Tree, TreeError> {
        let inner = value.serialize(self)?;
        if name == crate::facts::OBSERVED_NAME {
            return Ok(Tree::Unavailable(unavailable_of(&inner)));
        }
        Ok(Tree::Map(vec![(variant.into(), inner)]))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Collect, TreeError> {
        Ok(Collect::new(""))
    }

    fn serialize_tuple(self, _: usize) -> Result<Collect, TreeError> {
        Ok(Collect::new(""))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Collect, TreeError> {
        Ok(Collect::new(""))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, TreeError> {
        Err(TreeError(format!("{name}::{variant} is a tuple variant, which facts may not have")))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Collect, TreeError> {
        Ok(Collect::new(""))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Collect, TreeError> {
        Ok(Collect::new(name))
    }

    fn serialize_struct_variant(self, name: &'static str, _: u32, _: &'static str, _: usize) -> Result<Collect, TreeError> {
        Ok(Collect::new(name))
    }
}

impl SerializeSeq for Collect {
    type Ok = Tree;
    type Error = TreeError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), TreeError> {
        self.items.push(value.serialize(Builder)?);
        Ok(())
    }

    fn end(self) -> Result<Tree, TreeError> {
        Ok(Tree::List(self.items, Vec::new()))
    }
}

impl SerializeTuple for Collect {
    type Ok = Tree;
    type Error = TreeError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), TreeError> {
        SerializeSeq::serialize_element(self, value)
    }

    fn end(self) -> Result<Tree, TreeError> {
        SerializeSeq::end(self)
    }
}

impl SerializeTupleStruct for Collect {
    type Ok = Tree;
    type Error = TreeError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), TreeError> {
        SerializeSeq::serialize_element(self, value)
    }

    fn end(self) -> Result<Tree, TreeError> {
        SerializeSeq::end(self)
    }
}

impl SerializeMap for Collect {
    type Ok = Tree;
    type Error = TreeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), TreeError> {
        match key.serialize(Builder)? {
            Tree::Text(key) => self.members.push((key.into(), Tree::Null)),
            other => return Err(TreeError(format!("a map has the key {other:?}, which is not text"))),
        }
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), TreeError> {
        let value = value.serialize(Builder)?;
        if let Some((_, slot)) = self.members.last_mut() {
            *slot = value;
        }
        Ok(())
    }

    fn end(self) -> Result<Tree, TreeError> {
        Ok(Tree::Map(self.members))
    }
}

impl SerializeStruct for Collect {
    type Ok = Tree;
    type Error = TreeError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), TreeError> {
        self.members.push((name.into(), value.serialize(Builder)?));
        Ok(())
    }

    fn end(self) -> Result<Tree, TreeError> {
        self.finish()
    }
}

impl SerializeStructVariant for Collect {
    type Ok = Tree;
    type Error = TreeError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), TreeError> {
        SerializeStruct::serialize_field(self, name, value)
    }

    fn end(self) -> Result<Tree, TreeError> {
        self.finish()
    }
}
