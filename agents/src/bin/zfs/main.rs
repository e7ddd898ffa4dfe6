//! A ZFS pool that is imported on one node at a time.
//!
//! Replaces `ocf:heartbeat:ZFS`, and the hooks of stmf-ha's original of it. Manual: zpool-import(8),
//! zpoolprops(7) on `multihost`, zfs(4) on `zfs_multihost_*`.
//!
//! Invariants:
//! - The state is read from the kernel's kstat file alone: `zpool` waits for a lock that a suspended pool holds.
//! - A pool that another host used last is taken by force only if that host is a node that the cluster has lost (and
//!   so has fenced), or the administrator says so. The pool's own protection (multihost) decides besides, always.
//! - A pool that a killed call is still importing is not called stopped: another node would import it, too.
//! - A pool that is imported is never called "not running", whatever state it is in.

mod last_user;
mod leftover;

use last_user::{last_host, last_use, same_host};
use ocf_lib::cmd::Cmd;
use ocf_lib::deadline::Deadline;
use ocf_lib::resource::cluster;
use ocf_lib::resource::param::{Content, FromParam};
use ocf_lib::resource::prelude::*;
use std::path::PathBuf;
use std::time::Duration;

/// A folder for each imported pool (`spa_stats.c`).
const KSTAT: &str = "/proc/spl/kstat/zfs";
/// `zfs-fuse` has no kstat; its daemon listens here.
const FUSE_SOCKET: &str = "/run/zfs/zfs_socket";
/// How `zpool` begins to say that the kernel has no ZFS (`libzfs_error_init`, 0.7 to 2.3).
const NO_MODULE: &str = "The ZFS modules";
/// A state that passes by itself (while vdevs are opened or a pool is exported) is looked at again for this long.
const SETTLES_IN: Duration = Duration::from_secs(3);
/// Time between two attempts to export a pool that is busy.
const EXPORT_PAUSE: Duration = Duration::from_secs(1);

params! {
    struct Params {
        pool: PoolName => param("pool").required().unique("pool").short("ZFS pool name")
            .long("Name of the pool, for example tank.").default(""),
        importargs: String => param("importargs").short("Import arguments")
            .long("Arguments of zpool import, separated by blanks: -d /dev/disk/by-id.").default(""),
        importforce: Option<bool> => param("importforce").short("Import by force")
            .long("Whether zpool import gets -f. True: always, also if another host that is alive may have the pool \
                imported: without the pool's property multihost that destroys it. False: never. Not set: only if the host \
                that used it last is a node which the cluster has lost, or which has found since that the pool is not there."),
        report_degraded: bool => param("report_degraded").reloadable().short("Tell the cluster that a pool is degraded")
            .long("A monitor of a pool that lacks a device answers 190 (degraded) instead of 0. For Pacemaker 2.1 and later.")
            .default("false"),
    }
}

/// zpoolconcepts(7): a letter, then letters, digits and `_ - : .` and blank. So it is no option and no path.
struct PoolName(String);

impl FromParam for PoolName {
    const CONTENT: Content = Content::String;

    fn from_param(text: &str) -> Result<Self, String> {
        let others = |c: char| c.is_ascii_alphanumeric() || "_-:. ".contains(c);
        if text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(others) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("'{text}' is not a name of a pool"))
        }
    }
}

struct Zfs {
    params: Params,
    kstat: PathBuf,
    fuse: PathBuf,
    proc: PathBuf,
}

impl Agent for Zfs {
    type Params = Params;

    const SPEC: Spec = Spec::new("ZFS", "1.0")
        .short("Manages ZFS pools")
        .long(
            "Imports a pool at start and exports it at stop. Monitor reads the pool's state from the kernel, and with \
             OCF_CHECK_LEVEL=10 proves that a write reaches the disks. Where several hosts see the disks, set the \
             pool's property multihost=on, and give start 90 seconds or more: the import then first watches the pool \
             for other users.",
        )
        .needs_root()
        .actions(&[
            action(Verb::Start, 120),
            action(Verb::Stop, 60),
            action(Verb::Monitor, 30).every(5).depth(0),
            action(Verb::Monitor, 60).every(120).depth(10),
            action(Verb::ReloadAgent, 20),
            action(Verb::ValidateAll, 60),
        ]);

