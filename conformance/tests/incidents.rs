//! `INCIDENTS.md`: every case and every test that it names is there.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test: what goes wrong must end it"
)]

use std::path::Path;
use std::process::Command;

/// The last cell of each row below a table's head.
fn covers(text: &str) -> Vec<(usize, &str)> {
    let rows = text
        .lines()
        .enumerate()
        .filter(|(_, line)| line.starts_with("| ") && !line.starts_with("| what happened"));
    rows.map(|(at, line)| (at + 1, line.trim_end_matches('|').rsplit('|').next().unwrap().trim())).collect()
}

/// The words in back quotes.
fn words(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Whether some file below this path, or the file itself, has a test of this name.
fn has_test(place: &Path, name: &str) -> bool {
    if place.is_dir() {
        return std::fs::read_dir(place).unwrap().any(|entry| has_test(&entry.unwrap().path(), name));
    }
    std::fs::read_to_string(place).is_ok_and(|text| text.contains(&format!("fn {name}(")))
}

fn stale(text: &str, known: &[&str], root: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    for (line, cell) in covers(text) {
        if let Some(agents) = cell.strip_prefix("not yet: ").filter(|agents| !agents.is_empty()) {
            // An agent that has cases is written: its incidents are due.
            let written =
                agents.split(", ").filter(|agent| root.join("conformance/cases").join(agent).is_dir());
            wrong
                .extend(written.map(|agent| format!("line {line}: {agent} is there, and does not cover it")));
            continue;
        }
        if words(cell).is_empty() {
            wrong.push(format!("line {line} names no case"));
        }
        for word in words(cell) {
            let there = match word.split_once("::") {
                Some((place, function)) => has_test(&root.join(place), function),
                None => known.contains(&word) || root.join(word).is_file(),
            };
            if !there {
                wrong.push(format!("line {line}: there is no {word}"));
            }
        }
    }
    wrong
}

#[test]
fn everything_that_covers_an_incident_is_there() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(folder.join("INCIDENTS.md")).unwrap();
    let list = Command::new(env!("CARGO_BIN_EXE_ringfence-conformance")).arg("list").output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let known: Vec<&str> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(covers(&text).len() > 50, "the tables are read");
    let wrong = stale(&text, &known, folder.parent().unwrap());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_gone_is_seen() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = "| what happened | where | covered by |\n|---|---|---|\n| a | b | `x/is` `x/was` |\n| a | b | |\n| a | b | not yet: X |\n| a | b | not yet: X, Dummy |\n\
                | a | b | `conformance/tests/incidents.rs` `tests/gone.rs` `conformance/tests::what_is_gone_is_seen` `conformance/tests::nobody_wrote_this` |\n";
    let wrong =
        stale(&text.replace("nobody_wrote_this", "nobody_wrote_ this"), &["x/is"], folder.parent().unwrap());
    let want = [
        "line 3: there is no x/was",
        "line 4 names no case",
        "line 6: Dummy is there, and does not cover it",
        "line 7: there is no tests/gone.rs",
        "line 7: there is no conformance/tests::nobody_wrote_ this",
    ];
    assert_eq!(wrong, want);
}
