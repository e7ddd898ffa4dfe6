//! A child process that is spoken with: bytes to its standard input, bytes from its standard output, each wait with a deadline.
//!
//! As for [`crate::cmd`]: an argv and never a shell, a fixed environment, a process group of its own that ends with the value.

use crate::cmd::{Cmd, CmdError, GroupKill, nonblocking, reaped, spawn, which};
use crate::deadline::Deadline;
use nix::poll::{PollFd, PollFlags, poll};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use std::time::Duration;

/// What is kept of standard error. Bytes.
const KEPT: usize = 16 << 10;

/// A running child. Dropping it kills its whole group.
pub struct Conversation {
    // Before the child: the group must go while its leader's number cannot have been given to another process.
    group: GroupKill,
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    error: Option<ChildStderr>,
    said: Vec<u8>,
}

impl Conversation {
    /// Starts `cmd`; bytes for standard input that it has already are not sent.
    pub fn start(cmd: Cmd) -> Result<Self, CmdError> {
        let program = Path::new(cmd.program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = which(cmd.program()).ok_or_else(|| CmdError::Missing { program: program.clone() })?;
        let cmd = cmd.stdin(Vec::new());
        let io = |error| CmdError::Io { program: program.clone(), error };
        let mut child = spawn(&path, &cmd).map_err(io)?;
        let group = GroupKill(Some(child.id()));
        let (Some(input), Some(output), Some(error)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io(ErrorKind::BrokenPipe.into()));
        };
        for fd in [input.as_fd(), output.as_fd(), error.as_fd()] {
            nonblocking(fd).map_err(io)?;
        }
        Ok(Self { group, child, input, output, error: Some(error), said: Vec::new() })
    }

    /// What is there, or 0 when the child has closed its output.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] at the deadline; [`ErrorKind::Interrupted`] after a signal.
    pub fn read(&mut self, buffer: &mut [u8], deadline: Deadline) -> io::Result<usize> {
        loop {
            self.listen();
            match self.output.read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return other,
            }
            wait(self.output.as_fd(), PollFlags::POLLIN, deadline)?;
        }
    }

    /// As many of the bytes as it takes now, at least one.
    ///
    /// # Errors
    /// As [`Conversation::read`]; [`ErrorKind::BrokenPipe`] when the child reads no more.
    pub fn write(&mut self, bytes: &[u8], deadline: Deadline) -> io::Result<usize> {
        loop {
            match self.input.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return other,
            }
            wait(self.input.as_fd(), PollFlags::POLLOUT, deadline)?;
        }
    }

    /// What it has said on standard error so far, the first 16 KiB.
    pub fn complaint(&mut self) -> String {
        self.listen();
        String::from_utf8_lossy(&self.said).trim().to_owned()
    }

    /// Takes what stands in standard error: a child must not wait for somebody to read it.
    fn listen(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(error) = &mut self.error {
            match error.read(&mut buffer) {
                Ok(0) => self.error = None,
                Ok(length) => {
                    let room = KEPT.saturating_sub(self.said.len());
                    self.said.extend_from_slice(buffer.get(..length.min(room)).unwrap_or_default());
                }
                Err(_) => return,
            }
        }
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.group.strike();
        reaped(&mut self.child);
    }
}

fn wait(fd: BorrowedFd<'_>, what: PollFlags, deadline: Deadline) -> io::Result<()> {
    let span = deadline.left_or(Duration::from_secs(60));
    if span.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    let millis = u16::try_from(span.as_millis().max(1)).unwrap_or(u16::MAX);
    poll(&mut [PollFd::new(fd, what)], millis)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(10))
    }

    #[test]
    fn each_side_hears_the_other() {
        let mut cat = Conversation::start(Cmd::new("cat")).unwrap();
        for word in ["one\n", "two\n"] {
            assert_eq!(cat.write(word.as_bytes(), soon()).unwrap(), 4);
            let mut buffer = [0; 16];
            let length = cat.read(&mut buffer, soon()).unwrap();
            assert_eq!(&buffer[..length], word.as_bytes());
        }
    }

    #[test]
    fn a_silent_child_ends_no_later_than_asked_and_dies_with_its_group() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let script = format!("(sleep 1; touch {}) & sleep 60", mark.display());
        let mut child = Conversation::start(Cmd::new("sh").args(["-c", &script])).unwrap();
        let begun = Instant::now();
        let error = child.read(&mut [0; 8], Deadline::after(Duration::from_millis(100))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(child);
        assert!(begun.elapsed() < Duration::from_secs(5));
        Deadline::never().sleep(Duration::from_millis(1300));
        assert!(!mark.exists(), "the grandchild survived");
    }

    #[test]
    fn the_end_and_the_last_words_are_heard() {
        let mut child = Conversation::start(Cmd::new("sh").args(["-c", "echo no >&2; echo out"])).unwrap();
        let mut all = Vec::new();
        let mut buffer = [0; 16];
        loop {
            match child.read(&mut buffer, soon()).unwrap() {
                0 => break,
                length => all.extend_from_slice(&buffer[..length]),
            }
        }
        assert_eq!((all.as_slice(), child.complaint().as_str()), (&b"out\n"[..], "no"));
        assert!(matches!(Conversation::start(Cmd::new("no-such-tool")), Err(CmdError::Missing { .. })));
    }
}
