//! Carrying cases out: each in a process and a host of its own, several at once, none for longer than it may.

mod plan;
mod stop;

use crate::case::{Case, Level, Parameters, Verdict};
use crate::limits::{GRACE, Limits};
use crate::subject::Subject;
use plan::{Next, Plan};
use serde::{Deserialize, Serialize};
use std::io::{IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
pub use stop::let_signals_through;

/// What a trial's process is told, as one argument. The subject itself stands on its standard input: metadata may be
/// longer than an argument.
#[derive(Serialize, Deserialize)]
pub struct Order {
    pub case: String,
    pub subject: PathBuf,
    pub limits: Limits,
    pub ways: Vec<Parameters>,
    pub seed: u64,
    pub rounds: Option<u64>,
    /// No host of its own.
    pub on_this_machine: bool,
}

/// A case that was carried out on an agent.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub agent: String,
    pub path: PathBuf,
    pub case: String,
    pub seconds: f64,
    #[serde(flatten)]
    pub verdict: Told,
}

/// The verdict in a form that reads well in JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Told {
    pub verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<crate::case::Finding>,
}

/// The word for what nobody tried.
pub const NOT_CARRIED_OUT: &str = "not-carried-out";

impl From<Verdict> for Told {
    fn from(verdict: Verdict) -> Self {
        let plain = |verdict, why| Self { verdict, why, findings: Vec::new() };
        match verdict {
            Verdict::Held => plain("held", None),
            Verdict::Broken(findings) => Self { verdict: "broken", why: None, findings },
            Verdict::DoesNotApply(why) => plain("does-not-apply", Some(why)),
            Verdict::CannotJudge(why) => plain("cannot-judge", Some(why)),
        }
    }
}

impl Outcome {
    pub fn is_broken(&self) -> bool {
        self.verdict.verdict == "broken"
    }

    /// Nothing is known, because the judge could not tell or did not come to it.
    pub fn is_unjudged(&self) -> bool {
        self.verdict.verdict == "cannot-judge" || self.is_left()
    }

    /// The run ended before it.
    pub fn is_left(&self) -> bool {
        self.verdict.verdict == NOT_CARRIED_OUT
    }

    pub fn held(&self) -> bool {
        self.verdict.verdict == "held"
    }
}

/// A subject with the ways to use it.
pub struct Charge {
    pub subject: Subject,
    pub ways: Vec<Parameters>,
}

/// How cases are carried out.
#[derive(Clone, Copy, Debug)]
pub struct Manner<'a> {
    pub seed: u64,
    pub rounds: Option<u64>,
    /// Trials at once.
    pub jobs: usize,
    pub limits: Limits,
    /// A file that gets each outcome as a line of JSON as soon as it is there.
    pub log: Option<&'a Path>,
}

/// Carries out every case that concerns each subject, `jobs` at once, in a stable order of results. An agent that is
/// slow lets the others go first. After SIGINT, SIGTERM or the run's limit, what is left is told as not carried out.
pub fn all(charges: &[Charge], cases: &[&Case], manner: &Manner<'_>) -> Vec<Outcome> {
    let work: Vec<(&Charge, &Case)> = charges
        .iter()
        .flat_map(|charge| {
            cases.iter().filter(|case| case.concerns(&charge.subject)).map(move |case| (charge, *case))
        })
        .collect();
    let agents = work.iter().map(|(charge, _)| charge.subject.path.as_path());
    let plan = Mutex::new(Plan::new(agents, Duration::from_secs(manner.limits.agent)));
    let results: Mutex<Vec<(usize, Outcome)>> = Mutex::new(Vec::with_capacity(work.len()));
    let log = manner.log.and_then(|file| std::fs::File::create(file).ok()).map(Mutex::new);
    let progress = Progress::new(work.len());
    stop::watch_signals();
    stop::at(manner.limits.run.map(|seconds| Instant::now() + Duration::from_secs(seconds)));
    std::thread::scope(|scope| {
        for _ in 0..manner.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let next = plan.lock().map_or(Next::Over, |mut plan| plan.next());
                    let (at, left) = match next {
                        Next::Over => break,
                        Next::Try(at) => (at, stop::asked()),
                        Next::Leave(at) => {
                            let limit = manner.limits.agent;
                            (at, Some(format!("the agent's trials took {limit} s already: --agent-limit")))
                        }
                    };
                    let Some((charge, case)) = work.get(at) else { break };
                    let outcome = one(charge, case, manner, left);
                    if let Ok(mut plan) = plan.lock() {
                        plan.took(at, Duration::from_secs_f64(outcome.seconds.max(0.0)));
                    }
                    if let Some(mut log) = log.as_ref().and_then(|log| log.lock().ok()) {
                        let line = serde_json::to_string(&outcome).unwrap_or_default();
                        let _ = writeln!(log, "{line}");
                    }
                    if let Ok(mut results) = results.lock() {
                        results.push((at, outcome));
                        progress.show(results.len(), &charge.subject.name, &case.id);
                    }
                }
            });
        }
    });
    progress.clear();
    let mut results = results.into_inner().unwrap_or_default();
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, outcome)| outcome).collect()
}

