//! A UDP path that loses, delays, doubles, reorders, corrupts, cuts and swallows datagrams by a seed, and remembers earlier ones.
//!
//! The n-th datagram of a direction always meets the same fate for the same seed, whatever the clock does; only when delayed ones
//! arrive depends on threads.

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::SplitMix64;

/// Longer than any run.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// What happens to datagrams, in percent of each direction.
#[derive(Debug, Clone, Default)]
pub struct Schedule {
    /// Decides everything below.
    pub seed: u64,
    /// Lost.
    pub drop: u64,
    /// Held back.
    pub delay: u64,
    /// For how long at most.
    pub delay_at_most: Duration,
    /// Delivered twice.
    pub duplicate: u64,
    /// Held until the next one of that direction has passed.
    pub reorder: u64,
    /// One bit changed.
    pub corrupt: u64,
    /// Only a first part arrives.
    pub truncate: u64,
    /// An answer of an earlier session comes first.
    pub stale: u64,
    /// What the device answered then.
    pub earlier: Vec<Vec<u8>>,
    /// From the n-th datagram to the BMC on, nothing passes for that long.
    pub blackhole: Option<(usize, Duration)>,
    /// Before the n-th datagram to the BMC, the device forgets its sessions.
    pub amnesia_at: Option<usize>,
}

impl Schedule {
    /// A schedule with a mix of faults drawn from the seed; some have a single kind, some have all.
    pub fn draw(seed: u64) -> Self {
        let mut random = SplitMix64::new(seed);
        let kinds = random.below(256);
        let mut percent =
            |bit: u64, most: u64| if kinds & (1 << bit) == 0 { 0 } else { 1 + random.below(most) };
        let (drop, delay, duplicate, reorder, corrupt) =
            (percent(0, 25), percent(1, 30), percent(2, 30), percent(3, 25), percent(4, 20));
        let delay_at_most = Duration::from_millis(5 + random.below(120));
        let blackhole = (kinds & 0x20 != 0).then(|| {
            (usize::try_from(random.below(14)).unwrap_or(0), Duration::from_millis(50 + random.below(450)))
        });
        let amnesia_at = (kinds & 0xC0 == 0xC0).then(|| usize::try_from(4 + random.below(10)).unwrap_or(4));
        // After all the others, so that these did not change with the kinds below.
        let truncate = if random.chance(20) { 1 + random.below(15) } else { 0 };
        let stale = if random.chance(20) { 5 + random.below(40) } else { 0 };
        let for_ever = random.chance(6);
        let blackhole = blackhole.map(|(at, span)| (at, if for_ever { FOR_EVER } else { span }));
        let earlier = Vec::new();
        Self {
            seed,
            drop,
            delay,
            delay_at_most,
            duplicate,
            reorder,
            corrupt,
            truncate,
            stale,
            earlier,
            blackhole,
            amnesia_at,
        }
    }
}

/// As a reader of a finding wants it: only what there is.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        for (percent, what) in [
            (self.drop, "lost"),
            (self.delay, "delayed"),
            (self.duplicate, "doubled"),
            (self.reorder, "reordered"),
            (self.corrupt, "corrupted"),
            (self.truncate, "cut short"),
            (self.stale, "preceded by an answer of an earlier session"),
        ] {
            if percent > 0 {
                words.push(format!("{percent} % {what}"));
            }
        }
        if self.delay > 0 || self.duplicate > 0 || self.reorder > 0 {
            words.push(format!("delays up to {} ms", self.delay_at_most.as_millis()));
        }
        match self.blackhole {
            Some((at, FOR_EVER)) => words.push(format!("nothing passes from datagram {at} on")),
            Some((at, span)) => {
                words.push(format!("nothing passes for {} ms from datagram {at} on", span.as_millis()));
            }
            None => {}
        }
        if let Some(at) = self.amnesia_at {
            words.push(format!("the device restarts before datagram {at}"));
        }
        f.write_str(if words.is_empty() { "a clean path".to_owned() } else { words.join(", ") }.as_str())
    }
}

/// One datagram and what became of it.
#[derive(Debug, Clone)]
pub struct Passage {
    /// When it arrived at the path.
    pub at: Instant,
    /// From the subject to the device.
    pub to_device: bool,
    /// As it was sent.
    pub bytes: Vec<u8>,
    /// No bit of it was changed.
    pub intact: bool,
    /// When it, or the first copy of it, was passed on.
    pub delivered: Option<Instant>,
}

impl Passage {
    /// Whether it came through undamaged before `end`.
    pub fn arrived(&self, end: Instant) -> bool {
        self.intact && self.delivered.is_some_and(|at| at <= end)
    }
}

/// A running path; dropping it ends its thread.
pub struct FaultyPath {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    clear: Arc<AtomicBool>,
    to_device: Arc<AtomicUsize>,
    passages: Arc<Mutex<Vec<Passage>>>,
    thread: Option<JoinHandle<()>>,
}

