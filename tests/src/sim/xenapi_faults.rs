//! What may go wrong between a pool and its client, by a seed.

use std::fmt;

use ringfence_conformance::relay::SplitMix64;

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The connection ends before the request is looked at.
    CutBefore,
    /// It is carried out, and the connection ends without an answer.
    CutAfter,
    /// It is carried out, and nothing is ever said about it.
    Stall,
    /// It is carried out, and half of the answer comes.
    Half,
    /// One bit of the answer is wrong; so many hundredths of its length stand before.
    Garble(u64),
    /// It is not carried out: a page that says so in HTML.
    Page,
    /// The answer comes so many milliseconds late.
    Late(u64),
    /// The session is gone.
    SessionGone,
    /// It is refused with one of xapi's errors.
    Refused(&'static str),
    /// Another host becomes master before it is looked at.
    MasterMoves,
    /// What it begins never ends.
    Sticks,
    /// What it begins is called a success and changes nothing.
    Lies,
    /// The host on which the machines run dies before it is looked at.
    HostDies,
}

/// The fates of all requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    seed: u64,
    /// How many requests in a hundred meet one.
    percent: u64,
}

impl Faults {
    /// Some schedules have one fault now and then, some nothing else.
    pub fn draw(seed: u64) -> Self {
        let percent = match SplitMix64::new(seed ^ 0xFA7E).below(10) {
            0 => 0,
            1..6 => 12,
            6..9 => 35,
            _ => 80,
        };
        Self { seed, percent }
    }

    /// Of the n-th request, counted from 0.
    pub fn fate(&self, request: usize) -> Option<Fate> {
        let number = u64::try_from(request).unwrap_or(u64::MAX);
        let mut random = SplitMix64::new(self.seed ^ number.wrapping_mul(0xD1B5_4A32_D192_ED03));
        if !random.chance(self.percent) {
            return None;
        }
        Some(match random.below(16) {
            0 => Fate::CutBefore,
            1 | 2 => Fate::CutAfter,
            3 => Fate::Stall,
            4 => Fate::Half,
            5 | 6 => Fate::Garble(random.below(100)),
            7 => Fate::Page,
            8 => Fate::Late(random.below(1500)),
            9 => Fate::SessionGone,
            10 => Fate::Refused("INTERNAL_ERROR"),
            11 => Fate::Refused("OTHER_OPERATION_IN_PROGRESS"),
            12 => Fate::MasterMoves,
            13 => Fate::Sticks,
            14 => Fate::Lies,
            _ => Fate::HostDies,
        })
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told: Vec<String> =
            (0..24).filter_map(|n| self.fate(n).map(|fate| format!("{n} {fate:?}"))).collect();
        write!(f, "request {}", told.join("; "))
    }
}
