//! The cluster-IP mode: clone instances share the address, each answering for its part of the clients.
//!
//! The address is on every node; a packet filter keeps only the packets of the buckets that live here. This is the
//! one part of the agent that runs programs (`nft` or `iptables`): their rule languages have no stable kernel
//! interface below them.

use crate::params::{Firewall, Params};
use ocf_lib::cmd::{self, Cmd};
use ocf_lib::resource::agent::{Faults, State};
use ocf_lib::resource::code::Fault;
use ocf_lib::resource::context::Cx;
use ocf_lib::resource::runfile::Lock;
use ringfence_agents::net::cluster_ip::{ClusterIp, Command, Installed, Iptables};
use ringfence_agents::net::multicast_mac;
use ringfence_agents::net::netlink::Link;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::net::IpAddr;
use std::path::PathBuf;

/// The node mask of the match `cluster` has 32 bits, iptables-extensions(8).
const MOST_BUCKETS: u32 = 32;

pub struct Sharing {
    cluster: ClusterIp,
    mac: [u8; 6],
    /// The bucket of this clone instance, counted from 1.
    own: u32,
    firewall: Firewall,
    table: String,
    chain: String,
    lock: PathBuf,
}

/// Who still answers for the address on this node after a stop.
pub enum Left {
    /// Other instances of the clone: the address stays.
    Others,
    Nobody,
}

impl Sharing {
    /// The mode is on for a clone of several instances whose addresses are not their own; never on the loopback.
    pub fn of(params: &Params, ip: IpAddr, nic: Option<&str>, cx: &Cx) -> Option<Self> {
        let buckets = u32::try_from(cx.clone_max()?).ok().filter(|max| *max > 1)?;
        if params.unique_clone_address || nic == Some("lo") {
            return None;
        }
        let hash = fnv(ip.to_string().as_bytes());
        let mac = params.mac.map_or_else(|| multicast(hash), |mac| mac.0);
        // The upper half of the hash: any number will do that all nodes arrive at.
        let seed = params.clusterip_hash_seed.map_or((hash >> 32) as u32, |seed| seed.0);
        let mangle_mac = params.clusterip_mac_mangle.then_some(mac);
        Some(Self {
            cluster: ClusterIp { address: ip, buckets, seed, mangle_mac },
            mac,
            own: cx.clone_number().unwrap_or(0) % buckets + 1,
            firewall: params.clusterip_firewall,
            table: params.clusterip_table.clone(),
            chain: params.clusterip_chain.clone(),
            lock: cx.run_dir().join(format!("IPaddr2-CIP-{ip}")),
        })
    }

    /// The link layer multicast address that the nodes share.
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// The tool must be there before anything is begun.
    pub fn check_host(&self) -> Result<(), Fault> {
        let tool = if self.uses_nft() { "nft" } else { "iptables" };
        if cmd::which(OsStr::new(tool)).is_none() {
            return Err(Fault::installed(format!("{tool} is not installed: a shared address needs it")));
        }
        if tool == "iptables" && self.cluster.buckets > MOST_BUCKETS {
            return Err(Fault::args(format!(
                "iptables shares an address between at most {MOST_BUCKETS} clones: clusterip_firewall=nft does not mind"
            )));
        }
        Ok(())
    }

    /// Asked only while the address is there.
    pub fn probe(&self, link: &Link, cx: &Cx) -> Result<State, Fault> {
        let installed = self.installed(link, cx)?;
        let whole = installed.drops && installed.strangers == 0;
        Ok(if installed.buckets.contains(&self.own) {
            if whole { State::Running } else { State::Failed(self.incomplete()) }
        } else if whole && !installed.buckets.is_empty() {
            State::Stopped
        } else {
            State::Failed(self.incomplete())
        })
    }

    fn incomplete(&self) -> String {
        format!("the packet filter rules of {} are not complete", self.cluster.address)
    }

    /// Held while rules and address change together: instances on one node start and stop side by side.
    pub fn lock(&self, cx: &Cx) -> Result<Lock, Fault> {
        Lock::take(&self.lock, cx)
    }

