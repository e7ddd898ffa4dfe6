//! What a pool knows: hosts, virtual machines, tasks and sessions; the machines' power is on disk.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringfence_conformance::relay::SplitMix64;

use super::xenapi::{Life, Quirks, Settings, Vm};
use super::xenapi_value::Value;

/// What a reference to nothing looks like.
pub(super) const NULL: &str = "OpaqueRef:NULL";

/// A session. The simulator never tells its reference but to the one who logged in.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Session {
    pub user: String,
    pub read_only: bool,
    /// Of `slave_local_login_with_password`.
    pub local: bool,
    pub used: u64,
    pub calls: u32,
    /// The client got the reference, whole.
    pub told: bool,
    /// A logout of it reached us, whatever became of it.
    pub logout_came: bool,
}

/// A change under way, and the operation's name.
pub(super) struct Job {
    pub vm: String,
    pub operation: String,
    /// The state afterwards; `None` changes nothing (a lie).
    pub target: Option<&'static str>,
    /// Never, when it is stuck.
    pub due: Option<Instant>,
    pub host: Option<usize>,
}

pub(super) enum Status {
    Pending,
    Success,
    Failure(Vec<String>),
    Cancelled,
}

pub(super) struct Task {
    pub name: String,
    pub status: Status,
    pub job: Option<u64>,
}

/// One host of the pool.
pub(super) struct Host {
    pub reference: String,
    pub uuid: String,
    pub name: String,
    pub address: String,
    pub life: Life,
}

/// Everything.
pub(super) struct State {
    pub settings: Settings,
    folder: PathBuf,
    random: SplitMix64,
    pub hosts: Vec<Host>,
    pub master: usize,
    /// By reference.
    pub vms: BTreeMap<String, Vm>,
    pub sessions: BTreeMap<String, Session>,
    pub tasks: BTreeMap<String, Task>,
    pub jobs: BTreeMap<u64, Job>,
    /// How jobs ended for which somebody waits.
    results: BTreeMap<u64, Result<(), Vec<String>>>,
    next_job: u64,
    clock: u64,
    pub opened: usize,
    pub requests: usize,
    pub calls: Vec<String>,
    /// Every power state that was written.
    pub changes: Vec<(String, String)>,
    pub evicted: usize,
}

impl State {
    pub fn new(settings: Settings, folder: PathBuf, addresses: &[String]) -> io::Result<Self> {
        fs::create_dir_all(folder.join("vms"))?;
        fs::create_dir_all(folder.join("domains"))?;
        let mut random = SplitMix64::new(settings.seed ^ 0x000A_E2AF);
        let hosts = addresses
            .iter()
            .enumerate()
            .map(|(n, address)| Host {
                reference: reference(&mut random),
                uuid: uuid(&mut random),
                name: format!("xs{}", n + 1),
                address: address.clone(),
                life: Life::Up,
            })
            .collect();
        let mut state = Self {
            folder,
            hosts,
            master: 0,
            vms: BTreeMap::new(),
            sessions: BTreeMap::new(),
            tasks: BTreeMap::new(),
            jobs: BTreeMap::new(),
            results: BTreeMap::new(),
            next_job: 0,
            clock: 0,
            opened: 0,
            requests: 0,
            calls: Vec::new(),
            changes: Vec::new(),
            evicted: 0,
            random,
            settings,
        };
        for vm in state.settings.vms.clone() {
            let reference = reference(&mut state.random);
            if fs::read(state.power_file(&vm.uuid)).is_err() {
                let host = vm.host;
                state.set_power(&vm.uuid, vm.power, host)?;
            }
            state.vms.insert(reference, vm);
        }
        Ok(state)
    }

    pub fn quirks(&self) -> &Quirks {
        &self.settings.quirks
    }

    fn power_file(&self, uuid: &str) -> PathBuf {
        self.folder.join("vms").join(uuid)
    }

    fn domain_file(&self, uuid: &str) -> PathBuf {
        self.folder.join("domains").join(uuid)
    }

    /// What the pool's database says; `Halted` when the file is gone.
    pub fn power(&self, uuid: &str) -> String {
        fs::read_to_string(self.power_file(uuid))
            .map_or_else(|_| "Halted".into(), |text| text.trim().to_owned())
    }

    /// The host on which a domain of the machine exists, whatever the database says.
    pub fn domain(&self, uuid: &str) -> Option<usize> {
        fs::read_to_string(self.domain_file(uuid)).ok()?.trim().parse().ok()
    }

    /// Changes the database and the domain.
    pub fn set_power(&mut self, uuid: &str, power: &str, host: usize) -> io::Result<()> {
        if matches!(power, "Running" | "Paused") {
            fs::write(self.domain_file(uuid), format!("{host}\n"))?;
        } else {
            remove(&self.domain_file(uuid))?;
        }
        self.set_database_power(uuid, power)
    }

