//! Child processes: an argv vector, never a shell; a fixed environment; a deadline.
//!
//! A child has its own process group, which is killed as a whole at the deadline, and dies with the
//! agent (`PR_SET_PDEATHSIG`): when the cluster manager SIGKILLs the agent's group, nothing survives.

use crate::deadline::Deadline;
use crate::secret::Secret;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where programs are looked up, whatever PATH the caller has: rgmanager gives none at all.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Output beyond this is read and dropped, so that a runaway tool costs no memory. Bytes a stream.
const OUTPUT_LIMIT: usize = 4 << 20;

/// One command line, built like an argv: nothing in it is ever interpreted by a shell.
pub struct Cmd {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, Secret)>,
    stdin: Option<Secret>,
}

impl Cmd {
    /// A program name looked up on [`PATH`], or an absolute path.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self { program: program.into(), args: Vec::new(), env: Vec::new(), stdin: None }
    }

    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// One more variable for the child; its value is never logged.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.into(), Secret::new(value.as_ref().as_bytes().to_vec())));
        self
    }

    /// What the child reads from its standard input; without it that is /dev/null. Never logged.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(Secret::new(bytes.into()));
        self
    }

    pub fn program(&self) -> &OsStr {
        &self.program
    }

    pub fn arguments(&self) -> &[OsString] {
        &self.args
    }

    /// The bytes for standard input, for a fake runner that checks them.
    pub fn stdin_bytes(&self) -> Option<&[u8]> {
        self.stdin.as_ref().map(Secret::expose)
    }
}

impl fmt::Display for Cmd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.program.to_string_lossy())?;
        for arg in &self.args {
            write!(f, " {}", arg.to_string_lossy())?;
        }
        Ok(())
    }
}

/// How a child ended that was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Exit status, or `None` when a signal ended it.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Output {
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// Standard error as text; what is not UTF-8 is replaced.
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// What the tool said when it failed: the last line of stderr that is not empty, else of stdout.
    pub fn complaint(&self) -> String {
        let last = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes)
                .lines()
                .rev()
                .map(str::trim)
                .find(|line| !line.is_empty())
                .map(str::to_owned)
        };
        last(&self.stderr).or_else(|| last(&self.stdout)).unwrap_or_else(|| "it said nothing".into())
    }

    /// `sh exited 1: device busy`: the program's name, how it ended, its own words.
    pub fn failure(&self, cmd: &Cmd) -> String {
        let name = Path::new(cmd.program()).file_name().unwrap_or_default().to_string_lossy();
        format!("{name} {}: {}", self.how_it_ended(), self.complaint())
    }

    /// `exited 1`, `was killed by signal 9`.
    pub fn how_it_ended(&self) -> String {
        match (self.code, self.signal) {
            (Some(code), _) => format!("exited {code}"),
            (None, Some(signal)) => format!("was killed by signal {signal}"),
            (None, None) => "ended".into(),
        }
    }
}

/// Why a child gave no answer.
#[derive(Debug)]
pub enum CmdError {
    /// No such program on [`PATH`].
    Missing {
        program: String,
    },
    /// It was still running at the deadline and has been killed.
    TimedOut {
        program: String,
        after: Duration,
    },
    /// It was still running at the deadline and cannot be killed: it waits in the kernel (state D).
    Stuck {
        program: String,
        after: Duration,
    },
    Io {
        program: String,
        error: std::io::Error,
    },
}

impl fmt::Display for CmdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { program } => write!(f, "{program} is not installed"),
            Self::TimedOut { program, after } => {
                write!(f, "{program} timed out after {:.1} s", after.as_secs_f64())
            }
            Self::Stuck { program, after } => {
                let after = after.as_secs_f64();
                write!(f, "{program} hangs in the kernel since {after:.1} s and cannot be ended")
            }
            Self::Io { program, error } => write!(f, "cannot run {program}: {error}"),
        }
    }
}

impl std::error::Error for CmdError {}

/// Runs commands: the system, or a fake in tests.
pub trait Runner {
    /// Runs `cmd` until it ends or the deadline kills it.
    fn run(&self, cmd: &Cmd, deadline: Deadline) -> Result<Output, CmdError>;

    /// Whether a program is there to be run.
    fn has(&self, program: &OsStr) -> bool {
        which(program).is_some()
    }
}

/// The absolute path of a program on [`PATH`], if it is there and executable.
pub fn which(program: &OsStr) -> Option<PathBuf> {
    let executable =
        |path: &Path| nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok() && path.is_file();
    let direct = Path::new(program);
    if direct.is_absolute() {
        return executable(direct).then(|| direct.to_owned());
    }
    if direct.components().count() != 1 {
        return None;
    }
    PATH.split(':').map(|dir| Path::new(dir).join(direct)).find(|path| executable(path))
}

/// Real child processes.
pub struct System;

