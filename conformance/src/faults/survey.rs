//! How the agent does without faults: what it needs, how long it takes, what it runs, what it shows.

use super::order::{Kind, Order, Survey};
use super::power::Bench;
use super::programs::Watch;
use super::{device, process, resource};
use crate::call::pause;
use crate::case::Parameters;
use crate::subject::{Family, Subject};
use std::collections::BTreeSet;
use std::time::Duration;

/// Tells why not, instead of failing.
pub fn make(order: &Order, subject: &Subject) -> Survey {
    let made = match subject.family {
        Family::Resource => of_resource(order, subject),
        Family::Fence => of_fence(order, subject),
    };
    made.unwrap_or_else(|why| Survey { cannot: Some(why), ..Survey::default() })
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

/// The wait before a datagram is sent again; ipmitool takes whole seconds alone.
fn fine() -> (String, String) {
    ("ipmitool_timeout".to_owned(), "0.12".to_owned())
}

/// Versions of the protocol, with short waits and with longer ones.
fn ipmi(given: &Parameters) -> Vec<Parameters> {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let has = |name: &str| given.iter().any(|(known, _)| known == name);
    let versions = if has("lanplus") {
        vec![vec![]]
    } else {
        vec![
            vec![pair("lanplus", "1")],
            vec![pair("lanplus", "1"), pair("cipher", "3")],
            vec![pair("lanplus", "0")],
            vec![pair("lanplus", "0"), pair("auth", "password")],
        ]
    };
    let waits = if has("ipmitool_timeout") {
        vec![None]
    } else {
        vec![Some(fine()), Some(pair("ipmitool_timeout", "1"))]
    };
    let all = waits.iter().flat_map(|wait| versions.iter().map(move |version| (wait, version)));
    all.map(|(wait, version)| given.iter().chain(wait).chain(version).cloned().collect()).collect()
}

/// The ways of a fence agent: with an IPMI device those versions of the protocol that work.
fn of_fence(order: &Order, subject: &Subject) -> Result<Survey, String> {
    let kind = if order.kind == Kind::Process { process::device_kind(subject) } else { order.kind };
    let mut survey = Survey::default();
    let ways = if device::is_ipmi(subject) { ipmi(&order.params) } else { vec![order.params.clone()] };
    let nothing = Survey::default();
    let bench = Bench::new(kind, subject, &nothing)?;
    let watch = Watch::new();
    let mut programs = BTreeSet::new();
    let mut why = String::new();
    for way in ways {
        // Coarser waits only where finer ones are not understood.
        if survey.ways.iter().any(|known| known.contains(&fine())) && !way.contains(&fine()) {
            break;
        }
        bench.prepare(true)?;
        let mut all = true;
        let mut times = Vec::new();
        for (action, on) in
            [("status", true), ("off", false), ("on", true), ("reboot", true), ("monitor", true)]
        {
            let answer = bench.clean(action, &way)?;
            if !answer.is(0) || bench.power() != on {
                why = format!(
                    "{action} without a fault is {}: {}",
                    answer.end,
                    answer.err.split_whitespace().collect::<Vec<_>>().join(" ")
                );
                all = false;
                break;
            }
            times.push((action.to_owned(), micros(answer.took)));
        }
        if all {
            survey.ways.push(way);
            survey.times.push(times);
        }
        if let Ok(watch) = &watch {
            programs.extend(watch.seen(&subject.path));
        }
    }
    if survey.ways.is_empty() {
        return Err(why);
    }
    // The judge's own device runs some, too.
    let own = ["/ipmi_sim", "/mv", "/sleep"];
    programs.retain(|path| !path.starts_with("/run/judge") && !own.iter().any(|name| path.ends_with(name)));
    survey.programs = programs.into_iter().collect();
    // The weight of the old tests: the usual version first and most often.
    if let Some(first) = survey.ways.first().cloned() {
        let times = survey.times.first().cloned().unwrap_or_default();
        survey.ways.extend(std::iter::repeat_n(first, 5));
        survey.times.extend(std::iter::repeat_n(times, 5));
    }
    Ok(survey)
}

fn of_resource(order: &Order, subject: &Subject) -> Result<Survey, String> {
    let told = if order.params.is_empty() {
        crate::behaviour::ways(&subject.name)
    } else {
        vec![order.params.clone()]
    };
    let watch = Watch::new()?;
    let mut survey = Survey::default();
    let mut programs = BTreeSet::new();
    let mut why = String::new();
    let roles: &[&str] = if subject.has_action("promote") { &["promote", "demote"] } else { &[] };
    for way in told {
        let before = resource::shown();
        let mut during = BTreeSet::new();
        let mut done = true;
        let mut times = Vec::new();
        for action in ["start", "monitor"].iter().chain(roles).chain(&["stop"]) {
            watch.seen(&subject.path);
            let answer = resource::clean(subject, action, &way).run()?;
            programs.extend(watch.seen(&subject.path));
            if !answer.is(0) {
                let reason =
                    answer.reasons().last().map(|reason| format!(" ({})", reason.trim())).unwrap_or_default();
                why = format!(
                    "{action} without a fault is {}{reason}: give what it needs with --param",
                    answer.end
                );
                done = false;
                break;
            }
            if *action == "start" {
                during = resource::shown();
            }
            times.push(((*action).to_owned(), micros(answer.took)));
        }
        if !done {
            continue;
        }
        pause(Duration::from_millis(200));
        let after = resource::shown();
        // A file may be a note that comes and goes; the kernel's own objects are the resource.
        let gone = during.difference(&before).filter(|line| !after.contains(*line));
        let marks = gone.filter(|line| !line.starts_with("file ")).cloned().collect();
        survey.ways.push(way);
        survey.times.push(times);
        survey.marks.push(marks);
    }
    if survey.ways.is_empty() {
        return Err(why);
    }
    survey.programs = programs.into_iter().collect();
    Ok(survey)
}
