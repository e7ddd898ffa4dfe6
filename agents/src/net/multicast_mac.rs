//! Making an interface listen to one more hardware address, as `ip maddr add` does: for cluster-IP mode.
//!
//! By ioctl and not by packet socket membership: a membership ends with its socket, the entry made here stays until
//! it is removed or the interface goes, and so survives the agent.

use crate::net::netlink::Change;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::os::fd::AsRawFd;

/// Listens to `mac` on interface `nic` (its primary name).
///
/// The kernel counts such entries only once however often they are added, and does not say whether it was there.
pub fn add(nic: &str, mac: [u8; 6]) -> Result<(), Errno> {
    request(libc::SIOCADDMULTI as libc::Ioctl, nic, mac)
}

/// Stops listening to `mac` on interface `nic`. Nothing to do when it did not, or when the interface is gone.
pub fn remove(nic: &str, mac: [u8; 6]) -> Result<Change, Errno> {
    match request(libc::SIOCDELMULTI as libc::Ioctl, nic, mac) {
        Ok(()) => Ok(Change::Done),
        Err(Errno::ENODEV | Errno::ENOENT) => Ok(Change::AlreadySo),
        Err(errno) => Err(errno),
    }
}

fn request(code: libc::Ioctl, nic: &str, mac: [u8; 6]) -> Result<(), Errno> {
    let fd = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: ifreq is plain data, for which all zeroes are valid.
    let mut ask: libc::ifreq = unsafe { std::mem::zeroed() };
    if nic.len() >= ask.ifr_name.len() {
        return Err(Errno::ENODEV);
    }
    for (to, from) in ask.ifr_name.iter_mut().zip(nic.bytes()) {
        *to = from.cast_signed();
    }
    let mut hardware = libc::sockaddr { sa_family: 0, sa_data: [0; 14] };
    for (to, from) in hardware.sa_data.iter_mut().zip(mac) {
        *to = from.cast_signed();
    }
    ask.ifr_ifru.ifru_hwaddr = hardware;
    // SAFETY: the request is a live, fully initialised ifreq; the kernel reads it for these two codes.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), code, &raw const ask) };
    Errno::result(done).map(drop)
}
