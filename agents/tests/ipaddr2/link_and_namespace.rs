//! The link below the address, and addresses in named network namespaces.

use super::world::{entries, entry, sh, state_files, vip, world};
use std::time::Duration;

#[test]
fn a_link_that_is_down_counts_as_not_running() {
    world(|| {
        let vip = vip("10.0.0.50").with("arp_count", "1");
        vip.start().is(0);
        sh("ip -n peer link set v1 down");
        vip.monitor().is(7).because("link of interface v0 is down");
        vip.probe().is(7);
        let without = vip.with("check_link_status", "false");
        without.monitor().is(0);
        vip.start().is(5).because("link of interface v0 is down");
        vip.stop().is(0);
        assert!(entries("10.0.0.50").is_empty(), "stop removes it whatever the link");
        let outcome = vip.start();
        outcome.is(1).because("link of interface v0 is down");
        assert!(outcome.elapsed < Duration::from_secs(2));
        assert!(entries("10.0.0.50").is_empty() && state_files().is_empty());
        without.start().is(0);
        without.stop().is(0);
    });
}

#[test]
fn stop_removes_it_below_a_dead_link() {
    world(|| {
        let vip = vip("10.0.0.50").with("arp_count", "1");
        vip.start().is(0);
        sh("ip link set v0 down");
        vip.monitor().is(7);
        vip.stop().is(0);
        assert!(entries("10.0.0.50").is_empty());
    });
}

#[test]
fn a_link_that_never_comes_fails_start_in_time_and_leaves_nothing() {
    world(|| {
        sh("ip -n peer link set v1 down && ip link set v0 down");
        let vip = vip("10.0.0.50").with("nic", "v0").with("cidr_netmask", "24").meta("timeout", "3000");
        let outcome = vip.start();
        outcome.is(1).because("link of interface v0 is down");
        assert!(outcome.elapsed < Duration::from_secs(3), "{outcome:?}");
        assert!(entries("10.0.0.50").is_empty() && state_files().is_empty());
    });
}

#[test]
fn the_link_of_an_interface_that_was_off_is_waited_for() {
    world(|| {
        sh("ip -n peer link set v1 down && ip link set v0 down");
        let ear = super::wire::Ear::open();
        let late = std::thread::spawn(|| {
            std::thread::sleep(Duration::from_secs(1));
            sh("ip -n peer link set v1 up")
        });
        let vip = vip("10.0.0.50").with("nic", "v0").with("cidr_netmask", "24").with("arp_interval", "20");
        vip.start().is(0);
        late.join().unwrap();
        let heard = ear.about_at_least("10.0.0.50", 10, Duration::from_millis(200));
        assert_eq!(heard.len(), 10, "not one was sent in vain");
        vip.stop().is(0);
    });
}

#[test]
fn an_interface_without_ipv6_says_so() {
    world(|| {
        sh("sysctl -qw net.ipv6.conf.v0.disable_ipv6=1");
        let vip = vip("fd00::50").with("nic", "v0").with("cidr_netmask", "64");
        vip.probe().is(7);
        vip.start().is(1).because("IPv6 is disabled");
        vip.stop().is(0);
    });
}

#[test]
fn in_a_named_namespace() {
    world(|| {
        sh(
            "ip netns add blue && ip link add b0 type veth peer name p0 && ip link set p0 up && ip link set b0 netns blue \
            && ip -n blue link set b0 up && ip -n blue addr add 10.0.0.3/24 dev b0",
        );
        for ip in ["10.0.0.50", "fd00::50"] {
            let vip = vip(ip).with("network_namespace", "blue").with("nic", "b0").with("cidr_netmask", "64");
            let vip = if ip.contains(':') { vip } else { vip.with("cidr_netmask", "24") };
            let there = || sh("ip -n blue -o addr show").contains(&format!(" {ip}/"));
            vip.probe().is(7);
            vip.start().is(0);
            assert!(there() && entries(ip).is_empty());
            vip.monitor().is(0);
            vip.without("network_namespace").with("nic", "v0").probe().is(7);
            vip.stop().is(0);
            assert!(!there());
        }
    });
}

#[test]
fn a_missing_namespace() {
    world(|| {
        let vip = vip("10.0.0.50").with("network_namespace", "none");
        vip.stop().is(0);
        vip.probe().is(7);
        vip.monitor().is(7);
        vip.start().is(5).because("no network namespace 'none'");
        vip.run("validate-all").is(0);
        assert!(entries("10.0.0.50").is_empty());
        // left over after a reboot of the namespace's owner: a plain file
        std::fs::write("/run/netns/stale", "").unwrap();
        let stale = vip.with("network_namespace", "stale");
        stale.start().is(5).because("no network namespace 'stale'");
        stale.stop().is(0);
        stale.probe().is(7);
        entry("10.0.0.2");
    });
}
