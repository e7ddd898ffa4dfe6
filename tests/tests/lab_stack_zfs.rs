//! A whole stack on two nodes that see the same disk: a ZFS pool, a volume of it as an iSCSI target, and its address, with real
//! fencing, while a client writes through it. Once by a polite move and once by a power cut; not one acknowledged record may be lost.
#![cfg(feature = "lab")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test's helper functions are tests too; the figures are for who reads the log"
)]

use ringfence_tests::lab::bmc::{PASSWORD, USER, port, with_bmcs};
use ringfence_tests::lab::{Disks, Guest, Lab, Needs, Writer};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

const IQN: &str = "iqn.2026-01.org.lab:pool";
const ADDRESS: &str = "10.55.0.50";
const VOLUME: &str = "/dev/zvol/tank/lun";
/// For what a cluster of emulated nodes does; a pool of a dead owner alone is watched for a minute and a half.
const PATIENCE: Duration = Duration::from_secs(400);

/// What the administrator has enabled at boot; and the hostid of a host is the same after each of its boots.
const BOOT: &str = "#!/bin/sh\nmkdir -p /run/resource-agents\npidof tgtd >/dev/null || tgtd\n\
    zgenhostid -f $(hostname | cksum | cut -c1-8)\n";

const FILL: &str = "set -e
zpool create -o cachefile=none -O mountpoint=none tank $(readlink -f /dev/lab/tank)
zpool set multihost=on tank
zfs create -b 4096 -V 16M tank/lun
zpool export tank";

fn attributes(kind: &str, id: &str, list: &[(&str, &str)]) -> String {
    let mut text = format!("<{kind}_attributes id='{id}-{kind}'>");
    for (name, value) in list {
        let _ = write!(text, "<nvpair id='{id}-{name}' name='{name}' value='{value}'/>");
    }
    text + &format!("</{kind}_attributes>")
}

fn primitive(id: &str, kind: &str, list: &[(&str, &str)]) -> String {
    let (start, monitor) = if kind == "ZFS" { ("240s", "5s") } else { ("120s", "20s") };
    format!(
        "<primitive id='{id}' class='ocf' provider='ringfence' type='{kind}'>{}<operations>\
         <op id='{id}-s' name='start' interval='0' timeout='{start}'/>\
         <op id='{id}-o' name='monitor' interval='{monitor}' timeout='60s'/></operations></primitive>",
        attributes("instance", id, list)
    )
}

/// The fence device of a node, which cuts its power for real.
fn fence(guest: &Guest) -> String {
    let id = format!("fence-{}", guest.name());
    let port = port(guest).to_string();
    let list = [
        ("ip", "10.55.0.1"),
        ("ipport", &port),
        ("username", USER),
        ("password", PASSWORD),
        ("lanplus", "1"),
        ("cipher", "3"),
        ("pcmk_host_list", guest.name()),
        ("pcmk_host_check", "static-list"),
    ];
    format!(
        "<primitive id='{id}' class='stonith' type='fence_ipmilan'>{}</primitive>",
        attributes("instance", &id, &list)
    )
}

/// `importforce` is not set: the agent decides.
fn resources(guests: [&Guest; 2]) -> String {
    let group = [
        primitive("pool", "ZFS", &[("pool", "tank"), ("importargs", "-d /dev/lab")]),
        primitive("target", "iSCSITarget", &[("implementation", "tgt"), ("iqn", IQN), ("tid", "1")]),
        primitive(
            "lun",
            "iSCSILogicalUnit",
            &[("implementation", "tgt"), ("target_iqn", IQN), ("lun", "1"), ("path", VOLUME)],
        ),
        primitive("ip", "IPaddr2", &[("ip", ADDRESS), ("cidr_netmask", "24")]),
    ];
    format!(
        "<resources>{}{}<group id='stack'>{}</group></resources>",
        fence(guests[0]),
        fence(guests[1]),
        group.concat()
    )
}

const CONSTRAINTS: &str = "<constraints>\
    <rsc_location id='l1' rsc='fence-n1' node='n1' score='-INFINITY'/>\
    <rsc_location id='l2' rsc='fence-n2' node='n2' score='-INFINITY'/></constraints>";

/// Waits for a line in a node's own view of the cluster.
fn until(guest: &Guest, seen: &str) {
    let script = format!(
        "for i in $(seq 300); do {seen} && exit 0; sleep 1.5; done; crm_mon -1rf; zpool status; exit 1"
    );
    guest.run_within(PATIENCE, &script).unwrap().ok().unwrap();
}

fn runs_on(guest: &Guest, resource: &str, node: &str) {
    until(guest, &format!("crm_resource -W -r {resource} 2>&1 | grep -q 'running on: {node}'"));
}

fn settled(guest: &Guest) {
    until(guest, "crmadmin -q -S $(crmadmin -q -D 2>/dev/null) 2>/dev/null | grep -q S_IDLE");
}

/// The observer is the kernel.
fn imported(guest: &Guest) -> bool {
    guest.run("cat /proc/spl/kstat/zfs/tank/state").unwrap().text() == "ONLINE"
}