    /// Changes the database alone: the domain stays what it is.
    pub fn set_database_power(&mut self, uuid: &str, power: &str) -> io::Result<()> {
        self.changes.push((uuid.to_owned(), power.to_owned()));
        replace(&self.power_file(uuid), &format!("{power}\n"))
    }

    /// The order and the machine's name, for who wants to know what was asked.
    pub fn note_order(&self, order: &str) {
        use io::Write as _;
        let file = fs::OpenOptions::new().create(true).append(true).open(self.folder.join("orders"));
        // The log is an observer's convenience; the power files are the truth.
        let _ = file.and_then(|mut file| file.write_all(format!("{order}\n").as_bytes()));
    }

    pub fn orders(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join("orders")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub fn forget_orders(&mut self) {
        // Not there is as good as empty.
        let _ = fs::remove_file(self.folder.join("orders"));
        self.calls.clear();
        self.changes.clear();
    }

    pub fn new_reference(&mut self) -> String {
        reference(&mut self.random)
    }

    /// Carries out what is due.
    pub fn settle(&mut self) {
        let now = Instant::now();
        let due: Vec<u64> = self
            .jobs
            .iter()
            .filter(|(_, job)| job.due.is_some_and(|at| at <= now))
            .map(|(n, _)| *n)
            .collect();
        for number in due {
            let Some(job) = self.jobs.remove(&number) else { continue };
            let result = self.finish(&job);
            if !self.tasks.values().any(|task| task.job == Some(number)) {
                self.results.insert(number, result.clone());
            }
            for task in self.tasks.values_mut().filter(|task| task.job == Some(number)) {
                task.job = None;
                task.status = match &result {
                    Ok(()) => Status::Success,
                    Err(error) => Status::Failure(error.clone()),
                };
            }
        }
    }

    fn finish(&mut self, job: &Job) -> Result<(), Vec<String>> {
        let Some(uuid) = self.vms.get(&job.vm).map(|vm| vm.uuid.clone()) else { return Ok(()) };
        if let Some(host) = job.host.and_then(|n| self.hosts.get(n))
            && host.life != Life::Up
        {
            return Err(vec!["HOST_OFFLINE".into(), host.reference.clone()]);
        }
        let Some(target) = job.target else { return Ok(()) };
        let host = job.host.unwrap_or(0);
        if let Some(vm) = self.vms.get_mut(&job.vm) {
            vm.host = host;
        }
        self.set_power(&uuid, target, host).map_err(|e| vec!["INTERNAL_ERROR".into(), e.to_string()])
    }

    /// Begins a change; its number.
    pub fn begin(&mut self, job: Job) -> u64 {
        self.next_job += 1;
        self.jobs.insert(self.next_job, job);
        self.next_job
    }

    /// How a job ended, once.
    pub fn over(&mut self, job: u64) -> Option<Result<Value, Vec<String>>> {
        self.results.remove(&job).map(|result| result.map(|()| Value::text("")))
    }

    pub fn add_session(&mut self, user: &str, read_only: bool, local: bool) -> String {
        // xapi keeps a limited number and forgets the one that was not used for the longest time.
        if self.sessions.len() >= self.settings.most_sessions {
            let oldest =
                self.sessions.iter().min_by_key(|(_, session)| session.used).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                self.sessions.remove(&oldest);
                self.evicted += 1;
            }
        }
        let reference = self.new_reference();
        self.clock += 1;
        self.opened += 1;
        let session = Session {
            user: user.to_owned(),
            read_only,
            local,
            used: self.clock,
            calls: 0,
            told: false,
            logout_came: false,
        };
        self.sessions.insert(reference.clone(), session);
        reference
    }

    /// The session, marked as used: who uses it knows it.
    pub fn session(&mut self, reference: &str) -> Option<&mut Session> {
        self.clock += 1;
        let session = self.sessions.get_mut(reference)?;
        session.used = self.clock;
        session.calls += 1;
        session.told = true;
        Some(session)
    }

    /// The client has got the reference of the session.
    pub fn tell(&mut self, reference: &str) {
        if let Some(session) = self.sessions.get_mut(reference) {
            session.told = true;
        }
    }

    /// The host that the database names for the machine: none for what has no domain.
    pub fn resident_on(&self, vm: &Vm) -> Option<usize> {
        match self.power(&vm.uuid).as_str() {
            "Running" | "Paused" => Some(vm.host),
            _ => vm.still_resident.then_some(vm.host),
        }
    }

    fn operations(&self, reference: &str) -> Value {
        let jobs = self.jobs.iter().filter(|(_, job)| job.vm == reference);
        Value::Map(
            jobs.map(|(n, job)| (format!("OpaqueRef:job-{n}"), Value::text(job.operation.as_str())))
                .collect(),
        )
    }

