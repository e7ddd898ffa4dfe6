//! A BMC in this process: IPMI 1.5 and RMCP+ on a loopback UDP port, with the faults of real ones on request.
//!
//! Written from IPMI v2.0 rev 1.1 alone and proven with the real `ipmitool`. It exists because `ipmi_sim` has no SHA-256: suites 15
//! to 17 can be tested against this one only.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::bmc_handshake::Half;
use super::bmc_wire::{
    Asked, Protection, Window, build_response, code15, packet15, parse_request, plain20, random,
};
use super::power_file::PowerFile;

/// An account.
#[derive(Debug, Clone)]
pub struct User {
    /// Login.
    pub name: Vec<u8>,
    /// At most 20 bytes; v1.5 sees the first 16.
    pub password: Vec<u8>,
    /// Highest privilege level, 1 to 4.
    pub limit: u8,
}

/// How this BMC is unlike the standard.
#[derive(Debug, Clone, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is one known fault of real BMCs")]
pub struct Quirks {
    /// Suites that are not enabled are dropped instead of refused.
    pub drops_unknown_suites: bool,
    /// Get Channel Cipher Suites is never answered.
    pub mute_cipher_suites: bool,
    /// Get Channel Authentication Capabilities with the v2.0 bit is answered with `CCh`.
    pub refuses_v20_bit: bool,
    /// The same is never answered.
    pub mute_v20_bit: bool,
    /// Claims in the capabilities to speak 1.5 only.
    pub only_v15: bool,
    /// Chassis control is answered with success and not carried out.
    pub lies: bool,
    /// Power commands take effect so much later; until then the status is the old one.
    pub slow_power: Duration,
    /// The first n chassis commands are answered with C0h.
    pub busy: u32,
    /// Chassis control is not implemented: C1h.
    pub no_control: bool,
    /// A repeated RAKP 3 for an active session is ignored instead of refused.
    pub mute_second_rakp3: bool,
    /// RAKP 1 with an unknown user is ignored.
    pub mute_unknown_user: bool,
    /// All sessions are forgotten when the power changes.
    pub forgets_on_power: bool,
    /// Answers of bridged targets come inside the answer to Send Message.
    pub bridges_inline: bool,
    /// Each answer is that late.
    pub answers_after: Duration,
}

/// What kind of BMC to start.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Cipher suites.
    pub suites: Vec<u8>,
    /// Authentication types of IPMI 1.5 (0 none, 2 md5, 4 password).
    pub auths: Vec<u8>,
    /// BMC key.
    pub kg: Option<Vec<u8>>,
    /// Accounts.
    pub users: Vec<User>,
    /// Session slots, active and half-open ones together.
    pub slots: usize,
    /// Power at the start, where the folder has none yet.
    pub on: bool,
    /// Where the power is the file `power` (`on` or `off`), readable and writable from outside at any time.
    pub folder: Option<std::path::PathBuf>,
    /// Controllers behind the bridge: slave address and power.
    pub bridged: BTreeMap<u8, bool>,
    /// Faults.
    pub quirks: Quirks,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            suites: vec![17, 3],
            auths: vec![2, 4, 0],
            kg: None,
            users: vec![
                User { name: b"admin".to_vec(), password: b"s3cret1".to_vec(), limit: 4 },
                User { name: b"oper".to_vec(), password: b"s3cret1".to_vec(), limit: 3 },
                User { name: b"user".to_vec(), password: b"s3cret1".to_vec(), limit: 2 },
            ],
            slots: 8,
            on: true,
            folder: None,
            bridged: BTreeMap::new(),
            quirks: Quirks::default(),
        }
    }
}

pub(super) enum Kind {
    V20 { console: u32, protection: Protection },
    V15 { auth: u8, password: [u8; 16] },
}

pub(super) struct Active {
    pub kind: Kind,
    pub window: Window,
    pub sent: u32,
    /// Highest level the user and the opening allow.
    pub limit: u8,
    pub level: u8,
}

pub(super) struct Challenge {
    pub user: User,
    pub auth: u8,
    pub bytes: [u8; 16],
}

