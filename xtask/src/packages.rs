//! Debian packages that a task needs: what is missing, and its installation after a question.

use crate::process::{self, command};
use std::fs;
use std::io::{IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Stdio;

/// Asked by maintainer scripts before they start a service; exit 101 forbids it (Debian Policy, invoke-rc.d(8)).
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Makes sure that the packages are installed; asks first unless `yes` or `CI` is set.
///
/// `purpose` ends the sentence "needed by ...". On a system without dpkg nothing is checked: the task that needs a program
/// says so itself. Errors name the packages and what a person has to do.
pub fn ensure(names: &[&str], purpose: &str, yes: bool) -> Result<(), String> {
    if !process::answers(command("dpkg-query").arg("--version")) {
        eprintln!("this system has no dpkg: {purpose} needs what Debian packages as {}", names.join(" "));
        return Ok(());
    }
    let missing = missing(names)?;
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    let by_hand = format!("apt-get install --no-install-recommends {list}");
    if !nix::unistd::geteuid().is_root() {
        return Err(format!(
            "{purpose} needs packages that are not installed, and only root can: sudo {by_hand}"
        ));
    }
    if !(yes || process::env_flag("CI") || agreed(&list, purpose)) {
        return Err(format!("{purpose} needs packages that are not installed: say --yes, or: {by_hand}"));
    }
    eprintln!("installing for {purpose}: {list}");
    let _no_daemons = NoDaemons::new();
    let lock = ["-q", "-o", "DPkg::Lock::Timeout=400", "-o", "Acquire::Retries=3"];
    // A fresh image has no package lists; where they cannot be had the old ones may do.
    if !process::succeeds(apt().args(lock).arg("update"))? {
        eprintln!("apt-get update failed: going on with the package lists that are there");
    }
    let installed = process::succeeds(
        apt().args(lock).args(["install", "-y", "--no-install-recommends"]).args(&missing),
    )?;
    let still = self::missing(names)?;
    match (installed, still.is_empty()) {
        (_, true) => Ok(()),
        (true, false) => Err(format!("apt-get succeeded but did not install {}", still.join(" "))),
        (false, false) => Err(format!("apt-get could not install {} (its words are above)", still.join(" "))),
    }
}

/// Its words go to stderr: a task's stdout may be JSON.
fn apt() -> std::process::Command {
    let mut apt = command("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    let stderr = std::io::stderr().as_fd().try_clone_to_owned();
    apt.stdout(stderr.map_or_else(|_| Stdio::null(), Stdio::from));
    apt
}

/// Those of the packages that are not installed.
fn missing(names: &[&str]) -> Result<Vec<String>, String> {
    let format = "${binary:Package} ${db:Status-Status}\n";
    // Exit 1 says that a name is unknown; the others are told all the same.
    let said =
        process::capture(command("dpkg-query").args(["-W", "-f", format]).args(names).env("LC_ALL", "C"))?;
    Ok(not_installed(names, &said.stdout))
}

/// `listing`: lines `name[:architecture] state`.
fn not_installed(names: &[&str], listing: &str) -> Vec<String> {
    let installed: Vec<&str> = listing
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, state)| *state == "installed")
        .map(|(name, _)| name.split(':').next().unwrap_or(name))
        .collect();
    names.iter().filter(|name| !installed.contains(name)).map(|&name| name.to_owned()).collect()
}

/// Asks on the terminal; nobody there is a no.
fn agreed(list: &str, purpose: &str) -> bool {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return false;
    }
    eprint!(
        "{purpose} needs Debian packages that are not installed:\n  {list}\nInstall them now (their services are not started)? [y/N] "
    );
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer).unwrap_or(0);
    read > 0 && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

/// As long as it lives, no freshly installed daemon starts: a test bed's packages must not bring a cluster up on the host.
struct NoDaemons {
    ours: bool,
}

impl NoDaemons {
    fn new() -> Self {
        // Where there is a policy already it is the administrator's.
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(POLICY);
        let ours = file.is_ok_and(|mut file| file.write_all(b"#!/bin/sh\nexit 101\n").is_ok());
        Self { ours }
    }
}

impl Drop for NoDaemons {
    fn drop(&mut self) {
        if self.ours
            && Path::new(POLICY).exists()
            && let Err(why) = fs::remove_file(POLICY)
        {
            eprintln!("cannot remove {POLICY}, which keeps services from starting: {why}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_state_installed_counts() {
        let listing = "corosync installed\nlibc6:amd64 installed\npacemaker config-files\n";
        assert_eq!(
            not_installed(&["corosync", "libc6", "pacemaker", "openipmi"], listing),
            ["pacemaker", "openipmi"]
        );
    }

    #[test]
    fn nothing_is_installed_without_consent() {
        // Stdin of a test is no terminal, so nobody can be asked.
        if process::env_flag("CI") || !process::answers(command("dpkg-query").arg("--version")) {
            return;
        }
        let why = ensure(&["ringfence-no-such-package"], "this test", false).unwrap_err();
        assert!(why.contains("apt-get install --no-install-recommends ringfence-no-such-package"), "{why}");
    }
}
