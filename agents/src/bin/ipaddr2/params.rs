//! The parameters of `IPaddr2`: names, defaults and aliases of `ocf:heartbeat:IPaddr2` (4.12 and later).

use ocf_lib::resource::param::{Content, FromParam, param};
use std::net::{IpAddr, Ipv4Addr};

ocf_lib::params! {
    #[allow(clippy::struct_excessive_bools, reason = "upstream's parameters")]
    pub struct Params {
        pub ip: Service => param("ip").required().unique("address")
            .short("IPv4 or IPv6 address")
            .long("The address of the service, for example 192.0.2.10 or 2001:db8::10."),
        pub nic: Option<String> => param("nic")
            .short("Network interface")
            .long(
                "The interface (name or alternative name) that gets the address. Without it, the interface is \
                 the one whose route covers the address: the longest prefix, then the lowest metric, then the \
                 lowest interface index. The form nic:label sets a label too.",
            ),
        pub cidr_netmask: Option<Prefix> => param("cidr_netmask").aliases(&["netmask"])
            .short("Prefix length")
            .long(
                "Prefix length, for example 24. Without it, that of the route that covers the address. A dotted \
                 mask such as 255.255.255.0 is understood for IPv4.",
            )
            .default(""),
        pub broadcast: Option<BroadcastAddress> => param("broadcast")
            .short("Broadcast address")
            .long("IPv4 broadcast address; + sets the host bits to ones, - to zeros. Without it, the one of the interface's own address.")
            .default(""),
        pub proto: Option<String> => param("proto")
            .short("Protocol of the routes to look at")
            .long("Only routes of this origin, for example kernel or static, take part in finding interface and prefix.")
            .default(""),
        pub metric: Option<u32> => param("metric")
            .short("Metric of the prefix route")
            .long("Priority of the route that the kernel adds with the address. Without it, for IPv6 that of the route found."),
        pub iflabel: Option<String> => param("iflabel")
            .short("Interface label")
            .long("Label for the IPv4 address, shown as nic:label; with the interface name at most 15 characters.")
            .default(""),
        pub lvs_support: bool => param("lvs_support")
            .short("Direct routing behind LVS")
            .long(
                "The node is also a real server behind an LVS director: while it holds the address, the copy of the \
                 address on the loopback interface is taken away, and put back at stop. IPv4 only.",
            )
            .default("false"),
        pub lvs_ipv6_addrlabel: bool => param("lvs_ipv6_addrlabel")
            .short("Label the IPv6 address for source selection")
            .long("Adds an address label (RFC 6724) to an IPv6 address, so that it is not chosen as a source address.")
            .default("true"),
        pub lvs_ipv6_addrlabel_value: u32 => param("lvs_ipv6_addrlabel_value")
            .short("Value of the IPv6 address label")
            .long("The value of the label; only addresses with equal labels prefer each other.")
            .default("99"),
        pub mac: Option<Mac> => param("mac")
            .short("Multicast MAC address of a cluster IP")
            .long("With several clones sharing the address: the link layer multicast address they answer with. Its first octet is odd.")
            .default(""),
        pub clusterip_hash: ClusterHash => param("clusterip_hash").deprecated()
            .short("Hash of the former CLUSTERIP target")
            .long("Accepted for configurations made for kernels before 6.x. The share of a node is chosen by the source address.")
            .default("sourceip-sourceport"),
        pub clusterip_firewall: Firewall => param("clusterip_firewall")
            .short("Packet filter of a cluster IP")
            .long("nft, iptables, or auto: nft where it is installed.")
            .default("auto"),
        pub clusterip_hash_seed: Option<Seed> => param("clusterip_hash_seed")
            .short("Seed of the hash of a cluster IP")
            .long("A number, decimal or 0x hexadecimal; equal on all nodes. Without it, derived from the address.")
            .default(""),
        pub clusterip_table: String => param("clusterip_table")
            .short("iptables table of a cluster IP")
            .long("Used with iptables only.")
            .default("mangle"),
        pub clusterip_chain: String => param("clusterip_chain")
            .short("iptables chain of a cluster IP")
            .long("Used with iptables only.")
            .default("PREROUTING"),
        pub clusterip_mac_mangle: bool => param("clusterip_mac_mangle")
            .short("Rewrite the MAC address in outgoing ARP")
            .long("Makes ARP answers carry the multicast address of the cluster IP. IPv4 only.")
            .default("false"),
        pub unique_clone_address: bool => param("unique_clone_address")
            .short("An address of its own for each clone")
            .long("Adds the number of the clone instance to the address. IPv4 only; needs the meta attribute globally-unique.")
            .default("false"),
        pub arp_interval: std::num::NonZeroU32 => param("arp_interval").reloadable()
            .short("Pause between announcements, milliseconds")
            .long("Time between two gratuitous ARP or neighbour advertisement packets.")
            .default("200"),
        pub arp_count: std::num::NonZeroU32 => param("arp_count").reloadable()
            .short("Number of announcements")
            .long("How often the address is announced after it has been added.")
            .default("5"),
        pub arp_count_refresh: u32 => param("arp_count_refresh").reloadable()
            .short("Announcements in each monitor")
            .long("How often the address is announced in each recurring monitor, for switches that forget.")
            .default("0"),
        pub arp_bg: Option<bool> => param("arp_bg").reloadable()
            .short("Announce in the background")
            .long(
                "Whether start returns after the first announcement and leaves the others to a background \
                 process. That is the default.",
            )
            .default(""),
        pub arp_sender: Option<ArpSender> => param("arp_sender").deprecated()
            .short("Program that announces the address")
            .long(
                "Accepted for older configurations: send_arp, ipoibarping, iputils_arping or libnet_arping. The \
                 agent sends the packets itself, on ethernet and infiniband.",
            )
            .default(""),
        pub send_arp_opts: Option<String> => param("send_arp_opts").deprecated()
            .short("Options for the announcing program")
            .long("Accepted for older configurations, without effect: no program is run.")
            .default(""),
        pub flush_routes: bool => param("flush_routes").reloadable()
            .short("Flush the routing cache at stop")
            .long("For kernels before 3.6, which had one. Without effect on newer kernels for IPv4.")
            .default("false"),
        pub run_arping: bool => param("run_arping").reloadable()
            .short("Look for a duplicate before start")
            .long("IPv4: asks the network for the address (RFC 5227) before it is added; start fails if a host answers.")
            .default("false"),
        pub nodad: bool => param("nodad")
            .short("No duplicate detection by the kernel")
            .long("IPv6: the address is used at once, without duplicate address detection.")
            .default("false"),
        pub noprefixroute: bool => param("noprefixroute")
            .short("No route for the prefix")
            .long("The kernel does not add the route for the prefix of the address.")
            .default("false"),
        pub preferred_lft: PreferredLifetime => param("preferred_lft")
            .short("Preferred lifetime, seconds")
            .long("IPv6: how long the address is preferred as a source address: seconds, or forever. 0: never.")
            .default("forever"),
        pub network_namespace: Option<String> => param("network_namespace")
            .short("Network namespace")
            .long("Name of the network namespace, as of ip-netns(8), that the address belongs in.")
            .default(""),
        pub check_link_status: bool => param("check_link_status").reloadable()
            .short("Monitor the link too")
            .long("An address on an interface whose link is down counts as not running.")
            .default("true"),
    }
}

