//! When a node is away: looks at its port.

use ocf_lib::fence::prelude::*;
use ringfence_fence::tcp;
use std::io::ErrorKind as Io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Looks without an answer, in a row, after which a node is away.
const LOOKS: u32 = 3;
/// And the time from the first to the last of them, at least.
const AWAY_FOR: Duration = Duration::from_millis(1500);
/// How long one look waits for an answer.
pub const ONE_LOOK: Duration = Duration::from_secs(1);
/// Looks in a row that found nobody.
#[derive(Default)]
pub struct Absence {
    looks: u32,
    since: Option<Instant>,
}

impl Absence {
    /// One look more.
    pub fn note(&mut self, away: bool) {
        if away {
            self.looks += 1;
            self.since.get_or_insert_with(Instant::now);
        } else {
            *self = Self::default();
        }
    }

    /// Often and long enough.
    pub fn is_lasting(&self) -> bool {
        self.looks >= LOOKS && self.since.is_some_and(|since| since.elapsed() >= AWAY_FOR)
    }
}

/// What one look at a node's port found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Something takes connections there.
    Listening,
    /// The node's kernel lives, no sshd does.
    Refused,
    /// No answer, or a router or the neighbours say that nobody is there.
    Silent,
}

/// Tries the node's port once. An error when the reason lies in this machine: then nothing was seen.
pub fn look(address: SocketAddr) -> Result<Sight, FenceError> {
    let ours = |error: &std::io::Error| {
        Err(FenceError::unreachable(format!("cannot look at {address} from here: {}", tcp::plain(error))))
    };
    match TcpStream::connect_timeout(&address, ONE_LOOK) {
        Ok(_) => Ok(Sight::Listening),
        #[allow(
            clippy::wildcard_enum_match_arm,
            reason = "io::ErrorKind is open: what is not known proves nothing"
        )]
        Err(error) => match error.kind() {
            Io::ConnectionRefused => Ok(Sight::Refused),
            Io::ConnectionReset => Ok(Sight::Listening),
            Io::TimedOut | Io::WouldBlock | Io::HostUnreachable => Ok(Sight::Silent),
            _ => ours(&error),
        },
    }
}
