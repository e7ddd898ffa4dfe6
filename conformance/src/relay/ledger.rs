//! Who is to blame for a session that is still open at a BMC: the subject, or the path it had to use.
//!
//! **The BMC could be reached** for a session when the subject had learnt the session's id, and the path let through a datagram of
//! that session in the subject's closing window: the subject's last [`CLOSING_TRIES`] datagrams for the session, or all that it
//! sent for it when it sent fewer. A subject that stops before it has tried that often has not used its chance, whatever the path did.

use std::time::{Duration, Instant};

use super::udp::Passage;

/// Datagrams for a session that must have been lost in a row before its being left open is the path's doing.
pub const CLOSING_TRIES: usize = 3;

/// What the subject learns in its last moments it cannot act upon.
const TO_ACT: Duration = Duration::from_millis(20);

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?)).filter(|id| *id != 0)
}

/// The session that a datagram to the device is for: in its header, or in RAKP 1 and 3 behind tag, status and two reserved bytes.
fn meant(p: &Passage) -> Option<u32> {
    match p.bytes.as_slice() {
        [6, _, _, 7, 6, 0x12 | 0x14, ..] => word(&p.bytes, 20),
        [6, _, _, 7, 6, ..] => word(&p.bytes, 6),
        [6, _, _, 7, ..] => word(&p.bytes, 9),
        _ => None,
    }
    .filter(|_| p.to_device)
}

/// The session that a datagram of the device gives out: RMCP+ open session responses with status 0, and v1.5 activations.
fn given(p: &Passage) -> Option<u32> {
    match p.bytes.as_slice() {
        // header 16: tag, status, privilege, reserved, console id, then the id
        [6, _, _, 7, 6, 0x11, ..] if p.bytes.get(17) == Some(&0) => word(&p.bytes, 24),
        // header 14 or 30 with a code; addresses 3, responder, sequence, command 3Ah, code 0, authentication type, id
        [6, _, _, 7, auth, ..] => {
            let at = if *auth == 0 { 14 } else { 30 };
            (p.bytes.get(at + 5..at + 7) == Some(&[0x3A, 0])).then(|| word(&p.bytes, at + 8)).flatten()
        }
        _ => None,
    }
    .filter(|_| !p.to_device)
}

/// Whether the session `id` that stayed open when the subject ended at `end` is the path's doing.
///
/// The id is in the clear in the header of each packet of a session and in the answer that first names it (RMCP+ open session
/// response, v1.5 activation).
pub fn path_is_to_blame(passages: &[Passage], id: u32, end: Instant) -> bool {
    let in_time = end.checked_sub(TO_ACT).unwrap_or(end);
    let learnt = passages.iter().any(|p| given(p) == Some(id) && p.arrived(in_time));
    // a handshake is ended by RAKP 3 with a fault, an active session is not
    let active = was_activated(passages, id);
    let abort = |p: &Passage| p.bytes.get(4..6) == Some(&[6, 0x14]) && p.bytes.get(17) != Some(&0);
    let sent = || passages.iter().rev().filter(|p| meant(p) == Some(id) && !(active && abort(p)));
    let in_vain = sent().take_while(|p| !p.intact || p.delivered.is_none()).count();
    !learnt || in_vain >= CLOSING_TRIES
}

/// Whether the device may count `id` as an active session: RAKP 3 arrived, or it is of IPMI 1.5. Otherwise it is a handshake that
/// was begun.
pub fn was_activated(passages: &[Passage], id: u32) -> bool {
    passages.iter().any(|p| match p.bytes.get(4..6) {
        Some([6, 0x14]) => {
            meant(p) == Some(id) && p.bytes.get(17) == Some(&0) && p.intact && p.delivered.is_some()
        }
        Some([6, _]) | None => false,
        Some(_) => given(p) == Some(id),
    })
}

/// All session ids that the device has given out on this path.
pub fn ids_given(passages: &[Passage]) -> Vec<u32> {
    let mut ids: Vec<u32> = passages.iter().filter_map(given).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(to_device: bool, intact: bool) -> Passage {
        let at = Instant::now();
        let mut bytes = vec![6, 0, 0xFF, 7, 6, if to_device { 0x14 } else { 0x11 }];
        bytes.resize(30, 0);
        let place = if to_device { 20 } else { 24 };
        bytes[place..place + 4].copy_from_slice(&[4, 3, 2, 1]);
        bytes[17] = u8::from(to_device) * 0x0F;
        Passage { at, to_device, bytes, intact, delivered: Some(at) }
    }

    #[test]
    fn blame() {
        let blamed = |passages: &[Passage]| path_is_to_blame(passages, 0x0102_0304, Instant::now() + TO_ACT);
        let before = Instant::now();
        let learnt = passage(false, true);
        let lost = passage(true, false);
        let swallowed = Passage { delivered: None, ..passage(true, true) };
        // never heard of it, or only after its end
        assert!(blamed(&[passage(false, false), lost.clone()]));
        assert!(path_is_to_blame(std::slice::from_ref(&learnt), 0x0102_0304, before));
        // tried often enough, and tried too little
        let came = passage(true, true);
        assert!(blamed(&[learnt.clone(), came.clone(), lost.clone(), swallowed, lost.clone()]));
        assert!(!blamed(&[learnt.clone(), came.clone(), lost.clone(), lost.clone()]));
        // the last one arrived, and it is open all the same
        assert!(!blamed(&[learnt, lost.clone(), lost.clone(), lost, came]));
    }
}
