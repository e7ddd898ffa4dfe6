//! One call of an agent, as a manager makes it, and what came of it.

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// An agent that takes longer hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Folders of programs, as the managers' environments have them.
pub const PATH: &str = "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A call in the making. It begins with no environment at all.
#[derive(Clone)]
pub struct Call {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    stdin: Vec<u8>,
    closed: &'static str,
    limits: String,
    user: Option<u32>,
    patience: Duration,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Code(i32),
    Signal(i32),
    /// Killed after the patience was over.
    Hung,
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit {code}"),
            Self::Signal(signal) => write!(f, "died by signal {signal}"),
            Self::Hung => f.write_str("hung"),
        }
    }
}

/// How a call ended and what it said.
#[derive(Clone, Debug)]
pub struct Answer {
    pub end: End,
    pub out: String,
    pub err: String,
    pub took: Duration,
    /// The call, as a person could repeat it.
    pub call: String,
}

impl Call {
    /// Its first argument: the action of a resource agent.
    pub fn action(&self) -> String {
        self.args.first().map(|action| action.to_string_lossy().into_owned()).unwrap_or_default()
    }

    pub fn new(program: &Path) -> Self {
        Self {
            program: program.to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            stdin: Vec::new(),
            closed: "",
            limits: String::new(),
            user: None,
            patience: PATIENCE,
        }
    }

    /// `action` of a resource agent, as Pacemaker 2.1 calls it; `monitor` is a probe.
    pub fn pacemaker(program: &Path, type_name: &str, action: &str) -> Self {
        Self::new(program)
            .arg(action)
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .env("OCF_ROOT", "/usr/lib/ocf")
            .env("OCF_RA_VERSION_MAJOR", "1")
            .env("OCF_RA_VERSION_MINOR", "1")
            .env("OCF_RESOURCE_INSTANCE", "judged")
            .env("OCF_RESOURCE_TYPE", type_name)
            .env("OCF_RESOURCE_PROVIDER", "judged")
            .env("OCF_EXIT_REASON_PREFIX", "ocf-exit-reason:")
            .env("HA_RSCTMP", "/run/resource-agents")
            // Pacemaker 2.1.5 of Debian 12; agents take its absence for a manager of 2008.
            .param("crm_feature_set", "3.16.2")
            .param("CRM_meta_timeout", "20000")
            .param("CRM_meta_interval", "0")
            .param("CRM_meta_name", action)
    }

