//! What each parameter of the address itself does.

use super::world::{RUN, entries, entry, needs, sh, vip, world};
use serde_json::Value;

fn started(vip: &super::world::Vip, ip: &str) -> Value {
    vip.start().is(0);
    vip.monitor().is(0);
    let found = entry(ip);
    vip.stop().is(0);
    assert!(entries(ip).is_empty());
    found
}

#[test]
fn nic_by_name_with_label_and_by_alternative_name() {
    world(|| {
        sh(
            "ip link add d0 type veth peer name p0 && ip link set p0 up && ip link set d0 up && ip addr add 10.0.0.9/24 dev d0 \
            && ip link property add dev d0 altname quite-a-long-alternative-name",
        );
        let v4 = vip("10.0.0.50");
        assert_eq!(started(&v4.with("nic", "d0"), "10.0.0.50")["dev"], "d0");
        assert_eq!(started(&v4.with("nic", "v0"), "10.0.0.50")["dev"], "v0");
        let labelled = started(&v4.with("nic", "d0:web").with("iflabel", "other"), "10.0.0.50");
        assert_eq!((&labelled["dev"], &labelled["label"]), (&"d0".into(), &"d0:web".into()));
        let altname = v4.with("nic", "quite-a-long-alternative-name").with("iflabel", "web");
        let labelled = started(&altname, "10.0.0.50");
        assert_eq!((&labelled["dev"], &labelled["label"]), (&"d0".into(), &"d0:web".into()));
    });
}

#[test]
fn iflabel_and_its_length() {
    world(|| {
        let v4 = vip("10.0.0.50");
        assert_eq!(started(&v4.with("iflabel", "0"), "10.0.0.50")["label"], "v0:0");
        assert_eq!(started(&v4.with("iflabel", "twelve_chars"), "10.0.0.50")["label"], "v0:twelve_chars");
        assert_eq!(started(&v4, "10.0.0.50")["label"], "v0");
        // with the interface's name one too many, whether the name is given or found
        for named in [v4.with("nic", "v0"), v4.clone()] {
            named.with("iflabel", "thirteenchars").start().is(6).because("15 characters");
        }
        assert!(entries("10.0.0.50").is_empty());
        // IPv6 addresses have no labels
        let v6 = vip("fd00::50").with("nodad", "1").with("iflabel", "far_too_long_for_a_label");
        started(&v6, "fd00::50");
    });
}

#[test]
fn cidr_netmask_as_number_mask_and_alias() {
    world(|| {
        let v4 = vip("10.0.0.50");
        assert_eq!(started(&v4.with("cidr_netmask", "32"), "10.0.0.50")["prefixlen"], 32);
        assert_eq!(started(&v4.with("cidr_netmask", "255.255.255.128"), "10.0.0.50")["prefixlen"], 25);
        assert_eq!(started(&v4.with("netmask", "28"), "10.0.0.50")["prefixlen"], 28);
        assert_eq!(started(&v4.with("cidr_netmask", "").with("netmask", "28"), "10.0.0.50")["prefixlen"], 28);
        let v6 = vip("fd00::50").with("nodad", "1").with("cidr_netmask", "128");
        assert_eq!(started(&v6, "fd00::50")["prefixlen"], 128);
        // no route at all is needed with both
        let far = vip("203.0.113.7").with("nic", "v0").with("cidr_netmask", "24");
        assert_eq!(started(&far, "203.0.113.7")["dev"], "v0");
    });
}

#[test]
fn the_same_address_with_another_prefix_is_another_entry() {
    world(|| {
        sh("ip addr add 10.0.0.50/32 dev v0");
        let v4 = vip("10.0.0.50").with("cidr_netmask", "24");
        v4.probe().is(7);
        v4.start().is(0);
        v4.monitor().is(0);
        assert_eq!(entries("10.0.0.50").len(), 2);
        v4.stop().is(0);
        assert_eq!(entry("10.0.0.50")["prefixlen"], 32, "the other one is not ours");
        // the kernel holds an IPv6 address once
        sh("ip addr add fd00::50/128 nodad dev v0");
        let v6 = vip("fd00::50").with("cidr_netmask", "64").with("nodad", "1");
        v6.monitor().is(1).because("should have prefix length 64");
        v6.start().is(0);
        assert_eq!(entry("fd00::50")["prefixlen"], 64);
        v6.stop().is(0);
    });
}

