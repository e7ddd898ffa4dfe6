//! A DRBD resource: a disk that two or more nodes have, one (or two) of them to write to.
//!
//! Replaces `ocf:linbit:drbd`, with DRBD 8.4 and 9. Manuals: drbdsetup(8), drbdadm(8), drbd.conf(5).
//!
//! Invariants:
//! - The state is the kernel's, in the words of `drbdsetup events2`. It is "not running" only if the kernel has no such resource.
//! - A primary that has current data serves, also without a peer: it stays promoted. What is lost then is redundancy, and to take
//!   the service down would not bring that back. `report_degraded` makes it seen.
//! - Data is never thrown away. After a split brain the administrator chooses whose; the reason tells how.

mod events;
mod holders;
mod kernel_log;
mod located;
mod params;
mod score;
mod standing;
mod tool;
mod version;

use events::{Disk, Resource, Role};
use ocf_lib::cmd::Cmd;
use ocf_lib::resource::cluster::{Notification, When, node_name};
use ocf_lib::resource::dialect::Dialect;
use ocf_lib::resource::prelude::*;
use params::{IfPrimary, Params};
use std::cell::RefCell;
use std::time::Duration;
use tool::said;

/// A failed promotion answers not before this: Pacemaker tries again at once, and would do so many times a second.
const SLOWEST_FAILURE: Duration = Duration::from_secs(15);
/// Between two attempts of something that a peer or a user of the device still prevents.
const PAUSE: Duration = Duration::from_secs(1);
/// Further away than any action's end.
const FAR: Duration = Duration::from_secs(86400);

struct Drbd {
    params: Params,
    /// What the last probe saw; the score is made of it.
    seen: RefCell<Option<Resource>>,
    /// How an administrator calls drbdadm with the same configuration.
    by_hand: String,
}

impl Agent for Drbd {
    type Params = Params;

    const SPEC: Spec = Spec::new("drbd", "1.0")
        .short("A disk that DRBD replicates, promotable")
        .long(
            "Brings a DRBD resource up on each node of a promotable clone and makes it primary where the cluster wants it. The \
             clone needs notify=true. The resource must be configured on every node and have its metadata (drbdadm create-md).",
        )
        .needs_root()
        .actions(&[
            action(Verb::Start, 240),
            action(Verb::Reload, 30),
            action(Verb::ReloadAgent, 30),
            action(Verb::Promote, 90),
            action(Verb::Demote, 90),
            action(Verb::Notify, 90),
            action(Verb::Stop, 100),
            action(Verb::Monitor, 20).every(20).role(ocf_lib::resource::spec::Role::Unpromoted),
            action(Verb::Monitor, 20).every(10).role(ocf_lib::resource::spec::Role::Promoted),
        ]);

    fn new(params: Params, _: &Cx) -> Self {
        let by_hand = match params.drbdconf.0.as_str() {
            "/etc/drbd.conf" => "drbdadm".to_owned(),
            other => format!("drbdadm -c {other}"),
        };
        Self { params, seen: RefCell::new(None), by_hand }
    }

    fn check(&self, cx: &Cx) -> Result<(), Fault> {
        // What is up is demoted, whatever the configuration has become.
        if cx.verb() == Verb::Demote {
            return Ok(());
        }
        if !self.params.adjust_master_score.as_given {
            cx.error("parameter adjust_master_score: four numbers in rising order were expected; using 0 10 1000 10000");
        }
        for name in ["clone_node_max", "master_node_max", "promoted_node_max"] {
            if number(cx, name).is_some_and(|most| most != 1) {
                return Err(Fault::configured(format!(
                    "meta attribute {} must be 1",
                    name.replace('_', "-")
                )));
            }
        }
        if promoted_max(cx) > 2 {
            return Err(Fault::configured("meta attribute promoted-max: DRBD has at most 2 primaries"));
        }
        if promoted_max(cx) == 2 && cx.clone_max().is_some_and(|most| most > 2) {
            return Err(Fault::configured("meta attribute clone-max must be 2 with two promoted instances"));
        }
        let acts = matches!(cx.verb(), Verb::Start | Verb::Promote | Verb::Notify | Verb::Reload);
        if acts
            && !self.params.ignore_missing_notifications
            && !cx.env().is_true("OCF_RESKEY_CRM_meta_notify")
        {
            return Err(Fault::configured(match cx.dialect() {
                Dialect::Ocf10 | Dialect::Ocf11 => "the clone needs the meta attribute notify=true",
                // Started it would be a secondary, which nothing can be mounted from.
                Dialect::Rgmanager | Dialect::Lsb | Dialect::Heartbeat => {
                    "DRBD needs a cluster manager that promotes and notifies, as Pacemaker does"
                }
            }));
        }
        Ok(())
    }

