//! Cipher suites of RMCP+: the algorithms, and the keys made from them.
//!
//! IPMI v2.0 rev 1.1 tables 13-17 to 13-20, sections 13.28 to 13.33; suites 15 to 17 from errata 4.
//! Key material lives in [`Zeroizing`] and has no `Debug`.

use aes::cipher::{BlockDecryptMut, BlockEncryptMut, KeyIvInit, block_padding::NoPadding};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::error::Error;

/// Length of an AES block and of the initialization vector.
const BLOCK: usize = 16;

/// The hash behind authentication and integrity.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    None,
    Sha1,
    Sha256,
}

/// One cipher suite: which of the three protections it has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Suite {
    pub id: u8,
    /// Key exchange.
    pub authentication: Hash,
    /// Trailer of each packet.
    pub integrity: Hash,
    /// AES-CBC-128.
    pub encrypted: bool,
}

impl Suite {
    pub(super) fn by_id(id: u8) -> Result<Self, Error> {
        use Hash::{None, Sha1, Sha256};
        let (authentication, integrity, encrypted) = match id {
            0 => (None, None, false),
            1 => (Sha1, None, false),
            2 => (Sha1, Sha1, false),
            3 => (Sha1, Sha1, true),
            15 => (Sha256, None, false),
            16 => (Sha256, Sha256, false),
            17 => (Sha256, Sha256, true),
            _ => {
                return Err(Error::Invalid(format!(
                    "cipher suite {id} is not implemented (use 17 or 3; 0, 1, 2, 15 and 16 are known too)"
                )));
            }
        };
        Ok(Self { id, authentication, integrity, encrypted })
    }

    /// Numbers of the authentication, integrity and confidentiality algorithm.
    pub(super) fn algorithms(self) -> [u8; 3] {
        let authentication = match self.authentication {
            Hash::None => 0,
            Hash::Sha1 => 1,
            Hash::Sha256 => 3,
        };
        let integrity = match self.integrity {
            Hash::None => 0,
            Hash::Sha1 => 1,
            Hash::Sha256 => 4,
        };
        [authentication, integrity, u8::from(self.encrypted)]
    }
}

fn new_mac<M: Mac + hmac::digest::KeyInit>(key: &[u8]) -> Option<M> {
    <M as Mac>::new_from_slice(key).ok()
}

impl Hash {
    /// Bytes of a truncated code, as in RAKP 4 and in the trailer.
    pub(super) fn truncated(self) -> usize {
        match self {
            Self::None => 0,
            Self::Sha1 => 12,
            Self::Sha256 => 16,
        }
    }

