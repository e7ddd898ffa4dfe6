//! Stop: the guest is asked to shut down, and is taken away when it does not in time. It ends when nothing of it is seen.

use crate::listing::{Condition, Domain, Reason};
use crate::patience::Patience;
use crate::sight::{self, Part, Sight, Verdict};
use crate::toolstack::{self, Toolstack};
use crate::{LOOK_PAUSE, Xen, keeper, virsh, vm};
use ocf_lib::deadline::Deadline;
use ocf_lib::resource::prelude::*;
use std::time::Duration;

/// One call that takes a domain away: 0.3 s measured.
const DESTROY_LIMIT: Duration = Duration::from_secs(20);
/// libvirt's daemon on this host gets this long for an answer.
const ANSWERS_IN: Duration = Duration::from_secs(10);
/// Time that the guest's own xl process gets to take away what has shut down.
const KEEPER_CLEARS_IN: Duration = Duration::from_secs(3);
/// A guest that is in no list may be rebooting: looked at again for this long, as upstream.
pub const REBOOTS_IN: Duration = Duration::from_secs(5);
/// The same while its xl process lives.
pub const REBOOTS_SLOWLY_IN: Duration = Duration::from_secs(20);

/// How far a stop is.
struct Course {
    /// Until when the guest may shut down by itself.
    grace: Patience,
    asked: bool,
    /// Something was done to it: it does not just happen to be missing.
    acted: bool,
    absent: Option<(Patience, Patience)>,
    cleared: Option<Patience>,
    /// Why it is not gone yet.
    last: Option<Fault>,
}

impl Xen {
    pub(crate) fn take_away(&self, cx: &Cx, faults: &mut Faults) {
        let Some(tool) = self.tool_that_answers(cx) else { return self.without_xen(cx, faults) };
        let mut course = Course {
            grace: self.grace(cx),
            asked: false,
            acted: false,
            absent: None,
            cleared: None,
            last: None,
        };
        let mut blind = 0;
        while !cx.expired() {
            let sight = match self.look(cx) {
                Ok(Some(sight)) => sight,
                Ok(None) => return self.without_xen(cx, faults),
                // Once is no proof of anything: xl was seen to fail and to succeed a moment later.
                Err(_) if blind < 2 => {
                    blind += 1;
                    cx.sleep(LOOK_PAUSE);
                    continue;
                }
                Err(fault) => return faults.note(fault),
            };
            blind = 0;
            if !sight.is_empty() {
                course.absent = None;
                self.act(cx, tool, &sight, &mut course);
            } else if self.is_gone_for_good(cx, tool, &mut course) {
                return self.gone.set(true);
            } else {
                cx.sleep(LOOK_PAUSE);
            }
        }
        if let Some(fault) = course.last {
            faults.note(fault);
        }
    }

    /// libvirt's daemon may be away while its guests run.
    fn tool_that_answers(&self, cx: &Cx) -> Option<Toolstack> {
        let tool = self.tool(cx);
        let host = Toolstack::of_this_host(cx);
        if tool != Some(Toolstack::Virsh) || host == tool {
            return tool;
        }
        let limit = Deadline::after(ANSWERS_IN.min(cx.left_or(ANSWERS_IN * 4) / 4));
        if virsh::answers(cx, limit) {
            return tool;
        }
        cx.warn("libvirt does not answer: going on without it");
        host
    }

    /// Nothing of Xen is here, so nothing of it runs.
    fn without_xen(&self, cx: &Cx, faults: &mut Faults) {
        self.gone.set(true);
        if let Some(why) = vm::elsewhere(cx, &self.proc, self.name(cx)) {
            faults.note(Fault::generic(why));
        }
    }

    /// The configured time, or two thirds of what there is; in any case so that the rest suffices to take it away.
    fn grace(&self, cx: &Cx) -> Patience {
        let all = cx.left_or(Duration::from_secs(90));
        if self.forbids_killing() {
            // All but what saying so takes.
            return Patience::of(cx, all.saturating_sub((all / 10).min(Duration::from_secs(2))));
        }
        let for_the_rest = (all / 5).clamp(Duration::from_secs(2), Duration::from_secs(15)).min(all / 2);
        let most = all.saturating_sub(for_the_rest);
        let wanted =
            self.params.shutdown_timeout.map_or(all * 2 / 3, |seconds| Duration::from_secs(seconds.0));
        if wanted > most {
            cx.warn(format!(
                "the stop has {} s: the guest gets {} s of them to shut down, not {} s",
                all.as_secs(),
                most.as_secs(),
                wanted.as_secs()
            ));
        }
        Patience::of(cx, wanted.min(most))
    }

    fn act(&self, cx: &Cx, tool: Toolstack, seen: &Sight, course: &mut Course) {
        for (part, domain) in seen.domains() {
            if part == Part::Whole {
                self.end(cx, tool, domain, course);
            } else {
                cx.info(sight::half_sentence(self.name(cx), part, domain));
                destroy(cx, tool, &domain.name, course);
            }
        }
    }

