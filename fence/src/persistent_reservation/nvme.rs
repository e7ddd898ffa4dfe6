//! The reservation commands of NVMe (*NVM Express Base Specification 2.0*, 7.2 to 7.5).
//!
//! A registration belongs to a host, not to a path: native multipath needs nothing more than one of them.

use super::fault::Fault;
use super::key::Key;
use super::port::{Keys, Kind, Port, Registration, Reservation};
use ocf_lib::deadline::Deadline;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

/// One I/O command of the NVM command set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NvmeCommand {
    pub opcode: u8,
    pub cdw10: u32,
    pub cdw11: u32,
}

/// Carries commands to one namespace.
pub trait NvmeTransport {
    /// Sends the command with `data` (in or out, as the opcode says) and waits up to `limit`. The status field without
    /// the phase bit: 0 is success.
    ///
    /// # Errors
    /// When the path failed: whether the command was carried out is not known.
    fn exchange(&mut self, command: NvmeCommand, data: &mut [u8], limit: Duration) -> io::Result<u16>;
}

const REGISTER: u8 = 0x0d;
const REPORT: u8 = 0x0e;
const ACQUIRE: u8 = 0x11;
/// `IEKEY`: ignore the existing key.
const IGNORE_EXISTING: u32 = 1 << 3;
/// `CPTPL` "set to 1": registrations survive a loss of power.
const PERSIST: u32 = 3 << 30;
/// Status: reservation conflict, of the generic command set.
const CONFLICT: u16 = 0x83;
/// Host identifier inconsistent format: the report has to be asked for in the other size.
const WRONG_FORMAT: u16 = 0x18;
/// "Do not retry".
const DNR: u16 = 0x4000;
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes of a report: 126 controllers in its long form.
const ROOM: usize = 8192;
const MOST: usize = 1 << 20;

/// A namespace over one path.
#[derive(Debug)]
pub struct Nvme<T> {
    transport: T,
    patience: Duration,
}

struct Report {
    generation: u32,
    kind: u8,
    entries: Vec<Entry>,
}

struct Entry {
    controller: u16,
    holder: bool,
    host: String,
    key: u64,
}

impl<T: NvmeTransport> Nvme<T> {
    /// `patience`: how long one command may take, with its repetitions.
    pub const fn new(transport: T, patience: Duration) -> Self {
        Self { transport, patience }
    }

    fn command(&mut self, name: &str, command: NvmeCommand, data: &mut [u8]) -> Result<(), Fault> {
        let deadline = Deadline::after(self.patience);
        loop {
            let limit = deadline.left_or(self.patience).max(Duration::from_secs(1));
            let status = self
                .transport
                .exchange(command, data, limit)
                .map_err(|why| Fault::Path(format!("{name}: {why}")))?;
            match status & 0x7ff {
                0 => return Ok(()),
                CONFLICT => return Err(Fault::Conflict),
                // Invalid opcode; invalid field.
                0x01 | 0x02 => {
                    return Err(Fault::Unsupported(format!("{name} is not supported by the namespace")));
                }
                WRONG_FORMAT => {
                    return Err(Fault::State(format!("{name}: host identifier of the other format")));
                }
                // Path related (3xxh), namespace not ready, asymmetric access in transition.
                0x082 | 0x300..=0x3ff if status & DNR == 0 && !deadline.expired() => deadline.sleep(PAUSE),
                0x082 | 0x300..=0x3ff => {
                    return Err(Fault::Path(format!("{name}: status {:03x}h", status & 0x7ff)));
                }
                other => {
                    return Err(Fault::Failed(format!(
                        "{name}: the namespace answered with status {other:03x}h"
                    )));
                }
            }
        }
    }

    fn report(&mut self) -> Result<Report, Fault> {
        // The long form (EDS), which hosts with 128-bit identifiers must use, then the short one.
        match self.report_as(true) {
            Err(Fault::State(_) | Fault::Unsupported(_)) => self.report_as(false),
            other => other,
        }
    }

    fn report_as(&mut self, long: bool) -> Result<Report, Fault> {
        let mut room = ROOM;
        loop {
            let mut data = vec![0; room];
            let dwords = u32::try_from(room / 4).unwrap_or(u32::MAX) - 1;
            let command = NvmeCommand { opcode: REPORT, cdw10: dwords, cdw11: u32::from(long) };
            self.command("Reservation Report", command, &mut data)?;
            match report(&data, long) {
                Some(report) => return Ok(report),
                None if room == MOST => {
                    return Err(Fault::Failed("Reservation Report: the answer was cut".into()));
                }
                None => room = MOST,
            }
        }
    }

    fn acquire(&mut self, name: &str, action: u32, kind: Kind, own: Key, other: u64) -> Result<(), Fault> {
        let command = NvmeCommand { opcode: ACQUIRE, cdw10: action | u32::from(number(kind)) << 8, cdw11: 0 };
        self.command(name, command, &mut two_keys(own.number(), other))
    }
}

