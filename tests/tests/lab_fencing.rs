//! A cluster of two guests that fences by levels: a controller that cannot be asked, then the disk that both write to. Each node is
//! let in by unfencing when it joins. What is registered is asked of the target, who can write of the disk.
#![cfg(feature = "lab")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test's helper functions are tests too")]

use ringfence_tests::lab::{Disks, Guest, Lab, Needs};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(90);

/// The kernel's target on the third guest, for the two others.
const SERVE: &str = "set -e
C=/sys/kernel/config/target; B=$C/core/iblock_0/shared; T=$C/iscsi/iqn.2026-01.org.lab:shared/tpgt_1
mkdir -p /var/target/pr /etc/target/pr $B
echo udev_path=/dev/lab/one >$B/control; echo /dev/lab/one >$B/udev_path; echo 33333333-5c51-4000-8000-000000000001 >$B/wwn/vpd_unit_serial
echo 1 >$B/enable
mkdir -p $T/lun/lun_0; ln -s $B $T/lun/lun_0/l; echo 0 >$T/attrib/authentication
for n in n1 n2; do
    mkdir -p $T/acls/iqn.2026-01.lab:$n/lun_0; ln -s $T/lun/lun_0 $T/acls/iqn.2026-01.lab:$n/lun_0/l
done
mkdir $T/np/10.55.0.13:3260; echo 1 >$T/enable";

