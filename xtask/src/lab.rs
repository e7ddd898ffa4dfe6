//! `lab`: the cases that need a kernel of their own, in QEMU guests (`ringfence_tests::lab`).
//!
//! The first run makes the guests' image (a minute on an idle machine) and keeps it in the user's cache folder; a later one
//! begins at once. The agents are built and installed in the guests, unless `RINGFENCE_INSTALLED` names a tree that has them. The last line is `N passed, N failed`.

use crate::process::{self, cargo};
use crate::summary::{self, Counts};
use crate::{install, option, packages, qemu_package, switch, text, workspace};
use clap::{ArgMatches, Command};
use ringfence_tests::lab::{self, Layer};
use std::path::{Path, PathBuf};
use std::time::Instant;

pub fn command() -> Command {
    Command::new("lab")
        .about("Run the cases that need real kernels, in QEMU guests made of Debian's packages")
        .arg(switch("yes", "install missing Debian packages without asking").short('y'))
        .arg(option("only", "FILTER", "run only the cases whose name contains FILTER"))
        .arg(switch("all", "run the long cases, too (tests/lab/long.txt): half an hour instead of a quarter"))
        .arg(switch("keep", "keep the guests' disks and what they have written, and say where"))
        .arg(switch("prepare", "make image and snapshot, and run nothing"))
}

pub fn run(args: &ArgMatches) -> Result<bool, String> {
    let began = Instant::now();
    let say = |line: &str| println!("[{:4.0} s] {line}", began.elapsed().as_secs_f64());
    let yes = args.get_flag("yes");
    ensure(yes)?;
    // A chosen case that needs a layer whose name is not in the filter makes it itself.
    let only = text(args, "only");
    let mut layers = Layer::ALL.to_vec();
    layers.retain(|layer| match only {
        Some(filter) => filter.contains(layer.name()),
        // All cases with Xen are long ones, and so is the building of the hypervisor.
        None => args.get_flag("all") || *layer != Layer::Xen,
    });
    lab::prepare(&layers, &say).map_err(|why| why.to_string())?;
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
    let long = names(LONG);
    let all = if args.get_flag("all") { Chosen::All } else { Chosen::Without(&long) };
    let chosen = only.map_or(all, Chosen::Containing);
    let counts = cases(&chosen, args.get_flag("keep"), &tree, &logs)?;
    say(&format!("logs are in {}", logs.display()));
    println!("\n{counts}");
    Ok(counts.failed == 0)
}

/// What the lab needs of the host.
fn ensure(yes: bool) -> Result<(), String> {
    // QEMU last: where the plain way fails there is another.
    let others: Vec<&str> =
        lab::needs::PACKAGES.into_iter().filter(|name| *name != qemu_package::NAME).collect();
    packages::ensure(&others, "the lab", yes)?;
    qemu_package::ensure("the lab", yes)?;
    let missing = lab::needs::missing();
    if missing.is_empty() { Ok(()) } else { Err(format!("the lab needs {}", missing.join(", "))) }
}

/// Names of the cases that the full test run has of the lab: of each agent's the one that tells the most.
const PASS: &str = include_str!("../../tests/lab/pass.txt");

/// Names of the cases that only a run of all has.
const LONG: &str = include_str!("../../tests/lab/long.txt");

fn names(list: &'static str) -> Vec<&'static str> {
    list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

/// The lab's part in the full test run, with the agents that are installed in `tree`.
pub fn pass(tree: &Path) -> Result<Counts, String> {
    let began = Instant::now();
    ensure(true)?;
    lab::prepare(&[], &|line: &str| println!("[{:4.0} s] {line}", began.elapsed().as_secs_f64()))
        .map_err(|why| why.to_string())?;
    let names = names(PASS);
    let counts = cases(&Chosen::Named(&names), false, tree, &workspace::target_dir().join("lab-logs"))?;
    let ran = usize::try_from(counts.passed + counts.failed).unwrap_or(usize::MAX);
    if ran == names.len() {
        Ok(counts)
    } else {
        Err(format!("{ran} cases ran, and tests/lab/pass.txt names {}", names.len()))
    }
}

enum Chosen<'a> {
    All,
    Without(&'a [&'a str]),
    Containing(&'a str),
    Named(&'a [&'a str]),
}

fn cases(chosen: &Chosen<'_>, keep: bool, tree: &Path, logs: &Path) -> Result<Counts, String> {
    let only: Vec<&str> = match chosen {
        Chosen::All => Vec::new(),
        Chosen::Containing(part) => vec![part],
        Chosen::Without(names) | Chosen::Named(names) => names.to_vec(),
    };
    let without = matches!(chosen, Chosen::Without(_));
    let exact = without || matches!(chosen, Chosen::Named(_));
    let nextest = process::answers(cargo().args(["nextest", "--version"]));
    let mut run = cargo();
    let package = ["--package", "ringfence-tests", "--features", "lab", "--no-fail-fast"];
    if nextest {
        run.args(["nextest", "run", "--color", "never"]).args(package);
        let named: Vec<String> = only.iter().map(|name| format!("test(={name})")).collect();
        let filter = if exact {
            format!("binary(/^lab_/) & {}({})", if without { "not " } else { "" }, named.join(" | "))
        } else {
            "binary(/^lab_/)".into()
        };
        run.args(["--profile", "lab", "--filterset", &filter]);
        run.args(only.iter().filter(|_| !exact));
    } else {
        run.arg("test").args(package).args(["--test", "lab_*", "--"]).arg("--test-threads=1");
        run.args(exact.then_some("--exact"));
        for name in &only {
            run.args(without.then_some("--skip")).arg(name);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_name_cases_that_are_there() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tests");
        let mut source = String::new();
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.file_name().unwrap().to_string_lossy().starts_with("lab_") {
                source += &std::fs::read_to_string(path).unwrap();
            }
        }
        let (pass, long) = (names(PASS), names(LONG));
        assert!(!pass.is_empty() && !long.is_empty());
        for name in pass.iter().chain(&long) {
            assert!(source.contains(&format!("fn {name}()")), "no case {name}");
        }
        assert!(!pass.iter().any(|name| long.contains(name)));
    }
}
