//! State files and locks under `HA_RSCTMP`, with upstream's names so that mixed clusters agree.

use crate::env::Env;
use crate::resource::code::Fault;
use crate::resource::context::{self, Cx};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where upstream's agents keep the state of a resource: `TYPE-INSTANCE.state` in the run directory.
pub fn default_state(type_name: &str, env: &Env) -> String {
    let name = format!("{type_name}-{}.state", context::instance(env));
    context::run_dir(env).join(name).to_string_lossy().into_owned()
}

/// True when no file can be under the path: neither it nor its directory is there, or no name may be so long.
fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename)
}

/// True for the name under which [`RunFile::write`] makes the new `name`: with a process id and `.new`.
fn is_unfinished(name: &OsStr, candidate: &OsStr) -> bool {
    let pid = candidate
        .as_bytes()
        .strip_prefix(name.as_bytes())
        .and_then(|rest| rest.strip_prefix(b"."))
        .and_then(|rest| rest.strip_suffix(b".new"));
    pid.is_some_and(|pid| !pid.is_empty() && pid.iter().all(u8::is_ascii_digit))
}

/// One small file that says something about a resource.
#[derive(Clone, Debug)]
pub struct RunFile {
    path: PathBuf,
}

impl RunFile {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The content, or `None` when the file is not there. A directory that is missing means the same.
    pub fn read(&self) -> Result<Option<String>, Fault> {
        match std::fs::read(&self.path) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(e) if is_absent(&e) => Ok(None),
            Err(e) => Err(Fault::from(e).context(format_args!("cannot read {}", self.path.display()))),
        }
    }

    pub fn exists(&self) -> Result<bool, Fault> {
        match std::fs::symlink_metadata(&self.path) {
            Ok(_) => Ok(true),
            Err(e) if is_absent(&e) => Ok(false),
            Err(e) => Err(Fault::from(e).context(format_args!("cannot look at {}", self.path.display()))),
        }
    }

    /// Time since it was written; `None` when it is not there, or is from the future.
    pub fn age(&self) -> Option<Duration> {
        std::fs::metadata(&self.path).and_then(|meta| meta.modified()).ok()?.elapsed().ok()
    }

    /// Writes the whole content at once (a reader sees the old or the new one, never a part), making
    /// the directory if it is missing. Mode 0600.
    pub fn write(&self, content: &str) -> Result<(), Fault> {
        self.try_write(content)
            .map_err(|e| Fault::from(e).context(format_args!("cannot write {}", self.path.display())))
    }

    fn try_write(&self, content: &str) -> std::io::Result<()> {
        if let Some(dir) = self.path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let temporary = self.path.with_file_name(name);
        // A leftover of a killed process with our number: it is nobody's.
        let _ = std::fs::remove_file(&temporary);
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        let result =
            file.write_all(content.as_bytes()).and_then(|()| std::fs::rename(&temporary, &self.path));
        if result.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        result
    }

    /// The file that a SIGKILL kept [`Self::write`] from renaming. It says nothing about the resource, so one that
    /// cannot be removed is no fault.
    fn remove_unfinished(&self) {
        let (Some(dir), Some(name)) = (self.path.parent(), self.path.file_name()) else { return };
        let Ok(entries) = std::fs::read_dir(dir) else { return };
        for entry in entries.flatten() {
            if is_unfinished(name, &entry.file_name()) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    /// Fails with code 2 unless the file could be written here: its directory is there, or is the run
    /// directory that [`Self::write`] makes, and is writable.
    pub fn check_writable(&self) -> Result<(), Fault> {
        let dir = self.path.parent().unwrap_or(Path::new("/"));
        let mut there = dir;
        if dir.starts_with("/run") {
            while !there.exists() {
                there = there.parent().unwrap_or(Path::new("/"));
            }
        }
        let flags = nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK;
        match there.metadata() {
            Ok(meta) if !meta.is_dir() => Err(Fault::args(format!("{} is not a directory", there.display()))),
            Ok(_) => nix::unistd::access(there, flags).map_err(|e| {
                Fault::args(format!(
                    "cannot write to directory {}: {}",
                    dir.display(),
                    std::io::Error::from(e)
                ))
            }),
            Err(e) => Err(Fault::args(format!("cannot write to directory {}: {e}", dir.display()))),
        }
    }

    /// Removes the file, and what writers that were killed have left beside it; a file that is not there is fine.
    pub fn remove(&self) -> Result<(), Fault> {
        self.remove_unfinished();
        match std::fs::remove_file(&self.path) {
            Ok(()) => Ok(()),
            Err(e) if is_absent(&e) => Ok(()),
            Err(e) => Err(Fault::from(e).context(format_args!("cannot remove {}", self.path.display()))),
        }
    }
}

/// An exclusive flock(2): the kernel releases it when its holder dies, however it dies.
pub struct Lock {
    _file: nix::fcntl::Flock<File>,
}

impl Lock {
    /// Waits for the lock until the action's deadline.
    pub fn take(path: &Path, cx: &Cx) -> Result<Self, Fault> {
        let doing = || format!("cannot lock {}", path.display());
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(|e| Fault::from(e).context(doing()))?;
        }
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(libc::O_CLOEXEC)
            .open(path)
            .map_err(|e| Fault::from(e).context(doing()))?;
        loop {
            match nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock) {
                Ok(held) => return Ok(Self { _file: held }),
                Err((returned, nix::errno::Errno::EWOULDBLOCK | nix::errno::Errno::EINTR)) => file = returned,
                Err((_, errno)) => {
                    return Err(Fault::from(std::io::Error::from(errno)).context(doing()));
                }
            }
            if cx.expired() {
                return Err(Fault::generic(format!(
                    "{}: held by another process until the deadline",
                    doing()
                )));
            }
            cx.sleep(Duration::from_millis(5));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_whole_read_back_and_removed_twice() {
        let dir = tempfile::tempdir().unwrap();
        let file = RunFile::new(dir.path().join("sub/state"));
        assert_eq!(file.read().unwrap(), None);
        file.write("Promoted").unwrap();
        file.write("Unpromoted").unwrap();
        assert_eq!(file.read().unwrap().as_deref(), Some("Unpromoted"));
        assert_eq!(std::fs::read_dir(dir.path().join("sub")).unwrap().count(), 1, "no temporary is left");
        file.remove().unwrap();
        file.remove().unwrap();
        assert!(!file.exists().unwrap());
    }

    #[test]
    fn what_a_killed_writer_left_goes_with_the_file_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["state", "state.17.new", "state.new", "state.x.new", "state2.17.new", "other"];
        for name in names {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        RunFile::new(dir.path().join("state")).remove().unwrap();
        let left = names.map(|name| dir.path().join(name).exists());
        assert_eq!(left, [false, false, true, true, true, true]);
    }

    #[test]
    fn a_file_whose_name_is_too_long_is_not_there() {
        for name in ["a".repeat(256), "a/".repeat(4096)] {
            let file = RunFile::new(format!("/run/{name}"));
            assert_eq!(file.exists(), Ok(false));
            assert_eq!(file.read(), Ok(None));
            assert_eq!(file.remove(), Ok(()));
            assert!(file.write("x").is_err());
        }
    }

    #[test]
    fn what_cannot_be_written_is_told_with_the_path() {
        let fault = RunFile::new("/proc/nope/state").write("x").unwrap_err();
        assert!(fault.reason().starts_with("cannot write /proc/nope/state: "), "{fault}");
    }

    #[test]
    fn a_lock_excludes_until_it_is_dropped_or_the_deadline() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let cx = crate::resource::testkit::Bench::new("Dummy", crate::resource::agent::Verb::Start)
            .timeout_ms(50)
            .into_cx();
        let held = Lock::take(&path, &cx).unwrap();
        let fault = Lock::take(&path, &cx).err().unwrap();
        assert!(fault.reason().contains("held by another process"), "{fault}");
        drop(held);
        assert!(Lock::take(&path, &cx).is_ok());
    }
}