/// What an administrator has enabled at boot: the session to the target. The disk is /dev/shared.
const BOOT: &str = "#!/bin/sh
mkdir -p /run/resource-agents
modprobe iscsi_tcp; pidof iscsid >/dev/null || iscsid
iscsiadm -m discovery -t st -p 10.55.0.13 >/dev/null || exit 1
iscsiadm -m node -l || exit 1
for i in $(seq 50); do
    udevadm settle; d=$(lsscsi | awk '/LIO-ORG/{print $NF; exit}')
    [ -b \"$d\" ] && ln -sf \"$d\" /dev/shared && exit 0; sleep 0.5
done
exit 1
";

/// Nodes whose keys the target has.
fn keys(store: &Guest) -> Vec<String> {
    let show = "cat /sys/kernel/config/target/core/iblock_0/shared/pr/res_pr_registered_i_pts";
    let text = store.run(show).unwrap().ok().unwrap().stdout;
    let mut names: Vec<String> = text
        .lines()
        .filter_map(|line| line.split("lab:").nth(1)?.split([',', ' ']).next().map(str::to_owned))
        .collect();
    names.sort();
    names
}

fn until_keys(store: &Guest, wanted: &[&str]) {
    let end = Instant::now() + PATIENCE;
    loop {
        let seen = keys(store);
        if seen == wanted {
            return;
        }
        assert!(Instant::now() < end, "{seen:?}, not {wanted:?}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn device(id: &str, agent: &str, list: &[(&str, &str)], meta: &str) -> String {
    let mut xml = format!(
        "<primitive id='{id}' class='stonith' type='{agent}'>{meta}<instance_attributes id='{id}-ia'>"
    );
    for (name, value) in list {
        let _ = write!(xml, "<nvpair id='{id}-{name}' name='{name}' value='{value}'/>");
    }
    xml + "</instance_attributes></primitive>"
}

/// One change of the configuration, and one program in the guest.
fn configuration() -> String {
    let controller = |node: &str| {
        // The third guest has no controller: the datagram is refused.
        let list = [
            ("ip", "10.55.0.13"),
            ("username", "admin"),
            ("password", "s3cret"),
            ("lanplus", "1"),
            ("pcmk_host_list", node),
            ("pcmk_host_check", "static-list"),
        ];
        device(&format!("bmc-{node}"), "fence_ipmilan", &list, "")
    };
    let disk = [
        ("devices", "/dev/shared"),
        ("key_value", "nodeid"),
        ("pcmk_host_list", "n1 n2"),
        ("pcmk_host_check", "static-list"),
        ("pcmk_reboot_action", "off"),
    ];
    let unfences = "<meta_attributes id='disk-m'><nvpair id='disk-p' name='provides' value='unfencing'/></meta_attributes>";
    let mut levels = String::new();
    for node in ["n1", "n2"] {
        let _ = write!(
            levels,
            "<fencing-level id='{node}-1' target='{node}' index='1' devices='bmc-{node}'/>\
             <fencing-level id='{node}-2' target='{node}' index='2' devices='disk'/>"
        );
    }
    format!(
        "cibadmin -M -c -o configuration -X \"<configuration><crm_config><cluster_property_set id='o'>\
         <nvpair id='o-s' name='stonith-enabled' value='true'/><nvpair id='o-t' name='stonith-timeout' value='60s'/>\
         </cluster_property_set></crm_config><resources>{}{}{}</resources><fencing-topology>{levels}</fencing-topology>\
         <op_defaults><meta_attributes id='d'><nvpair id='d-t' name='timeout' value='60s'/></meta_attributes></op_defaults>\
         </configuration>\"",
        controller("n1"),
        controller("n2"),
        device("disk", "fence_scsi", &disk, unfences)
    )
}

/// Writes a block to the disk.
const WRITE: &str = "dd if=/dev/zero of=/dev/shared bs=4096 count=1 oflag=direct conv=notrunc 2>&1";

fn writes(guest: &Guest) -> bool {
    guest.run(WRITE).unwrap().code == 0
}

fn until(guest: &Guest, seen: &str) {
    let script = format!(
        "for i in $(seq 60); do {seen} && exit 0; sleep 1; done
         crm_mon -1rf; stonith_admin -H '*' -V; grep -a 'fence\\|stonith' /var/log/pacemaker/pacemaker.log | tail -100; exit 1"
    );
    guest.run_within(PATIENCE * 2, &script).unwrap().ok().unwrap();
}

#[test]
fn a_cluster_fences_by_the_disk_and_unfences_who_joins() {
    let test = "a_cluster_fences_by_the_disk_and_unfences_who_joins";
    let lab = Lab::open(&Needs::of(test).agents().cluster()).unwrap();
    let [a, b, store] = lab.guests(["n1", "n2", "n3"], &Disks::none().own("one", 32)).unwrap();
    store.run(SERVE).unwrap().ok().unwrap();
    std::thread::scope(|scope| {
        for guest in [&a, &b] {
            scope.spawn(|| {
                guest.put_mode("/etc/lab/boot", BOOT, 0o755).unwrap();
                guest.run_within(PATIENCE, "/etc/lab/boot").unwrap().ok().unwrap();
            });
        }
    });
    assert_eq!(keys(&store), Vec::<String>::new());
    a.run(&configuration()).unwrap().ok().unwrap();

    // Both are in the cluster already, and are let in. A device whose host has no key could not fence: it starts after that.
    until_keys(&store, &["n1", "n2"]);
    until(&a, "crm_mon -1 | grep -q 'disk.*Started'");
    assert!(writes(&a) && writes(&b));

    // The cluster no longer hears the node, which writes on: its power cannot be cut, its key can.
    let busy = format!(
        "kill -s STOP $(pidof corosync) || exit; while ({WRITE}) >/dev/null; do sleep 0.3; done; echo refused"
    );
    let running = b.start_within(PATIENCE, &busy).unwrap();
    until_keys(&store, &["n1"]);
    assert_eq!(running.wait().unwrap().text(), "refused");
    until(&a, "crm_mon -1 | grep -q 'OFFLINE: \\[ n2 \\]'");
    let log = a.run("grep -a 'targeting n2 using' /var/log/pacemaker/pacemaker.log").unwrap().stdout;
    assert!(log.contains("using bmc-n2 returned 1") && log.contains("using disk returned 0"), "{log}");
    assert!(writes(&a) && !writes(&b));
    assert_eq!(keys(&store), ["n1"]);

    // It comes back as an administrator brings it back, and is let in again.
    b.cut_power();
    b.power_on().unwrap();
    until_keys(&store, &["n1", "n2"]);
    until(&a, "crm_mon -1 | grep -q 'Online: \\[ n1 n2 \\]'");
    assert!(writes(&a) && writes(&b));
}
