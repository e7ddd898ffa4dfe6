//! A SCSI disk with persistent reservations, after SPC-4 5.12, 6.15 and 6.16: CDBs in, status and sense data out.
//!
//! It has any number of I_T nexuses. Registrations, reservation, pending unit attentions and who wrote last are a file
//! in its folder, so that several processes can share one disk and a test can look at it without asking the subject.

use super::SplitMix64;
use super::persistent_reservation_answer::{
    BUSY, CONFLICT, GOOD, INVALID_CDB, INVALID_LIST, INVALID_OPCODE, INVALID_RELEASE, LIST_LENGTH,
    NEXUS_LOST, NO_ROOM, POWER_ON, REGISTRATIONS_PREEMPTED, RESERVATIONS_PREEMPTED, RESERVATIONS_RELEASED,
    answer, check, failed,
};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// One initiator port at one target port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nexus {
    /// An iSCSI name with its session, `iqn.2026-01.org.lab:n1,i,0x1`; no blanks.
    pub initiator: String,
    /// Relative target port.
    pub port: u16,
}

impl Nexus {
    /// The nexus of that initiator at that port.
    #[must_use]
    pub fn new(initiator: &str, port: u16) -> Self {
        Self { initiator: initiator.to_owned(), port }
    }
}

/// What kind of disk it is.
#[derive(Clone, Debug)]
pub struct Settings {
    pub folder: PathBuf,
    /// It knows READ FULL STATUS; tgtd's disks do not.
    pub full_status: bool,
    /// It knows PREEMPT AND ABORT; tgtd's disks do not.
    pub abort: bool,
    /// How many registrations there is room for.
    pub room: usize,
    /// Of a thousand commands, how many go wrong: busy, a unit attention, lost on the way or on the way back.
    pub faults: u64,
    /// Decides which.
    pub seed: u64,
}

impl Settings {
    /// A complete disk without faults.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), full_status: true, abort: true, room: 128, faults: 0, seed: 0 }
    }
}

/// What comes back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// 0 good, 2 check condition, 8 busy, 18h reservation conflict.
    pub status: u8,
    pub sense: Vec<u8>,
    pub data: Vec<u8>,
}

/// A registered nexus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    pub nexus: Nexus,
    pub key: u64,
}

/// The reservation: its type's number, and who holds it (nobody in particular for types 7 and 8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub kind: u8,
    pub holder: Option<Nexus>,
}

/// Everything that the disk remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub generation: u32,
    /// The last registration asked for persistence through a loss of power.
    pub aptpl: bool,
    pub registered: Vec<Registered>,
    pub held: Option<Held>,
    /// Pending unit attentions: nexus, code, qualifier.
    pub attentions: Vec<(Nexus, u8, u8)>,
    /// Nexuses that have spoken to it.
    pub known: Vec<Nexus>,
    /// Commands so far.
    pub commands: u64,
    /// Writes so far.
    pub writes: u64,
}

/// The disk.
#[derive(Clone, Debug)]
pub struct LogicalUnit {
    settings: Settings,
}

impl LogicalUnit {
    /// A disk in `settings.folder`, new or as it was left there.
    ///
    /// # Errors
    /// Of making the folder and reading its file.
    pub fn start(settings: Settings) -> io::Result<Self> {
        fs::create_dir_all(&settings.folder)?;
        let unit = Self { settings };
        unit.with(|_| ())?;
        Ok(unit)
    }

    /// Its memory, from the file.
    ///
    /// # Errors
    /// Of reading.
    pub fn state(&self) -> io::Result<State> {
        self.with(|state| state.clone())
    }

