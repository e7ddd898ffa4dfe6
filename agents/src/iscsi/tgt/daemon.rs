//! One question to tgtd and its answer, until a deadline.

use super::request::{Header, Mode, Operation};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use ocf_lib::deadline::Deadline;
use ocf_lib::env::Env;
use ocf_lib::resource::code::Fault;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where tgtd listens unless the variable `TGT_IPC_SOCKET` says otherwise, for it and for tgtadm alike. The number
/// behind it is the control port; agents use port 0, as tgtadm does by default.
const SOCKET: &str = "/var/run/tgtd/socket";
/// An answer longer than this is not one of tgtd's. Bytes.
const LONGEST: usize = 64 << 20;
/// Waits without a deadline of the action end here.
const AT_MOST: Duration = Duration::from_secs(60);

/// Why there is no answer, or what tgtd has against the request.
#[derive(Debug, PartialEq, Eq)]
pub enum Error {
    /// Nobody listens on the socket.
    NotRunning,
    /// The code of tgtd's answer.
    Refused(u32),
    Failed(String),
    /// The socket is not for this user.
    Permission(String),
}

/// Codes of answers that mean something to a caller.
impl Error {
    pub const NO_TARGET: Self = Self::Refused(4);
    pub const NO_UNIT: Self = Self::Refused(5);
    pub const NO_SESSION: Self = Self::Refused(6);
    pub const NO_CONNECTION: Self = Self::Refused(7);
    pub const ACL_EXISTS: Self = Self::Refused(12);
    /// Also said of one that is bound already.
    pub const ACCOUNT_EXISTS: Self = Self::Refused(14);
    pub const NO_ACCOUNT: Self = Self::Refused(15);
    pub const INVALID: Self = Self::Refused(17);
    pub const TARGET_ACTIVE: Self = Self::Refused(19);
    pub const UNIT_ACTIVE: Self = Self::Refused(20);
}

/// tgtadm's words for the codes that have been seen.
const WORDS: [(Error, &str); 14] = [
    (Error::NO_TARGET, "can't find the target"),
    (Error::NO_UNIT, "can't find the logical unit"),
    (Error::NO_SESSION, "can't find the session"),
    (Error::NO_CONNECTION, "can't find the connection"),
    (Error::Refused(9), "this target already exists"),
    (Error::Refused(10), "this logical unit number already exists"),
    (Error::ACL_EXISTS, "this access control rule already exists"),
    (Error::Refused(13), "this access control rule does not exist"),
    (Error::ACCOUNT_EXISTS, "this account already exists"),
    (Error::NO_ACCOUNT, "can't find the account"),
    (Error::Refused(16), "too many accounts"),
    (Error::INVALID, "invalid request"),
    (Error::TARGET_ACTIVE, "this target is still active"),
    (Error::UNIT_ACTIVE, "this logical unit is still active"),
];

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning => f.write_str("tgtd is not running"),
            Self::Refused(code) => match WORDS.iter().find(|(error, _)| error == self) {
                Some((_, words)) => write!(f, "tgtd says: {words}"),
                None => write!(f, "tgtd says error {code}"),
            },
            Self::Failed(text) | Self::Permission(text) => f.write_str(text),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Permission(_) => Self::perm(text),
            Error::NotRunning | Error::Refused(_) | Error::Failed(_) => Self::generic(text),
        }
    }
}

/// The daemon.
#[derive(Clone, Debug)]
pub struct Tgtd {
    socket: PathBuf,
}

impl Tgtd {
    pub fn of(env: &Env) -> Self {
        Self::at(&format!("{}.0", env.get_nonempty("TGT_IPC_SOCKET").unwrap_or(SOCKET)))
    }

    pub fn at(socket: &str) -> Self {
        Self { socket: socket.into() }
    }

    /// Everything that it exports.
    pub fn targets(&self, until: Deadline) -> Result<Vec<super::Target>, Error> {
        let text = self.ask(&Header::new(Mode::Target, Operation::Show), b"", until)?;
        super::parse(&text).map_err(Error::Failed)
    }

    /// Sends a request without words.
    pub(super) fn order(&self, header: &Header, until: Deadline) -> Result<(), Error> {
        self.ask(header, b"", until).map(drop)
    }

