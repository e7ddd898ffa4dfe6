//! RMCP framing: the two session headers that can follow the 4-byte RMCP header on UDP 623.
//!
//! IPMI v2.0 rev 1.1 sections 13.1 (RMCP), 13.6 (packet formats) and 13.28 (payload types). Parsing takes any bytes and gives
//! `None` for whatever is not exactly a packet: on a datagram socket a malformed packet is noise, not an event.

/// Version 1.0, reserved, no RMCP acknowledge, class IPMI.
const RMCP: [u8; 4] = [0x06, 0x00, 0xFF, 0x07];
/// Class ASF: the presence ping that some BMCs send unasked.
const AUTH_RMCP_PLUS: u8 = 0x06;
/// Sequence and next-header bytes of the v2.0 trailer.
const NEXT_HEADER: u8 = 0x07;

pub(super) const PAYLOAD_IPMI: u8 = 0x00;
pub(super) const PAYLOAD_OPEN_REQUEST: u8 = 0x10;
pub(super) const PAYLOAD_OPEN_RESPONSE: u8 = 0x11;
pub(super) const PAYLOAD_RAKP1: u8 = 0x12;
pub(super) const PAYLOAD_RAKP2: u8 = 0x13;
pub(super) const PAYLOAD_RAKP3: u8 = 0x14;
pub(super) const PAYLOAD_RAKP4: u8 = 0x15;
const PAYLOAD_OEM: u8 = 0x02;

const ENCRYPTED: u8 = 0x80;
const AUTHENTICATED: u8 = 0x40;

/// A datagram, taken apart but not yet verified.
pub(super) enum Packet<'a> {
    V15(V15<'a>),
    V20(V20<'a>),
}

/// Table 13-8, left column.
pub(super) struct V15<'a> {
    pub auth_type: u8,
    pub sequence: u32,
    pub session_id: u32,
    /// Present when `auth_type` is not 0.
    pub auth_code: Option<[u8; 16]>,
    pub payload: &'a [u8],
}

/// Table 13-8, right column.
pub(super) struct V20<'a> {
    pub payload_type: u8,
    pub encrypted: bool,
    pub authenticated: bool,
    pub session_id: u32,
    pub sequence: u32,
    pub payload: &'a [u8],
    /// From the authentication type byte to the end of the datagram: what the trailer's code covers, and the code.
    pub signed_and_code: &'a [u8],
}

/// The first `N` bytes and the rest.
pub(super) fn take<const N: usize>(bytes: &[u8]) -> Option<([u8; N], &[u8])> {
    bytes.split_first_chunk::<N>().map(|(head, tail)| (*head, tail))
}

pub(super) fn parse(datagram: &[u8]) -> Option<Packet<'_>> {
    let (header, rest) = take::<4>(datagram)?;
    // the sequence byte is not compared: some BMCs answer with 00h instead of FFh
    if header[0] != RMCP[0] || header[3] & 0x9F != RMCP[3] {
        return None;
    }
    let ([auth_type], after) = take::<1>(rest)?;
    if auth_type & 0x0F == AUTH_RMCP_PLUS {
        parse_v20(rest, after).map(Packet::V20)
    } else {
        parse_v15(auth_type, after).map(Packet::V15)
    }
}

/// The BMC's session id in an open session response with status 0 (table 13-10).
pub(super) fn opened_session(datagram: &[u8]) -> Option<[u8; 4]> {
    let Packet::V20(packet) = parse(datagram)? else { return None };
    if packet.payload_type != PAYLOAD_OPEN_RESPONSE || packet.session_id != 0 {
        return None;
    }
    let ([_tag, status, _, _], rest) = take::<4>(packet.payload)?;
    let (_console, rest) = take::<4>(rest)?;
    let (id, _) = take::<4>(rest)?;
    (status == 0 && id != [0; 4]).then_some(id)
}

fn parse_v15(auth_type: u8, after: &[u8]) -> Option<V15<'_>> {
    let (sequence, rest) = take::<4>(after)?;
    let (session_id, rest) = take::<4>(rest)?;
    let (auth_code, rest) = if auth_type == 0 {
        (None, rest)
    } else {
        let (code, rest) = take::<16>(rest)?;
        (Some(code), rest)
    };
    let ([length], rest) = take::<1>(rest)?;
    // a "legacy pad" byte may follow for packets of certain lengths (13.6): what is beyond the length is ignored
    let payload = rest.get(..usize::from(length))?;
    Some(V15 {
        auth_type,
        sequence: u32::from_le_bytes(sequence),
        session_id: u32::from_le_bytes(session_id),
        auth_code,
        payload,
    })
}

