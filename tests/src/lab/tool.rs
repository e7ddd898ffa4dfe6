//! Running the host's tools: the answer is their stdout, the error their own words.

use super::failure::LabError;
use std::ffi::OsStr;
use std::process::{Command, Stdio};

/// Runs it to its end; stdout of a success.
pub(crate) fn output(command: &mut Command) -> Result<String, LabError> {
    let output = command
        .stdin(Stdio::null())
        .env("LC_ALL", "C")
        .output()
        .map_err(LabError::io(format!("run {}", command.get_program().display())))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let tail: Vec<&str> = words.lines().rev().take(8).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    Err(LabError::Refused(format!("{} failed ({}): {}", shown(command), output.status, tail.join("\n"))))
}

/// [`output`] of a program with these arguments.
pub(crate) fn run<A: AsRef<OsStr>>(program: &str, args: &[A]) -> Result<String, LabError> {
    output(Command::new(program).args(args))
}

/// A program that takes minutes and starts others: it ends with all of them when the thread that runs it does, also when that is
/// killed. `setpriv` lets the kernel end `unshare` then, and that its process namespace.
pub(crate) fn leashed(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args([
        "--pdeathsig",
        "KILL",
        "unshare",
        "--pid",
        "--fork",
        "--kill-child=KILL",
        "--mount-proc",
        program,
    ]);
    command
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.take(6).map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::needs::met_or_blocked;

    fn root() -> Vec<String> {
        let missing = (!nix::unistd::geteuid().is_root()).then(|| "root (namespaces)".to_owned());
        missing.into_iter().collect()
    }

    #[test]
    fn a_leashed_program_answers_as_itself() {
        if !met_or_blocked("a_leashed_program_ends_with_the_thread_that_runs_it", &root()) {
            return;
        }
        assert_eq!(
            output(leashed("sh").args(["-c", "echo $$"])).unwrap(),
            "1\n",
            "it has a process namespace of its own"
        );
        let why = output(leashed("sh").args(["-c", "echo no disk >&2; exit 3"])).unwrap_err().to_string();
        assert!(why.ends_with("no disk"), "{why}");
    }

    #[test]
    fn a_leashed_program_ends_with_the_thread_that_runs_it() {
        if !met_or_blocked("a_leashed_program_ends_with_the_thread_that_runs_it", &root()) {
            return;
        }
        let mark = "7654.321";
        std::thread::spawn(move || {
            // Its child is not waited for: the thread ends at once.
            let _ = leashed("sh")
                .args(["-c", &format!("sleep {mark} & sleep {mark}")])
                .stdin(Stdio::null())
                .spawn();
            std::thread::sleep(std::time::Duration::from_millis(300));
        })
        .join()
        .unwrap();
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while sleeping(mark) {
            assert!(std::time::Instant::now() < end, "still there");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    fn sleeping(mark: &str) -> bool {
        std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).split('\0').any(|word| word == mark)
        })
    }
}
