//! Cuts a node from shared disks by SCSI-3 or NVMe persistent reservations, and lets it in again (unfencing).
//!
//! Replaces upstream's `fence_scsi`; nodes with either can be in one cluster. The standard: SPC-4 5.12. Neither
//! `sg_persist` nor `sg_turs` is run: the client is our own, in [`ringfence_fence::persistent_reservation`]. Two
//! programs are: `corosync-cmapctl`, for the node list that keys are made of (once, and not with `key`), and `vgs`, when
//! no devices are given. The same program is the watchdog's check when it is called `fence_scsi_check`.
//!
//! Invariants:
//! - `off` succeeds only if afterwards every disk, over every path that answers, listed our own key, did not list the
//!   victim's, and was reserved for registrants.
//! - A key that is on no disk proves nothing as long as a key is there that nobody is known to have.
//! - `on` never takes a registration away to make another; a host that was fenced does not register itself to fence.

use ocf_lib::cmd::{Cmd, Runner, System};
use ocf_lib::fence::prelude::*;
use ocf_lib::fence::{Action, LONGEST_WAIT};
use ringfence_fence::persistent_reservation::device::{AnyPort, Places, clustered};
use ringfence_fence::persistent_reservation::node_key::{Cluster, Method as KeyMethod, Node};
use ringfence_fence::persistent_reservation::store::Store;
use ringfence_fence::persistent_reservation::watchdog::{self, Check};
use ringfence_fence::persistent_reservation::{Fabric, Joined, Key, KeyList, Knowledge, words};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

/// Where upstream keeps its files, and where Debian's package of it does.
const STORE: &str = "/run/cluster/fence_scsi";
const OLDER_STORE: &str = "/run/cluster";

fence_choices! {
    /// What keys are made of.
    enum KeyValue { Id => "id", Hash => "hash", NodeId => "nodeid" }
}

fence_choices! {
    /// Upstream's way to register a multipath device.
    enum Register { Multi => "multi", Single => "single" }
}

fence_options! {
    /// What is special about reservations.
    struct Options {
        aptpl: bool => option("aptpl").short('a')
            .help("Let the devices keep registrations and reservation when their power fails (APTPL); for on"),
        devices: Option<String> => option("devices").short('d').argument("[devices]")
            .help("Devices, separated by commas or blanks; without it, the physical volumes of clustered and shared volume groups"),
        key: Option<Key> => option("key").short('k').argument("[key]")
            .help("Key in hexadecimal digits, instead of the one made of the node's name: on registers it, off removes it"),
        known_keys: Option<KeyList> => option("known_keys").long("known-keys").argument("[keys]")
            .help("Keys of all nodes and other users of the devices, separated by commas or blanks, where they are not made of names"),
        nodename: Option<String> => option("nodename").argument("[nodename]").hidden()
            .help("Name of the node; goes before plug"),
        readonly: bool => option("readonly")
            .help("Accepted for older configurations: devices are never opened for writing"),
        suppress_errors: bool => option("suppress-errors").long("suppress-errors").help("Tell warnings only to the debug log"),
        logfile: Option<String> => option("logfile").short('f').order(5)
            .help("File to which everything is written instead of standard output and error"),
        corosync_cmap_path: String => option("corosync_cmap_path").long("corosync-cmap-path").argument("[path]").order(300)
            .default("/usr/sbin/corosync-cmapctl").help("Path of corosync-cmapctl"),
        key_value: KeyValue => option("key_value").long("key-value").argument("<id|hash|nodeid>").order(300).default("id")
            .shown_as_text()
            .help("What keys are made of: id is the node's place in corosync's list, which moves when a node before it is \
                   removed; hash its name; nodeid its number in corosync, which nothing changes. All nodes must have the same"),
        mpath_register_method: Register => option("mpath_register_method").long("mpath-register-method").argument("[method]")
            .order(300).default("multi").shown_as_text().hidden()
            .help("Accepted for older configurations: every path of a multipath device is registered"),
        sg_persist_path: String => option("sg_persist_path").long("sg_persist-path").argument("[path]").order(300)
            .default("/usr/bin/sg_persist").help("Accepted for older configurations; not run"),
        sg_turs_path: String => option("sg_turs_path").long("sg_turs-path").argument("[path]").order(300)
            .default("/usr/bin/sg_turs").help("Accepted for older configurations; not run"),
        vgs_path: String => option("vgs_path").long("vgs-path").argument("[path]").order(300)
            .default("/sbin/vgs").help("Path of vgs"),
    }
}

