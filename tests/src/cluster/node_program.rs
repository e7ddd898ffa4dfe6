//! The program that a cluster's own processes run: pid 1 of the cluster and of each node, the BMCs' hook, the observer.

use super::{chassis_hook, node_init, observer, supervisor, switch};
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

/// Which program, and what stands before the helper's own arguments: it must hand these to [`main`].
#[derive(Debug, Clone)]
pub struct NodeProgram {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
}

impl NodeProgram {
    /// A program whose arguments go to [`main`] as they are, such as `rf-node`.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), args: Vec::new() }
    }

    /// Words (of letters and dashes) that come first, for a program that does other things too.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args = args.iter().map(|&word| word.to_owned()).collect();
        self
    }
}

/// Runs one part of a cluster; the part ends when the cluster does. Errors go to stderr, which is that part's log file.
#[must_use]
pub fn main(args: &[OsString]) -> ExitCode {
    let result = match args.split_first() {
        Some((part, rest)) => match part.to_str() {
            Some("supervise") => supervisor::main(rest),
            Some("switch") => switch::main(),
            Some("node-init") => match rest.first().and_then(|node| node.to_str()?.parse().ok()) {
                Some(node) => node_init::main(node),
                None => Err(io::Error::other("node-init without a number")),
            },
            Some("chassis-hook") => chassis_hook::main(rest),
            Some("observe") => observer::main(),
            _ => Err(io::Error::other(format!("unknown part '{}'", part.display()))),
        },
        None => Err(io::Error::other("this program is started by ringfence's test clusters")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let part = args.first().map(|part| part.to_string_lossy().into_owned()).unwrap_or_default();
            let _ = writeln!(io::stderr(), "{part}: {error}");
            ExitCode::FAILURE
        }
    }
}