    /// Sends a request, and waits for its answer.
    pub(super) fn ask(&self, header: &Header, words: &[u8], until: Deadline) -> Result<String, Error> {
        let mut stream = self.connect(until)?;
        let io = |error: std::io::Error| self.failed("does not answer", &error);
        stream.write_all(header.bytes(words).expose()).map_err(io)?;
        let mut head = [0; 8];
        stream.read_exact(&mut head).map_err(io)?;
        let [a, b, c, d, length @ ..] = head;
        let code = u32::from_ne_bytes([a, b, c, d]);
        let length = u32::from_ne_bytes(length) as usize;
        if code != 0 {
            return Err(Error::Refused(code));
        }
        let length = length.saturating_sub(head.len());
        if length > LONGEST {
            return Err(Error::Failed(format!("tgtd announces an answer of {length} bytes")));
        }
        let mut text = vec![0; length];
        stream.read_exact(&mut text).map_err(io)?;
        while text.last() == Some(&0) {
            text.pop();
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn connect(&self, until: Deadline) -> Result<UnixStream, Error> {
        let limit = until.left_or(AT_MOST).max(Duration::from_millis(1));
        let system = |errno: nix::Error| self.failed("cannot be reached", &errno.into());
        let fd =
            socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).map_err(system)?;
        let stream = UnixStream::from(fd);
        // unix(7): SO_SNDTIMEO bounds connect(2), too, while the daemon's queue is full.
        let io = |error: std::io::Error| self.failed("cannot be reached", &error);
        stream.set_write_timeout(Some(limit)).map_err(io)?;
        stream.set_read_timeout(Some(limit)).map_err(io)?;
        let address = UnixAddr::new(&self.socket).map_err(system)?;
        match connect(stream.as_raw_fd(), &address) {
            Ok(()) => Ok(stream),
            Err(nix::Error::ENOENT | nix::Error::ECONNREFUSED | nix::Error::ENOTDIR) => {
                if self.somebody_listens() {
                    let path = self.socket.display();
                    Err(Error::Failed(format!("tgtd runs, but its socket {path} was removed: restart tgtd")))
                } else {
                    Err(Error::NotRunning)
                }
            }
            Err(errno @ (nix::Error::EACCES | nix::Error::EPERM)) => {
                Err(Error::Permission(format!("cannot reach tgtd: {}", std::io::Error::from(errno))))
            }
            Err(errno) => Err(system(errno)),
        }
    }

    /// A daemon whose socket file somebody removed goes on exporting: it is still in the kernel's table (proc(5)).
    fn somebody_listens(&self) -> bool {
        let table = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
        listens(&table, &self.socket)
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "the list of kinds is not exhaustive")]
    fn failed(&self, what: &str, error: &std::io::Error) -> Error {
        let path = self.socket.display();
        Error::Failed(match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => format!("tgtd at {path} {what} in time"),
            ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => {
                format!("tgtd at {path} {what}: it closed the connection")
            }
            _ => format!("tgtd at {path} {what}: {}", error.to_string().to_lowercase()),
        })
    }
}

/// Columns of `/proc/net/unix`: address, references, protocol, flags, type, state, inode, path.
fn listens(table: &str, path: &Path) -> bool {
    const ACCEPTS: &str = "00010000";
    table.lines().any(|line| {
        let mut words = line.split_ascii_whitespace();
        let flags = words.nth(3);
        flags == Some(ACCEPTS) && words.nth(3).is_some_and(|bound| Path::new(bound) == path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_is_not_there_is_told_from_one_whose_socket_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket.0");
        let tgtd = Tgtd::at(path.to_str().unwrap());
        let soon = Deadline::after(Duration::from_secs(5));
        assert_eq!(tgtd.targets(soon), Err(Error::NotRunning));
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let error = tgtd.targets(soon).unwrap_err();
        assert!(error.to_string().contains("was removed"), "{error}");
        drop(listener);
        assert_eq!(tgtd.targets(soon), Err(Error::NotRunning));
    }

    #[test]
    fn a_daemon_that_does_not_answer_is_not_waited_for_beyond_the_deadline() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket.0");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let begun = std::time::Instant::now();
        let error = Tgtd::at(path.to_str().unwrap())
            .targets(Deadline::after(Duration::from_millis(100)))
            .unwrap_err();
        assert!(error.to_string().contains("does not answer in time"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn the_variable_of_tgtadm_moves_the_socket() {
        let of = |pairs: &[(&str, &str)]| {
            Tgtd::of(&Env::from_pairs(
                pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
            ))
            .socket
        };
        assert_eq!(of(&[]), Path::new("/var/run/tgtd/socket.0"));
        assert_eq!(of(&[("TGT_IPC_SOCKET", "/tmp/s")]), Path::new("/tmp/s.0"));
    }
}
