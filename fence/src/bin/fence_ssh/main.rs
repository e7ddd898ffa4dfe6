//! Reboots or powers off a node through the node's own sshd. For test clusters, and as the last level of a topology.
//!
//! Replaces Heartbeat's `external/ssh`, and its false success: there an unreachable node was a fenced one. A node in real
//! trouble does not carry out orders, so **this is no fencing for production alone**; metadata and manual page say so.
//!
//! Invariants:
//! - `off` and `reboot` succeed only if the node's sshd took the order, the shell said that it begins, and the node then went
//!   away: its open login is silent **and** several looks in a row, a second and more apart, found no sshd at its address.
//! - A node that comes back is rebooted only if its boot id is another one (`boot_wait`).
//! - A node that cannot be reached is a failure. With `livedangerously` it counts as fenced if it is silent; a node whose
//!   kernel refuses the connection lives. Never a word of it in `status`.
//! - Nothing is sent to a host whose key is not known.

mod away;
mod files;

use away::{Absence, ONE_LOOK, Sight, look};
use files::{account, known_hosts};
use ocf_lib::deadline::Deadline;
use ocf_lib::fence::prelude::*;
use ocf_lib::fence::{FromText, Kind};
use ringfence_fence::ssh::{Account, Error, KnownHosts, News, Order, Session};
use ringfence_fence::tcp;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(250);
/// `power_timeout` where the caller minds the time: Pacemaker's default for fencing is 60 s.
const USUAL_POWER_TIMEOUT: Duration = Duration::from_secs(45);
/// How often a long wait is mentioned.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Linux's boot id, another one after each boot (proc(5)).
const BOOT_ID: &str = "cat /proc/sys/kernel/random/boot_id";

fence_options! {
    /// Nodes and their accounts.
    struct Options {
        hostlist: Hosts => option("hostlist").argument("[hosts]").default("")
            .help("Nodes that may be fenced, separated by blanks or commas; empty: every plug is a node's name or address"),
        known_hosts: Option<String> => option("known_hosts").long("known-hosts").argument("[file]")
            .help("Host keys of the nodes; by default ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts"),
        livedangerously: Daring => option("livedangerously").argument("[yes/no]").default("no")
            .help("DANGEROUS: take a node that does not answer at all as fenced. A broken network then corrupts data"),
        boot_wait: Duration => option("boot_wait").long("boot-wait").argument("[seconds]").default("0").order(200)
            .help("Seconds in which a rebooted node must be back with another boot id; 0: not looked at"),
        reboot_command: String => option("reboot_command").long("reboot-command").argument("[command]").order(210)
            .default("echo b >/proc/sysrq-trigger; sleep 2; reboot -nf")
            .help("Command line that reboots the node at once"),
        off_command: String => option("off_command").long("off-command").argument("[command]").order(210)
            .default("echo o >/proc/sysrq-trigger; sleep 5; poweroff -nf")
            .help("Command line that powers the node off at once"),
        ipport: u16 => option("ipport").short('u').argument("[port]").default("22").help("TCP port of sshd on the nodes"),
    }
}

/// Names separated by blanks or commas.
struct Hosts(Vec<String>);

impl FromText for Hosts {
    const KIND: Kind = Kind::Text;

    fn from_text(text: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(text);
        Ok(Self(
            text.split([' ', ',', '\t', '\n']).filter(|host| !host.is_empty()).map(str::to_owned).collect(),
        ))
    }
}

/// `livedangerously`: the original takes everything that begins with y as yes.
struct Daring(bool);

impl FromText for Daring {
    const KIND: Kind = Kind::Text;

    fn from_text(text: &[u8]) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_slice() {
            b"1" | b"true" | b"on" | [b'y', ..] => Ok(Self(true)),
            b"" | b"0" | b"false" | b"off" | [b'n', ..] => Ok(Self(false)),
            _ => Err("say yes or no".into()),
        }
    }
}

struct Ssh {
    call: Call,
    options: Options,
    account: Account,
    known: Arc<KnownHosts>,
    nodes: BTreeMap<String, Node>,
}

