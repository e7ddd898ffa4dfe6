//! RMCP+ sessions: open session, RAKP 1 to 4, and the protection of each packet after that.
//!
//! IPMI v2.0 rev 1.1 sections 13.17 to 13.33. Nothing is believed that the keys do not prove: an answer with a wrong code, a
//! number seen before or far behind is dropped, and the caller goes on listening.
//!
//! A retransmitted RAKP 1 makes most BMCs draw a new random number, so only the answer to the **latest** tag can lead to keys that
//! both sides share; each retransmission takes a new tag and older answers are dropped.

use zeroize::Zeroizing;

use super::Privilege;
use super::cipher::{Hash, Keys, Suite, random};
use super::error::Error;
use super::rmcp::{self, Packet, take};
use super::transport::{Exchange, Link, Patience};

/// Look the user up by name alone, not by name and privilege (13.20, bit 4 of the role byte).
const NAME_ONLY_LOOKUP: u8 = 0x10;
/// How far behind the newest number an answer may be (6.12.13).
const WINDOW: u32 = 16;

/// Who asks, and with which key.
pub(super) struct Credentials<'a> {
    pub username: &'a [u8],
    pub password: &'a [u8],
    pub kg: Option<&'a [u8]>,
    pub privilege: Privilege,
}

/// How a handshake ended without a session.
pub(super) enum Failure {
    /// No answer to the open session request: perhaps this suite is dropped silently.
    Silent,
    /// No answer later on, or the BMC forgot the half-open session: try again.
    Lost(&'static str),
    /// The BMC does not want this suite.
    SuiteRefused,
    /// No free slot.
    Busy,
    /// The key did not fit, or the BMC refused. Nothing protects a handshake: one flipped bit or two crossed ones look the same, so
    /// it is believed when it happens twice.
    Doubtful(Error),
    /// A fault on our side: believed at once.
    Fatal(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}

/// One step of the handshake: a tagged payload out, the payload with the same tag back.
struct Step<'a> {
    sends: u8,
    awaits: u8,
    tag: u8,
    console: [u8; 4],
    /// What follows the tag.
    body: &'a [u8],
    /// A new tag for each attempt.
    retag: bool,
}

/// Status and all bytes after the console's session id.
struct Reply {
    status: u8,
    body: Vec<u8>,
}

impl Exchange for Step<'_> {
    type Answer = Reply;

    fn datagram(&mut self, attempt: u32) -> Result<Vec<u8>, Error> {
        if self.retag && attempt > 0 {
            self.tag = self.tag.wrapping_add(1);
        }
        let mut payload = vec![self.tag];
        payload.extend(self.body);
        rmcp::build_setup(self.sends, &payload).ok_or_else(|| Error::Invalid("user name is too long".into()))
    }

    fn answer(&mut self, datagram: &[u8]) -> Option<Reply> {
        let Packet::V20(packet) = rmcp::parse(datagram)? else { return None };
        if packet.payload_type != self.awaits || packet.encrypted || packet.session_id != 0 {
            return None;
        }
        let ([tag, status], rest) = take::<2>(packet.payload)?;
        if tag != self.tag {
            return None;
        }
        if status != 0 {
            // QUIRK(ipmi_sim 2.0.33 and BMCs): errors are cut short, to two bytes even, or hold a foreign console id; the tag is ours alone
            return Some(Reply { status, body: Vec::new() });
        }
        let (_, rest) = take::<2>(rest)?;
        let (id, rest) = take::<4>(rest)?;
        (id == self.console).then(|| Reply { status, body: rest.to_vec() })
    }
}

/// RMCP+ status codes (table 13-15) into what to do about them.
fn refused(status: u8, privilege: Privilege) -> Failure {
    match status {
        0x01 | 0x0B => Failure::Busy,
        // invalid or inactive session: the BMC dropped the half-open one
        0x02 | 0x08 => Failure::Lost("a session"),
        0x04..=0x07 | 0x10 | 0x11 => Failure::SuiteRefused,
        0x09 | 0x0A => Failure::Doubtful(Error::Privilege { asked: privilege, what: "a session" }),
        0x0C..=0x0E => Failure::Doubtful(Error::WrongUser),
        0x0F => Failure::Doubtful(Error::WrongPassword),
        other => Failure::Doubtful(Error::Protocol(format!("rmcp+ status {other:02x}h"))),
    }
}

/// Silence is `Failure`, every other fault of the link is fatal.
fn silent(error: Error, failure: Failure) -> Failure {
    if matches!(error, Error::TimedOut { .. }) { failure } else { Failure::Fatal(error) }
}

