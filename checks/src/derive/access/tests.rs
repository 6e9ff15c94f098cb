use proptest::prelude::*;

use super::*;
use crate::facts::Reason;

fn step(path: &str, mode: i64, uid: i64, gid: i64) -> Step {
    Step { path: path.into(), mode, uid, gid, acl: Vec::new() }
}

fn entry(whom: &str, id: i64, permissions: i64) -> AclEntry {
    AclEntry { whom: whom.into(), id, permissions }
}

fn file(path: &str, mode: i64, uid: i64, gid: i64, way: Vec<Step>) -> FileFact {
    let source = || Source::new(SourceKind::Kernel, "stat");
    FileFact {
        subject: format!("file:{path}"),
        path: path.into(),
        role: "kubelet_config".into(),
        kind: FileKind::File,
        mode,
        uid,
        gid,
        target: String::new(),
        acl: Vec::new(),
        way: Observed::known(way, source(), 1),
        access: Observed::unavailable_because(Reason::NotSupported, "not derived yet"),
    }
}

fn found(file: &FileFact) -> (Vec<String>, Vec<String>, String) {
    let access = of(file, 1);
    let Access { readers, writers, closed_by } = access.value().cloned().expect("the way is known");
    (readers, writers, closed_by)
}

/// `/`, `/etc` of root, then a directory of the given mode and owner.
fn below(mode: i64, uid: i64, gid: i64) -> Vec<Step> {
    vec![step("/", 0o755, 0, 0), step("/etc", 0o755, 0, 0), step("/etc/d", mode, uid, gid)]
}

#[track_caller]
fn expect(file: &FileFact, readers: &[&str], writers: &[&str], closed_by: &str) {
    let text = |list: &[&str]| list.iter().map(|&who| who.to_owned()).collect::<Vec<_>>();
    assert_eq!(found(file), (text(readers), text(writers), closed_by.to_owned()));
}

#[test]
fn a_file_that_all_may_read_inside_a_directory_of_roots_alone_has_no_readers() {
    expect(&file("/etc/d/f", 0o644, 0, 0, below(0o700, 0, 0)), &[], &[], "/etc/d");
    expect(&file("/etc/d/f", 0o666, 1000, 0, below(0o600, 0, 0)), &[], &[], "/etc/d");
    expect(&file("/etc/d/f", 0o644, 0, 0, below(0o755, 0, 0)), &["everyone"], &[], "");
    expect(&file("/etc/d/f", 0o600, 0, 0, below(0o755, 0, 0)), &[], &[], "");
}

#[test]
fn a_group_reads_what_its_directory_lets_it_reach_and_group_zero_is_not_root() {
    expect(&file("/etc/d/f", 0o640, 0, 0, below(0o755, 0, 0)), &["gid 0"], &[], "");
    expect(&file("/etc/d/f", 0o664, 0, 0, below(0o750, 0, 10)), &["gid 10"], &["gid 0"], "");
    expect(&file("/etc/d/f", 0o640, 0, 20, below(0o750, 0, 10)), &["gid 20"], &[], "");
    expect(&file("/etc/d/f", 0o604, 0, 20, below(0o755, 0, 0)), &["everyone"], &[], "");
}

#[test]
fn an_owner_can_change_the_mode() {
    expect(&file("/etc/d/f", 0o000, 1000, 0, below(0o755, 0, 0)), &["uid 1000"], &["uid 1000"], "");
    expect(&file("/etc/d/f", 0o600, 0, 0, below(0o500, 1000, 0)), &[], &["uid 1000"], "");
    expect(&file("/etc/d/f", 0o644, 0, 0, below(0o000, 1000, 0)), &["uid 1000"], &["uid 1000"], "");
}

#[test]
fn who_writes_a_directory_replaces_what_is_in_it_even_a_closed_one() {
    expect(&file("/etc/d/f", 0o600, 0, 0, below(0o777, 0, 0)), &[], &["everyone"], "");
    expect(&file("/etc/d/f", 0o600, 0, 0, below(0o770, 0, 7)), &[], &["gid 7"], "");
    let mut way = below(0o700, 0, 0);
    way[1].mode = 0o777;
    expect(&file("/etc/d/f", 0o600, 0, 0, way), &[], &["everyone"], "/etc/d");
    // Writing without entering changes nothing in it.
    expect(&file("/etc/d/f", 0o600, 0, 0, below(0o722, 0, 0)), &[], &[], "/etc/d");
}

