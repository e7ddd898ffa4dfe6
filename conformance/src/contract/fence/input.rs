//! How the agent reads what it is told: standard input as managers write it, and the command line.

use super::form::{
    SECRET, arguments, ask, crash, declares, expect_an_end, filled, is_deprecated, lines, name, old_name,
    said, validated, with,
};
use crate::call::Answer;
use crate::case::{Case, Parameters, Stop, Trial};
use crate::subject::Family;

pub fn cases() -> Vec<Case> {
    let case = |id, about, judge| Case::contract(id, Family::Fence, &["input"], about, judge);
    vec![
        case(
            "fence/stdin-and-arguments-agree",
            "The same values by standard input and by the options that the metadata shows have the same result, for \
             validate-all, for status, and for an action that does not exist.",
            agree,
        ),
        case(
            "fence/unknown-key",
            "A name on standard input that the agent does not know is warned of and ignored (fence agent API); the \
             warning has the name and never the value, which may be a password under a misspelt name.",
            unknown_key,
        ),
        case(
            "fence/manager-keys",
            "agent=, name= and nodename=, which cman and Pacemaker add to every call, change nothing and are not complained of.",
            manager_keys,
        ),
        case(
            "fence/last-line-without-newline",
            "The last line counts also without a newline at its end (HALO sends none), and a dash in a name is as good \
             as an underscore.",
            last_line,
        ),
        case(
            "fence/grammar",
            "Comments, empty lines, blanks and carriage returns around a line are ignored, a value may stand in double \
             quotes, and of two lines with one name the last counts.",
            grammar,
        ),
        case(
            "fence/old-names",
            "The old name of a parameter (metadata: deprecated) means exactly what the new one means.",
            old_names,
        ),
        case(
            "fence/false-is-false",
            "A flag that is 0, no, off or false is not set. Observed on quiet, help and version; an agent that takes the \
             mere presence of a flag for true also takes ssl_insecure=0 for \"do not verify certificates\".",
            false_is_false,
        ),
    ]
}

/// `answer` must have the result of `like`.
fn same(trial: &mut Trial<'_>, like: &Answer, answer: &Answer, doing: &str) {
    let good = like.end == answer.end && like.out == answer.out;
    let told = || {
        if like.end == answer.end {
            format!("{doing}: another output than without it")
        } else {
            format!("{doing}: {} instead of {} as without it", answer.end, like.end)
        }
    };
    trial.expect(good, told, answer);
}

fn agree(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let values = filled(trial);
    for action in ["validate-all", "status", "no-such-action"] {
        if action != "no-such-action" && !trial.subject.has_action(action) {
            continue;
        }
        let Some(call) = arguments(trial, &values, action) else {
            return Err(Stop::DoesNotApply("its metadata shows no option for a value it needs".to_owned()));
        };
        let by_lines = ask(trial, &values, action)?;
        let by_words = trial.run(&call)?;
        if by_lines.end != by_words.end || by_lines.out != by_words.out {
            let (one, other) = (by_lines.end, by_words.end);
            trial.find(
                format!("{action} should have one result, and has {one} by standard input and {other} by arguments"),
                Some(&by_words),
            );
        }
    }
    Ok(())
}

fn unknown_key(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let values = filled(trial);
    let plain = validated(trial, &values)?;
    // Not the password itself: that one is masked wherever it stands, in a message about a wrong name, too.
    let misplaced = SECRET.chars().rev().collect::<String>();
    let answer = ask(trial, &with(&values, "judge_pasword", &misplaced), "validate-all")?;
    same(trial, &plain, &answer, "an unknown name on standard input");
    let warned = answer.err.contains("judge_pasword");
    trial.expect(
        warned,
        || "an unknown name should be warned of by its name, and is not".to_owned(),
        &answer,
    );
    let leaked = answer.err.contains(&misplaced) || answer.out.contains(&misplaced);
    trial.expect(!leaked, || "the value of an unknown name should not be shown, and is".to_owned(), &answer);
    let line = lines(&values, "validate-all") + "judge_nonsense\n";
    let answer = trial.run(&trial.subject.fencer(&line))?;
    same(trial, &plain, &answer, "a line without = on standard input");
    Ok(())
}

