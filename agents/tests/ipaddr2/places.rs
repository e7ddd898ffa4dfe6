//! Where the address goes: look-up by route, and what else lives on the interface.

use super::world::{entries, entry, ip, sh, snapshot, vip, world};

#[test]
fn of_covering_routes_the_longest_then_the_cheapest_then_the_first_interface() {
    world(|| {
        sh(
            "for i in 1 2 3; do ip link add d$i type veth peer name p$i && ip link set p$i up && ip link set d$i up \
            && ip addr add 192.168.$i.1/32 dev d$i; done",
        );
        let vip = vip("10.7.1.50");
        let goes_to = |dev: &str, prefix: u64| {
            vip.start().is(0);
            let found = entry("10.7.1.50");
            assert_eq!((&found["dev"], &found["prefixlen"]), (&dev.into(), &prefix.into()));
            vip.stop().is(0);
        };
        sh("ip route add 10.0.0.0/8 dev d1");
        goes_to("d1", 8);
        sh("ip route add 10.7.0.0/16 dev d3 metric 10 && ip route add 10.7.0.0/16 dev d2 metric 20");
        goes_to("d3", 16);
        // equal: the lowest interface number, whichever was added first
        sh("ip route del 10.7.0.0/16 dev d2 && ip route append 10.7.0.0/16 dev d2 metric 10");
        goes_to("d2", 16);
        // what lies behind a gateway, or is dropped, says nothing of the place
        sh("ip route add 10.7.1.0/24 via 10.0.0.1 && ip route add unreachable 10.7.1.48/28");
        goes_to("d2", 16);
        sh("ip route add 10.7.1.50/32 dev d3");
        goes_to("d3", 32);
    });
}

#[test]
fn the_default_route_is_never_a_place() {
    world(|| {
        sh(
            "ip route add default via 10.0.0.1 dev v0 && ip route add default dev v0 metric 9 && ip -6 route add default dev v0",
        );
        let before = snapshot();
        for address in ["203.0.113.7", "2001:db8::7"] {
            vip(address).start().is(5).because("no directly attached network covers");
            vip(address).with("nic", "v0").start().is(5).because("on interface 'v0': set cidr_netmask");
            vip(address).probe().is(7);
            vip(address).stop().is(0);
        }
        assert_eq!(snapshot(), before);
    });
}

#[test]
fn a_primary_goes_without_its_secondaries() {
    world(|| {
        sh("sysctl -qw net.ipv4.conf.all.promote_secondaries=0 net.ipv4.conf.v0.promote_secondaries=0");
        let vip = vip("192.168.9.1").with("nic", "v0").with("cidr_netmask", "24");
        vip.start().is(0);
        sh(
            "ip addr add 192.168.9.2/24 brd 192.168.9.255 dev v0 label v0:two && ip addr add 192.168.9.3/24 dev v0 valid_lft 900 preferred_lft 800 \
            && ip addr add 192.168.9.4/24 metric 5 dev v0",
        );
        let before: Vec<String> = ["192.168.9.2", "192.168.9.3", "192.168.9.4"].map(still).into();
        vip.stop().is(0);
        assert!(entries("192.168.9.1").is_empty());
        let after: Vec<String> = ["192.168.9.2", "192.168.9.3", "192.168.9.4"].map(still).into();
        assert_eq!(before, after);
        // started again it is a secondary now, and its removal concerns nobody
        vip.start().is(0);
        vip.stop().is(0);
        assert_eq!(before, ["192.168.9.2", "192.168.9.3", "192.168.9.4"].map(still));
    });
}

/// An entry without what changes with the order and the clock.
fn still(address: &str) -> String {
    let mut entry = entry(address);
    let entry_map = entry.as_object_mut().unwrap();
    entry_map.remove("secondary");
    for lifetime in ["valid_life_time", "preferred_life_time"] {
        let seconds = entry_map[lifetime].as_u64().unwrap();
        entry_map.insert(lifetime.into(), (seconds.div_ceil(100)).into());
    }
    entry.to_string()
}

#[test]
fn with_promotion_the_kernel_keeps_them_itself() {
    world(|| {
        sh("sysctl -qw net.ipv4.conf.v0.promote_secondaries=1");
        let vip = vip("192.168.9.1").with("nic", "v0").with("cidr_netmask", "24");
        vip.start().is(0);
        sh("ip addr add 192.168.9.2/24 dev v0");
        vip.stop().is(0);
        entry("192.168.9.2");
    });
}