/// Opens one session with one suite. `first` bounds the open session request, `rest` each step after it. A session that
/// failed so late that the BMC may count it as open goes into `left`, to be closed.
pub(super) fn handshake(
    link: &mut Link,
    who: &Credentials<'_>,
    suite: Suite,
    first: Patience,
    rest: Patience,
    left: &mut Vec<Active20>,
) -> Result<Active20, Failure> {
    let mut seed = [0; 5];
    random(&mut seed)?;
    let [a, b, c, d, tag] = seed;
    // 0 is "no session"; a random id keeps two runs apart, and answers to an earlier one away
    let console = [a | 1, b, c, d];

    let bmc = open_session(link, who.privilege, suite, console, tag, first)?;

    // RAKP 1 and 2: both sides draw a random number, the BMC proves that it knows the password
    let mut ours = [0; 16];
    random(&mut ours)?;
    let role = who.privilege.number() | NAME_ONLY_LOOKUP;
    let length =
        u8::try_from(who.username.len()).map_err(|_| Error::Invalid("user name is too long".into()))?;
    let mut body = vec![0, 0, 0];
    body.extend(bmc);
    body.extend(ours);
    body.extend([role, 0, 0, length]);
    body.extend(who.username);
    let mut step = Step {
        sends: rmcp::PAYLOAD_RAKP1,
        awaits: rmcp::PAYLOAD_RAKP2,
        tag: tag.wrapping_add(0x40),
        console,
        body: &body,
        retag: true,
    };
    let patience = Patience { waiting_for: "rakp 2", ..rest };
    let reply = match link.exchange(&mut step, patience) {
        Ok(reply) => reply,
        Err(error) => {
            // the next handshake may need the slot
            abort(link, bmc, step.tag.wrapping_add(1));
            return Err(silent(error, Failure::Lost("rakp 2 (is the user name right?)")));
        }
    };
    if reply.status != 0 {
        return Err(refused(reply.status, who.privilege));
    }
    let Some((theirs, guid, proof)) = split_rakp2(&reply.body) else {
        return Err(Failure::Lost("a complete rakp 2"));
    };
    let user = [&[role, length], who.username].concat();
    let hash = suite.authentication;
    let fits = proof.len() >= hash.full()
        && hash.verify(who.password, &[&console, &bmc, &ours, &theirs, &guid, &user], proof);
    if !fits {
        // tell the BMC, so that it frees the slot at once; nobody answers that
        abort(link, bmc, step.tag.wrapping_add(1));
        return Err(Failure::Doubtful(Error::WrongPassword));
    }

    // RAKP 3 and 4: we prove the same, and both sides have the session key
    let kg = who.kg.filter(|key| key.iter().any(|byte| *byte != 0));
    let sik = hash.code(kg.unwrap_or(who.password), &[&ours, &theirs, &user]);
    let active =
        Active20::new(u32::from_le_bytes(console), u32::from_le_bytes(bmc), Keys::derive(suite, &sik));
    let mut body = vec![0, 0, 0];
    body.extend(bmc);
    body.extend(hash.code(who.password, &[&theirs, &console, &user]).iter());
    let mut step = Step {
        sends: rmcp::PAYLOAD_RAKP3,
        awaits: rmcp::PAYLOAD_RAKP4,
        tag: step.tag.wrapping_add(0x20),
        console,
        body: &body,
        retag: true,
    };
    let patience = Patience { waiting_for: "rakp 4", ..rest };
    let outcome = link.exchange(&mut step, patience);
    let failure = match outcome {
        Ok(reply) if reply.status != 0 => refused(reply.status, who.privilege),
        Ok(reply) if hash.verify(&sik, &[&ours, &bmc, &guid], &reply.body) => return Ok(active),
        // the password was proven by RAKP 2, so it is the BMC key
        Ok(_) => Failure::Doubtful(Error::WrongKg { given: kg.is_some() }),
        Err(error) => silent(error, Failure::Lost("rakp 4")),
    };
    // the BMC may have activated the session on the first RAKP 3, whatever the answer that arrived looks like
    left.push(active);
    Err(failure)
}

