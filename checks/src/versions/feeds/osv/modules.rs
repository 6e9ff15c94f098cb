//! Go modules: which programs they are, and where Go's ranges mean another thing than the programs' versions.
//!
//! A module has one path for each major version, and a program has not: a range of `…/v2` from 0 starts at 2, and an open range
//! of the first path beside a fixed one of the second does not tell whether the first major version is affected at all.

use std::collections::BTreeMap;

use super::super::document::{Document, Text, ignore, title};
use super::super::{Content, FeedError};
use super::kubernetes::{self, About};
use super::ranges::{self, Order};
use super::{Affected, Osv};
use crate::versions::knowledge::{Advisory, Range, Record};

/// Modules of programs, without the part for the major version.
const MODULES: [(&str, &str); 7] = [
    ("github.com/NVIDIA/nvidia-container-toolkit", "nvidia-container-toolkit"),
    ("github.com/containerd/containerd", "containerd"),
    ("github.com/cri-o/cri-o", "cri-o"),
    ("github.com/docker/docker", "docker"),
    ("github.com/kubernetes-sigs/cri-o", "cri-o"),
    ("github.com/moby/moby", "docker"),
    ("github.com/opencontainers/runc", "runc"),
];

/// Docker's versions, by the tags of its module that stand for the same commits.
const MOBY: [(&str, &str); 2] = [("2.0.0-beta.8", "29.3.1"), ("2.0.0-beta.14", "29.5.1")];

/// The first release of Docker that is built from its module's later path: its release notes say that the module of the first path is
/// left with it, and that its tags have a prefix since (`docker-v29.0.0`).
const MOVED: &str = "29.0.0";

const BESIDE: &str = "an open range of a module that a later major version followed: it does not tell what is affected";

/// What one program's modules say.
#[derive(Default)]
struct Program {
    ranges: Vec<Range>,
    /// Ranges of the module's first path that have no end.
    open: Vec<Range>,
    /// Is there a path of a later major version.
    later: bool,
    /// The release that a tag of Docker's later path stands for.
    tagged: Option<&'static str>,
    imports: Vec<String>,
}

/// Keeps what the record says of programs; what is no Go module is returned.
pub(super) fn parse<'r, 'a>(
    document: &Document<'_>,
    content: &mut Content,
    read: &Osv<'_>,
    record: &str,
    ids: &[String],
    affected: Vec<&'r Affected<'a>>,
) -> Result<Vec<&'r Affected<'a>>, FeedError> {
    let mut rest = Vec::new();
    let mut programs: BTreeMap<&str, Program> = BTreeMap::new();
    for affected in affected {
        let Some(package) = affected.package.as_ref().filter(|package| matches!(package.ecosystem.as_str(), "Go" | "Kubernetes")) else {
            rest.push(affected);
            continue;
        };
        if package.ecosystem.as_str() == "Kubernetes" {
            ignore(content, "a conversion of the Kubernetes feed, whose ranges are known to be wrong");
            continue;
        }
        let (path, major) = major(package.name.as_str());
        let Some(component) = component(path) else {
            ignore(content, "the package is not part of the patch chain");
            continue;
        };
        if record.starts_with("GHSA-") {
            ignore(content, "GitHub's advisory of a Go module: Go's own record of it has the ranges by branch");
            continue;
        }
        let program = programs.entry(component).or_default();
        add(document, content, program, record, affected, (component, major))?;
    }
    let reviewed = read.database_specific.as_ref().and_then(|more| more.review_status.as_ref());
    let reviewed = reviewed.is_some_and(|status| status.as_str() == "REVIEWED");
    for (component, mut program) in programs {
        settle(content, component, &mut program, reviewed);
        if program.ranges.is_empty() {
            continue;
        }
        let about = if component == kubernetes::MODULE {
            kubernetes::about(document, read, ids, &program.imports)?
        } else {
            About::Components(vec![component], Vec::new())
        };
        let (components, needs) = match about {
            About::Components(components, needs) => (components, needs),
            About::Nothing(reason) => {
                ignore(content, reason);
                continue;
            }
        };
        for (component, id) in components.iter().flat_map(|component| ids.iter().map(move |id| (component, id))) {
            let advisory = advisory(read, record, id, component, &program.ranges);
            document.keep(content, "osv/Go", Record::Advisory(Advisory { needs: needs.clone(), ..advisory }))?;
        }
    }
    Ok(rest)
}

