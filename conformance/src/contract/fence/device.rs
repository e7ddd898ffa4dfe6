//! A device that is not there: nothing is known, so nothing may be told.

use super::form::{accepted, ask, crash, declares, expect_an_end, filled, with};
use crate::call::{Answer, End};
use crate::case::{Case, Stop, Trial};
use crate::subject::Family;
use std::time::Duration;

/// What Pacemaker gives a monitor by default; the calls here are told to wait 2 s for each answer.
const LONG: Duration = Duration::from_secs(20);

/// An address of the trial's own network where packets vanish.
const BLACKHOLE: &str = "192.0.2.99";

pub fn cases() -> Vec<Case> {
    let case = |id, tags: &[&str], about, judge| Case::contract(id, Family::Fence, tags, about, judge);
    vec![
        case(
            "fence/unreachable",
            &["device", "lies"],
            "With a device that cannot be reached no action succeeds, none tells a state or a success, and standard error \
             says why (without a word there Pacemaker shows \"No data available\"). \"Timed out\" is said of what took \
             time only: Pacemaker treats it differently.",
            unreachable,
        ),
        case(
            "fence/silent-device",
            &["device", "lies", "deadlines"],
            "With a device whose network swallows every packet off, status and monitor fail within the 20 s that \
             Pacemaker gives a monitor, when each wait was configured to be 2 s.",
            silent,
        ),
        case(
            "fence/delay",
            &["device", "deadlines"],
            "delay= is waited before off and reboot and before nothing else: a monitor that waits times out and fails \
             the device.",
            delay,
        ),
    ]
}

fn has_address(trial: &Trial<'_>) -> Result<(), Stop> {
    if declares(trial, "ip") || declares(trial, "ipaddr") {
        return Ok(());
    }
    Err(Stop::DoesNotApply("it takes no address of a device".to_owned()))
}

fn no_lie(trial: &mut Trial<'_>, answer: &Answer, doing: &str) {
    if answer.end == End::Hung {
        trial
            .find(format!("{doing} should fail within {} s, and does not end", LONG.as_secs()), Some(answer));
        return;
    }
    expect_an_end(trial, answer, doing);
    trial.expect(answer.code() != Some(0), || format!("{doing} should fail, and exits with 0"), answer);
    trial.expect(
        !answer.is(2),
        || format!("{doing} should fail with 1, and exits with 2, which means off"),
        answer,
    );
    let told = ["Success", "Status: O", "is ON", "is OFF"].iter().find(|words| answer.out.contains(**words));
    if let Some(words) = told {
        trial.find(format!("{doing} should tell no state, and says \"{words}\""), Some(answer));
    }
    if answer.err.trim().is_empty() && !answer.is(0) {
        trial.find(format!("{doing} should say why it failed, and says nothing on stderr"), Some(answer));
    }
}

fn unreachable(trial: &mut Trial<'_>) -> Result<(), Stop> {
    has_address(trial)?;
    let values = filled(trial);
    for action in ["status", "off", "reboot", "on", "monitor", "list"] {
        if !trial.subject.has_action(action) {
            continue;
        }
        let answer = ask(trial, &values, action)?;
        let doing = format!("{action} with a device that refuses every connection");
        no_lie(trial, &answer, &doing);
        if crash(&answer).is_some() {
            // The other actions crash for the same reason.
            break;
        }
        let said = answer.err.to_lowercase();
        let late = said.contains("timed out") || said.contains("timeout");
        if late && answer.took < Duration::from_millis(900) && crash(&answer).is_none() {
            let took = answer.took.as_secs_f64();
            trial.find(
                format!("{doing} says that it timed out, after {took:.1} s of the 2 s it had"),
                Some(&answer),
            );
        }
    }
    Ok(())
}

fn silent(trial: &mut Trial<'_>) -> Result<(), Stop> {
    has_address(trial)?;
    // A neighbour that exists and never answers; without it the kernel itself says "no route" after 3 s.
    let words = ["neighbor", "replace", BLACKHOLE, "lladdr", "02:00:00:00:00:99", "dev", "judge0"];
    crate::tool::output("ip", &words)?;
    let key = if declares(trial, "ip") { "ip" } else { "ipaddr" };
    let values = with(&filled(trial), key, BLACKHOLE);
    for action in ["off", "status", "monitor"] {
        if !trial.subject.has_action(action) {
            continue;
        }
        let answer = trial.run(&trial.subject.fencer(&super::form::lines(&values, action)).patience(LONG))?;
        no_lie(trial, &answer, &format!("{action} with a device that never answers"));
        if answer.end == End::Hung || crash(&answer).is_some() {
            break;
        }
    }
    Ok(())
}

fn delay(trial: &mut Trial<'_>) -> Result<(), Stop> {
    has_address(trial)?;
    if !declares(trial, "delay") {
        return Err(Stop::DoesNotApply("it has no delay".to_owned()));
    }
    let values = filled(trial);
    accepted(trial, &values)?;
    let late = with(&values, "delay", "3");
    let span = Duration::from_millis(2500);
    for action in ["status", "monitor"] {
        let (plain, waited) = (ask(trial, &values, action)?, ask(trial, &late, action)?);
        let took = waited.took.saturating_sub(plain.took);
        trial.expect(took < span, || format!("{action} with delay=3 should not wait, and does"), &waited);
    }
    let waited = ask(trial, &late, "off")?;
    // What refuses a value has nothing to wait for; what speaks of the device has tried to reach it.
    let said = waited.err.to_lowercase();
    let tried = ["connect", "unreachable", "refused", "timed out", "login", "network"];
    if crash(&waited).is_none() && tried.iter().any(|word| said.contains(word)) {
        trial.expect(
            waited.took >= span,
            || "off with delay=3 should wait, and does not".to_owned(),
            &waited,
        );
    }
    Ok(())
}
