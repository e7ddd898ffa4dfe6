//! One disk with all its paths: what joining, fencing and looking are there.

use super::fault::Fault;
use super::key::Key;
use super::port::{Kind, Port, Reservation};

/// How often a step is begun again because somebody else changed the disk meanwhile.
const ATTEMPTS: u32 = 8;

/// One path, by the name of its device.
#[derive(Debug)]
pub struct PathTo<P> {
    pub name: String,
    /// Why it could not even be opened.
    pub port: Result<P, Fault>,
}

/// One disk.
#[derive(Debug)]
pub struct Lun<P> {
    /// As the administrator wrote it: `/dev/mapper/mpatha`.
    pub name: String,
    /// What is the same on every host: its WWID. Disks are fenced in this order, so that of two nodes that fence
    /// each other the same one wins everywhere.
    pub id: String,
    pub paths: Vec<PathTo<P>>,
    /// Paths of this host to the same disk that are not among [`Self::paths`].
    pub others: usize,
}

/// What a disk says, over one of its paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub keys: Vec<u64>,
    pub reservation: Option<Reservation>,
}

impl Seen {
    pub fn has(&self, key: Key) -> bool {
        self.keys.contains(&key.number())
    }

    /// True when nobody but registrants can write.
    pub fn is_guarded(&self) -> bool {
        self.reservation.is_some_and(|reservation| reservation.kind.lets_registrants_write())
    }
}

/// How joining a disk went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// Paths that did not answer: `sdb: no connection`. They are not registered.
    pub dead: Vec<String>,
    /// Registrations with our key that belong to no path of ours, and were left alone.
    pub stale: usize,
}

impl<P: Port> Lun<P> {
    /// Asks over the paths in turn until one answers.
    fn over<T>(&mut self, mut ask: impl FnMut(&mut P) -> Result<T, Fault>) -> Result<T, Fault> {
        let mut dead = Vec::new();
        for path in &mut self.paths {
            let answer = match &mut path.port {
                Ok(port) => ask(port),
                Err(why) => Err(why.clone()),
            };
            match answer {
                Err(Fault::Path(why)) => dead.push(format!("{}: {why}", path.name)),
                other => return other,
            }
        }
        Err(Fault::Path(if dead.is_empty() { "it has no path".into() } else { dead.join("; ") }))
    }

    /// Orders over the paths in turn until one is accepted: a path that lost its registration says "conflict"
    /// while another one of the same host is still registered.
    fn order(&mut self, mut give: impl FnMut(&mut P) -> Result<(), Fault>) -> Result<(), Fault> {
        let mut conflict = false;
        let mut dead = Vec::new();
        for path in &mut self.paths {
            let answer = match &mut path.port {
                Ok(port) => give(port),
                Err(why) => Err(why.clone()),
            };
            match answer {
                Err(Fault::Conflict) => conflict = true,
                Err(Fault::Path(why)) => dead.push(format!("{}: {why}", path.name)),
                other => return other,
            }
        }
        if conflict {
            return Err(Fault::Conflict);
        }
        Err(Fault::Path(if dead.is_empty() { "it has no path".into() } else { dead.join("; ") }))
    }

    /// Keys and reservation, over the first path that answers.
    pub fn look(&mut self) -> Result<Seen, Fault> {
        self.over(look)
    }

    /// Keys and reservation over every path that answers, at least one. A name that stands for two disks by
    /// mistake shows here.
    pub fn look_everywhere(&mut self) -> Result<Vec<Seen>, Fault> {
        let mut seen = Vec::new();
        let mut dead = Vec::new();
        for path in &mut self.paths {
            let answer = match &mut path.port {
                Ok(port) => look(port),
                Err(why) => Err(why.clone()),
            };
            match answer {
                Ok(answer) => seen.push(answer),
                Err(Fault::Path(why)) => dead.push(format!("{}: {why}", path.name)),
                Err(other) => return Err(other),
            }
        }
        if seen.is_empty() {
            let why = if dead.is_empty() { "it has no path".into() } else { dead.join("; ") };
            return Err(Fault::Path(why));
        }
        Ok(seen)
    }

    /// Registers `own` over every path, and sees to it that the disk is reserved.
    ///
    /// `Ok`: every path that answers listed the key and a reservation afterwards.
    pub fn join(&mut self, own: Key, aptpl: bool) -> Result<Joined, Fault> {
        let mut joined = Joined::default();
        let mut registered = 0;
        for path in &mut self.paths {
            let answer = match &mut path.port {
                Ok(port) => port.register(own, aptpl),
                Err(why) => Err(why.clone()),
            };
            match answer {
                Ok(()) => registered += 1,
                Err(Fault::Path(why)) => joined.dead.push(format!("{}: {why}", path.name)),
                Err(other) => return Err(other.about(&path.name)),
            }
        }
        if registered == 0 {
            return Err(Fault::Path(joined.dead.join("; ")));
        }
        self.guard(own)?;
        joined.stale = self.without_stale(own, registered)?;
        for seen in self.look_everywhere()? {
            if !seen.has(own) {
                return Err(Fault::State(format!("key {own} was registered, and the disk does not list it")));
            }
            if !seen.is_guarded() {
                return Err(Fault::State("the reservation that was made is gone again".into()));
            }
        }
        Ok(joined)
    }

