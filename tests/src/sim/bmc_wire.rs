//! The BMC's side of the wire: packets, codes and encryption, from IPMI v2.0 rev 1.1 chapter 13. Nothing of the client is used.

use aes::cipher::{BlockDecryptMut, BlockEncryptMut, KeyIvInit, block_padding::NoPadding};
use hmac::{Hmac, Mac};
use md5::Digest;

/// What a cipher suite number stands for: authentication, integrity, confidentiality algorithm (table 13-17, errata 4).
pub(super) fn suite_algorithms(suite: u8) -> Option<(u8, u8, u8)> {
    Some(match suite {
        0 => (0, 0, 0),
        1 => (1, 0, 0),
        2 => (1, 1, 0),
        3 => (1, 1, 1),
        15 => (3, 0, 0),
        16 => (3, 4, 0),
        17 => (3, 4, 1),
        _ => return None,
    })
}

/// HMAC by authentication algorithm number: 1 SHA-1, 3 SHA-256, 0 nothing.
pub(super) fn keyed(algorithm: u8, key: &[u8], data: &[u8]) -> Vec<u8> {
    match algorithm {
        1 => Hmac::<sha1::Sha1>::new_from_slice(key)
            .map(|mac| mac.chain_update(data).finalize().into_bytes().to_vec()),
        3 => Hmac::<sha2::Sha256>::new_from_slice(key)
            .map(|mac| mac.chain_update(data).finalize().into_bytes().to_vec()),
        _ => Ok(Vec::new()),
    }
    .unwrap_or_default()
}

/// Length of the code of an authentication algorithm where it is truncated (RAKP 4, trailer).
pub(super) fn short(algorithm: u8) -> usize {
    match algorithm {
        1 => 12,
        3 | 4 => 16,
        _ => 0,
    }
}

/// The integrity algorithms 1 and 4 use the hashes 1 and 3.
fn hash_of_integrity(integrity: u8) -> u8 {
    if integrity == 4 { 3 } else { integrity }
}

/// Keys of an active v2.0 session.
#[derive(Clone)]
pub(super) struct Protection {
    pub integrity: u8,
    pub confidentiality: u8,
    pub k1: Vec<u8>,
    pub k2: Vec<u8>,
}

fn aes_key(k2: &[u8]) -> [u8; 16] {
    let mut key = [0; 16];
    for (to, from) in key.iter_mut().zip(k2) {
        *to = *from;
    }
    key
}

impl Protection {
    /// Trailer and payload of a received packet, from its authentication type byte on. `None`: drop it.
    pub(super) fn receive(&self, packet: &[u8], payload: &[u8]) -> Option<Vec<u8>> {
        if self.integrity != 0 {
            let (covered, code) =
                packet.split_at_checked(packet.len().checked_sub(short(self.integrity))?)?;
            let want = keyed(hash_of_integrity(self.integrity), &self.k1, covered);
            if want.get(..code.len())? != code || covered.len() % 4 != 0 || *covered.last()? != 7 {
                return None;
            }
        }
        if self.confidentiality == 0 {
            return Some(payload.to_vec());
        }
        let (iv, text) = payload.split_at_checked(16)?;
        let mut text = text.to_vec();
        cbc::Decryptor::<aes::Aes128>::new_from_slices(&aes_key(&self.k2), iv)
            .ok()?
            .decrypt_padded_mut::<NoPadding>(&mut text)
            .ok()?;
        let pad = usize::from(*text.last()?);
        let keep = text.len().checked_sub(pad + 1)?;
        // the standard's pad is checked byte by byte: 1, 2, 3 ...
        let right = text.get(keep..text.len() - 1)?.iter().zip(1_u8..).all(|(byte, want)| *byte == want);
        text.truncate(keep);
        right.then_some(text)
    }

    /// A packet of the session.
    pub(super) fn send(&self, console: u32, sequence: u32, message: &[u8]) -> Vec<u8> {
        let payload = if self.confidentiality == 0 { message.to_vec() } else { self.encrypt(message) };
        let kind =
            if self.confidentiality == 0 { 0 } else { 0x80 } | if self.integrity == 0 { 0 } else { 0x40 };
        let mut packet = plain20(kind, console, sequence, &payload);
        if self.integrity != 0 {
            let mut pad = 0;
            // counted from the authentication type, behind the four bytes of RMCP
            while !(packet.len() - 4 + 2).is_multiple_of(4) {
                packet.push(0xFF);
                pad += 1;
            }
            packet.extend([pad, 7]);
            let covered = packet.get(4..).unwrap_or_default();
            let mut code = keyed(hash_of_integrity(self.integrity), &self.k1, covered);
            code.truncate(short(self.integrity));
            packet.extend(code);
        }
        packet
    }