    /// Carries out one command of `nexus`. An error is a command, or its answer, that got lost.
    ///
    /// # Errors
    /// Seeded faults, and faults of the folder.
    pub fn execute(&self, nexus: &Nexus, cdb: &[u8], out: &[u8]) -> io::Result<Answer> {
        let lost = |what: &str| io::Error::new(io::ErrorKind::TimedOut, what.to_owned());
        self.with(|state| {
            state.commands += 1;
            if !state.known.contains(nexus) {
                state.known.push(nexus.clone());
            }
            let mut dice = SplitMix64::new(self.settings.seed ^ state.commands.wrapping_mul(0x9e37_79b9));
            let fate = if dice.next_u64() % 1000 < self.settings.faults { dice.next_u64() % 4 } else { 4 };
            match fate {
                0 => return Ok(answer(BUSY)),
                1 => return Ok(check(6, 0x2a, 0x01)),
                2 => return Err(lost("the command was lost")),
                _ => {}
            }
            let done = self.one(state, nexus, cdb, out);
            if fate == 3 { Err(lost("the answer was lost")) } else { Ok(done) }
        })?
    }

    /// The power fails and comes back.
    ///
    /// # Errors
    /// Of the folder.
    pub fn restart(&self) -> io::Result<()> {
        self.with(|state| {
            if !state.aptpl {
                state.registered.clear();
                state.held = None;
            }
            state.generation = 0;
            state.attentions.clear();
            for nexus in state.known.clone() {
                state.attend(&nexus, POWER_ON);
            }
        })
    }

