//! What is known, put together: the data of this build is valid, feeds go over it in any order, records' traps do not catch.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Instant;

use holdfast_checks::versions::knowledge::{
    Advisory, Builder, Dated, Exploited, FeedInfo, Knowledge, Need, Outcome, PackageFix, Range, Record, Title, kernel_option,
};
use holdfast_checks::versions::{FEATURES, Scheme};
use jiff::civil::{Date, date};
use proptest::prelude::*;

const COMPONENTS: [&str; 8] = ["kernel", "containerd", "runc", "cri-o", "docker", "kubelet", "kube-apiserver", "kube-controller-manager"];

fn feed(name: &str, as_of: Date) -> FeedInfo {
    FeedInfo { name: name.to_owned(), as_of, source: format!("{name}'s source"), digest: format!("{name} {as_of}"), complete: true }
}

fn with(feeds: &[(FeedInfo, Vec<Record>)]) -> Knowledge {
    let mut builder = Builder::new().unwrap();
    for (info, records) in feeds {
        builder.feed(info.clone(), records.clone());
    }
    builder.build()
}

fn osv(records: Vec<Record>) -> Knowledge {
    with(&[(feed("osv/test", date(2026, 11, 18)), records)])
}

fn ranges(ranges: &[(&str, Option<&str>)]) -> Vec<Range> {
    let range = |&(introduced, fixed): &(&str, Option<&str>)| Range { introduced: introduced.to_owned(), fixed: fixed.map(str::to_owned) };
    ranges.iter().map(range).collect()
}

fn advisory(component: &str, id: &str, of: &[(&str, Option<&str>)]) -> Advisory {
    Advisory {
        id: id.to_owned(),
        aliases: Vec::new(),
        component: component.to_owned(),
        title: String::new(),
        ranges: ranges(of),
        builds: Vec::new(),
        needs: Vec::new(),
        only_family: None,
        score: None,
        record: id.to_owned(),
        source: "a feed".to_owned(),
    }
}

fn package(ecosystem: &str, name: &str, id: &str, record: &str, of: &[(&str, Option<&str>)]) -> PackageFix {
    PackageFix {
        ecosystem: ecosystem.to_owned(),
        package: name.to_owned(),
        ids: vec![id.to_owned()],
        record: record.to_owned(),
        ranges: ranges(of),
        versions: Vec::new(),
        subscription: false,
    }
}

fn affected(fixed: &str) -> Outcome {
    Outcome::Affected { fixed: Some(fixed.to_owned()) }
}

fn unfixed() -> Outcome {
    Outcome::Affected { fixed: None }
}

fn since(version: &str) -> Outcome {
    Outcome::Fixed { since: version.to_owned() }
}

/// What an imported record says of versions, one by one.
fn upstream(advisory: &Advisory, version: &str) -> Option<Outcome> {
    let data = osv(vec![Record::Advisory(advisory.clone())]);
    let all = data.upstream(&advisory.component, version);
    all.into_iter().find(|(found, _)| found.id == advisory.id).map(|(_, outcome)| outcome)
}

fn ask(records: &[PackageFix], ecosystem: &str, name: &str, version: &str) -> Option<Vec<Outcome>> {
    let data = osv(records.iter().cloned().map(Record::Package).collect());
    let scheme = if ecosystem.starts_with("Debian") || ecosystem.starts_with("Ubuntu") { Scheme::Dpkg } else { Scheme::Rpm };
    let answer = data.package(ecosystem, name, scheme, version)?;
    Some(answer.outcomes.into_iter().map(|outcome| outcome.outcome).collect())
}

