//! The process that owns a cluster from outside: it dies with its driver, and the whole cluster dies with it.
//!
//! The driver holds the write end of our stdin. When that closes, for whatever reason, or when the time is up, the cluster's
//! pid 1 is killed and the kernel ends all that lived in its pid namespace. `PR_SET_PDEATHSIG` does the same when it is us
//! who are killed. A detached cluster (`--keep`) outlives its driver and has no time limit.

use super::namespace;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Written by the cluster's pid 1 when it is to outlive the driver.
pub(crate) const DETACHED: &str = "detached";

/// `supervise DIR SECONDS HELPER-ARGS...`
pub(crate) fn main(args: &[OsString]) -> io::Result<()> {
    let (Some(dir), Some(seconds)) = (args.first(), args.get(1)) else {
        return Err(io::Error::other("usage: supervise DIR SECONDS [HELPER-ARGS]"));
    };
    let dir = PathBuf::from(dir);
    let seconds: u64 = seconds.to_string_lossy().parse().map_err(io::Error::other)?;
    let result = supervise(&dir, Duration::from_secs(seconds), args.get(2..).unwrap_or_default());
    // The cluster's own state was a tmpfs inside; on the host there is the empty folder and the console file.
    let _ = fs::remove_dir_all(&dir);
    result
}

fn supervise(dir: &Path, lifetime: Duration, helper_args: &[OsString]) -> io::Result<()> {
    // A session of its own: Ctrl-C is for the driver, whose end we notice.
    let _ = nix::unistd::setsid();
    let console = OpenOptions::new().create(true).append(true).open(dir.join("console.log"))?;
    let program = std::env::current_exe()?;
    let mut argv = vec![program.as_os_str()];
    argv.extend(helper_args.iter().map(OsString::as_os_str));
    argv.push("switch".as_ref());
    let stdin = io::stdin();
    let init = namespace::spawn_init(&argv, stdin.as_fd(), console.as_fd())
        .map_err(|error| io::Error::other(format!("cannot make namespaces: {error}")))?;
    let mut stdout = io::stdout();
    writeln!(stdout, "{init}")?;
    stdout.flush()?;

    let detached =
        PathBuf::from(format!("/proc/{init}/root")).join(dir.strip_prefix("/").unwrap_or(dir)).join(DETACHED);
    let end = Instant::now() + lifetime;
    let mut attached = true;
    loop {
        match waitpid(init, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => {}
            _ => return Ok(()),
        }
        let mut driver = [PollFd::new(stdin.as_fd(), PollFlags::empty())];
        let watched: &mut [PollFd<'_>] = if attached { &mut driver } else { &mut [] };
        let gone = poll(watched, PollTimeout::from(100_u8)).unwrap_or(0) > 0;
        if attached && (gone || Instant::now() >= end) {
            if detached.exists() {
                attached = false;
                continue;
            }
            let _ = kill(init, Signal::SIGKILL);
            let _ = waitpid(init, None);
            return Ok(());
        }
    }
}
