//! A pool of XenServer or XCP-ng hosts in this process: the part of the XenAPI that has to do with the power of virtual machines.
//!
//! Written from the *XenServer Management API* guide, and proven with the `XenAPI` client of xapi's own project (`fence/tests/xenapi/simulator_is_real.rs`
//! and upstream's `fence_xenapi`). Every host has an address of its own on loopback and the same port, because `HOST_IS_SLAVE` names an
//! address without a port. XML-RPC at any path, JSON-RPC 1.0 and 2.0 at `/jsonrpc`; http or https.
//!
//! What the pool believes about a machine's power is the file `vms/<uuid>` in the pool's folder; whether a domain really exists is
//! `domains/<uuid>`. Both can be read and written from outside at any time.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use super::xenapi_faults::{Fate, Faults};
use super::xenapi_http::{Tls, listen};
use super::xenapi_pool::State;

/// An account.
#[derive(Clone, Debug)]
pub struct User {
    /// Login.
    pub name: String,
    /// Password.
    pub password: String,
    /// May look and not touch.
    pub read_only: bool,
}

/// A virtual machine, or what is kept like one.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "the record of a machine has these flags")]
pub struct Vm {
    /// Its uuid.
    pub uuid: String,
    /// `name_label`; need not be the only one of that name.
    pub name: String,
    /// `Halted`, `Running`, `Paused` or `Suspended` at the start, unless the folder says otherwise already.
    pub power: &'static str,
    /// Number of the host on which it runs or ran last.
    pub host: usize,
    /// `is_a_template`.
    pub template: bool,
    /// `is_a_snapshot`; snapshots are templates as well.
    pub snapshot: bool,
    /// `is_control_domain`.
    pub control_domain: bool,
    /// The record names a host also while it is halted, which xapi's own never does.
    pub still_resident: bool,
}

impl Vm {
    /// A machine of this name that runs on host 0.
    pub fn running(name: &str) -> Self {
        let mut random = ringfence_conformance::relay::SplitMix64::new(
            name.bytes().fold(7, |sum: u64, byte| sum.wrapping_mul(131).wrapping_add(u64::from(byte))),
        );
        Self {
            uuid: super::xenapi_pool::uuid(&mut random),
            name: name.to_owned(),
            power: "Running",
            host: 0,
            template: false,
            snapshot: false,
            control_domain: false,
            still_resident: false,
        }
    }

    /// The same, halted.
    pub fn halted(name: &str) -> Self {
        Self { power: "Halted", ..Self::running(name) }
    }
}

/// How a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// As it should be.
    Up,
    /// Its address refuses connections.
    Down,
    /// It takes connections and says nothing.
    Silent,
}

/// How this pool is unlike a new and healthy one.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is one known trait of real pools")]
pub struct Quirks {
    /// Power operations succeed and change nothing.
    pub lies: bool,
    /// Power operations never end.
    pub stuck: bool,
    /// Power operations take so long.
    pub takes: Duration,
    /// The first n power operations are refused with `OTHER_OPERATION_IN_PROGRESS`.
    pub busy: u32,
    /// An operation on a machine whose host is gone waits for that host instead of being refused.
    pub waits_for_dead_host: bool,
    /// Every call of this method is refused with this error.
    pub refuses: Option<(String, Vec<String>)>,
    /// Older than 7.3: no JSON-RPC.
    pub no_json: bool,
    /// Older than 6.2: login takes two or three parameters.
    pub old_login: bool,
    /// Answers come in chunks.
    pub chunked: bool,
    /// Every answer ends its connection.
    pub closes: bool,
    /// Answers have no length: they end with the connection.
    pub no_length: bool,
    /// Each answer is that late.
    pub answers_after: Duration,
    /// This word stands for every power state.
    pub power_word: Option<String>,
    /// This field is not in the records of machines.
    pub missing_field: Option<String>,
    /// Sessions are forgotten after so many calls with them.
    pub session_calls: Option<u32>,
    /// What `HOST_IS_SLAVE` names instead of the master's address.
    pub slave_says: Option<String>,
}

