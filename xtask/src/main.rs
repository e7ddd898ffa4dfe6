//! The tasks of this repository: `cargo xtask --help`.
//!
//! One file, one task. What several need stands in a file named for the thing: `process.rs` (running a
//! program), `workspace.rs` (where things lie), `built.rs` (the agents that were built, asked who they are).
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

mod bench;
mod built;
mod demo;
mod generate;
mod install;
mod lab;
mod manpage;
mod metadata;
mod mutants;
mod new_agent;
mod packages;
mod process;
mod qemu_package;
mod summary;
mod test;
mod tidy;
mod workspace;

use clap::{Arg, ArgAction, ArgMatches, Command};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn cli() -> Command {
    Command::new("xtask")
        .bin_name("cargo xtask")
        .about("Ringfence's tasks")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(demo::command())
        .subcommand(test::command("test", "Install what the tests need, then run every check and every test"))
        .subcommand(test::command("ci", "As test, asking nothing: whatever is missing is red"))
        .subcommand(bench::command())
        .subcommand(install::command())
        .subcommand(generate::command())
        .subcommand(tidy::command())
        .subcommand(new_agent::command())
        .subcommand(mutants::command())
        .subcommand(lab::command())
}

fn dispatch(matches: &ArgMatches) -> Result<bool, String> {
    match matches.subcommand() {
        Some(("demo", args)) => demo::run(args),
        Some(("test", args)) => test::run(args, process::env_flag("CI")),
        Some(("ci", args)) => test::run(args, true),
        Some(("bench", args)) => bench::run(args),
        Some(("install", args)) => install::run(args),
        Some(("gen", args)) => generate::run(args),
        Some(("tidy", _)) => tidy::run(),
        Some(("new-agent", args)) => new_agent::run(args),
        Some(("mutants", args)) => mutants::run(args),
        Some(("lab", args)) => lab::run(args),
        _ => Err("no such task".to_owned()),
    }
}

fn main() -> ExitCode {
    match dispatch(&cli().get_matches()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

/// `--name`, a switch.
fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// `--name VALUE`.
fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

fn text<'a>(args: &'a ArgMatches, name: &str) -> Option<&'a str> {
    args.get_one::<String>(name).map(String::as_str)
}

/// A path as the caller's shell means it: `cargo xtask` runs in the caller's folder.
fn path(args: &ArgMatches, name: &str) -> Option<PathBuf> {
    text(args, name).map(|value| Path::new(value).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_each_task_says_what_it_does() {
        let cli = cli();
        cli.clone().debug_assert();
        for task in cli.get_subcommands() {
            let about = task.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(about.len() > 15 && !about.contains('\n'), "{}: '{about}'", task.get_name());
        }
    }
}
