//! The program `fence_ilo` as its callers see it: against the simulator of six generations, faulty paths, upstream's programs and
//! Heartbeat's `stonith`.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    clippy::too_many_lines,
    reason = "a test starts programs and daemons, reads its own settings, prints its figures and may panic"
)]

#[path = "ilo/agent.rs"]
mod agent;
#[path = "ilo/bad_input.rs"]
mod bad_input;
#[path = "ilo/beside_upstream.rs"]
mod beside_upstream;
#[path = "ilo/fault_schedules.rs"]
mod fault_schedules;
#[path = "ilo/malformed.rs"]
mod malformed;
#[path = "ilo/managers.rs"]
mod managers;
#[path = "ilo/old_devices.rs"]
mod old_devices;
#[path = "ilo/power.rs"]
mod power;
#[path = "ipmilan/agent.rs"]
#[allow(dead_code, reason = "made for another agent: what starts a program is the same")]
mod ran;
#[path = "ilo/trust.rs"]
mod trust;
