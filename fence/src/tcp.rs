//! A TCP connection whose every wait ends: at its deadline, or when a signal asks the agent to end.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage};
use ocf_lib::deadline::Deadline;
use ocf_lib::fence::FenceError;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// A wait without a deadline is asked again after that: nothing in a fence agent waits for ever in one call.
const LONGEST: Duration = Duration::from_secs(3600);

/// The longest single wait, after which a signal is looked for.
const NAP: Duration = Duration::from_millis(500);

/// Why there is no connection, or none any more. The words are for the administrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// An option is wrong: nothing was sent.
    Settings(String),
    /// No such name, or no route, or nobody listens.
    Unreachable(String),
    /// The deadline has come.
    TimedOut(String),
    /// An established connection broke.
    Lost(String),
    /// The device's certificate is not one to trust. Nothing was sent to it.
    Untrusted {
        reason: String,
        /// SHA-256 of the certificate that was shown, in hexadecimal digits.
        fingerprint: String,
    },
    /// Both sides speak TLS, but no version or cipher in common; or it is no TLS at all.
    NoCommonTls(String),
    /// A signal asked the agent to end.
    Interrupted,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(text)
            | Self::Unreachable(text)
            | Self::TimedOut(text)
            | Self::Lost(text)
            | Self::NoCommonTls(text) => f.write_str(text),
            Self::Untrusted { reason, .. } => write!(f, "the device's certificate is not trusted: {reason}"),
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
            Error::Unreachable(_) | Error::NoCommonTls(_) => Self::unreachable(text),
            Error::TimedOut(_) => Self::timed_out(text),
            Error::Lost(_) => Self::connection_lost(text),
            // No login took place and none will: asking again shows the same certificate.
            Error::Untrusted { fingerprint, .. } => Self::login_denied(text).hint(format!(
                "set ssl_ca_file to its authority or its own certificate, or, if its sha-256 fingerprint is {fingerprint}, \
                 ssl_fingerprint to that"
            )),
            Error::Interrupted => Self::interrupted(),
        }
    }
}

/// What [`TcpLink`] answers to a read or write after a signal. Not [`ErrorKind::Interrupted`]: the standard library and rustls
/// would try again, without end.
#[derive(Debug)]
struct EndedBySignal;

impl fmt::Display for EndedBySignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ended by a signal")
    }
}

impl std::error::Error for EndedBySignal {}

/// What an I/O error of a connection means; `doing` is what it interrupted ("reading the answer").
pub fn told(doing: &str, error: &io::Error) -> Error {
    if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<EndedBySignal>) {
        return Error::Interrupted;
    }
    let text = format!("{doing}: {}", plain(error));
    #[allow(clippy::wildcard_enum_match_arm, reason = "io::ErrorKind is open")]
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Error::TimedOut(format!("{doing}: no answer in time")),
        ErrorKind::ConnectionRefused
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::NetworkDown
        | ErrorKind::AddrNotAvailable
        | ErrorKind::PermissionDenied => Error::Unreachable(text),
        _ => Error::Lost(text),
    }
}

/// Nothing is done any more but closing what was opened.
static CLOSING: AtomicBool = AtomicBool::new(false);

/// From now on a signal that has come does not end waits any more: the agent gives back what it has taken from the device
/// (a session) and ends. Every wait still has its deadline, which after a signal must be well under three seconds.
pub fn only_closing() {
    CLOSING.store(true, Ordering::Relaxed);
}

/// What a read or write of any [`Link`] answers after a signal.
pub(crate) fn ended_by_signal() -> io::Error {
    io::Error::other(EndedBySignal)
}

pub(crate) fn interrupted() -> bool {
    ocf_lib::fence::interrupted() && !CLOSING.load(Ordering::Relaxed)
}

/// Any connection to a device.
pub trait Link: Read + Write {
    /// Everything from now on must be done by then.
    fn set_deadline(&mut self, deadline: Deadline);
}

impl Link for TcpLink {
    fn set_deadline(&mut self, deadline: Deadline) {
        self.deadline = deadline;
    }
}

/// A connected socket with a deadline for everything that is read and written.
#[derive(Debug)]
pub struct TcpLink {
    socket: TcpStream,
    deadline: Deadline,
}

impl TcpLink {
    /// Connects to the first address of `host` that answers.
    pub fn connect(host: &str, port: u16, deadline: Deadline) -> Result<Self, Error> {
        let addresses = resolve(host, port, deadline)?;
        let mut last = Error::Unreachable(format!("{host} has no address"));
        for (at, address) in addresses.iter().enumerate() {
            // One address that swallows packets must not use up the time of the others.
            let others = u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
            let span = deadline.left_or(LONGEST) / others;
            if interrupted() {
                return Err(Error::Interrupted);
            }
            let socket = connect(address, Deadline::after(span));
            match socket {
                Ok(socket) => {
                    // Small requests that wait for their answers: Nagle's algorithm would only delay them.
                    let _ = socket.set_nodelay(true);
                    return Ok(Self { socket, deadline });
                }
                Err(_) if interrupted() => return Err(Error::Interrupted),
                Err(error) => last = told(&format!("connecting to {address}"), &error),
            }
        }
        Err(last)
    }

