//! The program `fence_xenapi` as its callers see it: against our simulated pool, faulty paths, upstream's program and Pacemaker's fencer.

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

#[path = "xenapi/agent.rs"]
mod agent;
#[path = "xenapi/bad_input.rs"]
mod bad_input;
#[path = "xenapi/beside_upstream.rs"]
mod beside_upstream;
#[path = "xenapi/fault_schedules.rs"]
mod fault_schedules;
#[path = "xenapi/hosts.rs"]
mod hosts;
#[path = "xenapi/managers.rs"]
mod managers;
#[path = "xenapi/older_form.rs"]
mod older_form;
#[path = "xenapi/power.rs"]
mod power;
#[path = "xenapi/secrets.rs"]
mod secrets;
#[path = "xenapi/simulator_is_real.rs"]
mod simulator_is_real;
#[path = "xenapi/tls.rs"]
mod tls;
