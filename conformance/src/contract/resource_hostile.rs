//! Values that are an attack, a mistake, or noise: nothing runs, nothing breaks, nothing is forged.

use super::resource_ways::{ask, call};
use crate::call::{Answer, Call, End};
use crate::case::{BEYOND, Case, Parameters, Stop, Trial};
use crate::host::OWN;
use crate::subject::Family;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub fn cases() -> Vec<Case> {
    let tagged = |id, tags, about, judge| Case::contract(id, Family::Resource, tags, about, judge);
    let case = |id, about, judge| tagged(id, &["hostile", "security"], about, judge);
    let beyond = |id, about, judge| tagged(id, &["hostile", "security", BEYOND], about, judge);
    vec![
        case(
            "resource/hostile-commands",
            "No value of a parameter is carried out as a command: $(...), backquotes, quotes that end early, separators, options. At \
             most 8 parameters that are not command lines by their name, chosen by the seed, each in probe, validate-all, start and stop.",
            commands,
        ),
        case(
            "resource/hostile-instance",
            "Neither the resource's name nor what the manager adds to the environment is carried out as a command.",
            instance,
        ),
        beyond(
            "resource/hostile-noise",
            "Quotes, line breaks, 64 KiB, bytes that are no UTF-8, and words that look like options fail no stop and no probe where \
             nothing runs, end no action by a signal, and make no probe or stop hang.",
            noise,
        ),
        beyond(
            "resource/forged-reason",
            "A value with a line break or with the word ocf-exit-reason: does not become an exit reason of its own: Pacemaker shows the \
             last one to the administrator.",
            forged,
        ),
    ]
}

/// A case over all parameters of a large agent ends here, and says so.
const LONGEST: Duration = Duration::from_secs(60);
const MOST: usize = 8;

fn marker() -> PathBuf {
    PathBuf::from(OWN).join("injected")
}

/// Texts that leave the marker behind when a shell gets hold of them.
const COMMANDS: [&str; 3] = [
    "$(>/run/judge/injected); `>/run/judge/injected` & >/run/judge/injected",
    "'; >/run/judge/injected; '\"; >/run/judge/injected; \"",
    "a[$(>/run/judge/injected)]",
];

/// The names of the parameters to try, as many as a case can, in an order of the seed's.
fn chosen(trial: &Trial<'_>) -> Vec<String> {
    let mut names: Vec<String> = trial
        .subject
        .metadata
        .parameters()
        .iter()
        .filter_map(|parameter| parameter.attribute("name").map(str::to_owned))
        .collect();
    if !names.is_empty() {
        let start = usize::try_from(trial.seed).unwrap_or(0) % names.len();
        // The first run of everybody begins with the first parameter.
        names.rotate_left(start.saturating_sub(1));
    }
    names.truncate(MOST);
    names
}

/// What the value of a variable may be, and what it says of itself.
fn told(variable: &str, value: &str) -> String {
    format!("{variable}={value:?}")
}

fn executed(trial: &mut Trial<'_>, doing: &str, answer: &Answer) -> bool {
    if !marker().exists() {
        return false;
    }
    let _ = std::fs::remove_file(marker());
    trial.find(format!("{doing}: the value is carried out as a command"), Some(answer));
    true
}

/// What is a command line by its own description cannot be injected into.
fn is_a_command(name: &str) -> bool {
    let name = name.to_lowercase();
    ["options", "args", "arguments", "opts", "command", "cmd", "script", "binfile"]
        .iter()
        .any(|word| name.ends_with(word))
}

fn commands(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let names: Vec<String> = chosen(trial).into_iter().filter(|name| !is_a_command(name)).collect();
    if names.is_empty() {
        return Err(Stop::DoesNotApply("it has no parameters that are no command lines".to_owned()));
    }
    let variables: Vec<String> = names.iter().map(|name| format!("OCF_RESKEY_{name}")).collect();
    each_command(trial, &variables)
}

fn instance(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let variables = [
        "OCF_RESOURCE_INSTANCE",
        "OCF_CHECK_LEVEL",
        "OCF_RESKEY_CRM_meta_interval",
        "OCF_RESKEY_CRM_meta_timeout",
        "OCF_RESKEY_CRM_meta_clone",
        "OCF_RESKEY_CRM_meta_on_node",
        "OCF_RESKEY_crm_feature_set",
    ]
    .map(str::to_owned);
    each_command(trial, &variables)
}

