//! Log lines of a fence agent: standard error, syslog, debug file. No secret passes.

use crate::local_time;
use crate::secret::Secret;
use crate::syslog::{Severity, Syslog};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// How serious a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Debug,
    Info,
    Warning,
    Error,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }

    const fn severity(self) -> Severity {
        match self {
            Self::Debug => Severity::Debug,
            Self::Info => Severity::Info,
            Self::Warning => Severity::Warning,
            Self::Error => Severity::Err,
        }
    }
}

/// Syslog's facility "user", as Python's `syslog` module has it by default.
const USER: u8 = 1;

/// A secret shorter than this cannot be told from ordinary text and is not searched for. Bytes.
const SHORTEST_MASKED: usize = 3;

struct Sink {
    stderr: Option<Box<dyn Write + Send>>,
    debug_file: Option<std::fs::File>,
    syslog: Option<Syslog>,
    tag: String,
    threshold: Level,
    secrets: Vec<Secret>,
}

/// A handle to the log of this run; copies write to the same place.
#[derive(Clone)]
pub struct Log(Arc<Mutex<Sink>>);

impl Log {
    /// Warnings and errors go to `stderr` and `syslog`, marked with `tag`.
    pub fn new(stderr: Box<dyn Write + Send>, syslog: Option<Syslog>, tag: &str) -> Self {
        Self(Arc::new(Mutex::new(Sink {
            stderr: Some(stderr),
            debug_file: None,
            syslog,
            tag: tag.to_owned(),
            threshold: Level::Warning,
            secrets: Vec::new(),
        })))
    }

    /// A log that goes nowhere, for tests of single functions.
    pub fn nowhere() -> Self {
        Self::new(Box::new(std::io::sink()), None, "")
    }

    fn with<T>(&self, change: impl FnOnce(&mut Sink) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Nothing more to standard error.
    pub fn be_quiet(&self) {
        self.with(|sink| sink.stderr = None);
    }

    /// Everything, down to debug.
    pub fn be_verbose(&self) {
        self.with(|sink| sink.threshold = Level::Debug);
    }

    pub fn is_verbose(&self) -> bool {
        self.with(|sink| sink.threshold == Level::Debug)
    }

    /// Appends to `path` as well. It is created with mode 0600 and not followed when it is a link:
    /// a debug file in `/tmp` must not be somebody else's way to a file of root's.
    pub fn open_debug_file(&self, path: &Path) -> std::io::Result<()> {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NOCTTY | libc::O_NONBLOCK)
            .open(path)?;
        self.with(|sink| sink.debug_file = Some(file));
        Ok(())
    }

    /// From now on these bytes appear as `[set]`.
    pub fn never_show(&self, secret: &[u8]) {
        self.with(|sink| sink.secrets.push(Secret::new(secret.to_vec())));
    }

    pub fn error(&self, text: impl AsRef<str>) {
        self.write(Level::Error, text.as_ref());
    }

    pub fn warning(&self, text: impl AsRef<str>) {
        self.write(Level::Warning, text.as_ref());
    }

    pub fn info(&self, text: impl AsRef<str>) {
        self.write(Level::Info, text.as_ref());
    }

    pub fn debug(&self, text: impl AsRef<str>) {
        self.write(Level::Debug, text.as_ref());
    }

    fn write(&self, level: Level, text: &str) {
        self.with(|sink| {
            if level < sink.threshold {
                return;
            }
            let text = one_line(&masked(text, &sink.secrets));
            let line = format!("{} {}: {text}\n", stamp(), level.word());
            // A log that cannot be written is no reason to leave a node unfenced.
            if let Some(stderr) = &mut sink.stderr {
                let _ = stderr.write_all(line.as_bytes());
                let _ = stderr.flush();
            }
            if let Some(file) = &mut sink.debug_file {
                let _ = file.write_all(line.as_bytes());
            }
            if let Some(syslog) = &sink.syslog {
                syslog.send(USER, level.severity(), &sink.tag, &text);
            }
        });
    }
}

/// `2026-11-21 02:45:08,114`
fn stamp() -> String {
    let millis = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.subsec_millis());
    format!("{},{millis:03}", local_time::format("%Y-%m-%d %H:%M:%S"))
}

fn masked(text: &str, secrets: &[Secret]) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        let lossy = String::from_utf8_lossy(secret.expose());
        if lossy.len() >= SHORTEST_MASKED && text.contains(lossy.as_ref()) {
            text = text.replace(lossy.as_ref(), "[set]");
        }
    }
    text
}

/// A device's answer must not be able to forge a line of the log.
fn one_line(text: &str) -> String {
    text.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured() -> (Log, Arc<Mutex<Vec<u8>>>) {
        let buffer = Arc::new(Mutex::new(Vec::new()));
        let log = Log::new(Box::new(Shared(Arc::clone(&buffer))), None, "fence_x");
        (log, buffer)
    }

    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn text(buffer: &Mutex<Vec<u8>>) -> String {
        String::from_utf8(buffer.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_line_has_time_level_and_text_and_is_one_line() {
        let (log, buffer) = captured();
        log.error("a\nERROR: forged");
        log.debug("unseen");
        let line = text(&buffer);
        assert_eq!(line.get(23..), Some(" ERROR: a ERROR: forged\n"), "{line}");
        assert_eq!(line.get(19..20), Some(","));
    }

    #[test]
    fn secrets_are_masked_everywhere() {
        let (log, buffer) = captured();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("debug");
        log.open_debug_file(&path).unwrap();
        log.be_verbose();
        log.never_show(b"hunter2");
        log.never_show(b"");
        log.debug("sent hunter2 to it");
        assert!(text(&buffer).contains("sent [set] to it"));
        assert!(!std::fs::read_to_string(&path).unwrap().contains("hunter2"));
    }

    #[test]
    fn the_debug_file_is_private_and_no_link() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("debug");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let (log, _) = captured();
        assert!(log.open_debug_file(&link).is_err());
        log.open_debug_file(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn quiet_silences_standard_error_only() {
        let (log, buffer) = captured();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("debug");
        log.open_debug_file(&path).unwrap();
        log.be_quiet();
        log.error("seen in the file");
        assert_eq!(text(&buffer), "");
        assert!(std::fs::read_to_string(&path).unwrap().contains("seen"));
    }
}