    /// Makes the reservation if nobody has. To lose that race is as good.
    fn guard(&mut self, own: Key) -> Result<(), Fault> {
        let mut dead = None;
        for _ in 0..ATTEMPTS {
            if let Some(reservation) = self.look()?.reservation {
                return usable(reservation).map(|_| ());
            }
            match self.order(|port| port.reserve(own, Kind::WriteExclusiveRegistrants)) {
                Ok(()) => {}
                Err(Fault::Conflict) => dead = None,
                Err(Fault::Path(why)) => dead = Some(why),
                Err(other) => return Err(other),
            }
        }
        Err(dead.map_or_else(
            || Fault::State("the disk cannot be reserved: reservation conflict".into()),
            Fault::Path,
        ))
    }

    /// After a new iSCSI session the disk still knows the old one, with our key. It goes by preempting our own
    /// key, which leaves the path that asks alone only if our key holds the reservation: that path then takes
    /// it over (SPC-4 5.12.11.4.3). Else it would drop a good registration, as it would with several paths: then
    /// it is only told how many there are. They do no harm: whoever preempts our key removes them too.
    fn without_stale(&mut self, own: Key, registered: usize) -> Result<usize, Fault> {
        let seen = self.look()?;
        let surplus = |seen: &Seen| {
            seen.keys.iter().filter(|key| **key == own.number()).count().saturating_sub(registered)
        };
        let stale = surplus(&seen);
        let holds = seen.reservation.filter(|reservation| reservation.key == own.number());
        let (Some(held), 1, 0) = (holds, self.paths.len(), self.others) else { return Ok(stale) };
        if stale == 0 {
            return Ok(0);
        }
        let kind = usable(held)?;
        match self.order(|port| port.preempt_others(own, kind)) {
            Ok(()) | Err(Fault::Conflict | Fault::Unsupported(_)) => {}
            Err(other) => return Err(other),
        }
        self.guard(own)?;
        Ok(surplus(&self.look()?))
    }

    /// Takes `victim` away. `Ok` as the module says; begins again when somebody else changes the disk meanwhile.
    pub fn fence(&mut self, own: Key, victim: Key, aptpl: bool) -> Result<(), Fault> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let seen = self.look()?;
            if !seen.has(own) {
                if let Some(reservation) = seen.reservation {
                    return Err(Fault::Fenced(format!(
                        "our own key {own} is not registered, while key {:x} holds the reservation: this host was \
                         fenced or never unfenced",
                        reservation.key
                    )));
                }
                // No reservation keeps anybody out: the disk has lost its memory, nobody was fenced by it.
                self.register_everywhere(own, aptpl)?;
                continue;
            }
            let Some(reservation) = seen.reservation else {
                self.guard(own)?;
                continue;
            };
            let kind = usable(reservation)?;
            if !seen.has(victim) {
                if self.look_everywhere()?.iter().all(|seen| is_proof(seen, own, victim)) {
                    return Ok(());
                }
                continue;
            }
            match self.order(|port| port.preempt_and_abort(own, victim, kind)) {
                Ok(()) => last = None,
                // Somebody was faster, or the answer was lost: the disk tells which.
                Err(fault @ (Fault::Conflict | Fault::Path(_))) => last = Some(fault),
                Err(other) => return Err(other),
            }
        }
        Err(match last {
            Some(Fault::Path(why)) => Fault::Path(why),
            Some(_) | None => {
                Fault::State(format!("key {victim} is still registered after {ATTEMPTS} attempts"))
            }
        })
    }

    fn register_everywhere(&mut self, own: Key, aptpl: bool) -> Result<(), Fault> {
        let mut done = false;
        let mut dead = Vec::new();
        for path in &mut self.paths {
            let answer = match &mut path.port {
                Ok(port) => port.register(own, aptpl),
                Err(why) => Err(why.clone()),
            };
            match answer {
                Ok(()) => done = true,
                Err(Fault::Path(why)) => dead.push(format!("{}: {why}", path.name)),
                Err(other) => return Err(other),
            }
        }
        if done { Ok(()) } else { Err(Fault::Path(dead.join("; "))) }
    }
}

fn look<P: Port>(port: &mut P) -> Result<Seen, Fault> {
    // Two answers, one moment: unless the generation moved between them.
    for _ in 0..ATTEMPTS {
        let before = port.keys()?;
        let reservation = port.reservation()?;
        let keys = port.keys()?;
        if before == keys {
            return Ok(Seen { keys: keys.keys, reservation });
        }
    }
    Err(Fault::State("its registrations change without end".into()))
}

fn is_proof(seen: &Seen, own: Key, victim: Key) -> bool {
    seen.has(own) && !seen.has(victim) && seen.is_guarded()
}

fn usable(reservation: Reservation) -> Result<Kind, Fault> {
    if reservation.kind.lets_registrants_write() {
        return Ok(reservation.kind);
    }
    Err(Fault::State(format!(
        "key {:x} holds a reservation '{}', under which registrants cannot write: it is not the cluster's",
        reservation.key, reservation.kind
    )))
}
