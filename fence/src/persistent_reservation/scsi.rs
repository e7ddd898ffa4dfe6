//! PERSISTENT RESERVE IN and OUT (SPC-4 6.15, 6.16) on one path.

use super::fault::Fault;
use super::key::Key;
use super::port::{Keys, Kind, Port, Registration, Reservation};
use super::scsi_data as data;
use ocf_lib::deadline::Deadline;
use std::io;
use std::time::Duration;

/// The data that goes with a command.
#[derive(Debug)]
pub enum Data<'a> {
    /// To the disk.
    Out(&'a [u8]),
    /// From the disk: room for this much.
    In(&'a mut [u8]),
}

/// What came back of a command that reached the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// SAM-5 status: 0 good, 2 check condition, 8 busy, 18h reservation conflict, 28h task set full.
    pub status: u8,
    /// Bytes that were read.
    pub read: usize,
    /// Sense data, when status is check condition.
    pub sense: Vec<u8>,
}

/// Carries commands to one disk over one path.
pub trait ScsiTransport {
    /// Sends `cdb` and waits up to `limit` for its end.
    ///
    /// # Errors
    /// When the path failed: whether the command was carried out is not known. `Interrupted` when it certainly was not.
    fn exchange(&mut self, cdb: &[u8], data: Data<'_>, limit: Duration) -> io::Result<Reply>;
}

/// Between two attempts while the disk is busy: the first pause, doubled up to the last.
const PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// A disk reports one unit attention a command; more than this at once has nobody.
const ATTENTIONS: u32 = 16;
/// How often something harmless is asked again when the answer was lost.
const REPETITIONS: u32 = 3;
/// Bytes of a first READ KEYS: a cluster of a thousand paths. The disk says when there are more.
const ROOM: usize = 8192;
/// The length of an answer is a 16-bit field.
const MOST: usize = 0xffff;

const READ_KEYS: u8 = 0;
const READ_RESERVATION: u8 = 1;
const READ_FULL_STATUS: u8 = 3;
const RESERVE: u8 = 1;
const PREEMPT: u8 = 4;
const PREEMPT_AND_ABORT: u8 = 5;
const REGISTER_AND_IGNORE: u8 = 6;

/// A SCSI disk over one path.
#[derive(Debug)]
pub struct Scsi<T> {
    transport: T,
    patience: Duration,
}

impl<T: ScsiTransport> Scsi<T> {
    /// `patience`: how long one command may take, with its repetitions.
    pub const fn new(transport: T, patience: Duration) -> Self {
        Self { transport, patience }
    }

    /// The transport, to change it from outside.
    pub const fn transport(&mut self) -> &mut T {
        &mut self.transport
    }

