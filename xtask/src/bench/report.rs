//! The figures as a table for people and as JSON for programs.
#![allow(clippy::format_push_string, reason = "write! into a String brings a Result that cannot be an error")]

use super::figures::{Figures, ms, ratio};
use super::limits::{Limit, mib};
use super::{Floors, Outcome};
use serde_json::{Value, json};

/// Markdown, readable as it is.
pub fn table(floors: &Floors, outcomes: &[Outcome], limits: &[Limit]) -> String {
    let head = [
        "agent",
        "work",
        "whose",
        "wall min",
        "wall median",
        "CPU min",
        "CPU median",
        "forks",
        "execs",
        "peak MB",
        "datagrams",
    ];
    let mut rows: Vec<Vec<String>> = vec![head.map(str::to_owned).to_vec()];
    for (name, figures) in [("empty Rust program", &floors.empty), ("/bin/true", &floors.true_)] {
        rows.push(row("floor", name, "", figures));
    }
    for one in outcomes {
        for (whose, figures) in [("ours", &one.ours), ("upstream", &one.upstream)] {
            rows.push(match figures {
                Some(figures) => row(one.agent, one.work, whose, figures),
                None => vec![one.agent.into(), one.work.into(), whose.into(), absent(whose).into()],
            });
        }
        if let (Some(ours), Some(upstream)) = (&one.ours, &one.upstream) {
            let times =
                |of: fn(&Figures) -> std::time::Duration| format!("{:.1}x", ratio(of(upstream), of(ours)));
            rows.push(vec![
                String::new(),
                String::new(),
                "ratio".to_owned(),
                times(|f| f.wall_min),
                times(|f| f.wall_median),
                times(|f| f.cpu_min),
                times(|f| f.cpu_median),
            ]);
        }
    }
    let mut text = aligned(&rows, head.len());
    text.push_str(
        "\nTimes in ms. Execs: programs started beyond the one called. Ratio: upstream's divided by ours.\n",
    );
    for one in outcomes {
        if let Some(datagrams) =
            one.ours.as_ref().and_then(|figures| figures.datagrams).filter(|count| *count > 0)
        {
            let trips = datagrams.div_ceil(2);
            let explained = explain(one.work, trips);
            text.push_str(&format!(
                "\n{} {}: {trips} round trips, counted on loopback{explained}\n",
                one.agent, one.work
            ));
        }
    }
    text.push_str("\nLimits:\n");
    for limit in limits {
        let mark = match limit.kept {
            Some(true) => "kept  ",
            Some(false) => "BROKEN",
            None => "-     ",
        };
        text.push_str(&format!("  {mark}  {}: {}\n", limit.what, limit.found));
    }
    text
}

const fn absent(whose: &str) -> &'static str {
    if whose.len() == 4 { "not built" } else { "not installed" }
}

/// Where the round trips of an IPMI v2.0 session go (IPMI v2.0, section 13).
fn explain(work: &str, trips: u64) -> &'static str {
    match (work, trips) {
        ("status", 7) => {
            ": get channel authentication capabilities, open session, RAKP 1/2, RAKP 3/4, set session privilege level, \
             get chassis status, close session"
        }
        ("status", 6) => {
            ": open session, RAKP 1/2, RAKP 3/4, set session privilege level, get chassis status, close session"
        }
        _ => "",
    }
}

fn row(agent: &str, work: &str, whose: &str, figures: &Figures) -> Vec<String> {
    let time = |span| format!("{:.2}", ms(span));
    vec![
        agent.to_owned(),
        work.to_owned(),
        whose.to_owned(),
        time(figures.wall_min),
        time(figures.wall_median),
        time(figures.cpu_min),
        time(figures.cpu_median),
        figures.processes.forks.to_string(),
        figures.processes.execs.to_string(),
        format!("{:.1}", mib(figures.processes.peak_kib)),
        figures.datagrams.map_or_else(String::new, |count| count.to_string()),
    ]
}

fn aligned(rows: &[Vec<String>], columns: usize) -> String {
    let cell = |row: &[String], column: usize| row.get(column).cloned().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for (at, row) in rows.iter().enumerate() {
        for (column, width) in widths.iter().enumerate() {
            text.push_str(&format!("| {:<width$} ", cell(row, column)));
        }
        text.push_str("|\n");
        if at == 0 {
            for width in &widths {
                text.push_str(&format!("|{}", "-".repeat(width + 2)));
            }
            text.push_str("|\n");
        }
    }
    text
}

pub fn json(floors: &Floors, outcomes: &[Outcome], limits: &[Limit]) -> Value {
    json!({
        "floors": { "empty_rust_program": floors.empty.json(), "true": floors.true_.json() },
        "pairs": outcomes.iter().map(|one| json!({
            "agent": one.agent,
            "work": one.work,
            "ours": one.ours.as_ref().map(Figures::json),
            "upstream": one.upstream.as_ref().map(Figures::json),
            "empty_rust_program": one.empty.json(),
            "wall_min_ratio": pair(one, |f| f.wall_min),
            "cpu_min_ratio": pair(one, |f| f.cpu_min),
        })).collect::<Vec<_>>(),
        "limits": limits.iter().map(|limit| json!({
            "what": limit.what, "found": limit.found, "kept": limit.kept,
        })).collect::<Vec<_>>(),
    })
}

fn pair(one: &Outcome, of: fn(&Figures) -> std::time::Duration) -> Option<f64> {
    Some(ratio(of(one.upstream.as_ref()?), of(one.ours.as_ref()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["a".to_owned(), "bb".to_owned()], vec!["ccc".to_owned()]];
        assert_eq!(aligned(&rows, 2), "| a   | bb |\n|-----|----|\n| ccc |    |\n");
    }

    #[test]
    fn a_side_that_is_missing_is_told() {
        assert_eq!((absent("ours"), absent("upstream")), ("not built", "not installed"));
    }
}
