//! The GUID partition table (UEFI specification, chapter 5.3).
//!
//! Invariant: after each single write, one of the two copies is whole, and it is one that the kernel and this module take:
//! the first, or when that is damaged, the one in the last sector.

use super::mbr::Mbr;
use super::{Disk, Form, Listed, Sectors, Table, number, put};
use crate::stack::Scheme;
use ocf_lib::resource::code::Fault;

const SIGNATURE: &[u8] = b"EFI PART";
/// Smallest size of header and entry (UEFI, tables 5-5 and 5-6).
const HEADER: u64 = 92;
const ENTRY: u64 = 128;
/// More entries than this are not plausible: 1 MiB of them.
const MOST: u64 = 1 << 20;

// Offsets in the header.
const HEADER_SIZE: usize = 12;
const HEADER_CRC: usize = 16;
const MY_LBA: usize = 24;
const OTHER_LBA: usize = 32;
const LAST_USABLE: usize = 48;
const ENTRIES_LBA: usize = 72;
const ENTRY_COUNT: usize = 80;
const ENTRY_SIZE: usize = 84;
const ENTRIES_CRC: usize = 88;
// And in an entry.
const FIRST_LBA: usize = 32;
const LAST_LBA: usize = 40;

#[derive(Clone, Debug)]
pub struct Gpt {
    mbr: Mbr,
    /// The sector of the copy that was taken.
    header: Vec<u8>,
    /// All entries, in whole sectors.
    entries: Vec<u8>,
    /// Where the first copy has its entries.
    entries_lba: u64,
    sector: u64,
}

impl Gpt {
    pub fn read(disk: &Disk, mbr: Mbr, sector: u64) -> Result<Table, Fault> {
        if mbr.is_hybrid() {
            return Err(Fault::args(
                "the disk has a hybrid MBR beside its GPT: two tables, which would disagree",
            ));
        }
        let last = disk.bytes / sector - 1;
        let first = copy(disk, 1, sector)?;
        let other = first.as_ref().map_or(last, |(header, _)| number::<8>(header, OTHER_LBA));
        let backup = if other > last { None } else { copy(disk, other, sector)? };
        let damaged = first.is_none() || backup.is_none();
        // The entries of the first copy follow its header; a disk on which they do not is grown only with that copy whole.
        let entries_lba = first.as_ref().map_or(2, |(header, _)| number::<8>(header, ENTRIES_LBA));
        let Some((header, entries)) = first.or(backup) else {
            return Err(Fault::args(
                "both copies of the partition table (GPT) are damaged, or the second one is not at the end of the disk: \
                 repair it with gdisk first",
            ));
        };
        let gpt = Self { mbr, header, entries, entries_lba, sector };
        let parts = gpt.parts()?;
        Ok(Table {
            scheme: Scheme::Gpt,
            parts,
            tail: gpt.tail(),
            most: u64::MAX / 2,
            made_for: Some((other + 1) * sector),
            damaged,
            form: Form::Gpt(gpt),
        })
    }

    fn tail(&self) -> u64 {
        self.sector + self.entries.len() as u64
    }

    fn parts(&self) -> Result<Vec<Listed>, Fault> {
        let mut parts = Vec::new();
        let size = usize::try_from(number::<4>(&self.header, ENTRY_SIZE)).unwrap_or(usize::MAX);
        let count = usize::try_from(number::<4>(&self.header, ENTRY_COUNT)).unwrap_or(0);
        for (n, entry) in (1..).zip(self.entries.chunks_exact(size).take(count)) {
            if entry.iter().take(16).all(|byte| *byte == 0) {
                continue;
            }
            let (first, last) = (number::<8>(entry, FIRST_LBA), number::<8>(entry, LAST_LBA));
            let bytes = (last + 1).checked_sub(first).and_then(|count| count.checked_mul(self.sector));
            let start = first.checked_mul(self.sector);
            let (Some(start), Some(bytes)) = (start, bytes) else {
                return Err(Fault::args(format!("partition {n} of the table ends before it begins")));
            };
            parts.push(Listed { number: n, start, bytes });
        }
        Ok(parts)
    }

