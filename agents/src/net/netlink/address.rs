//! IP addresses: listing, adding, removing, and what a removal would take with it.

use super::wire::{ACK, Attributes, CREATE, DUMP, Message, Received, ip, text, u32_at};
use super::{Change, Error, Link, Netlink, RouteFilter};
use nix::errno::Errno;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const FIXED: usize = 8;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const IFA_BROADCAST: u16 = 4;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
const IFA_RT_PRIORITY: u16 = 9;
const IFA_PROTO: u16 = 11;
/// Who made the prefix route of an address.
const RTPROT_KERNEL: u8 = 2;
/// Its metric when the address names none (`IP6_RT_PRIO_ADDRCONF`).
const PREFIX_ROUTE_METRIC: u32 = 256;

/// So many reads must agree that an address is not there.
///
/// QUIRK(linux 6.18): when an earlier address of the same interface is deleted during a dump of several datagrams,
/// a later one can be left out (or, when one is added, be listed twice), and the kernel does not always set `NLM_F_DUMP_INTR` (the generation number it
/// compares moves after the list has). Presence is never wrong; absence must not be believed the first time.
const ABSENCE_READS: u32 = 3;

/// A lifetime without end (seconds).
pub const FOREVER: u32 = u32::MAX;

/// `IFA_F_*` of `linux/if_addr.h`.
pub mod flag {
    /// IPv4: a secondary, deleted with its primary. IPv6: a temporary address.
    pub const SECONDARY: u32 = 0x01;
    /// No duplicate detection.
    pub const NODAD: u32 = 0x02;
    /// Duplicate detection found another owner.
    pub const DADFAILED: u32 = 0x08;
    /// Not preferred any more.
    pub const DEPRECATED: u32 = 0x20;
    /// Duplicate detection has not ended: the address is not usable.
    pub const TENTATIVE: u32 = 0x40;
    /// Without an end of life.
    pub const PERMANENT: u32 = 0x80;
    /// Brings no route to its prefix.
    pub const NOPREFIXROUTE: u32 = 0x200;
}

/// Which protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpFamily {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// `AF_INET` or `AF_INET6`.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }

    /// Bits of an address.
    pub fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

/// One address as the kernel holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The interface.
    pub ifindex: u32,
    /// The address of this end.
    pub local: IpAddr,
    /// The address of the other end, only on point-to-point addresses.
    pub peer: Option<IpAddr>,
    /// Prefix length in bits (of the peer, when there is one).
    pub prefixlen: u8,
    /// IPv4 broadcast address.
    pub broadcast: Option<Ipv4Addr>,
    /// IPv4 label: the interface's name, or `name:something`.
    pub label: Option<String>,
    /// `flag::*`.
    pub flags: u32,
    /// `scope::*` of the route module.
    pub scope: u8,
    /// Who set it (`IFA_PROTO`, Linux 5.18), 0 unknown.
    pub proto: u8,
    /// Metric of its prefix route.
    pub metric: Option<u32>,
    /// Seconds until it becomes deprecated, or `FOREVER`.
    pub preferred_lifetime: u32,
    /// Seconds until it is removed, or `FOREVER`.
    pub valid_lifetime: u32,
}

impl Address {
    /// Whether all of these `flag::*` are set.
    pub fn has(&self, flags: u32) -> bool {
        self.flags & flags == flags
    }

