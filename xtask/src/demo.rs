//! `demo`: a real cluster loses a node before your eyes, once with our agents and, for comparison, once with upstream's.

mod progress;
mod screen;

use crate::{install, option, packages, switch, text, workspace};
use clap::{Arg, ArgAction, ArgMatches, Command};
use progress::Progress;
use ringfence_tests::cluster::address_plan::node_name;
use ringfence_tests::cluster::failover::{Failover, Stage, double_owners};
use ringfence_tests::cluster::{Agents, Cluster, Fault, Kept, NodeProgram, node_program};
use screen::Run;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The hidden task that a cluster's own processes run.
const HELPER: &str = "__node";
/// The longest a cluster may take to start, and to fail over.
const PATIENCE: Duration = Duration::from_secs(60);
/// A cluster that is not kept ends after this, whatever happens.
const LIFETIME: Duration = Duration::from_secs(180);

/// What the cluster runs on.
const PACKAGES: [&str; 6] =
    ["corosync", "iproute2", "openipmi", "pacemaker", "pacemaker-cli-utils", "util-linux"];
/// What upstream's agents need besides.
const UPSTREAM_PACKAGES: [&str; 3] = ["fence-agents", "ipmitool", "resource-agents"];

pub fn command() -> Command {
    let faults = Fault::ALL.map(Fault::name);
    Command::new("demo")
        .about("Bring a real cluster up in namespaces, break a node and show what happened when")
        .arg(option("nodes", "N", "how many nodes").value_parser(["2", "3"]).default_value("3"))
        .arg(
            option("fault", "FAULT", "what to break on the node that has the address")
                .value_parser(faults)
                .default_value(faults[0]),
        )
        .arg(
            option("compare", "WHOSE", "do the same with other agents and show both")
                .value_parser(["upstream"]),
        )
        .arg(switch("keep", "leave the cluster up and say how to enter it").conflicts_with("down"))
        .arg(switch("down", "take down the clusters that --keep left up"))
        .arg(switch("yes", "install missing Debian packages without asking").short('y'))
        .arg(switch("json", "print the result as JSON"))
        .arg(
            option("agents", "WHOSE", "whose agents")
                .value_parser(["ours", "upstream"])
                .default_value("ours")
                .hide(true),
        )
        .subcommand(
            Command::new(HELPER)
                .about("A process of a test cluster; started by the cluster itself")
                .hide(true)
                .arg(
                    Arg::new("words")
                        .action(ArgAction::Append)
                        .num_args(0..)
                        .trailing_var_arg(true)
                        .allow_hyphen_values(true)
                        .value_parser(clap::value_parser!(OsString)),
                ),
        )
}

/// `Ok(true)`: the node was fenced and the address answers elsewhere, in the right order.
pub fn run(args: &ArgMatches) -> Result<bool, String> {
    if let Some((_, helper_args)) = args.subcommand() {
        let words: Vec<OsString> = helper_args.get_many("words").into_iter().flatten().cloned().collect();
        return Ok(node_program::main(&words) == ExitCode::SUCCESS);
    }
    if args.get_flag("down") {
        return down();
    }
    let nodes: u8 = text(args, "nodes").and_then(|nodes| nodes.parse().ok()).unwrap_or(3);
    let wanted = text(args, "fault").unwrap_or_default();
    let fault = Fault::ALL.into_iter().find(|fault| fault.name() == wanted).ok_or("no such fault")?;
    let compare = args.get_one::<String>("compare").is_some();
    let ours = text(args, "agents") != Some("upstream");
    let json = args.get_flag("json");

    let mut needed = PACKAGES.to_vec();
    if compare || !ours {
        needed.extend(UPSTREAM_PACKAGES);
    }
    packages::ensure(&needed, "the demonstration", args.get_flag("yes"))?;
    let agents = if ours { Agents::Ours { dir: installed()? } } else { Agents::Upstream };

    let mut runs = Vec::new();
    if compare {
        // First, so that the cluster that --keep leaves up is the one with our agents.
        let (run, _) = once(&Agents::Upstream, nodes, fault)?;
        runs.push(run);
    }
    let (run, cluster) = once(&agents, nodes, fault)?;
    runs.insert(0, run);
    let kept = args.get_flag("keep").then(|| cluster.keep().map_err(|why| why.to_string())).transpose()?;

    if json {
        println!("{}", screen::json(&runs, nodes, fault, kept.as_ref()));
    } else {
        print!("{}", screen::table(&runs, nodes, fault, screen::colour_wanted()));
        if let Some(kept) = &kept {
            print!("{}", screen::how_to_enter(kept));
        }
    }
    Ok(runs.iter().all(|run| run.findings.is_empty()))
}

