//! The UDP socket: one question at a time, retransmitted with back-off until its answer or its limit.
//!
//! Datagrams that are not the awaited answer are dropped, whatever they are: late, doubled, foreign, corrupt. Only silence, the
//! kernel's ICMP errors and a right answer end an exchange.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs, UdpSocket};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::error::Error;
use super::{rmcp, session15};

/// Shortest wait before a retransmission: below it a busy machine would ask twice for nothing.
const SHORTEST_WAIT: Duration = Duration::from_millis(20);
/// Refusals by the network in a row before it is believed: a BMC that restarts its network answers one or two and recovers.
const BELIEVED_REFUSALS: u32 = 3;
/// Pause after such a refusal.
const REFUSAL_PAUSE: Duration = Duration::from_millis(100);
/// Session ids kept in mind. A BMC has 4 to 64 slots.
const MOST_HEARD: usize = 64;
/// No IPMI packet is near that long.
const LARGEST_PACKET: usize = 2048;

/// What a conversation has cost so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Questions that got their answer.
    pub round_trips: u32,
    /// Datagrams sent again because the answer did not come in time.
    pub retransmissions: u32,
    /// Datagrams that arrived and were not the awaited answer.
    pub ignored: u32,
}

/// One question and the recognition of its answer.
pub(super) trait Exchange {
    type Answer;
    /// The datagram of the given attempt, 0 first. A session numbers each attempt anew.
    fn datagram(&mut self, attempt: u32) -> Result<Vec<u8>, Error>;
    /// The answer, or `None` when the datagram is anything else.
    fn answer(&mut self, datagram: &[u8]) -> Option<Self::Answer>;
}

/// How often and how long to ask.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// Datagrams at most.
    pub sends: u32,
    /// Not a moment longer.
    pub until: Instant,
    /// Time between two datagrams; `None` backs off up to the packet time-out.
    pub every: Option<Duration>,
    /// What is awaited, for the message.
    pub waiting_for: &'static str,
}

pub(super) struct Link {
    socket: UdpSocket,
    peer: String,
    /// Longest wait for one answer before the question is asked again.
    packet_timeout: Duration,
    /// See [`super::Target::interrupted`]; no longer asked while closing.
    pub interrupted: fn() -> bool,
    pub traffic: Traffic,
    /// Session ids that BMC answers to an open session request named, whether they were awaited or came doubled or late.
    pub heard: Vec<[u8; 4]>,
    /// The same of IPMI 1.5: id and first number to send, of each activation that was answered.
    pub activated: Vec<(u32, u32)>,
}

