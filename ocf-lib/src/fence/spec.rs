//! What an agent says about itself, and the complete option table that follows from it.

use super::common_options::{Takes, common, default_port};
use super::external::External;
use super::option::{Adjust, OptionDef};

/// The declaration of a fence agent.
#[derive(Clone, Copy, Debug)]
pub struct FenceSpec {
    /// The canonical name: `fence_ipmilan`.
    pub name: &'static str,
    pub shortdesc: &'static str,
    /// troff marks (`\fB`, `.P`) are kept in the `manpage` action and dropped in `metadata`.
    pub longdesc: &'static str,
    pub vendor_url: &'static str,
    /// Other names under which the agent is installed.
    pub symlinks: &'static [Symlink],
    pub takes: &'static [Takes],
    /// What differs from the common options: defaults, required, help.
    pub adjust: &'static [Adjust],
    /// How the agent speaks the dialect of Heartbeat's `external` plugins, if it does.
    pub external: Option<External>,
    /// What else is understood under some of its names.
    pub old_forms: &'static [OldForm],
}

/// An older calling form: further spellings of options and actions, under one name of the agent.
///
/// They are accepted in silence and stand in no metadata: configurations hold them that nobody is going to change.
#[derive(Clone, Copy, Debug)]
pub struct OldForm {
    /// The agent's name to which this applies.
    pub called: &'static str,
    /// A long option (without the dashes before it; on standard input any of its dashes may be an underscore), its letter, and the key of the option that is meant.
    pub options: &'static [(&'static str, Option<char>, &'static str)],
    /// A word, and the action that is meant.
    pub actions: &'static [(&'static str, &'static str)],
}

/// Another name of the agent, with what it changes.
#[derive(Clone, Copy, Debug)]
pub struct Symlink {
    pub name: &'static str,
    pub shortdesc: &'static str,
    /// Defaults under this name, of common options and of the agent's own.
    pub adjust: &'static [Adjust],
}

impl FenceSpec {
    /// An agent without options beyond those that every agent has.
    pub const fn new(name: &'static str, shortdesc: &'static str, longdesc: &'static str) -> Self {
        Self {
            name,
            shortdesc,
            longdesc,
            vendor_url: "",
            symlinks: &[],
            takes: &[],
            adjust: &[],
            external: None,
            old_forms: &[],
        }
    }

    pub fn has(&self, what: Takes) -> bool {
        self.takes.contains(&what)
    }
}

/// The options of one agent under one name, sorted as metadata and usage show them.
pub struct Table {
    pub spec: FenceSpec,
    /// The name by which the agent was called.
    pub called: String,
    /// The agent itself says which port its device listens on.
    pub own_port: bool,
    pub defs: Vec<OptionDef>,
}

impl Table {
    /// The table of `spec` with the agent's `own` options when it is called as `called`.
    pub fn new(spec: FenceSpec, own: &[OptionDef], called: &str) -> Self {
        let nodename = own.iter().any(|def| def.key == "nodename");
        let mut defs: Vec<OptionDef> = common(spec.takes, nodename)
            .into_iter()
            .filter(|common| !own.iter().any(|own| own.key == common.key))
            .collect();
        defs.extend_from_slice(own);
        let symlink = spec.symlinks.iter().find(|link| link.name == called);
        let changes = spec.adjust.iter().chain(symlink.map(|link| link.adjust).unwrap_or_default());
        for change in changes {
            for def in defs.iter_mut().filter(|def| def.key == change.key) {
                change.apply(def);
            }
        }
        let own_port = own.iter().any(|def| def.key == "ipport")
            || changes_default(spec.adjust)
            || symlink.is_some_and(|link| changes_default(link.adjust));
        if !own_port {
            let on = |key: &str| defs.iter().any(|def| def.key == key && def.default == Some("1"));
            let port =
                default_port(spec.takes, on("secure"), on("ssl") || on("ssl_secure") || on("ssl_insecure"));
            for def in defs.iter_mut().filter(|def| def.key == "ipport") {
                def.default = port;
            }
        }
        defs.sort_by_key(|def| (def.order, def.name()));
        Self { spec, called: called.to_owned(), own_port, defs }
    }

    pub fn has(&self, what: Takes) -> bool {
        self.spec.has(what)
    }

    /// The option that a line of standard input names.
    pub fn by_stdin_name(&self, name: &str) -> Option<&OptionDef> {
        self.defs
            .iter()
            .find(|def| def.key == name)
            .or_else(|| self.defs.iter().find(|def| def.answers_to(name)))
    }

    fn old_forms(&self) -> impl Iterator<Item = &OldForm> {
        self.spec.old_forms.iter().filter(|form| form.called == self.called)
    }

    /// The option that `name` means in an older calling form. Dashes and underscores are the same.
    pub fn by_old_name(&self, name: &str) -> Option<&OptionDef> {
        let name = name.replace('-', "_");
        let (_, _, key) = self
            .old_forms()
            .flat_map(|form| form.options)
            .find(|(old, _, _)| old.replace('-', "_") == name)?;
        self.by_key(key)
    }

    /// The further spellings of the option `key` on the command line.
    pub fn old_names<'t>(&'t self, key: &'t str) -> impl Iterator<Item = (&'static str, Option<char>)> + 't {
        let all = self.old_forms().flat_map(|form| form.options);
        all.filter(move |(_, _, meant)| *meant == key).map(|(old, letter, _)| (*old, *letter))
    }

    /// The action that `word` means in an older calling form; else the word itself.
    pub fn old_action<'w>(&self, word: &'w str) -> &'w str {
        let mut all = self.old_forms().flat_map(|form| form.actions);
        all.find(|(old, _)| *old == word).map_or(word, |(_, action)| *action)
    }

    pub fn by_key(&self, key: &str) -> Option<&OptionDef> {
        self.defs.iter().find(|def| def.key == key)
    }

    /// `plug` is there only as another name of the address.
    pub fn plug_is_address(&self) -> bool {
        self.by_key("port_as_ip").is_some()
    }

    /// What two options cannot share: a programming error, found by the agent's own tests.
    pub fn clashes(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (i, a) in self.defs.iter().enumerate() {
            for b in self.defs.iter().skip(i + 1) {
                if a.short.is_some() && a.short == b.short {
                    found.push(format!("-{} is {} and {}", a.short.unwrap_or(' '), a.key, b.key));
                }
                if a.long == b.long || a.key == b.key {
                    found.push(format!("--{} is {} and {}", a.long, a.key, b.key));
                }
            }
        }
        found
    }
}

fn changes_default(changes: &[Adjust]) -> bool {
    changes.iter().any(|change| change.key == "ipport" && change.sets_default())
}