impl FaultyPath {
    /// Listens on the same address family's loopback and passes to `device`. `amnesia` is called once where the schedule says so.
    ///
    /// # Errors
    /// When a socket cannot be opened.
    pub fn start(
        device: SocketAddr,
        schedule: Schedule,
        amnesia: impl FnMut() + Send + 'static,
    ) -> io::Result<Self> {
        let front = UdpSocket::bind((device.ip(), 0))?;
        let back = UdpSocket::bind((device.ip(), 0))?;
        back.connect(device)?;
        front.set_nonblocking(true)?;
        back.set_nonblocking(true)?;
        let address = front.local_addr()?;
        let (stop, clear, to_device) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let (ending, clearing, counting) = (Arc::clone(&stop), Arc::clone(&clear), Arc::clone(&to_device));
        let passages = Arc::new(Mutex::new(Vec::new()));
        let writing = Arc::clone(&passages);
        let thread = std::thread::Builder::new().name("faults".into()).spawn(move || {
            Path {
                front,
                back,
                client: None,
                queue: Vec::new(),
                schedule,
                black_until: None,
                amnesia,
                counting,
                clearing,
                writing,
            }
            .run(&ending);
        })?;
        Ok(Self { address, stop, clear, to_device, passages, thread: Some(thread) })
    }

    /// Where the subject is to send.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on everything passes.
    pub fn heal(&self) {
        self.clear.store(true, Ordering::Relaxed);
    }

    /// Everything that has arrived at the path, oldest first.
    pub fn passages(&self) -> Vec<Passage> {
        self.passages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Datagrams that the subject has sent.
    pub fn sent_to_device(&self) -> usize {
        self.to_device.load(Ordering::Relaxed)
    }
}

impl Drop for FaultyPath {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // a panic in there has been printed; the test fails by silence
            let _ = thread.join();
        }
    }
}

/// A datagram that waits.
struct Held {
    index: usize,
    to_device: bool,
    bytes: Vec<u8>,
    at: Instant,
    /// Goes as soon as another one of its direction has passed.
    until_next: bool,
}

struct Path<F: FnMut()> {
    front: UdpSocket,
    back: UdpSocket,
    client: Option<SocketAddr>,
    queue: Vec<Held>,
    schedule: Schedule,
    black_until: Option<Instant>,
    amnesia: F,
    counting: Arc<AtomicUsize>,
    clearing: Arc<AtomicBool>,
    writing: Arc<Mutex<Vec<Passage>>>,
}