    fn check_host(&self, cx: &Cx) -> Result<(), Fault> {
        if !matches!(cx.verb(), Verb::Start | Verb::Promote | Verb::ValidateAll) {
            return Ok(());
        }
        cx.needs("drbdsetup")?;
        self.check_version(cx)?;
        let file = &self.params.drbdconf.0;
        if let Err(error) = std::fs::File::open(file) {
            return Err(Fault::installed(format!("parameter drbdconf: cannot read {file}: {error}")));
        }
        let known = self.adm("sh-dev");
        let answer = cx.run(&known)?;
        if !answer.success() {
            let name = &self.params.drbd_resource.0;
            return Err(Fault::installed(format!(
                "{name} is not configured on this node: {}",
                said(&answer)
            )));
        }
        if promoted_max(cx) > 1 {
            let shown = cx.run_checked(&self.adm("dump"))?.stdout_text();
            let allowed = |line: &str| {
                let mut words = line.trim().trim_end_matches(';').split_whitespace();
                words.next() == Some("allow-two-primaries") && words.next() != Some("no")
            };
            if !shown.lines().any(allowed) {
                return Err(Fault::configured(
                    "two promoted instances need allow-two-primaries in DRBD's configuration",
                ));
            }
        }
        Ok(())
    }

    fn probe(&self, cx: &Cx) -> Result<State, Fault> {
        let seen = self.look(cx)?;
        let state = standing::state(&self.told(seen.as_ref()), seen.as_ref(), self.params.report_degraded);
        *self.seen.borrow_mut() = seen;
        Ok(state)
    }

    fn start(&self, cx: &Cx) -> Result<(), Fault> {
        if !is_loaded() {
            let load = Cmd::new("modprobe").args(["-s", "drbd"]);
            let loaded = cx.run(&load)?;
            if !loaded.success() {
                return Err(Fault::installed(format!("the kernel has no DRBD: {}", loaded.failure(&load))));
            }
        }
        // A disk that was grown while DRBD was down has its metadata at the old end. Fails if nothing has grown or none is there;
        // attaching tells better what is wrong.
        let _ = cx.run(&self.adm("check-resize"))?;
        if is_84() {
            // Its drbdadm knows no --skip-net. adjust attaches first, and does not connect if that failed.
            if self.params.connect_only_after_promote {
                return self.attach(cx);
            }
        } else {
            // 9 connects first if it may.
            self.tell(cx, &["--skip-net", "adjust"])?;
            if self.params.connect_only_after_promote {
                return Ok(());
            }
        }
        self.tell(cx, &["adjust"])?;
        self.wait_for_peers(cx)
    }

    fn stop(&self, cx: &Cx, faults: &mut Faults) {
        let outdates = self.params.stop_outdates_secondary && promoted_elsewhere(cx);
        loop {
            let round = cx.left_or(FAR);
            let seen = match self.look(cx) {
                Ok(Some(seen)) => seen,
                Ok(None) => return,
                Err(fault) => return faults.note(fault),
            };
            // By name and without the configuration, which may be gone. Demotes, disconnects, detaches and forgets; if a volume
            // is in use it does nothing at all (8.4) or ends there.
            let down = match cx.run(&Cmd::new("drbdsetup").args(["down", self.name()])) {
                Ok(down) => down,
                Err(fault) => return faults.note(fault),
            };
            if down.success() {
                if outdates && seen.role == Role::Secondary {
                    self.outdate(cx);
                }
                return;
            }
            if is_last(cx, round) {
                return faults.note(refused("cannot be taken down", self.name(), &said(&down), &seen));
            }
            cx.sleep(PAUSE);
        }
    }

