//! One schedule of a process-level fault on a resource agent, and whether what it answered was true.
//!
//! The truth is seen twice: what the host shows while the resource runs and not otherwise (addresses, state files), and what
//! a monitor without the fault says.

use super::order::{Ending, Sort, Survey, Told};
use super::wrong::Wrong;
use crate::call::{Answer, Call, End, pause};
use crate::case::Parameters;
use crate::subject::Subject;
use crate::tool;
use ringfence_conformance::relay::SplitMix64;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// What the agent is told to have, at least, and so many times what it takes without a fault.
const TIMEOUT: Duration = Duration::from_secs(3);
const TIMES: u32 = 4;
/// After its timeout it is killed; this is for a loaded machine.
const MARGIN: Duration = Duration::from_millis(600);
/// What runs in the background may take so long to end.
const GRACE: Duration = Duration::from_secs(4);

/// A call without a fault: its patience is the manager's for a loaded machine.
pub fn clean(subject: &Subject, action: &str, way: &Parameters) -> Call {
    subject.call(action).params(way)
}

/// Everything that a resource could leave in the host, a line each, without moments and numbers that change by themselves.
pub fn shown() -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for line in tool::output("ip", &["-o", "address", "show"]).unwrap_or_default().lines() {
        let words: Vec<&str> = line.split_whitespace().skip(1).take(3).collect();
        lines.insert(format!("address {}", words.join(" ")));
    }
    for family in ["-4", "-6"] {
        for line in tool::output("ip", &[family, "route", "show"]).unwrap_or_default().lines() {
            lines.insert(format!("route {}", line.split("expires").next().unwrap_or_default().trim()));
        }
    }
    for line in std::fs::read_to_string("/proc/self/mounts").unwrap_or_default().lines() {
        let words: Vec<&str> = line.split(' ').take(2).collect();
        lines.insert(format!("mount {}", words.join(" ")));
    }
    for folder in ["/run/resource-agents", "/run/lock", "/run/tmp", "/tmp"] {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            lines.insert(format!("file {}", entry.path().display()));
        }
    }
    // The kernel's own link-local addresses come when their duplicate detection is over.
    lines.retain(|line| !line.contains(" fe80:"));
    lines
}