#[test]
fn the_data_of_this_build_is_valid() {
    let data = Knowledge::built_in().unwrap();
    let first = data.feeds().first().unwrap();
    assert_eq!((first.name.as_str(), first.as_of, data.feeds().len()), ("built-in", date(2026, 9, 16), 1));
    let mut features = BTreeSet::new();
    let mut check_needs = |id: &str, needs: &[Need]| {
        for need in needs {
            match need {
                Need::AnyFeature(names) => {
                    assert!(!names.is_empty(), "{id}");
                    features.extend(names.iter().cloned());
                }
                Need::SeccompGap(versions) => assert!(!versions.is_empty(), "{id}"),
                Need::Other(what) => assert!(!what.trim().is_empty(), "{id}"),
                _ => {}
            }
        }
    };
    let mut count = 0;
    for component in COMPONENTS {
        let advisories = data.advisories(component);
        assert!(!advisories.is_empty(), "{component}");
        assert!(advisories.windows(2).all(|pair| pair[0].id < pair[1].id), "{component}: sorted, none twice");
        for advisory in advisories {
            let Advisory { id, ranges, builds, needs, source, record, .. } = advisory;
            count += 1;
            assert!(!source.trim().is_empty() && !record.is_empty() && !source.contains("recalled"), "{id}");
            assert!(id.starts_with("CVE-") || id.starts_with("GHSA-"), "{id}");
            let known: BTreeSet<_> = ranges.iter().map(|range| (&range.introduced, &range.fixed)).collect();
            assert_eq!(known.len(), ranges.len(), "{id}: a range twice");
            for range in ranges {
                let fixed = range.fixed.as_deref().unwrap_or_else(|| panic!("{id}: a range without an end"));
                // Sane: affected where it begins (where that is a version), and not any more where it ends.
                let of =
                    |version: &str| data.upstream(component, version).into_iter().find(|(found, _)| found.id == *id).map(|found| found.1);
                // A commit between two releases is nobody's version.
                let goes_on = ranges.iter().any(|other| other.introduced == fixed) || fixed.matches('-').count() > 1;
                assert!(goes_on || matches!(of(fixed), Some(Outcome::Fixed { .. })), "{id} {fixed}: {:?}", of(fixed));
                // Where it is incomplete, it is silent.
                if range.introduced != "0" && !range.introduced.contains("-0") {
                    assert!(matches!(of(&range.introduced), Some(Outcome::Affected { .. }) | None), "{id} {}", range.introduced);
                }
            }
            for build in builds {
                assert!(!build.stream.is_empty() && !build.record.is_empty() && !build.fixed.is_empty(), "{id}");
            }
            check_needs(id, needs);
            let year: u32 = id.split('-').nth(1).and_then(|year| year.parse().ok()).unwrap_or(2024);
            assert!(component != "kernel" || year >= 2024 || needs.is_empty(), "{id}: conditions of these years were not read");
            if let Some(exploited) = data.exploited(id) {
                assert!(exploited.due.is_some_and(|due| due >= exploited.added), "{id}");
            }
            if let Some(exploit) = data.exploit(id) {
                check_needs(id, &exploit.needs);
            }
        }
    }
    assert_eq!(count, 116);
    let named: BTreeSet<&str> = FEATURES.iter().copied().collect();
    assert!(FEATURES.windows(2).all(|pair| pair[0] < pair[1]), "sorted");
    assert!(features.iter().all(|feature| named.contains(feature.as_str())), "{features:?}");
    assert!(FEATURES.iter().all(|feature| kernel_option(feature).is_some_and(|option| option.starts_with("CONFIG_"))));
    for product in data.lifecycle().products() {
        for row in data.lifecycle().rows(product) {
            assert!(!row.source.trim().is_empty() && row.as_of > date(2024, 1, 1), "{product} {}", row.cycle);
            if let (Some(latest), Some(released)) = (row.latest.as_ref().and_then(|latest| latest.date), row.released) {
                assert!(latest >= released, "{product} {}", row.cycle);
            }
        }
    }
}

#[test]
fn what_was_only_remembered_is_not_shipped() {
    let data = Knowledge::built_in().unwrap();
    assert!(data.advisory("runc", "CVE-2019-5736").is_none());
    assert!(data.exploit("CVE-2023-0193").is_none(), "a folder's name and its metadata differ");
    assert!(data.exploit("CVE-2024-0193").is_some());
    let (pipe, pages) = (data.exploited("CVE-2022-0847").unwrap(), data.exploited("CVE-2024-1086").unwrap());
    assert_eq!((pipe.added, pipe.due, pipe.ransomware), (date(2022, 4, 25), Some(date(2022, 5, 16)), false));
    assert!(pages.ransomware);
    assert_eq!(data.exploit("CVE-2024-1086").unwrap().needs, [Need::UserNamespaces, Need::AnyFeature(vec!["nf_tables".to_owned()])]);
    // Only seen in unverified places.
    assert_eq!(data.advisory("kernel", "CVE-2022-0847").unwrap().score, None);
    assert_eq!(data.advisory("kernel", "CVE-2026-31431").unwrap().score, Some(7.8));
}