    fn promote(&self, cx: &Cx) -> Result<(), Fault> {
        let left = cx.left_or(FAR);
        let result = self.try_promote(cx);
        if result.is_err() {
            let elapsed = left.saturating_sub(cx.left_or(FAR));
            cx.sleep(SLOWEST_FAILURE.saturating_sub(elapsed));
        }
        result
    }

    fn demote(&self, cx: &Cx) -> Result<(), Fault> {
        loop {
            let round = cx.left_or(FAR);
            let answer = cx.run(&self.adm("secondary"))?;
            if answer.success() {
                return Ok(());
            }
            if is_last(cx, round) {
                let seen = self.seen.borrow();
                let none = Resource { role: Role::Unknown, devices: vec![], connections: vec![] };
                return Err(refused(
                    "cannot be demoted",
                    self.name(),
                    &said(&answer),
                    seen.as_ref().unwrap_or(&none),
                ));
            }
            cx.sleep(PAUSE);
        }
    }

    fn promotion_score(&self, cx: &Cx, _: &State) -> Score {
        let seen = self.seen.borrow();
        let Some(resource) = seen.as_ref() else { return Score::Never };
        let score = score::score(resource, self.params.adjust_master_score);
        if resource.role == Role::Primary || score == Score::Never {
            return score;
        }
        match (self.params.remove_master_score_if_peer_primary, score::healthy_primary(resource)) {
            (IfPrimary::Never, _) | (_, None) => score,
            (IfPrimary::Always, Some(_)) => Score::Never,
            (IfPrimary::Unexpected, Some(peer)) => match located::promoted_nodes(cx) {
                Ok(nodes) if nodes.is_empty() => {
                    cx.warn(format!(
                        "{} is primary, but the cluster knows of no promoted instance",
                        peer.peer
                    ));
                    Score::Never
                }
                Ok(_) => score,
                Err(fault) => {
                    cx.warn(fault.context("cannot tell who is promoted").reason());
                    Score::Keep
                }
            },
        }
    }

    fn observed(&self, cx: &Cx, _: &State) {
        let seen = self.seen.borrow();
        let Some(resource) = seen.as_ref().filter(|_| !cx.is_probe()) else { return };
        if let Some(why) = standing::loneliness(&self.told(Some(resource)), resource) {
            cx.warn(why);
        }
        if self.params.unfence_if_all_uptodate && standing::all_is_well(resource) {
            let unfence = self
                .adm("unfence-peer")
                .env("OCF_RESKEY_unfence_extra_args", &self.params.unfence_extra_args);
            match cx.run(&unfence) {
                Ok(done) if done.success() => {}
                Ok(done) => cx.warn(done.failure(&unfence)),
                Err(fault) => cx.warn(fault.reason()),
            }
        }
    }

    fn notify(&self, cx: &Cx) -> Result<(), Fault> {
        let Some(told) = Notification::from_cx(cx) else { return Ok(()) };
        let Some(seen) = self.look(cx)? else { return Ok(()) };
        let connects = !self.params.connect_only_after_promote || seen.role == Role::Primary;
        // A peer comes or has come: try to connect to it, also if DRBD gave up on it.
        if matches!(told.when, When::Pre | When::Post) && told.operation == "start" && connects {
            self.tell(cx, &["adjust"])?;
        }
        Ok(())
    }

    fn reload_agent(&self, cx: &Cx) -> Result<(), Fault> {
        if self.look(cx)?.is_none() {
            return Err(Fault::generic(format!("{} is not running", self.name())));
        }
        self.tell(cx, &["adjust"])
    }
}

impl Drbd {
    fn name(&self) -> &str {
        &self.params.drbd_resource.0
    }

