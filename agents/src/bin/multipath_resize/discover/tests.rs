//! On sysfs trees made of files, with images for the devices.

use super::*;
use crate::plan::{Step, plan};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

const MIB: u64 = 1 << 20;

struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        for folder in ["sys/class/block", "sys/dev/block", "dev/mapper", "mnt"] {
            fs::create_dir_all(tree.path(folder)).unwrap();
        }
        fs::write(tree.path("mountinfo"), "").unwrap();
        tree
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn host(&self) -> Host {
        Host {
            sys: self.path("sys"),
            dev: self.path("dev"),
            mountinfo: self.path("mountinfo"),
            kstat: self.path("kstat"),
            lio: self.path("lio"),
            tgtd: ringfence_agents::iscsi::tgt::Tgtd::at("/nonexistent/tgtd"),
        }
    }

    /// A device with an image of `mib`; `folder` is below /sys/devices.
    fn device(&self, folder: &str, number: &str, mib: u64) -> &Self {
        let name = folder.rsplit('/').next().unwrap();
        let own = self.path("sys/devices").join(folder);
        for part in ["holders", "slaves"] {
            fs::create_dir_all(own.join(part)).unwrap();
        }
        fs::write(own.join("dev"), format!("{number}\n")).unwrap();
        fs::write(own.join("size"), format!("{}\n", mib * 2048)).unwrap();
        symlink(&own, self.path("sys/class/block").join(name)).unwrap();
        symlink(&own, self.path("sys/dev/block").join(number)).unwrap();
        fs::File::create(self.path("dev").join(name)).unwrap().set_len(mib * MIB).unwrap();
        self
    }

    fn attribute(&self, name: &str, attribute: &str, text: &str) -> &Self {
        let file = self.path("sys/class/block").join(name).join(attribute);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
        self
    }

    fn disk(&self, name: &str, number: &str, mib: u64) -> &Self {
        self.device(name, number, mib).attribute(name, "device/state", "running\n")
    }

    fn map(&self, name: &str, number: &str, mib: u64, uuid: &str, label: &str) -> &Self {
        self.device(name, number, mib)
            .attribute(name, "dm/uuid", uuid)
            .attribute(name, "dm/name", label)
            .attribute(name, "dm/suspended", "0");
        symlink(format!("../{name}"), self.path("dev/mapper").join(label)).unwrap();
        self
    }

    fn on(&self, upper: &str, lower: &str) -> &Self {
        let folder = |name: &str| self.path("sys/class/block").join(name);
        symlink(folder(lower), folder(upper).join("slaves").join(lower)).unwrap();
        symlink(folder(upper), folder(lower).join("holders").join(upper)).unwrap();
        self
    }

    fn image(&self, name: &str) -> PathBuf {
        self.path("dev").join(name)
    }

    fn tool(&self, name: &str, program: &str, args: &[&str], stdin: &str) -> &Self {
        use ocf_lib::cmd::{Cmd, Runner, System};
        let cmd = Cmd::new(program)
            .args(args.iter().copied())
            .arg(self.image(name).as_os_str())
            .stdin(stdin.as_bytes());
        let end = ocf_lib::deadline::Deadline::after(std::time::Duration::from_secs(30));
        let output = System.run(&cmd, end).unwrap_or_else(|why| panic!("{program}: {why}"));
        assert!(output.success(), "{}", output.failure(&cmd));
        self
    }

    fn mounted(&self, number: &str, kind: &str, source: &str) -> &Self {
        let point = self.path("mnt");
        let line = format!("30 1 {number} / {} rw - {kind} {source} rw\n", point.display());
        fs::write(self.path("mountinfo"), line).unwrap();
        self
    }

    fn see(&self, device: &str) -> Stack {
        discover(&self.host(), &self.path(device), false).unwrap()
    }

    fn refused(&self, device: &str) -> String {
        discover(&self.host(), &self.path(device), true).unwrap_err().to_string()
    }
}

/// Two paths, a map, one partition with ext4.
fn mapped() -> Tree {
    let tree = Tree::new();
    tree.disk("sda", "8:0", 64).disk("sdb", "8:16", 64);
    tree.map("dm-0", "253:0", 64, "mpath-36001405", "mpatha").on("dm-0", "sda").on("dm-0", "sdb");
    tree.map("dm-1", "253:1", 62, "part1-mpath-36001405", "mpatha-part1").on("dm-1", "dm-0");
    tree.tool("dm-0", "sgdisk", &["-n", "1:2048:129023"], "").tool("dm-1", "mkfs.ext4", &["-q", "-F"], "");
    tree.mounted("253:1", "ext4", "/dev/mapper/mpatha-part1");
    tree
}

