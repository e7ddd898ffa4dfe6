//! Unsolicited neighbour advertisements (RFC 4861 sections 4.4 and 7.2.6): building them, no sockets.

use std::net::Ipv6Addr;

const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
const ROUTER: u8 = 0x80;
const OVERRIDE: u8 = 0x20;

/// Everybody on the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The `ICMPv6` message that moves `target` to `mac` in every neighbour cache on the link. The checksum is left zero:
/// the kernel fills it in on `ICMPv6` sockets (RFC 3542 section 3.1).
///
/// The link-layer option is padded to a multiple of eight bytes; for InfiniBand's 20 bytes RFC 4391 section 9.3 puts
/// the padding before the address, for Ethernet there is none.
pub fn advertisement(target: Ipv6Addr, mac: &[u8], router: bool) -> Vec<u8> {
    let flags = OVERRIDE | if router { ROUTER } else { 0 };
    let mut bytes = vec![NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
    bytes.extend(target.octets());
    let length = (2 + mac.len()).next_multiple_of(8);
    bytes.extend([TARGET_LINK_LAYER_ADDRESS, u8::try_from(length / 8).unwrap_or(u8::MAX)]);
    bytes.resize(bytes.len() + length - 2 - mac.len(), 0);
    bytes.extend(mac);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ethernet_byte_by_byte() {
        let target: Ipv6Addr = "fd00::5".parse().unwrap();
        let mut expected = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
        expected.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]);
        expected.extend([2, 1, 2, 0, 0, 0, 0, 0x0a]);
        assert_eq!(advertisement(target, &[2, 0, 0, 0, 0, 0x0a], false), expected);
        expected[4] = 0xa0;
        assert_eq!(advertisement(target, &[2, 0, 0, 0, 0, 0x0a], true), expected);
    }

    #[test]
    fn infiniband_option_is_three_units_with_leading_padding() {
        let mac: Vec<u8> = (1..=20).collect();
        let bytes = advertisement(Ipv6Addr::LOCALHOST, &mac, false);
        assert_eq!(bytes.len(), 24 + 24);
        assert_eq!(bytes[24..28], [2, 3, 0, 0]);
        assert_eq!(bytes[28..], mac);
    }
}
