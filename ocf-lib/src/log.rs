//! Log messages, where and as the OCF shell library puts them.
//!
//! A terminal on standard input gets `TAG: MESSAGE` on stderr and nothing else. Otherwise: logd if it is
//! in use, else syslog and/or a file, else stderr with a date. Debug messages only with `HA_debug`.

use crate::cmd::{Cmd, Runner, System};
use crate::deadline::Deadline;
use crate::env::Env;
use crate::local_time;
use crate::syslog::{self, Severity, Syslog};
use std::cell::RefCell;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Crit,
    Error,
    Warning,
    Info,
    Debug,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Crit => "CRIT",
            Self::Error => "ERROR",
            Self::Warning => "WARNING",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
        }
    }

    const fn severity(self) -> Severity {
        match self {
            Self::Crit => Severity::Crit,
            Self::Error => Severity::Err,
            Self::Warning => Severity::Warning,
            Self::Info => Severity::Info,
            Self::Debug => Severity::Debug,
        }
    }
}

/// Where this call's messages go, decided once.
pub struct Log {
    tag: String,
    sink: Sink,
    debug: bool,
    syslog: Syslog,
    captured: RefCell<Vec<String>>,
}

enum Sink {
    /// `TAG: MESSAGE` on stderr: a person is watching.
    Terminal,
    /// rgmanager: `<level> message` on stdout.
    Rgmanager,
    Files {
        logd: bool,
        facility: Option<u8>,
        file: Option<String>,
        debug_file: Option<String>,
        date: String,
    },
    /// Kept for a test to read.
    Captured,
}

impl Log {
    /// Decides from the environment as the OCF library does; `tag` is `type(instance)[pid]`.
    pub fn from_env(tag: String, env: &Env) -> Self {
        let sink = if std::io::stdin().is_terminal() {
            Sink::Terminal
        } else {
            let path = |name| env.get_nonempty(name).map(str::to_owned);
            let facility = ["HA_LOGFACILITY", "PCMK_logfacility"]
                .into_iter()
                .find_map(|name| env.get_nonempty(name))
                .filter(|name| *name != "none")
                .and_then(syslog::facility);
            let file = path("HA_LOGFILE");
            Sink::Files {
                logd: env.is_true("HA_LOGD") || env.is_true("HA_use_logd"),
                facility,
                debug_file: path("HA_DEBUGLOG").filter(|debug| file.as_ref() != Some(debug)),
                file,
                date: env.get("HA_DATEFMT").unwrap_or("%b %d %T ").to_owned(),
            }
        };
        let debug = env.get_nonempty("HA_debug").is_some_and(|level| level != "0");
        Self { tag, sink, debug, syslog: Syslog::default(), captured: RefCell::default() }
    }

    /// rgmanager's own form.
    pub fn rgmanager(tag: String) -> Self {
        Self {
            tag,
            sink: Sink::Rgmanager,
            debug: false,
            syslog: Syslog::default(),
            captured: RefCell::default(),
        }
    }

    /// Keeps the messages, for [`Log::captured`].
    pub fn capture() -> Self {
        Self {
            tag: String::new(),
            sink: Sink::Captured,
            debug: true,
            syslog: Syslog::default(),
            captured: RefCell::default(),
        }
    }

    pub fn captured(&self) -> Vec<String> {
        self.captured.borrow().clone()
    }

