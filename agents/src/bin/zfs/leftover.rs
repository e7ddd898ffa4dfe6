//! An import that a killed call of the agent has left: the cluster manager kills the agent when its time is up, and `zpool` with
//! it, but what `zpool` has asked of the kernel goes on. The pool comes a moment after the kernel has said that it is not there.

use std::path::Path;

/// The process of a `zpool import` of this pool, in the kernel or on its way there.
pub fn import_under_way(proc: &Path, pool: &str) -> Option<u32> {
    std::fs::read_dir(proc).ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        // Empty for the kernel's own threads, and of a process that is over but not waited for.
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        is_import(&line, pool).then_some(pid)
    })
}

fn is_import(line: &[u8], pool: &str) -> bool {
    let mut words = line.strip_suffix(b"\0").unwrap_or(line).split(|byte| *byte == 0);
    let program = words.next().unwrap_or_default().rsplit(|byte| *byte == b'/').next();
    program == Some(b"zpool".as_slice())
        && words.next() == Some(b"import".as_slice())
        && words.any(|word| word == pool.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_is_known_by_its_words() {
        assert!(is_import(b"/usr/sbin/zpool\0import\0-f\0-o\0cachefile=none\0tank\0", "tank"));
        for other in [
            &b"zpool\0import\0tank2\0"[..],
            b"zpool\0export\0tank\0",
            b"vi\0zpool\0import\0tank\0",
            b"zpool\0",
            b"",
        ] {
            assert!(!is_import(other, "tank"), "{:?}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn its_process_is_found() {
        let proc = tempfile::tempdir().unwrap();
        for (pid, line) in
            [("1", "init\0"), ("self", "zpool\0import\0tank\0"), ("77", "zpool\0import\0tank\0")]
        {
            std::fs::create_dir(proc.path().join(pid)).unwrap();
            std::fs::write(proc.path().join(pid).join("cmdline"), line).unwrap();
        }
        assert_eq!(import_under_way(proc.path(), "tank"), Some(77));
        assert_eq!(import_under_way(proc.path(), "tan"), None);
    }
}
