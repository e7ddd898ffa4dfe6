//! Seeded faults of the device and of the network between. `RINGFENCE_SCHEDULES` is their number (200 by default, 2000 where `CI` is
//! set); `RINGFENCE_SEED` runs a single one.
//!
//! What must hold whatever happens: a success was true, by the device's own power and log; every run ends by the deadline that
//! follows from its options; status is 0 or 1 (2 for a node that is off), with a reason; no secret is shown. RIBCL has no sessions
//! that could stay open.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use ringfence_conformance::relay::tcp::{FaultyPath, Schedule};
use ringfence_tests::sim::SplitMix64;
use ringfence_tests::sim::ribcl::{Generation, Quirks, Ribcl, Settings};

use super::agent::given;

/// Seconds for one question, and for reaching a state, as given to the program.
const LOGIN: u64 = 1;
const POWER: u64 = 1;
/// A loaded machine.
const MARGIN: Duration = Duration::from_millis(2500);

/// The longest run that the options allow: a status; for each change of power a request, and two queries or the time for the
/// change, of which the last query may begin at its very end.
fn longest(action: &str) -> Duration {
    let changes = match action {
        "off" | "on" => 1,
        "reboot" => 2,
        _ => 0,
    };
    Duration::from_secs(LOGIN) + Duration::from_secs(LOGIN + POWER.max(2 * LOGIN) + LOGIN) * changes
}

#[derive(Default)]
struct Tally {
    succeeded: AtomicUsize,
    failed: AtomicUsize,
    lied_to: AtomicUsize,
    longest: AtomicU64,
}

fn run(seed: u64, tally: &Tally) {
    let add = |counter: &AtomicUsize| counter.fetch_add(1, Ordering::Relaxed);
    let mut random = SplitMix64::new(seed ^ 0x110);
    let generation = Generation::ALL[usize::try_from(random.below(6)).unwrap()];
    let was_on = random.chance(75);
    let action = match random.below(100) {
        0..55 => "off",
        55..72 => "status",
        72..86 => "reboot",
        86..95 => "on",
        _ => "monitor",
    };
    let extra = match random.below(8) {
        0 => "ilo_powerdown_method=power",
        1 if generation >= Generation::Ilo2 => "ilo_powerdown_method=button",
        2 => "method=cycle",
        3 if generation.speaks_http() => "ribcl_transport=http",
        4 if !generation.speaks_http() => "ribcl_transport=raw",
        _ => "",
    };
    // The device, the network, or both.
    let (faulty_device, faulty_path) = match random.below(4) {
        0 | 1 => (true, false),
        2 => (false, true),
        _ => (true, true),
    };
    let quirks = if faulty_device { Quirks::draw(seed) } else { Quirks::default() };
    let folder = tempfile::tempdir().unwrap();
    let settings =
        Settings { on: was_on, quirks: quirks.clone(), ..Settings::new(generation, folder.path()) };
    let sim = Ribcl::start(settings).unwrap();
    let schedule = if faulty_path { Schedule::draw(seed) } else { Schedule::CLEAN };
    let path = faulty_path.then(|| FaultyPath::start(sim.address(), schedule.clone()).unwrap());
    let port = path.as_ref().map_or(sim.address(), FaultyPath::address).port();
    // A handshake that breaks off is tried again with older versions: by a program that takes longer than everything else here.
    let bridge = if random.chance(10) { "" } else { "gnutlscli_path=/nowhere/gnutls-cli" };
    let outcome = given(&format!(
        "ip=127.0.0.1\nipport={port}\nusername=admin\npassword=s3cret1\nssl_fingerprint={}\naction={action}\n{extra}\n{bridge}\n\
         login_timeout={LOGIN}\npower_timeout={POWER}\nretry_on=0\nstonith_status_sleep=0\nverbose=1\n",
        sim.fingerprint()
    ));
    let tell = || {
        format!(
            "seed {seed}: {generation:?} {action} {extra} was_on={was_on} {quirks:?} {schedule} {:?}\n{outcome:?}",
            sim.log()
        )
    };

    // no panic, always a reason, no secret
    let code = outcome.code.unwrap_or_else(|| panic!("ended by a signal: {}", tell()));
    assert!(matches!(code, 0 | 1) || (code == 2 && action == "status"), "{}", tell());
    assert!(!outcome.stderr.contains("internal error") && !outcome.stderr.contains("panicked"), "{}", tell());
    assert!(code != 1 || (outcome.stderr.contains("ERROR: ") && outcome.stdout.is_empty()), "{}", tell());
    assert!(!outcome.stderr.contains("s3cret1") && !outcome.stdout.contains("s3cret1"), "{}", tell());
    assert!(outcome.took < longest(action) + MARGIN, "too long: {}", tell());
    tally.longest.fetch_max(u64::try_from(outcome.took.as_millis()).unwrap(), Ordering::Relaxed);

    // no false success
    let log = sim.log();
    let went_off = log.contains(&"power off".to_owned());
    match (action, code) {
        ("off", 0) => assert!(!sim.is_on() && went_off == was_on, "{}", tell()),
        ("reboot", 0) => assert!(!was_on || went_off, "{}", tell()),
        ("on", 0) => assert!(sim.is_on(), "{}", tell()),
        ("status", 0) => {
            assert_eq!(outcome.stdout, "Status: ON\n", "{}", tell());
            assert!(was_on, "{}", tell());
        }
        ("status", 2) => {
            assert_eq!(outcome.stdout, "Status: OFF\n", "{}", tell());
            assert!(!was_on, "{}", tell());
        }
        _ => {}
    }
    // A machine that is to be off is never started. A request for off knows no other orders.
    if action == "off" {
        assert!(!log.contains(&"power on".to_owned()) || quirks.flips_before_order, "{}", tell());
    }
    add(if code == 1 { &tally.failed } else { &tally.succeeded });
    if quirks.lies && was_on && !quirks.flips_before_order && matches!(action, "off" | "reboot") {
        assert_eq!(code, 1, "a lie was believed: {}", tell());
        add(&tally.lied_to);
    }
}

#[test]
fn no_schedule_leads_to_a_lie_or_a_hang() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let usual = if std::env::var_os("CI").is_some() { 2000 } else { 200 };
    let (first, count) = number("RINGFENCE_SEED")
        .map_or_else(|| (0, number("RINGFENCE_SCHEDULES").unwrap_or(usual)), |seed| (seed, 1));
    let next = AtomicU64::new(first);
    let tally = Tally::default();
    let failures = Mutex::new(Vec::new());
    // nearly all of the time is waiting
    std::thread::scope(|scope| {
        for _ in 0..count.min(16) {
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
        "{count} schedules: {} succeeded, {} failed honestly, {} lies not believed; longest run {} ms",
        of(&tally.succeeded),
        of(&tally.failed),
        of(&tally.lied_to),
        tally.longest.load(Ordering::Relaxed)
    );
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {count}:\n{}", failures.len(), failures.join("\n"));
    // a program that always gives up would pass everything above
    assert!(count < 50 || of(&tally.succeeded) * 5 > usize::try_from(count).unwrap() * 2);
}
