//! A ZFS pool that is imported on one node at a time.
//!
//! Replaces `ocf:heartbeat:ZFS`, and the hooks of stmf-ha's original of it. Manual: zpool-import(8),
//! zpoolprops(7) on `multihost`, zfs(4) on `zfs_multihost_*`.
//!
//! Invariants:
//! - The state is read from the kernel's kstat file alone: `zpool` waits for a lock that a suspended pool holds.
//! - A pool that another host used last is taken by force only if that host is a node that the cluster has lost (and
//!   so has fenced), or the administrator says so. The pool's own protection (multihost) decides besides, always.
//! - A pool that is imported is never called "not running", whatever state it is in.

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
                that used it last is a node which the cluster has lost."),
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
        Self { params, kstat: KSTAT.into(), fuse: FUSE_SOCKET.into() }
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
        let Some(state) = self.settled(cx)? else { return Ok(State::Stopped) };
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
        self.hook(cx, "pre-import");
        self.import(cx)?;
        self.hook(cx, "post-import");
        Ok(())
    }

    fn stop(&self, cx: &Cx, faults: &mut Faults) {
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
            Some(node) if self.has_left(cx, &node.name, &why) => {}
            Some(_) => return Err(refused("which is alive")),
            None => return Err(refused("which is no node of this cluster and may be alive")),
        }
        cx.warn(format!(
            "pool {pool} was used last by host {host}, which has it no more (or is this one): taking it by force"
        ));
        self.try_import(cx, true)?.map_err(failed)
    }

    /// A node that is alive and does not have the pool any more, as after a power failure of the whole cluster: its own probe
    /// has found nothing, later than the pool was last used there. Both times are of that node's clock.
    fn has_left(&self, cx: &Cx, node: &str, why: &str) -> bool {
        let absent = cluster::absent_since(cx, node).unwrap_or_else(|fault| {
            cx.warn(fault.context(format_args!("cannot ask the cluster about node {node}")).reason());
            None
        });
        absent.is_some_and(|since| last_use(why).is_some_and(|used| used < since))
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

/// The host in `Last accessed by za (hostid=11111111) at ...` (versions 0.7 to 2.3).
fn last_host(said: &str) -> Option<String> {
    let name = said.split("ast accessed by ").nth(1)?.split_whitespace().next()?;
    Some(name.to_owned())
}

/// The time behind it, as `ctime(3)` writes it, in seconds since 1970.
fn last_use(said: &str) -> Option<u64> {
    let after = said.split("ast accessed by ").nth(1)?.split_once(") at ")?.1;
    let mut words = after.split_whitespace().skip(1);
    let month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (name, day, clock) = (words.next()?, words.next()?.parse::<u64>().ok()?, words.next()?);
    let year = words.next()?.parse::<u64>().ok().filter(|year| *year >= 1970)?;
    let month = (1_u64..).zip(month).find(|(_, known)| *known == name)?.0;
    let mut clock = clock.split(':').map(|number| number.parse::<u64>().ok());
    let seconds = (clock.next()?? * 60 + clock.next()??) * 60 + clock.next()??;
    // Days before a date of the Gregorian calendar, with years that begin in March: leap days are then at their ends.
    let (years, months) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = years * 365 + years / 4 - years / 100 + years / 400 + (months * 153 + 2) / 5 + day;
    // 719469: the same sum for 1970-01-01.
    Some(days.checked_sub(719_469)? * 86_400 + seconds)
}

/// Node names and host names may have a domain behind them, or not.
fn same_host(one: &str, other: &str) -> bool {
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_lowercase();
    short(one) == short(other)
}

fn main() -> ExitCode {
    run::<Zfs>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocf_lib::resource::testkit::{Bench, Commands};
    use std::path::Path;

    // Standard error of zpool 2.3.2, as recorded.
    const USED_ELSEWHERE: &str = "cannot import 'tank': pool was previously in use from another system.\n\
        Last accessed by za (hostid=11111111) at Sat Nov 21 00:56:25 2026\n\
        The pool can be imported, use 'zpool import -f' to import the pool.\n";
    const ACTIVE_ELSEWHERE: &str = "cannot import 'tank': pool is imported on za (hostid: 0x11111111)\n\
        Export the pool on the other system, then run 'zpool import'.\n";
    const BUSY: &str = "cannot unmount '/tank/data': pool or dataset is busy\n";
    const SCAN: &str = "   pool: tank\n     id: 14203118064084987936\n  state: ONLINE\n";

    fn agent(root: &Path, importforce: Option<bool>) -> Zfs {
        let pool = PoolName("tank".to_owned());
        let params = Params { pool, importargs: "-d /dev".to_owned(), importforce, report_degraded: false };
        Zfs { params, kstat: root.join("kstat"), fuse: root.join("none") }
    }

    fn kernel_says(root: &Path, state: &str) {
        let folder = root.join("kstat/tank");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("state"), format!("{state}\n")).unwrap();
    }

    fn probed(state: &str) -> State {
        let root = tempfile::tempdir().unwrap();
        kernel_says(root.path(), state);
        agent(root.path(), None).probe(&Bench::new("ZFS", Verb::Monitor).into_cx()).unwrap()
    }

    #[test]
    fn an_imported_pool_is_never_called_stopped() {
        assert_eq!(probed("ONLINE"), State::Running);
        assert_eq!(probed("DEGRADED"), State::Running);
        for state in ["SUSPENDED", "FAULTED", "UNAVAIL", "OFFLINE", "", "SOMETHING"] {
            assert!(matches!(probed(state), State::Failed(_)), "{state}: {:?}", probed(state));
        }
    }

    #[test]
    fn a_pool_without_kstat_is_stopped_and_no_tool_is_asked() {
        let root = tempfile::tempdir().unwrap();
        let bench = Bench::new("ZFS", Verb::Monitor);
        let commands = bench.commands();
        let cx = bench.into_cx();
        assert_eq!(agent(root.path(), None).probe(&cx), Ok(State::Stopped));
        std::fs::create_dir_all(root.path().join("kstat/tank2")).unwrap();
        assert_eq!(agent(root.path(), None).probe(&cx), Ok(State::Stopped));
        assert!(commands.borrow().is_empty());
    }

    /// resource-agents 2206, 2213: a healthy pool failed its monitor while its devices were being opened.
    #[test]
    fn a_passing_state_is_waited_for() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("kstat/tank")).unwrap();
        let probe = |states: &[&str]| {
            let bench = Bench::new("ZFS", Verb::Monitor);
            let bench = states.iter().fold(bench, |bench, state| bench.answer("zpool", 0, state, ""));
            agent(root.path(), None).probe(&bench.into_cx()).unwrap()
        };
        assert_eq!(probe(&["OFFLINE\n", "UNAVAIL\n", "", "ONLINE\n"]), State::Running);
        assert!(matches!(probe(&["OFFLINE\n"; 100]), State::Failed(_)), "but not for ever");
    }

    #[test]
    fn zfs_fuse_is_asked_through_its_tool() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("socket"), "").unwrap();
        let agent = Zfs { fuse: root.path().join("socket"), ..agent(root.path(), None) };
        let probe = |code, out, err| {
            agent.probe(&Bench::new("ZFS", Verb::Monitor).answer("zpool", code, out, err).into_cx())
        };
        assert_eq!(probe(0, "ONLINE\n", ""), Ok(State::Running));
        assert_eq!(probe(1, "", "cannot open 'tank': no such pool\n"), Ok(State::Stopped));
        assert!(probe(1, "", "internal error: out of memory\n").is_err());
    }

    #[test]
    fn check_level_10_proves_a_write() {
        let root = tempfile::tempdir().unwrap();
        kernel_says(root.path(), "ONLINE");
        let probe = |code, err| {
            let bench =
                Bench::new("ZFS", Verb::Monitor).set("OCF_CHECK_LEVEL", "10").answer("zpool", code, "", err);
            let commands = bench.commands();
            (agent(root.path(), None).probe(&bench.into_cx()).unwrap(), commands.borrow().join(";"))
        };
        assert_eq!(probe(0, ""), (State::Running, "zpool sync -f tank".to_owned()));
        let State::Failed(why) = probe(1, "cannot sync").0 else { panic!("not failed") };
        assert_eq!(why, "a write to pool tank did not reach its disks: zpool exited 1: cannot sync");
    }

    /// The result of start and what was run for it.
    fn started(
        force: Option<bool>,
        answers: &[(&str, i32, &str, &str)],
    ) -> (Result<(), String>, Vec<String>) {
        let root = tempfile::tempdir().unwrap();
        let bench = Bench::new("ZFS", Verb::Start)
            .set("OCF_ROOT", "/nonexistent")
            .set("OCF_RESKEY_CRM_meta_on_node", "zb");
        let bench =
            answers.iter().fold(bench, |bench, (tool, code, out, err)| bench.answer(tool, *code, out, err));
        let commands: Commands = bench.commands();
        let result =
            agent(root.path(), force).start(&bench.into_cx()).map_err(|fault| fault.reason().to_owned());
        let ran = commands.borrow().clone();
        (result, ran)
    }

    const PLAIN: &str = "zpool import -d /dev -o cachefile=none tank";
    const FORCED: &str = "zpool import -f -d /dev -o cachefile=none tank";

    #[test]
    fn a_pool_that_was_exported_needs_no_force() {
        assert_eq!(started(Some(false), &[("zpool", 0, "", "")]), (Ok(()), vec![PLAIN.to_owned()]));
        let nodes = ("crm_node", 0, "2 zb member\n", "");
        let (result, ran) = started(None, &[nodes, ("zpool", 0, "", "")]);
        assert_eq!((result, ran), (Ok(()), vec!["crm_node -l".to_owned(), PLAIN.to_owned()]));
        assert_eq!(started(Some(true), &[("zpool", 0, "", "")]), (Ok(()), vec![FORCED.to_owned()]));
    }

    #[test]
    fn the_pool_of_a_lost_node_is_taken_and_that_of_a_living_or_unknown_host_is_not() {
        let nodes = |list: &'static str| {
            [("zpool", 1, "", USED_ELSEWHERE), ("crm_node", 0, list, ""), ("zpool", 0, "", "")]
        };
        let (result, ran) = started(None, &nodes("1 za.example.com lost\n2 zb member\n"));
        assert_eq!(
            (result, ran),
            (Ok(()), vec!["crm_node -l".to_owned(), PLAIN.to_owned(), FORCED.to_owned()]),
            "the cluster is asked first: the watch of multihost takes longer than the boot of the one that was fenced"
        );
        for (list, because) in [
            ("1 za member\n2 zb member\n", "which is alive"),
            ("1 zc lost\n2 zb member\n", "which is no node of this cluster and may be alive"),
        ] {
            let (result, ran) = started(None, &nodes(list));
            let why = result.unwrap_err();
            assert!(why.starts_with(&format!("pool tank was used last by host za, {because}: ")), "{why}");
            assert!(!ran.contains(&FORCED.to_owned()), "{ran:?}");
        }
    }

    #[test]
    fn without_a_cluster_only_the_administrator_says_force() {
        let (result, ran) = started(None, &[("zpool", 1, "", USED_ELSEWHERE)]);
        assert!(result.unwrap_err().contains("crm_node is not installed"));
        assert_eq!(ran.len(), 2);
        let (result, ran) = started(Some(false), &[("zpool", 1, "", USED_ELSEWHERE)]);
        assert!(
            result
                .unwrap_err()
                .starts_with("cannot import pool tank: cannot import 'tank': pool was previously")
        );
        assert_eq!(ran, [PLAIN]);
    }

    #[test]
    fn multihost_decides_besides() {
        let (result, ran) = started(None, &[("zpool", 1, "", ACTIVE_ELSEWHERE)]);
        assert!(result.unwrap_err().contains("pool is imported on za"));
        assert!(!ran.contains(&FORCED.to_owned()), "{ran:?}");
        let (result, _) = started(Some(true), &[("zpool", 1, "", ACTIVE_ELSEWHERE)]);
        assert!(result.is_err());
    }

    /// As zpool 2.3.2 says it on a kernel without the module.
    #[test]
    fn a_kernel_without_zfs_is_a_matter_of_installation() {
        let root = tempfile::tempdir().unwrap();
        let said = "The ZFS modules cannot be auto-loaded.\nTry running 'modprobe zfs' as root to manually load them.\n";
        let bench =
            Bench::new("ZFS", Verb::Start).set("OCF_ROOT", "/nonexistent").answer("zpool", 1, "", said);
        let fault = agent(root.path(), Some(false)).start(&bench.into_cx()).unwrap_err();
        assert_eq!(fault.kind(), ocf_lib::resource::code::Kind::Installed);
        assert!(fault.reason().contains("modprobe zfs"), "{}", fault.reason());
    }

    #[test]
    fn what_the_own_host_used_last_is_its_own() {
        let own = USED_ELSEWHERE.replace("za", "zb");
        let answers =
            [("zpool", 1, "", own.as_str()), ("crm_node", 0, "2 zb member\n", ""), ("zpool", 0, "", "")];
        assert_eq!(started(None, &answers).0, Ok(()));
    }

    /// What stop noted, and what was run for it. The pool stays as it is: nobody answers the export by doing it.
    fn stopped(state: &str, answers: &[(i32, &str)]) -> (Vec<String>, Vec<String>) {
        let root = tempfile::tempdir().unwrap();
        kernel_says(root.path(), state);
        let bench = Bench::new("ZFS", Verb::Stop).set("OCF_ROOT", "/nonexistent");
        let bench = answers.iter().fold(bench, |bench, (code, err)| bench.answer("zpool", *code, "", err));
        let commands = bench.commands();
        let mut faults = Faults::default();
        agent(root.path(), None).stop(&bench.into_cx(), &mut faults);
        let ran = commands.borrow().clone();
        (faults.as_slice().iter().map(|fault| fault.reason().to_owned()).collect(), ran)
    }

    #[test]
    fn a_suspended_pool_fails_the_stop_at_once() {
        let (faults, ran) = stopped("SUSPENDED", &[]);
        assert!(faults[0].starts_with("pool tank is suspended and cannot be exported"), "{faults:?}");
        assert!(ran.is_empty());
    }

    #[test]
    fn a_busy_pool_is_tried_again_for_half_of_the_time() {
        let (faults, ran) = stopped("ONLINE", &[(1, BUSY), (1, BUSY), (0, "")]);
        assert_eq!((faults, ran.len()), (vec![], 3));
        let (faults, ran) = stopped("ONLINE", &[(1, BUSY); 30]);
        assert_eq!(faults, ["zpool exited 1: cannot unmount '/tank/data': pool or dataset is busy"]);
        assert_eq!(ran.len(), 11, "20 s of time");
        let (faults, ran) = stopped("ONLINE", &[(1, "cannot export 'tank': permission denied")]);
        assert_eq!((faults.len(), ran.len()), (1, 1));
    }

    #[test]
    fn a_scan_finds_the_pool_by_its_whole_name() {
        let root = tempfile::tempdir().unwrap();
        let seen = |list: &str| {
            let cx = Bench::new("ZFS", Verb::ValidateAll).answer("zpool", 0, list, "").into_cx();
            agent(root.path(), None).must_be_visible(&cx).map_err(|fault| fault.reason().to_owned())
        };
        assert_eq!(seen(SCAN), Ok(()));
        for list in ["", "   pool: tank2\n", "   pool: tan\n"] {
            assert_eq!(seen(list).unwrap_err(), "no pool tank is imported or can be imported here");
        }
    }

    #[test]
    fn names_that_are_no_pools() {
        for name in ["-f", "../x", "1tank", "a/b", "", "tank\n"] {
            assert!(PoolName::from_param(name).is_err(), "{name}");
        }
        assert!(PoolName::from_param("tank-1.a_b:c").is_ok());
    }

    /// After a power failure of all nodes the cluster may want the pool on another one than before.
    #[test]
    fn the_pool_of_a_living_node_is_taken_if_that_node_has_seen_since_that_it_does_not_have_it() {
        let probed = |at: u64| {
            format!(
                "<lrm_resource id=\"p\"><lrm_rsc_op operation=\"monitor\" call-id=\"5\" rc-code=\"7\" op-status=\"0\" \
                 interval=\"0\" last-rc-change=\"{at}\"/></lrm_resource>"
            )
        };
        let used = last_use(USED_ELSEWHERE).unwrap();
        let begun = |at: u64| {
            let probed = probed(at);
            let alive = ("crm_node", 0, "1 za member\n2 zb member\n", "");
            started(
                None,
                &[
                    ("zpool", 1, "", USED_ELSEWHERE),
                    alive,
                    ("cibadmin", 0, &probed, ""),
                    ("zpool", 0, "", ""),
                ],
            )
        };
        let (result, ran) = begun(used + 1);
        assert_eq!(result, Ok(()));
        assert_eq!(ran.last().unwrap(), FORCED);
        for at in [used, used - 100] {
            let (result, ran) = begun(at);
            assert!(result.unwrap_err().contains("which is alive"), "it was used after the probe");
            assert!(!ran.contains(&FORCED.to_owned()), "{ran:?}");
        }
    }

    #[test]
    fn the_time_of_the_last_use() {
        let at = |time: &str| last_use(&format!("Last accessed by za (hostid=1) at {time}\nThe pool"));
        assert_eq!(last_use(USED_ELSEWHERE), Some(1_795_222_585), "date -ud '2026-11-21 00:56:25' +%s");
        assert_eq!(at("Thu Jan  1 00:00:00 1970"), Some(0));
        assert_eq!(at("Tue Feb 29 23:59:59 2028"), Some(1_835_481_599));
        assert_eq!(at("Sat Mar  1 00:00:00 2036"), Some(2_087_942_400));
        for wrong in ["", "Sat Xyz 21 00:56:25 2026", "Sat Nov 21 2026", "Sat Nov 21 00:56:25 1969"] {
            assert_eq!(at(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_host_is_found_in_every_wording() {
        assert_eq!(last_host(USED_ELSEWHERE).as_deref(), Some("za"));
        assert_eq!(last_host(ACTIVE_ELSEWHERE), None);
        assert!(same_host("ZA.example.com", "za") && !same_host("za1", "za"));
    }
}
