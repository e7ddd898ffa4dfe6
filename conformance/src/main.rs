//! `ringfence-conformance`: judges any OCF resource agent and any fence agent.
//!
//! It depends on none of Ringfence's crates and takes its subject as an argument: what an agent can do is learned from
//! its metadata, what it must do is taken from the OCF resource agent API 1.1 and the fence agent API.
//!
//! Exit status: 0 nothing found, 1 findings, 2 it could not judge.

mod behaviour;
#[allow(dead_code, reason = "a kit for several kinds of cases")]
mod bmc;
mod call;
mod case;
mod command_line;
mod compare;
mod contract;
mod document;
mod faults;
mod host;
mod limits;
mod manual;
mod model;
mod report;
mod run;
mod subject;
mod suite;
mod tool;

use case::{Case, Parameters, Verdict};
use clap::ArgMatches;
use document::Node;
use limits::Limits;
use report::Format;
use run::{Charge, Order, Outcome};
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;
use subject::{Family, Subject};
use suite::Choice;

fn main() -> ExitCode {
    let matches = command_line::command().get_matches();
    if let Err(mistakes) = behaviour::load() {
        let _ =
            writeln!(std::io::stderr(), "{mistakes}\nringfence-conformance: these case files cannot be read");
        return ExitCode::from(2);
    }
    let result = match matches.subcommand() {
        Some(("check", args)) => check(args, None),
        // One sequence or schedule: the one that the seed makes.
        Some(("replay", args)) => check(args, Some(1)),
        Some(("compare", args)) => compare(args),
        Some(("faults", args)) => faults::run(args),
        Some(("list", args)) => Ok(list(&choice(args))),
        Some(("explain", args)) => explain(args),
        Some(("__manual", _)) => manual::print(),
        Some(("__trial", args)) => return trial(args),
        Some(("__faults", args)) => return faults::worker(args),
        Some(("__model", args)) => return model::child(args),
        _ => Ok(2),
    };
    ExitCode::from(result.unwrap_or_else(|why| {
        let _ = writeln!(std::io::stderr(), "ringfence-conformance: {why}");
        2
    }))
}

fn choice(args: &ArgMatches) -> Choice {
    let words = |name| args.get_many::<String>(name).map(|all| all.cloned().collect()).unwrap_or_default();
    // What is only named does no harm.
    let on_this_machine =
        args.try_get_one::<bool>("on-this-machine").ok().flatten().is_none_or(|given| *given);
    Choice { cases: words("case"), tags: words("tag"), levels: words("level"), on_this_machine }
}

/// Trials at once. On one machine there is one at a time.
fn jobs(args: &ArgMatches) -> Result<usize, String> {
    if args.get_flag("on-this-machine") {
        return Ok(1);
    }
    number(args, "jobs", std::thread::available_parallelism().map_or(2, std::num::NonZero::get))
}

fn number<T: std::str::FromStr>(args: &ArgMatches, name: &str, default: T) -> Result<T, String> {
    match args.get_one::<String>(name) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| format!("--{name} {text}: not a number")),
    }
}

fn rounds(args: &ArgMatches) -> Result<Option<u64>, String> {
    match args.get_one::<String>("rounds") {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| format!("--rounds {text}: not a number")),
    }
}

fn limits(args: &ArgMatches) -> Result<Limits, String> {
    let usual = Limits::default();
    Ok(Limits {
        call: number(args, "call-limit", usual.call)?,
        trial: number(args, "trial-limit", usual.trial)?,
        agent: number(args, "agent-limit", usual.agent)?,
        run: match args.get_one::<String>("time-limit") {
            None => usual.run,
            Some(_) => Some(number(args, "time-limit", 0)?),
        },
    })
}

fn check(args: &ArgMatches, rounds_unsaid: Option<u64>) -> Result<u8, String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("needs root: each trial gets namespaces of its own".to_owned());
    }
    let mut way = Parameters::new();
    for pair in args.get_many::<String>("param").into_iter().flatten() {
        let (name, value) = pair.split_once('=').ok_or_else(|| format!("--param {pair}: not NAME=VALUE"))?;
        way.push((name.to_owned(), value.to_owned()));
    }
    let jobs = jobs(args)?;
    let mut charges = Vec::new();
    let mut unknown = 0;
    let paths: Vec<&Path> =
        args.get_many::<String>("path").into_iter().flatten().map(|path| Path::new(path.as_str())).collect();
    for known in run::recognise(&paths, jobs) {
        match known {
            Ok(subject) => charges.push(Charge { ways: ways(&subject, &way), subject }),
            Err(why) => {
                let _ = writeln!(std::io::stderr(), "{why}");
                unknown += 1;
            }
        }
    }
    let choice = choice(args);
    let cases = suite::all();
    let chosen: Vec<&Case> = cases.iter().filter(|case| choice.takes(case)).collect();
    let outcomes = run::all(
        &charges,
        &chosen,
        &run::Manner {
            seed: number(args, "seed", 1)?,
            rounds: rounds(args)?.or(rounds_unsaid),
            jobs,
            limits: limits(args)?,
            log: args.get_one::<String>("log").map(Path::new),
        },
    );
    let left = outcomes.iter().filter(|outcome| outcome.is_left()).count();
    if left > 0 {
        let _ = writeln!(std::io::stderr(), "{left} of {} trials were not carried out", outcomes.len());
    }
    let format = Format::named(args.get_one::<String>("format").map_or("text", String::as_str));
    let text = report::write(format, &outcomes, args.get_flag("verbose"));
    match args.get_one::<String>("output") {
        Some(file) => std::fs::write(file, text).map_err(|why| format!("{file}: {why}"))?,
        None => std::io::stdout().write_all(text.as_bytes()).map_err(|why| format!("stdout: {why}"))?,
    }
    Ok(status(&outcomes, unknown))
}

