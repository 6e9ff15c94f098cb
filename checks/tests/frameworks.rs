//! Frameworks: every row is there, and every row that a check names exists.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeMap;

use holdfast_checks::catalogue::{Catalogue, Document, built_in as catalogue};
use holdfast_checks::frameworks::{Coverage, Framework, built_in};

#[test]
fn every_row_of_the_guidance_and_of_the_benchmark_is_listed() {
    let frameworks = built_in().expect("the shipped frameworks are valid");
    let catalogue = catalogue().expect("the shipped catalogue is valid");
    let rows: BTreeMap<&str, usize> =
        frameworks.iter().map(|framework| (framework.id.as_str(), framework.rows(&catalogue).len())).collect();
    assert_eq!(rows, BTreeMap::from([("cis-1.12", 131), ("nsa-1.2", 151)]));
}

#[test]
fn every_row_that_a_check_names_exists() {
    let frameworks = built_in().expect("valid");
    let catalogue = catalogue().expect("valid");
    let mut unknown = Vec::new();
    for check in catalogue.checks() {
        for (framework, rows) in &check.frameworks {
            let framework = frameworks.iter().find(|known| known.id == *framework).expect("the catalogue refuses unknown frameworks");
            unknown.extend(rows.iter().filter(|row| !framework.has_row(row)).map(|row| format!("{}: {} {row}", check.id, framework.id)));
        }
    }
    assert_eq!(unknown, Vec::<String>::new());
}

/// What a node can tell of itself as a server is told; of the rest the question is there.
#[test]
fn the_rows_about_the_host_as_a_server_are_answered() {
    const BY_CHECKS: [&str; 16] = [
        "NSA-LOG-06",
        "NSA-LOG-08",
        "NSA-LOG-10",
        "NSA-LOG-11",
        "NSA-LOG-12",
        "NSA-LOG-13",
        "NSA-LOG-14",
        "NSA-ALR-01",
        "NSA-ALR-02",
        "NSA-NET-12",
        "NSA-NET-25",
        "NSA-NET-28",
        "NSA-SUP-04",
        "NSA-UPG-09",
        "NCC-06",
        "SEED-06",
    ];
    let catalogue = catalogue().expect("valid");
    let nsa = built_in().expect("valid").into_iter().find(|framework| framework.id == "nsa-1.2").expect("it ships");
    let rows = nsa.rows(&catalogue);
    let coverage = |id: &str| rows.iter().find(|row| row.id == id).map(|row| &row.coverage);
    let unanswered: Vec<&str> = BY_CHECKS.into_iter().filter(|id| !matches!(coverage(id), Some(Coverage::Checks(_)))).collect();
    assert_eq!(unanswered, Vec::<&str>::new());
    let not_asked: Vec<&str> =
        ["NSA-NET-32", "NSA-LOG-07", "NSA-ALR-03"].into_iter().filter(|id| !matches!(coverage(id), Some(Coverage::Manual(_)))).collect();
    assert_eq!(not_asked, Vec::<&str>::new());
}

/// What a node can tell of networking, ports and authentication is told; the rest says whom to ask.
#[test]
fn the_rows_about_a_nodes_own_surface_are_answered() {
    const BY_CHECKS: [&str; 29] = [
        "NSA-NET-03",
        "NSA-NET-04",
        "NSA-NET-05",
        "NSA-NET-06",
        "NSA-NET-07",
        "NSA-NET-08",
        "NSA-NET-09",
        "NSA-NET-10",
        "NSA-NET-11",
        "NSA-NET-12",
        "NSA-NET-13",
        "NSA-NET-15",
        "NSA-NET-18",
        "NSA-NET-25",
        "NSA-NET-26",
        "NSA-NET-27",
        "NSA-NET-30",
        "NSA-AUT-01",
        "NSA-AUT-02",
        "NSA-AUT-03",
        "NSA-AUT-04",
        "NSA-AUT-07",
        "NCC-01",
        "NCC-02",
        "NCC-03",
        "NCC-04",
        "NCC-05",
        "SEED-03",
        "SEED-04",
    ];
    let catalogue = catalogue().expect("valid");
    let nsa = built_in().expect("valid").into_iter().find(|framework| framework.id == "nsa-1.2").expect("it ships");
    let rows = nsa.rows(&catalogue);
    let coverage = |id: &str| rows.iter().find(|row| row.id == id).map(|row| &row.coverage);
    let unanswered: Vec<&str> =
        BY_CHECKS.into_iter().chain(["SEED-05"]).filter(|id| !matches!(coverage(id), Some(Coverage::Checks(_)))).collect();
    assert_eq!(unanswered, Vec::<&str>::new());
    let nobody: Vec<&str> = ["NSA-NET-01", "NSA-NET-02", "NSA-NET-14", "NSA-NET-33", "SEED-02"]
        .into_iter()
        .filter(|id| !matches!(coverage(id), Some(Coverage::Manual(_))))
        .collect();
    assert_eq!(nobody, Vec::<&str>::new());
}

