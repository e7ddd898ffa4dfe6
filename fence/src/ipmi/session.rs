//! One conversation with one BMC: finding it, opening a session with what it accepts, asking, and closing on every path.

use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::chassis::{Chassis, Control};
use super::cipher::{Suite, random};
use super::error::Error;
use super::message::{self, Command, Request, Response};
use super::rmcp::take;
use super::session15::{Active15, Auth, Sessionless};
use super::session20::{self, Active20, Credentials, Failure};
use super::transport::{Exchange, Link, Patience, Traffic, resolve};
use super::{Target, Version};

/// Suites tried when none is given: the strongest that BMCs have, then the one all of them have.
const AUTOMATIC_SUITES: [u8; 2] = [17, 3];
/// Datagrams of a request before the session is taken for lost.
const SENDS: u32 = 3;
/// New sessions after the first one in a run.
const REOPENINGS: u32 = 3;
/// Tries of a request that the BMC was too busy for.
const BUSY_TRIES: u32 = 20;
/// Pause before such a try.
const BUSY_PAUSE: Duration = Duration::from_millis(150);
/// Waits for a free session slot: first and longest.
const SLOT_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// What closing may take beyond the deadline: the caller was promised an end, and the BMC a free slot.
const CLOSING: Duration = Duration::from_millis(250);
/// Before a command that is sent once, a session silent for longer is tested.
const FRESH: Duration = Duration::from_secs(5);

/// Channel "this one", with the bit that asks for v2.0 data.
const THIS_CHANNEL: u8 = 0x0E;
const ASK_V20: u8 = 0x80;

/// Completion codes with a meaning here.
const NODE_BUSY: u8 = 0xC0;

/// Either kind of session.
enum Active {
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
struct Question<'a> {
    session: &'a mut Active,
    /// What the packet holds.
    outer: Request,
    /// What a bridge is to pass on.
    bridged: Option<Request>,
}

