//! Random sequences of actions and outside events against a small model of each kind of resource.
//!
//! A seed makes a sequence; what fails is made as short as it gets, each attempt in a fresh host, and told as a line that
//! a person can repeat by hand.

mod calling;
mod chance;
mod left;
mod power;
mod resource;
mod resource_play;
mod shrink;
mod step;
mod task;

use crate::behaviour;
use crate::case::{Case, Level, Stop, Trial};
use crate::subject::Family;
use std::time::{Duration, Instant};
use step::Kind;
pub use task::child;
use task::{Failure, Task};

/// Sequences of a case when nobody says how many.
const SEQUENCES: u64 = 40;

/// The same for devices, where each call takes a session.
const DEVICE_SEQUENCES: u64 = 12;

/// When playing ends: a trial has five minutes, and what was found is still to be told.
const LONGEST: Duration = Duration::from_secs(240);

/// Different findings of one case; more would only be more of the same.
const MOST_FINDINGS: usize = 3;

/// The symptom of a host that is not as before.
const LEFT: &str = "left";

/// Sequences that fail before a case gives up.
const MOST_FAILURES: u64 = 8;

pub fn all() -> Vec<Case> {
    let case = |kind: Kind, family, about: &str| Case {
        id: kind.id().to_owned(),
        family,
        agent: None,
        level: Level::Ns,
        tags: vec!["model".to_owned()],
        about: format!(
            "Random sequences of actions and of what happens outside, each answer held against a model ({about}). --seed \
             is the first sequence's number, --rounds is how many."
        ),
        judge: Box::new(move |trial| judge(trial, kind)),
    };
    vec![
        case(
            Kind::Plain,
            Family::Resource,
            "start, stop and monitor are idempotent and tell the same; what somebody took away is not running; after a kill, \
             stop cleans up; nothing is left",
        ),
        case(
            Kind::Promotable,
            Family::Resource,
            "the same with promote and demote: 8 is told of what was promoted and of nothing else, and what is stopped \
             cannot be promoted",
        ),
        case(
            Kind::Migratable,
            Family::Resource,
            "the same with migrate_to and migrate_from: after a stop it is gone, and what was sent here runs here",
        ),
        case(
            Kind::Power,
            Family::Fence,
            "on, off and reboot succeed when the device itself is seen to be so and never before, also when somebody else \
             switches it, or it ignores or delays its orders",
        ),
        case(
            Kind::Fabric,
            Family::Fence,
            "on and off succeed when the device itself is seen to be so and never before, and nothing but they change it",
        ),
    ]
}

fn judge(trial: &mut Trial<'_>, kind: Kind) -> Result<(), Stop> {
    concerns(trial, kind)?;
    let began = Instant::now();
    let few = if trial.subject.family == Family::Fence { DEVICE_SEQUENCES } else { SEQUENCES };
    let rounds = trial.rounds.unwrap_or(few);
    let ways = u64::try_from(trial.ways.len()).unwrap_or(1).max(1);
    let mut tally = Tally::default();
    for (at, way) in (0_u64..).zip(trial.ways) {
        // The seed alone decides which way a sequence is played.
        let skip = (at + ways - trial.seed % ways) % ways;
        if skip >= rounds {
            continue;
        }
        let mut task = Task {
            kind,
            subject: trial.subject.path.clone(),
            way: power::filled(trial, way),
            events: behaviour::events(&trial.subject.name, way),
            bmc: behaviour::needs_bmc(&trial.subject.name),
            first: trial.seed + skip,
            count: (rounds - skip).div_ceil(ways),
            stride: ways,
            steps: None,
            seconds: 0,
        };
        tally.of += task.count;
        while task.count > 0 && tally.failed < MOST_FAILURES {
            task.seconds = LONGEST.saturating_sub(began.elapsed()).as_secs();
            let report = task.play()?;
            let mut passed = report.played;
            if let Some(failure) = report.failure {
                passed += 1;
                tally.add(&task, failure)?;
            }
            if let Some(why) = report.cannot {
                tally.cannot = Some(why);
                break;
            }
            tally.played += passed;
            if passed == 0 {
                tally.cannot = Some("the player played nothing".to_owned());
                break;
            }
            task.first += passed * task.stride;
            task.count -= passed.min(task.count);
        }
    }
    tally.tell(trial, kind)
}

/// Why a model has nothing to say about an agent.
fn concerns(trial: &Trial<'_>, kind: Kind) -> Result<(), Stop> {
    let has = |name: &str| trial.subject.has_action(name);
    let not = match kind {
        Kind::Plain => None,
        Kind::Promotable => {
            (!(has("promote") && has("demote"))).then_some("promote and demote are not declared")
        }
        Kind::Migratable => (!(has("migrate_to") && has("migrate_from")))
            .then_some("migrate_to and migrate_from are not declared"),
        Kind::Power | Kind::Fabric => power::concerns(trial, kind),
    };
    not.map_or(Ok(()), |why| Err(Stop::DoesNotApply(why.to_owned())))
}

/// What was played and found.
#[derive(Default)]
struct Tally {
    of: u64,
    played: u64,
    failed: u64,
    /// The shortest of each kind, and how many there were.
    found: Vec<(Failure, u64, bool)>,
    cannot: Option<String>,
}

impl Tally {
    fn add(&mut self, task: &Task, failure: Failure) -> Result<(), String> {
        self.failed += 1;
        if let Some(known) = self.found.iter_mut().find(|(other, ..)| other.symptom == failure.symptom) {
            known.1 += 1;
        } else if self.found.len() < MOST_FINDINGS {
            let seed = failure.seed;
            let symptom = failure.symptom.clone();
            let (shortest, repeated) = shrink::shrink(task, failure)?;
            // The kernel settles in its own time: what is left once and never again is not the agent's.
            if symptom == LEFT && !repeated {
                return Ok(());
            }
            // What is left of it must go on being known under the words that it had.
            self.found.push((Failure { seed, symptom, ..shortest }, 1, repeated));
        }
        Ok(())
    }

    fn tell(self, trial: &mut Trial<'_>, kind: Kind) -> Result<(), Stop> {
        for (failure, times, repeated) in &self.found {
            let steps: Vec<&str> = failure
                .taken
                .iter()
                .map(|taken| taken.told.as_str())
                .filter(|told| !told.is_empty())
                .collect();
            let start = if steps.is_empty() { String::new() } else { format!("{}, ", steps.join(", ")) };
            let doubt = if *repeated {
                ""
            } else {
                "; in a host of its own it did not happen again, so timing decides"
            };
            trial.find_told(
                format!(
                    "{start}{} (in {times} of {} sequences{doubt}; replay {} --case {} --seed {})",
                    failure.what,
                    self.played,
                    trial.subject.path.display(),
                    kind.id(),
                    failure.seed
                ),
                failure.evidence.clone(),
            );
        }
        match self.cannot {
            Some(why) if self.found.is_empty() => {
                Err(Stop::CannotJudge(format!("{} of {} sequences: {why}", self.played, self.of)))
            }
            _ => Ok(()),
        }
    }
}
