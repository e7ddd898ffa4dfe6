//! Framework for OCF resource agents and fence agents.
//!
//! The only code of the project that touches the environment, argv, the clock, child processes and exit.
//! An agent declares its parameters once and implements [`agent::Agent`]; everything else (dialects,
//! verbs, metadata, logging, deadlines, exit codes) lives here. See `examples/` for complete agents.

pub mod agent;
pub mod cluster;
pub mod cmd;
pub mod code;
pub mod context;
pub mod deadline;
pub mod dialect;
pub mod env;
pub mod fence;
pub mod local_time;
pub mod log;
pub mod metadata;
pub mod param;
pub mod run;
pub mod runfile;
pub mod secret;
pub mod spec;
pub mod syslog;
pub mod testkit;
pub mod trace;
pub mod validate;
pub mod verbs;
pub mod xml;