/// What this run knows of one node.
#[derive(Default)]
struct Node {
    session: Option<Session>,
    address: Option<SocketAddr>,
    /// Before the order.
    boot_id: Option<String>,
    order: Option<Order>,
    ordered: bool,
    absence: Absence,
    /// A new login has shown another boot id.
    back: bool,
    /// Taken as fenced without an order, because the administrator said so.
    given_up: bool,
}

impl PowerDevice for Ssh {
    const SPEC: FenceSpec = FenceSpec {
        takes: &[Takes::Plug, Takes::Login, Takes::Password, Takes::NoPassword, Takes::Ssh],
        adjust: &[
            adjust("login").default("root").required(false).help("User at the nodes; rebooting needs root"),
            adjust("passwd").help("Password at the nodes, or the pass phrase of the identity file"),
            adjust("port").help("Name or address of the node").argument("[node]"),
            adjust("identity_file").help(
                "Private key, Ed25519 or ECDSA, mode 0600; by default ~/.ssh/id_ed25519 and id_ecdsa. No ssh agent is used",
            ),
            adjust("secure").default("1").hidden(),
            adjust("ssh_options").hidden(),
            adjust("ssh_path").hidden(),
            adjust("inet4_only").hidden(),
            adjust("inet6_only").hidden(),
            adjust("power_timeout").help("Seconds in which the node must be gone"),
        ],
        external: Some(EXTERNAL),
        ..FenceSpec::new(
            "fence_ssh",
            "Fence agent for test clusters: the node's own sshd reboots it",
            "fence_ssh reboots a node or powers it off through the node's own sshd.\n.P\n\
             NOT FOR PRODUCTION ALONE: a node in trouble may not be able to reboot itself, and a node that cannot be \
             reached cannot be fenced this way. Use it in test clusters, or as the last level of a fencing topology whose \
             other levels are power switches or storage reservations.\n.P\n\
             Off and reboot succeed only when the node accepted the order and then went away: its open login is silent and \
             several connections in a row found no sshd. A network that breaks right after the order looks the same; with \
             boot_wait a reboot succeeds only when the node is back with another boot id. The host keys of the nodes must be \
             known. A node that is off cannot be switched on.",
        )
    };
    type Options = Options;

    fn validate(options: &Options, call: &Call) -> Result<(), FenceError> {
        for plug in call.plugs().iter().filter(|plug| !plug.name().is_empty()) {
            ours(options, plug.name())?;
        }
        if let Some(file) = &options.known_hosts {
            std::fs::metadata(file)
                .map_err(|e| FenceError::usage(format!("known hosts {file}: {}", tcp::plain(&e))))?;
        }
        if options.livedangerously.0 {
            call.log().warning(
                "livedangerously is set: a node that does not answer is taken as fenced, dead or not",
            );
        }
        Ok(())
    }

    fn connect(options: Options, call: Call) -> Result<Self, FenceError> {
        let known = Arc::new(known_hosts(&options)?);
        let account = account(&call)?;
        Ok(Self { call, options, account, known, nodes: BTreeMap::new() })
    }

    fn status(&mut self, plug: &Plug) -> Result<Power, FenceError> {
        let name = plug.name().to_owned();
        let ordered = self.nodes.get(&name).is_some_and(|node| node.ordered || node.given_up);
        if ordered {
            return Ok(if self.is_away(&name)? { Power::Off } else { Power::On });
        }
        match self.log_in(&name) {
            Ok(()) => Ok(Power::On),
            Err(error) if matches!(self.call.action(), ocf_lib::fence::Action::Off) => {
                self.dare(&name, error).map(|()| Power::Off)
            }
            Err(error) => Err(unreachable(error)),
        }
    }

    fn set(&mut self, plug: &Plug, wanted: Wanted) -> Result<(), FenceError> {
        match wanted {
            Wanted::On => Err(FenceError::unsupported(
                "a node that is off has no sshd: it cannot be switched on by ssh",
            )),
            Wanted::Off => {
                let command = self.options.off_command.clone();
                self.order(plug.name(), &command)
            }
        }
    }

