//! Hosts with paths to simulated disks.

use ringfence_fence::persistent_reservation::scsi::{Data, Reply, Scsi, ScsiTransport};
use ringfence_fence::persistent_reservation::{Fabric, Key, Lun, PathTo};
use ringfence_tests::sim::persistent_reservation::{LogicalUnit, Nexus, Settings};
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// A path of a simulated host. The cable is pulled from outside.
pub struct Wire {
    unit: LogicalUnit,
    nexus: Nexus,
    up: Rc<Cell<bool>>,
}

impl ScsiTransport for Wire {
    fn exchange(&mut self, cdb: &[u8], data: Data<'_>, _: Duration) -> io::Result<Reply> {
        if !self.up.get() {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "the cable is pulled"));
        }
        let (out, room): (&[u8], _) = match data {
            Data::Out(bytes) => (bytes, None),
            Data::In(bytes) => (&[], Some(bytes)),
        };
        let answer = self.unit.execute(&self.nexus, cdb, out)?;
        let read = room.map_or(0, |room| {
            let length = answer.data.len().min(room.len());
            room[..length].copy_from_slice(&answer.data[..length]);
            length
        });
        Ok(Reply { status: answer.status, read, sense: answer.sense })
    }
}

/// Simulated disks, thrown away at the end.
pub struct Disks {
    _folder: tempfile::TempDir,
    pub units: Vec<LogicalUnit>,
}

impl Disks {
    pub fn new(count: usize) -> Self {
        Self::with(count, |_| {})
    }

    pub fn with(count: usize, change: impl Fn(&mut Settings)) -> Self {
        // In memory where there is such a place: a disk's memory is written at every command.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let units = (0..count)
            .map(|at| {
                let mut settings = Settings::new(&folder.path().join(at.to_string()));
                settings.seed = at as u64;
                change(&mut settings);
                LogicalUnit::start(settings).unwrap()
            })
            .collect();
        Self { _folder: folder, units }
    }

    /// The registered keys of one disk, asked of its own memory.
    pub fn keys(&self, at: usize) -> Vec<u64> {
        self.units[at].state().unwrap().keys()
    }
}

/// One node of the cluster.
pub struct Host {
    pub name: String,
    pub key: Key,
    /// Its iSCSI session; another one has another nexus.
    pub session: u32,
    /// One for each path, of each disk.
    pub cables: Vec<Vec<Rc<Cell<bool>>>>,
}

impl Host {
    pub fn new(name: &str, key: u64, disks: usize, paths: usize) -> Self {
        let cables = (0..disks).map(|_| (0..paths).map(|_| Rc::new(Cell::new(true))).collect()).collect();
        Self { name: name.to_owned(), key: Key::new(key).unwrap(), session: 1, cables }
    }

    pub fn nexus(&self, path: usize) -> Nexus {
        Nexus::new(
            &format!("iqn.2026-01.org.lab:{},i,{:#x}", self.name, self.session),
            u16::try_from(path).unwrap() + 1,
        )
    }

    /// The disks as one call of the agent sees them.
    pub fn fabric(&self, disks: &Disks) -> Fabric<Scsi<Wire>> {
        let luns = disks.units.iter().zip(&self.cables).enumerate().map(|(at, (unit, cables))| Lun {
            name: format!("/dev/disk{at}"),
            id: format!("naa.{at}"),
            others: 0,
            paths: cables
                .iter()
                .enumerate()
                .map(|(path, up)| PathTo {
                    name: format!("sd{at}{path}"),
                    port: Ok(Scsi::new(
                        Wire { unit: unit.clone(), nexus: self.nexus(path), up: up.clone() },
                        Duration::from_millis(500),
                    )),
                })
                .collect(),
        });
        Fabric::new(luns.collect())
    }

    /// A write to one disk over one path, past every unit attention: what the disk says to the node's file system.
    pub fn can_write(&self, disks: &Disks, disk: usize, path: usize) -> bool {
        if !self.cables[disk][path].get() {
            return false;
        }
        for _ in 0..50 {
            match disks.units[disk].execute(&self.nexus(path), &[0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0], &[]) {
                Ok(answer) if answer.status == 0 => return true,
                Ok(answer) if answer.status == 0x18 => return false,
                Ok(_) | Err(_) => {}
            }
        }
        panic!("fifty answers and none that counts");
    }
}
