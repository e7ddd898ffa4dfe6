//! Network portals: `10.0.0.1`, `10.0.0.1:3260`, `[::1]:3260`, `::1`.

use ocf_lib::resource::param::{Content, FromParam};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// RFC 7143 (4.2.7): the port that IANA gave to iSCSI targets.
const PORT: u16 = 3260;

/// A list of portals, separated by blanks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Portals(pub Vec<SocketAddr>);

impl FromParam for Portals {
    const CONTENT: Content = Content::String;

    fn from_param(text: &str) -> Result<Self, String> {
        let all: Result<Vec<_>, _> = text.split_ascii_whitespace().map(portal).collect();
        all.map(Self)
    }

    fn when_unset() -> Option<Self> {
        Some(Self::default())
    }
}

fn portal(word: &str) -> Result<SocketAddr, String> {
    if let Ok(whole) = word.parse::<SocketAddr>() {
        return Ok(whole);
    }
    // `[::1]` alone, and upstream's ::0 with or without brackets.
    let bare = word.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(word);
    bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, PORT)).map_err(|_| {
        format!("'{word}' is not an address with or without a port (10.0.0.1:3260, [2001:db8::1]:3260)")
    })
}

/// The name of its directory in configfs, as targetcli writes it too: an IPv6 address in brackets.
pub fn directory(portal: SocketAddr) -> String {
    match portal.ip() {
        // targetcli's own spelling of "every address".
        IpAddr::V6(ip) if ip.is_unspecified() => format!("[::0]:{}", portal.port()),
        IpAddr::V4(_) | IpAddr::V6(_) => portal.to_string(),
    }
}

/// Reads a directory's name back; `None`: it is not a portal.
pub fn from_directory(name: &str) -> Option<SocketAddr> {
    portal(name).ok()
}

/// Why nobody can listen there now, in the kernel's words: configfs says "invalid argument" for each reason (Linux 6.1).
pub fn refused(portal: SocketAddr) -> Option<String> {
    let why = std::net::TcpListener::bind(portal).err()?;
    if why.kind() == ErrorKind::AddrInUse {
        return Some(format!(
            "another program listens on it: {why}; ss -ltnp shows which, and tgtd listens on 3260 of every address"
        ));
    }
    if why.kind() == ErrorKind::AddrNotAvailable {
        return Some(format!("this host does not have the address: {why}"));
    }
    Some(why.to_string())
}

/// True if who listens on `there` can be reached on `wanted`: the same, or every address with this port.
pub fn covers(there: SocketAddr, wanted: SocketAddr) -> bool {
    let everywhere = match there.ip() {
        IpAddr::V4(ip) => ip == Ipv4Addr::UNSPECIFIED && wanted.is_ipv4(),
        // The kernel's target does not set IPV6_V6ONLY.
        IpAddr::V6(ip) => ip == Ipv6Addr::UNSPECIFIED,
    };
    there == wanted || (everywhere && there.port() == wanted.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dirs(text: &str) -> Vec<String> {
        Portals::from_param(text).unwrap().0.into_iter().map(directory).collect()
    }

    #[test]
    fn both_families_with_and_without_port() {
        assert_eq!(
            dirs("0.0.0.0:3260 10.0.0.1 [::1]:3261 2001:db8::1 [::0]:3260 ::"),
            ["0.0.0.0:3260", "10.0.0.1:3260", "[::1]:3261", "[2001:db8::1]:3260", "[::0]:3260", "[::0]:3260"]
        );
        for bad in ["eth0", "10.0.0.1:", "10.0.0.1:70000", "[::1", "10.0.0.256"] {
            assert!(Portals::from_param(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_address_covers_the_others() {
        let at = |text: &str| from_directory(text).unwrap();
        assert!(covers(at("[::0]:3260"), at("0.0.0.0:3260")));
        assert!(covers(at("0.0.0.0:3260"), at("10.0.0.1:3260")));
        assert!(!covers(at("0.0.0.0:3260"), at("[::1]:3260")));
        assert!(!covers(at("10.0.0.1:3260"), at("0.0.0.0:3260")));
        assert!(!covers(at("[::0]:3261"), at("0.0.0.0:3260")));
        assert_eq!(from_directory("nonsense"), None);
    }

    #[test]
    fn what_keeps_a_portal_from_being_is_told() {
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = other.local_addr().unwrap();
        assert!(refused(taken).unwrap().contains("another program listens on it"));
        // RFC 5737: documentation, and so nobody's address.
        assert!(refused("192.0.2.1:3260".parse().unwrap()).unwrap().contains("does not have the address"));
        drop(other);
        assert_eq!(refused(taken), None);
    }
}
