//! Carries the steps out, one at a time: after each one everything is looked at anew, and the next step is what follows from that.

use crate::discover::{discover, read_table};
use crate::plan::{Plan, Step, plan};
use crate::stack::{Export, Exporter, FsKind, Stack};
use crate::sysfs::Host;
use crate::{exports, kernel};
use ocf_lib::cmd::Cmd;
use ocf_lib::resource::code::Fault;
use ocf_lib::resource::context::Cx;
use ringfence_agents::iscsi::{lio, tgt};
use std::fs::File;
use std::path::Path;
use std::time::Duration;

/// More steps than any stack has: each path once, then a handful.
const MOST: usize = 64;
/// How often and how long a step's effect is looked for: 10 s, for udev and multipathd work behind our back.
const LOOKS: usize = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// Everything is seen and planned for the device.
pub fn prepare(host: &Host, device: &Path, extend: bool) -> Result<(Stack, Plan), Fault> {
    let stack = discover(host, device, extend)?;
    let plan = plan(&stack, extend)?;
    Ok((stack, plan))
}

/// The program that a step needs.
fn program(step: &Step) -> Option<&'static str> {
    match step {
        Step::Rescan { .. }
        | Step::Table { .. }
        | Step::Partition { label: None, .. }
        | Step::Export { .. } => None,
        Step::Vdev { .. } => Some("zpool"),
        Step::Map { .. } => Some("multipathd"),
        Step::Partition { .. } => Some("dmsetup"),
        Step::Pv { .. } => Some("pvresize"),
        Step::Lv { .. } => Some("lvextend"),
        Step::Refresh { .. } => Some("lvchange"),
        Step::Fs(fs) => Some(grower(fs.kind)),
    }
}

/// The programs that growing the stack will take one day.
pub fn programs(stack: &Stack, extend: bool) -> Vec<&'static str> {
    let fs = stack.fs.as_ref().map(|fs| grower(fs.kind));
    let all = [
        stack.map.as_ref().map(|_| "multipathd"),
        stack.part.as_ref().and_then(|part| part.label.as_ref()).map(|_| "dmsetup"),
        stack.pv.as_ref().map(|_| "pvresize"),
        stack.lv.as_ref().filter(|_| extend).map(|_| "lvextend"),
        fs,
        stack.vdev.as_ref().map(|_| "zpool"),
    ];
    all.into_iter().flatten().collect()
}

fn grower(kind: FsKind) -> &'static str {
    match kind {
        FsKind::Ext => "resize2fs",
        FsKind::Xfs => "xfs_growfs",
        FsKind::Btrfs => "btrfs",
    }
}

/// Every step has what it needs.
pub fn possible(cx: &Cx, plan: &Plan) -> Result<(), Fault> {
    for step in &plan.steps {
        if let Some(program) = program(step) {
            cx.needs(program)?;
        }
        if let Step::Export { export: Export { by: Exporter::Tgt { store, .. }, path, .. }, .. } = step {
            tgt::check_growing(store, path)?;
        }
    }
    Ok(())
}

/// Grows what can grow; returns how many steps it took. `say` hears of each one before it is done.
pub fn apply(
    cx: &Cx,
    host: &Host,
    device: &Path,
    extend: bool,
    say: &mut dyn FnMut(&Step) -> Result<(), Fault>,
) -> Result<usize, Fault> {
    let (_, mut plan) = prepare(host, device, extend)?;
    // Half a stack that has grown is no better than none: what is missing is said before anything is done.
    possible(cx, &plan)?;
    for count in 0..MOST {
        let Some(step) = plan.steps.first().cloned() else { return Ok(count) };
        say(&step)?;
        carry_out(cx, host, &step).map_err(|why| why.context(&step))?;
        plan = seen(cx, host, device, extend, &step)?;
    }
    Err(Fault::generic(format!("{MOST} steps and no end: something undoes them")))
}

/// Waits until the step is no longer the next one.
fn seen(cx: &Cx, host: &Host, device: &Path, extend: bool, step: &Step) -> Result<Plan, Fault> {
    for _ in 0..LOOKS {
        let (_, plan) = prepare(host, device, extend)?;
        if plan.steps.first() != Some(step) {
            return Ok(plan);
        }
        if cx.expired() {
            break;
        }
        cx.sleep(PAUSE);
    }
    Err(Fault::generic(format!("{step}: done, but its effect is not seen")))
}

