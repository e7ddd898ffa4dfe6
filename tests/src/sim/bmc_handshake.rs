//! RMCP+ handshake of the simulated BMC: open session and RAKP, sections 13.17 to 13.24.

use std::time::Instant;

use super::bmc::{Active, Kind, State, User, word};
use super::bmc_wire::{Protection, Window, keyed, random, short, suite_algorithms};

/// A session between open session request and RAKP 3, or between challenge and activation.
pub(super) struct Half {
    pub console: u32,
    algorithms: (u8, u8, u8),
    highest: u8,
    /// After RAKP 1: what both sides have exchanged, and the user.
    exchanged: Option<Exchanged>,
    pub since: Instant,
}

#[derive(Clone)]
struct Exchanged {
    rc: [u8; 16],
    rm: [u8; 16],
    role: u8,
    user: User,
}

impl State {
    pub(super) fn open_session(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let [tag, level, _, _, rest @ ..] = payload else { return None };
        let console = word(rest, 0)?;
        let algorithms = (*rest.get(8)?, *rest.get(16)?, *rest.get(24)?);
        self.requests += 1;
        let refuse = |status: u8| {
            let mut answer = vec![*tag, status, 0, 0];
            answer.extend(console.to_le_bytes());
            Some(answer)
        };
        if !self.config.suites.iter().any(|suite| suite_algorithms(*suite) == Some(algorithms)) {
            return if self.config.quirks.drops_unknown_suites { None } else { refuse(0x11) };
        }
        if self.full() {
            return refuse(0x01);
        }
        let id = self.new_id();
        let highest = if *level == 0 { 4 } else { *level };
        self.half.insert(id, Half { console, algorithms, highest, exchanged: None, since: Instant::now() });
        let mut answer = vec![*tag, 0, highest, 0];
        answer.extend(console.to_le_bytes());
        answer.extend(id.to_le_bytes());
        for (n, algorithm) in (0_u8..).zip([algorithms.0, algorithms.1, algorithms.2]) {
            answer.extend([n, 0, 0, 8, algorithm, 0, 0, 0]);
        }
        Some(answer)
    }

    pub(super) fn rakp1(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let tag = *payload.first()?;
        let id = word(payload, 4)?;
        let rc: [u8; 16] = payload.get(8..24)?.try_into().ok()?;
        let role = *payload.get(24)?;
        let length = usize::from(*payload.get(27)?);
        let name = payload.get(28..28 + length)?;
        self.requests += 1;
        let user = self.user(name);
        let (guid, quirks) = (self.guid, self.config.quirks.clone());
        let Some(half) = self.half.get_mut(&id) else { return Some(vec![tag, 0x02, 0, 0, 0, 0, 0, 0]) };
        let mut answer = vec![tag, 0, 0, 0];
        answer.extend(half.console.to_le_bytes());
        let Some(user) = user else {
            self.half.remove(&id);
            answer.splice(1..2, [0x0D]);
            return if quirks.mute_unknown_user { None } else { Some(answer) };
        };
        if role & 0x0F > user.limit || role & 0x0F > half.highest {
            self.half.remove(&id);
            answer.splice(1..2, [0x0A]);
            return Some(answer);
        }
        // a new number for each RAKP 1, also a repeated one: both sides must then go by the last
        let rm: [u8; 16] = random();
        let mut proven = half.console.to_le_bytes().to_vec();
        proven.extend(id.to_le_bytes());
        proven.extend(rc);
        proven.extend(rm);
        proven.extend(guid);
        proven.push(role);
        proven.push(u8::try_from(user.name.len()).ok()?);
        proven.extend(&user.name);
        answer.extend(rm);
        answer.extend(guid);
        answer.extend(keyed(half.algorithms.0, &user.password, &proven));
        half.exchanged = Some(Exchanged { rc, rm, role, user });
        Some(answer)
    }

    pub(super) fn rakp3(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let [tag, status, _, _, rest @ ..] = payload else { return None };
        let id = word(rest, 0)?;
        let proof = rest.get(4..)?;
        self.requests += 1;
        if self.active.contains_key(&id) {
            return if self.config.quirks.mute_second_rakp3 {
                None
            } else {
                Some(vec![*tag, 0x02, 0, 0, 0, 0, 0, 0])
            };
        }
        let Some(half) = self.half.remove(&id) else { return Some(vec![*tag, 0x02, 0, 0, 0, 0, 0, 0]) };
        if *status != 0 {
            return None;
        }
        let exchanged = half.exchanged?;
        let (authentication, integrity, confidentiality) = half.algorithms;
        let console = half.console.to_le_bytes();
        let mut who = vec![exchanged.role, u8::try_from(exchanged.user.name.len()).ok()?];
        who.extend(&exchanged.user.name);
        let key = &exchanged.user.password;
        let mut answer = vec![*tag, 0, 0, 0];
        answer.extend(console);
        if keyed(authentication, key, &[&exchanged.rm[..], &console, &who].concat()) != proof {
            answer.splice(1..2, [0x0F]);
            return Some(answer);
        }
        let kg = self.config.kg.as_ref().unwrap_or(key);
        let sik = keyed(authentication, kg, &[&exchanged.rc[..], &exchanged.rm, &who].concat());
        let mut check =
            keyed(authentication, &sik, &[&exchanged.rc[..], &id.to_le_bytes(), &self.guid].concat());
        check.truncate(short(authentication));
        answer.extend(check);
        let protection = Protection {
            integrity,
            confidentiality,
            k1: keyed(authentication, &sik, &[1; 20]),
            k2: keyed(authentication, &sik, &[2; 20]),
        };
        let limit = exchanged.user.limit.min(half.highest).min(exchanged.role & 0x0F);
        self.opened += 1;
        self.active.insert(
            id,
            Active {
                kind: Kind::V20 { console: half.console, protection },
                window: Window::default(),
                sent: 0,
                limit,
                level: limit.min(2),
            },
        );
        Some(answer)
    }
}
