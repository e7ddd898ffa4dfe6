//! The verbs against an agent whose answers are a script: what each action may say, whatever happens.

use ocf_lib::resource::agent::{Agent, Faults, State, Verb};
use ocf_lib::resource::code::{Code, Fault};
use ocf_lib::resource::context::Cx;
use ocf_lib::resource::dialect::Dialect;
use ocf_lib::resource::param::param;
use ocf_lib::resource::spec::{Spec, action};
use ocf_lib::resource::testkit::Bench;
use ocf_lib::resource::verbs::Verdict;
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::VecDeque;

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

/// What the scripted resource does. Probes answer from `probes`, the last one for ever.
struct World {
    probes: VecDeque<Result<State, Fault>>,
    start: Option<Fault>,
    stop: Vec<Fault>,
    check: Option<Fault>,
    host: Option<Fault>,
    migrated: Result<(), Fault>,
    calls: Vec<&'static str>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            probes: VecDeque::new(),
            start: None,
            stop: Vec::new(),
            check: None,
            host: None,
            migrated: Ok(()),
            calls: Vec::new(),
        }
    }
}

fn called(name: &'static str) {
    WORLD.with_borrow_mut(|world| world.calls.push(name));
}

ocf_lib::params! {
    struct Params {
        id: String => param("id").required(),
        count: u32 => param("count").default("5"),
    }
}

struct Scripted;

impl Agent for Scripted {
    type Params = Params;

    const SPEC: Spec = Spec::new("Scripted", "1").actions(&[
        action(Verb::Start, 20),
        action(Verb::Stop, 20),
        action(Verb::Monitor, 20),
        action(Verb::Promote, 20),
        action(Verb::Demote, 20),
        action(Verb::Notify, 20),
    ]);

    fn new(params: Params, _: &Cx) -> Self {
        let _ = (params.id, params.count);
        Self
    }

    fn check(&self, _: &Cx) -> Result<(), Fault> {
        WORLD.with_borrow(|world| world.check.clone().map_or(Ok(()), Err))
    }

    fn check_host(&self, _: &Cx) -> Result<(), Fault> {
        WORLD.with_borrow(|world| world.host.clone().map_or(Ok(()), Err))
    }

    fn probe(&self, _: &Cx) -> Result<State, Fault> {
        WORLD.with_borrow_mut(|world| {
            let next = world.probes.pop_front().unwrap_or(Ok(State::Stopped));
            if world.probes.is_empty() {
                world.probes.push_back(next.clone());
            }
            next
        })
    }

    fn start(&self, _: &Cx) -> Result<(), Fault> {
        called("start");
        WORLD.with_borrow(|world| world.start.clone().map_or(Ok(()), Err))
    }

    fn stop(&self, _: &Cx, faults: &mut Faults) {
        called("stop");
        for fault in WORLD.with_borrow(|world| world.stop.clone()) {
            faults.note(fault);
        }
    }

    fn promote(&self, _: &Cx) -> Result<(), Fault> {
        called("promote");
        Ok(())
    }

    fn demote(&self, _: &Cx) -> Result<(), Fault> {
        called("demote");
        Ok(())
    }

    fn migrate_to(&self, _: &Cx) -> Result<(), Fault> {
        called("migrate");
        WORLD.with_borrow(|world| world.migrated.clone())
    }

    fn notify(&self, _: &Cx) -> Result<(), Fault> {
        Err(Fault::generic("nobody listens"))
    }
}

fn run(bench: Bench, world: World) -> (Verdict, Vec<&'static str>) {
    WORLD.set(world);
    let verdict = bench.perform::<Scripted>();
    (verdict, WORLD.take().calls)
}

fn bench(verb: Verb) -> Bench {
    Bench::new("Scripted", verb).param("id", "x")
}

fn probes(states: impl IntoIterator<Item = State>) -> World {
    World { probes: states.into_iter().map(Ok).collect(), ..World::default() }
}

#[test]
fn start_touches_nothing_that_runs() {
    let unfit = World { host: Some(Fault::installed("no tool")), ..probes([State::Running]) };
    let (verdict, calls) = run(bench(Verb::Start), unfit);
    assert_eq!((verdict, calls), (Verdict::success(), vec![]));
}

#[test]
fn start_waits_until_it_runs() {
    let states = [State::Stopped, State::Stopped, State::Failed("half".into()), State::Running];
    let (verdict, calls) = run(bench(Verb::Start), probes(states));
    assert_eq!((verdict, calls), (Verdict::success(), vec!["start"]));
}

