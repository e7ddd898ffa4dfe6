//! One page for an administrator who looks: the matrix of agents and cases, each mark a link to what was found.
//!
//! Everything is in the page; without scripts it still shows all of it, with them it can be filtered.

use super::{counts, escaped};
use crate::run::Outcome;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What a case is about, and its tags.
type Known = BTreeMap<String, (String, Vec<String>)>;

pub(super) fn write(outcomes: &[Outcome]) -> String {
    let known: Known =
        crate::suite::all().into_iter().map(|case| (case.id, (case.about, case.tags))).collect();
    let (held, broken, unjudged, others) = counts(outcomes);
    let agents = outcomes.chunk_by(|one, other| one.path == other.path).count();
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>{broken} broken, {held} held: agents under \
         judgement</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{agents} agents under judgement</h1>\n<ul \
         class=\"totals\">\n"
    );
    for (verdict, number, words) in [
        ("held", held, "held"),
        ("broken", broken, "broken"),
        ("cannot-judge", unjudged, "could not be judged"),
        ("does-not-apply", others, "do not apply"),
    ] {
        let _ = writeln!(page, "<li class=\"{verdict}\">{} <b>{number}</b> {words}</li>", mark(verdict));
    }
    page.push_str("</ul>\n");
    filters(&mut page, outcomes, &known);
    matrix(&mut page, outcomes, &known);
    page.push_str("<h2>What was found</h2>\n");
    for (at, outcome) in outcomes.iter().enumerate().filter(|(_, outcome)| has_details(outcome)) {
        details(&mut page, at, outcome, &known);
    }
    about(&mut page, outcomes, &known);
    let _ = write!(page, "<script>\n{SCRIPT}</script>\n</body>\n</html>\n");
    page
}

/// Most of what evidence shows on the page; the whole of it is in the other forms of the report.
const MOST_EVIDENCE: usize = 900;

/// Findings shown of one case and agent.
const MOST_FINDINGS: usize = 8;

/// From so many agents on the page begins with those that have findings.
const MANY: usize = 30;

/// What has something to read; of the rest the mark says all.
fn has_details(outcome: &Outcome) -> bool {
    (outcome.is_broken() || outcome.is_unjudged()) && !outcome.is_left()
}

/// A mark that says the same as the colour.
fn mark(verdict: &str) -> &'static str {
    match verdict {
        "held" => "✓",
        "broken" => "✗",
        "cannot-judge" => "?",
        crate::run::NOT_CARRIED_OUT => "·",
        _ => "–",
    }
}

fn tags(known: &Known, case: &str) -> String {
    escaped(&known.get(case).map(|(_, tags)| tags.join(" ")).unwrap_or_default())
}

fn filters(page: &mut String, outcomes: &[Outcome], known: &Known) {
    let all: BTreeSet<&String> =
        outcomes.iter().filter_map(|outcome| known.get(&outcome.case)).flat_map(|(_, tags)| tags).collect();
    page.push_str(
        "<form id=\"filters\" hidden>\n<label>Agent <input id=\"agent\" type=\"search\"></label>\n<label>Case <input \
         id=\"case\" type=\"search\"></label>\n<label>Tag <select id=\"tag\"><option value=\"\">all</option>",
    );
    for tag in all {
        let _ = write!(page, "<option>{}</option>", escaped(tag));
    }
    let many = outcomes.chunk_by(|one, other| one.path == other.path).count() >= MANY;
    let _ = write!(
        page,
        "</select></label>\n<label class=\"box\"><input id=\"only\" type=\"checkbox\"{}> only agents with \
         findings</label>\n</form>\n",
        if many { " checked" } else { "" }
    );
}

