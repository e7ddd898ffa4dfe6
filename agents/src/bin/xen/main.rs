//! A guest of the Xen hypervisor that runs on one host at a time, with live migration.
//!
//! Replaces `ocf:heartbeat:Xen`. Manual: xl(1), xl.cfg(5), xl-disk-configuration(5).
//!
//! Why a monitor runs a program: the state of a domain is in the hypervisor, whose interface changes with each version;
//! only the toolstack of the same version speaks it. One `xl list` is all of a healthy guest's monitor.
//!
//! Invariants:
//! - A guest is called stopped only if a list of all domains has neither it nor half of a migration of it, and after a look
//!   that found nothing another one did so, too: a guest that reboots is in no list for seconds.
//! - No guest is created while there is half of a migration of it here, or a guest that writes to one of its disks.
//! - A copy that a migration has given away is never made to run again unless the other host says that it has none.

mod config;
mod disks;
mod domain_xml;
mod keeper;
mod listing;
mod memory;
mod migrate;
mod patience;
mod qemu;
mod sight;
mod start;
mod stop;
#[cfg(test)]
mod tests;
mod toolstack;
mod utilization;
mod virsh;
mod vm;

use config::Config;
use ocf_lib::cmd::Cmd;
use ocf_lib::resource::dialect::Dialect;
use ocf_lib::resource::param::{Content, FromParam};
use ocf_lib::resource::prelude::*;
use patience::Patience;
use sight::{Sight, Verdict};
use std::cell::{Cell, OnceCell, RefCell};
use std::path::PathBuf;
use std::time::Duration;
use stop::{REBOOTS_IN, REBOOTS_SLOWLY_IN};
use toolstack::Toolstack;
use vm::{Flag, Vm};

/// The depth at which rgmanager has the status program run.
const STATUS_PROGRAM_DEPTH: u32 = 10;
/// Between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(500);

params! {
    struct Params {
        xmfile: String => param("xmfile").required().unique("xmfile").short("Configuration file of the guest")
            .long("Absolute path of the guest's configuration, as xl.cfg(5) or in the older syntax of xend.")
            .default(""),
        name: GuestName => param("name").short("Name of the guest")
            .long("Name of the guest. Without it the name in the configuration file holds, unless that has blanks or a \
                percent sign; and if there is none, the resource's own. Set it where the file can be missing, on shared \
                storage for example.").default(""),
        shutdown_timeout: Option<Number> => param("shutdown_timeout").reloadable().short("Seconds that the guest gets to shut down")
            .long("Seconds after which a guest that was asked to shut down is destroyed. Without it, two thirds of the stop's \
                own timeout; 0 destroys it at once. A stop always keeps the time that destroying takes.").default(""),
        shutdown_acpi: bool => param("shutdown_acpi").reloadable().short("Shut down by the power button")
            .long("Press the guest's power button (ACPI) instead of asking its drivers for Xen, for fully virtualised \
                guests without such drivers. Either way the other one is tried when the first is refused.").default("0"),
        allow_mem_management: bool => param("allow_mem_management").reloadable().short("Share memory out among the guests")
            .long("At start and stop give all guests of this host the same share of its memory, and write the share into \
                the configuration file.").default("0"),
        node_ip_attribute: String => param("node_ip_attribute").reloadable().short("Node attribute with the address for migrations")
            .long("Name of a node attribute whose value on the target is the address to which the guest is migrated, \
                instead of the node's name: for a network of its own. It must be the right node's.").default(""),
        reserved_dom0_memory: Number => param("reserved_Dom0_memory").reloadable().short("Memory of dom0")
            .long("Megabytes that sharing out leaves to dom0.").default("512"),
        autoset_utilization_cpu: bool => param("autoset_utilization_cpu").reloadable().short("Tell the cluster the guest's processors")
            .long("A monitor sets the utilization attribute cpu of the resource to the number of the guest's processors. \
                Set the nodes' own first, or it may have no place to run.").default("false"),
        autoset_utilization_hv_memory: bool => param("autoset_utilization_hv_memory").reloadable()
            .short("Tell the cluster the guest's memory")
            .long("A monitor sets the utilization attribute hv_memory of the resource to the guest's memory in MB. \
                Set the nodes' own first, or it may have no place to run.").default("false"),
        monitor_scripts: String => param("monitor_scripts").reloadable().short("Programs that look into the guest")
            .long("Paths of programs, separated by blanks. Each is run by a monitor of a guest that runs, and after its \
                start until it succeeds: the guest is healthy only if all end with 0.").default(""),
    }
}

