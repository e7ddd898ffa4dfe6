//! LVM's own record of a volume group, read from a physical volume: no program is asked, so a monitor can do it.
//!
//! The form: lvm2's `lib/format_text/layout.h` for label and areas, and the text as `vgcfgbackup` shows it.

use crate::contents::read;
use ocf_lib::resource::code::Fault;
use std::collections::BTreeMap;
use std::fs::File;

const SECTOR: u64 = 512;
const MAGIC: &[u8] = b" LVM2 x[5A%r0N*>";
/// The text is kept in a ring that begins after the area's own sector.
const RING: u64 = 512;
/// More text than this is not plausible.
const MOST: u64 = 16 << 20;

/// A group as one of its physical volumes has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    /// Without dashes, as the device mapper has it.
    pub uuid: String,
    /// Bytes.
    pub extent: u64,
    /// The physical volume that was read: where its extents begin in bytes, how many it has, how many are free.
    pub offset: u64,
    pub extents: u64,
    pub free: u64,
    pub volumes: Vec<Volume>,
}

/// A logical volume of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    pub name: String,
    /// Without dashes.
    pub uuid: String,
    pub extents: u64,
    /// All of it is plain extents of physical volumes, one after the other.
    pub linear: bool,
    pub visible: bool,
}

/// A value of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Number(u64),
    Text(String),
    List(Vec<Value>),
    Section(BTreeMap<String, Value>),
}

impl Value {
    fn get(&self, name: &str) -> Option<&Value> {
        if let Self::Section(fields) = self { fields.get(name) } else { None }
    }

    fn number(&self, name: &str) -> Option<u64> {
        if let Some(Self::Number(number)) = self.get(name) { Some(*number) } else { None }
    }

    fn text(&self, name: &str) -> Option<&str> {
        if let Some(Self::Text(text)) = self.get(name) { Some(text) } else { None }
    }

    fn list(&self, name: &str) -> &[Value] {
        if let Some(Self::List(list)) = self.get(name) { list } else { &[] }
    }

    fn sections(&self, name: &str) -> impl Iterator<Item = (&String, &Value)> {
        let fields = if let Some(Self::Section(fields)) = self.get(name) { Some(fields) } else { None };
        fields.into_iter().flatten().filter(|(_, value)| matches!(value, Self::Section(_)))
    }
}

/// Reads the group that a physical volume belongs to; `device` is its name for what is said.
///
/// # Errors
/// When it belongs to none, or has no record, or one that is not understood.
pub fn group(file: &File, device: &str) -> Result<Group, Fault> {
    let not = |why: &str| Fault::args(format!("physical volume {device}: {why}"));
    let bytes = |offset, size: u64| {
        read(file, offset, usize::try_from(size).unwrap_or(0))
            .map_err(|why| Fault::from(why).context(format_args!("cannot read LVM's record on {device}")))
    };
    let head = bytes(0, 4 * SECTOR)?;
    let label = head.chunks(512).find(|sector| sector.starts_with(b"LABELONE"));
    let label = label.ok_or_else(|| not("its label is gone"))?;
    let header = label.get(usize::try_from(little(label, 20, 4)).unwrap_or(usize::MAX)..).unwrap_or_default();
    let uuid = String::from_utf8_lossy(header.get(..32).unwrap_or_default()).into_owned();
    // Two lists of areas, each ended by an empty one: data, then records.
    let mut areas = header
        .get(40..)
        .unwrap_or_default()
        .chunks_exact(16)
        .map(|area| (little(area, 0, 8), little(area, 8, 8)));
    areas.by_ref().find(|area| *area == (0, 0));
    let records: Vec<(u64, u64)> = areas.take_while(|area| *area != (0, 0)).collect();
    let [(start, size)] = records.as_slice() else {
        let why =
            format!("it has {} copies of LVM's record, and one is what is understood here", records.len());
        return Err(not(&why));
    };
    let area = bytes(*start, SECTOR)?;
    if area.get(4..20) != Some(MAGIC) {
        return Err(not("LVM's record on it is damaged: see vgck"));
    }
    let (offset, length) = (little(&area, 40, 8), little(&area, 48, 8));
    if offset == 0 || length == 0 {
        return Err(not("it is in no volume group"));
    }
    if length > MOST || offset >= *size || *size <= RING || length > *size - RING {
        return Err(not("LVM's record on it is damaged: see vgck"));
    }
    let straight = length.min(size - offset);
    let mut text = bytes(start + offset, straight)?;
    text.extend(bytes(start + RING, length - straight)?);
    let text = String::from_utf8_lossy(&text);
    from_text(&text, &uuid).ok_or_else(|| not("LVM's record on it is not understood"))
}

