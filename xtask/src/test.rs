//! `test` and `ci`: every check and every test, on a machine that has a Rust toolchain and nothing else.
//!
//! The last line is `N passed, N failed`. A check (format, lints, house rules ...) counts as one.

use crate::process::{self, Captured, cargo};
use crate::summary::{self, Counts};
use crate::{generate, install, lab, mutants, option, packages, switch, text, tidy, workspace};
use clap::{ArgMatches, Command};

/// Debian packages that the tests use: the cluster, the real simulators, upstream's agents to compare with,
/// the tools that must accept our agents, and what observes the kernel.
const PACKAGES: [&str; 39] = [
    "bridge-utils",
    "btrfs-progs",
    "cluster-glue",
    "corosync",
    "crmsh",
    "drbd-utils",
    "e2fsprogs",
    "ethtool",
    "fdisk",
    "fence-agents",
    "gdisk",
    "gnutls-bin",
    "ipmitool",
    "iproute2",
    "iptables",
    "iputils-arping",
    "iputils-ping",
    "kmod",
    "libiscsi-bin",
    "libvirt-clients",
    "libvirt-daemon",
    "libxml2-utils",
    "lvm2",
    "nftables",
    "openipmi",
    "openssh-client",
    "openssh-server",
    "openssl",
    "pacemaker",
    "pacemaker-cli-utils",
    "pcs",
    "procps",
    "psmisc",
    "resource-agents",
    "strace",
    "tcpdump",
    "tgt",
    "util-linux",
    "xfsprogs",
];

pub fn command(name: &'static str, about: &'static str) -> Command {
    Command::new(name)
        .about(about)
        .arg(switch("yes", "install missing Debian packages without asking").short('y'))
        .arg(option("only", "FILTER", "run only the tests whose name contains FILTER, and no other check"))
}

/// `strict`: nobody is there to be asked.
#[allow(clippy::unnecessary_wraps, reason = "every task answers so")]
pub fn run(args: &ArgMatches, strict: bool) -> Result<bool, String> {
    let yes = strict || args.get_flag("yes");
    let only = text(args, "only");
    let mut total = Counts::default();

    total.add(check("packages", || packages::ensure(&PACKAGES, "the tests", yes).map(|()| true)));
    if only.is_none() {
        total.add(check("format", || process::succeeds(cargo().args(["fmt", "--all", "--check"]))));
        total.add(check("lints", || {
            // The lab's cases too, which run under a task of their own.
            let of = ["--workspace", "--all-targets", "--features", "ringfence-tests/lab", "--quiet"];
            process::succeeds(cargo().arg("clippy").args(of).args(["--", "-D", "warnings"]))
        }));
        total.add(check("house rules", tidy::run));
        total.add(check("generated files", || generate::check(false)));
    }
    total.add(tests(only, strict));
    if only.is_none() {
        total.add(doc_tests());
        // Each is a build of its own, and all of them are `cargo xtask mutants`.
        if strict {
            total.add(check("a sample of the seeded defects", || mutants::sample(8)));
            total.add(real_kernels());
        }
        total.add(deny());
    }
    println!("\n{total}");
    Ok(total.failed == 0)
}

fn check(name: &str, run: impl FnOnce() -> Result<bool, String>) -> Counts {
    println!("==> {name}");
    let ok = run().unwrap_or_else(|why| {
        eprintln!("{why}");
        false
    });
    if !ok {
        println!("==> {name}: FAILED");
    }
    Counts::check(ok)
}

/// The cases of the lab that fit into a full run; all of them are `cargo xtask lab`.
fn real_kernels() -> Counts {
    println!("==> real kernels (a part of the lab)");
    lab::pass(&workspace::target_dir().join("installed")).unwrap_or_else(|why| {
        eprintln!("{why}\n==> real kernels: FAILED");
        Counts::check(false)
    })
}

/// The agents as they are installed, for the tests that hand them to other programs.
fn install_tree() -> Result<std::path::PathBuf, String> {
    let dir = workspace::target_dir().join("installed");
    // What an agent that is no more has left would be tested too.
    if dir.exists() {
        std::fs::remove_dir_all(&dir).map_err(|why| format!("{}: {why}", dir.display()))?;
    }
    install::install(&dir, install::Profile::Release).map(|_| dir)
}

