//! What the agent knows of its own delivery, shared by the part that delivers and the sensor that makes a fact of it.

use std::sync::{Arc, Mutex, PoisonError};

use holdfast_checks::facts::Agent;

/// The one account. Cloned freely.
#[derive(Debug, Clone)]
pub struct Own(Arc<Mutex<Agent>>);

impl Default for Own {
    /// Of a scan: nothing is delivered.
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Agent::not_running())))
    }
}

impl Own {
    /// The account as it is.
    pub fn get(&self) -> Agent {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces it. `true` when that changed anything: then the group is to be read again.
    pub fn set(&self, agent: Agent) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *kept != agent;
        *kept = agent;
        changed
    }
}
