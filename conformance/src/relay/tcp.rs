//! A TCP path that breaks off, resets, stalls, trickles, half closes and corrupts connections by a seed.
//!
//! The n-th connection always meets the same fate for the same seed: at the same byte of the same direction.

use super::SplitMix64;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How soon a thread notices that it is to end.
const TICK: Duration = Duration::from_millis(20);

/// What happens to one connection at its moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Both sides see an orderly end.
    Close,
    /// The agent sees a reset.
    Reset,
    /// Nothing passes any more in this direction; the connection stays.
    Stall,
    /// This direction ends in order, the other one goes on.
    HalfClose,
    /// One bit of that byte is changed.
    Corrupt,
    /// From there on the bytes come one by one, with so many milliseconds between.
    Trickle(u64),
}

/// A fault and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    pub kind: Kind,
    /// From the agent to the device.
    pub to_device: bool,
    /// Bytes of that direction that pass before.
    pub at: u64,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            Kind::Close => "closed".to_owned(),
            Kind::Reset => "reset".to_owned(),
            Kind::Stall => "stalled".to_owned(),
            Kind::HalfClose => "half closed".to_owned(),
            Kind::Corrupt => "one bit corrupted".to_owned(),
            Kind::Trickle(span) => format!("bytes one by one, {span} ms apart"),
        };
        let way = if self.to_device { "to" } else { "from" };
        write!(f, "{what} after {} bytes {way} the device", self.at)
    }
}

/// The fates of all connections of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    seed: u64,
    /// How many connections in a hundred have a fault.
    percent: u64,
    /// Faults fall within so many bytes.
    within: u64,
}

impl Schedule {
    /// No connection has a fault.
    pub const CLEAN: Self = Self { seed: 0, percent: 0, within: 1 };

    /// Some schedules spare a few connections, some none; some aim at the first bytes, some at all of a page.
    pub fn draw(seed: u64) -> Self {
        let mut random = SplitMix64::new(seed ^ 0x7C9);
        let percent = [30, 60, 100].get(index(random.below(3))).copied().unwrap_or(100);
        let within = [24, 200, 3000].get(index(random.below(3))).copied().unwrap_or(24);
        Self { seed, percent, within }
    }

