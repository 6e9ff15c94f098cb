//! Which processes have run long enough to say something about the node.
//!
//! Runtimes start a container as root with every capability, and drop both before they hand over; a command typed in a shell
//! or run by an exec probe is gone before anybody reads of it. Judged, each would come and go as a finding.

use crate::facts::{Kernel, Listing, Observed, Process};

/// A process younger than this is left out. Long enough for a container's start on a busy node, short enough that what stays
/// is known within seconds.
const SETTLED_MS: i64 = 3_000;
/// `USER_HZ`, the unit of `start_ticks`: 100 on every architecture Linux supports.
const TICK_MS: i64 = 10;

/// Leaves out processes that had started less than three seconds before they were read. Where the boot time is not known, or
/// does not fit (a process from the future), nothing is left out.
pub(super) fn leave_out_young(processes: &mut Observed<Listing<Process>>, kernel: &Observed<Kernel>) {
    let boot = kernel.value().and_then(|kernel| kernel.boot_time.value()).copied();
    let (Some(boot), Observed::Known { value, at, .. }) = (boot, processes) else { return };
    let age = |process: &Process| {
        let started = boot.checked_mul(1000)?.checked_add(process.start_ticks.checked_mul(TICK_MS)?)?;
        at.checked_sub(started)
    };
    value.items.retain(|process| age(process).is_none_or(|age| !(0..SETTLED_MS).contains(&age)));
}