fn carry_out(cx: &Cx, host: &Host, step: &Step) -> Result<(), Fault> {
    let node = |name: &str| host.public_node(name).into_os_string();
    let run = |cmd: Cmd| cx.run_checked(&cmd).map(drop);
    match step {
        Step::Rescan { path } => {
            let rescan = host.folder(path).join("device/rescan");
            std::fs::write(&rescan, "1\n")
                .map_err(|why| Fault::from(why).context(format_args!("cannot write {}", rescan.display())))
        }
        Step::Map { label } => {
            let answer = cx.run_checked(&Cmd::new("multipathd").args(["resize", "map", label]))?;
            // It exits with 0 whatever it answers, in most versions.
            let said = answer.stdout_text();
            if said.trim() == "ok" {
                return Ok(());
            }
            Err(Fault::generic(format!("multipathd says '{}': see its log", said.trim())))
        }
        Step::Table { disk, number, bytes, .. } => {
            let _lock = lock(cx, host, disk)?;
            let (disk, table) = read_table(host, disk, true)?;
            table.grow(*number, *bytes, disk.bytes)?.iter().try_for_each(|sectors| disk.write(sectors))
        }
        Step::Partition { disk, number, label: None, start, bytes, .. } => {
            kernel::resize_partition(&host.open(disk)?, *number, *start, *bytes)
                .map_err(|why| Fault::from(why).context("the kernel refuses the new size"))
        }
        Step::Partition { disk, label: Some(label), start, bytes, .. } => {
            map_partition(cx, host, disk, label, *start, *bytes)
        }
        Step::Pv { name } => run(Cmd::new("pvresize").arg("-q").arg(node(name))),
        Step::Lv { group, volume, extents, pv } => {
            let size = extents.to_string();
            run(Cmd::new("lvextend").args(["-q", "-l", &size, &format!("{group}/{volume}")]).arg(node(pv)))
        }
        Step::Refresh { group, volume } => {
            run(Cmd::new("lvchange").args(["--refresh", &format!("{group}/{volume}")]))
        }
        Step::Vdev { pool, path, .. } => run(Cmd::new("zpool").args(["online", "-e", pool, path])),
        Step::Export { export, bytes } => match &export.by {
            Exporter::Lio(place) => lio::grow(&exports::tree(host), place, &export.path, *bytes),
            Exporter::Tgt { target, number, .. } => tgt::grow(&host.tgtd, target, *number, cx),
        },
        Step::Fs(fs) => {
            let mount = fs.mount.clone().unwrap_or_default();
            run(match fs.kind {
                FsKind::Ext => Cmd::new("resize2fs").arg(node(&fs.name)),
                FsKind::Xfs => Cmd::new("xfs_growfs").arg("-d").arg(mount),
                FsKind::Btrfs => {
                    Cmd::new("btrfs").args(["filesystem", "resize", &format!("{}:max", fs.devid)]).arg(mount)
                }
            })
        }
    }
}

/// udev leaves a disk alone while somebody has it locked (systemd.io, "Locking Block Device Access").
fn lock(cx: &Cx, host: &Host, disk: &str) -> Result<nix::fcntl::Flock<File>, Fault> {
    let mut file = host.open(disk)?;
    for _ in 0..LOOKS {
        match nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock) {
            Ok(held) => return Ok(held),
            Err((back, _)) => file = back,
        }
        if cx.expired() {
            break;
        }
        cx.sleep(PAUSE);
    }
    Err(Fault::generic(format!("{disk} is locked by another program")))
}

/// A partition of a multipath map is a linear map of its own. It is given its new length under the name that it has: kpartx would
/// rename it when its idea of the name is another one.
fn map_partition(cx: &Cx, host: &Host, disk: &str, label: &str, start: u64, bytes: u64) -> Result<(), Fault> {
    let number = host.attribute(disk, "dev").unwrap_or_default();
    let line = |bytes: u64| format!("0 {} linear {number} {}", bytes / 512, start / 512);
    let now = cx.run_checked(&Cmd::new("dmsetup").args(["table", label]))?.stdout_text();
    let now = now.trim();
    let new = line(bytes);
    if now == new {
        // udev's rule was faster.
        return Ok(());
    }
    let mut words = now.split(' ');
    let length = words.nth(1).and_then(|length| length.parse::<u64>().ok()).unwrap_or(0);
    if now != line(length * 512) {
        return Err(Fault::generic(format!(
            "map {label} is '{now}', not the partition as in the table at {start}"
        )));
    }
    cx.run_checked(&Cmd::new("dmsetup").args(["reload", label, "--table", &new]))?;
    // Neither flushed nor frozen: a linear map that only gets longer has nothing to lose.
    cx.run_checked(&Cmd::new("dmsetup").args(["resume", "--noflush", "--nolockfs", label])).map(drop)
}
