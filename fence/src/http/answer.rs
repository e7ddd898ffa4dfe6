//! One answer of an HTTP/1.1 server, read from its connection: head, then a body of a length, in chunks, or up to the end.

use super::{Error, Response};
use crate::tcp;
use std::io::Read;

/// All headers together. Bytes; devices send a few hundred.
const LONGEST_HEAD: usize = 32 << 10;

/// The answer, and whether the connection may be used again. `host` is for messages.
///
/// # Errors
/// [`Error::Link`] without a whole answer, [`Error::Protocol`] with one that is not HTTP, or longer than `most` bytes.
pub fn read<R: Read + ?Sized>(link: &mut R, host: &str, most: usize) -> Result<(Response, bool), Error> {
    let mut reader = Reader { link, buffer: Vec::new(), at: 0, host };
    let (response, keep) = read_response(&mut reader, most)?;
    // What stands behind the answer belongs to no request: such a connection is not used again.
    Ok((response, keep && reader.at == reader.buffer.len()))
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
    use std::io;

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
        super::read(&mut Pieces(text.as_bytes(), step), "h", MOST)
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
}
