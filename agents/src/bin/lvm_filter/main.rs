//! Makes the LVM of this node see the replicated or shared device, and not the disks beneath it: the same physical
//! volume read twice is two copies of one file system, one of them stale.
//!
//! New: no upstream agent. Manual: lvm.conf(5), lvmsystemid(7), lvmdevices(8).
//!
//! Invariants:
//! - What stop takes away is exactly what start put in; an administrator's later edits stay.
//! - What start is about to do is written down before it is done, and survives a reboot, as the change does.
//! - No filter is written that would hide a volume of the group that `/` is on.
//! - A file that is not understood as a whole is not edited.

mod change;
mod conf;
mod devices;
mod lvm;
mod replace;

use change::{Change, Record};
use lvm::{Lvm, active_groups, duplicates, groups_below, hidden, root_devices, vanished};
use ocf_lib::resource::context::instance;
use ocf_lib::resource::prelude::*;
use ocf_lib::resource::runfile::Lock;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

params! {
    struct Params {
        accept: String => param("accept").unique("rules").short("Devices that LVM is to see")
            .long("Regular expressions as in lvm.conf, separated by blanks: ^/dev/drbd. With the devices file, paths of devices.")
            .default(""),
        reject: String => param("reject").unique("rules").short("Devices that LVM must not see")
            .long("Regular expressions as in lvm.conf, separated by blanks: ^/dev/sdb. With the devices file, paths of devices.")
            .default(""),
        method: Method => param("method").short("What is managed")
            .long("filter: the setting of lvm.conf or lvmlocal.conf, whichever of the files has it. devices: the devices \
                file. auto: the devices file where LVM uses one, else the filter.")
            .default("auto"),
        setting: Setting => param("setting").short("Name of the setting")
            .long("global_filter holds for udev and every program of LVM; filter can be overridden on a command line.")
            .default("global_filter"),
        allow_vanish: bool => param("allow_vanish").short("Volumes in use may vanish")
            .long("Start fails when a physical volume would not be seen any more under any name while logical volumes of its group \
                are active on this node, unless this is true. One of the group that / is on never may.")
            .default("false"),
        confdir: AbsolutePath => param("confdir").short("Folder of LVM's configuration").default("/etc/lvm"),
        record: AbsolutePath => param("record").short("Where the change is written down")
            .long("Must survive a reboot, as the change does.")
            .default_from(|env| format!("/var/lib/ringfence/LVM-filter-{}.json", instance(env))),
    }
}

ocf_lib::choices! {
    /// What is managed.
    enum Method { Auto => "auto", Filter => "filter", Devices => "devices" }
}

ocf_lib::choices! {
    enum Setting { Global => "global_filter", Filter => "filter" }
}

struct LvmFilter {
    params: Params,
    sys: PathBuf,
}

impl Agent for LvmFilter {
    type Params = Params;

    const SPEC: Spec = Spec::new("LVM-filter", "1.0")
        .short("Makes LVM see a replicated or shared device and not the disks beneath it")
        .long(
            "Puts rules in front of the filter in lvm.conf, or entries into LVM's devices file, at start, and takes \
             exactly those away at stop. Meant as a clone, ordered before what activates volume groups. Monitor asks \
             LVM itself whether the rules are in force, and with OCF_CHECK_LEVEL=10 also whether a volume is seen \
             twice. 'LVM-filter plan accept=... reject=...' shows the change and its consequences, and changes nothing.",
        )
        .needs_root()
        .actions(&[
            action(Verb::Start, 60),
            action(Verb::Stop, 60),
            action(Verb::Monitor, 30).every(60).depth(0),
            action(Verb::Monitor, 60).every(300).depth(10),
            action(Verb::ValidateAll, 60),
        ])
        .commands(&[Command { word: "plan", about: "shows what start would change, and what LVM would see then", timeout: 60 }]);

    fn new(params: Params, _: &Cx) -> Self {
        Self { params, sys: "/sys".into() }
    }

