//! Contract cases of fence agents, on a stub that holds and on stubs that each break one thing.
//!
//! Needs root, as the judge does: without it the tests fail, they do not skip.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test: what goes wrong must end it"
)]

use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

const STUB: &str = r#"#!/bin/sh
PATH=/usr/bin:/bin
say() { [ "$quiet" = 1 ] || printf '%s\n' "$*" >&2; }
fail() { say "Failed: $*"; exit 1; }
action=reboot quiet= ip= password= status_file= power_wait=0 delay=0 metadata_only=
take() {
    value=${2#\"} value=${value%\"}
    case $1 in
    action | option) action=$value ;;
    ip | ipaddr) ip=$value ;;
    quiet) case $value in 1 | yes | on | true) quiet=1 ;; *) quiet= ;; esac ;;
    password) password=$value ;;
    status_file | status-file) status_file=$value ;;
    power_wait | power-wait) power_wait=$value ;;
    delay) delay=$value ;;
    verbose | agent | name | nodename) ;;
    *) say "Ignoring unknown option '$1'" ;;
    esac
}
if [ $# -gt 0 ]; then
    while [ $# -gt 0 ]; do
        case $1 in
        -o) action=$2; shift ;;
        --*=*) word=${1#--}; take "${word%%=*}" "${word#*=}" ;;
        esac
        shift
    done
else
    carriage=$(printf '\r')
    while read -r line || [ -n "$line" ]; do
        line=${line%"$carriage"}; line=${line% }
        case $line in '' | \#*) continue ;; esac
        case $line in *=*) take "${line%%=*}" "${line#*=}" ;; *) take "$line" '' ;; esac
    done
fi
action=$(printf '%s' "$action" | tr A-Z a-z)
case $action in metadata | meta-data | manpage)
    cat <<END || exit 1
<?xml version="1.0" ?>
<resource-agent name="${0##*/}" shortdesc="Stub">
<longdesc>Stub.</longdesc><vendor-url></vendor-url>
<parameters>
<parameter name="action" unique="0" required="1"><getopt mixed="-o, --action=[action]"/><content type="string" default="reboot"/><shortdesc lang="en">A</shortdesc></parameter>
<parameter name="ip" unique="0" required="1" obsoletes="ipaddr"><getopt mixed="-a, --ip=[ip]"/><content type="string"/><shortdesc lang="en">A</shortdesc></parameter>
<parameter name="ipaddr" unique="0" required="1" deprecated="1"><getopt mixed="-a, --ip=[ip]"/><content type="string"/><shortdesc lang="en">A</shortdesc></parameter>
<parameter name="password" unique="0" required="0"><getopt mixed="-p, --password=[word]"/><content type="string"/><shortdesc lang="en">P</shortdesc></parameter>
<parameter name="quiet" unique="0" required="0"><getopt mixed="-q, --quiet"/><content type="boolean"/><shortdesc lang="en">Q</shortdesc></parameter>
<parameter name="verbose" unique="0" required="0"><getopt mixed="-v, --verbose"/><content type="boolean"/><shortdesc lang="en">V</shortdesc></parameter>
<parameter name="status_file" unique="0" required="0"><getopt mixed="--status-file=[file]"/><content type="string"/><shortdesc lang="en">F</shortdesc></parameter>
<parameter name="power_wait" unique="0" required="0"><getopt mixed="--power-wait=[seconds]"/><content type="second" default="0"/><shortdesc lang="en">W</shortdesc></parameter>
<parameter name="delay" unique="0" required="0"><getopt mixed="--delay=[seconds]"/><content type="second" default="0"/><shortdesc lang="en">D</shortdesc></parameter>
</parameters>
<actions><action name="on" automatic="0"/><action name="off"/><action name="reboot"/><action name="status"/><action name="monitor"/><action name="metadata"/><action name="manpage"/><action name="validate-all"/></actions>
</resource-agent>
END
    exit 0 ;;
esac
case $action in on | off | reboot | status | monitor | validate-all) ;; *) fail "Unrecognised action '$action'" ;; esac
[ -n "$ip" ] || fail "You have to enter fence address (ip)"
for number in "$power_wait" "$delay"; do case $number in '' | *[!0-9]*) fail "not a valid time in seconds" ;; esac; done
[ "$action" = validate-all ] && exit 0
case $action in off | reboot) sleep "$delay" ;; esac
if [ "$ip" = 192.0.2.98 ]; then exec sleep 60; fi
state() { state=; [ -r "$status_file" ] && state=$(head -c 10 "$status_file"); }
state
[ -n "$state" ] || fail "the device does not answer"
case $action in
status | monitor)
    echo "Status: $state"
    [ "$state" = on ] || [ "$action" = monitor ] || exit 2 ;;
off)
    printf off > "$status_file"; sleep "$power_wait"; state
    [ "$state" = off ] || fail "still on"
    echo "Success: Powered OFF" ;;
reboot)
    printf off > "$status_file"; sleep "$power_wait"; state
    [ "$state" = off ] || fail "still on"
    printf on > "$status_file"
    echo "Success: Rebooted" ;;
