//! The directories that are entered on the way to a file, links followed one by one as the kernel does it.
//!
//! Each directory of a root is looked at once in a pass. Must not know who can do what there.

use std::collections::{HashMap, VecDeque};

use holdfast_checks::facts::{Reason, Step, Unavailable};

use super::tree::Tree;
use crate::host::{Metadata, NodeKind};

/// As many as the kernel follows.
const MAX_LINKS: usize = 40;
/// No path that the kernel takes has more names.
const MAX_NAMES: usize = 2048;

/// What was seen below one root so far.
#[derive(Debug, Default)]
pub(super) struct Ways {
    known: HashMap<String, Result<Seen, Unavailable>>,
}

#[derive(Debug, Clone)]
enum Seen {
    Directory(Step),
    Link(String),
    Other,
}

/// The way to one path.
#[derive(Debug)]
pub(super) struct Way {
    /// The path's own place, links before its last name followed. The path as called where that is not known.
    pub(super) place: String,
    /// From the top; the directory that the file lies in comes last. Its own path for each, without links.
    pub(super) steps: Result<Vec<Step>, Unavailable>,
}

impl Ways {
    /// The way to `path`, which is a link to `target` if that is given.
    pub(super) fn to(&mut self, tree: &Tree, path: &str, target: Option<&str>) -> Way {
        let mut place = None;
        let steps = self.walk(tree, path, target, &mut place);
        Way { place: place.unwrap_or_else(|| path.to_owned()), steps }
    }

    fn walk(&mut self, tree: &Tree, path: &str, target: Option<&str>, place: &mut Option<String>) -> Result<Vec<Step>, Unavailable> {
        let endless = || Unavailable::new(Reason::Malformed, format!("{path}: a loop of symbolic links"));
        let mut names: VecDeque<String> = path.split('/').map(str::to_owned).collect();
        let mut steps = Vec::new();
        let mut here = "/".to_owned();
        let mut links = 0;
        self.enter(tree, &here, &mut steps)?;
        while let Some(name) = names.pop_front() {
            match name.as_str() {
                "" | "." => continue,
                ".." => {
                    here = parent(&here).to_owned();
                    continue;
                }
                _ => {}
            }
            let next = format!("{}/{name}", here.trim_end_matches('/'));
            let called = names.is_empty() && place.is_none();
            let target = if called {
                *place = Some(next.clone());
                target.map(str::to_owned)
            } else {
                match self.seen(tree, &next)? {
                    Seen::Link(target) => Some(target),
                    Seen::Directory(_) if !names.is_empty() => {
                        self.enter(tree, &next, &mut steps)?;
                        here = next;
                        continue;
                    }
                    Seen::Other if !names.is_empty() => {
                        return Err(Unavailable::new(Reason::NotPresent, format!("{next}: not a directory")));
                    }
                    Seen::Directory(_) | Seen::Other => None,
                }
            };
            if let Some(target) = target {
                links += 1;
                if target.starts_with('/') {
                    "/".clone_into(&mut here);
                }
                for name in target.trim_end_matches('/').rsplit('/') {
                    names.push_front(name.to_owned());
                }
                if links > MAX_LINKS || names.len() > MAX_NAMES {
                    return Err(endless());
                }
            }
        }
        // A link may lead back into a directory entered before: it lies there all the same.
        if steps.last().is_some_and(|last: &Step| last.path != here) {
            let found = steps.iter().find(|step| step.path == here).cloned();
            steps.extend(found);
        }
        Ok(steps)
    }

    fn enter(&mut self, tree: &Tree, path: &str, steps: &mut Vec<Step>) -> Result<(), Unavailable> {
        match self.seen(tree, path)? {
            Seen::Directory(step) if steps.iter().all(|known| known.path != path) => steps.push(step),
            _ => {}
        }
        Ok(())
    }

    fn seen(&mut self, tree: &Tree, path: &str) -> Result<Seen, Unavailable> {
        if let Some(known) = self.known.get(path) {
            return known.clone();
        }
        let found = match tree.look(path) {
            Ok(found) => seen(path, found),
            Err(error) if error.is_absent() && tree.is_recorded() => {
                Err(Unavailable::new(Reason::NotSupported, format!("the recording does not list {path}")))
            }
            Err(error) => Err(error.unavailable()),
        };
        self.known.insert(path.to_owned(), found.clone());
        found
    }
}

fn seen(path: &str, found: Metadata) -> Result<Seen, Unavailable> {
    Ok(match (found.kind, found.target) {
        (NodeKind::Directory, _) => Seen::Directory(Step {
            path: path.to_owned(),
            mode: i64::from(found.mode),
            uid: i64::from(found.uid),
            gid: i64::from(found.gid),
            acl: found.acl?,
        }),
        (NodeKind::Symlink, Some(target)) => Seen::Link(target),
        _ => Seen::Other,
    })
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("/", |(parent, _)| if parent.is_empty() { "/" } else { parent })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use proptest::prelude::*;

    use super::*;
    use crate::host::Host;

    const NAMES: [&str; 3] = ["a", "b", "c"];

    fn path() -> impl Strategy<Value = String> {
        let name = prop_oneof![6 => (0..3usize).prop_map(|n| NAMES[n]), 1 => Just(".."), 1 => Just("."), 1 => Just("")];
        proptest::collection::vec(name, 1..5).prop_map(|names| names.join("/"))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        /// Three directories with three directories each, some replaced by links to anywhere.
        #[test]
        fn a_file_lies_where_the_kernel_finds_it(
            links in proptest::collection::vec((0..3usize, proptest::option::of(0..3usize), any::<bool>(), path()), 0..6),
            asked in path(),
        ) {
            let dir = tempfile::tempdir().unwrap();
            for (above, below) in NAMES.into_iter().flat_map(|above| NAMES.map(|below| (above, below))) {
                fs::create_dir_all(dir.path().join(above).join(below)).unwrap();
            }
            for (above, below, absolute, target) in links {
                let place = dir.path().join(NAMES[above]).join(below.map_or("", |below| NAMES[below]));
                let place = place.to_str().unwrap().trim_end_matches('/').to_owned();
                if fs::remove_dir_all(&place).is_ok() && !target.is_empty() {
                    // What was removed may have been on the way to this place.
                    drop(symlink(format!("{}{target}", if absolute { "/" } else { "" }), place));
                }
            }
            let host = Host::open(dir.path(), dir.path()).unwrap();
            let tree = Tree::new(&host, host.root.clone());
            let kernel = host.root.found_at(&format!("/{asked}"));
            let way = Ways::default().to(&tree, &format!("/{asked}/file"), None);
            let last = way.steps.ok().and_then(|steps| steps.last().map(|step| step.path.clone()));
            let top = host.root.found_at("/").unwrap();
            let found = kernel.map(|path| format!("/{}", path.strip_prefix(&top).unwrap().to_str().unwrap()));
            prop_assert_eq!(last, found);
        }
    }

    #[test]
    fn a_link_that_grows_as_it_is_followed_ends() {
        let dir = tempfile::tempdir().unwrap();
        symlink("x/a/x", dir.path().join("x")).unwrap();
        let host = Host::open(dir.path(), dir.path()).unwrap();
        let way = Ways::default().to(&Tree::new(&host, host.root.clone()), "/x/file", None);
        assert_eq!(way.steps.unwrap_err().reason, Reason::Malformed);
    }
}
