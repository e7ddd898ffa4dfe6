//! How the document can be had: by every spelling, by anyone, in a bare environment, soon, and without losing it.

use crate::call::{Answer, Call};
use crate::case::{BEYOND, Case, Stop, Trial};
use crate::document;
use crate::subject::Family;
use std::path::Path;
use std::time::Duration;

/// Where fence-agents installs the schema of its documents.
const SCHEMA: &str = "/usr/share/cluster/relaxng/metadata.rng";

/// Pacemaker asks each agent when it is registered and gives it 10 s; pcs asks all of them, one after the other.
const SOON: Duration = Duration::from_secs(1);

pub fn cases() -> Vec<Case> {
    let case = |id, about, judge| Case::contract(id, Family::Fence, &["metadata"], about, judge);
    vec![
        case(
            "fence/metadata-schema",
            "metadata and manpage are valid by the schema that fence-agents installs (relaxng/metadata.rng).",
            schema,
        ),
        case(
            "fence/metadata-spellings",
            "metadata and meta-data, in any case, by standard input and by arguments, give one and the same document \
             (fence agent API; Pacemaker sends metadata, older managers meta-data).",
            spellings,
        ),
        case(
            "fence/metadata-anywhere",
            "The document needs no environment, no privilege, no standard input and no standard error.",
            anywhere,
        ),
        Case::contract(
            "fence/metadata-not-written",
            Family::Fence,
            &["metadata", BEYOND],
            "A document that could not be written is no success: on a full disk the exit code is not 0.",
            not_written,
        ),
        case(
            "fence/metadata-soon",
            "The fastest of three calls for the document takes less than a second: Pacemaker asks at registration and \
             repeats what took longer than 10 s, management tools ask all agents in a row.",
            soon,
        ),
    ]
}

fn schema(trial: &mut Trial<'_>) -> Result<(), Stop> {
    if !Path::new(SCHEMA).is_file() || !crate::tool::is_there("xmllint") {
        return Err(Stop::CannotJudge(format!("needs xmllint and {SCHEMA} (fence-agents)")));
    }
    for action in ["metadata", "manpage"] {
        if action == "manpage" && !trial.subject.has_action(action) {
            continue;
        }
        let answer = trial.run(&trial.subject.fencer(&format!("action={action}\n")))?;
        let file = format!("{}/{action}.xml", crate::host::OWN);
        std::fs::write(&file, &answer.out).map_err(|why| format!("{file}: {why}"))?;
        if let Err(why) = crate::tool::output("xmllint", &["--nonet", "--noout", "--relaxng", SCHEMA, &file])
        {
            let why: String = why.lines().take(3).collect::<Vec<_>>().join("; ");
            let why = why.replace(&file, "").chars().take(300).collect::<String>();
            let text = Answer { out: answer.out.chars().take(300).collect(), ..answer };
            trial.find(format!("{action} should be valid by the schema, and is not: {why}"), Some(&text));
        }
    }
    Ok(())
}

fn spellings(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let plain = trial.subject.metadata.clone();
    let fencer = |lines: &str| trial.subject.fencer(lines);
    let ways: [(&str, Call); 4] = [
        ("action=meta-data", fencer("action=meta-data\n")),
        ("action=METADATA", fencer("action=METADATA\n")),
        ("-o metadata", fencer("").args(["-o", "metadata"])),
        ("--action=metadata", fencer("").arg("--action=metadata")),
    ];
    for (way, call) in ways {
        let answer = trial.run(&call)?;
        same_document(trial, &plain, &answer, way);
    }
    Ok(())
}

fn same_document(trial: &mut Trial<'_>, plain: &document::Node, answer: &Answer, way: &str) {
    let good = answer.is(0) && document::parse(&answer.out).is_ok_and(|document| document == *plain);
    let shown = Answer { out: answer.out.chars().take(300).collect(), ..answer.clone() };
    trial.expect(
        good,
        || format!("{way} should give the same document with 0 ({} here)", answer.end),
        &shown,
    );
}

fn anywhere(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let plain = trial.subject.metadata.clone();
    let fencer = || trial.subject.fencer("action=metadata\n");
    let ways: [(&str, Call); 4] = [
        ("metadata without any environment", fencer().without_environment()),
        ("metadata as nobody", fencer().by_nobody()),
        ("metadata with standard error closed", fencer().closing("2>&-")),
        (
            "-o metadata with standard input closed",
            trial.subject.fencer("").args(["-o", "metadata"]).closing("0<&-"),
        ),
    ];
    for (way, call) in ways {
        let answer = trial.run(&call)?;
        same_document(trial, &plain, &answer, way);
    }
    Ok(())
}

fn not_written(trial: &mut Trial<'_>) -> Result<(), Stop> {
    if !Path::new("/dev/full").exists() {
        return Err(Stop::CannotJudge("there is no /dev/full here".to_owned()));
    }
    let answer = trial.run(&trial.subject.fencer("action=metadata\n").closing("1>/dev/full"))?;
    trial.expect(
        !answer.is(0),
        || "metadata to a full disk should fail, and exits with 0".to_owned(),
        &answer,
    );
    Ok(())
}

fn soon(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let call = trial.subject.fencer("action=metadata\n");
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(trial.run(&call)?);
        if answers.iter().any(|answer| answer.took < SOON) {
            return Ok(());
        }
    }
    let best = answers.iter().map(|answer| answer.took).min().unwrap_or_default();
    trial.find(format!("metadata should be there within 1 s, and takes {:.1} s", best.as_secs_f64()), None);
    Ok(())
}