impl Link {
    pub(super) fn connect(
        to: SocketAddr,
        packet_timeout: Duration,
        interrupted: fn() -> bool,
    ) -> Result<Self, Error> {
        let peer = to.to_string();
        let any: IpAddr =
            if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0))
            .map_err(|error| Error::Local(format!("cannot open a udp socket: {error}")))?;
        // a connected socket gets the kernel's ICMP errors and nobody else's datagrams
        socket
            .connect(to)
            .map_err(|error| Error::Unreachable { host: peer.clone(), reason: plain(&error) })?;
        Ok(Self {
            socket,
            peer,
            packet_timeout,
            interrupted,
            traffic: Traffic::default(),
            heard: Vec::new(),
            activated: Vec::new(),
        })
    }

    /// Wait before attempt `n + 1`: a quarter, a half, then the whole packet time-out. A lost datagram costs little that way, and
    /// a slow BMC is not flooded.
    fn wait_of(&self, attempt: u32) -> Duration {
        let wait = match attempt {
            0 => self.packet_timeout / 4,
            1 => self.packet_timeout / 2,
            2.. => self.packet_timeout,
        };
        wait.max(SHORTEST_WAIT)
    }

    /// Time that `sends` attempts without an answer take.
    pub(super) fn silence_of(&self, sends: u32) -> Duration {
        (0..sends).map(|attempt| self.wait_of(attempt)).sum()
    }

    pub(super) fn exchange<E: Exchange>(
        &mut self,
        question: &mut E,
        patience: Patience,
    ) -> Result<E::Answer, Error> {
        let mut refused = 0;
        let mut attempt = 0;
        while attempt < patience.sends.max(1) {
            let now = Instant::now();
            if now >= patience.until {
                break;
            }
            let wait = match patience.every {
                Some(every) => every.max(SHORTEST_WAIT),
                // a question that may be asked once only gets the whole packet time-out
                None if patience.sends == 1 => self.packet_timeout,
                None => self.wait_of(attempt),
            };
            let mut until = (now + wait).min(patience.until);
            let datagram = question.datagram(attempt)?;
            self.traffic.retransmissions += u32::from(attempt > 0);
            attempt += 1;
            if let Err(error) = self.socket.send(&datagram) {
                refused = self.refusal(&error, refused)?;
                until = until.min(Instant::now() + REFUSAL_PAUSE);
            }
            loop {
                match self.receive(until) {
                    Ok(Some(bytes)) => {
                        self.hear(&bytes);
                        if let Some(answer) = question.answer(&bytes) {
                            self.traffic.round_trips += 1;
                            return Ok(answer);
                        }
                        self.traffic.ignored += 1;
                    }
                    Ok(None) => break,
                    Err(error) => {
                        refused = self.refusal(&error, refused)?;
                        until = until.min(Instant::now() + REFUSAL_PAUSE);
                    }
                }
            }
        }
        Err(Error::TimedOut { waiting_for: patience.waiting_for, maybe_done: false })
    }

    /// Sends something that has no answer.
    pub(super) fn tell(&mut self, datagram: &[u8]) {
        // lost or refused is the same here: the BMC drops the half-open session by itself after a minute
        let _ = self.socket.send(datagram);
    }

    /// Lets time pass; what arrives is dropped. A wait that no one can stretch: it ends at `until`.
    pub(super) fn pause(&mut self, until: Instant) {
        while Instant::now() < until {
            // an error is the ICMP answer to something sent before; the next question meets it again
            if let Ok(Some(bytes)) = self.receive(until) {
                self.hear(&bytes);
                self.traffic.ignored += 1;
            }
        }
    }

    /// Each request for a session that reaches a BMC, a repeated one too, may take a session slot; its answer says which.
    fn hear(&mut self, datagram: &[u8]) {
        if let Some(session) = session15::activated(datagram)
            && !self.activated.contains(&session)
            && self.activated.len() < MOST_HEARD
        {
            self.activated.push(session);
        }
        if let Some(id) = rmcp::opened_session(datagram)
            && !self.heard.contains(&id)
            && self.heard.len() < MOST_HEARD
        {
            self.heard.push(id);
        }
    }

    /// One datagram, or `None` when `until` has come.
    fn receive(&self, until: Instant) -> std::io::Result<Option<Vec<u8>>> {
        let mut buffer = [0; LARGEST_PACKET];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            // asked again after each EINTR, which is how a signal ends the wait below
            if (self.interrupted)() {
                return Err(ErrorKind::Interrupted.into());
            }
            self.socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            match self.socket.recv(&mut buffer) {
                Ok(length) => return Ok(buffer.get(..length).map(<[u8]>::to_vec)),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn refusal(&self, error: &std::io::Error, before: u32) -> Result<u32, Error> {
        if error.kind() == ErrorKind::Interrupted {
            return Err(Error::Interrupted);
        }
        if before + 1 >= BELIEVED_REFUSALS {
            return Err(Error::Unreachable { host: self.peer.clone(), reason: plain(error) });
        }
        Ok(before + 1)
    }
}

/// The kernel's words without "(os error N)", lower case.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// All addresses of a host: an IPv4 or IPv6 literal (with or without brackets, with a numeric or named scope) or a name.
///
/// A name is looked up on a thread of its own because the C library's resolver knows no deadline; the thread ends with the process.
pub(super) fn resolve(host: &str, port: u16, until: Instant) -> Result<Vec<SocketAddr>, Error> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if bare.is_empty() {
        return Err(Error::Invalid("no bmc address given (set ip)".into()));
    }
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    if let Some((address, scope)) = bare.split_once('%') {
        let address: Ipv6Addr =
            address.parse().map_err(|_| failed(host, "not an ipv6 address before '%'"))?;
        let scope = scope_number(scope).ok_or_else(|| failed(host, "no such network interface"))?;
        return Ok(vec![SocketAddrV6::new(address, port, 0, scope).into()]);
    }
    let (tell, told) = mpsc::channel();
    let name = bare.to_owned();
    thread::Builder::new()
        .name("resolver".into())
        .spawn(move || {
            // nobody listens any more when the deadline has passed
            let _ = tell.send((name.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>));
        })
        .map_err(|error| Error::Local(format!("cannot start a thread: {error}")))?;
    match told.recv_timeout(until.saturating_duration_since(Instant::now())) {
        Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
        Ok(Ok(_)) => Err(failed(host, "no address")),
        Ok(Err(error)) => Err(failed(host, &plain(&error))),
        Err(_) => Err(Error::TimedOut { waiting_for: "name resolution", maybe_done: false }),
    }
}

