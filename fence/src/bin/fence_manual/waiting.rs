//! A request that waits for a person, and how a confirmation reaches it.
//!
//! The waiting process listens on a socket in a private folder (CVE-2008-4580: the original used a name in `/tmp` that everybody
//! could make). It says who it waits for and a number that nobody can guess; a confirmation repeats both. When the process ends,
//! however it ends, nobody listens any more, and nothing is left that could count later.

use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};
use ocf_lib::deadline::Deadline;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where requests wait.
pub const FOLDER: &str = "/run/fence_manual";

/// The longest line of a conversation. A node's name has 255 bytes at most.
const LONGEST: usize = 1024;
/// Operators that speak at the same time.
const MOST: usize = 16;
/// The longest single wait, after which a signal is looked for.
const NAP: Duration = Duration::from_millis(500);

/// How long a request may take from its socket to its name.
const LONGEST_BIRTH: Duration = Duration::from_secs(60);

/// What a waiting process says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub node: String,
    pub action: String,
    /// Of this request alone.
    pub number: String,
    /// Seconds since 1970.
    pub since: u64,
}

impl Notice {
    /// One line; the name is last, because it may hold blanks.
    pub fn line(&self) -> String {
        format!("waiting {} {} {} {}\n", self.number, self.action, self.since, self.node)
    }

    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_suffix('\n')?.splitn(5, ' ');
        if words.next() != Some("waiting") {
            return None;
        }
        let (number, action) = (words.next()?.to_owned(), words.next()?.to_owned());
        let since = words.next()?.parse().ok()?;
        Some(Self { number, action, since, node: words.next()?.to_owned() })
    }

    /// The line that confirms it.
    pub fn confirmation(&self) -> String {
        format!("confirm {} {}\n", self.number, self.node)
    }
}

/// How a wait ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Waited {
    /// By this user.
    Confirmed {
        by: u32,
    },
    /// Somebody tried, and it does not count.
    Refused(String),
    Nothing,
}

/// The folder, opened: made when it is not there, and nobody's but ours.
pub fn folder() -> io::Result<OwnedFd> {
    let run = open("/run", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let name = FOLDER.strip_prefix("/run/").unwrap_or(FOLDER);
    match mkdirat(&run, name, Mode::S_IRWXU) {
        Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
        Err(why) => return Err(why.into()),
    }
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let folder = nix::fcntl::openat(&run, name, flags, Mode::empty())?;
    let seen = fstat(&folder)?;
    let is_folder = SFlag::from_bits_truncate(seen.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR;
    if !is_folder || seen.st_uid != nix::unistd::geteuid().as_raw() || seen.st_mode & 0o077 != 0 {
        return Err(io::Error::new(
            ErrorKind::PermissionDenied,
            format!(
                "somebody else may write there (owner {}, mode {:04o})",
                seen.st_uid,
                seen.st_mode & 0o7777
            ),
        ));
    }
    Ok(folder)
}

/// A name in the folder that was opened, whatever its path leads to meanwhile.
fn inside(folder: &OwnedFd, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()))
}

/// Every socket in the folder at which somebody answers, with what it says. Those of dead processes are removed.
pub fn all() -> io::Result<Vec<(Notice, UnixStream)>> {
    let folder = folder()?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(inside(&folder, ""))? {
        let entry = entry?;
        let path = entry.path();
        // One that is being made now; or was, when its process was killed.
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let age = entry.metadata().and_then(|m| m.modified()).ok().and_then(|made| made.elapsed().ok());
        if hidden && age.is_none_or(|age| age < LONGEST_BIRTH) {
            continue;
        }
        match UnixStream::connect(&path) {
            Ok(mut stream) => {
                stream.set_read_timeout(Some(Duration::from_secs(2)))?;
                if let Ok(notice) = read_line(&mut stream).map(|line| Notice::parse(&line))
                    && let Some(notice) = notice
                {
                    found.push((notice, stream));
                }
            }
            Err(why) if why.kind() == ErrorKind::ConnectionRefused => {
                let _ = std::fs::remove_file(&path);
            }
            Err(_) => {}
        }
    }
    found.sort_by_key(|(notice, _)| notice.since);
    Ok(found)
}

/// One line, at most [`LONGEST`] bytes.
pub fn read_line(stream: &mut UnixStream) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.last() != Some(&b'\n') && line.len() < LONGEST {
        stream.read_exact(&mut byte)?;
        line.extend(byte);
    }
    String::from_utf8(line).map_err(io::Error::other)
}

