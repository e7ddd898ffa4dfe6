//! Exit codes of the OCF resource agent API 1.1, and the fault that carries one with its reason.

use crate::cmd::CmdError;
use crate::log::one_line;
use std::fmt;

/// Every code that an OCF action may end with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Code {
    Success = 0,
    Generic = 1,
    Args = 2,
    Unimplemented = 3,
    Perm = 4,
    Installed = 5,
    Configured = 6,
    NotRunning = 7,
    RunningPromoted = 8,
    FailedPromoted = 9,
    Degraded = 190,
    DegradedPromoted = 191,
}

impl Code {
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// What kind of fault it is: decides the code of `start` and `validate-all`.
///
/// Rule: wrong on every node is [`Kind::Configured`], wrong on this node [`Kind::Args`], missing on
/// this node [`Kind::Installed`], not permitted [`Kind::Perm`]; everything else is [`Kind::Generic`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Generic,
    Args,
    Unimplemented,
    Perm,
    Installed,
    Configured,
}

/// Why an action cannot succeed: one line, lower case, cause first, never a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    kind: Kind,
    reason: String,
}

impl Fault {
    fn new(kind: Kind, reason: impl Into<String>) -> Self {
        Self { kind, reason: one_line(&reason.into()) }
    }

    /// The operation failed (1).
    pub fn generic(reason: impl Into<String>) -> Self {
        Self::new(Kind::Generic, reason)
    }

    /// A parameter is wrong on this host (2).
    pub fn args(reason: impl Into<String>) -> Self {
        Self::new(Kind::Args, reason)
    }

    /// The action is unknown or not supported (3).
    pub fn unimplemented(reason: impl Into<String>) -> Self {
        Self::new(Kind::Unimplemented, reason)
    }

    /// Not permitted (4).
    pub fn perm(reason: impl Into<String>) -> Self {
        Self::new(Kind::Perm, reason)
    }

    /// A program, kernel feature or file is missing on this host (5).
    pub fn installed(reason: impl Into<String>) -> Self {
        Self::new(Kind::Installed, reason)
    }

    /// A parameter is wrong everywhere (6).
    pub fn configured(reason: impl Into<String>) -> Self {
        Self::new(Kind::Configured, reason)
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The same fault, with what was being done in front: `cannot add 10.0.0.1: <reason>`.
    #[must_use]
    pub fn context(self, doing: impl fmt::Display) -> Self {
        Self::new(self.kind, format!("{doing}: {}", self.reason))
    }

    /// The code for actions where every code is allowed (start, validate-all, promote, migration).
    pub const fn code(&self) -> Code {
        match self.kind {
            Kind::Generic => Code::Generic,
            Kind::Args => Code::Args,
            Kind::Unimplemented => Code::Unimplemented,
            Kind::Perm => Code::Perm,
            Kind::Installed => Code::Installed,
            Kind::Configured => Code::Configured,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Fault {}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        let text = error.to_string().to_lowercase();
        if error.kind() == std::io::ErrorKind::PermissionDenied {
            Self::perm(text)
        } else {
            Self::generic(text)
        }
    }
}

impl From<CmdError> for Fault {
    fn from(error: CmdError) -> Self {
        match &error {
            CmdError::Missing { .. } => Self::installed(error.to_string()),
            CmdError::Io { error: io, .. } if io.kind() == std::io::ErrorKind::PermissionDenied => {
                Self::perm(error.to_string())
            }
            CmdError::TimedOut { .. } | CmdError::Stuck { .. } | CmdError::Io { .. } => {
                Self::generic(error.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_short_line() {
        let fault = Fault::generic("cannot\nadd\r\n  it\0now");
        assert_eq!(fault.reason(), "cannot add it now");
        assert!(Fault::generic("é".repeat(4000)).reason().len() < 310);
    }

    #[test]
    fn context_keeps_the_kind() {
        let fault = Fault::installed("no nft").context("cannot start");
        assert_eq!((fault.code(), fault.reason()), (Code::Installed, "cannot start: no nft"));
    }
}
