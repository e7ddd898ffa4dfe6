//! Live migration between two Xen hosts by the agents, whole and cut in the middle, each cut followed by what Pacemaker does then.
//!
//! An observer that asks neither `xl` nor an agent sees every moment of it: there is never a second running copy, and in the end
//! there is exactly one.
#![cfg(feature = "lab")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test's helper functions are tests too; the figures are for who reads the log"
)]

use ringfence_tests::lab::xen::{Domain, Seen, Watch};
use ringfence_tests::lab::{Disks, Guest, Lab, LabError, Needs, Ran};
use ringfence_tests::sim::SplitMix64;
use std::time::{Duration, Instant};

const OURS: &str = "ringfence/Xen";
const UPSTREAMS: &str = "heartbeat/Xen";
/// What an operation of the cluster gets, in ms.
const MIGRATES_IN: u64 = 120_000;
const CUT_AFTER: u64 = 30_000;

fn guest() -> Domain {
    Domain::named("vm").word("load=1")
}

fn pair(test: &str) -> (Lab, [Guest; 2]) {
    let lab = Lab::open(&Needs::of(test).xen().agents()).unwrap();
    let hosts = lab.guests(["xa", "xb"], &Disks::none()).unwrap();
    for host in &hosts {
        guest().put(host).unwrap();
        host.run("mkdir -p /run/resource-agents").unwrap().ok().unwrap();
    }
    (lab, hosts)
}

/// The agent's answer, if the host was there to give it.
fn asked(
    agent: &str,
    host: &Guest,
    action: &str,
    milliseconds: u64,
    more: &[(&str, &str)],
) -> Result<Ran, LabError> {
    let (milliseconds, path) = (milliseconds.to_string(), guest().path());
    let mut parameters = vec![
        ("xmfile", path.as_str()),
        ("shutdown_timeout", "8"),
        ("CRM_meta_timeout", milliseconds.as_str()),
    ];
    parameters.extend_from_slice(more);
    host.agent(agent, action, &parameters)
}

fn done(agent: &str, host: &Guest, action: &str, more: &[(&str, &str)]) {
    asked(agent, host, action, MIGRATES_IN, more).unwrap().ok().unwrap();
}

fn start(agent: &str, host: &Guest, watch: &Watch<'_>) {
    done(agent, host, "start", &[]);
    watch.hears(&guest()).unwrap();
    assert_eq!(watch.so_far().now_on(&guest()), [host.name()]);
}

/// The whole of a migration as Pacemaker makes it.
fn migrate(agent: &str, from: &Guest, to: &Guest, watch: &Watch<'_>) {
    let ends = [("CRM_meta_migrate_source", from.name()), ("CRM_meta_migrate_target", to.name())];
    let began = Instant::now();
    done(agent, from, "migrate_to", &ends);
    let (sent, then) = (began.elapsed(), Instant::now());
    done(agent, to, "migrate_from", &ends);
    println!(
        "figure: {agent} {} to {}: sent in {:.1} s, received in {:.1} s",
        from.name(),
        to.name(),
        sent.as_secs_f64(),
        then.elapsed().as_secs_f64()
    );
    watch.hears(&guest()).unwrap();
    assert_eq!(watch.so_far().there(&guest()), [(to.name().to_owned(), "live".to_owned())]);
}

fn ended(watch: Watch<'_>) -> Seen {
    let seen = watch.end().unwrap();
    seen.never_two(&guest()).unwrap();
    println!("figure: {} looks, never two", seen.looks());
    seen
}

#[test]
fn a_xen_guest_is_handed_over_by_our_agent_and_by_upstreams_in_turn() {
    let (_lab, [a, b]) = pair("a_xen_guest_is_handed_over_by_our_agent_and_by_upstreams_in_turn");
    let watch = Watch::over(&[&a, &b]).unwrap();
    start(OURS, &a, &watch);
    for (agent, from, to) in [(OURS, &a, &b), (UPSTREAMS, &b, &a), (OURS, &a, &b)] {
        migrate(agent, from, to, &watch);
        // The source is told to stop what it has given away: nothing happens to the guest.
        done(agent, from, "stop", &[]);
        asked(OURS, from, "monitor", MIGRATES_IN, &[]).unwrap().expect(7).unwrap();
        asked(UPSTREAMS, from, "monitor", MIGRATES_IN, &[]).unwrap().expect(7).unwrap();
        done(OURS, to, "monitor", &[("CRM_meta_interval", "10000")]);
        done(UPSTREAMS, to, "monitor", &[("CRM_meta_interval", "10000")]);
    }
    done(UPSTREAMS, &b, "stop", &[]);
    let seen = ended(watch);
    let lives = seen.lives(&guest());
    assert_eq!(lives.len(), 1, "it never died: {lives:?}");
    assert_eq!(lives[0].hosts, ["xa", "xb", "xa", "xb"]);
    assert_eq!(seen.there(&guest()), []);
}

