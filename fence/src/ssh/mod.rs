//! A client of a node's sshd: log in, run a command, notice that the node is gone. RFC 4251 to 4254, by `russh`.
//!
//! No agent and no terminal: keys and passwords come from the caller. A host whose key the caller's files do not know gets
//! nothing. The crate's tasks run on this thread and only while something here waits, so that a run has one thread.
//!
//! RSA is not spoken (the `rsa` crate has an open timing weakness, RUSTSEC-2023-0071): Ed25519 and ECDSA, for hosts and users.

mod error;
mod identity;
pub mod known_hosts;
mod order;

pub use error::Error;
pub use identity::{Identity, own_folder, usual_identities};
pub use known_hosts::KnownHosts;
pub use order::{News, Order, Output};

use crate::tcp::{self, TcpLink};
use known_hosts::Verdict;
use ocf_lib::deadline::Deadline;
use russh::client::{self, AuthResult, Config, Handle, Handler, KeyboardInteractiveAuthResponse};
use russh::keys::{Algorithm, EcdsaCurve, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{MethodKind, Preferred};
use std::borrow::Cow;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use zeroize::Zeroizing;

/// The longest single wait, after which a signal is looked for.
const NAP: Duration = Duration::from_millis(200);

/// Whom to log in as, and with what.
pub struct Account {
    pub user: String,
    /// Tried in this order, before the password.
    pub identities: Vec<Identity>,
    /// Also the answer to a keyboard-interactive question (PAM asks so).
    pub password: Option<Zeroizing<String>>,
}

/// A login at one node. Dropping it closes the connection.
pub struct Session {
    runtime: tokio::runtime::Runtime,
    handle: Handle<Client>,
    peer: SocketAddr,
    host: String,
}

/// What the crate asks us while it connects.
struct Client {
    host: String,
    port: u16,
    known: Arc<KnownHosts>,
    /// Why the host's key was refused: the crate's own error says only that it was.
    refused: Arc<Mutex<Option<String>>>,
}

impl Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let reason = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                let kind = key.algorithm().to_string();
                let print = key.fingerprint(russh::keys::HashAlg::Sha256).to_string();
                let host = &self.host;
                match self.known.verdict(host, self.port, &kind, &key.to_bytes()?) {
                    Verdict::Known => return Ok(true),
                    Verdict::Unknown => format!(
                        "the host key of {host} is not known ({kind} {print}): compare it on the node's console and add it to \
                         the known hosts"
                    ),
                    Verdict::Changed(place) => format!(
                        "the host key of {host} is not the known one ({kind} {print}, other key at {place}): either the node \
                         was installed anew or somebody else answers"
                    ),
                    Verdict::Revoked(place) => format!("the host key of {host} is revoked ({place})"),
                }
            }
            PublicKeyOrCertificate::Certificate(_) => {
                "the host shows a certificate instead of a key".to_owned()
            }
        };
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
        Ok(false)
    }
}

/// Drives `future` until it is ready, the deadline has come or a signal asks the agent to end. `doing` completes "no answer in
/// time while".
fn drive<T>(
    runtime: &tokio::runtime::Runtime,
    deadline: Deadline,
    doing: &str,
    future: impl Future<Output = T>,
) -> Result<T, Error> {
    runtime.block_on(async {
        let mut future = pin!(future);
        loop {
            if ocf_lib::fence::interrupted() {
                return Err(Error::Interrupted);
            }
            let left = deadline.left_or(NAP);
            if let Ok(value) = tokio::time::timeout(left, future.as_mut()).await {
                return Ok(value);
            }
            if deadline.expired() {
                return Err(Error::TimedOut(format!("no answer in time while {doing}")));
            }
        }
    })
}

