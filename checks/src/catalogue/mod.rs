//! The catalogue: checks as data, read from YAML, refused with line and reason when wrong.
//!
//! A check names what is judged, when it applies, what passes and which facts are its evidence. Must not know how facts
//! are read or how expressions are evaluated; the linter looks at their syntax only.

mod builtin;
mod check;
mod lint;
mod load;

pub use builtin::{built_in, built_in_documents};
pub use check::{Check, CheckId, Expression, Judge, JudgedBy, Tier};
pub use load::{Catalogue, CatalogueError, Document};
