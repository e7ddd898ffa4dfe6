//! Files of host keys that somebody has looked at: sshd(8), "SSH KNOWN HOSTS FILE FORMAT".
//!
//! Names in the clear with wildcards and negation, hashed names, ports, `@revoked`. Lines of `@cert-authority` are passed
//! over: a host is known by its own key or not at all.

use data_encoding::BASE64;
use hmac::{Hmac, Mac};
use sha1::Sha1;

/// Where a line stands, for the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    /// Counted from 1.
    pub line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What the files say about a key that a host has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Known,
    /// There is no key of this host, or none of this kind.
    Unknown,
    /// There is another key of this kind.
    Changed(Place),
    Revoked(Place),
}

#[derive(Clone, Debug)]
enum Names {
    /// Patterns, each with whether it excludes.
    Plain(Vec<(bool, String)>),
    Hashed {
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
}

#[derive(Clone, Debug)]
struct Entry {
    names: Names,
    revoked: bool,
    kind: String,
    key: Vec<u8>,
    place: Place,
}

/// The lines of one or several files.
#[derive(Clone, Debug, Default)]
pub struct KnownHosts(Vec<Entry>);

impl KnownHosts {
    /// Adds the text of `file`. Lines that are not understood are passed over, as `ssh` does it: they can only make
    /// fewer hosts known.
    pub fn add(&mut self, file: &str, text: &str) {
        for (number, line) in text.lines().enumerate() {
            let place = Place { file: file.to_owned(), line: number + 1 };
            self.0.extend(entry(line, place));
        }
    }

    /// The kinds of keys that are known of the host (`ssh-ed25519`), without those that are revoked.
    pub fn kinds(&self, host: &str, port: u16) -> Vec<&str> {
        let name = lookup_name(host, port);
        self.0.iter().filter(|e| !e.revoked && e.names.hold(&name)).map(|e| e.kind.as_str()).collect()
    }

    /// What is to be thought of a `key` (in its wire form, RFC 4253 6.6) of this kind.
    pub fn verdict(&self, host: &str, port: u16, kind: &str, key: &[u8]) -> Verdict {
        let name = lookup_name(host, port);
        let ours = || self.0.iter().filter(|e| e.names.hold(&name));
        if let Some(entry) = ours().find(|e| e.revoked && e.key == key) {
            return Verdict::Revoked(entry.place.clone());
        }
        if ours().any(|e| !e.revoked && e.key == key) {
            return Verdict::Known;
        }
        match ours().find(|e| !e.revoked && e.kind == kind) {
            Some(entry) => Verdict::Changed(entry.place.clone()),
            None => Verdict::Unknown,
        }
    }
}

/// As `ssh` writes it: in lower case, with the port when it is not 22.
fn lookup_name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

fn entry(line: &str, place: Place) -> Option<Entry> {
    let mut words = line.split_ascii_whitespace();
    let mut first = words.next().filter(|word| !word.starts_with('#'))?;
    let mut revoked = false;
    if first.starts_with('@') {
        if first != "@revoked" {
            return None;
        }
        revoked = true;
        first = words.next()?;
    }
    let (kind, key) = (words.next()?.to_owned(), BASE64.decode(words.next()?.as_bytes()).ok()?);
    let names = match first.strip_prefix("|1|") {
        Some(rest) => {
            let (salt, hash) = rest.split_once('|')?;
            Names::Hashed {
                salt: BASE64.decode(salt.as_bytes()).ok()?,
                hash: BASE64.decode(hash.as_bytes()).ok()?,
            }
        }
        None => Names::Plain(
            first
                .split(',')
                .map(|pattern| match pattern.strip_prefix('!') {
                    Some(rest) => (true, rest.to_ascii_lowercase()),
                    None => (false, pattern.to_ascii_lowercase()),
                })
                .collect(),
        ),
    };
    Some(Entry { names, revoked, kind, key, place })
}

impl Names {
    fn hold(&self, name: &str) -> bool {
        match self {
            Self::Plain(patterns) => {
                let hit = |excludes: bool| {
                    patterns.iter().any(|(no, pattern)| *no == excludes && matches(pattern, name))
                };
                hit(false) && !hit(true)
            }
            Self::Hashed { salt, hash } => Hmac::<Sha1>::new_from_slice(salt)
                .is_ok_and(|mac| mac.chain_update(name.as_bytes()).verify_slice(hash).is_ok()),
        }
    }
}

/// `*` is any number of characters, `?` is one; nothing else is special, so `[host]:port` is itself.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || Some(c) == name.get(n) => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    // "AAAA" and "BBBB" stand for keys.
    const FILE: &str = "# a comment\n\
        node1,192.0.2.1 ssh-ed25519 AAAA someone's note\n\
        \n\
        [node1]:2222 ssh-ed25519 BBBB\n\
        *.example.com,!bad.example.com ssh-ed25519 AAAA\n\
        @cert-authority node2 ssh-ed25519 AAAA\n\
        node3 ssh-ed25519 AAAA\n\
        @revoked node3 ssh-ed25519 AAAA\n\
        node4 nonsense\n\
        node5 ecdsa-sha2-nistp256 AAAA\n";

