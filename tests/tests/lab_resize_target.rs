//! `multipath-resize` where the disks come from: units of LIO and tgtd grow while an initiator writes to them, and the initiator's
//! own layers after that.
#![cfg(feature = "lab")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test's helper functions are tests too")]

use ringfence_tests::lab::{Disks, Guest, Lab, Needs};
use std::time::{Duration, Instant};

const AGENT: &str = "/usr/lib/ocf/resource.d/ringfence/multipath-resize";
const LIMIT: Duration = Duration::from_secs(240);
const IQN: &str = "iqn.2026-01.org.lab:t";
const TARGET: &str = "ringfence/iSCSITarget";
const UNIT: &str = "ringfence/iSCSILogicalUnit";

fn run(guest: &Guest, script: &str) -> String {
    let script = format!(
        "set -e\nwait_for() {{ for i in $(seq 150); do eval \"$1\" && return 0; sleep 0.1; done; echo \"no $1\"; exit 1; }}\n{script}"
    );
    guest.run_within(LIMIT, &script).unwrap().ok().unwrap().stdout
}

fn good(guest: &Guest, agent: &str, action: &str, parameters: &[(&str, &str)], name: &str) {
    guest.agent_with(agent, action, parameters, &[("OCF_RESOURCE_INSTANCE", name)]).unwrap().ok().unwrap();
}

/// Writes files with a checksum each, one after the other, and notes each one that was acknowledged.
const WRITER: &str = r#"
touch /tmp/go
while [ -e /tmp/go ]; do
    n=$((n+1))
    dd if=/dev/urandom of=/mnt/new bs=64k count=4 oflag=direct status=none && sync /mnt/new && s=$(sha256sum </mnt/new) \
        && mv /mnt/new /mnt/f$((n%8)) && echo "$((n%8)) $s" >>/tmp/acknowledged || echo failed >>/tmp/bad
    sleep 0.3
done &
"#;
/// Every file is as it was acknowledged last, also past the page cache.
const VERIFY: &str = r#"
rm /tmp/go; sleep 1; [ ! -e /tmp/bad ] || { echo "a write failed"; exit 1; }
[ $(wc -l </tmp/acknowledged) -gt 3 ] || { echo "nobody wrote"; exit 1; }
sync; echo 3 >/proc/sys/vm/drop_caches
for k in 0 1 2 3 4 5 6 7; do
    s=$(grep "^$k " /tmp/acknowledged | tail -1 | cut -d' ' -f2-); [ -n "$s" ] || continue
    [ "$(sha256sum </mnt/f$k)" = "$s" ] || { echo "file $k is another"; exit 1; }
done
"#;

