//! What the agent knows of its own delivery, shared by the part that delivers and the sensor that makes a fact of it.
//!
//! What it found out about its privileges when it started is kept beside, and is the same whoever gives account.

use std::sync::{Arc, Mutex, PoisonError};

use holdfast_checks::facts::{Agent, Privileges};

/// The one account. Cloned freely.
#[derive(Debug, Clone)]
pub struct Own {
    account: Arc<Mutex<Agent>>,
    tested: Option<Arc<Privileges>>,
}

impl Default for Own {
    /// Of a scan: nothing is delivered.
    fn default() -> Self {
        Self { account: Arc::new(Mutex::new(Agent::not_running())), tested: None }
    }
}

impl Own {
    /// The same of an agent that tested itself.
    #[must_use]
    pub fn tested(self, privileges: Privileges) -> Self {
        Self { tested: Some(Arc::new(privileges)), ..self }
    }

    /// What it found out about itself, whether it sees the host left open.
    pub fn privileges(&self) -> Option<Privileges> {
        self.tested.as_deref().cloned()
    }

    /// The account of its delivery as it is.
    pub fn get(&self) -> Agent {
        self.account.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces it. `true` when that changed anything: then the group is to be read again.
    pub fn set(&self, agent: Agent) -> bool {
        let mut kept = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *kept != agent;
        *kept = agent;
        changed
    }
}
