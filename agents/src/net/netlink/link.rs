//! Network interfaces: by name or alternative name, their state, and bringing one up.

use super::wire::{ACK, Attributes, DUMP, Message, Received, text, u16_at, u32_at};
use super::{Change, Error, Netlink};
use nix::errno::Errno;

const FIXED: usize = 16;
const IFLA_ADDRESS: u16 = 1;
const IFLA_BROADCAST: u16 = 2;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;
const IFLA_INFO_KIND: u16 = 1;
/// `RTEXT_FILTER_SKIP_STATS`: half the message is counters nobody here reads (Linux 4.4).
const SKIP_STATS: u32 = 8;
/// The kernel's `ALTIFNAMSIZ`, with the closing zero.
const LONGEST_NAME: usize = 128;

/// What the interface speaks on the wire (`ARPHRD_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hardware {
    /// Ethernet and everything that looks like it (1).
    Ether,
    /// IP over InfiniBand: addresses of 20 bytes (32).
    Infiniband,
    /// The loopback (772).
    Loopback,
    /// Any other number.
    Other(u16),
}

impl Hardware {
    /// The kernel's number, as it also stands in ARP packets.
    pub fn number(self) -> u16 {
        match self {
            Self::Ether => libc::ARPHRD_ETHER,
            Self::Infiniband => libc::ARPHRD_INFINIBAND,
            Self::Loopback => libc::ARPHRD_LOOPBACK,
            Self::Other(number) => number,
        }
    }

    fn from_number(number: u16) -> Self {
        match number {
            libc::ARPHRD_ETHER => Self::Ether,
            libc::ARPHRD_INFINIBAND => Self::Infiniband,
            libc::ARPHRD_LOOPBACK => Self::Loopback,
            other => Self::Other(other),
        }
    }
}

/// RFC 2863 operational state, as `ip link` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperState {
    /// The driver does not say (loopback, tunnels): no verdict.
    Unknown,
    /// The hardware is not there.
    NotPresent,
    /// Down, or no carrier.
    Down,
    /// The interface below is down.
    LowerLayerDown,
    /// Under test.
    Testing,
    /// Waits for something outside (802.1X).
    Dormant,
    /// Passes packets.
    Up,
}

impl OperState {
    fn from_number(number: u8) -> Self {
        match number {
            1 => Self::NotPresent,
            2 => Self::Down,
            3 => Self::LowerLayerDown,
            4 => Self::Testing,
            5 => Self::Dormant,
            6 => Self::Up,
            _ => Self::Unknown,
        }
    }
}

/// One network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number.
    pub index: u32,
    /// The primary name.
    pub name: String,
    /// Alternative names (Linux 5.5).
    pub altnames: Vec<String>,
    /// `IFF_*`.
    pub flags: u32,
    /// Operational state.
    pub operstate: OperState,
    /// What it speaks.
    pub hardware: Hardware,
    /// Hardware address, of any length; empty when it has none.
    pub address: Vec<u8>,
    /// Hardware broadcast address.
    pub broadcast: Vec<u8>,
    /// Index of the bridge, bond or VRF it belongs to.
    pub master: Option<u32>,
    /// `veth`, `bridge`, `bond` ...: nothing for real hardware.
    pub kind: Option<String>,
}

impl Link {
    /// Set up by the administrator; says nothing about the carrier.
    pub fn is_up(&self) -> bool {
        self.flags & libc::IFF_UP.cast_unsigned() != 0
    }

    /// `DOWN` or `LOWERLAYERDOWN` as `ip link` says: what `check_link_status` asks.
    pub fn is_link_down(&self) -> bool {
        matches!(self.operstate, OperState::Down | OperState::LowerLayerDown)
    }

    /// The loopback: nothing is announced on it.
    pub fn is_loopback(&self) -> bool {
        self.flags & libc::IFF_LOOPBACK.cast_unsigned() != 0
    }

    /// No ARP on this interface (tunnels).
    pub fn is_without_arp(&self) -> bool {
        self.flags & libc::IFF_NOARP.cast_unsigned() != 0
    }

