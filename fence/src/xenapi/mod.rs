//! The XenAPI: a session with a pool of XenServer or XCP-ng hosts, over XML-RPC or JSON-RPC.
//!
//! The manual: *XenServer Management API*. A pool has one master; only it takes calls. The other hosts answer `HOST_IS_SLAVE` with
//! the master's address, where the call is made again. Sessions are few (xapi keeps 500 of one originator and forgets the oldest), so
//! each one that is opened here is logged out, on every way out.

mod error;
mod machine;
pub mod url;
mod wire;
mod xml;

pub use error::Error;
pub use machine::{Kind, Machine, PowerState};
pub use wire::{Keep, Param};
pub use xml::refusal;

use crate::tcp;
use crate::tls::TlsSettings;
use ocf_lib::deadline::Deadline;
use ocf_lib::fence::ErrorKind;
use serde_json::Value;
use std::time::Duration;
use url::Url;
use wire::Wire;
use zeroize::Zeroizing;

/// By this name xapi groups sessions (XenServer 6.2): what somebody else leaves behind cannot push ours out.
const ORIGINATOR: &str = "ringfence";
/// The API version that is asked for; xapi takes any that it knows.
const VERSION: &str = "1.3";
/// How often a host may send us to another one before we stop believing it.
const HOPS: u32 = 3;
/// What logging out may take beyond the work. After a signal the process ends by force in three seconds.
const CLOSING: Duration = Duration::from_secs(2);

/// Who logs in, and where.
pub struct Target {
    /// Tried in order.
    pub urls: Vec<Url>,
    pub username: String,
    pub password: Zeroizing<String>,
    /// For those URLs that are https.
    pub tls: Option<TlsSettings>,
}

/// Told to whoever wants a log: never a parameter or an answer.
pub type Tell = Box<dyn Fn(&str)>;

/// An open session. Dropping it logs out.
pub struct Session {
    target: Target,
    wire: Wire,
    /// Which of the URLs is tried next when this host is lost.
    next: usize,
    reference: Option<Zeroizing<String>>,
    /// The host that last took the session.
    useful: Option<Url>,
    tell: Tell,
    calls: u32,
}

impl Session {
    /// Logs in at the first host that lets us, or at the master that it names.
    ///
    /// # Errors
    /// What the only host said, or all of them ([`Error::NoHost`]).
    pub fn open(target: Target, tell: Tell, deadline: Deadline) -> Result<Self, Error> {
        let Some(first) = target.urls.first() else {
            return Err(Error::Settings("no url of a host is given".into()));
        };
        let wire = Wire::new(first.clone(), target.tls.as_ref());
        let mut session = Self { target, wire, next: 0, reference: None, useful: None, tell, calls: 0 };
        session.log_in_anywhere(deadline)?;
        Ok(session)
    }

    /// `xs1:8080` of the host that is spoken to.
    pub fn host(&self) -> String {
        self.wire.host()
    }

    /// A call that only reads: asked again over a new connection when the present one breaks.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn read(
        &mut self,
        method: &str,
        params: &[Param<'_>],
        keep: Keep,
        deadline: Deadline,
    ) -> Result<Value, Error> {
        self.call(method, params, keep, deadline, true)
    }

