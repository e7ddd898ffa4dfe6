//! Fresh network namespaces for tests of the kernel interfaces, and `ip` as the independent observer in them.
//!
//! unshare(2) moves the calling thread alone, so each case gets a thread of its own; the namespace ends with it.
#![allow(dead_code, reason = "not every test needs all of it")]

use ringfence_agents::net::netlink::Netlink;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs a case in a network namespace of its own with lo up. Needs root: without it the case fails, never passes.
pub fn fresh(case: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("unshare -n needs root");
        sh("ip link set lo up");
        case();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Two interfaces v0 and v1 joined by a wire, both up, `10.0.0.2/24` and `fd00::2/64` on v0.
pub fn wire() {
    sh("ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up \
        && ip addr add 10.0.0.2/24 brd + dev v0 && ip addr add fd00::2/64 nodad dev v0");
}

/// Runs a shell line in this thread's namespace and returns what it prints; panics when it fails.
pub fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).stdin(Stdio::null()).output().expect("sh runs");
    assert!(
        output.status.success(),
        "{line}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

/// What `ip -o addr show` says of an address, lifetimes and all; empty without it.
pub fn seen(address: &str) -> String {
    sh(&format!("ip -o addr show | grep -F ' {address}' || true"))
}

/// Five seconds from now.
pub fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

/// A socket in this thread's namespace.
pub fn netlink() -> Netlink {
    Netlink::open(soon()).expect("netlink socket")
}
