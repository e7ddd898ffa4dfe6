//! One conversation with one BMC: finding it, opening a session with what it accepts, asking, and closing on every path.

use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::Target;
use super::chassis::{Chassis, Control};
use super::cipher::Suite;
use super::error::Error;
use super::message::{self, Command, Request, Response};
use super::session15::{Active15, Auth};
use super::session20::{self, Active20};
use super::transport::{Exchange, Link, Patience, Traffic, resolve};

/// Datagrams of a request before the session is taken for lost.
pub(super) const SENDS: u32 = 3;
/// New sessions after the first one in a run.
const REOPENINGS: u32 = 3;
/// Tries of a request that the BMC was too busy for.
pub(super) const BUSY_TRIES: u32 = 20;
/// Pause before such a try.
pub(super) const BUSY_PAUSE: Duration = Duration::from_millis(150);
/// What closing may take beyond the deadline: the caller was promised an end, and the BMC a free slot.
const CLOSING: Duration = Duration::from_millis(250);
/// Datagrams to close a session; half as many for one that was given up and is mostly forgotten by the BMC too.
const CLOSE_SENDS: u32 = 6;
/// Where packets were lost: how long late answers are awaited before closing.
const LISTENING: Duration = Duration::from_millis(40);
/// Between two datagrams that close a session which the BMC has mostly forgotten.
const CLOSE_FORGOTTEN: Duration = Duration::from_millis(150);
/// Datagrams at the very end, for each session of which the BMC has not said that it is closed.
const LAST_SENDS: u8 = 3;
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

    fn id(&self) -> u32 {
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
    sequence: u8,
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
                let link = match Link::connect(*address, target.packet_timeout) {
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

    /// Closes what is open and what may be open. Bounded by the deadline plus [`CLOSING`], and never by less than [`CLOSING`].
    fn finish(&mut self) {
        let now = Instant::now();
        let hard = self.target.deadline.max(now) + CLOSING;
        if self.link.traffic.retransmissions > 0 {
            // an answer that is late may name a session that nobody else knows of
            self.link.pause(now + (self.target.packet_timeout / 8).min(LISTENING));
        }
        // IPMI 1.5: each activation that arrived twice may have activated a session of its own (QUIRK: ipmi_sim 2.0.33)
        if let Some((auth, signed)) = self.auth15 {
            let known: Vec<u32> = self.active.iter().chain(&self.abandoned).map(Active::id).collect();
            for (id, first) in std::mem::take(&mut self.link.activated) {
                if !known.contains(&id) {
                    let mut session = Active15::new(auth, &self.target.password, id, signed);
                    session.activate(id, first.max(1));
                    self.abandoned.push(Active::V15(session));
                }
            }
        }
        // handshakes that never came to their end take slots too, some the work of a doubled request; one datagram each before the
        // closing, which takes its time where packets are lost, and more after it
        let in_use = |sessions: &[Active], id: &[u8; 4]| sessions.iter().any(|s| s.id().to_le_bytes() == *id);
        let current = self.active.as_slice();
        let half: Vec<_> = self
            .link
            .heard
            .iter()
            .filter(|id| !in_use(current, id) && !in_use(&self.abandoned, id))
            .copied()
            .collect();
        for id in half {
            session20::abort(&mut self.link, id, 0);
        }
        // the one that surely exists first
        let active = self.active.take().map(|session| (CLOSE_SENDS, session));
        let sessions: Vec<_> = active
            .into_iter()
            .chain(self.abandoned.drain(..).map(|session| (CLOSE_SENDS / 2, session)))
            .collect();
        let mut unconfirmed = Vec::new();
        for (sends, mut session) in sessions {
            let now = Instant::now();
            // evenly spread over what time there is: a few copies get through where one is lost
            let mut every = (self.target.packet_timeout / 4).min(hard.saturating_duration_since(now) / sends);
            if sends < CLOSE_SENDS {
                every = every.min(CLOSE_FORGOTTEN);
            }
            let patience = Patience { sends, until: hard, every: Some(every), waiting_for: "close session" };
            let id = session.id().to_le_bytes();
            let sequence = self.next_sequence();
            // any completion code will do: 87h says that it was closed already
            let closed = self
                .link
                .exchange(&mut question(&mut session, sequence, message::CLOSE_SESSION, &id, None), patience);
            if closed.is_ok() {
                self.link.heard.retain(|heard| *heard != id);
            } else {
                unconfirmed.push(session);
            }
        }
        // the last word, for which nobody waits: each datagram may be the one that gets through
        for tag in 0..LAST_SENDS {
            for session in &mut unconfirmed {
                let id = session.id().to_le_bytes();
                let sequence = self.sequence;
                let close = question(session, sequence, message::CLOSE_SESSION, &id, None).datagram(0);
                if let Ok(datagram) = close {
                    self.link.tell(&datagram);
                }
            }
            for id in self.link.heard.clone() {
                session20::abort(&mut self.link, id, tag);
            }
        }
        self.link.heard.clear();
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
