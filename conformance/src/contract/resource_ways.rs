//! How an agent is called in these cases, and the ways in which its parameters and its host can be wrong.

use crate::call::{Answer, Call, End};
use crate::case::{Parameters, Stop, Trial};
use crate::document::Node;
use crate::host::OWN;
use nix::mount::{MsFlags, mount};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the agent is told to have, in milliseconds.
const TIMEOUT: &str = "8000";
/// When a manager with that timeout has killed it, with room for a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// A probe, or any other action, with a timeout that a trial can wait for.
pub fn call(trial: &Trial<'_>, action: &str, way: &Parameters) -> Call {
    trial.subject.call(action).param("CRM_meta_timeout", TIMEOUT).patience(PATIENCE).params(way)
}

/// Runs it; one that does not end within its timeout is a finding and the end of the case.
pub fn ask(trial: &mut Trial<'_>, call: &Call, doing: &str) -> Result<Answer, Stop> {
    let answer = trial.run(call)?;
    if answer.end == End::Hung {
        if hung(trial, call, &answer, doing) {
            return Err(Stop::Enough);
        }
        let span = answer.took.as_secs();
        return Err(Stop::CannotJudge(format!(
            "{doing}: not ended after {span} s, which its metadata gives it"
        )));
    }
    // A trial's host has no cluster: who asks one for an attribute and fails has not been judged. 102 is how the cluster's own
    // programs say that nobody answers.
    let asked = ["connect to the CIB", "connect to cluster"].iter().any(|words| answer.err.contains(words));
    if answer.is(102) || answer.is(1) && asked {
        return Err(Stop::CannotJudge(format!("{doing}: it needs a cluster, and there is none here")));
    }
    Ok(answer)
}

/// Notes a call that was cut, where it should have ended: a start may wait for as long as the manager lets it (the manager ends
/// it), the others for as long as the agent's own metadata says. `false`: nothing is wrong with it.
pub fn hung(trial: &mut Trial<'_>, call: &Call, answer: &Answer, doing: &str) -> bool {
    let action = call.action();
    if action == "start" || advised(&trial.subject.metadata, &action).is_some_and(|span| span > answer.took) {
        return false;
    }
    trial.find(format!("{doing}: not ended when its timeout was over"), Some(answer));
    true
}

/// The timeout that metadata has for an action, the longest of several.
fn advised(metadata: &Node, action: &str) -> Option<Duration> {
    let span = |node: &&Node| {
        let text = node.attribute("timeout")?.trim();
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let number: u64 = digits.parse().ok()?;
        match text.get(digits.len()..)?.trim() {
            "" | "s" | "sec" => Some(Duration::from_secs(number)),
            "ms" | "msec" => Some(Duration::from_millis(number)),
            "m" | "min" => Some(Duration::from_secs(number * 60)),
            _ => None,
        }
    };
    metadata.actions().iter().filter(|node| node.attribute("name") == Some(action)).filter_map(span).max()
}

/// Runs it and notes any other code than these.
pub fn must(trial: &mut Trial<'_>, call: &Call, codes: &[i32], doing: &str) -> Result<Answer, Stop> {
    let answer = ask(trial, call, doing)?;
    trial.expect_code(&answer, codes, doing);
    Ok(answer)
}

/// The same, where any other code makes the rest of the case meaningless.
pub fn need(trial: &mut Trial<'_>, call: &Call, codes: &[i32], doing: &str) -> Result<Answer, Stop> {
    let answer = must(trial, call, codes, doing)?;
    if answer.code().is_some_and(|code| codes.contains(&code)) { Ok(answer) } else { Err(Stop::Enough) }
}

/// Starts it. An agent that cannot be started with the parameters at hand cannot be judged while it runs.
pub fn started(trial: &mut Trial<'_>, way: &Parameters) -> Result<(), Stop> {
    let answer = trial.run(&call(trial, "start", way))?;
    if answer.is(0) {
        return Ok(());
    }
    let why = answer.reasons().last().map(|reason| format!(" ({})", reason.trim())).unwrap_or_default();
    Err(Stop::CannotJudge(format!(
        "it has to be started for this, and start with the given parameters is {}{why}: give what it needs with --param, and the programs it manages",
        answer.end
    )))
}

