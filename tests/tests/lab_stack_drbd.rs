//! A whole stack on two nodes: DRBD, LVM's filter, a volume group, an iSCSI target and its address, with real fencing, while a client
//! writes through it. Each node loses the stack once, by a polite move and by a power cut; not one acknowledged record may be lost.
#![cfg(feature = "lab")]
#![allow(clippy::unwrap_used, reason = "a test's helper functions are tests too")]

use ringfence_tests::lab::bmc::{PASSWORD, USER, port, with_bmcs};
use ringfence_tests::lab::{Disks, Guest, Lab, Needs, Writer};
use std::fmt::Write as _;
use std::time::Duration;

const IQN: &str = "iqn.2026-01.org.lab:stack";
const ADDRESS: &str = "10.55.0.50";
/// For what a cluster of emulated nodes does.
const PATIENCE: Duration = Duration::from_secs(300);

/// As users have it: nobody writes before the peer is fenced, by the cluster.
const DRBD: &str = "resource r0 {
  protocol C;
  handlers {
    fence-peer \"/usr/lib/drbd/crm-fence-peer.sh\";
    after-resync-target \"/usr/lib/drbd/crm-unfence-peer.sh\";
  }
  disk { fencing resource-and-stonith; resync-rate 100M; c-plan-ahead 0; }
  device /dev/drbd0;
  disk /dev/lab/data;
  meta-disk internal;
  on n1 { address 10.55.0.11:7788; }
  on n2 { address 10.55.0.12:7788; }
}
";
/// A group belongs to the node that has activated it (lvmsystemid(7)).
const LVM: &str = "global {\n\tsystem_id_source = \"uname\"\n}\n";
/// What the administrator has enabled at boot.
const BOOT: &str = "#!/bin/sh\nmkdir -p /run/resource-agents\n";
/// With tgt its daemon, which would keep LIO from listening.
const BOOT_TGT: &str = "pidof tgtd >/dev/null || tgtd\n";

/// The group on the replicated disk, and both sides down again: what the cluster gets.
const FILL: &str = "set -e
drbdadm -- --clear-bitmap new-current-uuid r0
drbdadm primary r0
F='devices/global_filter=[\"a|^/dev/drbd|\",\"r|.*|\"]'
pvcreate -qq --config \"$F\" /dev/drbd0
vgcreate -qq --config \"$F\" vg /dev/drbd0
lvcreate -qq -y -L 16M -n lun --config \"$F\" vg
vgchange -qq -an --config \"$F\" vg
drbdadm secondary r0";

fn parameters(id: &str, list: &[(&str, &str)]) -> String {
    let mut text = format!("<instance_attributes id='{id}-a'>");
    for (name, value) in list {
        let _ = write!(text, "<nvpair id='{id}-{name}' name='{name}' value='{value}'/>");
    }
    text + "</instance_attributes>"
}

fn meta(id: &str, list: &[(&str, &str)]) -> String {
    parameters(&format!("{id}-m"), list).replace("instance_attributes", "meta_attributes")
}

fn primitive(id: &str, provider: &str, kind: &str, list: &[(&str, &str)]) -> String {
    let operations = match kind {
        "drbd" => "<op id='r0-mp' name='monitor' interval='11s' role='Promoted' timeout='60s'/>\
             <op id='r0-mu' name='monitor' interval='13s' role='Unpromoted' timeout='60s'/>\
             <op id='r0-s' name='start' interval='0' timeout='240s'/>"
            .to_owned(),
        _ => format!("<op id='{id}-o' name='monitor' interval='20s' timeout='60s'/>"),
    };
    format!(
        "<primitive id='{id}' class='ocf' provider='{provider}' type='{kind}'>{}<operations>{operations}</operations></primitive>",
        parameters(id, list)
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
        parameters(&id, &list)
    )
}

