//! The TLS client against a server with every kind of certificate.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use ocf_lib::deadline::Deadline;
use ocf_lib::fence::{ErrorKind, FenceError, Tls};
use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use ringfence_fence::tcp::{Error, told};
use ringfence_fence::tls::{TlsSettings, connect};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// What stands in a device's certificate.
#[derive(Clone, Copy, Default)]
struct Shape {
    /// The name or address in it; 127.0.0.1 unless said.
    name: Option<&'static str>,
    expired: bool,
    self_signed: bool,
}

static AUTHORITIES: AtomicU32 = AtomicU32::new(0);

struct Device {
    port: u16,
    authority: String,
    certificate: CertificateDer<'static>,
    /// What the device has read, connection by connection.
    heard: Receiver<String>,
}

impl Device {
    fn start(shape: Shape) -> Self {
        Self::speaking(shape, rustls::ALL_VERSIONS, true)
    }

    fn speaking(shape: Shape, versions: &[&'static SupportedProtocolVersion], polite: bool) -> Self {
        let mut root = CertificateParams::new(Vec::new()).unwrap();
        // With one name for all, a wrong one would be told by its signature instead.
        let number = AUTHORITIES.fetch_add(1, Ordering::Relaxed);
        root.distinguished_name.push(DnType::CommonName, format!("authority {number}"));
        root.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
        let mut leaf = CertificateParams::new(vec![shape.name.unwrap_or("127.0.0.1").into()]).unwrap();
        leaf.distinguished_name.push(DnType::CommonName, "a device");
        if shape.expired {
            (leaf.not_before, leaf.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
        }
        let key = KeyPair::generate().unwrap();
        let (leaf, authority) = if shape.self_signed {
            let leaf = leaf.self_signed(&key).unwrap();
            let pem = leaf.pem();
            (leaf, pem)
        } else {
            (leaf.signed_by(&key, &root).unwrap(), root.pem())
        };
        let certificate = CertificateDer::from(leaf);
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], private)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, heard) = channel();
        std::thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                let mut stream =
                    StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), socket);
                let mut buffer = [0; 64];
                let length = stream.read(&mut buffer).unwrap_or(0);
                if tell.send(String::from_utf8_lossy(&buffer[..length]).into_owned()).is_err() {
                    return;
                }
                let _ = stream.write_all(b"pong");
                if polite {
                    stream.conn.send_close_notify();
                }
                let _ = stream.flush();
            }
        });
        Self { port, authority, certificate, heard }
    }

    fn fingerprint(&self) -> String {
        Sha256::digest(&self.certificate)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<Vec<_>>()
            .join(":")
    }

    fn ask(&self, tls: Tls, ca: Option<&str>, pin: Option<&str>) -> Result<String, Error> {
        self.ask_as("127.0.0.1", tls, ca, pin)
    }

    fn ask_as(&self, host: &str, tls: Tls, ca: Option<&str>, pin: Option<&str>) -> Result<String, Error> {
        let settings = TlsSettings::new(tls, ca, pin)?;
        let mut stream = connect(host, self.port, &settings, Deadline::after(Duration::from_secs(5)))?;
        stream.write_all(b"the password").map_err(|error| told("writing", &error))?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(|error| told("reading", &error))?;
        Ok(answer)
    }

    /// The refusal, after which the device must not have seen a byte of ours.
    fn refusal(&self, ca: Option<&str>, pin: Option<&str>) -> String {
        let error = self.ask(Tls::Verified, ca, pin).unwrap_err();
        assert!(matches!(error, Error::Untrusted { .. }), "{error:?}");
        assert_eq!(self.heard.recv_timeout(Duration::from_secs(5)).unwrap(), "", "{error}");
        error.to_string()
    }
}

/// A file that is there as long as the value.
fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn path(file: &tempfile::NamedTempFile) -> Option<&str> {
    file.path().to_str()
}

#[test]
fn a_wrong_certificate_is_refused_by_default() {
    for shape in [Shape::default(), Shape { self_signed: true, ..Shape::default() }] {
        let device = Device::start(shape);
        let text = device.refusal(None, None);
        assert!(text.contains("no trusted authority"), "{text}");
    }
}

#[test]
fn the_refusal_names_the_fingerprint_and_is_final() {
    let device = Device::start(Shape::default());
    let error: FenceError = device.ask(Tls::Verified, None, None).unwrap_err().into();
    let shown = device.fingerprint().replace(':', "").to_uppercase();
    assert!(error.to_string().contains(&shown), "{error}");
    assert!(error.is_final() && error.kind() == ErrorKind::LoginDenied);
    assert_eq!(device.ask(Tls::Verified, None, Some(&shown)).unwrap(), "pong");
}

