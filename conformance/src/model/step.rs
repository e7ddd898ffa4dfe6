//! What a sequence is made of, and how its steps are told.

use super::chance::Chance;
use serde::{Deserialize, Serialize};

/// What there is a model of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Plain,
    Promotable,
    Migratable,
    Power,
    Fabric,
}

impl Kind {
    /// The case's name.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Plain => "resource/model-plain",
            Self::Promotable => "resource/model-promotable",
            Self::Migratable => "resource/model-migratable",
            Self::Power => "fence/model-power",
            Self::Fabric => "fence/model-fabric",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Action {
    Start,
    Stop,
    Probe,
    /// Of resources recurring, of fence agents the check of the device.
    Monitor,
    ValidateAll,
    MetaData,
    Unknown,
    Reload,
    ReloadAgent,
    Promote,
    Demote,
    MigrateTo,
    MigrateFrom,
    On,
    Off,
    Reboot,
    Status,
    Metadata,
}

impl Action {
    /// What the agent is told.
    pub const fn called(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Probe | Self::Monitor => "monitor",
            Self::ValidateAll => "validate-all",
            Self::MetaData => "meta-data",
            Self::Unknown => "dance",
            Self::Reload => "reload",
            Self::ReloadAgent => "reload-agent",
            Self::Promote => "promote",
            Self::Demote => "demote",
            Self::MigrateTo => "migrate_to",
            Self::MigrateFrom => "migrate_from",
            Self::On => "on",
            Self::Off => "off",
            Self::Reboot => "reboot",
            Self::Status => "status",
            Self::Metadata => "metadata",
        }
    }

    /// The word in sentences.
    #[allow(clippy::wildcard_enum_match_arm, reason = "all others are told as they are called")]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            other => other.called(),
        }
    }
}

/// What becomes of orders at a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mood {
    Obeys,
    /// It takes them, says that all is well, and does nothing.
    Ignores,
    /// It takes them, and carries them out 1.5 s later.
    Dawdles,
}

impl Mood {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Obeys => "obeys",
            Self::Ignores => "ignores orders",
            Self::Dawdles => "obeys 1.5 s late",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    Call(Action),
    /// SIGKILL to its process group after so many eighths of the time it takes.
    Killed(Action, u32),
    /// The same with a monitor (fence agents: status) while it runs.
    Watched(Action),
    /// An event of the case files, by number.
    Outside(usize),
    /// Somebody switches the device by hand.
    Switched(bool),
    Device(Mood),
}

/// The actions of a sequence and how often each is drawn.
#[derive(Default)]
pub struct Deck {
    /// Action, weight.
    pub calls: Vec<(Action, u64)>,
    pub killable: Vec<Action>,
    pub watchable: Vec<Action>,
    /// How many outside events there are.
    pub events: usize,
    /// Device moods that can be made.
    pub moods: Vec<Mood>,
    pub switched: bool,
    /// Most steps of a sequence.
    pub longest: u64,
}

impl Deck {
    /// The sequence that a seed makes. What does not fit the state when its turn comes is left out then.
    pub fn sequence(&self, seed: u64) -> Vec<Step> {
        let mut chance = Chance::new(seed);
        let length = 2 + chance.below(self.longest.saturating_sub(1));
        let mut steps = Vec::new();
        for _ in 0..length {
            let step = self.step(&mut chance);
            steps.push(step);
            steps.extend(self.look(step, &mut chance));
        }
        steps
    }

    /// What shows soonest that a step has done harm.
    fn look(&self, step: Step, chance: &mut Chance) -> Option<Step> {
        let can = |action: Action| self.calls.iter().any(|(other, _)| *other == action);
        let look = |action: Action| can(action).then_some(Step::Call(action));
        match step {
            Step::Call(
                Action::ValidateAll
                | Action::MetaData
                | Action::Unknown
                | Action::Reload
                | Action::ReloadAgent,
            ) => look(Action::Probe),
            Step::Switched(_) => look(Action::Status),
            Step::Device(Mood::Ignores | Mood::Dawdles) => look(Action::Off),
            Step::Killed(Action::On | Action::Off | Action::Reboot, _) => {
                chance.one_of(&self.killable).map(Step::Call)
            }
            Step::Call(_) | Step::Killed(..) | Step::Watched(_) | Step::Outside(_) | Step::Device(_) => None,
        }
    }

    fn step(&self, chance: &mut Chance) -> Step {
        let call = |chance: &mut Chance| Step::Call(chance.weighted(&self.calls).unwrap_or(Action::Unknown));
        match chance.below(20) {
            0 | 1 => match chance.one_of(&self.killable) {
                Some(action) => Step::Killed(action, u32::try_from(1 + chance.below(7)).unwrap_or(1)),
                None => call(chance),
            },
            2 | 3 => chance.one_of(&self.watchable).map_or_else(|| call(chance), Step::Watched),
            4..=6 if self.events > 0 => {
                let events: Vec<usize> = (0..self.events).collect();
                chance.one_of(&events).map_or_else(|| call(chance), Step::Outside)
            }
            4 | 5 if self.switched => Step::Switched(chance.below(2) == 1),
            6 | 7 if !self.moods.is_empty() => {
                chance.one_of(&self.moods).map_or_else(|| call(chance), Step::Device)
            }
            _ => call(chance),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_one_sequence() {
        let deck = Deck {
            calls: vec![(Action::Start, 2), (Action::Stop, 1)],
            killable: vec![Action::Start],
            events: 1,
            longest: 12,
            ..Deck::default()
        };
        assert_eq!(deck.sequence(7), deck.sequence(7));
        assert!((1..50).any(|seed| deck.sequence(seed) != deck.sequence(7)));
        assert!((1..500).all(|seed| (2..=26).contains(&deck.sequence(seed).len())));
        for wanted in [Step::Call(Action::Stop), Step::Outside(0)] {
            assert!((1..50).any(|seed| deck.sequence(seed).contains(&wanted)), "{wanted:?}");
        }
    }
}
