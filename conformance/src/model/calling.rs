//! Calls of a sequence: to their end, killed in the middle, or with a second call beside them.

use super::step::Action;
use crate::call::{Call, End, kill_group, pause};
use crate::case::evidence;
use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

/// How long an action takes here, from those that were seen.
#[derive(Default)]
pub struct Clock(HashMap<Action, (Duration, u32)>);

/// A call's end, and its evidence for a finding.
pub struct Seen {
    pub end: End,
    pub evidence: Option<String>,
}

impl Clock {
    fn mean(&self, action: Action) -> Duration {
        self.0
            .get(&action)
            .and_then(|(sum, count)| sum.checked_div(*count))
            .unwrap_or(Duration::from_millis(20))
    }

    pub fn run(&mut self, action: Action, call: &Call) -> Result<Seen, String> {
        let answer = call.run()?;
        let (sum, count) = self.0.entry(action).or_default();
        *sum += answer.took;
        *count += 1;
        Ok(Seen { end: answer.end, evidence: Some(evidence(&answer)) })
    }

    /// SIGKILL after so many eighths of its time. `None`: it was killed; else it was quicker, and ended so.
    pub fn kill(&self, action: Action, call: &Call, eighths: u32) -> Result<Option<Seen>, String> {
        let whole = self.mean(action);
        let mut child = call.start().map_err(|why| format!("start the agent: {why}"))?;
        pause(whole * eighths / 8);
        kill_group(&child);
        let status = child.wait().map_err(|why| format!("wait for the agent: {why}"))?;
        let end = match (status.code(), status.signal()) {
            (Some(code), _) => End::Code(code),
            (None, Some(9)) => return Ok(None),
            (None, signal) => End::Signal(signal.unwrap_or(0)),
        };
        Ok(Some(Seen { end, evidence: None }))
    }

    /// The call, and the other one a third of its time later.
    pub fn beside(&mut self, action: Action, call: &Call, other: &Call) -> Result<(Seen, Seen), String> {
        let whole = self.mean(action);
        let second = std::thread::scope(|scope| {
            let second = scope.spawn(|| {
                pause(whole / 3);
                other.run()
            });
            let first = self.run(action, call);
            let second = second.join().unwrap_or_else(|_| Err("the second call was lost".to_owned()));
            Ok::<_, String>((first?, second?))
        })?;
        let (first, answer) = second;
        let seen = Seen { end: answer.end, evidence: Some(evidence(&answer)) };
        Ok((first, seen))
    }
}

/// `7, 1 or 9`.
pub fn either(codes: &[i32]) -> String {
    let words: Vec<String> = codes.iter().map(ToString::to_string).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

pub const fn code(end: End) -> Option<i32> {
    match end {
        End::Code(code) => Some(code),
        End::Signal(_) | End::Hung => None,
    }
}

/// `0`, or how else it ended.
pub fn ended(end: End) -> String {
    code(end).map_or_else(|| end.to_string(), |code| code.to_string())
}
