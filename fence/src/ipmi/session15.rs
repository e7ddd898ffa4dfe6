//! IPMI 1.5 sessions: challenge, activation, and a code on each message.
//!
//! IPMI v2.0 rev 1.1 sections 6.12 and 22.15 to 22.18. These sessions are not encrypted, and `md5` is the only authentication that
//! proves anything; they exist for BMCs that speak nothing better.
//!
//! MD2 is not offered: no BMC is known that has it and not MD5.

use md5::{Digest, Md5};
use zeroize::Zeroizing;

use super::error::Error;
use super::message::{self, Request};
use super::rmcp::{self, Packet};
use super::transport::Exchange;

/// How far behind the newest number an answer may be (6.12.9).
const WINDOW: u32 = 8;

/// IPMI 1.5 authentication.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Auth {
    /// Keyed digest.
    Md5,
    /// The password itself in each packet.
    Password,
    /// Nothing.
    None,
}

impl Auth {
    /// The authentication type of the session header.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Md5 => 2,
            Self::Password => 4,
        }
    }

    /// Best first.
    pub(super) const ALL: [Self; 3] = [Self::Md5, Self::Password, Self::None];
}

/// A session from the challenge on.
pub(super) struct Active15 {
    auth: Auth,
    password: Zeroizing<[u8; 16]>,
    pub id: u32,
    /// The number of our next packet; 0 until the session is active.
    next: u32,
    newest: Option<u32>,
    seen: u32,
    active: bool,
    /// The BMC signs its packets. Otherwise (capability bit "per-message authentication disabled", 6.11.4) they have type none.
    signed: bool,
}

impl Active15 {
    pub(super) fn new(auth: Auth, password: &[u8], temporary_id: u32, signed: bool) -> Self {
        let mut padded = Zeroizing::new([0; 16]);
        for (to, from) in padded.iter_mut().zip(password) {
            *to = *from;
        }
        Self {
            auth,
            password: padded,
            id: temporary_id,
            next: 0,
            newest: None,
            seen: 0,
            active: false,
            signed,
        }
    }

    /// The session was activated: its lasting id and the first number to send.
    pub(super) fn activate(&mut self, id: u32, first: u32) {
        self.id = id;
        self.next = first;
        self.active = true;
        // QUIRK(ipmi_sim 2.0.33): the first packet of the session has the number that the answer to the activation already had, so
        // the count begins anew: what was numbered before is no packet of this session
        self.newest = None;
        self.seen = 0;
    }

    /// The code of one packet (22.17.1): the password, or MD5 over password, session id, message, number, password.
    fn code(&self, id: u32, sequence: u32, message: &[u8]) -> Option<[u8; 16]> {
        match self.auth {
            Auth::None => None,
            Auth::Password => Some(*self.password),
            Auth::Md5 => {
                let mut md5 = Md5::new();
                md5.update(*self.password);
                md5.update(id.to_le_bytes());
                md5.update(message);
                md5.update(sequence.to_le_bytes());
                md5.update(*self.password);
                Some(md5.finalize().into())
            }
        }
    }

    pub(super) fn wrap(&mut self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let sequence = self.next;
        if self.active {
            self.next = self.next.wrapping_add(1).max(1);
        }
        let code = self.code(self.id, sequence, message);
        rmcp::build_v15(self.auth.number(), sequence, self.id, code.as_ref(), message)
            .ok_or_else(|| Error::Local("message too long".into()))
    }

    pub(super) fn unwrap(&mut self, datagram: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let Packet::V15(packet) = rmcp::parse(datagram)? else { return None };
        // the answer to the activation may carry the temporary or already the lasting id
        if self.active && packet.session_id != self.id {
            return None;
        }
        match packet.auth_code {
            None if !self.signed || self.auth == Auth::None => {}
            Some(code) if packet.auth_type == self.auth.number() => {
                if self.code(packet.session_id, packet.sequence, packet.payload) != Some(code) {
                    return None;
                }
            }
            None | Some(_) => return None,
        }
        // 0 is what BMCs send that do not number (authentication none): there the message's own sequence must do
        if packet.sequence != 0 && !self.take_number(packet.sequence) {
            return None;
        }
        Some(Zeroizing::new(packet.payload.to_vec()))
    }

    /// Whether the number is new; notes it when it is.
    fn take_number(&mut self, number: u32) -> bool {
        let newest = *self.newest.get_or_insert(number.wrapping_sub(1));
        // numbers start anywhere and wrap: distance, not size
        let ahead = number.wrapping_sub(newest);
        if ahead != 0 && ahead < 1 << 31 {
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.newest = Some(number);
            return true;
        }
        let behind = newest.wrapping_sub(number);
        if behind >= WINDOW || self.seen & (1 << behind) != 0 {
            return false;
        }
        self.seen |= 1 << behind;
        true
    }
}

