//! A host of its own for a test: namespaces for network, mounts, host name; nothing that an agent does gets out.

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// A folder that only this host has; the run directory is elsewhere in it.
pub const OWN: &str = "/run/rf";
/// The file that no value may bring into being.
pub const INJECTED: &str = "/run/injected";

/// What may be written on the host.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// `/run` only: a value that names another place does no harm.
    ReadOnly,
    /// Tools keep their state and logs in many places: the usual ones are empty and private.
    ForTools,
}

/// Runs `test` on a fresh host with the interface `rf0` (`192.0.2.1/24`, `2001:db8::1/64`). Whatever a process left running
/// there is ended, also when the test fails.
pub fn isolated(disk: Disk, test: impl FnOnce() + Send) {
    // Built where the disk can be written.
    super::installed();
    std::thread::scope(|scope| {
        let ran = scope.spawn(move || {
            make(disk);
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(test));
            end_processes();
            if let Err(panic) = result {
                std::panic::resume_unwind(panic);
            }
        });
        if let Err(panic) = ran.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn make(disk: Disk) {
    // Of this thread alone: the test's other threads stay where they are.
    let own = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC;
    unshare(own).unwrap();
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
    mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), None::<&str>).unwrap();
    tmpfs("/run");
    if disk == Disk::ForTools {
        for folder in ["/var/log", "/var/lib/pacemaker", "/var/lib/heartbeat", "/var/lib/pcsd"] {
            if Path::new(folder).is_dir() {
                tmpfs(folder);
            }
        }
    }
    for folder in ["/run/resource-agents", "/run/tmp", "/run/home", OWN] {
        fs::create_dir_all(folder).unwrap();
    }
    if disk == Disk::ForTools {
        // crmsh does not start without it.
        fs::create_dir_all("/var/log/crmsh").unwrap();
    }
    for words in [
        "link set lo up",
        "link add rf0 type veth peer name rf1",
        "link set rf1 up",
        "link set rf0 up",
        "address add 192.0.2.1/24 dev rf0",
        "address add 2001:db8::1/64 dev rf0 nodad",
    ] {
        let done = Command::new("ip").args(words.split(' ')).output().unwrap();
        assert!(done.status.success(), "ip {words}: {}", String::from_utf8_lossy(&done.stderr));
    }
    settle();
    if disk == Disk::ReadOnly {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).unwrap();
    }
}

/// The kernel makes these a little after the link is up: a test must not see them appear under its hands.
fn settle() {
    const LAST: [&str; 3] =
        ["local 2001:db8::1 dev rf0", "multicast ff00::/8 dev rf0", "multicast ff00::/8 dev rf1"];
    let until = Instant::now() + Duration::from_secs(10);
    let mut seen = String::new();
    loop {
        let now = network();
        if now == seen && LAST.iter().all(|route| now.contains(route)) {
            return;
        }
        assert!(Instant::now() < until, "the network does not settle:\n{now}");
        seen = now;
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn tmpfs(at: &str) {
    mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some("mode=755")).unwrap();
}

/// The processes in this host's network namespace, with their command lines.
pub fn processes() -> Vec<(i32, String)> {
    let here = fs::read_link("/proc/thread-self/ns/net").unwrap();
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|net| net == here))
        .map(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            (pid, String::from_utf8_lossy(&line).replace('\0', " "))
        })
        .collect()
}

fn end_processes() {
    for (pid, _) in processes() {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// What of the network can have been changed by an agent: addresses and routes, without what counts or ages.
pub fn network() -> String {
    ["-o address show", "route show table all", "-6 route show table all", "addrlabel list"]
        .iter()
        .map(|words| {
            let shown = Command::new("ip").args(words.split(' ')).output().unwrap();
            let text = String::from_utf8_lossy(&shown.stdout).into_owned();
            let mut lines: Vec<&str> = text.lines().filter(|line| !line.contains("fe80::")).collect();
            lines.sort_unstable();
            lines.join("\n")
        })
        .collect::<Vec<_>>()
        .join("\n")
}