    fn new(params: Params, _: &Cx) -> Self {
        Self { params, kstat: KSTAT.into(), fuse: FUSE_SOCKET.into(), proc: "/proc".into() }
    }

    fn check_host(&self, cx: &Cx) -> Result<(), Fault> {
        cx.needs("zpool")?;
        if cx.verb() == Verb::ValidateAll && self.state(cx)?.is_none() {
            return self.must_be_visible(cx);
        }
        Ok(())
    }

    fn probe(&self, cx: &Cx) -> Result<State, Fault> {
        let pool = &self.params.pool.0;
        let Some(state) = self.settled(cx)? else {
            // A recurring monitor is no answer to the question whether another node may have it.
            let asked = cx.is_probe() || cx.verb() != Verb::Monitor;
            return Ok(match asked.then(|| self.under_way()).flatten() {
                None => State::Stopped,
                Some(what) => State::Failed(what),
            });
        };
        Ok(match state.as_str() {
            "DEGRADED" if self.params.report_degraded => {
                State::Degraded(format!("pool {pool} lacks a device"))
            }
            "ONLINE" | "DEGRADED" => match self.written(cx) {
                Ok(()) => State::Running,
                Err(fault) => State::Failed(fault.reason().to_owned()),
            },
            "SUSPENDED" => {
                State::Failed(format!("{}: its disks do not answer, and writers wait", suspended(pool)))
            }
            "" => State::Failed(format!("pool {pool} is imported, and the kernel names no state of it")),
            other => State::Failed(format!("pool {pool} is imported, and {other}")),
        })
    }

    fn start(&self, cx: &Cx) -> Result<(), Fault> {
        self.wait_for_leftover(cx);
        if self.state(cx)?.is_some() {
            // The zpool that would have mounted its file systems was killed.
            self.export(cx)?;
        }
        self.hook(cx, "pre-import");
        self.import(cx)?;
        self.hook(cx, "post-import");
        Ok(())
    }

    fn stop(&self, cx: &Cx, faults: &mut Faults) {
        self.wait_for_leftover(cx);
        let Some(state) = faults.ok(self.state(cx)).flatten() else { return };
        let pool = &self.params.pool.0;
        if state == "SUSPENDED" {
            // The export would wait in the kernel for ever, and every later zpool behind it.
            let what = format!(
                "{} and cannot be exported: mend its disks and run 'zpool clear {pool}', or let this node be fenced",
                suspended(pool)
            );
            return faults.note(Fault::generic(what));
        }
        self.hook(cx, "pre-export");
        if faults.ok(self.export(cx)).is_some() {
            self.hook(cx, "post-export");
        }
    }

    fn reload_agent(&self, _: &Cx) -> Result<(), Fault> {
        Ok(())
    }
}

/// Leaves a quarter of the action's time. A host whose pool has lost its disks can be slow beyond measure: the kernel tries
/// the same writes millions of times (seen with 2.3.2).
fn time_to_speak(cx: &Cx) -> Deadline {
    Deadline::after(cx.left_or(Duration::from_secs(60)) / 4 * 3)
}

fn suspended(pool: &str) -> String {
    format!("pool {pool} is suspended")
}

