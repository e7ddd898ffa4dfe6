//! Circumstances in which metadata is asked for: by anybody, anywhere, without anything.

use crate::call::Call;
use crate::case::{BEYOND, Case, Stop, Trial};
use crate::document;
use crate::subject::Family;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

pub fn cases() -> Vec<Case> {
    let case = |id, about, judge| Case::contract(id, Family::Resource, &["metadata"], about, judge);
    vec![
        Case::contract(
            "resource/metadata-without-environment",
            Family::Resource,
            &["metadata", BEYOND],
            "meta-data needs no variable at all: people and packaging tools ask for it by hand. The API lets an agent rely on OCF_ROOT.",
            |trial| same(trial, "without any environment", Call::without_environment),
        ),
        case(
            "resource/metadata-without-parameters",
            "meta-data needs nothing but OCF_ROOT: no instance, no version, no parameter, no PATH.",
            |trial| {
                same(trial, "with nothing but OCF_ROOT", |call| {
                    call.without_environment().env("OCF_ROOT", "/usr/lib/ocf")
                })
            },
        ),
        case(
            "resource/metadata-as-nobody",
            "meta-data needs no rights: ocf-tester and crmsh ask for it as an ordinary user.",
            as_nobody,
        ),
        case("resource/metadata-empty-path", "meta-data needs no program of the caller's PATH.", |trial| {
            same(trial, "with an empty PATH", |call| call.env("PATH", ""))
        }),
        case(
            "resource/metadata-without-tools",
            "meta-data is there before the programs that the agent manages are: ocf-tester pretends that all are missing.",
            |trial| same(trial, "without its tools", |call| call.env("OCF_TESTER_FAIL_HAVE_BINARY", "1")),
        ),
        case(
            "resource/metadata-closed-descriptors",
            "meta-data is complete when standard input and standard error are closed, as rgmanager asks for it.",
            |trial| same(trial, "with 0 and 2 closed", |call| call.closing("0<&- 2>&-")),
        ),
        case(
            "resource/metadata-quick",
            "meta-data of a compiled or shell agent takes less than 100 ms: Pacemaker's controller waits for it. The quickest of \
             seven calls counts, and only on a machine that starts a program in less than a twentieth of that.",
            quick,
        ),
    ]
}

/// The document must be there, and the same.
fn same(trial: &mut Trial<'_>, how: &str, change: fn(Call) -> Call) -> Result<(), Stop> {
    let call = change(trial.subject.call("meta-data"));
    let answer = trial.run(&call)?;
    trial.expect_code(&answer, &[0], &format!("meta-data {how}"));
    let told = match document::parse(&answer.out) {
        Err(why) => Some(format!("meta-data {how} is no document: {why}")),
        Ok(root) if names(&root) != names(&trial.subject.metadata) => {
            Some(format!("meta-data {how} declares something else"))
        }
        Ok(_) => None,
    };
    if let Some(what) = told {
        trial.find(what, Some(&answer));
    }
    Ok(())
}

/// Who it is, what it can be given and do. Which of the two reloads it names depends on the API version that the caller
/// announces; defaults may name the instance.
fn names(root: &document::Node) -> Vec<String> {
    let nodes = root.parameters().into_iter().chain(root.actions());
    std::iter::once(root)
        .chain(nodes)
        .filter_map(|node| node.attribute("name").map(str::to_owned))
        .filter(|name| !matches!(name.as_str(), "reload" | "reload-agent"))
        .collect()
}

fn as_nobody(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let file = &trial.subject.path;
    let mode =
        std::fs::metadata(file).map_err(|why| format!("{}: {why}", file.display()))?.permissions().mode();
    if mode & 0o005 != 0o005 {
        trial.find(format!("the file's mode is {:o}: others cannot run it", mode & 0o7777), None);
        return Ok(());
    }
    same(trial, "as nobody", Call::by_nobody)
}

const LIMIT: Duration = Duration::from_millis(100);

fn quick(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let head = std::fs::read(&trial.subject.path).unwrap_or_default();
    let first = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let first = String::from_utf8_lossy(first);
    if ["python", "perl", "ruby"]
        .iter()
        .any(|interpreter| first.starts_with("#!") && first.contains(interpreter))
    {
        return Err(Stop::DoesNotApply(format!("its interpreter alone takes a part of that: {first}")));
    }
    let call = trial.subject.call("meta-data");
    let mut best: Option<crate::call::Answer> = None;
    for _ in 0..7 {
        let answer = trial.run(&call)?;
        if best.as_ref().is_none_or(|best| answer.took < best.took) {
            best = Some(answer);
        }
        if best.as_ref().is_some_and(|best| best.took < LIMIT) {
            return Ok(());
        }
    }
    let nothing = trial.run(&Call::new(Path::new("/bin/true")))?.took;
    if nothing * 20 > LIMIT {
        return Err(Stop::CannotJudge(format!(
            "the machine is too busy: /bin/true takes {} ms",
            nothing.as_millis()
        )));
    }
    if let Some(best) = best {
        trial.find(
            format!("meta-data takes {} ms at best, more than 100", best.took.as_millis()),
            Some(&best),
        );
    }
    Ok(())
}
