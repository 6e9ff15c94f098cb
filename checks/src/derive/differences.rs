//! Which settings a kubelet reports otherwise than its flags and files say.

use crate::facts::{Difference, Kubelet, Listing, Observed, Reason, Skipped};

/// Settings that the container runtime decides where nothing sets them: only the kubelet can tell then, and nothing contradicts it.
const OF_THE_RUNTIME: [&str; 1] = ["cgroupDriver"];

/// Every setting that both sides know and differ in. Skipped where only the kubelet's own answer is known.
pub(super) fn differences(kubelet: &Kubelet) -> Observed<Listing<Difference>> {
    let mut found = Listing::complete(Vec::new());
    for (name, reported) in &kubelet.reported {
        let Some(reported) = reported.value() else { continue };
        match kubelet.settings.get(name) {
            Some(Observed::Known { value: effective, .. }) if effective.value == reported.value => {}
            Some(Observed::Known { value: effective, .. }) => found.items.push(Difference {
                setting: name.clone(),
                effective: effective.value.clone(),
                source: effective.source.clone(),
                reported: reported.value.clone(),
            }),
            Some(Observed::Unavailable(why)) if why.reason == Reason::NotSupported && OF_THE_RUNTIME.contains(&name.as_str()) => {}
            Some(Observed::Unavailable(why)) => found.skipped.push(Skipped::because(name.clone(), why)),
            None => {}
        }
    }
    kubelet.configz.clone().map(|_| found)
}