#[test]
fn ranges_of_branches_do_not_swallow_each_other() {
    let bare = advisory("containerd", "CVE-1", &[("0", Some("1.7.29")), ("0", Some("2.0.7")), ("2.1.0-beta.0", Some("2.1.5"))]);
    assert_eq!(upstream(&bare, "1.7.28"), Some(affected("1.7.29")));
    assert_eq!(upstream(&bare, "1.7.29"), Some(since("1.7.29")));
    assert_eq!(upstream(&bare, "1.7.30"), Some(since("1.7.29")));
    assert_eq!(upstream(&bare, "2.0.6"), Some(affected("2.0.7")));
    assert_eq!(upstream(&bare, "2.0.0-rc.1"), Some(affected("2.0.7")));
    assert_eq!(upstream(&bare, "2.0.7"), Some(since("2.0.7")));
    assert_eq!(upstream(&bare, "2.3.0"), Some(since("2.1.5")));
    // Without a lower bound, beside one that has one.
    let runc = advisory("runc", "CVE-2", &[("0", Some("1.2.8")), ("0", Some("1.3.3"))]);
    assert_eq!((upstream(&runc, "1.2.9"), upstream(&runc, "1.3.0")), (Some(since("1.2.8")), Some(affected("1.3.3"))));
    // 1.x without a fix beside 2.x with one: the open range ends where the other begins.
    let open = advisory("containerd", "CVE-3", &[("0", None), ("2.0.0-0", Some("2.0.10")), ("2.1.0", Some("2.1.9"))]);
    assert_eq!(
        (upstream(&open, "1.7.33"), upstream(&open, "2.0.10")),
        (Some(unfixed()).map(|_| affected("2.0.10")), Some(since("2.0.10")))
    );
    let unfixed_at_all = advisory("containerd", "CVE-4", &[("1.5.0", None)]);
    assert_eq!((upstream(&unfixed_at_all, "9.0.0"), upstream(&unfixed_at_all, "1.4.0")), (Some(unfixed()), Some(Outcome::NotAffected)));
    let inverted = advisory("containerd", "CVE-5", &[("2.0.0", Some("1.0.0")), ("3.0.0", Some("3.0.0"))]);
    assert_eq!(upstream(&inverted, "1.5.0"), None, "a record without a usable range says nothing");
}

#[test]
fn kernel_ranges_go_by_series() {
    let consecutive = [("0", Some("5.4.291")), ("5.5.0", Some("5.10.235")), ("5.11.0", Some("5.15.179")), ("5.16.0", Some("6.1.131"))];
    let record = advisory("kernel", "CVE-1", &[&consecutive[..], &[("6.2.0", Some("6.14"))]].concat());
    assert_eq!(upstream(&record, "5.10.234"), Some(affected("5.10.235")));
    assert_eq!(upstream(&record, "5.10.300"), Some(since("5.10.235")));
    assert_eq!(upstream(&record, "5.8.18"), Some(unfixed()), "its series never got the fix");
    assert_eq!(upstream(&record, "6.13.12"), Some(unfixed()));
    assert_eq!((upstream(&record, "6.14"), upstream(&record, "6.14.0")), (Some(since("6.14")), Some(since("6.14"))));
    assert_eq!(upstream(&record, "6.14-rc7"), Some(affected("6.14")));
    assert_eq!(upstream(&record, "7.2.4"), Some(since("6.14")));
    // Introduced with backports: series between were never affected.
    let backports = advisory("kernel", "CVE-2", &[("5.10.166", Some("5.10.210")), ("5.15.91", Some("5.15.149")), ("6.2", Some("6.8"))]);
    assert_eq!(upstream(&backports, "5.10.100"), Some(Outcome::NotAffected));
    assert_eq!(upstream(&backports, "5.12.3"), Some(Outcome::NotAffected));
    assert_eq!(upstream(&backports, "5.15.149"), Some(since("5.15.149")));
    // Two fixes of a series in lists that were paired: the second range is none, its fix counts.
    let paired = advisory("kernel", "CVE-3", &[("5.11.0", Some("5.15.205")), ("5.16.0", Some("5.15.206")), ("5.16.0", Some("6.1.172"))]);
    assert_eq!(upstream(&paired, "5.15.205"), Some(affected("5.15.206")));
    assert_eq!(upstream(&paired, "5.15.206"), Some(since("5.15.206")));
}

