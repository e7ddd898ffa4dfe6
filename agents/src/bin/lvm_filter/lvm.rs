//! What LVM itself answers: settings in force (lvmconfig(8)) and physical volumes (pvs(8), in JSON).

use ocf_lib::cmd::Cmd;
use ocf_lib::resource::prelude::*;
use serde_json::Value;
use std::collections::BTreeSet;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

/// The LVM of this host, with its configuration in `folder` (`/etc/lvm`).
pub struct Lvm<'a> {
    pub folder: &'a Path,
}

/// A device that LVM sees: a physical volume under one of its names, or none (`uuid` is empty then).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pv {
    pub uuid: String,
    pub name: String,
    pub vg: String,
    pub vg_uuid: String,
    /// LVM sees the same volume under another name, too, and uses that one.
    pub duplicate: bool,
}

impl Lvm<'_> {
    fn lvm(&self, words: &[&str]) -> Cmd {
        Cmd::new("lvm")
            .args(words.iter().copied())
            .env("LVM_SYSTEM_DIR", self.folder)
            // The caller's descriptors are not our business, and the complaint would be in every log line.
            .env("LVM_SUPPRESS_FD_WARNINGS", "1")
    }

    /// The values of a setting in force; `full`: with LVM's own default when no file sets it.
    pub fn setting(&self, cx: &Cx, path: &str, full: bool) -> Result<Vec<String>, Fault> {
        let words: &[&str] = if full { &["lvmconfig", "--type", "full", path] } else { &["lvmconfig", path] };
        let cmd = self.lvm(words);
        let said = cx.run(&cmd)?;
        if said.success() {
            return Ok(values(&said.stdout_text()));
        }
        // "Configuration node devices/global_filter not found": nobody sets it.
        if said.stderr_text().contains("not found") {
            Ok(Vec::new())
        } else {
            Err(Fault::generic(said.failure(&cmd)))
        }
    }

    /// All devices that LVM sees, volumes or not; `options` tell it of another configuration than the files'.
    pub fn devices(&self, cx: &Cx, options: &[String]) -> Result<Vec<Pv>, Fault> {
        let cmd = self.lvm(&["pvs", "--all", "--readonly", "--reportformat", "json", "-o"]);
        let cmd = cmd.arg("pv_name,pv_uuid,vg_name,vg_uuid,pv_duplicate").args(options);
        volumes(&cx.run_checked(&cmd)?.stdout_text())
    }

    /// `lvmdevices` under its long name: Debian 12 has no link for it.
    pub fn change_devices(&self, cx: &Cx, change: &[&str]) -> Result<(), Fault> {
        let words = [&["lvmdevices", "-y"], change].concat();
        cx.run_checked(&self.lvm(&words)).map(drop)
    }
}

/// `global_filter=["a|x|","r|y|"]` or `global_filter="r|y|"`.
fn values(line: &str) -> Vec<String> {
    let setting = super::conf::Conf::parse(line).ok().and_then(|conf| conf.settings.into_iter().next());
    setting.map(|setting| setting.values).unwrap_or_default()
}

fn volumes(json: &str) -> Result<Vec<Pv>, Fault> {
    let report: Value =
        serde_json::from_str(json).map_err(|why| Fault::generic(format!("pvs gives no JSON: {why}")))?;
    let rows = report.pointer("/report/0/pv").and_then(Value::as_array);
    let rows = rows.ok_or_else(|| Fault::generic("the report of pvs has no list of volumes"))?;
    let volume = |row: &Value| {
        let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        Pv {
            uuid: text("pv_uuid"),
            name: text("pv_name"),
            vg: text("vg_name"),
            vg_uuid: text("vg_uuid"),
            duplicate: text("pv_duplicate") == "duplicate",
        }
    };
    Ok(rows.iter().map(volume).collect())
}

/// Volumes that are seen in `now` under some name, and in `then` under none.
pub fn vanished<'a>(now: &'a [Pv], then: &[Pv]) -> Vec<&'a Pv> {
    let seen: BTreeSet<&str> = then.iter().map(|volume| volume.uuid.as_str()).collect();
    // Of a duplicate LVM does not tell the group.
    let counts = |volume: &&Pv| !volume.uuid.is_empty() && !volume.duplicate;
    now.iter().filter(counts).filter(|volume| !seen.contains(volume.uuid.as_str())).collect()
}

/// Names of devices that are seen in `now` and not in `then`.
pub fn hidden(now: &[Pv], then: &[Pv]) -> Vec<String> {
    let gone = |device: &&Pv| !then.iter().any(|other| other.name == device.name);
    now.iter().filter(gone).map(|device| device.name.clone()).collect()
}

/// Names under which LVM sees a volume a second time.
pub fn duplicates(volumes: &[Pv]) -> Vec<&str> {
    volumes.iter().filter(|volume| volume.duplicate).map(|volume| volume.name.as_str()).collect()
}

/// dm's own name for a logical volume: `LVM-`, then the ids of group and volume, 32 letters each; the group's.
fn group_of(device: &Path) -> Option<String> {
    let uuid = std::fs::read_to_string(device.join("dm/uuid")).ok()?;
    uuid.strip_prefix("LVM-")?.get(..32).map(str::to_owned)
}