/// Our agents, built for release and laid out as they are installed.
fn installed() -> Result<std::path::PathBuf, String> {
    let mut progress = Progress::new();
    progress.step("building our agents");
    let dir = workspace::target_dir().join("installed");
    install::install(&dir, install::Profile::Release)?;
    Ok(dir)
}

/// One cluster, from nothing to the failover.
fn once(agents: &Agents, nodes: u8, fault: Fault) -> Result<(Run, Cluster), String> {
    let told = |why: ringfence_tests::cluster::ClusterError| why.to_string();
    let whose = if *agents == Agents::Upstream { "upstream" } else { "ringfence" };
    let mut progress = Progress::new();
    let begin = Instant::now();
    progress.step(&format!("{whose}: starting {nodes} nodes of corosync and Pacemaker"));
    let program = std::env::current_exe().map_err(|why| format!("cannot find this program: {why}"))?;
    let cluster = Cluster::builder(NodeProgram::new(program).args(&["demo", HELPER]))
        .nodes(nodes)
        .agents(agents.clone())
        .lifetime(LIFETIME)
        .up()
        .map_err(told)?;
    cluster.wait_until_started(PATIENCE).map_err(told)?;
    let boot = begin.elapsed();
    let holders = cluster.who_has_ip().map_err(told)?;
    let [victim] = holders.as_slice() else {
        return Err(format!("{} nodes have the address, not one", holders.len()));
    };
    let victim = *victim;
    progress.step(&format!(
        "{whose}: started in {:.1} s; {} on {}",
        boot.as_secs_f64(),
        fault.name(),
        node_name(victim)
    ));
    let at = cluster.inject(fault, victim).map_err(told)?;
    let story = watch(&cluster, victim, at, whose, &mut progress)?;
    let mut findings = story.faults();
    findings.extend(double_owners(&cluster.events()));
    Ok((Run { whose, boot, story, findings }, cluster))
}

/// Tells the stages as they come.
fn watch(
    cluster: &Cluster,
    victim: u8,
    fault: i64,
    whose: &str,
    progress: &mut Progress,
) -> Result<Failover, String> {
    let end = Instant::now() + PATIENCE;
    let mut reached = Stage::Fault;
    loop {
        let story = Failover::of(&cluster.events(), victim, fault);
        if story.is_complete() {
            return Ok(story);
        }
        if let Some(latest) = story.steps.iter().filter(|step| step.at.is_some()).map(|step| step.stage).max()
            && latest > reached
        {
            reached = latest;
            progress.step(&format!("{whose}: {}", latest.label()));
        }
        if Instant::now() >= end {
            let folder = std::env::temp_dir().join(format!("ringfence-demo-logs-{}", std::process::id()));
            cluster.save_logs(&folder).map_err(|why| why.to_string())?;
            let seen = story.last_seen();
            return Err(format!(
                "no complete failover after {} s; {seen}; logs: {}",
                PATIENCE.as_secs(),
                folder.display()
            ));
        }
        progress::pause(Duration::from_millis(100));
    }
}

/// Takes down what `--keep` left up.
fn down() -> Result<bool, String> {
    let kept = Kept::all();
    for cluster in &kept {
        cluster.down().map_err(|why| why.to_string())?;
        println!("taken down: the cluster of pid {}", cluster.init);
    }
    if kept.is_empty() {
        println!("no cluster is up");
    }
    Ok(true)
}
