//! Routes: the tables that the interface look-up reads, and the one host route that LVS needs moved.
//!
//! There is no flush of the route cache here: IPv4 has had none since Linux 3.6, and what is left of
//! `ip route flush cache` (a new generation of cached next hops) the kernel does itself on every address change.

use super::wire::{ACK, Attributes, CREATE, DUMP, Message, Received, ip, u16_at, u32_at};
use super::{Change, Error, IpFamily, Netlink};
use nix::errno::Errno;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const FIXED: usize = 12;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
/// An entry of the IPv6 route cache, which `ip route list` does not show either.
const RTM_F_CLONED: u32 = 0x200;

/// Routing table numbers (rtnetlink(7)).
pub mod table {
    /// `local`: what the kernel keeps for its own addresses.
    pub const LOCAL: u32 = 255;
    /// `main`.
    pub const MAIN: u32 = 254;
}

/// Scopes (rtnetlink(7)).
pub mod scope {
    /// `global`.
    pub const UNIVERSE: u8 = 0;
    /// `link`: directly attached.
    pub const LINK: u8 = 253;
    /// `host`: this machine.
    pub const HOST: u8 = 254;
}

/// What a route does with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteKind {
    /// Sends it.
    Unicast,
    /// Delivers it here.
    Local,
    /// Anything else: broadcast, anycast, multicast, blackhole, unreachable, prohibit, throw.
    Other(u8),
}

impl RouteKind {
    fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Unicast,
            2 => Self::Local,
            other => Self::Other(other),
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Unicast => 1,
            Self::Local => 2,
            Self::Other(number) => number,
        }
    }
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// First address of the destination; unspecified for a default route.
    pub destination: IpAddr,
    /// Prefix length in bits, 0 for a default route.
    pub prefixlen: u8,
    /// Table number.
    pub table: u32,
    /// Who set it (`RTPROT_*`).
    pub protocol: u8,
    /// `scope::*`; always global for IPv6.
    pub scope: u8,
    /// What it does.
    pub kind: RouteKind,
    /// The interfaces it leads to: several for a multipath route, none for unreachable ones.
    pub oifs: Vec<u32>,
    /// Metric, 0 when none is set.
    pub metric: u32,
    /// Preferred source address.
    pub prefsrc: Option<IpAddr>,
    /// Through another machine.
    pub gateway: bool,
}

impl Route {
    fn parse(received: Received<'_>) -> Option<Self> {
        let payload = received.payload;
        let &[family, prefixlen, _, _, table, protocol, scope, kind, ..] = payload.get(..FIXED)? else {
            return None;
        };
        if received.kind != libc::RTM_NEWROUTE || u32_at(payload, 8)? & RTM_F_CLONED != 0 {
            return None;
        }
        let any = match i32::from(family) {
            libc::AF_INET => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            libc::AF_INET6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            _ => return None,
        };
        let mut route = Self {
            destination: any,
            prefixlen,
            table: u32::from(table),
            protocol,
            scope,
            kind: RouteKind::from_number(kind),
            oifs: Vec::new(),
            metric: 0,
            prefsrc: None,
            gateway: false,
        };
        for (kind, value) in Attributes::after(payload, FIXED) {
            match kind {
                RTA_DST => route.destination = ip(value)?,
                RTA_OIF => route.oifs = vec![u32_at(value, 0)?],
                RTA_GATEWAY | RTA_VIA => route.gateway = true,
                RTA_PRIORITY => route.metric = u32_at(value, 0)?,
                RTA_PREFSRC => route.prefsrc = ip(value),
                RTA_MULTIPATH => route.oifs = multipath(value),
                RTA_TABLE => route.table = u32_at(value, 0)?,
                _ => {}
            }
        }
        Some(route)
    }

    fn message(&self, kind: u16, flags: u16) -> Message {
        let family = IpFamily::of(self.destination).number();
        let table = u8::try_from(self.table).unwrap_or(libc::RT_TABLE_UNSPEC);
        let mut fixed = [0; FIXED];
        fixed[..8].copy_from_slice(&[
            family,
            self.prefixlen,
            0,
            0,
            table,
            self.protocol,
            self.scope,
            self.kind.number(),
        ]);
        let mut message = Message::new(kind, flags, &fixed)
            .with_ip(RTA_DST, self.destination)
            .with_u32(RTA_TABLE, self.table);
        if let Some(oif) = self.oifs.first() {
            message = message.with_u32(RTA_OIF, *oif);
        }
        if self.metric != 0 {
            message = message.with_u32(RTA_PRIORITY, self.metric);
        }
        if let Some(source) = self.prefsrc {
            message = message.with_ip(RTA_PREFSRC, source);
        }
        message
    }
}

/// The interfaces of the `struct rtnexthop` list.
fn multipath(mut bytes: &[u8]) -> Vec<u32> {
    let mut oifs = Vec::new();
    while let (Some(length), Some(oif)) = (u16_at(bytes, 0), u32_at(bytes, 4)) {
        oifs.push(oif);
        if length < 8 {
            break;
        }
        bytes = bytes.get(usize::from(length).next_multiple_of(4)..).unwrap_or(&[]);
    }
    oifs
}

