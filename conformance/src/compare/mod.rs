//! `compare`: the same cases on two agents of the same name, theirs and ours.

mod divergences;
mod judgement;

use crate::case::Case;
use crate::run::{self, Charge, Outcome};
use crate::subject::Subject;
use clap::{Arg, ArgAction, Command};
use judgement::{Judgement, Pair};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The subcommand, without what it shares with others.
pub fn command() -> Command {
    let folder = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).help(help).value_name("DIR").required(true)
    };
    Command::new("compare")
        .about("carries the same cases out on two agents of the same name (needs root)")
        .arg(folder("theirs", "folder with the agents that are to be replaced"))
        .arg(folder("ours", "folder with the agents that replace them"))
        .arg(
            Arg::new("divergences")
                .long("divergences")
                .help("list of the intended differences")
                .value_name("FILE"),
        )
        .arg(
            Arg::new("agent")
                .long("agent")
                .help("only this agent; else all that both folders have")
                .action(ArgAction::Append)
                .value_name("NAME"),
        )
}

/// What is compared, and how.
pub struct Task<'a> {
    pub theirs: &'a Path,
    pub ours: &'a Path,
    /// Names; empty: every name that both folders have.
    pub agents: Vec<String>,
    pub divergences: Option<&'a Path>,
    pub cases: Vec<&'a Case>,
    /// Names of all cases there are, chosen or not.
    pub known: Vec<String>,
    pub seed: u64,
    pub rounds: Option<u64>,
    pub jobs: usize,
    pub verbose: bool,
}

/// Compares, and tells about it on standard output. 0: all agrees or is intended; 1: findings; 2: it could not judge.
pub fn compare(task: &Task<'_>) -> Result<u8, String> {
    let entries = task.divergences.map(divergences::read).transpose()?.unwrap_or_default();
    let names = names(task)?;
    let mut charges = Vec::new();
    for name in &names {
        for folder in [task.theirs, task.ours] {
            let subject = Subject::recognise(&folder.join(name))?;
            charges.push(Charge { ways: crate::behaviour::ways(name), subject });
        }
    }
    let manner = run::Manner {
        seed: task.seed,
        rounds: task.rounds,
        jobs: task.jobs,
        limits: crate::limits::Limits::default(),
        log: None,
    };
    let outcomes = run::all(&charges, &task.cases, &manner);
    let judgement = judgement::judge(&pairs(task, &charges, &outcomes), &entries, &task.known, &names);
    let text = tell(&judgement, &names, task.verbose);
    std::io::stdout().write_all(text.as_bytes()).map_err(|why| format!("stdout: {why}"))?;
    Ok(status(&judgement))
}

fn names(task: &Task<'_>) -> Result<Vec<String>, String> {
    if !task.agents.is_empty() {
        return Ok(task.agents.clone());
    }
    let files = |folder: &Path| -> Result<Vec<PathBuf>, String> {
        let entries = std::fs::read_dir(folder).map_err(|why| format!("{}: {why}", folder.display()))?;
        Ok(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect())
    };
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let theirs: Vec<String> = files(task.theirs)?.iter().filter_map(name).collect();
    let mut names: Vec<String> =
        files(task.ours)?.iter().filter_map(name).filter(|name| theirs.contains(name)).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    if names.is_empty() {
        return Err(format!("{} and {} have no agent in common", task.theirs.display(), task.ours.display()));
    }
    Ok(names)
}

/// Theirs and ours stand one behind the other in the charges.
fn pairs<'a>(task: &Task<'a>, charges: &[Charge], outcomes: &'a [Outcome]) -> Vec<Pair<'a>> {
    let mut pairs = Vec::new();
    for two in charges.chunks(2) {
        let [theirs, ours] = two else { continue };
        let of = |charge: &Charge, case: &str| {
            outcomes.iter().find(|outcome| outcome.path == charge.subject.path && outcome.case == case)
        };
        for case in &task.cases {
            if let (Some(theirs), Some(ours)) = (of(theirs, &case.id), of(ours, &case.id)) {
                pairs.push(Pair { case: &case.id, behaviour: case.agent.is_some(), theirs, ours });
            }
        }
    }
    pairs
}

fn tell(judgement: &Judgement, names: &[String], verbose: bool) -> String {
    let mut text = String::new();
    for finding in &judgement.findings {
        let _ = writeln!(text, "{finding}");
    }
    for line in &judgement.unjudged {
        let _ = writeln!(text, "not judged: {line}");
    }
    for line in &judgement.about_theirs {
        let line = if verbose { line } else { line.lines().next().unwrap_or_default() };
        let _ = writeln!(text, "about theirs: {line}");
    }
    if verbose {
        for (case, id) in &judgement.intended {
            let _ = writeln!(text, "intended: {case} ({id})");
        }
    }
    let _ = writeln!(
        text,
        "{}: {} agree, {} differ as intended, {} findings, {} contract cases broken by theirs alone, {} not judged, {} do not apply",
        names.join(", "),
        judgement.agree,
        judgement.intended.len(),
        judgement.findings.len(),
        judgement.about_theirs.len(),
        judgement.unjudged.len(),
        judgement.do_not_apply
    );
    text
}

fn status(judgement: &Judgement) -> u8 {
    if !judgement.findings.is_empty() {
        1
    } else if !judgement.unjudged.is_empty() || judgement.agree + judgement.intended.len() == 0 {
        2
    } else {
        0
    }
}
