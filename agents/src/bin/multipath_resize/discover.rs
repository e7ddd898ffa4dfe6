//! From a name to the whole stack, by what the kernel says stands on what. Reads only, and starts no program.
//!
//! Invariant: what is not recognised from its bottom to its top is refused with a reason, never guessed.

use crate::contents::{Content, look};
use crate::metadata::{self, Group, Volume};
use crate::stack::{DiskPath, Export, Fs, FsKind, Image, Lv, Map, Part, Pv, Stack, Vdev};
use crate::sysfs::{Host, Kind};
use crate::table::{Disk, Table};
use crate::zfs_label::{self, Label};
use crate::{exports, kernel};
use ocf_lib::resource::code::Fault;
use std::path::Path;

/// The names of the devices from the disk up to the one that was named.
#[derive(Debug, Default)]
struct Chain {
    disks: Vec<String>,
    map: Option<String>,
    part: Option<String>,
    volume: Option<String>,
}

/// Finds all layers below and above a device or mount point. `extend`: a logical volume is wanted.
///
/// # Errors
/// When something is there that is not grown here; the reason says what.
pub fn discover(host: &Host, device: &Path, extend: bool) -> Result<Stack, Fault> {
    let exported = exports::all(host)?;
    let name = match (host.name_of(device), image(device)) {
        (Ok(name), _) => name,
        (Err(_), Some(image)) => return file(image, &exported),
        (Err(why), None) => return Err(why),
    };
    let mut chain = below(host, name)?;
    let paths = chain.disks.iter().map(|name| path(host, name)).collect::<Result<Vec<_>, _>>()?;
    if let Some(down) =
        paths.iter().find(|path| path.down.is_some()).filter(|_| paths.iter().all(|p| p.down.is_some()))
    {
        // Whoever reads from it now may wait for ever.
        return Err(Fault::generic(format!(
            "no path to the disk works: {} is {}",
            down.name,
            down.down.as_deref().unwrap_or("down")
        )));
    }
    let map = match &chain.map {
        Some(name) => {
            let label = host.label(name).unwrap_or_default();
            Some(Map { bytes: host.bytes(name)?, name: name.clone(), label })
        }
        None => None,
    };
    let disk = map.as_ref().map(|map| map.name.clone()).or(chain.disks.first().cloned()).unwrap_or_default();
    for name in [Some(&disk), chain.part.as_ref(), chain.volume.as_ref()].into_iter().flatten() {
        awake(host, name)?;
    }
    let mut stack = Stack { paths, map, ..Stack::default() };
    let units = exports::of_device(host, &exported, &disk);
    if let Some(unit) = units.first() {
        if chain.part.is_some() || chain.volume.is_some() {
            return Err(Fault::args(format!("{disk} is exported ({}): what is on it is not ours", unit.by)));
        }
        stack.exports = units;
        return Ok(stack);
    }
    if let Some(vdev) = own_partitions(host, &disk, chain.part.as_deref(), stack.map.is_some())? {
        stack.vdev = Some(vdev);
        return Ok(stack);
    }
    if chain.part.is_none() {
        chain.part = only_partition(host, &disk, stack.map.is_some())?;
    }
    stack.part = chain.part.as_deref().map(|name| partition(host, &disk, name)).transpose()?;
    let base = stack.part.as_ref().map_or(disk.as_str(), |part| &part.name).to_owned();
    awake(host, &base)?;
    let units = exports::of_device(host, &exported, &base);
    if units.is_empty() && look(&host.open(&base)?).map_err(|why| unreadable(&base, why))? == Content::Pv {
        volumes(host, &base, &chain, extend, &exported, &mut stack)?;
    } else if chain.volume.is_some() {
        return Err(Fault::args(format!("{base} holds a logical volume and has no label of LVM")));
    } else {
        top(host, &base, units, &mut stack)?;
    }
    Ok(stack)
}

/// A regular file by its real path.
fn image(device: &Path) -> Option<Image> {
    let path = std::fs::canonicalize(device).ok()?;
    let meta = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?;
    Some(Image { path, bytes: meta.len() })
}

