//! Announcements and duplicate detection on a real wire: what the other end learns is asked of its neighbour table.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test: it observes from outside and panics when it is not as it should be"
)]

mod namespace;

use namespace::{fresh, netlink, sh, soon, wire};
use ringfence_agents::net::announce::{Announcer, Error, find_duplicate};
use ringfence_agents::net::netns;
use ringfence_agents::net::route_lookup::{self, Wanted};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

/// v1 goes into a namespace of its own, behind the wire, held by a sleeping process. It has `10.0.0.3` and `fd00::3`.
struct OtherEnd {
    holder: std::process::Child,
}

impl OtherEnd {
    fn new() -> Self {
        let holder =
            std::process::Command::new("unshare").args(["-n", "sleep", "60"]).spawn().expect("unshare runs");
        let other = Self { holder };
        let own = sh("readlink /proc/thread-self/ns/net");
        let until = soon();
        while sh(&format!("readlink /proc/{}/ns/net", other.holder.id())) == own {
            assert!(Instant::now() < until, "the namespace never came");
            std::thread::sleep(Duration::from_millis(5));
        }
        sh(&format!("ip link set v1 netns {}", other.holder.id()));
        other.sh("ip link set lo up; echo 1 > /proc/sys/net/ipv4/conf/v1/arp_accept; ip link set v1 up; \
            ip addr add 10.0.0.3/24 dev v1; ip addr add fd00::3/64 nodad dev v1");
        other
    }

    fn sh(&self, line: &str) -> String {
        sh(&format!("nsenter -t {} -n sh -c '{line}'", self.holder.id()))
    }