/// The service's address. Multicast and unspecified addresses are nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service(pub IpAddr);

impl FromParam for Service {
    const CONTENT: Content = Content::String;

    fn from_param(text: &str) -> Result<Self, String> {
        let ip: IpAddr = text.parse().map_err(|_| format!("'{text}' is not an IPv4 or IPv6 address"))?;
        let usable = match ip {
            IpAddr::V4(v4) => v4.octets()[0] != 0 && !v4.is_multicast() && !v4.is_broadcast(),
            IpAddr::V6(v6) => !v6.is_multicast() && !v6.is_unspecified(),
        };
        if usable { Ok(Self(ip)) } else { Err(format!("'{text}' is not the address of a host")) }
    }
}

/// A prefix length; whether the family allows it is checked beside the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    pub length: u8,
    /// Written as a dotted mask: IPv4 only.
    pub dotted: bool,
}

impl Prefix {
    /// Whether an address of this family can have it.
    pub fn fits(self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(_) => self.length <= 32,
            IpAddr::V6(_) => !self.dotted,
        }
    }
}

impl FromParam for Prefix {
    const CONTENT: Content = Content::String;

    fn from_param(text: &str) -> Result<Self, String> {
        let refused = || format!("'{text}' is not a prefix length");
        if let Ok(mask) = text.parse::<Ipv4Addr>() {
            let bits = u32::from(mask);
            let length = bits.leading_ones();
            if length == 0 || bits.count_ones() != length {
                return Err(refused());
            }
            return Ok(Self { length: u8::try_from(length).map_err(|_| refused())?, dotted: true });
        }
        match text.parse() {
            Ok(length @ 1..=128) => Ok(Self { length, dotted: false }),
            Ok(_) | Err(_) => Err(refused()),
        }
    }
}

/// An IPv4 broadcast address, or how to make it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BroadcastAddress {
    Given(Ipv4Addr),
    /// `+`: host bits set to ones.
    Ones,
    /// `-`: host bits set to zeros.
    Zeros,
}

impl FromParam for BroadcastAddress {
    const CONTENT: Content = Content::String;

    fn from_param(text: &str) -> Result<Self, String> {
        match text {
            "+" => Ok(Self::Ones),
            "-" => Ok(Self::Zeros),
            _ => {
                text.parse().map(Self::Given).map_err(|_| format!("'{text}' is not an IPv4 address, + or -"))
            }
        }
    }
}

