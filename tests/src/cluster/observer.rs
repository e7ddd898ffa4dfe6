//! The independent witness: a client on the service network that pings the address every 10 ms and asks by ARP who has it.
//!
//! Two questions are asked apart. *Does it answer?* is an ordinary ICMP echo through the kernel's own ARP cache, so an owner that
//! does not announce itself is noticed as late as any client would notice. *Who has it, and is it one?* is an ARP request from a
//! MAC nobody owns, so the kernel learns nothing from the replies; its number is in that MAC, so two replies to one request are two owners.

use super::address_plan::{ARP_WATCH_ADDRESS, SERVICE_ADDRESS, node_of_mac};
use super::event_log::EventLog;
use super::stamp::{self, Micros};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

/// Between two questions.
const PERIOD: Micros = 10_000;
/// No answer for this long is silence.
const SILENCE: Micros = 100_000;
const INTERFACE: &std::ffi::CStr = c"brc";
/// The identifier of our echo requests.
const ECHO_ID: u16 = 0x5246;
/// The first bytes of the ARP sender's MAC; the request's number follows.
const ARP_MAC: [u8; 4] = [0x02, 0, 0xfd, 0];

/// `observe`, run in the state directory.
pub(crate) fn main() -> io::Result<()> {
    let mut log = EventLog::open(Path::new("observer.log"))?;
    let wire = Wire::open()?;
    let ping = echo_socket()?;
    let mut answering = Answering::default();
    let mut arp_answers: (u16, Vec<u8>) = (0, Vec::new());
    let mut number: u16 = 0;
    let mut next = stamp::now();
    let mut frame = [0_u8; 2048];
    loop {
        let now = stamp::now();
        if now >= next {
            number = number.wrapping_add(1);
            // Neither may be possible for a moment (no ARP entry, a full queue): then there is no answer, which is the finding.
            send_echo(&ping, number);
            wire.send_arp(number);
            next = (next + PERIOD).max(now);
        }
        for line in answering.silence(now) {
            log.write_at(now, &line);
        }
        let wait = u8::try_from((next - stamp::now()).clamp(0, PERIOD) / 1000 + 1).unwrap_or(1);
        let mut watched = [PollFd::new(wire.0.as_fd(), PollFlags::POLLIN)];
        if poll(&mut watched, PollTimeout::from(wait)).unwrap_or(0) == 0 {
            continue;
        }
        while let Some(frame) = wire.receive(&mut frame) {
            match classify(frame) {
                Some(Seen::Echo(node)) => {
                    if let Some(line) = answering.echo(node, stamp::now()) {
                        log.write(&line);
                    }
                }
                Some(Seen::Arp { node, request }) => {
                    if let Some(line) = answering.arp(node, stamp::now()) {
                        log.write(&line);
                    }
                    if arp_answers.0 != request {
                        arp_answers = (request, Vec::new());
                    }
                    if !arp_answers.1.contains(&node) {
                        arp_answers.1.push(node);
                        if arp_answers.1.len() > 1 {
                            log.write(&format!("double {:?}", arp_answers.1));
                        }
                    }
                }
                None => {}
            }
        }
    }
}

/// Who answers at the moment; lines come out when that changes.
#[derive(Default)]
struct Answering {
    echo: Option<(u8, Micros)>,
    arp: Option<(u8, Micros)>,
}

impl Answering {
    fn echo(&mut self, node: u8, at: Micros) -> Option<String> {
        let before = self.echo.replace((node, at));
        (before.map(|(node, _)| node) != Some(node)).then(|| format!("ping {node}"))
    }

    fn arp(&mut self, node: u8, at: Micros) -> Option<String> {
        let before = self.arp.replace((node, at));
        (before.map(|(node, _)| node) != Some(node)).then(|| format!("arp {node}"))
    }

    /// The end of an answer, with the stamp of the last one in the text.
    fn silence(&mut self, now: Micros) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, slot) in [("ping", &mut self.echo), ("arp", &mut self.arp)] {
            if let Some((node, last)) = *slot
                && now - last > SILENCE
            {
                *slot = None;
                lines.push(format!("{name} silent since {last} from {node}"));
            }
        }
        lines
    }
}

enum Seen {
    Echo(u8),
    Arp { node: u8, request: u16 },
}

/// Picks the answers about the service address out of everything on the wire.
fn classify(frame: &[u8]) -> Option<Seen> {
    let node = node_of_mac(frame.get(6..12)?)?;
    let address = SERVICE_ADDRESS.octets();
    match frame.get(12..14)? {
        // RFC 826: a reply whose sender protocol address is ours, to a MAC that only we use
        [0x08, 0x06] => {
            let arp = frame.get(14..42)?;
            if arp.get(6..8)? != [0, 2] || arp.get(14..18)? != address || arp.get(18..22)? != ARP_MAC {
                return None;
            }
            let request = u16::from_be_bytes(arp.get(22..24)?.try_into().ok()?);
            Some(Seen::Arp { node, request })
        }
        // RFC 792: echo reply, type 0, with our identifier
        [0x08, 0x00] => {
            let ip = frame.get(14..)?;
            let header = usize::from(ip.first()? & 0x0f) * 4;
            let icmp = ip.get(header..)?;
            let ours = ip.get(9) == Some(&1) && ip.get(12..16)? == address && icmp.first() == Some(&0);
            (ours && icmp.get(4..6)? == ECHO_ID.to_be_bytes()).then_some(Seen::Echo(node))
        }
        _ => None,
    }
}