/// The agents among these files, each asked what it is, several at once; and a line about each that is none.
pub fn recognise(paths: &[&Path], jobs: usize) -> Vec<Result<Subject, String>> {
    let next = AtomicUsize::new(0);
    let known: Mutex<Vec<(usize, Result<Subject, String>)>> = Mutex::new(Vec::with_capacity(paths.len()));
    let progress = Progress::new(paths.len());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::SeqCst);
                    let Some(path) = paths.get(at) else { break };
                    let subject = Subject::recognise(path);
                    if let Ok(mut known) = known.lock() {
                        known.push((at, subject));
                        progress.show(known.len(), &path.display().to_string(), "meta-data");
                    }
                }
            });
        }
    });
    progress.clear();
    let mut known = known.into_inner().unwrap_or_default();
    known.sort_by_key(|(at, _)| *at);
    known.into_iter().map(|(_, subject)| subject).collect()
}

/// One trial, in a process of its own; or, with a reason, none.
fn one(charge: &Charge, case: &Case, manner: &Manner<'_>, left: Option<String>) -> Outcome {
    let started = Instant::now();
    let order = Order {
        case: case.id.clone(),
        subject: charge.subject.path.clone(),
        limits: if case.level == Level::Lab { manner.limits.in_the_lab() } else { manner.limits },
        ways: charge.ways.clone(),
        seed: manner.seed,
        rounds: manner.rounds,
        on_this_machine: case.level == Level::Lab,
    };
    let not = |why| Told { verdict: NOT_CARRIED_OUT, why: Some(why), findings: Vec::new() };
    let verdict = match left {
        Some(why) => not(why),
        None => match trial(&order, &charge.subject) {
            Ok(verdict) => verdict.into(),
            Err(why) => match stop::asked() {
                Some(asked) => not(asked),
                None => Verdict::CannotJudge(why).into(),
            },
        },
    };
    Outcome {
        agent: charge.subject.name.clone(),
        path: charge.subject.path.clone(),
        case: case.id.clone(),
        seconds: (started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
        verdict,
    }
}

fn trial(order: &Order, subject: &Subject) -> Result<Verdict, String> {
    let longest = Duration::from_secs(order.limits.trial) + GRACE;
    let told = serde_json::to_string(order).map_err(|why| why.to_string())?;
    // This very file, also when a newer one has taken its name.
    let me = "/proc/self/exe";
    let temporary = || tempfile::tempfile().map_err(|why| format!("temporary file: {why}"));
    let (mut known, mut answer, mut complaints) = (temporary()?, temporary()?, temporary()?);
    serde_json::to_writer(&known, subject).map_err(|why| why.to_string())?;
    std::io::Seek::rewind(&mut known).map_err(|why| why.to_string())?;
    let clone = |file: &std::fs::File| file.try_clone().map_err(|why| why.to_string());
    #[allow(
        clippy::disallowed_methods,
        reason = "the judge is its own program: it shares nothing with ocf-lib"
    )]
    let mut child = Command::new(me)
        .args(["__trial", &told])
        .stdin(known)
        .stdout(clone(&answer)?)
        .stderr(clone(&complaints)?)
        // An interrupt from the terminal is for the judge alone: it ends its trials itself.
        .process_group(0)
        .spawn()
        .map_err(|why| format!("start the trial: {why}"))?;
    let until = Instant::now() + longest;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|why| why.to_string())? {
            break status;
        }
        let why = if Instant::now() > until {
            Some(format!("not ended after {} s", longest.as_secs()))
        } else {
            stop::asked()
        };
        if let Some(why) = why {
            let _ = child.kill();
            let _ = child.wait();
            return Err(why);
        }
        crate::call::pause(Duration::from_millis(2));
    };
    let (said, complained) = (read(&mut answer), read(&mut complaints));
    let line = said.lines().next_back().unwrap_or_default();
    serde_json::from_str(line).map_err(|_| {
        let told = complained.lines().next_back().unwrap_or("it said nothing");
        format!("the trial gave no verdict ({status}): {told}")
    })
}

fn read(file: &mut std::fs::File) -> String {
    use std::io::{Read, Seek};
    let mut bytes = Vec::new();
    let _ = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A line that is written over itself on a terminal, and nothing elsewhere.
struct Progress {
    of: usize,
    since: Instant,
    terminal: bool,
}

impl Progress {
    fn new(of: usize) -> Self {
        Self { of, since: Instant::now(), terminal: std::io::stderr().is_terminal() }
    }

    fn show(&self, done: usize, agent: &str, case: &str) {
        if self.terminal {
            let seconds = self.since.elapsed().as_secs();
            let (minutes, seconds) = (seconds / 60, seconds % 60);
            let line = format!("\r\x1b[K{done}/{} {minutes}:{seconds:02} {agent} {case}", self.of);
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }

    fn clear(&self) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
