//! What a stopped resource could have left: files of the folders that a trial has for itself, interfaces, addresses and
//! routes, asked of the kernel without a program.

use crate::call::pause;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// The kernel takes routes of IPv6 away a moment after their address.
const SETTLE: Duration = Duration::from_secs(2);

const FOLDERS: [&str; 4] = ["/run", "/tmp", "/var/tmp", "/dev/shm"];

/// A line for each thing that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Things {
    files: BTreeSet<String>,
    network: BTreeSet<String>,
}

impl Things {
    pub fn now() -> Self {
        let mut files = BTreeSet::new();
        for folder in FOLDERS {
            walk(Path::new(folder), &mut files, 0);
        }
        Self { files, network: network() }
    }

    /// As soon as the trial's cable is up and nothing changes by itself any more.
    pub fn settled() -> Self {
        let until = Instant::now() + SETTLE;
        let up =
            || fs::read_to_string("/sys/class/net/judge0/operstate").is_ok_and(|state| state.trim() == "up");
        while !up() && Instant::now() < until {
            pause(Duration::from_millis(5));
        }
        let mut last = Self::now();
        loop {
            pause(Duration::from_millis(30));
            let now = Self::now();
            if now == last || Instant::now() > until {
                return now;
            }
            last = now;
        }
    }

    /// What differs from now, in words; files only when they count. Waits for a network that has not settled yet.
    pub fn differ_now(&self, files_count: bool) -> Option<String> {
        let until = Instant::now() + SETTLE;
        loop {
            let now = Self::now();
            let files = if files_count { difference(&self.files, &now.files) } else { Vec::new() };
            let all = [files.clone(), difference(&self.network, &now.network)].concat();
            if all.is_empty() {
                return None;
            }
            // A file that is left stays: only the network is waited for.
            if !files.is_empty() || Instant::now() > until {
                return Some(all.join(", "));
            }
            pause(Duration::from_millis(20));
        }
    }
}

fn difference(before: &BTreeSet<String>, now: &BTreeSet<String>) -> Vec<String> {
    let more = now.difference(before).map(|one| format!("{one} is left"));
    let fewer = before.difference(now).map(|one| format!("{one} has vanished"));
    more.chain(fewer).collect()
}

fn walk(folder: &Path, all: &mut BTreeSet<String>, depth: usize) {
    // The judge's own, and deep trees are not.
    if depth > 6 || folder == Path::new("/run/judge") || folder == Path::new("/run/netns") {
        return;
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&path, all, depth + 1);
        } else {
            all.insert(format!("file {}", path.display()));
        }
    }
}

/// proc(5): each file's columns that do not count packets or users.
fn network() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut read = |file: &str, told: &str, columns: &[usize]| {
        let text = fs::read_to_string(format!("/proc/net/{file}")).unwrap_or_default();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let chosen: Vec<&str> = columns.iter().filter_map(|at| words.get(*at).copied()).collect();
            // The kernel's own addresses of a link come and go by themselves (fe80::/10, ff00::/8).
            let own = chosen.iter().any(|word| word.starts_with("fe80") || word.starts_with("ff00"));
            if chosen.len() == columns.len() && !own {
                all.insert(format!("{told} {}", chosen.join(" ")));
            }
        }
    };
    read("dev", "interface", &[0]);
    read("if_inet6", "address", &[0, 2, 5]);
    read("route", "route", &[0, 1, 2, 6, 7]);
    read("ipv6_route", "route", &[0, 1, 4, 9]);
    let trie = fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let mut last = "";
    for line in trie.lines().map(str::trim) {
        match line.strip_prefix("|-- ") {
            Some(address) => last = address,
            None if line.contains("host LOCAL") => {
                all.insert(format!("address {last}"));
            }
            None => {}
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_and_what_has_vanished_is_told() {
        let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(
            difference(&set(&["file /run/a", "address b"]), &set(&["file /run/a", "file /run/c"])),
            ["file /run/c is left", "address b has vanished"]
        );
        assert!(network().iter().any(|line| line.starts_with("interface lo")));
    }
}
