//! One conversation with one BMC: finding it, opening a session with what it accepts, asking, and closing on every path.

use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::Target;
use super::chassis::{Chassis, Control};
use super::cipher::Suite;
use super::error::Error;
use super::message::{self, Command, Request, Response};
use super::session15::{Active15, Auth};
use super::session20::Active20;
use super::transport::{Exchange, Link, Patience, Traffic, resolve};

/// Datagrams of a request before the session is taken for lost.
pub(super) const SENDS: u32 = 3;
/// New sessions after the first one in a run.
const REOPENINGS: u32 = 3;
/// Tries of a request that the BMC was too busy for.
pub(super) const BUSY_TRIES: u32 = 20;
/// Pause before such a try.
pub(super) const BUSY_PAUSE: Duration = Duration::from_millis(150);
/// Before a command that is sent once, a session silent for longer is tested.
const FRESH: Duration = Duration::from_secs(5);

/// Completion codes: ask again later.
pub(super) const NODE_BUSY: u8 = 0xC0;
const PROCESSING_TIMEOUT: u8 = 0xC3;
const INITIALIZING: u8 = 0xD2;

/// Either kind of session.
pub(super) enum Active {
    V15(Active15),
    V20(Box<Active20>),
}

impl Active {
    fn wrap(&mut self, message: &[u8]) -> Result<Vec<u8>, Error> {
        match self {
            Self::V15(session) => session.wrap(message),
            Self::V20(session) => session.wrap(message),
        }
    }

    fn unwrap(&mut self, datagram: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        match self {
            Self::V15(session) => session.unwrap(datagram),
            Self::V20(session) => session.unwrap(datagram),
        }
    }

    pub(super) fn id(&self) -> u32 {
        match self {
            Self::V15(session) => session.id,
            Self::V20(session) => session.bmc,
        }
    }
}

/// A request in a session, perhaps wrapped into Send Message.
pub(super) struct Question<'a> {
    session: &'a mut Active,
    /// What the packet holds.
    outer: Request,
    /// What a bridge is to pass on.
    bridged: Option<Request>,
}

/// Completion code and data.
pub(super) type Answer = (u8, Vec<u8>);

impl Exchange for Question<'_> {
    type Answer = Answer;

    fn datagram(&mut self, _attempt: u32) -> Result<Vec<u8>, Error> {
        self.session.wrap(&self.outer.encode())
    }

    fn answer(&mut self, datagram: &[u8]) -> Option<Answer> {
        let bytes = self.session.unwrap(datagram)?;
        let response = message::decode(&bytes)?;
        let take = |response: &Response<'_>| (response.code, response.data.to_vec());
        let Some(inner) = &self.bridged else {
            return self.outer.is_answered_by(&response).then(|| take(&response));
        };
        // the target's answer comes as a packet of its own (6.13.3) ...
        if inner.is_answered_by(&response) {
            return Some(take(&response));
        }
        if !self.outer.is_answered_by(&response) {
            return None;
        }
        // ... or within the answer to Send Message (QUIRK: BMCs that bridge synchronously)
        if response.code == 0 {
            let embedded = message::decode(response.data)?;
            return inner.is_answered_by(&embedded).then(|| take(&embedded));
        }
        // the bridge itself refused
        Some(take(&response))
    }
}

/// An open session. Dropping it closes it, within the target's deadline plus 250 ms.
pub struct Session {
    pub(super) target: Target,
    pub(super) link: Link,
    pub(super) active: Option<Active>,
    /// Sessions that were given up but may still be open at the BMC.
    pub(super) abandoned: Vec<Active>,
    pub(super) suite: Option<Suite>,
    /// IPMI 1.5: the authentication that was chosen, and whether the BMC signs its packets.
    pub(super) auth15: Option<(Auth, bool)>,
    pub(super) sequence: u8,
    /// Everything has been done to leave nothing open.
    pub(super) finished: bool,
    reopened: u32,
    last_answer: Instant,
}

