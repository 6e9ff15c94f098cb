//! Quantities as `resource.ParseQuantity` reads them: `10Mi`, `1.5G`, `200m`, `1e3`.
//!
//! Must not know which setting is a quantity, nor which range one takes.

const NANO: i128 = 1_000_000_000;
/// More significant digits than any amount in range can use.
const MAX_DIGITS: usize = 18;

/// An amount in billionths, the finest Kubernetes keeps; anything finer is rounded away from zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quantity(i128);

impl Quantity {
    /// Reads `text`: a decimal number with a binary (`Ki`), decimal (`k`) or exponent (`e3`) suffix. What is above the range of
    /// an `i64` counts as its largest value.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return None;
        }
        let (factor, tens) = scale(suffix)?;
        let fraction = fraction.trim_end_matches('0');
        let digits = format!("{whole}{fraction}");
        let digits = digits.trim_start_matches('0');
        if digits.len() > MAX_DIGITS {
            return None;
        }
        let digits: i128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
        let power = tens.checked_add(9)?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
        let amount = times_ten_to(digits.checked_mul(factor)?, power).min(i128::from(i64::MAX) * NANO);
        Some(Self(if negative { -amount } else { amount }))
    }

    /// The amount when it is whole.
    pub(super) fn whole(self) -> Option<i64> {
        if self.0 % NANO == 0 { i64::try_from(self.0 / NANO).ok() } else { None }
    }

    pub(super) fn is_negative(self) -> bool {
        self.0 < 0
    }

    pub(super) fn is_zero(self) -> bool {
        self.0 == 0
    }
}

/// A factor and a power of ten.
fn scale(suffix: &str) -> Option<(i128, i32)> {
    Some(match suffix {
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "" => (1, 0),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        _ => (1, suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
    })
}

/// `value`, which is not negative, times ten to the power of `power`, rounded up, and as large as an `i128` gets when it does
/// not fit.
fn times_ten_to(value: i128, power: i32) -> i128 {
    let step = 10_i128.checked_pow(power.unsigned_abs());
    match step {
        _ if value == 0 => 0,
        Some(step) if power >= 0 => value.saturating_mul(step),
        Some(step) => value / step + i128::from(value % step != 0),
        None if power >= 0 => i128::MAX,
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::Quantity;

    #[rstest]
    #[case("10Mi", Some(10 << 20))]
    #[case("10M", Some(10_000_000))]
    #[case("0", Some(0))]
    #[case("1.5Ki", Some(1536))]
    #[case("1e3", Some(1000))]
    #[case("1E3", Some(1000))]
    #[case("1E", Some(1_000_000_000_000_000_000))]
    #[case("100Ei", Some(i64::MAX))]
    #[case("1e99", Some(i64::MAX))]
    #[case("1000m", Some(1))]
    #[case("+5k", Some(5000))]
    #[case("-5", Some(-5))]
    #[case(".5Ki", Some(512))]
    #[case("5.", Some(5))]
    #[case("0.00000000000000000010", None)]
    #[case("1m", None)]
    #[case("1e-3", None)]
    #[case("10MiB", None)]
    #[case("10 Mi", None)]
    #[case("10mi", None)]
    #[case("1.2.3", None)]
    #[case("e3", None)]
    #[case(".", None)]
    #[case("--1", None)]
    #[case("", None)]
    fn whole_amounts_as_kubernetes_reads_them(#[case] text: &str, #[case] value: Option<i64>) {
        assert_eq!(Quantity::parse(text).and_then(Quantity::whole), value);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[-+]?[0-9.]{0,30}[eEKMGTPimunk]{0,2}[-+]?[0-9]{0,12}") {
            prop_assert!(Quantity::parse(&text).is_none_or(|quantity| quantity.is_negative() <= text.starts_with('-')));
        }
    }
}