#[test]
fn a_disk_grows_from_the_targets_file_to_the_initiators_file_system() {
    let test = "a_disk_grows_from_the_targets_file_to_the_initiators_file_system";
    let lab = Lab::open(&Needs::of(test).agents()).unwrap();
    let [server, client] = lab.guests(["n1", "n2"], &Disks::none()).unwrap();
    run(
        &server,
        "truncate -s 100M /root/disk; ip address add 10.55.0.111/24 dev $(ip -o -4 address show | awk '/10.55.0.11\\//{print $2}')",
    );
    let target = [("implementation", "lio-t"), ("iqn", IQN), ("portals", "10.55.0.11 10.55.0.111")];
    let unit = [
        ("implementation", "lio-t"),
        ("target_iqn", IQN),
        ("lun", "1"),
        ("path", "/root/disk"),
        ("liot_bstype", "fileio"),
    ];
    good(&server, TARGET, "start", &target, "t");
    good(&server, UNIT, "start", &unit, "disk");
    client
        .put("/etc/multipath.conf", "defaults {\n user_friendly_names no\n find_multipaths no\n}\n")
        .unwrap();
    let log_in = "echo InitiatorName=iqn.2026-01.org.lab:n2 >/etc/iscsi/initiatorname.iscsi; iscsid; multipathd
        for p in 10.55.0.11 10.55.0.111; do iscsiadm -m discovery -t st -p $p; done >/dev/null
        iscsiadm -m node -l >/dev/null; udevadm settle
        wait_for '[ $(lsscsi | grep -c LIO-ORG) = 2 ]'
        S=$(lsscsi | awk '/LIO-ORG/{sub(\".*/\", \"\", $NF); print $NF; exit}')
        wait_for 'ls /sys/block/'$S'/holders | grep -q dm-'; D=/dev/mapper/$(cat /sys/block/$S/holders/dm-*/dm/name)
        wait_for '[ $(ls /sys/block/$(basename $(readlink -f '$D'))/slaves | wc -l) = 2 ]'";
    let device = run(&client, &format!("{log_in}; mkfs.ext4 -q $D; mount $D /mnt; {WRITER} echo $D"));
    let device = device.trim();
    let grow = |device: &str| format!("{AGENT} apply device={device}");
    assert_eq!(run(&server, &grow("/root/disk")), "nothing to do\n");
    assert_eq!(run(&client, &grow("/mnt")), "nothing to do\n");
    // The target: a file that has grown, and initiators that are not told.
    let plan = run(&server, &format!("truncate -s 180M /root/disk; {AGENT} plan device=/root/disk"));
    let line = format!("LIO's object fileio_0/disk: {} -> {}\n", 100 << 20, 180 << 20);
    assert!(plan.contains(&line), "{plan}");
    assert_eq!(run(&server, &grow("/root/disk")), "growing LIO's object fileio_0/disk\n");
    assert_eq!(run(&server, &grow("/root/disk")), "nothing to do\n");
    // The initiator: its kernel knows nothing until it asks on each path.
    assert_eq!(run(&client, &format!("blockdev --getsize64 {device}")), format!("{}\n", 100 << 20));
    let done = run(&client, &grow("/mnt"));
    assert_eq!(done.matches("asking ").count(), 2, "{done}");
    assert!(
        done.contains("resizing the multipath map") && done.contains("growing the ext file system"),
        "{done}"
    );
    assert_eq!(run(&client, &grow("/mnt")), "nothing to do\n");
    let size = run(
        &client,
        &format!("sleep 1; {VERIFY} blockdev --getsize64 {device}; df --output=size -B1M /mnt | tail -1"),
    );
    let numbers: Vec<u64> = size.lines().filter_map(|line| line.trim().parse().ok()).collect();
    assert!(numbers.len() == 2 && numbers[0] == 188_743_680 && numbers[1] > 140, "{size}");
    // The power goes while it asks the first path; who comes back has other names for everything.
    run(&server, &format!("truncate -s 240M /root/disk; {}", grow("/root/disk")));
    run(&client, "sha256sum </mnt/f1 >/mnt/sum; sync");
    let asking = client.start_within(LIMIT, &grow("/mnt")).unwrap();
    let end = Instant::now() + LIMIT;
    while !asking.so_far().stdout.contains("asking ") {
        assert!(asking.ended().unwrap().is_none() && Instant::now() < end, "{:?}", asking.so_far());
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(asking);
    client.cut_power();
    client.power_on().unwrap();
    let seen = run(
        &client,
        &format!(
            "{log_in}; mount $D /mnt; [ \"$(sha256sum </mnt/f1)\" = \"$(cat /mnt/sum)\" ]; {}; {}; df --output=size -B1M /mnt | tail -1",
            grow("/mnt"),
            grow("/mnt")
        ),
    );
    let lines: Vec<&str> = seen.lines().collect();
    assert!(seen.contains("growing the ext file system") && seen.contains("nothing to do"), "{seen}");
    assert!(lines[lines.len() - 1].trim().parse::<u64>().unwrap() > 200, "{seen}");
    // And what must not be: a file that shrank.
    let shrunk = server.run(&format!("truncate -s 90M /root/disk; {}", grow("/root/disk"))).unwrap();
    assert!(shrunk.code == 2 && shrunk.stderr.contains("nothing is made smaller"), "{shrunk:?}");
}

#[test]
fn a_volume_under_lio_grows_with_its_disk() {
    let lab = Lab::open(&Needs::of("a_volume_under_lio_grows_with_its_disk").agents()).unwrap();
    let [server] = lab.guests(["n1"], &Disks::none().own("data", 100)).unwrap();
    run(
        &server,
        "D=$(readlink -f /dev/lab/data); pvcreate -qq -y $D; vgcreate -qq vg $D; lvcreate -qq -y -l 100%FREE -n lv vg
         mkswap /dev/vg/lv >/dev/null",
    );
    good(&server, TARGET, "start", &[("implementation", "lio-t"), ("iqn", IQN)], "t");
    let unit = [("implementation", "lio-t"), ("target_iqn", IQN), ("lun", "1"), ("path", "/dev/vg/lv")];
    good(&server, UNIT, "start", &unit, "lu");
    server.grow("data", 200).unwrap();
    let apply = format!("{AGENT} apply device=/dev/vg/lv extend_lv=true");
    // What initiators keep on it is not looked at: it is swap space, which is not grown here.
    let done = run(&server, &apply);
    assert!(done.ends_with("extending vg/lv\n"), "{done}");
    let plan = run(
        &server,
        &format!("{AGENT} plan device=/dev/vg/lv extend_lv=true; blockdev --getsize64 /dev/vg/lv"),
    );
    assert!(plan.contains("LIO's object iblock_0/lu: 205520896\nnothing to do\n205520896\n"), "{plan}");
}

#[test]
fn a_unit_of_tgtd_grows_while_it_is_written_to() {
    let lab = Lab::open(&Needs::of("a_unit_of_tgtd_grows_while_it_is_written_to").agents()).unwrap();
    let [server, client] = lab.guests(["n1", "n2"], &Disks::none()).unwrap();
    run(
        &server,
        "truncate -s 64M /root/disk /root/other; tgtd; wait_for 'tgtadm --op show --mode target >/dev/null 2>&1'",
    );
    let target = [("implementation", "tgt"), ("iqn", IQN), ("tid", "1")];
    let unit = |lun, path| [("implementation", "tgt"), ("target_iqn", IQN), ("lun", lun), ("path", path)];
    good(&server, TARGET, "start", &target, "t");
    good(&server, UNIT, "start", &unit("1", "/root/disk"), "disk");
    good(&server, UNIT, "start", &unit("2", "/root/other"), "other");
    let script = format!(
        "echo InitiatorName=iqn.2026-01.org.lab:n2 >/etc/iscsi/initiatorname.iscsi; iscsid
         iscsiadm -m discovery -t st -p 10.55.0.11 >/dev/null; iscsiadm -m node -l >/dev/null; udevadm settle
         wait_for 'ls /dev/disk/by-path/*-lun-1 >/dev/null 2>&1'; D=$(readlink -f /dev/disk/by-path/*-lun-1)
         mkfs.ext4 -q $D; mount $D /mnt; {WRITER}"
    );
    run(&client, &script);
    let grow = format!("{AGENT} apply device=/root/disk");
    assert_eq!(run(&server, &grow), "nothing to do\n");
    for size in [80, 100, 120] {
        assert_eq!(
            run(&server, &format!("truncate -s {size}M /root/disk; {grow}")),
            format!("growing tgtd's unit 1 of {IQN}\n")
        );
        assert_eq!(run(&server, &grow), "nothing to do\n");
        run(&client, "sleep 2");
    }
    good(&server, UNIT, "monitor", &unit("1", "/root/disk"), "disk");
    let done = run(&client, &format!("{AGENT} apply device=/mnt"));
    assert!(done.starts_with("asking ") && done.contains("growing the ext file system"), "{done}");
    let size = run(&client, &format!("sleep 1; {VERIFY} df --output=size -B1M /mnt | tail -1"));
    assert!(size.trim().parse::<u64>().unwrap() > 90, "{size}");
    // A store that would not go on, a file that is gone: refused, and the unit goes on as it is.
    let fact = "tgtadm --op show --mode target | grep -A 18 'LUN: 2' | grep -e Online -e 'store path'";
    let before = run(&server, fact);
    for (spoil, why) in [
        (
            "truncate -s 70M /root/other; chattr +i /root/other 2>/dev/null || mount -o bind,ro /root/other /root/other",
            "cannot open /root/other",
        ),
        (
            "umount /root/other 2>/dev/null || chattr -i /root/other; truncate -s 60M /root/other",
            "nothing is made smaller",
        ),
    ] {
        let refused = server.run(&format!("{spoil}; {AGENT} apply device=/root/other")).unwrap();
        assert!(refused.code != 0 && refused.stderr.contains(why), "{refused:?}");
        assert_eq!(run(&server, fact), before);
    }
    good(&server, UNIT, "stop", &unit("1", "/root/disk"), "disk");
}
