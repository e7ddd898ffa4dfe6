//! Cuts a node from shared multipath devices by persistent reservations, and lets it in again (unfencing).
//!
//! Replaces upstream's `fence_mpath`. It does over every path of a device what `fence_scsi` does; what is its own is that
//! keys are given, not made of names, and that `multipathd` must know the key (`reservation_key` in `multipath.conf`): it
//! is multipathd that registers a path which comes back. It is asked over its socket (`multipathd(8)`), and no program is
//! run. The same program is the watchdog's check when it is called `fence_mpath_check`.
//!
//! Invariants: those of `fence_scsi`.

use ocf_lib::fence::prelude::*;
use ocf_lib::fence::{Action, LONGEST_WAIT};
use ringfence_fence::persistent_reservation::device::{AnyPort, Places};
use ringfence_fence::persistent_reservation::multipathd::{self, Configured};
use ringfence_fence::persistent_reservation::store::{self, Store};
use ringfence_fence::persistent_reservation::watchdog::{self, Check};
use ringfence_fence::persistent_reservation::{Fabric, Key, KeyList, Knowledge, words};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Upstream's default folder.
const STORE: &str = "/var/run/cluster";
/// For one answer of multipathd, which looks at all its paths in between.
const MULTIPATHD: Duration = Duration::from_secs(4);

fence_options! {
    /// What is special about multipath devices.
    struct Options {
        devices: Option<String> => option("devices").short('d').argument("[devices]")
            .help("Multipath devices, separated by commas or blanks: /dev/mapper/mpatha"),
        key: Option<Key> => option("key").short('k').argument("[key]").help("Older name of plug"),
        known_keys: Option<KeyList> => option("known_keys").long("known-keys").argument("[keys]")
            .help("Keys of all nodes and other users of the devices, separated by commas or blanks"),
        suppress_errors: bool => option("suppress-errors").long("suppress-errors").help("Tell warnings only to the debug log"),
        mpathpersist_path: String => option("mpathpersist_path").long("mpathpersist-path").argument("[path]").order(200)
            .default("/usr/sbin/mpathpersist").help("Accepted for older configurations; not run"),
        store_path: String => option("store_path").long("store-path").argument("[path]").order(200)
            .default(STORE).help("Folder in which the agent keeps which key this host has on which device"),
    }
}

struct FenceMpath {
    call: Call,
    options: Options,
    devices: Vec<String>,
    fabric: Fabric<AnyPort>,
}

impl FabricDevice for FenceMpath {
    const SPEC: FenceSpec = FenceSpec {
        takes: &[
            Takes::Plug,
            Takes::NoPort,
            Takes::Fabric,
            Takes::ForceOn,
            Takes::OnTarget,
            Takes::Automatic,
            Takes::Sudo,
        ],
        adjust: &[
            adjust("port").argument("[key]").help(
                "Key of the node in hexadecimal digits, the same as reservation_key in its multipath.conf: on registers it, \
                 off removes it",
            ),
            adjust("separator").hidden(),
        ],
        vendor_url: "https://www.sourceware.org/dm/",
        ..FenceSpec::new(
            "fence_mpath",
            "Fence agent for multipath persistent reservation",
            "fence_mpath cuts a node from shared multipath devices by persistent reservations. Every node registers its own \
             key over every path of every device; one of them reserves the devices for registrants. A node is fenced by \
             preempting its key: from then on the disks themselves refuse its writes.\n.P\n\
             The key has to be in multipath.conf of its node too (reservation_key), so that multipathd registers paths that \
             come back; on refuses a key that differs from that.\n.P\n\
             Off succeeds only when every device has listed the keys afterwards, without the victim's and with our own, and \
             is reserved. A key that is not registered proves nothing while keys are there of which this host does not know \
             whose they are: known_keys tells them. The node goes on running until it is rebooted, for example by the \
             watchdog's check fence_mpath_check.",
        )
    };
    type Options = Options;

    fn validate(options: &Options, call: &Call) -> Result<(), FenceError> {
        for plug in call.plugs().iter().filter(|plug| !plug.name().is_empty()) {
            key(options, plug)?;
        }
        let about_a_node = matches!(call.action(), Action::On | Action::Off | Action::Status);
        if about_a_node && options.key.is_none() && call.plugs().iter().any(|plug| plug.name().is_empty()) {
            return Err(FenceError::usage("plug, the key of the node, is required"));
        }
        if options.key.is_some() {
            call.log().debug("key is an older name: use plug");
        }
        Ok(())
    }

    fn connect(options: Options, call: Call) -> Result<Self, FenceError> {
        if call.flag("sudo") || options.mpathpersist_path != "/usr/sbin/mpathpersist" {
            call.log().debug("use_sudo and mpathpersist_path have no effect: no program is run");
        }
        let devices: Vec<String> =
            words(options.devices.as_deref().unwrap_or_default()).map(str::to_owned).collect();
        if devices.is_empty() {
            return Err(FenceError::usage("No devices found").hint("set devices"));
        }
        let patience = call.timing().power.unwrap_or(LONGEST_WAIT);
        let luns = Places::default().luns(&devices, patience).map_err(FenceError::usage)?;
        Ok(Self { call, options, devices, fabric: Fabric::new(luns) })
    }

