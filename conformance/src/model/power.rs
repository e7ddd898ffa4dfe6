//! The model of power and fabric devices, and sequences on them. The truth is asked of the device itself: a real BMC
//! (`way bmc ...` in the case files), or a file where the agent's device is one (`status_file`, as `fence_dummy` has it).

use super::calling::{Clock, Seen, code, ended};
use super::step::{Action, Deck, Kind, Mood, Step};
use super::task::{Failure, Report, Taken, Task};
use crate::bmc::{Bmc, Options, Order, Reaction};
use crate::call::{Call, End, pause};
use crate::case::{Parameters, Trial};
use crate::host::OWN;
use crate::subject::Subject;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How late a dawdling device obeys.
const LATE: Duration = Duration::from_millis(1500);

/// Upstream's agents wait 20 s for a state unless they are told less.
const PATIENCE: Duration = Duration::from_secs(60);

/// The agent's limit for reaching a state, in seconds: more than `LATE` with a poll each second, little for a test.
const REACH: &str = "4";

fn device_file() -> String {
    format!("{OWN}/device")
}

fn declares(subject: &Subject, wanted: &str) -> bool {
    subject.metadata.parameters().iter().any(|parameter| parameter.attribute("name") == Some(wanted))
}

/// Why the model has nothing to say.
pub fn concerns(trial: &Trial<'_>, kind: Kind) -> Option<&'static str> {
    let reboots = trial.subject.has_action("reboot");
    if kind == Kind::Power && !reboots {
        return Some("it declares no reboot: a fabric device");
    }
    if kind == Kind::Fabric && reboots {
        return Some("it declares reboot: a power device");
    }
    let has_device =
        crate::behaviour::needs_bmc(&trial.subject.name) || declares(trial.subject, "status_file");
    (!has_device).then_some("the judge has no device for it")
}

/// The way with what every device needs (fence agents); resource agents' as it is.
pub fn filled(trial: &Trial<'_>, way: &Parameters) -> Parameters {
    let mut values = way.clone();
    if trial.subject.family != crate::subject::Family::Fence {
        return values;
    }
    let file = device_file();
    for (name, value) in [
        ("status_file", file.as_str()),
        ("plug", "1"),
        ("power_timeout", REACH),
        ("power_wait", "0"),
        ("stonith_status_sleep", "1"),
    ] {
        let wanted = declares(trial.subject, name) && values.iter().all(|(other, _)| other != name);
        // A plug beside an address that names the node already is refused by some.
        if wanted && (name != "plug" || declares(trial.subject, "status_file")) {
            values.push((name.to_owned(), value.to_owned()));
        }
    }
    values
}

/// What the agent speaks to.
enum Device {
    Bmc(Bmc),
    File(String),
}

impl Device {
    fn power(&self) -> Option<bool> {
        match self {
            Self::Bmc(bmc) => Some(bmc.power()),
            Self::File(path) => match std::fs::read_to_string(path).unwrap_or_default().trim() {
                "on" => Some(true),
                "off" => Some(false),
                _ => None,
            },
        }
    }

    fn set(&self, on: bool) -> Result<(), String> {
        match self {
            Self::Bmc(bmc) => bmc.set_power(on),
            Self::File(path) => {
                std::fs::write(path, if on { "on" } else { "off" }).map_err(|why| format!("{path}: {why}"))
            }
        }
    }

    fn become_so(&self, mood: Mood) -> Result<(), String> {
        let Self::Bmc(bmc) = self else { return Ok(()) };
        let reaction = match mood {
            Mood::Obeys => Reaction::Obey,
            Mood::Ignores => Reaction::Ignore,
            Mood::Dawdles => Reaction::Delay(LATE),
        };
        [Order::On, Order::Off, Order::Reset].into_iter().try_for_each(|order| bmc.react(order, &reaction))
    }
}

struct Player<'a> {
    task: &'a Task,
    subject: Subject,
    clock: Clock,
    device: Device,
    mood: Mood,
}

