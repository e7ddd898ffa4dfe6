//! The way to the device: TLS, perhaps through a proxy, perhaps older than what is still spoken.

use super::old_tls::{OldTls, Versions};
use crate::tcp::{Error, Link, TcpLink, told};
use crate::tls::{self, TlsSettings};
use ocf_lib::cmd::which;
use ocf_lib::deadline::Deadline;
use std::io::{Read, Write};
use std::path::PathBuf;

/// An HTTP proxy that connects through (CONNECT, RFC 9110 9.3.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    pub host: String,
    pub port: u16,
}

/// When TLS before 1.2 is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldVersions {
    /// With a device that speaks nothing newer.
    IfNeeded,
    /// Always.
    Always(Versions),
}

/// Where the device is and how to get there.
#[derive(Clone, Debug)]
pub struct Route {
    /// A name or an address.
    pub host: String,
    pub port: u16,
    pub tls: TlsSettings,
    pub old: OldVersions,
    /// What speaks it.
    pub gnutls_cli: PathBuf,
    pub proxy: Option<Proxy>,
}

impl Route {
    /// A new connection, encrypted, to a device whose certificate has been judged.
    pub(super) fn open(&mut self, deadline: Deadline) -> Result<Box<dyn Link>, Error> {
        if let OldVersions::Always(versions) = self.old {
            return self.open_old(versions, deadline);
        }
        let tcp = match &self.proxy {
            None => TcpLink::connect(&self.host, self.port, deadline)?,
            Some(proxy) => through(proxy, &self.host, self.port, deadline)?,
        };
        let error = match tls::over(tcp, &self.host, &self.tls) {
            Ok(link) => return Ok(Box::new(link)),
            Err(error) => error,
        };
        if !matches!(error, Error::NoCommonTls(_)) || self.proxy.is_some() {
            return Err(error);
        }
        if which(self.gnutls_cli.as_os_str()).is_none() {
            return Err(Error::NoCommonTls(format!(
                "{error}; if the device's tls is older than 1.2, gnutls-cli is needed and not installed (package gnutls-bin)"
            )));
        }
        let link = self.open_old(Versions::From10, deadline)?;
        // From now on without the first attempt.
        self.old = OldVersions::Always(Versions::From10);
        Ok(link)
    }

    fn open_old(&self, versions: Versions, deadline: Deadline) -> Result<Box<dyn Link>, Error> {
        if self.proxy.is_some() {
            return Err(Error::Settings("tls before 1.2 cannot go through ilo_proxyhost".into()));
        }
        let link = OldTls::connect(&self.gnutls_cli, &self.host, self.port, &self.tls, versions, deadline)?;
        Ok(Box::new(link))
    }

    /// True when TLS before 1.2 is what the device is spoken to in.
    pub const fn is_old(&self) -> bool {
        matches!(self.old, OldVersions::Always(_))
    }
}

/// More than that is no answer of a proxy. Bytes.
const LONGEST_HEAD: usize = 8192;

/// A connection through the proxy.
fn through(proxy: &Proxy, host: &str, port: u16, deadline: Deadline) -> Result<TcpLink, Error> {
    let about = |error: Error| match error {
        Error::Unreachable(text) => Error::Unreachable(format!("the proxy: {text}")),
        Error::TimedOut(text) => Error::TimedOut(format!("the proxy: {text}")),
        Error::Lost(text) => Error::Lost(format!("the proxy: {text}")),
        other @ (Error::Settings(_)
        | Error::Untrusted { .. }
        | Error::NoCommonTls(_)
        | Error::Interrupted) => other,
    };
    let mut link = TcpLink::connect(&proxy.host, proxy.port, deadline).map_err(about)?;
    if host.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
        return Err(Error::Settings(format!("'{}' is no name of a host", host.escape_debug())));
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let bare = if bare.contains(':') { format!("[{bare}]") } else { bare.to_owned() };
    let request = format!("CONNECT {bare}:{port} HTTP/1.1\r\nHost: {bare}:{port}\r\n\r\n");
    link.write_all(request.as_bytes()).map_err(|error| about(told("asking for a connection", &error)))?;
    // Byte by byte: what follows the empty line belongs to TLS.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && !head.ends_with(b"\n\n") {
        let mut byte = [0];
        match link.read(&mut byte) {
            Ok(0) => return Err(about(Error::Lost("it ended the connection".into()))),
            Ok(_) => head.push(byte[0]),
            Err(error) => return Err(about(told("waiting for a connection", &error))),
        }
        if head.len() > LONGEST_HEAD {
            return Err(Error::Unreachable("the proxy does not speak http".into()));
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let first: String =
        head.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(80).collect();
    let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    if status.is_some_and(|status| status.len() == 3 && status.starts_with('2')) {
        Ok(link)
    } else {
        Err(Error::Unreachable(format!("the proxy makes no connection to {bare}:{port}: '{first}'")))
    }
}