    /// The nexus breaks and is made anew: its registration stays.
    ///
    /// # Errors
    /// Of the folder.
    pub fn lose(&self, nexus: &Nexus) -> io::Result<()> {
        self.with(|state| state.attend(nexus, NEXUS_LOST))
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> io::Result<T> {
        let lock = File::create(self.settings.folder.join("lock"))?;
        let _held = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, why)| io::Error::from(why))?;
        let file = self.settings.folder.join("state");
        let mut state = match fs::read_to_string(&file) {
            Ok(text) => State::parse(&text).ok_or_else(|| io::Error::other("the disk's file is broken"))?,
            Err(why) if why.kind() == io::ErrorKind::NotFound => State::default(),
            Err(why) => return Err(why),
        };
        let before = state.clone();
        let result = change(&mut state);
        if state != before || !file.exists() {
            let fresh = self.settings.folder.join("state.new");
            fs::write(&fresh, state.text())?;
            fs::rename(&fresh, &file)?;
        }
        Ok(result)
    }

    fn one(&self, state: &mut State, nexus: &Nexus, cdb: &[u8], out: &[u8]) -> Answer {
        if let Some(at) = state.attentions.iter().position(|(whose, ..)| whose == nexus) {
            let (_, code, qualifier) = state.attentions.remove(at);
            return check(6, code, qualifier);
        }
        match cdb {
            [0x00, ..] => answer(GOOD),
            [0x28 | 0x88, ..] => answer(if state.may_read(nexus) { GOOD } else { CONFLICT }),
            [0x2a | 0x8a, ..] if state.may_write(nexus) => {
                state.writes += 1;
                answer(GOOD)
            }
            [0x2a | 0x8a, ..] => answer(CONFLICT),
            [0x5e, action, _, _, _, _, _, high, low, _] => {
                self.report(state, action & 0x1f, usize::from(u16::from_be_bytes([*high, *low])))
            }
            [0x5f, action, scope_and_type, _, _, a, b, c, d, _] => {
                let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
                if length != 24 || out.len() != 24 {
                    return failed(LIST_LENGTH);
                }
                let number = |from: usize| {
                    let bytes = out.get(from..from + 8).and_then(|bytes| bytes.try_into().ok());
                    u64::from_be_bytes(bytes.unwrap_or_default())
                };
                let order = Order {
                    nexus,
                    kind: scope_and_type & 0x0f,
                    scope: scope_and_type >> 4,
                    key: number(0),
                    other: number(8),
                    aptpl: out.get(20).is_some_and(|flags| flags & 1 != 0),
                };
                self.order(state, action & 0x1f, &order)
            }
            _ => failed(INVALID_OPCODE),
        }
    }

    /// PERSISTENT RESERVE IN (6.15). Unregistered nexuses may ask too.
    fn report(&self, state: &State, action: u8, room: usize) -> Answer {
        let mut body = Vec::new();
        match action {
            0 => body.extend(state.registered.iter().flat_map(|entry| entry.key.to_be_bytes())),
            1 => {
                if let Some(held) = &state.held {
                    body.extend(state.holders_key().to_be_bytes());
                    body.extend([0, 0, 0, 0, 0, held.kind, 0, 0]);
                }
            }
            2 => {
                // PTPL_C; TMV; all six types.
                return Answer { data: cut(vec![0, 8, 1, 0x80, 0xea, 0x01, 0, 0], room), ..answer(GOOD) };
            }
            3 if self.settings.full_status => {
                for entry in &state.registered {
                    let holds = state
                        .held
                        .as_ref()
                        .is_some_and(|held| held.holder.as_ref().is_none_or(|holder| *holder == entry.nexus));
                    let id = transport_id(&entry.nexus.initiator);
                    body.extend(entry.key.to_be_bytes());
                    body.extend([0, 0, 0, 0, u8::from(holds)]);
                    body.push(if holds { state.held.as_ref().map_or(0, |held| held.kind) } else { 0 });
                    body.extend([0, 0, 0, 0]);
                    body.extend(entry.nexus.port.to_be_bytes());
                    body.extend(length(&id).to_be_bytes());
                    body.extend(id);
                }
            }
            _ => return failed(INVALID_CDB),
        }
        let mut data = state.generation.to_be_bytes().to_vec();
        data.extend(length(&body).to_be_bytes());
        data.extend(body);
        Answer { data: cut(data, room), ..answer(GOOD) }
    }

    /// PERSISTENT RESERVE OUT (6.16).
    fn order(&self, state: &mut State, action: u8, order: &Order<'_>) -> Answer {
        let own = state.key_of(order.nexus);
        match action {
            0 if own.unwrap_or(0) != order.key => answer(CONFLICT),
            0 | 6 => {
                if own.is_none() && order.other != 0 && state.registered.len() >= self.settings.room {
                    return failed(NO_ROOM);
                }
                state.register(order);
                answer(GOOD)
            }
            1..=5 if own != Some(order.key) => answer(CONFLICT),
            1 => state.reserve(order),
            2 => state.release(order),
            3 => {
                let others = state.others(order.nexus);
                state.registered.clear();
                state.held = None;
                state.generation = state.generation.wrapping_add(1);
                for nexus in others {
                    state.attend(&nexus, RESERVATIONS_PREEMPTED);
                }
                answer(GOOD)
            }
            5 if !self.settings.abort => failed(INVALID_CDB),
            4 | 5 => state.preempt(order),
            _ => failed(INVALID_CDB),
        }
    }
}

struct Order<'a> {
    nexus: &'a Nexus,
    kind: u8,
    scope: u8,
    key: u64,
    other: u64,
    aptpl: bool,
}

const fn is_all_registrants(kind: u8) -> bool {
    matches!(kind, 7 | 8)
}

const fn is_for_registrants(kind: u8) -> bool {
    matches!(kind, 5..=8)
}

