//! Where images and snapshots are kept between runs.

use super::failure::LabError;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How many editions of the same thing are kept.
const KEPT: usize = 3;

/// The folder: `RINGFENCE_LAB_CACHE`, or `ringfence/lab` in the user's cache folder (XDG base directory specification).
pub(crate) fn folder() -> Result<PathBuf, LabError> {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = of("RINGFENCE_LAB_CACHE")
        .or_else(|| Some(of("XDG_CACHE_HOME")?.join("ringfence/lab")))
        .or_else(|| Some(of("HOME")?.join(".cache/ringfence/lab")))
        .unwrap_or_else(|| std::env::temp_dir().join("ringfence-lab-cache"));
    fs::create_dir_all(&folder).map_err(LabError::io(format!("make {}", folder.display())))?;
    Ok(folder)
}

/// What is kept as `name` in `folder`, made by `make` in a folder of its own unless it is there. Whoever comes second waits for the
/// first; what was not finished is never seen.
pub(crate) fn kept(
    folder: &Path,
    name: &str,
    make: impl FnOnce(&Path) -> Result<(), LabError>,
) -> Result<PathBuf, LabError> {
    let path = folder.join(name);
    if path.is_dir() {
        return Ok(path);
    }
    let io = |what: &str| LabError::io(format!("{what} {}", path.display()));
    let kind = name.split('-').next().unwrap_or(name);
    let lock = File::create(folder.join(format!("{kind}.lock"))).map_err(io("lock"))?;
    let _held =
        Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, why)| why.into()).map_err(io("lock"))?;
    if path.is_dir() {
        return Ok(path);
    }
    // Left by a maker that was killed; the lock says that nobody is at it.
    let half = folder.join(format!("half-{kind}"));
    let _ = fs::remove_dir_all(&half);
    fs::create_dir_all(&half).map_err(io("make"))?;
    if let Err(why) = make(&half) {
        let _ = fs::remove_dir_all(&half);
        return Err(why);
    }
    fs::rename(&half, &path).map_err(io("keep"))?;
    prune(folder, &format!("{kind}-"));
    Ok(path)
}

/// Removes all but the newest of a kind.
fn prune(folder: &Path, prefix: &str) {
    let mut found: Vec<(SystemTime, PathBuf)> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let named = entry.file_name().to_string_lossy().starts_with(prefix);
            let about = entry.metadata().ok()?;
            (named && about.is_dir()).then(|| Some((about.modified().ok()?, entry.path())))?
        })
        .collect();
    found.sort();
    for (_, old) in found.iter().rev().skip(KEPT) {
        let _ = fs::remove_dir_all(old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_made_once_and_a_failure_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let refuse = |_: &Path| Err(LabError::Refused("no".to_owned()));
        assert!(kept(dir.path(), "image-1", refuse).is_err());
        assert_eq!(names(dir.path()), ["image.lock"]);
        for _ in 0..2 {
            let mut made = 0;
            let path = kept(dir.path(), "image-1", |half| {
                made += 1;
                fs::write(half.join("x"), "").map_err(LabError::io("write"))
            })
            .unwrap();
            assert!(path.join("x").exists());
        }
        assert!(kept(dir.path(), "image-1", refuse).is_ok(), "it is there");
    }

    #[test]
    fn old_editions_go() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["image-1", "image-2", "image-3", "image-4", "snap-1"] {
            kept(dir.path(), name, |_| Ok(())).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(15));
        }
        assert_eq!(names(dir.path()), ["image-2", "image-3", "image-4", "image.lock", "snap-1", "snap.lock"]);
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}
