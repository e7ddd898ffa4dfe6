//! Block devices as the kernel shows them: sysfs(5), its ABI/stable/sysfs-block and ABI/testing/sysfs-block-dm, and
//! `/proc/self/mountinfo`.

use ocf_lib::env::Env;
use ocf_lib::resource::code::Fault;
use ringfence_agents::iscsi::tgt::Tgtd;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where the host is looked at.
#[derive(Clone, Debug)]
pub struct Host {
    pub sys: PathBuf,
    pub dev: PathBuf,
    pub mountinfo: PathBuf,
    /// A folder for each pool of ZFS that is imported.
    pub kstat: PathBuf,
    /// LIO's tree.
    pub lio: PathBuf,
    /// tgtd's management socket.
    pub tgtd: Tgtd,
}

/// What a device is, by the kernel's word alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Disk,
    Partition,
    /// multipathd's.
    Map,
    /// A partition on one, with its number.
    MapPartition(u32),
    /// A logical volume: the ids of its group and its own.
    Volume {
        group: String,
        id: String,
    },
    /// None that is grown here, by its name.
    Other(String),
}

/// A line of the list of mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub number: String,
    /// All of the file system, not a folder of it.
    pub whole: bool,
    pub point: PathBuf,
    pub kind: String,
    pub source: String,
    pub read_only: bool,
}

impl Host {
    /// This one; `env` may name another socket of tgtd.
    pub fn real(env: &Env) -> Self {
        Self {
            sys: "/sys".into(),
            dev: "/dev".into(),
            mountinfo: "/proc/self/mountinfo".into(),
            kstat: "/proc/spl/kstat/zfs".into(),
            lio: "/sys/kernel/config/target".into(),
            tgtd: Tgtd::of(env),
        }
    }

    pub fn folder(&self, name: &str) -> PathBuf {
        self.sys.join("class/block").join(name)
    }

    /// An attribute, without blanks at its ends; `None` when there is none.
    pub fn attribute(&self, name: &str, attribute: &str) -> Option<String> {
        fs::read_to_string(self.folder(name).join(attribute)).ok().map(|text| text.trim().to_owned())
    }

    fn number(&self, name: &str, attribute: &str) -> Option<u64> {
        self.attribute(name, attribute)?.parse().ok()
    }

    /// Its size in bytes; sysfs counts sectors of 512 whatever the disk does.
    pub fn bytes(&self, name: &str) -> Result<u64, Fault> {
        let sectors = self.number(name, "size").and_then(|sectors| sectors.checked_mul(512));
        sectors.ok_or_else(|| Fault::args(format!("device {name} is not there, or has no size")))
    }

    /// The logical block size in bytes, in which partition tables count.
    pub fn sector(&self, disk: &str) -> u64 {
        self.number(disk, "queue/logical_block_size").unwrap_or(512).max(512)
    }

    /// First byte of a partition.
    pub fn start(&self, partition: &str) -> Option<u64> {
        self.number(partition, "start").map(|sectors| sectors * 512)
    }

    pub fn partition_number(&self, name: &str) -> Option<u32> {
        self.attribute(name, "partition")?.parse().ok()
    }

    /// The name among the device mapper's maps.
    pub fn label(&self, name: &str) -> Option<String> {
        self.attribute(name, "dm/name")
    }

    pub fn kind(&self, name: &str) -> Kind {
        let other = |what: &str| Kind::Other(format!("{name} is {what}"));
        if let Some(uuid) = self.attribute(name, "dm/uuid") {
            let label = self.label(name).unwrap_or_default();
            if uuid.starts_with("mpath-") {
                return Kind::Map;
            }
            if let Some((number, _)) = uuid.strip_prefix("part").and_then(|rest| rest.split_once("-mpath-")) {
                return number
                    .parse()
                    .map_or_else(|_| other("a partition without a number"), Kind::MapPartition);
            }
            return match uuid.strip_prefix("LVM-").map(|ids| (ids.get(..32), ids.get(32..))) {
                Some((Some(group), Some(id))) if id.len() == 32 => {
                    Kind::Volume { group: group.to_owned(), id: id.to_owned() }
                }
                Some(_) => other(&format!(
                    "an inner part of a logical volume, {label} (a thin pool, a snapshot, a cache, a mirror)"
                )),
                None if uuid.starts_with("CRYPT-") => other(&format!("an encrypted device, {label}")),
                None => other(&format!("the map {label}, of a kind that is not grown here")),
            };
        }
        let has = |part: &str| self.folder(name).join(part).exists();
        if has("partition") {
            Kind::Partition
        } else if has("md") {
            other("an md array")
        } else if has("device") || has("loop") {
            Kind::Disk
        } else {
            other("no disk of a kind that is grown here")
        }
    }