    fn known() -> KnownHosts {
        let mut known = KnownHosts::default();
        known.add("kh", FILE);
        known
    }

    fn verdict(host: &str, port: u16, key: &str) -> Verdict {
        known().verdict(host, port, "ssh-ed25519", &BASE64.decode(key.as_bytes()).unwrap())
    }

    #[test]
    fn a_host_is_known_by_name_port_and_key() {
        assert_eq!(verdict("node1", 22, "AAAA"), Verdict::Known);
        assert_eq!(verdict("NODE1", 22, "AAAA"), Verdict::Known);
        assert_eq!(verdict("192.0.2.1", 22, "AAAA"), Verdict::Known);
        assert_eq!(verdict("node1", 2222, "BBBB"), Verdict::Known);
        assert_eq!(verdict("node1", 22, "BBBB"), Verdict::Changed(Place { file: "kh".into(), line: 2 }));
        assert_eq!(verdict("node1", 2222, "AAAA"), Verdict::Changed(Place { file: "kh".into(), line: 4 }));
        for (host, port) in
            [("node", 22), ("node11", 22), ("node1", 23), ("node2", 22), ("node4", 22), ("", 22)]
        {
            assert_eq!(verdict(host, port, "AAAA"), Verdict::Unknown, "{host}:{port}");
        }
        assert_eq!(verdict("node5", 22, "BBBB"), Verdict::Unknown, "another kind of key is none");
    }

    #[test]
    fn patterns_and_exclusions() {
        assert_eq!(verdict("a.example.com", 22, "AAAA"), Verdict::Known);
        assert_eq!(verdict("a.b.example.com", 22, "AAAA"), Verdict::Known);
        assert_eq!(verdict("bad.example.com", 22, "AAAA"), Verdict::Unknown);
        assert_eq!(verdict("example.com", 22, "AAAA"), Verdict::Unknown);
        for (pattern, name, is) in
            [("*", "", true), ("n?de", "node", true), ("n?de", "nde", false), ("*a*b", "xaab", true)]
        {
            assert_eq!(matches(pattern, name), is, "{pattern} {name}");
        }
    }

    #[test]
    fn a_revoked_key_is_worse_than_an_unknown_one() {
        assert_eq!(verdict("node3", 22, "AAAA"), Verdict::Revoked(Place { file: "kh".into(), line: 8 }));
        assert_eq!(known().kinds("node3", 22), ["ssh-ed25519"]);
    }

    #[test]
    fn hashed_names() {
        let name = "[node7]:2222";
        let salt = b"0123456789abcdefghij";
        let hash = Hmac::<Sha1>::new_from_slice(salt).unwrap().chain_update(name).finalize().into_bytes();
        let mut known = KnownHosts::default();
        known.add("kh", &format!("|1|{}|{} ssh-ed25519 AAAA\n", BASE64.encode(salt), BASE64.encode(&hash)));
        let key = BASE64.decode(b"AAAA").unwrap();
        assert_eq!(known.verdict("node7", 2222, "ssh-ed25519", &key), Verdict::Known);
        assert_eq!(known.verdict("node7", 22, "ssh-ed25519", &key), Verdict::Unknown);
        assert_eq!(known.verdict("node8", 2222, "ssh-ed25519", &key), Verdict::Unknown);
    }
}
