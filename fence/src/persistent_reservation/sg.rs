//! SCSI commands through the kernel: `ioctl(SG_IO)` (`<scsi/sg.h>`, interface version 3).

use super::scsi::{Data, Reply, ScsiTransport};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

const SG_IO: libc::c_ulong = 0x2285;
const TO_DEVICE: i32 = -2;
const FROM_DEVICE: i32 = -3;
/// Room for sense data; SPC-4 allows 252 bytes.
const SENSE: u8 = 252;

/// `struct sg_io_hdr`.
#[repr(C)]
struct Header {
    interface_id: i32,
    dxfer_direction: i32,
    cmd_len: u8,
    mx_sb_len: u8,
    iovec_count: u16,
    dxfer_len: u32,
    dxferp: *mut libc::c_void,
    cmdp: *const u8,
    sbp: *mut u8,
    /// Milliseconds.
    timeout: u32,
    flags: u32,
    pack_id: i32,
    usr_ptr: *mut libc::c_void,
    status: u8,
    masked_status: u8,
    msg_status: u8,
    sb_len_wr: u8,
    host_status: u16,
    driver_status: u16,
    resid: i32,
    duration: u32,
    info: u32,
}

/// A SCSI disk's device file.
#[derive(Debug)]
pub struct SgDevice {
    file: File,
}

impl SgDevice {
    /// Opens the device; nothing is sent.
    ///
    /// Read-only, and that is enough for root: closing a disk that was open for writing makes udev look at it
    /// again, with every check of every minute.
    ///
    /// # Errors
    /// Of `open(2)`: ENXIO for a disk that is offline.
    pub fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open(path)
            .map(|file| Self { file })
    }
}

impl ScsiTransport for SgDevice {
    fn exchange(&mut self, cdb: &[u8], data: Data<'_>, limit: Duration) -> io::Result<Reply> {
        let (direction, pointer, length) = match data {
            // The kernel only reads it: the direction says so.
            Data::Out(bytes) => (TO_DEVICE, bytes.as_ptr().cast_mut(), bytes.len()),
            Data::In(bytes) => (FROM_DEVICE, bytes.as_mut_ptr(), bytes.len()),
        };
        let mut sense = [0_u8; SENSE as usize];
        let mut header = Header {
            interface_id: i32::from(b'S'),
            dxfer_direction: direction,
            cmd_len: u8::try_from(cdb.len()).map_err(io::Error::other)?,
            mx_sb_len: SENSE,
            iovec_count: 0,
            dxfer_len: u32::try_from(length).map_err(io::Error::other)?,
            dxferp: pointer.cast(),
            cmdp: cdb.as_ptr(),
            sbp: sense.as_mut_ptr(),
            timeout: u32::try_from(limit.as_millis()).unwrap_or(u32::MAX),
            flags: 0,
            pack_id: 0,
            usr_ptr: std::ptr::null_mut(),
            status: 0,
            masked_status: 0,
            msg_status: 0,
            sb_len_wr: 0,
            host_status: 0,
            driver_status: 0,
            resid: 0,
            duration: 0,
            info: 0,
        };
        // SAFETY: the header and everything that it points to (command, sense, data of the given lengths)
        // live until the call returns, and SG_IO is done with them when it does (sg v3, no SG_FLAG_DIRECT_IO).
        let result = unsafe { libc::ioctl(self.file.as_raw_fd(), SG_IO, &raw mut header) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        host_says(header.host_status)?;
        let resid = usize::try_from(header.resid).unwrap_or(0);
        Ok(Reply {
            status: header.status,
            read: length.saturating_sub(resid),
            sense: sense.get(..usize::from(header.sb_len_wr)).unwrap_or_default().to_vec(),
        })
    }
}

/// The host adapter's own words (`<scsi/scsi_status.h>`, `DID_*`).
fn host_says(status: u16) -> io::Result<()> {
    let (kind, words) = match status {
        0 => return Ok(()),
        // Thrown back before the disk saw it: as good as not sent.
        2 | 0x0b | 0x0c | 0x0d => (io::ErrorKind::Interrupted, "the host adapter is busy"),
        1 => (io::ErrorKind::NotConnected, "no connection to the disk"),
        3 => (io::ErrorKind::TimedOut, "the disk did not answer in time"),
        4 => (io::ErrorKind::NotConnected, "no such target"),
        5 => (io::ErrorKind::ConnectionAborted, "the command was aborted"),
        8 => (io::ErrorKind::ConnectionReset, "the bus was reset"),
        0x0e => (io::ErrorKind::NotConnected, "the transport is disrupted"),
        0x0f => (io::ErrorKind::NotConnected, "the transport failed"),
        0x11 => (io::ErrorKind::Other, "reservation conflict"),
        other => return Err(io::Error::other(format!("the host adapter reports status {other:02x}h"))),
    };
    Err(io::Error::new(kind, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_the_kernels() {
        // sizeof(struct sg_io_hdr) on 64-bit, from <scsi/sg.h>.
        #[cfg(target_pointer_width = "64")]
        assert_eq!(std::mem::size_of::<Header>(), 88);
    }

    #[test]
    fn what_is_no_scsi_disk_is_refused_by_the_kernel() {
        let mut device = SgDevice::open(Path::new("/dev/null")).unwrap();
        assert!(device.exchange(&[0; 6], Data::In(&mut []), Duration::from_secs(1)).is_err());
    }

    #[test]
    fn a_path_that_is_gone_is_no_answer() {
        assert!(host_says(0).is_ok());
        assert_eq!(host_says(0x0f).unwrap_err().kind(), io::ErrorKind::NotConnected);
        assert_eq!(host_says(3).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(host_says(0x0d).unwrap_err().kind(), io::ErrorKind::Interrupted);
        assert!(host_says(0x77).is_err());
    }
}
