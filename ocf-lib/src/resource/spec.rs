//! What an agent says about itself: names, prose, actions. Parameters are in [`crate::resource::param`].

use crate::resource::agent::Verb;
use crate::resource::param::Param;

/// One row of the agent's actions. Built with [`action`].
#[derive(Clone, Copy, Debug)]
pub struct Action {
    pub verb: Verb,
    /// Recommended timeout, seconds. Also the deadline when the caller gives none.
    pub timeout: u32,
    /// Recommended interval, seconds; only for recurring actions.
    pub interval: Option<u32>,
    /// `OCF_CHECK_LEVEL` of this row.
    pub depth: Option<u32>,
    pub role: Option<Role>,
}

/// Role of a promotable resource that an action is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Promoted,
    Unpromoted,
}

/// A row for `verb` with its timeout in seconds.
pub const fn action(verb: Verb, timeout: u32) -> Action {
    Action { verb, timeout, interval: None, depth: None, role: None }
}

impl Action {
    #[must_use]
    pub const fn every(mut self, seconds: u32) -> Self {
        self.interval = Some(seconds);
        self
    }

    #[must_use]
    pub const fn depth(mut self, level: u32) -> Self {
        self.depth = Some(level);
        self
    }

    #[must_use]
    pub const fn role(mut self, role: Role) -> Self {
        self.role = Some(role);
        self
    }
}

/// A name from another manager's world and the parameters that its value stands for.
///
/// With a separator, the value is split and its parts given to `targets` in order:
/// Heartbeat's `10.0.0.1/24/eth0` is `ip`, `cidr_netmask`, `nic`.
#[derive(Clone, Copy, Debug)]
pub struct Foreign {
    pub name: &'static str,
    pub targets: &'static [&'static str],
    pub separator: Option<char>,
    pub short: &'static str,
}

/// A foreign name for one parameter.
pub const fn foreign(name: &'static str, target: &'static [&'static str]) -> Foreign {
    Foreign { name, targets: target, separator: None, short: "" }
}

impl Foreign {
    #[must_use]
    pub const fn split(mut self, separator: char) -> Self {
        self.separator = Some(separator);
        self
    }

    #[must_use]
    pub const fn short(mut self, text: &'static str) -> Self {
        self.short = text;
        self
    }
}

/// How rgmanager knows this kind of resource, where that differs from the OCF agent. Built with [`Rgmanager::new`].
#[derive(Clone, Copy)]
pub struct Rgmanager {
    /// Type name of the stock agent: other agents' metadata refers to it.
    pub type_name: &'static str,
    /// Names of `cluster.conf`; the first is the primary one. Without a row a parameter keeps its name.
    pub names: &'static [Foreign],
    /// Attributes that only this dialect has: the rows of a set of parameters of their own. The agent reads them with
    /// [`crate::resource::context::Cx::rgmanager_attributes`].
    pub attributes: &'static [Param],
    /// Attributes that rgmanager itself reads from the resource. It knows only what metadata declares, and restarts a
    /// resource over a change of what is not declared as changeable ([`Param::reloadable`]).
    pub manager: &'static [Param],
    /// Attributes of the stock agent that have no meaning here: accepted and ignored.
    pub ignored: &'static [&'static str],
    /// Rows that hold here instead of the agent's own of the same verb.
    pub actions: &'static [Action],
    /// Attributes of `<special tag="rgmanager"><attributes .../>`.
    pub special: &'static [(&'static str, &'static str)],
}

impl Rgmanager {
    /// Known as `type_name`, and in nothing else different.
    pub const fn new(type_name: &'static str) -> Self {
        Self {
            type_name,
            names: &[],
            attributes: &[],
            manager: &[],
            ignored: &[],
            actions: &[],
            special: &[],
        }
    }

    #[must_use]
    pub const fn names(mut self, names: &'static [Foreign]) -> Self {
        self.names = names;
        self
    }

    #[must_use]
    pub const fn attributes(mut self, rows: &'static [Param]) -> Self {
        self.attributes = rows;
        self
    }

    #[must_use]
    pub const fn manager(mut self, rows: &'static [Param]) -> Self {
        self.manager = rows;
        self
    }