#[test]
fn the_right_authority_is_accepted_and_another_is_not() {
    let (device, other) = (Device::start(Shape::default()), Device::start(Shape::default()));
    let (right, wrong) = (file(&device.authority), file(&other.authority));
    assert_eq!(device.ask(Tls::Verified, path(&right), None).unwrap(), "pong");
    assert_eq!(device.heard.recv().unwrap(), "the password");
    assert!(device.refusal(path(&wrong), None).contains("no trusted authority"));
    let both = file(&format!("{}\n{}", other.authority, device.authority));
    assert_eq!(device.ask(Tls::Verified, path(&both), None).unwrap(), "pong");
}

#[test]
fn the_right_authority_does_not_excuse_a_wrong_name_or_date() {
    for (shape, words) in [
        (Shape { name: Some("127.0.0.2"), ..Shape::default() }, "another name"),
        (Shape { expired: true, ..Shape::default() }, "expired"),
    ] {
        let device = Device::start(shape);
        let ca = file(&device.authority);
        let text = device.refusal(path(&ca), None);
        assert!(text.contains(words), "{text}");
        // The pin of this very certificate does: it says which one is meant.
        assert_eq!(device.ask(Tls::Verified, None, Some(&device.fingerprint())).unwrap(), "pong");
    }
}

#[test]
fn a_self_signed_certificate_is_accepted_when_it_is_in_the_file() {
    for shape in [
        Shape { self_signed: true, ..Shape::default() },
        // What a device of 2005 shows: its own name, long expired.
        Shape { self_signed: true, expired: true, name: Some("ILO0123456789") },
    ] {
        let (device, other) = (Device::start(shape), Device::start(shape));
        let own = file(&device.authority);
        assert_eq!(device.ask(Tls::Verified, path(&own), None).unwrap(), "pong");
        let _ = other.refusal(path(&own), None);
    }
}

#[test]
fn a_pinned_fingerprint_is_enough_and_binds() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let device = Device::speaking(Shape { self_signed: true, ..Shape::default() }, &[version], true);
        assert_eq!(device.ask(Tls::Verified, None, Some(&device.fingerprint())).unwrap(), "pong");
        assert_eq!(device.heard.recv().unwrap(), "the password");
        let ca = file(&device.authority);
        let wrong = "00".repeat(32);
        assert!(device.refusal(path(&ca), Some(&wrong)).contains("ssl_fingerprint"));
        let error = device.ask(Tls::Insecure, None, Some(&wrong)).unwrap_err();
        assert!(matches!(error, Error::Untrusted { .. }), "a pin binds an insecure connection too: {error}");
    }
}

#[test]
fn insecure_takes_anything() {
    for shape in [
        Shape { self_signed: true, ..Shape::default() },
        Shape { expired: true, name: Some("elsewhere"), ..Shape::default() },
    ] {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let device = Device::speaking(shape, &[version], true);
            assert_eq!(device.ask(Tls::Insecure, None, None).unwrap(), "pong");
        }
    }
}

#[test]
fn a_name_is_verified_as_a_name() {
    let device = Device::start(Shape { name: Some("localhost"), ..Shape::default() });
    let ca = file(&device.authority);
    assert_eq!(device.ask_as("localhost", Tls::Verified, path(&ca), None).unwrap(), "pong");
    assert!(device.ask(Tls::Verified, path(&ca), None).is_err());
}

#[test]
fn a_file_without_certificates_is_told_before_anything_is_sent() {
    let device = Device::start(Shape::default());
    for (ca, words) in [(path(&file("hello")).unwrap(), "ssl_ca_file"), ("/no/such/file", "no such file")] {
        let error = device.ask(Tls::Verified, Some(ca), None).unwrap_err();
        assert!(matches!(&error, Error::Settings(text) if text.contains(words)), "{error}");
    }
}

#[test]
fn a_device_that_does_not_speak_tls_or_says_nothing_is_told_apart() {
    let settings = TlsSettings::new(Tls::Insecure, None, None).unwrap();
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = plain.local_addr().unwrap().port();
    let talker = std::thread::spawn(move || {
        let (mut socket, _) = plain.accept().unwrap();
        let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let _ = socket.read(&mut [0; 1024]);
    });
    let error = connect("127.0.0.1", port, &settings, Deadline::after(Duration::from_secs(5))).unwrap_err();
    assert!(matches!(error, Error::NoCommonTls(_)), "{error:?}");
    talker.join().unwrap();

    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let begun = Instant::now();
    let port = mute.local_addr().unwrap().port();
    let error =
        connect("127.0.0.1", port, &settings, Deadline::after(Duration::from_millis(200))).unwrap_err();
    assert!(matches!(error, Error::TimedOut(_)), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[test]
fn an_answer_that_is_cut_off_is_not_taken_for_its_end() {
    let device = Device::speaking(Shape::default(), rustls::ALL_VERSIONS, false);
    let error = device.ask(Tls::Insecure, None, None).unwrap_err();
    assert!(matches!(error, Error::Lost(_)), "{error:?}");
}