/// A link layer multicast address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl FromParam for Mac {
    const CONTENT: Content = Content::String;

    fn from_param(text: &str) -> Result<Self, String> {
        let refused = || format!("'{text}' is not a MAC address");
        let mut octets = [0u8; 6];
        let mut parts = text.split([':', '-']);
        for octet in &mut octets {
            let part = parts.next().filter(|p| matches!(p.len(), 1 | 2)).ok_or_else(refused)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| refused())?;
        }
        if parts.next().is_some() {
            return Err(refused());
        }
        if octets[0] & 1 == 0 {
            return Err(format!("'{text}' is not a multicast address: its first octet must be odd"));
        }
        Ok(Self(octets))
    }
}

/// Values of the former CLUSTERIP target; see the parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterHash {
    Address,
    AddressAndPort,
    AddressAndPorts,
}

impl ClusterHash {
    pub fn is_default(self) -> bool {
        self == Self::AddressAndPort
    }
}

impl FromParam for ClusterHash {
    const CONTENT: Content = Content::String;

    fn from_param(text: &str) -> Result<Self, String> {
        match text {
            "sourceip" => Ok(Self::Address),
            "" | "sourceip-sourceport" => Ok(Self::AddressAndPort),
            "sourceip-sourceport-destport" => Ok(Self::AddressAndPorts),
            _ => Err(format!(
                "'{text}' is not one of sourceip, sourceip-sourceport, sourceip-sourceport-destport"
            )),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firewall {
    Auto,
    Nft,
    Iptables,
}

impl FromParam for Firewall {
    const CONTENT: Content = Content::String;

    fn from_param(text: &str) -> Result<Self, String> {
        match text {
            "auto" | "" => Ok(Self::Auto),
            "nft" => Ok(Self::Nft),
            "iptables" => Ok(Self::Iptables),
            _ => Err(format!("'{text}' is not one of auto, nft, iptables")),
        }
    }
}

/// Seed of the hash that shares a cluster IP out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u32);

impl FromParam for Seed {
    const CONTENT: Content = Content::String;

    fn from_param(text: &str) -> Result<Self, String> {
        let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => text.parse(),
        };
        number.map(Self).map_err(|_| format!("'{text}' is not a decimal or 0x hexadecimal number of 32 bits"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArpSender {
    SendArp,
    IpoibArping,
    IputilsArping,
    LibnetArping,
}

impl FromParam for ArpSender {
    const CONTENT: Content = Content::String;

    fn from_param(text: &str) -> Result<Self, String> {
        match text {
            "send_arp" => Ok(Self::SendArp),
            "ipoibarping" => Ok(Self::IpoibArping),
            "iputils_arping" => Ok(Self::IputilsArping),
            "libnet_arping" => Ok(Self::LibnetArping),
            _ => Err(format!("'{text}' is not one of send_arp, ipoibarping, iputils_arping, libnet_arping")),
        }
    }
}

/// Seconds, or for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreferredLifetime {
    Forever,
    Seconds(u32),
}

impl FromParam for PreferredLifetime {
    const CONTENT: Content = Content::String;

    fn from_param(text: &str) -> Result<Self, String> {
        if text == "forever" {
            return Ok(Self::Forever);
        }
        text.parse()
            .map(Self::Seconds)
            .map_err(|_| format!("'{text}' is neither a number of seconds nor forever"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_hosts_only() {
        for good in ["10.0.0.1", "255.0.0.1", "fe80::1", "2001:db8:DC28:0:0:FC57:D4C8:1FFF"] {
            assert!(Service::from_param(good).is_ok(), "{good}");
        }
        for bad in
            ["", "10.0.0", "0.1.2.3", "224.0.0.1", "::", "ff02::1", "10.0.0.1/24", "fe80::1%eth0", "host"]
        {
            assert!(Service::from_param(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn prefixes_in_both_spellings() {
        assert_eq!(Prefix::from_param("24"), Ok(Prefix { length: 24, dotted: false }));
        assert_eq!(Prefix::from_param("255.255.255.0"), Ok(Prefix { length: 24, dotted: true }));
        for bad in ["0", "129", "-1", "255.0.255.0", "0.0.0.0", "24 ", "x"] {
            assert!(Prefix::from_param(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn multicast_macs_only() {
        assert_eq!(Mac::from_param("01:00:5e:7f:00:0a"), Ok(Mac([1, 0, 0x5e, 0x7f, 0, 10])));
        for bad in ["00:11:22:33:44:55", "01:00:5e:7f:00", "01:00:5e:7f:00:0a:0b", "01:00:5e:7f:00:xx"] {
            assert!(Mac::from_param(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn seeds_lifetimes_and_words() {
        assert_eq!(Seed::from_param("0xff"), Ok(Seed(255)));
        assert!(Seed::from_param("ff").is_err() && Seed::from_param("0x1ffffffff").is_err());
        assert_eq!(PreferredLifetime::from_param("0"), Ok(PreferredLifetime::Seconds(0)));
        assert!(PreferredLifetime::from_param("").is_err() && PreferredLifetime::from_param("ever").is_err());
        assert!(ArpSender::from_param("arping").is_err() && Firewall::from_param("pf").is_err());
    }
}