fn resources(guests: [&Guest; 2], implementation: &str) -> String {
    let ours = "ringfence";
    let filter = primitive("filter", ours, "LVM-filter", &[("accept", "^/dev/drbd"), ("reject", "^/dev/sd")]);
    let drbd = primitive("r0", ours, "drbd", &[("drbd_resource", "r0")]);
    let group = [
        primitive("lvm", "heartbeat", "LVM-activate", &[("vgname", "vg"), ("vg_access_mode", "system_id")]),
        primitive(
            "target",
            ours,
            "iSCSITarget",
            &[("implementation", implementation), ("iqn", IQN), ("tid", "1")],
        ),
        primitive(
            "lun",
            ours,
            "iSCSILogicalUnit",
            &[("implementation", implementation), ("target_iqn", IQN), ("lun", "1"), ("path", "/dev/vg/lun")],
        ),
        primitive("ip", ours, "IPaddr2", &[("ip", ADDRESS), ("cidr_netmask", "24")]),
    ]
    .concat();
    // Interleaved: else the filter of the node that comes back would restart the DRBD of the one that serves.
    let promotable = meta(
        "r0-clone",
        &[
            ("promotable", "true"),
            ("promoted-max", "1"),
            ("clone-max", "2"),
            ("notify", "true"),
            ("interleave", "true"),
        ],
    );
    format!(
        "<resources>{}{}<clone id='filter-clone'>{}{filter}</clone><clone id='r0-clone'>{promotable}{drbd}</clone>\
         <group id='stack'>{group}</group></resources>",
        fence(guests[0]),
        fence(guests[1]),
        meta("filter-clone", &[("interleave", "true")]),
    )
}

const CONSTRAINTS: &str = "<constraints>\
    <rsc_location id='l1' rsc='fence-n1' node='n1' score='-INFINITY'/>\
    <rsc_location id='l2' rsc='fence-n2' node='n2' score='-INFINITY'/>\
    <rsc_order id='o1' first='filter-clone' then='r0-clone'/>\
    <rsc_order id='o2' first='r0-clone' first-action='promote' then='stack' then-action='start'/>\
    <rsc_colocation id='c1' rsc='stack' with-rsc='r0-clone' with-rsc-role='Promoted' score='INFINITY'/>\
    </constraints>";

/// Waits for a line in a node's own view of the cluster.
fn until(guest: &Guest, seen: &str) {
    let script = format!(
        "end=$(($(date +%s) + 240)); while [ $(date +%s) -lt $end ]; do {seen} && exit 0; sleep 1.5; done; crm_mon -1rf; cat /proc/drbd; cibadmin -Q -o constraints; exit 1"
    );
    guest.run_within(PATIENCE, &script).unwrap().ok().unwrap();
}

fn runs_on(guest: &Guest, resource: &str, node: &str) {
    until(guest, &format!("crm_resource -W -r {resource} 2>&1 | grep -q 'running on: {node}'"));
}

fn settled(guest: &Guest) {
    until(guest, "crmadmin -q -S $(crmadmin -q -D 2>/dev/null) 2>/dev/null | grep -q S_IDLE");
}

fn replicated(guest: &Guest) {
    until(guest, "grep -q 'cs:Connected.*ds:UpToDate/UpToDate' /proc/drbd");
}

fn both(guests: [&Guest; 2], script: &str) {
    std::thread::scope(|scope| {
        for guest in guests {
            scope.spawn(move || guest.run_within(PATIENCE, script).unwrap().ok().unwrap());
        }
    });
}

fn prepare(a: &Guest, b: &Guest, implementation: &str) {
    let boot = if implementation == "tgt" { format!("{BOOT}{BOOT_TGT}") } else { BOOT.to_owned() };
    for guest in [a, b] {
        guest.put("/etc/drbd.d/r0.res", DRBD).unwrap();
        guest.put("/etc/lvm/lvmlocal.conf", LVM).unwrap();
        guest.put_mode("/etc/lab/boot", &boot, 0o755).unwrap();
    }
    both(
        [a, b],
        // drbdadm gives its own tool five seconds, which is not much for an emulated processor on a busy host.
        "set -e; /etc/lab/boot; drbdadm create-md --force r0
        for i in 1 2 3 4 5; do drbdadm adjust r0 && break; sleep 1; done; drbdadm wait-connect r0",
    );
    a.run_within(PATIENCE, FILL).unwrap().ok().unwrap();
    both([a, b], "drbdadm down r0");
}

