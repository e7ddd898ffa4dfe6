//! Runs the program and keeps what it said.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_fence_xenapi");

/// How one run ended.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Run {
    /// Asserts status, standard output and that standard error holds `words`.
    #[track_caller]
    pub fn is(&self, code: i32, stdout: &str, words: &str) -> &Self {
        assert_eq!((self.code, self.stdout.as_str()), (Some(code), stdout), "{self:?}");
        assert!(self.stderr.contains(words), "no '{words}' in {self:?}");
        self
    }
}

/// The program, in a clean environment.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("PYTHONWARNINGS", "ignore")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Starts it and hands it `stdin`.
pub fn started(mut command: Command, stdin: &str) -> Child {
    let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
    // a program that does not read its input is no fault
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child
}

/// Waits for its end, at most a minute.
pub fn ended(mut child: Child, begun: Instant) -> Run {
    let mut out = child.stdout.take().unwrap();
    let mut err = child.stderr.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = err.read_to_end(&mut text);
        text
    });
    let id = i32::try_from(child.id()).unwrap();
    let (tell, told) = std::sync::mpsc::channel::<()>();
    let guard = std::thread::spawn(move || {
        if told.recv_timeout(Duration::from_secs(60)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = nix_kill(id);
        }
    });
    let mut stdout = Vec::new();
    let _ = out.read_to_end(&mut stdout);
    let status = child.wait().unwrap();
    let took = begun.elapsed();
    drop(tell);
    let _ = guard.join();
    let stderr = reader.join().unwrap();
    Run {
        code: status.code(),
        signal: status.signal(),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
        took,
    }
}

fn nix_kill(id: i32) -> std::io::Result<()> {
    Command::new("kill").args(["-KILL", &id.to_string()]).status().map(drop)
}

/// One run of any program with options on standard input.
pub fn run(program: &Path, args: &[&str], stdin: &str) -> Run {
    let mut command = command(program);
    command.args(args);
    let begun = Instant::now();
    ended(started(command, stdin), begun)
}

/// Our program, options on standard input.
pub fn given(stdin: &str) -> Run {
    run(Path::new(PROGRAM), &[], stdin)
}

/// Our program, options on the command line.
pub fn called(args: &[&str]) -> Run {
    run(Path::new(PROGRAM), args, "")
}

/// URL, user and password: `lines` follow and win.
pub fn at(url: &str, lines: &str) -> String {
    format!("session_url={url}\nusername=root\npassword=s3cret1\nplug=node1\n{lines}\n")
}

/// A link to the program under another of its names, in a directory of its own.
pub fn linked(directory: &Path, name: &str) -> PathBuf {
    let path = directory.join(name);
    std::os::unix::fs::symlink(PROGRAM, &path).unwrap();
    path
}
