//! `multipath-resize` on real disks that grow while they are written to: every layout, and a power cut in every step.
#![cfg(feature = "lab")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test's helper functions are tests too"
)]

use ringfence_tests::lab::{Disks, Guest, Lab, Needs};
use std::time::{Duration, Instant};

const AGENT: &str = "/usr/lib/ocf/resource.d/ringfence/multipath-resize";
const LIMIT: Duration = Duration::from_secs(240);

/// What the scripts begin with. `open`: finds the disk of the lab, or the map over its paths, as $D, its partition as $P and what
/// the file system is on as $F; `up` brings all of it back after a power cut.
const LIBRARY: &str = r#"
wait_for() { for i in $(seq 150); do eval "$1" && return 0; sleep 0.1; done; echo "no $1"; exit 1; }
open() { # name table lvm mapped
    N=$1 T=$2 L=$3 M=$4; S=$(basename $(readlink -f /dev/lab/$N))
    if [ $M = mapped ]; then
        wait_for 'ls /sys/block/$S/holders | grep -q dm-'
        D=/dev/mapper/$(cat /sys/block/$S/holders/dm-*/dm/name); P=$D-part1; wait_for '[ -e $D ]'
    else
        D=/dev/$S; P=${D}1
    fi
    [ $T = none ] && P=$D
    F=$P; [ $L = lvm ] && F=/dev/vg-$N/lv
    mkdir -p /mnt/$N
}
# After a power cut LVM was faster than multipathd, and has a path for itself; by now its filter keeps it from that.
paths() {
    [ $1 = plain ] && return
    udevadm settle
    for map in $(dmsetup ls | grep -o '^vg[^[:space:]]*'); do dmsetup remove --retry $map; done
    multipathd; wait_for 'multipathd show status >/dev/null 2>&1'
}
make() { # file system
    case $T in
        mbr) printf 'label: dos\nstart=2048,type=83\n' | sfdisk -q --no-reread --force $D 2>/dev/null ;;
        gpt) sgdisk -n 1:2048:0 -c 1:keepme -u 1:12345678-1234-1234-1234-123456789ABC $D >/dev/null ;;
    esac
    if [ $T != none ]; then
        [ $M = mapped ] && kpartx -a -p -part $D || blockdev --rereadpt $D || :
        udevadm settle; wait_for '[ -b $P ]'
    fi
    if [ $L = lvm ]; then
        pvcreate -qq -y $P && vgcreate -qq vg-$N $P && lvcreate -qq -y -l 100%FREE -n lv vg-$N
    fi
    mkfs.$1 -q $F && mount $F /mnt/$N
    dd if=/dev/urandom of=/mnt/$N/data bs=1M count=4 status=none
    sha256sum </mnt/$N/data >/mnt/$N/sum; sync
}
up() { udevadm settle; [ $L = lvm ] && vgchange -qq -ay vg-$N >/dev/null; wait_for '[ -b $F ]'; mount $F /mnt/$N; }
intact() { [ "$(sha256sum </mnt/$N/data)" = "$(cat /mnt/$N/sum)" ] || { echo "the data of $N is another"; exit 1; }; }
writer() {
    touch /tmp/go-$N
    while [ -e /tmp/go-$N ]; do
        dd if=/dev/zero of=/mnt/$N/written bs=4k count=20 oflag=direct status=none || echo failed >>/tmp/bad-$N
        echo once >>/tmp/loops-$N; sleep 0.3
    done &
}
"#;

const MULTIPATH: &str = "defaults {\n user_friendly_names no\n find_multipaths no\n}\n";

fn run(guest: &Guest, script: &str) -> String {
    let script = format!("set -e\n{LIBRARY}\n{script}");
    guest.run_within(LIMIT, &script).unwrap().ok().unwrap().stdout
}

