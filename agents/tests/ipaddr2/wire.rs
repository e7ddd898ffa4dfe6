//! The other end of the wire: what was really sent.

use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::{TimeSpec, TimeVal, TimeValLike};
use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

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
    /// When the kernel received it, however late it was read.
    pub at: SystemTime,
    pub about: IpAddr,
    pub said: Said,
}

type Frames = Arc<Mutex<Vec<(SystemTime, Vec<u8>)>>>;

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
            let mut control = nix::cmsg_space!(TimeSpec);
            while !end.load(Ordering::SeqCst) {
                let mut into = [IoSliceMut::new(&mut buffer)];
                let flags = MsgFlags::empty();
                let Ok(got) = recvmsg::<()>(socket.as_raw_fd(), &mut into, Some(&mut control), flags) else {
                    continue;
                };
                let stamp = got.cmsgs().unwrap().find_map(|message| match message {
                    ControlMessageOwned::ScmTimestampns(stamp) => Some(stamp),
                    _ => None,
                });
                let (stamp, length) = (Duration::from(stamp.expect("a time")), got.bytes);
                to.lock().unwrap().push((SystemTime::UNIX_EPOCH + stamp, buffer[..length].to_vec()));
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
    setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::milliseconds(20)).unwrap();
    setsockopt(&fd, sockopt::ReceiveTimestampns, &true).unwrap();
    fd
}

fn mac(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

/// Only what the interface under test says: the other end's own packets are seen too.
fn understand(at: SystemTime, frame: &[u8]) -> Option<Heard> {
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
