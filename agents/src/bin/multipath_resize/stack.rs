//! What a disk in use is made of, from its paths up to the file system, with every size in bytes.

use ringfence_agents::iscsi::lio::Place;
use std::fmt;
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
    /// Nothing can be written to it, also not its size.
    pub read_only: bool,
    /// Its own number of the device (btrfs).
    pub devid: u64,
}

/// A device of a ZFS pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vdev {
    /// The device it is on, by the kernel's name; of a pool that has made its own partitions the disk.
    pub name: String,
    pub pool: String,
    /// What `zpool` knows it by.
    pub path: String,
    /// Where the pool's own partition begins, for one that has made it.
    pub own_start: Option<u64>,
    /// Bytes that hold data.
    pub bytes: u64,
    /// It grows by steps of two to the power of this.
    pub shift: u32,
}

/// Who exports something to initiators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exporter {
    /// LIO, with the object.
    Lio(Place),
    /// tgtd, with the target's name, the unit's number and the kind of its store.
    Tgt { target: String, number: u64, store: String },
}

impl fmt::Display for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lio(place) => write!(f, "LIO's object {}/{}", place.hba, place.name),
            Self::Tgt { target, number, .. } => write!(f, "tgtd's unit {number} of {target}"),
        }
    }
}

/// A unit of an iSCSI target that is made of a file or device here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    pub by: Exporter,
    /// As the exporter knows it.
    pub path: String,
    pub bytes: Size,
}

/// The size that initiators are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// The one of what is behind it, always.
    Same,
    Bytes(u64),
    /// Millions of bytes, to the nearest: tgtd tells no more.
    Megabytes(u64),
}

/// A file with the disk of an initiator in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub path: PathBuf,
    pub bytes: u64,
}

/// Everything from the disk, or a file, to what stands on top of it. Layers that are not there are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stack {
    pub paths: Vec<DiskPath>,
    pub map: Option<Map>,
    pub part: Option<Part>,
    pub pv: Option<Pv>,
    pub lv: Option<Lv>,
    pub fs: Option<Fs>,
    pub vdev: Option<Vdev>,
    /// What is on an exported device is the business of initiators, and not looked at.
    pub exports: Vec<Export>,
    /// Instead of a disk.
    pub image: Option<Image>,
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
