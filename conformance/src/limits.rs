//! How long things may take: one call of an agent, one trial, all trials of one agent, the whole run.
//!
//! A call that is cut at its own limit is an answer: the agent hung. One that is cut because its trial is over is none,
//! and what the trial found before still counts.

use serde::{Deserialize, Serialize};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Whole seconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// No call waits longer, whatever patience its case has.
    pub call: u64,
    pub trial: u64,
    /// Of all its trials, added up: what is left of it then is not carried out.
    pub agent: u64,
    /// From the first trial on; `None`: as long as it takes.
    pub run: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { call: 20, trial: 300, agent: 900, run: None }
    }
}

impl Limits {
    /// Where processors may be emulated.
    pub fn in_the_lab(self) -> Self {
        Self { call: self.call.max(120), trial: self.trial.max(900), agent: self.agent.max(3600), ..self }
    }
}

/// An agent that took this long lets all others go first.
pub const FAIR: Duration = Duration::from_secs(40);

/// Beyond its limit, what a trial has to tell what it found; then it is killed.
pub const GRACE: Duration = Duration::from_secs(10);

/// The limits of this process' trial, and when it is over.
static TRIAL: OnceLock<(Limits, Instant)> = OnceLock::new();

/// From now on this process is a trial.
pub fn begin(limits: Limits) {
    let _ = TRIAL.set((limits, Instant::now() + Duration::from_secs(limits.trial)));
}

/// What a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub span: Duration,
    /// Set when the trial ends before the call's own patience: the limit of the trial in seconds.
    pub trial: Option<u64>,
}

impl Span {
    /// Why a call that is over cannot be judged; `None`: it hung.
    pub fn cut(&self) -> Option<String> {
        self.trial.map(over)
    }
}

fn over(limit: u64) -> String {
    format!("the trial took {limit} s and was not over: --trial-limit, or fewer jobs")
}

/// What a call with this patience may take now. `Err`: nothing, its trial is over.
pub fn of_call(patience: Duration) -> Result<Span, String> {
    TRIAL.get().map_or(Ok(Span { span: patience, trial: None }), |(limits, end)| {
        let left = end.saturating_duration_since(Instant::now());
        within(patience, *limits, left)
    })
}

fn within(patience: Duration, limits: Limits, left: Duration) -> Result<Span, String> {
    let own = patience.min(Duration::from_secs(limits.call));
    if left.is_zero() {
        Err(over(limits.trial))
    } else if left < own {
        Ok(Span { span: left, trial: Some(limits.trial) })
    } else {
        Ok(Span { span: own, trial: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_trial_is_not_the_agents_fault() {
        let limits = Limits { call: 5, trial: 60, ..Limits::default() };
        let seconds = Duration::from_secs;
        let span = |patience, left| within(seconds(patience), limits, seconds(left));
        assert_eq!(span(30, 50), Ok(Span { span: seconds(5), trial: None }), "cut at the limit of calls");
        assert_eq!(span(2, 50), Ok(Span { span: seconds(2), trial: None }), "its own patience");
        assert_eq!(span(30, 3), Ok(Span { span: seconds(3), trial: Some(60) }));
        assert!(span(30, 3).unwrap().cut().is_some() && span(30, 50).unwrap().cut().is_none());
        assert!(span(30, 0).unwrap_err().contains("60 s"));
    }
}
