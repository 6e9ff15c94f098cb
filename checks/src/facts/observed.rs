//! `Observed` and `Listing`: how a fact says that it is known, from where and since when, or why it is not.
//!
//! The evaluator recognises both by their serde names (`OBSERVED_NAME`, `LISTING_NAME`); nothing else may use those names.

use serde::{Deserialize, Deserializer, Serialize};

/// The serde name of [`Observed`], which the evaluator's model builder looks for.
pub(crate) const OBSERVED_NAME: &str = "holdfast.Observed";
/// The serde name of [`Listing`], which the evaluator's model builder looks for.
pub(crate) const LISTING_NAME: &str = "holdfast.Listing";

/// A fact that can be unreadable on its own.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename = "holdfast.Observed", rename_all = "snake_case")]
pub enum Observed<T> {
    /// The fact was read.
    Known {
        /// What was read.
        value: T,
        /// Where it came from.
        source: Source,
        /// When it was read: Unix milliseconds.
        at: i64,
    },
    /// The fact could not be read. In CEL this is a missing key, so reading it makes the verdict `unknown`.
    Unavailable(Unavailable),
}

/// [`Observed`] as it is stored.
#[derive(Deserialize)]
#[serde(rename = "holdfast.Observed", rename_all = "snake_case")]
enum Stored<T> {
    Known { value: T, source: Source, at: i64 },
    Unavailable(Unavailable),
}

/// A member that is not there at all, as in what an older version stored, is unavailable: serde reads it like an absent option.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for Observed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Option::deserialize(deserializer)? {
            Some(Stored::Known { value, source, at }) => Self::Known { value, source, at },
            Some(Stored::Unavailable(why)) => Self::Unavailable(why),
            None => Self::unavailable_because(Reason::NotSupported, "the version that read this node did not read it"),
        })
    }
}

impl<T> Observed<T> {
    /// A known fact.
    pub fn known(value: T, source: Source, at: i64) -> Self {
        Self::Known { value, source, at }
    }

    /// An unavailable fact. `detail` names the path and the operation, for the person who reads the finding.
    pub fn unavailable_because(reason: Reason, detail: impl Into<String>) -> Self {
        Self::Unavailable(Unavailable::new(reason, detail))
    }

    /// The value, when known.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Known { value, .. } => Some(value),
            Self::Unavailable(_) => None,
        }
    }

    /// The value, when known, to change in place (derivation does).
    pub fn value_mut(&mut self) -> Option<&mut T> {
        match self {
            Self::Known { value, .. } => Some(value),
            Self::Unavailable(_) => None,
        }
    }

    /// Why the fact is not known, or `None` when it is.
    pub fn unavailable(&self) -> Option<&Unavailable> {
        match self {
            Self::Known { .. } => None,
            Self::Unavailable(why) => Some(why),
        }
    }

    /// The same observation of another value: source, time and reason are kept.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Observed<U> {
        match self {
            Self::Known { value, source, at } => Observed::Known { value: change(value), source, at },
            Self::Unavailable(why) => Observed::Unavailable(why),
        }
    }
}

/// Why a fact is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unavailable {
    /// The class of the failure; verdicts and coverage group by it.
    pub reason: Reason,
    /// Path, operation and error, in one line for a person.
    pub detail: String,
}

impl Unavailable {
    /// Pairs a reason with the path and operation it happened on.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// The classes of not knowing. `absent`, `unreadable` and `malformed` are three different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Nothing is there: the file, key or process does not exist.
    NotPresent,
    /// It exists and the agent may not read it.
    PermissionDenied,
    /// This host, kernel, tree or version of Holdfast cannot tell.
    NotSupported,
    /// It was read and does not parse, or is not what it should be (a FIFO, a directory, a symlink loop).
    Malformed,
    /// Reading did not finish within its deadline.
    TimedOut,
    /// It is larger than the reader's cap.
    TooLarge,
}

impl Reason {
    /// The name used in JSON, on the wire and in verdict reasons.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotPresent => "not_present",
            Self::PermissionDenied => "permission_denied",
            Self::NotSupported => "not_supported",
            Self::Malformed => "malformed",
            Self::TimedOut => "timed_out",
            Self::TooLarge => "too_large",
        }
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// What kind of place.
    pub kind: SourceKind,
    /// Which one: a path, a flag, an address, a version the default holds for. May be empty.
    pub place: String,
}

impl Source {
    /// A source of `kind` at `place`.
    pub fn new(kind: SourceKind, place: impl Into<String>) -> Self {
        Self { kind, place: place.into() }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.place.is_empty() { f.write_str(self.kind.name()) } else { write!(f, "{} {}", self.kind.name(), self.place) }
    }
}

/// The kinds of places a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// A command-line flag of the running process.
    Flag,
    /// The main configuration file, or any other file of the host.
    File,
    /// A drop-in file merged over the main one.
    DropIn,
    /// Upstream's default, because nothing set it.
    Default,
    /// A listening socket.
    Socket,
    /// The answer to an active request.
    Probe,
    /// A running process.
    Process,
    /// The kernel's own answer (`uname`, sysctl, `/proc`, `/sys`).
    Kernel,
    /// The agent's own configuration, or the platform it runs on.
    Agent,
    /// Derived from other facts.
    Derived,
    /// A recorded tree's `holdfast-tree.json`.
    Recorded,
}

impl SourceKind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Flag,
        Self::File,
        Self::DropIn,
        Self::Default,
        Self::Socket,
        Self::Probe,
        Self::Process,
        Self::Kernel,
        Self::Agent,
        Self::Derived,
        Self::Recorded,
    ];

    /// The word shown to people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::File => "file",
            Self::DropIn => "drop-in",
            Self::Default => "default",
            Self::Socket => "socket",
            Self::Probe => "probe",
            Self::Process => "process",
            Self::Kernel => "kernel",
            Self::Agent => "agent",
            Self::Derived => "derived",
            Self::Recorded => "recorded",
        }
    }
}

/// A list of facts that may be incomplete. In CEL it is the list; reading one with something skipped turns a `pass` or
/// `not_applicable` into `unknown(incomplete)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename = "holdfast.Listing")]
pub struct Listing<T> {
    /// What was read.
    pub items: Vec<T>,
    /// What should be in the list and could not be read.
    pub skipped: Vec<Skipped>,
}

impl<T> Listing<T> {
    /// A complete listing.
    pub fn complete(items: Vec<T>) -> Self {
        Self { items, skipped: Vec::new() }
    }
}

/// One thing missing from a [`Listing`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// What is missing, by name.
    pub what: String,
    /// Why.
    pub reason: Reason,
}

impl Skipped {
    /// What is missing for `why`, with the privilege that it takes where that is why.
    pub fn because(what: impl Into<String>, why: &Unavailable) -> Self {
        let what = what.into();
        let what = match why.detail.split_once("needs ").filter(|_| why.reason == Reason::PermissionDenied) {
            Some((_, needs)) => format!("{what}: needs {needs}"),
            None => what,
        };
        Self { what, reason: why.reason }
    }
}
