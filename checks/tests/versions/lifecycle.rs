//! Lifecycle data: what is shipped, where releases stand, how feeds change rows.

use std::sync::Arc;

use holdfast_checks::versions::knowledge::lifecycle::Precision;
use holdfast_checks::versions::knowledge::{Builder, FeedInfo, Knowledge, Record, Release};
use holdfast_checks::versions::{End, Extension, Standing};
use jiff::civil::{Date, date};
use serde::Deserialize;

fn built_in() -> Arc<Knowledge> {
    Knowledge::built_in().expect("the shipped data is valid")
}

#[derive(Deserialize)]
struct Vectors {
    today: Date,
    lifecycle: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    product: String,
    version: String,
    expect: String,
    eol: Option<Date>,
    eoes: Option<Date>,
    latest: Option<String>,
}

/// The cycle of a version: major and minor, except where a product counts otherwise.
fn cycle(product: &str, version: &str) -> String {
    match product {
        "amazon-linux" | "debian" | "cos" => version.to_owned(),
        _ => version.trim_start_matches('v').split('.').take(2).collect::<Vec<_>>().join("."),
    }
}

#[test]
fn every_lifecycle_vector_holds() {
    let (data, vectors): (_, Vectors) =
        (built_in(), serde_saphyr::from_str(include_str!("../data/version-vectors.yaml")).expect("the vectors parse"));
    assert_eq!(vectors.lifecycle.len(), 10);
    for vector in vectors.lifecycle {
        let name = format!("{} {}", vector.product, vector.version);
        let cycle = cycle(&vector.product, &vector.version);
        let found = data.cycle(&vector.product, &cycle, vectors.today).unwrap_or_else(|| panic!("{name}: no row"));
        let said = match found.standing {
            Standing::Supported => "supported",
            Standing::Extended(_) => "extended-support",
            Standing::EndOfLife => "eol",
        };
        let mut expected = vector.expect.split('+');
        assert_eq!(Some(said), expected.next(), "{name}: {:?}", found.row);
        if vector.eol.is_some() {
            assert_eq!(found.row.eol.day(), vector.eol, "{name}");
        }
        if vector.eoes.is_some() {
            assert_eq!(found.row.extended.and_then(End::day), vector.eoes, "{name}");
        }
        if expected.next() == Some("patch-behind") {
            let behind = data.behind(&vector.product, &cycle, &vector.version).expect("a newest");
            assert_eq!((behind.order, Some(behind.newest)), (std::cmp::Ordering::Less, vector.latest), "{name}");
        }
    }
}

#[test]
fn the_last_day_is_still_supported() {
    let data = built_in();
    let stands = |day| data.cycle("kubernetes", "1.34", day).expect("a row").standing;
    assert_eq!(stands(date(2026, 10, 27)), Standing::Supported);
    assert_eq!(stands(date(2026, 10, 28)), Standing::EndOfLife);
    let debian = |day| data.cycle("debian", "12", day).expect("a row").standing;
    assert_eq!(debian(date(2026, 7, 12)), Standing::Extended(Extension::Free));
    assert_eq!(debian(date(2028, 7, 1)), Standing::EndOfLife);
    assert!(data.cycle("debian", "99", date(2026, 1, 1)).is_none());
}

#[test]
fn who_follows_kubernetes_has_its_dates_and_its_patch_levels() {
    let data = built_in();
    for product in ["k3s", "rke2"] {
        let own = data.cycle(product, "1.34", date(2026, 10, 28)).expect("a row");
        assert_eq!((own.standing, own.row.eol.day()), (Standing::EndOfLife, Some(date(2026, 10, 27))));
    }
    let behind = data.behind("amazon-eks", "1.35", "v1.35.3-eks-abcdef0").expect("a newest");
    assert_eq!((behind.newest.as_str(), behind.releases), ("1.35.8", Some(5)));
    let gke = data.behind("google-kubernetes-engine", "1.35", "v1.35.6-gke.1000000").expect("a newest");
    assert_eq!(gke.newest, "1.35.7-gke.1222000");
}

fn feed(name: &str, as_of: Date) -> FeedInfo {
    FeedInfo { name: name.to_owned(), as_of, source: format!("{name}'s source"), digest: format!("{name} {as_of}"), complete: true }
}

fn release(product: &str, cycle: &str, eol: End, latest: &str) -> Record {
    let latest = (!latest.is_empty()).then(|| latest.to_owned());
    let (product, cycle) = (product.to_owned(), cycle.to_owned());
    Record::Release(Release { product, cycle, released: None, eol, extended: None, lts: false, precision: None, latest, latest_date: None })
}

fn with(feeds: &[(FeedInfo, Vec<Record>)]) -> Knowledge {
    let mut builder = Builder::new().expect("the shipped data is valid");
    for (info, records) in feeds {
        builder.feed(info.clone(), records.clone());
    }
    builder.build()
}

#[test]
fn a_newer_row_wins_an_older_one_does_not_in_any_order() {
    let moved =
        (feed("endoflife/kubernetes", date(2026, 11, 18)), vec![release("kubernetes", "1.34", End::Day(date(2026, 12, 31)), "1.34.14")]);
    let old = (feed("endoflife/old", date(2026, 1, 1)), vec![release("kubernetes", "1.34", End::Day(date(2026, 1, 31)), "1.34.2")]);
    for feeds in [[moved.clone(), old.clone()], [old, moved]] {
        let data = with(&feeds);
        let row = data.cycle("kubernetes", "1.34", date(2026, 11, 20)).expect("a row").row;
        assert_eq!(row.eol, End::Day(date(2026, 12, 31)));
        assert_eq!(row.latest.as_ref().map(|latest| latest.version.as_str()), Some("1.34.14"));
        assert_eq!(row.source, "endoflife/kubernetes's source");
    }
}

