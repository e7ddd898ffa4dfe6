//! Questions to `multipathd` over its socket: each direction is a length (`size_t`) and a text that ends with a zero.

use super::key::Key;
use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

/// The abstract address that every version listens on (`libmpathutil`, `DEFAULT_SOCKET`).
const ADDRESS: &str = "/org/kernel/linux/storage/multipathd";
/// No answer is that long. Bytes.
const LONGEST: usize = 1 << 20;

/// The reservation key that multipathd would register over a path that comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Configured {
    Key(Key),
    None,
}

/// Asks for the reservation key of a map.
///
/// # Errors
/// Of the socket, and when multipathd knows no such map.
pub fn configured_key(map: &str, limit: Duration) -> io::Result<Configured> {
    parse(&ask(&format!("getprkey map {map}"), limit)?)
}

/// `0xabc`, with the flag `aptpl` behind it perhaps; `none`.
fn parse(answer: &str) -> io::Result<Configured> {
    let word = answer.trim().split([':', ' ']).next().unwrap_or_default();
    if word == "none" {
        return Ok(Configured::None);
    }
    if !word.starts_with("0x") {
        return Err(io::Error::other(format!("it said '{}'", answer.trim())));
    }
    Key::parse(word).map(Configured::Key).map_err(io::Error::other)
}

/// One command and its answer, each within `limit`.
///
/// # Errors
/// Of the socket: `ConnectionRefused` when multipathd does not run.
pub fn ask(command: &str, limit: Duration) -> io::Result<String> {
    let stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(ADDRESS)?)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    exchange(stream, command)
}

fn exchange(mut stream: impl Read + Write, command: &str) -> io::Result<String> {
    let mut message = (command.len() + 1).to_ne_bytes().to_vec();
    message.extend(command.as_bytes());
    message.push(0);
    stream.write_all(&message)?;
    let mut length = [0; size_of::<usize>()];
    stream.read_exact(&mut length)?;
    let length = usize::from_ne_bytes(length);
    if length > LONGEST {
        return Err(io::Error::other("an answer of impossible length"));
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer)?;
    while answer.last() == Some(&0) {
        answer.pop();
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    if matches!(answer.trim(), "fail" | "timeout") {
        return Err(io::Error::other(format!("it answered '{}' to '{command}'", answer.trim())));
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_or_none() {
        assert_eq!(parse("0x6c9d0001\n").unwrap(), Configured::Key(Key::new(0x6c9d_0001).unwrap()));
        assert_eq!(parse("0xabc:aptpl\n").unwrap(), Configured::Key(Key::new(0xabc).unwrap()));
        assert_eq!(parse("none\n").unwrap(), Configured::None);
        assert!(parse("rubbish").is_err() && parse("").is_err());
    }

    #[test]
    fn the_wire_is_a_length_and_a_text() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let daemon = std::thread::spawn(move || {
            let mut asked = vec![0; 8 + 16];
            theirs.read_exact(&mut asked).unwrap();
            theirs.write_all(&5_usize.to_ne_bytes()).unwrap();
            theirs.write_all(b"0x1\n\0").unwrap();
            asked
        });
        assert_eq!(exchange(ours, "getprkey map a_b").unwrap(), "0x1\n");
        let asked = daemon.join().unwrap();
        assert_eq!((&asked[..8], &asked[8..]), (&17_usize.to_ne_bytes()[..], &b"getprkey map a_b"[..]));
    }
}
