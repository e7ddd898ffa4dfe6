//! Changing power and believing only what the device says afterwards.

use super::call::{Call, LONGEST_WAIT};
use super::device::{Plug, Power, PowerDevice, Wanted};
use super::error::{ErrorKind, FenceError};
use crate::deadline::Clock;
use std::time::Duration;

/// The shortest pause between two queries, also for `stonith_status_sleep=0`.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// How long a request that the device refused may still turn out as fulfilled (somebody else's request
/// was under way). Not the whole of `power_timeout`: the refusal must be told before the caller kills us.
const AFTER_REFUSAL: Duration = Duration::from_secs(5);

/// How often a long wait is mentioned.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// `power_timeout` where it is unlimited but the wait must end: seconds.
const USUAL_POWER_TIMEOUT: Duration = Duration::from_secs(20);

/// All plugs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    AllOn,
    AllOff,
    Mixed,
}

impl Whole {
    fn of(states: &[Power]) -> Self {
        if states.iter().all(|s| *s == Power::On) {
            Self::AllOn
        } else if states.iter().all(|s| *s == Power::Off) {
            Self::AllOff
        } else {
            Self::Mixed
        }
    }

    fn is(self, wanted: Wanted) -> bool {
        match wanted {
            Wanted::On => self == Self::AllOn,
            Wanted::Off => self == Self::AllOff,
        }
    }
}

/// A device in the hands of one call.
pub struct Switch<'a, D> {
    pub device: D,
    pub call: &'a Call,
    pub clock: &'a dyn Clock,
}

