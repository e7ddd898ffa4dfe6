//! Seeded faults of hosts, requests and connections. `RINGFENCE_SCHEDULES` is their number (200 by default, 2000 where `CI` is set);
//! `RINGFENCE_SEED` runs a single one.
//!
//! What must hold whatever the pool does: a success was true, by the machines' own domains; every run ends by the deadline that follows
//! from its options; status is 0 or 1 (2 for a machine that is off), with a reason; every session of which the agent knew was
//! logged out, or its logout was sent; no secret is in any output.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ringfence_conformance::relay::tcp::{FaultyPath, Schedule};
use ringfence_tests::sim::SplitMix64;
use ringfence_tests::sim::xenapi::{Faults, Pool, Quirks, Settings, Vm};

use super::agent::{PROGRAM, at, command, ended, started};

/// Seconds, as given to the program.
const LOGIN: u64 = 2;
const SHELL: u64 = 1;
const POWER: u64 = 2;
/// A loaded machine.
const MARGIN: Duration = Duration::from_millis(1500);

/// The longest run that the options allow: login, the search for the machine and its record, then for each change of power a request,
/// the waiting, and the query and pause with which the waiting ends; at the end tasks (1 s) and the session (2 s).
fn longest(action: &str) -> Duration {
    let changes = match action {
        "off" | "on" => 1,
        "reboot" => 2,
        _ => 0,
    };
    let pause = Duration::from_millis(200);
    Duration::from_secs(LOGIN + 2 * SHELL + 3)
        + (Duration::from_secs(2 * SHELL + POWER + SHELL) + pause) * changes
}

#[derive(Default)]
struct Tally {
    succeeded: AtomicUsize,
    failed: AtomicUsize,
    lied_to: AtomicUsize,
    ended_by_signal: AtomicUsize,
    by_the_path: AtomicUsize,
    relogins: AtomicUsize,
    longest: AtomicU64,
}

