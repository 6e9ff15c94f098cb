//! End-to-end tests and benchmarks: real processes, real sockets, real files.
//!
//! `src/bin` holds two thin binaries that call the products' own mains, so that tests can kill them, and a stand-in for a kubelet; [`site`] starts them
//! in a temporary directory; [`containers`] is a host with a real containerd; [`api`] asks the collector what it stored; [`apiserver`] stands in for a cluster's API server; [`peer`] is a hand-driven agent on the wire,
//! [`hostile`] one that means harm, [`intruder`] none at all, with requests that are [`unfinished`], [`sim`] a fleet of simulated ones, [`restless`] a node that never stands still; [`stored`] looks into the collector's database.
//! Nothing here is part of the product.

#![allow(clippy::disallowed_methods, reason = "tests start programs and read their own files")]

pub mod api;
pub mod apiserver;
pub mod browser;
pub mod bundle;
pub mod containers;
pub mod export;
pub mod figures;
pub mod hostile;
pub mod intruder;
pub mod namespace;
pub mod peer;
pub mod port;
pub mod process;
pub mod raw;
pub mod restless;
pub mod sim;
pub mod site;
pub mod stored;
pub mod tls;
pub mod unfinished;
