//! Random sequences of actions and outside events against a small model of each kind of resource.

use crate::case::Case;
use clap::ArgMatches;
use std::process::ExitCode;

pub fn all() -> Vec<Case> {
    Vec::new()
}

/// The process that plays sequences in a host of its own.
pub fn child(_: &ArgMatches) -> ExitCode {
    ExitCode::from(2)
}
