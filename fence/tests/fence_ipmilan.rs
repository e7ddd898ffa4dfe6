//! The program `fence_ipmilan` as its callers see it: against the real `ipmi_sim`, our simulator, faulty paths, upstream's program,
//! Heartbeat's `stonith` and Pacemaker's fencer.

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

#[path = "ipmilan/agent.rs"]
mod agent;
#[path = "ipmilan/bad_input.rs"]
mod bad_input;
#[path = "ipmilan/beside_upstream.rs"]
mod beside_upstream;
#[path = "ipmilan/fault_schedules.rs"]
mod fault_schedules;
#[path = "ipmilan/managers.rs"]
mod managers;
#[path = "ipmilan/parameters.rs"]
mod parameters;
#[path = "ipmilan/power.rs"]
mod power;
#[path = "ipmilan/secrets.rs"]
mod secrets;