    fn check(&self, _: &Cx) -> Result<(), Fault> {
        if self.rules().is_empty() {
            return Err(Fault::configured(
                "both parameters accept and reject are empty: there is nothing to filter",
            ));
        }
        if let Some(word) = self.words().find(|word| word.contains('|') || word.contains('"')) {
            return Err(Fault::configured(format!("'{word}': no | or \" can be in a rule")));
        }
        match self.words().find(|word| self.params.method == Method::Devices && !is_path(word)) {
            Some(word) => Err(Fault::configured(format!(
                "'{word}' is not the path of a device, as method=devices needs it"
            ))),
            None => Ok(()),
        }
    }

    fn check_host(&self, cx: &Cx) -> Result<(), Fault> {
        cx.needs("lvm")?;
        if cx.verb() == Verb::ValidateAll && self.record()?.is_none() {
            let change = self.change(cx)?;
            let seen = self.seen(cx, &change)?;
            let mut preview = Vec::new();
            change.describe(&self.params.confdir.0, &mut preview)?;
            seen.describe(&mut preview)?;
            for line in String::from_utf8_lossy(&preview).lines() {
                cx.info(line);
            }
            return self.refuse(&seen);
        }
        Ok(())
    }

    fn probe(&self, cx: &Cx) -> Result<State, Fault> {
        let Some(record) = self.record()? else {
            // Without a record, rules that stand there are the administrator's own.
            return Ok(State::Stopped);
        };
        if let Some(missing) = record.change.missing(&self.params.confdir.0)? {
            return Ok(State::Failed(missing));
        }
        if cx.verb() == Verb::Stop {
            return Ok(State::Running);
        }
        // One program for each monitor: at level 10 what LVM sees is the proof that it takes the rules.
        if cx.verb() == Verb::Monitor && cx.check_level() >= 10 {
            let seen = self.lvm().devices(cx, &[])?;
            if let Some(name) = duplicates(&seen).first() {
                return Ok(State::Failed(format!("LVM sees {name} beside another name of the same volume")));
            }
            let again = seen.iter().find(|device| record.hidden.contains(&device.name));
            return Ok(match again {
                Some(device) => State::Failed(format!("LVM sees {}, which the rules hide", device.name)),
                None => State::Running,
            });
        }
        if let Some(rules) = record.change.rules() {
            let in_force = self.lvm().setting(cx, &record.change.path(), false)?;
            if !in_force.starts_with(rules) {
                let why = "LVM does not take the rules: another file or a later line sets";
                return Ok(State::Failed(format!("{why} {}", record.change.path())));
            }
        } else if !self.uses_devices_file(cx)? {
            return Ok(State::Failed(
                "LVM does not use its devices file (devices/use_devicesfile)".to_owned(),
            ));
        }
        Ok(State::Running)
    }

    fn start(&self, cx: &Cx) -> Result<(), Fault> {
        let _lock = lock(cx)?;
        // What a start that was killed has left, or what somebody took out by half.
        self.undo()?;
        let change = self.change(cx)?;
        let seen = self.seen(cx, &change)?;
        self.refuse(&seen)?;
        for volume in vanished(&seen.now, &seen.then) {
            cx.warn(format!("LVM will not see {} of group '{}' any more", volume.name, volume.vg));
        }
        let record = Record { change, hidden: hidden(&seen.now, &seen.then) };
        record.write(&self.params.record.0)?;
        self.apply(cx, &record)?;
        drop_cache(&self.params.confdir.0);
        Ok(())
    }

    fn stop(&self, cx: &Cx, faults: &mut Faults) {
        if self.record() == Ok(None) {
            return;
        }
        let lock = faults.ok(lock(cx));
        if lock.is_some() {
            faults.ok(self.undo());
            drop_cache(&self.params.confdir.0);
        }
    }

    fn command(&self, cx: &Cx, _: &str, out: &mut dyn Write) -> Result<(), Fault> {
        let change = self.change(cx)?;
        change.describe(&self.params.confdir.0, out)?;
        let seen = self.seen(cx, &change)?;
        seen.describe(out)?;
        self.refuse(&seen)
    }
}

/// The devices file has no expressions.
fn is_path(word: &str) -> bool {
    word.starts_with("/dev/") && !word.contains(['*', '^', '$', '[', '\\'])
}

/// What LVM sees now, and what it would see.
struct Seen {
    now: Vec<lvm::Pv>,
    then: Vec<lvm::Pv>,
}