fn run(seed: u64, tally: &Tally) {
    let add = |counter: &AtomicUsize| counter.fetch_add(1, Ordering::Relaxed);
    let mut random = SplitMix64::new(seed ^ 0x0EA9);
    let hosts = 1 + usize::try_from(random.below(3)).unwrap();
    let state = ["Running", "Running", "Running", "Paused", "Suspended", "Halted", "Halted"]
        [usize::try_from(random.below(7)).unwrap()];
    let action = match random.below(100) {
        0..50 => "off",
        50..66 => "status",
        66..80 => "reboot",
        80..92 => "on",
        92..96 => "list-status",
        _ => "monitor",
    };
    let resident = usize::try_from(random.below(u64::try_from(hosts).unwrap())).unwrap();
    let vms = vec![Vm { power: state, host: resident, ..Vm::running("node1") }, Vm::running("node2")];
    let path = random.chance(15);
    let quirks = Quirks {
        lies: random.chance(10),
        takes: Duration::from_millis(random.below(3) * random.below(300)),
        chunked: random.chance(20),
        closes: random.chance(20),
        ..Quirks::default()
    };
    let lies = quirks.lies;
    let faults = if path { Faults::default() } else { Faults::draw(seed) };
    let settings = Settings {
        hosts,
        vms,
        quirks,
        faults: faults.clone(),
        tls: random.chance(10),
        seed,
        ..Settings::default()
    };
    let pool = Pool::start(settings).unwrap();
    pool.set_master(usize::try_from(random.below(u64::try_from(hosts).unwrap())).unwrap());
    let schedule = Schedule::draw(seed);
    // The relay has a port of its own, to which no slave can send anybody.
    let relay = path.then(|| {
        pool.set_master(0);
        FaultyPath::start(pool.address(0), schedule.clone()).unwrap()
    });
    let form = if random.chance(40) { "/jsonrpc" } else { "" };
    let urls: Vec<String> = if let Some(relay) = &relay {
        vec![pool.url(0).replace(&pool.address(0).to_string(), &relay.address().to_string()) + form]
    } else {
        let first = usize::try_from(random.below(3)).unwrap();
        let count = 1 + usize::try_from(random.below(u64::try_from(hosts).unwrap())).unwrap();
        (0..count).map(|n| pool.url((first + n) % hosts) + form).collect()
    };
    let options = at(
        &urls.join(","),
        &format!(
            "action={action}\nlogin_timeout={LOGIN}\nshell_timeout={SHELL}\npower_timeout={POWER}\nretry_on=0\n\
             stonith_status_sleep=0\nverbose=1\nssl_insecure=1"
        ),
    );
    let signal = random.chance(6).then(|| Duration::from_millis(random.below(500)));
    let begun = Instant::now();
    let child = started(command(Path::new(PROGRAM)), &options);
    if let Some(after) = signal {
        std::thread::sleep(after);
        // Not after it has been waited for: the number is still its own.
        std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    }
    let outcome = ended(child, begun);
    let was_on = state != "Halted";
    let tell = || {
        let way = relay.as_ref().map(|_| schedule.to_string()).unwrap_or_default();
        format!(
            "seed {seed}: {action} of a {state} machine at {urls:?} lies={lies} {faults} {way}\n{:?}\n{outcome:?}",
            pool.calls()
        )
    };

    // no secret
    for text in [&outcome.stdout, &outcome.stderr] {
        assert!(!text.contains("s3cret1") && !text.contains("OpaqueRef:"), "a secret: {}", tell());
    }
    // no panic, and always a reason
    assert!(!outcome.stderr.contains("internal error") && !outcome.stderr.contains("panicked"), "{}", tell());
    assert!(outcome.took < longest(action) + MARGIN, "too long: {}", tell());
    tally.longest.fetch_max(u64::try_from(outcome.took.as_millis()).unwrap(), Ordering::Relaxed);
    if outcome.signal == Some(15) && signal.is_some() {
        add(&tally.ended_by_signal);
        assert!(path || pool.abandoned_sessions() == 0, "a session was left: {}", tell());
        return;
    }
    let code = outcome.code.unwrap_or_else(|| panic!("ended by a signal: {}", tell()));
    assert!(matches!(code, 0 | 1) || (code == 2 && action == "status"), "{}", tell());
    assert!(code != 1 || (outcome.stderr.contains("ERROR: ") && outcome.stdout.is_empty()), "{}", tell());

    // no false success
    let was_halted = pool.changes("node1").iter().skip(1).any(|power| power == "Halted");
    match (action, code) {
        ("off", 0) => assert!(!pool.is_running("node1") && pool.power("node1") == "Halted", "{}", tell()),
        ("reboot", 0) => assert!(!was_on || was_halted, "{:?} {}", pool.changes("node1"), tell()),
        ("on", 0) => assert!(pool.is_running("node1") && pool.power("node1") == "Running", "{}", tell()),
        ("status", 0) => assert!(was_on && outcome.stdout == "Status: ON\n", "{}", tell()),
        ("status", 2) => assert!(!was_on && outcome.stdout == "Status: OFF\n", "{}", tell()),
        ("list-status", 0) => {
            let word = if was_on { ",node1,ON\n" } else { ",node1,OFF\n" };
            assert!(outcome.stdout.contains(word) && outcome.stdout.contains(",node2,ON\n"), "{}", tell());
        }
        _ => {}
    }
    assert_eq!(pool.power("node2"), "Running", "another machine was touched: {}", tell());
    add(if code == 1 { &tally.failed } else { &tally.succeeded });
    if lies && was_on && matches!(action, "off" | "reboot") {
        assert_eq!(code, 1, "a lie was believed: {}", tell());
        add(&tally.lied_to);
    }

    // no session left of which the agent knew
    if path {
        tally.by_the_path.fetch_add(pool.leaked_sessions(), Ordering::Relaxed);
    } else {
        assert_eq!(pool.leaked_sessions(), 0, "a session was left: {}", tell());
    }
    tally.relogins.fetch_add(pool.sessions_opened().saturating_sub(1), Ordering::Relaxed);
}

#[test]
fn no_schedule_leads_to_a_lie_a_hang_or_a_leak() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (first, count) = match number("RINGFENCE_SEED") {
        Some(seed) => (seed, 1),
        None => (
            0,
            number("RINGFENCE_SCHEDULES").unwrap_or(if std::env::var_os("CI").is_some() {
                2000
            } else {
                200
            }),
        ),
    };
    let next = AtomicU64::new(first);
    let tally = Tally::default();
    let failures = Mutex::new(Vec::new());
    // nearly all of the time is waiting
    std::thread::scope(|scope| {
        for _ in 0..count.min(12) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        break;
                    }
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(seed, &tally))) {
                        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                        failures.lock().unwrap().push(format!("seed {seed}: {text}"));
                    }
                }
            });
        }
    });
    let of = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    println!(
        "{count} schedules with a pool: {} succeeded, {} failed honestly, {} lies not believed, {} ended by a signal, {} further logins, \
         0 sessions left by ours, {} by a connection that broke; longest run {} ms",
        of(&tally.succeeded),
        of(&tally.failed),
        of(&tally.lied_to),
        of(&tally.ended_by_signal),
        of(&tally.relogins),
        of(&tally.by_the_path),
        tally.longest.load(Ordering::Relaxed)
    );
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {count}:\n{}", failures.len(), failures.join("\n"));
    // a program that always gives up would pass everything above
    assert!(count < 50 || of(&tally.succeeded) * 5 > usize::try_from(count).unwrap() * 2);
}
