//! TLS 1.2 and 1.3 to a fence device, by rustls with ring: the certificate is verified unless the administrator says otherwise.
//!
//! What a device's certificate is worth, strictest first:
//! - `ssl_fingerprint`: it must be the one with that SHA-256, whoever signed it and whatever name it bears;
//! - `ssl_ca_file`: it must be in that file, or be signed by an authority in it and bear the device's name;
//! - neither: the same with the authorities that the system trusts;
//! - `ssl_insecure=1`: anything goes, and anybody on the way can read the password.
//!
//! Nothing of the application is sent before the certificate has been judged.

use crate::tcp::{self, Error, TcpLink};
use ocf_lib::deadline::Deadline;
use ocf_lib::fence::{OptionDef, Tls, option};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme, StreamOwned,
};
use sha2::{Digest, Sha256};
use std::fmt;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The option for a file of authorities; for `fence_options!`, as `Option<String>`.
pub const CA_FILE: OptionDef = option("ssl_ca_file")
    .long("ssl-ca-file")
    .argument("[file]")
    .help("File (PEM) with the authority of the device's certificate, or with that certificate itself");

/// The option for a pinned certificate; for `fence_options!`, as `Option<String>`.
pub const FINGERPRINT: OptionDef = option("ssl_fingerprint").long("ssl-fingerprint").argument("[sha256]").help(
    "SHA-256 fingerprint of the device's certificate, with or without colons; several are separated by commas",
);

/// Where distributions keep the authorities that the system trusts.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A SHA-256 of a certificate.
pub type Fingerprint = [u8; 32];

/// Which certificates are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those of the authorities that the system trusts.
    System,
    /// Those in this file, and those of authorities in it.
    File(PathBuf),
    /// These alone.
    Pinned(Vec<Fingerprint>),
    /// All.
    Anything,
}

/// How to speak TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    pub trust: Trust,
}

impl TlsSettings {
    /// From the options of a call: [`ocf_lib::fence::Call::tls`], `ssl_ca_file`, `ssl_fingerprint`. A fingerprint also binds a
    /// connection that is otherwise insecure.
    ///
    /// # Errors
    /// [`Error::Settings`] for a fingerprint that is none. The file is read when the connection is made.
    pub fn new(tls: Tls, ca_file: Option<&str>, fingerprint: Option<&str>) -> Result<Self, Error> {
        let given =
            |text: Option<&str>| text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
        let trust = match (given(fingerprint), tls, given(ca_file)) {
            (Some(pins), _, _) => Trust::Pinned(parse_fingerprints(&pins)?),
            (None, Tls::Insecure, _) => Trust::Anything,
            (None, Tls::Verified | Tls::Off, Some(file)) => Trust::File(file.into()),
            (None, Tls::Verified | Tls::Off, None) => Trust::System,
        };
        Ok(Self { trust })
    }
}

/// An encrypted connection. Reading gives [`io::ErrorKind::UnexpectedEof`] where the device closed without saying so in TLS.
#[derive(Debug)]
pub struct TlsStream(StreamOwned<ClientConnection, TcpLink>);

impl TlsStream {
    /// Everything from now on must be done by then.
    pub fn set_deadline(&mut self, deadline: Deadline) {
        self.0.sock.set_deadline(deadline);
    }

    /// `TLSv1_3`, for the debug log.
    pub fn version(&self) -> String {
        self.0.conn.protocol_version().map_or_else(|| "unknown".into(), |version| format!("{version:?}"))
    }
}

impl Read for TlsStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for TlsStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl tcp::Link for TlsStream {
    fn set_deadline(&mut self, deadline: Deadline) {
        self.0.sock.set_deadline(deadline);
    }
}

impl Drop for TlsStream {
    fn drop(&mut self) {
        self.0.conn.send_close_notify();
        // The device may have closed already; a courtesy has no time of its own.
        let _ = self.0.conn.write_tls(&mut self.0.sock);
    }
}

/// Connects, and proves to whom.
pub fn connect(
    host: &str,
    port: u16,
    settings: &TlsSettings,
    deadline: Deadline,
) -> Result<TlsStream, Error> {
    over(TcpLink::connect(host, port, deadline)?, host, settings)
}

/// The same on a connection that is there already (through a proxy), whose deadline stays.
pub fn over(link: TcpLink, host: &str, settings: &TlsSettings) -> Result<TlsStream, Error> {
    let name = server_name(host, &link, &settings.trust)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let judge = Arc::new(Judge::new(&settings.trust, &provider)?);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Settings(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(judge)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    let connection =
        ClientConnection::new(Arc::new(config), name).map_err(|error| Error::Settings(error.to_string()))?;
    let mut stream = StreamOwned::new(connection, link);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).map_err(|error| failed(host, &error))?;
    }
    Ok(TlsStream(stream))
}

