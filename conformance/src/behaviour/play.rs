//! Carrying a behaviour case out, statement by statement. It ends at the first that does not hold: what comes behind
//! it would only tell of the same.

use super::fence;
use super::language::{Expect, Given, Run, Script, Step, Stream};
use super::observe::{Observer, snapshot};
use super::place::{self, Callable};
use super::wire::Ear;
use crate::call::{Answer, Call};
use crate::case::{Level, Parameters, Stop, Trial};
use crate::subject::Family;
use crate::tool;
use std::time::Duration;

pub fn play(script: &Script, trial: &mut Trial<'_>) -> Result<(), Stop> {
    let played = steps(script, trial);
    for (line, step) in script.steps.iter().rev() {
        if let Step::Finally(command) = step
            && let Err(why) = tool::output("/bin/sh", &["-c", command])
        {
            // The next case would play in what this one has left.
            return Err(Stop::CannotJudge(format!("{}:{line}: {why}", script.file)));
        }
    }
    played
}

fn steps(script: &Script, trial: &mut Trial<'_>) -> Result<(), Stop> {
    for program in &script.needs {
        if !tool::is_there(program) {
            return Err(Stop::CannotJudge(format!("needs {program}, which is not installed")));
        }
    }
    let is_fence = script.family() == Family::Fence;
    let networked = matches!(script.level, Level::Ns | Level::Root) && !is_fence;
    let mut observer = Observer { ear: None, before: None, device: fence::Bench::default() };
    if networked {
        if !tool::is_there("ip") {
            return Err(Stop::CannotJudge("needs ip (iproute2), which is not installed".to_owned()));
        }
        place::network()?;
        if script.listens() {
            observer.ear = Some(Ear::open()?);
        }
    }
    let mut callable = Callable::default();
    let way = || super::told(&script.agent).next().map(|way| way.parameters.clone());
    let mut parameters = if is_fence { way().unwrap_or_default() } else { Parameters::new() };
    let mut more = fence::More::default();
    let mut last: Option<Answer> = None;
    for (line, step) in &script.steps {
        let at = format!("{}:{line}", script.file);
        match step {
            Step::Given(Given::Device(given)) => {
                observer.device.make(given).map_err(|why| format!("{at}: {why}"))?;
            }
            Step::Given(given) => place::make(given, &mut callable).map_err(|why| format!("{at}: {why}"))?,
            Step::With(pairs) => {
                parameters.retain(|(name, _)| pairs.iter().all(|(other, _)| other != name));
                parameters.extend(pairs.iter().cloned());
            }
            Step::Without(names) => parameters.retain(|(name, _)| !names.contains(name)),
            Step::Finally(_) => {}
            Step::Stdin(lines) => more.lines.extend(lines.iter().cloned()),
            Step::Arguments(words) => more.words.extend(words.iter().cloned()),
            Step::Run(run) if is_fence => {
                place::forget_calls();
                observer.device.forget()?;
                let call =
                    fence::call(run, trial, &parameters, &more).map_err(|why| format!("{at}: {why}"))?;
                last = Some(trial.run(&callable.applied(call))?);
            }
            Step::Run(run) => {
                if networked && observer.before.is_none() {
                    place::routes_are_made();
                    observer.before = Some(snapshot()?);
                }
                place::forget_calls();
                let call = call(run, trial, &parameters, &callable);
                let call = if script.level == Level::Lab { patient(call, &parameters) } else { call };
                last = Some(trial.run(&call)?);
            }
            Step::Expect(expect) => {
                if let Some(answer) = &last
                    && let Some(wrong) = wrong(expect, answer)
                {
                    trial.find(format!("{at}: {wrong}"), Some(answer));
                    return Err(Stop::Enough);
                }
            }
            Step::Observe(observe) => {
                if let Some(seen) = observer.look(observe).map_err(|why| format!("{at}: {why}"))? {
                    let wanted = words(script, *line);
                    trial.find(format!("{at}: {wanted} does not hold; seen: {seen}"), last.as_ref());
                    return Err(Stop::Enough);
                }
            }
        }
    }
    Ok(())
}

/// The time that an agent has where processors may be emulated; a case may set its own with `meta timeout=MILLISECONDS`.
const IN_THE_LAB: Duration = Duration::from_secs(120);

fn patient(call: Call, parameters: &Parameters) -> Call {
    let told = parameters.iter().find(|(name, _)| name == TIMEOUT).and_then(|(_, value)| value.parse().ok());
    let span = told.map_or(IN_THE_LAB, Duration::from_millis);
    call.param(TIMEOUT, span.as_millis().to_string()).patience(span)
}

const TIMEOUT: &str = "CRM_meta_timeout";

fn call(run: &Run, trial: &Trial<'_>, parameters: &Parameters, callable: &Callable) -> Call {
    let call = trial.subject.call(&run.action);
    let call = if run.recurring { call.recurring() } else { call };
    let call = match &run.level {
        Some(level) => {
            call.param("CRM_meta_OCF_CHECK_LEVEL", level.as_str()).env("OCF_CHECK_LEVEL", level.as_str())
        }
        None => call,
    };
    callable.applied(call.params(parameters))
}

fn wrong(expect: &Expect, answer: &Answer) -> Option<String> {
    let reasons = answer.reasons();
    match expect {
        Expect::Code(codes) => {
            let good = answer.code().is_some_and(|code| codes.contains(&code));
            let wanted: Vec<String> = codes.iter().map(ToString::to_string).collect();
            (!good).then(|| format!("{} instead of {}", answer.end, wanted.join(" or ")))
        }
        Expect::Reason(text) => {
            let good = reasons.iter().any(|reason| reason.contains(text.as_str()));
            (!good).then(|| format!("no exit reason holds '{text}'"))
        }
        Expect::NoReason => (!reasons.is_empty())
            .then(|| format!("there should be no exit reason, but: {}", reasons.join("; "))),
        Expect::Says { stream, not, text } => {
            let (name, said) = match stream {
                Stream::Out => ("standard output", &answer.out),
                Stream::Err => ("standard error", &answer.err),
            };
            let should = if *not { "should not hold" } else { "should hold" };
            (said.contains(text.as_str()) == *not).then(|| format!("{name} {should} '{text}'"))
        }
        Expect::Is { stream, text } => {
            let (name, said) = match stream {
                Stream::Out => ("standard output", &answer.out),
                Stream::Err => ("standard error", &answer.err),
            };
            (said.trim() != text).then(|| format!("{name} should be '{text}'"))
        }
        Expect::Under(span) => (answer.took > *span).then(|| {
            format!("it took {:.2} s, not under {:.2} s", answer.took.as_secs_f64(), span.as_secs_f64())
        }),
    }
}

/// A statement as it stands in its file.
fn words(script: &Script, line: usize) -> String {
    script
        .lines
        .iter()
        .find(|(number, _)| *number == line)
        .map_or_else(String::new, |(_, text)| format!("'{text}'"))
}