    /// What messages tell of; the kernel's log is read only if it can matter.
    fn told(&self, seen: Option<&Resource>) -> standing::Told<'_> {
        let alone = seen.and_then(|resource| {
            resource.connections.iter().find(|peer| peer.stands_alone()).map(|peer| (resource, peer))
        });
        let parting = alone.map_or(kernel_log::Parting::Unknown, |(resource, peer)| {
            kernel_log::parting(&kernel_messages(), self.name(), &minors(resource), &peer.peer)
        });
        standing::Told { name: self.name(), adm: &self.by_hand, parting }
    }

    /// What 8.4 does before it connects. Each step but the last is fine with what is there already.
    fn attach(&self, cx: &Cx) -> Result<(), Fault> {
        self.tell(cx, &["new-resource"])?;
        self.tell(cx, &["new-minor"])?;
        let attached = self.tell(cx, &["attach"]);
        let complete = |seen: &Resource| seen.devices.iter().all(|device| device.disk != Disk::Diskless);
        match attached {
            Err(_) if self.look(cx)?.as_ref().is_some_and(complete) => Ok(()),
            result => result,
        }
    }

    fn adm(&self, word: &str) -> Cmd {
        Cmd::new("drbdadm").args(["-c", &self.params.drbdconf.0, word, self.name()])
    }

    /// `drbdadm WORDS RESOURCE`, with its own words if it fails.
    fn tell(&self, cx: &Cx, words: &[&str]) -> Result<(), Fault> {
        let cmd = Cmd::new("drbdadm").args(["-c", &self.params.drbdconf.0]).args(words).arg(self.name());
        let answer = cx.run(&cmd)?;
        if answer.success() { Ok(()) } else { Err(tool::adjust_fault(self.name(), &said(&answer))) }
    }

    /// What the kernel has; at most one child, none while DRBD is not even loaded (drbdsetup would load it).
    fn look(&self, cx: &Cx) -> Result<Option<Resource>, Fault> {
        if !is_loaded() {
            return Ok(None);
        }
        let ask = Cmd::new("drbdsetup").args(["events2", "--now", self.name()]);
        let answer = cx.run(&ask)?;
        if !answer.success() {
            let words = said(&answer);
            // drbdsetup(8): ERR_RES_NOT_KNOWN. Exit 10 alone can be anything else that the kernel refuses.
            if answer.code == Some(10) && words.contains("No such resource") {
                return Ok(None);
            }
            return Err(Fault::generic(format!("cannot see the state of {}: {words}", self.name())));
        }
        events::parse(&answer.stdout_text(), self.name())
            .map_err(|why| Fault::generic(format!("cannot see the state of {}: {why}", self.name())))
    }

    fn check_version(&self, cx: &Cx) -> Result<(), Fault> {
        let loaded = cx.run_checked(&Cmd::new("drbdadm").arg("--version"))?.stdout_text();
        let version = if let Some(version) = version::Version::of_drbdadm(&loaded) {
            version
        } else {
            let told = cx.run(&Cmd::new("modinfo").args(["-F", "version", "drbd"]))?;
            version::Version::of_modinfo(&told.stdout_text())
                .ok_or_else(|| Fault::installed("this kernel has no module drbd"))?
        };
        if let Some(least) = self.params.require_drbd_module_version_ge.filter(|least| version < *least) {
            return Err(Fault::installed(format!("DRBD {version} is older than {least}, which is required")));
        }
        if let Some(end) = self.params.require_drbd_module_version_lt.filter(|end| version >= *end) {
            return Err(Fault::installed(format!("DRBD {version} is too new: older than {end} is required")));
        }
        if version < version::Version(9, 0, 0) && cx.clone_max().is_some_and(|most| most > 2) {
            return Err(Fault::configured(format!("DRBD {version} has two nodes: clone-max must be 2")));
        }
        Ok(())
    }

    /// For as long as `wfc_timeout` says. Without peers it has started all the same.
    fn wait_for_peers(&self, cx: &Cx) -> Result<(), Fault> {
        let Some(limit) = self.params.wfc_timeout.0 else { return Ok(()) };
        let left = cx.left_or(FAR);
        let mut pause = Duration::from_millis(50);
        while left.saturating_sub(cx.left_or(FAR)) < limit && !cx.expired() {
            let waits = |resource: &Resource| {
                resource.connections.iter().any(|peer| !peer.is_connected() && !peer.stands_alone())
            };
            if !self.look(cx)?.as_ref().is_some_and(waits) {
                break;
            }
            cx.sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(500));
        }
        Ok(())
    }

    fn try_promote(&self, cx: &Cx) -> Result<(), Fault> {
        loop {
            let round = cx.left_or(FAR);
            let answer = cx.run(&self.adm("primary"))?;
            if answer.success() {
                break;
            }
            let words = said(&answer);
            // drbdsetup(8): 17, no access to data that is up to date. It does not get better by trying.
            if answer.code == Some(17) {
                return Err(Fault::generic(format!(
                    "{} cannot be promoted: no current data is within reach: {words}",
                    self.name()
                )));
            }
            let why = Fault::generic(format!("{} cannot be promoted: {words}", self.name()));
            if self.params.fail_promote_early_if_peer_primary {
                let seen = self.look(cx)?;
                let primary = seen
                    .as_ref()
                    .and_then(|resource| resource.connections.iter().find(|peer| peer.role == Role::Primary));
                if let Some(peer) = primary {
                    return Err(why.context(format!("{} is primary", peer.peer)));
                }
            }
            if is_last(cx, round) {
                return Err(why);
            }
            // A peer that has died is primary for DRBD until its pings go unanswered.
            cx.sleep(PAUSE);
        }
        if self.params.connect_only_after_promote
            && let Err(fault) = self.tell(cx, &["adjust"])
        {
            cx.warn(fault.context("promoted, but not connected").reason());
        }
        Ok(())
    }

    fn outdate(&self, cx: &Cx) {
        let outdate = self.adm("outdate");
        match cx.run(&outdate) {
            Ok(done) if done.success() => {}
            Ok(done) => cx.warn(format!("the data is not marked as outdated: {}", said(&done))),
            Err(fault) => cx.warn(fault.reason()),
        }
    }
}