struct FenceScsi {
    call: Call,
    options: Options,
    devices: Vec<String>,
    fabric: Fabric<AnyPort>,
    store: Store,
    /// Asked once.
    cluster: Option<Cluster>,
}

impl FabricDevice for FenceScsi {
    const SPEC: FenceSpec = FenceSpec {
        takes: &[
            Takes::Plug,
            Takes::NoPort,
            Takes::Fabric,
            Takes::ForceOn,
            Takes::OnTarget,
            Takes::Automatic,
        ],
        adjust: &[
            adjust("port")
                .required(true)
                .argument("[nodename]")
                .help("Name of the node; its key is made of it, unless key is given"),
            adjust("separator").hidden(),
        ],
        ..FenceSpec::new(
            "fence_scsi",
            "Fence agent for SCSI persistent reservation",
            "fence_scsi cuts a node from shared disks by persistent reservations (SCSI-3, NVMe). Every node registers a key \
             with every device, over every path; one of them reserves the devices for registrants. A node is fenced by \
             preempting its key: from then on the disks themselves refuse its writes.\n.P\n\
             The node is cut from its disks and nothing else: it goes on running until it is rebooted, for example by the \
             watchdog's check fence_scsi_check. It is let in again by on, which a cluster calls unfencing and runs on the \
             node itself when it joins.\n.P\n\
             Off succeeds only when every device has listed the keys afterwards, without the victim's and with our own, and \
             is reserved. The key id, which is the default as it is upstream's, is the node's place in corosync's list: when a \
             node is removed, the places behind it move, and fencing is refused until all nodes were unfenced again. Use \
             hash or nodeid in new clusters.",
        )
    };
    type Options = Options;

    fn validate(options: &Options, call: &Call) -> Result<(), FenceError> {
        let about_a_node = matches!(call.action(), Action::On | Action::Off | Action::Status);
        let named = options.nodename.as_deref().is_some_and(|name| !name.is_empty())
            || call.plugs().iter().any(|plug| !plug.name().is_empty());
        if about_a_node && options.key.is_none() && !named {
            return Err(FenceError::usage("nodename or key is required"));
        }
        Ok(())
    }

    fn connect(options: Options, call: Call) -> Result<Self, FenceError> {
        if let Some(file) = options.logfile.as_deref().filter(|file| !file.is_empty()) {
            into_file(file)?;
        }
        if options.readonly
            || options.mpath_register_method == Register::Single
            || options.sg_persist_path != "/usr/bin/sg_persist"
            || options.sg_turs_path != "/usr/bin/sg_turs"
        {
            let text = "readonly, mpath_register_method, sg_persist_path and sg_turs_path have no effect: no program is run";
            call.log().debug(text);
        }
        let devices = devices(&options, &call)?;
        let patience = call.timing().power.unwrap_or(LONGEST_WAIT);
        let luns = Places::default().luns(&devices, patience).map_err(FenceError::usage)?;
        let store = Store::new(STORE, Some(OLDER_STORE.into()));
        Ok(Self { call, options, devices, fabric: Fabric::new(luns), store, cluster: None })
    }

    fn has_access(&mut self, plug: &Plug) -> Result<Option<bool>, FenceError> {
        let key = self.key(plug)?;
        match self.call.action() {
            Action::Off => {
                let own = self.own()?;
                self.own_place_is_the_same(own)?;
                let knowledge = self.knowledge(plug)?;
                self.fabric.has_access(own, key, &knowledge)
            }
            Action::On => Ok(self.fabric.has_joined(key)?),
            Action::Reboot
            | Action::Status
            | Action::List
            | Action::ListStatus
            | Action::Monitor
            | Action::Metadata
            | Action::Manpage
            | Action::ValidateAll
            | Action::Diag => {
                let (any, doubt) = self.fabric.status(key)?;
                if let Some(why) = doubt {
                    self.warn(why);
                }
                Ok(Some(any))
            }
        }
    }

    fn allow(&mut self, plug: &Plug) -> Result<(), FenceError> {
        let key = self.key(plug)?;
        self.is_this_node(plug)?;
        for (device, joined) in self.fabric.join(key, self.options.aptpl)? {
            self.tell(&device, &joined);
        }
        // After joining: a check of the watchdog between the two would see a key that is nowhere.
        let kept = self.store.keep(key, &self.devices);
        kept.map_err(|why| {
            FenceError::usage(format!("cannot write {}: {why}", self.store.file("key").display()))
        })?;
        self.remember();
        Ok(())
    }

