//! Where the address goes, where it is, and whether that is right.

use crate::IPaddr2;
use crate::params::BroadcastAddress;
use ocf_lib::resource::agent::State;
use ocf_lib::resource::code::Fault;
use ocf_lib::resource::context::Cx;
use ringfence_agents::net::netlink::{Address, Broadcast, Error, Link, Netlink, flag, protocol_number};
use ringfence_agents::net::netns;
use ringfence_agents::net::route_lookup::{self, Found, Wanted};
use std::net::IpAddr;

/// The longest label the kernel takes (`IFNAMSIZ` less its NUL).
const LONGEST_LABEL: usize = 15;

/// The address as it is on an interface.
pub struct Entry {
    pub address: Address,
    pub link: Link,
}

impl Entry {
    pub fn text(&self) -> String {
        format!("{}/{} on {}", self.address.local, self.address.prefixlen, self.link.name)
    }
}

/// A failure of the kernel interface as a fault of the action.
pub fn fault(error: &Error) -> Fault {
    match error.errno() {
        // EACCES is not about privileges: so answers an interface on which IPv6 is disabled.
        Some(nix::errno::Errno::EPERM) => Fault::perm(error.to_string()),
        _ => Fault::generic(error.to_string()),
    }
}

/// No place for the address: wrong here (the interface or route is missing) or wrong everywhere.
pub fn place_fault(error: &route_lookup::Error) -> Fault {
    use route_lookup::Error as E;
    match error {
        E::NoSuchInterface { .. } | E::NoRoute { .. } => Fault::installed(error.to_string()),
        E::PrefixLength { .. } | E::LinkLocalNeedsInterface { .. } => Fault::configured(error.to_string()),
        E::Kernel(kernel) => fault(kernel),
    }
}

/// Removes one entry, and adds again what the kernel drops with a primary address.
pub fn remove(kernel: &mut Netlink, entry: &Entry, cx: &Cx) -> Result<(), Fault> {
    let lost = kernel.lost_with(&entry.address, &entry.link).map_err(|e| fault(&e))?;
    kernel.delete_address(&entry.address).map_err(|e| fault(&e))?;
    let mut result = kernel.remove_orphaned_route(&entry.address).map(drop).map_err(|e| fault(&e));
    for other in lost {
        cx.warn(format!(
            "putting back {}/{}, which went with the primary address",
            other.local, other.prefixlen
        ));
        // One that does not come back must not keep the others away.
        let back = kernel.put_back_address(&other).map(drop).map_err(|e| fault(&e));
        result = result.and(back);
    }
    result
}

fn label_too_long(label: &str) -> String {
    format!("parameter iflabel: '{label}' is longer than {LONGEST_LABEL} characters")
}

/// A number of 8 bits, or a word.
fn may_be_protocol(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.parse::<u8>().is_ok() || text.chars().all(word) && !text.bytes().all(|b| b.is_ascii_digit())
}

