//! The readers of what runtimes leave and of what the kernel has mounted: for tests/fuzzing.

use holdfast_checks::facts::{Reason, Unavailable};

use super::mountinfo::Mounts;
use super::places::{Places, Whose};
use super::spec::{Sandbox, Spec};
use super::{docker, names};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Reads a `mountinfo`; gives how many mounts there are, and how many of them are visible.
pub(in crate::sensors) fn mountinfo(content: &[u8]) -> (usize, usize) {
    Mounts::read(content).map(|mounts| (mounts.all.len(), mounts.visible().len())).unwrap_or_default()
}

/// Reads a bundle's `config.json`, and Docker's two files, out of the same bytes.
pub(in crate::sensors) fn configuration(content: &[u8]) {
    let places = Places::default();
    let whose = Whose { id: ID, sandbox: ID, pod_uid: "00000000-0000-0000-0000-000000000000" };
    let unread = Unavailable::new(Reason::NotPresent, "not there");
    if let Ok(spec) = serde_json::from_slice::<Spec>(content) {
        for sandbox in [Sandbox::Itself, Sandbox::Told(&spec), Sandbox::Unread(&unread)] {
            drop(spec.configured("config.json", 0, sandbox, &places, whose));
        }
        if let Some(annotations) = &spec.annotations {
            drop((names::containerd(annotations), names::crio(annotations)));
        }
    }
    let host = serde_json::from_slice::<docker::HostConfig>(content).ok();
    if let Ok(config) = serde_json::from_slice::<docker::Config>(content) {
        let paths = docker::Paths { config: "config.v2.json".to_owned(), host_config: "hostconfig.json".to_owned() };
        drop(names::docker(&config.labels(), &config.name, config.image()));
        drop(config.configured(&paths, 0, host.as_ref().ok_or(&unread), &places, whose));
    }
}
