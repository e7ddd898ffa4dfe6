//! Starting, running and stopping: twice each, in a foreign locale, without descriptors, and killed in the middle.

use super::resource_ways::{call, must, need, started};
use crate::call::{Call, End, kill_group, pause};
use crate::case::{BEYOND, Case, Parameters, Stop, Trial};
use crate::subject::Family;
use std::time::Duration;

pub fn cases() -> Vec<Case> {
    let case = |id, tags: &[&str], about, judge| Case::contract(id, Family::Resource, tags, about, judge);
    vec![
        case(
            "resource/life",
            &["start", "stop"],
            "start, start again, monitor, stop, stop again, monitor: every action is idempotent, and what monitor says is what the \
             action before has done (OCF resource agent API 1.1, \"Resource agent actions\").",
            life,
        ),
        case(
            "resource/locale",
            &["environment"],
            "The caller's language changes no answer: tools are asked in the C locale.",
            |trial| unchanged(trial, "in a German locale", german),
        ),
        case(
            "resource/closed-descriptors",
            &["environment", BEYOND],
            "Closed descriptors change no answer: managers and init systems differ in what they leave open.",
            |trial| {
                unchanged(trial, "with 0, 1 and 2 closed", |call| call.closing("0<&- 1>&- 2>&-"))?;
                unchanged(trial, "with 0 closed", |call| call.closing("0<&-"))
            },
        ),
        case(
            "resource/killed-start",
            &["start", "stop", "killed"],
            "Killed at any moment of a start (a manager kills the process group without a warning), stop cleans up, and the next \
             start and stop work.",
            killed_start,
        ),
        case(
            "resource/killed-stop",
            &["stop", "killed"],
            "Killed at any moment of a stop, the next stop finishes it, and the resource can be started again.",
            killed_stop,
        ),
        case(
            "resource/deadline",
            &["deadline", BEYOND],
            "Each action is over before its timeout (3 s here): the manager kills it then, and a stop that was killed means that \
             the node is fenced. The API leaves timeouts to the manager.",
            deadline,
        ),
    ]
}

fn life(trial: &mut Trial<'_>) -> Result<(), Stop> {
    for way in trial.ways {
        let with = |action: &str| call(trial, action, way);
        let (start, stop, probe) = (with("start"), with("stop"), with("monitor"));
        let recurring = probe.clone().recurring();
        started(trial, way)?;
        for _ in 0..2 {
            must(trial, &start, &[0], "start of what runs")?;
            need(trial, &probe, &[0, 190], "probe of what was started")?;
            must(trial, &recurring, &[0, 190], "recurring monitor of what was started")?;
            need(trial, &stop, &[0], "stop of what runs")?;
            must(trial, &probe, &[7], "probe of what was stopped")?;
            must(trial, &stop, &[0], "stop of what was stopped")?;
            must(trial, &recurring, &[7], "recurring monitor of what was stopped")?;
            need(trial, &start, &[0], "start of what was stopped")?;
        }
        need(trial, &stop, &[0], "stop of what runs")?;
    }
    Ok(())
}

fn german(call: Call) -> Call {
    call.without("LC_ALL")
        .env("LANG", "de_DE.UTF-8")
        .env("LANGUAGE", "de:fr")
        .env("LC_MESSAGES", "de_DE.UTF-8")
}

/// The same codes as without the change, also while it runs where it can be started.
fn unchanged(trial: &mut Trial<'_>, how: &str, change: fn(Call) -> Call) -> Result<(), Stop> {
    for way in trial.ways {
        let mut running = false;
        for action in ["monitor", "validate-all", "start", "monitor", "stop", "monitor", "stop"] {
            if action == "validate-all" && !trial.subject.has_action(action) {
                continue;
            }
            let plain = call(trial, action, way);
            let End::Code(code) = trial.run(&plain)?.end else { continue };
            // What the plain call has done is undone, so that the changed one meets the same state.
            match action {
                "start" => {
                    running = code == 0;
                    trial.run(&call(trial, "stop", way))?;
                }
                "stop" if running => {
                    trial.run(&call(trial, "start", way))?;
                    running = false;
                }
                _ => {}
            }
            must(trial, &change(plain), &[code], &format!("{action} {how}"))?;
        }
    }
    Ok(())
}

/// Moments at which an action is killed, from its beginning to its end.
const MOMENTS: u32 = 8;

/// Kills the action's whole process group after a part of the time that it takes.
fn killed(trial: &Trial<'_>, call: &Call, took: Duration, moment: u32) -> Result<(), Stop> {
    let mut child = call.start().map_err(|why| format!("{}: {why}", trial.subject.path.display()))?;
    pause(took * moment / MOMENTS);
    kill_group(&child);
    child.wait().map_err(|why| format!("wait: {why}"))?;
    Ok(())
}

/// How long a successful action takes here.
fn time_of(trial: &mut Trial<'_>, action: &str, way: &Parameters) -> Result<Duration, Stop> {
    Ok(need(trial, &call(trial, action, way), &[0], action)?.took)
}

fn killed_start(trial: &mut Trial<'_>) -> Result<(), Stop> {
    for way in trial.ways {
        started(trial, way)?;
        time_of(trial, "stop", way)?;
        let took = time_of(trial, "start", way)?;
        time_of(trial, "stop", way)?;
        for moment in 0..=MOMENTS {
            let (start, stop, probe) =
                (call(trial, "start", way), call(trial, "stop", way), call(trial, "monitor", way));
            killed(trial, &start, took, moment)?;
            let when = format!("after a start killed at {moment}/{MOMENTS} of its time");
            need(trial, &stop, &[0], &format!("stop {when}"))?;
            need(trial, &probe, &[7], &format!("probe after the stop {when}"))?;
            need(trial, &start, &[0], &format!("start {when} and a stop"))?;
            need(trial, &probe, &[0, 190], &format!("probe of what was started {when} and a stop"))?;
            need(trial, &stop, &[0], &format!("second stop {when}"))?;
        }
    }
    Ok(())
}

fn killed_stop(trial: &mut Trial<'_>) -> Result<(), Stop> {
    for way in trial.ways {
        started(trial, way)?;
        let took = time_of(trial, "stop", way)?;
        for moment in 0..=MOMENTS {
            let (start, stop, probe) =
                (call(trial, "start", way), call(trial, "stop", way), call(trial, "monitor", way));
            let when = format!("after a stop killed at {moment}/{MOMENTS} of its time");
            need(trial, &start, &[0], "start of what was stopped")?;
            killed(trial, &stop, took, moment)?;
            need(trial, &stop, &[0], &format!("stop {when}"))?;
            need(trial, &probe, &[7], &format!("probe of what was stopped {when}"))?;
        }
    }
    Ok(())
}

fn deadline(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let long = Duration::from_millis(4500);
    for way in trial.ways {
        for action in ["validate-all", "monitor", "start", "monitor", "stop"] {
            if action == "validate-all" && !trial.subject.has_action(action) {
                continue;
            }
            let call = call(trial, action, way).param("CRM_meta_timeout", "3000").patience(long);
            let answer = trial.run(&call)?;
            let over = answer.end == End::Hung;
            trial.expect(!over, || format!("{action} with a timeout of 3 s: not ended after 4.5 s"), &answer);
        }
    }
    Ok(())
}
