//! `faults` on agents of which is known what is wrong with them, and on one with which nothing is.
//!
//! Needs root, as the judge does, Python, and `ipmi_sim`: without them the tests fail, they do not skip.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a test: what goes wrong must end it"
)]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A stub under a name that says what is wrong with it.
fn stub(folder: &Path, of: &str, name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stubs").join(of);
    let path = folder.join(name);
    std::fs::copy(source, &path).unwrap();
    path
}

struct Sheet {
    status: Option<i32>,
    sheet: Value,
}

impl Sheet {
    fn count(&self, what: &str) -> u64 {
        self.sheet[what].as_u64().unwrap_or_else(|| panic!("no {what} in {}", self.sheet))
    }

    fn sorts(&self) -> Vec<String> {
        let findings = self.sheet["findings"].as_array().unwrap();
        findings.iter().map(|finding| finding["sort"].as_str().unwrap().to_owned()).collect()
    }

    /// Seeds of the examples.
    fn seed(&self) -> u64 {
        self.sheet["findings"][0]["examples"][0]["seed"].as_u64().unwrap()
    }
}

fn run(agent: &Path, schedules: u64, seed: u64, more: &[&str]) -> Sheet {
    let output = Command::new(env!("CARGO_BIN_EXE_ringfence-conformance"))
        .args(["faults", "--format", "json"])
        .args(["--schedules", &schedules.to_string(), "--seed", &seed.to_string()])
        .args(more)
        .arg(agent)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let all: Value = serde_json::from_str(&text).unwrap_or_else(|why| panic!("{why}: {text} {told}"));
    Sheet { status: output.status.code(), sheet: all[0].clone() }
}

fn on_the_network(kind: &str, defect: &str, schedules: u64, seed: u64) -> Sheet {
    let folder = tempfile::tempdir().unwrap();
    let name = if defect.is_empty() { "fence_box".to_owned() } else { format!("fence_box_{defect}") };
    let agent = stub(folder.path(), "fence_box", &name);
    let secure = format!("ssl_secure={}", u8::from(kind == "tls"));
    let more =
        ["--kind", kind, "--param", &secure, "--param", "login_timeout=1", "--param", "power_timeout=1"];
    run(&agent, schedules, seed, &more)
}

#[test]
fn an_honest_agent_on_tcp_and_tls_has_no_finding() {
    for kind in ["tcp", "tls"] {
        let sheet = on_the_network(kind, "", 20, 7);
        assert_eq!(sheet.status, Some(0), "{kind}: {}", sheet.sheet);
        assert!(sheet.count("succeeded") > 3 && sheet.count("failed") > 3, "{kind}: {}", sheet.sheet);
    }
}

#[test]
fn defects_on_the_network_are_found_and_come_again() {
    // Nearly all of it is waiting.
    std::thread::scope(|scope| {
        // Seeds that are known to show it, to be quick: the half answer, the lie, the stall, the end in the middle.
        for (kind, defect, sort, schedules, seed) in [
            ("tcp", "truncated", "false-success", 1, 12),
            ("tcp", "blind", "false-success", 1, 16),
            ("tls", "trusts", "false-success", 12, 7),
            ("tcp", "waits", "past-deadline", 1, 19),
            ("tcp", "retries", "past-deadline", 1, 16),
            ("tcp", "traceback", "panic", 1, 12),
        ] {
            scope.spawn(move || {
                let sheet = on_the_network(kind, defect, schedules, seed);
                assert_eq!(sheet.status, Some(1), "{defect}: {}", sheet.sheet);
                assert!(sheet.sorts().contains(&sort.to_owned()), "{defect}: {}", sheet.sheet);
            });
        }
    });
}

#[test]
fn a_schedule_follows_from_its_seed() {
    let folder = tempfile::tempdir().unwrap();
    let agent = stub(folder.path(), "fence_box", "fence_box_blind");
    let all = run(&agent, 6, 12, &["--kind", "tcp"]);
    let again = run(&agent, 1, all.seed(), &["--kind", "tcp"]);
    assert_eq!(again.status, Some(1), "{}", again.sheet);
    let example = |sheet: &Sheet| sheet.sheet["findings"][0]["examples"][0].clone();
    assert_eq!(example(&all), example(&again));
}

#[test]
fn an_honest_resource_has_no_finding_and_defects_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let honest = run(&stub(folder.path(), "Stub", "Stub"), 16, 1, &["-j", "8"]);
    // A shell script cannot keep its timeout when its tool hangs; it never says what is not so.
    assert!(!honest.sorts().contains(&"false-success".to_owned()), "{}", honest.sheet);
    assert!(!honest.sorts().contains(&"not-mended".to_owned()), "{}", honest.sheet);
    assert!(honest.count("succeeded") > 3 && honest.count("killed") > 0, "{}", honest.sheet);
    for (name, sort) in
        [("Stub-believes", "false-success"), ("Stub-half", "not-mended"), ("Stub-waits", "past-deadline")]
    {
        let sheet = run(&stub(folder.path(), "Stub", name), 16, 1, &["-j", "8"]);
        assert_eq!(sheet.status, Some(1), "{name}: {}", sheet.sheet);
        assert!(sheet.sorts().contains(&sort.to_owned()), "{name}: {}", sheet.sheet);
    }
}

#[test]
fn what_cannot_be_judged_is_no_pass() {
    let nothing = run(Path::new("/bin/true"), 1, 1, &[]);
    assert_eq!(nothing.status, Some(2));
    let folder = tempfile::tempdir().unwrap();
    let wrong = run(&stub(folder.path(), "Stub", "Stub"), 1, 1, &["--kind", "udp"]);
    assert_eq!(wrong.status, Some(2));
    assert!(wrong.sheet["cannot"].as_str().unwrap().contains("--kind process"), "{}", wrong.sheet);
}