/// Processes of the trial's host beside the judge.
fn others() -> Vec<String> {
    let own = std::process::id().to_string();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| *name != own && name.parse::<u32>().is_ok())
        .filter_map(|pid| std::fs::read(format!("/proc/{pid}/cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " ").trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

struct Scene<'a> {
    subject: &'a Subject,
    way: &'a Parameters,
    /// What can be seen only while it runs.
    marks: &'a [String],
    told: &'a mut Told,
}

impl Scene<'_> {
    fn clean(&mut self, action: &str) -> Result<Answer, String> {
        let answer = clean(self.subject, action, self.way).run()?;
        self.told.note(&answer);
        Ok(answer)
    }

    fn must(&mut self, action: &str) -> Result<(), String> {
        let answer = self.clean(action)?;
        if answer.is(0) { Ok(()) } else { Err(format!("{action} without a fault is {}", answer.end)) }
    }

    /// Marks that are there now, and those that are not.
    fn marks(&self) -> (Vec<&String>, Vec<&String>) {
        let now = shown();
        self.marks.iter().partition(|mark| now.contains(*mark))
    }
}

/// What is asked, and in which state.
fn draw(random: &mut SplitMix64, subject: &Subject) -> (&'static str, &'static [&'static str]) {
    let roles = subject.has_action("promote") && subject.has_action("demote");
    match random.below(if roles { 14 } else { 10 }) {
        0..4 => ("start", &[]),
        4..7 => ("stop", &["start"]),
        7 => ("stop", &[]),
        8 => ("monitor", &["start"]),
        9 => ("monitor", &[]),
        10 | 11 => ("promote", &["start"]),
        // Before a stop a manager demotes.
        _ => ("demote", &["start", "promote"]),
    }
}

pub fn schedule(
    seed: u64,
    subject: &Subject,
    survey: &Survey,
    more: u32,
    told: &mut Told,
) -> Result<(), String> {
    let mut random = SplitMix64::new(seed ^ 0x4E50_4C00);
    let (action, before) = draw(&mut random, subject);
    let which = usize::try_from(random.below(survey.ways.len() as u64)).unwrap_or(0);
    let way = survey.ways.get(which).ok_or("no way to start it")?;
    let wrong = Wrong::draw(&mut random, survey, which, action);
    let params = way.iter().fold(String::new(), |all, (name, value)| all + " " + name + "=" + value);
    let state = if before.is_empty() { "what is stopped" } else { "what runs" };
    told.schedule = format!("{action} of {state}{params}; {wrong}");
    let marks = survey.marks.get(which).map(Vec::as_slice).unwrap_or_default();
    let mut scene = Scene { subject, way, marks, told };
    let at_first = shown();
    for action in before {
        scene.must(action)?;
    }
    let timeout = (TIMEOUT + Duration::from_micros(survey.micros(which, action)) * TIMES) * more;
    let call = clean(subject, action, way).param("CRM_meta_timeout", timeout.as_millis().to_string());
    let answer = wrong.run(&call.patience(timeout + MARGIN + wrong.paused()))?;
    scene.told.note(&answer);
    let state = scene.clean("monitor")?;
    judge(&mut scene, action, !before.is_empty(), &wrong, &answer, &state);
    if answer.took > timeout + wrong.paused() {
        let what =
            format!("{action} ends by itself within its timeout with {}, and it does not", wrong.kind());
        scene.told.flaw(Sort::PastDeadline, what);
    }
    if mend(&mut scene, action, &wrong)? {
        left(&mut scene, &at_first, action, &wrong);
    }
    Ok(())
}

fn judge(scene: &mut Scene<'_>, action: &str, ran: bool, wrong: &Wrong, answer: &Answer, state: &Answer) {
    let kind = wrong.kind();
    let (there, missing) = scene.marks();
    let (there, missing) =
        (there.first().map(|mark| (*mark).clone()), missing.first().map(|mark| (*mark).clone()));
    let code = state.code();
    let lie = match (action, answer.code()) {
        ("start" | "demote", Some(0)) if !matches!(code, Some(0 | 8 | 190)) => {
            Some(format!("{action} said success with {kind}, and a monitor afterwards is {}", state.end))
        }
        ("start", Some(0)) if missing.is_some() => Some(format!(
            "start said success with {kind}, and this is not there: {}",
            missing.unwrap_or_default()
        )),
        ("stop", Some(0)) if code != Some(7) => {
            Some(format!("stop said success with {kind}, and a monitor afterwards is {}", state.end))
        }
        ("stop", Some(0)) if there.is_some() => Some(format!(
            "stop said success with {kind}, and this is still there: {}",
            there.unwrap_or_default()
        )),
        ("promote", Some(0)) if !matches!(code, Some(8 | 191)) => {
            Some(format!("promote said success with {kind}, and a monitor afterwards is {}", state.end))
        }
        ("monitor", Some(7)) if ran && matches!(code, Some(0 | 8)) => {
            Some(format!("monitor said not running with {kind}, of what ran all the time"))
        }
        ("monitor", Some(0 | 8)) if !ran && code == Some(7) => {
            Some(format!("monitor said running with {kind}, of what was stopped all the time"))
        }
        _ => None,
    };
    let succeeded = match action {
        "monitor" => matches!(answer.code(), Some(0 | 7 | 8 | 190)),
        _ => answer.is(0),
    };
    let killed = wrong.ends_it() && matches!(answer.end, End::Signal(9 | 15));
    let ending = match (&lie, answer.end) {
        (Some(_), _) => Ending::False,
        (None, _) if killed => Ending::Killed,
        (None, End::Hung) => Ending::Late,
        (None, _) if succeeded => Ending::Succeeded,
        (None, _) => Ending::Failed,
    };
    scene.told.ended(answer, ending);
    let starved = matches!(wrong, Wrong::LittleMemory(_) | Wrong::FewDescriptors(_));
    if starved {
        scene.told.flaws.retain(|flaw| flaw.sort != Sort::Panic);
    }
    if let Some(lie) = lie {
        scene.told.flaw(Sort::FalseSuccess, lie);
    }
    if let End::Signal(signal) = answer.end
        && !killed
        && !starved
    {
        let what = format!("{action} ends with an exit status with {kind}, and died by signal {signal}");
        scene.told.flaw(Sort::BadAnswer, what);
    }
}

/// The fault is over: stop and start work again, whatever the call left. Whether they did.
fn mend(scene: &mut Scene<'_>, action: &str, wrong: &Wrong) -> Result<bool, String> {
    let after = format!("after {action} with {}", wrong.kind());
    if scene.subject.has_action("demote") && matches!(scene.clean("monitor")?.code(), Some(8 | 191)) {
        let answer = scene.clean("demote")?;
        if !answer.is(0) {
            let what = format!("a demote works {after}, and it is {}", answer.end);
            scene.told.flaw(Sort::NotMended, what);
            return Ok(false);
        }
    }
    for (next, codes) in [
        ("stop", &[0][..]),
        ("monitor", &[7]),
        ("start", &[0]),
        ("monitor", &[0, 8, 190]),
        ("stop", &[0]),
        ("monitor", &[7]),
    ] {
        let answer = scene.clean(next)?;
        if !answer.code().is_some_and(|code| codes.contains(&code)) {
            let what = format!("stop and start work {after}, and {next} is {}", answer.end);
            scene.told.flaw(Sort::NotMended, what);
            return Ok(false);
        }
    }
    Ok(true)
}

/// Nothing is left in the host, and no process, once it has been stopped.
fn left(scene: &mut Scene<'_>, at_first: &BTreeSet<String>, action: &str, wrong: &Wrong) {
    let until = Instant::now() + GRACE;
    loop {
        let more: Vec<String> = shown().difference(at_first).cloned().collect();
        // A tool that was made to hang hangs on: that is the judge's doing.
        let running = if wrong.hangs_a_tool() { Vec::new() } else { others() };
        if more.is_empty() && running.is_empty() {
            return;
        }
        if Instant::now() > until {
            let rest: Vec<String> = more.into_iter().chain(running).collect();
            scene.told.story.push(format!("left: {}", rest.join("; ")));
            let kind = wrong.kind();
            let what = format!(
                "nothing is left after a stop that followed {action} with {kind}, and there is more than before"
            );
            scene.told.flaw(Sort::LeftBehind, what);
            return;
        }
        pause(Duration::from_millis(20));
    }
}
