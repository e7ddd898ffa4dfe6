//! What a worker is told and what it tells.

use crate::call::Answer;
use crate::case::Parameters;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where the faults are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Between a fence agent and an IPMI device.
    Udp,
    /// Between a fence agent and a device on TCP.
    Tcp,
    /// The same with TLS.
    Tls,
    /// In the agent's own process, its tools and its host.
    Process,
}

impl Kind {
    pub const WORDS: [&str; 4] = ["udp", "tcp", "tls", "process"];

    pub fn named(word: &str) -> Option<Self> {
        [Self::Udp, Self::Tcp, Self::Tls, Self::Process].into_iter().find(|kind| kind.word() == word)
    }

    pub const fn word(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Process => "process",
        }
    }
}

/// The work of one worker: a survey when there is none yet, else one schedule for each seed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    pub subject: PathBuf,
    pub kind: Kind,
    pub params: Parameters,
    pub seeds: Vec<u64>,
    pub survey: Option<Survey>,
}

/// How the agent does without faults.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Survey {
    /// Why nothing can be judged.
    pub cannot: Option<String>,
    /// Parameters with which the agent works here.
    pub ways: Vec<Parameters>,
    /// For each way: microseconds that each action takes.
    pub times: Vec<Vec<(String, u64)>>,
    /// Programs that it runs, without interpreters.
    pub programs: Vec<String>,
    /// For each way: what can be seen in the host while it runs, and not otherwise.
    pub marks: Vec<Vec<String>>,
}

impl Survey {
    pub fn micros(&self, way: usize, action: &str) -> u64 {
        let times = self.times.get(way).into_iter().flatten();
        times.into_iter().find(|(name, _)| name == action).map_or(100_000, |(_, micros)| *micros)
    }
}

/// How the call with the fault ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// It said success, and that was so.
    Succeeded,
    /// It said that it failed.
    Failed,
    /// The fault was its end.
    Killed,
    /// It did not end within its time.
    Late,
    /// It said what was not so.
    False,
}

/// What kind of wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sort {
    FalseSuccess,
    PastDeadline,
    SessionOpen,
    Panic,
    BadAnswer,
    NotMended,
    LeftBehind,
}

impl Sort {
    pub const ALL: [Self; 7] = [
        Self::FalseSuccess,
        Self::PastDeadline,
        Self::SessionOpen,
        Self::Panic,
        Self::BadAnswer,
        Self::NotMended,
        Self::LeftBehind,
    ];

    pub const fn title(self) -> &'static str {
        match self {
            Self::FalseSuccess => "false successes",
            Self::PastDeadline => "past deadline",
            Self::SessionOpen => "sessions left open",
            Self::Panic => "panics, tracebacks",
            Self::BadAnswer => "answers outside the rules",
            Self::NotMended => "not mended by stop and start",
            Self::LeftBehind => "something left behind",
        }
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Flaw {
    pub sort: Sort,
    /// One sentence: what should be, and what is. The same for the same mistake, without numbers of this schedule.
    pub what: String,
}

/// One schedule that was carried out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Told {
    pub seed: u64,
    /// What was asked and what went wrong, in words.
    pub schedule: String,
    /// `None`: it could not be judged, and `story` says why.
    pub ending: Option<Ending>,
    pub flaws: Vec<Flaw>,
    /// Each call and how it ended.
    pub story: Vec<String>,
    /// Milliseconds of the call with the fault.
    pub millis: u64,
}

impl Told {
    pub fn new(seed: u64) -> Self {
        Self { seed, schedule: String::new(), ending: None, flaws: Vec::new(), story: Vec::new(), millis: 0 }
    }

    pub fn flaw(&mut self, sort: Sort, what: impl Into<String>) {
        self.flaws.push(Flaw { sort, what: what.into() });
    }

    /// Notes a call.
    pub fn note(&mut self, answer: &Answer) {
        let cut = |text: &str| text.trim().chars().take(600).collect::<String>().replace('\n', " | ");
        // What Pacemaker says in every call is of no use to the reader.
        let every = [
            "OCF_RA_",
            "OCF_RESOURCE_",
            "OCF_EXIT_",
            "OCF_RESKEY_CRM_meta_name",
            "OCF_RESKEY_CRM_meta_interval",
        ];
        let words: Vec<&str> = answer
            .call
            .split(' ')
            .filter(|word| !every.iter().any(|start| word.starts_with(start)))
            .collect();
        self.story.push(format!(
            "{}: {} after {:.3} s; out: {}; err: {}",
            words.join(" "),
            answer.end,
            answer.took.as_secs_f64(),
            cut(&answer.out),
            cut(&answer.err)
        ));
    }

    /// The call with the fault has ended; a panic is a flaw whatever it answered.
    pub fn ended(&mut self, answer: &Answer, ending: Ending) {
        self.ending = Some(ending);
        self.millis = u64::try_from(answer.took.as_millis()).unwrap_or(u64::MAX);
        let said = |words: &str| answer.err.contains(words) || answer.out.contains(words);
        for (words, name) in [
            ("Traceback (most recent call last)", "a Python traceback"),
            ("panicked at", "a panic"),
            ("internal error", "an internal error"),
        ] {
            if said(words) {
                self.flaw(Sort::Panic, format!("it ends with a reason, not with {name}"));
            }
        }
    }
}