    fn deny(&mut self, plug: &Plug) -> Result<(), FenceError> {
        let (own, victim) = (self.own()?, self.key(plug)?);
        self.own_place_is_the_same(own)?;
        self.remember();
        let knowledge = self.knowledge(plug)?;
        if let Some((_, other)) = self.node(plug)?.and_then(|node| self.twin(&node, victim)) {
            return Err(FenceError::usage(format!("key {victim} is also that of {other}"))
                .hint("use key_value=nodeid, or key"));
        }
        self.fabric.deny(own, victim, &knowledge, self.options.aptpl)
    }

    fn monitor(&mut self, _: &[Plug]) -> Result<Monitored, FenceError> {
        let own = self.own()?;
        if let Some(gap) = self.fabric.gap(own)? {
            return Err(FenceError::refused(gap).hint("this host cannot fence: unfence it (action on)"));
        }
        self.own_place_is_the_same(own)?;
        self.remember();
        if self.options.key.is_none() {
            let cluster = self.cluster()?.clone();
            let method = self.method();
            let nobody = Node { position: u32::MAX, ..Node::default() };
            let known: BTreeSet<u64> = cluster
                .keys_of_others(&nobody, method)
                .iter()
                .map(|(key, _)| key.number())
                .chain(self.known_keys().iter().map(|key| key.number()))
                .collect();
            for key in self.fabric.keys()?.difference(&known) {
                self.warn(&format!(
                    "key {key:x} is registered and belongs to no node: fencing may be refused for it"
                ));
            }
        }
        Ok(Monitored::Good)
    }
}

impl FenceScsi {
    fn method(&self) -> KeyMethod {
        match self.options.key_value {
            KeyValue::Id => KeyMethod::Position,
            KeyValue::Hash => KeyMethod::Hash,
            KeyValue::NodeId => KeyMethod::NodeId,
        }
    }

    fn warn(&self, text: &str) {
        if self.options.suppress_errors {
            self.call.log().debug(text);
        } else {
            self.call.log().warning(text);
        }
    }

    fn tell(&self, device: &str, joined: &Joined) {
        for path in &joined.dead {
            self.warn(&format!("{device}: not registered over {path}; run on again when it is back"));
        }
        if joined.stale > 0 {
            let text =
                format!("{device}: {} registrations with our key are of paths that are gone", joined.stale);
            self.call.log().info(text);
        }
    }

    fn known_keys(&self) -> BTreeSet<Key> {
        self.options.known_keys.as_ref().map(|keys| keys.0.clone()).unwrap_or_default()
    }

    /// Our own key, as `on` left it.
    fn own(&self) -> Result<Key, FenceError> {
        self.store.key().map_err(|why| {
            FenceError::usage(why)
                .hint("this host was not unfenced since it booted: run the action on for it")
        })
    }

    /// The node's name: `nodename` goes before `plug`, as upstream has it.
    fn name<'a>(&'a self, plug: &'a Plug) -> &'a str {
        self.options.nodename.as_deref().filter(|name| !name.is_empty()).unwrap_or(plug.name())
    }

    fn cluster(&mut self) -> Result<&Cluster, FenceError> {
        if self.cluster.is_none() {
            let cmd = Cmd::new(&self.options.corosync_cmap_path).args(["totem.cluster_name", "nodelist."]);
            let output = System.run(&cmd, self.call.tool_deadline())?;
            // With several prefixes it fails where one of them is missing: what it printed counts.
            let cluster = Cluster::parse(&output.stdout_text()).map_err(|why| {
                let said =
                    if output.success() { String::new() } else { format!("; {}", output.failure(&cmd)) };
                FenceError::usage(format!("{why}{said}")).hint("is corosync running? key needs no node list")
            })?;
            self.cluster = Some(cluster);
        }
        self.cluster.as_ref().ok_or_else(|| FenceError::protocol("corosync gave no node list"))
    }

    /// The node that is meant; `None` with `key`.
    fn node(&mut self, plug: &Plug) -> Result<Option<Node>, FenceError> {
        if self.options.key.is_some() {
            return Ok(None);
        }
        let name = self.name(plug).to_owned();
        let cluster = self.cluster()?;
        if let Some(node) = cluster.node(&name) {
            return Ok(Some(node.clone()));
        }
        let all: Vec<&str> = cluster.nodes.iter().map(Node::called).collect();
        Err(FenceError::unknown_plug(format!("corosync knows no node '{name}', but {}", all.join(", "))))
    }

    fn key(&mut self, plug: &Plug) -> Result<Key, FenceError> {
        if let Some(key) = &self.options.key {
            return Ok(*key);
        }
        let Some(node) = self.node(plug)? else {
            return Err(FenceError::usage("nodename or key is required"));
        };
        let (name, method) = (self.name(plug).to_owned(), self.method());
        self.cluster()?.key(&node, &name, method).map_err(FenceError::usage)
    }