    /// What happens to the n-th connection, counted from 0.
    pub fn fate(&self, connection: usize) -> Option<Fate> {
        let number = u64::try_from(connection).unwrap_or(u64::MAX);
        let mut random = SplitMix64::new(self.seed ^ number.wrapping_mul(0xD1B5_4A32_D192_ED03));
        if !random.chance(self.percent) {
            return None;
        }
        let kind = match random.below(6) {
            0 => Kind::Close,
            1 => Kind::Reset,
            2 => Kind::Stall,
            3 => Kind::HalfClose,
            4 => Kind::Corrupt,
            _ => Kind::Trickle(1 + random.below(60)),
        };
        Some(Fate { kind, to_device: random.chance(35), at: random.below(self.within) })
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told: Vec<String> = (0..4)
            .map(|n| self.fate(n).map_or_else(|| format!("{n} clean"), |fate| format!("{n} {fate}")))
            .collect();
        write!(f, "connection {}", told.join("; "))
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(0)
}

/// A running path; dropping it ends its threads and connections.
pub struct FaultyPath {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    clear: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl FaultyPath {
    /// Listens at the device's own IP address and passes to `device`.
    ///
    /// # Errors
    /// When a socket cannot be opened.
    pub fn start(device: SocketAddr, schedule: Schedule) -> io::Result<Self> {
        let listener = TcpListener::bind((device.ip(), 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, clear, connections) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let (ending, clearing, counting) = (Arc::clone(&stop), Arc::clone(&clear), Arc::clone(&connections));
        let thread = std::thread::Builder::new().name("tcp-faults".into()).spawn(move || {
            while !ending.load(Ordering::Relaxed) {
                wait_for(&listener);
                while let Ok((agent, _)) = listener.accept() {
                    let number = counting.fetch_add(1, Ordering::Relaxed);
                    let fate = if clearing.load(Ordering::Relaxed) { None } else { schedule.fate(number) };
                    // Without the device there is nothing to pass: the agent sees a connection that ends.
                    let _ = connect(&agent, device, fate, &ending);
                }
            }
        })?;
        Ok(Self { address, stop, clear, connections, thread: Some(thread) })
    }

    /// Where the agent is to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From the next connection on everything passes.
    pub fn heal(&self) {
        self.clear.store(true, Ordering::Relaxed);
    }

    /// Connections that came.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for FaultyPath {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits a tick for a connection.
pub(super) fn wait_for(listener: &TcpListener) {
    let mut ready = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    // Interrupted or not, the socket is tried.
    let _ = poll(&mut ready, PollTimeout::try_from(TICK).unwrap_or(PollTimeout::ZERO));
}

fn connect(
    agent: &TcpStream,
    device: SocketAddr,
    fate: Option<Fate>,
    stop: &Arc<AtomicBool>,
) -> io::Result<()> {
    let device = TcpStream::connect_timeout(&device, Duration::from_secs(2))?;
    for stream in [agent, &device] {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TICK))?;
        stream.set_write_timeout(Some(Duration::from_secs(2)))?;
    }
    let over = Arc::new(AtomicBool::new(false));
    for to_device in [true, false] {
        let (from, to) = if to_device { (agent, &device) } else { (&device, agent) };
        let mut pump = Pump {
            from: from.try_clone()?,
            to: to.try_clone()?,
            agent: agent.try_clone()?,
            fate: fate.filter(|fate| fate.to_device == to_device),
            passed: 0,
            stop: Arc::clone(stop),
            over: Arc::clone(&over),
        };
        std::thread::Builder::new().name("tcp-pump".into()).spawn(move || {
            let whole = pump.run();
            if whole.is_err() {
                pump.over.store(true, Ordering::Relaxed);
            }
        })?;
    }
    Ok(())
}

/// One direction of one connection.
struct Pump {
    from: TcpStream,
    to: TcpStream,
    agent: TcpStream,
    fate: Option<Fate>,
    passed: u64,
    stop: Arc<AtomicBool>,
    /// The connection is to end in both directions.
    over: Arc<AtomicBool>,
}

impl Pump {
    fn ended(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.over.load(Ordering::Relaxed)
    }