/// What kind of pool to start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where power states are kept; `None` is a folder that is gone with the pool.
    pub folder: Option<PathBuf>,
    /// Number of hosts; the first one is the master.
    pub hosts: usize,
    /// Machines, snapshots, templates, control domains.
    pub vms: Vec<Vm>,
    /// Accounts.
    pub users: Vec<User>,
    /// https instead of http.
    pub tls: bool,
    /// Sessions kept at a time; xapi keeps 500 of one originator.
    pub most_sessions: usize,
    /// Seed of references and uuids.
    pub seed: u64,
    /// Traits.
    pub quirks: Quirks,
    /// Faults of single requests.
    pub faults: Faults,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            folder: None,
            hosts: 1,
            vms: vec![Vm::running("node1"), Vm::halted("node2")],
            users: vec![
                User { name: "root".into(), password: "s3cret1".into(), read_only: false },
                User { name: "reader".into(), password: "s3cret1".into(), read_only: true },
            ],
            tls: false,
            most_sessions: 500,
            seed: 1,
            quirks: Quirks::default(),
            faults: Faults::default(),
        }
    }
}

pub(super) struct Shared {
    state: Mutex<State>,
    pub stop: AtomicBool,
    pub tls: Option<Tls>,
}

impl Shared {
    /// The state, with everything carried out that is due.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.settle();
        state
    }
}

/// A running pool; dropping it ends its threads.
pub struct Pool {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    threads: Vec<JoinHandle<()>>,
    folder: PathBuf,
    /// Gone with the pool.
    _temporary: Option<tempfile::TempDir>,
}

impl Pool {
    /// Starts one.
    ///
    /// # Errors
    /// When an address cannot be bound, or the folder not be written.
    pub fn start(settings: Settings) -> io::Result<Self> {
        let listeners = bind(settings.hosts.max(1))?;
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
        let temporary = if settings.folder.is_none() { Some(tempfile::tempdir()?) } else { None };
        let folder = match (&settings.folder, &temporary) {
            (Some(folder), _) => folder.clone(),
            (None, Some(temporary)) => temporary.path().to_owned(),
            (None, None) => return Err(io::Error::other("no folder")),
        };
        let tls = if settings.tls {
            Some(
                Tls::new(&addresses.iter().map(SocketAddr::ip).collect::<Vec<_>>())
                    .map_err(io::Error::other)?,
            )
        } else {
            None
        };
        let named: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
        let state = Mutex::new(State::new(settings, folder.clone(), &named)?);
        let shared = Arc::new(Shared { state, stop: AtomicBool::new(false), tls });
        let mut threads = Vec::new();
        for (number, listener) in listeners.into_iter().enumerate() {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name(format!("xapi-{number}"));
            threads.push(thread.spawn(move || listen(listener, number, &shared))?);
        }
        Ok(Self { shared, addresses, threads, folder, _temporary: temporary })
    }

