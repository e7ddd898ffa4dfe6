//! The program `fence_manual` and those who confirm. Needs root: everything happens in a mount namespace with a `/run` of its own.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test starts programs and may panic"
)]

#[allow(dead_code, reason = "shared with the tests of another agent")]
#[path = "ipmilan/agent.rs"]
mod agent;
#[path = "manual/confirmation.rs"]
mod confirmation;
#[path = "manual/folder.rs"]
mod folder;
#[path = "manual/managers.rs"]
mod managers;
#[path = "manual/world.rs"]
mod world;
