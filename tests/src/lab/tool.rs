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

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.take(6).map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
