//! Test Anything Protocol 14: one line for each agent and case, findings as YAML below it.

use crate::run::Outcome;
use std::fmt::Write;

pub(super) fn write(outcomes: &[Outcome]) -> String {
    let mut text = format!("TAP version 14\n1..{}\n", outcomes.len());
    for (at, outcome) in outcomes.iter().enumerate() {
        let bad = outcome.is_broken() || outcome.is_unjudged();
        let name = plain(&format!("{} {}", outcome.agent, outcome.case));
        let _ = write!(text, "{} {} - {name}", if bad { "not ok" } else { "ok" }, at + 1);
        let why = outcome.verdict.why.as_deref().unwrap_or_default();
        if !bad && !outcome.held() {
            let _ = write!(text, " # SKIP {}", plain(why));
        }
        text.push('\n');
        if bad {
            let _ = write!(text, "  ---\n  verdict: {}\n", outcome.verdict.verdict);
            if !why.is_empty() {
                let _ = writeln!(text, "  why: {}", quoted(why));
            }
            if !outcome.verdict.findings.is_empty() {
                text.push_str("  findings:\n");
            }
            for finding in &outcome.verdict.findings {
                let _ = writeln!(text, "    - what: {}", quoted(&finding.what));
                if let Some(evidence) = &finding.evidence {
                    let _ = writeln!(text, "      evidence: {}", quoted(evidence));
                }
            }
            text.push_str("  ...\n");
        }
    }
    text
}

/// One line in which no `#` begins a directive.
fn plain(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.replace('\\', "\\\\").replace('#', "\\#")
}

/// A double-quoted YAML scalar: a JSON string is one (YAML 1.2, section 1.3).
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::report::samples::{HOSTILE, outcomes};

    #[test]
    fn each_outcome_is_one_point_and_nothing_forges_another() {
        let text = super::write(&outcomes());
        assert!(text.starts_with("TAP version 14\n1..4\n"), "{text}");
        let points: Vec<&str> =
            text.lines().filter(|line| line.starts_with("ok ") || line.starts_with("not ok ")).collect();
        assert_eq!(points.len(), 4, "{text}");
        assert_eq!(points.iter().filter(|line| line.starts_with("not ok ")).count(), 2, "{text}");
        assert_eq!(points.iter().filter(|line| line.contains(" # SKIP ")).count(), 1, "{text}");
        assert!(text.contains(&serde_json::to_string(HOSTILE).unwrap()), "{text}");
    }
}
