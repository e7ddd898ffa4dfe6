//! HTTP/1.1 as a fence device's API needs it: POST, one answer, over TCP or TLS, every wait with a deadline.
//!
//! No redirects, cookies, proxies or compression. A connection is kept for the next request while the device lets it stay.

mod answer;

use crate::tcp::{self, TcpLink};
use crate::tls::{self, TlsSettings, TlsStream};
use ocf_lib::deadline::Deadline;
use ocf_lib::fence::FenceError;
use std::fmt;
use std::io::{self, Read, Write};
use zeroize::Zeroizing;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// There is no connection, or it broke.
    Link(tcp::Error),
    /// What came is not HTTP, or is incomplete.
    Protocol(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(error) => error.fmt(f),
            Self::Protocol(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

impl From<tcp::Error> for Error {
    fn from(error: tcp::Error) -> Self {
        Self::Link(error)
    }
}

impl From<Error> for FenceError {
    fn from(error: Error) -> Self {
        match error {
            Error::Link(error) => error.into(),
            Error::Protocol(text) => Self::protocol(text),
        }
    }
}

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// 200 and the like.
    pub status: u16,
    /// The words behind it, as the device wrote them.
    pub reason: String,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// Unpacked from its chunks.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that name, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

enum Link {
    Plain(TcpLink),
    Tls(Box<TlsStream>),
}

impl Link {
    fn set_deadline(&mut self, deadline: Deadline) {
        match self {
            Self::Plain(link) => link.set_deadline(deadline),
            Self::Tls(link) => link.set_deadline(deadline),
        }
    }
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(link) => link.read(buffer),
            Self::Tls(link) => link.read(buffer),
        }
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(link) => link.write(bytes),
            Self::Tls(link) => link.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(link) => link.flush(),
            Self::Tls(link) => link.flush(),
        }
    }
}

/// One request.
#[derive(Clone, Copy)]
pub struct Post<'r> {
    /// `/RPC2`: no blanks, no control characters.
    pub path: &'r str,
    /// Further headers; Host, Content-Length and Connection are written by [`Client::post`].
    pub headers: &'r [(&'r str, &'r str)],
    pub body: &'r [u8],
    /// Ask the device to end the connection with its answer.
    pub close: bool,
    /// The longest body of an answer that is taken. Bytes.
    pub most: usize,
}

/// One device.
pub struct Client {
    host: String,
    port: u16,
    tls: Option<TlsSettings>,
    link: Option<Link>,
    fresh: bool,
}

impl Client {
    /// Plain where `tls` is `None`. `host`: a name, or an address with or without brackets. Nothing is sent yet.
    pub fn new(host: &str, port: u16, tls: Option<TlsSettings>) -> Self {
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host).to_owned();
        Self { host, port, tls, link: None, fresh: true }
    }

    /// As in a URL: `[2001:db8::1]:8080`, without the port where it is the usual one.
    pub fn authority(&self) -> String {
        let usual = if self.tls.is_some() { 443 } else { 80 };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }

    /// Connects, unless a connection is there already. Otherwise the first request does it.
    pub fn connect(&mut self, deadline: Deadline) -> Result<(), Error> {
        if self.link.is_none() {
            let link = match &self.tls {
                None => Link::Plain(TcpLink::connect(&self.host, self.port, deadline)?),
                Some(settings) => {
                    Link::Tls(Box::new(tls::connect(&self.host, self.port, settings, deadline)?))
                }
            };
            self.link = Some(link);
            self.fresh = true;
        }
        Ok(())
    }

    /// Ends the connection; the next request makes another.
    pub fn disconnect(&mut self) {
        self.link = None;
    }

    /// True while no answer has come over the present connection. A device may end one that was kept at any moment, so
    /// that an error on one that is not fresh says little about the device.
    pub const fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Asks and reads the whole answer. After an error the connection is gone.
    ///
    /// # Errors
    /// [`Error::Link`] without an answer, [`Error::Protocol`] with one that is not HTTP or does not come to its end.
    pub fn post(&mut self, post: &Post<'_>, deadline: Deadline) -> Result<Response, Error> {
        self.connect(deadline)?;
        let head = self.head(post);
        let Some(mut link) = self.link.take() else {
            return Err(Error::Protocol("no connection".into()));
        };
        link.set_deadline(deadline);
        // One piece: a device should not see half a request, and one packet is faster than two.
        let mut message = Zeroizing::new(Vec::with_capacity(head.len() + post.body.len()));
        message.extend_from_slice(head.as_bytes());
        message.extend_from_slice(post.body);
        link.write_all(&message)
            .and_then(|()| link.flush())
            .map_err(|error| tcp::told(&format!("sending a request to {}", self.host), &error))?;
        let (response, keep) = answer::read(&mut link, &self.host, post.most)?;
        if keep && !post.close {
            self.link = Some(link);
            self.fresh = false;
        }
        Ok(response)
    }

    fn head(&self, post: &Post<'_>) -> String {
        let mut head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n",
            post.path,
            self.authority(),
            post.body.len()
        );
        for (name, value) in post.headers {
            head.push_str(name);
            head.push_str(": ");
            head.push_str(value);
            head.push_str("\r\n");
        }
        if post.close {
            head.push_str("Connection: close\r\n");
        }
        head.push_str("\r\n");
        head
    }
}

