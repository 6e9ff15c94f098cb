//! OCI runtimes and shims that a runtime's configuration names, or that it would find, with their versions.

use std::collections::BTreeSet;

use holdfast_checks::facts::{Listing, Observed, Reason, RuntimeDocument, RuntimeProgram, Source, SourceKind};
use serde_json::Value;

use crate::host::{NodeKind, Root};
use crate::sensors::now;
use crate::sensors::packages::Packages;
use crate::sensors::programs::{Programs, Wanted};

/// Where programs without a path are searched: systemd's own search path, which services have.
const PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// What a runtime would find without being told.
const USUAL: [&str; 7] = ["runc", "crun", "runsc", "kata-runtime", "containerd-shim-runsc-v1", "containerd-shim-kata-v2", "youki"];
/// More programs than any configuration names.
const MAX_PROGRAMS: usize = 32;
/// Members whose text is a program.
const NAMED_BY: [&str; 4] = ["BinaryName", "runtime_path", "runtime_engine", "path"];

/// What is known of program files.
pub(super) struct Files<'a> {
    pub(super) programs: &'a Programs,
    pub(super) packages: &'a Packages,
}

/// `own`: the directory of the runtime's own program, which distributions that bring their own search first.
pub(super) fn read(root: &Root, files: &Files<'_>, own: Option<&str>, documents: &[RuntimeDocument]) -> Observed<Listing<RuntimeProgram>> {
    let mut named: Vec<String> = Vec::new();
    for document in documents.iter().filter_map(|document| document.content.value()) {
        runtimes(document, 0, &mut named);
    }
    named.extend(USUAL.map(str::to_owned));
    let mut listing = Listing::complete(Vec::new());
    let mut seen = BTreeSet::new();
    for name in named {
        let is_file = |path: &String| root.metadata(path).is_ok_and(|there| there.kind == NodeKind::File);
        let path = if name.starts_with('/') {
            Some(name)
        } else {
            own.into_iter().chain(PATH).map(|directory| format!("{directory}/{name}")).find(is_file)
        };
        let Some(path) = path.filter(|path| seen.insert(path.clone())) else { continue };
        if listing.items.len() >= MAX_PROGRAMS {
            break;
        }
        let version = match files.programs.of_file(root, &path, Wanted::OciRuntime) {
            Ok(version) => Observed::known(version, Source::new(SourceKind::File, path.as_str()), now()),
            Err(why) => Observed::Unavailable(why),
        };
        let package = match version.unavailable().filter(|why| why.reason == Reason::NotPresent) {
            Some(why) => Observed::Unavailable(why.clone()),
            None => files.packages.owner(root, &path, version.value().map(String::as_str)),
        };
        listing.items.push(RuntimeProgram { path, version, package });
    }
    Observed::known(listing, Source::new(SourceKind::File, "its configuration and search path"), now())
}

/// Programs that a table `runtimes` names, wherever it stands.
fn runtimes(value: &Value, depth: usize, named: &mut Vec<String>) {
    let Some(members) = value.as_object().filter(|_| depth < 8) else { return };
    for (name, value) in members {
        if name == "runtimes" || name == "default_runtime" {
            programs(value, depth, named);
        } else {
            runtimes(value, depth + 1, named);
        }
    }
}

fn programs(value: &Value, depth: usize, named: &mut Vec<String>) {
    let Some(members) = value.as_object().filter(|_| depth < 8) else { return };
    for (name, value) in members {
        match value.as_str() {
            Some(text) if NAMED_BY.contains(&name.as_str()) && !text.is_empty() && named.len() < MAX_PROGRAMS => {
                named.push(text.to_owned());
            }
            Some(_) => {}
            None => programs(value, depth + 1, named),
        }
    }
}