    fn names(&self, name: &str, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.folder(name).join(folder)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// What stands on it.
    pub fn holders(&self, name: &str) -> Vec<String> {
        self.names(name, "holders")
    }

    /// What it stands on.
    pub fn slaves(&self, name: &str) -> Vec<String> {
        self.names(name, "slaves")
    }

    /// The kernel's own partitions of a disk.
    pub fn partitions(&self, disk: &str) -> Vec<String> {
        let mut names = self.names(disk, "");
        names.retain(|name| self.folder(disk).join(name).join("partition").exists());
        names
    }

    /// The disk that a partition is on.
    pub fn parent(&self, partition: &str) -> Option<String> {
        let folder = fs::canonicalize(self.folder(partition)).ok()?;
        Some(folder.parent()?.file_name()?.to_string_lossy().into_owned())
    }

    /// Why commands do not get through, in the kernel's word.
    pub fn down(&self, name: &str) -> Option<String> {
        // SCSI says running, NVMe live; other disks say nothing.
        self.attribute(name, "device/state").filter(|state| state != "running" && state != "live")
    }

    /// A suspended map holds up whoever reads it, without an end.
    pub fn is_suspended(&self, name: &str) -> bool {
        self.attribute(name, "dm/suspended").as_deref() == Some("1")
    }

    /// The node of a device.
    pub fn node(&self, name: &str) -> PathBuf {
        // sysfs writes the slash of a name such as cciss/c0d0 as !.
        self.dev.join(name.replace('!', "/"))
    }

    /// The path of a device as LVM's filters know it.
    pub fn public_node(&self, name: &str) -> PathBuf {
        self.label(name).map_or_else(|| self.node(name), |label| self.dev.join("mapper").join(label))
    }

    pub fn open(&self, name: &str) -> Result<File, Fault> {
        let node = self.node(name);
        let file = File::options().read(true).custom_flags(libc::O_CLOEXEC | libc::O_NONBLOCK).open(&node);
        file.map_err(|why| Fault::from(why).context(format_args!("cannot open {}", node.display())))
    }

    /// For reading past the kernel's cache.
    pub fn open_direct(&self, name: &str) -> Result<File, Fault> {
        let node = self.node(name);
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_DIRECT;
        let file = File::options().read(true).custom_flags(flags).open(&node);
        file.map_err(|why| Fault::from(why).context(format_args!("cannot open {}", node.display())))
    }

    /// Somebody has it for himself, whom sysfs need not name (DRBD, a target).
    pub fn is_claimed(&self, name: &str) -> bool {
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_EXCL;
        let claim = File::options().read(true).custom_flags(flags).open(self.node(name));
        claim.is_err_and(|why| why.raw_os_error() == Some(libc::EBUSY))
    }

    /// The kernel's name of the device at `path`: a device by any of its names, or the mount point of its file system.
    pub fn name_of(&self, path: &Path) -> Result<String, Fault> {
        let real = fs::canonicalize(path)
            .map_err(|why| Fault::args(format!("cannot find {}: {why}", path.display())))?;
        if real.is_dir() {
            let mounts = self.mounts()?;
            let mount = mounts.iter().rfind(|mount| mount.point == real);
            let mount = mount
                .ok_or_else(|| Fault::args(format!("no file system is mounted on {}", real.display())))?;
            if mount.kind == "zfs" {
                return Err(Fault::args(format!(
                    "{} is a data set of ZFS: name the disk of its pool that is to be grown",
                    real.display()
                )));
            }
            // btrfs has numbers of its own for what it mounts.
            return match self.by_number(&mount.number) {
                Some(name) => Ok(name),
                None => self.of_node(Path::new(&mount.source)),
            };
        }
        self.of_node(&real)
    }

    /// The kernel's name of a device by the path of its node.
    pub fn of_node(&self, path: &Path) -> Result<String, Fault> {
        let none = || Fault::args(format!("{} is no block device", path.display()));
        let real = fs::canonicalize(path).map_err(|_| none())?;
        let by_name = real.strip_prefix(&self.dev).ok().map(|name| name.to_string_lossy().replace('/', "!"));
        if let Some(name) = by_name.filter(|name| self.folder(name).exists()) {
            return Ok(name);
        }
        let device = fs::metadata(&real).map_err(|_| none())?;
        let number = format!("{}:{}", libc::major(device.rdev()), libc::minor(device.rdev()));
        self.by_number(&number).filter(|_| device.rdev() != 0).ok_or_else(none)
    }

    fn by_number(&self, number: &str) -> Option<String> {
        let folder = fs::canonicalize(self.sys.join("dev/block").join(number)).ok()?;
        Some(folder.file_name()?.to_string_lossy().into_owned())
    }

    fn mounts(&self) -> Result<Vec<Mount>, Fault> {
        let text = fs::read_to_string(&self.mountinfo)
            .map_err(|why| Fault::from(why).context("cannot read the list of mounts"))?;
        Ok(text.lines().filter_map(mount).collect())
    }

    /// Where the file system on a device is mounted.
    pub fn mount_of(&self, name: &str) -> Result<Option<Mount>, Fault> {
        let number = self.attribute(name, "dev");
        let mut all = self.mounts()?;
        all.retain(|mount| {
            Some(&mount.number) == number.as_ref()
                || (mount.number.starts_with("0:")
                    && mount.source.starts_with('/')
                    && self.of_node(Path::new(&mount.source)).is_ok_and(|of| of == name))
        });
        let whole = all.iter().find(|mount| mount.whole);
        let writable = all.iter().find(|mount| mount.whole && !mount.read_only);
        Ok(writable.or(whole).or(all.first()).cloned())
    }
}

/// proc(5): number, parent, device, root, point, options, any more, a dash, type, source, options.
fn mount(line: &str) -> Option<Mount> {
    let (mine, of_type) = line.split_once(" - ")?;
    let mut fields = mine.split(' ').skip(2);
    let number = fields.next()?.to_owned();
    let whole = fields.next()? == "/";
    let point = PathBuf::from(unescaped(fields.next()?));
    let mut of_type = of_type.split(' ');
    let kind = of_type.next()?.to_owned();
    let source = unescaped(of_type.next()?);
    // Of the mount or of all the file system.
    let is_read_only =
        |options: Option<&str>| options.is_some_and(|options| options.split(',').any(|word| word == "ro"));
    let read_only = is_read_only(fields.next()) || is_read_only(of_type.next());
    Some(Mount { number, whole, point, kind, source, read_only })
}

/// Blanks and the like are written as `\040`.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        if let Some(byte) = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            out.push(char::from(byte));
            out.push_str(part.get(3..).unwrap_or_default());
        } else {
            out.push('\\');
            out.push_str(part);
        }
    }
    out
}

#[test]
fn a_line_of_the_list_of_mounts() {
    let seen = mount("36 35 98:0 / /mnt\\040two rw,noatime master:1 - ext3 /dev/my\\134disk rw").unwrap();
    assert_eq!((seen.number.as_str(), seen.whole, seen.point.to_str()), ("98:0", true, Some("/mnt two")));
    assert_eq!((seen.source.as_str(), seen.kind.as_str(), seen.read_only), ("/dev/my\\disk", "ext3", false));
    for line in
        ["36 35 98:0 / /mnt ro - ext3 /dev/x rw", "36 35 98:0 / /mnt rw,noatime - ext3 /dev/x errors=x,ro"]
    {
        assert!(mount(line).unwrap().read_only, "{line}");
    }
    assert_eq!(mount("36 35 98:0"), None);
}
