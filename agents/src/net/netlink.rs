//! The kernel's own network tables over rtnetlink: links, addresses, routes, address labels, DAD events.
//!
//! Blocking, one socket, one deadline. The kernel filters dumps itself where it can (`NETLINK_GET_STRICT_CHK`,
//! Linux 4.20); every filter is applied again here, so an older kernel is slower and not wrong. A dump that the
//! kernel marks as inconsistent (`NLM_F_DUMP_INTR`) is asked again, never used. Manual: netlink(7), rtnetlink(7).
//!
//! Nothing here touches sysfs. `/proc/sys/net` follows the caller's namespace by itself.
//!
//! The socket belongs to the network namespace in which it was opened: enter it first (`netns`).

mod address;
mod addrlabel;
mod dad;
mod link;
mod route;
mod wire;

pub use address::{Address, Broadcast, FOREVER, IpFamily, NewAddress, flag};
pub use dad::{Dad, DadWatch};
pub use link::{Hardware, Link, OperState};
pub use route::{Route, RouteFilter, RouteKind, protocol_number, scope, table};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto, socket,
};
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use wire::{Attributes, Message, Messages, Received, text, u32_at};

/// A dump is repeated at most so often when the tables keep changing under it, the second half with pauses: about
/// half a second in all, because giving up would let a monitor fail on a host that starts many containers.
const DUMP_TRIES: u32 = 100;
const DUMP_PAUSE_MS: u8 = 10;
/// The kernel fills at most 32 KiB at once (`af_netlink.c`), so nothing is ever cut.
const BUFFER: usize = 65536;
/// `sizeof(int)`, the length of every option set here.
const C_INT_SIZE: libc::socklen_t = 4;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// Why the kernel's answer could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The socket itself failed.
    Socket {
        /// What was being done with it.
        doing: &'static str,
        /// The system's number.
        errno: Errno,
    },
    /// The kernel answered no.
    Refused {
        /// What was asked.
        doing: String,
        /// The system's number.
        errno: Errno,
        /// The kernel's own words (extended acknowledgement), empty when it gave none.
        says: String,
    },
    /// No answer before the deadline.
    Deadline {
        /// What was asked.
        doing: String,
    },
    /// The tables changed during every one of the attempts to read them.
    Unsteady {
        /// What was asked.
        doing: String,
    },
    /// An answer that cannot be understood.
    Malformed {
        /// What was asked.
        doing: String,
    },
}

impl Error {
    /// The system's number, when there is one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Socket { errno, .. } | Self::Refused { errno, .. } => Some(*errno),
            Self::Deadline { .. } | Self::Unsteady { .. } | Self::Malformed { .. } => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket { doing, errno } => write!(f, "netlink socket: {doing}: {}", errno.desc()),
            Self::Refused { doing, errno, says } if says.is_empty() => {
                write!(f, "{doing}: kernel: {}", errno.desc())
            }
            Self::Refused { doing, errno, says } => {
                write!(f, "{doing}: kernel: {} ({says})", errno.desc())
            }
            Self::Deadline { doing } => {
                write!(f, "{doing}: no answer from the kernel before the deadline")
            }
            Self::Unsteady { doing } => {
                write!(f, "{doing}: the kernel's tables changed during each of {DUMP_TRIES} reads")
            }
            Self::Malformed { doing } => write!(f, "{doing}: the kernel's answer makes no sense"),
        }
    }
}

impl std::error::Error for Error {}

/// What a request for a change found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was done now.
    Done,
    /// There was nothing to do.
    AlreadySo,
}

/// A blocking rtnetlink socket with a deadline.
#[derive(Debug)]
pub struct Netlink {
    fd: OwnedFd,
    sequence: u32,
    deadline: Instant,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens a socket in the current network namespace. No wait goes beyond `deadline`.
    pub fn open(deadline: Instant) -> Result<Self, Error> {
        Ok(Self { fd: open_socket()?, sequence: 0, deadline, buffer: vec![0; BUFFER] })
    }

