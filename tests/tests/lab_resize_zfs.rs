//! `multipath-resize` under pools of real OpenZFS: on whole disks and partitions, plain and over two paths.
#![cfg(feature = "lab")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test's helper functions are tests too"
)]

use ringfence_tests::lab::{Disks, Guest, Lab, Needs};
use std::time::{Duration, Instant};

const AGENT: &str = "/usr/lib/ocf/resource.d/ringfence/multipath-resize";
const LIMIT: Duration = Duration::from_secs(240);
const MULTIPATH: &str = "defaults {\n user_friendly_names no\n find_multipaths yes\n}\n";

/// `open`: the disk, or the map over its paths, as $D, and what the pool is on as $P.
const LIBRARY: &str = r#"
wait_for() { for i in $(seq 150); do eval "$1" && return 0; sleep 0.1; done; echo "no $1"; exit 1; }
paths() { udevadm settle; multipathd; wait_for 'multipathd show status >/dev/null 2>&1'; }
open() { # name table way
    N=$1; S=$(basename $(readlink -f /dev/lab/$N))
    if [ $3 = mapped ]; then
        wait_for 'ls /sys/block/$S/holders | grep -q dm-'
        D=/dev/mapper/$(cat /sys/block/$S/holders/dm-*/dm/name); P=$D-part1; wait_for '[ -e $D ]'
    else
        D=/dev/$S; P=${D}1
    fi
    [ $2 = none ] && P=$D; :
}
make() { # table way
    if [ $1 = gpt ]; then
        sgdisk -n 1:2048:0 $D >/dev/null
        [ $2 = mapped ] && kpartx -a -p -part $D || blockdev --rereadpt $D || :
        udevadm settle; wait_for '[ -b $P ]'
    fi
    zpool create -f -O mountpoint=/mnt/$N p-$N $P
    dd if=/dev/urandom of=/mnt/$N/data bs=1M count=4 status=none
    sha256sum </mnt/$N/data >/mnt/$N/sum; sync
}
intact() { [ "$(sha256sum </mnt/$N/data)" = "$(cat /mnt/$N/sum)" ] || { echo "the data of $N is another"; exit 1; }; }
writer() {
    touch /tmp/go-$N
    while [ -e /tmp/go-$N ]; do
        dd if=/dev/zero of=/mnt/$N/written bs=4k count=20 oflag=dsync status=none || echo failed >>/tmp/bad-$N
        echo once >>/tmp/loops-$N; sleep 0.4
    done &
}
"#;

fn run(guest: &Guest, script: &str) -> String {
    let script = format!("set -e\n{LIBRARY}\n{script}");
    guest.run_within(LIMIT, &script).unwrap().ok().unwrap().stdout
}

const LAYOUTS: [(&str, &str, &str); 4] = [
    ("whole", "none", "plain"),
    ("part", "gpt", "plain"),
    ("mwhole", "none", "mapped"),
    ("mpart", "gpt", "mapped"),
];

#[test]
fn pools_grow_while_they_are_written_to() {
    let lab = Lab::open(&Needs::of("pools_grow_while_they_are_written_to").agents().zfs()).unwrap();
    let disks = LAYOUTS.iter().fold(Disks::none(), |disks, (name, _, way)| {
        disks.own(name, 400).paths(if *way == "mapped" { 2 } else { 1 })
    });
    let [guest] = lab.guests(["n1"], &disks).unwrap();
    guest.put("/etc/multipath.conf", MULTIPATH).unwrap();
    run(&guest, "paths");
    for (name, table, way) in LAYOUTS {
        let open = format!("open {name} {table} {way}");
        run(&guest, &format!("{open}; make {table} {way}; writer"));
        let call = |word: &str| format!("{open}; {AGENT} {word} device=$D");
        let before = run(&guest, &call("plan"));
        assert!(before.ends_with("nothing to do\n") && before.contains("pool p-"), "{name}: {before}");
        guest.grow(name, 600).unwrap();
        let monitor = format!(
            "{open}; export OCF_ROOT=/usr/lib/ocf OCF_RESKEY_device=$D OCF_RESKEY_report_mismatch=true \
             OCF_RESKEY_CRM_meta_interval=1000 OCF_RESKEY_CRM_meta_timeout=60000; {AGENT} start; code=0
             strace -f -e trace=process -o /tmp/trace {AGENT} monitor 2>/dev/null || code=$?
             echo $code $(grep -c 'fork\\|clone\\|execve' /tmp/trace); {AGENT} stop"
        );
        assert_eq!(run(&guest, &monitor), "190 1\n", "{name}: degraded, and nothing is run but itself");
        let done = run(&guest, &call("apply"));
        assert!(
            done.ends_with(&format!(
                "growing pool p-{name} on {}\n",
                run(&guest, &format!("{open}; printf $P"))
            )),
            "{done}"
        );
        assert_eq!(run(&guest, &call("apply")), "nothing to do\n");
        assert_eq!(run(&guest, &monitor), "0 1\n", "{name}");
        // The observer is the pool.
        let seen = run(
            &guest,
            &format!(
                "{open}; rm /tmp/go-{name}; intact; [ ! -e /tmp/bad-{name} ]; [ -s /tmp/loops-{name} ]
                 zpool scrub -w p-{name}; zpool status -x p-{name}; zpool list -Hpo size p-{name}; intact"
            ),
        );
        assert!(seen.contains("is healthy"), "{name}: {seen}");
        let size: u64 = seen.lines().last().unwrap().parse().unwrap();
        assert!(size >= 550 << 20, "{name}: {seen}");
    }
}

#[test]
fn a_power_cut_while_a_pool_grows_is_gone_on_from() {
    let lab = Lab::open(&Needs::of("a_power_cut_while_a_pool_grows_is_gone_on_from").agents().zfs()).unwrap();
    let [guest] = lab.guests(["n1"], &Disks::none().own("whole", 300)).unwrap();
    run(&guest, "open whole none plain; make none plain");
    let apply = format!("{AGENT} apply device=/dev/lab/whole");
    // At once, and when ZFS may have half written its partitions.
    for (size, wait) in [(400, 0), (500, 30), (600, 120)] {
        guest.grow("whole", size).unwrap();
        let running = guest.start_within(LIMIT, &apply).unwrap();
        let end = Instant::now() + LIMIT;
        while !running.so_far().stdout.contains("growing pool p-whole") {
            assert!(running.ended().unwrap().is_none(), "{:?}", running.so_far());
            assert!(Instant::now() < end, "it did not begin: {:?}", running.so_far());
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(wait));
        drop(running);
        guest.cut_power();
        guest.power_on().unwrap();
        let seen = run(
            &guest,
            &format!(
                "udevadm settle; open whole none plain; zpool import -f p-whole; intact; {apply} >/dev/null; intact
                 {AGENT} plan device=$D; sgdisk -v $D; zpool status -x p-whole; zpool list -Hpo size p-whole"
            ),
        );
        for fact in ["nothing to do", "No problems found", "is healthy"] {
            assert!(seen.contains(fact), "{size}: no '{fact}': {seen}");
        }
        let bytes: u64 = seen.lines().last().unwrap().parse().unwrap();
        assert!(bytes > (size - 60) << 20, "{size}: {seen}");
    }
}
