//! Secrets: a password is for the program that needs it and for nobody else to see.

use super::resource_ways::call;
use crate::case::{Case, Stop, Trial};
use crate::document::Node;
use crate::subject::Family;
use std::sync::atomic::{AtomicBool, Ordering};

pub fn cases() -> Vec<Case> {
    vec![Case::contract(
        "resource/secrets",
        Family::Resource,
        &["security", "secrets"],
        "The value of a parameter that is private, or called like a password, is in no output and in no command line: both can be \
         read by every user of the host, or end in logs. Command lines are watched while the action runs; a program that is over \
         in a moment can be missed.",
        secrets,
    )]
}

const SECRET: &str = "wHitsTabLe7";

fn is_secret(parameter: &Node) -> bool {
    let name = parameter.attribute("name").unwrap_or_default().to_lowercase();
    // A file or a program that holds or asks for it is none itself.
    let a_place = ["file", "path", "script", "_dir"].iter().any(|word| name.contains(word));
    let secret = ["passw", "passphrase", "secret", "passwd", "token"].iter().any(|word| name.contains(word));
    parameter.attribute("private") == Some("1") || (secret && !a_place)
}

fn secrets(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let parameters = trial.subject.metadata.parameters();
    let names: Vec<&str> = parameters
        .into_iter()
        .filter(|parameter| is_secret(parameter) && parameter.content_type() != Some("boolean"))
        .filter_map(|parameter| parameter.attribute("name"))
        .collect();
    if names.is_empty() {
        return Err(Stop::DoesNotApply("no parameter is private or called like a password".to_owned()));
    }
    for way in trial.ways {
        for name in &names {
            for action in ["validate-all", "monitor", "start", "monitor", "stop"] {
                let call = call(trial, action, way).param(name, SECRET);
                let (answer, seen) = watched(|| trial.run(&call));
                let answer = answer?;
                for (place, text) in [("standard output", &answer.out), ("standard error", &answer.err)] {
                    if text.contains(SECRET) {
                        trial.find(format!("{action}: the value of {name} is on {place}"), Some(&answer));
                    }
                }
                if let Some(line) = seen {
                    trial.find(
                        format!("{action}: the value of {name} is in a command line: {line}"),
                        Some(&answer),
                    );
                }
            }
        }
    }
    Ok(())
}

/// Does something while all command lines of the trial's host are looked at; the first that holds the secret.
fn watched<T>(work: impl FnOnce() -> T) -> (T, Option<String>) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = None;
            while seen.is_none() && !over.load(Ordering::Relaxed) {
                seen = command_line_with_secret();
                crate::call::pause(std::time::Duration::from_micros(200));
            }
            seen
        });
        let result = work();
        over.store(true, Ordering::Relaxed);
        (result, watcher.join().unwrap_or_default())
    })
}

fn command_line_with_secret() -> Option<String> {
    let processes = std::fs::read_dir("/proc").ok()?;
    processes.filter_map(Result::ok).find_map(|entry| {
        entry.file_name().to_string_lossy().parse::<u32>().ok()?;
        let bytes = std::fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&bytes).replace('\0', " ");
        line.contains(SECRET).then(|| line.trim_end().to_owned())
    })
}
