//! The distribution package that brought a program or a kernel.

use serde::{Deserialize, Serialize};

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Whose database tells: `dpkg` or `rpm`. It decides how versions compare. Agents before it told of dpkg's only.
    #[serde(default = "dpkg")]
    pub manager: String,
    /// Binary package name.
    pub name: String,
    /// Package version.
    pub version: String,
    /// Source package name; the binary package's where the database gives none.
    pub origin: String,
}

fn dpkg() -> String {
    "dpkg".to_owned()
}
