//! Version knowledge.

use serde::{Deserialize, Serialize};

/// Version verdicts of one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VersionFacts {}