    /// Waits until the neighbour table there has `address` at `mac`.
    fn learns(&self, address: &str, mac: &str) {
        let until = soon();
        loop {
            let table = self.sh("ip neigh show");
            if table.lines().any(|line| line.starts_with(&format!("{address} ")) && line.contains(mac)) {
                return;
            }
            assert!(Instant::now() < until, "{address} at {mac} never learned: {table}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for OtherEnd {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn text(mac: &[u8]) -> String {
    mac.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

#[test]
fn the_neighbour_learns_the_new_place_of_an_address() {
    fresh(|| {
        wire();
        let other = OtherEnd::new();
        other.sh("ip neigh add 10.0.0.5 lladdr 02:11:11:11:11:11 nud stale dev v1; \
            ip neigh add fd00::5 lladdr 02:11:11:11:11:11 nud stale dev v1");
        let v0 = netlink().link("v0").unwrap().unwrap();
        for address in ["10.0.0.5", "fd00::5"] {
            let announcer = Announcer::open(&v0, address.parse().unwrap(), None).unwrap();
            assert_eq!(announcer.announce_all(2, Duration::from_millis(5), soon()), Ok(2));
            other.learns(address, &text(&v0.address));
        }
        let mac = [3, 0, 0, 0, 0, 9];
        let other_mac = Announcer::open(&v0, IpAddr::V4(Ipv4Addr::new(10, 0, 0, 6)), Some(&mac)).unwrap();
        other_mac.announce().unwrap();
        // a kernel does not learn a group address, but it must have seen both packets
        let own =
            Announcer::open(&v0, IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7)), Some(&[2, 0, 0, 0, 0, 9])).unwrap();
        own.announce().unwrap();
        other.learns("10.0.0.7", "02:00:00:00:00:09");
    });
}

#[test]
fn both_arp_forms_go_out_and_the_deadline_holds() {
    fresh(|| {
        wire();
        let other = OtherEnd::new();
        other.sh(
            "nft add table arp seen; nft add chain arp seen in \"{ type filter hook input priority 0; }\"; \
            nft add rule arp seen in arp operation request arp saddr ip 10.0.0.5 counter; \
            nft add rule arp seen in arp operation reply arp saddr ip 10.0.0.5 counter",
        );
        let v0 = netlink().link("v0").unwrap().unwrap();
        let announcer = Announcer::open(&v0, "10.0.0.5".parse().unwrap(), None).unwrap();
        assert_eq!(announcer.announce_all(3, Duration::from_millis(1), soon()), Ok(3));
        assert_eq!(other.sh("nft list table arp seen").matches("packets 3 ").count(), 2);
        let begin = Instant::now();
        let until = begin + Duration::from_millis(120);
        assert_eq!(announcer.announce_all(100, Duration::from_millis(50), until), Ok(3));
        assert!(begin.elapsed() < Duration::from_millis(200));
    });
}

#[test]
fn an_address_in_use_is_found_with_its_owner() {
    fresh(|| {
        wire();
        let other = OtherEnd::new();
        let mac = other.sh("cat /proc/net/dev >/dev/null; ip -br link show v1");
        let v0 = netlink().link("v0").unwrap().unwrap();
        let begin = Instant::now();
        let owner = find_duplicate(&v0, Ipv4Addr::new(10, 0, 0, 3), soon()).unwrap().expect("in use");
        assert!(mac.contains(&text(&owner)));
        assert!(begin.elapsed() < Duration::from_millis(500));
        // the question itself must not have been learned: a probe has no sender address
        assert!(!other.sh("ip neigh show").contains("10.0.0.3"));
        let wait = Duration::from_millis(300);
        assert_eq!(find_duplicate(&v0, Ipv4Addr::new(10, 0, 0, 4), Instant::now() + wait), Ok(None));
        let lo = netlink().link("lo").unwrap().unwrap();
        let nobody = find_duplicate(&lo, Ipv4Addr::LOCALHOST, soon());
        assert!(matches!(nobody, Err(Error::NoHardwareAddress { .. })));
        sh("ip link set v0 down");
        let error = find_duplicate(&v0, Ipv4Addr::new(10, 0, 0, 4), soon()).unwrap_err();
        assert_eq!(error.to_string(), "cannot send an arp probe on interface v0: Network is down");
    });
}

#[test]
fn the_place_of_an_address_is_found_by_route() {
    fresh(|| {
        wire();
        sh("ip addr add 10.4.0.1/16 brd 10.4.9.9 dev v1; ip link property add dev v1 altname other; \
            ip -6 route add fd00::/64 dev v1 metric 2048; ip route add 10.9.0.0/16 via 10.0.0.9");
        let mut netlink = netlink();
        let mut find = |address: &str, nic, prefixlen| {
            let address = address.parse().unwrap();
            let wanted = Wanted { address, nic, prefixlen, protocol: None };
            route_lookup::find(&mut netlink, &wanted)
                .map(|found| (found.link.name, found.prefixlen, found.broadcast, found.metric))
        };
        let broadcast = |a, b, c, d| Some(Ipv4Addr::new(a, b, c, d));
        let v0 = || "v0".to_owned();
        let v1 = || "v1".to_owned();
        assert_eq!(find("10.0.0.5", None, None), Ok((v0(), 24, broadcast(10, 0, 0, 255), None)));
        assert_eq!(find("10.0.0.5", None, Some(32)), Ok((v0(), 32, broadcast(10, 0, 0, 255), None)));
        assert_eq!(find("10.4.7.7", None, None), Ok((v1(), 16, broadcast(10, 4, 9, 9), None)));
        assert_eq!(find("10.4.7.7", Some("other"), None), Ok((v1(), 16, broadcast(10, 4, 9, 9), None)));
        assert_eq!(find("10.0.0.5", Some("v1"), Some(24)), Ok((v1(), 24, None, None)));
        assert_eq!(find("fd00::5", None, None), Ok((v0(), 64, None, Some(256))));
        assert_eq!(find("fd00::5", Some("v1"), None), Ok((v1(), 64, None, Some(2048))));
        assert_eq!(find("127.0.0.5", None, None), Ok(("lo".to_owned(), 8, None, None)));
        let error = |found: Result<_, route_lookup::Error>| {
            found.map(|_: (String, u8, _, Option<u32>)| ()).unwrap_err().to_string()
        };
        assert_eq!(
            error(find("10.9.0.5", None, None)),
            "no directly attached network covers 10.9.0.5: set nic and cidr_netmask"
        );
        assert_eq!(
            error(find("10.0.0.5", None, Some(16))),
            "no directly attached network covers 10.0.0.5/16: set nic and cidr_netmask"
        );
        assert_eq!(
            error(find("10.0.0.5", Some("v1"), None)),
            "no directly attached network covers 10.0.0.5 on interface 'v1': set cidr_netmask"
        );
        assert_eq!(error(find("10.0.0.5", Some("v9"), None)), "no interface 'v9' on this host");
    });
}

#[test]
fn a_named_namespace_is_entered_and_the_tables_follow() {
    fresh(|| {
        let name = format!("ringfence-test-{}", std::process::id());
        sh(&format!("ip netns add {name} && ip -n {name} link add only-here type bridge"));
        let entered = netns::enter(&name).map(|()| {
            let link = netlink().link("only-here");
            (link, std::path::Path::new("/proc/sys/net/ipv4/conf/only-here").exists())
        });
        sh(&format!("ip netns del {name}"));
        let (link, path) = entered.unwrap();
        assert!(link.unwrap().is_some() && path);
    });
}
