//! One call of a program, and what it cost: wall clock and CPU of it and all its children.

use crate::process;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A program, what it is told, and on which input.
#[derive(Clone, Debug)]
pub struct Call {
    pub program: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub stdin: Option<PathBuf>,
}

impl Call {
    pub fn new(program: impl Into<PathBuf>, args: &[&str]) -> Self {
        Self {
            program: program.into(),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            env: Vec::new(),
            stdin: None,
        }
    }

    #[must_use]
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    #[must_use]
    pub fn reading(mut self, file: &Path) -> Self {
        self.stdin = Some(file.to_owned());
        self
    }

    pub fn command(&self) -> Result<Command, String> {
        let mut command = process::command(&self.program);
        command.args(&self.args).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(file) = &self.stdin {
            command.stdin(File::open(file).map_err(|why| format!("{}: {why}", file.display()))?);
        }
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Ok(command)
    }

    /// What the program says when it is called once more: for a call that ended otherwise than it should.
    pub fn words(&self) -> String {
        let said = self
            .command()
            .and_then(|mut call| process::capture(call.stdout(Stdio::piped()).stderr(Stdio::piped())))
            .map(|captured| format!("{}{}", captured.stdout, captured.stderr));
        said.unwrap_or_else(|why| why).trim().lines().last().unwrap_or("nothing").to_owned()
    }
}

/// What one call cost.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub wall: Duration,
    /// User and system time of the process and of every child that was waited for.
    pub cpu: Duration,
    /// Exit code; negative: the signal that ended it.
    pub code: i32,
}

/// Runs it once.
pub fn once(call: &Call) -> Result<Sample, String> {
    let mut command = call.command()?;
    let begin = Instant::now();
    let child = command.spawn().map_err(|why| format!("cannot run {}: {why}", call.program.display()))?;
    let pid = i32::try_from(child.id()).map_err(|why| why.to_string())?;
    watch(pid);
    let (status, usage) = wait4(pid)?;
    let wall = begin.elapsed();
    watch(0);
    let cpu = seconds(usage.ru_utime) + seconds(usage.ru_stime);
    Ok(Sample { wall, cpu, code: exit_code(status) })
}

pub fn exit_code(status: i32) -> i32 {
    let status = ExitStatus::from_raw(status);
    status.code().unwrap_or_else(|| -status.signal().unwrap_or(0))
}

fn seconds(time: libc::timeval) -> Duration {
    let whole = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
    whole + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
}

/// `std` and `nix` have no wait that also tells what the child used (wait4(2)).
fn wait4(pid: i32) -> Result<(i32, libc::rusage), String> {
    let mut status = 0;
    // SAFETY: rusage is plain numbers; all zeroes is a value of it.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to live variables of the types that wait4 writes.
        let ended = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
        if ended == pid {
            return Ok((status, usage));
        }
        let why = std::io::Error::last_os_error();
        if why.kind() != std::io::ErrorKind::Interrupted {
            return Err(format!("cannot wait for a child: {why}"));
        }
    }
}

/// A call that takes longer than this is ended.
const LONGEST: u64 = 60;
static WATCHED: AtomicI32 = AtomicI32::new(0);
static SINCE: AtomicU64 = AtomicU64::new(0);

/// From now on this child is the one that must end in time; 0: none is.
pub fn watch(pid: i32) {
    SINCE.store(now(), Ordering::Relaxed);
    WATCHED.store(pid, Ordering::Release);
}

/// Starts the thread that ends a hanging child. It costs nothing while a child runs.
pub fn start_watchdog() {
    std::thread::spawn(|| {
        loop {
            #[allow(clippy::disallowed_methods, reason = "the watchdog's own clock; nothing waits for it")]
            std::thread::sleep(Duration::from_secs(1));
            let pid = WATCHED.load(Ordering::Acquire);
            if pid > 0 && now().saturating_sub(SINCE.load(Ordering::Relaxed)) > LONGEST {
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid),
                    nix::sys::signal::Signal::SIGKILL,
                );
            }
        }
    });
}

fn now() -> u64 {
    static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_and_code_of_a_call_with_its_children() {
        let sample = once(&Call::new(
            "/bin/sh",
            &["-c", "/bin/sh -c 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done'; exit 7"],
        ))
        .unwrap();
        assert_eq!(sample.code, 7);
        // The loop runs in a grandchild: its time counts.
        assert!(sample.cpu > Duration::from_millis(2), "{sample:?}");
        assert!(once(&Call::new("/no/such/program", &[])).is_err());
    }

    #[test]
    fn a_signal_is_negative() {
        assert_eq!(once(&Call::new("/bin/sh", &["-c", "kill -9 $$"])).unwrap().code, -9);
    }

    #[test]
    fn the_environment_is_the_calls_own() {
        let call = Call::new("/bin/sh", &["-c", "test \"$A\" = b && test -z \"$HOME\""]).set("A", "b");
        assert_eq!(once(&call).unwrap().code, 0);
    }
}