impl Session {
    /// Connects to `host`, checks its key and logs in, all before the deadline.
    pub fn open(
        host: &str,
        port: u16,
        account: &Account,
        known: &Arc<KnownHosts>,
        deadline: Deadline,
    ) -> Result<Self, Error> {
        let keys = host_keys(known, host, port)?;
        let link = TcpLink::connect(host, port, deadline).map_err(Error::Tcp)?;
        let lost = |what: &str| Error::Lost(format!("{host}: {what}"));
        let peer = link.peer().ok_or_else(|| lost("the connection ended at once"))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|e| Error::Settings(format!("no event loop: {}", tcp::plain(&e))))?;
        let refused = Arc::new(Mutex::new(None));
        let client =
            Client { host: host.to_owned(), port, known: Arc::clone(known), refused: Arc::clone(&refused) };
        let config = Arc::new(Config {
            preferred: Preferred { key: Cow::Owned(keys), ..Preferred::DEFAULT },
            nodelay: true,
            ..Config::default()
        });
        let stream = link.into_stream();
        let handle = drive(&runtime, deadline, &format!("connecting to {host}"), async {
            stream.set_nonblocking(true)?;
            let stream = tokio::net::TcpStream::from_std(stream)?;
            client::connect_stream(config, stream, client).await
        })?;
        let handle =
            handle.map_err(|error| match refused.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(reason) => Error::HostKey(reason),
                None => told(host, &error),
            })?;
        let mut session = Self { runtime, handle, peer, host: host.to_owned() };
        session.log_in(account, deadline)?;
        Ok(session)
    }

    /// The address that answered.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn log_in(&mut self, account: &Account, deadline: Deadline) -> Result<(), Error> {
        let Self { runtime, handle, host, .. } = self;
        let doing = format!("logging in to {host}");
        let mut tried = Vec::new();
        for identity in &account.identities {
            let key = PrivateKeyWithHashAlg::new(Arc::clone(identity.key()), None);
            let answer = drive(runtime, deadline, &doing, handle.authenticate_publickey(&account.user, key))?;
            if is_in(host, &answer.map_err(|e| told(host, &e))?, handle)? {
                return Ok(());
            }
            tried.push(identity.name().to_owned());
        }
        if let Some(password) = &account.password {
            let text = || password.as_str().to_owned();
            let answer =
                drive(runtime, deadline, &doing, handle.authenticate_password(&account.user, text()))?;
            let answer = answer.map_err(|e| told(host, &e))?;
            if is_in(host, &answer, handle)? {
                return Ok(());
            }
            if let AuthResult::Failure { remaining_methods, .. } = &answer
                && remaining_methods.contains(&MethodKind::KeyboardInteractive)
                && drive(runtime, deadline, &doing, interactive(handle, &account.user, text))?
                    .map_err(|e| told(host, &e))?
            {
                return Ok(());
            }
            tried.push("the password".to_owned());
        }
        let tried = if tried.is_empty() { "nothing".to_owned() } else { tried.join(", ") };
        Err(Error::Denied(format!("{host} refused user '{}' (tried: {tried})", account.user)))
    }

    /// Runs `command` to its end.
    pub fn run(&mut self, command: &str, deadline: Deadline) -> Result<Output, Error> {
        let order = Order::send(&self.runtime, &mut self.handle, &self.host, command, deadline)?;
        order.finish(&self.runtime, deadline)
    }

    /// Starts `command` and returns when the node has begun to carry it out. It prints a line of our own before it waits a
    /// second and does its work: without that line nothing was accepted.
    pub fn order(&mut self, command: &str, deadline: Deadline) -> Result<Order, Error> {
        Order::begin(&self.runtime, &mut self.handle, &self.host, command, deadline)
    }

    /// What has become of a started command; waits at most `span`.
    pub fn news(&self, order: &mut Order, span: Duration) -> Result<News, Error> {
        order.news(&self.runtime, Deadline::after(span))
    }

    /// Whether the node answers a question within `span`. It needs no process on the node, only its kernel and this login's
    /// sshd; an orderly shutdown of the service leaves that alone.
    pub fn answers(&self, span: Duration) -> Result<bool, Error> {
        if self.handle.is_closed() {
            return Ok(false);
        }
        match drive(&self.runtime, Deadline::after(span), "asking for life", self.handle.send_ping()) {
            // The crate also ends the wait with success when the connection ends.
            Ok(Ok(())) => Ok(!self.handle.is_closed() && self.still_open()?),
            Ok(Err(_)) | Err(Error::TimedOut(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lets the crate's task notice an end of the connection that has come already.
    fn still_open(&self) -> Result<bool, Error> {
        let nap = async { tokio::time::sleep(Duration::from_millis(20)).await };
        drive(&self.runtime, Deadline::after(NAP), "looking", nap)?;
        Ok(!self.handle.is_closed())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A polite end if the node still listens; the socket is closed in any case.
        let handle = &mut self.handle;
        let bye = async {
            let _ = handle.disconnect(russh::Disconnect::ByApplication, "", "").await;
            // Until the crate's task has sent it.
            let _ = handle.await;
        };
        let _ = self.runtime.block_on(async { tokio::time::timeout(NAP, bye).await });
    }
}

/// Whether the login succeeded; an error when the connection ended instead of an answer.
fn is_in(host: &str, answer: &AuthResult, handle: &Handle<Client>) -> Result<bool, Error> {
    match answer {
        AuthResult::Success => Ok(true),
        AuthResult::Failure { remaining_methods, .. }
            if remaining_methods.is_empty() && handle.is_closed() =>
        {
            Err(Error::Lost(format!("{host} closed the connection during the login")))
        }
        AuthResult::Failure { .. } => Ok(false),
    }
}

async fn interactive(
    handle: &mut Handle<Client>,
    user: &str,
    answer: impl Fn() -> String,
) -> Result<bool, russh::Error> {
    let mut reply = handle.authenticate_keyboard_interactive_start(user, None).await?;
    // A server may ask several times; one that asks for ever is no partner.
    for _ in 0..4 {
        match reply {
            KeyboardInteractiveAuthResponse::Success => return Ok(true),
            KeyboardInteractiveAuthResponse::Failure { .. } => return Ok(false),
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                let answers = prompts.iter().map(|_| answer()).collect();
                reply = handle.authenticate_keyboard_interactive_respond(answers).await?;
            }
        }
    }
    Ok(false)
}

/// The kinds of host keys to ask for: those that are known of the host, so that it shows one of them.
fn host_keys(known: &KnownHosts, host: &str, port: u16) -> Result<Vec<Algorithm>, Error> {
    let ecdsa = |curve| Algorithm::Ecdsa { curve };
    let ours = [
        Algorithm::Ed25519,
        ecdsa(EcdsaCurve::NistP256),
        ecdsa(EcdsaCurve::NistP384),
        ecdsa(EcdsaCurve::NistP521),
    ];
    let kinds = known.kinds(host, port);
    let wanted: Vec<Algorithm> = ours.iter().filter(|ours| kinds.contains(&ours.as_str())).cloned().collect();
    match (wanted.is_empty(), kinds.is_empty()) {
        (false, _) => Ok(wanted),
        // It will be refused, with the fingerprint of what it shows.
        (true, true) => Ok(ours.to_vec()),
        (true, false) => Err(Error::HostKey(format!(
            "of {host} only keys of the kind {} are known: add its ed25519 or ecdsa key to the known hosts",
            kinds.join(", ")
        ))),
    }
}

/// The crate's error in our words.
fn told(host: &str, error: &russh::Error) -> Error {
    use russh::Error as E;
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "the crate's errors may grow: an unknown one is a lost connection"
    )]
    let text = match error {
        E::NoCommonAlgo { kind, .. } => {
            format!("{host} has no {kind:?} algorithm in common with us").to_lowercase()
        }
        E::IO(error) => format!("{host}: {}", tcp::plain(error)),
        E::HUP | E::Disconnect | E::RecvError | E::SendError => format!("{host} closed the connection"),
        E::ChannelOpenFailure(why) => return Error::Refused(format!("{host} refused a channel: {why:?}")),
        other => format!("{host}: {other}"),
    };
    Error::Lost(text)
}
