//! What the watch of several hosts has seen, and what it proves.

use super::super::failure::LabError;
use super::domain::Domain;
use std::collections::BTreeMap;
use std::time::Duration;

/// How far the hosts' clocks may be apart, in seconds; they are set by stamps of the same file system.
const CLOCKS: f64 = 0.03;
/// Between two samples that are further apart a guest may have stopped and gone on.
const BLIND: f64 = 0.6;

/// Samples and heartbeats, of all hosts.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    samples: Vec<Sample>,
    beats: Vec<Beat>,
}

#[derive(Clone, Debug)]
struct Sample {
    host: String,
    at: f64,
    /// Of each domain: its number here, its UUID, and `live` or what keeps it from running.
    domains: Vec<(u32, String, String)>,
}

#[derive(Clone, Debug)]
struct Beat {
    host: String,
    at: f64,
    console: String,
    life: String,
    number: u64,
    /// What the guest measured with it.
    stamp: String,
}

/// A guest from its start to its end, wherever it ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// What it has drawn at its start.
    pub drawn: String,
    /// The last beat that was heard.
    pub beats: u64,
    /// Where it was heard, in this order; a host comes again when it came back.
    pub hosts: Vec<String>,
    /// The longest time between two beats.
    pub longest_pause: Duration,
}

/// A time in which a domain ran without a break.
struct Stretch<'a> {
    host: &'a str,
    id: u32,
    from: f64,
    to: f64,
}

