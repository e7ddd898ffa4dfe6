//! The report for a person: agent by agent, findings with their evidence, one line of counts.

use super::counts;
use crate::run::Outcome;
use std::collections::BTreeMap;
use std::fmt::Write;

pub(super) fn write(outcomes: &[Outcome], verbose: bool) -> String {
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
        let _ = writeln!(text, "  {} {}{why}", outcome.verdict.verdict, outcome.case);
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
