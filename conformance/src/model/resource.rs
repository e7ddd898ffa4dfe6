//! The reference model of a resource: for each state and action, what may be answered and what is so then.
//!
//! OCF resource agent API 1.1, "Resource agent actions" and "Agent exit status". What it leaves open is open here: where
//! an answer allows several states, the model believes in all of them until a later answer tells them apart.

use super::step::{Action, Kind};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Stopped,
    Running,
    Promoted,
    /// An action was killed in the middle.
    Half,
    /// Somebody else took it away while it ran.
    Gone,
    /// `migrate_to` has sent it to another node; `stop` is still to come.
    Away,
}

/// The answers of one kind, and the states that can be so after them.
pub type Answers = (&'static [i32], &'static [State]);

/// Any code that does not say success or "running".
const FAILED: &[i32] = &[1, 2, 4, 5, 6, 7, 9];

const ANYTHING: &[i32] = &[0, 1, 2, 4, 5, 6, 7, 8, 9, 190, 191];

/// What may be answered; empty: nobody asks this of a resource in this state.
#[allow(clippy::match_same_arms, clippy::wildcard_enum_match_arm, reason = "a table, a line for each rule")]
pub fn answers(state: State, action: Action) -> &'static [Answers] {
    use State::{Away, Gone, Half, Promoted, Running, Stopped};
    match (action, state) {
        (Action::Start, Stopped | Running) => &[(&[0], &[Running])],
        // No manager asks this; 8 tells the truth.
        (Action::Start, Promoted) => &[(&[0, 8], &[Running, Promoted])],
        (Action::Start, Gone) => &[(&[0], &[Running]), (FAILED, &[Gone])],
        (Action::Stop, _) => &[(&[0], &[Stopped])],
        (Action::Probe | Action::Monitor, Stopped) => &[(&[7], &[Stopped])],
        (Action::Probe | Action::Monitor, Running) => &[(&[0, 190], &[Running])],
        (Action::Probe | Action::Monitor, Promoted) => &[(&[8, 191], &[Promoted])],
        (Action::Probe | Action::Monitor, Half) => &[(&[0, 1, 7, 8, 9, 190, 191], &[Half])],
        // 7 says that it is cleanly stopped, and a manager then starts it without a stop.
        (Action::Probe | Action::Monitor, Gone) => &[(&[7], &[Stopped]), (&[1, 9], &[Gone])],
        (Action::Probe | Action::Monitor, Away) => &[(&[0, 1, 7, 9, 190], &[Away])],
        (Action::ValidateAll | Action::MetaData, Stopped) => &[(&[0], &[Stopped])],
        (Action::ValidateAll | Action::MetaData | Action::Reload | Action::ReloadAgent, Running) => {
            &[(&[0], &[Running])]
        }
        (Action::ValidateAll | Action::MetaData | Action::Reload | Action::ReloadAgent, Promoted) => {
            &[(&[0], &[Promoted])]
        }
        (Action::ValidateAll, Half) => &[(ANYTHING, &[Half])],
        (Action::ValidateAll, Gone) => &[(ANYTHING, &[Gone])],
        (Action::ValidateAll, Away) => &[(ANYTHING, &[Away])],
        (Action::MetaData, Half) => &[(&[0], &[Half])],
        (Action::MetaData, Gone) => &[(&[0], &[Gone])],
        (Action::MetaData, Away) => &[(&[0], &[Away])],
        (Action::Unknown, Stopped) => &[(&[3], &[Stopped])],
        (Action::Unknown, Running) => &[(&[3], &[Running])],
        (Action::Unknown, Promoted) => &[(&[3], &[Promoted])],
        (Action::Unknown, Half) => &[(&[3], &[Half])],
        (Action::Unknown, Gone) => &[(&[3], &[Gone])],
        (Action::Unknown, Away) => &[(&[3], &[Away])],
        (Action::Promote, Running | Promoted) => &[(&[0], &[Promoted])],
        (Action::Promote, Stopped) => &[(FAILED, &[Stopped])],
        (Action::Promote, Gone) => &[(&[0], &[Promoted]), (FAILED, &[Gone])],
        (Action::Demote, Running | Promoted) => &[(&[0], &[Running])],
        (Action::Demote, Stopped) => &[(&[0], &[Stopped]), (FAILED, &[Stopped])],
        (Action::Demote, Gone) => &[(&[0], &[Gone, Running]), (FAILED, &[Gone])],
        (Action::Demote, Half) => &[(ANYTHING, &[Half])],
        (Action::MigrateTo, Running) => &[(&[0], &[Away])],
        // No manager asks this knowingly, and a stub has nothing to miss.
        (Action::MigrateTo, Stopped) => &[(&[0], &[Away]), (FAILED, &[Stopped])],
        (Action::MigrateTo, Gone) => &[(&[0], &[Away]), (FAILED, &[Gone])],
        (Action::MigrateFrom, Stopped | Away) => &[(&[0], &[Running]), (FAILED, &[Half])],
        _ => &[],
    }
}

