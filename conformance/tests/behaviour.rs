//! Behaviour cases and `compare`, as a person runs them: on stub agents that break something, and on ours beside
//! upstream's. Needs root: without it these tests fail, they never pass.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that runs the judge"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const CASE: &str = "case quiet\n  about a small thing that one of two agents does wrong\n  level stub\n  run start\n  expect 0\n";
const ENTRY: &str =
    "[[divergence]]\nagent = \"Stub\"\nid = \"it\"\nkind = \"stricter\"\nwhat = \"w\"\nwhy = \"y\"\n";

struct Bench(tempfile::TempDir);

impl Bench {
    /// Two stub agents whose start ends with these codes, and one case.
    fn new(case: &str, theirs: u8, ours: u8) -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        for (folder, code) in [("theirs", theirs), ("ours", ours)] {
            let agent = bench.path(folder).join("Stub");
            fs::create_dir_all(bench.path(folder)).unwrap();
            let script = format!(
                "#!/bin/sh\ncase $1 in\nmeta-data) echo '<resource-agent name=\"Stub\"><actions><action name=\"start\"/>\
                </actions></resource-agent>';;\nstart) exit {code};;\nesac\n"
            );
            fs::write(&agent, script).unwrap();
            fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::create_dir_all(bench.path("cases/Stub")).unwrap();
        fs::write(bench.path("cases/Stub/small.case"), case).unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn judge(&self, args: &[&str]) -> (Option<i32>, String) {
        run(Command::new(env!("CARGO_BIN_EXE_ringfence-conformance"))
            .args(args)
            .env("RINGFENCE_CASES", self.path("cases")))
    }

    fn compare(&self, entries: &str) -> (Option<i32>, String) {
        fs::write(self.path("d.toml"), entries).unwrap();
        let place = |name| self.path(name).display().to_string();
        let (theirs, ours, list) = (place("theirs"), place("ours"), place("d.toml"));
        self.judge(&[
            "compare",
            "--theirs",
            &theirs,
            "--ours",
            &ours,
            "--divergences",
            &list,
            "--tag",
            "behaviour",
        ])
    }
}

fn run(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn mistakes_in_a_case_are_told_with_file_and_line() {
    for (case, told) in [
        ("case a\n  about long enough to be a sentence\n  dance\n", "Stub/small.case:3: 'dance' is no verb"),
        ("with a=b\n", "Stub/small.case:1: 'with' before the first 'case'"),
        (&CASE.replace("expect 0", "expect well"), "Stub/small.case:5: 'expect' takes"),
        (&CASE.replace("  expect 0\n", ""), "Stub/small.case:4: nobody looks how 'run start' ends"),
        (&CASE.replace("run start", "run start twice"), "Stub/small.case:4: 'twice'"),
        (
            &CASE.replace("run start", "given file /etc/passwd holds x\n  run start"),
            "Stub/small.case:4: '/etc/passwd'",
        ),
        (&CASE.replace("run start", "with \"a=b"), "Stub/small.case:4: a quote is not closed"),
        (&format!("{CASE}{CASE}"), "Stub/quiet stands in"),
    ] {
        let (code, said) = Bench::new(case, 0, 0).judge(&["list"]);
        assert!(code == Some(2) && said.contains(told), "{case}: {code:?} {said}");
    }
}

#[test]
fn a_case_breaks_on_an_agent_that_does_otherwise() {
    let bench = Bench::new(CASE, 0, 1);
    let agent = |name| bench.path(name).join("Stub").display().to_string();
    assert_eq!(bench.judge(&["check", &agent("theirs"), "--tag", "behaviour"]).0, Some(0));
    let (code, said) = bench.judge(&["check", &agent("ours"), "--tag", "behaviour"]);
    assert!(code == Some(1) && said.contains("small.case:5: exit 1 instead of 0"), "{code:?} {said}");
}

/// Level lab: nothing stands between the case and the machine, so it must be asked for; what it did is undone at its end.
#[test]
fn a_case_of_the_lab_plays_on_the_machine_itself_when_told_so() {
    let own = tempfile::tempdir().unwrap();
    let file = own.path().join("made").display().to_string();
    let case = CASE.replace("level stub", "level lab").replace(
        "  run start",
        &format!("  given done echo 'a b' >{file}\n  finally mv {file} {file}-2\n  finally test -e {file} && echo undone >>{file}\n  run start"),
    ) + &format!("  observe said cat {file} ~ a b\n  observe not said cat {file} ~ undone\n");
    let bench = Bench::new(&case, 0, 1);
    // Its own /run: the judge keeps a folder there.
    let judge = |name: &str, more: &[&str]| {
        let agent = bench.path(name).join("Stub");
        run(Command::new("unshare")
            .args(["--mount", "--", "sh", "-c", "mount -t tmpfs tmpfs /run && exec \"$@\"", "judge"])
            .arg(env!("CARGO_BIN_EXE_ringfence-conformance"))
            .args(["check", "--tag", "behaviour"])
            .args(more)
            .arg(agent)
            .env("RINGFENCE_CASES", bench.path("cases")))
    };
    let (code, said) = judge("theirs", &[]);
    assert!(code == Some(2) && fs::read_dir(own.path()).unwrap().next().is_none(), "{code:?} {said}");
    let (code, said) = judge("theirs", &["--on-this-machine"]);
    assert_eq!(code, Some(0), "{said}");
    let undone = own.path().join("made-2");
    assert_eq!(fs::read_to_string(&undone).unwrap(), "a b\nundone\n");
    fs::remove_file(&undone).unwrap();
    let (code, said) = judge("ours", &["--on-this-machine"]);
    assert!(code == Some(1) && said.contains("exit 1 instead of 0"), "{code:?} {said}");
    assert!(undone.exists(), "it is undone when the case breaks, too");
    let wrong = Bench::new(&case.replace("level lab", "level ns"), 0, 0).judge(&["list"]);
    assert!(wrong.0 == Some(2) && wrong.1.contains("'given' takes"), "{wrong:?}");
}

#[test]
fn a_difference_needs_its_entry_and_an_entry_its_difference() {
    let named = |case: &str| format!("{ENTRY}cases = [\"{case}\"]\n");
    for (theirs, ours, entries, code, told) in [
        (0, 0, String::new(), 0, "1 agree"),
        (0, 1, String::new(), 1, "holds for theirs alone, and no divergence names it"),
        (1, 0, String::new(), 1, "holds for ours alone, and no divergence names it"),
        (1, 0, named("Stub/quiet"), 0, "1 differ as intended"),
        (0, 0, named("Stub/quiet"), 1, "is stale"),
        (0, 0, named("Stub/loud"), 1, "no case is called Stub/loud"),
        (1, 0, ENTRY.to_owned(), 1, "no case shows it"),
        (1, 1, named("Stub/quiet"), 1, "holds for neither"),
        (1, 0, named("Stub/quiet") + &named("Stub/quiet"), 1, "named by another divergence"),
        (0, 0, "[[divergence]]\nid = 1\n".to_owned(), 2, "d.toml"),
    ] {
        let (ended, said) = Bench::new(CASE, theirs, ours).compare(&entries);
        assert!(ended == Some(code) && said.contains(told), "{theirs} {ours} {entries}: {ended:?} {said}");
    }
}

/// The tree that `RINGFENCE_INSTALLED` names, else one built now.
fn installed(scratch: &Path) -> PathBuf {
    if let Some(tree) = std::env::var_os("RINGFENCE_INSTALLED").filter(|tree| !tree.is_empty()) {
        return PathBuf::from(tree);
    }
    let mut install = Command::new(env!("CARGO"));
    install
        .args(["run", "--quiet", "-p", "xtask", "--", "install", "--profile", "dev", "--destdir"])
        .arg(scratch);
    let (code, said) = run(&mut install);
    assert_eq!(code, Some(0), "{said}");
    scratch.to_owned()
}

/// Our list of intended differences.
const LIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/divergences.toml");

/// Compares these agents of upstream's folder with ours, and returns status and words.
fn compared(
    theirs: &str,
    ours: &str,
    agents: &[&str],
    list: &Path,
    more: &[String],
) -> (Option<i32>, String) {
    let scratch = tempfile::tempdir().unwrap();
    run(Command::new(env!("CARGO_BIN_EXE_ringfence-conformance"))
        .args(["compare", "--theirs", theirs, "--tag", "behaviour", "--jobs", "8"])
        .args(agents.iter().flat_map(|agent| ["--agent", agent]))
        .arg("--divergences")
        .arg(list)
        .arg("--ours")
        .arg(installed(scratch.path()).join(ours))
        .args(more))
}

#[test]
fn ours_and_upstreams_agree_or_have_their_entry() {
    let heartbeat = "/usr/lib/ocf/resource.d/heartbeat";
    agree(heartbeat, "usr/lib/ocf/resource.d/ringfence", &["IPaddr2", "Dummy", "Stateful"]);
}

/// Against what a host without their kernels shows: the rest is compared in the lab (`tests/tests/lab_judge.rs`).
#[test]
fn agents_with_a_kernel_of_their_own_agree_or_have_their_entry() {
    let ours = "usr/lib/ocf/resource.d/ringfence";
    agree("/usr/lib/ocf/resource.d/heartbeat", ours, &["ZFS", "iSCSITarget", "iSCSILogicalUnit", "Xen"]);
    agree("/usr/lib/ocf/resource.d/linbit", ours, &["drbd"]);
}

/// Nothing is red, and each case that an entry names differs: without the entry it would be red.
fn agree(theirs: &str, ours: &str, agents: &[&str]) {
    let (code, said) = compared(theirs, ours, agents, Path::new(LIST), &["--verbose".to_owned()]);
    assert_eq!(code, Some(0), "{said}");
    let lab =
        run(Command::new(env!("CARGO_BIN_EXE_ringfence-conformance")).args(["list", "--level", "lab"])).1;
    let here = |case: &&String| !lab.contains(&format!("{case} "));
    for case in listed(|agent| agents.contains(&agent)).iter().filter(here) {
        assert!(said.contains(&format!("intended: {case} (")), "{case} needs no entry: {said}");
    }
}

/// The cases that entries about these agents name.
fn listed(about: impl Fn(&str) -> bool) -> Vec<String> {
    let list: toml::Table = fs::read_to_string(LIST).unwrap().parse().unwrap();
    let entries = list["divergence"].as_array().unwrap();
    entries
        .iter()
        .filter(|entry| about(entry["agent"].as_str().unwrap()))
        .filter_map(|entry| entry.get("cases")?.as_array())
        .flatten()
        .map(|case| case.as_str().unwrap().to_owned())
        .collect()
}

const FENCE: [&str; 11] = [
    "fence_ipmilan",
    "fence_idrac",
    "fence_ilo",
    "fence_ilo3",
    "fence_ilo4",
    "fence_ilo5",
    "fence_imm",
    "fence_ipmilanplus",
    "fence_mpath",
    "fence_scsi",
    "fence_xenapi",
];

#[test]
fn fence_agents_agree_or_have_their_entry() {
    let (code, said) = compared("/usr/sbin", "usr/sbin", &FENCE, Path::new(LIST), &[]);
    assert_eq!(code, Some(0), "{said}");
}

/// Every entry of the list without which something is red, and a false one for what agrees.
#[test]
fn no_entry_of_fencing_can_go_and_no_false_one_come() {
    let mut cases = listed(|agent| agent.starts_with("fence"));
    // Ten seconds of upstream's.
    cases.retain(|case| !case.contains("automatic-cipher"));
    assert!(cases.len() > 40, "{cases:?}");
    let agreeing = ["fence_ipmilan/status-on", "fence_ipmilan/off-already"];
    let bench = tempfile::tempdir().unwrap();
    let file = bench.path().join("false.toml");
    let mut text = String::new();
    for (at, case) in agreeing.iter().enumerate() {
        let entry = ENTRY.replace("\"it\"", &format!("\"it{at}\"")).replace("Stub", "fence_ipmilan");
        text = text + &entry + "cases = [\"" + case + "\"]\n";
    }
    text += &ENTRY.replace("Stub", "fence_ipmilan");
    text += &ENTRY.replace("Stub\"", "fence_ipmilan\"\nshown = \"tests/of-nobody.rs\"");
    fs::write(&file, text).unwrap();
    let chosen = cases.iter().map(String::as_str).chain(agreeing);
    let more: Vec<String> = chosen.flat_map(|case| ["--case".to_owned(), case.to_owned()]).collect();
    let (code, said) = compared("/usr/sbin", "usr/sbin", &FENCE, &file, &more);
    assert_eq!(code, Some(1), "{said}");
    for case in &cases {
        assert!(said.contains(&format!("{case}: holds for ours alone")), "{case} needs no entry: {said}");
    }
    for case in agreeing {
        assert!(said.contains(&format!("{case}: holds for both")), "{case}: {said}");
    }
    assert!(said.contains("fence_ipmilan/it: no case shows it"), "{said}");
    assert!(said.contains("'shown' names tests/of-nobody.rs, which is not there"), "{said}");
}