fn each_command(trial: &mut Trial<'_>, variables: &[String]) -> Result<(), Stop> {
    let until = Instant::now() + LONGEST;
    let way = trial.ways.first().cloned().unwrap_or_default();
    for (done, variable) in variables.iter().enumerate() {
        'values: for value in COMMANDS {
            for action in ["monitor", "validate-all", "start", "stop"] {
                let call = call(trial, action, &way).env(variable, value).patience(Duration::from_secs(5));
                let answer = trial.run(&call)?;
                let doing = format!("{action} with {}", told(variable, value));
                if executed(trial, &doing, &answer) {
                    break 'values;
                }
            }
        }
        if Instant::now() > until && done + 1 < variables.len() {
            let why =
                format!("only {} of {} variables in {} s", done + 1, variables.len(), LONGEST.as_secs());
            return Err(Stop::CannotJudge(why));
        }
    }
    Ok(())
}

fn noises() -> [(&'static str, OsString); 4] {
    [
        ("quotes and line breaks", "a'b\"c\nd\r\ne\n".into()),
        ("64 KiB", "A".repeat(65536).into()),
        ("bytes that are no UTF-8", OsString::from_vec(vec![0xff, 0xfe, b'/', 0x80])),
        ("-h", "-h".into()),
    ]
}

fn noise(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let until = Instant::now() + LONGEST;
    let names = chosen(trial);
    let way = trial.ways.first().cloned().unwrap_or_default();
    let questions: [(&str, &[i32]); 2] = [("monitor", &[7, 5]), ("stop", &[0])];
    for (action, codes) in questions {
        let plain = trial.run(&call(trial, action, &way))?;
        if !plain.code().is_some_and(|code| codes.contains(&code)) {
            let why = format!("{action} on a clean host is {} with the given parameters already", plain.end);
            return Err(Stop::CannotJudge(format!("{why} (give what it needs with --param)")));
        }
    }
    for name in &names {
        for (kind, value) in noises() {
            for (action, codes) in questions {
                let call = call(trial, action, &way).param(name, value.clone());
                let doing = format!("{action} on a clean host with {kind} in {name}");
                let answer = ask(trial, &call, &doing)?;
                trial.expect_code(&answer, codes, &doing);
            }
            let call = call(trial, "start", &way).param(name, value.clone());
            let answer = trial.run(&call)?;
            trial.expect(
                !matches!(answer.end, End::Signal(_)),
                || format!("start with {kind} in {name}: {}", answer.end),
                &answer,
            );
            if answer.is(0) {
                stop(trial, &way, name, &value)?;
            } else {
                // What it may have left half done must not be there for the next value.
                trial.run(&call_stop(trial, &way, name, &value))?;
            }
        }
        if Instant::now() > until {
            return Err(Stop::CannotJudge(format!("not all of its values in {} s", LONGEST.as_secs())));
        }
    }
    Ok(())
}

fn call_stop(trial: &Trial<'_>, way: &Parameters, name: &str, value: &OsString) -> Call {
    call(trial, "stop", way).param(name, value.clone())
}

fn stop(trial: &mut Trial<'_>, way: &Parameters, name: &str, value: &OsString) -> Result<(), Stop> {
    let call = call_stop(trial, way, name, value);
    let doing = format!("stop of what was started with a strange {name}");
    let answer = ask(trial, &call, &doing)?;
    trial.expect_code(&answer, &[0], &doing);
    Ok(())
}

fn forged(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let way = trial.ways.first().cloned().unwrap_or_default();
    for name in chosen(trial) {
        for action in ["validate-all", "start"] {
            let call = call(trial, action, &way).param(&name, "a\nocf-exit-reason:forged by a value");
            let answer = trial.run(&call)?;
            // Pacemaker looks for the last one, wherever it stands.
            let last = answer.err.rsplit_once("ocf-exit-reason:").map(|(_, reason)| reason);
            let forged = last.is_some_and(|reason| reason.starts_with("forged by a value"));
            trial.expect(
                !forged,
                || format!("{action}: the value of {name} becomes the exit reason"),
                &answer,
            );
            if answer.is(0) {
                trial.run(&call_stop(trial, &way, &name, &"a\nocf-exit-reason:forged by a value".into()))?;
            }
            if forged {
                // The others have the same cause.
                return Ok(());
            }
        }
    }
    Ok(())
}