    /// The fields that a real record has and that somebody might look at, and some bulk.
    pub fn vm_record(&self, reference: &str) -> Option<Value> {
        let vm = self.vms.get(reference)?;
        let resident = self.resident_on(vm).and_then(|n| self.hosts.get(n));
        let power = self.quirks().power_word.clone().unwrap_or_else(|| self.power(&vm.uuid));
        let text = |text: &str| Value::text(text);
        let empty = || Value::Map(Vec::new());
        let fields = vec![
            ("uuid", text(&vm.uuid)),
            ("allowed_operations", Value::List(Vec::new())),
            ("current_operations", self.operations(reference)),
            ("name_label", text(&vm.name)),
            ("name_description", text("a machine & its <description>")),
            ("power_state", text(&power)),
            ("user_version", text("1")),
            ("is_a_template", Value::Flag(vm.template)),
            ("is_default_template", Value::Flag(false)),
            ("suspend_VDI", text(NULL)),
            ("resident_on", text(resident.map_or(NULL, |host| host.reference.as_str()))),
            ("scheduled_to_be_resident_on", text(NULL)),
            ("affinity", text(NULL)),
            ("memory_overhead", text("11534336")),
            ("memory_static_max", text("2147483648")),
            ("VCPUs_params", empty()),
            ("VCPUs_max", text("2")),
            ("actions_after_shutdown", text("destroy")),
            ("VBDs", Value::List(vec![text("OpaqueRef:4f1a"), text("OpaqueRef:4f1b")])),
            ("platform", Value::Map(vec![("nx".into(), text("true")), ("acpi".into(), text("1"))])),
            ("other_config", Value::Map(vec![("power_state".into(), text("Halted"))])),
            ("domid", text(if resident.is_some() { "7" } else { "-1" })),
            ("is_control_domain", Value::Flag(vm.control_domain)),
            ("metrics", text("OpaqueRef:4f1c")),
            ("is_a_snapshot", Value::Flag(vm.snapshot)),
            ("snapshot_of", text(if vm.snapshot { "OpaqueRef:4f1d" } else { NULL })),
            ("snapshot_time", Value::Time("19700101T00:00:00Z".into())),
            ("ha_always_run", Value::Flag(false)),
            ("version", text("0")),
        ];
        let missing = self.quirks().missing_field.as_deref();
        Some(Value::Map(
            fields
                .into_iter()
                .filter(|(name, _)| Some(*name) != missing)
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        ))
    }

    pub fn host_record(&self, number: usize) -> Option<Value> {
        let host = self.hosts.get(number)?;
        let text = |text: &str| Value::text(text);
        Some(Value::Map(vec![
            ("uuid".into(), text(&host.uuid)),
            ("name_label".into(), text(&host.name)),
            ("hostname".into(), text(&host.name)),
            ("address".into(), text(&host.address)),
            ("enabled".into(), Value::Flag(host.life == Life::Up)),
            ("API_version_major".into(), text("2")),
            ("API_version_minor".into(), text("20")),
            ("metrics".into(), text(&format!("{}-metrics", host.reference))),
        ]))
    }

    pub fn task_record(&self, reference: &str) -> Option<Value> {
        let task = self.tasks.get(reference)?;
        let text = |text: &str| Value::text(text);
        let (status, progress, error) = match &task.status {
            Status::Pending => ("pending", 0.3, Vec::new()),
            Status::Success => ("success", 1.0, Vec::new()),
            Status::Failure(error) => ("failure", 1.0, error.clone()),
            Status::Cancelled => ("cancelled", 1.0, Vec::new()),
        };
        Some(Value::Map(vec![
            ("name_label".into(), text(&task.name)),
            ("status".into(), text(status)),
            ("progress".into(), Value::Real(progress)),
            ("type".into(), text("<none/>")),
            ("result".into(), text("")),
            ("error_info".into(), Value::List(error.iter().map(Value::text).collect())),
            ("created".into(), Value::Time("20260101T00:00:00Z".into())),
        ]))
    }

    /// The references of the machines that the test means by a name or uuid.
    pub fn named(&self, name: &str) -> Option<&Vm> {
        self.vms.values().find(|vm| vm.name == name || vm.uuid == name)
    }

    /// When an operation begun now takes effect.
    pub fn due(&self) -> Option<Instant> {
        if self.quirks().stuck {
            return None;
        }
        Some(Instant::now() + self.quirks().takes.max(Duration::from_millis(0)))
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// In one step: who reads it sees the old word or the new one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(new, path)
}

pub(super) fn uuid(random: &mut SplitMix64) -> String {
    let (a, b) = (random.next_u64(), random.next_u64());
    let hex = format!("{a:016x}{b:016x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default().to_owned();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

fn reference(random: &mut SplitMix64) -> String {
    format!("OpaqueRef:{}", uuid(random))
}