/// Everything the BMC knows.
pub(super) struct State {
    pub config: Config,
    pub on: bool,
    pub due: Option<(Instant, bool)>,
    pub half: BTreeMap<u32, Half>,
    pub active: BTreeMap<u32, Active>,
    pub challenges: BTreeMap<u32, Challenge>,
    pub bridged: BTreeMap<u8, bool>,
    pub controls: Vec<(Instant, u8)>,
    pub power_log: Vec<(Instant, bool)>,
    pub file: Option<PowerFile>,
    pub opened: usize,
    pub requests: usize,
    pub guid: [u8; 16],
}

/// A running simulator; dropping it ends its thread.
pub struct Bmc {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Lets the simulated BMC forget its sessions from another thread.
#[derive(Clone)]
pub struct Amnesia(Arc<Mutex<State>>);

impl Amnesia {
    /// All sessions are gone, as after a reset of the BMC.
    pub fn strike(&self) {
        lock(&self.0).forget();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bmc {
    /// Starts one.
    ///
    /// # Errors
    /// When the address cannot be bound, or the folder cannot be written to.
    pub fn start(config: Config) -> io::Result<Self> {
        let socket = UdpSocket::bind(config.listen)?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        let address = socket.local_addr()?;
        let file = config.folder.as_deref().map(|folder| PowerFile::open(folder, config.on)).transpose()?;
        let on = file.as_ref().map_or(config.on, PowerFile::is_on);
        let state = State {
            on,
            file,
            bridged: config.bridged.clone(),
            power_log: vec![(Instant::now(), on)],
            config,
            due: None,
            half: BTreeMap::new(),
            active: BTreeMap::new(),
            challenges: BTreeMap::new(),
            controls: Vec::new(),
            opened: 0,
            requests: 0,
            guid: random(),
        };
        let state = Arc::new(Mutex::new(state));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, ending) = (Arc::clone(&state), Arc::clone(&stop));
        let thread =
            std::thread::Builder::new().name("bmc".into()).spawn(move || serve(&socket, &shared, &ending))?;
        Ok(Self { state, address, stop, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The power now.
    pub fn is_on(&self) -> bool {
        let mut state = lock(&self.state);
        state.settle();
        state.on
    }

    /// Somebody presses the button.
    pub fn set_power(&self, on: bool) {
        lock(&self.state).switch(on);
    }

    /// Each change of power with its time, the state at the start first.
    pub fn power_log(&self) -> Vec<(Instant, bool)> {
        let mut state = lock(&self.state);
        state.settle();
        state.power_log.clone()
    }

    /// Power of a controller behind the bridge.
    pub fn bridged_is_on(&self, address: u8) -> Option<bool> {
        lock(&self.state).bridged.get(&address).copied()
    }

    /// Sessions activated and not closed.
    pub fn open_sessions(&self) -> usize {
        lock(&self.state).active.len()
    }

    /// Their ids.
    pub fn open_session_ids(&self) -> Vec<u32> {
        lock(&self.state).active.keys().copied().collect()
    }

    /// The number of them, once datagrams that are still on their way have had up to `patience` to arrive.
    pub fn open_sessions_after(&self, patience: Duration) -> usize {
        let until = Instant::now() + patience;
        while self.open_sessions() > 0 && Instant::now() < until {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        self.open_sessions()
    }

    /// Handshakes begun and neither finished nor broken off.
    pub fn half_open_sessions(&self) -> usize {
        lock(&self.state).half.len()
    }

    /// Sessions activated since the start.
    pub fn sessions_opened(&self) -> usize {
        lock(&self.state).opened
    }

    /// Chassis control commands that reached the BMC, with their number, each execution counted.
    pub fn controls(&self) -> Vec<u8> {
        lock(&self.state).controls.iter().map(|(_, number)| *number).collect()
    }

    /// Packets that were understood.
    pub fn requests(&self) -> usize {
        lock(&self.state).requests
    }

    /// Changes what is wrong with it.
    pub fn set_quirks(&self, quirks: Quirks) {
        lock(&self.state).config.quirks = quirks;
    }

    /// A handle that makes it forget its sessions.
    pub fn amnesia(&self) -> Amnesia {
        Amnesia(Arc::clone(&self.state))
    }
}

impl Drop for Bmc {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // a panic in there has been printed; the test fails by silence
            let _ = thread.join();
        }
    }
}

fn serve(socket: &UdpSocket, state: &Mutex<State>, stop: &AtomicBool) {
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            lock(state).settle();
            continue;
        };
        let Some(packet) = buffer.get(..length) else { continue };
        let (answers, late) = {
            let mut state = lock(state);
            state.settle();
            (state.handle(packet), state.config.quirks.answers_after)
        };
        if !late.is_zero() {
            std::thread::park_timeout(late);
        }
        for answer in answers {
            // the client may be gone
            let _ = socket.send_to(&answer, from);
        }
    }
}

pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Half-open sessions live a minute at most in the standard; tests cannot wait that long.
const HALF_LIFE: Duration = Duration::from_secs(3);

impl State {
    /// Lets a slow power change happen, and one that somebody wrote into the file.
    fn settle(&mut self) {
        if let Some(on) = self.file.as_mut().and_then(PowerFile::changed_from_outside) {
            self.due = None;
            if self.on != on {
                self.on = on;
                self.power_log.push((Instant::now(), on));
            }
        }
        if let Some((at, on)) = self.due.filter(|(at, _)| *at <= Instant::now()) {
            self.due = None;
            if self.on != on {
                self.on = on;
                self.power_log.push((at, on));
            }
        }
        if let Some(file) = &mut self.file {
            file.keep(self.on);
        }
        self.half.retain(|_, half| half.since.elapsed() < HALF_LIFE);
    }