    /// Bytes of a full code, as in RAKP 2 and 3.
    pub(super) fn full(self) -> usize {
        match self {
            Self::None => 0,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// The keyed hash over the parts; empty for `None`.
    pub(super) fn code(self, key: &[u8], parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
        fn run<M: Mac + hmac::digest::KeyInit>(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
            let Some(mut mac) = new_mac::<M>(key) else { return Vec::new() };
            for part in parts {
                mac.update(part);
            }
            mac.finalize().into_bytes().to_vec()
        }
        Zeroizing::new(match self {
            Self::None => Vec::new(),
            Self::Sha1 => run::<Hmac<Sha1>>(key, parts),
            Self::Sha256 => run::<Hmac<Sha256>>(key, parts),
        })
    }

    /// Whether `code` (full or truncated, but never shorter than the standard's truncation) fits, in constant time.
    pub(super) fn verify(self, key: &[u8], parts: &[&[u8]], code: &[u8]) -> bool {
        fn run<M: Mac + hmac::digest::KeyInit>(key: &[u8], parts: &[&[u8]], code: &[u8]) -> bool {
            let Some(mut mac) = new_mac::<M>(key) else { return false };
            for part in parts {
                mac.update(part);
            }
            mac.verify_truncated_left(code).is_ok()
        }
        if code.len() < self.truncated() {
            return false;
        }
        match self {
            Self::None => true,
            Self::Sha1 => run::<Hmac<Sha1>>(key, parts, code),
            Self::Sha256 => run::<Hmac<Sha256>>(key, parts, code),
        }
    }
}

/// What a session's packets are protected with.
pub(super) struct Keys {
    pub suite: Suite,
    integrity: Zeroizing<Vec<u8>>,
    confidentiality: Zeroizing<[u8; 16]>,
}

impl Keys {
    /// K1 and K2 from the session integrity key: keyed hashes of 20 bytes of 01h and of 02h (13.32).
    pub(super) fn derive(suite: Suite, sik: &[u8]) -> Self {
        let integrity = suite.authentication.code(sik, &[&[1; 20]]);
        let second = suite.authentication.code(sik, &[&[2; 20]]);
        let mut confidentiality = Zeroizing::new([0; 16]);
        for (to, from) in confidentiality.iter_mut().zip(second.iter()) {
            *to = *from;
        }
        Self { suite, integrity, confidentiality }
    }

    /// The trailer's code; `None` in a suite without integrity.
    pub(super) fn sign(&self, data: &[u8]) -> Option<Vec<u8>> {
        if self.suite.integrity == Hash::None {
            return None;
        }
        let mut code = self.suite.integrity.code(&self.integrity, &[data]).to_vec();
        code.truncate(self.suite.integrity.truncated());
        Some(code)
    }

    /// Whether the last bytes of `signed_and_code` are the code of the bytes before.
    pub(super) fn is_signed(&self, signed_and_code: &[u8]) -> bool {
        let length = self.suite.integrity.truncated();
        let Some(at) = signed_and_code.len().checked_sub(length) else { return false };
        let Some((signed, code)) = signed_and_code.split_at_checked(at) else { return false };
        self.suite.integrity.verify(&self.integrity, &[signed], code)
    }

    /// The payload as it goes on the wire.
    pub(super) fn seal(&self, payload: &[u8]) -> Result<Vec<u8>, Error> {
        if !self.suite.encrypted {
            return Ok(payload.to_vec());
        }
        let mut iv = [0; BLOCK];
        random(&mut iv)?;
        let mut text = payload.to_vec();
        // confidentiality pad 1, 2, 3 ... and its length, to a multiple of the block (13.29)
        let mut pad = 0_u8;
        while !(text.len() + 1).is_multiple_of(BLOCK) {
            pad += 1;
            text.push(pad);
        }
        text.push(pad);
        let length = text.len();
        let key: &[u8; 16] = &self.confidentiality;
        let sealed = cbc::Encryptor::<aes::Aes128>::new(key.into(), &iv.into())
            .encrypt_padded_mut::<NoPadding>(&mut text, length)
            .map_err(|_| Error::Local("message is not a multiple of the cipher block".into()))?;
        let mut out = iv.to_vec();
        out.extend_from_slice(sealed);
        Ok(out)
    }

    /// The payload as it was before sealing, or `None` when it cannot have been made with this key.
    pub(super) fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        if !self.suite.encrypted {
            return Some(sealed.to_vec());
        }
        let (iv, text) = sealed.split_first_chunk::<BLOCK>()?;
        let mut text = text.to_vec();
        let key: &[u8; 16] = &self.confidentiality;
        cbc::Decryptor::<aes::Aes128>::new(key.into(), iv.into())
            .decrypt_padded_mut::<NoPadding>(&mut text)
            .ok()?;
        let pad = usize::from(text.pop()?);
        // a pad of a whole block or more: some BMCs do; the pad bytes are not compared, the integrity code covers them
        let length = text.len().checked_sub(pad)?;
        text.truncate(length);
        Some(text)
    }
}

/// Fills `bytes` from the kernel.
pub(super) fn random(bytes: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(bytes).map_err(|error| Error::Local(format!("no random numbers: {error}")))
}

#[cfg(test)]
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|c| c.to_digit(16)).map(|d| u8::try_from(d).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // recorded: ipmitool 1.8.19 -I lanplus -C 3 against ipmi_sim
    const SIK: &str = "a1 7d c9 de 28 9b 90 af cb e1 06 00 3e 3c 70 29 20 4d 14 9c";

    #[test]
    fn keys_of_the_recording() {
        let keys = Keys::derive(Suite::by_id(3).unwrap(), &hex(SIK));
        assert_eq!(*keys.integrity, hex("8f 14 ce 64 f3 8a fd 8c 6f a9 bc f4 e6 c0 6e c9 19 1d 40 78"));
        assert_eq!(keys.confidentiality[..], hex("da 20 e8 18 c7 80 95 86 00 b1 0c 58 48 5e bf 3e"));
    }

    #[test]
    fn packet_of_the_recording() {
        let keys = Keys::derive(Suite::by_id(3).unwrap(), &hex(SIK));
        let signed = hex(
            "06 c0 a4 a3 a2 a0 06 00 00 00 20 00 99 54 be 27 7e b2 37 df d4 f4 d4 87 61 26 70 ca a2 e5 eb c7
             8c 75 45 bc a7 4e 2b 1f 63 b7 4b 9e ff ff 02 07",
        );
        let mut whole = signed.clone();
        whole.extend(hex("ff 49 52 1d 26 be 68 99 e1 87 5f 23"));
        assert!(keys.is_signed(&whole));
        let opened = keys.open(&signed[12..44]).unwrap();
        // the answer to get chassis status: off
        assert_eq!(opened[..7], [0x81, 0x04, 0x7B, 0x20, 0x18, 0x01, 0x00]);
        for at in 0..whole.len() {
            whole[at] ^= 1;
            assert!(!keys.is_signed(&whole), "byte {at}");
            whole[at] ^= 1;
        }
    }

    #[test]
    fn unknown_suites_are_named() {
        assert!(Suite::by_id(12).err().unwrap().to_string().contains("suite 12"));
    }

    proptest! {
        #[test]
        fn sealed_opens_again(payload in proptest::collection::vec(any::<u8>(), 0..80), suite in prop_oneof![Just(3), Just(17), Just(2), Just(15)]) {
            let keys = Keys::derive(Suite::by_id(suite).unwrap(), b"key");
            prop_assert_eq!(keys.open(&keys.seal(&payload).unwrap()).unwrap(), payload);
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            for suite in [0, 1, 2, 3, 15, 16, 17] {
                let keys = Keys::derive(Suite::by_id(suite).unwrap(), b"key");
                let _ = keys.open(&bytes);
                let _ = keys.is_signed(&bytes);
            }
        }
    }
}