    fn reboot(&mut self, plugs: &[Plug]) -> Result<Rebooted, FenceError> {
        // All of them first: no node is cut off when another one cannot be.
        for plug in plugs {
            let name = plug.name();
            match self.log_in(name) {
                // Without boot_wait it only helps to notice a reboot that is over between two looks.
                Ok(()) => match self.boot_id(name) {
                    Ok(id) => self.node(name).boot_id = Some(id),
                    Err(error) if self.options.boot_wait.is_zero() && error.kind() == ErrorKind::Refused => {
                        self.call.log().debug(error.to_string());
                    }
                    Err(error) => return Err(error),
                },
                Err(error) => self.dare(name, error)?,
            }
        }
        let command = self.options.reboot_command.clone();
        for plug in plugs {
            if !self.node(plug.name()).given_up {
                self.order(plug.name(), &command)?;
            }
        }
        for plug in plugs {
            self.wait_until_away(plug.name())?;
        }
        if !self.options.boot_wait.is_zero() {
            let until = Deadline::after(self.options.boot_wait);
            for plug in plugs {
                self.wait_for_another_boot(plug.name(), until)?;
            }
        }
        Ok(Rebooted::Verified)
    }

    fn list(&mut self) -> Result<Vec<Outlet>, FenceError> {
        if self.options.hostlist.0.is_empty() {
            return Err(FenceError::unsupported("hostlist is not set"));
        }
        Ok(self
            .options
            .hostlist
            .0
            .iter()
            .map(|host| Outlet { id: host.clone(), alias: String::new(), power: None })
            .collect())
    }

    /// Logs in everywhere. A node that is down is no fault of the device; one that answers and refuses us is, and so is a
    /// list of which no node can be reached.
    fn monitor(&mut self, plugs: &[Plug]) -> Result<Monitored, FenceError> {
        let named: Vec<String> =
            plugs.iter().map(|p| p.name().to_owned()).filter(|n| !n.is_empty()).collect();
        let hosts = if named.is_empty() { self.options.hostlist.0.clone() } else { named };
        if hosts.is_empty() {
            return Err(FenceError::usage("nothing to look at: set hostlist, or plug"));
        }
        let (mut last, mut reached) = (None, false);
        for host in hosts {
            match self.log_in(&host) {
                Ok(()) => reached = true,
                Err(error @ Error::Tcp(tcp::Error::Unreachable(_) | tcp::Error::TimedOut(_))) => {
                    self.call.log().warning(format!("{host}: {error}"));
                    last = Some(error);
                }
                Err(error) => return Err(error.into()),
            }
            self.nodes.remove(&host);
        }
        match last {
            Some(error) if !reached => Err(unreachable(error)),
            Some(_) | None => Ok(Monitored::Good),
        }
    }
}

impl Ssh {
    fn node(&mut self, name: &str) -> &mut Node {
        self.nodes.entry(name.to_owned()).or_default()
    }

    /// Makes sure that there is a login.
    fn log_in(&mut self, name: &str) -> Result<(), Error> {
        if self.nodes.get(name).is_some_and(|node| node.session.is_some()) {
            return Ok(());
        }
        let session = Session::open(
            name,
            self.options.ipport,
            &self.account,
            &self.known,
            self.call.connect_deadline(),
        )?;
        self.call.log().debug(format!("logged in at {name} ({})", session.peer()));
        let node = self.node(name);
        node.address = Some(session.peer());
        node.session = Some(session);
        Ok(())
    }

    fn boot_id(&mut self, name: &str) -> Result<String, FenceError> {
        let deadline = self.call.request_deadline();
        let lost = || FenceError::connection_lost(format!("no login at {name}"));
        let session = self.node(name).session.as_mut().ok_or_else(lost)?;
        let output = session.run(BOOT_ID, deadline)?;
        let id = output.stdout.trim().to_owned();
        if output.status != Some(0) || Plug::named(id.clone()).uuid().is_none() {
            return Err(FenceError::refused(format!("{name} does not tell its boot id: {}", output.said()))
                .hint("boot_wait needs it"));
        }
        Ok(id)
    }