/// The patch chain is told by the node; what no node shows is asked.
#[test]
fn the_rows_about_patching_are_answered() {
    let catalogue = catalogue().expect("valid");
    let nsa = built_in().expect("valid").into_iter().find(|framework| framework.id == "nsa-1.2").expect("it ships");
    let rows = nsa.rows(&catalogue);
    let coverage = |id: &str| rows.iter().find(|row| row.id == id).map(|row| &row.coverage);
    for id in [
        "NSA-UPG-01",
        "NSA-UPG-02",
        "NSA-UPG-05",
        "NSA-UPG-07",
        "NSA-SUP-02",
        "NSA-SUP-03",
        "NCC-06",
        "NCC-11",
        "NCC-12",
        "SEED-06",
        "SEED-07",
    ] {
        assert!(matches!(coverage(id), Some(Coverage::Checks(_))), "{id}");
    }
    for id in ["NSA-UPG-04", "NSA-UPG-08", "NSA-UPG-10"] {
        assert!(matches!(coverage(id), Some(Coverage::Manual(question)) if question.contains('?')), "{id}");
    }
}

#[test]
fn a_row_is_answered_by_checks_before_anything_else_and_says_so_when_nothing_answers_it() {
    let check = |id: &str| {
        format!(
            "- {{id: {id}, title: t, severity: low, area: kubelet, judged_by: node, manual: ask, why: w, fix: f, frameworks: {{cis-1.12: [\"4.2.1\", \"3.1.1\"]}}}}\n"
        )
    };
    let document = Document { name: "two.yaml".into(), text: check("second") + &check("first") };
    let catalogue = Catalogue::load(&[document]).expect("it loads");
    let frameworks = built_in().expect("valid");
    let rows = frameworks.first().expect("cis").rows(&catalogue);
    let row = |id: &str| rows.iter().find(|row| row.id == id).expect("there").coverage.clone();
    let names = |coverage| match coverage {
        Coverage::Checks(checks) => checks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        other => format!("{other:?}"),
    };
    assert_eq!(names(row("4.2.1")), "first second");
    assert_eq!(names(row("3.1.1")), "first second");
    assert!(matches!(row("3.1.2"), Coverage::Manual(question) if question.contains('?')));
    assert_eq!(row("5.1.1"), Coverage::Cluster);
    assert_eq!(row("1.1.1"), Coverage::NotCovered);
}

#[test]
fn a_bad_framework_is_refused_with_its_row() {
    let row = "  - {id: A-1, area: a, title: t, status: cluster}\n";
    let refused = |rows: String| {
        let error = Framework::load("mine.yaml", &format!("id: x\ntitle: X\nrows:\n{rows}")).expect_err("refused");
        error.to_string()
    };
    insta::assert_snapshot!(
        [
            refused(format!("{row}{row}")),
            refused("  - {id: A-1, area: '', title: t, status: cluster}\n".into()),
            refused("  - {id: A-1, area: a, title: t, status: {manual: ' '}}\n".into()),
            refused("  - {id: A-1, area: a, title: t, status: perhaps}\n".into()),
        ]
        .join("\n")
    );
}
