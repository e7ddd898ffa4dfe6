//! The kernel's own word on a node's addresses: `RTM_NEWADDR` and `RTM_DELADDR`, as they happen.

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// `RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR` of rtnetlink(7).
const GROUPS: u32 = 0x10 | 0x100;

/// A subscription to the address changes of the network namespace it was opened in.
pub(crate) struct AddressWatch(Socket);

impl AddressWatch {
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, GROUPS))?;
        socket.set_non_blocking(true)?;
        Ok(Self(socket))
    }

    /// What happened since the last call: `address + 10.77.0.50`, `address - 10.77.0.50`, or `address lost-track`
    /// when the kernel had more to say than the socket could hold.
    pub(crate) fn read(&mut self) -> io::Result<Vec<String>> {
        let mut changes = Vec::new();
        loop {
            match self.0.recv_from_full() {
                Ok((bytes, _)) => changes.extend(changes_in(&bytes)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(changes),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    changes.push("address lost-track".to_owned());
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for AddressWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket is open as long as self is, and the borrow does not outlive self.
        unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) }
    }
}

fn changes_in(mut bytes: &[u8]) -> Vec<String> {
    let mut changes = Vec::new();
    while let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes) {
        let length = usize::try_from(message.header.length).unwrap_or(0).next_multiple_of(4);
        if let NetlinkPayload::InnerMessage(inner) = &message.payload {
            let found = if let RouteNetlinkMessage::NewAddress(address) = inner {
                Some(('+', address))
            } else if let RouteNetlinkMessage::DelAddress(address) = inner {
                Some(('-', address))
            } else {
                None
            };
            changes.extend(
                found.and_then(|(sign, message)| Some(format!("address {sign} {}", address_of(message)?))),
            );
        }
        match bytes.get(length..) {
            Some(rest) if length > 0 && !rest.is_empty() => bytes = rest,
            _ => break,
        }
    }
    changes
}

/// `IFA_LOCAL` where there is one: on a point-to-point link `IFA_ADDRESS` is the peer (rtnetlink(7)).
fn address_of(message: &AddressMessage) -> Option<IpAddr> {
    let mut found = None;
    for attribute in &message.attributes {
        if let AddressAttribute::Local(address) = attribute {
            return Some(*address);
        }
        if let AddressAttribute::Address(address) = attribute {
            found = Some(*address);
        }
    }
    found
}
