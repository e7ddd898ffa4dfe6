//! IPMI messages: addresses, network function, checksums, and which answer belongs to which request.
//!
//! IPMI v2.0 rev 1.1 section 13.8 (LAN messages) and the IPMB form of section 7.3 for what is bridged.

use super::rmcp::take;

/// The BMC's slave address.
pub(super) const BMC: u8 = 0x20;
/// The software id of a remote console.
pub(super) const CONSOLE: u8 = 0x81;
/// A message's own length: addresses, checksums, command.
const RESPONSE_MINIMUM: usize = 8;

/// A command, without addresses: `(network function, command)` and its name for messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Command {
    pub net_fn: u8,
    pub number: u8,
    pub name: &'static str,
}

const APP: u8 = 0x06;
const CHASSIS: u8 = 0x00;
pub(super) const AUTH_CAPABILITIES: Command =
    Command { net_fn: APP, number: 0x38, name: "get channel authentication capabilities" };
pub(super) const SESSION_CHALLENGE: Command =
    Command { net_fn: APP, number: 0x39, name: "get session challenge" };
pub(super) const ACTIVATE_SESSION: Command = Command { net_fn: APP, number: 0x3A, name: "activate session" };
pub(super) const SET_PRIVILEGE: Command =
    Command { net_fn: APP, number: 0x3B, name: "set session privilege level" };
pub(super) const CLOSE_SESSION: Command = Command { net_fn: APP, number: 0x3C, name: "close session" };
pub(super) const SEND_MESSAGE: Command =
    Command { net_fn: APP, number: 0x34, name: "send message (bridging)" };
pub(super) const CHASSIS_STATUS: Command =
    Command { net_fn: CHASSIS, number: 0x01, name: "get chassis status" };
pub(super) const CHASSIS_CONTROL: Command =
    Command { net_fn: CHASSIS, number: 0x02, name: "chassis control" };

/// A request as it stands in a packet.
#[derive(Clone)]
pub(super) struct Request {
    /// Responder's slave address.
    pub responder: u8,
    /// Requester's address or software id.
    pub requester: u8,
    /// 0 to 63.
    pub sequence: u8,
    pub command: Command,
    pub data: Vec<u8>,
}

/// An answer with right checksums.
#[derive(Debug)]
pub(super) struct Response<'a> {
    pub net_fn: u8,
    pub responder: u8,
    pub sequence: u8,
    pub command: u8,
    pub code: u8,
    pub data: &'a [u8],
}

/// The two's complement of the sum.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte))
}

impl Request {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut head = vec![self.responder, self.command.net_fn << 2];
        head.push(checksum(&head));
        let mut body = vec![self.requester, self.sequence << 2, self.command.number];
        body.extend(&self.data);
        body.push(checksum(&body));
        head.extend(body);
        head
    }

    /// Whether `response` answers this request and no other: network function, command, sequence and logical unit all fit.
    pub(super) fn is_answered_by(&self, response: &Response<'_>) -> bool {
        response.net_fn == self.command.net_fn + 1
            && response.command == self.command.number
            && response.sequence == self.sequence
            && response.responder == self.responder
    }
}

pub(super) fn decode(message: &[u8]) -> Option<Response<'_>> {
    if message.len() < RESPONSE_MINIMUM {
        return None;
    }
    let (head, body) = message.split_at_checked(3)?;
    // a sum that includes its own checksum is zero
    if checksum(head) != 0 || checksum(body) != 0 {
        return None;
    }
    let ([_requester, net_fn, _], _) = take::<3>(head)?;
    let ([responder, sequence, command, code], rest) = take::<4>(body)?;
    let (_, data) = rest.split_last()?;
    // logical unit 0 on both sides: we never use another
    if net_fn & 3 != 0 || sequence & 3 != 0 {
        return None;
    }
    Some(Response { net_fn: net_fn >> 2, responder, sequence: sequence >> 2, command, code, data })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(to: &Request, code: u8, data: &[u8]) -> Vec<u8> {
        let mut head = vec![to.requester, (to.command.net_fn + 1) << 2];
        head.push(checksum(&head));
        let mut body = vec![to.responder, to.sequence << 2, to.command.number, code];
        body.extend(data);
        body.push(checksum(&body));
        head.extend(body);
        head
    }

    fn request(sequence: u8) -> Request {
        Request { responder: BMC, requester: CONSOLE, sequence, command: CHASSIS_STATUS, data: vec![] }
    }

    #[test]
    fn request_bytes_of_the_standard_example() {
        let ask = Request { command: AUTH_CAPABILITIES, data: vec![0x8E, 0x04], ..request(0) };
        assert_eq!(ask.encode(), [0x20, 0x18, 0xC8, 0x81, 0x00, 0x38, 0x8E, 0x04, 0xB5]);
    }

    #[test]
    fn only_the_exact_answer_matches() {
        let ask = request(5);
        let bytes = answer(&ask, 0, &[1, 2]);
        let response = decode(&bytes).unwrap();
        assert!(ask.is_answered_by(&response));
        assert_eq!(response.data, [1, 2]);
        assert!(!request(6).is_answered_by(&response));
        assert!(!Request { command: CHASSIS_CONTROL, ..ask.clone() }.is_answered_by(&response));
        assert!(!Request { responder: 0x30, ..ask }.is_answered_by(&response));
    }

    proptest! {
        #[test]
        fn a_changed_byte_is_refused(at in 0_usize..10, flip in 1_u8..) {
            let mut bytes = answer(&request(5), 0, &[1, 2]);
            bytes[at] ^= flip;
            prop_assert!(decode(&bytes).is_none());
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&bytes);
        }
    }
}
