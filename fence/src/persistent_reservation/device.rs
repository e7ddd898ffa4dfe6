//! From a device file to the disk behind it and every path of this host to it, by sysfs.

use super::fault::Fault;
use super::key::Key;
use super::lun::{Lun, PathTo};
use super::nvme::Nvme;
use super::nvme_ioctl::NvmeDevice;
use super::port::{Keys, Kind, Port, Registration, Reservation};
use super::scsi::Scsi;
use super::sg::SgDevice;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A path by whatever its disk speaks.
#[derive(Debug)]
pub enum AnyPort {
    Scsi(Scsi<SgDevice>),
    Nvme(Nvme<NvmeDevice>),
}

impl AnyPort {
    fn port(&mut self) -> &mut dyn Port {
        match self {
            Self::Scsi(port) => port,
            Self::Nvme(port) => port,
        }
    }
}

impl Port for AnyPort {
    fn keys(&mut self) -> Result<Keys, Fault> {
        self.port().keys()
    }

    fn reservation(&mut self) -> Result<Option<Reservation>, Fault> {
        self.port().reservation()
    }

    fn registrations(&mut self) -> Result<Vec<Registration>, Fault> {
        self.port().registrations()
    }

    fn register(&mut self, key: Key, aptpl: bool) -> Result<(), Fault> {
        self.port().register(key, aptpl)
    }

    fn reserve(&mut self, own: Key, kind: Kind) -> Result<(), Fault> {
        self.port().reserve(own, kind)
    }

    fn preempt_and_abort(&mut self, own: Key, victim: Key, kind: Kind) -> Result<(), Fault> {
        self.port().preempt_and_abort(own, victim, kind)
    }

    fn preempt_others(&mut self, key: Key, kind: Kind) -> Result<(), Fault> {
        self.port().preempt_others(key, kind)
    }
}

/// Where the kernel tells of its devices; another place in tests.
#[derive(Clone, Debug)]
pub struct Places {
    pub sys: PathBuf,
    pub dev: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self { sys: "/sys".into(), dev: "/dev".into() }
    }
}

/// One path, found but not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The kernel's name: `sda`, `nvme0n1`.
    pub name: String,
    /// The disk's name, the same on every path and host; the kernel's name where the disk has none.
    pub id: String,
}

impl Places {
    /// The paths behind the device file `device`.
    ///
    /// # Errors
    /// A phrase that begins with the device's name.
    pub fn leaves(&self, device: &str) -> Result<Vec<Leaf>, String> {
        let meta = fs::metadata(device).map_err(|why| format!("device '{device}': {why}"))?;
        if !meta.file_type().is_block_device() {
            return Err(format!("device '{device}' is not a block device"));
        }
        let number = meta.rdev();
        self.leaves_of(device, libc::major(number), libc::minor(number))
    }

    fn leaves_of(&self, device: &str, major: u32, minor: u32) -> Result<Vec<Leaf>, String> {
        let link = self.sys.join(format!("dev/block/{major}:{minor}"));
        let folder =
            fs::canonicalize(&link).map_err(|why| format!("device '{device}': {}: {why}", link.display()))?;
        let mut found = BTreeSet::new();
        descend(&folder, &mut found, 0);
        if found.is_empty() {
            return Err(format!("device '{device}' stands on nothing"));
        }
        found
            .into_iter()
            .map(|name| {
                if name.starts_with("sd") || name.starts_with("nvme") {
                    let id = self.id(&name).unwrap_or_else(|| name.clone());
                    Ok(Leaf { name, id })
                } else {
                    Err(format!("device '{device}' stands on {name}, which is neither a SCSI disk nor NVMe"))
                }
            })
            .collect()
    }

    /// `naa.6001405...`, `eui.0025385...`.
    fn id(&self, name: &str) -> Option<String> {
        ["device/wwid", "wwid"]
            .iter()
            .filter_map(|file| fs::read_to_string(self.sys.join("class/block").join(name).join(file)).ok())
            .map(|text| text.trim().to_owned())
            .find(|text| !text.is_empty())
    }

    /// How many disks of this host have the id `id`.
    fn count(&self, id: &str) -> usize {
        fs::read_dir(self.sys.join("class/block"))
            .map(|list| {
                let names = list.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
                let disks = names.filter(|name| {
                    // A partition has the same disk behind `device`.
                    name.starts_with("sd")
                        && !self.sys.join("class/block").join(name).join("partition").exists()
                });
                disks.filter(|name| self.id(name).as_deref() == Some(id)).count()
            })
            .unwrap_or_default()
    }

    /// The disks behind `devices`, in the order that is the same on every host. Nothing is sent to them yet;
    /// a path that cannot be opened is one that does not answer. `patience` is for one command.
    ///
    /// # Errors
    /// As of [`Self::leaves`].
    pub fn luns(&self, devices: &[String], patience: Duration) -> Result<Vec<Lun<AnyPort>>, String> {
        let mut disks: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
        for device in devices {
            for leaf in self.leaves(device)? {
                let (_, names) = disks.entry(leaf.id).or_insert_with(|| (device.clone(), BTreeSet::new()));
                names.insert(leaf.name);
            }
        }
        Ok(disks
            .into_iter()
            .map(|(id, (name, names))| {
                let others = self.count(&id).saturating_sub(names.len());
                let paths = names.into_iter().map(|name| self.path(name, patience)).collect();
                Lun { name, id, paths, others }
            })
            .collect())
    }