fn matrix(page: &mut String, outcomes: &[Outcome], known: &Known) {
    let mut cases: Vec<&str> = Vec::new();
    for outcome in outcomes {
        if !cases.contains(&outcome.case.as_str()) {
            cases.push(&outcome.case);
        }
    }
    page.push_str("<div class=\"matrix\" tabindex=\"0\">\n<table>\n<thead><tr><th>Agent</th>");
    for case in &cases {
        let (name, about) = (escaped(case), known.get(*case).map_or("", |(about, _)| about));
        let _ = write!(
            page,
            "<th scope=\"col\" data-case=\"{name}\" data-tags=\"{}\" title=\"{}\"><span>{name}</span></th>",
            tags(known, case),
            escaped(about)
        );
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    let mut from = 0;
    for row in outcomes.chunk_by(|one, other| one.path == other.path) {
        let Some(first) = row.first() else { continue };
        let (name, path) = (escaped(&first.agent), escaped(&first.path.display().to_string()));
        let broken = row.iter().filter(|outcome| outcome.is_broken()).count();
        let _ = write!(page, "<tr data-agent=\"{name}\"><th scope=\"row\" title=\"{path}\">{name}");
        if broken > 0 {
            let _ = write!(page, " <small>{broken}</small>");
        }
        page.push_str("</th>");
        for case in &cases {
            let cell = row.iter().zip(from..).find(|(outcome, _)| outcome.case == *case);
            match cell {
                None => page.push_str("<td></td>"),
                Some((outcome, at)) => one_cell(page, outcome, at),
            }
        }
        from += row.len();
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n</div>\n");
}

fn one_cell(page: &mut String, outcome: &Outcome, at: usize) {
    let verdict = outcome.verdict.verdict;
    let mark = mark(verdict);
    if outcome.held() {
        let _ = write!(page, "<td><span class=\"{verdict}\">{mark}</span></td>");
    } else if !has_details(outcome) {
        let why = escaped(outcome.verdict.why.as_deref().unwrap_or_default());
        let _ = write!(page, "<td><span class=\"{verdict}\" title=\"{why}\">{mark}</span></td>");
    } else {
        let title = format!("{}: {} {verdict}", escaped(&outcome.agent), escaped(&outcome.case));
        let bad = i32::from(outcome.is_broken() || outcome.is_unjudged());
        let link = format!("<a class=\"{verdict}\" href=\"#o{at}\" title=\"{title}\">{mark}</a>");
        let _ = write!(page, "<td data-bad=\"{bad}\">{link}</td>");
    }
}

fn details(page: &mut String, at: usize, outcome: &Outcome, known: &Known) {
    let (agent, case) = (escaped(&outcome.agent), escaped(&outcome.case));
    let (verdict, tags) = (outcome.verdict.verdict, tags(known, &outcome.case));
    let _ = writeln!(
        page,
        "<details id=\"o{at}\" data-agent=\"{agent}\" data-case=\"{case}\" data-tags=\"{tags}\"><summary><span \
         class=\"mark {verdict}\">{} {verdict}</span><b>{agent}</b>{case}</summary><div class=\"inside\">",
        mark(verdict)
    );
    if let Some(why) = &outcome.verdict.why {
        let _ = writeln!(page, "<p class=\"what\">{}</p>", escaped(why));
    }
    for finding in outcome.verdict.findings.iter().take(MOST_FINDINGS) {
        let _ = writeln!(page, "<p class=\"what\">{}</p>", escaped(&finding.what));
        if let Some(evidence) = &finding.evidence {
            let _ = writeln!(page, "<pre>{}</pre>", escaped(&cut(evidence)));
        }
    }
    let more = outcome.verdict.findings.len().saturating_sub(MOST_FINDINGS);
    if more > 0 {
        let _ = writeln!(page, "<p class=\"about\">and {more} more</p>");
    }
    page.push_str("</div></details>\n");
}

fn cut(evidence: &str) -> String {
    let shown: String = evidence.chars().take(MOST_EVIDENCE).collect();
    if shown.len() < evidence.len() { shown + " ..." } else { shown }
}

/// What each case asks, once.
fn about(page: &mut String, outcomes: &[Outcome], known: &Known) {
    let cases: BTreeSet<&str> = outcomes.iter().map(|outcome| outcome.case.as_str()).collect();
    page.push_str("<h2>What is asked</h2>\n<dl>\n");
    for case in cases {
        let Some((about, _)) = known.get(case) else { continue };
        let _ = writeln!(page, "<dt>{}</dt><dd>{}</dd>", escaped(case), escaped(about));
    }
    page.push_str("</dl>\n");
}

#[cfg(test)]
mod tests {
    use crate::report::samples::outcomes;

    #[test]
    fn a_run_over_everything_stays_a_page_that_a_browser_likes() {
        let (mut all, long) = (Vec::new(), "evidence & more ".repeat(500));
        for agent in 0..200 {
            for case in 0..84 {
                let mut outcome = outcomes().swap_remove(usize::from(case % 5 != 0));
                outcome.path = format!("/x/agent{agent}").into();
                outcome.case = format!("resource/case-{case}");
                for finding in &mut outcome.verdict.findings {
                    finding.evidence = Some(long.clone());
                }
                all.push(outcome);
            }
        }
        let size = super::write(&all).len();
        assert!(size < 12_000_000, "{size} bytes with a finding in each fifth cell");
    }

    #[test]
    fn nothing_in_it_is_markup_and_nothing_comes_from_elsewhere() {
        let page = super::write(&outcomes());
        assert!(!page.contains("alert(1)</script>") && page.contains("&lt;script&gt;alert(1)"), "escaped");
        assert!(!page.contains("fence_<a>") && page.contains("fence_&lt;a&gt;"), "the name is escaped");
        assert_eq!(page.matches("<script>").count(), 1);
        for outside in ["http:", "https:", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn each_outcome_has_a_mark_and_each_that_has_something_to_read_a_place() {
        let page = super::write(&outcomes());
        for (mark, times) in
            [(">✓</span></td>", 1), (">✗</a></td>", 1), (">?</a></td>", 1), (">–</span></td>", 1)]
        {
            assert_eq!(page.matches(mark).count(), times, "{mark}");
        }
        for at in [0, 3] {
            assert_eq!(page.matches(&format!("href=\"#o{at}\"")).count(), 1, "link to {at}");
            assert_eq!(page.matches(&format!("id=\"o{at}\"")).count(), 1, "place of {at}");
        }
        assert_eq!(page.matches("<details ").count(), 2, "none for what does not apply");
        assert!(page.contains("<b>1</b> broken") && page.contains("<b>1</b> held"), "totals");
    }
}
