//! Which actions a resource agent knows, with which codes they answer, and what it says of others.

use super::resource_ways::{call, hung, need};
use crate::call::{Call, End};
use crate::case::{Case, Parameters, Stop, Trial};
use crate::subject::Family;
use std::ops::RangeInclusive;

pub fn cases() -> Vec<Case> {
    let case = |id, about, judge| Case::contract(id, Family::Resource, &["actions"], about, judge);
    vec![
        case(
            "resource/unknown-action",
            "An action that the standard does not know is answered with 3, before parameters, programs or permissions are \
             looked at (OCF resource agent API 1.1, \"Resource agent actions\" and \"Exit status\").",
            unknown_action,
        ),
        case(
            "resource/extra-arguments",
            "Arguments after the action are ignored: a later version of the API may use them (OCF resource agent API 1.1, \
             \"Paths and invocation\").",
            extra_arguments,
        ),
        case(
            "resource/declared-actions",
            "Every action that the metadata promises answers something else than 3, \"not implemented\".",
            declared_actions,
        ),
        case(
            "resource/exit-codes",
            "Each action ends by itself, with a code that the standard has for it: 7, 8 and 9 are answers of monitor and \
             of role changes, all above 9 but 190 and 191 mean nothing to a manager.",
            exit_codes,
        ),
    ]
}

fn unknown_action(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let none = Parameters::new();
    let names: Vec<String> = trial
        .subject
        .metadata
        .parameters()
        .iter()
        .filter_map(|parameter| parameter.attribute("name").map(str::to_owned))
        .collect();
    for word in ["bogus", "Start", "start-it"] {
        let plain = call(trial, word, &none);
        // One finding for each agent: the others have the same cause.
        need(trial, &plain, &[3], &format!("action {word} without parameters"))?;
        let garbage = names.iter().fold(plain, |call, name| call.param(name, "\u{7}$(garbage)"));
        need(trial, &garbage, &[3], &format!("action {word} with garbage in every parameter"))?;
    }
    for way in trial.ways.iter().filter(|way| !way.is_empty()) {
        need(trial, &call(trial, "bogus", way), &[3], "action bogus")?;
    }
    Ok(())
}

fn extra_arguments(trial: &mut Trial<'_>) -> Result<(), Stop> {
    for way in trial.ways {
        for action in ["meta-data", "monitor", "stop"] {
            let plain = call(trial, action, way);
            let End::Code(code) = trial.run(&plain)?.end else { continue };
            let more = plain.args(["stop", "-h", "\u{7}"]);
            need(trial, &more, &[code], &format!("{action} with further arguments"))?;
        }
    }
    Ok(())
}

/// Declared actions in an order in which they make sense, the calls complete with what a manager adds.
fn in_order(trial: &Trial<'_>, way: &Parameters) -> Vec<(String, Call)> {
    let rank = |action: &str| match action {
        "meta-data" => 0,
        "validate-all" => 1,
        "monitor" | "status" => 2,
        "start" => 3,
        "promote" => 4,
        "demote" => 6,
        "stop" => 7,
        _ => 5,
    };
    let mut actions: Vec<String> = trial.subject.actions().into_iter().map(str::to_owned).collect();
    actions.sort_by_key(|action| (rank(action), action.clone()));
    actions.dedup();
    let whole = |action: &str| {
        call(trial, action, way)
            .param("CRM_meta_migrate_source", "n1")
            .param("CRM_meta_migrate_target", "n2")
            .param("CRM_meta_notify_type", "pre")
            .param("CRM_meta_notify_operation", "stop")
    };
    actions.iter().map(|action| (action.clone(), whole(action))).collect()
}

fn declared_actions(trial: &mut Trial<'_>) -> Result<(), Stop> {
    for way in trial.ways {
        for (action, call) in in_order(trial, way) {
            // What LSB calls "not running" is 3 too, and a status is often answered in its words.
            if action == "status" {
                continue;
            }
            let answer = trial.run(&call)?;
            trial.expect(!answer.is(3), || format!("{action} is declared and answers 3"), &answer);
        }
    }
    Ok(())
}

/// What the standard has for an action.
fn codes_of(action: &str) -> (RangeInclusive<i32>, &'static [i32]) {
    match action {
        "meta-data" => (0..=0, &[]),
        "monitor" | "status" => (0..=9, &[190, 191]),
        "start" | "stop" | "validate-all" | "notify" => (0..=6, &[]),
        _ => (0..=9, &[]),
    }
}

fn exit_codes(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let none = Parameters::new();
    let given = trial.ways.iter().filter(|way| !way.is_empty());
    for way in std::iter::once(&none).chain(given) {
        for (action, call) in in_order(trial, way) {
            let answer = trial.run(&call)?;
            if answer.end == End::Hung && !hung(trial, &call, &answer, &action) {
                continue;
            }
            let (range, more) = codes_of(&action);
            let good = answer.code().is_some_and(|code| range.contains(&code) || more.contains(&code));
            let what = || {
                format!(
                    "{action}: {}, where {} to {}{} are defined",
                    answer.end,
                    range.start(),
                    range.end(),
                    and(more)
                )
            };
            if answer.end == End::Hung {
                return Err(Stop::Enough);
            }
            trial.expect(good, what, &answer);
        }
    }
    Ok(())
}

fn and(codes: &[i32]) -> String {
    codes.iter().fold(String::new(), |text, code| text + ", " + &code.to_string())
}