    fn has_access(&mut self, plug: &Plug) -> Result<Option<bool>, FenceError> {
        let key = key(&self.options, plug)?;
        match self.call.action() {
            Action::Off => {
                let own = self.own()?;
                let knowledge = self.knowledge(key);
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
        let key = key(&self.options, plug)?;
        let maps = self.maps();
        for map in &maps {
            self.multipathd_agrees(map, key)?;
        }
        for (device, joined) in self.fabric.join(key, false)? {
            for path in &joined.dead {
                self.warn(&format!(
                    "{device}: not registered over {path}; multipathd registers it when it is back"
                ));
            }
        }
        for map in &maps {
            // It then registers the paths that come back, as after mpathpersist.
            if let Err(why) = multipathd::ask(&format!("setprstatus map {map}"), MULTIPATHD) {
                self.warn(&format!("{map}: multipathd was not told of the registration: {why}"));
            }
        }
        let file = self.file();
        store::keep_mpath_keys(&file, &self.devices, key)
            .map_err(|why| FenceError::usage(format!("cannot write {}: {why}", file.display())))?;
        self.remember();
        Ok(())
    }

    fn deny(&mut self, plug: &Plug) -> Result<(), FenceError> {
        let (own, victim) = (self.own()?, key(&self.options, plug)?);
        self.remember();
        let knowledge = self.knowledge(victim);
        self.fabric.deny(own, victim, &knowledge, false)
    }

    fn monitor(&mut self, _: &[Plug]) -> Result<Monitored, FenceError> {
        let own = self.own()?;
        if let Some(gap) = self.fabric.gap(own)? {
            return Err(FenceError::refused(gap).hint("this host cannot fence: unfence it (action on)"));
        }
        self.remember();
        for map in self.maps() {
            self.multipathd_agrees(&map, own)?;
        }
        Ok(Monitored::Good)
    }
}

impl FenceMpath {
    fn warn(&self, text: &str) {
        if self.options.suppress_errors {
            self.call.log().debug(text);
        } else {
            self.call.log().warning(text);
        }
    }

    fn file(&self) -> PathBuf {
        Path::new(&self.options.store_path).join("mpath.devices")
    }

    fn store(&self) -> Store {
        Store::new(Path::new(&self.options.store_path).join("mpath"), None)
    }

    /// Our key on all devices of this call.
    fn own(&self) -> Result<Key, FenceError> {
        let unknown = |why: String| {
            FenceError::usage(why)
                .hint("this host was not unfenced since it booted: run the action on for it")
        };
        let kept = store::mpath_keys(&self.file()).map_err(unknown)?;
        let mut keys = BTreeSet::new();
        for device in &self.devices {
            let key = kept.iter().find(|(known, _)| known == device).map(|(_, key)| *key);
            keys.insert(
                key.ok_or_else(|| unknown(format!("{} has no key for {device}", self.file().display())))?,
            );
        }
        match keys.into_iter().collect::<Vec<_>>().as_slice() {
            [key] => Ok(*key),
            _ => Err(FenceError::usage("this host has different keys on these devices")
                .hint("run on for all of them")),
        }
    }

    fn knowledge(&self, victim: Key) -> Knowledge {
        let mut others = self.options.known_keys.as_ref().map(|keys| keys.0.clone()).unwrap_or_default();
        others.remove(&victim);
        Knowledge { others, seen: self.store().seen(), doubtful: false }
    }

    fn remember(&mut self) {
        let store = self.store();
        if let Err(why) = self.fabric.remember(&store) {
            self.call.log().debug(why);
        }
    }

    /// The names of the maps among the devices.
    fn maps(&self) -> Vec<String> {
        let name = |device: &String| {
            Path::new(device).strip_prefix("/dev/mapper").ok().map(|name| name.to_string_lossy().into_owned())
        };
        self.devices.iter().filter_map(name).collect()
    }

    /// multipathd would register another key over a path that comes back.
    fn multipathd_agrees(&self, map: &str, key: Key) -> Result<(), FenceError> {
        match multipathd::configured_key(map, MULTIPATHD) {
            Ok(Configured::Key(configured)) if configured != key => Err(FenceError::usage(format!(
                "{map}: multipath.conf says reservation_key {configured}, and the key of this node is {key}"
            ))
            .hint("make them the same, and let multipathd reconfigure")),
            Ok(Configured::Key(_)) => Ok(()),
            Ok(Configured::None) => {
                self.warn(&format!(
                    "{map}: multipath.conf has no reservation_key: a path that comes back is not registered"
                ));
                Ok(())
            }
            Err(why) => {
                self.warn(&format!("{map}: multipathd does not say its reservation key: {why}"));
                Ok(())
            }
        }
    }
}

/// The key that is meant: `key`, as upstream has it, goes before `plug`.
fn key(options: &Options, plug: &Plug) -> Result<Key, FenceError> {
    if let Some(key) = &options.key {
        return Ok(*key);
    }
    Key::parse(plug.name())
        .map_err(|why| FenceError::usage(format!("plug '{}' is no key: {why}", plug.name())))
}

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(told) = watchdog::names(&args, "fence_mpath") {
        return told;
    }
    if let Some(check) = args.first().and_then(|program| Check::called(Path::new(program))) {
        let store = Store::new("/run/cluster/fence_scsi", Some("/run/cluster".into()));
        return watchdog::run(check, &args, &store, &Path::new(STORE).join("mpath.devices"));
    }
    run_fabric::<FenceMpath>()
}
