//! Switches virtual machines of XenServer and XCP-ng pools through the XenAPI of the pool's master.
//!
//! Replaces `fence_xenapi`, and its predecessor `fence_cxs_redhat` with that one's names of options and actions. The manual:
//! *XenServer Management API*. The client is our own, in [`ringfence_fence::xenapi`].
//!
//! Invariants:
//! - Off is `Halted` in the machine's record, with no host that has it and no operation that brings it up. Paused and suspended
//!   machines are not off: they keep their writes and go on with them.
//! - What a pool took (a task) is never a success by itself: the framework asks for the power state afterwards.
//! - The machine of a host that the pool cannot reach is never reported off.
//! - A name that several machines bear is no name; snapshots, templates and control domains are no machines.
//! - Every session that was opened is logged out, and every task that was begun is destroyed.

use ocf_lib::deadline::Deadline;
use ocf_lib::fence::Action;
use ocf_lib::fence::prelude::*;
use ringfence_fence::tls::{self, TlsSettings};
use ringfence_fence::xenapi::{self, Error, Keep, Kind, Machine, Param, PowerState, Session, Target, url};
use serde_json::Value;
use std::process::ExitCode;
use std::time::Duration;
use zeroize::Zeroizing;

fence_options! {
    /// What is special about the XenAPI.
    struct Options {
        session_url: Option<String> => option("session_url").long("session-url").short('s').required()
            .help("URL of the pool's master or of any host of the pool: https://host, http://host (which sends the password in \
                   clear), with the path /jsonrpc for JSON-RPC instead of XML-RPC; several are separated by commas and tried \
                   in order"),
        ssl_insecure: bool => option("ssl_insecure").long("ssl-insecure")
            .help("Do not verify the certificate of https: anybody on the way can read the password"),
        ssl_secure: bool => option("ssl_secure").long("ssl-secure")
            .help("Verify the certificate of https, which is the default"),
        ssl_ca_file: Option<String> => tls::CA_FILE,
        ssl_fingerprint: Option<String> => tls::FINGERPRINT,
    }
}

/// How long a change is watched before the state is asked for: a refusal by the machine's host comes within that.
const TASK_IS_WATCHED: Duration = Duration::from_secs(2);
/// Between two looks at a task.
const FIRST_LOOK: Duration = Duration::from_millis(10);
const LONGEST_LOOK: Duration = Duration::from_millis(250);
/// What destroying tasks that did not end may take at the end.
const TIDYING: Duration = Duration::from_secs(1);
/// More machines of one name are not looked at one by one.
const MOST_NAMESAKES: usize = 32;

/// A machine that was asked for, and what is under way with it.
struct Known {
    plug: Plug,
    reference: String,
    state: PowerState,
    /// Begun and not seen to end.
    task: Option<(String, Wanted)>,
    /// Why the last task failed, and what it was to reach.
    failure: Option<(FenceError, Wanted)>,
}

struct XenApi {
    call: Call,
    session: Session,
    known: Vec<Known>,
}

impl PowerDevice for XenApi {
    const SPEC: FenceSpec = FenceSpec {
        takes: &[Takes::Login, Takes::NoLogin, Takes::Password, Takes::NoPassword, Takes::Plug],
        vendor_url: "http://www.xenproject.org",
        symlinks: &[Symlink {
            name: "fence_cxs_redhat",
            shortdesc: "Fence agent for Citrix XenServer, in its older calling form",
            adjust: &[adjust("action").default("status")],
        }],
        old_forms: &[CXS],
        ..FenceSpec::new(
            "fence_xenapi",
            "Fence agent for Citrix XenServer over XenAPI",
            "fence_xenapi switches virtual machines of XenServer and XCP-ng pools off and on, by XML-RPC or JSON-RPC to the \
             pool's master, which any host of the pool names.\n.P\n\
             Off and reboot succeed only when the pool has reported the machine halted after the request. Paused and suspended \
             machines are not off. The machine of a host that has died is off only when the pool has declared that host dead.\n.P\n\
             Called fence_cxs_redhat, it also takes the names that this older agent had for options (url, session_user, session_pass, \
             vm_name, uuid, -U and others) and actions (poweroff, poweron, restart and others), and status is the default.",
        )
    };
    type Options = Options;

