//! IPv6 address labels: the table of RFC 6724 section 2.1 that decides which source address is chosen.

use super::wire::{ACK, CREATE, Message};
use super::{Change, Error, IpFamily, Netlink};
use nix::errno::Errno;
use std::net::{IpAddr, Ipv6Addr};

const RTM_NEWADDRLABEL: u16 = 72;
const RTM_DELADDRLABEL: u16 = 73;
const IFAL_ADDRESS: u16 = 1;
const IFAL_LABEL: u16 = 2;

impl Netlink {
    /// `ip addrlabel add prefix ADDRESS label LABEL`: gives one address a label of its own.
    pub fn add_address_label(&mut self, address: Ipv6Addr, label: u32) -> Result<Change, Error> {
        let doing = format!("label address {address} {label}");
        match self.change(&doing, &message(RTM_NEWADDRLABEL, CREATE, address, label)) {
            Ok(()) => Ok(Change::Done),
            Err(Error::Refused { errno: Errno::EEXIST, .. }) => Ok(Change::AlreadySo),
            Err(error) => Err(error),
        }
    }

    /// `ip addrlabel del prefix ADDRESS label LABEL`.
    pub fn delete_address_label(&mut self, address: Ipv6Addr, label: u32) -> Result<Change, Error> {
        let doing = format!("remove the label of address {address}");
        let request = message(RTM_DELADDRLABEL, ACK, address, label);
        match self.change(&doing, &request) {
            Ok(()) => Ok(Change::Done),
            Err(Error::Refused { errno: Errno::ESRCH, .. }) => Ok(Change::AlreadySo),
            Err(error) => Err(error),
        }
    }
}

/// `struct ifaddrlblmsg` with its two attributes.
fn message(kind: u16, flags: u16, address: Ipv6Addr, label: u32) -> Message {
    let fixed = [IpFamily::V6.number(), 0, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    Message::new(kind, flags, &fixed).with_ip(IFAL_ADDRESS, IpAddr::V6(address)).with_u32(IFAL_LABEL, label)
}
