//! Each way in which the original says "off" of a node that can write, as a case.

use super::host::{Disks, Host};
use ocf_lib::fence::ErrorKind;
use ringfence_fence::persistent_reservation::{Fault, Key, Knowledge, Port as _, Proof};
use std::collections::BTreeSet;

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

fn joined(disks: &Disks, hosts: &[&Host]) {
    for host in hosts {
        host.fabric(disks).join(host.key, false).unwrap();
    }
}

fn others(keys: &[u64]) -> Knowledge {
    Knowledge { others: keys.iter().filter_map(|key| Key::new(*key)).collect(), ..Knowledge::default() }
}

#[test]
fn a1_upper_case_and_0x_remove_the_key_that_is_registered() {
    for spelled in ["DEADBEEF", "0xdeadbeef", "0XDEADBEEF", "00DeadBeef"] {
        let disks = Disks::new(2);
        let (a, b) = (Host::new("a", 1, 2, 1), Host::new("b", 0xdead_beef, 2, 1));
        joined(&disks, &[&a, &b]);
        let mut fabric = a.fabric(&disks);
        assert_eq!(fabric.has_access(a.key, key(spelled), &others(&[])).unwrap(), Some(true));
        fabric.deny(a.key, key(spelled), &others(&[]), false).unwrap();
        assert_eq!(fabric.has_access(a.key, key(spelled), &others(&[])).unwrap(), Some(false));
        assert!(!b.can_write(&disks, 0, 0) && !b.can_write(&disks, 1, 0), "{spelled}");
    }
}

#[test]
fn a1_a_key_that_was_never_registered_is_not_already_off() {
    let disks = Disks::new(1);
    let (a, b) = (Host::new("a", 1, 1, 1), Host::new("b", 2, 1, 1));
    joined(&disks, &[&a, &b]);
    let mut fabric = a.fabric(&disks);
    assert_eq!(fabric.has_access(a.key, key("3"), &others(&[])).unwrap(), Some(true));
    let why = fabric.deny(a.key, key("3"), &others(&[]), false).unwrap_err();
    assert_eq!(why.kind(), ErrorKind::UnknownPlug);
    assert!(
        why.to_string().contains("key 3 is not registered and never was")
            && why.to_string().contains("known_keys"),
        "{why}"
    );
    assert_eq!(disks.keys(0), [1, 2], "and nobody was fenced");
}

#[test]
fn a_node_that_never_came_is_off_when_every_key_has_its_owner() {
    let disks = Disks::new(1);
    let (a, b) = (Host::new("a", 1, 1, 1), Host::new("b", 2, 1, 1));
    joined(&disks, &[&a, &b]);
    let mut fabric = a.fabric(&disks);
    assert_eq!(fabric.has_access(a.key, key("3"), &others(&[2])).unwrap(), Some(false));
    // Or when it was seen before.
    let seen = Knowledge { seen: BTreeSet::from([key("3")]), ..Knowledge::default() };
    assert_eq!(fabric.has_access(a.key, key("3"), &seen).unwrap(), Some(false));
    // Or when nobody but us is there.
    let disks = Disks::new(1);
    joined(&disks, &[&a]);
    assert_eq!(a.fabric(&disks).has_access(a.key, key("3"), &others(&[])).unwrap(), Some(false));
}

#[test]
fn a3_places_that_have_moved_fence_nobody() {
    let disks = Disks::new(1);
    let hosts = [Host::new("a", 0x10, 1, 1), Host::new("c", 0x12, 1, 1), Host::new("d", 0x13, 1, 1)];
    joined(&disks, &hosts.iter().collect::<Vec<_>>());
    // b (0x11) was removed: c's place is now 0x11, d's is 0x12, which is c's registered key.
    let knowledge = Knowledge { doubtful: true, ..others(&[0x10, 0x11]) };
    let mut fabric = hosts[0].fabric(&disks);
    assert_eq!(
        fabric.proof(hosts[0].key, key("12"), &knowledge).unwrap(),
        Proof::Unknown(BTreeSet::from([0x13]))
    );
    let why = fabric.deny(hosts[0].key, key("12"), &knowledge, false).unwrap_err();
    assert!(why.to_string().contains("places in the node list"), "{why}");
    assert_eq!(disks.keys(0), [0x10, 0x12, 0x13]);
}

#[test]
fn fa_278_gone_from_one_of_two_disks_is_not_off() {
    let disks = Disks::new(2);
    let (a, b) = (Host::new("a", 1, 2, 1), Host::new("b", 2, 2, 1));
    joined(&disks, &[&a, &b]);
    let mut fabric = a.fabric(&disks);
    fabric.luns[0].fence(a.key, b.key, false).unwrap();
    assert_eq!(fabric.proof(a.key, b.key, &others(&[])).unwrap(), Proof::Registered);
    assert_eq!(fabric.registered(b.key).unwrap(), None);
}

#[test]
fn without_a_reservation_an_unregistered_node_is_not_off() {
    let disks = Disks::new(1);
    let (a, b) = (Host::new("a", 1, 1, 1), Host::new("b", 2, 1, 1));
    let mut fabric = a.fabric(&disks);
    fabric.luns[0].paths[0].port.as_mut().unwrap().register(a.key, false).unwrap();
    assert!(b.can_write(&disks, 0, 0));
    assert!(matches!(fabric.proof(a.key, b.key, &others(&[])).unwrap(), Proof::Unguarded(_)));
    // Off makes the reservation, and only then is it one.
    fabric.deny(a.key, b.key, &others(&[]), false).unwrap();
    assert_eq!(fabric.proof(a.key, b.key, &others(&[])).unwrap(), Proof::Fenced);
    assert!(!b.can_write(&disks, 0, 0) && a.can_write(&disks, 0, 0));
}

