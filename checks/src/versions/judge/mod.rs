//! The verdict: each thing of the patch chain by six axes that stand beside each other, and one headline.
//!
//! One file an axis. `target` says what is judged in the words of records, `decide` looks it up, `headline` draws the line under it.
//! Must not know the clock: today is passed in.

mod activation;
mod advice;
mod decide;
mod exposure;
mod found;
mod headline;
mod kernel;
mod os;
mod patch;
mod software;
mod support;
mod target;
mod vulnerability;

use jiff::civil::Date;

use self::activation::Activated;
use self::decide::Decided;
pub use self::found::Memory;
use self::found::look_up;
use self::target::Target;
use super::ecosystem;
use super::knowledge::Knowledge;
use super::{Confidence, KnowledgeFacts, Link, VersionFacts};
use crate::facts::{Kubelet, NodeFacts, Observed, Reason, Source, SourceKind};

/// What everything is judged by.
struct Scene<'a> {
    facts: &'a NodeFacts,
    knowledge: &'a Knowledge,
    memory: &'a Memory,
    today: Date,
}

impl Scene<'_> {
    /// Is the system updated as one image.
    fn on_image(&self) -> bool {
        let known =
            ["bottlerocket", "talos", "cos", "flatcar", "rhcos", "sle-micro", "sl-micro", "opensuse-microos", "opensuse-leap-micro"];
        self.facts.os.value().is_some_and(|os| known.contains(&os.id.as_str()) || os.fields.contains_key("OSTREE_VERSION"))
    }

    fn imported(&self, feed: &str) -> bool {
        self.knowledge.feeds().iter().any(|one| one.name == feed)
    }
}

/// Fills [`NodeFacts::versions`] from the other groups. Idempotent.
pub fn judge(facts: &mut NodeFacts, knowledge: &Knowledge, today: Date) {
    judge_by(facts, knowledge, &Memory::default(), today);
}

/// [`judge`] for many nodes: what was looked up for one is not looked up again for the next that runs the same. `memory` must not be
/// one that was used with other knowledge.
pub fn judge_by(facts: &mut NodeFacts, knowledge: &Knowledge, memory: &Memory, today: Date) {
    let scene = Scene { facts, knowledge, memory, today };
    let as_of = knowledge.as_of();
    let wanted = scene.facts.os.value().and_then(ecosystem::feed).filter(|feed| !scene.imported(feed)).unwrap_or_default();
    let versions = VersionFacts {
        os: os::judge(&scene),
        kernel: kernel::judge(&scene),
        components: software::judge(&scene),
        knowledge: KnowledgeFacts {
            as_of: as_of.to_string(),
            age_days: days(as_of, today),
            feeds: knowledge.feeds().iter().skip(1).map(|feed| feed.name.clone()).collect(),
            wanted,
        },
    };
    let at = observed_at(&facts.kernel);
    facts.versions = Observed::known(versions, Source::new(SourceKind::Derived, "version knowledge"), at);
}

/// Puts the axes together.
fn assemble(
    scene: &Scene<'_>,
    target: &Target,
    activated: Activated,
    waiting: Option<&Target>,
    kubelet: Option<&Kubelet>,
    livepatched: bool,
) -> Link {
    let found = look_up(scene, target, waiting, kubelet, livepatched);
    let mut link = target.link();
    link.support = support::support(scene, target);
    link.patch = patch::patch(scene, target, found.newest_fix.as_ref());
    link.vulnerability = found.vulnerability.clone();
    link.activation = activated.activation;
    link.installed = activated.installed;
    link.fleet = Observed::unavailable_because(Reason::NotSupported, "judged across the fleet by the collector");
    if let (Some(waiting), Some(activation)) = (&found.waiting, link.activation.value_mut()) {
        activation.security = waiting.security();
    }
    headline::settle(scene, target, &mut link, Some(&found));
    link
}

/// What the version that waits does about what affects the running one.
#[derive(Debug)]
struct Waiting {
    /// Ids of what certainly affects the running one and not this.
    fixes: Vec<String>,
    /// How many that certainly affect the running one affect this too, or may.
    leaves: usize,
    /// Is every known vulnerability decided for both.
    complete: bool,
}

impl Waiting {
    fn of(running: &Decided<'_>, waiting: &Decided<'_>) -> Self {
        let open = waiting.open();
        let certain = || running.affected.iter().filter(|one| one.confidence != Confidence::Possible);
        let fixes: Vec<String> = certain().filter(|one| !open.contains(one.id.as_str())).map(|one| one.id.clone()).collect();
        let leaves = certain().count().saturating_sub(fixes.len());
        // Only a distribution's records say of a package that nothing else was fixed in it.
        let all = |decided: &Decided<'_>| decided.newest_fix.as_ref().is_some_and(|newest| newest.complete);
        let by_records = all(running) && all(waiting);
        let complete = by_records && running.undecided.is_empty() && waiting.undecided.is_empty();
        Self { fixes, leaves, complete }
    }

    fn security(&self) -> Option<bool> {
        if self.fixes.is_empty() { self.complete.then_some(false) } else { Some(true) }
    }
}

fn days(from: Date, to: Date) -> i64 {
    to.since(from).map_or(0, |span| i64::from(span.get_days()))
}

fn observed_at<T>(fact: &Observed<T>) -> i64 {
    match fact {
        Observed::Known { at, .. } => *at,
        Observed::Unavailable(_) => 0,
    }
}