fn configure(a: &Guest, b: &Guest, implementation: &str) {
    let command = |scope: &str, xml: &str| format!("cibadmin -R -o {scope} -X \"{xml}\"\n");
    let script = format!(
        "set -e
        crm_attribute -t rsc_defaults -n resource-stickiness -v 100
        crm_attribute -t op_defaults -n timeout -v 120s
        crm_attribute -n stonith-enabled -v true
        crm_attribute -n stonith-timeout -v 120s
        {}{}",
        command("resources", &resources([a, b], implementation)),
        command("constraints", CONSTRAINTS)
    );
    a.run(&script).unwrap().ok().unwrap();
    until(a, "crm_resource -W -r ip 2>&1 | grep -q 'running on: n'");
    settled(a);
    replicated(a);
}

fn failover(test: &str, implementation: &str) {
    let lab = Lab::open(&Needs::of(test).agents().cluster()).unwrap();
    let [a, b, client] = lab.guests(["n1", "n2", "client"], &Disks::none().own("data", 64)).unwrap();
    prepare(&a, &b, implementation);
    with_bmcs(&lab, &[&a, &b], || {
        configure(&a, &b, implementation);
        let active = a.run("crm_resource -W -r ip 2>&1").unwrap().text().ends_with("n1");
        let (first, second) = if active { (&a, &b) } else { (&b, &a) };
        let disk = client.log_in(ADDRESS, IQN, 1).unwrap();
        let writer = Writer::start(&client, &disk, Duration::from_secs(900)).unwrap();
        writer.wait_for(50, PATIENCE).unwrap();

        // A polite move.
        first.run(&format!("crm_resource -M -r stack -N {}", second.name())).unwrap().ok().unwrap();
        runs_on(second, "ip", second.name());
        writer.wait_for(50, PATIENCE).unwrap();
        settled(second);
        first.run("crm_resource -U -r stack").unwrap().ok().unwrap();
        replicated(second);
        let before = writer.acknowledged();

        // The power goes; the cluster makes sure of that before anybody writes.
        second.cut_power();
        runs_on(first, "ip", first.name());
        writer.wait_for(50, PATIENCE).unwrap();
        // Its controller said "off", and was told to switch it on again.
        let asked = lab.folder().join(format!("bmc{}/log", port(second) - port(&a) + 1));
        let asked = std::fs::read_to_string(asked).unwrap();
        let fenced = first.run(&format!("stonith_admin --history {}", second.name())).unwrap().ok().unwrap();
        assert!(asked.contains("set power 1") && fenced.stdout.contains("reboot"), "{asked}{fenced:?}");

        // Fencing has started it again: it joins and catches up while the client goes on.
        until(first, "crm_mon -1 | grep -q 'Online: \\[ n1 n2 \\]'");
        replicated(first);
        writer.wait_for(50, PATIENCE).unwrap();
        let written = writer.stop().unwrap();
        assert!(written.count > before, "{written:?}");
        written.verify(&client, &disk).unwrap();

        // What the one that was away has caught up with is the same.
        settled(first);
        first.run(&format!("crm_resource -M -r stack -N {}", second.name())).unwrap().ok().unwrap();
        runs_on(first, "ip", second.name());
        written.verify(&client, &disk).unwrap();
        // How long the client had to wait at most.
        std::fs::write(lab.logs().join("written"), format!("{implementation}: {written:?}\n")).unwrap();
    })
    .unwrap();
}

#[test]
fn drbd_lvm_and_tgt_fail_over_without_a_lost_write() {
    failover("drbd_lvm_and_tgt_fail_over_without_a_lost_write", "tgt");
}

#[test]
fn drbd_lvm_and_lio_fail_over_without_a_lost_write() {
    failover("drbd_lvm_and_lio_fail_over_without_a_lost_write", "lio-t");
}
