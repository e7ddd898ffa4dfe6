//! Plays sequences on a resource agent, many in one host, and looks whether each leaves the host as it was.

use super::calling::{Clock, Seen, code, either, ended};
use super::left::Things;
use super::resource::{Belief, State, calls};
use super::step::{Action, Deck, Kind, Step};
use super::task::{Failure, Report, Taken, Task};
use crate::behaviour;
use crate::call::{Call, End};
use crate::subject::Subject;
use std::time::{Duration, Instant};

/// What the agent is told to have, in milliseconds, and when a manager kills it.
const TIMEOUT: (&str, Duration) = ("8000", Duration::from_secs(10));

/// A monitor beside an action that changes something sees it before, after, or in between.
const IN_BETWEEN: &[i32] = &[0, 1, 7, 8, 9, 190, 191];

pub fn play(task: &Task) -> Result<Report, String> {
    let began = Instant::now();
    let mut player = Player::new(task)?;
    let deck = player.warm_up()?;
    let mut report = Report::default();
    let before = Things::settled();
    for seed in task.seeds() {
        if began.elapsed() > Duration::from_secs(task.seconds) {
            report.cannot = Some(format!("not played to the end within {} s", task.seconds));
            break;
        }
        let steps = task.steps.clone().unwrap_or_else(|| deck.sequence(seed));
        if let Some(failure) = player.sequence(seed, &steps, &before)? {
            report.failure = Some(failure);
            break;
        }
        report.played += 1;
        // What has happened for good must not happen to the next sequence.
        if player.host_is_used {
            break;
        }
    }
    Ok(report)
}

struct Player<'a> {
    task: &'a Task,
    subject: Subject,
    clock: Clock,
    host_is_used: bool,
    /// Events that cannot happen here.
    unfit: Vec<usize>,
}

/// A sequence under way.
struct Course {
    belief: Belief,
    taken: Vec<Taken>,
    killed: bool,
    happened: Vec<usize>,
}

/// What is wrong with a step.
struct Wrong {
    what: String,
    /// What is told of a second call beside it.
    beside: String,
    evidence: Option<String>,
}

impl<'a> Player<'a> {
    fn new(task: &'a Task) -> Result<Self, String> {
        if task.events.iter().any(behaviour::Event::is_on_the_network) {
            behaviour::network()?;
        }
        // Every start of an IPv6 address would wait a second or two for duplicates that cannot be there (ip-sysctl).
        for place in ["default", "judge0"] {
            let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{place}/dad_transmits"), "0");
        }
        let subject = Subject::recognise(&task.subject)?;
        Ok(Self { task, subject, clock: Clock::default(), host_is_used: false, unfit: Vec::new() })
    }

    fn call(&self, action: Action) -> Call {
        let call =
            self.subject.call(action.called()).param("CRM_meta_timeout", TIMEOUT.0).patience(TIMEOUT.1);
        let call = if action == Action::Monitor { call.recurring() } else { call };
        let meta = match self.task.kind {
            Kind::Promotable => [
                ("promotable", "true"),
                ("clone", "0"),
                ("clone_max", "1"),
                ("clone_node_max", "1"),
                ("promoted_max", "1"),
                ("promoted_node_max", "1"),
                ("master_max", "1"),
                ("master_node_max", "1"),
                ("notify", "false"),
            ]
            .as_slice(),
            Kind::Migratable => &[("migrate_source", "n1"), ("migrate_target", "n2")],
            Kind::Plain | Kind::Power | Kind::Fabric => &[],
        };
        let call =
            meta.iter().fold(call, |call, (name, value)| call.param(&format!("CRM_meta_{name}"), *value));
        call.params(&self.task.way)
    }

    fn ask(&mut self, action: Action) -> Result<Seen, String> {
        let call = self.call(action);
        self.clock.run(action, &call)
    }

    /// One life, so that each action's time is known, and files that stay for good are there. What it cannot do here is
    /// not drawn; what it must be able to do, `Err`.
    fn warm_up(&mut self) -> Result<Deck, String> {
        let mut calls = calls(self.task.kind);
        let optional = [Action::Reload, Action::ReloadAgent, Action::ValidateAll];
        calls.retain(|(action, _)| !optional.contains(action) || self.subject.has_action(action.called()));
        // Wrong in every state, these are for the contract to find.
        for (action, right) in [(Action::ValidateAll, 0), (Action::MetaData, 0), (Action::Unknown, 3)] {
            if calls.iter().any(|(other, _)| *other == action) && self.ask(action)?.end != End::Code(right) {
                calls.retain(|(other, _)| *other != action);
            }
        }
        let more: &[Action] = match self.task.kind {
            Kind::Promotable => &[Action::Promote, Action::Demote],
            Kind::Migratable => &[Action::MigrateTo, Action::MigrateFrom],
            Kind::Plain | Kind::Power | Kind::Fabric => &[],
        };
        for action in [&[Action::Start], more].concat() {
            let seen = self.ask(action)?;
            if seen.end != End::Code(0) {
                return Err(format!(
                    "{} with the given parameters is {}: give what it needs with --param, and the programs it manages",
                    action.word(),
                    seen.end
                ));
            }
        }
        self.ask(Action::Monitor)?;
        self.ask(Action::Stop)?;
        self.ask(Action::Probe)?;
        self.try_events()?;
        let can = |action: &Action| calls.iter().any(|(other, _)| other == action);
        let changing = [Action::Start, Action::Stop, Action::Promote, Action::Demote, Action::MigrateTo];
        Ok(Deck {
            killable: changing.into_iter().filter(can).collect(),
            watchable: [Action::Start, Action::Stop, Action::Promote, Action::Demote, Action::Monitor]
                .into_iter()
                .filter(can)
                .collect(),
            calls,
            events: self.task.events.len(),
            longest: 12,
            ..Deck::default()
        })
    }

