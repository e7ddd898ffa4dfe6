//! `lvs_support`: the real server's copy on the loopback steps aside and comes back.

use super::world::{RUN, entries, entry, sh, state_files, vip, world};
use std::fs;

#[test]
fn the_copy_steps_aside_and_comes_back() {
    world(|| {
        sh("ip addr add 10.0.0.50/32 brd 10.0.0.50 dev lo");
        let copy = entry("10.0.0.50").to_string();
        let vip = vip("10.0.0.50").with("lvs_support", "true").with("arp_count", "1");
        vip.probe().is(7);
        vip.start().is(0);
        assert_eq!(entry("10.0.0.50")["dev"], "v0");
        assert_eq!(fs::read_to_string(format!("{RUN}/10.0.0.50")).unwrap(), "10.0.0.50 32 10.0.0.50 lo\n");
        vip.monitor().is(0);
        vip.stop().is(0);
        assert_eq!(entry("10.0.0.50").to_string(), copy);
        assert!(state_files().is_empty());
        vip.probe().is(7);
    });
}

#[test]
fn without_it_the_copy_stays() {
    world(|| {
        sh("ip addr add 10.0.0.50/32 dev lo");
        let vip = vip("10.0.0.50").with("arp_count", "1");
        vip.probe().is(7);
        vip.start().is(0);
        assert_eq!(entries("10.0.0.50").len(), 2);
        assert!(state_files().is_empty());
        vip.stop().is(0);
        assert_eq!(entry("10.0.0.50")["dev"], "lo", "stop is about the other one");
    });
}

#[test]
fn what_upstream_wrote_down_is_put_back() {
    world(|| {
        for line in ["10.0.0.50 255.255.255.255 10.0.0.50 lo\n", "10.0.0.50 32  lo\n", "10.0.0.50 32 lo\n"] {
            fs::write(format!("{RUN}/10.0.0.50"), line).unwrap();
            vip("10.0.0.50").with("lvs_support", "true").stop().is(0);
            let found = entry("10.0.0.50");
            assert_eq!((&found["dev"], &found["prefixlen"]), (&"lo".into(), &32.into()), "{line}");
            assert_eq!(found["broadcast"] == "10.0.0.50", line.contains("0 10.0.0.50"), "{line} {found}");
            assert!(state_files().is_empty());
            sh("ip addr del 10.0.0.50/32 dev lo");
        }
    });
}

#[test]
fn the_note_of_another_resource_is_left_alone() {
    world(|| {
        sh("ip addr add 10.0.0.50/32 dev lo");
        let with = vip("10.0.0.50").with("nic", "v0").with("lvs_support", "1").with("arp_count", "1");
        with.start().is(0);
        vip("10.0.0.50").with("nic", "gone0").stop().is(0);
        assert_eq!(entry("10.0.0.50")["dev"], "v0");
        assert_eq!(state_files(), ["10.0.0.50"]);
        with.stop().is(0);
        assert_eq!(entry("10.0.0.50")["dev"], "lo");
    });
}

#[test]
fn half_a_note_of_a_killed_start_goes_too() {
    world(|| {
        fs::write(format!("{RUN}/10.0.0.50.4194305.new"), "10.0.0.50 3").unwrap();
        vip("10.0.0.50").with("lvs_support", "true").stop().is(0);
        assert!(state_files().is_empty(), "{:?}", state_files());
    });
}

#[test]
fn a_spoiled_note_does_not_fail_stop() {
    world(|| {
        for note in ["", "nonsense", "10.0.0.51 32 lo\n", "10.0.0.50 32 none-such0\n"] {
            fs::write(format!("{RUN}/10.0.0.50"), note).unwrap();
            vip("10.0.0.50").with("lvs_support", "true").stop().is(0);
            assert!(entries("10.0.0.50").is_empty() && entries("10.0.0.51").is_empty());
        }
    });
}

#[test]
fn a_failed_start_puts_it_back() {
    world(|| {
        sh("ip addr add 10.0.0.50/32 dev lo && ip -n peer addr add 10.0.0.50/24 dev v1");
        let vip = vip("10.0.0.50").with("lvs_support", "1").with("run_arping", "1");
        vip.start().is(1).because("duplicate address");
        assert_eq!(entry("10.0.0.50")["dev"], "lo");
        assert!(state_files().is_empty());
    });
}

#[test]
fn what_it_does_not_go_with() {
    world(|| {
        vip("fd00::50").with("lvs_support", "1").start().is(6).because("only for IPv4");
        let clone = vip("10.0.0.50").with("lvs_support", "1").clone_of(0, 2);
        clone.start().is(6).because("clones");
        clone.stop().is(0);
        clone.probe().is(7);
    });
}