fn server_name(host: &str, link: &TcpLink, trust: &Trust) -> Result<ServerName<'static>, Error> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(name) = ServerName::try_from(bare.to_owned()) {
        return Ok(name);
    }
    match (trust, link.peer()) {
        // A name that no certificate can bear does not matter where names do not.
        (Trust::Pinned(_) | Trust::Anything, Some(peer)) => Ok(ServerName::from(peer.ip())),
        _ => Err(Error::Settings(format!(
            "'{host}' is not a name that a certificate can bear; use its address or ssl_fingerprint"
        ))),
    }
}

/// What went wrong while connecting.
fn failed(host: &str, error: &io::Error) -> Error {
    let doing = format!("tls with {host}");
    let Some(why) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        let error = tcp::told(&doing, error);
        return if let Error::Lost(text) = error {
            // Old devices end the connection when they see a version that they do not know.
            Error::NoCommonTls(format!("{text}: the device ended the tls handshake"))
        } else {
            error
        };
    };
    #[allow(clippy::wildcard_enum_match_arm, reason = "rustls::Error is open")]
    match why {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => {
            match inner.downcast_ref::<Untrusted>() {
                Some(Untrusted { reason, fingerprint }) => {
                    Error::Untrusted { reason: reason.clone(), fingerprint: fingerprint.clone() }
                }
                None => Error::NoCommonTls(format!("{doing}: {inner}")),
            }
        }
        rustls::Error::InvalidCertificate(other) => {
            Error::NoCommonTls(format!("{doing}: its certificate cannot be used: {}", reason(other)))
        }
        rustls::Error::DecryptError | rustls::Error::PeerMisbehaved(_) => {
            Error::Lost(format!("{doing}: {}", why.to_string().to_lowercase()))
        }
        other => Error::NoCommonTls(format!("{doing}: {}", other.to_string().to_lowercase())),
    }
}

/// Decides about a certificate.
#[derive(Debug)]
struct Judge {
    trust: Trust,
    provider: Arc<CryptoProvider>,
    /// `None` where nobody's signature counts.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    /// The certificates of `ssl_ca_file`, each of which may be the device's own.
    own: Vec<CertificateDer<'static>>,
}

