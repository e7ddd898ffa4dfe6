//! What rgmanager's `vm` knows of a guest and Pacemaker does not: the attributes of `<vm .../>` in cluster.conf.
//!
//! Names, defaults and meanings as in Red Hat's "Cluster Administration" for RHEL 6, appendix "HA Resource Parameters", table
//! "Virtual Machine", and in the annotated schema of cluster.conf.

use crate::qemu;
use ocf_lib::cmd::Cmd;
use ocf_lib::resource::dialect::Dialect;
use ocf_lib::resource::param::{Content, FromParam, Param, ParamSet};
use ocf_lib::resource::prelude::*;
use ocf_lib::resource::spec::Action;

/// Where a configuration file is looked for when no folder is named: xend's and xl's, libvirt's for Xen.
const FOLDERS: &str = "/etc/xen:/etc/libvirt/libxl";
/// Endings under which a guest's file may lie.
const ENDINGS: [&str; 3] = ["", ".cfg", ".xml"];

params! {
    /// The attributes that this agent reads.
    pub struct Vm {
        pub path: String => param("path").short("Folders to look for the configuration in")
            .long("Folders separated by colons in which the guest's configuration is looked for, under its name alone and \
                with .cfg and .xml behind it; or the file itself. Only where xmlfile is not set. Without it, /etc/xen and \
                /etc/libvirt/libxl.").default(""),
        pub migrate: Manner => param("migrate").reloadable().short("live or pause")
            .long("With live the guest runs on while its memory is sent, with pause it does not. xl can only migrate live, \
                and does so in both cases.").default("live"),
        pub migration_mapping: Mapping => param("migration_mapping").reloadable().short("Addresses for migrations")
            .long("By which address a guest is sent to a member of the cluster, where that is not the member's name: \
                member:target,member2:target2.").default(""),
        pub hypervisor: Hypervisor => param("hypervisor").short("auto or xen")
            .long("Only Xen is managed here: with qemu a start is refused.").default("auto"),
        pub hypervisor_uri: LocalUri => param("hypervisor_uri").short("libvirt's name of the hypervisor")
            .long("Where virsh is used: auto, or another word for the Xen of this host.").default("auto"),
        pub migration_uri: String => param("migration_uri").reloadable().short("libvirt's name of the target")
            .long("Where virsh is used: %s stands for the target of the migration. With auto, xen+ssh://%s/.")
            .default("auto"),
        pub use_virsh: Option<Flag> => param("use_virsh").short("Manage the guest through virsh")
            .long("With 1 through virsh, with 0 through xl or xm. Without it, through virsh if the configuration is in \
                libvirt's XML."),
        pub snapshot: String => param("snapshot").reloadable().short("Accepted, without effect").default(""),
        pub no_kill: Option<Flag> => param("no_kill").reloadable().short("Never destroy a guest that runs")
            .long("A stop whose guest does not shut down in time fails, instead of destroying the guest."),
        pub status_program: String => param("status_program").reloadable().short("Program that looks into the guest")
            .long("Run by every status of depth 10, once a minute, and after a start until it succeeds or the start's time is \
                up: the guest is healthy only if it ends with 0. A command line; with characters that mean something to a \
                shell, sh reads it.").default(""),
        pub tunnelled: Option<Flag> => param("tunnelled").reloadable().short("Send the guest through libvirt's own connection")
            .long("Where virsh is used. xl always sends through ssh."),
    }
}

/// What rgmanager reads of the resource by itself.
const MANAGER: &[Param] = &[
    of_manager("domain", "Failover domain").typed::<String>(),
    of_manager("autostart", "Start it when the cluster has quorum").default("1").typed::<bool>(),
    of_manager("exclusive", "Only on a node that runs nothing else").default("0").typed::<bool>(),
    of_manager("recovery", "restart, relocate, disable or restart-disable").typed::<String>(),
    of_manager("depend", "Service that it needs").typed::<String>(),
    of_manager("depend_mode", "hard or soft").default("hard").typed::<String>(),
    of_manager("max_restarts", "Restarts before it is relocated").default("0").typed::<u32>(),
    of_manager("restart_expire_time", "Seconds after which a restart is forgotten")
        .default("0")
        .typed::<u32>(),
];