    pub(super) fn switch(&mut self, on: bool) {
        self.due = Some((Instant::now() + self.config.quirks.slow_power, on));
        self.settle();
    }

    pub(super) fn forget(&mut self) {
        self.half.clear();
        self.active.clear();
        self.challenges.clear();
    }

    pub(super) fn new_id(&self) -> u32 {
        loop {
            let id = u32::from_le_bytes(random());
            if id != 0
                && !self.active.contains_key(&id)
                && !self.half.contains_key(&id)
                && !self.challenges.contains_key(&id)
            {
                return id;
            }
        }
    }

    pub(super) fn full(&self) -> bool {
        self.active.len() + self.half.len() >= self.config.slots
    }

    pub(super) fn user(&self, name: &[u8]) -> Option<User> {
        self.config.users.iter().find(|user| user.name == name).cloned()
    }

    fn handle(&mut self, packet: &[u8]) -> Vec<Vec<u8>> {
        match packet {
            // ASF presence ping (13.2.3), which ipmitool sends before a v1.5 session: pong, IPMI supported
            [6, 0, _, 6, 0, 0, 0x11, 0xBE, 0x80, tag, ..] => {
                let mut pong = vec![6, 0, 0xFF, 6, 0, 0, 0x11, 0xBE, 0x40, *tag, 0, 16, 0, 0, 0x11, 0xBE];
                pong.extend([0, 0, 0, 0, 0x81, 0, 0, 0, 0, 0, 0, 0]);
                vec![pong]
            }
            [6, 0, _, 7, 6, rest @ ..] => self.handle20(packet, rest).unwrap_or_default(),
            [6, 0, _, 7, auth, rest @ ..] => self.handle15(*auth, rest).unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    fn handle15(&mut self, auth: u8, rest: &[u8]) -> Option<Vec<Vec<u8>>> {
        let (sequence, id) = (word(rest, 0)?, word(rest, 4)?);
        let (code, rest) = if auth == 0 {
            (None, rest.get(8..)?)
        } else {
            (Some(<[u8; 16]>::try_from(rest.get(8..24)?).ok()?), rest.get(24..)?)
        };
        let (length, message) = rest.split_first()?;
        let message = message.get(..usize::from(*length))?;
        let asked = parse_request(message)?;
        if id == 0 {
            self.requests += 1;
            let (cc, data) = self.outside_session(&asked)?;
            return Some(vec![packet15(0, None, 0, 0, &build_response(&asked, cc, &data))]);
        }
        if let Some(challenge) = self.challenges.get(&id) {
            // activation: the code is the proof; a wrong one is dropped in silence
            let password = padded(&challenge.user.password);
            if auth != challenge.auth || code15(auth, &password, id, sequence, message) != code {
                return None;
            }
            self.requests += 1;
            let (cc, data) = self.activate15(id, &asked)?;
            let answer = build_response(&asked, cc, &data);
            return Some(vec![packet15(auth, code15(auth, &password, id, 0, &answer), id, 0, &answer)]);
        }
        let session = self.active.get_mut(&id)?;
        let Kind::V15 { auth: agreed, password } = session.kind else { return None };
        if auth != agreed
            || code15(auth, &password, id, sequence, message) != code
            || !session.window.accept(sequence)
        {
            return None;
        }
        self.requests += 1;
        Some(self.in_session(id, &asked))
    }

    fn activate15(&mut self, id: u32, asked: &Asked) -> Option<(u8, Vec<u8>)> {
        if (asked.net_fn, asked.command) != (6, 0x3A) {
            return Some((0xD4, Vec::new()));
        }
        let challenge = self.challenges.get(&id)?;
        let [_auth, wanted, echoed @ ..] = asked.data.as_slice() else { return Some((0xC7, Vec::new())) };
        if echoed.get(..16)? != challenge.bytes {
            return Some((0xCC, Vec::new()));
        }
        if *wanted > challenge.user.limit {
            return Some((0x86, Vec::new()));
        }
        if self.full() {
            return Some((0x81, Vec::new()));
        }
        let (limit, auth, password) = (*wanted, challenge.auth, padded(&challenge.user.password));
        let lasting = self.new_id();
        let sent = word(echoed, 16)?.wrapping_sub(1);
        let first: u32 = 1000;
        self.challenges.remove(&id);
        self.opened += 1;
        self.active.insert(
            lasting,
            Active {
                kind: Kind::V15 { auth, password },
                window: Window::starting_at(first),
                sent,
                limit,
                level: limit.min(2),
            },
        );
        let mut data = vec![auth];
        data.extend(lasting.to_le_bytes());
        data.extend(first.to_le_bytes());
        data.push(limit);
        Some((0, data))
    }

    fn handle20(&mut self, packet: &[u8], rest: &[u8]) -> Option<Vec<Vec<u8>>> {
        let kind = *rest.first()?;
        let (id, sequence) = (word(rest, 1)?, word(rest, 5)?);
        let length = usize::from(u16::from_le_bytes(rest.get(9..11)?.try_into().ok()?));
        let payload = rest.get(11..11 + length)?;
        match kind {
            0x10 => self.open_session(payload).map(|answer| vec![plain20(0x11, 0, 0, &answer)]),
            0x12 => self.rakp1(payload).map(|answer| vec![plain20(0x13, 0, 0, &answer)]),
            0x14 => self.rakp3(payload).map(|answer| vec![plain20(0x15, 0, 0, &answer)]),
            // a command before any session in the new format: ipmitool asks for the cipher suites so
            0 if id == 0 => {
                let asked = parse_request(payload)?;
                self.requests += 1;
                let (code, data) = self.outside_session(&asked)?;
                Some(vec![plain20(0, 0, 0, &build_response(&asked, code, &data))])
            }
            0 | 0x40 | 0x80 | 0xC0 => {
                let session = self.active.get_mut(&id)?;
                let Kind::V20 { protection, .. } = &session.kind else { return None };
                let want = if protection.confidentiality == 0 { 0 } else { 0x80 }
                    | if protection.integrity == 0 { 0 } else { 0x40 };
                if kind != want {
                    return None;
                }
                let message = protection.receive(packet.get(4..)?, payload)?;
                if !session.window.accept(sequence) {
                    return None;
                }
                let asked = parse_request(&message)?;
                self.requests += 1;
                Some(self.in_session(id, &asked))
            }
            _ => None,
        }
    }

    /// Packs a message of the session. The session is handed in because a command may have ended it.
    pub(super) fn packed(session: &mut Active, id: u32, message: &[u8]) -> Vec<u8> {
        session.sent = session.sent.wrapping_add(1).max(1);
        match &session.kind {
            Kind::V20 { console, protection } => protection.send(*console, session.sent, message),
            Kind::V15 { auth, password } => {
                packet15(*auth, code15(*auth, password, id, session.sent, message), id, session.sent, message)
            }
        }
    }
}

pub(super) fn padded(password: &[u8]) -> [u8; 16] {
    let mut out = [0; 16];
    for (to, from) in out.iter_mut().zip(password) {
        *to = *from;
    }
    out
}
