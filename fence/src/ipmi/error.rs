//! Why a conversation with a BMC failed, in words an administrator can act on.
//!
//! Every cause that needs a different remedy is its own variant. The words "timed out" stand in exactly one of
//! them: Pacemaker takes them out of an agent's output and treats them as a time-out of the operation.

use std::fmt;

use super::Privilege;

/// Why the BMC could not be asked, or refused. The text is lower case, cause first, and never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The given parameters cannot work with any BMC (a password that is too long, a suite nobody defined).
    Invalid(String),
    /// The host name has no address.
    Resolve {
        /// The name as it was given.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// The network said no: ICMP port unreachable, no route, ARP without an answer.
    Unreachable {
        /// Where the packet was sent.
        host: String,
        /// The kernel's words.
        reason: String,
    },
    /// Nothing came back in time.
    TimedOut {
        /// Which answer was awaited.
        waiting_for: &'static str,
        /// A power command was sent exactly once and may or may not have been carried out.
        maybe_done: bool,
    },
    /// The BMC does not know the user, or the user is disabled.
    WrongUser,
    /// The user's key does not fit.
    WrongPassword,
    /// The password fits but the BMC key (Kg) does not.
    WrongKg {
        /// A Kg was configured here.
        given: bool,
    },
    /// The user or the session may not do that.
    Privilege {
        /// The level that was asked for.
        asked: Privilege,
        /// What was refused.
        what: &'static str,
    },
    /// The BMC accepts none of the cipher suites that were offered.
    CipherUnsupported {
        /// The suites tried, in order.
        tried: Vec<u8>,
    },
    /// The BMC says it speaks IPMI 1.5 only.
    NoVersion20,
    /// The BMC does not offer the IPMI 1.5 authentication that was asked for.
    AuthUnsupported,
    /// All session slots of the BMC are taken.
    Busy,
    /// The BMC does not implement the command.
    Unsupported(&'static str),
    /// The command does not fit the present power state (completion code D5h).
    WrongState(&'static str),
    /// The BMC broke the protocol.
    Protocol(String),
    /// Any other completion code.
    Completion {
        /// The command.
        what: &'static str,
        /// The code.
        code: u8,
    },
    /// The caller was asked to end.
    Interrupted,
    /// A local socket or random number fault.
    Local(String),
}

impl Error {
    /// Whether a new try at the same moment could only fail again (wrong name, password, key, privilege or parameter).
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Invalid(_)
            | Self::WrongUser
            | Self::WrongPassword
            | Self::WrongKg { .. }
            | Self::Privilege { .. }
            | Self::CipherUnsupported { .. }
            | Self::NoVersion20
            | Self::AuthUnsupported
            | Self::Interrupted
            | Self::Unsupported(_) => true,
            Self::Resolve { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Busy
            | Self::WrongState(_)
            | Self::Protocol(_)
            | Self::Completion { .. }
            | Self::Local(_) => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(text) => f.write_str(text),
            Self::Resolve { host, reason } => write!(
                f,
                "cannot resolve '{host}': {reason} (use the bmc's address, name service may be down while fencing)"
            ),
            Self::Unreachable { host, reason } => write!(
                f,
                "bmc {host} is unreachable: {reason} (check address, ipport and that ipmi over lan is enabled)"
            ),
            Self::TimedOut { waiting_for, maybe_done: false } => {
                write!(f, "timed out waiting for {waiting_for} (check address, network and that ipmi over lan is enabled)")
            }
            Self::TimedOut { waiting_for, maybe_done: true } => {
                write!(f, "timed out waiting for {waiting_for}: it was sent once and may have been carried out (check the power state)")
            }
            Self::WrongUser => f.write_str(
                "user name refused by the bmc (check username, and that the user is enabled for ipmi over lan)",
            ),
            Self::WrongPassword => f.write_str("wrong password (check password; bmcs keep ipmi passwords of at most 16 or 20 bytes)"),
            Self::WrongKg { given: true } => f.write_str("wrong bmc key Kg, user and password fit (check hexadecimal_kg)"),
            Self::WrongKg { given: false } => {
                f.write_str("the bmc demands a key Kg, user and password fit (set hexadecimal_kg)")
            }
            Self::Privilege { asked: Privilege::Administrator, what } => {
                write!(f, "insufficient privilege for {what} at level administrator (try privlvl=operator)")
            }
            Self::Privilege { asked: Privilege::Operator, what } => write!(
                f,
                "insufficient privilege for {what} at level operator (power control needs an operator: raise the user's limit on the bmc)"
            ),
            Self::Privilege { asked: asked @ (Privilege::Callback | Privilege::User), what } => {
                write!(f, "insufficient privilege for {what} at level {asked} (power control needs privlvl=operator)")
            }
            Self::CipherUnsupported { tried } => {
                write!(f, "cipher suite not supported by the bmc: tried ")?;
                for (n, suite) in tried.iter().enumerate() {
                    write!(f, "{}{suite}", if n == 0 { "" } else { ", " })?;
                }
                f.write_str(" (set cipher to a suite that is enabled on the bmc)")
            }
            Self::NoVersion20 => f.write_str("the bmc speaks ipmi 1.5 only (set lanplus=0)"),
            Self::AuthUnsupported => {
                f.write_str("the bmc does not offer this ipmi 1.5 authentication (try another auth, or lanplus=1)")
            }
            Self::Busy => f.write_str("the bmc has no free session (close other ipmi sessions or wait until they expire)"),
            Self::Unsupported(what) => write!(f, "{what} is not supported by the bmc (try another method)"),
            Self::WrongState(what) => write!(f, "{what} is not possible in the present power state"),
            Self::Protocol(text) => write!(f, "malformed answer from the bmc: {text} (update the bmc's firmware)"),
            Self::Completion { what, code } => {
                write!(f, "{what} failed: completion code {code:02x}h, {}", completion_name(*code))
            }
            Self::Interrupted => f.write_str("ended by a signal"),
            Self::Local(text) => write!(f, "local fault: {text}"),
        }
    }
}

impl std::error::Error for Error {}

/// The name of a generic completion code, IPMI v2.0 rev 1.1 table 5-2.
pub fn completion_name(code: u8) -> &'static str {
    match code {
        0x00 => "completed normally",
        0xC0 => "node busy",
        0xC1 => "invalid command",
        0xC2 => "command invalid for given lun",
        0xC3 => "timeout while processing command", // never shown beside "timed out": it is the bmc's, not ours
        0xC4 => "out of space",
        0xC5 => "reservation canceled or invalid",
        0xC6 => "request data truncated",
        0xC7 => "request data length invalid",
        0xC8 => "request data field length limit exceeded",
        0xC9 => "parameter out of range",
        0xCA => "cannot return number of requested data bytes",
        0xCB => "requested sensor, data, or record not present",
        0xCC => "invalid data field in request",
        0xCD => "command illegal for specified sensor or record type",
        0xCE => "command response could not be provided",
        0xCF => "cannot execute duplicated request",
        0xD0 => "sdr repository in update mode",
        0xD1 => "device in firmware update mode",
        0xD2 => "bmc initialization in progress",
        0xD3 => "destination unavailable",
        0xD4 => "insufficient privilege level",
        0xD5 => "command not supported in present state",
        0xD6 => "command disabled",
        0xFF => "unspecified error",
        0x01..=0x7E => "device-specific code",
        0x80..=0xBE => "command-specific code",
        0x7F | 0xBF | 0xD7..=0xFE => "reserved code",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_real_timeout_says_timed_out() {
        let all = [
            Error::Invalid("x".into()),
            Error::Resolve { host: "h".into(), reason: "r".into() },
            Error::Unreachable { host: "h".into(), reason: "r".into() },
            Error::WrongUser,
            Error::WrongPassword,
            Error::WrongKg { given: true },
            Error::WrongKg { given: false },
            Error::Privilege { asked: Privilege::Administrator, what: "power off" },
            Error::Privilege { asked: Privilege::User, what: "power off" },
            Error::CipherUnsupported { tried: vec![17, 3] },
            Error::NoVersion20,
            Error::AuthUnsupported,
            Error::Busy,
            Error::Unsupported("diag"),
            Error::WrongState("cycle"),
            Error::Protocol("x".into()),
            Error::Local("x".into()),
        ];
        for error in all {
            assert!(!error.to_string().contains("timed out"), "{error}");
        }
        for code in 0..=255 {
            assert!(!Error::Completion { what: "x", code }.to_string().contains("timed out"));
        }
        for maybe_done in [false, true] {
            assert!(Error::TimedOut { waiting_for: "x", maybe_done }.to_string().contains("timed out"));
        }
    }

    #[test]
    fn privilege_has_a_remedy() {
        let text = Error::Privilege { asked: Privilege::Administrator, what: "session" }.to_string();
        assert!(text.contains("privlvl=operator"), "{text}");
        assert!(Error::CipherUnsupported { tried: vec![17, 3] }.to_string().contains("17, 3"));
    }
}