/// Id and first number of a session that this datagram says was activated (22.17). Not proven: good for closing it only.
pub(super) fn activated(datagram: &[u8]) -> Option<(u32, u32)> {
    let Packet::V15(packet) = rmcp::parse(datagram)? else { return None };
    let response = message::decode(packet.payload)?;
    let command = message::ACTIVATE_SESSION;
    if (response.net_fn, response.command, response.code) != (command.net_fn + 1, command.number, 0) {
        return None;
    }
    let ([_auth], rest) = rmcp::take::<1>(response.data)?;
    let (id, rest) = rmcp::take::<4>(rest)?;
    let (first, _) = rmcp::take::<4>(rest)?;
    Some((u32::from_le_bytes(id), u32::from_le_bytes(first)))
}

/// A message outside any session: capabilities and challenge.
pub(super) struct Sessionless<F: FnMut(u32) -> Request> {
    pub request: F,
    pub asked: Option<Request>,
}

impl<F: FnMut(u32) -> Request> Exchange for Sessionless<F> {
    /// Completion code and data.
    type Answer = (u8, Vec<u8>);

    fn datagram(&mut self, attempt: u32) -> Result<Vec<u8>, Error> {
        let request = (self.request)(attempt);
        let packet = rmcp::build_v15(0, 0, 0, None, &request.encode())
            .ok_or_else(|| Error::Local("message too long".into()))?;
        self.asked = Some(request);
        Ok(packet)
    }

    fn answer(&mut self, datagram: &[u8]) -> Option<Self::Answer> {
        let Packet::V15(packet) = rmcp::parse(datagram)? else { return None };
        if packet.session_id != 0 || packet.auth_type != 0 {
            return None;
        }
        let response = super::message::decode(packet.payload)?;
        self.asked.as_ref()?.is_answered_by(&response).then(|| (response.code, response.data.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pair(auth: Auth) -> (Active15, Active15) {
        let make = || {
            let mut session = Active15::new(auth, b"secret", 7, true);
            session.activate(9, 100);
            session
        };
        (make(), make())
    }

    #[test]
    fn a_packet_is_taken_once() {
        for auth in Auth::ALL {
            let (mut us, mut them) = pair(auth);
            let first = them.wrap(b"one").unwrap();
            let second = them.wrap(b"two").unwrap();
            assert_eq!(us.unwrap(&second).unwrap().as_slice(), b"two");
            assert!(us.unwrap(&first).is_none() || us.unwrap(&first).is_none());
            assert!(us.unwrap(&second).is_none());
        }
    }

    #[test]
    fn the_number_of_the_activation_is_free_again() {
        let mut us = Active15::new(Auth::Md5, b"secret", 7, true);
        let mut them = Active15::new(Auth::Md5, b"secret", 7, true);
        them.active = true;
        them.next = 100;
        assert!(us.unwrap(&them.wrap(b"activated").unwrap()).is_some());
        us.activate(7, 1);
        them.next = 100;
        let first = them.wrap(b"first").unwrap();
        assert!(us.unwrap(&first).is_some());
        assert!(us.unwrap(&first).is_none());
    }

    #[test]
    fn numbers_may_wrap() {
        let (mut us, _) = pair(Auth::None);
        for number in [u32::MAX - 1, u32::MAX, 1, 2] {
            assert!(us.take_number(number), "{number}");
            assert!(!us.take_number(number), "{number}");
        }
        assert!(!us.take_number(u32::MAX - 20));
    }

    #[test]
    fn another_password_or_type_is_dropped() {
        let (mut us, _) = pair(Auth::Md5);
        let mut them = Active15::new(Auth::Md5, b"other", 7, true);
        them.activate(9, 100);
        assert!(us.unwrap(&them.wrap(b"x").unwrap()).is_none());
        let (_, mut straight) = pair(Auth::Password);
        assert!(us.unwrap(&straight.wrap(b"x").unwrap()).is_none());
    }

    proptest! {
        #[test]
        fn a_changed_packet_is_dropped(at in 5_usize..40, flip in 1_u8..) {
            let (mut us, mut them) = pair(Auth::Md5);
            let mut packet = them.wrap(&[7; 10]).unwrap();
            prop_assert_eq!(packet.len(), 40);
            packet[at] ^= flip;
            prop_assert!(us.unwrap(&packet).is_none());
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let (mut us, _) = pair(Auth::None);
            let mut framed = vec![6, 0, 0xFF, 7];
            framed.extend(&bytes);
            let _ = us.unwrap(&framed);
        }
    }
}
