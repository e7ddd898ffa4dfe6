//! The same joining and fencing on NVMe namespaces.

use ringfence_fence::persistent_reservation::nvme::{Nvme, NvmeCommand, NvmeTransport};
use ringfence_fence::persistent_reservation::{Fabric, Key, Knowledge, Lun, PathTo, Port as _, Proof};
use ringfence_tests::sim::nvme_reservation::{HostId, Namespace};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

struct Wire {
    namespace: Rc<RefCell<Namespace>>,
    host: HostId,
}

impl NvmeTransport for Wire {
    fn exchange(&mut self, command: NvmeCommand, data: &mut [u8], _: Duration) -> io::Result<u16> {
        let NvmeCommand { opcode, cdw10, cdw11 } = command;
        Ok(self.namespace.borrow_mut().execute(&self.host, opcode, cdw10, cdw11, data))
    }
}

fn fabric(namespace: &Rc<RefCell<Namespace>>, host: u8, paths: usize) -> Fabric<Nvme<Wire>> {
    let paths = (0..paths).map(|path| PathTo {
        name: format!("nvme{path}n1"),
        port: Ok(Nvme::new(
            Wire { namespace: namespace.clone(), host: [host; 16] },
            Duration::from_millis(200),
        )),
    });
    Fabric::new(vec![Lun {
        name: "/dev/nvme0n1".into(),
        id: "eui.1".into(),
        paths: paths.collect(),
        others: 0,
    }])
}

fn key(number: u64) -> Key {
    Key::new(number).unwrap()
}

#[test]
fn joining_fencing_and_healing() {
    for short_only in [false, true] {
        let namespace = Rc::new(RefCell::new(Namespace::default()));
        namespace.borrow_mut().short_only = short_only;
        fabric(&namespace, 1, 2).join(key(1), true).unwrap();
        fabric(&namespace, 2, 1).join(key(0xdead_beef), true).unwrap();
        assert_eq!(
            (namespace.borrow().keys(), namespace.borrow().reserved()),
            (vec![1, 0xdead_beef], Some(3))
        );
        let victim = Key::parse("0xDEADBEEF").unwrap();
        let mut ours = fabric(&namespace, 1, 2);
        assert_eq!(ours.proof(key(1), victim, &Knowledge::default()).unwrap(), Proof::Registered);
        ours.deny(key(1), victim, &Knowledge::default(), false).unwrap();
        assert_eq!(ours.proof(key(1), victim, &Knowledge::default()).unwrap(), Proof::Fenced);
        assert!(!namespace.borrow().may_write(&[2; 16]) && namespace.borrow().may_write(&[1; 16]));
        // The fenced one does not strike back, and comes in again by itself only.
        assert!(fabric(&namespace, 2, 1).deny(victim, key(1), &Knowledge::default(), false).is_err());
        assert_eq!(namespace.borrow().keys(), [1]);
        fabric(&namespace, 2, 1).join(victim, false).unwrap();
        assert!(namespace.borrow().may_write(&[2; 16]));
    }
}

#[test]
fn the_holder_is_fenced_and_the_reservation_stays() {
    let namespace = Rc::new(RefCell::new(Namespace::default()));
    fabric(&namespace, 1, 1).join(key(1), false).unwrap();
    fabric(&namespace, 2, 1).join(key(2), false).unwrap();
    fabric(&namespace, 2, 1).deny(key(2), key(1), &Knowledge::default(), false).unwrap();
    assert_eq!((namespace.borrow().keys(), namespace.borrow().reserved()), (vec![2], Some(3)));
    assert!(!namespace.borrow().may_write(&[1; 16]));
}

#[test]
fn another_key_of_the_same_host_is_replaced_without_a_gap() {
    let namespace = Rc::new(RefCell::new(Namespace::default()));
    fabric(&namespace, 1, 1).join(key(1), false).unwrap();
    fabric(&namespace, 1, 1).join(key(9), false).unwrap();
    assert_eq!((namespace.borrow().keys(), namespace.borrow().reserved()), (vec![9], Some(3)));
    let mut fabric = fabric(&namespace, 1, 1);
    let port = fabric.luns[0].paths[0].port.as_mut().unwrap();
    assert_eq!(port.reservation().unwrap().unwrap().key, 9);
    assert!(port.registrations().unwrap()[0].holder);
}

#[test]
fn more_registrants_than_the_first_answer_holds() {
    let namespace = Rc::new(RefCell::new(Namespace::default()));
    for host in 1..=200 {
        fabric(&namespace, host, 1).luns[0].paths[0]
            .port
            .as_mut()
            .unwrap()
            .register(key(host.into()), false)
            .unwrap();
    }
    assert_eq!(fabric(&namespace, 1, 1).keys().unwrap().len(), 200);
}
