//! Cluster-IP mode: several nodes hold one address, a multicast hardware address brings every packet to all of them,
//! and a firewall rule on each node keeps the packets whose hashed source falls into that node's buckets.
//!
//! Here is text only: what to run ([`Command`]) and what its output means. The caller runs it, with `ocf_lib::cmd`.
//! The whole table is written in one transaction each time, so what is there is what was wanted, never half of it:
//! there is no moment in which the address is open to all nodes or to none. Manuals: nft(8), iptables-extensions(8).

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;

/// One program to run, without a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// What it reads from standard input.
    pub stdin: Option<String>,
}

impl Command {
    fn new(argv: &[&str], stdin: Option<String>) -> Self {
        Self { argv: argv.iter().map(|word| (*word).to_owned()).collect(), stdin }
    }
}

/// What is common to all nodes of one cluster address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterIp {
    /// The address.
    pub address: IpAddr,
    /// Into how many buckets sources are hashed (clone-max), at least 1.
    pub buckets: u32,
    /// Seed of the hash, the same on all nodes.
    pub seed: u32,
    /// Replaces the sender's hardware address in our ARP packets (IPv4, `clusterip_mac_mangle`).
    pub mangle_mac: Option<[u8; 6]>,
}

/// What the firewall holds for a cluster address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Installed {
    /// Buckets that are accepted here, with the hash that is wanted. Rules with another hash do not count.
    pub buckets: BTreeSet<u32>,
    /// Everything else for the address is dropped.
    pub drops: bool,
    /// Rules for the address that are not as wanted, for example from another number of clones.
    pub strangers: usize,
}

impl Installed {
    /// Whether this is exactly what `wanted` asks for.
    pub fn is_exactly(&self, wanted: &BTreeSet<u32>) -> bool {
        self.drops && self.strangers == 0 && self.buckets == *wanted
    }
}

/// The number in the comment of a bucket's rule, which is also how upstream's rules are marked.
const COMMENT: &str = "cip-node-";

impl ClusterIp {
    /// The table's name, upstream's: `IPaddr2_10_0_0_1`.
    pub fn table(&self) -> String {
        format!("IPaddr2_{}", self.address.to_string().replace(['.', ':'], "_"))
    }

    fn family(&self) -> &'static str {
        if self.address.is_ipv4() { "ip" } else { "ip6" }
    }

    /// The rule that accepts a bucket, exactly as `nft list` prints it back.
    fn nft_accept(&self, bucket: u32) -> String {
        let (family, address) = (self.family(), self.address);
        let (buckets, seed) = (self.buckets, self.seed);
        format!(
            "{family} daddr {address} jhash {family} saddr mod {buckets} seed {seed:#x} offset 1 {bucket} \
             meta pkttype set host accept comment \"{COMMENT}{bucket}\""
        )
    }

    fn nft_drop(&self) -> String {
        format!("{} daddr {} drop", self.family(), self.address)
    }

    /// IPv6 neighbours must be heard whatever their bucket.
    fn nft_neighbours(&self) -> String {
        format!("ip6 daddr {} icmpv6 type nd-neighbor-advert meta pkttype set host accept", self.address)
    }

    /// Makes the table hold exactly these buckets; without any, removes it. One transaction, also when it is there
    /// already or not yet. Run it through `nft -f -`.
    pub fn nft_set(&self, wanted: &BTreeSet<u32>) -> Command {
        let (family, table) = (self.family(), self.table());
        let mut script = String::new();
        // adding first makes the removal valid when there is none
        let mut replace = |family: &str| {
            let _ = write!(script, "add table {family} {table}\ndelete table {family} {table}\n");
        };
        replace(family);
        if self.mangle_mac.is_some() {
            replace("arp");
        }
        if wanted.is_empty() {
            return Command::new(&["nft", "-f", "-"], Some(script));
        }
        let _ = write!(
            script,
            "table {family} {table} {{\n chain prerouting {{\n  \
             type filter hook prerouting priority mangle; policy accept;\n"
        );
        if self.address.is_ipv6() {
            let _ = writeln!(script, "  {}", self.nft_neighbours());
        }
        for bucket in wanted {
            let _ = writeln!(script, "  {}", self.nft_accept(*bucket));
        }
        let _ = writeln!(script, "  {}\n }}\n}}", self.nft_drop());
        if let (Some(mac), IpAddr::V4(address)) = (self.mangle_mac, self.address) {
            let _ = write!(
                script,
                "table arp {table} {{\n chain output {{\n  type filter hook output priority filter; policy accept;\n  \
                 arp saddr ip {address} arp saddr ether set {}\n }}\n}}\n",
                mac_text(mac)
            );
        }
        Command::new(&["nft", "-f", "-"], Some(script))
    }

    /// Lists the tables of the address's family: tells a missing table from a tool that failed.
    pub fn nft_list_tables(&self) -> Command {
        Command::new(&["nft", "list", "tables", self.family()], None)
    }

    /// Whether the output of [`Self::nft_list_tables`] has our table.
    pub fn nft_has_table(&self, output: &str) -> bool {
        let wanted = format!("table {} {}", self.family(), self.table());
        output.lines().any(|line| line.trim() == wanted)
    }

    /// Lists our table, which must be there. Not numeric (`-n`): that prints `set host` as a number.
    pub fn nft_list(&self) -> Command {
        Command::new(&["nft", "list", "table", self.family(), &self.table()], None)
    }

    /// Reads the output of [`Self::nft_list`].
    pub fn nft_parse(&self, output: &str) -> Installed {
        let mut installed = Installed::default();
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let prefix = format!("{} daddr ", self.family());
        for line in output.lines().map(words).filter(|line| line.starts_with(&prefix)) {
            let bucket =
                line.rsplit_once(COMMENT).and_then(|(_, end)| end.trim_end_matches('"').parse().ok());
            // nft before 1.0.2 prints the comparison's sign
            let plain = line.replace(" offset 1 == ", " offset 1 ");
            let neighbours = self.address.is_ipv6() && plain.contains(" icmpv6 type ");
            match bucket {
                Some(bucket) if plain == self.nft_accept(bucket) => {
                    installed.buckets.insert(bucket);
                }
                None if line == self.nft_drop() => installed.drops = true,
                None if neighbours => {}
                Some(_) | None => installed.strangers += 1,
            }
        }
        installed
    }
}

