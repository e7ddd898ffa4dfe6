//! The commands the simulated BMC knows: what its answer is and what it does.

use super::bmc::{Active, Challenge, State};
use super::bmc_wire::{Asked, build_response, parse_request, random, suite_algorithms};

/// How long the power is off in a power cycle. Real BMCs take a second or more (28.3).
const CYCLE_OFF: std::time::Duration = std::time::Duration::from_millis(300);

type Answer = (u8, Vec<u8>);

/// Answer with a completion code alone.
fn only(code: u8) -> Answer {
    (code, Vec::new())
}

impl State {
    /// Commands that need no session; `None` is silence.
    pub(super) fn outside_session(&mut self, asked: &Asked) -> Option<Answer> {
        match (asked.net_fn, asked.command) {
            (6, 0x38) => self.capabilities(&asked.data),
            (6, 0x39) => Some(self.challenge(&asked.data)),
            (6, 0x54) => self.cipher_suites(&asked.data),
            _ => Some(only(0xD4)),
        }
    }

    /// 22.13
    fn capabilities(&self, data: &[u8]) -> Option<Answer> {
        let quirks = &self.config.quirks;
        let wants20 = data.first()? & 0x80 != 0;
        if wants20 && quirks.mute_v20_bit {
            return None;
        }
        if wants20 && quirks.refuses_v20_bit {
            return Some(only(0xCC));
        }
        let types = self.config.auths.iter().fold(0_u8, |mask, auth| mask | 1 << auth);
        let kg = if self.config.kg.is_some() { 0x20 } else { 0 };
        if !wants20 {
            return Some((0, vec![1, types, 0x04, 0, 0, 0, 0, 0]));
        }
        let extended = if quirks.only_v15 { 0x01 } else { 0x03 };
        Some((0, vec![1, types | 0x80, 0x04 | kg, extended, 0, 0, 0, 0]))
    }

    /// 22.15: sixteen bytes of the list at a time
    fn cipher_suites(&self, data: &[u8]) -> Option<Answer> {
        if self.config.quirks.mute_cipher_suites {
            return None;
        }
        let index = usize::from(data.get(2)? & 0x3F);
        let mut records = Vec::new();
        for suite in &self.config.suites {
            let (authentication, integrity, confidentiality) = suite_algorithms(*suite)?;
            records.extend([0xC0, *suite, authentication, 0x40 | integrity, 0x80 | confidentiality]);
        }
        let mut out = vec![1];
        out.extend(records.into_iter().skip(index * 16).take(16));
        Some((0, out))
    }

    /// 22.16
    fn challenge(&mut self, data: &[u8]) -> Answer {
        let [auth, name @ ..] = data else { return only(0xC7) };
        let name: Vec<u8> = name.iter().copied().take_while(|byte| *byte != 0).collect();
        let Some(user) = self.user(&name) else { return only(0x81) };
        if !self.config.auths.contains(auth) {
            return only(0xCC);
        }
        let (id, bytes) = (self.new_id(), random());
        self.challenges.insert(id, Challenge { user, auth: *auth, bytes });
        let mut out = id.to_le_bytes().to_vec();
        out.extend(bytes);
        (0, out)
    }

    /// All packets that a request in a session leads to.
    pub(super) fn in_session(&mut self, id: u32, asked: &Asked) -> Vec<Vec<u8>> {
        // taken out, so that the command may end it
        let Some(mut session) = self.active.remove(&id) else { return Vec::new() };
        if (asked.net_fn, asked.command) == (6, 0x3C) {
            return self.close(id, session, asked);
        }
        let power = self.on;
        let mut messages = Vec::new();
        if (asked.net_fn, asked.command) == (6, 0x34) {
            self.bridge(&session, asked, &mut messages);
        } else {
            let (code, data) = self.command(&mut session, asked);
            messages.push(build_response(asked, code, &data));
        }
        let packets = messages.iter().map(|message| Self::packed(&mut session, id, message)).collect();
        if power != self.on && self.config.quirks.forgets_on_power {
            self.forget();
        } else {
            self.active.insert(id, session);
        }
        packets
    }

