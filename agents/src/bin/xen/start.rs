//! Start: never beside another of the same guest, nor beside half of one.

use crate::listing::{Condition, Domain, Reason};
use crate::patience::Patience;
use crate::sight::{self, Sight, Verdict};
use crate::toolstack::{self, Toolstack};
use crate::{LOOK_PAUSE, Xen, disks, keeper};
use ocf_lib::deadline::Deadline;
use ocf_lib::resource::prelude::*;
use std::time::Duration;

/// What passes by itself gets this long: a guest that reboots, a migration that ends.
const PASSES_IN: Duration = Duration::from_secs(15);
/// A paused guest may be about to go on.
const PAUSED_FOR: Duration = Duration::from_secs(3);
/// Taking back a creation that did not end in time.
const TAKE_BACK: Duration = Duration::from_secs(5);

/// What a look before the creation says.
enum Next {
    Create,
    /// It runs, or will.
    Nothing,
    Destroy(String),
    Unpause(String),
    /// Look again; or, when the patience is over, this is why there is no start.
    Wait(String),
}

impl Xen {
    pub(crate) fn create(&self, cx: &Cx) -> Result<(), Fault> {
        let tool = self.tool(cx).ok_or_else(|| Fault::installed("neither xl nor xm is installed"))?;
        self.file_must_fit(cx, tool)?;
        let name = self.name(cx);
        let patience = Patience::modest(cx, PASSES_IN);
        let paused = Patience::modest(cx, PAUSED_FOR);
        loop {
            let sight = self.look(cx)?.ok_or_else(|| Fault::installed("this host does not run under Xen"))?;
            match self.next(&sight, name, paused.over(cx)) {
                Next::Create if self.created(cx, tool, name)? => return Ok(()),
                // Its own xl process was faster.
                Next::Create => cx.sleep(LOOK_PAUSE),
                Next::Nothing => return Ok(()),
                Next::Destroy(why) => {
                    cx.warn(format!("{why}: what is left of it is destroyed"));
                    toolstack::run(cx, &tool.cmd(["destroy", name]), cx.deadline())?;
                }
                Next::Unpause(why) => {
                    cx.warn(format!("{why}: it is unpaused"));
                    toolstack::run(cx, &tool.cmd(["unpause", name]), cx.deadline())?;
                }
                Next::Wait(_) if !patience.over(cx) => cx.sleep(LOOK_PAUSE),
                Next::Wait(why) => {
                    return Err(Fault::generic(format!(
                        "{why}; nothing is started beside it: stop the resource first"
                    )));
                }
            }
            if cx.expired() {
                return Err(Fault::generic(format!("guest {name} could not be started in time")));
            }
        }
    }

    /// What a configuration must be so that the guest that is created is the one that is looked for.
    fn file_must_fit(&self, cx: &Cx, tool: Toolstack) -> Result<(), Fault> {
        let name = self.name(cx);
        let (Some(config), Some(file)) = (self.config(), self.file()) else { return Ok(()) };
        let Some(kind) = &config.libvirt else { return Ok(()) };
        let wrong = |why: String| Err(Fault::installed(format!("{file} {why}")));
        if tool != Toolstack::Virsh {
            return wrong(format!("is libvirt's XML, and {} does not read it: virsh does", tool.program()));
        }
        if kind != "xen" {
            return wrong(format!("is for a guest of '{kind}', not of Xen"));
        }
        match config.name.as_deref() {
            Some(own) if own == name => Ok(()),
            own => wrong(format!("is for a guest called '{}', not {name}", own.unwrap_or_default())),
        }
    }

    fn next(&self, sight: &Sight, name: &str, paused_for_long: bool) -> Next {
        if let Some((part, half)) = sight.half() {
            return Next::Wait(sight::half_sentence(name, part, half));
        }
        let keeper = || keeper::lives(&self.proc, name);
        let Some(domain) = sight.whole() else {
            return if keeper() {
                Next::Wait(format!("guest {name} reboots: its xl process is there, and it is not"))
            } else {
                Next::Create
            };
        };
        match sight::verdict(name, domain.condition) {
            Verdict::Runs => Next::Nothing,
            // Half of a migration by libvirt looks like this: it has not all of its memory yet.
            Verdict::Paused if domain.has_run == Some(false) => Next::Wait(sight::never_ran(name)),
            Verdict::Paused if paused_for_long && domain.has_run.is_some() => {
                Next::Unpause(format!("guest {name} is paused"))
            }
            Verdict::Paused => Next::Wait(format!("guest {name} is paused")),
            Verdict::Passing(why) if is_corpse(domain) && !keeper() => Next::Destroy(why),
            Verdict::Passing(why) => Next::Wait(why),
        }
    }

    /// Creates it. False: there is one of its name already.
    fn created(&self, cx: &Cx, tool: Toolstack, name: &str) -> Result<bool, Fault> {
        let disks = self.config().map(|config| config.disks.as_slice()).unwrap_or_default();
        disks::must_be_free(cx, tool, name, disks)?;
        let host = Toolstack::of_this_host(cx).unwrap_or(tool);
        let share = self.make_room(cx, host);
        self.remember(cx);
        let file = self.file().unwrap_or_default();
        // The name holds against the file's own: it is the one under which stop and monitor look for it.
        let cmd = match tool {
            Toolstack::Xl => tool.cmd(["create", file, &format!("name=\"{name}\"")]),
            Toolstack::Xm => tool.cmd(["create", file, &format!("name={name}")]),
            Toolstack::Virsh if self.config().is_some_and(|config| config.libvirt.is_some()) => {
                tool.cmd(["create", file])
            }
            // libvirt has a definition of its own.
            Toolstack::Virsh => tool.cmd(["start", name]),
        };
        self.begun.set(true);
        let until = Deadline::after(
            cx.left_or(Duration::from_secs(300)).saturating_sub(TAKE_BACK.min(cx.left_or(TAKE_BACK * 4) / 4)),
        );
        let said = cx
            .run_until(&cmd, until)
            .map_err(|fault| fault.context(format_args!("cannot create guest {name}")))?;
        if said.success() {
            if let Some(share) = share {
                let _ = toolstack::run(cx, &host.cmd(["mem-set", name, &share.to_string()]), cx.deadline());
            }
            return Ok(true);
        }
        let is_active = said.stderr_text().contains("already active");
        let is_there = is_active || said.stderr_text().contains("already exists");
        // libvirt says so, too, of one that it knows under another UUID and that does not run.
        if is_there && (tool != Toolstack::Virsh || self.look(cx)?.is_some_and(|sight| !sight.is_empty())) {
            self.begun.set(false);
            return Ok(false);
        }
        let failure = toolstack::failure(&said, &cmd);
        // It still receives, or thinks so; nothing but its end makes it forget.
        let advice = if is_active { "; it is not here: restart libvirtd, which has lost count" } else { "" };
        Err(Fault::generic(format!("cannot create guest {name}: {failure}{advice}")))
    }
}

/// It executes nothing any more, and nobody else can: it was not suspended for a migration.
fn is_corpse(domain: &Domain) -> bool {
    matches!(
        domain.condition,
        Condition::ShutDown(
            Reason::PowerOff
                | Reason::Reboot
                | Reason::Crash
                | Reason::Watchdog
                | Reason::SoftReset
                | Reason::Other(_)
        )
    )
}
