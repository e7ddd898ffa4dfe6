//! The life of an address: probe, start, monitor, stop, each once and again.

use super::world::{entries, entry, ip, sh, snapshot, state_files, vip, world};
use std::fs;

/// Kernel entries without what a clock changes.
fn addresses() -> String {
    ip("addr show").to_string()
}

#[test]
fn ipv4_from_nothing_to_nothing() {
    world(|| {
        let vip = vip("10.0.0.50");
        let before = snapshot();
        vip.probe().is(7);
        vip.monitor().is(7).because("is not running");
        vip.start().is(0);
        let entry = entry("10.0.0.50");
        assert_eq!((&entry["dev"], &entry["prefixlen"]), (&"v0".into(), &24.into()), "{entry}");
        assert_eq!(
            (&entry["broadcast"], &entry["scope"]),
            (&"10.0.0.255".into(), &"global".into()),
            "{entry}"
        );
        vip.monitor().is(0);
        vip.probe().is(0);
        let started = addresses();
        vip.start().is(0);
        assert_eq!(addresses(), started, "a second start changes nothing");
        vip.stop().is(0);
        assert!(entries("10.0.0.50").is_empty());
        vip.probe().is(7);
        vip.stop().is(0);
        assert_eq!(snapshot(), before, "nothing is left");
    });
}

#[test]
fn ipv6_from_nothing_to_nothing() {
    world(|| {
        let vip = vip("fd00::50");
        let before = snapshot();
        vip.probe().is(7);
        vip.start().is(0);
        let entry = entry("fd00::50");
        assert_eq!((&entry["dev"], &entry["prefixlen"]), (&"v0".into(), &64.into()), "{entry}");
        assert!(entry.get("tentative").is_none(), "usable when start returns: {entry}");
        vip.monitor().is(0);
        let started = addresses();
        vip.start().is(0);
        assert_eq!(addresses(), started, "a second start changes nothing");
        vip.stop().is(0);
        vip.probe().is(7);
        vip.stop().is(0);
        assert_eq!(snapshot(), before, "nothing is left");
    });
}

#[test]
fn one_address_in_two_spellings() {
    world(|| {
        let long = vip("FD00:0:0:0:0:0:0:50").with("nodad", "true");
        long.start().is(0);
        entry("fd00::50");
        vip("fd00::50").monitor().is(0);
        long.stop().is(0);
        assert!(entries("fd00::50").is_empty());
    });
}

#[test]
fn an_address_is_not_taken_for_a_similar_one() {
    world(|| {
        sh(
            "ip addr add 10.0.0.5/24 dev v0 && ip addr add 10.0.0.150/24 dev v0 && ip addr add 10.0.0.50/24 dev v0",
        );
        for other in ["10.0.0.15", "10.0.0.51", "10.0.0.250"] {
            vip(other).probe().is(7);
            vip(other).stop().is(0);
        }
        for there in ["10.0.0.5", "10.0.0.50", "10.0.0.150"] {
            entry(there);
        }
    });
}

#[test]
fn status_speaks() {
    world(|| {
        let vip = vip("10.0.0.50");
        assert_eq!(vip.run("status").is(7).stdout, "stopped\n");
        vip.start().is(0);
        assert_eq!(vip.run("status").is(0).stdout, "running\n");
        vip.stop().is(0);
    });
}

#[test]
fn what_somebody_else_changed_is_seen_and_repaired() {
    world(|| {
        let vip = vip("10.0.0.50").with("iflabel", "ha");
        vip.start().is(0);
        sh("ip addr del 10.0.0.50/24 dev v0");
        vip.monitor().is(7).because("is not running");
        // with another label, by hand
        sh("ip addr add 10.0.0.50/24 dev v0");
        vip.monitor().is(1).because("label v0:ha");
        vip.start().is(0);
        assert_eq!(entry("10.0.0.50")["label"], "v0:ha");
        vip.monitor().is(0);
        vip.stop().is(0);
        assert!(entries("10.0.0.50").is_empty());
    });
}

#[test]
fn validate_all_at_level_0_does_not_look_at_the_host() {
    world(|| {
        let elsewhere = vip("203.0.113.7").with("nic", "not-here0").with("network_namespace", "not-here");
        elsewhere.run("validate-all").is(0);
        elsewhere.with("proto", "sitelocal").run("validate-all").is(0);
        if super::world::needs("strace") {
            let mut vip = elsewhere.with("OCF_CHECK_LEVEL", "0");
            vip.program = "/run/traced".to_owned();
            let line =
                "#!/bin/sh\nexec strace -f -o /run/trace -e trace=openat,socket,setns,execve AGENT \"$@\"\n";
            fs::write("/run/traced", line.replace("AGENT", env!("CARGO_BIN_EXE_ipaddr2"))).unwrap();
            sh("chmod +x /run/traced");
            vip.run("validate-all").is(0);
            let trace = fs::read_to_string("/run/trace").unwrap();
            assert!(trace.contains("execve"), "{trace}");
            assert!(
                !trace.contains("NETLINK") && !trace.contains("setns") && !trace.contains("netns"),
                "{trace}"
            );
            assert!(!trace.contains("rt_protos"), "{trace}");
        }
    });
}

#[test]
fn validate_all_at_level_10_looks_at_the_host() {
    world(|| {
        let mut level_10 = vip("10.0.0.50");
        level_10.environment.insert("OCF_CHECK_LEVEL".into(), "10".into());
        level_10.run("validate-all").is(0);
        level_10.with("nic", "v0").run("validate-all").is(0);
        level_10.with("nic", "not-here0").run("validate-all").is(5).because("no interface 'not-here0'");
        level_10.with("ip", "203.0.113.7").run("validate-all").is(5).because("no directly attached network");
        level_10.with("network_namespace", "none").run("validate-all").is(5).because("namespace 'none'");
        level_10.with("proto", "sitelocal").run("validate-all").is(2).because("proto");
        assert!(state_files().is_empty() && entries("10.0.0.50").is_empty());
    });
}

#[test]
fn only_root_may_change_anything_and_everybody_may_look() {
    world(|| {
        let binary = env!("CARGO_BIN_EXE_ipaddr2");
        sh(&format!(
            "touch /run/agent && mount --bind {binary} /run/agent && printf '%s\\n' '#!/bin/sh' \
            'exec setpriv --reuid=65534 --regid=65534 --clear-groups /run/agent \"$@\"' > /run/nobody && chmod +x /run/nobody"
        ));
        let vip = vip("10.0.0.50").with("arp_count", "1");
        let mut nobody = vip.clone();
        nobody.program = "/run/nobody".to_owned();
        nobody.start().is(4).because("root");
        nobody.probe().is(7);
        nobody.run("validate-all").is(0);
        nobody.stop().is(0);
        vip.start().is(0);
        nobody.monitor().is(0);
        nobody.stop().is(4).because("delete address");
        entry("10.0.0.50");
        vip.stop().is(0);
    });
}

#[test]
fn reload_agent_changes_nothing_that_runs() {
    world(|| {
        let vip = vip("10.0.0.50");
        vip.start().is(0);
        let before = addresses();
        vip.with("arp_count", "7").run("reload-agent").is(0);
        assert_eq!(addresses(), before);
        vip.stop().is(0);
    });
}
