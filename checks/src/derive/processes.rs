//! Which processes have run long enough to say something about the node.
//!
//! Runtimes start a container as root with every capability, and drop both before they hand over; a command typed in a shell
//! or run by an exec probe is gone before anybody reads of it. Judged, each would come and go as a finding. So whatever has run
//! for less than a second is left out, and a runtime that is still preparing a container for a while longer: a name is easily
//! taken, so it buys seconds and no more.

use crate::facts::{Listing, NodeFacts, Observed, Process};

/// A process younger than this, in milliseconds, is left out: what is typed or asked by a probe has usually ended by then, and what
/// stays is known within seconds. What a change costs in delay, this is most of.
pub const SETTLED_MS: i64 = 1_000;
/// So long may a runtime's own code run inside a container that it is still preparing: `runc create` waits for `runc start`.
const PREPARED_MS: i64 = 10_000;
/// How runtimes call themselves meanwhile, after they copied themselves into memory or were covered by a mount.
const PREPARING_NAMES: [&str; 3] = ["runc:[", "crun:[", "youki:["];
const PREPARING_EXES: [&str; 2] = ["/memfd:runc_cloned", "/memfd:crun_cloned"];
const RUNTIMES: [&str; 3] = ["runc", "crun", "youki"];

/// Leaves out processes that were too young when they were read. Where the age is not known, or makes no sense (a process from the
/// future), nothing is left out.
pub(super) fn leave_out_young(processes: &mut Observed<Listing<Process>>) {
    if let Some(listing) = processes.value_mut() {
        listing.items.retain(|process| silent_for(process).is_none());
    }
}

/// How long until a process that would be left out now may be judged, in milliseconds: when to read processes again. `None`: none
/// would be. For facts as sensors give them: derivation leaves those processes out.
pub fn comes_of_age_ms(facts: &NodeFacts) -> Option<i64> {
    facts.processes.value()?.items.iter().filter_map(silent_for).min()
}

/// Milliseconds until it may be judged, or may turn out to have become another program. `None`: now.
fn silent_for(process: &Process) -> Option<i64> {
    let age = process.age_ms.filter(|age| *age >= 0)?;
    if age < SETTLED_MS {
        return Some(SETTLED_MS - age);
    }
    // It hands over without a word: nothing tells of an `exec` where the kernel sends no events.
    (age < PREPARED_MS && prepares_a_container(process)).then(|| (PREPARED_MS - age).min(SETTLED_MS))
}

/// Does a runtime's own code still run in a container.
fn prepares_a_container(process: &Process) -> bool {
    let begins = |text: &str, with: &[&str]| with.iter().any(|start| text.starts_with(start));
    let exe = process.exe.value().map(String::as_str).unwrap_or_default();
    let file = exe.trim_end_matches(" (deleted)").rsplit('/').next().unwrap_or_default();
    !process.container_id.is_empty()
        && (begins(&process.name, &PREPARING_NAMES) || begins(exe, &PREPARING_EXES) || RUNTIMES.contains(&file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Source, SourceKind};

    /// A process in a container.
    fn process(name: &str, exe: &str, age_ms: Option<i64>) -> Process {
        let exe = Observed::known(exe.to_owned(), Source::new(SourceKind::Process, "exe"), 0);
        Process { name: name.to_owned(), exe, age_ms, container_id: "c".repeat(64), ..Process::unread("pod:a/b/c", 7) }
    }

    /// Names and executables as seen on real nodes; the first line is `runc create` of 1.1, whose executable is no longer mounted.
    #[test]
    fn a_runtime_that_prepares_a_container_is_silent_for_longer_than_what_it_starts() {
        let preparing = [
            ("runc:[2:INIT]", "/"),
            ("runc:[1:CHILD]", "/usr/sbin/runc"),
            ("6", "/memfd:runc_cloned:/proc/self/exe (deleted)"),
            ("crun", "/usr/bin/crun"),
            ("runc", "/runc (deleted)"),
            ("youki:[2:INIT]", "/usr/bin/youki"),
        ];
        for (name, exe) in preparing {
            let silent = |age| silent_for(&process(name, exe, Some(age)));
            assert_eq!(silent(0), Some(1_000), "{name}");
            assert_eq!(silent(1_000), Some(1_000), "{name}");
            assert_eq!(silent(9_700), Some(300), "{name}");
            // A program that calls itself so is judged all the same.
            assert_eq!(silent(10_000), None, "{name}");
        }
        for (name, exe) in [("sleep", "/bin/sleep"), ("runcible", "/usr/bin/runcible"), ("3", "/memfd:x (deleted)"), ("pause", "/pause")] {
            let silent = |age| silent_for(&process(name, exe, Some(age)));
            assert_eq!(silent(999), Some(1), "{name}");
            assert_eq!(silent(1_000), None, "{name}");
        }
        // On the host the runtime is a service like others.
        let shim = Process { container_id: String::new(), ..process("runc", "/usr/sbin/runc", Some(1_000)) };
        assert_eq!(silent_for(&shim), None);
    }

    #[test]
    fn an_age_that_is_not_known_or_makes_no_sense_hides_nothing() {
        for age in [None, Some(-1), Some(i64::MIN), Some(i64::MAX)] {
            assert_eq!(silent_for(&process("runc:[2:INIT]", "/", age)), None, "{age:?}");
        }
    }
}