pub fn play(task: &Task) -> Result<Report, String> {
    let began = Instant::now();
    let subject = Subject::recognise(&task.subject)?;
    let device =
        if task.bmc { Device::Bmc(Bmc::start(&Options::default())?) } else { Device::File(device_file()) };
    device.set(true)?;
    let mut player = Player { task, subject, clock: Clock::default(), device, mood: Mood::Obeys };
    let deck = player.warm_up()?;
    let mut report = Report::default();
    for seed in task.seeds() {
        if began.elapsed() > Duration::from_secs(task.seconds) {
            report.cannot = Some(format!("not played to the end within {} s", task.seconds));
            break;
        }
        let steps = task.steps.clone().unwrap_or_else(|| deck.sequence(seed));
        if let Some(failure) = player.sequence(seed, &steps)? {
            report.failure = Some(failure);
            break;
        }
        report.played += 1;
    }
    Ok(report)
}

impl Player<'_> {
    fn call(&self, action: Action) -> Call {
        let mut lines = format!("action={}\n", action.called());
        for (name, value) in &self.task.way {
            // A device that goes back by itself needs a moment, or the agent would see what is true for an instant.
            let waits = name == "power_wait" && self.mood == Mood::Ignores && self.is_file();
            let value = if waits { "1" } else { value };
            lines.extend([name.as_str(), "=", value, "\n"]);
        }
        self.subject.fencer(&lines).patience(PATIENCE)
    }

    const fn is_file(&self) -> bool {
        matches!(self.device, Device::File(_))
    }

    fn warm_up(&mut self) -> Result<Deck, String> {
        let mut calls = vec![
            (Action::Status, 6),
            (Action::On, 5),
            (Action::Off, 7),
            (Action::Reboot, 6),
            (Action::Monitor, 2),
            (Action::ValidateAll, 1),
            (Action::Metadata, 1),
            (Action::Unknown, 1),
        ];
        calls.retain(|(action, _)| *action == Action::Unknown || self.subject.has_action(action.called()));
        for action in [Action::ValidateAll, Action::Metadata] {
            let call = self.call(action);
            if self.clock.run(action, &call)?.end != End::Code(0) {
                calls.retain(|(other, _)| *other != action);
            }
        }
        for action in [Action::Off, Action::On] {
            let call = self.call(action);
            let seen = self.clock.run(action, &call)?;
            if seen.end != End::Code(0) {
                let why = seen.evidence.unwrap_or_default();
                let said = why.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().to_owned();
                return Err(format!("{} with the given parameters is {} ({said})", action.word(), seen.end));
            }
        }
        let changing: Vec<Action> =
            calls.iter().map(|(action, _)| *action).filter(|action| Self::changes(*action)).collect();
        let moods = match &self.device {
            Device::Bmc(_) => vec![Mood::Obeys, Mood::Obeys, Mood::Ignores, Mood::Dawdles],
            Device::File(_) if declares(&self.subject, "power_wait") => vec![Mood::Obeys, Mood::Ignores],
            Device::File(_) => Vec::new(),
        };
        Ok(Deck {
            killable: changing.clone(),
            watchable: changing,
            calls,
            moods,
            switched: true,
            longest: 8,
            ..Deck::default()
        })
    }

    const fn changes(action: Action) -> bool {
        matches!(action, Action::On | Action::Off | Action::Reboot)
    }

    /// Plays one. At its end the device obeys again, and can be switched on.
    fn sequence(&mut self, seed: u64, steps: &[Step]) -> Result<Option<Failure>, String> {
        self.make(Mood::Obeys)?;
        self.device.set(true)?;
        let mut taken = Vec::new();
        let end = [Step::Device(Mood::Obeys), Step::Call(Action::On), Step::Call(Action::Status)];
        for step in steps.iter().chain(&end) {
            let before = self.device.power();
            if let Some((what, evidence)) = self.step(&mut taken, *step)? {
                let was = match before {
                    Some(true) => "on",
                    Some(false) => "off",
                    None => "unknown",
                };
                let symptom = format!("{was}, {}: {what}", self.mood.word());
                return Ok(Some(Failure { seed, taken, what, symptom, evidence }));
            }
        }
        Ok(None)
    }

    fn make(&mut self, mood: Mood) -> Result<(), String> {
        self.mood = mood;
        self.device.become_so(mood)
    }

    fn step(
        &mut self,
        taken: &mut Vec<Taken>,
        step: Step,
    ) -> Result<Option<(String, Option<String>)>, String> {
        let mut told = |told: String| taken.push(Taken { step, told });
        match step {
            Step::Switched(on) => {
                self.device.set(on)?;
                told(format!("outside: switched {}", if on { "on" } else { "off" }));
            }
            Step::Device(mood) if mood != self.mood => {
                self.make(mood)?;
                told(format!("the device {}", mood.word()));
            }
            Step::Killed(action, eighths) if self.mood != Mood::Ignores => {
                let call = self.call(action);
                let before = self.device.power();
                let ended_before = self.clock.kill(action, &call, eighths)?;
                if let Some(seen) = ended_before {
                    return Ok(self.judged(taken, Step::Call(action), action, before, &seen, ""));
                }
                told(format!("{} killed", action.word()));
                self.settle()?;
            }
            Step::Call(action) => {
                let before = self.device.power();
                let call = self.call(action);
                let seen = self.obstructed(before, |player| player.clock.run(action, &call))?;
                return Ok(self.judged(taken, step, action, before, &seen, ""));
            }
            Step::Watched(action) => {
                let before = self.device.power();
                let (call, status) = (self.call(action), self.call(Action::Status));
                let (seen, beside) =
                    self.obstructed(before, |player| player.clock.beside(action, &call, &status))?;
                let more = format!(" beside status {}", ended(beside.end));
                if let Some(wrong) = self.judged(taken, step, action, before, &seen, &more) {
                    return Ok(Some(wrong));
                }
                if !matches!(beside.end, End::Code(0..=2)) {
                    let what = format!("the status beside it -> {} instead of 0, 1 or 2", ended(beside.end));
                    return Ok(Some((what, beside.evidence)));
                }
            }
            Step::Device(_) | Step::Killed(..) | Step::Outside(_) => {}
        }
        Ok(None)
    }

    /// What was ordered late may still come; a file that was being written is whole again.
    fn settle(&self) -> Result<(), String> {
        pause(if self.mood == Mood::Dawdles {
            LATE + Duration::from_millis(300)
        } else {
            Duration::from_millis(30)
        });
        if self.device.power().is_none() { self.device.set(true) } else { Ok(()) }
    }

    /// A file that ignores orders is one that somebody else writes back.
    fn obstructed<T>(&mut self, before: Option<bool>, work: impl FnOnce(&mut Self) -> T) -> T {
        let (Device::File(path), Mood::Ignores, Some(on)) = (&self.device, self.mood, before) else {
            return work(self);
        };
        let (path, truth) = (path.clone(), if on { "on" } else { "off" });
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    let is = std::fs::read_to_string(&path).unwrap_or_default();
                    if !is.is_empty() && is.trim() != truth {
                        let _ = std::fs::write(&path, truth);
                    }
                    pause(Duration::from_micros(500));
                }
            });
            let result = work(self);
            done.store(true, Ordering::SeqCst);
            // One that looks too early has seen what never was.
            let _ = std::fs::write(&path, truth);
            result
        })
    }

    fn judged(
        &self,
        taken: &mut Vec<Taken>,
        step: Step,
        action: Action,
        before: Option<bool>,
        seen: &Seen,
        more: &str,
    ) -> Option<(String, Option<String>)> {
        let after = self.device.power();
        let wrong = wrong(action, self.mood, before, after, code(seen.end));
        let end = ended(seen.end);
        let told = if wrong.is_some() { String::new() } else { format!("{} {end}{more}", action.word()) };
        taken.push(Taken { step, told });
        if self.mood == Mood::Dawdles && Self::changes(action) {
            // Only a failed one has something outstanding, and a reboot whose "on" nobody waited for.
            pause(LATE + Duration::from_millis(300));
        }
        wrong.map(|why| (format!("{} -> {end}{why}", action.word()), seen.evidence.clone()))
    }
}

