//! The web server of each host of a simulated pool: HTTP/1.1 with connections that stay, over TCP or TLS.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd as _;

use rcgen::{CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sha2::{Digest as _, Sha256};

use super::xenapi::{Fate, Life, Shared};
use super::xenapi_methods::{Act, answer};
use super::xenapi_value::{parse_json, parse_xml};

/// How soon a thread notices that it is to end.
const TICK: Duration = Duration::from_millis(25);
/// No request of the XenAPI is near that long. Bytes.
const LARGEST: usize = 1 << 20;

/// Certificate and key of the hosts.
pub(super) struct Tls {
    pub authority: String,
    pub fingerprint: String,
    config: Arc<ServerConfig>,
}

impl Tls {
    /// One certificate for all addresses, from an authority of its own.
    pub fn new(addresses: &[IpAddr]) -> Result<Self, String> {
        let told = |why: rcgen::Error| format!("make a certificate: {why}");
        let mut root = CertificateParams::new(Vec::new()).map_err(told)?;
        root.distinguished_name.push(rcgen::DnType::CommonName, "authority of a simulated pool");
        root.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        root.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::DigitalSignature];
        let root = CertifiedIssuer::self_signed(root, KeyPair::generate().map_err(told)?).map_err(told)?;
        let key = KeyPair::generate().map_err(told)?;
        let names: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        let mut leaf = CertificateParams::new(names).map_err(told)?;
        leaf.distinguished_name = rcgen::DistinguishedName::new();
        leaf.distinguished_name.push(rcgen::DnType::CommonName, "host of a simulated pool");
        leaf.use_authority_key_identifier_extension = true;
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = leaf.signed_by(&key, &root).map_err(told)?;
        let fingerprint = Sha256::digest(leaf.der()).iter().fold(String::new(), |mut text, byte| {
            // Writing into a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
        let told = |why: rustls::Error| format!("make a TLS server: {why}");
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(told)?
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(leaf)], private)
            .map_err(told)?;
        Ok(Self { authority: root.pem(), fingerprint, config: Arc::new(config) })
    }
}

/// Serves host `number` until the pool ends. A host that is down has no listener, so that its address refuses.
pub(super) fn listen(listener: TcpListener, number: usize, shared: &Arc<Shared>) {
    let Ok(address) = listener.local_addr() else { return };
    let mut listener = Some(listener);
    while !shared.stop.load(Ordering::Relaxed) {
        let life = shared.lock().hosts.get(number).map_or(Life::Down, |host| host.life);
        if life == Life::Down {
            listener = None;
            std::thread::park_timeout(TICK);
            continue;
        }
        let Some(open) = listener.as_ref() else {
            // Somebody else may have the port for a moment.
            listener = TcpListener::bind(address).ok();
            continue;
        };
        if open.set_nonblocking(true).is_err() {
            return;
        }
        let mut ready = [PollFd::new(open.as_fd(), PollFlags::POLLIN)];
        // Interrupted or not, the socket is tried.
        let _ = poll(&mut ready, PollTimeout::try_from(TICK).unwrap_or(PollTimeout::ZERO));
        while let Ok((stream, _)) = open.accept() {
            let shared = Arc::clone(shared);
            // A client that ends in the middle is nothing to tell.
            let _ =
                std::thread::Builder::new().name("xapi".into()).spawn(move || serve(stream, number, &shared));
        }
    }
}

trait Stream: Read + Write {
    /// The end: in order, or at once without a word.
    fn end(&mut self, orderly: bool);
}

impl Stream for TcpStream {
    fn end(&mut self, _: bool) {
        // Gone already is gone as well.
        let _ = self.shutdown(Shutdown::Both);
    }
}

impl Stream for StreamOwned<ServerConnection, TcpStream> {
    fn end(&mut self, orderly: bool) {
        if orderly {
            self.conn.send_close_notify();
            let _ = self.flush();
        }
        let _ = self.sock.shutdown(Shutdown::Both);
    }
}

fn serve(stream: TcpStream, number: usize, shared: &Shared) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TICK))?;
    stream.set_write_timeout(Some(Duration::from_secs(2)))?;
    match &shared.tls {
        None => connection(stream, number, shared),
        Some(tls) => {
            let session = ServerConnection::new(Arc::clone(&tls.config)).map_err(io::Error::other)?;
            connection(StreamOwned::new(session, stream), number, shared)
        }
    }
}

/// What a request's head says.
struct Head {
    path: String,
    length: usize,
    post: bool,
    keep: bool,
}

