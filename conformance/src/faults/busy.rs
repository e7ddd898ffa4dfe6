//! Whether the machine had the processors that a deadline takes for granted.
//!
//! An agent that is late while others have the processor is no finding. Such a schedule is carried out again with more time:
//! one that waits for ever is late again.

use super::order::{Sort, Told};
use std::time::{Duration, Instant};

/// How much more time a second try gets.
const MORE: u32 = 3;

/// Carries a schedule out, and again when it was late on a busy machine. `attempt` is given what to multiply deadlines by.
pub fn fairly(mut attempt: impl FnMut(u32) -> Told) -> Told {
    let (begun, before) = (Instant::now(), stalled());
    let told = attempt(1);
    let waited = stalled().saturating_sub(before);
    let late = told.flaws.iter().any(|flaw| flaw.sort == Sort::PastDeadline);
    if late && waited * 2 > begun.elapsed() { attempt(MORE) } else { told }
}

/// For how long, since the machine was started, somebody waited for a processor (`some` of `/proc/pressure/cpu`, Linux
/// 4.20). Without it, every lateness counts as the machine's.
fn stalled() -> Duration {
    let text = std::fs::read_to_string("/proc/pressure/cpu").unwrap_or_default();
    let total = text.lines().next().and_then(|line| line.split("total=").nth(1));
    total.and_then(|micros| micros.trim().parse().ok()).map_or_else(unknown, Duration::from_micros)
}

fn unknown() -> Duration {
    static FIRST: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    FIRST.get_or_init(Instant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_time_is_not_done_again() {
        let mut times = Vec::new();
        fairly(|more| {
            times.push(more);
            Told::new(1)
        });
        assert_eq!(times, [1]);
    }

    #[test]
    fn the_kernel_tells_the_pressure() {
        let before = stalled();
        assert!(stalled() >= before);
    }
}
