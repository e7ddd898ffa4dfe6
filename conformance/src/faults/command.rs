//! The command line of `faults`, and the process of a worker.

use super::order::{Kind, Order};
use super::{crew, power, process, survey, table};
use crate::case::Parameters;
use crate::host;
use crate::subject::{Family, Subject};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

pub fn command() -> Command {
    Command::new("faults")
        .about("puts faults between agents and what they need, and looks whether a success was ever false")
        .arg(Arg::new("path").help("agents").num_args(1..).required(true))
        .arg(
            Arg::new("schedules")
                .long("schedules")
                .help("how many schedules of faults")
                .value_name("N")
                .default_value("200"),
        )
        .arg(
            Arg::new("seed")
                .long("seed")
                .help("of the first schedule; the others count up from it")
                .value_name("N")
                .default_value("1"),
        )
        .arg(
            Arg::new("kind")
                .long("kind")
                .help("where the faults are: udp for an IPMI agent, else process, unless told")
                .value_parser(Kind::WORDS),
        )
        .arg(
            Arg::new("param")
                .long("param")
                .help("a parameter the agents need, as NAME=VALUE")
                .action(ArgAction::Append)
                .value_name("WORD"),
        )
        .arg(Arg::new("jobs").long("jobs").short('j').help("schedules at once").value_name("N"))
        .arg(
            Arg::new("format")
                .long("format")
                .help("form of the report")
                .value_parser(["text", "json"])
                .default_value("text"),
        )
        .arg(Arg::new("output").long("output").short('o').help("file for the report").value_name("FILE"))
        .arg(
            Arg::new("verbose")
                .long("verbose")
                .short('v')
                .help("show every call of every finding")
                .action(ArgAction::SetTrue),
        )
}

pub fn worker_command() -> Command {
    Command::new("__faults").hide(true).arg(Arg::new("order").required(true))
}

fn number(args: &ArgMatches, name: &str) -> Result<Option<u64>, String> {
    let Some(text) = args.get_one::<String>(name) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| format!("--{name} {text}: not a number"))
}

/// Where the faults are when nobody says.
fn kind_of(subject: &Subject) -> Kind {
    if subject.family == Family::Fence && super::device::is_ipmi(subject) { Kind::Udp } else { Kind::Process }
}

/// Carries out all schedules on all agents. 0: no findings; 1: findings; 2: something could not be judged.
pub fn run(args: &ArgMatches) -> Result<u8, String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("needs root: each schedule gets namespaces of its own".to_owned());
    }
    let mut params = Parameters::new();
    for pair in args.get_many::<String>("param").into_iter().flatten() {
        let (name, value) = pair.split_once('=').ok_or_else(|| format!("--param {pair}: not NAME=VALUE"))?;
        params.push((name.to_owned(), value.to_owned()));
    }
    let count = number(args, "schedules")?.unwrap_or(200);
    let first = number(args, "seed")?.unwrap_or(1);
    let last = first.checked_add(count).ok_or("--seed and --schedules: too large")?;
    if count == 0 {
        return Err("--schedules 0: nothing would be judged".to_owned());
    }
    let mut sheets = Vec::new();
    for path in args.get_many::<String>("path").into_iter().flatten() {
        let sheet = Subject::recognise(Path::new(path)).and_then(|subject| {
            let kind = args
                .get_one::<String>("kind")
                .and_then(|word| Kind::named(word))
                .unwrap_or_else(|| kind_of(&subject));
            if kind != Kind::Process && subject.family == Family::Resource {
                return Err(format!("{path}: a resource agent has no device, only --kind process"));
            }
            let order = Order {
                subject: subject.path.clone(),
                kind,
                params: params.clone(),
                seeds: (first..last).collect(),
                survey: None,
            };
            let jobs = number(args, "jobs")?.and_then(|jobs| usize::try_from(jobs).ok());
            crew::work(&subject.name, &order, jobs)
        });
        match sheet {
            Ok(sheet) => sheets.push(sheet),
            Err(why) => sheets.push(table::Sheet::unjudged(path, why)),
        }
    }
    let text = if args.get_one::<String>("format").is_some_and(|form| form == "json") {
        table::json(&sheets)?
    } else {
        table::text(&sheets, args.get_flag("verbose") || count == 1)
    };
    match args.get_one::<String>("output") {
        Some(file) => std::fs::write(file, text).map_err(|why| format!("{file}: {why}"))?,
        None => std::io::stdout().write_all(text.as_bytes()).map_err(|why| format!("stdout: {why}"))?,
    }
    Ok(table::status(&sheets))
}

/// A worker: makes a host, then a line of JSON for each schedule, or for the survey.
pub fn worker(args: &ArgMatches) -> ExitCode {
    let order = args.get_one::<String>("order").and_then(|text| serde_json::from_str::<Order>(text).ok());
    let Some(order) = order else { return ExitCode::from(2) };
    let ran = host::with_own_host(&order.subject, || {
        let done = Subject::recognise(&order.subject).and_then(|subject| work(&order, &subject));
        match done {
            Ok(()) => 0,
            Err(why) => {
                let _ = writeln!(std::io::stderr(), "{why}");
                2
            }
        }
    });
    match ran {
        Ok(status) => ExitCode::from(status),
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "{why}");
            ExitCode::from(2)
        }
    }
}

fn work(order: &Order, subject: &Subject) -> Result<(), String> {
    let say = |line: Result<String, serde_json::Error>| {
        let line = line.map_err(|why| why.to_string())?;
        writeln!(std::io::stdout(), "{line}").map_err(|why| format!("stdout: {why}"))
    };
    let Some(survey) = &order.survey else {
        return say(serde_json::to_string(&survey::make(order, subject)));
    };
    match order.kind {
        Kind::Udp | Kind::Tcp | Kind::Tls => {
            let mut bench = power::Bench::new(order.kind, subject, survey)?;
            for seed in &order.seeds {
                say(serde_json::to_string(&bench.run(*seed)))?;
            }
        }
        Kind::Process => {
            for seed in &order.seeds {
                say(serde_json::to_string(&process::run(*seed, subject, survey)))?;
            }
        }
    }
    Ok(())
}