/// The states that can be so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Belief(Vec<State>);

impl Belief {
    pub fn only(state: State) -> Self {
        Self(vec![state])
    }

    /// Whether somebody could ask this now.
    pub fn allows(&self, action: Action) -> bool {
        self.0.iter().all(|state| !answers(*state, action).is_empty())
    }

    /// What is so after this answer; `None`: it should not have been given.
    pub fn after(&self, action: Action, code: Option<i32>) -> Option<Self> {
        let code = code?;
        let mut next: Vec<State> = self
            .0
            .iter()
            .flat_map(|state| answers(*state, action))
            .filter(|(codes, _)| codes.contains(&code))
            .flat_map(|(_, next)| next.iter().copied())
            .collect();
        next.sort_unstable();
        next.dedup();
        (!next.is_empty()).then_some(Self(next))
    }

    /// The codes that may be answered.
    pub fn codes(&self, action: Action) -> Vec<i32> {
        let mut codes: Vec<i32> = self
            .0
            .iter()
            .flat_map(|state| answers(*state, action))
            .flat_map(|(codes, _)| codes.iter().copied())
            .collect();
        codes.dedup();
        codes
    }

    /// It runs, in whatever role.
    pub fn is_running(&self) -> bool {
        self.0.iter().all(|state| matches!(state, State::Running | State::Promoted))
    }

    /// For comparing findings.
    pub fn told(&self) -> String {
        self.0.iter().map(|state| format!("{state:?}")).collect::<Vec<_>>().join("/")
    }
}

/// What a manager asks of each kind, and how often it is drawn.
pub fn calls(kind: Kind) -> Vec<(Action, u64)> {
    let mut calls = vec![
        (Action::Start, 10),
        (Action::Stop, 6),
        (Action::Probe, 4),
        (Action::Monitor, 8),
        (Action::ValidateAll, 2),
        (Action::MetaData, 2),
        (Action::Unknown, 2),
        (Action::Reload, 2),
        (Action::ReloadAgent, 2),
    ];
    match kind {
        Kind::Promotable => calls.extend([(Action::Promote, 10), (Action::Demote, 7)]),
        Kind::Migratable => calls.extend([(Action::MigrateTo, 10), (Action::MigrateFrom, 10)]),
        Kind::Plain | Kind::Power | Kind::Fabric => {}
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn belief_follows_the_answers() {
        let gone = Belief::only(State::Gone);
        assert_eq!(gone.after(Action::Monitor, Some(0)), None);
        assert_eq!(gone.after(Action::Monitor, None), None);
        assert_eq!(gone.after(Action::Monitor, Some(7)), Some(Belief::only(State::Stopped)));
        assert_eq!(gone.codes(Action::Monitor), [7, 1, 9]);
        let unsure = Belief::only(State::Promoted).after(Action::Start, Some(0)).unwrap();
        assert_eq!(unsure, Belief(vec![State::Running, State::Promoted]));
        assert_eq!(unsure.after(Action::Monitor, Some(8)), Some(Belief::only(State::Promoted)));
        assert!(!Belief::only(State::Half).allows(Action::Start));
    }

    #[test]
    fn a_stop_ends_in_every_state_and_nothing_else_is_said_of_what_is_stopped() {
        use State::{Away, Gone, Half, Promoted, Running, Stopped};
        for state in [Stopped, Running, Promoted, Half, Gone, Away] {
            assert_eq!(Belief::only(state).after(Action::Stop, Some(0)), Some(Belief::only(Stopped)));
            assert_eq!(Belief::only(state).after(Action::Stop, Some(7)), None);
        }
        for code in [0, 1, 5, 8, 9] {
            assert_eq!(Belief::only(Stopped).after(Action::Probe, Some(code)), None, "{code}");
        }
    }
}
