//! The vocabulary of behaviour cases as types: what a line of a `.case` file can say.

use super::fence::{AtBmc, Device};
use super::target::Unit;
use crate::case::{Level, Parameters};
use crate::subject::Family;
use std::time::Duration;

/// One case, as its file tells it.
#[derive(Clone, Debug)]
pub struct Script {
    /// The agent, after the folder of the file.
    pub agent: String,
    pub name: String,
    /// `IPaddr2/labels.case`, for findings.
    pub file: String,
    pub about: String,
    pub level: Level,
    /// Programs without which the case cannot be judged.
    pub needs: Vec<String>,
    /// Other names of the same agent for which the case stands, too.
    pub also: Vec<String>,
    /// Statements with their line numbers, in order.
    pub steps: Vec<(usize, Step)>,
    /// The same as it stands in the file.
    pub lines: Vec<(usize, String)>,
}

/// A statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Given(Given),
    With(Parameters),
    Without(Vec<String>),
    /// Lines of standard input as they are, behind all others (fence agents).
    Stdin(Vec<String>),
    /// Words of the command line as they are, behind all others (fence agents).
    Arguments(Vec<String>),
    Run(Run),
    Expect(Expect),
    Observe(Observe),
    /// Carried out at the end, the last one first, however the case ends (level lab).
    Finally(String),
}

/// Something that is so, or happens, without the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// Calls of `ip`, with what stands behind it.
    Ip(Vec<Vec<String>>),
    /// A link is switched; `peer` is the other end of the interface's cable.
    Link {
        name: String,
        up: bool,
        peer: bool,
    },
    NoAddress(String),
    File {
        path: String,
        text: String,
    },
    NoFile(String),
    Folder(String),
    Environment(String, Option<String>),
    Setting(String, String),
    NoProgram(String),
    /// A script that stands in for a vendor's program, wherever that would be.
    StandIn {
        name: String,
        text: String,
    },
    /// In its place stands one that notes its arguments and ends with this status.
    Recorder {
        path: String,
        status: u8,
    },
    /// A real tgtd runs.
    Tgtd,
    /// A call of tgtadm, by somebody else.
    Tgtadm(Vec<String>),
    Nobody,
    Pass(Duration),
    Device(Device),
    /// A line of the shell, on the machine itself (level lab). It must succeed.
    Done(String),
}

/// A call of the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub action: String,
    /// A monitor with an interval; else the interval is 0, a probe.
    pub recurring: bool,
    /// `OCF_CHECK_LEVEL`.
    pub level: Option<String>,
    pub by: By,
}

/// How the agent is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// As Pacemaker does: the environment for a resource agent, standard input for a fence agent.
    #[default]
    Manager,
    /// On the command line, with long options (fence agents).
    Options,
    /// The same, with short options where there are some.
    ShortOptions,
}

/// What the last call must have answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    Code(Vec<i32>),
    Reason(String),
    NoReason,
    Says {
        stream: Stream,
        not: bool,
        text: String,
    },
    /// The whole of it, without blanks at its ends.
    Is {
        stream: Stream,
        text: String,
    },
    Under(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Out,
    Err,
}

/// What somebody other than the agent must see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observe {
    pub not: bool,
    pub thing: Thing,
    /// For how long it may still become true.
    pub within: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Thing {
    Address(Address),
    Route {
        destination: String,
        dev: Option<String>,
        metric: Option<u64>,
    },
    Link {
        name: String,
        up: bool,
    },
    Rule(String),
    AddressLabel {
        prefix: String,
        label: String,
    },
    File {
        path: String,
        holds: Option<String>,
    },
    /// The file has this text somewhere.
    Mentions {
        path: String,
        text: String,
    },
    /// The file's permissions, in octal.
    Mode {
        path: String,
        mode: u32,
    },
    Bmc(AtBmc),
    /// A line of what tgtd shows.
    Tgt(String),
    /// An initiator reaches the unit.
    Unit(Unit),
    Process(String),
    /// What a line of the shell says (level lab); its exit status does not matter.
    Says {
        line: String,
        text: String,
    },
    /// The last call of the agent ran this recorder, with these words in its arguments.
    Called {
        program: String,
        words: String,
    },
    /// The peer's own kernel sends packets for the address to this interface's hardware address.
    Neighbour {
        address: String,
        dev: String,
    },
    Packet {
        kind: Kind,
        address: String,
        times: usize,
    },
    /// Addresses, routes, labels, rules and files of the run directory are as before the first call.
    NothingLeft,
}

/// An entry of `ip address`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    pub local: String,
    pub prefix: Option<u64>,
    pub dev: Option<String>,
    pub label: Option<String>,
    /// `none`: the entry has no broadcast address.
    pub broadcast: Option<String>,
    /// Names of `ip -j`, and whether they are set.
    pub flags: Vec<(String, bool)>,
    pub metric: Option<u64>,
    pub namespace: Option<String>,
    /// How many entries there are.
    pub times: Option<usize>,
}

/// What is heard at the other end of the cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ARP with this sender address, request or reply.
    Arp,
    /// `ICMPv6` neighbour advertisement for this target (RFC 4861, 4.4).
    Advertisement,
}

impl Script {
    pub fn id(&self) -> String {
        format!("{}/{}", self.agent, self.name)
    }

    pub fn family(&self) -> Family {
        if self.agent.starts_with("fence_") { Family::Fence } else { Family::Resource }
    }

    /// The same case for the other names.
    pub fn under_other_names(&self) -> Vec<Self> {
        let mut copies = Vec::new();
        for name in &self.also {
            copies.push(Self { agent: name.clone(), also: Vec::new(), ..self.clone() });
        }
        copies
    }

    /// The agent whose folder the file is in: its ways are the case's, too.
    pub fn home(&self) -> &str {
        self.file.split('/').next().unwrap_or_default()
    }

    /// Whether something is listened for at the peer.
    pub fn listens(&self) -> bool {
        self.steps.iter().any(|(_, step)| {
            matches!(step, Step::Observe(observe) if matches!(observe.thing, Thing::Packet { .. }))
        })
    }
}
