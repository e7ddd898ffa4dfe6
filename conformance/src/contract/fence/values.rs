//! Values that are missing, malformed, an attack, or noise.

use super::form::{
    SECRET, accepted, ask, crash, expect_an_end, filled, is_deprecated, lines, name, plausible, with,
};
use crate::case::{BEYOND, Case, Parameters, Stop, Trial};
use crate::document::Node;
use crate::host::OWN;
use crate::subject::Family;
use std::path::PathBuf;

pub fn cases() -> Vec<Case> {
    let case = |id, tags: &[&str], about, judge| Case::contract(id, Family::Fence, tags, about, judge);
    vec![
        case(
            "fence/missing-parameter",
            &["values"],
            "Each parameter that the metadata requires is missed when it is not given: exit 1, and standard error names \
             it, by its name, its option or what it is.",
            missing,
        ),
        case(
            "fence/malformed-value",
            &["values", BEYOND],
            "A number that is none, a time below zero and a choice that does not exist are refused with 1 and a message, \
             before anything is asked of the device. The level of detail of messages is no reason not to fence.",
            malformed,
        ),
        case(
            "fence/hostile-value",
            &["values", "security"],
            "No value is executed: each parameter in turn holds commands in every kind of quote. Parameters that are \
             command lines by definition (scripts, paths of programs) are left out.",
            hostile,
        ),
        case(
            "fence/strange-bytes",
            &["values", "security", BEYOND],
            "Values of 64 KiB and values that are not UTF-8 end in an answer, not in a crash.",
            strange,
        ),
    ]
}

/// What to look for when a message names a parameter in its own words.
fn words(name: &str) -> Vec<String> {
    let spoken: &[&str] = match name {
        "ip" | "ipaddr" => &["address", "ip"],
        "username" | "login" => &["login", "user"],
        "password" | "passwd" => &["password"],
        "plug" | "port" => &["plug", "port", "machine", "outlet", "node"],
        _ => &[],
    };
    let own = [name.to_owned(), name.replace('_', "-"), name.replace('_', " ")];
    own.into_iter().chain(spoken.iter().map(|word| (*word).to_owned())).collect()
}

fn missing(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let values = filled(trial);
    accepted(trial, &values)?;
    let all = trial.subject.metadata.parameters();
    let by_default =
        |parameter: &Node| parameter.first("content").and_then(|c| c.attribute("default")).is_some();
    let required: Vec<String> = all
        .iter()
        .filter(|p| p.attribute("required") == Some("1") && !is_deprecated(p) && !by_default(p))
        .map(|p| name(p).to_owned())
        .filter(|name| name != "action" && values.iter().any(|(other, _)| other == name))
        .collect();
    if required.is_empty() {
        return Err(Stop::DoesNotApply("it requires nothing".to_owned()));
    }
    // Not every device has a status (a person has none); what it does not promise it need not refuse for this reason.
    let action = if trial.subject.actions().contains(&"status") { "status" } else { "validate-all" };
    for name in required {
        let rest: Parameters = values.iter().filter(|(other, _)| *other != name).cloned().collect();
        let answer = ask(trial, &rest, action)?;
        let doing = format!("{action} without {name}, which is required");
        expect_an_end(trial, &answer, &doing);
        trial.expect_code(&answer, &[1], &doing);
        let said = answer.err.to_lowercase();
        let named = words(&name).iter().any(|word| said.contains(word.as_str()));
        if answer.is(1) && crash(&answer).is_none() {
            trial.expect(named, || format!("{doing}, should be told by its name, and is not"), &answer);
        }
    }
    Ok(())
}