impl IPaddr2 {
    /// What the configuration says of the place.
    pub fn wanted(&self) -> Result<Wanted<'_>, Fault> {
        let protocol = match self.params.proto.as_deref() {
            None => None,
            Some(name) => Some(protocol_number(name).ok_or_else(|| {
                Fault::args(format!("parameter proto: '{name}' is not a routing protocol on this host"))
            })?),
        };
        Ok(Wanted { address: self.ip, nic: self.nic.as_deref(), prefixlen: self.prefixlen, protocol })
    }

    /// Every entry that is this resource: the address on the wanted interface (without one: on any but the
    /// loopback, where a real server keeps its copy) with the wanted prefix.
    pub fn entries(&self, kernel: &mut Netlink) -> Result<Vec<Entry>, Fault> {
        let named = match &self.nic {
            None => None,
            Some(nic) => match kernel.link(nic).map_err(|e| fault(&e))? {
                Some(link) => Some(link),
                None => return Ok(Vec::new()),
            },
        };
        let found =
            kernel.find_address(self.ip, named.as_ref().map(|link| link.index)).map_err(|e| fault(&e))?;
        let mut entries = Vec::new();
        for address in found {
            let link = match &named {
                Some(link) => link.clone(),
                None => match kernel.link_by_index(address.ifindex).map_err(|e| fault(&e))? {
                    Some(link) => link,
                    // Gone since: and the address with it.
                    None => continue,
                },
            };
            if named.is_some() || self.may_be_on(&link) {
                entries.push(Entry { address, link });
            }
        }
        entries.retain(|entry| self.is_ours(&entry.address));
        Ok(entries)
    }

    fn may_be_on(&self, link: &Link) -> bool {
        let ipsec = link.name.strip_prefix("ipsec").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
        !ipsec && link.is_loopback() == self.ip.is_loopback()
    }

    /// IPv4 has one entry per prefix, so another prefix is another entry; IPv6 has one entry per address.
    fn is_ours(&self, address: &Address) -> bool {
        address.local.is_ipv6() || self.prefixlen.is_none_or(|length| length == address.prefixlen)
    }

    /// Whether an entry is as it should be.
    pub fn judge(&self, entry: &Entry) -> State {
        let Entry { address, link } = entry;
        if address.has(flag::DADFAILED) {
            return State::Failed(format!("{} is a duplicate address", entry.text()));
        }
        if let Some(length) = self.prefixlen.filter(|length| *length != address.prefixlen) {
            return State::Failed(format!("{} should have prefix length {length}", entry.text()));
        }
        if let Some(label) = self.full_label(link).filter(|label| address.label.as_ref() != Some(label)) {
            return State::Failed(format!("{} has not the label {label}", entry.text()));
        }
        if self.params.check_link_status && link.is_link_down() {
            return State::Unusable(format!("link of interface {} is down", link.name));
        }
        State::Running
    }

    /// `interface:label`; IPv6 addresses have none.
    pub fn full_label(&self, link: &Link) -> Option<String> {
        let label = self.label.as_deref().filter(|_| self.ip.is_ipv4())?;
        Some(format!("{}:{label}", link.name))
    }

    /// The label together with the name of the interface that was found.
    pub fn check_label(&self, link: &Link) -> Result<(), Fault> {
        match self.full_label(link) {
            Some(label) if label.len() > LONGEST_LABEL => Err(Fault::configured(label_too_long(&label))),
            Some(_) | None => Ok(()),
        }
    }

    /// The broadcast address to set: the given one, else that of the network's own address.
    pub fn broadcast(&self, place: &Found) -> Broadcast {
        match self.params.broadcast {
            Some(BroadcastAddress::Given(broadcast)) => Broadcast::Given(broadcast),
            Some(BroadcastAddress::Ones) => Broadcast::HostBitsSet,
            Some(BroadcastAddress::Zeros) => Broadcast::HostBitsClear,
            None => place.broadcast.map_or(Broadcast::Unset, Broadcast::Given),
        }
    }

    /// Contradictions between parameters: wrong on every node.
    pub fn check_parameters(&self, cx: &Cx) -> Result<(), Fault> {
        let wrong = |text: String| Err(Fault::configured(text));
        let clones = cx.clone_max();
        if clones.is_some_and(|max| max <= 0) {
            return wrong(format!("clone-max {} must be greater than 0", clones.unwrap_or_default()));
        }
        if let Some(nic) = self.params.nic.as_ref().filter(|_| self.nic.is_none()) {
            return wrong(format!("parameter nic: '{nic}' names no interface"));
        }
        // The names that a host knows beside the usual ones are looked up when it is its turn.
        if let Some(proto) = self.params.proto.as_ref().filter(|proto| !may_be_protocol(proto)) {
            return wrong(format!("parameter proto: '{proto}' is not a routing protocol"));
        }
        if let Some(name) = &self.params.network_namespace {
            netns::check(name)
                .map_err(|error| Fault::configured(format!("parameter network_namespace: {error}")))?;
        }
        let wanted = Wanted {
            address: self.ip,
            nic: self.nic.as_deref(),
            prefixlen: self.params.cidr_netmask.map(|prefix| prefix.length),
            protocol: None,
        };
        route_lookup::check(&wanted).map_err(|error| place_fault(&error))?;
        if self.params.cidr_netmask.is_some_and(|prefix| !prefix.fits(self.ip)) {
            return wrong("parameter cidr_netmask: a dotted mask does not go with an IPv6 address".into());
        }
        // The interface may be given by another name than the one in the label: here only what fits none.
        if let Some(label) = self.label.as_ref().filter(|_| self.ip.is_ipv4())
            && label.len() + "i:".len() > LONGEST_LABEL
        {
            return wrong(label_too_long(label));
        }
        if self.params.lvs_support {
            if self.ip.is_ipv6() {
                return wrong("parameter lvs_support: only for IPv4".into());
            }
            if self.sharing.is_some() {
                return wrong("parameter lvs_support: not for an address that clones share".into());
            }
        }
        if self.params.clusterip_mac_mangle && self.ip.is_ipv6() {
            return wrong("parameter clusterip_mac_mangle: only for IPv4".into());
        }
        if self.params.unique_clone_address {
            if cx.clone_max().is_some() && !cx.globally_unique() {
                return wrong(
                    "parameter unique_clone_address: needs the meta attribute globally-unique=true".into(),
                );
            }
            if let (IpAddr::V4(first), IpAddr::V4(last)) = (self.params.ip.0, self.ip) {
                if first.octets()[..3] != last.octets()[..3] {
                    return wrong(format!(
                        "parameter unique_clone_address: no room for this clone behind {first}"
                    ));
                }
            } else {
                return wrong("parameter unique_clone_address: only for IPv4".into());
            }
        }
        Ok(())
    }

    /// Names of set parameters that only older programs needed.
    pub fn ignored_parameters(&self) -> impl Iterator<Item = &'static str> {
        let hash = self.params.clusterip_hash;
        [
            self.params.arp_sender.is_some().then_some("arp_sender"),
            self.params.send_arp_opts.is_some().then_some("send_arp_opts"),
            (self.sharing.is_some() && !hash.is_default()).then_some("clusterip_hash"),
        ]
        .into_iter()
        .flatten()
    }
}