/// Completion code and data.
type Answer = (u8, Vec<u8>);

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
    target: Target,
    link: Link,
    active: Option<Active>,
    /// Sessions that were given up but may still be open at the BMC.
    abandoned: Vec<Active>,
    suite: Option<Suite>,
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
                Patience { sends, until: self.target.deadline, waiting_for: name },
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
                NODE_BUSY if busy < BUSY_TRIES && Instant::now() + BUSY_PAUSE < self.target.deadline => {
                    // not carried out, so it may be asked again, as a new message
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

    /// One request, one answer, in the present session.
    fn ask(
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
    fn next_sequence(&mut self) -> u8 {
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

    fn establish(&mut self, capabilities: &Capabilities, until: Instant) -> Result<(), Error> {
        loop {
            match self.target.version {
                Version::V20 { suite } => {
                    if capabilities.version20 == Some(false) {
                        return Err(Error::NoVersion20);
                    }
                    self.establish20(suite, until)?;
                }
                Version::V15 { auth } => self.establish15(auth, capabilities, until)?,
            }
            match self.raise_privilege(until) {
                // a session that is silent from the start: lost packets, so once more
                Err(Error::TimedOut { .. }) if Instant::now() < until => {
                    self.abandoned.extend(self.active.take())
                }
                outcome => return outcome,
            }
        }
    }

    /// Get Channel Authentication Capabilities (22.13).
    ///
    /// QUIRK: some BMCs refuse or ignore the bit that asks for v2.0 data; the third datagram and each second one after it go without,
    /// and so does a second question after a refusal.
    fn capabilities(&mut self, until: Instant) -> Result<Capabilities, Error> {
        let privilege = self.target.privilege.number();
        let wants20 = matches!(self.target.version, Version::V20 { .. });
        let mut ask = |wants20: bool| {
            let sequence = self.next_sequence();
            let request = |attempt: u32| {
                let bit = if wants20 && (attempt < 2 || attempt % 2 == 1) { ASK_V20 } else { 0 };
                outside(sequence, message::AUTH_CAPABILITIES, vec![THIS_CHANNEL | bit, privilege])
            };
            let patience =
                Patience { sends: u32::MAX, until, waiting_for: "get channel authentication capabilities" };
            self.link.exchange(&mut Sessionless { request, asked: None }, patience)
        };
        let (mut code, mut data) = ask(wants20)?;
        if code != 0 && wants20 {
            (code, data) = ask(false)?;
        }
        if code != 0 {
            return Err(Error::Completion { what: message::AUTH_CAPABILITIES.name, code });
        }
        let Some(([_channel, types, status, extended], _)) = take::<4>(&data) else {
            return Err(Error::Protocol("short authentication capabilities".into()));
        };
        let version20 = (types & 0x80 != 0).then_some(extended & 0x02 != 0);
        Ok(Capabilities { version20, types: types & 0x3F, signed: status & 0x10 == 0 })
    }

    /// Opens an RMCP+ session, with the first suite that works.
    ///
    /// A BMC may drop a suite it does not know without a word, so silence moves on to the next suite after two datagrams and comes
    /// back with more patience; a refusal strikes the suite off. A key that does not fit is believed the second time.
    fn establish20(&mut self, wanted: Option<u8>, until: Instant) -> Result<(), Error> {
        let tried: Vec<u8> = match (wanted, self.suite) {
            (Some(id), _) => vec![id],
            (None, Some(known)) => vec![known.id],
            (None, None) => AUTOMATIC_SUITES.to_vec(),
        };
        let mut suites = tried.iter().map(|id| Suite::by_id(*id)).collect::<Result<Vec<_>, _>>()?;
        let mut doubted: Option<Error> = None;
        let mut slot_pause = SLOT_PAUSE.0;
        let mut waiting_for = "open session response";
        let mut no_slot = false;
        for round in 0_u32.. {
            let mut next = 0;
            while let Some(suite) = suites.get(next).copied() {
                if Instant::now() >= until {
                    return Err(if no_slot {
                        Error::Busy
                    } else {
                        Error::TimedOut { waiting_for, maybe_done: false }
                    });
                }
                let who = Credentials {
                    username: &self.target.username,
                    password: &self.target.password,
                    kg: self.target.kg.as_ref().map(|key| key.as_slice()),
                    privilege: self.target.privilege,
                };
                let first = Patience { sends: 2 + round, until, waiting_for };
                let rest = Patience { sends: 3 + round, until, waiting_for };
                match session20::handshake(&mut self.link, &who, suite, first, rest) {
                    Ok(active) => {
                        self.suite = Some(suite);
                        self.active = Some(Active::V20(Box::new(active)));
                        return Ok(());
                    }
                    Err(Failure::Silent) => next += 1,
                    Err(Failure::Lost(half, what)) => {
                        waiting_for = what;
                        self.abandoned.extend(half.map(Active::V20));
                        // this suite is the right one: the BMC talked
                        suites = vec![suite];
                        break;
                    }
                    Err(Failure::SuiteRefused) => {
                        suites.remove(next);
                    }
                    Err(Failure::Busy) => {
                        no_slot = true;
                        let pause = Instant::now() + slot_pause;
                        if pause >= until {
                            return Err(Error::Busy);
                        }
                        self.link.pause(pause);
                        slot_pause = (slot_pause * 2).min(SLOT_PAUSE.1);
                    }
                    Err(Failure::Doubtful(error)) => {
                        if doubted.as_ref() == Some(&error) {
                            return Err(error);
                        }
                        doubted = Some(error);
                        next += 1;
                    }
                    Err(Failure::Fatal(error)) => return Err(error),
                }
            }
            if suites.is_empty() {
                return Err(doubted.unwrap_or(Error::CipherUnsupported { tried }));
            }
        }
        Err(Error::TimedOut { waiting_for, maybe_done: false })
    }

    /// Opens an IPMI 1.5 session: challenge, activation (22.16, 22.17).
    fn establish15(
        &mut self,
        wanted: Option<Auth>,
        capabilities: &Capabilities,
        until: Instant,
    ) -> Result<(), Error> {
        let offered = |auth: &Auth| capabilities.types & (1 << auth.number()) != 0;
        let auth = match wanted {
            Some(auth) => Some(auth).filter(offered),
            None => Auth::ALL.into_iter().find(offered),
        }
        .ok_or(Error::AuthUnsupported)?;
        let mut slot_pause = SLOT_PAUSE.0;
        let mut mute = 0;
        loop {
            let (id, challenge) = self.challenge(auth, until)?;
            let mut session = Active15::new(auth, &self.target.password, id, capabilities.signed);
            let mut seed = [0; 4];
            random(&mut seed)?;
            let [a, b, c, d] = seed;
            let mut data = vec![auth.number(), self.target.privilege.number()];
            data.extend(challenge);
            data.extend([a | 1, b, c, d & 0x7F]);
            let sequence = self.next_sequence();
            let patience = Patience { sends: SENDS, until, waiting_for: "activate session" };
            let mut holder = Active::V15(session);
            let outcome = self.link.exchange(
                &mut question(&mut holder, sequence, message::ACTIVATE_SESSION, &data, None),
                patience,
            );
            let Active::V15(back) = holder else { continue };
            session = back;
            let (code, data) = match outcome {
                Ok(answer) => answer,
                Err(Error::TimedOut { .. }) if mute == 0 && Instant::now() < until => {
                    // lost packets, or a BMC that drops what has a wrong code: the next challenge tells
                    mute += 1;
                    continue;
                }
                // it answered a challenge twice and an activation never
                Err(Error::TimedOut { .. }) if mute > 0 => return Err(Error::WrongPassword),
                Err(error) => return Err(error),
            };
            match code {
                0x00 => {
                    let (Some(id), Some(first)) = (word(&data, 1), word(&data, 5)) else {
                        return Err(Error::Protocol("short answer to activate session".into()));
                    };
                    session.activate(id, first.max(1));
                    self.active = Some(Active::V15(session));
                    return Ok(());
                }
                0x81..=0x83 | NODE_BUSY => {
                    let pause = Instant::now() + slot_pause;
                    if pause >= until {
                        return Err(Error::Busy);
                    }
                    self.link.pause(pause);
                    slot_pause = (slot_pause * 2).min(SLOT_PAUSE.1);
                }
                // the temporary session is gone: a repeated activation after a lost answer
                0x84 | 0x85 if mute == 0 => mute += 1,
                0x86 => return Err(Error::Privilege { asked: self.target.privilege, what: "a session" }),
                0xD4 | 0xCC => return Err(Error::WrongPassword),
                code => return Err(Error::Completion { what: message::ACTIVATE_SESSION.name, code }),
            }
        }
    }

    fn challenge(&mut self, auth: Auth, until: Instant) -> Result<(u32, [u8; 16]), Error> {
        let mut data = vec![auth.number()];
        data.extend(&self.target.username);
        data.resize(17, 0);
        let sequence = self.next_sequence();
        let request = |_| outside(sequence, message::SESSION_CHALLENGE, data.clone());
        let patience = Patience { sends: u32::MAX, until, waiting_for: "get session challenge" };
        let (code, data) = self.link.exchange(&mut Sessionless { request, asked: None }, patience)?;
        match code {
            0x00 => {}
            0x81 | 0x82 => return Err(Error::WrongUser),
            code => return Err(Error::Completion { what: message::SESSION_CHALLENGE.name, code }),
        }
        let (Some(id), Some(challenge)) = (word(&data, 0), data.get(4..).and_then(take::<16>)) else {
            return Err(Error::Protocol("short session challenge".into()));
        };
        Ok((id, challenge.0))
    }

    /// Set Session Privilege Level (22.18).
    fn raise_privilege(&mut self, until: Instant) -> Result<(), Error> {
        let level = self.target.privilege;
        let patience = Patience { sends: SENDS + 2, until, waiting_for: "set session privilege level" };
        let mut outcome = self.ask(message::SET_PRIVILEGE, &[level.number()], None, patience);
        let mut tries = 0;
        while matches!(outcome, Ok((NODE_BUSY, _))) && tries < BUSY_TRIES && Instant::now() < until {
            tries += 1;
            self.link.pause((Instant::now() + BUSY_PAUSE).min(until));
            outcome = self.ask(message::SET_PRIVILEGE, &[level.number()], None, patience);
        }
        match outcome {
            Ok((0x00, _)) => Ok(()),
            Ok((0x80..=0x82 | 0xD4, _)) => Err(Error::Privilege { asked: level, what: "a session" }),
            Ok((code, _)) => Err(Error::Completion { what: message::SET_PRIVILEGE.name, code }),
            Err(error) => Err(error),
        }
    }

    /// Closes what is open and what may be open. Bounded by the deadline plus [`CLOSING`], and never by less than [`CLOSING`].
    fn finish(&mut self) {
        let hard = self.target.deadline.max(Instant::now()) + CLOSING;
        // the one that surely exists first
        let sessions: Vec<_> = self.active.take().into_iter().chain(self.abandoned.drain(..)).collect();
        for (n, mut session) in sessions.into_iter().enumerate() {
            // further ones were given up and have mostly been forgotten by the BMC too: two datagrams, quickly
            let sends = if n == 0 { 4 } else { 2 };
            let patience = Patience {
                sends,
                until: hard.min(Instant::now() + self.link.silence_of(sends)),
                waiting_for: "close session",
            };
            let id = session.id().to_le_bytes();
            let sequence = self.next_sequence();
            // any completion code will do: 87h says that it was closed already
            let _ = self
                .link
                .exchange(&mut question(&mut session, sequence, message::CLOSE_SESSION, &id, None), patience);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.finish();
    }
}

/// What the BMC said before any session.
struct Capabilities {
    /// `None`: it did not say.
    version20: Option<bool>,
    /// Bit n: IPMI 1.5 authentication type n.
    types: u8,
    /// Its v1.5 packets carry a code.
    signed: bool,
}

fn outside(sequence: u8, command: Command, data: Vec<u8>) -> Request {
    Request { responder: message::BMC, requester: message::CONSOLE, sequence, command, data }
}

fn question<'a>(
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

fn word(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(take::<4>(data.get(at..)?)?.0))
}