/// Three disks of one way, with no table, an MBR and a GPT.
fn layouts(test: &str, mapped: bool, lvm: bool, kinds: [&str; 3]) {
    let lab = Lab::open(&Needs::of(test).agents()).unwrap();
    let paths = if mapped { 2 } else { 1 };
    let tables = ["none", "mbr", "gpt"];
    let disks = tables.iter().fold(Disks::none(), |disks, name| disks.own(name, 700).paths(paths));
    let [guest] = lab.guests(["n1"], &disks).unwrap();
    guest.put("/etc/multipath.conf", MULTIPATH).unwrap();
    let (way, top) = (if mapped { "mapped" } else { "plain" }, if lvm { "lvm" } else { "fs" });
    run(&guest, &format!("paths {way}"));
    for (table, kind) in tables.iter().zip(kinds) {
        run(&guest, &format!("open {table} {table} {top} {way}; make {kind}; writer"));
        let device = format!("/mnt/{table}");
        let call = |word: &str| format!("{AGENT} {word} device={device} extend_lv=true");
        assert!(run(&guest, &call("plan")).ends_with("nothing to do\n"), "{table}");
        guest.grow(table, 900).unwrap();
        let plan = run(&guest, &call("plan"));
        assert!(plan.contains(" -> ") && plan.contains(&(900_u64 << 20).to_string()), "{plan}");
        let monitor = format!(
            "export OCF_ROOT=/usr/lib/ocf OCF_RESKEY_device={device} OCF_RESKEY_extend_lv=true OCF_RESKEY_report_mismatch=true \
             OCF_RESKEY_CRM_meta_interval=1000 OCF_RESKEY_CRM_meta_timeout=60000\n{AGENT} start\n"
        );
        let forks = format!(
            "{monitor} code=0; strace -f -e trace=process -o /tmp/trace {AGENT} monitor 2>/dev/null || code=$?\n\
             echo $code $(grep -c 'fork\\|clone\\|execve' /tmp/trace)"
        );
        assert_eq!(run(&guest, &forks), "190 1\n", "{table}: degraded, and nothing is run but itself");
        let done = run(&guest, &call("apply"));
        assert!(done.contains("file system on"), "{done}");
        assert!(run(&guest, &call("plan")).ends_with("nothing to do\n"), "{table}");
        assert_eq!(run(&guest, &call("apply")), "nothing to do\n");
        assert_eq!(
            run(&guest, &format!("{monitor} {AGENT} monitor; echo $?; {AGENT} stop")),
            "0\n",
            "{table}"
        );
        let size = run(
            &guest,
            &format!(
                "open {table} {table} {top} {way}; rm /tmp/go-{table}; intact; [ ! -e /tmp/bad-{table} ]; [ -s /tmp/loops-{table} ]
                 echo 3 >/proc/sys/vm/drop_caches; intact
                 [ {table} != gpt ] || sgdisk -v -i 1 $D
                 blockdev --getsize64 $F; df --output=size -B1 /mnt/{table} | tail -1"
            ),
        );
        let numbers: Vec<u64> = size.lines().filter_map(|line| line.trim().parse().ok()).collect();
        assert!(numbers[0] > 890 << 20 && numbers[1] > 780 << 20, "{table}: {size}");
        if *table == "gpt" {
            for kept in ["No problems found", "'keepme'", "12345678-1234-1234-1234-123456789ABC"] {
                assert!(size.contains(kept), "{kept}: {size}");
            }
        }
    }
}

#[test]
fn file_systems_on_plain_disks_grow() {
    layouts("file_systems_on_plain_disks_grow", false, false, ["ext4", "xfs", "btrfs"]);
}

#[test]
fn volumes_on_plain_disks_grow() {
    layouts("volumes_on_plain_disks_grow", false, true, ["xfs", "ext4", "ext3"]);
}

#[test]
fn file_systems_on_multipath_grow() {
    layouts("file_systems_on_multipath_grow", true, false, ["xfs", "btrfs", "ext4"]);
}

#[test]
fn volumes_on_multipath_grow() {
    layouts("volumes_on_multipath_grow", true, true, ["ext4", "ext3", "xfs"]);
}

/// A disk that LIO offers to its own host, and that says nothing when it grows: only READ CAPACITY knows.
const SILENT: &str = r"
C=/sys/kernel/config/target; S=/dev/$(basename $(readlink -f /dev/lab/data))
mkdir -p $C/core/iblock_0/d0; echo udev_path=$S >$C/core/iblock_0/d0/control
echo 11111111-2222-3333-4444-555555555555 >$C/core/iblock_0/d0/wwn/vpd_unit_serial; echo 1 >$C/core/iblock_0/d0/enable
T=$C/loopback/naa.5001405000000011/tpgt_1; mkdir -p $T; echo naa.500140500000001f >$T/nexus
mkdir -p $T/lun/lun_0; ln -s $C/core/iblock_0/d0 $T/lun/lun_0/x
wait_for 'grep -l LIO-ORG /sys/block/sd*/device/vendor >/dev/null 2>&1'; udevadm settle
X=$(basename $(dirname $(dirname $(grep -l LIO-ORG /sys/block/sd*/device/vendor))))
mkfs.ext4 -q /dev/$X; mkdir -p /mnt/data; mount /dev/$X /mnt/data; echo $X
";

