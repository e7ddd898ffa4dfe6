//! A Lights-Out processor in this process: RIBCL over raw TLS (RILOE, iLO 1 and 2) or over HTTP (iLO 3 to 5), with the faults of
//! real ones on request.
//!
//! Written from HP's scripting guides and from recordings of answers, and proven with upstream's `fence_ilo` and with `python-hpilo`.
//! The power is the word in the file `power` of the given folder, which may also be written from outside: somebody at the button.
//! What happened is in `log`, a line each: `login USER`, `order COMMAND`, `power on`, `power off`, `reset`.

use super::SplitMix64;
use super::ribcl_answers::Dialogue;
pub use super::ribcl_answers::Shape;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Which processor it is: what it speaks, and how its power button works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Generation {
    /// RIBCL 1.2 over raw TLS. A held button starts a machine that is off.
    Riloe,
    /// RIBCL 2.20 over raw TLS, else as RILOE.
    Ilo1,
    /// RIBCL 2.22 over raw TLS. From here on a held button is ignored while the machine is off, except with TOGGLE.
    Ilo2,
    /// RIBCL 2.23 over HTTP.
    Ilo3,
    Ilo4,
    Ilo5,
}

impl Generation {
    pub const ALL: [Self; 6] = [Self::Riloe, Self::Ilo1, Self::Ilo2, Self::Ilo3, Self::Ilo4, Self::Ilo5];

    pub fn speaks_http(self) -> bool {
        self >= Self::Ilo3
    }

    pub(super) fn ribcl(self) -> &'static str {
        match self {
            Self::Riloe => "1.2",
            Self::Ilo1 => "2.20",
            Self::Ilo2 => "2.22",
            Self::Ilo3 => "2.23",
            Self::Ilo4 => "2.26",
            Self::Ilo5 => "2.50",
        }
    }

    pub(super) fn firmware(self) -> (&'static str, &'static str) {
        match self {
            Self::Riloe => ("RILOE", "2.53"),
            Self::Ilo1 => ("iLO", "1.94"),
            Self::Ilo2 => ("iLO2", "2.29"),
            Self::Ilo3 => ("iLO3", "1.82"),
            Self::Ilo4 => ("iLO4", "2.55"),
            Self::Ilo5 => ("iLO5", "1.40"),
        }
    }
}

/// An account.
#[derive(Clone, Debug)]
pub struct User {
    pub name: String,
    pub password: String,
    /// `RESET_SERVER_PRIV`
    pub may_reset: bool,
}

/// How this processor is unlike the manual. What changes the form of answers is in [`Shape`].
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is one known fault of real devices")]
pub struct Quirks {
    pub shape: Shape,
    /// Orders are answered with "No error" and not carried out.
    pub lies: bool,
    /// Orders take effect so much later; until then the status is the old one.
    pub slow_power: Duration,
    /// The first n orders are answered with an error that goes away.
    pub busy: u32,
    /// Somebody presses the button just before the first order arrives.
    pub flips_before_order: bool,
    /// `SET_HOST_POWER` is answered with "not supported".
    pub no_set_host_power: bool,
    /// The operating system hangs: a short press, which `SET_HOST_POWER` is then too, is not heeded.
    pub hangs: bool,
    /// `HOLD_PWR_BTN` is answered with "not supported".
    pub no_hold: bool,
    /// Every login is a syntax error whose message quotes the line, with the password.
    pub quotes_login: bool,
    /// `COLD_BOOT_SERVER` does not interrupt the power.
    pub warm_cold_boot: bool,
    /// RIBCL is switched off in the settings (iLO 5): 404.
    pub ribcl_disabled: bool,
    /// Takes connections and says nothing.
    pub mute: bool,
    /// Each answer is that late.
    pub answers_after: Duration,
    /// Answers leave in pieces of so many bytes; 0 as a whole.
    pub piece: usize,
    /// Each connection is cut after so many bytes of answer.
    pub cut_after: Option<usize>,
    /// The end of an answer is not followed by the end of the connection.
    pub stays_open: bool,
    /// The connection ends without TLS saying so.
    pub no_close_notify: bool,
    /// The first n connections are closed at once.
    pub refuses: u32,
}

