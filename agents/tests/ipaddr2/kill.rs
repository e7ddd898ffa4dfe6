//! SIGKILL at any moment of start and stop: the next stop leaves nothing, the next start works.
//!
//! `RINGFENCE_KILLS` is the number of rounds (60 by default, 500 where `CI` is set), `RINGFENCE_SEED` the seed.

use super::world::{Vip, announcers, entries, sh, state_files, vip, world};
use std::process::Stdio;
use std::time::{Duration, Instant};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// xorshift64*: the same moments for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit.max(1)
    }
}

/// How one kind of address is configured, and what of it can be left behind.
struct Kind {
    name: &'static str,
    vip: Vip,
    prepare: &'static str,
    traces: &'static str,
}

fn kinds() -> [Kind; 4] {
    let v4 = vip("10.0.0.50").with("arp_count", "50").with("arp_interval", "20").with("iflabel", "ha");
    let v6 = vip("fd00::50").with("arp_count", "50").with("arp_interval", "20").with("nodad", "1");
    let lvs = v4.with("lvs_support", "1");
    let shared = v4.without("iflabel").clone_of(1, 2);
    let (none, nft) = ("true", "nft list tables; ip maddr show dev v0 | grep -i '^.*link.*01:' || true");
    [
        Kind { name: "ipv4", vip: v4, prepare: none, traces: nft },
        Kind { name: "ipv6", vip: v6, prepare: none, traces: "ip addrlabel list | grep fd00::50 || true" },
        Kind { name: "lvs", vip: lvs, prepare: "ip addr replace 10.0.0.50/32 dev lo", traces: nft },
        Kind { name: "cluster ip", vip: shared, prepare: none, traces: nft },
    ]
}

/// Starts the action and kills its whole process group after a while, as Pacemaker does.
fn killed(vip: &Vip, action: &str, after: Duration) {
    let mut child =
        vip.command(action).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the agent runs");
    let until = Instant::now() + after;
    // Shorter than the scheduler can sleep: the moment must be hit.
    while Instant::now() < until {
        std::hint::spin_loop();
    }
    let group = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
    child.wait().unwrap();
}

/// The time an action takes, the middle of five.
fn duration_of(vip: &Vip, action: &str, undo: &str) -> Duration {
    let mut all: Vec<Duration> = (0..5)
        .map(|_| {
            let elapsed = vip.run(action).is(0).elapsed;
            vip.run(undo).is(0);
            elapsed
        })
        .collect();
    all.sort();
    all[2]
}

/// A shared address without its rules would answer the clients of all nodes.
fn assert_never_open(kind: &Kind, context: &str) {
    let there = entries(&kind.vip.environment["OCF_RESKEY_ip"]).iter().any(|entry| entry["dev"] == "v0");
    if there && kind.name == "cluster ip" {
        let rules = sh("nft list ruleset");
        assert!(rules.contains("ip daddr 10.0.0.50 drop"), "{context}: {rules}");
    }
}

fn assert_nothing_left(kind: &Kind, clean: &str, context: &str) {
    let ip = &kind.vip.environment["OCF_RESKEY_ip"];
    let on_lo = usize::from(kind.prepare != "true");
    let found = entries(ip);
    assert!(found.len() == on_lo && found.iter().all(|entry| entry["dev"] == "lo"), "{context}: {found:?}");
    assert_eq!(sh(kind.traces), clean, "{context}");
    assert!(announcers().is_empty(), "{context}: {:?}", announcers());
    let files: Vec<String> =
        state_files().into_iter().filter(|name| !name.starts_with("IPaddr2-CIP-")).collect();
    assert!(files.is_empty(), "{context}: {files:?}");
}

fn rounds_of(kind: &Kind, rounds: u64, seed: u64) {
    let mut dice = Dice(seed | 1);
    sh(kind.prepare);
    let clean = sh(kind.traces);
    kind.vip.start().is(0);
    kind.vip.stop().is(0);
    let start_time = duration_of(&kind.vip, "start", "stop");
    kind.vip.start().is(0);
    let stop_time = duration_of(&kind.vip, "stop", "start");
    kind.vip.stop().is(0);
    let mut midway = 0;
    for round in 0..rounds {
        let (action, whole) = if round % 2 == 0 { ("start", start_time) } else { ("stop", stop_time) };
        if action == "stop" {
            kind.vip.start().is(0);
        }
        let after = Duration::from_micros(dice.below(u64::try_from(whole.as_micros()).unwrap()));
        killed(&kind.vip, action, after);
        let context =
            format!("{} round {round} seed {seed}: {action} killed after {after:?} of {whole:?}", kind.name);
        assert_never_open(kind, &context);
        midway +=
            usize::from(entries(&kind.vip.environment["OCF_RESKEY_ip"]).iter().any(|e| e["dev"] == "v0"));
        let stopped = kind.vip.stop();
        assert_eq!(stopped.code, 0, "{context}: {stopped:#?}");
        assert_nothing_left(kind, &clean, &context);
        if round % 5 == 0 {
            let started = kind.vip.start();
            assert_eq!(started.code, 0, "{context}: {started:#?}");
            assert_eq!(kind.vip.monitor().code, 0, "{context}");
            kind.vip.stop().is(0);
            assert_nothing_left(kind, &clean, &context);
        } else if round % 5 == 1 {
            // without a stop in between: start repairs what a killed start left
            killed(&kind.vip, "start", after);
            let started = kind.vip.start();
            assert_eq!(started.code, 0, "{context}, again: {started:#?}");
            assert_eq!(kind.vip.monitor().code, 0, "{context}, again");
            kind.vip.stop().is(0);
            assert_nothing_left(kind, &clean, &context);
        }
    }
    println!(
        "{}: {rounds} rounds, start {start_time:?}, stop {stop_time:?}, address there after the kill: {midway}",
        kind.name
    );
}

fn killed_at_random(which: usize) {
    let usual = if std::env::var_os("CI").is_some() { 500 } else { 60 };
    let rounds = number("RINGFENCE_KILLS").unwrap_or(usual).div_ceil(4);
    let seed = number("RINGFENCE_SEED").unwrap_or(0x5eed) + which as u64;
    world(move || rounds_of(&kinds()[which], rounds, seed));
}

#[test]
fn killed_ipv4() {
    killed_at_random(0);
}

#[test]
fn killed_ipv6() {
    killed_at_random(1);
}

#[test]
fn killed_with_a_copy_on_the_loopback() {
    killed_at_random(2);
}

#[test]
fn killed_in_cluster_ip_mode() {
    killed_at_random(3);
}
