//! The byte layout of rtnetlink messages: building requests, walking replies.
//!
//! Own code on purpose. A typed decoder of whole messages fails on attributes it does not need and a newer or
//! older kernel changed (netlink-packet-route issues 54, 140, 151, pull 332), and a monitor must not fail for a
//! link statistic. Here an unknown attribute is skipped and a short one is absent. Layout: netlink(7).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Flags of requests (`NLM_F_*`, netlink(7)), in the width they have on the wire.
const REQUEST: u16 = 0x1;
/// Answer, also when all is well.
pub(crate) const ACK: u16 = 0x4;
/// The whole table: `NLM_F_ROOT` and `NLM_F_MATCH`.
pub(crate) const DUMP: u16 = 0x300;
/// Make a new one, fail when there is one: `NLM_F_CREATE`, `NLM_F_EXCL`; acknowledged.
pub(crate) const CREATE: u16 = 0x400 | 0x200 | ACK;

const HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;
/// Mask that takes the nested and byte order bits off an attribute's type (`NLA_TYPE_MASK`).
const TYPE_MASK: u16 = 0x3fff;

/// A request under construction: header, fixed part, attributes.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// `kind` is an `RTM_*` number, `flags` are `NLM_F_*` beside `NLM_F_REQUEST`.
    pub(crate) fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(fixed);
        pad(&mut bytes);
        Self { bytes }
    }

    /// Appends one attribute.
    pub(crate) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(ATTRIBUTE_HEADER + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        pad(&mut self.bytes);
        self
    }

    /// Appends a number in host order.
    pub(crate) fn with_u32(self, kind: u16, value: u32) -> Self {
        self.with(kind, &value.to_ne_bytes())
    }

    /// Appends a text with its closing zero.
    pub(crate) fn with_text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.with(kind, &bytes)
    }

    /// Appends an address in network order.
    pub(crate) fn with_ip(self, kind: u16, value: IpAddr) -> Self {
        match value {
            IpAddr::V4(ip) => self.with(kind, &ip.octets()),
            IpAddr::V6(ip) => self.with(kind, &ip.octets()),
        }
    }

    /// The finished message with its length and sequence number in place.
    pub(crate) fn finish(&self, sequence: u32) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_ne_bytes();
        bytes.splice(0..4, length);
        bytes.splice(8..12, sequence.to_ne_bytes());
        bytes
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// One message out of a datagram.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) payload: &'a [u8],
}

/// The messages of one datagram; stops at the first that does not fit.
pub(crate) struct Messages<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Received<'a>;

    fn next(&mut self) -> Option<Received<'a>> {
        let length = u32_at(self.0, 0)? as usize;
        let received = Received {
            kind: u16_at(self.0, 4)?,
            flags: u16_at(self.0, 6)?,
            sequence: u32_at(self.0, 8)?,
            payload: self.0.get(HEADER..length)?,
        };
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(received)
    }
}

/// The attributes of a message, from the end of its fixed part; stops at the first that does not fit.
pub(crate) struct Attributes<'a>(pub(crate) &'a [u8]);

impl<'a> Attributes<'a> {
    /// Skips the fixed part of `fixed` bytes.
    pub(crate) fn after(payload: &'a [u8], fixed: usize) -> Self {
        Self(payload.get(fixed..).unwrap_or(&[]))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let length = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & TYPE_MASK;
        let value = self.0.get(ATTRIBUTE_HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    }
}

/// Two bytes in host order.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|chunk| u16::from_ne_bytes(*chunk))
}

/// Four bytes in host order.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_ne_bytes(*chunk))
}

/// A text up to its closing zero.
pub(crate) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or(&[])).into_owned()
}

/// Four bytes are IPv4, sixteen IPv6, anything else is nothing.
pub(crate) fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::V4(Ipv4Addr::from(octets)));
    }
    <[u8; 16]>::try_from(bytes).ok().map(|octets| IpAddr::V6(Ipv6Addr::from(octets)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_built_can_be_walked() {
        let message = Message::new(20, 0, &[1, 2, 3, 4, 5, 6, 7, 8])
            .with_text(3, "eth0")
            .with_ip(2, IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)))
            .finish(7);
        let all: Vec<_> = Messages(&message).collect();
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].kind, all[0].flags, all[0].sequence), (20, 1, 7));
        let attributes: Vec<_> = Attributes::after(all[0].payload, 8).collect();
        assert_eq!(attributes, [(3, &b"eth0\0"[..]), (2, &[10, 0, 0, 1][..])]);
        assert_eq!(text(attributes[0].1), "eth0");
        assert_eq!(ip(attributes[1].1), Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))));
    }

    #[test]
    fn a_length_of_zero_ends_the_walk() {
        assert_eq!(Attributes(&[0, 0, 1, 0, 9, 9, 9, 9]).count(), 0);
        assert_eq!(Messages(&[0; 64]).count(), 0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for message in Messages(&bytes) {
                let _ = Attributes::after(message.payload, 8).count();
            }
            prop_assert!(Attributes(&bytes).count() <= bytes.len());
        }
    }
}