impl Runner for System {
    fn run(&self, cmd: &Cmd, deadline: Deadline) -> Result<Output, CmdError> {
        let program = Path::new(cmd.program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(path) = which(cmd.program()) else {
            return Err(CmdError::Missing { program });
        };
        let started = Instant::now();
        let io = |error| CmdError::Io { program: program.clone(), error };
        let mut child = spawn(&path, cmd).map_err(io)?;
        let mut guard = GroupKill(Some(child.id()));
        let mut pipes = Pipes::new(&mut child, cmd.stdin_bytes().unwrap_or_default()).map_err(io)?;
        let mut pause = Duration::from_micros(200);
        let status = loop {
            // Output first: a child that has ended may have left its last words in the pipe.
            let open = pipes.pump().map_err(io)?;
            if let Some(status) = child.try_wait().map_err(io)? {
                pipes.pump().map_err(io)?;
                break status;
            }
            if deadline.expired() {
                drop(guard);
                let after = started.elapsed();
                return Err(if reaped(&mut child) {
                    CmdError::TimedOut { program, after }
                } else {
                    CmdError::Stuck { program, after }
                });
            }
            let span = deadline.left_or(pause);
            if open {
                pipes.wait(span);
            } else {
                deadline.sleep(span);
            }
            pause = (pause * 2).min(Duration::from_millis(20));
        };
        guard.0 = None;
        Ok(Output {
            code: status.code(),
            signal: status.signal(),
            stdout: pipes.out.bytes,
            stderr: pipes.err.bytes,
        })
    }
}

pub(crate) fn spawn(path: &Path, cmd: &Cmd) -> std::io::Result<Child> {
    #[allow(clippy::disallowed_methods, reason = "the one place that starts children")]
    let mut command = Command::new(path);
    command
        .args(cmd.arguments())
        .env("LC_ALL", "C")
        .env_remove("LANG")
        .env_remove("LANGUAGE")
        .env("PATH", PATH)
        .stdin(if cmd.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    for (name, value) in &cmd.env {
        command.env(name, OsStr::from_bytes(value.expose()));
    }
    let parent = std::process::id();
    // SAFETY: prctl(PR_SET_PDEATHSIG) and getppid are async-signal-safe and touch no memory of the parent.
    unsafe {
        command.pre_exec(move || {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            // Killed between the fork and the line above: nobody would end this one.
            if u32::try_from(libc::getppid()) == Ok(parent) {
                Ok(())
            } else {
                Err(std::io::Error::from_raw_os_error(libc::ECANCELED))
            }
        });
    }
    command.spawn()
}

/// Time that a killed child has to end. One that waits for a device in the kernel never does.
const LAST_WAIT: Duration = Duration::from_millis(250);

/// Waits for a child that was killed; false: it is still there, and is left to init.
pub(crate) fn reaped(child: &mut Child) -> bool {
    let end = Deadline::after(LAST_WAIT);
    loop {
        match child.try_wait() {
            Ok(None) if end.expired() => return false,
            Ok(None) => end.sleep(Duration::from_millis(2)),
            // Nobody else waits for it, so an error says that it is gone.
            Ok(Some(_)) | Err(_) => return true,
        }
    }
}

/// Kills the child's process group when dropped with an id in it.
pub(crate) struct GroupKill(pub(crate) Option<u32>);

impl GroupKill {
    /// Now, and never again.
    pub(crate) fn strike(&mut self) {
        if let Some(pid) = self.0.take().and_then(|pid| i32::try_from(pid).ok()) {
            let _ =
                nix::sys::signal::killpg(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
}

impl Drop for GroupKill {
    fn drop(&mut self) {
        self.strike();
    }
}

struct Stream<R> {
    pipe: Option<R>,
    bytes: Vec<u8>,
}

impl<R: Read> Stream<R> {
    /// Reads what is there; the pipe is gone after its end.
    fn drain(&mut self) -> std::io::Result<()> {
        let mut buffer = [0u8; 8192];
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(n) => {
                    let room = OUTPUT_LIMIT.saturating_sub(self.bytes.len());
                    self.bytes.extend_from_slice(buffer.get(..n.min(room)).unwrap_or_default());
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// Reads and writes of `fd` return at once from now on.
pub(crate) fn nonblocking(fd: std::os::fd::BorrowedFd<'_>) -> std::io::Result<()> {
    let flags = nix::fcntl::OFlag::from_bits_retain(nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_GETFL)?);
    nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFL(flags | nix::fcntl::OFlag::O_NONBLOCK))?;
    Ok(())
}

struct Pipes<'a> {
    input: Option<std::process::ChildStdin>,
    unsent: &'a [u8],
    out: Stream<std::process::ChildStdout>,
    err: Stream<std::process::ChildStderr>,
}

impl<'a> Pipes<'a> {
    fn new(child: &mut Child, unsent: &'a [u8]) -> std::io::Result<Self> {
        let pipes = Self {
            input: child.stdin.take(),
            unsent,
            out: Stream { pipe: child.stdout.take(), bytes: Vec::new() },
            err: Stream { pipe: child.stderr.take(), bytes: Vec::new() },
        };
        for fd in pipes.fds() {
            nonblocking(fd)?;
        }
        Ok(pipes)
    }

    fn fds(&self) -> impl Iterator<Item = std::os::fd::BorrowedFd<'_>> {
        use std::os::fd::AsFd;
        let input = self.input.as_ref().map(AsFd::as_fd);
        let out = self.out.pipe.as_ref().map(AsFd::as_fd);
        let err = self.err.pipe.as_ref().map(AsFd::as_fd);
        [input, out, err].into_iter().flatten()
    }

    /// Moves what can be moved without waiting; true while output is still open.
    fn pump(&mut self) -> std::io::Result<bool> {
        while let Some(pipe) = &mut self.input {
            if self.unsent.is_empty() {
                self.input = None;
                break;
            }
            match pipe.write(self.unsent) {
                Ok(n) => self.unsent = self.unsent.get(n..).unwrap_or_default(),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // It does not want the rest: its exit status tells.
                Err(_) => self.unsent = &[],
            }
        }
        self.out.drain()?;
        self.err.drain()?;
        Ok(self.out.pipe.is_some() || self.err.pipe.is_some())
    }

    fn wait(&self, span: Duration) {
        use std::os::fd::AsFd;
        let mut polled: Vec<nix::poll::PollFd<'_>> = Vec::with_capacity(3);
        if let Some(pipe) = &self.input {
            polled.push(nix::poll::PollFd::new(pipe.as_fd(), nix::poll::PollFlags::POLLOUT));
        }
        for fd in [self.out.pipe.as_ref().map(AsFd::as_fd), self.err.pipe.as_ref().map(AsFd::as_fd)]
            .into_iter()
            .flatten()
        {
            polled.push(nix::poll::PollFd::new(fd, nix::poll::PollFlags::POLLIN));
        }
        let millis = u16::try_from(span.as_millis().max(1)).unwrap_or(u16::MAX);
        let _ = nix::poll::poll(&mut polled, millis);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(cmd: &Cmd, span: Duration) -> Result<Output, CmdError> {
        System.run(cmd, Deadline::after(span))
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn gives_output_status_and_stdin() {
        let out = run(&Cmd::new("sh").args(["-c", "cat; echo no >&2; exit 3"]).stdin("in"), LONG).unwrap();
        assert_eq!((out.code, out.stdout_text().as_str(), out.complaint().as_str()), (Some(3), "in", "no"));
    }

    #[test]
    fn is_killed_with_its_whole_group_at_the_deadline() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("mark");
        let script = format!("(sleep 1; touch {}) & sleep 60", mark.display());
        let start = Instant::now();
        let result = run(&Cmd::new("sh").args(["-c", &script]), Duration::from_millis(200));
        assert!(matches!(result, Err(CmdError::TimedOut { .. })));
        assert!(start.elapsed() < Duration::from_secs(10));
        Deadline::never().sleep(Duration::from_millis(1300));
        assert!(!mark.exists(), "the grandchild survived");
    }

    #[test]
    fn a_daemon_that_keeps_the_pipes_does_not_hold_us() {
        let start = Instant::now();
        let out = run(&Cmd::new("sh").args(["-c", "sleep 5 & echo done"]), LONG).unwrap();
        assert_eq!(out.stdout_text(), "done\n");
        assert!(start.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn large_output_and_large_input_do_not_deadlock() {
        let input = vec![b'x'; 1 << 20];
        let out = run(&Cmd::new("cat").stdin(input.clone()), LONG).unwrap();
        assert_eq!(out.stdout.len(), input.len());
    }

    #[test]
    fn environment_is_fixed_and_arguments_are_not_interpreted() {
        let out =
            run(&Cmd::new("sh").args(["-c", "echo \"$LC_ALL $PATH $1\"", "x", "$(id);`id`"]), LONG).unwrap();
        assert_eq!(out.stdout_text(), format!("C {PATH} $(id);`id`\n"));
    }

    #[test]
    fn a_missing_program_is_told_by_name() {
        let error = run(&Cmd::new("no-such-tool"), LONG).unwrap_err();
        assert!(matches!(error, CmdError::Missing { .. }));
        assert_eq!(error.to_string(), "no-such-tool is not installed");
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a child that nobody kills stands for one that nobody can")]
    fn a_child_that_does_not_end_is_not_waited_for() {
        let mut child = Command::new("sleep").arg("30").spawn().unwrap();
        let begun = Instant::now();
        assert!(!reaped(&mut child));
        assert!(begun.elapsed() < LAST_WAIT * 4, "{:?}", begun.elapsed());
        child.kill().unwrap();
        assert!(reaped(&mut child));
    }

    #[test]
    fn a_failure_quotes_the_tool() {
        let cmd = Cmd::new("sh").args(["-c", "echo 'device busy' >&2; exit 1"]);
        assert_eq!(run(&cmd, LONG).unwrap().failure(&cmd), "sh exited 1: device busy");
    }
}