on) printf on > "$status_file" ;;
esac
exit 0
"#;

/// What breaks, how, and the case that must see it.
const BROKEN: [(&str, &str, &str); 22] = [
    (
        "fence/metadata-parameters",
        r#"type="second" default="0"/><shortdesc lang="en">D"#,
        r#"type="second" default="x"/><shortdesc lang="en">D"#,
    ),
    ("fence/metadata-renamed", r#" deprecated="1""#, ""),
    ("fence/metadata-actions", r#"default="reboot""#, r#"default="explode""#),
    ("fence/metadata-name", r#"name="${0##*/}""#, r#"name="other""#),
    ("fence/metadata-schema", "<vendor-url></vendor-url>", ""),
    ("fence/metadata-spellings", "metadata | meta-data |", "metadata |"),
    (
        "fence/metadata-anywhere",
        "case $action in metadata",
        "[ -n \"$LC_ALL\" ] || exit 1\ncase $action in metadata",
    ),
    ("fence/metadata-not-written", "cat <<END || exit 1", "cat <<END"),
    ("fence/metadata-soon", "case $action in metadata", "sleep 1.1\ncase $action in metadata"),
    ("fence/stdin-and-arguments-agree", "-o) action=$2; shift ;;", "--action=validate-all) exit 1 ;;"),
    ("fence/unknown-key", "unknown option '$1'", "unknown option '$1=$2'"),
    ("fence/manager-keys", "verbose | agent |", "verbose |"),
    ("fence/last-line-without-newline", r#" || [ -n "$line" ]"#, ""),
    ("fence/grammar", "value=${2#\\\"}", "value=$2"),
    ("fence/old-names", "ip | ipaddr)", "ip)"),
    ("fence/false-is-false", "*) quiet= ;;", "*) quiet=1 ;;"),
    ("fence/unknown-action", "Unrecognised action", "Bad thing"),
    ("fence/option-is-action", "action | option)", "action)"),
    ("fence/missing-parameter", "You have to enter fence address (ip)", "no"),
    ("fence/malformed-value", "*[!0-9]*) fail", "*[!0-9-]*) fail"),
    ("fence/hostile-value", "[ \"$action\" = validate-all ] && exit 0", "eval \": $ip\""),
    ("fence/off-is-verified", "[ \"$state\" = off ] || fail \"still on\"", ":"),
];

/// More, each with a device.
const BROKEN_WITH_A_DEVICE: [(&str, &str, &str); 6] = [
    ("fence/unreachable", "fail \"the device does not answer\"", "{ echo Success; exit 0; }"),
    ("fence/silent-device", "fail \"the device does not answer\"", "exit 2"),
    ("fence/delay", "case $action in off | reboot) sleep", "case $action in off | status) sleep"),
    ("fence/password-is-kept", "state\n[ -n", "sh -c 'sleep 0.2; :' x \"$password\"\nstate\n[ -n"),
    ("fence/sigterm", "exec sleep 60", "trap 'exit 0' TERM; sleep 60 & wait"),
    (
        "fence/empty-action",
        "action | option) action=$value ;;",
        "action | option) action=${value:-reboot} ;;",
    ),
];

/// The broken cases of a stub, and all cases that were judged.
fn judged(script: &str, cases: &str) -> (Vec<String>, Vec<(String, String)>) {
    let folder = tempfile::tempdir().unwrap();
    let agent = folder.path().join("fence_stub");
    std::fs::write(&agent, script).unwrap();
    std::fs::set_permissions(&agent, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ringfence-conformance"))
        .args(["check", "--format", "json", "-j", "4", "--tag", "contract", "--case", cases])
        .arg(&agent)
        .output()
        .unwrap();
    let all: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(&output.stderr)));
    let word = |outcome: &Value, key: &str| outcome[key].as_str().unwrap().to_owned();
    let all: Vec<(String, String)> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|o| (word(o, "case"), format!("{} {o}", word(o, "verdict"))))
        .collect();
    let broken =
        all.iter().filter(|(_, verdict)| verdict.starts_with("broken")).map(|(case, _)| case.clone());
    (broken.collect(), all)
}

#[test]
fn a_stub_that_holds_holds_everywhere() {
    let (broken, all) = judged(STUB, "fence/");
    assert!(broken.is_empty(), "{all:#?}");
    assert!(all.len() > 25 && all.iter().all(|(_, verdict)| verdict.starts_with("held")), "{all:#?}");
}

fn each_is_seen(mutations: &[(&str, &str, &str)]) {
    for (case, good, bad) in mutations {
        assert!(STUB.contains(good), "{case}: the stub has {good}");
        let (broken, all) = judged(&STUB.replace(good, bad), case);
        assert!(broken.iter().any(|seen| seen == case), "{case} does not see {bad}: {all:#?}");
    }
}

#[test]
fn each_defect_is_seen() {
    each_is_seen(&BROKEN);
}

#[test]
fn each_defect_towards_a_device_is_seen() {
    each_is_seen(&BROKEN_WITH_A_DEVICE);
}
