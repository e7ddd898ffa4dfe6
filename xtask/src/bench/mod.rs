//! `bench`: ours and upstream's agents on the same work in the same run, pair by pair, alternately.
//!
//! Wall and CPU come from wait4, processes and memory from a traced run of their own. Minima and ratios are
//! what to quote: on a busy machine single walls say little.

mod bed;
mod call;
mod cases;
mod figures;
mod limits;
mod processes;
mod report;

use crate::built::{self, Profile};
use crate::{option, packages, path, process, switch, text, workspace};
use bed::Bed;
use call::{Call, Sample};
use cases::{Case, Subject};
use clap::{ArgMatches, Command};
use figures::Figures;
use std::path::PathBuf;

const PACKAGES: [&str; 7] =
    ["fence-agents", "gnutls-bin", "ipmitool", "iproute2", "openipmi", "resource-agents", "util-linux"];

/// Calls per subject and case when nothing is said.
const RUNS: usize = 50;

/// What was measured of one case.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub agent: &'static str,
    pub work: &'static str,
    pub ours: Option<Figures>,
    pub upstream: Option<Figures>,
    /// An empty Rust program, measured between the calls of this case.
    pub empty: Figures,
}

/// What the machine costs without any agent.
pub struct Floors {
    pub empty: Figures,
    pub true_: Figures,
}

pub fn command() -> Command {
    Command::new("bench")
        .about("Measure our agents and upstream's on the same work in the same run, and print the ratios")
        .arg(option("runs", "N", "calls of each agent per case").default_value("50"))
        .arg(option("json", "FILE", "write the figures as JSON"))
        .arg(option("table", "FILE", "write the table as Markdown"))
        .arg(option("only", "TEXT", "only the cases whose agent or work contains TEXT"))
        .arg(switch("check", "fail when a limit is broken, or could not be measured"))
        .arg(switch("yes", "install missing Debian packages without asking").short('y'))
}

pub fn run(args: &ArgMatches) -> Result<bool, String> {
    let runs = match text(args, "runs").map(str::parse::<usize>) {
        None => RUNS,
        Some(Ok(runs)) if (1..=10_000).contains(&runs) => runs,
        Some(_) => return Err("--runs: a number from 1 to 10000".to_owned()),
    };
    packages::ensure(&PACKAGES, "bench", args.get_flag("yes"))?;
    // Paths of the caller's folder, before anything changes.
    let files: Vec<(&str, PathBuf)> =
        ["json", "table"].into_iter().filter_map(|name| Some((name, path(args, name)?))).collect();
    let agents = built::agents(Profile::Release)?;
    let empty = Call::new(empty_program()?, &[]);
    let bed = Bed::new()?;
    call::start_watchdog();

    let only = text(args, "only").unwrap_or_default();
    let mut outcomes = Vec::new();
    for case in cases::all(&bed, &agents)? {
        if case.agent.contains(only) || case.work.contains(only) {
            println!("==> {} {}", case.agent, case.work);
            outcomes.push(measure(&case, &empty, runs.min(case.runs))?);
        }
    }
    let floors = Floors { empty: alone(&empty, runs)?, true_: alone(&Call::new("/bin/true", &[]), runs)? };
    drop(bed);

    let limits = limits::judge(&outcomes);
    let table = report::table(&floors, &outcomes, &limits);
    println!("\n{table}");
    for (kind, file) in files {
        let content = if kind == "json" {
            format!("{:#}\n", report::json(&floors, &outcomes, &limits))
        } else {
            table.clone()
        };
        workspace::replace(&file, content.as_bytes(), 0o644)?;
    }
    Ok(!args.get_flag("check") || limits.iter().all(|limit| limit.kept == Some(true)))
}

