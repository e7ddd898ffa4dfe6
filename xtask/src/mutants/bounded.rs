//! Running a program that may hang: it and all its children are killed when its time is over.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How it ended, and what it said.
pub struct Ended {
    /// The exit status; `None` after a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs it for `limit` at most. `Err`: it could not be started, or did not end.
pub fn run(command: &mut Command, limit: Duration) -> Result<Ended, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let told = |why: std::io::Error| format!("{name}: {why}");
    let (mut out, mut err) = (tempfile::tempfile().map_err(told)?, tempfile::tempfile().map_err(told)?);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(out.try_clone().map_err(told)?)
        .stderr(err.try_clone().map_err(told)?)
        .process_group(0)
        .spawn()
        .map_err(told)?;
    let until = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(told)? {
            break status;
        }
        if Instant::now() > until {
            if let Ok(pid) = i32::try_from(child.id()) {
                let group = nix::unistd::Pid::from_raw(pid);
                let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
            }
            let _ = child.wait();
            return Err(format!("{name} was not done after {} s", limit.as_secs()));
        }
        #[allow(clippy::disallowed_methods, reason = "a task, not an agent")]
        std::thread::sleep(Duration::from_millis(5));
    };
    Ok(Ended { code: status.code(), stdout: text(&mut out), stderr: text(&mut err) })
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    let _ = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: u64) -> Result<Ended, String> {
        run(crate::process::command("sh").args(["-c", script]), Duration::from_secs(limit))
    }

    #[test]
    fn what_it_said_and_how_it_ended() {
        let ended = shell("echo out; echo err >&2; exit 3", 20).unwrap();
        assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(3), "out\n", "err\n"));
    }

    #[test]
    fn one_that_hangs_is_killed_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let late = dir.path().join("late");
        let script = format!("(sleep 3; touch {}) & sleep 60", late.display());
        let begun = Instant::now();
        assert_eq!(shell(&script, 1).err().unwrap(), "sh was not done after 1 s");
        assert!(begun.elapsed() < Duration::from_secs(30));
        #[allow(clippy::disallowed_methods, reason = "test")]
        std::thread::sleep(Duration::from_millis(2500));
        assert!(!late.exists());
    }
}
