//! A device's power as a file that holds `on` or `off`: what the device does is there at once, and what somebody writes there the
//! device does.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The file, and what it held when it was last looked at.
pub struct PowerFile {
    path: PathBuf,
    held: bool,
}

impl PowerFile {
    /// `power` in `folder`, which is made when it is not there. What it holds already wins over `on`.
    ///
    /// # Errors
    /// When the folder or the file cannot be written.
    pub fn open(folder: &Path, on: bool) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join("power");
        let held = read(&path).unwrap_or(on);
        write(&path, held)?;
        Ok(Self { path, held })
    }

    /// What it held when it was last looked at.
    pub fn is_on(&self) -> bool {
        self.held
    }

    /// The power that somebody else has written since. A file that is gone, or holds something else, changes nothing.
    pub fn changed_from_outside(&mut self) -> Option<bool> {
        let now = read(&self.path)?;
        (now != self.held).then(|| {
            self.held = now;
            now
        })
    }

    /// Writes the device's own state, where it is another one.
    pub fn keep(&mut self, on: bool) {
        // A folder that somebody removed must not stop the device: it goes on without.
        if self.held != on && write(&self.path, on).is_ok() {
            self.held = on;
        }
    }
}

fn read(path: &Path) -> Option<bool> {
    match fs::read_to_string(path).ok()?.trim() {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

/// In one step, so that nobody reads half a word.
fn write(path: &Path, on: bool) -> io::Result<()> {
    let fresh = path.with_extension("new");
    fs::write(&fresh, if on { "on\n" } else { "off\n" })?;
    fs::rename(fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_write_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/power");
        let mut file = PowerFile::open(path.parent().unwrap(), true).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "on\n");
        assert_eq!(file.changed_from_outside(), None);
        file.keep(false);
        assert_eq!(fs::read_to_string(&path).unwrap(), "off\n");
        assert_eq!(file.changed_from_outside(), None, "its own word is no change");
        fs::write(&path, "on").unwrap();
        assert_eq!((file.changed_from_outside(), file.changed_from_outside()), (Some(true), None));
        for nonsense in ["", "o", "ON!"] {
            fs::write(&path, nonsense).unwrap();
            assert_eq!(file.changed_from_outside(), None, "{nonsense:?}");
        }
        fs::write(&path, "off").unwrap();
        assert!(!PowerFile::open(path.parent().unwrap(), true).unwrap().is_on(), "what is there wins");
    }
}
