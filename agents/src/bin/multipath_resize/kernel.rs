//! What only ioctl(2) tells or does: the capacity a disk has by its own word, a partition's new end, the size of a mounted
//! file system.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr;

/// `struct sg_io_hdr` of <scsi/sg.h>.
#[repr(C)]
struct SgIo {
    interface: libc::c_int,
    direction: libc::c_int,
    command_length: u8,
    sense_length: u8,
    pieces: u16,
    data_length: u32,
    data: *mut libc::c_void,
    command: *mut u8,
    sense: *mut u8,
    timeout_ms: u32,
    flags: u32,
    pack: libc::c_int,
    user: *mut libc::c_void,
    status: u8,
    masked_status: u8,
    message_status: u8,
    sense_written: u8,
    host_status: u16,
    driver_status: u16,
    residue: libc::c_int,
    duration: u32,
    info: u32,
}

const SG_IO: libc::c_ulong = 0x2285;
const FROM_DEVICE: libc::c_int = -3;
/// A path that does not answer must not hold up a monitor.
const ANSWER_MS: u32 = 3000;

/// The size of a SCSI disk in bytes as the disk tells it, whatever the kernel remembers (SBC-4, READ CAPACITY). Changes nothing.
///
/// # Errors
/// When the disk does not answer, or is no SCSI disk.
pub fn capacity(disk: &File) -> io::Result<u64> {
    let big = |answer: &[u8], at: usize, size: usize| {
        answer.iter().skip(at).take(size).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
    };
    let mut long = [0_u8; 16];
    (long[0], long[1], long[13]) = (0x9E, 0x10, 32);
    let (last, block) = if let Ok(answer) = scsi(disk, &mut long) {
        (big(&answer, 0, 8), big(&answer, 8, 4))
    } else {
        // Old disks only know the short form, which ends at 2 TiB.
        let mut short = [0_u8; 10];
        short[0] = 0x25;
        let answer = scsi(disk, &mut short)?;
        (big(&answer, 0, 4), big(&answer, 4, 4))
    };
    (last + 1).checked_mul(block).ok_or_else(|| io::Error::other("the disk tells an impossible size"))
}

fn scsi(disk: &File, command: &mut [u8]) -> io::Result<[u8; 32]> {
    let mut why = String::new();
    // A disk that has news (it grew!) tells that first, instead of the answer.
    for _ in 0..4 {
        let (mut data, mut sense) = ([0_u8; 32], [0_u8; 32]);
        let mut call = SgIo {
            interface: i32::from(b'S'),
            direction: FROM_DEVICE,
            command_length: u8::try_from(command.len()).unwrap_or(0),
            sense_length: 32,
            pieces: 0,
            data_length: 32,
            data: data.as_mut_ptr().cast(),
            command: command.as_mut_ptr(),
            sense: sense.as_mut_ptr(),
            timeout_ms: ANSWER_MS,
            flags: 0,
            pack: 0,
            user: ptr::null_mut(),
            status: 0,
            masked_status: 0,
            message_status: 0,
            sense_written: 0,
            host_status: 0,
            driver_status: 0,
            residue: 0,
            duration: 0,
            info: 0,
        };
        // SAFETY: every pointer in `call` is to a buffer of the length beside it, and all outlive the call.
        let done = unsafe { libc::ioctl(disk.as_raw_fd(), SG_IO, &raw mut call) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        if call.status == 0 && call.host_status == 0 {
            return Ok(data);
        }
        why = format!("the disk does not answer (status {}, host {})", call.status, call.host_status);
        if call.host_status != 0 {
            break;
        }
    }
    Err(io::Error::other(why))
}

/// `struct blkpg_partition` of <linux/blkpg.h>.
#[repr(C)]
struct BlkpgPartition {
    start: libc::c_longlong,
    length: libc::c_longlong,
    number: libc::c_int,
    names: [u8; 128],
}

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
struct Blkpg {
    op: libc::c_int,
    flags: libc::c_int,
    length: libc::c_int,
    data: *mut BlkpgPartition,
}

/// `_IO(0x12, 105)`.
const BLKPG: libc::c_ulong = 0x1269;
const RESIZE_PARTITION: libc::c_int = 3;

/// Tells the kernel (3.6 or later) a partition's size in bytes, while it is in use.
pub fn resize_partition(disk: &File, number: u32, start: u64, bytes: u64) -> io::Result<()> {
    let long = |value: u64| libc::c_longlong::try_from(value).map_err(io::Error::other);
    let number = libc::c_int::try_from(number).map_err(io::Error::other)?;
    let mut data = BlkpgPartition { start: long(start)?, length: long(bytes)?, number, names: [0; 128] };
    let length = libc::c_int::try_from(size_of::<BlkpgPartition>()).unwrap_or(0);
    let call = Blkpg { op: RESIZE_PARTITION, flags: 0, length, data: &raw mut data };
    // SAFETY: `data` is what BLKPG takes for this operation, and outlives the call.
    let done = unsafe { libc::ioctl(disk.as_raw_fd(), BLKPG, &raw const call) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `XFS_IOC_FSGEOMETRY_V1`, `_IOR('X', 100, 112 bytes)`: `xfs_fs.h`.
const XFS_GEOMETRY: libc::c_ulong = 0x8070_5864;
/// `BTRFS_IOC_DEV_INFO`, `_IOWR(0x94, 30, 4096 bytes)`: <linux/btrfs.h>.
const BTRFS_DEVICE: libc::c_ulong = 0xD000_941E;

/// The size of a mounted xfs in bytes. On the disk it stands when the log is written back, which can be later.
pub fn xfs_bytes(mount: &File) -> io::Result<u64> {
    let mut geometry = [0_u64; 14];
    // SAFETY: the kernel writes 112 bytes, which is the size of the buffer.
    let done = unsafe { libc::ioctl(mount.as_raw_fd(), XFS_GEOMETRY, geometry.as_mut_ptr()) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    // Eight numbers of 32 bits, the block size first; then the blocks of data.
    let block = geometry[0].to_ne_bytes();
    let block = u32::from_ne_bytes([block[0], block[1], block[2], block[3]]);
    Ok(geometry[4] * u64::from(block))
}

/// The size in bytes that a mounted btrfs uses of its device with this number.
pub fn btrfs_bytes(mount: &File, devid: u64) -> io::Result<u64> {
    let mut device = [0_u64; 512];
    device[0] = devid;
    // SAFETY: the kernel reads and writes 4096 bytes, which is the size of the buffer.
    let done = unsafe { libc::ioctl(mount.as_raw_fd(), BTRFS_DEVICE, device.as_mut_ptr()) };
    // Number, 16 bytes of UUID, bytes used, bytes.
    if done == 0 { Ok(device[4]) } else { Err(io::Error::last_os_error()) }
}