    fn run(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        while !self.ended() {
            // A fault at byte 0 comes before any byte does.
            if self.fate.is_some_and(|fate| {
                fate.at == self.passed && !matches!(fate.kind, Kind::Corrupt | Kind::Trickle(_))
            }) {
                return self.strike();
            }
            let length = match self.from.read(&mut buffer) {
                Ok(0) => {
                    let _ = self.to.shutdown(Shutdown::Write);
                    return Ok(());
                }
                Ok(length) => length,
                Err(why) if matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                    continue;
                }
                Err(why) => {
                    let _ = self.to.shutdown(Shutdown::Both);
                    return Err(why);
                }
            };
            for byte in buffer.get(..length).unwrap_or_default() {
                if let Some(fate) = self.fate.filter(|fate| self.passed >= fate.at) {
                    match fate.kind {
                        Kind::Corrupt if self.passed == fate.at => {
                            self.to.write_all(&[byte ^ 4])?;
                            self.passed += 1;
                            continue;
                        }
                        Kind::Trickle(span) => pause(Duration::from_millis(span)),
                        Kind::Corrupt => {}
                        Kind::Close | Kind::Reset | Kind::Stall | Kind::HalfClose => return self.strike(),
                    }
                }
                self.to.write_all(std::slice::from_ref(byte))?;
                self.passed += 1;
                if self.ended() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn strike(&mut self) -> io::Result<()> {
        match self.fate.map(|fate| fate.kind) {
            Some(Kind::Close) => {
                self.over.store(true, Ordering::Relaxed);
                let _ = self.from.shutdown(Shutdown::Both);
                let _ = self.to.shutdown(Shutdown::Both);
            }
            Some(Kind::Reset) => {
                let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
                setsockopt(&self.agent, sockopt::Linger, &at_once).map_err(io::Error::from)?;
                // With the last copy of the socket, which the other direction has, the reset goes out.
                self.over.store(true, Ordering::Relaxed);
            }
            Some(Kind::HalfClose) => {
                let _ = self.to.shutdown(Shutdown::Write);
                self.swallow();
            }
            Some(Kind::Stall) => self.swallow(),
            Some(Kind::Corrupt | Kind::Trickle(_)) | None => {}
        }
        Ok(())
    }

    /// Takes what comes and passes nothing, until the other side or the path ends.
    fn swallow(&mut self) {
        let mut buffer = [0; 4096];
        while !self.ended() {
            match self.from.read(&mut buffer) {
                Ok(0) => return,
                Ok(_) => {}
                Err(why) if matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(_) => return,
            }
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "the judge is its own program: it shares nothing with ocf-lib")]
fn pause(span: Duration) {
    std::thread::sleep(span);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// A device that answers every connection with 100 bytes once it has heard 10; what the agent got and how it ended.
    fn heard(fate: Option<Fate>) -> (Vec<u8>, Option<io::ErrorKind>, Duration) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let device = listener.local_addr().unwrap();
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
            let mut question = [0; 10];
            if stream.read_exact(&mut question).is_ok() {
                let _ = stream.write_all(&[7; 100]);
            }
        });
        let front = TcpListener::bind("127.0.0.1:0").unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let mut agent = TcpStream::connect(front.local_addr().unwrap()).unwrap();
        connect(&front.accept().unwrap().0, device, fate, &stop).unwrap();
        agent.set_read_timeout(Some(Duration::from_millis(600))).unwrap();
        let begun = Instant::now();
        let mut got = Vec::new();
        let end = agent.write_all(&[1; 10]).and_then(|()| agent.read_to_end(&mut got).map(drop));
        let took = begun.elapsed();
        stop.store(true, Ordering::Relaxed);
        drop(agent);
        serving.join().unwrap();
        (got, end.err().map(|why| why.kind()), took)
    }

    fn from_device(kind: Kind, at: u64) -> Fate {
        Fate { kind, to_device: false, at }
    }

    fn heard_with(fate: Fate) -> (Vec<u8>, Option<io::ErrorKind>, Duration) {
        heard(Some(fate))
    }

    #[test]
    fn every_kind_of_fault_is_what_it_is_called() {
        assert_eq!(heard(None).0, [7; 100]);
        let (got, end, _) = heard_with(from_device(Kind::Close, 40));
        assert_eq!((got.len(), end), (40, None));
        let (_, end, _) = heard_with(from_device(Kind::Reset, 40));
        assert_eq!(end, Some(io::ErrorKind::ConnectionReset));
        let (got, end, _) = heard_with(from_device(Kind::Stall, 40));
        assert_eq!((got.len(), end), (40, Some(io::ErrorKind::WouldBlock)));
        let (got, end, _) = heard_with(from_device(Kind::Corrupt, 40));
        assert_eq!((got.len(), got[40], got[41], end), (100, 3, 7, None));
        let (got, end, took) = heard_with(from_device(Kind::Trickle(5), 40));
        assert_eq!((got.len(), end), (100, None));
        assert!(took > Duration::from_millis(290), "{took:?}");
        let (got, end, _) = heard_with(from_device(Kind::Close, 0));
        assert_eq!((got.len(), end), (0, None));
        let (got, end, _) = heard(Some(Fate { kind: Kind::HalfClose, to_device: true, at: 5 }));
        assert_eq!((got.len(), end), (0, None), "the device gives up over half a question");
    }

    #[test]
    fn the_same_seed_is_the_same_fate() {
        let all = |seed| (0..50).map(|n| Schedule::draw(seed).fate(n)).collect::<Vec<_>>();
        assert_eq!(all(3), all(3));
        assert_ne!(all(3), all(4));
        let kinds: std::collections::BTreeSet<String> = (0..40)
            .flat_map(all)
            .flatten()
            .map(|fate| format!("{:?}", fate.kind).chars().take(4).collect())
            .collect();
        assert_eq!(kinds.len(), 6, "{kinds:?}");
    }
}
