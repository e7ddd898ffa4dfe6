//! LVM's devices file (lvmdevices(8)): one line for each device that LVM may use, in `/etc/lvm/devices/system.devices`.
//!
//! LVM itself writes it anew whenever a device has another name, and counts that in `VERSION=`. So an entry is known by what
//! identifies the device (`IDTYPE`, `IDNAME`), and by the name only where that is all there is.

use std::fmt::Write as _;

/// One line of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub line: &'a str,
}

impl<'a> Entry<'a> {
    fn field(self, name: &str) -> Option<&'a str> {
        self.line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    /// What the device is known by.
    fn identity(self) -> (Option<&'a str>, Option<&'a str>) {
        (self.field("IDTYPE"), self.field("IDNAME"))
    }

    /// The device's name, if it is there.
    pub fn name(self) -> Option<&'a str> {
        self.field("DEVNAME").filter(|name| *name != ".")
    }

    /// The entry of the device with this name. A device that is not there now has no `DEVNAME`.
    pub fn is_of(self, path: &str) -> bool {
        self.field("DEVNAME") == Some(path)
            || self.identity() == (Some("devname"), Some(path)) && self.field("DEVNAME") == Some(".")
    }
}

/// The entries of a file's text.
pub fn entries(text: &str) -> impl Iterator<Item = Entry<'_>> + Clone {
    text.lines().filter(|line| line.starts_with("IDTYPE=")).map(|line| Entry { line })
}

/// True when `now` is `before` with nothing but our own changes, all of them or some.
pub fn is_ours(before: &str, now: &str, added: &[String], removed: &[String]) -> bool {
    let has = |text: &str, entry: Entry<'_>| entries(text).any(|other| other.identity() == entry.identity());
    let known = entries(now).all(|entry| has(before, entry) || added.iter().any(|path| entry.is_of(path)));
    let kept = entries(before)
        .filter(|entry| !removed.iter().any(|path| entry.is_of(path)))
        .all(|entry| has(now, entry));
    known && kept
}

/// `now` without the entries that were added, and with those of `before` that were removed.
pub fn without_ours(before: &str, now: &str, added: &[String], removed: &[String]) -> String {
    let back: Vec<_> = entries(before)
        .filter(|entry| removed.iter().any(|path| entry.is_of(path)))
        .filter(|entry| !entries(now).any(|other| other.identity() == entry.identity()))
        .collect();
    let mut text = String::new();
    for line in now.lines() {
        let entry = Entry { line };
        if line.starts_with("IDTYPE=") && added.iter().any(|path| entry.is_of(path)) {
            continue;
        }
        let _ = writeln!(text, "{}", counted(line).as_deref().unwrap_or(line));
    }
    for entry in back {
        let _ = writeln!(text, "{}", entry.line);
    }
    text
}

/// `VERSION=1.1.3` as it is behind a change: a program of LVM that has read the file before does not overwrite it then.
fn counted(line: &str) -> Option<String> {
    let (major, last) = line.strip_prefix("VERSION=")?.rsplit_once('.')?;
    Some(format!("VERSION={major}.{}", last.parse::<u64>().ok()?.checked_add(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# LVM uses devices listed in this file.\nVERSION=1.1.3\n\
        IDTYPE=sys_wwid IDNAME=naa.5 DEVNAME=/dev/sda PVID=A\nIDTYPE=sys_wwid IDNAME=naa.6 DEVNAME=/dev/sdb PVID=B\n";
    const AFTER: &str = "# LVM uses devices listed in this file.\n# Created by x\nVERSION=1.1.5\n\
        IDTYPE=sys_wwid IDNAME=naa.5 DEVNAME=/dev/sdc PVID=A\nIDTYPE=devname IDNAME=/dev/drbd0 DEVNAME=. PVID=B\n";

    fn lists() -> (Vec<String>, Vec<String>) {
        (vec!["/dev/drbd0".to_owned()], vec!["/dev/sdb".to_owned()])
    }

    #[test]
    fn our_own_change_is_known_under_new_names_and_half_done() {
        let (added, removed) = lists();
        assert!(is_ours(BEFORE, AFTER, &added, &removed), "sda is sdc now, and drbd0 is not there");
        assert!(is_ours(BEFORE, BEFORE, &added, &removed));
        let more = format!("{AFTER}IDTYPE=sys_wwid IDNAME=naa.9 DEVNAME=/dev/sdz PVID=C\n");
        assert!(!is_ours(BEFORE, &more, &added, &removed));
        assert!(!is_ours(BEFORE, &AFTER.replace("naa.5", "naa.7"), &added, &removed));
    }

    #[test]
    fn what_others_have_added_stays() {
        let (added, removed) = lists();
        let more = format!("{AFTER}IDTYPE=sys_wwid IDNAME=naa.9 DEVNAME=/dev/sdz PVID=C\n");
        let text = without_ours(BEFORE, &more, &added, &removed);
        assert!(
            text.contains("naa.9") && text.contains("naa.6") && text.contains("VERSION=1.1.6\n"),
            "{text}"
        );
        assert!(!text.contains("drbd0") && text.contains("naa.5 DEVNAME=/dev/sdc"), "{text}");
        // The device has another name now: it must not be there twice.
        let back = format!("{AFTER}IDTYPE=sys_wwid IDNAME=naa.6 DEVNAME=/dev/sdq PVID=B\n");
        let text = without_ours(BEFORE, &back, &added, &removed);
        assert_eq!(text.matches("naa.6").count(), 1, "{text}");
    }
}
