//! What the document says, beyond what its schema asks for.

#![allow(clippy::unnecessary_wraps, reason = "a judge function may end early; these do not")]

use super::form::{is_deprecated, name, old_name};
use crate::case::{Case, Stop, Trial};
use crate::document::Node;
use crate::subject::Family;

const ORDER: [&str; 11] = [
    "on",
    "off",
    "reboot",
    "status",
    "list",
    "list-status",
    "monitor",
    "metadata",
    "manpage",
    "validate-all",
    "diag",
];

pub fn cases() -> Vec<Case> {
    let case = |id, about, judge| Case::contract(id, Family::Fence, &["metadata"], about, judge);
    vec![
        case(
            "fence/metadata-parameters",
            "Each parameter is there once, has a syntax for the command line and a description, a known type, and a \
             default of that type; a select lists its options and its default is one of them.",
            parameters,
        ),
        case(
            "fence/metadata-renamed",
            "A parameter that obsoletes another names one that is there, marked deprecated and equally required: \
             Pacemaker chooses the name it sends for the target (plug or port) by these marks.",
            renamed,
        ),
        case(
            "fence/metadata-actions",
            "The actions that a cluster manager uses are declared, none twice; `on` says whether it is automatic; the \
             default of `action` is one of them: what is done when nobody says what (a call with credentials alone \
             reboots the target, so everyone who reads the metadata must be able to see that).",
            actions,
        ),
        case(
            "fence/metadata-name",
            "The document carries the name under which the agent was called: Pacemaker and pcs look agents up by it.",
            own_name,
        ),
    ]
}

fn parameters(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let all = trial.subject.metadata.parameters();
    if all.is_empty() {
        trial.find("it should declare its parameters, and declares none", None);
    }
    for (at, parameter) in all.iter().enumerate() {
        let name = name(parameter);
        if name.is_empty() {
            trial.find("every parameter should have a name, and one has none", None);
        }
        if all.iter().skip(at + 1).any(|other| self::name(other) == name) {
            trial.find(format!("{name} should be declared once, and is declared twice"), None);
        }
        let syntax =
            parameter.first("getopt").and_then(|getopt| getopt.attribute("mixed")).unwrap_or_default();
        if !syntax.starts_with('-') {
            trial.find(format!("{name}: getopt should show an option, and is \"{syntax}\""), None);
        }
        if parameter.first("shortdesc").is_none_or(|text| text.text.trim().is_empty()) {
            trial.find(format!("{name} should have a description, and has none"), None);
        }
        if let Some(wrong) = wrong_content(parameter) {
            trial.find(format!("{name}: {wrong}"), None);
        }
    }
    Ok(())
}

fn wrong_content(parameter: &Node) -> Option<String> {
    let content = parameter.first("content")?;
    let default = content.attribute("default");
    let options: Vec<&str> = content.all("option").filter_map(|option| option.attribute("value")).collect();
    let of = |kind: &str, good: bool| {
        let default = default.unwrap_or_default();
        (!good).then(|| format!("its default should be of its type {kind}, and is \"{default}\""))
    };
    match content.attribute("type") {
        Some("string") => None,
        Some("boolean") => of("boolean", default.is_none_or(is_boolean)),
        Some(kind @ ("integer" | "second")) => {
            of(kind, default.is_none_or(|text| text.parse::<u64>().is_ok()))
        }
        Some("select") if options.is_empty() => Some("a select should have options, and has none".to_owned()),
        Some("select") => of("select", default.is_none_or(|text| options.contains(&text))),
        Some(other) => Some(format!("its type should be one of the API's, and is \"{other}\"")),
        None => Some("its content should have a type, and has none".to_owned()),
    }
}

fn is_boolean(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().as_str(), "0" | "1" | "yes" | "no" | "on" | "off" | "true" | "false")
}

fn renamed(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let all = trial.subject.metadata.parameters();
    let pairs: Vec<(&Node, &str)> = all.iter().filter_map(|new| Some((*new, old_name(new)?))).collect();
    if pairs.is_empty() {
        return Err(Stop::DoesNotApply("no parameter of it obsoletes another".to_owned()));
    }
    for (new, old_name) in pairs {
        let new_name = name(new);
        match all.iter().find(|other| name(other) == old_name) {
            None => trial
                .find(format!("{new_name} obsoletes {old_name}, which should be declared, and is not"), None),
            Some(old) if !is_deprecated(old) => {
                trial.find(
                    format!("{old_name} should be marked deprecated ({new_name} obsoletes it), and is not"),
                    None,
                );
            }
            Some(old) if old.attribute("required") != new.attribute("required") => {
                trial.find(
                    format!("{old_name} and {new_name} are one parameter and differ in what is required"),
                    None,
                );
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn actions(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let declared: Vec<String> = trial.subject.actions().into_iter().map(str::to_owned).collect();
    let has = |wanted: &str| declared.iter().any(|action| action == wanted);
    for needed in ["off", "monitor", "metadata"] {
        if !has(needed) {
            trial.find(format!("the action {needed} should be declared, and is not"), None);
        }
    }
    for (at, action) in declared.iter().enumerate() {
        if !ORDER.contains(&action.as_str())
            && !matches!(action.as_str(), "enable" | "disable" | "start" | "stop")
        {
            trial.find(format!("the action {action} is none of the fence agent API"), None);
        }
        if declared.iter().skip(at + 1).any(|other| other == action) {
            trial.find(format!("the action {action} should be declared once, and is declared twice"), None);
        }
    }
    let nodes = trial.subject.metadata.actions();
    let on = nodes.iter().find(|action| action.attribute("name") == Some("on"));
    if on.is_some_and(|on| !matches!(on.attribute("automatic").or(on.attribute("required")), Some("0" | "1")))
    {
        trial.find(
            "the action on should say automatic=\"0\" or \"1\" (whether nodes are unfenced), and does not",
            None,
        );
    }
    let all = trial.subject.metadata.parameters();
    let Some(action) = all.iter().find(|parameter| name(parameter) == "action") else {
        trial.find("the parameter action should be declared, and is not", None);
        return Ok(());
    };
    match action.first("content").and_then(|content| content.attribute("default")) {
        None => trial
            .find("action should show its default (what is done when none is given), and shows none", None),
        Some(default) if !has(default) => {
            trial.find(
                format!("the default of action is {default}, which should be declared, and is not"),
                None,
            );
        }
        Some(_) => {}
    }
    Ok(())
}

fn own_name(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let told = trial.subject.metadata.attribute("name").unwrap_or_default().to_owned();
    let name = trial.subject.name.clone();
    if told != name {
        trial.find(format!("the document of {name} should carry that name, and says \"{told}\""), None);
    }
    Ok(())
}
