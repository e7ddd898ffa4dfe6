//! The models on stubs that hold, and on stubs that each break one thing: found, and made short.
//!
//! Needs root, as the judge does: without it the tests fail, they do not skip.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test outside a test function"
)]

use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// A resource that holds: its state is a file. `@EARLY@` is where the broken ones differ, by the shell alone, so that
/// a kill finds them in the middle.
const RESOURCE: &str = r#"#!/bin/sh
PATH=/usr/bin:/bin
state=/run/resource-agents/Stub.state
action=$1
is() { [ "$action" = "$1" ]; }
runs() { [ -e $state ]; }
role() { runs && read -r role <$state && [ "$role" = "$1" ]; }
@EARLY@
case $action in
meta-data) cat <<'END'
<?xml version="1.0"?>
<resource-agent name="stub" version="1.0"><version>1.1</version><longdesc lang="en">L</longdesc><shortdesc lang="en">S</shortdesc>
<parameters/><actions><action name="start" timeout="20s"/><action name="stop" timeout="20s"/>
<action name="monitor" timeout="20s" interval="10s"/><action name="promote" timeout="20s"/><action name="demote" timeout="20s"/>
<action name="migrate_to" timeout="20s"/><action name="migrate_from" timeout="20s"/><action name="reload" timeout="20s"/>
<action name="validate-all" timeout="20s"/><action name="meta-data" timeout="5s"/></actions></resource-agent>
END
;;
validate-all) exit 0 ;;
start) runs || echo started >$state ;;
stop) rm -f $state ;;
monitor) role promoted && exit 8; runs || exit 7 ;;
promote) runs || exit 7; echo promoted >$state ;;
demote) runs || exit 7; echo started >$state ;;
reload) runs || exit 7 ;;
migrate_to) runs || exit 1; rm -f $state ;;
migrate_from) echo started >$state ;;
*) exit 3 ;;
esac
"#;

/// How its events are told.
const EVENTS: &str = "event state-removed gone file /run/resource-agents/Stub.state is removed\n\
    event folder-made kept folder /run/judge/other\n";

/// A device that is a file.
const FENCE: &str = r#"#!/bin/sh
PATH=/usr/bin:/bin
wait=0
while read -r line; do
  case $line in
  action=*) action=${line#*=} ;;
  status_file=*) device=${line#*=} ;;
  power_wait=*) wait=${line#*=} ;;
  esac
done
is() { [ "$action" = "$1" ]; }
power() { cat $device; }
# What is written is seen again, or it did not happen.
switch() {
  printf %s "$1" >$device
  [ "$wait" = 0 ] || sleep 0.3
  [ "$(power)" = "$1" ] || { echo "the device stays as it is" >&2; exit 1; }
}
@EARLY@
case $action in
metadata) cat <<'END'
<?xml version="1.0"?>
<resource-agent name="fence_stub" shortdesc="S"><longdesc>L</longdesc><vendor-url>x</vendor-url><parameters>
<parameter name="action" unique="0" required="1"><getopt mixed="-o, --action=[action]"/><content type="string" default="reboot"/><shortdesc lang="en">S</shortdesc></parameter>
<parameter name="status_file" unique="0" required="1"><getopt mixed="--status-file=[file]"/><content type="string"/><shortdesc lang="en">S</shortdesc></parameter>
<parameter name="power_wait" unique="0" required="0"><getopt mixed="--power-wait=[seconds]"/><content type="second" default="0"/><shortdesc lang="en">S</shortdesc></parameter>
</parameters><actions><action name="on"/><action name="off"/>@REBOOT@<action name="status"/><action name="monitor"/>
<action name="metadata"/><action name="validate-all"/></actions></resource-agent>
END
;;
on | off) switch $action ;;
reboot) switch off; switch on ;;
status) is_off=$(power); [ "$is_off" = off ] && exit 2; exit 0 ;;
monitor | validate-all) exit 0 ;;
*) echo "no such action" >&2; exit 1 ;;
esac
"#;

