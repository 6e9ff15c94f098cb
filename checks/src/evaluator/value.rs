//! Facts as CEL values that know their own path.
//!
//! Reading an unavailable member is a CEL error that carries the member's full path, so that the evaluator can answer
//! `unknown` with the reason; reading a listing with something skipped is noted in a [`Trace`]. CEL's own `&&`, `||`,
//! `exists` and `all` then give three-valued logic. Must not know checks or verdicts.

use std::sync::{Arc, Mutex, PoisonError};

use cel::ExecutionError;
use cel::common::traits::{Container, Indexer, Iterable, Iterator as CelIterator, Sizer};
use cel::common::types::{CelBool, CelDouble, CelInt, CelNull, CelString, LIST_TYPE, MAP_TYPE, Type};
use cel::common::value::{CowVal, StaticVal, Val};

use super::tree::{Key, Tree};

static MAP: Type = MAP_TYPE;
static LIST: Type = LIST_TYPE;

/// What an evaluation read that may be incomplete.
#[derive(Debug, Clone, Default)]
pub(super) struct Trace(Arc<Mutex<Vec<String>>>);

impl Trace {
    /// Forgets what was read, and returns it: the paths of incomplete listings.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, path: &str) {
        let mut read = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !read.iter().any(|seen| seen == path) {
            read.push(path.to_owned());
        }
    }
}

/// A struct or map of facts.
#[derive(Debug, Clone)]
pub(super) struct FactMap(Arc<MapNode>);

#[derive(Debug)]
struct MapNode {
    path: String,
    /// A few dozen at most, so looking through them is cheaper than hashing.
    members: Vec<Member>,
}

/// A member and its value; `None`: unavailable.
type Member = (Key, Option<Box<dyn Val>>);

/// A listing of facts.
#[derive(Debug, Clone)]
pub(super) struct FactList(Arc<ListNode>);

#[derive(Debug)]
struct ListNode {
    path: String,
    items: Vec<Box<dyn Val>>,
    incomplete: bool,
    trace: Trace,
}

/// The CEL value of `tree`, found at `path`; `None` when it is unavailable.
pub(super) fn value_of(tree: &Tree, path: &str, trace: &Trace) -> Option<Box<dyn Val>> {
    Some(match tree {
        Tree::Null => Box::new(CelNull),
        Tree::Bool(value) => Box::new(CelBool::from(*value)),
        Tree::Int(value) => Box::new(CelInt::from(*value)),
        Tree::Float(value) => Box::new(CelDouble::from(*value)),
        Tree::Text(value) => Box::new(CelString::from(value.clone())),
        Tree::List(items, skipped) => {
            let element = |(index, item)| value_at(item, || format!("{path}[{index}]"), trace);
            Box::new(FactList(Arc::new(ListNode {
                path: path.to_owned(),
                items: items.iter().enumerate().filter_map(element).collect(),
                incomplete: !skipped.is_empty(),
                trace: trace.clone(),
            })))
        }
        Tree::Map(members) => {
            let member = |(key, member): &(Key, Tree)| (key.clone(), value_at(member, || format!("{path}.{key}"), trace));
            Box::new(FactMap(Arc::new(MapNode { path: path.to_owned(), members: members.iter().map(member).collect() })))
        }
        Tree::Known(value, ..) => return value_of(value, path, trace),
        Tree::Unavailable(_) => return None,
    })
}

/// [`value_of`], with a path that only what has members of its own needs.
fn value_at(tree: &Tree, path: impl Fn() -> String, trace: &Trace) -> Option<Box<dyn Val>> {
    match tree.value() {
        Tree::List(..) | Tree::Map(_) => value_of(tree, &path(), trace),
        _ => value_of(tree, "", trace),
    }
}

impl FactMap {
    fn member(&self, name: &str) -> Option<&Member> {
        self.0.members.iter().find(|(key, _)| key == name)
    }

