//! The program `fence_ssh` beside real sshds, each of which is a node of its own: a process tree in namespaces that dies as a whole
//! when the node reboots. Needs root, `openssh-server` and `openssh-client`; under Heartbeat's and Pacemaker's hands also
//! `cluster-glue` and `pacemaker`.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::too_many_lines,
    reason = "a test starts programs and daemons, reads its own settings, prints its figures and may panic"
)]

#[allow(dead_code, reason = "shared with the tests of another agent")]
#[path = "ipmilan/agent.rs"]
mod agent;
#[path = "ssh/fault_schedules.rs"]
mod fault_schedules;
#[path = "ssh/login.rs"]
mod login;
#[path = "ssh/managers.rs"]
mod managers;
#[path = "ssh/node.rs"]
mod node;
#[path = "ssh/power.rs"]
mod power;
