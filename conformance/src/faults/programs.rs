//! Which programs an agent runs, as the kernel tells it (`fanotify(7)`, `FAN_OPEN_EXEC`, Linux 5.0).

use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};
use std::collections::BTreeSet;
use std::os::fd::AsRawFd as _;
use std::path::Path;

/// Every mount that holds programs; one that is none of its own is marked twice, which is once.
const PLACES: [&str; 7] = ["/", "/usr", "/usr/sbin", "/usr/bin", "/usr/lib", "/usr/libexec", "/usr/local"];

/// Without these an agent is no program at all: they are part of it.
const INTERPRETERS: [&str; 8] = ["sh", "dash", "bash", "ksh", "zsh", "busybox", "env", "perl"];

/// Looks on; only at this trial's own mounts.
pub struct Watch(Fanotify);

impl Watch {
    pub fn new() -> Result<Self, String> {
        let told = |errno: nix::errno::Errno| format!("watch programs: {}", errno.desc());
        let flags = InitFlags::FAN_CLASS_NOTIF | InitFlags::FAN_NONBLOCK | InitFlags::FAN_CLOEXEC;
        let watch = Fanotify::init(flags, EventFFlags::O_RDONLY).map_err(told)?;
        for place in PLACES.iter().filter(|place| Path::new(place).is_dir()) {
            let flags = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_MOUNT;
            watch
                .mark(flags, MaskFlags::FAN_OPEN_EXEC, nix::fcntl::AT_FDCWD, Some(Path::new(place)))
                .map_err(told)?;
        }
        Ok(Self(watch))
    }

    /// What was run since the last time, without the agent itself and interpreters.
    pub fn seen(&self, subject: &Path) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let own = subject.canonicalize().unwrap_or_else(|_| subject.to_owned());
        while let Ok(events) = self.0.read_events() {
            if events.is_empty() {
                break;
            }
            for event in &events {
                let Some(fd) = event.fd() else { continue };
                let Ok(path) = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())) else {
                    continue;
                };
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let part =
                    INTERPRETERS.contains(&&*name) || name.starts_with("python") || name.contains(".so");
                if path != own && !part {
                    seen.insert(path.display().to_string());
                }
            }
        }
        seen
    }
}
