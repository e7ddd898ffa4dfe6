//! Why a fence action failed, in the words that people and Pacemaker look for.

use std::fmt;

/// The sort of failure; it decides the first words of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The device refused user or password.
    LoginDenied,
    /// The user may log in but not do this.
    Privilege,
    /// No answer from the device's address at all, or it refuses connections.
    Unreachable,
    /// The device was reached, and did not answer in time.
    TimedOut,
    /// An established connection broke.
    ConnectionLost,
    /// The device understood the request and said no.
    Refused,
    /// The device answered something that its protocol does not allow.
    Protocol,
    /// The request is not possible in the present power state.
    WrongState,
    /// The device has no such plug.
    UnknownPlug,
    /// The device or the agent cannot do this.
    Unsupported,
    /// The device did not report the wanted state in time.
    NotReached,
    /// The request itself is wrong: options, files.
    Usage,
    /// A signal asked the agent to stop.
    Interrupted,
}

/// A failure with its cause and, where there is one, a hint what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FenceError {
    kind: ErrorKind,
    cause: String,
    hint: Option<String>,
}

impl FenceError {
    /// `cause`: lower case, the device's own words, never a secret.
    pub fn new(kind: ErrorKind, cause: impl Into<String>) -> Self {
        Self { kind, cause: honest(kind, cause.into()), hint: None }
    }

    /// What the administrator can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(honest(self.kind, hint.into()));
        self
    }

    pub fn login_denied(cause: impl Into<String>) -> Self {
        Self::new(ErrorKind::LoginDenied, cause)
    }

    pub fn privilege(cause: impl Into<String>) -> Self {
        Self::new(ErrorKind::Privilege, cause)
    }

    pub fn unreachable(cause: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unreachable, cause)
    }

    pub fn timed_out(cause: impl Into<String>) -> Self {
        Self::new(ErrorKind::TimedOut, cause)
    }

    pub fn connection_lost(cause: impl Into<String>) -> Self {
        Self::new(ErrorKind::ConnectionLost, cause)
    }

    pub fn refused(cause: impl Into<String>) -> Self {
        Self::new(ErrorKind::Refused, cause)
    }

    pub fn protocol(cause: impl Into<String>) -> Self {
        Self::new(ErrorKind::Protocol, cause)
    }

    pub fn wrong_state(cause: impl Into<String>) -> Self {
        Self::new(ErrorKind::WrongState, cause)
    }

    pub fn unknown_plug(cause: impl Into<String>) -> Self {
        Self::new(ErrorKind::UnknownPlug, cause)
    }

    pub fn unsupported(cause: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, cause)
    }

    /// A true timeout whose message begins with `Failed: `, as upstream's.
    pub(super) fn not_reached(cause: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotReached, cause)
    }

    /// The same error with `subject` before its cause.
    #[must_use]
    pub(super) fn about(&self, subject: &str) -> Self {
        Self { kind: self.kind, cause: format!("{subject}: {}", self.cause), hint: self.hint.clone() }
    }

    pub fn usage(cause: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, cause)
    }

    pub fn interrupted() -> Self {
        Self::new(ErrorKind::Interrupted, "ended by a signal")
    }

    /// An I/O error while talking to the device.
    pub fn from_io(doing: &str, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        #[allow(clippy::wildcard_enum_match_arm, reason = "io::ErrorKind is open")]
        let kind = match error.kind() {
            Io::TimedOut | Io::WouldBlock => ErrorKind::TimedOut,
            Io::Interrupted => ErrorKind::Interrupted,
            Io::ConnectionReset | Io::ConnectionAborted | Io::BrokenPipe | Io::UnexpectedEof => {
                ErrorKind::ConnectionLost
            }
            _ => ErrorKind::Unreachable,
        };
        Self::new(kind, format!("{doing}: {error}"))
    }

    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub fn cause(&self) -> &str {
        &self.cause
    }

    /// True when asking again cannot help, or would do harm (a denied login locks accounts).
    pub const fn is_final(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::LoginDenied
                | ErrorKind::Privilege
                | ErrorKind::UnknownPlug
                | ErrorKind::Unsupported
                | ErrorKind::Usage
                | ErrorKind::Interrupted
        )
    }
}

/// Pacemaker takes "timed out" or "timeout" anywhere on stderr as a timeout of the agent: these words
/// are left to the errors that are one.
fn honest(kind: ErrorKind, text: String) -> String {
    if matches!(kind, ErrorKind::TimedOut | ErrorKind::NotReached) {
        return text;
    }
    let lower = text.to_ascii_lowercase();
    if !lower.contains("timed out") && !lower.contains("timeout") {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(rest) = text.get(at..) {
        let low = lower.get(at..).unwrap_or_default();
        if low.starts_with("timed out") {
            out.push_str("took too long");
            at += "timed out".len();
        } else if low.starts_with("timeout") {
            out.push_str("time limit");
            at += "timeout".len();
        } else if let Some(c) = rest.chars().next() {
            out.push(c);
            at += c.len_utf8();
        } else {
            break;
        }
    }
    out
}

impl fmt::Display for FenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The first words are those of upstream's messages, for which people search.
        let lead = match self.kind {
            ErrorKind::LoginDenied | ErrorKind::Unreachable => "Unable to connect/login to fencing device: ",
            ErrorKind::Privilege => {
                "Failed: The user does not have the correct privileges to do the requested action.: "
            }
            ErrorKind::TimedOut => "Connection timed out: ",
            ErrorKind::ConnectionLost => "Connection lost: ",
            ErrorKind::Refused
            | ErrorKind::Protocol
            | ErrorKind::WrongState
            | ErrorKind::UnknownPlug
            | ErrorKind::Unsupported
            | ErrorKind::NotReached
            | ErrorKind::Usage
            | ErrorKind::Interrupted => "Failed: ",
        };
        let lead = lead.replace(".: ", ". ");
        write!(f, "{lead}{}", self.cause)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for FenceError {}

impl From<crate::cmd::CmdError> for FenceError {
    fn from(error: crate::cmd::CmdError) -> Self {
        let kind = match &error {
            crate::cmd::CmdError::TimedOut { .. } | crate::cmd::CmdError::Stuck { .. } => ErrorKind::TimedOut,
            crate::cmd::CmdError::Missing { .. } | crate::cmd::CmdError::Io { .. } => ErrorKind::Usage,
        };
        Self::new(kind, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_timeout_speaks_of_a_timeout() {
        let lost =
            FenceError::unreachable("É: Connection Timed out (session timeout)").hint("raise login_timeout");
        let text = lost.to_string().to_lowercase();
        assert!(!text.contains("timed out") && !text.contains("timeout"), "{text}");
        assert!(FenceError::timed_out("no answer").to_string().contains("timed out"));
    }

    #[test]
    fn begins_with_the_words_people_search_for() {
        assert_eq!(
            FenceError::login_denied("user 'x' rejected").hint("check username").to_string(),
            "Unable to connect/login to fencing device: user 'x' rejected; check username"
        );
        assert_eq!(
            FenceError::privilege("needs operator").to_string(),
            "Failed: The user does not have the correct privileges to do the requested action. needs operator"
        );
    }

    #[test]
    fn io_errors_are_told_apart() {
        let io = |kind| FenceError::from_io("connect", &std::io::Error::from(kind)).kind();
        assert_eq!(io(std::io::ErrorKind::TimedOut), ErrorKind::TimedOut);
        assert_eq!(io(std::io::ErrorKind::ConnectionRefused), ErrorKind::Unreachable);
        assert_eq!(io(std::io::ErrorKind::ConnectionReset), ErrorKind::ConnectionLost);
    }
}
