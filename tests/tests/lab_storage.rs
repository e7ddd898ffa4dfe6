//! What the storage agents stand on, in the guests as they are: replication, a target with its initiator, a disk over two paths.
#![cfg(feature = "lab")]
#![allow(clippy::unwrap_used, reason = "a test's helper functions are tests too")]

use ringfence_tests::lab::{Disks, Guest, Lab, Needs};

const RESOURCE: &str = "resource r0 {
  protocol C;
  disk { resync-rate 100M; c-plan-ahead 0; }
  device /dev/drbd0;
  disk /dev/lab/data;
  meta-disk internal;
  on n1 { address 10.55.0.11:7788; }
  on n2 { address 10.55.0.12:7788; }
}
";

/// Runs both and waits for both: each may need the other.
fn both(a: &Guest, b: &Guest, script: &str) {
    std::thread::scope(|scope| {
        for guest in [a, b] {
            scope.spawn(move || guest.run(script).unwrap().ok().unwrap());
        }
    });
}

#[test]
fn a_replicated_disk_becomes_primary_over_there_after_a_power_cut() {
    let lab =
        Lab::open(&Needs::of("a_replicated_disk_becomes_primary_over_there_after_a_power_cut")).unwrap();
    let [a, b] = lab.guests(["n1", "n2"], &Disks::none().own("data", 32)).unwrap();
    for guest in [&a, &b] {
        guest.put("/etc/drbd.d/r0.res", RESOURCE).unwrap();
    }
    both(&a, &b, "drbdadm create-md --force r0 && drbdadm up r0");
    let write = "drbdadm primary --force r0 && for i in $(seq 300); do \
                 grep -q UpToDate/UpToDate /proc/drbd && break; sleep 0.1; done; grep UpToDate/UpToDate /proc/drbd && \
                 mkfs.ext4 -q /dev/drbd0 && mount /dev/drbd0 /mnt && echo acknowledged >/mnt/x && sync";
    a.run(write).unwrap().ok().unwrap();
    a.cut_power();
    let read = "for i in $(seq 300); do drbdadm primary r0 2>/dev/null && break; sleep 0.1; done; \
                mount /dev/drbd0 /mnt && cat /mnt/x && drbdadm role r0";
    let seen = b.run(read).unwrap().ok().unwrap();
    assert_eq!(seen.stdout, "acknowledged\nPrimary/Unknown\n");
    // The other one comes back with its metadata, and follows.
    a.power_on().unwrap();
    a.run("drbdadm up r0; for i in $(seq 300); do grep -q UpToDate/UpToDate /proc/drbd && exit 0; sleep 0.1; done; exit 1")
        .unwrap()
        .ok()
        .unwrap();
    assert_eq!(a.run("drbdadm role r0").unwrap().text(), "Secondary/Primary");
}