    /// Sets the deadline for what is asked from now on.
    pub fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// Asks for a change and waits for the acknowledgement.
    fn change(&mut self, doing: &str, message: &Message) -> Result<(), Error> {
        self.send(doing, message)?;
        let (fd, sequence, deadline) = (self.fd.as_fd(), self.sequence, self.deadline);
        loop {
            let bytes = receive(fd, &mut self.buffer, deadline, doing)?;
            for received in Messages(bytes) {
                if received.sequence == sequence && received.kind == NLMSG_ERROR {
                    return verdict(doing, received);
                }
            }
        }
    }

    /// Asks for one object; `Ok(None)` when the kernel says `absent`.
    fn get<T>(
        &mut self,
        doing: &str,
        message: &Message,
        absent: &[Errno],
        pick: impl Fn(Received<'_>) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        self.send(doing, message)?;
        let (fd, sequence, deadline) = (self.fd.as_fd(), self.sequence, self.deadline);
        loop {
            let bytes = receive(fd, &mut self.buffer, deadline, doing)?;
            let Some(received) = Messages(bytes).find(|received| received.sequence == sequence) else {
                continue;
            };
            let malformed = || Error::Malformed { doing: doing.to_owned() };
            if received.kind != NLMSG_ERROR {
                return pick(received).map(Some).ok_or_else(malformed);
            }
            return match verdict(doing, received) {
                Err(Error::Refused { errno, .. }) if absent.contains(&errno) => Ok(None),
                Err(error) => Err(error),
                Ok(()) => Err(malformed()),
            };
        }
    }

    /// Reads a whole table; `pick` keeps what is wanted.
    fn dump<T>(
        &mut self,
        doing: &str,
        message: &Message,
        pick: impl Fn(Received<'_>) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        for turn in 0..DUMP_TRIES {
            if turn >= DUMP_TRIES / 2 {
                // whatever changes the tables all the time gets a moment to finish
                let _ = poll(&mut [], PollTimeout::from(DUMP_PAUSE_MS));
            }
            self.send(doing, message)?;
            match self.collect(doing, &pick) {
                Ok(Some(list)) => return Ok(list),
                // inconsistent: ask again; some tables say so with an error at the end instead of the flag
                Ok(None) | Err(Error::Refused { errno: Errno::EINTR | Errno::EAGAIN, .. }) => {}
                // messages were lost: start over on a socket without the rest of this dump in it
                Err(Error::Socket { errno: Errno::ENOBUFS, .. }) => self.fd = open_socket()?,
                Err(error) => return Err(error),
            }
        }
        Err(Error::Unsteady { doing: doing.to_owned() })
    }

    /// One dump to its end; `None` when the kernel said it was inconsistent.
    fn collect<T>(
        &mut self,
        doing: &str,
        pick: &impl Fn(Received<'_>) -> Option<T>,
    ) -> Result<Option<Vec<T>>, Error> {
        let (fd, sequence, deadline) = (self.fd.as_fd(), self.sequence, self.deadline);
        let mut list = Vec::new();
        let mut steady = true;
        loop {
            let bytes = receive(fd, &mut self.buffer, deadline, doing)?;
            for received in Messages(bytes).filter(|received| received.sequence == sequence) {
                steady &= received.flags & NLM_F_DUMP_INTR == 0;
                if matches!(received.kind, NLMSG_DONE | NLMSG_ERROR) {
                    verdict(doing, received)?;
                    return Ok(steady.then_some(list));
                }
                list.extend(pick(received));
            }
        }
    }

    fn send(&mut self, doing: &str, message: &Message) -> Result<(), Error> {
        if Instant::now() >= self.deadline {
            return Err(Error::Deadline { doing: doing.to_owned() });
        }
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = message.finish(self.sequence);
        loop {
            let to = NetlinkAddr::new(0, 0);
            match sendto(self.fd.as_raw_fd(), &bytes, &to, MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::Socket { doing: "send", errno }),
            }
        }
    }
}

/// An rtnetlink socket, bound to a port number the kernel picks.
fn open_socket() -> Result<OwnedFd, Error> {
    let fd =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)
            .map_err(|errno| Error::Socket { doing: "open", errno })?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0)).map_err(|errno| Error::Socket { doing: "bind", errno })?;
    // both are refinements: a kernel without them (before 4.20, 4.12) is used as it is
    let _ = set_option(fd.as_fd(), libc::NETLINK_GET_STRICT_CHK, 1);
    let _ = set_option(fd.as_fd(), libc::NETLINK_EXT_ACK, 1);
    Ok(fd)
}