    pub fn grow(&self, part: u32, bytes: u64, disk: u64) -> Result<Vec<Sectors>, Fault> {
        let last = disk / self.sector - 1;
        let length = self.entries.len() as u64 / self.sector;
        let mut entries = self.entries.clone();
        let size = usize::try_from(number::<4>(&self.header, ENTRY_SIZE)).unwrap_or(usize::MAX);
        let entry = entries.chunks_exact_mut(size).nth((part as usize).wrapping_sub(1));
        let entry = entry.ok_or_else(|| Fault::generic(format!("partition {part} is not in the table")))?;
        let end = number::<8>(entry, FIRST_LBA) + bytes / self.sector - 1;
        put::<8>(entry, LAST_LBA, end);
        let used = usize::try_from(number::<4>(&self.header, ENTRY_COUNT)).unwrap_or(0).saturating_mul(size);
        let checksum = u64::from(crc32(entries.get(..used).unwrap_or_default()));
        let header = |mine: u64, other: u64, entries_lba: u64| {
            let mut header = self.header.clone();
            put::<8>(&mut header, MY_LBA, mine);
            put::<8>(&mut header, OTHER_LBA, other);
            put::<8>(&mut header, LAST_USABLE, last - length - 1);
            put::<8>(&mut header, ENTRIES_LBA, entries_lba);
            put::<4>(&mut header, ENTRIES_CRC, checksum);
            let size = usize::try_from(number::<4>(&header, HEADER_SIZE)).unwrap_or(0);
            put::<4>(&mut header, HEADER_CRC, 0);
            let checksum = crc32(header.get(..size).unwrap_or_default());
            put::<4>(&mut header, HEADER_CRC, checksum.into());
            header
        };
        let at = |lba: u64, bytes: Vec<u8>| Sectors { offset: lba * self.sector, bytes };
        // The second copy first, where nothing refers to it yet: while the first one is being written, it is the whole one.
        Ok(vec![
            at(0, self.mbr.protecting(disk / self.sector)),
            at(last - length, entries.clone()),
            at(last, header(last, 1, last - length)),
            at(self.entries_lba, entries),
            at(1, header(1, last, self.entries_lba)),
        ])
    }
}

/// The sector of a header, and all entries.
type Copy = (Vec<u8>, Vec<u8>);

/// The header at this sector with its entries, if both are whole.
fn copy(disk: &Disk, lba: u64, sector: u64) -> Result<Option<Copy>, Fault> {
    let header = disk.read(lba * sector, sector)?;
    let size = number::<4>(&header, HEADER_SIZE);
    let usable = header.starts_with(SIGNATURE)
        && (HEADER..=sector).contains(&size)
        && number::<8>(&header, MY_LBA) == lba;
    if !usable {
        return Ok(None);
    }
    let mut zeroed = header.clone();
    put::<4>(&mut zeroed, HEADER_CRC, 0);
    let checked = zeroed.get(..usize::try_from(size).unwrap_or(0)).unwrap_or_default();
    let (count, length) = (number::<4>(&header, ENTRY_COUNT), number::<4>(&header, ENTRY_SIZE));
    let bytes = count.saturating_mul(length);
    if u64::from(crc32(checked)) != number::<4>(&header, HEADER_CRC)
        || length < ENTRY
        || bytes > MOST
        || bytes == 0
    {
        return Ok(None);
    }
    let at = number::<8>(&header, ENTRIES_LBA).saturating_mul(sector);
    let whole = bytes.div_ceil(sector) * sector;
    if at.saturating_add(whole) > disk.bytes {
        return Ok(None);
    }
    let entries = disk.read(at, whole)?;
    let used = entries.get(..usize::try_from(bytes).unwrap_or(0)).unwrap_or_default();
    let good = u64::from(crc32(used)) == number::<4>(&header, ENTRIES_CRC);
    Ok(good.then_some((header, entries)))
}

/// CRC-32 as of Ethernet (IEEE 802.3), a bit at a time: 16 KiB in a fraction of a millisecond.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[test]
fn the_checksum_is_the_well_known_one() {
    assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
}