    fn validate(options: &Options, call: &Call) -> Result<(), FenceError> {
        let urls = url::parse(options.session_url.as_deref().unwrap_or_default())?;
        if call.login().is_none() {
            return Err(FenceError::usage("You have to set login name"));
        }
        let Some(password) = call.password() else {
            // A script is not run just for looking at the options.
            return if call.text("passwd_script").is_some() {
                Ok(())
            } else {
                Err(FenceError::usage("You have to enter password or password script"))
            };
        };
        if std::str::from_utf8(password.expose()).is_err() {
            return Err(FenceError::usage(
                "the password is not utf-8, which is all that the xenapi can carry",
            ));
        }
        options.tls(call)?;
        let asks_for_tls =
            options.ssl_ca_file.is_some() || options.ssl_fingerprint.is_some() || options.ssl_secure;
        if let Some(url) = urls.iter().find(|url| asks_for_tls && !url.secure) {
            return Err(FenceError::usage(format!(
                "session_url names {} with http, where ssl_secure, ssl_ca_file and ssl_fingerprint protect nothing",
                url.host
            ))
            .hint("use https"));
        }
        Ok(())
    }

    fn connect(options: Options, call: Call) -> Result<Self, FenceError> {
        let log = call.log().clone();
        let password =
            call.password().map(|password| String::from_utf8_lossy(password.expose()).into_owned());
        let urls = url::parse(options.session_url.as_deref().unwrap_or_default())?;
        if let Some(url) = urls.iter().find(|url| !url.secure) {
            log.debug(format!(
                "{} is spoken to with http: everybody on the way can read the password",
                url.host
            ));
        }
        let target = Target {
            urls,
            username: call.login().unwrap_or_default(),
            password: Zeroizing::new(password.unwrap_or_default()),
            tls: Some(options.tls(&call)?),
        };
        let tell = Box::new(move |line: &str| log.debug(line));
        let session = Session::open(target, tell, call.connect_deadline())?;
        call.log().debug(format!("session open at {}", session.host()));
        Ok(Self { call, session, known: Vec::new() })
    }

    fn status(&mut self, plug: &Plug) -> Result<Power, FenceError> {
        let deadline = self.call.request_deadline();
        let (at, machine) = match self.known.iter().position(|known| known.plug == *plug) {
            Some(at) => (at, self.look_again(at, deadline)?),
            None => self.look_up(plug)?,
        };
        let power = self.power(&machine);
        let wanted = self.known.get(at).and_then(|known| known.task.as_ref().map(|(_, wanted)| *wanted));
        if wanted.is_some_and(|wanted| wanted.power() != power) {
            self.look_at_task(at, deadline);
        }
        match self.known.get(at).and_then(|known| known.failure.clone()) {
            Some((why, wanted)) if wanted.power() != power => Err(why),
            _ => Ok(power),
        }
    }