const fn of_manager(name: &'static str, short: &'static str) -> Param {
    param(name).short(short).reloadable()
}

/// rgmanager enforces no timeouts of its own, so that these are the agent's: a status program has five minutes after a start.
const ACTIONS: &[Action] = &[
    action(Verb::Start, 300),
    action(Verb::Stop, 120),
    action(Verb::MigrateTo, 600),
    action(Verb::Monitor, 20).every(30).depth(0),
    action(Verb::Monitor, 60).every(60).depth(10),
];

const NAMES: &[Foreign] = &[
    foreign("name", &["name"]).short("Name of the guest"),
    foreign("xmlfile", &["xmfile"]).short("Configuration file of the guest: libvirt's XML, or as xl.cfg(5)"),
];

/// The agent as `vm.sh`. A guest is watched where it is: it is neither started nor stopped when it enters or leaves cluster.conf.
pub const RGMANAGER: Rgmanager = Rgmanager::new("vm")
    .names(NAMES)
    .attributes(Vm::PARAMS)
    .manager(MANAGER)
    .actions(ACTIONS)
    .special(&[("maxinstances", "1"), ("init_on_add", "0"), ("destroy_on_delete", "0")]);

/// Yes or no, in the words of cluster.conf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag(pub bool);

impl FromParam for Flag {
    const CONTENT: Content = Content::Boolean;

    fn from_param(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "1" | "yes" | "y" | "true" | "on" => Ok(Self(true)),
            "0" | "no" | "n" | "false" | "off" => Ok(Self(false)),
            _ => Err(format!("'{text}' is neither 1 nor 0")),
        }
    }
}

ocf_lib::choices! {
    /// How a guest is migrated.
    pub enum Manner { Live => "live", Pause => "pause" }
}

ocf_lib::choices! {
    /// Whose guest it is.
    pub enum Hypervisor { Auto => "auto", Xen => "xen", Qemu => "qemu", Kvm => "kvm" }
}

/// A word for the Xen of this host. All of them mean what [`crate::virsh::URI`] means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalUri;

impl FromParam for LocalUri {
    const CONTENT: Content = Content::String;

    fn from_param(text: &str) -> Result<Self, String> {
        match text {
            "" | "auto" | "xen" | "xen:" | "xen://" | "xen:///" | "xen:///system" | "xen:///default" => {
                Ok(Self)
            }
            _ => Err(format!("'{text}' is not the Xen of this host: auto or xen:/// is")),
        }
    }
}

/// Member and target, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping(Vec<(String, String)>);

impl FromParam for Mapping {
    const CONTENT: Content = Content::String;

    fn from_param(text: &str) -> Result<Self, String> {
        let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
        let pair =
            |pair: &str| match pair.split_once(':').map(|(member, target)| (member.trim(), target.trim())) {
                // Another colon is part of an address.
                Some((member, target))
                    if !member.is_empty() && !target.is_empty() && !target.starts_with('-') =>
                {
                    Ok((member.to_owned(), target.to_owned()))
                }
                _ => Err(format!("'{pair}' is not MEMBER:TARGET")),
            };
        pairs.map(pair).collect::<Result<_, _>>().map(Self)
    }
}

impl Mapping {
    /// By which address `member` takes guests, if that is not its name.
    pub fn target(&self, member: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == member).map(|(_, target)| target.as_str())
    }
}

impl Vm {
    /// The attributes in rgmanager's dialect, and what is wrong with them. What only looks or stops goes on with defaults.
    pub fn of(cx: &Cx) -> (Option<Self>, Option<String>) {
        let (vm, problems) = cx.rgmanager_attributes::<Self>();
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let problem = (!texts.is_empty()).then(|| texts.join("; "));
        if let (Some(text), Verb::Stop | Verb::Monitor | Verb::Status) = (&problem, cx.verb()) {
            cx.warn(format!("{text}; going on with the default"));
        }
        if let (Some(vm), Verb::Start) = (&vm, cx.verb())
            && !vm.snapshot.is_empty()
        {
            cx.warn("snapshot has no effect: a guest is stopped, and never saved");
        }
        (vm, problem)
    }