impl Zfs {
    /// The kernel's word for the state of the pool; `None`: it is not imported.
    fn state(&self, cx: &Cx) -> Result<Option<String>, Fault> {
        let pool = &self.params.pool.0;
        if !self.kstat.is_dir() {
            // Without the module, or the other implementation's daemon, nothing can be imported. Asking zpool would
            // load the module.
            return if self.fuse.exists() { self.state_by_tool(cx) } else { Ok(None) };
        }
        let folder = self.kstat.join(pool);
        match std::fs::read_to_string(folder.join("state")) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(_) if !folder.is_dir() => Ok(None),
            // Before OpenZFS 0.8 there is no such file.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => self.state_by_tool(cx),
            Err(error) => {
                Err(Fault::from(error).context(format_args!("cannot read the state of pool {pool}")))
            }
        }
    }

    /// The import that a call which was killed has left, if it is not over.
    fn under_way(&self) -> Option<String> {
        let pool = &self.params.pool.0;
        let pid = leftover::import_under_way(&self.proc, pool)?;
        Some(format!("an import of pool {pool} is under way (process {pid})"))
    }

    fn wait_for_leftover(&self, cx: &Cx) {
        let mut told = false;
        while let Some(what) = self.under_way().filter(|_| !cx.expired()) {
            if !told {
                cx.warn(format!("{what}: waiting for its end"));
                told = true;
            }
            cx.sleep(Duration::from_millis(100));
        }
    }

    fn state_by_tool(&self, cx: &Cx) -> Result<Option<String>, Fault> {
        let list = Cmd::new("zpool").args(["list", "-H", "-o", "health", &self.params.pool.0]);
        let said = cx.run(&list)?;
        if said.success() {
            Ok(Some(said.stdout_text().trim().to_owned()))
        } else if said.stderr_text().contains("no such pool") {
            Ok(None)
        } else {
            Err(Fault::generic(said.failure(&list)))
        }
    }

    /// The state after it has stopped to change: a pool whose devices are being opened is OFFLINE or UNAVAIL for a
    /// moment (resource-agents 2206, 2213), and one that is being exported has none.
    fn settled(&self, cx: &Cx) -> Result<Option<String>, Fault> {
        let mut left = cx.left_or(SETTLES_IN * 2) / 2;
        left = left.min(SETTLES_IN);
        let mut pause = Duration::from_millis(20);
        loop {
            let state = self.state(cx)?;
            let passes = state.as_deref().is_some_and(|state| matches!(state, "" | "OFFLINE" | "UNAVAIL"));
            if !passes || left.is_zero() {
                return Ok(state);
            }
            cx.sleep(pause.min(left));
            left = left.saturating_sub(pause);
            pause = (pause * 2).min(Duration::from_millis(250));
        }
    }

    /// With check level 10: a write reaches the disks. A pool whose only disk is gone can go on saying ONLINE while its
    /// writers hang. With `-f` the labels are written; without, a pool that has nothing to write answers at once, also
    /// when its disks hang (`zfs_ioc_pool_sync`, 0.7 to 2.3).
    fn written(&self, cx: &Cx) -> Result<(), Fault> {
        if cx.verb() != Verb::Monitor || cx.check_level() < 10 {
            return Ok(());
        }
        let pool = &self.params.pool.0;
        let sync = Cmd::new("zpool").args(["sync", "-f", pool]);
        cx.run_checked_until(&sync, time_to_speak(cx))
            .map(drop)
            .map_err(|fault| fault.context(format_args!("a write to pool {pool} did not reach its disks")))
    }

    fn import(&self, cx: &Cx) -> Result<(), Fault> {
        let pool = &self.params.pool.0;
        let failed = |why: String| Fault::generic(format!("cannot import pool {pool}: {why}"));
        if self.params.importforce == Some(true) {
            return self.try_import(cx, true)?.map_err(failed);
        }
        // Before the import, which watches a pool with multihost for half a minute: the owner that was fenced may be back by
        // then, without the pool.
        let nodes = if self.params.importforce.is_none() { cluster::nodes(cx) } else { Ok(Vec::new()) };
        let Err(why) = self.try_import(cx, false)? else { return Ok(()) };
        let Some(host) = last_host(&why).filter(|_| self.params.importforce.is_none()) else {
            return Err(failed(why));
        };
        let refused = |because: &str| {
            Fault::generic(format!(
                "pool {pool} was used last by host {host}, {because}: export it there, or see that {host} is down and \
                 run 'zpool import -f {pool}' (or set importforce=true)"
            ))
        };
        let nodes =
            nodes.map_err(|fault| refused(&format!("and the cluster cannot be asked about it ({fault})")))?;
        let own = same_host(&host, &cluster::node_name(cx));
        match nodes.iter().find(|node| same_host(&node.name, &host)) {
            _ if own => {}
            Some(node) if !node.member => {}
            Some(node) if has_left(cx, &node.name, &why) => {}
            Some(_) => return Err(refused("which is alive")),
            None => return Err(refused("which is no node of this cluster and may be alive")),
        }
        cx.warn(format!(
            "pool {pool} was used last by host {host}, which has it no more (or is this one): taking it by force"
        ));
        self.try_import(cx, true)?.map_err(failed)
    }

    /// `Err` in the result: what zpool said.
    fn try_import(&self, cx: &Cx, force: bool) -> Result<Result<(), String>, Fault> {
        let import = Cmd::new("zpool")
            .arg("import")
            .args(force.then_some("-f"))
            .args(self.params.importargs.split_whitespace())
            // Else this host imports it at its next boot, when another one may have it.
            .args(["-o", "cachefile=none", &self.params.pool.0])
            // For the time of the last use in its words.
            .env("TZ", "UTC0");
        let said = cx.run(&import)?;
        let told = said.stderr_text().lines().map(str::trim).collect::<Vec<_>>().join(" ");
        if !said.success() && told.contains(NO_MODULE) {
            // Another node may have it, and trying again here is useless.
            return Err(Fault::installed(format!("cannot import pool {}: {told}", self.params.pool.0)));
        }
        Ok(if said.success() { Ok(()) } else { Err(told) })
    }

    fn export(&self, cx: &Cx) -> Result<(), Fault> {
        let export = Cmd::new("zpool").args(["export", "-f", &self.params.pool.0]);
        // Half of the time: what uses a dataset is often about to end, and the rest is for saying why it does not.
        let mut left = cx.left_or(Duration::from_secs(60)) / 2;
        let deadline = time_to_speak(cx);
        loop {
            let said = cx.run_until(&export, deadline)?;
            if said.success() || self.state(cx)?.is_none() {
                return Ok(());
            }
            if left.is_zero() || cx.expired() || !said.stderr_text().contains("busy") {
                return Err(Fault::generic(said.failure(&export)));
            }
            cx.sleep(EXPORT_PAUSE);
            left = left.saturating_sub(EXPORT_PAUSE);
        }
    }

    /// A scan for the pool, as zpool-import(8) does it without a name.
    fn must_be_visible(&self, cx: &Cx) -> Result<(), Fault> {
        let scan = Cmd::new("zpool").arg("import").args(self.params.importargs.split_whitespace());
        let said = cx.run_checked(&scan)?.stdout_text();
        let pool = &self.params.pool.0;
        if said.lines().any(|line| line.trim_start().strip_prefix("pool: ") == Some(pool)) {
            Ok(())
        } else {
            Err(Fault::args(format!("no pool {pool} is imported or can be imported here")))
        }
    }

    /// The script that stmf-ha's agent calls around import and export; its result changes nothing.
    fn hook(&self, cx: &Cx, when: &str) {
        let root = cx.env().get_nonempty("OCF_ROOT").unwrap_or("/usr/lib/ocf");
        let script = PathBuf::from(root).join("lib/heartbeat/helpers/zfs-helper");
        if cx.has(&script) {
            let hook = Cmd::new(&script).args([when, &self.params.pool.0]);
            if let Err(fault) = cx.run_checked(&hook) {
                cx.warn(fault.context(format_args!("hook {when}")).reason());
            }
        }
    }
}

/// A node that is alive and does not have the pool any more, as after a power failure of the whole cluster: its own probe
/// has found nothing, later than the pool was last used there. Both times are of that node's clock.
fn has_left(cx: &Cx, node: &str, why: &str) -> bool {
    let absent = cluster::absent_since(cx, node).unwrap_or_else(|fault| {
        cx.warn(fault.context(format_args!("cannot ask the cluster about node {node}")).reason());
        None
    });
    absent.is_some_and(|since| last_use(why).is_some_and(|used| used < since))
}

fn main() -> ExitCode {
    run::<Zfs>()
}

#[cfg(test)]
mod tests;
