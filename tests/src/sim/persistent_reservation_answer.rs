//! What the simulated disk of [`super::persistent_reservation`] answers: SAM-5 status, and sense data after SPC-4 4.5.

use super::persistent_reservation::Answer;

pub(super) const GOOD: u8 = 0x00;
pub(super) const CHECK: u8 = 0x02;
pub(super) const BUSY: u8 = 0x08;
pub(super) const CONFLICT: u8 = 0x18;

pub(super) fn answer(status: u8) -> Answer {
    Answer { status, ..Answer::default() }
}

/// CHECK CONDITION with fixed format sense data.
pub(super) fn check(key: u8, code: u8, qualifier: u8) -> Answer {
    let mut sense = vec![0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, code, qualifier];
    sense.resize(18, 0);
    Answer { status: CHECK, sense, data: Vec::new() }
}

pub(super) const INVALID_OPCODE: (u8, u8, u8) = (5, 0x20, 0);
pub(super) const INVALID_CDB: (u8, u8, u8) = (5, 0x24, 0);
pub(super) const INVALID_LIST: (u8, u8, u8) = (5, 0x26, 0);
pub(super) const INVALID_RELEASE: (u8, u8, u8) = (5, 0x26, 4);
pub(super) const LIST_LENGTH: (u8, u8, u8) = (5, 0x1a, 0);
pub(super) const NO_ROOM: (u8, u8, u8) = (5, 0x55, 4);
/// Unit attentions: code and qualifier.
pub(super) const POWER_ON: (u8, u8) = (0x29, 0x01);
pub(super) const NEXUS_LOST: (u8, u8) = (0x29, 0x07);
pub(super) const RESERVATIONS_PREEMPTED: (u8, u8) = (0x2a, 0x03);
pub(super) const RESERVATIONS_RELEASED: (u8, u8) = (0x2a, 0x04);
pub(super) const REGISTRATIONS_PREEMPTED: (u8, u8) = (0x2a, 0x05);

pub(super) fn failed(what: (u8, u8, u8)) -> Answer {
    check(what.0, what.1, what.2)
}
