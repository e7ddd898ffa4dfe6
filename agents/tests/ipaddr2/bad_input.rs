//! Malformed values: the right code and one line, nothing added, removed or sent; stop and probe go on.

use super::wire::Ear;
use super::world::{entries, entry, snapshot, vip, world};
use std::time::Duration;

/// Parameter, value, words of the reason. A boolean cannot be malformed: what does not say yes says no, as upstream.
const MALFORMED: &[(&str, &str, &str)] = &[
    ("ip", "", "must be set"),
    ("ip", "10.0.0", "10.0.0"),
    ("ip", "10.0.0.256", "10.0.0.256"),
    ("ip", "10.0.0.50/24", "10.0.0.50/24"),
    ("ip", "0.0.0.1", "host"),
    ("ip", "239.1.1.1", "host"),
    ("ip", "ff02::1", "host"),
    ("ip", "fd00::5g", "fd00::5g"),
    ("ip", "fe80::50", "set nic"),
    ("ip", "10.0.0.50; reboot", "reboot"),
    ("cidr_netmask", "33", "33"),
    ("cidr_netmask", "0", "0"),
    ("cidr_netmask", "-1", "-1"),
    ("cidr_netmask", "255.0.255.0", "255.0.255.0"),
    ("cidr_netmask", "twentyfour", "twentyfour"),
    ("broadcast", "10.0.0.999", "10.0.0.999"),
    ("broadcast", "yes", "yes"),
    ("metric", "-5", "-5"),
    ("metric", "low", "low"),
    ("nic", ":web", "nic"),
    ("iflabel", "far_too_long_label", "15"),
    ("lvs_ipv6_addrlabel_value", "-1", "-1"),
    ("mac", "00:11:22:33:44:55", "odd"),
    ("mac", "01:02:03", "MAC"),
    ("clusterip_hash", "random", "random"),
    ("clusterip_firewall", "pf", "pf"),
    ("clusterip_hash_seed", "0xzz", "0xzz"),
    ("arp_interval", "0", "0"),
    ("arp_interval", "fast", "fast"),
    ("arp_count", "0", "0"),
    ("arp_count", "-3", "-3"),
    ("arp_count_refresh", "some", "some"),
    ("arp_sender", "carrier_pigeon", "carrier_pigeon"),
    ("preferred_lft", "", "preferred_lft"),
    ("preferred_lft", "soon", "soon"),
    ("network_namespace", "../blue", "../blue"),
    ("CRM_meta_clone_max", "0", "clone-max"),
    ("proto", "ker nel", "ker nel"),
];

#[test]
fn every_malformed_value_is_6_with_one_line_and_no_effect() {
    world(|| {
        let ear = Ear::open();
        let before = snapshot();
        for (name, value, words) in MALFORMED {
            let vip = vip("10.0.0.50").with(name, value);
            eprintln!("{name}={value}");
            for action in ["start", "validate-all"] {
                vip.run(action).is(6).because(words);
            }
            vip.stop().is(0);
            vip.probe().is(7);
            let code = vip.monitor().code;
            assert!(code == 7 || code == 1 && *name == "ip", "{name}={value}: {code}");
        }
        for (name, value) in [("cidr_netmask", "129"), ("cidr_netmask", "255.255.0.0")] {
            let vip = vip("fd00::50").with(name, value);
            vip.start().is(6);
            vip.stop().is(0);
            vip.probe().is(7);
        }
        assert_eq!(snapshot(), before, "nothing was added or removed");
        assert!(
            ear.about_at_least("10.0.0.50", 0, Duration::from_millis(300)).is_empty(),
            "nothing was sent"
        );
    });
}

/// All but the address itself, which is what names the resource.
#[test]
fn with_a_malformed_optional_value_stop_still_removes_the_address() {
    world(|| {
        let good = vip("10.0.0.50").with("arp_count", "1");
        for (name, value, _) in MALFORMED.iter().filter(|(name, ..)| *name != "ip") {
            good.start().is(0);
            eprintln!("{name}={value}");
            let bad = good.with(name, value);
            // a namespace that cannot exist is another place than this one
            let elsewhere = *name == "network_namespace";
            let seen = bad.monitor().code;
            assert!(!matches!(seen, 2 | 5 | 6), "{name}={value}: {seen}");
            bad.stop().is(0);
            assert_eq!(entries("10.0.0.50").len(), usize::from(elsewhere), "{name}={value}");
            good.stop().is(0);
        }
        entry("10.0.0.2");
    });
}

#[test]
fn several_wrong_values_are_all_named_in_one_line() {
    world(|| {
        let vip = vip("10.0.0.50").with("arp_count", "x").with("metric", "low");
        let outcome = vip.start();
        outcome.is(6).because("arp_count");
        outcome.because("metric");
    });
}

#[test]
fn hostile_text_stays_text() {
    world(|| {
        let before = snapshot();
        for value in
            ["$(touch /run/owned)", "`touch /run/owned`", "a\nb", "; touch /run/owned", "%s%n", "\u{1b}[2J"]
        {
            for name in ["nic", "iflabel", "proto", "network_namespace", "clusterip_table", "mac"] {
                let vip = vip("10.0.0.50")
                    .with(name, value)
                    .with("clusterip_firewall", "iptables")
                    .with("arp_count", "1");
                let outcome = vip.start();
                assert!(outcome.reasons.iter().all(|reason| !reason.contains('\u{1b}')), "{outcome:?}");
                vip.stop().is(0);
                vip.probe().is(7);
            }
        }
        assert!(!std::path::Path::new("/run/owned").exists());
        assert_eq!(snapshot(), before);
    });
}
