//! What can be said on the command line.

use crate::{compare, faults, report};
use clap::{Arg, ArgAction, Command};

pub fn command() -> Command {
    let many = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).help(help).action(ArgAction::Append).value_name("WORD")
    };
    let seconds =
        |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help).value_name("SECONDS");
    let selection = [
        many("case", "only cases whose name contains this"),
        many("tag", "only cases with this tag"),
        many("level", "only cases of this level: stub, ns, root, lab"),
    ];
    let paths = Arg::new("path").help("agents").num_args(1..).required(true);
    let running = [
        many("param", "a parameter the agents need to run, as NAME=VALUE"),
        Arg::new("seed")
            .long("seed")
            .help("number that random choices come from")
            .value_name("N")
            .default_value("1"),
        Arg::new("rounds")
            .long("rounds")
            .help("random sequences or schedules of each such case, numbered from the seed on")
            .value_name("N"),
        Arg::new("on-this-machine")
            .long("on-this-machine")
            .help("cases of level lab, too: they change this very machine, which must be one that may be spoiled")
            .action(ArgAction::SetTrue),
        Arg::new("jobs").long("jobs").short('j').help("trials at once").value_name("N"),
        seconds("call-limit", "no call of an agent is waited for longer"),
        seconds("trial-limit", "no trial takes longer; what it found until then counts"),
        seconds(
            "agent-limit",
            "the trials of one agent take no longer together, the rest is not carried out",
        ),
        seconds("time-limit", "the whole run takes no longer, the rest is not carried out"),
        Arg::new("log")
            .long("log")
            .help("file that gets each outcome at once, a line of JSON")
            .value_name("FILE"),
        Arg::new("format")
            .long("format")
            .help("form of the report")
            .value_parser(report::WORDS)
            .default_value("text"),
        Arg::new("output").long("output").short('o').help("file for the report").value_name("FILE"),
        Arg::new("verbose").long("verbose").short('v').help("show what held, too").action(ArgAction::SetTrue),
    ];
    let comparing: Vec<Arg> = running
        .iter()
        .filter(|arg| {
            matches!(arg.get_id().as_str(), "seed" | "rounds" | "on-this-machine" | "jobs" | "verbose")
        })
        .cloned()
        .collect();
    Command::new("ringfence-conformance")
        .about("Judges OCF resource agents and fence agents")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("check")
                .about("judges the given agents (needs root: each trial gets namespaces of its own)")
                .arg(paths.clone())
                .args(selection.clone())
                .args(running.clone()),
        )
        .subcommand(compare::command().args(selection.clone()).args(comparing))
        .subcommand(faults::command())
        .subcommand(Command::new("list").about("names the cases").args(selection.clone()))
        .subcommand(
            Command::new("explain")
                .about("says what a case asks and why")
                .arg(Arg::new("name").required(true)),
        )
        .subcommand(
            Command::new("replay")
                .about("carries one case out again, with its seed")
                .arg(paths)
                .args(selection)
                .args(running),
        )
        .subcommand(faults::worker_command())
        .subcommand(Command::new("__manual").hide(true))
        .subcommand(Command::new("__trial").hide(true).arg(Arg::new("order").required(true)))
        .subcommand(Command::new("__model").hide(true).arg(Arg::new("task").required(true)))
}
