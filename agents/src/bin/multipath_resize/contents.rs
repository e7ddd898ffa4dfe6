//! What is on a device, by the first blocks of it, and how large that believes itself to be.

use crate::stack::FsKind;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Far enough for the superblock of btrfs at 64 KiB.
const HEAD: usize = 68 << 10;

/// What the first blocks say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A file system: its kind, size, and the slack and device number as in [`crate::stack::Fs`].
    Fs { kind: FsKind, bytes: u64, slack: u64, devid: u64 },
    /// A physical volume of LVM.
    Pv,
    /// Something that is not grown here, by its name.
    Other(&'static str),
    /// Nothing that is known.
    Unknown,
}

/// Reads what is there of `size` bytes at `offset`.
pub fn read(file: &File, offset: u64, size: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; size];
    let mut done = 0;
    while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
    }
    bytes.truncate(done);
    Ok(bytes)
}

/// Reads the head of a device and tells what it is.
pub fn look(file: &File) -> io::Result<Content> {
    Ok(recognise(&read(file, 0, HEAD)?))
}

fn recognise(head: &[u8]) -> Content {
    let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    // Before the file systems: what was there earlier may not have been wiped, and these stand nearer to the device.
    for sector in 0..4 {
        if at(sector * 512, b"LABELONE") {
            return Content::Pv;
        }
    }
    let others: [(usize, &[u8], &'static str); 7] = [
        (0, b"LUKS\xba\xbe", "an encrypted device (LUKS)"),
        (4096, b"\xfc\x4e\x2b\xa9", "a member of an md array"),
        (0, b"\xfc\x4e\x2b\xa9", "a member of an md array"),
        (4086, b"SWAPSPACE2", "swap space"),
        (4086, b"SWAP-SPACE", "swap space"),
        (0x1018, b"bcache", "a device of bcache"),
        (32, b"-FVE-FS-", "an encrypted device (BitLocker)"),
    ];
    if let Some((_, _, name)) = others.iter().find(|(offset, magic, _)| at(*offset, magic)) {
        return Content::Other(name);
    }
    [ext(head), xfs(head), btrfs(head)].into_iter().flatten().next().unwrap_or(Content::Unknown)
}

fn field<const N: usize>(head: &[u8], offset: usize) -> Option<[u8; N]> {
    head.get(offset..offset + N)?.try_into().ok()
}

fn le32(head: &[u8], offset: usize) -> Option<u64> {
    field(head, offset).map(u32::from_le_bytes).map(u64::from)
}

/// ext2, 3 and 4: the kernel's Documentation/filesystems/ext4/super.rst.
fn ext(head: &[u8]) -> Option<Content> {
    const SUPER: usize = 1024;
    let number = |offset| le32(head, SUPER + offset);
    let short = |offset| field(head, SUPER + offset).map(u16::from_le_bytes).map(u64::from);
    if short(0x38)? != 0xEF53 {
        return None;
    }
    let block = 1024_u64.checked_shl(u32::try_from(number(0x18)?).ok()?).filter(|size| *size <= 65536)?;
    let incompatible = number(0x60)?;
    if incompatible & 0x8 != 0 {
        return Some(Content::Other("the journal of another file system"));
    }
    // 64bit: the upper halves of block numbers count.
    let high = if incompatible & 0x80 == 0 { 0 } else { number(0x150)? };
    let blocks = number(0x4)? | high << 32;
    // A last group must hold its own bookkeeping and some data, or it is not made: bitmaps, the table of inodes, and a copy of
    // the superblock with the descriptors and those in reserve.
    let per_block = block / 64;
    let groups = blocks / number(0x20)?.max(1) + 1;
    let table = number(0x28)? * short(0x58)?.max(128) / block;
    let bookkeeping = 3 + table + groups / per_block.max(1) + 1 + short(0xCE)? + 64;
    Some(Content::Fs { kind: FsKind::Ext, bytes: blocks * block, slack: bookkeeping * block, devid: 0 })
}

/// XFS Filesystem Structure, "Superblocks".
fn xfs(head: &[u8]) -> Option<Content> {
    if !head.starts_with(b"XFSB") {
        return None;
    }
    let block = u64::from(u32::from_be_bytes(field(head, 4)?));
    let blocks = u64::from_be_bytes(field(head, 8)?);
    // A last allocation group of less than 64 blocks is not made (XFS_MIN_AG_BLOCKS).
    Some(Content::Fs { kind: FsKind::Xfs, bytes: blocks.checked_mul(block)?, slack: 64 * block, devid: 0 })
}

/// btrfs.readthedocs.io, "On-disk format", superblock and device item.
fn btrfs(head: &[u8]) -> Option<Content> {
    const SUPER: usize = 64 << 10;
    if head.get(SUPER + 0x40..)?.get(..8)? != b"_BHRfS_M" {
        return None;
    }
    let long = |offset| field(head, SUPER + offset).map(u64::from_le_bytes);
    if long(0x88)? != 1 {
        return Some(Content::Other("a btrfs of several devices"));
    }
    let (devid, bytes) = (long(0xC9)?, long(0xD1)?);
    Some(Content::Fs { kind: FsKind::Btrfs, bytes, slack: 64 << 10, devid })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(mib: u64, tool: &str, args: &[&str]) -> Content {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        File::create(&path).unwrap().set_len(mib << 20).unwrap();
        let cmd = ocf_lib::cmd::Cmd::new(tool).args(args.iter().copied()).arg(path.as_os_str());
        let end = ocf_lib::deadline::Deadline::after(std::time::Duration::from_secs(60));
        let output = ocf_lib::cmd::Runner::run(&ocf_lib::cmd::System, &cmd, end)
            .unwrap_or_else(|why| panic!("{tool} (Debian: e2fsprogs, xfsprogs, btrfs-progs): {why}"));
        assert!(output.success(), "{}", output.failure(&cmd));
        look(&File::open(&path).unwrap()).unwrap()
    }

    fn size(content: &Content) -> (FsKind, u64, u64) {
        let Content::Fs { kind, bytes, devid, .. } = content else { panic!("{content:?}") };
        (*kind, *bytes, *devid)
    }

    #[test]
    fn file_systems_as_their_tools_make_them() {
        assert_eq!(size(&made(64, "mkfs.ext4", &["-q", "-F"])), (FsKind::Ext, 64 << 20, 0));
        assert_eq!(
            size(&made(16, "mkfs.ext4", &["-q", "-F", "-b", "1024", "-O", "^64bit"])),
            (FsKind::Ext, 16 << 20, 0)
        );
        assert_eq!(size(&made(16, "mkfs.ext3", &["-q", "-F"])), (FsKind::Ext, 16 << 20, 0));
        assert_eq!(size(&made(320, "mkfs.xfs", &["-q"])), (FsKind::Xfs, 320 << 20, 0));
        assert_eq!(size(&made(128, "mkfs.btrfs", &["-q"])), (FsKind::Btrfs, 128 << 20, 1));
    }

    #[test]
    fn the_slack_of_ext_is_less_than_a_group() {
        for (mib, args) in [(64, vec!["-q", "-F"]), (700, vec!["-q", "-F"])] {
            let Content::Fs { slack, .. } = made(mib, "mkfs.ext4", &args) else { panic!() };
            assert!(slack < 128 << 20, "{slack}");
        }
    }

    #[test]
    fn what_is_not_grown_here_has_a_name() {
        assert!(matches!(made(16, "mkswap", &["-q"]), Content::Other("swap space")));
        assert_eq!(recognise(b"LUKS\xba\xbe\0\x02"), Content::Other("an encrypted device (LUKS)"));
        let mut volume = vec![0; 4096];
        volume[512..520].copy_from_slice(b"LABELONE");
        assert_eq!(recognise(&volume), Content::Pv);
        assert_eq!(recognise(&vec![0; HEAD]), Content::Unknown);
        for cut in [0, 1, 511, 1024, 1080, 2000] {
            // A short head is no reason to panic.
            let mut head = vec![0xFF; cut];
            head.resize(cut, 0x53);
            let _ = recognise(&head);
        }
    }

    proptest::proptest! {
        #[test]
        fn garbage_is_never_a_panic(mut head in proptest::collection::vec(proptest::num::u8::ANY, 0..2048)) {
            let _ = recognise(&head);
            if head.len() > 0x43A { head[0x438] = 0x53; head[0x439] = 0xEF; }
            let _ = recognise(&head);
            head.splice(0..head.len().min(4), *b"XFSB");
            let _ = recognise(&head);
        }
    }
}
