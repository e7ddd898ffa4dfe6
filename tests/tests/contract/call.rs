//! One call of an agent, as a manager makes it, and what came of it.

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// An agent that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(40);

#[derive(Clone)]
pub struct Call {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    stdin: Vec<u8>,
    /// Redirections of the shell that closes descriptors.
    closed: &'static str,
    user: Option<u32>,
}

/// How a call ended.
pub struct Answer {
    /// Exit code; the negative number of the signal.
    pub code: i32,
    pub out: String,
    pub err: String,
    /// What was called and with what, for messages.
    pub what: String,
}

impl Call {
    /// With no environment at all.
    pub fn new(program: &Path) -> Self {
        Self {
            program: program.to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            stdin: Vec::new(),
            closed: "",
            user: None,
        }
    }

    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl Into<OsString>) -> Self {
        let name = name.as_ref().to_owned();
        self.env.retain(|(other, _)| *other != name);
        self.env.push((name, value.into()));
        self
    }

    pub fn param(self, name: &str, value: impl Into<OsString>) -> Self {
        self.env(format!("OCF_RESKEY_{name}"), value)
    }

    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    pub fn by_nobody(mut self) -> Self {
        self.user = Some(65534);
        self
    }

    fn command(&self) -> Command {
        let mut command = if self.closed.is_empty() {
            Command::new(&self.program)
        } else {
            let mut shell = Command::new("/bin/sh");
            shell.arg("-c").arg(format!("exec \"$0\" \"$@\" {}", self.closed)).arg(&self.program);
            shell
        };
        command.args(&self.args).env_clear().envs(self.env.iter().map(|(k, v)| (k, v))).current_dir("/");
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command.process_group(0);
        command
    }

    pub fn run(&self) -> Answer {
        let what = self.told();
        let (mut input, mut out, mut err) = (memory(), memory(), memory());
        input.write_all(&self.stdin).unwrap();
        input.rewind().unwrap();
        let mut child = self
            .command()
            .stdin(input)
            .stdout(out.try_clone().unwrap())
            .stderr(err.try_clone().unwrap())
            .spawn()
            .unwrap_or_else(|why| panic!("{what}: {why}"));
        let until = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > until {
                let _ = killpg(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGKILL);
                let _ = child.wait();
                panic!("{what}: still running after {PATIENCE:?}");
            }
            std::thread::sleep(Duration::from_micros(300));
        };
        let code = status.code().unwrap_or_else(|| -status.signal().unwrap_or(0));
        Answer { code, out: text(&mut out), err: text(&mut err), what }
    }

    fn told(&self) -> String {
        let shown = |text: &OsStr| {
            let text: String = text.to_string_lossy().chars().take(60).collect();
            format!("{text:?}")
        };
        let name = self.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let args: Vec<_> = self.args.iter().map(|arg| shown(arg)).collect();
        let env: Vec<_> = self
            .env
            .iter()
            .filter(|(name, _)| !matches!(name.to_str(), Some("PATH" | "OCF_ROOT")))
            .map(|(name, value)| format!("{}={}", name.to_string_lossy(), shown(value)))
            .collect();
        let stdin = if self.stdin.is_empty() {
            String::new()
        } else {
            format!(" < {:?}", String::from_utf8_lossy(&self.stdin))
        };
        format!("{} {} {}{stdin}", env.join(" "), name, args.join(" "))
    }
}

fn memory() -> File {
    memfd_create(c"output", MFdFlags::MFD_CLOEXEC).unwrap().into()
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Answer {
    /// All that is needed to understand a failure.
    pub fn told(&self) -> String {
        let cut = |text: &str| text.chars().take(1500).collect::<String>();
        format!(
            "\n  {}\n  code {}\n  stdout: {}\n  stderr: {}",
            self.what,
            self.code,
            cut(&self.out),
            cut(&self.err)
        )
    }

    #[track_caller]
    pub fn is(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}", self.told());
        self
    }

    #[track_caller]
    pub fn one_of(self, codes: &[i32]) -> Self {
        assert!(codes.contains(&self.code), "not one of {codes:?}:{}", self.told());
        self
    }

    /// A resource agent that fails says why, in lines that a manager can show: each begins where a line begins,
    /// none is empty or holds a control character, and none is endless.
    #[track_caller]
    pub fn says_why(self) -> Self {
        let lines: Vec<&str> = self.err.lines().filter(|line| line.contains("ocf-exit-reason:")).collect();
        assert!(!lines.is_empty(), "no exit reason:{}", self.told());
        for line in lines {
            let reason = line.strip_prefix("ocf-exit-reason:");
            let reason = reason.unwrap_or_else(|| panic!("not at the start of a line:{}", self.told()));
            assert!(!reason.trim().is_empty(), "empty exit reason:{}", self.told());
            assert!(!reason.chars().any(char::is_control), "control characters:{}", self.told());
            assert!(reason.chars().count() <= 1000, "{} characters:{}", reason.chars().count(), self.told());
        }
        assert!(!self.err.contains("panicked") && !self.err.contains("internal error"), "{}", self.told());
        self
    }
}