    fn path(&self, name: String, patience: Duration) -> PathTo<AnyPort> {
        // A disk whose session is being recovered is "blocked": a command would wait for that, whatever its time limit.
        let state = fs::read_to_string(self.sys.join("class/block").join(&name).join("device/state"));
        if let Some(state) = state.ok().map(|text| text.trim().to_owned()).filter(|_| name.starts_with("sd"))
            && state != "running"
        {
            return PathTo { name, port: Err(Fault::Path(format!("the kernel says that it is {state}"))) };
        }
        let file = self.dev.join(&name);
        let port = if name.starts_with("nvme") {
            NvmeDevice::open(&file).map(|device| AnyPort::Nvme(Nvme::new(device, patience)))
        } else {
            SgDevice::open(&file).map(|device| AnyPort::Scsi(Scsi::new(device, patience)))
        };
        PathTo { name, port: port.map_err(|why| Fault::Path(format!("cannot open it: {why}"))) }
    }
}

/// Down through maps and arrays; a partition is its disk. Sixteen deep is a loop.
fn descend(folder: &Path, found: &mut BTreeSet<String>, depth: u8) {
    if depth > 16 {
        return;
    }
    if folder.join("partition").exists() {
        if let Some(disk) = folder.parent() {
            descend(disk, found, depth + 1);
        }
        return;
    }
    let below: Vec<PathBuf> = fs::read_dir(folder.join("slaves"))
        .map(|list| list.flatten().filter_map(|entry| fs::canonicalize(entry.path()).ok()).collect())
        .unwrap_or_default();
    if below.is_empty() {
        found.extend(folder.file_name().map(|name| name.to_string_lossy().into_owned()));
    }
    for folder in below {
        descend(&folder, found, depth + 1);
    }
}

/// The physical volumes of clustered or shared volume groups, from what `vgs` prints: lines `wz--nc:/dev/sda`.
pub fn clustered(vgs: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in vgs.lines() {
        let Some((attributes, device)) = line.trim().split_once(':') else { continue };
        let shared = matches!(attributes.as_bytes().get(5), Some(b'c' | b's'));
        if shared && device.starts_with('/') && !found.iter().any(|known| known == device) {
            found.push(device.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// sda and sdb are two paths to one disk under dm-0, sdc1 is a partition of another, dm-1 spans dm-0 and sdc.
    fn machine(folder: &Path) -> Places {
        let sys = folder.join("sys");
        let disk = |name: &str, wwid: &str| {
            let place = sys.join("devices").join(name);
            fs::create_dir_all(place.join("device")).unwrap();
            fs::write(place.join("device/wwid"), format!("{wwid}\n")).unwrap();
        };
        disk("sda", "naa.2");
        disk("sdb", "naa.2");
        disk("sdc", "naa.1");
        fs::create_dir_all(sys.join("devices/vdz/slaves")).unwrap();
        fs::create_dir_all(sys.join("devices/sdc/sdc1")).unwrap();
        fs::write(sys.join("devices/sdc/sdc1/partition"), "1\n").unwrap();
        for (map, below) in [("dm-0", ["sda", "sdb"]), ("dm-1", ["dm-0", "sdc"])] {
            let slaves = sys.join("devices").join(map).join("slaves");
            fs::create_dir_all(&slaves).unwrap();
            for name in below {
                symlink(sys.join("devices").join(name), slaves.join(name)).unwrap();
            }
        }
        fs::create_dir_all(sys.join("class/block")).unwrap();
        fs::create_dir_all(sys.join("dev/block")).unwrap();
        for (number, name) in [
            ("8:0", "sda"),
            ("8:16", "sdb"),
            ("8:32", "sdc"),
            ("8:33", "sdc/sdc1"),
            ("253:0", "dm-0"),
            ("253:1", "dm-1"),
            ("252:0", "vdz"),
        ] {
            let target = sys.join("devices").join(name);
            symlink(&target, sys.join("dev/block").join(number)).unwrap();
            symlink(&target, sys.join("class/block").join(target.file_name().unwrap())).unwrap();
        }
        Places { sys, dev: folder.join("dev") }
    }

    #[test]
    fn every_path_of_a_map_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let places = machine(folder.path());
        let names = |major, minor| -> Vec<String> {
            places
                .leaves_of("x", major, minor)
                .unwrap()
                .into_iter()
                .map(|leaf| format!("{} {}", leaf.id, leaf.name))
                .collect()
        };
        assert_eq!(names(8, 0), ["naa.2 sda"]);
        assert_eq!(names(8, 33), ["naa.1 sdc"]);
        assert_eq!(names(253, 0), ["naa.2 sda", "naa.2 sdb"]);
        assert_eq!(names(253, 1), ["naa.2 sda", "naa.2 sdb", "naa.1 sdc"]);
        assert_eq!(places.count("naa.2"), 2);
        assert_eq!(places.count("naa.1"), 1, "a partition is no path");
        assert!(places.leaves_of("x", 252, 0).unwrap_err().contains("neither a SCSI disk nor NVMe"));
        assert!(places.leaves_of("x", 9, 9).is_err());
    }

    #[test]
    fn what_is_no_block_device_is_said_so() {
        let said = Places::default().leaves("/dev/null").unwrap_err();
        assert_eq!(said, "device '/dev/null' is not a block device");
        assert!(Places::default().leaves("/dev/does-not-exist").unwrap_err().contains("No such file"));
    }

    #[test]
    fn clustered_groups_only() {
        let vgs = "  wz--n-:/dev/sda2\n  wz--nc:/dev/dm-3\n  wz--ns:/dev/sdb\n  wz--nc:/dev/dm-3\n  wz--nc:[unknown]\n\n";
        assert_eq!(clustered(vgs), ["/dev/dm-3", "/dev/sdb"]);
    }
}
