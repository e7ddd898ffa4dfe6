//! The pipe of Heartbeat's own `meatware` plugin (cluster-glue), which waits for a `meatclient`: installed in that program's place,
//! this one has to serve it too. Observed of cluster-glue 1.0.12: a record of 256 bytes, filled with zeros.

use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

const FOLDER: &str = "/run";
const RECORD: usize = 256;
const REPLY: &str = "meatware reply ";

/// A pipe at whose other end a plugin reads.
pub struct Pipe {
    file: File,
    node: String,
}

impl Pipe {
    /// The pipe of a node, if a plugin waits at it: one of root's, since the folder is.
    pub fn open(node: &str) -> Option<Self> {
        if node.contains('/') || node.len() >= RECORD - REPLY.len() {
            return None;
        }
        // Without somebody who reads it this fails (ENXIO, fifo(7)): what a killed plugin has left is none.
        let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let handle = open(&Path::new(FOLDER).join(format!("meatware.{node}")), flags, Mode::empty()).ok()?;
        let seen = fstat(&handle).ok()?;
        let is_pipe = SFlag::from_bits_truncate(seen.st_mode) & SFlag::S_IFMT == SFlag::S_IFIFO;
        let is_ours = seen.st_uid == nix::unistd::geteuid().as_raw();
        (is_pipe && is_ours).then(|| Self { file: handle.into(), node: node.to_owned() })
    }

    /// # Errors
    /// When nobody reads any more.
    pub fn confirm(&mut self) -> io::Result<()> {
        let mut record = format!("{REPLY}{}", self.node).into_bytes();
        record.resize(RECORD, 0);
        // In one piece: it is shorter than PIPE_BUF (pipe(7)).
        self.file.write_all(&record)
    }
}
