//! What can go wrong with a Lights-Out processor, told apart by what the administrator has to do.

use crate::{http, tcp};
use ocf_lib::fence::FenceError;
use std::fmt;

/// `words` are the device's own, shortened, without control characters and without the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// There is no connection, or it broke.
    Link(tcp::Error),
    /// STATUS 005Fh or 000Ah: user or password is wrong.
    Login { words: String },
    /// STATUS 0023h: the account may not do this.
    Privilege { words: String },
    /// STATUS 002Eh or 003Ch: the device cannot do this.
    Unsupported { status: u32, words: String },
    /// The machine is off, or is on, or ignores the button in its present state.
    WrongState { words: String },
    /// Any other STATUS but 0.
    Refused { status: u32, words: String },
    /// Neither RIBCL nor HTTP with `/ribcl`.
    NoRibcl(String),
    /// An answer that means nothing, or ends too early.
    Protocol(String),
}

impl Error {
    /// From a STATUS that is not 0.
    ///
    /// The codes are few and their texts many: a privilege, for one, is 0023h or 0001h with the name of the missing privilege.
    pub(super) fn of_status(status: u32, words: String) -> Self {
        let low = words.to_ascii_lowercase();
        let has = |parts: &[&str]| parts.iter().any(|part| low.contains(part));
        match status {
            0x5F | 0x0A => Self::Login { words },
            0x23 => Self::Privilege { words },
            0x2E | 0x3C => Self::Unsupported { status, words },
            0x54 => Self::WrongState { words },
            _ if has(&["login failed", "login credentials rejected", "login name not found"]) => {
                Self::Login { words }
            }
            _ if has(&["_priv required", "correct privilege", "privileges required"]) => {
                Self::Privilege { words }
            }
            _ if has(&["already on", "already off", "currently powered off", "power is off"]) => {
                Self::WrongState { words }
            }
            _ if has(&["not supported", "syntax error"]) => Self::Unsupported { status, words },
            _ => Self::Refused { status, words },
        }
    }

    /// Another way of saying the same to the device may do.
    pub(super) const fn suggests_another_command(&self) -> bool {
        matches!(self, Self::Unsupported { .. } | Self::Refused { .. })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(error) => error.fmt(f),
            Self::Login { words } => write!(f, "the device refuses user or password: '{words}'"),
            Self::Privilege { words } => {
                write!(f, "the account may log in, but not switch the power: '{words}'")
            }
            Self::Unsupported { status, words } => {
                write!(f, "the device cannot do this (status 0x{status:04x}): '{words}'")
            }
            Self::WrongState { words } => write!(f, "not in the present power state: '{words}'"),
            Self::Refused { status, words } => {
                write!(f, "the device says no (status 0x{status:04x}): '{words}'")
            }
            Self::NoRibcl(text) | Self::Protocol(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

impl From<tcp::Error> for Error {
    fn from(error: tcp::Error) -> Self {
        Self::Link(error)
    }
}

impl From<http::Error> for Error {
    fn from(error: http::Error) -> Self {
        match error {
            http::Error::Link(error) => Self::Link(error),
            http::Error::Protocol(text) => Self::Protocol(text),
        }
    }
}

impl From<Error> for FenceError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Link(error) => error.into(),
            Error::Login { .. } => Self::login_denied(text).hint("check username and password"),
            Error::Privilege { .. } => {
                Self::privilege(text).hint("give the account the privilege 'virtual power and reset'")
            }
            // Not final: the state that the device reports decides, and it may be the wanted one.
            Error::Unsupported { .. } | Error::Refused { .. } => Self::refused(text),
            Error::WrongState { .. } => Self::wrong_state(text),
            Error::NoRibcl(_) => Self::unsupported(text)
                .hint("an iLO 6 has no RIBCL, and an iLO 5 may have it switched off: use fence_redfish or fence_ilo5"),
            Error::Protocol(_) => Self::protocol(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocf_lib::fence::ErrorKind;

    #[test]
    fn login_and_privilege_and_the_rest_are_told_apart() {
        for (status, words, kind) in [
            (0x5F, "Login failed.", ErrorKind::LoginDenied),
            (0x0A, "User not found", ErrorKind::LoginDenied),
            (0x01, "Login credentials rejected.", ErrorKind::LoginDenied),
            (0x23, "x", ErrorKind::Privilege),
            (
                0x01,
                "User does NOT have correct privilege for action. RESET_SERVER_PRIV required.",
                ErrorKind::Privilege,
            ),
            (0x3C, "Feature is not supported", ErrorKind::Refused),
            (0x01, "Server is currently powered off.", ErrorKind::WrongState),
            (0x54, "Command without TOGGLE=\"Yes\" is ignored", ErrorKind::WrongState),
            (0x01, "Host power is already OFF.", ErrorKind::WrongState),
            (0x99, "?", ErrorKind::Refused),
        ] {
            let error = FenceError::from(Error::of_status(status, words.into()));
            assert_eq!(error.kind(), kind, "{words}");
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
