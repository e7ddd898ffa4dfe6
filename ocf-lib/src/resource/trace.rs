//! `trace_ra`: a file per call with the environment, every message and every child process.
//!
//! Same switch, same place and name as the shell library's trace, so that `crm resource trace` works;
//! the content is ours: what was called, how it ended and how long it took. Secrets are masked.

use crate::cmd::{Cmd, CmdError, Output};
use crate::env::{Env, is_true};
use crate::local_time;
use crate::resource::context;
use std::cell::RefCell;
use std::fs::File;
use std::io::Write;
use std::os::fd::FromRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// An open trace, or none.
pub struct Trace {
    file: Option<RefCell<File>>,
    started: Instant,
}

impl Trace {
    pub fn off() -> Self {
        Self { file: None, started: Instant::now() }
    }

    /// Opens the trace when `OCF_TRACE_RA` or the parameter `trace_ra` says so. A trace that cannot be
    /// opened is no trace: it never fails the action.
    pub fn from_env(type_name: &str, action: &str, env: &Env, secrets: &[&str]) -> Self {
        let wanted = ["OCF_TRACE_RA", "OCF_RESKEY_trace_ra"]
            .into_iter()
            .any(|name| env.get(name).is_some_and(is_true));
        if !wanted {
            return Self::off();
        }
        let file = open(type_name, action, env);
        let trace = Self { file: file.map(RefCell::new), started: Instant::now() };
        for (name, value) in env.iter() {
            let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
            let hidden = secrets.iter().any(|secret| name.strip_prefix("OCF_RESKEY_") == Some(secret))
                || looks_secret(&name);
            trace.raw(&format!("{name}={}", if hidden { "[set]" } else { &value }));
        }
        trace
    }

    /// One message.
    pub fn line(&self, text: &str) {
        if self.file.is_some() {
            self.raw(&format!("+{:.3} {text}", self.started.elapsed().as_secs_f64()));
        }
    }

    /// One child process: its argv, how it ended, how long it took, what it said.
    pub fn command(&self, cmd: &Cmd, result: &Result<Output, CmdError>, took: Duration) {
        if self.file.is_none() {
            return;
        }
        match result {
            Ok(output) => {
                self.line(&format!("ran {cmd}: {} after {:.3} s", output.how_it_ended(), took.as_secs_f64()));
                for line in String::from_utf8_lossy(&output.stderr).lines() {
                    self.line(&format!("  stderr: {line}"));
                }
            }
            Err(error) => self.line(&format!("ran {cmd}: {error}")),
        }
    }

    fn raw(&self, text: &str) {
        if let Some(file) = &self.file {
            let _ = writeln!(file.borrow_mut(), "{text}");
        }
    }
}

/// Names under which a caller's environment may carry a secret of some other resource or service.
fn looks_secret(name: &str) -> bool {
    let lower = name.to_lowercase();
    ["passw", "secret", "token", "private_key"].iter().any(|part| lower.contains(part))
}

fn open(type_name: &str, action: &str, env: &Env) -> Option<File> {
    if let Some(target) = env.get_nonempty("OCF_TRACE_FILE") {
        if let Ok(fd @ 3..=9) = target.parse::<i32>() {
            // SAFETY: fcntl only answers whether the descriptor is open; the caller of the agent handed it
            // to us by number, nobody else in this process owns it.
            return unsafe { (libc::fcntl(fd, libc::F_GETFD) >= 0).then(|| File::from_raw_fd(fd)) };
        }
        return Path::new(target).is_absolute().then(|| create(Path::new(target))).flatten();
    }
    let base = env.get_nonempty("OCF_RESKEY_trace_dir").map_or_else(
        || PathBuf::from(env.get_nonempty("HA_VARLIB").unwrap_or("/var/lib/heartbeat")).join("trace_ra"),
        PathBuf::from,
    );
    let dir = base.join(type_name);
    std::fs::create_dir_all(&dir).ok()?;
    let instance = context::instance(env).replace('/', "_");
    create(&dir.join(format!("{instance}.{action}.{}", local_time::format("%Y-%m-%d.%H:%M:%S"))))
}

fn create(path: &Path) -> Option<File> {
    std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_trace(dir: &Path) -> String {
        let file = std::fs::read_dir(dir.join("Dummy")).unwrap().next().unwrap().unwrap();
        let name = file.file_name().into_string().unwrap();
        assert!(name.starts_with("d1.start.2"), "{name}");
        std::fs::read_to_string(file.path()).unwrap()
    }

    #[test]
    fn holds_environment_and_children_but_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let env = Env::from_pairs([
            ("OCF_RESKEY_trace_ra", "1"),
            ("OCF_RESKEY_trace_dir", dir.path().to_str().unwrap()),
            ("OCF_RESOURCE_INSTANCE", "d1"),
            ("OCF_RESKEY_key", "s3cret"),
            ("OTHER_PASSWORD", "s3cret"),
            ("OCF_RESKEY_nic", "eth0"),
        ]);
        let trace = Trace::from_env("Dummy", "start", &env, &["key"]);
        let output = Output { code: Some(1), stderr: b"busy\n".to_vec(), ..Output::default() };
        trace.command(&Cmd::new("nft").arg("-f"), &Ok(output), Duration::from_millis(5));
        let text = one_trace(dir.path());
        assert!(text.contains("OCF_RESKEY_nic=eth0\n") && text.contains("OCF_RESKEY_key=[set]\n"), "{text}");
        assert!(
            text.contains("ran nft -f: exited 1 after 0.005 s") && text.contains("stderr: busy"),
            "{text}"
        );
        assert!(!text.contains("s3cret"));
    }

    #[test]
    fn is_off_unless_asked_for() {
        let trace = Trace::from_env("Dummy", "start", &Env::default(), &[]);
        assert!(trace.file.is_none());
    }
}
