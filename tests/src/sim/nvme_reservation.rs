//! An NVMe namespace with reservations, after *NVM Express Base Specification 2.0*, 8.19 and 7.2 to 7.5: commands of the NVM set in,
//! status field out. In memory: one test is its only user.

/// A host, by its 128-bit identifier.
pub type HostId = [u8; 16];

/// A namespace.
#[derive(Clone, Debug, Default)]
pub struct Namespace {
    generation: u32,
    /// Registrants and their keys. A registration is a host's, whatever controller it comes over.
    registrants: Vec<(HostId, u64)>,
    /// Type and holder.
    held: Option<(u8, HostId)>,
    /// Hosts have 64-bit identifiers only: the long report is refused.
    pub short_only: bool,
}

const GOOD: u16 = 0;
const INVALID_OPCODE: u16 = 0x01;
const INVALID_FIELD: u16 = 0x02;
const INCONSISTENT_FORMAT: u16 = 0x18;
const CONFLICT: u16 = 0x83;

impl Namespace {
    /// The registered keys, sorted.
    #[must_use]
    pub fn keys(&self) -> Vec<u64> {
        let mut keys: Vec<u64> = self.registrants.iter().map(|(_, key)| *key).collect();
        keys.sort_unstable();
        keys
    }

    /// The type of the reservation, by NVMe's number.
    #[must_use]
    pub fn reserved(&self) -> Option<u8> {
        self.held.map(|(kind, _)| kind)
    }

    fn key_of(&self, host: &HostId) -> Option<u64> {
        self.registrants.iter().find(|(known, _)| known == host).map(|(_, key)| *key)
    }

    /// Whether a write of the host is carried out: figure 434.
    #[must_use]
    pub fn may_write(&self, host: &HostId) -> bool {
        match self.held {
            None => true,
            Some((3..=6, _)) => self.key_of(host).is_some(),
            Some((_, holder)) => holder == *host,
        }
    }

    /// Carries out one command; `data` is read or written. The status field without phase and "do not retry".
    pub fn execute(&mut self, host: &HostId, opcode: u8, cdw10: u32, cdw11: u32, data: &mut [u8]) -> u16 {
        let key = |from: usize| {
            let bytes = data.get(from..from + 8).and_then(|bytes| bytes.try_into().ok());
            u64::from_le_bytes(bytes.unwrap_or_default())
        };
        let (action, ignore, kind) =
            (cdw10 & 7, cdw10 & 8 != 0, u8::try_from(cdw10 >> 8 & 0xff).unwrap_or(0));
        match opcode {
            0x0d => self.register(host, action, ignore, key(0), key(8)),
            0x0e => self.report(cdw10, cdw11 & 1 != 0, data),
            0x11 if self.key_of(host) != Some(key(0)) => CONFLICT,
            0x11 => self.acquire(host, action, kind, key(8)),
            _ => INVALID_OPCODE,
        }
    }

    fn register(&mut self, host: &HostId, action: u32, ignore: bool, current: u64, new: u64) -> u16 {
        let own = self.key_of(host);
        match (action, own) {
            // Register: a registrant may only register again what it has.
            (0, Some(own)) => return if own == new { GOOD } else { CONFLICT },
            (0, None) => self.registrants.push((*host, new)),
            (1 | 2, None) => return CONFLICT,
            (1 | 2, Some(own)) if !ignore && own != current => return CONFLICT,
            (1, Some(_)) => {
                self.registrants.retain(|(known, _)| known != host);
                if self.held.is_some_and(|(_, holder)| holder == *host) {
                    self.held = None;
                }
            }
            (2, Some(_)) => {
                for (_, key) in self.registrants.iter_mut().filter(|(known, _)| known == host) {
                    *key = new;
                }
            }
            _ => return INVALID_FIELD,
        }
        self.generation = self.generation.wrapping_add(1);
        GOOD
    }

    fn acquire(&mut self, host: &HostId, action: u32, kind: u8, other: u64) -> u16 {
        if !(1..=6).contains(&kind) {
            return INVALID_FIELD;
        }
        match (action, self.held) {
            (0, None) => self.held = Some((kind, *host)),
            (0, Some((known, holder))) if holder == *host && known == kind => {}
            (0, Some(_)) => return CONFLICT,
            (1 | 2, held) => {
                if !self.registrants.iter().any(|(_, key)| *key == other) {
                    return CONFLICT;
                }
                let holds = held.is_some_and(|(_, holder)| self.key_of(&holder) == Some(other));
                self.registrants.retain(|(known, key)| *key != other || known == host);
                if holds {
                    self.held = Some((kind, *host));
                }
                self.generation = self.generation.wrapping_add(1);
            }
            _ => return INVALID_FIELD,
        }
        GOOD
    }

    fn report(&self, dwords: u32, long: bool, data: &mut [u8]) -> u16 {
        if long && self.short_only {
            return INCONSISTENT_FORMAT;
        }
        let mut answer = self.generation.to_le_bytes().to_vec();
        answer.push(self.held.map_or(0, |(kind, _)| kind));
        answer.extend(u16::try_from(self.registrants.len()).unwrap_or(u16::MAX).to_le_bytes());
        answer.resize(if long { 64 } else { 24 }, 0);
        for (host, key) in &self.registrants {
            let holds = self.held.is_some_and(|(kind, holder)| matches!(kind, 5 | 6) || holder == *host);
            answer.extend([1, 0, u8::from(holds), 0, 0, 0, 0, 0]);
            if long {
                answer.extend(key.to_le_bytes());
                answer.extend(host);
                answer.extend([0; 32]);
            } else {
                answer.extend(host.iter().take(8));
                answer.extend(key.to_le_bytes());
            }
        }
        let room = data.len().min((dwords as usize + 1) * 4);
        for (to, from) in data.iter_mut().take(room).zip(answer) {
            *to = from;
        }
        GOOD
    }
}
