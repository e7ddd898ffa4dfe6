//! What a reader gets: a person, a terminal, a CI system, a program, an administrator who looks.

mod text;

use crate::run::Outcome;

/// The forms of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

/// The report on a whole run.
pub fn write(format: Format, outcomes: &[Outcome], verbose: bool) -> String {
    match format {
        Format::Text => text::write(outcomes, verbose),
        Format::Json => serde_json::to_string_pretty(outcomes).unwrap_or_default() + "\n",
    }
}

/// Counts for the last line: held, broken, not judged, not concerned.
pub fn counts(outcomes: &[Outcome]) -> (usize, usize, usize, usize) {
    let held = outcomes.iter().filter(|o| o.held()).count();
    let broken = outcomes.iter().filter(|o| o.is_broken()).count();
    let unjudged = outcomes.iter().filter(|o| o.is_unjudged()).count();
    (held, broken, unjudged, outcomes.len() - held - broken - unjudged)
}