    /// Writes one message. Nothing that goes wrong here is an error of the action.
    pub fn write(&self, level: Level, text: &str) {
        if level == Level::Debug && !self.debug {
            return;
        }
        let message = format!("{}: {}", level.word(), one_line(text));
        match &self.sink {
            Sink::Terminal => stderr(&format!("{}: {message}", self.tag)),
            Sink::Captured => self.captured.borrow_mut().push(message),
            Sink::Rgmanager => {
                let _ = writeln!(std::io::stdout(), "<{}> {}", level.word().to_lowercase(), one_line(text));
            }
            Sink::Files { logd, facility, file, debug_file, date } => {
                if *logd && self.logd(level, &message) {
                    return;
                }
                let now = local_time::format(date);
                if let Some(facility) = facility {
                    self.syslog.send(*facility, level.severity(), &self.tag, &message);
                }
                if level == Level::Debug {
                    match debug_file {
                        Some(path) => append(path, &format!("{}:\t{now}{message}", self.tag)),
                        None if facility.is_none() => stderr(&format!("{now}{message}")),
                        None => {}
                    }
                    return;
                }
                if let Some(path) = file {
                    append(path, &format!("{now}{}:    {message}", self.tag));
                }
                if facility.is_none() && file.is_none() {
                    stderr(&format!("{now}{message}"));
                }
                if let Some(path) = debug_file {
                    append(path, &format!("{}:\t{now}{message}", self.tag));
                }
            }
        }
    }

    fn logd(&self, level: Level, message: &str) -> bool {
        let mut cmd = Cmd::new("ha_logger").args(["-t", &self.tag]);
        if level == Level::Debug {
            cmd = cmd.args(["-D", "ha-debug"]);
        }
        System
            .run(&cmd.arg(message), Deadline::after(Duration::from_secs(1)))
            .is_ok_and(|output| output.success())
    }
}

/// A line on stderr; a closed stderr is no reason to fail.
pub(crate) fn stderr(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn append(path: &str, line: &str) {
    let opened = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(libc::O_NONBLOCK)
        .open(path);
    if let Ok(mut file) = opened {
        let _ = file.write_all(format!("{line}\n").as_bytes());
    }
}

/// The limit keeps a reason readable in one line of `crm_mon`.
const REASON_LIMIT: usize = 300;

/// One line of bounded length: newlines and control characters become blanks, runs of blanks one. A manager shows what
/// follows the last `ocf-exit-reason:` on stderr, so a quoted value must not bring one of its own.
pub(crate) fn one_line(text: &str) -> String {
    let text = text.replace("ocf-exit-reason:", "ocf-exit-reason ");
    let mut out = String::with_capacity(text.len().min(REASON_LIMIT));
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
        if out.len() > REASON_LIMIT {
            let cut = (0..=REASON_LIMIT).rev().find(|i| out.is_char_boundary(*i)).unwrap_or(0);
            out.truncate(cut);
            out.push_str("...");
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(pairs: &[(&str, &str)]) -> Log {
        // Tests run without a terminal on stdin under nextest and in CI; do not depend on it.
        let env = Env::from_pairs(pairs.iter().map(|(k, v)| (*k, *v)));
        let mut log = Log::from_env("Dummy(d)[1]".into(), &env);
        if matches!(log.sink, Sink::Terminal) {
            log.sink = Sink::Files {
                logd: false,
                facility: None,
                file: env.get_nonempty("HA_LOGFILE").map(str::to_owned),
                debug_file: env.get_nonempty("HA_DEBUGLOG").map(str::to_owned),
                date: env.get("HA_DATEFMT").unwrap_or("%b %d %T ").to_owned(),
            };
        }
        log
    }

    #[test]
    fn the_file_gets_the_date_the_tag_and_the_level() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ha.log");
        let log = files(&[("HA_LOGFILE", path.to_str().unwrap()), ("HA_DATEFMT", "D "), ("HA_debug", "1")]);
        log.write(Level::Error, "no\nway");
        log.write(Level::Warning, "hm");
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text, "D Dummy(d)[1]:    ERROR: no way\nD Dummy(d)[1]:    WARNING: hm\n");
    }

    #[test]
    fn debug_goes_to_its_own_file_and_only_on_request() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("debug");
        let name = path.to_str().unwrap();
        files(&[("HA_DEBUGLOG", name), ("HA_DATEFMT", "D "), ("HA_debug", "0")]).write(Level::Debug, "x");
        assert!(!path.exists());
        files(&[("HA_DEBUGLOG", name), ("HA_DATEFMT", "D "), ("HA_debug", "1")]).write(Level::Debug, "x");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "Dummy(d)[1]:\tD DEBUG: x\n");
    }
}
