//! Registering, reserving, healing.

use super::host::{Disks, Host};
use ringfence_fence::persistent_reservation::{Kind, Port as _};
use ringfence_tests::sim::persistent_reservation::Held;

#[test]
fn a_host_joins_over_every_path_and_reserves_once() {
    let disks = Disks::new(2);
    let (a, b) = (Host::new("a", 1, 2, 2), Host::new("b", 2, 2, 2));
    for host in [&a, &b] {
        for (_, joined) in host.fabric(&disks).join(host.key, false).unwrap() {
            assert!(joined.dead.is_empty() && joined.stale == 0);
        }
    }
    for disk in 0..2 {
        let state = disks.units[disk].state().unwrap();
        assert_eq!(state.registered.len(), 4, "two hosts with two paths");
        assert_eq!(state.held, Some(Held { kind: 5, holder: Some(a.nexus(0)) }));
        assert!(a.can_write(&disks, disk, 1) && b.can_write(&disks, disk, 1));
        assert!(!Host::new("c", 3, 2, 1).can_write(&disks, disk, 0));
    }
}

#[test]
fn joining_again_changes_nothing_and_never_drops_a_registration() {
    let disks = Disks::new(1);
    let a = Host::new("a", 1, 1, 2);
    a.fabric(&disks).join(a.key, false).unwrap();
    let before = disks.units[0].state().unwrap();
    a.fabric(&disks).join(a.key, false).unwrap();
    let after = disks.units[0].state().unwrap();
    assert_eq!((before.registered, before.held), (after.registered, after.held));
    // Two registrations, each one command: no unregistration and no preempt was among them.
    assert_eq!(after.generation, before.generation + 2);
}

#[test]
fn a_dead_path_is_told_and_does_not_keep_the_host_out() {
    let disks = Disks::new(1);
    let a = Host::new("a", 1, 1, 2);
    a.cables[0][0].set(false);
    let joined = a.fabric(&disks).join(a.key, false).unwrap();
    assert!(joined[0].1.dead[0].contains("the cable is pulled"), "{joined:?}");
    assert_eq!(disks.keys(0), [1]);
    a.cables[0][1].set(false);
    assert!(a.fabric(&disks).join(a.key, false).is_err());
}

#[test]
fn fa_517_the_registration_of_an_old_session_goes_when_that_is_safe() {
    let disks = Disks::new(1);
    let (mut a, b) = (Host::new("a", 1, 1, 1), Host::new("b", 2, 1, 1));
    for host in [&a, &b] {
        host.fabric(&disks).join(host.key, false).unwrap();
    }
    a.session = 2;
    a.fabric(&disks).join(a.key, false).unwrap();
    let state = disks.units[0].state().unwrap();
    assert_eq!(state.registered.len(), 2, "the old session held the reservation: the new one took it over");
    assert_eq!(state.held, Some(Held { kind: 5, holder: Some(a.nexus(0)) }));
    assert!(a.can_write(&disks, 0, 0) && b.can_write(&disks, 0, 0));
}

#[test]
fn fa_576_a_registration_is_not_lost_for_a_moment_to_clean_up() {
    let disks = Disks::new(1);
    let (a, mut b) = (Host::new("a", 1, 1, 1), Host::new("b", 2, 1, 1));
    for host in [&a, &b] {
        host.fabric(&disks).join(host.key, false).unwrap();
    }
    // b does not hold the reservation: preempting its own key would remove the new session too (SPC-4 5.12.11.4.4).
    b.session = 2;
    let joined = b.fabric(&disks).join(b.key, false).unwrap();
    assert_eq!(joined[0].1.stale, 1, "told, and left alone");
    assert!(b.can_write(&disks, 0, 0));
    // Whoever fences b removes both.
    a.fabric(&disks).fence(a.key, b.key, false).unwrap();
    assert_eq!(disks.keys(0), [1]);
}

#[test]
fn a_foreign_reservation_is_an_error() {
    let disks = Disks::new(1);
    let (a, b) = (Host::new("a", 1, 1, 1), Host::new("b", 2, 1, 1));
    let mut fabric = a.fabric(&disks);
    let port = fabric.luns[0].paths[0].port.as_mut().unwrap();
    port.register(a.key, false).unwrap();
    port.reserve(a.key, Kind::WriteExclusive).unwrap();
    let why = b.fabric(&disks).join(b.key, false).unwrap_err().to_string();
    assert!(why.contains("/dev/disk0") && why.contains("write exclusive") && why.contains("key 1"), "{why}");
}

#[test]
fn aptpl_survives_a_loss_of_power() {
    for aptpl in [false, true] {
        let disks = Disks::new(1);
        let a = Host::new("a", 1, 1, 1);
        a.fabric(&disks).join(a.key, aptpl).unwrap();
        disks.units[0].restart().unwrap();
        assert_eq!(disks.keys(0), if aptpl { vec![1] } else { vec![] });
    }
}

#[test]
fn a_disk_without_full_status_will_do() {
    let disks = Disks::with(1, |settings| settings.full_status = false);
    let a = Host::new("a", 1, 1, 1);
    a.fabric(&disks).join(a.key, false).unwrap();
    assert_eq!(disks.keys(0), [1]);
}

#[test]
fn a_disk_without_room_says_so() {
    let disks = Disks::with(1, |settings| settings.room = 1);
    let (a, b) = (Host::new("a", 1, 1, 1), Host::new("b", 2, 1, 1));
    a.fabric(&disks).join(a.key, false).unwrap();
    let why = b.fabric(&disks).join(b.key, false).unwrap_err().to_string();
    assert!(why.contains("no room"), "{why}");
}

#[test]
fn more_keys_than_the_first_answer_holds() {
    let disks = Disks::with(1, |settings| settings.room = 3000);
    for number in 1..=1100 {
        let host = Host::new(&format!("h{number}"), number, 1, 1);
        let mut fabric = host.fabric(&disks);
        fabric.luns[0].paths[0].port.as_mut().unwrap().register(host.key, false).unwrap();
    }
    let last = Host::new("last", 0xffff, 1, 1);
    last.fabric(&disks).join(last.key, false).unwrap();
    assert_eq!(last.fabric(&disks).keys().unwrap().len(), 1101);
}
