//! `mutants`: does the judge see what it should? Small defects are put into a copy of our agents, one at a time, and
//! `ringfence-conformance` must find each of them.
//!
//! The agents as they are come first: a judge that is always red catches nothing. When all mutations are asked for, they
//! go through all cases, else through those that the entries name. Then each mutation is built (the next one while the
//! judge looks at the last) and judged with the cases that its entry names; only when these hold, with all others. Green
//! means: every defect was caught by a case that its entry names, or refused by the compiler where the entry says so.

mod bounded;
mod list;
mod verdict;
mod workshop;

use crate::workspace;
use clap::{Arg, ArgMatches, Command};
use list::{List, Mutation};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};
use verdict::{Outcome, Verdict};
use workshop::{Made, Workshop};

/// For all cases on one agent. Most of it is waiting.
const LONGEST_JUDGEMENT: Duration = Duration::from_secs(600);

pub fn command() -> Command {
    Command::new("mutants")
        .about("Put small defects into a copy of the agents; the judge must find each (needs root)")
        .arg(Arg::new("id").help("only these").num_args(0..))
}

pub fn run(args: &ArgMatches) -> Result<bool, String> {
    let ids: Vec<&str> = args.get_many::<String>("id").into_iter().flatten().map(String::as_str).collect();
    all(&ids)
}

/// Every `nth` mutation of the list: a sample that a full run of the tests has time for.
pub fn sample(nth: usize) -> Result<bool, String> {
    let list = list::read(&workspace::root())?;
    let ids: Vec<&str> = list.mutations.iter().step_by(nth).map(|mutation| mutation.id.as_str()).collect();
    all(&ids)
}

/// The whole command; without ids, all mutations. `Ok(false)`: one survives, or the list is wrong.
pub fn all(ids: &[&str]) -> Result<bool, String> {
    let begun = Instant::now();
    if !nix::unistd::geteuid().is_root() {
        return Err("needs root: the judge gives each trial namespaces of its own".to_owned());
    }
    let mut list = list::read(&workspace::root())?;
    if let Some(unknown) = ids.iter().find(|id| !list.mutations.iter().any(|m| m.id == **id)) {
        return Err(format!("no mutation is called {unknown}"));
    }
    list.mutations.retain(|mutation| ids.is_empty() || ids.contains(&mutation.id.as_str()));
    let judge = Judge::build(&list, ids.is_empty())?;
    let wrong = list::wrong(&list, &workspace::root(), &judge.cases);
    for (id, what) in &wrong {
        println!("{:<9} {id}: {what}", "STALE");
    }
    list.mutations.retain(|mutation| !wrong.iter().any(|(id, _)| *id == mutation.id));
    let workshop = Workshop::open()?;
    let agents: BTreeSet<&str> = list.mutations.iter().map(|m| m.agent.as_str()).collect();
    let mut clean = Vec::new();
    for agent in agents {
        match workshop.build(agent, "clean")? {
            Made::Program(path) => clean.push(path),
            Made::Refused(why) => return Err(format!("{agent} does not compile: {why}")),
        }
    }
    println!("{} mutations of {} agents", list.mutations.len(), clean.len());
    let verdicts = judged(&list, &workshop, &judge, &clean)?;
    let good = verdicts.iter().filter(|verdict| verdict.is_good()).count();
    let survived = verdicts.iter().filter(|verdict| **verdict == Verdict::Survived).count();
    let other = list.mutations.len() - good - survived + wrong.len();
    println!(
        "{good} caught, {survived} survived, {other} stale or wrong, in {} s",
        begun.elapsed().as_secs()
    );
    Ok(survived == 0 && other == 0 && good > 0)
}

/// Builds and judges side by side. `Err`: the agents as they are do not satisfy the judge.
fn judged(
    list: &List,
    workshop: &Workshop,
    judge: &Judge,
    clean: &[PathBuf],
) -> Result<Vec<Verdict>, String> {
    let (send, receive) = mpsc::channel::<(&Mutation, Result<Made, String>)>();
    let receive = Mutex::new(receive);
    let verdicts = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for mutation in &list.mutations {
                // Nobody listens any more when the agents as they are were found wanting.
                if send.send((mutation, workshop.build_with(mutation))).is_err() {
                    break;
                }
            }
        });
        let baseline = judge.clean(clean, list, workshop);
        if let Err(why) = baseline {
            // Ends the builder, which would else work on for nobody.
            drop(receive.into_inner());
            return Err(why);
        }
        println!("the agents as they are satisfy the judge");
        // Two at once: most of the time a case waits for something.
        std::thread::scope(|judges| {
            for _ in 0..2 {
                judges.spawn(|| {
                    loop {
                        let next = receive.lock().ok().and_then(|queue| queue.recv().ok());
                        let Some((mutation, made)) = next else { break };
                        let begun = Instant::now();
                        let verdict = weigh(mutation, made, judge, &workshop.report(&mutation.id));
                        println!(
                            "{:<9} {:<36} {verdict} ({:.1} s)",
                            verdict.word(),
                            mutation.id,
                            begun.elapsed().as_secs_f64()
                        );
                        if !verdict.is_good() {
                            println!("          it breaks: {}", mutation.breaks);
                        }
                        if let Ok(mut verdicts) = verdicts.lock() {
                            verdicts.push(verdict);
                        }
                    }
                });
            }
        });
        Ok(())
    })?;
    Ok(verdicts.into_inner().unwrap_or_default())
}

