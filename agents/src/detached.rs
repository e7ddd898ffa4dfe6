//! Work that outlives the agent: a child with its own session, its own end, and a pid file that names it for certain.
//!
//! The only fork outside `ocf_lib::cmd`. The pid file is upstream's (`send_arp-<ip>`): the pid stands in its first
//! line, so upstream's agent can stop ours in a rolling upgrade. The second line is ours: the start time of that
//! process, without which a pid that was given to somebody else in the meantime would be killed.

use crate::net::netlink::readable;
use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask};
use nix::unistd::{ForkResult, alarm, dup2_stderr, dup2_stdin, dup2_stdout, fork, setsid};
use std::ffi::CString;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::{Duration, Instant};

/// How long a process gets to obey SIGTERM before SIGKILL.
const GRACE: Duration = Duration::from_secs(1);

/// Why it could not be started or stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// A system call failed.
    System {
        /// What was being done.
        doing: &'static str,
        /// The pid file.
        pid_file: PathBuf,
        /// The system's number.
        errno: Errno,
    },
    /// It did not start or end before the deadline.
    Deadline {
        /// The pid file.
        pid_file: PathBuf,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System { doing, pid_file, errno } => {
                write!(f, "cannot {doing} ({}): {}", pid_file.display(), errno.desc())
            }
            Self::Deadline { pid_file } => {
                write!(f, "background process of {} still not done", pid_file.display())
            }
        }
    }
}

impl std::error::Error for Error {}

/// How a piece of work is detached.
#[derive(Debug)]
pub struct Detached<'a> {
    /// What `ps` shows, at most 15 bytes.
    pub name: &'a str,
    /// Where its pid stands while it runs.
    pub pid_file: &'a Path,
    /// After this time it ends itself, done or not (rounded up to seconds).
    pub limit: Duration,
    /// Open files the work needs; all others are closed.
    pub keep: &'a [BorrowedFd<'a>],
}

/// What was found when it was to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// It ran and has ended now.
    Now,
    /// It did not run. A pid file left over was removed.
    WasNot,
}

/// Starts `work` in a detached child and returns its pid once its pid file is written.
///
/// An earlier one under the same pid file is stopped first. For single-threaded programs, as all agents are: in the
/// child only the calling thread exists. What the closure owns is not dropped in the child when its time is up.
pub fn run(how: &Detached<'_>, deadline: Instant, work: impl FnOnce()) -> Result<i32, Error> {
    let failed = |doing| move |errno| Error::System { doing, pid_file: how.pid_file.into(), errno };
    stop(how.pid_file, &[how.name], deadline)?;
    let (ready, tell) = nix::unistd::pipe().map_err(failed("make a pipe"))?;
    // SAFETY: agents are single-threaded, so no lock can be held by a thread that does not exist in the child.
    match unsafe { fork() }.map_err(failed("start a background process"))? {
        ForkResult::Child => {
            drop(ready);
            child(how, tell, work)
        }
        ForkResult::Parent { child } => {
            drop(tell);
            if !readable(ready.as_fd(), deadline).map_err(failed("wait"))? {
                return Err(Error::Deadline { pid_file: how.pid_file.into() });
            }
            let mut code = Vec::new();
            let _ = File::from(ready).read_to_end(&mut code);
            match code.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
                Some(0) => Ok(child.as_raw()),
                Some(code) => Err(failed("write the pid file")(Errno::from_raw(code))),
                None => Err(failed("start a background process")(Errno::ECHILD)),
            }
        }
    }
}

/// The pid file, for the signal handler of the child.
static PID_FILE: AtomicPtr<libc::c_char> = AtomicPtr::new(std::ptr::null_mut());

