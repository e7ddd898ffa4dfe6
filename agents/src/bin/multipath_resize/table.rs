//! Partition tables: read from a disk, and the writes that let one partition end later.
//!
//! Nothing but the one end, the place of the backup and the checksums changes: identifiers, names and types stay as they are.

mod gpt;
mod mbr;

use crate::stack::Scheme;
use ocf_lib::resource::code::Fault;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// One partition as its table has it, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    pub number: u32,
    pub start: u64,
    pub bytes: u64,
}

/// A partition table.
#[derive(Clone, Debug)]
pub struct Table {
    pub scheme: Scheme,
    /// All partitions that are in use.
    pub parts: Vec<Listed>,
    /// See [`crate::stack::Part`].
    pub tail: u64,
    pub most: u64,
    pub made_for: Option<u64>,
    pub damaged: bool,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    Mbr(mbr::Mbr),
    Gpt(gpt::Gpt),
}

/// Some whole sectors that are written at once. They must be on the disk before the next ones are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sectors {
    pub offset: u64,
    pub bytes: Vec<u8>,
}

impl Table {
    /// Reads the table of a disk; `None` when there is none. `sector`: the logical block size.
    ///
    /// # Errors
    /// When there is one that cannot be grown, with the reason.
    pub fn read(disk: &Disk, sector: u64) -> Result<Option<Self>, Fault> {
        let first = disk.read(0, sector)?;
        let Some(mbr) = mbr::Mbr::parse(&first, sector) else { return Ok(None) };
        if mbr.is_protective() {
            return gpt::Gpt::read(disk, mbr, sector).map(Some);
        }
        mbr.table().map(Some)
    }

    /// The partition with this number, if no other one is behind it.
    ///
    /// # Errors
    /// When it is not in the table, or cannot grow.
    pub fn last(&self, number: u32) -> Result<Listed, Fault> {
        let part = self.parts.iter().find(|part| part.number == number);
        let part = part.ok_or_else(|| {
            Fault::args(format!("partition {number} is not in the partition table, but in the kernel"))
        })?;
        match self.parts.iter().find(|other| other.number != number && other.start + other.bytes > part.start)
        {
            Some(other) => Err(Fault::args(format!(
                "partition {} is behind partition {number}: only the last one of a disk can grow",
                other.number
            ))),
            None => Ok(*part),
        }
    }

    /// The writes, in their order, after which partition `number` has `bytes` on a disk of `disk` bytes. After each of them
    /// the table can be read, with the old size or the new one.
    pub fn grow(&self, number: u32, bytes: u64, disk: u64) -> Result<Vec<Sectors>, Fault> {
        let old = self.last(number)?;
        if bytes < old.bytes || old.start + bytes + self.tail > disk {
            return Err(Fault::generic(format!(
                "partition {number} cannot get {bytes} bytes: it has {}, the disk {disk}",
                old.bytes
            )));
        }
        match &self.form {
            Form::Mbr(mbr) => mbr.grow(number, bytes),
            Form::Gpt(gpt) => gpt.grow(number, bytes, disk),
        }
    }
}

/// A disk that is read and written past the page cache: partitions have caches of their own, and a page of the disk's
/// would carry old sectors of theirs.
pub struct Disk {
    file: File,
    pub bytes: u64,
}

/// The largest block size there is to align to.
const ALIGNMENT: usize = 4096;

impl Disk {
    /// `bytes`: its size, as the kernel has it.
    pub fn open(path: &Path, bytes: u64, write: bool) -> Result<Self, Fault> {
        let with =
            |flags| File::options().read(true).write(write).custom_flags(libc::O_CLOEXEC | flags).open(path);
        // A file system in memory, as tests may use, has no direct way.
        let file = with(libc::O_DIRECT | libc::O_DSYNC).or_else(|why| {
            if why.raw_os_error() == Some(libc::EINVAL) { with(libc::O_DSYNC) } else { Err(why) }
        });
        let file = file.map_err(|why| failed(&why, "open", path))?;
        Ok(Self { file, bytes })
    }

    fn read(&self, offset: u64, size: u64) -> Result<Vec<u8>, Fault> {
        let size = usize::try_from(size).unwrap_or(0);
        aligned(size, |buffer| self.file.read_exact_at(buffer, offset).map(|()| buffer.to_vec())).map_err(
            |why| Fault::from(why).context(format_args!("cannot read the partition table at {offset}")),
        )
    }

    /// Returns when it is on the disk.
    pub fn write(&self, sectors: &Sectors) -> Result<(), Fault> {
        let written = aligned(sectors.bytes.len(), |buffer| {
            buffer.copy_from_slice(&sectors.bytes);
            self.file.write_all_at(buffer, sectors.offset)
        });
        written.and_then(|()| self.file.sync_data()).map_err(|why| {
            Fault::from(why).context(format_args!("cannot write the partition table at {}", sectors.offset))
        })
    }
}

/// Whatever is done with some bytes of memory that the kernel takes for direct input and output.
fn aligned<T>(size: usize, act: impl FnOnce(&mut [u8]) -> io::Result<T>) -> io::Result<T> {
    let mut memory = vec![0_u8; size + ALIGNMENT];
    let skip = memory.as_ptr().align_offset(ALIGNMENT);
    let buffer = memory.get_mut(skip..).and_then(|rest| rest.get_mut(..size));
    act(buffer.ok_or_else(|| io::Error::other("no aligned memory"))?)
}

fn failed(why: &io::Error, doing: &str, path: &Path) -> Fault {
    Fault::generic(format!("cannot {doing} {}: {why}", path.display()))
}

/// Little-endian number of `N` bytes at an offset, 0 beyond the end.
fn number<const N: usize>(bytes: &[u8], offset: usize) -> u64 {
    let field = bytes.get(offset..offset + N).unwrap_or_default();
    field.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Puts the low bytes of a number at an offset.
fn put<const N: usize>(bytes: &mut [u8], offset: usize, value: u64) {
    if let Some(field) = bytes.get_mut(offset..offset + N) {
        field.iter_mut().zip(value.to_le_bytes()).for_each(|(to, from)| *to = from);
    }
}

#[cfg(test)]
mod tests;
