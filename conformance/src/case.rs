//! What is asked of an agent, and what the answer can be.

use crate::call::{Answer, Call};
use crate::subject::{Family, Subject};
use serde::{Deserialize, Serialize};

/// What a case needs beside the agent, from little to much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The agent alone.
    Stub,
    /// Namespaces with a network and real daemons of their own.
    Ns,
    /// Kernel objects that namespaces do not separate.
    Root,
    /// A machine with a kernel of its own that may be spoiled: nothing stands between it and the case.
    Lab,
}

impl Level {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Stub => "stub",
            Self::Ns => "ns",
            Self::Root => "root",
            Self::Lab => "lab",
        }
    }
}

/// Parameters of one way to use an agent.
pub type Parameters = Vec<(String, String)>;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// One sentence: what should be, and what is.
    pub what: String,
    /// The call, its end and what it said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
}

/// How a case ended. There is no "skipped": a case that does not concern an agent says why, and a case
/// that could not be carried out is no pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Held,
    Broken(Vec<Finding>),
    DoesNotApply(String),
    CannotJudge(String),
}

/// Why a case ends before its end.
#[derive(Clone, Debug)]
pub enum Stop {
    /// What was found makes the rest meaningless; it has been noted.
    Enough,
    DoesNotApply(String),
    CannotJudge(String),
}

impl From<String> for Stop {
    fn from(why: String) -> Self {
        Self::CannotJudge(why)
    }
}

/// One case on one agent, while it is carried out.
pub struct Trial<'a> {
    pub subject: &'a Subject,
    /// Ways in which the agent can be used on the trial's host; at least one, which may be empty.
    pub ways: &'a [Parameters],
    pub seed: u64,
    /// How many random sequences or schedules; `None`: as many as the case finds right.
    pub rounds: Option<u64>,
    findings: Vec<Finding>,
}

impl<'a> Trial<'a> {
    pub fn new(subject: &'a Subject, ways: &'a [Parameters], seed: u64, rounds: Option<u64>) -> Self {
        Self { subject, ways, seed, rounds, findings: Vec::new() }
    }

    /// Runs a call; one that cannot be started ends the case.
    #[allow(clippy::unused_self, reason = "the trial is where calls are made")]
    pub fn run(&self, call: &Call) -> Result<Answer, Stop> {
        call.run().map_err(Stop::CannotJudge)
    }

    /// Notes something wrong and goes on.
    pub fn find(&mut self, what: impl Into<String>, answer: Option<&Answer>) {
        self.findings.push(Finding { what: what.into(), evidence: answer.map(evidence) });
    }

    /// Notes something wrong that another process of the judge saw.
    pub fn find_told(&mut self, what: impl Into<String>, evidence: Option<String>) {
        self.findings.push(Finding { what: what.into(), evidence });
    }

    /// Notes `what` unless `good`.
    pub fn expect(&mut self, good: bool, what: impl FnOnce() -> String, answer: &Answer) {
        if !good {
            self.find(what(), Some(answer));
        }
    }

    /// The exit code must be one of these.
    pub fn expect_code(&mut self, answer: &Answer, codes: &[i32], doing: &str) {
        let good = answer.code().is_some_and(|code| codes.contains(&code));
        self.expect(good, || format!("{doing}: {} instead of {}", answer.end, wanted(codes)), answer);
    }

    fn into_verdict(self, end: Result<(), Stop>) -> Verdict {
        match end {
            _ if !self.findings.is_empty() => Verdict::Broken(self.findings),
            Ok(()) | Err(Stop::Enough) => Verdict::Held,
            Err(Stop::DoesNotApply(why)) => Verdict::DoesNotApply(why),
            Err(Stop::CannotJudge(why)) => Verdict::CannotJudge(why),
        }
    }
}

fn wanted(codes: &[i32]) -> String {
    codes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

/// The call, its end and what it said, as findings show it.
pub fn evidence(answer: &Answer) -> String {
    let cut = |text: &str| {
        let shown: String = text.chars().take(1500).collect();
        if shown.trim().is_empty() { "(nothing)".to_owned() } else { shown.trim_end().to_owned() }
    };
    format!(
        "{}\n{} after {:.3} s\nstdout: {}\nstderr: {}",
        answer.call,
        answer.end,
        answer.took.as_secs_f64(),
        cut(&answer.out),
        cut(&answer.err)
    )
}

/// Tag of cases that ask for more than the standards do: what follows from how managers act, or from what people do by
/// hand. An agent that fails one need not be at odds with the API.
pub const BEYOND: &str = "beyond";

/// The work of a case.
pub type Judge = Box<dyn Fn(&mut Trial<'_>) -> Result<(), Stop> + Send + Sync>;

/// One thing that is asked.
pub struct Case {
    /// `resource/unknown-action`, `IPaddr2/label`: unique, stable, for reports and selection.
    pub id: String,
    pub family: Family,
    /// Agents this is about; `None`: every agent of the family.
    pub agent: Option<String>,
    pub level: Level,
    pub tags: Vec<String>,
    /// What is asked and why, for `explain`; names the standard's section, manual or thread.
    pub about: String,
    pub judge: Judge,
}

impl Case {
    /// A contract case.
    pub fn contract(
        id: &'static str,
        family: Family,
        tags: &[&str],
        about: &'static str,
        judge: fn(&mut Trial<'_>) -> Result<(), Stop>,
    ) -> Self {
        Self {
            id: id.to_owned(),
            family,
            agent: None,
            level: Level::Stub,
            tags: std::iter::once("contract").chain(tags.iter().copied()).map(str::to_owned).collect(),
            about: about.to_owned(),
            judge: Box::new(judge),
        }
    }

    pub fn concerns(&self, subject: &Subject) -> bool {
        self.family == subject.family && self.agent.as_ref().is_none_or(|agent| *agent == subject.name)
    }

    /// Carries it out. A panic of the judge is the judge's fault, not the agent's.
    pub fn decide(&self, subject: &Subject, ways: &[Parameters], seed: u64, rounds: Option<u64>) -> Verdict {
        let work = std::panic::AssertUnwindSafe(|| {
            let mut trial = Trial::new(subject, ways, seed, rounds);
            let end = (self.judge)(&mut trial);
            trial.into_verdict(end)
        });
        std::panic::catch_unwind(work).unwrap_or_else(|panic| {
            let said = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned());
            Verdict::CannotJudge(format!("the judge failed: {}", said.unwrap_or_default()))
        })
    }
}
