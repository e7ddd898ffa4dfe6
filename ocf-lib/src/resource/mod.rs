//! The resource side of the framework: one resource agent is one file that declares a [`spec::Spec`] and its
//! parameters, implements [`agent::Agent`] and calls [`run::run`].
//!
//! Everything else exists once, here: the dialects of the cluster managers, checks of parameters, what each action
//! means, deadlines, promotion scores, metadata, usage, exit codes and reasons, logs, tracing. The complete example
//! is `examples/lamp.rs`.
//!
//! Invariant: an action ends with success only when [`agent::Agent::probe`], asked after it, saw what was wanted.

pub mod agent;
pub mod cluster;
pub mod code;
pub mod context;
pub mod dialect;
pub mod metadata;
pub mod param;
pub mod run;
pub mod runfile;
pub mod spec;
pub mod testkit;
pub mod trace;
pub mod validate;
pub mod verbs;

/// What the file of a resource agent imports.
pub mod prelude {
    pub use super::agent::{Agent, Faults, State, Verb};
    pub use super::cluster::Score;
    pub use super::code::Fault;
    pub use super::context::Cx;
    pub use super::param::{AbsolutePath, param};
    pub use super::run::run;
    pub use super::runfile::{RunFile, default_state};
    pub use super::spec::{Command, Foreign, Rgmanager, Role, Spec, action, foreign};
    pub use crate::params;
    pub use std::process::ExitCode;
}
