//! `JUnit` XML: a suite for each agent; a finding is a failure, what could not be judged an error.

use super::{counts, escaped};
use crate::run::Outcome;
use std::fmt::Write;

pub(super) fn write(outcomes: &[Outcome]) -> String {
    let (_, broken, unjudged, others) = counts(outcomes);
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let totals = |tests: usize, broken: usize, unjudged: usize, others: usize| {
        format!("tests=\"{tests}\" failures=\"{broken}\" errors=\"{unjudged}\" skipped=\"{others}\"")
    };
    let all = totals(outcomes.len(), broken, unjudged, others);
    let _ = writeln!(xml, "<testsuites name=\"ringfence-conformance\" {all}>");
    for suite in outcomes.chunk_by(|one, other| one.path == other.path) {
        let (_, broken, unjudged, others) = counts(suite);
        let Some(first) = suite.first() else { continue };
        let time: f64 = suite.iter().map(|outcome| outcome.seconds).sum();
        let all = totals(suite.len(), broken, unjudged, others);
        let name = escaped(&first.agent);
        let _ = writeln!(xml, "  <testsuite name=\"{name}\" {all} time=\"{time:.3}\">");
        for outcome in suite {
            one(&mut xml, outcome);
        }
        xml.push_str("  </testsuite>\n");
    }
    xml + "</testsuites>\n"
}

fn one(xml: &mut String, outcome: &Outcome) {
    let (agent, case) = (escaped(&outcome.agent), escaped(&outcome.case));
    let _ =
        write!(xml, "    <testcase classname=\"{agent}\" name=\"{case}\" time=\"{:.3}\"", outcome.seconds);
    if outcome.held() {
        xml.push_str("/>\n");
        return;
    }
    xml.push_str(">\n");
    let why = escaped(outcome.verdict.why.as_deref().unwrap_or_default()).replace('\n', "&#10;");
    if outcome.is_unjudged() {
        let _ = writeln!(xml, "      <error message=\"{why}\"/>");
    } else if outcome.is_broken() {
        // Readers expect one failure in a test case; the findings stand in it one after the other.
        let findings = &outcome.verdict.findings;
        let first = findings.first().map(|finding| finding.what.as_str()).unwrap_or_default();
        let more =
            if findings.len() > 1 { format!(" (and {} more)", findings.len() - 1) } else { String::new() };
        let message = escaped(first).replace('\n', "&#10;");
        let _ = write!(xml, "      <failure message=\"{message}{more}\">");
        for finding in findings {
            let evidence = finding.evidence.as_deref().unwrap_or_default();
            let _ = write!(xml, "{}\n{}\n\n", escaped(&finding.what), escaped(evidence));
        }
        xml.push_str("</failure>\n");
    } else {
        let _ = writeln!(xml, "      <skipped message=\"{why}\"/>");
    }
    xml.push_str("    </testcase>\n");
}

#[cfg(test)]
mod tests {
    use crate::document;
    use crate::report::samples::{HOSTILE, outcomes};

    #[test]
    fn it_is_xml_with_true_counts_and_says_what_was_found() {
        let root = document::parse(&super::write(&outcomes())).unwrap();
        for (name, number) in [("tests", "4"), ("failures", "1"), ("errors", "1"), ("skipped", "1")] {
            assert_eq!(root.attribute(name), Some(number), "{name}");
        }
        let suites: Vec<_> = root.all("testsuite").collect();
        assert_eq!(suites.len(), 2);
        let cases: Vec<_> = suites.iter().flat_map(|suite| suite.all("testcase")).collect();
        let failure = cases.iter().find_map(|case| case.first("failure")).unwrap();
        assert!(failure.text.contains(&HOSTILE.replace(['\u{1b}', '\r'], "\u{fffd}")), "{}", failure.text);
        assert_eq!(cases.iter().filter(|case| case.children.is_empty()).count(), 1);
    }

    #[test]
    fn no_character_breaks_the_document() {
        for code in (0..0x110).chain([0xd7ff, 0xfffe, 0xffff, 0x1f600]) {
            let Some(c) = char::from_u32(code) else { continue };
            let mut all = outcomes();
            all[0].agent = format!("a{c}b");
            document::parse(&super::write(&all)).unwrap();
        }
    }
}
