//! What a reader gets: a person, a terminal, a CI system, a program, an administrator who looks.

mod html;
mod junit;
#[cfg(test)]
mod samples;
mod tap;
mod text;

use crate::run::Outcome;

/// The forms of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    /// Test Anything Protocol, version 14.
    Tap,
    /// The XML that CI systems read, as Jenkins' `JUnit` plugin describes it.
    Junit,
    Json,
    /// One page that needs nothing else.
    Html,
}

/// Words for `--format`.
pub const WORDS: [&str; 5] = ["text", "tap", "junit", "json", "html"];

impl Format {
    /// The form that a word of [`WORDS`] names; text for any other.
    pub fn named(word: &str) -> Self {
        match word {
            "tap" => Self::Tap,
            "junit" => Self::Junit,
            "json" => Self::Json,
            "html" => Self::Html,
            _ => Self::Text,
        }
    }
}

/// The report on a whole run.
pub fn write(format: Format, outcomes: &[Outcome], verbose: bool) -> String {
    match format {
        Format::Text => text::write(outcomes, verbose),
        Format::Tap => tap::write(outcomes),
        Format::Junit => junit::write(outcomes),
        Format::Json => serde_json::to_string_pretty(outcomes).unwrap_or_default() + "\n",
        Format::Html => html::write(outcomes),
    }
}

/// Counts for the last line: held, broken, not judged, not concerned.
pub fn counts(outcomes: &[Outcome]) -> (usize, usize, usize, usize) {
    let held = outcomes.iter().filter(|o| o.held()).count();
    let broken = outcomes.iter().filter(|o| o.is_broken()).count();
    let unjudged = outcomes.iter().filter(|o| o.is_unjudged()).count();
    (held, broken, unjudged, outcomes.len() - held - broken - unjudged)
}

/// Text for XML and HTML, in content and in quoted attributes. What XML 1.0 (section 2.2) cannot hold at all, not even
/// as a reference, becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(c),
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            _ if c.is_control() => safe.push('\u{fffd}'),
            _ => safe.push(c),
        }
    }
    safe
}
