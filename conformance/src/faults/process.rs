//! One schedule of a fault in the agent's own process, its tools or its host.

use super::device::{self, MARGIN};
use super::machine::Machine;
use super::order::{Ending, Kind, Sort, Survey, Told};
use super::power::{self, Bench, Task};
use super::wrong::Wrong;
use crate::call::{Answer, End};
use crate::subject::{Family, Subject};
use ringfence_conformance::relay::SplitMix64;

pub fn run(seed: u64, subject: &Subject, survey: &Survey) -> Told {
    super::busy::fairly(|more| attempt(seed, subject, survey, more))
}

fn attempt(seed: u64, subject: &Subject, survey: &Survey, more: u32) -> Told {
    let mut told = Told::new(seed);
    let done = match subject.family {
        Family::Resource => super::resource::schedule(seed, subject, survey, more, &mut told),
        Family::Fence => fence(seed, subject, survey, more, &mut told),
    };
    if let Err(why) = done {
        told.ending = None;
        told.flaws.clear();
        told.story.push(why);
    }
    told
}

/// The device that a fence agent has when nobody disturbs the network.
pub fn device_kind(subject: &Subject) -> Kind {
    if device::is_ipmi(subject) { Kind::Udp } else { Kind::Tcp }
}

fn fence(seed: u64, subject: &Subject, survey: &Survey, more: u32, told: &mut Told) -> Result<(), String> {
    let mut random = SplitMix64::new(seed ^ 0xFE4CE);
    let mut task = Task::draw(&mut random, &survey.ways);
    task.button = None;
    let mut wrong = Wrong::draw(&mut random, survey, task.way, task.action);
    if matches!(wrong, Wrong::Full | Wrong::ReadOnly) {
        // The device lives in that folder, too.
        wrong = Wrong::Closed("0<&- 1>&-");
    }
    told.schedule = format!("{}; {wrong}", task.told());
    let bench = Bench::new(device_kind(subject), subject, survey)?;
    let machine = bench.machine();
    machine.set_power(task.was_on)?;
    machine.lie(task.lies)?;
    machine.forget()?;
    let limit = device::longest(subject, task.action, &task.params) * more;
    let call = bench.call(machine.address(), task.action, &task.params).patience(limit + MARGIN * 2);
    let answer = wrong.run(&call)?;
    told.note(&answer);
    if wrong.ends_it() && matches!(answer.end, End::Signal(9 | 15)) {
        told.ended(&answer, Ending::Killed);
    } else {
        power::judge(&task, machine, &answer, limit + wrong.paused(), told);
        excuse(&wrong, &answer, told);
    }
    if !matches!(wrong, Wrong::Kill(_))
        && answer.end != End::Hung
        && let Some(Ok(open)) = machine.sessions()
        && open > 0
    {
        let what = format!("no session stays open after {}, and {open} does", wrong.kind());
        told.flaw(Sort::SessionOpen, what);
    }
    machine.lie(false)?;
    mended(&bench, machine, &task, &wrong, told)
}

/// What the fault leaves it no choice about is no flaw: without descriptors there is nothing to write a reason to, and a
/// loader without memory dies as it dies.
fn excuse(wrong: &Wrong, answer: &Answer, told: &mut Told) {
    let speechless = matches!(wrong, Wrong::Closed(_) | Wrong::NoFileGrows | Wrong::FewDescriptors(_));
    let starved = matches!(wrong, Wrong::LittleMemory(_) | Wrong::FewDescriptors(_));
    told.flaws.retain(|flaw| match flaw.sort {
        Sort::BadAnswer => !(speechless && answer.is(1) || starved),
        Sort::Panic => !starved,
        Sort::FalseSuccess | Sort::PastDeadline | Sort::SessionOpen | Sort::NotMended | Sort::LeftBehind => {
            true
        }
    });
}

/// Without the fault the same agent does its work: off, and on again.
fn mended(
    bench: &Bench<'_>,
    machine: &Machine,
    task: &Task,
    wrong: &Wrong,
    told: &mut Told,
) -> Result<(), String> {
    for (action, on) in [("off", false), ("on", true)] {
        let answer = bench.call(machine.address(), action, &task.params).run()?;
        told.note(&answer);
        if !answer.is(0) || machine.power() != on {
            let kind = wrong.kind();
            told.flaw(
                Sort::NotMended,
                format!("a clean {action} works after {} with {kind}, and it is {}", task.action, answer.end),
            );
            break;
        }
    }
    Ok(())
}