    /// Where the n-th host listens; the first one where there is no such host.
    pub fn address(&self, host: usize) -> SocketAddr {
        let first = self.addresses.first().copied();
        self.addresses.get(host).copied().or(first).unwrap_or((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// `http://127.0.0.1:1234` of the n-th host.
    pub fn url(&self, host: usize) -> String {
        let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address(host))
    }

    /// The certificate authority of the hosts, as PEM; empty for http.
    pub fn authority(&self) -> &str {
        self.shared.tls.as_ref().map_or("", |tls| tls.authority.as_str())
    }

    /// The SHA-256 of the hosts' certificate, which they share, in hexadecimal; empty for http.
    pub fn fingerprint(&self) -> &str {
        self.shared.tls.as_ref().map_or("", |tls| tls.fingerprint.as_str())
    }

    /// Where power states are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the pool believes: `Halted`, `Running`, `Paused` or `Suspended`. Empty for what it does not know.
    pub fn power(&self, name: &str) -> String {
        let state = self.shared.lock();
        state.named(name).map(|vm| state.power(&vm.uuid)).unwrap_or_default()
    }

    /// Somebody else changes it, with the domain.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn set_power(&self, name: &str, power: &str) -> io::Result<()> {
        let mut state = self.shared.lock();
        match state.named(name).map(|vm| (vm.uuid.clone(), vm.host)) {
            Some((uuid, host)) => state.set_power(&uuid, power, host),
            None => Err(io::Error::other(format!("no machine '{name}'"))),
        }
    }

    /// Whether a domain of the machine really exists, whatever the pool believes.
    pub fn is_running(&self, name: &str) -> bool {
        let state = self.shared.lock();
        state.named(name).is_some_and(|vm| state.domain(&vm.uuid).is_some())
    }

    /// Power operations that were taken: `VM.hard_shutdown node1`.
    pub fn orders(&self) -> Vec<String> {
        self.shared.lock().orders()
    }

    /// Forgets orders and calls.
    pub fn forget_orders(&self) {
        self.shared.lock().forget_orders();
    }

    /// Names of the methods that were called, in order, refused ones too.
    pub fn calls(&self) -> Vec<String> {
        self.shared.lock().calls.clone()
    }

    /// Sessions that are open.
    pub fn open_sessions(&self) -> usize {
        self.shared.lock().sessions.len()
    }

    /// Sessions that are open, of which a client knows, and whose logout never came.
    pub fn leaked_sessions(&self) -> usize {
        self.shared.lock().sessions.values().filter(|s| s.told && !s.logout_came).count()
    }

    /// Sessions that are open, that were used, and whose logout never came.
    pub fn abandoned_sessions(&self) -> usize {
        self.shared.lock().sessions.values().filter(|s| s.calls > 0 && !s.logout_came).count()
    }

    /// The states that a machine went through since the start, or since [`Self::forget_orders`].
    pub fn changes(&self, name: &str) -> Vec<String> {
        let state = self.shared.lock();
        let uuid = state.named(name).map(|vm| vm.uuid.clone()).unwrap_or_default();
        state.changes.iter().filter(|(of, _)| *of == uuid).map(|(_, power)| power.clone()).collect()
    }

    /// Sessions opened since the start.
    pub fn sessions_opened(&self) -> usize {
        self.shared.lock().opened
    }

    /// Sessions that had to make room for others.
    pub fn sessions_evicted(&self) -> usize {
        self.shared.lock().evicted
    }

    /// Tasks that exist: those that somebody began with `Async` and did not destroy.
    pub fn tasks(&self) -> usize {
        self.shared.lock().tasks.len()
    }

    /// Requests that were read, on all hosts.
    pub fn requests(&self) -> usize {
        self.shared.lock().requests
    }

    /// Another host takes over.
    pub fn set_master(&self, host: usize) {
        self.shared.lock().master = host;
    }

    /// A host dies or comes back. The machines of a dead host stay what the pool believed of them.
    pub fn set_life(&self, host: usize, life: Life) {
        if let Some(host) = self.shared.lock().hosts.get_mut(host) {
            host.life = life;
        }
        // The listener's thread looks every few milliseconds.
        let end = Instant::now() + Duration::from_millis(60);
        while life == Life::Down && Instant::now() < end {
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Changes what is wrong with it.
    pub fn set_quirks(&self, quirks: Quirks) {
        self.shared.lock().settings.quirks = quirks;
    }

    /// Puts another machine into the pool.
    ///
    /// # Errors
    /// When its power cannot be written.
    pub fn add(&self, vm: Vm) -> io::Result<()> {
        let mut state = self.shared.lock();
        let host = vm.host;
        state.set_power(&vm.uuid, vm.power, host)?;
        let reference = state.new_reference();
        state.vms.insert(reference, vm);
        Ok(())
    }

    /// Takes a machine out of the pool, as `VM.destroy` does.
    pub fn remove(&self, name: &str) {
        self.shared.lock().vms.retain(|_, vm| vm.name != name && vm.uuid != name);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // a panic in there has been printed; the test fails by silence
            let _ = thread.join();
        }
    }
}

/// The same free port at 127.0.0.1, 127.0.0.2 and so on.
fn bind(hosts: usize) -> io::Result<Vec<TcpListener>> {
    let mut last = None;
    for _ in 0..50 {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = first.local_addr()?.port();
        let others: io::Result<Vec<TcpListener>> = (2..=hosts)
            .map(|n| TcpListener::bind((Ipv4Addr::new(127, 0, 0, u8::try_from(n).unwrap_or(u8::MAX)), port)))
            .collect();
        match others {
            Ok(others) => return Ok(std::iter::once(first).chain(others).collect()),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other("no port is free on all addresses")))
}