impl<D: PowerDevice> Switch<'_, D> {
    /// An error when a signal came: every loop asks here.
    pub fn not_interrupted(&self) -> Result<(), FenceError> {
        if self.call.interrupted() {
            return Err(FenceError::interrupted());
        }
        Ok(())
    }

    fn status(&mut self, plug: &Plug) -> Result<Power, FenceError> {
        self.not_interrupted()?;
        match self.device.status(plug) {
            Err(e) if e.kind() == ErrorKind::UnknownPlug && self.call.flag("missing_as_off") => {
                Ok(Power::Off)
            }
            Err(e) => Err(naming(plug, &e)),
            Ok(power) => {
                self.call.log().debug(format!("{} is {power}", plug.in_words()));
                Ok(power)
            }
        }
    }

    /// The state of every plug; an unknown one is an error that names it.
    pub fn states(&mut self) -> Result<Vec<Power>, FenceError> {
        let call = self.call;
        if call.plugs().is_empty() {
            // "All of none are off" would be a success that nobody observed.
            return Err(FenceError::usage("You have to enter plug number or machine identification"));
        }
        let mut states = Vec::with_capacity(call.plugs().len());
        for plug in call.plugs() {
            match self.status(plug)? {
                Power::Unknown => {
                    return Err(FenceError::protocol(format!(
                        "Unable to obtain correct plug status or plug is not available: the device does not \
                         say whether {} is on or off",
                        plug.in_words()
                    )));
                }
                power @ (Power::On | Power::Off | Power::Transitional) => states.push(power),
            }
        }
        Ok(states)
    }

    pub fn whole(&mut self) -> Result<Whole, FenceError> {
        self.states().map(|states| Whole::of(&states))
    }

    /// Requests `wanted` of every plug that is not so according to `known` (of all without `known`), and
    /// waits until the device reports all plugs so. `Ok` means: it said so after the request.
    pub fn reach(&mut self, wanted: Wanted, known: Option<&[Power]>) -> Result<(), FenceError> {
        let call = self.call;
        let mut refusal: Option<FenceError> = None;
        for (at, plug) in call.plugs().iter().enumerate() {
            if known.and_then(|k| k.get(at)) == Some(&wanted.power()) {
                continue;
            }
            self.not_interrupted()?;
            call.log().debug(format!("asking for {wanted} of {}", plug.in_words()));
            if let Err(e) = self.device.set(plug, wanted) {
                let e = naming(plug, &e);
                if e.is_final() {
                    return Err(e);
                }
                // The request may have had its effect all the same: the device will tell.
                call.log().warning(format!("request for {wanted}: {e}"));
                refusal.get_or_insert(e);
            }
        }
        self.wait_for(wanted, refusal)
    }

    fn wait_for(&mut self, wanted: Wanted, refusal: Option<FenceError>) -> Result<(), FenceError> {
        let sent = self.clock.now();
        let limit = Limit::new(self.call, refusal.as_ref());
        let mut pause = self.first_pause();
        let mut polls = 0;
        let mut tell_at = TELL_EVERY;
        loop {
            let answer = self.whole();
            if answer.as_ref().is_ok_and(|whole| whole.is(wanted)) {
                return Ok(());
            }
            let trouble = match answer {
                Err(e) if e.is_final() => return Err(e),
                Err(e) => {
                    self.call.log().debug(format!("while waiting: {e}"));
                    Some(e)
                }
                Ok(_) => None,
            };
            polls += 1;
            let elapsed = self.clock.now().saturating_duration_since(sent);
            if elapsed >= tell_at {
                // The caller may kill us at its own limit: by then it has read what we wait for.
                let seen = trouble.as_ref().map_or("not yet so", |e| e.cause());
                let text = format!("{} s after the request for {wanted}: {seen}", elapsed.as_secs());
                self.call.log().warning(text);
                tell_at += TELL_EVERY;
            }
            if limit.is_reached(polls, elapsed) {
                return Err(match (refusal, trouble) {
                    (Some(refusal), _) => refusal,
                    (None, Some(trouble)) => not_reached(wanted).hint(trouble.cause()),
                    (None, None) => not_reached(wanted),
                });
            }
            self.clock.sleep(pause);
            pause = self.next_pause(pause);
        }
    }

    /// Powers on, with `retry_on` further attempts.
    pub fn power_on(&mut self, known: Option<&[Power]>) -> Result<(), FenceError> {
        let mut result = self.reach(Wanted::On, known);
        for _ in 0..self.call.timing().retry_on {
            match &result {
                Ok(()) => break,
                Err(e) if e.is_final() => break,
                Err(e) => self.call.log().info(format!("{e}; trying again")),
            }
            result = self.reach(Wanted::On, None);
        }
        result
    }

    /// The device's own power cycle of every plug.
    ///
    /// Success is a node that was seen off after the request. A node that is off already is powered on.
    pub fn cycle(&mut self, known: &[Power]) -> Result<(), FenceError> {
        let call = self.call;
        for (at, plug) in call.plugs().iter().enumerate() {
            if known.get(at) != Some(&Power::Off) {
                self.cycle_plug(plug)?;
            }
        }
        Ok(())
    }

    fn cycle_plug(&mut self, plug: &Plug) -> Result<(), FenceError> {
        let mut last = None;
        for _ in 0..=self.call.timing().retry_on {
            self.not_interrupted()?;
            match self.device.cycle(plug) {
                Ok(()) if self.seen_off(plug)? => return Ok(()),
                // Not asked again: a node that came back in the meantime must not be cut a second time.
                Ok(()) => {
                    let unseen =
                        FenceError::refused("the device took the power cycle, but the node was not seen off");
                    return Err(naming(plug, &unseen.hint("use method=onoff")));
                }
                Err(e) if e.is_final() => return Err(naming(plug, &e)),
                // The device's way of saying that the node went off in between.
                Err(e) if e.kind() == ErrorKind::WrongState => {
                    if self.status(plug)? == Power::Off {
                        return Ok(());
                    }
                    last = Some(naming(plug, &e));
                }
                Err(e) if e.kind() == ErrorKind::Refused => last = Some(naming(plug, &e)),
                // It may have been carried out all the same.
                Err(e) => {
                    self.call.log().warning(format!("request for a power cycle: {e}"));
                    if self.seen_off(plug)? {
                        return Ok(());
                    }
                    last = Some(naming(plug, &e));
                }
            }
        }
        Err(last.unwrap_or_else(|| naming(plug, &FenceError::refused("the device does not cycle power"))))
    }

    /// Watches a plug for the moment in which it is off, at least `power_wait` and at most `power_timeout` longer.
    ///
    /// IPMI's own pause between off and on is a second or more (v2.0 rev 1.1, 28.9 "set power cycle interval").
    fn seen_off(&mut self, plug: &Plug) -> Result<bool, FenceError> {
        let sent = self.clock.now();
        let timing = self.call.timing();
        let limit = timing.power_wait + timing.power.unwrap_or(USUAL_POWER_TIMEOUT);
        loop {
            match self.status(plug) {
                Ok(Power::Off) => return Ok(true),
                Err(e) if e.is_final() => return Err(e),
                Ok(Power::On | Power::Transitional | Power::Unknown) | Err(_) => {}
            }
            if self.clock.now().saturating_duration_since(sent) >= limit {
                return Ok(false);
            }
            self.clock.sleep(SHORTEST_PAUSE);
        }
    }

    /// Waits until the cycled nodes are on; requests it where the device did not do it itself.
    pub fn on_after_cycle(&mut self) -> Result<(), FenceError> {
        match self.wait_for(Wanted::On, None) {
            Err(e) if !e.is_final() => self.power_on(None),
            other => other,
        }
    }

    fn first_pause(&self) -> Duration {
        (self.call.timing().status_sleep / 4).max(SHORTEST_PAUSE)
    }

    fn next_pause(&self, pause: Duration) -> Duration {
        (pause * 2).min(self.call.timing().status_sleep).max(SHORTEST_PAUSE)
    }
}

/// When waiting for a state is over.
struct Limit {
    /// Queries that are made in any case: upstream counts `power_timeout` in queries.
    polls: u64,
    /// `None`: the caller minds the time.
    span: Option<Duration>,
}

impl Limit {
    fn new(call: &Call, refusal: Option<&FenceError>) -> Self {
        let timing = call.timing();
        let power = timing.power.map(|power| power + timing.power_wait);
        match refusal.map(FenceError::kind) {
            None => Self { polls: timing.power.map_or(0, |power| power.as_secs()), span: power },
            Some(ErrorKind::Refused | ErrorKind::WrongState) => {
                Self { polls: 2, span: Some(power.unwrap_or(AFTER_REFUSAL).min(AFTER_REFUSAL)) }
            }
            Some(_) => Self { polls: 2, span: Some(power.unwrap_or(USUAL_POWER_TIMEOUT.max(LONGEST_WAIT))) },
        }
    }

    fn is_reached(&self, polls: u64, waited: Duration) -> bool {
        self.span.is_some_and(|span| waited >= span && polls >= self.polls)
    }
}

fn not_reached(wanted: Wanted) -> FenceError {
    FenceError::not_reached(format!("Timed out waiting to power {wanted}"))
}

/// The same error, saying which plug it is about.
fn naming(plug: &Plug, error: &FenceError) -> FenceError {
    if plug.name().is_empty() || error.cause().contains(plug.name()) {
        return error.clone();
    }
    error.about(&format!("plug '{}'", plug.name()))
}