fn tests(only: Option<&str>, strict: bool) -> Counts {
    println!("==> installing into the test tree");
    let tree = match install_tree() {
        Ok(tree) => tree,
        Err(why) => {
            eprintln!("{why}");
            return Counts::check(false);
        }
    };
    println!("==> tests");
    let nextest = process::answers(cargo().args(["nextest", "--version"]));
    let mut run = cargo();
    if nextest {
        run.args(["nextest", "run", "--workspace", "--no-fail-fast", "--color", "never"]);
        run.args(["--profile", if strict { "ci" } else { "default" }]);
    } else {
        println!(
            "cargo-nextest is not installed: the tests run under cargo test, one binary after the other"
        );
        run.args(["test", "--workspace", "--no-fail-fast"]);
    }
    run.args(only);
    run.env("RINGFENCE_INSTALLED", tree);
    // Where a test notes that this machine lacks what it needs. With nobody there, that is red instead.
    let ledger = (!strict).then(|| workspace::target_dir().join("blocked-tests"));
    if let Some(ledger) = &ledger {
        let _ = std::fs::remove_file(ledger);
        run.env("RINGFENCE_BLOCKED", ledger);
    } else {
        run.env("CI", "true").env_remove("RINGFENCE_BLOCKED");
    }
    let captured = match process::show_and_keep(&mut run) {
        Ok(captured) => captured,
        Err(why) => {
            eprintln!("{why}");
            return Counts::check(false);
        }
    };
    let blocked = ledger.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
    for line in blocked.lines() {
        println!("not run: {line}");
    }
    without_blocked(judge(&captured, nextest, only.is_some()), blocked.lines().count() as u64)
}

/// To the runner a blocked test has passed. It has not.
fn without_blocked(mut counts: Counts, blocked: u64) -> Counts {
    let blocked = blocked.min(counts.passed);
    counts.passed -= blocked;
    counts.skipped += blocked;
    counts
}

/// No summary, or a filter that matched nothing, is a failure: no test is not a pass.
fn judge(captured: &Captured, nextest: bool, filtered: bool) -> Counts {
    let found = if nextest {
        summary::nextest(&captured.stderr).or_else(|| summary::nextest(&captured.stdout))
    } else {
        summary::cargo_test(&captured.stdout)
    };
    let mut counts = found.unwrap_or_default();
    if filtered {
        // Left out by the filter, not skipped.
        counts.skipped = 0;
    }
    if counts == Counts::default() {
        eprintln!("no test ran");
        return Counts::check(false);
    }
    counts.with_exit(captured.ok)
}

/// Nextest runs no documentation tests; `cargo test --workspace` did, and running them twice costs little.
fn doc_tests() -> Counts {
    println!("==> documentation tests");
    match process::show_and_keep(cargo().args(["test", "--doc", "--quiet", "--package", "ocf-lib"])) {
        Ok(captured) => summary::cargo_test(&captured.stdout).unwrap_or_default().with_exit(captured.ok),
        Err(why) => {
            eprintln!("{why}");
            Counts::check(false)
        }
    }
}

/// The advisories need a database from the network that CI does not have.
fn deny() -> Counts {
    if !process::answers(cargo().args(["deny", "--version"])) {
        println!(
            "==> cargo-deny is not installed: not run (the house rules have checked licences and sources)"
        );
        return Counts::default();
    }
    check("cargo-deny", || process::succeeds(cargo().args(["deny", "check", "licenses", "bans", "sources"])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(ok: bool, stderr: &str) -> Captured {
        Captured { ok, stdout: String::new(), stderr: stderr.to_owned() }
    }

    #[test]
    fn a_run_without_a_summary_is_red_even_when_it_exits_0() {
        assert_eq!(judge(&captured(true, ""), true, false), Counts::check(false));
        assert_eq!(judge(&captured(false, "error: could not compile"), true, false), Counts::check(false));
    }

    #[test]
    fn a_filter_that_matches_nothing_is_red() {
        let text = "Summary [   0.005s] 0 tests run: 0 passed, 40 skipped";
        assert_eq!(judge(&captured(true, text), true, true), Counts::check(false));
    }

    #[test]
    fn ignored_tests_are_told_and_filtered_ones_are_not() {
        let text = "Summary [   0.005s] 3 tests run: 3 passed, 40 skipped";
        assert_eq!(judge(&captured(true, text), true, true).to_string(), "3 passed, 0 failed");
        assert_eq!(judge(&captured(true, text), true, false).to_string(), "3 passed, 0 failed, 40 skipped");
    }

    #[test]
    fn a_blocked_test_is_not_a_pass() {
        let ran = Counts { passed: 5, failed: 0, skipped: 0 };
        assert_eq!(without_blocked(ran, 2).to_string(), "3 passed, 0 failed, 2 skipped");
        assert_eq!(without_blocked(ran, 0), ran);
    }

    #[test]
    fn packages_are_sorted_and_named_once() {
        assert!(PACKAGES.is_sorted_by(|a, b| a < b));
    }
}
