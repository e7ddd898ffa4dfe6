//! Who has which address in a test cluster: one service network, one management network, fixed MACs.
//!
//! The plan is the same in every cluster: each lives in a network namespace of its own, so two at once never meet.

use std::net::Ipv4Addr;

/// The address the cluster moves about: the resource `vip`.
pub const SERVICE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 50);
/// The name of the resource that holds [`SERVICE_ADDRESS`].
pub const SERVICE_RESOURCE: &str = "vip";
/// The observer's address on the service network: a client like any other.
pub const OBSERVER_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);
/// The sender of the observer's ARP requests; nobody owns it, so its replies teach no kernel anything.
pub const ARP_WATCH_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 253);
/// The switch's own address on the management network.
pub const MANAGEMENT_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 254);
/// The user that each BMC knows.
pub const BMC_USER: &str = "admin";

/// A node's address on the service network (`eth0`).
#[must_use]
pub const fn node_address(node: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, node)
}

/// A node's address on the management network (`eth1`).
#[must_use]
pub const fn node_management_address(node: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 88, 0, node)
}

/// The address of a node's BMC, UDP port 623.
#[must_use]
pub const fn bmc_address(node: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 88, 0, 100 + node)
}

/// The password of [`BMC_USER`] on a node's BMC.
#[must_use]
pub fn bmc_password(node: u8) -> String {
    format!("s3cret{node}")
}

/// A node's name in corosync and Pacemaker.
#[must_use]
pub fn node_name(node: u8) -> String {
    format!("n{node}")
}

/// The MAC of a node's `eth0`; its last byte is the node's number.
#[must_use]
pub const fn service_mac(node: u8) -> [u8; 6] {
    [0x02, 0, 0, 0, 0x01, node]
}

/// The MAC of a node's `eth1`.
#[must_use]
pub const fn management_mac(node: u8) -> [u8; 6] {
    [0x02, 0, 0, 0, 0x02, node]
}

/// The node behind a MAC of the service network.
#[must_use]
pub fn node_of_mac(mac: &[u8]) -> Option<u8> {
    match mac {
        [0x02, 0, 0, 0, 0x01, node] => Some(*node),
        _ => None,
    }
}

/// A MAC as `ip` writes it.
#[must_use]
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_tells_the_node() {
        assert_eq!(node_of_mac(&service_mac(3)), Some(3));
        assert_eq!(node_of_mac(&management_mac(3)), None);
        assert_eq!(mac_text(service_mac(2)), "02:00:00:00:01:02");
    }
}
