//! Fencing by a person: the agent waits until an operator confirms that exactly this node is down.
//!
//! Replaces `fence_manual` of the first clusters and Heartbeat's `meatware`. The confirmation is given with `fence_manual ack NODE`;
//! a link to this program called `fence_ack_manual` or `meatclient` is called as the originals were, and does the same.
//!
//! Invariants:
//! - A success has been confirmed by somebody after the request began, for this very request: a confirmation is a conversation
//!   with the waiting process, nothing that lies on a disk, so that none can be stale.
//! - The node's name must be given whole. The original took any beginning of it for the name.
//! - Only the user under whom the agent runs, or root, can confirm: the folder is private, and the kernel tells who speaks.

mod ack;
mod called;
mod pipe;
mod waiting;

use called::Called;
use ocf_lib::deadline::Deadline;
use ocf_lib::fence::prelude::*;
use ocf_lib::fence::{FromText, Kind};
use std::process::ExitCode;
use std::time::Duration;
use waiting::{Request, Waited};

/// How often the operator is reminded.
const REMIND: Duration = Duration::from_secs(60);

fence_options! {
    /// Nodes, and patience.
    struct Options {
        hostlist: Hosts => option("hostlist").argument("[hosts]").default("")
            .help("Nodes that may be fenced, separated by blanks or commas; empty: every plug is a node"),
        confirm_timeout: Duration => option("confirm_timeout").long("confirm-timeout").argument("[seconds]").default("600")
            .order(200).help("Seconds in which an operator must have confirmed; a cluster manager's own limit must be longer"),
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

struct Manual {
    call: Call,
    options: Options,
}

impl PowerDevice for Manual {
    const SPEC: FenceSpec = FenceSpec {
        takes: &[Takes::Plug, Takes::NoStatus],
        adjust: &[adjust("port").help("Name of the node").argument("[node]")],
        external: Some(EXTERNAL),
        ..FenceSpec::new(
            "fence_manual",
            "Fence agent for an operator's confirmation",
            "fence_manual fences a node by asking a person to do it: it waits until an operator confirms that the node is \
             down.\n.P\n\
             Go to the node, power it off, see that it is off, and only then run \\fBfence_manual ack NODE\\fP on the machine \
             where the agent waits (the log says where), as root. The node's name must be whole. Who confirms for a node that \
             runs destroys data.\n.P\n\
             A confirmation counts for the request that waits at that moment and for no other. Nothing happens by itself: a \
             cluster waits for as long as nobody confirms, so set the cluster's fencing timeout, and confirm_timeout, to the \
             time that a person needs. Use it as the last level of a fencing topology.",
        )
    };
    type Options = Options;

    fn validate(options: &Options, call: &Call) -> Result<(), FenceError> {
        let hosts = &options.hostlist.0;
        for plug in call.plugs().iter().map(Plug::name).filter(|name| !name.is_empty()) {
            if !hosts.is_empty() && !hosts.iter().any(|host| host == plug) {
                return Err(FenceError::unknown_plug(format!(
                    "'{plug}' is not in hostlist ({})",
                    hosts.join(" ")
                )));
            }
            if plug.chars().any(char::is_control) {
                return Err(FenceError::usage("a node's name has no control characters"));
            }
        }
        Ok(())
    }

    fn connect(options: Options, call: Call) -> Result<Self, FenceError> {
        Ok(Self { call, options })
    }

    fn status(&mut self, _: &Plug) -> Result<Power, FenceError> {
        Ok(Power::Unknown)
    }

    fn set(&mut self, plug: &Plug, wanted: Wanted) -> Result<(), FenceError> {
        match wanted {
            Wanted::On => self.confirmed(plug, "on", "power it on"),
            Wanted::Off => self.confirmed(plug, "off", "power it off and see that it is off"),
        }
    }

    fn reboot(&mut self, plugs: &[Plug]) -> Result<Rebooted, FenceError> {
        for plug in plugs {
            self.confirmed(plug, "reboot", "power-cycle it and see that it was off")?;
        }
        Ok(Rebooted::Verified)
    }

    fn list(&mut self) -> Result<Vec<Outlet>, FenceError> {
        if self.options.hostlist.0.is_empty() {
            return Err(FenceError::unsupported("hostlist is not set"));
        }
        let outlet = |host: &String| Outlet { id: host.clone(), alias: String::new(), power: None };
        Ok(self.options.hostlist.0.iter().map(outlet).collect())
    }

    /// Whether a person could be waited for here.
    fn monitor(&mut self, _: &[Plug]) -> Result<Monitored, FenceError> {
        waiting::folder()
            .map(|_| Monitored::Good)
            .map_err(|why| FenceError::usage(format!("{}: {why}", waiting::FOLDER)))
    }
}

impl Manual {
    /// Waits until somebody confirms.
    fn confirmed(&self, plug: &Plug, action: &str, what: &str) -> Result<(), FenceError> {
        let node = plug.name();
        let log = self.call.log();
        let mut request = Request::open(node, action)
            .map_err(|why| FenceError::usage(format!("cannot wait in {}: {why}", waiting::FOLDER)))?;
        let plea = format!(
            "OPERATOR INTERVENTION REQUIRED for {node}: {what}. Then run \"fence_manual ack {node}\" here as root"
        );
        log.error(&plea);
        let until = Deadline::after(self.options.confirm_timeout);
        loop {
            match request.wait(until.within(REMIND)) {
                Ok(Waited::Confirmed { by }) => {
                    log.warning(format!(
                        "{action} of {node} was confirmed by user {by}: nothing else has been looked at"
                    ));
                    return Ok(());
                }
                Ok(Waited::Refused(why)) => log.warning(why),
                Ok(Waited::Nothing) => {}
                Err(why) => return Err(FenceError::protocol(format!("waiting for an operator: {why}"))),
            }
            if self.call.interrupted() {
                return Err(FenceError::interrupted());
            }
            if until.expired() {
                return Err(FenceError::timed_out(format!(
                    "nobody has confirmed the {action} of {node} within {} s",
                    self.options.confirm_timeout.as_secs()
                )));
            }
            log.debug("still waiting");
            if request.is_due_for_a_reminder(REMIND) {
                log.warning(&plea);
            }
        }
    }
}

/// The plugin of Heartbeat's `stonith`, with the parameter of the original.
const EXTERNAL: External = External {
    name: "meatware",
    devid: "A person",
    devdescr: "Waits until an operator confirms that the node is down: fence_manual ack NODE.",
    devurl: "https://github.com/ClusterLabs/cluster-glue",
    params: &[ExternalParam {
        unique: true,
        ..external_param("hostlist", Meaning::Plugs("hostlist"), true, "Nodes, separated by blanks or commas")
    }],
};

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(told) = Called::names(&args) {
        return told;
    }
    match Called::by(args.into_iter()) {
        Some((called, arguments)) => ack::run(called, &arguments),
        None => run::<Manual>(),
    }
}
