//! The judge in a guest: behaviour cases of level lab on upstream's agents and on ours, on the same kernel.
#![cfg(feature = "lab")]
#![allow(clippy::unwrap_used, reason = "a test's helper functions are tests too")]

use ringfence_tests::lab::{Disks, Guest, Lab, Needs};
use std::path::Path;
use std::time::Duration;

/// What a host with a system bus and systemd-tmpfiles has: targetcli asks the bus for backstores of tcmu-runner, and
/// upstream's agents wait for ever for a lock in a folder that is not there.
const LIKE_A_HOST: &str =
    "mkdir -p /run/resource-agents /etc/target /usr/local/lib/python3.11/dist-packages/gi
cd /usr/local/lib/python3.11/dist-packages/gi && echo >__init__.py
echo 'class Gio:
    class BusType: SYSTEM = 1
    @staticmethod
    def bus_get_sync(*words): return None' >repository.py";

/// Every case agrees or has its entry, and `least` of them were carried out.
fn agree(guest: &Guest, theirs: &str, agents: &[&str], least: usize) {
    agree_on(guest, theirs, agents, "", least);
}

/// The same of the cases whose names contain `part`.
fn agree_on(guest: &Guest, theirs: &str, agents: &[&str], part: &str, least: usize) {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/divergences.toml");
    guest.put("/root/divergences.toml", &std::fs::read_to_string(list).unwrap()).unwrap();
    // The tests that entries name are not in the guest.
    guest.run("sed -i '/^shown = /d' /root/divergences.toml").unwrap().ok().unwrap();
    let mut count = 0;
    for agent in agents {
        let compare = format!(
            "ringfence-conformance compare --on-this-machine --level lab --verbose --agent {agent} --case '{part}' --divergences /root/divergences.toml \
             --theirs /usr/lib/ocf/resource.d/{theirs} --ours /usr/lib/ocf/resource.d/ringfence"
        );
        let ran = guest.run_within(Duration::from_secs(900), &compare).unwrap();
        let said: Vec<&str> = ran.stdout.lines().filter(|line| !line.contains("no case shows it")).collect();
        let counts = said.last().copied().unwrap_or_default();
        assert!(counts.contains(" 0 not judged"), "{agent}: {ran:?}");
        let findings: Vec<&&str> = said
            .iter()
            .filter(|line| line.contains(": holds for ") || line.starts_with("divergence "))
            .collect();
        assert!(findings.is_empty(), "{}", said.join("\n"));
        let number = |word: &str| -> usize {
            let before = counts.split(word).next().unwrap_or_default();
            before.rsplit([' ', ',']).find(|word| !word.is_empty()).and_then(|n| n.parse().ok()).unwrap_or(0)
        };
        count += number(" agree") + number(" differ as intended");
    }
    assert!(count >= least, "{count} cases");
}

#[test]
fn drbd_beside_upstream() {
    let lab = Lab::open(&Needs::of("drbd_beside_upstream").agents()).unwrap();
    let [guest] = lab.guests(["n1"], &Disks::none().own("data", 64)).unwrap();
    let resource = "resource r0 {\n  device /dev/drbd0;\n  disk /dev/lab/data;\n  meta-disk internal;\n\
        \x20 on n1 { address 10.55.0.11:7789; }\n  on n2 { address 10.55.0.12:7789; }\n}\n";
    guest.put("/etc/drbd.d/r0.res", resource).unwrap();
    agree(&guest, "linbit", &["drbd"], 3);
}

#[test]
fn lio_beside_upstream() {
    let lab = Lab::open(&Needs::of("lio_beside_upstream").agents()).unwrap();
    let [guest] = lab.guests(["n1"], &Disks::none()).unwrap();
    guest.run(LIKE_A_HOST).unwrap().ok().unwrap();
    agree(&guest, "heartbeat", &["iSCSITarget", "iSCSILogicalUnit"], 6);
}

#[test]
fn zfs_beside_upstream() {
    let lab = Lab::open(&Needs::of("zfs_beside_upstream").agents().zfs()).unwrap();
    let [guest] = lab.guests(["n1"], &Disks::none()).unwrap();
    guest.run("mkdir -p /run/resource-agents").unwrap().ok().unwrap();
    agree(&guest, "heartbeat", &["ZFS"], 5);
}

/// `guest NAME WORDS [LINE...]` of conformance/cases/Xen/lab.case, on the lab's tiny guest.
const XEN_GUEST: &str = r#"#!/bin/sh
name=$1 words=$2
shift 2
{
  printf 'name="%s"\ntype="pv"\nkernel="/usr/lib/lab/xen/kernel"\nramdisk="/var/lib/lab/xen-guest"\n' "$name"
  printf 'memory=112\nextra="console=hvc0 quiet %s"\n' "$words"
  for line; do printf '%s\n' "$line"; done
} >/run/judge/"$name".cfg
: >/var/log/xen/console/guest-"$name".log
"#;

/// `lives NAME`: its heart beats.
const XEN_LIVES: &str = r#"#!/bin/sh
for try in $(seq 300); do
  if grep -q '^tick' /var/log/xen/console/guest-"$1".log 2>/dev/null; then exit 0; fi
  sleep 0.2
done
exit 1
"#;

/// `ends NAME`: it executes nothing any more, or is in no list.
const XEN_ENDS: &str = r#"#!/bin/sh
for try in $(seq 300); do
  case "$(xl list "$1" 2>/dev/null)" in
    *' ---s'*) exit 0 ;;
    *"$1"*) sleep 0.1 ;;
    *) exit 0 ;;
  esac
done
exit 1
"#;

fn xen_agrees(test: &str, part: &str, least: usize) {
    let lab = Lab::open(&Needs::of(test).agents().xen()).unwrap();
    let [guest] = lab.guests(["xa"], &Disks::none()).unwrap();
    guest.run("mkdir -p /run/resource-agents").unwrap().ok().unwrap();
    for (name, text) in [("guest", XEN_GUEST), ("lives", XEN_LIVES), ("ends", XEN_ENDS)] {
        guest.put_mode(&format!("/usr/bin/{name}"), text, 0o755).unwrap();
    }
    agree_on(&guest, "heartbeat", &["Xen"], part, least);
}

#[test]
fn domus_beside_upstream() {
    xen_agrees("domus_beside_upstream", "domu-", 8);
}

/// Of a guest that does not listen xl waits a minute for an answer.
#[test]
fn idle_domus_beside_upstream() {
    xen_agrees("idle_domus_beside_upstream", "idle-", 7);
}

#[test]
fn dom0_beside_upstream() {
    xen_agrees("dom0_beside_upstream", "dom0-", 19);
}