    /// Everything from now on must be done by then.
    pub fn set_deadline(&mut self, deadline: Deadline) {
        self.deadline = deadline;
    }

    /// The connection itself, for a client with an event loop; from now on the deadlines are the caller's.
    pub fn into_stream(self) -> TcpStream {
        self.socket
    }

    /// The other end's address.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.socket.peer_addr().ok()
    }

    fn wait<T>(&mut self, mut once: impl FnMut(&mut TcpStream, Duration) -> io::Result<T>) -> io::Result<T> {
        loop {
            if interrupted() {
                return Err(ended_by_signal());
            }
            let left = self.deadline.left_or(LONGEST);
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            // The kernel takes a timeout of zero as none. A signal that comes just before the call does not end it.
            match once(&mut self.socket, left.clamp(Duration::from_millis(1), NAP)) {
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) => {}
                other => return other,
            }
        }
    }
}

impl Read for TcpLink {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait(|socket, left| {
            socket.set_read_timeout(Some(left))?;
            socket.read(buffer)
        })
    }
}

impl Write for TcpLink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait(|socket, left| {
            socket.set_write_timeout(Some(left))?;
            socket.write(bytes)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As [`TcpStream::connect_timeout`], which begins its wait again after a signal and so would hold an agent that is told to end.
fn connect(address: &SocketAddr, deadline: Deadline) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = TcpStream::from(socket::socket(family, SockType::Stream, flags, None)?);
    match socket::connect(socket.as_raw_fd(), &SockaddrStorage::from(*address)) {
        Ok(()) => {}
        Err(Errno::EINPROGRESS) => loop {
            let left = deadline.left_or(NAP).min(NAP);
            if interrupted() {
                return Err(ended_by_signal());
            }
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            let millis = u16::try_from(left.as_millis().max(1)).unwrap_or(u16::MAX);
            // EINTR and the end of a nap are the same here.
            if poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)], millis)
                .is_ok_and(|ready| ready > 0)
            {
                match socket.take_error()? {
                    Some(error) => return Err(error),
                    None => break,
                }
            }
        },
        Err(error) => return Err(error.into()),
    }
    socket.set_nonblocking(false)?;
    Ok(socket)
}

/// All addresses of a literal, with or without brackets, or of a name.
///
/// A name is looked up on a thread of its own because the C library's resolver knows no deadline; the thread ends with the
/// process.
pub fn resolve(host: &str, port: u16, deadline: Deadline) -> Result<Vec<SocketAddr>, Error> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if bare.is_empty() {
        return Err(Error::Settings("no address of the device is given (set ip)".into()));
    }
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let failed = |reason: &str| Error::Unreachable(format!("cannot find the address of '{host}': {reason}"));
    let (tell, answer) = mpsc::channel();
    let name = bare.to_owned();
    std::thread::Builder::new()
        .name("resolver".into())
        .spawn(move || {
            // Nobody listens any more when the deadline has passed.
            let _ = tell.send((name.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>));
        })
        .map_err(|error| failed(&plain(&error)))?;
    loop {
        let left = deadline.left_or(NAP);
        match answer.recv_timeout(left) {
            Ok(Ok(addresses)) if !addresses.is_empty() => return Ok(addresses),
            Ok(Ok(_)) => return Err(failed("it has none")),
            Ok(Err(error)) => return Err(failed(&plain(&error))),
            Err(_) if interrupted() => return Err(Error::Interrupted),
            Err(mpsc::RecvTimeoutError::Timeout) if !left.is_zero() => {}
            Err(_) => return Err(Error::TimedOut(format!("the name service did not answer for '{host}'"))),
        }
    }
}

/// The system's words without "(os error N)", lower case.
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::time::Instant;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(5))
    }

    #[test]
    fn a_closed_port_is_unreachable_and_a_mute_one_times_out() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut link = TcpLink::connect("127.0.0.1", port, soon()).unwrap();
        link.set_deadline(Deadline::after(Duration::from_millis(60)));
        let begun = Instant::now();
        let error = link.read(&mut [0; 8]).unwrap_err();
        assert!(matches!(told("reading", &error), Error::TimedOut(_)), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(3));
        drop((link, listener));
        let error = TcpLink::connect("127.0.0.1", port, soon()).unwrap_err();
        assert!(matches!(error, Error::Unreachable(_)), "{error}");
    }

    #[test]
    fn a_device_that_sends_a_byte_now_and_then_does_not_stretch_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let drip = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            while stream.write_all(b"x").is_ok() {
                Deadline::never().sleep(Duration::from_millis(20));
            }
        });
        let mut link = TcpLink::connect("127.0.0.1", port, soon()).unwrap();
        link.set_deadline(Deadline::after(Duration::from_millis(150)));
        let begun = Instant::now();
        let error = link.read_exact(&mut [0; 4096]).unwrap_err();
        assert!(matches!(told("reading", &error), Error::TimedOut(_)), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        drop(link);
        drip.join().unwrap();
    }

    #[test]
    fn a_name_that_does_not_exist_is_told_as_such() {
        let error = TcpLink::connect("no-such-host.invalid", 1, soon()).unwrap_err();
        assert!(error.to_string().contains("'no-such-host.invalid'"), "{error}");
        assert!(matches!(TcpLink::connect("", 1, soon()), Err(Error::Settings(_))));
    }
}