impl Seen {
    fn describe(&self, out: &mut dyn Write) -> Result<(), Fault> {
        let names = |volume: &lvm::Pv, list: &[lvm::Pv]| {
            let seen = list.iter().filter(|other| other.uuid == volume.uuid);
            let seen: Vec<_> = seen.map(|other| other.name.clone()).collect();
            if seen.is_empty() { "not seen".to_owned() } else { seen.join(", ") }
        };
        for volume in self.now.iter().filter(|volume| !volume.uuid.is_empty() && !volume.duplicate) {
            let group = if volume.vg.is_empty() { "no group" } else { &volume.vg };
            writeln!(out, "{group}: now {}, then {}", names(volume, &self.now), names(volume, &self.then))?;
        }
        Ok(())
    }
}

impl LvmFilter {
    fn lvm(&self) -> Lvm<'_> {
        Lvm { folder: &self.params.confdir.0 }
    }

    fn words(&self) -> impl Iterator<Item = &str> {
        self.params.accept.split_whitespace().chain(self.params.reject.split_whitespace())
    }

    /// Accepted before rejected: the first rule that fits a name decides.
    fn rules(&self) -> Vec<String> {
        let rule = |sign: char| move |word: &str| format!("{sign}|{word}|");
        let accept = self.params.accept.split_whitespace().map(rule('a'));
        accept.chain(self.params.reject.split_whitespace().map(rule('r'))).collect()
    }

    fn record(&self) -> Result<Option<Record>, Fault> {
        Record::read(&self.params.record.0)
    }

    /// The change that start would make on this host, as it is now.
    fn change(&self, cx: &Cx) -> Result<Change, Fault> {
        let devices = match self.params.method {
            Method::Filter => false,
            Method::Devices => true,
            // LVM does not look at the filter when it has a devices file.
            Method::Auto => {
                change::devices_file(&self.params.confdir.0).exists() && self.uses_devices_file(cx)?
            }
        };
        if devices {
            if self.params.method == Method::Devices && !self.uses_devices_file(cx)? {
                return Err(Fault::args(
                    "LVM does not use a devices file here: set devices/use_devicesfile=1 in lvm.conf, or use method=filter",
                ));
            }
            if let Some(word) = self.words().find(|word| !is_path(word)) {
                return Err(Fault::args(format!(
                    "LVM uses its devices file here, which needs paths of devices: '{word}' is none"
                )));
            }
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            return Change::of_devices(
                &self.params.confdir.0,
                &words(&self.params.accept),
                &words(&self.params.reject),
            );
        }
        Change::of_filter(&self.params.confdir.0, self.params.setting.word(), self.rules())
    }

    fn uses_devices_file(&self, cx: &Cx) -> Result<bool, Fault> {
        let value = self.lvm().setting(cx, "devices/use_devicesfile", true)?;
        Ok(value.first().is_some_and(|value| value == "1"))
    }

    /// What LVM sees, and what it would see.
    fn seen(&self, cx: &Cx, change: &Change) -> Result<Seen, Fault> {
        let now = self.lvm().devices(cx, &[])?;
        let then = change.preview().map(|options| self.lvm().devices(cx, &options)).transpose()?;
        Ok(Seen { now, then: then.unwrap_or_default() })
    }

    /// A fault: too little would be seen. What nobody uses may vanish: the disk beneath a device that is not up yet.
    fn refuse(&self, seen: &Seen) -> Result<(), Fault> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let root: BTreeSet<String> =
            root_devices(&mounts).iter().flat_map(|number| groups_below(&self.sys, number)).collect();
        let active = active_groups(&self.sys);
        let gone = vanished(&seen.now, &seen.then);
        let of = |groups: &BTreeSet<String>| {
            let groups = groups.clone();
            gone.iter().find(move |volume| groups.contains(&volume.vg_uuid.replace('-', "")))
        };
        if let Some(volume) = of(&root) {
            let why = format!(
                "the rules would hide {} of group {}, which the root file system is on",
                volume.name, volume.vg
            );
            return Err(Fault::args(why));
        }
        match of(&active).filter(|_| !self.params.allow_vanish) {
            Some(volume) => Err(Fault::args(format!(
                "the rules would hide {} of group {}, whose volumes are active here, under every name: see 'LVM-filter plan', \
                 correct them, deactivate the group, or set allow_vanish",
                volume.name, volume.vg
            ))),
            None => Ok(()),
        }
    }

    fn apply(&self, cx: &Cx, record: &Record) -> Result<(), Fault> {
        record.change.apply(|words| self.lvm().change_devices(cx, words))
    }

    /// Takes a recorded change back, and then the record.
    fn undo(&self) -> Result<(), Fault> {
        if let Some(record) = self.record()? {
            record.change.undo(&self.params.confdir.0)?;
            Record::remove(&self.params.record.0)?;
        }
        Ok(())
    }
}

