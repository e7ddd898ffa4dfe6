//! TLS before 1.2, which rustls does not speak, through the administrator's `gnutls-cli`.
//!
//! RILOE and iLO 1 to 3 speak TLS 1.0 at best, with 3DES or RC4 and keys of 512 or 1024 bits. Debian's OpenSSL has neither cipher any
//! more, `GnuTLS` has both. The program gets its input after it has reported the certificate: what the certificate is worth is decided
//! here by the same options as everywhere, before the password is sent.

use crate::tcp::{Error, Link, ended_by_signal, interrupted};
use crate::tls::{TlsSettings, Trust, certificates, in_hex, is_pinned};
use ocf_lib::cmd::{Cmd, CmdError};
use ocf_lib::conversation::Conversation;
use ocf_lib::deadline::Deadline;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::time::Duration;

/// What precedes the bytes of the device on the program's standard output.
const BEGINS: &[u8] = b"- Simple Client Mode:\n\n";

/// More than that precedes no connection. Bytes; two certificates have 6,000.
const LONGEST_REPORT: usize = 256 << 10;

/// The longest single wait, after which a signal is looked for.
const NAP: Duration = Duration::from_millis(500);

/// Which versions are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// From 1.0 on.
    From10,
    /// 1.0 alone (`tls1.0=1`).
    Only10,
    /// SSL 3.0 (`notls=1`), where the installed `GnuTLS` still has it.
    Ssl30,
}

impl Versions {
    /// Keys of 1024 bits and SHA-1 are all that these devices have.
    const fn priority(self) -> &'static str {
        match self {
            Self::From10 => {
                "NORMAL:+VERS-TLS1.1:+VERS-TLS1.0:+3DES-CBC:+ARCFOUR-128:+SHA1:%COMPAT:%PROFILE_VERY_WEAK:\
                 %VERIFY_ALLOW_SIGN_WITH_SHA1"
            }
            Self::Only10 => {
                "NORMAL:-VERS-ALL:+VERS-TLS1.0:+3DES-CBC:+ARCFOUR-128:+SHA1:%COMPAT:%PROFILE_VERY_WEAK:\
                 %VERIFY_ALLOW_SIGN_WITH_SHA1"
            }
            Self::Ssl30 => {
                "NORMAL:-VERS-ALL:+VERS-SSL3.0:+3DES-CBC:+ARCFOUR-128:+SHA1:%COMPAT:%PROFILE_VERY_WEAK:\
                 %VERIFY_ALLOW_SIGN_WITH_SHA1"
            }
        }
    }
}

/// A connection through the program.
pub struct OldTls {
    child: Conversation,
    deadline: Deadline,
    /// Bytes of the device that came with the report.
    held: Vec<u8>,
}

impl OldTls {
    /// Connects; what is judged is what [`crate::tls::connect`] judges.
    pub fn connect(
        program: &Path,
        host: &str,
        port: u16,
        settings: &TlsSettings,
        versions: Versions,
        deadline: Deadline,
    ) -> Result<Self, Error> {
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        // No shell reads it, but gnutls-cli must not take it for an option.
        if host.is_empty() || host.starts_with('-') || host.bytes().any(|byte| byte <= b' ') {
            return Err(Error::Settings(format!("'{}' is no name of a host", host.escape_debug())));
        }
        let start = |verify: &[&str]| {
            let cmd = Cmd::new(program)
                .args(["--priority", versions.priority(), "--print-cert", "--port", &port.to_string()])
                .args(verify)
                .arg(host);
            Self::start(cmd, host, deadline)
        };
        match &settings.trust {
            Trust::Anything => Ok(start(&["--insecure"])?.0),
            Trust::System => Ok(start(&[])?.0),
            Trust::Pinned(pins) => {
                let (link, shown) = start(&["--insecure"])?;
                match shown {
                    Some(shown) if is_pinned(pins, &shown) => Ok(link),
                    shown => Err(untrusted("it is not the one of ssl_fingerprint", shown.as_ref())),
                }
            }
            Trust::File(path) => {
                let own = certificates("ssl_ca_file ", path)?;
                let (link, shown) = start(&["--insecure"])?;
                if shown.is_some_and(|shown| own.contains(&shown)) {
                    return Ok(link);
                }
                drop(link);
                Ok(start(&["--x509cafile", &path.to_string_lossy()])?.0)
            }
        }
    }

