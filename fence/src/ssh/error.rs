//! Why a node could not be spoken to by SSH.

use crate::tcp;
use ocf_lib::fence::FenceError;
use std::fmt;

/// A failure, in words for the administrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A file or an option is wrong: nothing was sent.
    Settings(String),
    /// There is no TCP connection.
    Tcp(tcp::Error),
    /// The host's key is not one that the files know. Nothing was sent to it.
    HostKey(String),
    /// The node refused every way to log in.
    Denied(String),
    /// No answer in time; what was waited for.
    TimedOut(String),
    /// The connection broke, or what came is not the protocol.
    Lost(String),
    /// The node said no: a channel, a command.
    Refused(String),
    /// A signal asked the agent to end.
    Interrupted,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(text)
            | Self::HostKey(text)
            | Self::Denied(text)
            | Self::TimedOut(text)
            | Self::Lost(text)
            | Self::Refused(text) => f.write_str(text),
            Self::Tcp(error) => error.fmt(f),
            Self::Interrupted => f.write_str("ended by a signal"),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for FenceError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Settings(_) => Self::usage(text),
            Error::Tcp(error) => error.into(),
            Error::HostKey(_) | Error::Denied(_) => Self::login_denied(text),
            Error::TimedOut(_) => Self::timed_out(text),
            Error::Lost(_) => Self::connection_lost(text),
            Error::Refused(_) => Self::refused(text),
            Error::Interrupted => Self::interrupted(),
        }
    }
}