#[test]
fn a_disk_that_says_nothing_is_asked() {
    let lab = Lab::open(&Needs::of("a_disk_that_says_nothing_is_asked").agents()).unwrap();
    let [guest] = lab.guests(["n1"], &Disks::none().own("data", 200)).unwrap();
    let name = run(&guest, SILENT).trim().to_owned();
    guest.grow("data", 300).unwrap();
    run(
        &guest,
        "for i in $(seq 100); do [ $(blockdev --getsize64 /dev/lab/data) = 314572800 ] && break; echo 1 >/sys/block/$(basename $(readlink -f /dev/lab/data))/device/rescan; sleep 0.1; done",
    );
    assert_eq!(run(&guest, &format!("cat /sys/block/{name}/size")), "409600\n", "its kernel does not know");
    let plan = run(&guest, &format!("{AGENT} plan device=/dev/{name}"));
    assert!(plan.contains(&format!("path {name}: {} -> {}\n", 200 << 20, 300 << 20)), "{plan}");
    let done = run(&guest, &format!("{AGENT} apply device=/mnt/data"));
    assert_eq!(done, format!("asking {name} for its size\ngrowing the ext file system on {name}\n"));
    assert_eq!(run(&guest, &format!("cat /sys/block/{name}/size")), "614400\n");
}

/// The power goes when the agent has just said that it begins this step.
fn cut_in(test: &str, mapped: bool, lvm: bool, table: &str, kind: &str, steps: &[&str]) {
    let lab = Lab::open(&Needs::of(test).agents()).unwrap();
    let disks = Disks::none().own("data", 400).paths(if mapped { 2 } else { 1 });
    let [guest] = lab.guests(["n1"], &disks).unwrap();
    guest.put("/etc/multipath.conf", MULTIPATH).unwrap();
    if mapped {
        guest.put("/etc/lvm/lvmlocal.conf", "devices { global_filter = [ \"r|^/dev/sd|\" ] }\n").unwrap();
    }
    let (way, top) = (if mapped { "mapped" } else { "plain" }, if lvm { "lvm" } else { "fs" });
    let open = format!("open data {table} {top} {way}");
    run(&guest, &format!("paths {way}; {open}; make {kind}"));
    let apply = format!("{AGENT} apply device=/mnt/data extend_lv=true");
    for (size, step) in (464..).step_by(64).zip(steps) {
        guest.grow("data", size).unwrap();
        let running = guest.start_within(LIMIT, &apply).unwrap();
        let end = Instant::now() + LIMIT;
        while !running.so_far().stdout.contains(step) {
            assert!(running.ended().unwrap().is_none(), "no '{step}': {:?}", running.so_far());
            assert!(Instant::now() < end, "{step} did not begin: {:?}", running.so_far());
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(running);
        guest.cut_power();
        guest.power_on().unwrap();
        run(&guest, &format!("paths {way}; {open}; up; intact"));
        run(&guest, &apply);
        let seen = run(
            &guest,
            &format!(
                "{open}; intact; {AGENT} plan device=/mnt/data extend_lv=true; [ {table} != gpt ] || sgdisk -v -i 1 $D; blockdev --getsize64 $F"
            ),
        );
        assert!(seen.contains("nothing to do") && !seen.contains(" -> "), "after '{step}': {seen}");
        assert!(
            table != "gpt" || seen.contains("No problems found") && seen.contains("'keepme'"),
            "{step}: {seen}"
        );
        let bytes: u64 = seen.lines().last().unwrap().parse().unwrap();
        assert!(bytes > (size - 10) << 20, "after '{step}': {seen}");
    }
}

#[test]
fn a_power_cut_in_any_step_is_gone_on_from() {
    let steps = [
        "resizing the multipath map",
        "writing partition 1",
        "telling the kernel of partition",
        "growing the physical volume",
        "extending vg-data/lv",
        "growing the ext file system",
    ];
    cut_in("a_power_cut_in_any_step_is_gone_on_from", true, true, "gpt", "ext4", &steps);
}

#[test]
fn a_power_cut_on_a_plain_disk_is_gone_on_from() {
    let steps = ["writing partition 1", "telling the kernel of partition", "growing the xfs file system"];
    cut_in("a_power_cut_on_a_plain_disk_is_gone_on_from", false, false, "mbr", "xfs", &steps);
}