    fn set(&mut self, plug: &Plug, wanted: Wanted) -> Result<(), FenceError> {
        let at = match self.known.iter().position(|known| known.plug == *plug) {
            Some(at) => at,
            None => self.look_up(plug)?.0,
        };
        let Some(known) = self.known.get_mut(at) else { return Ok(()) };
        known.failure = None;
        let deadline = self.call.request_deadline();
        let (reference, state) = (known.reference.clone(), known.state.clone());
        self.forget_task(at, deadline);
        let machine = Param::Text(&reference);
        // start and resume: not paused, and without the checks that can keep a machine down (what upstream asks for).
        let forced = [machine, Param::Flag(false), Param::Flag(true)];
        let (method, params) = match (wanted, &state) {
            (Wanted::Off, _) => ("Async.VM.hard_shutdown", &forced[..1]),
            (Wanted::On, PowerState::Suspended) => ("Async.VM.resume", &forced[..]),
            (Wanted::On, PowerState::Paused) => ("Async.VM.unpause", &forced[..1]),
            (Wanted::On, PowerState::Halted | PowerState::Running | PowerState::Other(_)) => {
                ("Async.VM.start", &forced[..])
            }
        };
        let task = match self.session.change(method, params, deadline) {
            Ok(Value::String(task)) if !task.is_empty() => task,
            Ok(_) => return Err(FenceError::protocol("the pool takes a request and names no task")),
            Err(error) => return self.not_begun(error),
        };
        if let Some(known) = self.known.get_mut(at) {
            known.task = Some((task, wanted));
        }
        self.watch(at, deadline.within(TASK_IS_WATCHED))
    }

    fn list(&mut self) -> Result<Vec<Outlet>, FenceError> {
        let deadline = later(self.call.request_deadline(), self.call.tool_deadline());
        let records = self.session.read("VM.get_all_records", &[], Machine::KEEP_ALL, deadline)?;
        let Value::Object(records) = records else {
            return Err(FenceError::protocol("the pool's list of machines is none"));
        };
        let mut outlets = Vec::new();
        for record in records.values() {
            let machine = Machine::read(record)?;
            if machine.kind == Kind::Machine {
                let power = Some(self.power(&machine));
                outlets.push(Outlet { id: machine.uuid, alias: machine.name, power });
            }
        }
        outlets.sort_by(|a, b| (&a.alias, &a.id).cmp(&(&b.alias, &b.id)));
        Ok(outlets)
    }

    fn monitor(&mut self, plugs: &[Plug]) -> Result<Monitored, FenceError> {
        // The whole list of a large pool takes seconds; that machines can be asked for is shown by less.
        if plugs.is_empty() {
            self.session.read("VM.get_all", &[], Keep::ALL, self.call.request_deadline())?;
        }
        for plug in plugs {
            self.look_up(plug)?;
        }
        Ok(Monitored::Good)
    }
}

impl XenApi {
    /// The power that a machine's record proves.
    fn power(&self, machine: &Machine) -> Power {
        match machine.state {
            PowerState::Running => Power::On,
            PowerState::Halted if machine.is_certainly_off() => Power::Off,
            PowerState::Halted if machine.is_coming_up() => Power::Transitional,
            // Not off. On only where nobody wants it on: there it has to be resumed.
            PowerState::Paused | PowerState::Suspended => match self.call.action() {
                Action::On | Action::Reboot => Power::Transitional,
                Action::Off
                | Action::Status
                | Action::List
                | Action::ListStatus
                | Action::Monitor
                | Action::Metadata
                | Action::Manpage
                | Action::ValidateAll
                | Action::Diag => Power::On,
            },
            PowerState::Halted | PowerState::Other(_) => Power::Unknown,
        }
    }

    /// Finds the machine that a plug means: by its uuid, else by its name.
    fn look_up(&mut self, plug: &Plug) -> Result<(usize, Machine), FenceError> {
        let references = match plug.uuid() {
            Some(uuid) => vec![self.by_uuid(uuid)?],
            None => self.by_name(plug.name())?,
        };
        let mut machines = Vec::new();
        let mut others = None;
        for reference in references {
            let machine = self.record(&reference, self.call.request_deadline())?;
            let is_it = match plug.uuid() {
                Some(uuid) => machine.uuid.eq_ignore_ascii_case(uuid),
                None => machine.name == plug.name(),
            };
            if !is_it {
                return Err(FenceError::protocol(format!(
                    "the pool answers with machine '{}'",
                    machine.name
                )));
            }
            match machine.kind {
                Kind::Machine => machines.push((reference, machine)),
                other @ (Kind::Snapshot | Kind::Template | Kind::ControlDomain) => others = Some(other),
            }
        }
        let is_a = match others {
            Some(Kind::Snapshot) => "is a snapshot",
            Some(Kind::Template) => "is a template",
            Some(Kind::ControlDomain) => "is the control domain of a host",
            Some(Kind::Machine) | None => "does not exist in the pool",
        };
        let count = machines.len();
        let Some((reference, machine)) = machines.pop().filter(|_| count == 1) else {
            let why = if count > 1 {
                format!("{count} machines of the pool are called '{}'", plug.name())
            } else {
                format!("machine '{}' {is_a}", plug.name())
            };
            let error = FenceError::unknown_plug(why);
            return Err(if count > 1 { error.hint("use the uuid as plug") } else { error });
        };
        let state = machine.state.clone();
        self.known.push(Known { plug: plug.clone(), reference, state, task: None, failure: None });
        Ok((self.known.len() - 1, machine))
    }