/// What is wrong with an answer, to be put behind it. The fence agent API: 0 is done and seen to be so, 1 is not, and
/// 2 is told by status alone, of what is off.
#[allow(clippy::wildcard_enum_match_arm, reason = "all but these ask without changing anything")]
fn wrong(
    action: Action,
    mood: Mood,
    before: Option<bool>,
    after: Option<bool>,
    code: Option<i32>,
) -> Option<String> {
    let word = |on: Option<bool>| match on {
        Some(true) => "on",
        Some(false) => "off",
        None => "in no state at all",
    };
    let only = |codes: &[i32]| {
        let good = code.is_some_and(|code| codes.contains(&code));
        (!good).then(|| format!(" instead of {}", super::calling::either(codes)))
    };
    let done = code == Some(0);
    match action {
        Action::On | Action::Off => {
            let wanted = Some(action == Action::On);
            if done && after != wanted {
                return Some(format!(", and the device is {}", word(after)));
            }
            match mood {
                Mood::Obeys => only(&[0]),
                Mood::Ignores | Mood::Dawdles => only(&[0, 1]),
            }
        }
        Action::Reboot => match mood {
            Mood::Obeys if done && after != Some(true) => {
                Some(format!(", and the device is {}", word(after)))
            }
            Mood::Obeys => only(&[0]),
            // It was never off.
            Mood::Ignores if before == Some(true) => only(&[1]),
            // Once it was off, a node that does not come up again is fenced all the same.
            Mood::Ignores | Mood::Dawdles => only(&[0, 1]),
        },
        _ if after != before => {
            Some(format!(", and the device, which was {}, is {}", word(before), word(after)))
        }
        Action::Status => {
            let right = if before == Some(true) { 0 } else { 2 };
            only(&[right]).map(|wrong| format!("{wrong}: the device is {}", word(before)))
        }
        Action::Unknown => only(&[1]),
        _ => only(&[0]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_is_what_the_device_says() {
        let off = |mood, after, code| wrong(Action::Off, mood, Some(true), Some(after), Some(code));
        assert_eq!(off(Mood::Obeys, false, 0), None);
        assert!(off(Mood::Obeys, true, 0).unwrap().contains("is on"));
        assert!(off(Mood::Obeys, true, 1).is_some());
        assert_eq!(off(Mood::Ignores, true, 1), None);
        assert!(off(Mood::Ignores, true, 0).is_some());
        assert!(off(Mood::Dawdles, true, 0).is_some());
        assert!(off(Mood::Obeys, false, 2).is_some());
    }

    #[test]
    fn questions_change_nothing_and_a_reboot_ends_on() {
        assert!(wrong(Action::Status, Mood::Obeys, Some(true), Some(false), Some(0)).is_some());
        assert!(wrong(Action::Status, Mood::Obeys, Some(true), Some(true), Some(2)).is_some());
        assert_eq!(wrong(Action::Status, Mood::Obeys, Some(false), Some(false), Some(2)), None);
        assert!(wrong(Action::Reboot, Mood::Obeys, Some(false), Some(false), Some(0)).is_some());
        assert_eq!(wrong(Action::Reboot, Mood::Obeys, Some(false), Some(true), Some(0)), None);
        assert!(wrong(Action::Reboot, Mood::Ignores, Some(true), Some(true), Some(0)).is_some());
        assert!(wrong(Action::Monitor, Mood::Obeys, Some(true), Some(true), None).is_some());
    }
}
