//! For how long processes have run, by the clock that their start times are told by.
//!
//! The time of boot that the kernel tells is rounded to a second, and moves when the clock is set: too coarse for telling a process
//! that starts from one that stays.

use holdfast_checks::facts::Process;

use crate::host::Host;

/// `USER_HZ`, the unit of start times, is 100 on every architecture Linux supports: so many milliseconds.
const TICK_MS: i64 = 10;

/// The clock that start times are told by, in milliseconds; `None` where processes are not this machine's.
pub(super) fn now_ms(host: &Host) -> Option<i64> {
    let uptime = if host.live() { host.proc.root().read_text("uptime").ok() } else { None };
    uptime.as_deref().and_then(milliseconds)
}

/// How old a process was at `read_ms`, which is before it was read: what was seen of it says nothing of what it is later.
pub(super) fn tell(read_ms: Option<i64>, process: &mut Process) {
    // Both are rounded down: no younger than it was.
    let age = |read_ms: i64| read_ms.checked_add(TICK_MS)?.checked_sub(process.start_ticks.checked_mul(TICK_MS)?);
    process.age_ms = read_ms.and_then(age);
}

/// Of `/proc/uptime`: seconds with two decimals, twice.
fn milliseconds(uptime: &str) -> Option<i64> {
    let (seconds, hundredths) = uptime.split_ascii_whitespace().next()?.split_once('.')?;
    let number = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse::<i64>().ok())?;
    let hundredths = if hundredths.len() == 2 { number(hundredths)? } else { return None };
    number(seconds)?.checked_mul(1_000)?.checked_add(hundredths * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uptime_is_read_to_the_hundredth() {
        assert_eq!(milliseconds("350735.47 234388.90\n"), Some(350_735_470));
        assert_eq!(milliseconds("0.05 0.00\n"), Some(50));
        for strange in ["", "12", "12.5 1", "a.bc", "-1.00 1", "99999999999999999999.00", "9223372036854775807.00"] {
            assert_eq!(milliseconds(strange), None, "{strange}");
        }
    }
}
