//! One at a time: what start and stop change in the kernel's target is many small steps, and so is what targetcli and
//! upstream's agents do.

use nix::sys::signal::kill;
use nix::unistd::Pid;
use ocf_lib::resource::code::Fault;
use ocf_lib::resource::context::Cx;
use ocf_lib::resource::runfile::Lock;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Upstream's lock: a directory with a file `pid` in it.
const UPSTREAM: &str = "targetcli.lock";
/// Ours, which the kernel releases when its holder dies.
const OWN: &str = "iscsi-target.flock";
/// Time between upstream's `mkdir` and the pid that it writes into it, many times over.
const WRITES_ITS_PID_IN: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// Both locks, until it is dropped.
pub struct Held {
    directory: PathBuf,
    _own: Lock,
}

impl Held {
    /// Waits until the action's deadline.
    pub fn take(cx: &Cx) -> Result<Self, Fault> {
        let folder = cx.run_dir();
        let own = Lock::take(&folder.join(OWN), cx)?;
        let directory = folder.join(UPSTREAM);
        let mut without_pid = Duration::ZERO;
        loop {
            match std::fs::create_dir(&directory) {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(cannot(&directory, error)),
            }
            let holder = holder(&directory);
            let is_stale = match holder {
                Holder::Alive(_) => false,
                Holder::Dead => true,
                Holder::Unknown => {
                    without_pid += PAUSE;
                    without_pid >= WRITES_ITS_PID_IN
                }
            };
            if is_stale {
                release(&directory);
            } else if cx.expired() {
                let who = match holder {
                    Holder::Alive(pid) => format!("process {pid}"),
                    Holder::Dead | Holder::Unknown => "another process".into(),
                };
                return Err(Fault::generic(format!(
                    "cannot lock {}: held by {who} until the deadline",
                    directory.display()
                )));
            } else {
                cx.sleep(PAUSE);
            }
        }
        std::fs::write(directory.join("pid"), format!("{}\n", std::process::id()))
            .map_err(|error| cannot(&directory, error))?;
        Ok(Self { directory, _own: own })
    }
}

fn cannot(directory: &Path, error: std::io::Error) -> Fault {
    Fault::from(error).context(format_args!("cannot lock {}", directory.display()))
}

impl Drop for Held {
    fn drop(&mut self) {
        release(&self.directory);
    }
}

fn release(directory: &Path) {
    let _ = std::fs::remove_file(directory.join("pid"));
    let _ = std::fs::remove_dir(directory);
}

#[derive(Clone, Copy)]
enum Holder {
    Alive(i32),
    Dead,
    /// It has not said yet who it is.
    Unknown,
}

fn holder(directory: &Path) -> Holder {
    let Some(pid) = std::fs::read_to_string(directory.join("pid"))
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .filter(|pid| *pid > 0)
    else {
        return Holder::Unknown;
    };
    match kill(Pid::from_raw(pid), None) {
        Err(nix::errno::Errno::ESRCH) => Holder::Dead,
        Ok(()) | Err(_) => Holder::Alive(pid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocf_lib::resource::agent::Verb;
    use ocf_lib::resource::testkit::Bench;

    fn call(folder: &Path) -> Cx {
        Bench::new("iSCSITarget", Verb::Start).set("HA_RSCTMP", folder.to_str().unwrap()).into_cx()
    }

    #[test]
    fn upstreams_lock_is_there_while_it_is_held_and_gone_after() {
        let folder = tempfile::tempdir().unwrap();
        let held = Held::take(&call(folder.path())).unwrap();
        let pid = std::fs::read_to_string(folder.path().join("targetcli.lock/pid")).unwrap();
        assert_eq!(pid.trim(), std::process::id().to_string());
        drop(held);
        assert!(!folder.path().join("targetcli.lock").exists());
    }

    #[test]
    fn a_living_holder_is_waited_for_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("targetcli.lock");
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("pid"), "1\n").unwrap();
        let fault = Held::take(&call(folder.path())).err().unwrap();
        assert!(fault.reason().contains("held by process 1 until"), "{fault}");
        assert!(directory.join("pid").exists(), "it is still the other's");
    }

    /// resource-agents 917: with a lock that did not lock, two actions changed the same table at once.
    #[test]
    fn two_never_hold_it_together() {
        let folder = tempfile::tempdir().unwrap();
        let inside = std::sync::atomic::AtomicU32::new(0);
        let count = || {
            for _ in 0..20 {
                // The clock of a call stands still, so it may find the other's lock at its deadline: once more then.
                let Ok(held) = Held::take(&call(folder.path())) else { continue };
                assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0, "both are in");
                (0..100).for_each(|_| std::thread::yield_now());
                inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                drop(held);
            }
        };
        std::thread::scope(|threads| {
            threads.spawn(count);
            threads.spawn(count);
        });
    }

    #[test]
    fn what_the_dead_have_left_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("targetcli.lock");
        for left in [Some("4194305\n"), None, Some("")] {
            std::fs::create_dir(&directory).unwrap();
            if let Some(text) = left {
                std::fs::write(directory.join("pid"), text).unwrap();
            }
            drop(Held::take(&call(folder.path())).unwrap());
            assert!(!directory.exists(), "{left:?}");
        }
    }
}
