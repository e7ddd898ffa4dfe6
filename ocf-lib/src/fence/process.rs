//! Signals, core dumps and terminal waits of the process itself.
//!
//! SIGTERM, SIGINT and SIGHUP set a flag; the waits of the agent end (EINTR), its session is closed by
//! `Drop`, and the process then dies by the same signal, so that the caller sees what happened. When the
//! closing takes longer than [`GRACE`], SIGALRM ends the process.

use crate::deadline::Clock;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

/// How long closing a session may take after a signal. Seconds.
const GRACE: u32 = 3;

/// The longest single sleep: a signal that came just before it is noticed after that.
const NAP: Duration = Duration::from_millis(500);

static SIGNAL: AtomicI32 = AtomicI32::new(0);

extern "C" fn note(signal: libc::c_int) {
    SIGNAL.store(signal, Ordering::SeqCst);
    // SAFETY: alarm(2) is async-signal-safe (signal-safety(7)) and takes no pointer.
    unsafe {
        libc::alarm(GRACE);
    }
}

extern "C" fn give_up(_: libc::c_int) {
    let signal = match SIGNAL.load(Ordering::SeqCst) {
        0 => libc::SIGTERM,
        signal => signal,
    };
    // SAFETY: signal, raise, pthread_sigmask and _exit are async-signal-safe and get valid arguments;
    // the set is a local that sigemptyset initialises.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
        libc::raise(signal);
        libc::_exit(1);
    }
}

/// Installs the handlers. Without `SA_RESTART`, so that a waiting call returns.
pub fn catch_signals() {
    let handler = |f| SigAction::new(SigHandler::Handler(f), SaFlags::empty(), SigSet::empty());
    for (signal, action) in [
        (Signal::SIGTERM, handler(note)),
        (Signal::SIGINT, handler(note)),
        (Signal::SIGHUP, handler(note)),
        (Signal::SIGALRM, handler(give_up)),
    ] {
        // SAFETY: both handlers only do what signal-safety(7) allows.
        let _ = unsafe { sigaction(signal, &action) };
    }
}

/// The signal that asked the agent to end, if one did.
pub fn interrupted() -> Option<i32> {
    Some(SIGNAL.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
}

/// True when a signal asked the agent to end, for a protocol client that waits by itself.
pub fn asked_to_end() -> bool {
    interrupted().is_some()
}

/// Ends the process by the signal that was caught; its parent sees that signal.
pub fn die_by_signal() -> ! {
    give_up(0);
    // give_up does not return.
    #[allow(clippy::disallowed_methods, reason = "the end of the process, after its clean-up")]
    std::process::exit(1)
}

/// No core file and no ptrace by others: the memory holds passwords.
pub fn no_core_dumps() {
    let _ = nix::sys::prctl::set_dumpable(false);
    let _ = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0);
}

/// Overwrites each of `secrets` where it ends a word of the process's own argv, as in `-pX`, `--password=X` and `X`.
///
/// `/proc/PID/cmdline` shows that memory to everybody for as long as the process runs. Between exec and here, about a
/// millisecond, it is readable: a caller that minds gives options on standard input.
pub fn wipe_argv(secrets: &[&[u8]]) {
    // proc_pid_stat(5): arg_start and arg_end are fields 48 and 49; the name in field 2 may hold blanks and brackets.
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return };
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace().collect();
    let address =
        |at: usize| fields.get(at).and_then(|text| text.parse::<usize>().ok()).filter(|at| *at != 0);
    let (Some(first), Some(beyond)) = (address(45), address(46)) else { return };
    let length = beyond.saturating_sub(first);
    if length == 0 || length > isize::MAX as usize {
        return;
    }
    // SAFETY: the kernel put the strings of argv into this range of our own stack (exec, mm->arg_start to arg_end), which is mapped
    // and writable for the whole life of the process. No Rust reference to it exists: std copies what it hands out. This
    // runs on the main thread before any other one is started, so that nobody reads it at the same time.
    let words = unsafe { std::slice::from_raw_parts_mut(first as *mut u8, length) };
    wipe_in(words, secrets);
}

/// The same in any sequence of words that end in NUL. What remains is `*`, whatever the length was.
fn wipe_in(words: &mut [u8], secrets: &[&[u8]]) {
    for word in words.split_mut(|byte| *byte == 0) {
        for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
            if word.ends_with(secret) {
                let from = word.len() - secret.len();
                for (at, byte) in word.iter_mut().skip(from).enumerate() {
                    *byte = if at == 0 { b'*' } else { 0 };
                }
            }
        }
    }
}

/// The real clock, whose sleep ends early when a signal comes.
pub struct SignalClock;

impl Clock for SignalClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep(&self, span: Duration) {
        let end = Instant::now() + span.min(Duration::from_secs(86_400));
        while interrupted().is_none() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let millis = u16::try_from(left.min(NAP).as_millis().max(1)).unwrap_or(500);
            // No descriptors: poll(2) is here a sleep that a signal ends.
            let _ = nix::poll::poll(&mut [], millis);
        }
    }
}

/// Standard input that gives up when nothing comes. A caller writes its few lines at once.
pub struct TimedStdin {
    end: Instant,
}

impl TimedStdin {
    pub fn new(span: Duration) -> Self {
        Self { end: Instant::now() + span }
    }
}

impl Read for TimedStdin {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let stdin = std::io::stdin();
        loop {
            if interrupted().is_some() {
                return Err(std::io::Error::other("ended by a signal"));
            }
            let left = self.end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(std::io::Error::other("nothing more came, and no end of file"));
            }
            let mut polled = [nix::poll::PollFd::new(stdin.as_fd(), nix::poll::PollFlags::POLLIN)];
            let millis = u16::try_from(left.min(NAP).as_millis().max(1)).unwrap_or(500);
            match nix::poll::poll(&mut polled, millis) {
                Ok(0) | Err(nix::errno::Errno::EINTR) => {}
                Ok(_) => match nix::unistd::read(&stdin, buffer) {
                    Err(nix::errno::Errno::EINTR | nix::errno::Errno::EAGAIN) => {}
                    other => return Ok(other?),
                },
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::wipe_in;

    #[test]
    fn secrets_are_wiped_at_the_end_of_words_only() {
        let mut words = b"fence_x\0-p\0s3cret\0-ps3cret\0--password=s3cret\0-l\0s3cretary\0".to_vec();
        wipe_in(&mut words, &[b"s3cret", b""]);
        let left: Vec<_> =
            words.split(|b| *b == 0).filter(|word| !word.is_empty()).map(String::from_utf8_lossy).collect();
        assert_eq!(left, ["fence_x", "-p", "*", "-p*", "--password=*", "-l", "s3cretary"]);
    }
}
