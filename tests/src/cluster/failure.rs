//! Why a cluster did not do what was asked.

use std::fmt;
use std::io;
use std::time::Duration;

/// Why a cluster could not be made, asked or waited for.
#[derive(Debug)]
pub enum ClusterError {
    /// Something the host must have is not there: one line each, with the package.
    Needs(Vec<String>),
    /// The system refused; the text says what was tried.
    Io(String, io::Error),
    /// What was waited for did not happen in time; the text says what was seen last.
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
        /// The last observation.
        last: String,
    },
    /// A cluster of that shape cannot be made.
    Shape(String),
}

impl ClusterError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io(what, error)
    }
}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Needs(lines) => write!(f, "needs {}", lines.join(", ")),
            Self::Io(what, error) => write!(f, "cannot {what}: {error}"),
            Self::Timeout { what, after, last } => {
                write!(f, "no {what} after {:.0} s; last seen: {last}", after.as_secs_f64())
            }
            Self::Shape(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for ClusterError {}
