//! The TLS end of a device that has none: it lets a plain device be spoken to over TLS, well or badly.
//!
//! Faults at single bytes of the encrypted stream come from a [`super::tcp::FaultyPath`] in front of it.

use super::tcp::wait_for;
use rcgen::{CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// What this end does wrong, on every connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// The stream ends without `close_notify`: a truncation that only the application can see (RFC 8446, 6.1).
    NoCloseNotify,
    /// Somebody else answers, with a certificate that the agent has no reason to trust.
    OtherCertificate,
    /// It takes the connection and says nothing.
    HandshakeStalled,
}

impl Fault {
    pub const ALL: [Self; 4] =
        [Self::None, Self::NoCloseNotify, Self::OtherCertificate, Self::HandshakeStalled];
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "TLS as it should be",
            Self::NoCloseNotify => "TLS ends without close_notify",
            Self::OtherCertificate => "somebody else answers with a certificate of his own",
            Self::HandshakeStalled => "the TLS handshake is never answered",
        })
    }
}

/// Keys and certificates of one device, and of somebody who is not it.
pub struct Identity {
    /// The authority that an agent is to trust, as PEM.
    pub authority: String,
    own: Arc<ServerConfig>,
    other: Arc<ServerConfig>,
}

impl Identity {
    /// For a device at this address.
    ///
    /// # Errors
    /// What the certificate library says.
    pub fn new(address: IpAddr) -> Result<Self, String> {
        let (authority, own) = chain(address)?;
        let (_, other) = chain(address)?;
        Ok(Self { authority, own, other })
    }
}

/// An authority's PEM, and the configuration of a server with a certificate of it.
fn chain(address: IpAddr) -> Result<(String, Arc<ServerConfig>), String> {
    let told = |why: rcgen::Error| format!("make a certificate: {why}");
    let mut root = CertificateParams::new(Vec::new()).map_err(told)?;
    // With equal names OpenSSL takes the device's certificate for its own issuer.
    root.distinguished_name.push(rcgen::DnType::CommonName, "authority of the judge");
    root.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    root.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::DigitalSignature];
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate().map_err(told)?).map_err(told)?;
    let key = KeyPair::generate().map_err(told)?;
    let mut leaf = CertificateParams::new(vec![address.to_string()]).map_err(told)?;
    leaf.distinguished_name = rcgen::DistinguishedName::new();
    leaf.distinguished_name.push(rcgen::DnType::CommonName, "device of the judge");
    leaf.use_authority_key_identifier_extension = true;
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let leaf = leaf.signed_by(&key, &root).map_err(told)?;
    let told = |why: rustls::Error| format!("make a TLS server: {why}");
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(told)?
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(leaf)], private)
        .map_err(told)?;
    Ok((root.pem(), Arc::new(config)))
}

/// A running end; dropping it ends its thread.
pub struct Terminator {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Terminator {
    /// Listens at the device's IP address; what is said goes to `device`, or to `impostor` where somebody else answers.
    ///
    /// # Errors
    /// When a socket cannot be opened.
    pub fn start(
        device: SocketAddr,
        impostor: SocketAddr,
        identity: &Identity,
        fault: Fault,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((device.ip(), 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&stop);
        let (behind, config) = if fault == Fault::OtherCertificate {
            (impostor, Arc::clone(&identity.other))
        } else {
            (device, Arc::clone(&identity.own))
        };
        let thread = std::thread::Builder::new().name("tls".into()).spawn(move || {
            let mut held = Vec::new();
            while !ending.load(Ordering::Relaxed) {
                wait_for(&listener);
                while let Ok((agent, _)) = listener.accept() {
                    if fault == Fault::HandshakeStalled {
                        held.push(agent);
                        continue;
                    }
                    let (config, ending) = (Arc::clone(&config), Arc::clone(&ending));
                    // A handshake that fails, or an end of the other side, is what this is for.
                    let _ = std::thread::Builder::new()
                        .name("tls-connection".into())
                        .spawn(move || serve(agent, behind, config, fault, &ending));
                }
            }
        })?;
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Where TLS is spoken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Terminator {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    agent: TcpStream,
    device: SocketAddr,
    config: Arc<ServerConfig>,
    fault: Fault,
    stop: &AtomicBool,
) -> io::Result<()> {
    let mut plain = TcpStream::connect_timeout(&device, Duration::from_secs(2))?;
    for stream in [&agent, &plain] {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_millis(5)))?;
    }
    let session = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut secure = StreamOwned::new(session, agent);
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        match secure.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => plain.write_all(buffer.get(..length).unwrap_or_default())?,
            Err(why) if is_pause(&why) => {}
            Err(why) => return Err(why),
        }
        match plain.read(&mut buffer) {
            Ok(0) => {
                if fault != Fault::NoCloseNotify {
                    secure.conn.send_close_notify();
                    let _ = secure.flush();
                }
                let _ = secure.sock.shutdown(Shutdown::Write);
                return Ok(());
            }
            Ok(length) => secure.write_all(buffer.get(..length).unwrap_or_default())?,
            Err(why) if is_pause(&why) => {}
            Err(why) => return Err(why),
        }
    }
    Ok(())
}

fn is_pause(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::ServerName;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    /// What a client that trusts the device's authority alone reads from a device that says `hello` and ends.
    fn heard(fault: Fault) -> io::Result<String> {
        let devices = ["hello", "I am not it"].map(|text| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            std::thread::spawn(move || {
                if let Ok((mut stream, _)) = listener.accept() {
                    let _ = stream.write_all(text.as_bytes());
                }
            });
            address
        });
        let identity = Identity::new(devices[0].ip()).unwrap();
        let end = Terminator::start(devices[0], devices[1], &identity, fault).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(identity.authority.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(end.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let name = ServerName::from(devices[0].ip());
        let client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut text = String::new();
        StreamOwned::new(client, stream).read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn every_kind_of_fault_is_what_it_is_called() {
        assert_eq!(heard(Fault::None).unwrap(), "hello");
        assert_eq!(heard(Fault::NoCloseNotify).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(heard(Fault::OtherCertificate).unwrap_err().to_string().contains("certificate"));
        assert!(is_pause(&heard(Fault::HandshakeStalled).unwrap_err()));
    }
}
