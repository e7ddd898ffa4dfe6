//! Clone instances that share the address: rules, share, hardware address, instances coming and going.

use super::wire::{Ear, Said};
use super::world::{Vip, entries, entry, needs, sh, snapshot, vip, world};

fn shared(number: u32, max: u32) -> Vip {
    vip("10.0.0.50").with("arp_count", "1").clone_of(number, max)
}

fn rules() -> String {
    sh("nft list ruleset | grep -v '^table.*mangle'; iptables-save -t mangle | grep '10.0.0.50' || true")
}

fn buckets() -> Vec<String> {
    rules()
        .lines()
        .filter_map(|line| Some(line.split_once("cip-node-")?.1.trim_matches('"').to_owned()))
        .collect()
}

fn two_instances_on_one_node(firewall: &'static str, count: impl Fn() -> usize + Send + 'static) {
    if !needs(firewall) {
        return;
    }
    world(move || {
        let of = |number| shared(number, 2).with("clusterip_firewall", firewall);
        let before = snapshot();
        of(0).probe().is(7);
        of(0).start().is(0);
        of(0).monitor().is(0);
        of(1).probe().is(7);
        assert_eq!(count(), 1);
        let maddr = sh("ip maddr show dev v0");
        of(1).start().is(0);
        of(1).monitor().is(0);
        of(0).monitor().is(0);
        assert_eq!(count(), 2);
        entry("10.0.0.50");
        let rules_before = rules();
        of(1).start().is(0);
        assert_eq!(rules(), rules_before, "a second start changes nothing");
        of(0).stop().is(0);
        assert_eq!(count(), 1);
        entry("10.0.0.50");
        of(0).probe().is(7);
        of(1).monitor().is(0);
        assert_eq!(sh("ip maddr show dev v0"), maddr, "still listening");
        of(1).stop().is(0);
        assert!(entries("10.0.0.50").is_empty());
        assert_eq!(count(), 0);
        sh(
            "rm -f /run/resource-agents/IPaddr2-CIP-10.0.0.50; iptables -t mangle -S | grep -q 10.0.0.50 && exit 1; true",
        );
        if firewall == "nft" {
            assert_eq!(snapshot(), before, "nothing is left");
        }
    });
}

#[test]
fn two_instances_with_nft() {
    two_instances_on_one_node("nft", || buckets().len());
}

#[test]
fn two_instances_with_iptables() {
    two_instances_on_one_node("iptables", || {
        sh("iptables-save -t mangle")
            .lines()
            .filter(|l| l.contains("10.0.0.50") && l.contains("ACCEPT"))
            .count()
    });
}

/// Which of these hosts beyond the wire get an answer, all asking at once.
fn answers(hosts: std::ops::Range<u8>) -> Vec<bool> {
    let (first, last) = (hosts.start, hosts.end - 1);
    let line = format!(
        "for h in $(seq {first} {last}); do (ip netns exec peer ping -q -c1 -W2 -I 10.0.0.$h 10.0.0.50 >/dev/null && echo $h) & done; wait"
    );
    let answered = sh(&line);
    hosts.map(|host| answered.lines().any(|line| line == host.to_string())).collect()
}

#[test]
fn the_nodes_share_the_clients() {
    if !needs("ping") {
        return;
    }
    world(|| {
        let answered = || answers(100..124);
        sh("for h in $(seq 100 123); do ip -n peer addr add 10.0.0.$h/24 dev v1; done; \
            ip -n peer neigh replace 10.0.0.50 lladdr 02:00:00:00:00:0a dev v1");
        shared(0, 2).start().is(0);
        let first = answered();
        shared(0, 2).stop().is(0);
        shared(1, 2).start().is(0);
        sh("ip -n peer neigh replace 10.0.0.50 lladdr 02:00:00:00:00:0a dev v1");
        let second = answered();
        assert!(
            first.iter().zip(&second).all(|(a, b)| a != b),
            "each client has one node: {first:?} {second:?}"
        );
        assert!(first.contains(&true) && second.contains(&true));
        shared(0, 2).start().is(0);
        assert!(answered().iter().all(|answer| *answer), "both here: everybody is answered");
        for number in [0, 1] {
            shared(number, 2).stop().is(0);
        }
    });
}

#[test]
fn packets_to_the_shared_hardware_address_are_taken() {
    if !needs("ping") {
        return;
    }
    world(|| {
        let own = shared(0, 2).with("mac", "01:00:5e:7f:00:32");
        own.start().is(0);
        assert!(sh("ip maddr show dev v0").contains("01:00:5e:7f:00:32"));
        sh("ip -n peer neigh replace 10.0.0.50 lladdr 01:00:5e:7f:00:32 dev v1; \
            for h in $(seq 100 115); do ip -n peer addr add 10.0.0.$h/24 dev v1; done");
        let answers = answers(100..116).iter().filter(|answered| **answered).count();
        assert!((1..16).contains(&answers), "{answers}");
        own.stop().is(0);
        assert!(!sh("ip maddr show dev v0").contains("01:00:5e:7f:00:32"));
    });
}

#[test]
fn the_shared_hardware_address_is_announced_not_the_own_one() {
    world(|| {
        let ear = Ear::open();
        shared(0, 2).with("mac", "01:00:5e:7f:00:32").start().is(0);
        let heard = ear.about_at_least("10.0.0.50", 2, std::time::Duration::from_millis(300));
        let shared_mac =
            |said: &Said| matches!(said, Said::Arp { sender, .. } if sender == "01:00:5e:7f:00:32");
        assert!(heard.len() == 2 && heard.iter().all(|heard| shared_mac(&heard.said)), "{heard:#?}");
    });
}

