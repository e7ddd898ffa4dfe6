//! Carrying cases out: each in a process and a host of its own, several at once, none for longer than it may.

use crate::case::{Case, Parameters, Verdict};
use crate::subject::Subject;
use serde::{Deserialize, Serialize};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A trial that takes longer is ended: the case cannot be judged.
const LONGEST_TRIAL: Duration = Duration::from_secs(300);

/// What a trial's process is told, as one argument.
#[derive(Serialize, Deserialize)]
pub struct Order {
    pub case: String,
    pub subject: PathBuf,
    pub ways: Vec<Parameters>,
    pub seed: u64,
    pub rounds: Option<u64>,
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

    pub fn is_unjudged(&self) -> bool {
        self.verdict.verdict == "cannot-judge"
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

/// Carries out every case that concerns each subject, `jobs` at once, in a stable order of results.
pub fn all(charges: &[Charge], cases: &[&Case], seed: u64, rounds: Option<u64>, jobs: usize) -> Vec<Outcome> {
    let work: Vec<(&Charge, &Case)> = charges
        .iter()
        .flat_map(|charge| {
            cases.iter().filter(|case| case.concerns(&charge.subject)).map(move |case| (charge, *case))
        })
        .collect();
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, Outcome)>> = Mutex::new(Vec::with_capacity(work.len()));
    let progress = Progress::new(work.len());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::SeqCst);
                    let Some((charge, case)) = work.get(at) else { break };
                    let outcome = one(charge, case, seed, rounds);
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

/// One trial, in a process of its own.
fn one(charge: &Charge, case: &Case, seed: u64, rounds: Option<u64>) -> Outcome {
    let started = Instant::now();
    let order = Order {
        case: case.id.clone(),
        subject: charge.subject.path.clone(),
        ways: charge.ways.clone(),
        seed,
        rounds,
    };
    let verdict = trial(&order).unwrap_or_else(Verdict::CannotJudge);
    Outcome {
        agent: charge.subject.name.clone(),
        path: charge.subject.path.clone(),
        case: case.id.clone(),
        seconds: (started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
        verdict: verdict.into(),
    }
}

fn trial(order: &Order) -> Result<Verdict, String> {
    let order = serde_json::to_string(order).map_err(|why| why.to_string())?;
    // This very file, also when a newer one has taken its name.
    let me = "/proc/self/exe";
    let mut answer = tempfile::tempfile().map_err(|why| format!("temporary file: {why}"))?;
    let mut complaints = tempfile::tempfile().map_err(|why| format!("temporary file: {why}"))?;
    let clone = |file: &std::fs::File| file.try_clone().map_err(|why| why.to_string());
    #[allow(
        clippy::disallowed_methods,
        reason = "the judge is its own program: it shares nothing with ocf-lib"
    )]
    let mut child = Command::new(me)
        .args(["__trial", &order])
        .stdin(Stdio::null())
        .stdout(clone(&answer)?)
        .stderr(clone(&complaints)?)
        .spawn()
        .map_err(|why| format!("start the trial: {why}"))?;
    let until = Instant::now() + LONGEST_TRIAL;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|why| why.to_string())? {
            break status;
        }
        if Instant::now() > until {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("not ended after {} s", LONGEST_TRIAL.as_secs()));
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
    terminal: bool,
}

impl Progress {
    fn new(of: usize) -> Self {
        Self { of, terminal: std::io::stderr().is_terminal() }
    }

    fn show(&self, done: usize, agent: &str, case: &str) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K{done}/{} {agent} {case}", self.of);
        }
    }

    fn clear(&self) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