    fn end(&self, cx: &Cx, tool: Toolstack, domain: &Domain, course: &mut Course) {
        let name = &domain.name;
        match domain.condition {
            // Nothing more can be done to it.
            Condition::Dying => {
                if let Verdict::Passing(why) = sight::verdict(name, domain.condition) {
                    course.last = Some(Fault::generic(why));
                }
                cx.sleep(LOOK_PAUSE);
            }
            Condition::Running | Condition::Blocked | Condition::Paused
                if course.grace.over(cx) && self.forbids_killing() =>
            {
                let why =
                    || format!("guest {name} did not shut down in time, and no_kill forbids to destroy it");
                course.last.get_or_insert_with(|| Fault::generic(why()));
                cx.sleep(LOOK_PAUSE);
            }
            Condition::Running | Condition::Blocked | Condition::Paused if course.grace.over(cx) => {
                if course.asked {
                    cx.warn(format!("guest {name} did not shut down in time: it is destroyed"));
                }
                destroy(cx, tool, name, course);
            }
            // Nothing is lost with it; and half of a migration must not run on.
            Condition::Paused if domain.has_run == Some(false) => destroy(cx, tool, name, course),
            // It may be such a half.
            Condition::Paused if domain.has_run.is_none() && self.forbids_killing() => {
                let why = || format!("guest {name} is paused, and no_kill forbids to destroy it");
                course.last.get_or_insert_with(|| Fault::generic(why()));
                cx.sleep(LOOK_PAUSE);
            }
            Condition::Paused if domain.has_run.is_none() => destroy(cx, tool, name, course),
            // A paused guest cannot hear that it should shut down.
            Condition::Paused => {
                course.acted = true;
                if let Err(fault) = toolstack::run(cx, &tool.cmd(["unpause", name]), within_grace(cx, course))
                {
                    cx.warn(fault.reason());
                    if self.forbids_killing() {
                        course.grace = Patience::of(cx, Duration::ZERO);
                        course.last = Some(fault);
                    } else {
                        destroy(cx, tool, name, course);
                    }
                }
            }
            Condition::Running | Condition::Blocked if course.asked => cx.sleep(LOOK_PAUSE),
            Condition::Running | Condition::Blocked => {
                course.asked = true;
                course.acted = true;
                if let Err(fault) = self.ask(cx, tool, name, course) {
                    cx.warn(format!("guest {name} cannot be asked to shut down: {fault}"));
                    course.grace = Patience::of(cx, Duration::ZERO);
                    course.last =
                        Some(fault.context(format_args!("guest {name} cannot be asked to shut down")));
                }
            }
            Condition::ShutDown(Reason::PowerOff | Reason::Reboot) if keeper::lives(&self.proc, name) => {
                course.acted = true;
                let until = *course.cleared.get_or_insert_with(|| Patience::modest(cx, KEEPER_CLEARS_IN));
                if until.over(cx) {
                    destroy(cx, tool, name, course);
                } else {
                    cx.sleep(LOOK_PAUSE);
                }
            }
            Condition::ShutDown(_) | Condition::Building => destroy(cx, tool, name, course),
        }
    }

    /// Asks by the way that is configured, else by the other: a guest without drivers for Xen hears the power button alone.
    fn ask(&self, cx: &Cx, tool: Toolstack, name: &str, course: &Course) -> Result<(), Fault> {
        let mut ways: [&[&str]; 2] = [&["shutdown", name], &["trigger", name, "power"]];
        if self.params.shutdown_acpi {
            ways.reverse();
        }
        let mut refused = None;
        for tool in tools(cx, tool) {
            for way in ways {
                let limit = Deadline::after(course.grace.left(cx) / share(tool));
                match toolstack::run(cx, &tool.cmd(way.iter().copied()), limit) {
                    Ok(_) => return Ok(()),
                    Err(_) if course.grace.over(cx) => return Ok(()),
                    Err(fault) => _ = refused.get_or_insert(fault),
                }
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// A guest that reboots is in no list for seconds: whoever calls it stopped then starts it twice.
    fn is_gone_for_good(&self, cx: &Cx, tool: Toolstack, course: &mut Course) -> bool {
        let (short, long) = *course.absent.get_or_insert_with(|| {
            (Patience::modest(cx, REBOOTS_IN), Patience::modest(cx, REBOOTS_SLOWLY_IN))
        });
        if keeper::lives(&self.proc, self.name(cx)) {
            return long.over(cx);
        }
        // Of what was asked to end and has no process to bring it back, one look is enough.
        course.acted && tool == Toolstack::Xl || short.over(cx)
    }
}

/// The end of one call during the grace.
fn within_grace(cx: &Cx, course: &Course) -> Deadline {
    Deadline::after(course.grace.left(cx))
}

/// What takes a guest away: libvirt, and where that does not, for a migration holds its lock, what this host has besides.
fn tools(cx: &Cx, tool: Toolstack) -> impl Iterator<Item = Toolstack> {
    let besides = Toolstack::of_this_host(cx).filter(|host| *host != tool);
    std::iter::once(tool).chain(besides)
}

/// Which part of the time one call gets: libvirt waits for its lock as long as something else is done to the guest.
const fn share(tool: Toolstack) -> u32 {
    match tool {
        Toolstack::Virsh => 3,
        Toolstack::Xl | Toolstack::Xm => 1,
    }
}

fn destroy(cx: &Cx, tool: Toolstack, name: &str, course: &mut Course) {
    course.acted = true;
    for tool in tools(cx, tool) {
        let limit = DESTROY_LIMIT.min(cx.left_or(DESTROY_LIMIT * share(tool)) / share(tool));
        let limit = Deadline::after(limit);
        match toolstack::run(cx, &tool.cmd(["destroy", name]), limit) {
            Ok(_) => return,
            Err(fault) => course.last = Some(fault.context(format_args!("cannot destroy {name}"))),
        }
    }
    cx.sleep(LOOK_PAUSE);
}
