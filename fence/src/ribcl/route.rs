//! The way to the device: TLS, perhaps through a proxy, perhaps older than what is still spoken.

use crate::tcp::{Error, Link, TcpLink, told};
use crate::tls::{self, TlsSettings};
use ocf_lib::deadline::Deadline;
use std::io::{Read, Write};

/// An HTTP proxy that connects through (CONNECT, RFC 9110 9.3.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    pub host: String,
    pub port: u16,
}

/// Whether TLS before 1.2 is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Legacy {
    /// Never.
    No,
}

/// Where the device is and how to get there.
#[derive(Clone, Debug)]
pub struct Route {
    /// A name or an address.
    pub host: String,
    pub port: u16,
    pub tls: TlsSettings,
    pub legacy: Legacy,
    pub proxy: Option<Proxy>,
}

impl Route {
    /// A new connection, encrypted, to a device whose certificate has been judged.
    pub(super) fn open(&self, deadline: Deadline) -> Result<Box<dyn Link>, Error> {
        let tcp = match &self.proxy {
            None => TcpLink::connect(&self.host, self.port, deadline)?,
            Some(proxy) => through(proxy, &self.host, self.port, deadline)?,
        };
        Ok(Box::new(tls::over(tcp, &self.host, &self.tls)?))
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