/// One request over a connection that the caller has made, and that ends with it. `host` is what the Host header says.
///
/// # Errors
/// As [`Client::post`].
pub fn post_over<L: tcp::Link + ?Sized>(
    link: &mut L,
    (host, port): (&str, u16),
    request: &Post<'_>,
    deadline: Deadline,
) -> Result<Response, Error> {
    let client = Client::new(host, port, None);
    link.set_deadline(deadline);
    let mut message = Zeroizing::new(Vec::with_capacity(512 + request.body.len()));
    message.extend_from_slice(client.head(request).as_bytes());
    message.extend_from_slice(request.body);
    link.write_all(&message)
        .and_then(|()| link.flush())
        .map_err(|error| tcp::told(&format!("sending a request to {host}"), &error))?;
    answer::read(link, &client.host, request.most).map(|(response, _)| response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread::JoinHandle;
    use std::time::{Duration, Instant};

    const MOST: usize = 1000;

    /// A device that answers each connection's requests in turn; what it heard.
    fn device(answers: &'static [&'static [&'static str]]) -> (u16, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            let mut heard = Vec::new();
            for connection in answers {
                let (mut stream, _) = listener.accept().unwrap();
                for answer in *connection {
                    let mut buffer = [0; 4096];
                    let length = stream.read(&mut buffer).unwrap();
                    heard.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            }
            heard
        });
        (port, thread)
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(5))
    }

    const POST: Post<'_> = Post {
        path: "/p",
        headers: &[("Content-Type", "text/xml")],
        body: b"<a/>",
        close: false,
        most: MOST,
    };

    #[test]
    fn a_connection_is_kept_while_it_lasts() {
        const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        const LAST: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
        let (port, device) = device(&[&[OK, OK, LAST], &[OK]]);
        let mut client = Client::new("127.0.0.1", port, None);
        for fresh in [false, false, true, false] {
            assert_eq!(client.post(&POST, soon()).unwrap().body, b"ok");
            assert_eq!(client.link.is_none(), fresh);
        }
        let heard = device.join().unwrap();
        assert_eq!(
            heard[0],
            format!(
                "POST /p HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 4\r\nContent-Type: text/xml\r\n\r\n<a/>"
            )
        );
        assert_eq!(heard.len(), 4);
        // The device is gone now, and with it the connection that was kept.
        let error = client.post(&POST, soon()).unwrap_err();
        assert!(matches!(error, Error::Link(tcp::Error::Lost(_))) && !client.is_fresh(), "{error:?}");
        assert!(matches!(client.post(&POST, soon()), Err(Error::Link(tcp::Error::Unreachable(_)))));
    }

    #[test]
    fn bytes_behind_an_answer_end_the_connection() {
        let (port, device) =
            device(&[&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n"]]);
        let mut client = Client::new("127.0.0.1", port, None);
        client.post(&POST, soon()).unwrap();
        assert!(client.link.is_none());
        device.join().unwrap();
    }

    #[test]
    fn silence_ends_at_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = Client::new("127.0.0.1", listener.local_addr().unwrap().port(), None);
        let begun = Instant::now();
        let error = client.post(&POST, Deadline::after(Duration::from_millis(100))).unwrap_err();
        assert!(matches!(error, Error::Link(tcp::Error::TimedOut(_))), "{error:?}");
        assert!(begun.elapsed() < Duration::from_secs(3));
    }

    #[test]
    fn the_authority_is_that_of_a_url() {
        for (host, port, want) in
            [("h", 80, "h"), ("h", 8080, "h:8080"), ("[::1]", 80, "[::1]"), ("::1", 81, "[::1]:81")]
        {
            assert_eq!(Client::new(host, port, None).authority(), want);
        }
    }
}
