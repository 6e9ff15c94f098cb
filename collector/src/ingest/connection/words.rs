//! What an agent is told whose session does not begin, or ends. The same for all causes that are nobody's business.

/// What an agent is told that may not have the node's session. Its credentials are good, and it is its own node.
pub(in crate::ingest) const ANOTHER_AGENT: &str = "another agent of this node is connected";
/// What an agent is told whose message is not stored.
pub(in crate::ingest) const CANNOT_COMMIT: &str = "the store cannot commit: come back later";
/// What an agent is told that comes while the collector stops.
pub(in crate::ingest) const STOPPING: &str = "the collector is stopping";
/// What is told to whoever says what is no message.
pub(in crate::ingest) const NO_MESSAGE: &str = "what came is no message, or too large a one";
/// What is told to whoever opens another session in a connection.
pub(in crate::ingest) const ONE_SESSION: &str = "there is a session in this connection";
/// What an agent is told whose credentials are not accepted, whatever the reason.
pub(in crate::ingest) const NOT_ACCEPTED: &str = "credentials not accepted";
/// What an agent is told whose credentials cannot be looked at now.
pub(in crate::ingest) const CANNOT_DECIDE: &str = "credentials cannot be checked now: come back later";
