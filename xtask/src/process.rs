//! Running a program. Stdin is always empty: nothing here may wait for a person that is not there.
#![allow(
    clippy::disallowed_methods,
    reason = "the tasks are not agents: cargo, apt-get and the agents under measurement are started here"
)]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

/// What a program that ended has left.
pub struct Captured {
    pub ok: bool,
    pub stdout: String,
    pub stderr: String,
}

pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// The cargo that runs this task, in the root of the workspace.
pub fn cargo() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = command(cargo);
    command.current_dir(crate::workspace::root());
    // What cargo set for this program describes xtask, and would make build scripts run again.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "CARGO_BIN_NAME" {
            command.env_remove(name);
        }
    }
    command
}

/// True for a variable that is set to anything but nothing, 0 or false.
pub fn env_flag(name: &str) -> bool {
    std::env::var(name).is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}

/// The value of an environment variable of ours or of cargo.
pub fn env_value(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Runs it with the terminal's output. `Ok(false)`: it ran and failed.
pub fn succeeds(command: &mut Command) -> Result<bool, String> {
    command.status().map(|status| status.success()).map_err(|why| cannot_run(command, &why))
}

pub fn capture(command: &mut Command) -> Result<Captured, String> {
    let output = command.output().map_err(|why| cannot_run(command, &why))?;
    Ok(Captured {
        ok: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Stdout of a program that must succeed.
pub fn output_of(command: &mut Command) -> Result<String, String> {
    let captured = capture(command)?;
    if captured.ok {
        return Ok(captured.stdout);
    }
    let said = captured.stderr.trim();
    Err(format!("{} failed: {}", shown(command), said.lines().last().unwrap_or("it said nothing")))
}

/// Runs it and shows its output line by line while it runs; answers both streams, for their summary.
pub fn show_and_keep(command: &mut Command) -> Result<Captured, String> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|why| cannot_run(command, &why))?;
    let out = child.stdout.take();
    let err = child.stderr.take();
    let (stdout, stderr) = std::thread::scope(|scope| {
        let out = scope.spawn(|| out.map(|pipe| relay(pipe, |line| print!("{line}"))).unwrap_or_default());
        let err = scope.spawn(|| err.map(|pipe| relay(pipe, |line| eprint!("{line}"))).unwrap_or_default());
        (out.join().unwrap_or_default(), err.join().unwrap_or_default())
    });
    let status = child.wait().map_err(|why| cannot_run(command, &why))?;
    Ok(Captured { ok: status.success(), stdout, stderr })
}

fn relay(pipe: impl Read, show: impl Fn(&str)) -> String {
    let mut kept = String::new();
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    while let Ok(count) = reader.read_until(b'\n', &mut line) {
        if count == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        show(&text);
        kept.push_str(&text);
        line.clear();
    }
    kept
}

/// True when the program exists and `--version` (or another harmless word) succeeds.
pub fn answers(command: &mut Command) -> bool {
    capture(command).is_ok_and(|captured| captured.ok)
}

fn shown(command: &Command) -> String {
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    words.join(" ")
}

fn cannot_run(command: &Command, why: &std::io::Error) -> String {
    format!("cannot run {}: {}", command.get_program().to_string_lossy(), why.to_string().to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_kept_and_a_failure_is_told_in_the_tools_words() {
        let mut ok = command("sh");
        assert_eq!(output_of(ok.args(["-c", "echo hi"])).unwrap(), "hi\n");
        let mut bad = command("sh");
        let why = output_of(bad.args(["-c", "echo first >&2; echo no such disk >&2; exit 3"])).unwrap_err();
        assert!(why.ends_with("failed: no such disk"), "{why}");
        assert!(
            output_of(&mut command("no-such-program")).unwrap_err().starts_with("cannot run no-such-program")
        );
    }

    #[test]
    fn stdin_is_empty() {
        assert_eq!(output_of(&mut command("cat")).unwrap(), "");
    }

    #[test]
    fn both_streams_are_kept_apart() {
        let mut sh = command("sh");
        let captured = show_and_keep(sh.args(["-c", "echo out; echo err >&2; exit 1"])).unwrap();
        assert_eq!(
            (captured.ok, captured.stdout.as_str(), captured.stderr.as_str()),
            (false, "out\n", "err\n")
        );
    }
}