#[test]
fn a_curated_record_stands_over_an_import_and_takes_the_kernels_newer_fixes() {
    // The trap as the record has it: 1.x without an end, and 2.x from 0.
    let go = advisory("containerd", "CVE-2026-50195", &[("0", None), ("0", Some("2.1.9"))]);
    // By another name.
    let mut ghsa = advisory("containerd", "GHSA-m6hq-p25p-ffr2", &[("0", Some("9.9.9"))]);
    ghsa.title = "Another title".to_owned();
    // What the built-in record does not have yet.
    let kernel = advisory("kernel", "CVE-2026-43500", &[("5.3", Some("6.6.140")), ("6.7", Some("6.12.90")), ("6.13", Some("6.18.30"))]);
    let old = advisory("kernel", "CVE-2022-0847", &[("0", Some("5.10.102")), ("5.11", Some("5.15.30"))]);
    let data = osv([go, ghsa, kernel, old].map(Record::Advisory).to_vec());
    let says = |component: &str, id: &str, version: &str| {
        data.upstream(component, version).into_iter().find(|(advisory, _)| advisory.id == id).map(|(_, outcome)| outcome)
    };
    assert_eq!(says("containerd", "CVE-2026-50195", "1.7.30"), Some(Outcome::NotAffected));
    assert_eq!(says("containerd", "CVE-2025-64329", "2.1.5"), Some(since("2.1.5")));
    assert!(data.advisory("containerd", "GHSA-m6hq-p25p-ffr2").is_none(), "one vulnerability once");
    assert!(!data.advisory("containerd", "CVE-2025-64329").unwrap().title.contains("Another"));
    assert!(!data.advisory("containerd", "CVE-2026-50195").unwrap().needs.is_empty());
    assert_eq!(says("kernel", "CVE-2026-43500", "6.12.89"), Some(affected("6.12.90")));
    assert_eq!(says("kernel", "CVE-2026-43500", "6.12.90"), Some(since("6.12.90")));
    assert_eq!(says("kernel", "CVE-2026-43500", "6.18.29"), Some(affected("6.18.30")), "of a series the highest");
    assert_eq!(says("kernel", "CVE-2022-0847", "5.15.29"), Some(affected("5.15.30")));
    assert_eq!(says("kernel", "CVE-2022-0847", "5.4.100"), Some(Outcome::NotAffected), "it begins where ours says");
}

#[test]
fn a_record_in_parts_is_one_and_its_newest_copy_counts() {
    let part =
        |of: &[(&str, Option<&str>)]| Record::Advisory(Advisory { record: "GO-1".to_owned(), ..advisory("containerd", "CVE-1", of) });
    let parts = vec![part(&[("1.7.0", Some("1.7.33"))]), part(&[("2.0.0-0", Some("2.0.10"))])];
    let old = vec![part(&[("0", None)])];
    for feeds in [[(3, &parts), (2, &old)], [(2, &old), (3, &parts)]] {
        let feeds = feeds.map(|(day, records)| (feed(&format!("osv/Go{day}"), date(2026, 11, day)), records.clone()));
        let data = with(&feeds);
        let says =
            |version: &str| data.upstream("containerd", version).into_iter().find(|(found, _)| found.id == "CVE-1").map(|found| found.1);
        assert_eq!((says("1.7.32"), says("2.0.9")), (Some(affected("1.7.33")), Some(affected("2.0.10"))));
        assert_eq!((says("1.6.0"), says("2.0.10")), (Some(Outcome::NotAffected), Some(since("2.0.10"))));
    }
}

#[test]
fn an_imported_catalogue_of_exploited_ones_adds_to_the_built_in_one_and_replaces_older_imports() {
    let entry = |id: &str| {
        Record::Exploited(Exploited {
            id: id.to_owned(),
            name: "A name".to_owned(),
            added: date(2026, 11, 1),
            due: Some(date(2026, 11, 15)),
            ransomware: false,
        })
    };
    let newer = with(&[(feed("kev", date(2026, 11, 18)), vec![entry("CVE-2024-21626")])]);
    assert!(newer.exploited("CVE-2024-21626").is_some() && newer.exploited("CVE-2022-0847").is_some());
    let again = (feed("kev", date(2026, 11, 19)), vec![entry("CVE-2022-0847")]);
    let replaced = with(&[again, (feed("kev", date(2026, 11, 18)), vec![entry("CVE-2024-21626")])]);
    assert!(replaced.exploited("CVE-2024-21626").is_none(), "CISA took it off");
    assert_eq!(replaced.exploited("CVE-2022-0847").unwrap().added, date(2026, 11, 1), "the newer text");
    let older = with(&[(feed("kev", date(2026, 1, 1)), vec![entry("CVE-2024-21626"), entry("CVE-2022-0847")])]);
    assert!(older.exploited("CVE-2024-21626").is_some(), "an old one completes it");
    assert_eq!(older.exploited("CVE-2022-0847").unwrap().added, date(2022, 4, 25), "and does not change what is newer");
}

