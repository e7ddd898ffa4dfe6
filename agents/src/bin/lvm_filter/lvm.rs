//! What LVM itself answers: settings in force (lvmconfig(8)) and physical volumes (pvs(8), in JSON).

use ocf_lib::cmd::Cmd;
use ocf_lib::resource::prelude::*;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// The LVM of this host, with its configuration in `folder` (`/etc/lvm`).
pub struct Lvm<'a> {
    pub folder: &'a Path,
}

/// A physical volume under one of its names.
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

    /// All physical volumes that are seen, with `config` in front of what the files say.
    pub fn volumes(&self, cx: &Cx, config: Option<&str>) -> Result<Vec<Pv>, Fault> {
        let mut cmd = self.lvm(&["pvs", "--all", "--readonly", "--reportformat", "json", "-o"]);
        cmd = cmd.arg("pv_name,pv_uuid,vg_name,vg_uuid,pv_duplicate");
        if let Some(config) = config {
            cmd = cmd.args(["--config", config]);
        }
        volumes(&cx.run_checked(&cmd)?.stdout_text())
    }

    /// `lvmdevices` under its long name: Debian 12 has no link for it.
    pub fn devices(&self, cx: &Cx, change: &[&str]) -> Result<(), Fault> {
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
    // With --all also devices that are no volumes.
    Ok(rows.iter().map(volume).filter(|volume| !volume.uuid.is_empty()).collect())
}

/// Volumes that are seen in `now` under some name, and in `then` under none.
pub fn vanished<'a>(now: &'a [Pv], then: &[Pv]) -> Vec<&'a Pv> {
    let seen: BTreeSet<&str> = then.iter().map(|volume| volume.uuid.as_str()).collect();
    now.iter().filter(|volume| !seen.contains(volume.uuid.as_str())).collect()
}

/// Names under which LVM sees a volume a second time.
pub fn duplicates(volumes: &[Pv]) -> Vec<&str> {
    volumes.iter().filter(|volume| volume.duplicate).map(|volume| volume.name.as_str()).collect()
}

/// The volume groups (their ids, as pvs writes them less the dashes) that the device `number` (`253:0`) stands on,
/// through any layers (`/sys/dev/block/*/slaves`).
pub fn groups_below(sys: &Path, number: &str) -> BTreeSet<String> {
    let mut groups = BTreeSet::new();
    let mut devices = vec![sys.join("dev/block").join(number)];
    // Deep enough for any stack, and an end for one that loops.
    for _ in 0..64 {
        let Some(device) = devices.pop() else { break };
        let uuid = std::fs::read_to_string(device.join("dm/uuid")).unwrap_or_default();
        // dm's own name for a logical volume: LVM-, then the ids of group and volume, 32 letters each.
        if let Some(group) = uuid.strip_prefix("LVM-").and_then(|ids| ids.get(..32)) {
            groups.insert(group.to_owned());
        }
        let below = std::fs::read_dir(device.join("slaves")).into_iter().flatten().flatten();
        devices.extend(below.map(|entry| entry.path()));
    }
    groups
}

/// Major and minor number of the device that `/` is on, as in the kernel's list of mounts (proc(5)).
pub fn root_device(mountinfo: &str) -> Option<&str> {
    let of_root = |line: &&str| line.split(' ').nth(4) == Some("/");
    mountinfo.lines().rfind(of_root)?.split(' ').nth(2)
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
        assert_eq!(now.len(), 3);
        assert_eq!(duplicates(&now), ["/dev/sdb"]);
        let then: Vec<Pv> = now.iter().filter(|volume| volume.name == "/dev/drbd0").cloned().collect();
        let gone: Vec<&str> = vanished(&now, &then).iter().map(|volume| volume.name.as_str()).collect();
        assert_eq!(gone, ["/dev/sda2"], "sdb is still seen, as drbd0");
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
        assert_eq!(root_device(mounts), Some("8:1"));
    }
}
