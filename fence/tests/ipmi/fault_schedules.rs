//! Seeded faults between the client and a BMC. `RINGFENCE_SCHEDULES` is the number of schedules (200 by default, 2000 in full);
//! `RINGFENCE_SEED` runs a single one.
//!
//! What must hold whatever the network does: a status that was returned was true at some moment of the call; "off" is confirmed only
//! when the power was off after the request; every call ends by its deadline; nothing panics; and once the network is well, no
//! session is open at the BMC.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ringfence_conformance::relay::ledger::path_is_to_blame;
use ringfence_conformance::relay::udp::{FaultyPath, Schedule};
use ringfence_fence::ipmi::{Auth, Control, Error, Session, Target, Version};
use ringfence_tests::sim::SplitMix64;
use ringfence_tests::sim::bmc::{Bmc, Config, Quirks};

use super::target;

/// Allowed beyond the deadline: the bound of closing, and a loaded machine.
const MARGIN: Duration = Duration::from_millis(250 + 350);
const TIME: Duration = Duration::from_millis(1800);

/// Whether the power had that state at some moment between the two.
fn was(log: &[(Instant, bool)], wanted: bool, from: Instant, to: Instant) -> bool {
    let before = log.iter().rev().find(|(at, _)| *at <= from).map(|(_, on)| *on);
    before == Some(wanted) || log.iter().any(|(at, on)| *at >= from && *at <= to && *on == wanted)
}

#[derive(Default)]
struct Tally {
    confirmed: AtomicUsize,
    failed: AtomicUsize,
    reopened: AtomicUsize,
    retransmitted: AtomicUsize,
    ignored: AtomicUsize,
    leaked15: AtomicUsize,
    leaked20: AtomicUsize,
}

fn run(seed: u64, tally: &Tally) {
    let mut random = SplitMix64::new(seed ^ 0x5EED);
    let schedule = Schedule::draw(seed);
    let lies = random.chance(10);
    let quirks = Quirks {
        lies,
        drops_unknown_suites: random.chance(50),
        mute_second_rakp3: random.chance(50),
        slow_power: Duration::from_millis(if random.chance(30) { random.below(200) } else { 0 }),
        forgets_on_power: random.chance(15),
        ..Quirks::default()
    };
    let suites =
        [vec![17, 3], vec![17], vec![3]].get(usize::try_from(random.below(3)).unwrap()).unwrap().clone();
    let bmc =
        Bmc::start(Config { suites, quirks, slots: 16, on: random.chance(70), ..Config::default() }).unwrap();
    let amnesia = bmc.amnesia();
    let path = FaultyPath::start(bmc.address(), schedule.clone(), move || amnesia.strike()).unwrap();
    let v15 = random.chance(15);
    let version = if v15 { Version::V15 { auth: Some(Auth::Md5) } } else { Version::V20 { suite: None } };
    let begun = Instant::now();
    let deadline = begun + TIME;
    let wanted = Target {
        version,
        packet_timeout: Duration::from_millis(120),
        connect_deadline: begun + TIME * 2 / 3,
        deadline,
        ..target(path.address())
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| off(&wanted, &bmc, tally)));
    let end = Instant::now();
    let took = end - begun;
    let outcome = outcome.unwrap_or_else(|_| panic!("seed {seed}: panic in the client, {schedule:?}"));
    match outcome {
        Ok(()) => {
            assert!(
                !lies || bmc.power_log().first().is_some_and(|(_, on)| !on),
                "seed {seed}: a lie was believed, {schedule:?}"
            );
            tally.confirmed.fetch_add(1, Ordering::Relaxed)
        }
        Err(_) => tally.failed.fetch_add(1, Ordering::Relaxed),
    };
    assert!(took < TIME + MARGIN, "seed {seed}: took {took:?}, {schedule:?}");
    if path.sent_to_device() == 0 {
        return;
    }
    // a session may stay open only where the BMC could not be reached for it: see the ledger
    let open = bmc.open_sessions_after(Duration::from_millis(300));
    if open > 0 {
        let passages = path.passages();
        for id in bmc.open_session_ids() {
            assert!(
                path_is_to_blame(&passages, id, end),
                "seed {seed}: session {id:08x} left open after {took:?} though the BMC could be reached, v15 {v15}, {schedule:?}"
            );
        }
        let counter = if v15 { &tally.leaked15 } else { &tally.leaked20 };
        counter.fetch_add(1, Ordering::Relaxed);
    }
    // and whatever happened, the BMC serves the next one as soon as the network is well
    path.heal();
    let now = Instant::now();
    let next = Target {
        connect_deadline: now + Duration::from_secs(4),
        deadline: now + Duration::from_secs(5),
        interrupted: || false,
        ..wanted
    };
    let mut session =
        Session::open(&next).unwrap_or_else(|error| panic!("seed {seed}: after healing: {error}"));
    // an "off" that the path held back may arrive meanwhile
    let from = Instant::now();
    let on = session.chassis_status().unwrap().on;
    assert!(was(&bmc.power_log(), on, from, Instant::now()), "seed {seed}");
}

