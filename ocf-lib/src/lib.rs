//! Framework for OCF resource agents and fence agents.
//!
//! The only code of the project that touches the environment, argv, the clock, child processes and exit.
//! [`resource`] and [`fence`] each hold one kind of agent from `main` to the exit code; what both need stands beside
//! them. See `examples/` for complete agents.

pub mod cmd;
pub mod conversation;
pub mod deadline;
pub mod env;
pub mod fence;
pub mod local_time;
pub mod log;
pub mod resource;
pub mod secret;
pub mod syslog;
pub mod xml;