#[test]
fn distributions_records_are_read_as_they_are_meant() {
    let deb = |of: &[(&str, Option<&str>)]| package("Debian:12", "linux", "CVE-1", "DEBIAN-CVE-1", of);
    let asked = |records: &[PackageFix], ecosystem: &str, name: &str, version: &str| {
        ask(records, ecosystem, name, version).map(|outcomes| outcomes.into_iter().next())
    };
    let one = |records: &[PackageFix], ecosystem: &str, name: &str, version: &str| asked(records, ecosystem, name, version).unwrap();

    let fixed = [deb(&[("0", Some("6.1.170-1"))])];
    assert_eq!(one(&fixed, "Debian:12", "linux", "6.1.153-1"), Some(affected("6.1.170-1")));
    assert_eq!(one(&fixed, "Debian:12", "linux", "6.1.170-1"), Some(since("6.1.170-1")));
    assert_eq!(one(&fixed, "Debian:12", "runc", "1.1.5+ds1-1"), None, "no record, which is not safety");
    assert_eq!(asked(&fixed, "Debian:11", "linux", "5.10.1-1"), None, "no feed");
    assert_eq!(one(&[deb(&[("0", None)])], "Debian:12", "linux", "6.1.153-1"), Some(unfixed()), "no fix yet");
    assert_eq!(one(&[deb(&[("0", Some("0"))])], "Debian:12", "linux", "6.1.153-1"), Some(since("0")));

    // A rebuilt backport is looked up where it came from.
    let trixie = [package("Debian:13", "linux", "CVE-1", "DEBIAN-CVE-1", &[("0", Some("6.12.90-2"))]), deb(&[("0", None)])];
    assert_eq!(one(&trixie, "Debian:12", "linux", "6.12.90-2~bpo12+1"), Some(since("6.12.90-2")));
    assert_eq!(one(&trixie, "Debian:12", "linux", "6.12.88-1~bpo12+1"), Some(affected("6.12.90-2")));
    assert_eq!(asked(&fixed, "Debian:12", "linux", "6.12.90-2~bpo12+1"), None);

    // Ubuntu's way to say never: a fix of a series that the package never was in.
    let trusty = [package("Ubuntu:14.04:LTS", "linux", "CVE-1", "UBUNTU-CVE-1", &[("0", Some("3.11.0-12.19"))])];
    assert_eq!(one(&trusty, "Ubuntu:14.04:LTS", "linux", "3.13.0-24.46"), Some(Outcome::NotAffected));

    // Only the list of versions is usable.
    let mut listed = package("Ubuntu:22.04:LTS", "runc", "CVE-1", "UBUNTU-CVE-1", &[]);
    listed.versions = vec!["1.0.1-0ubuntu2".to_owned(), "1.1.7-0ubuntu1~22.04.1".to_owned()];
    let listed = [listed];
    assert_eq!(one(&listed, "Ubuntu:22.04", "runc", "1.1.7-0ubuntu1~22.04.1"), Some(unfixed()));
    assert_eq!(one(&listed, "Ubuntu:22.04", "runc", "1.1.7-0ubuntu1~22.04.2"), Some(Outcome::NotAffected));

    // Free where there is a free fix, else by subscription.
    let pro = package("Ubuntu:Pro:20.04:LTS", "linux", "CVE-1", "UBUNTU-CVE-1", &[("0", Some("5.4.0-300.400+esm1"))]);
    let free = package("Ubuntu:20.04:LTS", "linux", "CVE-1", "UBUNTU-CVE-1", &[("0", None)]);
    assert_eq!(one(&[pro.clone(), free.clone()], "Ubuntu:20.04:LTS", "linux", "5.4.0-200.220"), Some(affected("5.4.0-300.400+esm1")));
    assert_eq!(one(&[pro, free], "Ubuntu:20.04:LTS", "linux", "5.4.0-300.400+esm1"), Some(since("5.4.0-300.400+esm1")));

    // The tracker's record about a CVE decides over an advisory that mentions it.
    let two = [
        package("Ubuntu:22.04:LTS", "linux", "CVE-2024-1", "UBUNTU-CVE-2024-1", &[("0", Some("5.15.0-100.110"))]),
        package("Ubuntu:22.04:LTS", "linux", "CVE-2024-1", "USN-7000-1", &[("0", Some("5.15.0-105.115"))]),
    ];
    assert_eq!(ask(&two, "Ubuntu:22.04:LTS", "linux", "5.15.0-102.112"), Some(vec![since("5.15.0-100.110")]));

    // uname has no epoch, feeds have; and for other packages it counts.
    let amazon = [package("AlmaLinux:9", "kernel", "CVE-1", "ALSA-1", &[("0", Some("1:6.1.159-181.297.el9_7"))])];
    assert_eq!(one(&amazon, "AlmaLinux:9", "kernel", "6.1.170-210.320.el9_7"), Some(since("6.1.159-181.297.el9_7")));
    let epoch = [package("AlmaLinux:9", "runc", "CVE-1", "ALSA-1", &[("0", Some("4:1.1.12-2.el9"))])];
    assert_eq!(one(&epoch, "AlmaLinux:9", "runc", "4:1.1.11-1.el9"), Some(affected("4:1.1.12-2.el9")));

    // SUSE's kernels do not print how often they were rebuilt.
    let suse = [package("SUSE:Linux Enterprise Server 12 SP2", "kernel-default", "CVE-1", "SUSE-1", &[("0", Some("4.4.74-92.35.1"))])];
    let suse_name = "SUSE:Linux Enterprise Server 12 SP2";
    assert_eq!(one(&suse, suse_name, "kernel-default", "4.4.74-92.35"), Some(since("4.4.74-92.35.1")));
    assert_eq!(one(&suse, suse_name, "kernel-default", "4.4.74-92.34"), Some(affected("4.4.74-92.35.1")));

    // Asked in another order.
    assert!(osv(vec![Record::Package(fixed[0].clone())]).package("Debian:12", "linux", Scheme::Rpm, "6.1.1-1").is_none());

    // Streams: an advisory of another major release says nothing.
    let eight = [package("AlmaLinux:9", "kernel", "CVE-1", "ALSA-1", &[("0", Some("4.18.0-553.1.1.el8_10"))])];
    assert_eq!(one(&eight, "AlmaLinux:9", "kernel", "5.14.0-70.13.1.el9_0"), None);
    // The realtime kernel is a package of its own.
    let realtime = [package("AlmaLinux:9", "kernel-rt-core", "CVE-1", "ALSA-1", &[("0", Some("5.14.0-70.13.1.rt21.83.el9_0"))])];
    assert_eq!(one(&realtime, "AlmaLinux:9", "kernel", "5.14.0-70.1.1.el9_0"), None);
    assert!(one(&realtime, "AlmaLinux:9", "kernel-rt", "5.14.0-70.1.1.rt21.73.el9_0").is_some());
    // Red Hat's ecosystems are its products' names.
    let red_hat = [package("Red Hat:enterprise_linux:9::baseos", "kernel", "CVE-1", "RHSA-1", &[("0", Some("5.14.0-70.13.1.el9_0"))])];
    assert_eq!(one(&red_hat, "Red Hat:9", "kernel", "5.14.0-70.13.1.el9_0"), Some(since("5.14.0-70.13.1.el9_0")));
}