/// Whether the time does not suffice for another round as long as this one, which began with `round` left, and for the probe
/// that follows it.
fn is_last(cx: &Cx, round: Duration) -> bool {
    let left = cx.left_or(FAR);
    left <= PAUSE + round.saturating_sub(left) * 2
}

/// With what keeps it from being done.
fn refused(what: &str, name: &str, words: &str, resource: &Resource) -> Fault {
    let holders = holders::of(&minors(resource));
    let lives_on_us = |peer: &&events::Connection| peer.role == Role::Primary && !peer.all_up_to_date();
    let by = if let Some(peer) = resource.connections.iter().find(lives_on_us) {
        format!(" ({} is primary and has no current data of its own)", peer.peer)
    } else if holders.is_empty() {
        String::new()
    } else {
        format!(" (in use: {})", holders.join(", "))
    };
    Fault::generic(format!("{name} {what}{by}: {words}"))
}

fn minors(resource: &Resource) -> Vec<u32> {
    resource.devices.iter().map(|device| device.minor).collect()
}

/// Whether the module that is loaded, or built in, is 8.4: drbdadm then is another program with other options.
#[cfg(not(test))]
fn is_84() -> bool {
    std::fs::read_to_string("/sys/module/drbd/version").is_ok_and(|version| version.starts_with("8."))
}

#[cfg(not(test))]
fn kernel_messages() -> String {
    kernel_log::read("/dev/kmsg")
}

/// Whether the kernel has DRBD. Not by `/dev/drbd`: what udev made can outlive the module.
#[cfg(not(test))]
fn is_loaded() -> bool {
    ["/proc/drbd", "/sys/module/drbd"].iter().any(|path| std::path::Path::new(path).exists())
}

fn number(cx: &Cx, meta: &str) -> Option<i64> {
    cx.meta(meta).and_then(|text| text.parse().ok())
}

/// Pacemaker tells it by the old name, the new one, or both.
fn promoted_max(cx: &Cx) -> i64 {
    number(cx, "promoted_max").or_else(|| number(cx, "master_max")).unwrap_or(1)
}

/// Whether the cluster says that another node stays promoted.
fn promoted_elsewhere(cx: &Cx) -> bool {
    let here = node_name(cx);
    ["notify_promoted_uname", "notify_master_uname"]
        .iter()
        .filter_map(|name| cx.meta(name))
        .any(|nodes| nodes.split_whitespace().any(|node| node != here))
}

fn main() -> ExitCode {
    run::<Drbd>()
}

#[cfg(test)]
use tests::{is_84, is_loaded, kernel_messages};

#[cfg(test)]
mod tests;