fn configure(a: &Guest, b: &Guest) {
    let command = |scope: &str, xml: &str| format!("cibadmin -R -o {scope} -X \"{xml}\"\n");
    let script = format!(
        "set -e
        crm_attribute -t rsc_defaults -n resource-stickiness -v 100
        crm_attribute -t op_defaults -n timeout -v 120s
        crm_attribute -n stonith-enabled -v true
        crm_attribute -n stonith-timeout -v 120s
        {}{}",
        command("resources", &resources([a, b])),
        command("constraints", CONSTRAINTS)
    );
    a.run(&script).unwrap().ok().unwrap();
    until(a, "crm_resource -W -r ip 2>&1 | grep -q 'running on: n'");
    settled(a);
}

/// How the active node is lost.
#[derive(Clone, Copy, PartialEq)]
enum Loss {
    /// Its power goes.
    Power,
    /// Its cable is pulled: it lives, has the pool and goes on writing its heartbeat into it, until it is fenced.
    Cable,
}

fn failover(test: &str, loss: Loss) {
    let lab = Lab::open(&Needs::of(test).agents().cluster().zfs()).unwrap();
    let [a, b, client] = lab.guests(["n1", "n2", "client"], &Disks::none().shared("tank", 128)).unwrap();
    for guest in [&a, &b] {
        guest.put_mode("/etc/lab/boot", BOOT, 0o755).unwrap();
        guest.run("/etc/lab/boot").unwrap().ok().unwrap();
    }
    a.run(FILL).unwrap().ok().unwrap();
    // What the other one has written on the disk.
    b.run("blockdev --rereadpt /dev/lab/tank; udevadm settle").unwrap().ok().unwrap();
    with_bmcs(&lab, &[&a, &b], || {
        configure(&a, &b);
        let active = a.run("crm_resource -W -r ip 2>&1").unwrap().text().ends_with("n1");
        let (mut second, mut first) = if active { (&a, &b) } else { (&b, &a) };
        assert!(imported(second) && !imported(first));
        let disk = client.log_in(ADDRESS, IQN, 1).unwrap();
        let writer = Writer::start(&client, &disk, Duration::from_secs(900)).unwrap();
        writer.wait_for(50, PATIENCE).unwrap();

        if loss == Loss::Power {
            // A polite move: the pool is exported, so no force is needed.
            (first, second) = (second, first);
            first.run(&format!("crm_standby -N {} -v on", first.name())).unwrap().ok().unwrap();
            runs_on(second, "ip", second.name());
            assert!(imported(second) && !imported(first));
            writer.wait_for(50, PATIENCE).unwrap();
            settled(second);
            first.run(&format!("crm_standby -N {} -v off", first.name())).unwrap().ok().unwrap();
            settled(second);
        }
        let before = writer.acknowledged();

        // Nobody imports before the cluster has made sure that the lost node is off, and the pool's own watch is over.
        let since = Instant::now();
        let commands = match loss {
            Loss::Power => {
                second.cut_power();
                "set power 1"
            }
            Loss::Cable => {
                second.link(false).unwrap();
                "set power 0"
            }
        };
        runs_on(first, "ip", first.name());
        println!("the address is back {:.1} s after the loss", since.elapsed().as_secs_f64());
        assert!(imported(first));
        writer.wait_for(50, PATIENCE).unwrap();
        let chassis =
            std::fs::read_to_string(lab.folder().join(format!("bmc{}/log", port(second) - port(&a) + 1)));
        assert!(chassis.unwrap().contains(commands), "nobody has fenced {}", second.name());
        // And the cluster had waited for that.
        let history = first.run(&format!("stonith_admin --history {}", second.name())).unwrap().ok().unwrap();
        assert!(history.stdout.contains("reboot") && !history.stdout.contains("fail"), "{history:?}");

        // The one that was fenced comes back and leaves the pool alone.
        until(first, "crm_mon -1 | grep -q 'Online: \\[ n1 n2 \\]'");
        settled(first);
        writer.wait_for(50, PATIENCE).unwrap();
        assert!(imported(first) && !imported(second));
        let written = writer.stop().unwrap();
        assert!(written.count > before, "{written:?}");
        written.verify(&client, &disk).unwrap();
        let scrub =
            first.run_within(PATIENCE, "zpool scrub -w tank && zpool status tank").unwrap().ok().unwrap();
        assert!(scrub.stdout.contains("No known data errors"), "{scrub:?}");
        println!("{written:?}");
    })
    .unwrap();
}

#[test]
fn a_pool_its_target_and_its_address_fail_over_without_a_lost_write() {
    failover("a_pool_its_target_and_its_address_fail_over_without_a_lost_write", Loss::Power);
}

#[test]
fn an_owner_that_was_cut_off_is_fenced_before_its_pool_is_taken() {
    failover("an_owner_that_was_cut_off_is_fenced_before_its_pool_is_taken", Loss::Cable);
}
