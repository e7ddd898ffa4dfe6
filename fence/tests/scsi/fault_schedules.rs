//! Two thousand seeded schedules of busy disks, unit attentions, lost commands and lost answers.

use super::host::{Disks, Host};
use ringfence_fence::persistent_reservation::{Knowledge, Proof};

#[test]
fn no_schedule_makes_a_false_success() {
    let mut fenced = 0;
    for seed in 0..2000 {
        let disks = Disks::with(2, |settings| {
            settings.faults = 60 + seed % 200;
            settings.seed ^= seed << 8;
        });
        let paths = 1 + usize::try_from(seed % 2).unwrap();
        let (a, b) = (Host::new("a", 1, 2, paths), Host::new("b", 2, 2, paths));
        let b_joined = b.fabric(&disks).join(b.key, false).is_ok();
        let a_joined = a.fabric(&disks).join(a.key, false).is_ok();
        for (host, joined) in [(&a, a_joined), (&b, b_joined)] {
            for disk in 0..2 {
                let state = disks.units[disk].state().unwrap();
                assert!(
                    !joined || state.keys().contains(&host.key.number()),
                    "seed {seed}: {} did not join",
                    host.name
                );
                assert!(!joined || state.held.is_some(), "seed {seed}: nothing is reserved");
            }
        }
        let mut fabric = a.fabric(&disks);
        let done = fabric.deny(a.key, b.key, &Knowledge::default(), false);
        if done.is_ok() {
            fenced += 1;
        }
        let proof = fabric.proof(a.key, b.key, &Knowledge::default());
        if done.is_ok() || proof == Ok(Proof::Fenced) {
            for disk in 0..2 {
                assert_eq!(disks.keys(disk), [1], "seed {seed}: a false success on disk {disk}");
                assert!(!b.can_write(&disks, disk, 0), "seed {seed}: b writes to disk {disk}");
                assert!(a.can_write(&disks, disk, 0) || paths > 1, "seed {seed}: a is out of disk {disk}");
            }
        }
    }
    assert!(fenced > 1000, "only {fenced} of 2000 succeeded: the client gives up too early");
}
