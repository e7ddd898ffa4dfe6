//! The table of four in the first sector.

use super::{Form, Listed, Sectors, Table, number, put};
use crate::stack::Scheme;
use ocf_lib::resource::code::Fault;

const ENTRIES: usize = 446;
const ENTRY: usize = 16;
/// Types of a partition that holds a chain of more tables.
const EXTENDED: [u64; 3] = [0x05, 0x0F, 0x85];
/// The type that says: the true table is a GPT.
const PROTECTIVE: u64 = 0xEE;
/// Cylinder, head and sector of what such numbers cannot reach.
const BEYOND: u64 = 0xFF_FF_FE;

#[derive(Clone, Debug)]
pub struct Mbr {
    pub bytes: Vec<u8>,
    sector: u64,
}

impl Mbr {
    /// `None`: no signature, or no entry in use.
    pub fn parse(bytes: &[u8], sector: u64) -> Option<Self> {
        let mbr = Self { bytes: bytes.to_vec(), sector };
        (number::<2>(bytes, 510) == 0xAA55 && (1..=4).any(|n| mbr.kind(n) != 0)).then_some(mbr)
    }

    fn at(entry: u32) -> usize {
        ENTRIES + ENTRY * (entry.clamp(1, 4) as usize - 1)
    }

    fn kind(&self, entry: u32) -> u64 {
        number::<1>(&self.bytes, Self::at(entry) + 4)
    }

    pub fn is_protective(&self) -> bool {
        (1..=4).any(|n| self.kind(n) == PROTECTIVE)
    }

    /// More than the one entry that protects a GPT: two tables that each know half.
    pub fn is_hybrid(&self) -> bool {
        (1..=4).filter(|n| self.kind(*n) != 0).count() != 1
    }

    pub fn table(self) -> Result<Table, Fault> {
        if (1..=4).any(|n| EXTENDED.contains(&self.kind(n))) {
            return Err(Fault::args(
                "the disk has an extended partition: logical partitions are not grown here",
            ));
        }
        let mut parts = Vec::new();
        for n in (1..=4).filter(|n| self.kind(*n) != 0) {
            let (start, count) =
                (number::<4>(&self.bytes, Self::at(n) + 8), number::<4>(&self.bytes, Self::at(n) + 12));
            parts.push(Listed { number: n, start: start * self.sector, bytes: count * self.sector });
        }
        let most = u64::from(u32::MAX) * self.sector;
        Ok(Table {
            scheme: Scheme::Mbr,
            parts,
            tail: 0,
            most,
            made_for: None,
            damaged: false,
            form: Form::Mbr(self),
        })
    }

    /// One sector, which a disk writes whole or not at all.
    pub fn grow(&self, part: u32, bytes: u64) -> Result<Vec<Sectors>, Fault> {
        let count = bytes / self.sector;
        if !(1..=4).contains(&part) || count > u64::from(u32::MAX) {
            return Err(Fault::generic(format!("partition {part} cannot have {count} sectors in an MBR")));
        }
        let mut sector = self.bytes.clone();
        put::<4>(&mut sector, Self::at(part) + 12, count);
        put::<3>(&mut sector, Self::at(part) + 5, BEYOND);
        Ok(vec![Sectors { offset: 0, bytes: sector }])
    }

    /// The sector with the protecting entry reaching to the end of the disk.
    pub fn protecting(&self, sectors: u64) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        if let Some(entry) = (1..=4).find(|n| self.kind(*n) == PROTECTIVE) {
            put::<4>(&mut bytes, Self::at(entry) + 12, (sectors - 1).min(u32::MAX.into()));
        }
        bytes
    }
}
