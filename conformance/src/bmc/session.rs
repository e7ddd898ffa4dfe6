//! The smallest IPMI v1.5 client there is, without authentication: to ask the simulator about itself, not to prove anything.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// The judge's own account, without password.
pub const ACCOUNT: &str = "judge";

/// Commands of network function App (06h).
const AUTHENTICATION_CAPABILITIES: u8 = 0x38;
const SESSION_CHALLENGE: u8 = 0x39;
const ACTIVATE_SESSION: u8 = 0x3A;
const SET_PRIVILEGE: u8 = 0x3B;
const CLOSE_SESSION: u8 = 0x3C;
const SESSION_INFO: u8 = 0x3D;

const ADMINISTRATOR: u8 = 4;

/// Whether somebody answers there.
pub fn answers(address: SocketAddr) -> bool {
    Client::new(address)
        .is_ok_and(|mut client| client.ask(AUTHENTICATION_CAPABILITIES, &[0x0E, ADMINISTRATOR], 1).is_some())
}

/// How many sessions are open beside our own.
pub fn open_now(address: SocketAddr) -> Result<usize, String> {
    let mut client = Client::new(address).map_err(|why| format!("ask the BMC: {why}"))?;
    let mut asked = vec![0];
    asked.extend(ACCOUNT.bytes());
    asked.resize(17, 0);
    let challenge = client.ask(SESSION_CHALLENGE, &asked, 5).ok_or("the BMC gives no challenge")?;
    let (Some(id), Some(text)) = (word(&challenge, 1), challenge.get(5..21)) else {
        return Err("the BMC gives a short challenge".to_owned());
    };
    client.session = id;
    let mut asked = vec![0, ADMINISTRATOR];
    asked.extend(text);
    asked.extend(1_u32.to_le_bytes());
    let active = client.ask(ACTIVATE_SESSION, &asked, 5).ok_or("the BMC activates no session")?;
    let (Some(id), Some(number)) = (word(&active, 2), word(&active, 6)) else {
        return Err("the BMC has no session to give".to_owned());
    };
    (client.session, client.number) = (id, number);
    let info = client.ask(SESSION_INFO, &[0], 5);
    let _ = client.ask(SET_PRIVILEGE, &[ADMINISTRATOR], 5);
    let _ = client.ask(CLOSE_SESSION, &id.to_le_bytes(), 5);
    let count =
        info.as_ref().and_then(|info| info.get(3)).ok_or("the BMC tells nothing about its sessions")?;
    Ok(usize::from(*count).saturating_sub(1))
}

struct Client {
    socket: UdpSocket,
    sequence: u8,
    session: u32,
    number: u32,
}

impl Client {
    fn new(address: SocketAddr) -> std::io::Result<Self> {
        let own: SocketAddr = if address.is_ipv6() {
            (Ipv6Addr::UNSPECIFIED, 0).into()
        } else {
            (Ipv4Addr::UNSPECIFIED, 0).into()
        };
        let socket = UdpSocket::bind(own)?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(Self { socket, sequence: 0, session: 0, number: 0 })
    }

    /// Completion code and data; `None`: no answer to so many tries.
    fn ask(&mut self, command: u8, data: &[u8], tries: u32) -> Option<Vec<u8>> {
        self.sequence = (self.sequence + 1) & 0x3F;
        for _ in 0..tries {
            // A closed port answers at once, by ICMP.
            self.socket.send(&self.packet(command, data)).ok()?;
            if self.number > 0 {
                self.number += 1;
            }
            let until = Instant::now() + Duration::from_millis(200);
            let mut buffer = [0; 512];
            while Instant::now() < until {
                let Ok(length) = self.socket.recv(&mut buffer) else { break };
                // 14 bytes of headers without an authentication code; addresses, sequence, command; a checksum.
                if let [_, _, _, _, sequence, heard, answer @ .., _] = buffer.get(14..length)?
                    && (*sequence, *heard) == (self.sequence << 2, command)
                {
                    return Some(answer.to_vec());
                }
            }
        }
        None
    }

    fn packet(&self, command: u8, data: &[u8]) -> Vec<u8> {
        let sum = |bytes: &[u8]| bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
        let mut message = vec![0x20, 6 << 2];
        message.push(sum(&message));
        let mut body = vec![0x81, self.sequence << 2, command];
        body.extend(data);
        body.push(sum(&body));
        message.extend(body);
        let mut packet = vec![6, 0, 0xFF, 7, 0];
        packet.extend(self.number.to_le_bytes());
        packet.extend(self.session.to_le_bytes());
        packet.push(u8::try_from(message.len()).unwrap_or(0));
        packet.extend(message);
        packet
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