    /// Another node with the same key.
    fn twin(&self, node: &Node, key: Key) -> Option<(Key, String)> {
        let cluster = self.cluster.as_ref()?;
        let others = cluster.keys_of_others(node, self.method());
        others.into_iter().find(|(other, _)| *other == key).map(|(key, name)| (key, name.to_owned()))
    }

    fn knowledge(&mut self, plug: &Plug) -> Result<Knowledge, FenceError> {
        let mut others = self.known_keys();
        let victim = self.key(plug)?;
        let seen = match self.node(plug)? {
            Some(node) => {
                let method = self.method();
                others.extend(self.cluster()?.keys_of_others(&node, method).into_iter().map(|(key, _)| key));
                BTreeSet::new()
            }
            None => self.store.seen(),
        };
        others.remove(&victim);
        let doubtful = self.options.key.is_none() && self.options.key_value == KeyValue::Id;
        Ok(Knowledge { others, seen, doubtful })
    }

    /// `on` registers this host: with the key of another node it would take that node's place.
    fn is_this_node(&mut self, plug: &Plug) -> Result<(), FenceError> {
        let Some(node) = self.node(plug)? else { return Ok(()) };
        let key = self.key(plug)?;
        if let Some((_, other)) = self.twin(&node, key) {
            return Err(FenceError::usage(format!("key {key} is also that of {other}"))
                .hint("use key_value=nodeid, or key"));
        }
        match self.cluster()?.local() {
            Some(local) if local.position != node.position => Err(FenceError::usage(format!(
                "on must run on {} itself, and this is {}",
                node.called(),
                local.called()
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// The places of the node list have moved since this host joined: then every key is somebody else's.
    fn own_place_is_the_same(&mut self, own: Key) -> Result<(), FenceError> {
        if self.options.key.is_some() || self.options.key_value != KeyValue::Id {
            return Ok(());
        }
        let cluster = self.cluster()?;
        let Some(local) = cluster.local() else {
            return Err(FenceError::usage(
                "corosync does not say nodelist.local_node_pos, this host's place in its list",
            ));
        };
        let now = cluster.key(local, local.called(), KeyMethod::Position).map_err(FenceError::usage)?;
        if now == own {
            return Ok(());
        }
        Err(FenceError::refused(format!(
            "this host is registered with key {own}, but its place in the node list makes {now}: a node was added or \
             removed, and the keys of others cannot be told either"
        ))
        .hint("unfence all nodes again, better with key_value=hash or nodeid"))
    }

    fn remember(&mut self) {
        if let Err(why) = self.fabric.remember(&self.store) {
            self.call.log().debug(why);
        }
    }
}

fn devices(options: &Options, call: &Call) -> Result<Vec<String>, FenceError> {
    let given: Vec<String> =
        words(options.devices.as_deref().unwrap_or_default()).map(str::to_owned).collect();
    if !given.is_empty() {
        return Ok(given);
    }
    let cmd = Cmd::new(&options.vgs_path).args([
        "--noheadings",
        "--separator",
        ":",
        "--sort",
        "pv_uuid",
        "--options",
        "vg_attr,pv_name",
        "--config",
        "global { locking_type = 0 } devices { preferred_names = [ \"^/dev/dm\" ] }",
    ]);
    let output = System.run(&cmd, call.tool_deadline())?;
    let found = clustered(&output.stdout_text());
    if !found.is_empty() {
        return Ok(found);
    }
    let why =
        if output.success() { "no volume group is clustered or shared".into() } else { output.failure(&cmd) };
    Err(FenceError::usage(format!("No devices found: {why}")).hint("set devices"))
}

/// Standard output and error go to the end of a file from now on.
fn into_file(file: &str) -> Result<(), FenceError> {
    use std::os::unix::fs::OpenOptionsExt;
    let failed = |why: String| FenceError::usage(format!("cannot write logfile {file}: {why}"));
    let handle = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(file)
        .map_err(|why| failed(why.to_string()))?;
    nix::unistd::dup2_stdout(&handle)
        .and_then(|()| nix::unistd::dup2_stderr(&handle))
        .map_err(|why| failed(why.to_string()))
}

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(told) = watchdog::names(&args, "fence_scsi") {
        return told;
    }
    if let Some(check) = args.first().and_then(|program| Check::called(Path::new(program))) {
        let store = Store::new(STORE, Some(OLDER_STORE.into()));
        return watchdog::run(check, &args, &store, Path::new("/run/cluster/mpath.devices"));
    }
    run_fabric::<FenceScsi>()
}
