//! The other end of the wire: what was really sent.

use nix::libc;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One thing said about an address on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Gratuitous ARP with this operation (1 request, 2 reply).
    Arp { operation: u16, sender: String, target: String },
    /// ARP probe: is anybody there?
    Probe,
    /// Neighbour advertisement: flags and link layer address.
    Advertisement { flags: u8, mac: String },
}

#[derive(Debug, Clone)]
pub struct Heard {
    pub at: Instant,
    pub about: IpAddr,
    pub said: Said,
}

type Frames = Arc<Mutex<Vec<(Instant, Vec<u8>)>>>;

/// Everything that arrives at `v1`, from now on.
pub struct Ear {
    frames: Frames,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ear {
    pub fn open() -> Self {
        let (frames, done) = (Frames::default(), Arc::new(AtomicBool::new(false)));
        let (to, end) = (Arc::clone(&frames), Arc::clone(&done));
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let peer = std::fs::File::open("/run/netns/peer").unwrap();
            nix::sched::setns(peer, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let socket = packet_socket();
            ready.send(()).unwrap();
            let mut buffer = [0; 2048];
            while !end.load(Ordering::SeqCst) {
                // SAFETY: the buffer is live and its size is passed; a receive timeout is set.
                let length =
                    unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
                if let Ok(length) = usize::try_from(length) {
                    to.lock().unwrap().push((Instant::now(), buffer[..length].to_vec()));
                }
            }
        });
        is_ready.recv().unwrap();
        Self { frames, done, thread: Some(thread) }
    }

    /// What was said about this address so far.
    pub fn about(&self, address: &str) -> Vec<Heard> {
        let address: IpAddr = address.parse().unwrap();
        self.heard().into_iter().filter(|heard| heard.about == address).collect()
    }

    /// Waits until so much was said about the address and a moment longer; what was said then.
    pub fn about_at_least(&self, address: &str, count: usize, moment: Duration) -> Vec<Heard> {
        let until = Instant::now() + Duration::from_secs(10);
        while self.about(address).len() < count && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(moment);
        self.about(address)
    }

    fn heard(&self) -> Vec<Heard> {
        let frames = self.frames.lock().unwrap();
        frames.iter().filter_map(|(at, frame)| understand(*at, frame)).collect()
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.done.store(true, Ordering::SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn packet_socket() -> OwnedFd {
    let every = u16::try_from(libc::ETH_P_ALL).unwrap().to_be();
    // SAFETY: plain numbers; the result is checked before it is owned.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, i32::from(every)) };
    assert!(fd >= 0, "packet socket");
    // SAFETY: the kernel has just returned this descriptor and nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let pause = libc::timeval { tv_sec: 0, tv_usec: 20_000 };
    let size = libc::socklen_t::try_from(size_of::<libc::timeval>()).unwrap();
    // SAFETY: the value is a live timeval and its exact size is passed.
    let done = unsafe {
        let value = (&raw const pause).cast();
        libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVTIMEO, value, size)
    };
    assert_eq!(done, 0);
    fd
}

fn mac(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

/// Only what the interface under test says: the other end's own packets are seen too.
fn understand(at: Instant, frame: &[u8]) -> Option<Heard> {
    let from = mac(frame.get(6..12)?);
    if from == super::world::PEER_MAC {
        return None;
    }
    let body = &frame[14..];
    let v4 = |at: usize| body.get(at..at + 4).map(|b| Ipv4Addr::new(b[0], b[1], b[2], b[3]));
    match frame.get(12..14)? {
        [0x08, 0x06] => {
            let (operation, sender, target) = (u16::from(*body.get(7)?), v4(14)?, v4(24)?);
            let said = match (sender == target, sender.is_unspecified()) {
                (true, false) => {
                    Said::Arp { operation, sender: mac(&body[8..14]), target: mac(&body[18..24]) }
                }
                (false, true) => Said::Probe,
                _ => return None,
            };
            Some(Heard { at, about: target.into(), said })
        }
        [0x86, 0xdd] if body.get(6) == Some(&58) && body.get(40) == Some(&136) => {
            let target: [u8; 16] = body.get(48..64)?.try_into().ok()?;
            let said = Said::Advertisement { flags: body[44], mac: mac(body.get(66..72).unwrap_or(&[])) };
            Some(Heard { at, about: Ipv6Addr::from(target).into(), said })
        }
        _ => None,
    }
}
