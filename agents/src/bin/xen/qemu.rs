//! Whether qemu runs a guest of a name, on a host that has no Xen: `/proc` has every process, and qemu's command line the name.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Whether a process of qemu or kvm has this guest's name. One that serves a guest of Xen with devices is not meant.
pub fn runs(proc: &Path, name: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(proc) else { return false };
    entries.flatten().any(|entry| {
        let is_process = entry.file_name().as_bytes().iter().all(u8::is_ascii_digit);
        is_process && is_qemu(&entry.path()) && is_called(&entry.path(), name)
    })
}

fn is_qemu(process: &Path) -> bool {
    std::fs::read(process.join("comm")).is_ok_and(|comm| comm.starts_with(b"qemu") || comm == b"kvm\n")
}

/// `-name NAME`, `-name NAME,process=...`, `-name guest=NAME,debug-threads=on`.
fn is_called(process: &Path, name: &str) -> bool {
    let Ok(line) = std::fs::read(process.join("cmdline")) else { return false };
    let words: Vec<&OsStr> = line.split(|byte| *byte == 0).map(OsStr::from_bytes).collect();
    if words.contains(&OsStr::new("-xen-domid")) {
        return false;
    }
    let Some(value) = words.iter().skip_while(|word| **word != OsStr::new("-name")).nth(1) else {
        return false;
    };
    let value = value.to_string_lossy();
    let first = value.split(',').next().unwrap_or_default();
    !name.is_empty() && first.strip_prefix("guest=").unwrap_or(first) == name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_of_qemu_is_known_by_its_command_line() {
        let proc = tempfile::tempdir().unwrap();
        let process = |pid: &str, comm: &str, words: &[&str]| {
            let folder = proc.path().join(pid);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("comm"), format!("{comm}\n")).unwrap();
            std::fs::write(folder.join("cmdline"), words.join("\0") + "\0").unwrap();
        };
        process(
            "7",
            "qemu-system-x86",
            &["/usr/bin/qemu-system-x86_64", "-name", "guest=d1,debug-threads=on", "-S"],
        );
        process("8", "qemu-kvm", &["/usr/libexec/qemu-kvm", "-m", "512", "-name", "d2"]);
        process("9", "kvm", &["kvm", "-name", "d3,process=x"]);
        process("10", "qemu-system-i38", &["qemu-system-i386", "-xen-domid", "5", "-name", "d4"]);
        process("11", "less", &["less", "-name", "d5"]);
        process("12", "qemu-nbd", &["qemu-nbd", "-name"]);
        let all = ["d", "d1", "d2", "d3", "d4", "d5", ""];
        let found: Vec<&str> = all.into_iter().filter(|name| runs(proc.path(), name)).collect();
        assert_eq!(found, ["d1", "d2", "d3"]);
        assert!(!runs(&proc.path().join("none"), "d1"));
    }
}
