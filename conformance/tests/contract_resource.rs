//! Every contract case of resource agents, on a stub that holds and on stubs that each break one thing.
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
use std::path::{Path, PathBuf};
use std::process::Command;

/// An agent that holds. `@META@` and `@EARLY@` are where the broken ones differ.
const STUB: &str = r#"#!/bin/sh
action=$1
early() { :@EARLY@
}
early "$@"
PATH=/usr/bin:/bin
for dir in "$HA_RSCTMP" /run/resource-agents /run; do [ -w "$dir" ] && break; done
state=$dir/Stub.state
fail() { printf 'ocf-exit-reason:%s\n' "$2" >&2; exit "$1"; }
valid() {
    [ -n "$OCF_RESKEY_key" ] || fail 6 "key is not set"
    case ${OCF_RESKEY_count:-1} in *[!0-9]*) fail 6 "count is no number" ;; esac
}
found() { [ -e /run/resource-agents/Stub.state ] && state=/run/resource-agents/Stub.state; [ -e "$state" ]; }
rgmanager() { case $0 in */share/cluster/*) return 0 ;; *) return 1 ;; esac; }
case $action in
meta-data)
    version=1.1 primary=
    rgmanager && version='rgmanager 2.0' primary='primary="1"'
    cat <<EOF_OF_METADATA
@META@
EOF_OF_METADATA
    ;;
validate-all) valid ;;
start) valid; : > "$state" || fail 1 "cannot write" ;;
stop) found; rm -f "$state" ;;
monitor | status) found || exit 7; grep -q promoted "$state" && exit 8; exit 0 ;;
promote) found || fail 7 "not running"; echo promoted > "$state" ;;
demote) found || fail 7 "not running"; : > "$state" ;;
notify | reload | reload-agent | recover) exit 0 ;;
migrate_to) found || fail 1 "not running"; rm -f "$state" ;;
migrate_from) valid; : > "$state" ;;
*) exit 3 ;;
esac
"#;

const META: &str = r#"<?xml version="1.0"?>
<resource-agent name="stub" version="$version">
<version>1.0</version>
<longdesc lang="en">Long.</longdesc>
<shortdesc lang="en">Short</shortdesc>
<parameters>
<parameter name="key" unique="1" required="1" $primary><longdesc lang="en">L</longdesc><shortdesc lang="en">S</shortdesc><content type="string"/></parameter>
<parameter name="count" unique="0" required="0"><longdesc lang="en">L</longdesc><shortdesc lang="en">S</shortdesc><content type="integer" default="1"/></parameter>
<parameter name="password" unique="0" required="0"><longdesc lang="en">L</longdesc><shortdesc lang="en">S</shortdesc><content type="string"/></parameter>
</parameters>
<actions>
<action name="start" timeout="20s"/>
<action name="stop" timeout="20s"/>
<action name="monitor" timeout="20s" interval="10s" depth="0"/>
<action name="monitor" timeout="20s" interval="11s" depth="0"/>
<action name="status" timeout="20s" interval="10s" depth="0"/>
<action name="promote" timeout="20s"/>
<action name="demote" timeout="20s"/>
<action name="notify" timeout="20s"/>
<action name="migrate_to" timeout="20s"/>
<action name="migrate_from" timeout="20s"/>
<action name="reload" timeout="20s"/>
<action name="recover" timeout="20s"/>
<action name="validate-all" timeout="20s"/>
<action name="meta-data" timeout="5s"/>
</actions>
</resource-agent>"#;

/// What a broken stub does otherwise.
enum Break {
    /// Shell that runs before anything else; `$action` is what is asked.
    Early(&'static str),
    /// A text in the metadata and what stands in its place.
    Meta(&'static str, &'static str),
}
use Break::{Early, Meta};

/// Case, what breaks it, and words of the finding.
const BROKEN: &[(&str, Break, &str)] = &[
    ("unknown-action", Early("[ $action = Start ] && exit 6"), "action Start"),
    ("unknown-action", Early("[ $action = bogus ] && [ -n \"$OCF_RESKEY_key\" ] && exit 2"), "garbage"),
    ("extra-arguments", Early("[ $# -gt 1 ] && { echo usage; exit 2; }"), "further arguments"),
    ("declared-actions", Early("[ $action = recover ] && exit 3"), "recover is declared"),
    ("exit-codes", Early("[ $action = start ] && exit 7"), "start: exit 7"),
    ("exit-codes", Early("[ $action = monitor ] && exit 255"), "monitor: exit 255"),
    ("exit-codes", Early("[ $action = validate-all ] && kill -9 $$"), "signal 9"),
    ("probe-on-a-clean-host", Early("[ $action = monitor ] && exit 1"), "probe where nothing runs"),
    (
        "probe-parameter-missing",
        Early("[ $action = monitor ] && [ -z \"$OCF_RESKEY_key\" ] && exit 6"),
        "without key",
    ),
    (
        "probe-parameter-malformed",
        Early("[ $action = monitor ] && [ \"$OCF_RESKEY_count\" = many ] && exit 6"),
        "count=many",
    ),
    ("probe-without-path", Early("[ $action = monitor ] && [ -z \"$PATH\" ] && exit 1"), "PATH"),
    (
        "probe-run-directory",
        Early("[ $action = monitor ] && [ ! -w \"$HA_RSCTMP\" ] && exit 1"),
        "run directory",
    ),
    (
        "stop-on-a-clean-host",
        Early("[ $action = stop ] && [ ! -e /run/resource-agents/Stub.state ] && exit 7"),
        "never started",
    ),
    (
        "stop-parameter-missing",
        Early("[ $action = stop ] && [ -z \"$OCF_RESKEY_key\" ] && exit 6"),
        "without key",
    ),
    (
        "stop-parameter-malformed",
        Early("[ $action = stop ] && [ \"$OCF_RESKEY_count\" = many ] && exit 6"),
        "count=many",
    ),
    ("stop-without-path", Early("[ $action = stop ] && [ -z \"$PATH\" ] && exit 5"), "PATH"),
    ("stop-run-directory", Early("[ $action = stop ] && [ ! -w \"$HA_RSCTMP\" ] && exit 1"), "run directory"),
    (
        "recurring-on-a-clean-host",
        Early("[ \"$OCF_RESKEY_CRM_meta_interval\" = 10000 ] && exit 5"),
        "recurring",
    ),
    (
        "recurring-parameter-missing",
        Early("[ \"$OCF_RESKEY_CRM_meta_interval\" = 10000 ] && [ -z \"$OCF_RESKEY_key\" ] && exit 6"),
        "without key",
    ),
    (
        "recurring-parameter-malformed",
        Early("[ \"$OCF_RESKEY_CRM_meta_interval\" = 10000 ] && [ \"$OCF_RESKEY_count\" = many ] && exit 2"),
        "count=many",
    ),
    (
        "recurring-without-path",
        Early("[ \"$OCF_RESKEY_CRM_meta_interval\" = 10000 ] && [ -z \"$PATH\" ] && exit 5"),
        "PATH",
    ),
    (
        "recurring-run-directory",
        Early("[ \"$OCF_RESKEY_CRM_meta_interval\" = 10000 ] && [ ! -w \"$HA_RSCTMP\" ] && exit 4"),
        "run directory",
    ),
    (
        "exit-reason",
        Early("[ $action = start ] && [ -z \"$OCF_RESKEY_key\" ] && exit 6"),
        "gives no exit reason",
    ),
    (
        "exit-reason",
        Early("[ $action = start ] && { echo 'x: ocf-exit-reason:y' >&2; exit 1; }"),
        "does not begin a line",
    ),
    (
        "exit-reason",
        Early("[ $action = start ] && { printf 'ocf-exit-reason:\\n' >&2; exit 1; }"),
        "is empty",
    ),
    (
        "exit-reason",
        Early("[ $action = start ] && { printf 'ocf-exit-reason:a\\033[2J\\n' >&2; exit 1; }"),
        "control characters",
    ),
    ("schema-dtd", Meta("<parameters>", "<parameters><bogus/>"), "not valid"),
    (
        "schema-resource-agents",
        Meta("<action name=\"start\" timeout=\"20s\"/>", "<action name=\"start\"/>"),
        "not valid",
    ),
    ("schema-pcs", Meta("<action name=\"stop\" timeout=\"20s\"/>", "<action timeout=\"20s\"/>"), "not valid"),
    (
        "metadata-order",
        Meta(
            "<longdesc lang=\"en\">Long.</longdesc>\n<shortdesc lang=\"en\">Short</shortdesc>",
            "<shortdesc lang=\"en\">Short</shortdesc>\n<longdesc lang=\"en\">Long.</longdesc>",
        ),
        "<longdesc> of the agent",
    ),
    ("metadata-names", Meta("name=\"count\"", "name=\"key\""), "declared twice"),
    ("metadata-names", Meta("name=\"stub\"", "name=\"other\""), "is of"),
    ("metadata-defaults", Meta("default=\"1\"", "default=\"one\""), "is no integer"),
    ("metadata-flags", Meta("required=\"0\"", "required=\"no\""), "neither 0 nor 1"),
    (
        "metadata-flags",
        Meta("<content type=\"string\"/>", "<content type=\"string\" default=\"x\"/>"),
        "must be given and has",
    ),
    ("metadata-actions", Meta("interval=\"11s\"", "interval=\"10\""), "two monitors"),
    (
        "metadata-actions",
        Meta("<action name=\"stop\" timeout=\"20s\"/>", "<action name=\"stop\"/>"),
        "no timeout",
    ),
    ("metadata-actions", Meta("<action name=\"demote\" timeout=\"20s\"/>", ""), "only one of promote"),
    ("metadata-without-environment", Early("[ -z \"$OCF_ROOT\" ] && exit 1"), "without any environment"),
    (
        "metadata-without-parameters",
        Early("[ -z \"$OCF_RESOURCE_INSTANCE\" ] && exit 2"),
        "nothing but OCF_ROOT",
    ),
    ("metadata-as-nobody", Early("[ -w /run/resource-agents ] || exit 4"), "as nobody"),
    ("metadata-empty-path", Early("[ -z \"$PATH\" ] && exit 5"), "empty PATH"),
    (
        "metadata-without-tools",
        Early("[ -n \"$OCF_TESTER_FAIL_HAVE_BINARY\" ] && exit 5"),
        "without its tools",
    ),
    ("metadata-closed-descriptors", Early("[ -e /proc/self/fd/2 ] || exit 1"), "closed"),
    ("metadata-quick", Early("[ $action = meta-data ] && /bin/sleep 0.2"), "at best"),
    (
        "life",
        Early("[ $action = start ] && [ -e /run/resource-agents/Stub.state ] && exit 1"),
        "start of what runs",
    ),
    ("life", Early("[ $action = stop ] && exit 0"), "what was stopped"),
    ("locale", Early("[ -z \"$LC_ALL\" ] && [ $action = monitor ] && exit 1"), "German"),
    ("closed-descriptors", Early("[ $action = monitor ] && { [ -e /proc/self/fd/1 ] || exit 1; }"), "closed"),
    (
        "killed-start",
        Early(
            "[ $action = start ] && { [ -e /run/judge/half ] && exit 1; /bin/touch /run/judge/half; /bin/sleep 0.05; /bin/rm /run/judge/half; }",
        ),
        "killed at",
    ),
    (
        "killed-stop",
        Early(
            "[ $action = stop ] && { [ -e /run/judge/half ] && exit 1; /bin/touch /run/judge/half; /bin/sleep 0.05; /bin/rm /run/judge/half; }",
        ),
        "killed at",
    ),
    ("deadline", Early("[ $action = stop ] && exec /bin/sleep 30"), "not ended after 4.5 s"),
    ("promote-and-demote", Early("[ $action = promote ] && exit 0"), "promote of what is stopped"),
    (
        "notify",
        Early("[ $action = notify ] && [ -z \"${OCF_RESKEY_CRM_meta_notify_stop_resource}\" ] && exit 1"),
        "notify pre start",
    ),
    (
        "migrate",
        Early(
            "[ $action = migrate_to ] && exit 0; [ $action = stop ] && [ -n \"$OCF_RESKEY_CRM_meta_migrate_source\" ] && exit 1",
        ),
        "stop on the source",
    ),
    ("reload", Early("[ $action = reload ] && exit 1"), "reload of what runs"),
    ("hostile-commands", Early("eval \"x=$OCF_RESKEY_count\" 2>/dev/null"), "carried out as a command"),
    ("hostile-instance", Early("eval \"x=$OCF_RESOURCE_INSTANCE\" 2>/dev/null"), "carried out as a command"),
    ("hostile-noise", Early("[ ${#OCF_RESKEY_key} -gt 60000 ] && exit 1"), "64 KiB"),
    (
        "forged-reason",
        Early("[ $action = start ] && printf 'ocf-exit-reason:bad %s\\n' \"$OCF_RESKEY_key\" >&2"),
        "becomes the exit reason",
    ),
    ("secrets", Early("[ $action = start ] && echo \"$OCF_RESKEY_password\""), "standard output"),
    (
        "secrets",
        Early("[ $action = start ] && /bin/sh -c '/bin/sleep 0.2; :' \"$OCF_RESKEY_password\""),
        "command line",
    ),
    ("halo", Early("[ -z \"$OCF_RESOURCE_INSTANCE\" ] && exit 2"), "as HALO calls it"),
    ("rgmanager", Early("[ \"$OCF_ROOT\" = /usr/share/cluster ] && exit 1"), "as rgmanager calls it"),
    (
        "rgmanager-metadata",
        Meta("<action name=\"status\" timeout=\"20s\" interval=\"10s\" depth=\"0\"/>", ""),
        "status is not declared",
    ),
];

/// Writes the stub, whole or broken.
fn stub(folder: &Path, broken: Option<&Break>) -> PathBuf {
    let (mut early, mut meta) = ("", META.to_owned());
    match broken {
        None => {}
        Some(Early(shell)) => early = shell,
        Some(Meta(from, to)) => {
            assert!(meta.contains(from), "{from} is in the stub's metadata");
            meta = meta.replacen(from, to, 1);
        }
    }
    let text = STUB.replace("@EARLY@", &format!("\n{early}")).replace("@META@", &meta);
    // Nobody must be able to read it.
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).unwrap();
    let file = folder.join("stub");
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
    file
}

fn judge() -> Command {
    Command::new(env!("CARGO_BIN_EXE_ringfence-conformance"))
}

/// The outcomes of these cases on this agent.
fn judged(file: &Path, choice: &[&str]) -> Vec<Value> {
    let output = judge()
        .args(["check", "--param", "key=k1", "--format", "json"])
        .args(choice)
        .arg(file)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let value: Value = serde_json::from_str(&text)
        .unwrap_or_else(|why| panic!("{why}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    outcomes(&value)
}

fn outcomes(value: &Value) -> Vec<Value> {
    value.as_array().or_else(|| value["outcomes"].as_array()).expect("a list of outcomes").clone()
}

/// The ids of all contract cases of resource agents, without `resource/`.
fn ids() -> Vec<String> {
    let output = judge().args(["list", "--tag", "contract", "--case", "resource/"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let words = text.lines().filter_map(|line| line.split_whitespace().next());
    words.filter_map(|id| id.strip_prefix("resource/")).map(str::to_owned).collect()
}

#[test]
fn every_case_has_a_stub_that_breaks_it() {
    let ids = ids();
    assert!(ids.len() > 40, "{ids:?}");
    for id in &ids {
        assert!(BROKEN.iter().any(|(broken, ..)| broken == id), "no stub breaks {id}");
    }
    for (id, ..) in BROKEN {
        assert!(ids.iter().any(|known| known == id), "{id} is no case");
    }
}

#[test]
fn a_stub_that_holds_holds_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let file = stub(folder.path(), None);
    let outcomes = judged(&file, &["--tag", "contract"]);
    assert_eq!(outcomes.len(), ids().len(), "every case is carried out");
    let not: Vec<&Value> = outcomes.iter().filter(|outcome| outcome["verdict"] != "held").collect();
    assert!(not.is_empty(), "{not:#?}");
}

#[test]
fn every_broken_stub_is_caught() {
    let mut missed = Vec::new();
    for (id, broken, words) in BROKEN {
        let folder = tempfile::tempdir().unwrap();
        let file = stub(folder.path(), Some(broken));
        let id = format!("resource/{id}");
        let outcomes = judged(&file, &["--case", &id]);
        let outcome = outcomes.iter().find(|outcome| outcome["case"] == *id).expect("its outcome");
        let found = outcome["verdict"] == "broken"
            && outcome["findings"]
                .as_array()
                .is_some_and(|all| all.iter().any(|one| one["what"].as_str().unwrap().contains(words)));
        if !found {
            missed.push(format!("{id} ({words}): {outcome:#}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
