//! An IPMI client for power control: v2.0 (RMCP+) and v1.5 sessions over UDP.
//!
//! After the public standard, *IPMI v2.0 rev 1.1*; what real BMCs do differently is marked `QUIRK`.
//!
//! **Invariants**
//! * An answer is believed only when it belongs to the very request that is open (network function, command, sequence,
//!   responder), is proven by the session's keys, and its session number is new. So a status is never older than the call.
//! * A completion code of success is the BMC's word that it heard the command, not that the power changed: callers poll
//!   [`Session::chassis_status`].
//! * Each wait ends at the target's deadline. Nothing that arrives can panic, extend a wait or end a session.
//! * `off` and `on` are retransmitted (new session number, same message sequence) and repeated in a new session. Cycle, reset, diag
//!   and soft go out as **one** datagram per call: the standard lets a BMC recognise a repeated message sequence but few do, and the
//!   session number in the datagram makes the network unable to double it. Silence is then a time-out that says so.
//! * A session that may be open at the BMC is closed, also one that was given up half way or that a doubled request opened.
//! * Nothing protects a handshake: a refusal in it is believed when it comes twice.
//!
//! A status run costs seven round trips: capabilities, open session, RAKP 1/2, RAKP 3/4, set privilege, chassis status, close.
//! Set privilege stays, although a fresh session has the level "user" that status needs: a `monitor` that does not try the level that
//! `off` will need would report a fence device as good that cannot fence.
//!
//! Capabilities stay too, with v2.0. An open session request could go out first, but each copy of it that arrives may take one of a BMC's
//! few slots (`ipmi_sim` 2.0.33 does so even with the same tag), and the first question is the one that is lost to ARP, to a network
//! that comes up or to a BMC that wakes: it had better be one that takes nothing. It also tells a BMC that speaks 1.5 only from one that
//! is silent, and it is what `ipmitool` has always sent first, so each BMC was tested with it. It costs a millisecond.
//!
//! Whatever an answer names that was not awaited, a second session of a doubled request or a handshake that came to nothing, is ended
//! with the run: see `Session::finish`.
//!
//! Passwords longer than the standard's 20 bytes (16 in IPMI 1.5) are refused, as ipmitool 1.8.19 does.

mod chassis;
mod cipher;
mod closing;
mod error;
mod establish;
mod message;
mod rmcp;
mod session;
mod session15;
mod session20;
mod transport;

use std::fmt;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

pub use chassis::{Chassis, Control};
pub use error::{Error, completion_name};
pub use session::Session;
pub use session15::Auth;
pub use transport::Traffic;

/// The UDP port of IPMI.
pub const PORT: u16 = 623;

/// Longest key: the BMC key, and the password of a v2.0 session (20.10, 22.30).
const KEY_20: usize = 20;
/// Longest password of a v1.5 session.
const KEY_15: usize = 16;
/// Longest user name.
const USERNAME: usize = 16;

/// Session privilege level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    /// Can only start a callback.
    Callback,
    /// Reads state.
    User,
    /// Controls power.
    Operator,
    /// Does everything.
    Administrator,
}

impl Privilege {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Callback => 1,
            Self::User => 2,
            Self::Operator => 3,
            Self::Administrator => 4,
        }
    }
}

impl fmt::Display for Privilege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Callback => "callback",
            Self::User => "user",
            Self::Operator => "operator",
            Self::Administrator => "administrator",
        })
    }
}

/// Which protocol.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// IPMI 1.5 ("lan"). Without `auth` the best one the BMC offers.
    V15 {
        /// Authentication to use.
        auth: Option<Auth>,
    },
    /// IPMI 2.0 ("lanplus"). Without `suite` 17, then 3.
    V20 {
        /// Cipher suite to use.
        suite: Option<u8>,
    },
}

