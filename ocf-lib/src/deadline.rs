//! Points in time after which an operation must have ended, and the only place that sleeps.

use std::time::{Duration, Instant};

/// When the work must be over. Copy it into every wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// `span` from now.
    pub fn after(span: Duration) -> Self {
        Self(Instant::now().checked_add(span))
    }

    /// No end of its own: somebody else (a cluster manager's SIGKILL, an operator) ends the work.
    pub const fn never() -> Self {
        Self(None)
    }

    /// At that instant.
    pub const fn at_instant(at: Instant) -> Self {
        Self(Some(at))
    }

    /// The instant, or `None` when there is no end.
    pub const fn at(self) -> Option<Instant> {
        self.0
    }

    /// Time left, zero when expired; `None` when there is no end.
    pub fn remaining(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Time left, but at most `cap`: the form in which system calls want it.
    pub fn left_or(self, cap: Duration) -> Duration {
        self.remaining().map_or(cap, |left| left.min(cap))
    }

    pub fn expired(self) -> bool {
        self.remaining().is_some_and(|left| left.is_zero())
    }

    /// The earlier of the two.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(a), Some(b)) => Self(Some(a.min(b))),
            (a, b) => Self(a.or(b)),
        }
    }

    /// `span` from now or this deadline, whichever is earlier.
    #[must_use]
    pub fn within(self, span: Duration) -> Self {
        self.min(Self::after(span))
    }

    /// This deadline, `margin` earlier: leaves time for what has to follow.
    #[must_use]
    pub fn less(self, margin: Duration) -> Self {
        Self(self.0.map(|at| at.checked_sub(margin).unwrap_or(at)))
    }

    /// Sleeps for `span` or until the deadline, whichever comes first.
    pub fn sleep(self, span: Duration) {
        #[allow(clippy::disallowed_methods, reason = "the one place that sleeps")]
        std::thread::sleep(self.left_or(span));
    }
}

/// A clock that tests can replace, for waits whose length is part of the behaviour.
pub trait Clock {
    fn now(&self) -> Instant;
    /// Lets `span` pass.
    fn sleep(&self, span: Duration);
}

/// The real clock.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep(&self, span: Duration) {
        Deadline::never().sleep(span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_has_no_remaining_time_and_does_not_expire() {
        assert_eq!(Deadline::never().remaining(), None);
        assert!(!Deadline::never().expired());
        assert_eq!(Deadline::never().left_or(Duration::from_secs(3)), Duration::from_secs(3));
    }

    #[test]
    fn the_earlier_deadline_wins() {
        let soon = Deadline::after(Duration::from_millis(5));
        assert_eq!(soon.min(Deadline::never()), soon);
        assert_eq!(Deadline::never().min(soon), soon);
        assert_eq!(soon.within(Duration::from_secs(60)), soon);
    }

    #[test]
    fn sleep_ends_at_the_deadline() {
        let start = Instant::now();
        Deadline::after(Duration::from_millis(20)).sleep(Duration::from_secs(60));
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