fn open_session(
    link: &mut Link,
    privilege: Privilege,
    suite: Suite,
    console: [u8; 4],
    tag: u8,
    patience: Patience,
) -> Result<[u8; 4], Failure> {
    // 0 asks for the highest level the suite allows, which is what every BMC was tested with for administrators
    let level = if privilege == Privilege::Administrator { 0 } else { privilege.number() };
    let mut body = vec![level, 0, 0];
    body.extend(console);
    for (kind, algorithm) in (0_u8..).zip(suite.algorithms()) {
        body.extend([kind, 0, 0, 8, algorithm, 0, 0, 0]);
    }
    let mut step = Step {
        sends: rmcp::PAYLOAD_OPEN_REQUEST,
        awaits: rmcp::PAYLOAD_OPEN_RESPONSE,
        tag,
        console,
        body: &body,
        retag: false,
    };
    let patience = Patience { waiting_for: "open session response", ..patience };
    let reply = link.exchange(&mut step, patience).map_err(|error| silent(error, Failure::Silent))?;
    if reply.status != 0 {
        return Err(refused(reply.status, privilege));
    }
    let (bmc, rest) = take::<4>(&reply.body).ok_or(Failure::Lost("a complete open session response"))?;
    // the BMC repeats the algorithms: never go on with weaker ones than were asked for
    let (chosen, _) = take::<24>(rest).ok_or(Failure::Lost("a complete open session response"))?;
    if [chosen[4] & 0x3F, chosen[12] & 0x3F, chosen[20] & 0x3F] != suite.algorithms() {
        return Err(Failure::SuiteRefused);
    }
    if bmc == [0; 4] {
        return Err(Failure::Lost("a session id"));
    }
    Ok(bmc)
}

fn split_rakp2(body: &[u8]) -> Option<([u8; 16], [u8; 16], &[u8])> {
    let (random, rest) = take::<16>(body)?;
    let (guid, proof) = take::<16>(rest)?;
    Some((random, guid, proof))
}

/// RAKP 3 with status 0Fh, "invalid integrity check value": ends the handshake (13.22).
pub(super) fn abort(link: &mut Link, bmc: [u8; 4], tag: u8) {
    let mut payload = vec![tag, 0x0F, 0, 0];
    payload.extend(bmc);
    if let Some(packet) = rmcp::build_setup(rmcp::PAYLOAD_RAKP3, &payload) {
        link.tell(&packet);
    }
}

/// An active session's numbers and keys.
pub(super) struct Active20 {
    /// Ours: what the BMC puts into its packets.
    console: u32,
    /// The BMC's: what we put into ours.
    pub bmc: u32,
    keys: Keys,
    sent: u32,
    newest: u32,
    /// Bit n: number `newest - n` has been seen.
    seen: u32,
}

impl Active20 {
    fn new(console: u32, bmc: u32, keys: Keys) -> Self {
        Self { console, bmc, keys, sent: 0, newest: 0, seen: 0 }
    }

    /// The packet of one attempt, with the next session sequence number.
    pub(super) fn wrap(&mut self, message: &[u8]) -> Result<Vec<u8>, Error> {
        // numbers start at 1 and never are 0 (6.12.12)
        self.sent = self.sent.wrapping_add(1).max(1);
        let payload = self.keys.seal(message)?;
        rmcp::build_v20(
            rmcp::PAYLOAD_IPMI,
            self.keys.suite.encrypted,
            self.bmc,
            self.sent,
            &payload,
            |signed| self.keys.sign(signed),
        )
        .ok_or_else(|| Error::Local("message too long".into()))
    }

    /// The message in a packet of this session that is whole, new and proven.
    pub(super) fn unwrap(&mut self, datagram: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let Packet::V20(packet) = rmcp::parse(datagram)? else { return None };
        let suite = self.keys.suite;
        if packet.payload_type != rmcp::PAYLOAD_IPMI
            || packet.session_id != self.console
            || packet.encrypted != suite.encrypted
            || packet.authenticated != (suite.integrity != Hash::None)
            || !self.keys.is_signed(packet.signed_and_code)
            || !self.is_new(packet.sequence)
        {
            return None;
        }
        let message = Zeroizing::new(self.keys.open(packet.payload)?);
        self.note(packet.sequence);
        Some(message)
    }

    fn is_new(&self, number: u32) -> bool {
        if number > self.newest {
            return true;
        }
        let behind = self.newest - number;
        number != 0 && behind < WINDOW && self.seen & (1 << behind) == 0
    }

