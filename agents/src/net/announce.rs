//! Telling the neighbours that an address has moved here, and asking them whether it is free.
//!
//! IPv4 goes through packet sockets (packet(7)), which build the link-layer header themselves and so serve Ethernet
//! and InfiniBand alike; IPv6 through a raw `ICMPv6` socket. Both need `CAP_NET_RAW`. Sockets are opened before the
//! first packet, so that a caller can open them, learn of any error, and only then go into the background.

use crate::net::arp::{self, Packet};
use crate::net::ndisc;
use crate::net::netlink::{Link, readable};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn6, SockaddrStorage, recv, sendto,
    socket,
};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// `ETH_P_ARP`.
const ETHERTYPE_ARP: u16 = 0x0806;
/// The longest hardware address there is (IP over InfiniBand).
const LONGEST_MAC: usize = 20;
/// RFC 5227 section 1.1 spaces probes by 1 to 2 s; `arping -D`, which upstream runs, sends one a second.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Why nothing could be announced or asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// A system call failed.
    System {
        /// What was being done.
        doing: &'static str,
        /// The interface.
        nic: String,
        /// The system's number.
        errno: Errno,
    },
    /// The interface has no hardware address to announce (loopback, tunnel).
    NoHardwareAddress {
        /// The interface.
        nic: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System { doing, nic, errno } => {
                write!(f, "cannot {doing} on interface {nic}: {}", errno.desc())
            }
            Self::NoHardwareAddress { nic } => {
                write!(f, "interface {nic} has no hardware address to announce")
            }
        }
    }
}

impl std::error::Error for Error {}

/// A socket that announces one address on one interface.
#[derive(Debug)]
pub struct Announcer {
    fd: OwnedFd,
    nic: String,
    what: What,
}

#[derive(Debug)]
enum What {
    Arp { packets: [Vec<u8>; 2], to: LinkAddress },
    Advertisement { message: Vec<u8>, ifindex: u32 },
}

impl Announcer {
    /// Opens what is needed to announce `address` on `link`. `mac` replaces the interface's own hardware address in
    /// the packets (cluster-IP mode).
    pub fn open(link: &Link, address: IpAddr, mac: Option<&[u8]>) -> Result<Self, Error> {
        let nic = link.name.clone();
        let mac = mac.unwrap_or(&link.address);
        if mac.is_empty() || mac.len() > LONGEST_MAC || link.is_loopback() {
            return Err(Error::NoHardwareAddress { nic });
        }
        let (fd, what) = match address {
            IpAddr::V4(ip) => {
                let number = link.hardware.number();
                let packets = [arp::REQUEST, arp::REPLY]
                    .map(|operation| Packet::announcement(number, operation, mac, ip).bytes());
                (packet_socket(link, false)?, What::Arp { packets, to: LinkAddress::broadcast(link) })
            }
            IpAddr::V6(ip) => {
                let message = ndisc::advertisement(ip, mac, forwards(&link.name));
                (icmp_socket(link, ip)?, What::Advertisement { message, ifindex: link.index })
            }
        };
        Ok(Self { fd, nic, what })
    }

    /// The socket, to be kept open across [`crate::detached::run`].
    pub fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Announces once: IPv4 in request and in reply form, because some switches learn from one of them only.
    pub fn announce(&self) -> Result<(), Error> {
        let failed = |errno| Error::System { doing: "announce", nic: self.nic.clone(), errno };
        match &self.what {
            What::Arp { packets, to } => {
                packets.iter().try_for_each(|packet| to.send(&self.fd, packet)).map_err(failed)
            }
            What::Advertisement { message, ifindex } => {
                let to = SocketAddrV6::new(ndisc::ALL_NODES, 0, 0, *ifindex);
                sendto(self.fd.as_raw_fd(), message, &SockaddrIn6::from(to), MsgFlags::empty())
                    .map(drop)
                    .map_err(failed)
            }
        }
    }