/// Case, shell that breaks the stub, words of the finding, most steps that are left.
type Break = (&'static str, &'static str, &'static str, usize);

const BROKEN: &[Break] = &[
    ("resource/model-plain", "is start && runs && exit 1", "start 0, start -> 1 instead of 0", 2),
    ("resource/model-plain", "is stop && ! runs && exit 7", "stop -> 7 instead of 0", 1),
    (
        "resource/model-plain",
        "is start && : >/run/ever; is monitor && [ -e /run/ever ] && exit 0; is stop && { runs && rm -f /run/ever; }",
        "start 0, outside: state-removed, ",
        3,
    ),
    ("resource/model-plain", "is start && : >/run/left.$$", "file /run/left.", 4),
    ("resource/model-plain", "is validate-all && runs && rm $state", "start 0, validate-all 0, ", 3),
    ("resource/model-plain", "is validate-all && runs && exit 6", "validate-all -> 6 instead of 0", 2),
    ("resource/model-plain", "is reload && rm -f $state", "start 0, reload", 3),
    ("resource/model-plain", "is dance && runs && exit 0", "start 0, dance -> 0 instead of 3", 2),
    ("resource/model-plain", "is meta-data && runs && exit 5", "meta-data -> 5 instead of 0", 2),
    (
        "resource/model-plain",
        "is start && { : >/run/half; sleep 0.05; rm /run/half; }; is stop && [ -e /run/half ] && exit 1",
        "start killed, stop -> 1 instead of 0",
        2,
    ),
    (
        "resource/model-plain",
        "is monitor && { [ -e /run/lock.m ] && exit 1; : >/run/lock.m; sleep 0.03; rm /run/lock.m; }",
        "instead of",
        3,
    ),
    (
        "resource/model-plain",
        "is monitor && runs && [ $OCF_RESKEY_CRM_meta_interval = 0 ] && exit 7",
        "start 0, probe -> 7",
        2,
    ),
    ("resource/model-promotable", "is promote && ! runs && exit 0", "promote -> 0 instead of", 1),
    ("resource/model-promotable", "is demote && role started && exit 1", "demote -> 1 instead of 0", 2),
    (
        "resource/model-promotable",
        "is promote && role promoted && exit 1",
        "promote 0, promote -> 1 instead of 0",
        3,
    ),
    ("resource/model-promotable", "is monitor && role promoted && exit 0", "promote 0, ", 3),
    (
        "resource/model-promotable",
        "is stop && role promoted && exit 8",
        "promote 0, stop -> 8 instead of 0",
        3,
    ),
    (
        "resource/model-promotable",
        "is reload && role promoted && echo started >$state",
        "promote 0, reload 0, ",
        4,
    ),
    (
        "resource/model-migratable",
        "is stop && [ -e /run/away ] && exit 1; is migrate_to && : >/run/away; is migrate_from && rm -f /run/away; is stop && rm -f /run/away",
        "migrate_to 0, stop -> 1 instead of 0",
        3,
    ),
    (
        "resource/model-migratable",
        "is migrate_from && [ ! -e /run/first ] && : >/run/first && echo started >$state && exit 0; is migrate_from && exit 0",
        "migrate_from 0, ",
        2,
    ),
    (
        "fence/model-power",
        "is reboot && [ $(power) = off ] && exit 0",
        "reboot -> 0, and the device is off",
        2,
    ),
    (
        "fence/model-power",
        "is off && { (sleep 0.1; printf off >$device) >/dev/null 2>&1 & exit 0; }",
        "off -> 0, and the device is on",
        1,
    ),
    ("fence/model-power", "is off && [ $(power) = off ] && exit 1", "off -> 1 instead of 0", 2),
    (
        "fence/model-power",
        "is on && [ $(power) = on ] && { switch off; switch on; exit 1; }",
        "on -> 1 instead of 0",
        1,
    ),
    (
        "fence/model-power",
        "is status && [ $(power) = off ] && exit 0",
        "status -> 0 instead of 2: the device is off",
        2,
    ),
    ("fence/model-power", "is monitor && switch on", "monitor -> 0, and the device, which was off, is on", 2),
    (
        "fence/model-power",
        "is status && [ -e /run/told ] && exit 2; is off && : >/run/told; is on && rm -f /run/told; is reboot && rm -f /run/told",
        "status -> 2 instead of 0: the device is on",
        3,
    ),
    ("fence/model-power", "[ $wait = 1 ] && is off && { printf off >$device; exit 0; }", "off -> 0", 2),
    (
        "fence/model-power",
        "is off && { : >/run/half; sleep 0.05; rm /run/half; }; is on && [ -e /run/half ] && exit 1",
        "off killed, on -> 1 instead of 0",
        2,
    ),
    ("fence/model-fabric", "is off && [ $(power) = off ] && exit 2", "off -> 2 instead of 0", 2),
    ("fence/model-fabric", "is dance && switch off", "dance -> 1, and the device, which was on, is off", 1),
];

/// Writes the stub of this case's family; `early` breaks it.
fn stub(folder: &Path, case: &str, early: &str) -> std::path::PathBuf {
    let (text, name) = if case.starts_with("fence/") {
        let reboot = if case.ends_with("power") { "<action name=\"reboot\"/>" } else { "" };
        (FENCE.replace("@REBOOT@", reboot), "fence_stub")
    } else {
        (RESOURCE.to_owned(), "stub")
    };
    let file = folder.join(name);
    std::fs::write(&file, text.replace("@EARLY@", early)).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
    let cases = folder.join("cases/stub");
    std::fs::create_dir_all(&cases).unwrap();
    std::fs::write(cases.join("events.case"), EVENTS).unwrap();
    file
}

fn judged(file: &Path, more: &[&str]) -> Vec<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_ringfence-conformance"))
        .args(["check", "--format", "json"])
        .args(more)
        .arg(file)
        .env("RINGFENCE_CASES", file.parent().unwrap().join("cases"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let value: Value = serde_json::from_str(&text)
        .unwrap_or_else(|why| panic!("{why}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    value.as_array().or_else(|| value["outcomes"].as_array()).expect("a list of outcomes").clone()
}

/// The findings' sentences of this case's outcome.
fn findings(outcomes: &[Value], case: &str) -> Vec<String> {
    let outcome = outcomes.iter().find(|outcome| outcome["case"] == case).expect("its outcome");
    let all = outcome["findings"].as_array().cloned().unwrap_or_default();
    all.iter().map(|finding| finding["what"].as_str().unwrap().to_owned()).collect()
}

/// Steps of a sequence as it is told, with the one that fails.
fn steps(finding: &str) -> usize {
    finding.split(" -> ").next().unwrap().split(", after which").next().unwrap().split(", ").count()
}

#[test]
fn stubs_that_hold_hold() {
    let folder = tempfile::tempdir().unwrap();
    for (case, wanted) in [("resource/model-plain", 3), ("fence/model-power", 1), ("fence/model-fabric", 1)] {
        let file = stub(folder.path(), case, "");
        let outcomes = judged(&file, &["--tag", "model", "--rounds", "30"]);
        let held = outcomes.iter().filter(|outcome| outcome["verdict"] == "held").count();
        let broken = outcomes
            .iter()
            .any(|outcome| !matches!(outcome["verdict"].as_str(), Some("held" | "does-not-apply")));
        assert!(held == wanted && !broken, "{case}: {outcomes:#?}");
    }
}

fn plain(third: usize) -> Vec<&'static Break> {
    let all: Vec<&Break> = BROKEN.iter().filter(|(case, ..)| case.ends_with("plain")).collect();
    all.chunks(all.len().div_ceil(3)).nth(third).unwrap().to_vec()
}

#[test]
fn broken_resources_are_caught_by_short_sequences_1() {
    caught(&plain(0));
}

#[test]
fn broken_resources_are_caught_by_short_sequences_2() {
    caught(&plain(1));
}

#[test]
fn broken_resources_are_caught_by_short_sequences_3() {
    caught(&plain(2));
}

#[test]
fn broken_roles_are_caught_by_short_sequences() {
    caught(&BROKEN.iter().filter(|(case, ..)| case.ends_with("able")).collect::<Vec<_>>());
}

#[test]
fn broken_devices_are_caught_by_short_sequences_1() {
    caught(&devices(true));
}

#[test]
fn broken_devices_are_caught_by_short_sequences_2() {
    caught(&devices(false));
}

fn devices(first: bool) -> Vec<&'static Break> {
    let all = BROKEN.iter().filter(|(case, ..)| case.starts_with("fence/"));
    all.enumerate().filter(|(at, _)| (*at < 5) == first).map(|(_, broken)| broken).collect()
}

fn caught(broken: &[&Break]) {
    assert!(broken.len() > 2);
    let mut missed = Vec::new();
    for (case, early, words, most) in broken {
        let folder = tempfile::tempdir().unwrap();
        let file = stub(folder.path(), case, early);
        let outcomes = judged(&file, &["--case", case, "--rounds", "30"]);
        let findings = findings(&outcomes, case);
        let good = findings.iter().any(|finding| {
            let short = steps(finding) <= *most || words.contains("left");
            finding.contains(words) && short && finding.contains("--seed ")
        });
        if !good {
            missed.push(format!("{case}, '{early}' ('{words}', {most}): {outcomes:#?}"));
        }
    }
    assert!(missed.is_empty(), "{} missed\n{}", missed.len(), missed.join("\n"));
}

#[test]
fn a_finding_is_replayed_by_its_seed() {
    let folder = tempfile::tempdir().unwrap();
    let case = "resource/model-plain";
    let file = stub(folder.path(), case, "is start && runs && exit 1");
    let found = findings(&judged(&file, &["--case", case]), case);
    let seed: String = found[0].split("--seed ").nth(1).unwrap().trim_end_matches(')').to_owned();
    let output = Command::new(env!("CARGO_BIN_EXE_ringfence-conformance"))
        .args(["replay", "--case", case, "--seed", &seed])
        .arg(&file)
        .env("RINGFENCE_CASES", folder.path().join("cases"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("start 0, start -> 1 instead of 0 (in 1 of 1 sequences"), "{text}");
}
