//! The order of work: as it stands, but whoever is slow goes last, so that nobody's slowness costs the others their turn.

use crate::limits::FAIR;
use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

/// What a worker does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Try(usize),
    /// Its agent has had all the time that it may have.
    Leave(usize),
    Over,
}

/// Positions in the list of work, by agent.
pub(super) struct Plan {
    /// The agent of each piece of work, as a number.
    whose: Vec<usize>,
    /// What each agent has taken.
    taken: Vec<Duration>,
    waiting: VecDeque<usize>,
    last: VecDeque<usize>,
    limit: Duration,
}

impl Plan {
    /// `agents`: the agent of each piece of work, pieces of one agent together.
    pub(super) fn new<'a>(agents: impl Iterator<Item = &'a Path>, limit: Duration) -> Self {
        let (mut whose, mut count, mut before) = (Vec::new(), 0_usize, None);
        for agent in agents {
            if before.is_some_and(|before| before != agent) {
                count += 1;
            }
            before = Some(agent);
            whose.push(count);
        }
        let waiting = (0..whose.len()).collect();
        Self { whose, taken: vec![Duration::ZERO; count + 1], waiting, last: VecDeque::new(), limit }
    }

    fn taken_by_agent_of(&self, at: usize) -> Duration {
        self.whose.get(at).and_then(|agent| self.taken.get(*agent)).copied().unwrap_or_default()
    }

    pub(super) fn next(&mut self) -> Next {
        while let Some(at) = self.waiting.pop_front() {
            if self.taken_by_agent_of(at) < FAIR {
                return Next::Try(at);
            }
            self.last.push_back(at);
        }
        match self.last.pop_front() {
            None => Next::Over,
            Some(at) if self.taken_by_agent_of(at) < self.limit => Next::Try(at),
            Some(at) => Next::Leave(at),
        }
    }

    pub(super) fn took(&mut self, at: usize, span: Duration) {
        if let Some(taken) = self.whose.get(at).and_then(|agent| self.taken.get_mut(*agent)) {
            *taken += span;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_agent_lets_the_others_go_first_and_has_an_end() {
        let (slow, quick) = (Path::new("/a"), Path::new("/b"));
        let mut plan = Plan::new([slow, slow, slow, quick, quick].into_iter(), FAIR * 2);
        assert_eq!(plan.next(), Next::Try(0));
        plan.took(0, FAIR);
        assert_eq!((plan.next(), plan.next()), (Next::Try(3), Next::Try(4)), "the others");
        assert_eq!(plan.next(), Next::Try(1), "then the rest of the slow one");
        plan.took(1, FAIR);
        assert_eq!((plan.next(), plan.next()), (Next::Leave(2), Next::Over), "until its limit");
    }
}