fn file(image: Image, exported: &[Export]) -> Result<Stack, Fault> {
    let exports = exports::of_file(exported, &image.path);
    if exports.is_empty() {
        return Err(Fault::args(format!(
            "{} is no block device, and no iSCSI target here (LIO, tgtd) exports it",
            image.path.display()
        )));
    }
    Ok(Stack { image: Some(image), exports, ..Stack::default() })
}

/// What stands on a device, when that is no volume group: who exports it, a pool of ZFS, or a file system.
fn top(host: &Host, name: &str, units: Vec<Export>, stack: &mut Stack) -> Result<(), Fault> {
    if !units.is_empty() {
        stack.exports = units;
        return Ok(());
    }
    if let Some(holder) = host.holders(name).first() {
        return Err(in_the_way(host, holder));
    }
    awake(host, name)?;
    let mounted = host.mount_of(name)?.is_some();
    // What was there before a pool took the device may not have been wiped.
    if !mounted && let Some(label) = label(host, name)? {
        if label.whole {
            return Err(Fault::args(format!(
                "pool {} has made the partitions of {name} by itself, in a way that is not known here",
                label.pool
            )));
        }
        stack.vdev = Some(vdev(name, label, None)?);
        return Ok(());
    }
    let content = look(&host.open(name)?).map_err(|why| unreadable(name, why))?;
    stack.fs = Some(file_system(host, name, &content)?);
    if !mounted && host.is_claimed(name) {
        return Err(claimed(name));
    }
    Ok(())
}

/// The name of what is on it does not say who uses it: a resource of DRBD has the file system's superblock, too.
fn claimed(name: &str) -> Fault {
    Fault::args(format!(
        "{name} belongs to something that is not a file system, LVM, ZFS or a target that is known here (DRBD?): that is not \
         grown here"
    ))
}

/// The label of a pool that is imported here.
fn label(host: &Host, name: &str) -> Result<Option<Label>, Fault> {
    if !host.kstat.exists() {
        return Ok(None);
    }
    let Some(label) = zfs_label::read(&host.open_direct(name)?).map_err(|why| unreadable(name, why))? else {
        return Ok(None);
    };
    let pool = host.kstat.join(&label.pool);
    let fact = |name: &str| std::fs::read_to_string(pool.join(name)).map(|text| text.trim().to_owned()).ok();
    // OpenZFS before 2.2 does not tell the number.
    if fact("guid").is_some_and(|guid| guid != label.pool_guid.to_string()) {
        return Ok(None);
    }
    match fact("state") {
        None => Ok(None),
        // Whoever asks for anything of it waits for ever.
        Some(state) if state != "ONLINE" && state != "DEGRADED" => {
            Err(Fault::generic(format!("pool {} is {}", label.pool, state.to_lowercase())))
        }
        Some(_) => Ok(Some(label)),
    }
}

fn vdev(name: &str, label: Label, own_start: Option<u64>) -> Result<Vdev, Fault> {
    if label.kind != "disk" {
        return Err(Fault::args(format!(
            "{name} is a part of a {} of pool {}, which only grows when all of its disks have grown: that is not grown here, see \
             zpool-online(8)",
            label.kind, label.pool
        )));
    }
    let Label { pool, path, bytes, shift, .. } = label;
    Ok(Vdev { name: name.to_owned(), pool, path, own_start, bytes, shift })
}

