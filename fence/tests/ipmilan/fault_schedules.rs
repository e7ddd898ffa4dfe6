//! Seeded faults between the program and the real `ipmi_sim`. `RINGFENCE_SCHEDULES` is their number (200 by default, 2000 where `CI` is set);
//! `RINGFENCE_SEED` runs a single one.
//!
//! What must hold whatever the network does: a success was true, by the chassis' own record; every run ends by the deadline that
//! follows from its options; status is 0 or 1 (2 for a node that is off), with a reason; no session stays open at a BMC that could be
//! reached (see [`ringfence_tests::sim::ledger`]).

use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ringfence_conformance::relay::ledger::{ids_given, path_is_to_blame, was_activated};
use ringfence_conformance::relay::udp::{FaultyPath, Passage, Schedule};
use ringfence_tests::sim::SplitMix64;
use ringfence_tests::sim::ipmi_sim::IpmiSim;

use super::agent::{self, at};

/// Seconds, as given to the program.
const LOGIN: u64 = 2;
const SHELL: u64 = 1;
const POWER: u64 = 2;
/// What closing the session may take beyond the deadline of a request, and a loaded machine.
const CLOSING: Duration = Duration::from_millis(250);
const MARGIN: Duration = Duration::from_millis(1500);

/// The longest run that the options allow: login, a status, then for each change of power a request, the waiting, and the query
/// and pause with which the waiting ends; closing has the rest of the last request's time.
fn longest(action: &str) -> Duration {
    let changes = match action {
        "off" | "on" => 1,
        "reboot" => 2,
        _ => 0,
    };
    let pause = Duration::from_millis(200);
    Duration::from_secs(LOGIN + SHELL + SHELL)
        + CLOSING
        + (Duration::from_secs(SHELL + POWER + SHELL) + pause) * changes
}

#[derive(Default)]
struct Tally {
    succeeded: AtomicUsize,
    failed: AtomicUsize,
    lied_to: AtomicUsize,
    restarts: AtomicUsize,
    crashed: AtomicUsize,
    active: AtomicUsize,
    half_open: AtomicUsize,
    longest: AtomicU64,
}