fn measure(case: &Case, empty: &Call, runs: usize) -> Result<Outcome, String> {
    case.prepare.establish()?;
    let measured = alternate(case, empty, runs);
    case.prepare.clear()?;
    let [ours, upstream, floor] = measured?;
    Ok(Outcome {
        agent: case.agent,
        work: case.work,
        ours: case.ours.as_ref().map(|subject| finish(case, subject, &ours)).transpose()?,
        upstream: case.upstream.as_ref().map(|subject| finish(case, subject, &upstream)).transpose()?,
        empty: Figures::of(&floor, processes::count(empty)?, None).ok_or("no samples")?,
    })
}

/// Ours, upstream's, the empty program, ours ...: what else the machine does falls on all alike. The first
/// round warms the caches and is not kept.
fn alternate(case: &Case, empty: &Call, runs: usize) -> Result<[Vec<Sample>; 3], String> {
    let mut samples = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..=runs {
        let taken = [
            case.ours.as_ref().map(|subject| sample(case, subject)).transpose()?,
            case.upstream.as_ref().map(|subject| sample(case, subject)).transpose()?,
            Some(call::once(empty)?),
        ];
        if round > 0 {
            for (list, sample) in samples.iter_mut().zip(taken) {
                list.extend(sample);
            }
        }
    }
    Ok(samples)
}

fn sample(case: &Case, subject: &Subject) -> Result<Sample, String> {
    undo(subject)?;
    let sample = call::once(&subject.call)?;
    expect(case, subject, sample.code)?;
    Ok(sample)
}

fn undo(subject: &Subject) -> Result<(), String> {
    let Some(before) = &subject.before else { return Ok(()) };
    match call::once(before)?.code {
        0 => Ok(()),
        code => Err(format!(
            "{} {} exited {code}: {}",
            before.program.display(),
            before.args.join(" "),
            before.words()
        )),
    }
}

/// A call that did not do the work is no measurement of it.
fn expect(case: &Case, subject: &Subject, code: i32) -> Result<(), String> {
    if code == case.code {
        return Ok(());
    }
    Err(format!(
        "{} {} of {} exited {code}, not {}: {}",
        case.agent,
        case.work,
        subject.call.program.display(),
        case.code,
        subject.call.words()
    ))
}

/// The run that counts processes, and the one that counts datagrams, after all that were timed.
fn finish(case: &Case, subject: &Subject, samples: &[Sample]) -> Result<Figures, String> {
    case.prepare.establish()?;
    undo(subject)?;
    let processes = processes::count(&subject.call);
    case.prepare.clear()?;
    let processes = processes?;
    expect(case, subject, processes.code)?;
    let datagrams = if case.agent.starts_with("fence_") {
        let before = bed::datagrams();
        expect(case, subject, call::once(&subject.call)?.code)?;
        Some(bed::datagrams() - before)
    } else {
        None
    };
    Figures::of(samples, processes, datagrams).ok_or_else(|| "no samples".to_owned())
}

fn alone(call: &Call, runs: usize) -> Result<Figures, String> {
    let samples = (0..runs).map(|_| call::once(call)).collect::<Result<Vec<_>, _>>()?;
    Figures::of(&samples, processes::count(call)?, None).ok_or_else(|| "no samples".to_owned())
}

/// Compiled with the flags of `[profile.release]` and linked as the resource agents are.
fn empty_program() -> Result<PathBuf, String> {
    let folder = workspace::target_dir().join("bench");
    std::fs::create_dir_all(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    let program = folder.join("empty");
    let rustc = process::env_value("RUSTC").unwrap_or_else(|| "rustc".into());
    let flags = [
        "-Copt-level=s",
        "-Clto=fat",
        "-Ccodegen-units=1",
        "-Cstrip=symbols",
        "--edition=2024",
        built::STATIC,
    ];
    process::output_of(
        process::command(rustc)
            .args(flags)
            .arg(workspace::root().join("xtask/floor/empty.rs"))
            .arg("-o")
            .arg(&program),
    )?;
    Ok(program)
}
