//! HTTP/1.1 as a fence device's API needs it: POST, one answer, over TCP or TLS, every wait with a deadline.
//!
//! No redirects, cookies, proxies or compression. A connection is kept for the next request while the device lets it stay.

use crate::tcp::{self, TcpLink};
use crate::tls::{self, TlsSettings, TlsStream};
use ocf_lib::deadline::Deadline;
use ocf_lib::fence::FenceError;
use std::fmt;
use std::io::{self, Read, Write};
use zeroize::Zeroizing;

/// All headers together. Bytes; devices send a few hundred.
const LONGEST_HEAD: usize = 32 << 10;

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
        let mut reader = Reader { link: &mut link, buffer: Vec::new(), at: 0, host: &self.host };
        let (response, keep) = read_response(&mut reader, post.most)?;
        // What stands behind the answer belongs to no request: such a connection is not used again.
        let clean = reader.at == reader.buffer.len();
        if keep && clean && !post.close {
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
    let mut reader = Reader { link, buffer: Vec::new(), at: 0, host: &client.host };
    read_response(&mut reader, request.most).map(|(response, _)| response)
}

/// Reads in pieces and hands out lines and counted bytes.
struct Reader<'l, R: ?Sized> {
    link: &'l mut R,
    buffer: Vec<u8>,
    at: usize,
    host: &'l str,
}

impl<R: Read + ?Sized> Reader<'_, R> {
    fn held(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    /// More bytes into the buffer; false at the end.
    fn more(&mut self) -> Result<bool, Error> {
        if self.at > 0 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        let mut piece = [0; 16 << 10];
        let length = self
            .link
            .read(&mut piece)
            .map_err(|error| tcp::told(&format!("reading the answer of {}", self.host), &error))?;
        self.buffer.extend_from_slice(piece.get(..length).unwrap_or_default());
        Ok(length > 0)
    }

    fn ended<T>(&self) -> Result<T, Error> {
        Err(tcp::Error::Lost(format!("{} ended the connection before its answer was complete", self.host))
            .into())
    }

    /// A line without its end; at most `most` bytes.
    fn line(&mut self, most: usize) -> Result<String, Error> {
        loop {
            if let Some(end) = self.held().iter().position(|byte| *byte == b'\n') {
                let line = self.held().get(..end).unwrap_or_default();
                let text = String::from_utf8_lossy(line).trim_end_matches('\r').to_owned();
                self.at += end + 1;
                return Ok(text);
            }
            if self.held().len() > most {
                return Err(Error::Protocol(format!("{} does not speak http: a line has no end", self.host)));
            }
            if !self.more()? {
                return self.ended();
            }
        }
    }

    /// Exactly so many bytes, appended to `to`.
    fn take(&mut self, mut length: usize, to: &mut Vec<u8>) -> Result<(), Error> {
        loop {
            let held = self.held();
            let piece = held.get(..length.min(held.len())).unwrap_or_default();
            to.extend_from_slice(piece);
            length -= piece.len();
            self.at += piece.len();
            if length == 0 {
                return Ok(());
            }
            if !self.more()? {
                return self.ended();
            }
        }
    }
}