fn weigh(mutation: &Mutation, made: Result<Made, String>, judge: &Judge, report: &Path) -> Verdict {
    let program = match made {
        Err(why) => return Verdict::Wrong(why),
        Ok(Made::Refused(why)) if mutation.is_for_the_compiler() => return Verdict::Refused(why),
        Ok(Made::Refused(why)) => return Verdict::Wrong(format!("does not compile: {why}")),
        Ok(Made::Program(program)) => program,
    };
    for cases in [mutation.caught_by.as_slice(), &[]] {
        match judge.ask(&program, &mutation.agent, cases, report) {
            Err(why) => return Verdict::Wrong(why),
            Ok(outcomes) => {
                if let Some(verdict) = Verdict::of(mutation, &outcomes) {
                    return verdict;
                }
            }
        }
    }
    Verdict::Survived
}

/// The program that judges.
struct Judge {
    program: PathBuf,
    /// Ids of all its cases.
    cases: Vec<String>,
    parameters: std::collections::BTreeMap<String, Vec<String>>,
    /// The agents as they are go through all cases, and not only through those that an entry names.
    whole: bool,
}

impl Judge {
    fn build(list: &List, whole: bool) -> Result<Self, String> {
        let program = workshop::judge()?;
        let listed = bounded::run(workshop::judge_command(&program).arg("list"), LONGEST_JUDGEMENT)?;
        let cases: Vec<String> = listed
            .stdout
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .map(str::to_owned)
            .collect();
        if cases.is_empty() {
            return Err(format!("the judge lists no case: {}", listed.stderr.trim()));
        }
        Ok(Self { program, cases, parameters: list.parameters.clone(), whole })
    }

    /// Its verdicts on an agent; without cases, all that concern it.
    fn ask(
        &self,
        program: &Path,
        agent: &str,
        cases: &[String],
        report: &Path,
    ) -> Result<Vec<Outcome>, String> {
        let mut call = workshop::judge_command(&self.program);
        call.arg("check").arg(program).args(["--format", "json", "--output"]).arg(report);
        for case in cases {
            call.args(["--case", case]);
        }
        for parameter in self.parameters.get(agent).into_iter().flatten() {
            call.args(["--param", parameter]);
        }
        let ended = bounded::run(&mut call, LONGEST_JUDGEMENT)?;
        let text = std::fs::read_to_string(report).unwrap_or_default();
        serde_json::from_str(&text).map_err(|_| {
            // An agent that does not even tell its metadata is no agent to the judge.
            let said = ended.stderr.lines().next_back().unwrap_or("nothing").to_owned();
            format!("the judge gave no report (status {:?}): {said}", ended.code)
        })
    }

    /// The agents without any defect break nothing, and every case that an entry names concerns them.
    fn clean(&self, programs: &[PathBuf], list: &List, workshop: &Workshop) -> Result<(), String> {
        // Side by side, for most of it is waiting.
        let complaints = std::thread::scope(|scope| {
            let judges: Vec<_> = programs
                .iter()
                .map(|program| scope.spawn(move || self.clean_one(program, list, workshop)))
                .collect();
            let broken = |_| vec!["the judgement of the agents as they are broke off".to_owned()];
            judges.into_iter().flat_map(|judge| judge.join().unwrap_or_else(broken)).collect::<Vec<_>>()
        });
        if complaints.is_empty() { Ok(()) } else { Err(complaints.join("\n")) }
    }

    fn clean_one(&self, program: &Path, list: &List, workshop: &Workshop) -> Vec<String> {
        let agent = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let report = workshop.report(&format!("clean-{agent}"));
        let mine = || list.mutations.iter().filter(|mutation| mutation.agent == agent);
        let named = || mine().flat_map(|mutation| &mutation.caught_by).filter(|by| *by != list::COMPILER);
        let cases: Vec<String> = if self.whole { Vec::new() } else { named().cloned().collect() };
        let outcomes = match self.ask(program, &agent, &cases, &report) {
            Ok(outcomes) => outcomes,
            Err(why) => return vec![format!("{agent}: {why}")],
        };
        let mut complaints: Vec<String> = outcomes
            .iter()
            .filter(|outcome| outcome.is_broken())
            .map(|outcome| format!("{agent} breaks {} without a mutation", outcome.case))
            .collect();
        for by in named() {
            let complaint = match outcomes.iter().find(|outcome| outcome.case == *by) {
                Some(outcome) if outcome.verdict == "held" || outcome.is_broken() => continue,
                Some(outcome) => {
                    let why = outcome.why.as_deref().unwrap_or_default();
                    format!("{by} says nothing about {agent}: {} {why}", outcome.verdict)
                }
                None => format!("{by} is not a case for {agent}"),
            };
            if !complaints.contains(&complaint) {
                complaints.push(complaint);
            }
        }
        complaints
    }
}