    /// Opens this instance's bucket, and listens to the shared hardware address. The rules are there before the
    /// address is, so that no packet of another node's share is ever answered.
    pub fn start(&self, link: &Link, cx: &Cx) -> Result<(), Fault> {
        let mut buckets = self.installed(link, cx)?.buckets;
        buckets.insert(self.own);
        self.install(link, &buckets, cx)?;
        multicast_mac::add(&link.name, self.mac).map_err(|errno| {
            Fault::from(std::io::Error::from(errno)).context(format_args!("cannot listen on {}", link.name))
        })
    }

    /// Closes this instance's bucket if others are open. The last one's stays until the address is gone, see
    /// [`Self::clear`]: without rules the address would answer the clients of all nodes.
    pub fn close(&self, link: &Link, cx: &Cx, faults: &mut Faults) -> Left {
        let closed = self.installed(link, cx).and_then(|installed| {
            let mut buckets = installed.buckets;
            buckets.remove(&self.own);
            if !buckets.is_empty() {
                self.install(link, &buckets, cx)?;
            }
            Ok(buckets)
        });
        if faults.ok(closed).is_some_and(|buckets| !buckets.is_empty()) { Left::Others } else { Left::Nobody }
    }

    /// Takes the rules and the hardware address away, once the address is gone.
    pub fn clear(&self, link: &Link, cx: &Cx, faults: &mut Faults) {
        let cleared = self.installed(link, cx).and_then(|installed| {
            if installed == Installed::default() {
                return Ok(());
            }
            self.install(link, &BTreeSet::new(), cx)
        });
        faults.ok(cleared);
        faults.ok(multicast_mac::remove(&link.name, self.mac).map_err(|errno| {
            Fault::from(std::io::Error::from(errno))
                .context(format_args!("cannot stop listening on {}", link.name))
        }));
    }

    fn uses_nft(&self) -> bool {
        match self.firewall {
            Firewall::Nft => true,
            Firewall::Iptables => false,
            Firewall::Auto => cmd::which(OsStr::new("nft")).is_some(),
        }
    }

    fn iptables<'a>(&'a self, link: &'a Link) -> Iptables<'a> {
        Iptables { cluster: &self.cluster, nic: &link.name, table: &self.table, chain: &self.chain }
    }

    fn installed(&self, link: &Link, cx: &Cx) -> Result<Installed, Fault> {
        if !self.uses_nft() {
            let iptables = self.iptables(link);
            return Ok(iptables.parse(&run(&iptables.list(), cx)?));
        }
        if self.cluster.nft_has_table(&run(&self.cluster.nft_list_tables(), cx)?) {
            Ok(self.cluster.nft_parse(&run(&self.cluster.nft_list(), cx)?))
        } else {
            Ok(Installed::default())
        }
    }

    fn install(&self, link: &Link, buckets: &BTreeSet<u32>, cx: &Cx) -> Result<(), Fault> {
        let command = if self.uses_nft() {
            self.cluster.nft_set(buckets)
        } else {
            let iptables = self.iptables(link);
            let listing = run(&iptables.list(), cx)?;
            iptables.set(&listing, buckets)
        };
        run(&command, cx).map(drop)
    }
}

fn run(command: &Command, cx: &Cx) -> Result<String, Fault> {
    let Some((program, args)) = command.argv.split_first() else { return Ok(String::new()) };
    let mut cmd = Cmd::new(program).args(args);
    if let Some(stdin) = &command.stdin {
        cmd = cmd.stdin(stdin.as_bytes());
    }
    cx.run_checked(&cmd).map(|output| output.stdout_text())
}

/// A link layer address made of a number: the group bit of its first octet is set.
fn multicast(number: u64) -> [u8; 6] {
    let mut mac = [0; 6];
    for (octet, byte) in mac.iter_mut().zip(number.to_be_bytes()) {
        *octet = byte;
    }
    mac[0] |= 1;
    mac
}

/// FNV-1a of 64 bits: the same number on every node and in every version.
fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}
