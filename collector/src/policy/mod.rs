//! Policies: what agents are to hold, from one file, and what each agent made of it.
//!
//! `file` reads it, whole or not at all; `desk` is what sessions ask and tell, without waiting; `run` follows the file and stores
//! what was told; `standing` puts both together for whoever shows it. Must not know streams, pages or what an agent does with it.

mod desk;
mod file;
mod run;
mod standing;

use holdfast_checks::policy::Policy;
use holdfast_proto::v1;

pub use desk::{Desk, Reload};
pub use file::{Policies, PolicyFileError};
pub use run::{Following, run};
pub use standing::{PolicyShown, PoolShown, Standing, Standings};

/// The message that tells an agent of a policy.
pub fn to_wire(policy: &Policy) -> v1::Policy {
    let pool = |pool: &holdfast_checks::policy::Pool| v1::ProbePool {
        name: pool.name.clone(),
        networks: pool.networks.iter().map(ToString::to_string).collect(),
    };
    v1::Policy {
        hash: policy.hash().map(|hash| hash.0.to_vec()).unwrap_or_default(),
        full_pass_seconds: policy.full_pass_seconds().unwrap_or_default(),
        disabled_checks: policy.disabled_checks().iter().cloned().collect(),
        probe_pools: policy.pools().iter().map(pool).collect(),
    }
}
