//! What must be done for every layer to be as large as the one below it. Pure: from sizes to steps.
//!
//! Invariants:
//! - No step makes anything smaller; a layer that is larger than what it stands on ends the planning.
//! - What is left to do follows from what is seen alone, so a crash between two steps, or in one, needs no memory.

use crate::stack::{Export, Fs, Lv, Part, Pv, Scheme, Size, Stack, Vdev};
use crate::zfs_label::Label;
use ocf_lib::resource::code::Fault;
use serde_json::{Value, json};
use std::fmt;
use std::io::{self, Write};

/// Partitions end where other tools would end them, too.
const ALIGNED: u64 = 1 << 20;

/// One change of one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The kernel asks the disk for its size, on one path.
    Rescan { path: String },
    /// multipathd gives its map the size of the paths.
    Map { label: String },
    /// The partition's entry, and the table's own place at the end of the disk.
    Table { disk: String, number: u32, scheme: Scheme, bytes: u64 },
    /// The kernel's idea of the partition.
    Partition { disk: String, name: String, number: u32, label: Option<String>, start: u64, bytes: u64 },
    /// LVM's physical volume.
    Pv { name: String },
    /// The logical volume, to so many extents altogether, from this physical volume only.
    Lv { group: String, volume: String, extents: u64, pv: String },
    /// The kernel's idea of the logical volume.
    Refresh { group: String, volume: String },
    /// The file system, to all of its device.
    Fs(Fs),
    /// ZFS takes all of the device, `bytes` of it for data, and moves the partitions that it has made itself.
    Vdev { pool: String, path: String, bytes: u64 },
    /// Initiators are told so many bytes.
    Export { export: Export, bytes: u64 },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rescan { path } => write!(f, "asking {path} for its size"),
            Self::Map { label } => write!(f, "resizing the multipath map {label}"),
            Self::Table { disk, number, .. } => write!(f, "writing partition {number} of {disk}"),
            Self::Partition { name, .. } => write!(f, "telling the kernel of partition {name}"),
            Self::Pv { name } => write!(f, "growing the physical volume on {name}"),
            Self::Lv { group, volume, .. } => write!(f, "extending {group}/{volume}"),
            Self::Refresh { group, volume } => write!(f, "telling the kernel of {group}/{volume}"),
            Self::Fs(fs) => write!(f, "growing the {} file system on {}", fs.kind.word(), fs.name),
            Self::Vdev { pool, path, .. } => write!(f, "growing pool {pool} on {path}"),
            Self::Export { export, .. } => write!(f, "growing {}", export.by),
        }
    }
}

/// One layer now and after all steps, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    pub what: String,
    pub now: u64,
    pub then: u64,
}

/// All layers from the disk up, and the steps in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub layers: Vec<Layer>,
    pub steps: Vec<Step>,
}

impl Plan {
    /// The layers that are smaller than they could be, for one line; `None` when all agree.
    pub fn mismatch(&self) -> Option<String> {
        let first = self.steps.first()?;
        let layer = self.layers.iter().find(|layer| layer.now != layer.then);
        Some(match layer {
            Some(layer) => {
                format!(
                    "{} has {} of {} bytes; next: {first}; see 'multipath-resize plan'",
                    layer.what, layer.now, layer.then
                )
            }
            None => format!("next: {first}; see 'multipath-resize plan'"),
        })
    }

    pub fn describe(&self, out: &mut dyn Write) -> io::Result<()> {
        for Layer { what, now, then } in &self.layers {
            if now == then {
                writeln!(out, "{what}: {now}")?;
            } else {
                writeln!(out, "{what}: {now} -> {then}")?;
            }
        }
        if self.steps.is_empty() {
            return writeln!(out, "nothing to do");
        }
        self.steps.iter().try_for_each(|step| writeln!(out, "- {step}"))
    }

    /// The same for a program.
    pub fn as_json(&self) -> Value {
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|Layer { what, now, then }| json!({"layer": what, "bytes": now, "bytes_then": then}))
            .collect();
        let steps: Vec<String> = self.steps.iter().map(ToString::to_string).collect();
        json!({"layers": layers, "steps": steps})
    }

    fn layer(&mut self, what: impl Into<String>, now: u64, then: u64) -> u64 {
        self.layers.push(Layer { what: what.into(), now, then });
        then
    }
}

fn shrunk(what: &str, has: u64, below: &str, room: u64) -> Fault {
    Fault::args(format!(
        "{what} has {has} bytes and {below} only {room}: nothing is made smaller here; has the disk shrunk, or is it another one?"
    ))
}

