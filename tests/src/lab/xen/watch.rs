//! An independent observer of the guests of several hosts.

use super::super::failure::LabError;
use super::super::guest::{Guest, Running};
use super::domain::Domain;
use super::seen::Seen;
use std::time::{Duration, Instant};

/// Run in each host.
const PROGRAM: &str = include_str!("../../../lab/xen/watch.py");
const PLACE: &str = "/run/lab/watch";
/// A watch ends itself after this.
const LONGEST: Duration = Duration::from_secs(1100);
/// Until its first sample: Python, emulated.
const FIRST: Duration = Duration::from_secs(60);

/// Asks the hypervisor of each host ten times a second which domains it runs, and reads their consoles: neither `xl` nor the store
/// nor an agent has a say. What was seen on a host is kept when its power is cut.
#[derive(Debug)]
pub struct Watch<'a> {
    eyes: Vec<(&'a Guest, Running<'a>)>,
}

impl<'a> Watch<'a> {
    /// Begins to watch these hosts; all are seen when this returns.
    ///
    /// # Errors
    /// When a host does not answer.
    pub fn over(hosts: &[&'a Guest]) -> Result<Self, LabError> {
        let mut watch = Self { eyes: Vec::new() };
        for host in hosts {
            watch.open(host)?;
        }
        watch.wait()?;
        Ok(watch)
    }

    /// Watches a host that was powered on again.
    ///
    /// # Errors
    /// As of [`Self::over`].
    pub fn again(&mut self, host: &'a Guest) -> Result<(), LabError> {
        self.open(host)?;
        self.wait()
    }

    fn open(&mut self, host: &'a Guest) -> Result<(), LabError> {
        host.put_mode(PLACE, PROGRAM, 0o755)?;
        let running = host.start_within(LONGEST, &format!("exec {PLACE} {}", host.name()))?;
        self.eyes.push((host, running));
        Ok(())
    }

    fn wait(&self) -> Result<(), LabError> {
        let began = Instant::now();
        for (host, running) in &self.eyes {
            while !running.so_far().stdout.starts_with("s ") {
                let told = || format!("{:?}", running.so_far());
                if began.elapsed() > FIRST {
                    let what = format!("sample of {}", host.name());
                    return Err(LabError::Timeout { what, after: FIRST, last: told() });
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }

    /// What was seen so far.
    #[must_use]
    pub fn so_far(&self) -> Seen {
        let mut seen = Seen::default();
        for (host, running) in &self.eyes {
            seen.read(host.name(), &running.so_far().stdout);
        }
        seen
    }

    /// Waits until what was seen so far satisfies `there`; what it is waited for is for the message.
    ///
    /// # Errors
    /// When it does not within `limit`.
    pub fn until(
        &self,
        what: &str,
        limit: Duration,
        mut there: impl FnMut(&Seen) -> bool,
    ) -> Result<(), LabError> {
        let began = Instant::now();
        while !there(&self.so_far()) {
            if began.elapsed() > limit {
                let last = format!("{:?}", self.so_far().samples_at_the_end());
                return Err(LabError::Timeout { what: what.to_owned(), after: limit, last });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Waits for three more beats of the guest's heart, wherever it runs: it is alive.
    ///
    /// # Errors
    /// When they are not heard within a minute.
    pub fn hears(&self, domain: &Domain) -> Result<(), LabError> {
        let beats = |seen: &Seen| seen.lives(domain).last().map(|life| (life.drawn.clone(), life.beats));
        let before = beats(&self.so_far());
        let after = |now: &Option<(String, u64)>| match (now, &before) {
            (Some((life, beats)), Some((old, known))) => life != old && *beats > 2 || *beats > known + 2,
            (Some((_, beats)), None) => *beats > 2,
            (None, _) => false,
        };
        self.until(&format!("heartbeats of {}", domain.name()), FIRST, |seen| after(&beats(seen)))
    }

    /// Ends the watch.
    ///
    /// # Errors
    /// When it has ended by itself on a host that is on: it saw not everything then.
    pub fn end(self) -> Result<Seen, LabError> {
        let seen = self.so_far();
        let mut done: Vec<&str> = Vec::new();
        // The last watch of each host first: a host that was powered on again does not know the one before.
        for (host, running) in self.eyes.into_iter().rev() {
            if !host.is_on() || done.contains(&host.name()) {
                continue;
            }
            done.push(host.name());
            if let Some(ran) = running.ended()? {
                return Err(LabError::Command(format!("the watch has ended by itself: {ran:?}")));
            }
            running.stop()?;
        }
        Ok(seen)
    }
}
