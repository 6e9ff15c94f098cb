//! Who but root can reach a file: the mode and ACL of the file and of every directory on the way, taken together.
//!
//! A way is a row of gates: each directory is entered by those its execute bit admits, then the file's own bits count, or, for
//! putting another file in its place, the write bit of a directory on the way. An owner passes its own gate whatever the mode,
//! because it can change it. One uid, one group and anybody at all are decided exactly. Where it takes two memberships together
//! (a group that enters the directory, another that reads the file), the one that the innermost gate asks for is listed: some
//! process may well have both, and nothing here tells that none has. Must not know what a file is for.

use std::collections::BTreeSet;

use crate::facts::{Access, AclEntry, FileFact, FileKind, Observed, Source, SourceKind, Step};

const READ: i64 = 4;
const WRITE: i64 = 2;
const EXECUTE: i64 = 1;
/// A right that no mode grants: it leaves the owner, who can change the mode.
const OWNING: i64 = 8;
/// In such a directory one deletes and renames only one's own.
const STICKY: i64 = 0o1000;

/// Fills `access` of `file`, which is as unknown as its way.
pub(super) fn of(file: &FileFact, at: i64) -> Observed<Access> {
    match &file.way {
        Observed::Known { value: way, .. } => Observed::known(access(file, way), Source::new(SourceKind::Derived, "mode, ACL and way"), at),
        Observed::Unavailable(why) => Observed::Unavailable(why.clone()),
    }
}

fn access(file: &FileFact, way: &[Step]) -> Access {
    let itself = Guarded::file(file);
    // It lies in the last directory of its way; the name by which it was found may lead there through links.
    let place = way.last().map_or("", |last| last.path.as_str());
    let entered: Vec<&Step> = way.iter().filter(|step| step.path == place || above(&step.path, place)).collect();
    let gates: Vec<Guarded<'_>> = entered.iter().map(|step| Guarded::step(step)).collect();
    let write = if file.kind == FileKind::Directory { WRITE | EXECUTE } else { WRITE };
    let mut writers = who(&gates, itself, write);
    let linked = linked(file, way);
    for step in way {
        let gates: Vec<Guarded<'_>> = way.iter().filter(|gate| above(&gate.path, &step.path)).map(Guarded::step).collect();
        // What lies in a sticky directory is replaced by its own owner only, who can write it anyway, and by the directory's.
        let right = if step.mode & STICKY != 0 && !linked { OWNING } else { WRITE | EXECUTE };
        writers.extend(who(&gates, Guarded::step(step), right));
    }
    let closed = entered.iter().find(|step| Guarded::step(step).admits(EXECUTE).is_empty());
    Access {
        readers: names(who(&gates, itself, READ)),
        writers: names(writers),
        closed_by: closed.map(|step| step.path.clone()).unwrap_or_default(),
    }
}

/// Somebody with one thing that counts. Root is nobody here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Everyone,
    Uid(i64),
    Gid(i64),
}

/// Something with an owner, a mode and an ACL.
#[derive(Debug, Clone, Copy)]
struct Guarded<'a> {
    mode: i64,
    uid: i64,
    gid: i64,
    acl: &'a [AclEntry],
}

impl<'a> Guarded<'a> {
    fn file(file: &'a FileFact) -> Self {
        Self { mode: file.mode, uid: file.uid, gid: file.gid, acl: &file.acl }
    }

    fn step(step: &'a Step) -> Self {
        Self { mode: step.mode, uid: step.uid, gid: step.gid, acl: &step.acl }
    }

    fn named_user(&self, uid: i64) -> Option<i64> {
        self.acl.iter().find(|entry| entry.whom == "user" && entry.id == uid).map(|entry| entry.permissions)
    }

    /// Its groups and what each may do.
    fn groups(&self) -> impl Iterator<Item = (i64, i64)> {
        let masked = self.acl.iter().find(|entry| entry.whom == "owning_group").map(|entry| entry.permissions);
        let own = (self.gid, masked.unwrap_or(self.mode >> 3 & 7));
        std::iter::once(own).chain(self.acl.iter().filter(|entry| entry.whom == "group").map(|entry| (entry.id, entry.permissions)))
    }