/// What happens in the middle of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// The network that the guest is sent over is gone, and comes back.
    Cable,
    /// The power of the host that it is sent to.
    Target,
    /// The power of the host that sends it.
    Source,
    /// The agent on the source and its xl are killed, as at the end of an operation's time.
    Agent,
    /// The xl on the source alone: the agent is left with a guest that may be suspended.
    Xl,
}

const KINDS: [Cut; 5] = [Cut::Cable, Cut::Agent, Cut::Target, Cut::Xl, Cut::Source];

/// When it happens.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// So long after the agent was called.
    After(Duration),
    /// So long after the source had suspended the guest: what follows decides whose it is.
    Suspended(Duration),
}

fn wait(moment: Moment, source: &Guest, watch: &Watch<'_>) {
    match moment {
        Moment::After(time) => std::thread::sleep(time),
        Moment::Suspended(time) => {
            // A migration that ends faster than it is looked at is cut after its end, which is a case, too.
            let stands = |seen: &Seen| !seen.now_on(&guest()).contains(&source.name().to_owned());
            let _ = watch.until("the guest to be suspended", Duration::from_secs(25), stands);
            std::thread::sleep(time);
        }
    }
}

fn killed(host: &Guest, script: &str) {
    host.run(script).unwrap().ok().unwrap();
}

/// A migration with a cut, and what Pacemaker does about it. The guest is on the second one of the returned hosts.
fn cut<'a>(cut: Cut, moment: Moment, [from, to]: [&'a Guest; 2], watch: &mut Watch<'a>) -> [&'a Guest; 2] {
    let vm = guest();
    let ends = [("CRM_meta_migrate_source", from.name()), ("CRM_meta_migrate_target", to.name())];
    let began = Instant::now();
    let answer = std::thread::scope(|scope| {
        let sending = scope.spawn(|| asked(OURS, from, "migrate_to", CUT_AFTER, &ends));
        wait(moment, from, watch);
        match cut {
            Cut::Cable => to.link(false).unwrap(),
            Cut::Target => to.cut_power(),
            Cut::Source => from.cut_power(),
            Cut::Agent => killed(from, "pkill -KILL -f '[r]esource.d/ringfence/Xen'; pkill -KILL -x xl; :"),
            Cut::Xl => killed(from, "pkill -KILL -x xl; true"),
        }
        sending.join().unwrap()
    });
    let took = began.elapsed();
    let said = match &answer {
        Ok(ran) => format!("{} {}", ran.code, ran.stderr.lines().last().unwrap_or_default()),
        Err(_) => "nothing".to_owned(),
    };
    println!("figure: {cut:?} {moment:?}: after {:.1} s {said}", took.as_secs_f64());
    assert!(took < Duration::from_millis(CUT_AFTER + 3_000), "{answer:?}");
    let succeeded = answer.as_ref().is_ok_and(|ran| ran.code == 0);
    // What the agent said was so.
    if let Ok(ran) = &answer
        && matches!(cut, Cut::Cable | Cut::Target | Cut::Xl)
    {
        let runs_on = ran.stderr.contains("runs on here");
        assert!(succeeded || ran.code == 1, "{ran:?}");
        if runs_on && took > Duration::from_millis(CUT_AFTER * 3 / 4) {
            assert!(ran.stderr.contains("was not waited for any longer"), "{ran:?}");
        }
        if runs_on {
            watch.hears(&vm).unwrap();
            assert_eq!(watch.so_far().now_on(&vm).first().map(String::as_str), Some(from.name()), "{ran:?}");
        }
    }
    let holder = match cut {
        Cut::Cable | Cut::Agent | Cut::Xl => {
            to.link(true).unwrap();
            if succeeded {
                done(OURS, to, "migrate_from", &ends);
                done(OURS, from, "stop", &[]);
            } else {
                done(OURS, from, "stop", &[]);
                done(OURS, to, "stop", &[]);
                assert_eq!(watch.so_far().there(&vm), []);
                done(OURS, to, "start", &[]);
            }
            [from, to]
        }
        // The host that is lost was fenced: its power is off.
        Cut::Target => {
            done(OURS, from, "stop", &[]);
            done(OURS, from, "start", &[]);
            to.power_on().unwrap();
            watch.again(to).unwrap();
            [to, from]
        }
        Cut::Source => {
            done(OURS, to, "stop", &[]);
            done(OURS, to, "start", &[]);
            from.power_on().unwrap();
            watch.again(from).unwrap();
            [from, to]
        }
    };
    watch.hears(&vm).unwrap();
    assert_eq!(
        watch.so_far().there(&vm),
        [(holder[1].name().to_owned(), "live".to_owned())],
        "{cut:?} {moment:?}"
    );
    println!("figure: {cut:?}: whole again after {:.1} s", began.elapsed().as_secs_f64());
    holder
}

