//! Lifecycle data: what is shipped, what the loader refuses, where releases stand.

use holdfast_checks::versions::{Extension, Lifecycle, Standing};
use jiff::civil::{Date, date};
use serde::Deserialize;

fn built_in() -> Lifecycle {
    Lifecycle::built_in().expect("the shipped data is valid")
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
        let (row, standing) = data.find(&vector.product, &cycle, vectors.today).unwrap_or_else(|| panic!("{name}: no row"));
        let said = match standing {
            Standing::Supported => "supported",
            Standing::Extended(_) => "extended-support",
            Standing::EndOfLife => "eol",
        };
        assert_eq!(Some(said), vector.expect.split('+').next(), "{name}: {row:?}");
        if vector.eol.is_some() {
            assert_eq!(row.eol.day(), vector.eol, "{name}");
        }
        if vector.eoes.is_some() {
            assert_eq!(row.extended.and_then(holdfast_checks::versions::End::day), vector.eoes, "{name}");
        }
    }
}

#[test]
fn the_last_day_is_still_supported() {
    let stands = |day| built_in().find("kubernetes", "1.34", day).expect("a row").1;
    assert_eq!(stands(date(2026, 10, 27)), Standing::Supported);
    assert_eq!(stands(date(2026, 10, 28)), Standing::EndOfLife);
    let debian = |day| built_in().find("debian", "12", day).expect("a row").1;
    assert_eq!(debian(date(2026, 7, 12)), Standing::Extended(Extension::Free));
    assert_eq!(debian(date(2028, 7, 1)), Standing::EndOfLife);
    assert!(built_in().find("debian", "99", date(2026, 1, 1)).is_none());
}

#[test]
fn bad_data_is_refused_with_its_row() {
    let refused = |rows: &str| {
        let error = Lifecycle::load("mine.yaml", &format!("products:\n  debian:\n    rows:\n{rows}")).expect_err("refused");
        error.to_string()
    };
    let row = "      - {cycle: '12', eol: '2026-07-11', as_of: '2026-08-22', source: here}\n";
    insta::assert_snapshot!(
        [
            refused(&format!("{row}{row}")),
            refused("      - {cycle: '12', eol: '2026-07-11', as_of: '2026-08-22', source: ' '}\n"),
            refused("      - {cycle: '12', eol: '2026-07-11', extended: '2027-01-01', as_of: '2026-08-22', source: here}\n"),
            refused("      - {cycle: '12', eol: 'soon', as_of: '2026-08-22', source: here}\n"),
        ]
        .join("\n")
    );
}
