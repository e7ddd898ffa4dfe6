//! One path to a disk, whatever protocol is spoken on it.

use super::fault::Fault;
use super::key::Key;
use std::fmt;

/// Who may do what while the reservation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    WriteExclusive,
    ExclusiveAccess,
    /// What fencing uses: registrants write, everybody reads.
    WriteExclusiveRegistrants,
    ExclusiveAccessRegistrants,
    WriteExclusiveAll,
    ExclusiveAccessAll,
    /// A number that the standard does not define.
    Other(u8),
}

impl Kind {
    /// True when every registrant may write and nobody else: the kinds under which fencing works.
    pub const fn lets_registrants_write(self) -> bool {
        matches!(
            self,
            Self::WriteExclusiveRegistrants
                | Self::ExclusiveAccessRegistrants
                | Self::WriteExclusiveAll
                | Self::ExclusiveAccessAll
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WriteExclusive => "write exclusive",
            Self::ExclusiveAccess => "exclusive access",
            Self::WriteExclusiveRegistrants => "write exclusive, registrants only",
            Self::ExclusiveAccessRegistrants => "exclusive access, registrants only",
            Self::WriteExclusiveAll => "write exclusive, all registrants",
            Self::ExclusiveAccessAll => "exclusive access, all registrants",
            Self::Other(number) => return write!(f, "unknown type {number}"),
        })
    }
}

/// The reservation of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The holder's key; 0 when all registrants hold it.
    pub key: u64,
    pub kind: Kind,
}

/// The registered keys, one entry for each path: a key with two paths is there twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Counts the changes.
    pub generation: u32,
    pub keys: Vec<u64>,
}

impl Keys {
    pub fn has(&self, key: Key) -> bool {
        self.keys.contains(&key.number())
    }
}

/// One registered path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    pub key: u64,
    pub holder: bool,
    /// The other end: an iSCSI name, a WWN, a host identifier.
    pub initiator: String,
    /// The target's port; 0 when the registration is for all.
    pub target_port: u16,
}

/// One path to a disk. Each call is one command, retried where the standard says that it was not carried
/// out (unit attentions, busy), and bounded in time.
pub trait Port {
    /// The registered keys.
    ///
    /// # Errors
    /// [`Fault`]; here and in all others.
    fn keys(&mut self) -> Result<Keys, Fault>;

    /// The reservation, if there is one.
    fn reservation(&mut self) -> Result<Option<Reservation>, Fault>;

    /// All registrations with their other ends; [`Fault::Unsupported`] where the disk cannot tell.
    fn registrations(&mut self) -> Result<Vec<Registration>, Fault>;

    /// Registers this path with `key`, whatever it was registered with before. `aptpl`: the disk is to
    /// remember registrations and reservation when its power fails.
    fn register(&mut self, key: Key, aptpl: bool) -> Result<(), Fault>;

    /// Reserves the disk.
    fn reserve(&mut self, own: Key, kind: Kind) -> Result<(), Fault>;

    /// Takes away all registrations of `victim`, and ends its commands that are under way.
    fn preempt_and_abort(&mut self, own: Key, victim: Key, kind: Kind) -> Result<(), Fault>;

    /// Takes away all registrations of `key` but that of this path, which has the same key.
    fn preempt_others(&mut self, key: Key, kind: Kind) -> Result<(), Fault>;
}