/// The whole life of the child.
///
/// The order matters: the pid file is written while the child still is in the agent's process group. If the resource
/// manager kills that group, either both die, or the file is there for the next stop to find.
fn child(how: &Detached<'_>, tell: OwnedFd, work: impl FnOnce()) -> ! {
    let path = CString::new(how.pid_file.as_os_str().as_bytes()).unwrap_or_default();
    PID_FILE.store(path.into_raw(), Ordering::SeqCst);
    let action = SigAction::new(SigHandler::Handler(leave), SaFlags::empty(), SigSet::all());
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGALRM] {
        // SAFETY: the handler calls nothing but unlink(2) and _exit(2), both async-signal-safe.
        let _ = unsafe { sigaction(signal, &action) };
    }
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
    let seconds = how.limit.as_secs() + u64::from(how.limit.subsec_nanos() > 0);
    alarm::set(libc::c_uint::try_from(seconds.max(1)).unwrap_or(libc::c_uint::MAX));
    let name = CString::new(how.name).unwrap_or_default();
    let _ = nix::sys::prctl::set_name(&name);

    let told = write_pid_file(how.pid_file).err().unwrap_or(Errno::UnknownErrno) as i32;
    let _ = setsid();
    let mut tell = File::from(tell);
    let told_parent = tell.write_all(&told.to_ne_bytes());
    drop(tell);
    if told == 0 && told_parent.is_ok() {
        let _ = std::env::set_current_dir("/");
        close_all_but(how.keep);
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    }
    finish()
}

/// The signal handler.
extern "C" fn leave(_: libc::c_int) {
    finish()
}

/// Removes the pid file and ends the child, from a signal or at its natural end.
fn finish() -> ! {
    let path = PID_FILE.load(Ordering::SeqCst);
    // SAFETY: the pointer is a C string that is never freed, stored before any handler was set; both calls are
    // async-signal-safe (signal-safety(7)).
    unsafe {
        libc::unlink(path);
        libc::_exit(0)
    }
}

/// Standard files to /dev/null, everything else closed.
fn close_all_but(keep: &[BorrowedFd<'_>]) {
    if let Ok(null) = OpenOptions::new().read(true).write(true).open("/dev/null") {
        let _ = dup2_stdin(&null);
        let _ = dup2_stdout(&null);
        let _ = dup2_stderr(&null);
    }
    // the folder is read to its end before anything is closed: its own descriptor is one of the entries
    let open: Vec<RawFd> = match fs::read_dir("/proc/self/fd") {
        Ok(folder) => folder.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect(),
        Err(_) => (0..1024).collect(),
    };
    for fd in open {
        if fd > 2 && !keep.iter().any(|kept| kept.as_raw_fd() == fd) {
            // SAFETY: nothing in this child uses a descriptor that is not in `keep`; closing one twice only fails.
            unsafe { libc::close(fd) };
        }
    }
}

/// Pid and start time of this process, by rename, so that nobody reads half of it.
fn write_pid_file(path: &Path) -> Result<(), Errno> {
    let errno = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
    let pid = nix::unistd::getpid().as_raw();
    let started = start_time(pid).ok_or(Errno::ESRCH)?;
    let new = new_name(path);
    fs::write(&new, format!("{pid}\n{started}\n")).map_err(errno)?;
    fs::rename(&new, path).map_err(errno)
}

fn new_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

/// When a process started, in clock ticks since boot: field 22 of `/proc/PID/stat`, proc(5). With the pid it names
/// one process for good.
fn start_time(pid: i32) -> Option<u64> {
    start_time_in(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name in field 2 may hold spaces and brackets: the fields are counted from its last bracket.
fn start_time_in(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Ends the process that a pid file names and removes the file.
///
/// A file without start time is upstream's: its pid is believed only if the process has one of the names in `known`
/// (as `ps -o comm` shows them). A file that names nobody of ours is just removed.
pub fn stop(pid_file: &Path, known: &[&str], deadline: Instant) -> Result<Stopped, Error> {
    let failed = |doing| move |errno| Error::System { doing, pid_file: pid_file.into(), errno };
    let _ = fs::remove_file(new_name(pid_file));
    let text = match fs::read(pid_file) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Stopped::WasNot),
        Err(error) => {
            let errno = Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
            return Err(failed("read the pid file")(errno));
        }
    };
    let mut lines = text.lines().map(str::trim);
    let pid = lines.next().and_then(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 1);
    let started = lines.next().and_then(|line| line.parse::<u64>().ok());
    let stopped = match pid {
        Some(pid) => end(pid, started, known, pid_file, deadline)?,
        None => Stopped::WasNot,
    };
    match fs::remove_file(pid_file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            let errno = Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
            Err(failed("remove the pid file")(errno))
        }
        _ => Ok(stopped),
    }
}

/// Holds on to the process first and asks who it is then, so that it cannot be another one when the signal goes out.
fn end(
    pid: i32,
    started: Option<u64>,
    known: &[&str],
    pid_file: &Path,
    deadline: Instant,
) -> Result<Stopped, Error> {
    let failed = |doing| move |errno| Error::System { doing, pid_file: pid_file.into(), errno };
    // SAFETY: plain numbers; the result is checked before it is used as a descriptor.
    let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let process = match Errno::result(raw) {
        Ok(raw) => {
            let raw = RawFd::try_from(raw).unwrap_or(-1);
            // SAFETY: the kernel has just returned this descriptor and nobody else owns it.
            Process { pid, fd: Some(unsafe { OwnedFd::from_raw_fd(raw) }) }
        }
        Err(Errno::ESRCH) => return Ok(Stopped::WasNot),
        Err(Errno::ENOSYS) => Process { pid, fd: None },
        Err(errno) => return Err(failed("find the background process")(errno)),
    };
    let ours = match started {
        Some(started) => start_time(pid) == Some(started),
        None => {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| known.contains(&name.trim()))
        }
    };
    if !ours {
        return Ok(Stopped::WasNot);
    }
    let gentle = deadline.min(Instant::now() + GRACE);
    for (signal, until) in [(libc::SIGTERM, gentle), (libc::SIGKILL, deadline)] {
        process.signal(signal).map_err(failed("end the background process"))?;
        if process.is_gone_by(until).map_err(failed("wait for the background process"))? {
            return Ok(Stopped::Now);
        }
    }
    Err(Error::Deadline { pid_file: pid_file.into() })
}