/// A disk that ZFS was given as a whole: it has made a partition 1 for data and an empty one, 9, behind that, and moves both itself.
fn own_partitions(host: &Host, disk: &str, named: Option<&str>, mapped: bool) -> Result<Option<Vdev>, Fault> {
    let parts = host.partitions(disk);
    let number = |wanted| parts.iter().find(|name| host.partition_number(name) == Some(wanted));
    let (2, Some(first), Some(_)) = (parts.len(), number(1), number(9)) else { return Ok(None) };
    if mapped || named.is_some_and(|named| named != first) {
        return Ok(None);
    }
    let Some(mut label) = label(host, first)?.filter(|label| label.whole) else { return Ok(None) };
    let table = read_table(host, disk, false)?.1;
    // `zpool online` wants the disk; the path in the label is the partition's.
    label.path = without_partition(&label.path)
        .ok_or_else(|| Fault::args(format!("pool {} knows {first} as '{}'", label.pool, label.path)))?;
    let start = table.parts.iter().find(|part| part.number == 1).map(|part| part.start);
    let start = start.ok_or_else(|| Fault::args(format!("{disk} has no partition 1 in its table")))?;
    vdev(disk, label, Some(start)).map(Some)
}

/// `/dev/sda1`, `/dev/nvme0n1p1`, `/dev/disk/by-id/x-part1` without the end.
fn without_partition(path: &str) -> Option<String> {
    let disk = path.strip_suffix("-part1").or_else(|| {
        let disk = path.strip_suffix('1')?;
        let with_p = disk.strip_suffix('p').filter(|disk| disk.ends_with(|c: char| c.is_ascii_digit()));
        with_p.or(Some(disk))
    })?;
    Some(disk.to_owned())
}

fn unreadable(name: &str, why: std::io::Error) -> Fault {
    Fault::from(why).context(format_args!("cannot read {name}"))
}

fn awake(host: &Host, name: &str) -> Result<(), Fault> {
    if host.is_suspended(name) {
        let label = host.label(name).unwrap_or_default();
        return Err(Fault::generic(format!("map {label} ({name}) is suspended")));
    }
    Ok(())
}

fn in_the_way(host: &Host, name: &str) -> Fault {
    match host.kind(name) {
        Kind::Other(what) => Fault::args(format!("{what}: it is in the way of growing what is below it")),
        Kind::Disk | Kind::Partition | Kind::Map | Kind::MapPartition(_) | Kind::Volume { .. } => {
            Fault::args(format!("{name} stands where nothing was expected"))
        }
    }
}

fn below(host: &Host, name: String) -> Result<Chain, Fault> {
    let mut chain = Chain::default();
    let mut name = name;
    // More layers than are known here would be no layout of ours.
    for _ in 0..4 {
        let kind = host.kind(&name);
        match kind {
            Kind::Volume { .. } if chain.part.is_none() && chain.volume.is_none() => {
                let under = only_slave(
                    host,
                    &name,
                    "a volume on several physical volumes: name the disk to be grown",
                )?;
                chain.volume = Some(std::mem::replace(&mut name, under));
            }
            Kind::MapPartition(_) if chain.part.is_none() => {
                let under = only_slave(host, &name, "a partition of several devices")?;
                chain.part = Some(std::mem::replace(&mut name, under));
            }
            Kind::Partition if chain.part.is_none() => {
                let parent = host.parent(&name);
                let parent =
                    parent.ok_or_else(|| Fault::args(format!("{name} is a partition of no disk")))?;
                chain.part = Some(std::mem::replace(&mut name, parent));
            }
            Kind::Map => {
                chain.disks = host.slaves(&name);
                if let Some(odd) = chain.disks.iter().find(|disk| host.kind(disk) != Kind::Disk) {
                    return Err(Fault::args(format!("{odd} is a path of map {name} and no disk")));
                }
                if chain.disks.is_empty() {
                    return Err(Fault::generic(format!("map {name} has no path")));
                }
                chain.map = Some(name);
                return Ok(chain);
            }
            Kind::Disk => {
                let map = host.holders(&name).into_iter().find(|holder| host.kind(holder) == Kind::Map);
                match map {
                    Some(map) if chain.part.is_none() => name = map,
                    Some(map) => {
                        let label = host.label(&map).unwrap_or(map);
                        return Err(Fault::args(format!(
                            "{name} is a path of the multipath map {label}: name that"
                        )));
                    }
                    None => {
                        chain.disks = vec![name];
                        return Ok(chain);
                    }
                }
            }
            Kind::Other(what) => return Err(Fault::args(format!("{what}: that is not grown here"))),
            Kind::Volume { .. } | Kind::MapPartition(_) | Kind::Partition => {
                return Err(Fault::args(format!(
                    "{name} is below another layer of its kind: that is not grown here"
                )));
            }
        }
    }
    Err(Fault::args(format!("{name}: more layers than are known here")))
}

