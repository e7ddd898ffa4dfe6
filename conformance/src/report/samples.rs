//! Outcomes of every kind, with texts that try to break a report.

use crate::case::{Finding, Verdict};
use crate::run::Outcome;

pub const HOSTILE: &str =
    "</pre></script><script>alert(1)</script>\nok 9 - forged # SKIP\r\n\u{1b}[2J]]>&amp;\"'--><b";

pub fn outcomes() -> Vec<Outcome> {
    let outcome = |agent: &str, case: &str, verdict: Verdict| Outcome {
        agent: agent.to_owned(),
        path: format!("/x/{agent}").into(),
        case: case.to_owned(),
        seconds: 0.25,
        verdict: verdict.into(),
    };
    let finding = Finding { what: HOSTILE.to_owned(), evidence: Some(HOSTILE.to_owned()) };
    vec![
        outcome("fence_<a>", "fence/unreachable", Verdict::Broken(vec![finding.clone(), finding])),
        outcome("fence_<a>", "fence/grammar", Verdict::Held),
        outcome("fence_b", "fence/unreachable", Verdict::DoesNotApply(HOSTILE.to_owned())),
        outcome("fence_b", "fence/grammar", Verdict::CannotJudge(HOSTILE.to_owned())),
    ]
}
