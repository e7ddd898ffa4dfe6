//! Entering a named network namespace, as `ip netns exec` does, without its mounts.
//!
//! Netlink and `/proc/sys/net` follow the calling thread, so neither `/sys` nor `/proc` is mounted anew. What would
//! NOT follow: `/sys/class/net` (fixed at mount time) and `/proc/net` (the main thread's): use netlink for both.

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use std::fmt;
use std::fs::File;
use std::path::Path;

/// Where iproute2 keeps them; the second is the same place on every current distribution.
const FOLDERS: [&str; 2] = ["/run/netns", "/var/run/netns"];

/// Why it could not be entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The name cannot be one: empty, too long, or with a slash.
    BadName(String),
    /// There is no such namespace on this host: nothing can run in it.
    Missing(String),
    /// Not allowed (needs `CAP_SYS_ADMIN`).
    Permission(String),
    /// Anything else.
    Failed(String, Errno),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadName(name) => write!(f, "'{name}' cannot name a network namespace"),
            Self::Missing(name) => write!(f, "no network namespace '{name}' on this host"),
            Self::Permission(name) => write!(f, "not allowed to enter network namespace '{name}'"),
            Self::Failed(name, errno) => {
                write!(f, "cannot enter network namespace '{name}': {}", errno.desc())
            }
        }
    }
}

impl std::error::Error for Error {}

/// Whether a namespace can have this name at all; the same on every host.
pub fn check(name: &str) -> Result<(), Error> {
    // A file's name: no longer than NAME_MAX of limits.h.
    if name.is_empty() || name.len() > 255 || name.contains(['/', '\0']) || name == "." || name == ".." {
        return Err(Error::BadName(name.to_owned()));
    }
    Ok(())
}

/// Moves the calling thread into network namespace `name`.
pub fn enter(name: &str) -> Result<(), Error> {
    check(name)?;
    let failed = |errno: Errno| {
        let name = name.to_owned();
        // setns(2) answers EINVAL for what is no namespace: the file that a crash or a reboot left behind
        if matches!(errno, Errno::ENOENT | Errno::EINVAL) {
            Error::Missing(name)
        } else if matches!(errno, Errno::EACCES | Errno::EPERM) {
            Error::Permission(name)
        } else {
            Error::Failed(name, errno)
        }
    };
    let mut last = Errno::ENOENT;
    for folder in FOLDERS {
        match File::open(Path::new(folder).join(name)) {
            Ok(file) => return setns(file, CloneFlags::CLONE_NEWNET).map_err(failed),
            Err(error) => last = Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)),
        }
    }
    Err(failed(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["", "a/b", "..", ".", "/proc/1/ns/net", &"a".repeat(256)] {
            assert_eq!(enter(name), Err(Error::BadName(name.to_owned())));
        }
    }

    #[test]
    fn a_missing_one_is_told_apart() {
        let name = "ringfence-no-such-namespace";
        assert_eq!(enter(name), Err(Error::Missing(name.to_owned())));
    }
}
