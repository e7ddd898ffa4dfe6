//! Which actions are known, and what is said of others.

use super::form::{ask, expect_an_end, filled, validated};
use crate::case::{Case, Stop, Trial};
use crate::document;
use crate::subject::Family;

/// What Pacemaker (`st_client`, `fenced_commands`) looks for to tell "cannot do that" from "failed".
const PARSED: [&str; 3] = ["unrecognised action", "unrecognized action", "unsupported action"];

pub fn cases() -> Vec<Case> {
    let case = |id, tags: &[&str], about, judge| Case::contract(id, Family::Fence, tags, about, judge);
    vec![
        case(
            "fence/unknown-action",
            &["actions"],
            "An action that does not exist is 1, with words that Pacemaker recognises on standard error (\"unrecognised \
             action\"): it then knows that the device cannot do it instead of repeating it.",
            unknown_action,
        ),
        case(
            "fence/empty-action",
            &["actions", "outage"],
            "action= without a value is an error, and is not taken for an absent one: the default would reboot the node.",
            empty_action,
        ),
        case(
            "fence/option-is-action",
            &["actions", "outage"],
            "option= is the old spelling of action= that the fence agent API still documents. An agent that ignores it \
             carries out its default instead: asked for the status, it reboots the node.",
            option_is_action,
        ),
        case(
            "fence/declared-actions-answer",
            &["actions"],
            "No action that the metadata declares is called unknown.",
            declared,
        ),
    ]
}

fn unknown_action(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let answer = ask(trial, &filled(trial), "no-such-action")?;
    expect_an_end(trial, &answer, "an action that does not exist");
    trial.expect_code(&answer, &[1], "an action that does not exist");
    let said = answer.err.to_lowercase();
    let good = PARSED.iter().any(|words| said.contains(words));
    trial.expect(
        good,
        || "Pacemaker should find \"unrecognised action\" on stderr, and does not".to_owned(),
        &answer,
    );
    Ok(())
}

fn empty_action(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let answer = ask(trial, &filled(trial), "")?;
    expect_an_end(trial, &answer, "action= without a value");
    trial.expect_code(&answer, &[1], "action= without a value");
    let said = answer.err.to_lowercase();
    let good = PARSED.iter().any(|words| said.contains(words)) || said.contains("action");
    trial.expect(
        good,
        || {
            "action= without a value should be refused for the action's sake, and something else happens"
                .to_owned()
        },
        &answer,
    );
    Ok(())
}

fn option_is_action(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let answer = trial.run(&trial.subject.fencer("option=metadata\n"))?;
    let good = answer.is(0) && document::parse(&answer.out).is_ok_and(|told| told == trial.subject.metadata);
    trial.expect(
        good,
        || {
            "option=metadata should give the metadata; it is ignored, so that the default action is what is asked for"
                .to_owned()
        },
        &answer,
    );
    Ok(())
}

fn declared(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let values = filled(trial);
    let plain = validated(trial, &values).ok();
    let actions: Vec<String> = trial.subject.actions().into_iter().map(str::to_owned).collect();
    for action in actions
        .iter()
        .filter(|action| !matches!(action.as_str(), "metadata" | "validate-all" | "start" | "stop"))
    {
        let answer = ask(trial, &values, action)?;
        let said = answer.err.to_lowercase();
        let unknown = PARSED.iter().any(|words| said.contains(words));
        trial.expect(
            !unknown,
            || format!("{action} is declared and should be known, and is called unknown"),
            &answer,
        );
    }
    if let Some(answer) = plain {
        trial.expect_code(&answer, &[0, 1], "validate-all");
    }
    Ok(())
}