    /// What is wrong everywhere.
    pub fn check(&self, name: &str) -> Result<(), Fault> {
        let wrong = |why: String| Err(Fault::configured(why));
        match self.hypervisor {
            Hypervisor::Qemu | Hypervisor::Kvm => {
                return wrong(format!("hypervisor {} is not Xen", self.hypervisor.word()));
            }
            Hypervisor::Auto | Hypervisor::Xen => {}
        }
        let LocalUri = self.hypervisor_uri;
        if name.is_empty() {
            return wrong("attribute name: must be set".to_owned());
        }
        if name.bytes().all(|byte| byte.is_ascii_digit()) {
            return wrong(format!("attribute name: xl and virsh would take {name} for a domain's id"));
        }
        Ok(())
    }

    /// The configuration file of `name`, by the folders. `None`: there is none.
    pub fn file(&self, name: &str) -> Option<String> {
        let is_file = |path: &String| std::fs::metadata(path).is_ok_and(|meta| meta.is_file());
        let named = !name.is_empty() && !name.contains('/');
        self.folders().find_map(|folder| {
            if is_file(&folder.to_owned()) {
                return Some(folder.to_owned());
            }
            let folder = folder.trim_end_matches('/');
            ENDINGS
                .iter()
                .map(|ending| format!("{folder}/{name}{ending}"))
                .find(|path| named && is_file(path))
        })
    }

    /// For the person who put the file elsewhere.
    pub fn no_file(&self, name: &str) -> Fault {
        let folders: Vec<&str> = self.folders().collect();
        Fault::installed(format!(
            "no configuration file of guest {name}: none of {name}, {name}.cfg, {name}.xml is in {} (attributes path, xmlfile)",
            folders.join(", ")
        ))
    }

    fn folders(&self) -> impl Iterator<Item = &str> {
        let path = if self.path.is_empty() { FOLDERS } else { &self.path };
        path.split(':').filter(|folder| !folder.is_empty())
    }

    /// Whether the guest is to be migrated in the older way.
    pub fn pauses(&self) -> bool {
        self.migrate == Manner::Pause
    }

    pub fn forbids_killing(&self) -> bool {
        self.no_kill == Some(Flag(true))
    }

    /// The command line is the administrator's own, and may be written for a shell.
    pub fn status_command(&self) -> Option<Cmd> {
        let line = self.status_program.trim();
        let plain =
            |c: char| c.is_alphanumeric() || matches!(c, ' ' | '_' | '.' | '/' | ':' | ',' | '@' | '+' | '-');
        let mut words = line.split(' ').filter(|word| !word.is_empty());
        let first = words.next()?;
        Some(if line.chars().all(plain) {
            Cmd::new(first).args(words)
        } else {
            Cmd::new("/bin/sh").args(["-c", line])
        })
    }
}