#[test]
fn broadcast_given_made_and_derived() {
    world(|| {
        let v4 = vip("10.0.0.50");
        let broadcast = |value: &str| started(&v4.with("broadcast", value), "10.0.0.50")["broadcast"].clone();
        assert_eq!(broadcast("10.0.0.127"), "10.0.0.127");
        assert_eq!(broadcast("+"), "10.0.0.255");
        assert_eq!(broadcast("-"), "10.0.0.0");
        assert_eq!(broadcast(""), "10.0.0.255");
        let other = v4.with("cidr_netmask", "28").with("broadcast", "+");
        assert_eq!(started(&other, "10.0.0.50")["broadcast"], "10.0.0.63");
        // without a broadcast address on the interface's own address there is none to derive
        sh("ip addr flush dev v0 && ip addr add 10.0.0.2/24 dev v0");
        assert_eq!(broadcast(""), Value::Null);
    });
}

#[test]
fn proto_restricts_the_look_up() {
    world(|| {
        sh("ip link add d0 type veth peer name p0 && ip link set p0 up && ip link set d0 up \
            && ip addr add 192.168.1.1/32 dev d0 && ip route add 10.0.0.48/28 dev d0 proto static");
        let v4 = vip("10.0.0.50");
        assert_eq!(started(&v4, "10.0.0.50")["dev"], "d0");
        assert_eq!(started(&v4.with("proto", "kernel"), "10.0.0.50")["dev"], "v0");
        assert_eq!(started(&v4.with("proto", "4"), "10.0.0.50")["dev"], "d0");
        v4.with("proto", "bird").start().is(5).because("no directly attached network");
        v4.with("proto", "no-such-protocol").start().is(2).because("no-such-protocol");
    });
}

#[test]
fn metric_of_the_prefix_route() {
    world(|| {
        // a prefix that is not there yet: the kernel makes the route
        let v4 = vip("10.0.0.50").with("cidr_netmask", "28").with("nic", "v0");
        assert_eq!(started(&v4.with("metric", "77"), "10.0.0.50")["metric"], 77);
        assert_eq!(started(&v4.with("metric", ""), "10.0.0.50")["metric"], Value::Null);
        let v6 = vip("fd00::50").with("nodad", "1");
        v6.with("metric", "300").start().is(0);
        assert_eq!(entry("fd00::50")["metric"], 300);
        assert!(sh("ip -6 route show fd00::/64 dev v0").contains("metric 300"));
        v6.stop().is(0);
        // without it, the one of the route that was found
        sh("ip addr flush dev v0 && ip addr add fd00::2/64 metric 512 nodad dev v0");
        assert_eq!(started(&v6, "fd00::50")["metric"], 512);
    });
}

#[test]
fn noprefixroute_adds_no_route() {
    world(|| {
        let routes = || sh("ip route show 10.0.0.48/28; ip -6 route show fd00::40/124");
        for (ip, prefix) in [("10.0.0.50", "28"), ("fd00::48", "124")] {
            let plain = vip(ip).with("nic", "v0").with("cidr_netmask", prefix).with("nodad", "1");
            plain.start().is(0);
            assert!(!routes().is_empty(), "{ip}");
            plain.stop().is(0);
            assert!(routes().is_empty());
            let without = plain.with("noprefixroute", "true");
            without.start().is(0);
            assert!(routes().is_empty(), "{}", routes());
            assert_eq!(entry(ip)["noprefixroute"], true);
            without.stop().is(0);
        }
    });
}

