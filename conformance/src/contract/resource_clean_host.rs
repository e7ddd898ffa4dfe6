//! A host where nothing of the agent runs: whatever is wrong, a probe says so and a stop succeeds.

use super::resource_ways::{Wrong, ask, call, malformed, missing, must, no_path, no_run_directory, required};
use crate::call::{Answer, Call};
use crate::case::{BEYOND, Case, Parameters, Stop, Trial};
use crate::subject::Family;

pub fn cases() -> Vec<Case> {
    let case = |id, tags: &[&str], about, judge| Case::contract(id, Family::Resource, tags, about, judge);
    let (probe, stop, recurring) = (&["monitor", "outage"], &["stop", "outage"], &["monitor", "outage"]);
    let beyond = &["monitor", "outage", BEYOND];
    vec![
        case("resource/probe-on-a-clean-host", probe, PROBE_ABOUT, |t| plainly(t, &PROBE)),
        case("resource/probe-parameter-missing", beyond, PROBE_ABOUT, |t| whatever(t, &PROBE, missing)),
        case("resource/probe-parameter-malformed", beyond, PROBE_ABOUT, |t| whatever(t, &PROBE, malformed)),
        case("resource/probe-without-path", probe, PROBE_ABOUT, |t| whatever(t, &PROBE, no_path)),
        case("resource/probe-run-directory", probe, PROBE_ABOUT, |t| whatever(t, &PROBE, no_run_directory)),
        case("resource/stop-on-a-clean-host", stop, STOP_ABOUT, |t| plainly(t, &STOP)),
        case("resource/stop-parameter-missing", stop, STOP_ABOUT, |t| whatever(t, &STOP, missing)),
        case("resource/stop-parameter-malformed", stop, STOP_ABOUT, |t| whatever(t, &STOP, malformed)),
        case("resource/stop-without-path", stop, STOP_ABOUT, |t| whatever(t, &STOP, no_path)),
        case("resource/stop-run-directory", stop, STOP_ABOUT, |t| whatever(t, &STOP, no_run_directory)),
        case("resource/recurring-on-a-clean-host", recurring, AGAIN_ABOUT, |t| plainly(t, &RECURRING)),
        case("resource/recurring-parameter-missing", beyond, AGAIN_ABOUT, |t| {
            whatever(t, &RECURRING, missing)
        }),
        case("resource/recurring-parameter-malformed", beyond, AGAIN_ABOUT, |t| {
            whatever(t, &RECURRING, malformed)
        }),
        case("resource/recurring-without-path", beyond, AGAIN_ABOUT, |t| whatever(t, &RECURRING, no_path)),
        case("resource/recurring-run-directory", beyond, AGAIN_ABOUT, |t| {
            whatever(t, &RECURRING, no_run_directory)
        }),
    ]
}

const PROBE_ABOUT: &str = "A probe (monitor with interval 0) where nothing runs is 7, or 5 where software is missing, \
    whatever is wrong with parameters, PATH and run directory: after any other code the cluster believes that the resource \
    is there and broken, and stops it elsewhere (OCF resource agent API 1.1, \"monitor\").";
const STOP_ABOUT: &str = "Stop of something that was never started is 0, whatever is wrong with parameters, PATH and run \
    directory: after any other code the cluster fences the node (OCF resource agent API 1.1, \"stop\").";
const AGAIN_ABOUT: &str = "A recurring monitor that finds nothing is 7, or 1 when it cannot tell: 2 to 6 are about \
    configuration and ban the resource from the node or, 6, from all nodes.";

/// A question whose answer on a clean host is known.
struct Question {
    action: &'static str,
    recurring: bool,
    codes: &'static [i32],
    told: &'static str,
}

const PROBE: Question =
    Question { action: "monitor", recurring: false, codes: &[7, 5], told: "probe where nothing runs" };
const STOP: Question =
    Question { action: "stop", recurring: false, codes: &[0], told: "stop of what was never started" };
const RECURRING: Question = Question {
    action: "monitor",
    recurring: true,
    codes: &[7, 1],
    told: "recurring monitor where nothing runs",
};

fn asked(trial: &Trial<'_>, question: &Question, way: &Parameters) -> Call {
    let call = call(trial, question.action, way);
    if question.recurring { call.recurring() } else { call }
}

/// Without parameters, and in each given way. What to look for is not known without a parameter that is required: only
/// stop must do even then.
fn plainly(trial: &mut Trial<'_>, question: &Question) -> Result<(), Stop> {
    let none = Parameters::new();
    let needs = required(&trial.subject.metadata);
    let without = needs.is_empty() || question.action == "stop";
    let given: Vec<&Parameters> = trial.ways.iter().filter(|way| !way.is_empty()).collect();
    if !without && given.is_empty() {
        return Err(Stop::CannotJudge(format!("give what it needs with --param: {}", needs.join(", "))));
    }
    for way in without.then_some(&none).into_iter().chain(given) {
        let doing = if way.is_empty() {
            format!("{} without parameters", question.told)
        } else {
            question.told.to_owned()
        };
        must(trial, &asked(trial, question, way), question.codes, &doing)?;
    }
    Ok(())
}

/// With each of these wrongs, where the answer is right without them.
fn whatever(
    trial: &mut Trial<'_>,
    question: &Question,
    wrongs: fn(&Trial<'_>) -> Result<Vec<Wrong>, Stop>,
) -> Result<(), Stop> {
    let wrongs = wrongs(trial)?;
    let mut wrong_anyway = None;
    for way in trial.ways {
        let plain = asked(trial, question, way);
        let answer = trial.run(&plain)?;
        if !answer.code().is_some_and(|code| question.codes.contains(&code)) {
            wrong_anyway = Some(answer.end);
            continue;
        }
        // What ends in one way has one finding.
        let mut bad: Vec<(Answer, Vec<&str>)> = Vec::new();
        for wrong in &wrongs {
            let doing = format!("{} {}", question.told, wrong.told);
            let answer = ask(trial, &wrong.apply(plain.clone()), &doing)?;
            if answer.code().is_some_and(|code| question.codes.contains(&code)) {
                continue;
            }
            match bad.iter_mut().find(|(other, _)| other.end == answer.end) {
                Some((_, all)) => all.push(&wrong.told),
                None => bad.push((answer, vec![&wrong.told])),
            }
        }
        for (answer, all) in bad {
            trial.expect_code(&answer, question.codes, &format!("{} {}", question.told, all.join(", ")));
        }
    }
    match wrong_anyway {
        Some(end) => Err(Stop::CannotJudge(format!(
            "{} is {end} with the given parameters already (give what it needs with --param)",
            question.told
        ))),
        None => Ok(()),
    }
}