/// A guest of that name under another hypervisor, on a host that has no Xen: it is not ours, and it is not stopped.
pub fn elsewhere(cx: &Cx, proc: &std::path::Path, name: &str) -> Option<String> {
    if cx.dialect() != Dialect::Rgmanager || !qemu::runs(proc, name) {
        return None;
    }
    Some(format!("guest {name} runs here under qemu, which this agent does not manage"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocf_lib::resource::testkit::Bench;

    fn vm(attributes: &[(&str, &str)]) -> (Option<Vm>, Option<String>) {
        let bench = Bench::new("Xen", Verb::Start).dialect(Dialect::Rgmanager);
        let bench = attributes.iter().fold(bench, |bench, (name, value)| bench.param(name, value));
        Vm::of(&bench.into_cx())
    }

    #[test]
    fn flags_are_the_words_of_cluster_conf() {
        for (word, is) in [("1", true), ("Yes", true), ("on", true), ("0", false), ("no", false)] {
            assert_eq!(vm(&[("no_kill", word)]).0.unwrap().forbids_killing(), is, "{word}");
        }
        assert_eq!(vm(&[("no_kill", "")]).0.unwrap().no_kill, None);
        assert_eq!(vm(&[("use_virsh", "2")]).1.unwrap(), "parameter use_virsh: '2' is neither 1 nor 0");
    }

    #[test]
    fn a_member_may_have_another_address_for_migrations() {
        let mapping =
            vm(&[("migration_mapping", "n1:n1-mig, n2:10.0.0.2,n3:fe80::1")]).0.unwrap().migration_mapping;
        let target = |member: &str| mapping.target(member).unwrap_or("-").to_owned();
        assert_eq!(["n1", "n2", "n3", "n"].map(target), ["n1-mig", "10.0.0.2", "fe80::1", "-"]);
        for wrong in ["n1", "n1:", ":n1", "n1:-oProxyCommand=x", "n1:a,n2"] {
            let problem = vm(&[("migration_mapping", wrong)]).1.unwrap();
            assert!(problem.contains("is not MEMBER:TARGET"), "{wrong}: {problem}");
        }
    }

    #[test]
    fn the_file_is_found_by_the_guests_name_in_the_first_folder_that_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        for folder in ["a", "b"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        for file in ["a/d1.xml", "b/d1", "b/d2.cfg", "b/d2.xml", "b/d10"] {
            std::fs::write(at(file), "").unwrap();
        }
        std::fs::create_dir(dir.path().join("a/d2")).unwrap();
        let path = format!("{}:{}/:", at("a"), at("b"));
        let vm = |path: &str| vm(&[("path", path)]).0.unwrap();
        let found = |name: &str| vm(&path).file(name).map(|file| file.replace(&at(""), ""));
        assert_eq!(found("d1").unwrap(), "a/d1.xml");
        assert_eq!(found("d2").unwrap(), "b/d2.cfg", "a folder is no file");
        assert_eq!(found("d3"), None);
        assert_eq!(found(""), None);
        assert_eq!(found("../b/d1"), None, "a name is no path");
        assert_eq!(vm(&at("b/d10")).file("d1").unwrap(), at("b/d10"), "the path is the file");
        let fault = vm(&path).no_file("d3");
        assert!(fault.reason().contains(&at("a")) && fault.reason().contains("d3.xml"), "{fault}");
    }

    #[test]
    fn a_command_line_needs_a_shell_only_where_it_is_written_for_one() {
        let command = |line: &str| vm(&[("status_program", line)]).0.unwrap().status_command();
        let words = |line: &str| command(line).unwrap().to_string();
        assert!(command("").is_none() && command("  ").is_none());
        assert_eq!(words("ping -c1  -w1 192.168.102.61"), "ping -c1 -w1 192.168.102.61");
        assert_eq!(words("/opt/check d1 >/dev/null"), "/bin/sh -c /opt/check d1 >/dev/null");
        assert_eq!(words("PORT=80 /opt/check"), "/bin/sh -c PORT=80 /opt/check");
        assert_eq!(words("/opt/check 'a b'"), "/bin/sh -c /opt/check 'a b'");
    }

    #[test]
    fn only_this_hosts_xen_is_managed() {
        for uri in ["auto", "xen:///", "xen:///system"] {
            assert_eq!(vm(&[("hypervisor_uri", uri)]).1, None, "{uri}");
        }
        for uri in ["qemu:///system", "xen+ssh://n2/"] {
            assert!(
                vm(&[("hypervisor_uri", uri)]).1.unwrap().contains("is not the Xen of this host"),
                "{uri}"
            );
        }
        assert_eq!(vm(&[]).0.unwrap().check("d1"), Ok(()));
        assert!(vm(&[]).0.unwrap().check("").is_err());
        assert!(vm(&[]).0.unwrap().check("17").is_err(), "xl takes a number for an id");
    }

    #[test]
    fn other_managers_have_none_of_it() {
        let cx = Bench::new("Xen", Verb::Start).param("no_kill", "1").into_cx();
        assert!(Vm::of(&cx).0.is_none());
    }
}
