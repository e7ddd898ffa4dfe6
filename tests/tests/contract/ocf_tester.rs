//! The acceptance test that every upstream agent passes.

use super::host::{Disk, OWN, isolated};
use super::parameters::{only_in_the_lab, ways};
use super::{HOST, PATH, can, installed};
use ringfence_tests::subjects::{RESOURCE_AGENTS, lay_over_the_system};
use std::path::Path;
use std::process::Command;

#[test]
fn ocf_tester_passes() {
    if !can("ocf_tester_passes", &[HOST, ("xmllint", "libxml2-utils"), ("ocf-tester", "resource-agents")]) {
        return;
    }
    isolated(Disk::ForTools, || {
        let subjects = installed();
        lay_over_the_system(subjects, Path::new(OWN)).unwrap();
        for agent in subjects.resource.iter().filter(|agent| !only_in_the_lab(&agent.name)) {
            for way in ways(&agent.name) {
                let mut tester = Command::new("timeout");
                tester.args(["60", "ocf-tester", "-n", "tested"]);
                for (name, value) in &way {
                    tester.arg("-o").arg(format!("{name}={value}"));
                }
                tester.arg(Path::new("/").join(RESOURCE_AGENTS).join(&agent.name));
                let done = tester.env_clear().env("PATH", PATH).env("HOME", "/run/home").output().unwrap();
                let out = String::from_utf8_lossy(&done.stdout).into_owned();
                let err = String::from_utf8_lossy(&done.stderr);
                assert!(done.status.success(), "{} {way:?}\n{out}\n{err}", agent.name);
                assert!(out.contains("passed all tests"), "{} {way:?}\n{out}\n{err}", agent.name);
            }
        }
    });
}