/// Somebody who has connected.
struct Visitor {
    stream: UnixStream,
    user: u32,
    said: Vec<u8>,
}

/// A request that waits.
pub struct Request {
    notice: Notice,
    listener: UnixListener,
    folder: OwnedFd,
    visitors: Vec<Visitor>,
    reminded: Instant,
}

impl Request {
    pub fn open(node: &str, action: &str) -> io::Result<Self> {
        let folder = folder()?;
        // Sweeps away what killed processes have left.
        drop(all()?);
        let mut random = [0u8; 16];
        getrandom::fill(&mut random).map_err(|why| io::Error::other(why.to_string()))?;
        let mut number = String::new();
        for byte in random {
            let _ = write!(number, "{byte:02x}");
        }
        // Between bind and listen it looks like what a killed process has left: only then it gets its name.
        let hidden = inside(&folder, &format!(".{number}"));
        let listener = UnixListener::bind(&hidden)?;
        listener.set_nonblocking(true)?;
        std::fs::rename(&hidden, inside(&folder, &number))?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let notice = Notice { node: node.to_owned(), action: action.to_owned(), number, since };
        Ok(Self { notice, listener, folder, visitors: Vec::new(), reminded: Instant::now() })
    }

    /// True once in every `span`.
    pub fn is_due_for_a_reminder(&mut self, span: Duration) -> bool {
        let due = self.reminded.elapsed() >= span;
        if due {
            self.reminded = Instant::now();
        }
        due
    }

    /// Waits for a word that matters, at most until `deadline` or a signal.
    pub fn wait(&mut self, deadline: Deadline) -> io::Result<Waited> {
        while !deadline.expired() && !ocf_lib::fence::interrupted() {
            let mut polled = vec![PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
            polled.extend(self.visitors.iter().map(|v| PollFd::new(v.stream.as_fd(), PollFlags::POLLIN)));
            let nap = PollTimeout::try_from(deadline.left_or(NAP)).unwrap_or(PollTimeout::ZERO);
            match poll(&mut polled, nap) {
                Ok(0) | Err(nix::errno::Errno::EINTR) => continue,
                Ok(_) => {}
                Err(why) => return Err(why.into()),
            }
            drop(polled);
            self.let_in();
            if let Some(word) = self.listen() {
                return Ok(word);
            }
        }
        Ok(Waited::Nothing)
    }

    fn let_in(&mut self) {
        while let Ok((mut stream, _)) = self.listener.accept() {
            let Ok(peer) = getsockopt(&stream, PeerCredentials) else { continue };
            let trusted = peer.uid() == 0 || peer.uid() == nix::unistd::geteuid().as_raw();
            let greeted =
                stream.set_nonblocking(true).and_then(|()| stream.write_all(self.notice.line().as_bytes()));
            if trusted && greeted.is_ok() && self.visitors.len() < MOST {
                self.visitors.push(Visitor { stream, user: peer.uid(), said: Vec::new() });
            }
        }
    }

    /// What the visitors have said, up to the first word that matters. Those who are done are let go.
    fn listen(&mut self) -> Option<Waited> {
        let wanted = self.notice.confirmation().into_bytes();
        let mut word = None;
        self.visitors.retain_mut(|visitor| {
            let mut buffer = [0; LONGEST];
            match visitor.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(length) => visitor.said.extend(buffer.get(..length).unwrap_or_default()),
                Err(why) => return matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
            }
            if visitor.said == wanted {
                let _ = visitor.stream.write_all(b"taken\n");
                word = Some(Waited::Confirmed { by: visitor.user });
                return false;
            }
            if visitor.said.len() < LONGEST && !visitor.said.contains(&b'\n') {
                return true;
            }
            let _ = visitor.stream.write_all(b"refused\n");
            word.get_or_insert_with(|| {
                Waited::Refused(format!(
                    "user {} said something that is no confirmation of this request",
                    visitor.user
                ))
            });
            false
        });
        word
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(inside(&self.folder, &self.notice.number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_come_back_whole() {
        let notice = Notice { node: "node 1".into(), action: "off".into(), number: "a1".into(), since: 7 };
        assert_eq!(notice.line(), "waiting a1 off 7 node 1\n");
        assert_eq!(Notice::parse(&notice.line()), Some(notice.clone()));
        assert_eq!(notice.confirmation(), "confirm a1 node 1\n");
        for wrong in
            ["", "waiting a1 off 7 n", "waiting a1 off x n\n", "hello a1 off 7 n\n", "waiting a1 off 7\n"]
        {
            assert_eq!(Notice::parse(wrong), None, "{wrong:?}");
        }
    }
}