    /// An agent of the same name may keep its state elsewhere: what cannot happen now to what runs is never made to.
    fn try_events(&mut self) -> Result<(), String> {
        for (number, event) in self.task.events.iter().enumerate().filter(|(_, event)| event.gone) {
            self.ask(Action::Start)?;
            if event.happen().is_err() {
                self.unfit.push(number);
            }
            self.ask(Action::Stop)?;
        }
        Ok(())
    }

    /// Plays one, and its end: a stop, a probe, and a look at what is left.
    fn sequence(&mut self, seed: u64, steps: &[Step], before: &Things) -> Result<Option<Failure>, String> {
        let mut course = Course {
            belief: Belief::only(State::Stopped),
            taken: Vec::new(),
            killed: false,
            happened: Vec::new(),
        };
        let end = [Step::Call(Action::Stop), Step::Call(Action::Probe)];
        for step in steps.iter().chain(&end) {
            let belief = course.belief.told();
            if let Some(wrong) = self.step(&mut course, *step)? {
                let symptom = format!("{belief}: {}", wrong.what);
                return Ok(Some(failure(seed, course, wrong, symptom)));
            }
        }
        if let Some(difference) = before.differ_now(!course.killed && !self.host_is_used) {
            let what = format!("after which the host should be as before, but {difference}");
            let wrong = Wrong { what, beside: String::new(), evidence: None };
            return Ok(Some(failure(seed, course, wrong, super::LEFT.to_owned())));
        }
        Ok(None)
    }

    fn step(&mut self, course: &mut Course, step: Step) -> Result<Option<Wrong>, String> {
        match step {
            Step::Call(action) | Step::Killed(action, _) | Step::Watched(action)
                if !course.belief.allows(action) =>
            {
                Ok(None)
            }
            Step::Call(action) => {
                let seen = self.ask(action)?;
                Ok(course.answered(step, action, &seen, ""))
            }
            Step::Killed(action, eighths) => {
                let call = self.call(action);
                let Some(seen) = self.clock.kill(action, &call, eighths)? else {
                    course.took(step, format!("{} killed", action.word()));
                    course.belief = Belief::only(State::Half);
                    course.killed = true;
                    return Ok(None);
                };
                Ok(course.answered(Step::Call(action), action, &seen, ""))
            }
            Step::Watched(action) => {
                let (call, monitor) = (self.call(action), self.call(Action::Monitor));
                let sure = action == Action::Monitor;
                let codes = if sure { course.belief.codes(Action::Monitor) } else { IN_BETWEEN.to_vec() };
                let (seen, beside) = self.clock.beside(action, &call, &monitor)?;
                let told = format!(" beside monitor {}", ended(beside.end));
                if let Some(wrong) = course.answered(step, action, &seen, &told) {
                    return Ok(Some(wrong));
                }
                if code(beside.end).is_some_and(|code| codes.contains(&code)) {
                    return Ok(None);
                }
                let when = if sure { "a second monitor at once" } else { "the monitor beside it" };
                let what = format!("{when} -> {} instead of {}", ended(beside.end), either(&codes));
                Ok(Some(Wrong { what, beside: String::new(), evidence: beside.evidence }))
            }
            Step::Outside(number) => Ok(self.outside(course, number)),
            Step::Switched(_) | Step::Device(_) => Ok(None),
        }
    }

    fn outside(&mut self, course: &mut Course, number: usize) -> Option<Wrong> {
        let event = self.task.events.get(number)?;
        let may = if event.gone { course.belief.is_running() } else { !course.happened.contains(&number) };
        if !may || self.unfit.contains(&number) {
            return None;
        }
        match event.happen() {
            Ok(()) => {
                course.took(Step::Outside(number), format!("outside: {}", event.name));
                course.happened.push(number);
                if event.gone {
                    course.belief = Belief::only(State::Gone);
                } else {
                    self.host_is_used = true;
                }
                None
            }
            Err(_) if !event.gone => None,
            // Nobody can take away what is not there: it does not run, whatever the agent said.
            Err(why) => {
                let what = format!("after which it should run, but {why}");
                Some(Wrong { what, beside: String::new(), evidence: None })
            }
        }
    }
}

impl Course {
    fn took(&mut self, step: Step, told: String) {
        self.taken.push(Taken { step, told });
    }

    fn answered(&mut self, step: Step, action: Action, seen: &Seen, more: &str) -> Option<Wrong> {
        let end = ended(seen.end);
        let word = action.word();
        if let Some(next) = self.belief.after(action, code(seen.end)) {
            self.took(step, format!("{word} {end}{more}"));
            self.belief = next;
            return None;
        }
        self.took(step, String::new());
        let codes = either(&self.belief.codes(action));
        let what = format!("{word} -> {end} instead of {codes}");
        Some(Wrong { what, beside: more.to_owned(), evidence: seen.evidence.clone() })
    }
}

fn failure(seed: u64, course: Course, wrong: Wrong, symptom: String) -> Failure {
    Failure { seed, taken: course.taken, what: wrong.what + &wrong.beside, symptom, evidence: wrong.evidence }
}