fn failed(host: &str, reason: &str) -> Error {
    Error::Resolve { host: host.to_owned(), reason: reason.to_owned() }
}

/// A scope id: a number, or an interface's name looked up in sysfs.
fn scope_number(scope: &str) -> Option<u32> {
    if let Ok(number) = scope.parse() {
        return Some(number);
    }
    if scope.is_empty() || scope.contains('/') || scope.starts_with('.') {
        return None;
    }
    std::fs::read_to_string(format!("/sys/class/net/{scope}/ifindex")).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(2)
    }

    #[test]
    fn literals_need_no_name_service() {
        for (text, want) in [
            ("127.0.0.1", "127.0.0.1:623"),
            ("::1", "[::1]:623"),
            ("[::1]", "[::1]:623"),
            ("fe80::1%1", "[fe80::1%1]:623"),
            ("[fe80::1%lo]", "[fe80::1%1]:623"),
        ] {
            assert_eq!(resolve(text, 623, soon()).unwrap()[0].to_string(), want);
        }
    }

    #[test]
    fn bad_names_say_so() {
        assert!(matches!(resolve("", 623, soon()), Err(Error::Invalid(_))));
        assert!(matches!(resolve("fe80::1%nosuchif", 623, soon()), Err(Error::Resolve { .. })));
        assert!(matches!(resolve("fe80::1%../lo", 623, soon()), Err(Error::Resolve { .. })));
    }

    struct Ping;
    impl Exchange for Ping {
        type Answer = Vec<u8>;
        fn datagram(&mut self, attempt: u32) -> Result<Vec<u8>, Error> {
            Ok(vec![u8::try_from(attempt).unwrap()])
        }
        fn answer(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
            (datagram != b"noise").then(|| datagram.to_vec())
        }
    }

    #[test]
    fn silence_is_asked_again_and_noise_is_dropped() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut link =
            Link::connect(server.local_addr().unwrap(), Duration::from_millis(100), || false).unwrap();
        let thread = thread::spawn(move || {
            let mut buffer = [0; 8];
            for _ in 0..3 {
                let (_, from) = server.recv_from(&mut buffer).unwrap();
                server.send_to(b"noise", from).unwrap();
                if buffer[0] == 2 {
                    server.send_to(b"yes", from).unwrap();
                }
            }
        });
        let patience = Patience { sends: 5, until: soon(), every: None, waiting_for: "x" };
        assert_eq!(link.exchange(&mut Ping, patience).unwrap(), b"yes");
        assert_eq!(link.traffic, Traffic { round_trips: 1, retransmissions: 2, ignored: 3 });
        thread.join().unwrap();
    }

    #[test]
    fn a_closed_port_is_unreachable_and_a_mute_one_times_out() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let mut link = Link::connect(address, Duration::from_millis(80), || false).unwrap();
        let patience = Patience { sends: 5, until: soon(), every: None, waiting_for: "x" };
        assert!(matches!(link.exchange(&mut Ping, patience), Err(Error::TimedOut { .. })));
        drop(socket);
        let error = link.exchange(&mut Ping, patience).unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    }
}