#[test]
fn the_newest_copy_of_a_record_counts_and_the_same_again_changes_nothing() {
    let record = |fixed: Option<&str>| vec![Record::Package(package("Debian:12", "linux", "CVE-1", "DEBIAN-CVE-1", &[("0", fixed)]))];
    let old = (feed("osv/Debian", date(2026, 10, 1)), record(None));
    let new = (feed("osv/Debian.2", date(2026, 11, 18)), record(Some("6.1.170-1")));
    for feeds in [vec![old.clone(), new.clone()], vec![new.clone(), old.clone()], vec![old.clone(), new.clone(), new.clone(), old]] {
        let answer = with(&feeds).package("Debian:12", "linux", Scheme::Dpkg, "6.1.153-1").unwrap();
        assert_eq!(answer.outcomes.len(), 1);
        assert_eq!(answer.outcomes[0].outcome, affected("6.1.170-1"));
        assert_eq!((answer.as_of, answer.source.as_str(), answer.ecosystem.as_str()), (new.0.as_of, "osv/Debian.2's source", "Debian:12"));
    }
    let titled = |title: &str, as_of: Date| {
        let title = Title { id: "CVE-1".to_owned(), title: title.to_owned(), status: "fixed".to_owned(), url: String::new() };
        (feed(&format!("kubernetes-cve{as_of}"), as_of), vec![Record::Title(title)])
    };
    let data = with(&[titled("new", date(2026, 11, 2)), titled("old", date(2026, 11, 1))]);
    assert_eq!(data.title("CVE-1").unwrap().title, "new");
    let names: Vec<&str> = data.feeds().iter().map(|feed| feed.name.as_str()).collect();
    assert_eq!(names, ["built-in", "kubernetes-cve2026-11-01", "kubernetes-cve2026-11-02"]);
    assert_ne!(data.basis(), Knowledge::built_in().unwrap().basis());
}

