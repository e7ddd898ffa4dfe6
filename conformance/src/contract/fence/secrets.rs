//! Passwords stay where they were given.

use super::form::{SECRET, filled, is_deprecated, lines, name, with};
use crate::case::{Case, Parameters, Stop, Trial};
use crate::document::Node;
use crate::host::OWN;
use crate::subject::Family;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub fn cases() -> Vec<Case> {
    vec![Case::contract(
        "fence/password-is-kept",
        Family::Fence,
        &["secrets", "security"],
        "A password is in no message and in no debug file, however much the agent is told to say, and in the arguments \
         of no process, where every user of the host reads it (ps).",
        kept,
    )]
}

/// Metadata has no mark for a secret: these are the names that administrators know.
fn is_secret(parameter: &Node) -> bool {
    let name = name(parameter);
    let secret = ["passw", "secret", "token", "apikey", "api_key"].iter().any(|word| name.contains(word));
    secret
        && !name.ends_with("script")
        && !name.ends_with("_path")
        && !name.ends_with("_file")
        && !is_deprecated(parameter)
}

fn kept(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let all = trial.subject.metadata.parameters();
    let secrets: Vec<String> = all
        .iter()
        .filter(|parameter| is_secret(parameter) && parameter.content_type() == Some("string"))
        .map(|parameter| name(parameter).to_owned())
        .collect();
    if secrets.is_empty() {
        return Err(Stop::DoesNotApply("it takes no password".to_owned()));
    }
    let debug = format!("{OWN}/debug");
    for secret in secrets {
        let mut values: Parameters = filled(trial).into_iter().filter(|(_, value)| value != SECRET).collect();
        values = with(&values, &secret, SECRET);
        for (name, value) in [("verbose", "1"), ("verbose_level", "5"), ("debug_file", debug.as_str())] {
            if super::form::declares(trial, name) {
                values = with(&values, name, value);
            }
        }
        let _ = std::fs::remove_file(&debug);
        let done = AtomicBool::new(false);
        let call = trial.subject.fencer(&lines(&values, "status"));
        let (answer, seen) = std::thread::scope(|scope| {
            let watch = scope.spawn(|| watch(&done));
            let answer = call.run();
            done.store(true, Ordering::SeqCst);
            (answer, watch.join().unwrap_or_default())
        });
        // The password stands in the call itself, so the evidence tells the answer only by its end.
        let answer = answer.map_err(Stop::CannotJudge)?;
        if answer.err.contains(SECRET) || answer.out.contains(SECRET) {
            trial
                .find(format!("{secret} should not be shown in messages (verbose=1), and is"), Some(&answer));
        }
        if std::fs::read(&debug).is_ok_and(|text| String::from_utf8_lossy(&text).contains(SECRET)) {
            trial.find(format!("{secret} should not be in the debug file, and is"), Some(&answer));
        }
        for program in seen {
            trial.find(
                format!("{secret} should not be in the arguments of a process, and is in those of {program}"),
                Some(&answer),
            );
        }
    }
    Ok(())
}

/// Programs of this host that have the password among their arguments, until the call is done.
fn watch(done: &AtomicBool) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    while !done.load(Ordering::SeqCst) {
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Ok(bytes) = std::fs::read(entry.path().join("cmdline")) else { continue };
            let text = String::from_utf8_lossy(&bytes);
            if text.contains(SECRET) {
                let program = text.split('\0').next().unwrap_or_default();
                seen.insert(program.rsplit('/').next().unwrap_or_default().to_owned());
            }
        }
        crate::call::pause(Duration::from_millis(1));
    }
    seen
}
