//! The Holdfast agent: reads one node, judges it, and streams what changed to the collector.
//!
//! Data flows one way: `host` → `sensors` → `holdfast_checks` (derive, evaluate) → `spool` → `session`. The agent executes
//! nothing, writes nothing outside its spool and its identity, and a privilege it lacks makes `unknown`, never an error.

pub mod capture;
pub mod catalogue;
mod causes;
pub mod cli;
pub mod connect;
pub mod health;
pub mod host;
pub mod identity;
mod inert;
pub mod line;
pub mod own;
pub mod peers;
pub mod policy;
pub mod privileges;
pub mod profiles;
mod progress;
pub mod run;
pub mod scan;
pub mod sensors;
pub mod session;
pub mod spool;
pub mod watch;
pub mod x509;
