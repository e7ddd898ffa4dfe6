//! What a monitor of a running resource costs: each storage agent's beside upstream's on one kernel, or beside a program that does
//! nothing where upstream has none; and what it runs.
#![cfg(feature = "lab")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test's helper functions are tests too; the figures are for who reads the log"
)]

use ringfence_tests::lab::xen::Domain;
use ringfence_tests::lab::{Disks, Guest, Lab, Needs};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(240);
const TIMES: &str = include_str!("../lab/time-monitors.py");
const RESOURCE: &str = "resource r0 { device /dev/drbd0; disk /dev/lab/drbd; meta-disk internal;
  on n1 { address 10.55.0.11:7788; } on n2 { address 10.55.0.12:7788; } }\n";
/// In the place of the cluster's tool, where there is no cluster.
const CRM_ATTRIBUTE: &str = "#!/bin/sh\nexit 0\n";
const IQN: &str = "iqn=iqn.2026-01.org.lab:t";
const UNIT: [&str; 3] = ["target_iqn=iqn.2026-01.org.lab:t", "lun=1", "path=/dev/lab/unit"];

/// An agent with a running resource.
struct Running<'a> {
    agent: &'a str,
    /// Upstream's, or a program that does nothing.
    theirs: &'a str,
    parameters: &'a [&'a str],
    /// How many programs a monitor may run besides itself.
    runs: u32,
    /// How many times quicker than theirs at least.
    quicker: f64,
}

fn sh(guest: &Guest, script: &str) -> String {
    guest.run_within(LIMIT, &format!("set -e\n{script}")).unwrap().ok().unwrap().text().to_owned()
}

impl Running<'_> {
    fn environment(&self) -> String {
        let words: Vec<String> = self.parameters.iter().map(|word| format!("'OCF_RESKEY_{word}'")).collect();
        let words = words.join(" ");
        format!(
            "env OCF_ROOT=/usr/lib/ocf OCF_RESOURCE_INSTANCE=lab OCF_RESKEY_CRM_meta_interval=10000 \
             OCF_RESKEY_CRM_meta_timeout=60000 {words}"
        )
    }

    /// Starts it, counts what a monitor runs, and times it.
    fn shown(&self, guest: &Guest) {
        let ours = format!("/usr/lib/ocf/resource.d/ringfence/{}", self.agent);
        let environment = self.environment();
        let processes = sh(
            guest,
            &format!(
                "{environment} OCF_RESKEY_CRM_meta_interval=0 {ours} start
                 {environment} {ours} monitor
                 {environment} strace -f -qq -e trace=execve -o /tmp/trace {ours} monitor
                 cut -d' ' -f1 /tmp/trace | sort -u | wc -l"
            ),
        );
        let processes: u32 = processes.lines().last().unwrap().parse().unwrap();
        let said = sh(guest, &format!("/root/times {ours} {} {}", self.theirs, self.parameters.join(" ")));
        let words: Vec<&str> = said.split(' ').collect();
        let [our_code, their_code, ours, theirs] = words.as_slice() else { unreachable!("{said}") };
        let ratio = theirs.parse::<f64>().unwrap() / ours.parse::<f64>().unwrap();
        println!("{}: {ratio:.2} times as quick as {}, {} programs", self.agent, self.theirs, processes - 1);
        assert_eq!((*our_code, *their_code), ("0", "0"), "{}", self.agent);
        // The first is the agent itself.
        assert!(processes <= 1 + self.runs, "{}: {processes}", self.agent);
        assert!(ratio >= self.quicker, "{}: {ratio:.2} times as quick as {}", self.agent, self.theirs);
    }
}

fn lab(test: &str, zfs: bool) -> (Lab, Guest) {
    let needs = Needs::of(test).agents();
    let lab = Lab::open(&if zfs { needs.zfs() } else { needs }).unwrap();
    let disks = Disks::none().own("drbd", 32).own("unit", 80).own("grows", 64).own("volume", 64);
    let [guest] = lab.guests(["n1"], &disks).unwrap();
    guest.put_mode("/root/times", TIMES, 0o755).unwrap();
    guest.put_mode("/usr/sbin/crm_attribute", CRM_ATTRIBUTE, 0o755).unwrap();
    sh(&guest, "mkdir -p /run/resource-agents");
    (lab, guest)
}

