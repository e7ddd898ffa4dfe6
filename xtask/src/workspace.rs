//! Where the parts of this repository lie.

use std::fs;
use std::path::{Path, PathBuf};

/// The root of the workspace. Cargo says where xtask is when it runs it; the folder of its build is for
/// a call of the bare binary.
pub fn root() -> PathBuf {
    let manifest = crate::process::env_value("CARGO_MANIFEST_DIR")
        .map(PathBuf::from)
        .filter(|dir| dir.join("src/new_agent.rs").is_file())
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    manifest.parent().map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// Where cargo builds.
pub fn target_dir() -> PathBuf {
    // A relative one is meant from the root, where cargo is run.
    root().join(crate::process::env_value("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// Every file below `dir`, sorted; hidden folders and `target` are left out.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && !name.starts_with('.') && name != "target" => folders.push(path),
                Ok(kind) if kind.is_file() => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// Writes a file whole or not at all, with these permission bits; a reader never sees half of it.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let told =
        |why: std::io::Error| format!("cannot write {}: {}", path.display(), why.to_string().to_lowercase());
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).map_err(told)?;
    let mut fresh = tempfile::NamedTempFile::new_in(dir).map_err(told)?;
    std::io::Write::write_all(&mut fresh, content).map_err(told)?;
    fs::set_permissions(fresh.path(), fs::Permissions::from_mode(mode)).map_err(told)?;
    fresh.persist(path).map_err(|why| told(why.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_root_holds_the_workspace() {
        assert!(fs::read_to_string(root().join("Cargo.toml")).unwrap().contains("[workspace]"));
    }

    #[test]
    fn a_file_is_replaced_with_its_mode_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        replace(&path, b"one", 0o755).unwrap();
        replace(&path, b"two", 0o755).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(files(dir.path()), [path]);
    }
}