/// Turns it off and polls until the BMC says so, as a fence agent does.
fn off(wanted: &Target, bmc: &Bmc, tally: &Tally) -> Result<(), Error> {
    let mut session = Session::open(wanted)?;
    let result = (|| {
        let mut asked = Instant::now();
        loop {
            let from = Instant::now();
            let chassis = session.chassis_status()?;
            let to = Instant::now();
            assert!(
                was(&bmc.power_log(), chassis.on, from, to),
                "a status that never was true: {}",
                chassis.on
            );
            if !chassis.on {
                assert!(
                    was(&bmc.power_log(), false, asked, to),
                    "off confirmed and the power never was off after the request"
                );
                return Ok(());
            }
            if Instant::now() >= wanted.deadline {
                return Err(Error::TimedOut { waiting_for: "power off", maybe_done: false });
            }
            asked = Instant::now();
            match session.chassis_control(Control::Off) {
                Ok(()) | Err(Error::TimedOut { .. }) => {}
                Err(error) => return Err(error),
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    })();
    let traffic = session.traffic();
    tally.retransmitted.fetch_add(usize::try_from(traffic.retransmissions).unwrap(), Ordering::Relaxed);
    tally.ignored.fetch_add(usize::try_from(traffic.ignored).unwrap(), Ordering::Relaxed);
    tally.reopened.fetch_add(bmc.sessions_opened().saturating_sub(1), Ordering::Relaxed);
    session.close();
    result
}

#[test]
fn no_schedule_leads_to_a_lie_a_hang_or_a_leak() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (first, count) = match number("RINGFENCE_SEED") {
        Some(seed) => (seed, 1),
        None => (0, number("RINGFENCE_SCHEDULES").unwrap_or(200)),
    };
    let next = AtomicU64::new(first);
    let tally = Tally::default();
    let failures = Mutex::new(Vec::new());
    // nearly all of the time is waiting
    std::thread::scope(|scope| {
        for _ in 0..16 {
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
        "{count} schedules: {} confirmed off, {} failed honestly, {} further sessions, {} retransmissions, {} datagrams ignored, {} v1.5 and {} v2.0 runs with a session left by the path's fault, 0 by ours",
        of(&tally.confirmed),
        of(&tally.failed),
        of(&tally.reopened),
        of(&tally.retransmitted),
        of(&tally.ignored),
        of(&tally.leaked15),
        of(&tally.leaked20)
    );
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {count}:\n{}", failures.len(), failures.join("\n"));
    // closing is retransmitted: that all copies are lost is rare
    assert!(count < 50 || of(&tally.leaked20) * 20 < usize::try_from(count).unwrap());
    // a client that always gives up would pass everything above
    assert!(count < 50 || of(&tally.confirmed) * 2 > usize::try_from(count).unwrap());
}