/// The answer, and whether the connection may be used again.
fn read_response<R: Read + ?Sized>(
    reader: &mut Reader<'_, R>,
    most: usize,
) -> Result<(Response, bool), Error> {
    loop {
        let (mut response, modern) = read_head(reader)?;
        // 100 Continue and its kin come before the answer (RFC 9110, 15.2).
        if (100..200).contains(&response.status) {
            continue;
        }
        let has = |name: &str, word: &str| {
            response
                .headers
                .iter()
                .filter(|(n, _)| n == name)
                .any(|(_, value)| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
        };
        let mut keep = if modern { !has("connection", "close") } else { has("connection", "keep-alive") };
        let host = reader.host;
        let too_long = || Err(Error::Protocol(format!("the answer of {host} is longer than {most} bytes")));
        let length = response.header("content-length").map(|text| text.trim().parse::<usize>());
        let mut body = Vec::new();
        if matches!(response.status, 204 | 304) {
            // Never has a body (RFC 9112, 6.3).
        } else if has("transfer-encoding", "chunked") {
            read_chunks(reader, most, &mut body)?;
        } else {
            match length {
                Some(Ok(length)) if length > most => return too_long(),
                Some(Ok(length)) => reader.take(length, &mut body)?,
                Some(Err(_)) => {
                    return Err(Error::Protocol(format!("{host} sends a content-length that is no number")));
                }
                None => {
                    keep = false;
                    read_to_end(reader, most, &mut body)?;
                }
            }
        }
        response.body = body;
        return Ok((response, keep));
    }
}

/// Status line and headers, and whether it is HTTP/1.1.
fn read_head<R: Read + ?Sized>(reader: &mut Reader<'_, R>) -> Result<(Response, bool), Error> {
    let first = reader.line(LONGEST_HEAD)?;
    let mut words = first.splitn(3, ' ');
    let version = words.next().unwrap_or_default();
    let status = words.next().and_then(|word| word.parse::<u16>().ok()).filter(|n| (100..600).contains(n));
    let (true, Some(status)) = (version.starts_with("HTTP/1."), status) else {
        let start: String = first.chars().filter(|c| !c.is_control()).take(40).collect();
        return Err(Error::Protocol(format!("{} does not speak http: it says '{start}'", reader.host)));
    };
    let modern = version != "HTTP/1.0";
    let reason =
        words.next().unwrap_or_default().trim().chars().filter(|c| !c.is_control()).take(80).collect();
    let mut response = Response { status, reason, ..Response::default() };
    let mut all = first.len();
    loop {
        let line = reader.line(LONGEST_HEAD)?;
        if line.is_empty() {
            return Ok((response, modern));
        }
        all += line.len();
        if all > LONGEST_HEAD {
            return Err(Error::Protocol(format!("{} sends headers without end", reader.host)));
        }
        match line.split_once(':') {
            Some((name, value)) => {
                response.headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
            }
            None => return Err(Error::Protocol(format!("{} sends a header without a colon", reader.host))),
        }
    }
}

fn read_chunks<R: Read + ?Sized>(
    reader: &mut Reader<'_, R>,
    most: usize,
    body: &mut Vec<u8>,
) -> Result<(), Error> {
    let wrong =
        |host: &str| Err(Error::Protocol(format!("the chunks of the answer of {host} do not fit together")));
    loop {
        let line = reader.line(LONGEST_HEAD)?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        // from_str_radix would take a sign.
        let length =
            usize::from_str_radix(digits, 16).ok().filter(|_| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(length) = length else { return wrong(reader.host) };
        if length == 0 {
            // Trailers, then an empty line.
            while !reader.line(LONGEST_HEAD)?.is_empty() {}
            return Ok(());
        }
        if length > most.saturating_sub(body.len()) {
            return Err(Error::Protocol(format!(
                "the answer of {} is longer than {most} bytes",
                reader.host
            )));
        }
        reader.take(length, body)?;
        if !reader.line(2)?.is_empty() {
            return wrong(reader.host);
        }
    }
}

/// A body that ends with the connection.
fn read_to_end<R: Read + ?Sized>(
    reader: &mut Reader<'_, R>,
    most: usize,
    body: &mut Vec<u8>,
) -> Result<(), Error> {
    loop {
        let held = reader.held().len();
        reader.take(held, body)?;
        if body.len() > most {
            return Err(Error::Protocol(format!(
                "the answer of {} is longer than {most} bytes",
                reader.host
            )));
        }
        if !reader.more()? {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread::JoinHandle;
    use std::time::{Duration, Instant};

    const MOST: usize = 1000;

    /// What is read of an answer that comes in pieces of `step` bytes.
    fn read(text: &str, step: usize) -> Result<(Response, bool), Error> {
        struct Pieces<'t>(&'t [u8], usize);
        impl Read for Pieces<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let length = self.1.min(self.0.len()).min(buffer.len());
                buffer[..length].copy_from_slice(&self.0[..length]);
                self.0 = &self.0[length..];
                Ok(length)
            }
        }
        let mut pieces = Pieces(text.as_bytes(), step);
        let mut reader = Reader { link: &mut pieces, buffer: Vec::new(), at: 0, host: "h" };
        read_response(&mut reader, MOST)
    }

    #[test]
    fn answers_of_every_form() {
        for (text, body, kept) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", true),
            ("HTTP/1.1 200 OK\nCONTENT-LENGTH:5\n\nhello", "hello", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: Close\r\n\r\nhello", "hello", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello", "hello", true),
            ("HTTP/1.1 200 OK\r\n\r\nhello", "hello", false),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\r\ncontent-length:0\r\n\r\n", "", true),
            ("HTTP/1.1 204 No\r\n\r\n", "", true),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nhe\r\n003\r\nllo\r\n0\r\nT: 1\r\n\r\n",
                "hello",
                true,
            ),
        ] {
            for step in [1, 3, 4096] {
                let (response, keep) = read(text, step).unwrap();
                assert_eq!(
                    (String::from_utf8(response.body).unwrap().as_str(), keep),
                    (body, kept),
                    "{text}"
                );
            }
        }
        let (response, _) =
            read("HTTP/1.1 503 Try Later\r\nRetry-After: 7\r\ncontent-length: 0\r\n\r\n", 9).unwrap();
        assert_eq!((response.status, response.reason.as_str()), (503, "Try Later"));
        assert_eq!(response.header("retry-after"), Some("7"));
    }

    #[test]
    fn half_an_answer_is_none() {
        for text in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
        ] {
            assert!(matches!(read(text, 7), Err(Error::Link(tcp::Error::Lost(_)))), "{text}");
        }
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for text in [
            "SSH-2.0-OpenSSH_9.2\r\n",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 OK\r\n\r\n",
            "HTTP/1.1 999 x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n",
        ] {
            assert!(matches!(read(text, 5), Err(Error::Protocol(_))), "{text}");
        }
        assert!(matches!(
            read(&format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1001)), 99),
            Err(Error::Protocol(_))
        ));
        assert!(matches!(read(&"x".repeat(70_000), 999), Err(Error::Protocol(_))));
        let headers = "a: b\r\n".repeat(10_000);
        assert!(matches!(read(&format!("HTTP/1.1 200 OK\r\n{headers}"), 999), Err(Error::Protocol(_))));
    }

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