    /// Announces `count` times, `interval` apart, at most until `deadline`; goes on after a failure.
    ///
    /// Returns how often it went out, or the last error when it never did.
    pub fn announce_all(&self, count: u32, interval: Duration, deadline: Instant) -> Result<u32, Error> {
        let mut sent = 0;
        let mut last = None;
        for turn in 0..count {
            if turn > 0 {
                let until = Instant::now() + interval;
                if until >= deadline {
                    break;
                }
                pause(until);
            }
            match self.announce() {
                Ok(()) => sent += 1,
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(error) if sent == 0 => Err(error),
            _ => Ok(sent),
        }
    }
}

/// Sleeps until then.
#[allow(clippy::disallowed_methods, reason = "runs in the detached child, bounded by its caller's deadline")]
fn pause(until: Instant) {
    std::thread::sleep(until.saturating_duration_since(Instant::now()));
}

/// Asks by ARP probes whether another station uses `ip` (RFC 5227), until `deadline`.
///
/// Returns the other station's hardware address, or `None` when nobody answered. Probes go out once a second; an
/// answer ends it at once. Do this before the address is added.
pub fn find_duplicate(link: &Link, ip: Ipv4Addr, deadline: Instant) -> Result<Option<Vec<u8>>, Error> {
    if link.address.is_empty() || link.is_loopback() {
        return Err(Error::NoHardwareAddress { nic: link.name.clone() });
    }
    let failed = |doing| move |errno| Error::System { doing, nic: link.name.clone(), errno };
    let fd = packet_socket(link, true)?;
    let probe = Packet::probe(link.hardware.number(), &link.address, ip).bytes();
    let to = LinkAddress::broadcast(link);
    let mut buffer = [0; 512];
    while Instant::now() < deadline {
        to.send(&fd, &probe).map_err(failed("send an arp probe"))?;
        let next = deadline.min(Instant::now() + PROBE_INTERVAL);
        while readable(fd.as_fd(), next).map_err(failed("wait for arp answers"))? {
            let length = match recv(fd.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => length,
                Err(Errno::EAGAIN | Errno::EINTR) => continue,
                Err(errno) => return Err(failed("read arp answers")(errno)),
            };
            let answer = buffer.get(..length).and_then(Packet::parse);
            if let Some(answer) = answer.filter(|answer| answer.conflicts_with(ip, &link.address)) {
                return Ok(Some(answer.sender));
            }
        }
    }
    Ok(None)
}

/// `struct sockaddr_ll` with room for 20 bytes of hardware address: libc's has eight, the kernel takes what the
/// length says (packet(7), `packet_snd`).
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct LinkAddress {
    family: u16,
    protocol: u16,
    ifindex: i32,
    hatype: u16,
    pkttype: u8,
    halen: u8,
    addr: [u8; LONGEST_MAC],
}

impl LinkAddress {
    /// Everybody on the link of this interface.
    fn broadcast(link: &Link) -> Self {
        let mut addr = [0; LONGEST_MAC];
        for (to, from) in addr.iter_mut().zip(&link.broadcast) {
            *to = *from;
        }
        Self {
            family: AddressFamily::Packet as u16,
            protocol: ETHERTYPE_ARP.to_be(),
            ifindex: link.index.cast_signed(),
            hatype: 0,
            pkttype: 0,
            halen: u8::try_from(link.broadcast.len().min(LONGEST_MAC)).unwrap_or(0),
            addr,
        }
    }

    fn send(&self, fd: &OwnedFd, packet: &[u8]) -> Result<(), Errno> {
        // SAFETY: both pointers are live for the call and their exact sizes are passed; the kernel only reads.
        let sent = unsafe {
            libc::sendto(
                fd.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                0,
                std::ptr::from_ref(self).cast(),
                LINK_ADDRESS_SIZE,
            )
        };
        Errno::result(sent).map(drop)
    }
}

/// 12 bytes before the address, and the address.
const LINK_ADDRESS_SIZE: libc::socklen_t = 32;
const _: () = assert!(size_of::<LinkAddress>() == 32);

/// A packet socket for ARP on this interface. One that only sends is bound to protocol 0 and receives nothing.
fn packet_socket(link: &Link, receives: bool) -> Result<OwnedFd, Error> {
    let failed = |doing| move |errno| Error::System { doing, nic: link.name.clone(), errno };
    let flags = SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Packet, SockType::Datagram, flags, None)
        .map_err(failed("open a packet socket"))?;
    let mut address = LinkAddress::broadcast(link);
    address.protocol = if receives { ETHERTYPE_ARP.to_be() } else { 0 };
    // SAFETY: the address is live for the call and its exact size is passed; the kernel only reads.
    let bound = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), LINK_ADDRESS_SIZE) };
    Errno::result(bound).map_err(failed("bind a packet socket"))?;
    Ok(fd)
}

/// A raw `ICMPv6` socket with hop limit 255, without which receivers drop the message (RFC 4861 section 7.1.2), sending
/// from the announced address on this interface.
fn icmp_socket(link: &Link, source: Ipv6Addr) -> Result<OwnedFd, Error> {
    let failed = |doing| move |errno| Error::System { doing, nic: link.name.clone(), errno };
    let fd = socket(AddressFamily::Inet6, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::IcmpV6)
        .map_err(failed("open an icmp socket"))?;
    for (option, value) in [
        (libc::IPV6_MULTICAST_HOPS, 255),
        (libc::IPV6_MULTICAST_LOOP, 0),
        (libc::IPV6_MULTICAST_IF, link.index.cast_signed()),
    ] {
        // SAFETY: the value is a live c_int of four bytes; the kernel only reads it.
        let done = unsafe {
            libc::setsockopt(fd.as_raw_fd(), libc::IPPROTO_IPV6, option, (&raw const value).cast(), 4)
        };
        Errno::result(done).map_err(failed("prepare an icmp socket"))?;
    }
    let from = SockaddrStorage::from(SocketAddrV6::new(source, 0, 0, link.index));
    // an address that duplicate detection still holds cannot be bound: the kernel then picks another source, which
    // receivers accept, because the target is what counts
    match nix::sys::socket::bind(fd.as_raw_fd(), &from) {
        Ok(()) | Err(Errno::EADDRNOTAVAIL) => Ok(fd),
        Err(errno) => Err(failed("bind an icmp socket")(errno)),
    }
}

/// Whether this interface routes IPv6: then the router flag must be set, or neighbours drop it as a router.
fn forwards(nic: &str) -> bool {
    std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{nic}/forwarding"))
        .is_ok_and(|value| value.trim() == "1")
}
