//! Which actions a resource agent knows, and what it says of others.

use crate::case::{Case, Stop, Trial};
use crate::subject::Family;

pub fn cases() -> Vec<Case> {
    vec![
        Case::contract(
            "resource/unknown-action",
            Family::Resource,
            &["actions"],
            "An action that the standard does not know is answered with 3, before parameters, programs or permissions are \
             looked at (OCF resource agent API 1.1, \"Resource agent actions\" and \"Exit status\").",
            unknown_action,
        ),
        Case::contract(
            "resource/stop-on-a-clean-host",
            Family::Resource,
            &["stop", "outage"],
            "Stop of something that was never started is 0, with any parameter missing: any other code fences the node.",
            stop_on_a_clean_host,
        ),
        Case::contract(
            "resource/probe-on-a-clean-host",
            Family::Resource,
            &["monitor", "outage"],
            "A probe (monitor with interval 0) where nothing runs is 7, or 5 where software is missing: any other code \
             makes the cluster believe that it is there and broken.",
            probe_on_a_clean_host,
        ),
    ]
}

fn unknown_action(trial: &mut Trial<'_>) -> Result<(), Stop> {
    for word in ["bogus", "Start", "start-it"] {
        let answer = trial.run(&trial.subject.call(word))?;
        trial.expect_code(&answer, &[3], &format!("action {word}"));
    }
    Ok(())
}

fn stop_on_a_clean_host(trial: &mut Trial<'_>) -> Result<(), Stop> {
    for way in [&Vec::new()].into_iter().chain(trial.ways) {
        let answer = trial.run(&trial.subject.call("stop").params(way))?;
        trial.expect_code(&answer, &[0], "stop of what was never started");
    }
    Ok(())
}

fn probe_on_a_clean_host(trial: &mut Trial<'_>) -> Result<(), Stop> {
    for way in [&Vec::new()].into_iter().chain(trial.ways) {
        let answer = trial.run(&trial.subject.call("monitor").params(way))?;
        trial.expect_code(&answer, &[5, 7], "probe where nothing runs");
    }
    Ok(())
}
