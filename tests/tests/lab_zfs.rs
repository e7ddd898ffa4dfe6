//! OpenZFS in the guests: what the agent for pools stands on.
#![cfg(feature = "lab")]
#![allow(clippy::unwrap_used, reason = "a test's helper functions are tests too")]

use ringfence_tests::lab::{Disks, Lab, Needs};

#[test]
fn a_pool_moves_between_guests_and_is_not_taken_from_a_living_one() {
    let test = "a_pool_moves_between_guests_and_is_not_taken_from_a_living_one";
    let lab = Lab::open(&Needs::of(test).zfs()).unwrap();
    let [a, b] = lab.guests(["n1", "n2"], &Disks::none().shared("tank", 256)).unwrap();
    assert_ne!(a.run("hostid").unwrap().text(), b.run("hostid").unwrap().text());
    a.run("zpool create -O mountpoint=/tank tank $(readlink -f /dev/lab/tank) && zpool set multihost=on tank && echo kept >/tank/x")
        .unwrap()
        .ok()
        .unwrap();
    assert_eq!(a.run("cat /proc/spl/kstat/zfs/tank/state").unwrap().text(), "ONLINE");
    // The partitions that the other one has made.
    b.run("blockdev --rereadpt /dev/lab/tank && udevadm settle").unwrap().ok().unwrap();
    let taken = b.run("zpool import -f tank").unwrap();
    assert!(taken.code == 1 && taken.stderr.contains("imported on host"), "{taken:?}");
    a.run("zpool export tank").unwrap().ok().unwrap();
    let seen = b.run("zpool import tank && cat /tank/x").unwrap().ok().unwrap();
    assert_eq!(seen.stdout, "kept\n");
}
