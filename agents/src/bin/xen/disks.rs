//! Disks that a guest writes to alone: whether another domain of this host has one of them.
//!
//! The toolstack's own block script looks only at disks of the kind `phy`, and only while it attaches them.

use crate::config::Disk;
use crate::toolstack::Toolstack;
use ocf_lib::deadline::Deadline;
use ocf_lib::resource::prelude::*;
use serde_json::Value;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

/// At most this long for the list: without it the start goes on.
const LIMIT: Duration = Duration::from_secs(10);

/// A fault if another domain has a disk that this guest is to write to alone.
pub fn must_be_free(cx: &Cx, tool: Toolstack, name: &str, disks: &[Disk]) -> Result<(), Fault> {
    let exclusive: Vec<&Disk> = disks.iter().filter(|disk| disk.exclusive).collect();
    // xm has no JSON; its own scripts look.
    if exclusive.is_empty() || tool == Toolstack::Xm || !cx.has(Toolstack::Xl.program()) {
        return Ok(());
    }
    let said = cx
        .run_until(&Toolstack::Xl.cmd(["list", "-l"]), Deadline::after(LIMIT.min(cx.left_or(LIMIT * 2) / 2)));
    let users = said.map(|said| users(&said.stdout_text()));
    let Ok(Ok(users)) = users else {
        cx.warn("cannot see which disks other guests use: going on, the toolstack looks again");
        return Ok(());
    };
    for disk in exclusive {
        if let Some(user) = users.iter().find(|user| user.name != name && same(&disk.target, &user.target)) {
            return Err(Fault::generic(format!(
                "disk {} of guest {name} is used by guest {}, and is configured for one writer",
                disk.target, user.name
            )));
        }
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct User {
    name: String,
    target: String,
}

/// Who has which disk, from `xl list -l` (the types of libxl: `pdev_path` of each of `disks`).
fn users(json: &str) -> Result<Vec<User>, serde_json::Error> {
    let list: Value = serde_json::from_str(json)?;
    let mut users = Vec::new();
    for config in list.as_array().into_iter().flatten().filter_map(|domain| domain.get("config")) {
        let name = config.pointer("/c_info/name").and_then(Value::as_str).unwrap_or_default();
        for disk in config.get("disks").and_then(Value::as_array).into_iter().flatten() {
            if let Some(target) =
                disk.get("pdev_path").and_then(Value::as_str).filter(|path| !path.is_empty())
            {
                users.push(User { name: name.to_owned(), target: target.to_owned() });
            }
        }
    }
    Ok(users)
}

/// The same words, or two names of one device or file.
fn same(one: &str, other: &str) -> bool {
    let identity = |path: &str| {
        let meta = std::fs::metadata(Path::new(path)).ok()?;
        let kind = meta.file_type();
        Some(if kind.is_block_device() { (true, meta.rdev(), 0) } else { (false, meta.dev(), meta.ino()) })
    };
    one == other || identity(one).is_some_and(|identity_of_one| identity(other) == Some(identity_of_one))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocf_lib::resource::testkit::Bench;

    const LIST: &str = r#"[{"domid":0,"config":{"c_info":{"name":"Domain-0"}}},
        {"domid":4,"config":{"c_info":{"name":"other"},"disks":[{"pdev_path":"/dev/vg/a","vdev":"xvda","readwrite":1},
        {"vdev":"xvdb","is_cdrom":1}]}}]"#;

    fn disk(target: &str, exclusive: bool) -> Vec<Disk> {
        vec![Disk { target: target.to_owned(), exclusive }]
    }

    fn free(disks: &[Disk], code: i32, json: &str) -> Result<(), Fault> {
        let cx = Bench::new("Xen", Verb::Start).answer("xl", code, json, "").into_cx();
        must_be_free(&cx, Toolstack::Xl, "d1", disks)
    }

    #[test]
    fn a_disk_for_one_writer_has_no_other_user() {
        let fault = free(&disk("/dev/vg/a", true), 0, LIST).unwrap_err();
        assert_eq!(
            fault.reason(),
            "disk /dev/vg/a of guest d1 is used by guest other, and is configured for one writer"
        );
        assert_eq!(free(&disk("/dev/vg/b", true), 0, LIST), Ok(()));
        assert_eq!(free(&disk("/dev/vg/a", false), 0, LIST), Ok(()), "shared by w! or read only");
    }

    #[test]
    fn another_name_of_the_same_file_is_the_same_disk() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("img"), dir.path().join("link"));
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let list = LIST.replace("/dev/vg/a", file.to_str().unwrap());
        assert!(free(&disk(link.to_str().unwrap(), true), 0, &list).is_err());
        assert!(!same("/nonexistent/a", "/nonexistent/b"));
    }

    #[test]
    fn the_recorded_list_is_understood_and_what_cannot_be_read_does_not_hinder_a_start() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/xen/list-long.json");
        assert_eq!(users(&std::fs::read_to_string(path).unwrap()).unwrap(), []);
        assert_eq!(free(&disk("/dev/vg/a", true), 1, ""), Ok(()));
        assert_eq!(free(&disk("/dev/vg/a", true), 0, "{\"a\": 3"), Ok(()));
    }
}