fn only_slave(host: &Host, name: &str, else_it_is: &str) -> Result<String, Fault> {
    let mut slaves = host.slaves(name);
    match (slaves.pop(), slaves.pop()) {
        (Some(only), None) => Ok(only),
        _ => Err(Fault::args(format!(
            "{} is {else_it_is}",
            host.label(name).unwrap_or_else(|| name.to_owned())
        ))),
    }
}

fn path(host: &Host, name: &str) -> Result<DiskPath, Fault> {
    let bytes = host.bytes(name)?;
    let mut seen = DiskPath { name: name.to_owned(), bytes, real: bytes, down: host.down(name) };
    // Only what can be told to look again can have been missed; other disks tell the kernel by themselves.
    if seen.down.is_none() && host.folder(name).join("device/rescan").exists() {
        match kernel::capacity(&host.open(name)?) {
            Ok(real) => seen.real = real,
            Err(why) => seen.down = Some(format!("not answering: {why}")),
        }
    }
    Ok(seen)
}

fn only_partition(host: &Host, disk: &str, mapped: bool) -> Result<Option<String>, Fault> {
    let mut all = if mapped {
        let is_part = |name: &String| matches!(host.kind(name), Kind::MapPartition(_));
        host.holders(disk).into_iter().filter(is_part).collect()
    } else {
        host.partitions(disk)
    };
    if all.len() > 1 {
        let names = all.join(", ");
        return Err(Fault::args(format!(
            "{disk} has several partitions: name the one to be grown, of {names}"
        )));
    }
    Ok(all.pop())
}

fn partition(host: &Host, disk: &str, name: &str) -> Result<Part, Fault> {
    let number = if let Kind::MapPartition(number) = host.kind(name) {
        Some(number)
    } else {
        host.partition_number(name)
    };
    let number = number.ok_or_else(|| Fault::args(format!("{name} has no number as a partition")))?;
    let table = read_table(host, disk, false)?.1;
    let listed = table.last(number)?;
    if host.start(name).filter(|_| host.label(name).is_none()).is_some_and(|start| start != listed.start) {
        return Err(Fault::args(format!(
            "partition {name} begins elsewhere in the kernel than in the table: the table was changed while it was in use"
        )));
    }
    Ok(Part {
        name: name.to_owned(),
        number,
        label: host.label(name),
        scheme: table.scheme,
        start: listed.start,
        listed: listed.bytes,
        bytes: host.bytes(name)?,
        tail: table.tail,
        most: table.most,
        made_for: table.made_for,
        damaged: table.damaged,
    })
}

/// A disk and the partition table on it.
pub fn read_table(host: &Host, name: &str, write: bool) -> Result<(Disk, Table), Fault> {
    let disk = Disk::open(&host.node(name), host.bytes(name)?, write)?;
    let table = Table::read(&disk, host.sector(name))?;
    let table = table
        .ok_or_else(|| Fault::args(format!("{name} has partitions and no partition table (MBR or GPT)")))?;
    Ok((disk, table))
}