#[test]
fn preferred_lft_deprecates() {
    world(|| {
        let v6 = vip("fd00::50").with("nodad", "1");
        let deprecated = started(&v6.with("preferred_lft", "0"), "fd00::50");
        assert_eq!(deprecated["deprecated"], true, "{deprecated}");
        assert_eq!(deprecated["preferred_life_time"], 0, "{deprecated}");
        let limited = started(&v6.with("preferred_lft", "600"), "fd00::50");
        let left = limited["preferred_life_time"].as_u64().unwrap();
        assert!((590..=600).contains(&left), "{limited}");
        let forever = started(&v6.with("preferred_lft", "forever"), "fd00::50");
        assert_eq!(forever["preferred_life_time"], u32::MAX, "{forever}");
        assert_eq!(forever["valid_life_time"], u32::MAX, "{forever}");
    });
}

#[test]
fn nodad_skips_the_kernels_detection() {
    world(|| {
        let v6 = vip("fd00::50");
        v6.with("nodad", "true").start().is(0);
        assert_eq!(entry("fd00::50")["nodad"], true);
        v6.stop().is(0);
        v6.start().is(0);
        assert_eq!(entry("fd00::50")["nodad"], Value::Null);
        v6.stop().is(0);
    });
}

#[test]
fn an_address_label_keeps_it_from_being_a_source() {
    world(|| {
        let label = || sh("ip addrlabel list").lines().find(|l| l.contains("fd00::50")).map(str::to_owned);
        let v6 = vip("fd00::50").with("nodad", "1");
        v6.start().is(0);
        assert!(label().is_some_and(|line| line.contains("label 99")), "{:?}", label());
        v6.stop().is(0);
        assert_eq!(label(), None);
        let other = v6.with("lvs_ipv6_addrlabel_value", "33");
        other.start().is(0);
        assert!(label().is_some_and(|line| line.contains("label 33")), "{:?}", label());
        other.stop().is(0);
        assert_eq!(label(), None);
        let without = v6.with("lvs_ipv6_addrlabel", "false");
        without.start().is(0);
        assert_eq!(label(), None);
        without.stop().is(0);
        v6.with("lvs_ipv6_addrlabel_value", "-1").start().is(6).because("lvs_ipv6_addrlabel_value");
    });
}

#[test]
fn unique_clones_have_addresses_of_their_own() {
    world(|| {
        let clone = vip("10.0.0.50").with("unique_clone_address", "true");
        for (number, ip) in [(0, "10.0.0.50"), (2, "10.0.0.52")] {
            let instance = clone.clone_of(number, 3);
            instance.start().is(0);
            instance.monitor().is(0);
            entry(ip);
        }
        assert!(!sh("nft list ruleset").contains("10.0.0.5"), "that is no cluster ip");
        clone.clone_of(0, 3).stop().is(0);
        assert!(entries("10.0.0.50").is_empty());
        clone.clone_of(2, 3).stop().is(0);
        assert!(entries("10.0.0.52").is_empty());
        clone.clone_of(0, 3).without("CRM_meta_globally_unique").start().is(6).because("globally-unique");
        vip("10.0.0.255").with("unique_clone_address", "1").clone_of(1, 3).start().is(6).because("no room");
    });
}

#[test]
fn flush_routes_is_accepted() {
    world(|| {
        started(&vip("10.0.0.50").with("flush_routes", "true"), "10.0.0.50");
    });
}

#[test]
fn parameters_of_older_programs_have_no_effect_and_are_told() {
    world(|| {
        let vip = vip("10.0.0.50")
            .with("arp_sender", "iputils_arping")
            .with("send_arp_opts", "-X --bogus")
            .with("clusterip_hash", "sourceip");
        vip.start().is(0);
        entry("10.0.0.50");
        let log = sh("cat /run/ha.log");
        assert!(log.contains("arp_sender") && log.contains("send_arp_opts"), "{log}");
        vip.stop().is(0);
    });
}

#[test]
fn booleans_in_every_spelling() {
    world(|| {
        for yes in ["true", "1", "yes", "on", "YES", "True"] {
            vip("fd00::50").with("nodad", yes).start().is(0);
            assert_eq!(entry("fd00::50")["nodad"], true, "{yes}");
            vip("fd00::50").stop().is(0);
        }
        assert!(std::path::Path::new(RUN).exists() && needs("ip"));
    });
}