/// The steps that are left, from what is seen. `extend`: the logical volume gets what its physical volume has free.
///
/// # Errors
/// When a layer is larger than the one below it, or something is in the way of growing.
pub fn plan(stack: &Stack, extend: bool) -> Result<Plan, Fault> {
    let mut plan = Plan::default();
    if let Some(image) = &stack.image {
        let below = image.path.display().to_string();
        plan.layer(format!("file {below}"), image.bytes, image.bytes);
        exports(&stack.exports, &below, image.bytes, &mut plan)?;
        return Ok(plan);
    }
    let mut room = disk(stack, &mut plan)?;
    let mut below = stack.disk().to_owned();
    if let Some(part) = &stack.part {
        room = partition(part, stack.disk(), room, &mut plan)?;
        below.clone_from(&part.name);
    }
    if let Some(pv) = &stack.pv {
        let free = physical(pv, &below, room, &mut plan)?;
        let Some(lv) = &stack.lv else { return Ok(plan) };
        room = logical(lv, pv, if extend { free } else { 0 }, &mut plan)?;
        below = format!("{}/{}", pv.group, lv.volume);
    }
    if let Some(fs) = &stack.fs {
        file_system(fs, &below, room, &mut plan)?;
    }
    if let Some(vdev) = &stack.vdev {
        pool(vdev, &below, room, &mut plan)?;
    }
    exports(&stack.exports, &below, room, &mut plan)?;
    Ok(plan)
}

fn disk(stack: &Stack, plan: &mut Plan) -> Result<u64, Fault> {
    let first = stack.paths.first().ok_or_else(|| Fault::args("the disk has no path"))?;
    if let Some(other) =
        stack.paths.iter().find(|path| path.down.is_none() && path.real != first.real && first.down.is_none())
    {
        return Err(Fault::args(format!(
            "path {} says {} bytes and path {} {}: the target must offer the same size on all paths",
            first.name, first.real, other.name, other.real
        )));
    }
    let real = stack.paths.iter().find(|path| path.down.is_none()).map_or(first.bytes, |path| path.real);
    for path in &stack.paths {
        let then = if path.down.is_none() { real } else { path.bytes };
        plan.layer(format!("path {}", path.name), path.bytes, then);
        if path.bytes > real {
            return Err(shrunk(&format!("path {}", path.name), path.bytes, "the disk", real));
        }
        if path.down.is_none() && path.bytes < real {
            plan.steps.push(Step::Rescan { path: path.name.clone() });
        }
    }
    // A map over paths of two sizes would send what is behind the smaller one's end into errors.
    if let Some(path) = stack.paths.iter().find(|path| path.down.is_some() && path.bytes != real) {
        return Err(Fault::args(format!(
            "path {} is {} and still has the old size: repair the path, or take it out of the map",
            path.name,
            path.down.as_deref().unwrap_or("down")
        )));
    }
    let Some(map) = &stack.map else { return Ok(real) };
    if map.bytes > real {
        return Err(shrunk(&format!("map {}", map.label), map.bytes, "its paths", real));
    }
    if map.bytes < real {
        plan.steps.push(Step::Map { label: map.label.clone() });
    }
    Ok(plan.layer(format!("map {} ({})", map.label, map.name), map.bytes, real))
}

fn partition(part: &Part, disk: &str, room: u64, plan: &mut Plan) -> Result<u64, Fault> {
    let what = format!("partition {}", part.name);
    if part.made_for.is_some_and(|end| end > room) {
        return Err(shrunk(
            &format!("the partition table of {disk}"),
            part.made_for.unwrap_or(0),
            "the disk",
            room,
        ));
    }
    if part.start + part.listed > room {
        return Err(shrunk(&format!("{what} with its start"), part.start + part.listed, disk, room));
    }
    if part.bytes > part.listed {
        return Err(shrunk(
            &format!("{what} in the kernel"),
            part.bytes,
            "its entry in the table",
            part.listed,
        ));
    }
    let end = (room - part.tail.min(room)) / ALIGNED * ALIGNED;
    let then = end.saturating_sub(part.start).min(part.most).max(part.listed);
    let moved = part.made_for.is_some_and(|end| end != room);
    if then != part.listed || moved || part.damaged {
        plan.steps.push(Step::Table {
            disk: disk.to_owned(),
            number: part.number,
            scheme: part.scheme,
            bytes: then,
        });
    }
    plan.layer(format!("{what} in the table"), part.listed, then);
    if part.bytes < then {
        plan.steps.push(Step::Partition {
            disk: disk.to_owned(),
            name: part.name.clone(),
            number: part.number,
            label: part.label.clone(),
            start: part.start,
            bytes: then,
        });
    }
    Ok(plan.layer(format!("{what} in the kernel"), part.bytes, then))
}

