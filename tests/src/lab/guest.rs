//! One guest in the hands of a test.

use super::disks::Disk;
use super::failure::LabError;
use super::machine::{self, Machine, Plan};
use super::open::Shared;
use super::pair;
use super::ran::Ran;
use super::recipe;
use serde_json::json;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a command may take unless the test says otherwise.
pub const COMMAND: Duration = Duration::from_secs(60);
/// Name, addresses, shares, disks: a second on an idle host.
const WAKING: Duration = Duration::from_secs(180);
/// Run at every power on, if it was put there.
const BOOT: &str = "/etc/lab/boot";
/// What a command may take longer than its time before the guest counts as hung.
const GRACE: Duration = Duration::from_secs(10);

/// A guest. Dropping it is a power cut.
#[derive(Debug)]
pub struct Guest {
    name: String,
    plan: Plan,
    lab: Arc<Shared>,
    disks: Vec<(Disk, PathBuf)>,
    /// The snapshot of a cluster's node, until it was used: a node that comes back has to join.
    member: Mutex<Option<PathBuf>>,
    joins: bool,
    machine: Mutex<Option<Machine>>,
    /// What [`Self::put`] has written: a restored guest gets it again.
    files: Mutex<Vec<(String, String, u32)>>,
    commands: AtomicU32,
    /// Power is on, and it does not answer yet.
    coming: AtomicBool,
}

/// A command that is running in a guest.
#[derive(Debug)]
pub struct Running<'a> {
    guest: &'a Guest,
    pid: i64,
    file: String,
    what: String,
    end: Instant,
    began: Instant,
}

impl Guest {
    pub(crate) fn new(
        name: &str,
        plan: Plan,
        lab: Arc<Shared>,
        disks: Vec<(Disk, PathBuf)>,
        member: Option<PathBuf>,
    ) -> Self {
        Self {
            joins: member.is_some(),
            member: Mutex::new(member),
            name: name.to_owned(),
            plan,
            lab,
            disks,
            machine: Mutex::new(None),
            files: Mutex::default(),
            commands: AtomicU32::new(0),
            coming: AtomicBool::new(false),
        }
    }

    /// Its host name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address on the common network: 10.55.0.11 for the first one.
    #[must_use]
    pub fn address(&self) -> String {
        format!("10.55.0.1{}", self.plan.number)
    }

    /// Runs a script of `sh` as root, with an empty stdin, and waits up to a minute for its end.
    ///
    /// # Errors
    /// When the guest does not answer, or is off. A code other than 0 is no error: see [`Ran::ok`].
    pub fn run(&self, script: &str) -> Result<Ran, LabError> {
        self.run_within(COMMAND, script)
    }

    /// [`Self::run`] with another time; when it is up the script is ended with code 124.
    ///
    /// # Errors
    /// As of [`Self::run`].
    pub fn run_within(&self, limit: Duration, script: &str) -> Result<Ran, LabError> {
        self.start_within(limit, script)?.wait()
    }

