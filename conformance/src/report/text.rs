//! The report for a person: agent by agent, findings with their evidence, one line of counts.

use super::counts;
use crate::case::BEYOND;
use crate::run::Outcome;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

pub(super) fn write(outcomes: &[Outcome], verbose: bool) -> String {
    let more: BTreeSet<String> = crate::suite::all()
        .into_iter()
        .filter(|case| case.tags.iter().any(|tag| tag == BEYOND))
        .map(|case| case.id)
        .collect();
    let mut text = String::new();
    let mut agent = None;
    for outcome in outcomes {
        let quiet = outcome.verdict.findings.is_empty() && !outcome.is_unjudged();
        if outcome.is_left() || quiet && !verbose {
            continue;
        }
        if agent != Some(&outcome.path) {
            let _ = writeln!(text, "{} ({})", outcome.agent, outcome.path.display());
            agent = Some(&outcome.path);
        }
        let why = outcome.verdict.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        let beyond = if outcome.is_broken() && more.contains(&outcome.case) {
            " (asks for more than the standard)"
        } else {
            ""
        };
        let _ = writeln!(text, "  {} {}{beyond}{why}", outcome.verdict.verdict, outcome.case);
        for finding in &outcome.verdict.findings {
            let _ = writeln!(text, "    {}", finding.what);
            for line in finding.evidence.iter().flat_map(|evidence| evidence.lines()) {
                let _ = writeln!(text, "      {line}");
            }
        }
    }
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for outcome in outcomes.iter().filter(|outcome| outcome.is_left()) {
        *left.entry(outcome.verdict.why.as_deref().unwrap_or_default()).or_default() += 1;
    }
    for (why, number) in left {
        let _ = writeln!(text, "{number} not carried out: {why}");
    }
    let (held, broken, unjudged, others) = counts(outcomes);
    let _ = writeln!(text, "{held} held, {broken} broken, {unjudged} not judged, {others} do not apply");
    text
}

#[cfg(test)]
mod tests {
    use crate::case::{Finding, Verdict};
    use crate::run::Outcome;

    #[test]
    fn what_no_standard_asks_is_told_apart() {
        let broken = |case: &str| Outcome {
            agent: "x".to_owned(),
            path: "/x".into(),
            case: case.to_owned(),
            seconds: 0.1,
            verdict: Verdict::Broken(vec![Finding { what: "it is 5".to_owned(), evidence: None }]).into(),
        };
        let text = super::write(
            &[broken("resource/probe-parameter-missing"), broken("resource/unknown-action")],
            false,
        );
        assert!(
            text.contains("broken resource/probe-parameter-missing (asks for more than the standard)\n"),
            "{text}"
        );
        assert!(text.contains("broken resource/unknown-action\n"), "{text}");
    }
}