/// One of each kind.
fn cuts(test: &str, moment: Moment) {
    let (_lab, hosts) = pair(test);
    let mut watch = Watch::over(&[&hosts[0], &hosts[1]]).unwrap();
    start(OURS, &hosts[0], &watch);
    let mut order = [&hosts[1], &hosts[0]];
    for kind in KINDS {
        order = cut(kind, moment, [order[1], order[0]], &mut watch);
    }
    ended(watch);
}

#[test]
fn a_xen_migration_that_is_cut_early_leaves_one_guest_and_its_reason() {
    cuts(
        "a_xen_migration_that_is_cut_early_leaves_one_guest_and_its_reason",
        Moment::After(Duration::from_secs(2)),
    );
}

#[test]
fn a_xen_migration_that_is_cut_late_leaves_one_guest_and_its_reason() {
    cuts(
        "a_xen_migration_that_is_cut_late_leaves_one_guest_and_its_reason",
        Moment::Suspended(Duration::ZERO),
    );
}

/// Migrations to and fro, `count` of them.
fn row(test: &str, count: usize) {
    let (_lab, [a, b]) = pair(test);
    let watch = Watch::over(&[&a, &b]).unwrap();
    start(OURS, &a, &watch);
    let (mut from, mut to) = (&a, &b);
    for _ in 0..count {
        migrate(OURS, from, to, &watch);
        (from, to) = (to, from);
    }
    let seen = ended(watch);
    let lives = seen.lives(&guest());
    assert_eq!(lives.len(), 1, "it never died: {lives:?}");
    assert_eq!(lives[0].hosts.len(), count + 1);
    println!("figure: {count} in a row, longest pause {:.2} s", lives[0].longest_pause.as_secs_f64());
}

/// Migrations with a fault in the middle, `count` of them, in an order and at moments that `seed` decides.
fn faults(test: &str, seed: u64, count: usize) {
    let (_lab, hosts) = pair(test);
    let mut watch = Watch::over(&[&hosts[0], &hosts[1]]).unwrap();
    start(OURS, &hosts[0], &watch);
    let mut order = [&hosts[1], &hosts[0]];
    let mut dice = SplitMix64::new(seed);
    let mut drawn = |below: u64| dice.next_u64() % below;
    for index in 0..count {
        // Each kind as often as the others.
        let kind = KINDS[(index + usize::try_from(seed).unwrap()) % KINDS.len()];
        let moment = if drawn(2) == 0 {
            Moment::After(Duration::from_millis(drawn(6_000)))
        } else {
            Moment::Suspended(Duration::from_millis(drawn(800)))
        };
        order = cut(kind, moment, [order[1], order[0]], &mut watch);
    }
    ended(watch);
}

#[test]
fn fifty_live_migrations_in_a_row_1() {
    row("fifty_live_migrations_in_a_row_1", 17);
}

#[test]
fn fifty_live_migrations_in_a_row_2() {
    row("fifty_live_migrations_in_a_row_2", 17);
}

#[test]
fn fifty_live_migrations_in_a_row_3() {
    row("fifty_live_migrations_in_a_row_3", 16);
}

#[test]
fn fifty_live_migrations_with_a_fault_1() {
    faults("fifty_live_migrations_with_a_fault_1", 1, 10);
}

#[test]
fn fifty_live_migrations_with_a_fault_2() {
    faults("fifty_live_migrations_with_a_fault_2", 2, 10);
}

#[test]
fn fifty_live_migrations_with_a_fault_3() {
    faults("fifty_live_migrations_with_a_fault_3", 3, 10);
}

#[test]
fn fifty_live_migrations_with_a_fault_4() {
    faults("fifty_live_migrations_with_a_fault_4", 4, 10);
}

#[test]
fn fifty_live_migrations_with_a_fault_5() {
    faults("fifty_live_migrations_with_a_fault_5", 5, 10);
}
