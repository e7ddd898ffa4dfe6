//! A cluster of two guests that fences by levels: a controller that cannot be reached, then the disk that both write to. Each node
//! is let in by unfencing when it joins. What is registered and who can write is asked of the target and of the disk.
#![cfg(feature = "lab")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test's helper functions are tests too")]

use ringfence_tests::lab::{Disks, Guest, Lab, Needs};
use std::fmt::Write as _;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(300);

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
iscsiadm -m node -o update -n node.session.timeo.replacement_timeout -v 5
iscsiadm -m node -o update -n node.conn[0].timeo.noop_out_interval -v 1
iscsiadm -m node -o update -n node.conn[0].timeo.noop_out_timeout -v 2
iscsiadm -m node -l || exit 1
for i in $(seq 50); do
    udevadm settle; d=$(lsscsi | awk '/LIO-ORG/{print $NF; exit}')
    [ -b \"$d\" ] && ln -sf \"$d\" /dev/shared && exit 0; sleep 0.5
done
exit 1
";

/// Nodes by number, as a bit each, whose keys the target has.
const KEYS: &str = "cat /sys/kernel/config/target/core/iblock_0/shared/pr/res_pr_registered_i_pts";

fn keys(store: &Guest) -> Vec<String> {
    let text = store.run(KEYS).unwrap().ok().unwrap().stdout;
    let mut names: Vec<String> = text
        .lines()
        .filter_map(|line| line.split("lab:").nth(1)?.split([',', ' ']).next().map(str::to_owned))
        .collect();
    names.sort();
    names
}

fn until_keys(store: &Guest, wanted: &[&str]) {
    let end = std::time::Instant::now() + PATIENCE;
    while keys(store) != wanted {
        assert!(std::time::Instant::now() < end, "{:?}, not {wanted:?}", keys(store));
        std::thread::sleep(Duration::from_secs(1));
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
        "crm_attribute -t op_defaults -n timeout -v 120s; crm_attribute -n stonith-timeout -v 120s
        cibadmin -R -o resources -X \"<resources>{}{}{}</resources>\" &&
        cibadmin -C -o configuration -X \"<fencing-topology>{levels}</fencing-topology>\" &&
        crm_attribute -n stonith-enabled -v true",
        controller("n1"),
        controller("n2"),
        device("disk", "fence_scsi", &disk, unfences)
    )
}

/// Whether the disk takes this guest's writes.
fn writes(guest: &Guest) -> bool {
    guest.run("dd if=/dev/zero of=/dev/shared bs=4096 count=1 oflag=direct conv=notrunc 2>&1").unwrap().code
        == 0
}

fn until(guest: &Guest, seen: &str) {
    let script = format!(
        "end=$(($(date +%s) + 280)); while [ $(date +%s) -lt $end ]; do {seen} && exit 0; sleep 2; done; crm_mon -1rf; stonith_admin -H '*' -V; tail -60 /var/log/pacemaker/pacemaker.log; exit 1"
    );
    guest.run_within(PATIENCE + Duration::from_secs(20), &script).unwrap().ok().unwrap();
}

#[test]
fn a_cluster_fences_by_the_disk_and_unfences_who_joins() {
    let test = "a_cluster_fences_by_the_disk_and_unfences_who_joins";
    let lab = Lab::open(&Needs::of(test).agents().cluster()).unwrap();
    let [a, b, store] = lab.guests(["n1", "n2", "n3"], &Disks::none().own("one", 32)).unwrap();
    store.run(SERVE).unwrap().ok().unwrap();
    for guest in [&a, &b] {
        guest.put_mode("/etc/lab/boot", BOOT, 0o755).unwrap();
        guest.run_within(PATIENCE, "/etc/lab/boot").unwrap().ok().unwrap();
    }
    assert_eq!(keys(&store), Vec::<String>::new());
    a.run_within(PATIENCE, &configuration()).unwrap().ok().unwrap();

    // Both are in the cluster already, and are let in before anything runs.
    until_keys(&store, &["n1", "n2"]);
    until(&a, "crm_resource -W -r disk 2>&1 | grep -q 'running on'");
    assert!(writes(&a) && writes(&b));

    // Cut off from everything, the disk too: the controller cannot be asked, the disk can.
    b.link(false).unwrap();
    until_keys(&store, &["n1"]);
    until(&a, "stonith_admin -H n2 2>&1 | grep -qE 'reboot|turn off|off'");
    b.link(true).unwrap();
    assert!(writes(&a) && !writes(&b));
    assert_eq!(keys(&store), ["n1"]);

    // It comes back as an administrator brings it back, and is let in again.
    b.cut_power();
    b.power_on().unwrap();
    until_keys(&store, &["n1", "n2"]);
    until(&a, "crm_mon -1 | grep -q 'Online: \\[ n1 n2 \\]'");
    assert!(writes(&a) && writes(&b));
}