    /// A call that changes something: asked once, unless the pool itself said that it did nothing.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn change(&mut self, method: &str, params: &[Param<'_>], deadline: Deadline) -> Result<Value, Error> {
        self.call(method, params, Keep::ALL, deadline, false)
    }

    fn call(
        &mut self,
        method: &str,
        params: &[Param<'_>],
        keep: Keep,
        deadline: Deadline,
        reads: bool,
    ) -> Result<Value, Error> {
        let (mut again, mut logins, mut hops) = (1, 1, HOPS);
        loop {
            if self.reference.is_none() {
                self.log_in_anywhere(deadline)?;
            }
            let session = self.reference.clone().unwrap_or_default();
            let mut all = vec![Param::Text(&session)];
            all.extend_from_slice(params);
            let stale = !self.wire.is_fresh();
            let answer = self.ask(method, &all, keep, deadline);
            let error = match answer {
                Ok(value) => {
                    self.useful = Some(self.wire.url.clone());
                    return Ok(value);
                }
                Err(error) => error,
            };
            match error.code() {
                Some("SESSION_INVALID") if logins > 0 => {
                    logins -= 1;
                    self.reference = None;
                }
                Some("HOST_IS_SLAVE") if hops > 0 => {
                    // The session is known to the whole pool, as a rule; if not, SESSION_INVALID follows.
                    hops -= 1;
                    self.follow(&error)?;
                }
                None if error.is_lost() && again > 0 && (reads || stale) && !deadline.expired() => again -= 1,
                _ => {
                    if error.is_of_this_host() && self.target.urls.len() > 1 {
                        self.try_another_host_next_time();
                    }
                    return Err(error);
                }
            }
        }
    }

    /// The pool may have another master by now: the next call goes to the next host of the list, with the same session.
    fn try_another_host_next_time(&mut self) {
        if let Some(url) = self.target.urls.get(self.next % self.target.urls.len()) {
            self.wire = Wire::new(url.clone(), self.target.tls.as_ref());
            self.next += 1;
        }
    }

    fn ask(
        &mut self,
        method: &str,
        params: &[Param<'_>],
        keep: Keep,
        deadline: Deadline,
    ) -> Result<Value, Error> {
        self.calls += 1;
        let answer = self.wire.ask(method, params, keep, deadline);
        match &answer {
            Ok(_) => (self.tell)(&format!("{method} at {}: done", self.wire.host())),
            Err(error) => (self.tell)(&format!("{method} at {}: {error}", self.wire.host())),
        }
        answer
    }

    /// Goes to the master that a slave named.
    fn follow(&mut self, error: &Error) -> Result<(), Error> {
        let url = self.wire.url.at(error.argument(0).unwrap_or_default())?;
        self.wire = Wire::new(url, self.target.tls.as_ref());
        Ok(())
    }

    fn log_in_anywhere(&mut self, deadline: Deadline) -> Result<(), Error> {
        let urls = self.target.urls.clone();
        let mut failed: Vec<String> = Vec::new();
        let mut last = None;
        for (at, url) in urls.iter().enumerate() {
            // A host that swallows packets must not use up the time of the others.
            let others = u32::try_from(urls.len() - at).unwrap_or(u32::MAX);
            let span = deadline.left_or(ocf_lib::fence::LONGEST_WAIT) / others;
            self.wire = Wire::new(url.clone(), self.target.tls.as_ref());
            match self.log_in_here(deadline.within(span)) {
                Ok(()) => {
                    self.next = at + 1;
                    return Ok(());
                }
                Err(error) if urls.len() == 1 || !error.is_of_this_host() => return Err(error),
                Err(error) => {
                    failed.push(format!("{}: {error}", self.wire.host()));
                    last = Some(error);
                }
            }
        }
        let kind = last.as_ref().map_or(ErrorKind::Usage, Error::kind);
        Err(Error::NoHost { kind, text: failed.join("; ") })
    }

    /// Logs in at this host, or where it sends us.
    fn log_in_here(&mut self, deadline: Deadline) -> Result<(), Error> {
        let (mut again, mut hops) = (1, HOPS);
        let mut sent_by = None;
        loop {
            let error = match self.log_in_once(deadline) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if error.code() == Some("HOST_IS_SLAVE") && hops > 0 {
                hops -= 1;
                sent_by = Some(self.wire.host());
                self.follow(&error)?;
            } else if error.is_lost() && again > 0 && !deadline.expired() {
                // A session that was opened without our hearing of it is forgotten by xapi in time.
                again -= 1;
            } else {
                return Err(match (sent_by, error) {
                    (Some(by), error @ (Error::Transport(_) | Error::Protocol(_)))
                        if error.is_of_this_host() =>
                    {
                        let text = format!("{by} names {} as the pool's master: {error}", self.wire.host());
                        Error::NoHost { kind: error.kind(), text }
                    }
                    (_, error) => error,
                });
            }
        }
    }

    fn log_in_once(&mut self, deadline: Deadline) -> Result<(), Error> {
        let (name, password) = (self.target.username.clone(), self.target.password.clone());
        let all = [Param::Text(&name), Param::Text(&password), Param::Text(VERSION), Param::Text(ORIGINATOR)];
        let mut answer = self.ask("session.login_with_password", &all, Keep::ALL, deadline);
        // Before XenServer 6.2 there was no originator.
        if answer.as_ref().is_err_and(|error| error.code() == Some("MESSAGE_PARAMETER_COUNT_MISMATCH")) {
            answer = self.ask(
                "session.login_with_password",
                all.get(..2).unwrap_or_default(),
                Keep::ALL,
                deadline,
            );
        }
        let reference = answer?.as_str().unwrap_or_default().to_owned();
        if reference.is_empty() {
            return Err(Error::protocol("the host lets us in without a session"));
        }
        self.reference = Some(Zeroizing::new(reference));
        self.useful = Some(self.wire.url.clone());
        Ok(())
    }

    /// Gives the session back: where it was last of use, and if nobody answers there at any host of the list.
    fn log_out(&mut self) {
        let Some(session) = self.reference.take() else { return };
        let deadline = Deadline::after(CLOSING);
        let mut places = vec![self.wire.url.clone()];
        for url in self.useful.iter().chain(&self.target.urls) {
            if !places.contains(url) {
                places.push(url.clone());
            }
        }
        for place in places {
            if self.wire.url != place {
                self.wire = Wire::new(place, self.target.tls.as_ref());
            }
            if self.log_out_here(&session, deadline) || deadline.expired() {
                return;
            }
        }
    }

    /// True when the pool has the session no longer, or has been told so.
    fn log_out_here(&mut self, session: &str, deadline: Deadline) -> bool {
        let (mut again, mut hops) = (2, HOPS);
        while let Err(error) = self.ask("session.logout", &[Param::Text(session)], Keep::ALL, deadline) {
            if error.code() == Some("HOST_IS_SLAVE") && hops > 0 && self.follow(&error).is_ok() {
                hops -= 1;
            } else if error.code() == Some("SESSION_INVALID") {
                return true;
            } else if again == 0 || deadline.expired() || error.kind() == ErrorKind::Unreachable {
                return false;
            } else {
                self.wire.disconnect();
                again -= 1;
            }
        }
        true
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        tcp::only_closing();
        self.log_out();
        (self.tell)(&format!("session closed: {} calls", self.calls));
    }
}
