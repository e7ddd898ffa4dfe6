//! Random interleavings of what happens to a cluster: the right keys are left, whatever the order was.

use super::host::{Disks, Host};
use proptest::prelude::*;
use ringfence_fence::persistent_reservation::{Knowledge, Proof};
use std::collections::BTreeSet;

const HOSTS: usize = 3;
const DISKS: usize = 2;
const PATHS: usize = 2;

#[derive(Clone, Debug)]
enum Step {
    Join(usize),
    Fence(usize, usize),
    Cable {
        host: usize,
        disk: usize,
        path: usize,
        up: bool,
    },
    /// All cables of a host.
    Mend(usize),
    Restart(usize),
    /// A new session: other nexuses, the old registrations stay.
    Reboot(usize),
    Glitch {
        host: usize,
        disk: usize,
        path: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let host = || 0..HOSTS;
    prop_oneof![
        4 => host().prop_map(Step::Join),
        4 => (host(), host()).prop_map(|(by, whom)| Step::Fence(by, whom)),
        2 => (host(), 0..DISKS, 0..PATHS, any::<bool>())
            .prop_map(|(host, disk, path, up)| Step::Cable { host, disk, path, up }),
        1 => host().prop_map(Step::Mend),
        1 => (0..DISKS).prop_map(Step::Restart),
        1 => host().prop_map(Step::Reboot),
        1 => (host(), 0..DISKS, 0..PATHS).prop_map(|(host, disk, path)| Step::Glitch { host, disk, path }),
    ]
}

fn number(host: usize) -> u64 {
    host as u64 + 1
}

/// Which keys must be on each disk.
type Right = Vec<BTreeSet<u64>>;

fn play(steps: &[Step], aptpl: bool) {
    let disks = Disks::new(DISKS);
    let mut hosts: Vec<Host> =
        (0..HOSTS).map(|at| Host::new(&format!("h{at}"), number(at), DISKS, PATHS)).collect();
    let mut right: Right = vec![BTreeSet::new(); DISKS];
    for (at, step) in steps.iter().enumerate() {
        let reach = |host: &Host, disk: usize| host.cables[disk].iter().any(|up| up.get());
        match step {
            Step::Join(host) => {
                let host = &hosts[*host];
                let joined = host.fabric(&disks).join(host.key, aptpl);
                let reached = (0..DISKS).take_while(|disk| reach(host, *disk)).count();
                assert_eq!(joined.is_ok(), reached == DISKS, "{at} {step:?}: {joined:?}");
                for keys in right.iter_mut().take(reached) {
                    keys.insert(host.key.number());
                }
            }
            Step::Fence(by, whom) => fence(&disks, &hosts, &mut right, (*by, *whom), aptpl, at),
            Step::Cable { host, disk, path, up } => hosts[*host].cables[*disk][*path].set(*up),
            Step::Mend(host) => hosts[*host].cables.iter().flatten().for_each(|up| up.set(true)),
            Step::Restart(disk) => {
                if !disks.units[*disk].state().unwrap().aptpl {
                    right[*disk].clear();
                }
                disks.units[*disk].restart().unwrap();
            }
            Step::Reboot(host) => hosts[*host].session += 1,
            Step::Glitch { host, disk, path } => {
                disks.units[*disk].lose(&hosts[*host].nexus(*path)).unwrap();
            }
        }
        for (disk, right) in right.iter().enumerate() {
            let keys: BTreeSet<u64> = disks.keys(disk).into_iter().collect();
            assert_eq!(&keys, right, "disk {disk} after step {at} {step:?}");
            // Whoever is in has something that keeps the others out.
            assert!(
                keys.is_empty() || disks.units[disk].state().unwrap().held.is_some(),
                "disk {disk} after step {at} {step:?}"
            );
        }
    }
}

fn fence(
    disks: &Disks,
    hosts: &[Host],
    right: &mut Right,
    (by, whom): (usize, usize),
    aptpl: bool,
    at: usize,
) {
    let (a, b) = (&hosts[by], &hosts[whom]);
    let knowledge = Knowledge {
        others: hosts.iter().map(|host| host.key).filter(|key| *key != b.key).collect(),
        ..Knowledge::default()
    };
    let mut fabric = a.fabric(disks);
    let done = fabric.deny(a.key, b.key, &knowledge, aptpl);
    let proof = fabric.proof(a.key, b.key, &knowledge);
    if by == whom {
        assert!(done.is_err(), "{at}: {} fenced itself", a.name);
        return;
    }
    let all = (0..DISKS).all(|disk| a.cables[disk].iter().any(|up| up.get()));
    if !all {
        assert!(
            done.is_err() && proof.is_err(),
            "{at}: {} says something of a disk that it cannot see",
            a.name
        );
        return;
    }
    // A success is exact. A failure may have got some of the way, and nobody else is hurt by it.
    for (disk, keys) in right.iter_mut().enumerate() {
        let now: BTreeSet<u64> = disks.keys(disk).into_iter().collect();
        let mut before = keys.clone();
        before.insert(a.key.number());
        assert!(now.is_subset(&before), "{at}: somebody else came in");
        let gone: BTreeSet<u64> =
            keys.difference(&now).copied().filter(|key| *key != a.key.number()).collect();
        assert!(
            gone.iter().all(|key| *key == b.key.number()),
            "{at}: {gone:?} was fenced instead of {}",
            b.name
        );
        if done.is_ok() {
            before.remove(&b.key.number());
            assert_eq!(now, before, "{at}: {} fenced {}", a.name, b.name);
        }
        *keys = now;
    }
    if done.is_ok() {
        assert_eq!(proof, Ok(Proof::Fenced), "{at}");
    }
    if proof == Ok(Proof::Fenced) {
        for (disk, keys) in right.iter().enumerate() {
            assert!(keys.contains(&a.key.number()) && !keys.contains(&b.key.number()), "{at}");
            for path in 0..PATHS {
                assert!(!b.can_write(disks, disk, path), "{at}: {} still writes to disk {disk}", b.name);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_order_leaves_exactly_the_right_keys(
        steps in proptest::collection::vec(step(), 1..40),
        aptpl in any::<bool>(),
    ) {
        play(&steps, aptpl);
    }
}
