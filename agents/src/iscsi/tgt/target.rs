//! A target of tgtd: made, looked at, taken away.

use super::request::{Header, Mode, Operation};
use super::{Error, Target, Tgtd};
use crate::iscsi::names::is_initiator_name;
use ocf_lib::resource::agent::State;
use ocf_lib::resource::code::Fault;
use ocf_lib::resource::context::Cx;
use ocf_lib::secret::Secret;
use std::time::Duration;

/// Time between two attempts to close what initiators have opened.
const PAUSE: Duration = Duration::from_millis(50);
/// So long the commands under way may go on after their connections are closed.
const GENTLE: Duration = Duration::from_secs(3);

/// What the configuration wants.
pub struct Plan<'a> {
    pub name: &'a str,
    /// Number of a target that is made. One that is there may have another: its name says whose it is.
    pub id: Option<u32>,
    /// Empty: everybody.
    pub initiators: &'a [String],
    pub account: Option<(&'a str, &'a Secret)>,
    pub settings: &'a [(String, String)],
}

/// The target of that name, exactly.
pub fn find(tgtd: &Tgtd, name: &str, cx: &Cx) -> Result<Option<Target>, Error> {
    match tgtd.targets(cx.deadline()) {
        Ok(targets) => Ok(targets.into_iter().find(|target| target.name == name)),
        // Nothing is exported without the daemon.
        Err(Error::NotRunning) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Plan<'_> {
    fn rules(&self) -> Vec<&str> {
        if self.initiators.is_empty() {
            vec!["ALL"]
        } else {
            self.initiators.iter().map(String::as_str).collect()
        }
    }

    /// What tgtd could not take anywhere (code 6).
    pub fn check(&self) -> Result<(), Fault> {
        if self.id.is_none() {
            return Err(Fault::configured("parameter tid: must be set for implementation tgt"));
        }
        match self.account {
            Some((_, password)) if password.expose().iter().any(|byte| *byte == b',' || *byte == 0) => Err(
                Fault::configured("parameter incoming_password: has a comma in it, which tgtd cannot take"),
            ),
            Some(_) | None => Ok(()),
        }
    }

    /// Looks.
    pub fn probe(&self, tgtd: &Tgtd, cx: &Cx) -> Result<State, Fault> {
        Ok(match find(tgtd, self.name, cx)? {
            None => State::Stopped,
            Some(target) => self.missing(&target).map_or(State::Running, State::Failed),
        })
    }

    /// What the target lacks.
    fn missing(&self, target: &Target) -> Option<String> {
        let name = self.name;
        if target.state != "ready" {
            return Some(format!("target {name} is there, but {}", target.state));
        }
        if let Some((user, _)) = self.account
            && !target.accounts.iter().any(|bound| bound == user)
        {
            return Some(format!("target {name} is half configured: account {user} is not bound to it"));
        }
        let rule = self.rules().into_iter().find(|rule| !target.acl.iter().any(|there| there == rule))?;
        Some(format!("target {name} is half configured: it does not let {rule} in"))
    }

    /// Makes it, or completes what is there. The rules come last: until then nobody can log in.
    pub fn start(&self, tgtd: &Tgtd, cx: &Cx) -> Result<(), Fault> {
        let until = cx.deadline();
        let all = tgtd.targets(until)?;
        let target = match all.iter().find(|target| target.name == self.name) {
            Some(target) => {
                cx.info(format!("completing target {}", self.name));
                target.clone()
            }
            None => self.make(tgtd, &all, cx)?,
        };
        let about = |operation| Header::of(Mode::Target, operation, target.id);
        for (name, value) in self.settings {
            tgtd.ask(&about(Operation::Update), format!("{name}={value}").as_bytes(), until).map_err(
                |error| {
                    Fault::from(error)
                        .context(format_args!("cannot set parameter {name} of target {}", self.name))
                },
            )?;
        }
        if let Some((user, password)) = self.account {
            bind_account(tgtd, &all, &target, (user, password), cx)?;
        }
        if target.state != "ready" && !target.state.is_empty() {
            tgtd.ask(&about(Operation::Update), b"state=ready", until)?;
        }
        for rule in self.rules() {
            match tgtd.ask(&about(Operation::Bind), access(rule).as_bytes(), until) {
                Ok(_) | Err(Error::ACL_EXISTS) => {}
                Err(error) => {
                    return Err(Fault::from(error)
                        .context(format_args!("cannot let {rule} into target {}", self.name)));
                }
            }
        }
        Ok(())
    }

    fn make(&self, tgtd: &Tgtd, all: &[Target], cx: &Cx) -> Result<Target, Fault> {
        let name = self.name;
        let id =
            self.id.ok_or_else(|| Fault::configured("parameter tid: must be set for implementation tgt"))?;
        if let Some(other) = all.iter().find(|target| target.id == id) {
            return Err(Fault::generic(format!(
                "cannot make target {name}: tid {id} is in use by {}; give each target a tid of its own",
                other.name
            )));
        }
        let header = Header::of(Mode::Target, Operation::New, id);
        tgtd.ask(&header, format!("targetname={name}").as_bytes(), cx.deadline())
            .map_err(|error| Fault::from(error).context(format_args!("cannot make target {name}")))?;
        Ok(Target { id, name: name.to_owned(), ..Target::default() })
    }

    /// Takes it away, with the sessions on it. Its name is all that counts; a user of ours that nobody uses goes too.
    pub fn stop(&self, tgtd: &Tgtd, cx: &Cx) -> Result<(), Fault> {
        let until = cx.deadline();
        let Some(target) = find(tgtd, self.name, cx)? else {
            return match self.account {
                Some((user, _)) => forget_unused_account(tgtd, user, cx),
                None => Ok(()),
            };
        };
        let about = |operation| Header::of(Mode::Target, operation, target.id);
        // An initiator that is thrown out comes back at once; offline, tgtd refuses it, and it tries again later.
        if let Err(error) = tgtd.ask(&about(Operation::Update), b"state=offline", until) {
            cx.warn(format!("cannot take target {} offline: {error}", self.name));
        }
        let mut waited = Duration::ZERO;
        loop {
            close_connections(tgtd, self.name, cx)?;
            let mut delete = about(Operation::Delete);
            // With force tgtd drops the commands that are still under way.
            delete.force = waited >= GENTLE;
            match tgtd.order(&delete, until) {
                Ok(()) | Err(Error::NO_TARGET) => break,
                Err(Error::TARGET_ACTIVE | Error::UNIT_ACTIVE) if !cx.expired() => {
                    cx.sleep(PAUSE);
                    waited += PAUSE;
                }
                Err(error) => {
                    return Err(
                        Fault::from(error).context(format_args!("cannot delete target {}", self.name))
                    );
                }
            }
        }
        match self.account {
            Some((user, _)) => forget_unused_account(tgtd, user, cx),
            None => Ok(()),
        }
    }
}

/// A user of the target's own.
fn bind_account(
    tgtd: &Tgtd,
    all: &[Target],
    target: &Target,
    (user, password): (&str, &Secret),
    cx: &Cx,
) -> Result<(), Fault> {
    let until = cx.deadline();
    let others = all.iter().filter(|other| other.id != target.id);
    if let Some(other) = others.into_iter().find(|other| other.accounts.iter().any(|bound| bound == user)) {
        return Err(Fault::generic(format!(
            "cannot make account {user}: target {} uses one of that name; each target needs its own",
            other.name
        )));
    }
    // One that is left over may have another password.
    forget_account(tgtd, user, cx)?;
    let words = [format!("user={user},password=").as_bytes(), password.expose()].concat();
    let words = Secret::new(words);
    let failed = |error: Error| Fault::from(error).context(format_args!("cannot make account {user}"));
    tgtd.ask(&Header::new(Mode::Account, Operation::New), words.expose(), until).map_err(failed)?;
    let bind = Header::of(Mode::Account, Operation::Bind, target.id);
    tgtd.ask(&bind, format!("user={user}").as_bytes(), until).map_err(failed)?;
    Ok(())
}

/// The words of a rule.
fn access(rule: &str) -> String {
    if is_initiator_name(rule) {
        format!("initiator-name={rule}")
    } else {
        format!("initiator-address={rule}")
    }
}

/// Closes every connection of the target.
pub fn close_connections(tgtd: &Tgtd, name: &str, cx: &Cx) -> Result<(), Fault> {
    let Some(target) = find(tgtd, name, cx)? else { return Ok(()) };
    for session in &target.sessions {
        for connection in &session.connections {
            cx.info(format!("closing the connection of {} to {name}", session.initiator));
            let mut close = Header::of(Mode::Connection, Operation::Delete, target.id);
            (close.session, close.connection) = (session.id, *connection);
            match tgtd.order(&close, cx.deadline()) {
                Ok(()) | Err(Error::NO_SESSION | Error::NO_CONNECTION | Error::NO_TARGET) => {}
                Err(error) => {
                    return Err(Fault::from(error)
                        .context(format_args!("cannot close the connection of {}", session.initiator)));
                }
            }
        }
    }
    Ok(())
}

fn forget_account(tgtd: &Tgtd, user: &str, cx: &Cx) -> Result<(), Fault> {
    let delete = Header::new(Mode::Account, Operation::Delete);
    match tgtd.ask(&delete, format!("user={user}").as_bytes(), cx.deadline()) {
        Ok(_) | Err(Error::NO_ACCOUNT | Error::NotRunning) => Ok(()),
        Err(error) => Err(Fault::from(error).context(format_args!("cannot delete account {user}"))),
    }
}

/// An account that a target uses is somebody else's: ours went with our target.
fn forget_unused_account(tgtd: &Tgtd, user: &str, cx: &Cx) -> Result<(), Fault> {
    match tgtd.targets(cx.deadline()) {
        Ok(targets) if targets.iter().any(|target| target.accounts.iter().any(|bound| bound == user)) => {
            Ok(())
        }
        Ok(_) => forget_account(tgtd, user, cx),
        Err(Error::NotRunning) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