fn parse_v20<'a>(from_auth_type: &'a [u8], after: &'a [u8]) -> Option<V20<'a>> {
    let ([kind], rest) = take::<1>(after)?;
    let payload_type = kind & 0x3F;
    if payload_type == PAYLOAD_OEM {
        return None;
    }
    let (session_id, rest) = take::<4>(rest)?;
    let (sequence, rest) = take::<4>(rest)?;
    let (length, rest) = take::<2>(rest)?;
    let payload = rest.get(..usize::from(u16::from_le_bytes(length)))?;
    Some(V20 {
        payload_type,
        encrypted: kind & ENCRYPTED != 0,
        authenticated: kind & AUTHENTICATED != 0,
        session_id: u32::from_le_bytes(session_id),
        sequence: u32::from_le_bytes(sequence),
        payload,
        signed_and_code: from_auth_type,
    })
}

/// The head of a v1.5 packet, ready for the payload. `None` when the payload is longer than its length byte can say.
pub(super) fn build_v15(
    auth_type: u8,
    sequence: u32,
    session_id: u32,
    auth_code: Option<&[u8; 16]>,
    payload: &[u8],
) -> Option<Vec<u8>> {
    let length = u8::try_from(payload.len()).ok()?;
    let mut packet = RMCP.to_vec();
    packet.push(auth_type);
    packet.extend(sequence.to_le_bytes());
    packet.extend(session_id.to_le_bytes());
    if let Some(code) = auth_code {
        packet.extend(code);
    }
    packet.push(length);
    packet.extend(payload);
    Some(packet)
}

/// An unprotected v2.0 packet outside a session: open session and RAKP.
pub(super) fn build_setup(payload_type: u8, payload: &[u8]) -> Option<Vec<u8>> {
    build_v20(payload_type, false, 0, 0, payload, |_| None)
}

/// A v2.0 packet. `sign` gets everything from the authentication type to the next-header byte and returns the code, or `None`
/// for a packet without integrity.
pub(super) fn build_v20(
    payload_type: u8,
    encrypted: bool,
    session_id: u32,
    sequence: u32,
    payload: &[u8],
    sign: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let length = u16::try_from(payload.len()).ok()?;
    let mut body = vec![AUTH_RMCP_PLUS, payload_type | if encrypted { ENCRYPTED } else { 0 }];
    body.extend(session_id.to_le_bytes());
    body.extend(sequence.to_le_bytes());
    body.extend(length.to_le_bytes());
    body.extend(payload);

    let mut signed = body.clone();
    if let Some(kind) = signed.get_mut(1) {
        *kind |= AUTHENTICATED;
    }
    // the integrity data is padded so that it is a multiple of four long, pad length and next header included (13.28.4)
    let mut pad = 0_u8;
    while !(signed.len() + 2).is_multiple_of(4) {
        signed.push(0xFF);
        pad += 1;
    }
    signed.extend([pad, NEXT_HEADER]);
    if let Some(code) = sign(&signed) {
        signed.extend(code);
        body = signed;
    }
    let mut packet = RMCP.to_vec();
    packet.extend(body);
    Some(packet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn v15_round_trip_and_pad_byte() {
        let mut packet = build_v15(2, 7, 0x0102_0304, Some(&[9; 16]), b"abc").unwrap();
        packet.push(0);
        let Some(Packet::V15(p)) = parse(&packet) else { panic!() };
        assert_eq!(
            (p.auth_type, p.sequence, p.session_id, p.auth_code, p.payload),
            (2, 7, 0x0102_0304, Some([9; 16]), &b"abc"[..])
        );
    }

    #[test]
    fn v20_is_padded_to_four() {
        for length in 0..40_usize {
            let packet = build_v20(0, true, 1, 2, &vec![5; length], |signed| {
                assert_eq!(signed.len() % 4, 0);
                Some(vec![1; 12])
            })
            .unwrap();
            let Some(Packet::V20(p)) = parse(&packet) else { panic!() };
            assert!(p.encrypted && p.authenticated);
            assert_eq!(p.payload, vec![5; length]);
        }
    }

    #[test]
    fn foreign_classes_and_short_packets_are_noise() {
        assert!(parse(&[6, 0, 0xFF, 6, 0, 0, 0x11, 0xBE, 0x40, 0, 0, 0x10]).is_none());
        assert!(parse(&[]).is_none());
        let packet = build_v15(0, 0, 0, None, b"abcdef").unwrap();
        for cut in 0..packet.len() {
            assert!(parse(&packet[..cut]).is_none());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
            let mut framed = RMCP.to_vec();
            framed.extend(bytes);
            let _ = parse(&framed);
        }
    }
}
