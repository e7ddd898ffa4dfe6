//! The end of a conversation: whatever it may have left open at the BMC is closed, within a bound.
//!
//! A BMC has between four and sixty-four session slots and frees a forgotten one after a minute. A fence agent that leaves them behind
//! locks the BMC for everybody, itself included.

use std::time::{Duration, Instant};

use super::message;
use super::session::{Active, Session, question};
use super::session15::Active15;
use super::session20;
use super::transport::{Exchange, Patience};

/// What closing may take beyond the deadline: the caller was promised an end, and the BMC a free slot.
const CLOSING: Duration = Duration::from_millis(250);
/// What closing may take after a signal: the process is ended by force three seconds after it.
const CLOSING_SOON: Duration = Duration::from_secs(2);
/// Where packets were lost: how long late answers are awaited before closing.
const LISTENING: Duration = Duration::from_millis(40);
/// Datagrams to close a session; half as many for one that was given up and is mostly forgotten by the BMC too.
const CLOSE_SENDS: u32 = 6;
/// Between two datagrams that close a session which the BMC has mostly forgotten.
const CLOSE_FORGOTTEN: Duration = Duration::from_millis(150);
/// Rounds of closing: what is heard of during one is closed in the next.
const ROUNDS: u32 = 3;
/// Datagrams at the very end, for each session of which the BMC has not said that it is closed.
const LAST_SENDS: u8 = 3;

impl Session {
    /// Closes what is open and what may be open. Bounded by the deadline plus [`CLOSING`], and never by less than [`CLOSING`].
    pub(super) fn finish(&mut self) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let now = Instant::now();
        // a caller that was asked to end does not wait for the whole deadline, but for the closing it does
        let interrupted = (self.link.interrupted)();
        self.link.interrupted = || false;
        let hard = if interrupted { now + CLOSING_SOON } else { self.target.deadline.max(now) + CLOSING };
        if self.link.traffic.retransmissions > 0 {
            // an answer that is late may name a session that nobody else knows of
            self.link.pause(now + (self.target.packet_timeout / 8).min(LISTENING));
        }
        let mut seen = Vec::new();
        self.adopt_strays(&mut seen);
        // one datagram each before the closing, which takes its time where packets are lost, and more after it
        let open =
            |id: &[u8; 4]| self.active.iter().chain(&self.abandoned).any(|s| s.id().to_le_bytes() == *id);
        let half_open: Vec<_> = self.link.heard.iter().filter(|id| !open(id)).copied().collect();
        for id in half_open {
            session20::abort(&mut self.link, id, 0);
        }
        let mut unconfirmed = Vec::new();
        for _ in 0..ROUNDS {
            // the one that surely exists first
            let active = self.active.take().map(|session| (CLOSE_SENDS, session));
            let abandoned = std::mem::take(&mut self.abandoned);
            if active.is_none() && abandoned.is_empty() {
                break;
            }
            let abandoned = abandoned.into_iter().map(|session| (CLOSE_SENDS / 2, session));
            for (sends, mut session) in active.into_iter().chain(abandoned) {
                if !self.close_one(&mut session, sends, hard) {
                    unconfirmed.push(session);
                }
            }
            // the answer to a doubled request may have come in the meantime
            self.adopt_strays(&mut seen);
        }
        self.last_word(&mut unconfirmed);
    }

    /// IPMI 1.5: each activation that arrived twice may have activated a session of its own (QUIRK: `ipmi_sim` 2.0.33).
    fn adopt_strays(&mut self, seen: &mut Vec<u32>) {
        let Some((auth, signed)) = self.auth15 else { return };
        seen.extend(self.active.iter().chain(&self.abandoned).map(Active::id));
        for (id, first) in std::mem::take(&mut self.link.activated) {
            if !seen.contains(&id) {
                seen.push(id);
                let mut session = Active15::new(auth, &self.target.password, id, signed);
                session.activate(id, first.max(1));
                self.abandoned.push(Active::V15(session));
            }
        }
    }

    /// Whether the BMC has confirmed it.
    fn close_one(&mut self, session: &mut Active, sends: u32, hard: Instant) -> bool {
        // evenly spread over what time there is: a few copies get through where one is lost
        let left = hard.saturating_duration_since(Instant::now());
        let mut every = (self.target.packet_timeout / 4).min(left / sends);
        if sends < CLOSE_SENDS {
            every = every.min(CLOSE_FORGOTTEN);
        }
        let patience = Patience { sends, until: hard, every: Some(every), waiting_for: "close session" };
        let id = session.id().to_le_bytes();
        let sequence = self.next_sequence();
        // any completion code will do: 87h says that it was closed already
        let mut close = question(session, sequence, message::CLOSE_SESSION, &id, None);
        let closed = self.link.exchange(&mut close, patience).is_ok();
        if closed {
            self.link.heard.retain(|heard| *heard != id);
        }
        closed
    }

    /// For which nobody waits: each datagram may be the one that gets through.
    fn last_word(&mut self, unconfirmed: &mut [Active]) {
        let heard = std::mem::take(&mut self.link.heard);
        for tag in 0..LAST_SENDS {
            for session in &mut *unconfirmed {
                let id = session.id().to_le_bytes();
                let close = question(session, self.sequence, message::CLOSE_SESSION, &id, None).datagram(0);
                if let Ok(datagram) = close {
                    self.link.tell(&datagram);
                }
            }
            // handshakes that never came to their end, some the work of a doubled request
            for id in &heard {
                session20::abort(&mut self.link, *id, tag);
            }
        }
    }
}