/// The BMC, the account, and how long all of it may take.
#[derive(Clone)]
pub struct Target {
    /// Name, IPv4 or IPv6 address; brackets and a scope (`fe80::1%eth0`) are understood.
    pub host: String,
    /// UDP port, usually [`PORT`].
    pub port: u16,
    /// Protocol.
    pub version: Version,
    /// At most 16 bytes; empty is the anonymous user.
    pub username: Vec<u8>,
    /// At most 20 bytes (16 with IPMI 1.5).
    pub password: Zeroizing<Vec<u8>>,
    /// The BMC key, at most 20 bytes; `None` and all zero mean none. v2.0 only.
    pub kg: Option<Zeroizing<Vec<u8>>>,
    /// Level to work at.
    pub privilege: Privilege,
    /// Slave address of the controller behind the BMC that the chassis commands are for (`ipmitool -t`).
    pub bridge_to: Option<u8>,
    /// Longest wait for an answer before the question is asked again.
    pub packet_timeout: Duration,
    /// When the first session must be open.
    pub connect_deadline: Instant,
    /// When everything must be over.
    pub deadline: Instant,
    /// True when the caller wants to end: every wait does then, and what is open is closed.
    pub interrupted: fn() -> bool,
}

impl Target {
    /// What is wrong with it already before anything is sent.
    ///
    /// # Errors
    /// [`Error::Invalid`]: a name, password or key that no BMC can have, a cipher suite that is none.
    pub fn check(&self) -> Result<(), Error> {
        if let Version::V20 { suite: Some(id) } = self.version {
            cipher::Suite::by_id(id)?;
        }
        let longest = match self.version {
            Version::V15 { .. } => KEY_15,
            Version::V20 { .. } => KEY_20,
        };
        if self.password.len() > longest {
            return Err(Error::Invalid(format!(
                "password is longer than {longest} bytes, the most an ipmi {} session can use (set a shorter one on the bmc)",
                if longest == KEY_15 { "1.5" } else { "2.0" }
            )));
        }
        if self.username.len() > USERNAME {
            return Err(Error::Invalid(format!(
                "username is longer than {USERNAME} bytes, the most ipmi knows"
            )));
        }
        if self.kg.as_ref().is_some_and(|key| key.len() > KEY_20) {
            return Err(Error::Invalid(format!("bmc key Kg is longer than {KEY_20} bytes")));
        }
        Ok(())
    }
}

/// A BMC key in hexadecimal, upper or lower case, with or without `0x`.
///
/// # Errors
/// [`Error::Invalid`] for an odd number of digits, something that is no digit, or more than 20 bytes. The text never repeats the key.
pub fn parse_kg_hex(text: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    let mut key = Zeroizing::new(Vec::with_capacity(KEY_20));
    let mut half = None;
    for digit in digits.chars() {
        let value = digit.to_digit(16).and_then(|value| u8::try_from(value).ok()).ok_or_else(|| {
            Error::Invalid("hexadecimal_kg holds a character that is no hexadecimal digit".into())
        })?;
        match half.take() {
            None => half = Some(value),
            Some(_) if key.len() == KEY_20 => {
                return Err(Error::Invalid(format!("hexadecimal_kg is longer than {KEY_20} bytes")));
            }
            Some(high) => key.push(high << 4 | value),
        }
    }
    if half.is_some() {
        return Err(Error::Invalid("hexadecimal_kg has an odd number of digits".into()));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kg_in_hex() {
        assert_eq!(*parse_kg_hex("0x00aBff").unwrap(), [0, 0xAB, 0xFF]);
        assert_eq!(parse_kg_hex(&"ab".repeat(20)).unwrap().len(), 20);
        for bad in ["abc", "zz", "0xé0", &"ab".repeat(21)] {
            let text = parse_kg_hex(bad).unwrap_err().to_string();
            assert!(!text.contains(bad), "{text}");
        }
    }

    #[test]
    fn what_cannot_work_is_told_before_anything_is_sent() {
        let target = Target {
            host: "127.0.0.1".into(),
            port: 1,
            version: Version::V20 { suite: None },
            username: b"admin".to_vec(),
            password: Zeroizing::new(vec![b'x'; 20]),
            kg: None,
            privilege: Privilege::Operator,
            bridge_to: None,
            packet_timeout: Duration::from_secs(1),
            connect_deadline: Instant::now(),
            deadline: Instant::now(),
            interrupted: || false,
        };
        assert!(target.check().is_ok());
        assert!(Target { password: Zeroizing::new(vec![b'x'; 21]), ..target.clone() }.check().is_err());
        assert!(Target { version: Version::V15 { auth: None }, ..target.clone() }.check().is_err());
        assert!(Target { username: vec![b'x'; 17], ..target.clone() }.check().is_err());
        assert!(Target { kg: Some(Zeroizing::new(vec![0; 21])), ..target }.check().is_err());
    }
}
