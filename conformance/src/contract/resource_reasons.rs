//! Exit reasons: what a person reads in the cluster's status after a failure.

use super::resource_ways::{Wrong, call, malformed, missing};
use crate::call::Answer;
use crate::case::{BEYOND, Case, Stop, Trial};
use crate::subject::Family;

pub fn cases() -> Vec<Case> {
    vec![Case::contract(
        "resource/exit-reason",
        Family::Resource,
        &["reasons", BEYOND],
        "A start or validate-all that fails says why on standard error, in one line that begins with ocf-exit-reason: and \
         holds a text without control characters; Pacemaker shows it to the administrator beside the failed operation (Pacemaker's addition to the API).",
        exit_reason,
    )]
}

fn exit_reason(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let mut wrongs = vec![Wrong::unset("with the given parameters", "RINGFENCE_NOTHING")];
    for more in [missing(trial), malformed(trial)] {
        match more {
            Ok(more) => wrongs.extend(more),
            Err(Stop::DoesNotApply(_)) => {}
            Err(other) => return Err(other),
        }
    }
    let mut failed = 0;
    for way in trial.ways {
        for action in ["validate-all", "start"] {
            if action == "validate-all" && !trial.subject.has_action(action) {
                continue;
            }
            for wrong in &wrongs {
                let answer = trial.run(&wrong.apply(call(trial, action, way)))?;
                if matches!(answer.code(), None | Some(0 | 3)) {
                    if action == "start" && answer.is(0) {
                        trial.run(&call(trial, "stop", way))?;
                    }
                    continue;
                }
                failed += 1;
                if let Some(what) = unreadable(&answer) {
                    trial.find(format!("{action} {} fails and {what}", wrong.told), Some(&answer));
                    // One for each action: the others have the same cause.
                    break;
                }
            }
        }
    }
    if failed == 0 {
        Err(Stop::DoesNotApply("nothing that could be wrong makes it fail".to_owned()))
    } else {
        Ok(())
    }
}

/// What is wrong with the reason that it gives, if anything.
fn unreadable(answer: &Answer) -> Option<&'static str> {
    let lines: Vec<&str> = answer.err.split('\n').filter(|line| line.contains("ocf-exit-reason:")).collect();
    if lines.is_empty() {
        return Some("gives no exit reason");
    }
    let reasons: Vec<Option<&str>> = lines.iter().map(|line| line.strip_prefix("ocf-exit-reason:")).collect();
    if reasons.contains(&None) {
        return Some("its exit reason does not begin a line");
    }
    if reasons.iter().flatten().any(|reason| reason.trim().is_empty()) {
        return Some("its exit reason is empty");
    }
    let control = reasons.iter().flatten().any(|reason| reason.chars().any(char::is_control));
    control.then_some("its exit reason holds control characters")
}