/// A report; `None` when it was cut.
fn report(data: &[u8], long: bool) -> Option<Report> {
    let (head, size) = if long { (64, 64) } else { (24, 24) };
    let count = u16::from_le_bytes(data.get(5..7)?.try_into().ok()?);
    let mut entries = Vec::new();
    for index in 0..usize::from(count) {
        let at = head + index * size;
        let entry = data.get(at..at + size)?;
        let (host, key) = if long {
            (entry.get(16..32)?, entry.get(8..16)?)
        } else {
            (entry.get(8..16)?, entry.get(16..24)?)
        };
        entries.push(Entry {
            controller: u16::from_le_bytes(entry.get(..2)?.try_into().ok()?),
            holder: entry.get(2)? & 1 != 0,
            host: host.iter().fold(String::new(), |mut out, byte| {
                let _ = write!(out, "{byte:02x}");
                out
            }),
            key: u64::from_le_bytes(key.try_into().ok()?),
        });
    }
    Some(Report {
        generation: u32::from_le_bytes(data.get(..4)?.try_into().ok()?),
        kind: *data.get(4)?,
        entries,
    })
}

fn two_keys(first: u64, second: u64) -> [u8; 16] {
    let mut data = [0; 16];
    let (left, right) = data.split_at_mut(8);
    left.copy_from_slice(&first.to_le_bytes());
    right.copy_from_slice(&second.to_le_bytes());
    data
}

/// The type of a reservation by NVMe's number (figure 437).
const fn kind(number: u8) -> Kind {
    match number {
        1 => Kind::WriteExclusive,
        2 => Kind::ExclusiveAccess,
        3 => Kind::WriteExclusiveRegistrants,
        4 => Kind::ExclusiveAccessRegistrants,
        5 => Kind::WriteExclusiveAll,
        6 => Kind::ExclusiveAccessAll,
        other => Kind::Other(other),
    }
}

const fn number(kind: Kind) -> u8 {
    match kind {
        Kind::WriteExclusive => 1,
        Kind::ExclusiveAccess => 2,
        Kind::WriteExclusiveRegistrants => 3,
        Kind::ExclusiveAccessRegistrants => 4,
        Kind::WriteExclusiveAll => 5,
        Kind::ExclusiveAccessAll => 6,
        Kind::Other(other) => other,
    }
}

impl<T: NvmeTransport> Port for Nvme<T> {
    fn keys(&mut self) -> Result<Keys, Fault> {
        let report = self.report()?;
        Ok(Keys {
            generation: report.generation,
            keys: report.entries.iter().map(|entry| entry.key).collect(),
        })
    }

    fn reservation(&mut self) -> Result<Option<Reservation>, Fault> {
        let report = self.report()?;
        if report.kind == 0 {
            return Ok(None);
        }
        let all = matches!(kind(report.kind), Kind::WriteExclusiveAll | Kind::ExclusiveAccessAll);
        let holder = report.entries.iter().find(|entry| entry.holder && !all);
        Ok(Some(Reservation { key: holder.map_or(0, |entry| entry.key), kind: kind(report.kind) }))
    }

    fn registrations(&mut self) -> Result<Vec<Registration>, Fault> {
        let entries = self.report()?.entries;
        Ok(entries
            .into_iter()
            .map(|entry| Registration {
                key: entry.key,
                holder: entry.holder,
                initiator: format!("host {}", entry.host),
                target_port: entry.controller,
            })
            .collect())
    }

    fn register(&mut self, key: Key, aptpl: bool) -> Result<(), Fault> {
        let persist = if aptpl { PERSIST } else { 0 };
        let mut give = |action: u32| {
            let command =
                NvmeCommand { opcode: REGISTER, cdw10: action | IGNORE_EXISTING | persist, cdw11: 0 };
            self.command("Reservation Register", command, &mut two_keys(0, key.number()))
        };
        // Register is refused where another key is registered; replace changes it, and at no moment is there none.
        match give(0) {
            Err(Fault::Conflict) => give(2),
            other => other,
        }
    }

    fn reserve(&mut self, own: Key, kind: Kind) -> Result<(), Fault> {
        self.acquire("Reservation Acquire", 0, kind, own, 0)
    }

    fn preempt_and_abort(&mut self, own: Key, victim: Key, kind: Kind) -> Result<(), Fault> {
        self.acquire("Reservation Acquire (preempt and abort)", 2, kind, own, victim.number())
    }

    fn preempt_others(&mut self, _: Key, _: Kind) -> Result<(), Fault> {
        // One registration a host: there are no others with its key.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_forms_of_a_report() {
        let mut short = vec![0; 24 + 48];
        short[..7].copy_from_slice(&[9, 0, 0, 0, 3, 2, 0]);
        short[24..27].copy_from_slice(&[1, 0, 1]);
        short[40..48].copy_from_slice(&0xabc_u64.to_le_bytes());
        short[64..72].copy_from_slice(&0xdef_u64.to_le_bytes());
        let found = report(&short, false).unwrap();
        assert_eq!((found.generation, found.kind), (9, 3));
        assert_eq!(
            found.entries.iter().map(|entry| (entry.key, entry.holder)).collect::<Vec<_>>(),
            [(0xabc, true), (0xdef, false)]
        );
        let mut long = vec![0; 128];
        long[..7].copy_from_slice(&[9, 0, 0, 0, 3, 1, 0]);
        long[72..80].copy_from_slice(&0xabc_u64.to_le_bytes());
        assert_eq!(report(&long, true).unwrap().entries[0].key, 0xabc);
        assert!(report(&long[..100], true).is_none(), "a cut report is none");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), long: bool) {
            let _ = report(&bytes, long);
        }
    }
}