/// The path without its major version, and that version.
fn major(path: &str) -> (&str, Option<u32>) {
    let major = |number: &str| number.parse().ok().filter(|number| *number > 1);
    path.rsplit_once("/v").and_then(|(path, number)| Some((path, Some(major(number)?)))).unwrap_or((path, None))
}

fn component(path: &str) -> Option<&'static str> {
    if path == kubernetes::MODULE {
        return Some(kubernetes::MODULE);
    }
    MODULES.iter().find(|(module, _)| *module == path).map(|(_, component)| *component)
}

/// Adds what one module says.
fn add(
    document: &Document<'_>,
    content: &mut Content,
    program: &mut Program,
    record: &str,
    affected: &Affected<'_>,
    (component, major): (&str, Option<u32>),
) -> Result<(), FeedError> {
    let specific = affected.ecosystem_specific.as_ref();
    let custom = specific.map(|specific| specific.custom_ranges.0.as_slice()).filter(|custom| !custom.is_empty());
    let place = format!("affected ({record}, {component})");
    let found = ranges::read(document, content, Order::Semver, &place, custom.unwrap_or(&affected.ranges.0))?;
    let imports = specific.iter().flat_map(|specific| &specific.imports.0).filter_map(|import| import.path.as_ref());
    program.imports.extend(imports.map(|path| path.as_str().to_owned()));
    program.later |= major.is_some();
    for range in found {
        let Range { introduced, fixed } = range;
        match (major, component) {
            (Some(_), "docker") => match fixed.as_deref().and_then(released) {
                Some(release) => program.tagged = Some(release),
                None => ignore(content, "Docker's fix is named by a tag that stands for no known release"),
            },
            (Some(major), _) if introduced == "0" => {
                ranges::push(&mut program.ranges, Range { introduced: format!("{major}.0.0-0"), fixed });
            }
            (None, _) if fixed.is_none() => ranges::push(&mut program.open, Range { introduced, fixed }),
            _ => ranges::push(&mut program.ranges, Range { introduced, fixed }),
        }
    }
    Ok(())
}

/// The release of Docker that a tag of its module stands for.
fn released(tag: &str) -> Option<&'static str> {
    MOBY.iter().find(|(module, _)| *module == tag).map(|(_, docker)| *docker)
}

/// Decides what open ranges mean.
fn settle(content: &mut Content, component: &str, program: &mut Program, reviewed: bool) {
    let open = std::mem::take(&mut program.open);
    // Docker's module moved to the later path, and the older one never got a fix of its own: the tag's release ends its ranges.
    if let Some(fixed) = program.tagged {
        let introduced = if open.is_empty() { vec![MOVED.to_owned()] } else { open.into_iter().map(|open| open.introduced).collect() };
        for introduced in introduced {
            ranges::push(&mut program.ranges, Range { introduced, fixed: Some(fixed.to_owned()) });
        }
        return;
    }
    for open in open {
        if component == "containerd" || program.later {
            ignore(content, BESIDE);
        } else if open.introduced == "0" && !reviewed {
            ignore(content, "an unreviewed range of all versions ever, without a fix");
        } else {
            ranges::push(&mut program.ranges, open);
        }
    }
}

fn advisory(read: &Osv<'_>, record: &str, id: &str, component: &str, ranges: &[Range]) -> Advisory {
    let other =
        |name: &&Text<'_>| name.as_str() != id && name.as_str().len() <= 128 && name.as_str().bytes().all(|byte| byte.is_ascii_graphic());
    let aliases = read.aliases.0.iter().filter(other).map(|name| name.as_str().to_owned()).collect();
    let source = if record.starts_with("GO-") { "Go vulnerability database" } else { "OSV, Go" };
    Advisory {
        id: id.to_owned(),
        aliases,
        component: component.to_owned(),
        title: read.summary.as_ref().map(|text| title(text.as_str())).unwrap_or_default(),
        ranges: ranges.to_vec(),
        builds: Vec::new(),
        needs: Vec::new(),
        only_family: None,
        score: None,
        record: record.to_owned(),
        source: source.to_owned(),
    }
}