    #[must_use]
    pub const fn ignored(mut self, names: &'static [&'static str]) -> Self {
        self.ignored = names;
        self
    }

    #[must_use]
    pub const fn actions(mut self, rows: &'static [Action]) -> Self {
        self.actions = rows;
        self
    }

    #[must_use]
    pub const fn special(mut self, attributes: &'static [(&'static str, &'static str)]) -> Self {
        self.special = attributes;
        self
    }
}

/// Something that an agent does for an administrator, beside its actions: `multipath-resize plan device=/dev/sdb`.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    pub word: &'static str,
    /// One line, for the usage text and the manual.
    pub about: &'static str,
    /// Seconds after which it gives up.
    pub timeout: u32,
}

/// Everything an agent says about itself.
#[derive(Clone, Copy)]
pub struct Spec {
    /// OCF type name, and so the name under which it is installed.
    pub name: &'static str,
    pub version: &'static str,
    pub short: &'static str,
    pub long: &'static str,
    /// Rows that are the agent's own; `meta-data` and `validate-all` need none. See [`Spec::rows`].
    pub actions: &'static [Action],
    pub commands: &'static [Command],
    /// Whether the commands can answer in JSON.
    pub commands_in_json: bool,
    /// Whether start and what changes the system need root (code 4 otherwise).
    pub needs_root: bool,
    pub rgmanager: Option<Rgmanager>,
    /// Positional arguments in `haresources`.
    pub heartbeat: &'static [Foreign],
}

impl Spec {
    pub const fn new(name: &'static str, version: &'static str) -> Self {
        Self {
            name,
            version,
            short: "",
            long: "",
            actions: &[],
            commands: &[],
            commands_in_json: false,
            needs_root: false,
            rgmanager: None,
            heartbeat: &[],
        }
    }

    #[must_use]
    pub const fn short(mut self, text: &'static str) -> Self {
        self.short = text;
        self
    }

    #[must_use]
    pub const fn long(mut self, text: &'static str) -> Self {
        self.long = text;
        self
    }

    #[must_use]
    pub const fn actions(mut self, rows: &'static [Action]) -> Self {
        self.actions = rows;
        self
    }

    /// What the agent does beside its actions, by hand.
    #[must_use]
    pub const fn commands(mut self, commands: &'static [Command]) -> Self {
        self.commands = commands;
        self
    }

    /// With `--json` the commands answer in JSON: [`super::context::Cx::wants_json`] tells them.
    #[must_use]
    pub const fn commands_in_json(mut self) -> Self {
        self.commands_in_json = true;
        self
    }

    #[must_use]
    pub const fn needs_root(mut self) -> Self {
        self.needs_root = true;
        self
    }

    #[must_use]
    pub const fn rgmanager(mut self, known_as: Rgmanager) -> Self {
        self.rgmanager = Some(known_as);
        self
    }

    #[must_use]
    pub const fn heartbeat(mut self, positional: &'static [Foreign]) -> Self {
        self.heartbeat = positional;
        self
    }

    /// What the agent declares, and what the framework answers for every agent.
    pub fn rows(&self) -> impl Iterator<Item = &'static Action> {
        const EVERY_AGENT: [Action; 2] = [action(Verb::MetaData, 5), action(Verb::ValidateAll, 20)];
        let declared = self.actions;
        let missing = |row: &&Action| declared.iter().all(|own| own.verb != row.verb);
        declared.iter().chain(EVERY_AGENT.iter().filter(missing))
    }

    pub fn row(&self, verb: Verb) -> Option<&'static Action> {
        self.rows().find(|row| row.verb == verb)
    }

    /// The rows of `verb` as rgmanager is told of them.
    pub fn rgmanager_rows(&self, verb: Verb) -> Vec<&'static Action> {
        let of = |row: &&Action| row.verb == verb;
        let own: Vec<_> =
            self.rgmanager.map_or(&[][..], |known_as| known_as.actions).iter().filter(of).collect();
        if own.is_empty() { self.rows().filter(of).collect() } else { own }
    }

    pub fn supports(&self, verb: Verb) -> bool {
        self.row(verb).is_some()
    }
}
