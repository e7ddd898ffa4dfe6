//! ARP packets (RFC 826, RFC 5227, for InfiniBand RFC 4391): building and reading them, no sockets.

use std::net::Ipv4Addr;

/// Operation "request".
pub const REQUEST: u16 = 1;
/// Operation "reply".
pub const REPLY: u16 = 2;
const ETHERTYPE_IPV4: u16 = 0x0800;

/// An ARP packet for IPv4 over any hardware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// `ARPHRD_*`: 1 Ethernet, 32 InfiniBand.
    pub hardware: u16,
    /// [`REQUEST`] or [`REPLY`].
    pub operation: u16,
    /// Sender's hardware address.
    pub sender: Vec<u8>,
    /// Sender's address.
    pub sender_ip: Ipv4Addr,
    /// Target's hardware address, as long as the sender's.
    pub target: Vec<u8>,
    /// Target's address.
    pub target_ip: Ipv4Addr,
}

impl Packet {
    /// Gratuitous ARP: sender and target address are both the announced one.
    ///
    /// As a request the target hardware address is zero (RFC 5227 section 3: the preferred form). As a reply it is
    /// the sender's own; some switches and hosts learn from one form only, so callers send both.
    pub fn announcement(hardware: u16, operation: u16, mac: &[u8], ip: Ipv4Addr) -> Self {
        let target = if operation == REPLY { mac.to_vec() } else { vec![0; mac.len()] };
        Self { hardware, operation, sender: mac.to_vec(), sender_ip: ip, target, target_ip: ip }
    }

    /// ARP probe, RFC 5227 section 2.1.1: "is anybody using this address?", without polluting any cache.
    pub fn probe(hardware: u16, mac: &[u8], ip: Ipv4Addr) -> Self {
        Self {
            hardware,
            operation: REQUEST,
            sender: mac.to_vec(),
            sender_ip: Ipv4Addr::UNSPECIFIED,
            target: vec![0; mac.len()],
            target_ip: ip,
        }
    }

    /// The bytes after the link-layer header.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + 2 * (self.sender.len() + 4));
        bytes.extend(self.hardware.to_be_bytes());
        bytes.extend(ETHERTYPE_IPV4.to_be_bytes());
        bytes.push(u8::try_from(self.sender.len()).unwrap_or(u8::MAX));
        bytes.push(4);
        bytes.extend(self.operation.to_be_bytes());
        bytes.extend(&self.sender);
        bytes.extend(self.sender_ip.octets());
        bytes.extend(&self.target);
        bytes.extend(self.target_ip.octets());
        bytes
    }

    /// Reads a packet; nothing when it is not ARP for IPv4 or is cut short.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| bytes.get(at..)?.first_chunk().map(|two| u16::from_be_bytes(*two));
        let length = usize::from(*bytes.get(4)?);
        if number(2)? != ETHERTYPE_IPV4 || *bytes.get(5)? != 4 {
            return None;
        }
        let address = |at: usize| bytes.get(at..)?.first_chunk::<4>().map(|four| Ipv4Addr::from(*four));
        let target_at = 8 + length + 4;
        Some(Self {
            hardware: number(0)?,
            operation: number(6)?,
            sender: bytes.get(8..8 + length)?.to_vec(),
            sender_ip: address(8 + length)?,
            target: bytes.get(target_at..target_at + length)?.to_vec(),
            target_ip: address(target_at + length)?,
        })
    }

    /// Whether this packet shows that another station uses or claims `ip`: RFC 5227 section 2.1.1. It does when the
    /// sender's address is `ip`, and also when someone else probes for it at the same time.
    pub fn conflicts_with(&self, ip: Ipv4Addr, own_mac: &[u8]) -> bool {
        let uses = self.sender_ip == ip;
        let probes = self.operation == REQUEST && self.sender_ip.is_unspecified() && self.target_ip == ip;
        (uses || probes) && self.sender != own_mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x0a];
    const IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);

    #[test]
    fn request_form_byte_by_byte() {
        let expected =
            [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 0x0a, 10, 0, 0, 5, 0, 0, 0, 0, 0, 0, 10, 0, 0, 5];
        assert_eq!(Packet::announcement(1, REQUEST, &MAC, IP).bytes(), expected);
    }

    #[test]
    fn reply_form_byte_by_byte() {
        let expected =
            [0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 0x0a, 10, 0, 0, 5, 2, 0, 0, 0, 0, 0x0a, 10, 0, 0, 5];
        assert_eq!(Packet::announcement(1, REPLY, &MAC, IP).bytes(), expected);
    }

    #[test]
    fn infiniband_has_twenty_byte_addresses() {
        let mac: Vec<u8> = (1..=20).collect();
        let bytes = Packet::announcement(32, REQUEST, &mac, IP).bytes();
        let mut expected = vec![0, 32, 8, 0, 20, 4, 0, 1];
        expected.extend(1..=20);
        expected.extend([10, 0, 0, 5]);
        expected.extend([0; 20]);
        expected.extend([10, 0, 0, 5]);
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_probe_has_no_sender_address() {
        let expected =
            [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 5];
        assert_eq!(Packet::probe(1, &MAC, IP).bytes(), expected);
    }

    #[test]
    fn only_another_station_conflicts() {
        let other = [2, 0, 0, 0, 0, 0x0b];
        let elsewhere = Ipv4Addr::new(10, 0, 0, 6);
        assert!(Packet::announcement(1, REPLY, &other, IP).conflicts_with(IP, &MAC));
        assert!(Packet::probe(1, &other, IP).conflicts_with(IP, &MAC));
        assert!(!Packet::announcement(1, REPLY, &other, elsewhere).conflicts_with(IP, &MAC));
        assert!(!Packet::probe(1, &MAC, IP).conflicts_with(IP, &MAC));
        // an ordinary question for the address is no claim to it
        let mut question = Packet::probe(1, &other, IP);
        question.sender_ip = elsewhere;
        assert!(!question.conflicts_with(IP, &MAC));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Some(packet) = Packet::parse(&bytes) {
                prop_assert_eq!(&packet.bytes()[..], &bytes[..packet.bytes().len()]);
            }
        }
    }
}