/// A process, held by a pidfd where the kernel has them (Linux 5.3; not in RHEL 8).
struct Process {
    pid: i32,
    fd: Option<OwnedFd>,
}

impl Process {
    /// Sends a signal; fine when it has ended already.
    fn signal(&self, signal: libc::c_int) -> Result<(), Errno> {
        let sent = match &self.fd {
            // SAFETY: the descriptor is live; a null siginfo is filled in by the kernel, pidfd_send_signal(2).
            Some(fd) => unsafe {
                let none = std::ptr::null::<libc::siginfo_t>();
                libc::syscall(libc::SYS_pidfd_send_signal, fd.as_raw_fd(), signal, none, 0)
            },
            // SAFETY: plain numbers; the pid is above 1, so it names one process and no group.
            None => libc::c_long::from(unsafe { libc::kill(self.pid, signal) }),
        };
        match Errno::result(sent) {
            Ok(_) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Waits until it has ended; false at `until`.
    fn is_gone_by(&self, until: Instant) -> Result<bool, Errno> {
        if let Some(fd) = &self.fd {
            // readable once it has ended, pidfd_open(2)
            return readable(fd.as_fd(), until);
        }
        loop {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid));
            let state = stat.ok().and_then(|stat| stat.rsplit_once(") ")?.1.chars().next());
            if matches!(state, None | Some('Z' | 'X')) {
                return Ok(true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
            let _ = nix::poll::poll(&mut [], nix::poll::PollTimeout::from(5_u8));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_time_with_any_process_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";
        for name in ["sh", "a b", ") (", "x) S 9 9"] {
            assert_eq!(start_time_in(&format!("77 ({name}) {rest}")), Some(4711));
        }
        assert_eq!(start_time_in(""), None);
        assert_eq!(start_time_in("77 (sh) S 1"), None);
    }

    /// The way of kernels without pidfd, which the one this runs on has.
    #[test]
    #[allow(clippy::disallowed_methods, reason = "test")]
    fn without_a_pidfd_it_ends_all_the_same() {
        let mut sleeper = std::process::Command::new("sleep").arg("30").spawn().unwrap();
        let process = Process { pid: i32::try_from(sleeper.id()).unwrap(), fd: None };
        let until = Instant::now() + Duration::from_millis(50);
        assert_eq!(process.is_gone_by(until), Ok(false));
        assert_eq!(process.signal(libc::SIGTERM), Ok(()));
        assert_eq!(process.is_gone_by(until + Duration::from_secs(5)), Ok(true));
        sleeper.wait().unwrap();
        assert_eq!(process.is_gone_by(until), Ok(true));
        assert_eq!(process.signal(libc::SIGTERM), Ok(()));
    }
}
