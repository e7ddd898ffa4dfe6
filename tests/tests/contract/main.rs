//! What ours promise beyond the standards, and the tools that must take them, found by asking the installed agents: no
//! test here names one. If an agent needs parameters to be used, they go into `parameters.txt`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "a test's helper functions are tests too"
)]

mod call;
mod document;
mod host;
mod ocf_tester;
mod ours;
mod parameters;
mod tools;

use call::Call;
use ringfence_tests::cluster::needs;
use ringfence_tests::subjects::{Subject, Subjects, subjects};
use std::path::Path;
use std::sync::OnceLock;

/// Folders of programs, as the managers' environments have them.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

fn installed() -> &'static Subjects {
    static INSTALLED: OnceLock<Subjects> = OnceLock::new();
    INSTALLED.get_or_init(|| subjects(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap())
}

/// False: something is missing, and that was noted for the person who runs the tests.
fn can(test: &str, programs: &[(&str, &str)]) -> bool {
    let mut missing = needs::missing_of(programs);
    if !nix::unistd::geteuid().is_root() {
        missing.push("root (namespaces and mounts)".to_owned());
    }
    needs::met_or_blocked(test, &missing)
}

/// What a host of its own is made with.
const HOST: (&str, &str) = ("ip", "iproute2");

/// A call as Pacemaker makes it: a probe, if the action is `monitor`.
fn pacemaker(agent: &Subject, action: &str) -> Call {
    Call::new(&agent.file)
        .arg(action)
        .env("PATH", PATH)
        .env("LC_ALL", "C")
        .env("OCF_ROOT", "/usr/lib/ocf")
        .env("OCF_RA_VERSION_MAJOR", "1")
        .env("OCF_RA_VERSION_MINOR", "1")
        .env("OCF_RESOURCE_INSTANCE", "rf")
        .env("OCF_RESOURCE_TYPE", agent.name.as_str())
        .env("OCF_RESOURCE_PROVIDER", "ringfence")
        .env("OCF_EXIT_REASON_PREFIX", "ocf-exit-reason:")
        .param("CRM_meta_timeout", "20000")
        .param("CRM_meta_interval", "0")
        .param("CRM_meta_name", action)
}

/// The same with parameters.
fn with(call: Call, parameters: &parameters::Parameters) -> Call {
    parameters.iter().fold(call, |call, (name, value)| call.param(name, value.as_str()))
}

/// Meta-data as Pacemaker reads it.
fn document_of(agent: &Subject) -> document::Node {
    document::parse(&pacemaker(agent, "meta-data").run().is(0).out)
}

/// Metadata of a fence agent as Pacemaker asks for it.
fn fence_document_of(agent: &Subject) -> document::Node {
    document::parse(&Call::new(&agent.file).stdin("action=metadata\n").run().is(0).out)
}

#[test]
fn every_line_of_the_test_parameters_is_used() {
    let subjects = installed();
    let all = subjects.resource.iter().chain(&subjects.fence).chain(&subjects.external);
    let known: Vec<&str> = all.map(|subject| subject.name.as_str()).collect();
    assert_eq!(parameters::unknown(&known), Vec::<String>::new());
}
