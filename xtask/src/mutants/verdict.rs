//! What came of a mutation: the judge's report weighed against what the entry promises.

use super::list::Mutation;
use serde::Deserialize;
use std::fmt;

/// One line of the judge's report in JSON.
#[derive(Clone, Debug, Deserialize)]
pub struct Outcome {
    pub case: String,
    pub verdict: String,
    #[serde(default)]
    pub why: Option<String>,
}

impl Outcome {
    pub fn is_broken(&self) -> bool {
        self.verdict == "broken"
    }
}

/// How a mutation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// By these cases, one of which its entry names.
    Caught(Vec<String>),
    /// The compiler refused it, as its entry says.
    Refused(String),
    /// Caught, but by none of the cases that its entry names: the entry is false.
    OtherwiseCaught(Vec<String>),
    /// No case broke.
    Survived,
    /// It could not be judged, or is stale.
    Wrong(String),
}

impl Verdict {
    /// Weighs the report of one run: `None` when no case broke.
    pub fn of(mutation: &Mutation, outcomes: &[Outcome]) -> Option<Self> {
        let broken: Vec<String> = outcomes
            .iter()
            .filter(|outcome| outcome.is_broken())
            .map(|outcome| outcome.case.clone())
            .collect();
        let named: Vec<String> =
            broken.iter().filter(|case| mutation.caught_by.contains(case)).cloned().collect();
        if !named.is_empty() {
            Some(Self::Caught(named))
        } else if !broken.is_empty() {
            Some(Self::OtherwiseCaught(broken))
        } else {
            None
        }
    }

    pub const fn is_good(&self) -> bool {
        matches!(self, Self::Caught(_) | Self::Refused(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caught(cases) => write!(f, "by {}", few(cases)),
            Self::Refused(why) => write!(f, "by the compiler: {why}"),
            Self::OtherwiseCaught(cases) => write!(f, "by {}, which its entry does not name", few(cases)),
            Self::Survived => f.write_str("no case of the judge breaks"),
            Self::Wrong(why) => f.write_str(why),
        }
    }
}

impl Verdict {
    /// The word at the beginning of the line.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Caught(_) => "caught",
            Self::Refused(_) => "refused",
            Self::OtherwiseCaught(_) => "MISNAMED",
            Self::Survived => "SURVIVED",
            Self::Wrong(_) => "WRONG",
        }
    }
}

fn few(cases: &[String]) -> String {
    let shown: Vec<&str> = cases.iter().take(3).map(String::as_str).collect();
    let more = cases.len().saturating_sub(shown.len());
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(case: &str, verdict: &str) -> Outcome {
        Outcome { case: case.into(), verdict: verdict.into(), why: None }
    }

    fn mutation() -> Mutation {
        Mutation {
            id: "m".into(),
            agent: "X".into(),
            file: "f".into(),
            find: "a".into(),
            put: "b".into(),
            breaks: "everything".into(),
            caught_by: vec!["X/one".into(), "X/two".into()],
        }
    }

    #[test]
    fn caught_only_by_a_case_that_is_named() {
        let caught = |outcomes: &[Outcome]| Verdict::of(&mutation(), outcomes);
        assert_eq!(
            caught(&[outcome("X/one", "broken"), outcome("X/other", "broken")]),
            Some(Verdict::Caught(vec!["X/one".into()]))
        );
        let other = caught(&[outcome("X/one", "held"), outcome("X/other", "broken")]).unwrap();
        assert_eq!((other.word(), other.is_good()), ("MISNAMED", false));
    }

    #[test]
    fn nothing_broken_and_nothing_judged_catch_nothing() {
        for verdict in ["held", "cannot-judge", "does-not-apply"] {
            assert_eq!(Verdict::of(&mutation(), &[outcome("X/one", verdict)]), None);
        }
        assert_eq!(Verdict::of(&mutation(), &[]), None);
        assert!(!Verdict::Survived.is_good() && !Verdict::Wrong(String::new()).is_good());
    }
}