/// Versions as feeds and nodes have them, and text that is none.
fn version() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{1,2}\\.[0-9]{1,2}(\\.[0-9]{1,3})?(-(rc|beta|alpha)\\.?[0-9]{1,2})?",
        "[0-9]{1,2}\\.[0-9]{1,2}\\.[0-9]-[0-9]{1,3}(\\.[0-9]{1,2}){0,2}(\\.el[89](_[0-9])?)?",
        "[0-9]{1,2}\\.[0-9]{1,2}\\.[0-9]-[0-9]{1,2}(~bpo12\\+1|\\+esm1|~22\\.04\\.1)?",
        "v?[0-9]\\.[0-9]{1,2}\\.[0-9]{1,2}(-gke\\.[0-9]{4}|\\+k3s1|-eks-[a-f0-9]{7}|~ds1)?",
        "\\PC{0,20}",
    ]
}

fn some_ranges() -> impl Strategy<Value = Vec<Range>> {
    let range = (prop_oneof![Just("0".to_owned()), version()], proptest::option::of(version()));
    proptest::collection::vec(range.prop_map(|(introduced, fixed)| Range { introduced, fixed }), 0..6)
}

fn some_records() -> impl Strategy<Value = Vec<Record>> {
    let id = prop_oneof![Just("CVE-1"), Just("CVE-2"), Just("CVE-2026-31431"), Just("GHSA-m6hq-p25p-ffr2")];
    let ecosystem = prop_oneof![
        Just("Debian:12"),
        Just("Debian:13"),
        Just("Ubuntu:22.04:LTS"),
        Just("Ubuntu:Pro:22.04:LTS"),
        Just("AlmaLinux:9"),
        Just("SUSE:Linux Enterprise Server 15 SP5"),
    ];
    let name = prop_oneof![Just("linux"), Just("kernel"), Just("kernel-tools"), Just("runc")];
    let record = (id, ecosystem, name, some_ranges(), 0..4_u8, proptest::option::of(version())).prop_map(
        |(id, ecosystem, name, ranges, kind, other)| match kind {
            0 => Record::Advisory(Advisory { ranges, ..advisory(if name == "linux" { "kernel" } else { "containerd" }, id, &[]) }),
            1 => Record::Dated(Dated { product: "runc".to_owned(), version: other.unwrap_or_default(), date: date(2026, 1, 2) }),
            _ => {
                let record = format!("{}-{id}", if kind == 2 { "R" } else { "S" });
                Record::Package(PackageFix { ranges, versions: other.into_iter().collect(), ..package(ecosystem, name, id, &record, &[]) })
            }
        },
    );
    proptest::collection::vec(record, 0..12)
}

