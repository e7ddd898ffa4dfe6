//! Grows a disk that is in use, through every layer from its paths up to the file system, without a moment of downtime.
//!
//! New: no upstream agent. Manual: multipathd(8), pvresize(8), lvextend(8), resize2fs(8), `xfs_growfs(8)`, btrfs-filesystem(8),
//! zpool-online(8).
//!
//! Invariants:
//! - Nothing is ever made smaller. A layout that is not recognised from bottom to top is not touched.
//! - What to do follows from what is seen, never from notes: after a crash at any point the same call goes on.
//! - A monitor starts no program (unless `auto` lets it grow something), and never fails: a size is no outage.

mod apply;
mod contents;
mod discover;
mod exports;
mod kernel;
mod metadata;
mod plan;
mod stack;
mod sysfs;
mod table;
mod zfs_label;

use apply::{apply, possible, prepare, programs};
use discover::discover;
use ocf_lib::resource::prelude::*;
use ocf_lib::resource::runfile::Lock;
use std::io::Write;
use sysfs::Host;

params! {
    struct Params {
        device: AbsolutePath => param("device").required().unique("device").short("The disk, by any of its layers")
            .long("A disk or one of its paths, a multipath map, a partition, a logical volume, or the mount point of the \
                file system: /dev/mapper/mpatha, /dev/sdb1, /srv/data. On a host with iSCSI targets also what a unit is \
                made of: a file, or one of these devices. The layers below and above are found."),
        extend_lv: bool => param("extend_lv").reloadable().short("Extend the logical volume")
            .long("The logical volume gets everything that its physical volume has free, and its file system grows with it. \
                Otherwise the growing ends with the physical volume.")
            .default("false"),
        auto: bool => param("auto").reloadable().short("Grow without being asked")
            .long("Start and every recurring monitor grow what can grow. Otherwise only 'multipath-resize apply' does.")
            .default("false"),
        report_mismatch: bool => param("report_mismatch").reloadable().short("Layers that disagree are degraded")
            .long("The monitor says degraded (190) while a layer is smaller than the one below it, or when that cannot be \
                found out. For Pacemaker 2.1.0 and later. Otherwise it says running, and the log has the reason.")
            .default("false"),
        state: AbsolutePath => param("state").unique("state").short("State file")
            .long("The file that exists while the resource runs.")
            .default_from(|env| default_state("multipath-resize", env)),
    }
}

struct Resize {
    params: Params,
    state: RunFile,
    host: Host,
}

impl Agent for Resize {
    type Params = Params;

    const SPEC: Spec = Spec::new("multipath-resize", "1.0")
        .short("Grows a disk in use through all of its layers")
        .long(
            "Watches whether the layers on a disk are as large as the disk: its paths, multipath map, partition (MBR, GPT), \
             LVM volumes and file system (ext3, ext4, xfs, btrfs) or ZFS pool, and grows them in order while they are in use. \
             On a host that exports disks it gives the units of LIO and tgtd the size of the file or device behind them; \
             the hosts that use them ask for it when this agent runs there. \
             'multipath-resize plan device=...' shows each layer with its size now and then, and changes nothing; \
             'multipath-resize apply device=...' grows, each step seen to work before the next. Both can be given by hand, and \
             answer in JSON with --json. \
             Nothing is made smaller, and nothing is touched that is not recognised as a whole.",
        )
        .needs_root()
        .actions(&[
            action(Verb::Start, 300),
            action(Verb::Stop, 20),
            action(Verb::Monitor, 300).every(60).depth(0),
            action(Verb::ReloadAgent, 20),
            action(Verb::ValidateAll, 20),
        ])
        .commands(&[
            Command { word: "plan", about: "shows each layer with its size now and then", timeout: 60 },
            Command { word: "apply", about: "grows every layer, one after the other", timeout: 86400 },
        ])
        .commands_in_json();

    fn new(params: Params, cx: &Cx) -> Self {
        let state = RunFile::new(params.state.0.clone());
        Self { params, state, host: Host::real(cx.env()) }
    }

