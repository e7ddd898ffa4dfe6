//! A file replaced in one step, with the owner, mode and labels that it had.

use ocf_lib::resource::code::Fault;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Writes `text` to `file` (through links, to what they point at): readers see the old text or the new one. A disk that
/// is full or cannot be written leaves the old one.
pub fn replace(file: &Path, text: &str) -> Result<(), Fault> {
    try_replace(file, text)
        .map_err(|error| Fault::from(error).context(format_args!("cannot write {}", file.display())))
}

fn try_replace(file: &Path, text: &str) -> io::Result<()> {
    let target = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let folder = target.parent().unwrap_or(Path::new("/"));
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let fresh = folder.join(name);
    // A leftover of a killed process with our number: it is nobody's.
    let _ = fs::remove_file(&fresh);
    let result = write(&fresh, text, &target).and_then(|()| fs::rename(&fresh, &target));
    if result.is_err() {
        let _ = fs::remove_file(&fresh);
        return result;
    }
    // The new name must be there after a power cut, too.
    File::open(folder)?.sync_all()
}

fn write(fresh: &Path, text: &str, like: &Path) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(fresh)?;
    file.write_all(text.as_bytes())?;
    match fs::metadata(like) {
        Ok(old) => {
            std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
            file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o7777))?;
            copy_labels(like, fresh)?;
        }
        Err(_) => file.set_permissions(fs::Permissions::from_mode(0o644))?,
    }
    file.sync_all()
}

/// Security labels, and what else stands in extended attributes (xattr(7)).
fn copy_labels(from: &Path, to: &Path) -> io::Result<()> {
    let names = match xattr::list_deref(from) {
        Ok(names) => names,
        // A file system without attributes has none.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(()),
        Err(error) => return Err(error),
    };
    for name in names {
        if let Some(value) = xattr::get_deref(from, &name)? {
            xattr::set_deref(to, &name, &value)?;
        }
    }
    Ok(())
}

/// A file's text; `None`: it is not there.
pub fn text_of(file: &Path) -> Result<Option<String>, Fault> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Fault::from(error).context(format_args!("cannot read {}", file.display()))),
    }
}

/// Files that killed processes left beside `file`.
pub fn remove_leftovers(file: &Path) {
    let target = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let entries =
        target.parent().and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    let ours = |path: &PathBuf| {
        let candidate = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let pid = candidate
            .strip_prefix(&format!("{name}."))
            .and_then(|rest| rest.strip_suffix(".new").map(str::to_owned));
        pid.is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()))
    };
    for leftover in entries.map(|entry| entry.path()).filter(ours) {
        let _ = fs::remove_file(leftover);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_mode_owner_labels_and_links() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("lvm.conf"), dir.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let labelled = xattr::set(&file, "user.label", b"x").is_ok();
        fs::write(dir.path().join("lvm.conf.17.new"), "half").unwrap();
        replace(&link, "new").unwrap();
        remove_leftovers(&link);
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);
        assert!(
            !labelled || xattr::get(&file, "user.label").unwrap().as_deref() == Some(b"x"),
            "the label is gone"
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_cannot_be_written_stays() {
        let fault = replace(Path::new("/proc/none/lvm.conf"), "x").unwrap_err();
        assert!(fault.reason().starts_with("cannot write /proc/none/lvm.conf: "), "{fault}");
    }
}