    fn note(&mut self, number: u32) {
        if let Some(ahead) = number.checked_sub(self.newest).filter(|ahead| *ahead > 0) {
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.newest = number;
        } else {
            self.seen |= 1_u32.checked_shl(self.newest - number).unwrap_or(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::cipher::hex;
    use super::*;
    use proptest::prelude::*;

    fn pair(suite: u8) -> (Active20, Active20) {
        let suite = Suite::by_id(suite).unwrap();
        (Active20::new(1, 2, Keys::derive(suite, b"sik")), Active20::new(2, 1, Keys::derive(suite, b"sik")))
    }

    #[test]
    fn proofs_of_the_recording() {
        // recorded: ipmitool 1.8.19 -I lanplus -C 3, user admin, password s3cret1
        let console = hex("a4 a3 a2 a0");
        let bmc = hex("02 1a 00 00");
        let ours = hex("1a 20 84 cd 4e a8 1e ea 5e 35 b3 0e 2a 98 84 e2");
        let theirs = hex("a9 1b ab 12 05 d1 b7 ea 76 9b 21 49 76 13 51 c4");
        let guid = hex("a1 23 45 67 89 ab cd ef a1 23 45 67 89 ab cd e1");
        let user = hex("14 05 61 64 6d 69 6e");
        let key = b"s3cret1";
        let parts: [&[u8]; 6] = [&console, &bmc, &ours, &theirs, &guid, &user];
        assert!(Hash::Sha1.verify(
            key,
            &parts,
            &hex("7a 84 e9 7f 50 a7 c5 61 d9 03 66 73 a3 f2 8d f4 b6 52 c1 83")
        ));
        assert!(!Hash::Sha1.verify(
            b"other",
            &parts,
            &hex("7a 84 e9 7f 50 a7 c5 61 d9 03 66 73 a3 f2 8d f4 b6 52 c1 83")
        ));
        assert_eq!(
            *Hash::Sha1.code(key, &[&theirs, &console, &user]),
            hex("03 20 d2 c0 28 0b d5 38 23 44 7a 20 bd a6 a4 8a ab 66 d0 8d")
        );
        let sik = Hash::Sha1.code(key, &[&ours, &theirs, &user]);
        assert_eq!(*sik, hex("a1 7d c9 de 28 9b 90 af cb e1 06 00 3e 3c 70 29 20 4d 14 9c"));
        assert!(Hash::Sha1.verify(&sik, &[&ours, &bmc, &guid], &hex("c5 3f 3e 41 ef 47 17 4d f5 a1 cf 50")));
    }

    #[test]
    fn a_packet_is_taken_once() {
        for suite in [0, 1, 2, 3, 15, 16, 17] {
            let (mut us, mut them) = pair(suite);
            let packet = them.wrap(b"hello").unwrap();
            assert_eq!(us.unwrap(&packet).unwrap().as_slice(), b"hello");
            assert!(us.unwrap(&packet).is_none(), "replayed in suite {suite}");
        }
    }

    #[test]
    fn late_packets_are_taken_within_the_window_only() {
        let (mut us, mut them) = pair(3);
        let packets: Vec<_> = (0..40).map(|_| them.wrap(b"x").unwrap()).collect();
        assert!(us.unwrap(&packets[20]).is_some());
        assert!(us.unwrap(&packets[19]).is_some());
        assert!(us.unwrap(&packets[5]).is_some());
        assert!(us.unwrap(&packets[4]).is_none());
        assert!(us.unwrap(&packets[39]).is_some());
        assert!(us.unwrap(&packets[20]).is_none());
        assert!(us.unwrap(&packets[30]).is_some());
    }

    #[test]
    fn each_attempt_has_its_own_number() {
        let (mut us, _) = pair(17);
        assert_ne!(us.wrap(b"x").unwrap()[10..14], us.wrap(b"x").unwrap()[10..14]);
    }

    proptest! {
        #[test]
        fn a_changed_packet_is_dropped(at in 4_usize..60, flip in 1_u8.., suite in prop_oneof![Just(3), Just(17), Just(2), Just(16)]) {
            let (mut us, mut them) = pair(suite);
            let mut packet = them.wrap(&[7; 20]).unwrap();
            let at = at % (packet.len() - 4) + 4;
            packet[at] ^= flip;
            // the reserved upper bits of the authentication type are signed too
            prop_assert!(us.unwrap(&packet).is_none());
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..120), suite in 0_u8..4) {
            let (mut us, _) = pair(suite);
            let mut framed = vec![6, 0, 0xFF, 7, 6];
            framed.extend(&bytes);
            prop_assert!(suite == 0 || us.unwrap(&framed).is_none() || suite == 1);
            let mut step = Step { sends: 0x12, awaits: 0x13, tag: 0, console: [1, 2, 3, 4], body: &[], retag: false };
            let _ = step.answer(&framed);
            let _ = split_rakp2(&bytes);
        }
    }
}
