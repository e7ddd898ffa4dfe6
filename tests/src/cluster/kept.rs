//! Clusters that outlive their drivers: how they are found again and ended.

use super::failure::ClusterError;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What is known of a cluster that outlives its driver: enough to enter it and to end it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The host's pid of the cluster's pid 1.
    pub init: i32,
    /// When that process started, in clock ticks since boot (`/proc/PID/stat`), so that a reused pid is not mistaken for it.
    pub started: u64,
    /// The state directory.
    pub dir: PathBuf,
    /// The host's pid of each node's pid 1.
    pub nodes: Vec<(String, i32)>,
}

impl Kept {
    /// How the names of state directories begin.
    pub(crate) const PREFIX: &'static str = "ringfence-cluster-";
    /// The note in the state directory.
    pub(crate) const FILE: &'static str = "kept.json";

    /// The clusters on this host that outlived their drivers, which were of the same user.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let own = nix::unistd::geteuid().as_raw();
        let folders = fs::read_dir(std::env::temp_dir()).into_iter().flatten().filter_map(Result::ok);
        folders
            .filter(|folder| folder.file_name().to_string_lossy().starts_with(Self::PREFIX))
            // Others may write in the same place, and what the note says is going to be killed and removed.
            .filter(|folder| folder.metadata().is_ok_and(|found| found.is_dir() && found.uid() == own))
            .filter_map(|folder| {
                let text = fs::read_to_string(folder.path().join(Self::FILE)).ok()?;
                Some(Self { dir: folder.path(), ..serde_json::from_str(&text).ok()? })
            })
            .collect()
    }

    /// Ends the cluster; its supervisor removes what is left. A cluster that is gone already is no error.
    pub fn down(&self) -> Result<(), ClusterError> {
        if start_time(self.init) == Some(self.started) {
            let pid = nix::unistd::Pid::from_raw(self.init);
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)
                .map_err(|errno| ClusterError::Io(format!("end the cluster of pid {pid}"), errno.into()))?;
            let limit = Duration::from_secs(5);
            let end = Instant::now() + limit;
            while start_time(self.init) == Some(self.started) {
                if Instant::now() >= end {
                    let last = format!("pid {pid} is still there");
                    return Err(ClusterError::Timeout {
                        what: "end of the cluster".to_owned(),
                        after: limit,
                        last,
                    });
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(ClusterError::Io(format!("remove {}", self.dir.display()), error))
            }
            _ => Ok(()),
        }
    }
}

/// Field 22 of `/proc/PID/stat`: when the process started; `None` when there is no such process.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name (field 2) may hold anything, but it ends with the last parenthesis.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}