/// The iptables back end, for hosts without nft (`clusterip_firewall=iptables`). The match `cluster` sets the packet
/// type back to "for us" itself, iptables-extensions(8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Iptables<'a> {
    /// The address and its hash.
    pub cluster: &'a ClusterIp,
    /// Interface on which the rules hold.
    pub nic: &'a str,
    /// `clusterip_table`.
    pub table: &'a str,
    /// `clusterip_chain`.
    pub chain: &'a str,
}

impl Iptables<'_> {
    fn program(&self) -> &'static str {
        if self.cluster.address.is_ipv4() { "iptables" } else { "ip6tables" }
    }

    fn destination(&self) -> String {
        let bits = if self.cluster.address.is_ipv4() { 32 } else { 128 };
        format!("{}/{bits} -i {}", self.cluster.address, self.nic)
    }

    /// As `iptables -S` prints it. The mask has one bit for the bucket (numbered from 1), of at most 32.
    fn accept(&self, bucket: u32) -> String {
        let mask = 1u32.checked_shl(bucket.wrapping_sub(1)).unwrap_or(0);
        format!(
            "-A {} -d {} -m cluster --cluster-local-nodemask {mask:#010x} --cluster-total-nodes {} \
             --cluster-hash-seed {:#010x} -j ACCEPT",
            self.chain,
            self.destination(),
            self.cluster.buckets,
            self.cluster.seed
        )
    }

    fn drop(&self) -> String {
        format!("-A {} -d {} -j DROP", self.chain, self.destination())
    }

    /// Lists the chain.
    pub fn list(&self) -> Command {
        Command::new(&[self.program(), "-w", "-t", self.table, "-S", self.chain], None)
    }

    /// The rules of the listing that concern the address on this interface, as they stand there.
    fn own<'b>(&self, listing: &'b str) -> impl Iterator<Item = &'b str> + use<'b> {
        let start = format!("-A {} -d {} ", self.chain, self.destination());
        listing.lines().map(str::trim).filter(move |line| line.starts_with(&start))
    }

    /// Reads the output of [`Self::list`].
    pub fn parse(&self, listing: &str) -> Installed {
        let mut installed = Installed::default();
        for line in self.own(listing) {
            if line == self.drop() {
                installed.drops = true;
            } else if let Some(bucket) =
                (1..=self.cluster.buckets.min(32)).find(|bucket| line == self.accept(*bucket))
            {
                installed.buckets.insert(bucket);
            } else {
                installed.strangers += 1;
            }
        }
        installed
    }

    /// Replaces the rules that `listing` shows for the address by exactly these buckets, in one transaction; without
    /// any, removes them. Rules of other addresses in the chain stay.
    pub fn set(&self, listing: &str, wanted: &BTreeSet<u32>) -> Command {
        let mut script = format!("*{}\n", self.table);
        for line in self.own(listing) {
            let _ = writeln!(script, "{}", line.replacen("-A ", "-D ", 1));
        }
        if !wanted.is_empty() {
            // inserted at the head one after the other: the drop comes first to end up last
            let insert = |line: &str| line.replacen("-A ", "-I ", 1);
            let _ = writeln!(script, "{}", insert(&self.drop()));
            for bucket in wanted.iter().rev() {
                let _ = writeln!(script, "{}", insert(&self.accept(*bucket)));
            }
        }
        script.push_str("COMMIT\n");
        let restore = format!("{}-restore", self.program());
        Command::new(&[&restore, "-w", "--noflush"], Some(script))
    }
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4() -> ClusterIp {
        ClusterIp { address: "10.0.0.1".parse().unwrap(), buckets: 3, seed: 0x34_5678, mangle_mac: None }
    }

    #[test]
    fn the_script_is_one_transaction_with_the_drop_last() {
        let script = v4().nft_set(&BTreeSet::from([1, 3])).stdin.unwrap();
        assert_eq!(
            script,
            "add table ip IPaddr2_10_0_0_1\ndelete table ip IPaddr2_10_0_0_1\ntable ip IPaddr2_10_0_0_1 {\n \
             chain prerouting {\n  type filter hook prerouting priority mangle; policy accept;\n  \
             ip daddr 10.0.0.1 jhash ip saddr mod 3 seed 0x345678 offset 1 1 meta pkttype set host accept comment \"cip-node-1\"\n  \
             ip daddr 10.0.0.1 jhash ip saddr mod 3 seed 0x345678 offset 1 3 meta pkttype set host accept comment \"cip-node-3\"\n  \
             ip daddr 10.0.0.1 drop\n }\n}\n"
        );
        let removal = v4().nft_set(&BTreeSet::new()).stdin.unwrap();
        assert_eq!(removal, "add table ip IPaddr2_10_0_0_1\ndelete table ip IPaddr2_10_0_0_1\n");
    }

    #[test]
    fn rules_of_another_hash_are_strangers() {
        let text = v4().nft_set(&BTreeSet::from([2])).stdin.unwrap();
        assert!(v4().nft_parse(&text).is_exactly(&BTreeSet::from([2])));
        assert!(
            v4().nft_parse(&text.replace("offset 1 2", "offset 1 == 2")).is_exactly(&BTreeSet::from([2]))
        );
        assert!(!v4().nft_parse(&text).is_exactly(&BTreeSet::from([1])));
        for (from, to) in [("mod 3", "mod 4"), ("0x345678", "0x1"), ("10.0.0.1 jhash", "10.0.0.11 jhash")] {
            let other = v4().nft_parse(&text.replace(from, to));
            assert_eq!((other.buckets.len(), other.strangers), (0, 1), "{from}");
        }
        let open = v4().nft_parse(&text.replace(" drop\n", " accept\n"));
        assert!(!open.drops && open.strangers == 1);
        assert_eq!(v4().nft_parse(""), Installed::default());
    }

    #[test]
    fn tables_are_compared_as_whole_names() {
        assert!(v4().nft_has_table("table ip filter\ntable ip IPaddr2_10_0_0_1\n"));
        assert!(!v4().nft_has_table("table ip IPaddr2_10_0_0_11\ntable ip6 IPaddr2_10_0_0_1\n"));
    }

    #[test]
    fn iptables_rules_are_read_and_replaced() {
        let cluster = v4();
        let iptables = Iptables { cluster: &cluster, nic: "eth0", table: "mangle", chain: "PREROUTING" };
        let listing = "-P PREROUTING ACCEPT\n\
            -A PREROUTING -d 10.0.0.1/32 -i eth0 -m cluster --cluster-local-nodemask 0x00000002 --cluster-total-nodes 3 --cluster-hash-seed 0x00345678 -j ACCEPT\n\
            -A PREROUTING -d 10.0.0.1/32 -i eth0 -j DROP\n\
            -A PREROUTING -d 10.0.0.1/32 -i eth1 -j DROP\n\
            -A PREROUTING -d 10.0.0.11/32 -i eth0 -j DROP\n";
        assert!(iptables.parse(listing).is_exactly(&BTreeSet::from([2])));
        let script = iptables.set(listing, &BTreeSet::from([1])).stdin.unwrap();
        assert_eq!(
            script,
            "*mangle\n\
             -D PREROUTING -d 10.0.0.1/32 -i eth0 -m cluster --cluster-local-nodemask 0x00000002 --cluster-total-nodes 3 --cluster-hash-seed 0x00345678 -j ACCEPT\n\
             -D PREROUTING -d 10.0.0.1/32 -i eth0 -j DROP\n\
             -I PREROUTING -d 10.0.0.1/32 -i eth0 -j DROP\n\
             -I PREROUTING -d 10.0.0.1/32 -i eth0 -m cluster --cluster-local-nodemask 0x00000001 --cluster-total-nodes 3 --cluster-hash-seed 0x00345678 -j ACCEPT\n\
             COMMIT\n"
        );
    }
}