    /// Starts a script that runs while the test goes on, for up to `limit`.
    ///
    /// # Errors
    /// As of [`Self::run`].
    pub fn start_within(&self, limit: Duration, script: &str) -> Result<Running<'_>, LabError> {
        let number = self.commands.fetch_add(1, Ordering::Relaxed);
        let file = format!("{}.{number}", self.name);
        let seconds = limit.as_secs_f64().to_string();
        // A daemon that the script starts may keep its stdout: files, not pipes that must be closed.
        // Not one program more than this needs: each costs an emulated processor a twentieth of a second.
        let line = format!("exec >/host/.ran/{file}.out 2>/host/.ran/{file}.err </dev/null; eval \"$1\"");
        let environment =
            ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C", "TERM=dumb"].map(str::to_owned);
        let began = Instant::now();
        self.note(&format!("$ {script}"));
        let pid = self.on(|machine| {
            machine.agent.start(
                "/usr/bin/timeout",
                &["-k", "2", &seconds, "/bin/sh", "-c", &line, "lab", script],
                &environment,
            )
        })?;
        Ok(Running {
            guest: self,
            pid,
            file,
            what: format!("{}$ {script}", self.name),
            end: began + limit + GRACE,
            began,
        })
    }

    /// Calls a resource agent as Pacemaker does: `ringfence/ZFS`, `heartbeat/ZFS`, `linbit/drbd`. Each parameter is handed over as
    /// `OCF_RESKEY_` and its name, so `CRM_meta_interval` and its like can be given too (times in ms). The operation's timeout is
    /// 60 s unless `CRM_meta_timeout` says otherwise.
    ///
    /// # Errors
    /// As of [`Self::run`].
    pub fn agent(&self, agent: &str, action: &str, parameters: &[(&str, &str)]) -> Result<Ran, LabError> {
        self.agent_with(agent, action, parameters, &[])
    }

    /// [`Self::agent`] with more variables of the environment, for example `OCF_CHECK_LEVEL`.
    ///
    /// # Errors
    /// As of [`Self::run`].
    pub fn agent_with(
        &self,
        agent: &str,
        action: &str,
        parameters: &[(&str, &str)],
        environment: &[(&str, &str)],
    ) -> Result<Ran, LabError> {
        let (provider, kind) = agent.split_once('/').ok_or_else(|| {
            LabError::Refused(format!("'{agent}' is not PROVIDER/TYPE, as in ringfence/ZFS"))
        })?;
        let given = |name: &str| parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        let milliseconds = given("CRM_meta_timeout").unwrap_or("60000");
        let mut words = vec![
            ("OCF_ROOT".to_owned(), "/usr/lib/ocf"),
            ("OCF_RA_VERSION_MAJOR".to_owned(), "1"),
            ("OCF_RA_VERSION_MINOR".to_owned(), "1"),
            ("OCF_RESOURCE_INSTANCE".to_owned(), "lab"),
            ("OCF_RESOURCE_PROVIDER".to_owned(), provider),
            ("OCF_RESOURCE_TYPE".to_owned(), kind),
            ("OCF_RESKEY_crm_feature_set".to_owned(), "3.16.2"),
            ("OCF_RESKEY_CRM_meta_timeout".to_owned(), milliseconds),
        ];
        words.extend(parameters.iter().map(|(name, value)| (format!("OCF_RESKEY_{name}"), *value)));
        words.extend(environment.iter().map(|(name, value)| ((*name).to_owned(), *value)));
        let words: Vec<String> =
            words.iter().map(|(name, value)| quoted(&format!("{name}={value}"))).collect();
        let script = format!(
            "export {}; exec /usr/lib/ocf/resource.d/{provider}/{kind} {}",
            words.join(" "),
            quoted(action)
        );
        let limit = milliseconds.parse().map_or(COMMAND, Duration::from_millis);
        self.run_within(limit, &script)
    }

    /// Writes a file (mode 644) in the guest, and again whenever the guest is powered on. The file `/etc/lab/boot` ([`Self::put_mode`]
    /// 755) is run then, before the daemons of a cluster: what an administrator has enabled at boot.
    ///
    /// # Errors
    /// As of [`Self::run`], and when it cannot be written.
    pub fn put(&self, path: &str, text: &str) -> Result<(), LabError> {
        self.put_mode(path, text, 0o644)
    }

    /// [`Self::put`] with a mode.
    ///
    /// # Errors
    /// As of [`Self::put`].
    pub fn put_mode(&self, path: &str, text: &str, mode: u32) -> Result<(), LabError> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|(known, ..)| known != path);
        files.push((path.to_owned(), text.to_owned(), mode));
        drop(files);
        self.write(path, text, mode)
    }

    fn write(&self, path: &str, text: &str, mode: u32) -> Result<(), LabError> {
        let name = format!("{}.put", self.name);
        let on_host = self.plan.host.join(".ran").join(&name);
        fs::write(&on_host, text).map_err(LabError::io("hand a file to the guest"))?;
        self.run(&format!("install -D -m {mode:o} /host/.ran/{name} {}", quoted(path)))?.ok().map(|_| ())
    }

    /// A file of the guest, whole.
    ///
    /// # Errors
    /// As of [`Self::run`], and when it cannot be read.
    pub fn read(&self, path: &str) -> Result<String, LabError> {
        Ok(self.run(&format!("cat {}", quoted(path)))?.ok()?.stdout)
    }

    /// Cuts the power: QEMU is killed in the middle of whatever it does. What the guest wrote to its disks and QEMU has taken is
    /// there; what was on the way is not. Everything else of the guest is gone.
    pub fn cut_power(&self) {
        self.note("== power cut");
        drop(self.machine().take());
    }

    /// Powers a guest on that is off: booted and pristine, with its disks as they were left and the files of [`Self::put`]. The
    /// node of a cluster starts its daemons and joins.
    ///
    /// # Errors
    /// When it is on, or does not come up.
    pub fn power_on(&self) -> Result<(), LabError> {
        if self.is_on() {
            return Err(LabError::Refused(format!("{} is on", self.name)));
        }
        // One that ended by itself.
        drop(self.machine().take());
        self.note("== power on");
        let member = self.member.lock().unwrap_or_else(PoisonError::into_inner).take();
        let snapshot = member.as_ref().unwrap_or(&self.lab.snapshot);
        self.coming.store(true, Ordering::Relaxed);
        let woken =
            Machine::restore(&self.plan, &self.lab.place, snapshot).and_then(|machine| self.wake(machine));
        self.coming.store(false, Ordering::Relaxed);
        woken?;
        if self.joins && member.is_none() { pair::start(self) } else { Ok(()) }
    }

    /// True until its power is cut, it reboots itself or its kernel panics.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.machine().as_mut().is_some_and(Machine::is_running)
    }

    /// True from [`Self::power_on`] until it answers.
    #[must_use]
    pub fn is_coming(&self) -> bool {
        self.coming.load(Ordering::Relaxed)
    }

    /// The end of its addresses, and its place on the bridge: 1 to 3.
    pub(crate) fn number(&self) -> u8 {
        self.plan.number
    }

    /// Plugs the network cable, or pulls it: the guest sees the carrier go, and nothing gets through.
    ///
    /// # Errors
    /// When the guest is off.
    pub fn link(&self, up: bool) -> Result<(), LabError> {
        self.note(if up { "== cable plugged" } else { "== cable pulled" });
        self.on(|machine| machine.monitor.execute("set_link", &json!({"name": "n0", "up": up}))).map(|_| ())
    }

    /// Grows a disk of its own, or its view of a shared one, to `size` MiB. The guest is told by a SCSI event and learns the size
    /// when it rescans: `echo 1 >/sys/block/sdX/device/rescan`. A shared disk has to be grown in each guest.
    ///
    /// # Errors
    /// When there is no such disk or the guest is off.
    pub fn grow(&self, disk: &str, size: u64) -> Result<(), LabError> {
        let (disk, file) = self
            .disks
            .iter()
            .find(|(known, _)| known.name == disk)
            .ok_or_else(|| LabError::Refused(format!("{} has no disk '{disk}'", self.name)))?;
        let handle = OpenOptions::new().write(true).open(file).map_err(LabError::io("open a disk"))?;
        handle.set_len(size << 20).map_err(LabError::io("grow a disk"))?;
        for path in 0..disk.paths {
            let arguments = json!({"node-name": format!("{}-{path}", disk.name), "size": size << 20});
            self.on(|machine| machine.monitor.execute("block_resize", &arguments))?;
        }
        Ok(())
    }

    /// The last lines of its console and of QEMU's own words.
    #[must_use]
    pub fn console(&self) -> String {
        machine::tail(&self.plan.logs)
    }

    fn wake(&self, mut machine: Machine) -> Result<(), LabError> {
        let mut seed = [0_u8; 32];
        getrandom::fill(&mut seed).map_err(|why| LabError::Refused(format!("no randomness: {why}")))?;
        let seed = recipe::hex(&seed);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let (number, now) = (self.plan.number.to_string(), format!("{:.3}", now.as_secs_f64()));
        let plugs: Vec<(&Disk, u8, &PathBuf)> = self
            .disks
            .iter()
            .flat_map(|(disk, file)| (0..disk.paths).map(move |path| (disk, path, file)))
            .collect();
        let disks: Vec<String> = plugs
            .iter()
            .zip(0..)
            .map(|((disk, ..), target)| format!("0:0:{target}:0={}", disk.name))
            .collect();
        let mut args = vec![recipe::GUEST_WAKE, "--", self.name.as_str(), &number, &now, &seed];
        args.extend(disks.iter().map(String::as_str));
        let woken = machine.agent.begin("exec perl -e \"$@\"", &args).and_then(|waking| {
            for ((disk, path, file), target) in plugs.iter().zip(0_u32..) {
                plug(&mut machine, disk, *path, file, target)?;
            }
            machine.agent.finish(waking, "the guest's preparation", WAKING)
        });
        *self.machine() = Some(machine);
        woken.map_err(|why| why.with(&self.console()))?;
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (path, text, mode) in &files {
            self.write(path, text, *mode)?;
        }
        if files.iter().any(|(path, ..)| path == BOOT) {
            self.run(BOOT)?.ok()?;
        }
        Ok(())
    }

    /// Runs a script of the lab itself that needs no share: its output goes to the console.
    pub(crate) fn rest(&self, script: &str, args: &[&str], limit: Duration) -> Result<(), LabError> {
        let pid = self.on(|machine| machine.agent.begin(script, args))?;
        self.on(|machine| machine.agent.finish(pid, "a script of the lab", limit))
    }

    /// Stops the guest's time; [`Self::save`] is all that may follow.
    pub(crate) fn pause(&self) -> Result<(), LabError> {
        self.on(|machine| machine.monitor.execute("stop", &json!({}))).map(|_| ())
    }

    /// Writes the whole guest into a file.
    pub(crate) fn save(&self, file: &std::path::Path) -> Result<(), LabError> {
        self.on(|machine| machine.monitor.save(file))
    }

    fn machine(&self) -> MutexGuard<'_, Option<Machine>> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn on<T>(&self, ask: impl FnOnce(&mut Machine) -> Result<T, LabError>) -> Result<T, LabError> {
        match self.machine().as_mut() {
            Some(machine) => ask(machine).map_err(|why| why.with(&self.console())),
            None => Err(LabError::Refused(format!("{} is off", self.name))),
        }
    }

    /// One entry of the record of what was done to this guest.
    fn note(&self, text: &str) {
        let file = OpenOptions::new().create(true).append(true).open(self.plan.logs.join("commands.log"));
        if let Ok(mut file) = file {
            let _ = writeln!(file, "[{:8.3}] {text}", self.lab.began.elapsed().as_secs_f64());
        }
    }

    /// For a test that failed: what only the guest knows.
    pub(crate) fn collect(&self) {
        if self.is_on() {
            let script = "dmesg; cat /var/log/pacemaker/pacemaker.log /var/log/corosync.log 2>/dev/null | tail -n 2000";
            if let Ok(ran) = self.run_within(Duration::from_secs(10), script) {
                let _ = fs::write(self.plan.logs.join("guest.log"), ran.stdout);
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.collect();
            let _ = writeln!(std::io::stderr(), "-- {}\n{}", self.name, self.console());
        }
        self.cut_power();
    }
}