    /// Where in the facts this map stands: `kubelets[0]`.
    pub(super) fn path(&self) -> &str {
        &self.0.path
    }

    /// The text member `name`.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.member(name)?.1.as_ref()?.downcast_ref::<CelString<'_>>().map(CelString::inner)
    }
}

impl FactList {
    fn note(&self) {
        if self.0.incomplete {
            self.0.trace.note(&self.0.path);
        }
    }
}

impl Val for FactMap {
    fn get_type(&self) -> &Type {
        &MAP
    }

    fn cel_type() -> &'static Type {
        &MAP
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        other.downcast_ref::<Self>().is_some_and(|other| self.0.path == other.0.path)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn std::any::Any> {
        Some(self)
    }
}

impl StaticVal for FactMap {}

impl Indexer for FactMap {
    fn get<'b, 'v>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let Some(name) = key.downcast_ref::<CelString<'_>>().map(CelString::inner) else {
            return Err(ExecutionError::no_such_key(&format!("{}[…]", self.0.path)));
        };
        match self.member(name) {
            Some((_, Some(value))) => Ok(CowVal::Borrowed(value.as_ref())),
            // The full path, so that the evaluator finds the reason.
            Some((_, None)) | None => Err(ExecutionError::no_such_key(&format!("{}.{name}", self.0.path))),
        }
    }

    fn steal<'v>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(key).map(CowVal::into_owned)
    }
}

impl Sizer for FactMap {
    fn size(&self) -> CelInt {
        CelInt::from(i64::try_from(self.0.members.len()).unwrap_or(i64::MAX))
    }
}

impl Container for FactMap {
    /// `"key" in map`: an unavailable member is an error, not an absence.
    fn contains(&self, key: &dyn Val) -> Result<bool, ExecutionError> {
        let Some(name) = key.downcast_ref::<CelString<'_>>().map(CelString::inner) else { return Ok(false) };
        match self.member(name) {
            Some((_, Some(_))) => Ok(true),
            Some((_, None)) => Err(ExecutionError::no_such_key(&format!("{}.{name}", self.0.path))),
            None => Ok(false),
        }
    }
}

impl Val for FactList {
    fn get_type(&self) -> &Type {
        &LIST
    }

    fn cel_type() -> &'static Type {
        &LIST
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        self.note();
        let Some(other) = other.as_iterable() else { return false };
        let mut theirs = other.iter();
        let same = self.0.items.iter().all(|mine| theirs.next().is_some_and(|their| mine.equals(their)));
        same && theirs.next().is_none()
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn std::any::Any> {
        Some(self)
    }
}

impl StaticVal for FactList {}

impl Indexer for FactList {
    fn get<'b, 'v>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.note();
        let index = key.downcast_ref::<CelInt>().and_then(|index| usize::try_from(*index.inner()).ok());
        let item = index.and_then(|index| self.0.items.get(index));
        item.map(|item| CowVal::Borrowed(item.as_ref())).ok_or_else(|| ExecutionError::no_such_key(&format!("{}[…]", self.0.path)))
    }

    fn steal<'v>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(key).map(CowVal::into_owned)
    }
}

impl Iterable for FactList {
    fn iter<'b, 'v>(&'b self) -> Box<dyn CelIterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        self.note();
        Box::new(Items(self.0.items.iter()))
    }
}

struct Items<'b>(std::slice::Iter<'b, Box<dyn Val>>);

impl<'b, 'v> CelIterator<'b, 'v> for Items<'b> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        self.0.next().map(|item| -> &'b (dyn Val + 'v) { item.as_ref() })
    }
}

impl Sizer for FactList {
    fn size(&self) -> CelInt {
        self.note();
        CelInt::from(i64::try_from(self.0.items.len()).unwrap_or(i64::MAX))
    }
}

impl Container for FactList {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        self.note();
        Ok(self.0.items.iter().any(|item| item.equals(value)))
    }
}