    fn check_host(&self, cx: &Cx) -> Result<(), Fault> {
        self.state.check_writable()?;
        if cx.verb() == Verb::ReloadAgent {
            return Ok(());
        }
        // A layout that is not known is known so at once, and not when the disk has grown.
        let (stack, plan) = prepare(&self.host, &self.params.device.0, self.params.extend_lv)?;
        programs(&stack, self.params.extend_lv).into_iter().try_for_each(|program| cx.needs(program))?;
        possible(cx, &plan)
    }

    fn probe(&self, cx: &Cx) -> Result<State, Fault> {
        if !self.state.exists()? {
            return Ok(State::Stopped);
        }
        if cx.verb() != Verb::Monitor || cx.is_probe() {
            return Ok(State::Running);
        }
        Ok(match self.mismatch() {
            None => State::Running,
            Some(why) if self.params.report_mismatch => State::Degraded(why),
            Some(why) => {
                cx.warn(why);
                State::Running
            }
        })
    }

    /// Starting means to keep watch. It grows only with `auto`, because a cluster starts resources when nobody looks; and growing
    /// that fails fails no start, because what stands on the disk works as well as before.
    fn start(&self, cx: &Cx) -> Result<(), Fault> {
        self.grow_if_wanted(cx);
        self.state.write("")
    }

    fn stop(&self, _: &Cx, faults: &mut Faults) {
        faults.ok(self.state.remove());
    }

    fn reload_agent(&self, _: &Cx) -> Result<(), Fault> {
        // Every call reads its parameters: nothing to carry over.
        Ok(())
    }

    fn observed(&self, cx: &Cx, state: &State) {
        if cx.verb() == Verb::Monitor && !cx.is_probe() && state.is_running() {
            self.grow_if_wanted(cx);
        }
    }

    fn command(&self, cx: &Cx, word: &str, out: &mut dyn Write) -> Result<(), Fault> {
        let (device, extend) = (&self.params.device.0, self.params.extend_lv);
        if word == "plan" {
            let (_, plan) = prepare(&self.host, device, extend)?;
            if cx.wants_json() {
                writeln!(out, "{}", plan.as_json())?;
            } else {
                plan.describe(out)?;
            }
            return Ok(());
        }
        let _lock = lock(cx)?;
        let mut done = Vec::new();
        let ended = apply(cx, &self.host, device, extend, &mut |step| {
            if !cx.wants_json() {
                writeln!(out, "{step}")?;
            }
            done.push(step.to_string());
            Ok(())
        });
        if cx.wants_json() {
            let steps = serde_json::json!({"steps": done, "complete": ended.is_ok()});
            writeln!(out, "{steps}")?;
        } else if done.is_empty() && ended.is_ok() {
            writeln!(out, "nothing to do")?;
        }
        ended.map(drop)
    }
}

impl Resize {
    /// Why not everything is as large as it could be; `None` when it is.
    fn mismatch(&self) -> Option<String> {
        let seen = discover(&self.host, &self.params.device.0, self.params.extend_lv)
            .and_then(|stack| plan::plan(&stack, self.params.extend_lv));
        match seen {
            Ok(plan) => plan.mismatch(),
            Err(why) => Some(why.reason().to_owned()),
        }
    }

    fn grow_if_wanted(&self, cx: &Cx) {
        if !self.params.auto || self.mismatch().is_none() {
            return;
        }
        let mut say = |step: &plan::Step| {
            cx.info(step.to_string());
            Ok(())
        };
        let done = lock(cx)
            .and_then(|_lock| apply(cx, &self.host, &self.params.device.0, self.params.extend_lv, &mut say));
        if let Err(why) = done {
            cx.error(why.context("not grown").reason());
        }
    }
}

/// One at a time on this host, whatever it grows: two disks can be in one volume group.
fn lock(cx: &Cx) -> Result<Lock, Fault> {
    Lock::take(&cx.run_dir().join("multipath-resize.lock"), cx)
}

fn main() -> ExitCode {
    run::<Resize>()
}

#[cfg(test)]
mod tests;
