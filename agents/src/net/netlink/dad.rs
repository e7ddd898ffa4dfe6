//! Waiting for the kernel's IPv6 duplicate address detection by its own events.

use super::wire::Messages;
use super::{Address, Error, Netlink, flag, receive, set_option};
use nix::errno::Errno;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::AsFd;
use std::time::Instant;

const RTNLGRP_IPV6_IFADDR: libc::c_int = 9;

/// How duplicate detection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dad {
    /// The address is ours and usable.
    Unique,
    /// Somebody else has it.
    Duplicate,
    /// Not ended at the deadline (no carrier, or a long `dad_transmits`).
    Undecided,
    /// The address is not there (any more).
    Gone,
}

/// A subscription to IPv6 address events. Open it **before** the address is added, so that none is missed.
#[derive(Debug)]
pub struct DadWatch {
    events: Netlink,
}

impl DadWatch {
    /// Subscribes in the current network namespace.
    pub fn open(deadline: Instant) -> Result<Self, Error> {
        let events = Netlink::open(deadline)?;
        set_option(events.fd.as_fd(), libc::NETLINK_ADD_MEMBERSHIP, RTNLGRP_IPV6_IFADDR)
            .map_err(|errno| Error::Socket { doing: "subscribe to address events", errno })?;
        Ok(Self { events })
    }

    /// Waits until detection of `address` on interface `ifindex` has ended, at most until `deadline`.
    pub fn wait(&mut self, address: Ipv6Addr, ifindex: u32, deadline: Instant) -> Result<Dad, Error> {
        // what it is now is asked on a second socket: answers and events must not mix
        let mut questions = Netlink::open(deadline)?;
        loop {
            match verdict(questions.find_address(IpAddr::V6(address), Some(ifindex))?.first()) {
                Dad::Undecided => {}
                ended @ (Dad::Unique | Dad::Duplicate | Dad::Gone) => return Ok(ended),
            }
            if !self.event(address, ifindex, deadline)? {
                return Ok(Dad::Undecided);
            }
        }
    }

    /// Waits for something that concerns the address; false at the deadline.
    fn event(&mut self, address: Ipv6Addr, ifindex: u32, deadline: Instant) -> Result<bool, Error> {
        let events = &mut self.events;
        loop {
            let doing = "wait for duplicate detection";
            let bytes = match receive(events.fd.as_fd(), &mut events.buffer, deadline, doing) {
                Ok(bytes) => bytes,
                Err(Error::Deadline { .. }) => return Ok(false),
                // events were lost: ask again what it is now
                Err(Error::Socket { errno: Errno::ENOBUFS, .. }) => return Ok(true),
                Err(error) => return Err(error),
            };
            let concerns = Messages(bytes)
                .filter_map(|message| Address::parse_if(message, IpAddr::V6(address)))
                .any(|found| found.ifindex == ifindex);
            if concerns {
                return Ok(true);
            }
        }
    }
}

fn verdict(address: Option<&Address>) -> Dad {
    match address {
        None => Dad::Gone,
        Some(address) if address.has(flag::DADFAILED) => Dad::Duplicate,
        Some(address) if address.has(flag::TENTATIVE) => Dad::Undecided,
        Some(_) => Dad::Unique,
    }
}