/// Names of the parameters that must be given.
pub fn required(metadata: &Node) -> Vec<String> {
    let parameters = metadata.parameters().into_iter();
    parameters
        .filter(|p| p.attribute("required") == Some("1"))
        .filter_map(|p| p.attribute("name").map(str::to_owned))
        .collect()
}

/// One thing that is wrong with a call.
pub struct Wrong {
    /// `without ip`, `with count=many`, for a sentence.
    pub told: String,
    change: Change,
}

enum Change {
    Set(String, OsString),
    Unset(String),
}

impl Wrong {
    pub fn set(told: impl Into<String>, variable: impl Into<String>, value: impl Into<OsString>) -> Self {
        Self { told: told.into(), change: Change::Set(variable.into(), value.into()) }
    }

    pub fn unset(told: impl Into<String>, variable: impl Into<String>) -> Self {
        Self { told: told.into(), change: Change::Unset(variable.into()) }
    }

    pub fn apply(&self, call: Call) -> Call {
        match &self.change {
            Change::Set(variable, value) => call.env(variable, value),
            Change::Unset(variable) => call.without(variable),
        }
    }
}

/// Each required parameter not there, and there without a value.
pub fn missing(trial: &Trial<'_>) -> Result<Vec<Wrong>, Stop> {
    let names = required(&trial.subject.metadata);
    if names.is_empty() {
        return Err(Stop::DoesNotApply("no parameter is required".to_owned()));
    }
    let wrongs = names.iter().flat_map(|name| {
        let variable = format!("OCF_RESKEY_{name}");
        [
            Wrong::unset(format!("without {name}"), &variable),
            Wrong::set(format!("with {name} empty"), &variable, ""),
        ]
    });
    Ok(wrongs.collect())
}

/// Values that cannot be of the declared type; none where any text is one.
pub fn not_of_type(kind: &str) -> &'static [&'static str] {
    match kind {
        "integer" => &["many", "1x", "1.5"],
        "boolean" => &["maybe"],
        "select" => &["none-of-these"],
        _ => &[],
    }
}

/// Each parameter with a type, with values that are not of that type.
pub fn malformed(trial: &Trial<'_>) -> Result<Vec<Wrong>, Stop> {
    let mut wrongs = Vec::new();
    for parameter in trial.subject.metadata.parameters() {
        let Some(name) = parameter.attribute("name") else { continue };
        for value in not_of_type(parameter.content_type().unwrap_or("string")) {
            wrongs.push(Wrong::set(format!("with {name}={value}"), format!("OCF_RESKEY_{name}"), *value));
        }
    }
    if wrongs.is_empty() {
        return Err(Stop::DoesNotApply("no parameter has a type that a text could miss".to_owned()));
    }
    Ok(wrongs)
}

/// Callers without a useful search path: rgmanager passes none at all.
#[allow(clippy::unnecessary_wraps, reason = "the form of everything that can be wrong")]
pub fn no_path(_: &Trial<'_>) -> Result<Vec<Wrong>, Stop> {
    Ok(vec![
        Wrong::unset("without PATH", "PATH"),
        Wrong::set("with an empty PATH", "PATH", ""),
        Wrong::set("with PATH=/nonexistent", "PATH", "/nonexistent"),
    ])
}

/// A run directory that is of no use.
pub fn no_run_directory(_: &Trial<'_>) -> Result<Vec<Wrong>, Stop> {
    let folder = read_only_folder()?;
    Ok(vec![
        Wrong::set("with a read-only run directory", "HA_RSCTMP", folder),
        Wrong::set("without its run directory", "HA_RSCTMP", "/nonexistent/run"),
    ])
}

/// A folder that not even root can write to.
fn read_only_folder() -> Result<PathBuf, Stop> {
    let folder = Path::new(OWN).join("read-only");
    std::fs::create_dir_all(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    mount(Some("tmpfs"), &folder, Some("tmpfs"), MsFlags::MS_RDONLY, Some("mode=755"))
        .map_err(|why| format!("{}: {}", folder.display(), why.desc()))?;
    Ok(folder)
}
