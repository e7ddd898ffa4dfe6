//! Why a pool did not do what it was asked, and what that means for fencing.

use crate::http;
use crate::tcp;
use ocf_lib::fence::{ErrorKind, FenceError};
use std::fmt;

/// An error of the API, the transport or the answer's form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// No connection, or no answer.
    Transport(http::Error),
    /// The host answers, but not what the API would.
    Protocol(String),
    /// The pool's own refusal: its code, and what it says about it. (*XenServer Management API*, "Error handling".)
    Refused {
        /// `VM_BAD_POWER_STATE`
        code: String,
        /// In the order of the pool.
        arguments: Vec<String>,
    },
    /// An option is wrong; nothing was sent.
    Settings(String),
    /// Several hosts were tried; what each of them said.
    NoHost {
        /// Of the last one that was tried.
        kind: ErrorKind,
        /// `host: reason; host: reason`
        text: String,
    },
}

impl Error {
    pub(super) fn protocol(text: impl Into<String>) -> Self {
        Self::Protocol(text.into())
    }

    /// The pool's code, if it is the pool that says no.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            Self::Transport(_) | Self::Protocol(_) | Self::Settings(_) | Self::NoHost { .. } => None,
        }
    }

    /// The pool's n-th argument, counted from 0.
    pub fn argument(&self, number: usize) -> Option<&str> {
        match self {
            Self::Refused { arguments, .. } => arguments.get(number).map(String::as_str),
            Self::Transport(_) | Self::Protocol(_) | Self::Settings(_) | Self::NoHost { .. } => None,
        }
    }

    /// The connection ended before an answer came.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self, Self::Transport(http::Error::Link(tcp::Error::Lost(_))))
    }

    /// Another host may do better.
    pub(super) fn is_of_this_host(&self) -> bool {
        match self {
            Self::Transport(http::Error::Link(tcp::Error::Interrupted | tcp::Error::Settings(_)))
            | Self::Settings(_) => false,
            Self::Transport(_) | Self::Protocol(_) | Self::NoHost { .. } => true,
            Self::Refused { code, .. } => {
                matches!(
                    code.as_str(),
                    "HOST_STILL_BOOTING"
                        | "HOST_IS_SLAVE"
                        | "HOST_UNKNOWN_TO_MASTER"
                        | "HOST_HAS_NO_MANAGEMENT_IP"
                )
            }
        }
    }

    pub(super) fn kind(&self) -> ErrorKind {
        FenceError::from(self.clone()).kind()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(error) => error.fmt(f),
            Self::Protocol(text) | Self::Settings(text) | Self::NoHost { text, .. } => f.write_str(text),
            Self::Refused { code, arguments } => {
                f.write_str(code)?;
                // References say nothing to a person, and that of a session is a secret.
                for argument in
                    arguments.iter().filter(|a| !a.contains("OpaqueRef:") && !a.is_empty()).take(4)
                {
                    let shown: String = argument.chars().filter(|c| !c.is_control()).take(200).collect();
                    write!(f, " {shown}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Error {}

impl From<http::Error> for Error {
    fn from(error: http::Error) -> Self {
        Self::Transport(error)
    }
}

impl From<Error> for FenceError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Transport(error) => error.into(),
            Error::Protocol(_) => Self::protocol(text),
            Error::Settings(_) => Self::usage(text),
            Error::NoHost { kind, .. } => Self::new(kind, text),
            Error::Refused { code, .. } => refused(&code, &text),
        }
    }
}

fn refused(code: &str, text: &str) -> FenceError {
    match code {
        "SESSION_AUTHENTICATION_FAILED" => {
            FenceError::login_denied(format!("the pool refuses username or password: {text}"))
        }
        "SESSION_AUTHORIZATION_FAILED" | "RBAC_PERMISSION_DENIED" => {
            FenceError::privilege(format!("the pool says {text}"))
                .hint("give the account the role vm-operator or more")
        }
        "HOST_OFFLINE" | "HOST_NOT_LIVE" => FenceError::refused(format!(
            "the host on which the machine runs does not answer to the pool: {text}"
        ))
        .hint("fence that host, or declare it dead in the pool, before its machines can count as off"),
        "NO_HOSTS_AVAILABLE" => {
            FenceError::refused(format!("no host of the pool can run the machine: {text}"))
        }
        "OTHER_OPERATION_IN_PROGRESS" => FenceError::refused(format!("the machine is busy: {text}")),
        "VM_BAD_POWER_STATE" => FenceError::wrong_state(format!("the pool says {text}")),
        "HANDLE_INVALID" => FenceError::refused(format!("the pool does not know it any more: {text}")),
        "HOST_STILL_BOOTING" => FenceError::refused(format!("the host is still booting: {text}")),
        "HOST_IS_SLAVE" => FenceError::refused(format!("the host is not the pool's master: {text}"))
            .hint("name the master first in session_url"),
        "MESSAGE_METHOD_UNKNOWN" => {
            FenceError::unsupported(format!("the pool does not know the call: {text}"))
        }
        _ => FenceError::refused(format!("the pool says {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused_with(code: &str, arguments: &[&str]) -> Error {
        Error::Refused { code: code.into(), arguments: arguments.iter().map(|a| (*a).to_owned()).collect() }
    }

    #[test]
    fn every_refusal_has_its_kind() {
        for (code, kind) in [
            ("SESSION_AUTHENTICATION_FAILED", ErrorKind::LoginDenied),
            ("RBAC_PERMISSION_DENIED", ErrorKind::Privilege),
            ("HOST_OFFLINE", ErrorKind::Refused),
            ("VM_BAD_POWER_STATE", ErrorKind::WrongState),
            ("MESSAGE_METHOD_UNKNOWN", ErrorKind::Unsupported),
            ("ANYTHING_NEW", ErrorKind::Refused),
        ] {
            assert_eq!(refused_with(code, &[]).kind(), kind, "{code}");
        }
    }

    #[test]
    fn references_are_not_shown() {
        let error = refused_with("SESSION_INVALID", &["OpaqueRef:1", "a\nb"]);
        assert_eq!(error.to_string(), "SESSION_INVALID ab");
    }
}
