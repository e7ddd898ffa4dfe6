//! What leads to a session: what the BMC speaks, which suite or authentication it takes, and the privilege level.

use std::time::{Duration, Instant};

use super::Version;
use super::cipher::{Suite, random};
use super::error::Error;
use super::message;
use super::rmcp::take;
use super::session::{Active, BUSY_PAUSE, BUSY_TRIES, NODE_BUSY, SENDS, Session, outside, question};
use super::session15::{Active15, Auth, Sessionless};
use super::session20::{self, Credentials, Failure};
use super::transport::Patience;

/// Suites tried when none is given: the strongest that BMCs have, then the one all of them have.
const AUTOMATIC_SUITES: [u8; 2] = [17, 3];
/// Waits for a free session slot: first and longest.
const SLOT_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// Channel "this one", with the bit that asks for v2.0 data.
const THIS_CHANNEL: u8 = 0x0E;
const ASK_V20: u8 = 0x80;

/// What the BMC said before any session.
pub(super) struct Capabilities {
    /// `None`: it did not say.
    version20: Option<bool>,
    /// Bit n: IPMI 1.5 authentication type n.
    types: u8,
    /// Its v1.5 packets carry a code.
    signed: bool,
}

impl Session {
    pub(super) fn establish(&mut self, capabilities: &Capabilities, until: Instant) -> Result<(), Error> {
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
                    self.abandoned.extend(self.active.take());
                }
                outcome => return outcome,
            }
        }
    }

    /// Get Channel Authentication Capabilities (22.13).
    ///
    /// QUIRK: some BMCs refuse or ignore the bit that asks for v2.0 data; the third datagram and each second one after it go without,
    /// and so does a second question after a refusal.
    pub(super) fn capabilities(&mut self, until: Instant) -> Result<Capabilities, Error> {
        let privilege = self.target.privilege.number();
        let wants20 = matches!(self.target.version, Version::V20 { .. });
        let mut ask = |wants20: bool| {
            let sequence = self.next_sequence();
            let request = |attempt: u32| {
                let bit = if wants20 && (attempt < 2 || attempt % 2 == 1) { ASK_V20 } else { 0 };
                outside(sequence, message::AUTH_CAPABILITIES, vec![THIS_CHANNEL | bit, privilege])
            };
            let patience = Patience {
                sends: u32::MAX,
                until,
                every: None,
                waiting_for: "get channel authentication capabilities",
            };
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
    /// back with more patience; a refusal strikes the suite off, for good when all were refused twice. A key that does not fit is believed the second time.
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
        let mut refused_once = false;
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
                let first = Patience { sends: 2 + round, until, every: None, waiting_for };
                let rest = Patience { sends: 3 + round, until, every: None, waiting_for };
                let mut left = Vec::new();
                let outcome = session20::handshake(&mut self.link, &who, suite, first, rest, &mut left);
                self.abandoned.extend(left.into_iter().map(|session| Active::V20(Box::new(session))));
                match outcome {
                    Ok(active) => {
                        self.suite = Some(suite);
                        self.active = Some(Active::V20(Box::new(active)));
                        return Ok(());
                    }
                    Err(Failure::Silent) => next += 1,
                    Err(Failure::Lost(what)) => {
                        waiting_for = what;
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
            if suites.is_empty() && !refused_once {
                // nothing protects the refusal either
                refused_once = true;
                suites = tried.iter().map(|id| Suite::by_id(*id)).collect::<Result<Vec<_>, _>>()?;
            } else if suites.is_empty() {
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
        self.auth15 = Some((auth, capabilities.signed));
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
            let patience = Patience { sends: SENDS, until, every: None, waiting_for: "activate session" };
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
        let patience = Patience { sends: u32::MAX, until, every: None, waiting_for: "get session challenge" };
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
        let patience =
            Patience { sends: SENDS + 2, until, every: None, waiting_for: "set session privilege level" };
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
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(take::<4>(data.get(at..)?)?.0))
}