#[test]
fn a_sticky_directory_protects_what_is_anothers_unless_a_link_leads_through() {
    expect(&file("/etc/d/f", 0o600, 0, 0, below(0o1777, 0, 0)), &[], &[], "");
    expect(&file("/etc/d/f", 0o600, 5, 0, below(0o1777, 6, 0)), &["uid 5"], &["uid 5", "uid 6"], "");
    let mut link = file("/etc/d/f", 0o600, 0, 0, below(0o1777, 0, 0));
    link.target = "/etc/g".into();
    link.way = link.way.map(|mut way| {
        way.push(step("/etc", 0o755, 0, 0));
        way
    });
    expect(&link, &[], &["everyone"], "");
}

#[test]
fn a_link_is_as_open_as_the_place_it_leads_to() {
    let mut way = below(0o700, 0, 0);
    way.push(step("/srv", 0o755, 0, 0));
    let mut link = file("/etc/d/f", 0o644, 0, 0, way);
    link.target = "/srv/f".into();
    expect(&link, &["everyone"], &[], "");
    link.way = link.way.map(|mut way| {
        (way[2].mode, way[3].mode) = (0o755, 0o700);
        way
    });
    expect(&link, &[], &[], "/srv");
    link.way = link.way.map(|mut way| {
        way[2].mode = 0o777;
        way
    });
    expect(&link, &[], &["everyone"], "/srv");
}

#[test]
fn an_access_list_names_more_than_the_mode_and_takes_from_the_group() {
    let mut listed = file("/etc/d/f", 0o640, 0, 30, below(0o755, 0, 0));
    listed.acl = vec![entry("user", 1000, 4), entry("group", 20, 6), entry("owning_group", 30, 0)];
    expect(&listed, &["uid 1000", "gid 20"], &["gid 20"], "");
    let mut way = below(0o710, 0, 0);
    way[2].acl = vec![entry("user", 1000, 1), entry("owning_group", 0, 0)];
    expect(&file("/etc/d/f", 0o644, 0, 0, way), &["uid 1000"], &[], "");
}

#[test]
fn a_directory_is_written_by_who_also_enters_it() {
    let mut directory = file("/etc/d/f", 0o762, 0, 0, below(0o755, 0, 0));
    directory.kind = FileKind::Directory;
    expect(&directory, &["gid 0"], &[], "");
    directory.mode = 0o773;
    expect(&directory, &["gid 0"], &["everyone"], "");
}

#[test]
fn an_unknown_way_is_an_unknown_access() {
    let mut file = file("/etc/d/f", 0o600, 0, 0, Vec::new());
    file.way = Observed::unavailable_because(Reason::NotSupported, "not recorded");
    assert_eq!(of(&file, 1).unavailable().map(|why| why.detail.as_str()), Some("not recorded"));
}

/// A process, to the slow model: one uid (`None`: one that appears nowhere) and its groups.
type Process = (Option<i64>, BTreeSet<i64>);

/// What the kernel says, `acl(5)` line by line, to a process that first changes the modes of what it owns.
fn kernel_allows((uid, groups): &Process, mode: i64, owner: i64, group: i64, acl: &[AclEntry], want: i64) -> bool {
    if *uid == Some(owner) {
        return true;
    }
    if let Some(user) = acl.iter().find(|entry| entry.whom == "user" && Some(entry.id) == *uid) {
        return user.permissions & want == want;
    }
    let owning = acl.iter().find(|entry| entry.whom == "owning_group").map_or(mode / 8 % 8, |entry| entry.permissions);
    let mut matched = false;
    for (id, permissions) in std::iter::once((group, owning)).chain(acl.iter().filter(|e| e.whom == "group").map(|e| (e.id, e.permissions)))
    {
        if groups.contains(&id) {
            matched = true;
            if permissions & want == want {
                return true;
            }
        }
    }
    !matched && (mode % 8) & want == want
}

/// The same questions, asked for every process there could be.
struct Slow {
    readers: Vec<Process>,
    writers: Vec<Process>,
}