    fn order(&mut self, name: &str, command: &str) -> Result<(), FenceError> {
        self.log_in(name).map_err(unreachable)?;
        let deadline = self.call.request_deadline();
        let lost = || FenceError::connection_lost(format!("no login at {name}"));
        let node = self.node(name);
        let order = node.session.as_mut().ok_or_else(lost)?.order(command, deadline)?;
        node.order = Some(order);
        node.ordered = true;
        self.call.log().debug(format!("{name} has accepted the order"));
        Ok(())
    }

    /// One look at a node that has accepted its order. True when it has been away for long enough.
    fn is_away(&mut self, name: &str) -> Result<bool, FenceError> {
        let log = self.call.log().clone();
        let node = self.node(name);
        if node.given_up {
            return Ok(true);
        }
        if let (Some(order), Some(session)) = (&mut node.order, &node.session) {
            if let News::Ended(output) = session.news(order, Duration::from_millis(20))?
                && output.status != Some(0)
            {
                let status = output.status.map_or_else(|| "a signal".into(), |s| s.to_string());
                return Err(FenceError::refused(format!(
                    "the command on {name} ended with {status}: {}",
                    output.said()
                )));
            }
            if session.answers(ONE_LOOK)? {
                node.absence.note(false);
                return Ok(false);
            }
            log.debug(format!("the login at {name} is silent"));
        }
        let address = node.address.ok_or_else(|| FenceError::protocol(format!("{name} has no address")))?;
        let sight = look(address)?;
        log.debug(format!("{address}: {sight:?}"));
        node.absence.note(sight != Sight::Listening);
        Ok(node.absence.is_lasting())
    }

    fn wait_until_away(&mut self, name: &str) -> Result<(), FenceError> {
        let begun = Instant::now();
        let limit = self.call.timing().power.unwrap_or(USUAL_POWER_TIMEOUT) + self.call.timing().power_wait;
        let mut tell_at = TELL_EVERY;
        loop {
            self.not_interrupted()?;
            if self.is_away(name)? {
                return Ok(());
            }
            // Rebooted within a second or two, between two looks: its boot id tells.
            if self.node(name).boot_id.is_some() && self.is_another_boot(name)? == Some(true) {
                return Ok(());
            }
            if begun.elapsed() >= limit {
                return Err(FenceError::timed_out(format!(
                    "{name} accepted the order {} s ago and still answers",
                    begun.elapsed().as_secs()
                )));
            }
            if begun.elapsed() >= tell_at {
                tell_at += TELL_EVERY;
                self.call
                    .log()
                    .warning(format!("{name} still answers {} s after the order", begun.elapsed().as_secs()));
            }
            Deadline::after(PAUSE).sleep(PAUSE);
        }
    }