impl State {
    /// The registered keys, sorted, each once.
    #[must_use]
    pub fn keys(&self) -> Vec<u64> {
        let mut keys: Vec<u64> = self.registered.iter().map(|entry| entry.key).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// The key that a nexus is registered with.
    #[must_use]
    pub fn key_of(&self, nexus: &Nexus) -> Option<u64> {
        self.registered.iter().find(|entry| entry.nexus == *nexus).map(|entry| entry.key)
    }

    /// Table 67: whether a write of the nexus is carried out.
    #[must_use]
    pub fn may_write(&self, nexus: &Nexus) -> bool {
        let Some(held) = &self.held else { return true };
        if is_for_registrants(held.kind) {
            self.key_of(nexus).is_some()
        } else {
            held.holder.as_ref() == Some(nexus)
        }
    }

    /// The same for a read: types 3, 6 and 8 are "exclusive access".
    #[must_use]
    pub fn may_read(&self, nexus: &Nexus) -> bool {
        !self.held.as_ref().is_some_and(|held| matches!(held.kind, 3 | 6 | 8)) || self.may_write(nexus)
    }

    fn holders_key(&self) -> u64 {
        let holder = self.held.as_ref().and_then(|held| held.holder.as_ref());
        holder.and_then(|nexus| self.key_of(nexus)).unwrap_or(0)
    }

    fn is_holder(&self, nexus: &Nexus) -> bool {
        self.held.as_ref().is_some_and(|held| {
            held.holder.as_ref().map_or_else(|| self.key_of(nexus).is_some(), |holder| holder == nexus)
        })
    }

    fn others(&self, nexus: &Nexus) -> Vec<Nexus> {
        self.registered.iter().map(|entry| entry.nexus.clone()).filter(|other| other != nexus).collect()
    }

    fn attend(&mut self, nexus: &Nexus, what: (u8, u8)) {
        let entry = (nexus.clone(), what.0, what.1);
        if !self.attentions.contains(&entry) {
            self.attentions.push(entry);
        }
    }

    /// 5.12.7, and 5.12.11.3 for the key 0, which unregisters.
    fn register(&mut self, order: &Order<'_>) {
        let own = self.registered.iter_mut().find(|entry| entry.nexus == *order.nexus);
        match (own, order.other) {
            (None, 0) => return,
            (Some(_), 0) => {
                let held = self.is_holder(order.nexus);
                self.registered.retain(|entry| entry.nexus != *order.nexus);
                let kind = self.held.as_ref().map_or(0, |held| held.kind);
                if held && (!is_all_registrants(kind) || self.registered.is_empty()) {
                    self.held = None;
                    if is_for_registrants(kind) {
                        for nexus in self.others(order.nexus) {
                            self.attend(&nexus, RESERVATIONS_RELEASED);
                        }
                    }
                }
            }
            (Some(own), key) => own.key = key,
            (None, key) => self.registered.push(Registered { nexus: order.nexus.clone(), key }),
        }
        self.aptpl = order.aptpl;
        self.generation = self.generation.wrapping_add(1);
    }

    /// 5.12.9.
    fn reserve(&mut self, order: &Order<'_>) -> Answer {
        if order.scope != 0 || !matches!(order.kind, 1 | 3 | 5..=8) {
            return failed(INVALID_CDB);
        }
        match &self.held {
            None => {
                let holder = (!is_all_registrants(order.kind)).then(|| order.nexus.clone());
                self.held = Some(Held { kind: order.kind, holder });
                answer(GOOD)
            }
            Some(held) if self.is_holder(order.nexus) && held.kind == order.kind => answer(GOOD),
            Some(_) => answer(CONFLICT),
        }
    }

    /// 5.12.11.2.
    fn release(&mut self, order: &Order<'_>) -> Answer {
        let Some(held) = self.held.clone().filter(|_| self.is_holder(order.nexus)) else {
            return answer(GOOD);
        };
        if held.kind != order.kind || order.scope != 0 {
            return failed(INVALID_RELEASE);
        }
        self.held = None;
        if is_for_registrants(held.kind) {
            for nexus in self.others(order.nexus) {
                self.attend(&nexus, RESERVATIONS_RELEASED);
            }
        }
        answer(GOOD)
    }

    /// 5.12.11.4: takes registrations away, and the reservation over if the holder is among them.
    fn preempt(&mut self, order: &Order<'_>) -> Answer {
        let all = self.held.as_ref().is_some_and(|held| is_all_registrants(held.kind));
        let everybody = order.other == 0;
        if everybody && !all {
            return failed(INVALID_LIST);
        }
        let matches = |entry: &Registered| everybody || entry.key == order.other;
        if !self.registered.iter().any(matches) {
            return answer(CONFLICT);
        }
        let takes_over =
            if all { everybody } else { self.held.is_some() && self.holders_key() == order.other };
        if takes_over && !matches!(order.kind, 1 | 3 | 5..=8) {
            return failed(INVALID_CDB);
        }
        // Who takes the reservation over stays registered; who only removes its own key removes itself (5.12.11.4.4).
        let goes = |entry: &Registered| matches(entry) && !(takes_over && entry.nexus == *order.nexus);
        let gone: Vec<Nexus> = self.registered.iter().filter(|e| goes(e)).map(|e| e.nexus.clone()).collect();
        self.registered.retain(|entry| !goes(entry));
        self.generation = self.generation.wrapping_add(1);
        for nexus in gone.iter().filter(|nexus| *nexus != order.nexus) {
            self.attend(nexus, REGISTRATIONS_PREEMPTED);
        }
        if takes_over {
            let before = self.held.as_ref().map_or(0, |held| held.kind);
            let holder = (!is_all_registrants(order.kind)).then(|| order.nexus.clone());
            self.held = Some(Held { kind: order.kind, holder });
            if before != order.kind {
                for nexus in self.others(order.nexus) {
                    self.attend(&nexus, RESERVATIONS_RELEASED);
                }
            }
        } else if all && self.registered.is_empty() {
            self.held = None;
        }
        answer(GOOD)
    }
}

/// An iSCSI `TransportID` of format 01b (7.6.4.6).
fn transport_id(name: &str) -> Vec<u8> {
    let mut text = name.as_bytes().to_vec();
    // Ends with a zero, is a multiple of four long and has at least 20 bytes.
    text.push(0);
    text.resize(text.len().next_multiple_of(4).max(20), 0);
    let mut id = vec![0x45, 0];
    id.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    id.extend(text);
    id
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

fn cut(mut data: Vec<u8>, room: usize) -> Vec<u8> {
    data.truncate(room);
    data
}

#[cfg(test)]
mod tests {
    use super::super::persistent_reservation_answer::CHECK;
    use super::*;

    fn order(unit: &LogicalUnit, nexus: &Nexus, action: u8, kind: u8, key: u64, other: u64) -> u8 {
        let mut list = key.to_be_bytes().to_vec();
        list.extend(other.to_be_bytes());
        list.extend([0; 8]);
        unit.execute(nexus, &[0x5f, action, kind, 0, 0, 0, 0, 0, 24, 0], &list).unwrap().status
    }

    fn disk() -> (tempfile::TempDir, LogicalUnit, Nexus, Nexus) {
        let folder = tempfile::tempdir().unwrap();
        let unit = LogicalUnit::start(Settings::new(folder.path())).unwrap();
        (folder, unit, Nexus::new("iqn.a,i,0x1", 1), Nexus::new("iqn.b,i,0x1", 1))
    }

    fn writes(unit: &LogicalUnit, nexus: &Nexus) -> u8 {
        unit.execute(nexus, &[0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0], &[]).unwrap().status
    }

    #[test]
    fn what_a_real_target_did_is_what_it_does() {
        // The sequence of a recording of two nodes at an LIO target.
        let (_folder, unit, a, b) = disk();
        assert_eq!(order(&unit, &a, 0, 0, 0, 0xabc_0001), GOOD);
        assert_eq!(order(&unit, &b, 0, 0, 0, 0xabc_0002), GOOD);
        assert_eq!(order(&unit, &a, 1, 5, 0xabc_0001, 0), GOOD);
        assert_eq!((writes(&unit, &a), writes(&unit, &b)), (GOOD, GOOD));
        assert_eq!(order(&unit, &a, 5, 5, 0xabc_0001, 0xabc_0002), GOOD);
        let state = unit.state().unwrap();
        assert_eq!((state.generation, state.keys()), (3, vec![0xabc_0001]));
        assert_eq!(writes(&unit, &b), CHECK, "registrations preempted");
        assert_eq!((writes(&unit, &b), writes(&unit, &a)), (CONFLICT, GOOD));
        assert_eq!(order(&unit, &b, 1, 5, 0xabc_0002, 0), CONFLICT);
        assert_eq!(order(&unit, &b, 6, 0, 0, 0xabc_0002), GOOD);
        assert_eq!(writes(&unit, &b), GOOD);
        assert_eq!(order(&unit, &a, 3, 0, 0xabc_0001, 0), GOOD);
        assert_eq!((unit.state().unwrap().generation, unit.state().unwrap().keys()), (5, vec![]));
    }

    #[test]
    fn who_preempts_the_holder_holds_and_who_preempts_itself_without_holding_is_out() {
        let (_folder, unit, a, b) = disk();
        for (nexus, key) in [(&a, 1), (&b, 2)] {
            assert_eq!(order(&unit, nexus, 0, 0, 0, key), GOOD);
        }
        assert_eq!(order(&unit, &a, 1, 5, 1, 0), GOOD);
        assert_eq!(order(&unit, &b, 4, 5, 2, 2), GOOD);
        assert_eq!(unit.state().unwrap().keys(), [1]);
        assert_eq!(order(&unit, &a, 4, 5, 1, 1), GOOD);
        assert_eq!(unit.state().unwrap().keys(), [1]);
        assert_eq!(order(&unit, &b, 6, 0, 0, 2), GOOD);
        assert_eq!(order(&unit, &b, 4, 5, 2, 1), GOOD);
        let state = unit.state().unwrap();
        assert_eq!(state.held, Some(Held { kind: 5, holder: Some(b.clone()) }));
        assert_eq!(order(&unit, &b, 4, 5, 2, 7), CONFLICT, "nobody has that key");
        assert_eq!(order(&unit, &b, 4, 5, 2, 0), CHECK);
    }

    #[test]
    fn a_restart_forgets_unless_it_was_told_to_remember() {
        let (_folder, unit, a, _) = disk();
        order(&unit, &a, 6, 0, 0, 1);
        order(&unit, &a, 1, 5, 1, 0);
        unit.restart().unwrap();
        assert_eq!((unit.state().unwrap().keys(), unit.state().unwrap().held), (vec![], None));
        assert_eq!(order(&unit, &a, 6, 0, 0, 1), CHECK, "power on");
        let mut list = [0; 24];
        list[15] = 1;
        list[20] = 1;
        assert_eq!(unit.execute(&a, &[0x5f, 6, 0, 0, 0, 0, 0, 0, 24, 0], &list).unwrap().status, GOOD);
        unit.restart().unwrap();
        assert_eq!(unit.state().unwrap().keys(), [1]);
    }

    #[test]
    fn the_holder_that_unregisters_releases() {
        let (_folder, unit, a, b) = disk();
        order(&unit, &a, 6, 0, 0, 1);
        order(&unit, &b, 6, 0, 0, 2);
        order(&unit, &a, 1, 5, 1, 0);
        assert_eq!(order(&unit, &a, 2, 1, 1, 0), CHECK, "invalid release");
        assert_eq!(order(&unit, &a, 0, 0, 1, 0), GOOD);
        assert_eq!(unit.state().unwrap().held, None);
        assert_eq!(unit.state().unwrap().attentions, [(b, 0x2a, 0x04)]);
    }

    #[test]
    fn the_file_says_everything() {
        let (_folder, unit, a, b) = disk();
        order(&unit, &a, 6, 0, 0, 1);
        order(&unit, &b, 6, 0, 0, u64::MAX);
        order(&unit, &a, 1, 7, 1, 0);
        unit.lose(&b).unwrap();
        let state = unit.state().unwrap();
        assert_eq!(State::parse(&state.text()), Some(state));
    }
}
