//! Setting values as Go reads them, from a flag's text and from a JSON document.
//!
//! A value the component would refuse is an error with the reason, never a guess.

use serde_json::Value;

/// The type of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `strconv.ParseBool`.
    Bool,
    /// An integer.
    Int,
    /// `time.ParseDuration`, kept as whole seconds.
    Seconds,
    /// Text.
    Text,
    /// A list of texts; a flag gives it comma-separated, and may be repeated.
    List,
}

/// The value of a flag that was given, every occurrence in order.
pub(super) fn from_flag(kind: Kind, given: &[String]) -> Result<Value, String> {
    let last = given.last().map(String::as_str).unwrap_or_default();
    match kind {
        Kind::Bool => boolean(last).map(Value::from),
        Kind::Int => integer(last).map(Value::from),
        Kind::Seconds => seconds(last).map(Value::from),
        Kind::Text => Ok(last.into()),
        Kind::List => Ok(given.iter().flat_map(|value| list(value)).collect()),
    }
}

/// The value of a field of a document.
pub(super) fn from_document(kind: Kind, value: &Value) -> Result<Value, String> {
    let refused = || format!("{value} is not {}", kind.words());
    match (kind, value) {
        (Kind::Bool, Value::Bool(_)) | (Kind::Text, Value::String(_)) => Ok(value.clone()),
        (Kind::Int, Value::Number(number)) => number.as_i64().map(Value::from).ok_or_else(refused),
        (Kind::Seconds, Value::String(text)) => seconds(text).map(Value::from),
        (Kind::List, Value::Array(items)) if items.iter().all(Value::is_string) => Ok(value.clone()),
        // etcd writes its lists comma-separated in its file too.
        (Kind::List, Value::String(text)) => Ok(list(text).collect()),
        _ => Err(refused()),
    }
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Int => "an integer",
            Self::Seconds => "a duration such as \"4h0m0s\"",
            Self::Text => "text",
            Self::List => "a list of texts",
        }
    }
}

fn list(text: &str) -> impl Iterator<Item = Value> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Value::from)
}

/// `strconv.ParseBool`.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("`{text}` is not true or false")),
    }
}

/// `strconv.ParseInt(text, 0, 64)`: the prefix tells the base.
fn integer(text: &str) -> Result<i64, String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (digits, base) = if let Some(rest) = lower.strip_prefix("0x") {
        (rest, 16)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (rest, 2)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (rest, 8)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (lower.trim_start_matches('0'), 8)
    } else {
        (lower.as_str(), 10)
    };
    let digits = if digits.is_empty() && lower.starts_with('0') { "0" } else { digits };
    if digits.starts_with(['+', '-']) {
        return Err(format!("`{text}` is not an integer"));
    }
    i64::from_str_radix(&format!("{sign}{digits}"), base).map_err(|_| format!("`{text}` is not an integer"))
}

/// `time.ParseDuration`, rounded away from zero to whole seconds, so that only zero is zero.
fn seconds(text: &str) -> Result<i64, String> {
    let refused = || format!("`{text}` is not a duration such as `4h0m0s`");
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    let mut nanos: i128 = 0;
    if rest.is_empty() {
        return Err(refused());
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(refused)?;
        let (number, tail) = rest.split_at(end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let scale: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(refused()),
        };
        nanos = decimal(number, scale).and_then(|part| nanos.checked_add(part)).ok_or_else(refused)?;
        rest = tail;
    }
    let whole = nanos.checked_add(999_999_999).map(|nanos| nanos / 1_000_000_000).and_then(|whole| i64::try_from(whole).ok());
    whole.map(|whole| if negative { -whole } else { whole }).ok_or_else(refused)
}

/// `1.5` times `scale`.
fn decimal(number: &str, scale: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || whole.len() > 18 || fraction.len() > 18 {
        return None;
    }
    let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<i128>().ok() };
    let power = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    digits(whole)?.checked_mul(scale)?.checked_add(digits(fraction)?.checked_mul(scale)? / power)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::{boolean, integer, seconds};

    #[rstest]
    #[case("true", Some(true))]
    #[case("T", Some(true))]
    #[case("1", Some(true))]
    #[case("False", Some(false))]
    #[case("0", Some(false))]
    #[case("yes", None)]
    #[case("tRUE", None)]
    #[case("", None)]
    fn booleans_as_strconv_reads_them(#[case] text: &str, #[case] value: Option<bool>) {
        assert_eq!(boolean(text).ok(), value);
    }

    #[rstest]
    #[case("0", Some(0))]
    #[case("10255", Some(10255))]
    #[case("-1", Some(-1))]
    #[case("+5", Some(5))]
    #[case("0x10", Some(16))]
    #[case("010", Some(8))]
    #[case("00", Some(0))]
    #[case("0o17", Some(15))]
    #[case("--1", None)]
    #[case("-+1", None)]
    #[case("", None)]
    #[case("1e3", None)]
    #[case("99999999999999999999", None)]
    fn integers_as_strconv_reads_them(#[case] text: &str, #[case] value: Option<i64>) {
        assert_eq!(integer(text).ok(), value);
    }

    #[rstest]
    #[case("4h0m0s", Some(14_400))]
    #[case("4h", Some(14_400))]
    #[case("0", Some(0))]
    #[case("0s", Some(0))]
    #[case("1h30m", Some(5_400))]
    #[case("1.5h", Some(5_400))]
    #[case(".5m", Some(30))]
    #[case("500ms", Some(1))]
    #[case("-1s", Some(-1))]
    #[case("5", None)]
    #[case("5 m", None)]
    #[case("h", None)]
    #[case(".s", None)]
    #[case("", None)]
    #[case("9999999999999999999h", None)]
    fn durations_as_go_reads_them(#[case] text: &str, #[case] value: Option<i64>) {
        assert_eq!(seconds(text).ok(), value);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let read = (boolean(&text).is_ok(), integer(&text).is_ok(), seconds(&text).is_ok());
            prop_assert!(!text.is_empty() || read == (false, false, false));
        }
    }
}