    /// A fence agent with `lines` on its standard input, as Pacemaker's fencer calls it.
    pub fn fencer(program: &Path, lines: &str) -> Self {
        Self::new(program).env("PATH", PATH).env("LC_ALL", "C").stdin(lines)
    }

    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    #[must_use]
    pub fn args<'a>(self, args: impl IntoIterator<Item = &'a str>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl Into<OsString>) -> Self {
        let name = name.as_ref().to_owned();
        self.env.retain(|(other, _)| *other != name);
        self.env.push((name, value.into()));
        self
    }

    /// A parameter of a resource agent.
    #[must_use]
    pub fn param(self, name: &str, value: impl Into<OsString>) -> Self {
        self.env(format!("OCF_RESKEY_{name}"), value)
    }

    #[must_use]
    pub fn params<'a>(self, pairs: impl IntoIterator<Item = &'a (String, String)>) -> Self {
        pairs.into_iter().fold(self, |call, (name, value)| call.param(name, value.as_str()))
    }

    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.env.retain(|(other, _)| other != name);
        self
    }

    #[must_use]
    pub fn without_environment(mut self) -> Self {
        self.env.clear();
        self
    }

    /// Turns a probe into a recurring monitor.
    #[must_use]
    pub fn recurring(self) -> Self {
        self.param("CRM_meta_interval", "10000")
    }

    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Descriptors to close first, as the shell writes it: `0<&- 2>&-`.
    #[must_use]
    pub fn closing(mut self, redirections: &'static str) -> Self {
        self.closed = redirections;
        self
    }

    /// What the shell is to say first, such as `ulimit -n 6`.
    #[must_use]
    pub fn limited(mut self, limits: &str) -> Self {
        limits.clone_into(&mut self.limits);
        self
    }

    /// As uid and gid 65534.
    #[must_use]
    pub fn by_nobody(mut self) -> Self {
        self.user = Some(65534);
        self
    }

    #[must_use]
    pub fn patience(mut self, span: Duration) -> Self {
        self.patience = span;
        self
    }

    fn command(&self) -> Command {
        #[allow(
            clippy::disallowed_methods,
            reason = "the judge is its own program: it shares nothing with ocf-lib"
        )]
        let mut command = if self.closed.is_empty() && self.limits.is_empty() {
            Command::new(&self.program)
        } else {
            let mut shell = Command::new("/bin/sh");
            let first = if self.limits.is_empty() { ":" } else { &self.limits };
            let script = format!("{first}; exec \"$0\" \"$@\" {}", self.closed);
            shell.arg("-c").arg(script).arg(&self.program);
            shell
        };
        command.args(&self.args).env_clear().envs(self.env.iter().map(|(k, v)| (k, v))).current_dir("/");
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command.process_group(0);
        command
    }

    /// Starts it with its output thrown away, for a call that is going to be killed.
    pub fn start(&self) -> std::io::Result<Child> {
        let mut input = File::from(memfd_create(c"input", MFdFlags::MFD_CLOEXEC)?);
        input.write_all(&self.stdin)?;
        input.rewind()?;
        self.command().stdin(input).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    }

    /// Runs it to its end, or kills its process group when it hangs. `Err`: it could not be started.
    pub fn run(&self) -> Result<Answer, String> {
        self.run_watched(|_, _| {})
    }

    /// The same; `watch` is told, again and again while it runs, its process group and for how long it has run.
    pub fn run_watched(&self, mut watch: impl FnMut(Pid, Duration)) -> Result<Answer, String> {
        let call = self.told();
        let cannot = |why: std::io::Error| format!("cannot start {call}: {why}");
        let memory =
            || memfd_create(c"output", MFdFlags::MFD_CLOEXEC).map(File::from).map_err(std::io::Error::from);
        let (mut input, mut out, mut err) =
            (memory().map_err(cannot)?, memory().map_err(cannot)?, memory().map_err(cannot)?);
        input.write_all(&self.stdin).and_then(|()| input.rewind()).map_err(cannot)?;
        let allowed = crate::limits::of_call(self.patience)?;
        let started = Instant::now();
        let mut child = self
            .command()
            .stdin(input)
            .stdout(out.try_clone().map_err(cannot)?)
            .stderr(err.try_clone().map_err(cannot)?)
            .spawn()
            .map_err(cannot)?;
        let end = loop {
            if let Some(status) = child.try_wait().map_err(cannot)? {
                break status.code().map_or_else(|| End::Signal(status.signal().unwrap_or(0)), End::Code);
            }
            if started.elapsed() > allowed.span {
                kill_group(&child);
                let _ = child.wait();
                if let Some(why) = allowed.cut() {
                    return Err(why);
                }
                break End::Hung;
            }
            watch(Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX)), started.elapsed());
            // One that does not end at once is waiting: looking less often leaves the processor to it.
            let quick = started.elapsed() < Duration::from_millis(500);
            pause(if quick { Duration::from_micros(300) } else { Duration::from_millis(3) });
        };
        Ok(Answer { end, out: text(&mut out), err: text(&mut err), took: started.elapsed(), call })
    }

    /// The call in the words of a shell, long values cut.
    fn told(&self) -> String {
        let shown = |text: &OsStr| {
            let plain: String = text.to_string_lossy().chars().take(60).collect();
            if !plain.is_empty()
                && plain.chars().all(|c| c.is_ascii_alphanumeric() || "_-./:,@%+=".contains(c))
            {
                plain
            } else {
                format!("{plain:?}")
            }
        };
        let mut words: Vec<String> = self
            .env
            .iter()
            .filter(|(name, _)| !matches!(name.to_str(), Some("PATH" | "LC_ALL" | "OCF_ROOT" | "HA_RSCTMP")))
            .map(|(name, value)| format!("{}={}", name.to_string_lossy(), shown(value)))
            .collect();
        words.push(self.program.display().to_string());
        words.extend(self.args.iter().map(|arg| shown(arg)));
        if !self.stdin.is_empty() {
            words.push(format!(
                "<<< {:?}",
                String::from_utf8_lossy(&self.stdin).chars().take(400).collect::<String>()
            ));
        }
        words.join(" ")
    }
}

/// SIGKILL to the whole process group, as a cluster manager ends an agent at its timeout.
pub fn kill_group(child: &Child) {
    if let Ok(pid) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// Lets time pass.
#[allow(clippy::disallowed_methods, reason = "the judge is its own program: it shares nothing with ocf-lib")]
pub fn pause(span: Duration) {
    std::thread::sleep(span);
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    let _ = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Answer {
    /// The exit code; `None` when it hung or died by a signal.
    pub fn code(&self) -> Option<i32> {
        match self.end {
            End::Code(code) => Some(code),
            End::Signal(_) | End::Hung => None,
        }
    }

    pub fn is(&self, code: i32) -> bool {
        self.end == End::Code(code)
    }

    /// The exit reasons on standard error, as Pacemaker finds them.
    pub fn reasons(&self) -> Vec<&str> {
        self.err
            .lines()
            .filter_map(|line| line.split_once("ocf-exit-reason:"))
            .map(|(_, reason)| reason)
            .collect()
    }
}
