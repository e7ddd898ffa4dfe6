//! What `drbdsetup events2 --now RESOURCE` says: one line for each object, `exists KIND KEY:VALUE ...`, then `exists -`.
//!
//! The one form that DRBD 8.4 and 9 have in common, made for programs (drbdsetup(8), "events2"). 9 has more kinds (path), more keys
//! (`quorum`, `client`, `may_promote`) and will get others: what is not known passes. What is known must be right, and the last line
//! must be there: half an answer would look like a resource without peers.

/// Role of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Primary,
    Secondary,
    Unknown,
}

/// State of the data on one side, drbd.conf(5) "disk states".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disk {
    Diskless,
    Attaching,
    Detaching,
    Failed,
    Negotiating,
    Inconsistent,
    Outdated,
    /// `DUnknown`: of a peer that is not connected.
    Unknown,
    Consistent,
    UpToDate,
    /// A word that this program does not know: no good data for all that it can tell.
    Other(String),
}

impl Disk {
    fn of(word: &str) -> Self {
        match word {
            "Diskless" => Self::Diskless,
            "Attaching" => Self::Attaching,
            "Detaching" => Self::Detaching,
            "Failed" => Self::Failed,
            "Negotiating" => Self::Negotiating,
            "Inconsistent" => Self::Inconsistent,
            "Outdated" => Self::Outdated,
            "DUnknown" => Self::Unknown,
            "Consistent" => Self::Consistent,
            "UpToDate" => Self::UpToDate,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// One volume on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub minor: u32,
    pub disk: Disk,
    /// Diskless because it was configured so (9 only).
    pub client: bool,
    /// Whether this node may write by the quorum rules of DRBD 9; 8.4 has none, so yes.
    pub quorum: bool,
}

/// One peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    id: String,
    /// Its name, or its number: 8.4 forgets the name of one that is `StandAlone`.
    pub peer: String,
    /// `Connected`, `Connecting`, `StandAlone` ...
    pub state: String,
    pub role: Role,
    pub disks: Vec<Disk>,
}

impl Connection {
    pub fn is_connected(&self) -> bool {
        self.state == "Connected"
    }

    /// It is not trying to connect: told to disconnect, or refused (split brain, other data, a wrong password).
    pub fn stands_alone(&self) -> bool {
        self.state == "StandAlone"
    }

    pub fn all_up_to_date(&self) -> bool {
        !self.disks.is_empty() && self.disks.iter().all(|disk| *disk == Disk::UpToDate)
    }
}

/// A resource that the kernel has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    pub role: Role,
    pub devices: Vec<Device>,
    pub connections: Vec<Connection>,
}

/// The resource `name` in the answer; `None` if the kernel has no such. The error says what is wrong with the answer.
pub fn parse(text: &str, name: &str) -> Result<Option<Resource>, String> {
    let mut found: Option<Resource> = None;
    let mut ended = false;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.split_whitespace();
        if words.next() != Some("exists") {
            return Err(format!("an answer that begins with 'exists' was expected, not '{line}'"));
        }
        let kind = words.next().ok_or("a line that ends after 'exists'")?;
        if kind == "-" {
            ended = true;
            continue;
        }
        let keys = Keys::of(words, line)?;
        if keys.get("name") != Some(name) {
            continue;
        }
        match (kind, &mut found) {
            ("resource", found) => {
                let role = role(keys.need("role")?)?;
                *found = Some(Resource { role, devices: Vec::new(), connections: Vec::new() });
            }
            ("device", Some(resource)) => resource.devices.push(Device {
                minor: keys
                    .need("minor")?
                    .parse()
                    .map_err(|_| format!("no number of a minor in '{line}'"))?,
                disk: Disk::of(keys.need("disk")?),
                client: keys.get("client") == Some("yes"),
                quorum: keys.get("quorum") != Some("no"),
            }),
            ("connection", Some(resource)) => {
                let id = keys.need("peer-node-id")?;
                resource.connections.push(Connection {
                    id: id.to_owned(),
                    peer: keys.get("conn-name").map_or_else(|| format!("peer {id}"), str::to_owned),
                    state: keys.need("connection")?.to_owned(),
                    role: role(keys.need("role")?)?,
                    disks: Vec::new(),
                });
            }
            ("peer-device", Some(resource)) => {
                let id = keys.need("peer-node-id")?;
                let peer = resource.connections.iter_mut().find(|connection| connection.id == id);
                peer.ok_or_else(|| format!("a device of a peer that is not there: '{line}'"))?
                    .disks
                    .push(Disk::of(keys.need("peer-disk")?));
            }
            ("device" | "connection" | "peer-device", None) => {
                return Err(format!("'{line}' comes before its resource"));
            }
            _ => {}
        }
    }
    if ended { Ok(found) } else { Err("the answer ends too early".to_owned()) }
}

fn role(word: &str) -> Result<Role, String> {
    match word {
        "Primary" => Ok(Role::Primary),
        "Secondary" => Ok(Role::Secondary),
        "Unknown" => Ok(Role::Unknown),
        other => Err(format!("'{other}' is not a role")),
    }
}

struct Keys<'a> {
    pairs: Vec<(&'a str, &'a str)>,
    line: &'a str,
}

impl<'a> Keys<'a> {
    fn of(words: impl Iterator<Item = &'a str>, line: &'a str) -> Result<Self, String> {
        // A value may have colons in it (local:ipv4:10.0.0.1:7788). A word without one is a flag of some newer release.
        let pairs: Vec<_> = words.filter_map(|word| word.split_once(':')).collect();
        if pairs.is_empty() { Err(format!("nothing is told in '{line}'")) } else { Ok(Self { pairs, line }) }
    }

    fn get(&self, key: &str) -> Option<&'a str> {
        self.pairs.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    fn need(&self, key: &str) -> Result<&'a str, String> {
        self.get(key).ok_or_else(|| format!("no {key} in '{}'", self.line))
    }
}

#[cfg(test)]
mod tests;