impl Session {
    /// Resolves the host, finds out what the BMC speaks, and opens a session at the wanted privilege level.
    ///
    /// # Errors
    /// Every variant of [`Error`]; nothing is retried after [`Error::is_permanent`] ones.
    pub fn open(target: &Target) -> Result<Self, Error> {
        target.check()?;
        let until = target.connect_deadline.min(target.deadline);
        let addresses = resolve(&target.host, target.port, until)?;
        let several = addresses.len() > 1;
        let mut failure = Error::TimedOut { waiting_for: "an answer of the bmc", maybe_done: false };
        loop {
            for address in &addresses {
                let link = match Link::connect(*address, target.packet_timeout, target.interrupted) {
                    Ok(link) => link,
                    Err(error) => {
                        failure = error;
                        continue;
                    }
                };
                let mut session = Self {
                    target: target.clone(),
                    link,
                    active: None,
                    abandoned: Vec::new(),
                    suite: None,
                    auth15: None,
                    sequence: 0,
                    finished: false,
                    reopened: 0,
                    last_answer: Instant::now(),
                };
                // one mute address of a name must not eat the time of the other
                let patience =
                    if several { until.min(Instant::now() + session.link.silence_of(SENDS)) } else { until };
                match session.capabilities(patience) {
                    Ok(capabilities) => {
                        session.establish(&capabilities, until)?;
                        return Ok(session);
                    }
                    Err(error @ (Error::TimedOut { .. } | Error::Unreachable { .. })) => failure = error,
                    Err(error) => return Err(error),
                }
            }
            if !several || Instant::now() >= until || matches!(failure, Error::Unreachable { .. }) {
                return Err(failure);
            }
        }
    }

    /// The power state as the BMC reports it after this call began.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when the BMC is silent even after new sessions; otherwise the BMC's refusal.
    pub fn chassis_status(&mut self) -> Result<Chassis, Error> {
        let data = self.request(message::CHASSIS_STATUS, "get chassis status", &[], true)?;
        Chassis::parse(&data)
    }

    /// Sends a power command. `Ok` means that the BMC took it, **not** that the power has changed.
    ///
    /// # Errors
    /// [`Error::WrongState`] for D5h (cycle, reset or diag while off); [`Error::TimedOut`] with `maybe_done` when a command that must
    /// not be repeated got no answer.
    pub fn chassis_control(&mut self, control: Control) -> Result<(), Error> {
        let once = !control.is_idempotent();
        if once && self.last_answer.elapsed() > FRESH {
            self.chassis_status()?;
        }
        self.request(message::CHASSIS_CONTROL, control.name(), &[control.number()], !once).map(drop)
    }

    /// The deadline of the requests that follow, instead of the target's.
    pub fn set_deadline(&mut self, deadline: Instant) {
        self.target.deadline = deadline;
    }

    /// What the conversation has cost so far.
    pub fn traffic(&self) -> Traffic {
        self.link.traffic
    }

    /// The cipher suite in use; `None` with IPMI 1.5.
    pub fn suite(&self) -> Option<u8> {
        self.suite.map(|suite| suite.id)
    }

    /// Closes the session and tells what the whole conversation cost.
    pub fn close(mut self) -> Traffic {
        self.finish();
        self.link.traffic
    }

