//! What metadata must be and no schema says.

use crate::case::{Case, Stop, Trial};
use crate::document::Node;
use crate::subject::Family;

pub fn cases() -> Vec<Case> {
    let case = |id, about, judge| Case::contract(id, Family::Resource, &["metadata"], about, judge);
    vec![
        case(
            "resource/metadata-order",
            "The children of an element have the order of the API's schema: version, longdesc, shortdesc, parameters, \
             actions; in a parameter deprecated, longdesc, shortdesc, content.",
            order,
        ),
        case(
            "resource/metadata-names",
            "The document is about the agent's own name; no parameter is there twice, each can be an environment variable.",
            names,
        ),
        case(
            "resource/metadata-defaults",
            "Each default is a value of the declared type, and each type one of the API's: string, integer, boolean, select.",
            defaults,
        ),
        case(
            "resource/metadata-flags",
            "required, unique and reloadable are 0 or 1; what must be given has no default; a promise to reload needs the \
             action reload-agent.",
            flags,
        ),
        case(
            "resource/metadata-actions",
            "start, stop, monitor and meta-data are declared, with timeouts above 0 that are times; no two monitors have \
             one interval, which is the name that Pacemaker gives them; roles are roles; promote comes with demote, migrate_to with \
             migrate_from.",
            actions,
        ),
    ]
}

fn name(node: &Node) -> &str {
    node.attribute("name").unwrap_or("without a name")
}

/// Notes children that stand before others which belong before them.
fn ordered(trial: &mut Trial<'_>, node: &Node, whose: &str, wanted: &[&str]) {
    let mut last = (0, "");
    for child in &node.children {
        let Some(rank) = wanted.iter().position(|word| *word == child.name) else { continue };
        if rank < last.0 {
            trial.find(
                format!("<{}> of {whose} stands after <{}>, where it belongs before it", child.name, last.1),
                None,
            );
            return;
        }
        last = (rank, child.name.as_str());
    }
}

#[allow(clippy::unnecessary_wraps, reason = "the form of every judge")]
fn order(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let root = &trial.subject.metadata;
    ordered(trial, root, "the agent", &["version", "longdesc", "shortdesc", "parameters", "actions"]);
    for parameter in root.parameters() {
        let whose = format!("parameter {}", name(parameter));
        ordered(trial, parameter, &whose, &["deprecated", "longdesc", "shortdesc", "content"]);
    }
    Ok(())
}

#[allow(clippy::unnecessary_wraps, reason = "the form of every judge")]
fn names(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let (subject, root) = (trial.subject, &trial.subject.metadata);
    if root.attribute("name") != Some(subject.name.as_str()) {
        let told = root.attribute("name").unwrap_or_default();
        trial.find(format!("the metadata is of {told:?}, the agent is called {:?}", subject.name), None);
    }
    let mut seen = Vec::new();
    for parameter in root.parameters() {
        let own = name(parameter);
        if seen.contains(&own) {
            trial.find(format!("parameter {own} is declared twice"), None);
        }
        seen.push(own);
        let variable = own.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if own.is_empty() || !variable {
            trial.find(format!("parameter {own:?} cannot be an environment variable of the shell"), None);
        }
    }
    Ok(())
}

#[allow(clippy::unnecessary_wraps, reason = "the form of every judge")]
fn defaults(trial: &mut Trial<'_>) -> Result<(), Stop> {
    for parameter in trial.subject.metadata.parameters() {
        let own = name(parameter);
        let Some(content) = parameter.first("content") else {
            trial.find(format!("parameter {own} has no <content>"), None);
            continue;
        };
        let default = content.attribute("default").filter(|text| !text.is_empty());
        let wrong = match (content.attribute("type"), default) {
            (Some("integer"), Some(text)) => text.parse::<i64>().is_err(),
            (Some("boolean"), Some(text)) => {
                !["true", "false", "0", "1", "yes", "no", "on", "off"].contains(&text.to_lowercase().as_str())
            }
            (Some("select"), default) => {
                let options: Vec<&str> =
                    content.all("option").filter_map(|option| option.attribute("value")).collect();
                options.is_empty() || default.is_some_and(|text| !options.contains(&text))
            }
            (Some("string" | "integer" | "boolean"), _) => false,
            (other, _) => {
                let told = other.unwrap_or("none");
                trial.find(format!("parameter {own}: type {told:?} is not one of the API's"), None);
                false
            }
        };
        if wrong {
            let kind = content.attribute("type").unwrap_or_default();
            trial.find(
                format!("parameter {own}: default {:?} is no {kind}", default.unwrap_or_default()),
                None,
            );
        }
    }
    Ok(())
}