#[test]
fn an_import_without_a_column_for_the_extension_keeps_it_and_its_policy() {
    let today = date(2026, 11, 20);
    let debian = (feed("endoflife/debian", date(2026, 11, 18)), vec![release("debian", "12", End::Day(date(2026, 7, 11)), "12.16")]);
    let data = with(&[debian]);
    let found = data.cycle("debian", "12", today).expect("a row");
    assert_eq!(found.standing, Standing::Extended(Extension::Free));
    assert_eq!(found.row.latest.as_ref().map(|latest| latest.version.as_str()), Some("12.16"));
    // A product that nothing is known of: a contract is not seen on a node.
    let mut other = release("other-linux", "3", End::Day(date(2026, 7, 11)), "");
    if let Record::Release(release) = &mut other {
        release.extended = Some(End::Day(date(2030, 1, 1)));
    }
    let data = with(&[(feed("endoflife/other-linux", date(2026, 11, 18)), vec![other])]);
    assert_eq!(data.cycle("other-linux", "3", today).expect("a row").standing, Standing::Extended(Extension::Paid));
}

#[test]
fn kernel_orgs_list_says_who_lives_and_keeps_the_announced_ends() {
    let today = date(2026, 11, 20);
    let listed = |cycle: &str, over: bool, latest: &str| release("linux-kernel", cycle, End::Reached(over), latest);
    let list = vec![listed("7.3", false, "7.3.2"), listed("7.2", true, "7.2.12"), listed("6.12", false, "6.12.120")];
    let data = with(&[(feed("kernel-releases", date(2026, 11, 19)), list)]);
    let row = |cycle: &str| data.cycle("linux-kernel", cycle, today).expect("a row");
    assert_eq!(row("6.12").row.eol, End::Day(date(2028, 12, 31)));
    assert_eq!(data.behind("linux-kernel", "6.12", "6.12.119").expect("a newest").newest, "6.12.120");
    assert_eq!((row("7.2").row.eol, row("7.2").row.precision), (End::Day(date(2026, 11, 19)), Some(Precision::OnOrBefore)));
    assert_eq!(row("7.3").standing, Standing::Supported);
    assert_eq!(row("7.3").row.as_of, date(2026, 11, 19));
    // Not listed any more, though its end was announced for later.
    assert_eq!(row("6.6").row.eol, End::Day(date(2026, 11, 19)));
    // Over before the list was made.
    assert_eq!(row("5.4").row.eol, End::Day(date(2025, 12, 3)));
}

#[test]
fn what_ends_when_a_later_release_comes_says_so() {
    let data = built_in();
    let rolling = |product: &str, cycle: &str| data.cycle(product, cycle, date(2026, 11, 20)).expect("a row").row.rolling;
    assert!(rolling("linux-kernel", "7.2") && rolling("runc", "1.3") && rolling("docker-engine", "29"));
    assert!(!rolling("linux-kernel", "6.12") && !rolling("runc", "1.5") && !rolling("debian", "13"));
}

#[test]
fn how_far_behind_is_told_by_the_release_that_came_next() {
    let data = built_in();
    let behind = |product: &str, cycle: &str, version: &str| data.behind(product, cycle, version).expect("a newest");
    let kernel = behind("linux-kernel", "5.15", "5.15.214");
    assert_eq!((kernel.newest.as_str(), kernel.newest_date), ("5.15.216", Some(date(2026, 8, 19))));
    assert_eq!((kernel.releases, kernel.overtaken.is_some_and(|day| day < date(2026, 8, 19))), (Some(2), true));
    // The newest was seen in a list without days: it was there by then, those between are not known.
    let seen = behind("linux-kernel", "6.12", "6.12.104");
    assert_eq!((seen.newest.as_str(), seen.newest_date, seen.overtaken), ("6.12.109", None, Some(date(2026, 9, 10))));
    assert_eq!((seen.releases, seen.as_of), (None, date(2026, 9, 10)));
    let current = behind("linux-kernel", "6.6", "6.6.152");
    assert_eq!((current.order, current.overtaken, current.releases), (std::cmp::Ordering::Equal, None, Some(0)));
    let ahead = behind("linux-kernel", "6.6", "6.6.160");
    assert_eq!((ahead.order, ahead.overtaken, ahead.releases), (std::cmp::Ordering::Greater, None, None));
    // 7.2 and 7.2.0 are one.
    assert_eq!(behind("linux-kernel", "7.2", "7.2").order, std::cmp::Ordering::Less);
    let cos = behind("cos", "cos-125", "19216.532.100");
    assert_eq!((cos.newest.as_str(), cos.order), ("cos-125-19216-532-123", std::cmp::Ordering::Less));
    let docker = behind("docker-engine", "29", "29.5.2");
    assert_eq!((docker.newest.as_str(), docker.order), ("29.7.2", std::cmp::Ordering::Less));
    assert!(data.behind("runc", "9.9", "9.9.9").is_none() && data.behind("runc", "1.3", "unreadable").is_none());
}