/// A whole number, or nothing.
#[derive(Clone, Copy)]
struct Number(u64);

impl FromParam for Number {
    const CONTENT: Content = Content::String;

    fn from_param(text: &str) -> Result<Self, String> {
        text.trim().parse().map(Self).map_err(|_| format!("'{text}' is not a whole number of 0 or more"))
    }
}

/// It goes into a line of configuration: what would end that line is refused.
struct GuestName(String);

impl FromParam for GuestName {
    const CONTENT: Content = Content::String;

    fn from_param(text: &str) -> Result<Self, String> {
        if text.contains(['"', '\'', '\\']) || text.chars().any(char::is_control) || text.starts_with('-') {
            Err(format!("'{}' is not a name of a guest", text.escape_debug()))
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

struct Xen {
    params: Params,
    /// Only for rgmanager.
    vm: Option<Vm>,
    /// What is wrong with rgmanager's attributes.
    vm_problem: Option<String>,
    file: OnceCell<Option<String>>,
    proc: PathBuf,
    config: OnceCell<Option<Config>>,
    name: OnceCell<String>,
    /// A start has begun to create the guest: what is there now is its own.
    begun: Cell<bool>,
    /// A stop has seen that nothing is left.
    gone: Cell<bool>,
    /// A suspended guest was told to go on.
    resumed: Cell<bool>,
    /// The guest as a probe has seen it run.
    seen: RefCell<Option<listing::Domain>>,
}

impl Agent for Xen {
    type Params = Params;

    const SPEC: Spec = Spec::new("Xen", "1.0")
        .short("Manages Xen guests (domUs)")
        .long(
            "Starts, stops and watches a guest of the Xen hypervisor, and migrates it while it runs if the resource's \
             allow-migrate is true. A guest that reboots is waited for. Migration goes over ssh as root, as xl does it: \
             every node must be able to run xl on every other without a password.",
        )
        .needs_root()
        .actions(&[
            action(Verb::Start, 60),
            action(Verb::Stop, 40),
            action(Verb::MigrateFrom, 120),
            action(Verb::MigrateTo, 120),
            action(Verb::Monitor, 30).every(10).depth(0),
            action(Verb::ReloadAgent, 20),
            action(Verb::ValidateAll, 5),
        ])
        .rgmanager(vm::RGMANAGER);

    fn new(params: Params, cx: &Cx) -> Self {
        let (vm, vm_problem) = Vm::of(cx);
        Self {
            params,
            vm,
            vm_problem,
            file: OnceCell::new(),
            proc: "/proc".into(),
            config: OnceCell::new(),
            name: OnceCell::new(),
            begun: Cell::new(false),
            gone: Cell::new(false),
            resumed: Cell::new(false),
            seen: RefCell::new(None),
        }
    }

    fn check(&self, _: &Cx) -> Result<(), Fault> {
        match (&self.vm, &self.vm_problem) {
            (_, Some(problem)) => Err(Fault::configured(problem)),
            (Some(vm), None) => vm.check(&self.params.name.0),
            (None, None) if self.params.xmfile.is_empty() => {
                Err(Fault::configured("parameter xmfile: must be set"))
            }
            (None, None) => Ok(()),
        }
    }

    fn check_host(&self, cx: &Cx) -> Result<(), Fault> {
        if Toolstack::of_this_host(cx).is_none() {
            return Err(Fault::installed("neither xl nor xm is installed"));
        }
        let through_virsh = self.vm.as_ref().is_some_and(|vm| vm.use_virsh == Some(Flag(true)));
        if through_virsh && !cx.has(Toolstack::Virsh.program()) {
            return Err(Fault::installed("virsh is not installed, and use_virsh asks for it"));
        }
        // A guest that leaves or arrives needs no file.
        if matches!(cx.verb(), Verb::Start | Verb::ValidateAll | Verb::Recover | Verb::Restart) {
            let path = match (self.file(), &self.vm) {
                (Some(path), _) => path,
                // Then libvirt has its own.
                (None, Some(_)) if through_virsh => return Ok(()),
                (None, Some(vm)) => return Err(vm.no_file(&self.params.name.0)),
                (None, None) => "",
            };
            std::fs::File::open(path).map_err(|error| {
                Fault::installed(format!(
                    "cannot read configuration file {path}: {}",
                    error.to_string().to_lowercase()
                ))
            })?;
        }
        Ok(())
    }

    fn probe(&self, cx: &Cx) -> Result<State, Fault> {
        let state = self.settled(cx)?;
        let scripts = matches!(cx.verb(), Verb::Monitor | Verb::Status) || self.begun.get();
        if state == State::Running && scripts {
            return Ok(self.looked_into(cx).map_or_else(State::Failed, |()| State::Running));
        }
        Ok(state)
    }

    fn start(&self, cx: &Cx) -> Result<(), Fault> {
        self.create(cx)
    }

    fn stop(&self, cx: &Cx, faults: &mut Faults) {
        // Taking back a start that has created nothing: what is here is somebody else's.
        if cx.verb() == Verb::Start && !self.begun.get() {
            return;
        }
        self.take_away(cx, faults);
        if self.gone.get() {
            Self::forget(cx);
            if let Some(tool) = Toolstack::of_this_host(cx).filter(|_| cx.verb() == Verb::Stop) {
                self.give_back(cx, tool);
            }
        }
    }

    fn observed(&self, cx: &Cx, state: &State) {
        if state.is_running()
            && let Some(domain) = self.seen.borrow().as_ref()
        {
            self.tell_utilization(cx, domain);
        }
    }

    fn migrate_to(&self, cx: &Cx) -> Result<(), Fault> {
        self.hand_over(cx)
    }

    fn migrate_from(&self, cx: &Cx) -> Result<(), Fault> {
        self.receive(cx)
    }

    fn reload_agent(&self, _: &Cx) -> Result<(), Fault> {
        Ok(())
    }
}

impl Xen {
    /// Where the guest's configuration is.
    fn file(&self) -> Option<&str> {
        let find = || match &self.vm {
            Some(vm) if self.params.xmfile.is_empty() => vm.file(&self.params.name.0),
            _ => Some(self.params.xmfile.clone()),
        };
        self.file.get_or_init(find).as_deref()
    }

    fn config(&self) -> Option<&Config> {
        self.config.get_or_init(|| config::read(self.file()?).ok()).as_ref()
    }

    /// What acts on the guest: as it looks at it, or virsh where rgmanager's attributes or the configuration ask for it.
    fn tool(&self, cx: &Cx) -> Option<Toolstack> {
        let usual = Toolstack::of_this_host(cx);
        let Some(vm) = self.vm.as_ref().filter(|_| cx.has(Toolstack::Virsh.program())) else { return usual };
        let wanted = match vm.use_virsh {
            Some(wanted) => wanted.0,
            // The file may be on storage that hangs; and xl stops every guest.
            None if cx.verb() == Verb::Stop => false,
            None => self.config().is_some_and(|config| config.libvirt.is_some()),
        };
        if wanted { Some(Toolstack::Virsh) } else { usual }
    }

    fn forbids_killing(&self) -> bool {
        self.vm.as_ref().is_some_and(Vm::forbids_killing)
    }

    /// Where the name of a guest that was started here stands, for a stop that finds no configuration file any more.
    fn memory_of_the_name(cx: &Cx) -> RunFile {
        RunFile::new(cx.run_dir().join(format!("Xen-{}.guest", cx.instance())))
    }

    fn name(&self, cx: &Cx) -> &str {
        self.name.get_or_init(|| {
            // Then nothing depends on the file, which may be on storage that hangs.
            if !self.params.name.0.is_empty() {
                return self.params.name.0.clone();
            }
            let in_file = match self.config() {
                Some(config) => config.name.clone(),
                None => Self::memory_of_the_name(cx).read().ok().flatten(),
            };
            config::guest_name(in_file.as_deref(), cx.instance())
        })
    }

    fn remember(&self, cx: &Cx) {
        if self.params.name.0.is_empty()
            && self.config().is_some()
            && let Err(fault) = Self::memory_of_the_name(cx).write(self.name(cx))
        {
            cx.warn(fault.reason());
        }
    }

    fn forget(cx: &Cx) {
        if let Err(fault) = Self::memory_of_the_name(cx).remove() {
            cx.warn(fault.reason());
        }
    }

    /// One look; `None`: there is no Xen here.
    fn look(&self, cx: &Cx) -> Result<Option<Sight>, Fault> {
        let name = self.name(cx);
        Ok(toolstack::domains(cx, name, false)?.map(|domains| Sight::of(name, domains)))
    }

    /// The state when it has stopped to change, or after a bounded time.
    fn settled(&self, cx: &Cx) -> Result<State, Fault> {
        // The framework looks again by itself, and only what was seen last counts there.
        let waits = !self.gone.get() && !self.begun.get() && cx.verb() != Verb::MigrateFrom;
        // A probe looks once, and a start has no time to lose: only what shows that it comes back is waited for.
        let once = cx.is_probe() && cx.verb() == Verb::Monitor && cx.dialect() != Dialect::Rgmanager
            || matches!(cx.verb(), Verb::Start | Verb::Recover | Verb::Restart);
        let (short, long) = (Patience::modest(cx, REBOOTS_IN), Patience::modest(cx, REBOOTS_SLOWLY_IN));
        let mut told = false;
        loop {
            let Some(sight) = self.look(cx)? else {
                let elsewhere = vm::elsewhere(cx, &self.proc, self.name(cx));
                return Ok(elsewhere.map_or(State::Stopped, State::Failed));
            };
            self.seen.replace(sight.whole().cloned());
            let (state, passes) = self.judged(cx, &sight);
            let until = if sight.is_empty() {
                if keeper::lives(&self.proc, self.name(cx)) {
                    Some(long)
                } else {
                    Some(short).filter(|_| !once)
                }
            } else {
                Some(short)
            };
            let Some(until) = until.filter(|until| waits && passes && !until.over(cx)) else {
                return Ok(state);
            };
            if !told {
                told = true;
                cx.warn(format!(
                    "guest {} is not seen to run: looking again for {} s",
                    self.name(cx),
                    until.left(cx).as_secs()
                ));
            }
            cx.sleep(LOOK_PAUSE);
        }
    }

    /// What one look says, and whether another one may say something else in a moment.
    fn judged(&self, cx: &Cx, sight: &Sight) -> (State, bool) {
        let name = self.name(cx);
        if sight.count() > 1 {
            return (State::Failed(format!("{} guests are called {name} here", sight.count())), false);
        }
        match (sight.whole(), sight.half()) {
            (Some(domain), _) => match sight::verdict(name, domain.condition) {
                Verdict::Runs => (State::Running, false),
                Verdict::Paused => (paused(cx, name, domain), false),
                Verdict::Passing(why) => (State::Failed(why), true),
            },
            // It does not run here. To a stop it is there all the same.
            (None, Some((part, domain))) => {
                (State::Unusable(sight::half_sentence(name, part, domain)), false)
            }
            (None, None) => (State::Stopped, true),
        }
    }

    /// Runs the administrator's programs; `Err`: which one is not content.
    fn looked_into(&self, cx: &Cx) -> Result<(), String> {
        for script in self.params.monitor_scripts.split_whitespace() {
            let cmd = Cmd::new(script);
            let said = cx.run(&cmd).map_err(|fault| format!("monitor script {script}: {fault}"))?;
            if !said.success() {
                return Err(format!("monitor script {}", said.failure(&cmd)));
            }
        }
        let deep = self.begun.get() || cx.check_level() >= STATUS_PROGRAM_DEPTH;
        if let Some(cmd) = self.vm.as_ref().filter(|_| deep).and_then(Vm::status_command) {
            let said = cx.run(&cmd).map_err(|fault| format!("status program: {fault}"))?;
            if !said.success() {
                return Err(format!("status program {}", said.failure(&cmd)));
            }
        }
        Ok(())
    }
}

/// Somebody has paused it, to copy its disks for example: that is no reason to take it away, and no health. Only callers of OCF 1.1
/// have a word for that; to others it runs, as upstream says.
fn paused(cx: &Cx, name: &str, domain: &listing::Domain) -> State {
    let what = match domain.has_run {
        Some(false) => sight::never_ran(name),
        _ => format!("guest {name} is paused: xl unpause {name}"),
    };
    match (cx.verb(), cx.dialect()) {
        (Verb::Monitor | Verb::Status, Dialect::Ocf11) => State::Degraded(what),
        (Verb::Monitor | Verb::Status, _) => {
            cx.warn(what);
            State::Running
        }
        _ => State::Failed(what),
    }
}

fn main() -> ExitCode {
    run::<Xen>()
}
