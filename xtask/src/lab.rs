//! `lab`: the cases that need a kernel of their own, in QEMU guests (`ringfence_tests::lab`).
//!
//! The first run makes the guests' image (a minute on an idle machine) and keeps it in the user's cache folder; a later one
//! begins at once. The agents are built and installed in the guests, unless `RINGFENCE_INSTALLED` names a tree that has them. The last line is `N passed, N failed`.

use crate::process::{self, cargo};
use crate::summary::{self, Counts};
use crate::{install, option, packages, qemu_package, switch, text, workspace};
use clap::{ArgMatches, Command};
use ringfence_tests::lab;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub fn command() -> Command {
    Command::new("lab")
        .about("Run the cases that need real kernels, in QEMU guests made of Debian's packages")
        .arg(switch("yes", "install missing Debian packages without asking").short('y'))
        .arg(option("only", "FILTER", "run only the cases whose name contains FILTER"))
        .arg(switch("keep", "keep the guests' disks and what they have written, and say where"))
        .arg(switch("prepare", "make image and snapshot, and run nothing"))
}

pub fn run(args: &ArgMatches) -> Result<bool, String> {
    let began = Instant::now();
    let say = |line: &str| println!("[{:4.0} s] {line}", began.elapsed().as_secs_f64());
    let yes = args.get_flag("yes");
    // QEMU last: where the plain way fails there is another.
    let others: Vec<&str> =
        lab::needs::PACKAGES.into_iter().filter(|name| *name != qemu_package::NAME).collect();
    packages::ensure(&others, "the lab", yes)?;
    qemu_package::ensure("the lab", yes)?;
    let missing = lab::needs::missing();
    if !missing.is_empty() {
        return Err(format!("the lab needs {}", missing.join(", ")));
    }
    // Of the chosen cases one that needs OpenZFS makes it itself.
    let only = text(args, "only");
    lab::prepare(only.is_none_or(|filter| filter.contains("zfs")), &say).map_err(|why| why.to_string())?;
    say("guests are ready");
    if args.get_flag("prepare") {
        return Ok(true);
    }

    let given = process::env_value("RINGFENCE_INSTALLED").map(PathBuf::from);
    let tree = given.clone().unwrap_or_else(|| workspace::target_dir().join("installed-lab"));
    if given.is_none() {
        install::install(&tree, install::Profile::Release)?;
    }
    say(&format!("agents are in {}", tree.display()));
    let logs = workspace::target_dir().join("lab-logs");
    let counts = cases(only, args.get_flag("keep"), &tree, &logs)?;
    say(&format!("logs are in {}", logs.display()));
    println!("\n{counts}");
    Ok(counts.failed == 0)
}

fn cases(only: Option<&str>, keep: bool, tree: &Path, logs: &Path) -> Result<Counts, String> {
    let nextest = process::answers(cargo().args(["nextest", "--version"]));
    let mut run = cargo();
    let package = ["--package", "ringfence-tests", "--features", "lab", "--no-fail-fast"];
    if nextest {
        run.args(["nextest", "run", "--color", "never"]).args(package);
        run.args(["--profile", "lab", "--filterset", "binary(/^lab_/)"]).args(only);
    } else {
        run.arg("test").args(package).args(["--test", "lab_*", "--"]).args(only).arg("--test-threads=1");
    }
    run.env("RINGFENCE_INSTALLED", tree).env("RINGFENCE_LAB_LOGS", logs);
    if keep {
        run.env("RINGFENCE_LAB_KEEP", "1");
    }
    let captured = process::show_and_keep(&mut run)?;
    let found = if nextest {
        summary::nextest(&captured.stderr).or_else(|| summary::nextest(&captured.stdout))
    } else {
        summary::cargo_test(&captured.stdout)
    };
    // The filter leaves out what is no case of the lab: that is not skipped.
    let counts = Counts { skipped: 0, ..found.unwrap_or_default() };
    if counts == Counts::default() {
        return Err("no case ran".to_owned());
    }
    Ok(counts.with_exit(captured.ok))
}
