//! Why DRBD gave up a peer. Its state is `StandAlone` whatever the reason was; only the kernel's log tells.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;

/// The longest record (`CONSOLE_EXT_LOG_MAX` of Linux 5.x, `PRINTK_MESSAGE_MAX` since 6.4 is shorter).
const RECORD: usize = 8192;
/// More records than any log buffer has (4 MiB of empty ones).
const MOST: usize = 1 << 17;

/// How it came to an end with a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parting {
    /// Both sides have changes that the other has not.
    SplitBrain,
    /// Somebody said `drbdadm disconnect` on this node.
    Asked,
    /// The two do not fit; in the kernel's words.
    Refused(String),
    /// The log does not say, or not any more.
    Unknown,
}

/// What makes a connection impossible, besides a split brain.
const REFUSALS: [&str; 4] =
    ["Unrelated data", "Authentication of peer failed", "incompatible", "dialect not supported"];
/// Connection states that only a request turns into `Disconnecting` (8.4; 9 has `Connected` alone of them).
const WORKING: [&str; 10] = [
    "Connected",
    "WFConnection",
    "SyncSource",
    "SyncTarget",
    "PausedSyncS",
    "PausedSyncT",
    "VerifyS",
    "VerifyT",
    "Ahead",
    "Behind",
];

/// The last parting from `peer` that the log tells of.
pub fn parting(log: &str, resource: &str, minors: &[u32], peer: &str) -> Parting {
    let mut found = Parting::Unknown;
    for line in log.lines() {
        let Some(said) = about(line, resource, minors, peer) else { continue };
        // Tried anew.
        if said.contains("conn( StandAlone -> Unconnected )") || said.starts_with("Handshake ") {
            found = Parting::Unknown;
        } else if said.contains("Split-Brain detected but unresolved") {
            found = Parting::SplitBrain;
        } else if found != Parting::Unknown {
        } else if REFUSALS.iter().any(|refusal| said.contains(refusal)) {
            found = Parting::Refused(said.trim().to_owned());
        } else if WORKING.iter().any(|state| said.contains(&format!("conn( {state} -> Disconnecting )"))) {
            found = Parting::Asked;
        }
    }
    found
}

/// What the line says of this connection: `drbd r0: ...` and `block drbd0: ...` of 8.4, `drbd r0/0 drbd0 n2: ...` of 9.
fn about<'a>(line: &'a str, resource: &str, minors: &[u32], peer: &str) -> Option<&'a str> {
    let (head, said) = line.split_once(": ")?;
    let mut words = head.split(' ');
    let ours = match (words.next()?, words.next()?) {
        ("block", device) => minors.iter().any(|minor| device == format!("drbd{minor}")),
        ("drbd", name) => name.split('/').next() == Some(resource),
        _ => false,
    };
    let other = words.any(|word| word != peer && !minors.iter().any(|minor| word == format!("drbd{minor}")));
    (ours && !other).then_some(said)
}

/// What the kernel's log (`/dev/kmsg`) still has, a record a line; as much as can be read.
pub fn read(path: &str) -> String {
    let mut text = String::new();
    // A reader of its own: nobody else misses a record for it. dev-kmsg(4), Documentation/ABI/testing/dev-kmsg.
    let Ok(mut log) = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) else {
        return text;
    };
    let mut record = vec![0; RECORD];
    for _ in 0..MOST {
        match log.read(&mut record) {
            Ok(0) => break,
            Ok(length) => {
                let record = String::from_utf8_lossy(record.get(..length).unwrap_or_default());
                if let Some(line) = message(&record) {
                    text.push_str(line);
                    text.push('\n');
                }
            }
            // Overwritten while it was to be read: the next one is the oldest that there is.
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::Interrupted) => {}
            Err(_) => break,
        }
    }
    text
}

/// `6,1234,5678,-;the message`, then lines with more that begin with a blank. A prefix below 8 is the kernel's: what programs
/// write into the log is not believed.
fn message(record: &str) -> Option<&str> {
    let (prefix, text) = record.split_once(';')?;
    let level: u32 = prefix.split(',').next()?.parse().ok()?;
    (level < 8).then(|| text.lines().next())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPLIT: &str =
        "block drbd0: helper command: /sbin/drbdadm initial-split-brain minor-0 exit code 0 (0x0)
block drbd0: Split-Brain detected but unresolved, dropping connection!
drbd r0: conn( WFReportParams -> Disconnecting ) 
drbd r0: conn( Disconnecting -> StandAlone ) 
";
    const ASKED: &str = "drbd r0: peer( Secondary -> Unknown ) conn( Connected -> Disconnecting ) pdsk( UpToDate -> DUnknown ) 
drbd r0: conn( Disconnecting -> StandAlone ) 
";
    const ANEW: &str = "drbd r0: conn( StandAlone -> Unconnected ) \ndrbd r0: Handshake successful: Agreed network protocol version 101\n";

    #[test]
    fn the_last_parting_counts() {
        let told = |log: &str| parting(log, "r0", &[0], "peer 0");
        assert_eq!(told(SPLIT), Parting::SplitBrain);
        assert_eq!(told(ASKED), Parting::Asked);
        assert_eq!(told(&(SPLIT.to_owned() + ANEW + ASKED)), Parting::Asked);
        assert_eq!(told(&(ASKED.to_owned() + ANEW + SPLIT)), Parting::SplitBrain);
        assert_eq!(told(&(SPLIT.to_owned() + ANEW)), Parting::Unknown);
        assert_eq!(told(""), Parting::Unknown);
        // The side that is told by its peer, before it found out itself.
        let late = "drbd r0: conn( WFReportParams -> NetworkFailure ) \n\
                    block drbd0: Split-Brain detected but unresolved, dropping connection!\n\
                    drbd r0: conn( NetworkFailure -> Disconnecting ) \n";
        assert_eq!(told(late), Parting::SplitBrain);
        let solved =
            "block drbd0: Split-Brain detected, 1 primaries, automatically solved. Sync from this node\n";
        assert_eq!(told(solved), Parting::Unknown);
        let unrelated =
            "block drbd0: Unrelated data, aborting!\ndrbd r0: conn( WFReportParams -> Disconnecting ) \n";
        assert_eq!(told(unrelated), Parting::Refused("Unrelated data, aborting!".to_owned()));
    }

    #[test]
    fn another_resource_or_peer_is_none_of_it() {
        assert_eq!(parting(SPLIT, "r1", &[1], "peer 0"), Parting::Unknown);
        assert_eq!(parting(ASKED, "r", &[0], "peer 0"), Parting::Unknown);
        let nine = "drbd r0/0 drbd0 n2: Split-Brain detected but unresolved, dropping connection!\n";
        assert_eq!(parting(nine, "r0", &[0], "n2"), Parting::SplitBrain);
        assert_eq!(parting(nine, "r0", &[0], "n3"), Parting::Unknown);
    }

    #[test]
    fn each_read_is_a_record() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "6,1,2,-;drbd r0: x\n SUBSYSTEM=block\n").unwrap();
        assert_eq!(read(file.path().to_str().unwrap()), "drbd r0: x\n");
        assert_eq!(read("/nowhere/kmsg"), "");
    }

    #[test]
    fn only_the_kernel_is_believed() {
        assert_eq!(message("6,1,2,-;drbd r0: x\n SUBSYSTEM=block\n"), Some("drbd r0: x"));
        assert_eq!(message("12,1,2,-;drbd r0: x\n"), None);
        assert_eq!(message("garbage"), None);
    }
}