#[test]
fn start_that_never_runs_fails_at_the_deadline_says_why_and_is_taken_back() {
    let (verdict, calls) =
        run(bench(Verb::Start), probes([State::Stopped, State::Failed("no carrier".into())]));
    assert_eq!((verdict.code, calls), (Code::Generic, vec!["start", "stop"]));
    assert_eq!(verdict.reason.unwrap(), "test did not come up in time: no carrier");
}

#[test]
fn start_of_a_promoted_one_demotes_it() {
    let (verdict, calls) = run(bench(Verb::Start), probes([State::Promoted, State::Running]));
    assert_eq!((verdict, calls), (Verdict::success(), vec!["demote"]));
}

#[test]
fn what_is_wrong_everywhere_or_here_fails_start_before_anything_is_touched() {
    let world = World { check: Some(Fault::configured("a with b")), ..World::default() };
    let (verdict, calls) = run(bench(Verb::Start), world);
    assert_eq!((verdict.code, calls), (Code::Configured, vec![]));
    let world = World { host: Some(Fault::installed("no tool")), ..World::default() };
    let (verdict, calls) = run(bench(Verb::Start), world);
    assert_eq!((verdict.code, calls), (Code::Installed, vec![]));
    let (verdict, calls) = run(bench(Verb::Start).param("count", "x"), World::default());
    assert_eq!((verdict.code, calls), (Code::Configured, vec![]));
    assert_eq!(verdict.reason.unwrap(), "parameter count: 'x' is not a whole number of 0 or more");
}

#[test]
fn stop_and_probe_do_not_fail_over_configuration() {
    let wrong = || World {
        check: Some(Fault::configured("contradiction")),
        host: Some(Fault::installed("no tool")),
        ..World::default()
    };
    for (count, id) in [("x", "x"), ("5", ""), ("x", "")] {
        let make = |verb| Bench::new("Scripted", verb).param("id", id).param("count", count);
        assert_eq!(run(make(Verb::Stop), wrong()).0.code, Code::Success);
        assert_eq!(run(make(Verb::Monitor), wrong()).0.code, Code::NotRunning);
    }
    assert_eq!(run(Bench::new("Scripted", Verb::Stop), wrong()).0.code, Code::Success);
}

#[test]
fn stop_collects_faults_and_believes_only_the_last_probe() {
    let fault = || vec![Fault::installed("no tool"), Fault::generic("busy")];
    let (verdict, _) = run(bench(Verb::Stop), World { stop: fault(), ..probes([State::Stopped]) });
    assert_eq!(verdict, Verdict::success());
    let (verdict, _) = run(bench(Verb::Stop), World { stop: fault(), ..probes([State::Running]) });
    assert_eq!(
        (verdict.code, verdict.reason.unwrap().as_str()),
        (Code::Generic, "no tool; busy; still running")
    );
    // What cannot be taken away and cannot be looked at for the same reason is told once.
    let blind = World { stop: fault(), probes: [Err(Fault::generic("busy"))].into(), ..World::default() };
    let (verdict, _) = run(bench(Verb::Stop), blind);
    assert_eq!(verdict.reason.unwrap(), "no tool; busy");
}

#[test]
fn stop_is_not_content_with_what_a_monitor_calls_not_running() {
    let (verdict, _) = run(bench(Verb::Stop), probes([State::Unusable("link is down".into())]));
    assert_eq!(verdict.code, Code::Generic);
    let (verdict, _) =
        run(bench(Verb::Monitor).recurring(), probes([State::Unusable("link is down".into())]));
    assert_eq!((verdict.code, verdict.reason.unwrap().as_str()), (Code::NotRunning, "link is down"));
}

#[test]
fn stop_in_use_elsewhere_leaves_it_alone() {
    let make = || bench(Verb::Stop).set("OCF_RESKEY_RGMANAGER_meta_refcnt", "1");
    let (verdict, calls) = run(make().dialect(Dialect::Rgmanager), probes([State::Running]));
    assert_eq!((verdict, calls), (Verdict::success(), vec![]));
    assert_eq!(run(make(), probes([State::Stopped])).1, ["stop"], "only rgmanager has this rule");
}

