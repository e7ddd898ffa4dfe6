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