#[test]
fn the_same_address_on_two_interfaces_is_two_resources() {
    world(|| {
        sh("ip link add d0 type veth peer name p0 && ip link set p0 up && ip link set d0 up");
        let first = vip("10.0.0.50").with("nic", "v0").with("cidr_netmask", "32");
        let second = vip("10.0.0.50").with("nic", "d0").with("cidr_netmask", "32");
        first.start().is(0);
        second.probe().is(7);
        second.start().is(0);
        assert_eq!(entries("10.0.0.50").len(), 2);
        first.stop().is(0);
        assert_eq!(entry("10.0.0.50")["dev"], "d0");
        second.monitor().is(0);
        second.stop().is(0);
    });
}

#[test]
fn on_a_bridge_the_bridge_is_the_place_and_other_tables_say_nothing() {
    world(|| {
        sh(
            "ip link add br0 type bridge && ip link add d0 type veth peer name p0 && ip link set p0 up && ip link set d0 master br0 && ip link set d0 up \
            && ip link set br0 up && ip addr add 10.8.0.1/24 dev br0",
        );
        let bridged = vip("10.8.0.50");
        bridged.start().is(0);
        assert_eq!(entry("10.8.0.50")["dev"], "br0");
        bridged.stop().is(0);
        // The routes of a VRF are in a table of their own: interface and prefix must be told, as with upstream.
        sh("ip link add d1 type veth peer name p1 && ip link set p1 up && ip link set d1 up \
            && ip route add 10.9.0.0/24 dev d1 table 77");
        vip("10.9.0.50").start().is(5).because("no directly attached network");
        let vrf = vip("10.9.0.50").with("nic", "d1").with("cidr_netmask", "24");
        vrf.start().is(0);
        vrf.monitor().is(0);
        assert_eq!(entry("10.9.0.50")["dev"], "d1");
        vrf.stop().is(0);
    });
}

#[test]
fn an_interface_that_is_off_is_set_up() {
    world(|| {
        sh("ip link add d0 type veth peer name p0 && ip link set p0 up");
        let vip = vip("10.8.0.50").with("nic", "d0").with("cidr_netmask", "24");
        vip.start().is(0);
        let flags = &ip("link show d0")[0]["flags"];
        assert!(flags.as_array().unwrap().contains(&"UP".into()), "{flags}");
        vip.stop().is(0);
        let flags = &ip("link show d0")[0]["flags"];
        assert!(flags.as_array().unwrap().contains(&"UP".into()), "stop never sets a link down: {flags}");
    });
}

#[test]
fn a_wandering_route_does_not_hide_the_address() {
    world(|| {
        let vip = vip("10.0.0.50");
        vip.start().is(0);
        // afterwards a closer route appears elsewhere, and then none is left
        sh(
            "ip link add d0 type veth peer name p0 && ip link set p0 up && ip link set d0 up && ip route add 10.0.0.48/28 dev d0",
        );
        vip.monitor().is(0);
        sh("ip route flush table main");
        vip.monitor().is(0);
        vip.stop().is(0);
        assert!(entries("10.0.0.50").is_empty());
    });
}

#[test]
fn an_interface_that_is_gone_takes_its_address_along() {
    world(|| {
        sh("ip link add d0 type veth peer name p0 && ip link set p0 up && ip link set d0 up");
        let vip = vip("10.8.0.50").with("nic", "d0").with("cidr_netmask", "24");
        vip.start().is(0);
        sh("ip link del d0");
        vip.monitor().is(7);
        vip.probe().is(7);
        vip.stop().is(0);
        vip.start().is(5).because("no interface 'd0'");
    });
}

#[test]
fn the_loopback_may_be_the_place() {
    world(|| {
        for (ip, prefix) in [("198.51.100.9", "32"), ("2001:db8::9", "128")] {
            let vip = vip(ip).with("nic", "lo").with("cidr_netmask", prefix);
            vip.start().is(0);
            assert_eq!(entry(ip)["dev"], "lo");
            vip.monitor().is(0);
            vip.stop().is(0);
            assert!(entries(ip).is_empty());
        }
        let found = vip("127.0.0.5");
        found.start().is(0);
        assert_eq!(entry("127.0.0.5")["dev"], "lo");
        found.stop().is(0);
        assert!(entries("127.0.0.5").is_empty() && entries("127.0.0.1").len() == 1);
    });
}