#[test]
fn a_host_that_was_fenced_does_not_fence() {
    let disks = Disks::new(1);
    let (a, b) = (Host::new("a", 1, 1, 1), Host::new("b", 2, 1, 1));
    joined(&disks, &[&a, &b]);
    a.fabric(&disks).deny(a.key, b.key, &others(&[]), false).unwrap();
    let why = b.fabric(&disks).deny(b.key, a.key, &others(&[]), false).unwrap_err().to_string();
    assert!(why.contains("fenced or never unfenced") && why.contains("unfence it"), "{why}");
    assert!(a.can_write(&disks, 0, 0) && !b.can_write(&disks, 0, 0));
    assert_eq!(disks.keys(0), [1], "it has not registered itself for the purpose either");
}

#[test]
fn who_loses_the_first_disk_leaves_the_others_alone() {
    let disks = Disks::new(3);
    let (a, b) = (Host::new("a", 1, 3, 1), Host::new("b", 2, 3, 1));
    joined(&disks, &[&a, &b]);
    a.fabric(&disks).luns[0].fence(a.key, b.key, false).unwrap();
    assert!(matches!(b.fabric(&disks).fence(b.key, a.key, false), Err(Fault::Fenced(_))));
    a.fabric(&disks).fence(a.key, b.key, false).unwrap();
    for disk in 0..3 {
        assert_eq!(disks.keys(disk), [1], "one winner everywhere");
    }
}

#[test]
fn a_target_that_lost_its_memory_is_guarded_again() {
    let disks = Disks::new(1);
    let (a, b) = (Host::new("a", 1, 1, 1), Host::new("b", 2, 1, 1));
    joined(&disks, &[&a, &b]);
    disks.units[0].restart().unwrap();
    assert!(b.can_write(&disks, 0, 0), "nothing keeps anybody out");
    let mut fabric = a.fabric(&disks);
    assert_eq!(fabric.has_access(a.key, b.key, &others(&[])).unwrap(), Some(true));
    fabric.deny(a.key, b.key, &others(&[]), false).unwrap();
    assert_eq!(fabric.has_access(a.key, b.key, &others(&[])).unwrap(), Some(false));
    assert!(!b.can_write(&disks, 0, 0) && a.can_write(&disks, 0, 0));
}

#[test]
fn a_disk_that_cannot_be_asked_is_no_success() {
    let disks = Disks::new(2);
    let (a, b) = (Host::new("a", 1, 2, 2), Host::new("b", 2, 2, 2));
    joined(&disks, &[&a, &b]);
    a.cables[1][0].set(false);
    a.fabric(&disks).deny(a.key, b.key, &others(&[]), false).unwrap();
    assert_eq!((disks.keys(0), disks.keys(1)), (vec![1], vec![1]), "one path is enough");
    joined(&disks, &[&b]);
    a.cables[1][1].set(false);
    let mut fabric = a.fabric(&disks);
    let why = fabric.has_access(a.key, b.key, &others(&[])).unwrap_err();
    assert_eq!(why.kind(), ErrorKind::Unreachable);
    assert!(why.to_string().contains("/dev/disk1") && why.to_string().contains("cable"), "{why}");
    assert!(fabric.deny(a.key, b.key, &others(&[]), false).is_err());
}

#[test]
fn a_path_that_lost_its_registration_does_not_stop_the_other() {
    let disks = Disks::new(1);
    let (a, b) = (Host::new("a", 1, 1, 2), Host::new("b", 2, 1, 2));
    a.cables[0][0].set(false);
    joined(&disks, &[&a, &b]);
    a.cables[0][0].set(true);
    a.fabric(&disks).deny(a.key, b.key, &others(&[]), false).unwrap();
    assert_eq!(disks.keys(0), [1]);
}

#[test]
fn a_disk_without_preempt_and_abort_is_told() {
    let disks = Disks::with(1, |settings| settings.abort = false);
    let (a, b) = (Host::new("a", 1, 1, 1), Host::new("b", 2, 1, 1));
    joined(&disks, &[&a, &b]);
    let why = a.fabric(&disks).deny(a.key, b.key, &others(&[]), false).unwrap_err();
    assert_eq!(why.kind(), ErrorKind::Unsupported);
    assert!(why.to_string().contains("PREEMPT AND ABORT"), "{why}");
}

#[test]
fn nobody_fences_himself_and_no_disk_is_no_proof() {
    let disks = Disks::new(1);
    let a = Host::new("a", 1, 1, 1);
    joined(&disks, &[&a]);
    let why = a.fabric(&disks).deny(a.key, key("0x1"), &others(&[]), false).unwrap_err().to_string();
    assert!(why.contains("keys cannot be same. You can not fence yourself."), "{why}");
    assert_eq!(disks.keys(0), [1]);
    assert!(a.fabric(&Disks::new(0)).has_access(a.key, key("2"), &others(&[])).is_err());
}