    fn parse(received: Received<'_>) -> Option<Self> {
        let payload = received.payload;
        let &[family, prefixlen, flags, scope, ..] = payload.get(..FIXED)? else { return None };
        if !matches!(received.kind, libc::RTM_NEWADDR | libc::RTM_DELADDR) {
            return None;
        }
        let (mut address, mut local) = (None, None);
        let mut found = Self {
            ifindex: u32_at(payload, 4)?,
            local: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            peer: None,
            prefixlen,
            broadcast: None,
            label: None,
            flags: u32::from(flags),
            scope,
            proto: 0,
            metric: None,
            preferred_lifetime: FOREVER,
            valid_lifetime: FOREVER,
        };
        for (kind, value) in Attributes::after(payload, FIXED) {
            match kind {
                IFA_ADDRESS => address = ip(value),
                IFA_LOCAL => local = ip(value),
                IFA_LABEL => found.label = Some(text(value)),
                IFA_BROADCAST => {
                    found.broadcast = <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from);
                }
                IFA_CACHEINFO => {
                    found.preferred_lifetime = u32_at(value, 0)?;
                    found.valid_lifetime = u32_at(value, 4)?;
                }
                IFA_FLAGS => found.flags = u32_at(value, 0)?,
                IFA_RT_PRIORITY => found.metric = u32_at(value, 0),
                IFA_PROTO => found.proto = value.first().copied().unwrap_or(0),
                _ => {}
            }
        }
        found.local = local.or(address)?;
        found.peer = address.filter(|peer| *peer != found.local);
        (IpFamily::of(found.local).number() == family).then_some(found)
    }

    /// Parses an address event or answer for exactly one address, cheaply passing over all others.
    ///
    /// A thousand addresses are read to find one: comparing the bytes first keeps that a matter of microseconds.
    pub(super) fn parse_if(received: Received<'_>, wanted: IpAddr) -> Option<Self> {
        let same = |value: &[u8]| match wanted {
            IpAddr::V4(wanted) => value == wanted.octets(),
            IpAddr::V6(wanted) => value == wanted.octets(),
        };
        Attributes::after(received.payload, FIXED)
            .take(2)
            .any(|(kind, value)| matches!(kind, IFA_ADDRESS | IFA_LOCAL) && same(value))
            .then(|| Self::parse(received))
            .flatten()
            .filter(|address| address.local == wanted)
    }
}

/// Where the broadcast address of a new IPv4 address comes from, as `ip addr add brd` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Broadcast {
    /// None is set.
    #[default]
    Unset,
    /// `+`: the host bits set. Nothing for prefixes longer than 30, like iproute2.
    HostBitsSet,
    /// `-`: the host bits clear. Nothing for prefixes longer than 30, like iproute2.
    HostBitsClear,
    /// This one.
    Given(Ipv4Addr),
}

impl Broadcast {
    /// The broadcast address for this address, if there is to be one.
    pub fn resolve(self, address: Ipv4Addr, prefixlen: u8) -> Option<Ipv4Addr> {
        let host = u32::MAX.checked_shr(u32::from(prefixlen)).unwrap_or(0);
        match self {
            Self::Given(broadcast) => Some(broadcast),
            Self::Unset => None,
            Self::HostBitsSet | Self::HostBitsClear if prefixlen > 30 => None,
            Self::HostBitsSet => Some(Ipv4Addr::from_bits(address.to_bits() | host)),
            Self::HostBitsClear => Some(Ipv4Addr::from_bits(address.to_bits() & !host)),
        }
    }
}

/// An address to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAddress {
    /// The interface.
    pub ifindex: u32,
    /// The address.
    pub address: IpAddr,
    /// Prefix length in bits.
    pub prefixlen: u8,
    /// IPv4 only.
    pub broadcast: Broadcast,
    /// IPv4 only: must begin with the interface's name, at most 15 bytes.
    pub label: Option<String>,
    /// No route to the prefix.
    pub noprefixroute: bool,
    /// IPv6 only: no duplicate detection.
    pub nodad: bool,
    /// IPv6 only: seconds until it is deprecated, 0 at once, `FOREVER` never. It stays valid forever.
    pub preferred_lifetime: u32,
    /// Metric of the prefix route.
    pub metric: Option<u32>,
}

impl NewAddress {
    /// An address with nothing special about it.
    pub fn new(ifindex: u32, address: IpAddr, prefixlen: u8) -> Self {
        Self {
            ifindex,
            address,
            prefixlen,
            broadcast: Broadcast::Unset,
            label: None,
            noprefixroute: false,
            nodad: false,
            preferred_lifetime: FOREVER,
            metric: None,
        }
    }