/// Sets one numeric option at level `SOL_NETLINK`.
fn set_option(fd: BorrowedFd<'_>, option: libc::c_int, value: libc::c_int) -> Result<(), Errno> {
    // SAFETY: the value is a live c_int and its exact size is passed; the kernel only reads it.
    let done = unsafe {
        libc::setsockopt(fd.as_raw_fd(), libc::SOL_NETLINK, option, (&raw const value).cast(), C_INT_SIZE)
    };
    Errno::result(done).map(drop)
}

/// Waits for the next datagram, at most until `deadline`.
///
/// The sender is not checked: only a process with `CAP_NET_ADMIN` can unicast on `NETLINK_ROUTE` beside the kernel.
fn receive<'a>(
    fd: BorrowedFd<'_>,
    buffer: &'a mut [u8],
    deadline: Instant,
    doing: &str,
) -> Result<&'a [u8], Error> {
    loop {
        if !readable(fd, deadline).map_err(|errno| Error::Socket { doing: "poll", errno })? {
            return Err(Error::Deadline { doing: doing.to_owned() });
        }
        match recv(fd.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC) {
            Ok(length) => {
                return buffer.get(..length).ok_or_else(|| Error::Malformed { doing: doing.to_owned() });
            }
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(errno) => return Err(Error::Socket { doing: "receive", errno }),
        }
    }
}

/// Waits until `fd` can be read; false at the deadline. Also used by the packet sockets.
pub(crate) fn readable(fd: BorrowedFd<'_>, deadline: Instant) -> Result<bool, Errno> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
        match poll(&mut fds, timeout(left)) {
            Ok(0) if Instant::now() >= deadline => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno),
        }
    }
}

/// poll(2) counts whole milliseconds: rounded up, so that the last one is not spent spinning.
fn timeout(left: Duration) -> PollTimeout {
    let millis = left.as_micros().div_ceil(1000);
    PollTimeout::try_from(i32::try_from(millis).unwrap_or(i32::MAX)).unwrap_or(PollTimeout::MAX)
}

/// What an acknowledgement, an error or the end of a dump says.
fn verdict(doing: &str, received: Received<'_>) -> Result<(), Error> {
    let malformed = || Error::Malformed { doing: doing.to_owned() };
    let code = u32_at(received.payload, 0).ok_or_else(malformed)?.cast_signed();
    if code == 0 {
        return Ok(());
    }
    let errno = Errno::from_raw(code.saturating_neg());
    Err(Error::Refused { doing: doing.to_owned(), errno, says: kernel_says(received) })
}

/// The text of the extended acknowledgement (`NLMSGERR_ATTR_MSG`), empty without one.
fn kernel_says(received: Received<'_>) -> String {
    const ATTR_MSG: u16 = 1;
    const NLM_F_CAPPED: u16 = 0x100;
    const NLM_F_ACK_TLVS: u16 = 0x200;
    if received.flags & NLM_F_ACK_TLVS == 0 {
        return String::new();
    }
    // the request is quoted between the code and the attributes: its header only when capped
    let quoted = match received.kind {
        NLMSG_DONE => 0,
        _ if received.flags & NLM_F_CAPPED != 0 => 16,
        _ => u32_at(received.payload, 4).unwrap_or(0) as usize,
    };
    Attributes::after(received.payload, 4 + quoted.next_multiple_of(4))
        .find(|(kind, _)| *kind == ATTR_MSG)
        .map(|(_, value)| text(value))
        .unwrap_or_default()
}
