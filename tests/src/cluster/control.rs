//! The control socket of a cluster: one line asked, one line answered. The driver and the BMCs' chassis hooks are its clients.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The socket's name in the state directory.
pub(crate) const SOCKET: &str = "control.sock";

/// The longest a power operation may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks and returns the answer after `ok `; an answer `error ...` is an error with the cluster's words.
pub(crate) fn ask(state: &Path, request: &str) -> io::Result<String> {
    // A socket's path has room for 107 bytes (unix(7)) and the state directory may be deep: go through a descriptor.
    let folder = File::open(state)?;
    let stream = UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    (&stream).write_all(format!("{request}\n").as_bytes())?;
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer)?;
    match answer.trim_end().split_once(' ').unwrap_or((answer.trim_end(), "")) {
        ("ok", rest) => Ok(rest.to_owned()),
        ("error", reason) => Err(io::Error::other(format!("'{request}': {reason}"))),
        _ => Err(io::Error::other(format!("'{request}': the cluster gave no answer"))),
    }
}