    /// One command to the chassis, through the bridge when there is one; in a new session when the BMC lost this one.
    fn request(
        &mut self,
        command: Command,
        name: &'static str,
        data: &[u8],
        repeat: bool,
    ) -> Result<Vec<u8>, Error> {
        let mut busy = 0;
        loop {
            if self.active.is_none() {
                self.reopen()?;
            }
            let sends = if repeat { SENDS } else { 1 };
            let outcome = self.ask(
                command,
                data,
                self.target.bridge_to,
                Patience { sends, until: self.target.deadline, every: None, waiting_for: name },
            );
            let (code, data) = match outcome {
                Ok(answer) => answer,
                // the session is kept: whether it lives is found out by the next request, which may be repeated
                Err(Error::TimedOut { .. }) if !repeat => {
                    return Err(Error::TimedOut { waiting_for: name, maybe_done: true });
                }
                Err(Error::TimedOut { .. }) => {
                    // silence: the BMC may have lost the session (some do when the power changes)
                    self.abandoned.extend(self.active.take());
                    if Instant::now() >= self.target.deadline || self.reopened >= REOPENINGS {
                        return Err(Error::TimedOut { waiting_for: name, maybe_done: false });
                    }
                    continue;
                }
                Err(error) => return Err(error),
            };
            match code {
                0x00 => return Ok(data),
                code if Self::asks_for_patience(code, repeat)
                    && busy < BUSY_TRIES
                    && Instant::now() + BUSY_PAUSE < self.target.deadline =>
                {
                    busy += 1;
                    self.link.pause(Instant::now() + BUSY_PAUSE);
                }
                0xC1 | 0xC2 | 0xD6 => return Err(Error::Unsupported(name)),
                0xD4 => return Err(Error::Privilege { asked: self.target.privilege, what: name }),
                0xD5 => return Err(Error::WrongState(name)),
                code => return Err(Error::Completion { what: name, code }),
            }
        }
    }

    /// Busy and "initializing" say that the command was not carried out: ask again, as a new message. After "timeout while processing"
    /// it may have been.
    fn asks_for_patience(code: u8, repeat: bool) -> bool {
        matches!(code, NODE_BUSY | INITIALIZING) || (code == PROCESSING_TIMEOUT && repeat)
    }

    /// One request, one answer, in the present session.
    pub(super) fn ask(
        &mut self,
        command: Command,
        data: &[u8],
        bridge: Option<u8>,
        patience: Patience,
    ) -> Result<Answer, Error> {
        let sequence = self.next_sequence();
        let Some(session) = self.active.as_mut() else {
            return Err(Error::Local("no session".into()));
        };
        let answer = self.link.exchange(&mut question(session, sequence, command, data, bridge), patience)?;
        self.last_answer = Instant::now();
        Ok(answer)
    }

    /// The BMC takes two requests with one sequence for a repetition, so each gets its own.
    pub(super) fn next_sequence(&mut self) -> u8 {
        self.sequence = (self.sequence + 1) & 0x3F;
        self.sequence
    }

    fn reopen(&mut self) -> Result<(), Error> {
        if self.reopened >= REOPENINGS {
            return Err(Error::TimedOut {
                waiting_for: "the bmc, which lost the session again and again",
                maybe_done: false,
            });
        }
        self.reopened += 1;
        let until = self.target.deadline;
        let capabilities = self.capabilities(until)?;
        self.establish(&capabilities, until)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.finish();
    }
}

pub(super) fn outside(sequence: u8, command: Command, data: Vec<u8>) -> Request {
    Request { responder: message::BMC, requester: message::CONSOLE, sequence, command, data }
}

pub(super) fn question<'a>(
    session: &'a mut Active,
    sequence: u8,
    command: Command,
    data: &[u8],
    bridge: Option<u8>,
) -> Question<'a> {
    // the BMC's own address needs no bridge
    let Some(target) = bridge.filter(|address| *address != message::BMC) else {
        return Question { session, outer: outside(sequence, command, data.to_vec()), bridged: None };
    };
    // on the bus the BMC is the requester; it keeps track of the answer for us (22.7, bit 6), on channel 0, the primary IPMB
    let inner =
        Request { responder: target, requester: message::BMC, sequence, command, data: data.to_vec() };
    let mut wrapped = vec![0x40];
    wrapped.extend(inner.encode());
    Question { session, outer: outside(sequence, message::SEND_MESSAGE, wrapped), bridged: Some(inner) }
}
