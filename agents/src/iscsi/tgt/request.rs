//! The requests of tgtd's management socket (tgt 1.0.24 to 1.0.85; recorded from tgtadm): a fixed header in the host's
//! byte order, then `name=value` words, separated by commas, up to a zero byte. The answer is a code, its own length
//! and a text.

use ocf_lib::secret::Secret;

/// Bytes of the header in front of the words.
const HEADER: usize = 120;
/// Bytes of the driver's name in it.
const DRIVER: usize = 64;
/// The header's "no unit" and "no target".
const NO_UNIT: u64 = u64::MAX;
const NO_TARGET: i32 = -1;

#[derive(Clone, Copy)]
pub enum Mode {
    Target = 1,
    Unit = 2,
    Connection = 6,
    Account = 7,
}

#[derive(Clone, Copy)]
pub enum Operation {
    New = 0,
    Delete = 1,
    Show = 2,
    Bind = 3,
    Update = 5,
}

/// One request.
#[derive(Clone, Copy)]
pub struct Header {
    mode: Mode,
    operation: Operation,
    target: i32,
    pub session: u64,
    unit: u64,
    pub connection: u32,
    pub device_type: u32,
    pub force: bool,
}

impl Header {
    pub fn new(mode: Mode, operation: Operation) -> Self {
        Self {
            mode,
            operation,
            target: NO_TARGET,
            session: 0,
            unit: NO_UNIT,
            connection: 0,
            device_type: 0,
            force: false,
        }
    }

    /// About a target.
    pub fn of(mode: Mode, operation: Operation, target: u32) -> Self {
        // Those of tgtd are positive: it has made them of the same number.
        Self { target: i32::try_from(target).unwrap_or(NO_TARGET), ..Self::new(mode, operation) }
    }

    /// About a unit of it.
    pub fn unit(self, unit: u64) -> Self {
        Self { unit, ..self }
    }

    /// The bytes to send. Secret, as the words may hold a password.
    pub fn bytes(&self, words: &[u8]) -> Secret {
        let tail = if words.is_empty() { 0 } else { words.len() + 1 };
        let mut bytes = Vec::with_capacity(HEADER + tail);
        let mut number = |value: u32| bytes.extend_from_slice(&value.to_ne_bytes());
        number(self.mode as u32);
        number(self.operation as u32);
        let mut driver = [0; DRIVER];
        driver.iter_mut().zip(b"iscsi").for_each(|(to, from)| *to = *from);
        bytes.extend_from_slice(&driver);
        bytes.extend_from_slice(&u32::try_from(HEADER + tail).unwrap_or(u32::MAX).to_ne_bytes());
        bytes.extend_from_slice(&self.target.to_ne_bytes());
        bytes.extend_from_slice(&self.session.to_ne_bytes());
        bytes.extend_from_slice(&self.unit.to_ne_bytes());
        // Connection, host, device type, direction of an account, packed, force.
        for value in [self.connection, 0, self.device_type, 0, 0, u32::from(self.force)] {
            bytes.extend_from_slice(&value.to_ne_bytes());
        }
        if tail > 0 {
            bytes.extend_from_slice(words);
            bytes.push(0);
        }
        Secret::new(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What tgtadm 1.0.85 sent for `--mode target --op new --tid 1 --targetname iqn.2026-01.lab:t` (strace, amd64).
    #[test]
    fn the_bytes_of_tgtadm() {
        let bytes = Header::of(Mode::Target, Operation::New, 1).bytes(b"targetname=iqn.2026-01.lab:t");
        let mut expected = vec![1, 0, 0, 0, 0, 0, 0, 0];
        expected.extend(b"iscsi");
        expected.extend([0; 59]);
        expected.extend([0x95, 0, 0, 0, 1, 0, 0, 0]);
        expected.extend([0; 8]);
        expected.extend([0xff; 8]);
        expected.extend([0; 24]);
        expected.extend(b"targetname=iqn.2026-01.lab:t\0");
        if cfg!(target_endian = "little") {
            assert_eq!(bytes.expose(), expected);
        }
        let show = Header::new(Mode::Target, Operation::Show).bytes(b"");
        assert_eq!((show.expose().len(), &show.expose()[76..80]), (120, &[0xff; 4][..]));
        let mut delete = Header::of(Mode::Target, Operation::Delete, 7);
        delete.force = true;
        assert_eq!(delete.bytes(b"").expose()[116..], 1u32.to_ne_bytes());
    }
}