    fn message(&self) -> Message {
        let mut flags = 0;
        if self.noprefixroute {
            flags |= flag::NOPREFIXROUTE;
        }
        if self.nodad {
            flags |= flag::NODAD;
        }
        // iproute2's default: host scope for 127/8 alone; the kernel computes IPv6's itself
        let scope = match self.address {
            IpAddr::V4(ip) if ip.is_loopback() => super::scope::HOST,
            IpAddr::V4(_) | IpAddr::V6(_) => super::scope::UNIVERSE,
        };
        let family = IpFamily::of(self.address);
        // the kernel takes IFA_FLAGS over the header's 8 bits; old ones know the header only
        let low = flags.to_le_bytes()[0];
        let fixed = header(family, self.prefixlen, low, scope, self.ifindex);
        let mut message = Message::new(libc::RTM_NEWADDR, CREATE, &fixed)
            .with_ip(IFA_LOCAL, self.address)
            .with_ip(IFA_ADDRESS, self.address);
        if flags != 0 {
            message = message.with_u32(IFA_FLAGS, flags);
        }
        if let Some(metric) = self.metric {
            message = message.with_u32(IFA_RT_PRIORITY, metric);
        }
        match self.address {
            IpAddr::V4(ip) => {
                if let Some(broadcast) = self.broadcast.resolve(ip, self.prefixlen) {
                    message = message.with(IFA_BROADCAST, &broadcast.octets());
                }
                if let Some(label) = &self.label {
                    message = message.with_text(IFA_LABEL, label);
                }
            }
            IpAddr::V6(_) if self.preferred_lifetime != FOREVER => {
                let mut lifetimes = [0; 16];
                lifetimes[..4].copy_from_slice(&self.preferred_lifetime.to_ne_bytes());
                lifetimes[4..8].copy_from_slice(&FOREVER.to_ne_bytes());
                message = message.with(IFA_CACHEINFO, &lifetimes);
            }
            IpAddr::V6(_) => {}
        }
        message
    }
}

/// `struct ifaddrmsg`.
fn header(family: IpFamily, prefixlen: u8, flags: u8, scope: u8, ifindex: u32) -> [u8; FIXED] {
    let [a, b, c, d] = ifindex.to_ne_bytes();
    [family.number(), prefixlen, flags, scope, a, b, c, d]
}

impl Netlink {
    /// The addresses of one interface, or of all; of one family, or of both.
    ///
    /// While others delete addresses of the interface, one that stays can be missing from the list (see
    /// `ABSENCE_READS`): to learn whether an address is there use [`Self::find_address`].
    pub fn addresses(
        &mut self,
        ifindex: Option<u32>,
        family: Option<IpFamily>,
    ) -> Result<Vec<Address>, Error> {
        let mut all = Vec::new();
        // one dump per family: a strict kernel filters by interface only when the family is named
        for each in [IpFamily::V4, IpFamily::V6] {
            if family.is_none_or(|family| family == each) {
                all.append(&mut self.dump_addresses(ifindex, each, Address::parse)?);
            }
        }
        Ok(all)
    }

    /// Every place where exactly this address is: on one interface, or anywhere.
    ///
    /// IPv4 addresses cannot be asked for one by one (the kernel has no such request), so the interface's are
    /// dumped and compared as bytes; IPv6 is asked directly, because there the answer comes from a hash table.
    pub fn find_address(&mut self, address: IpAddr, ifindex: Option<u32>) -> Result<Vec<Address>, Error> {
        let family = IpFamily::of(address);
        let pick = |received: Received<'_>| Address::parse_if(received, address);
        if let (IpFamily::V6, Some(ifindex)) = (family, ifindex) {
            let request = Message::new(libc::RTM_GETADDR, 0, &header(family, 0, 0, 0, ifindex))
                .with_ip(IFA_ADDRESS, address);
            let absent = [Errno::EADDRNOTAVAIL, Errno::ENODEV];
            // an empty reply is malformed for the caller of `get`, but a peer address may answer: not ours
            let found = self.get(&format!("look up address {address}"), &request, &absent, |received| {
                Some(pick(received))
            })?;
            return Ok(found.flatten().filter(|found| found.ifindex == ifindex).into_iter().collect());
        }
        let mut found = Vec::new();
        for _ in 0..ABSENCE_READS {
            found = self.dump_addresses(ifindex, family, pick)?;
            if !found.is_empty() {
                break;
            }
        }
        Ok(found)
    }

