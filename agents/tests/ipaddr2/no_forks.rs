//! No process is started but the one that announces.

use super::world::{needs, sh, vip, world};
use std::fs;

/// Runs an action under strace; how many programs were executed and processes made, beside the agent itself.
fn traced(vip: &super::world::Vip, action: &str) -> (usize, usize) {
    let line = "#!/bin/sh\nexec strace -f -qq -o /run/trace -e trace=process AGENT \"$@\"\n";
    fs::write("/run/traced", line.replace("AGENT", env!("CARGO_BIN_EXE_ipaddr2"))).unwrap();
    sh("chmod +x /run/traced");
    let traced = super::world::Vip { program: "/run/traced".to_owned(), ..vip.clone() };
    traced.run(action).is(0);
    let trace = fs::read_to_string("/run/trace").unwrap();
    let count = |calls: &[&str]| {
        let called = |line: &&str| {
            let call = line.split_whitespace().nth(1).unwrap_or("");
            calls.iter().any(|name| call.starts_with(&format!("{name}(")))
        };
        trace.lines().filter(called).count()
    };
    let executed = count(&["execve", "execveat"]);
    assert!(executed >= 1, "{trace}");
    (executed - 1, count(&["fork", "vfork", "clone", "clone3"]))
}

#[test]
fn monitor_and_stop_make_no_process_and_start_makes_the_announcer() {
    if !needs("strace") {
        return;
    }
    world(|| {
        for ip in ["10.0.0.50", "fd00::50"] {
            let vip = vip(ip).with("nodad", "1").meta("interval", "10000");
            assert_eq!(traced(&vip, "start"), (0, 1), "start of {ip}: the announcer");
            assert_eq!(traced(&vip, "start"), (0, 0), "start of {ip} that runs");
            assert_eq!(traced(&vip, "monitor"), (0, 0), "monitor of {ip}");
            assert_eq!(traced(&vip.with("arp_count_refresh", "1"), "monitor"), (0, 0), "refresh of {ip}");
            assert_eq!(traced(&vip, "stop"), (0, 0), "stop of {ip}");
            assert_eq!(traced(&vip, "stop"), (0, 0), "stop of {ip} that is stopped");
            assert_eq!(traced(&vip.with("arp_bg", "0"), "start"), (0, 0), "start of {ip} in the foreground");
            vip.stop().is(0);
            let with_all =
                vip.with("run_arping", "1").with("lvs_support", if ip.contains(':') { "0" } else { "1" });
            assert_eq!(traced(&with_all.with("arp_count", "1"), "start"), (0, 0), "start of {ip} with all");
            assert_eq!(traced(&with_all, "stop"), (0, 0));
            assert_eq!(traced(&vip, "validate-all"), (0, 0));
        }
    });
}

#[test]
fn in_a_named_namespace_neither() {
    if !needs("strace") {
        return;
    }
    world(|| {
        sh(
            "ip netns add blue && ip -n blue link add b0 type veth peer name p0 && ip -n blue link set p0 up && ip -n blue link set b0 up",
        );
        let vip =
            vip("10.8.0.50").with("network_namespace", "blue").with("nic", "b0").with("cidr_netmask", "24");
        assert_eq!(traced(&vip, "start"), (0, 1));
        assert_eq!(traced(&vip, "monitor"), (0, 0));
        assert_eq!(traced(&vip, "stop"), (0, 0));
    });
}