    /// 22.19
    fn close(&mut self, id: u32, mut session: Active, asked: &Asked) -> Vec<Vec<u8>> {
        let named = asked.data.get(..4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
        let code = match named {
            Some(named) if named == id => 0,
            Some(named) if session.level >= 4 && self.active.remove(&named).is_some() => 0,
            Some(_) => 0x87,
            None => 0xC7,
        };
        let packet = Self::packed(&mut session, id, &build_response(asked, code, &[]));
        if named != Some(id) {
            self.active.insert(id, session);
        }
        vec![packet]
    }

    /// 22.7: passes a message on and its answer back
    fn bridge(&mut self, session: &Active, asked: &Asked, messages: &mut Vec<Vec<u8>>) {
        let Some(inner) = asked.data.split_first().and_then(|(_, message)| parse_request(message)) else {
            messages.push(build_response(asked, 0xCC, &[]));
            return;
        };
        let Some(on) = self.bridged.get(&inner.to).copied() else {
            // nobody acknowledges on the bus
            messages.push(build_response(asked, 0x83, &[]));
            return;
        };
        let (code, data) = match (inner.net_fn, inner.command, inner.data.first()) {
            (0, 1, _) => (0, vec![u8::from(on), 0, 0]),
            (0, 2, _) if session.level < 3 => only(0xD4),
            (0, 2, Some(number @ (0 | 1))) => {
                self.bridged.insert(inner.to, *number == 1);
                only(0)
            }
            (0, 2, Some(2..=5)) if !on => only(0xD5),
            (0, 2, Some(2..=5)) => only(0),
            _ => only(0xC1),
        };
        if self.config.quirks.bridges_inline {
            messages.push(build_response(asked, 0, &build_response(&inner, code, &data)));
        } else {
            messages.push(build_response(asked, 0, &[]));
            // from the bus to the console: the requester is the console again
            messages.push(build_response(&Asked { from: asked.from, ..inner }, code, &data));
        }
    }

    fn command(&mut self, session: &mut Active, asked: &Asked) -> Answer {
        match (asked.net_fn, asked.command) {
            (6, 0x01) => (0, vec![0x20, 0x01, 0x01, 0x00, 0x02, 0x9F, 0x91, 0x12, 0x00, 0x02, 0x0F]),
            (6, 0x38) => self.capabilities(&asked.data).unwrap_or_else(|| only(0xC1)),
            (6, 0x3B) => Self::set_level(session, &asked.data),
            (0, 0x01 | 0x02) if self.config.quirks.busy > 0 => {
                self.config.quirks.busy -= 1;
                only(0xC0)
            }
            (0, 0x01) if session.level < 2 => only(0xD4),
            (0, 0x01) => (0, vec![u8::from(self.on), 0, 0]),
            (0, 0x02) => self.control(session, &asked.data),
            _ => only(0xC1),
        }
    }

    /// 22.18
    fn set_level(session: &mut Active, data: &[u8]) -> Answer {
        let Some(wanted) = data.first().copied() else { return only(0xC7) };
        if wanted > session.limit {
            return only(0x81);
        }
        if wanted > 0 {
            session.level = wanted;
        }
        (0, vec![session.level])
    }

    /// 28.3
    fn control(&mut self, session: &Active, data: &[u8]) -> Answer {
        let Some(number) = data.first().copied() else { return only(0xC7) };
        if self.config.quirks.no_control {
            return only(0xC1);
        }
        if session.level < 3 {
            return only(0xD4);
        }
        if matches!(number, 2..=5) && !self.on {
            return only(0xD5);
        }
        self.controls.push((std::time::Instant::now(), number));
        if !self.config.quirks.lies {
            match number {
                0 | 5 => self.switch(false),
                1 => self.switch(true),
                2 | 3 => {
                    let now = std::time::Instant::now();
                    self.on = false;
                    self.power_log.push((now, false));
                    self.due = Some((now + CYCLE_OFF.max(self.config.quirks.slow_power), true));
                }
                4 => {}
                _ => return only(0xCC),
            }
        }
        only(0)
    }
}
