//! What is heard at the peer, with a packet socket of the judge's own (packet(7)).

use super::language::Kind;
use super::parse::PEER;
use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// An open ear on every interface of the peer's namespace.
pub struct Ear {
    socket: OwnedFd,
    heard: Vec<Vec<u8>>,
}

impl Ear {
    /// Opens it. The socket stays in the peer's namespace; only a thread of its own goes there.
    pub fn open() -> Result<Self, String> {
        let namespace = File::open(format!("/run/netns/{PEER}")).map_err(|why| format!("listen: {why}"))?;
        let opened = std::thread::spawn(move || {
            nix::sched::setns(&namespace, nix::sched::CloneFlags::CLONE_NEWNET)
                .map_err(|errno| format!("go to the peer: {}", errno.desc()))?;
            let protocol = i32::from(3_u16.to_be()); // ETH_P_ALL
            // SAFETY: socket(2) takes plain numbers.
            let socket = unsafe {
                libc::socket(
                    libc::AF_PACKET,
                    libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
                    protocol,
                )
            };
            if socket < 0 {
                return Err(format!("listen: {}", std::io::Error::last_os_error()));
            }
            // SAFETY: the descriptor was just made and belongs to nobody else.
            Ok(unsafe { OwnedFd::from_raw_fd(socket) })
        });
        let socket = opened.join().map_err(|_| "listen: the listener failed".to_owned())??;
        Ok(Self { socket, heard: Vec::new() })
    }

    /// How many packets of this kind were heard so far.
    pub fn count(&mut self, kind: Kind, address: &str) -> usize {
        self.listen();
        self.heard.iter().filter(|frame| is_about(frame, kind, address)).count()
    }

    fn listen(&mut self) {
        // Bounded: nobody may keep the judge listening for ever.
        for _ in 0..10_000 {
            let mut frame = [0_u8; 256];
            // SAFETY: the buffer is writable and its true length is passed.
            let length = unsafe {
                libc::recv(
                    self.socket.as_raw_fd(),
                    frame.as_mut_ptr().cast(),
                    frame.len(),
                    libc::MSG_DONTWAIT,
                )
            };
            let Ok(length) = usize::try_from(length) else { return };
            self.heard.extend(frame.get(..length).map(<[u8]>::to_vec));
        }
    }
}

/// Ethernet with ARP (RFC 826) or a neighbour advertisement (RFC 4861, 4.4: `ICMPv6` type 136).
fn is_about(frame: &[u8], kind: Kind, address: &str) -> bool {
    let at = |from: usize, bytes: &[u8]| frame.get(from..from + bytes.len()) == Some(bytes);
    match kind {
        Kind::Arp => {
            let sender = address.parse::<Ipv4Addr>().map(|address| address.octets());
            at(12, &[0x08, 0x06]) && sender.is_ok_and(|sender| at(28, &sender))
        }
        Kind::Advertisement => {
            let target = address.parse::<Ipv6Addr>().map(|address| address.octets());
            at(12, &[0x86, 0xdd])
                && at(20, &[58])
                && at(54, &[136])
                && target.is_ok_and(|target| at(62, &target))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_apart() {
        let mut arp = vec![0_u8; 60];
        arp[12..14].copy_from_slice(&[8, 6]);
        arp[28..32].copy_from_slice(&[192, 0, 2, 10]);
        assert!(is_about(&arp, Kind::Arp, "192.0.2.10"));
        assert!(!is_about(&arp, Kind::Arp, "192.0.2.11"));
        assert!(!is_about(&arp[..30], Kind::Arp, "192.0.2.10"));
        let mut told = vec![0_u8; 86];
        told[12..14].copy_from_slice(&[0x86, 0xdd]);
        told[20] = 58;
        told[54] = 136;
        told[62..78].copy_from_slice(&"2001:db8::10".parse::<Ipv6Addr>().unwrap().octets());
        assert!(is_about(&told, Kind::Advertisement, "2001:db8::10"));
        assert!(!is_about(&told, Kind::Arp, "192.0.2.10"));
        told[54] = 135;
        assert!(!is_about(&told, Kind::Advertisement, "2001:db8::10"));
    }
}