/// Free extents afterwards.
fn physical(pv: &Pv, below: &str, room: u64, plan: &mut Plan) -> Result<u64, Fault> {
    let what = format!("physical volume {} of {}", pv.name, pv.group);
    let end = pv.offset + pv.extents * pv.extent;
    if end > room {
        return Err(shrunk(&what, end, below, room));
    }
    let then = (room - pv.offset) / pv.extent.max(1);
    if then > pv.extents {
        plan.steps.push(Step::Pv { name: pv.name.clone() });
    }
    plan.layer(what, pv.extents * pv.extent, then * pv.extent);
    Ok(pv.free + then - pv.extents)
}

fn logical(lv: &Lv, pv: &Pv, more: u64, plan: &mut Plan) -> Result<u64, Fault> {
    let what = format!("logical volume {}/{}", pv.group, lv.volume);
    let written = lv.extents * pv.extent;
    if lv.bytes > written {
        return Err(shrunk(&format!("{what} in the kernel"), lv.bytes, "LVM's metadata", written));
    }
    let then = written + more * pv.extent;
    if more > 0 {
        plan.steps.push(Step::Lv {
            group: pv.group.clone(),
            volume: lv.volume.clone(),
            extents: lv.extents + more,
            pv: pv.name.clone(),
        });
    } else if lv.bytes < written {
        plan.steps.push(Step::Refresh { group: pv.group.clone(), volume: lv.volume.clone() });
    }
    Ok(plan.layer(what, lv.bytes, then))
}

fn file_system(fs: &Fs, below: &str, room: u64, plan: &mut Plan) -> Result<(), Fault> {
    let what = format!("{} file system on {}", fs.kind.word(), fs.name);
    if fs.bytes > room {
        return Err(shrunk(&what, fs.bytes, below, room));
    }
    if room - fs.bytes <= fs.slack {
        plan.layer(what, fs.bytes, fs.bytes);
    } else if let Some(mount) = fs.mount.as_ref().filter(|_| fs.read_only) {
        let mount = mount.display();
        plan.layer(format!("{what}, read-only on {mount}: grows once it is writable"), fs.bytes, fs.bytes);
    } else if let Some(mount) = &fs.mount {
        plan.layer(format!("{what}, mounted on {}", mount.display()), fs.bytes, room);
        plan.steps.push(Step::Fs(fs.clone()));
    } else {
        // Growing it offline needs a check of the whole file system first (ext), or is not possible (xfs, btrfs).
        plan.layer(format!("{what}, not mounted here: grows once it is"), fs.bytes, fs.bytes);
    }
    Ok(())
}

/// The empty partition that ZFS makes behind its own (`efi_use_whole_disk`).
const RESERVE: u64 = 8 << 20;
/// The second copy of a GPT, and what ZFS leaves free beside it.
const TAIL: u64 = 34 * 512;

fn pool(vdev: &Vdev, below: &str, room: u64, plan: &mut Plan) -> Result<(), Fault> {
    let what = format!("pool {} on {}", vdev.pool, vdev.name);
    let device = vdev.own_start.map_or(room, |start| {
        (room.saturating_sub(TAIL + RESERVE) / ALIGNED * ALIGNED).saturating_sub(start)
    });
    let then = Label::used_of(device);
    if vdev.bytes > then {
        return Err(shrunk(&what, vdev.bytes, below, then));
    }
    // It takes whole steps only, and does not write down what is less.
    if then >> vdev.shift > vdev.bytes >> vdev.shift {
        plan.steps.push(Step::Vdev { pool: vdev.pool.clone(), path: vdev.path.clone(), bytes: then });
        plan.layer(what, vdev.bytes, then);
    } else {
        plan.layer(what, vdev.bytes, vdev.bytes);
    }
    Ok(())
}

fn exports(exports: &[Export], below: &str, room: u64, plan: &mut Plan) -> Result<(), Fault> {
    const MILLION: u64 = 1_000_000;
    let rounded = room.saturating_add(MILLION / 2) / MILLION;
    for export in exports {
        let now = match export.bytes {
            Size::Same => room,
            Size::Megabytes(size) if size == rounded => room,
            Size::Megabytes(size) => size * MILLION,
            Size::Bytes(bytes) => bytes,
        };
        let what = export.by.to_string();
        if now > room {
            return Err(shrunk(&what, now, below, room));
        }
        if now < room {
            plan.steps.push(Step::Export { export: export.clone(), bytes: room });
        }
        plan.layer(what, now, room);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
