//! The keys of a cluster's nodes, computed as upstream's `fence_scsi` computes them, so that nodes with either agree.

use super::key::Key;
use md5::{Digest, Md5};
use std::collections::BTreeMap;

/// How a node's name becomes a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Its place in corosync's node list. The places behind a node that is removed change.
    Position,
    /// A hash of its name. Two names may have the same.
    Hash,
    /// Its node id, which nothing changes. Not known to upstream's agent.
    NodeId,
}

/// One node of corosync's list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// N of `nodelist.node.N`.
    pub position: u32,
    pub name: Option<String>,
    pub id: Option<u32>,
    /// `ring0_addr` and its like.
    pub addresses: Vec<String>,
}

impl Node {
    /// What the node is called: its name, else its first address.
    pub fn called(&self) -> &str {
        self.name.as_deref().or_else(|| self.addresses.first().map(String::as_str)).unwrap_or_default()
    }
}

/// The cluster as corosync knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    pub name: String,
    pub nodes: Vec<Node>,
    /// The position of the node that was asked.
    pub local: Option<u32>,
}

impl Cluster {
    /// Reads what `corosync-cmapctl` printed: lines like `nodelist.node.0.name (str) = alpha`.
    ///
    /// # Errors
    /// When it says no name of the cluster or no nodes.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut cluster = Self::default();
        let mut nodes: BTreeMap<u32, Node> = BTreeMap::new();
        for line in text.lines() {
            let Some((left, value)) = line.split_once(" = ") else { continue };
            let key = left.split(' ').next().unwrap_or_default();
            let value = value.trim();
            if key == "totem.cluster_name" {
                value.clone_into(&mut cluster.name);
            } else if key == "nodelist.local_node_pos" {
                cluster.local = value.parse().ok();
            } else if let Some((position, what)) =
                key.strip_prefix("nodelist.node.").and_then(|rest| rest.split_once('.'))
                && let Ok(position) = position.parse()
            {
                let node = nodes.entry(position).or_insert_with(|| Node { position, ..Node::default() });
                match what {
                    "name" => node.name = Some(value.to_owned()),
                    "nodeid" => node.id = value.parse().ok(),
                    _ if what.starts_with("ring") && what.ends_with("_addr") => {
                        node.addresses.push(value.to_owned());
                    }
                    _ => {}
                }
            }
        }
        cluster.nodes = nodes.into_values().collect();
        if cluster.name.is_empty() {
            return Err("corosync says no totem.cluster_name".into());
        }
        if cluster.nodes.is_empty() {
            return Err("corosync says no nodes".into());
        }
        Ok(cluster)
    }

    /// The node with exactly that name, else with that address.
    pub fn node(&self, name: &str) -> Option<&Node> {
        let named = self.nodes.iter().find(|node| node.name.as_deref() == Some(name));
        named.or_else(|| self.nodes.iter().find(|node| node.addresses.iter().any(|address| address == name)))
    }

    /// The node that this runs on.
    pub fn local(&self) -> Option<&Node> {
        self.nodes.iter().find(|node| Some(node.position) == self.local)
    }

    /// The key of `node`. `name` is how it was called: a hash is made of that.
    ///
    /// # Errors
    /// When corosync does not say what is needed.
    pub fn key(&self, node: &Node, name: &str, method: Method) -> Result<Key, String> {
        let prefix = md5_4(&self.name);
        match method {
            Method::Position => Key::parse(&format!("{prefix}{:04}", node.position)),
            Method::Hash => Key::parse(&format!("{prefix}{}", md5_4(name))),
            // Above all keys of the other methods, which have 32 bits (40 with ten thousand nodes).
            Method::NodeId => {
                let id = node.id.ok_or_else(|| format!("corosync says no nodeid of {name}"))?;
                Key::parse(&format!("{prefix}{id:012x}"))
            }
        }
    }

    /// The keys of all nodes but `except`, with their names.
    pub fn keys_of_others(&self, except: &Node, method: Method) -> Vec<(Key, &str)> {
        let others = self.nodes.iter().filter(|node| node.position != except.position);
        others.filter_map(|node| Some((self.key(node, node.called(), method).ok()?, node.called()))).collect()
    }
}

/// The first four digits of the MD5 sum.
fn md5_4(text: &str) -> String {
    match Md5::digest(text.as_bytes()).as_slice() {
        [first, second, ..] => format!("{first:02x}{second:02x}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CMAP: &str = "nodelist.local_node_pos (u32) = 0\n\
        nodelist.node.0.name (str) = node1\nnodelist.node.0.nodeid (u32) = 1\nnodelist.node.0.ring0_addr (str) = 10.0.0.1\n\
        nodelist.node.11.name (str) = node2\nnodelist.node.11.nodeid (u32) = 4026531839\nnodelist.node.11.ring0_addr (str) = 10.0.0.2\n\
        nodelist.node.12.nodeid (u32) = 3\nnodelist.node.12.ring0_addr (str) = nodeX\n\
        totem.cluster_name (str) = mycluster\n";

    fn key(name: &str, method: Method) -> String {
        let cluster = Cluster::parse(CMAP).unwrap();
        cluster.key(cluster.node(name).unwrap(), name, method).unwrap().to_string()
    }

    #[test]
    fn keys_are_upstreams() {
        // Seen registered by upstream's fence_scsi 4.12.1.
        assert_eq!(key("node1", Method::Position), "6c9d0000");
        assert_eq!(key("node2", Method::Position), "6c9d0011");
        assert_eq!(key("node2", Method::Hash), "6c9d7888");
        assert_eq!(key("nodeX", Method::Position), "6c9d0012");
    }

    #[test]
    fn a_node_id_stays_when_positions_shift() {
        assert_eq!(key("node2", Method::NodeId), "6c9d0000efffffff");
        let shifted = CMAP.replace("node.11.", "node.0.").replace("node.0.name (str) = node1\n", "x = y\n");
        let cluster = Cluster::parse(&shifted).unwrap();
        let node = cluster.node("node2").unwrap();
        assert_eq!(cluster.key(node, "node2", Method::Position).unwrap().to_string(), "6c9d0000");
        assert_eq!(cluster.key(node, "node2", Method::NodeId).unwrap().to_string(), "6c9d0000efffffff");
    }

    #[test]
    fn a_name_is_no_pattern() {
        let cluster = Cluster::parse(CMAP).unwrap();
        assert!(cluster.node("node.").is_none() && cluster.node("node").is_none());
        assert_eq!(cluster.local().unwrap().called(), "node1");
        assert_eq!(cluster.node("10.0.0.2").unwrap().called(), "node2");
    }

    #[test]
    fn half_an_answer_is_none() {
        assert!(Cluster::parse("").is_err());
        assert!(Cluster::parse("totem.cluster_name (str) = x\n").is_err());
        assert!(Cluster::parse(&CMAP.replace("totem.cluster_name", "other")).is_err());
    }
}