/// A target of LIO made by hand in configfs: a file behind a loop device, on both addresses of the guest.
const TARGET: &str = "set -e
C=/sys/kernel/config/target; Q=iqn.2026-01.lab:t0; T=$C/iscsi/$Q/tpgt_1
truncate -s 64M /tmp/lun; L=$(losetup -f --show /tmp/lun)
mkdir -p $C/core/iblock_0/d0
echo udev_path=$L >$C/core/iblock_0/d0/control
echo 11111111-2222-3333-4444-555555555555 >$C/core/iblock_0/d0/wwn/vpd_unit_serial
echo 1 >$C/core/iblock_0/d0/enable
ip address add 10.55.0.111/24 dev eth0
mkdir -p $T/np/10.55.0.11:3260 $T/np/10.55.0.111:3260 $T/lun/lun_0
ln -s $C/core/iblock_0/d0 $T/lun/lun_0/d0
for a in authentication:0 generate_node_acls:1 demo_mode_write_protect:0 cache_dynamic_acls:1; do
  echo ${a#*:} >$T/attrib/${a%:*}
done
echo 1 >$T/enable";

const LOG_IN: &str = "set -e
iscsid
iscsiadm -m discovery -t st -p 10.55.0.11
iscsiadm -m node -l
udevadm settle
for i in $(seq 100); do [ $(ls -d /sys/block/sd* | wc -l) = 2 ] && break; sleep 0.1; done
multipathd
for i in $(seq 100); do multipathd show status >/dev/null 2>&1 && break; sleep 0.1; done
for i in $(seq 100); do multipathd show maps raw format %w | grep -q 36001405 && break; sleep 0.1; done";

#[test]
fn an_exported_disk_is_logged_in_to_over_two_portals_and_put_together() {
    let test = "an_exported_disk_is_logged_in_to_over_two_portals_and_put_together";
    let lab = Lab::open(&Needs::of(test)).unwrap();
    let [target, initiator] = lab.guests(["n1", "n2"], &Disks::none()).unwrap();
    target.run(TARGET).unwrap().ok().unwrap();
    initiator
        .put("/etc/multipath.conf", "defaults {\n user_friendly_names no\n find_multipaths no\n}\n")
        .unwrap();
    initiator.run(LOG_IN).unwrap().ok().unwrap();
    let paths = initiator.run("multipathd show paths raw format '%w %d'").unwrap().ok().unwrap();
    assert_eq!(paths.stdout.lines().filter(|line| line.starts_with("36001405")).count(), 2, "{paths:?}");
    let map = initiator.run("echo /dev/mapper/$(multipathd show maps raw format %w)").unwrap();
    let write = format!("echo written | dd of={} conv=sync oflag=direct bs=4096 status=none", map.text());
    initiator.run(&write).unwrap().ok().unwrap();
    assert_eq!(target.run("head -c 8 /tmp/lun").unwrap().text(), "written");
    // One path goes: the map stays.
    target.run("ip address del 10.55.0.111/24 dev eth0").unwrap().ok().unwrap();
    initiator.run_within(std::time::Duration::from_secs(150), &write).unwrap().ok().unwrap();
}

#[test]
fn one_disk_over_two_paths_is_one_map() {
    let lab = Lab::open(&Needs::of("one_disk_over_two_paths_is_one_map")).unwrap();
    let [guest] = lab.guests(["n1"], &Disks::none().own("lun", 64).paths(2)).unwrap();
    guest
        .put("/etc/multipath.conf", "defaults {\n user_friendly_names no\n find_multipaths no\n}\n")
        .unwrap();
    let script = "multipathd; for i in $(seq 100); do ls /dev/mapper/3* >/dev/null 2>&1 && break; sleep 0.1; done; \
                  multipathd show paths raw format '%w %t'; sgdisk -n 1:2048:0 $(ls /dev/mapper/3*) >/dev/null && \
                  udevadm settle && ls /dev/mapper/3*";
    let seen = guest.run(script).unwrap().ok().unwrap();
    let lines: Vec<&str> = seen.stdout.lines().collect();
    assert_eq!(lines.len(), 4, "{seen:?}");
    assert_eq!(lines[0], lines[1], "two paths of one WWID");
    assert!(lines[0].ends_with("active") && lines[3].ends_with("-part1"), "{seen:?}");
}

#[test]
fn volumes_and_file_systems_can_be_made_and_grown() {
    let lab = Lab::open(&Needs::of("volumes_and_file_systems_can_be_made_and_grown")).unwrap();
    let [guest] = lab.guests(["n1"], &Disks::none().own("pv", 1024).own("fs", 512)).unwrap();
    let script = "set -e
        vgcreate -qq vg $(readlink -f /dev/lab/pv)
        lvcreate -qq -y -L 400M -n x vg; lvcreate -qq -y -L 32M -n e vg
        mkfs.xfs -q /dev/vg/x; mkfs.ext4 -q /dev/vg/e; mkfs.btrfs -q /dev/lab/fs
        for fs in x e b; do mkdir /mnt/$fs; done
        mount /dev/vg/x /mnt/x; mount /dev/vg/e /mnt/e; mount /dev/lab/fs /mnt/b
        lvextend -qq -L 440M vg/x; xfs_growfs /mnt/x >/dev/null
        lvextend -qq -L 64M vg/e; resize2fs /dev/vg/e 2>/dev/null >&2
        findmnt -rno FSTYPE /mnt/x /mnt/e /mnt/b 2>/dev/null || stat -fc %T /mnt/x /mnt/e /mnt/b";
    let seen = guest.run(script).unwrap().ok().unwrap();
    assert!(seen.stdout.contains("xfs") && seen.stdout.contains("btrfs"), "{seen:?}");
    let size = guest.run("df -BM --output=size /mnt/e | tail -1").unwrap();
    assert!(size.text().trim_end_matches('M').parse::<u32>().unwrap() > 50, "{size:?}");
}
