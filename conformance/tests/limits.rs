//! A run over agents that are slow, and one that ends before its end.
//!
//! Needs root, as the judge does: without it the tests fail, they do not skip.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test: what goes wrong must end it"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// An agent whose actions other than meta-data do this.
fn agent(folder: &Path, name: &str, does: &str) -> PathBuf {
    let file = folder.join(name);
    let text = format!(
        "#!/bin/sh\n[ \"$1\" = meta-data ] || {{ {does}; }}\ncat <<'END'\n<resource-agent name=\"{name}\"><version>1.1</version><actions>\
         <action name=\"start\" timeout=\"9s\"/><action name=\"stop\" timeout=\"9s\"/><action name=\"monitor\" timeout=\"9s\"/>\
         <action name=\"meta-data\" timeout=\"9s\"/></actions></resource-agent>\nEND\n"
    );
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    file
}

fn check(args: &[&str], agents: &[PathBuf]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_ringfence-conformance"))
        .args(["check", "--case", "on-a-clean-host", "--format", "json"])
        .args(args)
        .args(agents)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Its exit status, the outcomes as (agent, verdict), and what it complained of.
fn told(child: Child) -> (Option<i32>, Vec<(String, String)>, String) {
    let output = child.wait_with_output().unwrap();
    let outcomes: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let word = |outcome: &serde_json::Value, key: &str| outcome[key].as_str().unwrap().to_owned();
    let outcomes =
        outcomes.iter().map(|outcome| (word(outcome, "agent"), word(outcome, "verdict"))).collect();
    (output.status.code(), outcomes, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn an_interrupted_run_tells_what_it_knows_and_what_it_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let quick = agent(folder.path(), "quick", "[ $1 = stop ] && exit; exit 7");
    let slow = agent(folder.path(), "slow", "sleep 30");
    let started = Instant::now();
    let child = check(&["-j1", "--log", log.to_str().unwrap()], &[quick, slow]);
    // The quick agent's three outcomes are in the log as soon as they are known.
    while std::fs::read_to_string(&log).unwrap_or_default().lines().count() < 3 {
        assert!(started.elapsed() < Duration::from_secs(20), "no outcome in the log");
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let (status, outcomes, complaint) = told(child);
    assert!(started.elapsed() < Duration::from_secs(25));
    let of = |name: &str| {
        outcomes
            .iter()
            .filter(|(agent, _)| agent == name)
            .map(|(_, verdict)| verdict.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(of("quick"), ["held"; 3]);
    assert_eq!(of("slow"), ["not-carried-out"; 3]);
    assert_eq!((status, complaint.trim()), (Some(2), "3 of 6 trials were not carried out"));
}

#[test]
fn the_limits_of_a_run_and_of_a_trial_and_of_a_call() {
    let folder = tempfile::tempdir().unwrap();
    let slow = || agent(folder.path(), "slow", "sleep 30; exit 7");
    let (status, outcomes, complaint) = told(check(&["--time-limit", "1"], &[slow()]));
    assert_eq!(status, Some(2), "{outcomes:?}");
    assert!(complaint.contains("3 of 3 trials"), "{complaint}");
    let started = Instant::now();
    let (status, outcomes, _) = told(check(&["--trial-limit", "1", "-j3"], &[slow()]));
    assert_eq!(status, Some(2), "{outcomes:?}");
    assert!(outcomes.iter().all(|(_, verdict)| verdict == "cannot-judge"), "{outcomes:?}");
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
}
