//! The few functions expressions have beyond CEL's own, under names that say what they compare.

use cel::common::types::{CelBool, CelInt, CelString};
use cel::{Env, ExecutionError};

/// The function by which an expression says that what was read does not tell.
pub(super) const UNDECIDED: &str = "undecided";

/// The CEL environment of every expression: the standard library, `modeAtMost` and `undecided`.
pub(crate) fn environment() -> Env {
    let mut env = Env::stdlib();
    let added = cel::add_overload!(env, fn mode_at_most: (CelInt, CelString<'_>) -> Result<CelBool>);
    debug_assert!(added.is_ok(), "modeAtMost is declared once");
    let added = cel::add_overload!(env, fn undecided: (CelString<'_>) -> Result<CelBool>);
    debug_assert!(added.is_ok(), "undecided is declared once");
    env
}

/// `modeAtMost(mode, "0600")`: no permission bit is set beyond the octal mask. Compared bit by bit, not by number.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "the overload macro passes references")]
fn mode_at_most(mode: &CelInt, mask: &CelString<'_>) -> Result<CelBool, ExecutionError> {
    let within = within_mask(*mode.inner(), mask.inner());
    within.map(CelBool::from).ok_or_else(|| ExecutionError::function_error("modeAtMost", "the mask is not octal"))
}

/// `undecided("why")`: everything was readable and the answer is not in it. Makes the verdict `unknown(undecided)`; `&&`, `||`,
/// `exists` and `all` treat it as they treat any unknown.
fn undecided(why: &CelString<'_>) -> Result<CelBool, ExecutionError> {
    Err(ExecutionError::function_error(UNDECIDED, why.inner()))
}

/// Is `mode` a subset of the octal `mask`. `None` when the mask is not octal.
fn within_mask(mode: i64, mask: &str) -> Option<bool> {
    let mask = i64::from_str_radix(mask, 8).ok()?;
    Some(mode & 0o7777 & !mask == 0)
}

#[cfg(test)]
mod tests {
    use super::within_mask;

    #[test]
    fn modes_are_compared_bit_by_bit() {
        assert_eq!(within_mask(0o600, "0600"), Some(true));
        assert_eq!(within_mask(0o400, "0600"), Some(true));
        assert_eq!(within_mask(0o444, "0600"), Some(false));
        assert_eq!(within_mask(0o077, "0600"), Some(false), "077 is smaller than 0600 as a number and not a subset of it");
        assert_eq!(within_mask(0o4600, "0600"), Some(false), "setuid counts");
        assert_eq!(within_mask(0o600, "0999"), None);
    }
}
