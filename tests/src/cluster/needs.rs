//! What a cluster needs of the host, and what of it is missing.

use super::spec::Agents;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// One thing that must be there.
struct Need {
    /// A program (looked up in the system's folders) or an absolute path.
    what: &'static str,
    /// The Debian package that has it.
    package: &'static str,
}

const ALWAYS: [Need; 8] = [
    Need { what: "corosync", package: "corosync" },
    Need { what: "corosync-cfgtool", package: "corosync" },
    Need { what: "pacemakerd", package: "pacemaker" },
    Need { what: "crm_mon", package: "pacemaker-cli-utils" },
    Need { what: "ipmi_sim", package: "openipmi" },
    Need { what: "ip", package: "iproute2" },
    Need { what: "nsenter", package: "util-linux" },
    Need { what: "timeout", package: "coreutils" },
];

const UPSTREAM: [Need; 3] = [
    Need { what: "/usr/lib/ocf/resource.d/heartbeat/IPaddr2", package: "resource-agents" },
    Need { what: "fence_ipmilan", package: "fence-agents" },
    Need { what: "ipmitool", package: "ipmitool" },
];

/// What is missing for a cluster with these agents, one line each; empty when it can be made.
#[must_use]
pub fn missing(agents: &Agents) -> Vec<String> {
    let mut lines = Vec::new();
    if !nix::unistd::geteuid().is_root() {
        lines.push("root (namespaces, mounts and raw sockets)".to_owned());
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    lines.extend(
        missing_capabilities(&status).into_iter().map(|name| format!("{name} (a container without it?)")),
    );
    let upstream: &[Need] = match agents {
        Agents::Upstream => &UPSTREAM,
        Agents::Ours { dir } => {
            for file in ["usr/lib/ocf/resource.d/ringfence/IPaddr2", "usr/sbin/fence_ipmilan"] {
                if !dir.join(file).is_file() {
                    lines.push(format!("{} (cargo xtask install)", dir.join(file).display()));
                }
            }
            &[]
        }
    };
    let needs: Vec<_> = ALWAYS.iter().chain(upstream).map(|need| (need.what, need.package)).collect();
    lines.extend(missing_of(&needs));
    lines
}

/// Which of these are missing, one line each: a program or an absolute path, and the Debian package that has it.
#[must_use]
pub fn missing_of(needs: &[(&str, &str)]) -> Vec<String> {
    let missing = needs.iter().filter(|(what, _)| !is_there(what));
    missing.map(|(what, package)| format!("{what} (package {package})")).collect()
}

/// For a test that cannot do without: true when nothing is missing.
///
/// A need that is missing is never a pass. In CI (`CI` is set) it is a failure. Elsewhere the line `NAME: needs X: blocked` goes into
/// the file that `RINGFENCE_BLOCKED` names, for the runner of the tests to show at the end; without such a file it is a failure too.
///
/// # Panics
/// As said.
#[must_use]
#[allow(clippy::panic, reason = "called by tests only, to fail them")]
pub fn met_or_blocked(test: &str, missing: &[String]) -> bool {
    let in_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
    let ledger = std::env::var_os("RINGFENCE_BLOCKED").map(PathBuf::from);
    match verdict(test, missing, in_ci, ledger.as_deref()) {
        Ok(met) => met,
        Err(line) => panic!("{line}"),
    }
}

/// `Ok(false)`: blocked, and noted. The error is the line that fails the test.
fn verdict(test: &str, missing: &[String], in_ci: bool, ledger: Option<&Path>) -> Result<bool, String> {
    if missing.is_empty() {
        return Ok(true);
    }
    let line = format!("{test}: needs {}: blocked", missing.join(", "));
    let Some(path) = ledger.filter(|_| !in_ci) else { return Err(line) };
    let file = OpenOptions::new().create(true).append(true).open(path);
    match file.and_then(|mut file| writeln!(file, "{line}")) {
        Ok(()) => Ok(false),
        Err(error) => Err(format!("{line} (and {} cannot be written: {error})", path.display())),
    }
}

/// The capabilities that a root without all its powers lacks, from `/proc/self/status`.
fn missing_capabilities(status: &str) -> Vec<&'static str> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(0);
    // Numbers of linux/capability.h
    let wanted = [("CAP_KILL", 5), ("CAP_NET_ADMIN", 12), ("CAP_NET_RAW", 13), ("CAP_SYS_ADMIN", 21)];
    wanted.into_iter().filter(|(_, bit)| effective >> bit & 1 == 0).map(|(name, _)| name).collect()
}

fn is_there(what: &str) -> bool {
    if what.starts_with('/') {
        return Path::new(what).is_file();
    }
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|folder| Path::new(folder).join(what).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_install_tree_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let lines = missing(&Agents::Ours { dir: dir.path().to_owned() });
        assert!(
            lines.iter().any(|line| line.contains("usr/sbin/fence_ipmilan (cargo xtask install)")),
            "{lines:?}"
        );
    }

    #[test]
    fn a_missing_need_is_never_a_silent_pass() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = dir.path().join("blocked");
        let missing = ["corosync (package corosync)".to_owned()];
        let line = "boots: needs corosync (package corosync): blocked";
        assert_eq!(verdict("boots", &[], true, None), Ok(true));
        assert_eq!(verdict("boots", &missing, true, Some(&ledger)), Err(line.to_owned()), "in CI it fails");
        assert!(!ledger.exists());
        assert_eq!(verdict("boots", &missing, false, None), Err(line.to_owned()), "unnoted it fails");
        assert_eq!(verdict("boots", &missing, false, Some(&ledger)), Ok(false));
        assert_eq!(std::fs::read_to_string(&ledger).unwrap(), format!("{line}\n"));
    }

    #[test]
    fn a_container_without_the_power_to_mount_is_named() {
        assert_eq!(
            missing_capabilities("Name:\tx\nCapEff:\t00000000a80425fb\n"),
            ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]
        );
        assert!(missing_capabilities("CapEff:\t000001ffffffffff\n").is_empty());
    }

    #[test]
    fn programs_are_found_in_the_systems_folders() {
        assert!(is_there("sh"));
        assert!(!is_there("no-such-program-of-ringfence"));
    }
}