    /// A connection that stands, and the device's certificate.
    fn start(
        cmd: Cmd,
        host: &str,
        deadline: Deadline,
    ) -> Result<(Self, Option<CertificateDer<'static>>), Error> {
        let child = Conversation::start(cmd).map_err(|error| {
            match error {
            CmdError::Missing { .. } => Error::NoCommonTls(
                "the device's tls is older than 1.2, and gnutls-cli is not installed (package gnutls-bin, or \
                 gnutls-utils)"
                    .into(),
            ),
            other @ (CmdError::TimedOut { .. } | CmdError::Stuck { .. } | CmdError::Io { .. }) => {
                Error::Settings(other.to_string())
            }
        }
        })?;
        let mut link = Self { child, deadline, held: Vec::new() };
        let mut report = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            if let Some(at) = report.windows(BEGINS.len()).position(|part| part == BEGINS) {
                link.held = report.split_off(at + BEGINS.len());
                let shown = CertificateDer::pem_slice_iter(&report).find_map(Result::ok);
                return Ok((link, shown));
            }
            match link.child_read(&mut buffer) {
                Ok(0) => return Err(why(host, &report, &link.child.complaint())),
                Ok(length) => report.extend_from_slice(buffer.get(..length).unwrap_or_default()),
                Err(error) => return Err(crate::tcp::told(&format!("old tls with {host}"), &error)),
            }
            if report.len() > LONGEST_REPORT {
                return Err(Error::NoCommonTls("gnutls-cli says too much".into()));
            }
        }
    }

    fn child_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if interrupted() {
                return Err(ended_by_signal());
            }
            if self.deadline.expired() {
                return Err(ErrorKind::TimedOut.into());
            }
            match self.child.read(buffer, self.deadline.within(NAP)) {
                Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
                other => return other,
            }
        }
    }
}

impl Link for OldTls {
    fn set_deadline(&mut self, deadline: Deadline) {
        self.deadline = deadline;
    }
}

impl Read for OldTls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.held.is_empty() {
            return self.child_read(buffer);
        }
        let length = self.held.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(self.held.drain(..length)) {
            *to = from;
        }
        Ok(length)
    }
}

impl Write for OldTls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            if interrupted() {
                return Err(ended_by_signal());
            }
            if self.deadline.expired() {
                return Err(ErrorKind::TimedOut.into());
            }
            match self.child.write(bytes, self.deadline.within(NAP)) {
                Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn untrusted(reason: &str, shown: Option<&CertificateDer<'_>>) -> Error {
    let fingerprint = shown.map_or_else(|| "unknown".into(), |shown| in_hex(&Sha256::digest(shown).into()));
    Error::Untrusted { reason: reason.into(), fingerprint }
}

/// Why the program ended before there was a connection.
fn why(host: &str, report: &[u8], complaint: &str) -> Error {
    let text = String::from_utf8_lossy(report);
    let shown = CertificateDer::pem_slice_iter(report).find_map(Result::ok);
    if let Some(line) =
        text.lines().find_map(|line| line.strip_prefix("- Status: The certificate is NOT trusted."))
    {
        let reason = line.trim().trim_end_matches('.').to_lowercase();
        return untrusted(
            if reason.is_empty() { "gnutls-cli does not trust it" } else { &reason },
            shown.as_ref(),
        );
    }
    let said = complaint
        .lines()
        .chain(text.lines())
        .map(|line| line.trim().trim_start_matches("*** "))
        .filter(|line| !line.is_empty())
        .find(|line| {
            ["Fatal", "error", "Could not", "Cannot", "cannot", "Error"]
                .iter()
                .any(|word| line.contains(word))
        })
        .unwrap_or("it said nothing");
    let said: String = said.chars().filter(|c| !c.is_control()).take(160).collect();
    if said.contains("onnect to") || said.contains("resolve") {
        Error::Unreachable(format!("gnutls-cli: {said}"))
    } else {
        Error::NoCommonTls(format!("old tls with {host}: gnutls-cli: {said}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_words_are_understood() {
        let report = b"Processed 1 CA certificate(s).\n- Status: The certificate is NOT trusted. The certificate issuer is unknown. \n*** PKI verification of server certificate failed...\n";
        let error = why("h", report, "");
        assert!(
            matches!(&error, Error::Untrusted { reason, .. } if reason == "the certificate issuer is unknown"),
            "{error:?}"
        );
        let error = why(
            "h",
            b"Connecting to '1.2.3.4:443'...\n",
            "Could not connect to 1.2.3.4:443: Connection refused",
        );
        assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
        let error = why("h", b"", "*** Fatal error: A TLS fatal alert has been received.");
        assert!(matches!(&error, Error::NoCommonTls(text) if text.contains("fatal alert")), "{error:?}");
    }

    #[test]
    fn a_host_cannot_be_an_option() {
        let settings = TlsSettings { trust: Trust::Anything };
        for host in ["-V", "", "a b", "--insecure"] {
            let result = OldTls::connect(
                Path::new("/bin/false"),
                host,
                1,
                &settings,
                Versions::From10,
                Deadline::after(Duration::from_secs(1)),
            );
            assert!(matches!(result, Err(Error::Settings(_))), "{host}");
        }
    }
}
