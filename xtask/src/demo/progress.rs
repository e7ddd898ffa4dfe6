//! What is going on: one line that is rewritten on a terminal, plain lines in a log.
#![allow(
    clippy::disallowed_methods,
    reason = "the demonstration waits for a cluster, not an agent for its system"
)]

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// A task's progress, on stderr.
pub struct Progress {
    begin: Instant,
    terminal: bool,
}

impl Progress {
    pub fn new() -> Self {
        Self { begin: Instant::now(), terminal: std::io::stderr().is_terminal() }
    }

    /// Says what begins now.
    pub fn step(&mut self, text: &str) {
        let seconds = self.begin.elapsed().as_secs_f64();
        let mut stderr = std::io::stderr();
        // Nobody can be told that stderr is gone.
        let _ = if self.terminal {
            write!(stderr, "\r\x1b[K[{seconds:5.1} s] {text}").and_then(|()| stderr.flush())
        } else {
            writeln!(stderr, "[{seconds:5.1} s] {text}")
        };
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