    /// Whether `name` is its name or one of its alternative names.
    pub fn answers_to(&self, name: &str) -> bool {
        self.name == name || self.altnames.iter().any(|other| other == name)
    }

    fn parse(received: Received<'_>) -> Option<Self> {
        let payload = received.payload;
        if received.kind != libc::RTM_NEWLINK || payload.len() < FIXED {
            return None;
        }
        let mut link = Self {
            index: u32_at(payload, 4)?,
            name: String::new(),
            altnames: Vec::new(),
            flags: u32_at(payload, 8)?,
            operstate: OperState::Unknown,
            hardware: Hardware::from_number(u16_at(payload, 2)?),
            address: Vec::new(),
            broadcast: Vec::new(),
            master: None,
            kind: None,
        };
        for (kind, value) in Attributes::after(payload, FIXED) {
            match kind {
                IFLA_ADDRESS => link.address = value.to_vec(),
                IFLA_BROADCAST => link.broadcast = value.to_vec(),
                IFLA_IFNAME => link.name = text(value),
                IFLA_MASTER => link.master = u32_at(value, 0),
                IFLA_OPERSTATE => {
                    link.operstate = OperState::from_number(value.first().copied().unwrap_or(0));
                }
                IFLA_LINKINFO => {
                    link.kind = Attributes(value)
                        .find(|(kind, _)| *kind == IFLA_INFO_KIND)
                        .map(|(_, value)| text(value));
                }
                IFLA_PROP_LIST => {
                    link.altnames = Attributes(value)
                        .filter(|(kind, _)| *kind == IFLA_ALT_IFNAME)
                        .map(|(_, value)| text(value))
                        .collect();
                }
                _ => {}
            }
        }
        Some(link)
    }
}

impl Netlink {
    /// The interface with this name or alternative name; `None` when there is none.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, Error> {
        if name.is_empty() || name.len() >= LONGEST_NAME || name.contains('\0') {
            return Ok(None);
        }
        // the kernel looks either attribute up in both name tables; only the length allowed differs
        let attribute = if name.len() < libc::IFNAMSIZ { IFLA_IFNAME } else { IFLA_ALT_IFNAME };
        let request = Message::new(libc::RTM_GETLINK, 0, &[0; FIXED])
            .with_text(attribute, name)
            .with_u32(IFLA_EXT_MASK, SKIP_STATS);
        // kernels before 5.5 know no alternative names and call the attribute invalid
        let absent =
            if attribute == IFLA_IFNAME { &[Errno::ENODEV][..] } else { &[Errno::ENODEV, Errno::EINVAL] };
        self.get(&format!("look up interface {name}"), &request, absent, Link::parse)
    }

    /// The interface with this index; `None` when there is none.
    pub fn link_by_index(&mut self, index: u32) -> Result<Option<Link>, Error> {
        let request =
            Message::new(libc::RTM_GETLINK, 0, &header(index, 0, 0)).with_u32(IFLA_EXT_MASK, SKIP_STATS);
        let doing = format!("look up interface number {index}");
        self.get(&doing, &request, &[Errno::ENODEV], Link::parse)
    }

    /// All interfaces of the namespace.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        let request = Message::new(libc::RTM_GETLINK, DUMP, &[0; FIXED]).with_u32(IFLA_EXT_MASK, SKIP_STATS);
        self.dump("list interfaces", &request, Link::parse)
    }

    /// Sets an interface administratively up.
    pub fn set_link_up(&mut self, link: &Link) -> Result<Change, Error> {
        if link.is_up() {
            return Ok(Change::AlreadySo);
        }
        let up = libc::IFF_UP.cast_unsigned();
        let request = Message::new(libc::RTM_NEWLINK, ACK, &header(link.index, up, up));
        self.change(&format!("set interface {} up", link.name), &request)?;
        Ok(Change::Done)
    }
}

/// `struct ifinfomsg`.
fn header(index: u32, flags: u32, change: u32) -> [u8; FIXED] {
    let mut bytes = [0; FIXED];
    for (place, value) in bytes.chunks_exact_mut(4).skip(1).zip([index, flags, change]) {
        place.copy_from_slice(&value.to_ne_bytes());
    }
    bytes
}
