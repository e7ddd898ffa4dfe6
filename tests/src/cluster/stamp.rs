//! Points in time: microseconds since the epoch, and the wall-clock stamps of corosync's and Pacemaker's logs.

use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since the epoch. All observers of a cluster share one kernel, so their stamps compare.
pub type Micros = i64;

/// Now.
#[must_use]
pub fn now() -> Micros {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// How much earlier than the event a stamp in corosync's or Pacemaker's log may be.
///
/// libqb reads the coarse clock, which stands still between two ticks of the kernel, and Pacemaker cuts its stamp to milliseconds.
#[must_use]
pub fn log_resolution() -> Micros {
    let tick = nix::time::clock_getres(nix::time::ClockId::CLOCK_REALTIME_COARSE);
    // The slowest tick that a kernel can be configured for is that of HZ=100.
    tick.map_or(10_000, |tick| tick.tv_sec() * 1_000_000 + tick.tv_nsec() / 1000) + 1000
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY: Micros = 86_400_000_000;

/// Splits a log line `Nov 21 02:31:33[.123456] text` (UTC, no year) into its time and its text.
///
/// The year is the one that puts the stamp nearest to `near`. `None` when the line does not start with a stamp.
#[must_use]
pub fn split_log_line(line: &str, near: Micros) -> Option<(Micros, &str)> {
    let (month, rest) = line.split_once(' ')?;
    let month = i64::try_from(MONTHS.iter().position(|name| *name == month)?).ok()? + 1;
    let (day, rest) = rest.trim_start().split_once(' ')?;
    let (clock, text) = rest.trim_start().split_once(' ')?;
    let day: i64 = day.parse().ok()?;
    let mut parts = clock.splitn(3, ':');
    let hour: i64 = parts.next()?.parse().ok()?;
    let minute: i64 = parts.next()?.parse().ok()?;
    let (second, fraction) = {
        let seconds = parts.next()?;
        seconds.split_once('.').unwrap_or((seconds, "0"))
    };
    let second: i64 = second.parse().ok()?;
    if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let micros: i64 = format!("{fraction:0<9}").parse::<i64>().ok()? / 1000;
    let in_day = ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros;
    let year = year_of(near);
    (year - 1..=year + 1)
        .map(|year| days_from_civil(year, month, day) * DAY + in_day)
        .min_by_key(|stamp| (stamp - near).abs())
        .map(|stamp| (stamp, text))
}

fn year_of(stamp: Micros) -> i64 {
    // The mean length of a Gregorian year; the caller tries the neighbours too.
    1970 + stamp.div_euclid(DAY) * 10_000 / 3_652_425
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, by the well-known era arithmetic (years start in March).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    // 2026-11-21 02:31:33 UTC
    const NEAR: Micros = 1_795_228_293_000_000;

    #[test]
    fn reads_the_stamp_of_corosync_and_of_pacemaker() {
        let (at, text) = split_log_line("Nov 21 02:31:34.250 [12] n1 corosync notice", NEAR).unwrap();
        assert_eq!(at - NEAR, 1_250_000);
        assert_eq!(text, "[12] n1 corosync notice");
        let (at, _) = split_log_line("Nov  1 02:31:33.000001 n1", NEAR).unwrap();
        assert_eq!(at - NEAR, -20 * DAY + 1);
    }

    #[test]
    fn takes_the_nearest_year() {
        let new_year = days_from_civil(2027, 1, 1) * DAY;
        let (at, _) = split_log_line("Dec 31 23:59:59.5 x", new_year).unwrap();
        assert_eq!(at - new_year, -500_000);
        let (at, _) = split_log_line("Jan 1 00:00:01 x", new_year - 1).unwrap();
        assert_eq!(at - new_year, 1_000_000);
    }

    #[test]
    fn other_lines_have_no_stamp() {
        assert!(split_log_line("    at the start", NEAR).is_none());
        assert!(split_log_line("Nov 21 now x", NEAR).is_none());
        assert!(split_log_line("", NEAR).is_none());
    }
}