#[test]
fn mangle_seed_table_and_chain() {
    world(|| {
        let mangled = shared(0, 2).with("clusterip_mac_mangle", "1").with("mac", "01:00:5e:7f:00:32");
        mangled.with("clusterip_hash_seed", "0xabc").start().is(0);
        assert!(
            rules().contains("arp saddr ip 10.0.0.50 arp saddr ether set 01:00:5e:7f:00:32"),
            "{}",
            rules()
        );
        assert!(rules().contains("seed 0xabc"), "{}", rules());
        mangled.with("clusterip_hash_seed", "2748").monitor().is(0);
        mangled.with("clusterip_hash_seed", "1").monitor().is(1).because("not complete");
        mangled.with("clusterip_hash_seed", "0xabc").stop().is(0);
        assert!(!rules().contains("10.0.0.50"), "{}", rules());
        vip("fd00::50").clone_of(0, 2).with("clusterip_mac_mangle", "1").start().is(6);
        sh("iptables -t raw -N SHARED && iptables -t raw -A PREROUTING -j SHARED");
        let elsewhere = shared(0, 2)
            .with("clusterip_firewall", "iptables")
            .with("clusterip_table", "raw")
            .with("clusterip_chain", "SHARED");
        elsewhere.start().is(0);
        elsewhere.monitor().is(0);
        assert!(sh("iptables -t raw -S SHARED").contains("10.0.0.50"));
        elsewhere.stop().is(0);
        assert!(!sh("iptables -t raw -S SHARED").contains("10.0.0.50"));
    });
}

#[test]
fn another_number_of_clones_is_repaired() {
    world(|| {
        shared(0, 2).start().is(0);
        shared(0, 3).monitor().is(1).because("not complete");
        shared(0, 3).start().is(0);
        shared(0, 3).monitor().is(0);
        assert!(rules().contains("mod 3") && !rules().contains("mod 2"), "{}", rules());
        shared(0, 3).stop().is(0);
        assert!(entries("10.0.0.50").is_empty() && !rules().contains("10.0.0.50"));
    });
}

#[test]
fn rules_that_are_gone_are_seen_and_repaired() {
    world(|| {
        shared(0, 2).start().is(0);
        sh("nft delete table ip IPaddr2_10_0_0_50");
        shared(0, 2).monitor().is(1).because("not complete");
        shared(0, 2).start().is(0);
        shared(0, 2).monitor().is(0);
        shared(0, 2).stop().is(0);
        assert!(entries("10.0.0.50").is_empty());
    });
}

#[test]
fn ipv6_is_shared_too() {
    world(|| {
        let v6 = vip("fd00::50").with("nodad", "1").with("arp_count", "1").clone_of(1, 2);
        v6.start().is(0);
        v6.monitor().is(0);
        assert!(rules().contains("jhash ip6 saddr mod 2"), "{}", rules());
        v6.stop().is(0);
        assert!(entries("fd00::50").is_empty() && !rules().contains("fd00::50"));
    });
}

#[test]
fn on_the_loopback_and_alone_it_is_no_cluster_ip() {
    world(|| {
        let on_lo = vip("10.9.9.9").with("nic", "lo").with("cidr_netmask", "32").clone_of(0, 2);
        on_lo.start().is(0);
        on_lo.monitor().is(0);
        vip("10.0.0.50").with("arp_count", "1").clone_of(0, 1).start().is(0);
        assert!(!rules().contains("10."), "{}", rules());
    });
}

#[test]
fn more_clones_than_iptables_can_count() {
    world(|| {
        let of = |firewall: &str| shared(40, 48).with("clusterip_firewall", firewall);
        let before = snapshot();
        of("iptables").start().is(2).because("at most 32 clones");
        assert_eq!(snapshot(), before);
        of("iptables").stop().is(0);
        of("nft").start().is(0);
        of("nft").monitor().is(0);
        of("nft").stop().is(0);
    });
}

#[test]
fn without_nft_auto_means_iptables() {
    world(|| {
        sh("for d in /usr/sbin /sbin; do [ -e $d/nft ] && mount --bind /dev/null $d/nft; done; true");
        shared(0, 2).start().is(0);
        shared(0, 2).monitor().is(0);
        assert!(sh("iptables -t mangle -S").contains("10.0.0.50/32 -i v0 -m cluster"));
        shared(0, 2).stop().is(0);
        assert!(!sh("iptables -t mangle -S").contains("10.0.0.50"));
    });
}

#[test]
fn instances_that_start_and_stop_at_once_do_not_meet() {
    world(|| {
        for _ in 0..5 {
            for action in ["start", "stop"] {
                let children = [0, 1, 2].map(|number| shared(number, 3).command(action).spawn().unwrap());
                for mut child in children {
                    assert!(child.wait().unwrap().success(), "{action}");
                }
                let wanted = if action == "start" { 3 } else { 0 };
                assert_eq!(
                    (buckets().len(), entries("10.0.0.50").len()),
                    (wanted, wanted.min(1)),
                    "{action}"
                );
            }
        }
    });
}

#[test]
fn a_missing_tool_fails_start_and_not_stop() {
    world(|| {
        let mut bare = shared(0, 2);
        sh(
            "mkdir /run/empty; for d in /usr/sbin /sbin /usr/local/sbin /usr/bin /bin; do [ -e $d/nft ] && mount --bind /dev/null $d/nft; done; true",
        );
        bare.environment.insert("PATH".into(), "/run/empty".into());
        bare = bare.with("clusterip_firewall", "nft");
        bare.start().is(5).because("nft");
        bare.stop().is(0);
        bare.probe().is(7);
        assert!(entries("10.0.0.50").is_empty());
    });
}