/// One change at a time on this host, whoever makes it.
fn lock(cx: &Cx) -> Result<Lock, Fault> {
    Lock::take(&cx.run_dir().join("LVM-filter.lock"), cx)
}

/// LVM before 2.03 keeps a list of devices that its filter took (`devices/cache_dir`); a stale one hides the change.
fn drop_cache(folder: &Path) {
    for cache in [folder.join("cache/.cache"), folder.join(".cache"), PathBuf::from("/run/lvm/.cache")] {
        let _ = std::fs::remove_file(cache);
    }
}

fn main() -> ExitCode {
    run::<LvmFilter>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocf_lib::resource::testkit::{Bench, Commands};

    const CONF: &str = "# The host's own.\ndevices {\n\tdir = \"/dev\"\n\tglobal_filter = [ \"r|^/dev/cdrom|\" ] # no media\n}\n";
    const RULES: &str = "global_filter=[\"a|^/dev/drbd|\",\"r|^/dev/sdb|\",\"r|^/dev/cdrom|\"]\n";

    fn pvs(names: &[&str]) -> String {
        let row = |name: &&str| {
            let (name, uuid) = name.split_once('=').unwrap();
            format!(
                r#"{{"pv_name":"{name}","pv_uuid":"{uuid}","vg_name":"vg","vg_uuid":"g","pv_duplicate":""}}"#
            )
        };
        format!(r#"{{"report":[{{"pv":[{}]}}]}}"#, names.iter().map(row).collect::<Vec<_>>().join(","))
    }

    struct Host(tempfile::TempDir);

    impl Host {
        fn new() -> Self {
            let host = Self(tempfile::tempdir().unwrap());
            std::fs::write(host.path("lvm.conf"), CONF).unwrap();
            host
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn conf(&self) -> String {
            std::fs::read_to_string(self.path("lvm.conf")).unwrap()
        }

        /// Code and reason of an action, and what was run for it. `answers` are those of lvm.
        fn call(&self, verb: Verb, answers: &[(i32, &str)]) -> (u8, String, Vec<String>) {
            self.call_with(verb, &[], answers)
        }

        fn call_with(
            &self,
            verb: Verb,
            more: &[(&str, &str)],
            answers: &[(i32, &str)],
        ) -> (u8, String, Vec<String>) {
            let path = |name: &str| self.path(name).to_str().unwrap().to_owned();
            let bench = Bench::new("LVM-filter", verb)
                .recurring()
                .set("HA_RSCTMP", &path("run"))
                .param("accept", "^/dev/drbd")
                .param("reject", "^/dev/sdb")
                .param("confdir", &path(""))
                .param("record", &path("state/record.json"));
            let bench = more.iter().fold(bench, |bench, (name, value)| bench.set(name, value));
            let bench = answers.iter().fold(bench, |bench, (code, out)| {
                let (out, err) = if *code == 0 { (*out, "") } else { ("", *out) };
                bench.answer("lvm", *code, out, err)
            });
            let commands: Commands = bench.commands();
            let verdict = bench.perform::<LvmFilter>();
            let ran = commands.borrow().clone();
            (verdict.code.number(), verdict.reason.unwrap_or_default(), ran)
        }

        fn started() -> Self {
            let host = Self::new();
            let volumes = pvs(&["/dev/drbd0=A", "/dev/sdb=A"]);
            let then = pvs(&["/dev/drbd0=A"]);
            let answers = [(0, volumes.as_str()), (0, then.as_str()), (0, RULES)];
            assert_eq!(host.call(Verb::Start, &answers).0, 0);
            host
        }
    }

    #[test]
    fn rules_go_in_front_and_the_rest_stays() {
        let host = Host::started();
        let expected = CONF
            .replace("[ \"r|^/dev/cdrom|\" ]", "[ \"a|^/dev/drbd|\", \"r|^/dev/sdb|\", \"r|^/dev/cdrom|\" ]");
        assert_eq!(host.conf(), expected);
        assert_eq!(host.call(Verb::Monitor, &[(0, RULES)]).0, 0);
        let (code, _, ran) = host.call(Verb::Stop, &[]);
        assert_eq!((code, host.conf().as_str(), ran.len()), (0, CONF, 0));
        assert!(!host.path("state/record.json").exists());
        assert_eq!(host.call(Verb::Monitor, &[]).0, 7);
        assert_eq!(host.call(Verb::Stop, &[]).0, 0);
    }

    #[test]
    fn lvm_itself_says_whether_they_are_in_force() {
        let host = Host::started();
        let (code, why, ran) = host.call(Verb::Monitor, &[(0, "global_filter=\"a|.*|\"\n")]);
        assert_eq!((code, ran.len()), (1, 1), "one program");
        assert!(why.starts_with("LVM does not take the rules"), "{why}");
        let twice = pvs(&["/dev/drbd0=A", "/dev/sdb=A"])
            .replace(r#""pv_duplicate":""}]"#, r#""pv_duplicate":"duplicate"}]"#);
        let level = [("OCF_CHECK_LEVEL", "10")];
        let (code, why, ran) = host.call_with(Verb::Monitor, &level, &[(0, &twice)]);
        assert_eq!((code, why.as_str()), (1, "LVM sees /dev/sdb beside another name of the same volume"));
        assert_eq!(ran.len(), 1);
        // The disk beneath alone, where the replicated device is not readable.
        let (code, why, _) = host.call_with(Verb::Monitor, &level, &[(0, &pvs(&["/dev/sdb=A"]))]);
        assert_eq!((code, why.as_str()), (1, "LVM sees /dev/sdb, which the rules hide"));
        assert_eq!(host.call_with(Verb::Monitor, &level, &[(0, &pvs(&["/dev/drbd0=A"]))]).0, 0);
    }

    #[test]
    fn later_edits_of_the_administrator_stay() {
        let host = Host::started();
        let edited = host.conf().replace("r|^/dev/cdrom|", "r|^/dev/sr|").replace("# no media", "# no DVDs");
        std::fs::write(host.path("lvm.conf"), edited).unwrap();
        assert_eq!(host.call(Verb::Stop, &[]).0, 0);
        let expected = CONF.replace("r|^/dev/cdrom|", "r|^/dev/sr|").replace("# no media", "# no DVDs");
        assert_eq!(host.conf(), expected);
    }

    #[test]
    fn a_file_that_somebody_broke_since_loses_the_rules_all_the_same() {
        let host = Host::started();
        std::fs::write(host.path("lvm.conf"), host.conf().replace('}', "")).unwrap();
        assert_eq!(host.call(Verb::Stop, &[]).0, 0);
        assert_eq!(host.conf(), CONF.replace('}', ""));
    }

    #[test]
    fn rules_that_somebody_took_out_are_a_failure_that_stop_cleans() {
        let host = Host::started();
        std::fs::write(host.path("lvm.conf"), "devices { }\n").unwrap();
        let (code, why, _) = host.call(Verb::Monitor, &[]);
        assert_eq!(code, 1);
        assert!(why.starts_with("the rules are not in front of devices/global_filter in "), "{why}");
        assert_eq!((host.call(Verb::Stop, &[]).0, host.conf().as_str()), (0, "devices { }\n"));
    }

    #[test]
    fn a_start_that_was_killed_before_the_change_leaves_nothing() {
        let host = Host::started();
        std::fs::write(host.path("lvm.conf"), CONF).unwrap();
        std::fs::write(host.path("lvm.conf.99.new"), "half").unwrap();
        assert_eq!((host.call(Verb::Stop, &[]).0, host.conf().as_str()), (0, CONF));
        assert!(!host.path("lvm.conf.99.new").exists());
    }

    #[test]
    fn a_malformed_file_is_not_touched() {
        let host = Host::new();
        let broken = CONF.replace('}', "");
        std::fs::write(host.path("lvm.conf"), &broken).unwrap();
        let rules = vec!["r|x|".to_owned()];
        let fault = Change::of_filter(host.0.path(), "global_filter", rules).unwrap_err();
        assert!(
            fault
                .reason()
                .ends_with("is not edited, as it is not understood: line 6: a section is not closed"),
            "{fault}"
        );
        assert_eq!(host.call(Verb::Stop, &[]).0, 0);
        assert_eq!(host.conf(), broken);
    }

    #[test]
    fn the_local_file_takes_a_setting_that_nobody_has() {
        let host = Host::new();
        std::fs::write(host.path("lvm.conf"), "devices { }\n").unwrap();
        std::fs::write(host.path("lvmlocal.conf"), "local { }\n").unwrap();
        let change = Change::of_filter(host.0.path(), "filter", vec!["r|x|".to_owned()]).unwrap();
        change.apply(|_| Ok(())).unwrap();
        let local = || std::fs::read_to_string(host.path("lvmlocal.conf")).unwrap();
        assert!(local().contains("\tfilter = [ \"r|x|\" ]"), "{}", local());
        assert_eq!(change.missing(host.0.path()), Ok(None));
        change.undo(host.0.path()).unwrap();
        assert_eq!(local(), "local { }\n");
    }

    #[test]
    fn the_devices_file_is_changed_by_lvm_and_back() {
        let host = Host::new();
        std::fs::create_dir_all(host.path("devices")).unwrap();
        let file = host.path("devices/system.devices");
        let entry = |name: &str| format!("IDTYPE=devname IDNAME={name} DEVNAME={name} PVID=x\n");
        let before = "VERSION=1.1.1\n".to_owned() + &entry("/dev/sdb") + &entry("/dev/sda");
        std::fs::write(&file, &before).unwrap();
        let paths = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let change = Change::of_devices(
            host.0.path(),
            &paths(&["/dev/drbd0", "/dev/sda"]),
            &paths(&["/dev/sdb", "/dev/sdc"]),
        );
        let change = change.unwrap();
        let (added, removed) = (paths(&["/dev/drbd0"]), paths(&["/dev/sdb"]));
        assert_eq!(change, Change::Devices { added, removed, before: before.clone() });
        let calls = std::cell::RefCell::new(Vec::new());
        let run = |words: &[&str]| {
            calls.borrow_mut().push(words.join(" "));
            Ok(())
        };
        change.apply(run).unwrap();
        assert_eq!(calls.take(), ["--adddev /dev/drbd0", "--deldev /dev/sdb"]);
        assert!(change.missing(host.0.path()).unwrap().is_some());
        let after = "VERSION=1.1.3\n".to_owned() + &entry("/dev/drbd0") + &entry("/dev/sda");
        std::fs::write(&file, &after).unwrap();
        assert_eq!(change.missing(host.0.path()), Ok(None));
        change.undo(host.0.path()).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
        std::fs::write(&file, after + &entry("/dev/sdz")).unwrap();
        change.undo(host.0.path()).unwrap();
        let expected =
            "VERSION=1.1.4\n".to_owned() + &entry("/dev/sda") + &entry("/dev/sdz") + &entry("/dev/sdb");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), expected);
        std::fs::remove_file(&file).unwrap();
        let fault = Change::of_devices(host.0.path(), &[], &[]).unwrap_err();
        assert!(fault.reason().contains("make it first"), "{fault}");
    }

    #[test]
    fn rules_that_cannot_be() {
        let check = |accept: &str, method: &str| {
            let bench =
                Bench::new("LVM-filter", Verb::ValidateAll).param("accept", accept).param("method", method);
            bench.perform::<LvmFilter>().code.number()
        };
        assert_eq!([check("^/dev/drbd", "filter"), check("/dev/drbd0", "devices")], [0, 0]);
        assert_eq!(
            [check("", "auto"), check("a|b", "auto"), check("^/dev/drbd", "devices"), check("x", "best")],
            [6, 6, 6, 6]
        );
    }
}
