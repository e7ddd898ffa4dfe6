//! What a device of a ZFS pool says of itself, read from the label on it: no program is asked, so a monitor can do it.
//!
//! The form: "ZFS On-Disk Specification", chapter 1, and the external (XDR, RFC 4506) form of name-value lists.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Two labels stand at the beginning, two at the end, of so many bytes each.
const LABEL: u64 = 256 << 10;
/// In a label the list begins here, and is so long with its checksum.
const LIST: u64 = 16 << 10;
const LENGTH: usize = 112 << 10;
/// In front of the data are two labels and room for a boot block, behind it two labels.
const AROUND: u64 = (4 << 20) + 2 * LABEL;
/// What direct reading must be aligned to: the largest logical block.
const BLOCK: usize = 4096;
/// Nested deeper than any list of ZFS.
const DEEPEST: u32 = 16;

/// A label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub pool: String,
    /// The pool's number.
    pub pool_guid: u64,
    /// `disk`, `mirror`, `raidz`: what holds data together with this device.
    pub kind: String,
    /// The device's path as the pool has it.
    pub path: String,
    /// The pool has made its own partitions, and looks after them.
    pub whole: bool,
    /// Bytes it uses of the device, without the labels.
    pub bytes: u64,
    /// It grows by steps of two to the power of this.
    pub shift: u32,
}

impl Label {
    /// How many bytes would be used of a device of this size (`vdev_open` in vdev.c).
    pub fn used_of(device: u64) -> u64 {
        (device / LABEL * LABEL).saturating_sub(AROUND)
    }
}

/// Reads the label of a device; `None` when there is none that is whole.
///
/// `direct` is open for direct reading: the kernel's cache of the device does not know what ZFS writes.
///
/// # Errors
/// When the device cannot be read.
pub fn read(direct: &File) -> io::Result<Option<Label>> {
    // While one of the two is being written, the other one is whole.
    for label in 0..2 {
        let mut room = vec![0; LENGTH + BLOCK];
        let skip = room.as_ptr().align_offset(BLOCK).min(BLOCK);
        let Some(bytes) = room.get_mut(skip..skip + LENGTH) else { return Ok(None) };
        if let Err(why) = direct.read_exact_at(bytes, label * LABEL + LIST) {
            if why.kind() == io::ErrorKind::UnexpectedEof {
                return Ok(None);
            }
            return Err(why);
        }
        if let Some(label) = parse(bytes) {
            return Ok(Some(label));
        }
    }
    Ok(None)
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Number(u64),
    Text(String),
    List(List),
    Lists(Vec<List>),
    Other,
}

type List = BTreeMap<String, Value>;

fn parse(bytes: &[u8]) -> Option<Label> {
    // XDR; then the byte order of whoever wrote it, which XDR does not care about.
    let mut rest = bytes.strip_prefix(&[1])?.get(3..)?;
    let top = list(&mut rest, DEEPEST)?;
    let text = |list: &List, name: &str| match list.get(name) {
        Some(Value::Text(text)) => Some(text.clone()),
        _ => None,
    };
    let number = |list: &List, name: &str| match list.get(name) {
        Some(Value::Number(number)) => Some(*number),
        _ => None,
    };
    let Some(Value::List(tree)) = top.get("vdev_tree") else { return None };
    // Of a mirror and its like the devices are below; ours is the one whose number the label begins with.
    let own = number(&top, "guid");
    let child = match tree.get("children") {
        Some(Value::Lists(children)) => children.iter().find(|child| number(child, "guid") == own),
        _ => None,
    };
    let device = child.unwrap_or(tree);
    Some(Label {
        pool: text(&top, "name")?,
        pool_guid: number(&top, "pool_guid")?,
        kind: text(tree, "type")?,
        path: text(device, "path").unwrap_or_default(),
        whole: number(device, "whole_disk") == Some(1),
        bytes: number(tree, "asize")?,
        shift: u32::try_from(number(tree, "metaslab_shift")?).ok().filter(|shift| *shift < 64)?,
    })
}

fn word(rest: &mut &[u8]) -> Option<u32> {
    let (four, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u32::from_be_bytes(*four))
}

fn text(rest: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(word(rest)?).ok()?;
    let (bytes, after) = rest.split_at_checked(length.checked_next_multiple_of(4)?)?;
    *rest = after;
    bytes.get(..length).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// Version and flags, then pairs, ended by two zeros.
fn list(rest: &mut &[u8], deepest: u32) -> Option<List> {
    const NUMBER: u32 = 8;
    const TEXT: u32 = 9;
    const LIST: u32 = 19;
    const LISTS: u32 = 20;
    let deeper = deepest.checked_sub(1)?;
    let mut found = List::new();
    word(rest)?;
    word(rest)?;
    loop {
        let start = *rest;
        let (encoded, decoded) = (word(rest)?, word(rest)?);
        if (encoded, decoded) == (0, 0) {
            return Some(found);
        }
        let name = text(rest)?;
        let (kind, count) = (word(rest)?, word(rest)?);
        let value = match kind {
            NUMBER => Value::Number(u64::from(word(rest)?) << 32 | u64::from(word(rest)?)),
            TEXT => Value::Text(text(rest)?),
            LIST => Value::List(list(rest, deeper)?),
            LISTS => {
                Value::Lists((0..count.min(256)).map(|_| list(rest, deeper)).collect::<Option<Vec<_>>>()?)
            }
            _ => Value::Other,
        };
        found.insert(name, value);
        *rest = start.get(usize::try_from(encoded).ok()?.max(8)..)?;
    }
}

#[cfg(test)]
mod tests;