fn echo_request(number: u16) -> [u8; 8] {
    let id = ECHO_ID.to_be_bytes();
    let sequence = number.to_be_bytes();
    // The ones' complement sum over four words, of which two are not zero (RFC 1071).
    let sum = 0x0800_u32 + u32::from(ECHO_ID) + u32::from(number);
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    let checksum = (!u16::try_from(folded).unwrap_or(0)).to_be_bytes();
    [8, 0, checksum[0], checksum[1], id[0], id[1], sequence[0], sequence[1]]
}

fn arp_request(number: u16) -> Vec<u8> {
    let mut sender = ARP_MAC.to_vec();
    sender.extend(number.to_be_bytes());
    let mut frame = vec![0xff; 6];
    frame.extend(&sender);
    // EtherType ARP; Ethernet, IPv4, lengths 6 and 4, request
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(&sender);
    frame.extend(ARP_WATCH_ADDRESS.octets());
    frame.extend([0; 6]);
    frame.extend(SERVICE_ADDRESS.octets());
    frame
}

fn last_error<T: PartialOrd + Default>(result: T) -> io::Result<T> {
    if result < T::default() { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn socket(domain: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: socket(2) takes numbers only; a descriptor that it returns is ours alone.
    unsafe {
        let raw =
            last_error(libc::socket(domain, kind | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, protocol))?;
        Ok(OwnedFd::from_raw_fd(raw))
    }
}

fn size_of_u32<T>() -> u32 {
    u32::try_from(size_of::<T>()).unwrap_or(0)
}

fn echo_socket() -> io::Result<OwnedFd> {
    socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP)
}

fn send_echo(socket: &OwnedFd, number: u16) {
    let packet = echo_request(number);
    // SAFETY: all-zero bytes are a valid sockaddr_in.
    let mut to: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    to.sin_family = u16::try_from(libc::AF_INET).unwrap_or(0);
    to.sin_addr.s_addr = u32::from_ne_bytes(SERVICE_ADDRESS.octets());
    // SAFETY: the packet and the address are alive and their sizes are given.
    unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            packet.as_ptr().cast(),
            packet.len(),
            0,
            (&raw const to).cast(),
            size_of_u32::<libc::sockaddr_in>(),
        );
    }
}

/// A packet socket on the service bridge that sees every frame.
struct Wire(OwnedFd);

impl Wire {
    fn open() -> io::Result<Self> {
        let every = i32::from(u16::try_from(libc::ETH_P_ALL).unwrap_or(3).to_be());
        let fd = socket(libc::AF_PACKET, libc::SOCK_RAW, every)?;
        // SAFETY: INTERFACE is a C string.
        let index = unsafe { libc::if_nametoindex(INTERFACE.as_ptr()) };
        let index = i32::try_from(index).unwrap_or(0);
        if index == 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: all-zero bytes are valid for both structures.
        let (mut address, mut membership): (libc::sockaddr_ll, libc::packet_mreq) =
            unsafe { std::mem::zeroed() };
        address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or(0);
        address.sll_protocol = u16::try_from(libc::ETH_P_ALL).unwrap_or(3).to_be();
        address.sll_ifindex = index;
        membership.mr_ifindex = index;
        membership.mr_type = u16::try_from(libc::PACKET_MR_PROMISC).unwrap_or(1);
        // SAFETY: both structures are alive and their sizes are given.
        unsafe {
            last_error(libc::bind(
                fd.as_raw_fd(),
                (&raw const address).cast(),
                size_of_u32::<libc::sockaddr_ll>(),
            ))?;
            // The replies go to a MAC that is not the bridge's own: without this it would drop them.
            last_error(libc::setsockopt(
                fd.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_ADD_MEMBERSHIP,
                (&raw const membership).cast(),
                size_of_u32::<libc::packet_mreq>(),
            ))?;
        }
        Ok(Self(fd))
    }

    fn send_arp(&self, number: u16) {
        let frame = arp_request(number);
        // SAFETY: the frame is alive and its length is given; the socket is bound to an interface.
        unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
    }

    fn receive<'a>(&self, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        // SAFETY: the buffer is ours to write for its whole length.
        let length = unsafe { libc::recv(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        buffer.get(..usize::try_from(length).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::address_plan::service_mac;
    use super::*;

    #[test]
    fn an_echo_request_sums_to_zero() {
        for number in [0, 1, 0xa5b8, 0xa5b9, 0xffff] {
            let packet = echo_request(number);
            let sum: u32 =
                packet.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
            let folded = (sum & 0xffff) + (sum >> 16);
            assert_eq!((folded & 0xffff) + (folded >> 16), 0xffff, "sequence {number}");
        }
    }

    #[test]
    fn an_arp_reply_tells_the_node_and_the_request() {
        let mut reply = arp_request(0x1234);
        let (request_sender, address) = (reply[22..32].to_vec(), reply[38..42].to_vec());
        reply[..6].copy_from_slice(&request_sender[..6]);
        reply[6..12].copy_from_slice(&service_mac(2));
        reply[21] = 2;
        reply[22..28].copy_from_slice(&service_mac(2));
        reply[28..32].copy_from_slice(&address);
        reply[32..42].copy_from_slice(&request_sender);
        assert!(matches!(classify(&reply), Some(Seen::Arp { node: 2, request: 0x1234 })));
        reply[21] = 1;
        assert!(classify(&reply).is_none(), "a request is no answer");
    }

    #[test]
    fn silence_names_the_last_answer() {
        let mut answering = Answering::default();
        assert_eq!(answering.echo(1, 1_000_000).as_deref(), Some("ping 1"));
        assert_eq!(answering.echo(1, 1_010_000), None);
        assert!(answering.silence(1_100_000).is_empty());
        assert_eq!(answering.silence(1_120_000), ["ping silent since 1010000 from 1"]);
        assert_eq!(answering.echo(2, 1_130_000).as_deref(), Some("ping 2"));
    }
}