#[test]
fn one_stack_by_any_of_its_names() {
    let tree = mapped();
    let seen = tree.see("dev/mapper/mpatha");
    for name in ["dev/sda", "dev/sdb", "dev/dm-0", "dev/dm-1", "dev/mapper/mpatha-part1", "mnt"] {
        assert_eq!(tree.see(name), seen, "{name}");
    }
    assert_eq!(seen.paths.len(), 2);
    assert_eq!(seen.map.as_ref().unwrap().label, "mpatha");
    let part = seen.part.as_ref().unwrap();
    assert_eq!((part.number, part.start, part.listed, part.bytes), (1, MIB, 62 * MIB, 62 * MIB));
    let fs = seen.fs.as_ref().unwrap();
    assert_eq!((fs.kind, fs.bytes, fs.mount.clone()), (FsKind::Ext, 62 * MIB, Some(tree.path("mnt"))));
    assert_eq!(plan(&seen, false).unwrap().steps, []);
}

#[test]
fn a_map_that_has_grown() {
    let tree = mapped();
    for name in ["sda", "sdb", "dm-0"] {
        tree.attribute(name, "size", "262144");
        fs::File::options().write(true).open(tree.image(name)).unwrap().set_len(128 * MIB).unwrap();
    }
    let steps = plan(&tree.see("mnt"), false).unwrap().steps;
    assert!(matches!(steps[0], Step::Table { bytes, .. } if bytes == 126 * MIB), "{steps:?}");
    assert!(
        matches!(&steps[1], Step::Partition { label: Some(label), .. } if label == "mpatha-part1"),
        "{steps:?}"
    );
    assert!(matches!(steps[2], Step::Fs(_)) && steps.len() == 3, "{steps:?}");
    // And one that shrank.
    for name in ["sda", "sdb", "dm-0"] {
        tree.attribute(name, "size", "65536");
    }
    assert!(plan(&tree.see("mnt"), false).unwrap_err().reason().contains("nothing is made smaller"));
}

#[test]
fn nothing_is_read_while_that_could_hang() {
    let tree = mapped();
    tree.attribute("dm-1", "dm/suspended", "1\n");
    assert!(tree.refused("mnt").contains("map mpatha-part1 (dm-1) is suspended"));
    tree.attribute("sda", "device/state", "offline\n").attribute("sdb", "device/state", "blocked\n");
    // The file is gone: whoever read from it would say so.
    fs::remove_file(tree.image("dm-0")).unwrap();
    fs::File::create(tree.image("dm-0")).unwrap();
    assert!(tree.refused("dev/dm-0").contains("no path to the disk works: sda is offline"));
}

#[test]
fn a_plain_disk_with_partitions() {
    let tree = Tree::new();
    tree.disk("sdc", "8:32", 64).device("sdc/sdc1", "8:33", 8).device("sdc/sdc2", "8:34", 50);
    tree.attribute("sdc1", "partition", "1").attribute("sdc2", "partition", "2");
    tree.attribute("sdc1", "start", "2048").attribute("sdc2", "start", "18432");
    tree.tool("sdc", "sfdisk", &["-q"], "label: dos\nstart=2048,size=16384\nstart=18432,size=102400\n");
    tree.tool("sdc1", "mkfs.ext4", &["-q", "-F"], "").tool("sdc2", "mkfs.ext3", &["-q", "-F"], "");
    assert!(tree.refused("dev/sdc").contains("several partitions: name the one to be grown, of sdc1, sdc2"));
    assert!(tree.refused("dev/sdc1").contains("partition 2 is behind partition 1"));
    let seen = tree.see("dev/sdc2");
    assert_eq!(seen.part.as_ref().unwrap().start, 9 * MIB);
    let steps = plan(&seen, false).unwrap().steps;
    assert_eq!(steps.len(), 2, "not mounted, so the file system waits: {steps:?}");
    tree.attribute("sdc2", "start", "20480");
    assert!(tree.refused("dev/sdc2").contains("begins elsewhere"));
    // As a path of a map, its partitions are not the way.
    tree.map("dm-0", "253:0", 64, "mpath-3", "mpatha").on("dm-0", "sdc");
    assert!(tree.refused("dev/sdc2").contains("sdc is a path of the multipath map mpatha: name that"));
}

const VOLUME: &str = "LVM-Abcdef12341234123412341234abcdefLVMLVM12341234123412341234lvmlvm";

/// LVM on a whole disk: a volume of 104 extents, 100 of them here.
fn lvm() -> Tree {
    let tree = Tree::new();
    tree.disk("sdd", "8:48", 700).map("dm-2", "253:2", 416, VOLUME, "vgr-data").on("dm-2", "sdd");
    let text = crate::metadata::tests::TEXT;
    let only = text.split("wide {").next().unwrap().to_owned() + "}\n}\n";
    let only = only
        .replace("segment_count = 2", "segment_count = 1")
        .replace("extent_count = 100", "extent_count = 104");
    fs::copy(crate::metadata::tests::volume(&only, 1, 512, MIB - 4096).path(), tree.image("sdd")).unwrap();
    tree.tool("dm-2", "mkfs.ext4", &["-q", "-F"], "").mounted("253:2", "ext4", "/dev/mapper/vgr-data");
    tree
}