/// The volume groups (their ids, as pvs writes them less the dashes) that the device `number` (`253:0`) stands on,
/// through any layers (`/sys/dev/block/*/slaves`).
pub fn groups_below(sys: &Path, number: &str) -> BTreeSet<String> {
    let mut groups = BTreeSet::new();
    let mut devices = vec![sys.join("dev/block").join(number)];
    // Deep enough for any stack, and an end for one that loops.
    for _ in 0..64 {
        let Some(device) = devices.pop() else { break };
        groups.extend(group_of(&device));
        let below = std::fs::read_dir(device.join("slaves")).into_iter().flatten().flatten();
        devices.extend(below.map(|entry| entry.path()));
    }
    groups
}

/// The volume groups of which some volume is active on this host.
pub fn active_groups(sys: &Path) -> BTreeSet<String> {
    let devices = std::fs::read_dir(sys.join("block")).into_iter().flatten().flatten();
    devices.filter_map(|device| group_of(&device.path())).collect()
}

/// Major and minor numbers of the devices that `/` is on, as in the kernel's list of mounts (proc(5)).
///
/// btrfs gives a number that is no device's: there it is the one of the source that was mounted.
pub fn root_devices(mountinfo: &str) -> Vec<String> {
    let of_root = |line: &&str| line.split(' ').nth(4) == Some("/");
    let Some(line) = mountinfo.lines().rfind(of_root) else { return Vec::new() };
    let number = line.split(' ').nth(2).map(str::to_owned);
    let source = line.split_once(" - ").and_then(|(_, rest)| rest.split(' ').nth(1));
    let of_source = source.and_then(|source| std::fs::metadata(source).ok());
    let of_source = of_source.filter(|about| about.file_type().is_block_device()).map(|about| {
        let device = about.rdev();
        format!("{}:{}", nix::sys::stat::major(device), nix::sys::stat::minor(device))
    });
    number.into_iter().chain(of_source).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"  {
      "report": [ { "pv": [
          {"pv_name":"/dev/drbd0", "pv_uuid":"AAA-1", "vg_name":"data", "vg_uuid":"g1", "pv_duplicate":""},
          {"pv_name":"/dev/sdb", "pv_uuid":"AAA-1", "vg_name":"data", "vg_uuid":"g1", "pv_duplicate":"duplicate"},
          {"pv_name":"/dev/sda2", "pv_uuid":"BBB-2", "vg_name":"sys", "vg_uuid":"g2", "pv_duplicate":""},
          {"pv_name":"/dev/sda1", "pv_uuid":"", "vg_name":"", "vg_uuid":"", "pv_duplicate":""} ] } ] }"#;

    #[test]
    fn volumes_duplicates_and_what_vanishes() {
        let now = volumes(REPORT).unwrap();
        assert_eq!(now.len(), 4);
        assert_eq!(duplicates(&now), ["/dev/sdb"]);
        let then: Vec<Pv> = now.iter().filter(|volume| volume.name == "/dev/drbd0").cloned().collect();
        let gone: Vec<&str> = vanished(&now, &then).iter().map(|volume| volume.name.as_str()).collect();
        assert_eq!(gone, ["/dev/sda2"], "sdb is still seen, as drbd0");
        assert_eq!(hidden(&now, &then), ["/dev/sdb", "/dev/sda2", "/dev/sda1"]);
        assert!(volumes("{}").is_err() && volumes("no").is_err());
    }

    #[test]
    fn values_of_one_and_of_many() {
        assert_eq!(values("global_filter=[\"a|^/dev/drbd|\",\"r|.*|\"]\n"), ["a|^/dev/drbd|", "r|.*|"]);
        assert_eq!(values("filter=\"r|z|\"\n"), ["r|z|"]);
    }

    #[test]
    fn the_group_of_root_is_found_through_the_layers() {
        let dir = tempfile::tempdir().unwrap();
        let device = |name: &str, uuid: &str, below: Option<&str>| {
            let folder = dir.path().join("dev/block").join(name);
            std::fs::create_dir_all(folder.join("dm")).unwrap();
            std::fs::create_dir_all(folder.join("slaves")).unwrap();
            std::fs::write(folder.join("dm/uuid"), uuid).unwrap();
            if let Some(below) = below {
                let link = folder.join("slaves").join(below);
                std::os::unix::fs::symlink(dir.path().join("dev/block").join(below), link).unwrap();
            }
        };
        let ids = format!("LVM-{}{}", "g".repeat(32), "l".repeat(32));
        device("253:0", &ids, None);
        device("253:1", "CRYPT-LUKS2-x", Some("253:0"));
        assert_eq!(groups_below(dir.path(), "253:1"), BTreeSet::from(["g".repeat(32)]));
        assert_eq!(groups_below(dir.path(), "8:1"), BTreeSet::new());
        let mounts = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n23 22 0:5 / /proc rw - proc proc rw\n";
        assert_eq!(root_devices(mounts), ["8:1"]);
        assert_eq!(root_devices(""), [""; 0]);
        // What is below block/ are links to the devices.
        std::os::unix::fs::symlink(dir.path().join("dev/block"), dir.path().join("block")).unwrap();
        assert_eq!(active_groups(dir.path()), BTreeSet::from(["g".repeat(32)]));
    }
}
