//! Makes a failing sequence short: steps are left out while it still fails in the same way, each time in a fresh host.

use super::step::Step;
use super::task::{Failure, Task};

/// Attempts for one sequence.
const MOST_ATTEMPTS: usize = 60;

/// How often a sequence is tried whose failure is a matter of a moment.
const TRIES: usize = 3;

/// The shortest that was found, and whether it failed again at all.
pub fn shrink(task: &Task, failure: Failure) -> Result<(Failure, bool), String> {
    let mut attempts = 0;
    let mut tried: Vec<Vec<Step>> = Vec::new();
    let mut best = failure;
    let mut again = |steps: &[Step], wanted: &str| -> Result<Option<Failure>, String> {
        attempts += 1;
        if attempts > MOST_ATTEMPTS || tried.iter().any(|other| other == steps) {
            return Ok(None);
        }
        tried.push(steps.to_vec());
        let by_moment = steps.iter().any(|step| matches!(step, Step::Killed(..) | Step::Watched(_)));
        for _ in 0..if by_moment { TRIES } else { 1 } {
            let one = Task { steps: Some(steps.to_vec()), count: 1, seconds: 60, ..task.clone() };
            let failed = one.play()?.failure.filter(|failure| failure.symptom == wanted);
            if failed.is_some() {
                return Ok(failed);
            }
        }
        Ok(None)
    };
    let wanted = best.symptom.clone();
    match again(&steps_of(&best), &wanted)? {
        Some(failure) => best = failure,
        None => return Ok((best, false)),
    }
    let mut size = best.taken.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < best.taken.len() {
            let mut fewer = steps_of(&best);
            fewer.drain(at..(at + size).min(fewer.len()));
            match again(&fewer, &wanted)? {
                Some(failure) if failure.taken.len() < best.taken.len() => best = failure,
                _ => at += size,
            }
        }
        size /= 2;
    }
    // A plain call says more than one with company.
    for at in 0..best.taken.len() {
        let mut plainer = steps_of(&best);
        if let Some(step) = plainer.get_mut(at)
            && let Step::Killed(action, _) | Step::Watched(action) = *step
        {
            *step = Step::Call(action);
            if let Some(failure) = again(&plainer, &wanted)? {
                best = failure;
            }
        }
    }
    Ok((best, true))
}

fn steps_of(failure: &Failure) -> Vec<Step> {
    failure.taken.iter().map(|taken| taken.step).collect()
}
