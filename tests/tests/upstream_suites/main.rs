//! What Pacemaker's own regression tests ask of its daemons, asked with our agents below them.
//!
//! Debian ships neither `cts-exec` nor `cts-fencing` (`skips.txt` says what of them is done here and what is not), so the
//! same sequences are given to the real `pacemaker-execd` and `pacemaker-fenced`. And the metadata of every agent that
//! upstream has too is held against upstream's.
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

mod executor;
mod fencing;
mod metadata;
mod place;
mod skips;

use ringfence_tests::cluster::needs;
use ringfence_tests::subjects::{Subjects, subjects};
use std::path::Path;

/// The installed agents, when this machine has what the test needs. `None`: it lacks something, and that was noted.
fn agents_for(test: &str, programs: &[(&str, &str)]) -> Option<Subjects> {
    let mut missing = needs::missing_of(programs);
    if !nix::unistd::geteuid().is_root() {
        missing.push("root (namespaces and mounts)".to_owned());
    }
    needs::met_or_blocked(test, &missing).then(|| subjects(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap())
}