fn malformed(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let values = filled(trial);
    accepted(trial, &values)?;
    let all = trial.subject.metadata.parameters();
    let mut taken = Vec::new();
    for parameter in all.iter().filter(|parameter| !is_deprecated(parameter)) {
        let bad: &[&str] = match parameter.content_type() {
            Some("second") => &["soon", "-1"],
            Some("integer") => &["many"],
            Some("select") => &["none-of-these"],
            _ => continue,
        };
        let name = name(parameter);
        if name == "verbose_level" {
            continue;
        }
        for value in bad {
            let answer = ask(trial, &with(&values, name, value), "validate-all")?;
            let doing = format!("{name}={value}");
            expect_an_end(trial, &answer, &doing);
            // One cause has one finding, however many parameters have it.
            if answer.is(0) {
                taken.push(doing);
                continue;
            }
            if crash(&answer).is_none() {
                trial.expect_code(&answer, &[1], &doing);
            }
            if answer.is(1) && answer.err.trim().is_empty() {
                trial.find(
                    format!("{doing} should be refused with a message, and there is none"),
                    Some(&answer),
                );
            }
        }
    }
    if !taken.is_empty() {
        trial
            .find(format!("{} should be refused with 1, and validate-all is exit 0", taken.join(", ")), None);
    }
    Ok(())
}

/// A text that creates `marker` when a shell reads it bare, in single or in double quotes.
fn polyglot(marker: &str) -> String {
    format!("x;touch {marker};'x;touch {marker};'\"x;touch {marker};\"$(touch {marker})`touch {marker}`")
}

fn is_a_command(name: &str) -> bool {
    name.ends_with("script")
        || name.ends_with("_path")
        || matches!(name, "exec" | "ssh_options" | "command" | "method")
}

fn hostile(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let values = filled(trial);
    let marker = PathBuf::from(OWN).join("executed");
    let plain = ask(trial, &values, "status")?;
    let all = trial.subject.metadata.parameters();
    let texts = all
        .iter()
        .filter(|parameter| !is_deprecated(parameter) && parameter.content_type() == Some("string"));
    for parameter in texts {
        let name = name(parameter);
        if is_a_command(name) || matches!(name, "action" | "disable_timeout" | "ipport") {
            continue;
        }
        let attack = polyglot(&marker.display().to_string());
        let answer = ask(trial, &with(&values, name, &attack), "status")?;
        if marker.exists() {
            trial.find(format!("a command in {name} should be data, and is executed"), Some(&answer));
            std::fs::remove_file(&marker).map_err(|why| format!("{}: {why}", marker.display()))?;
        }
        // How it ends with plain values is told by other cases.
        if crash(&plain).is_none() && answer.end != plain.end {
            expect_an_end(trial, &answer, &format!("a command in {name}"));
        }
        if answer.is(0) && super::form::declares(trial, "ip") {
            trial.find(
                format!("status with a command in {name} and no device should fail, and exits with 0"),
                Some(&answer),
            );
        }
    }
    Ok(())
}

fn strange(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let values = filled(trial);
    let all = trial.subject.metadata.parameters();
    let names: Vec<&str> = all
        .iter()
        .filter(|p| !is_deprecated(p) && p.content_type() == Some("string") && !is_a_command(name(p)))
        .map(|p| name(p))
        .filter(|name| !name.starts_with("debug") && !matches!(*name, "action" | "disable_timeout"))
        .collect();
    for (kind, value) in
        [("64 KiB", vec![b'A'; 65536]), ("bytes that are not UTF-8", vec![0xff, 0xfe, b'/', 0x80])]
    {
        for action in ["validate-all", "status"] {
            if !trial.subject.has_action(action) {
                continue;
            }
            let mut text = lines(&values, action).into_bytes();
            for name in &names {
                text.extend(name.as_bytes());
                text.push(b'=');
                text.extend(&value);
                text.push(b'\n');
            }
            let answer = trial.run(&trial.subject.fencer("").stdin(text))?;
            expect_an_end(trial, &answer, &format!("{action} with {kind} in every text parameter"));
            let leaked = answer.err.contains(SECRET);
            trial.expect(!leaked, || format!("{action} with {kind}: the password is shown"), &answer);
        }
    }
    let flag = all.iter().find(|p| p.content_type() == Some("boolean") && name(p) == "verbose");
    if let Some(flag) = flag {
        let text = lines(&with(&values, name(flag), plausible(flag)), "no-such-action");
        let mut text = text.into_bytes();
        text.extend([0xff, b'=', 0xfe, b'\n']);
        let answer = trial.run(&trial.subject.fencer("").stdin(text))?;
        expect_an_end(trial, &answer, "a name that is not UTF-8");
    }
    Ok(())
}