#[test]
fn lvm_is_read_from_its_own_record() {
    let tree = lvm();
    let seen = tree.see("mnt");
    assert_eq!(tree.see("dev/sdd"), seen);
    let (pv, lv) = (seen.pv.as_ref().unwrap(), seen.lv.as_ref().unwrap());
    assert_eq!((pv.group.as_str(), pv.extents, pv.free), ("vgr", 174, 70));
    assert_eq!((lv.volume.as_str(), lv.extents, lv.bytes), ("data", 104, 416 * MIB));
    assert_eq!(plan(&seen, false).unwrap().steps, []);
    let steps = plan(&seen, true).unwrap().steps;
    assert!(matches!(&steps[0], Step::Lv { extents: 174, pv, .. } if pv == "sdd"), "{steps:?}");
    assert!(matches!(steps[1], Step::Fs(_)), "{steps:?}");
}

#[test]
fn a_volume_that_is_not_for_us_is_left_alone() {
    let tree = lvm();
    tree.attribute("dm-2", "dm/uuid", &format!("{VOLUME}-real"));
    assert!(tree.refused("dev/dm-2").contains("an inner part of a logical volume, vgr-data (a thin pool"));
    // From below, the volume is nobody's wish: only the physical one is looked after.
    assert_eq!(tree.see("dev/sdd").lv, None);
    let tree = lvm();
    tree.map("dm-3", "253:3", 400, "CRYPT-LUKS2-abc-secret", "secret").on("dm-3", "dm-2");
    assert!(tree.refused("mnt").contains("dm-3 is an encrypted device, secret: it is in the way"));
    assert_eq!(tree.see("dev/sdd").lv, None);
    // Two groups cannot share a disk.
    let tree = lvm();
    tree.attribute("dm-2", "dm/uuid", &VOLUME.replace("Abc", "Xyz"));
    assert!(tree.refused("mnt").contains("stands where nothing was expected"), "{}", tree.refused("mnt"));
}

#[test]
fn what_is_not_grown_here_is_named() {
    let tree = Tree::new();
    tree.disk("sde", "8:64", 8)
        .device("drbd0", "147:0", 8)
        .device("md0", "9:0", 8)
        .attribute("md0", "md/level", "raid1");
    assert!(tree.refused("dev/sde").contains("sde has no file system"));
    tree.tool("sde", "mkswap", &["-q"], "");
    assert!(tree.refused("dev/sde").contains("sde has swap space on it"));
    tree.on("md0", "sde");
    assert!(tree.refused("dev/sde").contains("md0 is an md array: it is in the way"));
    assert!(tree.refused("dev/md0").contains("md0 is an md array: that is not grown here"));
    assert!(tree.refused("dev/drbd0").contains("no disk of a kind that is grown here"));
    assert!(tree.refused("dev/none").contains("cannot find"));
    assert!(tree.refused("mnt").contains("no file system is mounted on"));
    assert!(tree.refused("mountinfo").contains("is no block device, and no iSCSI target here"));
}

#[test]
fn what_initiators_use_is_not_looked_at() {
    let tree = Tree::new();
    tree.disk("sdf", "8:80", 64).device("sdf/sdf1", "8:81", 8).attribute("sdf1", "partition", "1");
    fs::write(tree.path("disk.img"), [0; 4096]).unwrap();
    let object = |place: &str, path: &Path, info: &str| {
        let folder = tree.path("lio/core").join(place);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("udev_path"), path.to_str().unwrap()).unwrap();
        fs::write(folder.join("info"), info).unwrap();
    };
    assert!(tree.refused("disk.img").contains("no iSCSI target here (LIO, tgtd) exports it"));
    object("iblock_0/one", &tree.image("sdf"), "iBlock device: sdf  UDEV PATH: /dev/sdf  readonly: 0\n");
    let image = tree.path("disk.img");
    object(
        "fileio_1/two",
        &image,
        "TCM FILEIO ID: 0        File: /srv/x  Size: 2048  Mode: O_DSYNC Async: 0\n",
    );
    let seen = tree.see("dev/sdf");
    assert_eq!((seen.exports.len(), seen.part.clone(), plan(&seen, true).unwrap().steps.len()), (1, None, 0));
    let refused = tree.refused("dev/sdf1");
    assert!(
        refused.contains("sdf is exported (LIO's object iblock_0/one): what is on it is not ours"),
        "{refused}"
    );
    let steps = plan(&tree.see("disk.img"), false).unwrap().steps;
    assert!(matches!(&steps[..], [Step::Export { bytes: 4096, .. }]), "{steps:?}");
}

#[test]
fn the_disk_of_a_pool_by_the_path_of_its_partition() {
    for (path, disk) in [
        ("/dev/sda1", "/dev/sda"),
        ("/dev/nvme0n1p1", "/dev/nvme0n1"),
        ("/dev/disk/by-id/scsi-x-part1", "/dev/disk/by-id/scsi-x"),
        ("/dev/xvdp1", "/dev/xvdp"),
    ] {
        assert_eq!(without_partition(path).as_deref(), Some(disk));
    }
    assert_eq!(without_partition("/dev/sda2"), None);
}