    fn encrypt(&self, message: &[u8]) -> Vec<u8> {
        let iv: [u8; 16] = random();
        let mut text = message.to_vec();
        let pad = (16 - (message.len() + 1) % 16) % 16;
        text.extend((1_u8..).take(pad));
        text.push(u8::try_from(pad).unwrap_or(0));
        let length = text.len();
        let mut out = iv.to_vec();
        if let Ok(cipher) = cbc::Encryptor::<aes::Aes128>::new_from_slices(&aes_key(&self.k2), &iv)
            && let Ok(sealed) = cipher.encrypt_padded_mut::<NoPadding>(&mut text, length)
        {
            out.extend_from_slice(sealed);
        }
        out
    }
}

/// A v2.0 packet without trailer; `kind` is the payload type with its two flags.
pub(super) fn plain20(kind: u8, session: u32, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![6, 0, 0xFF, 7, 6, kind];
    packet.extend(session.to_le_bytes());
    packet.extend(sequence.to_le_bytes());
    packet.extend(u16::try_from(payload.len()).unwrap_or(0).to_le_bytes());
    packet.extend(payload);
    packet
}

/// The 16-byte code of a v1.5 packet.
pub(super) fn code15(
    auth: u8,
    password: &[u8; 16],
    session: u32,
    sequence: u32,
    message: &[u8],
) -> Option<[u8; 16]> {
    match auth {
        2 => {
            let all =
                [password, &session.to_le_bytes()[..], message, &sequence.to_le_bytes(), password].concat();
            Some(md5::Md5::digest(all).into())
        }
        4 => Some(*password),
        _ => None,
    }
}

/// A v1.5 packet.
pub(super) fn packet15(
    auth: u8,
    code: Option<[u8; 16]>,
    session: u32,
    sequence: u32,
    message: &[u8],
) -> Vec<u8> {
    let mut packet = vec![6, 0, 0xFF, 7, if code.is_some() { auth } else { 0 }];
    packet.extend(sequence.to_le_bytes());
    packet.extend(session.to_le_bytes());
    packet.extend(code.into_iter().flatten());
    packet.push(u8::try_from(message.len()).unwrap_or(0));
    packet.extend(message);
    packet
}

/// A request as received.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub to: u8,
    pub net_fn: u8,
    pub from: u8,
    /// Sequence and logical unit, returned as they came.
    pub sequence: u8,
    pub command: u8,
    pub data: Vec<u8>,
}

pub(super) fn sum_to_zero(bytes: &[u8]) -> u8 {
    0_u8.wrapping_sub(bytes.iter().copied().fold(0, u8::wrapping_add))
}

pub(super) fn parse_request(message: &[u8]) -> Option<Asked> {
    let (head, body) = message.split_at_checked(3)?;
    if sum_to_zero(head) != 0 || sum_to_zero(body) != 0 {
        return None;
    }
    let [to, net_fn, _] = head else { return None };
    let [from, sequence, command, data @ .., _] = body else { return None };
    Some(Asked {
        to: *to,
        net_fn: net_fn >> 2,
        from: *from,
        sequence: *sequence,
        command: *command,
        data: data.to_vec(),
    })
}

pub(super) fn build_response(asked: &Asked, code: u8, data: &[u8]) -> Vec<u8> {
    let mut message = vec![asked.from, (asked.net_fn | 1) << 2];
    message.push(sum_to_zero(&message));
    let mut body = vec![asked.to, asked.sequence, asked.command, code];
    body.extend(data);
    body.push(sum_to_zero(&body));
    message.extend(body);
    message
}

/// Fresh random bytes. The kernel's generator does not fail after boot.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let _ = getrandom::fill(&mut bytes);
    bytes
}

/// A received number against a window: newest and a bit for each one behind it.
#[derive(Debug, Default, Clone)]
pub(super) struct Window {
    newest: u32,
    seen: u64,
}

impl Window {
    pub(super) fn starting_at(first: u32) -> Self {
        Self { newest: first.wrapping_sub(1), seen: 0 }
    }

    /// Takes a number once, and only near the newest one (16 to both sides, 6.12.13).
    pub(super) fn accept(&mut self, number: u32) -> bool {
        if number == 0 {
            return false;
        }
        let ahead = number.wrapping_sub(self.newest);
        if (1..=16).contains(&ahead) {
            self.seen = (self.seen << ahead) | 1;
            self.newest = number;
            return true;
        }
        let behind = self.newest.wrapping_sub(number);
        if behind < 16 && self.seen & (1 << behind) == 0 {
            self.seen |= 1 << behind;
            return true;
        }
        false
    }
}
