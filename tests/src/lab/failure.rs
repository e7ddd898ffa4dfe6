//! Why the lab did not do what was asked.

use std::fmt;
use std::io;
use std::time::Duration;

/// Why the lab could not be made, asked or waited for. A test may simply `unwrap` it: what is shown is the whole story.
pub enum LabError {
    /// Something the host must have is not there: one line each, with the package.
    Needs(Vec<String>),
    /// The system refused; the text says what was tried.
    Io(String, io::Error),
    /// A tool or QEMU refused; the text says what was tried and its words.
    Refused(String),
    /// What was waited for did not happen in time.
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
        /// The last observation.
        last: String,
    },
    /// A command in a guest ended otherwise than with 0; the text holds its output and the console's tail.
    Command(String),
}

impl LabError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io(what, error)
    }

    /// The same with what else there is to know, below it.
    pub(crate) fn with(self, more: &str) -> Self {
        if more.is_empty() {
            return self;
        }
        match self {
            Self::Needs(_) => self,
            Self::Command(text) => Self::Command(format!("{text}\n{more}")),
            Self::Io(..) | Self::Refused(_) | Self::Timeout { .. } => {
                Self::Refused(format!("{self}\n{more}"))
            }
        }
    }
}

impl fmt::Display for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Needs(lines) => write!(f, "needs {}", lines.join(", ")),
            Self::Io(what, error) => write!(f, "cannot {what}: {error}"),
            Self::Refused(text) | Self::Command(text) => f.write_str(text),
            Self::Timeout { what, after, last } => {
                write!(f, "no {what} after {:.0} s; last seen: {last}", after.as_secs_f64())
            }
        }
    }
}

/// As Display: `unwrap` in a test shows this.
impl fmt::Debug for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::error::Error for LabError {}
