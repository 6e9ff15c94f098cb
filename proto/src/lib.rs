//! The gRPC contract between agent and collector: generated code, and the codec both sides use. Beside it, in [`cri`], the few
//! calls of the container runtime interface that an agent makes where it may.
//!
//! Depends on nothing of ours and holds no logic. Conversion to and from domain types lives where it is needed: the
//! agent's is infallible, the collector's treats every message as hostile.

pub mod body;
pub mod codec;

/// The largest message either side encodes or accepts, in bytes. The agent packs by bytes and never reaches it.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024;

/// The protocol versions this build speaks.
pub const PROTOCOL: std::ops::RangeInclusive<u32> = 1..=1;

/// Capability bit of an agent that answers `ProbeRequest` by trying another node's ports.
pub const PROBES_PEERS: u64 = 1;

/// Capability bit of an agent that numbers what follows from `Welcome.seq`, and says in `Hello.sent_seq` up to where it knows what it sent.
pub const NUMBERS_FROM_WELCOME: u64 = 2;

/// Capability bit of an agent that applies a `Policy`.
pub const TAKES_POLICY: u64 = 4;

/// Capability bit of an agent that sends `Reauth` with a fresh token before the one it came with ends.
pub const REAUTHENTICATES: u64 = 8;

/// Package `holdfast.v1`.
#[allow(
    missing_docs,
    unused_qualifications,
    clippy::pedantic,
    clippy::as_conversions,
    clippy::allow_attributes_without_reason,
    clippy::clone_on_ref_ptr,
    reason = "generated; the .proto files carry the documentation"
)]
pub mod v1 {
    tonic::include_proto!("holdfast.v1");
}

/// Package `runtime.v1`: the part of the container runtime interface that is read. Not ours: the numbers are upstream's.
#[allow(
    missing_docs,
    unused_qualifications,
    clippy::pedantic,
    clippy::as_conversions,
    clippy::allow_attributes_without_reason,
    clippy::clone_on_ref_ptr,
    reason = "generated; the .proto file carries the documentation"
)]
pub mod cri {
    tonic::include_proto!("runtime.v1");
}
