//! Syslog by the datagram socket, RFC 3164 form: no library state, no fork, never blocks.

use crate::local_time;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// Severities of RFC 3164.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Crit = 2,
    Err = 3,
    Warning = 4,
    Notice = 5,
    Info = 6,
    Debug = 7,
}

/// The code of a facility name, as in `syslog.conf(5)`; `None` for an unknown name.
pub fn facility(name: &str) -> Option<u8> {
    const NAMES: [&str; 12] = [
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    ];
    if let Some(n) = name.strip_prefix("local").and_then(|n| n.parse::<u8>().ok()).filter(|n| *n < 8) {
        return Some(16 + n);
    }
    NAMES.iter().position(|n| *n == name).and_then(|p| u8::try_from(p).ok())
}

/// Where messages go. A missing or full socket loses them, as syslog(3) does: logging never fails a call.
#[derive(Clone, Debug)]
pub struct Syslog {
    path: PathBuf,
}

impl Default for Syslog {
    fn default() -> Self {
        Self { path: PathBuf::from("/dev/log") }
    }
}

impl Syslog {
    /// A socket at another path, for tests.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Sends one message `<PRI>Mmm dd hh:mm:ss TAG: TEXT`. NUL and newlines become spaces.
    pub fn send(&self, facility: u8, severity: Severity, tag: &str, text: &str) {
        let Ok(socket) = UnixDatagram::unbound() else {
            return;
        };
        let _ = socket.set_nonblocking(true);
        let pri = u32::from(facility) * 8 + severity as u32;
        let clean: String =
            text.chars().map(|c| if matches!(c, '\0' | '\n' | '\r') { ' ' } else { c }).collect();
        let line = format!("<{pri}>{} {tag}: {clean}", local_time::format("%b %e %H:%M:%S"));
        let _ = socket.send_to(line.as_bytes(), &self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facilities_have_the_codes_of_the_rfc() {
        assert_eq!(facility("daemon"), Some(3));
        assert_eq!(facility("local7"), Some(23));
        assert_eq!(facility("local8"), None);
        assert_eq!(facility("none"), None);
    }

    #[test]
    fn a_message_is_one_datagram_with_priority_and_tag() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let server = UnixDatagram::bind(&path).unwrap();
        Syslog::at(&path).send(3, Severity::Err, "IPaddr2(vip)[7]", "ERROR: a\nb");
        let mut buf = [0u8; 256];
        let n = server.recv(&mut buf).unwrap();
        let text = String::from_utf8_lossy(&buf[..n]).into_owned();
        assert!(text.starts_with("<27>"), "{text}");
        assert!(text.ends_with(" IPaddr2(vip)[7]: ERROR: a b"), "{text}");
    }

    #[test]
    fn without_a_server_nothing_happens() {
        Syslog::at(Path::new("/nonexistent/log")).send(3, Severity::Info, "t", "m");
    }
}