    /// `repeatable`: to carry it out twice is as good as once, so that an answer that was lost is asked for again.
    fn command(
        &mut self,
        name: &str,
        cdb: &[u8],
        mut data: Data<'_>,
        repeatable: bool,
    ) -> Result<usize, Fault> {
        let deadline = Deadline::after(self.patience);
        let mut attentions = 0;
        let mut lost = 0;
        let mut pause = PAUSE;
        let mut rest = || {
            deadline.sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        loop {
            let again = match &mut data {
                Data::Out(bytes) => Data::Out(bytes),
                Data::In(bytes) => Data::In(bytes),
            };
            let limit = deadline.left_or(self.patience).max(Duration::from_secs(1));
            let reply = match self.transport.exchange(cdb, again, limit) {
                Err(why) if why.kind() == io::ErrorKind::Interrupted && !deadline.expired() => {
                    rest();
                    continue;
                }
                Err(why) if repeatable && lost < REPETITIONS && is_lost(&why) && !deadline.expired() => {
                    lost += 1;
                    continue;
                }
                other => other.map_err(|why| Fault::Path(format!("{name}: {why}")))?,
            };
            match verdict(name, &reply) {
                Ok(()) => return Ok(reply.read),
                Err(Verdict::Attention(_)) if attentions < ATTENTIONS => attentions += 1,
                Err(Verdict::Busy(_)) if !deadline.expired() => rest(),
                Err(Verdict::Attention(why) | Verdict::Busy(why)) => return Err(Fault::Path(why)),
                Err(Verdict::No(fault)) => return Err(fault),
            }
        }
    }

    fn ask(&mut self, name: &str, action: u8) -> Result<Vec<u8>, Fault> {
        let mut room = ROOM;
        loop {
            let mut bytes = vec![0; room];
            let length = u16::try_from(room).unwrap_or(u16::MAX).to_be_bytes();
            let cdb = [0x5e, action, 0, 0, 0, 0, 0, length[0], length[1], 0];
            let read = self.command(name, &cdb, Data::In(&mut bytes), true)?;
            bytes.truncate(read);
            let whole = data::list(&bytes)?.whole.saturating_add(8);
            if whole <= room || room == MOST {
                return Ok(bytes);
            }
            room = MOST;
        }
    }

    fn order(
        &mut self,
        name: &str,
        action: u8,
        kind: u8,
        key: u64,
        other: u64,
        flags: u8,
    ) -> Result<(), Fault> {
        let mut list = [0; 24];
        let (first, rest) = list.split_at_mut(8);
        first.copy_from_slice(&key.to_be_bytes());
        let (second, rest) = rest.split_at_mut(8);
        second.copy_from_slice(&other.to_be_bytes());
        if let Some(byte) = rest.get_mut(4) {
            *byte = flags;
        }
        // Scope 0 is the whole logical unit.
        let cdb = [0x5f, action, kind & 0x0f, 0, 0, 0, 0, 0, 24, 0];
        self.command(name, &cdb, Data::Out(&list), action == REGISTER_AND_IGNORE).map(|_| ())
    }
}

/// True for a command that may have got through, on a path that is still there.
fn is_lost(why: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, TimedOut};
    matches!(why.kind(), TimedOut | ConnectionReset | ConnectionAborted)
}

enum Verdict {
    /// Unit attention: the command was not carried out, and the next one is.
    Attention(String),
    /// Not carried out: later.
    Busy(String),
    No(Fault),
}

fn verdict(name: &str, reply: &Reply) -> Result<(), Verdict> {
    match reply.status {
        0 => Ok(()),
        0x18 => Err(Verdict::No(Fault::Conflict)),
        0x08 | 0x28 => Err(Verdict::Busy(format!("{name}: the disk is busy"))),
        0x40 => Err(Verdict::Busy(format!("{name}: the disk aborted the command"))),
        0x02 => Err(sense_says(name, &reply.sense)),
        other => {
            Err(Verdict::No(Fault::Failed(format!("{name}: the disk answered with status {other:02x}h"))))
        }
    }
}

/// Sense key, additional code and qualifier, of both formats (SPC-4 4.5).
fn sense(bytes: &[u8]) -> Option<(u8, u8, u8)> {
    let at = |index: usize| bytes.get(index).copied();
    match at(0)? & 0x7f {
        0x70 | 0x71 => Some((at(2)? & 0x0f, at(12).unwrap_or(0), at(13).unwrap_or(0))),
        0x72 | 0x73 => Some((at(1)? & 0x0f, at(2)?, at(3)?)),
        _ => None,
    }
}

fn sense_says(name: &str, bytes: &[u8]) -> Verdict {
    let Some((key, code, qualifier)) = sense(bytes) else {
        return Verdict::No(Fault::Failed(format!(
            "{name}: the disk reported an error without saying which"
        )));
    };
    let words =
        format!("{name}: the disk says {key:x}/{code:02x}/{qualifier:02x} (sense key, code, qualifier)");
    match (key, code, qualifier) {
        (0x6, ..) => Verdict::Attention(words),
        // Becoming ready; asymmetric access in transition.
        (0x2, 0x04, 0x01 | 0x0a) | (0xb, ..) => Verdict::Busy(words),
        (0x2, ..) => Verdict::No(Fault::Path(format!("{words}: not ready"))),
        // Invalid operation code; invalid field in CDB or in the list.
        (0x5, 0x20 | 0x24 | 0x26, _) => {
            Verdict::No(Fault::Unsupported(format!("{name} is not supported by the disk")))
        }
        (0x5, 0x55, 0x04) => {
            Verdict::No(Fault::Failed(format!("{name}: the disk has no room for another registration")))
        }
        _ => Verdict::No(Fault::Failed(words)),
    }
}

impl<T: ScsiTransport> Port for Scsi<T> {
    fn keys(&mut self) -> Result<Keys, Fault> {
        data::keys(&self.ask("READ KEYS", READ_KEYS)?)
    }

    fn reservation(&mut self) -> Result<Option<Reservation>, Fault> {
        data::reservation(&self.ask("READ RESERVATION", READ_RESERVATION)?)
    }

    fn registrations(&mut self) -> Result<Vec<Registration>, Fault> {
        data::registrations(&self.ask("READ FULL STATUS", READ_FULL_STATUS)?)
    }

    fn register(&mut self, key: Key, aptpl: bool) -> Result<(), Fault> {
        let name = "REGISTER AND IGNORE EXISTING KEY";
        self.order(name, REGISTER_AND_IGNORE, 0, 0, key.number(), u8::from(aptpl))
    }

    fn reserve(&mut self, own: Key, kind: Kind) -> Result<(), Fault> {
        self.order("RESERVE", RESERVE, data::number(kind), own.number(), 0, 0)
    }

    fn preempt_and_abort(&mut self, own: Key, victim: Key, kind: Kind) -> Result<(), Fault> {
        let name = "PREEMPT AND ABORT";
        self.order(name, PREEMPT_AND_ABORT, data::number(kind), own.number(), victim.number(), 0)
    }

    fn preempt_others(&mut self, key: Key, kind: Kind) -> Result<(), Fault> {
        self.order("PREEMPT", PREEMPT, data::number(kind), key.number(), key.number(), 0)
    }
}
