//! The cluster's own record: one line per event, `<micros>\t<text>`, written whole by one `write(2)`.

use super::stamp::{self, Micros};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

/// An append-only file of stamped lines; several processes may hold one file.
pub(crate) struct EventLog(File);

impl EventLog {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().create(true).append(true).open(path).map(Self)
    }

    /// Writes a line stamped now and returns the stamp.
    pub(crate) fn write(&mut self, text: &str) -> Micros {
        let at = stamp::now();
        self.write_at(at, text);
        at
    }

    /// Writes a line with a stamp taken earlier.
    pub(crate) fn write_at(&mut self, at: Micros, text: &str) {
        // A full tmpfs loses the record, not the cluster; whoever reads the record will miss the line and say so.
        let _ = self.0.write_all(format!("{at}\t{text}\n").as_bytes());
    }
}

/// The lines of such a record.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = (Micros, &str)> {
    text.lines().filter_map(|line| {
        let (at, text) = line.split_once('\t')?;
        Some((at.parse().ok()?, text))
    })
}
