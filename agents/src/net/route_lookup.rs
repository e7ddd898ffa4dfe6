//! Which interface, prefix length and broadcast address an address gets when the configuration leaves them out.
//!
//! The rule: of the directly attached routes that cover the address take the longest prefix, then the lowest metric,
//! then the lowest interface number. The last tie-break is ours: upstream takes whichever the kernel lists first.
//! [`choose`] is that rule on plain data; [`find`] reads the data from the kernel.

use crate::net::netlink::{
    Address, Error as NetlinkError, IpFamily, Link, Netlink, Route, RouteFilter, RouteKind, scope, table,
};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The address.
    pub address: IpAddr,
    /// Interface, by name or alternative name.
    pub nic: Option<&'a str>,
    /// Prefix length in bits.
    pub prefixlen: Option<u8>,
    /// Only routes set by this one (`RTPROT_*`, see `netlink::protocol_number`).
    pub protocol: Option<u8>,
}

/// Where the address goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The interface.
    pub link: Link,
    /// Prefix length in bits: the one asked for, else the route's.
    pub prefixlen: u8,
    /// IPv4: broadcast address of the address that the route names as its source.
    pub broadcast: Option<Ipv4Addr>,
    /// IPv6: the route's metric.
    pub metric: Option<u32>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The interface that is named does not exist here.
    NoSuchInterface {
        /// Its name.
        nic: String,
    },
    /// Neither interface nor prefix length can be derived: no directly attached network covers the address.
    NoRoute {
        /// The address.
        address: IpAddr,
        /// The prefix length that was given.
        prefixlen: Option<u8>,
        /// The interface that was given.
        nic: Option<String>,
    },
    /// Wrong wherever it is tried: the prefix length does not exist in this family.
    PrefixLength {
        /// The address.
        address: IpAddr,
        /// What was given.
        prefixlen: u8,
    },
    /// An IPv6 link-local address without an interface means nothing.
    LinkLocalNeedsInterface {
        /// The address.
        address: IpAddr,
    },
    /// The kernel could not be asked.
    Kernel(NetlinkError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchInterface { nic } => write!(f, "no interface '{nic}' on this host"),
            Self::NoRoute { address, prefixlen, nic } => {
                write!(f, "no directly attached network covers {address}")?;
                if let Some(prefixlen) = prefixlen {
                    write!(f, "/{prefixlen}")?;
                }
                match nic {
                    Some(nic) => write!(f, " on interface '{nic}': set cidr_netmask"),
                    None => f.write_str(": set nic and cidr_netmask"),
                }
            }
            Self::PrefixLength { address, prefixlen } => {
                let bits = IpFamily::of(*address).bits();
                write!(f, "prefix length {prefixlen} of {address} is not between 1 and {bits}")
            }
            Self::LinkLocalNeedsInterface { address } => {
                write!(f, "link-local address {address} needs an interface: set nic")
            }
            Self::Kernel(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<NetlinkError> for Error {
    fn from(error: NetlinkError) -> Self {
        Self::Kernel(error)
    }
}

/// The best route and its interface, by the rule of this module. Routes of any kind may be in the list.
///
/// `ifindex` restricts to one interface. Of a multipath route the lowest interface counts.
pub fn choose(
    routes: &[Route],
    address: IpAddr,
    prefixlen: Option<u8>,
    ifindex: Option<u32>,
) -> Option<(&Route, u32)> {
    let longest = prefixlen.unwrap_or(IpFamily::of(address).bits());
    routes
        .iter()
        .filter(|route| attached(route) && route.prefixlen <= longest && covers(route, address))
        .filter_map(|route| {
            let oifs = route.oifs.iter().copied();
            let oif = oifs.filter(|oif| ifindex.is_none_or(|wanted| wanted == *oif)).min()?;
            Some((route, oif))
        })
        .min_by_key(|(route, oif)| (u8::MAX - route.prefixlen, route.metric, *oif))
}

/// A route that can say where an address belongs: not the default, nothing that only drops, and for IPv4 nothing
/// beyond a gateway (that is what link scope means; host scope is the loopback's in table local).
fn attached(route: &Route) -> bool {
    let kind = match (route.kind, route.table) {
        (RouteKind::Unicast, _) => true,
        (RouteKind::Local, table) => table == table::LOCAL,
        (RouteKind::Other(_), _) => false,
    };
    let near = match (route.destination, route.table) {
        (IpAddr::V4(_), table::LOCAL) => route.scope == scope::HOST,
        (IpAddr::V4(_), _) => route.scope == scope::LINK,
        (IpAddr::V6(_), _) => true,
    };
    kind && near && route.prefixlen > 0
}

fn covers(route: &Route, address: IpAddr) -> bool {
    let length = u32::from(route.prefixlen);
    match (route.destination, address) {
        (IpAddr::V4(net), IpAddr::V4(ip)) => {
            let host = u32::MAX.checked_shr(length).unwrap_or(0);
            (net.to_bits() ^ ip.to_bits()) & !host == 0
        }
        (IpAddr::V6(net), IpAddr::V6(ip)) => {
            let host = u128::MAX.checked_shr(length).unwrap_or(0);
            (net.to_bits() ^ ip.to_bits()) & !host == 0
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

/// The broadcast address that goes with the source address a route names.
pub fn broadcast_of(addresses: &[Address], source: IpAddr) -> Option<Ipv4Addr> {
    addresses.iter().find(|address| address.local == source)?.broadcast
}

/// Checks of the values alone, the same on every host.
pub fn check(wanted: &Wanted<'_>) -> Result<(), Error> {
    let address = wanted.address;
    if let Some(prefixlen) = wanted.prefixlen
        && !(1..=IpFamily::of(address).bits()).contains(&prefixlen)
    {
        return Err(Error::PrefixLength { address, prefixlen });
    }
    match address {
        IpAddr::V6(ip) if ip.is_unicast_link_local() && wanted.nic.is_none() => {
            Err(Error::LinkLocalNeedsInterface { address })
        }
        IpAddr::V4(_) | IpAddr::V6(_) => Ok(()),
    }
}

/// Looks up in the kernel where the address goes.
///
/// With interface and prefix length given no route is needed, so that an address can be set on an interface that has
/// none yet; a route is still looked at for broadcast address and metric.
pub fn find(netlink: &mut Netlink, wanted: &Wanted<'_>) -> Result<Found, Error> {
    check(wanted)?;
    let address = wanted.address;
    let family = IpFamily::of(address);
    let named = match wanted.nic {
        None => None,
        Some(nic) => Some(netlink.link(nic)?.ok_or_else(|| Error::NoSuchInterface { nic: nic.to_owned() })?),
    };
    let ifindex = named.as_ref().map(|link| link.index);
    let list = |netlink: &mut Netlink, table| {
        netlink.routes(&RouteFilter { family, table, ifindex, protocol: wanted.protocol })
    };
    let mut routes = list(netlink, table::MAIN)?;
    if choose(&routes, address, wanted.prefixlen, ifindex).is_none() {
        // a table that changes while it is read can lack an entry: absence is believed the second time
        routes = list(netlink, table::MAIN)?;
    }
    let loopback = matches!(address, IpAddr::V4(ip) if ip.is_loopback());
    if loopback && choose(&routes, address, wanted.prefixlen, ifindex).is_none() {
        routes = list(netlink, table::LOCAL)?;
    }
    let best = choose(&routes, address, wanted.prefixlen, ifindex);
    let no_route =
        || Error::NoRoute { address, prefixlen: wanted.prefixlen, nic: wanted.nic.map(str::to_owned) };
    let (link, prefixlen) = match (named, wanted.prefixlen, best) {
        (Some(link), Some(prefixlen), _) => (link, prefixlen),
        (Some(link), None, Some((route, _))) => (link, route.prefixlen),
        (None, prefixlen, Some((route, oif))) => {
            let link = netlink.link_by_index(oif)?.ok_or_else(no_route)?;
            (link, prefixlen.unwrap_or(route.prefixlen))
        }
        (_, _, None) => return Err(no_route()),
    };
    let source = best.and_then(|(route, _)| route.prefsrc).filter(IpAddr::is_ipv4);
    let broadcast = match source {
        Some(source) => {
            let found = netlink.find_address(source, Some(link.index))?;
            broadcast_of(&found, source)
        }
        None => None,
    };
    let metric = match family {
        IpFamily::V4 => None,
        IpFamily::V6 => best.map(|(route, _)| route.metric).filter(|metric| *metric != 0),
    };
    Ok(Found { link, prefixlen, broadcast, metric })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(text: &str, oif: u32, metric: u32) -> Route {
        let (net, prefixlen) = text.split_once('/').unwrap();
        let destination: IpAddr = net.parse().unwrap();
        Route {
            destination,
            prefixlen: prefixlen.parse().unwrap(),
            table: table::MAIN,
            protocol: 2,
            scope: if destination.is_ipv4() { scope::LINK } else { scope::UNIVERSE },
            kind: RouteKind::Unicast,
            oifs: vec![oif],
            metric,
            prefsrc: None,
            gateway: false,
        }
    }

    fn best(routes: &[Route], address: &str, mask: Option<u8>, nic: Option<u32>) -> Option<(u8, u32)> {
        let found = choose(routes, address.parse().unwrap(), mask, nic);
        found.map(|(route, oif)| (route.prefixlen, oif))
    }

    #[test]
    fn longest_prefix_then_metric_then_interface() {
        let routes = [
            route("10.0.0.0/8", 1, 0),
            route("10.1.0.0/16", 5, 200),
            route("10.1.0.0/16", 4, 100),
            route("10.1.0.0/16", 3, 100),
            route("10.1.0.0/24", 9, 0),
        ];
        assert_eq!(best(&routes, "10.1.1.1", None, None), Some((16, 3)));
        assert_eq!(best(&routes, "10.1.0.1", None, None), Some((24, 9)));
        assert_eq!(best(&routes, "10.1.0.1", Some(16), None), Some((16, 3)));
        assert_eq!(best(&routes, "10.1.0.1", Some(12), None), Some((8, 1)));
        assert_eq!(best(&routes, "10.1.0.1", Some(4), None), None);
        assert_eq!(best(&routes, "10.1.0.1", None, Some(5)), Some((16, 5)));
        assert_eq!(best(&routes, "11.0.0.1", None, None), None);
        let mut backwards = routes.clone();
        backwards.reverse();
        assert_eq!(best(&backwards, "10.1.1.1", None, None), Some((16, 3)), "order must not matter");
    }

    #[test]
    fn routes_that_lead_nowhere_do_not_count() {
        for kind in [6, 7, 8] {
            let mut dropped = route("10.0.0.0/24", 2, 0);
            dropped.kind = RouteKind::Other(kind);
            assert_eq!(best(&[dropped], "10.0.0.1", None, None), None);
        }
        assert_eq!(best(&[route("0.0.0.0/0", 2, 0)], "10.0.0.1", None, None), None);
        assert_eq!(best(&[route("::/0", 2, 0)], "fd00::1", None, None), None);
        let mut far = route("10.0.0.0/24", 2, 0);
        far.scope = scope::UNIVERSE;
        assert_eq!(best(&[far], "10.0.0.1", None, None), None);
    }

    #[test]
    fn host_routes_and_families() {
        let routes = [route("10.0.0.7/32", 2, 0), route("fd00::7/128", 3, 0), route("fd00::/64", 4, 1024)];
        assert_eq!(best(&routes, "10.0.0.7", None, None), Some((32, 2)));
        assert_eq!(best(&routes, "10.0.0.7", Some(24), None), None);
        assert_eq!(best(&routes, "fd00::7", None, None), Some((128, 3)));
        assert_eq!(best(&routes, "fd00::8", Some(128), None), Some((64, 4)));
    }

    #[test]
    fn the_loopback_is_found_in_table_local() {
        let mut local = route("127.0.0.0/8", 1, 0);
        (local.table, local.scope, local.kind) = (table::LOCAL, scope::HOST, RouteKind::Local);
        assert_eq!(best(&[local.clone()], "127.0.0.5", None, None), Some((8, 1)));
        local.table = table::MAIN;
        assert_eq!(best(&[local], "127.0.0.5", None, None), None);
    }

    #[test]
    fn a_multipath_route_counts_on_each_leg() {
        let mut legs = route("10.0.0.0/24", 7, 0);
        legs.oifs = vec![7, 3];
        assert_eq!(best(std::slice::from_ref(&legs), "10.0.0.1", None, None), Some((24, 3)));
        assert_eq!(best(&[legs], "10.0.0.1", None, Some(7)), Some((24, 7)));
    }

    #[test]
    fn malformed_values_are_told_apart() {
        let wanted = |address: &str, prefixlen, nic| {
            check(&Wanted { address: address.parse().unwrap(), nic, prefixlen, protocol: None })
        };
        assert!(matches!(wanted("10.0.0.1", Some(33), None), Err(Error::PrefixLength { .. })));
        assert!(matches!(wanted("10.0.0.1", Some(0), None), Err(Error::PrefixLength { .. })));
        assert!(matches!(wanted("fd00::1", Some(129), None), Err(Error::PrefixLength { .. })));
        assert!(matches!(wanted("fe80::1", None, None), Err(Error::LinkLocalNeedsInterface { .. })));
        assert_eq!(wanted("fe80::1", None, Some("eth0")), Ok(()));
        assert_eq!(wanted("fd00::1", Some(128), None), Ok(()));
    }
}
