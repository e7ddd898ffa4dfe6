//! The report: a table of counts, and each kind of finding with the seeds that show it.

use super::order::{Ending, Kind, Order, Sort, Told};
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Duration;

/// Seeds that a finding names.
const EXAMPLES: usize = 5;

/// All schedules of one agent.
#[derive(Serialize)]
pub struct Sheet {
    agent: String,
    path: String,
    kind: Option<Kind>,
    params: Vec<String>,
    seconds: f64,
    /// Why there are no schedules.
    #[serde(skip_serializing_if = "Option::is_none")]
    cannot: Option<String>,
    schedules: usize,
    succeeded: usize,
    failed: usize,
    killed: usize,
    late: usize,
    #[serde(rename = "false")]
    false_answers: usize,
    unjudged: usize,
    longest_ms: u64,
    findings: Vec<Finding>,
    #[serde(skip)]
    told: Vec<Told>,
}

/// The same mistake of several schedules.
#[derive(Serialize)]
struct Finding {
    sort: Sort,
    what: String,
    times: usize,
    examples: Vec<Example>,
}

#[derive(Serialize)]
struct Example {
    seed: u64,
    schedule: String,
}

impl Sheet {
    pub fn new(agent: &str, order: &Order, told: Vec<Told>, took: Duration) -> Self {
        let ended = |ending| told.iter().filter(|told| told.ending == Some(ending)).count();
        let mut findings: Vec<Finding> = Vec::new();
        for one in &told {
            for flaw in &one.flaws {
                let example = Example { seed: one.seed, schedule: one.schedule.clone() };
                match findings.iter_mut().find(|known| known.sort == flaw.sort && known.what == flaw.what) {
                    Some(known) => {
                        known.times += 1;
                        if known.examples.len() < EXAMPLES {
                            known.examples.push(example);
                        }
                    }
                    None => findings.push(Finding {
                        sort: flaw.sort,
                        what: flaw.what.clone(),
                        times: 1,
                        examples: vec![example],
                    }),
                }
            }
        }
        findings.sort_by(|a, b| (a.sort, b.times).cmp(&(b.sort, a.times)));
        Self {
            agent: agent.to_owned(),
            path: order.subject.display().to_string(),
            kind: Some(order.kind),
            params: order.params.iter().map(|(name, value)| format!("{name}={value}")).collect(),
            seconds: (took.as_secs_f64() * 10.0).round() / 10.0,
            cannot: None,
            schedules: told.len(),
            succeeded: ended(Ending::Succeeded),
            failed: ended(Ending::Failed),
            killed: ended(Ending::Killed),
            late: ended(Ending::Late),
            false_answers: ended(Ending::False),
            unjudged: told.iter().filter(|told| told.ending.is_none()).count(),
            longest_ms: told.iter().map(|told| told.millis).max().unwrap_or(0),
            findings,
            told,
        }
    }

    /// An agent that nothing could be asked of.
    pub fn unjudged(path: &str, why: String) -> Self {
        Self {
            agent: path.rsplit('/').next().unwrap_or(path).to_owned(),
            path: path.to_owned(),
            kind: None,
            params: Vec::new(),
            seconds: 0.0,
            cannot: Some(why),
            schedules: 0,
            succeeded: 0,
            failed: 0,
            killed: 0,
            late: 0,
            false_answers: 0,
            unjudged: 0,
            longest_ms: 0,
            findings: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Schedules with a flaw of that sort.
    fn count(&self, sort: Sort) -> usize {
        self.told.iter().filter(|told| told.flaws.iter().any(|flaw| flaw.sort == sort)).count()
    }
}

/// Findings outrank what could not be judged.
pub fn status(sheets: &[Sheet]) -> u8 {
    if sheets.iter().any(|sheet| !sheet.findings.is_empty()) {
        1
    } else if sheets.iter().any(|sheet| sheet.cannot.is_some() || sheet.unjudged > 0) {
        2
    } else {
        0
    }
}

pub fn json(sheets: &[Sheet]) -> Result<String, String> {
    serde_json::to_string_pretty(sheets).map(|text| text + "\n").map_err(|why| why.to_string())
}

pub fn text(sheets: &[Sheet], verbose: bool) -> String {
    let mut text = String::new();
    for sheet in sheets {
        tell(&mut text, sheet, verbose);
    }
    text
}

fn tell(text: &mut String, sheet: &Sheet, verbose: bool) {
    if let Some(why) = &sheet.cannot {
        let _ = writeln!(text, "{}: cannot judge: {why}", sheet.path);
        return;
    }
    let kind = sheet.kind.map_or("", Kind::word);
    let _ = writeln!(text, "{}, {kind} faults, {} s", sheet.path, sheet.seconds);
    let mut line = |count: usize, what: &str| {
        let _ = writeln!(text, "  {count:>6} {what}");
    };
    line(sheet.schedules, "schedules");
    line(sheet.succeeded, "succeeded truly");
    line(sheet.failed, "failed honestly");
    if sheet.kind == Some(Kind::Process) {
        line(sheet.killed, "ended by the fault");
    }
    for sort in Sort::ALL {
        line(sheet.count(sort), sort.title());
    }
    if sheet.unjudged > 0 {
        line(sheet.unjudged, "could not be judged");
    }
    let _ = writeln!(
        text,
        "  longest call {:.1} s",
        std::time::Duration::from_millis(sheet.longest_ms).as_secs_f64()
    );
    for finding in &sheet.findings {
        let _ = writeln!(text, "\n  {} times: {}", finding.times, finding.what);
        for example in &finding.examples {
            let _ = writeln!(text, "    seed {}: {}", example.seed, example.schedule);
        }
    }
    let unjudged = sheet.told.iter().filter(|told| told.ending.is_none()).take(EXAMPLES);
    for told in unjudged {
        let why = told.story.last().map_or("", String::as_str);
        let _ = writeln!(text, "\n  not judged: seed {}: {}: {why}", told.seed, told.schedule);
    }
    if verbose {
        let shown = |told: &&Told| {
            let mut examples = sheet.findings.iter().flat_map(|finding| &finding.examples);
            sheet.schedules == 1 || examples.any(|example| example.seed == told.seed)
        };
        for told in sheet.told.iter().filter(shown) {
            let _ = writeln!(text, "\n  seed {}: {}", told.seed, told.schedule);
            for line in &told.story {
                let _ = writeln!(text, "    {line}");
            }
        }
    }
    if let Some(seed) = sheet.findings.iter().flat_map(|finding| &finding.examples).map(|one| one.seed).next()
    {
        let params = sheet.params.iter().fold(String::new(), |all, pair| all + " --param " + pair);
        let _ = writeln!(
            text,
            "\n  again: ringfence-conformance faults {} --kind {kind}{params} --seed {seed} --schedules 1",
            sheet.path
        );
    }
}