#[allow(clippy::unnecessary_wraps, reason = "the form of every judge")]
fn flags(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let root = &trial.subject.metadata;
    let mut reloadable = false;
    for parameter in root.parameters() {
        let own = name(parameter);
        for flag in ["required", "unique", "reloadable"] {
            if let Some(value) = parameter.attribute(flag).filter(|value| !matches!(*value, "0" | "1")) {
                trial.find(format!("parameter {own}: {flag}={value:?} is neither 0 nor 1"), None);
            }
        }
        let default = parameter.first("content").and_then(|content| content.attribute("default"));
        if let Some(default) =
            default.filter(|text| !text.is_empty() && parameter.attribute("required") == Some("1"))
        {
            trial.find(format!("parameter {own} must be given and has the default {default:?}"), None);
        }
        if parameter.attribute("unique-group") == Some("") {
            trial.find(format!("parameter {own}: its unique-group has no name"), None);
        }
        // What traces an action is in force with the next one: nothing has to be reloaded.
        reloadable |= parameter.attribute("reloadable") == Some("1") && !own.starts_with("trace_");
    }
    if reloadable && !trial.subject.has_action("reload-agent") {
        trial.find("parameters are reloadable, and there is no reload-agent to reload them", None);
    }
    Ok(())
}

/// Seconds; `None`: not a time.
fn seconds(text: &str) -> Option<f64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: f64 = digits.parse().ok()?;
    match text.get(digits.len()..)? {
        "" | "s" | "sec" => Some(number),
        "ms" | "msec" => Some(number / 1000.0),
        "m" | "min" => Some(number * 60.0),
        "h" | "hr" => Some(number * 3600.0),
        _ => None,
    }
}

#[allow(clippy::unnecessary_wraps, reason = "the form of every judge")]
fn actions(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let root = &trial.subject.metadata;
    for needed in ["start", "stop", "monitor", "meta-data"] {
        if !trial.subject.has_action(needed) {
            trial.find(format!("action {needed} is mandatory and not declared"), None);
        }
    }
    let mut monitors: Vec<f64> = Vec::new();
    for action in root.actions() {
        let own = name(action);
        match action.attribute("timeout").map(|text| (text, seconds(text))) {
            None => trial.find(format!("action {own} has no timeout"), None),
            Some((text, None)) => trial.find(format!("action {own}: timeout {text:?} is no time"), None),
            Some((text, Some(0.0))) => trial.find(format!("action {own}: timeout {text:?} is none"), None),
            Some((_, Some(_))) => {}
        }
        let interval = action.attribute("interval").map(|text| (text, seconds(text)));
        if let Some((text, None)) = interval {
            trial.find(format!("action {own}: interval {text:?} is no time"), None);
        }
        if let (Some((text, Some(every))), "monitor") = (interval, own) {
            if monitors.iter().any(|other| (other - every).abs() < f64::EPSILON) {
                trial.find(
                    format!("two monitors have the interval {text}: Pacemaker cannot tell them apart"),
                    None,
                );
            }
            monitors.push(every);
        }
        let role = action.attribute("role");
        let roles = ["Promoted", "Unpromoted", "Master", "Slave", "Started", "Stopped"];
        if let Some(role) = role.filter(|role| !roles.contains(role)) {
            trial.find(format!("action {own}: {role:?} is no role"), None);
        }
    }
    for (one, other) in [("promote", "demote"), ("migrate_to", "migrate_from")] {
        if trial.subject.has_action(one) != trial.subject.has_action(other) {
            trial.find(format!("only one of {one} and {other} is declared"), None);
        }
    }
    Ok(())
}