    fn dump_addresses(
        &mut self,
        ifindex: Option<u32>,
        family: IpFamily,
        pick: impl Fn(Received<'_>) -> Option<Address>,
    ) -> Result<Vec<Address>, Error> {
        let fixed = header(family, 0, 0, 0, ifindex.unwrap_or(0));
        let request = Message::new(libc::RTM_GETADDR, DUMP, &fixed);
        let wanted = |address: &Address| {
            IpFamily::of(address.local) == family && ifindex.is_none_or(|ifindex| ifindex == address.ifindex)
        };
        let dumped = self.dump("list addresses", &request, |received| pick(received).filter(wanted));
        match dumped {
            Ok(mut list) => {
                // an address that moved back in the kernel's list during the dump is in it twice
                let mut seen = HashSet::new();
                list.retain(|each| seen.insert((each.ifindex, each.local, each.peer, each.prefixlen)));
                Ok(list)
            }
            // a strict kernel says so when the interface has gone
            Err(Error::Refused { errno: Errno::ENODEV, .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Adds an address. `AlreadySo` means the kernel has it already (IPv4: with this prefix; IPv6: with any): probe
    /// to learn whether it is as wanted.
    pub fn add_address(&mut self, new: &NewAddress) -> Result<Change, Error> {
        let doing = format!("add address {}/{}", new.address, new.prefixlen);
        match self.change(&doing, &new.message()) {
            Ok(()) => Ok(Change::Done),
            Err(Error::Refused { errno: Errno::EEXIST, .. }) => Ok(Change::AlreadySo),
            Err(error) => Err(error),
        }
    }

    /// Removes exactly this address: interface, address, peer, prefix length and, for IPv4, label.
    ///
    /// An IPv4 primary takes its secondaries along: ask `lost_with` first.
    pub fn delete_address(&mut self, address: &Address) -> Result<Change, Error> {
        let family = IpFamily::of(address.local);
        let fixed = header(family, address.prefixlen, 0, 0, address.ifindex);
        let mut request = Message::new(libc::RTM_DELADDR, ACK, &fixed)
            .with_ip(IFA_LOCAL, address.local)
            .with_ip(IFA_ADDRESS, address.peer.unwrap_or(address.local));
        if let Some(label) = &address.label {
            request = request.with_text(IFA_LABEL, label);
        }
        let doing = format!("delete address {}/{}", address.local, address.prefixlen);
        match self.change(&doing, &request) {
            Ok(()) => Ok(Change::Done),
            Err(Error::Refused { errno: Errno::EADDRNOTAVAIL | Errno::ENODEV, .. }) => Ok(Change::AlreadySo),
            Err(error) => Err(error),
        }
    }

    /// Adds an address again as it was, with what is left of its lifetimes.
    pub fn put_back_address(&mut self, address: &Address) -> Result<Change, Error> {
        let kept = address.flags & (flag::NODAD | flag::NOPREFIXROUTE);
        let family = IpFamily::of(address.local);
        let low = kept.to_le_bytes()[0];
        let fixed = header(family, address.prefixlen, low, address.scope, address.ifindex);
        let mut message = Message::new(libc::RTM_NEWADDR, CREATE, &fixed)
            .with_ip(IFA_LOCAL, address.local)
            .with_ip(IFA_ADDRESS, address.peer.unwrap_or(address.local))
            .with_u32(IFA_FLAGS, kept);
        if let Some(broadcast) = address.broadcast {
            message = message.with(IFA_BROADCAST, &broadcast.octets());
        }
        if let Some(label) = &address.label {
            message = message.with_text(IFA_LABEL, label);
        }
        if let Some(metric) = address.metric {
            message = message.with_u32(IFA_RT_PRIORITY, metric);
        }
        if address.proto != 0 {
            message = message.with(IFA_PROTO, &[address.proto]);
        }
        if address.valid_lifetime != FOREVER || address.preferred_lifetime != FOREVER {
            let mut lifetimes = [0; 16];
            lifetimes[..4].copy_from_slice(&address.preferred_lifetime.to_ne_bytes());
            lifetimes[4..8].copy_from_slice(&address.valid_lifetime.to_ne_bytes());
            message = message.with(IFA_CACHEINFO, &lifetimes);
        }
        let doing = format!("put back address {}/{}", address.local, address.prefixlen);
        match self.change(&doing, &message) {
            Ok(()) => Ok(Change::Done),
            Err(Error::Refused { errno: Errno::EEXIST, .. }) => Ok(Change::AlreadySo),
            Err(error) => Err(error),
        }
    }

    /// Removes the prefix route of an IPv6 address that has just been removed, if no other address needs it.
    ///
    /// The kernel does so itself only while no other address of the prefix is on the interface; it does not ask
    /// whether that one's route has the same metric (`check_cleanup_prefix_route`).
    pub fn remove_orphaned_route(&mut self, gone: &Address) -> Result<Change, Error> {
        let (IpAddr::V6(ip), Some(metric)) = (gone.local, gone.metric) else { return Ok(Change::AlreadySo) };
        if gone.has(flag::NOPREFIXROUTE) {
            return Ok(Change::AlreadySo);
        }
        let host = u128::MAX.checked_shr(u32::from(gone.prefixlen)).unwrap_or(0);
        let network = |ip: Ipv6Addr| ip.to_bits() & !host;
        let needs = |other: &Address| {
            let same = matches!(other.local, IpAddr::V6(other) if network(other) == network(ip));
            same && other.prefixlen == gone.prefixlen
                && other.metric.unwrap_or(PREFIX_ROUTE_METRIC) == metric
                && !other.has(flag::NOPREFIXROUTE)
        };
        if self.addresses(Some(gone.ifindex), Some(IpFamily::V6))?.iter().any(needs) {
            return Ok(Change::AlreadySo);
        }
        let filter = RouteFilter {
            family: IpFamily::V6,
            table: super::table::MAIN,
            ifindex: Some(gone.ifindex),
            protocol: Some(RTPROT_KERNEL),
        };
        let destination = IpAddr::V6(Ipv6Addr::from_bits(network(ip)));
        let orphan = self.routes(&filter)?.into_iter().find(|route| {
            route.destination == destination && route.prefixlen == gone.prefixlen && route.metric == metric
        });
        orphan.map_or(Ok(Change::AlreadySo), |route| self.delete_route(&route))
    }

    /// The other addresses that go when `address` is removed, in the kernel's order.
    ///
    /// IPv4 only: deleting a primary deletes the secondaries of its subnet, unless `promote_secondaries` is set for
    /// all interfaces or for `link` (networking/ip-sysctl).
    pub fn lost_with(&mut self, address: &Address, link: &Link) -> Result<Vec<Address>, Error> {
        if address.local.is_ipv6() || address.has(flag::SECONDARY) || promotes("all") || promotes(&link.name)
        {
            return Ok(Vec::new());
        }
        let all = self.addresses(Some(address.ifindex), Some(IpFamily::V4))?;
        Ok(all.into_iter().filter(|other| is_secondary_of(other, address)).collect())
    }
}

/// The kernel's own rule (`__inet_del_ifa`): same mask, same subnet, marked secondary.
fn is_secondary_of(other: &Address, primary: &Address) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(ip) => ip.to_bits(),
        IpAddr::V6(_) => 0,
    };
    let host = u32::MAX.checked_shr(u32::from(primary.prefixlen)).unwrap_or(0);
    let subnet = |address: &Address| bits(address.peer.unwrap_or(address.local)) & !host;
    other.has(flag::SECONDARY) && other.prefixlen == primary.prefixlen && subnet(other) == subnet(primary)
}

/// Netlink does not tell the value for `all`. `/proc/sys/net` is that of the reader's own network namespace, so no
/// remount is needed after setns(2).
fn promotes(interface: &str) -> bool {
    let path = format!("/proc/sys/net/ipv4/conf/{interface}/promote_secondaries");
    std::fs::read_to_string(path).is_ok_and(|value| !matches!(value.trim(), "0" | ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcast_follows_iproute2() {
        let ip = Ipv4Addr::new(10, 1, 2, 3);
        let plus = |prefix| Broadcast::HostBitsSet.resolve(ip, prefix);
        assert_eq!(plus(24), Some(Ipv4Addr::new(10, 1, 2, 255)));
        assert_eq!(plus(30), Some(Ipv4Addr::new(10, 1, 2, 3)));
        assert_eq!(plus(31), None);
        assert_eq!(plus(32), None);
        assert_eq!(Broadcast::HostBitsClear.resolve(ip, 16), Some(Ipv4Addr::new(10, 1, 0, 0)));
        assert_eq!(Broadcast::Unset.resolve(ip, 24), None);
        assert_eq!(Broadcast::Given(ip).resolve(ip, 32), Some(ip));
    }
}
