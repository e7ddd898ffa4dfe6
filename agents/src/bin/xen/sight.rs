//! What is seen of one guest on this host: itself, and the half of it that a migration leaves under another name.

use crate::listing::{Condition, Domain, Reason};

/// Suffixes that `xl migrate` gives (`xl_migrate.c`), and the prefix of xend.
const INCOMING: &str = "--incoming";
const AWAY: &str = "--migratedaway";
const XEND: &str = "migrating-";

/// A domain that is this guest, by its name. Names match as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Whole,
    /// Being received, not yet allowed to run.
    Incoming,
    /// Given away, the receiver was allowed to run it.
    Away,
    /// Under the name that xend gives during a migration, on either side.
    Migrating,
}

/// Everything of the guest that there is here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight(Vec<(Part, Domain)>);

impl Sight {
    pub fn of(name: &str, domains: Vec<Domain>) -> Self {
        Self(domains.into_iter().filter_map(|domain| Some((part(name, &domain.name)?, domain))).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The guest under its own name.
    pub fn whole(&self) -> Option<&Domain> {
        self.part(Part::Whole)
    }

    pub fn part(&self, wanted: Part) -> Option<&Domain> {
        self.0.iter().find(|(part, _)| *part == wanted).map(|(_, domain)| domain)
    }

    /// Half of a migration that is not over, or was not brought to its end.
    pub fn half(&self) -> Option<(Part, &Domain)> {
        self.0.iter().find(|(part, _)| *part != Part::Whole).map(|(part, domain)| (*part, domain))
    }

    pub fn domains(&self) -> impl Iterator<Item = (Part, &Domain)> {
        self.0.iter().map(|(part, domain)| (*part, domain))
    }

    /// How many there are under its own name: the toolstack allows one.
    pub fn count(&self) -> usize {
        self.0.iter().filter(|(part, _)| *part == Part::Whole).count()
    }
}

fn part(name: &str, domain: &str) -> Option<Part> {
    if domain == name {
        return Some(Part::Whole);
    }
    match domain.strip_prefix(name) {
        Some(INCOMING) => return Some(Part::Incoming),
        Some(AWAY) => return Some(Part::Away),
        Some(_) | None => {}
    }
    (domain.strip_prefix(XEND) == Some(name)).then_some(Part::Migrating)
}

/// The name of the guest that was given away, for the case that it is to be taken back.
pub fn away_name(name: &str) -> String {
    format!("{name}{AWAY}")
}

/// What is to be thought of a guest in this condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Runs,
    Paused,
    /// Not for long: the toolstack is at work. Why it is a failure if it stays so.
    Passing(String),
}

/// `name` for the sentence.
pub fn verdict(name: &str, condition: Condition) -> Verdict {
    let passing = |what: &str| Verdict::Passing(format!("guest {name} {what}"));
    match condition {
        Condition::Running | Condition::Blocked => Verdict::Runs,
        Condition::Paused => Verdict::Paused,
        Condition::Building => passing("is half made: its creation was broken off, or takes very long"),
        Condition::Dying => passing("is dying: something on this host still holds its memory"),
        Condition::ShutDown(reason) => passing(match reason {
            Reason::PowerOff => "has shut down and is kept (on_poweroff=preserve, or its xl process is gone)",
            Reason::Reboot => {
                "has shut down to reboot, and nothing starts it (on_reboot=preserve, or its xl process is gone)"
            }
            Reason::Suspend => "is suspended: a migration or save of it was broken off",
            Reason::Crash => "has crashed",
            Reason::Watchdog => "was stopped by its watchdog",
            Reason::SoftReset => "waits for a soft reset",
            Reason::Other(_) => "has shut down",
        }),
    }
}

/// About a paused guest that was never on a processor.
pub fn never_ran(name: &str) -> String {
    format!("guest {name} is paused and has never run: it is being received or restored, or was made so")
}

/// About the half that is here.
pub fn half_sentence(name: &str, part: Part, domain: &Domain) -> String {
    let id = domain.id;
    match part {
        Part::Incoming => format!(
            "guest {name} is being received here ({name}{INCOMING}, id {id}), or its migration to here was broken off"
        ),
        Part::Away => format!(
            "guest {name} was given to another host ({name}{AWAY}, id {id}) and is suspended here; it may run there"
        ),
        Part::Migrating => format!("a migration of guest {name} is not over ({XEND}{name}, id {id})"),
        Part::Whole => format!("guest {name} is here (id {id})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(name: &str) -> Domain {
        Domain {
            name: name.to_owned(),
            id: 4,
            memory: 64,
            processors: 1,
            condition: Condition::Blocked,
            has_run: Some(true),
            uuid: None,
        }
    }

    fn parts(names: &[&str]) -> Vec<Part> {
        Sight::of("d1", names.iter().map(|name| domain(name)).collect())
            .domains()
            .map(|(part, _)| part)
            .collect()
    }

    #[test]
    fn names_match_as_a_whole() {
        assert_eq!(
            parts(&["Domain-0", "d", "d10", "xd1", "d1-", "D1", "migrating-d10", "d1--incomingx"]),
            []
        );
        assert_eq!(
            parts(&["d1", "d1--incoming", "d1--migratedaway", "migrating-d1"]),
            [Part::Whole, Part::Incoming, Part::Away, Part::Migrating]
        );
    }

    #[test]
    fn only_a_guest_that_executes_runs() {
        assert_eq!(verdict("d1", Condition::Blocked), Verdict::Runs);
        assert_eq!(verdict("d1", Condition::Running), Verdict::Runs);
        assert_eq!(verdict("d1", Condition::Paused), Verdict::Paused);
        for condition in [
            Condition::Building,
            Condition::Dying,
            Condition::ShutDown(Reason::Crash),
            Condition::ShutDown(Reason::PowerOff),
            Condition::ShutDown(Reason::Reboot),
            Condition::ShutDown(Reason::Suspend),
            Condition::ShutDown(Reason::Watchdog),
            Condition::ShutDown(Reason::SoftReset),
            Condition::ShutDown(Reason::Other('x')),
        ] {
            assert!(matches!(verdict("d1", condition), Verdict::Passing(_)), "{condition:?}");
        }
    }
}