    /// Does somebody without any name here have `want`.
    fn open_to_everyone(&self, want: i64) -> bool {
        self.mode & 7 & want == want
    }

    /// Whom it names and gives `want`.
    fn admits(&self, want: i64) -> BTreeSet<Who> {
        let mut admitted = BTreeSet::new();
        if self.open_to_everyone(want) {
            admitted.insert(Who::Everyone);
        }
        let users = self.acl.iter().filter(|entry| entry.whom == "user" && entry.permissions & want == want);
        admitted.extend(users.map(|entry| Who::Uid(entry.id)));
        admitted.insert(Who::Uid(self.uid));
        admitted.extend(self.groups().filter(|(_, rights)| rights & want == want).map(|(gid, _)| Who::Gid(gid)));
        admitted.remove(&Who::Uid(0));
        admitted
    }

    /// Does it let a process of `uid` (`None`: one that nothing names) with `gid` through, where the process may be in further
    /// groups as needed.
    fn lets(&self, uid: Option<i64>, gid: Option<i64>, want: i64) -> bool {
        if let Some(uid) = uid {
            if uid == self.uid {
                return true;
            }
            if let Some(rights) = self.named_user(uid) {
                return rights & want == want;
            }
        }
        if self.groups().any(|(_, rights)| rights & want == want) {
            return true;
        }
        // Membership of a group that has less than the others takes the others' rights away.
        let matched = gid.is_some_and(|gid| self.groups().any(|(group, _)| group == gid));
        !matched && self.open_to_everyone(want)
    }
}

/// Who enters all of `gates` and then has `want` of `last`.
fn who(gates: &[Guarded<'_>], last: Guarded<'_>, want: i64) -> BTreeSet<Who> {
    let row: Vec<(Guarded<'_>, i64)> = gates.iter().map(|gate| (*gate, EXECUTE)).chain([(last, want)]).collect();
    // Whoever gets through is named by the innermost gate that is not open to everyone.
    let Some((innermost, want)) = row.iter().rev().find(|(gate, want)| !gate.open_to_everyone(*want)) else {
        return BTreeSet::from([Who::Everyone]);
    };
    let passes = |uid: Option<i64>, gid: Option<i64>| row.iter().all(|(gate, want)| gate.lets(uid, gid, *want));
    let named = |gate: &Guarded<'_>| {
        std::iter::once(gate.uid).chain(gate.acl.iter().filter(|entry| entry.whom == "user").map(|entry| entry.id)).collect::<Vec<_>>()
    };
    let users: BTreeSet<i64> = row.iter().flat_map(|(gate, _)| named(gate)).filter(|uid| *uid != 0).collect();
    let mut admitted = innermost.admits(*want);
    admitted.retain(|who| match who {
        Who::Everyone => true,
        Who::Uid(uid) => passes(Some(*uid), None),
        Who::Gid(gid) => std::iter::once(None).chain(users.iter().copied().map(Some)).any(|uid| passes(uid, Some(*gid))),
    });
    admitted
}

/// Is `directory` on the way to the directory `below` it.
fn above(directory: &str, below: &str) -> bool {
    let rest = below.strip_prefix(directory.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'))
}

/// Did a link lead there. Who owns the link is not known: a sticky directory then protects nothing.
fn linked(file: &FileFact, way: &[Step]) -> bool {
    let is_own = |step: &Step| above(&step.path, &file.path);
    !file.target.is_empty() || !way.iter().all(is_own) || way.len() != file.path.matches('/').count()
}

/// As facts have them. Everyone includes all others.
fn names(who: BTreeSet<Who>) -> Vec<String> {
    if who.contains(&Who::Everyone) {
        return vec!["everyone".to_owned()];
    }
    let name = |who| match who {
        Who::Everyone => "everyone".to_owned(),
        Who::Uid(uid) => format!("uid {uid}"),
        Who::Gid(gid) => format!("gid {gid}"),
    };
    who.into_iter().map(name).collect()
}

#[cfg(test)]
mod tests;