/// Travels through rustls to [`failed`].
#[derive(Debug)]
struct Untrusted {
    reason: String,
    fingerprint: String,
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Untrusted {}

impl Judge {
    fn new(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<Self, Error> {
        let (own, from) = match trust {
            Trust::Pinned(_) | Trust::Anything => (Vec::new(), None),
            Trust::File(path) => (certificates("ssl_ca_file ", path)?, Some(path.as_path())),
            Trust::System => {
                let found = SYSTEM_BUNDLES.iter().map(Path::new).find(|path| path.exists());
                let path = found.ok_or_else(|| {
                    Error::Settings(
                        "this host has no bundle of trusted authorities: install ca-certificates, or set \
                         ssl_ca_file or ssl_fingerprint"
                            .into(),
                    )
                })?;
                (certificates("", path)?, Some(path))
            }
        };
        let mut judge = Self { trust: trust.clone(), provider: Arc::clone(provider), authorities: None, own };
        if from.is_some() {
            let mut roots = RootCertStore::empty();
            // What is no authority in a form that counts may still be the device's own certificate.
            roots.add_parsable_certificates(judge.own.iter().cloned());
            judge.authorities =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                    .build()
                    .ok();
        }
        if matches!(trust, Trust::System) {
            judge.own = Vec::new();
        }
        Ok(judge)
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let fingerprint: Fingerprint = Sha256::digest(shown.as_ref()).into();
        let untrusted = |reason: String| {
            let fingerprint = in_hex(&fingerprint);
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Untrusted {
                reason,
                fingerprint,
            }))))
        };
        match &self.trust {
            Trust::Anything => Ok(ServerCertVerified::assertion()),
            Trust::Pinned(pins) if pins.contains(&fingerprint) => Ok(ServerCertVerified::assertion()),
            Trust::Pinned(_) => Err(untrusted("it is not the one of ssl_fingerprint".into())),
            // The administrator put this very certificate there: no name or date can add to that.
            Trust::File(_) if self.own.iter().any(|own| own.as_ref() == shown.as_ref()) => {
                Ok(ServerCertVerified::assertion())
            }
            Trust::System | Trust::File(_) => {
                let Some(authorities) = &self.authorities else {
                    return Err(untrusted("it is not in ssl_ca_file, which holds no authority".into()));
                };
                authorities.verify_server_cert(shown, between, name, ocsp, now).map_err(|error| {
                    #[allow(clippy::wildcard_enum_match_arm, reason = "rustls::Error is open")]
                    untrusted(match &error {
                        rustls::Error::InvalidCertificate(why) => reason(why),
                        other => other.to_string(),
                    })
                })
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if self.trust == Trust::Anything {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if self.trust == Trust::Anything {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// All certificates of a PEM file.
pub(crate) fn certificates(option: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let shown = path.display();
    let bytes = std::fs::read(path)
        .map_err(|error| Error::Settings(format!("{option}{shown}: {}", tcp::plain(&error))))?;
    let all: Vec<_> = CertificateDer::pem_slice_iter(&bytes).filter_map(Result::ok).collect();
    if all.is_empty() {
        return Err(Error::Settings(format!("{option}{shown} holds no certificate in pem form")));
    }
    Ok(all)
}

/// Why a certificate is not good, in few words.
fn reason(why: &CertificateError) -> String {
    use CertificateError as C;
    #[allow(clippy::wildcard_enum_match_arm, reason = "CertificateError is open")]
    match why {
        C::UnknownIssuer => "no trusted authority has signed it".into(),
        C::Expired | C::ExpiredContext { .. } => "it has expired, or this host's clock is wrong".into(),
        C::NotValidYet | C::NotValidYetContext { .. } => {
            "it is not valid yet, or this host's clock is wrong".into()
        }
        C::NotValidForName | C::NotValidForNameContext { .. } => {
            "it is for another name than the one in ip".into()
        }
        C::BadSignature => "its signature is wrong".into(),
        other => other.to_string().to_lowercase(),
    }
}

/// One or several SHA-256 in hexadecimal digits, with or without colons and `sha256:` in front.
fn parse_fingerprints(text: &str) -> Result<Vec<Fingerprint>, Error> {
    let one = |word: &str| -> Option<Fingerprint> {
        let low = word.to_ascii_lowercase();
        let digits: Vec<u8> = ["sha256:", "sha-256:", "sha256 fingerprint="]
            .iter()
            .find_map(|prefix| low.strip_prefix(prefix))
            .unwrap_or(&low)
            .bytes()
            .filter(|byte| *byte != b':')
            .map(|byte| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()?;
        let bytes: Vec<u8> = digits
            .chunks(2)
            .map(|pair| match pair {
                [high, low] => Some(high << 4 | low),
                _ => None,
            })
            .collect::<Option<_>>()?;
        bytes.try_into().ok()
    };
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(|word| {
        one(word).ok_or_else(|| {
            Error::Settings(format!(
                "ssl_fingerprint '{word}' is not a sha-256: 64 hexadecimal digits, as `openssl x509 -noout -sha256 \
                 -fingerprint` shows them"
            ))
        })
    })
    .collect()
}

/// 64 digits in capitals, as openssl shows a fingerprint but for the colons.
pub(crate) fn in_hex(bytes: &Fingerprint) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02X}");
        text
    })
}

/// The SHA-256 of a certificate that another program has received, in PEM or DER, against the pins.
pub fn is_pinned(pins: &[Fingerprint], der: &[u8]) -> bool {
    pins.contains(&Sha256::digest(der).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_in_every_usual_spelling() {
        let plain = "00".repeat(31) + "ff";
        let colons: Vec<String> =
            (0..32).map(|at| if at == 31 { "FF".into() } else { "00".into() }).collect();
        let colons = colons.join(":");
        let mut want = [0u8; 32];
        want[31] = 255;
        for text in [&plain, &colons, &format!("SHA256:{plain}"), &format!("sha256 Fingerprint={colons}")] {
            assert_eq!(parse_fingerprints(text).unwrap(), [want], "{text}");
        }
        assert_eq!(parse_fingerprints(&format!("{plain}, {colons}")).unwrap().len(), 2);
        for text in ["00", "sha1:00", &plain[1..], &plain.replace('f', "g")] {
            let error = parse_fingerprints(text).unwrap_err();
            assert!(matches!(&error, Error::Settings(text) if text.contains("64 hexadecimal")), "{error}");
        }
        assert_eq!(parse_fingerprints(&in_hex(&want)).unwrap(), [want]);
    }

    #[test]
    fn the_strictest_option_wins() {
        let pin = "ab".repeat(32);
        let trust = |tls, ca: Option<&str>, pin: Option<&str>| TlsSettings::new(tls, ca, pin).unwrap().trust;
        assert_eq!(trust(Tls::Verified, None, None), Trust::System);
        assert_eq!(trust(Tls::Verified, Some("/ca.pem"), None), Trust::File("/ca.pem".into()));
        assert_eq!(trust(Tls::Insecure, Some("/ca.pem"), None), Trust::Anything);
        assert_eq!(trust(Tls::Insecure, None, Some(&pin)), Trust::Pinned(vec![[0xab; 32]]));
        assert_eq!(trust(Tls::Verified, Some("/ca.pem"), Some(&pin)), Trust::Pinned(vec![[0xab; 32]]));
        // An option that is there and empty is not set.
        assert_eq!(trust(Tls::Verified, Some(""), Some(" ")), Trust::System);
    }
}