    /// `Some(true)` when a new login shows another boot id than before the order, `None` while there is no answer.
    fn is_another_boot(&mut self, name: &str) -> Result<Option<bool>, FenceError> {
        let node = self.node(name);
        if let Some(session) = &node.session
            && session.answers(ONE_LOOK)?
        {
            return Ok(None);
        }
        (node.session, node.order) = (None, None);
        match node.address.map(look).transpose()? {
            Some(Sight::Listening) => {}
            Some(Sight::Refused | Sight::Silent) | None => return Ok(None),
        }
        let before = node.boot_id.clone();
        let now = match self.log_in(name) {
            Ok(()) => self.boot_id(name),
            Err(error) => Err(error.into()),
        };
        match now {
            Ok(now) => {
                let another = Some(now) != before;
                self.node(name).back = another;
                Ok(Some(another))
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Err(error),
            // While it boots, sshd may turn logins away, or take connections that lead nowhere.
            Err(error) => {
                self.call.log().debug(format!("{name} is not up yet: {error}"));
                self.node(name).session = None;
                Ok(None)
            }
        }
    }

    fn wait_for_another_boot(&mut self, name: &str, until: Deadline) -> Result<(), FenceError> {
        if self.node(name).given_up {
            self.call.log().warning(format!("{name} was never reached: its boot id is not looked at"));
            return Ok(());
        }
        let mut tell = Deadline::after(TELL_EVERY);
        while !self.node(name).back {
            self.not_interrupted()?;
            match self.is_another_boot(name)? {
                Some(true) => break,
                Some(false) => {
                    return Err(FenceError::refused(format!(
                        "{name} was away and is back with the same boot id: it has not rebooted"
                    )));
                }
                None if until.expired() => {
                    return Err(FenceError::timed_out(format!(
                        "{name} went away and was not back within boot_wait, {} s",
                        self.options.boot_wait.as_secs()
                    )));
                }
                None => {}
            }
            if tell.expired() {
                self.call.log().warning(format!("{name} went away and is not back yet"));
                tell = Deadline::after(TELL_EVERY);
            }
            Deadline::after(PAUSE).sleep(PAUSE);
        }
        Ok(())
    }

    /// A node that cannot be logged in at: an error, unless it is silent and `livedangerously` says that this is enough.
    fn dare(&mut self, name: &str, error: Error) -> Result<(), FenceError> {
        let Error::Tcp(tcp::Error::Unreachable(_) | tcp::Error::TimedOut(_)) = &error else {
            return Err(error.into());
        };
        if !self.options.livedangerously.0 {
            return Err(unreachable(error));
        }
        let addresses =
            tcp::resolve(name, self.options.ipport, self.call.connect_deadline()).map_err(|why| {
                FenceError::from(why).hint("livedangerously does not help a name without an address")
            })?;
        for address in addresses {
            let mut absence = Absence::default();
            while !absence.is_lasting() {
                self.not_interrupted()?;
                match look(address)? {
                    Sight::Silent => absence.note(true),
                    Sight::Listening | Sight::Refused => {
                        return Err(unreachable(error)
                            .hint("its kernel answers: it lives, and livedangerously does not apply"));
                    }
                }
                Deadline::after(PAUSE).sleep(PAUSE);
            }
        }
        self.call.log().error(format!(
            "DANGER: {name} DOES NOT ANSWER AND IS TAKEN AS FENCED BECAUSE livedangerously IS SET. NOBODY HAS SEEN IT DOWN: if it \
             runs, data will be destroyed ({error})"
        ));
        self.node(name).given_up = true;
        Ok(())
    }

    fn not_interrupted(&self) -> Result<(), FenceError> {
        if self.call.interrupted() { Err(FenceError::interrupted()) } else { Ok(()) }
    }
}

fn ours(options: &Options, name: &str) -> Result<(), FenceError> {
    let hosts = &options.hostlist.0;
    if hosts.is_empty() || hosts.iter().any(|host| host.eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    Err(FenceError::unknown_plug(format!("'{name}' is not in hostlist ({})", hosts.join(" "))))
}

/// Connection errors, with what they mean for fencing.
fn unreachable(error: Error) -> FenceError {
    let silent = matches!(error, Error::Tcp(tcp::Error::Unreachable(_) | tcp::Error::TimedOut(_)));
    let error = FenceError::from(error);
    if silent {
        error.hint("dead or cut off, ssh cannot tell: use a power switch, or fence_manual after a look at it")
    } else {
        error
    }
}

/// The plugin of Heartbeat's `stonith`, with the parameters of the original.
const EXTERNAL: External = External {
    name: "ssh",
    devid: "ssh STONITH device",
    devdescr: "Reboots nodes through their own sshd, as root, with the keys in ~/.ssh. For test clusters only: NOT FOR \
               PRODUCTION, a node that cannot be reached cannot be fenced this way.",
    devurl: "https://www.openssh.com/",
    params: &[
        ExternalParam {
            unique: true,
            ..external_param(
                "hostlist",
                Meaning::Plugs("hostlist"),
                true,
                "Nodes, separated by blanks or commas",
            )
        },
        ExternalParam {
            listed: false,
            ..external_param(
                "livedangerously",
                Meaning::Option("livedangerously"),
                false,
                "DANGEROUS: yes takes a node that does not answer as fenced",
            )
        },
    ],
};

fn main() -> ExitCode {
    run::<Ssh>()
}