/// Every answer about some versions, as text.
fn answers(data: &Knowledge, versions: &[String]) -> String {
    let mut said = String::new();
    for version in versions {
        for component in ["kernel", "containerd"] {
            writeln!(said, "{:?}", data.upstream(component, version)).unwrap();
        }
        writeln!(said, "{:?}", data.behind("runc", "1.3", version)).unwrap();
        for ecosystem in ["Debian:12", "Debian:13", "Ubuntu:22.04:LTS", "Red Hat:9", "AlmaLinux:9", "SUSE:Linux Enterprise Server 15 SP5"] {
            let scheme = if ecosystem.contains("ian:") || ecosystem.contains("buntu:") { Scheme::Dpkg } else { Scheme::Rpm };
            for name in ["linux", "kernel", "runc"] {
                writeln!(said, "{:?}", data.package(ecosystem, name, scheme, version)).unwrap();
            }
        }
    }
    said
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_feeds_does_not_matter_nor_does_the_same_feed_again(
        first in some_records(), second in some_records(), versions in proptest::collection::vec(version(), 3), same_day: bool,
    ) {
        let a = (feed("osv/a", date(2026, 11, 1)), first);
        let b = (feed("osv/b", if same_day { date(2026, 11, 1) } else { date(2026, 11, 2) }), second);
        let forth = with(&[a.clone(), b.clone()]);
        let back = with(&[b.clone(), a.clone(), b, a]);
        prop_assert_eq!(answers(&forth, &versions), answers(&back, &versions));
        prop_assert_eq!(forth.basis(), back.basis());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn at_or_above_the_highest_fix_of_its_stream_nothing_is_affected(
        ranges in some_ranges(), series in (0..8_u64, 0..20_u64), patch in 0..300_u64, above in 0..300_u64, kernel: bool,
    ) {
        let fix = format!("{}.{}.{patch}", series.0, series.1);
        let version = format!("{}.{}.{}", series.0, series.1, patch + above);
        // A range without an end that begins later in the same stream says that it came back.
        let mut ranges: Vec<Range> = ranges.into_iter().filter(|range| range.fixed.is_some()).collect();
        // Neither is a higher fix of the same stream in it.
        let own = format!("{}.{}.", series.0, series.1);
        let bare = format!("{}.{}", series.0, series.1);
        ranges.retain(|range| range.fixed.as_ref().is_none_or(|fixed| {
            let fixed = fixed.trim_start_matches(['v', '0']);
            !fixed.starts_with(&own) && !fixed.starts_with(&bare)
        }));
        ranges.push(Range { introduced: "0".to_owned(), fixed: Some(fix.clone()) });
        let component = if kernel { "kernel" } else { "containerd" };
        let record = Advisory { ranges, ..advisory(component, "CVE-1", &[]) };
        if fix != "0.0.0" {
            let said = upstream(&record, &version);
            prop_assert!(!matches!(said, Some(Outcome::Affected { .. })), "{} {:?} {:?}", version, record.ranges, said);
        }
        // The same of a package in one stream.
        let one = package("Debian:12", "linux", "CVE-1", "DEBIAN-CVE-1", &[("0", Some(&fix))]);
        let said = ask(&[one], "Debian:12", "linux", &version);
        let affected = said.iter().flatten().any(|outcome| matches!(outcome, Outcome::Affected { .. }));
        prop_assert!(!affected, "{}", version);
    }
}

/// `cargo test -p holdfast-checks --release --test versions -- --ignored --nocapture half_a_million`
#[test]
#[ignore = "a measurement"]
fn half_a_million_records_are_small_and_quickly_asked() {
    let started = Instant::now();
    let data = Knowledge::built_in().unwrap();
    println!("built-in data: {:?}, {} advisories of the kernel", started.elapsed(), data.advisories("kernel").len());
    let started = Instant::now();
    let asked = data.upstream("kernel", "6.1.150").len();
    println!("upstream(kernel): {asked} records in {:?}", started.elapsed());

    let mut builder = Builder::new().unwrap();
    let kernels = ["linux", "linux-aws", "linux-azure", "linux-gcp", "linux-hwe-6.8", "linux-oracle", "linux-kvm", "linux-raspi"];
    let releases = ["Ubuntu:22.04:LTS", "Ubuntu:24.04:LTS", "Debian:12", "Debian:13", "AlmaLinux:9"];
    let started = Instant::now();
    let records = (0..500_000_u32).map(|n| {
        let release = releases[usize::try_from(n % 5).unwrap()];
        let (name, prefix) = match release {
            "AlmaLinux:9" => ("kernel", "ALSA"),
            "Debian:12" | "Debian:13" => ("linux", "DEBIAN"),
            _ => (kernels[usize::try_from(n / 5 % 8).unwrap()], "UBUNTU"),
        };
        let id = format!("CVE-{}-{}", 2020 + n / 5 % 7, n / 5);
        let record = format!("{prefix}-{id}");
        let fixed = match release {
            "AlmaLinux:9" => format!("5.14.0-{}.{}.1.el9_{}", n % 700, n % 60, n % 9),
            "Debian:12" | "Debian:13" => format!("6.1.{}-{}", n % 200, n % 3),
            _ => format!("6.8.0-{}.{}", n % 150, n % 170),
        };
        Record::Package(package(release, name, &id, &record, &[("0", Some(&fixed))]))
    });
    builder.feed(feed("osv/all", date(2026, 11, 18)), records);
    println!("500,000 records kept: {:?}", started.elapsed());
    let started = Instant::now();
    let data = builder.build();
    let (spans, bytes) = data.package_records();
    println!("built: {:?}, {spans} ranges in {bytes} bytes, {} each", started.elapsed(), bytes / spans);
    assert!(bytes / spans <= 120);
    let started = Instant::now();
    let mut outcomes = 0;
    let asked = 300_u32;
    for n in 0..asked {
        let version = format!("6.1.{}-1", n % 200);
        outcomes += data.package("Debian:12", "linux", Scheme::Dpkg, &version).unwrap().outcomes.len();
    }
    println!("{asked} lookups: {:?}, {:?} each, {} outcomes each", started.elapsed(), started.elapsed() / asked, outcomes / 300);
}