#[test]
fn monitors_of_drbd_and_tgtd_beside_upstreams() {
    let (_lab, guest) = lab("monitors_of_drbd_and_tgtd_beside_upstreams", false);
    guest.put("/etc/drbd.d/r0.res", RESOURCE).unwrap();
    sh(&guest, "drbdadm create-md --force r0 >/dev/null 2>&1\ntgtd && tgtadm --op show --mode target");
    let heartbeat = "/usr/lib/ocf/resource.d/heartbeat";
    let meta = ["notify=true", "clone_max=2", "clone_node_max=1", "master_max=1", "master_node_max=1"];
    let meta = meta.map(|word| format!("CRM_meta_{word}"));
    let mut drbd = vec!["drbd_resource=r0"];
    drbd.extend(meta.iter().map(String::as_str));
    let unit = [&["implementation=tgt"], &UNIT[..]].concat();
    for (agent, theirs, parameters) in [
        ("drbd", "/usr/lib/ocf/resource.d/linbit/drbd", &drbd[..]),
        ("iSCSITarget", &format!("{heartbeat}/iSCSITarget"), &["implementation=tgt", "tid=1", IQN]),
        ("iSCSILogicalUnit", &format!("{heartbeat}/iSCSILogicalUnit"), &unit),
    ] {
        Running { agent, theirs, parameters, runs: 1, quicker: 3.0 }.shown(&guest);
    }
}

#[test]
fn monitors_of_zfs_beside_upstreams() {
    let (_lab, guest) = lab("monitors_of_zfs_beside_upstreams", true);
    sh(
        &guest,
        "zpool create -o cachefile=none -m /tank tank $(readlink -f /dev/lab/unit); zpool export tank",
    );
    let theirs = "/usr/lib/ocf/resource.d/heartbeat/ZFS";
    Running { agent: "ZFS", theirs, parameters: &["pool=tank"], runs: 0, quicker: 4.0 }.shown(&guest);
}

#[test]
fn monitors_of_xen_beside_upstreams() {
    let lab = Lab::open(&Needs::of("monitors_of_xen_beside_upstreams").agents().xen()).unwrap();
    let [host] = lab.guests(["xa"], &Disks::none()).unwrap();
    host.put_mode("/root/times", TIMES, 0o755).unwrap();
    let vm = Domain::named("vm");
    vm.put(&host).unwrap();
    sh(&host, "mkdir -p /run/resource-agents");
    let xmfile = format!("xmfile={}", vm.path());
    let theirs = "/usr/lib/ocf/resource.d/heartbeat/Xen";
    Running { agent: "Xen", theirs, parameters: &[&xmfile], runs: 1, quicker: 1.5 }.shown(&host);
}

#[test]
fn monitors_that_upstream_has_not_beside_an_empty_program() {
    let (_lab, guest) = lab("monitors_that_upstream_has_not_beside_an_empty_program", false);
    sh(
        &guest,
        "mkfs.ext4 -q /dev/lab/grows; mkdir /mnt/grows; mount /dev/lab/grows /mnt/grows
         pvcreate -qq /dev/lab/volume; vgcreate -qq vg /dev/lab/volume",
    );
    // An emulated processor takes long for what it has not seen before: the file of an agent is a hundred times that of true.
    let (theirs, quicker) = ("/bin/true", 0.1);
    let parameters = &["device=/mnt/grows"][..];
    Running { agent: "multipath-resize", theirs, parameters, runs: 0, quicker }.shown(&guest);
    // LVM's own answer is asked for: the time is that of lvmconfig.
    let parameters = &["accept=^/dev/mapper/", "reject=^/dev/drbd"][..];
    Running { agent: "LVM-filter", theirs, parameters, runs: 1, quicker: 0.01 }.shown(&guest);
}