fn compare(args: &ArgMatches) -> Result<u8, String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("needs root: each trial gets namespaces of its own".to_owned());
    }
    let choice = choice(args);
    let cases = suite::all();
    let path = |name| args.get_one::<String>(name).map(Path::new);
    compare::compare(&compare::Task {
        theirs: path("theirs").ok_or("--theirs is missing")?,
        ours: path("ours").ok_or("--ours is missing")?,
        agents: args.get_many::<String>("agent").map(|all| all.cloned().collect()).unwrap_or_default(),
        divergences: path("divergences"),
        cases: cases.iter().filter(|case| choice.takes(case)).collect(),
        known: cases.iter().map(|case| case.id.clone()).collect(),
        seed: number(args, "seed", 1)?,
        rounds: rounds(args)?,
        jobs: jobs(args)?,
        verbose: args.get_flag("verbose"),
    })
}

/// What was given with `--param`; else what the case files know of the agent; else the defaults that its metadata has for
/// what must be given, if any.
fn ways(subject: &Subject, given: &Parameters) -> Vec<Parameters> {
    if !given.is_empty() {
        return vec![given.clone()];
    }
    let known = behaviour::ways(&subject.name);
    if subject.family == Family::Fence || known.iter().any(|way| !way.is_empty()) {
        return known;
    }
    let default = |parameter: &&Node| {
        let default = parameter.first("content")?.attribute("default").filter(|text| !text.is_empty())?;
        Some((parameter.attribute("name")?.to_owned(), default.to_owned()))
    };
    let parameters = subject.metadata.parameters();
    let required = parameters.iter().filter(|parameter| parameter.attribute("required") == Some("1"));
    vec![required.filter_map(default).collect()]
}

/// Findings outrank what could not be judged; nothing judged at all is no pass.
fn status(outcomes: &[Outcome], unknown: usize) -> u8 {
    if outcomes.iter().any(Outcome::is_broken) {
        1
    } else if unknown > 0 || outcomes.iter().any(Outcome::is_unjudged) || !outcomes.iter().any(Outcome::held)
    {
        2
    } else {
        0
    }
}

fn list(choice: &Choice) -> u8 {
    let mut out = std::io::stdout();
    for case in suite::all().iter().filter(|case| choice.takes(case)) {
        let line = format!("{:<44} {:<5} {}", case.id, case.level.word(), case.tags.join(","));
        if writeln!(out, "{line}").is_err() {
            return 2;
        }
    }
    0
}

fn explain(args: &ArgMatches) -> Result<u8, String> {
    let name = args.get_one::<String>("name").map_or("", String::as_str);
    let cases = suite::all();
    let case =
        cases.iter().find(|case| case.id == name).ok_or_else(|| format!("no case is called {name}"))?;
    let family = case.family.word();
    let text = format!("{}\n{family} agents, level {}\n\n{}\n", case.id, case.level.word(), case.about);
    std::io::stdout().write_all(text.as_bytes()).map_err(|why| format!("stdout: {why}"))?;
    Ok(0)
}

/// The process of one trial: makes its host, carries the case out, prints the verdict as one line of JSON.
fn trial(args: &ArgMatches) -> ExitCode {
    let Some(order) =
        args.get_one::<String>("order").and_then(|text| serde_json::from_str::<Order>(text).ok())
    else {
        return ExitCode::from(2);
    };
    run::let_signals_through();
    limits::begin(order.limits);
    let mut known = String::new();
    let _ = std::io::stdin().read_to_string(&mut known);
    let judge = || {
        let verdict = decide(&order, &known);
        let line = serde_json::to_string(&verdict).unwrap_or_default();
        u8::from(writeln!(std::io::stdout(), "{line}").is_err())
    };
    let ran = if order.on_this_machine {
        std::fs::create_dir_all(host::OWN).map(|()| judge()).map_err(|why| format!("{}: {why}", host::OWN))
    } else {
        host::with_own_host(&order.subject, judge)
    };
    match ran {
        Ok(status) => ExitCode::from(status),
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "{why}");
            ExitCode::from(2)
        }
    }
}

fn decide(order: &Order, known: &str) -> Verdict {
    let cases = suite::all();
    let Some(case) = cases.iter().find(|case| case.id == order.case) else {
        return Verdict::CannotJudge(format!("no case is called {}", order.case));
    };
    let subject = serde_json::from_str::<Subject>(known).map_err(|why| format!("the subject: {why}"));
    match subject {
        Ok(subject) => case.decide(&subject, &order.ways, order.seed, order.rounds),
        Err(why) => Verdict::CannotJudge(why),
    }
}
