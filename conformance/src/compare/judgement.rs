//! What two agents of the same name made of the same cases, weighed against the list of intended differences.
//!
//! - A behaviour case agrees when it holds for both. When it holds for one only, an entry must name it.
//! - A case that holds for neither says nothing about anybody: it is wrong, and no entry helps.
//! - An entry that names a case that holds for both is stale. One that names a case that does not exist, a case of
//!   another agent, or a case that another entry names too is false. One that names no case, of an agent that has
//!   behaviour cases here, must say with `shown` which test shows it, and that file must be there. All of these are findings.
//! - Contract cases are the standard's word: ours must hold them all. Theirs may break them without an entry; it is a
//!   finding about their agent, listed but not red.

use super::divergences::Divergence;
use crate::run::Outcome;
use std::fmt::Write;

/// The same case on both agents.
pub struct Pair<'a> {
    pub case: &'a str,
    pub behaviour: bool,
    pub theirs: &'a Outcome,
    pub ours: &'a Outcome,
}

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    pub agree: usize,
    /// Case and the id of its entry.
    pub intended: Vec<(String, String)>,
    /// Each a line, and the evidence in lines below it.
    pub findings: Vec<String>,
    /// Contract cases that only theirs breaks.
    pub about_theirs: Vec<String>,
    pub unjudged: Vec<String>,
    pub do_not_apply: usize,
}

/// Weighs. `known` are all cases there are, `agents` those that were compared.
pub fn judge(pairs: &[Pair<'_>], entries: &[Divergence], known: &[String], agents: &[String]) -> Judgement {
    let mut judgement = Judgement::default();
    for pair in pairs {
        one(pair, entries, &mut judgement);
    }
    for entry in entries {
        for wrong in wrong_with(entry, entries, known, agents) {
            judgement.findings.push(format!("divergence {}/{}: {wrong}", entry.agent, entry.id));
        }
    }
    judgement
}

fn one(pair: &Pair<'_>, entries: &[Divergence], judgement: &mut Judgement) {
    let case = pair.case;
    for (whose, outcome) in [("theirs", pair.theirs), ("ours", pair.ours)] {
        if outcome.is_unjudged() {
            let why = outcome.verdict.why.as_deref().unwrap_or_default();
            judgement.unjudged.push(format!("{case}: {whose}: {why}"));
        }
    }
    if pair.theirs.is_unjudged() || pair.ours.is_unjudged() {
        return;
    }
    let (theirs, ours) = (pair.theirs.is_broken(), pair.ours.is_broken());
    if !pair.behaviour {
        if ours {
            judgement.findings.push(format!("{case}: ours breaks the contract{}", told(pair.ours)));
        } else if theirs {
            judgement.about_theirs.push(format!("{case}{}", told(pair.theirs)));
        } else if pair.ours.held() {
            judgement.agree += 1;
        } else {
            judgement.do_not_apply += 1;
        }
        return;
    }
    let entry = entries.iter().find(|entry| entry.cases.iter().any(|name| name == case));
    match (theirs, ours, entry) {
        (false, false, None) => judgement.agree += 1,
        (false, false, Some(entry)) => judgement
            .findings
            .push(format!("{case}: holds for both: the divergence {}/{} is stale", entry.agent, entry.id)),
        (true, true, _) => judgement.findings.push(format!(
            "{case}: holds for neither, so the case is wrong\n    theirs:{}\n    ours:{}",
            told(pair.theirs),
            told(pair.ours)
        )),
        (_, _, Some(entry)) => judgement.intended.push((case.to_owned(), entry.id.clone())),
        (true, false, None) => judgement
            .findings
            .push(format!("{case}: holds for ours alone, and no divergence names it{}", told(pair.theirs))),
        (false, true, None) => judgement
            .findings
            .push(format!("{case}: holds for theirs alone, and no divergence names it{}", told(pair.ours))),
    }
}

/// The outcome's findings and evidence, indented below the line they belong to.
fn told(outcome: &Outcome) -> String {
    let mut text = String::new();
    for finding in &outcome.verdict.findings {
        let _ = write!(text, "\n    {}", finding.what);
        for line in finding.evidence.iter().flat_map(|evidence| evidence.lines()) {
            let _ = write!(text, "\n      {line}");
        }
    }
    text
}

fn wrong_with(
    entry: &Divergence,
    entries: &[Divergence],
    known: &[String],
    agents: &[String],
) -> Vec<String> {
    let mut wrong = Vec::new();
    let is_about = |agent: &str| {
        agent == entry.agent || entry.agent.strip_suffix("/*").is_some_and(|f| agent.starts_with(f))
    };
    for case in &entry.cases {
        let agent = case.split('/').next().unwrap_or_default();
        if !known.contains(case) {
            wrong.push(format!("no case is called {case}"));
        } else if !is_about(agent) {
            wrong.push(format!("{case} is about another agent"));
        } else if entries.iter().filter(|other| other.cases.contains(case)).count() > 1 {
            wrong.push(format!("{case} is named by another divergence, too"));
        }
    }
    let has_cases = |agent: &str| known.iter().any(|case| case.split('/').next() == Some(agent));
    let compared = agents.iter().any(|agent| is_about(agent) && has_cases(agent));
    if let Some(shown) = entry.shown.as_ref().filter(|_| entry.shown_by_nothing) {
        wrong.push(format!("'shown' names {shown}, which is not there"));
    }
    if compared && entry.cases.is_empty() && entry.shown.is_none() {
        wrong.push("no case shows it: name one in 'cases', or the test that shows it in 'shown'".to_owned());
    }
    wrong
}
