//! Who has a DRBD device open: for the reason of a demotion that DRBD refuses.

use std::fs;
use std::path::Path;

/// DRBD's major number (Documentation/admin-guide/devices.txt).
const MAJOR: u32 = 147;
/// As many as a reason has room for.
const NAMED: usize = 4;

/// Mounts, block devices on top of it (device mapper, md) and processes; empty if none can be seen (a mount in another namespace).
pub fn of(minors: &[u32]) -> Vec<String> {
    let mut found: Vec<String> = minors.iter().flat_map(|minor| holders(Path::new("/"), *minor)).collect();
    found.truncate(NAMED);
    found
}

fn holders(root: &Path, minor: u32) -> Vec<String> {
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).unwrap_or_default();
    // proc(5): id, parent, major:minor, root, mount point.
    let mounted = |line: &str| {
        let mut fields = line.split(' ').skip(2);
        let device = fields.next()?;
        (device == format!("{MAJOR}:{minor}")).then(|| fields.nth(1).map(|at| format!("mounted on {at}")))?
    };
    let stacked =
        fs::read_dir(root.join(format!("sys/block/drbd{minor}/holders"))).into_iter().flatten().flatten();
    let above = stacked.map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let mapped = fs::read_to_string(root.join(format!("sys/block/{name}/dm/name"))).unwrap_or_default();
        if mapped.is_empty() { name } else { format!("device mapper {}", mapped.trim()) }
    });
    mounts.lines().filter_map(mounted).chain(above).chain(processes(root, minor)).collect()
}

fn processes(root: &Path, minor: u32) -> Vec<String> {
    let node = format!("/dev/drbd{minor}");
    let mut found = Vec::new();
    for process in fs::read_dir(root.join("proc")).into_iter().flatten().flatten() {
        let pid = process.file_name().to_string_lossy().into_owned();
        if !pid.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let files = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        // The link's text alone: to look through it could wait for the device.
        if files.filter_map(|file| fs::read_link(file.path()).ok()).any(|target| target == Path::new(&node)) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            found.push(format!("process {pid} ({})", name.trim()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_mapped_devices_and_processes_are_named() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put(
            "proc/self/mountinfo",
            "36 35 147:0 / /srv rw - ext4 /dev/drbd0 rw\n37 35 147:1 / /other rw - ext4 /dev/drbd1 rw\n",
        );
        put("sys/block/drbd0/holders/dm-3", "");
        put("sys/block/dm-3/dm/name", "vg-data\n");
        put("proc/42/comm", "dd\n");
        fs::create_dir_all(root.path().join("proc/42/fd")).unwrap();
        std::os::unix::fs::symlink("/dev/drbd0", root.path().join("proc/42/fd/3")).unwrap();
        put("proc/43/comm", "sh\n");
        fs::create_dir_all(root.path().join("proc/43/fd")).unwrap();
        std::os::unix::fs::symlink("/dev/drbd01", root.path().join("proc/43/fd/3")).unwrap();
        assert_eq!(holders(root.path(), 0), ["mounted on /srv", "device mapper vg-data", "process 42 (dd)"]);
        assert!(holders(root.path(), 7).is_empty());
    }
}
