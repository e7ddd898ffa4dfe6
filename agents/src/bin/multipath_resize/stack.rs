//! What a disk in use is made of, from its paths up to the file system, with every size in bytes.

use std::path::PathBuf;

/// A way to the disk; a plain disk is its own only one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskPath {
    /// The kernel's name: `sdb`.
    pub name: String,
    /// As the kernel has it.
    pub bytes: u64,
    /// As the disk itself answers, which the kernel only asks again when it is told to.
    pub real: u64,
    /// Whether commands get through; else the kernel's word for its state.
    pub down: Option<String>,
}

/// A map of multipathd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// The kernel's name: `dm-0`.
    pub name: String,
    /// Its name among the maps: `mpatha`, or the WWID.
    pub label: String,
    pub bytes: u64,
}

/// The kinds of partition tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Mbr,
    Gpt,
}

/// A partition, in its table and in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The kernel's name: `sdb1`, `dm-1`.
    pub name: String,
    pub number: u32,
    /// Its name among the device mapper's maps, when it is one.
    pub label: Option<String>,
    pub scheme: Scheme,
    pub start: u64,
    /// Its size by the table.
    pub listed: u64,
    /// Its size in the kernel.
    pub bytes: u64,
    /// What the table itself takes at the end of the disk.
    pub tail: u64,
    /// The most that an entry of the table can hold.
    pub most: u64,
    /// Where the table believes the disk to end; `None` when it has no such belief (MBR).
    pub made_for: Option<u64>,
    /// One of the two copies of the table is damaged.
    pub damaged: bool,
}

/// A physical volume of LVM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pv {
    /// The device it is on, by the kernel's name.
    pub name: String,
    pub group: String,
    /// Where its first extent begins.
    pub offset: u64,
    pub extent: u64,
    pub extents: u64,
    /// Extents that no volume has.
    pub free: u64,
}

/// A logical volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lv {
    /// The kernel's name: `dm-2`.
    pub name: String,
    /// Its name in the group.
    pub volume: String,
    /// By LVM's metadata.
    pub extents: u64,
    /// In the kernel.
    pub bytes: u64,
}

/// The kinds of file systems that grow while they are mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FsKind {
    Ext,
    Xfs,
    Btrfs,
}

impl FsKind {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ext => "ext",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }
}

/// A file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fs {
    /// The device it is on, by the kernel's name.
    pub name: String,
    pub kind: FsKind,
    pub bytes: u64,
    /// What it may leave unused at the end: not worth a block group of its own.
    pub slack: u64,
    /// Where it is mounted.
    pub mount: Option<PathBuf>,
    /// Its own number of the device (btrfs).
    pub devid: u64,
}

/// Everything from the disk to the file system. Layers that are not there are `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    pub paths: Vec<DiskPath>,
    pub map: Option<Map>,
    pub part: Option<Part>,
    pub pv: Option<Pv>,
    pub lv: Option<Lv>,
    pub fs: Option<Fs>,
}

impl Stack {
    /// The kernel's name of what the partition table is on.
    pub fn disk(&self) -> &str {
        match (&self.map, self.paths.first()) {
            (Some(map), _) => &map.name,
            (None, Some(path)) => &path.name,
            (None, None) => "",
        }
    }
}
