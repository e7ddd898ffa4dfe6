//! Drivers that two agents share, each named for the thing it drives.

pub mod announce;
pub mod arp;
pub mod cluster_ip;
pub mod detached;
pub mod multicast_mac;
pub mod ndisc;
pub mod netlink;
pub mod netns;
pub mod route_lookup;
