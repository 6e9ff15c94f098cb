//! What must hold once everything is well again.

use anyhow::{Result, ensure};
use holdfast_checks::entries::Verdict;
use holdfast_collector::store::verdict_number;
use holdfast_tests::stored::{Stored, StoredNode};

use crate::agent::Agent;

/// Everything an agent's node is, the collector has, once; and its history fits together.
pub(crate) async fn agrees(stored: &Stored, agent: &Agent) -> Result<()> {
    let node = stored.node(&agent.name).await?;
    let (name, state) = (&agent.name, agent.node.state());
    ensure!(node.digest == state.digest().to_string(), "{name}: digest {}, the node's is {}", node.digest, state.digest());
    ensure!(node.rows.len() == state.len(), "{name}: {} rows for {} entries", node.rows.len(), state.len());
    node.is_consistent()?;
    let (epochs, spools) = (node.epochs(), agent.epochs);
    ensure!(epochs <= spools, "{name}: {epochs} epochs are stored, it had {spools} spools");
    // Killed while its disk took nothing, an agent finds again what it has told already, and tells it again: there is nothing that
    // could know better.
    if !agent.forgot {
        node.has_whole_history()?;
    }
    if agent.died || agent.damped { Ok(()) } else { exactly(&node, agent) }
}

/// Of an agent that never died every transition is known: each is stored, once, in order.
fn exactly(node: &StoredNode, agent: &Agent) -> Result<()> {
    let end = |verdict: Option<Verdict>| verdict.map_or(0, verdict_number);
    let stored: Vec<_> = node.steps.iter().map(|step| (step.key.clone(), step.from, step.to)).collect();
    let made: Vec<_> = agent.history.iter().map(|made| (made.key.clone(), end(made.from), end(made.to))).collect();
    if let Some((at, (stored, made))) = stored.iter().zip(&made).enumerate().find(|(_, (stored, made))| stored != made) {
        anyhow::bail!("{}: transition {at} is {stored:?}, it was {made:?}", node.name);
    }
    ensure!(stored.len() == made.len(), "{}: {} transitions are stored of {}", node.name, stored.len(), made.len());
    Ok(())
}