    fn by_uuid(&mut self, uuid: &str) -> Result<String, FenceError> {
        let uuid = uuid.to_ascii_lowercase();
        let found = self.session.read(
            "VM.get_by_uuid",
            &[Param::Text(&uuid)],
            Keep::ALL,
            self.call.request_deadline(),
        );
        match found {
            Ok(Value::String(reference)) => Ok(reference),
            Ok(_) => Err(FenceError::protocol("the pool answers with something else than a machine")),
            Err(error) if error.code() == Some("UUID_INVALID") => {
                Err(FenceError::unknown_plug(format!("no machine of the pool has the uuid {uuid}")))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn by_name(&mut self, name: &str) -> Result<Vec<String>, FenceError> {
        let found = self.session.read(
            "VM.get_by_name_label",
            &[Param::Text(name)],
            Keep::ALL,
            self.call.request_deadline(),
        )?;
        let references: Option<Vec<String>> =
            found.as_array().map(|all| all.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        match references {
            Some(all) if all.len() > MOST_NAMESAKES => Err(FenceError::unknown_plug(format!(
                "{} entries of the pool are called '{name}'",
                all.len()
            ))
            .hint("use the uuid as plug")),
            Some(all) => Ok(all),
            None => Err(FenceError::protocol("the pool answers with something else than machines")),
        }
    }

    fn record(&mut self, reference: &str, deadline: Deadline) -> Result<Machine, FenceError> {
        let record =
            self.session.read("VM.get_record", &[Param::Text(reference)], Machine::KEEP, deadline)?;
        Ok(Machine::read(&record)?)
    }

    fn look_again(&mut self, at: usize, deadline: Deadline) -> Result<Machine, FenceError> {
        let Some(reference) = self.known.get(at).map(|known| known.reference.clone()) else {
            return Err(FenceError::protocol("the machine is not known any more"));
        };
        let machine = self.record(&reference, deadline)?;
        if let Some(known) = self.known.get_mut(at) {
            known.state = machine.state.clone();
        }
        Ok(machine)
    }

    /// The pool did not begin what was asked for.
    fn not_begun(&self, error: Error) -> Result<(), FenceError> {
        // Pools say so about what is so already; whether it is so, the status tells.
        if error.code() == Some("VM_BAD_POWER_STATE") {
            self.call.log().debug(error.to_string());
            return Ok(());
        }
        Err(error.into())
    }

    /// Looks at a task until it has ended, or the deadline has come: then only the power state tells.
    fn watch(&mut self, at: usize, deadline: Deadline) -> Result<(), FenceError> {
        let mut pause = FIRST_LOOK;
        loop {
            let seen = self.look_at_task(at, deadline);
            let Some(known) = self.known.get(at) else { return Ok(()) };
            if let Some((why, _)) = &known.failure {
                return Err(why.clone());
            }
            if !seen || known.task.is_none() || deadline.expired() {
                return Ok(());
            }
            if self.call.interrupted() {
                return Err(FenceError::interrupted());
            }
            deadline.sleep(pause);
            pause = (pause * 2).min(LONGEST_LOOK);
        }
    }

    /// One look at the task of a machine: ended well it is destroyed, ended badly its reason is kept. False when it cannot be
    /// seen, which says nothing about the machine.
    fn look_at_task(&mut self, at: usize, deadline: Deadline) -> bool {
        let Some((task, wanted)) = self.known.get(at).and_then(|known| known.task.clone()) else {
            return true;
        };
        let members = Keep::of_record(&["status", "error_info"]);
        let record = match self.session.read("task.get_record", &[Param::Text(&task)], members, deadline) {
            Ok(record) => record,
            Err(error) => {
                // Somebody tidied up.
                if error.code() == Some("HANDLE_INVALID") {
                    self.task_is_over(at, None);
                }
                return false;
            }
        };
        let failure = match record.get("status").and_then(Value::as_str) {
            Some("success") => None,
            Some("cancelled") => Some(FenceError::refused("somebody cancelled it in the pool")),
            Some("failure") => self.not_begun(xenapi::refusal(record.get("error_info"))).err(),
            Some("pending" | "cancelling") => return true,
            _ => return false,
        };
        self.forget_task(at, deadline);
        self.task_is_over(at, failure.map(|why| (why, wanted)));
        true
    }

    fn task_is_over(&mut self, at: usize, failure: Option<(FenceError, Wanted)>) {
        if let Some(known) = self.known.get_mut(at) {
            known.task = None;
            known.failure = failure;
        }
    }

    /// Destroys the task of a machine in the pool, if there is one. What it does goes on.
    fn forget_task(&mut self, at: usize, deadline: Deadline) {
        let Some((task, _)) = self.known.get_mut(at).and_then(|known| known.task.take()) else { return };
        let gone = self.session.change("task.destroy", &[Param::Text(&task)], deadline);
        if let Err(error) = gone {
            // xapi forgets tasks by itself after a day.
            self.call.log().debug(format!("task.destroy: {error}"));
        }
    }
}

impl Drop for XenApi {
    fn drop(&mut self) {
        // After a signal there is time for the session alone, which closes itself.
        let deadline = self.call.request_deadline().within(TIDYING);
        for at in 0..self.known.len() {
            if !self.call.interrupted() {
                self.forget_task(at, deadline);
            }
        }
    }
}

impl Options {
    fn tls(&self, call: &Call) -> Result<TlsSettings, FenceError> {
        if self.ssl_secure && self.ssl_insecure {
            call.log().debug("ssl_secure wins over ssl_insecure");
        }
        let tls = if self.ssl_insecure && !self.ssl_secure { Tls::Insecure } else { Tls::Verified };
        Ok(TlsSettings::new(tls, self.ssl_ca_file.as_deref(), self.ssl_fingerprint.as_deref())?)
    }
}

/// The later of the two.
fn later(one: Deadline, other: Deadline) -> Deadline {
    match (one.at(), other.at()) {
        (Some(a), Some(b)) => Deadline::at_instant(a.max(b)),
        (None, _) | (_, None) => Deadline::never(),
    }
}

/// What `fence_cxs_redhat` took: action words and names of 2011.
const CXS: OldForm = OldForm {
    called: "fence_cxs_redhat",
    options: &[
        ("uuid", Some('U'), "port"),
        ("vm-name", None, "port"),
        ("operation", None, "action"),
        ("op", None, "action"),
        ("login-name", None, "login"),
        ("user", None, "login"),
        ("session-user", None, "login"),
        ("pass", None, "passwd"),
        ("session-pass", None, "passwd"),
        ("url", None, "session_url"),
    ],
    actions: &[
        ("poweron", "on"),
        ("powerup", "on"),
        ("poweroff", "off"),
        ("powerdown", "off"),
        ("reset", "reboot"),
        ("restart", "reboot"),
        ("powerstatus", "status"),
    ],
};

fn main() -> ExitCode {
    run::<XenApi>()
}
