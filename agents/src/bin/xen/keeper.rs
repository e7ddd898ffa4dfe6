//! The process that stays behind `xl create` and brings a guest that reboots back under a new id.
//!
//! Between the two the guest is in no list, for about 2.5 s (Xen 4.17, measured). While its keeper lives, the guest is not gone.
//! The keeper is known by its log, which stays open as its standard output: `/var/log/xen/xl-NAME.log`; of a guest that was
//! migrated to here, `xl-NAME--incoming.log`.

use std::path::Path;

/// Whether the keeper of this guest lives. False also where it cannot be seen.
pub fn lives(proc: &Path, name: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(proc) else { return false };
    entries.flatten().any(|entry| {
        let is_process =
            entry.file_name().to_str().is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()));
        is_process && is_xl(&entry.path()) && logs_for(&entry.path(), name)
    })
}

fn is_xl(process: &Path) -> bool {
    std::fs::read(process.join("comm")).is_ok_and(|comm| comm == b"xl\n")
}

fn logs_for(process: &Path, name: &str) -> bool {
    let Ok(log) = std::fs::read_link(process.join("fd/1")) else { return false };
    let Some(log) = log.file_name().and_then(|log| log.to_str()) else { return false };
    // A log that was moved on since has a number behind it.
    let of = |name: &str| {
        log.strip_prefix("xl-")
            .and_then(|log| log.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with(".log"))
    };
    of(name) || of(&format!("{name}--incoming"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keeper_is_known_by_its_log() {
        let proc = tempfile::tempdir().unwrap();
        let process = |pid: &str, comm: &str, log: &str| {
            let folder = proc.path().join(pid);
            std::fs::create_dir_all(folder.join("fd")).unwrap();
            std::fs::write(folder.join("comm"), format!("{comm}\n")).unwrap();
            std::os::unix::fs::symlink(log, folder.join("fd/1")).unwrap();
        };
        process("7", "xl", "/var/log/xen/xl-d1.log");
        process("8", "xl", "/var/log/xen/xl-d2--incoming.log");
        process("9", "xl", "/var/log/xen/xl-d3.log.1");
        process("10", "less", "/var/log/xen/xl-d4.log");
        process("11", "xl", "pipe:[4711]");
        process("self", "xl", "/var/log/xen/xl-d5.log");
        let found: Vec<&str> =
            ["d", "d1", "d2", "d3", "d4", "d5"].into_iter().filter(|name| lives(proc.path(), name)).collect();
        assert_eq!(found, ["d1", "d2", "d3"]);
        assert!(!lives(&proc.path().join("none"), "d1"));
    }
}