/// Which routes to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteFilter {
    /// The family.
    pub family: IpFamily,
    /// `table::*`.
    pub table: u32,
    /// Only routes to this interface.
    pub ifindex: Option<u32>,
    /// Only routes set by this one (`RTPROT_*`).
    pub protocol: Option<u8>,
}

impl Netlink {
    /// Lists routes, filtered in the kernel where it can (Linux 4.20) and here in any case.
    pub fn routes(&mut self, filter: &RouteFilter) -> Result<Vec<Route>, Error> {
        let mut fixed = [0; FIXED];
        fixed[0] = filter.family.number();
        fixed[5] = filter.protocol.unwrap_or(0);
        let mut request = Message::new(libc::RTM_GETROUTE, DUMP, &fixed).with_u32(RTA_TABLE, filter.table);
        if let Some(ifindex) = filter.ifindex {
            request = request.with_u32(RTA_OIF, ifindex);
        }
        let wanted = |route: &Route| {
            IpFamily::of(route.destination) == filter.family
                && route.table == filter.table
                && filter.ifindex.is_none_or(|ifindex| route.oifs.contains(&ifindex))
                && filter.protocol.is_none_or(|protocol| route.protocol == protocol)
        };
        let dumped = self.dump("list routes", &request, |received| Route::parse(received).filter(wanted));
        match dumped {
            // strict kernels answer so for a table without any route, or an interface that has gone
            Err(Error::Refused { errno: Errno::ENOENT | Errno::ENODEV, .. }) => Ok(Vec::new()),
            other => other,
        }
    }

    /// Adds a route (no gateway: device routes only).
    pub fn add_route(&mut self, route: &Route) -> Result<Change, Error> {
        let doing = format!("add route {}/{}", route.destination, route.prefixlen);
        match self.change(&doing, &route.message(libc::RTM_NEWROUTE, CREATE)) {
            Ok(()) => Ok(Change::Done),
            Err(Error::Refused { errno: Errno::EEXIST, .. }) => Ok(Change::AlreadySo),
            Err(error) => Err(error),
        }
    }

    /// Removes a route.
    pub fn delete_route(&mut self, route: &Route) -> Result<Change, Error> {
        let doing = format!("delete route {}/{}", route.destination, route.prefixlen);
        match self.change(&doing, &route.message(libc::RTM_DELROUTE, ACK)) {
            Ok(()) => Ok(Change::Done),
            Err(Error::Refused { errno: Errno::ESRCH, .. }) => Ok(Change::AlreadySo),
            Err(error) => Err(error),
        }
    }
}

/// Protocol names of `/etc/iproute2/rt_protos`, as `ip route list proto NAME` takes them: a name or a number.
pub fn protocol_number(name: &str) -> Option<u8> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    if let Some((_, number)) = PROTOCOLS.iter().find(|(known, _)| *known == name) {
        return Some(*number);
    }
    ["/etc/iproute2/rt_protos", "/usr/share/iproute2/rt_protos", "/usr/lib/iproute2/rt_protos"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .find_map(|file| protocol_in(&file, name))
}

/// The protocols every kernel and iproute2 know (linux/rtnetlink.h).
const PROTOCOLS: &[(&str, u8)] = &[
    ("unspec", 0),
    ("redirect", 1),
    ("kernel", 2),
    ("boot", 3),
    ("static", 4),
    ("ra", 9),
    ("zebra", 11),
    ("bird", 12),
    ("dhcp", 16),
    ("keepalived", 18),
    ("bgp", 186),
    ("ospf", 188),
];

fn protocol_in(file: &str, name: &str) -> Option<u8> {
    file.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split_whitespace().collect::<Vec<_>>().try_into().ok())
        .find(|[_, known]: &[&str; 2]| *known == name)
        .and_then(|[number, _]| number.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_by_name_number_and_file() {
        assert_eq!(protocol_number("kernel"), Some(2));
        assert_eq!(protocol_number("186"), Some(186));
        assert_eq!(protocol_number("no such protocol"), None);
        assert_eq!(protocol_number("256"), None);
        assert_eq!(protocol_in("# 7 x\n\n77  ours\n78 y z\n", "ours"), Some(77));
        assert_eq!(protocol_in("# 7 x\n", "x"), None);
    }

    #[test]
    fn all_legs_of_a_multipath_route() {
        let mut bytes = vec![16, 0, 0, 0, 3, 0, 0, 0];
        bytes.extend([8, 0, 5, 0, 10, 0, 0, 1]);
        bytes.extend([8, 0, 0, 0, 4, 0, 0, 0]);
        assert_eq!(multipath(&bytes), [3, 4]);
        assert_eq!(multipath(&[0, 0, 0, 0, 9, 0, 0, 0, 1]), [9]);
    }
}