impl<F: FnMut()> Path<F> {
    fn run(mut self, stop: &AtomicBool) {
        let mut numbers = [0_u64; 2];
        let mut buffer = [0; 2048];
        while !stop.load(Ordering::Relaxed) {
            self.flush();
            let next = self.queue.iter().map(|held| held.at.saturating_duration_since(Instant::now())).min();
            let wait = next
                .unwrap_or(Duration::from_millis(20))
                .min(Duration::from_millis(20))
                .max(Duration::from_millis(1));
            {
                let mut ready = [
                    PollFd::new(self.front.as_fd(), PollFlags::POLLIN),
                    PollFd::new(self.back.as_fd(), PollFlags::POLLIN),
                ];
                // interrupted or not, the sockets are tried
                let _ = poll(&mut ready, PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO));
            }
            while let Ok((length, from)) = self.front.recv_from(&mut buffer) {
                self.client = Some(from);
                let bytes = buffer.get(..length).unwrap_or_default().to_vec();
                self.counting.fetch_add(1, Ordering::Relaxed);
                let [number, _] = &mut numbers;
                self.pass(true, *number, bytes);
                *number += 1;
            }
            while let Ok(length) = self.back.recv(&mut buffer) {
                let bytes = buffer.get(..length).unwrap_or_default().to_vec();
                let [_, number] = &mut numbers;
                self.pass(false, *number, bytes);
                *number += 1;
            }
        }
    }

    fn pass(&mut self, to_device: bool, number: u64, bytes: Vec<u8>) {
        let passage =
            Passage { at: Instant::now(), to_device, bytes: bytes.clone(), intact: true, delivered: None };
        let index = {
            let mut passages = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            passages.push(passage);
            passages.len() - 1
        };
        self.fate(index, to_device, number, bytes);
    }

    fn fate(&mut self, index: usize, to_device: bool, number: u64, mut bytes: Vec<u8>) {
        if self.clearing.load(Ordering::Relaxed) {
            self.deliver(index, to_device, &bytes);
            return;
        }
        if to_device {
            if self.schedule.amnesia_at.is_some_and(|at| at as u64 == number) {
                (self.amnesia)();
            }
            if let Some((at, span)) = self.schedule.blackhole
                && at as u64 == number
            {
                self.black_until = Some(Instant::now() + span);
            }
        }
        if self.black_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        // a generator of its own for each datagram: one more or less before it changes nothing
        let mut random = SplitMix64::new(
            self.schedule.seed ^ number.wrapping_mul(0xD1B5_4A32_D192_ED03) ^ u64::from(to_device) << 63,
        );
        if random.chance(self.schedule.drop) {
            return;
        }
        if random.chance(self.schedule.corrupt) {
            self.note(index, |passage| passage.intact = false);
            let at = usize::try_from(random.below(bytes.len() as u64)).unwrap_or(0);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        if random.chance(self.schedule.truncate) {
            self.note(index, |passage| passage.intact = false);
            bytes.truncate(usize::try_from(random.below(bytes.len() as u64)).unwrap_or(0));
        }
        if !to_device && random.chance(self.schedule.stale) && !self.schedule.earlier.is_empty() {
            let which = usize::try_from(random.below(self.schedule.earlier.len() as u64)).unwrap_or(0);
            if let (Some(old), Some(client)) = (self.schedule.earlier.get(which), self.client) {
                let _ = self.front.send_to(old, client);
            }
        }
        let again = random.chance(self.schedule.duplicate);
        let now = Instant::now();
        let most = u64::try_from(self.schedule.delay_at_most.as_millis()).unwrap_or(0);
        if random.chance(self.schedule.delay) {
            self.queue.push(Held {
                index,
                to_device,
                bytes: bytes.clone(),
                at: now + Duration::from_millis(random.below(most) + 1),
                until_next: false,
            });
        } else if random.chance(self.schedule.reorder) {
            // the next one of that direction overtakes it; when none comes it goes after a while
            self.queue.push(Held {
                index,
                to_device,
                bytes: bytes.clone(),
                at: now + Duration::from_millis(most + 30),
                until_next: true,
            });
        } else {
            self.deliver(index, to_device, &bytes);
            for held in &mut self.queue {
                if held.until_next && held.to_device == to_device {
                    held.at = now;
                }
            }
        }
        if again {
            self.queue.push(Held {
                index,
                to_device,
                bytes,
                at: now + Duration::from_millis(random.below(most) + 1),
                until_next: false,
            });
        }
    }

    fn note(&self, index: usize, change: impl FnOnce(&mut Passage)) {
        if let Some(passage) = self.writing.lock().unwrap_or_else(PoisonError::into_inner).get_mut(index) {
            change(passage);
        }
    }

    fn flush(&mut self) {
        let now = Instant::now();
        let (due, rest): (Vec<_>, Vec<_>) = self.queue.drain(..).partition(|held| held.at <= now);
        self.queue = rest;
        for held in due {
            self.deliver(held.index, held.to_device, &held.bytes);
        }
    }

    fn deliver(&self, index: usize, to_device: bool, bytes: &[u8]) {
        self.note(index, |passage| {
            passage.delivered.get_or_insert_with(Instant::now);
        });
        // a closed socket at the other end is one more lost datagram
        if to_device {
            let _ = self.back.send(bytes);
        } else if let Some(client) = self.client {
            let _ = self.front.send_to(bytes, client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What of 200 numbered datagrams arrives, in order.
    fn arrivals(schedule: Schedule) -> Vec<Vec<u8>> {
        let device = UdpSocket::bind("127.0.0.1:0").unwrap();
        device.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let path = FaultyPath::start(device.local_addr().unwrap(), schedule, || {}).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut got = Vec::new();
        let mut buffer = [0; 64];
        for n in 0..200_u8 {
            client.send_to(&[n], path.address()).unwrap();
        }
        while let Ok(length) = device.recv(&mut buffer) {
            got.push(buffer[..length].to_vec());
        }
        got
    }

    #[test]
    fn the_same_seed_is_the_same_fate() {
        let schedule = Schedule { seed: 7, drop: 20, duplicate: 10, corrupt: 10, ..Schedule::default() };
        let mut first = arrivals(schedule.clone());
        let mut second = arrivals(schedule.clone());
        first.sort();
        second.sort();
        assert_eq!(first, second);
        assert!(first.len() < 200 && first.len() > 120, "{}", first.len());
        let mut other = arrivals(Schedule { seed: 8, ..schedule });
        other.sort();
        assert_ne!(first, other);
    }

    #[test]
    fn without_faults_everything_arrives_in_order() {
        assert_eq!(arrivals(Schedule::default()), (0..200_u8).map(|n| vec![n]).collect::<Vec<_>>());
    }

    #[test]
    fn cut_short_and_out_of_the_past() {
        let device = UdpSocket::bind("127.0.0.1:0").unwrap();
        let schedule =
            Schedule { truncate: 100, stale: 100, earlier: vec![b"old".to_vec()], ..Schedule::default() };
        assert_eq!(
            schedule.to_string(),
            "100 % cut short, 100 % preceded by an answer of an earlier session"
        );
        let path = FaultyPath::start(device.local_addr().unwrap(), schedule, || {}).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        client.send_to(b"question", path.address()).unwrap();
        let mut buffer = [0; 64];
        let (length, from) = device.recv_from(&mut buffer).unwrap();
        assert!(length < 8);
        device.send_to(b"answer", from).unwrap();
        let length = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"old");
        assert!(client.recv(&mut buffer).unwrap() < 6);
        assert!(path.passages().iter().all(|passage| !passage.intact));
    }

    #[test]
    fn reordering_reorders() {
        let got = arrivals(Schedule { seed: 3, reorder: 30, ..Schedule::default() });
        assert_eq!(got.len(), 200);
        assert!(!got.is_sorted());
    }
}
