//! Every installed agent before the judge: the contract, random sequences against a model, and its behaviour cases.
//! How ours differ from upstream's is compared in the judge's own tests.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test: it calls the judge as a person does, and panics when it finds something"
)]

use ringfence_tests::cluster::needs;
use ringfence_tests::subjects::{Subject, subjects};
use std::path::Path;
use std::process::Command;

/// What its cases look at the host with.
const NEEDS: [(&str, &str); 5] = [
    ("ip", "iproute2"),
    ("xmllint", "libxml2-utils"),
    ("ipmi_sim", "openipmi"),
    ("lvm", "lvm2"),
    ("nft", "nftables"),
];

/// What has to have a disk to be started, which no trial's host has: its life is judged in the lab (`cargo xtask lab`).
const LAB: [&str; 2] = ["drbd", "multipath-resize"];
/// What looks again for seconds before it calls something gone, as a guest may be rebooting: forty sequences do not end in the
/// time that they have. It is judged by the contract and by its own cases.
const PATIENT: [&str; 1] = ["Xen"];

#[test]
fn finds_nothing_in_ours() {
    let mut missing = needs::missing_of(&NEEDS);
    if !nix::unistd::geteuid().is_root() {
        missing.push("root (namespaces and mounts)".to_owned());
    }
    if !needs::met_or_blocked("finds_nothing_in_ours", &missing) {
        return;
    }
    let subjects = subjects(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
    let all = subjects.resource.iter().chain(&subjects.fence);
    let (apart, agents): (Vec<&Subject>, Vec<&Subject>) =
        all.partition(|agent| LAB.contains(&agent.name.as_str()) || PATIENT.contains(&agent.name.as_str()));
    let own = |agent: &Subject| format!("{}/", agent.name);
    let ways = apart.into_iter().flat_map(|agent| {
        if LAB.contains(&agent.name.as_str()) {
            vec![(agent, Vec::new())]
        } else {
            let tag = vec!["--tag".to_owned(), "contract".to_owned()];
            vec![(agent, tag), (agent, vec!["--case".to_owned(), own(agent)])]
        }
    });
    for (agent, which) in ways {
        let output = Command::new(subjects.tree.join("usr/bin/ringfence-conformance"))
            .args(["check", "--jobs", "8"])
            .args(which)
            .arg(&agent.file)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let counts = text.lines().last().unwrap_or_default();
        let held: usize = counts.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0);
        assert!(held > 20 && counts.contains(" 0 broken,"), "{}: {text}", agent.name);
    }
    let report = tempfile::NamedTempFile::new().unwrap();
    let output = Command::new(subjects.tree.join("usr/bin/ringfence-conformance"))
        .args(["check", "--format", "json", "--jobs", "8", "--output"])
        .arg(report.path())
        .args(agents.iter().map(|agent| &agent.file))
        .output()
        .unwrap();
    let text = std::fs::read_to_string(report.path()).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}\n{text}");
    // Each of them was really judged: nothing found on nothing is no pass.
    for agent in agents {
        let path = agent.file.to_str().unwrap();
        assert!(text.matches(path).count() > 20, "{path} was hardly judged");
    }
}