#[test]
fn a_migration_that_failed_is_not_done_only_if_the_resource_is_seen_as_it_was() {
    let migration = |probes: &[Result<State, Fault>], result: Result<(), Fault>| {
        let world = World { probes: probes.iter().cloned().collect(), migrated: result, ..World::default() };
        let (verdict, calls) = run(bench(Verb::MigrateTo).dialect(Dialect::Rgmanager), world);
        (verdict.code, calls)
    };
    let failed = || Err(Fault::generic("the target went away"));
    let running = || Ok(State::Running);
    assert_eq!(migration(&[running()], Ok(())).0, Code::Success);
    assert_eq!(migration(&[running(), running()], failed()).0, Code::NotRunning);
    for after in
        [Ok(State::Stopped), Ok(State::Unusable("given away".into())), failed().map(|()| State::Stopped)]
    {
        assert_eq!(migration(&[running(), after.clone()], failed()).0, Code::Generic, "{after:?}");
    }
    let paused = || Ok(State::Failed("paused".into()));
    assert_eq!(migration(&[paused(), paused()], failed()).0, Code::NotRunning, "nothing has changed");
    assert_eq!(migration(&[paused(), Ok(State::Failed("suspended".into()))], failed()).0, Code::Generic);
    assert_eq!(
        migration(&[failed().map(|()| State::Running), Ok(State::Stopped)], failed()).0,
        Code::Generic
    );
    assert_eq!(migration(&[Ok(State::Stopped)], failed()), (Code::NotRunning, vec![]), "nothing was sent");
    let elsewhere = World { migrated: failed(), ..probes([State::Running, State::Running]) };
    assert_eq!(run(bench(Verb::MigrateTo), elsewhere).0.code, Code::Generic, "only rgmanager has this rule");
}

#[test]
fn a_probe_may_say_that_software_is_missing_a_recurring_monitor_may_not() {
    let world = || World { probes: [Err(Fault::installed("no zpool"))].into(), ..World::default() };
    assert_eq!(run(bench(Verb::Monitor), world()).0.code, Code::Installed);
    assert_eq!(run(bench(Verb::Monitor).recurring(), world()).0.code, Code::Generic);
}

#[test]
fn promoting_what_is_stopped_is_7_and_touches_nothing() {
    for verb in [Verb::Promote, Verb::Demote] {
        let (verdict, calls) = run(bench(verb), probes([State::Stopped]));
        assert_eq!((verdict.code, calls), (Code::NotRunning, vec![]));
    }
}

#[test]
fn promote_waits_for_the_role() {
    let (verdict, calls) =
        run(bench(Verb::Promote), probes([State::Running, State::Running, State::Promoted]));
    assert_eq!((verdict, calls), (Verdict::success(), vec!["promote"]));
}

#[test]
fn notify_never_fails() {
    assert_eq!(run(bench(Verb::Notify), World::default()).0, Verdict::success());
}

fn any_state() -> impl Strategy<Value = Result<State, Fault>> {
    prop_oneof![
        Just(Ok(State::Stopped)),
        Just(Ok(State::Running)),
        Just(Ok(State::Promoted)),
        Just(Ok(State::Degraded("d".into()))),
        Just(Ok(State::FailedPromoted("f".into()))),
        Just(Ok(State::Failed("f".into()))),
        Just(Ok(State::Unusable("u".into()))),
        Just(Err(Fault::generic("g"))),
        Just(Err(Fault::installed("i"))),
        Just(Err(Fault::configured("c"))),
        Just(Err(Fault::args("a"))),
    ]
}

proptest! {
    #[test]
    fn stop_succeeds_only_on_a_probe_that_said_stopped(states in prop::collection::vec(any_state(), 1..6)) {
        let saw_stopped = states.contains(&Ok(State::Stopped));
        let (verdict, _) = run(bench(Verb::Stop), World { probes: states.into(), ..World::default() });
        prop_assert!(verdict.code != Code::Success || saw_stopped);
        prop_assert!(matches!(verdict.code, Code::Success | Code::Generic | Code::Perm));
    }

    #[test]
    fn a_recurring_monitor_never_says_2_5_or_6(state in any_state(), id in "[a-z]{0,2}", count in "[0-9a-z]{0,3}") {
        let call = Bench::new("Scripted", Verb::Monitor).recurring().param("id", &id).param("count", &count);
        let (verdict, _) = run(call, World { probes: [state].into(), ..World::default() });
        prop_assert!(![2, 3, 4, 5, 6].contains(&verdict.code.number()), "{verdict:?}");
    }

    #[test]
    fn start_succeeds_only_on_a_probe_that_said_running(states in prop::collection::vec(any_state(), 1..6)) {
        let saw = states.iter().flatten().any(|s| s.is_running() || s.is_promoted());
        let (verdict, _) = run(bench(Verb::Start), World { probes: states.into(), ..World::default() });
        prop_assert!(verdict.code != Code::Success || saw);
    }
}
