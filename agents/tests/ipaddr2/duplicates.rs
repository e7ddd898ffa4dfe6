//! Somebody else has the address already.

use super::wire::{Ear, Said};
use super::world::{PEER_MAC, entries, entry, sh, snapshot, vip, world};
use std::time::Duration;

#[test]
fn ipv4_is_asked_for_before_it_is_added() {
    world(|| {
        sh("ip -n peer addr add 10.0.0.50/24 dev v1");
        let before = snapshot();
        let ear = Ear::open();
        let vip = vip("10.0.0.50").with("run_arping", "true");
        let outcome = vip.start();
        outcome.is(1).because("duplicate address").because(PEER_MAC).because("v0");
        assert!(outcome.elapsed < Duration::from_secs(1), "an answer ends it at once: {outcome:?}");
        assert_eq!(snapshot(), before, "nothing was added");
        let heard = ear.about("10.0.0.50");
        assert!(heard.iter().all(|heard| heard.said == Said::Probe), "never claimed: {heard:#?}");
        assert!(!heard.is_empty());
        // not asked for, not looked at
        vip.without("run_arping").start().is(0);
        vip.stop().is(0);
    });
}

#[test]
fn a_free_ipv4_address_is_asked_for_a_few_times() {
    world(|| {
        let ear = Ear::open();
        let outcome = vip("10.0.0.50").with("run_arping", "1").with("arp_count", "1").start();
        outcome.is(0);
        assert!(outcome.elapsed < Duration::from_secs(5), "{outcome:?}");
        let probes = ear.about("10.0.0.50").iter().filter(|heard| heard.said == Said::Probe).count();
        assert!(probes >= 2, "{probes}");
        entry("10.0.0.50");
    });
}

#[test]
fn a_duplicate_answer_in_the_last_moment_counts() {
    world(|| {
        // the other end answers 1.2 s late: to the second question
        sh(
            "ip netns exec peer sysctl -qw net.ipv4.conf.v1.arp_ignore=8 && ip -n peer addr add 10.0.0.50/24 dev v1",
        );
        let late = std::thread::spawn(|| {
            std::thread::sleep(Duration::from_millis(1200));
            super::world::try_sh("ip netns exec peer sysctl -qw net.ipv4.conf.v1.arp_ignore=0")
        });
        vip("10.0.0.50").with("run_arping", "1").start().is(1).because(PEER_MAC);
        late.join().unwrap();
        assert!(entries("10.0.0.50").is_empty());
    });
}

#[test]
fn ipv6_duplicates_are_found_by_the_kernel() {
    world(|| {
        sh("ip -n peer addr add fd00::50/64 nodad dev v1");
        let before = snapshot();
        let vip = vip("fd00::50");
        let outcome = vip.start();
        outcome.is(1).because("duplicate address: fd00::50 is in use on the network of v0");
        assert!(outcome.elapsed < Duration::from_secs(5), "{outcome:?}");
        assert_eq!(snapshot(), before, "nothing is left");
        vip.probe().is(7);
        // by hand without detection it can be there all the same
        vip.with("nodad", "1").start().is(0);
        vip.stop().is(0);
    });
}

#[test]
fn a_duplicate_that_is_found_later_fails_the_monitor() {
    world(|| {
        sh("ip -n peer addr add fd00::50/64 nodad dev v1");
        sh("ip addr add fd00::50/64 dev v0; sleep 3; ip addr show dev v0 | grep dadfailed");
        let vip = vip("fd00::50");
        vip.monitor().is(1).because("duplicate");
        vip.stop().is(0);
        assert!(entries("fd00::50").is_empty());
    });
}