impl Running<'_> {
    /// Its end, if it has ended.
    ///
    /// # Errors
    /// As of [`Guest::run`].
    pub fn ended(&self) -> Result<Option<Ran>, LabError> {
        let Some(code) = self.guest.on(|machine| machine.agent.ended(self.pid))? else { return Ok(None) };
        let ran = self.ran(code);
        self.guest.note(&format!(
            "  {:.3} s: {}",
            self.began.elapsed().as_secs_f64(),
            format!("{ran:?}").replace('\n', "\n    ")
        ));
        Ok(Some(ran))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When the guest does not answer, or the command outlives its time: the guest hangs.
    pub fn wait(self) -> Result<Ran, LabError> {
        loop {
            if let Some(ran) = self.ended()? {
                return Ok(ran);
            }
            if Instant::now() >= self.end {
                let last = format!("{:?}\n{}", self.ran(-1), self.guest.console());
                let what = format!("end of '{}'", self.what);
                return Err(LabError::Timeout { what, after: self.began.elapsed(), last });
            }
            // Each question costs the emulated processor some milliseconds of what it is asked about.
            let pause = self.began.elapsed() / 16;
            std::thread::sleep(pause.clamp(Duration::from_millis(4), Duration::from_millis(300)));
        }
    }

    /// Ends it with all it has started, and waits for that.
    ///
    /// # Errors
    /// As of [`Self::wait`].
    pub fn stop(self) -> Result<Ran, LabError> {
        // timeout(1) is the leader of a process group.
        self.guest.run(&format!("kill -s TERM -- -{}", self.pid))?.ok()?;
        self.wait()
    }

    /// What it has written so far.
    #[must_use]
    pub fn so_far(&self) -> Ran {
        self.ran(-1)
    }

    fn ran(&self, code: i32) -> Ran {
        let text = |end: &str| {
            let file = self.guest.plan.host.join(".ran").join(format!("{}.{end}", self.file));
            String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned()
        };
        let console = if code == 0 { String::new() } else { self.guest.console() };
        Ran { code, stdout: text("out"), stderr: text("err"), what: self.what.clone(), console }
    }
}

/// A SCSI disk that comes while the guest runs.
fn plug(
    machine: &mut Machine,
    disk: &Disk,
    path: u8,
    file: &std::path::Path,
    target: u32,
) -> Result<(), LabError> {
    let node = format!("{}-{path}", disk.name);
    // no-flush: the file need not survive the host. locking: two guests and two paths open the same one.
    machine.monitor.execute(
        "blockdev-add",
        &json!({
            "node-name": node, "driver": "raw", "cache": {"direct": false, "no-flush": true}, "discard": "unmap",
            "file": {"driver": "file", "filename": file, "locking": "off", "discard": "unmap",
                     "cache": {"direct": false, "no-flush": true}}
        }),
    )?;
    machine
        .monitor
        .execute(
            "device_add",
            &json!({
                "driver": "scsi-hd", "id": format!("disk-{node}"), "drive": node, "bus": "scsi.0", "scsi-id": target,
                "lun": 0, "serial": disk.name, "wwn": disk.wwn(), "share-rw": true
            }),
        )
        .map(|_| ())
}

/// The word for `sh`.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_word_stays_one_word() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