fn connection(mut stream: impl Stream, number: usize, shared: &Shared) -> io::Result<()> {
    let mut rest = Vec::new();
    let alive = || {
        !shared.stop.load(Ordering::Relaxed)
            && shared.lock().hosts.get(number).is_some_and(|host| host.life != Life::Down)
    };
    while let Some((head, body)) = request(&mut stream, &mut rest, &alive)? {
        let silent = || shared.lock().hosts.get(number).is_some_and(|host| host.life == Life::Silent);
        while silent() && alive() {
            std::thread::park_timeout(TICK);
        }
        if !alive() {
            break;
        }
        let json = head.path.split('?').next().is_some_and(|path| path.trim_end_matches('/') == "/jsonrpc");
        let (fate, quirks) = {
            let mut state = shared.lock();
            let fate = state.settings.faults.fate(state.requests);
            state.requests += 1;
            (fate, state.quirks().clone())
        };
        let parsed = if json { parse_json(&body) } else { parse_xml(&body) };
        if let Ok(request) = &parsed {
            shared.lock().heard(request);
        }
        if fate == Some(Fate::CutBefore) {
            break;
        }
        if !head.post || (json && quirks.no_json) || matches!(fate, Some(Fate::Page)) {
            let line =
                if matches!(fate, Some(Fate::Page)) { "500 Internal Server Error" } else { "404 Not Found" };
            stream.write_all(page(line).as_bytes())?;
            stream.end(true);
            return Ok(());
        }
        let Ok(request) = parsed else {
            stream.write_all(page("400 Bad Request").as_bytes())?;
            stream.end(true);
            return Ok(());
        };
        let act = Act { host: number, fate };
        let outcome = answer(shared, &act, &request, &alive);
        let (mut bytes, kind) = request.form.write(&outcome.answer);
        let mut late = quirks.answers_after;
        match fate {
            Some(Fate::CutAfter) => break,
            Some(Fate::Stall) => {
                while alive() && !ended(&mut stream) {}
                break;
            }
            Some(Fate::Garble(hundredths)) => {
                let place = bytes.len() * usize::try_from(hundredths).unwrap_or(0) / 100;
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= 4;
                }
            }
            Some(Fate::Late(milliseconds)) => late += Duration::from_millis(milliseconds),
            _ => {}
        }
        pause(late, &alive);
        let half = fate == Some(Fate::Half);
        let keep = head.keep && !quirks.closes && !quirks.no_length && !half;
        let whole = message(&bytes, kind, keep, quirks.chunked, quirks.no_length);
        let sent = if half { whole.get(..whole.len() / 2) } else { None }.unwrap_or(&whole);
        stream.write_all(sent)?;
        stream.flush()?;
        // Of a late answer nobody knows whether the client has waited for it; using the session tells.
        if let (Some(session), None | Some(Fate::Lies | Fate::Sticks | Fate::HostDies)) =
            (outcome.opened, fate)
        {
            shared.lock().tell(&session);
        }
        if !keep {
            break;
        }
    }
    stream.end(true);
    Ok(())
}

/// Whether the other side has gone; waits a tick.
fn ended(stream: &mut impl Stream) -> bool {
    match stream.read(&mut [0; 64]) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => !is_pause(&error),
    }
}

fn pause(span: Duration, alive: &dyn Fn() -> bool) {
    let end = Instant::now() + span;
    while alive() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::park_timeout(left.min(TICK));
    }
}

fn page(line: &str) -> String {
    let text = format!("<html><body><h1>HTTP {line}</h1></body></html>");
    format!(
        "HTTP/1.1 {line}\r\ncontent-type: text/html\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    )
}

fn message(body: &[u8], kind: &str, keep: bool, chunked: bool, no_length: bool) -> Vec<u8> {
    let keep = if keep { "keep-alive" } else { "close" };
    let mut out = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: {keep}\r\ncache-control: no-cache, no-store\r\n"
    );
    if no_length {
        out.push_str("\r\n");
        return [out.as_bytes(), body].concat();
    }
    if !chunked {
        let length = format!("content-length: {}\r\n\r\n", body.len());
        out.push_str(&length);
        return [out.as_bytes(), body].concat();
    }
    out.push_str("Transfer-Encoding: chunked\r\n\r\n");
    let mut out = out.into_bytes();
    for piece in body.chunks(70) {
        out.extend(format!("{:X};note=\"a\"\r\n", piece.len()).into_bytes());
        out.extend(piece);
        out.extend(b"\r\n");
    }
    out.extend(b"0\r\nX-Trailer: 1\r\n\r\n");
    out
}

/// The next request, or `None` when the client has ended or the pool is to.
fn request(
    stream: &mut impl Stream,
    rest: &mut Vec<u8>,
    alive: &dyn Fn() -> bool,
) -> io::Result<Option<(Head, Vec<u8>)>> {
    let mut buffer = [0; 4096];
    loop {
        let end = rest.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            let head = head(&String::from_utf8_lossy(rest.get(..end).unwrap_or_default()));
            if rest.len() >= end + 4 + head.length {
                let body = rest.get(end + 4..end + 4 + head.length).unwrap_or_default().to_vec();
                rest.drain(..end + 4 + head.length);
                return Ok(Some((head, body)));
            }
        }
        if rest.len() > LARGEST || !alive() {
            return Ok(None);
        }
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(None),
            Ok(length) => rest.extend(buffer.get(..length).unwrap_or_default()),
            Err(error) if is_pause(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

fn head(text: &str) -> Head {
    let mut lines = text.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let post = first.next() == Some("POST");
    let path = first.next().unwrap_or("/").to_owned();
    let mut keep = first.next() == Some("HTTP/1.1");
    let mut length = 0;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap_or(0).min(LARGEST),
            "connection" => {
                let asked = value.eq_ignore_ascii_case("keep-alive");
                keep = !value.eq_ignore_ascii_case("close") && (keep || asked);
            }
            _ => {}
        }
    }
    Head { path, length, post, keep }
}

fn is_pause(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}