impl Seen {
    /// Takes in what the watch of one host has said.
    pub(super) fn read(&mut self, host: &str, said: &str) {
        // The last line may be half written.
        let whole = said.rfind('\n').map_or("", |end| said.get(..end).unwrap_or_default());
        for line in whole.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["s", at, domains @ ..] => {
                    let Ok(at) = at.parse() else { continue };
                    let domains = domains.iter().filter_map(|word| {
                        let mut parts = word.split(':');
                        Some((
                            parts.next()?.parse().ok()?,
                            parts.next()?.to_owned(),
                            parts.next()?.to_owned(),
                        ))
                    });
                    self.samples.push(Sample { host: host.to_owned(), at, domains: domains.collect() });
                }
                ["c", at, console, "tick", life, number, stamp @ ..] => {
                    let (Ok(at), Ok(number)) = (at.parse(), number.parse()) else { continue };
                    self.beats.push(Beat {
                        host: host.to_owned(),
                        at,
                        console: (*console).to_owned(),
                        life: (*life).to_owned(),
                        number,
                        stamp: stamp.join(" "),
                    });
                }
                _ => {}
            }
        }
    }

    /// At no moment two running copies of the guest.
    ///
    /// Two witnesses: no two domains with its UUID that the hypervisors ran at the same time, and no beat of one life that was
    /// measured twice with a different result.
    ///
    /// # Errors
    /// With the moment. Also when it was never seen to run or heard: that proves nothing.
    pub fn never_two(&self, domain: &Domain) -> Result<(), LabError> {
        let stretches = self.stretches(domain);
        if stretches.is_empty() || self.lives(domain).is_empty() {
            return Err(LabError::Refused(format!("{} was never seen to run", domain.name())));
        }
        for (index, one) in stretches.iter().enumerate() {
            for other in stretches.iter().skip(index + 1) {
                let both = one.to.min(other.to) - one.from.max(other.from);
                if both > CLOCKS {
                    return Err(LabError::Refused(format!(
                        "two of {} ran at the same time for {both:.3} s: domain {} on {} and domain {} on {}, from {:.3}",
                        domain.name(),
                        one.id,
                        one.host,
                        other.id,
                        other.host,
                        one.from.max(other.from)
                    )));
                }
            }
        }
        let mut known: BTreeMap<(&str, u64), &Beat> = BTreeMap::new();
        for beat in self.beats_of(domain) {
            let first = *known.entry((&beat.life, beat.number)).or_insert(beat);
            // The same words twice are one beat that two consoles have taken out of the same page.
            if first.stamp != beat.stamp {
                return Err(LabError::Refused(format!(
                    "two of {} were alive: {first:?} and {beat:?}",
                    domain.name()
                )));
            }
        }
        Ok(())
    }

    /// All its lives, in the order of their first beats.
    #[must_use]
    pub fn lives(&self, domain: &Domain) -> Vec<Life> {
        let mut beats: Vec<&Beat> = self.beats_of(domain).collect();
        beats.sort_by(|one, other| one.at.total_cmp(&other.at));
        let mut lives: Vec<(Life, f64)> = Vec::new();
        for beat in beats {
            let index = lives.iter().position(|(life, _)| life.drawn == beat.life).unwrap_or_else(|| {
                let life = Life {
                    drawn: beat.life.clone(),
                    beats: 0,
                    hosts: Vec::new(),
                    longest_pause: Duration::ZERO,
                };
                lives.push((life, beat.at));
                lives.len() - 1
            });
            let Some((life, last)) = lives.get_mut(index) else { continue };
            if beat.number <= life.beats {
                continue;
            }
            life.beats = beat.number;
            if life.hosts.last() != Some(&beat.host) {
                life.hosts.push(beat.host.clone());
            }
            let pause = Duration::try_from_secs_f64(beat.at - *last).unwrap_or_default();
            life.longest_pause = life.longest_pause.max(pause);
            *last = beat.at;
        }
        lives.into_iter().map(|(life, _)| life).collect()
    }

    /// The hosts that ran it when they were last looked at.
    #[must_use]
    pub fn now_on(&self, domain: &Domain) -> Vec<String> {
        let uuid = domain.uuid();
        let runs = |sample: &Sample| {
            sample.domains.iter().any(|(_, other, state)| *other == uuid && state == "live")
        };
        self.last().into_iter().filter(|(_, sample)| runs(sample)).map(|(host, _)| host.to_owned()).collect()
    }

    /// Every domain of the guest at the last look at each host: the host, and `live` or what keeps it from running (`paused`,
    /// `shutdown`, `dying`). Half of a migration is one, too.
    #[must_use]
    pub fn there(&self, domain: &Domain) -> Vec<(String, String)> {
        let uuid = domain.uuid();
        let of = |sample: &Sample| -> Vec<(String, String)> {
            let own = sample.domains.iter().filter(|(_, other, _)| *other == uuid);
            own.map(|(.., state)| (sample.host.clone(), state.clone())).collect()
        };
        self.last().values().flat_map(|sample| of(sample)).collect()
    }

    fn last(&self) -> BTreeMap<&str, &Sample> {
        self.samples.iter().map(|sample| (sample.host.as_str(), sample)).collect()
    }

    /// The last sample of each host, for a message.
    pub(super) fn samples_at_the_end(&self) -> Vec<String> {
        self.last().values().map(|sample| format!("{sample:?}")).collect()
    }

    /// How often the hosts were looked at, all together.
    #[must_use]
    pub fn looks(&self) -> usize {
        self.samples.len()
    }

    fn beats_of<'a>(&'a self, domain: &'a Domain) -> impl Iterator<Item = &'a Beat> {
        // NAME--incoming, NAME--migratedaway
        self.beats.iter().filter(|beat| beat.console.split("--").next() == Some(domain.name()))
    }

    fn stretches(&self, domain: &Domain) -> Vec<Stretch<'_>> {
        let uuid = domain.uuid();
        let mut all: Vec<Stretch<'_>> = Vec::new();
        // By host: those that are running, and when each was looked at last.
        let mut open: BTreeMap<(&str, u32), (f64, f64)> = BTreeMap::new();
        for sample in &self.samples {
            let host = sample.host.as_str();
            let live = |id: u32| {
                sample.domains.iter().any(|(other, of, state)| *other == id && *of == uuid && state == "live")
            };
            open.retain(|(of, id), (from, to)| {
                let goes_on = *of != host || (live(*id) && sample.at - *to < BLIND);
                if !goes_on {
                    all.push(Stretch { host: of, id: *id, from: *from, to: *to });
                }
                goes_on
            });
            for (id, of, state) in &sample.domains {
                if *of == uuid && state == "live" {
                    open.entry((host, *id)).or_insert((sample.at, sample.at)).1 = sample.at;
                }
            }
        }
        all.extend(open.into_iter().map(|((host, id), (from, to))| Stretch { host, id, from, to }));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a watch says of a guest that is in these states at these times.
    fn said(samples: &[(f64, &str)], beats: &str) -> String {
        let uuid = Domain::named("vm").uuid();
        let lines = samples.iter().map(|(at, state)| match *state {
            "" => format!("s {at}\n"),
            state => format!("s {at} 3:{uuid}:{state}:1 4:00:live:2\n"),
        });
        lines.collect::<String>() + beats
    }

    fn seen(a: &str, b: &str) -> Seen {
        let mut seen = Seen::default();
        seen.read("xa", a);
        seen.read("xb", b);
        seen
    }

    #[test]
    fn a_guest_that_moved_was_one() {
        let vm = Domain::named("vm");
        let a = said(
            &[(1.0, "live"), (1.1, "live"), (1.2, "shutdown"), (1.3, "")],
            "c 1.0 vm tick a1 1 7.0 5\nc 1.1 vm tick a1 2 7.1 5\n",
        );
        // The page of the console went along with the guest: the same beat again.
        let b = said(
            &[(1.0, ""), (1.1, "paused"), (1.2, "live"), (1.3, "live")],
            "c 1.2 vm--incoming tick a1 2 7.1 5\nc 1.3 vm--incoming tick a1 3 7.2 5\nc 1.4 vm tick a",
        );
        let seen = seen(&a, &b);
        seen.never_two(&vm).unwrap();
        assert_eq!(seen.now_on(&vm), ["xb"]);
        assert_eq!(seen.there(&vm), [("xb".to_owned(), "live".to_owned())]);
        assert_eq!(seen.looks(), 8);
        let lives = seen.lives(&vm);
        assert_eq!(lives.len(), 1);
        assert_eq!((lives[0].beats, lives[0].hosts.join(" ")), (3, "xa xb".to_owned()));
        assert_eq!(lives[0].longest_pause, Duration::from_millis(200));
        // Nothing seen is no proof.
        assert!(seen.never_two(&Domain::named("other")).is_err());
        assert!(Seen::default().never_two(&vm).is_err());
    }

    #[test]
    fn two_that_run_are_told_by_either_witness() {
        let vm = Domain::named("vm");
        let beat = "c 1.0 vm tick a1 1 7.0 5\n";
        let a = said(&[(1.0, "live"), (1.1, "live"), (1.2, "live"), (1.3, "live")], beat);
        let b = said(&[(1.0, ""), (1.15, "live"), (1.25, "live")], "");
        let why = seen(&a, &b).never_two(&vm).unwrap_err().to_string();
        assert!(why.contains("at the same time for 0.100 s"), "{why}");
        // A host that was not looked at for a while proves nothing for that time.
        let a = said(&[(1.0, "live"), (1.1, "live"), (3.2, "live")], beat);
        seen(&a, &b.replace("1.15", "1.5").replace("1.25", "1.9")).never_two(&vm).unwrap();

        let a =
            said(&[(1.0, "live"), (1.1, "shutdown")], "c 1.0 vm tick a1 1 7.0 5\nc 1.1 vm tick a1 2 7.1 5\n");
        let b = said(&[(1.2, "live")], "c 1.2 vm--incoming tick a1 2 7.3 5\n");
        let why = seen(&a, &b).never_two(&vm).unwrap_err().to_string();
        assert!(why.contains("were alive"), "{why}");
    }
}