impl Quirks {
    /// A device as a seed wants it: most have one or two faults, some none.
    pub fn draw(seed: u64) -> Self {
        let mut random = SplitMix64::new(seed ^ 0x1110);
        let mut quirks = Self::default();
        for _ in 0..random.below(4) {
            match random.below(17) {
                0 => quirks.lies = true,
                1 => quirks.slow_power = Duration::from_millis(random.below(700)),
                2 => quirks.busy = 1 + u32::try_from(random.below(2)).unwrap_or(0),
                3 => quirks.flips_before_order = true,
                4 => quirks.no_set_host_power = true,
                5 => quirks.no_hold = true,
                6 => quirks.answers_after = Duration::from_millis(random.below(150)),
                7 | 8 => quirks.piece = 1 + usize::try_from(random.below(40)).unwrap_or(1),
                9 => quirks.cut_after = Some(usize::try_from(random.below(900)).unwrap_or(0)),
                10 => quirks.stays_open = true,
                11 => quirks.no_close_notify = true,
                12 => quirks.refuses = 1,
                13 => quirks.hangs = true,
                _ => quirks.shape = Shape::draw(&mut random),
            }
        }
        quirks
    }
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Settings {
    pub generation: Generation,
    /// Keeps `power` and `log`; made when it is not there.
    pub folder: PathBuf,
    /// Power where the folder has none yet.
    pub on: bool,
    pub users: Vec<User>,
    /// Without, the same is spoken without encryption: for a TLS end of one's own in front.
    pub tls: bool,
    pub quirks: Quirks,
}

impl Settings {
    /// Administrator `admin`, and `looker` who may not switch; both with `s3cret1`.
    pub fn new(generation: Generation, folder: impl Into<PathBuf>) -> Self {
        let user = |name: &str, may_reset| User { name: name.into(), password: "s3cret1".into(), may_reset };
        Self {
            generation,
            folder: folder.into(),
            on: true,
            users: vec![user("admin", true), user("looker", false)],
            tls: true,
            quirks: Quirks::default(),
        }
    }
}

/// Everything the processor knows.
pub(super) struct State {
    pub settings: Settings,
    /// A change of power that is on its way.
    due: Vec<(Instant, bool)>,
    pub orders: u32,
}

impl State {
    pub fn is_on(&mut self) -> bool {
        let now = Instant::now();
        while let Some((at, on)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            let _ = at;
            self.due.remove(0);
            self.write_power(on);
        }
        read_power(&self.settings.folder)
    }

    /// As an order does it: later, where the device is slow.
    pub fn switch(&mut self, on: bool) {
        self.switch_after(Duration::ZERO, on);
    }

    pub fn switch_after(&mut self, pause: Duration, on: bool) {
        if self.settings.quirks.lies {
            return;
        }
        let wait = self.settings.quirks.slow_power + pause;
        if wait.is_zero() {
            self.write_power(on);
        } else {
            self.due.push((Instant::now() + wait, on));
        }
    }

    fn write_power(&self, on: bool) {
        if read_power(&self.settings.folder) != on {
            self.note(if on { "power on" } else { "power off" });
        }
        write_power(&self.settings.folder, on).unwrap_or_else(|why| self.note(&format!("trouble {why}")));
    }

    /// Somebody at the button.
    pub fn flip(&mut self) {
        let on = self.is_on();
        self.write_power(!on);
    }

