//! Who has used a pool last, and when: in what `zpool import` says when it refuses one.

/// The host in `Last accessed by za (hostid=11111111) at ...` (versions 0.7 to 2.3).
pub fn last_host(said: &str) -> Option<String> {
    let name = said.split("ast accessed by ").nth(1)?.split_whitespace().next()?;
    Some(name.to_owned())
}

/// The time behind it, as `ctime(3)` writes it, in seconds since 1970.
pub fn last_use(said: &str) -> Option<u64> {
    let after = said.split("ast accessed by ").nth(1)?.split_once(") at ")?.1;
    let mut words = after.split_whitespace().skip(1);
    let month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (name, day, clock) = (words.next()?, words.next()?.parse::<u64>().ok()?, words.next()?);
    let year = words.next()?.parse::<u64>().ok().filter(|year| *year >= 1970)?;
    let month = (1_u64..).zip(month).find(|(_, known)| *known == name)?.0;
    let mut clock = clock.split(':').map(|number| number.parse::<u64>().ok());
    let seconds = (clock.next()?? * 60 + clock.next()??) * 60 + clock.next()??;
    // Days before a date of the Gregorian calendar, with years that begin in March: leap days are then at their ends.
    let (years, months) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = years * 365 + years / 4 - years / 100 + years / 400 + (months * 153 + 2) / 5 + day;
    // 719469: the same sum for 1970-01-01.
    Some(days.checked_sub(719_469)? * 86_400 + seconds)
}

/// Node names and host names may have a domain behind them, or not.
pub fn same_host(one: &str, other: &str) -> bool {
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_lowercase();
    short(one) == short(other)
}
