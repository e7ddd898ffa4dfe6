//! NVMe commands through the kernel: `ioctl(NVME_IOCTL_IO_CMD)` (`<linux/nvme_ioctl.h>`).

use super::nvme::{NvmeCommand, NvmeTransport};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// `_IO('N', 0x40)`.
const NVME_IOCTL_ID: libc::c_ulong = 0x4e40;
/// `_IOWR('N', 0x43, struct nvme_passthru_cmd)`.
const NVME_IOCTL_IO_CMD: libc::c_ulong = 0xc048_4e43;

/// `struct nvme_passthru_cmd`.
#[repr(C)]
#[derive(Default)]
struct Passthru {
    opcode: u8,
    flags: u8,
    rsvd1: u16,
    nsid: u32,
    cdw2: u32,
    cdw3: u32,
    metadata: u64,
    addr: u64,
    metadata_len: u32,
    data_len: u32,
    cdw10: u32,
    cdw11: u32,
    cdw12: u32,
    cdw13: u32,
    cdw14: u32,
    cdw15: u32,
    timeout_ms: u32,
    result: u32,
}

/// A namespace's device file.
#[derive(Debug)]
pub struct NvmeDevice {
    file: File,
    nsid: u32,
}

impl NvmeDevice {
    /// Opens the namespace and asks the kernel for its number.
    ///
    /// # Errors
    /// Of `open(2)` and of the kernel.
    pub fn open(path: &Path) -> io::Result<Self> {
        // Read-only for the reason that `SgDevice::open` gives; CAP_SYS_ADMIN is what the kernel asks for.
        let file =
            OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path)?;
        // SAFETY: NVME_IOCTL_ID takes no argument and returns the namespace's number.
        let nsid = unsafe { libc::ioctl(file.as_raw_fd(), NVME_IOCTL_ID) };
        if nsid < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { file, nsid: nsid.unsigned_abs() })
    }
}

impl NvmeTransport for NvmeDevice {
    fn exchange(&mut self, command: NvmeCommand, data: &mut [u8], limit: Duration) -> io::Result<u16> {
        let mut passthru = Passthru {
            opcode: command.opcode,
            nsid: self.nsid,
            addr: data.as_mut_ptr() as u64,
            data_len: u32::try_from(data.len()).map_err(io::Error::other)?,
            cdw10: command.cdw10,
            cdw11: command.cdw11,
            timeout_ms: u32::try_from(limit.as_millis()).unwrap_or(u32::MAX),
            ..Passthru::default()
        };
        // SAFETY: the structure is the kernel's and lives until the call returns; `addr` is a buffer of
        // `data_len` bytes that is ours alone for that time.
        let result = unsafe { libc::ioctl(self.file.as_raw_fd(), NVME_IOCTL_IO_CMD, &raw mut passthru) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        u16::try_from(result).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structure_is_the_kernels() {
        assert_eq!(std::mem::size_of::<Passthru>(), 72, "the size is part of the ioctl's number");
        assert_eq!(std::mem::offset_of!(Passthru, addr), 24);
        assert_eq!(std::mem::offset_of!(Passthru, cdw10), 40);
        assert_eq!(std::mem::offset_of!(Passthru, timeout_ms), 64);
    }

    #[test]
    fn what_is_no_namespace_is_refused() {
        assert!(NvmeDevice::open(Path::new("/dev/null")).is_err());
    }
}
