//! Seeded faults between the program and real sshds. `RINGFENCE_SCHEDULES` is their number (200 by default, 2000 where `CI` is set);
//! `RINGFENCE_SEED` runs a single one.
//!
//! What must hold whatever the network does: a success was true, by the node's own record; every run ends by the deadline that
//! follows from its options; status is 0 or 1, with a reason; no login stays behind; no secret is said.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use ringfence_conformance::relay::tcp::{FaultyPath, Schedule};
use ringfence_tests::sim::SplitMix64;

use super::node::{Node, given, until};

/// Seconds, as given to the program.
const LOGIN: u64 = 2;
const SHELL: u64 = 2;
const POWER: u64 = 4;
/// A loaded machine.
const MARGIN: Duration = Duration::from_millis(2500);

/// Login, boot id, order, then waiting, whose last look has the life sign and the port; a login more where another boot is looked for.
fn longest(action: &str) -> Duration {
    Duration::from_secs(match action {
        "status" | "monitor" => LOGIN,
        "off" => LOGIN + SHELL + POWER + 4,
        _ => LOGIN + SHELL + SHELL + POWER + 2 + LOGIN + SHELL,
    })
}

#[derive(Default)]
struct Tally {
    succeeded: AtomicUsize,
    failed: AtomicUsize,
    lied_to: AtomicUsize,
    unobserved: AtomicUsize,
    longest: AtomicU64,
}

fn run(seed: u64, node: &Node, tally: &Tally) {
    let mut random = SplitMix64::new(seed ^ 0x55B1);
    let schedule = if random.chance(25) { Schedule::CLEAN } else { Schedule::draw(seed) };
    let lies = random.chance(12);
    let by_password = random.chance(30);
    let action = match random.below(100) {
        0..45 => "off",
        45..75 => "reboot",
        75..92 => "status",
        _ => "monitor",
    };
    node.be("lies", lies);
    node.forget_orders();
    if !node.is_on() {
        node.power_on();
    }
    let path = Mutex::new(Some(FaultyPath::start(node.address(), schedule.clone()).unwrap()));
    let address = path.lock().unwrap().as_ref().unwrap().address();
    let known = std::fs::read_to_string(node.path("known_hosts")).unwrap();
    let key = known.split_once(' ').unwrap().1;
    std::fs::write(node.path("hosts"), format!("[127.0.0.1]:{} {key}", address.port())).unwrap();
    let mut options = node.options_at(
        address,
        &format!(
            "known_hosts={}\naction={action}\nlogin_timeout={LOGIN}\nshell_timeout={SHELL}\npower_timeout={POWER}\nverbose=1",
            node.path("hosts").display()
        ),
    );
    if by_password {
        options = options.split_inclusive('\n').filter(|l| !l.starts_with("identity_file")).collect();
        options += "password=s3cret1\n";
    }
    let over = AtomicBool::new(false);
    let outcome = std::thread::scope(|scope| {
        // The path of a node that is down leads nowhere.
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                if !node.is_on() {
                    drop(path.lock().unwrap().take());
                    return;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let outcome = given(&options);
        over.store(true, Ordering::Relaxed);
        outcome
    });
    let tell =
        || format!("seed {seed}: {action} lies={lies} {schedule}\n{outcome:?}\norders {}", node.orders());

    let code = outcome.code.unwrap_or_else(|| panic!("ended by a signal: {}", tell()));
    assert!(matches!(code, 0 | 1), "{}", tell());
    assert!(!outcome.stderr.contains("internal error") && !outcome.stderr.contains("panicked"), "{}", tell());
    assert!(code != 1 || (outcome.stderr.contains("ERROR: ") && outcome.stdout.is_empty()), "{}", tell());
    assert!(!outcome.stderr.contains("s3cret1"), "{}", tell());
    assert!(outcome.took < longest(action) + MARGIN, "too long: {}", tell());
    tally.longest.fetch_max(u64::try_from(outcome.took.as_millis()).unwrap(), Ordering::Relaxed);

    match (action, code) {
        ("off", 0) => assert!(!node.is_on() && node.orders() == "o" && !lies, "{}", tell()),
        ("reboot", 0) => assert!(node.orders() == "b" && !lies, "{}", tell()),
        ("status", 0) => assert!(outcome.stdout == "Status: ON\n" && node.is_on(), "{}", tell()),
        _ => {}
    }
    if code == 1 && matches!(action, "off" | "reboot") {
        // an order that has begun waits a second before it does its work
        std::thread::sleep(Duration::from_millis(1200));
    }
    let done = !lies && !node.orders().is_empty();
    if code == 1 && done {
        tally.unobserved.fetch_add(1, Ordering::Relaxed);
    }
    if lies && matches!(action, "off" | "reboot") {
        assert_eq!(code, 1, "a lie was believed: {}", tell());
        tally.lied_to.fetch_add(1, Ordering::Relaxed);
    }
    (if code == 1 { &tally.failed } else { &tally.succeeded }).fetch_add(1, Ordering::Relaxed);
    drop(path);
    if node.orders() == "b" && !lies {
        until("the node is back", || node.is_up());
    }
}

#[test]
fn no_schedule_leads_to_a_lie_or_a_hang() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let ci = std::env::var_os("CI").is_some();
    let (first, count) = match number("RINGFENCE_SEED") {
        Some(seed) => (seed, 1),
        None => (0, number("RINGFENCE_SCHEDULES").unwrap_or(if ci { 2000 } else { 200 })),
    };
    let next = AtomicU64::new(first);
    let tally = Tally::default();
    let failures = Mutex::new(Vec::new());
    // nearly all of the time is waiting
    std::thread::scope(|scope| {
        for _ in 0..count.min(16) {
            scope.spawn(|| {
                let node = Node::start("");
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        break;
                    }
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(seed, &node, &tally))) {
                        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                        failures.lock().unwrap().push(format!("seed {seed}: {text}"));
                    }
                }
            });
        }
    });
    let of = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    println!(
        "{count} schedules with sshd: {} succeeded, {} failed honestly ({} of them had an effect that could not be seen), {} lies not \
         believed; longest run {} ms",
        of(&tally.succeeded),
        of(&tally.failed),
        of(&tally.unobserved),
        of(&tally.lied_to),
        tally.longest.load(Ordering::Relaxed)
    );
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {count}:\n{}", failures.len(), failures.join("\n"));
    // a program that always gives up would pass everything above
    assert!(count < 50 || of(&tally.succeeded) * 4 > usize::try_from(count).unwrap());
}