fn manager_keys(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let values = filled(trial);
    let plain = validated(trial, &values)?;
    let agent = trial.subject.name.clone();
    for (key, value) in [("agent", agent.as_str()), ("name", "device1"), ("nodename", "node1")] {
        if declares(trial, key) {
            continue;
        }
        let answer = ask(trial, &with(&values, key, value), "validate-all")?;
        let doing = format!("{key}={value}, as a manager adds it");
        same(trial, &plain, &answer, &doing);
        let quiet = said(&answer) == said(&plain) || crash(&answer).is_some();
        trial.expect(quiet, || format!("{doing}, should be taken in silence, and is warned of"), &answer);
    }
    Ok(())
}

fn last_line(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let values = filled(trial);
    let plain = validated(trial, &values)?;
    let dashed: Parameters =
        values.iter().map(|(name, value)| (name.replace('_', "-"), value.clone())).collect();
    let mut text = lines(&dashed, "validate-all");
    text.pop();
    let answer = trial.run(&trial.subject.fencer(&text))?;
    same(trial, &plain, &answer, "dashes in names and no newline at the end");
    let text = lines(&values, "no-such-action").replacen("action=no-such-action\n", "", 1);
    let answer = trial.run(&trial.subject.fencer(&(text + "action=validate-all")))?;
    same(trial, &plain, &answer, "action=validate-all as last line without newline");
    Ok(())
}

fn grammar(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let values = filled(trial);
    let plain = validated(trial, &values)?;
    let rest = lines(&values, "").replacen("action=\n", "", 1);
    for (doing, text) in [
        ("comments, empty lines and blanks", format!("# a comment\n\n   \n  action=validate-all \r\n{rest}")),
        ("a value in double quotes", format!("action=\"validate-all\"\n{rest}")),
        ("a name twice, the last one right", format!("action=no-such-action\n{rest}action=validate-all\n")),
    ] {
        let answer = trial.run(&trial.subject.fencer(&text))?;
        same(trial, &plain, &answer, doing);
    }
    Ok(())
}

fn old_names(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let values = filled(trial);
    let all = trial.subject.metadata.parameters();
    let old = |new: &str| {
        let old =
            all.iter().find(|parameter| name(parameter) == new).and_then(|parameter| old_name(parameter))?;
        all.iter().any(|other| name(other) == old && is_deprecated(other)).then(|| old.to_owned())
    };
    let renamed: Parameters = values
        .iter()
        .map(|(name, value)| (old(name).unwrap_or_else(|| name.clone()), value.clone()))
        .collect();
    if renamed == values {
        return Err(Stop::DoesNotApply("no parameter that it needs has an old name".to_owned()));
    }
    let plain = validated(trial, &values)?;
    let answer = ask(trial, &renamed, "validate-all")?;
    same(trial, &plain, &answer, "the old names of all parameters");
    let warned = said(&answer).iter().any(|line| {
        let line = line.to_lowercase();
        line.contains("unknown option") || line.contains("unrecognized option")
    });
    trial.expect(!warned, || "an old name should be known, and is called unknown".to_owned(), &answer);
    Ok(())
}

fn false_is_false(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let values = filled(trial);
    let plain = validated(trial, &values)?;
    let mut asked = false;
    for (flag, value) in [("help", "0"), ("version", "no")] {
        if !declares(trial, flag) {
            continue;
        }
        asked = true;
        let answer = ask(trial, &with(&values, flag, value), "validate-all")?;
        same(trial, &plain, &answer, &format!("{flag}={value}"));
    }
    if declares(trial, "quiet") {
        for value in ["0", "FALSE"] {
            // Without the values it needs: a failure that has to be told.
            let call = trial.subject.fencer(&format!("action=no-such-action\nquiet={value}\n"));
            let answer = trial.run(&call)?;
            let loud = trial.run(&trial.subject.fencer("action=no-such-action\n"))?;
            if loud.err.trim().is_empty() {
                break;
            }
            asked = true;
            let good = said(&answer) == said(&loud);
            trial.expect(good, || format!("quiet={value} should not be quiet, and is"), &answer);
            expect_an_end(trial, &answer, &format!("quiet={value}"));
        }
    }
    if asked { Ok(()) } else { Err(Stop::DoesNotApply("it has none of quiet, help, version".to_owned())) }
}