fn little(bytes: &[u8], offset: usize, size: usize) -> u64 {
    let field = bytes.get(offset..offset + size).unwrap_or_default();
    field.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// `uuid`: of the physical volume, without dashes.
fn from_text(text: &str, uuid: &str) -> Option<Group> {
    let whole = Parser { rest: text.trim_matches('\0') }.fields(0)?;
    let (name, group) = whole.iter().find(|(_, value)| matches!(value, Value::Section(_)))?;
    let extent = group.number("extent_size")?.checked_mul(SECTOR).filter(|size| *size > 0)?;
    let undashed = |value: &Value| value.text("id").map(|id| id.replace('-', ""));
    let (alias, physical) =
        group.sections("physical_volumes").find(|(_, value)| undashed(value).as_deref() == Some(uuid))?;
    let extents = physical.number("pe_count")?;
    let mut taken = 0;
    let mut volumes = Vec::new();
    for (volume, value) in group.sections("logical_volumes") {
        let mut size = 0;
        let mut linear = true;
        for count in 1..=value.number("segment_count")? {
            let segment = value.get(&format!("segment{count}"))?;
            let length = segment.number("extent_count")?;
            let is_plain = segment.text("type") == Some("striped");
            let stripes = segment.list("stripes");
            let each = length / segment.number("stripe_count").unwrap_or(1).max(1);
            let ours = [stripes, segment.list("mirrors")].concat();
            taken += each * ours.iter().filter(|word| **word == Value::Text(alias.clone())).count() as u64;
            // A stripe can be on another logical volume: a part of a raid, say.
            let is_physical = |word: &Value| matches!(word, Value::Text(name) if group.get("physical_volumes").is_some_and(|all| all.get(name).is_some()));
            linear &= is_plain && stripes.len() == 2 && stripes.first().is_some_and(is_physical);
            size += length;
        }
        volumes.push(Volume {
            name: volume.clone(),
            uuid: undashed(value)?,
            extents: size,
            linear,
            visible: value.list("status").contains(&Value::Text("VISIBLE".to_owned())),
        });
    }
    Some(Group {
        name: name.clone(),
        uuid: undashed(group)?,
        extent,
        offset: physical.number("pe_start")?.checked_mul(SECTOR)?,
        extents,
        free: extents.checked_sub(taken)?,
        volumes,
    })
}

/// Of `name = value` and `name { ... }`, with comments from # to the end of a line.
struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn skip(&mut self) {
        loop {
            self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r', ',']);
            if !self.rest.starts_with('#') {
                return;
            }
            self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
        }
    }

    fn eat(&mut self, sign: char) -> bool {
        self.skip();
        let eaten = self.rest.strip_prefix(sign);
        self.rest = eaten.unwrap_or(self.rest);
        eaten.is_some()
    }

    fn fields(&mut self, depth: u8) -> Option<BTreeMap<String, Value>> {
        let mut fields = BTreeMap::new();
        loop {
            self.skip();
            if self.rest.is_empty() || self.rest.starts_with('}') {
                return Some(fields);
            }
            let end = self.rest.find([' ', '=', '{', '\t', '\n'])?;
            let (name, rest) = self.rest.split_at(end);
            self.rest = rest;
            let value = if self.eat('{') {
                if depth > 8 {
                    return None;
                }
                let inner = self.fields(depth + 1)?;
                self.eat('}').then_some(Value::Section(inner))?
            } else if self.eat('=') {
                self.value()?
            } else {
                return None;
            };
            fields.insert(name.to_owned(), value);
        }
    }

    fn value(&mut self) -> Option<Value> {
        if self.eat('[') {
            let mut list = Vec::new();
            while !self.eat(']') {
                list.push(self.scalar()?);
            }
            return Some(Value::List(list));
        }
        self.scalar()
    }

    fn scalar(&mut self) -> Option<Value> {
        self.skip();
        if let Some(rest) = self.rest.strip_prefix('"') {
            let mut text = String::new();
            let mut signs = rest.char_indices();
            while let Some((at, sign)) = signs.next() {
                match sign {
                    '\\' => text.push(signs.next()?.1),
                    '"' => {
                        self.rest = rest.get(at + 1..)?;
                        return Some(Value::Text(text));
                    }
                    _ => text.push(sign),
                }
            }
            return None;
        }
        let end = self.rest.find(|sign: char| !sign.is_ascii_digit() && sign != '.' && sign != '-')?;
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        // Times and offsets; only whole numbers of 64 bits are of interest here.
        if digits.is_empty() { None } else { Some(Value::Number(digits.parse().unwrap_or(0))) }
    }
}

#[cfg(test)]
pub(crate) mod tests;