    pub fn note(&self, line: &str) {
        let line = format!("{}\n", line.replace(['\n', '\r'], " "));
        let file = fs::OpenOptions::new().append(true).create(true).open(self.settings.folder.join("log"));
        // A log that cannot be written makes the test that reads it fail.
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }
}

fn read_power(folder: &Path) -> bool {
    fs::read_to_string(folder.join("power")).is_ok_and(|word| word.trim() == "on")
}

/// Never half a word, whoever reads at that moment.
fn write_power(folder: &Path, on: bool) -> io::Result<()> {
    let next = folder.join("power.next");
    fs::write(&next, if on { "on\n" } else { "off\n" })?;
    fs::rename(next, folder.join("power"))
}

/// A running simulator; dropping it ends its threads.
pub struct Ribcl {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    certificate: CertificateDer<'static>,
    pem: String,
    connections: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ribcl {
    /// Starts one on a free loopback port.
    ///
    /// # Errors
    /// When the folder or the port cannot be had.
    pub fn start(settings: Settings) -> io::Result<Self> {
        Self::start_at(settings, SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Starts one at that address.
    ///
    /// # Errors
    /// When the folder or the port cannot be had.
    pub fn start_at(settings: Settings, listen: SocketAddr) -> io::Result<Self> {
        fs::create_dir_all(&settings.folder)?;
        if !settings.folder.join("power").exists() {
            write_power(&settings.folder, settings.on)?;
        }
        let listener = TcpListener::bind(listen)?;
        let address = listener.local_addr()?;
        let (certificate, pem, config) = identity(address)?;
        let tls = settings.tls.then_some(config);
        let state = Arc::new(Mutex::new(State { settings, due: Vec::new(), orders: 0 }));
        let stop = Arc::new(AtomicBool::new(false));
        let connections = Arc::new(AtomicUsize::new(0));
        let (shared, ending, counting) = (Arc::clone(&state), Arc::clone(&stop), Arc::clone(&connections));
        let thread = std::thread::Builder::new().name("ribcl".into()).spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                if ending.load(Ordering::Relaxed) {
                    return;
                }
                counting.fetch_add(1, Ordering::Relaxed);
                let (state, stop, tls) = (Arc::clone(&shared), Arc::clone(&ending), tls.clone());
                // What a client breaks off is its own affair.
                let _ = std::thread::Builder::new()
                    .name("ribcl-connection".into())
                    .spawn(move || serve(socket, tls, &state, &stop));
            }
        })?;
        Ok(Self { state, address, certificate, pem, connections, stop, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its own, self-signed certificate, which bears its address.
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }

    /// SHA-256 of the certificate, in hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        use sha2::Digest as _;
        sha2::Sha256::digest(&self.certificate)
            .iter()
            .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    }

    /// The power now.
    pub fn is_on(&self) -> bool {
        lock(&self.state).is_on()
    }

    /// Somebody presses the button; what was on its way is forgotten.
    pub fn set_power(&self, on: bool) {
        let mut state = lock(&self.state);
        state.due.clear();
        state.write_power(on);
    }

    /// Changes what is wrong with it.
    pub fn set_quirks(&self, quirks: Quirks) {
        let mut state = lock(&self.state);
        state.orders = 0;
        state.settings.quirks = quirks;
    }

    /// What happened, a line each.
    pub fn log(&self) -> Vec<String> {
        let mut state = lock(&self.state);
        // Lets a change happen that is due.
        state.is_on();
        let text = fs::read_to_string(state.settings.folder.join("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The orders that were understood, without the word `order`.
    pub fn orders(&self) -> Vec<String> {
        self.log().iter().filter_map(|line| line.strip_prefix("order ")).map(str::to_owned).collect()
    }

    /// Empties the log.
    pub fn forget(&self) {
        let state = lock(&self.state);
        // Not there yet: nothing to forget.
        let _ = fs::remove_file(state.settings.folder.join("log"));
    }

    /// Connections that came.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Ribcl {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn identity(address: SocketAddr) -> io::Result<(CertificateDer<'static>, String, Arc<ServerConfig>)> {
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let mut params = CertificateParams::new(vec![address.ip().to_string()]).map_err(io::Error::other)?;
    params.distinguished_name.push(DnType::CommonName, "ILO0SIMULATED");
    let certificate = params.self_signed(&key).map_err(io::Error::other)?;
    let pem = certificate.pem();
    let certificate = CertificateDer::from(certificate);
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder.with_no_client_auth().with_single_cert(vec![certificate.clone()], private)
        })
        .map_err(io::Error::other)?;
    Ok((certificate, pem, Arc::new(config)))
}

/// No client needs longer for one connection.
const LONGEST: Duration = Duration::from_secs(60);

fn serve(
    socket: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    state: &Mutex<State>,
    stop: &AtomicBool,
) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(Duration::from_millis(40)))?;
    socket.set_write_timeout(Some(Duration::from_secs(5)))?;
    {
        let mut state = lock(state);
        if state.settings.quirks.refuses > 0 {
            state.settings.quirks.refuses -= 1;
            return Ok(());
        }
    }
    match tls {
        None => {
            let mut stream = socket;
            talk(&mut stream, state, stop)
        }
        Some(config) => {
            let session = ServerConnection::new(config).map_err(io::Error::other)?;
            let mut stream = StreamOwned::new(session, socket);
            let result = talk(&mut stream, state, stop);
            if !lock(state).settings.quirks.no_close_notify {
                stream.conn.send_close_notify();
                stream.flush()?;
            }
            result
        }
    }
}

fn talk<S: Read + Write>(stream: &mut S, state: &Mutex<State>, stop: &AtomicBool) -> io::Result<()> {
    let begun = Instant::now();
    let mut dialogue = Dialogue::default();
    let mut sent = 0;
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::Relaxed) && begun.elapsed() < LONGEST {
        let length = match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(why) if matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => continue,
            Err(why) => return Err(why),
        };
        let (answer, over, quirks) = {
            let mut state = lock(state);
            let quirks = state.settings.quirks.clone();
            if quirks.mute {
                continue;
            }
            let answer = dialogue.hear(buffer.get(..length).unwrap_or_default(), &mut state);
            (answer, dialogue.is_over(), quirks)
        };
        if !answer.is_empty() {
            std::thread::park_timeout(quirks.answers_after);
        }
        let whole = if quirks.piece == 0 { answer.len().max(1) } else { quirks.piece };
        for piece in answer.chunks(whole) {
            let room = quirks.cut_after.map_or(usize::MAX, |limit| limit.saturating_sub(sent));
            let piece = piece.get(..piece.len().min(room)).unwrap_or_default();
            stream.write_all(piece)?;
            stream.flush()?;
            sent += piece.len();
            if quirks.cut_after.is_some_and(|limit| sent >= limit) {
                return Ok(());
            }
        }
        if over && !quirks.stays_open {
            return Ok(());
        }
    }
    Ok(())
}