fn volumes(
    host: &Host,
    base: &str,
    chain: &Chain,
    extend: bool,
    exported: &[Export],
    stack: &mut Stack,
) -> Result<(), Fault> {
    let group = metadata::group(&host.open(base)?, base)?;
    let holders = host.holders(base);
    if holders.is_empty() && host.is_claimed(base) {
        return Err(claimed(base));
    }
    for holder in &holders {
        // Also a thin pool's data or a mirror's leg: it is of this group, and not touched.
        let uuid = host.attribute(holder, "dm/uuid").unwrap_or_default();
        if uuid.strip_prefix("LVM-").is_none_or(|ids| !ids.starts_with(&group.uuid)) {
            return Err(in_the_way(host, holder));
        }
    }
    let found = wanted(host, &group, chain.volume.as_deref(), &holders).and_then(|(device, volume)| {
        let mut above = Stack::default();
        top(host, device, exports::of_device(host, exported, device), &mut above)?;
        let (name, volume, extents) = (device.to_owned(), volume.name.clone(), volume.extents);
        Ok((Lv { bytes: host.bytes(&name)?, name, volume, extents }, above))
    });
    match found {
        Ok((lv, above)) => {
            stack.lv = Some(lv);
            (stack.fs, stack.vdev, stack.exports) = (above.fs, above.vdev, above.exports);
        }
        Err(why) if chain.volume.is_some() || extend => return Err(why),
        // Not asked for, not touched.
        Err(_) => {}
    }
    let Group { name, offset, extent, extents, free, .. } = group;
    stack.pv = Some(Pv { name: base.to_owned(), group: name, offset, extent, extents, free });
    Ok(())
}

/// The logical volume that was named, or the only one of the group.
fn wanted<'a>(
    host: &Host,
    group: &'a Group,
    named: Option<&'a str>,
    holders: &'a [String],
) -> Result<(&'a str, &'a Volume), Fault> {
    let visible: Vec<&Volume> = group.volumes.iter().filter(|volume| volume.visible).collect();
    let active = |name: &str| {
        let Kind::Volume { id, .. } = host.kind(name) else { return None };
        visible.iter().find(|volume| volume.uuid == id).copied()
    };
    let (device, volume) = if let Some(name) = named {
        let volume = active(name);
        (
            name,
            volume.ok_or_else(|| {
                Fault::args(format!("{name} is not in LVM's record of group {}", group.name))
            })?,
        )
    } else {
        let [only] = visible.as_slice() else {
            return Err(Fault::args(format!(
                "group {} has {} logical volumes: name the one to be extended",
                group.name,
                visible.len()
            )));
        };
        let device = holders.iter().find(|name| active(name).is_some());
        let idle = || Fault::args(format!("{}/{} is not active on this disk", group.name, only.name));
        (device.ok_or_else(idle)?.as_str(), *only)
    };
    if !volume.linear {
        return Err(Fault::args(format!(
            "{}/{} is not linear (a thin volume, a mirror, stripes): that is not grown here",
            group.name, volume.name
        )));
    }
    Ok((device, volume))
}

fn file_system(host: &Host, name: &str, content: &Content) -> Result<Fs, Fault> {
    let (kind, written, slack, devid) = match content {
        Content::Fs { kind, bytes, slack, devid } => (*kind, *bytes, *slack, *devid),
        Content::Pv => return Err(Fault::args(format!("{name} is a physical volume on a logical one"))),
        Content::Other(what) => {
            return Err(Fault::args(format!("{name} has {what} on it: that is not grown here")));
        }
        Content::Unknown => {
            return Err(Fault::args(format!(
                "{name} has no file system (ext, xfs, btrfs), volume of LVM, imported pool of ZFS or partition that is known here"
            )));
        }
    };
    let mount = host.mount_of(name)?;
    let mut bytes = written;
    // These two write their size to the disk when it suits them.
    if let Some(point) = mount.as_ref().map(|mount| &mount.point).filter(|_| kind != FsKind::Ext) {
        let folder =
            std::fs::File::open(point).map_err(|why| unreadable(&point.display().to_string(), why))?;
        let asked = if kind == FsKind::Xfs {
            kernel::xfs_bytes(&folder)
        } else {
            kernel::btrfs_bytes(&folder, devid)
        };
        bytes = asked.map_err(|why| {
            Fault::from(why).context(format_args!("cannot ask for the size of {}", point.display()))
        })?;
    }
    let read_only = mount.as_ref().is_some_and(|mount| mount.read_only);
    let mount = mount.map(|mount| mount.point);
    Ok(Fs { name: name.to_owned(), kind, bytes, slack, mount, read_only, devid })
}

#[cfg(test)]
mod tests;
