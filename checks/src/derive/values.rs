//! Setting values as Go reads them, from a flag's text and from a JSON document.
//!
//! A value the component would refuse is an error with the reason, never a guess.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::quantity::Quantity;

/// The type of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `strconv.ParseBool`.
    Bool,
    /// An integer.
    Int,
    /// `time.ParseDuration`, kept as whole seconds.
    Seconds,
    /// `resource.ParseQuantity`, kept as whole bytes.
    Bytes,
    /// Text.
    Text,
    /// One of these; what the component refuses is malformed.
    Enum(&'static [&'static str]),
    /// A list of texts; a flag gives it comma-separated, and may be repeated.
    List,
    /// Named values; a flag gives it comma-separated, and may be repeated.
    Map(Member),
    /// Whether there is anything at all. The value stays on the node.
    Given,
}

/// The type of a [`Kind::Map`]'s values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Member {
    /// A feature gate: true or false.
    Gate,
    /// What may be reserved of a resource: a quantity, kept as text.
    Resource,
    /// An eviction threshold: a quantity or a percentage, kept as text.
    Threshold,
    /// A duration, kept as text.
    Duration,
}

/// The value of a flag that was given, every occurrence in order.
pub(super) fn from_flag(kind: Kind, given: &[String]) -> Result<Value, String> {
    let last = given.last().map(String::as_str).unwrap_or_default();
    match kind {
        Kind::Bool => boolean(last).map(Value::from),
        Kind::Int => integer(last).map(Value::from),
        Kind::Seconds => seconds(last).map(Value::from),
        Kind::Bytes => bytes(last).map(Value::from),
        Kind::Text => Ok(last.into()),
        Kind::Enum(allowed) if allowed.contains(&last) => Ok(last.into()),
        Kind::Enum(_) => Err(format!("`{last}` is not {}", kind.words())),
        Kind::List => Ok(given.iter().flat_map(|value| list(value)).collect()),
        Kind::Map(member) => pairs(member, given),
        Kind::Given => Ok(given.iter().any(|value| !value.is_empty()).into()),
    }
}

/// The value of a field of a document.
pub(super) fn from_document(kind: Kind, value: &Value) -> Result<Value, String> {
    let refused = || format!("{} is not {}", shown(value), kind.words());
    match (kind, value) {
        (Kind::Bool, Value::Bool(_)) | (Kind::Text, Value::String(_)) => Ok(value.clone()),
        // YAML 1.1, which upstream reads, has more words for them. In quotes the component would have refused them.
        (Kind::Bool, Value::String(text)) => yaml_boolean(text).map(Value::from).ok_or_else(refused),
        (Kind::Int, Value::Number(number)) => number.as_i64().map(Value::from).ok_or_else(refused),
        (Kind::Seconds, Value::String(text)) => seconds(text).map(Value::from),
        // Empty is the same as absent in every field of these kinds.
        (Kind::Bytes, Value::String(text)) if text.is_empty() => Ok(value.clone()),
        (Kind::Bytes, Value::String(text)) => bytes(text).map(Value::from),
        (Kind::Enum(allowed), Value::String(text)) if text.is_empty() || allowed.contains(&text.as_str()) => Ok(value.clone()),
        (Kind::List, Value::Array(items)) if items.iter().all(Value::is_string) => Ok(value.clone()),
        // etcd writes its lists comma-separated in its file too.
        (Kind::List, Value::String(text)) => Ok(list(text).collect()),
        (Kind::Map(kind), Value::Object(members)) => members
            .iter()
            .map(|(name, value)| Ok((name.clone(), member(kind, name, value)?)))
            .collect::<Result<Map<String, Value>, String>>()
            .map(Value::Object),
        (Kind::Given, Value::Object(members)) => Ok((!members.is_empty()).into()),
        _ => Err(refused()),
    }
}

impl Kind {
    /// What an answer means that leaves zero values out; `None` where a number there would not be nothing.
    pub(super) fn zero(self) -> Option<Value> {
        Some(match self {
            Self::Bool | Self::Given => false.into(),
            Self::Int | Self::Seconds => 0.into(),
            Self::Text | Self::Enum(_) => "".into(),
            Self::List => Value::Array(Vec::new()),
            Self::Map(_) => Value::Object(Map::new()),
            Self::Bytes => return None,
        })
    }

    fn words(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Bool => "true or false",
            Self::Int => "an integer",
            Self::Seconds => "a duration such as \"4h0m0s\"",
            Self::Bytes => "a quantity such as \"10Mi\"",
            Self::Text => "text",
            Self::Enum(allowed) => return Cow::Owned(format!("one of {}", allowed.join(", "))),
            Self::List => "a list of texts",
            Self::Map(_) | Self::Given => "a mapping",
        })
    }
}

/// A value for a person: short, whatever was written.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.len() > 64 { format!("{}…", crate::entries::cut(&text, 60)) } else { text }
}

/// The pairs of a map flag. Several occurrences add up; a later value of a name wins.
fn pairs(kind: Member, given: &[String]) -> Result<Value, String> {
    let separator = if kind == Member::Threshold { '<' } else { '=' };
    let mut members = Map::new();
    for pair in given.iter().flat_map(|value| value.split(',')).filter(|pair| !pair.is_empty()) {
        let (name, text) = pair.split_once(separator).ok_or_else(|| format!("`{pair}` is not a pair with `{separator}`"))?;
        let (name, text) = (name.trim(), text.trim());
        let value = if kind == Member::Gate { boolean(text)?.into() } else { member(kind, name, &text.into())? };
        members.insert(name.to_owned(), value);
    }
    Ok(Value::Object(members))
}

/// One value of a map. A null, which only a main file can leave there, is the zero value.
fn member(kind: Member, name: &str, value: &Value) -> Result<Value, String> {
    let refused = |what: &str| Err(format!("{name}: {} is not {what}", shown(value)));
    if kind == Member::Gate {
        return match value {
            Value::Bool(_) => Ok(value.clone()),
            Value::Null => Ok(false.into()),
            Value::String(text) => yaml_boolean(text).map(Value::from).map_or_else(|| refused("true or false"), Ok),
            _ => refused("true or false"),
        };
    }
    let Some(text) = value.as_str() else { return refused("text") };
    let quantity = Quantity::parse(text).filter(|quantity| !quantity.is_negative());
    match kind {
        Member::Gate | Member::Resource if !["cpu", "memory", "ephemeral-storage", "pid"].contains(&name) => {
            Err(format!("{name} cannot be reserved"))
        }
        Member::Gate | Member::Resource => {
            if quantity.is_some() {
                Ok(value.clone())
            } else {
                refused("a quantity")
            }
        }
        Member::Threshold => match text.strip_suffix('%') {
            Some(percent) if percent.parse::<f32>().is_ok_and(|percent| (0.0..=100.0).contains(&percent)) => Ok(value.clone()),
            None if quantity.is_some_and(|quantity| !quantity.is_zero()) => Ok(value.clone()),
            _ => refused("a threshold"),
        },
        Member::Duration => {
            if seconds(text).is_ok() {
                Ok(value.clone())
            } else {
                refused("a duration")
            }
        }
    }
}

/// The words for true and false that YAML 1.1 has beside those of JSON.
fn yaml_boolean(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "True" | "TRUE" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// A quantity of whole bytes.
fn bytes(text: &str) -> Result<i64, String> {
    Quantity::parse(text).and_then(Quantity::whole).ok_or_else(|| format!("`{text}` is not a quantity of bytes such as `10Mi`"))
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