impl Slow {
    fn of(file: &FileFact) -> Self {
        let way = file.way.value().expect("known");
        let enters = |process: &Process, until: usize| {
            way[..until].iter().all(|step| kernel_allows(process, step.mode, step.uid, step.gid, &step.acl, 1))
        };
        let reads = |process: &Process| enters(process, way.len()) && kernel_allows(process, file.mode, file.uid, file.gid, &file.acl, 4);
        let replaces = |process: &Process, index: usize| {
            let step = &way[index];
            let child = way.get(index + 1).map_or(file.uid, |child| child.uid);
            enters(process, index)
                && kernel_allows(process, step.mode, step.uid, step.gid, &step.acl, 3)
                && (step.mode & 0o1000 == 0 || [step.uid, child].contains(&process.0.unwrap_or(-1)))
        };
        let writes = |process: &Process| {
            let itself = enters(process, way.len()) && kernel_allows(process, file.mode, file.uid, file.gid, &file.acl, 2);
            itself || (0..way.len()).any(|index| replaces(process, index))
        };
        let every: Vec<Process> = [None, Some(1), Some(2), Some(3)]
            .into_iter()
            .flat_map(|uid| (0..8).map(move |set| (uid, (0..3).filter(|gid| set >> gid & 1 == 1).collect())))
            .collect();
        Self {
            readers: every.iter().filter(|p| reads(p)).cloned().collect(),
            writers: every.iter().filter(|p| writes(p)).cloned().collect(),
        }
    }
}

fn agree(listed: &[String], can: &[Process], groups_only_add: bool) -> Result<(), TestCaseError> {
    let has = |name: String| listed.contains(&name);
    prop_assert_eq!(has("everyone".into()), can.contains(&(None, BTreeSet::new())), "anybody at all");
    if has("everyone".into()) {
        prop_assert_eq!(listed.len(), 1);
        return Ok(());
    }
    for (uid, groups) in can {
        let told = uid.is_some_and(|uid| has(format!("uid {uid}"))) || groups.iter().any(|gid| has(format!("gid {gid}")));
        prop_assert!(told, "{uid:?} in {groups:?} can, and {listed:?} does not tell");
        if let (Some(uid), true) = (uid, groups.is_empty()) {
            prop_assert!(has(format!("uid {uid}")), "one uid is decided exactly: {uid}");
        }
    }
    if groups_only_add {
        for name in listed {
            let real = can.iter().any(|(uid, groups)| {
                uid.is_some_and(|uid| *name == format!("uid {uid}")) || groups.iter().any(|gid| *name == format!("gid {gid}"))
            });
            prop_assert!(real, "nobody with {name} can");
        }
    }
    Ok(())
}

/// Mode, owner, group, ACL; 0 is root and group 0.
fn guarded(directory: bool) -> impl Strategy<Value = (i64, i64, i64, Vec<AclEntry>)> {
    let bits = prop_oneof![3 => Just(0o755i64), 1 => Just(0o750), 1 => Just(0o700), 1 => Just(0o770), 4 => 0..=0o777i64];
    let sticky = prop_oneof![4 => Just(0i64), 1 => Just(if directory { 0o1000i64 } else { 0 })];
    let users = proptest::collection::btree_map(1..4i64, 0..8i64, 0..2);
    let groups = proptest::collection::btree_map(0..3i64, 0..8i64, 0..2);
    (bits, sticky, 0..4i64, 0..3i64, users, groups, proptest::option::of(0..8i64)).prop_map(
        |(bits, sticky, uid, gid, users, groups, owning)| {
            let users = users.into_iter().map(|(id, permissions)| entry("user", id, permissions));
            let groups = groups.into_iter().map(|(id, permissions)| entry("group", id, permissions));
            let owning = owning.map(|permissions| entry("owning_group", gid, permissions));
            (bits | sticky, uid, gid, users.chain(groups).chain(owning).collect())
        },
    )
}

/// Groups have what others have, at least.
fn generous(mode: &mut i64, acl: &mut [AclEntry]) {
    let others = *mode & 7;
    *mode |= others << 3;
    for entry in acl.iter_mut().filter(|entry| entry.whom != "user") {
        entry.permissions |= others;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn who_is_listed_is_who_can(
        steps in proptest::collection::vec(guarded(true), 1..4),
        (mode, uid, gid, acl) in guarded(false),
        groups_only_add: bool,
    ) {
        let names = ["/", "/a", "/a/b"];
        let way = steps.into_iter().zip(names).map(|((mode, uid, gid, acl), path)| Step { path: path.into(), mode, uid, gid, acl });
        let mut way: Vec<Step> = way.collect();
        let last = way[way.len() - 1].path.clone();
        let mut file = file(&format!("{}/f", last.trim_end_matches('/')), mode, uid, gid, Vec::new());
        file.acl = acl;
        if groups_only_add {
            generous(&mut file.mode, &mut file.acl);
            for step in &mut way {
                generous(&mut step.mode, &mut step.acl);
            }
        }
        file.way = file.way.map(|_| way);
        let slow = Slow::of(&file);
        let (readers, writers, _) = found(&file);
        agree(&readers, &slow.readers, groups_only_add)?;
        agree(&writers, &slow.writers, groups_only_add)?;
    }
}