fn run(seed: u64, sim: &IpmiSim, tally: &Tally) {
    let add = |counter: &AtomicUsize| counter.fetch_add(1, Ordering::Relaxed);
    let mut random = SplitMix64::new(seed ^ 0xA6E2);
    let schedule = Schedule::draw(seed);
    let lies = random.chance(12);
    let was_on = random.chance(75);
    let action = match random.below(100) {
        0..55 => "off",
        55..72 => "status",
        72..86 => "reboot",
        86..95 => "on",
        _ => "monitor",
    };
    let version = match random.below(10) {
        0 => "lanplus=0",
        1 => "lanplus=0\nauth=password",
        2 | 3 => "lanplus=1\ncipher=3",
        _ => "lanplus=1",
    };
    let button = (action == "status" && random.chance(50)).then(|| Duration::from_millis(random.below(300)));
    sim.set_power(was_on).unwrap();
    sim.lie(lies).unwrap();
    sim.forget_commands().unwrap();
    let mut before = sim.open_sessions().unwrap_or(usize::MAX);
    if before > 40 {
        sim.restart().unwrap();
        before = 0;
    }
    let restarter = sim.restarter();
    let path = FaultyPath::start(sim.address(), schedule.clone(), move || restarter.strike()).unwrap();
    let options = at(
        path.address(),
        &format!(
            "action={action}\n{version}\nlogin_timeout={LOGIN}\nshell_timeout={SHELL}\npower_timeout={POWER}\n\
             retry_on=0\nipmitool_timeout=0.12\nstonith_status_sleep=0\nverbose=1"
        ),
    );
    let (outcome, end) = std::thread::scope(|scope| {
        if let Some(after) = button {
            scope.spawn(move || {
                std::thread::sleep(after);
                sim.set_power(!was_on).unwrap();
            });
        }
        (agent::given(&options), Instant::now())
    });
    let tell =
        || format!("seed {seed}: {action} {version} lies={lies} was_on={was_on} {schedule:?}\n{outcome:?}");

    // no panic, and always a reason
    let code = outcome.code.unwrap_or_else(|| panic!("ended by a signal: {}", tell()));
    assert!(matches!(code, 0 | 1) || (code == 2 && action == "status"), "{}", tell());
    assert!(!outcome.stderr.contains("internal error") && !outcome.stderr.contains("panicked"), "{}", tell());
    assert!(code != 1 || (outcome.stderr.contains("ERROR: ") && outcome.stdout.is_empty()), "{}", tell());
    assert!(outcome.took < longest(action) + MARGIN, "too long: {}", tell());
    tally.longest.fetch_max(u64::try_from(outcome.took.as_millis()).unwrap(), Ordering::Relaxed);

    // no false success
    let commanded = |what: &str| sim.commands().iter().any(|line| line == what);
    match (action, code) {
        ("off", 0) => {
            assert!(!sim.is_on() && (!was_on || commanded("power 0")), "{:?} {}", sim.commands(), tell());
        }
        ("reboot", 0) => {
            assert!(!was_on || (commanded("power 0") && !lies), "{:?} {}", sim.commands(), tell());
        }
        ("on", 0) => assert!(sim.is_on() && (was_on || commanded("power 1")), "{}", tell()),
        ("status", 0) => {
            assert_eq!(outcome.stdout, "Status: ON\n", "{}", tell());
            assert!(was_on || button.is_some_and(|after| after < outcome.took), "{}", tell());
        }
        ("status", 2) => {
            assert_eq!(outcome.stdout, "Status: OFF\n", "{}", tell());
            assert!(!was_on || button.is_some_and(|after| after < outcome.took), "{}", tell());
        }
        _ => {}
    }
    add(if code == 1 { &tally.failed } else { &tally.succeeded });
    if lies && was_on && matches!(action, "off" | "reboot") {
        assert_eq!(code, 1, "a lie was believed: {}", tell());
        add(&tally.lied_to);
    }

    // no session left where the BMC could be reached
    if schedule.amnesia_at.is_some_and(|at| at < path.sent_to_device()) {
        add(&tally.restarts);
        before = 0;
    }
    let open = || sim.open_sessions().map(|open| open.saturating_sub(before));
    let mut left = open();
    if !matches!(left, Ok(0)) {
        // what the path still holds back arrives
        std::thread::sleep(Duration::from_millis(350));
        left = open();
    }
    let Ok(left) = left else {
        // a corrupt packet too many: that is ipmi_sim's own fault, and counted
        add(&tally.crashed);
        sim.restart().unwrap();
        return;
    };
    let passages = path.passages();
    let blamed: Vec<u32> =
        ids_given(&passages).into_iter().filter(|id| path_is_to_blame(&passages, *id, end)).collect();
    assert!(
        left <= blamed.len(),
        "{left} sessions left open, {} by the path, ids {:x?}: {}\n{}",
        blamed.len(),
        ids_given(&passages),
        tell(),
        told(&passages, end)
    );
    let active = blamed.iter().filter(|id| was_activated(&passages, **id)).count().min(left);
    tally.active.fetch_add(active, Ordering::Relaxed);
    tally.half_open.fetch_add(left - active, Ordering::Relaxed);
}

/// The passages, one a line: for the reader of a failure.
fn told(passages: &[Passage], end: Instant) -> String {
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    };
    let line = |p: &Passage| {
        let (way, fate) = (if p.to_device { "->" } else { "<-" }, if p.intact { "whole" } else { "spoilt" });
        let came = p.delivered.map_or("never".into(), |at| format!("{:?}", at - p.at));
        format!(
            "{:?} before the end {way} {fate}, arrived {came}: {}\n",
            end.saturating_duration_since(p.at),
            hex(&p.bytes)
        )
    };
    passages.iter().map(line).collect()
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
                let sim = IpmiSim::start(None).unwrap();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        break;
                    }
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(seed, &sim, &tally))) {
                        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                        failures.lock().unwrap().push(format!("seed {seed}: {text}"));
                    }
                }
            });
        }
    });
    let of = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    println!(
        "{count} schedules with ipmi_sim: {} succeeded, {} failed honestly, {} lies not believed, {} restarts of ipmi_sim during \
         a run, {} crashes of it, left by the path's fault {} sessions and {} half-open ones, 0 by ours; longest run {} ms",
        of(&tally.succeeded),
        of(&tally.failed),
        of(&tally.lied_to),
        of(&tally.restarts),
        of(&tally.crashed),
        of(&tally.active),
        of(&tally.half_open),
        tally.longest.load(Ordering::Relaxed)
    );
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {count}:\n{}", failures.len(), failures.join("\n"));
    // a program that always gives up would pass everything above
    assert!(count < 50 || of(&tally.succeeded) * 2 > usize::try_from(count).unwrap());
}
