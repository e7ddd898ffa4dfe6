//! A conversation of one JSON value a line over a Unix socket: QEMU's monitor and the agent in the guest both speak so.

use super::failure::LabError;
use serde_json::Value;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct JsonLine {
    socket: UnixStream,
    /// Read, and not yet a whole line.
    begun: Vec<u8>,
    /// Who is at the other end, for messages.
    who: String,
}

impl JsonLine {
    /// Connects, trying again until `end`: QEMU makes its sockets a moment after it was started.
    pub(crate) fn connect(path: &Path, who: &str, end: Instant) -> Result<Self, LabError> {
        loop {
            match UnixStream::connect(path) {
                Ok(socket) => return Ok(Self { socket, begun: Vec::new(), who: who.to_owned() }),
                Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
                Err(why) => return Err(LabError::Io(format!("connect to {who}"), why)),
            }
        }
    }

    pub(crate) fn send(&mut self, value: &Value) -> Result<(), LabError> {
        self.send_bytes(format!("{value}\n").as_bytes())
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), LabError> {
        self.socket.write_all(bytes).map_err(LabError::io(format!("speak to {}", self.who)))
    }

    /// The next value; lines that are none are passed over. `Ok(None)`: nothing came before `end`.
    pub(crate) fn receive(&mut self, end: Instant) -> Result<Option<Value>, LabError> {
        loop {
            if let Some(at) = self.begun.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.begun.drain(..=at).collect();
                // 0xff is how the guest's agent marks where a new conversation begins.
                let start = line.iter().rposition(|byte| *byte == 0xff).map_or(0, |at| at + 1);
                if let Ok(value) = serde_json::from_slice(line.get(start..).unwrap_or_default()) {
                    return Ok(Some(value));
                }
                continue;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let io = || LabError::io(format!("hear from {}", self.who));
            self.socket.set_read_timeout(Some(left)).map_err(io())?;
            let mut bytes = [0_u8; 8192];
            match self.socket.read(&mut bytes) {
                Ok(0) => return Err(io()(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => self.begun.extend_from_slice(bytes.get(..count).unwrap_or_default()),
                Err(why) if matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => return Err(io()(why)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn lines_are_put_together_and_silence_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let end = Instant::now() + Duration::from_millis(300);
        let mut line = JsonLine::connect(&path, "the peer", end).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(b"half of something old\xff{\"a\":").unwrap();
        peer.write_all(b"1}\nnoise\n{\"b\":2}\n").unwrap();
        assert_eq!(line.receive(end).unwrap().unwrap()["a"], 1);
        assert_eq!(line.receive(end).unwrap().unwrap()["b"], 2);
        assert!(line.receive(Instant::now() + Duration::from_millis(20)).unwrap().is_none());
        drop(peer);
        assert!(line.receive(Instant::now() + Duration::from_secs(1)).is_err());
    }
}
